"""The contenders that verify tokens and answer events in process, one program each, with the same token, key and events.

They share a core, and idle unless it is their turn. They are driven by lines of JSON, which rust/src/bin/contender.rs
describes. Before anything is timed, each has to accept the token and to refuse all others, alone and inside an event.
"""

import base64
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from harness import contract
from harness.contract import require
from harness.servers import BENCHES, SERVER_CORE
from harness.turns import Rate

EVENTS = {"REST REQUEST": "rest-request", "HTTP API 2.0": "http-v2", "WebSocket": "websocket-header"}
ISSUER, KID = "https://issuer.example", "k1"


@dataclass(frozen=True)
class Given:
    """What every contender is given."""

    issuer: str
    audience: str
    jwks: str
    token: str
    events: dict[str, str]


@dataclass(frozen=True)
class Inputs:
    """What is given, and what has to be refused."""

    given: Given
    forged: dict[str, str]
    """Tokens whose signature is wrong, by what was done."""
    unacceptable: dict[str, str]
    """Tokens with a good signature and claims that are wrong."""


def inputs() -> Inputs:
    """A new key, a token as `/sign` mints them, and the sample events of the gateway's tests with it."""
    key, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwk = {"kid": KID, "alg": "RS256", "use": "sig", "kty": "RSA", "n": public["n"], "e": public["e"]}
    now = int(time.time())
    times = {"iat": now - 5, "nbf": now - 5, "exp": now + 36_000, "jti": "BwcHBwcHBwcHBwcHBwcHBw"}
    claims = contract.DATA | {"iss": ISSUER, "aud": contract.AUDIENCE} | times

    def token(signer: rsa.RSAPrivateKey, changes: dict[str, Any]) -> str:
        return jwt.encode(claims | changes, signer, algorithm="RS256", headers={"kid": KID})

    good = token(key, {})
    header, _, signature = good.split(".")
    payload = base64.urlsafe_b64encode(json.dumps(claims | {"role": "admin"}).encode()).rstrip(b"=").decode()
    return Inputs(
        Given(
            ISSUER,
            contract.AUDIENCE,
            json.dumps({"keys": [jwk]}),
            good,
            {name: event(file, good) for name, file in EVENTS.items()},
        ),
        {"another payload": f"{header}.{payload}.{signature}", "another key": token(other, {})},
        {
            "expired": token(key, {"exp": now - 3600}),
            "another audience": token(key, {"aud": "api://other"}),
            "another issuer": token(key, {"iss": "https://other.example"}),
        },
    )


def event(file: str, token: str) -> str:
    """An event as Lambda hands it over: without blanks."""
    text = (BENCHES.parent / "crates" / "gateway" / "tests" / "events" / f"{file}.json").read_text()
    return json.dumps(json.loads(text.replace("@TOKEN@", token)), separators=(",", ":"))


@dataclass(frozen=True)
class Contender:
    """A running program."""

    name: str
    process: subprocess.Popen[str]

    def ask(self, order: dict[str, Any]) -> Any:
        self.tell(order)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} gave up at {next(iter(order))!r}; see above")
        return json.loads(line)

    def tell(self, line: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        print(json.dumps(line), file=self.process.stdin, flush=True)

    def turn(self, what: str) -> Callable[[float], Rate]:
        return lambda seconds: Rate(**self.ask({"time": [what, seconds]}))


class Program(NamedTuple):
    """A contender that is not running yet."""

    name: str
    command: list[str]


def raw(programs: Path) -> Program:
    """RSA verification and nothing else."""
    return Program("raw aws-lc-rs", [str(programs / "contender"), "raw"])


def jose(programs: Path) -> Program:
    return Program("countersign-jose", [str(programs / "contender"), "jose"])


def gate(programs: Path) -> Program:
    """The verifier, and the authorizer around it."""
    return Program("Countersign", [str(programs / "contender"), "gate"])


def aws_jwt_verify() -> Program:
    return Program("aws-jwt-verify", ["node", str(BENCHES / "node" / "contender.mjs")])


def pyjwt() -> Program:
    return Program("PyJWT", [sys.executable, str(BENCHES / "python" / "contender.py")])


@contextlib.contextmanager
def started(given: Given, program: Program) -> Iterator[Contender]:
    pinned = ["taskset", "-c", str(SERVER_CORE), *program.command]
    process = subprocess.Popen(pinned, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        contender = Contender(program.name, process)
        contender.tell(asdict(given))
        yield contender
    finally:
        process.terminate()
        process.communicate()


def check_verify(contender: Contender, inputs: Inputs, claims_too: bool = True) -> None:
    """It accepts the token and none of the others; who only verifies signatures is not asked about claims."""
    require(contender.name, contender.ask({"verify": inputs.given.token}) is True, "a good token is refused")
    for what, token in (inputs.forged | (inputs.unacceptable if claims_too else {})).items():
        require(contender.name, contender.ask({"verify": token}) is False, f"a token passes: {what}")


def check_replies(contenders: Sequence[Contender], inputs: Inputs) -> dict[str, Any]:
    """They all let the good token in, with the same words, and no other. What they answer, by event."""
    given, expected = inputs.given, {}
    for name, text in given.events.items():
        replies = [contender.ask({"authorize": text}) for contender in contenders]
        read = [json.loads(reply or "null") for reply in replies]
        for contender, reply in zip(contenders, read, strict=True):
            require(contender.name, lets_in(reply), f"{name}: a good token is refused: {reply}")
            same = without_denials(reply) == without_denials(read[0])
            require(contender.name, same, f"{name}: {reply} instead of {read[0]}")
            for what, token in (inputs.forged | inputs.unacceptable).items():
                refusal = contender.ask({"authorize": text.replace(given.token, token)})
                require(contender.name, refused(refusal), f"{name}: a token passes: {what}")
        expected[name] = read[0]
    return expected


def lets_in(reply: Any) -> bool:
    match reply:
        case {"isAuthorized": True, "context": {"sub": "alice"}}:
            return True
        case {"principalId": "alice", "policyDocument": {"Statement": [{"Effect": "Allow"}, *_]}}:
            return True
    return False


def without_denials(reply: Any) -> Any:
    """What is let in and handed on. Countersign also denies the spellings of paths that its gate refuses."""
    if "policyDocument" not in reply:
        return reply
    policy = reply["policyDocument"]
    allowed = [statement for statement in policy["Statement"] if statement["Effect"] == "Allow"]
    return reply | {"policyDocument": policy | {"Statement": allowed}}


def refused(reply: str | None) -> bool:
    return reply is None or json.loads(reply) == {"isAuthorized": False}
