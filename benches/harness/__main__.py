"""The whole measurement: every server in turns, round by round, and one table of ratios at the end."""

import argparse
import contextlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from harness import contract, load, servers
from harness.load import Load, Rate
from harness.servers import Server

SIGN_OF_RAW, SIGN_OF_OTHERS, JWKS_OF_BARE, IDLE_MB = 0.85, 2.3, 0.9, 25


def main() -> None:
    arguments = parse()
    describe_machine()
    if arguments.only != "http":
        pinned = ["taskset", "-c", str(servers.SERVER_CORE), str(arguments.programs / "in_process")]
        print(subprocess.run(pinned, check=True, capture_output=True, text=True).stdout, flush=True)
    if arguments.only != "in-process":
        with tempfile.TemporaryDirectory(prefix="countersign-bench-") as folder, contextlib.ExitStack() as stack:
            measure(arguments, Path(folder), stack)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each server [default: 7]")
    parser.add_argument("--seconds", type=int, default=5, help="length of a turn [default: 5]")
    parser.add_argument("--only", choices=["in-process", "http"], help="only this half")
    parser.add_argument("--programs", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.seconds < 1:
        parser.error("at least one round of one second")
    if not {servers.SERVER_CORE, servers.LOAD_CORE} <= os.sched_getaffinity(0):
        parser.error("two cores are needed, 0 for the server and 1 for the load")
    return arguments


def measure(arguments: argparse.Namespace, folder: Path, stack: contextlib.ExitStack) -> None:
    ours = stack.enter_context(servers.countersign(arguments.programs, folder))
    time.sleep(2)
    idle = load.resident_mb(ours.pid)
    hono, fastapi = stack.enter_context(servers.hono(folder)), stack.enter_context(servers.fastapi(folder))
    bare = stack.enter_context(servers.bare_axum(arguments.programs, folder, ours))
    for server in (ours, hono, fastapi):
        contract.check_sign(server.name, server.port, server.issuer, server.client_id, server.secret)
    contract.check_same_document(ours.port, bare.port)

    signers = {server.name: turn(load.sign, server) for server in (ours, hono, fastapi)}
    raw = "raw aws-lc-rs"
    signed = in_turns(arguments, signers | {raw: lambda seconds: load.raw_sign(arguments.programs, seconds)})
    served = in_turns(arguments, {server.name: turn(load.jwks, server) for server in (ours, bare)})

    by_rate = sorted((hono.name, fastapi.name), key=lambda name: -median(one.per_second for one in signed[name]))
    bounds = [(signed, raw, SIGN_OF_RAW), *((signed, name, SIGN_OF_OTHERS) for name in by_rate)]
    print("| over HTTP, one core | Countersign | compared with | its figure | ratio | by CPU time | floor | met |")
    print("|---|--:|---|--:|--:|--:|--:|---|")
    for results, base, floor in [*bounds, (served, bare.name, JWKS_OF_BARE)]:
        what = "`POST /sign` RS256-2048" if results is signed else "`GET /.well-known/jwks.json`"
        print(f"| {what} | {compared(results[ours.name], base, results[base], floor)} |")
    print(f"| idle memory of `serve` | {idle:.1f} MB | | | | | ≤ {IDLE_MB} MB | {met(idle <= IDLE_MB)} |")
    most = median(a.per_cpu_second / b.per_cpu_second for a, b in zip(signed[raw], signed[by_rate[0]], strict=True))
    print(f"\nA server on this core that did nothing but sign would reach {most:.2f} × {by_rate[0]} (by CPU time).")
    details("/sign", signed)
    details("JWKS", served)
    print(f"\nmemory of `serve` after the load: {load.resident_mb(ours.pid):.1f} MB")


def turn(measure_one: Callable[[Server, float], Rate], server: Server) -> Callable[[float], Rate]:
    return lambda seconds: measure_one(server, seconds)


def in_turns(arguments: argparse.Namespace, contenders: dict[str, Callable[[float], Rate]]) -> dict[str, list[Rate]]:
    """Every contender once per round, in an order that rotates; a first round to warm up does not count."""
    names = list(contenders)
    results: dict[str, list[Rate]] = {name: [] for name in names}
    for name in names:
        contenders[name](min(2, arguments.seconds))
    for index in range(arguments.rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            rate = contenders[name](arguments.seconds)
            results[name].append(rate)
            print(f"round {index + 1}/{arguments.rounds}: {name} {rate.per_second:,.0f}/s", file=sys.stderr)
    return results


def compared(mine: Sequence[Rate], base: str, theirs: Sequence[Rate], floor: float) -> str:
    """Medians of both, and the medians of the ratios within each round."""
    rounds = list(zip(mine, theirs, strict=True))
    ratio = median(a.per_second / b.per_second for a, b in rounds)
    by_cpu = median(a.per_cpu_second / b.per_cpu_second for a, b in rounds)
    rates = [median(one.per_second for one in results) for results in (mine, theirs)]
    figures = f"{rates[0]:,.0f}/s | {base} | {rates[1]:,.0f}/s | {ratio:.3f} | {by_cpu:.3f}"
    return f"{figures} | {floor} | {met(ratio >= floor)}"


def details(what: str, results: dict[str, list[Rate]]) -> None:
    """What the ratios were made from, and whether the server was really what set the pace."""
    for name, turns in results.items():
        rates, busy = [one.per_second for one in turns], median(one.busy for one in turns)
        waits = [(one.p50_ms, one.p99_ms) for one in turns if isinstance(one, Load)]
        latency = f", p50 {median(w[0] for w in waits):.2f} ms, p99 {median(w[1] for w in waits):.2f} ms" if waits else ""
        print(f"{what}, {name}: {min(rates):,.0f} to {max(rates):,.0f}/s{latency}, {busy:.0%} of its core")
        if busy < 0.9:
            print(f"  NOTE: {name} shared its core or was not kept busy; only the ratio by CPU time counts")


def met(condition: bool) -> str:
    return "yes" if condition else "no"


def describe_machine() -> None:
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    rust = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    print(f"{time.strftime('%Y-%m-%d')}, {cpu[1] if cpu else 'unknown CPU'}, {os.cpu_count()} cores, "
          f"Linux {platform.release().split('-')[0]}, Rust {rust}, Node {node}, Python {platform.python_version()}")
    print(f"load average of the machine when it began: {os.getloadavg()[0]:.2f}\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (contract.WrongAnswer, RuntimeError, OSError, subprocess.CalledProcessError) as why:
        sys.exit(f"benches/run: {why}{getattr(why, 'stderr', None) or ''}")
