"""Ory Hydra as a foreign issuer, and as a server that takes our tokens as assertions.

    COUNTERSIGN_BIN=target/debug/countersign PYTHONPATH=tests .tools/venv/bin/python tests/peers/hydra.py

Builds it once through the Go proxy into .tools (270 s of processor time; Apache-2.0), starts it
with everything in memory and prints a table. The benchmarks start it the same way
(benches/harness/grants.py).
"""

import json
import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import toolchains
from authority import until
from e2e import wire
from e2e.program import client, free_port
from e2e.test_jwt_bearer import GRANT as JWT_BEARER
from e2e.test_token_exchange import GRANT as EXCHANGE
from peers.told import (
    ASSERTION,
    BOTH,
    Table,
    asserted,
    authority,
    claims,
    exchanged,
    folder,
    ours,
    rule,
    signer,
    tried_here,
    with_another_signature,
)
from servers.held import holding

FOLDER, PACKAGE, TAGS = Path(__file__).parent / "hydra", "github.com/ory/hydra/v2", "sqlite"
VERSION, SECRET, SUBJECT = "2.3.0", "a-secret-of-a-client-of-hydra", "alice-of-ours"


class Hydra:
    def __init__(self, program, root, port, issuer, keys):
        self.public, admin = f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"
        self.url, self.admin, self.log = f"http://{self.public}", f"http://{admin}", root / "hydra.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                holding([program, "serve", "all", "--dev", "--sqa-opt-out"]),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | environment(self.public, admin),
            )
        until(self.listens, "Hydra listens")
        grants = ["client_credentials", JWT_BEARER]
        self.make(
            {
                "client_id": "service",
                "client_secret": SECRET,
                "token_endpoint_auth_method": "client_secret_basic",
                "grant_types": grants,
                "scope": "read write",
                "audience": ["https://backend.example", issuer],
            }
        )
        # Its client is our issuer, and its keys are our JWKS.
        self.make(
            {
                "client_id": issuer,
                "token_endpoint_auth_method": "private_key_jwt",
                "jwks": keys,
                "grant_types": grants,
                "scope": "read",
                "token_endpoint_auth_signing_alg": "RS256",
            }
        )
        ends = (datetime.now(timezone.utc) + timedelta(days=1)).isoformat()
        for key in keys["keys"]:
            self.make(
                {"issuer": issuer, "subject": SUBJECT, "scope": ["read"], "jwk": key, "expires_at": ends},
                "/trust/grants/jwt-bearer/issuers",
            )

    def listens(self):
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return httpx.get(f"{self.url}/.well-known/openid-configuration").status_code == 200
        except httpx.TransportError:
            return False

    def make(self, what, path="/clients"):
        answer = httpx.post(f"{self.admin}/admin{path}", json=what, timeout=60)
        assert answer.status_code == 201, answer.text

    def ask(self, form, auth=("service", SECRET)):
        return httpx.post(f"{self.url}/oauth2/token", data=form, auth=auth, timeout=60)

    def service(self, audience, scope="read write"):
        answer = self.ask({"grant_type": "client_credentials", "audience": audience, "scope": scope})
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def environment(public, admin, cheap=False):
    """What Hydra is told; `cheap` turns down what its defaults cost: PBKDF2 of client secrets. Its keys are RSA of 4096 bits."""
    own = {
        "DSN": "memory",
        "URLS_SELF_ISSUER": f"http://{public}",
        "STRATEGIES_ACCESS_TOKEN": "jwt",
        "SECRETS_SYSTEM": "s" * 32,
        "LOG_LEVEL": "error",
        "SERVE_PUBLIC_HOST": public.split(":")[0],
        "SERVE_PUBLIC_PORT": public.split(":")[1],
        "SERVE_ADMIN_HOST": admin.split(":")[0],
        "SERVE_ADMIN_PORT": admin.split(":")[1],
        "OAUTH2_GRANT_JWT_JTI_OPTIONAL": "false",
    }
    return own | ({"OAUTH2_HASHERS_ALGORITHM": "bcrypt", "OAUTH2_HASHERS_BCRYPT_COST": "4"} if cheap else {})


def outcome(answer):
    if answer.status_code == 200:
        return f"a token for {claims(answer.json()['access_token'])['sub']}"
    return f"{answer.status_code} {answer.json().get('error')}"


def main():
    program = toolchains.go(FOLDER, PACKAGE, cgo=True, tags=TAGS)
    table = Table(f"Ory Hydra {VERSION}")
    with folder() as root:
        # Its address is known before ours is, so that rules can name it.
        port = free_port()
        theirs = f"http://127.0.0.1:{port}"
        parts = [
            client("backend", more=BOTH),
            signer(f"{theirs}/oauth2/token", "https://other.example"),
            rule(theirs, "https://backend.example", "hydra", EXCHANGE),
            rule(theirs, None, "hydra", JWT_BEARER),
        ]
        with authority(root, *parts) as server:
            keys = wire.get(server.issuer, "/.well-known/jwks.json").json()
            hydra = Hydra(program, root, port, server.issuer, keys)
            try:
                check(table, server, hydra)
            finally:
                hydra.end()
    table.end()


def check(table, server, hydra):
    def shown(token):
        return outcome(
            hydra.ask(
                {
                    "grant_type": "client_credentials",
                    "scope": "read",
                    "client_assertion_type": ASSERTION,
                    "client_assertion": token,
                },
                None,
            )
        )

    def bearer(token):
        return outcome(hydra.ask({"grant_type": JWT_BEARER, "assertion": token, "scope": "read"}))

    access = hydra.service("https://backend.example")
    assert claims(access)["scp"] == ["read", "write"], "its scopes are a list"
    table.row("its access token (JWT), token exchange", "a token for hydra:service", exchanged(server, access))
    table.row(
        "its access token for us, jwt-bearer",
        "a token for hydra:service",
        asserted(server, hydra.service(server.issuer)),
    )
    table.row("its access token for our API, jwt-bearer", "400 invalid_grant", asserted(server, access))
    table.row(
        "its access token with another signature",
        "400 invalid_request",
        exchanged(server, with_another_signature(access)),
    )
    endpoint = f"{hydra.url}/oauth2/token"
    token = ours(server, endpoint, sub=SUBJECT)
    table.row("ours as jwt-bearer assertion, issuer trusted there", f"a token for {SUBJECT}", bearer(token))
    table.row("the same once more", "400 jti_known", bearer(token))
    table.row("ours about another subject", "400 invalid_grant", bearer(ours(server, endpoint, sub="somebody")))
    table.row(
        "ours for another audience", "400 invalid_grant", bearer(ours(server, "https://other.example", sub=SUBJECT))
    )
    token = ours(server, endpoint, sub=server.issuer)
    table.row(
        "ours as private_key_jwt of the client that is named like our issuer",
        f"a token for {server.issuer}",
        shown(token),
    )
    table.row("the same once more", "400 jti_known", shown(token))
    table.row("ours about another subject", "401 invalid_client", shown(ours(server, endpoint, sub="somebody")))


if __name__ == "__main__":
    tried_here(main)
