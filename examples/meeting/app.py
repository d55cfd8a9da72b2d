#!/usr/bin/env python3
"""The server of the page: signs people in at their login provider, and gets meeting tokens for them. Standard library.

The browser holds a session cookie and nothing else until it joins. The ID token of the user stays here; so does the
secret of this client of Countersign. Which rooms there are, and what a token may say, is in countersign.toml.
"""

import base64
import hashlib
import json
import os
import re
import secrets
import time
import urllib.error
import urllib.request
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

HERE, LOGIN, AUTHORITY, MEETINGS = (os.environ[name] for name in ("APP", "LOGIN", "AUTHORITY", "MEETINGS"))
CLIENT_ID, CALLBACK, PAGE = "meeting-page", f"{HERE}/callback", Path(__file__).parent / "page"
CREDENTIALS = base64.b64encode(f"meet:{os.environ['MEET_SECRET']}".encode()).decode()
KINDS = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}
MAX_BODY, ROOM = 4096, re.compile(r"[\w.~-]{1,100}")
#: Logins under way by `state`, and sessions by the value of their cookie. A real application has a store.
started, sessions = {}, {}


def fetch(url, form, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, urlencode(form).encode(), headers), timeout=10) as answer:
        return json.load(answer)


class Refused(Exception):
    """An answer with a status and one of the codes that the page has a sentence for."""

    def __init__(self, status, code):
        self.status, self.code = status, code


def meeting_token(session, room):
    """A token of Countersign for this user and this room (RFC 8693): the user's ID token is exchanged for it."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": session["id_token"],
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "requested_token_type": "urn:countersign:params:oauth:token-type:jaas",
        "room": room,
    }
    try:
        answer = fetch(f"{AUTHORITY}/token", form, Authorization=f"Basic {CREDENTIALS}")
    except urllib.error.HTTPError as why:
        told = json.load(why).get("error")
        # What the page cannot mend (a wrong secret, an outage) is one thing to it; the operator finds it in Countersign's audit.
        refused = {"invalid_target": Refused(403, "room_not_allowed"), "invalid_request": Refused(403, "sign_in_refused")}
        raise refused.get(told, Refused(502, "unavailable")) from why
    except OSError as why:
        raise Refused(502, "unavailable") from why
    return {"token": answer["access_token"], "room": room, "expires_in": answer["expires_in"]}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        place = urlsplit(self.path)
        if place.path == "/login":
            return self.login()
        if place.path == "/callback":
            return self.callback(dict(parse_qsl(place.query)))
        if place.path == "/me":
            return self.answer(self.me)
        return self.page("index.html" if place.path == "/" else place.path[1:])

    def do_POST(self):
        # Forms and scripts of other pages cannot send this header with another value.
        if self.headers.get("Origin") != HERE:
            return self.send(403, "this request came from another page\n")
        if self.path == "/logout":
            sessions.pop(self.cookie("session"), None)
            return self.send(303, "", Location="/", Set_Cookie="session=; Max-Age=0; Path=/")
        if self.path != "/meeting-token":
            return self.send(404, "not found\n")
        return self.answer(lambda: meeting_token(self.session(), self.room()))

    def answer(self, make):
        try:
            status, value = 200, make()
        except Refused as why:
            status, value = why.status, {"error": why.code}
        return self.send(status, json.dumps(value), Content_Type="application/json", Cache_Control="no-store")

    def session(self):
        """The session of this browser, as long as its ID token lives."""
        session = sessions.get(self.cookie("session"))
        if not session or time.time() >= session["claims"]["exp"]:
            raise Refused(401, "not_signed_in")
        return session

    def me(self):
        """For a page that has just been opened, where it is no error that nobody is signed in."""
        try:
            return {"name": self.session()["claims"].get("name", "Signed in")}
        except Refused:
            return {"name": None}

    def room(self):
        length = int(self.headers.get("Content-Length") or 0)
        try:
            room = json.loads(self.rfile.read(length))["room"] if length <= MAX_BODY else None
        except (ValueError, KeyError, TypeError):
            room = None
        # The name becomes a part of an address, and 8x8 compares it in lower case.
        if not isinstance(room, str) or not ROOM.fullmatch(room):
            raise Refused(400, "room_not_allowed")
        return room.lower()

    def login(self):
        state, verifier, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        started[state] = (verifier, nonce)
        query = {
            "response_type": "code", "client_id": CLIENT_ID, "redirect_uri": CALLBACK, "scope": "openid profile email",
            "state": state, "nonce": nonce, "code_challenge": encoded(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        return self.send(302, "", Location=f"{LOGIN}/authorize?{urlencode(query)}",
                         Set_Cookie=f"state={state}; HttpOnly; SameSite=Lax; Path=/callback")

    def callback(self, query):
        # The login that comes back is one that this browser has begun.
        verifier, nonce = started.pop(query.get("state"), (None, None))
        if not verifier or self.cookie("state") != query["state"] or "code" not in query:
            return self.send(400, "this login was not begun here\n")
        form = {
            "grant_type": "authorization_code", "code": query["code"], "redirect_uri": CALLBACK, "client_id": CLIENT_ID,
            "code_verifier": verifier,
        }
        try:
            id_token = fetch(f"{LOGIN}/token", form)["id_token"]
        except (OSError, KeyError):
            return self.send(502, "the login provider could not be asked\n")
        # It comes from the provider itself (OpenID Connect Core 3.1.3.7, 6); Countersign verifies its signature at each exchange.
        claims = json.loads(base64.urlsafe_b64decode(id_token.split(".")[1] + "=="))
        if (claims["iss"], claims["aud"], claims.get("nonce")) != (LOGIN, CLIENT_ID, nonce):
            return self.send(502, "the login provider answered with a token for somebody else\n")
        session = secrets.token_urlsafe(32)
        sessions[session] = {"id_token": id_token, "claims": claims}
        # Over https also `Secure`, and the name `__Host-session`.
        return self.send(302, "", Location="/", Set_Cookie=f"session={session}; HttpOnly; SameSite=Lax; Path=/")

    def cookie(self, name):
        found = SimpleCookie(self.headers.get("Cookie")).get(name)
        return found and found.value

    def page(self, name):
        file = PAGE / name
        if file.parent != PAGE or file.suffix not in KINDS or not file.is_file():
            return self.send(404, "not found\n")
        text = file.read_text(encoding="utf-8").replace("@MEETINGS@", MEETINGS).replace("@APP_ID@", os.environ["JAAS_APP_ID"])
        policy = (f"default-src 'none'; script-src 'self' {MEETINGS}; style-src 'self'; img-src data:; connect-src 'self'; "
                  f"frame-src {MEETINGS}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
        return self.send(200, text, Content_Type=KINDS[file.suffix], Content_Security_Policy=policy, Cache_Control="no-cache")

    def send(self, status, text, **headers):
        self.send_response(status)
        for name, value in ({"Content_Type": "text/plain", "X_Content_Type_Options": "nosniff"} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", urlsplit(HERE).port), Handler).serve_forever()
