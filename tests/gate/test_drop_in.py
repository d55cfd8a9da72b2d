"""The four variables of the authorizer that Countersign replaces, and nothing else: on the command line and as a function.

JWT_ISSUER_JWKS_URI, JWT_AUTHORIZED_AUDIENCES, JWT_VERIFY_EXPIRATION and AUTHORIZED_APIS; JWT_ISSUER pins the issuer.
"""

import json

import pytest
from gate import issuers, keyserver
from gate.issuers import ABSENT, ALL, COGNITO_ACCESS, FIREBASE
from gate.keyserver import answer
from gate.lambda_api import allows, arn_of, authorizers, event
from gate.one_shot import OneShot, configuration

API = "arn:aws:execute-api:us-east-1:123456789012:abcdef123"
SOCKET = f"{API}/default/$connect"
ANY_ISSUER = "tokens are accepted whatever their issuer"
ANY_AGE = "tokens are accepted after they have expired"


@pytest.fixture
def server():
    with keyserver.key_server() as one:
        one.serve("/firebase", answer(FIREBASE.document(), max_age=19204))
        one.serve("/cognito", answer(COGNITO_ACCESS.document()))
        yield one


@pytest.fixture
def make(binary, tmp_path_factory):
    with authorizers(binary, tmp_path_factory) as factory:
        yield factory


class OnCommandLine:
    """`countersign authorize` in an empty folder."""

    def __init__(self, binary, folder, make):
        self.one, self.log = OneShot(binary, folder), ""

    def start(self, environment):
        assert not list(self.one.folder.iterdir())
        self.environment = environment

    def ask(self, token, name):
        """The reply; None for the error `Unauthorized`."""
        verdict = self.one.authorize(token, name=name, environment=self.environment)
        self.log = verdict.log
        assert (verdict.exit == 0) is let_in(verdict.reply, name)
        return None if verdict.reply == {"errorMessage": "Unauthorized"} else verdict.reply

    def start_fails(self, environment):
        done = self.one.run("{}", environment=environment)
        assert done.stdout == ""
        return done.returncode, done.stderr


class AsFunction:
    """`countersign-authorizer` against the runtime API."""

    def __init__(self, binary, folder, make):
        self.make = make

    def start(self, environment):
        self.one = self.make(None, environment).start()

    def ask(self, token, name):
        reply = self.one.ask(token, name)
        assert reply.json is not None or reply.unauthorized
        return reply.json

    @property
    def log(self):
        return self.one.log

    def start_fails(self, environment):
        return self.make(None, environment).run()


@pytest.fixture(params=[OnCommandLine, AsFunction], ids=["command line", "function"])
def gate(request, binary, tmp_path, make):
    return request.param(binary, tmp_path, make)


def let_in(reply, name):
    """Whether the reply lets in the request of the event of that name."""
    if "policyDocument" in reply:
        return allows(reply["policyDocument"], arn_of(event(name, "")))
    return reply.get("isAuthorized", False)


def resources(reply):
    """What is allowed; beside it, the spellings of paths that the gate refuses are denied."""
    statement, *denied = reply["policyDocument"]["Statement"]
    assert statement["Effect"] == "Allow" and [s["Effect"] for s in denied] in ([], ["Deny"]), reply
    return statement["Resource"]


def firebase(server, **more):
    return {"JWT_ISSUER_JWKS_URI": server.url("/firebase"), "JWT_AUTHORIZED_AUDIENCES": "demo-project-1"} | more


def cognito(server, **more):
    return {"JWT_ISSUER_JWKS_URI": server.url("/cognito"), "JWT_AUTHORIZED_AUDIENCES": issuers.APP} | more


def test_all_four_let_a_websocket_in_whose_token_is_in_the_query(gate, server):
    apis = f"{SOCKET},{API}/test/*/*"
    gate.start(firebase(server, JWT_VERIFY_EXPIRATION="true", AUTHORIZED_APIS=apis))
    reply = gate.ask(FIREBASE.token(), "websocket-query")
    assert reply["principalId"] == FIREBASE.claims["sub"]
    assert resources(reply) == apis.split(",")
    assert reply["context"]["sub"] == FIREBASE.claims["sub"] and reply["context"]["iss"] == FIREBASE.claims["iss"]
    assert gate.ask(FIREBASE.token({"aud": "demo-project-2"}), "websocket-query") is None
    assert gate.ask(FIREBASE.token({"exp": 1}), "websocket-query") is None
    assert gate.ask(FIREBASE.token(by=issuers.Key(FIREBASE.key.kid)), "websocket-query") is None
    assert gate.ask("", "websocket-query") is None


def test_keys_in_certificates_and_in_a_key_set_both_do(gate, server):
    names = ["rest-request", "rest-token", "websocket-header", "websocket-protocol", "http-v1", "http-v2", "appsync"]
    for where, issuer in [("/firebase", FIREBASE), ("/cognito", COGNITO_ACCESS)]:
        audience = f" other , {issuer.claims.get('aud', issuers.APP)},"
        gate.start({"JWT_ISSUER_JWKS_URI": server.url(where), "JWT_AUTHORIZED_AUDIENCES": audience})
        for name in names:
            assert let_in(gate.ask(issuer.token(), name), name), name
        other = FIREBASE if issuer is COGNITO_ACCESS else COGNITO_ACCESS
        assert gate.ask(other.token(), "rest-request") is None


def test_a_cognito_access_token_is_known_by_its_client(gate, server):
    gate.start(cognito(server))
    assert let_in(gate.ask(COGNITO_ACCESS.token(), "websocket-query"), "websocket-query")
    assert let_in(gate.ask(COGNITO_ACCESS.token({"aud": issuers.APP, "client_id": ABSENT}), "websocket-query"), "websocket-query")
    other = [{"client_id": issuers.OTHER_APP}, {"client_id": ABSENT}, {"client_id": ABSENT, "azp": issuers.APP}]
    for changes in [*other, {"aud": "x"}, {"aud": []}]:
        assert gate.ask(COGNITO_ACCESS.token(changes), "websocket-query") is None, changes


@pytest.mark.parametrize("value", ["false", "FALSE", "0"])
def test_expired_tokens_are_accepted_where_that_was_asked_for_and_a_warning_says_so(value, gate, server):
    gate.start(firebase(server, JWT_VERIFY_EXPIRATION=value))
    for changes in [{"exp": 1}, {"exp": ABSENT}]:
        assert let_in(gate.ask(FIREBASE.token(changes), "websocket-query"), "websocket-query"), changes
    assert ANY_AGE in gate.log
    assert gate.ask(FIREBASE.token({"exp": 1, "aud": "x"}), "websocket-query") is None
    assert gate.ask(FIREBASE.token({"exp": "1"}), "websocket-query") is None


@pytest.mark.parametrize("value", [None, "", "true", "True", "1"])
def test_expired_tokens_are_refused_otherwise(value, gate, server):
    gate.start(firebase(server, **({} if value is None else {"JWT_VERIFY_EXPIRATION": value})))
    assert gate.ask(FIREBASE.token({"exp": 1}), "websocket-query") is None
    assert ANY_AGE not in gate.log
    assert let_in(gate.ask(FIREBASE.token(), "websocket-query"), "websocket-query")


def test_without_an_issuer_a_warning_says_so_and_with_one_no_other_is_accepted(gate, server):
    gate.start(firebase(server))
    elsewhere = FIREBASE.token({"iss": "https://session.firebase.google.com/demo-project-1"})
    assert let_in(gate.ask(elsewhere, "rest-request"), "rest-request")
    assert let_in(gate.ask(FIREBASE.token({"iss": ABSENT}), "rest-request"), "rest-request")
    assert ANY_ISSUER in gate.log
    if isinstance(gate, OnCommandLine):
        gate.one.folder = gate.one.folder / "another"
        gate.one.folder.mkdir()
    gate.start(firebase(server, JWT_ISSUER=FIREBASE.claims["iss"]))
    assert let_in(gate.ask(FIREBASE.token(), "rest-request"), "rest-request")
    assert ANY_ISSUER not in gate.log
    for token in [elsewhere, FIREBASE.token({"iss": ABSENT}), FIREBASE.token({"iss": FIREBASE.claims["iss"] + "/"})]:
        assert gate.ask(token, "rest-request") is None


@pytest.mark.parametrize("apis", [None, "", "*", " * "])
def test_without_apis_the_one_that_asks_is_what_the_policy_is_about(apis, gate, server):
    gate.start(firebase(server, **({} if apis is None else {"AUTHORIZED_APIS": apis})))
    assert resources(gate.ask(FIREBASE.token(), "websocket-query")) == [SOCKET]
    assert resources(gate.ask(FIREBASE.token(), "rest-request")) == [f"{API}/test/*/*"]


def test_with_apis_no_other_is_let_in_and_they_are_what_the_policy_names(gate, server):
    apis = [f"{API}/test/GET/request", f"{API}/prod/*"]
    gate.start(firebase(server, AUTHORIZED_APIS=" , ".join(apis)))
    assert resources(gate.ask(FIREBASE.token(), "rest-request")) == apis
    for name in ["websocket-query", "rest-token", "rest-token-china"]:
        refused = gate.ask(FIREBASE.token(), name)
        statements = refused["policyDocument"]["Statement"]
        allowed = [arn for s in statements if s["Effect"] == "Allow" for arn in s["Resource"]]
        assert allowed in ([], apis) and ("context" in refused) == bool(allowed), name
    assert let_in(gate.ask(FIREBASE.token(), "http-v2"), "http-v2")


def test_what_cannot_work_does_not_start(gate, server):
    good = firebase(server)
    for wrong, says in [
        ({}, "no issuer is trusted"),
        ({"JWT_AUTHORIZED_AUDIENCES": "demo-project-1"}, "no issuer is trusted"),
        ({"JWT_ISSUER_JWKS_URI": good["JWT_ISSUER_JWKS_URI"]}, "JWT_AUTHORIZED_AUDIENCES is not"),
        (good | {"JWT_AUTHORIZED_AUDIENCES": ""}, "JWT_AUTHORIZED_AUDIENCES is not"),
        (good | {"JWT_AUTHORIZED_AUDIENCES": " , ,"}, "JWT_AUTHORIZED_AUDIENCES is not"),
        (good | {"JWT_VERIFY_EXPIRATION": "no"}, "JWT_VERIFY_EXPIRATION"),
        (good | {"JWT_ISSUER_JWKS_URI": "http://192.0.2.1/keys"}, "https"),
        (good | {"JWT_ISSUER_JWKS_URI": "keys.json"}, "URL"),
        (good | {"AUTHORIZED_APIS": "abcdef123"}, "AUTHORIZED_APIS"),
        (good | {"AUTHORIZED_APIS": f"*,{API}/test/*"}, "AUTHORIZED_APIS"),
        (good | {"AUTHORIZED_APIS": "arn:aws:s3:::bucket/*"}, "AUTHORIZED_APIS"),
    ]:
        code, said = gate.start_fails(wrong)
        assert code == 78 and said.count("\n") == 1 and says in said, (wrong, said)
    assert server.asked == []


def test_tokens_of_every_issuer_pass_that_the_four_variables_can_describe(make, server):
    """Each with its own keys, as a function: whatever has an audience or a client, and a signature of a public key."""
    for name, issuer in ALL.items():
        server.serve("/keys", answer(issuer.document()))
        audience = issuer.claims.get("aud", issuers.APP)
        audience = audience if isinstance(audience, str) else audience[0]
        one = make(None, {"JWT_ISSUER_JWKS_URI": server.url("/keys"), "JWT_AUTHORIZED_AUDIENCES": audience}).start()
        assert one.ask(issuer.token(), "websocket-query").let_in, name
        assert one.ask(issuer.token({"aud": "x"}), "websocket-query").unauthorized, name


def test_a_cold_function_with_kept_keys_asks_nobody(make, server, tmp_path):
    cache = {"COUNTERSIGN_GATE__KEY_CACHE": str(tmp_path / "kept")}
    warm = make(None, firebase(server) | cache).start()
    assert warm.ask(FIREBASE.token()).let_in and server.asked == ["/firebase"]
    assert warm.terminate() in (0, -15)
    server.serve("/firebase", answer(status=500))
    cold = make(None, firebase(server) | cache).start()
    assert cold.ask(FIREBASE.token(), "websocket-query").let_in and server.asked == ["/firebase"]
    assert cold.ask(FIREBASE.token(by=issuers.Key(FIREBASE.key.kid))).unauthorized
    config = configuration(FIREBASE.trust | {"keys_url": server.url("/firebase")})
    other = make(config, cache).start()
    assert other.ask(FIREBASE.token()).unavailable, "kept for other settings"


@pytest.mark.parametrize("damage", ["{", "", '{"version":1}', None])
def test_a_damaged_key_cache_is_as_if_there_were_none(damage, make, server, tmp_path):
    cache = {"COUNTERSIGN_GATE__KEY_CACHE": str(tmp_path / "kept")}
    make(None, firebase(server) | cache).start()
    [kept] = keyserver.until(lambda: list((tmp_path / "kept").glob("[!.]*.json")), "the keys are kept")
    if damage is None:
        # Another key under the same name, by somebody who could write there.
        record = json.loads(kept.read_text())
        record["body"] = json.dumps({FIREBASE.key.kid: issuers.Key(FIREBASE.key.kid).certificate})
        kept.write_text(json.dumps(record))
        (tmp_path / "kept").chmod(0o777)
    else:
        kept.write_text(damage)
    cold = make(None, firebase(server) | cache).start()
    assert cold.ask(FIREBASE.token()).let_in and len(server.asked) == 2
    assert "snapshot" in cold.log
