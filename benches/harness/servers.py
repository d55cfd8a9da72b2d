"""The servers, each pinned to the server's core and stopped by its own process id."""

import contextlib
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness import contract

BENCHES = Path(__file__).resolve().parent.parent
SERVER_CORE, LOAD_CORE = 0, 1


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int
    issuer: str = ""
    client_id: str = ""
    secret: str = ""


@contextlib.contextmanager
def running(
    name: str, port: int, command: list[str], environment: dict[str, str], log: Path, within: float = 30
) -> Iterator[int]:
    """Starts a server, waits until it answers, and stops it at the end."""
    with log.open("wb") as sink:
        pinned = ["taskset", "-c", str(SERVER_CORE), *command]
        process = subprocess.Popen(
            pinned, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
    try:
        wait(name, port, process, log, within)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(name: str, port: int, process: subprocess.Popen[bytes], log: Path, within: float) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if contract.fetch(port, contract.JWKS)[0] == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{name} does not answer:\n{log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def countersign(
    programs: Path,
    folder: Path,
    name: str = "Countersign",
    more: dict[str, str] | None = None,
    algorithm: str = "RS256",
) -> Iterator[Server]:
    """`countersign serve` as in production, audit log and all, except that nobody is slowed down by rate limits.

    `more` are texts of the configuration it makes and what they are replaced by.
    """
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    configuration = folder / "countersign" / "countersign.toml"
    program = [str(programs / "countersign"), "--json", "--config", str(configuration)]
    made = subprocess.run([*program, "init", "--issuer", issuer, "--algorithm", algorithm], check=True, capture_output=True, text=True)
    client = json.loads(made.stdout)
    text = configuration.read_text()
    for old, new in (more or {}).items():
        if old not in text:
            raise RuntimeError(f"the configuration has no {old}")
        text = text.replace(old, new)
    configuration.write_text(text)
    environment = {"COUNTERSIGN_LIMITS__PER_CLIENT": "off", "COUNTERSIGN_LIMITS__PER_ADDRESS": "off"}
    command = [*program, "serve", "--listen", f"127.0.0.1:{port}"]
    with running(name, port, command, environment, folder / "countersign.log") as pid:
        yield Server(name, port, pid, issuer, client["client_id"], client["client_secret"])


@contextlib.contextmanager
def hono(folder: Path, algorithm: str = "RS256") -> Iterator[Server]:
    command = ["node", str(BENCHES / "node" / "server.mjs")]
    with other("hono + jose", command, free_port(), folder, algorithm) as server:
        yield server


@contextlib.contextmanager
def fastapi(folder: Path) -> Iterator[Server]:
    port = free_port()
    options = f"--host 127.0.0.1 --port {port} --loop uvloop --http httptools --log-level warning --no-access-log"
    application = ["--app-dir", str(BENCHES / "python"), "server:app"]
    command = [sys.executable, "-m", "uvicorn", *options.split(), *application]
    with other("FastAPI + PyJWT", command, port, folder) as server:
        yield server


@contextlib.contextmanager
def other(
    name: str, command: list[str], port: int, folder: Path, algorithm: str = "RS256"
) -> Iterator[Server]:
    """One of the servers written for comparison: same contract, its own key, all of it by environment."""
    client_id, secret = "bench", secrets.token_urlsafe(32)
    issuer = f"http://127.0.0.1:{port}"
    private, public = folder / f"{port}.key.pem", folder / f"{port}.pub.pem"
    write_keys(algorithm, private, public)
    environment = {
        "PORT": str(port),
        "ISSUER": issuer,
        "AUDIENCE": contract.AUDIENCE,
        "CLIENT_ID": client_id,
        "SECRET_SHA256": hashlib.sha256(secret.encode()).hexdigest(),
        "PRIVATE_KEY": str(private),
        "PUBLIC_KEY": str(public),
        "ALGORITHM": algorithm,
        "NODE_ENV": "production",
    }
    with running(name, port, command, environment, folder / f"{port}.log") as pid:
        yield Server(name, port, pid, issuer, client_id, secret)


@contextlib.contextmanager
def bare_axum(programs: Path, folder: Path, like: Server) -> Iterator[Server]:
    """Answers what `like` answers for its JWKS."""
    _, headers, body = contract.fetch(like.port, contract.JWKS)
    document, port = folder / "jwks.json", free_port()
    document.write_bytes(body)
    described = [headers[name] for name in ("content-type", "etag", "cache-control")]
    command = [str(programs / "bare_axum"), str(port), str(document), *described]
    with running("bare axum", port, command, {}, folder / "bare_axum.log") as pid:
        yield Server("bare axum", port, pid)


KEYS = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def write_keys(algorithm: str, private: Path, public: Path) -> None:
    key = KEYS[algorithm]()
    pem = serialization.Encoding.PEM
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(pem, pkcs8, plain))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
