"""The Lambda Runtime API as a function sees it, and programs as functions that ask it.

`LambdaApi` hands out events one at a time, as Lambda does, and gives back what the function made of each. Whatever it
writes is one write, so that no delayed acknowledgement is measured.
"""

import fnmatch
import itertools
import json
import queue
import signal
import socketserver
import subprocess
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from authority import clean_environment, until

RUNTIME = "/2018-06-01/runtime"
EVENTS = Path(__file__).parents[2] / "crates" / "gateway" / "tests" / "events"
#: What Lambda sets for every function, apart from the address.
FUNCTION = {
    "AWS_LAMBDA_FUNCTION_NAME": "authorizer",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
}


def event(name, token):
    """The text of an event of that name with this token in it."""
    return (EVENTS / f"{name}.json").read_text(encoding="utf-8").replace("@TOKEN@", token)


def event_names():
    names = sorted(file.stem for file in EVENTS.glob("*.json"))
    assert names, f"no events in {EVENTS}"
    return names


def arn_of(text):
    """What an event asks for, if it says so."""
    try:
        asked = json.loads(text)
        return asked.get("methodArn") or asked.get("routeArn") if isinstance(asked, dict) else None
    except (ValueError, RecursionError):
        return None


def allows(policy, arn):
    """What IAM makes of a policy: a Deny is stronger than an Allow, and without either it is a no."""
    def covered(effect):
        resources = [r for s in policy["Statement"] if s["Effect"] == effect for r in s["Resource"]]
        # `[` is no wildcard of IAM.
        return any(fnmatch.fnmatchcase(arn, resource.replace("[", "[[]")) for resource in resources)

    return isinstance(arn, str) and covered("Allow") and not covered("Deny")


@dataclass
class Reply:
    """What the function made of an event: `json`, or the error it reported; how long it took, in seconds; and what was asked."""

    json: dict | None
    error: dict | None
    seconds: float
    arn: str | None = None

    @property
    def let_in(self):
        if self.json is None:
            return False
        if "policyDocument" in self.json:
            return allows(self.json["policyDocument"], self.arn)
        return self.json["isAuthorized"]

    @property
    def unauthorized(self):
        """Whether it is exactly the error that API Gateway turns into a 401."""
        return self.error is not None and self.error["errorMessage"] == "Unauthorized"

    @property
    def unavailable(self):
        """Whether it is the error that API Gateway turns into a 500, and does not remember."""
        return self.error == {"errorType": "KeysUnavailable", "errorMessage": "Unavailable"}


class LambdaApi(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Connection)
        self.events, self.asked, self.numbers = queue.Queue(), {}, itertools.count(1)
        self.waiting = threading.Event()

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"

    def push(self, event):
        """Queues an event, given as text or bytes; the future holds its `Reply`."""
        future = Future()
        self.events.put((future, event if isinstance(event, bytes) else event.encode()))
        return future

    def next(self):
        self.waiting.set()
        future, event = self.events.get()
        if future is None:
            return b""
        id = f"8476a536-e9f4-11e8-9739-{next(self.numbers):012}"
        self.asked[id] = future, time.perf_counter(), arn_of(event)
        arn = "arn:aws:lambda:us-east-1:123456789012:function:authorizer"
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(event)}\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Invoked-Function-Arn: {arn}\r\n"
            f"Lambda-Runtime-Deadline-Ms: {int(time.time() * 1000) + 10_000}\r\n\r\n"
        )
        return head.encode() + event

    def done(self, id, kind, body):
        future, since, arn = self.asked.pop(id)
        seconds, body = time.perf_counter() - since, json.loads(body)
        future.set_result(Reply(body, None, seconds, arn) if kind == "response" else Reply(None, body, seconds, arn))
        return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            while line := self.rfile.readline():
                method, path, _ = line.decode().split()
                length = 0
                while header := self.rfile.readline().strip():
                    name, _, value = header.partition(b":")
                    assert name.lower() != b"transfer-encoding", header
                    length = int(value) if name.lower() == b"content-length" else length
                body = self.rfile.read(length)
                if (method, path) == ("GET", f"{RUNTIME}/invocation/next"):
                    self.request.sendall(self.server.next())
                else:
                    id, kind = path.removeprefix(f"{RUNTIME}/invocation/").split("/")
                    assert method == "POST" and kind in ("response", "error"), line
                    self.request.sendall(self.server.done(id, kind, body))
        except OSError:
            # The function was stopped.
            pass


class Process:
    """One running function.

    program:     what is run.
    config:      the text of its configuration; None: its environment is all it has.
    environment: further variables.
    """

    #: The name of its configuration file.
    FILE = "countersign.toml"

    def __init__(self, program, folder, config=None, environment=None):
        self.binary, self.arguments = str(program), []
        self.folder, self.process = Path(folder), None
        own = ("AWS_", "LAMBDA_", "_X_AMZN")
        clean = {name: value for name, value in clean_environment().items() if not name.startswith(own)}
        self.environment = clean | FUNCTION | (environment or {})
        if config is not None:
            (self.folder / self.FILE).write_text(config, encoding="utf-8")
            self.environment["COUNTERSIGN_CONFIG"] = str(self.folder / self.FILE)
        self.api = LambdaApi()
        self.environment["AWS_LAMBDA_RUNTIME_API"] = self.api.address
        self.thread = threading.Thread(target=self.api.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def start(self, wait=True):
        """Starts it and, unless told otherwise, waits until it asks for its first event."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, *self.arguments], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            )
        if wait:
            until(lambda: self.api.waiting.is_set() or self.process.poll() is not None, "it asks for an event")
            assert self.process.poll() is None, f"it ended: {self.process.returncode}\n{self.log}"
        return self

    def run(self):
        """Runs it where it is to end by itself; gives (exit code, standard error)."""
        done = subprocess.run(
            [self.binary], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.stdout == ""
        return done.returncode, done.stderr

    def invoke(self, event, within=120):
        """What it makes of an event. It must go on running, whatever the event is."""
        reply = self.api.push(event).result(timeout=within)
        assert self.is_well(), self.log
        return reply

    def is_well(self):
        return self.process.poll() is None and "panicked" not in self.log

    @property
    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8")

    def records(self):
        """The lines of its log; every one must be JSON."""
        return [json.loads(line) for line in self.log.splitlines()]

    def terminate(self):
        """SIGTERM; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
        self.api.events.put((None, None))
        self.api.shutdown()
        self.thread.join()
        self.api.server_close()


class Authorizer(Process):
    """One running `countersign-authorizer`, which lies beside `countersign`."""

    FILE = "gate.toml"

    def __init__(self, binary, folder, config=None, environment=None):
        # Its own default is one folder for all functions of this machine.
        cache = {"COUNTERSIGN_GATE__KEY_CACHE": str(Path(folder) / "key-cache")}
        program = Path(binary).with_name("countersign-authorizer")
        super().__init__(program, folder, config, cache | (environment or {}))

    def ask(self, token, name="rest-request"):
        return self.invoke(event(name, token))

    @property
    def refusals(self):
        """Why requests were refused, in their order."""
        gate = [record for record in self.records() if record["target"] == "countersign::gate"]
        return [record["code"] for record in gate if record["decision"] == "deny"]


@contextmanager
def authorizers(binary, tmp_path_factory):
    """A factory of authorizers, which must all be well at the end unless they were stopped by a test."""
    made = []

    def make(config=None, environment=None, folder=None):
        one = Authorizer(binary, folder or tmp_path_factory.mktemp("authorizer"), config, environment)
        made.append(one)
        return one

    try:
        yield make
        for one in made:
            assert one.process is None or one.process.returncode is not None or one.is_well(), one.log
    finally:
        for one in made:
            one.end()
