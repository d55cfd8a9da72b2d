"""What the authorizers keep: it answers with what API Gateway has read from the token."""

import json


def http(event, context):
    authorizer = event["requestContext"].get("authorizer") or {}
    body = {"path": event["rawPath"], "claims": (authorizer.get("jwt") or {}).get("claims")}
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


def websocket(event, context):
    # What the authorizer has read is in event["requestContext"]["authorizer"]: sub, scope, iss, exp.
    return {"statusCode": 200}
