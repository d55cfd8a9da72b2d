"""HTTP as bytes on a socket: what a client library would correct or refuse to send can be sent here.

Requests are written by hand; answers are read with http.client, which reads one answer and leaves the connection open.
"""

import base64
import http.client
import json
import re
import socket
from urllib.parse import urlsplit

SECONDS = 60.0
FORM = "application/x-www-form-urlencoded"
#: Sent where a refusal must not repeat it.
MARK = "value-that-must-not-come-back"


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {dict(self.headers)} {self.body[:300]!r}>"


class Connection:
    """One connection to a server, closed at the end of `with`; `source` is an address of this machine to come from."""

    def __init__(self, url, seconds=SECONDS, source=None):
        place = urlsplit(url)
        own = (source, 0) if source else None
        self.socket = socket.create_connection((place.hostname, place.port), timeout=seconds, source_address=own)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Sends all of it, unless the other side has had enough: what it answered can still be read."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def receive(self, method="GET"):
        response = http.client.HTTPResponse(self.socket, method=method)
        try:
            response.begin()
            return Answer(response)
        finally:
            response.close()

    def is_read(self):
        """Whether the server has accepted this connection and read all that was sent, as the kernel of both sees it."""
        ours, theirs = (f"{place[1]:04X}" for place in (self.socket.getsockname(), self.socket.getpeername()))
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in table.readlines()[1:]:
                _, local, remote, _, queues, _, _, _, _, inode, *_ = line.split()
                if local.endswith(f":{theirs}") and remote.endswith(f":{ours}"):
                    # What waits in the queue of the listener belongs to no process yet.
                    return inode != "0" and queues.endswith(":00000000")
        return False

    def is_closed_by_peer(self):
        """Waits for the end of the connection; anything still sent is passed over."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True


def message(method, path, headers=(), body=None, host="127.0.0.1"):
    """A request as bytes. `Content-Length` is added for a body, unless a header says how long it is."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    headers = list(headers.items() if isinstance(headers, dict) else headers)
    lines += [f"{name}: {value}" for name, value in headers]
    names = {name.lower() for name, _ in headers}
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def ask(url, method, path, headers=(), body=None, host="127.0.0.1", seconds=SECONDS, source=None):
    """One request on a connection of its own."""
    with Connection(url, seconds, source) as connection:
        return connection.send(message(method, path, headers, body, host)).receive(method)


def get(url, path, headers=(), **rest):
    return ask(url, "GET", path, headers, **rest)


def basic(client, secret):
    return "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()


def claims(token):
    """The claims of a token whose signature is not the question, as text."""
    return part(token, 1)


def max_age(answer):
    """How long a public document may be kept, in seconds."""
    [seconds] = re.fullmatch(r"public, max-age=(\d+)", answer.headers["cache-control"]).groups()
    return int(seconds)


def header(token):
    return json.loads(part(token, 0))


def part(token, index):
    encoded = token.split(".")[index]
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


def check_refusal(answer, status, says="", error="invalid_request", secret=MARK, names=False):
    """Demands a JSON error of the contract that repeats neither MARK nor the secret.

    `names`: MARK is the name of what the policy refused, and a caller that proved who it is may be told.
    """
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json", answer
    assert answer.headers["cache-control"] == "no-store", answer
    body = answer.json()
    assert set(body) == {"error", "error_description"} and body["error"] == error, body
    assert says in body["error_description"], body
    # RFC 6749 section 5.2: printable ASCII without quotes and backslashes.
    assert all(" " <= c <= "~" and c not in '"\\' for c in body["error_description"]), body
    whole = str(answer.headers).encode() + answer.body
    assert (names or MARK.encode() not in whole) and secret.encode() not in whole, answer
