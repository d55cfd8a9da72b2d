"""server.py as a Lambda function, with Mangum between events of API Gateway and FastAPI.

The loop around it is the least that asks the runtime API; the client in Lambda's own Python runtime does more, so that a start
there takes longer than here.
"""

import http.client
import json
import os

from mangum import Mangum
from server import app

PREFIX = "/2018-06-01/runtime/invocation"
handler = Mangum(app, lifespan="off")


def main() -> None:
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", f"{PREFIX}/next")
        answer = api.getresponse()
        request_id, event = answer.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(answer.read())
        body = json.dumps(handler(event, None))
        api.request("POST", f"{PREFIX}/{request_id}/response", body, {"Content-Type": "application/json"})
        api.getresponse().read()


if __name__ == "__main__":
    main()
