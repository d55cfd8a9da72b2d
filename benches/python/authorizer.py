"""A Lambda authorizer as one would write it with PyJWT: what Countersign's is measured against.

The same replies as `countersign-authorizer` without rules gives to REST REQUEST, HTTP API 2.0 and WebSocket events.
The token is looked for in the Authorization header alone. Event and reply are text: JSON is read and written here, as
Lambda's runtime would do it around a function.
"""

import json
from collections.abc import Callable
from typing import Any

import jwt

CONTEXT = ("sub", "iss", "scope", "exp")


class Unauthorized(Exception):
    """What API Gateway answers with 401."""


def authorize(verify: Callable[[str], dict[str, Any]], text: str) -> str:
    """The reply to an event; `verify` gives a token's claims, or raises."""
    event = json.loads(text)
    simple = event.get("version") == "2.0"
    try:
        claims = verify(bearer(event["headers"]))
    except jwt.InvalidTokenError:
        if simple:
            return json.dumps({"isAuthorized": False})
        raise Unauthorized from None
    context = {name: claims[name] for name in CONTEXT if name in claims}
    if simple:
        return json.dumps({"isAuthorized": True, "context": context})
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": [resource(event)]}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return json.dumps({"principalId": claims["sub"], "policyDocument": policy, "context": context})


def bearer(headers: dict[str, str]) -> str:
    header = headers.get("authorization") or headers.get("Authorization", "")
    if not header.startswith("Bearer "):
        raise jwt.InvalidTokenError("no token")
    return header[7:]


def resource(event: dict[str, Any]) -> str:
    """The stage, so that a cached policy is right for every route; the one route of a WebSocket API."""
    arn: str = event["methodArn"]
    if event["requestContext"].get("eventType") == "CONNECT":
        return arn
    api, stage, _ = arn.split("/", 2)
    return f"{api}/{stage}/*/*"
