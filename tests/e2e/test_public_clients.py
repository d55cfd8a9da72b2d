"""Public clients at `POST /token`: a `client_id` and nothing else, for grants by rules, refresh and revoking what is theirs."""

import json

import pytest
from authlib.integrations.httpx_client import OAuth2Client
from e2e import wire
from e2e.assertions import Key
from e2e.program import CONFIG, SECRET, client
from e2e.test_jwt_bearer import GRANT as JWT_BEARER
from e2e.test_jwt_bearer import LOGIN, rule, trust
from e2e.test_token import basic, configuration, refused, send

EXCHANGE, REFRESH = "urn:ietf:params:oauth:grant-type:token-exchange", "refresh_token"
USERS = Key("alice")
GRANTS = f'grants = ["{JWT_BEARER}", "{EXCHANGE}", "{REFRESH}"]\n'
REST = 'profiles = ["access_token"]\naudiences = ["api://default"]\nscopes = ["read"]\n'
RULE = f'grants = ["{JWT_BEARER}", "{EXCHANGE}"]\nimpersonate = true\nscopes = ["read"]\nrefresh = true\n'


def public(id, more=GRANTS + REST):
    return f'\n[[clients]]\nid = "{id}"\nsecret_hashes = []\npublic = true\n{more}'


def own(client, more=RULE, trusted=None):
    return rule(client, more=more, trusted=trusted or trust(USERS))


RULES = own("spa") + own("other") + own("backend")
CLIENTS = [public("spa"), public("other"), client("backend", more=GRANTS + REST),
           client("worker", more='grants = ["client_credentials"]\nintrospect = ["*"]\n' + REST)]


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS, RULES))


def assertion(server):
    return USERS.sign(server.issuer, iss=LOGIN, sub="alice")


def ask(server, id="spa", headers=None, **more):
    return send(server, {"grant_type": JWT_BEARER, "assertion": assertion(server), "client_id": id} | more, headers)


def minted(answer, who="spa"):
    assert answer.status == 200, answer
    claims = json.loads(wire.claims(answer.json()["access_token"]))
    assert claims["client_id"] == who and claims["sub"] == "login:alice"
    return answer.json()


def test_its_id_is_enough_for_a_grant_by_a_rule_and_for_refresh_with_rotation(server):
    first = minted(ask(server, client_secret=""))
    shown = {"grant_type": EXCHANGE, "subject_token": assertion(server), "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
    minted(send(server, shown | {"client_id": "spa"}))
    again = minted(send(server, {"grant_type": REFRESH, "refresh_token": first["refresh_token"], "client_id": "spa"}))
    assert again["refresh_token"] != first["refresh_token"]
    refused(send(server, {"grant_type": REFRESH, "refresh_token": again["refresh_token"], "client_id": "other"}), 400, "invalid_grant")
    refused(send(server, {"grant_type": REFRESH, "refresh_token": again["refresh_token"]}), 401, "invalid_client")


def test_what_is_shown_is_taken_once(server):
    token = assertion(server)
    minted(send(server, {"grant_type": JWT_BEARER, "assertion": token, "client_id": "spa"}))
    refused(send(server, {"grant_type": JWT_BEARER, "assertion": token, "client_id": "spa"}), 400, "invalid_grant")
    refused(send(server, {"grant_type": JWT_BEARER, "assertion": token, "client_id": "other"}), 400, "invalid_grant")


def test_it_has_no_token_of_its_own(server):
    refused(send(server, {"grant_type": "client_credentials", "client_id": "spa"}), 400, "unauthorized_client")


#: Requests that name a public client and show something too, or a client that has to prove who it is.
ODD = {
    "a secret": lambda s: ask(s, client_secret=SECRET),
    "an empty secret in the header": lambda s: ask(s, headers={"Authorization": wire.basic("spa", "")}),
    "a secret in the header": lambda s: ask(s, headers={"Authorization": wire.basic("spa", SECRET)}),
    "an assertion": lambda s: ask(s, client_assertion=assertion(s), client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    "a client with a secret": lambda s: ask(s, "backend"),
    "nobody": lambda s: ask(s, "nobody"),
    "no client": lambda s: ask(s, ""),
}


@pytest.mark.parametrize("name", ODD)
def test_with_a_credential_it_proves_no_more_and_no_other_client_goes_without(server, name):
    refused(ODD[name](server), 401, "invalid_client")


def test_it_revokes_what_is_its_own_and_nothing_else(server):
    def active(token):
        return send(server, {"token": token}, basic("worker"), path="/introspect").json()["active"]

    mine, others = minted(ask(server)), minted(ask(server, "other"), "other")
    for token in (others["access_token"], send(server, {"grant_type": "client_credentials"}, basic("worker")).json()["access_token"]):
        refused(send(server, {"token": token, "client_id": "spa"}, path="/revoke"), 400, "unauthorized_client")
        assert active(token)
    assert send(server, {"token": others["refresh_token"], "client_id": "spa"}, path="/revoke").status in (200, 400)
    minted(send(server, {"grant_type": REFRESH, "refresh_token": others["refresh_token"], "client_id": "other"}), "other")
    assert send(server, {"token": mine["refresh_token"], "client_id": "spa"}, path="/revoke").status == 200
    assert not active(mine["access_token"])
    refused(send(server, {"grant_type": REFRESH, "refresh_token": mine["refresh_token"], "client_id": "spa"}), 400, "invalid_grant")
    # It is told nothing of any token, not even of its own.
    refused(send(server, {"token": mine["access_token"], "client_id": "spa"}, path="/introspect"), 401, "invalid_client")


def test_discovery_says_none_but_not_for_introspection(server):
    found = wire.get(server.issuer, "/.well-known/openid-configuration").json()
    secrets = ["client_secret_basic", "client_secret_post"]
    assert found["token_endpoint_auth_methods_supported"] == found["revocation_endpoint_auth_methods_supported"] == [*secrets, "none"]
    assert found["introspection_endpoint_auth_methods_supported"] == secrets


def test_where_all_are_public_nothing_else_is_offered(authority):
    server = authority(configuration(public("spa"), own("spa")))
    found = wire.get(server.issuer, "/.well-known/openid-configuration").json()
    assert found["token_endpoint_auth_methods_supported"] == ["none"]


def test_it_is_counted_by_address_and_recorded_as_a_stranger(authority):
    server = authority(configuration(*CLIENTS, RULES), env={
        "COUNTERSIGN_LIMITS__PER_CLIENT": "1/h", "COUNTERSIGN_LIMITS__PER_ADDRESS": "3/h"})
    for _ in range(2):
        minted(ask(server))
    refused(ask(server, assertion="x"), 400, "invalid_grant")
    answer = ask(server)
    refused(answer, 429, "slow_down")
    assert int(answer.headers["retry-after"]) > 1
    # Clients that prove who they are at the same address are not concerned.
    assert send(server, {"grant_type": "client_credentials"}, basic("worker")).status == 200
    events = [(event["decision"], event.get("client")) for event in server.audit]
    assert events == [("minted", "spa"), ("minted", "spa"), ("refused", None), ("refused", None), ("minted", "worker")]


def test_authlib_is_a_public_client(server):
    with OAuth2Client("spa", token_endpoint_auth_method="none") as session:
        token = session.fetch_token(f"{server.issuer}/token", grant_type=JWT_BEARER, assertion=assertion(server), scope="read")
        assert json.loads(wire.claims(token["access_token"]))["scope"] == "read"
        again = session.refresh_token(f"{server.issuer}/token")
        assert again["refresh_token"] != token["refresh_token"]


HASH = 'secret_hashes = ["sha256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"]'
ENTRY = public("spa")
WRONG = {
    "a secret": (ENTRY.replace("secret_hashes = []", HASH) + own("spa"), "clients.spa.secret_hashes", "proves nothing"),
    "keys": (ENTRY + f"assertions = {{ jwks = {json.dumps(USERS.jwks)} }}\n" + own("spa"), "clients.spa.assertions", "proves nothing"),
    "introspection": (ENTRY + 'introspect = ["*"]\n' + own("spa"), "clients.spa.introspect", "may not ask about tokens"),
    "a grant for itself": (ENTRY.replace('grants = [', 'grants = ["client_credentials", ') + own("spa"), "clients.spa.grants", "a token for anybody"),
    "no grant": (public("spa", 'audiences = ["api://default"]\n'), "clients.spa.public", "without `grants`"),
    "tokens of ours": (ENTRY + f'\n[[exchange]]\nclients = ["spa"]\n{RULE}own = {{ audiences = ["api://default"] }}\n', "exchange[0].own",
                       "has seen a token of ours"),
    "tokens that are taken again": (ENTRY + own("spa", RULE + "once = false\n"), "exchange[0].once", "could exchange it again"),
    "access tokens of others": (ENTRY + own("spa", trusted=trust(USERS, more=', audiences = ["https://backend.example"], typ = "at+jwt"')),
                                "exchange[0].trust.claims", "the API that an access token was made for"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_that_could_do_too_much_does_not_start(world, name):
    text, setting, says = WRONG[name]
    world.configure(CONFIG + text)
    assert setting in world.fails(78, says, "config", "check")


AUDIENCE = ', audiences = ["https://backend.example"]'
ACTOR = f'\n[[exchange]]\nname = "agents"\nprovider = "agents"\n{trust(Key("agent"), "https://agents.example", AUDIENCE)}'
DELEGATED = (f'grants = ["{EXCHANGE}"]\nscopes = ["read"]\ndelegation = {{ actors = ["agents"] }}\n')


@pytest.mark.parametrize("text, setting", [
    # Providers that write no `typ` have access tokens that cannot be told from others.
    (own("spa", trusted=trust(USERS, more=AUDIENCE)), "exchange[0].trust.claims"),
    (own("spa", trusted=trust(USERS, more=AUDIENCE + ', typ = "JWT"')), "exchange[0].trust.claims"),
    # The rules for actors take tokens in this client's name too.
    (own("spa", DELEGATED) + ACTOR, "exchange[1].trust.claims"),
    (own("spa", DELEGATED) + ACTOR.replace(AUDIENCE, "").replace('provider = "agents"', 'provider = "agents"\nonce = false'), "exchange[1].once"),
])
def test_tokens_that_an_api_has_seen_are_not_taken_by_any_rule(world, text, setting):
    entry = ENTRY.replace(f'"{JWT_BEARER}", ', "").replace(f', "{REFRESH}"', "") if "delegation" in text else ENTRY
    world.configure(CONFIG + entry + text)
    assert setting in world.fails(78, "is public", "config", "check")


def test_access_tokens_that_were_given_to_the_application_are_taken(world):
    trusted = trust(USERS, more=', audiences = ["https://backend.example"], typ = "at+jwt", claims = { azp = "spa" }')
    world.configure(CONFIG + ENTRY + own("spa", trusted=trusted))
    world.done("config", "check")


def test_one_user_who_revokes_again_and_again_ends_nobody_elses_tokens(authority):
    server = authority(configuration(*CLIENTS, RULES), env={"COUNTERSIGN_LIMITS__PER_ADDRESS": "100000/s"})

    def login(who):
        return send(server, {"grant_type": JWT_BEARER, "assertion": USERS.sign(server.issuer, iss=LOGIN, sub=who), "client_id": "spa"}).json()

    def is_active(token):
        return send(server, {"token": token["access_token"]}, basic("worker"), path="/introspect").json()["active"]

    alice, other = login("alice"), login("mallory")
    for _ in range(501):
        answer = send(server, {"token": login("mallory")["access_token"], "client_id": "spa"}, path="/revoke")
        assert answer.status == 200, answer
    assert is_active(alice) and not is_active(other)
    for family in (alice, other):
        answer = send(server, {"grant_type": REFRESH, "refresh_token": family["refresh_token"], "client_id": "spa"})
        assert answer.status == 200, answer
