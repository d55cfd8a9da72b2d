"""`countersign-authorizer` as a Lambda function: what it makes of events, good and strange, and how it starts and ends."""

import json

import pytest
from gate import keyserver
from gate.issuers import AUTH0, Key
from gate.lambda_api import FUNCTION, allows, authorizers, event, event_names
from gate.one_shot import configuration

API = "arn:aws:execute-api:us-east-1:123456789012:abcdef123"
COOKIE = {"credentials": {"cookie": "session"}}


@pytest.fixture(scope="module")
def server():
    with keyserver.key_server() as one:
        one.serve("/keys", keyserver.answer(AUTH0.document(), max_age=600))
        yield one


@pytest.fixture(scope="module")
def running(binary, tmp_path_factory, server):
    """One that runs through this whole file: whatever a test gives it, it has to be there for the next."""
    with authorizers(binary, tmp_path_factory) as make:
        yield make(config(server)).start()


def config(server):
    return configuration(AUTH0.trust | {"keys_url": server.url()}, gate=COOKIE)


def form(name):
    """The form of the answer to an event of that name."""
    forms = {
        "rest-": "policy", "websocket-": "policy", "http-v1": "http-v1", "unversioned": "http-v1", "http-v2": "simple",
        "appsync": "appsync",
    }
    return next(form for prefix, form in forms.items() if name.startswith(prefix))


def resource(name):
    """What the policy that answers it is about."""
    stages = {
        "rest-token-china": "arn:aws-cn:execute-api:cn-north-1:123456789012:abcdef123/prod",
        "rest-token-govcloud": "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:abcdef123/prod",
        "rest-token-console-test": f"{API}/ESTestInvoke-stage",
    }
    return f"{API}/default/$connect" if name.startswith("websocket") else f"{stages.get(name, f'{API}/test')}/*/*"


@pytest.mark.parametrize("name", event_names())
def test_answers_every_event_in_the_form_it_takes(name, running):
    token = AUTH0.token()
    reply = running.ask(token, name)
    assert reply.error is None and reply.let_in, reply
    claims = AUTH0.claims
    context = reply.json.pop("resolverContext" if form(name) == "appsync" else "context")
    assert (context.pop("sub"), context.pop("iss"), context.pop("scope")) == (claims["sub"], claims["iss"], claims["scope"])
    assert isinstance(context.pop("exp"), int) and context == {}
    if form(name) in ("policy", "http-v1"):
        statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": [resource(name)]}
        allowed, *denied = reply.json.pop("policyDocument")["Statement"]
        assert allowed == statement and reply.json == {"principalId": claims["sub"]}
        # Beside an Allow with wildcards, the spellings that the gate refuses.
        assert [s["Effect"] for s in denied] == (["Deny"] if resource(name).endswith("*") else [])
    else:
        assert reply.json == {"isAuthorized": True} | ({"ttlOverride": 300} if form(name) == "appsync" else {})

    refused = running.ask(AUTH0.token(by=Key(AUTH0.key.kid)), name)
    if form(name) == "policy":
        assert refused.error == {"errorType": "Unauthorized", "errorMessage": "Unauthorized"}
    elif form(name) == "http-v1":
        assert not refused.let_in and refused.json["principalId"] == "anonymous" and "context" not in refused.json
    else:
        assert refused.json == {"isAuthorized": False} | ({"ttlOverride": 0} if form(name) == "appsync" else {})


S3 = {
    "Records": [
        {
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventName": "ObjectCreated:Put",
            "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "b"}, "object": {"key": "k", "size": 1024}},
        }
    ]
}
SCHEDULE = {
    "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
    "source": "aws.events", "account": "123456789012", "time": "2026-10-08T16:53:06Z", "region": "us-east-1",
    "resources": ["arn:aws:events:us-east-1:123456789012:rule/warm"], "detail": {},
}
PROXY = {"version": "2.0", "routeKey": "$default", "rawPath": "/", "requestContext": {"http": {"method": "GET"}}}
STRANGE = {
    "S3": S3,
    "a schedule": SCHEDULE,
    "a warmer": {},
    "another warmer": {"source": "serverless-plugin-warmup"},
    "a proxied request": PROXY,
    "a Cognito trigger": {"version": "1", "triggerSource": "TokenGeneration_HostedAuth", "request": {}, "response": {}},
    "a list": [S3],
    "a text": "Unauthorized",
    "a number": 1,
    "nothing": None,
    "another type": {"type": "JWT", "methodArn": f"{API}/test/GET/"},
    "a later version": {"type": "REQUEST", "version": "3.0", "routeArn": f"{API}/test/GET/"},
    "a type that is no text": {"type": ["TOKEN"], "methodArn": f"{API}/test/GET/"},
    "1 MB": {"Records": ["x" * 1_000_000]},
    "1 MB of members": {f"member {n}": n for n in range(50_000)},
}


def test_refuses_strange_events_with_the_one_error_and_goes_on(running):
    for what, strange in STRANGE.items():
        reply = running.invoke(json.dumps(strange))
        assert reply.error == {"errorType": "UnknownEvent", "errorMessage": "Unauthorized"}, what
    assert running.ask(AUTH0.token()).let_in


@pytest.mark.parametrize("depth", [100, 200, 100_000])
def test_refuses_deeply_nested_events_and_goes_on(depth, running):
    for opening, closing in [("[", "]"), ('{"a":', "}")]:
        nested = f"{opening * depth}1{closing * depth}"
        inside = event("rest-request", "x")[:-2] + f', "headers": {nested}}}'
        for text in [nested, f'{{"type": "TOKEN", "methodArn": {nested}}}', inside]:
            assert running.invoke(text).unauthorized, text[:40]
    assert running.ask(AUTH0.token()).let_in


def test_an_authorizer_event_of_1_mb_is_judged_like_any_other(running):
    large = json.loads(event("rest-request", AUTH0.token()))
    large["headers"] |= {f"x-{n}": "y" * 1000 for n in range(1000)}
    large["nested"] = json.loads("[" * 100 + "]" * 100)
    assert running.invoke(json.dumps(large)).let_in
    large["headers"] |= {"Authorization": "Bearer " + "z" * 1_000_000}
    assert running.invoke(json.dumps(large)).unauthorized


def test_refuses_authorizer_events_that_are_damaged(running):
    good = json.loads(event("rest-request", AUTH0.token()))
    for changes in [
        {"methodArn": None}, {"methodArn": 7}, {"methodArn": "arn:aws:s3:::bucket"}, {"methodArn": f"{API}/*/GET/x"},
        {"headers": None}, {"headers": {"Authorization": None}}, {"headers": {"Authorization": {"Bearer": "x"}}},
        {"httpMethod": None, "requestContext": None}, {"headers": [AUTH0.token()]}, {"type": None},
    ]:
        reply = running.invoke(json.dumps(good | {"multiValueHeaders": None} | changes))
        assert not reply.let_in, changes
        if reply.error is None:
            assert [s["Effect"] for s in reply.json["policyDocument"]["Statement"]] == ["Deny"], changes
        else:
            assert reply.unauthorized, changes
    assert running.ask(AUTH0.token()).let_in


@pytest.mark.parametrize("missing", [*FUNCTION, "AWS_LAMBDA_RUNTIME_API"])
def test_without_a_variable_of_the_runtime_it_ends_with_78_and_one_line_that_names_it(missing, authorizer, server):
    for value in (None, ""):
        one = authorizer(config(server))
        one.environment.pop(missing)
        one.environment |= {} if value is None else {missing: value}
        code, said = one.run()
        assert code == 78 and said.count("\n") == 1, said
        assert missing in said and "countersign authorize" in said
    # The second is for signatures that did not verify: the key of that name could have been replaced.
    assert server.asked.count("/keys") <= 2


def test_a_variable_of_the_runtime_that_is_no_number_ends_it_with_78_and_one_line_that_names_it(authorizer, server):
    code, said = authorizer(config(server), {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "lots"}).run()
    assert "panicked" not in said
    assert code == 78 and said.count("\n") == 1 and "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" in said


def test_a_configuration_that_cannot_work_ends_it_with_78_and_one_line(authorizer, server):
    trust = AUTH0.trust | {"keys_url": server.url()}
    for wrong, named in [
        (configuration(), "no issuer is trusted"),
        (configuration({"preset": "auth0", "id": "tenant.eu.auth0.com"}), "audiences"),
        (configuration(trust | {"keys_url": "http://192.0.2.1/keys"}), "https"),
        (configuration(trust | {"colour": "red"}), "colour"),
        (configuration(trust, trust), "tenant.eu.auth0.com"),
        (configuration(trust | {"algorithms": ["none"]}), "algorithms"),
        (configuration(trust | {"algorithms": ["RS256", "HS256"]}), "HS256"),
        (configuration(trust | {"keys_max_age": "3 days"}), "24 h"),
        ("[[trust]]\nissuer = ", "gate.toml"),
    ]:
        code, said = authorizer(wrong).run()
        assert code == 78 and said.count("\n") == 1 and named in said, said


def test_sigterm_ends_it_while_it_waits(authorizer, server):
    one = authorizer(config(server)).start()
    assert one.ask(AUTH0.token()).let_in
    assert one.terminate() in (0, -15)


def test_a_token_is_never_in_the_log_whatever_its_level(authorizer, server):
    for level in ["trace", "trace,lambda_runtime=trace", "trace,lambda_runtime_api_client=trace,hyper=trace"]:
        one = authorizer(config(server), {"COUNTERSIGN_LOG__LEVEL": level}).start()
        good, forged = AUTH0.token(), AUTH0.token(by=Key("unheard-of"))
        for token in (good, forged, AUTH0.token({"exp": 1}), f"{good}x"):
            for name in event_names():
                one.ask(token, name)
            one.invoke(json.dumps({"unknown": token, "type": token, "authorizationToken": token}))
            one.invoke(json.dumps({"type": "TOKEN", "methodArn": {"x": token}, "authorizationToken": [token]}))
            header, payload, signature = token.split(".")
            assert payload not in one.log and signature not in one.log
        assert one.records(), "it logged nothing at all"
        assert server.asked
        assert "decision" in one.log and "token_no_key" in one.log


def test_no_level_of_one_target_puts_events_into_the_log(authorizer, server):
    one = authorizer(config(server), {"COUNTERSIGN_LOG__LEVEL": "trace,lambda_runtime::layers=trace"}).start()
    token = AUTH0.token()
    assert one.ask(token).let_in
    assert token.split(".")[1] not in one.log


@pytest.mark.parametrize("text", [b"", b"no JSON", b'{"type":"\xff"}'], ids=["nothing", "no JSON", "no UTF-8"])
def test_goes_on_after_what_is_no_json(text, running):
    assert not running.invoke(text).let_in
    assert running.ask(AUTH0.token()).let_in


def test_the_log_says_why_a_request_was_refused_and_under_which_name(authorizer, server):
    one = authorizer(config(server)).start()
    one.ask(AUTH0.token({"exp": 1}))
    one.invoke(json.dumps(SCHEDULE))
    assert one.refusals == ["token_expired", "event_unknown"]
    refused = next(record for record in one.records() if record.get("code") == "token_expired")
    named = json.loads(event("rest-request", ""))["requestContext"]["requestId"]
    assert (refused["request_id"], refused["level"]) == (named, "INFO")


def test_a_refused_token_is_no_error_in_the_log(authorizer, server):
    one = authorizer(config(server)).start()
    assert one.ask(AUTH0.token({"exp": 1})).unauthorized
    assert [record["level"] for record in one.records()] == ["INFO"]


def warnings(one, text):
    return [record for record in one.records() if record["level"] == "WARN" and text in record.get("message", "")]


def routed(key, *sources, method="GET", path="/request"):
    """An event of an HTTP API for this route, whose identity sources have these values beside the token, and of `PATH` the path."""
    token = AUTH0.token()
    text, sources = json.loads(event("http-v2", token)), [path if source == "PATH" else source for source in sources]
    text |= {"routeKey": key, "rawPath": path, "identitySource": [f"Bearer {token}", *sources]}
    text["requestContext"] |= {"routeKey": key, "http": text["requestContext"]["http"] | {"method": method, "path": path}}
    return json.dumps(text)


RULES = '\n[[gate.routes]]\npath = "/orders/**"\n[[gate.routes]]\npath = "/**"\nany_scope = ["admin"]\n'


@pytest.mark.parametrize(
    "route, sources, says",
    [
        ("GET /orders/7", ["GET /orders/7"], None),
        ("$default", ["GET", "PATH"], None),
        ("ANY /{proxy+}", ["GET", "PATH"], None),
        ("GET /orders/7", [], "opens all others"),
        ("ANY /{proxy+}", ["ANY /{proxy+}"], "of this route"),
        ("$default", ["$default"], "of this route"),
        ("GET /orders/{id}", ["GET /orders/{id}"], "of this route"),
    ],
)
def test_a_yes_that_would_be_remembered_for_other_requests_is_warned_of_once(route, sources, says, authorizer, server):
    trust = AUTH0.trust | {"keys_url": server.url()}
    one = authorizer(configuration(trust, gate=COOKIE) + RULES).start()
    for _ in range(3):
        assert one.invoke(routed(route, *sources, path="/orders/7")).let_in
    assert not one.invoke(routed(route, *sources, path="/admin")).let_in
    warned = warnings(one, "identity source")
    assert len(warned) == (0 if says is None else 1), warned
    if warned:
        assert says in warned[0]["message"] and 'gate.http_api_response = "policy"' in warned[0]["message"]
        assert warned[0].get("route") == (route if says == "of this route" else None)


def test_a_yes_that_is_right_for_all_requests_is_not_warned_of(authorizer, server):
    trust = AUTH0.trust | {"keys_url": server.url()}
    # Without rules a token opens everything; a policy says what it opens.
    policies = {"COUNTERSIGN_GATE__HTTP_API_RESPONSE": "policy"}
    for one in [authorizer(configuration(trust, gate=COOKIE)), authorizer(configuration(trust, gate=COOKIE) + RULES, policies)]:
        assert one.start().invoke(routed("$default", path="/orders/7")).error is None
        assert warnings(one, "identity source") == []


def test_rules_that_no_policy_can_say_are_warned_of_once(authorizer, server):
    trust = AUTH0.trust | {"keys_url": server.url()}
    text = event("rest-token", AUTH0.token())
    arn = json.loads(text)["methodArn"]
    stage = "/".join(arn.split("/")[:2])
    one_id, below, unsaid = (f'[[gate.routes]]\npath = "{path}"\n' for path in ("/orders/{id}", "/orders/{id}/items", "/a/{id}/c/**"))
    for rules, path, let_in, open_later, warned in [
        (one_id, "/orders/5", True, "/orders/6", 0),
        # A refusal keeps its caller out of nothing that the rules let in.
        (one_id, "/nope", False, "/orders/6", 0),
        (one_id, "/orders//5", False, "/orders/6", 0),
        (one_id, "/orders/a%20b", True, "/orders/6", 0),
        (one_id + below, "/orders/5", True, "/orders/6", 1),
        # Nothing is left of the rules that a policy could allow, so the answer keeps its caller out of all of them.
        (unsaid, "/a/1/c/2", True, None, 1),
        (unsaid, "/nope", False, None, 1),
    ]:
        one = authorizer(f"{configuration(trust)}\n{rules}").start()
        for _ in range(3):
            reply = one.invoke(text.replace(arn, f"{stage}/GET{path}"))
            assert reply.let_in == let_in, (rules, path)
        if open_later:
            assert allows(reply.json["policyDocument"], f"{stage}/GET{open_later}"), (rules, path)
        assert len(warnings(one, "cannot be said in a policy")) == warned, (rules, path)
