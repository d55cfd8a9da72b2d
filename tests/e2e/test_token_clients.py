"""OAuth clients and resource servers that nobody here wrote, unchanged, at `POST /token`; and the commands of docs/tokens.md.

Clients: openid-client and oauth4webapi (Node), Authlib (Python), golang.org/x/oauth2 (Go). They find the endpoint by discovery
where they can. The resource server's check of an access token (RFC 9068 section 4) is Authlib's validator and jose's.
"""

import json
import subprocess
from pathlib import Path

import httpx
import pytest
import toolchains
from authlib.integrations.httpx_client import OAuth2Client, OAuthError
from authlib.oauth2.rfc6749 import ResourceProtector
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from cryptography.hazmat.primitives import serialization
from e2e import wire
from e2e.assertions import Key, entry
from e2e.blocks import blocks, environment, run
from e2e.program import SECRET, client, free_port
from e2e.test_token import AUDIENCES, GRANTED, ODD, configuration
from gate.proxies import with_ports
from joserfc.jwk import KeySet

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs/tokens.md"
SCOPES = 'scopes = ["read", "write"]\n'
ASCII = ODD.replace("ü", "u")
SIGNERS = {"ES256": Key("signer-es256"), "RS256": Key("signer-rs256", "RS256"), "EdDSA": Key("signer-eddsa", "EdDSA")}


@pytest.fixture(scope="module")
def server(lasting_authority):
    # Both libraries for Node call it Ed25519 (RFC 9864).
    signers = [entry(key).replace("assertions", SCOPES + "assertions", 1).replace("EdDSA", "Ed25519") for key in SIGNERS.values()]
    return lasting_authority(configuration(
        client("worker", more=GRANTED + AUDIENCES + SCOPES), client("odd", secret=ODD, more=GRANTED + AUDIENCES + SCOPES),
        client("ascii", secret=ASCII, more=GRANTED + AUDIENCES + SCOPES), *signers))


def private_pem(key):
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private.private_bytes(*form).decode()


SECRETS = [
    ("client_secret_basic", "worker", SECRET), ("client_secret_basic", "odd", ODD),
    ("client_secret_post", "worker", SECRET), ("client_secret_post", "odd", ODD),
]


class Validator(JWTBearerTokenValidator):
    """Authlib's validator of RFC 9068, with the keys that discovery leads to."""

    def get_jwks(self):
        found = httpx.get(f"{self.issuer}/.well-known/openid-configuration").json()
        return KeySet.import_key_set(httpx.get(found["jwks_uri"]).json())


def accepted(server, token, who, scope="read", audience="api://default", sub=None):
    """What a resource server that wants the scope learns of a token."""
    class Request:
        headers = {"Authorization": f"Bearer {token}"}

    def take(audience, scopes):
        protector = ResourceProtector()
        protector.register_token_validator(Validator(server.issuer, audience))
        validator, text = protector.parse_request_authorization(Request)
        claims = validator.authenticate_token(text)
        validator.validate_token(claims, scopes, Request)
        return claims

    claims = take(audience, [scope])
    assert claims["client_id"] == who and claims["sub"] == (sub or who) and claims["scope"] == scope
    for audience, scope in [("api://other", scope), (audience, "admin")]:
        with pytest.raises(Exception, match="invalid|insufficient|expected|audience|scope"):
            take(audience, [scope])
    return claims


def node(program, server, **settings):
    """A program of tests/e2e/node with its settings on standard input; what it prints is JSON."""
    done = subprocess.run(
        ["node", HERE / "node" / program], input=json.dumps({"issuer": server.issuer} | settings),
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


NODE = ["openid_client.mjs", "oauth4webapi.mjs"]


@pytest.mark.parametrize("program", NODE)
@pytest.mark.parametrize("method, id, secret", SECRETS)
def test_clients_in_node_authenticate_with_a_secret(server, program, method, id, secret):
    answer = node(program, server, client=id, method=method, secret=secret, scope="read")
    assert answer["token"]["token_type"] == "bearer" and answer["token"]["scope"] == "read"
    claims = accepted(server, answer["token"]["access_token"], id)
    assert answer["claims"] == claims, "jose's check of an at+jwt"
    assert answer["refused"] == {"error": "invalid_scope", "status": 400}
    assert answer["wrong"] == {"status": 401, "challenge": "basic"}


@pytest.mark.parametrize("program", NODE)
@pytest.mark.parametrize("algorithm", SIGNERS)
def test_clients_in_node_authenticate_with_an_assertion(server, program, algorithm):
    key = SIGNERS[algorithm]
    answer = node(program, server, client=key.client, method="private_key_jwt", pem=private_pem(key), kid=key.kid,
                  algorithm="Ed25519" if algorithm == "EdDSA" else algorithm, scope="read")
    accepted(server, answer["token"]["access_token"], key.client)
    assert answer["refused"] == {"error": "invalid_scope", "status": 400}
    assert answer["wrong"] == {"status": 401, "challenge": "basic"}


#: Authlib does not form-encode what it puts into Basic, which RFC 6749 section 2.3.1 asks for, and takes Latin-1 for it.
OF_AUTHLIB = [("client_secret_basic", "ascii", ASCII) if each[:2] == ("client_secret_basic", "odd") else each for each in SECRETS]


@pytest.mark.parametrize("method, id, secret", OF_AUTHLIB)
def test_authlib_authenticates_with_a_secret(server, method, id, secret):
    endpoint = f"{server.issuer}/token"
    with OAuth2Client(id, secret, token_endpoint_auth_method=method) as session:
        token = session.fetch_token(endpoint, grant_type="client_credentials", scope="read", resource="https://api.example/v1")
        accepted(server, token["access_token"], id, audience="https://api.example/v1")
        with pytest.raises(OAuthError) as why:
            session.fetch_token(endpoint, grant_type="client_credentials", scope="admin")
        assert why.value.error == "invalid_scope"
    with OAuth2Client(id, "wrong", token_endpoint_auth_method=method) as session, pytest.raises(OAuthError) as why:
        session.fetch_token(endpoint, grant_type="client_credentials")
    assert why.value.error == "invalid_client"


def test_authlib_authenticates_with_an_assertion(server):
    # The kind of key that its client takes as PEM.
    key, endpoint = SIGNERS["RS256"], f"{server.issuer}/token"
    with OAuth2Client(key.client, private_pem(key), token_endpoint_auth_method="private_key_jwt") as session:
        session.register_client_auth_method(PrivateKeyJWT(endpoint, headers={"kid": key.kid}, alg="RS256"))
        for _ in range(2):
            token = session.fetch_token(endpoint, grant_type="client_credentials", scope="read")
            accepted(server, token["access_token"], key.client)


def test_x_oauth2_of_go_authenticates_with_a_secret(server):
    try:
        program = toolchains.oauth_client_in_go()
    except toolchains.Missing as why:
        return toolchains.not_tested("golang.org/x/oauth2", why)
    for style in ("header", "params"):
        for id, secret in (("worker", SECRET), ("odd", ODD)):
            arguments = [program, f"{server.issuer}/token", id, secret, style]
            answer = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120).stdout)
            accepted(server, answer["token"]["access_token"], id)
            assert answer["refused"] == "invalid_scope" and answer["wrong"] == "invalid_client"


def test_the_page_does_what_it_says(binary, tmp_path):
    found = blocks(with_ports(PAGE.read_text(encoding="utf-8"), {port: free_port() for port in ("8093", "8094")}))
    assert len(found) > 6
    folder = tmp_path / "work"
    folder.mkdir()
    run(found, folder, environment(binary, tmp_path))
