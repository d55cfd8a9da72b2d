"""ID-JAGs as an identity provider gives them: token exchange with `requested_token_type` id-jag, by rules that have `id_jags`.

One that is given is shown to a second authority, which takes it as the authorization server of an API would.
"""

import json
import time

import jwt
import pytest
from e2e import wire
from e2e.assertions import Key
from e2e.program import CONFIG, client
from e2e.test_id_jag import TYP
from e2e.test_jwt_bearer import GRANT as JWT_BEARER, LOGIN, rule, trust
from e2e.test_token import basic, configuration, refused, send

GRANT, TYPE = "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:token-type:"
USERS = Key("alice")
CHAT, DRIVE = "https://chat.example", "https://drive.example"
API, TOOLS = "https://api.chat.example", "https://tools.chat.example"
ENTRY = (f'grants = ["{GRANT}"]\nprofiles = ["access_token", "id_jag"]\naudiences = ["api://default", "{CHAT}", "{DRIVE}"]\n'
         'scopes = ["read", "write", "admin"]\nmax_lifetime = "1h"\n')
#: Token exchange without an actor is said by name.
SHOWN = f'grants = ["{GRANT}"]\nimpersonate = true\nscopes = ["read", "write"]\n'
JAGS = f'id_jags = [{{ audience = "{CHAT}", client_id = "app-at-chat", resources = ["{API}", "{TOOLS}"] }}, {{ audience = "{DRIVE}" }}]\n'
#: ID tokens of the login provider, for the application.
TRUST = trust(USERS, more=', audiences = ["app-at-login"]')
CLIENTS = [client("app", more=ENTRY), client("other", more=ENTRY), client("worker", more=ENTRY.replace(f'"{GRANT}"', '"client_credentials"')
                                                                           + 'introspect = ["*"]\n')]
RULES = [rule("app", more=SHOWN + JAGS, trusted=TRUST), rule("other", more=SHOWN, trusted=TRUST)]


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS, *RULES))


def id_token(lives=600):
    return USERS.sign("app-at-login", iss=LOGIN, exp=int(time.time()) + lives)


def ask(server, id="app", without=(), **parameters):
    form = {"grant_type": GRANT, "subject_token": id_token(), "subject_token_type": TYPE + "id_token",
            "requested_token_type": TYPE + "id-jag", "audience": CHAT} | parameters
    return send(server, {name: value for name, value in form.items() if name not in without}, basic(id))


def given(server, answer):
    """The claims, with the signature verified."""
    assert answer.status == 200, answer
    body = answer.json()
    assert (body["issued_token_type"], body["token_type"]) == (TYPE + "id-jag", "N_A") and "refresh_token" not in body
    keys = jwt.PyJWKSet.from_dict(wire.get(server.issuer, "/.well-known/jwks.json").json())
    header = jwt.get_unverified_header(body["access_token"])
    assert header["typ"] == TYP
    claims = jwt.decode(body["access_token"], keys[header["kid"]], ["ES256"], {"verify_aud": False}, issuer=server.issuer)
    assert claims["exp"] - claims["iat"] == 300 and body["expires_in"] == 295
    return claims


def test_it_names_the_server_the_client_there_the_api_and_the_user(server):
    claims = given(server, ask(server, resource=API, scope="read"))
    assert set(claims) == {"iss", "aud", "iat", "nbf", "exp", "jti", "sub", "client_id", "scope", "resource"}
    assert (claims["sub"], claims["aud"], claims["client_id"]) == ("login:alice", CHAT, "app-at-chat")
    assert (claims["resource"], claims["scope"]) == (API, "read")
    claims = given(server, ask(server))
    assert claims["resource"] == [API, TOOLS] and "scope" not in claims
    claims = given(server, ask(server, audience=DRIVE))
    assert claims["client_id"] == "app" and "resource" not in claims


def test_it_ends_before_the_token_that_was_shown(server):
    answer = ask(server, subject_token=id_token(60)).json()
    claims = json.loads(wire.claims(answer["access_token"]))
    assert 50 < claims["exp"] - claims["iat"] <= 60 and answer["expires_in"] < 60


WRONG = {
    "another server": (lambda s: ask(s, audience="https://other.example"), "invalid_target"),
    "an audience for access tokens": (lambda s: ask(s, audience="api://default"), "invalid_target"),
    "no server": (lambda s: ask(s, without=["audience"]), "invalid_target"),
    "an API of another server": (lambda s: ask(s, resource="https://other.example"), "invalid_target"),
    "an API where the server has none": (lambda s: ask(s, audience=DRIVE, resource=API), "invalid_target"),
    "a scope that the rule does not have": (lambda s: ask(s, scope="admin"), "invalid_scope"),
    "an ID token of another application": (lambda s: ask(s, subject_token=USERS.sign("other-app", iss=LOGIN)), "invalid_request"),
    "an expired ID token": (lambda s: ask(s, subject_token=USERS.sign("app-at-login", iss=LOGIN, exp=int(time.time()) - 30)), "invalid_request"),
    "a client whose rule gives none": (lambda s: ask(s, "other"), "invalid_request"),
    "an access token by such a rule": (lambda s: ask(s, requested_token_type=TYPE + "access_token", audience="api://default"), "invalid_request"),
    "an access token, if nothing is said": (lambda s: ask(s, without=["requested_token_type"], audience=CHAT), "invalid_request"),
    "another type": (lambda s: ask(s, requested_token_type=TYPE + "saml2"), "invalid_request"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_rule_says_is_not_given(server, name):
    answer, error = WRONG[name]
    refused(answer(server), 400, error)


def test_one_server_is_named(server):
    form = [("grant_type", GRANT), ("subject_token", USERS.sign("app-at-login", iss=LOGIN)), ("subject_token_type", TYPE + "id_token"),
            ("requested_token_type", TYPE + "id-jag"), ("audience", CHAT), ("audience", DRIVE)]
    refused(send(server, form, basic("app")), 400, "invalid_target")


def test_it_is_no_access_token_here(server):
    token = ask(server).json()["access_token"]
    assert send(server, {"token": token}, basic("worker"), path="/introspect").json() == {"active": False}
    # The server that it is for asks nobody here whether it was taken back.
    for id in ("app", "worker"):
        refused(send(server, {"token": token}, basic(id), path="/revoke"), 400, "unsupported_token_type", "until they expire")


def test_the_server_it_is_for_takes_it_once_for_the_client_it_names(authority):
    entry = f'grants = ["{JWT_BEARER}"]\nprofiles = ["access_token"]\naudiences = ["{API}"]\nscopes = ["read"]\n'
    trusted = f'trust = {{ issuer = "https://ours.example", typ = "{TYP}", algorithms = ["ES256"] }}\n'
    rules = [rule(id, "idp", 'scopes = ["read"]\n', trusted) for id in ("app-at-chat", "other")]
    theirs = authority(configuration(client("app-at-chat", more=entry), client("other", more=entry), *rules))
    ours = authority(configuration(*(text.replace(CHAT, theirs.issuer) for text in (CLIENTS[0], RULES[0]))))
    theirs.stop()
    file = theirs.folder / "countersign/countersign.toml"
    file.write_text(file.read_text().replace("https://ours.example", ours.issuer))
    theirs.start()
    answer = ask(ours, audience=theirs.issuer, resource=API, scope="read")
    given(ours, answer)
    token = answer.json()["access_token"]

    def show(id):
        return send(theirs, {"grant_type": JWT_BEARER, "assertion": token}, basic(id))

    refused(show("other"), 400, "invalid_grant")
    claims = json.loads(wire.claims(show("app-at-chat").json()["access_token"]))
    assert (claims["sub"], claims["client_id"], claims["aud"], claims["scope"]) == ("idp:login:alice", "app-at-chat", API, "read")
    refused(show("app-at-chat"), 400, "invalid_grant")


def test_the_audit_says_what_was_given(authority):
    server = authority(configuration(CLIENTS[0], RULES[0]))
    given(server, ask(server))
    [event] = server.audit
    assert (event["decision"], event["profile"], event["client"], event["subject"]) == ("minted", "id_jag", "app", "login:alice")


@pytest.mark.parametrize("entry, more, says", [
    (ENTRY.replace(', "id_jag"', ""), SHOWN + JAGS, 'add "id_jag" to its `profiles`'),
    (ENTRY.replace(f', "{DRIVE}"', ""), SHOWN + JAGS, "add it to its `audiences`"),
    (ENTRY, SHOWN + f'id_jags = [{{ audience = "{CHAT}" }}, {{ audience = "{CHAT}" }}]\n', "occurs twice"),
    (ENTRY, SHOWN + 'id_jags = [{ audience = "" }]\n', "name the issuer of another"),
    (ENTRY.replace(f'"{GRANT}"', f'"{JWT_BEARER}"'), JAGS, "are given by"),
    (ENTRY.replace(f'"{GRANT}"', f'"{GRANT}", "refresh_token"'), SHOWN + JAGS + "refresh = true\n", "they are not refreshed"),
])
def test_a_rule_for_what_a_client_may_not_have_does_not_start(world, entry, more, says):
    world.configure(CONFIG + client("app", more=entry) + rule("app", more=more, trusted=TRUST))
    world.fails(78, says, "config", "check")
