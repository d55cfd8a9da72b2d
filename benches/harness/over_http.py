"""The servers, each loaded by wrk in turns."""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from harness import contract, load, servers
from harness.load import Load
from harness.servers import Server
from harness.turns import Plan, Rate, compared, details, heading, in_turns, met

SIGN_OF_RAW, SIGN_OF_OTHERS, JWKS_OF_BARE, IDLE_MB = 0.85, 2.3, 0.9, 25
#: By CPU time: `/sign` beside hono + jose where a signature is cheap, and all but the signature beside a JWKS answer.
CURVES_OF_HONO, AROUND_OF_JWKS = {"ES256": 6.5, "EdDSA": 8}, 2.5
RAW, JWKS = "raw aws-lc-rs", "its JWKS"


def measure(programs: Path, rounds: int, seconds: float, folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        # wrk takes whole seconds.
        whole = math.ceil(seconds)
        plan = Plan(rounds, whole, min(2, whole))
        measure_all(programs, plan, folder, stack)
    measure_curves(programs, plan, folder)


def measure_all(programs: Path, plan: Plan, folder: Path, stack: contextlib.ExitStack) -> None:
    ours = stack.enter_context(servers.countersign(programs, folder))
    time.sleep(2)
    idle = load.resident_mb(ours.pid)
    hono, fastapi = stack.enter_context(servers.hono(folder)), stack.enter_context(servers.fastapi(folder))
    bare = stack.enter_context(servers.bare_axum(programs, folder, ours))
    for server in (ours, hono, fastapi):
        contract.check_sign(server.name, server.port, server.issuer, server.client_id, server.secret)
    contract.check_same_document(ours.port, bare.port)

    signers = {server.name: turn(load.sign, server) for server in (ours, hono, fastapi)}
    signed = in_turns(plan, signers | {RAW: lambda seconds: load.raw_sign(programs, seconds)})
    served = in_turns(plan, {server.name: turn(load.jwks, server) for server in (ours, bare)})

    by_rate = sorted((hono.name, fastapi.name), key=lambda name: -median(one.per_second for one in signed[name]))
    bounds = [(signed, RAW, SIGN_OF_RAW), *((signed, name, SIGN_OF_OTHERS) for name in by_rate)]
    heading("over HTTP, one core")
    for results, base, floor in [*bounds, (served, bare.name, JWKS_OF_BARE)]:
        what = "`POST /sign` RS256-2048" if results is signed else "`GET /.well-known/jwks.json`"
        print(f"| {what} | {compared(results[ours.name], base, results[base], floor)} |")
    print(f"| idle memory of `serve` | {idle:.1f} MB | | | | | ≤ {IDLE_MB} MB | {met(idle <= IDLE_MB)} |")
    most = median(a.per_cpu_second / b.per_cpu_second for a, b in zip(signed[RAW], signed[by_rate[0]], strict=True))
    print(f"\nA server on this core that did nothing but sign would reach {most:.2f} × {by_rate[0]} (by CPU time).")
    for what, results in (("/sign", signed), ("JWKS", served)):
        for name, rates in results.items():
            details(what, name, rates, latency(rates))
    print(f"\nmemory of `serve` after the load: {load.resident_mb(ours.pid):.1f} MB\n", flush=True)


def measure_curves(programs: Path, plan: Plan, folder: Path) -> None:
    """`/sign` where a signature is cheap, so that what surrounds it shows."""
    results = {}
    for algorithm in CURVES_OF_HONO:
        own = folder / algorithm
        own.mkdir()
        with (
            servers.countersign(programs, own, algorithm=algorithm) as ours,
            servers.hono(own, algorithm) as hono,
        ):
            for server in (ours, hono):
                contract.check_sign(server.name, server.port, server.issuer, server.client_id, server.secret, algorithm)
            results[algorithm] = in_turns(plan, {
                ours.name: turn(load.sign, ours),
                JWKS: turn(load.jwks, ours),
                hono.name: turn(load.sign, hono),
                RAW: lambda seconds, algorithm=algorithm: load.raw_sign(programs, seconds, algorithm),
            })
    heading("over HTTP, one core, by CPU time")
    for algorithm, rates in results.items():
        beside_hono = compared(rates[ours.name], hono.name, rates[hono.name], CURVES_OF_HONO[algorithm], by_cpu=True)
        print(f"| `POST /sign` {algorithm} | {beside_hono} |")
    print("\n| around a signature | `POST /sign` | signature | the rest | a JWKS answer | ratio | floor | met |")
    print("|---|--:|--:|--:|--:|--:|--:|---|")
    for algorithm, rates in results.items():
        print(f"| {algorithm} | {surroundings(rates[ours.name], rates[RAW], rates[JWKS])} |")
    print()
    for algorithm, rates in results.items():
        for name, each in rates.items():
            details(algorithm, name, each, latency(each))
    print(flush=True)


def surroundings(signed: list[Rate], raw: list[Rate], jwks: list[Rate]) -> str:
    """All of `/sign` but the signature, in microseconds of processor time, and how many JWKS answers that is."""
    micros = [[1e6 / one.per_cpu_second for one in each] for each in (signed, raw, jwks)]
    rounds = list(zip(*micros, strict=True))
    rest = median(whole - signature for whole, signature, _ in rounds)
    ratios = sorted((whole - signature) / answer for whole, signature, answer in rounds)
    ratio = median(ratios)
    figures = [median(micros[0]), median(micros[1]), rest, median(micros[2])]
    columns = [f"{figure:.1f} µs" for figure in figures]
    spread = f"{ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    columns += [spread, f"≤ {AROUND_OF_JWKS}", met(ratio <= AROUND_OF_JWKS)]
    return " | ".join(columns)


def turn(measure_one: Callable[[Server, float], Rate], server: Server) -> Callable[[float], Rate]:
    return lambda seconds: measure_one(server, seconds)


def latency(rates: list[Rate]) -> str:
    waits = [(one.p50_ms, one.p99_ms) for one in rates if isinstance(one, Load)]
    return f", p50 {median(w[0] for w in waits):.2f} ms, p99 {median(w[1] for w in waits):.2f} ms" if waits else ""
