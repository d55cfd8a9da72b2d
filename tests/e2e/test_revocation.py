"""`POST /revoke` (RFC 7009), `POST /introspect` (RFC 7662, RFC 9701), `countersign tokens revoke`, and the signed list at
`/.well-known/revoked.jwt` with the gate that follows it.

The clients are oauth4webapi, openid-client and Authlib; signed answers are verified by jose and PyJWT.
"""

import concurrent.futures
import datetime
import json
import signal
import sqlite3
import time
from urllib.parse import urlencode

import jwt
import pytest
from authlib.integrations.httpx_client import OAuth2Client
from e2e import clocks, wire
from e2e.program import CONFIG, SECRET, client, free_port, until
from e2e.test_jwt_bearer import GRANT as JWT_BEARER, rule, sign
from e2e.test_refresh import GRANT as REFRESH, REFRESHED, REFRESHES, mangled, next_token, refresh
from e2e.test_token import basic, configuration, refused, send
from e2e.test_token_clients import node

WORKER = 'grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default", "api://other"]\nscopes = ["read"]\n'
API = 'introspect = ["api://default"]\n'
CLIENTS = [
    client("app", more=REFRESHED), client("another", more=REFRESHED), client("worker", more=WORKER), client("api", more=API),
    client("any", more='introspect = ["*"]\n' + WORKER), client("signer", more='audiences = ["api://default"]\nclaims = { allow = ["*"] }'),
]
RULES = [rule(more=REFRESHES), rule("another", more=REFRESHES)]


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS, *RULES))


def own_token(server, id="worker", **parameters):
    answer = send(server, {"grant_type": "client_credentials"} | parameters, basic(id))
    assert answer.status == 200, answer
    return answer.json()["access_token"]


def begin(server, id="app", **claims):
    form = {"grant_type": JWT_BEARER, "assertion": sign(server, **claims), "scope": "read"}
    answer = send(server, form, basic(id))
    assert answer.status == 200, answer
    return answer.json()


def sign_http(server, claims):
    headers = {"Authorization": wire.basic("signer", SECRET), "Content-Type": "application/json"}
    return wire.ask(server.issuer, "POST", "/sign", headers, json.dumps({"data": claims}).encode()).json()["access_token"]


def revoke(server, token, id="worker", **parameters):
    return send(server, {"token": token} | parameters, basic(id), "/revoke")


def revoked(answer):
    assert answer.status == 200 and answer.body == b"" and answer.headers["cache-control"] == "no-store", answer
    assert answer.headers["x-request-id"], answer


def introspect(server, token, id="api", accept=None, **parameters):
    headers = basic(id) | ({"Accept": accept} if accept else {})
    return send(server, {"token": token} | parameters, headers, "/introspect")


def worth(server, token, id="api"):
    answer = introspect(server, token, id)
    assert answer.status == 200 and answer.headers["content-type"] == "application/json", answer
    assert answer.headers["cache-control"] == "no-store", answer
    return answer.json()


INACTIVE = {"active": False}


def test_an_active_token_is_told_as_it_is(server):
    token = own_token(server, scope="read")
    claims = json.loads(wire.claims(token))
    assert worth(server, token) == {"active": True, "token_type": "Bearer"} | claims
    # Whatever its claims are, but what the answer says by itself.
    given = {"sub": "alice", "plan": {"name": "gold", "n": [1, None]}, 'a "b"\n': "x", "team": "red"}
    token = sign_http(server, given | {"active": "no", "token_type": "none"})
    told = worth(server, token)
    assert told == json.loads(wire.claims(token)) | {"active": True, "token_type": "Bearer"} and given.items() <= told.items()


def test_claims_that_a_rule_gives_and_fixed_ones_are_told(authority):
    entry = REFRESHED + 'claims = { allow = ["name"], fixed = { tenant = "acme" } }\n'
    server = authority(configuration(client("app", more=entry), client("api", more=API), rule(more=REFRESHES + "claims = { name = 'claims.name' }\n")))
    told = worth(server, begin(server, name="Alice")["access_token"])
    assert (told["active"], told["name"], told["tenant"], told["sub"]) == (True, "Alice", "acme", "login:alice")


#: What is not worth anything, made of a good token; nobody is told why.
WORTHLESS = {
    "made up": lambda s: wire.MARK, "empty parts": lambda s: "..", "huge": lambda s: "a" * 60000,
    "of another issuer": lambda s: sign(s), "for others": lambda s: own_token(s, audience="api://other"),
    "with another signature": lambda s: own_token(s)[:-8] + "AAAAAAAA", "a refresh token": lambda s: begin(s)["refresh_token"],
    "an unsigned one": lambda s: "eyJhbGciOiJub25lIn0." + own_token(s).split(".")[1] + ".",
    "a list": lambda s: wire.get(s.issuer, "/.well-known/revoked.jwt").body.decode(),
}


@pytest.mark.parametrize("name", WORTHLESS)
def test_what_is_worth_nothing_is_not_active_and_nobody_is_told_why(server, name):
    assert worth(server, WORTHLESS[name](server)) == INACTIVE


def test_a_token_that_has_expired_is_not_active(authority):
    server = authority(configuration(client("worker", more=WORKER + 'max_lifetime = "7s"\n'), client("api", more=API)))
    token = own_token(server)
    assert worth(server, token)["active"]
    time.sleep(3.5)
    assert worth(server, token) == INACTIVE
    revoked(revoke(server, token))


def test_only_who_may_is_told_anything(server):
    token = own_token(server, audience="api://other")
    assert worth(server, token, "any")["active"] and worth(server, token) == INACTIVE
    refused(introspect(server, token, "worker"), 400, "unauthorized_client", "introspect")
    refused(introspect(server, token, "signer"), 400, "unauthorized_client", "introspect")


def test_an_answer_may_be_a_signed_jwt(server):
    token = own_token(server, scope="read")
    for asked, told in [(token, {"active": True, "token_type": "Bearer"} | json.loads(wire.claims(token))), ("x", INACTIVE)]:
        answer = introspect(server, asked, accept="application/token-introspection+jwt")
        assert answer.headers["content-type"] == "application/token-introspection+jwt"
        text = answer.body.decode()
        assert wire.header(text)["typ"] == "token-introspection+jwt"
        keys = jwt.PyJWKSet.from_dict(wire.get(server.issuer, "/.well-known/jwks.json").json())
        claims = jwt.decode(text, keys[wire.header(text)["kid"]], ["ES256"], audience="api", issuer=server.issuer)
        assert set(claims) == {"iss", "aud", "iat", "token_introspection"} and claims["token_introspection"] == told
        # Nobody takes it for a token.
        assert worth(server, text, "any") == INACTIVE
    assert introspect(server, token, accept="application/json").headers["content-type"] == "application/json"


#: Body, headers, path, status and error: RFC 7009 section 2.2.1 and RFC 7662 section 2.3, by RFC 6749 section 5.2.
def errors(server):
    token, form = own_token(server), begin(server)
    both = {"token": token}
    for path in ("/revoke", "/introspect"):
        for body, headers, status, error in [
            ({}, basic("any"), 400, "invalid_request"), ({"token": ""}, basic("any"), 400, "invalid_request"),
            ([("token", token), ("token", token)], basic("any"), 400, "invalid_request"),
            ([("token", token), ("token_type_hint", "a"), ("token_type_hint", "b")], basic("any"), 400, "invalid_request"),
            (both, {}, 401, "invalid_client"), (both, basic("any", "wrong"), 401, "invalid_client"),
            (both, basic("nobody"), 401, "invalid_client"), (both | {"client_id": "any"}, {}, 401, "invalid_client"),
            (both | {"client_id": "api", "client_secret": SECRET}, basic("any"), 400, "invalid_request"),
            (json.dumps(both), basic("any") | {"Content-Type": "application/json"}, 400, "invalid_request"),
            (b"token=%FF", basic("any"), 400, "invalid_request"), ("token=" + "x" * 70000, basic("any"), 413, "invalid_request"),
            (both, basic("signer"), 400, "unauthorized_client"),
        ]:
            yield path, "POST", body, headers, status, error
        yield path, "GET", "", basic("any"), 405, "invalid_request"
    yield "/revoke", "POST", both, basic("any"), 400, "unauthorized_client"
    yield "/revoke", "POST", {"token": form["refresh_token"]}, basic("another"), 400, "unauthorized_client"
    yield "/revoke", "POST", {"token": sign_http(server, {"sub": "x"})}, basic("any"), 400, "unsupported_token_type"
    # Of those nobody asks whether they are revoked: they stay good, and are not said to be revoked.
    for stays in [the_list(server).body.decode(), introspect(server, token, "any", "application/token-introspection+jwt").body.decode()]:
        yield "/revoke", "POST", {"token": stays}, basic("any"), 400, "unsupported_token_type"


def test_errors_have_the_codes_of_rfc_7009_and_7662_and_revoke_nothing(server):
    for path, method, body, headers, status, error in errors(server):
        answer = send(server, body, headers, path, method)
        refused(answer, status, error)
    assert worth(server, own_token(server))["active"]


def test_what_is_revoked_is_not_active_from_then_on_and_nothing_else_is(server):
    token, other = own_token(server), own_token(server)
    for hint in (None, "access_token", "refresh_token", "nonsense"):
        revoked(revoke(server, token, **({"token_type_hint": hint} if hint else {})))
        assert worth(server, token) == INACTIVE
    assert worth(server, other)["active"]
    for unknown in (wire.MARK, "csref_" + "A" * 91, mangled(begin(server)["refresh_token"], 30), sign(server), "a.b.c"):
        revoked(revoke(server, unknown))


def test_another_signature_of_a_revoked_token_is_revoked_too(server):
    """ECDSA signs twice in two ways, and `-s` is as good as `s`; tokens are known by their `jti`."""
    import base64
    token = own_token(server)
    revoked(revoke(server, token))
    head, signature = token.rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    flipped = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    variant = head + "." + base64.urlsafe_b64encode(flipped).decode().rstrip("=")
    keys = jwt.PyJWKSet.from_dict(wire.get(server.issuer, "/.well-known/jwks.json").json())
    jwt.decode(variant, keys[wire.header(variant)["kid"]], ["ES256"], audience="api://default")
    assert worth(server, variant) == INACTIVE


def test_a_refresh_token_that_is_revoked_takes_its_family_with_it(server):
    for old in (False, True):
        first = begin(server)
        second = refresh(server, first["refresh_token"])
        access = [first["access_token"], second.json()["access_token"]]
        assert all(worth(server, token)["active"] for token in access)
        other = begin(server)
        revoked(revoke(server, first["refresh_token"] if old else next_token(second), "app"))
        for token in (first["refresh_token"], next_token(second)):
            refused(refresh(server, token), 400, "invalid_grant")
        # Nothing of it is left that could be used when the entry has gone.
        family = json.loads(wire.claims(access[0]))["jti"].split(".")[0]
        with sqlite3.connect(documents(server)) as database:
            assert not database.execute("SELECT key FROM documents WHERE key = ?", (f"refresh/{family}",)).fetchall()
        database.close()
        assert all(worth(server, token) == INACTIVE for token in access)
        assert worth(server, other["access_token"])["active"] and refresh(server, other["refresh_token"]).status == 200


def test_a_replayed_family_loses_its_access_tokens(authority):
    short = '\n[refresh]\ngrace = "0s"\n\n[rotation]\nskew = "0s"\n'
    server = authority(configuration(*CLIENTS, *RULES) + short)
    first = begin(server)
    second = refresh(server, first["refresh_token"])
    time.sleep(1.2)
    refused(refresh(server, first["refresh_token"]), 400, "invalid_grant", "used before")
    assert worth(server, first["access_token"]) == worth(server, second.json()["access_token"]) == INACTIVE


def command(server, *arguments):
    return server.run("tokens", *arguments).stdout


def test_the_command_line_revokes_a_subject_a_client_a_token_and_a_family(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    alice, bob = begin(server), begin(server, sub="bob")
    said = command(server, "revoke", "--subject", "login:alice", "--after-now", "0s")
    assert "all tokens of subject login:alice that are issued until" in said
    assert worth(server, alice["access_token"]) == INACTIVE and worth(server, bob["access_token"])["active"]
    refused(refresh(server, alice["refresh_token"]), 400, "invalid_grant", "is not known")
    live = next_token(refresh(server, bob["refresh_token"]))
    # What is issued later is not revoked; `iat` lies 5 s back.
    time.sleep(7)
    assert worth(server, begin(server)["access_token"])["active"]
    command(server, "revoke", "--client", "app", "--after-now", "0s")
    refused(refresh(server, live), 400, "invalid_grant")
    assert worth(server, bob["access_token"]) == INACTIVE
    one, two, third = own_token(server), own_token(server), begin(server, "another")
    command(server, "revoke", "--jti", json.loads(wire.claims(one))["jti"])
    assert worth(server, one) == INACTIVE and worth(server, two)["active"]
    command(server, "revoke", "--family", json.loads(wire.claims(third["access_token"]))["jti"].split(".")[0])
    assert worth(server, third["access_token"]) == INACTIVE
    refused(refresh(server, third["refresh_token"], "another"), 400, "invalid_grant")
    rows = json.loads(command(server, "revoked", "--json"))["revocations"]
    assert [(row["revoked"], row["name"]) for row in rows] == [
        ("subject", "login:alice"), ("client", "app"), ("token", None), ("family", None)]
    assert "subject login:alice, issued until" in command(server, "revoked")
    # Without a time it is what servers whose clock is ahead have issued, too.
    assert json.loads(command(server, "revoke", "--subject", "worker", "--json"))["issued_until"]
    assert worth(server, own_token(server)) == INACTIVE


def kept(server):
    """Until when each entry is kept, in seconds since 1970."""
    rows = json.loads(command(server, "revoked", "--json"))["revocations"]
    return [datetime.datetime.fromisoformat(row["kept_until"]).timestamp() for row in rows]


def restarted(server, *changes):
    """The same authority with another configuration."""
    file = server.folder / "countersign/countersign.toml"
    text = file.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    server.stop()
    file.write_text(text)
    server.start()


def test_what_is_revoked_stays_so_until_what_an_earlier_configuration_has_minted_has_expired(authority):
    long = 'max_lifetime = "2h"'
    api = client("api", more=API + 'max_lifetime = "20s"\n')
    server = authority(configuration(CLIENTS[0], api, rule(more=REFRESHES.replace('max_lifetime = "10m"\n', ""))))
    first, replayed = [begin(server, exp=int(time.time()) + 7000) for _ in range(2)]
    newer = next_token(refresh(server, replayed["refresh_token"]))
    ends = [json.loads(wire.claims(each["access_token"]))["exp"] for each in (first, replayed)]
    assert min(ends) > time.time() + 3000
    restarted(server, (long, 'max_lifetime = "20s"'), ("[rings.default]", '[refresh]\ngrace = "0s"\n\n[rotation]\nskew = "0s"\n\n[rings.default]'))
    revoked(revoke(server, first["refresh_token"], "app"))
    assert worth(server, first["access_token"]) == INACTIVE
    time.sleep(1.2)
    refused(refresh(server, replayed["refresh_token"]), 400, "invalid_grant", "used before")
    refused(refresh(server, newer), 400, "invalid_grant")
    assert len(kept(server)) == 2 and min(kept(server)) >= max(ends)


def test_what_the_command_line_revokes_is_kept_for_as_long_as_what_it_signs_may_live(authority):
    ring = '[rings.default]\nlongest_token = "30d"\n'
    server = authority(configuration(client("gone", more=WORKER + 'max_lifetime = "3d"\n'), client("api", more=API)).replace("[rings.default]\n", ring))
    token = server.run("sign", "--lifetime", "29d", "--claims", '{"sub":"alice"}', "--audience", "api://default").stdout.strip()
    claims = json.loads(wire.claims(token))
    reaches = [("--jti", claims["jti"]), ("--family", "x"), ("--subject", "alice"), ("--client", "gone")]
    for name, value in reaches:
        command(server, "revoke", name, value)
    assert len(kept(server)) == 4 and min(kept(server)) >= claims["exp"]
    # Nobody can sign for so long any more, and the client is not there; what was signed is good still.
    restarted(server, (ring, "[rings.default]\n"), ('id = "gone"', 'id = "here"'), ('max_lifetime = "3d"', 'max_lifetime = "1h"'))
    for name, value in reaches:
        command(server, "revoke", name, value + "2")
    assert len(kept(server)) == 8 and min(kept(server)) >= claims["exp"]


def test_revocations_that_race_are_all_kept(server):
    tokens = [own_token(server) for _ in range(24)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for answer in pool.map(lambda token: revoke(server, token), tokens):
            if answer.status != 200:
                refused(answer, 503, "temporarily_unavailable")
    for token in tokens:
        revoked(revoke(server, token))
        assert worth(server, token) == INACTIVE


def documents(server):
    return server.folder / "countersign/countersign.db"


def test_what_somebody_else_wrote_revokes_nothing_and_nothing_passes_for_active(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    token, other = own_token(server), own_token(server)
    revoked(revoke(server, token))
    with sqlite3.connect(documents(server)) as database:
        [(stored,)] = database.execute("SELECT bytes FROM documents WHERE key = 'revocations'").fetchall()
        database.execute("UPDATE documents SET bytes = ? WHERE key = 'revocations'", (stored.replace(b'"entries":[', b'"entries":[ '),))
    database.close()
    refused(introspect(server, other), 503, "temporarily_unavailable")
    refused(revoke(server, other), 503, "temporarily_unavailable")
    refused(refresh(server, begin(server)["refresh_token"]), 503, "temporarily_unavailable")
    # A client is no operator: it replaces nothing.
    command(server, "revoke", "--jti", "x")
    assert worth(server, other)["active"]
    assert worth(server, token) == INACTIVE, "what this server has read stays revoked"


def test_a_list_that_is_deleted_takes_nothing_back(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    token, later = own_token(server), own_token(server)
    revoked(revoke(server, token))
    with sqlite3.connect(documents(server)) as database:
        database.execute("DELETE FROM documents WHERE key = 'revocations'")
    database.close()
    assert worth(server, token) == INACTIVE
    revoked(revoke(server, later))
    assert worth(server, token) == worth(server, later) == INACTIVE
    server.stop()
    server.start()
    assert worth(server, token) == worth(server, later) == INACTIVE, "it was written again with what was known"
    assert "older than those that this process has read" in server.log


def test_a_reload_takes_nothing_back_of_a_list_that_is_gone(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    token = own_token(server)
    revoked(revoke(server, token))
    with sqlite3.connect(documents(server)) as database:
        database.execute("DELETE FROM documents WHERE key = 'revocations'")
    database.close()
    server.process.send_signal(signal.SIGHUP)
    until(lambda: "was read again and is in use" in server.log, "it is reloaded")
    assert worth(server, token) == INACTIVE


def test_while_the_store_cannot_be_written_nothing_is_said_to_be_revoked(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    token = own_token(server)
    lock = sqlite3.connect(documents(server), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        refused(revoke(server, token), 503, "temporarily_unavailable")
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    assert worth(server, token)["active"]


def test_discovery_lists_what_is_on(server, authority):
    for path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        found = wire.get(server.issuer, path).json()
        assert found["revocation_endpoint"] == f"{server.issuer}/revoke" and found["introspection_endpoint"] == f"{server.issuer}/introspect"
        for endpoint in ("token", "revocation", "introspection"):
            assert found[f"{endpoint}_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
        assert found["introspection_signing_alg_values_supported"] == ["ES256"]
    less = authority(configuration(CLIENTS[2]))
    found = wire.get(less.issuer, "/.well-known/openid-configuration").json()
    assert "revocation_endpoint" in found and "introspection_endpoint" not in found
    none = authority(configuration(CLIENTS[5]))
    assert "revocation_endpoint" not in wire.get(none.issuer, "/.well-known/openid-configuration").json()
    for path in ("/revoke", "/introspect", "/.well-known/revoked.jwt"):
        assert wire.ask(none.issuer, "POST" if path[1] != "." else "GET", path).status == 404


def test_the_audit_says_who_has_revoked_what(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    token, family = own_token(server), begin(server)
    revoked(revoke(server, token))
    revoked(revoke(server, family["refresh_token"], "app"))
    revoked(revoke(server, "unknown"))
    events = [json.loads(line) for line in server.log.splitlines() if line]
    events = [event for event in events if event.get("decision") == "revoked"]
    jtis = [json.loads(wire.claims(each))["jti"] for each in (token, family["access_token"])]
    assert [(event["client"], event["reach"], event["name"]) for event in events] == [
        ("worker", "token", jtis[0]), ("app", "family", jtis[1].split(".")[0])]
    assert token not in server.log and family["refresh_token"] not in server.log


def test_introspection_without_a_grant_anywhere_does_not_start(world):
    world.configure(CONFIG + client("api", more=API))
    assert "clients.api.introspect" in world.fails(78, "no client has a grant", "config", "check")
    world.configure(CONFIG + client("worker", more=WORKER))
    assert world.run("tokens", "revoke").returncode == 2
    assert world.run("tokens", "revoke", "--subject", "a", "--client", "b").returncode == 2
    world.done("keys", "list")
    world.fails(2, "empty", "tokens", "revoke", "--subject", "")


def test_oauth4webapi_introspects_and_revokes(server):
    answer = node("revoke_oauth4webapi.mjs", server, client="worker", api="api", secret=SECRET, algorithm="ES256")
    assert answer["before"]["active"] and answer["before"]["client_id"] == "worker" and answer["before"]["scope"] == "read"
    assert answer["signed"] == answer["before"]
    assert answer["after"] == answer["afterSigned"] == INACTIVE


def test_openid_client_introspects_and_revokes(server):
    answer = node("revoke_openid_client.mjs", server, client="worker", api="api", secret=SECRET)
    assert answer["before"]["active"] and answer["before"]["aud"] == "api://default" and answer["after"] == INACTIVE


def test_authlib_introspects_and_revokes(server):
    with OAuth2Client("worker", SECRET) as session, OAuth2Client("api", SECRET, token_endpoint_auth_method="client_secret_post") as api:
        token = session.fetch_token(f"{server.issuer}/token", grant_type="client_credentials", scope="read")["access_token"]
        ask = lambda: api.introspect_token(f"{server.issuer}/introspect", token=token, token_type_hint="access_token").json()
        assert ask()["active"] and ask()["sub"] == "worker"
        assert session.revoke_token(f"{server.issuer}/revoke", token=token).status_code == 200
        assert ask() == INACTIVE


def the_list(server, **headers):
    return wire.get(server.issuer, "/.well-known/revoked.jwt", headers)


def list_claims(server, answer):
    text = answer.body.decode()
    keys = jwt.PyJWKSet.from_dict(wire.get(server.issuer, "/.well-known/jwks.json").json())
    return jwt.decode(text, keys[wire.header(text)["kid"]], ["ES256"], audience=f"{server.issuer}/.well-known/revoked.jwt", issuer=server.issuer)


def test_the_list_is_signed_has_a_type_of_its_own_and_names_nobody(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    answer = the_list(server)
    assert answer.status == 200 and answer.headers["content-type"] == "application/jwt"
    assert answer.headers["cache-control"] == "public, max-age=5" and wire.header(answer.body.decode())["typ"] == "revoked+jwt"
    claims = list_claims(server, answer)
    assert set(claims) == {"iss", "aud", "iat", "exp", "sequence", "tokens", "before"}
    assert (claims["sequence"], claims["tokens"], claims["before"]) == (0, [], {}) and claims["exp"] - claims["iat"] == 300
    etag = answer.headers["etag"]
    assert the_list(server, **{"If-None-Match": etag}).status == 304
    head = wire.ask(server.issuer, "HEAD", "/.well-known/revoked.jwt")
    assert head.status == 200 and head.body == b"" and int(head.headers["content-length"]) == len(answer.body)
    assert wire.ask(server.issuer, "POST", "/.well-known/revoked.jwt", body=b"").status == 405
    revoked(revoke(server, own_token(server)))
    command(server, "revoke", "--subject", "login:alice")
    claims = until(lambda: (found := list_claims(server, the_list(server)))["sequence"] == 2 and found, "the list is renewed")
    assert len(claims["tokens"]) == len(claims["before"]) == 1
    assert "alice" not in json.dumps(claims)


def test_a_list_that_cannot_be_renewed_is_served_until_it_expires_and_then_none(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    # Never made before: there is nothing to serve.
    revoked(revoke(server, own_token(server)))
    with sqlite3.connect(documents(server)) as database:
        database.execute("UPDATE documents SET bytes = ? WHERE key = 'revocations'", (b"{}",))
    database.close()
    assert the_list(server).status == 503 and the_list(server).headers["cache-control"] == "no-store"


GATE = """
[[gate.proxies]]
kind = "nginx"
networks = ["127.0.0.1"]

[[trust]]
preset = "countersign"
id = "@OTHER@"
audiences = ["api://default"]
algorithms = ["ES256"]
revocations = "@URL@"
revocations_every = "1s"
revocations_stale = "@STALE@"
"""


def gate_of(authority, issuer, url="on", stale="0s", more=""):
    text = GATE.replace("@OTHER@", issuer).replace("@URL@", url).replace("@STALE@", stale)
    return authority(configuration(client("x")) + text + more)


def passes(gate, token):
    headers = {"Authorization": f"Bearer {token}", "X-Original-URI": "/", "X-Original-Method": "GET"}
    return wire.get(gate.issuer, "/gate", headers).status


@pytest.mark.parametrize("more", ["", "\n[gate]\ntoken_cache = 100\n"])
def test_the_gate_refuses_what_is_revoked_within_the_time_it_is_told_and_asks_nobody_for_each_request(authority, more):
    server = authority(configuration(*CLIENTS, *RULES))
    gate = gate_of(authority, server.issuer, more=more)
    one, family, client_token = own_token(server), begin(server), own_token(server, "any")
    for token in (one, family["access_token"], client_token):
        assert passes(gate, token) == 200
    revoked(revoke(server, one))
    # The list is kept for 5 s here, and looked at every second there.
    until(lambda: passes(gate, one) == 401, "a token is revoked at the gate")
    assert passes(gate, family["access_token"]) == passes(gate, client_token) == 200
    revoked(revoke(server, family["refresh_token"], "app"))
    command(server, "revoke", "--client", "any")
    until(lambda: passes(gate, family["access_token"]) == passes(gate, client_token) == 401, "the others")
    assert passes(gate, own_token(server)) == 200
    assert '"token_revoked"' in gate.log or "token_revoked" in wire.get(gate.issuer, "/metrics").body.decode()


def test_a_gate_that_cannot_have_the_list_lets_nobody_in_after_the_time_it_is_told(authority):
    server = authority(configuration(*CLIENTS, *RULES))
    strict, patient = gate_of(authority, server.issuer), gate_of(authority, server.issuer, stale="15s")
    token = own_token(server)
    assert passes(strict, token) == passes(patient, token) == 200
    server.stop()
    until(lambda: passes(strict, token) == 503, "the strict one")
    assert passes(patient, token) == 200
    until(lambda: passes(patient, token) == 503, "the patient one")
    server.start()
    until(lambda: passes(strict, token) == passes(patient, token) == 200, "both again")
    # A gate that was never given one.
    server.stop()
    assert passes(gate_of(authority, server.issuer, stale="24h"), token) == 503
    server.start()


class Lists:
    """A server that serves what a test says as the list of another one."""

    def __init__(self):
        import http.server
        import threading
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_):
                pass

        self.asked, self.status, self.body = 0, 200, b""
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/list"


@pytest.fixture
def lists():
    one = Lists()
    yield one
    one.server.shutdown()
    one.server.server_close()


def test_only_a_list_of_the_issuer_is_a_list(authority, lists):
    server, other = authority(configuration(*CLIENTS, *RULES)), authority(configuration(*CLIENTS, *RULES))
    token = own_token(server)
    good = the_list(server).body
    lists.body = good
    assert passes(gate_of(authority, server.issuer, lists.url), token) == 200
    signed = introspect(server, token, accept="application/token-introspection+jwt").body
    # What a client could have minted for itself: all but the type.
    made = server.run("sign", "--audience", f"{server.issuer}/.well-known/revoked.jwt", "--lifetime", "5m", "--claims",
                      '{"sequence":9,"tokens":[],"before":{}}').stdout.strip().encode()
    for body, status in [
        (b"", 200), (b"{}", 200), (b"<html>", 200), (good, 404), (good, 500), (good[:-8] + b"AAAAAAAA", 200), (token.encode(), 200),
        (signed, 200), (made, 200), (the_list(other).body, 200), (b"x" * 700_000, 200), (b"\xff" * 10, 200), (good, 301),
        (b"eyJhbGciOiJub25lIn0." + good.split(b".")[1] + b".", 200),
    ]:
        lists.body, lists.status = body, status
        assert passes(gate_of(authority, server.issuer, lists.url), token) == 503, (body[:40], status)


def test_an_older_list_is_not_taken_for_a_newer_one(authority, lists):
    server = authority(configuration(*CLIENTS, *RULES))
    token = own_token(server)
    older = the_list(server).body
    revoked(revoke(server, token))
    until(lambda: the_list(server).body != older, "a newer one")
    lists.body = the_list(server).body
    gate = gate_of(authority, server.issuer, lists.url, "60s")
    assert passes(gate, token) == 401
    lists.body = older
    asked = lists.asked
    until(lambda: passes(gate, token) == 401 and lists.asked > asked + 2, "it asks, and keeps what it has")


def test_many_at_once_ask_for_the_list_once(authority, lists):
    server = authority(configuration(*CLIENTS, *RULES))
    token, lists.body = own_token(server), the_list(server).body
    text = GATE.replace('revocations_every = "1s"', 'revocations_every = "1h"')
    gate = authority(configuration(client("x")) + text.replace("@OTHER@", server.issuer).replace("@URL@", lists.url).replace("@STALE@", "0s"))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert set(pool.map(lambda _: passes(gate, token), range(100))) == {200}
    assert lists.asked == 1


@pytest.mark.parametrize("setting, says", [
    ('revocations = "yes"', "trust[0].revocations"), ('revocations_every = "5s"', "trust[0].revocations_every"),
    ('revocations = "on"\nrevocations_every = "2h"', "revocation list"), ('revocations = "on"\nrevocations_stale = "25h"', "revocation list"),
    ('revocations = "on"\nrevocations_every = "0s"', "revocation list"), ('revocations = "http://a.example/list"', "https"),
])
def test_a_list_that_could_not_be_followed_does_not_start(world, setting, says):
    trust = '\n[[trust]]\nissuer = "https://a.example"\naudiences = ["x"]\n'
    world.configure(CONFIG + client("x") + trust + setting + "\n")
    world.fails(78, says, "config", "check")


def test_a_revocation_counts_on_every_server_of_a_store_at_once(world):
    world.configure(CONFIG + "".join(CLIENTS) + "".join(RULES))
    other = f"127.0.0.1:{free_port()}"

    class Server:
        def __init__(self, issuer):
            self.issuer = issuer

    one, two = Server(world.serve().printed["issuer"]), Server(f"http://{other}")
    world.serve("--listen", other)
    for here, there in [(one, two), (two, one)]:
        # A token is the issuer's, whichever server has minted it.
        token, first = own_token(here), begin(one)
        assert worth(there, token)["active"]
        revoked(revoke(here, token))
        assert worth(there, token) == worth(here, token) == INACTIVE
        live = next_token(refresh(there, first["refresh_token"]))
        revoked(revoke(here, live, "app"))
        refused(refresh(there, live), 400, "invalid_grant")
        assert worth(there, first["access_token"]) == INACTIVE


def test_who_asks_too_often_is_told_to_wait(authority):
    server = authority(configuration(client("worker", more=WORKER), client("api", more=API)) + '\n[limits]\nper_client = "5/m"\nper_address = "off"\n')
    token = own_token(server)
    for ask, id in [(introspect, "api"), (revoke, "worker")]:
        answers = [ask(server, token, id) for _ in range(8)]
        assert answers[0].status == 200 and answers[-1].status == 429, answers
        assert answers[-1].json()["error"] == "slow_down" and int(answers[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize("ahead", [-90, 90])
def test_a_gate_whose_clock_is_off_by_less_than_its_leeway_follows_the_list(authority, tmp_path, ahead):
    (tmp_path / "clock").write_text(f"{ahead:+d}\n")
    moved = clocks.following(tmp_path / "clock")
    server = authority(configuration(*CLIENTS, *RULES))
    text = GATE.replace("@OTHER@", server.issuer).replace("@URL@", "on").replace("@STALE@", "0s") + 'leeway = "2m"\n'
    gate = authority(configuration(client("x")) + text, env=moved)
    token, other = own_token(server), own_token(server)
    # Over several seconds: a list is signed a moment after the gate has looked at its clock.
    for _ in range(30):
        assert passes(gate, token) == 200
        time.sleep(0.1)
    revoked(revoke(server, token))
    until(lambda: passes(gate, token) == 401, "it is revoked there")
    assert passes(gate, other) == 200
