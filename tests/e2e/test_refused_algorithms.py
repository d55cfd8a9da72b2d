"""Rings whose tokens some consumers refuse: a warning in `init`, `keys init`, `keys prepare`, `keys import`, and a refusal where the ring
names one of them.

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
    found = [event for event in events if "are refused by" in event.get("message", "")]
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
    assert warnings(world.run("init")) == []
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


TAKEN = {row["name"]: [name for name in list(row)[3:] if row[name] == "yes"] for row in ROWS if row["name"]}


@pytest.mark.parametrize(("consumers", "refuses"), [
    (["kubernetes", "envoy"], "kubernetes"), (["envoy", "aws-http-api", "other"], "aws-http-api"), (["jitsi"], "jitsi"),
])
def test_a_ring_that_names_a_consumer_has_an_algorithm_that_it_takes(world, consumers, refuses):
    world.configure(EDDSA.replace("@MORE@", f"consumers = {json.dumps(consumers)}\n"))
    says = f"refuses tokens signed with EdDSA: it takes {', '.join(TAKEN[refuses])}; choose one of these, or take it out of rings.default.consumers"
    for command in (["config", "check"], ["keys", "init"], ["keys", "prepare"], ["serve"], ["sign", "--claims", "{}"]):
        assert f"rings.default.algorithm: {refuses} (" in world.fails(78, says, *command)
    assert not (world.folder / "countersign/countersign.db").exists()


def test_a_ring_whose_consumers_take_it_is_not_warned_of_others(world):
    world.configure(EDDSA.replace("@MORE@", 'consumers = ["envoy", "jose", "countersign"]\n'))
    assert warnings(world.run("keys", "init")) == []
    world.configure(EDDSA.replace("@MORE@", 'consumers = ["envoy", "other"]\n'))
    assert warnings(world.run("keys", "prepare")) == [("default", "EdDSA", refused_by("EdDSA"))]


def test_what_reads_public_keys_takes_no_secrets(world):
    world.configure(CONFIG + '[rings.hs]\nalgorithm = "HS256"\nconsumers = ["other", "countersign"]\n' + client("tests"))
    why = world.fails(78, "countersign reads public keys, and keys for HS256 are secrets", "config", "check")
    assert "rings.hs.algorithm" in why and "take it out of rings.hs.consumers" in why


@pytest.mark.parametrize("more", [[], ["--activate"], ["--ring", "imported"]])
def test_a_key_that_a_named_consumer_does_not_take_is_not_imported(world, more):
    rings = 'consumers = ["aws-http-api"]\n[rings.imported]\nconsumers = ["aws-alb", "envoy"]\n'
    world.configure(CONFIG.replace("ES256", "RS256") + rings + client("tests"))
    world.done("keys", "init")
    before = world.keys()
    refuses, ring = ("aws-alb", "imported") if "imported" in more else ("aws-http-api", "default")
    says = f"refuses tokens signed with ES256: it takes {', '.join(TAKEN[refuses])}; choose one of these, or take it out of rings.{ring}.consumers"
    key = openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    assert refuses in world.fails(1, says, "keys", "import", "-", *more, input=key)
    rsa = openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    world.fails(1, "refuses tokens signed with PS256", "keys", "import", "-", "--algorithm", "PS256", *more, input=rsa)
    assert world.keys() == before
    world.done("keys", "import", "-", *more, input=rsa)
