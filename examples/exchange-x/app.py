#!/usr/bin/env python3
"""The backend of an application whose users log in with X: two routes, nothing but the standard library.

`/login` sends the browser to X, with PKCE. X sends it back to `/callback` with a code, which this
backend exchanges with Countersign, once, for a token of ours. It holds neither X's secret nor a
token of X.
"""

import base64
import hashlib
import json
import os
import secrets
import urllib.error
import urllib.parse
import urllib.request
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE, X, AUTHORITY = (os.environ[name] for name in ("APP", "X", "AUTHORITY"))
CLIENT_ID, CALLBACK = "our-application", f"{HERE}/callback"
CREDENTIALS = base64.b64encode(f"app:{os.environ['APP_SECRET']}".encode()).decode()
#: Logins under way: what the browser has to bring back (`state`), and the verifier that only we know.
started = {}


def exchange(code, verifier):
    """A token of ours for a code of X (RFC 8693)."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": code,
        "subject_token_type": "urn:countersign:params:oauth:token-type:authorization_code",
        "code_verifier": verifier,
        "redirect_uri": CALLBACK,
    }
    request = urllib.request.Request(f"{AUTHORITY}/token", urllib.parse.urlencode(form).encode())
    request.add_header("Authorization", f"Basic {CREDENTIALS}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path, query = urllib.parse.urlsplit(self.path)[2:4]
        query = dict(urllib.parse.parse_qsl(query))
        if path == "/login":
            return self.login()
        if path == "/callback":
            return self.callback(query)
        return self.send(404, "not found\n")

    def login(self):
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        started[state] = verifier
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code", "client_id": CLIENT_ID, "redirect_uri": CALLBACK, "state": state,
            "scope": "tweet.read users.read", "code_challenge_method": "S256",
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        }
        self.send(302, "", Location=f"{X}/i/oauth2/authorize?{urllib.parse.urlencode(query)}",
                  Set_Cookie=f"state={state}; HttpOnly; SameSite=Lax; Path=/callback")

    def callback(self, query):
        # The login that comes back is one that this browser has begun.
        cookie = SimpleCookie(self.headers.get("Cookie")).get("state")
        verifier = started.pop(query.get("state"), None)
        if verifier is None or cookie is None or cookie.value != query["state"] or "code" not in query:
            return self.send(400, "this login was not begun here\n")
        try:
            answer = exchange(query["code"], verifier)
        except urllib.error.HTTPError as why:
            return self.send(502, why.read().decode() + "\n")
        return self.send(200, json.dumps(answer) + "\n", Content_Type="application/json")

    def send(self, status, text, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", urllib.parse.urlsplit(HERE).port), Handler).serve_forever()
