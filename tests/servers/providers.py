#!/usr/bin/env python3
"""Providers of logins on loopback: X, GitHub, Google, Facebook, and one with introspection and userinfo.

They answer as the real ones document, to applications, codes and tokens that were made here, and misbehave for tokens and
codes that were made to (`fault`). Nothing but Python's standard library is needed:

    python3 providers.py PORT

then serves one application, and anyone who opens `/i/oauth2/authorize` is logged in as Alice. `GET /seen` counts requests.
"""

import base64
import hashlib
import hmac
import json
import secrets
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

APPLICATION, SECRET = "our-application", "secret-of-our-application"
REDIRECT = "http://127.0.0.1:8000/callback"
HUGE = 200 * 1024
#: The longest a slow answer is held back if nobody ends it.
SLOW = 60


@dataclass
class User:
    """One user, as every provider knows them."""

    id: str = "2244994945"
    name: str = "Alice Example"
    username: str = "alice"
    email: str = "alice@example.com"


@dataclass
class Token:
    user: User
    application: str = APPLICATION
    scopes: tuple = ("tweet.read", "users.read")
    ends: float = 0.0
    #: What is wrong, by endpoint (`token`, `check`, `profile`): a name of `FAULTS`, or a function of the answer's body.
    fault: dict = field(default_factory=dict)


@dataclass
class Code:
    token: Token
    redirect_uri: str
    challenge: str
    used: bool = False


class Refusal(Exception):
    """An answer that refuses."""

    def __init__(self, status, body, headers=()):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, dict(headers)


def challenge(verifier):
    """PKCE's S256 (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


class Providers(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port=0, redirect_uris=(REDIRECT,), tls=None):
        super().__init__(("127.0.0.1", port), Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.applications = {APPLICATION: SECRET, "another-application": "another-secret"}
        self.redirect_uris, self.alice = set(redirect_uris), User()
        self.tokens, self.codes, self.seen, self.lock = {}, {}, [], threading.Lock()
        self.released = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def token(self, user=None, lifetime=3600, text=None, **rest):
        """A new access token."""
        text = text or "opaque_" + secrets.token_urlsafe(24)
        self.tokens[text] = Token(user or self.alice, ends=time.time() + lifetime, **rest)
        return text

    def code(self, verifier, redirect_uri=REDIRECT, lifetime=3600, user=None, **rest):
        """A new authorization code."""
        text = "code_" + secrets.token_urlsafe(24)
        token = Token(user or self.alice, ends=time.time() + lifetime, **rest)
        self.codes[text] = Code(token, redirect_uri, challenge(verifier))
        return text

    def asked(self, path=None):
        """The requests so far, of one path."""
        with self.lock:
            return [one for one in self.seen if path is None or one["path"] == path]

    def handle_error(self, request, client_address):
        """Clients that hang up are expected."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Providers

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def answer(self):
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.query = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        self.body, self.fault = body, None
        kind = self.headers.get("Content-Type", "")
        self.form = dict(urllib.parse.parse_qsl(body)) if kind == "application/x-www-form-urlencoded" else {}
        if parts.path == "/seen":
            counts = {}
            for one in self.server.asked():
                counts[one["path"]] = counts.get(one["path"], 0) + 1
            return self.send(200, json.dumps(counts))
        with self.server.lock:
            self.server.seen.append({"method": self.command, "path": parts.path, "query": self.query, "form": self.form,
                                     "body": body, "headers": {name.lower(): value for name, value in self.headers.items()}})
        found = self.route(self.command, parts.path)
        if found is None:
            return self.send(404, '{"error":"not found"}')
        try:
            status, answer, headers = 200, found(self), {}
        except Refusal as why:
            status, answer, headers = why.status, why.body, why.headers
        if status in (302, 303):
            return self.send(status, "", headers)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        if callable(self.fault):
            text = self.fault(text)
        elif self.fault:
            return FAULTS[self.fault](self, text)
        return self.send(status, text, headers)

    def route(self, method, path):
        if path.startswith("/applications/") and path.endswith("/token"):
            return GitHub.check if method == "POST" else None
        return ROUTES.get((method, path))

    def send(self, status, text, headers=None, kind="application/json; charset=utf-8"):
        data = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    # What endpoints have in common.

    def basic(self):
        """The application of HTTP Basic, if its secret is right."""
        scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        id, _, secret = base64.b64decode(credentials).decode().partition(":")
        id, secret = urllib.parse.unquote_plus(id), urllib.parse.unquote_plus(secret)
        return id if self.server.applications.get(id) == secret else None

    def known(self, text, endpoint):
        """A token that is valid, and what is wrong with its answers."""
        token = self.server.tokens.get(text)
        if token:
            self.fault = token.fault.get(endpoint)
        return token if token and token.ends > time.time() else None

    def bearer(self, endpoint="profile"):
        return self.known(self.headers.get("Authorization", "").removeprefix("Bearer "), endpoint)

    def redeem(self, application, refuse):
        """The token for a code (RFC 6749 section 4.1.3)."""
        code = self.server.codes.get(self.form.get("code"))
        self.fault = code and code.token.fault.get("token")
        if self.fault and not callable(self.fault):
            return {}
        if self.form.get("grant_type", "authorization_code") != "authorization_code":
            refuse("unsupported_grant_type")
        if not code or code.used or code.token.application != application or self.form.get("redirect_uri") != code.redirect_uri:
            refuse("invalid_grant")
        if challenge(self.form.get("code_verifier", "")) != code.challenge:
            refuse("invalid_grant")
        code.used = True
        text = self.server.token(text=None, user=code.token.user, scopes=code.token.scopes, fault=code.token.fault,
                                 application=application, lifetime=code.token.ends - time.time())
        return {"token_type": "bearer", "access_token": text, "expires_in": int(code.token.ends - time.time()),
                "scope": " ".join(code.token.scopes)}


class X:
    """docs.x.com: OAuth 2.0 with PKCE for confidential clients, `GET /2/users/me`."""

    def authorize(self):
        query = self.query
        wanted = {"response_type": "code", "client_id": APPLICATION, "code_challenge_method": "S256"}
        if any(query.get(name) != value for name, value in wanted.items()) or query.get("redirect_uri") not in self.server.redirect_uris:
            raise Refusal(400, {"error": "invalid_request"})
        text = "code_" + secrets.token_urlsafe(24)
        token = Token(self.server.alice, scopes=tuple(query.get("scope", "").split()), ends=time.time() + 7200)
        self.server.codes[text] = Code(token, query["redirect_uri"], query["code_challenge"])
        back = urllib.parse.urlencode({"code": text, "state": query.get("state", "")})
        raise Refusal(302, "", {"Location": f"{query['redirect_uri']}?{back}"})

    def token(self):
        application = self.basic()
        if application is None:
            raise Refusal(401, {"error": "unauthorized_client", "error_description": "Missing valid authorization header"})

        def refuse(_):
            raise Refusal(400, {"error": "invalid_request", "error_description": f"Value passed for the code was invalid: {self.form.get('code')}"})

        return self.redeem(application, refuse)

    def me(self):
        token = self.bearer()
        if token is None:
            raise Refusal(401, {"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"})
        if "users.read" not in token.scopes:
            raise Refusal(403, {"title": "Forbidden", "status": 403, "detail": "Forbidden"})
        user = token.user
        more = {name: f"{name} of {user.username}" for name in self.query.get("user.fields", "").split(",")
                if name not in ("", "id", "name", "username")}
        return {"data": {"id": user.id, "name": user.name, "username": user.username} | more}


class GitHub:
    """docs.github.com: `POST /applications/{client_id}/token`, `GET /user`."""

    def token(self):
        application = self.form.get("client_id")
        if self.server.applications.get(application) != self.form.get("client_secret"):
            return {"error": "incorrect_client_credentials", "error_description": "The client_id and/or client_secret passed are incorrect."}

        def refuse(_):
            raise Refusal(200, {"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."})

        answer = self.redeem(application, refuse)
        return {name: value for name, value in answer.items() if name != "expires_in"} | {"scope": answer.get("scope", "").replace(" ", ",")}

    def check(self):
        application = self.basic()
        if application is None or self.path != f"/applications/{application}/token":
            raise Refusal(401, {"message": "Bad credentials"})
        token = self.known(json.loads(self.body)["access_token"], "check")
        if token is None or token.application != application:
            raise Refusal(404, {"message": "Not Found"})
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.ends))
        return {"app": {"client_id": token.application, "name": "ours"}, "scopes": list(token.scopes), "expires_at": ends,
                "user": {"login": token.user.username, "id": int(token.user.id)}}

    def user(self):
        if not self.headers.get("User-Agent"):
            raise Refusal(403, "Request forbidden by administrative rules.")
        token = self.bearer()
        if token is None:
            raise Refusal(401, {"message": "Bad credentials"})
        user = token.user
        # The id as a number, however long.
        return '{"login":%s,"id":%s,"name":%s,"email":null,"company":null,"site_admin":false,"plan":{"space":400}}' % (
            json.dumps(user.username), user.id, json.dumps(user.name))


class Google:
    """`tokeninfo` and OpenID Connect's userinfo."""

    def token(self):
        application = self.form.get("client_id")
        if self.server.applications.get(application) != self.form.get("client_secret"):
            raise Refusal(401, {"error": "invalid_client", "error_description": "Unauthorized"})

        def refuse(error):
            raise Refusal(400, {"error": error, "error_description": "Bad Request"})

        return self.redeem(application, refuse) | {"id_token": "not looked at"}

    def tokeninfo(self):
        token = self.known(self.query.get("access_token"), "check")
        if token is None:
            raise Refusal(400, {"error": "invalid_token", "error_description": f"Invalid Value {self.query.get('access_token')}"})
        answer = {"azp": token.application, "aud": token.application, "scope": " ".join(token.scopes),
                  "exp": str(int(token.ends)), "expires_in": str(int(token.ends - time.time())), "access_type": "online"}
        return answer | ({"sub": token.user.id} if "openid" in token.scopes else {})

    def userinfo(self):
        token = self.bearer()
        if token is None or "openid" not in token.scopes:
            raise Refusal(401, {"error": "invalid_request", "error_description": "Invalid Credentials"})
        return {"sub": token.user.id, "name": token.user.name, "email": token.user.email, "email_verified": True}


class Facebook:
    """Graph API: `debug_token` and `me`, ids as strings."""

    def token(self):
        application = self.form.get("client_id")

        def refuse(_):
            raise Refusal(400, {"error": {"message": "This authorization code has been used.", "type": "OAuthException", "code": 100}})

        if self.server.applications.get(application) != self.form.get("client_secret"):
            raise Refusal(400, {"error": {"message": "Error validating client secret.", "type": "OAuthException", "code": 1}})
        answer = self.redeem(application, refuse)
        return {name: value for name, value in answer.items() if name != "scope"}

    def debug_token(self):
        id, _, secret = self.query.get("access_token", "").partition("|")
        if self.server.applications.get(id) != secret:
            raise Refusal(400, {"error": {"message": "Invalid OAuth access token signature.", "type": "OAuthException", "code": 190}})
        token = self.server.tokens.get(self.query.get("input_token"))
        if token is None:
            return {"data": {"is_valid": False, "error": {"code": 190, "message": "Malformed access token"}, "scopes": []}}
        self.fault = token.fault.get("check")
        return {"data": {"app_id": token.application, "type": "USER", "is_valid": token.ends > time.time(), "user_id": token.user.id,
                         "scopes": list(token.scopes), "expires_at": int(token.ends), "issued_at": int(time.time())}}

    def me(self):
        text = self.query.get("access_token", "")
        token = self.known(text, "profile")
        secret = self.server.applications.get(token.application, "") if token else ""
        proof = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if token is None or self.query.get("appsecret_proof") != proof:
            raise Refusal(400, {"error": {"message": f"Error validating access token {text}", "type": "OAuthException", "code": 190}})
        user = {"id": token.user.id, "name": token.user.name, "email": token.user.email}
        return {name: user[name] for name in self.query.get("fields", "id,name").split(",") if name in user}


class Generic:
    """RFC 7662 and OpenID Connect's userinfo."""

    def token(self):
        application = self.basic()
        if application is None:
            raise Refusal(401, {"error": "invalid_client"})

        def refuse(error):
            raise Refusal(400, {"error": error})

        return self.redeem(application, refuse)

    def introspect(self):
        if self.basic() is None:
            raise Refusal(401, {"error": "invalid_client"})
        token = self.known(self.form.get("token"), "check")
        if token is None:
            return {"active": False}
        return {"active": True, "client_id": token.application, "aud": ["https://api.theirs.example", "x"], "sub": token.user.id,
                "username": token.user.username, "scope": " ".join(token.scopes), "exp": int(token.ends), "token_type": "Bearer"}

    def userinfo(self):
        token = self.bearer()
        if token is None:
            raise Refusal(401, "", {"WWW-Authenticate": 'Bearer error="invalid_token"', "Content-Type": "text/plain"})
        return {"sub": token.user.id, "name": token.user.name, "azp": token.application}


ROUTES = {
    ("GET", "/i/oauth2/authorize"): X.authorize,
    ("POST", "/2/oauth2/token"): X.token,
    ("GET", "/2/users/me"): X.me,
    ("POST", "/login/oauth/access_token"): GitHub.token,
    ("GET", "/user"): GitHub.user,
    ("POST", "/google/token"): Google.token,
    ("GET", "/tokeninfo"): Google.tokeninfo,
    ("GET", "/v1/userinfo"): Google.userinfo,
    ("POST", "/oauth/access_token"): Facebook.token,
    ("GET", "/debug_token"): Facebook.debug_token,
    ("GET", "/me"): Facebook.me,
    ("POST", "/token"): Generic.token,
    ("POST", "/introspect"): Generic.introspect,
    ("GET", "/userinfo"): Generic.userinfo,
}


# How they misbehave: each gets the handler and what it would have answered.


def slow(handler, text):
    """Says nothing until the end of the test."""
    handler.server.released.wait(SLOW)


def drip(handler, text):
    """A byte now and then, so that no single wait is long."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.released.wait(0.2):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def closed(handler, text):
    """Hangs up in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(text) + 10))
    handler.end_headers()
    handler.wfile.write(text.encode())
    handler.close_connection = True


def plain(status, headers=None, body='{"error":"on purpose"}', kind="application/json"):
    return lambda handler, text: handler.send(status, body, headers, kind)


def window(handler, text):
    """X and GitHub say when their window ends, in seconds since 1970."""
    handler.send(429, '{"title":"Too Many Requests"}', {"x-rate-limit-reset": str(int(time.time()) + 300)})


FAULTS = {
    "slow": slow,
    "drip": drip,
    "closed": closed,
    "429": plain(429),
    "429 after 1": plain(429, {"Retry-After": "1"}),
    "429 after 7": plain(429, {"Retry-After": "7"}),
    "429 after a year": plain(429, {"Retry-After": "31536000"}),
    "429 window": window,
    "403 after 9": plain(403, {"Retry-After": "9"}),
    "500": plain(500),
    "503 after 11": plain(503, {"Retry-After": "11"}),
    "302": lambda handler, text: handler.send(302, text, {"Location": f"{handler.server.url}/elsewhere"}),
    "html": plain(200, body="<html>hello</html>", kind="text/html"),
    "html 403": plain(403, body="<html>just a moment</html>", kind="text/html"),
    "text": lambda handler, text: handler.send(200, text, kind="text/plain"),
    "huge": lambda handler, text: handler.send(200, text[:-1] + ',"more":"' + "x" * HUGE + '"}'),
    "duplicate": lambda handler, text: handler.send(200, text[:-1] + ',"\\u0069d":"1","id":"2","sub":"1","sub":"2"}'),
    "not json": plain(200, body="{"),
    "a list": plain(200, body="[]"),
    "nothing": plain(200, body="{}"),
    "404": plain(404),
    "Graph 4": plain(400, body='{"error":{"message":"limit","code":4}}'),
    "Graph 2": plain(400, body='{"error":{"message":"later","code":2}}'),
}


if __name__ == "__main__":
    with Providers(int(sys.argv[1]), redirect_uris=sys.argv[2:] or (REDIRECT,)) as server:
        print(f"providers on {server.url}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
