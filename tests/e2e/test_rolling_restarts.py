"""Two servers behind a real nginx are restarted in turn, twenty times, while clients mint: not one request fails.

nginx keeps connections to both (`keepalive`) and does not send a POST again that it has sent, so a request that one of
them lost would come back as 502. The configuration is the one of docs/operations.md.
"""

import re
import shutil
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from e2e import program, wire
from e2e.program import SECRET, client, free_port, until

RESTARTS = 20
CLIENTS = 8
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
CONFIG = """
issuer = "http://127.0.0.1:{front}"

[server]
trusted_proxies = ["127.0.0.1"]
drain = "400ms"

[rings.default]
algorithm = "ES256"

[limits]
per_address = "off"
per_client = "off"
"""
NGINX = """
daemon off;
pid nginx.pid;
error_log error.log info;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    keepalive_requests 100000;
{page}
}}
"""


def nginx_configuration(front, back):
    """The block of the page, with ports of the test and without TLS."""
    [block] = re.findall(r"<!-- tests/e2e/test_rolling_restarts.py runs this -->\n```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for found, port in zip(("10.0.0.11:8080", "10.0.0.12:8080"), back, strict=True):
        assert found in block
        block = block.replace(found, f"127.0.0.1:{port}")
    block, listens = re.subn(r"listen 443 ssl;\n(\s+ssl_\w+ [^\n]+\n)*", f"listen 127.0.0.1:{front};\n", block)
    assert listens == 1, block
    return NGINX.format(page=block)


class Load:
    """Clients that mint one token after another through the proxy, each over a connection of its own."""

    def __init__(self, url):
        self.url, self.stopped, self.statuses, self.failed = url, False, {}, []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(CLIENTS)]

    def run(self):
        with httpx.Client(base_url=self.url, auth=("tests", SECRET), timeout=30) as session:
            while not self.stopped:
                try:
                    status = session.post("/sign", json={"data": {"sub": "a"}}).status_code
                except httpx.HTTPError as why:
                    self.failed.append(repr(why))
                    continue
                self.statuses[status] = self.statuses.get(status, 0) + 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        for thread in self.threads:
            thread.join(timeout=60)


@pytest.fixture
def pair(world):
    """Two servers on one store, and nginx in front of them."""
    front, *back = [free_port() for _ in range(3)]
    world.file.parent.mkdir()
    world.file.write_text(CONFIG.format(front=front) + client("tests"), encoding="utf-8")
    folder = world.folder / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(nginx_configuration(front, back), encoding="utf-8")

    def serve(port, drain="400ms"):
        own = {"COUNTERSIGN_SERVER__LISTEN": f"127.0.0.1:{port}", "COUNTERSIGN_SERVER__DRAIN": drain}
        process = world.serve(env=own)
        until(lambda: wire.get(f"http://127.0.0.1:{port}", "/readyz").status == 200, "ready")
        return process

    servers = {port: serve(port) for port in back}
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    assert nginx, "nginx is not installed; scripts/test installs it"
    proxy = subprocess.Popen([nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"], stderr=subprocess.DEVNULL)

    def answers():
        try:
            return wire.get(f"http://127.0.0.1:{front}", "/healthz").status == 200
        except ConnectionRefusedError:
            return False

    try:
        until(answers, "nginx answers")
        yield f"http://127.0.0.1:{front}", servers, serve
    finally:
        proxy.send_signal(signal.SIGTERM)
        proxy.wait(timeout=30)


def test_twenty_rolling_restarts_behind_nginx_lose_no_request(world, pair):
    front, servers, serve = pair
    with Load(front) as load:
        for n in range(RESTARTS):
            port = list(servers)[n % 2]
            before = sum(load.statuses.values())
            servers[port].send_signal(signal.SIGTERM)
            assert servers[port].wait(timeout=30) == 0
            servers[port] = serve(port)
            until(lambda: sum(load.statuses.values()) >= before + 20, "requests go on")
    print(f"\n{RESTARTS} restarts, {sum(load.statuses.values())} requests: {load.statuses}")
    log = (world.folder / "nginx" / "error.log").read_text()
    assert not load.failed and set(load.statuses) == {200}, f"{load.statuses} {load.failed[:3]}\n{log[-3000:]}"


def readiness(url):
    """What the metrics say of being ready, and of being about to stop."""
    text = wire.get(url, "/metrics").body.decode()
    names = ("countersign_ready", r'countersign_concern\{concern="stopping"\}')
    return tuple(re.search(rf"^{name} (\d+)$", text, re.MULTILINE)[1] for name in names)


def test_a_server_that_drains_says_so_and_goes_on_answering(world, pair):
    _, servers, serve = pair
    port = next(iter(servers))
    url = f"http://127.0.0.1:{port}"
    servers[port].send_signal(signal.SIGTERM)
    servers[port].wait(timeout=30)
    process = serve(port, drain="1h")
    with wire.Connection(url) as kept, wire.Connection(url) as other:
        assert kept.send(wire.message("GET", "/healthz")).receive().headers["connection"] is None
        assert readiness(url) == ("1", "0")
        process.send_signal(signal.SIGTERM)
        until(lambda: wire.get(url, "/readyz").status == 503, "not ready")
        assert b"stopping: this server is stopping" in wire.get(url, "/readyz").body
        # Prometheus goes by the metrics, and sees the same.
        assert readiness(url) == ("0", "1")
        # A kept connection and new ones are answered, and each is told that this was its last answer.
        for connection in (kept, other):
            answer = connection.send(wire.message("GET", "/.well-known/jwks.json")).receive()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert connection.is_closed_by_peer()
        again = wire.get(url, "/healthz")
        assert (again.status, again.headers["connection"]) == (200, "close")
        assert process.poll() is None
        # A second signal does not wait for the hour.
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert "asked to stop again" in world.log


def test_ctrl_c_does_not_drain(world, pair):
    _, servers, serve = pair
    port = next(iter(servers))
    servers[port].send_signal(signal.SIGTERM)
    servers[port].wait(timeout=30)
    process = serve(port, drain="1h")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0


def test_connections_in_the_queue_of_a_server_that_stops_are_answered(world, pair):
    """Requests that are sent while it stops: each is either answered, or finds the port closed and was never taken."""
    _, servers, serve = pair
    port = next(iter(servers))
    url = f"http://127.0.0.1:{port}"
    for _ in range(5):
        ended, lost, served = threading.Event(), [], []

        def ask():
            while not ended.is_set():
                try:
                    served.append(wire.get(url, "/healthz").status)
                except ConnectionRefusedError:
                    return
                except OSError as why:
                    lost.append(repr(why))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: len(served) > 50, "they are served")
        servers[port].send_signal(signal.SIGTERM)
        assert servers[port].wait(timeout=30) == 0
        ended.set()
        for thread in threads:
            thread.join(timeout=30)
        assert not lost and set(served) == {200}, lost
        servers[port] = serve(port)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_what_the_kernel_has_queued_is_answered_before_the_port_is_closed(world, stop):
    """The server stands still while hundreds connect and send their request, and is told to stop before it goes on."""
    world.configure(program.CONFIG + "\n[limits]\nconnections_per_address = 1024\n" + client("tests"))
    process = world.serve()
    url = process.printed["issuer"]
    process.send_signal(signal.SIGSTOP)
    with ExitStack() as stack:
        queued = [stack.enter_context(wire.Connection(url)) for _ in range(400)]
        for connection in queued:
            connection.send(wire.message("GET", "/healthz"))
        process.send_signal(stop)
        process.send_signal(signal.SIGCONT)
        answers = [connection.receive() for connection in queued]
    assert {answer.status for answer in answers} == {200}
    assert process.wait(timeout=60) == 0
