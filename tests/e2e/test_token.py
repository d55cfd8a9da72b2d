"""`POST /token` by `client_credentials`: the token, every error RFC 6749 section 5.2 names, and what is on for whom.

The table `ERRORS` is the contract: a name, a request, the status and the error it gets.
"""

import base64
import json
import signal
from urllib.parse import quote, quote_plus, unquote_plus, urlencode

import jwt
import pytest
from e2e import wire
from e2e.program import CONFIG, SECRET, client, secret_hash, until
from e2e.wire import FORM, MARK

OTHER = "cssec_another-secret-that-only-these-tests-know-98765"
ODD = "cssec_ü +:%&=/"
GRANTED = 'grants = ["client_credentials"]\nprofiles = ["access_token"]\n'
AUDIENCES = 'audiences = ["api://default", "https://api.example/v1"]\n'
CLIENTS = [
    client("worker", more=GRANTED + AUDIENCES + 'scopes = ["read", "write:own"]\nmax_lifetime = "10m"\n'
           'claims = { fixed = { tenant = "t1" } }'),
    client("defaults", more=GRANTED + AUDIENCES + 'scopes = ["read", "write"]\ndefault_scope = ["read"]\n'),
    client("any-scope", more=GRANTED + AUDIENCES + 'scopes = ["*"]\n'),
    client("named", more=GRANTED + 'audiences = ["https://api.example/v1#f", "v1"]\n'),
    client("signer", more=AUDIENCES + 'claims = { allow = ["sub"] }'),
    client("odd", secret=ODD, more=GRANTED + AUDIENCES),
    client("both", more=AUDIENCES + 'grants = ["client_credentials"]\nprofiles = ["jwt", "access_token"]\n'
           'claims = { allow = ["sub", "scope"] }'),
    f'\n[[clients]]\nid = "rotating"\nsecret_hashes = ["{secret_hash()}", "{secret_hash(OTHER)}"]\n{GRANTED}{AUDIENCES}introspect = ["*"]\n',
]
GRANT = {"grant_type": "client_credentials"}


def configuration(*clients):
    own = CONFIG.replace("http://127.0.0.1:@PORT@", "@ISSUER@").replace('\n[server]\nlisten = "127.0.0.1:@PORT@"\n', "")
    return own + "".join(clients)


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS))


def send(server, body, headers=None, path="/token", method="POST"):
    """A request with a body of any kind; a dict or a list of pairs becomes a form."""
    body = body if isinstance(body, (str, bytes)) else urlencode(body)
    headers = {"Content-Type": FORM} | (headers or {})
    return wire.ask(server.issuer, method, path, headers, body.encode() if isinstance(body, str) else body)


def basic(id="worker", secret=SECRET):
    return {"Authorization": wire.basic(quote(id, safe=""), quote(secret, safe=""))}


def granted(server, body=None, id="worker", secret=SECRET):
    """The response and the token's claims, verified with the published keys."""
    answer = send(server, GRANT | (body or {}) if not isinstance(body, list) else body, basic(id, secret))
    assert answer.status == 200, answer
    assert answer.headers["cache-control"] == "no-store" and answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"] == "application/json" and answer.headers["x-request-id"]
    token = answer.json()["access_token"]
    keys = jwt.PyJWKSet.from_dict(wire.get(server.issuer, "/.well-known/jwks.json").json())
    options = {"verify_aud": False}
    claims = jwt.decode(token, keys[jwt.get_unverified_header(token)["kid"]], ["ES256"], options, issuer=server.issuer)
    return answer.json(), claims


def test_the_token_is_one_of_rfc_9068_about_the_client(server):
    answer, claims = granted(server, {"scope": "read"})
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 595, "read")
    assert set(claims) == {"iss", "sub", "client_id", "aud", "iat", "nbf", "exp", "jti", "scope", "tenant"}
    assert claims["sub"] == claims["client_id"] == "worker" and claims["tenant"] == "t1"
    assert claims["aud"] == "api://default" and claims["scope"] == "read"
    assert claims["exp"] - claims["iat"] == 600
    assert wire.header(answer["access_token"])["typ"] == "at+jwt"
    assert granted(server)[1]["jti"] != claims["jti"]


def test_without_a_scope_it_is_the_clients_default_and_is_told(server):
    answer, claims = granted(server, id="defaults")
    assert answer["scope"] == claims["scope"] == "read"
    answer, claims = granted(server, {"scope": "write read write"}, id="defaults")
    assert answer["scope"] == claims["scope"] == "write read"
    answer, claims = granted(server)
    assert "scope" not in answer and "scope" not in claims


def test_resource_and_audience_choose_among_the_clients_audiences(server):
    api = "https://api.example/v1"
    for body, audience in [
        ({"audience": "api://default"}, "api://default"),
        ({"resource": api}, api),
        ([*GRANT.items(), ("resource", api), ("resource", api)], api),
        ([*GRANT.items(), ("resource", api), ("audience", "api://default")], [api, "api://default"]),
        ([*GRANT.items(), ("audience", "api://default"), ("audience", api), ("resource", "")], ["api://default", api]),
    ]:
        assert granted(server, body)[1]["aud"] == audience
    for audience in ("v1", "https://api.example/v1#f"):
        assert granted(server, {"audience": audience}, "named")[1]["aud"] == audience


def test_parameters_without_a_value_are_left_out_and_unknown_ones_passed_over(server):
    answer, claims = granted(server, {"scope": "", "resource": "", "client_secret": "", "client_assertion": "", "x": MARK})
    assert "scope" not in answer and claims["aud"] == "api://default"


def test_the_query_is_not_read(server):
    answer = send(server, GRANT, path=f"/token?client_id=worker&client_secret={SECRET}&grant_type=x")
    refused(answer, 401, "invalid_client")
    answer = send(server, "", basic(), path="/token?grant_type=client_credentials")
    refused(answer, 400, "invalid_request")


def test_credentials_go_into_the_header_or_the_body_and_are_decoded_there(server):
    assert send(server, GRANT | {"client_id": "worker", "client_secret": SECRET}).status == 200
    assert send(server, GRANT | {"client_id": "worker"}, basic()).status == 200
    assert granted(server, id="odd", secret=ODD)[1]["sub"] == "odd"
    assert send(server, GRANT | {"client_id": "odd", "client_secret": ODD}).status == 200


#: Secrets with characters that form-encoding changes.
RESERVED = ["a+b", "a b", "a%b", "a%20b", "a%2Bb", "a:b", "a/b=", "a&b", "ü%FF", "%", "+", "a%C3%BCb"]
ODD_ONES = [client(f"odd-{n}", secret=secret, more=GRANTED + AUDIENCES) for n, secret in enumerate(RESERVED)]


@pytest.fixture(scope="module")
def reserved(lasting_authority):
    return lasting_authority(configuration(*ODD_ONES, client("worker", more=GRANTED + AUDIENCES)))


@pytest.mark.parametrize("n, secret", list(enumerate(RESERVED)))
def test_a_secret_in_the_header_may_be_form_encoded_or_not(reserved, n, secret):
    """RFC 6749 section 2.3.1 wants it encoded; many clients, Authlib among them, send it as it is."""
    def raw(text):
        return {"Authorization": "Basic " + base64.b64encode(f"odd-{n}:{text}".encode()).decode()}

    id = f"odd-{n}"
    for headers in (basic(id, secret), {"Authorization": wire.basic(id, quote_plus(secret))}, raw(secret)):
        assert send(reserved, GRANT, headers).status == 200
        refused(send(reserved, {"token": "x"}, headers, path="/introspect"), 400, "unauthorized_client")
        assert send(reserved, {"token": "x"}, headers, path="/revoke").status == 200
    assert send(reserved, GRANT | {"client_id": id, "client_secret": secret}).status == 200
    # Encoded twice it is another secret, and so is each other one of them, unless it is encoded what this one is.
    others = [other for other in RESERVED if other != secret and unquote_plus(other) != secret] + [quote(quote(secret, safe=""), safe="") + "x"]
    for other in others:
        refused(send(reserved, GRANT, raw(other)), 401, "invalid_client")


def test_at_sign_a_secret_may_be_sent_as_it_is_too(authority):
    server = authority(configuration(client("odd", secret=ODD, more=AUDIENCES + 'claims = { allow = ["sub"] }')))
    for text in (ODD, quote(ODD, safe="")):
        headers = {"Authorization": "Basic " + base64.b64encode(f"odd:{text}".encode()).decode(), "Content-Type": "application/json"}
        assert wire.ask(server.issuer, "POST", "/sign", headers, b'{"data":{}}').status == 200


def test_a_client_has_two_secrets_while_one_takes_the_place_of_the_other(server):
    for secret in (SECRET, OTHER):
        answer, claims = granted(server, id="rotating", secret=secret)
        assert claims["client_id"] == "rotating"
        assert send(server, {"token": answer["access_token"]}, basic("rotating", secret), path="/introspect").json()["active"]
        assert send(server, {"token": answer["access_token"]}, basic("rotating", secret), path="/revoke").status == 200
        assert not send(server, {"token": answer["access_token"]}, basic("rotating", secret), path="/introspect").json()["active"]
    for path in ("/token", "/introspect", "/revoke"):
        refused(send(server, GRANT | {"token": "x"}, basic("rotating", MARK), path=path), 401, "invalid_client")
    refused(send(server, GRANT, basic("worker", OTHER)), 401, "invalid_client")


def test_a_media_type_may_have_a_charset(server):
    assert send(server, GRANT, basic() | {"Content-Type": FORM.upper() + "; charset=UTF-8"}).status == 200


def refused(answer, status, error, says=""):
    wire.check_refusal(answer, status, says, error=error, secret=SECRET, names=error in ("invalid_scope", "invalid_target"))
    assert answer.headers["pragma"] == "no-cache" and answer.headers["x-request-id"], answer
    challenge = answer.headers["www-authenticate"]
    assert challenge == ('Basic realm="countersign", charset="UTF-8"' if status == 401 else None), answer


POST = {"client_id": "worker", "client_secret": SECRET}
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: What is asked, with which headers, and what RFC 6749 section 5.2 and RFC 8707 section 2 call it.
ERRORS = {
    # invalid_request: malformed, repeated, in two ways.
    "no grant_type": ({}, basic(), 400, "invalid_request"),
    "an empty grant_type": ({"grant_type": ""}, basic(), 400, "invalid_request"),
    "grant_type twice": ([*GRANT.items(), *GRANT.items()], basic(), 400, "invalid_request"),
    "scope twice": ([*GRANT.items(), ("scope", "read"), ("scope", "read")], basic(), 400, "invalid_request"),
    "scope twice, once empty": ("grant_type=client_credentials&scope=&scope=read", basic(), 400, "invalid_request"),
    "scope twice, once encoded": ("grant_type=client_credentials&scope=read&sc%6fpe=read", basic(), 400, "invalid_request"),
    "an unknown parameter twice": ("grant_type=client_credentials&x=1&x=1", basic(), 400, "invalid_request"),
    "not UTF-8": (b"grant_type=client_credentials&scope=%FF", basic(), 400, "invalid_request"),
    "JSON": (json.dumps(GRANT), basic() | {"Content-Type": "application/json"}, 400, "invalid_request"),
    "no media type": (GRANT, basic() | {"Content-Type": ""}, 400, "invalid_request"),
    "a body that is too long": ("grant_type=client_credentials&x=" + "x" * 70000, basic(), 413, "invalid_request"),
    "the secret in header and body": (GRANT | POST, basic(), 400, "invalid_request"),
    "the secret in the header, an assertion in the body": (
        GRANT | {"client_assertion_type": JWT_BEARER, "client_assertion": "x"}, basic(), 400, "invalid_request"),
    "a secret and an assertion in the body": (
        GRANT | POST | {"client_assertion_type": JWT_BEARER, "client_assertion": "x"}, None, 400, "invalid_request"),
    "a secret without client_id": (GRANT | {"client_secret": SECRET}, None, 400, "invalid_request"),
    "another client_id than the header's": (GRANT | {"client_id": "defaults"}, basic(), 400, "invalid_request"),
    "an assertion without its type": (GRANT | {"client_assertion": "x"}, None, 400, "invalid_request"),
    "a type without an assertion": (GRANT | {"client_assertion_type": JWT_BEARER}, None, 400, "invalid_request"),
    # invalid_client: unknown, not authenticated, by a method that is not supported.
    "no credentials": (GRANT, None, 401, "invalid_client"),
    "client_id alone": (GRANT | {"client_id": "worker"}, None, 401, "invalid_client"),
    "a wrong secret in the header": (GRANT, basic(secret=MARK), 401, "invalid_client"),
    "a wrong secret in the body": (GRANT | POST | {"client_secret": MARK}, None, 401, "invalid_client"),
    "an unknown client": (GRANT, basic(id=MARK), 401, "invalid_client"),
    "the secret's hash": (GRANT, basic(secret=secret_hash()), 401, "invalid_client"),
    "a bearer token": (GRANT, {"Authorization": f"Bearer {MARK}"}, 401, "invalid_client"),
    "Basic that is not base64": (GRANT, {"Authorization": "Basic @@@"}, 401, "invalid_client"),
    "Basic without a colon": (GRANT, {"Authorization": "Basic d29ya2Vy"}, 401, "invalid_client"),
    "another kind of assertion": (
        GRANT | {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "client_assertion": MARK},
        None, 401, "invalid_client"),
    "an assertion where no client signs any": (
        GRANT | {"client_assertion_type": JWT_BEARER, "client_assertion": MARK}, None, 401, "invalid_client"),
    # unauthorized_client and unsupported_grant_type.
    "a client without the grant": (GRANT, basic("signer"), 400, "unauthorized_client"),
    "a grant that nobody knows": ({"grant_type": MARK}, basic(), 400, "unsupported_grant_type"),
    "the password grant": ({"grant_type": "password", "username": "a", "password": MARK}, basic(), 400, "unsupported_grant_type"),
    "the code grant": ({"grant_type": "authorization_code", "code": MARK}, basic(), 400, "unsupported_grant_type"),
    "a refresh token": ({"grant_type": "refresh_token", "refresh_token": MARK}, basic(), 400, "unsupported_grant_type"),
    "a grant in other letters": ({"grant_type": "Client_Credentials"}, basic(), 400, "unsupported_grant_type"),
    # invalid_scope: unknown, malformed, exceeding what may be had.
    "a scope it may not have": (GRANT | {"scope": "admin"}, basic(), 400, "invalid_scope"),
    "one scope too many": (GRANT | {"scope": "read admin"}, basic(), 400, "invalid_scope"),
    "the scope of others": (GRANT | {"scope": "write"}, basic(), 400, "invalid_scope"),
    "a scope that begins like one of its own": (GRANT | {"scope": "rea"}, basic(), 400, "invalid_scope"),
    "two spaces": (GRANT | {"scope": "read  write:own"}, basic(), 400, "invalid_scope"),
    "a quote in a scope": (GRANT | {"scope": 'a"b'}, basic("any-scope"), 400, "invalid_scope"),
    "a line break in a scope": (GRANT | {"scope": "read\nwrite:own"}, basic("any-scope"), 400, "invalid_scope"),
    "a scope beyond ASCII": (GRANT | {"scope": "lés"}, basic("any-scope"), 400, "invalid_scope"),
    # invalid_target (RFC 8707 section 2).
    "an audience it may not have": (GRANT | {"audience": "api://other"}, basic(), 400, "invalid_target"),
    "one audience too many": (
        [*GRANT.items(), ("audience", "api://default"), ("audience", "api://other")], basic(), 400, "invalid_target"),
    "a resource it may not have": (GRANT | {"resource": "https://api.example/"}, basic(), 400, "invalid_target"),
    "a resource that is not absolute": (GRANT | {"resource": "v1"}, basic("named"), 400, "invalid_target"),
    "a resource with a fragment": (GRANT | {"resource": "https://api.example/v1#f"}, basic("named"), 400, "invalid_target"),
    "audiences without end": ([*GRANT.items(), *(("audience", f"a{n}") for n in range(21))], basic(), 400, "invalid_target"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_has_its_code_and_status(server, name):
    body, headers, status, error = ERRORS[name]
    refused(send(server, body, headers), status, error)
    granted(server)


def test_only_post_is_taken(server):
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = send(server, GRANT, basic(), method=method)
        refused(answer, 405, "invalid_request")
        assert answer.headers["allow"] == "POST"
    assert send(server, "", basic(), path="/token/x").status == 404


def test_sign_mints_no_access_token_and_a_grant_widens_nothing_there(server):
    def sign(data, id="both", **rest):
        headers = {"Content-Type": "application/json"} | basic(id)
        body = json.dumps({"data": data} | rest).encode()
        return wire.ask(server.issuer, "POST", "/sign", headers, body)

    wire.check_refusal(sign({"sub": "alice"}, profile="access_token"), 400, "grants of POST /token")
    assert wire.header(sign({"sub": "alice"}).json()["access_token"])["typ"] == "JWT"
    assert granted(server, id="both")[1]["sub"] == "both"
    wire.check_refusal(sign({"sub": "alice"}, "worker"), 403, "(rule: profiles)", error="access_denied")


def test_there_is_one_audit_record_for_every_request(authority):
    server = authority(configuration(*CLIENTS))

    minted = send(server, GRANT | {"scope": "read"}, basic())
    asked = [
        send(server, GRANT | {"scope": "admin"}, basic()), send(server, GRANT, basic("signer")),
        send(server, {"grant_type": MARK}, basic()), send(server, GRANT, basic(secret=MARK)), send(server, "x=1&x=2"),
        send(server, GRANT, method="GET"),
    ]
    new = server.audit
    by_id = {event["request_id"]: event for event in new}
    assert len(new) == len(by_id) == 7 and MARK not in str(new)
    event = by_id[minted.headers["x-request-id"]]
    shown = {"decision": "minted", "grant": "client_credentials", "client": "worker", "profile": "access_token", "subject": "worker"}
    assert shown.items() <= event.items(), event
    wanted = [("outside_policy", "client_credentials", "worker"), ("unauthorized_client", "client_credentials", "signer"),
              ("unsupported_grant_type", None, "worker"), ("invalid_client", "client_credentials", None),
              ("invalid_request", None, None), ("invalid_request", None, None)]
    for answer, (code, grant, who) in zip(asked, wanted, strict=True):
        event = by_id[answer.headers["x-request-id"]]
        assert (event["code"], event.get("grant"), event.get("client")) == (code, grant, who), event
        assert event["decision"] == "refused" and event["address"] == "127.0.0.1"


def test_what_is_counted(server):
    def count(line):
        text = wire.get(server.issuer, "/metrics").body.decode()
        return next((int(found.split()[-1]) for found in text.splitlines() if found.startswith(line)), 0)

    minted, refusals = 'countersign_tokens_minted_total{profile="access_token"}', 'countersign_tokens_refused_total{reason="unauthorized_client"}'
    before = count(minted), count(refusals)
    granted(server)
    refused(send(server, GRANT, basic("signer")), 400, "unauthorized_client")
    assert (count(minted), count(refusals)) == (before[0] + 1, before[1] + 1)


def test_a_client_has_one_rate_for_both_routes_and_strangers_have_the_addresss(authority):
    server = authority(configuration(*CLIENTS), env={
        "COUNTERSIGN_LIMITS__PER_CLIENT": "3/h", "COUNTERSIGN_LIMITS__PER_ADDRESS": "2/h"})
    for _ in range(2):
        refused(send(server, GRANT, basic(secret=MARK)), 401, "invalid_client")
    refused(send(server, GRANT, basic(secret=MARK)), 429, "slow_down")
    headers = {"Content-Type": "application/json"} | basic("both")
    assert wire.ask(server.issuer, "POST", "/sign", headers, b'{"data":{}}').status == 200
    for _ in range(2):
        granted(server, id="both")
    answer = send(server, GRANT, basic("both"))
    refused(answer, 429, "slow_down")
    assert int(answer.headers["retry-after"]) > 1
    granted(server, id="worker")


DISCOVERY = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"]
ENDPOINT = {"token_endpoint", "token_endpoint_auth_methods_supported", "token_endpoint_auth_signing_alg_values_supported"}


def test_discovery_tells_what_is_on(server):
    for path in DISCOVERY:
        found = wire.get(server.issuer, path).json()
        assert found["token_endpoint"] == server.issuer + "/token"
        assert found["grant_types_supported"] == ["client_credentials"]
        assert found["token_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
        assert "token_endpoint_auth_signing_alg_values_supported" not in found


def test_where_no_client_has_a_grant_there_is_no_endpoint_and_no_word_of_it(authority):
    server = authority(configuration(client("signer", more=AUDIENCES), client("star", more=AUDIENCES + 'profiles = ["*"]')))
    for path in DISCOVERY:
        found = wire.get(server.issuer, path).json()
        assert not ENDPOINT & set(found) and found["grant_types_supported"] == ["implicit"]
    for method in ("GET", "POST"):
        answer = send(server, GRANT, basic("signer"), method=method)
        wire.check_refusal(answer, 404, error="not_found", secret=SECRET)


def test_below_the_path_of_the_issuer_and_at_the_root(world):
    world.configure(CONFIG.replace('@PORT@"\n\n', '@PORT@/a/b"\n\n', 1) + CLIENTS[0])

    class server:
        issuer = world.serve().printed["issuer"]

    assert server.issuer.endswith("/a/b")
    found = wire.get(server.issuer, "/a/b/.well-known/openid-configuration").json()
    assert found["token_endpoint"].endswith("/a/b/token")
    for path in ("/token", "/a/b/token"):
        assert send(server, GRANT, basic(), path=path).status == 200
    assert send(server, GRANT, basic(), path="/a/token").status == 404


def test_typ_may_be_that_of_verifiers_that_know_no_other(authority):
    server = authority(configuration('\n[profiles.access_token]\ntyp = "JWT"\n', *CLIENTS))
    answer, claims = granted(server)
    assert wire.header(answer["access_token"])["typ"] == "JWT" and claims["client_id"] == "worker"


def test_a_reload_gives_and_takes_the_grant(world):
    port = world.configure(CONFIG + client("worker", more=AUDIENCES))
    process = world.serve()

    class server:
        issuer = process.printed["issuer"]

    assert send(server, GRANT, basic()).status == 404
    for more, status in [(GRANTED + AUDIENCES, 200), (AUDIENCES, 404)]:
        world.configure(CONFIG + client("worker", more=more), port)
        process.send_signal(signal.SIGHUP)
        until(lambda: send(server, GRANT, basic()).status == status, f"{status} after the reload")


@pytest.mark.parametrize("entry, setting, says", [
    ('grants = ["client_credentials"]\n' + AUDIENCES, "grants", "add it to `profiles`"),
    ('grants = ["password"]\nprofiles = ["access_token"]\n' + AUDIENCES, "grants", "there is client_credentials"),
    (GRANTED, "audiences", "name at least one"),
    ('profiles = ["access_token"]\n' + AUDIENCES, "profiles", "without `grants`"),
    ('default_scope = ["a"]\nscopes = ["a"]\n' + AUDIENCES, "default_scope", "without `grants`"),
    ('assertions = { jwks = "{}" }\n' + AUDIENCES, "assertions", "without `grants`"),
    (GRANTED + AUDIENCES + 'default_scope = ["b"]\nscopes = ["a"]\n', "default_scope", '"b" is not one'),
    (GRANTED + AUDIENCES + 'default_scope = ["a b"]\nscopes = ["*"]\n', "", ""),
    (GRANTED + AUDIENCES + 'default_scope = ["é"]\nscopes = ["*"]\n', "default_scope", "printable ASCII"),
    (GRANTED + AUDIENCES + 'claims = { fixed = { sub = "x" } }\n', "claims.fixed", "`sub` is set by the grant"),
    (GRANTED + AUDIENCES + 'claims = { fixed = { client_id = "x" } }\n', "claims.fixed", "`client_id` is set by grants of POST /token"),
    (GRANTED + AUDIENCES + 'claims = { fixed = { scope = "x" } }\n', "claims.fixed", "`scope` is set by the grant"),
    (GRANTED + AUDIENCES + 'claims = { fixed = { act = { sub = "x" } } }\n', "claims.fixed", "`act` is set by grants of POST /token"),
    (GRANTED + AUDIENCES + 'claims = { allow = ["x"] }\n', "claims.allow", "nothing is put into its tokens"),
    (GRANTED + AUDIENCES + "assertions = {}\n", "assertions", "where are its keys?"),
    (GRANTED + AUDIENCES + 'assertions = { jwks = "{}", pem = "x" }\n', "assertions", "two sources"),
    (GRANTED + AUDIENCES + 'assertions = { keys_url = "http://keys.example/" }\n', "assertions", "https only"),
    (GRANTED + AUDIENCES + 'assertions = { jwks = "file:none.json" }\n', "assertions.jwks", "none.json"),
    (GRANTED + AUDIENCES + 'assertions = { jwks = "{\\"keys\\":[]}", algorithms = ["HS256"] }\n', "assertions", "HS256"),
])
def test_a_setting_of_grants_that_cannot_work_or_does_nothing_does_not_start(world, entry, setting, says):
    world.configure(CONFIG + client("worker", more=entry))
    if says:
        world.fails(78, says, "config", "check")
        assert f"clients.worker.{setting}" in world.fails(78, says, "config", "check") or setting == "assertions"
    else:
        world.done("config", "check")


def test_a_client_without_a_secret_and_without_keys_is_nobody(world):
    entry = f'\n[[clients]]\nid = "worker"\nsecret_hashes = []\n{GRANTED}{AUDIENCES}'
    world.configure(CONFIG + entry)
    world.fails(78, "nobody can prove to be this client", "config", "check")


def test_the_entry_of_a_new_client_works_as_it_is_printed(world):
    made = json.loads(world.done(
        "client", "new", "batch", "--grant", "client_credentials", "--scope", "read", "--audience", "api://batch", "--json"))
    world.configure(CONFIG + "\n" + made["toml"])

    class server:
        issuer = world.serve().printed["issuer"]

    answer, claims = granted(server, {"scope": "read"}, id="batch", secret=made["client_secret"])
    assert (claims["sub"], claims["aud"], claims["scope"]) == ("batch", "api://batch", "read")
    assert "client_secret:" in world.done("client", "new", "other", "--grant", "client_credentials")
    for says, *arguments in [("possible values: client_credentials", "--grant", "password"),
                             ("--claim", "--grant", "client_credentials", "--claim", "sub"), ("--grant", "--default-scope", "a")]:
        done = world.run("client", "new", "batch", *arguments)
        assert done.returncode == 2 and says in done.stderr, done
    world.fails(2, "--auth private_key_jwt", "client", "new", "batch", "--grant", "client_credentials", "--jwks", "x.json")
