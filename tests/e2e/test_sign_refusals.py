"""`POST /sign` with content that is not a mint request: each is a JSON error that says what is wrong and echoes nothing.

After every case the same server mints a token.
"""

import json
from urllib.parse import urlencode

import pytest
from e2e import wire
from e2e.program import SIGN_CONFIG
from e2e.wire import FORM, MARK


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(SIGN_CONFIG)


@pytest.fixture(autouse=True)
def it_still_serves(server):
    yield
    assert server.sign({"sub": "afterwards"})


def send(server, body, content_type="application/json", headers=()):
    authorization = ("Authorization", wire.basic(server.client_id, server.client_secret))
    headers = [authorization, *([("Content-Type", content_type)] if content_type else []), *headers]
    body = body if isinstance(body, bytes) else body.encode()
    return wire.ask(server.issuer, "POST", "/sign", headers, body)


def refused(server, answer, status, says=""):
    wire.check_refusal(answer, status, says, secret=server.client_secret)
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("name", ["iss", "aud", "iat", "nbf", "exp", "jti"])
def test_a_claim_of_the_issuer_is_refused_by_name(server, name):
    refused(server, send(server, f'{{"data":{{"sub":"a","{name}":"{MARK}"}}}}'), 400, f"`{name}`")
    escaped = "".join(f"\\u{ord(c):04x}" for c in name)
    refused(server, send(server, f'{{"data":{{"{escaped}":"{MARK}"}}}}'), 400, f"`{name}`")
    refused(server, send(server, urlencode({"data": f'{{"{name}":1}}'}), FORM), 400, f"`{name}`")


@pytest.mark.parametrize("body, says", [
    ('{"data":{},"extra":"%s"}' % MARK, "unknown member"),
    ('{"data":{},"Data":{}}', "unknown member"),
    ('{"data":{},"metadata":{"duration":60,"issuer":"%s"}}' % MARK, "`metadata`"),
    ('{"metadata":{}}', "`data` is missing"),
    ("{}", "`data` is missing"),
])
def test_members_that_are_unknown_or_missing_are_named_by_what_is_known(server, body, says):
    refused(server, send(server, body), 400, says)


@pytest.mark.parametrize("body", [
    '{"data":{"a":1},"data":{"a":2}}',
    '{"data":{"a":1},"d\\u0061ta":{"a":2}}',
    '{"data":{"sub":"a","sub":"b"}}',
    '{"data":{"sub":"a","s\\u0075b":"b"}}',
    '{"data":{"x":{"deep":[{"y":1,"y":2}]}}}',
    '{"data":{},"metadata":{"duration":60,"duration":61}}',
    '{"data":{},"metadata":{"duration":60},"metadata":{"duration":61}}',
    '{"data":{%s,"k0":1}}' % ",".join(f'"k{i}":0' for i in range(100)),
])
def test_a_member_twice_is_refused_however_it_is_spelt(server, body):
    refused(server, send(server, body), 400, "twice")


@pytest.mark.parametrize("body", [
    "", " ", "{", "}", '{"data":{}', '{"data":{}}}', '{"data":{}} x', '{"data":{},}', "{'data':{}}", '{data:{}}',
    '{"data":{"a":01}}', '{"data":{"a":.5}}', '{"data":{"a":NaN}}', '{"data":{"a":Infinity}}', '{"data":{"a":+1}}',
    '{"data":{"a":"\n"}}', '{"data":{"a":"\x00"}}', '{"data":{"a":"\\x"}}', '{"data":{"a":"\\ud800"}}',
    '{"data":{"a":tru}}', '{"data":{}}//', '{"data":{"a":"%s}' % MARK,
])
def test_malformed_json_is_refused_with_its_place(server, body):
    refused(server, send(server, body), 400, "malformed JSON at line")


def test_a_mark_of_byte_order_is_named(server):
    refused(server, send(server, '\ufeff{"data":{}}'), 400, "a byte order mark stands in front of the JSON")
    refused(server, send(server, '\ufeff{"data":{}}', FORM), 400, "send Content-Type: application/json")


def test_a_number_that_no_reader_can_hold_is_refused(server):
    refused(server, send(server, '{"data":{"a":1e400}}'), 400, "the number 1e400 is too large")
    refused(server, send(server, '{"data":{"a":[{"b":-1e999}]}}'), 400, "the number -1e999 is too large")


@pytest.mark.parametrize("body", ["null", "[]", "[{}]", '"data"', "1", "true"])
def test_json_that_is_no_object_is_refused(server, body):
    refused(server, send(server, body), 400, "object")


@pytest.mark.parametrize("member, value, says", [
    *[("data", value, "`data` must be a JSON object") for value in ["null", "[]", '"%s"' % MARK, "1", "false"]],
    *[("metadata", value, "`metadata` must be a JSON object") for value in ["null", "[]", '"x"', "60"]],
    *[("profile", value, "`profile` must be a string") for value in ["null", "1", '["jwt"]', "{}"]],
    *[("client_id", value, "`client_id` must be a string") for value in ["null", "1", "[]"]],
    ("client_secret", "true", "`client_secret` must be a string"),
])
def test_a_member_of_the_wrong_type_is_named(server, member, value, says):
    members = {"data": "{}"} | {member: value}
    body = "{%s}" % ",".join(f'"{name}":{text}' for name, text in members.items())
    refused(server, send(server, body), 400, says)


@pytest.mark.parametrize("value", [
    "0", "-1", "-0", "1.5", "60.0", "6e1", '"60"', "null", "true", "[]", "{}", "4294967296", "1e400", "18446744073709551616",
])
def test_a_duration_is_a_whole_number_of_seconds_above_zero(server, value):
    refused(server, send(server, f'{{"data":{{}},"metadata":{{"duration":{value}}}}}'), 400)


@pytest.mark.parametrize("value", [
    "1", "null", "{}", "true", "[1]", '["api://default",null]', '[["api://default"]]', "[]", '""', '[""]',
    '["api://default",""]', json.dumps(["api://default"] * 21),
])
def test_an_audience_is_a_string_or_a_list_of_strings(server, value):
    refused(server, send(server, f'{{"data":{{}},"metadata":{{"audience":{value}}}}}'), 400, "`metadata.audience`")


def test_an_unknown_profile_is_answered_with_those_there_are(server):
    refused(server, send(server, '{"data":{},"profile":"%s"}' % MARK), 400, "configured are: jwt")


@pytest.mark.parametrize("body", [
    b'{"data":{"a":"\xff"}}', b'{"data":{"\xc3":1}}', b'{"data":{"a":"\xed\xa0\x80"}}', b'\xff\xfe{\x00}\x00',
    b'{"data":{"a":"\xc0\xaf"}}',
])
def test_bytes_that_are_not_utf8_are_refused(server, body):
    refused(server, send(server, body), 400)


@pytest.mark.parametrize("body", [b'data={"a":"\xff"}', b"data=%7B%22a%22%3A%22%FF%22%7D", b"data=%7B%7D&profile=%C3%28"])
def test_a_form_that_is_not_utf8_is_refused(server, body):
    refused(server, send(server, body, FORM), 400)


@pytest.mark.parametrize("depth", [17, 200, 20_000])
def test_deep_nesting_is_refused(server, depth):
    for opening, closing in [("[", "]"), ('{"a":', "}")]:
        inner = opening * depth + "1" + closing * depth
        if len(inner) < 60_000:
            refused(server, send(server, f'{{"data":{{"x":{inner}}}}}'), 400, "too deeply")
    refused(server, send(server, '{"data":' + "[" * depth), 400)


@pytest.mark.parametrize("form, says", [
    ("data={}&data={}", "twice"),
    ("data={}&client%5fid=a&client_id=b", "twice"),
    ("data={}&extra=" + MARK, "unknown member"),
    ("", "`data` is missing"),
    ("data=", "malformed JSON"),
    ("data=" + MARK, "malformed JSON"),
    ("data=[]", "`data` must be a JSON object"),
    ("data={}&metadata=60", "`metadata` must be a JSON object"),
    ('data={"a":1,"a":2}', "twice"),
    ("data={}&client_id=tests", "belong together"),
])
def test_a_form_is_held_to_the_same_rules(server, form, says):
    refused(server, send(server, form, FORM), 400, says)


def test_credentials_in_two_places_are_refused_even_if_they_agree(server):
    both = {"data": {}, "client_id": server.client_id, "client_secret": server.client_secret}
    refused(server, send(server, json.dumps(both)), 400, "not both")
    form = urlencode({"data": "{}", "client_id": server.client_id, "client_secret": server.client_secret})
    refused(server, send(server, form, FORM), 400, "not both")


def test_half_credentials_and_two_authorization_headers_are_refused(server):
    for half in [{"client_id": server.client_id}, {"client_secret": server.client_secret}]:
        refused(server, send(server, json.dumps({"data": {}} | half)), 400, "belong together")
    again = [("Authorization", wire.basic(server.client_id, server.client_secret))]
    refused(server, send(server, '{"data":{}}', headers=again), 400, "more than one Authorization header")


@pytest.mark.parametrize("content_type", [
    None, "", "text/plain", "application/xml", "application/jsonp", "application/json5", "multipart/form-data; boundary=x",
    "application/jwk-set+json", "json", ";application/json",
])
def test_another_content_type_is_refused(server, content_type):
    refused(server, send(server, '{"data":{}}', content_type), 415, "application/json")


def test_the_audit_names_the_client_whose_body_cannot_be_read(server):
    """Its header proves it; a header that does not proves nobody."""
    answer = send(server, '{"data":{"a":1,"a":1}}')
    refused(server, answer, 400, "twice")
    other = wire.ask(server.issuer, "POST", "/sign", [("Authorization", wire.basic(server.client_id, MARK)), ("Content-Type", "application/json")],
                     b'{"data":{"a":1,"a":1}}')
    clients = {event["request_id"]: (event.get("code"), event.get("client")) for event in server.audit}
    assert clients[answer.headers["x-request-id"]] == ("invalid_request", server.client_id)
    assert clients[other.headers["x-request-id"]] == ("invalid_request", None)
