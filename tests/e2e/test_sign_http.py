"""`POST /sign`: the response, the defaults, the forms a request may have, and who is let in.

What a request must not be is in test_sign_refusals.py and test_sign_transport.py.
"""

import json
import time
from urllib.parse import quote, urlencode

import pytest
from e2e import wire
from e2e.program import SIGN_CONFIG
from e2e.wire import FORM



@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(SIGN_CONFIG)


def post(server, body, content_type="application/json", **headers):
    """A request with exactly these headers; `authorization=` for credentials."""
    headers = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    body = body if isinstance(body, bytes) else body.encode()
    return wire.ask(server.issuer, "POST", "/sign", headers, body)


def minted(server, body, **rest):
    answer = post(server, body, authorization=wire.basic(server.client_id, server.client_secret), **rest)
    assert answer.status == 200, answer
    return answer


def claims(answer):
    return json.loads(wire.claims(answer.json()["access_token"]))


def test_the_response_has_the_members_of_the_contract_and_is_not_stored(server):
    answer = minted(server, '{"data":{"sub":"alice"}}')
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "kid"}
    assert body["token_type"] == "Bearer" and body["expires_in"] == 3595
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert wire.header(body["access_token"]) == {"alg": "ES256", "kid": body["kid"], "typ": "JWT"}
    [key] = wire.get(server.issuer, "/.well-known/jwks.json").json()["keys"]
    assert key["kid"] == body["kid"]
    assert server.run("verify", "--issuer", server.issuer, body["access_token"]).returncode == 0


def test_without_metadata_a_token_lives_an_hour_for_the_first_audience(server):
    now = time.time()
    found = claims(minted(server, '{"data":{}}'))
    assert set(found) == {"iss", "aud", "iat", "nbf", "exp", "jti"}
    assert (found["iss"], found["aud"]) == (server.issuer, "api://default")
    assert abs(found["exp"] - now - 3595) < 10 and found["exp"] - found["iat"] == 3600
    assert found["iat"] == found["nbf"] <= now


def test_duration_and_audience_are_as_asked(server):
    answer = minted(server, '{"data":{},"metadata":{"duration":61,"audience":"api://other"}}')
    found = claims(answer)
    assert answer.json()["expires_in"] == 56 and abs(found["exp"] - time.time() - 56) < 10
    assert found["exp"] - found["iat"] == 61, "a consumer with a hard maximum compares these two"
    assert found["aud"] == "api://other"


def test_a_list_of_audiences_stays_a_list(server):
    body = '{"data":{},"metadata":{"audience":["api://other","api://default"]}}'
    assert claims(minted(server, body))["aud"] == ["api://other", "api://default"]
    assert claims(minted(server, '{"data":{},"metadata":{"audience":["api://other"]}}'))["aud"] == ["api://other"]


def test_every_token_has_a_jti_of_its_own(server):
    assert len({claims(minted(server, '{"data":{}}'))["jti"] for _ in range(20)}) == 20


@pytest.mark.parametrize("data", [
    '"n":9007199254740993,"m":-123456789012345678901234567890,"f":1.0,"e":1e2,"z":0.10000000000000000000001',
    '"deep":{"a":[1,[2,{"b":null}],true],"":{}},"empty":[]',
    '"name":"Zoë 😀 \\u00e9 \\ud83d\\ude00 \\" \\\\ \\/ \\n","日本":"語"',
])
def test_claims_arrive_as_they_were_written(server, data):
    assert data in wire.claims(minted(server, f'{{"data":{{{data}}}}}').json()["access_token"])


def test_a_form_carries_the_same_members(server):
    form = urlencode({"data": '{"sub":"bob","n":[1]}', "metadata": '{"duration":60,"audience":"api://other"}', "profile": "jwt"})
    answer = minted(server, form, content_type=FORM)
    found = claims(answer)
    assert (found["sub"], found["n"], found["aud"]) == ("bob", [1], "api://other")
    assert answer.json()["expires_in"] == 55


def test_credentials_may_be_in_the_form_or_in_the_json(server):
    form = urlencode({"data": "{}", "client_id": server.client_id, "client_secret": server.client_secret})
    assert post(server, form, content_type=FORM).status == 200
    body = {"data": {"sub": "a"}, "client_id": server.client_id, "client_secret": server.client_secret}
    answer = post(server, json.dumps(body))
    assert answer.status == 200
    assert "client_id" not in claims(answer) and "client_secret" not in claims(answer)


@pytest.mark.parametrize("content_type", [
    "application/json; charset=utf-8", "Application/JSON", "application/json;charset=utf-8;x=y",
])
def test_media_types_are_compared_as_the_rfc_says(server, content_type):
    minted(server, '{"data":{}}', content_type=content_type)


def test_basic_credentials_are_form_urlencoded_as_the_rfc_says(server):
    encoded = "".join(f"%{byte:02X}" for byte in server.client_secret.encode())
    assert post(server, '{"data":{}}', authorization=wire.basic(quote(server.client_id), encoded)).status == 200
    lower = wire.basic(server.client_id, server.client_secret).replace("Basic ", "bASIC ")
    assert post(server, '{"data":{}}', authorization=lower).status == 200


def unauthorized(answer):
    assert answer.status == 401, answer
    assert answer.headers["www-authenticate"].startswith('Basic realm="countersign"')
    assert answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"error", "error_description"} and answer.json()["error"] == "invalid_client"
    return answer.body


def test_without_credentials_nobody_gets_a_token(server):
    unauthorized(post(server, '{"data":{"sub":"a"}}'))


def test_a_wrong_secret_and_an_unknown_client_look_the_same(server):
    secret = server.client_secret
    wrong = [
        wire.basic(server.client_id, secret[:-1] + ("A" if secret[-1] != "A" else "B")),
        wire.basic(server.client_id, ""),
        wire.basic(server.client_id, secret + " "),
        wire.basic(server.client_id, secret.upper()),
        wire.basic("nobody", secret),
        wire.basic("TESTS", secret),
        wire.basic("", ""),
    ]
    bodies = {unauthorized(post(server, '{"data":{"sub":"a"}}', authorization=one)) for one in wrong}
    in_body = {"data": {}, "client_id": server.client_id, "client_secret": "wrong"}
    bodies.add(unauthorized(post(server, json.dumps(in_body))))
    bodies.add(unauthorized(post(server, '{"data":{"sub":"a"}}')))
    assert len(bodies) == 1


def test_the_stored_hash_of_a_secret_is_not_a_secret(server):
    text = (server.folder / "countersign" / "countersign.toml").read_text()
    hash = text.split('secret_hashes = ["')[1].split('"')[0]
    for shown in [hash, hash.removeprefix("sha256:")]:
        unauthorized(post(server, '{"data":{}}', authorization=wire.basic(server.client_id, shown)))


@pytest.mark.parametrize("value", [
    "Bearer abc", "Digest username=\"tests\"", "Basic", "Basic ", "Basic !!!!", "Basic dGVzdHM=", "Basic /////w==",
    "Negotiate YII=", "", "Basic dGVzdHM6%",
])
def test_other_schemes_and_malformed_credentials_are_no_credentials(server, value):
    unauthorized(post(server, '{"data":{}}', authorization=value))


def test_a_caller_that_proves_nothing_does_not_learn_the_policy(server):
    outside = '{"data":{},"metadata":{"audience":"api://not-allowed"}}'
    assert unauthorized(post(server, outside)) == unauthorized(post(server, '{"data":{}}'))
    unknown = '{"data":{},"profile":"no-such-profile"}'
    assert unauthorized(post(server, unknown)) == unauthorized(post(server, '{"data":{}}'))


def test_a_long_token_is_refused_with_its_size_and_the_limit(server):
    answer = server.request({"x": "y" * 9000})
    assert answer.status_code == 400
    assert "8192" in answer.json()["error_description"] and "limits.token_bytes" in answer.json()["error_description"]
    server.sign({"x": "y" * 4000})
