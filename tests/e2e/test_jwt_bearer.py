"""The grant `urn:ietf:params:oauth:grant-type:jwt-bearer`: a token of another issuer for one of ours, by a rule.

The other issuers are keys that PyJWT signs with, and another Countersign found by discovery. The clients are oauth4webapi,
openid-client and Authlib, and requests made by hand for what they would not send.
"""

import json
import time

import pytest
from authlib.integrations.httpx_client import OAuth2Client, OAuthError
from e2e import wire
from e2e.assertions import Key
from e2e.program import CONFIG, SECRET, client, until
from e2e.test_token import basic, configuration, refused, send
from e2e.test_token_clients import NODE, accepted, node

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LOGIN = "https://login.example"
ALICE, PEER = Key("alice"), Key("alice")
ENTRY = (f'grants = ["{GRANT}"]\nprofiles = ["access_token"]\naudiences = ["api://default", "api://other"]\nmax_lifetime = "2h"\n'
         'scopes = ["read", "write", "admin"]\n')


def trust(key=ALICE, issuer=LOGIN, more=""):
    return f'trust = {{ issuer = "{issuer}", jwks = {json.dumps(key.jwks)}, algorithms = ["ES256"]{more} }}\n'


def rule(client="app", provider="login", more='scopes = ["read", "write"]\n', trusted=None):
    return f'\n[[exchange]]\nclients = ["{client}"]\nprovider = "{provider}"\n{more}{trusted or trust()}'


CLIENTS = [
    client("app", more=ENTRY), client("defaults", more=ENTRY + 'default_scope = ["admin", "read"]\n'),
    client("often", more=ENTRY), client("short", more=ENTRY), client("only-tests", more=ENTRY), client("own-audience", more=ENTRY),
    client("worker", more='grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\n'),
    client("two", more=ENTRY),
]
RULES = [
    rule(), rule("defaults"), rule("often", more='scopes = ["*"]\nonce = false\n'), rule("short", more='max_lifetime = "60s"\n'),
    rule("only-tests", trusted=trust(more=', claims = { "/env/name" = "test" }')),
    rule("own-audience", trusted=trust(more=', audiences = ["my-app"]')),
    rule("two", "first", trusted=trust(more=', claims = { team = "a" }')), rule("two", "second", trusted=trust(more=', claims = { team = "b" }')),
    rule("two", "third", trusted=trust(PEER, "https://other.example")),
]


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS, *RULES))


def sign(server, key=ALICE, audience=None, **rest):
    """An assertion of the other issuer for this one."""
    return key.sign(audience or server.issuer, **({"iss": LOGIN} | rest))


def ask(server, assertion, id="app", **parameters):
    form = {"grant_type": GRANT, "assertion": assertion} | parameters
    return send(server, {name: value for name, value in form.items() if value is not None}, basic(id))


def minted(answer):
    assert answer.status == 200, answer
    token = answer.json()["access_token"]
    assert wire.header(token)["typ"] == "at+jwt"
    return json.loads(wire.claims(token))


def test_the_token_is_about_the_subject_of_the_provider_and_for_the_client(server):
    answer = ask(server, sign(server), scope="write read")
    claims = minted(answer)
    assert claims["sub"] == "login:alice" and claims["client_id"] == "app" and claims["scope"] == "write read"
    assert claims["aud"] == "api://default" and answer.json()["scope"] == "write read"
    assert set(claims) == {"iss", "sub", "client_id", "aud", "iat", "nbf", "exp", "jti", "scope"}, "nothing of the assertion is taken over"
    claims = minted(ask(server, sign(server, act={"sub": "x"}, client_id="x", scope="admin"), audience="api://other"))
    assert claims["client_id"] == "app" and claims["act"] == {"sub": "login:x"} and "scope" not in claims and claims["aud"] == "api://other"


@pytest.mark.parametrize("lifetime, id, longest", [(300, "app", 300), (7000, "app", 3600), (80000, "app", 3600), (300, "short", 60)])
def test_it_never_lives_longer_than_the_assertion_the_rule_and_the_client_say(server, lifetime, id, longest):
    ends = int(time.time()) + lifetime
    claims = minted(ask(server, sign(server, exp=ends), id))
    assert claims["exp"] <= ends and longest - 3 <= claims["exp"] - claims["iat"] <= longest


def test_scope_is_within_rule_and_client_whatever_is_asked(server):
    assert minted(ask(server, sign(server), "defaults"))["scope"] == "read", "of a default what the rule has"
    assert "scope" not in minted(ask(server, sign(server)))
    refused(ask(server, sign(server), scope="admin"), 400, "invalid_scope", "the rule (`exchange.scopes`) does not allow the scope admin")
    refused(ask(server, sign(server), scope="read admin"), 400, "invalid_scope")
    assert minted(ask(server, sign(server), "often", scope="admin"))["scope"] == "admin"
    refused(ask(server, sign(server), "often", scope="other"), 400, "invalid_scope", "(rule: scopes)")
    refused(ask(server, sign(server), audience="api://third"), 400, "invalid_target")


def test_an_assertion_is_taken_once_unless_that_is_given_up(server):
    assertion = sign(server)
    minted(ask(server, assertion))
    for id in ("app", "defaults", "two"):
        refused(ask(server, assertion, id), 400, "invalid_grant")
    refused(ask(server, sign(server, without=["jti"])), 400, "invalid_grant", "has no name (`jti`)")
    again = sign(server, without=["jti"])
    for _ in range(2):
        minted(ask(server, again, "often"))


def test_a_request_that_is_malformed_spends_no_assertion(server):
    assertion = sign(server)
    refused(ask(server, assertion, scope="a  b"), 400, "invalid_scope")
    refused(ask(server, assertion, resource="x"), 400, "invalid_target")
    refused(send(server, {"grant_type": GRANT, "assertion": assertion}, basic(secret=wire.MARK)), 401, "invalid_client")
    minted(ask(server, assertion))


def test_a_rule_wants_its_claims_and_its_audience(server):
    refused(ask(server, sign(server), "only-tests"), 400, "invalid_grant", "missing")
    refused(ask(server, sign(server, env={"name": "prod"}), "only-tests"), 400, "invalid_grant", "not the expected one")
    minted(ask(server, sign(server, env={"name": "test"}), "only-tests"))
    refused(ask(server, sign(server), "own-audience"), 400, "invalid_grant")
    assert minted(ask(server, sign(server, audience="my-app"), "own-audience"))["sub"] == "login:alice"


def test_the_first_rule_that_accepts_decides_and_providers_have_names_of_their_own(server):
    assert minted(ask(server, sign(server, team="a"), "two"))["sub"] == "first:alice"
    assert minted(ask(server, sign(server, team="b"), "two"))["sub"] == "second:alice"
    assert minted(ask(server, sign(server, PEER, iss="https://other.example"), "two"))["sub"] == "third:alice"
    refused(ask(server, sign(server, team="c"), "two"), 400, "invalid_grant")
    # The keys of one issuer are not those of another.
    refused(ask(server, sign(server, PEER, team="a"), "two"), 400, "invalid_grant")
    refused(ask(server, sign(server, iss="https://other.example"), "two"), 400, "invalid_grant")


def now(seconds):
    return int(time.time()) + seconds


#: What is wrong with an assertion (RFC 7523 section 3) or with asking with it; each is `invalid_grant`.
WRONG = {
    "no iss": lambda s: sign(s, without=["iss"]),
    "an issuer without a rule": lambda s: sign(s, iss="https://nobody.example"),
    "an issuer of another client's rule": lambda s: sign(s, PEER, iss="https://other.example"),
    "no sub": lambda s: sign(s, without=["sub"]),
    "an empty sub": lambda s: sign(s, sub=""),
    "a number as sub": lambda s: sign(s, sub=1),
    "no aud": lambda s: sign(s, without=["aud"]),
    "another aud": lambda s: sign(s, audience="api://default"),
    "no exp": lambda s: sign(s, without=["exp"]),
    "expired": lambda s: sign(s, exp=now(-30)),
    "expired within the leeway": lambda s: sign(s, exp=now(-1)),
    "about to expire": lambda s: sign(s, exp=now(4)),
    "valid for two days": lambda s: sign(s, exp=now(2 * 86400)),
    "not valid yet": lambda s: sign(s, nbf=now(60)),
    "another key": lambda s: sign(s, PEER),
    "not a JWT": lambda s: wire.MARK,
}


@pytest.mark.parametrize("name", WRONG)
def test_an_assertion_that_is_worth_nothing_is_an_invalid_grant(server, name):
    refused(ask(server, WRONG[name](server)), 400, "invalid_grant")


def test_it_takes_a_client_that_has_the_grant_and_proves_who_it_is(server):
    refused(send(server, {"grant_type": GRANT, "assertion": sign(server)}), 401, "invalid_client")
    refused(ask(server, sign(server), "worker"), 400, "unauthorized_client")
    refused(send(server, {"grant_type": "client_credentials"}, basic("app")), 400, "unauthorized_client")
    refused(ask(server, None), 400, "invalid_request", "`assertion`")


def test_discovery_and_audit_name_the_grant(authority):
    server = authority(configuration(CLIENTS[0], RULES[0]))
    found = wire.get(server.issuer, "/.well-known/openid-configuration").json()
    assert found["grant_types_supported"] == [GRANT]
    refused(send(server, {"grant_type": "client_credentials"}, basic("app")), 400, "unsupported_grant_type")
    minted(ask(server, sign(server)))
    refused(ask(server, sign(server, exp=now(-30))), 400, "invalid_grant")
    assert [(e["decision"], e["grant"], e["client"], e.get("subject"), e.get("code")) for e in server.audit[1:]] == [
        ("minted", GRANT, "app", "login:alice", None), ("refused", GRANT, "app", None, "invalid_grant")]


def test_tokens_of_another_countersign_are_taken_by_discovery_and_not_while_its_keys_cannot_be_had(authority):
    other = authority(configuration(client("users", more='audiences = ["@OURS@"]\nclaims = { allow = ["sub"] }').replace("@OURS@", "https://ours.example")))
    keys = f'trust = {{ issuer = "{other.issuer}", audiences = ["https://ours.example"], algorithms = ["ES256"] }}\n'
    server = authority(configuration(client("app", more=ENTRY), rule(provider="other", trusted=keys)))

    def token():
        headers = {"Authorization": wire.basic("users", SECRET), "Content-Type": "application/json"}
        return wire.ask(other.issuer, "POST", "/sign", headers, b'{"data":{"sub":"bob"}}').json()["access_token"]

    first, later = token(), token()
    other.stop()
    refused(ask(server, first), 503, "temporarily_unavailable")
    other.start()
    # A failed fetch is not repeated at once.
    until(lambda: ask(server, first).status == 200, "the keys are fetched again")
    assert minted(ask(server, later))["sub"] == "other:bob"


@pytest.mark.parametrize("program", NODE)
def test_clients_in_node_show_assertions(server, program):
    answer = node(program, server, client="app", method="client_secret_basic", secret=SECRET, scope="read",
                  more={"assertion": sign(server)}, grant=GRANT)
    claims = accepted(server, answer["token"]["access_token"], "app", sub="login:alice")
    assert claims["scope"] == "read"


def test_authlib_shows_assertions(server):
    with OAuth2Client("app", SECRET) as session:
        token = session.fetch_token(f"{server.issuer}/token", grant_type=GRANT, assertion=sign(server), scope="read")
        accepted(server, token["access_token"], "app", sub="login:alice")
        with pytest.raises(OAuthError) as why:
            session.fetch_token(f"{server.issuer}/token", grant_type=GRANT, assertion=sign(server, PEER))
        assert why.value.error == "invalid_grant"


@pytest.mark.parametrize("entry, setting, says", [
    (ENTRY, "clients.app.grants", "no rule (`exchange`)"),
    (ENTRY + rule("nobody") + rule(), "exchange[0].clients", 'no client "nobody"'),
    (ENTRY.replace(GRANT, "client_credentials") + rule(), "exchange[0].clients", "does not have the grant"),
    (ENTRY + rule().replace('"app"', ""), "clients.app.grants", "no rule"),
    (ENTRY + rule(provider="a:b"), "exchange[0].provider", "a-z 0-9 -"),
    (ENTRY + rule(provider=""), "exchange[0].provider", "a-z 0-9 -"),
    (ENTRY + rule(more='max_lifetime = "0s"\n'), "exchange[0].max_lifetime", "above 0"),
    *[(ENTRY + rule(trusted=trust(more=f", dangerously_{name} = true")), f"exchange[0].trust.dangerously_{name}", "cannot be exchanged")
      for name in ("accept_any_audience", "accept_any_issuer", "ignore_expiry")],
])
def test_a_rule_that_is_too_wide_or_for_nobody_does_not_start(world, entry, setting, says):
    world.configure(CONFIG + client("app", more=entry))
    assert setting in world.fails(78, says, "config", "check")


def test_the_gate_does_not_take_what_a_rule_takes(world):
    trusted = '\n[[trust]]\nissuer = "https://gate.example"\naudiences = ["api://default"]\n' + f"jwks = {json.dumps(PEER.jwks)}\nalgorithms = [\"ES256\"]\n"
    world.configure(CONFIG + client("app", more=ENTRY) + rule() + trusted + '\n[[gate.proxies]]\nkind = "nginx"\nnetworks = ["127.0.0.1"]\n')
    issuer = world.serve().printed["issuer"]

    def gate(token):
        headers = {"Authorization": f"Bearer {token}", "X-Original-URI": "/", "X-Original-Method": "GET"}
        return wire.get(issuer, "/gate", headers).status

    assert gate(PEER.sign("api://default", iss="https://gate.example")) == 200
    assert gate(ALICE.sign("api://default", iss=LOGIN)) == gate(ALICE.sign(issuer, iss=LOGIN)) == 401
