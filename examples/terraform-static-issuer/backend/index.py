"""What the authorizer keeps: it answers with the claims that API Gateway has read from the token."""

import json


def handler(event, context):
    authorizer = event["requestContext"].get("authorizer") or {}
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"path": event["rawPath"], "claims": (authorizer.get("jwt") or {}).get("claims")}),
    }
