"""`countersign` as a Lambda function: requests in the form of each source, answers whatever the form of the reply.

The events are the documented ones of crates/lambda/tests/events; a request changes what it is about and leaves the rest.
"""

import base64
import copy
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from gate.lambda_api import Process

EVENTS = Path(__file__).parents[2] / "crates" / "lambda" / "tests" / "events"
SOURCES = ("rest", "rest-custom-domain", "http-v1", "http-v1-stage", "http-v2", "http-v2-stage", "function-url", "alb", "alb-multi-value")
#: What API Gateway puts in front of the path that a caller meant.
IN_FRONT = {"rest-custom-domain": "/jwt-server", "http-v1-stage": "/prod", "http-v2-stage": "/prod"}


def documented(name):
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


def request(source, method="GET", path="/", headers=None, body=None, address=None):
    """The event of a request. Headers are pairs or a dictionary; a body of bytes is sent in base64."""
    event = copy.deepcopy(documented(source))
    seen = IN_FRONT.get(source, "") + path
    pairs = list((headers or {}).items() if isinstance(headers or {}, dict) else headers)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.append(("Host", "issuer.example"))
    context = event["requestContext"]
    if "rawPath" in event:
        event["rawPath"], event["rawQueryString"], event["cookies"] = seen, "", None
        context["http"] |= {"method": method, "path": seen}
        joined = {}
        for name, value in pairs:
            joined.setdefault(name.lower(), []).append(value)
        event["headers"] = {name: ",".join(values) for name, values in joined.items()}
    else:
        event["path"], event["httpMethod"] = seen, method
        if "httpMethod" in context:
            context["httpMethod"] = method
        if event.get("resource", "").startswith("/"):
            event["resource"], event["pathParameters"] = "/{proxy+}", {"proxy": path.lstrip("/")}
        event.pop("queryStringParameters", None)
        event.pop("multiValueQueryStringParameters", None)
        if source != "alb-multi-value":
            event["headers"] = dict(pairs)
        if source != "alb":
            event["multiValueHeaders"] = {}
            for name, value in pairs:
                event["multiValueHeaders"].setdefault(name, []).append(value)
    if address is not None:
        (context.get("http") or context.get("identity"))["sourceIp"] = address
    if isinstance(body, bytes):
        event["body"], event["isBase64Encoded"] = base64.b64encode(body).decode(), True
    else:
        event["body"], event["isBase64Encoded"] = body, False
    return event


@dataclass
class Answer:
    """A reply as the caller gets it: header names in lower case, each with its values."""

    status: int
    headers: dict
    body: bytes
    reply: dict

    def header(self, name):
        (value,) = self.headers[name]
        return value

    def json(self):
        return json.loads(self.body)


def answer(source, reply):
    """Reads a reply, demanding the members that its source takes and no others."""
    members = {"statusCode", "body", "isBase64Encoded"}
    if source in ("http-v2", "http-v2-stage", "function-url"):
        assert set(reply) - {"cookies"} == members | {"headers"}, reply
    elif source == "alb":
        assert set(reply) == members | {"headers", "statusDescription"}, reply
    elif source == "alb-multi-value":
        assert set(reply) == members | {"multiValueHeaders", "statusDescription"}, reply
    else:
        assert set(reply) == members | {"multiValueHeaders"}, reply
    assert isinstance(reply["statusCode"], int) and 200 <= reply["statusCode"] < 600, reply
    assert isinstance(reply["body"], str) and isinstance(reply["isBase64Encoded"], bool), reply
    if "statusDescription" in reply:
        assert reply["statusDescription"].startswith(str(reply["statusCode"])), reply
    lists = reply.get("multiValueHeaders") or {name: [value] for name, value in reply["headers"].items()}
    for name, values in lists.items():
        assert name == name.lower() and values and all(isinstance(value, str) for value in values), reply
    assert not {"connection", "content-length", "transfer-encoding"} & set(lists), reply
    body = base64.b64decode(reply["body"], validate=True) if reply["isBase64Encoded"] else reply["body"].encode()
    return Answer(reply["statusCode"], lists, body, reply)


class Function(Process):
    """One running `countersign`."""

    def ask(self, source, method="GET", path="/", headers=None, body=None, address=None):
        reply = self.invoke(json.dumps(request(source, method, path, headers, body, address)))
        assert reply.error is None, f"{reply.error}\n{self.log}"
        return answer(source, reply.json)

    def jwks(self, source="http-v2"):
        asked = self.ask(source, path="/.well-known/jwks.json")
        assert asked.status == 200, asked
        return asked.json()


class Gateway:
    """An HTTP API in front of a function: what is asked of its port is asked of the function, one request at a time."""

    def __init__(self, port):
        gateway = self
        self.function, self.lock = None, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                parts = urlsplit(self.path)
                with gateway.lock:
                    answer = gateway.function.ask("http-v2", "GET", parts.path, dict(self.headers.items()))
                self.send_response(answer.status)
                for name, values in answer.headers.items():
                    for value in values:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def end(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
