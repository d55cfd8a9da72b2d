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


def measure(programs: Path, rounds: int, seconds: float, folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        # wrk takes whole seconds.
        whole = math.ceil(seconds)
        measure_all(programs, Plan(rounds, whole, min(2, whole)), folder, stack)


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
    raw = "raw aws-lc-rs"
    signed = in_turns(plan, signers | {raw: lambda seconds: load.raw_sign(programs, seconds)})
    served = in_turns(plan, {server.name: turn(load.jwks, server) for server in (ours, bare)})

    by_rate = sorted((hono.name, fastapi.name), key=lambda name: -median(one.per_second for one in signed[name]))
    bounds = [(signed, raw, SIGN_OF_RAW), *((signed, name, SIGN_OF_OTHERS) for name in by_rate)]
    heading("over HTTP, one core")
    for results, base, floor in [*bounds, (served, bare.name, JWKS_OF_BARE)]:
        what = "`POST /sign` RS256-2048" if results is signed else "`GET /.well-known/jwks.json`"
        print(f"| {what} | {compared(results[ours.name], base, results[base], floor)} |")
    print(f"| idle memory of `serve` | {idle:.1f} MB | | | | | ≤ {IDLE_MB} MB | {met(idle <= IDLE_MB)} |")
    most = median(a.per_cpu_second / b.per_cpu_second for a, b in zip(signed[raw], signed[by_rate[0]], strict=True))
    print(f"\nA server on this core that did nothing but sign would reach {most:.2f} × {by_rate[0]} (by CPU time).")
    for what, results in (("/sign", signed), ("JWKS", served)):
        for name, rates in results.items():
            details(what, name, rates, latency(rates))
    print(f"\nmemory of `serve` after the load: {load.resident_mb(ours.pid):.1f} MB\n", flush=True)


def turn(measure_one: Callable[[Server, float], Rate], server: Server) -> Callable[[float], Rate]:
    return lambda seconds: measure_one(server, seconds)


def latency(rates: list[Rate]) -> str:
    waits = [(one.p50_ms, one.p99_ms) for one in rates if isinstance(one, Load)]
    return f", p50 {median(w[0] for w in waits):.2f} ms, p99 {median(w[1] for w in waits):.2f} ms" if waits else ""
