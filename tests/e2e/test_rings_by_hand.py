"""Rings whose keys are in no JWKS: shared secrets, `publish = false`, and that of profile `jaas`.

A secret is shown once, to standard output alone, and its tokens are verified by PyJWT and `countersign verify` with what was shown.
A key that waits is told by its own word, and signs when its verifiers have had the time that the ring says.
"""

import base64
import json

import jwt
import pytest
from e2e import clocks, wire
from e2e.conftest import openssl
from e2e.program import CONFIG, SECRET, client, private, snapshot, until
from e2e.test_keys_cli import make, secret_jwk

RINGS = """
[rings.hs]
algorithm = "HS256"
propagation = "2h"

[rings.private]
algorithm = "ES256"
publish = false
propagation = "2h"

[profiles.jaas]
app_id = "vpaas-magic-cookie-1"
"""
AUDIENCE = "api://default"


def configure(world, more=RINGS, default="ES256"):
    return world.configure(CONFIG.replace("ES256", default) + more + client("tests"))


def secret_of(world, *more, ring="hs"):
    return json.loads(world.done("keys", "prepare", "--ring", ring, "--show-secret", "--json", *more))


def of_ring(world, ring):
    return {key["kid"]: key["state"] for key in world.keys() if key["ring"] == ring}


def at(world, when, *arguments):
    import subprocess

    done = subprocess.run(clocks.at(when, world.binary, *arguments), cwd=world.folder, env=world.environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_secret_is_shown_once_and_verifies_what_its_key_signs(world, algorithm):
    configure(world, "", algorithm)
    # A keyring without keys is one; no key is made that nobody is given.
    assert "countersign keys prepare --ring default --show-secret" in world.done("keys", "init")
    assert world.keys() == []
    world.environment["COUNTERSIGN_STORE__FIRST_KEYS"] = "refuse"
    done = world.run("sign", "--claims", "{}")
    assert done.returncode == 78 and "has no active key" in done.stderr, done
    assert "countersign keys prepare --ring default --show-secret" in done.stderr, done
    made = secret_of(world, ring="default")
    text, jwk = made["secret"], made["jwk"]
    assert (made["state"], made["changed"]) == ("active", True), "nothing signed before it"
    assert base64.urlsafe_b64decode(jwk["k"] + "==").decode() == text
    assert {name: jwk[name] for name in ("kty", "kid", "alg")} == {"kty": "oct", "kid": made["kid"], "alg": algorithm}

    token = world.done("sign", "--claims", '{"sub":"alice"}').strip()
    assert wire.header(token) == {"alg": algorithm, "kid": made["kid"], "typ": "JWT"}
    for key in (text, jwt.PyJWK(jwk)):
        assert jwt.decode(token, key, algorithms=[algorithm], audience=AUDIENCE)["sub"] == "alice"
    private(world.folder / "text", text + "\n")
    private(world.folder / "jwk", json.dumps(jwk))
    said = f"valid: signed with {algorithm}"
    assert world.done("verify", token, "--secret", "file:text", "--algorithm", algorithm).startswith(said)
    assert world.done("verify", token, "--secret", "file:jwk").startswith(said)
    private(world.folder / "text", text[:-1] + "\n")
    assert world.run("verify", token, "--secret", "file:text", "--algorithm", algorithm).returncode == 1
    public = json.dumps({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    private(world.folder / "jwk", public)
    world.fails(2, "holds no shared secret", "verify", token, "--secret", "file:jwk")


def test_nothing_shows_a_secret_again(world):
    configure(world)
    world.done("keys", "init")
    said = world.run("keys", "prepare", "--ring", "hs", "--show-secret", "--verbose")
    assert said.returncode == 0, said
    first, told, text, jwk, verify = said.stdout.splitlines()
    assert first.endswith("in ring hs is active") and "shown only this once" in told and "countersign verify TOKEN --secret file:PATH" in verify
    assert json.loads(jwk)["k"] == base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    secrets = [text, json.loads(jwk)["k"]]

    second = secret_of(world)
    secrets += [second["secret"], second["jwk"]["k"]]
    assert len(set(secrets)) == 4 and second["state"] == "handed-out"
    # One waits: no other is made, and that one is not shown.
    why = world.fails(1, "its secret was shown when it was made", "keys", "prepare", "--ring", "hs", "--show-secret")
    assert f"countersign keys remove {second['kid']}" in why
    server = world.serve("--listen", "127.0.0.1:0")
    address = f"http://{server.printed['listen']}"
    shown = [wire.get(address, path).body.decode() for path in ("/.well-known/jwks.json", "/public-keys", "/.well-known/x509.json")]
    shown += [said.stderr, world.log, world.done("keys", "list"), world.done("keys", "list", "--json"), world.done("keys", "export")]
    world.fails(1, "there are no public keys to export", "keys", "export", "--ring", "hs")
    shown += [data.decode(errors="replace") for data in snapshot(world.folder).values()]
    assert not [secret for secret in secrets for text in shown if secret in text]
    # The way that is told: take it away, and make another.
    world.done("keys", "remove", second["kid"])
    assert secret_of(world)["secret"] not in secrets


def test_a_secret_is_made_for_who_asks_and_for_nobody_else(world):
    configure(world)
    world.done("keys", "init")
    world.fails(1, "say --show-secret", "keys", "prepare", "--ring", "hs")
    world.fails(2, "whose private half is shown to nobody", "keys", "prepare", "--show-secret")
    world.fails(2, "countersign keys export --ring private", "keys", "prepare", "--ring", "private", "--show-secret")
    made = secret_of(world)["kid"]
    said = world.done("keys", "revoke", made)
    assert "`countersign keys prepare --ring hs --show-secret` makes one, which signs at once" in said, said
    assert "nowhere to withdraw it from" in said and "countersign publish" not in said, said
    assert list(of_ring(world, "hs").values()) == ["revoked"]
    # A rotation makes none either.
    world.run("keys", "rotate", "--once")
    assert list(of_ring(world, "hs").values()) == ["revoked"]
    successor = secret_of(world)
    assert successor["state"] == "active"
    # The next one takes over when the first is revoked, because its verifiers have it.
    waiting = secret_of(world)["kid"]
    assert f"Key {waiting} signs in ring hs" in world.done("keys", "revoke", successor["kid"])


@pytest.mark.parametrize("ring", ["hs", "private"])
def test_a_key_signs_when_its_verifiers_have_had_the_time_that_the_ring_says(world, ring):
    configure(world)
    world.done("keys", "init")

    def prepared():
        more = ["--show-secret"] if ring == "hs" else []
        return json.loads(world.done("keys", "prepare", "--ring", ring, "--json", *more))

    if ring == "hs":
        prepared()
    next_one = prepared()
    kid = next_one["kid"]
    assert next_one["state"] == of_ring(world, ring)[kid] == "handed-out"
    rows = world.done("keys", "list")
    [row] = [line for line in rows.splitlines() if line.endswith(kid) and line.startswith(ring)]
    assert "handed-out" in row and "activate by hand" in row and "published" not in row
    assert "- handed-out" in rows
    why = world.fails(1, f'key "{kid}" is in no JWKS: give it to every verifier until ', "keys", "activate", kid)
    assert "which is 2h after it could be given" in why and "use --force" in why and "public address" not in why
    code, said = at(world, "+119 minutes", "keys", "activate", kid)
    assert code == 1 and "until " in said, said
    code, said = at(world, "+123 minutes", "keys", "activate", kid)
    assert code == 0 and f"key {kid} in ring {ring} is active" in said and "refuse" not in said, said


def test_a_key_whose_verifiers_have_it_already_may_be_forced_and_is_warned_of(world):
    configure(world)
    world.done("keys", "init")
    kid = json.loads(world.done("keys", "prepare", "--ring", "private", "--json"))["kid"]
    done = world.run("keys", "activate", kid, "--force")
    assert done.returncode == 0 and "every verifier that was not given it refuses its tokens until it is" in done.stderr, done
    # What a ring that is not published hands out, and the JWKS does not have.
    public = json.loads(world.done("keys", "export", "--ring", "private"))["keys"]
    assert kid in {key["kid"] for key in public}
    server = world.serve("--listen", "127.0.0.1:0")
    shown = wire.get(f"http://{server.printed['listen']}", "/.well-known/jwks.json").json()["keys"]
    assert not {key["kid"] for key in public} & {key["kid"] for key in shown}


def test_8x8_has_every_key_that_it_has_named_so_nothing_is_waited_for(world):
    configure(world)
    world.done("keys", "init")
    for n in (1, 2):
        done = world.done("keys", "import", "-", "--ring", "jaas", "--kid", f"vpaas-magic-cookie-1/{n}", input=make("RS256"))
    assert "vpaas-magic-cookie-1/2 in ring jaas, handed-out" in done
    done = world.run("keys", "activate", "vpaas-magic-cookie-1/2")
    assert done.returncode == 0 and "is active" in done.stdout and "refuse" not in done.stderr, done
    said = world.done("keys", "revoke", "vpaas-magic-cookie-1/1")
    assert "until you delete it in the JaaS console" in said and "countersign publish" not in said and "JWKS" not in said


def test_a_ring_that_is_not_published_rotates_by_itself_where_it_says_how_long_giving_takes(world):
    """A scheduler's turns, by another clock; they do not wait for the public address, where ring `default` cannot be seen."""
    configure(world, RINGS.replace('publish = false', 'publish = false\nrotate_every = "3days"'))
    world.done("keys", "init")
    [first] = of_ring(world, "private")
    steps = []
    for hour in range(66, 76):
        code, said = at(world, f"+{hour} hours", "keys", "rotate", "--once", "--json")
        report = json.loads(said.splitlines()[0])["turn"]
        assert code == 70 and report["look_failed"] and report["seen"] is None, said
        steps += [(step["step"], hour) for step in report["done"] if step["ring"] == "private"]
    # Two hours after it could be given and a minute for clocks, at the turn that comes then.
    assert steps == [("make", 70), ("activate", 73)], steps
    assert of_ring(world, "private")[first] == "retired"


def test_a_key_that_a_machine_ten_years_ahead_made_waits_for_who_sets_its_times_right(world):
    configure(world, RINGS.replace('publish = false', 'publish = false\nrotate_every = "90days"'))
    world.done("keys", "init")
    code, said = at(world, "+3650 days", "keys", "prepare", "--ring", "private", "--json")
    assert code == 0, said
    waiting = json.loads(said.splitlines()[0])["kid"]

    def row():
        [row] = [line for line in world.run("keys", "list").stdout.splitlines() if line.startswith("private") and line.endswith(waiting)]
        return row

    assert "activate once its times are right" in row()
    [key] = [key for key in world.keys() if key["kid"] == waiting]
    assert "countersign keys correct-times" in key["next"]["waits_for"]
    world.fails(1, "is said to have been given out at ", "keys", "activate", waiting)
    world.done("keys", "correct-times")
    assert "activate in 89d" in row() or "activate in 90d" in row(), row()
    world.fails(1, "is in no JWKS: give it to every verifier until ", "keys", "activate", waiting)


@pytest.mark.parametrize("rings, says", [
    ('[rings.hs]\nalgorithm = "HS256"\nrotate_every = "30days"\n', "rings.hs.rotate_every: keys for HS256 are secrets that verifiers have to be given"),
    ('[rings.hs]\nalgorithm = "HS256"\nrotate_every = "30days"\npropagation = "1h"\n', "countersign keys prepare --ring hs --show-secret"),
    ('[rings.hs]\nalgorithm = "HS256"\npublish = true\n', "rings.hs.publish: keys for HS256 are secrets, which are never published"),
    ('[rings.private]\npublish = false\nrotate_every = "30days"\n', "say with rings.private.propagation how long it takes"),
    ('[rings.private]\npublish = false\nrotate_every = "30days"\n', "countersign keys export --ring private"),
    ('[rings.jaas]\nrotate_every = "30days"\npropagation = "1h"\n[profiles.jaas]\napp_id = "a"\n', "8x8 names the keys of this ring"),
])
def test_a_ring_that_cannot_rotate_by_itself_is_told_why_and_what_to_do(world, rings, says):
    configure(world, rings)
    world.fails(78, says, "config", "check")
    configure(world, '[rings.private]\npublish = false\nrotate_every = "30days"\npropagation = "1day"\n')
    world.done("config", "check")


def test_a_secret_and_a_key_pair_are_not_of_one_ring(world):
    configure(world)
    world.done("keys", "init")
    before = world.keys()
    for more in ([], ["--algorithm", "HS256"], ["--activate"], ["--ring", "private"], ["--ring", "jaas"]):
        why = world.fails(1, "a shared secret (HS256) does not go into ring", "keys", "import", "-", "--kid", "s", *more, input=secret_jwk(1))
        assert 'algorithm = "HS256"' in why
    world.fails(1, "a key pair (ES256) does not go into ring hs, whose keys are shared secrets", "keys", "import", "-", "--ring", "hs", input=make("ES256"))
    assert world.keys() == before
    # The ring's algorithm is that of a secret that names none, as PostgREST has it.
    bare = json.loads(secret_jwk(2))
    del bare["alg"]
    world.done("keys", "import", "-", "--ring", "hs", "--kid", "old", input=json.dumps(bare))
    assert of_ring(world, "hs") == {"old": "active"}


def test_a_running_server_is_not_ready_to_sign_until_a_secret_was_made_and_then_is(world):
    configure(world, '[store]\nrefresh = "200ms"\n', "HS256")
    issuer = world.serve().printed["issuer"]
    headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}

    def sign():
        return wire.ask(issuer, "POST", "/sign", headers, b'{"data":{"sub":"a"}}')

    assert sign().status >= 500
    made = secret_of(world, ring="default")
    token = until(lambda: (answer := sign()).status == 200 and answer.json()["access_token"], "it signs")
    assert jwt.decode(token, made["secret"], algorithms=["HS256"], audience=AUDIENCE)["sub"] == "a"
    assert made["secret"] not in world.log


def test_openssl_agrees(world):
    """The text is the key: what other programs make of it."""
    configure(world, "", "HS256")
    world.done("keys", "init")
    text = secret_of(world, ring="default")["secret"]
    head, payload, signature = world.done("sign", "--claims", "{}").strip().split(".")
    mac = openssl("dgst", "-sha256", "-hmac", text, "-hex", input=f"{head}.{payload}").split()[-1]
    assert base64.urlsafe_b64encode(bytes.fromhex(mac)).decode().rstrip("=") == signature
