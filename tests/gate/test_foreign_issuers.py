"""Foreign issuers as trusts of the gate, as real processes: Dex (Go) and node-oidc-provider (npm).

One authorizer keeps running while their keys change. A user pool of Cognito is in test_cognito.py;
the token service with the same issuers is in e2e/test_foreign_issuers.py.
"""

import json

import jwt
import pytest
from authority import until
from gate.one_shot import configuration
from libraries import part
from rings import tampered
from servers import dex as of_dex
from servers import oidc_provider as of_node

API = "https://api.example"
CONTEXT = {"context": {"sub": "sub", "scope": "scope"}}


@pytest.fixture(scope="module")
def provider():
    with of_node.OidcProvider() as one:
        yield one


@pytest.fixture
def dex(tmp_path):
    with of_dex.several(tmp_path) as start:
        yield start


def trust(issuer, audience, algorithm, **more):
    """Its keys are found by discovery."""
    return {"issuer": issuer, "audiences": [audience], "algorithms": [algorithm]} | more


def kid(token):
    return jwt.get_unverified_header(token)["kid"]


def test_access_tokens_of_users_and_services_are_let_in(provider, authorizer):
    gate = authorizer(configuration(trust(provider.issuer, API, "RS256", typ="at+jwt"), gate=CONTEXT)).start()
    for token, sub, scope in [
        (provider.login("alice", API)["access_token"], "alice", "read write"),
        (provider.login("alice", API, "openid read")["access_token"], "alice", "read"),
        (provider.service(API), "service", "read write"),
    ]:
        reply = gate.ask(token)
        assert reply.let_in, gate.log
        assert (reply.json["principalId"], reply.json["context"]) == (sub, {"sub": sub, "scope": scope})
    assert not gate.refusals


def test_what_is_changed_or_for_others_or_of_others_or_no_access_token_is_refused(provider, authorizer):
    gate = authorizer(configuration(trust(provider.issuer, API, "RS256", typ="at+jwt"))).start()
    good = provider.login("alice", API)
    assert "typ" not in jwt.get_unverified_header(good["id_token"])
    form = {"grant_type": "client_credentials", "scope": "read"}
    with of_node.OidcProvider() as another:
        refused = {
            "claim_mismatch": provider.service("https://other.example"),
            "token_bad_signature": tampered(good["access_token"], b'"alice"', b'"mallory"'),
            "claim_missing": good["id_token"],
            "token_not_compact": provider.token(form).json()["access_token"],
            "issuer_unknown": another.service(API),
        }
        for token in refused.values():
            assert gate.ask(token).unauthorized
    assert gate.refusals == list(refused)
    assert gate.ask(good["access_token"]).let_in


def test_a_scope_can_be_demanded(provider, authorizer):
    rule = '[[gate.routes]]\npath = "/**"\nall_scopes = ["write"]\n'
    gate = authorizer(configuration(trust(provider.issuer, API, "RS256")) + rule).start()
    assert gate.ask(provider.login("alice", API)["access_token"]).let_in
    assert not gate.ask(provider.login("alice", API, "openid read")["access_token"]).let_in
    assert gate.refusals == ["route_scope"]


def test_of_two_keys_in_one_set_each_is_for_its_algorithm(authorizer):
    """It signs access tokens with its EC key here and ID tokens with its RSA key."""
    with of_node.OidcProvider(algorithm="ES256") as provider:
        tokens = provider.login("alice", API)
        for algorithm, audience, one, other in [
            ("ES256", API, "access_token", "id_token"),
            ("RS256", "application", "id_token", "access_token"),
        ]:
            gate = authorizer(configuration(trust(provider.issuer, audience, algorithm))).start()
            assert gate.ask(tokens[one]).let_in, gate.log
            assert gate.ask(tokens[other]).unauthorized
            assert gate.refusals == ["algorithm_not_allowed"]


def test_while_dex_rotates_new_tokens_are_let_in_and_when_its_keys_are_lost_old_ones_are_not(dex, authorizer):
    if not (program := of_dex.program()):
        return
    provider = dex(program, "1s")
    times = {"keys_min_age": "1s", "keys_max_age": "1s"}
    gate = authorizer(configuration(trust(provider.issuer, of_dex.APP, "RS256", **times), gate=CONTEXT)).start()
    old, known = provider.id_token(), provider.kids()
    reply = gate.ask(old)
    assert reply.let_in, gate.log
    assert reply.json["principalId"] == json.loads(part(old, 1))["sub"]
    assert gate.ask(provider.id_token("another")).unauthorized
    # It signs with a key from the moment on that it publishes it, so that nobody can have read it before.
    until(lambda: provider.kids() != known, "Dex rotates, as it does each half minute")
    new = provider.id_token()
    assert kid(new) not in known and kid(old) in known
    until(lambda: gate.ask(new).let_in, "the new key is known")
    assert gate.ask(old).let_in, gate.log
    # All of its keys are others, and none of the tokens has expired.
    provider.stop()
    provider.start()
    assert not provider.kids() & {kid(old), kid(new)}
    last = provider.id_token()
    until(lambda: gate.ask(last).let_in, "the last key is known")
    assert gate.ask(new).unauthorized and gate.ask(old).unauthorized
    assert set(gate.refusals) == {"claim_mismatch", "token_no_key"}
