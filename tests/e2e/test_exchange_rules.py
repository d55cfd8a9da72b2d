"""Rules of exchange: conditions and claims in CEL, our own tokens, actors, rules that are only tried, and the linter."""

import json
import time

import pytest
from e2e import wire
from e2e.assertions import Key
from e2e.program import CONFIG, client
from e2e.test_jwt_bearer import ALICE, LOGIN, minted, trust
from e2e.test_token import basic, configuration, refused, send
from e2e.test_token_exchange import GRANT, TYPE

AGENTS = "https://agents.example"
BOT = Key("bot")
OTHER = Key("someone")
#: Clients that may have what the rules give: the policy is the ceiling.
ENTRY = (f'grants = ["{GRANT}", "client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default", "https://api.example/v1"]\n'
         'scopes = ["read", "write", "admin"]\ndefault_scope = ["read", "write", "admin"]\nmax_lifetime = "2h"\n')
MAY = 'claims = { allow = ["name", "username", "age", "big", "groups", "profile", "plan"] }\n'
REFRESHING = ENTRY.replace(f'"{GRANT}", ', f'"{GRANT}", "refresh_token", ')
TRUSTED = trust(more=', audiences = ["api://theirs"], typ = "at+jwt"')
BOTS = trust(BOT, AGENTS, more=', audiences = ["api://theirs"]')


def rule(client, body, provider="login", source=TRUSTED):
    clients = f'clients = ["{client}"]\ngrants = ["{GRANT}"]\n' if client else ""
    once = "" if "once" in body or source.startswith("own") else "once = false\n"
    provider = f'provider = "{provider}"\n' if provider else ""
    return f"\n[[exchange]]\n{clients}{provider}{once}{body}{source}"


MAPPED = """scopes = ["read"]
impersonate = true
when = 'claims.level >= 3 && claims.org.name == "acme"'
claims = { name = 'claims.name', age = 'claims.age', big = 'claims.big', groups = 'claims.groups.filter(g, g != "secret")', plan = 'has(claims.plan) ? claims.plan : null', profile = "{'of': claims.org.name, 'level': claims.level}" }
"""
OWN = 'own = { audiences = ["api://default"] }\n'
ACTORS = 'delegation = { actors = ["bots"], depth = 2 }\nscopes = ["read", "write"]\n'
CLIENTS = [client(name, more=ENTRY) for name in ("chained", "delegating", "either", "silent", "tried", "tried-alone", "own-actors", "named")]
CLIENTS += [client("worker", more=ENTRY.replace(f'"{GRANT}", ', ""))]
CLIENTS += [client("mapped", more=ENTRY + MAY), client("refreshing", more=REFRESHING + MAY)]
RULES = [
    rule("mapped", MAPPED),
    rule("chained", 'impersonate = true\nscopes = ["read", "write"]\n'), rule("chained", 'name = "again"\nimpersonate = true\nscopes = ["*"]\n', None, OWN),
    rule("named", 'impersonate = true\nscopes = ["*"]\n', None, OWN.replace(" }", ', clients = ["worker"] }')),
    rule("delegating", ACTORS), rule(None, 'name = "bots"\nscopes = ["read"]\nmax_lifetime = "20m"\nwhen = \'claims.kind == "bot"\'\n', "agents", BOTS),
    rule("either", 'impersonate = true\n' + ACTORS), rule("either", 'name = "again-either"\n' + ACTORS, None, OWN),
    rule("silent", 'delegation = { actors = ["no-scope"] }\nscopes = ["*"]\n'), rule(None, 'name = "no-scope"\n', "agents", BOTS),
    rule("own-actors", 'delegation = { actors = ["clients"] }\nscopes = ["*"]\n'), rule(None, 'name = "clients"\nscopes = ["*"]\n', None, OWN),
    rule("tried", 'name = "new"\nmode = "audit"\nimpersonate = true\nscopes = ["*"]\nonce = true\n', "fresh"), rule("tried", 'impersonate = true\nonce = true\n'),
    rule("tried-alone", 'mode = "audit"\nimpersonate = true\n'),
    rule("refreshing", 'refresh = true\nscopes = ["read", "write"]\nimpersonate = true\nclaims = { name = \'claims.name\', big = \'claims.big\' }\n' + ACTORS.split("scopes")[0]),
]


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS, *RULES))


def sign(key=ALICE, audience="api://theirs", **rest):
    return key.sign(audience, header={"typ": "at+jwt"}, **({"iss": LOGIN} | rest))


def bot(key=BOT, audience="api://theirs", **rest):
    return key.sign(audience, **({"iss": AGENTS, "kind": "bot"} | rest))


def ask(server, token, id, actor=None, **parameters):
    form = {"grant_type": GRANT, "subject_token": token, "subject_token_type": TYPE + "access_token"}
    if actor:
        form |= {"actor_token": actor, "actor_token_type": TYPE + "jwt"}
    form |= parameters
    return send(server, [(name, one) for name, value in form.items() for one in (value if isinstance(value, list) else [value])], basic(id))


def text_of(answer):
    assert answer.status == 200, answer
    return wire.claims(answer.json()["access_token"])


WORKER = {"level": 3, "org": {"name": "acme"}, "name": "Al\u00efce", "age": 41, "big": 0, "groups": ["a", "secret", "b"]}


def test_claims_are_mapped_with_their_types_and_numbers_of_any_size_are_not_touched(server):
    claims = minted(ask(server, sign(**WORKER), "mapped"))
    mapped = {name: claims[name] for name in ("name", "age", "big", "groups", "profile")}
    assert mapped == {"name": "Al\u00efce", "age": 41, "big": 0, "groups": ["a", "b"], "profile": {"of": "acme", "level": 3}}
    assert "plan" not in claims, "null leaves a claim out"
    assert claims["sub"] == "login:alice"
    for big in (2**63, 2**64 - 1, 10**30, -(10**25), 0.1):
        text = text_of(ask(server, sign(**WORKER | {"big": big}), "mapped"))
        assert f'"big":{json.dumps(big)}' in (text if isinstance(text, str) else text.decode()), big
    assert minted(ask(server, sign(**WORKER, plan={"n": [1, None]}), "mapped"))["plan"] == {"n": [1, None]}


def test_a_condition_that_does_not_hold_and_claims_that_are_missing_are_refused_by_name(server):
    for change, says in [
        ({"level": 2}, "do not meet the rule's condition (`when`)"), ({"org": {"name": "other"}}, "`when`"),
        ({"level": "3"}, "no matching overload"), ({"level": 10**25}, "a number in `level` is beyond"),
        ({"groups": "a"}, "the claim `groups` of the rule"),
    ]:
        refused(ask(server, sign(**WORKER | change), "mapped"), 400, "invalid_request", says)
    for missing, says in [("level", "`when`): `level`, which it reads, is missing"), ("name", "`name` of the rule (`claims`): `name`, which it reads, is missing")]:
        without = {name: value for name, value in WORKER.items() if name != missing}
        refused(ask(server, sign(**without), "mapped"), 400, "invalid_request", says)
    large = {name: "x" * 3000 for name in ("name", "age")}
    refused(ask(server, sign(**WORKER | large), "mapped"), 400, "invalid_request", "longer than 4096 bytes together")


def test_every_audience_and_resource_that_is_not_the_clients_is_named(server):
    answer = ask(server, sign(), "chained", audience=["api://default", "api://a"], resource=["https://b.example/", "https://api.example/v1"])
    refused(answer, 400, "invalid_target", "api://a")
    assert "https://b.example/" in answer.json()["error_description"] and "api://default" not in answer.json()["error_description"]
    both = minted(ask(server, sign(), "chained", audience=["api://default"], resource=["https://api.example/v1"]))
    assert both["aud"] == ["https://api.example/v1", "api://default"]


def test_a_token_of_our_own_is_exchanged_and_only_narrows(server):
    first = ask(server, sign(exp=int(time.time()) + 900), "chained", scope="read write")
    before, token = minted(first), first.json()["access_token"]
    after = minted(ask(server, token, "chained", scope="read", audience="https://api.example/v1"))
    assert after["sub"] == "login:alice", "the provider is in front once"
    assert after["exp"] <= before["exp"] and after["scope"] == "read" and after["aud"] == "https://api.example/v1"
    refused(ask(server, token, "chained", scope="admin"), 400, "invalid_scope")
    assert minted(ask(server, token, "chained"))["scope"] == "read write", "of the default what the token has"
    # One without a scope is worth none, and one for another audience nothing.
    bare = ask(server, sign(scope="other"), "chained").json()["access_token"]
    assert "scope" not in minted(ask(server, bare, "chained"))
    elsewhere = ask(server, sign(), "chained", audience="https://api.example/v1").json()["access_token"]
    refused(ask(server, elsewhere, "chained"), 400, "invalid_request", "another audience")
    refused(ask(server, token[:-4] + "AAAA", "chained"), 400, "invalid_request")


def test_a_token_of_our_own_that_was_revoked_is_worth_nothing(server):
    token = ask(server, sign(), "chained").json()["access_token"]
    minted(ask(server, token, "chained"))
    assert send(server, {"token": token}, basic("chained"), "/revoke").status == 200
    refused(ask(server, token, "chained"), 400, "invalid_request", "was revoked")


def test_tokens_of_the_sign_route_are_not_exchanged_and_cannot_say_who_acts(authority):
    entry = 'grants = ["client_credentials"]\nprofiles = ["access_token", "jwt"]\naudiences = ["api://default"]\nscopes = ["*"]\nclaims = { allow = ["*"] }\n'
    exchanging = entry.replace('"client_credentials"', f'"client_credentials", "{GRANT}"')
    server = authority(configuration(client("app", more=exchanging), rule("app", "impersonate = true\n", None, OWN)))
    headers = basic("app") | {"Content-Type": "application/json"}
    signed = wire.ask(server.issuer, "POST", "/sign", headers, b'{"data":{"sub":"login:alice"}}')
    refused(ask(server, signed.json()["access_token"], "app"), 400, "invalid_request", "not minted by a grant")
    for claim in ("client_id", "act", "may_act", "cnf"):
        body = json.dumps({"data": {"sub": "x", claim: {"sub": "y"}}}).encode()
        answer = wire.ask(server.issuer, "POST", "/sign", headers, body)
        assert answer.status == 400 and claim in answer.json()["error_description"], answer


def test_an_actor_is_named_with_those_before_it(server):
    claims = minted(ask(server, sign(), "either", bot()))
    assert claims["sub"] == "login:alice" and claims["act"] == {"sub": "agents:bot"} and claims["client_id"] == "either"
    # What the subject token says of actors stays, with its provider in front of each.
    before = {"act": {"sub": "app", "role": "x"}}
    assert minted(ask(server, sign(**before), "either", bot()))["act"] == {"sub": "agents:bot", "act": {"sub": "login:app"}}
    assert minted(ask(server, sign(**before), "either"))["act"] == {"sub": "login:app"}, "an exchange hides nobody"
    deep = {"act": {"sub": "a", "act": {"sub": "b"}}}
    refused(ask(server, sign(**deep), "either", bot()), 400, "invalid_request", "more actors in a row")
    # And in tokens of our own, which go through a second hop.
    token = ask(server, sign(), "either", bot()).json()["access_token"]
    again = minted(ask(server, token, "either", bot(OTHER_BOT)))
    assert again["act"] == {"sub": "agents:second", "act": {"sub": "agents:bot"}} and again["sub"] == "login:alice"
    third = ask(server, token, "either", bot(OTHER_BOT)).json()["access_token"]
    refused(ask(server, third, "either", bot()), 400, "invalid_request", "more actors in a row")
    for act in ("x", {}, {"sub": ""}, {"sub": 5}, ["a"], {"sub": "a", "act": "b"}):
        refused(ask(server, sign(act=act), "either"), 400, "invalid_request", "cannot be read")


#: The same key under another subject.
OTHER_BOT = type("Second", (), {"sign": staticmethod(lambda audience, **rest: BOT.sign(audience, **(rest | {"sub": "second"})))})


def test_without_an_actor_only_where_the_rule_says_so_and_with_one_only_where_someone_may_act(server):
    refused(ask(server, sign(), "delegating"), 400, "invalid_request", "impersonate")
    minted(ask(server, sign(), "delegating", bot()))
    minted(ask(server, sign(), "chained"))
    refused(ask(server, sign(), "chained", bot()), 400, "invalid_request", "nobody may act")


def test_the_scope_is_within_subject_rule_and_actor_and_no_scopes_are_none(server):
    assert minted(ask(server, sign(scope="read write"), "delegating", bot()))["scope"] == "read"
    for shown, actor, scope, who in [
        (sign(scope="read admin"), bot(), "read admin", "the rule (`exchange.scopes`) does not allow the scope admin"),
        (sign(scope="write"), bot(), "read", "the token shown does not allow the scope read"),
        (sign(scope="read write"), bot(), "write", "the rule of the actor (`exchange.scopes`) does not allow the scope write"),
        (sign(), bot(scope="other"), "read", "the actor token does not allow the scope read"),
        (sign(), bot(), "x" * 500, f"does not allow the scope {'x' * 64}"),
    ]:
        answer = ask(server, shown, "delegating", actor, scope=scope)
        refused(answer, 400, "invalid_scope", who)
        assert "x" * 65 not in answer.json()["error_description"]
    assert "scope" not in minted(ask(server, sign(), "silent", bot()))
    refused(ask(server, sign(), "silent", bot(), scope="read"), 400, "invalid_scope")


def test_it_lives_no_longer_than_the_actor(server):
    now = int(time.time())
    assert minted(ask(server, sign(exp=now + 5000), "delegating", bot(exp=now + 100)))["exp"] <= now + 100
    claims = minted(ask(server, sign(exp=now + 5000), "delegating", bot(exp=now + 5000)))
    assert claims["exp"] - claims["iat"] <= 1200, "the rule of the actor"


def test_actor_tokens_are_judged_as_strictly_as_subject_tokens(server):
    for wrong, says in [
        (bot(kind="person"), "do not meet"), (bot(OTHER), ""), (bot(audience="api://x"), ""), (bot(exp=int(time.time()) - 60), "expired"),
        (sign(), "takes tokens of this issuer"), (bot(act={"sub": "x"}), "actors of its own"), (bot(without=["sub"]), "about nobody"), ("abc", ""),
    ]:
        refused(ask(server, sign(), "delegating", wrong), 400, "invalid_request", says)
    alone = {"subject_token": sign(), "subject_token_type": TYPE + "jwt", "grant_type": GRANT}
    refused(send(server, alone | {"actor_token": bot()}, basic("delegating")), 400, "invalid_request", "actor_token_type")
    refused(send(server, alone | {"actor_token_type": TYPE + "jwt"}, basic("either")), 400, "invalid_request", "actor_token")
    refused(send(server, alone | {"actor_token": bot(), "actor_token_type": TYPE + "saml2"}, basic("either")), 400, "invalid_request", "actor_token_type")


def own_token(server, id):
    answer = send(server, {"grant_type": "client_credentials"}, basic(id))
    assert answer.status == 200, answer
    return answer.json()["access_token"]


def test_a_client_that_acts_shows_a_token_of_its_own_and_no_other_clients(server):
    claims = minted(ask(server, sign(), "own-actors", own_token(server, "own-actors")))
    assert claims["act"] == {"sub": "own-actors"} and claims["client_id"] == "own-actors"
    refused(ask(server, sign(), "own-actors", own_token(server, "worker")), 400, "invalid_request", "another client")


def test_what_a_client_got_for_itself_is_no_subject_unless_the_rule_names_it(server):
    """A service that a client calls has its token, and could pass for it at the next service."""
    for id in ("worker", "chained"):
        refused(ask(server, own_token(server, id), "chained"), 400, "invalid_request", "own.clients")
    claims = minted(ask(server, own_token(server, "worker"), "named", scope="read"))
    assert (claims["sub"], claims["client_id"], claims["scope"]) == ("worker", "named", "read")
    for id in ("named", "chained"):
        refused(ask(server, own_token(server, id), "named"), 400, "invalid_request", "own.clients")
    # What was exchanged is about the client still, and so is no subject where it is not named.
    again = ask(server, own_token(server, "worker"), "named").json()["access_token"]
    refused(ask(server, again, "chained"), 400, "invalid_request", "own.clients")
    # A user's token is one, whichever client it was minted for.
    minted(ask(server, ask(server, sign(), "chained").json()["access_token"], "named"))


def test_who_may_act_is_respected(server):
    ours = {"iss": server.issuer, "sub": "either"}
    minted(ask(server, sign(may_act={"iss": AGENTS, "sub": "bot"}), "either", bot()))
    minted(ask(server, sign(may_act=ours), "either"))
    for may_act in ({"sub": "bot"}, {"iss": AGENTS, "sub": "other"}, {"iss": AGENTS}, {}, "bot", ours):
        refused(ask(server, sign(may_act=may_act), "either", bot()), 400, "invalid_request", "may_act")
    for may_act in ({"iss": AGENTS, "sub": "bot"}, {"sub": "either"}, ours | {"sub": "delegating"}):
        refused(ask(server, sign(may_act=may_act), "either"), 400, "invalid_request", "may_act")


def test_a_rule_that_is_only_tried_is_recorded_and_mints_nothing_and_uses_nothing_up(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    assert minted(ask(server, sign(), "tried"))["sub"] == "login:alice", "the next rule decides"
    refused(ask(server, sign(), "tried-alone"), 400, "invalid_request", "is only tried")
    records = [record for record in server.audit if record.get("decision") == "judged"]
    assert [(record["rule"], record["outcome"], record.get("subject")) for record in records] == [
        ("new", "accepted", "fresh:alice"), ("login", "accepted", "login:alice")]


def test_the_audit_names_rule_subject_actor_and_chain(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    subject, actor = sign(act={"sub": "app"}), bot()
    minted(ask(server, subject, "either", actor))
    [record] = [record for record in server.audit if record.get("decision") == "minted"]
    assert record["subject"] == "login:alice" and record["rule"] == "login" and record["actor"] == "agents:bot"
    assert json.loads(record["actors"]) == ["agents:bot", "login:app"]
    for field, shown in (("subject_token", subject), ("actor_token", actor)):
        claims = json.loads(wire.claims(shown))
        assert json.loads(record[field]) == {name: claims[name] for name in ("iss", "sub", "jti")}, field
        assert shown not in json.dumps(record)


def refresh(server, token, **parameters):
    form = {"grant_type": "refresh_token", "refresh_token": token} | parameters
    return send(server, form, basic("refreshing"))


def test_claims_and_actors_live_on_in_what_is_refreshed(server):
    big = 10**30
    answer = ask(server, sign(name="Alice", big=big), "refreshing", bot(), scope="read")
    first, token = minted(answer), answer.json()["refresh_token"]
    answer = refresh(server, token)
    later = minted(answer)
    for name in ("sub", "name", "act", "scope", "big"):
        assert later[name] == first[name], name
    assert f'"big":{big}' in str(text_of(answer)) and later["act"] == {"sub": "agents:bot"}
    assert later["exp"] - later["iat"] <= 1200, "the rule of the actor bounds what is refreshed too"


def check(world, *parts, entry=ENTRY):
    world.configure(CONFIG + client("app", more=entry) + "".join(parts))


TRUE = "impersonate = true\n"


@pytest.mark.parametrize("body, source, setting, says", [
    ("", TRUSTED, "exchange[0].impersonate", "rule login: may a client"),
    (TRUE + "when = 'claims.'\n", TRUSTED, "exchange[0].when", "rule login: not an expression"),
    (TRUE + "when = 'true'\n", TRUSTED, "exchange[0].when", "the same for every token"),
    (TRUE + "when = 'claims.sub.matches(\".*\")'\n", TRUSTED, "exchange[0].when", "true of anything"),
    (TRUE + "when = 'claims.sub.startsWith(\"\")'\n", TRUSTED, "exchange[0].when", "true of anything"),
    (TRUE + "when = 'other.sub == 1'\n", TRUSTED, "exchange[0].when", "claims.NAME"),
    (TRUE + "claims = { name = 'claims.email' }\n", TRUSTED, "exchange[0].claims.name", "email_verified"),
    (TRUE + "claims = { email = 'claims.email' }\n", TRUSTED, "exchange[0].claims.email", "claims.allow"),
    (TRUE + "claims = { act = 'claims.act' }\n", TRUSTED, "exchange[0].claims.act", "a rule cannot"),
    (TRUE + "claims = { sub = 'claims.email' }\n", TRUSTED, "exchange[0].claims.sub", "a rule cannot"),
    (TRUE + "claims = { scope = 'claims.scope' }\n", TRUSTED, "exchange[0].claims.scope", "a rule cannot"),
    (TRUE + "claims = { name = 'b\"x\"' }\n", TRUSTED, "exchange[0].claims.name", "bytes"),
    (TRUE, "own = { audiences = [] }\n", "exchange[0].provider", "has no effect with `own`"),
    (TRUE, "", "exchange[0]", "whose tokens"),
    (TRUE, TRUSTED + OWN, "exchange[0].provider", "has no effect with `own`"),
    ("delegation = { actors = [\"none\"] }\n", TRUSTED, "exchange[0].delegation.actors", "there is no rule"),
    ("delegation = { actors = [\"login\"] }\n", TRUSTED, "exchange[0].delegation.actors", "has clients"),
    ("delegation = { actors = [\"login\"], depth = 9 }\n", TRUSTED, "exchange[0].delegation.depth", "1 to 8"),
    ("delegation = { actors = [] }\n", TRUSTED, "exchange[0].delegation.actors", "nobody may act"),
    (TRUE, trust(issuer="https://token.actions.githubusercontent.com", more=', audiences = ["a"]'), "exchange[0].when", "any repository"),
])
def test_what_is_too_wide_or_does_nothing_does_not_start(world, body, source, setting, says):
    check(world, rule("app", body, source=source), entry=ENTRY + (MAY if "claims = {" in body else ""))
    assert setting in world.fails(78, says, "config", "check")
    assert setting in world.fails(78, says, "serve")


@pytest.mark.parametrize("body, says", [
    (TRUE + 'once = true\n', "once"), (TRUE, "own.audiences"), (TRUE + "refresh = true\n", "refresh"),
])
def test_a_rule_for_our_own_tokens_names_audiences_and_is_not_refreshed(world, body, says):
    own = "own = { audiences = [] }\n" if says == "own.audiences" else OWN
    check(world, rule("app", body, None, own), entry=REFRESHING if says == "refresh" else ENTRY)
    assert f"exchange[0].{says}" in world.fails(78, "", "config", "check")


ELSEWHERE = trust(OTHER, "https://else.example", more=', audiences = ["api://theirs"]')


@pytest.mark.parametrize("rules, setting, says", [
    (rule("app", TRUE) + rule("app", 'name = "b"\n' + TRUE, source=ELSEWHERE), "exchange[0].provider", "two users could have one name"),
    (rule("app", 'delegation = { actors = ["b"] }\n') + rule(None, 'name = "b"\n', source=ELSEWHERE), "exchange[0].provider", "of the rule b too"),
    (rule("app", TRUE + "shares_provider = true\n"), "exchange[0].shares_provider", "has no effect"),
    (rule("app", TRUE + "shares_provider = true\n") + rule("app", 'name = "b"\n' + TRUE, source=ELSEWHERE)
     + rule("app", 'name = "c"\n' + TRUE, source=BOTS), "exchange[1].provider", "two users"),
    (rule("app", TRUE, None, OWN.replace(" }", ', clients = ["nobody"] }')), "exchange[0].own.clients", "there is no client"),
    (rule("app", 'delegation = { actors = ["b"] }\n') + rule(None, 'name = "b"\n', None, OWN.replace(" }", ', clients = ["app"] }')),
     "exchange[1].own.clients", "shows its own"),
    (rule("app", TRUE + "bound_to_others = true\n", source=TRUSTED.replace(" }", ", dpop = true }")), "exchange[0].bound_to_others", "keep one"),
    (rule("app", 'delegation = { actors = ["b"] }\n') + rule(None, 'name = "b"\nbound_to_others = true\n', "agents", BOTS),
     "exchange[1].bound_to_others", "judges actor tokens"),
])
def test_what_could_not_be_told_apart_or_has_no_effect_does_not_start(world, rules, setting, says):
    check(world, rules)
    assert setting in world.fails(78, says, "config", "check")


def test_rules_of_one_provider_have_one_place_or_say_that_the_users_are_the_same(world):
    for more, source in [("", TRUSTED.replace("api://theirs", "api://others")), ("shares_provider = true\n", ELSEWHERE)]:
        check(world, rule("app", TRUE), rule("app", 'name = "b"\n' + TRUE + more, source=source))
        world.done("config", "check")


def test_a_rule_by_the_names_of_repositories_is_warned_of(world):
    github = trust(issuer="https://token.actions.githubusercontent.com", more=', audiences = ["a"]')
    check(world, rule("app", TRUE + "when = 'claims.repository == \"a/b\"'\n", source=github))
    outcome = world.run("config", "check")
    assert outcome.returncode == 0 and "repository_id" in outcome.stderr and "exchange[0].when" in outcome.stderr
    check(world, rule("app", TRUE + "when = 'claims.repository_id == \"1\"'\n", source=github))
    outcome = world.run("config", "check")
    assert outcome.returncode == 0 and "repository" not in outcome.stderr
