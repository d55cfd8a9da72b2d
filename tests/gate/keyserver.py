"""Key servers on 127.0.0.1 that answer as they are told, well or badly, and remember what they were asked.

A behaviour is a function of the connection, whose request has been read, and of an event that is set when the server
stops. `answer` makes one that is a plain answer; the others are what goes wrong. A path may be given another at any time.
"""

import json
import select
import socketserver
import threading
from contextlib import contextmanager

from authority import until
from ports import free_port


def answer(body="", status=200, **headers):
    """One answer in one write. `max_age` stands for the header that says so; of other names `_` becomes `-`."""
    if not isinstance(body, str):
        body = json.dumps(body)
    if "max_age" in headers:
        headers["Cache-Control"] = f"public, max-age={headers.pop('max_age')}, must-revalidate, no-transform"
    fields = {"Content-Type": "application/json", "Content-Length": len(body.encode()), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    whole = f"HTTP/1.1 {status} Something\r\n{head}\r\n{body}".encode()
    return lambda connection, _: connection.sendall(whole)


def redirect(target, status=302):
    return answer(status=status, Location=target)


def hang(connection, stopped):
    """Takes the request and says nothing until the other side has had enough."""
    while not stopped.is_set():
        if select.select([connection], [], [], 0.05)[0]:
            return


def drip(connection, stopped):
    """A byte now and then, of an answer that would be a good one in an hour."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n{")
    while not stopped.wait(0.1):
        connection.sendall(b" ")


def endless(connection, stopped):
    """A body that never ends."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"keys":[')
    while not stopped.is_set():
        connection.sendall(b" " * 65536)


def broken_off(connection, _):
    """Ends in the middle of the body."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{"keys":[{"kty":"RSA",')


def wordless(_, __):
    """Ends without a word."""


def no_http(connection, _):
    connection.sendall(b"220 mail.example ESMTP\r\n")


class KeyServer(socketserver.ThreadingTCPServer):
    """paths: path → behaviour; everything else is a 404. asked: the paths of all requests, in their order."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Request)
        self.paths, self.asked, self.stopped = {}, [], threading.Event()

    def url(self, path="/keys"):
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def serve(self, path, behaviour):
        """Lets a path behave so from now on, and gives its address."""
        self.paths[path] = behaviour
        return self.url(path)


class Request(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            path = self.rfile.readline().split()[1].decode()
            while self.rfile.readline().strip():
                pass
            self.server.asked.append(path)
            self.server.paths.get(path, answer(status=404))(self.request, self.server.stopped)
        except (OSError, IndexError):
            # The client has gone.
            pass


@contextmanager
def key_server():
    with KeyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()


def nobody():
    """An address where nobody listens."""
    return f"http://127.0.0.1:{free_port()}/keys"


def asked(server, path, times):
    """Waits until a path was asked for so often."""
    until(lambda: server.asked.count(path) >= times, f"{path} is asked for {times} times")
