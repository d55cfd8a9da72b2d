"""Authorities that others wrote, for the grant client_credentials: node-oidc-provider, Authlib, and
Ory Hydra as it comes and with its costs turned down.

Each signs with RS256 and a key of 2048 bits of its own, but for Hydra as it comes (4096), and is
asked with HTTP Basic for a JWT for the same audience and scope. Like Countersign's, their answers
are checked before anything is measured.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from harness import contract
from harness.servers import BENCHES, Server, free_port, running, write_keys

SCOPE = "read"


@dataclass(frozen=True)
class Peer:
    """A server, where it gives tokens, what it is asked, and the size of its key."""

    server: Server
    path: str
    form: str
    bits: int = 2048


def asked(**more: str) -> str:
    return urlencode({"grant_type": "client_credentials", "scope": SCOPE} | more)


@contextlib.contextmanager
def started(name: str, command: list[str], folder: Path, more: dict[str, str] | None = None) -> Iterator[Server]:
    """A server that is told everything by its environment."""
    port, client_id, secret = free_port(), "bench", secrets.token_urlsafe(32)
    issuer, private = f"http://127.0.0.1:{port}", folder / f"{port}.key.pem"
    write_keys("RS256", private, folder / f"{port}.pub.pem")
    environment = {
        "PORT": str(port),
        "ISSUER": issuer,
        "AUDIENCE": contract.AUDIENCE,
        "CLIENT_ID": client_id,
        "CLIENT_SECRET": secret,
        "PRIVATE_KEY": str(private),
        "NODE_ENV": "production",
    }
    command = [part.replace("@PORT@", str(port)) for part in command]
    with running(name, port, command, environment | (more or {}), folder / f"{port}.log") as pid:
        yield Server(name, port, pid, issuer, client_id, secret)


@contextlib.contextmanager
def oidc_provider(folder: Path) -> Iterator[Peer]:
    command = ["node", str(BENCHES / "node" / "oidc_provider.mjs")]
    with started("node-oidc-provider", command, folder) as server:
        yield Peer(server, "/token", asked(resource=contract.AUDIENCE))


@contextlib.contextmanager
def authlib(folder: Path) -> Iterator[Peer]:
    # Threads and not the default worker, which closes each connection after its answer.
    options = "-w 1 -k gthread --threads 4 --log-level warning -b 127.0.0.1:@PORT@ --pythonpath"
    # The worker is a child: the program is one process for one core, and its processor time is counted.
    command = [sys.executable, "-m", "gunicorn", *options.split(), str(BENCHES / "python"), "authlib_server:app"]
    with started("Authlib (Flask, gunicorn)", command, folder, {"FORWARDED_ALLOW_IPS": ""}) as server:
        yield Peer(only_child(server), "/token", asked())


def only_child(server: Server) -> Server:
    """The same server by the process that answers."""
    [pid] = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return Server(server.name, server.port, int(pid), server.issuer, server.client_id, server.secret)


@contextlib.contextmanager
def hydra(program: Path, folder: Path, cheap: bool) -> Iterator[Peer]:
    # In memory, but not its own `memory`, which ends with its last connection: between two turns it was gone once.
    with tempfile.TemporaryDirectory(prefix="countersign-bench-", dir="/dev/shm") as memory:
        yield from hydra_on(f"sqlite://{memory}/hydra.sqlite?_fk=true", program, folder, cheap)


def hydra_on(database: str, program: Path, folder: Path, cheap: bool) -> Iterator[Peer]:
    name = "Ory Hydra, costs turned down" if cheap else "Ory Hydra"
    port, admin, secret = free_port(), free_port(), secrets.token_urlsafe(32)
    issuer = f"http://127.0.0.1:{port}"
    environment = {
        "DSN": database,
        "URLS_SELF_ISSUER": issuer,
        "STRATEGIES_ACCESS_TOKEN": "jwt",
        "SECRETS_SYSTEM": secrets.token_urlsafe(32),
        "LOG_LEVEL": "error",
        "SERVE_PUBLIC_HOST": "127.0.0.1",
        "SERVE_PUBLIC_PORT": str(port),
        "SERVE_ADMIN_HOST": "127.0.0.1",
        "SERVE_ADMIN_PORT": str(admin),
        "SERVE_PUBLIC_REQUEST_LOG_DISABLE_FOR_HEALTH": "true",
    }
    if cheap:
        environment |= {"OAUTH2_HASHERS_ALGORITHM": "bcrypt", "OAUTH2_HASHERS_BCRYPT_COST": "4"}
    prepare = [str(program), "migrate", "sql", "up", "--read-from-env", "--yes"]
    subprocess.run(prepare, env=os.environ | environment, check=True, capture_output=True, timeout=60)
    command = [str(program), "serve", "all", "--dev", "--sqa-opt-out"]
    with running(name, port, command, environment, folder / f"{port}.log", within=120) as pid:
        if cheap:
            ask_admin(admin, "PUT", "/keys/hydra.jwt.access-token", {"keys": [private_jwk(folder)]})
        ask_admin(
            admin,
            "POST",
            "/clients",
            {
                "client_id": "bench",
                "client_secret": secret,
                "grant_types": ["client_credentials"],
                "scope": SCOPE,
                "audience": [contract.AUDIENCE],
                "token_endpoint_auth_method": "client_secret_basic",
            },
        )
        server = Server(name, port, pid, issuer, "bench", secret)
        yield Peer(server, "/oauth2/token", asked(audience=contract.AUDIENCE), 2048 if cheap else 4096)


def private_jwk(folder: Path) -> dict[str, str]:
    private = folder / "hydra.key.pem"
    write_keys("RS256", private, folder / "hydra.pub.pem")
    key = load_pem_private_key(private.read_bytes(), None)
    return jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True) | {"kid": "bench", "use": "sig", "alg": "RS256"}


def ask_admin(port: int, method: str, path: str, body: dict) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/admin{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def check(peer: Peer) -> None:
    """A token that PyJWT accepts under the server's own JWKS, for the audience and the scope; none for a wrong secret."""
    server = peer.server
    name, key_size = server.name, peer.bits
    status, headers, answer = ask(peer, peer.form, server.secret)
    contract.require(name, status == 200, f"{peer.path} answers {status}: {answer[:300]!r}")
    contract.require(name, "no-store" in headers.get("cache-control", ""), "the answer may be cached")
    token = json.loads(answer)["access_token"]
    keys = jwt.PyJWKSet.from_dict(json.loads(contract.fetch(server.port, contract.JWKS)[2]))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token,
        key,
        ["RS256"],
        audience=contract.AUDIENCE,
        issuer=server.issuer,
        options={"require": ["iss", "aud", "exp", "iat", "jti"]},
    )
    contract.require(name, key.key.key_size == key_size, f"the key has {key.key.key_size} bits and not {key_size}")
    contract.require(name, claims["sub"] == server.client_id, "the token is about somebody else")
    contract.require(name, SCOPE in claims.get("scope", claims.get("scp", "")), "the token lacks the scope")
    status = ask(peer, peer.form, server.secret + "x")[0]
    contract.require(name, status == 401, f"a wrong secret gets {status}")


def ask(peer: Peer, form: str, secret: str) -> tuple[int, dict[str, str], bytes]:
    kind = "application/x-www-form-urlencoded"
    return contract.fetch(peer.server.port, peer.path, form, contract.basic(peer.server.client_id, secret), kind)


def hydra_program(programs: Path) -> Path | None:
    """Built by benches/run where there is Go."""
    program = programs.parent / "benches" / "hydra"
    return program if os.access(program, os.X_OK) else None
