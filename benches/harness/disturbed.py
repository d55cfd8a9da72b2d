"""Signing while the keys rotate and while the store is away, as ratios to signing in peace.

Three servers with the same settings, on stores of their own; only one may rotate, and only one loses its store.
"""

import contextlib
import json
import math
import os
import time
from pathlib import Path

from harness import contract, load, servers
from harness.over_http import latency
from harness.servers import Server
from harness.turns import Plan, compared, details, heading, in_turns

PEACE, ROTATING, AWAY = "in peace", "rotating", "store away"
#: Seconds a token lives here: keys of a ring that changes all the time must go again, or it is full.
DURATION = 5
STORE, RING, LIFETIME = 'url = "sqlite:countersign.db"\n', '[rings.default]\nalgorithm = "RS256"\n', '"24h"'
#: Nothing of so short a life may lie before now.
TOKENS = '[tokens]\nbackdate = "0s"\n\n'
SETTINGS = {
    STORE: STORE + 'refresh = "1s"\nmax_stale = "3s"\n', LIFETIME: f'"{DURATION}s"', RING: TOKENS + RING,
}
#: A new RSA key, three changes of the keyring and three new sets of public documents every ten seconds.
ROTATION = """rotate_every = "10s"
propagation = "2s"
longest_token = "5s"
keep_retired = "10s"

[rotation]
observe_every = "1s"
skew = "1s"
"""


def measure(programs: Path, rounds: int, seconds: float, folder: Path) -> None:
    # A turn is at least as long as a rotation, so that there is one in every turn.
    whole = max(math.ceil(seconds), 10)
    plan = Plan(rounds, whole, 2)
    with contextlib.ExitStack() as stack:
        started = {}
        for name in (PEACE, ROTATING, AWAY):
            own = folder / name.replace(" ", "-")
            own.mkdir()
            more = dict(SETTINGS)
            if name == ROTATING:
                more |= {STORE: more[STORE] + 'max_stale_signing = "3s"\n', RING: TOKENS + RING + ROTATION}
            started[name] = stack.enter_context(servers.countersign(programs, own, name, more))
        keys = set(kids(started[ROTATING]))
        lose_store(folder / AWAY.replace(" ", "-") / "countersign", started[AWAY])

        def turn(name: str, duration: float) -> load.Load:
            result = load.sign(started[name], duration, DURATION)
            keys.update(kids(started[ROTATING]))
            return result

        rates = in_turns(plan, {name: lambda duration, name=name: turn(name, duration) for name in started})
        before = set(kids(started[ROTATING]))
    if not keys - before:
        raise RuntimeError("no key came and went meanwhile: nothing rotated")
    heading("`POST /sign` RS256-2048 over HTTP, one core")
    for name in (ROTATING, AWAY):
        print(f"| {name} | {compared(rates[name], PEACE, rates[PEACE], None)} |")
    print(f"\nthe server that rotated showed {len(keys)} keys in all")
    for name, each in rates.items():
        details("/sign", name, each, latency(each))


def kids(server: Server) -> list[str]:
    return [key["kid"] for key in json.loads(contract.fetch(server.port, contract.JWKS)[2])["keys"]]


def lose_store(folder: Path, server: Server) -> None:
    """Takes the database away and waits until the server has noticed."""
    for name in ("countersign.db", "countersign.db-wal", "countersign.db-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder / name, folder / f"gone-{name}")
    deadline = time.monotonic() + 120
    while contract.fetch(server.port, "/readyz")[0] == 200:
        if time.monotonic() > deadline:
            raise RuntimeError("the server has not noticed that its store is away")
        time.sleep(0.2)
