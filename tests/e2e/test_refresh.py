"""The grant `refresh_token` (RFC 6749 section 6): families of tokens, by rules that say so.

What a family does under parallel use, lost answers and crashes is in `stores.a_family_lives_through_fire`, on every engine, and in
the suite of the crate `grants`. The clients are openid-client, oauth4webapi, Authlib and golang.org/x/oauth2.
"""

import base64
import contextlib
import json
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
import toolchains
from authlib.integrations.httpx_client import OAuth2Client, OAuthError
from e2e import stores, wire
from e2e.program import CONFIG, SECRET, client, contents
from e2e.test_jwt_bearer import ALICE, ENTRY, GRANT as JWT_BEARER, PEER, minted, rule, sign, trust
from e2e.test_token import basic, configuration, refused, send
from e2e.test_token_clients import HERE, accepted, node
from e2e.test_token_exchange import GRANT as EXCHANGE, TYPE

GRANT = "refresh_token"
REFRESHED = ENTRY.replace("grants = [", f'grants = ["{GRANT}", ')
REFRESHES = 'scopes = ["read", "write"]\nmax_lifetime = "10m"\nrefresh = true\n'
CLIENTS = [
    client("app", more=REFRESHED), client("other", more=REFRESHED), client("without", more=ENTRY),
    client("backend", more=REFRESHED.replace(JWT_BEARER, EXCHANGE)),
    client("worker", more='grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\n'),
]
SHOWN = f'grants = ["{EXCHANGE}"]\nimpersonate = true\nonce = false\nscopes = ["read"]\nrefresh = true\n'
RULES = [
    rule(more=REFRESHES), rule("other", more=REFRESHES), rule("without", more=REFRESHES.replace("refresh = true\n", "")),
    rule("backend", "shown", SHOWN, trust(more=', audiences = ["api://theirs"]')),
]
#: Short enough to be seen to end, and the same for all servers.
SHORT = '\n[refresh]\ngrace = "1s"\nidle = "20s"\nabsolute = "40s"\n\n[rotation]\nskew = "1s"\n'


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS, *RULES))


def begin(server, id="app", **parameters):
    """The answer with the first token of a family."""
    form = {"grant_type": JWT_BEARER, "assertion": sign(server)} | parameters
    answer = send(server, form, basic(id))
    assert answer.status == 200, answer
    return answer.json()


def refresh(server, token, id="app", **parameters):
    return send(server, {"grant_type": GRANT, "refresh_token": token} | parameters, basic(id))


def next_token(answer):
    assert answer.status == 200, answer
    return answer.json()["refresh_token"]


def test_a_family_goes_on_with_what_was_granted(server):
    first = begin(server, scope="write read")
    assert set(first) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert first["refresh_token"].startswith("csref_")
    answer = refresh(server, first["refresh_token"])
    claims, body = minted(answer), answer.json()
    assert set(body) == set(first) and body["refresh_token"] != first["refresh_token"]
    assert answer.headers["cache-control"] == "no-store"
    assert claims["sub"] == "login:alice" and claims["client_id"] == "app" and claims["scope"] == body["scope"] == "write read"
    assert claims["exp"] - claims["iat"] == 600 and claims["aud"] == "api://default"
    before = json.loads(wire.claims(first["access_token"]))
    assert set(claims) == set(before) and claims["jti"] != before["jti"]
    assert claims["jti"].split(".")[0] == before["jti"].split(".")[0], "tokens of one family are known by their `jti`"


def test_it_outlives_the_assertion_that_began_it(server):
    ends = int(time.time()) + 10
    answer = send(server, {"grant_type": JWT_BEARER, "assertion": sign(server, exp=ends)}, basic("app"))
    assert minted(answer)["exp"] <= ends
    assert minted(refresh(server, next_token(answer)))["exp"] > ends


def test_nobody_gets_one_unless_rule_and_client_say_so(server):
    assert "refresh_token" not in begin(server, "without")
    token = begin(server)["refresh_token"]
    refused(refresh(server, token, "without"), 400, "unauthorized_client")
    answer = send(server, {"grant_type": "client_credentials"}, basic("worker"))
    assert answer.status == 200 and "refresh_token" not in answer.json()


def test_of_the_clients_of_one_rule_those_get_one_that_have_the_grant(authority):
    both = rule(more=REFRESHES).replace('clients = ["app"]', 'clients = ["app", "without"]')
    server = authority(configuration(CLIENTS[0], CLIENTS[2], both))
    assert "refresh_token" in begin(server) and "refresh_token" not in begin(server, "without")


def test_token_exchange_gives_one_too(server):
    form = {"grant_type": EXCHANGE, "subject_token": ALICE.sign("api://theirs", iss="https://login.example"), "subject_token_type": TYPE + "access_token"}
    answer = send(server, form, basic("backend"))
    assert answer.status == 200 and answer.json()["issued_token_type"] == TYPE + "access_token"
    answer = refresh(server, next_token(answer), "backend")
    assert minted(answer)["sub"] == "shown:alice" and "issued_token_type" not in answer.json()


def test_scope_and_audience_only_narrow(server):
    token = begin(server, scope="read write", audience="api://other")["refresh_token"]
    answer = refresh(server, token, scope="read")
    assert minted(answer)["scope"] == answer.json()["scope"] == "read" and minted(answer)["aud"] == "api://other"
    token = next_token(answer)
    refused(refresh(server, token, scope="admin"), 400, "invalid_scope")
    refused(refresh(server, token, scope="read admin"), 400, "invalid_scope")
    refused(refresh(server, token, scope="read  write"), 400, "invalid_scope")
    refused(refresh(server, token, audience="api://default"), 400, "invalid_target")
    refused(refresh(server, token, resource="api://other#x"), 400, "invalid_target")
    # RFC 6749 section 6: the family keeps its scope, and nothing that was refused has turned it.
    answer = refresh(server, token, audience="api://other")
    assert minted(answer)["scope"] == "read write"
    less = begin(server, scope="read")["refresh_token"]
    refused(refresh(server, less, scope="write"), 400, "invalid_scope")
    refused(refresh(server, less, scope="read write"), 400, "invalid_scope")
    without = begin(server)["refresh_token"]
    refused(refresh(server, without, scope="read"), 400, "invalid_scope")
    assert "scope" not in minted(refresh(server, without))


def test_a_retry_gets_the_same_successor_and_the_chain_goes_on(server):
    token = begin(server)["refresh_token"]
    first = next_token(refresh(server, token))
    assert {next_token(refresh(server, token)) for _ in range(5)} == {first}
    second = next_token(refresh(server, first))
    assert next_token(refresh(server, token)) == first and next_token(refresh(server, first)) == second
    assert next_token(refresh(server, second)) not in (token, first, second)


def mangled(token, at):
    raw = bytearray(base64.urlsafe_b64decode(token[6:] + "=="))
    raw[at] ^= 1
    return "csref_" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


#: What a token may be, made of a good one of `app`, and what RFC 6749 section 5.2 calls it.
WRONG = {
    "made up": lambda token: "csref_" + "A" * 91, "not a token": lambda token: wire.MARK, "huge": lambda token: "csref_" + "A" * 60000,
    "of another family": lambda token: mangled(token, 0), "of another generation": lambda token: mangled(token, 19),
    "with another secret": lambda token: mangled(token, 20), "with another check": lambda token: mangled(token, 60),
    "cut off": lambda token: token[:-1], "longer": lambda token: token + "A", "with a space": lambda token: token + " ",
    "in another case": lambda token: token.upper(), "an access token": lambda token: "eyJhbGciOiJub25lIn0.e30.",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_was_never_made_is_an_invalid_grant_and_harms_nobody(server, name):
    token = begin(server)["refresh_token"]
    refused(refresh(server, WRONG[name](token)), 400, "invalid_grant")
    assert refresh(server, token).status == 200


def test_errors_have_the_codes_of_rfc_6749_and_turn_nothing(server):
    token = begin(server)["refresh_token"]
    form = {"grant_type": GRANT, "refresh_token": token}
    for body, headers, status, error in [
        ({"grant_type": GRANT}, basic("app"), 400, "invalid_request"),
        ({"grant_type": GRANT, "refresh_token": ""}, basic("app"), 400, "invalid_request"),
        ([*form.items(), ("refresh_token", token)], basic("app"), 400, "invalid_request"),
        (form, {}, 401, "invalid_client"),
        (form | {"client_id": "app"}, {}, 401, "invalid_client"),
        (form, basic("app", "wrong"), 401, "invalid_client"),
        (form, basic("other"), 400, "invalid_grant"),
        (form, basic("worker"), 400, "unauthorized_client"),
        (form | {"resource": "x"}, basic("app"), 400, "invalid_target"),
        (form | {"scope": "a\tb"}, basic("app"), 400, "invalid_scope"),
        (form | {"grant_type": "refresh"}, basic("app"), 400, "unsupported_grant_type"),
    ]:
        refused(send(server, body, headers), status, error)
    assert refresh(server, token).status == 200


def test_a_replay_ends_its_family_alone_and_says_which_token_came_how_late(authority):
    server = authority(configuration(*CLIENTS[:2], *RULES[:2]) + SHORT)
    old, other = begin(server)["refresh_token"], begin(server)["refresh_token"]
    live = next_token(refresh(server, old))
    live = next_token(refresh(server, live))
    time.sleep(4)
    # Another client learns nothing, and does no harm.
    refused(refresh(server, old, "other"), 400, "invalid_grant", "is not known")
    refused(refresh(server, old), 400, "invalid_grant", "token 1 came, 3 was made")
    refused(refresh(server, live), 400, "invalid_grant", "is not known")
    assert refresh(server, other).status == 200
    events = [json.loads(line) for line in server.log.splitlines() if line]
    [event] = [event for event in events if event.get("code") == "refresh_token_replayed"]
    assert event["client"] == "app" and event["grant"] == GRANT and "token 1 came, 3 was made" in event["reason"]
    assert not any(token[6:40] in server.log for token in (old, live, other)), "no token is in the log"


def test_a_family_ends_with_idleness_and_with_age(authority):
    server = authority(configuration(CLIENTS[0], RULES[0]) + SHORT.replace("20s", "6s").replace("40s", "9s"))
    idle, used, began = begin(server)["refresh_token"], begin(server)["refresh_token"], time.monotonic()
    while time.monotonic() < began + 7:
        used = next_token(refresh(server, used))
        time.sleep(1.5)
    refused(refresh(server, idle), 400, "invalid_grant")
    time.sleep(max(0, began + 10 - time.monotonic()))
    refused(refresh(server, used), 400, "invalid_grant")


def test_a_family_dies_with_its_rule_its_grant_or_its_scopes(world):
    port = world.configure(CONFIG + client("app", more=REFRESHED) + rule(more=REFRESHES))
    server = world.serve()
    issuer = server.printed["issuer"]

    class Here:
        pass

    Here.issuer = issuer
    token = begin(Here, scope="read write")["refresh_token"]
    changed = [
        (client("app", more=REFRESHED) + rule("app", "new", REFRESHES), 400, "unauthorized_client", {}),
        (client("app", more=REFRESHED) + rule(more=REFRESHES, trusted=trust(PEER, "https://other.example")), 400, "unauthorized_client", {}),
        # The same issuer, and something else by which its tokens are believed.
        *((client("app", more=REFRESHED) + rule(more=REFRESHES + more, trusted=trusted), 400, "unauthorized_client", {}) for more, trusted in [
            ("", trust(PEER)), ("", trust(more=', audiences = ["api://theirs"]')), ("", trust(more=', typ = "at+jwt"')),
            ("", trust(more=', claims = { team = "a" }')), ("", trust().replace('["ES256"]', '["ES256", "RS256"]')),
            ("when = 'claims.team == \"a\"'\n", trust()),
        ]),
        # What changes nothing about that.
        (client("app", more=REFRESHED) + rule(more=REFRESHES.replace("10m", "5m"), trusted=trust(more=', leeway = "20s"')), 200, "read write", {}),
        # Another rule of the client gives refresh tokens, and this one does not any more.
        (client("app", more=REFRESHED) + rule("app", "new", REFRESHES) + rule(more=REFRESHES.replace("refresh = true\n", "")), 400, "unauthorized_client", {}),
        (client("app", more=ENTRY) + rule(more=REFRESHES.replace("refresh = true\n", "")), 400, "unsupported_grant_type", {}),
        (client("app", more=REFRESHED) + rule(more=REFRESHES.replace('"read", "write"', '"admin"')), 400, "invalid_scope", {}),
        (client("app", more=REFRESHED.replace('"api://default", ', "")) + rule(more=REFRESHES), 400, "invalid_target", {}),
        (client("app", more=REFRESHED) + rule(more=REFRESHES.replace('"read", "write"', '"read"')), 200, "read", {}),
    ]
    for more, status, says, parameters in changed:
        server.kill()
        server.wait()
        world.configure(CONFIG + more, port)
        server = world.serve()
        answer = refresh(Here, token, **parameters)
        if status == 200:
            assert minted(answer)["scope"] == says
            token = next_token(answer)
        else:
            refused(answer, status, says)


def test_a_family_dies_with_what_was_believed_of_its_actor(world):
    from e2e.test_exchange_rules import BOT, BOTS, OTHER, REFRESHING, ask as exchange, bot, rule as by_exchange, sign as subject
    from e2e.test_exchange_rules import AGENTS

    def configured(bots, when="true == claims.is_bot"):
        acting = 'refresh = true\nscopes = ["read"]\ndelegation = { actors = ["bots"] }\n'
        actors = by_exchange(None, f"name = \"bots\"\nscopes = [\"read\"]\nwhen = '{when}'\n", "agents", bots)
        return CONFIG + client("app", more=REFRESHING) + by_exchange("app", acting) + actors

    class Here:
        pass

    port = world.configure(configured(BOTS))
    server = world.serve()
    Here.issuer = server.printed["issuer"]
    token = next_token(exchange(Here, subject(), "app", bot(is_bot=True)))
    for text, status in [
        (configured(trust(OTHER, AGENTS, more=', audiences = ["api://theirs"]')), 400),
        (configured(trust(BOT, AGENTS, more=', audiences = ["api://others"]')), 400),
        (configured(BOTS, "claims.is_bot == true && claims.kind == \"bot\""), 400), (configured(BOTS), 200),
    ]:
        server.kill()
        server.wait()
        world.configure(text, port)
        server = world.serve()
        answer = refresh(Here, token)
        assert answer.status == status and answer.json().get("error") in (None, "unauthorized_client"), answer


def test_nothing_that_is_stored_is_a_token_and_what_others_wrote_is_refused(authority):
    server = authority(configuration(CLIENTS[0], RULES[0]))
    token = begin(server)["refresh_token"]
    live = next_token(refresh(server, token))
    file = server.folder / "countersign/countersign.db"
    with sqlite3.connect(file) as database:
        [(name, bytes, version)] = database.execute("SELECT key, bytes, version FROM documents WHERE key LIKE 'refresh/%'").fetchall()
        for shown in (token, live):
            assert shown[28:90].encode() not in bytes and shown[40:70].encode() not in bytes
        database.execute("UPDATE documents SET bytes = ? WHERE key = ?", (bytes.replace(b"login:alice", b"login:admin"), name))
    database.close()
    refused(refresh(server, live), 400, "invalid_grant", "not what this authority wrote")
    with sqlite3.connect(file) as database:
        database.execute("UPDATE documents SET bytes = ? WHERE key = ?", (bytes, name))
    database.close()
    assert refresh(server, live).status == 200


def test_while_the_store_is_away_nothing_is_lost(authority):
    server = authority(configuration(CLIENTS[0], RULES[0]))
    token = begin(server)["refresh_token"]
    file = server.folder / "countersign/countersign.db"
    lock = sqlite3.connect(file, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        refused(refresh(server, token), 503, "temporarily_unavailable")
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    assert refresh(server, token).status == 200


def test_discovery_names_the_grant_where_somebody_has_it(server, authority):
    found = wire.get(server.issuer, "/.well-known/openid-configuration").json()
    assert GRANT in found["grant_types_supported"]
    none = authority(configuration(CLIENTS[2], RULES[2]))
    assert GRANT not in wire.get(none.issuer, "/.well-known/openid-configuration").json()["grant_types_supported"]
    refused(refresh(none, "csref_x", "without"), 400, "unsupported_grant_type")


@pytest.mark.parametrize("config, setting, says", [
    (client("app", more=REFRESHED) + rule(), "clients.app.grants", "refresh = true"),
    (client("app", more=ENTRY) + rule(more=REFRESHES), "exchange[0].refresh", "has no effect"),
    (client("app", more=REFRESHED) + rule(more=REFRESHES) + '\n[refresh]\ngrace = "11m"\n', "refresh.grace", "10m"),
    (client("app", more=REFRESHED) + rule(more=REFRESHES) + '\n[refresh]\nidle = "91days"\n', "refresh.idle", "refresh.absolute"),
    (client("app", more=REFRESHED) + rule(more=REFRESHES) + '\n[refresh]\nidle = "30s"\n', "refresh.grace", "not less than"),
    (client("app", more=REFRESHED) + rule(more=REFRESHES) + '\n[refresh]\nidle = "0s"\n', "refresh.idle", ""),
    (client("app", more=REFRESHED) + rule(more=REFRESHES) + '\n[refresh]\nabsolute = "401days"\n', "refresh.absolute", ""),
    (client("app", more=REFRESHED.replace(f', "{JWT_BEARER}"', "")) + rule(more=REFRESHES), "exchange[0].clients", "does not have the grant"),
    (client("app", more='grants = ["refresh_token"]\nprofiles = ["access_token"]\naudiences = ["a:b"]\n'), "clients.app.grants", "refresh = true"),
    (client("app", more=REFRESHED) + rule(more=f'grants = ["{JWT_BEARER}", "{GRANT}"]\nrefresh = true\n'), "exchange[0].grants", "exchanges nothing"),
])
def test_what_would_give_nobody_a_token_does_not_start(world, config, setting, says):
    world.configure(CONFIG + config)
    assert setting in world.fails(78, says, "config", "check")


@pytest.mark.parametrize("program", ["refresh_openid_client.mjs", "refresh_oauth4webapi.mjs"])
def test_clients_in_node_refresh(server, program):
    answer = node(program, server, client="app", secret=SECRET, scope="read write", narrower="read", grant=JWT_BEARER,
                  more={"assertion": sign(server)})
    tokens = [answer[name]["refresh_token"] for name in ("first", "second", "third")]
    assert len(set(tokens)) == 3
    assert answer["second"]["scope"] == "read" and answer["third"]["scope"] == "read write"
    accepted(server, answer["second"]["access_token"], "app", sub="login:alice")
    assert answer["refused"] == {"error": "invalid_scope", "status": 400}
    assert answer["unknown"] == {"error": "invalid_grant", "status": 400}


def test_authlib_refreshes_by_itself(server):
    kept = []
    with OAuth2Client("app", SECRET, token_endpoint=f"{server.issuer}/token", update_token=lambda token, **_: kept.append(token)) as session:
        first = session.fetch_token(grant_type=JWT_BEARER, assertion=sign(server), scope="read")
        second = session.refresh_token(refresh_token=first["refresh_token"])
        accepted(server, second["access_token"], "app", sub="login:alice")
        assert second["refresh_token"] != first["refresh_token"]
        # An expired token is refreshed before it would be used.
        session.token = dict(second, expires_at=1)
        session.ensure_active_token(session.token)
        assert kept and kept[-1]["refresh_token"] not in (first["refresh_token"], second["refresh_token"])
        with pytest.raises(OAuthError) as why:
            session.refresh_token(refresh_token="csref_AAAA")
        assert why.value.error == "invalid_grant"


def test_x_oauth2_of_go_refreshes_by_itself(server):
    try:
        program = toolchains.refreshing_client_in_go()
    except toolchains.Missing as why:
        return toolchains.not_tested("golang.org/x/oauth2", why)
    token = begin(server, scope="read")["refresh_token"]
    arguments = [program, f"{server.issuer}/token", "app", SECRET, token]
    answer = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert len({token, answer["first"], answer["second"]}) == 3 and answer["refused"] == "invalid_grant"
    accepted(server, answer["token"], "app", sub="login:alice")


def test_a_family_lives_through_fire_on_one_file(world):
    stores.a_family_lives_through_fire(world, "sqlite:countersign.db")


def test_a_family_lives_with_clocks_apart_on_one_file(world):
    stores.a_family_lives_with_clocks_apart_and_lost_answers(world, "sqlite:countersign.db")


def test_a_server_killed_between_its_write_and_its_answer_has_turned_a_family_once(world, tmp_path_factory):
    """SQLite is in the process itself: a library that is preloaded kills it when it has synced the family."""
    library, order = tmp_path_factory.mktemp("die") / "die_after_sync.so", world.folder / "die"
    source = Path(__file__).with_name("die_after_sync.c")
    command = ["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    world.environment |= {"LD_PRELOAD": str(library), "DIE_AFTER_SYNC": str(order)}

    @contextlib.contextmanager
    def killing(_):
        order.touch()
        yield
        assert not order.exists(), "the library killed it"

    def families():
        rows = contents(world.folder)["countersign.db"]
        return {name: rest for name, *rest in rows if name.startswith("refresh/")}

    stores.a_server_killed_between_its_write_and_its_answer_has_turned_once(
        world, "sqlite:countersign.db", killing, families)
