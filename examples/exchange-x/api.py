#!/usr/bin/env python3
"""An API behind the gate: it asks about each request, as Caddy would in front of it, and reads the
claims of tokens that were let in.

It knows no secret and never asks X.
"""

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE, AUTHORITY = os.environ["API"], os.environ["AUTHORITY"]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": self.path}
        if authorization := self.headers.get("Authorization"):
            asked["Authorization"] = authorization
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{AUTHORITY}/gate", headers=asked), timeout=30):
                pass
        except urllib.error.HTTPError as why:
            return self.send(why.code, {"refused": why.headers.get("WWW-Authenticate", "")})
        payload = authorization.split(" ")[1].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return self.send(200, {name: claims[name] for name in ("sub", "name", "id", "username")})

    def send(self, status, value):
        text = (json.dumps(value) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", urllib.parse.urlsplit(HERE).port), Handler).serve_forever()
