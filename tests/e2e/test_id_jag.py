"""ID-JAG: an identity provider's assertion that an application may use our API for a user, shown by jwt-bearer.

draft-ietf-oauth-identity-assertion-authz-grant: `typ` is exact, `aud` is this issuer, `client_id` is the client that shows it, `jti` is
taken once, `resource` and `scope` bound what comes of it.
"""

import json
import time

import pytest
from authlib.integrations.httpx_client import OAuth2Client
from e2e import wire
from e2e.assertions import Key
from e2e.program import CONFIG, SECRET, client
from e2e.test_jwt_bearer import GRANT, LOGIN, rule, trust
from e2e.test_token import basic, configuration, refused, send

IDP, OTHER = Key("idp"), Key("idp")
TYP = "oauth-id-jag+jwt"
API, TOOLS = "https://api.example", "https://tools.example"
ENTRY = (f'grants = ["{GRANT}"]\nprofiles = ["access_token"]\naudiences = ["{API}", "{TOOLS}"]\nscopes = ["read", "write", "admin"]\n')
JAG = trust(IDP, more=f', typ = "{TYP}"')
CLIENTS = [client("app", more=ENTRY), client("other", more=ENTRY), client("plain", more=ENTRY),
           client("refreshing", more=ENTRY.replace(f'"{GRANT}"', f'"{GRANT}", "refresh_token"'))]
RULES = [rule("app", trusted=JAG), rule("other", trusted=JAG), rule("plain", trusted=trust(IDP)),
         rule("refreshing", more='scopes = ["read"]\nrefresh = true\n', trusted=JAG)]


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS, *RULES))


def jag(server, header=None, without=(), key=IDP, audience=None, **claims):
    all = {"iss": LOGIN, "sub": "alice", "client_id": "app", "resource": API, "scope": "read write", "exp": int(time.time()) + 300}
    return key.sign(audience or server.issuer, {"typ": TYP} | (header or {}), without, **(all | claims))


def ask(server, assertion, id="app", **parameters):
    return send(server, {"grant_type": GRANT, "assertion": assertion} | parameters, basic(id))


def minted(answer):
    assert answer.status == 200, answer
    return json.loads(wire.claims(answer.json()["access_token"]))


def test_it_is_worth_a_token_for_the_user_the_client_and_the_resource(server):
    claims = minted(ask(server, jag(server)))
    assert (claims["sub"], claims["client_id"], claims["aud"], claims["scope"]) == ("login:alice", "app", API, "read write")
    assert "resource" not in claims
    claims = minted(ask(server, jag(server, resource=TOOLS), scope="read"))
    assert (claims["aud"], claims["scope"]) == (TOOLS, "read")
    claims = minted(ask(server, jag(server, resource=[API, TOOLS]), resource=TOOLS))
    assert claims["aud"] == TOOLS
    assert minted(ask(server, jag(server, resource=[API, TOOLS])))["aud"] == [API, TOOLS]
    assert minted(ask(server, jag(server, audience=[server.issuer], without=["resource"]), audience=TOOLS))["aud"] == TOOLS


def test_scope_is_within_the_assertion_the_rule_and_the_client(server):
    assert minted(ask(server, jag(server, scope="read admin other")))["scope"] == "read", "the rule has read and write, the client no `other`"
    assert "scope" not in minted(ask(server, jag(server, scope="admin")))
    assert "scope" not in minted(ask(server, jag(server, without=["scope"])))
    refused(ask(server, jag(server, scope="read"), scope="write"), 400, "invalid_scope")
    refused(ask(server, jag(server, without=["scope"]), scope="read"), 400, "invalid_scope")
    refused(ask(server, jag(server, scope="read admin"), scope="admin"), 400, "invalid_scope")


def test_the_audience_is_within_its_resource(server):
    for asked in ({"resource": TOOLS}, {"audience": TOOLS}):
        refused(ask(server, jag(server), **asked), 400, "invalid_target", "`resource`")
    refused(ask(server, jag(server, resource="https://third.example")), 400, "invalid_target")
    for resource in ([], [1], {"a": 1}, 7):
        refused(ask(server, jag(server, resource=resource)), 400, "invalid_target")


def test_it_lives_no_longer_than_the_assertion_and_is_taken_once(server):
    ends = int(time.time()) + 60
    assertion = jag(server, exp=ends)
    assert minted(ask(server, assertion))["exp"] <= ends
    refused(ask(server, assertion), 400, "invalid_grant", "used before")


WRONG = {
    "another client": lambda s: jag(s, client_id="other"),
    "no client": lambda s: jag(s, without=["client_id"]),
    "a list of clients": lambda s: jag(s, client_id=["app"]),
    "no typ": lambda s: jag(s, header={"typ": None}),
    "the typ of any JWT": lambda s: jag(s, header={"typ": "JWT"}),
    "an access token's typ": lambda s: jag(s, header={"typ": "at+jwt"}),
    "the token endpoint as aud": lambda s: jag(s, audience=s.issuer + "/token"),
    "the resource as aud": lambda s: jag(s, audience=API),
    "an aud too many": lambda s: jag(s, audience=[s.issuer, "https://other.example"]),
    "no jti": lambda s: jag(s, without=["jti"]),
    "no sub": lambda s: jag(s, without=["sub"]),
    "no exp": lambda s: jag(s, without=["exp"]),
    "expired": lambda s: jag(s, exp=int(time.time()) - 30),
    "another issuer": lambda s: jag(s, iss="https://other.example"),
    "another key": lambda s: jag(s, key=OTHER),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_that_is_not_for_this_client_and_issuer_is_an_invalid_grant(server, name):
    refused(ask(server, WRONG[name](server)), 400, "invalid_grant")


@pytest.mark.parametrize("typ", [TYP, TYP.upper(), "application/" + TYP])
def test_a_rule_that_does_not_name_the_typ_takes_none(server, typ):
    """Otherwise it would be worth a token to any client, whichever it was made for."""
    refused(ask(server, jag(server, header={"typ": typ}, client_id="app"), "plain"), 400, "invalid_grant", "`typ`")
    refused(ask(server, jag(server, header={"typ": typ}, client_id="plain"), "plain"), 400, "invalid_grant", "`typ`")
    minted(ask(server, IDP.sign(server.issuer, iss=LOGIN), "plain"))


def test_a_family_that_begins_with_it_stays_within_its_resource(server):
    answer = ask(server, jag(server, client_id="refreshing", resource=TOOLS), "refreshing").json()
    again = send(server, {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]}, basic("refreshing"))
    claims = minted(again)
    assert (claims["aud"], claims["scope"]) == (TOOLS, "read")
    refresh = again.json()["refresh_token"]
    refused(send(server, {"grant_type": "refresh_token", "refresh_token": refresh, "audience": API}, basic("refreshing")), 400, "invalid_target")


def test_discovery_names_the_profile_where_a_rule_takes_them(server, authority):
    profile = "urn:ietf:params:oauth:grant-profile:id-jag"
    assert wire.get(server.issuer, "/.well-known/oauth-authorization-server").json()["authorization_grant_profiles_supported"] == [profile]
    without = authority(configuration(CLIENTS[2], RULES[2]))
    assert "authorization_grant_profiles_supported" not in wire.get(without.issuer, "/.well-known/oauth-authorization-server").json()


def test_authlib_shows_one(server):
    with OAuth2Client("app", SECRET) as session:
        token = session.fetch_token(f"{server.issuer}/token", grant_type=GRANT, assertion=jag(server), scope="read")
    assert json.loads(wire.claims(token["access_token"]))["sub"] == "login:alice"


@pytest.mark.parametrize("text, setting, says", [
    (rule("app", more="once = false\n", trusted=JAG), "exchange[0].once", "taken once"),
    (rule("app", trusted=trust(IDP, more=f', typ = "{TYP}", audiences = ["https://other.example"]')), "exchange[0].trust.audiences", "leave it out"),
])
def test_a_rule_that_would_take_others_does_not_start(world, text, setting, says):
    world.configure(CONFIG + client("app", more=ENTRY) + text)
    assert setting in world.fails(78, says, "config", "check")
