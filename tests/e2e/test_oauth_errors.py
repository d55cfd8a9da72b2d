"""Every error code that RFC 6749, 7009, 7523, 7662, 8693, 8707 and 9449 name, at each endpoint, with a request that causes it.

The resource server of RFC 9449 is the gate (`/gate`), whose codes are in `WWW-Authenticate`.
The table is `ROWS`; `NAMED` is what each specification names for which endpoint, and each of them has a row. The codes that the code
base can answer with are read from its sources: one that no row causes is a failure, and so is a row whose code is not among them.
Each answer is looked at whole: status, headers, media type, and the members of the body.
"""

import json
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

import pytest
from e2e import assertions, aws, dpop, wire
from e2e.program import SECRET, client
from e2e.test_jwt_bearer import ALICE, ENTRY, GRANT as JWT_BEARER, LOGIN, PEER, rule, trust
from e2e.test_refresh import GRANT as REFRESH, REFRESHED, REFRESHES
from e2e.test_token import basic, configuration, send
from e2e.test_token_exchange import GRANT as EXCHANGE, ROUTES, TYPE

ROOT = Path(__file__).parents[2]
#: Where the codes come from: one match for the endpoints of grants, one for what all routes have in common, the gate's.
SOURCES = [
    "crates/grants/src/error.rs", "crates/issuer/src/http/error.rs", "crates/gateway/src/forward_auth/challenge.rs"]
#: Codes of those that no OAuth endpoint answers with, and why.
ELSEWHERE = {"access_denied": "`POST /sign` and protected pages", "not_found": "paths that nothing answers"}

SHARED = {"invalid_request", "invalid_client"}
#: Specification and endpoint: the codes that are named for it.
NAMED = {
    ("RFC 6749 section 5.2", "/token"): SHARED | {"invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"},
    # Of its codes the one for a server where no response type can be asked for.
    ("RFC 6749 section 4.1.2.1", "/authorize"): {"unsupported_response_type"},
    ("RFC 6749 section 6", "/token"): {"invalid_grant", "invalid_scope"},
    ("RFC 8693 section 2.2.2", "/token"): {"invalid_request", "invalid_target"},
    ("RFC 8707 section 2", "/token"): {"invalid_target"},
    ("RFC 9449 section 5", "/token"): {"invalid_dpop_proof"},
    ("RFC 9449 section 8", "/token"): {"use_dpop_nonce"},
    ("RFC 9449 section 7.1", "/gate"): {"invalid_token", "invalid_dpop_proof"},
    ("RFC 9449 section 9", "/gate"): {"use_dpop_nonce"},
    # Without `invalid_request`: a call with two tokens is answered as one without any, which has no code.
    ("RFC 6750 section 3.1", "/gate"): {"invalid_token", "insufficient_scope"},
    ("RFC 7523 section 3.1", "/token"): {"invalid_grant"},
    ("RFC 7523 section 3.2", "/token"): {"invalid_client"},
    ("RFC 7523 section 3.2", "/revoke"): {"invalid_client"},
    ("RFC 7523 section 3.2", "/introspect"): {"invalid_client"},
    # "The error response conforms to section 5.2 of RFC 6749", with one code more.
    ("RFC 7009 section 2.2.1", "/revoke"): SHARED | {"unauthorized_client", "unsupported_token_type", "temporarily_unavailable"},
    ("RFC 7662 section 2.3", "/introspect"): {"invalid_client"},
    # What these documents have no name for: those of RFC 6749 section 4.1.2.1 and RFC 8628 section 3.5, and their neighbours.
    ("other", "/token"): {"temporarily_unavailable", "server_error", "slow_down"},
    ("other", "/revoke"): {"slow_down"},
    ("other", "/introspect"): {"invalid_request", "unauthorized_client", "temporarily_unavailable", "slow_down"},
}


@dataclass
class Row:
    """A request, what it is answered, and the specification that says so.

    `ask` is called with a scene, which has the server and tokens to show, and `scene` names the fixture that makes it.
    `scheme` is that of the challenge at `/gate`.
    """

    where: str
    named: str
    what: str
    ask: Callable
    error: str
    status: int = 400
    scene: str = "plain"
    scheme: str = "DPoP"

    @property
    def name(self):
        return f"{self.where[1:]}: {self.error}: {self.what}"


WORKER = 'grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default", "https://api.example/v1"]\nscopes = ["read"]\n'
SIGNER = assertions.Key("signer")
HOLDER = dpop.Holder()
SHOWN = ROUTES.replace("once = false\n", "").replace(', "write"', "")
THEIRS = trust(more=', audiences = ["api://theirs"]')
CLIENTS = [
    client("app", more=REFRESHED), client("other", more=REFRESHED), client("backend", more=ENTRY.replace(JWT_BEARER, EXCHANGE)),
    client("worker", more=WORKER + 'introspect = ["api://default"]\n'),
    client("bound", more=WORKER + "dpop_bound_access_tokens = true\n"),
    client("users", more='audiences = ["api://default"]\nclaims = { allow = ["sub"] }'), assertions.entry(SIGNER),
]
# Long, because a slow machine needs many minutes for all rows.
LASTING = REFRESHES.replace("10m", "1h")
RULES = [rule(more=LASTING), rule("other", more=LASTING), rule("backend", "shown", SHOWN, THEIRS)]


LOGIN_REQUEST = "response_type=id_token&client_id=app&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&state=s&nonce=n"


def scene_of(server):
    """A server, and one of each kind of token that it has made."""
    def granted(form, id):
        answer = send(server, form, basic(id))
        assert answer.status == 200, answer
        return answer.json()

    begun = granted({"grant_type": JWT_BEARER, "assertion": asserted(server), "scope": "read"}, "app")
    headers = {"Authorization": wire.basic("users", SECRET), "Content-Type": "application/json"}
    signed = wire.ask(server.issuer, "POST", "/sign", headers, b'{"data":{"sub":"x"}}').json()["access_token"]
    return SimpleNamespace(
        server=server, issuer=server.issuer, refresh=begun["refresh_token"], family=begun["access_token"], signed=signed,
        access=granted({"grant_type": "client_credentials", "audience": "api://default"}, "worker")["access_token"])


def asserted(server, key=ALICE, **claims):
    return key.sign(server.issuer, **({"iss": LOGIN} | claims))


@pytest.fixture(scope="module")
def plain(lasting_authority):
    return scene_of(lasting_authority(configuration(*CLIENTS, *RULES)))


@pytest.fixture(scope="module")
def away(lasting_authority):
    """The store of this server cannot be written to or read."""
    scene = scene_of(lasting_authority(configuration(*CLIENTS, *RULES)))
    lock = sqlite3.connect(scene.server.folder / "countersign/countersign.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        yield scene
    finally:
        lock.execute("ROLLBACK")
        lock.close()


@pytest.fixture(scope="module")
def altered(lasting_authority):
    """Somebody else has written into this server's document of what is revoked."""
    scene = scene_of(lasting_authority(configuration(*CLIENTS, *RULES)))
    other = token(audience="api://default")(scene).json()["access_token"]
    assert form("/revoke", token=other)(scene).status == 200
    with sqlite3.connect(scene.server.folder / "countersign/countersign.db") as database:
        done = database.execute("UPDATE documents SET bytes = CAST(replace(bytes, '\"entries\":[', '\"entries\":[ ') AS BLOB) WHERE key = 'revocations'")
        assert done.rowcount == 1
    database.close()
    return scene


@pytest.fixture(scope="module")
def often(lasting_authority):
    """Every client of this server has asked once, which is as often as it may."""
    limits = '\n[limits]\nper_client = "1/h"\nper_address = "off"\n'
    server = lasting_authority(configuration(*CLIENTS, *RULES) + limits)
    for _ in range(8):
        answer = send(server, {"grant_type": "client_credentials"}, basic("worker"))
    assert answer.status == 429
    return SimpleNamespace(server=server, issuer=server.issuer)


GATE = """
[[trust]]
preset = "countersign"
id = "@ISSUER@"
audiences = ["api://default"]

[[gate.proxies]]
kind = "caddy"
networks = ["127.0.0.1/32"]

[[gate.routes]]
path = "/orders/**"

[[gate.routes]]
path = "/bound/**"
dpop = true

[[gate.routes]]
path = "/admin/**"
any_scope = ["admin"]

[gate.dpop]
public_urls = ["https://api.example"]
"""


def gate_of(server):
    """A server that is a gate too, a token that is bound to the key of `HOLDER`, and one that is not."""
    proofs = [HOLDER.proof(f"{server.issuer}/token")], []
    bound, free = (dpop.ask(server.issuer, shown).json()["access_token"] for shown in proofs)
    return SimpleNamespace(server=server, issuer=server.issuer, bound=bound, free=free)


@pytest.fixture(scope="module")
def gate(lasting_authority):
    return gate_of(lasting_authority(configuration(*CLIENTS, *RULES) + GATE))


@pytest.fixture(scope="module")
def demanding(lasting_authority):
    """A gate that wants a nonce of its own in each proof."""
    return gate_of(lasting_authority(configuration(*CLIENTS, *RULES) + GATE + "require_nonce = true\n"))


@pytest.fixture
def no_key(full_world, relay, ministack):
    """The key of this server is in KMS, and was disabled there."""
    from e2e.test_kms import ENV, HEAD, listening

    full_world.environment |= aws.variables(relay.url) | ENV
    rings = '\n[rings.default]\nalgorithm = "ES256"\nsigner = "kms"\n'
    full_world.configure(HEAD + rings + client("worker", more=WORKER))
    issuer = listening(full_world.serve())
    [key] = full_world.keys()
    ministack.client("kms").disable_key(KeyId=key["kms"])
    return SimpleNamespace(server=SimpleNamespace(issuer=issuer), issuer=issuer)


def form(path, headers=None, id="worker", **parameters):
    """A request with Basic credentials, and parameters that may be made of the scene."""
    def ask(scene):
        made = {name: value(scene) if callable(value) else value for name, value in parameters.items()}
        return send(scene.server, made, basic(id) if headers is None else headers, path)
    return ask


def token(id="worker", headers=None, **parameters):
    return form("/token", headers, id, **({"grant_type": "client_credentials"} | parameters))


def bearer(id="app", **parameters):
    return token(id, **({"grant_type": JWT_BEARER, "assertion": lambda s: asserted(s.server)} | parameters))


def exchange(id="backend", **parameters):
    shown = {"subject_token": lambda s: ALICE.sign("api://theirs", iss=LOGIN), "subject_token_type": TYPE + "access_token"}
    return token(id, **({"grant_type": EXCHANGE} | shown | parameters))


def refresh(id="app", **parameters):
    return token(id, **({"grant_type": REFRESH, "refresh_token": lambda s: s.refresh} | parameters))


def signed(path, without=None, **parameters):
    """A request of a client that authenticates with an assertion; `without` makes it a wrong one."""
    def ask(scene):
        assertion = without(scene) if without else SIGNER.sign(scene.issuer)
        shown = {"client_assertion_type": assertions.TYPE, "client_assertion": assertion}
        asked = {"grant_type": "client_credentials"} if path == "/token" else {"token": "x"}
        return send(scene.server, asked | shown | parameters, path=path)
    return ask


def proven(id="worker", times=1, **changes):
    """A request with a DPoP proof that is wrong in these claims; every other fault is in test_dpop.py."""
    def ask(scene):
        proof = HOLDER.proof(f"{scene.issuer}/token", **changes)
        return dpop.ask(scene.issuer, [proof] * times, id)
    return ask


def proof_again(scene):
    proof = HOLDER.proof(f"{scene.issuer}/token")
    assert dpop.ask(scene.issuer, [proof], "worker").status == 200
    return dpop.ask(scene.issuer, [proof], "worker")


def called(token, *proofs, scheme="DPoP", path="/orders/7"):
    """A call of the service behind the gate, as a proxy asks about it; a token may be a name of the scene's."""
    def ask(scene):
        shown = token(scene) if callable(token) else getattr(scene, token)
        headers = [("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", path), ("Authorization", f"{scheme} {shown}")]
        return wire.ask(scene.issuer, "GET", "/gate", headers + [("DPoP", proof(scene)) for proof in proofs])
    return ask


def for_call(by=HOLDER, url="https://api.example/orders/7", method="GET", of=None, **changes):
    """A proof for such a call that is wrong in these claims."""
    return lambda scene: by.proof(url, method, of or scene.bound, **changes)


def called_again(scene):
    proof = for_call()(scene)
    assert called("bound", lambda _: proof)(scene).status == 200
    return called("bound", lambda _: proof)(scene)


def forged(scene):
    """The token with another signature."""
    signed, _, signature = scene.bound.rpartition(".")
    return f"{signed}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def twice(path, name, **rest):
    return lambda scene: send(scene.server, [*rest.items(), (name, "a"), (name, "a")], basic("worker"), path)


def spent(scene):
    """An assertion of a client that was used."""
    assertion = SIGNER.sign(scene.issuer)
    assert assertions.ask(scene.issuer, assertion).status == 200
    return assertion


def used(scene):
    """An assertion of jwt-bearer that was used."""
    assertion = asserted(scene.server)
    assert bearer(assertion=assertion)(scene).status == 200
    return assertion


def at_gate(named, what, ask, error, status=401, scene="gate", scheme="DPoP"):
    return Row("/gate", named, what, ask, error, status, scene, scheme)


def anyway(path, **parameters):
    """What is wrong with a request at each of the three endpoints."""
    about = {"grant_type": "client_credentials"} if path == "/token" else {"token": "x"}
    [(required, value)] = about.items()
    who = {"client_id": "worker", "client_secret": SECRET}
    json_body = basic("worker") | {"Content-Type": "application/json"}
    requests = {
        "a parameter is missing": form(path),
        "a parameter has no value": form(path, **{required: ""}),
        "a parameter twice": twice(path, required),
        "an unknown parameter twice": twice(path, "x", **about),
        "not a form": lambda s: send(s.server, json.dumps(about), json_body, path),
        "not UTF-8": lambda s: send(s.server, f"{required}={value}&x=%FF".encode(), basic("worker"), path),
        "credentials in two ways": form(path, **about, **who),
        "two client ids": form(path, **about, client_id="other"),
        "an assertion without its type": form(path, {}, client_assertion="x", **about),
    }
    named = {"/token": "RFC 6749 section 5.2", "/revoke": "RFC 7009 section 2.2.1", "/introspect": "other"}[path]
    for what, ask in requests.items():
        yield Row(path, named, what, ask, "invalid_request")
    yield Row(path, named, "a method but POST", lambda s: send(s.server, "", basic("worker"), path, "GET"), "invalid_request", 405)
    yield Row(path, named, "a body that is too long", lambda s: send(s.server, f"{required}={value}&x=" + "x" * 70000, basic("worker"), path),
              "invalid_request", 413)
    clients = {
        "no credentials": form(path, {}, **about), "an id alone": form(path, {}, client_id="worker", **about),
        "an unknown client": form(path, id="nobody", **about),
        "a wrong secret in the header": form(path, basic("worker", "wrong"), **about),
        "a wrong secret in the body": form(path, {}, **about, **who | {"client_secret": "wrong"}),
        "a scheme that is not Basic": form(path, {"Authorization": f"Bearer {SECRET}"}, **about),
        "Basic that is not base64": form(path, {"Authorization": "Basic @@@"}, **about),
    }
    named = "RFC 7662 section 2.3" if path == "/introspect" else named
    for what, ask in clients.items():
        yield Row(path, named, what, ask, "invalid_client", 401)
    wrong = {
        "an assertion that was used": spent, "an expired assertion": lambda s: SIGNER.sign(s.issuer, exp=1_700_000_000),
        "an assertion for another server": lambda s: SIGNER.sign("https://other.example"),
        "an assertion for two servers": lambda s: SIGNER.sign([s.issuer, "https://other.example"]),
        "an assertion of another key": lambda s: assertions.Key("signer").sign(s.issuer),
        "an assertion without jti": lambda s: SIGNER.sign(s.issuer, without=["jti"]),
        "an assertion about another subject": lambda s: SIGNER.sign(s.issuer, sub="other"),
        "an assertion that lives for a day": lambda s: SIGNER.sign(s.issuer, exp=4_000_000_000),
        "not a JWT": lambda s: "x",
    }
    for what, made in wrong.items():
        yield Row(path, "RFC 7523 section 3.2", what, signed(path, made), "invalid_client", 401)
    yield Row(path, "RFC 7523 section 3.2", "another type of assertion",
              signed(path, client_assertion_type="urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), "invalid_client", 401)
    yield Row(path, "other", "more often than the client may", form(path, **about), "slow_down", 429, "often")
    later = "RFC 7009 section 2.2.1" if path == "/revoke" else "other"
    yield Row(path, later, "an assertion, and the store is away", signed(path), "temporarily_unavailable", 503, "away")


R6749, R6, R8693, R8707, R7523 = (
    "RFC 6749 section 5.2", "RFC 6749 section 6", "RFC 8693 section 2.2.2", "RFC 8707 section 2", "RFC 7523 section 3.1")
R7_1, R9, R6750 = "RFC 9449 section 7.1", "RFC 9449 section 9", "RFC 6750 section 3.1"
ROWS = [
    *anyway("/token"), *anyway("/revoke"), *anyway("/introspect"),
    # POST /token: which grant, to whom.
    Row("/token", R6749, "no assertion", bearer(assertion=""), "invalid_request"),
    Row("/token", R6749, "no refresh token", refresh(refresh_token=""), "invalid_request"),
    Row("/token", R6749, "a client without client_credentials", token("app"), "unauthorized_client"),
    Row("/token", R6749, "a client without jwt-bearer", bearer("worker"), "unauthorized_client"),
    Row("/token", R6749, "a client without token exchange", exchange("worker"), "unauthorized_client"),
    Row("/token", R6749, "a client without refresh tokens", refresh("worker"), "unauthorized_client"),
    Row("/token", R6749, "a grant that nobody knows", token(grant_type="magic"), "unsupported_grant_type"),
    Row("/token", R6749, "the code grant", token(grant_type="authorization_code", code="x"), "unsupported_grant_type"),
    Row("/token", R6749, "the password grant", token(grant_type="password", username="a", password="b"), "unsupported_grant_type"),
    # Scopes, of each grant.
    Row("/token", R6749, "a scope that is not the client's", token(scope="admin"), "invalid_scope"),
    Row("/token", R6749, "a malformed scope", token(scope='re"ad'), "invalid_scope"),
    Row("/token", R6749, "a scope beyond the rule, by jwt-bearer", bearer(scope="admin"), "invalid_scope"),
    Row("/token", R6749, "a scope beyond the rule, by exchange", exchange(scope="write"), "invalid_scope"),
    Row("/token", R6749, "a scope beyond the subject token", exchange(
        subject_token=lambda s: ALICE.sign("api://theirs", iss=LOGIN, scope="write"), scope="read"), "invalid_scope"),
    # Targets, of each grant.
    Row("/token", R8707, "an audience that is not the client's", token(audience="api://third"), "invalid_target"),
    Row("/token", R8707, "a resource that is not the client's", token(resource="https://api.example/v2"), "invalid_target"),
    Row("/token", R8707, "a resource that is not absolute", token(resource="v1"), "invalid_target"),
    Row("/token", R8707, "a resource with a fragment", token(resource="https://api.example/v1#f"), "invalid_target"),
    Row("/token", R8707, "an audience that is not the client's, by jwt-bearer", bearer(audience="api://third"), "invalid_target"),
    Row("/token", R8693, "an audience that is not the client's, by exchange", exchange(audience="api://third"), "invalid_target"),
    Row("/token", R8693, "one of two audiences", lambda s: send(s.server, [
        ("grant_type", EXCHANGE), ("subject_token", ALICE.sign("api://theirs", iss=LOGIN)), ("subject_token_type", TYPE + "access_token"),
        ("audience", "api://default"), ("resource", "https://third.example")], basic("backend")), "invalid_target"),
    Row("/token", R8707, "an audience that the refresh token is not for", refresh(audience="api://other"), "invalid_target"),
    # jwt-bearer: the assertion.
    Row("/token", R7523, "not a JWT", bearer(assertion="x"), "invalid_grant"),
    Row("/token", R7523, "used before", bearer(assertion=used), "invalid_grant"),
    Row("/token", R7523, "expired", bearer(assertion=lambda s: asserted(s.server, exp=1_700_000_000)), "invalid_grant"),
    Row("/token", R7523, "not valid yet", bearer(assertion=lambda s: asserted(s.server, nbf=4_000_000_000, exp=4_000_000_060)), "invalid_grant"),
    Row("/token", R7523, "without exp", bearer(assertion=lambda s: asserted(s.server, without=["exp"])), "invalid_grant"),
    Row("/token", R7523, "without sub", bearer(assertion=lambda s: asserted(s.server, without=["sub"])), "invalid_grant"),
    Row("/token", R7523, "of another key", bearer(assertion=lambda s: asserted(s.server, PEER)), "invalid_grant"),
    Row("/token", R7523, "for another server", bearer(assertion=lambda s: ALICE.sign("https://other.example", iss=LOGIN)), "invalid_grant"),
    # Which issuers a client has rules for is its own business, so that it is told.
    Row("/token", R6749, "of an issuer without a rule", bearer(assertion=lambda s: asserted(s.server, iss="https://nobody.example")), "invalid_grant"),
    # Token exchange: the subject token, and what is asked for.
    Row("/token", R8693, "no subject token", exchange(subject_token=""), "invalid_request"),
    Row("/token", R8693, "no type of it", exchange(subject_token_type=""), "invalid_request"),
    Row("/token", R8693, "a type that is not taken", exchange(subject_token_type=TYPE + "saml2"), "invalid_request"),
    Row("/token", R8693, "a type that is not issued", exchange(requested_token_type=TYPE + "refresh_token"), "invalid_request"),
    Row("/token", R8693, "not a JWT", exchange(subject_token="x"), "invalid_request"),
    Row("/token", R8693, "expired", exchange(subject_token=lambda s: ALICE.sign("api://theirs", iss=LOGIN, exp=1_700_000_000)), "invalid_request"),
    Row("/token", R8693, "of another key", exchange(subject_token=lambda s: PEER.sign("api://theirs", iss=LOGIN)), "invalid_request"),
    Row("/token", R8693, "of an issuer without a rule", exchange(subject_token=lambda s: ALICE.sign("api://theirs", iss="https://nobody.example")),
        "invalid_request"),
    Row("/token", R8693, "for others", exchange(subject_token=lambda s: ALICE.sign("api://default", iss=LOGIN)), "invalid_request"),
    Row("/token", R8693, "the type of an actor without the actor", exchange(actor_token_type=TYPE + "jwt"), "invalid_request"),
    Row("/token", R8693, "an actor without its type", exchange(actor_token=lambda s: ALICE.sign("api://theirs", iss=LOGIN)), "invalid_request"),
    Row("/token", R8693, "an actor where the rule has no delegation", exchange(
        actor_token=lambda s: ALICE.sign("api://theirs", iss=LOGIN), actor_token_type=TYPE + "jwt"), "invalid_request"),
    # DPoP proofs.
    Row("/token", "RFC 9449 section 5", "no proof where one is needed", token("bound"), "invalid_dpop_proof"),
    Row("/token", "RFC 9449 section 5", "two proofs", proven(times=2), "invalid_dpop_proof"),
    Row("/token", "RFC 9449 section 5", "a proof for another method", proven(htm="GET"), "invalid_dpop_proof"),
    Row("/token", "RFC 9449 section 5", "a proof for another URL", proven(htu="https://other.example/token"), "invalid_dpop_proof"),
    Row("/token", "RFC 9449 section 5", "a proof of long ago", proven(iat=1_700_000_000), "invalid_dpop_proof"),
    Row("/token", "RFC 9449 section 5", "a proof that was used", proof_again, "invalid_dpop_proof"),
    Row("/token", "RFC 9449 section 8", "a nonce of another server", proven(nonce="A" * 32), "use_dpop_nonce"),
    Row("/token", "other", "a proof, and the store is away", proven(), "temporarily_unavailable", 503, "away"),
    # Tokens that are bound to a key, at a resource server.
    at_gate(R7_1, "a bound token as a bearer token", called("bound", scheme="Bearer"), "invalid_token"),
    at_gate(R7_1, "a bound token as a bearer token, with a proof",
            called("bound", for_call(), scheme="Bearer"), "invalid_token"),
    at_gate(R7_1, "a token that is not bound",
            called("free", lambda s: for_call(of=s.free)(s)), "invalid_token", scheme="Bearer"),
    at_gate(R7_1, "a token that is not bound where only bound ones are",
            called("free", scheme="Bearer", path="/bound/7"), "invalid_token"),
    at_gate(R7_1, "no proof", called("bound"), "invalid_dpop_proof"),
    at_gate(R7_1, "two proofs", called("bound", for_call(), for_call()), "invalid_dpop_proof"),
    at_gate(R7_1, "a proof of another key", called("bound", for_call(dpop.Holder())), "invalid_dpop_proof"),
    at_gate(R7_1, "a proof for another token", called("bound", for_call(of="x")), "invalid_dpop_proof"),
    at_gate(R7_1, "a proof for another method", called("bound", for_call(method="POST")), "invalid_dpop_proof"),
    at_gate(R7_1, "a proof for another URL",
            called("bound", for_call(url="https://api.example/orders/8")), "invalid_dpop_proof"),
    at_gate(R7_1, "a proof of long ago", called("bound", for_call(iat=1_700_000_000)), "invalid_dpop_proof"),
    at_gate(R7_1, "a proof that was used", called_again, "invalid_dpop_proof"),
    at_gate(R9, "a nonce of another server", called("bound", for_call(nonce="A" * 32)), "use_dpop_nonce"),
    at_gate(R9, "no nonce where one is needed", called("bound", for_call()), "use_dpop_nonce", scene="demanding"),
    at_gate(R6750, "of another key", called(forged, scheme="Bearer"), "invalid_token", scheme="Bearer"),
    at_gate(R6750, "without the scope", called("free", scheme="Bearer", path="/admin/7"),
            "insufficient_scope", status=403, scheme="Bearer"),
    at_gate(R6750, "of another key, with the scheme DPoP", called(forged, for_call()), "invalid_token"),
    at_gate(R6750, "without the scope, with the scheme DPoP",
            called("bound", for_call(url="https://api.example/admin/7"), path="/admin/7"),
            "insufficient_scope", status=403),
    # Refresh tokens.
    Row("/token", R6749, "a refresh token that was never made", refresh(refresh_token="csref_" + "A" * 91), "invalid_grant"),
    Row("/token", R6749, "a refresh token of another client", refresh("other"), "invalid_grant"),
    Row("/token", R6, "an access token in place of it", refresh(refresh_token=lambda s: s.access), "invalid_grant"),
    Row("/token", R6, "a scope that was not granted", refresh(scope="write"), "invalid_scope"),
    # POST /revoke.
    Row("/revoke", "RFC 7009 section 2.2.1", "an access token of another client",
        form("/revoke", token=lambda s: s.family), "unauthorized_client"),
    Row("/revoke", "RFC 7009 section 2.2.1", "a refresh token of another client",
        form("/revoke", id="other", token=lambda s: s.refresh), "unauthorized_client"),
    Row("/revoke", "RFC 7009 section 2.2.1", "a client without a grant", form("/revoke", id="users", token="x"), "unauthorized_client"),
    Row("/revoke", "RFC 7009 section 2.2.1", "a token of POST /sign", form("/revoke", token=lambda s: s.signed), "unsupported_token_type"),
    Row("/revoke", "RFC 7009 section 2.2.1", "the store is away", form("/revoke", token=lambda s: s.access),
        "temporarily_unavailable", 503, "away"),
    # POST /introspect.
    Row("/introspect", "other", "a client that may not", form("/introspect", id="app", token="x"), "unauthorized_client"),
    Row("/introspect", "other", "it cannot be known what is revoked", form("/introspect", token=lambda s: s.access),
        "temporarily_unavailable", 503, "altered"),
    Row("/token", "other", "it cannot be known what is revoked", refresh(), "temporarily_unavailable", 503, "altered"),
    # GET /authorize.
    Row("/authorize", "RFC 6749 section 4.1.2.1", "any response type", lambda s: wire.get(s.issuer, f"/authorize?{LOGIN_REQUEST}"),
        "unsupported_response_type"),
    # What the server cannot do now, or at all.
    Row("/token", "other", "an assertion that may be used once, and the store is away", bearer(), "temporarily_unavailable", 503, "away"),
    Row("/token", "other", "a subject token that may be used once, and the store is away", exchange(), "temporarily_unavailable", 503, "away"),
    Row("/token", "other", "a refresh token, and the store is away", refresh(), "temporarily_unavailable", 503, "away"),
    Row("/token", "other", "the service that has the key does not sign", token(), "server_error", 500, "no_key"),
]


def whole(answer, row):
    """Demands all that RFC 6749 section 5.2 says of an error, and that no token or secret comes back."""
    assert answer.status == row.status, answer
    headers = answer.headers
    assert headers["content-type"] == "application/json", "RFC 8259: JSON is UTF-8 and its type has no charset"
    assert headers["cache-control"] == "no-store", answer
    if row.where == "/authorize":
        assert headers["location"] is None, "it knows no redirect_uri"
    else:
        assert headers["pragma"] == "no-cache" and headers["x-request-id"], answer
    body = json.loads(answer.body.decode("ascii"))
    assert set(body) == {"error", "error_description"} and body["error"] == row.error, body
    for text in body.values():
        assert isinstance(text, str) and text and not set(text) - set(map(chr, range(0x20, 0x7F))) | set(text) & set('"\\'), body
    # 401 always names the scheme that it could have been; RFC 6749 demands it where `Authorization` was tried.
    challenge = 'Basic realm="countersign", charset="UTF-8"' if row.status == 401 else None
    assert headers["www-authenticate"] == challenge, answer
    assert (headers["allow"] == "POST") == (row.status == 405), answer
    assert (headers["retry-after"] is not None and int(headers["retry-after"]) > 0) == (row.status == 429) or row.status == 503, answer
    assert SECRET.encode() not in answer.body and b"eyJ" not in answer.body and b"csref_" not in answer.body, answer


def challenged(answer, row):
    """Demands what RFC 6750 section 3 and RFC 9449 section 7.1 say of an error of a resource server."""
    assert answer.status == row.status and answer.headers["cache-control"] == "no-store", answer
    assert answer.json() == {"error": row.error}, answer
    scheme, _, parameters = answer.headers["www-authenticate"].partition(" ")
    found = dict(re.findall(r'([a-z_]+)="([^"\\]*)"', parameters))
    assert parameters == ", ".join(f'{name}="{value}"' for name, value in found.items()), answer
    assert (scheme, found.pop("error")) == (row.scheme, row.error), answer
    proof = row.error in ("invalid_dpop_proof", "use_dpop_nonce")
    assert bool(found.pop("error_description", "")) == proof == bool(answer.headers["dpop-nonce"]), answer
    assert found.pop("scope", None) == ("admin" if row.error == "insufficient_scope" else None), answer
    assert ("ES256" in found.pop("algs", "").split()) == (scheme == "DPoP") and not found, answer


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_error_has_its_code_its_status_and_its_shape(row, request):
    (challenged if row.where == "/gate" else whole)(row.ask(request.getfixturevalue(row.scene)), row)


def test_rows_are_told_apart():
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names)), [name for name in names if names.count(name) > 1]


@pytest.mark.parametrize("named, where", NAMED, ids=str)
def test_every_code_that_is_named_has_a_row(named, where):
    caused = {row.error for row in ROWS if (row.named, row.where) == (named, where)}
    assert caused == NAMED[named, where]


def test_no_row_is_of_a_specification_that_names_nothing_there():
    assert {(row.named, row.where) for row in ROWS} == set(NAMED)


def codes(source):
    """The codes that one file answers with: beside a status, or as what a rule's refusal is called."""
    text = (ROOT / source).read_text(encoding="utf-8")
    text = text.split("#[cfg(test)]")[0]
    found = re.findall(r'(?:\bbad\(|StatusCode::[A-Z_]+,\s*(?:Some\()?)"([a-z_]+)"', text)
    if rules := re.search(r"fn of_rule.*?\n}\n", text, re.DOTALL):
        found += re.findall(r'=> "([a-z_]+)"', rules[0])
    assert found, f"{source}: no code found; its form has changed"
    return set(found)


def test_every_code_of_the_sources_has_a_row_and_the_other_way_round():
    known = set().union(*map(codes, SOURCES))
    caused = {row.error for row in ROWS}
    assert known - caused - set(ELSEWHERE) == set(), "the code base answers with these, and no row causes them"
    assert caused - known == set(), "rows expect these, and the code base does not answer with them"
    assert not set(ELSEWHERE) & caused


def test_a_refusal_is_told_to_whom_it_concerns_and_spends_nothing(plain):
    """After all of those: what was shown is worth what it was."""
    assert refresh()(plain).status == 200
    answer = form("/introspect", token=lambda s: s.access)(plain)
    assert answer.status == 200 and answer.json()["active"]
