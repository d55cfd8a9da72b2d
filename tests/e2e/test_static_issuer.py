"""An issuer without a server, over TLS: a scheduler runs `keys rotate --once` and `publish`, nginx serves the folder, `sign` mints.

Every verifier fetches the keys from nginx by itself: PyJWT, aws-jwt-verify and `countersign verify`. Days pass by faketime, for all
of them alike.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from e2e import clocks, wire
from e2e.program import client, free_port
from e2e.static_site import TLS, certificate, nginx

AUDIENCE = "api://default"
AWS_JWT_VERIFY = Path(__file__).parent / "node" / "aws_jwt_verify.mjs"
PYJWT = """
import json, sys, jwt
issuer, audience = sys.argv[1:]
token = sys.stdin.read().strip()
try:
    key = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    print(json.dumps(jwt.decode(token, key, algorithms=["ES256"], issuer=issuer, audience=audience)))
except jwt.PyJWTError as why:
    print(json.dumps({"refused": type(why).__name__}))
"""
#: What each verifier calls a token that has expired, and one whose key is gone.
EXPIRED = {"pyjwt": "ExpiredSignatureError", "aws-jwt-verify": "JwtExpiredError"}
KEY_GONE = {"pyjwt": "PyJWKClientError", "aws-jwt-verify": "KidNotFoundInJwksError"}
CONFIG = """
issuer = "https://127.0.0.1:@PORT@"

[rotation]
observe_every = "1h"

[rings.default]
algorithm = "ES256"
rotate_every = "3days"
consumers = ["pyjwt", "aws-jwt-verify"]
longest_token = "12h"
""" + client("tests", more=f'audiences = ["{AUDIENCE}"]\nmax_lifetime = "12h"\nclaims = {{ allow = ["*"] }}')


class Static:
    """The scheduler, the minter and the verifiers, at an hour of one's choice."""

    def __init__(self, world, issuer):
        self.world, self.issuer, self.site = world, issuer, world.folder / "site"

    def at(self, hour, *command, input=None):
        clocks.put(self.world.folder / "clock", hour * 3600)
        done = subprocess.run(
            clocks.at(f"+{hour} hours", *command), cwd=self.world.folder,
            env=self.world.environment, input=input, capture_output=True, text=True, timeout=60,
        )
        assert done.returncode == 0, f"{hour} {command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def countersign(self, hour, *arguments, input=None):
        return self.at(hour, self.world.binary, *arguments, input=input)

    def scheduler(self, hour):
        """What a crontab runs every hour; the steps that were taken."""
        turn = json.loads(self.countersign(hour, "keys", "rotate", "--once", "--json"))
        assert not turn.get("look_failed"), turn
        self.countersign(hour, "publish", "site")
        return [done["step"] for done in turn["done"]]

    def mint(self, hour):
        return self.countersign(hour, "sign", "--claims", '{"sub":"alice"}', "--lifetime", "12h").strip()

    def published(self):
        return {key["kid"] for key in json.loads((self.site / ".well-known/jwks.json").read_bytes())["keys"]}

    def verdicts(self, hour, token):
        """What the libraries say of a token, by their names: claims, or `refused`."""
        commands = {"pyjwt": [sys.executable, "-c", PYJWT], "aws-jwt-verify": ["node", AWS_JWT_VERIFY]}
        asked = {name: self.at(hour, *command, self.issuer, AUDIENCE, input=token) for name, command in commands.items()}
        return {name: json.loads(said) for name, said in asked.items()}

    def accepted(self, hour, token):
        """Demands that every verifier takes the token."""
        for name, claims in self.verdicts(hour, token).items():
            assert claims.get("sub") == "alice" and claims.get("iss") == self.issuer, (hour, name, claims)
        self.countersign(hour, "verify", "--issuer", self.issuer, "--audience", AUDIENCE, "-", input=token)

    def refused(self, hour, token, why):
        assert {name: said.get("refused") for name, said in self.verdicts(hour, token).items()} == why, hour


@pytest.fixture
def static(world):
    port = free_port()
    world.configure(CONFIG, port)
    ca = str(certificate(world.folder))
    # For Python and Countersign, and for Node.
    world.environment |= {"SSL_CERT_FILE": ca, "NODE_EXTRA_CA_CERTS": ca}
    clock = world.folder / "clock"
    clocks.put(clock, 0)
    with nginx(world.folder, port, TLS, clock):
        yield Static(world, f"https://127.0.0.1:{port}")


def test_libraries_that_take_https_alone_verify_from_the_published_folder(static):
    static.countersign(0, "publish", "site")
    assert "are what they should be" in static.countersign(0, "publish", "--check")
    token = static.mint(0)
    static.accepted(0, token)
    static.refused(13, token, EXPIRED)
    # Another issuer's key under the same name is another key.
    header, payload, signature = token.split(".")
    forged = f"{header}.{payload}.{signature[::-1]}"
    assert all("refused" in said for said in static.verdicts(0, forged).values())


def test_without_the_ca_nobody_takes_the_keys(static):
    static.countersign(0, "publish", "site")
    token = static.mint(0)
    no_roots = static.world.folder / "no-roots.pem"
    no_roots.touch()
    static.world.environment |= {"SSL_CERT_FILE": str(no_roots), "NODE_EXTRA_CA_CERTS": ""}
    assert static.verdicts(0, token)["aws-jwt-verify"] == {"refused": "FetchError"}
    done = static.world.run("verify", "--issuer", static.issuer, "--audience", AUDIENCE, "-", input=token)
    assert done.returncode != 0 and "cannot be had" in done.stderr


def test_keys_rotate_with_a_scheduler_alone_and_no_live_token_is_ever_refused(static):
    static.countersign(0, "publish", "site")
    oldest = static.mint(0)
    first = wire.header(oldest)["kid"]
    minted, steps, signers, shown = {}, {}, {}, {}
    for hour in [*range(58, 70, 2), *range(70, 76), *range(76, 86, 2)]:
        minted[static.mint(hour)] = hour
        steps[hour] = static.scheduler(hour)
        newest = static.mint(hour)
        minted[newest] = hour
        signers[hour], shown[hour] = wire.header(newest)["kid"], static.published()
        static.accepted(hour, next(token for token, since in minted.items() if hour < since + 12))
        static.accepted(hour, newest)
    taken = [(step, hour) for hour in steps for step in steps[hour]]
    # The turn is due after 72 hours; the next key is shown before, for as long as it takes verifiers to know it.
    assert [step for step, _ in taken] == ["make", "activate"] and taken[1][1] == 72, taken
    made = taken[0][1]
    [second] = shown[72] - {first}
    assert made < 72 and signers == {hour: first if hour < 72 else second for hour in steps}
    assert shown == {hour: {first} if hour < made else {first, second} for hour in steps}

    # When nobody can have a token of the first key any more, its files are gone.
    assert "remove" in static.scheduler(110) and static.published() == {second}
    assert not (static.site / "asap" / f"{hashlib.sha256(first.encode()).hexdigest()}.pem").exists()
    static.refused(110, oldest, KEY_GONE)
    static.accepted(110, static.mint(110))
