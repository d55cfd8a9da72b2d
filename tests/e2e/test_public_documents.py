"""The public documents over HTTP: discovery under both names and the JWKS under both paths.

Caching, HEAD, CORS, the issuer's path prefix, the same bytes whatever a request says about its host, and nothing
private anywhere.
"""

import json

import pytest
from e2e import wire
from e2e.program import CONFIG, SECRET, SIGN_CONFIG, client, until

DISCOVERY = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"]
KEYS = ["/.well-known/jwks.json", "/public-keys"]
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(SIGN_CONFIG.replace("ES256", "RS256"))


def members(value):
    """Every member name in a JSON value, at any depth."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from members(item)


@pytest.mark.parametrize("path", DISCOVERY)
def test_discovery_says_who_issues_and_where_the_keys_are(server, path):
    answer = wire.get(server.issuer, path)
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert found["issuer"] == server.issuer
    assert found["jwks_uri"] == server.issuer + "/.well-known/jwks.json"
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]
    # Required by OpenID Connect Discovery section 3.
    assert {"response_types_supported", "subject_types_supported"} <= set(found)


def test_discovery_is_the_same_document_under_both_names(server):
    assert len({wire.get(server.issuer, path).body for path in DISCOVERY}) == 1


@pytest.mark.parametrize("path", KEYS)
def test_the_jwks_has_the_public_key_and_its_media_type(server, path):
    answer = wire.get(server.issuer, path)
    assert answer.status == 200 and answer.headers["content-type"] == "application/jwk-set+json"
    [key] = answer.json()["keys"]
    assert set(key) == {"kty", "use", "alg", "kid", "n", "e"}
    assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")


def test_no_document_has_a_private_member(server):
    for path in DISCOVERY + KEYS + ["/healthz", "/readyz"]:
        body = wire.get(server.issuer, path).body
        if path not in ("/healthz", "/readyz"):
            assert not PRIVATE & set(members(json.loads(body))), path
        assert b"PRIVATE" not in body and b"sealed" not in body


@pytest.mark.parametrize("path", DISCOVERY + KEYS)
def test_documents_may_be_cached_and_read_from_any_page(server, path):
    answer = wire.get(server.issuer, path, {"Origin": "https://app.example"})
    assert 240 <= wire.max_age(answer) <= 300
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["etag"].startswith('"') and answer.headers["etag"].endswith('"')
    assert "set-cookie" not in answer.headers and "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", DISCOVERY + KEYS)
def test_a_known_etag_is_answered_without_a_body(server, path):
    full = wire.get(server.issuer, path)
    tag = full.headers["etag"]
    for sent in [tag, f"W/{tag}", f'"other", {tag}', f'W/"x" ,{tag} , "y"', "*"]:
        answer = wire.get(server.issuer, path, {"If-None-Match": sent})
        assert answer.status == 304 and answer.body == b"", (sent, answer)
        for name in ["etag", "access-control-allow-origin"]:
            assert answer.headers[name] == full.headers[name]
        assert 240 <= wire.max_age(answer) <= 300
    for sent in ['"other"', tag.strip('"'), tag[:-2] + '"', "", "W/"]:
        assert wire.get(server.issuer, path, {"If-None-Match": sent}).status == 200, sent
    answer = wire.get(server.issuer, path, [("If-None-Match", '"other"'), ("If-None-Match", tag)])
    assert answer.status == 304


@pytest.mark.parametrize("path", DISCOVERY + KEYS)
def test_head_has_the_same_headers_and_no_body(server, path):
    full, head = wire.get(server.issuer, path), wire.ask(server.issuer, "HEAD", path)
    assert head.status == 200 and head.body == b""
    differ = ("date", "cache-control")
    lasting = [[item for item in answer.headers.items() if item[0] not in differ] for answer in (full, head)]
    assert lasting[0] == lasting[1] and 240 <= wire.max_age(head) <= 300
    assert int(head.headers["content-length"]) == len(full.body)
    with wire.Connection(server.issuer) as connection:
        # On one connection: a body after HEAD would be taken for the next answer.
        assert connection.send(wire.message("HEAD", path)).receive("HEAD").body == b""
        assert connection.send(wire.message("GET", path)).receive().body == full.body


@pytest.mark.parametrize("path", DISCOVERY + KEYS)
def test_a_browser_may_ask_first(server, path):
    asking = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-a"}
    answer = wire.ask(server.issuer, "OPTIONS", path, asking)
    assert answer.status == 204 and answer.body == b""
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "GET" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "*"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", DISCOVERY + KEYS)
def test_documents_can_only_be_read(server, path, method):
    answer = wire.ask(server.issuer, method, path, {}, b"{}")
    assert answer.status == 405 and "GET" in answer.headers["allow"], answer


HOSTILE = [
    {"Host": "evil.example"}, {"Host": "evil.example:443"}, {"Host": ""}, {"Host": "127.0.0.1:99999999"},
    {"X-Forwarded-Host": "evil.example"}, {"X-Forwarded-Proto": "https"}, {"X-Forwarded-Proto": "gopher"},
    {"X-Forwarded-Prefix": "/evil"}, {"X-Forwarded-Port": "1"}, {"X-Original-URL": "/evil"}, {"X-Rewrite-URL": "/evil"},
    {"Forwarded": "host=evil.example;proto=https;for=10.0.0.1"}, {"X-Forwarded-For": "10.0.0.1"},
]


@pytest.mark.parametrize("headers", HOSTILE)
def test_no_header_changes_a_byte_of_a_document(server, headers):
    headers = dict(headers)
    host = headers.pop("Host", "127.0.0.1")
    for path in DISCOVERY + KEYS:
        plain, hostile = wire.get(server.issuer, path), wire.get(server.issuer, path, headers, host=host)
        assert hostile.status == 200, hostile
        assert (hostile.body, hostile.headers["etag"]) == (plain.body, plain.headers["etag"])


def test_no_header_changes_the_issuer_of_a_token(server):
    headers = [("Authorization", wire.basic(server.client_id, server.client_secret)), ("Content-Type", "application/json")]
    hostile = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https"), ("Forwarded", "host=evil.example")]
    answer = wire.ask(server.issuer, "POST", "/sign", headers + hostile, b'{"data":{}}', host="evil.example")
    assert json.loads(wire.claims(answer.json()["access_token"]))["iss"] == server.issuer


def test_an_absolute_request_target_does_not_change_the_documents(server):
    for path in DISCOVERY + KEYS:
        plain = wire.get(server.issuer, path)
        assert wire.get(server.issuer, f"http://evil.example{path}").body == plain.body


def test_reading_never_makes_a_key(server):
    before = server.run("keys", "list", "--json").stdout
    for path in [*DISCOVERY, *KEYS, "/healthz", "/readyz", "/metrics", "/sign", "/nope"]:
        for method in ["GET", "HEAD", "OPTIONS"]:
            wire.ask(server.issuer, method, path)
    assert server.run("keys", "list", "--json").stdout == before


@pytest.fixture
def prefixed(world):
    """A server whose issuer has a path, and the issuer."""
    world.configure(CONFIG.replace(':@PORT@"\n\n[server]', ':@PORT@/jwt-server"\n\n[server]') + client("tests"))
    issuer = world.serve().printed["issuer"]
    until(lambda: wire.get(issuer, "/readyz").status == 200, "ready")
    return issuer


def test_an_issuer_with_a_path_is_served_with_and_without_it(world, prefixed):
    assert prefixed.endswith("/jwt-server")
    for path in DISCOVERY + KEYS:
        plain, below = wire.get(prefixed, path), wire.get(prefixed, "/jwt-server" + path)
        assert plain.status == below.status == 200, (path, plain, below)
        assert (plain.body, plain.headers["etag"]) == (below.body, below.headers["etag"])
        assert wire.get(prefixed, "/jwt-server" + path, {"If-None-Match": plain.headers["etag"]}).status == 304
    found = wire.get(prefixed, DISCOVERY[0]).json()
    assert found["issuer"] == prefixed and found["jwks_uri"] == prefixed + "/.well-known/jwks.json"
    inserted = wire.get(prefixed, "/.well-known/oauth-authorization-server/jwt-server")
    assert inserted.status == 200 and inserted.json() == found


def test_a_token_of_an_issuer_with_a_path_verifies_by_discovery(world, prefixed):
    headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
    for path in ["/sign", "/jwt-server/sign"]:
        answer = wire.ask(prefixed, "POST", path, headers, b'{"data":{"sub":"a"}}')
        token = answer.json()["access_token"]
        assert json.loads(wire.claims(token))["iss"] == prefixed
        assert world.run("verify", "--issuer", prefixed, token).returncode == 0


@pytest.mark.parametrize("path", [
    "/jwt-server", "/jwt-server/", "/jwt-server/jwt-server/public-keys", "/jwt-serverx/public-keys", "/JWT-server/public-keys",
    "/public-keys/jwt-server", "/.well-known/jwks.json/jwt-server", "/jwt-server//public-keys", "/public-keys/",
])
def test_other_paths_around_the_prefix_are_not_found(prefixed, path):
    answer = wire.get(prefixed, path)
    assert answer.status == 404 and answer.json()["error"] == "not_found", answer
