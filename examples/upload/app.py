#!/usr/bin/env python3
"""The server of the page: serves it, and asks Countersign for upload permissions. Python's standard library alone.

It never sees a picture. It says whose upload it is and how large the file will be; where it goes and what it may be is in
countersign.toml. The user who is signed in to your application belongs where `USER` stands here.
"""

import base64
import json
import os
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HERE, AUTHORITY, STORAGE = (os.environ[name] for name in ("APP", "AUTHORITY", "STORAGE"))
CREDENTIALS = base64.b64encode(f"pictures:{os.environ['PICTURES_SECRET']}".encode()).decode()
FOLDER = Path(__file__).resolve().parent
MODULE = FOLDER.parents[1] / "clients/js/dist/countersign-upload.min.js"
FILES = {
    "/": (FOLDER / "page/index.html", "text/html; charset=utf-8"),
    "/style.css": (FOLDER / "page/style.css", "text/css"),
    "/upload.js": (FOLDER / "page/upload.js", "text/javascript"),
    "/countersign-upload.min.js": (MODULE, "text/javascript"),
}
POLICY = (f"default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' {AUTHORITY} {STORAGE}; "
          "form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
USER, MAX_BODY = "alice", 4096
UNAVAILABLE = "Pictures cannot be sent at the moment. Try again later."


def permission(asked):
    """A permission for one file of this user, by `POST /uploads`: status and answer."""
    body = {"data": {"sub": USER}, "upload": {"to": "pictures", "content_type": asked["type"], "bytes": asked["bytes"]}}
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {CREDENTIALS}"}
    request = urllib.request.Request(f"{AUTHORITY}/uploads", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            token = json.load(answer)["upload_token"]
    except urllib.error.HTTPError as why:
        if why.code in (400, 403):
            return 400, {"message": "This picture cannot be sent: it has to be PNG or JPEG, with at most 5\u00a0MB."}
        return 502, {"message": UNAVAILABLE}
    except OSError:
        return 502, {"message": UNAVAILABLE}
    return 200, {"upload_token": tampered(token) if asked.get("tamper") else token}


def tampered(token):
    """What somebody between this server and the page could do: the same permission, for a bucket of his own."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["upload"]["url"] = f"{STORAGE}/somebody-elses"
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{payload}.{signature}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        file, kind = FILES.get(urlsplit(self.path).path, (None, None))
        if not file:
            return self.send(404, "not found\n", "text/plain")
        return self.send(200, file.read_text(encoding="utf-8").replace("@ISSUER@", AUTHORITY), kind)

    def do_POST(self):
        # Forms and scripts of other pages cannot send this header with another value.
        if self.path != "/permission" or self.headers.get("Origin") != HERE:
            return self.send(404, "not found\n", "text/plain")
        try:
            length = int(self.headers.get("Content-Length") or 0)
            asked = json.loads(self.rfile.read(length)) if length <= MAX_BODY else None
            asked["type"], asked["bytes"]
        except (ValueError, KeyError, TypeError):
            return self.send(400, json.dumps({"message": "The request cannot be read."}), "application/json")
        status, answer = permission(asked)
        return self.send(status, json.dumps(answer), "application/json")

    def send(self, status, text, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", urlsplit(HERE).port), Handler).serve_forever()
