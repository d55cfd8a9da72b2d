"""Signals: SIGHUP puts another configuration in the place of this one, whole or not at all; none ends a server by accident."""

import re
import signal
import subprocess
from pathlib import Path

import pytest
from e2e import dpop, wire
from e2e.program import CONFIG, SECRET, client, private, until
from e2e.test_jaas_webhooks import HOOK
from e2e.test_jwt_bearer import ENTRY, rule
from e2e.test_shutdown_and_limits import BODY, headers
from e2e.uploading import destination, uploader

ROOT = Path(__file__).parents[2]

OTHER = "cssec_another-secret-that-only-these-tests-know-012345"
#: Reloads are seen in the log; each test counts its own.
RELOADED, REFUSED = "was read again and is in use", "was not reloaded and the old one stays in use"


class Server:
    def __init__(self, world, text, **rest):
        self.world, self.port = world, world.configure(text)
        self.process = world.serve(**rest)
        self.issuer = self.process.printed["issuer"]

    def told(self, message):
        return sum(message in event.get("message", "") for event in self.world.events())

    def reload(self, text, message=RELOADED):
        before = self.told(message)
        self.world.configure(text, self.port)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.told(message) > before, f"{message!r} in the log")
        return [e["message"] for e in self.world.events() if message in e.get("message", "")][-1]

    def sign(self, name="tests", secret=SECRET, **rest):
        return wire.ask(self.issuer, "POST", "/sign", headers(name, secret), BODY, **rest).status

    def metric(self, name):
        text = wire.get(self.issuer, "/metrics").body.decode()
        return sum(int(value) for value in re.findall(rf"^{name}\S* (\d+)$", text, re.MULTILINE))


def test_a_reload_adds_a_client_takes_one_away_and_changes_a_secret(world):
    server = Server(world, CONFIG + client("tests") + client("leaving"))
    assert (server.sign(), server.sign("leaving"), server.sign("coming")) == (200, 200, 401)
    server.reload(CONFIG + client("tests", OTHER) + client("coming"))
    assert (server.sign("tests", OTHER), server.sign("coming")) == (200, 200)
    assert (server.sign("tests", SECRET), server.sign("leaving")) == (401, 401)
    assert server.process.poll() is None


def test_a_reload_keeps_counting(world):
    server = Server(world, CONFIG + client("tests"))
    assert [server.sign() for _ in range(3)] == [200] * 3
    before = server.metric("countersign_tokens_minted_total")
    server.reload(CONFIG + client("tests") + client("more"))
    assert server.sign() == 200
    assert server.metric("countersign_tokens_minted_total") == before + 1 == 4


def test_a_reload_keeps_the_keys(world):
    server = Server(world, CONFIG + client("tests"))
    keys = wire.get(server.issuer, "/.well-known/jwks.json").body
    server.reload(CONFIG + client("tests") + client("more"))
    assert wire.get(server.issuer, "/.well-known/jwks.json").body == keys


def test_a_reload_makes_the_first_key_of_a_new_ring(world):
    server = Server(world, CONFIG + client("tests"))
    count = lambda: len(wire.get(server.issuer, "/.well-known/jwks.json").json()["keys"])  # noqa: E731
    assert count() == 1
    server.reload(CONFIG + '\n[rings.more]\nalgorithm = "ES256"\n' + client("tests"))
    until(lambda: count() == 2, "the new ring's key is published")


def test_a_reload_changes_limits_and_rates(world):
    server = Server(world, CONFIG + client("tests"))
    server.reload(CONFIG + '\n[limits]\nurl_bytes = 64\nper_client = "1/h"\n' + client("tests"))
    assert wire.get(server.issuer, "/" + "a" * 100).status == 414
    assert [server.sign(), server.sign()] == [200, 429]
    server.reload(CONFIG + client("tests"))
    assert wire.get(server.issuer, "/" + "a" * 100).status == 404
    assert [server.sign(), server.sign()] == [200, 200]


def test_the_page_names_every_setting_that_needs_a_restart_and_says_that_all_others_do_not():
    page, source = ((ROOT / file).read_text() for file in ("docs/operations.md", "crates/cli/src/serve/running.rs"))
    fixed = re.findall(r'\("([a-z_.]+)", ', source.split("Ok(Self([")[1].split("]))")[0])
    first, second = page.split("| what has changed | what a reload does |\n|---|---|\n")[1].splitlines()[:2]
    assert first.startswith("| every setting that is not named below")
    assert "another value needs a restart" in second and len(fixed) > 3
    assert re.findall(r"`([a-z_.]+)`", second.split(" | ")[0]) == fixed


def test_a_reload_takes_over_exchange_refresh_dpop_webhooks_and_uploads(full_world):
    worker = client("worker", more='grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["a"]\n')
    keys = 'access_key_id = "AKIAEXAMPLE"\nsecret_access_key = "env:BUCKET_SECRET"\n'
    more = "".join([
        "\n[dpop]\nrequire_nonce = true\n\n[refresh]\nidle = \"1h\"\n", HOOK, destination("photos", "photos-of-tests", None, more=keys),
        uploader("web", "photos"), client("app", more=ENTRY), rule(),
    ])
    full_world.environment["BUCKET_SECRET"] = "x" * 40
    full_world.file.parent.mkdir()
    private(full_world.file.parent / "hook.secret", "whsec_" + "0123456789abcdef" * 3)
    server, holder = Server(full_world, CONFIG + worker), dpop.Holder()

    def seen():
        post = lambda path, headers: wire.ask(server.issuer, "POST", path, {"Content-Type": "application/json"} | headers, b"{}")  # noqa: E731
        bound = dpop.ask(server.issuer, [holder.proof(f"{server.issuer}/token")])
        assertion = wire.ask(server.issuer, "POST", "/token", {"Content-Type": wire.FORM, "Authorization": wire.basic("app", SECRET)},
                             b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=x").json()["error"]
        return (post("/webhooks/jaas", {}).status, post("/uploads", {"Authorization": wire.basic("web", SECRET)}).status,
                bound.json().get("error"), assertion)

    assert seen() == (404, 404, None, "invalid_client")
    server.reload(CONFIG + worker + more)
    assert seen() == (401, 400, "use_dpop_nonce", "invalid_grant")
    server.reload(CONFIG + worker)
    assert seen() == (404, 404, None, "invalid_client")


def test_a_reload_opens_and_closes_the_gate(world):
    gate = '\n[[trust]]\npreset = "countersign"\nid = "http://127.0.0.1:@PORT@"\naudiences = ["api://default"]\n'
    gate += '\n[[gate.proxies]]\nkind = "nginx"\nnetworks = ["127.0.0.1"]\n'
    server = Server(world, CONFIG + client("tests"))
    asked = lambda: wire.get(server.issuer, "/gate").status  # noqa: E731
    assert asked() == 404
    server.reload(CONFIG + gate + client("tests"))
    until(lambda: asked() == 403, "the gate answers")
    server.reload(CONFIG + client("tests"))
    assert asked() == 404


@pytest.mark.parametrize(
    "text, says",
    [
        ("nonsense", "line 1"),
        (CONFIG + '\n[limits]\nurl_bytes = 1\n' + client("tests"), "limits.url_bytes"),
        (CONFIG + '\n[nonsense]\n' + client("tests"), "nonsense"),
        (CONFIG + '\n[sealing]\nkey = "env:NO_SUCH_VARIABLE"\n' + client("tests"), "NO_SUCH_VARIABLE"),
        (CONFIG + '\n[sealing]\nkey = "file:other.key"\n' + client("tests"), "sealing"),
        (CONFIG.replace('issuer = "http://127.0.0.1', 'issuer = "http://localhost') + client("tests"), "issuer"),
        (CONFIG.replace('listen = "127.0.0.1', 'listen = "127.0.0.2') + client("tests"), "server.listen"),
        (CONFIG + '\n[store]\nurl = "sqlite:other.db"\n' + client("tests"), "store.url: another value needs a restart"),
        (CONFIG + '\n[log]\nlevel = "warn"\n' + client("tests"), "log.level: another value needs a restart"),
        (CONFIG + '\n[log]\naudit = "drop"\n' + client("tests"), "log.audit: another value needs a restart"),
        (CONFIG + '\n[log]\nqueue_bytes = 65536\n' + client("tests"), "log.queue_bytes: another value needs a restart"),
        (
            CONFIG.replace('listen = "127.0.0.1', 'listen = "127.0.0.2') + '\n[log]\nlevel = "warn"\naudit = "drop"\n' + client("tests"),
            "server.listen, log.level, log.audit: another value needs a restart",
        ),
    ],
    ids=[
        "syntax", "value", "key", "no-variable", "no-sealing-key", "issuer", "listen", "store",
        "log-level", "log-audit", "log-queue", "several",
    ],
)
def test_a_configuration_that_cannot_be_used_changes_nothing(world, text, says):
    server = Server(world, CONFIG + client("tests"))
    message = server.reload(text, REFUSED)
    assert says in message, message
    assert [e["level"] for e in world.events() if e.get("message") == message] == ["ERROR"]
    assert server.sign() == 200
    assert server.process.poll() is None
    # And a good one afterwards counts.
    server.reload(CONFIG + client("tests", OTHER))
    assert (server.sign("tests", OTHER), server.sign()) == (200, 401)


def test_a_store_that_is_another_behind_its_reference_is_told_and_changes_nothing(world):
    url = world.folder / "countersign" / "store-url"
    url.parent.mkdir()
    private(url, "sqlite:countersign.db")
    text = CONFIG + '\n[store]\nurl = "file:store-url"\n' + client("tests")
    server = Server(world, text)
    private(url, "sqlite:other.db")
    assert "store.url: another value needs a restart" in server.reload(text, REFUSED)
    assert server.sign() == 200
    private(url, "sqlite:countersign.db\n")
    server.reload(text.replace(client("tests"), client("tests", OTHER)))
    assert (server.sign("tests", OTHER), server.sign()) == (200, 401)


def test_a_configuration_that_is_gone_changes_nothing(world):
    server = Server(world, CONFIG + client("tests"))
    world.file.unlink()
    server.process.send_signal(signal.SIGHUP)
    until(lambda: server.told(REFUSED) == 1, "the reload is refused")
    assert server.sign() == 200


def test_a_request_in_flight_finishes_with_what_it_began_with(world):
    server = Server(world, CONFIG + client("tests"))
    with wire.Connection(server.issuer) as busy:
        busy.send(wire.message("POST", "/sign", headers(Content_Length=str(len(BODY))), BODY[:5]))
        # Another request after it shows that the server has read the first one.
        assert server.sign() == 200
        server.reload(CONFIG + client("tests", OTHER))
        assert busy.send(BODY[5:]).receive("POST").status == 200
    assert server.sign() == 401


def test_many_reloads_under_load_lose_nothing_and_leave_nothing(world):
    server = Server(world, CONFIG + client("tests"))
    descriptors = lambda: len(subprocess.run(["ls", f"/proc/{server.process.pid}/fd"], capture_output=True, text=True).stdout.split())  # noqa: E731
    server.reload(CONFIG + client("tests"))
    before = descriptors()
    for n in range(10):
        server.world.configure(CONFIG + client("tests") + client(f"c{n}"), server.port)
        server.process.send_signal(signal.SIGHUP)
        assert [server.sign() for _ in range(5)] == [200] * 5
    server.reload(CONFIG + client("tests"))
    assert descriptors() <= before + 3


@pytest.mark.parametrize("number", ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXFSZ", "SIGPIPE", "SIGHUP"])
def test_no_signal_of_habit_ends_the_server(world, number):
    server = Server(world, CONFIG + client("tests"))
    server.process.send_signal(getattr(signal, number))
    if number not in ("SIGPIPE",):
        until(lambda: any(number in line or RELOADED in line for line in world.log.splitlines()), "it is told")
    assert server.sign() == 200
    assert server.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_signals_that_stop_end_with_0(world, number):
    server = Server(world, CONFIG + client("tests"))
    server.process.send_signal(number)
    assert server.process.wait(timeout=20) == 0
    assert world.events()[-1]["message"] == "stopped"


def test_a_file_that_may_not_grow_is_an_error_and_not_the_end(world):
    """systemd's LimitFSIZE and `ulimit -f`: writes fail with EFBIG where the signal would have killed."""
    world.configure(CONFIG + client("tests"))
    world.done("keys", "list")
    world.configure(CONFIG + '\n[rotation]\nobserve_every = "1s"\n' + client("tests"))
    process = world.serve()
    database = world.folder / "countersign" / "countersign.db"
    sizes = [path.stat().st_size for path in database.parent.glob("countersign.db*")]
    subprocess.run(["prlimit", f"--pid={process.pid}", f"--fsize={max(sizes)}"], check=True)
    url = process.printed["issuer"]
    # A ring that a reload adds needs a write.
    rings = "".join(f'\n[rings.r{n}]\nalgorithm = "ES256"\n' for n in range(20))
    world.configure(CONFIG + rings + client("tests"), int(url.rsplit(":", 1)[1]))
    process.send_signal(signal.SIGHUP)
    until(lambda: REFUSED in world.log or RELOADED in world.log, "the reload has an end")
    assert REFUSED in world.log, world.log
    assert process.poll() is None
    assert wire.ask(url, "POST", "/sign", headers(), BODY).status == 200
