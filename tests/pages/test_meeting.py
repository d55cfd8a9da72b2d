"""examples/meeting in real Chromium: from a sign-in to a meeting, and every sentence for when that does not work.

`meetings.py` of the example stands in for 8x8.vc: `JitsiMeetExternalAPI.made` is what the page has passed to the IFrame API,
and `emit` is what the meeting tells the page.
"""

import re
import time

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pages.conftest import DESKTOP, PHONE, ROOT, example
from pages.looks import assert_usable

APP_ID = "vpaas-magic-cookie-00000000000000000000000000000000"
LIFETIME = 600
#: A minute before its end.
RENEWED_AFTER = LIFETIME - 60
PASSED = "() => JitsiMeetExternalAPI.made.map(({ host, options, disposed }) => [host, options.roomName, options.jwt, !disposed])"
EMIT = "([event, detail]) => JitsiMeetExternalAPI.made.at(-1).emit(event, detail)"
FATAL = {"isFatal": True, "type": "CONNECTION"}

NOT_SIGNED_IN = "You are not signed in. Sign in to join a meeting."
NOT_ALLOWED = "You are not allowed into this room. Check its name, or ask the person who invited you."
UNAVAILABLE = "Meetings cannot be opened at the moment. Check your connection and try again."
EXPIRED = "Your sign-in ended while you were waiting. Sign in again to join."
LOST = "The connection to the meeting was lost. Try again."
TOKEN_REFUSED = (
    "The meeting service did not accept your permission to join. Try again; if it happens again, tell your administrator."
)


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def site(full_binary, key, tmp_path_factory):
    """The addresses of the example as its one command starts it, with a key of the test's."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    variables = {"PRIVATE_KEY": pem.decode(), "MEETING_LIFETIME": f"{LIFETIME}s"}
    ports = ("APP_PORT", "LOGIN_PORT", "MEETINGS_PORT", "AUTHORITY_PORT")
    with example("meeting", full_binary, tmp_path_factory.mktemp("meeting"), ports, variables) as urls:
        yield urls


@pytest.fixture(scope="module")
def session(site):
    """The cookie of a browser in which Alice has signed in."""
    with httpx.Client(base_url=site["APP_PORT"]) as browser:
        login = browser.get("/login").headers["location"]
        back = browser.get(f"{login}&person=alice").headers["location"]
        browser.get(back)
        return {"name": "session", "value": browser.cookies["session"], "url": site["APP_PORT"]}


@pytest.fixture
def opened(page, site):
    """The page with a clock that a test may turn, with the requests for tokens in `page.asked`."""
    page.asked = []
    page.on("request", lambda request: request.url.endswith("/meeting-token") and page.asked.append(request))
    page.clock.install(time=time.time())
    page.goto(site["APP_PORT"])
    return page


@pytest.fixture
def known(page, session, request):
    """The same in a browser in which Alice has signed in."""
    page.context.add_cookies([session])
    return request.getfixturevalue("opened")


def sign_in(page, who="Alice Example"):
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("link", name=who).click()
    page.get_by_text(who).wait_for()


def join(page, room="standup"):
    page.get_by_label("Room").fill(room)
    page.get_by_role("button", name="Join").click()


@pytest.fixture
def waiting(known):
    """Alice, with the frame of the meeting in front of her, not in it yet."""
    join(known)
    status(known, "Waiting to join standup…")
    return known


@pytest.fixture
def inside(waiting):
    waiting.frame_locator("iframe").get_by_role("button", name="Go in").click()
    status(waiting, "You are in standup.")
    return waiting


def status(page, text):
    page.get_by_role("status").filter(has_text=text).wait_for()


def told(page, says, focus):
    """Demands the sentence that is read out, nothing left of a meeting, and the focus on what mends it."""
    page.get_by_role("alert").filter(has_text=says).wait_for()
    assert page.locator("#what").inner_text() == says
    assert page.get_by_role("status").inner_text() == ""
    assert page.locator("iframe").count() == 0
    assert page.evaluate("document.activeElement.id") == focus


def emit(page, event, detail):
    page.evaluate(EMIT, [event, detail])


def renewed(page, count):
    """Waits for the answer to the request for a token that makes `count`, and returns it."""
    with page.expect_response("**/meeting-token") as answer:
        page.clock.run_for((RENEWED_AFTER + 1) * 1000)
    assert len(page.asked) == count
    return answer.value.json()


def test_whoever_is_signed_in_joins_with_a_token_for_that_room(inside, key, site):
    [[host, room, token, _]] = inside.evaluate(PASSED)
    assert (host, room) == (site["MEETINGS_PORT"].removeprefix("http://"), f"{APP_ID}/standup")
    header = jwt.get_unverified_header(token)
    assert header == {"alg": "RS256", "kid": f"{APP_ID}/trial", "typ": "JWT"}
    claims = jwt.decode(token, key.public_key(), ["RS256"], audience="jitsi", issuer="chat")
    assert (claims["sub"], claims["room"]) == (APP_ID, "standup")
    assert claims["context"]["user"] == {
        "id": "login:alice", "name": "Alice Example", "email": "alice@example.com", "avatar": "https://example.com/alice.png",
        "moderator": "false",
    }
    assert 0 < claims["exp"] - time.time() <= LIFETIME


def test_an_address_that_is_not_verified_does_not_reach_the_meeting(opened):
    sign_in(opened, "Bob Example")
    join(opened, "Team-7")
    status(opened, "Waiting to join team-7…")
    [[_, room, token, _]] = opened.evaluate(PASSED)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (room, claims["room"]) == (f"{APP_ID}/team-7", "team-7")
    user = claims["context"]["user"]
    assert (user["name"], user.get("email")) == ("Bob Example", None)


def test_nobody_is_signed_in(opened):
    told(opened, NOT_SIGNED_IN, "sign-in")
    assert opened.get_by_label("Room").is_hidden()
    assert not opened.asked


@pytest.mark.parametrize("room", ["board", "team", "standup-2", "../standup", "team-1/../board", "team-1?jwt=x", "team-1#config"])
def test_a_room_that_is_not_allowed(known, room):
    join(known, room)
    told(known, NOT_ALLOWED, "room")
    assert known.get_by_role("button", name="Try again").is_hidden()
    # The next one is.
    join(known)
    status(known, "Waiting to join standup…")
    assert known.get_by_role("alert").is_hidden()
    known.complaints.clear()


@pytest.mark.parametrize(
    "answer, says, focus",
    [
        ({"status": 403, "json": {"error": "sign_in_refused"}},
         "Your sign-in was not accepted for meetings. Sign in again; if that does not help, ask your administrator.", "sign-in"),
        ({"status": 401, "json": {"error": "not_signed_in"}}, NOT_SIGNED_IN, "sign-in"),
        ({"status": 502, "json": {"error": "unavailable"}}, UNAVAILABLE, "again"),
        ({"status": 500, "body": "<html>"}, UNAVAILABLE, "again"),
        ({"status": 403, "json": {"error": "constructor"}}, UNAVAILABLE, "again"),
        (None, UNAVAILABLE, "again"),
    ],
    ids=["refused", "signed out", "trouble", "no JSON", "unheard of", "offline"],
)
def test_no_token_can_be_had(known, answer, says, focus):
    known.route("**/meeting-token", lambda route: route.fulfill(**answer) if answer else route.abort())
    join(known)
    told(known, says, focus)
    known.unroute("**/meeting-token")
    if focus == "again":
        known.keyboard.press("Enter")
        status(known, "Waiting to join standup…")
    known.complaints.clear()


def test_whoever_has_to_sign_in_again_finds_the_room_still_there(opened):
    sign_in(opened)
    opened.context.clear_cookies()
    join(opened)
    told(opened, NOT_SIGNED_IN, "sign-in")
    sign_in(opened)
    assert opened.get_by_label("Room").input_value() == "standup"
    opened.complaints.clear()


def test_the_meeting_service_cannot_be_loaded(known):
    known.route("**/external_api.js", lambda route: route.abort())
    join(known)
    told(known, "The meeting service could not be loaded. Check your connection and try again.", "again")
    known.unroute("**/external_api.js")
    known.keyboard.press("Enter")
    status(known, "Waiting to join standup…")
    known.complaints.clear()


@pytest.mark.parametrize(
    "event, detail, says, focus",
    [
        ("errorOccurred", FATAL | {"name": "connection.passwordRequired"}, TOKEN_REFUSED, "again"),
        ("errorOccurred", FATAL | {"name": "conference.authenticationRequired"}, TOKEN_REFUSED, "again"),
        ("errorOccurred", FATAL | {"name": "conference.connectionError.notAllowed"}, NOT_ALLOWED, "room"),
        ("errorOccurred", FATAL | {"name": "conference.connectionError.membersOnly", "isFatal": False}, NOT_ALLOWED, "room"),
        ("errorOccurred", FATAL | {"name": "connection.droppedError"}, LOST, "again"),
        ("participantKickedOut", {"kicked": {"id": "a", "local": True}}, "A moderator removed you from the meeting.", "room"),
    ],
)
def test_what_the_meeting_says_is_told(waiting, event, detail, says, focus):
    emit(waiting, event, detail)
    told(waiting, says, focus)
    assert [alive for *_, alive in waiting.evaluate(PASSED)] == [False]
    if focus == "again":
        waiting.keyboard.press("Enter")
        status(waiting, "Waiting to join standup…")
        assert len(waiting.asked) == 2


def test_what_does_not_end_a_meeting_is_left_to_it(inside):
    emit(inside, "errorOccurred", {"isFatal": False, "type": "CONFERENCE", "name": "conference.chatError"})
    emit(inside, "participantKickedOut", {"kicked": {"id": "b", "local": False}})
    assert inside.get_by_role("alert").is_hidden()
    assert [alive for *_, alive in inside.evaluate(PASSED)] == [True]


def test_a_token_is_renewed_before_its_end_for_whoever_waits(waiting):
    waiting.clock.run_for((RENEWED_AFTER - 30) * 1000)
    assert len(waiting.asked) == 1
    # A token that is made within the same second has the same bytes.
    time.sleep(1)
    answer = renewed(waiting, 2)
    status(waiting, "Waiting to join standup…")
    waiting.locator("iframe").wait_for()
    [[*_, first, old], [*_, second, new]] = waiting.evaluate(PASSED)
    assert (old, new) == (False, True)
    assert first != second == answer["token"]
    # And what the frame that is gone still says means nothing.
    waiting.evaluate("JitsiMeetExternalAPI.made[0].emit('errorOccurred', { isFatal: true, name: 'connection.droppedError' })")
    assert waiting.get_by_role("alert").is_hidden()
    renewed(waiting, 3)


def test_whoever_is_in_the_meeting_is_not_disturbed_by_a_renewal(inside):
    renewed(inside, 2)
    renewed(inside, 3)
    assert len(inside.evaluate(PASSED)) == 1
    status(inside, "You are in standup.")


def test_a_sign_in_that_ends_while_somebody_waits(waiting):
    waiting.context.clear_cookies()
    renewed(waiting, 2)
    told(waiting, EXPIRED, "sign-in")
    waiting.complaints.clear()


def test_a_sign_in_that_ends_in_a_meeting_ends_nothing(inside):
    inside.context.clear_cookies()
    renewed(inside, 2)
    status(inside, "You are still in the meeting. To come back after leaving it, you will have to sign in again.")
    assert [alive for *_, alive in inside.evaluate(PASSED)] == [True]
    inside.complaints.clear()


def test_a_renewal_that_fails_is_tried_again_until_the_token_ends(waiting):
    waiting.route("**/meeting-token", lambda route: route.abort())
    waiting.clock.run_for((RENEWED_AFTER + 1) * 1000)
    assert waiting.get_by_role("alert").is_hidden()
    for _ in range(14):
        waiting.clock.run_for(5_000)
        waiting.wait_for_timeout(20)
    told(waiting, "Your permission to join ended while you were waiting, and no new one could be had. "
                  "Check your connection and try again.", "again")
    assert len(waiting.asked) > 4
    waiting.unroute("**/meeting-token")
    waiting.keyboard.press("Enter")
    status(waiting, "Waiting to join standup…")
    waiting.complaints.clear()


def test_a_device_that_slept_renews_when_it_wakes(waiting):
    """Its clock has gone on, its timers have not."""
    waiting.clock.set_system_time(time.time() + LIFETIME + 100)
    with waiting.expect_response("**/meeting-token"):
        waiting.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    status(waiting, "Waiting to join standup…")
    assert len(waiting.asked) == 2


def test_a_token_that_ended_while_the_device_slept_is_replaced_when_the_meeting_refuses_it(waiting):
    waiting.clock.set_system_time(time.time() + LIFETIME + 100)
    with waiting.expect_response("**/meeting-token"):
        emit(waiting, "errorOccurred", FATAL | {"name": "connection.passwordRequired"})
    waiting.locator("iframe").wait_for()
    assert waiting.get_by_role("alert").is_hidden()
    # Not without end: the new one has not ended, so its refusal counts.
    emit(waiting, "errorOccurred", FATAL | {"name": "connection.passwordRequired"})
    told(waiting, TOKEN_REFUSED, "again")


@pytest.mark.parametrize("how", ["page", "frame"])
def test_a_meeting_can_be_left(inside, how):
    if how == "page":
        inside.get_by_role("button", name="Leave the meeting").click()
    else:
        inside.frame_locator("iframe").get_by_role("button", name="Hang up").click()
    status(inside, "You have left the meeting.")
    assert inside.locator("iframe").count() == 0
    assert inside.evaluate("document.activeElement.id") == "room"
    asked = len(inside.asked)
    inside.clock.run_for(LIFETIME * 2000)
    assert len(inside.asked) == asked


def test_it_can_be_done_with_the_keyboard_alone(opened):
    told(opened, NOT_SIGNED_IN, "sign-in")
    opened.keyboard.press("Enter")
    opened.get_by_role("link", name="Alice Example").wait_for()
    opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    opened.get_by_label("Room").wait_for()
    for name in ("Sign out", "room"):
        opened.keyboard.press("Tab")
        assert opened.evaluate("document.activeElement.id || document.activeElement.textContent") == name
        assert opened.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    opened.keyboard.type("standup")
    opened.keyboard.press("Enter")
    status(opened, "Waiting to join standup…")


def test_the_readme_has_every_sentence():
    script = (ROOT / "examples/meeting/page/meeting.js").read_text(encoding="utf-8")
    sentences = re.findall(r"'([A-Z][^']+\.)'", script[: script.index("BY_SIGNING_IN")])
    assert len(sentences) == 10
    readme = (ROOT / "examples/meeting/README.md").read_text(encoding="utf-8")
    assert not [sentence for sentence in sentences if sentence not in readme]


def test_signing_out(opened):
    sign_in(opened)
    opened.get_by_role("button", name="Sign out").click()
    told(opened, NOT_SIGNED_IN, "sign-in")


def test_other_pages_get_no_tokens(opened, site):
    sign_in(opened)
    [cookie] = [one for one in opened.context.cookies() if one["name"] == "session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    cookies = {"session": cookie["value"]}

    def ask(**headers):
        return httpx.post(f"{site['APP_PORT']}/meeting-token", json={"room": "standup"}, headers=headers, cookies=cookies)

    assert [ask(**origin).status_code for origin in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"})] == [403] * 3
    good = ask(Origin=site["APP_PORT"])
    assert good.status_code == 200 and good.headers["Cache-Control"] == "no-store"


def test_a_sign_in_that_somebody_else_began_is_not_taken(site):
    """Otherwise a link could sign people in as the one who made it."""
    with httpx.Client(base_url=site["APP_PORT"]) as theirs, httpx.Client(base_url=site["APP_PORT"]) as ours:
        back = theirs.get(theirs.get("/login").headers["location"] + "&person=bob").headers["location"]
        ours.get("/login")
        answer = ours.get(back)
        assert (answer.status_code, answer.text) == (400, "this login was not begun here\n")
        assert "session" not in ours.cookies


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_it_can_be_read_and_used(opened, size, scheme):
    opened.set_viewport_size(size)
    opened.emulate_media(color_scheme=scheme)
    assert_usable(opened)
    sign_in(opened)
    assert_usable(opened)
    join(opened, "board")
    told(opened, NOT_ALLOWED, "room")
    assert_usable(opened)
    join(opened)
    status(opened, "Waiting to join standup…")
    assert_usable(opened)
    frame = opened.locator("iframe").bounding_box()
    assert frame["height"] > size["height"] / 2 and frame["width"] > size["width"] * 0.9
    opened.complaints.clear()
