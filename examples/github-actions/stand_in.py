"""What GitHub does for a job, on loopback: it hands out tokens with the claims of a file, and shows the key they are signed with.

usage: stand_in.py CLAIMS. Prints its port. A request for a token wants the bearer `stand-in`, as GitHub wants the job's own.
"""

import base64
import http.server
import json
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

folder = tempfile.TemporaryDirectory()
key = Path(folder.name) / "key.pem"
subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
printed = subprocess.run(["openssl", "rsa", "-in", key, "-noout", "-modulus"], check=True, capture_output=True, text=True).stdout


def encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


modulus = bytes.fromhex(printed.strip().removeprefix("Modulus="))
JWKS = {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "stand-in", "e": "AQAB", "n": encoded(modulus)}]}


def token(audience):
    now = int(time.time())
    claims = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    claims |= {"aud": audience, "jti": str(uuid.uuid4()), "iat": now, "nbf": now, "exp": now + 300}
    header = {"typ": "JWT", "alg": "RS256", "kid": "stand-in"}
    text = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    sign = ["openssl", "dgst", "-sha256", "-sign", key]
    return f"{text}.{encoded(subprocess.run(sign, input=text.encode(), check=True, capture_output=True).stdout)}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        place = urlsplit(self.path)
        if place.path == "/.well-known/jwks":
            self.answer(200, JWKS)
        elif self.headers["Authorization"] != "bearer stand-in":
            self.answer(401, {})
        else:
            [audience] = parse_qs(place.query).get("audience", ["https://github.com/octo-org"])
            self.answer(200, {"count": 1, "value": token(audience)})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
