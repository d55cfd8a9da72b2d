"""What a request uses up: its DPoP proof and the tokens that are taken once; and that a refusal uses nothing up."""

import concurrent.futures
import contextlib
import json
import socket
import sqlite3
import time
import urllib.parse

import pytest
from e2e import stores, wire
from e2e.dpop import Holder
from e2e.program import client, until
from e2e.test_exchange_rules import ACTORS, BOTS, ENTRY, GRANT as EXCHANGE, TRUSTED, TYPE, ask, bot, rule, sign
from e2e.test_jwt_bearer import GRANT as JWT_BEARER, minted
from e2e.test_public_clients import REFRESH, assertion, own, public
from e2e.test_token import basic, configuration, refused, send

ONCE = "once = true\n"
SPA = public("spa")
CLIENTS = [SPA, client("app", more=ENTRY), client("other", more=ENTRY)]
RULES = [
    own("spa"), rule("app", ONCE + "impersonate = true\n" + ACTORS, source=TRUSTED), rule("other", ONCE + "impersonate = true\nscopes = []\n"),
    rule(None, 'name = "bots"\n' + ONCE + 'scopes = ["read", "write"]\n', "agents", BOTS),
]


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS, *RULES))


def names(server, *folders):
    keys = [key for key, _, _ in stores.documents(server.folder / "countersign/countersign.db")]
    return [key for key in keys if key.split("/")[0] in (folders or ("dpop", "exchanged"))]


def prove(server, form, holder, id=None, **claims):
    return send(server, form, (basic(id) if id else {}) | {"DPoP": holder.proof(f"{server.issuer}/token", **claims)})


def test_whoever_shows_nothing_that_is_worth_a_token_writes_nothing(server):
    holder, before = Holder(), names(server)
    good = assertion(server)
    for form, error in [
        ({"grant_type": JWT_BEARER, "assertion": "x"}, "invalid_grant"),
        ({"grant_type": JWT_BEARER, "assertion": good[:-4] + "AAAA"}, "invalid_grant"),
        ({"grant_type": JWT_BEARER, "assertion": good, "scope": "admin"}, "invalid_scope"),
        ({"grant_type": JWT_BEARER, "assertion": good, "audience": "api://other"}, None),
        ({"grant_type": REFRESH, "refresh_token": "csref_" + "A" * 60}, "invalid_grant"),
        ({"grant_type": REFRESH, "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "client_credentials"}, "unauthorized_client"),
    ]:
        answer = prove(server, form | {"client_id": "spa"}, holder)
        assert answer.status == 400 and error in (None, answer.json()["error"]), (form, answer)
        # Only a request whose policy alone refuses it has got as far as its proof.
        assert len(set(names(server)) - set(before)) <= (error is None), form
        before = names(server)
    # None of it has used the assertion up.
    assert prove(server, {"grant_type": JWT_BEARER, "assertion": good, "client_id": "spa"}, holder).status == 200
    assert len(names(server, "dpop")) == len([name for name in before if name.startswith("dpop/")]) + 1


def test_a_proof_that_was_used_before_uses_nothing_else_up(server):
    holder, good = Holder(), assertion(server)
    form = {"grant_type": JWT_BEARER, "client_id": "spa"}
    assert prove(server, form | {"assertion": assertion(server)}, holder, jti="a").status == 200
    again = prove(server, form | {"assertion": good}, holder, jti="a")
    assert (again.status, again.json()["error"]) == (400, "invalid_dpop_proof")
    first = prove(server, form | {"assertion": good}, holder, jti="b")
    assert first.status == 200
    # And no family: neither by its live token, nor by one that was used before, which would end it.
    shown = {"grant_type": REFRESH, "client_id": "spa", "refresh_token": first.json()["refresh_token"]}
    for jti in ("a", "b"):
        assert prove(server, shown, holder, jti=jti).json()["error"] == "invalid_dpop_proof"
    assert prove(server, shown, holder).status == 200


def test_a_refresh_token_that_was_used_before_ends_its_family_only_with_a_proof_that_was_not(authority):
    server = authority(configuration(SPA, own("spa")) + '\n[refresh]\ngrace = "1s"\n\n[rotation]\nskew = "0s"\n')
    holder, form = Holder(), {"grant_type": REFRESH, "client_id": "spa"}
    first = prove(server, {"grant_type": JWT_BEARER, "client_id": "spa", "assertion": assertion(server)}, holder, jti="a").json()["refresh_token"]
    second = prove(server, form | {"refresh_token": first}, holder).json()["refresh_token"]
    time.sleep(2.1)
    for _ in range(2):
        assert prove(server, form | {"refresh_token": first}, holder, jti="a").json()["error"] == "invalid_dpop_proof"
    third = prove(server, form | {"refresh_token": second}, holder)
    assert third.status == 200, "the family lives"
    assert prove(server, form | {"refresh_token": first}, holder).json()["error"] == "invalid_grant"
    assert prove(server, form | {"refresh_token": third.json()["refresh_token"]}, holder).json()["error"] == "invalid_grant", "and ends"


def test_neither_the_subjects_token_nor_its_actors_is_used_up_by_the_others_fault(server):
    subject, used, fresh = sign(), bot(), bot()
    minted(ask(server, sign(), "app", used))
    refused(ask(server, subject, "app", used), 400, "invalid_request", "the actor token: the token shown: it was used before")
    minted(ask(server, subject, "app", fresh))
    # The other way round: the subject's was used, and the actor's is good for another.
    third = bot()
    refused(ask(server, subject, "app", third), 400, "invalid_request", "used before")
    minted(ask(server, sign(), "app", third))
    refused(ask(server, sign(), "app", third), 400, "invalid_request", "the actor token")


def test_a_mint_that_fails_uses_nothing_up(server):
    subject, actor = sign(), bot()
    for wrong in ({"audience": "api://nobody"}, {"scope": "admin"}, {"audience": "api://nobody"}):
        assert ask(server, subject, "app", actor, **wrong).json()["error"] in ("invalid_target", "invalid_scope")
    minted(ask(server, subject, "app", actor))
    refused(ask(server, subject, "app", actor), 400, "invalid_request", "used before")
    refused(ask(server, subject, "other"), 400, "invalid_request", "used before")


def test_of_many_at_once_one_has_it_whoever_gives_it_back(server):
    """Some with an actor that was used before, who give the subject's token back, and some without."""
    used = bot()
    minted(ask(server, sign(), "app", used))
    for _ in range(4):
        subject = sign()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: ask(server, subject, "app", used if n % 2 else None), range(16)))
        taken = [answer for answer in answers if answer.status == 200]
        assert len(taken) <= 1 and all(answer.status in (200, 400) for answer in answers)
        if not taken:
            # Each of them met a name that was about to be given back.
            minted(ask(server, subject, "app"))
        refused(ask(server, subject, "app"), 400, "invalid_request", "used before")


def test_a_code_is_not_redeemed_for_a_proof_that_was_used_before(authority):
    from e2e import provided
    with provided.served() as providers:
        rules = provided.codes_rule("x", providers.url)
        server = authority(configuration(client("app", more=provided.ENTRY), rules), env=provided.ENVIRONMENT)
        holder, code = Holder(), providers.code(provided.VERIFIER, scopes=provided.SCOPES["x"])
        form = {"grant_type": provided.GRANT, "subject_token": code, "subject_token_type": provided.CODE,
                "code_verifier": provided.VERIFIER, "redirect_uri": provided.REDIRECT}
        first = form | {"subject_token": providers.code(provided.VERIFIER, scopes=provided.SCOPES["x"])}
        assert prove(server, first, holder, "app", jti="a").status == 200
        before = len(providers.asked())
        assert prove(server, form, holder, "app", jti="a").json()["error"] == "invalid_dpop_proof"
        assert len(providers.asked()) == before, "the provider was not asked"
        answer = prove(server, form, holder, "app", jti="b")
        assert answer.status == 200 and json.loads(answer.body)["token_type"] == "DPoP"


@contextlib.contextmanager
def locked(server):
    """Nobody writes into the store meanwhile."""
    database = sqlite3.connect(server.folder / "countersign/countersign.db", isolation_level=None, timeout=60)
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
    finally:
        database.close()


def test_a_request_that_took_too_long_runs_to_its_end_and_is_recorded(authority):
    """Whether the server gives it up or its sender: nothing is used up without a token and a record of it."""
    server = authority(configuration(*CLIENTS, *RULES) + '\n[limits]\nrequest_time = "1s"\n')

    def minted_for(subject):
        name = json.loads(wire.claims(subject))["jti"]
        records = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
        return [event for event in records if event.get("decision") == "minted" and name in event["subject_token"]]

    given_up, hung_up = sign(), sign()
    with locked(server):
        assert ask(server, given_up, "other").status == 408
        form = urllib.parse.urlencode({"grant_type": EXCHANGE, "subject_token": hung_up, "subject_token_type": TYPE + "access_token"}).encode()
        host, port = urllib.parse.urlsplit(server.issuer).netloc.split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = (f"POST /token HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {basic('other')['Authorization']}\r\n"
                    f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n")
            connection.sendall(head.encode() + form)
            # It has to wait for the store, so that there is no answer yet.
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        assert not minted_for(given_up) and not minted_for(hung_up)
    for subject in (given_up, hung_up):
        until(lambda subject=subject: len(minted_for(subject)) == 1, "a record of the token")
        refused(ask(server, subject, "other"), 400, "invalid_request", "used before")
