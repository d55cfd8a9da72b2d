"""Envoy's `jwt_authn` before tokens of every algorithm, and bad ones: by itself, and from a set of all kinds mixed."""

import csv
import re
from pathlib import Path

import envoy
import pytest
from libraries import ASYMMETRIC, jwks_uri

TABLE = Path(__file__).parents[2] / "crates/consumers/algorithms.csv"
#: What is wrong with a token → what Envoy says.
REFUSALS = {
    "expired": "Jwt is expired",
    "from the future": "Jwt not yet valid",
    "another audience": "Audiences in Jwt are not allowed",
    "another issuer": "Jwt issuer is not configured",
    "another key of the same name": "Jwt verification fails",
    "an unknown key": "Jwks doesn't have key to match kid",
    "an unknown key without a name": "Jwt verification fails",
    "changed payload": "Jwt verification fails",
    "alg none": "not in the form of Header.Payload.Signature",
    "alg none without a name": "not in the form of Header.Payload.Signature",
}


@pytest.fixture(scope="module")
def proxy(cases, mixed, mixed_with_certificates, tmp_path_factory):
    issuers = {algorithm: case.issuer for algorithm, case in cases.items()}
    issuers |= {"mixed": mixed.issuer, "certificates": mixed_with_certificates.issuer}
    found = {name: (issuer, jwks_uri(issuer)) for name, issuer in issuers.items()}
    with envoy.running(found, tmp_path_factory.mktemp("envoy")) as one:
        yield one


@pytest.fixture(scope="module")
def taken():
    rows = csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines())
    (row,) = [row for row in rows if row["consumer"] == "Envoy"]
    return [algorithm for algorithm in ASYMMETRIC if row[algorithm] == "yes"]


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_takes_what_the_table_says(algorithm, proxy, taken, cases, mixed, mixed_with_certificates):
    tokens = {
        algorithm: cases[algorithm].tokens["good"],
        "mixed": mixed.sign(algorithm, {"sub": "alice"}),
        "certificates": mixed_with_certificates.sign(algorithm, {"sub": "alice"}),
    }
    errors = {name: proxy.verdict(name, token) for name, token in tokens.items()}
    assert all((error is None) == (algorithm in taken) for error in errors.values()), errors


def test_takes_no_bad_token(proxy, taken, mixed_with_certificates, told):
    for algorithm in taken:
        assert proxy.verdict("certificates", mixed_with_certificates.forge(algorithm)) is None
        for what, token in mixed_with_certificates.bad_tokens(algorithm).items():
            said = proxy.verdict("certificates", token)
            assert said and re.search(REFUSALS[what], said), (algorithm, what, said)
    told(f"every one of {len(REFUSALS)} bad tokens: refused by Envoy's jwt_authn")
