"""Issuers that nobody here wrote, as real processes: Dex (Go) and node-oidc-provider (npm).

Their tokens are exchanged for ours, of services and of users who logged in there, while their keys
change; and our tokens are accepted by node-oidc-provider as assertions of a client. Dex of this
version takes assertions of nobody. As trusts of the gate they are in gate/test_foreign_issuers.py.
Keycloak and Hydra: tests/peers.
"""

import json

import jwt
import pytest
from e2e import wire
from e2e.program import CONFIG, SECRET, client, free_port, until
from e2e.test_jwt_bearer import ENTRY, GRANT as JWT_BEARER, minted, rule
from e2e.test_token import basic, configuration, refused, send
from e2e.test_token_exchange import GRANT as EXCHANGE, ROUTES, TYPE
from servers import dex as of_dex
from servers import oidc_provider as of_node

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: An API of ours that is called with the provider's access tokens.
BACKEND = "https://backend.example"
BOTH = ENTRY.replace("grants = [", f'grants = ["{EXCHANGE}", ')
#: ID tokens of both have no `jti`.
AGAIN = 'once = false\nscopes = ["read"]\n'


def trusted(issuer, *audiences, more=""):
    return f'trust = {{ issuer = "{issuer}", audiences = {json.dumps(audiences)}, algorithms = ["RS256", "ES256"]{more} }}\n'


def exchange(server, token, kind="access_token", id="backend", **parameters):
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": TYPE + kind} | parameters
    return send(server, form, basic(id))


def assert_with(server, token, id="backend", **parameters):
    return send(server, {"grant_type": JWT_BEARER, "assertion": token} | parameters, basic(id))


def header(token):
    return jwt.get_unverified_header(token)


# node-oidc-provider


@pytest.fixture(scope="module")
def provider():
    with of_node.OidcProvider() as one:
        yield one


@pytest.fixture(scope="module")
def server(provider, lasting_authority):
    """Takes the provider's access tokens for our API, and its ID tokens for our application."""
    ours = trusted(provider.issuer, BACKEND, more=', typ = "at+jwt"')
    # Without audiences: for this authority.
    anyone = trusted(provider.issuer).replace("audiences = [], ", "")
    return lasting_authority(
        configuration(
            client("backend", more=BOTH),
            client("web", more=BOTH),
            client("narrow", more=BOTH),
            rule("backend", "people", ROUTES, ours),
            rule("backend", "services", 'scopes = ["read"]\n', anyone),
            rule("web", "people", ROUTES, trusted(provider.issuer, "application")),
            rule("web", "people", AGAIN, trusted(provider.issuer, "application")),
            rule("narrow", "people", ROUTES, trusted(provider.issuer, BACKEND, more=', claims = { sub = "bob" }')),
            rule("narrow", "x", AGAIN, trusted(provider.issuer, "x")),
        )
    )


def test_a_users_access_token_is_exchanged_for_ours(provider, server):
    theirs = provider.login("alice", BACKEND)["access_token"]
    answer = exchange(server, theirs, scope="read")
    claims = minted(answer)
    before = json.loads(wire.claims(theirs))
    assert before["sub"] == "alice" and before["scope"] == "read write" and before["aud"] == BACKEND
    assert claims["sub"] == "people:alice" and claims["scope"] == "read" and claims["iss"] == server.issuer
    assert claims["client_id"] == "backend" and claims["exp"] <= before["exp"]
    # Its own scope is the most there is.
    less = provider.login("alice", BACKEND, "openid read")["access_token"]
    refused(exchange(server, less, scope="write"), 400, "invalid_scope")


def test_a_users_id_token_is_exchanged_for_ours(provider, server):
    theirs = provider.login("alice", BACKEND)["id_token"]
    assert minted(exchange(server, theirs, "id_token", "web"))["sub"] == "people:alice"
    assert minted(assert_with(server, theirs, "web", scope="read"))["sub"] == "people:alice"
    # For the application, and not for the API; and by its type no access token.
    refused(exchange(server, theirs, "id_token"), 400, "invalid_request")


def test_a_services_access_token_for_us_is_an_assertion_once(provider, server):
    theirs = provider.service(server.issuer)
    assert minted(assert_with(server, theirs, scope="read"))["sub"] == "services:service"
    refused(assert_with(server, theirs, scope="read"), 400, "invalid_grant", "used before")
    refused(assert_with(server, provider.service("https://other.example")), 400, "invalid_grant")
    refused(assert_with(server, provider.service(server.issuer), scope="write"), 400, "invalid_scope")


def test_what_is_not_a_jwt_or_for_others_or_of_others_is_refused(provider, server):
    form = {"grant_type": "client_credentials", "scope": "read"}
    opaque = provider.token(form).json()["access_token"]
    assert "." not in opaque
    refused(exchange(server, opaque), 400, "invalid_request")
    refused(exchange(server, provider.service("https://other.example")), 400, "invalid_request")
    refused(exchange(server, provider.login("alice", BACKEND)["access_token"], id="narrow"), 400, "invalid_request")
    assert minted(exchange(server, provider.login("bob", BACKEND)["access_token"], id="narrow"))["sub"] == "people:bob"
    with of_node.OidcProvider() as another:
        refused(exchange(server, another.service(BACKEND)), 400, "invalid_request")


def test_tokens_of_either_of_its_keys_are_taken(authority):
    with of_node.OidcProvider(algorithm="ES256") as provider:
        server = authority(
            configuration(
                client("backend", more=BOTH),
                rule("backend", "people", ROUTES, trusted(provider.issuer, BACKEND)),
                rule("backend", "x", AGAIN, trusted(provider.issuer, "x")),
            )
        )
        access, id_token = (provider.login("alice", BACKEND)[name] for name in ("access_token", "id_token"))
        assert (header(access)["alg"], header(id_token)["alg"]) == ("ES256", "RS256")
        assert minted(exchange(server, access))["sub"] == "people:alice"
        # Where one of its keys may not be used, tokens of it are worth nothing.
        only = trusted(provider.issuer, BACKEND).replace('"RS256", "ES256"', '"RS256"')
        strict = authority(
            configuration(
                client("backend", more=ENTRY.replace(JWT_BEARER, EXCHANGE)), rule("backend", "people", ROUTES, only)
            )
        )
        refused(exchange(strict, access), 400, "invalid_request")


def test_our_tokens_authenticate_a_client_there(world):
    """`private_key_jwt` at node-oidc-provider: its client is our issuer, and its keys are our JWKS,
    so who may ask us for a token about our issuer for that provider is that client there,
    without any secret."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    ours = {
        "client_id": issuer,
        "grant_types": ["client_credentials"],
        "redirect_uris": [],
        "response_types": [],
        "scope": "read",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
    }
    with of_node.OidcProvider([ours]) as provider:
        world.configure(
            CONFIG
            + client(
                "signer",
                more=f'audiences = ["{provider.issuer}", "https://other.example"]\nclaims = {{ allow = ["sub"] }}',
            ),
            port,
        )
        world.serve()

        def ours_for(audience, sub):
            headers = {"Authorization": wire.basic("signer", SECRET), "Content-Type": "application/json"}
            body = json.dumps({"data": {"sub": sub}, "metadata": {"audience": audience}}).encode()
            answer = wire.ask(issuer, "POST", "/sign", headers, body)
            assert answer.status == 200, answer
            return answer.json()["access_token"]

        def ask(assertion):
            form = {
                "grant_type": "client_credentials",
                "resource": "https://x.example",
                "scope": "read",
                "client_id": issuer,
            }
            return provider.token(form | {"client_assertion_type": ASSERTION, "client_assertion": assertion}, None)

        token = ours_for(provider.issuer, issuer)
        answer = ask(token)
        assert answer.status_code == 200, answer.text
        assert json.loads(wire.claims(answer.json()["access_token"]))["client_id"] == issuer
        assert ask(token).status_code == 401, "it is used once there too"
        assert ask(ours_for("https://other.example", issuer)).status_code == 401


# Dex


@pytest.fixture
def dex(tmp_path):
    with of_dex.several(tmp_path) as start:
        yield start


def taking(authority, dex):
    ours = trusted(dex.issuer, of_dex.APP).replace(', "ES256"', "")
    return authority(
        configuration(
            client("backend", more=BOTH), rule("backend", "dex", ROUTES, ours), rule("backend", "dex", AGAIN, ours)
        )
    )


def test_id_tokens_of_dex_are_exchanged_for_ours(dex, authority):
    if not (program := of_dex.program()):
        return
    provider = dex(program)
    server = taking(authority, provider)
    token = provider.id_token()
    theirs = json.loads(wire.claims(token))
    claims = minted(exchange(server, token, "id_token", scope="read"))
    assert claims["sub"] == f"dex:{theirs['sub']}" and claims["scope"] == "read" and claims["exp"] <= theirs["exp"]
    assert minted(assert_with(server, token))["sub"] == claims["sub"]
    refused(exchange(server, provider.id_token("another"), "id_token"), 400, "invalid_request")
    refused(assert_with(server, provider.id_token("another")), 400, "invalid_grant")


def test_while_dex_rotates_new_tokens_are_taken_and_when_its_keys_are_lost_old_ones_are_not(dex, authority):
    if not (program := of_dex.program()):
        return
    provider = dex(program, "1s")
    server, later = taking(authority, provider), taking(authority, provider)
    old, known = provider.id_token(), provider.kids()
    for each in (server, later):
        minted(exchange(each, old, "id_token"))
    # It signs with a key from the moment on that it publishes it, so that nobody can have read it before.
    until(lambda: provider.kids() != known, "Dex rotates, as it does each half minute")
    new = provider.id_token()
    assert header(new)["kid"] not in known and header(old)["kid"] in known
    until(lambda: exchange(server, new, "id_token").status == 200, "the new key is known")
    assert minted(exchange(server, old, "id_token"))["sub"] == minted(exchange(server, new, "id_token"))["sub"]
    # The other server has not looked for an unknown key before, which it does at most once in half a minute: it finds this one at once.
    for token in (new, old):
        minted(exchange(later, token, "id_token"))
    # All of its keys are others, and none of the tokens has expired.
    provider.stop()
    provider.start()
    assert not provider.kids() & {header(old)["kid"], header(new)["kid"]}
    last = provider.id_token()
    until(lambda: exchange(later, last, "id_token").status == 200, "the last key is known")
    for token in (old, new):
        refused(exchange(later, token, "id_token"), 400, "invalid_request")
        refused(assert_with(later, token), 400, "invalid_grant")
