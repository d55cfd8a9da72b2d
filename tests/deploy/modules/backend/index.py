"""What the authorizers keep: it answers with what API Gateway has handed on of the caller."""

import json


def handler(event, context):
    authorizer = event["requestContext"].get("authorizer") or {}
    body = json.dumps({"authorizer": authorizer, "message": event.get("body")})
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": body}
