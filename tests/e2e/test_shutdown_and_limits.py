"""How a server stops, and what it lets one caller take: connections, time, requests.

Signals finish requests in flight; rate limits count by client and by address, and only a trusted proxy says which
address that is.
"""

import re
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from e2e import wire
from e2e.program import CONFIG, SECRET, client, until

BODY = b'{"data":{"sub":"a"}}'


def limited(limits="", server=""):
    """A configuration with these limits and settings of the server."""
    text = CONFIG.replace('"127.0.0.1:@PORT@"\n\n', f'"127.0.0.1:@PORT@"\n{server}\n\n[limits]\n{limits}\n\n', 1)
    return text + client("tests") + client("second")


def start(world, *arguments, **settings):
    world.configure(limited(*arguments, **settings))
    process = world.serve()
    process.issuer = process.printed["issuer"]
    until(lambda: wire.get(process.issuer, "/readyz").status == 200, "ready")
    return process


def headers(name="tests", secret=SECRET, **more):
    fixed = {"Authorization": wire.basic(name, secret), "Content-Type": "application/json"}
    return fixed | {key.replace("_", "-"): value for key, value in more.items()}


def sign(process, *arguments, **more):
    return wire.ask(process.issuer, "POST", "/sign", headers(*arguments, **more), BODY)


def refuses_connections(url):
    try:
        wire.Connection(url, seconds=1).socket.close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it came in the moment the listener was closed
    return False


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_request_in_flight(world, stop):
    process = start(world)
    with wire.Connection(process.issuer) as busy, wire.Connection(process.issuer) as idle:
        assert idle.send(wire.message("GET", "/healthz")).receive().status == 200
        busy.send(wire.message("POST", "/sign", headers(Content_Length=str(len(BODY))), BODY[:5]))
        until(busy.is_read, "the request is in flight")
        process.send_signal(stop)
        until(lambda: refuses_connections(process.issuer), "no new connections")
        assert process.poll() is None
        answer = busy.send(BODY[5:]).receive("POST")
        assert answer.status == 200 and answer.json()["access_token"]
        assert idle.is_closed_by_peer()
    assert process.wait(timeout=60) == 0
    assert world.events()[-1]["message"] == "stopped"


def test_a_request_that_never_ends_does_not_hold_the_exit_for_ever(world):
    process = start(world, 'request_time = "1s"')
    with wire.Connection(process.issuer) as busy:
        busy.send(wire.message("POST", "/sign", headers(Content_Length="100"), b"{"))
        until(busy.is_read, "the request is in flight")
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_a_second_signal_is_no_harm(world):
    process = start(world)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0


HEALTH = wire.message("GET", "/healthz")


def served(connection):
    return connection.send(HEALTH).receive().status == 200


def at_rest(process):
    """Whether each thread of the server sleeps."""
    states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    return set(states) == {"S"}


def idle(process, connection):
    """The connection, after an answer. Only at rest the server has noticed that it was taken; until then it is busy with it."""
    assert served(connection)
    until(lambda: at_rest(process), "the server is at rest")
    return connection


def test_the_connection_that_is_idle_longest_gives_way_to_a_new_one(world):
    process = start(world, "connections = 2")
    with wire.Connection(process.issuer) as first, wire.Connection(process.issuer) as second:
        idle(process, first), idle(process, second)
        with wire.Connection(process.issuer) as third:
            assert served(third)
            assert first.is_closed_by_peer()
            assert served(second) and served(third)


@pytest.mark.parametrize(
    "begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\n", wire.message("POST", "/sign", {"Content-Length": "9"}, b"{")],
    ids=["nothing", "half-a-head", "half-a-body"],
)
def test_a_client_that_keeps_the_server_waiting_gives_way_to_a_new_one(world, begun):
    process = start(world, 'connections = 1\nrequest_time = "1h"')
    begun = begun.replace(b"\r\n\r\n", b"\r\nContent-Type: application/json\r\n\r\n")
    with wire.Connection(process.issuer) as slow:
        slow.send(begun)
        with wire.Connection(process.issuer) as honest:
            assert served(honest)
            if begun.startswith(b"POST"):
                answer = slow.receive("POST")
                assert (answer.status, answer.headers["connection"]) == (408, "close")
            assert slow.is_closed_by_peer()


def test_a_client_that_does_not_read_its_answers_gives_way_to_a_new_one(world):
    process = start(world, 'connections = 1\nrequest_time = "1h"\nwrite_time = "1h"')
    with wire.Connection(process.issuer) as stalled:
        stalled.socket.setblocking(False)
        left, waits = b"", 0
        # Until both sides' buffers are full, and stay so.
        while waits < 20:
            left = left or wire.message("GET", "/.well-known/jwks.json") * 1000
            try:
                left, waits = left[stalled.socket.send(left):], 0
            except BlockingIOError:
                waits += 1
                time.sleep(0.05)
        with wire.Connection(process.issuer) as honest:
            assert served(honest)


def test_a_connection_is_closed_when_nothing_comes_for_too_long(world):
    process = start(world, 'request_time = "1s"\nidle_time = "2s"')
    with wire.Connection(process.issuer) as silent, wire.Connection(process.issuer) as used:
        assert served(used)
        assert silent.is_closed_by_peer()
        assert served(used), "an idle connection ended with the limit of a request"
        assert used.is_closed_by_peer()
    assert sign(process).status == 200


def test_one_address_has_its_share_of_the_connections_and_another_one_its_own(world):
    process = start(world, 'connections = 64\nconnections_per_address = 2\nrequest_time = "1h"')
    body = wire.message("POST", "/sign", headers(Content_Length="100"), b"{")
    with wire.Connection(process.issuer, source="127.0.0.2") as one, wire.Connection(process.issuer, source="127.0.0.2") as two:
        # Both are busy, and too young to give way.
        one.send(body), two.send(body)
        answer = wire.get(process.issuer, "/healthz", source="127.0.0.2")
        assert answer.status == 503 and answer.headers["retry-after"] == "1", answer
        wire.check_refusal(answer, 503, "too many connections", error="temporarily_unavailable")
        assert wire.get(process.issuer, "/healthz", source="127.0.0.3").status == 200
    assert "limits.connections_per_address" in world.log and "127.0.0.2" in world.log


@pytest.mark.parametrize("setting", ['trusted_proxies = ["127.0.0.2"]', "gate"])
def test_proxies_are_not_counted_by_their_address(world, setting):
    text = limited("connections_per_address = 2", server="" if setting == "gate" else setting)
    if setting == "gate":
        text += '\n[[trust]]\nissuer = "https://other.example"\nkeys_url = "https://other.example/keys"\naudiences = ["a"]\n'
        text += '\n[[gate.proxies]]\nkind = "nginx"\nnetworks = ["127.0.0.2"]\n'
    world.configure(text)
    url = world.serve().printed["issuer"]
    body = wire.message("POST", "/sign", headers(Content_Length="100"), b"{")
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(wire.Connection(url, source="127.0.0.2")).send(body)
        assert wire.get(url, "/healthz", source="127.0.0.2").status == 200


def test_a_share_may_be_used_by_idle_connections_without_keeping_new_ones_out(world):
    process = start(world, "connections_per_address = 2")

    with ExitStack() as kept:
        # They are kept open: the place of one that is closed may be free before the next one comes.
        first, _ = [[idle(process, kept.enter_context(wire.Connection(process.issuer))) for _ in range(2)] for _ in range(2)]
        assert all([connection.is_closed_by_peer() for connection in first])


def slowed(answer):
    wire.check_refusal(answer, 429, "try again in", error="slow_down", secret=SECRET)
    assert 1 <= int(answer.headers["retry-after"]) <= 3600


def test_each_client_has_a_rate_of_its_own(world):
    process = start(world, 'per_client = "3/h"\nper_address = "off"')
    assert [sign(process).status for _ in range(3)] == [200, 200, 200]
    slowed(sign(process))
    assert sign(process, "second").status == 200
    # Who does not prove to be that client neither uses its rate up nor learns of it.
    assert sign(process, "tests", "wrong").status == 401
    assert [sign(process, "second", "wrong").status for _ in range(5)] == [401] * 5
    assert [sign(process, "second").status for _ in range(2)] == [200, 200]


def test_a_rate_is_given_back_in_time(world):
    process = start(world, 'per_client = "2/s"\nper_address = "off"')
    # In one go, so that a machine that is slow to send them gives nothing back in between.
    many, request = 30, wire.message("POST", "/sign", headers(), BODY)
    with wire.Connection(process.issuer) as connection:
        connection.send(request * many)
        received = b""
        while received.count(b"HTTP/1.1 ") < many:
            received += connection.socket.recv(65536)
    statuses = re.findall(rb"HTTP/1.1 (\d+)", received)
    assert set(statuses) == {b"200", b"429"} and statuses[0] == b"200", statuses
    until(lambda: sign(process).status == 200, "it is given back")


def test_an_address_that_proves_nothing_is_slowed_down(world):
    process = start(world, 'per_address = "5/h"')
    assert [sign(process, "tests", f"guess{n}").status for n in range(5)] == [401] * 5
    slowed(sign(process, "tests", "guess"))
    mine = {"X_Forwarded_For": "198.51.100.7", "Forwarded": "for=198.51.100.7", "X_Real_IP": "198.51.100.7"}
    slowed(sign(process, "tests", "guess", **mine))
    # A proxy that nobody named would make all its callers one address: said once.
    slowed(sign(process, "tests", "guess", **mine))
    until(lambda: "is not in server.trusted_proxies" in world.log, "the proxy is noticed")
    assert world.log.count("is not in server.trusted_proxies") == 1
    # Clients that prove who they are go on: what others guess at their address costs them nothing.
    for _ in range(20):
        slowed(sign(process, "tests", "guess"))
        assert sign(process).status == 200
    # Documents and health are not limited: verifiers behind one address must get the keys.
    assert all(wire.get(process.issuer, "/public-keys").status == 200 for _ in range(20))


def test_a_trusted_proxy_says_whose_request_it_is(world):
    process = start(world, 'per_address = "2/h"', server='trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"]')

    def come(*forwarded):
        wrong = headers() | {"Authorization": wire.basic("tests", "guess")}
        lines = [*wrong.items(), *[("X-Forwarded-For", value) for value in forwarded]]
        return wire.ask(process.issuer, "POST", "/sign", lines, BODY)

    assert [come("198.51.100.1").status for _ in range(2)] == [401, 401]
    slowed(come("198.51.100.1"))
    # What the caller wrote itself stands further left, and proxies of ours further right.
    slowed(come("203.0.113.99, 198.51.100.1"))
    slowed(come("203.0.113.99", "198.51.100.1, 10.1.2.3"))
    assert come("198.51.100.2").status == 401
    # One IPv6 host has a whole /64, and one site a /48 of them.
    assert [come(f"2001:db8:0:{n}::1").status for n in range(1, 3)] == [401, 401]
    slowed(come("2001:db8:0:ffff:ffff::9"))
    assert come("2001:db8:1::1").status == 401
    addresses = {event.get("address") for event in world.events()}
    assert {"198.51.100.1", "198.51.100.2", "2001:db8:0:1::1"} <= addresses and "203.0.113.99" not in addresses


@pytest.mark.parametrize("networks, says", [
    ('["0.0.0.0/0"]', "trusting every address"), ('["::/0"]', "trusting every address"),
    ('["10.0.0.0/8", "0.0.0.0/0"]', "trusting every address"), ('["proxy.example"]', "not a network"), ('["10.0.0.0/33"]', "not a network"),
])
def test_proxies_must_be_named(world, networks, says):
    world.configure(limited(server=f"trusted_proxies = {networks}"))
    world.fails(78, says, "serve")
