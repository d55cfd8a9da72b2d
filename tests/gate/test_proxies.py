"""nginx, ingress-nginx, Caddy and Envoy in front of a service, set up with the files in examples/, and the gate that they ask.

What has to hold for each of them: nobody gets to the service whom the gate would not let in there, and the service learns the
caller from the gate alone. Whether something got there is looked up at the service, not at the proxy's answer.
"""

import os
import random
import re

import pytest
import toolchains
from e2e import wire
from e2e.blocks import blocks, environment, run
from gate.conftest import KINDS
from gate.proxies import COMMANDS, EXAMPLES, NGINXES, STARTED, Tokens, ask_gate, bearer, copy_example, free_port, start_gate, with_ports

IDENTITY = ("x-auth-subject", "x-auth-issuer", "x-auth-scope")
MARK = "value-of-the-client"
#: What HTTP allows in the name of a header beside letters, digits and `-` (RFC 9110, section 5.6.2). CGI, WSGI and PHP put the
#: same variable together from all of them.
ALIASES = "_.!#$%&'*+^`|~"
FORMS = {"nginx": "absent", "ingress-nginx": "absent", "caddy": "empty", "envoy": "empty", "traefik": "empty"}


def values(seen, name):
    """The values of a header at the service; its name in any casing and any spelling that a service may take for it."""
    return [value for found, value in seen.headers if re.sub(r"[^a-z0-9]", "-", found.lower()) == name.lower()]


def identity(seen):
    """Who the service thinks it is; every identity header at most once."""
    found = [values(seen, name) for name in IDENTITY]
    assert all(len(each) <= 1 for each in found), seen
    return [each[0] if each else None for each in found]


def is_nobody(guarded, seen):
    return identity(seen) == [None if FORMS[guarded.kind] == "absent" else ""] * 3


def test_each_kind_of_proxy_is_started():
    if not toolchains.compiler_of_go():
        toolchains.not_tested("the gate behind ingress-nginx", "there is no Go on this machine")
    assert set(STARTED) - set(KINDS) <= {"ingress-nginx"}


# Who gets in


def test_a_good_token_gets_in_and_the_service_learns_whose_it_is(guarded):
    answer, seen = guarded.ask("GET", "/orders/7?full=1&full=2", bearer(guarded.tokens.reader))
    assert answer.status == 200, answer
    assert [(one.method, one.target) for one in seen] == [("GET", "/orders/7?full=1&full=2")]
    assert identity(seen[0]) == ["alice", guarded.gate.issuer, "orders:read"]
    _, seen = guarded.ask("GET", "/orders/7", bearer(guarded.tokens.of_tests))
    assert identity(seen[0])[0] == "dave"


def test_what_the_token_does_not_say_the_service_gets_from_nobody(guarded):
    answer, seen = guarded.ask("GET", "/orders/7", [*bearer(guarded.tokens.without_scope), ("X-Auth-Scope", MARK)])
    assert answer.status == 200, answer
    assert identity(seen[0])[0] == "carol" and not identity(seen[0])[2]


def test_a_public_path_is_open_and_says_who_it_is_only_where_that_is_proven(guarded):
    tokens = guarded.tokens
    for token in [None, tokens.forged, tokens.expired, "x"]:
        answer, seen = guarded.ask("GET", "/health", bearer(token))
        assert answer.status == 200 and is_nobody(guarded, seen[0]), (answer, seen)
    _, seen = guarded.ask("GET", "/health", bearer(tokens.reader))
    assert identity(seen[0])[0] == "alice"


def test_who_is_not_let_in_does_not_get_to_the_service(guarded):
    tokens, invalid = guarded.tokens, 'Bearer error="invalid_token"'
    scope = 'Bearer error="insufficient_scope", scope="orders:write"'
    for method, target, token, status, challenge in [
        ("GET", "/orders/7", None, 401, "Bearer"),
        ("GET", "/orders/7", tokens.forged, 401, invalid),
        ("GET", "/orders/7", tokens.unsigned, 401, invalid),
        ("GET", "/orders/7", tokens.expired, 401, invalid),
        ("GET", "/orders/7", tokens.other_audience, 401, invalid),
        ("GET", "/orders/7", tokens.reader[:-8] + "AAAAAAAA", 401, invalid),
        ("GET", "/orders/7", "x", 401, invalid),
        ("GET", "/orders/7?authorization=x", None, 401, invalid),
        ("POST", "/orders/7", tokens.reader, 403, scope),
        ("POST", "/orders/7", tokens.without_scope, 403, scope),
        ("DELETE", "/orders/7", tokens.writer, 403, None),
        ("GET", "/admin", tokens.writer, 403, None),
        ("GET", "/", tokens.writer, 403, None),
        ("GET", "/gate", tokens.writer, 403, None),
        ("GET", "/gate/orders/7", tokens.writer, 403, None),
        ("GET", "/sign", tokens.writer, 403, None),
    ]:
        answer, seen = guarded.ask(method, target, bearer(token), b"{}" if method == "POST" else None)
        asked = (method, target, answer)
        assert answer.status == status and seen == [], asked
        # Of a 403, nginx passes on nothing.
        passed_on = None if guarded.kind in NGINXES and status == 403 else challenge
        assert answer.headers.get_all("WWW-Authenticate") == ([passed_on] if passed_on else None), asked


def test_two_credentials_in_one_request_open_nothing(guarded):
    one, two = bearer(guarded.tokens.reader), bearer(guarded.tokens.writer)
    for target, headers in [
        ("/orders/7", [*one, *two]),
        ("/orders/7", [*one, ("Authorization", "Basic eDp5")]),
        ("/orders/7", [("Authorization", f"{one[0][1]}, {two[0][1]}")]),
        (f"/orders/7?authorization={guarded.tokens.writer}", one),
    ]:
        answer, seen = guarded.ask("GET", target, headers)
        assert answer.status in (400, 401) and seen == [], answer


def test_a_token_in_the_query_is_one_too(guarded):
    answer, seen = guarded.ask("GET", f"/orders/7?authorization={guarded.tokens.reader}")
    assert answer.status == 200 and identity(seen[0])[0] == "alice", answer


# What the client says about itself


def test_identity_headers_of_the_client_never_arrive(guarded):
    names = ["X-Auth-Subject", "x-auth-subject", "X-AUTH-SUBJECT", "X-Auth-Issuer", "X-Auth-Scope"]
    for alias in ALIASES:
        names += [f"X{alias}Auth{alias}Subject", f"x-auth{alias}scope", f"X{alias}Auth-Issuer"]
    for target, token in [("/health", None), ("/orders/7", guarded.tokens.reader)]:
        for name in names:
            spoofed = [(name, MARK), *bearer(token), (name, f"second-{MARK}")]
            answer, seen = guarded.ask("GET", target, spoofed)
            assert answer.status == (200 if seen else answer.status), (name, answer)
            # An alias may be refused; by its own name it is replaced.
            assert seen or (name not in names[:5] and answer.status in (400, 403)), (name, answer)
            for one in seen:
                assert MARK not in repr(one), (name, one)
                assert is_nobody(guarded, one) if token is None else identity(one)[0] == "alice", (name, one)


def test_other_headers_that_look_like_identity_headers_do_not_arrive_either(guarded):
    """nginx and Traefik cannot drop headers by the beginning of their names: there, each has to be named."""
    _, seen = guarded.ask("GET", "/health", [("X-Auth-Roles", MARK)])
    assert (MARK in repr(seen)) == (guarded.kind in (*NGINXES, "traefik")), seen


def test_a_name_with_blanks_is_refused(guarded):
    for name in ["X-Auth-Subject ", "X-Auth-Subject\t", " X-Auth-Subject"]:
        answer, seen = guarded.ask("GET", "/health", [(name, MARK)])
        assert answer.status == 400 and seen == [], (name, answer)


def test_naming_headers_in_connection_does_not_make_them_disappear(guarded):
    for named in ["X-Auth-Subject", "close, X-Auth-Subject, X-Auth-Issuer", "keep-alive, x-auth-subject",
                  "X-Original-URI, X-Original-Method", "X-Forwarded-Uri, X-Forwarded-Method"]:
        answer, seen = guarded.ask("GET", "/orders/7", [*bearer(guarded.tokens.reader), ("Connection", named)])
        assert answer.status == 200 and identity(seen[0])[0] == "alice", (named, answer, seen)
        answer, seen = guarded.ask("GET", "/orders/7", [("Connection", named)])
        assert answer.status == 401 and seen == [], (named, answer)
    # Who makes his own token disappear is nobody.
    answer, seen = guarded.ask("GET", "/orders/7", [*bearer(guarded.tokens.reader), ("Connection", "Authorization")])
    assert answer.status == 401 or identity(seen[0])[0] == "alice", answer


def test_what_the_client_says_about_its_request_is_not_believed(guarded):
    names = ["X-Original-URI", "X-Original-URL", "X-Original-Method", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Method",
             "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_Original_URI", "X_Forwarded_Uri", "X.Forwarded.Uri"]
    for name in names:
        for value in ["/health", "GET"]:
            for method, token in [("GET", None), ("POST", guarded.tokens.reader)]:
                answer, seen = guarded.ask(method, "/orders/7", [(name, value), *bearer(token), (name, value)])
                assert answer.status >= 400 and seen == [], (name, value, answer)
            answer, seen = guarded.ask("GET", "/orders/7", [(name, value), *bearer(guarded.tokens.reader)])
            assert seen or answer.status in (400, 403), (name, answer)
            for one in seen:
                assert (one.method, one.target) == ("GET", "/orders/7")
                # Nor does the service get to know it: some take it for the path or the method.
                assert values(one, re.sub(r"[^A-Za-z0-9]", "-", name)) == [], (name, one)


def test_where_the_request_came_to_is_not_the_clients_to_say(guarded):
    spoofed = [("X-Forwarded-Host", MARK), ("X-Forwarded-Proto", MARK), ("Forwarded", f"for={MARK}")]
    _, seen = guarded.ask("GET", "/health", spoofed, host="service.example")
    assert MARK not in repr(seen) and values(seen[0], "host") == ["service.example"], seen


def test_the_callers_address_is_the_one_of_the_connection(guarded):
    _, seen = guarded.ask("GET", "/health", [("X-Forwarded-For", "203.0.113.7")])
    last = values(seen[0], "x-forwarded-for")[-1].split(",")[-1].strip()
    # For a caller on the same machine, Envoy puts an address of the machine there.
    assert last == "127.0.0.1" or (guarded.kind == "envoy" and last != "203.0.113.7"), seen


# Paths

AMBIGUOUS = [
    "//orders/7", "///orders/7", "/orders//7", "/orders/7//", "/./orders/7", "/orders/./7", "/orders/7/.", "/health/../orders/7",
    "/orders/../health", "/orders/7/..", "/health/..;/orders/7", "/health;/../orders/7", "/orders/7;x", "/orders;x=1/7",
    "/orders/a%2fb", "/orders/a%2Fb", "/health%2f..%2forders%2f7", "/health/%2e%2e/orders/7", "/health/.%2E/orders/7", "/orders/%2e",
    "/orders/a%5cb", "/health\\..\\orders\\7", "/orders/a\\b", "/orders/a%3bb", "/orders/a%252fb", "/orders/a%00b", "/orders/a%0ab",
    "/orders/a%c0%afb", "/orders/a%ffb", "/orders/a%zz", "/orders/a%", "/orders/*", "/health#/../orders/7", "/orders/7#x",
    "/orders/...", "/orders./7", "/orders/7%20", "/orders/%EF%BD%81", "/%EF%BD%8Frders/7",
    "http://other.example/health/../orders/7", "http://other.example//orders/7",
]
PLAIN = [
    "/orders/7", "/orders/7/", "/orders/", "/orders", "/orders/%37", "/%6frders/7", "/orders/caf%C3%A9", "/orders/a%20b", "/orders/a+b",
    "/orders/...x", "/orders/a..b", "/orders/7?", "/orders/7??", "/orders/7?a=%2f..%2f&b=//;/../", "http://other.example/orders/7",
    "HTTP://OTHER.example:1234/orders/7?x",
]


def test_paths_that_can_be_read_in_two_ways_are_refused(guarded):
    for target in AMBIGUOUS:
        for token in [None, guarded.tokens.writer]:
            answer, seen = guarded.ask("GET", target, bearer(token))
            assert answer.status in (400, 403) and seen == [], (target, answer, seen)
    for target in ["orders/7", "*", ""]:
        answer, seen = guarded.ask("GET", target, bearer(guarded.tokens.writer))
        assert answer.status >= 400 and seen == [], (target, answer, seen)


def test_other_paths_reach_the_service_as_they_were_sent(guarded):
    for target in PLAIN:
        answer, seen = guarded.ask("GET", target, bearer(guarded.tokens.reader))
        sent = re.sub(r"^https?://[^/]*", "", target, flags=re.IGNORECASE)
        assert answer.status == 200 and [one.target for one in seen] == [sent], (target, answer, seen)


def test_whatever_path_reaches_the_service_is_one_the_gate_lets_this_caller_into(guarded):
    """Paths put together at random from what readers disagree about, asked for with and without a token."""
    dice = random.Random(20261125)
    pieces = ["/", "//", "health", "orders", "admin", "live", ".", "..", "%2e", "%2F", "%5c", "\\", ";", ";x=1", "?", "#", "%", "%00", "%37", "7",
              "&", "=", ":", "@", "%c3%a9", "\u00e9", "*", "~", "'", '"', "<", "^", "{", "http://h", "authorize", "_countersign", "%3f", "%23", "+"]
    reached = 0
    for _ in range(250):
        start = dice.choice(["/health", "/orders", "/orders/7", "/", "", "http://other.example/health", "/live"])
        target = start + "".join(dice.choice(pieces) for _ in range(dice.randint(0, 4)))
        token = dice.choice([None, guarded.tokens.reader])
        _, seen = guarded.ask("GET", target.encode().decode("latin-1"), bearer(token))
        for one in seen:
            reached += 1
            said = guarded.ask_gate("GET", one.target, bearer(token))
            assert said.status == 200, f"{target!r} reached the service as {one.target!r}: {said}"
    assert reached > 25, "too few of them to prove anything"


# Methods and bodies


def test_methods_reach_the_service_as_rules_allow_and_bodies_intact(guarded):
    reader, writer = guarded.tokens.reader, guarded.tokens.writer
    answer, seen = guarded.ask("HEAD", "/orders/7", bearer(reader))
    assert (answer.status, answer.body, seen[0].method) == (200, b"", "HEAD")
    answer, seen = guarded.ask("HEAD", "/orders/7")
    assert (answer.status, seen) == (401, []) and answer.headers["WWW-Authenticate"] == "Bearer"
    # A preflight.
    answer, seen = guarded.ask("OPTIONS", "/orders/7", [("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST")])
    assert answer.status == 200 and seen[0].method == "OPTIONS"
    body = b"the body" + os.urandom(300_000)
    answer, seen = guarded.ask("POST", "/orders/7", bearer(writer), body)
    assert (answer.status, seen[0].method, seen[0].body == body) == (200, "POST", True), answer
    assert identity(seen[0])[0] == "bob"
    chunks = [body[at:at + 9000] for at in range(0, len(body), 9000)]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    answer, seen = guarded.ask("POST", "/orders/7", [*bearer(writer), ("Transfer-Encoding", "chunked")], chunked)
    assert (answer.status, seen[0].body == body) == (200, True), answer
    answer, seen = guarded.ask("POST", "/orders/7", bearer(reader), b"the body" * 300)
    assert (answer.status, seen) == (403, []), answer
    assert writer.encode() in guarded.told and b"the body" not in guarded.told, "the gate needs no bodies"


def test_other_methods_do_not_reach_the_service(guarded):
    for method in ["PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "get", "Post", "PROPFIND", "BREW", "G@T"]:
        answer, seen = guarded.ask(method, "/orders/7", bearer(guarded.tokens.writer))
        assert answer.status >= 400 and seen == [], (method, answer)


def test_the_second_request_on_a_connection_is_judged_by_itself(guarded):
    good = wire.message("GET", "/orders/1", bearer(guarded.tokens.reader))
    before = len(guarded.seen)
    with wire.Connection(guarded.url) as connection:
        connection.send(good + wire.message("GET", "/orders/2") + wire.message("GET", "/health"))
        assert connection.receive().status == 200
    with wire.Connection(guarded.url) as connection:
        connection.send(good)
        assert connection.receive().status == 200
        connection.send(wire.message("GET", "/orders/2"))
        assert connection.receive().status == 401
    assert "/orders/2" not in [one.target for one in guarded.seen[before:]]


# WebSockets

HANDSHAKE = [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]


def test_a_websocket_is_opened_with_a_token_in_its_protocols(guarded):
    protocols = [("Sec-WebSocket-Protocol", f"bearer, {guarded.tokens.reader}")]
    for word, connection_names in [("websocket", "Upgrade"), ("WebSocket", "keep-alive, upgrade, X-Auth-Subject")]:
        handshake = [("Upgrade", word), ("Connection", connection_names), *HANDSHAKE, *protocols, ("X-Auth-Subject", MARK)]
        before = len(guarded.seen)
        with wire.Connection(guarded.url) as connection:
            connection.send(wire.message("GET", "/live", handshake))
            arrived = b""
            while b'"target": "/live"' not in arrived:
                more = connection.socket.recv(65536)
                assert more, arrived
                arrived += more
        head, message = arrived.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101 "), arrived
        # RFC 6455, section 1.3: what the example's key has to give.
        assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in head.lower()
        assert b"sec-websocket-protocol: bearer\r\n" in head.lower() + b"\r\n"
        assert message[:1] == b"\x81"
        assert [identity(one)[0] for one in guarded.seen[before:]] == ["alice"]
    for more in [[], [("Sec-WebSocket-Protocol", "bearer")], [("Sec-WebSocket-Protocol", f"bearer, {guarded.tokens.forged}")],
                 [("Sec-WebSocket-Protocol", guarded.tokens.reader)]]:
        answer, seen = guarded.ask("GET", "/live", [("Upgrade", "websocket"), ("Connection", "Upgrade"), *HANDSHAKE, *more])
        assert answer.status == 401 and seen == [], answer


def test_nothing_but_a_websocket_is_upgraded(guarded):
    """Behind an upgrade to HTTP/2 the proxy would see no requests any more, and ask about none."""
    settings = ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")
    for upgrades in [["h2c"], ["H2C"], ["other"], ["h2c, websocket"], ["websocket, h2c"], ["h2c", "websocket"], ["websocket", "h2c"]]:
        headers = [*(("Upgrade", upgrade) for upgrade in upgrades), ("Connection", "Upgrade, HTTP2-Settings"), settings]
        _, seen = guarded.ask("GET", "/orders/7", [*headers, *bearer(guarded.tokens.reader)])
        for one in seen:
            # ingress-nginx hands on what it gets; its README says what follows.
            known = [], ["websocket"], *([upgrades, *([each] for each in upgrades)] if guarded.kind == "ingress-nginx" else [])
            assert values(one, "upgrade") in known, (upgrades, one)


# The gate itself


def test_without_the_gate_nobody_is_let_in(guarded):
    guarded.gate.stop()
    try:
        for target, token in [("/health", None), ("/orders/7", guarded.tokens.reader), ("/orders/7", None)]:
            answer, seen = guarded.ask("GET", target, bearer(token))
            assert answer.status in (500, 502, 503) and seen == [], answer
    finally:
        guarded.gate.start()
    assert guarded.ask("GET", "/orders/7", bearer(guarded.tokens.reader))[0].status == 200


def test_a_question_that_is_too_large_for_the_gate_lets_nobody_in(guarded):
    large = [("X-Large", "a" * 7000)] * 3
    for headers, target in [(large, "/orders/7"), ([], "/orders/7?" + "a" * 7000), ([], "/orders/" + "a" * 9000)]:
        for token in [None, guarded.tokens.reader]:
            answer, seen = guarded.ask("GET", target, [*headers, *bearer(token)])
            assert answer.status == (200 if seen else max(answer.status, 400)), answer
            assert token or seen == [], answer


def test_while_keys_cannot_be_had_their_tokens_open_nothing(guarded):
    answer, seen = guarded.ask("GET", "/orders/7", bearer(guarded.tokens.keys_lost))
    # nginx knows 401 and 403 only.
    assert (answer.status, seen) == (500 if guarded.kind in NGINXES else 503, []), answer


def test_the_gate_cannot_be_asked_through_the_proxy(guarded):
    """nginx has a place of its own for its question; nobody else gets there."""
    place = "_external-auth-Lw-Prefix" if guarded.kind == "ingress-nginx" else "_countersign"
    for target in [f"/{place}", f"//{place}", f"/%5f{place[1:]}", f"/x/../{place}", f"/{place}?x"]:
        answer, seen = guarded.ask("GET", target, bearer(guarded.tokens.writer))
        assert answer.status == (404 if guarded.kind in NGINXES else 403) and seen == [], (target, answer)


def test_nobody_but_the_proxy_may_ask_the_gate(guarded):
    good = bearer(guarded.tokens.reader)
    assert guarded.ask_gate("GET", "/orders/7", good).status == 200
    for target, headers in [("/orders/7", good), ("/health", []), ("/orders/7", [*good, ("X-Forwarded-For", "127.0.0.1")])]:
        said = guarded.ask_gate("GET", target, headers, source="127.0.0.2")
        assert said.status == 403 and not set(IDENTITY) & {name.lower() for name in said.headers}, said


def test_a_gate_behind_traefik_answers_what_traefik_asks(lasting_authority):
    """Traefik takes too long to build for each run: tests/peers/traefik.py puts it through all of the above. Here the request is
    replayed that its middleware sends there: GET without a body, all of the client's headers but those for one hop, then
    X-Forwarded-* of its own."""
    gate = start_gate("traefik", lasting_authority)
    tokens = Tokens(gate)

    def replay(method, uri, headers=(), source="127.0.0.1"):
        forwarded = [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Host", "service.example"), ("X-Forwarded-Proto", "https")]
        client = [("User-Agent", "curl/8"), ("Accept", "*/*"), ("Content-Type", "application/json"), *headers]
        return ask_gate(gate, "traefik", method, uri, [*client, *forwarded, ("Accept-Encoding", "gzip")], source)

    allowed = replay("GET", "/orders/7?full=1", [*bearer(tokens.reader), ("X-Auth-Subject", MARK)])
    assert allowed.status == 200
    assert [allowed.headers[name] for name in IDENTITY] == ["alice", gate.issuer, "orders:read"]
    public = replay("GET", "/health", [("X-Auth-Subject", MARK)])
    assert public.status == 200 and [public.headers[name] for name in IDENTITY] == ["", "", ""]
    for method, uri, headers, status in [
        ("GET", "/orders/7", [], 401),
        ("GET", "/orders/7", bearer(tokens.forged), 401),
        ("GET", "/orders/7", bearer(tokens.expired), 401),
        ("GET", "/orders/7", bearer(tokens.other_audience), 401),
        ("GET", "/orders/7", bearer(tokens.keys_lost), 503),
        ("POST", "/orders/7", bearer(tokens.reader), 403),
        ("GET", "/admin", bearer(tokens.writer), 403),
        ("GET", "/orders//7", bearer(tokens.writer), 403),
        ("GET", "/orders/a%2Fb", bearer(tokens.writer), 403),
        ("GET", "/orders/7", [*bearer(tokens.reader), ("X_Auth_Subject", MARK)], 403),
        ("GET", "/orders/7", [*bearer(tokens.reader), ("X-Original-URI", "/health"), ("X_Forwarded_Uri", "/health")], 200),
        ("GET", "/admin", [*bearer(tokens.reader), ("X-Original-URI", "/health"), ("X_Forwarded_Uri", "/health")], 403),
        # Two of them: one is the client's, and nobody can tell which.
        ("GET", "/admin", [("X-Forwarded-Uri", "/health"), *bearer(tokens.reader)], 403),
    ]:
        said = replay(method, uri, headers)
        assert said.status == status, (method, uri, said)
        assert (said.headers.get("WWW-Authenticate") or "").startswith("Bearer" if status == 401 else ""), said
    assert replay("GET", "/orders/7", bearer(tokens.reader), source="127.0.0.2").status == 403


# The examples


@pytest.mark.parametrize("kind", [*STARTED, "traefik"])
def test_the_examples_name_every_identity_header_and_only_loopback(kind):
    texts = {file.name: file.read_text(encoding="utf-8") for file in (EXAMPLES / kind).iterdir()}
    settings = "".join(text for name, text in texts.items() if name not in ("README.md", "countersign.toml"))
    for name in IDENTITY:
        assert name in settings.lower() or "x-auth-" in settings, name
    assert set(re.findall(r"\d+\.\d+\.\d+\.\d+", "".join(texts.values()))) == {"127.0.0.1"}
    assert f'kind = "{kind}"\nnetworks = ["127.0.0.1/32"]' in texts["countersign.toml"]


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_readmes_of_the_examples_do_what_they_say(kind, binary, tmp_path):
    ports = {port: free_port() for port in ("8000", "8080", "9000")}
    folder = copy_example(kind, tmp_path, ports)
    found = blocks((folder / "README.md").read_text(encoding="utf-8"))
    assert [block.name for block in found] == ["gate", "service", "proxy", "refusals", "identity"]
    own = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    run(found, folder, environment(binary, tmp_path) | own)


def test_the_page_about_forward_auth_does_what_it_says(binary, tmp_path):
    page = (EXAMPLES.parent / "docs" / "forward-auth.md").read_text(encoding="utf-8")
    found = blocks(with_ports(page, {port: free_port() for port in ("8000", "8080", "9000")}))
    assert [block.name for block in found] == ["config", "serve", "ask"]
    folder = tmp_path / "work"
    folder.mkdir()
    run(found, folder, environment(binary, tmp_path))
