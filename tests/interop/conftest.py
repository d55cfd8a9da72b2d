"""Issuers whose tokens every library must judge alike: one for each algorithm, and two that have all of them.

The tokens of the former go to the tests in Python and, as a file, to those in Node.
"""

import json
import os
from dataclasses import asdict, dataclass, field

import pytest
from authority import AUDIENCE, authorities, configuration
from judges import Judges
from libraries import ASYMMETRIC, SYMMETRIC, b64url
from rings import Rings, new_key

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


def make_case(algorithm, start):
    ours = start(configuration(algorithm))
    case = Case(algorithm, ours.issuer, AUDIENCE, f"{{{CLAIMS}}}")
    case.tokens = {
        "good": ours.sign(case.claims),
        "two audiences": ours.sign({"sub": "alice"}, {"audience": ["api://other", AUDIENCE]}),
    }
    return case


@pytest.fixture(scope="session")
def lasting_authority(binary, tmp_path_factory):
    """A factory of authorities that live until the last test, for all files here."""
    with authorities(binary, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def cases(lasting_authority):
    """Algorithm → case. All of them live until the end."""
    return {algorithm: make_case(algorithm, lasting_authority) for algorithm in ASYMMETRIC}


@pytest.fixture(scope="session")
def judges():
    """All the libraries that there are on this machine."""
    made = Judges()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="session")
def keys():
    """Algorithm → a private key, which issuers and tests share."""
    return {algorithm: new_key(algorithm, f"key-{algorithm}") for algorithm in ASYMMETRIC}


@pytest.fixture(scope="session")
def mixed(lasting_authority, keys):
    """An issuer with keys of all algorithms in one set."""
    return Rings(lasting_authority, keys)


@pytest.fixture(scope="session")
def mixed_with_certificates(lasting_authority, keys):
    """The same with certificates beside the keys, and an issuer with a path."""
    return Rings(lasting_authority, keys, issuer="@ISSUER@/tenant/a", jwks="x5c = true")


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
def cases_file(cases, shared, tmp_path_factory):
    """All of it as a JSON file for the Node tests."""
    file = tmp_path_factory.mktemp("node") / "cases.json"
    everything = {
        "cases": [asdict(case) for case in cases.values()],
        "shared": [asdict(one) for one in shared.values()],
    }
    file.write_text(json.dumps(everything), encoding="utf-8")
    return file
