"""Cold starts of functions: from exec to the first answer, memory, and the size of what is uploaded.

The issuer and the authorizer, beside the least that a function in Rust can be (hello_lambda) and the two signers that people
write by hand: hono and jose on Node, FastAPI and PyJWT behind Mangum. All get their first event from the same runtime API.
"""

import base64
import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import jwt

from harness import contenders, contract, function
from harness.contract import require
from harness.function import START_OF_HELLO, Memory, Start
from harness.runtime_api import Function, RuntimeApi
from harness.servers import BENCHES, write_keys
from harness.turns import met

STARTS_PER_ROUND = 5
KEYS, TOKEN = "keys", "token"
#: What a package of the Python function has to have in it, beside Python and boto3.
PYTHON = (
    "annotated-doc", "annotated-types", "anyio", "cffi", "cryptography", "fastapi", "idna", "mangum", "pycparser", "pydantic",
    "pydantic_core", "PyJWT", "starlette", "typing-inspection", "typing_extensions",
)  # fmt: skip


@dataclass(frozen=True)
class Cold:
    """A function, the events it is started with, what their replies must be, and what is uploaded of it."""

    name: str
    function: Function
    events: dict[str, bytes]
    check: Callable[[str, Any], None]
    archive: int


def measure(programs: Path, rounds: int, folder: Path) -> None:
    core = os.sched_getaffinity(0)
    all_of_them = [hello(programs, folder), authorizer(programs, folder), issuer(programs, folder), hono(folder), fastapi(folder)]
    try:
        with contextlib.closing(RuntimeApi()) as api:
            for one in all_of_them:
                check(api, one)
            starts: dict[tuple[str, str], list[Start]] = {}
            turns = [(one, what) for one in all_of_them for what in one.events]
            for index in range(rounds * STARTS_PER_ROUND + 1):
                shift = index % len(turns)
                for one, what in turns[shift:] + turns[:shift]:
                    took = function.start(api, one.function, one.events[what])
                    if index:  # The first only fills the page cache.
                        starts.setdefault((one.name, what), []).append(took)
            memory = {one.name: function.memory_of(api, one.function, next(iter(one.events.values()))) for one in all_of_them}
    finally:
        os.sched_setaffinity(0, core)
    table(all_of_them, starts, memory)


def check(api: RuntimeApi, one: Cold) -> None:
    """What it answers is right, before it is timed."""
    with api.started(one.function):
        for what, event in one.events.items():
            api.give(api.next_request(), event)
            reply = api.next_request()
            require(one.name, reply.path.endswith("/response"), f"{what}: {reply.body!r}")
            one.check(what, json.loads(reply.body))
            api.accept(reply)


# The functions.


def hello(programs: Path, folder: Path) -> Cold:
    program = copied(programs / "hello_lambda", folder / "hello")

    def greets(what: str, reply: Any) -> None:
        require("hello world", reply == {"message": "Hello, world!"}, f"{what}: {reply}")

    return Cold("hello world", Function(program, program.parent), {KEYS: event("GET", contract.JWKS)}, greets, zipped_program(program))


def authorizer(programs: Path, folder: Path) -> Cold:
    """It knows its issuer's keys, and the event is one of API Gateway's with a good token."""
    inputs = contenders.inputs()
    program = copied(programs / "countersign-authorizer", folder / "authorizer")
    trust = {"issuer": inputs.given.issuer, "jwks": inputs.given.jwks, "audiences": [inputs.given.audience]}
    lines = [f"{key} = {json.dumps(value)}" for key, value in trust.items()]
    (program.parent / "countersign.toml").write_text("\n".join(["[[trust]]", *lines, ""]))

    def allows(what: str, reply: Any) -> None:
        effects = [statement["Effect"] for statement in reply["policyDocument"]["Statement"]]
        require("authorizer", "Allow" in effects, f"{what}: {reply}")

    asked = next(iter(inputs.given.events.values())).encode()
    return Cold("Countersign's authorizer", Function(program, program.parent), {"decision": asked}, allows, zipped_program(program))


def issuer(programs: Path, folder: Path) -> Cold:
    """With an RSA key in a SQLite file of the package: the start of the program, and not that of a database."""
    program = copied(programs.parent / "benches" / "countersign-lambda", folder / "issuer")
    configuration, url = program.parent / "countersign.toml", "https://issuer.example"
    command = [str(program), "--json", "--config", str(configuration), "init", "--issuer", url, "--algorithm", "RS256"]
    made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    events = {KEYS: event("GET", contract.JWKS), TOKEN: signing(made["client_id"], made["client_secret"])}
    return Cold("Countersign's issuer", Function(program, program.parent), events, Issuer(url), zipped_program(program))


def hono(folder: Path) -> Cold:
    bundle = folder / "hono" / "index.mjs"
    bundle.parent.mkdir()
    esbuild = [str(BENCHES / "node" / "node_modules" / ".bin" / "esbuild"), str(BENCHES / "node" / "lambda.mjs")]
    options = ["--bundle", "--minify", "--platform=node", "--target=node20", "--format=esm", f"--outfile={bundle}", "--log-level=error"]
    subprocess.run([*esbuild, *options], check=True)
    node = shutil.which("node")
    require("hono", node is not None, "there is no node")
    environment, client, secret = settings(folder / "hono")
    events = {KEYS: event("GET", contract.JWKS), TOKEN: signing(client, secret)}
    function_ = Function(Path(node or ""), bundle.parent, (str(bundle),), environment)
    return Cold("hono + jose on Node", function_, events, Issuer(environment["ISSUER"]), zipped([bundle]))


def fastapi(folder: Path) -> Cold:
    (folder / "fastapi").mkdir()
    environment, client, secret = settings(folder / "fastapi")
    # Lambda's package has the bytecode of its modules, if it was made well.
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(BENCHES / "python"), *site_packages()], check=False)
    events = {KEYS: event("GET", contract.JWKS), TOKEN: signing(client, secret)}
    program = Function(Path(sys.executable), folder / "fastapi", (str(BENCHES / "python" / "function.py"),), environment)
    return Cold("FastAPI + Mangum", program, events, Issuer(environment["ISSUER"]), zipped(files_of_distributions()))


@dataclass(frozen=True)
class Issuer:
    """The check of an issuer's replies: the keys first, and then a token that they verify."""

    url: str

    def __call__(self, what: str, reply: Any) -> None:
        require(self.url, reply["statusCode"] == 200, f"{what}: {reply}")
        body = reply["body"]
        answer = json.loads(base64.b64decode(body) if reply.get("isBase64Encoded") else body)
        if what == KEYS:
            require(self.url, len(answer["keys"]) == 1 and answer["keys"][0]["kty"] == "RSA", f"{answer}")
        else:
            header = jwt.get_unverified_header(answer["access_token"])
            claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
            require(self.url, header["alg"] == "RS256" and claims["sub"] == contract.DATA["sub"], f"{claims}")


def settings(folder: Path) -> tuple[dict[str, str], str, str]:
    """The environment of a signer that was written for comparison, with its client and secret."""
    client, secret, url = "bench", secrets.token_urlsafe(32), "https://issuer.example"
    private, public = folder / "key.pem", folder / "pub.pem"
    write_keys("RS256", private, public)
    environment = {
        "ISSUER": url, "AUDIENCE": contract.AUDIENCE, "CLIENT_ID": client, "SECRET_SHA256": hashlib.sha256(secret.encode()).hexdigest(),
        "PRIVATE_KEY": str(private), "PUBLIC_KEY": str(public), "ALGORITHM": "RS256", "NODE_ENV": "production",
    }  # fmt: skip
    return environment, client, secret


# Events, files and sizes.


def event(method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None) -> bytes:
    """An event of an HTTP API, payload 2.0, as Lambda hands it over."""
    file = BENCHES.parent / "crates" / "lambda" / "tests" / "events" / "http-v2.json"
    made = json.loads(file.read_text())
    made |= {"rawPath": path, "rawQueryString": "", "body": body, "isBase64Encoded": False, "headers": {"host": "issuer.example"} | (headers or {})}
    made["requestContext"]["http"] |= {"method": method, "path": path}
    for name in ("cookies", "queryStringParameters", "pathParameters", "stageVariables"):
        made.pop(name, None)
    return json.dumps(made, separators=(",", ":")).encode()


def signing(client: str, secret: str) -> bytes:
    basic = base64.b64encode(f"{client}:{secret}".encode()).decode()
    body = json.dumps({"data": contract.DATA, "metadata": {"duration": 3600, "audience": contract.AUDIENCE}})
    return event("POST", "/sign", {"authorization": f"Basic {basic}", "content-type": "application/json"}, body)


def copied(program: Path, folder: Path) -> Path:
    """A copy, as the files of an unpacked zip are; see `function.measure`."""
    require(program.name, program.exists(), f"{program} is not there")
    folder.mkdir()
    return Path(shutil.copy(program, folder))


def zipped(files: Iterable[Path]) -> int:
    """How large a zip of these files is, in bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
        for file in files:
            package.write(file, str(file))
    return len(made.getvalue())


def zipped_program(program: Path) -> int:
    stripped = program.with_suffix(".stripped")
    subprocess.run(["strip", "--strip-all", "-o", str(stripped), str(program)], check=True)
    size = zipped([stripped])
    stripped.unlink()
    return size


def files_of_distributions() -> list[Path]:
    """Without bytecode, which is made where it is unpacked, and without the programs of a venv."""
    files = [BENCHES / "python" / "function.py", BENCHES / "python" / "server.py"]
    for name in PYTHON:
        for file in importlib.metadata.files(name) or []:
            found = Path(str(file.locate()))
            if found.is_file() and found.suffix != ".pyc" and ".." not in file.parts:
                files.append(found)
    return files


def site_packages() -> list[str]:
    return sorted({str(Path(str(file.locate())).parent) for name in PYTHON for file in (importlib.metadata.files(name) or [])[:1]})


def table(all_of_them: list[Cold], starts: dict[tuple[str, str], list[Start]], memory: dict[str, Memory]) -> None:
    base = starts[("hello world", KEYS)]
    print("| exec → first answer, as a Lambda function | of hello world | by CPU time | time here | floor | met |")
    print("|---|--:|--:|--:|--:|---|")
    for name, what in ((one.name, what) for one in all_of_them for what in one.events):
        mine = starts[(name, what)]
        pairs = list(zip(mine, base, strict=True))
        ratio = median(ours.seconds / theirs.seconds for ours, theirs in pairs)
        by_cpu = median(ours.cpu_seconds / theirs.cpu_seconds for ours, theirs in pairs)
        floor = f"≤ {START_OF_HELLO} | {met(ratio <= START_OF_HELLO)}" if name.startswith("Countersign") and what != TOKEN else " | "
        shown = {KEYS: "the keys", TOKEN: "a token, RS256", "decision": "a decision"}[what]
        shown = "a greeting" if mine is base else shown
        print(f"| {name}: {shown} | {ratio:.2f} | {by_cpu:.2f} | {median(one.seconds for one in mine) * 1000:.1f} ms | {floor} |")
    print("\n| memory and size | after the start | after 1,000 events | zip |")
    print("|---|--:|--:|--:|")
    for one in all_of_them:
        held = memory[one.name]
        print(f"| {one.name} | {held.started:.1f} MB | {held.used:.1f} MB | {one.archive / 1e6:.2f} MB |")
    print()
    for (name, what), each in starts.items():
        took = [one.seconds * 1000 for one in each]
        print(f"start, {name}, {what}: {min(took):.1f} to {max(took):.1f} ms, {median(one.cpu_seconds for one in each) * 1000:.1f} ms of processor time")
    print(flush=True)
