"""`countersign explain`: every check of a token, and the verdict that `countersign verify` has."""

import json
import time

import joserfc.jwk
import jwt
import pytest
from e2e.program import SIGN_CONFIG


def marks(report):
    """The names of the checks by their verdict."""
    return {name: [c["name"] for c in report["checks"] if c["verdict"] == name] for name in ("passed", "failed", "not_reached")}


def explain(runner, token, *arguments):
    """The exit code and the report, after `verify` was found to agree."""
    done = runner.run("explain", "--json", *arguments, "-", input=token, **unchecked(runner))
    verdict = runner.run("verify", "--json", *arguments, "-", input=token, **unchecked(runner))
    assert done.stderr == "" and done.stdout.count("\n") == 1, done
    report, verdict = json.loads(done.stdout), verdict_of(verdict)
    assert (done.returncode, report["valid"], report.get("error")) == verdict
    assert report["valid"] == (marks(report)["failed"] == [])
    failed = [check["code"] for check in report["checks"] if check["verdict"] == "failed"]
    assert failed[:1] == ([report["error"]] if "error" in report else [])
    return report


def unchecked(runner):
    """Authorities demand success of what they run unless told otherwise; worlds do not."""
    return {"check": False} if hasattr(runner, "issuer") else {}


def verdict_of(verify):
    said = json.loads(verify.stdout)
    return verify.returncode, said.get("valid", False), said.get("error")


@pytest.fixture
def their(world):
    """A key of somebody else, its set in a file, and what signs with it."""
    key = joserfc.jwk.ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256"})
    (world.folder / "keys.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))

    def sign(headers={"kid": "k1"}, **changes):
        now = int(time.time())
        claims = {"iss": "https://a.example", "aud": "api", "sub": "bob", "iat": now, "exp": now + 600} | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key.private_key, algorithm="ES256", headers=headers)

    return sign


EXPECTING = ("--jwks", "keys.json", "--issuer", "https://a.example", "--audience", "api")
STEPS = ["form", "issuer", "alg", "keys", "kid", "signature"]
CLAIMS = ["exp", "nbf", "iat", "iss", "aud"]


def test_a_good_token_passes_every_check(world, their):
    report = explain(world, their(), *EXPECTING)
    assert report["valid"] and set(report) == {"valid", "checks", "unchecked", "claims"}
    assert marks(report) == {"passed": STEPS + CLAIMS, "failed": [], "not_reached": []}
    assert all(set(check) == {"name", "expected", "found", "verdict"} for check in report["checks"])


def test_a_private_key_in_the_file_counts_as_its_public_half(world):
    key = joserfc.jwk.ECKey.generate_key("P-256", {"kid": "k1"})
    (world.folder / "private.json").write_text(json.dumps(key.as_dict(private=True)))
    token = jwt.encode({"exp": int(time.time()) + 60}, key.private_key, algorithm="ES256", headers={"kid": "k1"})
    report = explain(world, token, "--jwks", "private.json")
    assert report["valid"] and key.as_dict(private=True)["d"] not in json.dumps(report)


def test_everything_that_is_wrong_with_the_claims_is_said_at_once(world, their):
    report = explain(world, their(exp=1, nbf=int(time.time()) + 900, aud="else"), *EXPECTING)
    assert marks(report) == {"passed": STEPS + ["iat", "iss"], "failed": ["exp", "nbf", "aud"], "not_reached": []}
    assert report["error"] == "token_expired"
    by_name = {check["name"]: check for check in report["checks"]}
    assert by_name["exp"]["found"].startswith("1970-01-01T00:00:01Z, ") and by_name["exp"]["found"].endswith(" ago")
    assert (by_name["aud"]["expected"], by_name["aud"]["found"]) == ('"api"', '"else"')


@pytest.mark.parametrize("spoil, failed, error", [
    (lambda sign: "garbage", "form", "token_not_compact"),
    (lambda sign: sign(iss="https://else.example"), "issuer", "claim_mismatch"),
    (lambda sign: sign(iss=None), "issuer", "claim_missing"),
    (lambda sign: sign({"kid": "other"}), "kid", "token_no_key"),
    (lambda sign: sign()[:-8] + "AAAAAAAA", "signature", "token_bad_signature"),
], ids=["form", "issuer", "no issuer", "kid", "signature"])
def test_what_was_not_reached_is_said_and_not_read(world, their, spoil, failed, error):
    report = explain(world, spoil(their), *EXPECTING)
    after = STEPS[STEPS.index(failed) + 1:]
    assert marks(report) == {"passed": STEPS[:STEPS.index(failed)], "failed": [failed], "not_reached": after + CLAIMS}
    assert report["error"] == error
    assert all(check["found"] == "" for check in report["checks"] if check["verdict"] == "not_reached")


def test_people_read_one_line_for_each_check_and_then_the_verdict(world, their):
    lines = world.done("explain", *EXPECTING, their()).splitlines()
    assert [line[0] for line in lines] == ["✓"] * 11 + ["v"] and lines[-1] == "valid"
    done = world.run("explain", "--jwks", "keys.json", their(exp=1, sub="\u001b[31m\u202e"))
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line[0] == "✗"] == [line for line in lines if line[2:5] == "exp"]
    assert "in the future; found 1970-01-01T00:00:01Z" in done.stdout
    assert lines[-2:] == [
        "refused: the token has expired",
        "not checked: iss, aud (name what you expect with --issuer and --audience)",
    ]
    done = world.run("explain", *EXPECTING, their(iss="\u001b[31m\u202eevil"))
    assert "\\u001b[31m\\u202eevil" in done.stdout and "\u001b" not in done.stdout and "\u202e" not in done.stdout


def test_our_own_tokens_are_explained_without_arguments_and_by_discovery(authority):
    ours = authority(SIGN_CONFIG)
    token = ours.sign({"sub": "alice"})
    for arguments in [(), ("--issuer", ours.issuer, "--audience", "api://default")]:
        report = explain(ours, token, *arguments)
        assert report["valid"] and marks(report)["passed"][:6] == STEPS
    assert marks(explain(ours, token, "--audience", "api://else"))["failed"] == ["aud"]
    ours.stop()
    report = explain(ours, token, "--issuer", ours.issuer)
    assert (marks(report)["failed"], report["error"]) == (["keys"], "keys_unavailable")
    assert ours.start().run("explain", token).returncode == 0


def test_arguments_that_ask_nothing_are_usage_errors_as_with_verify(world, their):
    token = their()
    for command in ("verify", "explain"):
        world.fails(2, "say whose keys to verify with", command, token)
        world.fails(2, "there is no token", command, "--jwks", "keys.json", "-", input=" \n")
        world.fails(2, "no-such-file", command, "--jwks", "no-such-file", token)
        world.fails(2, "over https only", command, "--jwks", "http://a.example/keys", token)
        world.fails(2, "leeway of more than 10 minutes", command, *EXPECTING, "--leeway", "11m", token)
        for text, says in [("<html>", "it is a web page"), ("{", "not a JWKS"), ('{"keys":[]}', "no key to verify with")]:
            (world.folder / "bad.json").write_text(text)
            world.fails(1, says, command, "--jwks", "bad.json", token)
