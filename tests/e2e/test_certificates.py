"""Certificates: one per key, made once, signed by the key itself, in the x509 map, in the JWKS on request, and exported.

Read by openssl and by Python's cryptography, and used by this project's own verifier and gate as Firebase's are.
"""

import base64
import hashlib
import json
import sqlite3
import subprocess
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from e2e import wire
from e2e.conftest import openssl
from e2e.program import CONFIG, SECRET, client
from e2e.test_keys_cli import make
from gate.lambda_api import event

MAP = "/.well-known/x509.json"
JWKS = "/.well-known/jwks.json"

#: The signature algorithm of a certificate, as openssl names it, by the algorithm of the key.
SIGNATURES = {
    "RS256": "sha256WithRSAEncryption", "RS384": "sha384WithRSAEncryption", "RS512": "sha512WithRSAEncryption",
    "PS256": "rsassaPss", "PS384": "rsassaPss", "PS512": "rsassaPss",
    "ES256": "ecdsa-with-SHA256", "ES384": "ecdsa-with-SHA384", "ES512": "ecdsa-with-SHA512",
    "EdDSA": "ED25519", "Ed25519": "ED25519",
}
WITH_X5C = CONFIG.replace("[rings", "[jwks]\nx5c = true\n\n[rings") + client("tests")


def with_algorithm(algorithm, text=CONFIG + client("tests")):
    return text.replace('"ES256"', f'"{algorithm}"')


def mapped(issuer):
    return wire.get(issuer, MAP).json()


def exported(world):
    return json.loads(world.done("keys", "export", "--public", "--format", "x509"))


def der(pem):
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)


def spki(public):
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def mint(issuer):
    headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
    return wire.ask(issuer, "POST", "/sign", headers, b'{"data":{"sub":"alice"}}').json()["access_token"]


@pytest.mark.parametrize("algorithm", [name for name in SIGNATURES if name != "Ed25519"])
def test_openssl_and_cryptography_accept_the_certificate_of_every_kind_of_key(world, algorithm):
    world.configure(with_algorithm(algorithm, WITH_X5C))
    issuer = world.serve().printed["issuer"]
    [key] = wire.get(issuer, JWKS).json()["keys"]
    kid, [text] = key["kid"], key["x5c"]
    certificate = x509.load_der_x509_certificate(base64.b64decode(text, validate=True))
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    file = world.folder / "certificate.pem"
    file.write_text(pem)
    assert openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", file, file).strip().endswith(": OK")
    shown = openssl("x509", "-noout", "-text", "-in", file)
    for line in ["Version: 3 (0x2)", f"Subject: CN = {kid}", f"Issuer: CN = {kid}", f"Signature Algorithm: {SIGNATURES[algorithm]}",
                 "X509v3 Basic Constraints: critical", "CA:FALSE", "X509v3 Key Usage: critical", "Digital Signature"]:
        assert line in shown, shown
    assert "Certificate Sign" not in shown and "Key Encipherment" not in shown
    # PyJWT does not know the name Ed25519 yet; the kind of key is enough.
    public = jwt.PyJWK({name: value for name, value in key.items() if name != "alg"}).key
    assert spki(certificate.public_key()) == spki(public)
    assert 2**120 < certificate.serial_number < 2**127
    made = datetime.now(UTC) - timedelta(days=1)
    assert abs(made - certificate.not_valid_before_utc) < timedelta(minutes=2)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=7301)
    certificate.verify_directly_issued_by(certificate)
    # The map is for those who know RSA and EC keys alone.
    assert mapped(issuer) == ({} if algorithm in ("EdDSA", "Ed25519") else {kid: pem})
    assert exported(world) == mapped(issuer)


def test_no_certificate_is_with_a_key_whose_algorithm_it_would_say_otherwise(world):
    # Go's jwkset reads `EdDSA` out of it, and then takes no key of the whole set.
    world.configure(with_algorithm("Ed25519", WITH_X5C) + '\n[rings.other]\nalgorithm = "EdDSA"\n')
    keys = {key["alg"]: key for key in wire.get(world.serve().printed["issuer"], JWKS).json()["keys"]}
    assert set(keys) == {"Ed25519", "EdDSA"}
    assert not {"x5c", "x5t#S256"} & set(keys["Ed25519"]) and {"x5c", "x5t#S256"} <= set(keys["EdDSA"])


def test_the_map_is_a_document_like_the_others(world):
    world.configure()
    issuer = world.serve().printed["issuer"]
    answer = wire.get(issuer, MAP)
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    assert 240 <= wire.max_age(answer) <= 300 and answer.headers["access-control-allow-origin"] == "*"
    assert wire.get(issuer, MAP, {"If-None-Match": answer.headers["etag"]}).status == 304
    world.done("publish", "site")
    assert (world.folder / "site" / MAP[1:]).read_bytes() == answer.body


def test_the_jwks_is_as_small_as_it_was_unless_certificates_are_asked_for(world):
    port = world.configure(with_algorithm("RS256"))
    world.done("publish", "plain")
    plain = json.loads((world.folder / "plain" / JWKS[1:]).read_text())["keys"]
    assert [set(key) for key in plain] == [{"kty", "use", "alg", "kid", "n", "e"}]
    world.configure(with_algorithm("RS256", WITH_X5C), port)
    world.done("publish", "full")
    certificate = der(exported(world)[plain[0]["kid"]])
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).decode().rstrip("=")
    for path in [JWKS, "/public-keys", "/.well-known/jwks-rsa.json"]:
        [key] = json.loads((world.folder / "full" / path[1:]).read_text())["keys"]
        assert key == plain[0] | {"x5c": [base64.b64encode(certificate).decode()], "x5t#S256": thumbprint}, path
    # A verifier that reads certificates in a JWKS reads the same key.
    world.done("verify", "--jwks", "full/.well-known/jwks.json", world.done("sign", "--claims", "{}").strip())


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512"])
def test_a_token_is_verified_with_the_map_alone(world, algorithm):
    world.configure(with_algorithm(algorithm))
    issuer = world.serve().printed["issuer"]
    token = mint(issuer)
    world.done("verify", "--jwks", issuer + MAP, "--audience", "api://default", token)
    wrong = token[:-8] + ("AAAAAAAA" if not token.endswith("AAAAAAAA") else "BBBBBBBB")
    assert world.run("verify", "--jwks", issuer + MAP, wrong).returncode == 1
    key = x509.load_pem_x509_certificate(mapped(issuer)[wire.header(token)["kid"]].encode()).public_key()
    jwt.decode(token, key, algorithms=[algorithm], audience="api://default")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_the_gate_lets_a_token_in_whose_keys_are_the_map(world, algorithm):
    world.configure(with_algorithm(algorithm))
    issuer = world.serve().printed["issuer"]
    (world.folder / "gate").mkdir()
    token = mint(issuer)

    def judged(token, audience="api://default"):
        environment = {"JWT_ISSUER_JWKS_URI": issuer + MAP, "JWT_AUTHORIZED_AUDIENCES": audience}
        done = subprocess.run(
            [world.binary, "authorize", "--event", "-"], cwd=world.folder / "gate", env=world.environment | environment,
            input=event("rest-request", token), capture_output=True, text=True, timeout=60)
        return done.returncode, json.loads(done.stdout)

    code, reply = judged(token)
    assert code == 0 and reply["policyDocument"]["Statement"][0]["Effect"] == "Allow", reply
    assert reply["context"]["sub"] == "alice" and reply["context"]["iss"] == issuer
    assert judged(token, "api://other") == (1, {"errorMessage": "Unauthorized"})


def test_every_instance_shows_the_same_bytes_before_and_after_a_restart(world):
    world.configure()
    first = world.serve()
    before = wire.get(first.printed["issuer"], MAP)
    second = world.serve("--listen", "127.0.0.1:0")
    assert wire.get(f"http://{second.printed['listen']}", MAP).body == before.body
    first.terminate()
    assert first.wait(20) == 0
    again = wire.get(world.serve().printed["issuer"], MAP)
    assert (again.body, again.headers["etag"]) == (before.body, before.headers["etag"])
    # And after changes of other keys.
    world.done("keys", "prepare")
    world.done("keys", "import", "--kid", "k1", "-", input=make("RS256"))
    assert json.loads(before.body).items() < exported(world).items()


@pytest.mark.parametrize("kind", ["RS256", "ES256", "Ed25519"])
def test_nothing_private_is_in_a_certificate(world, kind):
    world.configure(WITH_X5C)
    text = make(kind)
    world.done("keys", "import", "--activate", "--kid", "leaked", "-", input=text)
    world.done("publish", "site")
    keys = {key["kid"]: key for key in json.loads((world.folder / "site" / JWKS[1:]).read_text())["keys"]}
    certificate = base64.b64decode(keys["leaked"]["x5c"][0])
    private = serialization.load_pem_private_key(text.encode(), None)
    if kind == "Ed25519":
        secrets = [private.private_bytes_raw()]
    else:
        numbers = private.private_numbers()
        names = ["d", "p", "q", "dmp1", "dmq1", "iqmp"] if kind == "RS256" else ["private_value"]
        values = [getattr(numbers, name) for name in names]
        secrets = [value.to_bytes((value.bit_length() + 7) // 8) for value in values]
    assert all(secret not in certificate for secret in secrets)
    assert "PRIVATE" not in (world.folder / "site" / MAP[1:]).read_text() + json.dumps(exported(world))


@pytest.mark.parametrize("kid", [
    "k", "vpaas-magic-cookie-1fc542a3e4414a44b2611668195e2bfe/4f4910", 'a,CN=b+O="c";<d>\\#=e', " spaces around ", "x" * 64, "x" * 65,
    "y" * 256,
])
def test_a_key_of_any_name_has_a_certificate(world, kid):
    world.configure()
    world.done("keys", "import", "--activate", "--kid", kid, "-", input=make("RS256"))
    pem = exported(world)[kid]
    certificate = x509.load_pem_x509_certificate(pem.encode())
    [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == (kid if len(kid) <= 64 else hashlib.sha256(kid.encode()).hexdigest())
    assert len(certificate.subject) == 1 and certificate.subject == certificate.issuer
    (world.folder / "c.pem").write_text(pem)
    openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", world.folder / "c.pem", world.folder / "c.pem")
    issuer = world.serve().printed["issuer"]
    world.done("verify", "--jwks", issuer + MAP, mint(issuer))


@pytest.mark.parametrize("kid", ["keys", "error"])
def test_a_key_named_like_another_kind_of_document_does_not_hide_the_others(world, kid):
    world.configure()
    token = world.done("sign", "--claims", "{}").strip()
    world.done("keys", "import", "--kid", kid, "-", input=make("RS256"))
    issuer = world.serve().printed["issuer"]
    assert set(mapped(issuer)) == {wire.header(token)["kid"]}
    world.done("verify", "--jwks", issuer + MAP, token)


def test_secrets_and_revoked_keys_are_not_in_the_map(world):
    world.configure(CONFIG + '[rings.shared]\nalgorithm = "HS256"\n' + client("tests"))
    secret = {"kty": "oct", "kid": "secret", "alg": "HS256", "k": base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")}
    world.done("keys", "import", "--ring", "shared", "-", input=json.dumps(secret))
    old = world.done("sign", "--claims", "{}").strip()
    old = wire.header(old)["kid"]
    world.done("keys", "revoke", old)
    found = mapped(world.serve().printed["issuer"])
    assert len(found) == 1 and not {old, "secret"} & set(found)
