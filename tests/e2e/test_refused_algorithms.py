"""A warning where a ring is made whose tokens some consumers refuse: `init`, `keys init`, `keys prepare`, `keys import`.

It names them as the table does (`crates/consumers/algorithms.csv`, which tests/interop keeps true).
"""

import csv
import json
from pathlib import Path

import pytest
from e2e.conftest import openssl
from e2e.program import CONFIG, client

ROWS = list(csv.DictReader(
    (Path(__file__).parents[2] / "crates/consumers/algorithms.csv").read_text(encoding="utf-8").splitlines()))
EDDSA = CONFIG.replace("ES256", "EdDSA") + "@MORE@" + client("tests")
ED25519 = ["genpkey", "-quiet", "-algorithm", "ED25519"]


def refused_by(algorithm):
    return [row["consumer"] for row in ROWS if row[algorithm] == "no"]


def warnings(done):
    """Ring, algorithm and consumers of each warning."""
    assert done.returncode == 0, done
    events = [json.loads(line) for line in done.stderr.splitlines()]
    found = [event for event in events if "are refused by" in event["message"]]
    assert all(event["level"] == "WARN" for event in found)
    return [(event["ring"], *said(event["message"])) for event in found]


def said(message):
    tokens, rest = message.split(" are refused by ")
    return tokens.removeprefix("tokens signed with "), rest.split("; ")[0].split(", ")


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519", "PS256", "ES256"])
def test_init_names_those_that_refuse_the_algorithm(world, algorithm):
    refused = refused_by(algorithm)
    assert len(refused) > 4
    assert warnings(world.run("init", "--algorithm", algorithm)) == [("default", algorithm, refused)]


def test_the_consumers_that_most_people_have_are_named(world):
    for consumer in ("Spring Security (issuer)", "Nimbus", "java-jwt", "Kubernetes", "API Gateway HTTP API"):
        assert consumer in refused_by("EdDSA")
    assert {"PyJWT", "go-oidc", "golang-jwt", "jose4j"} <= set(refused_by("Ed25519")) - set(refused_by("EdDSA"))


def test_init_says_nothing_of_an_algorithm_that_everything_takes(world):
    assert world.run("init").stderr == ""
    assert refused_by("RS256") == []


def test_keys_init_and_prepare_warn_once_for_each_key_they_make(world):
    world.configure(EDDSA.replace("@MORE@", '[rings.plain]\nalgorithm = "RS256"\n[rings.es]\nalgorithm = "ES256"\n'))
    expected = [("default", "EdDSA", refused_by("EdDSA")), ("es", "ES256", refused_by("ES256"))]
    assert sorted(warnings(world.run("keys", "init"))) == expected
    assert warnings(world.run("keys", "init")) == []
    assert warnings(world.run("keys", "prepare", "--ring", "plain")) == []
    assert warnings(world.run("keys", "prepare")) == expected[:1]
    assert warnings(world.run("keys", "prepare")) == [], "it is there already"


def test_keys_import_warns_of_the_algorithm_of_the_key(world):
    world.configure(EDDSA.replace("@MORE@", '[rings.imported]\nalgorithm = "RS256"\n'))
    world.done("keys", "init")
    key = openssl(*ED25519)
    imported = ("keys", "import", "-", "--ring", "imported", "--algorithm", "Ed25519")
    assert warnings(world.run(*imported, input=key)) == [("imported", "Ed25519", refused_by("Ed25519"))]
    assert warnings(world.run(*imported, input=key)) == [], "it is there already"


@pytest.mark.parametrize(("consumers", "named"), [
    (["kubernetes", "envoy"], ["Kubernetes"]),
    (["envoy", "jose", "countersign"], None),
    (["envoy", "other"], refused_by("EdDSA")),
])
def test_a_ring_that_names_its_consumers_is_warned_of_those_alone(world, consumers, named):
    world.configure(EDDSA.replace("@MORE@", f"consumers = {json.dumps(consumers)}\n"))
    assert warnings(world.run("keys", "init")) == ([("default", "EdDSA", named)] if named else [])
