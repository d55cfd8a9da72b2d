"""oauth2-proxy in front of a service that is called with our tokens as bearer tokens.

    export COUNTERSIGN_BIN=target/debug/countersign PYTHONPATH=tests:tests/interop
    .tools/venv/bin/python tests/peers/oauth2_proxy.py

Builds it once through the Go proxy into .tools (90 s of processor time; MIT) and prints a table.
"""

import os
import secrets
import subprocess
from pathlib import Path

import httpx
import toolchains
from authority import AUDIENCE, authorities, until
from e2e.program import free_port
from libraries import ASYMMETRIC
from peers.told import Folders, Table, binary, folder, takes, tried_here
from rings import Rings, new_key
from servers.held import holding

FOLDER, PACKAGE = Path(__file__).with_name("oauth2-proxy"), "github.com/oauth2-proxy/oauth2-proxy/v7"
ALICE = {"sub": "alice", "email": "alice@example.com", "groups": ["staff", "admins"]}


class Proxy:
    """It lets in who shows a token of the issuer; its service answers 200 to everything."""

    def __init__(self, program, root, issuer):
        self.url, self.log = f"http://127.0.0.1:{free_port()}", root / "oauth2-proxy.log"
        settings = {
            "HTTP_ADDRESS": self.url.removeprefix("http://"), "UPSTREAMS": "static://200", "EMAIL_DOMAINS": "*",
            "PROVIDER": "oidc", "OIDC_ISSUER_URL": issuer, "CLIENT_ID": "application", "CLIENT_SECRET": "unused",
            "COOKIE_SECRET": secrets.token_hex(16), "SKIP_JWT_BEARER_TOKENS": "true", "SET_XAUTHREQUEST": "true",
            "EXTRA_JWT_ISSUERS": f"{issuer}={AUDIENCE}",
        }
        variables = {f"OAUTH2_PROXY_{name}": value for name, value in settings.items()}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                holding([program]), stdin=subprocess.PIPE, stdout=log, stderr=log, env=os.environ | variables)
        until(self.listens, "oauth2-proxy listens")

    def listens(self):
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
        try:
            return httpx.get(f"{self.url}/ping").status_code == 200
        except httpx.TransportError:
            return False

    def seen(self, token):
        """The status, and of whom it tells the service."""
        answer = httpx.get(self.url, headers={"Authorization": f"Bearer {token}"})
        told = [answer.headers.get(f"X-Auth-Request-{name}", "") for name in ("User", "Email", "Groups")]
        return " ".join([str(answer.status_code), *filter(None, told)])

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def tried(table, ours, proxy):
    good, known = "200 alice alice@example.com staff,admins", takes("oauth2-proxy")
    for algorithm in ASYMMETRIC:
        expected = good if algorithm in known else "403"
        table.row(algorithm, expected, proxy.seen(ours.sign(algorithm, ALICE)))
    for what, token in ours.bad_tokens("RS256").items():
        table.row(what, "403", proxy.seen(token))
    unverified = ours.sign("RS256", ALICE | {"email_verified": False})
    table.row("`email_verified` is false", "403", proxy.seen(unverified))
    table.row("neither `email` nor `groups`", "200 alice alice", proxy.seen(ours.sign("RS256", {"sub": "alice"})))
    table.row("nothing of whom it is about", "200", proxy.seen(ours.sign("RS256", {})))


def main():
    program = toolchains.go(FOLDER, PACKAGE)
    table = Table("oauth2-proxy v7.15.6")
    with folder() as root, authorities(binary(), Folders(root)) as start:
        ours = Rings(start, {algorithm: new_key(algorithm, f"key-{algorithm}") for algorithm in ASYMMETRIC})
        proxy = Proxy(program, root, ours.issuer)
        try:
            tried(table, ours, proxy)
        finally:
            proxy.end()
    table.end()


if __name__ == "__main__":
    tried_here(main)
