"""One authority per algorithm, each with a set of tokens that every library must judge alike.

The same tokens go to the Python tests and, as a file, to the Node tests.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, field

import httpx
import joserfc.jwk
import joserfc.jwt
import pytest
from authority import AUDIENCE, CLIENT, Authority, clean_environment, configuration, until
from libraries import ASYMMETRIC, SYMMETRIC, b64url, b64url_decode, jwks_uri, part

#: Claims that a reader or writer of JSON may be tempted to change, as JSON text. No spaces between the members: those
#: are not part of any claim.
CLAIMS = r'''
"sub":"alice",
"empty":"","null":null,"yes":true,"no":false,"none":[],"nothing":{},
"nested":{"a":{"b":[1,[2,{"c":null}]]},"": "empty name"},
"list":["x", 1, 1.0, null, {"k":"v"}],
"big":9007199254740993,"bigger":123456789012345678901234567890,"negative":-9223372036854775809,
"float":1.0,"exponent":1e2,"Exponent":1E+2,"tiny":5e-324,"zero":-0.0,"long":0.1000000000000000055511151231257827,
"emoji":"👩‍👩‍👧‍👦 🇨🇭","rtl":"שלום עולם \u202eabc","combining":"e\u0301 é","cjk":"漢字","name with ümlaut":"ü",
"escapes":"\ud83d\ude00 \/ \u0000 \u2028 \" \\ \b\f\n\r\t","html":"</script><!-- &amp; -->","url":"https://a.example/b"
'''.strip().replace("\n", "")


@dataclass
class Case:
    """An authority of one algorithm, and tokens by what should become of them."""

    algorithm: str
    issuer: str
    audience: str
    claims: str
    tokens: dict = field(default_factory=dict)


def forge(algorithm, kid, claims):
    """A token under somebody else's kid, signed with a key made here."""
    kty = {"R": "RSA", "P": "RSA", "E": "EC"}[algorithm[0]] if algorithm not in ("EdDSA", "Ed25519") else "OKP"
    curve = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
    key = joserfc.jwk.generate_key(kty, curve.get(algorithm, 2048), {"kid": kid}, private=True)
    return joserfc.jwt.encode({"alg": algorithm, "kid": kid}, claims, key, algorithms=[algorithm])


def tampered(token):
    """The same header and signature around other claims."""
    header, payload, signature = token.split(".")
    claims = b64url_decode(payload).replace(b'"sub":"alice"', b'"sub":"mallory"')
    assert b"mallory" in claims
    return ".".join([header, b64url(claims), signature])


def make_case(algorithm, start, binary, folder):
    ours = start(configuration(algorithm))
    case = Case(algorithm, ours.issuer, AUDIENCE, f"{{{CLAIMS}}}")
    good = ours.sign(case.claims)
    other = Authority(binary, folder, clean_environment())
    other.run("init", "--issuer", ours.issuer, "--algorithm", algorithm)
    case.tokens = {
        "good": good,
        "two audiences": ours.sign({"sub": "alice"}, {"audience": ["api://other", AUDIENCE]}),
        "changed payload": tampered(good),
        "another audience": ours.sign({"sub": "alice"}, {"audience": "api://other"}),
        "another issuer's key": other.run("sign", "--claims", '{"sub":"alice"}').stdout.strip(),
        "a forged kid": forge(algorithm, json.loads(part(good, 0))["kid"], json.loads(part(good, 1))),
        "expired": ours.sign({"sub": "alice"}, {"duration": 6}),
    }
    assert json.loads(part(case.tokens["another issuer's key"], 1))["iss"] == ours.issuer
    return case


@pytest.fixture(scope="session")
def cases(lasting_authority, binary, tmp_path_factory):
    """Algorithm → case. All of them live until the end, and the expired tokens have expired."""
    folder = tmp_path_factory.mktemp
    made = {a: make_case(a, lasting_authority, binary, folder("other")) for a in ASYMMETRIC}
    last = max(json.loads(part(case.tokens["expired"], 1))["exp"] for case in made.values())
    until(lambda: time.time() > last + 1, "the tokens expire")
    return made


@dataclass
class Shared:
    """An authority that signs with a shared secret, which only the verifier of this test has too."""

    algorithm: str
    issuer: str
    audience: str
    secret: str
    token: str


@pytest.fixture(scope="session")
def shared(lasting_authority):
    """Algorithm → authority with an imported `oct` JWK."""

    def make(algorithm):
        secret = b64url(os.urandom(int(algorithm[2:]) // 8))
        jwk = json.dumps({"kty": "oct", "k": secret, "kid": f"shared-{algorithm}", "alg": algorithm})
        ours = lasting_authority(
            configuration(algorithm),
            before=lambda new: new.run("keys", "import", "-", "--ring", "default", "--activate", input=jwk),
        )
        return Shared(algorithm, ours.issuer, AUDIENCE, secret, ours.sign({"sub": "alice"}))

    return {algorithm: make(algorithm) for algorithm in SYMMETRIC}


@pytest.fixture(scope="session")
def mixed(lasting_authority):
    """An authority whose key set holds a key of every algorithm, before and after its signing key was replaced.

    algorithm → token: RS256 from the first key, ES256 from an imported one, published first and activated later.
    """
    rings = "".join(f'[rings.{a.lower()}]\nalgorithm = "{a}"\n' for a in ASYMMETRIC)
    config = f'issuer = "@ISSUER@"\n[store]\nrefresh = "100ms"\n{rings}{CLIENT}'
    ours = lasting_authority(config)
    tokens = {"RS256": ours.sign({"sub": "alice"})}
    key = joserfc.jwk.ECKey.generate_key("P-256", private=True).as_pem(private=True).decode()

    def kid(token):
        return json.loads(part(token, 0))["kid"]

    def imports(*arguments):
        run = ours.run("keys", "import", "-", "--kid", "next", "--json", *arguments, input=key)
        return json.loads(run.stdout)

    keys = jwks_uri(ours.issuer)
    assert imports()["state"] == "published"
    until(lambda: "next" in [key["kid"] for key in httpx.get(keys).json()["keys"]], "the new key is published")
    assert kid(ours.sign({"sub": "alice"})) == kid(tokens["RS256"]), "a published key does not sign"
    assert imports("--activate")["state"] == "active"
    tokens["ES256"] = until(lambda: (t := ours.sign({"sub": "alice"})) and kid(t) == "next" and t, "the new key signs")
    return {"issuer": ours.issuer, "audience": AUDIENCE, "tokens": tokens}


@pytest.fixture(scope="session")
def cases_file(cases, shared, mixed, tmp_path_factory):
    """All of it as a JSON file for the Node tests."""
    file = tmp_path_factory.mktemp("node") / "cases.json"
    everything = {
        "cases": [asdict(case) for case in cases.values()],
        "shared": [asdict(one) for one in shared.values()],
        "mixed": mixed,
    }
    file.write_text(json.dumps(everything), encoding="utf-8")
    return file
