"""What the scripts of this folder have in common: a real server each, an authority beside it, and
what was seen as one table.

They are run by hand (README.md), because the servers are too slow to build or to start for each
test run. Everything listens on 127.0.0.1.
"""

import csv
import json
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import jwt
import toolchains
from authority import authorities
from e2e import wire
from e2e.program import SECRET, client
from e2e.test_jwt_bearer import ENTRY, GRANT as JWT_BEARER
from e2e.test_token import basic, configuration, send
from e2e.test_token_exchange import GRANT as EXCHANGE, ROUTES, TYPE

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
BOTH = ENTRY.replace("grants = [", f'grants = ["{EXCHANGE}", ')
TOOLS = Path(os.environ.get("TESTBED_TOOLS") or Path(__file__).parents[2] / ".tools")
#: The exit code of a script whose server cannot be had on this machine.
NOT_TRIED = 3
ALGORITHMS = Path(__file__).parents[2] / "crates/consumers/algorithms.csv"


def tried_here(main):
    """Runs a script; the exit code is `NOT_TRIED` where its server cannot be had here."""
    try:
        main()
    except toolchains.Missing as why:
        print(f"NOT TRIED: {why}", file=sys.stderr)
        sys.exit(NOT_TRIED)


def takes(consumer):
    """The algorithms that the documentation says a consumer takes, because its script saw it."""
    [row] = [row for row in csv.DictReader(ALGORITHMS.read_text().splitlines()) if row["consumer"] == consumer]
    assert row["known from"] == "peers", row
    return [algorithm for algorithm, known in row.items() if known == "yes"]


class Table:
    """Rows of what was tried, what should come of it and what came."""

    def __init__(self, what):
        self.what, self.wrong = what, 0
        print(f"| {what} | expected | seen |\n|---|---|---|", flush=True)

    def row(self, tried, expected, seen):
        self.wrong += seen != expected
        print(f"| {tried} | {expected} | {seen}{'' if seen == expected else ' **WRONG**'} |", flush=True)

    def end(self):
        sys.exit(1 if self.wrong else 0)


class Folders:
    """What `authorities` wants of pytest: folders of a name."""

    def __init__(self, root):
        self.root = root

    def mktemp(self, name):
        return Path(tempfile.mkdtemp(prefix=name, dir=self.root))


@contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="countersign-peers") as name:
        yield Path(name)


def binary():
    """The program under test."""
    named = os.environ.get("COUNTERSIGN_BIN")
    if not named:
        sys.exit("set COUNTERSIGN_BIN to the countersign binary to test")
    return str(Path(named).resolve())


@contextmanager
def authority(root, *parts, env=None):
    with authorities(binary(), Folders(root)) as start:
        # Both know RS256.
        yield start(configuration(*parts).replace('"ES256"\n', '"RS256"\n', 1), env)


def rule(issuer, audience, name, grant):
    """A rule for the client `backend`."""
    audiences = f"audiences = {json.dumps([audience])}, " if audience else ""
    more = ROUTES if grant == EXCHANGE else 'once = false\nscopes = ["read"]\n'
    return (
        f'\n[[exchange]]\nclients = ["backend"]\nprovider = "{name}"\n{more}'
        f'trust = {{ issuer = "{issuer}", {audiences}algorithms = ["RS256"] }}\n'
    )


def exchanged(server, token, kind="access_token"):
    """What came of an exchange: the subject, or the error."""
    return outcome(
        send(
            server,
            {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": TYPE + kind},
            basic("backend"),
        )
    )


def asserted(server, token):
    return outcome(send(server, {"grant_type": JWT_BEARER, "assertion": token}, basic("backend")))


def outcome(answer):
    if answer.status == 200:
        return "a token for " + json.loads(wire.claims(answer.json()["access_token"]))["sub"]
    return f"{answer.status} {answer.json()['error']}"


def ours(server, audience, **claims):
    """A token of ours from `POST /sign`, by the client `signer`."""
    headers = {"Authorization": wire.basic("signer", SECRET), "Content-Type": "application/json"}
    body = json.dumps({"data": claims, "metadata": {"audience": audience, "duration": 120}}).encode()
    answer = wire.ask(server.issuer, "POST", "/sign", headers, body)
    assert answer.status == 200, answer
    return answer.json()["access_token"]


def signer(*audiences):
    return client("signer", more=f'audiences = {json.dumps(audiences)}\nclaims = {{ allow = ["sub"] }}')


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def with_another_signature(token):
    return token[:-8] + ("AAAAAAAA" if not token.endswith("AAAAAAAA") else "BBBBBBBB")
