"""Profile `jaas`: 8x8 JaaS meeting tokens, over HTTP and on the command line.

Three environment variables alone are enough; the key may also be imported. The token's shape, what is refused and
why, and that the ring is not in the JWKS.
"""

import json
import subprocess
import time

import jwt
import pytest
from e2e import wire
from e2e.program import CONFIG, SECRET, client, snapshot, until
from e2e.wire import MARK

APP = "vpaas-magic-cookie-0123456789abcdef"
KID = f"{APP}/a1b2c3"
PROFILE = f'\n[profiles.jaas]\napp_id = "{APP}"\n'
ALL = ('audiences = ["api://default"]\nprofiles = ["*"]\n'
       'jaas = { moderator = true, any_room = true, regex = ["team-.*"], user = ["*"], features = ["*", "next-thing"] }')
NONE = 'profiles = ["jaas"]\njaas = { rooms = ["daily"], user = ["*"] }'
ROOM = '{"room":"daily","user":{"id":"u1","name":"Zoë","email":"z@example.com","avatar":"https://a.example/z.png"}}'


@pytest.fixture
def variables(pem):
    return {"JAAS_APP_ID": APP, "JAAS_API_KID": KID, "PRIVATE_KEY": pem["rsa"].read_text()}


def public(path):
    done = subprocess.run(["openssl", "pkey", "-in", path, "-pubout"], capture_output=True, text=True, check=True)
    return done.stdout


def read(token, pem):
    return jwt.decode(token, public(pem["rsa"]), algorithms=["RS256"], audience="jitsi", issuer="chat")


def sign(world, claims, *more, env):
    return world.done("sign", "--profile", "jaas", "--claims", claims, *more, env=env).strip()


def post(issuer, name, data, secret=SECRET, **rest):
    members = {"data": data, "profile": '"jaas"'} | {member: json.dumps(value) for member, value in rest.items()}
    body = "{%s}" % ",".join(f'"{member}":{text}' for member, text in members.items())
    headers = {"Authorization": wire.basic(name, secret), "Content-Type": "application/json"}
    return wire.ask(issuer, "POST", "/sign", headers, body.encode())


def test_three_variables_are_enough_to_sign_and_nothing_is_written(world, pem, variables):
    token = sign(world, ROOM, env=variables)
    assert token.count(".") == 2 and "\n" not in token
    assert wire.header(token) == {"alg": "RS256", "kid": KID, "typ": "JWT"}
    claims = read(token, pem)
    now = time.time()
    assert set(claims) == {"aud", "iss", "sub", "room", "iat", "nbf", "exp", "context"}
    assert (claims["sub"], claims["room"]) == (APP, "daily")
    assert claims["nbf"] == claims["iat"] <= now - 8 and claims["exp"] - claims["nbf"] == 3600
    user = {"id": "u1", "name": "Zoë", "email": "z@example.com", "avatar": "https://a.example/z.png"}
    assert claims["context"]["user"] == user | {"moderator": "false"}
    assert claims["context"]["features"] == {}
    assert snapshot(world.folder) == {}


def test_a_key_with_escaped_line_ends_is_the_same_key(world, pem, variables):
    escaped = variables | {"PRIVATE_KEY": variables["PRIVATE_KEY"].strip().replace("\n", "\\n")}
    assert read(sign(world, '{"room":"r"}', env=escaped), pem)["room"] == "r"


def test_booleans_leave_as_strings(world, pem, variables):
    data = '{"room":"*","moderator":true,"features":{"recording":true,"livestreaming":"true","transcription":false}}'
    context = read(sign(world, data, env=variables), pem)["context"]
    assert context["user"]["moderator"] == "true"
    assert context["features"] == {"recording": "true", "livestreaming": "true", "transcription": "false"}


def test_the_lifetime_is_as_asked(world, pem, variables):
    claims = read(sign(world, '{"room":"r"}', "--lifetime", "5m", env=variables), pem)
    assert claims["exp"] - claims["iat"] == 300 and claims["exp"] > time.time() + 200


REFUSALS = [
    ('{"room":"r","features":{"recording":true}}', "moderators only"),
    ('{"user":{"id":"%s"}}' % MARK, "`data.room` is missing"),
    ("{}", "`data.room` is missing"),
    ('{"room":""}', "1 to 200 characters"),
    ('{"room":"%s"}' % ("r" * 201), "1 to 200 characters"),
    ('{"room":"a\\nb"}', "1 to 200 characters"),
    ('{"room":1}', "`data.room` must be a string"),
    ('{"room":["*"]}', "`data.room` must be a string"),
    ('{"room":"r","sub":"%s"}' % MARK, "unknown member"),
    ('{"room":"r","Moderator":true}', "unknown member"),
    ('{"room":"r","context":{}}', "unknown member"),
    ('{"room":"r","user":{"moderator":"true"}}', "`data.user.moderator` has its place beside `user`"),
    ('{"room":"r","user":"%s"}' % MARK, "`data.user` must be an object"),
    ('{"room":"r","user":{"id":1}}', "`data.user.id` must be a string; found a number"),
    ('{"room":"r","user":{"hidden-from-recorder":"%s"}}' % MARK, "`data.user.hidden-from-recorder` must be true or false"),
    ('{"room":"r","moderator":true,"features":{"flip2":true}}', "unknown feature"),
    ('{"room":"*","regex":true}', "no pattern"),
    ('{"room":"r","regex":1}', "`data.regex` must be true or false"),
    # What 8x8 documents as the payload, pasted.
    ('{"aud":"jitsi","iss":"chat","room":"r"}', "unknown member"),
    ('{"room":"r","moderator":1}', "`data.moderator`"),
    ('{"room":"r","moderator":"yes"}', "`data.moderator`"),
    ('{"room":"r","moderator":"TRUE"}', "`data.moderator`"),
    ('{"room":"r","moderator":true,"features":["recording"]}', "`data.features`"),
    ('{"room":"r","moderator":true,"features":{"recording":1}}', "must be true or false; found a number"),
    ('{"room":"r","room":"*"}', "twice"),
]


@pytest.mark.parametrize("data, says", REFUSALS)
def test_the_command_line_refuses_with_the_reason(world, variables, data, says):
    code = 2 if says == "twice" else 1
    # A command line has no `data`: what it takes is the object itself.
    world.fails(code, says.replace("`data.", "`"), "sign", "--profile", "jaas", "--claims", data, env=variables)


def test_an_audience_has_no_place_in_a_meeting_token(world, variables):
    arguments = ("sign", "--profile", "jaas", "--audience", "x", "--claims", '{"room":"r"}')
    world.fails(1, "--audience has no place in profile jaas", *arguments, env=variables)


@pytest.mark.parametrize("change, says", [
    ({"JAAS_API_KID": "other-app/a1b2c3"}, "JAAS_API_KID"),
    ({"JAAS_API_KID": "a1b2c3"}, "JAAS_API_KID"),
    ({"JAAS_API_KID": APP + "/"}, "JAAS_API_KID"),
    ({"JAAS_API_KID": APP + "x/a1b2c3"}, "JAAS_API_KID"),
    ({"JAAS_API_KID": ""}, "JAAS_API_KID"),
    ({"PRIVATE_KEY": ""}, "PRIVATE_KEY"),
    ({"PRIVATE_KEY": "not a key"}, "PRIVATE_KEY"),
    ({"PRIVATE_KEY": "@ec"}, "does not fit algorithm RS256"),
    ({"PRIVATE_KEY": "@rsa1024"}, "1024 bits"),
    ({"PRIVATE_KEY": "@public"}, "public key"),
])
def test_variables_that_cannot_work_are_refused_by_name(world, pem, variables, change, says):
    for name, value in change.items():
        if value.startswith("@"):
            change = {name: public(pem["rsa"]) if value == "@public" else pem[value[1:]].read_text()}
    world.fails(78, says, "sign", "--profile", "jaas", "--claims", '{"room":"r"}', env=variables | change)
    assert snapshot(world.folder) == {}


def test_without_variables_and_configuration_the_command_says_what_it_needs(world):
    world.fails(78, "JAAS_APP_ID, JAAS_API_KID and PRIVATE_KEY", "sign", "--profile", "jaas", "--claims", '{"room":"r"}')


def test_three_variables_are_enough_to_serve_meeting_tokens(world, pem, variables):
    printed = world.serve("--listen", "127.0.0.1:0", env=variables).printed
    issuer, secret = printed["issuer"], printed["client_secret"]
    answer = post(issuer, "first", '{"room":"*","moderator":true,"features":{"recording":true}}', secret)
    assert answer.status == 200 and answer.json()["kid"] == KID, answer
    claims = read(answer.json()["access_token"], pem)
    assert claims["context"]["user"]["moderator"] == "true" and claims["context"]["features"] == {"recording": "true"}
    kids = [key["kid"] for key in wire.get(issuer, "/.well-known/jwks.json").json()["keys"]]
    assert len(kids) == 1 and KID not in kids
    for path in world.file.parent.iterdir():
        assert b"PRIVATE" not in path.read_bytes(), path.name


@pytest.fixture
def imported(world, pem):
    """A server with the profile in its configuration and an imported key."""
    world.configure(CONFIG + PROFILE + client("all", more=ALL) + client("none", more=NONE))
    world.done("keys", "import", "--ring", "jaas", "--kid", KID, pem["rsa"])
    issuer = world.serve().printed["issuer"]
    until(lambda: wire.get(issuer, "/readyz").status == 200, "ready")
    return issuer


def test_an_imported_key_signs_and_is_not_in_the_jwks(world, pem, imported):
    answer = post(imported, "none", ROOM)
    assert answer.status == 200 and answer.json()["kid"] == KID, answer
    assert read(answer.json()["access_token"], pem)["context"]["user"]["moderator"] == "false"
    for path in ["/.well-known/jwks.json", "/public-keys"]:
        assert KID not in wire.get(imported, path).body.decode()
    assert "RS256" not in wire.get(imported, "/.well-known/openid-configuration").body.decode()


def test_http_refuses_with_the_reason_and_no_echo(world, imported):
    for data, says in REFUSALS:
        wire.check_refusal(post(imported, "all", data), 400, says, secret=SECRET)
    answer = post(imported, "all", '{"room":"r"}', metadata={"audience": "api://default"})
    wire.check_refusal(answer, 400, "`metadata.audience` has no place in profile jaas", secret=SECRET)


def test_every_documented_member_and_feature_leaves_in_the_documented_form(pem, imported):
    """developer.8x8.com/jaas/docs/api-keys-jwt, member by member; and a room as a pattern."""
    names = ["livestreaming", "recording", "transcription", "sip-inbound-call", "sip-outbound-call", "inbound-call",
             "outbound-call", "file-upload", "list-visitors", "send-groupchat", "create-polls", "flip"]
    features = {name: index % 3 != 0 for index, name in enumerate(names)} | {"next-thing": True}
    user = {"id": "u1", "name": "Zoë", "email": "z@example.com", "avatar": "https://a.example/z.png"}
    data = {"room": "team-.*", "regex": True, "moderator": True, "features": features,
            "user": user | {"hidden-from-recorder": True}}
    answer = post(imported, "all", json.dumps(data))
    assert answer.status == 200, answer
    token = answer.json()["access_token"]
    assert wire.header(token) == {"alg": "RS256", "kid": KID, "typ": "JWT"}
    claims = read(token, pem)
    times = [claims.pop(name) for name in ("iat", "nbf", "exp")]
    assert times[0] == times[1] <= time.time() - 10 and times[2] == times[0] + 3600
    assert claims == {
        "aud": "jitsi", "iss": "chat", "sub": APP, "room": "team-.*",
        "context": {
            "user": user | {"moderator": "true", "hidden-from-recorder": "true"},
            "features": {name: "true" if on else "false" for name, on in features.items()},
            "room": {"regex": "true"},
        },
    }
    # Another pattern, and one for a client that has none.
    for client_id, room in [("all", "team-.+"), ("none", "daily")]:
        answer = post(imported, client_id, json.dumps({"room": room, "regex": True}))
        wire.check_refusal(answer, 403, "rule: jaas.regex", error="access_denied", secret=SECRET)
    answer = post(imported, "none", '{"room":"daily","moderator":true,"features":{"next-thing":true}}')
    wire.check_refusal(answer, 400, "unknown feature", secret=SECRET)


def test_what_may_be_mistyped_or_is_overridden_is_told_at_the_start(world, pem, variables):
    world.configure(CONFIG + PROFILE.replace(APP, "vpaas-magic-cookie-other") + client("all", more=ALL))
    done = world.run("config", "check", env=variables)
    assert done.returncode == 0, done
    warnings = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert len(warnings) == 3 and "tokens signed with ES256 are refused" in warnings[2], warnings
    assert "profiles.jaas: JAAS_APP_ID, JAAS_API_KID and PRIVATE_KEY are in the environment and win: the AppID is" in warnings[0]
    assert 'clients.all.jaas.features: "next-thing" is not a documented feature' in warnings[1]


def test_where_both_have_one_app_id_the_warning_names_no_other(world, variables):
    world.configure(CONFIG + PROFILE)
    [message, _] = [json.loads(line)["message"] for line in world.run("config", "check", env=variables).stderr.splitlines()]
    assert 'and win: no key of ring "jaas" signs' in message and "the AppID is" not in message


@pytest.mark.parametrize("typed", ["vpaas-magic-cookie-\u2026", "vpaas-magic-cookie-...", "<AppID>", "", "a/b", "a b", "a" * 129])
def test_what_no_app_id_can_be_is_refused_before_8x8_does(world, variables, typed):
    world.configure(CONFIG + PROFILE.replace(APP, typed))
    world.fails(78, "profiles.jaas.app_id: must be the AppID of the JaaS console", "config", "check")
    world.configure(CONFIG + f'[webhooks.jaas]\napp_id = "{typed}"\nsecrets = ["env:PATH"]\n')
    if "webhooks" in world.run("config", "check").stderr and "--features" not in world.run("config", "check").stderr:
        world.fails(78, "webhooks.jaas.app_id: must be the AppID", "config", "check")
    if typed:
        world.configure(CONFIG)
        world.fails(78, "JAAS_APP_ID: must be the AppID", "config", "check", env=variables | {"JAAS_APP_ID": typed})


def test_a_profile_without_its_key_says_so_and_the_others_work(world):
    world.configure(CONFIG + PROFILE + client("all", more=ALL))
    issuer = world.serve().printed["issuer"]
    answer = post(issuer, "all", '{"room":"r"}')
    wire.check_refusal(answer, 503, error="temporarily_unavailable", secret=SECRET)
    assert "keys import" in world.log
    world.fails(78, "ring jaas of profile jaas has no active key; make one with `countersign keys generate --jaas`",
                "sign", "--profile", "jaas", "--claims", '{"room":"r"}')
    assert "keys import --ring jaas" in answer.json()["error_description"]


@pytest.mark.parametrize("kid", [None, "a1b2c3", f"other/{APP}/x", APP, APP + "/", f"{APP}/a/b"])
def test_an_import_under_another_kid_is_refused_and_changes_nothing(world, pem, kid):
    world.configure(CONFIG + PROFILE + client("all", more=ALL))
    before = world.keys()
    named = [] if kid is None else ["--kid", kid]
    world.fails(1, f"must be the AppID \"{APP}\"", "keys", "import", "--ring", "jaas", *named, pem["rsa"])
    assert world.keys() == before


@pytest.mark.parametrize("name", ["ec", "rsa1024"])
def test_an_import_of_a_key_jaas_would_not_take_is_refused_and_changes_nothing(world, pem, name):
    world.configure(CONFIG + PROFILE + client("all", more=ALL))
    before = world.keys()
    refused = world.run("keys", "import", "--ring", "jaas", "--kid", KID, pem[name])
    assert refused.returncode == 1 and "RSA" in refused.stderr, refused
    assert world.keys() == before


def test_an_import_for_another_algorithm_than_rs256_is_refused_and_changes_nothing(world, pem):
    world.configure(CONFIG + PROFILE + client("all", more=ALL))
    before = world.keys()
    refused = world.run("keys", "import", "--ring", "jaas", "--kid", KID, "--algorithm", "PS256", pem["rsa"])
    assert refused.returncode != 0 and "RS256" in refused.stderr, refused
    assert world.keys() == before
