"""Keys that go out and come in: PEM exports in other programs, private keys of OpenSSL in Countersign."""

import json
import subprocess
from pathlib import Path

import jwt as pyjwt
import pytest
from authority import AUDIENCE, configuration
from libraries import ASYMMETRIC, SUPPORT, part, with_pyjwt
from openssl import one_line, openssl, public_of

#: What `openssl` writes → the command that writes it, how it begins, the algorithm such a key signs with.
OPENSSL = {
    "RSA, PKCS#1": ("genrsa -traditional 2048", "BEGIN RSA PRIVATE KEY", "RS256"),
    "RSA, PKCS#8": ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", "BEGIN PRIVATE KEY", "RS256"),
    "RSA 3072, PKCS#8": ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072", "BEGIN PRIVATE KEY", "RS256"),
    "P-256, SEC1": ("ecparam -name prime256v1 -genkey -noout", "BEGIN EC PRIVATE KEY", "ES256"),
    "P-256, SEC1 after its parameters": ("ecparam -name prime256v1 -genkey", "BEGIN EC PARAMETERS", "ES256"),
    "P-384, SEC1": ("ecparam -name secp384r1 -genkey -noout", "BEGIN EC PRIVATE KEY", "ES384"),
    "P-521, SEC1": ("ecparam -name secp521r1 -genkey -noout", "BEGIN EC PRIVATE KEY", "ES512"),
    "P-256, PKCS#8": ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", "BEGIN PRIVATE KEY", "ES256"),
    "P-384, PKCS#8": ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "BEGIN PRIVATE KEY", "ES384"),
    "P-521, PKCS#8": ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521", "BEGIN PRIVATE KEY", "ES512"),
    "Ed25519, PKCS#8": ("genpkey -algorithm ed25519", "BEGIN PRIVATE KEY", "EdDSA"),
}


@pytest.mark.parametrize("form", OPENSSL)
def test_an_openssl_key_signs_what_pyjwt_accepts(form, authority, tmp_path):
    command, begins, algorithm = OPENSSL[form]
    pem = openssl(command)
    assert begins in pem.splitlines()[0]
    (tmp_path / "key.pem").write_text(pem, encoding="utf-8")
    said = {}

    def imports(new):
        said.update(json.loads(new.run("keys", "import", tmp_path / "key.pem", "--activate", "--json").stdout)["keys"][0])

    ours = authority(configuration(algorithm), before=imports)
    token = ours.sign({"sub": "alice"})
    assert json.loads(part(token, 0)) == {"alg": algorithm, "kid": said["kid"], "typ": "JWT"}
    # By discovery, and with what OpenSSL itself says is the public key: nothing is taken on Countersign's word alone.
    assert with_pyjwt(token, ours.issuer, ours.issuer, AUDIENCE, algorithm)["sub"] == "alice"
    claims = pyjwt.decode(token, public_of(pem), algorithms=[algorithm], audience=AUDIENCE, issuer=ours.issuer)
    assert claims["sub"] == "alice"
    assert ours.run("keys", "export", "--public", "--format", "pem").stdout == public_of(pem)


@pytest.mark.parametrize("form", ["RSA, PKCS#1", "RSA, PKCS#8", "P-256, SEC1", "Ed25519, PKCS#8"])
@pytest.mark.parametrize("quote", ["", '"', "'"], ids=["plain", "double quotes", "single quotes"])
def test_imports_a_key_from_one_line_of_the_environment(form, quote, authority):
    command, _, algorithm = OPENSSL[form]
    pem = openssl(command)
    variable = {"PRIVATE_KEY": quote + one_line(pem) + quote}

    def imports(new):
        new.run("keys", "import", "--env", "PRIVATE_KEY", "--activate", env=variable)

    ours = authority(configuration(algorithm), before=imports)
    claims = pyjwt.decode(
        ours.sign({"sub": "alice"}), public_of(pem), algorithms=[algorithm], audience=AUDIENCE, issuer=ours.issuer
    )
    assert claims["sub"] == "alice"


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_the_exported_pem_is_the_published_key_to_node_openssl_and_pyjwt(algorithm, authority):
    ours = authority(configuration(algorithm))
    pem = ours.run("keys", "export", "--public", "--format", "pem").stdout
    script = Path(__file__).with_name("node") / "pem.mjs"
    read = subprocess.run(["node", script], input=pem, capture_output=True, text=True, timeout=60)
    assert read.returncode == 0, read.stderr
    (published,) = json.loads(ours.run("keys", "export", "--public").stdout)["keys"]
    assert json.loads(read.stdout) == {n: v for n, v in published.items() if n not in ("kid", "alg", "use")}
    assert openssl("pkey -pubin -pubout", pem) == pem
    if SUPPORT["PyJWT"][algorithm] is True:
        token, options = ours.sign({"sub": "alice"}), {"audience": AUDIENCE, "issuer": ours.issuer}
        assert pyjwt.decode(token, pem, algorithms=[algorithm], **options)["sub"] == "alice"


@pytest.mark.parametrize(
    ("what", "command", "reason"),
    [
        ("encrypted", "genpkey -algorithm RSA -aes256 -pass pass:secret", "encrypted"),
        ("RSA of 1024 bits", "genrsa 1024", "2048"),
        ("another curve", "ecparam -name secp256k1 -genkey -noout", "P-256"),
        ("X25519, which does not sign", "genpkey -algorithm x25519", "Ed25519"),
    ],
)
def test_refuses_keys_it_cannot_sign_with(what, command, reason, authority):
    ours = authority(configuration("RS256"))
    done = ours.run("keys", "import", "-", input=openssl(command), check=False)
    assert done.returncode == 1 and reason in done.stderr, (what, done)
    keys = json.loads(ours.run("keys", "list", "--json").stdout)["keys"]
    assert [key["origin"] for key in keys] == ["generated"]
