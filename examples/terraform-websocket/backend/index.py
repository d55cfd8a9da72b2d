"""What the authorizer keeps: it lets connections be made and answers each message with it, and with the claims of $connect."""

import json


def handler(event, context):
    request = event["requestContext"]
    if request["routeKey"] == "$connect":
        # A browser that offered subprotocols wants one of them back: the one in front of the token.
        offered = {name.lower(): value for name, value in (event.get("headers") or {}).items()}.get("sec-websocket-protocol")
        return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "bearer"} if offered else {}}
    authorizer = request.get("authorizer") or {}
    return {"statusCode": 200, "body": json.dumps({"message": event.get("body"), "sub": authorizer.get("sub")})}
