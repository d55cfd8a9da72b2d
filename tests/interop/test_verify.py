"""The other direction: tokens that other libraries made, judged by `countersign verify`."""

import base64
import hashlib
import hmac
import json
import subprocess
import time
from pathlib import Path

import joserfc.jwk
import joserfc.jwt
import jwt as pyjwt
import pytest
from authority import Authority, clean_environment
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from libraries import ASYMMETRIC, SUPPORT, SYMMETRIC, b64url, part
from web import served

ISSUER, AUDIENCE = "https://other.example/tenant", "api://theirs"
MAKERS = ["PyJWT", "joserfc", "jose", "jsonwebtoken"]
MADE = [(maker, a) for maker in MAKERS for a in ASYMMETRIC + SYMMETRIC if SUPPORT[maker][a] is True]


def claims(**changes):
    now = int(time.time())
    return {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600, "sub": "bob", "n": [1.5, "ü", None]} | changes


def new_key(algorithm, kid="k"):
    options = {"kid": kid, "alg": algorithm}
    if algorithm in SYMMETRIC:
        return joserfc.jwk.OctKey.generate_key(int(algorithm[2:]), options)
    if algorithm in ("EdDSA", "Ed25519"):
        return joserfc.jwk.OKPKey.generate_key("Ed25519", options)
    curves = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
    if algorithm in curves:
        return joserfc.jwk.ECKey.generate_key(curves[algorithm], options)
    return joserfc.jwk.RSAKey.generate_key(2048, options)


def key_set(*keys):
    """A key set as an issuer publishes it; shared secrets are as private as they are."""
    return json.dumps({"keys": [key.as_dict(private=isinstance(key, joserfc.jwk.OctKey)) for key in keys]})


def sign(maker, algorithm, key, content):
    if maker == "joserfc":
        return joserfc.jwt.encode({"alg": algorithm, "kid": "k"}, content, key, algorithms=[algorithm])
    secret = key.raw_value if algorithm in SYMMETRIC else key.private_key
    return pyjwt.encode(content, secret, algorithm=algorithm, headers={"kid": "k"})


@pytest.fixture(scope="module")
def tokens():
    """Maker → algorithm → the public key and tokens by what should become of them."""
    wanted = {"good": claims(), "expired": claims(iat=1, exp=2), "not yet": claims(nbf=int(time.time()) + 600)}
    script = Path(__file__).with_name("node") / "mint.mjs"
    made = subprocess.run(["node", script], input=json.dumps(wanted), capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    made = json.loads(made.stdout)
    for maker in ("PyJWT", "joserfc"):
        made[maker] = {}
        for algorithm in [a for a in ASYMMETRIC + SYMMETRIC if SUPPORT[maker][a] is True]:
            key = new_key(algorithm)
            made[maker][algorithm] = {
                "jwk": json.loads(key_set(key))["keys"][0],
                "tokens": {name: sign(maker, algorithm, key, content) for name, content in wanted.items()},
            }
    return made


@pytest.fixture
def verify(binary, tmp_path):
    """Runs `countersign verify -` in a folder without configuration; gives (exit code, what it printed)."""
    runner = Authority(binary, tmp_path, clean_environment())

    def run(token, *arguments, jwks=None, audience=AUDIENCE, issuer=ISSUER):
        if jwks is not None:
            (tmp_path / "keys").write_text(jwks, encoding="utf-8")
            arguments += ("--jwks", "keys")
        arguments += ("--issuer", issuer, "--audience", audience)
        done = runner.run("verify", "-", "--json", *arguments, input=token, check=False)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def test_every_maker_made_what_its_table_says(tokens):
    made = {(maker, algorithm) for maker in tokens for algorithm in tokens[maker]}
    assert made == set(MADE)


@pytest.mark.parametrize(("maker", "algorithm"), MADE)
def test_verifies_their_tokens(maker, algorithm, tokens, verify):
    made = tokens[maker][algorithm]
    decoy = json.loads(key_set(new_key("ES256", "another")))["keys"][0]
    jwks, token = json.dumps({"keys": [decoy, made["jwk"]]}), made["tokens"]
    code, verdict = verify(token["good"], jwks=jwks)
    assert code == 0, verdict
    assert (verdict["valid"], verdict["algorithm"], verdict["kid"], verdict["unchecked"]) == (True, algorithm, "k", [])
    assert repr(verdict["claims"]) == repr(json.loads(part(token["good"], 1)))

    refusals = {
        "claim_mismatch": verify(token["good"], jwks=jwks, audience="api://theirs/more"),
        "token_expired": verify(token["expired"], jwks=jwks),
        "token_not_yet_valid": verify(token["not yet"], jwks=jwks),
        "token_bad_signature": verify(token["good"], jwks=key_set(new_key(algorithm))),
        "token_no_key": verify(token["good"], jwks=json.dumps({"keys": [decoy]})),
    }
    assert {name: (1, name) for name in refusals} == {n: (c, said["error"]) for n, (c, said) in refusals.items()}
    assert all(said["message"].startswith("refused: ") for _, said in refusals.values())


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
@pytest.mark.parametrize("header", [{}, {"kid": "theirs"}], ids=["no kid", "a kid"])
def test_verifies_with_a_pem_file(algorithm, header, verify):
    """A PEM file names no kid, so whatever the token says is its kid cannot speak against it."""
    key = new_key(algorithm)
    pem = key.as_pem(private=False).decode()
    token = pyjwt.encode(claims(), key.private_key, algorithm=algorithm, headers=header)
    assert verify(token, jwks=pem)[0] == 0
    code, verdict = verify(token, jwks=new_key(algorithm).as_pem(private=False).decode())
    assert (code, verdict["error"]) == (1, "token_bad_signature")


@pytest.mark.parametrize("algorithm", ["RS512", "PS256"])
def test_the_algorithm_of_a_key_that_names_none_is_the_callers_to_say(algorithm, verify):
    """The token's own word for it does not count."""
    key = new_key(algorithm)
    nameless = {name: value for name, value in key.as_dict(private=False).items() if name != "alg"}
    token = pyjwt.encode(claims(), key.private_key, algorithm=algorithm, headers={"kid": "k"})
    for keys in (key.as_pem(private=False).decode(), json.dumps({"keys": [nameless]})):
        code, verdict = verify(token, jwks=keys)
        assert (code, verdict["error"]) == (1, "token_algorithm_mismatch")
        assert verify(token, "--algorithm", algorithm, jwks=keys)[0] == 0


@pytest.mark.parametrize("path", ["", "/tenant"])
def test_finds_the_keys_by_discovery_and_by_url(path, verify):
    key, documents = new_key("ES256"), {}
    with served(documents) as address:
        issuer = address + path
        discovery = {"issuer": issuer, "jwks_uri": f"{address}/keys"}
        documents[f"{path}/.well-known/openid-configuration"] = 200, json.dumps(discovery)
        documents["/keys"] = 200, key_set(key)
        token = sign("PyJWT", "ES256", key, claims(iss=issuer))
        assert verify(token, issuer=issuer)[0] == 0
        assert verify(token, "--jwks", f"{address}/keys", issuer=issuer)[0] == 0
        for arguments in [(), ("--jwks", f"{address}/keys")]:
            code, verdict = verify(token, *arguments, issuer=issuer, audience="api://else")
            assert (code, verdict["error"]) == (1, "claim_mismatch")
            foreign = sign("PyJWT", "ES256", new_key("ES256"), claims(iss=issuer))
            code, verdict = verify(foreign, *arguments, issuer=issuer)
            assert (code, verdict["error"]) == (1, "token_bad_signature")
        stranger = sign("PyJWT", "ES256", key, claims(iss="https://else.example"))
        assert verify(stranger, issuer=issuer)[1]["error"] == "claim_mismatch"


def test_refuses_when_the_keys_cannot_be_had(verify):
    key, documents = new_key("ES256"), {}
    with served(documents) as address:
        token = sign("PyJWT", "ES256", key, claims(iss=address))
        well_known = "/.well-known/openid-configuration"

        def verdict():
            code, said = verify(token, issuer=address)
            return code, said["error"]

        assert verdict() == (1, "keys_unavailable")
        documents["/keys"] = 200, key_set(key)
        documents[well_known] = 200, json.dumps({"issuer": address + "/", "jwks_uri": f"{address}/keys"})
        assert verdict() == (1, "discovery_malformed")
        documents[well_known] = 200, "<html>"
        assert verdict() == (1, "discovery_malformed")
        documents[well_known] = 200, json.dumps({"issuer": address, "jwks_uri": f"{address}/keys"})
        for keys, error in [
            ((500, ""), "keys_unavailable"),
            ((200, "<html>"), "keys_malformed"),
            ((200, '{"keys":[]}'), "no_usable_key"),
        ]:
            documents["/keys"] = keys
            assert verdict() == (1, error)
        documents["/keys"] = 200, json.dumps({"keys": [{"kty": "unheard-of"}, *json.loads(key_set(key))["keys"]]})
        assert verify(token, issuer=address)[0] == 0, "one bad key among good ones"
    assert verdict() == (1, "keys_unavailable")


def compact(header, content, secret=None):
    """A token as an attacker writes it: with an HMAC, or with nothing in place of the signature."""
    text = ".".join(b64url(json.dumps(member).encode()) for member in (header, content))
    return f"{text}.{b64url(hmac.digest(secret, text.encode(), hashlib.sha256)) if secret else ''}"


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
def test_refuses_a_token_without_signature(name, verify):
    for header in [{"alg": name}, {"alg": name, "kid": "k"}]:
        for signature in ["", b64url(b"x")]:
            code, verdict = verify(compact(header, claims()) + signature, jwks=key_set(new_key("RS256")))
            assert code == 1 and verdict["message"], verdict


def test_refuses_an_hmac_with_the_public_key_as_secret(verify):
    key = new_key("RS256")
    pem = key.as_pem(private=False)
    secrets = {
        "PEM": pem,
        "PEM without the last line end": pem.rstrip(b"\n"),
        "PEM PKCS#1": key.public_key.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "DER": key.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(key.as_dict(private=False)).encode(),
        "modulus": base64.urlsafe_b64decode(key.as_dict(private=False)["n"] + "=="),
    }
    with_alg = key.as_dict(private=False)
    without_alg = {name: value for name, value in with_alg.items() if name != "alg"}
    assert verify(sign("PyJWT", "RS256", key, claims()), jwks=json.dumps({"keys": [without_alg]}))[0] == 0
    for form, secret in secrets.items():
        for kid in [{}, {"kid": "k"}]:
            token = compact({"alg": "HS256"} | kid, claims(), secret)
            for keys in [pem.decode(), json.dumps({"keys": [with_alg]}), json.dumps({"keys": [without_alg]})]:
                code, verdict = verify(token, jwks=keys)
                assert code == 1 and verdict["message"].startswith("refused: "), (form, kid, verdict)


def test_never_looks_at_keys_that_a_token_brings_along(verify):
    trusted, own = new_key("ES256"), new_key("ES256")
    with served({"/keys": (200, key_set(own))}) as address:
        for header in [{"jwk": own.as_dict(private=False)}, {"jku": f"{address}/keys"}, {"x5u": f"{address}/keys"}]:
            token = pyjwt.encode(claims(), own.private_key, algorithm="ES256", headers={"kid": "k"} | header)
            code, verdict = verify(token, jwks=key_set(trusted))
            assert (code, verdict["error"]) == (1, "token_bad_signature")
