#!/usr/bin/env python3
"""A stand-in for the login provider that an application has (Firebase, Cognito, Auth0, Keycloak, …): OpenID Connect with codes
and PKCE, on loopback, and people who sign in by clicking on their name.

usage: login.py PORT CALLBACK CLIENT_ID. ID tokens live LOGIN_SECONDS, an hour if that is not set. Python's standard library and
openssl; nothing here is meant for anybody else.
"""

import base64
import hashlib
import html
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

PORT, CALLBACK, CLIENT_ID = int(sys.argv[1]), sys.argv[2], sys.argv[3]
ISSUER, SECONDS = f"http://127.0.0.1:{PORT}", int(os.environ.get("LOGIN_SECONDS", "3600"))
PEOPLE = {
    "alice": {
        "name": "Alice Example", "email": "alice@example.com", "email_verified": True, "picture": "https://example.com/alice.png",
    },
    "bob": {"name": "Bob Example", "email": "bob@example.com", "email_verified": False},
}
#: Codes that were given out: whose, for which challenge and nonce. Each is redeemed once.
codes = {}

folder = tempfile.TemporaryDirectory()
key = Path(folder.name) / "key.pem"
subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
printed = subprocess.run(["openssl", "rsa", "-in", key, "-noout", "-modulus"], check=True, capture_output=True, text=True).stdout


def encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


modulus = bytes.fromhex(printed.strip().removeprefix("Modulus="))
JWKS = {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "login", "e": "AQAB", "n": encoded(modulus)}]}
DISCOVERY = {
    "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/authorize", "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks", "response_types_supported": ["code"], "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
}
PAGE = """<!doctype html><html lang="en"><title>Sign in</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width">
<style>:root {{ color-scheme: light dark }} a {{ display: block; padding: .75rem 0 }}
body {{ font: 1rem/1.5 system-ui; max-width: 24rem; margin: 2rem auto; padding: 0 1rem }}</style>
<h1>Sign in</h1><p>A stand-in for your login provider. Who are you?</p>{}</html>"""


def id_token(person, nonce):
    now = int(time.time())
    header = {"typ": "JWT", "alg": "RS256", "kid": "login"}
    claims = {"iss": ISSUER, "aud": CLIENT_ID, "sub": person, "nonce": nonce, "iat": now, "exp": now + SECONDS}
    text = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims | PEOPLE[person]))
    sign = ["openssl", "dgst", "-sha256", "-sign", key]
    return f"{text}.{encoded(subprocess.run(sign, input=text.encode(), check=True, capture_output=True).stdout)}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        place = urlsplit(self.path)
        query = dict(parse_qsl(place.query))
        known = {"/jwks": JWKS, "/.well-known/openid-configuration": DISCOVERY}.get(place.path)
        if known:
            return self.send(200, json.dumps(known), "application/json")
        good = query.get("client_id") == CLIENT_ID and query.get("redirect_uri") == CALLBACK
        if place.path != "/authorize" or not good or query.get("code_challenge_method") != "S256":
            return self.send(400, "not a request that this provider knows\n", "text/plain")
        person = query.pop("person", None)
        if person not in PEOPLE:
            links = (f'<a href="?{html.escape(urlencode(query | {"person": who}))}">{PEOPLE[who]["name"]}</a>' for who in PEOPLE)
            return self.send(200, PAGE.format("".join(links)), "text/html; charset=utf-8")
        code = secrets.token_urlsafe(24)
        codes[code] = (person, query.get("code_challenge"), query.get("nonce"))
        answer = urlencode({"code": code, "state": query.get("state", "")})
        return self.send(302, "", "text/plain", f"{CALLBACK}?{answer}")

    def do_POST(self):
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        person, challenge, nonce = codes.pop(form.get("code"), (None, None, None))
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if self.path != "/token" or not person or encoded(verifier) != challenge:
            return self.send(400, json.dumps({"error": "invalid_grant"}), "application/json")
        answer = {"id_token": id_token(person, nonce), "access_token": secrets.token_urlsafe(24), "token_type": "Bearer"}
        return self.send(200, json.dumps(answer | {"expires_in": SECONDS}), "application/json")

    def send(self, status, text, kind, location=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
