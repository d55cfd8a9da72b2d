"""PyJWT, driven by the harness line by line: the orders are described in rust/src/bin/contender.rs.

The keys are parsed before; the token's `kid` selects one of them.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import authorizer
import jwt

BATCH = 64
given = json.loads(sys.stdin.readline())
keys = {key.key_id: key for key in jwt.PyJWKSet.from_json(given["jwks"]).keys}


def verify(token: str) -> dict[str, Any]:
    key = keys.get(jwt.get_unverified_header(token).get("kid"))
    if key is None:
        raise jwt.InvalidTokenError("unknown kid")
    return jwt.decode(
        token,
        key,
        ["RS256"],
        audience=given["audience"],
        issuer=given["issuer"],
        options={"require": ["exp", "iss", "aud"]},
    )


def outcome(operation: Callable[[], Any]) -> Any:
    try:
        return operation()
    except (jwt.InvalidTokenError, authorizer.Unauthorized):
        return None


def timed(operation: Callable[[], Any], seconds: float) -> dict[str, float]:
    used, start = time.process_time(), time.perf_counter()
    count, took = 0, 0.0
    while took < seconds:
        for _ in range(BATCH):
            operation()
        count += BATCH
        took = time.perf_counter() - start
    return {"per_second": count / took, "per_cpu_second": count / (time.process_time() - used)}


for line in sys.stdin:
    answer: Any
    match json.loads(line):
        case {"verify": token}:
            answer = outcome(partial(verify, token)) is not None
        case {"authorize": event}:
            answer = outcome(partial(authorizer.authorize, verify, event))
        case {"time": ["verify", seconds]}:
            answer = timed(partial(verify, given["token"]), seconds)
        case {"time": [what, seconds]}:
            answer = timed(partial(authorizer.authorize, verify, given["events"][what]), seconds)
    print(json.dumps(answer), flush=True)
