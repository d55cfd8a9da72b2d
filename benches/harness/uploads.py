"""`POST /uploads` beside `POST /sign` with the same key and client: what the form costs, which is five HMACs and a longer token.

The bucket's credentials are a pair of keys, so that nothing is asked of anybody; the bucket itself is never asked.
"""

import base64
import json
from pathlib import Path

import jwt

from harness import contract, load, servers
from harness.contract import AUDIENCE, DATA, DURATION, JWKS, require
from harness.over_http import latency
from harness.servers import Server
from harness.turns import Plan, compared, details, heading, in_turns

#: ES256 has the form beside a signature that is cheap, where it shows most.
ALGORITHMS = ["RS256", "ES256"]
SIGN, UPLOADS = "/sign", "/uploads"
DESTINATION = """
[uploads.photos]
bucket = "photos"
region = "eu-west-1"
key = "uploads/{sub}/{uuid}"
content_types = ["image/png"]
max_bytes = 10_000_000
lifetime = "1h"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "file:{secret}"
"""
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PROFILES, CLIENTS = 'profiles = ["*"]', "[[clients]]"


def measure(programs: Path, rounds: int, seconds: float, folder: Path) -> None:
    for algorithm in ALGORITHMS:
        own = folder / f"uploads-{algorithm}"
        own.mkdir()
        secret = own / "bucket.secret"
        secret.touch(0o600)
        secret.write_text(SECRET)
        more = {PROFILES: PROFILES + '\nuploads = ["photos"]', CLIENTS: DESTINATION.replace("{secret}", str(secret)) + CLIENTS}
        with servers.countersign(programs, own, algorithm=algorithm, more=more) as server:
            contract.check_sign(server.name, server.port, server.issuer, server.client_id, server.secret, algorithm)
            check(server, algorithm)
            rates = in_turns(Plan(rounds, seconds, 2), {
                UPLOADS: lambda duration: asked(server, UPLOADS, body(), duration),
                SIGN: lambda duration: load.sign(server, duration),
            })
        heading(f"`POST /uploads` {algorithm} over HTTP, one core")
        print(f"| the form and its token | {compared(rates[UPLOADS], SIGN, rates[SIGN], None)} |")
        for path, each in rates.items():
            details(path, algorithm, each, latency(each))


def body() -> str:
    """The same claims and lifetime as `/sign` is asked for, and what is to be uploaded."""
    upload = {"to": "photos", "content_type": "image/png", "bytes": 48_213}
    asked = {"data": DATA, "metadata": {"duration": DURATION, "audience": AUDIENCE}, "upload": upload}
    return json.dumps(asked, separators=(",", ":"))


def asked(server: Server, path: str, body: str, seconds: float) -> load.Load:
    environment = {"AUTHORIZATION": contract.basic(server.client_id, server.secret), "BODY": body}
    return load.wrk(server, path, "sign.lua", seconds, environment)


def check(server: Server, algorithm: str) -> None:
    """A token that PyJWT accepts, with a form whose policy is for its object."""
    basic = contract.basic(server.client_id, server.secret)
    status, _, answer = contract.fetch(server.port, UPLOADS, body(), basic)
    require(server.name, status == 200, f"/uploads answers {status}: {answer[:200]!r}")
    token = json.loads(answer)["upload_token"]
    keys = jwt.PyJWKSet.from_dict(json.loads(contract.fetch(server.port, JWKS)[2]))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, [algorithm], audience=AUDIENCE, issuer=server.issuer)
    fields = claims["upload"]["fields"]
    policy = json.loads(base64.b64decode(fields["policy"]))
    require(server.name, {"key": fields["key"]} in policy["conditions"], "the policy is for another object")
    require(server.name, DATA.items() <= claims.items(), "the token lacks claims")
