"""What an operator sees: the log, one audit event per mint and per refusal, metrics, health.

The log names who got what by hash and by name; it never holds a token, a secret or the value of a claim, and nothing
a caller sends can make a second record.
"""

import hashlib
import json
import os
import pty
import subprocess

import pytest
from e2e import wire
from e2e.program import CONFIG, SECRET, SIGN_CONFIG, client
from e2e.wire import MARK


@pytest.fixture
def server(authority):
    return authority(SIGN_CONFIG)


def events(server):
    return [json.loads(line) for line in server.log.split("\n") if line]


def post(server, body, name=None, secret=None, **more):
    credentials = wire.basic(name or server.client_id, secret or server.client_secret)
    headers = {"Authorization": credentials, "Content-Type": "application/json"} | more
    return wire.ask(server.issuer, "POST", "/sign", headers, body if isinstance(body, bytes) else body.encode())


def test_a_mint_is_one_event_with_all_that_names_it(server):
    answer = post(server, '{"data":{"sub":"alice","role":"%s"}}' % MARK)
    token = answer.json()["access_token"]
    claims = json.loads(wire.claims(token))
    [event] = server.audit
    expected = {
        "level": "INFO", "decision": "minted", "client": "tests", "policy": "tests", "profile": "jwt", "address": "127.0.0.1",
        "kid": answer.json()["kid"], "jti": claims["jti"], "subject": "alice", "exp": claims["exp"],
        "token_sha256": hashlib.sha256(token.encode()).hexdigest(), "request_id": answer.headers["x-request-id"],
    }
    assert expected.items() <= event.items()
    assert set(event) - set(expected) == {"timestamp", "target"}


REFUSALS = [
    ('{"data":{"iss":"%s"}}' % MARK, {}, 400, "invalid_request"),
    ('{"data":{"a":"%s"' % MARK, {}, 400, "invalid_request"),
    ('{"data":{},"profile":"%s"}' % MARK, {}, 400, "unknown_profile"),
    ('{"data":{"a":"%s"},"metadata":{"audience":"api://elsewhere"}}' % MARK, {}, 403, "outside_policy"),
    ('{"data":{"a":"%s"}}' % MARK, {"secret": "wrong-" + MARK}, 401, "invalid_client"),
    ('{"data":{"a":"%s"}}' % MARK, {"name": MARK}, 401, "invalid_client"),
    ('{"data":{"a":"%s%s"}}' % (MARK, "x" * 70_000), {}, 413, "body_too_large"),
    ('{"data":{"a":"%s%s"}}' % (MARK, "x" * 20_000), {}, 400, "token_too_long"),
    ('{"data":{}}', {"Content-Type": "text/" + MARK}, 415, "invalid_request"),
]


def test_a_refusal_is_one_event_with_its_reason(server):
    for body, how, status, code in REFUSALS:
        before = len(server.audit)
        answer = post(server, body, **how)
        assert answer.status == status, answer
        new = server.audit[before:]
        assert len(new) == 1, (body[:60], new)
        assert (new[0]["level"], new[0]["decision"], new[0]["code"]) == ("WARN", "refused", code), new
        assert new[0]["request_id"] == answer.headers["x-request-id"] and new[0]["reason"], new
        if status in (400, 403) and code != "invalid_request":
            assert (new[0]["client"], new[0]["policy"]) == ("tests", "tests")
        if code == "outside_policy":
            assert '"api://elsewhere" (rule: audiences)' in new[0]["reason"]
    assert MARK not in server.log and server.client_secret not in server.log


def test_a_refusal_of_a_known_client_names_the_client(server):
    """The caller had proved who it is before its claims were looked at."""
    post(server, '{"data":{"iss":"x"}}')
    [event] = server.audit
    assert event["client"] == "tests"


def test_request_ids_are_never_the_callers(server):
    ids = [post(server, '{"data":{}}', **{"X-Request-Id": MARK}).headers["x-request-id"] for _ in range(20)]
    assert len(set(ids)) == 20 and MARK not in ids and MARK not in server.log


def test_neither_token_nor_secret_nor_claims_are_in_the_log(server):
    tokens = [server.sign({"sub": f"s{n}", "email": MARK, "deep": {"x": [MARK]}}) for n in range(5)]
    post(server, '{"data":{}}', secret="guess-" + MARK)
    log = server.log
    assert MARK not in log and server.client_secret not in log
    for token in tokens:
        assert token not in log and not any(part in log for part in token.split(".")[1:])


HOSTILE = [
    'a\n{"level":"INFO","decision":"minted","client":"root"}', "a\r\nb", 'a","decision":"refused","x":"', "a\u2028b\u2029c\u0085d",
    "\x1b[2J\x1b[31mred", "a\x00b", "\\n\\\"", "\u202egnirts", "x" * 3000,
]


def test_no_text_of_a_caller_forges_a_record(server):
    for subject in HOSTILE:
        server.sign({"sub": subject})
    found = server.audit
    assert [event["subject"] for event in found] == HOSTILE
    assert all(event["decision"] == "minted" and event["client"] == "tests" for event in found)
    assert "\x1b" not in server.log and "\x00" not in server.log
    for headers in [{"User-Agent": "a\x0b{}"}, {"X-Forwarded-For": '"}{'}, {"Referer": "\x1b[31m"}]:
        post(server, '{"data":{}}', **headers)
    events(server)


def on_a_terminal(world, *arguments):
    """Runs a command with a terminal as standard error and returns what a person sees."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [world.binary, *arguments], cwd=world.folder, env=world.environment, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    try:
        while data := os.read(ours, 65536):
            seen += data
    except OSError:
        pass  # how a terminal says that nobody is there any more
    finally:
        os.close(ours)
        process.wait(timeout=120)
    return seen.decode()


def test_on_a_terminal_the_log_is_for_people_and_still_cannot_be_forged(world):
    world.configure()
    world.done("keys", "init")  # its warning is not what is asked about
    seen = on_a_terminal(world, "sign", "--verbose", "--claims", json.dumps({"sub": "a\n2026 forged \x1b[2J record"}))
    lines = [line for line in seen.splitlines() if line.strip()]
    assert len(lines) == 1 and "minted" in lines[0] and not lines[0].startswith("{")
    assert "\x1b[2J" not in seen and "\n2026 forged" not in seen


def test_the_command_line_leaves_the_same_event(world):
    world.configure()
    world.done("keys", "init")  # its warning is not what is asked about
    done = world.run("sign", "--claims", '{"sub":"a","x":"%s"}' % MARK)
    [event] = [json.loads(line) for line in done.stderr.splitlines()]
    assert (event["decision"], event["client"], event["subject"]) == ("minted", "operator", "a")
    assert event["token_sha256"] == hashlib.sha256(done.stdout.strip().encode()).hexdigest() and MARK not in done.stderr


def test_the_audit_can_be_turned_off_and_the_rest_stays(world):
    world.configure(CONFIG + '[log]\nlevel = "info,countersign::audit=off"\n' + client("tests"))
    world.done("keys", "init")  # its warning is not what is asked about
    assert world.run("sign", "--claims", "{}").stderr == ""


def metrics(url):
    answer = wire.get(url, "/metrics")
    assert answer.status == 200 and answer.body.endswith(b"# EOF\n"), answer
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_metrics_count_what_happened(server):
    before = metrics(server.issuer)
    for body, how, _, _ in REFUSALS:
        post(server, body, **how)
    for _ in range(3):
        server.sign({"sub": MARK})
    wire.get(server.issuer, "/" + MARK)
    after = metrics(server.issuer)

    def grown(name):
        return after.get(name, 0) - before.get(name, 0)

    assert before['countersign_tokens_minted_total{profile="jwt"}'] == 0, "it is there before anything was minted"
    assert grown('countersign_tokens_minted_total{profile="jwt"}') == 3
    for code in {code for _, _, _, code in REFUSALS}:
        expected = sum(code == other for _, _, _, other in REFUSALS)
        name = f'countersign_tokens_refused_total{{reason="{code}"}}'
        assert before[name] == 0 and grown(name) == expected, code
    assert grown('countersign_http_responses_total{status="404"}') == 1
    assert grown('countersign_http_responses_total{status="401"}') == 2
    assert after["countersign_ready"] == 1
    text = "".join(after)
    assert MARK not in text and "tests" not in text


@pytest.mark.parametrize("networks, status", [('["127.0.0.1"]', 200), ("[]", 403), ('["192.0.2.0/24", "::1/128"]', 403)])
def test_only_named_addresses_read_metrics(world, networks, status):
    world.configure(CONFIG.replace('"127.0.0.1:@PORT@"\n\n', f'"127.0.0.1:@PORT@"\nmetrics_allow = {networks}\n\n', 1) + client("tests"))
    issuer = world.serve().printed["issuer"]
    answer = wire.get(issuer, "/metrics")
    assert answer.status == status, answer
    if status == 403:
        wire.check_refusal(answer, 403, "server.metrics_allow", error="access_denied", secret=SECRET)


def test_behind_a_trusted_proxy_the_callers_address_counts(world):
    settings = 'trusted_proxies = ["127.0.0.1"]\nmetrics_allow = ["192.0.2.0/24"]'
    world.configure(CONFIG.replace('"127.0.0.1:@PORT@"\n\n', f'"127.0.0.1:@PORT@"\n{settings}\n\n', 1) + client("tests"))
    issuer = world.serve().printed["issuer"]
    statuses = [wire.get(issuer, "/metrics", {"X-Forwarded-For": value}).status for value in ["192.0.2.1", "198.51.100.1", "192.0.2.1, 198.51.100.1"]]
    assert statuses == [200, 403, 403]


def test_health_and_readiness_are_plain_and_not_cached(server):
    for path, body in [("/healthz", b"ok\n"), ("/readyz", b"ready\n")]:
        answer = wire.get(server.issuer, path)
        assert (answer.status, answer.body) == (200, body) and answer.headers["cache-control"] == "no-store"
        assert wire.ask(server.issuer, "HEAD", path).status == 200
        assert wire.ask(server.issuer, "POST", path, {}, b"").status == 405
