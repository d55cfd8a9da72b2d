"""Resource servers that nobody here wrote the checks of, on loopback: Node (oauth4webapi, jose),
Python (Authlib, PyJWT) and Spring Security.

Each has three pages: `/jwt` takes access tokens as RFC 9068 says, `/opaque` asks us about each (RFC
7662), and `/plain` takes what its library takes of a JWT by default. What a token opens is one
table for all.
"""

import json
import sys
import time
from pathlib import Path

import httpx
import jwt
import pytest
import toolchains
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from e2e.program import SECRET, client
from e2e.test_token import basic, configuration, send
from servers.held import Held

HERE = Path(__file__).parent
AUDIENCE = "https://api.example"
MORE = (
    'grants = ["client_credentials"]\nprofiles = ["access_token"]\nmax_lifetime = "10m"\nscopes = ["read", "write"]\n'
    f'audiences = ["{AUDIENCE}", "https://other.example"]\n'
)


@pytest.fixture(scope="module")
def key(pem):
    return load_pem_private_key(pem["ec"].read_bytes(), None)


@pytest.fixture(scope="module")
def issuer(lasting_authority, pem):
    """An authority whose key the tests have too, so that there are tokens that it would not make."""
    return lasting_authority(
        configuration(client("worker", more=MORE), client("api", more=f'introspect = ["{AUDIENCE}"]\n')),
        before=lambda one: one.run("keys", "import", str(pem["ec"]), "--activate"),
    )


def java():
    return [*toolchains.java("resource-server"), "countersign.ResourceServer"]


SERVERS = {
    "node": lambda: ["node", HERE / "node/guarded.mjs"],
    "python": lambda: [sys.executable, HERE.parent / "servers/guarded.py"],
    "spring": java,
}


@pytest.fixture(scope="module", params=SERVERS)
def guarded(request, issuer):
    """A running resource server, or None where it cannot be had."""
    try:
        command = SERVERS[request.param]()
    except toolchains.Missing as why:
        toolchains.not_tested("Spring Security as a resource server", why)
        yield None
        return
    settings = {"issuer": issuer.issuer, "audience": AUDIENCE, "client": "api", "secret": SECRET, "caller": "worker"}
    with Held(command, settings) as server:
        server.name = request.param
        yield server


def granted(issuer, **parameters):
    answer = send(
        issuer,
        {"grant_type": "client_credentials", "audience": AUDIENCE, "scope": "read"} | parameters,
        basic("worker"),
    )
    assert answer.status == 200, answer
    return answer.json()["access_token"]


def remade(issuer, key, header=None, sign=None, **claims):
    """A good token with something changed, signed with the issuer's own key."""
    token = granted(issuer)
    all = jwt.decode(token, options={"verify_signature": False}) | claims
    return jwt.encode(all, sign or key, "ES256", jwt.get_unverified_header(token) | (header or {}))


def ago(seconds):
    now = int(time.time())
    return {"iat": now - seconds - 600, "nbf": now - seconds - 600, "exp": now - seconds}


def another_key():
    return ec.generate_private_key(ec.SECP256R1())


#: What a token is, and what each page answers: at /jwt, at /opaque, and at /plain, where None is
#: what differs from library to library.
TOKENS = {
    "good": (lambda i, k: granted(i), 200, 200, None),
    "good, of two audiences": (lambda i, k: granted(i, resource="https://other.example"), 200, 200, None),
    "of typ JWT": (lambda i, k: remade(i, k, {"typ": "JWT"}), 401, 200, 200),
    "expired": (lambda i, k: remade(i, k, **ago(300)), 401, 401, 401),
    "expired, of typ JWT": (lambda i, k: remade(i, k, {"typ": "JWT"}, **ago(300)), 401, 401, 401),
    "for another audience": (lambda i, k: granted(i, audience="https://other.example"), 401, 401, 401),
    "for another audience, of typ JWT": (
        lambda i, k: remade(i, k, {"typ": "JWT"}, aud="https://other.example"),
        401,
        401,
        401,
    ),
    "of another issuer": (lambda i, k: remade(i, k, iss="https://other.example"), 401, 401, 401),
    "of another key": (lambda i, k: remade(i, k, sign=another_key()), 401, 401, 401),
    "without the scope": (lambda i, k: granted(i, scope="write"), 403, 403, None),
    "none": (lambda i, k: None, 401, 401, 401),
    "not a JWT": (lambda i, k: "csref_AAAA", 401, 401, 401),
}


def status(server, page, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.get(f"{server.url}/{page}", headers=headers)
    if answer.status_code in (401, 403) and server.name == "spring":
        assert answer.headers["www-authenticate"].startswith("Bearer"), answer.headers
    return answer.status_code


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_opens_what_it_is_for(guarded, issuer, key, name):
    if guarded is None:
        return
    make, *expected = TOKENS[name]
    token = make(issuer, key)
    seen = [status(guarded, page, token) for page in ("jwt", "opaque", "plain")]
    for page, is_, should in zip(("jwt", "opaque", "plain"), seen, expected):
        assert should in (is_, None), f"{guarded.name}/{page}: {is_} and not {should}"


def test_a_revoked_token_is_refused_at_once_by_those_who_ask(guarded, issuer):
    if guarded is None:
        return
    token, other = granted(issuer), granted(issuer)
    assert status(guarded, "jwt", token) == status(guarded, "opaque", token) == 200
    assert send(issuer, {"token": token}, basic("worker"), "/revoke").status == 200
    assert status(guarded, "opaque", token) == 401 and status(guarded, "opaque", other) == 200
    # Who looks at the signature alone learns of it from the gate, or from the list at
    # /.well-known/revoked.jwt.
    assert status(guarded, "jwt", token) == 200


def test_access_tokens_are_no_plain_jwts_to_who_looks_at_the_type(guarded, issuer, key):
    """RFC 9068's header is a choice for each audience: Spring's default refuses it, the two others do not look."""
    if guarded is None:
        return
    assert status(guarded, "plain", granted(issuer)) == (401 if guarded.name == "spring" else 200)
    assert status(guarded, "plain", granted(issuer, scope="write")) == (401 if guarded.name == "spring" else 403)
    assert (
        json.loads(httpx.get(f"{guarded.url}/opaque", headers={"Authorization": f"Bearer {granted(issuer)}"}).text)[
            "sub"
        ]
        == "worker"
    )
