"""Which of several rules of exchange decides, and that no grant and no parameter leads round it."""

import json
import socket

import pytest
from e2e import wire
from e2e.assertions import Key
from e2e.dpop import Holder
from e2e.program import client
from e2e.test_exchange_rules import (
    AGENTS, BOTS, ENTRY, MAY, TRUSTED, ask, bot, check, own_token, sign,
)
from e2e.test_jwt_bearer import GRANT as JWT_BEARER, LOGIN, minted, trust
from e2e.test_public_clients import EXCHANGE, USERS, public
from e2e.test_token import basic, configuration, refused, send
from e2e.test_token_exchange import GRANT, TYPE

NARROW, WIDE = 'scopes = ["read"]\nimpersonate = true\n', 'scopes = ["*"]\nimpersonate = true\n'


def rule(client, body, source=TRUSTED, grants=(GRANT,), provider="login", once="once = false\n"):
    clients = f'clients = ["{client}"]\ngrants = {json.dumps(grants)}\n' if client else ""
    provider = f'provider = "{provider}"\n' if provider else ""
    return f"\n[[exchange]]\n{clients}{provider}{once}{body}{source}"


NO_DEFAULT = ENTRY.replace('default_scope = ["read", "write", "admin"]\n', "")
BOTH = ENTRY.replace(f'"{GRANT}", ', f'"{GRANT}", "{JWT_BEARER}", ')
KEYS_AWAY = f'trust = {{ issuer = "{LOGIN}", keys_url = "http://127.0.0.1:@AWAY@/keys", algorithms = ["ES256"], audiences = ["api://theirs"] }}\n'
PUBLIC = f'grants = ["{EXCHANGE}"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\nscopes = ["read"]\n'
CLIENTS = [client(name, more=ENTRY) for name in ("ordered", "away", "actors-away")] + [
    client("scopeless", more=NO_DEFAULT), client("both", more=BOTH), public("spa", PUBLIC), client("backend", more=ENTRY),
    client("gateway", more=ENTRY), client("strict", more=ENTRY), client("acting", more=ENTRY)]
RULES = [
    rule("ordered", 'name = "narrow"\n' + NARROW), rule("ordered", 'name = "wide"\n' + WIDE),
    rule("away", 'name = "keys-away"\n' + NARROW, KEYS_AWAY), rule("away", 'name = "wide"\n' + WIDE),
    rule("actors-away", 'scopes = ["*"]\ndelegation = { actors = ["bots-away", "bots"] }\n'),
    rule(None, 'name = "bots-away"\nscopes = ["read"]\n', KEYS_AWAY.replace(LOGIN, AGENTS), provider="agents"),
    rule(None, 'name = "bots"\nscopes = ["*"]\n', BOTS, provider="agents"),
    rule("scopeless", 'scopes = ["*"]\ndelegation = { actors = ["clients"] }\n'),
    rule(None, 'name = "clients"\nscopes = ["*"]\n', 'own = { audiences = ["api://default"] }\n', provider=None, once=""),
    rule("both", WIDE + 'delegation = { actors = ["bots"] }\n', grants=(GRANT, JWT_BEARER)),
    rule("spa", NARROW, trust(USERS), once=""), rule("backend", NARROW, trust(USERS), once=""),
    rule("gateway", NARROW + "bound_to_others = true\n", trust(USERS), once=""), rule("strict", NARROW, trust(USERS, more=", dpop = true"), once=""),
    rule("acting", 'delegation = { actors = ["bound-bots"] }\nbound_to_others = true\n', trust(USERS), once=""),
    rule(None, 'name = "bound-bots"\n', BOTS.replace(" }", ", dpop = true }"), provider="agents"),
]


@pytest.fixture(scope="module")
def server(lasting_authority):
    text = configuration(*CLIENTS, *RULES)
    with socket.socket() as away:
        away.bind(("127.0.0.1", 0))  # and nobody listens
        yield lasting_authority(text.replace("@AWAY@", str(away.getsockname()[1])))


def test_the_first_rule_that_accepts_decides_and_a_name_does_not_choose_another(server):
    assert minted(ask(server, sign(), "ordered"))["scope"] == "read"
    refused(ask(server, sign(), "ordered", scope="admin"), 400, "invalid_scope")
    assert minted(ask(server, sign(), "ordered", subject_issuer="narrow"))["scope"] == "read"
    for scope in ({}, {"scope": "admin"}):
        refused(ask(server, sign(), "ordered", subject_issuer="wide", **scope), 400, "invalid_request", "comes first")
    refused(ask(server, sign(), "ordered", subject_issuer="none"), 400, "invalid_request", "subject_issuer")


@pytest.mark.parametrize("id, actor", [("away", None), ("actors-away", bot)])
def test_a_rule_that_cannot_judge_now_leaves_nothing_to_a_wider_one(server, id, actor):
    answer = ask(server, sign(), id, actor and actor())
    assert answer.status == 503 and answer.json()["error"] == "temporarily_unavailable", answer


def test_an_assertion_that_says_who_may_act_is_not_for_everybody(server):
    def assert_it(**claims):
        form = {"grant_type": JWT_BEARER, "assertion": sign(**claims)}
        return send(server, form, basic("both"))

    claims = minted(assert_it(act={"sub": "bot", "act": {"sub": "first"}}))
    assert claims["act"] == {"sub": "login:bot", "act": {"sub": "login:first"}}
    minted(assert_it(may_act={"iss": server.issuer, "sub": "both"}))
    for may_act in ({"sub": "nobody"}, {"iss": AGENTS, "sub": "bot"}, "both"):
        refused(assert_it(may_act=may_act), 400, "invalid_grant", "may_act")
    refused(assert_it(act="bot"), 400, "invalid_grant", "`act`")


def test_an_actor_token_of_our_own_without_a_scope_has_none(server):
    actor = own_token(server, "scopeless")
    assert "scope" not in json.loads(wire.claims(actor))
    refused(ask(server, sign(), "scopeless", actor, scope="admin"), 400, "invalid_scope")
    assert "scope" not in minted(ask(server, sign(), "scopeless", actor))
    scoped = send(server, {"grant_type": "client_credentials", "scope": "read"}, basic("scopeless")).json()["access_token"]
    assert minted(ask(server, sign(), "scopeless", scoped, scope="read"))["scope"] == "read"


def test_a_bound_token_is_worth_nothing_without_its_key_unless_the_rule_says_that_another_holds_it(server):
    holder, thief = Holder(), Holder()

    def show(proof, id="spa", cnf={"jkt": holder.jkt}, **more):
        shown = USERS.sign(server.issuer, iss=LOGIN, sub="alice", **({"cnf": cnf} if cnf else {}))
        form = {"grant_type": EXCHANGE, "subject_token": shown, "subject_token_type": TYPE + "jwt"} | more
        credentials = {} if id == "spa" else basic(id)
        proof = {"DPoP": proof.proof(f"{server.issuer}/token")} if proof else {}
        return send(server, form | ({} if credentials else {"client_id": id}), credentials | proof)

    for id in ("spa", "backend", "strict"):
        for proof in (None, thief):
            refused(show(proof, id), 400, "invalid_request", "`cnf`")
        assert minted(show(holder, id))["cnf"] == {"jkt": holder.jkt}
        refused(show(holder, id, {"x5t#S256": holder.jkt}), 400, "invalid_request", "cnf")
    # `dpop = true` takes no others; elsewhere one that is bound to nobody needs no proof.
    for proof in (None, holder):
        refused(show(proof, "strict", None), 400, "invalid_request", "cnf")
    assert "cnf" not in minted(show(None, "backend", None))
    # The client was called with it.
    assert "cnf" not in minted(show(None, "gateway"))
    assert minted(show(thief, "gateway"))["cnf"] == {"jkt": thief.jkt}


def test_an_actors_bound_token_is_worth_nothing_without_its_key(server):
    holder, thief = Holder(), Holder()

    def show(proof, cnf={"jkt": holder.jkt}):
        subject = USERS.sign(server.issuer, iss=LOGIN, sub="alice", cnf={"jkt": thief.jkt})
        actor = bot(**({"cnf": cnf} if cnf else {}))
        form = {"grant_type": GRANT, "subject_token": subject, "subject_token_type": TYPE + "jwt", "actor_token": actor, "actor_token_type": TYPE + "jwt"}
        return send(server, form, basic("acting") | ({"DPoP": proof.proof(f"{server.issuer}/token")} if proof else {}))

    for proof in (None, thief):
        refused(show(proof), 400, "invalid_request", "the actor token")
    refused(show(holder, None), 400, "invalid_request", "the actor token")
    assert minted(show(holder))["act"] == {"sub": "agents:bot"}


@pytest.mark.parametrize("rules, entry, setting, says", [
    (rule("app", WIDE) + rule("app", NARROW), ENTRY, "exchange[1].name", "is called"),
    (rule("app", 'bound_to_others = true\nscopes = ["*"]\n', grants=(JWT_BEARER,)) + rule("app", WIDE), BOTH, "exchange[0].bound_to_others", "has no effect"),
    (rule("spa", NARROW + "bound_to_others = true\n", trust(USERS), once="") + public("spa", PUBLIC) + rule("app", WIDE), ENTRY, "exchange[0].bound_to_others", "is public"),
    (rule("app", 'scopes = ["*"]\ndelegation = { actors = ["bots"] }\n', grants=(GRANT, JWT_BEARER))
     + rule(None, 'name = "bots"\n', BOTS, provider="agents"), BOTH, "exchange[0].delegation", "round it"),
    *((rule("app", WIDE + f"claims = {{ {name} = 'claims.x' }}\n"), ENTRY + MAY.replace("[", f'["{name}", ', 1), f"exchange[0].claims.{name}",
       "a rule cannot") for name in ("azp", "cid", "sid", "auth_time")),
])
def test_what_would_lead_round_a_rule_does_not_start(world, rules, entry, setting, says):
    check(world, rules, entry=entry)
    assert setting in world.fails(78, says, "config", "check")


@pytest.mark.parametrize("grants", [None, [JWT_BEARER], [GRANT, JWT_BEARER]])
def test_tokens_of_our_own_are_for_token_exchange_alone(world, grants):
    """An assertion needs neither an actor nor `impersonate`; without `grants` a rule is for those."""
    named = f"grants = {json.dumps(grants)}\n" if grants else ""
    named += "impersonate = true\n" if grants and GRANT in grants else ""
    own = f'\n[[exchange]]\nclients = ["app"]\n{named}scopes = ["*"]\nown = {{ audiences = ["api://default"] }}\n'
    check(world, rule("app", NARROW, grants=(GRANT, JWT_BEARER)), own, entry=BOTH)
    assert "exchange[1].grants" in world.fails(78, "tokens of our own are exchanged by " + GRANT, "config", "check")


SELF = "http://127.0.0.1:@PORT@"
ID_JAG = ', typ = "oauth-id-jag+jwt"'


@pytest.mark.parametrize("rules, at", [
    ([rule("app", NARROW, trust(issuer=SELF), grants=(GRANT, JWT_BEARER))], 0),
    ([rule("app", NARROW, trust(more=f', also_known_as = ["{SELF}"]'), grants=(GRANT, JWT_BEARER))], 0),
    ([rule("app", NARROW, f'trust = {{ preset = "countersign", id = "{SELF}", audiences = ["api://default"] }}\n', grants=(GRANT, JWT_BEARER))], 0),
    ([rule("app", NARROW + 'delegation = { actors = ["bots"] }\n', grants=(GRANT, JWT_BEARER)),
      rule(None, 'name = "bots"\n', trust(issuer=SELF, more=', audiences = ["api://default"]'), provider="agents")], 1),
    ([rule("app", NARROW), rule("app", 'name = "jag"\n', trust(issuer=SELF, more=ID_JAG), grants=(JWT_BEARER,), provider="jag", once="")], 1),
], ids=["by name", "by another name", "by preset", "an actor", "ID-JAGs"])
def test_an_authority_is_no_other_issuer_to_itself(world, rules, at):
    """It would take its own tokens without all that `own` asks of them."""
    check(world, *rules, entry=BOTH)
    assert f"exchange[{at}].trust" in world.fails(78, "take `own`", "config", "check")
