"""Authorization codes of providers as subject tokens: Countersign redeems them itself, so that the token is bound.

X is the reason: nothing says for which application a token of X was issued.
"""

import base64
import json
import time

import pytest
from e2e import provided
from e2e.program import CONFIG
from e2e.provided import (CODE, CODES, CREDENTIALS, ENTRY, ENVIRONMENT, GRANT, PLACES, SCOPES, SECRET, VERIFIER, ask, client, codes_rule,
                          configuration, served, tokens_rule)
from e2e.test_jwt_bearer import minted
from e2e.test_token import refused, send
from servers.providers import APPLICATION, REDIRECT

PRESETS = list(PLACES)
OTHER_REDIRECT = "https://app.example/callback?a=1"


@pytest.fixture(scope="module")
def providers():
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def server(lasting_authority, providers):
    url = providers.url
    rules = [codes_rule(preset, url, clients=[of(preset)]) for preset in PRESETS]
    rules += [
        codes_rule("x", url, "wrong", clients=["wrong"]).replace("PROVIDER_SECRET", "WRONG_SECRET"),
        codes_rule("github", url, "wrong-github", clients=[of("github")]).replace("PROVIDER_SECRET", "WRONG_SECRET"),
        codes_rule("x", url, "offline", 'require_scopes = ["users.read", "offline.access"]\n'),
    ]
    clients = [client(id, more=ENTRY) for id in ["wrong", *map(of, PRESETS)]]
    return lasting_authority(configuration(*clients, *rules), env=ENVIRONMENT | {"WRONG_SECRET": "not-the-secret"})


def of(rule):
    """The client of a rule: one receives codes of one provider at an address."""
    return next((f"app-{preset}" for preset in PRESETS if rule and preset != "x" and preset in rule), "app")


def redeem(server, code, issuer=None, id=None, **parameters):
    return provided.redeem(server, code, issuer, id or of(issuer), **parameters)


def issue(providers, preset, **rest):
    return providers.code(VERIFIER, **({"scopes": SCOPES.get(preset, ("read",))} | rest))


def requests(providers, before):
    return [one["path"] for one in providers.asked()[before:]]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_code_is_redeemed_by_us_and_the_profile_read_once(server, providers, preset):
    before = len(providers.asked())
    answer = redeem(server, issue(providers, preset), f"{preset}-code", scope="read")
    claims = minted(answer)
    assert claims["sub"] == f"{preset}-code:2244994945" and claims["scope"] == "read"
    assert answer.json()["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert "refresh_token" not in answer.json()
    places = PLACES[preset]
    assert requests(providers, before) == [places["token_url"], places["profile_url" if preset != "introspection" else "check_url"]]


def test_the_request_is_that_of_a_confidential_client_with_pkce(server, providers):
    code = issue(providers, "x")
    minted(redeem(server, code, "x-code"))
    request = next(one for one in providers.asked("/2/oauth2/token") if one["form"].get("code") == code)
    credentials = base64.b64encode(f"{APPLICATION}:{SECRET}".encode()).decode()
    assert request["headers"]["authorization"] == f"Basic {credentials}"
    assert request["form"] == {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT,
                               "code_verifier": VERIFIER, "client_id": APPLICATION}


@pytest.mark.parametrize("preset", PRESETS)
def test_each_code_is_taken_once_even_if_the_provider_forgets(server, providers, preset):
    code = issue(providers, preset)
    minted(redeem(server, code, f"{preset}-code"))
    refused(redeem(server, code, f"{preset}-code"), 400, "invalid_request")
    providers.codes[code].used = False
    refused(redeem(server, code, f"{preset}-code"), 400, "invalid_request", "used before")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_code_of_another_application_address_or_verifier_is_worth_nothing(server, providers, preset):
    name = f"{preset}-code"
    for code, parameters in [
        (issue(providers, preset, application="another-application"), {}),
        (issue(providers, preset, redirect_uri=OTHER_REDIRECT), {}),
        (issue(providers, preset), {"code_verifier": VERIFIER + "x"}),
        ("code_nobody-has-issued", {}),
    ]:
        answer = redeem(server, code, name, **parameters)
        refused(answer, 400, "invalid_request")
        assert code.encode() not in answer.body
    minted(redeem(server, issue(providers, preset, redirect_uri=OTHER_REDIRECT), name, redirect_uri=OTHER_REDIRECT))


@pytest.mark.parametrize("parameters, says", [
    ({"code_verifier": None}, "code_verifier"),
    ({"redirect_uri": None}, "redirect_uri"),
    ({"code_verifier": VERIFIER[:42]}, "43 to 128"),
    ({"code_verifier": "x" * 129}, "43 to 128"),
    ({"code_verifier": VERIFIER + " "}, "43 to 128"),
    ({"redirect_uri": REDIRECT + "/"}, "redirect_uris"),
    ({"redirect_uri": REDIRECT.upper()}, "redirect_uris"),
    ({"subject_issuer": None}, "subject_issuer"),
])
def test_what_cannot_be_a_request_of_ours_spends_nothing(server, providers, parameters, says):
    code, before = issue(providers, "x"), len(providers.asked())
    refused(redeem(server, code, "x-code", **parameters), 400, "invalid_request", says)
    refused(redeem(server, code, "x-code", scope="a  b"), 400, "invalid_scope")
    assert len(providers.asked()) == before
    minted(redeem(server, code, "x-code"))


def test_a_token_is_no_code_and_a_code_no_token(server, providers):
    token = providers.token()
    refused(redeem(server, token, "x-code"), 400, "invalid_request")
    refused(ask(server, token, "x-code"), 400, "invalid_request", "send the authorization code")
    refused(ask(server, issue(providers, "github"), "github-code", of("github")), 400, "invalid_request")
    # Those of a rule that takes codes are checked like any other.
    assert minted(ask(server, providers.token(), "github-code", of("github")))["sub"] == "github-code:2244994945"
    refused(ask(server, providers.token(application="another-application"), "github-code", of("github")), 400, "invalid_request")


def test_a_limit_at_the_token_endpoint_spends_no_code(server, providers):
    code = issue(providers, "x", fault={"token": "429 after 1"})
    answer = redeem(server, code, "x-code")
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    providers.codes[code].token.fault.clear()
    while (answer := redeem(server, code, "x-code")).status == 429:
        time.sleep(int(answer.headers["retry-after"]))
    minted(answer)


def test_a_provider_is_left_alone_with_a_code_for_as_long_as_it_says(server, providers):
    code = issue(providers, "x", fault={"token": "429 after a year"})
    before = len(providers.asked())
    for _ in range(3):
        answer = redeem(server, code, "x-code")
        assert answer.status == 429 and 1 <= int(answer.headers["retry-after"]) <= 900
    assert len(providers.asked()) == before + 1
    minted(redeem(server, issue(providers, "x"), "x-code"))


FAULTS = ["429", "500", "302", "html", "text", "huge", "duplicate", "not json", "a list", "nothing", "closed"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_token_endpoint_that_misbehaves_is_not_believed(server, providers, preset):
    for fault in FAULTS:
        code = issue(providers, preset, fault={"token": fault})
        answer = redeem(server, code, f"{preset}-code")
        assert answer.status == (429 if fault == "429" else 503), (fault, answer)
        assert code.encode() not in answer.body and SECRET.encode() not in answer.body
    assert providers.asked("/elsewhere") == []


@pytest.mark.parametrize("change", [
    lambda text: text.replace('"bearer"', '"mac"'),
    lambda text: text.replace('"access_token": "', '"access_token": "a b'),
    lambda text: text.replace('"access_token": "', '"access_token": "' + "x" * 4097),
    lambda text: text.replace("access_token", "token"),
])
def test_a_token_that_cannot_be_used_is_not(server, providers, change):
    code = issue(providers, "x", fault={"token": change})
    refused(redeem(server, code, "x-code"), 503, "temporarily_unavailable", "access_token")


@pytest.mark.parametrize("value", ['"soon"', "-1", "1.5", "[]", "99999999999999999999"])
def test_an_end_that_cannot_be_read_is_not_passed_over(server, providers, value):
    def changed(text):
        return text.replace(f'"expires_in": {json.loads(text)["expires_in"]}', f'"expires_in": {value}')

    refused(redeem(server, issue(providers, "x", fault={"token": changed}), "x-code"), 503, "temporarily_unavailable", "expires_in")


def test_commas_are_between_scopes_of_github_alone(authority, providers):
    def commas(text):
        return json.dumps(json.loads(text) | {"scope": "tweet.read,users.read"})

    more = 'require_scopes = ["users.read"]\n'
    x = authority(configuration(client("app", more=ENTRY), codes_rule("x", providers.url, "x", more)), env=ENVIRONMENT)
    code = providers.code(VERIFIER, scopes=SCOPES["x"], fault={"token": commas})
    refused(provided.redeem(x, code, "x"), 400, "invalid_request", "require_scopes")
    github = authority(configuration(client("app", more=ENTRY), codes_rule("github", providers.url, "github", more)), env=ENVIRONMENT)
    minted(provided.redeem(github, providers.code(VERIFIER, scopes=SCOPES["x"]), "github"))


def test_a_code_is_not_longer_than_a_token_may_be(server, providers):
    before = len(providers.asked())
    refused(redeem(server, "c" * 4097, "x-code"), 400, "invalid_request", "1 to 4096")
    assert len(providers.asked()) == before


def test_a_client_receives_codes_of_one_provider_at_an_address(world, providers):
    """Else somebody could have a code of one provider sent to another."""
    url, clients = providers.url, client("app", more=ENTRY) + client("other", more=ENTRY)
    others = tokens_rule("userinfo", url, clients=["other"])
    world.environment |= ENVIRONMENT
    for second in (codes_rule("github", url), codes_rule("x", url, "second", 'token_url = "https://other.example/token"\n')):
        world.configure(CONFIG + clients + codes_rule("x", url) + second + others)
        assert "exchange[1].upstream.redirect_uris" in world.fails(78, "could not tell them apart", "config", "check")
    for second in (codes_rule("github", url, clients=["other"]), codes_rule("x", url, "second"),
                   codes_rule("github", url).replace(CODES, CREDENTIALS + 'redirect_uris = ["https://app.example/github"]\n')):
        world.configure(CONFIG + clients + codes_rule("x", url) + second + others)
        world.done("config", "check")


def test_wrong_credentials_are_the_operators_to_mend(server, providers):
    refused(redeem(server, issue(providers, "x"), "wrong", "wrong"), 503, "temporarily_unavailable", "client_id and client_secret")
    refused(redeem(server, issue(providers, "github"), "wrong-github"), 503, "temporarily_unavailable", "client_id and client_secret")


def test_the_scopes_that_a_rule_requires_were_granted(server, providers):
    refused(redeem(server, issue(providers, "x"), "offline"), 400, "invalid_request", "offline.access")
    minted(redeem(server, issue(providers, "x", scopes=(*SCOPES["x"], "offline.access")), "offline"))


def test_what_is_minted_ends_before_the_providers_token(server, providers):
    code = issue(providers, "x", lifetime=120)
    claims = minted(redeem(server, code, "x-code"))
    assert claims["exp"] <= providers.codes[code].token.ends + 1


def test_a_rule_without_addresses_takes_no_code(authority, providers):
    one = authority(configuration(client("app", more=ENTRY), codes_rule("github", providers.url).replace(
        CODES, CREDENTIALS).replace('token_url', '#')), env=ENVIRONMENT)
    refused(redeem(one, issue(providers, "github")), 400, "invalid_request", "takes no authorization codes")


def test_a_public_client_exchanges_codes_and_could_not_exchange_tokens(world, authority, providers):
    """A code is taken once and from who has its verifier; a token from anyone who has seen it."""
    public = f'\n[[clients]]\nid = "spa"\nsecret_hashes = []\npublic = true\n{ENTRY}'
    one = authority(configuration(public, codes_rule("x", providers.url, clients=["spa"])), env=ENVIRONMENT)
    form = {"grant_type": GRANT, "client_id": "spa", "subject_token": issue(providers, "x"), "subject_token_type": CODE,
            "code_verifier": VERIFIER, "redirect_uri": REDIRECT}
    assert minted(send(one, form))["sub"] == "x-code:2244994945"
    refused(send(one, form), 400, "invalid_request")
    for rule in (codes_rule("github", providers.url, clients=["spa"]), tokens_rule("userinfo", providers.url, clients=["spa"]),
                 codes_rule("x", providers.url, more="dangerously_accept_any_application = true\n", clients=["spa"])):
        world.configure(CONFIG + public + rule)
        world.environment |= ENVIRONMENT
        world.fails(78, "takes codes alone", "config", "check")


def test_nothing_that_was_shown_or_is_secret_is_in_the_log(server, providers):
    redeem(server, issue(providers, "google", fault={"token": "closed"}), "google-code")
    log = server.log
    for secret in [SECRET, "not-the-secret", VERIFIER, *providers.codes, *providers.tokens]:
        assert secret not in log


def test_what_a_rule_makes_of_a_code_is_told_and_uses_it_up_at_the_provider(world, providers):
    """`exchange --explain` mints nothing; what a code is worth can only be known by redeeming it."""
    world.environment |= ENVIRONMENT
    world.configure(CONFIG + client("app", more=ENTRY) + codes_rule("x", providers.url))
    world.done("keys", "init")
    code = issue(providers, "x")
    (world.folder / "code").write_text(code + "\n")
    (world.folder / "verifier").write_text(VERIFIER + "\n")
    asked = ("exchange", "--explain", "--json", "--redirect-uri", REDIRECT, "--verifier", "verifier", "code")
    said = world.run(*asked)
    assert said.returncode == 0 and json.loads(said.stdout)["would_mint"]["sub"] == "x-code:2244994945", said.stdout + said.stderr
    assert code not in said.stdout + said.stderr and VERIFIER not in said.stdout + said.stderr
    said = world.run(*asked)
    assert said.returncode == 1 and json.loads(said.stdout)["would_mint"] is None, "the provider takes it once"
    # As a token it is none, and half of what a code needs is a mistake.
    assert world.run("exchange", "--explain", "code").returncode == 1
    for half in (("--redirect-uri", REDIRECT), ("--verifier", "verifier")):
        assert world.run("exchange", "--explain", *half, "code").returncode == 2, half
    shown = world.run("exchange", "--help").stdout
    assert "--redirect-uri" in shown and "takes it once" in " ".join(shown.split())
