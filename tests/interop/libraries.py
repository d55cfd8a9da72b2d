"""The Python libraries under test, each used as its manual says, behind one signature.

Keys come from discovery over HTTP and from nowhere else. Every call reads them anew: no cache can hide a wrong answer.
The last argument of a verifier, a dict, is where one goes on with the keys it has read.
"""

import base64
import json
import warnings
from pathlib import Path

import joserfc.jwk
import joserfc.jwt
import jwt as pyjwt
from authority import HTTP

with warnings.catch_warnings(record=True):
    # It says that its JOSE part moves to joserfc, past every filter. Both are tested here.
    import authlib.jose

ASYMMETRIC = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split()
SYMMETRIC = "HS256 HS384 HS512".split()
#: Library × algorithm: true, or the error with which the library says that it does not know the algorithm.
SUPPORT = json.loads(Path(__file__).with_name("support.json").read_text(encoding="utf-8"))


def jwks_uri(issuer):
    """OpenID Connect Discovery 1.0 §4: the document must be for the issuer that was asked."""
    document = HTTP.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
    assert document["issuer"] == issuer
    return document["jwks_uri"]


def keep(kept, make):
    """What was made before and is kept there, or a new one."""
    if kept is None:
        return make()
    if "keys" not in kept:
        kept["keys"] = make()
    return kept["keys"]


def with_pyjwt(token, keys_of, issuer, audience, algorithm, kept=None):
    key = keep(kept, lambda: pyjwt.PyJWKClient(jwks_uri(keys_of))).get_signing_key_from_jwt(token)
    return pyjwt.decode(token, key, algorithms=[algorithm], issuer=issuer, audience=audience)


def with_joserfc(token, keys_of, issuer, audience, algorithm, kept=None):
    keys = keep(kept, lambda: joserfc.jwk.KeySet.import_key_set(HTTP.get(jwks_uri(keys_of)).json()))
    claims = joserfc.jwt.decode(token, keys, algorithms=[algorithm]).claims
    expected = {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": audience}}
    joserfc.jwt.JWTClaimsRegistry(**expected).validate(claims)
    return claims


def with_authlib(token, keys_of, issuer, audience, algorithm, kept=None):
    keys = keep(kept, lambda: authlib.jose.JsonWebKey.import_key_set(HTTP.get(jwks_uri(keys_of)).json()))
    expected = {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": audience}}
    claims = authlib.jose.JsonWebToken([algorithm]).decode(token, keys, claims_options=expected)
    claims.validate()
    return dict(claims)


#: Name → verifier of tokens signed with a published key.
VERIFIERS = {"PyJWT": with_pyjwt, "joserfc": with_joserfc, "Authlib": with_authlib}


def error(call, *arguments):
    """The name of the error that `call` raises, and of the claim it is about; None when it raises none."""
    try:
        call(*arguments)
    except Exception as why:
        claim = getattr(why, "claim", None) or getattr(why, "claim_name", None)
        return f"{type(why).__name__} {claim}" if claim else type(why).__name__
    return None


def secret_with_pyjwt(token, secret, algorithm, audience):
    return pyjwt.decode(token, secret, algorithms=[algorithm], audience=audience)


def secret_with_joserfc(token, secret, algorithm, audience):
    claims = joserfc.jwt.decode(token, joserfc.jwk.OctKey.import_key(secret), algorithms=[algorithm]).claims
    joserfc.jwt.JWTClaimsRegistry(aud={"essential": True, "value": audience}).validate(claims)
    return claims


def secret_with_authlib(token, secret, algorithm, audience):
    expected = {"aud": {"essential": True, "value": audience}}
    claims = authlib.jose.JsonWebToken([algorithm]).decode(token, secret, claims_options=expected)
    claims.validate()
    return dict(claims)


#: Name → verifier of tokens signed with a shared secret (bytes).
SECRET_VERIFIERS = {"PyJWT": secret_with_pyjwt, "joserfc": secret_with_joserfc, "Authlib": secret_with_authlib}


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64url_decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def part(token, index):
    """The text of a token's header (0) or payload (1)."""
    return b64url_decode(token.split(".")[index]).decode("utf-8")
