"""Mint policy: what one client may have in its tokens. Nothing declared, nothing allowed.

Each refusal is a 403 that names the rule in the words of the configuration and what it refused, and no claim's value.
"""

import json

import pytest
from e2e import wire
from e2e.program import CONFIG, SECRET, client, secret_hash, until
from e2e.wire import MARK

OTHER = "cssec_another-secret-that-only-these-tests-know-98765"
JAAS = '\n[profiles.jaas]\napp_id = "vpaas-magic-cookie-0123"\n'
AUDIENCES = 'audiences = ["api://default", "api://other"]\n'
CLIENTS = {
    "nothing": "",
    "audience-only": AUDIENCES,
    "short": AUDIENCES + 'max_lifetime = "10m"\n',
    "claims": AUDIENCES + 'claims = { allow = ["sub", "role", "é"], deny = ["admin"] }\n',
    "denied": AUDIENCES + 'claims = { allow = ["*"], deny = ["admin", "role"] }\n',
    "fixed": AUDIENCES + 'claims = { allow = ["sub"], fixed = { tenant = "t1", n = 1, list = [1, { a = true }] } }\n',
    "scoped": AUDIENCES + 'scopes = ["read", "write:own"]\nclaims = { allow = ["scope", "scp"] }\n',
    "unscoped": AUDIENCES + 'claims = { allow = ["*"] }\n',
    "jaas-only": 'profiles = ["jaas"]\njaas = { rooms = ["r", "team-*"] }\n',
    "moderator": 'profiles = ["jaas"]\njaas = { moderator = true, rooms = ["r"], features = ["recording"], user = ["name"] }\n',
    "kiosk": 'profiles = ["jaas"]\nclaims = { deny = ["features"], fixed = { room = "r", user = { id = "k" } } }\n'
             'jaas = { rooms = ["r"], user = ["id"] }\n',
}


@pytest.fixture(scope="module")
def server(lasting_authority):
    clients = "".join(client(name, more=more) for name, more in CLIENTS.items())
    return lasting_authority(CONFIG.replace("http://127.0.0.1:@PORT@", "@ISSUER@").replace(
        '\n[server]\nlisten = "127.0.0.1:@PORT@"\n', "") + JAAS + clients)


def ask(server, name, data="{}", secret=SECRET, **rest):
    members = {"data": data} | {member: json.dumps(value) for member, value in rest.items()}
    body = "{%s}" % ",".join(f'"{member}":{text}' for member, text in members.items())
    headers = {"Authorization": wire.basic(name, secret), "Content-Type": "application/json"}
    return wire.ask(server.issuer, "POST", "/sign", headers, body.encode())


def denied(answer, rule, what="", names=False):
    for says in (f"(rule: {rule})", what):
        wire.check_refusal(answer, 403, says, error="access_denied", secret=SECRET, names=names)


def minted(answer):
    assert answer.status == 200, answer
    return json.loads(wire.claims(answer.json()["access_token"]))


def test_a_client_with_nothing_declared_may_have_nothing(server):
    denied(ask(server, "nothing"), "audiences")
    denied(ask(server, "nothing", metadata={"audience": "api://default"}), "audiences")
    denied(ask(server, "nothing", profile="jaas"), "profiles")


def test_audiences_alone_allow_tokens_without_claims(server):
    assert minted(ask(server, "audience-only"))["aud"] == "api://default"
    denied(ask(server, "audience-only", '{"sub":"%s"}' % MARK), "claims.allow")


@pytest.mark.parametrize("audience", [
    MARK, "api://default/", "api://defaul", "api://default ", "API://default", "*", "api://*", ["api://default", MARK],
    ["api://default,api://other"],
])
def test_an_audience_is_compared_exactly(server, audience):
    denied(ask(server, "audience-only", metadata={"audience": audience}), "audiences", "the audience ", names=True)


def test_every_listed_audience_is_allowed_and_the_first_is_the_default(server):
    both = ["api://other", "api://default"]
    assert minted(ask(server, "audience-only", metadata={"audience": both}))["aud"] == both


def test_the_longest_lifetime_is_a_limit_and_shortens_the_default(server):
    assert ask(server, "audience-only", metadata={"duration": 3600}).status == 200
    denied(ask(server, "audience-only", metadata={"duration": 3601}), "max_lifetime", "3601 s; the longest is 3600 s")
    denied(ask(server, "audience-only", metadata={"duration": 4294967295}), "max_lifetime")
    for rest in [{}, {"metadata": {"duration": 600}}]:
        answer = ask(server, "short", **rest)
        claims = minted(answer)
        assert claims["exp"] - claims["iat"] == 600 and answer.json()["expires_in"] == 595
    answer = ask(server, "short", metadata={"duration": 5})
    wire.check_refusal(answer, 400, "5 s is not more than the 5 s by which tokens are backdated", secret=SECRET)
    denied(ask(server, "short", metadata={"duration": 601}), "max_lifetime")


def test_claims_must_be_in_the_allow_list(server):
    assert minted(ask(server, "claims", '{"sub":"a","\\u0072ole":"b","é":1}'))["role"] == "b"
    for name in [MARK, "Sub", "sub ", "", "*", "roles", "admin", "__proto__"]:
        rule = "claims." + ("deny" if name == "admin" else "allow")
        denied(ask(server, "claims", json.dumps({"sub": "a", name: MARK})), rule, "the claim '", names=name == MARK)


def test_the_deny_list_wins_over_any_in_any_spelling(server):
    assert ask(server, "denied", '{"roles":1,"Admin":true}').status == 200
    for data in ['{"admin":true}', '{"\\u0061dmin":true}', '{"sub":"x","role":null}', '{"a\\u0064min":"%s"}' % MARK]:
        denied(ask(server, "denied", data), "claims.deny")


def test_fixed_claims_are_in_every_token_and_cannot_be_changed(server):
    fixed = {"tenant": "t1", "n": 1, "list": [1, {"a": True}]}
    assert fixed.items() <= minted(ask(server, "fixed")).items()
    found = minted(ask(server, "fixed", '{"sub":"a","tenant":"t1","list":[1,{"a":true}]}'))
    assert fixed.items() <= found.items() and found["sub"] == "a"
    for data in ['{"tenant":"%s"}' % MARK, '{"t\\u0065nant":"t2"}', '{"n":2}', '{"list":[]}', '{"tenant":null}']:
        denied(ask(server, "fixed", data), "claims.fixed")


def test_a_fixed_claim_occurs_once(server):
    answer = ask(server, "fixed", '{"tenant":"t1","n":1.0}')
    text = wire.claims(answer.json()["access_token"]) if answer.status == 200 else '"tenant":'
    assert text.count('"tenant":') == 1


@pytest.mark.parametrize("data", [
    '{"scope":"read"}', '{"scope":"read write:own"}', '{"scp":["read"]}', '{"scp":"write:own"}', '{"scp":[]}', "{}",
])
def test_listed_scopes_are_allowed(server, data):
    assert ask(server, "scoped", data).status == 200


@pytest.mark.parametrize("data", [
    '{"scope":"write"}', '{"scope":"read write"}', '{"scope":"READ"}', '{"scope":"read\\twrite"}', '{"scope":"read\\nwrite"}',
    '{"scp":["read","%s"]}' % MARK, '{"scp":["read write:own"]}', '{"scope":1}', '{"scope":{"read":true}}', '{"scp":[1]}',
    '{"scope":null}', '{"sc\\u006fpe":"admin"}', '{"scope":"*"}',
])
def test_other_scopes_are_not(server, data):
    denied(ask(server, "scoped", data), "scopes", names=True)


def test_any_claim_does_not_mean_any_scope(server):
    denied(ask(server, "unscoped", '{"scope":"read"}'), "scopes")
    denied(ask(server, "unscoped", '{"scp":["read"]}'), "scopes")


def test_a_profile_must_be_allowed(server):
    denied(ask(server, "unscoped", '{"room":"%s"}' % MARK, profile="jaas"), "profiles")
    denied(ask(server, "jaas-only"), "profiles")
    denied(ask(server, "jaas-only", profile="jwt"), "profiles")


@pytest.mark.parametrize("name, data, rule", [
    ("jaas-only", '{"room":"r","moderator":true}', "jaas.moderator"),
    ("jaas-only", '{"room":"r","moderator":"true"}', "jaas.moderator"),
    ("jaas-only", '{"room":"*"}', "jaas.any_room"),
    ("jaas-only", '{"r\\u006fom":"\\u002a"}', "jaas.any_room"),
    ("jaas-only", '{"room":"r","features":{"recording":true}}', "jaas.features"),
    ("moderator", '{"room":"*","moderator":true}', "jaas.any_room"),
    ("moderator", '{"room":"r","moderator":true,"features":{"recording":true,"transcription":true}}', "jaas.features"),
    ("moderator", '{"room":"r","moderator":true,"features":{"livestreaming":"true"}}', "jaas.features"),
    ("jaas-only", '{"room":"%s"}' % MARK, "jaas.rooms"),
    ("jaas-only", '{"room":"R"}', "jaas.rooms"),
    ("jaas-only", '{"room":"a-team-b"}', "jaas.rooms"),
    ("jaas-only", '{"room":"r","user":{"id":"ceo"}}', "jaas.user"),
    ("moderator", '{"room":"r","user":{"name":"a","email":"%s"}}' % MARK, "jaas.user"),
    ("kiosk", '{"room":"other"}', "claims.fixed"),
    ("kiosk", '{"user":{"id":"ceo"}}', "claims.fixed"),
    ("kiosk", '{"features":{}}', "claims.deny"),
])
def test_meeting_rights_are_the_clients_policy(server, name, data, rule):
    denied(ask(server, name, data, profile="jaas"), rule, names=rule in ("jaas.features", "jaas.rooms"))


def test_what_is_granted_in_meetings_passes_the_policy(server):
    # There is no key to sign with here: what is allowed ends with 503.
    for name, data in [
        ("jaas-only", '{"room":"team-eu"}'), ("moderator", '{"room":"r","user":{"name":"a"}}'), ("kiosk", "{}"),
        ("kiosk", '{"room":"r","user":{"id":"k"}}'),
    ]:
        wire.check_refusal(ask(server, name, data, profile="jaas"), 503, error="temporarily_unavailable", secret=SECRET)
    answer = ask(server, "jaas-only", '{"room":"r","user":["1","2","3","4"]}', profile="jaas")
    wire.check_refusal(answer, 400, "`data.user` must be an object", secret=SECRET)


def test_the_longest_lifetime_holds_in_every_profile(server):
    denied(ask(server, "moderator", '{"room":"r"}', profile="jaas", metadata={"duration": 3601}), "max_lifetime")


def test_a_secret_is_changed_without_a_gap(world):
    both = f'secret_hashes = ["{secret_hash()}"]'
    text = CONFIG + client("tests")
    world.configure(text.replace(both, f'secret_hashes = ["{secret_hash()}", "{secret_hash(OTHER)}"]'))

    class Server:
        issuer = None

    def accepted():
        process = world.serve()
        Server.issuer = process.printed["issuer"]
        found = [ask(Server, "tests", secret=secret).status for secret in (SECRET, OTHER, "wrong")]
        process.terminate()
        assert process.wait(timeout=120) == 0
        return found

    assert accepted() == [200, 200, 401]
    world.configure(text.replace(both, f'secret_hashes = ["{secret_hash(OTHER)}"]'))
    assert accepted() == [401, 200, 401]
    world.configure(text.replace(both, "secret_hashes = []"))
    assert accepted() == [401, 401, 401]


SCHEMA = {
    "type": "object", "required": ["sub"], "additionalProperties": False,
    "properties": {"sub": {"type": "string", "pattern": "^user-[0-9]+$"}, "n": {"type": "integer", "maximum": 10}},
}


def test_a_json_schema_is_applied_or_refused_at_start_by_a_build_without_it(world):
    (world.folder / "countersign").mkdir()
    (world.folder / "countersign" / "claims.json").write_text(json.dumps(SCHEMA))
    world.configure(CONFIG + client("tests", more=AUDIENCES + 'claims = { allow = ["*"], schema = "file:claims.json" }'))
    asked = world.run("config", "check")
    if asked.returncode != 0:
        for command in [("config", "check"), ("serve",), ("sign", "--claims", "{}")]:
            world.fails(78, "no JSON Schema; build it with --features full", *command)
        return
    process = world.serve()
    process.issuer = process.printed["issuer"]
    until(lambda: wire.get(process.issuer, "/readyz").status == 200, "ready")
    assert ask(process, "tests", '{"sub":"user-1","n":10}').status == 200
    for data in ["{}", '{"sub":"%s"}' % MARK, '{"sub":"user-1","n":11}', '{"sub":"user-1","n":"1"}', '{"sub":"user-1","x":1}']:
        denied(ask(process, "tests", data), "claims.schema")
    denied(ask(process, "tests", '{"sub":"user-1","n":3.0000000000000000001}'), "claims.schema", "cannot be compared exactly")


@pytest.mark.parametrize("content, says", [
    (None, "claims.json"), ("{", "claims.json"), ('{"type":"no-such-type"}', ""),
])
def test_a_schema_that_cannot_be_used_stops_the_start(world, content, says):
    world.configure(CONFIG + client("tests", more=AUDIENCES + 'claims = { allow = ["*"], schema = "file:claims.json" }'))
    if content is not None:
        (world.folder / "countersign" / "claims.json").write_text(content)
    world.fails(78, says, "config", "check")


@pytest.mark.parametrize("more, says", [
    ('audiences = ["*"]', "clients.tests.audiences"),
    ('audiences = [""]', "clients.tests.audiences"),
    ('profiles = ["jitsi"]', "no profile"),
    ('claims = { fixed = { iss = "x" } }', "clients.tests.claims.fixed: `iss` is set by the issuer"),
    ('claims = { allow = ["exp"] }', "clients.tests.claims.allow: `exp` is set by the issuer"),
    ('claims = { fixed = { sub = 123 } }', "clients.tests.claims.fixed: `sub` must be a string; found a number"),
    ('claims = { allow = ["/realm_access/roles"] }', "clients.tests.claims.allow: \"/realm_access/roles\" names a claim inside"),
    ('claims = { allow = ["/~1a"] }', "clients.tests.claims.allow: no claim whose name begins with `/` is minted"),
    ('claims = { deny = ["/a~b"] }', "clients.tests.claims.deny: a JSON Pointer"),
    ('max_lifetime = "5s"', "clients.tests.max_lifetime: 5 s is not more than the 5 s"),
    ('max_lifetime = "long"', "clients.tests.max_lifetime"),
    ('claims = { schema = "claims.json" }', "clients.tests.claims.schema"),
])
def test_a_policy_that_cannot_work_stops_the_start(world, more, says):
    world.configure(CONFIG + client("tests", more=more))
    world.fails(78, says, "config", "check")


@pytest.mark.parametrize("more, says", [
    ('profiles = ["jaas"]\nclaims = { fixed = { tenant = "a" } }', 'claims.fixed: "tenant" has no effect in profile jaas'),
    ('profiles = ["jwt", "jaas"]\nclaims = { fixed = { tenant = "a" } }', 'claims.fixed: "tenant" has no effect in profile jaas'),
    ('profiles = ["*"]\nclaims = { fixed = { tenant = "a" } }', 'claims.fixed: "tenant" has no effect in profile jaas'),
    ('profiles = ["jaas"]\nclaims = { allow = ["room"] }', "claims.allow: has no effect in profile jaas"),
    ('profiles = ["jaas"]\nclaims = { deny = ["admin"] }', "claims.deny: has no effect in profile jaas"),
    ('profiles = ["jaas"]\naudiences = ["api://default"]', "audiences: has no effect in profile jaas"),
    ('profiles = ["jaas"]\nscopes = ["read"]', "scopes: has no effect in profile jaas"),
    ('profiles = ["jwt"]\njaas = { moderator = true }', "jaas: has no effect in profile jwt"),
    ('profiles = ["jaas"]\nclaims = { fixed = { room = "b" } }\njaas = { rooms = ["a"] }', "(rule: jaas.rooms)"),
    ('profiles = ["jaas"]\nclaims = { fixed = { user = ["1"] } }', "`data.user` must be an object"),
    ('profiles = ["jaas"]\nmax_lifetime = "10s"', "max_lifetime: 10 s is not more than the 10 s"),
    ('profiles = ["jaas"]\njaas = { rooms = [""] }', "jaas.rooms: a room pattern has 1 to 200 characters"),
    ('profiles = ["jaas"]\njaas = { user = ["phone"] }', 'jaas.user: "phone" is not'),
])
def test_a_setting_that_has_no_effect_for_a_profile_stops_the_start(world, more, says):
    world.configure(CONFIG + JAAS + client("tests", more=more))
    world.fails(78, f"clients.tests.{says}" if not says.startswith(("(", "`")) else says, "config", "check")


def test_two_clients_with_one_id_and_bad_hashes_stop_the_start(world):
    world.configure(CONFIG + client("tests") + client("tests"))
    world.fails(78, "two clients have the id", "config", "check")
    world.configure(CONFIG + client("tests").replace(secret_hash(), "sha256:short"))
    world.fails(78, "countersign client new", "config", "check")
    world.configure(CONFIG + client("te sts"))
    world.fails(78, "client id", "config", "check")
