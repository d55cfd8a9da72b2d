"""`POST /sign` at the edges of HTTP: sizes, times, methods, paths, broken bodies.

After every case the same server mints a token on a new connection.
"""


import pytest
from e2e import wire
from e2e.program import SIGN_CONFIG
from e2e.wire import MARK

LIMITS = '\n[limits]\nrequest_time = "1s"\n'
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(SIGN_CONFIG + LIMITS)


@pytest.fixture(autouse=True)
def it_still_serves(server):
    yield
    assert server.sign({"sub": "afterwards"})


def headers(server, *more):
    authorization = wire.basic(server.client_id, server.client_secret)
    return [("Authorization", authorization), ("Content-Type", "application/json"), *more]


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_a_body_of_a_megabyte_is_too_large(server):
    body = b'{"data":{"a":"' + MARK.encode() + b"x" * MEGABYTE + b'"}}'
    wire.check_refusal(wire.ask(server.issuer, "POST", "/sign", headers(server), body), 413, "65536")


def test_the_limit_is_a_limit_to_the_byte(server):
    def of_length(length):
        return b'{"data":{}}' + b" " * (length - 11)

    assert wire.ask(server.issuer, "POST", "/sign", headers(server), of_length(65536)).status == 200
    wire.check_refusal(wire.ask(server.issuer, "POST", "/sign", headers(server), of_length(65537)), 413)


def test_a_chunked_body_is_read_and_counted_like_any_other(server):
    chunked = headers(server, ("Transfer-Encoding", "chunked"))
    good = chunk(b'{"data":') + chunk(b'{"sub":"a"}}') + b"0\r\n\r\n"
    assert wire.ask(server.issuer, "POST", "/sign", chunked, good).status == 200
    endless = chunk(b'{"data":{"a":"') + b"".join(chunk(b"x" * 8192) for _ in range(20))
    with wire.Connection(server.issuer) as connection:
        connection.send(wire.message("POST", "/sign", chunked, endless))
        wire.check_refusal(connection.receive("POST"), 413, "65536")


@pytest.mark.parametrize("body", [b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n\r\n", b"ffffffffffffffffff\r\n{}\r\n"])
def test_a_broken_chunk_is_a_bad_request(server, body):
    chunked = headers(server, ("Transfer-Encoding", "chunked"))
    with wire.Connection(server.issuer) as connection:
        connection.send(wire.message("POST", "/sign", chunked, body))
        wire.check_refusal(connection.receive("POST"), 400)


def test_a_body_that_never_comes_is_a_timeout(server):
    for sent in [b"", b'{"data":{"a":"' + MARK.encode()]:
        with wire.Connection(server.issuer) as connection:
            connection.send(wire.message("POST", "/sign", headers(server, ("Content-Length", "100")), sent))
            wire.check_refusal(connection.receive("POST"), 408)
            assert connection.is_closed_by_peer()


def test_a_body_that_drips_is_a_timeout_too(server):
    with wire.Connection(server.issuer) as connection:
        connection.send(wire.message("POST", "/sign", headers(server, ("Content-Length", "1000")), b"{"))
        connection.socket.settimeout(0.1)
        answered = b""
        # Each drip would be in time; all of them together are not, and the answer comes long before the end of the body.
        for _ in range(900):
            connection.send(b" ")
            try:
                answered = connection.socket.recv(65536)
                break
            except TimeoutError:
                continue
        assert answered.startswith(b"HTTP/1.1 408 ")


def test_headers_that_never_end_close_the_connection(server):
    with wire.Connection(server.issuer) as connection:
        connection.send(b"POST /sign HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        assert connection.is_closed_by_peer()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_than_post_are_told_which_one_is_right(server, method):
    answer = wire.ask(server.issuer, method, "/sign", headers(server))
    assert answer.status == 405 and answer.headers["allow"] == "POST", answer
    assert method == "HEAD" or answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("path", [
    "/", "/nope", "/sign/", "//sign", "/Sign", "/sign/x", "/%73ign%2f", "/.well-known/", "/sign;x", "/../sign", "/metrics/x",
])
def test_an_unknown_path_is_a_json_404(server, path):
    wire.check_refusal(wire.ask(server.issuer, "POST", path, headers(server), b'{"data":{"a":"%s"}}' % MARK.encode()), 404, error="not_found")
    wire.check_refusal(wire.get(server.issuer, path), 404, error="not_found")


def test_a_query_does_not_carry_credentials_or_claims(server):
    path = f"/sign?client_id={server.client_id}&client_secret={server.client_secret}&data=%7B%7D"
    answer = wire.ask(server.issuer, "POST", path, [("Content-Type", "application/json")], b'{"data":{}}')
    wire.check_refusal(answer, 401, error="invalid_client")
    assert server.client_secret not in server.log


def test_huge_headers_are_refused(server):
    for more in [("X-Large", MARK + "a" * 20_000), ("Authorization", "Basic " + "a" * 20_000)]:
        answer = wire.ask(server.issuer, "POST", "/sign", [more], b"{}")
        assert answer.status == 431 and MARK.encode() not in answer.body, answer


def test_too_many_headers_are_refused(server):
    many = [(f"X-Number-{number}", MARK) for number in range(150)]
    answer = wire.ask(server.issuer, "POST", "/sign", headers(server, *many), b'{"data":{}}')
    assert answer.status == 431 and MARK.encode() not in answer.body, answer


def test_a_long_url_is_refused_and_a_shorter_one_is_not(server):
    for length in [4097, 8000, 15_000]:
        answer = wire.ask(server.issuer, "POST", "/sign?" + "q" * (length - 6), headers(server), b'{"data":{}}')
        wire.check_refusal(answer, 414)
    assert wire.ask(server.issuer, "POST", "/sign?" + "q" * 4090, headers(server), b'{"data":{}}').status == 200


@pytest.mark.parametrize("raw", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    b"nonsense\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /sign HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /sign HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    b"POST /sign HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    b"POST /sign HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
])
def test_what_is_not_http_ends_the_connection_with_at_most_an_error(server, raw):
    with wire.Connection(server.issuer) as connection:
        connection.send(raw)
        connection.socket.settimeout(5)
        try:
            first = connection.socket.recv(65536)
        except ConnectionResetError:
            first = b""
        assert first == b"" or first.split()[1][:1] in (b"4", b"5"), first
        assert connection.is_closed_by_peer()


def test_two_requests_on_one_connection_are_two_requests(server):
    body = b'{"data":{"sub":"%s"}}'
    with wire.Connection(server.issuer) as connection:
        for sub in [b"one", b"two"]:
            connection.send(wire.message("POST", "/sign", headers(server), body % sub))
            token = connection.receive("POST").json()["access_token"]
            assert f'"sub":"{sub.decode()}"' in wire.claims(token)


def test_a_client_that_waits_for_100_continue_is_served(server):
    body = b'{"data":{"sub":"a"}}'
    waiting = headers(server, ("Expect", "100-continue"), ("Content-Length", str(len(body))))
    with wire.Connection(server.issuer) as connection:
        connection.send(wire.message("POST", "/sign", waiting))
        assert connection.socket.recv(65536).startswith(b"HTTP/1.1 100 ")
        assert connection.send(body).receive("POST").status == 200


@pytest.mark.parametrize("kind, body, named", [
    # What curl sends with -d, which says nothing of JSON.
    (wire.FORM, b'{"data":{"sub":"a"},"metadata":{"duration":60}}', "send Content-Type: application/json"),
    (wire.FORM, b' \r\n{"data":{}}', "send Content-Type: application/json"),
    ("application/json", b"data=%7B%7D", f"send Content-Type: {wire.FORM}"),
])
def test_a_body_of_another_kind_than_its_content_type_is_told_so(server, kind, body, named):
    sent = [("Authorization", headers(server)[0][1]), ("Content-Type", kind)]
    wire.check_refusal(wire.ask(server.issuer, "POST", "/sign", sent, body), 400, named)
