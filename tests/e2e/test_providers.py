"""Opaque tokens of providers as subject tokens of token exchange: what is taken, and what becomes of every misbehaviour.

The providers are tests/servers/providers.py on loopback. Whether one was asked is looked up there.
"""

import json
import re
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from e2e import wire
from e2e.conftest import openssl
from e2e.dpop import Holder
from e2e.program import CONFIG, until
from e2e.provided import (BINDING, CREDENTIALS, ENTRY, ENVIRONMENT, GRANT, LIMITS, PLACES, SCOPES, SECRET, TYPE, ask, client, configuration,
                          redeem, rule, served, tokens_rule)
from e2e.test_jwt_bearer import ALICE, minted, trust
from e2e.test_token import basic, refused, send
from servers.providers import User

PRESETS = list(PLACES)
#: Each place that is asked about a token.
ENDPOINTS = [(preset, key.removesuffix("_url")) for preset, places in PLACES.items() for key in places if key != "token_url"]


@pytest.fixture(scope="module")
def providers():
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def server(lasting_authority, providers):
    url = providers.url
    rules = [tokens_rule(preset, url) for preset in PRESETS]
    rules += [
        tokens_rule("x", url, "now", 'cache = "0s"\n'), tokens_rule("x", url, "kept", 'cache = "5m"\n'),
        tokens_rule("github", url, "alone", clients=["one"]),
        tokens_rule("github", url, "repo", 'require_scopes = ["repo"]\n'),
        tokens_rule("google", url, "family", 'applications = ["another-application"]\n'),
        rule("audience", "introspection", url, CREDENTIALS + 'audiences = ["https://api.theirs.example"]\n'),
        rule("other-audience", "introspection", url, CREDENTIALS + 'audiences = ["https://api.theirs"]\n'),
        rule("both", "introspection", url, CREDENTIALS + BINDING["introspection"] + 'audiences = ["y"]\nsubject = "username"\n'),
        rule("bound", "x", url, CREDENTIALS + 'redirect_uris = ["https://app.example/"]\n'),
        # Nothing listens on port 9.
        tokens_rule("userinfo", url, "away", 'profile_url = "http://127.0.0.1:9/userinfo"\n'),
        rule("no-secret", "github", url, CREDENTIALS.replace("PROVIDER", "WRONG")),
        rule("no-secret-2", "facebook", url, CREDENTIALS.replace("PROVIDER", "WRONG")),
        rule("no-secret-3", "introspection", url, CREDENTIALS.replace("PROVIDER", "WRONG") + BINDING["introspection"]),
        f'\n[[exchange]]\nname = "jwt"\nclients = ["app", "one"]\nprovider = "jwt"\n{LIMITS}once = false\n'
        + trust(more=', audiences = ["api://theirs"]'),
    ]
    clients = [client("app", more=ENTRY), client("one", more=ENTRY)]
    return lasting_authority(configuration(*clients, *rules), env=ENVIRONMENT | {"WRONG_SECRET": "not-the-secret"})


def issue(providers, preset, **rest):
    return providers.token(**({"scopes": SCOPES.get(preset, ("read", "tweet.read"))} | rest))


def about(providers, token):
    """The requests so far with a token in them, by path."""
    return [one["path"] for one in providers.asked() if token in json.dumps(one)]


# What is taken


@pytest.mark.parametrize("preset", PRESETS)
def test_a_token_of_our_application_is_worth_one_of_ours_about_the_providers_subject(server, providers, preset):
    user = User(id="12345678901234567890123", username="renamed")
    claims = minted(ask(server, issue(providers, preset, user=user), preset, scope="read"))
    assert claims["sub"] == f"{preset}:12345678901234567890123", "digit by digit, and not the name"
    assert claims["client_id"] == "app" and claims["scope"] == "read" and claims["aud"] == "api://default"
    assert claims["exp"] - claims["iat"] <= 600


@pytest.mark.parametrize("preset", PRESETS)
def test_each_place_is_asked_once_and_the_token_goes_nowhere_else(server, providers, preset):
    token = issue(providers, preset)
    for _ in range(3):
        minted(ask(server, token, preset))
    places = [path for key, path in PLACES[preset].items() if key != "token_url"]
    assert about(providers, token) == places


def test_it_never_lives_longer_than_the_token_where_the_provider_says_when_that_ends(server, providers):
    for preset in ("github", "google", "facebook", "introspection"):
        token = issue(providers, preset, lifetime=120)
        claims = minted(ask(server, token, preset))
        assert claims["exp"] <= providers.tokens[token].ends + 1, preset


def test_the_scopes_of_an_authorization_server_bound_what_can_be_asked_for_and_those_of_an_api_do_not(server, providers):
    token = issue(providers, "introspection", scopes=("read",))
    assert minted(ask(server, token, "introspection", scope="read"))["scope"] == "read"
    refused(ask(server, token, "introspection", scope="write"), 400, "invalid_scope")
    refused(ask(server, issue(providers, "introspection", scopes=()), "introspection", scope="read"), 400, "invalid_scope")
    assert minted(ask(server, issue(providers, "github", scopes=()), "github", scope="write"))["scope"] == "write"


def test_many_who_show_one_token_at_once_make_one_request(server, providers):
    release = threading.Event()

    def held(text):
        assert release.wait(60)
        return text

    token = issue(providers, "kept", scopes=SCOPES["x"], fault={"profile": held})
    with ThreadPoolExecutor(24) as pool:
        answers = [pool.submit(ask, server, token, "kept") for _ in range(24)]
        until_asked(providers, token)
        release.set()
        for answer in answers:
            minted(answer.result())
    assert about(providers, token) == ["/2/users/me"]


def until_asked(providers, token):
    until(lambda: about(providers, token), "the provider is asked")


def test_an_answer_is_kept_for_the_time_the_rule_says(server, providers):
    user = User(id="1")
    token = issue(providers, "x", user=user)
    assert minted(ask(server, token, "kept"))["sub"] == "kept:1" and minted(ask(server, token, "now"))["sub"] == "now:1"
    user.id = "2"
    assert minted(ask(server, token, "kept"))["sub"] == "kept:1", "the profile of before"
    assert minted(ask(server, token, "now"))["sub"] == "now:2", "the changed profile"


def test_refusals_are_kept_shortly(server, providers):
    token = "opaque_that-nobody-has-issued"
    for _ in range(10):
        refused(ask(server, token, "github"), 400, "invalid_request")
    assert len(about(providers, token)) < 10


def profiled(providers, preset, claims, **rest):
    """A client with this rule alone, whose tokens have claims of the profile, and are refreshed."""
    entry = ENTRY.replace('grants = ["', 'grants = ["refresh_token", "') + 'claims = { allow = ["*"] }\n'
    claims = "refresh = true\nclaims = { " + ", ".join(f'{name} = "{text}"' for name, text in claims.items()) + " }\n"
    return configuration(client("app", more=entry), tokens_rule(preset, providers.url, claims=claims, **rest))


def test_the_profile_reaches_the_claims_with_its_types_and_stays_when_they_are_refreshed(authority, providers):
    wanted = {"name": "claims.name", "login": "claims.login", "id": "claims.id", "site_admin": "claims.site_admin",
              "plan": "claims.plan", "company": "claims.company"}
    server = authority(profiled(providers, "github", wanted), env=ENVIRONMENT)
    token = issue(providers, "github")
    answer = ask(server, token, scope="read")
    expected = {"name": "Alice Example", "login": "alice", "id": 2244994945, "site_admin": False, "plan": {"space": 400}}

    def of_profile(claims):
        return {name: claims[name] for name in wanted if name in claims}

    assert of_profile(minted(answer)) == expected, "and what is null is left out"
    body = urlencode({"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]})
    assert of_profile(minted(send(server, body, basic("app")))) == expected
    assert about(providers, token) == ["/applications/our-application/token", "/user"], "the provider is asked for the first alone"


def test_a_changed_profile_is_seen_when_the_kept_one_is_too_old(authority, providers):
    wanted, user = {"name": "claims.name", "id": "claims.id"}, User(id="77")
    for keep, name in (("5m", "Alice Example"), ("0s", "Alice Changed")):
        server = authority(profiled(providers, "x", wanted, more=f'cache = "{keep}"\n'), env=ENVIRONMENT)
        user.name = "Alice Example"
        token = issue(providers, "x", user=user)
        assert minted(ask(server, token))["name"] == "Alice Example"
        user.name = "Alice Changed"
        claims = minted(ask(server, token))
        assert (claims["name"], claims["id"]) == (name, "77")


def test_a_condition_is_about_the_profile(authority, providers):
    when = """when = 'claims.email_verified == true && claims.email.endsWith("@example.com")'\n"""
    rule = tokens_rule("google", providers.url, claims=when)
    server = authority(configuration(client("app", more=ENTRY), rule), env=ENVIRONMENT)
    minted(ask(server, issue(providers, "google")))
    for user, fault in ((User(email="mallory@example.org"), {}), (User(), {"profile": lambda text: text.replace("true", "false")})):
        refused(ask(server, issue(providers, "google", user=user, fault=fault)), 400, "invalid_request", "when")


# Whose token it is


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset != "x"])
def test_a_token_of_another_application_is_worth_nothing(server, providers, preset):
    token = issue(providers, preset, application="another-application")
    answer = ask(server, token, preset)
    refused(answer, 400, "invalid_request")
    assert token.encode() not in answer.body


@pytest.mark.parametrize("preset", ["github", "google", "facebook", "introspection", "userinfo"])
def test_the_application_that_a_provider_names_is_compared_and_has_to_be_there(server, providers, preset):
    """Whatever the provider thinks of the token itself."""
    endpoint = "profile" if preset == "userinfo" else "check"
    other = issue(providers, preset, fault={endpoint: lambda text: text.replace('"our-application"', '"our-application2"')})
    refused(ask(server, other, preset), 400, "invalid_request", "another application")
    nobody = issue(providers, preset, fault={endpoint: lambda text: text.replace('"our-application"', "null")})
    refused(ask(server, nobody, preset), 400, "invalid_request", "does not say for which application")


def test_x_takes_no_bare_token_unless_that_is_given_up_by_name_and_asks_nobody(server, providers):
    token = issue(providers, "x")
    refused(ask(server, token, "bound"), 400, "invalid_request", "send the authorization code instead")
    assert about(providers, token) == []
    minted(ask(server, issue(providers, "x", application="another-application"), "x"))


def test_other_applications_are_taken_where_the_rule_names_them(server, providers):
    token = issue(providers, "google", application="another-application")
    refused(ask(server, token, "google"), 400, "invalid_request", "another application")
    assert minted(ask(server, token, "family"))["sub"] == "family:2244994945"


def test_introspection_is_bound_by_application_and_audience_compared_exactly(server, providers):
    def token(**rest):
        return issue(providers, "introspection", **rest)

    assert minted(ask(server, token(application="another-application"), "audience"))["sub"] == "audience:2244994945"
    refused(ask(server, token(), "other-audience"), 400, "invalid_request", "another application")
    refused(ask(server, token(), "both"), 400, "invalid_request", "another application")
    yes = token(fault={"check": lambda text: text.replace('"x"', '"y"')})
    assert minted(ask(server, yes, "both"))["sub"] == "both:alice"
    nothing = token(fault={"check": lambda text: text.replace('"aud"', '"not_aud"')})
    refused(ask(server, nothing, "audience"), 400, "invalid_request", "does not say for which application")


def test_a_scope_that_the_rule_requires_has_to_be_there(server, providers):
    minted(ask(server, issue(providers, "github", scopes=("repo", "gist")), "repo"))
    for scopes in ((), ("public_repo",)):
        token = issue(providers, "github", scopes=scopes)
        refused(ask(server, token, "repo"), 400, "invalid_request", "require_scopes")
        assert "/user" not in about(providers, token)


def test_a_token_is_shown_to_the_provider_it_is_said_to_be_of_and_to_no_other(server, providers):
    """A client with several providers says which; what could be a JWT goes to none by itself."""
    token = issue(providers, "github")
    refused(ask(server, token), 400, "invalid_request", "subject_issuer")
    refused(ask(server, token, "nobody"), 400, "invalid_request", "subject_issuer")
    refused(ask(server, token, "alone"), 400, "invalid_request", "subject_issuer")
    assert about(providers, token) == []
    assert minted(ask(server, token, id="one"))["sub"] == "alone:2244994945"
    jwt = ALICE.sign("api://theirs", iss="https://login.example")
    assert minted(ask(server, jwt, id="one"))["sub"] == "jwt:alice"
    for wrong in (ALICE.sign("api://default", iss="https://login.example"), ALICE.sign("api://theirs", iss="https://nobody.example")):
        refused(ask(server, wrong, id="one"), 400, "invalid_request")
        assert about(providers, wrong) == []
        refused(ask(server, wrong, "alone", id="one"), 400, "invalid_request", "a JWT")
        assert about(providers, wrong) == [], "and GitHub gives none"
        refused(ask(server, wrong, "introspection"), 400, "invalid_request", "does not accept it")
        assert about(providers, wrong) == ["/introspect"], "but others do"


def test_secrets_and_tokens_of_our_own_go_to_no_provider(server, providers):
    own = ask(server, issue(providers, "github"), "github").json()["access_token"]
    before = len(providers.asked())
    over = server.run("sign", "--lifetime", "6s", "--claims", '{"sub":"alice"}', "--audience", "api://default").stdout.strip()
    until(lambda: json.loads(wire.claims(over))["exp"] < time.time(), "it has expired")
    for text in (own, over, own[:-8] + "AAAAAAAA", "csref_" + "A" * 60, "cssec_" + "A" * 43):
        for rule in ("github", "introspection", "userinfo"):
            refused(ask(server, text, rule), 400, "invalid_request", "of this issuer")
            refused(redeem(server, text, rule), 400, "invalid_request", "of this issuer")
    assert len(providers.asked()) == before


@pytest.mark.parametrize("member, value", [
    ("token_type", "refresh_token"), ("token_type", "N_A"), ("token_type", None), ("typ", "Refresh"), ("typ", "Offline"), ("typ", "ID"),
    ("token_use", "refresh_token"), ("token_use", "id"),
])
def test_what_an_authorization_server_says_is_another_kind_of_token_is_refused(server, providers, member, value):
    token = issue(providers, "introspection", fault={"check": lambda text: json.dumps(json.loads(text) | {member: value})})
    refused(ask(server, token, "introspection"), 400, "invalid_request", "an access token")


@pytest.mark.parametrize("member, value", [("token_type", "bearer"), ("typ", "Bearer"), ("token_use", "access_token")])
def test_what_it_says_is_an_access_token_is_taken(server, providers, member, value):
    token = issue(providers, "introspection", fault={"check": lambda text: json.dumps(json.loads(text) | {member: value})})
    minted(ask(server, token, "introspection"))


def test_what_it_says_is_bound_to_a_key_is_taken_with_a_proof_of_it_alone(server, providers):
    holder = Holder()

    def show(bound, proof=None):
        token = issue(providers, "introspection", fault={"check": lambda text: json.dumps(json.loads(text) | bound)})
        form = {"grant_type": GRANT, "subject_token": token, "subject_token_type": TYPE + "access_token", "subject_issuer": "introspection"}
        return send(server, form, basic("app") | ({"DPoP": proof.proof(f"{server.issuer}/token")} if proof else {}))

    dpop = {"token_type": "DPoP", "cnf": {"jkt": holder.jkt}}
    for proof in (None, Holder()):
        refused(show(dpop, proof), 400, "invalid_request", "bound to a key")
        refused(show({"cnf": {"jkt": holder.jkt}}, proof), 400, "invalid_request", "bound to a key")
    refused(show({"token_type": "DPoP"}, holder), 400, "invalid_request", "an access token")
    assert minted(show(dpop, holder))["cnf"] == {"jkt": holder.jkt}


@pytest.mark.parametrize("kind", ["PAGE", "APP", None])
def test_facebook_has_tokens_of_pages_and_applications_too(server, providers, kind):
    token = issue(providers, "facebook", fault={"check": lambda text: text.replace('"USER"', json.dumps(kind))})
    refused(ask(server, token, "facebook"), 400, "invalid_request", "an access token")


@pytest.mark.parametrize("member", ["aud", "azp"])
@pytest.mark.parametrize("value", ["another-application", ["our-application"]])
def test_both_applications_that_google_names_are_ours(server, providers, member, value):
    token = issue(providers, "google", fault={"check": lambda text: json.dumps(json.loads(text) | {member: value})})
    refused(ask(server, token, "google"), 400, "invalid_request", "another application")


def test_a_comma_is_a_character_of_a_scope(server, providers):
    def comma(text):
        return json.dumps(json.loads(text) | {"scope": "read,write"})

    token = issue(providers, "introspection", fault={"check": comma})
    refused(ask(server, token, "introspection", scope="read"), 400, "invalid_scope")


def test_a_family_ends_when_what_its_rule_demands_of_the_provider_changes(world, providers):
    entry = ENTRY.replace('grants = ["', 'grants = ["refresh_token", "')

    def configured(more="", lifetime="2m", applications=("our-application", "b"), **rest):
        limits = LIMITS.replace("10m", lifetime) + "refresh = true\n"
        source = CREDENTIALS + f"applications = {json.dumps(list(applications))}\n{more}"
        return CONFIG + client("app", more=entry) + rule("p", "introspection", providers.url, source, limits=limits, **rest)

    class Here:
        pass

    port = world.configure(configured())
    world.environment |= ENVIRONMENT
    server = world.serve()
    Here.issuer = server.printed["issuer"]
    token = ask(Here, issue(providers, "introspection"), scope="read").json()["refresh_token"]
    url = providers.url
    for changed, lifetime in [
        (configured(applications=["our-application"]), None),
        (configured('audiences = ["https://api.theirs.example"]\n'), None),
        (configured('require_scopes = ["read"]\n'), None),
        (configured('subject = "username"\n'), None),
        (configured(f'check_url = "{url}/other"\n'), None),
        (configured().replace('client_id = "our-', 'client_id = "another-'), None),
        # The order means nothing, and what is granted later is not what was granted.
        (configured(applications=["b", "our-application"], lifetime="4m"), 120),
        (configured(lifetime="1m"), 60),
    ]:
        server.kill()
        server.wait()
        world.configure(changed, port)
        server = world.serve()
        answer = send(Here, {"grant_type": "refresh_token", "refresh_token": token}, basic("app"))
        if lifetime is None:
            refused(answer, 400, "unauthorized_client")
        else:
            claims = minted(answer)
            assert lifetime - 1 <= claims["exp"] - claims["iat"] <= lifetime + 1 and answer.json()["expires_in"] <= lifetime
            token = answer.json()["refresh_token"]


@pytest.mark.parametrize("kind", ["jwt", "id_token", "refresh_token"])
def test_an_opaque_token_is_an_access_token(server, providers, kind):
    token = issue(providers, "github")
    refused(ask(server, token, "github", subject_token_type="urn:ietf:params:oauth:token-type:" + kind), 400, "invalid_request")
    assert about(providers, token) == []


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "é", "x" * 4097])
def test_what_cannot_be_a_token_is_shown_to_nobody(server, providers, token):
    before = len(providers.asked())
    refused(ask(server, token, "github"), 400, "invalid_request")
    assert len(providers.asked()) == before


# What providers do

#: Temporary, or refused; and the seconds that are passed on.
BAD = {
    "429": (429, "10"),
    "429 after 7": (429, "7"),
    "429 after a year": (429, "900"),
    "403 after 9": (429, "9"),
    "500": (503, None),
    "503 after 11": (503, "11"),
    "302": (503, None),
    "html": (503, None),
    "html 403": (503, None),
    "text": (503, None),
    "huge": (503, None),
    "duplicate": (503, None),
    "not json": (503, None),
    "a list": (503, None),
    "closed": (503, None),
}
ERRORS = {400: "invalid_request", 429: "slow_down", 503: "temporarily_unavailable"}


@pytest.mark.parametrize("preset, endpoint", ENDPOINTS)
def test_a_provider_that_misbehaves_is_not_believed_and_its_limits_are_passed_on(server, providers, preset, endpoint):
    found = {}
    for fault in BAD:
        token = issue(providers, preset, fault={endpoint: fault})
        answer = ask(server, token, preset)
        found[fault] = (answer.status, answer.headers["retry-after"])
        assert answer.status == 200 or answer.json()["error"] == ERRORS[answer.status], fault
        assert token.encode() not in answer.body and SECRET.encode() not in answer.body, fault
    assert found == BAD
    assert providers.asked("/elsewhere") == [], "no redirect is followed"


@pytest.mark.parametrize("preset, endpoint", ENDPOINTS)
def test_an_answer_that_says_nothing_is_not_believed(server, providers, preset, endpoint):
    answer = ask(server, issue(providers, preset, fault={endpoint: "nothing"}), preset)
    assert answer.status in (400, 503), answer


def test_the_end_of_a_window_is_passed_on_as_seconds(server, providers):
    answer = ask(server, issue(providers, "x", fault={"profile": "429 window"}), "x")
    assert answer.status == 429 and 200 < int(answer.headers["retry-after"]) <= 300, answer


def test_a_limit_is_kept_for_as_long_as_the_provider_says(server, providers):
    token = issue(providers, "x", fault={"profile": "429 after a year"})
    for _ in range(3):
        assert ask(server, token, "x").status == 429
    assert about(providers, token) == ["/2/users/me"]


def test_facebook_says_in_its_body_what_kind_of_error_it_is(server, providers):
    for endpoint in ("check", "profile"):
        assert ask(server, issue(providers, "facebook", fault={endpoint: "Graph 4"}), "facebook").status == 429
        assert ask(server, issue(providers, "facebook", fault={endpoint: "Graph 2"}), "facebook").status == 503


def test_slow_and_dripping_providers_are_given_up_on(server, providers):
    faults = [(preset, {endpoint: fault}) for preset, endpoint in ENDPOINTS for fault in ("slow", "drip")]
    with ThreadPoolExecutor(len(faults)) as pool:
        answers = [pool.submit(ask, server, issue(providers, preset, fault=fault), preset) for preset, fault in faults]
        for answer in answers:
            refused(answer.result(), 503, "temporarily_unavailable", "no complete answer within 4 s")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_token_that_has_expired_or_was_never_issued_is_refused(server, providers, preset):
    for token in (issue(providers, preset, lifetime=-5), "opaque_never-issued"):
        answer = ask(server, token, preset)
        refused(answer, 400, "invalid_request")
        assert token.encode() not in answer.body


@pytest.mark.parametrize("preset, member", [("facebook", "is_valid"), ("introspection", "active")])
@pytest.mark.parametrize("value", ["false", "null", "1", '"true"'])
def test_only_true_is_a_token_that_is_valid(server, providers, preset, member, value):
    """Whatever else the answer says."""
    token = issue(providers, preset, fault={"check": lambda text: text.replace(f'"{member}": true', f'"{member}": {value}')})
    answer = ask(server, token, preset)
    assert answer.status in (400, 503), answer
    if value == "false":
        refused(answer, 400, "invalid_request", "does not accept it")


@pytest.mark.parametrize("preset, key", [("google", "exp"), ("facebook", "expires_at"), ("introspection", "exp")])
def test_an_end_that_is_missing_or_over_is_not_passed_over(server, providers, preset, key):
    def without(text):
        return text.replace(f'"{key}"', '"other"')

    def over(text):
        return json.dumps(shift(json.loads(text)))

    def shift(body):
        inner = body.get("data", body)
        inner[key] = 1_600_000_000
        return body

    refused(ask(server, issue(providers, preset, fault={"check": without}), preset), 400, "invalid_request", "when it expires")
    refused(ask(server, issue(providers, preset, fault={"check": over}), preset), 400, "invalid_request", "has expired")


def test_facebooks_tokens_that_never_end_are_taken_for_as_long_as_the_rule_says(server, providers):
    """`expires_at` is 0 for those of some applications, and for those of users that last."""
    def change(text):
        body = json.loads(text)
        return json.dumps({"data": body["data"] | {"expires_at": 0}})

    claims = minted(ask(server, issue(providers, "facebook", fault={"check": change}), "facebook"))
    assert 599 <= claims["exp"] - claims["iat"] <= 601
    for at in ("1", '"0x"', "null", "-1", "0.0"):
        wrong = issue(providers, "facebook", fault={"check": lambda text, at=at: re.sub(r'"expires_at": \d+', f'"expires_at": {at}', text)})
        refused(ask(server, wrong, "facebook"), 400, "invalid_request")


@pytest.mark.parametrize("preset", ["github", "google", "facebook"])
def test_check_and_profile_are_about_one_subject(server, providers, preset):
    token = issue(providers, preset, fault={"profile": lambda text: text.replace("2244994945", "2244994946")})
    refused(ask(server, token, preset), 400, "invalid_request", "different subjects")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("value", ["1.5", "1e3", "-1", "true", "null", "[1]", '""', '" "', '"a\\u0000b"', '"' + "x" * 256 + '"'])
def test_a_subject_is_a_name_or_a_whole_number(server, providers, preset, value):
    endpoint = "check" if preset == "introspection" else "profile"

    def changed(text):
        return text.replace('"2244994945"', value).replace(": 2244994945", f": {value}").replace(":2244994945", f":{value}")

    token = issue(providers, preset, fault={endpoint: changed})
    refused(ask(server, token, preset), 400, "invalid_request")


def test_a_token_without_the_scope_for_its_profile_is_refused(server, providers):
    refused(ask(server, issue(providers, "x", scopes=()), "x"), 400, "invalid_request", "may not read the profile")
    refused(ask(server, issue(providers, "google", scopes=()), "google"), 400, "invalid_request")


@pytest.mark.parametrize("name, preset", [("no-secret", "github"), ("no-secret-3", "introspection")])
def test_an_application_that_the_provider_does_not_know_is_the_operators_to_mend(server, providers, name, preset):
    refused(ask(server, issue(providers, preset), name), 503, "temporarily_unavailable", "client_id and client_secret")


def test_facebook_does_not_say_whose_token_is_wrong_so_neither_is_taken(server, providers):
    assert ask(server, issue(providers, "facebook"), "no-secret-2").status in (400, 503)


def test_a_provider_that_is_not_there_is_unavailable(server, providers):
    answer = ask(server, issue(providers, "userinfo"), "away")
    refused(answer, 503, "temporarily_unavailable", "its profile_url could not be reached; the log has the reason")
    [event] = [event for event in server.audit if event["request_id"] == answer.headers["x-request-id"]]
    said = event["reason"].split("could not be reached: ")[1]
    assert said and said not in answer.json()["error_description"], "what the network said is in the log"


def test_over_https_a_certificate_that_nobody_vouches_for_ends_it_before_anything_is_sent(authority, tmp_path):
    ca, ca_key, certificate, key = (tmp_path / name for name in ("ca.pem", "ca.key", "localhost.pem", "localhost.key"))
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl(*new, "-subj", "/CN=a CA of this test", "-out", ca, "-keyout", ca_key)
    openssl(*new, "-subj", "/CN=localhost", "-CA", ca, "-CAkey", ca_key, "-addext", "subjectAltName=DNS:localhost",
            "-addext", "basicConstraints=critical,CA:FALSE", "-out", certificate, "-keyout", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with served(context) as providers:
        port = providers.server_address[1]
        rules = tokens_rule("github", f"https://localhost:{port}") + tokens_rule("github", f"https://127.0.0.1:{port}", "other-name")
        text = configuration(client("app", more=ENTRY), rules)
        token = issue(providers, "github")
        refused(ask(authority(text, env=ENVIRONMENT), token, "github"), 503, "temporarily_unavailable", "could not be reached")
        assert providers.asked() == []
        trusting = authority(text, env=ENVIRONMENT | {"SSL_CERT_FILE": str(ca)})
        refused(ask(trusting, token, "other-name"), 503, "temporarily_unavailable", "could not be reached")
        assert providers.asked() == []
        assert minted(ask(trusting, token, "github"))["sub"] == "github:2244994945"


def test_nothing_that_was_shown_or_is_secret_is_in_the_log(server, providers):
    ask(server, issue(providers, "facebook", fault={"check": "closed"}), "facebook")
    log = server.log
    for secret in [SECRET, "not-the-secret", *providers.tokens]:
        assert secret not in log


# What does not start

BASE = CONFIG + client("app", more=ENTRY)
HTTPS = 'check_url = "https://login.example/introspect"\n'
UPSTREAM = {
    "an unknown preset": ("twitter", "", "preset", "there is x, github"),
    "no application": ("github", "", "client_id", "is missing"),
    "no secret": ("github", 'client_id = "a"\n', "client_secret", "is missing"),
    "a secret in the configuration": ("github", f'client_id = "a"\nclient_secret = "{wire.MARK}"\n', "client_secret", "env:NAME"),
    "a secret that is not there": ("github", 'client_id = "a"\nclient_secret = "env:NO_SUCH_VARIABLE"\n', "client_secret", "not set"),
    "X without codes": ("x", "", "redirect_uris", "take authorization codes"),
    "userinfo that binds nothing": ("userinfo", 'profile_url = "https://login.example/me"\n', "redirect_uris", "binding"),
    "userinfo bound to nothing": ("userinfo", 'profile_url = "https://login.example/me"\nbinding = { azp = [] }\n', "binding", "no value"),
    "introspection of any application": ("introspection", CREDENTIALS + HTTPS, "applications", "every application"),
    "introspection of nowhere": ("introspection", CREDENTIALS + 'applications = ["a"]\n', "check_url", "is missing"),
    "codes of nowhere": ("userinfo", CREDENTIALS + 'redirect_uris = ["https://a.example/"]\nprofile_url = "https://login.example/me"\n',
        "token_url", "is missing"),
    "plain http": ("introspection", CREDENTIALS + 'applications = ["a"]\ncheck_url = "http://login.example/i"\n', "check_url", "https only"),
    "a password in a URL": ("introspection", CREDENTIALS + 'applications = ["a"]\ncheck_url = "https://a:b@login.example/i"\n', "check_url", "client_secret"),
    "a query in a URL": ("introspection", CREDENTIALS + 'applications = ["a"]\ncheck_url = "https://login.example/i?a=b"\n', "check_url", "parameters"),
    "Google for anybody": ("google", "", "client_id", "is missing"),
    "a setting without effect": ("github", CREDENTIALS + 'audiences = ["a"]\n', "audiences", "has no effect"),
    "a secret without effect": ("google", CREDENTIALS, "client_secret", "has no effect"),
    "a token_url without effect": ("github", CREDENTIALS + 'token_url = "https://a.example/"\n', "token_url", "has no effect"),
    "giving up what is proven": ("google", 'client_id = "a"\ndangerously_accept_any_application = true\n', "dangerously_accept_any_application", "has no effect"),
    "scopes that nobody says": ("x", 'dangerously_accept_any_application = true\nrequire_scopes = ["a"]\n', "require_scopes", "does not say"),
    "a redirect_uri that is none": ("github", CREDENTIALS + 'redirect_uris = ["callback"]\n', "redirect_uris", "absolute URI"),
    "a field with a comma": ("facebook", CREDENTIALS + 'fields = ["name,email"]\n', "fields", "not a field"),
    "an answer kept for an hour": ("github", CREDENTIALS + 'cache = "1h"\n', "cache", "longer than"),
}


@pytest.mark.parametrize("name", UPSTREAM)
def test_what_takes_too_much_or_could_take_nothing_does_not_start(world, name):
    preset, more, setting, says = UPSTREAM[name]
    world.configure(BASE + f'\n[[exchange]]\nclients = ["app"]\nprovider = "p"\n{LIMITS}[exchange.upstream]\npreset = "{preset}"\n{more}')
    world.environment |= ENVIRONMENT
    why = world.fails(78, says, "config", "check")
    assert f"upstream.{setting}" in why and wire.MARK not in why


@pytest.mark.parametrize("limits, setting, says", [
    (LIMITS.replace('max_lifetime = "10m"\n', ""), "max_lifetime", "not every provider says"),
    (LIMITS + "once = true\n", "once", "no effect"),
    (LIMITS + 'mode = "audit"\n', "exchange[2].mode", "cannot be `audit`"),
    (LIMITS.replace("token-exchange", "jwt-bearer").replace("impersonate = true\n", ""), "grants", "token-exchange"),
    (LIMITS + trust(), "trust", "upstream"),
])
def test_a_rule_with_a_provider_has_a_lifetime_no_other_source_and_is_no_audit(world, limits, setting, says):
    entry = ENTRY.replace('grants = ["', 'grants = ["urn:ietf:params:oauth:grant-type:jwt-bearer", "')
    more = f'\n[[exchange]]\nclients = ["app"]\nprovider = "p"\n{LIMITS}{trust()}'
    more += f'\n[[exchange]]\nclients = ["app"]\nprovider = "p"\ngrants = ["urn:ietf:params:oauth:grant-type:jwt-bearer"]\n{trust()}'
    more += f'\n[[exchange]]\nname = "up"\nclients = ["app"]\nprovider = "p"\n{limits}[exchange.upstream]\npreset = "github"\n{CREDENTIALS}'
    world.configure(CONFIG + client("app", more=entry) + more)
    world.environment |= ENVIRONMENT
    why = world.fails(78, says, "config", "check")
    assert setting in why
