"""examples/upload in real Chromium: pictures go to a real S3 server with a permission of Countersign, or not at all.

What the module refuses is in clients/js/test; here it does so in a browser, and every trouble has its sentence.
"""

import base64
import json
import re
import time
import uuid

import jwt
import pytest
import toolchains
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pages.conftest import DESKTOP, PHONE, example
from pages.looks import assert_usable
from servers.versitygw import VersityGW

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400
PICTURE = {"name": "holiday.png", "mimeType": "image/png", "buffer": PNG}
#: Bytes a second; -1 is no limit.
SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 100_000}
CHANGED = "This upload permission was changed, or was not made by the service it names. Nothing was sent."


@pytest.fixture(scope="module")
def shop(full_binary, s3, tmp_path_factory):
    """The example as its one command starts it: its addresses, and the bucket."""
    bucket = f"pictures-{uuid.uuid4().hex[:8]}"
    variables = s3.variables | {"BUCKET": bucket}
    with example("upload", full_binary, tmp_path_factory.mktemp("upload"), ("APP_PORT", "AUTHORITY_PORT"), variables) as urls:
        yield {"page": urls["APP_PORT"], "issuer": urls["AUTHORITY_PORT"], "storage": s3.url, "bucket": bucket, "s3": s3}


@pytest.fixture
def opened(page, shop):
    """The page, opened, with what it has sent to the storage in `page.sent`."""
    page.sent = []
    to_storage = lambda request: request.method == "POST" and request.url.startswith(shop["storage"])  # noqa: E731
    page.on("request", lambda request: to_storage(request) and page.sent.append(request))
    page.goto(shop["page"])
    return page


def send(page, picture=PICTURE):
    page.get_by_label("Picture", exact=True).set_input_files(picture)
    page.get_by_role("button", name="Send").click()


def arrived(page):
    page.get_by_role("status").filter(has_text="The picture has arrived.").wait_for()


def told(page):
    """The sentence that is read out."""
    page.get_by_role("alert").wait_for()
    return page.get_by_role("alert").inner_text()


def objects(shop):
    return shop["s3"].objects(shop["bucket"])


def test_a_picture_arrives_as_it_was_permitted(opened, shop):
    with opened.expect_response("**/permission") as answer:
        send(opened)
    arrived(opened)
    claims = jwt.decode(answer.value.json()["upload_token"], options={"verify_signature": False})
    kept = shop["s3"].client("s3").get_object(Bucket=shop["bucket"], Key=claims["upload"]["fields"]["key"])
    assert kept["Body"].read() == PNG
    assert kept["ContentType"] == "image/png"
    assert kept["Metadata"] == {"jti": claims["jti"]}
    assert [len(opened.sent), opened.locator("#percent").inner_text()] == [1, "100 %"]
    shown = {name: opened.locator(f"#{name}").inner_text() for name in ("issuer", "subject", "key")}
    assert shown == {"issuer": shop["issuer"], "subject": "alice", "key": claims["upload"]["fields"]["key"]}


def test_a_changed_permission_is_refused_before_anything_is_sent(opened, shop):
    before = objects(shop)
    opened.get_by_text("Try it with a changed permission").click()
    opened.get_by_label("Change the permission").check()
    send(opened)
    assert told(opened) == CHANGED
    assert opened.locator("#permission").is_hidden()
    assert not opened.sent and objects(shop) == before


def part(token, number, change):
    parts = token.split(".")
    data = base64.urlsafe_b64decode(parts[number] + "=" * (-len(parts[number]) % 4))
    parts[number] = base64.urlsafe_b64encode(change(data)).decode().rstrip("=")
    return ".".join(parts)


def foreign(token):
    """The same words, signed by somebody else under the same name."""
    header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    keys = {"RS256": lambda: rsa.generate_private_key(65537, 2048), "ES256": lambda: ec.generate_private_key(ec.SECP256R1())}
    return jwt.encode(claims, keys[header["alg"]](), header["alg"], header)


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda token: part(token, 1, lambda data: data.replace(b'"alice"', b'"mallo"')), CHANGED),
        (lambda token: part(token, 2, lambda data: bytes([data[0] ^ 1]) + data[1:]), CHANGED),
        (foreign, CHANGED),
        (lambda token: part(token, 0, lambda data: json.dumps(json.loads(data) | {"alg": "none"}).encode()),
         "This upload permission is signed in a way that cannot be verified here. Nothing was sent."),
        (lambda token: part(token, 0, lambda data: json.dumps(json.loads(data) | {"kid": "other"}).encode()),
         "This upload permission is signed with a key that its service does not publish. Nothing was sent."),
        (lambda token: part(token, 0, lambda data: data.replace(b"upload+jwt", b"JWT")),
         "This is not an upload permission. Nothing was sent."),
        (lambda token: token[:200], "This upload permission cannot be read: it is damaged or incomplete. Nothing was sent."),
    ],
    ids=["claims", "signature", "foreign key", "none", "unknown key", "other type", "cut off"],
)
def test_every_change_on_the_way_is_refused(opened, change, says):
    def tamper(route):
        answer = route.fetch()
        route.fulfill(response=answer, json={"upload_token": change(answer.json()["upload_token"])})

    opened.route("**/permission", tamper)
    send(opened)
    assert told(opened) == says
    assert not opened.sent


def test_a_permission_that_was_made_for_another_page_is_refused(opened, shop):
    # The other page is this one by another name, which is another origin.
    opened.goto(shop["page"].replace("127.0.0.1", "localhost"))

    def ask(route):
        route.fulfill(response=route.fetch(headers=route.request.headers | {"origin": shop["page"]}))

    opened.route("**/permission", ask)
    send(opened)
    assert told(opened) == "This upload permission was made for another page. Nothing was sent."
    assert not opened.sent


def test_a_permission_ends(opened):
    opened.clock.install(time=time.time() + 1000)
    send(opened)
    assert told(opened).startswith("The time for this upload has run out.")
    assert not opened.sent


@pytest.mark.parametrize(
    "picture",
    [
        {"name": "a.svg", "mimeType": "image/svg+xml", "buffer": b"<svg/>"},
        PICTURE | {"buffer": b""},
        PICTURE | {"buffer": bytes(5_000_001)},
    ],
    ids=["another type", "empty", "too large"],
)
def test_a_file_that_is_not_allowed_is_not_permitted(opened, picture):
    send(opened, picture)
    assert told(opened) == "This picture cannot be sent: it has to be PNG or JPEG, with at most 5\u00a0MB."
    assert not opened.sent
    complaint = opened.complaints.pop()
    assert "status of 400" in complaint


def test_without_the_keys_of_the_issuer_nothing_is_sent(opened):
    opened.route("**/jwks.json", lambda route: route.abort())
    send(opened)
    assert told(opened).startswith("The keys of the service that gives upload permissions could not be fetched.")
    assert not opened.sent
    opened.complaints.clear()


@pytest.mark.parametrize(
    "answer, says",
    [
        (lambda route: route.fulfill(status=502, body="<html>"), "Pictures cannot be sent at the moment. Try again later."),
        (lambda route: route.abort(), "This page could not reach its server. Check your connection and try again."),
    ],
    ids=["trouble", "offline"],
)
def test_a_server_that_cannot_give_permissions(opened, answer, says):
    opened.route("**/permission", answer)
    send(opened)
    assert told(opened) == says
    opened.complaints.clear()


def test_passing_trouble_of_the_storage_is_waited_for(opened, shop):
    troubles = [503]
    opened.route(f"{shop['storage']}/**", lambda route: route.fulfill(
        status=troubles.pop(), headers={"Access-Control-Allow-Origin": "*"}) if troubles else route.continue_())
    send(opened)
    arrived(opened)
    assert len(opened.sent) == 2
    opened.complaints.clear()


def test_a_storage_that_is_away(opened, shop):
    opened.route(f"{shop['storage']}/**", lambda route: route.abort())
    opened.clock.install()
    send(opened)
    for _ in range(3):
        opened.get_by_role("status").filter(has_text="Sending").or_(opened.get_by_role("alert")).first.wait_for()
        opened.clock.fast_forward(8000)
    assert told(opened).startswith("The storage could not be reached")
    opened.complaints.clear()


def test_what_the_storage_refuses_is_said(opened, shop):
    if not isinstance(shop["s3"], VersityGW):
        return toolchains.not_tested("what S3 refuses, in a browser", "MiniStack judges no forms")

    # Something behind the page changes the form on its way.
    def change(route):
        form = route.request.post_data_buffer
        assert form.count(b"image/png") == 2
        route.continue_(post_data=form.replace(b"image/png", b"text/html"))

    before = objects(shop)
    opened.route(f"{shop['storage']}/**", change)
    send(opened)
    assert told(opened) == "The storage refused the file."
    assert len(opened.sent) == 1 and objects(shop) == before
    opened.complaints.clear()


def test_an_upload_can_be_cancelled(opened, shop):
    before = objects(shop)
    slow = opened.context.new_cdp_session(opened)
    slow.send("Network.enable")
    send(opened, PICTURE | {"buffer": bytes(100)})
    arrived(opened)
    slow.send("Network.emulateNetworkConditions", SLOW)
    send(opened, PICTURE | {"buffer": bytes(4_000_000)})
    # Under way: neither none of it nor all of it is sent.
    opened.locator("#percent").filter(has_text=re.compile(r"^[1-9][0-9]? %$")).wait_for()
    opened.get_by_role("button", name="Cancel").click()
    assert told(opened) == "The upload was stopped."
    assert opened.locator("#permission").is_hidden(), "nothing is kept"
    assert len(objects(shop)) == len(before) + 1
    assert opened.get_by_role("button", name="Cancel").is_hidden()


def test_it_can_be_done_with_the_keyboard_alone(opened):
    opened.get_by_label("Picture", exact=True).set_input_files(PICTURE)
    for name in ("file", "send"):
        opened.keyboard.press("Tab")
        assert opened.evaluate("document.activeElement.id") == name
        assert opened.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    opened.keyboard.press("Enter")
    arrived(opened)
    assert opened.evaluate("document.activeElement.id") == "send"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_it_can_be_read_and_used(opened, size, scheme):
    opened.set_viewport_size(size)
    opened.emulate_media(color_scheme=scheme)
    opened.get_by_text("Try it with a changed permission").click()
    assert_usable(opened)
    send(opened)
    arrived(opened)
    assert_usable(opened)
    opened.get_by_label("Change the permission").check()
    send(opened)
    told(opened)
    assert_usable(opened)


KEYS = {
    "RS256": (lambda: rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAAlgorithm),
    "PS256": (lambda: rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAPSSAlgorithm),
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), jwt.algorithms.ECAlgorithm),
    "ES384": (lambda: ec.generate_private_key(ec.SECP384R1()), jwt.algorithms.ECAlgorithm),
    "ES512": (lambda: ec.generate_private_key(ec.SECP521R1()), jwt.algorithms.ECAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate, jwt.algorithms.OKPAlgorithm),
}
VERIFY = """async ([token, issuer]) => {
  const { verifyUpload } = await import('/countersign-upload.min.js')
  return verifyUpload(token, { issuer }).then(({ key }) => key, ({ code }) => code)
}"""


@pytest.mark.parametrize("alg", KEYS)
def test_the_browser_verifies_each_algorithm(opened, shop, alg):
    make, kind = KEYS[alg]
    key, now, jti = make(), int(time.time()), str(uuid.uuid4())
    published = json.loads(kind.to_jwk(key.public_key())) | {"kid": "one", "alg": alg, "use": "sig", "key_ops": ["verify"]}
    claims = {
        "iss": shop["issuer"], "sub": "alice", "aud": shop["page"], "iat": now, "exp": now + 60, "jti": jti,
        "upload": {
            "method": "POST", "url": f"{shop['storage']}/b", "key_prefix": "p/", "content_types": ["image/png"],
            "fields": {"key": "p/1", "Content-Type": "image/png", "x-amz-meta-jti": jti},
            "min_bytes": 1, "max_bytes": 9, "expires": now + 60,
        },
    }
    answer = {"json": {"keys": [published]}, "headers": {"Access-Control-Allow-Origin": "*"}}
    opened.route("**/jwks.json", lambda route: route.fulfill(**answer))
    headers = {"typ": "upload+jwt", "kid": "one"}
    token = jwt.encode(claims, key, alg, headers)
    assert opened.evaluate(VERIFY, [token, shop["issuer"]]) == "p/1"
    other = jwt.encode(claims, make(), alg, headers)
    assert opened.evaluate(VERIFY, [other, shop["issuer"]]) == "bad_signature"
