"""What PyJWT, joserfc and Authlib read in tokens of Countersign, with keys found by discovery."""

import json

import pytest
from authority import HTTP, configuration
from libraries import ASYMMETRIC, SECRET_VERIFIERS, SUPPORT, SYMMETRIC, VERIFIERS, b64url_decode, error, jwks_uri, part

LIBRARIES = list(VERIFIERS)
SUPPORTED = [(lib, a) for lib in LIBRARIES for a in ASYMMETRIC if SUPPORT[lib][a] is True]


def judge(library, case, token):
    return VERIFIERS[library], token, case.issuer, case.issuer, case.audience, case.algorithm


@pytest.mark.parametrize(("library", "algorithm"), SUPPORTED)
def test_accepts_the_token_with_all_its_claims(library, algorithm, cases):
    case = cases[algorithm]
    verify, *arguments = judge(library, case, case.tokens["good"])
    claims = verify(*arguments)
    assert (claims["iss"], claims["aud"]) == (case.issuer, case.audience)
    sent = json.loads(case.claims)
    for name, value in sent.items():
        assert repr(claims[name]) == repr(value), name
    assert set(claims) == set(sent) | {"iss", "aud", "iat", "nbf", "exp", "jti"}


@pytest.mark.parametrize(("library", "algorithm"), SUPPORTED)
def test_accepts_one_of_two_audiences(library, algorithm, cases):
    verify, *arguments = judge(library, cases[algorithm], cases[algorithm].tokens["two audiences"])
    assert verify(*arguments)["aud"] == ["api://other", "api://default"]


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_claims_leave_as_the_text_they_came_as(algorithm, cases):
    payload = part(cases[algorithm].tokens["good"], 1)
    assert payload.endswith("," + cases[algorithm].claims[1:])


def test_claims_leave_the_same_from_a_form_a_file_and_standard_input(cases, authority):
    claims, ours = cases["ES256"].claims, authority(configuration("ES256"))
    form = {"data": claims, "client_id": ours.client_id, "client_secret": ours.client_secret}
    (ours.folder / "claims.json").write_text(claims, encoding="utf-8")
    tokens = {
        "form": HTTP.post(f"{ours.issuer}/sign", data=form).json()["access_token"],
        "file": ours.run("sign", "--claims", "@claims.json").stdout.strip(),
        "standard input": ours.run("sign", "--claims", "-", input=claims).stdout.strip(),
        "argument": ours.run("sign", "--claims", claims).stdout.strip(),
    }
    for way, token in tokens.items():
        assert part(token, 1).endswith("," + claims[1:]), way
        # And out again: the verdict holds the claims as they were signed, member for member and digit for
        # digit; what could steer a terminal is written as a JSON escape.
        assert as_typed(part(token, 1)) in map(as_typed, ours.run("verify", "-", input=token).stdout.splitlines()), way


def as_typed(text):
    """JSON with its members in their order and its numbers as text; `None` for what is not JSON."""
    try:
        return json.loads(text, object_pairs_hook=list, parse_int=str, parse_float=str, parse_constant=str)
    except ValueError:
        return None


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_the_key_set_holds_one_public_key_of_the_ring(algorithm, cases):
    response = HTTP.get(jwks_uri(cases[algorithm].issuer))
    assert response.headers["content-type"] == "application/jwk-set+json"
    (key,) = response.json()["keys"]
    header = json.loads(part(cases[algorithm].tokens["good"], 0))
    assert header == {"alg": algorithm, "kid": key["kid"], "typ": "JWT"}
    assert (key["alg"], key["use"]) == (algorithm, "sig")
    assert not set(key) & {"d", "p", "q", "dp", "dq", "qi", "k"}


@pytest.mark.parametrize("algorithm", SYMMETRIC)
@pytest.mark.parametrize("library", SECRET_VERIFIERS)
def test_accepts_a_token_signed_with_a_shared_secret(library, algorithm, shared):
    one, verify = shared[algorithm], SECRET_VERIFIERS[library]
    claims = verify(one.token, b64url_decode(one.secret), algorithm, one.audience)
    assert (claims["iss"], claims["sub"]) == (one.issuer, "alice")
    assert error(verify, one.token, b"another secret".ljust(64, b"."), algorithm, one.audience) is not None


@pytest.mark.parametrize("algorithm", SYMMETRIC)
def test_a_shared_secret_is_not_published(algorithm, shared):
    one = shared[algorithm]
    response = HTTP.get(jwks_uri(one.issuer))
    assert response.json()["keys"] == []
    assert set(response.json()) == {"keys", "countersign_sequence"}
    assert one.secret not in response.text
