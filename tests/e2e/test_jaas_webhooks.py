"""`POST /webhooks/jaas`: events of 8x8 JaaS, signed as 8x8 signs them, into the log or on to a target that may be away.

The signatures are made here with `hmac` of Python, from 8x8's description: HMAC-SHA256 of the time, a full stop and the
body, in base64.
"""

import base64
import hashlib
import hmac
import json
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from e2e import wire
from e2e.program import CONFIG, client, private, until

APP = "vpaas-magic-cookie-0123456789abcdef"
SECRET, NEXT = "whsec_a-secret-of-the-console-1", "whsec_a-secret-of-the-console-2"
TOKEN = "a-token-for-the-target"
HOOK = f'\n[webhooks.jaas]\napp_id = "{APP}"\nsecrets = ["file:hook.secret"]\n'


class Target(ThreadingHTTPServer):
    """What events are sent on to. `status` is what it answers next; `held` makes it wait before."""

    daemon_threads = True

    def __init__(self):
        self.received, self.status, self.held = [], 204, threading.Event()
        self.held.set()
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/jaas?from=countersign"

    def end(self):
        self.held.set()
        self.shutdown()
        self.thread.join()
        self.server_close()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.received.append((self.path, self.headers, body))
            self.server.held.wait(20)
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass


@pytest.fixture
def target():
    one = Target()
    try:
        yield one
    finally:
        one.end()


def event(**rest):
    """The example of 8x8's page, with a key of its own."""
    return json.dumps({
        "idempotencyKey": str(uuid.uuid4()), "customerId": "c2824d584eac4489a1e32e4e164d5a3c", "appId": APP,
        "eventType": "PARTICIPANT_JOINED",
        "sessionId": "c3348153-1027-4382-afad-5ae91b433c26", "timestamp": 1600951800112, "fqn": f"{APP}/standup",
        "data": {"name": "Zoë", "email": "z@example.com", "moderator": "true"},
    } | rest).encode()


def signature(body, secret=SECRET, at=None):
    at = str(int(time.time()) if at is None else at)
    mac = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).digest()
    return f"t={at},v1={base64.b64encode(mac).decode()}"


def post(issuer, body, header=None, path="/webhooks/jaas", method="POST"):
    headers = {"Content-Type": "application/json", "X-Jaas-Signature": signature(body) if header is None else header}
    return wire.ask(issuer, method, path, {name: value for name, value in headers.items() if value}, body)


def start(world, more="", secrets=(SECRET, NEXT)):
    world.configure(CONFIG + HOOK + more + client("tests"))
    for name, text in [("hook.secret", secrets[0]), ("next.secret", secrets[1]), ("target.token", TOKEN)]:
        private(world.file.parent / name, text + "\n")
    issuer = world.serve().printed["issuer"]
    until(lambda: wire.get(issuer, "/readyz").status == 200, "ready")
    return issuer


def logged(world, target="countersign::webhooks::event"):
    lines = [json.loads(line) for line in world.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("target") == target]


def test_an_event_is_verified_taken_once_and_written_to_the_log(world):
    issuer = start(world)
    body = event()
    for _ in range(3):
        assert post(issuer, body).status == 200
    assert post(issuer, body, signature(body, at=int(time.time() * 1000))).status == 200, "milliseconds"
    until(lambda: len(logged(world)) == 1, "one event in the log")
    [line] = logged(world)
    assert (line["kind"], line["room"], line["idempotency_key"]) == (
        "PARTICIPANT_JOINED", f"{APP}/standup", json.loads(body)["idempotencyKey"])
    assert json.loads(line["event"]) == json.loads(body)
    assert SECRET not in world.log
    # Each refusal, and that it is one for its reason.
    other = event()
    good, now = signature(other), int(time.time())
    for header, says in [
        ("", "no X-Jaas-Signature"),
        ("nonsense", "is not t=<unix time>,v1=<base64>"),
        (good.split(",")[0], "is not t=<unix time>,v1=<base64>"),
        (good + "," + good, "is not t=<unix time>,v1=<base64>"),
        (signature(other, "another-secret-entirely"), "not of this webhook's secret"),
        (signature(body), "not of this webhook's secret"),
        (good.replace(f"t={now}", f"t={now + 1}"), "not of this webhook's secret"),
        (signature(other, at=now - 3700), "further from now"),
        (signature(other, at=now + 3700), "further from now"),
        (signature(other, NEXT), "not of this webhook's secret"),
    ]:
        wire.check_refusal(post(issuer, other, header), 401, says, error="invalid_signature", secret=SECRET)
    for bad, says in [
        (event(appId="vpaas-magic-cookie-other"), "another AppID"),
        (event(idempotencyKey=""), "`idempotencyKey`"),
        (event(idempotencyKey="a\r\nb"), "`idempotencyKey`"),
        (event(idempotencyKey="ä"), "`idempotencyKey`"),
        (event(eventType=7), "`eventType`"),
        (b"[]", "not a JSON object"),
        (b'{"a":1,"a":2}', "not a JSON object"),
    ]:
        wire.check_refusal(post(issuer, bad), 400, says, secret=SECRET)
    large = event(data={"x": "y" * (256 * 1024)})
    assert post(issuer, large).status == 413
    got = post(issuer, other, method="GET")
    assert (got.status, got.headers["Allow"]) == (405, "POST")
    assert post(issuer, other).status == 200, "nothing of that was remembered"
    until(lambda: len([line for line in logged(world) if "event" in line]) == 2, "two events in the log")


def test_an_event_that_is_larger_than_the_queue_of_the_log_is_written_all_the_same(world):
    issuer = start(world, more="\n[log]\nqueue_bytes = 65536\n")
    body = event(data={"x": "y" * 200_000})
    assert post(issuer, body).status == 200
    until(lambda: len(logged(world)) == 1, "the event in the log")
    assert json.loads(logged(world)[0]["event"]) == json.loads(body)


def test_both_secrets_are_good_while_one_takes_the_place_of_the_other(world):
    issuer = start(world)
    text = world.file.read_text()
    private(world.file, text.replace('["file:hook.secret"]', '["file:hook.secret", "file:next.secret"]'))
    world.started[-1].send_signal(signal.SIGHUP)
    for secret in (SECRET, NEXT):
        body = event()
        until(lambda: post(issuer, body, signature(body, secret)).status == 200, "reloaded")
    private(world.file, text.replace("hook.secret", "next.secret"))
    world.started[-1].send_signal(signal.SIGHUP)
    body = event()
    until(lambda: post(issuer, body, signature(body, SECRET)).status == 401, "the old one is gone")
    assert post(issuer, body, signature(body, NEXT)).status == 200


def test_an_event_goes_on_to_the_target_and_again_when_it_was_away(world, target):
    issuer = start(world, f'target = "{target.url}"\ntarget_token = "file:target.token"\n')
    body = event()
    assert post(issuer, body).status == 200
    [(path, headers, sent)] = target.received
    assert (path, sent) == ("/jaas?from=countersign", body), "unchanged"
    assert headers["Authorization"] == f"Bearer {TOKEN}" and headers["Idempotency-Key"] == json.loads(body)["idempotencyKey"]
    assert headers["X-Jaas-Signature"] == signature(body, at=headers["X-Jaas-Signature"].split(",")[0][2:])
    assert post(issuer, body).status == 200 and len(target.received) == 1

    body = event()
    for status, attempts in [(500, 3), (503, 3), (404, 1), (302, 1)]:
        target.received.clear()
        target.status = status
        answer = post(issuer, body)
        wire.check_refusal(answer, 503, "send the event again", error="temporarily_unavailable", secret=TOKEN)
        assert int(answer.headers["Retry-After"]) > 0 and len(target.received) == attempts, status
    target.status = 200
    assert post(issuer, body).status == 200, "it was not remembered, and 8x8 has sent it again"
    assert post(issuer, body).status == 200 and len(target.received) == 2
    assert TOKEN not in world.log and target.url not in world.log


def test_two_servers_on_one_store_hand_an_event_on_once(world, target):
    issuer = start(world, f'target = "{target.url}"\n')
    other = world.serve("--listen", "127.0.0.1:0").printed["listen"]
    until(lambda: wire.get(f"http://{other}", "/readyz").status == 200, "ready")
    body = event()
    target.held.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(post, issuer, body)
        until(lambda: target.received, "it is being handed on")
        # While it is not known how that ends, nobody else takes it and nobody says that it was taken.
        for server in (issuer, f"http://{other}"):
            assert post(server, body).status == 503
        target.held.set()
        assert first.result().status == 200
        answers = list(pool.map(lambda n: post((issuer, f"http://{other}")[n % 2], body).status, range(8)))
    assert answers == [200] * 8 and len(target.received) == 1
    many = [event() for _ in range(5)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: post((issuer, f"http://{other}")[n % 2], many[n % 5]).status, range(20)))
    assert set(answers) <= {200, 503}
    sent = [json.loads(body)["idempotencyKey"] for _, _, body in target.received[1:]]
    assert sorted(sent) == sorted(json.loads(body)["idempotencyKey"] for body in many), "each of them once"


def test_what_could_not_work_does_not_start(world):
    for more, says in [
        ("", "whose events? name the AppID"),
        (f'app_id = "{APP}"\ntarget = "http://hooks.internal/"\n', "go over https"),
        (f'app_id = "{APP}"\ntarget = "hooks"\n', "write an absolute http or https URL"),
        (f'app_id = "{APP}"\ntarget_token = "file:hook.secret"\n', "has no effect without `target`"),
        (f'app_id = "{APP}"\nallow_http = true\n', "has no effect without `target`"),
        (f'app_id = "{APP}"\nwindow = "30s"\n', "window"),
    ]:
        world.configure(CONFIG + f'\n[webhooks.jaas]\nsecrets = ["file:hook.secret"]\n{more}' + client("tests"))
        private(world.file.parent / "hook.secret", SECRET)
        world.fails(78, says, "config", "check")
    for secrets, says in [("[]", "0 secrets"), ('["file:a", "file:b", "file:c"]', "3 secrets"), ('["file:short"]', "at least 16")]:
        world.configure(CONFIG + HOOK.replace('["file:hook.secret"]', secrets) + client("tests"))
        private(world.file.parent / "short", "too-short")
        world.fails(78, says, "config", "check")
    # The log is the only copy there is, so it may lose nothing.
    for log in ('level = "warn"', 'level = "info,countersign::webhooks=off"', 'audit = "drop"'):
        private(world.file.parent / "hook.secret", SECRET)
        hook = f'\n[webhooks.jaas]\napp_id = "{APP}"\nsecrets = ["file:hook.secret"]\n'
        world.configure(CONFIG + hook + f"\n[log]\n{log}\n" + client("tests"))
        world.fails(78, "log.audit", "config", "check")
    # Where there is no webhook there is no route.
    world.configure(CONFIG + client("tests"))
    assert post(world.serve().printed["issuer"], event()).status == 404
