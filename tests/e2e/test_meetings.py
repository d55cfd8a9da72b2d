"""From a signed-in user to a meeting: the user's token of a login provider for a meeting token, by token exchange.

The providers are keys that PyJWT signs with, and tokens have the claims that Firebase, Cognito and Auth0 give. And the commands of
docs/meetings.md.
"""

import json
import re
import time
from pathlib import Path

import jwt
import pytest
from e2e import wire
from e2e.blocks import blocks, environment, run
from e2e.program import CONFIG, client, free_port
from e2e.test_exchange_explain import explain
from e2e.test_jwt_bearer import ALICE, LOGIN, PEER, trust
from e2e.test_token import basic, configuration, refused, send
from gate.proxies import with_ports

PAGE = Path(__file__).parents[2] / "docs/meetings.md"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE, OWN = "urn:ietf:params:oauth:token-type:", "urn:countersign:params:oauth:token-type:"
APP = "vpaas-magic-cookie-0123456789abcdef"
SECRET_OF_PROSODY = "a-secret-that-prosody-has-too-0123456789"
PROFILES = f"""
[profiles.jaas]
app_id = "{APP}"

[profiles.jitsi]
app_id = "mine"
domain = "meet.example"
secret = "env:PROSODY"
"""
TABLE = '{ rooms = ["standup", "team-*"], user = ["*"], moderator = true, features = ["recording", "livestreaming"] }'
ENTRY = f'profiles = ["jaas", "jitsi"]\ngrants = ["{GRANT}"]\nmax_lifetime = "2h"\njaas = {TABLE}\njitsi = {TABLE}\n'
SHOWN = f'grants = ["{GRANT}"]\nimpersonate = true\nonce = false\n'


def rule(meeting, id="meet", more="", trusted=None):
    """A rule with these settings of `[exchange.meeting]`."""
    trusted = trusted or trust(more=', audiences = ["page"]')
    return f'\n[[exchange]]\nclients = ["{id}"]\nprovider = "login"\n{SHOWN}{more}{trusted}\n[exchange.meeting]\n{meeting}\n'


TEAM = 'room = \'has(claims.team) ? "team-" + claims.team : null\'\n'
RIGHTS = 'moderator = \'has(claims.role) && claims.role == "host"\'\nfeatures = { recording = \'true\' }\n'
RULES = [
    rule('profile = "jaas"\nrooms = ["standup"]\n' + TEAM + RIGHTS, more='name = "eight"\n'),
    rule('profile = "jitsi"\nrooms = ["standup", "team-*"]\n' + RIGHTS, more='name = "own"\n'),
    # One room, and names of its own.
    rule('profile = "jaas"\nrooms = ["standup"]\nuser = { name = \'claims.nick + "!"\', email = \'null\' }\n', "short",
         'max_lifetime = "60s"\n'),
    # The client may have a name and nothing else.
    rule('profile = "jaas"\nrooms = ["standup"]\n', "plain"),
]
#: The kiosk of the page.
[KIOSK] = re.findall(r"test_meetings.py runs this -->\n```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
CLIENTS = [
    client("kiosk", more='profiles = ["jaas"]\n' + KIOSK),
    client("meet", more=ENTRY), client("short", more=ENTRY),
    client("plain", more=ENTRY.replace(TABLE, '{ rooms = ["standup"], user = ["name"] }', 1)),
]


@pytest.fixture(scope="module")
def key(tmp_path_factory, pem):
    return pem["rsa"]


@pytest.fixture(scope="module")
def server(lasting_authority, key):
    def imports(new):
        new.run("keys", "import", str(key), "--ring", "jaas", "--kid", f"{APP}/4f4910")

    return lasting_authority(configuration(PROFILES, *CLIENTS, *RULES), env={"PROSODY": SECRET_OF_PROSODY}, before=imports)


USER = {"name": "Alice", "email": "alice@example.com", "email_verified": True, "picture": "https://pictures.example/a.png"}


def sign(key=ALICE, audience="page", **rest):
    return key.sign(audience, **({"iss": LOGIN} | rest))


def ask(server, token, id="meet", kind="jaas", **parameters):
    form = {"grant_type": GRANT, "subject_token": token, "subject_token_type": TYPE + "id_token",
            "requested_token_type": OWN + kind} | parameters
    return send(server, {name: value for name, value in form.items() if value is not None}, basic(id))


def context(answer, kind="jaas"):
    assert answer.status == 200, answer
    body = answer.json()
    assert set(body) == {"access_token", "issued_token_type", "token_type", "expires_in"}
    assert (body["token_type"], body["issued_token_type"]) == ("N_A", OWN + kind)
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert abs(claims["exp"] - time.time() - body["expires_in"]) < 5
    return claims


#: Claims of an ID token as each provider gives them, and what becomes of them.
PROVIDERS = {
    "firebase": ({"name": "Alice", "picture": "https://lh3.googleusercontent.com/a", "email": "a@example.com", "email_verified": True,
                  "user_id": "abc", "firebase": {"sign_in_provider": "google.com"}},
                 {"name": "Alice", "email": "a@example.com", "avatar": "https://lh3.googleusercontent.com/a"}),
    # A user who signs up by e-mail at Firebase has no name, and has proved nothing yet.
    "firebase, by e-mail": ({"email": "boss@example.com", "email_verified": False, "picture": None}, {}),
    # A user pool gives texts.
    "cognito": ({"cognito:username": "alice", "name": "Alice", "email": "a@example.com", "email_verified": "true", "token_use": "id"},
                {"name": "Alice", "email": "a@example.com"}),
    "auth0": ({"nickname": "al", "name": "Alice Á", "picture": "https://s.gravatar.com/a", "email": "a@example.com", "email_verified": True},
              {"name": "Alice Á", "email": "a@example.com", "avatar": "https://s.gravatar.com/a"}),
    "odd": ({"name": 7, "picture": "javascript:alert(1)", "email": ["a@example.com"], "email_verified": True}, {}),
    "long": ({"name": "x" * 2000, "picture": "http://pictures.example/a.png"}, {}),
}


@pytest.mark.parametrize("claims, user", PROVIDERS.values(), ids=PROVIDERS)
def test_name_email_and_picture_are_those_of_the_provider(server, claims, user):
    got = context(ask(server, sign(**claims), room="standup"))["context"]["user"]
    assert got == {"id": "login:alice", "moderator": "false"} | user


def test_a_room_is_one_of_the_rule_or_of_the_token_and_no_other(server):
    token = sign(team="blue", **USER)
    for room in ("standup", "team-blue"):
        claims = context(ask(server, token, room=room))
        assert (claims["room"], claims["context"]["room"], claims["sub"]) == (room, {"regex": "false"}, APP)
    for room in ("board", "team-red", "Standup", "team-*", "*", "a" * 201, "team-blue\n", None):
        refused(ask(server, token, room=room), 400, "invalid_target")
    # What the token says is a name and never a pattern, and the client's entry has the last word.
    for team in ("*", "b*", "x" * 200):
        refused(ask(server, sign(team=team, **USER), room=f"team-{team}"), 400, "invalid_target")
    assert context(ask(server, sign(nick="Al"), "short"))["room"] == "standup", "the only one there is"
    refused(ask(server, sign(), room="standup", audience="api://x"), 400, "invalid_request")


def test_rights_are_those_that_the_rule_gives_this_user(server):
    for role, moderator, features in [("host", "true", {"recording": "true"}), ("guest", "false", {}), (["host"], "false", {})]:
        got = context(ask(server, sign(role=role), room="standup"))["context"]
        assert (got["user"]["moderator"], got["features"]) == (moderator, features), role
    # A Jitsi of one's own does not bind features to moderators.
    got = context(ask(server, sign(role="guest"), kind="jitsi", room="Team-A"), "jitsi")
    assert got["room"] == "team-a" and got["context"]["features"] == {"recording": "true"}
    assert got["context"]["user"]["affiliation"] == "member"
    # What the user's token or the request says of it is nothing.
    token = sign(moderator=True, context={"user": {"moderator": "true"}}, regex=True, features={"livestreaming": True})
    got = context(ask(server, token, room="standup", moderator="true", regex="true", features='{"livestreaming":true}'))
    assert got["context"] == {"user": {"id": "login:alice", "moderator": "false"}, "features": {}, "room": {"regex": "false"}}


def test_a_rule_says_user_and_lifetime_and_a_client_bounds_both(server):
    answer = ask(server, sign(nick="Al", **USER), "short")
    user = context(answer)["context"]["user"]
    assert (user["name"], "email" in user, user["avatar"]) == ("Al!", False, USER["picture"])
    assert answer.json()["expires_in"] <= 50, "60 s, and it began 10 s ago"
    refused(ask(server, sign(), "short"), 400, "invalid_request", "`nick`, which it reads, is missing")
    user = context(ask(server, sign(**USER), "plain"))["context"]["user"]
    assert set(user) == {"id", "name", "moderator"} and user["id"] != "login:alice", "it may not say who it is"
    shown = sign(exp=int(time.time()) + 120, **USER)
    assert ask(server, shown, room="standup").json()["expires_in"] <= 121, "not beyond the user's token"


def test_a_client_with_a_fixed_room_leaves_it_out_or_sends_it_and_is_refused_with_another(server):
    def sign(**data):
        body = json.dumps({"profile": "jaas", "data": data}).encode()
        return wire.ask(server.issuer, "POST", "/sign", basic("kiosk") | {"Content-Type": "application/json"}, body)

    user = {"id": "kiosk", "name": "Lobby"}
    for data in ({}, {"room": "lobby"}, {"room": "lobby", "user": user}):
        answer = sign(**data)
        assert answer.status == 200, answer
        claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
        assert claims["room"] == "lobby" and user.items() <= claims["context"]["user"].items()
    for data in ({"room": "board"}, {"room": "*"}, {"user": user | {"name": "Eve"}}, {"user": {"name": "Lobby"}}):
        answer = sign(**data)
        assert answer.status == 403 and "another value of the fixed claim" in answer.json()["error_description"], answer


def test_tokens_of_others_and_other_kinds_are_refused(server):
    good = sign(**USER)
    for token in (sign(PEER), sign(audience="another-page"), sign(exp=int(time.time()) - 5), sign(iss="https://other.example"), "x"):
        refused(ask(server, token, room="standup"), 400, "invalid_request")
    # A rule for meetings gives no access token, whatever is asked for in its place.
    for wanted in (None, TYPE + "access_token", TYPE + "id-jag"):
        answer = ask(server, good, requested_token_type=wanted, room="standup")
        refused(answer, 400, "invalid_request")
        what = "id_jag" if wanted == TYPE + "id-jag" else "access tokens"
        for says in (what, f"requested_token_type={OWN}jaas", f"requested_token_type={OWN}jitsi"):
            assert says in answer.json()["error_description"], answer
    refused(ask(server, good, requested_token_type=OWN + "meeting"), 400, "invalid_request")
    refused(ask(server, good, room="standup", scope="read"), 400, "invalid_scope")


def test_the_tokens_verify_with_what_each_service_has(server, key):
    token = ask(server, sign(**USER), room="standup").json()["access_token"]
    jwt.decode(token, _private(key).public_key(), algorithms=["RS256"], audience="jitsi", issuer="chat", subject=APP)
    token = ask(server, sign(**USER), kind="jitsi", room="standup").json()["access_token"]
    claims = jwt.decode(token, SECRET_OF_PROSODY, algorithms=["HS256"], audience="jitsi", issuer="mine", subject="meet.example")
    assert claims["aud"] == "jitsi" and jwt.get_unverified_header(token)["typ"] == "JWT"
    assert claims["nbf"] <= time.time() - 9


def _private(path):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(path.read_bytes(), None)


def test_what_could_not_work_does_not_start(world):
    good = 'profile = "jaas"\nrooms = ["standup"]\n'
    entry = ENTRY.replace('"jaas", "jitsi"', '"jaas"').replace(f"jitsi = {TABLE}\n", "")
    narrow = entry.replace(TABLE, '{ rooms = ["standup"], user = ["name"] }')
    for meeting, more, entry_of, says in [
        ('profile = "jwt"\nrooms = ["a"]\n', "", entry, '"jwt" is not `jaas` or `jitsi`'),
        ('profile = "jitsi"\nrooms = ["a"]\n', "", entry, 'add "jitsi" to `profiles`'),
        ('profile = "jaas"\n', "", entry, "for which rooms?"),
        (good + "room = '\"standup\"'\n", "", entry, "the same for every token"),
        (good + "room = 'claims.'\n", "", entry, "not an expression"),
        (good + "user = { phone = 'claims.phone' }\n", "", entry, "is not one of `id`, `name`, `email`, `avatar`"),
        (good + "user = { email = 'claims.email' }\n", "", entry, "has not proved is anyone's"),
        (good + "moderator = 'claims.email == \"boss@example.com\"'\n", "", entry, "has not proved is anyone's"),
        (good + "moderator = 'claims.sub.matches(\".*\")'\n", "", entry, "true of anything"),
        (good + "user = { email = 'null' }\n", "", narrow, "add it to `jaas.user`"),
        (good + "moderator = 'true'\n", "", narrow, "add `jaas.moderator = true`"),
        (good + "features = { flip = 'true' }\n", "", entry, "add it to `jaas.features`"),
        (good, 'scopes = ["read"]\n', entry, "has no effect with `meeting`"),
        (good, "claims = { name = 'claims.name' }\n", entry, "may not have this claim"),
        ('profile = "jitsi"\nrooms = ["Team"]\n', "", ENTRY, "Prosody compares rooms in lower case"),
    ]:
        world.configure(CONFIG + PROFILES + client("meet", more=entry_of) + rule(meeting, more=more))
        world.fails(78, says, "config", "check", env={"PROSODY": SECRET_OF_PROSODY})
    two = rule(good).replace(f'["{GRANT}"]', f'["{GRANT}", "urn:ietf:params:oauth:grant-type:jwt-bearer"]')
    bearer = entry.replace(f'["{GRANT}"]', f'["{GRANT}", "urn:ietf:params:oauth:grant-type:jwt-bearer"]')
    both = bearer.replace('["jaas"]', '["jaas", "access_token"]') + 'audiences = ["a"]\n'
    world.configure(CONFIG + PROFILES + client("meet", more=both) + two)
    world.fails(78, "tokens for meetings are given by urn:ietf:params:oauth:grant-type:token-exchange alone", "config", "check",
                env={"PROSODY": SECRET_OF_PROSODY})


def test_no_meeting_token_is_an_access_token_of_this_issuer(world):
    """With the issuer as `app_id`, a client for profile jwt could write every claim of a meeting token, past all of `[clients.jitsi]`."""
    for name in ("http://127.0.0.1:@PORT@", "http://127.0.0.1:@PORT@/"):
        world.configure(CONFIG + PROFILES.replace('app_id = "mine"', f'app_id = "{name}"'))
        world.fails(78, "profiles.jitsi.app_id: is the issuer", "config", "check", env={"PROSODY": SECRET_OF_PROSODY})


def test_a_secret_of_prosody_is_one_line_of_text_and_no_key(world, pem):
    world.configure(CONFIG + PROFILES)
    public = json.dumps({"kty": "RSA", "n": "x" * 300, "e": "AQAB"})
    for secret, says in [("short", "at least 32"), (pem["rsa"].read_text(), "one line of text"), (public, "one line of text"),
                         ("a" * 20 + "\n" + "b" * 20, "one line of text")]:
        world.fails(78, says, "config", "check", env={"PROSODY": secret})


def test_explain_shows_the_meeting_that_a_token_is_worth(world, key):
    world.configure(CONFIG + PROFILES + client("meet", more=ENTRY) + RULES[0])
    world.environment["PROSODY"] = SECRET_OF_PROSODY
    world.done("keys", "import", key, "--ring", "jaas", "--kid", f"{APP}/4f4910")
    said = explain(world, sign(team="blue", **USER), "--room", "team-blue")
    assert said["would_mint"]["room"] == "team-blue" and said["would_mint"]["context"]["user"]["name"] == "Alice"
    said = explain(world, sign(**USER), "--room", "team-blue", code=1)
    assert "gives this user no token for this room" in said["rules"][0]["refused"]


def test_the_page_does_what_it_says(full_binary, tmp_path):
    (tmp_path / "work").mkdir()
    text = with_ports(PAGE.read_text(), {8097: free_port()})
    run(blocks(text), tmp_path / "work", environment(full_binary, tmp_path))
