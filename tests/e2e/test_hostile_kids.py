"""A `kid` is a name that is compared with names that are known, in `verify`, at the gate, and where the issuer keeps its keys.

A path, SQL, an operator of a document store, and 64 KiB of nothing: all of them unknown keys, and no store is read or written by them.
"""

import json

import jwt
import pytest
from e2e import program
from e2e.conftest import openssl
from e2e.program import CONFIG, client

KIDS = {
    "a path": "../../../../../../dev/null",
    "a path of the store": "keyring",
    "a file": "file:///etc/passwd",
    "SQL": "' OR 1=1; DROP TABLE documents; --",
    "an operator": '{"$ne":null}',
    "a pattern": "*",
    "a format": "%s%n{0}${jndi:ldap://127.0.0.1:9/a}",
    "a line end": "own\nlevel=ERROR",
    "64 KiB": "k" * 65536,
}
TRUST = """
[[trust]]
issuer = "@ISSUER@"
jwks = "file:keys.json"
algorithms = ["ES256"]
audiences = ["api://default"]
"""
ARN = "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET/x"


@pytest.fixture
def own(world, pem):
    """An issuer that signs with a key the tests have too, under the name `own`, and a gate that trusts it."""
    plain = CONFIG + client("tests")
    port = world.configure(plain)
    world.issuer = f"http://127.0.0.1:{port}"
    world.done("keys", "import", pem["ec"], "--kid", "own", "--activate")
    (world.file.parent / "keys.json").write_text(world.done("keys", "export", "--public"))
    world.configure(plain + TRUST.replace("@ISSUER@", world.issuer), port)
    world.key = pem["ec"].read_text()
    return world


def token(world, kid):
    """A good token of the issuer but for the name of its key."""
    claims = {"iss": world.issuer, "aud": "api://default", "sub": "alice", "iat": 1_700_000_000, "exp": 4_000_000_000}
    return jwt.encode(claims, world.key, algorithm="ES256", headers={"kid": kid})


def event(text):
    return json.dumps({"type": "TOKEN", "authorizationToken": f"Bearer {text}", "methodArn": ARN})


def test_the_known_name_is_taken(own):
    own.done("verify", "-", input=token(own, "own"))
    assert own.run("authorize", "--event", "-", input=event(token(own, "own"))).returncode == 0


@pytest.mark.parametrize("kind", KIDS)
def test_no_other_name_finds_a_key_or_touches_a_store(own, kind):
    kid, before = KIDS[kind], program.contents(own.folder)
    hostile = token(own, kid)
    verdicts = {
        "verify": own.run("verify", "-", input=hostile),
        "verify with a file": own.run("verify", "--jwks", "countersign/keys.json", "-", input=hostile),
        "gate": own.run("authorize", "--event", "-", input=event(hostile)),
    }
    for name, done in verdicts.items():
        said = done.stdout + done.stderr
        expected = "longer than" if kind == "64 KiB" else "no key fits"
        assert done.returncode == 1 and expected in said, (name, said)
        # Who verifies by hand is shown what stands in the token, quoted and cut; who is refused at a gate is not.
        assert len(said) < 2000 and (kid not in said or name.startswith("verify") and json.dumps(kid) in said), name
    # The issuer's own store.
    for command in [("activate",), ("activate", "--force"), ("publish",), ("retire",), ("revoke",)]:
        done = own.run("keys", *command, kid)
        assert done.returncode == 1 and "there is no key" in done.stderr, (command, done.stderr)
    assert program.contents(own.folder) == before


@pytest.mark.parametrize("kind", ["SQL", "a path", "an operator", "a pattern"])
def test_a_key_may_have_such_a_name_and_is_found_by_it_alone(own, kind):
    kid = KIDS[kind]
    imported = own.done("keys", "export", "--public")
    own.done("keys", "import", "-", "--kid", kid, input=private_key())
    assert {key["kid"] for key in own.keys()} == {"own", kid}
    own.done("keys", "retire", kid)
    assert own.done("keys", "export", "--public") != imported
    own.done("verify", "-", input=token(own, "own"))


def test_a_name_of_64_kib_or_with_a_line_end_is_given_to_no_key(own):
    for kind in ("64 KiB", "a line end"):
        done = own.run("keys", "import", "-", "--kid", KIDS[kind], input=private_key())
        assert done.returncode != 0 and "1 to 256 printable ASCII characters" in done.stderr, done.stderr
    assert [key["kid"] for key in own.keys()] == ["own"]


def private_key():
    return openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
