"""One table for what people bring and the doors they bring it through: forms of tokens and of keys, command line, HTTP, gate,
environment and trust.

A cell is `True` (taken), words of the reason, or `Never`, which says why the cell cannot be: no cell is empty. Commands take off what
stands around a token (decision 0064); endpoints and the gate take the token alone, because what they mended no other verifier would
take, and say what stands in front of it. The forms are those of public reports and of a first hour; details are in test_pasted.py.
"""

import base64
import json
import subprocess
from dataclasses import dataclass

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from e2e.conftest import openssl
from e2e.doors import AUDIENCE, CLIENTS, GATE, LOGIN, RULES, KeyDoors, TokenDoors, token
from e2e.program import CONFIG, World, client
from e2e.test_pasted import AROUND, BROKEN, REFUSED, TAKEN, key  # noqa: F401: the fixture
from e2e.test_token import configuration
from jwt.algorithms import RSAAlgorithm


@dataclass
class Never:
    """Why a form cannot come through a door."""

    why: str


HEADER = Never("no HTTP header can hold it")
TEXT = Never("an argument, a variable and a TOML text hold no such bytes")


@pytest.fixture(scope="module")
def worlds(full_binary, tmp_path_factory):
    """Makes worlds, and ends them."""
    made = []

    def new():
        made.append(World(full_binary, tmp_path_factory.mktemp("doors")))
        made[-1].environment["COUNTERSIGN_LOG__LEVEL"] = "error"
        return made[-1]

    yield new
    for world in made:
        world.end()


def check(cell, said, where):
    """Compares what was said with a cell of a table."""
    if cell is True:
        assert said.taken, (where, said)
    else:
        assert not said.taken and cell in said.text, (where, cell, said)


# Tokens.

COMMANDS = ["verify", "verify_input", "verify_file", "explain", "decode"]
ENDPOINTS = ["assertion", "subject_token"]
TOKEN_DOORS = COMMANDS + ENDPOINTS + ["authorize", "gate", "sign"]
QUOTES = "there is a quotation mark at character 1"
NAME = "a name with `:` or `=` stands in front of it"
JSON = "it begins with a brace, so it is JSON and not a token"
SCHEME = "another scheme than Bearer and DPoP"

#: What endpoints say of a form that a command takes, and what the gate says of it as the value of `Authorization`.
STRICT = {
    "double quotes": (QUOTES, QUOTES), "single quotes": (QUOTES, QUOTES), "typographic quotes": (QUOTES, QUOTES),
    "Bearer": ("a scheme like `Bearer ` stands in front of it; send the token alone", True),
    "a header": (NAME, SCHEME), "a variable": ("there is a blank or a line break at character 7", SCHEME),
    "an answer": (JSON, SCHEME), "Cognito's answer": (JSON, SCHEME), "a member of JSON": (QUOTES, SCHEME),
    "a redirect": ("three parts separated by dots are expected, and there are 4",) * 2,
    "wrapped lines": ("there is a blank or a line break at character", "the credential is not one token"),
    "a mark of byte order": ("character 1 is not in the alphabet of base64url",) * 2,
}
#: Parts of a token that can be shown although no verifier takes it.
SHOWN = {"padding", "padded header", "the other alphabet", "a cut signature", "two parts", "encrypted", "no signature", "another signature"}
NOT_SHOWN = {"another character": "character 1", "a quotation mark": "quotation mark", "one part": "this is not a token",
             "two tokens": "these are two tokens behind one another"}
NOBODY = "invalid_client"


def token_row(form):
    """The cells of a form, by door."""
    spell, says = (AROUND | BROKEN)[form]
    sample = spell(token())
    if form in AROUND:
        endpoint, gate = STRICT[form]
        row = dict.fromkeys(COMMANDS, True) | dict.fromkeys(ENDPOINTS, endpoint) | {"authorize": gate}
    else:
        row = dict.fromkeys(TOKEN_DOORS, says) | {"decode": True if form in SHOWN else NOT_SHOWN[form]}
    # A caller that is not let in is told a code alone; its reason is that of `authorize`, which asks the same gate.
    row["gate"] = True if row["authorize"] is True else "401 Bearer"
    # Clients of /sign are known by their secrets; who proves nothing is told nothing.
    row["sign"] = NOBODY
    if "\n" in sample or not sample.isascii():
        row |= {"gate": HEADER, "sign": HEADER}
    return row


@pytest.fixture(scope="module")
def token_doors(worlds, lasting_authority):
    return TokenDoors(worlds(), lasting_authority(configuration(*CLIENTS, *RULES) + GATE))


@pytest.mark.parametrize("form", [*AROUND, *BROKEN])
def test_a_token_is_taken_or_refused_with_its_reason_at_every_door(token_doors, form):
    spell, says = (AROUND | BROKEN)[form]
    row = token_row(form)
    assert set(row) == set(TOKEN_DOORS), "no cell is empty"
    for door in TOKEN_DOORS:
        shown = token()
        if isinstance(row[door], Never):
            continue
        said = getattr(token_doors, door)(spell(shown))
        check(row[door], said, (form, door))
        if form in AROUND and door in COMMANDS and says:
            assert says in said.text, (form, door, said)
        if door not in COMMANDS:
            assert shown.split(".")[2] not in said.text, "a refusal repeats no token"


def test_a_token_as_it_is_goes_through_every_door_that_takes_tokens(token_doors):
    for door in TOKEN_DOORS:
        check(NOBODY if door == "sign" else True, getattr(token_doors, door)(token()), door)


def test_a_token_in_utf_16_is_told_so(token_doors):
    said = token_doors.verify(token().encode("utf-16"), "file")
    check("it is UTF-16, as Windows PowerShell", said, "file")


# Keys.

PRIVATE = ["import_file", "import_input", "import_variable", "init_key"]
PUBLIC = ["verify", "trust_pem", "trust_jwks", "trust_inline", "trust_variable"]
KEY_DOORS = [*PRIVATE, "jaas", *PUBLIC]


def cells(private, public, jaas=None, **others):
    """A row: what doors for private keys say, those for public keys, and PRIVATE_KEY where it says something else."""
    return dict.fromkeys(PRIVATE, private) | dict.fromkeys(PUBLIC, public) | {"jaas": private if jaas is None else jaas} | others


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def forms(key):  # noqa: F811
    """Form → text or bytes."""
    folder = key["folder"]
    private = load_pem_private_key(key["pem"].encode(), None)
    jwk = json.loads(RSAAlgorithm.to_jwk(private)) | {"kid": KeyDoors.KID, "alg": "RS256"}
    jwk.pop("key_ops", None)
    public = {name: jwk[name] for name in ("kty", "n", "e", "kid", "alg")}
    modulus = base64.urlsafe_b64decode(public["n"] + "==")
    body = "".join(key["certificate"].splitlines()[1:-1])
    archive = ["openssl", "pkcs12", "-export", "-inkey", folder / "key.pem", "-in", "/dev/stdin", "-passout", "pass:x", "-out", folder / "key.p12"]
    subprocess.run(archive, input=key["certificate"], text=True, check=True)

    def jwks(**members):
        return json.dumps({"keys": [public | members]})

    return {form: spell(key) for form, spell in TAKEN.items()} | {form: spell(key) for form, (spell, _) in REFUSED.items()} | {
        "PKCS#1": openssl("pkey", "-in", folder / "key.pem", "-traditional"),
        "public PKCS#1": openssl("rsa", "-in", folder / "key.pem", "-RSAPublicKey_out"),
        "encrypted PKCS#8": openssl("pkey", "-in", folder / "key.pem", "-aes128", "-passout", "pass:abcdef"),
        "encrypted PKCS#1": openssl("rsa", "-in", folder / "key.pem", "-traditional", "-aes128", "-passout", "pass:abcdef"),
        "two keys": key["pem"] * 2, "1024 bits": openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
        "private JWK": json.dumps(jwk), "private JWK to sign": json.dumps(jwk | {"key_ops": ["sign"], "ext": True}),
        "private JWK to verify": json.dumps(jwk | {"key_ops": ["verify"]}), "private JWKS": json.dumps({"keys": [jwk]}),
        "JWK": json.dumps(public), "JWKS": jwks(), "JWKS with a mark of byte order": "\ufeff" + jwks(),
        "n with padding": jwks(n=base64.urlsafe_b64encode(modulus).decode()), "n with a line break": jwks(n=public["n"][:60] + "\n" + public["n"][60:]),
        "n in standard base64": jwks(n="+" + base64.b64encode(modulus).decode().rstrip("=")[1:]), "n with a zero in front": jwks(n=b64url(b"\0" + modulus)),
        "secret JWK": json.dumps({"kty": "oct", "k": b64url(b"x" * 32), "kid": KeyDoors.KID, "alg": "HS256"}),
        "map of certificates": json.dumps({KeyDoors.KID: key["certificate"]}), "element of x5c": body,
        "JWK of x5c alone": json.dumps({"keys": [{"kty": "RSA", "kid": KeyDoors.KID, "alg": "RS256", "x5c": [body]}]}),
        "JWKS of nothing": '{"keys":[]}', "JSON that was cut": '{"keys":[', "text secret": "a shared secret, of more than thirty-two bytes!",
        "expired certificate": key["expired"], "DER": (folder / "key.der").read_bytes(), "PKCS#12": (folder / "key.p12").read_bytes(),
        "UTF-16": key["pem"].encode("utf-16"),
    }


IS_PUBLIC = "this is a public key, and a private key is needed"
ENCRYPTED = "the private key is encrypted; decrypt it first (openssl pkey -in key.pem -out clear.pem)"
IS_JSON = "it is JSON and not PEM"
NO_N = "the JWK has no `n` member"
CERTIFICATE = "it is a certificate, which has only a public key in it"
OTHER_SECRET = "a shared secret has settings of its own (--secret, hmac_secret)"
BYTES = {"import_input": TEXT, "import_variable": TEXT, "jaas": TEXT, "trust_inline": TEXT, "trust_variable": TEXT}
IS_DER = "it is DER or PKCS#12 and not text; for DER: openssl pkey -inform DER"

KEYS = {form: cells(True, True) for form in TAKEN} | {form: cells(says, says) for form, (_, says) in REFUSED.items()} | {
    "a certificate": cells(CERTIFICATE, True), "a public key": cells(IS_PUBLIC, True),
    "PKCS#1": cells(True, True), "public PKCS#1": cells(IS_PUBLIC, True),
    "encrypted PKCS#8": cells(ENCRYPTED, ENCRYPTED), "encrypted PKCS#1": cells(ENCRYPTED, ENCRYPTED),
    "two keys": cells(*["the PEM text holds more than one key"] * 2), "1024 bits": cells(*["the RSA key has 1024 bits; at least 2048 are needed"] * 2),
    "private JWK": cells(True, True, IS_JSON), "private JWK to sign": cells(True, True, IS_JSON), "private JWKS": cells(True, True, IS_JSON),
    "private JWK to verify": cells('`key_ops` of the key does not allow "sign"', True, IS_JSON),
    "JWK": cells(IS_PUBLIC, True, IS_JSON), "JWKS": cells(IS_PUBLIC, True, IS_JSON), "JWKS with a mark of byte order": cells(IS_PUBLIC, True, IS_JSON),
    "n with padding": cells(*["the JWK member `n` is not base64url: it ends in padding"] * 2, IS_JSON),
    "n with a line break": cells(*["the JWK member `n` is not base64url: there is a blank or a line break at character 61"] * 2, IS_JSON),
    "n in standard base64": cells(*["the JWK member `n` is not base64url: it is standard base64"] * 2, IS_JSON),
    "n with a zero in front": cells(IS_PUBLIC, True, IS_JSON),
    "secret JWK": cells("the key does not fit algorithm RS256", 'the inline key set holds no key for the algorithms named', IS_JSON,
                        verify="the token says RS256, but its key is for HS256", init_key="needs an asymmetric algorithm"),
    "map of certificates": cells("it is not a key: it has neither `kty` nor `pem`", True, CERTIFICATE),
    "element of x5c": cells(*["put them around it (for an element of x5c: CERTIFICATE)"] * 2),
    "JWK of x5c alone": cells(NO_N, NO_N, IS_JSON),
    "JWKS of nothing": cells("it is empty", "holds no key", IS_JSON, verify="there is no key to verify with"),
    "JSON that was cut": cells(*["malformed JSON at line 1 column 9"] * 2, IS_JSON),
    "text secret": cells(OTHER_SECRET, OTHER_SECRET),
    "expired certificate": cells(CERTIFICATE, "the certificate of the token's key is expired or not valid yet"),
    "DER": cells(IS_DER, IS_DER) | BYTES, "PKCS#12": cells(IS_DER, IS_DER) | BYTES,
    "UTF-16": cells(*["it is UTF-16, as Windows PowerShell"] * 2) | BYTES,
}


@pytest.fixture(scope="module")
def key_doors(worlds, key):  # noqa: F811
    world = worlds()
    world.configure(CONFIG + client("tests"))
    world.done("keys", "list")
    doors = KeyDoors(world, worlds)
    claims = {"iss": LOGIN, "sub": "a", "aud": AUDIENCE, "exp": 4_000_000_000}
    doors.signed = jwt.encode(claims, key["pem"], algorithm="RS256", headers={"kid": KeyDoors.KID})
    return doors


@pytest.mark.parametrize("form", KEYS)
def test_a_key_is_taken_or_refused_with_its_reason_at_every_door(key_doors, forms, key, form):  # noqa: F811
    row = KEYS[form]
    assert set(row) == set(KEY_DOORS), "no cell is empty"
    for door in KEY_DOORS:
        if isinstance(row[door], Never):
            continue
        said = getattr(key_doors, door)(forms[form])
        check(row[door], said, (form, door))
        assert key["pem"].splitlines()[3] not in said.text, "no message repeats a key"


def test_every_form_has_a_row(forms):
    assert set(forms) == set(KEYS)
    assert {form for form, row in KEYS.items() if any(isinstance(cell, Never) for cell in row.values())} == {"DER", "PKCS#12", "UTF-16"}
