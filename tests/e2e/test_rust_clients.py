"""The crates oauth2 and openidconnect as clients of `POST /token`, `/introspect` and `/revoke`, unchanged.

They do client_credentials, refresh_token, introspection and revocation; jwt-bearer and token exchange they have no request
for. Their discovery reads the document as it is.
"""

import json
import subprocess

import pytest
import toolchains
from e2e import wire
from e2e.assertions import Key
from e2e.program import SECRET, client
from e2e.test_public_clients import ask as ask_public
from e2e.test_public_clients import own, public
from e2e.test_token import AUDIENCES, GRANTED, ODD, configuration
from e2e.test_token_clients import HERE, accepted
from e2e.test_workload import MAIN, entry, of_github
from e2e.workloads import github

PLATFORM = Key("github", "RS256")
SIGNER = Key("signer")
MORE = GRANTED + AUDIENCES + 'scopes = ["read"]\nintrospect = ["api://default"]\n'


@pytest.fixture(scope="module")
def program():
    return toolchains.oauth_clients_in_rust()


@pytest.fixture(scope="module")
def server(lasting_authority):
    signer = f'\n[[clients]]\nid = "signer"\nsecret_hashes = []\n{MORE}assertions = {{ jwks = {json.dumps(SIGNER.jwks)} }}\n'
    return lasting_authority(configuration(
        client("worker", more=MORE), client("users", more=AUDIENCES + 'claims = { allow = ["sub"] }'), client("odd", secret=ODD, more=MORE), signer, public("spa"), own("spa"),
        entry("deploy", of_github(MAIN, PLATFORM), more=MORE)))


def run(program, server, **settings):
    done = subprocess.run([program], input=json.dumps({"issuer": server.issuer} | settings), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("id, secret", [("worker", SECRET), ("odd", ODD)])
def test_oauth2_asks_introspects_and_revokes(program, server, method, id, secret):
    answer = run(program, server, do="oauth2", client=id, secret=secret, method=method, introspect=True)
    accepted(server, answer["token"]["access_token"], id)
    assert answer["introspected"] == {"active": True, "scopes": 1, "client": id} and answer["after"] is False
    assert answer["refused"] == "invalid_scope"
    wrong = run(program, server, do="oauth2", client=id, secret="wrong", method=method)
    assert wrong == {"error": "invalid_client", "refused": "invalid_client"}


@pytest.mark.parametrize("id, sign", [("signer", SIGNER.sign), ("deploy", lambda audience: github(PLATFORM, audience))])
def test_oauth2_shows_assertions_of_its_own_and_of_a_platform(program, server, id, sign):
    more = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": sign(server.issuer)}
    answer = run(program, server, do="oauth2", client=id, more=more)
    accepted(server, answer["token"]["access_token"], id)
    assert answer["refused"] == "invalid_client", "the same assertion again"


def test_oauth2_refreshes_and_revokes_as_a_public_client(program, server):
    def begin():
        return ask_public(server, scope="read").json()["refresh_token"]

    answer = run(program, server, do="oauth2", client="spa", refresh_token=begin(), revoke=True)
    accepted(server, answer["token"]["access_token"], "spa", sub="login:alice")
    assert answer["wrong"] == answer["after"] == "invalid_grant"
    assert run(program, server, do="oauth2", client="worker", secret=SECRET, refresh_token=begin())["error"] == "unauthorized_client"


def test_openidconnect_reads_the_keys_and_verifies_with_them(program, server):
    headers = {"Authorization": wire.basic("users", SECRET), "Content-Type": "application/json"}
    signed = wire.ask(server.issuer, "POST", "/sign", headers, b'{"data":{"sub":"alice"}}').json()["access_token"]
    answer = run(program, server, do="openidconnect", client="worker", secret=SECRET, signed=signed)
    assert answer["subject"] == "alice" and answer["active"] and "audience" in answer["others"].lower()
    assert "at+jwt" in answer["access"], "it takes ID tokens alone"
    assert wire.header(answer["token"])["typ"] == "at+jwt"
    assert answer["discovery"] is None, "why it cannot be found by discovery"
