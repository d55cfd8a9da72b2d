"""The discovery document as it is, before the validators of Authlib, pyoidc, idpyoidc, openid-client and oauth4webapi.

go-oidc, jose, Spring Security and the others of test_verifiers.py find their keys by it, the crate openidconnect in test_rust_clients.py.

With and without grants, as it is published and as it is served, for a host and for a path. Each member that one of them demands is
taken out once, and somebody must refuse what is left. What stands behind the authorization endpoint is looked at too.
"""

import json
import subprocess
from pathlib import Path

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata
from e2e import wire
from e2e.program import World, client

HERE = Path(__file__).with_name("discovery")
TESTS = Path(__file__).parents[1]
ISSUERS = ["https://tokens.example", "https://tokens.example/jwt"]
NO_GRANTS = client("signer")
GRANTS = (
    client("service", more='grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\nscopes = ["read"]\n')
    + client("resource", more='introspect = ["api://default"]\n')
    + '\n[[clients]]\nid = "signer"\nsecret_hashes = []\ngrants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\n'
    'assertions = { keys_url = "https://signer.example/jwks.json" }\n'
)
PYOIDC = ["pyoidc (OpenID Connect)", "pyoidc (RFC 8414)", "idpyoidc (OpenID Connect)", "idpyoidc (RFC 8414)"]
NODE = [f"{library} ({what})" for library in ("openid-client", "oauth4webapi") for what in ("OpenID Connect", "RFC 8414")]
AUTHLIB = {"Authlib (OpenID Connect)": OpenIDProviderMetadata, "Authlib (RFC 8414)": AuthorizationServerMetadata}
READERS = [*AUTHLIB, *PYOIDC, *NODE]
#: Members that a document must have, whatever the authority does.
ALWAYS = [
    "issuer", "authorization_endpoint", "jwks_uri", "response_types_supported", "grant_types_supported", "subject_types_supported",
    "id_token_signing_alg_values_supported",
]


@pytest.fixture(scope="module")
def say():
    """What a reader says against a document; `None` if it takes it."""
    python = TESTS.parent / ".tools/oidc/bin/python"
    started = {}

    def other(command, reader, text):
        if command not in started:
            started[command] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS)
        process = started[command]
        asked = {"reader": reader, "text": text, "issuer": json.loads(text).get("issuer", ISSUERS[0])}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())["error"]

    def say(reader, text):
        if reader in PYOIDC:
            return other((str(python), str(HERE / "pyoidc.py")), reader, text)
        if reader in NODE:
            return other(("node", str(HERE / "openid.mjs")), reader, text)
        try:
            AUTHLIB[reader](json.loads(text)).validate()
        except Exception as why:
            return f"{type(why).__name__}: {why}"

    yield say
    for process in started.values():
        process.communicate(timeout=60)


def configuration(issuer, clients, algorithm="RS256"):
    return f'issuer = "{issuer}"\n\n[server]\nlisten = "127.0.0.1:@PORT@"\n\n[rings.default]\nalgorithm = "{algorithm}"\n{clients}'


@pytest.fixture(scope="module")
def documents(full_binary, tmp_path_factory):
    """(issuer, clients) → the document as it is published; served documents have been compared with it."""
    made, worlds = {}, []

    def of(issuer, clients, algorithm="RS256"):
        if (issuer, clients, algorithm) not in made:
            world = World(full_binary, tmp_path_factory.mktemp("discovery"))
            worlds.append(world)
            world.configure(configuration(issuer, clients, algorithm))
            listens = f"http://{world.serve().printed['listen']}"
            world.done("publish", "site")
            path = issuer.removeprefix(ISSUERS[0])
            texts = {(world.folder / f"site/.well-known/{name}").read_text() for name in NAMES}
            texts |= {wire.get(listens, f"{path}/.well-known/{name}").body.decode() for name in NAMES}
            [text] = texts
            made[issuer, clients, algorithm] = text, listens
        return made[issuer, clients, algorithm]

    yield of
    for world in worlds:
        world.end()


NAMES = ["openid-configuration", "oauth-authorization-server"]


@pytest.mark.parametrize("clients", [NO_GRANTS, GRANTS], ids=["no grants", "grants"])
@pytest.mark.parametrize("issuer", ISSUERS)
def test_every_reader_takes_the_document_published_and_served(documents, say, issuer, clients):
    text, _ = documents(issuer, clients)
    assert {reader: say(reader, text) for reader in READERS} == dict.fromkeys(READERS)


@pytest.mark.parametrize("clients, more", [(NO_GRANTS, []), (GRANTS, ["token_endpoint", "token_endpoint_auth_signing_alg_values_supported"])],
                         ids=["no grants", "grants"])
def test_without_one_of_its_members_somebody_refuses_it(documents, say, clients, more):
    whole = json.loads(documents(ISSUERS[0], clients)[0])
    for name in ALWAYS + more:
        left = json.dumps({member: value for member, value in whole.items() if member != name})
        assert [reader for reader in READERS if say(reader, left)], name


def test_each_reader_can_refuse(documents, say):
    whole = json.loads(documents(ISSUERS[0], GRANTS)[0])
    for reader in READERS:
        assert say(reader, json.dumps({name: value for name, value in whole.items() if name != "issuer"})), reader


def test_what_is_said_of_grants_is_what_there_is(documents):
    alone, granted = (json.loads(documents(ISSUERS[0], clients)[0]) for clients in (NO_GRANTS, GRANTS))
    assert alone["grant_types_supported"] == ["implicit"]
    assert granted["grant_types_supported"] == ["client_credentials"]
    assert "token_endpoint" not in alone and granted["token_endpoint"] == f"{ISSUERS[0]}/token"
    for one in (alone, granted):
        assert one["authorization_endpoint"] == f"{ISSUERS[0]}/authorize"
        assert all(value != [] for value in one.values())


def test_readers_that_hold_a_provider_to_rs256_refuse_one_that_does_not_sign_with_it(documents, say):
    """OpenID Connect Discovery section 3. The document does not name what the keys are not for."""
    text, _ = documents(ISSUERS[0], NO_GRANTS, "ES256")
    refusals = {reader for reader in READERS if say(reader, text)}
    assert refusals == {"Authlib (OpenID Connect)", "idpyoidc (OpenID Connect)"}


@pytest.mark.parametrize("issuer", ISSUERS)
@pytest.mark.parametrize("clients", [NO_GRANTS, GRANTS], ids=["no grants", "grants"])
def test_the_authorization_endpoint_refuses_everybody_alike_and_redirects_nobody(documents, issuer, clients):
    _, listens = documents(issuer, clients)
    path = issuer.removeprefix(ISSUERS[0])
    mark = "somebody-else"
    asked = "?response_type=id_token&client_id=signer&redirect_uri=https%3A%2F%2Fsomebody-else.example%2Fcb&state=somebody-else&nonce=1"
    bodies = set()
    for query in ("", asked, "?response_type=code&response_mode=form_post", "?" + "x" * 4000):
        for below in {path, ""}:
            answer = wire.get(listens, f"{below}/authorize{query}")
            assert answer.status == 400 and "location" not in answer.headers, answer
            assert answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"
            assert mark not in str(answer.headers)
            bodies.add(answer.body)
    [body] = bodies
    said = json.loads(body)
    assert said["error"] == "unsupported_response_type" and "POST /sign" in said["error_description"] and "POST /token" in said["error_description"]
    assert wire.ask(listens, "HEAD", f"{path}/authorize").status == 400
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = wire.ask(listens, method, f"{path}/authorize", [("Content-Type", "application/x-www-form-urlencoded")], b"response_type=code")
        assert answer.status == 405, (method, answer)
    assert wire.get(listens, f"{path}/authorize/x").status == 404
