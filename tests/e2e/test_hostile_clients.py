"""One host, or several, against everybody else: whatever they do with their connections, an honest client is served.

The honest client opens a new connection for each request. What is demanded is that each is answered within a generous
time; what was measured is printed (`pytest -s`).
"""

import re
import signal

import pytest
from e2e import hostile, wire
from e2e.program import CONFIG, SECRET, client, until
from e2e.test_shutdown_and_limits import BODY, headers

#: Far above what is measured, and far below what it took (forever).
GENEROUS = 30.0
MANY, SOME = 1024, 256
EIGHT = [f"127.0.0.{n}" for n in range(2, 10)]


def start(world, limits=""):
    port = world.configure(CONFIG + f"\n[limits]\nper_address = \"off\"\n{limits}\n" + client("tests"))
    process = world.serve()
    process.port = port
    process.issuer = process.printed["issuer"]
    return process


def metrics(process, name):
    text = wire.get(process.issuer, "/metrics").body.decode()
    return {labels: int(value) for labels, value in re.findall(rf"^{name}(\S*) (\d+)$", text, re.MULTILINE)}


def open_connections(process):
    """Sockets of the server that have a peer, as the kernel counts them."""
    sockets = 0
    with open(f"/proc/{process.pid}/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            _, local, _, state = line.split()[:4]
            sockets += local.endswith(f":{process.port:04X}") and state in ("01", "08")
    return sockets


def ask(process):
    """What everybody needs: keys, health, and a token."""
    assert wire.get(process.issuer, "/.well-known/jwks.json", seconds=GENEROUS).status == 200
    assert wire.get(process.issuer, "/healthz", seconds=GENEROUS).status == 200
    signed = wire.ask(process.issuer, "POST", "/sign", headers("tests", SECRET), BODY, seconds=GENEROUS)
    assert signed.status == 200, signed


def besieged(process, crowd, seen=15):
    """Runs an honest client against a crowd until it has asked so often, and demands that nothing failed."""
    with hostile.Honest(lambda: ask(process)) as honest:
        until(lambda: len(honest.seconds) + len(honest.failed) >= seen, "asked often enough", within=seen * GENEROUS)
    print(f"\n{len(crowd.clients)} hostile connections ({crowd.reopened} opened again): honest client {honest.report()}")
    assert not honest.failed, honest.failed[:5]
    assert max(honest.seconds) < GENEROUS


@pytest.mark.parametrize("kind", hostile.KINDS, ids=lambda kind: kind.__name__)
def test_no_kind_of_client_keeps_others_out_from_one_address(world, kind):
    process = start(world, f"connections = {SOME}")
    with hostile.Crowd(process.port, SOME, [kind], ["127.0.0.2"]) as crowd:
        besieged(process, crowd)


@pytest.mark.parametrize("kind", hostile.KINDS, ids=lambda kind: kind.__name__)
def test_no_kind_of_client_keeps_others_out_from_many_addresses(world, kind):
    process = start(world, f"connections = {SOME}")
    with hostile.Crowd(process.port, SOME, [kind], EIGHT) as crowd:
        besieged(process, crowd)


@pytest.mark.parametrize("sources", [["127.0.0.2"], EIGHT], ids=["one-address", "eight-addresses"])
def test_four_kinds_at_once_keep_nobody_out_and_do_not_hold_a_stop(world, sources):
    process = start(world)
    with hostile.Crowd(process.port, MANY, sources=sources) as crowd:
        besieged(process, crowd, seen=25)
        process.send_signal(signal.SIGTERM)
        # Requests in flight have their 10 s, and 5 s more.
        assert process.wait(timeout=25) == 0
    assert "panicked" not in world.log


def test_an_answer_that_is_not_read_does_not_hold_its_connection(world):
    process = start(world, 'write_time = "1s"')
    with hostile.Crowd(process.port, 16, [hostile.NeverReads]) as crowd:
        # The server closes them; the crowd opens them again.
        until(lambda: crowd.reopened >= 32, "connections that do not read are closed", within=60)
    until(lambda: open_connections(process) == 0, "nothing is left open", within=30)
    assert wire.get(process.issuer, "/healthz").status == 200


def test_an_answer_that_is_read_slowly_arrives_whole(world):
    process = start(world, 'write_time = "1s"')
    wanted = 3000
    with wire.Connection(process.issuer) as slow:
        slow.socket.setblocking(False)
        request, sent, received = hostile.GET * wanted, 0, b""
        length = len(wire.get(process.issuer, "/.well-known/jwks.json").body)

        def some():
            nonlocal sent, received
            try:
                sent += slow.socket.send(request[sent:sent + 65536])
            except BlockingIOError:
                pass
            try:
                received += slow.socket.recv(16384)
            except BlockingIOError:
                pass
            return received.count(b"HTTP/1.1 200 OK") == wanted and len(received) > wanted * length

        until(some, "all answers", within=120)
