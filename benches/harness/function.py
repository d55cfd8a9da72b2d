"""`countersign-authorizer` as the bootstrap of a Lambda function, against the least that a function in Rust can be."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from harness import load
from harness.contenders import Inputs
from harness.contract import require
from harness.runtime_api import PREFIX, Function, RuntimeApi
from harness.turns import met

START_OF_HELLO, PROGRAM_MB = 1.5, 10
STARTS_PER_ROUND, EVENTS = 10, 1000
OURS, HELLO = "countersign-authorizer", "hello_lambda"


@dataclass(frozen=True)
class Start:
    """From exec to the first reply."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Memory:
    """Resident memory in MB."""

    started: float
    used: float


def measure(programs: Path, rounds: int, inputs: Inputs, expected: dict[str, Any], folder: Path) -> None:
    """`expected` is what the authorizer answered in process, by event. The first of them is what is timed."""
    given = inputs.given
    trust = {"issuer": given.issuer, "jwks": given.jwks, "audiences": [given.audience]}
    # JSON's strings and lists of strings are TOML's as well.
    lines = [f"{key} = {json.dumps(value)}" for key, value in trust.items()]
    (folder / "countersign.toml").write_text("\n".join(["[[trust]]", *lines, ""]))
    event = next(iter(given.events.values())).encode()
    # Copies, as the files of an unpacked zip are: the pages of a program as the linker left them are
    # mapped one by one, which makes its start up to a fifth longer.
    functions = {name: Function(Path(shutil.copy(programs / name, folder)), folder) for name in (OURS, HELLO)}
    core = os.sched_getaffinity(0)
    try:
        with contextlib.closing(RuntimeApi()) as api:
            check(api, functions[OURS], inputs, expected)
            starts: dict[str, list[Start]] = {OURS: [], HELLO: []}
            for index in range(rounds * STARTS_PER_ROUND + 1):
                for name in [OURS, HELLO] if index % 2 else [HELLO, OURS]:
                    took = start(api, functions[name], event)
                    if index:  # The first only fills the page cache.
                        starts[name].append(took)
            memory = {name: memory_of(api, function, event) for name, function in functions.items()}
    finally:
        os.sched_setaffinity(0, core)
    table(starts, memory, {name: sizes(programs / name, folder) for name in starts})


def check(api: RuntimeApi, function: Function, inputs: Inputs, expected: dict[str, Any]) -> None:
    """The function answers as the authorizer does in process, and refuses a forged token."""
    given = inputs.given
    with api.started(function):
        for name, event in given.events.items():
            api.give(api.next_request(), event.encode())
            reply = api.next_request()
            same = reply.path.endswith("/response") and json.loads(reply.body) == expected[name]
            require(OURS, same, f"{name}: {reply.body!r} instead of {expected[name]}")
            api.accept(reply)
        forged = next(iter(given.events.values())).replace(given.token, inputs.forged["another payload"])
        api.give(api.next_request(), forged.encode())
        reply = api.next_request()
        error = reply.path.endswith("/error") and json.loads(reply.body)["errorMessage"] == "Unauthorized"
        require(OURS, error, f"a forged token gets {reply.body!r}")


def start(api: RuntimeApi, function: Function, event: bytes) -> Start:
    began = time.perf_counter()
    with api.started(function) as pid:
        api.give(api.next_request(), event)
        reply = api.next_request()
        took = time.perf_counter() - began
        answered(reply.path)
        # Time of each thread, in nanoseconds (proc(5)).
        used = sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    return Start(took, used)


def memory_of(api: RuntimeApi, function: Function, event: bytes) -> Memory:
    with api.started(function) as pid:
        asked = api.next_request()
        started = load.resident_mb(pid)
        for _ in range(EVENTS):
            api.give(asked, event)
            reply = api.next_request()
            answered(reply.path)
            api.accept(reply)
            asked = api.next_request()
        return Memory(started, load.resident_mb(pid))


def answered(path: str) -> None:
    if not (path.startswith(PREFIX) and path.endswith("/response")):
        raise RuntimeError(f"the function answers at {path}")


def sizes(program: Path, folder: Path) -> tuple[float, float]:
    """MB as built, and without symbols."""
    stripped = folder / f"{program.name}.stripped"
    shutil.copy(program, stripped)
    subprocess.run(["strip", "--strip-all", str(stripped)], check=True)
    return program.stat().st_size / 1e6, stripped.stat().st_size / 1e6


def table(starts: dict[str, list[Start]], memory: dict[str, Memory], sizes: dict[str, tuple[float, float]]) -> None:
    pairs = list(zip(starts[OURS], starts[HELLO], strict=True))
    ratio = median(ours.seconds / hello.seconds for ours, hello in pairs)
    by_cpu = median(ours.cpu_seconds / hello.cpu_seconds for ours, hello in pairs)
    took = {name: f"{median(one.seconds for one in each) * 1000:.2f} ms" for name, each in starts.items()}
    print("| as a Lambda function | Countersign | hello world | ratio | by CPU time | floor | met |")
    print("|---|--:|--:|--:|--:|--:|---|")
    floor = f"≤ {START_OF_HELLO} | {met(ratio <= START_OF_HELLO)}"
    print(f"| exec → first reply | {took[OURS]} | {took[HELLO]} | {ratio:.3f} | {by_cpu:.3f} | {floor} |")
    mb_row("resident memory after the start", memory[OURS].started, memory[HELLO].started)
    mb_row(f"resident memory after {EVENTS:,} events", memory[OURS].used, memory[HELLO].used)
    for index, what in enumerate(("size of the program, as built", "size of the program, stripped")):
        mb_row(what, sizes[OURS][index], sizes[HELLO][index], PROGRAM_MB)
    print()
    for name, each in starts.items():
        seconds = [one.seconds * 1000 for one in each]
        used = median(one.cpu_seconds for one in each) * 1000
        print(f"start, {name}: {min(seconds):.2f} to {max(seconds):.2f} ms, {used:.2f} ms of processor time")
    print(flush=True)


def mb_row(what: str, ours: float, hello: float, most: float | None = None) -> None:
    floor = f"≤ {most} MB | {met(ours <= most)}" if most else " | "
    print(f"| {what} | {ours:.2f} MB | {hello:.2f} MB | {ours / hello:.2f} | | {floor} |")
