"""Key servers that misbehave, at the start of an authorizer and later: it fails closed, goes on, and recovers.

One authorizer trusts many issuers at once, each with a key server of its own kind, so that each case also shows that the
others are not touched by it. `fine` is always there.
"""

import threading
import time

import pytest
from authority import until
from gate import issuers, keyserver
from gate.keyserver import answer
from gate.lambda_api import authorizers
from gate.one_shot import configuration

KEY, SECOND = issuers.Key("first", "ES256"), issuers.Key("second", "ES256")
GOOD = {"keys": [KEY.jwk()]}
SLOW = ["hangs", "drips"]
ELSEWHERE = {"is redirected elsewhere": 302, "is redirected for good": 308}
HTML = "<!doctype html><html><title>Sign in</title></html>"
SECRET = {"kty": "oct", "kid": "first", "alg": "HS256", "k": "c2VjcmV0"}
UNUSABLE = [
    {"kty": "EC", "crv": "P-256", "kid": "bent", "x": "AAAA", "y": "AAAA"}, {"kty": "unheard-of", "kid": "x"}, {}, SECRET,
    {"kty": "RSA", "kid": "short", "n": "AQAB", "e": "AQAB"}, KEY.jwk(kid=None, crv="P-999"), {"kty": ["EC"]},
]

#: What goes wrong → how, and the code in the log.
BROKEN = {
    "hangs": (keyserver.hang, "fetch_timeout"),
    "drips": (keyserver.drip, "fetch_timeout"),
    "never ends": (keyserver.endless, "fetch_too_large"),
    "is too long": (answer({"keys": [KEY.jwk()] + [{"kty": "x" * 1000}] * 200}), "fetch_too_large"),
    "breaks off": (keyserver.broken_off, "fetch_connection"),
    "says nothing": (keyserver.wordless, "fetch_connection"),
    "speaks no HTTP": (keyserver.no_http, "fetch_connection"),
    "says 500": (answer(GOOD, status=500), "fetch_status"),
    "says 404": (answer(GOOD, status=404), "fetch_status"),
    "says 206": (answer(GOOD, status=206), "fetch_status"),
    "is HTML": (answer(HTML, Content_Type="text/html"), "fetch_not_json"),
    "is empty": (answer(""), "fetch_not_json"),
    "is cut off": (answer('{"keys":[{"kty":"EC",'), "fetch_not_json"),
    "is a list": (answer([KEY.jwk()]), "fetch_not_json"),
    "has no keys": (answer({"keys": []}), "fetch_no_usable_key"),
    "has unusable keys": (answer({"keys": UNUSABLE}), "fetch_no_usable_key"),
    "has a secret": (answer({"keys": [SECRET]}), "fetch_no_usable_key"),
    "reports an error": (answer({"error": {"code": 403, "message": "no"}}), "fetch_error_document"),
    "is redirected here": (keyserver.redirect("/fine"), "fetch_redirect"),
    **dict.fromkeys(ELSEWHERE, (None, "fetch_redirect")),
}
ALL = [*BROKEN, "is not there"]
#: Well-formed, and so not a server that is broken: the issuer has no key any more.
WITHDRAWN = {"has no keys", "has unusable keys", "has a secret"}
#: What is odd, but good enough.
ODD = {
    "one bad key among good ones": answer({"keys": [*UNUSABLE[:-1], KEY.jwk(), *UNUSABLE]}),
    "members nobody knows": answer({"keys": [KEY.jwk(x5u="http://127.0.0.1:9/", colour=7)], "next": HTML}),
    "text/html": answer(GOOD, Content_Type="text/html; charset=utf-16"),
    "image/png": answer(GOOD, Content_Type="image/png"),
    "two types": answer(GOOD, Content_Type="text/plain, application/json"),
}
CACHING = {
    "nothing": {},
    "zero": {"Cache_Control": "max-age=0"},
    "no-store": {"Cache_Control": "no-store, no-cache, must-revalidate"},
    "ten years": {"Cache_Control": "public, max-age=315360000, immutable"},
    "more than a number holds": {"Cache_Control": "max-age=99999999999999999999999999999999"},
    "a negative number": {"Cache_Control": "max-age=-5"},
    "garbage": {"Cache_Control": ",,=;max-age=\"x\\\", max-age"},
    "an age that is no number": {"Cache_Control": "max-age=86400", "Age": "old"},
    "a huge age": {"Cache_Control": "max-age=86400", "Age": "99999999999999999999"},
}


def iss(name):
    return f"https://{name.replace(' ', '-')}.example"


def token(name, by=KEY):
    now = int(time.time())
    claims = {"iss": iss(name), "aud": "api", "sub": "alice", "iat": now - 5, "exp": now + 600}
    return issuers.sign("joserfc", by, {}, claims)


def times(text):
    return {"keys_min_age": text, "keys_max_age": text}


SHORT = times("1s")


def trust(name, url, **more):
    return {"issuer": iss(name), "keys_url": url, "algorithms": ["ES256"], "audiences": ["api"]} | more


@pytest.fixture(scope="module")
def elsewhere():
    with keyserver.key_server() as one:
        one.serve("/keys", answer(GOOD))
        yield one


@pytest.fixture(scope="module")
def broken(elsewhere):
    """What goes wrong → how."""
    redirected = {name: keyserver.redirect(elsewhere.url(), status) for name, status in ELSEWHERE.items()}
    return {name: how for name, (how, _) in BROKEN.items()} | redirected


@pytest.fixture
def server():
    with keyserver.key_server() as one:
        yield one


@pytest.fixture(scope="module")
def started_among_broken(binary, tmp_path_factory, broken):
    """An authorizer that has never seen a key of any issuer but `fine`; and the key server."""
    with keyserver.key_server() as server, authorizers(binary, tmp_path_factory) as make:
        behave(server, broken)
        entries = [*trusted(server, [*broken, "fine"]), trust("is not there", keyserver.nobody())]
        yield make(configuration(*entries)).start(), server


def path(name):
    return f"/{name.replace(' ', '-')}"


def behave(server, behaviours):
    server.serve(path("fine"), answer(GOOD))
    for name, behaviour in behaviours.items():
        server.serve(path(name), behaviour)


def trusted(server, names, **times):
    return [trust(name, server.url(path(name)), **times) for name in names]


@pytest.mark.parametrize("name", ALL)
def test_lets_nobody_in_without_keys_and_others_all_the_same(name, started_among_broken):
    authorizer, _ = started_among_broken
    for _ in range(2):
        assert authorizer.ask(token(name)).unavailable
        assert authorizer.ask(token("fine")).let_in
    code = BROKEN[name][1] if name in BROKEN else "fetch_connection"
    failed = [record["code"] for record in authorizer.records() if record.get("issuer") == iss(name)]
    assert failed and set(failed) == {code}
    assert set(authorizer.refusals) == {"keys_unavailable"}


def test_follows_no_redirect(started_among_broken, elsewhere):
    authorizer, server = started_among_broken
    for name in ["is redirected here", *ELSEWHERE]:
        assert authorizer.ask(token(name)).unavailable
        assert path(name) in server.asked
    assert elsewhere.asked == [] and server.asked.count(path("fine")) == 1


def test_recovers_when_the_keys_are_there_again(authorizer, server, broken):
    names = ["says 500", "is HTML", "breaks off", "has no keys"]
    behave(server, {name: broken[name] for name in names})
    one = authorizer(configuration(*trusted(server, names))).start()
    for name in names:
        assert one.ask(token(name)).unavailable
    behave(server, dict.fromkeys(names, answer(GOOD)))
    for name in names:
        until(lambda name=name: one.ask(token(name)).let_in, "the issuer is asked again")


def test_keys_that_went_stale_work_while_their_server_is_broken_and_no_longer_than_allowed(authorizer, server, broken):
    names = [name for name in BROKEN if name not in SLOW]
    behave(server, dict.fromkeys(names, answer(GOOD)))
    lenient = authorizer(configuration(*trusted(server, [*names, "fine"], **SHORT, keys_stale="1h"))).start()
    strict = authorizer(configuration(*trusted(server, [*names, "fine"], **SHORT, keys_stale="0s"))).start()
    for name in names:
        assert lenient.ask(token(name)).let_in and strict.ask(token(name)).let_in
    behave(server, {name: broken[name] for name in names})
    for name in names:
        # The lenient one asked first, so its keys are stale as well.
        until(lambda name=name: strict.ask(token(name)).unavailable, "the keys are stale")
        if name in WITHDRAWN:
            # Stale keys are used while the answer takes longer than a moment.
            until(lambda name=name: lenient.ask(token(name)).unavailable, "the keys are withdrawn")
        for _ in range(2):
            late = lenient.ask(token(name))
            assert late.unavailable if name in WITHDRAWN else late.let_in, name
            assert strict.ask(token(name)).unavailable, name
        forged = token(name, issuers.twin("forger"))
        assert lenient.ask(forged).unauthorized
        assert lenient.ask(token("fine")).let_in and strict.ask(token("fine")).let_in


def test_a_renewal_that_hangs_delays_no_token_while_its_keys_are_fresh(authorizer, server):
    """Keys are renewed in the last quarter of their life; only when that is over, tokens wait for the fetch."""
    names, life = {"lenient": "1h", "strict": "0s"}, 40
    for _ in range(3):
        entries = [
            trust(f"{slow} {name}", server.url(path(f"{slow} {name}")), keys_stale=stale, **times(f"{life}s"))
            for slow in SLOW for name, stale in names.items()
        ]
        one = authorizer(configuration(*entries))
        behave(server, {f"{slow} {name}": answer(GOOD) for slow in SLOW for name in names})
        # Times are whole seconds, and all keys were fetched between these two.
        before = int(time.time())
        one.start()
        after = int(time.time()) + 1
        behave(server, {f"{slow} {name}": BROKEN[slow][0] for slow in SLOW for name in names})
        server.asked.clear()
        # All are in the last quarter of their life, and none is over.
        until(lambda: time.time() >= after + life * 3 / 4, "the last quarter")
        # A function waits a second for each renewal before it asks for its next event, when the answer has left.
        replies = [one.ask(token(f"{slow} {name}")) for slow in SLOW for name in names for _ in range(3)]
        # A renewal hangs for 5 s: had two tokens waited for it, this would be over the end, when nothing can be said of the keys.
        if time.time() < before + life:
            assert [reply.let_in for reply in replies] == [True] * len(replies)
            break
    else:
        pytest.fail("tokens wait for renewals, or three times this machine stood still for seconds")
    # Renewals go on in the background, and may take a moment to reach the server.
    renewed = {path(f"{slow} {name}") for slow in SLOW for name in names}
    until(lambda: {*server.asked} == renewed, "all are renewed")
    for slow in SLOW:
        until(lambda slow=slow: one.ask(token(f"{slow} strict")).unavailable, "the keys are over")
        assert one.ask(token(f"{slow} lenient")).let_in


def test_what_is_in_the_air_when_an_answer_leaves_lands_before_the_next_event_is_asked_for(authorizer, server):
    """Lambda freezes the process with the question for the next event, and a fetch with it."""
    server.serve("/keys", answer(GOOD))
    one = authorizer(configuration(trust("fine", server.url(), **SHORT, keys_stale="1h"))).start()
    landed, next_event = threading.Event(), one.api.next

    def late(connection, stopped):
        # Not before the answer has left: it waits for a quarter of a second, and then makes do with stale keys.
        until(lambda: stopped.is_set() or not one.api.asked, "the answer has left")
        time.sleep(0.02)
        landed.set()
        answer({"keys": [SECOND.jwk()]})(connection, stopped)

    def noted():
        asked_after.append(landed.is_set())
        return next_event()

    one.api.next = noted
    # On a busy machine it may take longer than a function is kept for; one that does not wait never sees it land.
    for _ in range(20):
        asked_after = []
        server.serve("/keys", answer(GOOD))
        until(lambda: one.ask(token("fine")).let_in, "the old key is back")
        time.sleep(1.1)
        landed.clear()
        server.serve("/keys", late)
        asked_after.clear()
        assert one.ask(token("fine")).let_in
        until(lambda: asked_after, "it asks for the next event")
        if asked_after[0]:
            break
    else:
        pytest.fail("the next event is asked for with a fetch in the air")
    server.serve("/keys", answer({"keys": [SECOND.jwk()]}))
    assert one.ask(token("fine")).unauthorized


@pytest.mark.parametrize("certificates", [False, True], ids=["JWKS", "certificates"])
def test_a_key_that_was_removed_is_refused_after_its_time(certificates, authorizer, server):
    def document(*keys):
        return {k.kid: k.certificate for k in keys} if certificates else {"keys": [k.jwk() for k in keys]}

    server.serve("/keys", answer(document(KEY, SECOND), max_age=300))
    one = authorizer(configuration(trust("fine", server.url(), **SHORT))).start()
    assert one.ask(token("fine")).let_in and one.ask(token("fine", SECOND)).let_in
    server.serve("/keys", answer(document(SECOND), max_age=300))
    until(lambda: one.ask(token("fine")).unauthorized, "the key is not used any more")
    assert one.ask(token("fine", SECOND)).let_in
    assert one.refusals == ["token_no_key"]


def test_a_new_key_is_taken_up_with_its_first_token_and_replaces_the_old_ones(authorizer, server):
    third = issuers.Key("third", "ES256")
    server.serve("/keys", answer(GOOD))
    one = authorizer(configuration(trust("fine", server.url()))).start()
    assert one.ask(token("fine")).let_in
    server.serve("/keys", answer({"keys": [SECOND.jwk()]}))
    assert one.ask(token("fine", SECOND)).let_in and one.ask(token("fine")).unauthorized
    # The next one has to wait: a kid that is not known causes one fetch in 30 s.
    server.serve("/keys", answer({"keys": [SECOND.jwk(), third.jwk()]}))
    assert one.ask(token("fine", third)).unauthorized and one.ask(token("fine", SECOND)).let_in
    assert server.asked == ["/keys"] * 2


def test_a_failed_search_for_a_new_key_leaves_the_known_ones_alone(authorizer, server, broken):
    names = [name for name in BROKEN if name not in SLOW]
    behave(server, dict.fromkeys(names, answer(GOOD)))
    one = authorizer(configuration(*trusted(server, names))).start()
    behave(server, {name: broken[name] for name in names})
    for name in names:
        # Whether there is a new key cannot be told, and a no would be remembered. Known keys go on.
        assert all(one.ask(token(name, SECOND), event).unavailable for event in ["rest-request", "http-v2"]), name
        known = one.ask(token(name))
        # A key set without a usable key is an answer: the known ones are withdrawn.
        assert known.unavailable if name in WITHDRAWN else known.let_in, name
        assert server.asked.count(path(name)) == 2


@pytest.mark.parametrize("name", ODD)
def test_takes_the_good_keys_of_an_odd_answer(name, authorizer, server):
    server.serve("/keys", ODD[name])
    one = authorizer(configuration(trust("fine", server.url()))).start()
    assert one.ask(token("fine")).let_in
    assert one.ask(token("fine", issuers.twin("stranger"))).unauthorized


def test_keys_are_kept_within_the_configured_times_whatever_cache_control_says(authorizer, server):
    behave(server, {name: answer(GOOD, **headers) for name, headers in CACHING.items()})
    usual = authorizer(configuration(*trusted(server, CACHING))).start()
    for name in CACHING:
        assert all(usual.ask(token(name)).let_in for _ in range(5))
    assert sorted(server.asked) == sorted(map(path, CACHING)), "a minute at least, one fetch each"

    short = authorizer(configuration(*trusted(server, CACHING, **SHORT))).start()
    for name in CACHING:
        assert short.ask(token(name)).let_in
    behave(server, {name: answer({"keys": [SECOND.jwk()]}, **headers) for name, headers in CACHING.items()})
    for name in CACHING:
        until(lambda name=name: short.ask(token(name)).unauthorized, name)
        assert short.ask(token(name, SECOND)).let_in, name
        assert usual.ask(token(name)).let_in, name


def test_a_discovery_document_is_believed_only_about_its_issuer_and_good_addresses(authorizer, server, elsewhere):
    heard = len(elsewhere.asked)
    server.serve("/fine-keys", answer(GOOD))

    def issuer(name):
        return server.url(path(name))

    def document(name, **members):
        return answer({"issuer": issuer(name), "jwks_uri": server.url("/fine-keys")} | members)

    cases = {
        "good": (document("good"), None),
        "of another": (document("of another", issuer=issuer("good")), "discovery_wrong_issuer"),
        "with a slash": (document("with a slash", issuer=issuer("with a slash") + "/"), "discovery_wrong_issuer"),
        "in clear text": (document("in clear text", jwks_uri="http://192.0.2.1/keys"), "discovery_jwks_uri"),
        "of a file": (document("of a file", jwks_uri="file:///etc/passwd"), "discovery_jwks_uri"),
        "with a password": (document("with a password", jwks_uri="https://a:b@192.0.2.1/"), "discovery_jwks_uri"),
        "without keys": (answer({"issuer": issuer("without keys")}), "discovery_jwks_uri"),
        "in HTML": (answer(HTML), "discovery_not_json"),
        "redirected": (keyserver.redirect(elsewhere.url()), "fetch_redirect"),
        "failing": (answer(status=503), "fetch_status"),
        "absent": (answer(status=404), "fetch_status"),
    }
    for name, (behaviour, _) in cases.items():
        server.serve(f"{path(name)}/.well-known/openid-configuration", behaviour)
    entries = [{"preset": "countersign", "id": issuer(name), "audiences": ["api"]} for name in cases]
    one = authorizer(configuration(*entries)).start()
    for name, (_, code) in cases.items():
        claims = {"iss": issuer(name), "aud": "api", "sub": "alice", "exp": int(time.time()) + 600}
        reply = one.ask(issuers.sign("joserfc", KEY, {}, claims))
        codes = {record["code"] for record in one.records() if record.get("issuer") == issuer(name)}
        assert (reply.let_in, codes) == ((True, set()) if code is None else (False, {code})), name
    assert len(elsewhere.asked) == heard
