"""The Lambda runtime API on loopback, one request at a time: what a function asks is seen before it is answered.

AWS Lambda developer guide, "Using the Lambda runtime API": `GET …/invocation/next`, then `POST …/invocation/ID/response`
or `…/error`. Requests may come on several connections; bodies have a length. It runs in the harness, on the core that
the function is not on, and does as little as possible between a request and its answer.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.servers import LOAD_CORE, SERVER_CORE

PREFIX = "/2018-06-01/runtime/invocation"
PATIENCE = 20


@dataclass(frozen=True)
class Request:
    """What the function asks."""

    connection: socket.socket
    path: str
    body: bytes


@dataclass(frozen=True)
class Function:
    """A program that is a function's bootstrap, and the folder of what belongs to it."""

    program: Path
    folder: Path
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


class RuntimeApi:
    """Serves one function at a time."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{}".format(self.listener.getsockname()[1])
        self.ready = selectors.DefaultSelector()
        self.ready.register(self.listener, selectors.EVENT_READ)
        self.buffers: dict[socket.socket, bytes] = {}

    def next_request(self) -> Request:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for key, _ in self.ready.select(1):
                if key.fileobj is self.listener:
                    connection = self.listener.accept()[0]
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.ready.register(connection, selectors.EVENT_READ)
                    self.buffers[connection] = b""
                elif request := self.read(key.fileobj):
                    return request
        raise RuntimeError(f"the function asks nothing for {PATIENCE} s")

    def read(self, connection: socket.socket) -> Request | None:
        data = connection.recv(65536)
        if not data:
            self.forget(connection)
            return None
        head, blank, body = (self.buffers[connection] + data).partition(b"\r\n\r\n")
        self.buffers[connection] = head + blank + body
        lines = head.decode("latin-1").lower().split("\r\n")
        if "transfer-encoding: chunked" in lines:
            raise RuntimeError("a body without a length is not understood here")
        length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
        if not blank or len(body) < length:
            return None
        self.buffers[connection] = b""
        return Request(connection, head.split(b" ", 2)[1].decode(), body)

    def forget(self, connection: socket.socket) -> None:
        self.ready.unregister(connection)
        del self.buffers[connection]
        connection.close()

    def give(self, request: Request, event: bytes) -> None:
        """Hands an event to a function that asked for the next one."""
        if request.path != f"{PREFIX}/next":
            raise RuntimeError(f"the function asks for {request.path}, not for an event")
        deadline = time.time_ns() // 1_000_000 + 60_000
        headers = (
            "HTTP/1.1 200 OK",
            "Content-Type: application/json",
            "Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            f"Lambda-Runtime-Deadline-Ms: {deadline}",
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:bench",
            "Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
            f"Content-Length: {len(event)}",
        )
        request.connection.sendall("\r\n".join([*headers, "\r\n"]).encode() + event)

    def accept(self, request: Request) -> None:
        """Takes a reply."""
        headers = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
        request.connection.sendall(headers + b'{"status":"OK"}')

    @contextlib.contextmanager
    def started(self, function: Function) -> Iterator[int]:
        """Starts it on the server's core, as Lambda does; without anything in between, because the start is timed."""
        environment = {
            "PATH": os.environ["PATH"],
            "LAMBDA_TASK_ROOT": str(function.folder),
            "AWS_LAMBDA_RUNTIME_API": self.address,
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_REGION": "us-east-1",
        } | function.environment
        with (function.folder / "function.log").open("ab") as sink:
            to_log = [(os.POSIX_SPAWN_DUP2, sink.fileno(), descriptor) for descriptor in (1, 2)]
            # It inherits the core it is started on.
            os.sched_setaffinity(0, {SERVER_CORE})
            command = [str(function.program), *function.arguments]
            pid = os.posix_spawn(function.program, command, environment, file_actions=to_log)
            os.sched_setaffinity(0, {LOAD_CORE})
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            for connection in list(self.buffers):
                self.forget(connection)

    def close(self) -> None:
        self.ready.close()
        self.listener.close()
