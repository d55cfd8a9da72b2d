"""JaaS tokens as 8x8 documents them, from three environment variables, on the command line and over HTTP."""

import json
import time

import jwt as pyjwt
import pytest
from authority import HTTP, Authority, clean_environment, configuration
from libraries import jwks_uri, part
from openssl import one_line, openssl, public_of

APP_ID = "vpaas-magic-cookie-0123456789abcdef0123456789abcdef"
KID = f"{APP_ID}/a1b2c3"
#: The example of 8x8's manual, in our input's form.
DATA = {
    "room": "*",
    "user": {"id": "u-1", "name": "Ада Lovelace", "email": "ada@example.com", "avatar": "https://a.example/a.png"},
    "moderator": True,
    "features": {"recording": True, "livestreaming": "false", "transcription": False, "outbound-call": True},
}


@pytest.fixture(scope="module")
def pem():
    return openssl("genrsa -traditional 2048")


@pytest.fixture(params=["one line", "several lines"])
def variables(request, pem):
    key = one_line(pem) if request.param == "one line" else pem
    return {"JAAS_APP_ID": APP_ID, "JAAS_API_KID": KID, "PRIVATE_KEY": key}


def check(token, pem):
    """What 8x8 checks, with the public key that its console was given."""
    assert json.loads(part(token, 0)) == {"alg": "RS256", "kid": KID, "typ": "JWT"}
    claims = pyjwt.decode(token, public_of(pem), algorithms=["RS256"], audience="jitsi", issuer="chat", subject=APP_ID)
    assert claims["aud"] == "jitsi" and claims["room"] == "*"
    assert claims["nbf"] <= time.time() - 10 and claims["exp"] > time.time()
    assert claims["context"] == {
        "user": DATA["user"] | {"moderator": "true"},
        "features": {
            "recording": "true", "livestreaming": "false", "transcription": "false", "outbound-call": "true",
        },
        "room": {"regex": "false"},
    }
    return claims


def test_signs_on_the_command_line_with_three_variables_only(binary, tmp_path, variables, pem):
    folder = tmp_path / "empty"
    folder.mkdir()
    command = Authority(binary, folder, clean_environment(variables))
    done = command.run("sign", "--profile", "jaas", "--claims", json.dumps(DATA))
    check(done.stdout.strip(), pem)
    assert list(folder.iterdir()) == [], "it wrote something"
    assert "PRIVATE" not in done.stdout + done.stderr


def test_signs_over_http_with_three_variables_only(authority, variables, pem):
    ours = authority(env=variables)
    claims = check(ours.sign(DATA, profile="jaas"), pem)
    assert claims["exp"] - claims["nbf"] <= 24 * 3600 + 60
    short = pyjwt.decode(
        ours.sign(DATA, {"duration": 60}, "jaas"), public_of(pem), algorithms=["RS256"], audience="jitsi"
    )
    assert 0 < short["exp"] - time.time() <= 61


def test_a_guest_gets_an_id_and_no_rights(binary, tmp_path, variables, pem):
    command = Authority(binary, tmp_path, clean_environment(variables))
    token = command.run("sign", "--profile", "jaas", "--claims", '{"room":"standup"}').stdout.strip()
    claims = pyjwt.decode(token, public_of(pem), algorithms=["RS256"], audience="jitsi", issuer="chat")
    assert claims["room"] == "standup"
    assert claims["context"]["user"].pop("id")
    assert claims["context"] == {"user": {"moderator": "false"}, "features": {}, "room": {"regex": "false"}}


def test_the_key_is_8x8s_business_and_not_in_the_key_set(authority, variables):
    ours = authority(configuration("ES256"), env=variables)
    (key,) = HTTP.get(jwks_uri(ours.issuer)).json()["keys"]
    assert key["kty"] == "EC"
    assert json.loads(part(ours.sign(DATA, profile="jaas"), 0))["kid"] == KID
    assert json.loads(part(ours.sign({"sub": "alice"}), 0))["kid"] == key["kid"]


def test_an_imported_key_signs_the_same(authority, pem):
    config = configuration("RS256") + f'[profiles.jaas]\napp_id = "{APP_ID}"\n'

    def imports(new):
        new.run("keys", "import", "-", "--ring", "jaas", "--kid", KID, input=pem)

    check(authority(config, before=imports).sign(DATA, profile="jaas"), pem)
