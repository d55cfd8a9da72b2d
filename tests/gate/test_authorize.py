"""`countersign authorize` as a user has it: the exact reply on standard output, reasons beside it, exit codes for scripts."""

import fnmatch
import json
import time
from pathlib import Path

import jwt
import pytest
from e2e import program, wire
from e2e.blocks import blocks, environment, run
from gate import issuers
from gate.proxies import with_ports

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api-gateway.md"

ARN = "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET"
GATE = """
[[trust]]
issuer = "http://127.0.0.1:@PORT@"
jwks = "file:keys.json"
algorithms = ["ES256"]
audiences = ["api://default"]

[[gate.routes]]
path = "/health"
public = true

[[gate.routes]]
path = "/orders/**"
any_scope = ["orders:read"]
"""


@pytest.fixture
def gate(world):
    """A configuration whose gate trusts its own keys, from a file; nothing has to run."""
    plain = program.CONFIG + program.client("tests")
    port = world.configure(plain)
    keys = world.done("keys", "export", "--public") if world.done("sign", "--claims", "{}") else None
    (world.file.parent / "keys.json").write_text(keys)
    world.configure(plain + GATE, port)
    return world


def event(token, path="/orders/7"):
    return json.dumps({"type": "TOKEN", "authorizationToken": f"Bearer {token}", "methodArn": f"{ARN}{path}"})


def sign(world, **claims):
    return world.done("sign", "--claims", json.dumps(claims)).strip()


def test_a_request_that_is_let_in_prints_the_reply_and_nothing_else(gate):
    asked = event(sign(gate, sub="alice", scope="orders:read"))
    done = gate.run("authorize", "--event", "-", input=asked)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert reply["principalId"] == "alice" and len(done.stdout.splitlines()) == 1
    assert reply["policyDocument"]["Statement"][0]["Effect"] == "Allow"
    (gate.folder / "event.json").write_text(asked)
    again = gate.run("authorize", "--event", "event.json")
    assert (again.returncode, again.stdout) == (0, done.stdout)


def test_a_request_that_is_not_let_in_ends_with_1_and_says_why_beside_the_reply(gate):
    without_scope = gate.run("authorize", "--event", "-", input=event(sign(gate, sub="alice")))
    assert without_scope.returncode == 1
    effects = {s["Effect"] for s in json.loads(without_scope.stdout)["policyDocument"]["Statement"]}
    assert "Deny" in effects
    assert "countersign: not let in: the token has not the scope that the route needs" in without_scope.stderr
    nobody = gate.run("authorize", "--event", "-", input=event("x"))
    assert (nobody.returncode, json.loads(nobody.stdout)) == (1, {"errorMessage": "Unauthorized"})


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"Records":[]}', "null"])
def test_what_is_no_event_ends_with_2_and_lambdas_error(gate, text):
    done = gate.run("authorize", "--event", "-", input=text)
    assert (done.returncode, json.loads(done.stdout)) == (2, {"errorMessage": "Unauthorized"})
    assert "not an authorizer event" in done.stderr


def test_explain_shows_each_check_with_what_was_expected_and_found(gate):
    asked = event(sign(gate, sub="alice", scope="a b"))
    shown = gate.run("authorize", "--explain", "--event", "-", input=asked)
    assert json.loads(shown.stdout)["principalId"] == "alice"
    lines = [line for line in shown.stderr.splitlines() if line[:1] in "✓✗–"]
    assert any(line.startswith("✓ signature") for line in lines), shown.stderr
    assert any(line.startswith("✗ route scope") and "expected orders:read; found a b" in line for line in lines), shown.stderr

    report = json.loads(gate.run("authorize", "--explain", "--json", "--event", "-", input=asked).stdout)
    assert report["reply"] == json.loads(shown.stdout)
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert verdicts["event"] == verdicts["route"] == verdicts["aud"] == "passed" and verdicts["route scope"] == "failed"
    assert all(set(check) >= {"name", "expected", "found", "verdict"} for check in report["checks"])

    expired = gate.run("authorize", "--explain", "--json", "--event", "-", input=event("a.b.c"))
    checks = json.loads(expired.stdout)["checks"]
    assert [c["code"] for c in checks if c["verdict"] == "failed"] == ["token_not_base64url"]
    assert any(c["verdict"] == "not_reached" for c in checks)


def test_a_public_route_needs_no_token(gate):
    done = gate.run("authorize", "--event", "-", input=event("x", "/health"))
    assert (done.returncode, json.loads(done.stdout)["principalId"]) == (0, "anonymous")


def test_a_rule_that_is_never_used_is_named(gate):
    text = gate.file.read_text()
    for rule, before in [
        ('path = "/orders/{id}"\nall_scopes = ["orders:write"]', "gate.routes[1] (/orders/**)"),
        ('path = "/health"\nmethods = ["GET"]', "gate.routes[0] (/health)"),
        ('path = "/order/*"', None),
        ('path = "$connect"', None),
    ]:
        gate.file.write_text(f"{text}\n[[gate.routes]]\n{rule}\n")
        log = gate.run("authorize", "--event", "-", input=event("x")).stderr
        assert ("is never used" in log) == (before is not None), log
        if before:
            assert f"is never used: {before} comes first" in log and "gate.routes[2]" in log, log


def test_settings_that_cannot_work_are_told_by_their_key(gate):
    text = gate.file.read_text()
    for wrong, says in [
        ("[[trust]]\npreset = 'firebase'\n", "trust[1].id"),
        ("[[gate.proxies]]\nkind = 'nginx'\nnetworks = ['0.0.0.0/0']\n", "gate.proxies[0].networks"),
        ("[[gate.routes]]\npath = 'x'\n", "gate.routes[2].path"),
        ("[[trust]]\nissuer = 'https://a.example'\naudience = ['b']\n", "unknown field `audience`"),
    ]:
        gate.file.write_text(text + wrong)
        for command in [("authorize", "--event", "-"), ("config", "check"), ("serve",)]:
            gate.fails(78, says, *command, input="{}")


def test_an_issuer_at_the_path_where_proxies_ask_the_gate_does_not_start(gate):
    text = gate.file.read_text()
    [issuer, *_] = (line for line in text.splitlines() if line.startswith("issuer"))
    proxies = "[[gate.proxies]]\nkind = 'nginx'\nnetworks = ['127.0.0.1/32']\n"
    for path in ["/gate", "/tenant/gate", "/gate/tenant"]:
        gate.file.write_text(text.replace(issuer, f'{issuer[:-1]}{path}"', 1) + proxies)
        for command in [("config", "check"), ("serve",)]:
            gate.fails(78, f"issuer: its path {path} contains /gate", *command)


@pytest.mark.parametrize("reference", ["env:SHARED", "file:shared.txt"])
def test_a_shared_secret_is_read_where_it_is_referred_to_and_verifies_its_one_algorithm(world, reference):
    secret, issuer = "a secret that is long enough for HS256 and HS384 alike", "https://partner.example"
    # An editor puts a line end behind it.
    (world.folder / "countersign").mkdir()
    program.private(world.folder / "countersign" / "shared.txt", f"{secret}\n")
    world.environment |= {"SHARED": secret}
    trust = f'issuer = "{issuer}"\nhmac_secret = "{reference}"\nalgorithms = ["HS256"]\naudiences = ["api"]\n'
    world.configure(f"{program.CONFIG}[[trust]]\n{trust}")
    claims = {"iss": issuer, "aud": "api", "sub": "alice", "exp": 4_000_000_000}

    def judged(key=secret, algorithm="HS256", **more):
        token = jwt.encode(claims | more, key, algorithm=algorithm)
        done = world.run("authorize", "--event", "-", input=event(token))
        assert secret not in done.stdout + done.stderr
        return done.returncode

    assert judged() == 0
    assert judged(key=f"{secret}\n") == judged(algorithm="HS384") == judged(aud="other") == 1
    assert secret not in world.done("config", "check") and reference in world.done("config", "check")
    world.environment |= {"SHARED": "short"}
    program.private(world.folder / "countersign" / "shared.txt", "short\n")
    world.fails(78, "trust[0]", "config", "check")


def test_a_gate_that_trusts_nobody_does_not_start(world):
    world.configure(program.CONFIG + program.client("tests") + "[[gate.routes]]\npath = '/'\npublic = true\n")
    world.fails(78, "nobody is trusted", "serve")
    world.fails(2, "no-such-file", "authorize", "--event", "no-such-file")


def test_config_check_shows_no_key_that_was_pasted(gate):
    keys = json.loads((gate.file.parent / "keys.json").read_text())
    keys["keys"][0]["d"] = "MARKER"
    gate.file.write_text(gate.file.read_text().replace('"file:keys.json"', f"'{json.dumps(keys)}'"))
    for done in [gate.run("config", "check"), gate.run("config", "check", "--json")]:
        assert done.returncode == 0 and "***" in done.stdout, done.stderr
        assert "MARKER" not in done.stdout + done.stderr


def test_the_page_about_api_gateway_does_what_it_says(binary, tmp_path):
    found = blocks(with_ports(PAGE.read_text(encoding="utf-8"), {"8080": program.free_port()}))
    assert [block.name for block in found] == ["serve", "event"]
    folder = tmp_path / "work"
    folder.mkdir()
    run(found, folder, environment(binary, tmp_path))


def test_proxies_are_answered_at_gate_and_nobody_at_authorize(gate):
    gate.file.write_text(gate.file.read_text() + "[[gate.proxies]]\nkind = 'nginx'\nnetworks = ['127.0.0.1/32']\n")
    gate.serve()
    issuer = next(line.split('"')[1] for line in gate.file.read_text().splitlines() if line.startswith("issuer"))
    asked = [("X-Original-Method", "GET"), ("X-Original-URI", "/health")]
    assert wire.get(issuer, "/gate", asked).status == 200
    assert wire.get(issuer, "/authorize", asked).status == 400


def test_exit_code_log_and_reply_are_of_one_decision_where_no_policy_can_name_the_path(gate):
    text = gate.file.read_text().replace('path = "/orders/**"\nany_scope = ["orders:read"]', 'path = "/orders/{id}"')
    # A rule that lets the caller deeper: then IAM cannot say the star, and the request has to be named.
    gate.file.write_text(text + '\n[[gate.routes]]\npath = "/orders/{id}/items"\n')
    token = sign(gate, sub="alice")
    for path in ["/orders/${aws:username}/items", "/orders/" + "x" * 600 + "/items"]:
        done = gate.run("authorize", "--event", "-", input=event(token, path))
        assert done.returncode == 1 and "not let in: the path cannot be named" in done.stderr, done
        resources = [
            resource for s in json.loads(done.stdout)["policyDocument"]["Statement"] if s["Effect"] == "Allow"
            for resource in s["Resource"]
        ]
        assert not any(fnmatch.fnmatchcase(ARN + path, resource) for resource in resources), done.stdout
    done = gate.run("authorize", "--event", "-", input=event(token, "/orders/7/items"))
    assert done.returncode == 0, done.stderr


def test_verify_shows_nothing_of_a_token_that_could_steer_a_terminal(world):
    key = issuers.Key("\x1b]0;PWN\x07\x1b[2J\nvalid: forged line\x9b\u202e", "ES256")
    world.folder.joinpath("k.pem").write_bytes(key.public())
    now = int(time.time())
    payload = f'{{"sub":\n"\x9b2J\u202eecila",\t"n": 36893488147419103233, "exp": {now + 600}}}'
    token = issuers.raw(key, payload)
    for arguments in [(), ("--json",)]:
        done = world.run(*arguments, "verify", token, "--jwks", "k.pem")
        assert done.returncode == 0, done.stderr
        assert all(line.isprintable() for line in done.stdout.splitlines()), done.stdout
        assert "36893488147419103233" in done.stdout and "\\u202eecila" in done.stdout
        assert not any(line.startswith("valid: forged") for line in done.stdout.splitlines())
