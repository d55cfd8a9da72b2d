#!/usr/bin/env python3
"""A service to try the examples with: answers every request with what arrived, as JSON.

    python3 upstream.py [PORT]

It listens on 127.0.0.1, port 9000 if none is given. A WebSocket handshake gets its 101 and then the same JSON as one text
message. `seen` holds every request since the start, for the tests.
"""

import base64
import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Seen(NamedTuple):
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name):
        """Any method is answered."""
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self):
        body = self.read_body()
        # `path` has lost doubled slashes; the request line is as it came.
        method, target, _ = self.requestline.split(" ")
        self.server.seen.append(Seen(method, target, self.headers.items(), body))
        headers = [f"{name}: {value}" for name, value in self.headers.items()]
        shown = {"method": method, "target": target, "headers": headers, "body": body.decode("latin-1")}
        text = (json.dumps(shown, indent=1) + "\n").encode()
        names = [name.strip().lower() for name in self.headers.get("Connection", "").split(",")]
        if self.headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in names:
            self.shake_hands(text)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if method != "HEAD":
            self.wfile.write(text)

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b"\n", b""):
            pass
        return body

    def shake_hands(self, text):
        key = self.headers.get("Sec-WebSocket-Key", "").encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + GUID).digest()).decode())
        # A browser wants one of its own entries back: the marker, never the token.
        if offered := self.headers.get("Sec-WebSocket-Protocol"):
            self.send_header("Sec-WebSocket-Protocol", offered.split(",")[0].strip())
        self.end_headers()
        self.wfile.write(b"\x81\x7e" + len(text).to_bytes(2, "big") + text)
        self.close_connection = True

    def log_message(self, *_):
        pass


class Upstream(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.seen = []


if __name__ == "__main__":
    try:
        Upstream(int(sys.argv[1]) if len(sys.argv) > 1 else 9000).serve_forever()
    except KeyboardInterrupt:
        pass
