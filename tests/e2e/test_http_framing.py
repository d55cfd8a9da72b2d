"""Where one request ends and the next begins, and whom it is for: what two readers could read in two ways is refused.

RFC 9112 sections 3.2 (Host), 6.1 and 7 (Transfer-Encoding). Every refusal ends its connection and has a request id,
those that hyper writes by itself among them.
"""

import os
import socket

import pytest
from e2e import wire
from e2e.program import SECRET, until
from e2e.test_shutdown_and_limits import BODY, headers, start

GET = "GET /healthz HTTP/1.1\r\n"
POST = "POST /sign HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
#: Name, bytes, status.
REFUSED = [
    ("no-host", GET + "\r\n", 400),
    ("two-hosts", GET + "Host: a\r\nHost: b\r\n\r\n", 400),
    ("the-same-host-twice", GET + "Host: a\r\nHost: a\r\n\r\n", 400),
    ("two-hosts-in-http-1.0", "GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("host-with-a-path", GET + "Host: a/b\r\n\r\n", 400),
    ("host-with-a-user", GET + "Host: a@b\r\n\r\n", 400),
    ("host-with-a-blank", GET + "Host: a b\r\n\r\n", 400),
    ("absolute-without-host", "GET http://a/healthz HTTP/1.1\r\n\r\n", 400),
    ("chunked-twice", POST + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked-in-two-lines", POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("gzip-and-chunked", POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("identity-and-chunked", POST + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", 501),
    ("chunked-not-last", POST + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    ("chunked-in-http-1.0", "POST /sign HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("two-lengths", POST + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
    ("a-length-that-is-none", POST + "Content-Length: -1\r\n\r\n", 400),
    ("not-http", "nonsense\r\n\r\n", 400),
    ("a-header-without-colon", GET + "Host: a\r\nnonsense\r\n\r\n", 400),
    ("headers-too-long", GET + "Host: a\r\nX: " + "a" * 20_000 + "\r\n\r\n", 431),
    ("headers-too-many", GET + "Host: a\r\n" + "X: a\r\n" * 101 + "\r\n", 431),
    ("path-too-long", f"GET /{'a' * 5000} HTTP/1.1\r\nHost: a\r\n\r\n", 414),
]
TAKEN = [
    ("one-host", GET + "Host: a\r\n\r\n"),
    ("host-with-a-port", GET + "Host: [::1]:8080\r\n\r\n"),
    ("no-host-in-http-1.0", "GET /healthz HTTP/1.0\r\n\r\n"),
    ("absolute", "GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
]


@pytest.fixture(scope="module")
def issuer(lasting_authority):
    return lasting_authority(config='issuer = "@ISSUER@"\n[rings.default]\nalgorithm = "ES256"\n').issuer


@pytest.mark.parametrize("data, status", [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_a_request_with_two_readings_is_refused_and_ends_its_connection(issuer, data, status):
    with wire.Connection(issuer) as connection:
        answer = connection.send(data.encode()).receive()
        wire.check_refusal(answer, status)
        assert answer.headers["x-request-id"] and answer.headers["connection"] == "close", answer
        assert connection.is_closed_by_peer()


@pytest.mark.parametrize("data, status", [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_a_refusal_after_a_good_request_is_the_same(issuer, data, status):
    with wire.Connection(issuer) as connection:
        assert connection.send((GET + "Host: a\r\n\r\n").encode()).receive().status == 200
        answer = connection.send(data.encode()).receive()
        wire.check_refusal(answer, status)
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize("data", [one[1] for one in TAKEN], ids=[one[0] for one in TAKEN])
def test_a_request_with_one_reading_is_taken(issuer, data):
    with wire.Connection(issuer) as connection:
        assert connection.send(data.encode()).receive().status == 200


def test_a_request_that_takes_too_long_is_told_so_with_a_request_id(world):
    process = start(world, 'request_time = "500ms"')
    with wire.Connection(process.issuer) as slow:
        slow.send(wire.message("POST", "/sign", headers(Content_Length="100"), b"{"))
        answer = slow.receive("POST")
        wire.check_refusal(answer, 408, "took too long")
        assert answer.headers["x-request-id"] and answer.headers["connection"] == "close"
        assert slow.is_closed_by_peer()


def test_a_chunked_body_is_read(world):
    process = start(world)
    body = f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"
    lines = headers("tests", SECRET) | {"Transfer-Encoding": "chunked"}
    assert wire.ask(process.issuer, "POST", "/sign", lines, body).status == 200


@pytest.mark.parametrize("path", ["/sign", "/.well-known/jwks.json"])
def test_a_client_that_has_closed_its_side_is_answered(world, path):
    """`nc -N`, some probes and proxies say with the request that they will send no more."""
    process = start(world)
    for _ in range(100):
        with wire.Connection(process.issuer) as connection:
            post = path == "/sign"
            method, lines = ("POST", headers("tests", SECRET)) if post else ("GET", {})
            connection.send(wire.message(method, path, lines, BODY if post else None))
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.receive(method).status == 200
            assert connection.is_closed_by_peer()


def test_a_client_that_has_gone_leaves_nothing_behind(world):
    process = start(world, 'request_time = "1h"\nidle_time = "1h"')
    for data in (b"", b"GET", wire.message("POST", "/sign", headers(Content_Length="100"), b"{")):
        for _ in range(20):
            with wire.Connection(process.issuer) as connection:
                connection.send(data)

    def descriptors():
        return len(os.listdir(f"/proc/{process.pid}/fd"))

    with wire.Connection(process.issuer) as connection:
        assert connection.send(wire.message("GET", "/healthz")).receive().status == 200
        until(lambda: descriptors() < 30, "their connections are closed")
