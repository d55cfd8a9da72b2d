"""Tokens of Countersign before every library in four languages: which takes which, and that none takes a bad one.

What a library says is in `support.json` (algorithms it does not know) and `refusals.json` (bad tokens): another answer
than that would mean that something else was wrong. The verdicts of all together are the table in `docs/keys.md`.
"""

import base64
import csv
import datetime
import functools
import json
import re
from pathlib import Path

import pytest
from authority import AUDIENCE, HTTP, authorities, configuration, until
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from judges import FETCHING, LANGUAGE, LIBRARIES
from libraries import ASYMMETRIC, SUPPORT, SYMMETRIC, jwks_uri, part
from web import served

ROOT = Path(__file__).parents[2]
TABLE, PAGE = ROOT / "crates/consumers/algorithms.csv", ROOT / "docs/keys.md"
REFUSALS = json.loads(Path(__file__).with_name("refusals.json").read_text(encoding="utf-8"))
#: What is wrong with a token → the kind of refusal, as in refusals.json.
BAD = {
    "expired": "expired",
    "from the future": "not yet",
    "another audience": "audience",
    "another issuer": "issuer",
    "another key of the same name": "key",
    "an unknown key": "key",
    "an unknown key without a name": "key",
    "changed payload": "key",
    "alg none": "none",
    "alg none without a name": "none",
}
#: Claims that no library reads as anything but what they are.
TEXTS = "sub empty emoji rtl combining cjk escapes html url yes no".split() + ["name with ümlaut"]

every_library = pytest.mark.parametrize("library", LANGUAGE)


@pytest.fixture(scope="module")
def ours(cases, mixed, mixed_with_certificates):
    """Algorithm → kind of issuer → the issuer and a token as it was signed there."""
    found = {a: {"a key set of one": (case.issuer, case.tokens["good"])} for a, case in cases.items()}
    for kind, issuer in (("all kinds mixed", mixed), ("certificates and a path", mixed_with_certificates)):
        for algorithm in ASYMMETRIC:
            found[algorithm][kind] = (issuer.issuer, issuer.sign(algorithm, json.loads(cases[algorithm].claims)))
    return found


@pytest.fixture(scope="module")
def verdicts(judges, ours):
    """Library → algorithm → kind of issuer → what it says of the token."""
    return {
        library: {
            algorithm: {
                kind: judges.verdict(library, token, issuer, AUDIENCE, algorithm)
                for kind, (issuer, token) in ours[algorithm].items()
            }
            for algorithm in ASYMMETRIC
        }
        for library in judges.libraries
    }


def test_the_tables_have_every_library_and_every_algorithm():
    assert set(SUPPORT) == set(REFUSALS) == set(LANGUAGE)
    shared = [*LIBRARIES["Python"], *LIBRARIES["Node"]]
    assert all(list(row) == ASYMMETRIC + SYMMETRIC * (name in shared) for name, row in SUPPORT.items())
    assert all(set(row) == set(BAD.values()) for row in REFUSALS.values())


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_the_ring_that_was_meant_has_signed(algorithm, ours):
    for kind in ("all kinds mixed", "certificates and a path"):
        _, token = ours[algorithm][kind]
        assert json.loads(part(token, 0)) == {"alg": algorithm, "kid": f"key-{algorithm}", "typ": "JWT"}


@every_library
def test_takes_what_its_table_says(library, judges, verdicts):
    if judges.lacks(library):
        return
    for algorithm, by_issuer in verdicts[library].items():
        expected = SUPPORT[library][algorithm]
        errors = {kind: verdict.error for kind, verdict in by_issuer.items()}
        if expected is True:
            assert not any(errors.values()), (algorithm, errors)
            continue
        assert all(errors.values()), f"{library} takes {algorithm} now: set it to true in support.json"
        assert expected in errors["a key set of one"], algorithm


@every_library
def test_reads_the_claims_as_they_were_sent(library, judges, verdicts, cases):
    if judges.lacks(library):
        return
    for algorithm, by_issuer in verdicts[library].items():
        sent = json.loads(cases[algorithm].claims)
        for verdict in filter(None, by_issuer.values()):
            assert {name: verdict.claims[name] for name in TEXTS} == {name: sent[name] for name in TEXTS}, algorithm


@pytest.fixture(scope="module")
def refusals(judges, mixed_with_certificates):
    """Library → what is wrong → algorithm → what it says; under None, of a token with nothing wrong.

    One verifier for each library and algorithm goes through all of them, that one at last: no bad token
    spoils it for the next.
    """
    issuer = mixed_with_certificates
    found = {library: {what: {} for what in [*BAD, None]} for library in judges.libraries}
    for algorithm in ASYMMETRIC:
        tokens = issuer.bad_tokens(algorithm) | {None: issuer.forge(algorithm)}
        assert set(tokens) == {*BAD, None}
        for library in judges.libraries:
            if SUPPORT[library][algorithm] is True:
                for what, token in tokens.items():
                    found[library][what][algorithm] = judges.verdict(
                        library, token, issuer.issuer, AUDIENCE, algorithm, kept=f"bad {algorithm}")
    return found


@every_library
def test_takes_a_token_made_here_that_has_nothing_wrong(library, judges, refusals):
    if judges.lacks(library):
        return
    errors = {algorithm: verdict.error for algorithm, verdict in refusals[library][None].items()}
    assert errors and not any(errors.values()), errors


@pytest.mark.parametrize("what", BAD)
def test_every_library_refuses(what, judges, refusals, told):
    missing = [library for library in LANGUAGE if judges.lacks(library)]
    for library in judges.libraries:
        for algorithm, verdict in refusals[library][what].items():
            assert verdict.error, f"{library} takes {algorithm}: {what}"
            assert re.search(REFUSALS[library][BAD[what]], verdict.error), (library, algorithm, verdict.error)
    left_out = f"; not here: {', '.join(missing)}" if missing else ""
    told(f"{what}: refused by {len(judges.libraries)} of {len(LANGUAGE)} libraries{left_out}")


#: Take a PSS signature whatever the length of its salt; RFC 7518 section 3.5 says that of the hash.
ANY_SALT = {"go-oidc", "golang-jwt"}


@pytest.mark.parametrize("algorithm", [a for a in ASYMMETRIC if a.startswith("PS")])
def test_a_salt_of_another_length_is_noticed(algorithm, judges, mixed):
    """So that a signer which uses one would be."""
    strict = [name for name in judges.libraries if SUPPORT[name][algorithm] is True and name not in ANY_SALT]
    hash_length = int(algorithm[2:]) // 8
    for length in (hash_length, 0, 20, padding.PSS.MAX_LENGTH):
        token = mixed.salted(algorithm, length)
        kept = f"salt {algorithm}"
        for library in strict:
            verdict = judges.verdict(library, token, mixed.issuer, AUDIENCE, algorithm, kept)
            assert bool(verdict) == (length == hash_length), (library, length)
            assert verdict or re.search(REFUSALS[library]["key"], verdict.error), (library, verdict.error)


def turns(libraries):
    """An RSA key and an EC key, for which libraries have code of their own, with each library that takes both."""
    takes_rsa_alone = "Spring Security (JWK Set)"
    pairs = [(a, name) for a in ("RS256", "ES256") for name in libraries if (a, name) != ("ES256", takes_rsa_alone)]
    return pytest.mark.parametrize("algorithm, library", pairs)


@pytest.fixture(scope="module")
def turned(judges, binary, tmp_path_factory):
    """By algorithm; see `turn`."""

    @functools.cache
    def by(algorithm):
        # It reads its store ten times a second, and so lives no longer than it is asked.
        with authorities(binary, tmp_path_factory) as start:
            return turn(algorithm, judges, start)

    return by


def turn(algorithm, judges, start):
    """What libraries say of tokens of two keys before a rotation, after it, and after the first was revoked.

    (when, library, key, whether the verifier had read its keys before the rotation) → verdict.
    """
    found = {}
    ours = start(configuration(algorithm) + '\n[store]\nrefresh = "100ms"\n')
    knowing = [library for library in judges.libraries if SUPPORT[library][algorithm] is True]
    first = ours.sign({"sub": "alice"})
    tokens = {"first": first}

    def ask(when):
        for library in knowing:
            for key, token in tokens.items():
                for kept in (None, f"turned {algorithm}") if library in FETCHING else (None,):
                    verdict = judges.verdict(library, token, ours.issuer, AUDIENCE, algorithm, kept)
                    found[when, library, key, bool(kept)] = verdict

    ask("before")
    kid = json.loads(ours.run("keys", "prepare", "--json").stdout)["kid"]
    ours.run("keys", "publish", kid)
    until(lambda: kid in published(ours.issuer), "the second key is published")
    old = kid_of(first)
    assert kid_of(ours.sign({"sub": "alice"})) == old, "a published key does not sign"
    ours.run("keys", "activate", kid, "--force")
    tokens["second"] = until(
        lambda: (token := ours.sign({"sub": "alice"})) and kid_of(token) == kid and token, "the second key signs")
    ask("rotated")
    ours.run("keys", "revoke", old)
    until(lambda: old not in published(ours.issuer), "the first key is gone")
    ask("revoked")
    return found


def kid_of(token):
    return json.loads(part(token, 0)).get("kid")


def published(issuer):
    return [key["kid"] for key in HTTP.get(jwks_uri(issuer)).json()["keys"]]


@turns(LANGUAGE)
def test_goes_along_with_a_rotation_and_a_revocation(algorithm, library, judges, turned):
    if judges.lacks(library):
        return
    found = turned(algorithm)
    seen = {(when, key): found[when, library, key, False] for when, name, key, kept in found if name == library}
    taken = {name: bool(verdict) for name, verdict in seen.items()}
    assert taken == {
        ("before", "first"): True, ("rotated", "first"): True, ("rotated", "second"): True,
        ("revoked", "first"): False, ("revoked", "second"): True,
    }
    assert re.search(REFUSALS[library]["key"], seen["revoked", "first"].error)


#: Those that keep keys and read them again as soon as they meet a name that they do not know. The others
#: do so a while after the last time: PyJWT and jose 30 s, jose4j 0.3 s.
AT_ONCE = [library for library in FETCHING if library not in ("PyJWT", "jose", "jose4j")]


@turns(AT_ONCE)
def test_a_verifier_that_has_read_keys_before_a_rotation_finds_the_new_one(algorithm, library, judges, turned):
    if judges.lacks(library):
        return
    for when, key in (("rotated", "first"), ("rotated", "second"), ("revoked", "second")):
        assert turned(algorithm)[when, library, key, True].error is None, (when, key)


def certificate(key):
    """A self-signed certificate of a private key made here, in base64."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key)
    made = made.serial_number(1).not_valid_before(now - day).not_valid_after(now + day).sign(key.private_key, None)
    return base64.b64encode(made.public_bytes(Encoding.DER)).decode()


def test_a_certificate_beside_alg_ed25519_would_cost_golang_jwt_the_whole_set(judges, keys, mixed_with_certificates):
    """Why our documents have none there (docs/keys.md)."""
    library = "golang-jwt"
    if judges.lacks(library):
        return
    theirs = mixed_with_certificates
    documents = {}
    with served(documents) as address:
        set_ = HTTP.get(jwks_uri(theirs.issuer)).json()
        discovery = {"issuer": address, "jwks_uri": f"{address}/keys"}
        documents["/.well-known/openid-configuration"] = 200, json.dumps(discovery)

        def taken():
            documents["/keys"] = 200, json.dumps(set_)
            tokens = {a: theirs.forge(a, theirs.claims(iss=address)) for a in ("RS256", "ES256", "EdDSA")}
            return [a for a, token in tokens.items() if judges.verdict(library, token, address, AUDIENCE, a)]

        (ed25519,) = [key for key in set_["keys"] if key["alg"] == "Ed25519"]
        assert taken() == ["RS256", "ES256", "EdDSA"] and "x5c" not in ed25519
        assert all("x5c" in key for key in set_["keys"] if key is not ed25519)
        ed25519["x5c"] = [certificate(keys["Ed25519"])]
        assert taken() == []


def test_what_is_known_of_each_library_is_what_it_says(judges, verdicts, told):
    """The table that `init` and `keys` warn with. What vendors document is not for this test, and Envoy has its own."""
    table = TABLE.read_text(encoding="utf-8")
    known = {row["consumer"]: row for row in csv.DictReader(table.splitlines())}
    assert {name for name, row in known.items() if row["known from"] == "tests"} == {*LANGUAGE, "Envoy"}
    seen = {
        library: {algorithm: "yes" if all(by_issuer.values()) else "no" for algorithm, by_issuer in row.items()}
        for library, row in verdicts.items()
    }
    rows = [row | seen.get(name, {}) for name, row in known.items()]
    new = "".join(",".join(row) + "\n" for row in [rows[0], *map(dict.values, rows)])
    told(markdown(new))
    assert table == new, f"{TABLE} should be\n{new}"


def markdown(table):
    """The table as a page shows it."""
    header, *rows = csv.reader(table.splitlines())
    rows = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join([row[0], *row[3:], row[2]])} |\n" for row in rows)


def test_the_table_is_in_the_documentation():
    page = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"<!-- algorithms -->\n(.*?)<!-- /algorithms -->\n", page, re.S)[1]
    new = markdown(TABLE.read_text(encoding="utf-8"))
    assert shown == new, f"{PAGE} should have\n{new}"
