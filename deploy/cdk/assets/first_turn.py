# A custom resource of CloudFormation: one turn of the rotation, as a schedule would ask for it, and then a look at the
# discovery document. Both are tried for a while: a role that is a second old is not known everywhere, nor is an API.
import json
import time
import urllib.request

import boto3

TURN = {
    "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}, "version": "0", "id": "first-turn",
    "time": "1970-01-01T00:00:00Z", "account": "", "region": "", "resources": [],
}


def handler(event, context):
    try:
        if event["RequestType"] != "Delete":
            asked = event["ResourceProperties"]
            persistently(lambda: turn(asked["Function"]))
            if asked["Discovery"]:
                persistently(lambda: urllib.request.urlopen(asked["Discovery"], timeout=10).close())
        answer(event, context, "SUCCESS", "")
    except Exception as why:
        answer(event, context, "FAILED", str(why)[:900])


def turn(function):
    reply = boto3.client("lambda").invoke(FunctionName=function, Payload=json.dumps(TURN))
    body = reply["Payload"].read().decode()
    print(body)
    if reply.get("FunctionError"):
        raise RuntimeError(f"the first turn of the rotation failed: {body}")


def persistently(attempt):
    until = time.monotonic() + 90
    while True:
        try:
            return attempt()
        except Exception as why:
            print(f"tried again: {why}")
            if time.monotonic() > until:
                raise
            time.sleep(3)


def answer(event, context, status, reason):
    body = {
        "Status": status, "Reason": reason or "done", "StackId": event["StackId"], "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"], "PhysicalResourceId": event.get("PhysicalResourceId", "first-turn"),
    }
    request = urllib.request.Request(event["ResponseURL"], json.dumps(body).encode(), {"Content-Type": ""}, method="PUT")
    urllib.request.urlopen(request, timeout=30).close()
