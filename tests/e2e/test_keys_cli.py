"""`countersign keys`: list, export, import. Every kind of private key comes in; nothing private goes out.

What is refused is refused in one line, with nothing changed; a running server takes over a new key without a restart.
"""

import base64
import json
import subprocess

import jwt
import pytest
from e2e import wire
from e2e.conftest import openssl
from e2e.program import CONFIG, SECRET, client, contents, until

RSA = ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
EC = ["genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt"]


@pytest.fixture
def ready(world):
    """A folder with a configuration and one key."""
    world.configure()
    world.done("sign", "--claims", "{}")
    return world


def make(kind, traditional=False):
    """A private key as PEM."""
    algorithm = {
        "RS256": RSA, "Ed25519": ["genpkey", "-quiet", "-algorithm", "ED25519"],
        "ES256": [*EC, "ec_paramgen_curve:P-256"], "ES384": [*EC, "ec_paramgen_curve:P-384"],
        "ES512": [*EC, "ec_paramgen_curve:P-521"],
    }[kind]
    text = openssl(*algorithm)
    return openssl("pkey", "-traditional", input=text) if traditional else text


def public(text):
    return openssl("pkey", "-pubout", input=text)


def number(hexadecimal, length=None):
    value = bytes.fromhex(hexadecimal)
    value = value.lstrip(b"\0")
    return base64.urlsafe_b64encode(value.rjust(length or 0, b"\0")).decode().rstrip("=")


def rsa_jwk(text, **more):
    """A private JWK made from what openssl prints of a key."""
    fields, name = {}, None
    for line in openssl("pkey", "-noout", "-text", input=text).splitlines():
        if line.startswith(" "):
            fields[name] += line.strip().replace(":", "")
        elif ":" in line:
            name = line.split(":")[0]
            fields[name] = ""
    names = {"n": "modulus", "d": "privateExponent", "p": "prime1", "q": "prime2", "dp": "exponent1",
             "dq": "exponent2", "qi": "coefficient"}
    return {"kty": "RSA", "e": "AQAB"} | {member: number(fields[field]) for member, field in names.items()} | more


def by_kid(world, kid):
    return next(key for key in world.keys() if key["kid"] == kid)


def test_list_shows_every_key_to_people_and_programs(ready):
    [key] = ready.keys()
    assert (key["ring"], key["state"], key["algorithm"], key["origin"]) == ("default", "active", "ES256", "generated")
    heading, row, empty, picture, legend, line = ready.done("keys", "list").splitlines()
    assert heading.split() == ["RING", "STATE", "ALGORITHM", "CREATED", "ORIGIN", "NEXT", "KEPT", "KID"]
    assert row.split()[0:3] == ["default", "active", "ES256"]
    assert row.split()[-2:] == [key["sealed_by"], key["kid"]]
    assert empty == "" and picture.startswith("default: 20") and legend == "  | now  · unseen  - published  # signing  = retired"
    assert line.split()[-1] == key["kid"] and "#" in line


def test_export_gives_public_keys_only(ready):
    [key] = json.loads(ready.done("keys", "export", "--public"))["keys"]
    assert set(key) == {"kty", "crv", "use", "alg", "kid", "x", "y"}
    pem = ready.done("keys", "export", "--public", "--format", "pem")
    assert pem.startswith("-----BEGIN PUBLIC KEY-----") and "PRIVATE" not in pem
    assert "256 bit" in openssl("pkey", "-pubin", "-noout", "-text", input=pem)
    token = ready.done("sign", "--claims", '{"sub":"a"}').strip()
    (ready.folder / "keys.json").write_text(json.dumps({"keys": [key]}))
    ready.done("verify", "--jwks", "keys.json", token)
    jwt.decode(token, pem, algorithms=["ES256"], audience="api://default")


def test_an_exported_pem_file_verifies_what_the_key_signed(ready):
    (ready.folder / "keys.pem").write_text(ready.done("keys", "export", "--public", "--format", "pem"))
    token = ready.done("sign", "--claims", '{"sub":"a"}').strip()
    ready.done("verify", "--jwks", "keys.pem", token)


def test_export_is_of_public_keys_whether_or_not_that_is_said(ready):
    assert ready.done("keys", "export") == ready.done("keys", "export", "--public")
    assert json.loads(ready.done("keys", "export", "--format", "pem", "--json"))["pem"][0].startswith("-----BEGIN PUBLIC KEY-----")
    ready.fails(1, "there is no ring other in the configuration, only default; declare it as [rings.other]", "keys", "export", "--ring", "other")


WITH_JAAS = CONFIG.replace("ES256", "RS256") + '\n[rings.jaas]\npublish = false\n'


def test_an_import_into_the_wrong_ring_is_told_with_the_ring_and_can_be_taken_back(world, pem):
    world.configure(WITH_JAAS + client("tests"))
    world.done("keys", "init")
    take = ("keys", "import", pem["rsa"], "--kid", "app/4f4910")
    before = contents(world.folder)
    world.fails(1, "there is no ring jass in the configuration, only default, jaas", *take, "--ring", "jass")
    assert contents(world.folder) == before
    for more in ([], ["--activate"]):
        [signing] = [key["kid"] for key in world.keys() if (key["ring"], key["state"]) == ("default", "active")]
        world.done(*take, *more)
        state = "active" if more else "published"
        world.fails(1, f'key "app/4f4910" is already in ring default, {state}; if that was a mistake, take it back', *take, "--ring", "jaas")
        if more:
            world.fails(1, "it signs; activate another key", "keys", "remove", "app/4f4910")
        assert "is removed from ring default" in world.done("keys", "remove", "--signed-nothing", "app/4f4910")
        # Who signed before signs again, and the name is free.
        assert [(key["kid"], key["state"]) for key in world.keys() if key["ring"] == "default"] == [(signing, "active")]
        world.done(*take, "--ring", "jaas")
        world.done("keys", "remove", "--signed-nothing", "app/4f4910")
    world.fails(1, "was made here; only an import can be undone", "keys", "remove", "--signed-nothing", signing)
    world.fails(1, "there is no key", "keys", "remove", "--signed-nothing", "unknown")


@pytest.mark.parametrize("step", ["prepare", "publish"])
def test_after_an_import_that_is_taken_back_the_key_that_signed_before_signs_whatever_waits(ready, pem, step):
    [signing] = ready.keys()
    waiting = json.loads(ready.done("keys", "prepare", "--json"))["kid"]
    if step == "publish":
        ready.done("keys", "publish", waiting)
    before = {key["kid"]: key["state"] for key in ready.keys()}
    ready.done("keys", "import", pem["rsa"], "--kid", "wrong", "--activate")
    assert by_kid(ready, signing["kid"])["state"] == "retired"
    ready.done("keys", "remove", "--signed-nothing", "wrong")
    assert {key["kid"]: key["state"] for key in ready.keys()} == before


def test_running_servers_take_over_that_an_import_was_taken_back(world, pem):
    world.configure(CONFIG.replace("[rings", '[store]\nrefresh = "500ms"\n\n[rings') + client("tests"))
    issuer = world.serve().printed["issuer"]
    headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}

    def signs():
        return wire.ask(issuer, "POST", "/sign", headers, b'{"data":{"sub":"a"}}').json()["kid"]

    def shown():
        return {key["kid"] for key in wire.get(issuer, "/.well-known/jwks.json").json()["keys"]}

    first = signs()
    for _ in range(2):
        world.done("keys", "import", pem["rsa"], "--kid", "wrong", "--activate")
        until(lambda: signs() == "wrong", "it is taken over")
        world.done("keys", "remove", "--signed-nothing", "wrong")
        until(lambda: signs() == first and shown() == {first}, "and taken back")
        assert wire.get(issuer, "/readyz").status == 200
    assert "went back" not in world.log


def test_the_same_secret_imported_twice_changes_nothing_and_another_of_its_name_is_refused(world):
    world.configure(CONFIG + RINGS)
    world.done("keys", "init")
    bring = ("keys", "import", "-", "--ring", "secrets", "--kid", "k1")
    assert "imported: key k1" in world.done(*bring, input=secret_jwk(1))
    before = contents(world.folder)
    assert "already there: key k1" in world.done(*bring, input=secret_jwk(1))
    assert "already there: key k1" in world.done(*bring, "--activate", input=secret_jwk(1)), "it signs already"
    world.fails(1, 'another key is already named "k1"', *bring, input=secret_jwk(2))
    assert contents(world.folder) == before


def test_a_key_of_another_algorithm_than_its_ring_is_told_unless_it_is_meant(ready, pem):
    said = ready.run("keys", "import", "--kid", "k1", pem["rsa"])
    assert said.returncode == 0 and "a key that came in is for RS256" in said.stderr and "--ring" in said.stderr
    said = ready.run("keys", "import", "--kid", "k2", "--algorithm", "PS256", pem["rsa"])
    assert said.returncode == 0 and "came in is for" not in said.stderr


@pytest.mark.parametrize("target", ["https://my-site.s3.amazonaws.com/", "s3:/my-site/auth", "gs://bucket", "arn:aws:s3:::bucket"])
def test_what_looks_like_a_url_is_not_made_into_a_folder(ready, target):
    before = contents(ready.folder)
    ready.fails(2, "is neither a folder nor a bucket; write s3://BUCKET/PREFIX", "publish", target)
    assert contents(ready.folder) == before
    assert ready.run("publish", "./site:1").returncode == 0 and (ready.folder / "site:1").is_dir()


@pytest.mark.parametrize("kind, traditional", [
    *[(kind, False) for kind in ("RS256", "ES256", "ES384", "ES512", "Ed25519")],
    *[(kind, True) for kind in ("RS256", "ES256", "ES384", "ES512")],
])
def test_pem_of_every_kind_comes_in_and_signs(ready, kind, traditional):
    text = make(kind, traditional)
    report = json.loads(ready.done("keys", "import", "--json", "--activate", "--kid", "k1", "-", input=text))["keys"][0]
    assert report == {"ring": "default", "kid": "k1", "state": "active", "changed": True}
    token = ready.done("sign", "--claims", '{"sub":"a"}').strip()
    header = wire.header(token)
    assert header["kid"] == "k1" and header["alg"] == by_kid(ready, "k1")["algorithm"]
    assert header["alg"] == {"Ed25519": "EdDSA"}.get(kind, kind)
    jwt.decode(token, public(text), algorithms=[header["alg"]], audience="api://default")
    ready.done("verify", token)


def test_without_a_name_a_key_is_called_by_its_thumbprint(ready):
    text = make("RS256")
    done = json.loads(ready.done("keys", "import", "--json", "-", input=text))["keys"][0]
    jwk = rsa_jwk(text)
    canonical = json.dumps({name: jwk[name] for name in ("e", "kty", "n")}, separators=(",", ":"))
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=canonical.encode(), capture_output=True, check=True)
    assert done["kid"] == base64.urlsafe_b64encode(digest.stdout).decode().rstrip("=")


def test_a_jwk_comes_in_under_its_own_name_and_algorithm(ready):
    text = make("RS256")
    (ready.folder / "key.json").write_text(json.dumps(rsa_jwk(text, kid="from-jwk", alg="PS384", use="sig")))
    ready.done("keys", "import", "--activate", "key.json")
    assert by_kid(ready, "from-jwk")["algorithm"] == "PS384"
    token = ready.done("sign", "--claims", "{}").strip()
    assert wire.header(token) == {"alg": "PS384", "kid": "from-jwk", "typ": "JWT"}


def test_a_jwks_with_private_keys_comes_in_whole(ready):
    keys = [rsa_jwk(make("RS256"), kid=f"okta-{n}", alg="RS256", use="sig", status="ACTIVE") for n in range(2)]
    (ready.folder / "okta.json").write_text(json.dumps({"keys": keys}, indent=2))
    ready.done("keys", "import", "okta.json")
    assert [by_kid(ready, f"okta-{n}")["state"] for n in range(2)] == ["published", "published"]
    ready.fails(2, "are for one key", "keys", "import", "--kid", "x", "okta.json")
    ready.fails(2, "are for one key", "keys", "import", "--activate", "okta.json")


def test_a_jwks_with_one_bad_key_changes_nothing(ready):
    good, bad = rsa_jwk(make("RS256"), kid="good", alg="RS256"), rsa_jwk(make("RS256"), kid="bad", alg="RS256")
    del bad["d"]
    (ready.folder / "mixed.json").write_text(json.dumps({"keys": [good, bad]}))
    before = ready.keys()
    ready.fails(1, "public key", "keys", "import", "mixed.json")
    assert ready.keys() == before


def test_a_jwks_with_one_name_that_is_taken_changes_nothing(ready):
    good = rsa_jwk(make("RS256"), kid="good", alg="RS256")
    before = ready.keys()
    taken = good | {"kid": before[0]["kid"]}
    (ready.folder / "taken.json").write_text(json.dumps({"keys": [good, taken]}))
    ready.fails(1, "already named", "keys", "import", "taken.json")
    assert ready.keys() == before


def test_a_key_in_the_environment_may_have_escaped_line_ends(ready):
    text = make("RS256")
    for name, value in [("PRIVATE_KEY", text.strip().replace("\n", "\\n")), ("OTHER_KEY", text)]:
        report = json.loads(ready.done("keys", "import", "--json", "--env", name, "--kid", "env", env={name: value}))["keys"][0]
        assert report["kid"] == "env" and report["changed"] is (name == "PRIVATE_KEY")
    ready.fails(2, "NO_SUCH_KEY is not set", "keys", "import", "--env", "NO_SUCH_KEY")


def test_the_same_import_twice_changes_nothing(ready, pem):
    assert "imported: key" in ready.done("keys", "import", "--kid", "k1", pem["rsa"])
    before = ready.keys()
    assert "already there: key k1" in ready.done("keys", "import", "--kid", "k1", pem["rsa"])
    assert json.loads(ready.done("keys", "import", "--json", "--kid", "k1", pem["rsa"]))["keys"][0]["changed"] is False
    assert ready.keys() == before
    ready.done("keys", "import", "--kid", "k1", "--activate", pem["rsa"])
    after = ready.keys()
    ready.done("keys", "import", "--kid", "k1", "--activate", pem["rsa"])
    assert ready.keys() == after
    assert sorted(key["state"] for key in after) == ["active", "retired"]


def test_a_name_is_given_once(ready, pem):
    ready.done("keys", "import", "--kid", "k1", pem["rsa"])
    before = ready.keys()
    ready.fails(1, "already named", "keys", "import", "--kid", "k1", pem["ec"])
    ready.fails(1, "there is no ring second in the configuration", "keys", "import", "--kid", "k1", "--ring", "second", pem["rsa"])
    ready.fails(1, "already named", "keys", "import", "--kid", "k1", "--algorithm", "PS256", "--activate", pem["rsa"])
    assert ready.keys() == before


def encrypted(pem, *how):
    return openssl("pkey", *how, "-passout", "pass:secret", "-in", pem["rsa"])


@pytest.mark.parametrize("what, says", [
    ("public", "public key"), ("encrypted-pkcs8", "openssl pkey -in"), ("encrypted-pkcs1", "encrypted"), ("rsa1024", "1024 bits"),
    ("nothing", "standard input: no key found: it is empty"), ("text", "no key found: expected PEM"), ("two", "more than one key"), ("cut", ""), ("certificate", "no key found: it is a certificate"),
    ("public-jwk", "public key"), ("json", ""), ("empty-set", "no key found"), ("weak-secret", ""), ("x25519", ""),
    ("wrong-parts", "do not belong together"),
])
def test_what_is_not_a_usable_private_key_is_refused_and_changes_nothing(ready, pem, what, says):
    text = pem["rsa"].read_text()
    lines = text.splitlines()
    jwk = rsa_jwk(text, kid="x", alg="RS256")
    given = {
        "public": lambda: public(text),
        "encrypted-pkcs8": lambda: encrypted(pem, "-aes256"),
        "encrypted-pkcs1": lambda: encrypted(pem, "-traditional", "-aes256"),
        "rsa1024": lambda: pem["rsa1024"].read_text(),
        "nothing": lambda: "",
        "text": lambda: "this is not a key\n",
        "two": lambda: text + pem["ec"].read_text(),
        "cut": lambda: "\n".join([*lines[:5], lines[-1]]) + "\n",
        "certificate": lambda: openssl("req", "-x509", "-key", pem["rsa"], "-subj", "/CN=a", "-days", "1"),
        "public-jwk": lambda: json.dumps({name: jwk[name] for name in ("kty", "n", "e", "kid", "alg")}),
        "json": lambda: '{"hello":"world"}',
        "empty-set": lambda: '{"keys":[]}',
        "weak-secret": lambda: json.dumps({"kty": "oct", "kid": "s", "alg": "HS256", "k": "c2hvcnQ"}),
        "x25519": lambda: openssl("genpkey", "-quiet", "-algorithm", "X25519"),
        "wrong-parts": lambda: json.dumps(jwk | {"d": rsa_jwk(make("RS256"))["d"]}),
    }[what]()
    before = contents(ready.folder)
    line = ready.fails(1, says, "keys", "import", "--activate", "-", input=given)
    assert all(secret not in line for secret in [jwk["d"], lines[2]])
    assert contents(ready.folder) == before


def test_files_and_names_that_do_not_work_are_usage_errors_or_refusals(ready, pem):
    before = ready.keys()
    ready.fails(2, "no-such.pem", "keys", "import", "no-such.pem")
    ready.fails(2, "countersign", "keys", "import", "countersign")
    ready.fails(1, "kid must be", "keys", "import", "--kid", "a\nb", pem["rsa"])
    ready.fails(1, "kid must be", "keys", "import", "--kid", "k" * 257, pem["rsa"])
    ready.fails(1, "does not fit", "keys", "import", "--algorithm", "ES256", pem["rsa"])
    for wrong in [["--ring", "Not A Ring"], ["--algorithm", "none"], ["--algorithm", "XS256"]]:
        assert ready.run("keys", "import", *wrong, pem["rsa"]).returncode == 2
    assert ready.keys() == before


def test_a_new_key_is_in_use_by_a_running_server_within_seconds(world, pem):
    text = CONFIG.replace("[rings", '[store]\nrefresh = "500ms"\n\n[rings') + client("tests")
    world.configure(text)
    issuer = world.serve().printed["issuer"]

    def sign():
        headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
        return wire.ask(issuer, "POST", "/sign", headers, b'{"data":{"sub":"a"}}').json()

    def kids():
        return [key["kid"] for key in wire.get(issuer, "/.well-known/jwks.json").json()["keys"]]

    old = sign()
    tag = wire.get(issuer, "/.well-known/jwks.json").headers["etag"]
    world.done("keys", "import", "--kid", "waiting", pem["ec"])
    until(lambda: "waiting" in kids(), "published")
    assert sign()["kid"] == old["kid"]
    world.done("keys", "import", "--kid", "new", "--activate", pem["rsa"])
    until(lambda: sign()["kid"] == "new", "active")
    assert set(kids()) == {old["kid"], "waiting", "new"}
    answer = wire.get(issuer, "/.well-known/jwks.json", {"If-None-Match": tag})
    assert answer.status == 200 and answer.headers["etag"] != tag
    for token in [old["access_token"], sign()["access_token"]]:
        assert world.run("verify", "--issuer", issuer, token).returncode == 0
    assert set(wire.get(issuer, "/.well-known/openid-configuration").json()["id_token_signing_alg_values_supported"]) == {"ES256", "RS256"}


#: How a key of each kind of ring comes in, and what is said of one that signs at once.
KINDS = {
    "published": ("default", "ES256", "verifiers that read the keys before this one was there refuse its tokens, for up to "),
    "secret-ring": ("secrets", "HS256", "it is in no JWKS, so every verifier that was not given it refuses its tokens until it is"),
    "unpublished": ("private", "ES256", "it is in no JWKS, so every verifier that was not given it refuses its tokens until it is"),
    "jaas": ("jaas", "RS256", "8x8 refuses its tokens until its public key is in the JaaS console, under API keys"),
}
RINGS = """
[profiles.jaas]
app_id = "vpaas-magic-cookie-1"

[rings.secrets]
algorithm = "HS256"

[rings.private]
algorithm = "ES256"
publish = false
"""


def secret_jwk(n):
    return json.dumps({"kty": "oct", "alg": "HS256", "k": base64.urlsafe_b64encode(bytes([n]) * 32).decode().rstrip("=")})


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_of_a_key_that_signs_at_once_is_true_for_its_kind_of_ring(world, kind):
    ring, algorithm, says = KINDS[kind]
    world.configure(CONFIG + RINGS + client("tests"))

    def bring(n, *more):
        kid = f"vpaas-magic-cookie-1/{n}" if kind == "jaas" else f"{kind}-{n}"
        text = secret_jwk(n) if algorithm == "HS256" else make(algorithm)
        done = world.run("keys", "import", "-", "--ring", ring, "--kid", kid, "--algorithm", algorithm, *more, input=text)
        assert done.returncode == 0, done
        return kid, done.stderr

    bring(1)
    _, told = bring(2, "--activate")
    assert f"signs at once: {says}" in told, told
    assert ("countersign keys activate" in told) == (kind == "published"), told
    kid, _ = bring(3)
    if kind == "jaas":
        # 8x8 has a key that it has named.
        done = world.run("keys", "activate", kid)
        assert done.returncode == 0 and "refuses" not in done.stderr, done
        return
    refused = world.fails(1, kid, "keys", "activate", kid)
    assert ("not seen at the public address" in refused) == (kind == "published"), refused
    assert ("is in no JWKS" in refused and "use --force" in refused) == (kind != "published"), refused
    done = world.run("keys", "activate", kid, "--force")
    assert done.returncode == 0 and f"activated by force: {says}" in done.stderr, done
    assert by_kid(world, kid)["state"] == "active"
