"""What people paste: tokens and keys in every form that they have them in, through every door that takes one.

Each form is taken, or refused with a reason of its own. The forms are those of public reports and of a first hour with the program.
"""

import base64
import json
import subprocess

import pytest
from e2e import wire
from e2e.conftest import openssl
from e2e.program import CONFIG, SECRET, client, private
from jwt.algorithms import ECAlgorithm


@pytest.fixture(scope="module")
def at(full_binary, tmp_path_factory):
    """A world with keys, a token, and a gate that trusts them, for all tests of this file."""
    from e2e.program import World

    world = World(full_binary, tmp_path_factory.mktemp("pasted"))
    world.configure(CONFIG + client("tests"))
    world.token = world.done("sign", "--claims", '{"sub":"alice","auth_time":1700000000}').strip()
    (world.folder / "jwks.json").write_text(world.done("keys", "export"))
    yield world
    world.end()


def b64(text):
    return base64.b64encode(text.encode()).decode()


#: A token as it is pasted, and what is said of what stood around it.
AROUND = {
    "double quotes": (lambda t: f'"{t}"', "quotation marks"),
    "single quotes": (lambda t: f"'{t}'", "quotation marks"),
    "typographic quotes": (lambda t: f"“{t}”", "quotation marks"),
    "Bearer": (lambda t: f"Bearer {t}", "`Bearer `"),
    "a header": (lambda t: f"Authorization: Bearer {t}", "`Authorization` in front, `Bearer `"),
    "a variable": (lambda t: f'export TOKEN="{t}"', "`TOKEN` in front"),
    "an answer": (lambda t: json.dumps({"access_token": t, "token_type": "Bearer"}), "the JSON around `access_token`"),
    "Cognito's answer": (lambda t: json.dumps({"AuthenticationResult": {"IdToken": t}}), "the JSON around `IdToken`"),
    "a member of JSON": (lambda t: f'"id_token": "{t}",', "`id_token` in front"),
    "a redirect": (lambda t: f"https://app.example/cb#state=x&id_token={t}", "the URL around `id_token`"),
    "wrapped lines": (lambda t: "\n".join(t[n : n + 64] for n in range(0, len(t), 64)), "line breaks or blanks"),
    "a mark of byte order": (lambda t: "\ufeff" + t + "\r\n", None),
}


@pytest.mark.parametrize("form", AROUND)
def test_what_stands_around_a_token_is_taken_off_by_every_command(at, form):
    spell, says = AROUND[form]
    text = spell(at.token)
    (at.folder / "pasted").write_text(text, encoding="utf-8")
    doors = [("-", text), ("@pasted", None)] + ([(text, None)] if not text.startswith("-") else [])
    for command in (["verify"], ["explain"], ["decode"]):
        for argument, given in doors:
            done = at.run(*command, argument, input=given)
            assert done.returncode == 0, (command, argument, done)
            if says:
                assert says in done.stdout + done.stderr, (command, done)
    # Its reader is the same, whatever the rules then say.
    exchange = at.run("exchange", "--explain", "pasted")
    assert "base64url" not in exchange.stderr and "compact" not in exchange.stderr


#: A token that is not one, and the reason.
BROKEN = {
    "padding": (lambda t: t + "=", "the signature of the token is not base64url: it ends in padding (`=`)"),
    "padded header": (lambda t: t.replace(".", "=.", 1), "the header of the token is not base64url: it ends in padding"),
    "the other alphabet": (lambda t: t[:-3] + "+" + t[-2:], "it is standard base64 and not base64url: character"),
    "another character": (lambda t: "ä" + t, "the header of the token is not base64url: character 1"),
    "a quotation mark": (lambda t: t.replace(".", '".', 1), "there is a quotation mark at character"),
    "a cut signature": (lambda t: t[:-1], "the signature of the token is not base64url: it is cut short"),
    "two parts": (lambda t: t.rsplit(".", 1)[0], "three parts separated by dots are expected, and there are 2"),
    "one part": (lambda t: "abc", "and there is one"),
    # {"alg":"dir","enc":"A256GCM"}
    "encrypted": (lambda t: "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..a.b.c", "it is encrypted (a JWE)"),
    "two tokens": (lambda t: t + t, "or two tokens stand behind one another"),
    "no signature": (lambda t: t.rsplit(".", 1)[0] + ".", "the token is not signed"),
    "another signature": (lambda t: t[:-20] + "A" * 20, "the signature does not verify"),
}


@pytest.mark.parametrize("form", BROKEN)
def test_a_broken_token_is_refused_with_what_is_wrong_and_where(at, form):
    spell, says = BROKEN[form]
    line = at.fails(1, says, "verify", spell(at.token))
    assert at.token.split(".")[1] not in line
    assert says in at.run("explain", spell(at.token)).stdout


def test_the_name_of_a_file_is_not_taken_for_a_token(at):
    (at.folder / "file.jwt").write_text(at.token)
    for command in ("verify", "explain", "decode"):
        at.fails(2, "file.jwt is a file and not a token; write @file.jwt", command, "file.jwt")
        assert at.run(command, "@file.jwt").returncode == 0
        at.fails(2, "@absent.jwt: ", command, "@absent.jwt")
        at.fails(2, "there is no token", command, "")
    (at.folder / "wide.jwt").write_bytes(at.token.encode("utf-16"))
    at.fails(2, "it is UTF-16, as Windows PowerShell", "verify", "@wide.jwt")


def test_decode_shows_the_header_of_a_token_that_was_cut_in_its_claims(at):
    header, claims, _ = at.token.split(".")
    done = at.run("decode", f"{header}.{claims[:21]}")
    assert done.returncode == 0 and "ES256" in done.stdout and "claims" in done.stdout, done


def test_decode_shows_what_nobody_verified_and_says_so(at):
    header, claims, _ = at.token.split(".")
    forged = f"{header}.{claims}.{'A' * 86}"
    for token in (at.token, forged):
        lines = at.done("decode", token).splitlines()
        assert lines[0].startswith("not verified: ") and "anyone could have written it" in lines[0]
        assert any('"alice"' in line for line in lines) and any("ago)" in line and "auth_time" in line for line in lines)
        assert any("exp" in line and "(20" in line and "in " in line for line in lines)
    said = json.loads(at.done("decode", "--json", f"Bearer {forged}"))
    assert said["verified"] is False and said["claims"]["sub"] == "alice" and said["header"]["alg"] == "ES256"
    assert "in " in said["times"]["exp"] and said["notes"] == ["taken off before reading the token: `Bearer `"]
    # Numbers of any size and members that are there twice are shown as they stand.
    odd = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in ('{"alg":"none"}', '{"n":12345678901234567890123,"n":2}', ""))
    shown = at.done("decode", odd)
    assert "12345678901234567890123" in shown and "not signed" in shown
    padded = at.done("decode", at.token.replace(".", "=.", 1))
    assert "note: verifiers refuse it: the header is not base64url: it ends in padding" in padded
    encrypted = base64.urlsafe_b64encode(b'{"alg":"dir","enc":"A256GCM"}').decode().rstrip("=")
    assert "encrypted (JWE)" in at.done("decode", f"{encrypted}..b.c.d")
    at.fails(1, "these are two tokens behind one another", "decode", at.token + at.token)
    at.fails(1, "this is not a token", "decode", "abc")
    at.fails(1, "not a JSON object", "decode", "YWJj.YWJj.YWJj")
    # It needs no configuration and shows no escape of a terminal.
    evil = base64.urlsafe_b64encode(b'{"sub":"\x1b]0;x\x07"}'.replace(b"\x1b", b"\\u001b").replace(b"\x07", b"\\u0007")).decode().rstrip("=")
    assert "\x1b" not in at.done("decode", f"{header}.{evil}.AA", "--config", "absent.toml")


# Keys.


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A key in the forms that openssl writes."""
    folder = tmp_path_factory.mktemp("forms")
    openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", folder / "key.pem")
    read = lambda name: (folder / name).read_text()  # noqa: E731
    forms = {"pem": read("key.pem"), "folder": folder}
    forms["public"] = openssl("pkey", "-in", folder / "key.pem", "-pubout")
    forms["certificate"] = openssl("req", "-x509", "-key", folder / "key.pem", "-subj", "/CN=a", "-days", "2")
    forms["expired"] = expired(forms["pem"])
    forms["request"] = openssl("req", "-new", "-key", folder / "key.pem", "-subj", "/CN=a")
    subprocess.run(["openssl", "pkey", "-in", folder / "key.pem", "-outform", "DER", "-out", folder / "key.der"], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", folder / "ssh"], check=True)
    forms["openssh"], forms["openssh-public"] = read("ssh"), read("ssh.pub")
    return forms


def expired(pem):
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

    key, name = load_pem_private_key(pem.encode(), None), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2020, 2, 1)).sign(key, SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def one_line(text, end):
    return text.strip().replace("\n", end)


#: Private keys that are taken, as people bring them through files and variables.
TAKEN = {
    "PEM": lambda k: k["pem"],
    "CRLF": lambda k: k["pem"].replace("\n", "\r\n"),
    "no line end": lambda k: k["pem"].strip(),
    "indented": lambda k: "\n".join("    " + line for line in k["pem"].splitlines()),
    "\\n": lambda k: one_line(k["pem"], "\\n"),
    "\\r\\n": lambda k: one_line(k["pem"], "\\r\\n"),
    "\\\\n": lambda k: one_line(k["pem"], "\\\\n"),
    "\\n and a line end": lambda k: one_line(k["pem"], "\\n\\\n"),
    "blanks": lambda k: one_line(k["pem"], " "),
    "no-break blanks": lambda k: one_line(k["pem"], "\u00a0"),
    "quotes": lambda k: '"' + one_line(k["pem"], "\\n") + '"',
    "single quotes": lambda k: "'" + one_line(k["pem"], "\\n") + "'",
    "a mark of byte order": lambda k: "\ufeff" + k["pem"],
    "base64": lambda k: b64(k["pem"]),
    "base64, wrapped": lambda k: "\n".join(b64(k["pem"])[n : n + 64] for n in range(0, len(b64(k["pem"])), 64)),
    "base64url": lambda k: base64.urlsafe_b64encode(k["pem"].encode()).decode().rstrip("="),
    "with its certificate": lambda k: k["certificate"] + k["pem"],
}


@pytest.fixture(scope="module")
def kid(at, key):
    """The key's name, once it is in."""
    at.done("keys", "import", "-", "--kid", "pasted", "--algorithm", "RS256", input=key["pem"])
    return "pasted"


@pytest.mark.parametrize("form", TAKEN)
def test_a_private_key_is_taken_in_every_form_through_file_input_variable_and_jaas(at, key, kid, form):
    text = TAKEN[form](key)
    private(at.folder / "pasted.pem", text)
    how = ("--kid", kid, "--algorithm", "RS256", "--json")
    for arguments, given, variables in [(["pasted.pem"], None, {}), (["-"], text, {}), (["--env", "KEY"], None, {"KEY": text})]:
        done = json.loads(at.done("keys", "import", *arguments, *how, input=given, env=variables))
        assert done["keys"] == [{"ring": "default", "kid": kid, "state": "published", "changed": False}], (form, arguments)
    jaas = {"JAAS_APP_ID": "vpaas-magic-cookie-1", "JAAS_API_KID": "vpaas-magic-cookie-1/a", "PRIVATE_KEY": text}
    assert at.run("sign", "--profile", "jaas", "--claims", '{"room":"a"}', env=jaas).returncode == 0
    # And the public half of it verifies.
    assert at.run("verify", "abc", "--jwks", "pasted.pem").returncode == 1
    assert "compact" in at.run("verify", "abc", "--jwks", "pasted.pem").stderr


#: What has no private key in it, and the reason.
REFUSED = {
    "nothing": (lambda k: " \n", "it is empty"),
    "a certificate": (lambda k: k["certificate"], "it is a certificate, which has only a public key"),
    "a request": (lambda k: k["request"], "it is a certificate request"),
    "a public key": (lambda k: k["public"], "this is a public key"),
    "OpenSSH": (lambda k: k["openssh"], "ssh-keygen -p -m PEM -f COPY"),
    "OpenSSH public": (lambda k: k["openssh-public"], "it is an OpenSSH public key"),
    "the first line": (lambda k: k["pem"].splitlines()[0], "its -----END line is missing: it was cut off"),
    "no last line": (lambda k: "\n".join(k["pem"].splitlines()[:-1]), "its -----END line is missing"),
    "no first line": (lambda k: "\n".join(k["pem"].splitlines()[1:]), "its -----BEGIN line is missing"),
    "four hyphens": (lambda k: k["pem"].replace("-----", "----"), "five hyphens"),
    "dashes": (lambda k: k["pem"].replace("-----", "—–"), "five hyphens"),
    "no frame": (lambda k: "".join(k["pem"].splitlines()[1:-1]), "it is base64 without the -----BEGIN and -----END lines"),
    "a token": (lambda k: "eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "it is a token and not a key"),
    "a page": (lambda k: "<!DOCTYPE html><html></html>", "it is a web page"),
    "a path": (lambda k: "./secrets/key.pem", "it looks like the name of a file"),
    "PGP": (lambda k: "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----", "it is a PGP block"),
    "EC PARAMETERS": (lambda k: "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----", "it has only EC PARAMETERS"),
    "words": (lambda k: "this is not a key", "expected PEM with PRIVATE KEY"),
}


def test_no_two_forms_that_are_no_key_have_one_reason():
    reasons = [says for _, says in REFUSED.values() if says != "five hyphens"]
    assert sum("-----END line is missing" in says for says in reasons) == 2
    assert len({says.split(":")[0] for says in reasons}) >= len(reasons) - 1


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_no_private_key_is_refused_with_its_own_reason_through_every_door(at, key, form):
    spell, says = REFUSED[form]
    text = spell(key)
    private(at.folder / "pasted.pem", text)
    at.fails(1, f"pasted.pem: ", "keys", "import", "pasted.pem")
    for arguments, given, variables in [(["pasted.pem"], None, {}), (["-"], text, {}), (["--env", "KEY"], None, {"KEY": text})]:
        done = at.run("keys", "import", *arguments, input=given, env=variables)
        assert done.returncode == 1 and says in done.stderr, (form, arguments, done)
        assert key["pem"].splitlines()[3] not in done.stderr
    if text.strip():
        jaas = {"JAAS_APP_ID": "vpaas-magic-cookie-1", "JAAS_API_KID": "vpaas-magic-cookie-1/a", "PRIVATE_KEY": text}
        at.fails(78, says, "sign", "--profile", "jaas", "--claims", '{"room":"a"}', env=jaas)


def test_der_is_refused_with_the_command_that_turns_it_into_pem(at, key):
    at.fails(2, "openssl pkey -inform DER", "keys", "import", str(key["folder"] / "key.der"))
    at.fails(2, "openssl pkey -inform DER", "verify", at.token, "--jwks", str(key["folder"] / "key.der"))


def test_a_variable_that_is_no_text_is_not_said_to_be_unset(at):
    import os

    done = subprocess.run(
        [at.binary, "keys", "import", "--env", "KEY"], cwd=at.folder, capture_output=True, text=True, timeout=60,
        env={os.fsencode(name): os.fsencode(value) for name, value in at.environment.items()} | {b"KEY": b"\xff\xfe-"},
    )
    assert done.returncode == 2 and "KEY is not UTF-8 text" in done.stderr, done


# Public keys, through verify and the gate.


def trust(source, algorithms='["ES256"]'):
    return f'\n[[trust]]\nissuer = "@ISSUER@"\n{source}\nalgorithms = {algorithms}\naudiences = ["api://default"]\n'


@pytest.fixture(scope="module")
def own(at):
    """The public key of the world's token, in the forms people have it in, and the issuer."""
    x509, kid = at.done("keys", "export", "--format", "x509"), wire.header(at.token)["kid"]
    certificate = json.loads(x509)[kid]
    issuer = json.loads(wire.claims(at.token))["iss"]
    jwks = json.loads(at.done("keys", "export"))
    jwk = next(key for key in jwks["keys"] if key["kid"] == kid)
    return {
        "issuer": issuer, "JWKS": json.dumps(jwks), "JWKS with a mark of byte order": "\ufeff" + json.dumps(jwks), "JWK": json.dumps(jwk),
        "PEM": ECAlgorithm.from_jwk(jwk).public_bytes(*formats()).decode(), "certificate": certificate, "map of certificates": x509,
        "PEM in base64": b64(ECAlgorithm.from_jwk(jwk).public_bytes(*formats()).decode()),
    }


def formats():
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return Encoding.PEM, PublicFormat.SubjectPublicKeyInfo


PUBLIC = ["JWKS", "JWKS with a mark of byte order", "JWK", "PEM", "PEM in base64", "certificate", "map of certificates"]


@pytest.mark.parametrize("form", PUBLIC)
def test_a_public_key_is_taken_in_every_form_by_verify_and_by_trust_under_either_name(at, own, form):
    name = form.replace(" ", "-")
    (at.folder / name).write_text(own[form], encoding="utf-8")
    assert at.done("verify", at.token, "--jwks", name).startswith("valid: signed with ES256"), form
    event = {"type": "TOKEN", "authorizationToken": f"Bearer {at.token}",
             "methodArn": "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET/orders"}
    (at.folder / "event.json").write_text(json.dumps(event))
    for setting in ("jwks", "pem"):
        gate = trust(f'{setting} = "file:{name}"').replace("@ISSUER@", own["issuer"])
        (at.folder / "gate.toml").write_text(gate)
        done = at.run("authorize", "--config", "gate.toml", "--event", "event.json")
        assert done.returncode == 0 and '"principalId":"alice"' in done.stdout, (setting, done)


def test_a_certificate_that_is_not_valid_now_verifies_nothing(at, key):
    (at.folder / "expired.pem").write_text(key["expired"])
    at.done("keys", "import", "-", "--kid", "pasted", "--algorithm", "RS256", input=key["pem"])
    done = at.run("verify", at.token, "--jwks", "expired.pem", "--algorithm", "RS256")
    assert done.returncode == 1
    token = key_token(key)
    line = at.fails(1, "certificate", "verify", token, "--jwks", "expired.pem")
    assert "valid" in line
    (at.folder / "good.pem").write_text(key["certificate"])
    assert at.done("verify", token, "--jwks", "good.pem").startswith("valid")


def key_token(key):
    import jwt

    return jwt.encode({"sub": "a", "exp": 4_000_000_000}, key["pem"], algorithm="RS256")


def test_a_key_that_was_passed_over_is_named_where_its_absence_explains_the_refusal(at, own):
    jwks = json.loads(own["JWKS"])
    bad = next(one for one in jwks["keys"] if one["kty"] == "EC")
    bad["x"] += "="
    (at.folder / "padded.json").write_text(json.dumps(jwks))
    says = "the JWK member `x` is not base64url: it ends in padding (`=`)"
    at.fails(1, f"the key that the token's `kid` names was passed over: {says}" if len(jwks["keys"]) > 1 else says, "verify", at.token, "--jwks", "padded.json")
    (at.folder / "both.json").write_text(json.dumps({"keys": [bad, {**bad, "kid": "other", "x": bad["x"].rstrip("=")}]}))
    at.fails(1, f"the key that the token's `kid` names was passed over: {says}", "verify", at.token, "--jwks", "both.json")
    assert f"was passed over: {says}" in at.run("explain", at.token, "--jwks", "both.json").stdout
    gate = trust('jwks = "file:padded.json"').replace("@ISSUER@", own["issuer"])
    only = json.loads(own["JWKS"])
    only["keys"] = [bad]
    (at.folder / "padded.json").write_text(json.dumps(only))
    (at.folder / "gate.toml").write_text(gate)
    at.fails(78, says, "authorize", "--config", "gate.toml", "--event", "event.json")


def test_a_private_jwk_verifies_whatever_its_key_ops_say_and_one_that_may_not_sign_does_not_come_in(at, own):
    from cryptography.hazmat.primitives.asymmetric import ec

    made = ec.generate_private_key(ec.SECP256R1())
    jwk = ECAlgorithm.to_jwk(made, as_dict=True) | {"kid": "webcrypto", "key_ops": ["sign"], "ext": True}
    import jwt

    token = jwt.encode({"sub": "a", "exp": 4_000_000_000}, made, algorithm="ES256", headers={"kid": "webcrypto"})
    (at.folder / "webcrypto.json").write_text(json.dumps(jwk))
    assert at.done("verify", token, "--jwks", "webcrypto.json").startswith("valid")
    (at.folder / "webcrypto.json").write_text(json.dumps(jwk | {"key_ops": ["verify"]}))
    at.fails(1, '`key_ops` of the key does not allow "sign"', "keys", "import", "webcrypto.json")


def test_a_shared_secret_verifies_by_reference(at):
    import jwt

    token = jwt.encode({"sub": "a", "exp": 4_000_000_000}, SECRET, algorithm="HS256")
    assert at.done("verify", token, "--secret", "env:SHARED", env={"SHARED": SECRET + "\n"}).startswith("valid: signed with HS256")
    private(at.folder / "shared", SECRET)
    assert at.run("verify", token, "--secret", "file:shared").returncode == 0
    at.fails(2, "write env:NAME, file:PATH", "verify", token, "--secret", SECRET)
    at.fails(2, "not for RS256", "verify", token, "--secret", "env:SHARED", "--algorithm", "RS256", env={"SHARED": SECRET})
    at.fails(2, "SHARED is not set", "verify", token, "--secret", "env:SHARED")
