"""The grant `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693) for subject tokens that are JWTs of other issuers."""

import time

import pytest
from authlib.integrations.httpx_client import OAuth2Client, OAuthError
from e2e import wire
from e2e.program import CONFIG, SECRET, client
from e2e.test_jwt_bearer import ALICE, GRANT as JWT_BEARER, LOGIN, PEER, minted, rule, trust
from e2e.test_token import basic, configuration, refused, send
from e2e.test_token_clients import NODE, accepted, node

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
ENTRY = (f'grants = ["{GRANT}"]\nprofiles = ["access_token"]\naudiences = ["api://default", "https://api.example/v1"]\n'
         'scopes = ["read", "write", "admin"]\n')
#: Access tokens of a provider for another API, which a backend shows as often as it is called.
ROUTES = f'grants = ["{GRANT}"]\nimpersonate = true\nonce = false\nscopes = ["read", "write"]\n'
TRUSTED = trust(more=', audiences = ["api://theirs"], typ = "at+jwt"')
BOTH = ENTRY.replace('grants = [', f'grants = ["{JWT_BEARER}", ')
CLIENTS = [
    client("backend", more=ENTRY), client("defaults", more=ENTRY + 'default_scope = ["admin", "read", "write"]\n'),
    client("once", more=ENTRY), client("asserts", more=ENTRY.replace(GRANT, JWT_BEARER)), client("both", more=BOTH),
]
RULES = [
    rule("backend", "login", ROUTES, TRUSTED), rule("defaults", "login", ROUTES, TRUSTED),
    rule("once", "login", f'grants = ["{GRANT}"]\nimpersonate = true\nscopes = ["read"]\n', TRUSTED), rule("asserts", "login"),
    rule("both", "shown", f'grants = ["{GRANT}"]\nimpersonate = true\n', TRUSTED), rule("both", "asserted"),
]


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS, *RULES))


def sign(key=ALICE, audience="api://theirs", header=None, **rest):
    """An access token of the other issuer, for an API of its own."""
    return key.sign(audience, header={"typ": "at+jwt"} | (header or {}), **({"iss": LOGIN} | rest))


def ask(server, token, id="backend", **parameters):
    form = {"grant_type": GRANT, "subject_token": token, "subject_token_type": TYPE + "access_token"} | parameters
    return send(server, {name: value for name, value in form.items() if value is not None}, basic(id))


def test_the_answer_says_what_was_issued(server):
    token = sign()
    for asked, issued in [(None, "access_token"), ("access_token", "access_token"), ("jwt", "jwt")]:
        answer = ask(server, token, requested_token_type=asked and TYPE + asked, scope="read")
        claims = minted(answer)
        body = answer.json()
        assert set(body) == {"access_token", "issued_token_type", "token_type", "expires_in", "scope"}
        assert body["issued_token_type"] == TYPE + issued and body["token_type"] == "Bearer"
        assert claims["sub"] == "login:alice" and claims["client_id"] == "backend" and claims["scope"] == "read"
        assert set(claims) == {"iss", "sub", "client_id", "aud", "iat", "nbf", "exp", "jti", "scope"}
    for kind in ("access_token", "jwt", "id_token"):
        minted(ask(server, token, subject_token_type=TYPE + kind))


def test_audience_and_resource_are_those_of_the_client(server):
    assert minted(ask(server, sign(), audience="api://default", resource="https://api.example/v1"))["aud"] == [
        "https://api.example/v1", "api://default"]
    refused(ask(server, sign(), audience="api://theirs"), 400, "invalid_target")


def test_scope_is_within_the_subject_token_the_rule_and_the_client(server):
    assert minted(ask(server, sign(scope="read write admin"), scope="write"))["scope"] == "write"
    refused(ask(server, sign(scope="read"), scope="write"), 400, "invalid_scope")
    refused(ask(server, sign(scope="read admin"), scope="admin"), 400, "invalid_scope")
    refused(ask(server, sign(scope=""), scope="read"), 400, "invalid_scope")
    # A list is read as gates read it, and `scp` too; what is neither allows none.
    assert minted(ask(server, sign(scope=["read"]), scope="read"))["scope"] == "read"
    refused(ask(server, sign(scope=["write"]), scope="read"), 400, "invalid_scope")
    refused(ask(server, sign(scp="write"), scope="read"), 400, "invalid_scope")
    refused(ask(server, sign(scope=5), scope="read"), 400, "invalid_scope")
    assert minted(ask(server, sign(scope="write admin"), "defaults"))["scope"] == "write"
    assert minted(ask(server, sign(), "defaults"))["scope"] == "read write"
    assert "scope" not in minted(ask(server, sign(scope="admin"), "defaults"))


def test_it_never_lives_longer_than_the_subject_token(server):
    ends = int(time.time()) + 90
    claims = minted(ask(server, sign(exp=ends)))
    assert claims["exp"] <= ends and claims["exp"] - claims["iat"] <= 90


def test_a_subject_token_is_taken_once_unless_that_is_given_up(server):
    token = sign()
    minted(ask(server, token, "once"))
    refused(ask(server, token, "once"), 400, "invalid_request", "used before")
    for _ in range(2):
        minted(ask(server, token))


def test_a_rule_is_for_its_grants_alone(server):
    assertion = ALICE.sign(server.issuer, iss=LOGIN)
    refused(ask(server, sign(), "asserts"), 400, "unauthorized_client")
    refused(send(server, {"grant_type": JWT_BEARER, "assertion": sign()}, basic("backend")), 400, "unauthorized_client")
    assert minted(ask(server, sign(), "both"))["sub"] == "shown:alice"
    assert minted(send(server, {"grant_type": JWT_BEARER, "assertion": assertion}, basic("both")))["sub"] == "asserted:alice"
    # What one rule takes is nothing to the rule of the other grant.
    refused(ask(server, ALICE.sign(server.issuer, iss=LOGIN), "both"), 400, "invalid_request")
    refused(send(server, {"grant_type": JWT_BEARER, "assertion": sign()}, basic("both")), 400, "invalid_grant")


def now(seconds):
    return int(time.time()) + seconds


#: RFC 8693 sections 2.1 and 2.2.2: what is wrong with a request.
ERRORS = {
    "no subject_token": lambda s: ask(s, None),
    "no subject_token_type": lambda s: ask(s, sign(), subject_token_type=None),
    "an unknown subject_token_type": lambda s: ask(s, sign(), subject_token_type=wire.MARK),
    "a SAML assertion": lambda s: ask(s, sign(), subject_token_type=TYPE + "saml2"),
    "a refresh token as subject": lambda s: ask(s, sign(), subject_token_type=TYPE + "refresh_token"),
    "a refresh token asked for": lambda s: ask(s, sign(), requested_token_type=TYPE + "refresh_token"),
    "an actor": lambda s: ask(s, sign(), actor_token=sign(), actor_token_type=TYPE + "access_token"),
    "an actor's type alone": lambda s: ask(s, sign(), actor_token_type=TYPE + "access_token"),
    "two subjects": lambda s: send(s, [("grant_type", GRANT), ("subject_token", "a"), ("subject_token", "b")], basic("backend")),
    "an opaque token": lambda s: ask(s, wire.MARK),
    "another audience": lambda s: ask(s, sign(audience="api://default")),
    "an ID token's typ": lambda s: ask(s, sign(header={"typ": "JWT"})),
    "an issuer without a rule": lambda s: ask(s, sign(iss="https://nobody.example")),
    "another key": lambda s: ask(s, sign(PEER)),
    "expired": lambda s: ask(s, sign(exp=now(-30))),
    "valid for two days": lambda s: ask(s, sign(exp=now(2 * 86400))),
    "no sub": lambda s: ask(s, sign(without=["sub"])),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_wrong_is_an_invalid_request(server, name):
    refused(ERRORS[name](server), 400, "invalid_request")


@pytest.mark.parametrize("program", NODE)
def test_clients_in_node_exchange_tokens(server, program):
    answer = node(program, server, client="backend", method="client_secret_post", secret=SECRET, scope="read", grant=GRANT,
                  more={"subject_token": sign(), "subject_token_type": TYPE + "access_token"})
    assert answer["token"]["issued_token_type"] == TYPE + "access_token"
    accepted(server, answer["token"]["access_token"], "backend", sub="login:alice")
    assert answer["refused"] == {"error": "invalid_scope", "status": 400}


def test_authlib_exchanges_tokens(server):
    with OAuth2Client("backend", SECRET) as session:
        rest = {"grant_type": GRANT, "subject_token_type": TYPE + "access_token", "scope": "read"}
        token = session.fetch_token(f"{server.issuer}/token", subject_token=sign(), **rest)
        accepted(server, token["access_token"], "backend", sub="login:alice")
        with pytest.raises(OAuthError) as why:
            session.fetch_token(f"{server.issuer}/token", subject_token=sign(PEER), **rest)
        assert why.value.error == "invalid_request"


def test_discovery_names_every_grant_that_some_client_has(server):
    found = wire.get(server.issuer, "/.well-known/oauth-authorization-server").json()
    assert found["grant_types_supported"] == [JWT_BEARER, GRANT]


@pytest.mark.parametrize("entry, setting, says", [
    (ENTRY, "clients.backend.grants", "may exchange by " + GRANT),
    (ENTRY + rule("backend"), "clients.backend.grants", "may exchange by " + GRANT),
    (ENTRY + rule("backend", more=ROUTES) + rule("backend"), "exchange[1].clients", "does not have the grant"),
    (ENTRY + rule("backend", more=ROUTES) + rule("backend", more='grants = ["client_credentials"]\n'), "exchange[1].grants", "exchanges nothing"),
    (ENTRY + rule("backend", more=ROUTES) + rule("backend", more="grants = []\n"), "exchange[1].grants", "name a grant"),
])
def test_a_rule_names_grants_that_its_clients_have(world, entry, setting, says):
    world.configure(CONFIG + client("backend", more=entry))
    assert setting in world.fails(78, says, "config", "check")


def test_our_own_tokens_are_exchanged_where_a_rule_says_so_and_lose_nothing_but_life(authority):
    """A token that came out of an exchange may go into the next one: subject, scope and end only narrow."""
    first = authority(configuration(client("backend", more=ENTRY), rule("backend", "login", ROUTES, TRUSTED)))
    ours = f'trust = {{ issuer = "{first.issuer}", audiences = ["api://default"], algorithms = ["ES256"], typ = "at+jwt" }}\n'
    second = authority(configuration(client("backend", more=ENTRY), rule("backend", "first", ROUTES, ours)))
    answer = ask(first, sign(exp=now(600), scope="read write"), scope="read")
    before, token = minted(answer), answer.json()["access_token"]
    refused(ask(second, token, scope="write"), 400, "invalid_scope")
    after = minted(ask(second, token, scope="read"))
    assert after["sub"] == "first:login:alice" and after["scope"] == "read" and after["exp"] <= before["exp"]
