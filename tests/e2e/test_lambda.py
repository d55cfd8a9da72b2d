"""The issuer as a Lambda function: what every source gets, what is refused, what is frozen and thawed, what a schedule does.

The runtime API is the one of tests/gate/lambda_api.py; the events are the documented ones. AWS is MiniStack, behind a relay where
what is asked of it counts.
"""

import base64
import concurrent.futures
import hashlib
import itertools
import json
import re
import resource
import signal
import subprocess

import jwt
import pytest
from e2e import aws, dpop, wire
from e2e.function import SOURCES, Function, Gateway, answer, documented, request
from e2e.program import SECRET, client, free_port, until
from gate.lambda_api import FUNCTION
from gate.lambda_api import event as authorizer_event
from gate.lambda_api import event_names

ISSUER = "https://issuer.example/jwt-server"
CONFIG = f'issuer = "{ISSUER}"\n\n[store]\nurl = "sqlite:keys.db"\nfirst_keys = "create"\n\n[rings.default]\nalgorithm = "ES256"\n'
JSON = {"Content-Type": "application/json"}
GOOD = JSON | {"Authorization": wire.basic("tests", SECRET)}
BAD = JSON | {"Authorization": wire.basic("tests", "wrong")}
BODY = '{"data":{"sub":"alice"}}'
#: Sources that tell the address of the caller.
ADDRESSED = [source for source in SOURCES if not source.startswith("alb")]


@pytest.fixture
def functions(full_binary, tmp_path_factory):
    """A factory of functions, which must all be well at the end unless they were to end."""
    made = []

    def make(config=CONFIG + client("tests"), environment=None, folder=None):
        one = Function(full_binary, folder or tmp_path_factory.mktemp("function"), config, environment)
        made.append(one)
        return one

    try:
        yield make
        for one in made:
            assert one.process is None or one.process.returncode is not None or one.is_well(), one.log
    finally:
        for one in made:
            one.end()


def verify(token, keys, issuer=ISSUER):
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["ES256"], issuer=issuer, audience="api://default")


def audits(function):
    return [record for record in function.records() if record["target"] == "countersign::audit"]


# What every source gets.


def test_every_source_gets_documents_and_tokens_in_its_own_form(functions):
    function = functions().start()
    keys = function.jwks()
    for source in SOURCES:
        discovery = function.ask(source, path="/.well-known/openid-configuration")
        assert discovery.status == 200 and discovery.json()["issuer"] == ISSUER, source
        assert discovery.header("content-type") == "application/json", source
        assert re.fullmatch(r"public, max-age=\d+", discovery.header("cache-control")), source
        assert discovery.reply["isBase64Encoded"] is False
        # At the issuer's own path too.
        below = function.ask(source, path="/jwt-server/.well-known/jwks.json")
        assert below.json() == keys and below.header("access-control-allow-origin") == "*", source
        known = function.ask(source, path="/.well-known/jwks.json", headers={"If-None-Match": below.header("etag")})
        assert (known.status, known.body) == (304, b""), source
        head = function.ask(source, "HEAD", "/.well-known/jwks.json")
        assert (head.status, head.body) == (200, b"") and head.headers["etag"] == below.headers["etag"], source
        (key,) = keys["keys"]
        pem = function.ask(source, path=f"/asap/{hashlib.sha256(key['kid'].encode()).hexdigest()}.pem")
        assert pem.reply["body"].startswith("-----BEGIN PUBLIC KEY-----\n") and not pem.reply["isBase64Encoded"], source
        assert function.ask(source, path="/healthz").body == b"ok\n"
        assert function.ask(source, path="/readyz").body == b"ready\n"

        form = f"data={BODY[8:-1]}&client_id=tests&client_secret={SECRET}"
        for headers, body in [
            (GOOD, BODY),
            (GOOD, BODY.encode()),
            ({"content-type": wire.FORM}, form),
            ({"Content-Type": wire.FORM}, form.encode()),
            # The body is whole, whatever is said about how it came.
            (GOOD | {"Content-Length": "3", "Transfer-Encoding": "chunked", "Connection": "close"}, BODY),
        ]:
            signed = function.ask(source, "POST", "/sign", headers, body)
            assert signed.status == 200 and signed.header("cache-control") == "no-store", (source, signed)
            token = signed.json()["access_token"]
            assert verify(token, keys)["sub"] == "alice", source
            # Its record is written by the time it leaves.
            record = audits(function)[-1]
            assert record["token_sha256"] == hashlib.sha256(token.encode()).hexdigest(), record
            assert record["request_id"] == signed.header("x-request-id")
            # Load balancers say it in a header alone, which nobody is believed.
            assert record["address"] == ("0.0.0.0" if source not in ADDRESSED else documented_address(source)), source


def test_every_source_hands_on_proofs_as_they_were_sent_and_the_metadata_of_the_service(functions):
    """DPoP (RFC 9449): the URL of a proof is the issuer's, whatever path and stage an event has; two proofs are seen to be two. And
    what the service behind the gate says of itself (RFC 9728)."""
    grants = 'grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\n'
    trust = f'\n[[trust]]\nissuer = "{ISSUER}"\nkeys_url = "{ISSUER}/.well-known/jwks.json"\naudiences = ["api://default"]\n'
    resource = '\n[gate.resource]\nurl = "https://api.example/v1"\n'
    function, holder = functions(CONFIG + client("worker", more=grants) + trust + resource).start(), dpop.Holder()
    own = [("Content-Type", wire.FORM), ("Authorization", wire.basic("worker", SECRET))]
    for source in SOURCES:
        def ask(path, *proofs):
            return function.ask(source, "POST", path, [*own, *(("DPoP", proof) for proof in proofs)], "grant_type=client_credentials")

        for path in ("/token", "/jwt-server/token"):
            bound = ask(path, holder.proof(f"{ISSUER}/token"))
            assert (bound.status, bound.json()["token_type"]) == (200, "DPoP") and bound.header("dpop-nonce"), (source, bound)
        again = ask("/token", holder.proof(f"{ISSUER}/token", iat=0, nonce=bound.header("dpop-nonce")))
        assert again.status == 200, (source, again)
        # A load balancer with single values has thrown one of two away before it asks.
        if source != "alb":
            refused = ask("/token", holder.proof(f"{ISSUER}/token"), holder.proof(f"{ISSUER}/token"))
            assert (refused.status, refused.json()["error"]) == (400, "invalid_dpop_proof"), (source, refused)
            assert "exactly one header" in refused.json()["error_description"], source
        wrong = ask("/token", holder.proof("https://issuer.example/token"))
        assert wrong.status == 400 and f"expected is {ISSUER}/token" in wrong.json()["error_description"], (source, wrong)
        found = function.ask(source, path="/.well-known/oauth-protected-resource/v1")
        assert found.status == 200 and found.json()["resource"] == "https://api.example/v1", (source, found)
        assert found.json()["authorization_servers"] == [ISSUER] and found.reply["isBase64Encoded"] is False, source


def test_every_source_gets_access_tokens_by_its_grant(functions):
    granted = client("worker", more='grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\n')
    function = functions(CONFIG + granted).start()
    keys, form = function.jwks(), {"Content-Type": wire.FORM}
    for source in SOURCES:
        body = "grant_type=client_credentials"
        told = function.ask(source, "POST", "/token", form | {"Authorization": wire.basic("worker", SECRET)}, body)
        assert told.status == 200 and told.header("cache-control") == "no-store", (source, told)
        token = told.json()["access_token"]
        assert verify(token, keys)["client_id"] == "worker" and jwt.get_unverified_header(token)["typ"] == "at+jwt", source
        record = audits(function)[-1]
        assert record["token_sha256"] == hashlib.sha256(token.encode()).hexdigest(), record
        refused = function.ask(source, "POST", "/jwt-server/token", form | {"Authorization": wire.basic("worker", "x")}, body.encode())
        assert refused.status == 401 and refused.json()["error"] == "invalid_client", source


def documented_address(source):
    return "203.0.113.7" if source == "function-url" else "192.0.2.1"


def test_refusals_say_the_same_in_the_body_as_in_a_header_that_is_renamed(functions):
    function = functions().start()
    for source in SOURCES:
        refused = function.ask(source, "POST", "/sign", BAD, BODY)
        assert refused.status == 401, source
        assert refused.header("www-authenticate") == 'Basic realm="countersign", charset="UTF-8"', source
        assert refused.json()["error"] == "invalid_client" and "HTTP Basic" in refused.json()["error_description"]
        for method, path, headers, body, status in [
            ("GET", "/nothing", {}, None, 404),
            ("GET", "/sign", {}, None, 405),
            ("POST", "/.well-known/jwks.json", {}, None, 405),
            ("POST", "/sign", GOOD, "{", 400),
            ("POST", "/sign", GOOD | {"Content-Type": "text/plain"}, BODY, 415),
            ("POST", "/sign", GOOD, "x" * 1_000_000, 413),
            ("POST", "/sign", GOOD, b"x" * 1_000_000, 413),
            ("POST", "/sign", GOOD | {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08", 400),
            ("GET", "/" + "a" * 20_000, {}, None, 414),
            ("GET", "/healthz", {"x": "y" * 70_000}, None, 431),
            ("GET", "/healthz", {f"x{n}": "y" for n in range(101)}, None, 431),
            ("GET", "/healthz", {"bad name": "y"}, None, 400),
            ("GET", "/healthz", {"x": "a\r\nb"}, None, 400),
            ("G T", "/healthz", {}, None, 400),
            ("GET", "/metrics", {}, None, 403),
            ("GET", "/gate", {}, None, 404),
        ]:
            answered = function.ask(source, method, path, headers, body)
            assert answered.status == status, (source, method, path, answered)
            assert set(answered.json()) == {"error", "error_description"}, (source, path)
        broken = request(source, "POST", "/sign", GOOD, BODY) | {"body": "no base64!", "isBase64Encoded": True}
        assert answer(source, function.invoke(json.dumps(broken)).json).status == 400


def test_what_two_headers_say_is_never_taken_for_what_one_says(functions):
    function = functions().start()
    authorization = GOOD["Authorization"]
    for source in SOURCES:
        if source == "alb":
            continue  # It hands on one of them, as AWS documents.
        twice = [("Content-Type", "application/json"), ("Authorization", authorization), ("Authorization", authorization)]
        assert function.ask(source, "POST", "/sign", twice, BODY).status in (400, 401), source
        hosts = [("Host", "issuer.example"), ("Host", "issuer.example")]
        # Payload 2.0 joins values with a comma, which a host may have in it.
        expected = 200 if "rawPath" in documented(source) else 400
        assert function.ask(source, path="/healthz", headers=hosts).status == expected, source


def test_a_hostile_host_is_refused_or_changes_nothing_and_the_function_lives(functions):
    function = functions().start()
    documents = [function.ask("rest", path="/.well-known/openid-configuration").body]
    for source in SOURCES:
        for host in ["a b", "a@b", "a/b", "é", "a?b", "\\", "<x>", '"']:
            assert function.ask(source, path="/healthz", headers={"Host": host}).status == 400, (source, host)
        for host in ["a:99999999", "[bad", "", "evil.example", "%", "]", ":::"]:
            told = function.ask(source, path="/.well-known/openid-configuration", headers={"Host": host})
            assert told.status == 200 and told.body == documents[0], (source, host)
        without = request(source, path="/healthz")
        for name in ("headers", "multiValueHeaders"):
            if without.get(name):
                without[name] = {"accept": without[name].get("accept", "*/*")} if name == "headers" else {"accept": ["*/*"]}
        assert answer(source, function.invoke(json.dumps(without)).json).status == 200, source


def test_failed_requests_are_counted_by_the_address_of_the_context_and_by_no_header(functions):
    function = functions(CONFIG + client("tests") + '\n[limits]\nper_address = "2/h"\n').start()
    forged = iter(range(1_000_000))

    def refused(source, address):
        headers = BAD | {"X-Forwarded-For": f"198.51.100.{next(forged) % 250}", "Forwarded": "for=198.51.100.1"}
        return function.ask(source, "POST", "/sign", headers, BODY, address=address).status

    for number, source in enumerate(ADDRESSED):
        here, there = f"203.0.113.{number}", f"198.51.100.{number}"
        assert [refused(source, here) for _ in range(3)] == [401, 401, 429], source
        assert refused(source, there) == 401, source
        good = function.ask(source, "POST", "/sign", GOOD, BODY, address=here)
        assert good.status == 200, "an authenticated client is not held up"
    # Behind load balancers all callers count as one.
    assert [refused(source, None) for source in ("alb", "alb-multi-value", "alb")] == [401, 401, 429]
    assert function.ask("alb", "POST", "/sign", GOOD, BODY).status == 200


def test_a_proxy_that_is_named_says_for_whom_it_asks(functions):
    trusted = '\n[server]\ntrusted_proxies = ["198.51.100.0/24"]\n[limits]\nper_address = "1/h"\n'
    function = functions(CONFIG + client("tests") + trusted).start()

    def refused(forwarded, address):
        return function.ask("http-v2", "POST", "/sign", BAD | {"X-Forwarded-For": forwarded}, BODY, address=address).status

    assert refused("192.0.2.1, 198.51.100.7", "198.51.100.7") == 401
    assert refused("192.0.2.1, 198.51.100.8", "198.51.100.8") == 429
    assert refused("192.0.2.2, 198.51.100.8", "198.51.100.8") == 401
    assert refused("192.0.2.3", "203.0.113.9") == 401
    assert refused("192.0.2.4", "203.0.113.9") == 429, "not one of them"


def test_a_load_balancer_that_is_named_says_for_whom_it_asks(functions):
    """It has no address in its events; what it has appended is the last entry, and the others are the caller's."""
    trusted = '\n[server]\ntrusted_proxies = ["0.0.0.0/32"]\n[limits]\nper_address = "1/h"\n'
    function = functions(CONFIG + client("tests") + trusted).start()

    def refused(source, forwarded):
        return function.ask(source, "POST", "/sign", BAD | {"X-Forwarded-For": forwarded}, BODY).status

    for number, source in enumerate(("alb", "alb-multi-value")):
        last = f"203.0.113.{number}"
        assert refused(source, f"192.0.2.1, {last}") == 401 and audits(function)[-1]["address"] == last
        assert refused(source, f"192.0.2.2, {last}") == 429
        assert refused(source, f"{last}, 198.51.100.{number}") == 401
    assert [refused("alb", "nonsense") for _ in range(2)] == [401, 429], "all of whom nothing is known"


STRANGE = {
    "a warmer": {}, "another warmer": {"source": "serverless-plugin-warmup"}, "a list": [1], "a text": "x", "nothing": None,
    "SQS": {"Records": [{"eventSource": "aws:sqs", "body": "SECRET"}]},
    "an authorizer's": {"type": "TOKEN", "authorizationToken": "SECRET", "methodArn": "arn:aws:execute-api:x:1:a/s/GET/"},
    "a WebSocket's": {"requestContext": {"connectionId": "x", "eventType": "CONNECT", "routeKey": "$connect"}},
    "another version": {"version": "3.0", "httpMethod": "GET", "requestContext": {"httpMethod": "GET"}},
    "another schedule": {"source": "aws.ec2", "detail-type": "Scheduled Event"},
    "headers of another kind": {"headers": "SECRET", "requestContext": {"elb": {}}},
    "1 MB of members": {f"member {n}": n for n in range(50_000)},
}


def test_an_event_that_is_none_is_an_error_that_says_so_and_repeats_nothing(functions):
    function = functions().start()
    for what, strange in STRANGE.items():
        reply = function.invoke(json.dumps(strange))
        assert reply.json is None and reply.error["errorType"] == "UnknownEvent", (what, reply)
        assert reply.error["errorMessage"].startswith("this function takes requests of API Gateway"), what
    for name in event_names():
        reply = function.invoke(authorizer_event(name, "SECRET"))
        assert reply.error["errorType"] == "UnknownEvent", name
    assert "SECRET" not in function.log
    assert function.ask("rest", path="/healthz").status == 200


# How it starts, and what a start asks for.


def test_what_is_not_set_or_not_right_ends_the_start_with_a_line(functions, binary, full_binary):
    function = functions()
    for missing in FUNCTION:
        environment = dict(function.environment)
        del function.environment[missing]
        code, shown = function.run()
        assert code == 78 and f"{missing} is not set" in shown, shown
        function.environment = environment
    function.environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = "much"
    assert function.run()[0] == 78
    bad = functions(CONFIG + "nonsense = 1\n")
    code, shown = bad.run()
    assert code == 78 and "unknown field `nonsense`" in shown, shown
    refuses = functions(CONFIG.replace("create", "refuse"))
    code, shown = refuses.run()
    assert code == 78 and "there is no keyring" in shown, shown


def test_a_configuration_is_a_file_of_the_package_or_variables_alone(functions, tmp_path):
    (tmp_path / "countersign.toml").write_text(CONFIG + client("tests"), encoding="utf-8")
    function = functions(None, {"LAMBDA_TASK_ROOT": str(tmp_path)}).start()
    assert function.ask("rest", "POST", "/sign", GOOD, BODY).status == 200
    variables = {
        "LAMBDA_TASK_ROOT": str(tmp_path / "nothing"), "COUNTERSIGN_ISSUER": ISSUER, "COUNTERSIGN_STORE__URL": "memory:",
        "COUNTERSIGN_RINGS__DEFAULT__ALGORITHM": "ES256",
    }
    alone = functions(None, variables).start()
    assert alone.ask("http-v2", path="/.well-known/openid-configuration").json()["issuer"] == ISSUER


def test_a_start_with_serve_on_its_command_line_is_the_same_and_other_commands_are_commands(functions):
    function = functions()
    function.arguments = ["serve"]
    function.start()
    assert function.ask("rest", "POST", "/sign", GOOD, BODY).status == 200
    function.terminate()
    done = subprocess.run(
        [function.binary, "keys", "list", "--json"], cwd=function.folder, env=function.environment, capture_output=True, text=True,
        timeout=60,
    )
    assert done.returncode == 0 and json.loads(done.stdout), done.stderr


# DynamoDB.

NAMES = iter(range(1_000_000))


@pytest.fixture
def table(aws_world):
    name = f"lambda-{next(NAMES)}"
    aws_world.done("store", "create", f"dynamodb://{name}")
    return name


def on_dynamodb(table, issuer=ISSUER, more=""):
    text = CONFIG.replace(ISSUER, issuer).replace("sqlite:keys.db", f"dynamodb://{table}")
    return text.replace("[rings", 'refresh = "200ms"\n\n[sealing]\nkey = "env:SEALING"\n\n[rings') + client("tests") + more


SEALING = {"SEALING": base64.b64encode(bytes(range(32))).decode()}


def test_two_cold_starts_at_once_on_an_empty_table_agree_on_the_keys(functions, ministack, table):
    pair = [functions(on_dynamodb(table), aws.variables(ministack.url) | SEALING) for _ in range(2)]
    for one in pair:
        one.start(wait=False)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ask = lambda one: one.api.push(json.dumps(request("http-v2", path="/.well-known/jwks.json"))).result(timeout=120)  # noqa: E731
        first, second = pool.map(ask, pair)
    keys = [answer("http-v2", reply.json).json()["keys"] for reply in (first, second)]
    assert keys[0] == keys[1] and len(keys[0]) == 1, keys
    token = pair[0].ask("rest", "POST", "/sign", GOOD, BODY).json()["access_token"]
    assert verify(token, pair[1].jwks())["sub"] == "alice"
    assert all(one.is_well() for one in pair)


def test_a_cold_start_reads_the_keyring_and_nothing_else(functions, ministack, relay, table):
    config = on_dynamodb(table).replace("200ms", "10m")
    functions(config, aws.variables(ministack.url) | SEALING).start().jwks()
    relay.asked.clear()
    function = functions(config, aws.variables(relay.url) | SEALING).start()
    function.jwks()
    function.ask("http-v2", path="/.well-known/openid-configuration")
    targets = [headers["x-amz-target"].split(".")[1] for _, _, headers in relay.asked]
    # The mark of the table; the keyring and the marks of revocation.
    assert targets == ["GetItem"] * 3, targets
    function.ask("http-v2", "POST", "/sign", GOOD, BODY)
    assert len(relay.asked) == 3, "nor is anything asked for a token"


def test_a_store_that_is_away_answers_503_and_the_function_is_there_when_it_comes_back(functions, ministack, relay, table):
    functions(on_dynamodb(table), aws.variables(ministack.url) | SEALING).start().jwks()
    relay.spoil = lambda method, path: (503, b'{"__type":"ServiceUnavailable"}')
    function = functions(on_dynamodb(table), aws.variables(relay.url) | SEALING).start()
    away = function.ask("http-v2", path="/.well-known/jwks.json")
    assert away.status == 503 and away.json()["error"] == "temporarily_unavailable", away
    relay.unshut()
    assert function.jwks()["keys"]
    # And one that goes while the function is at work leaves the keys last read.
    relay.spoil = lambda method, path: (503, b'{"__type":"ServiceUnavailable"}')
    until(lambda: function.ask("rest", "POST", "/sign", GOOD, BODY).status == 200, "it goes on with what it knows")


def test_what_others_change_is_taken_up_before_the_answer(functions, aws_world, ministack, table):
    environment = aws.variables(ministack.url) | SEALING
    function = functions(on_dynamodb(table), environment).start()
    (before,) = function.jwks()["keys"]
    aws_world.configure(on_dynamodb(table))
    aws_world.environment |= SEALING
    aws_world.done("keys", "revoke", before["kid"])
    until(lambda: before["kid"] not in str(function.jwks()), "the key is gone")
    token = function.ask("rest", "POST", "/sign", GOOD, BODY).json()["access_token"]
    assert jwt.get_unverified_header(token)["kid"] != before["kid"]


@pytest.mark.parametrize("how", ["cut", "silence"])
def test_connections_that_died_while_it_was_frozen_are_made_anew(functions, ministack, relay, table, how):
    """With an end that arrives when it is thawed, and without: then answers come from memory until the attempt is given up."""
    lose = relay.cut if how == "cut" else relay.silence
    function = functions(on_dynamodb(table), aws.variables(relay.url) | SEALING).start()
    before = function.jwks()
    for _ in range(3 if how == "cut" else 1):
        # Frozen as Lambda freezes; what was connected is not, when it is thawed.
        function.process.send_signal(signal.SIGSTOP)
        lose()
        asked = len(relay.asked)
        function.process.send_signal(signal.SIGCONT)
        until(lambda: function.jwks() == before and len(relay.asked) > asked, "it has asked the store again")
    assert "cannot be read again" not in function.log, function.log


# Schedules.


#: Everything in seconds, as in test_rotation.py.
QUICK = """
[rotation]
observe_every = "1s"
skew = "1s"

[tokens]
backdate = "0s"

[publish]
target = "s3://@BUCKET@/public"
key_id = "/@BUCKET@/key_id"

[rings.default]
algorithm = "ES256"
rotate_every = "12s"
propagation = "2s"
longest_token = "3s"
keep_retired = "10s"
"""


def test_schedules_alone_rotate_the_keys_and_publish_them(functions, ministack, table):
    """One function serves, behind a gateway that the other one's look goes through; nothing runs between events."""
    port = free_port()
    issuer, bucket = f"http://127.0.0.1:{port}", ministack.bucket()
    few = client("tests", more='audiences = ["api://default"]\nmax_lifetime = "3s"\nclaims = { allow = ["*"] }')
    config = on_dynamodb(table, issuer).split("\n[rings")[0] + QUICK.replace("@BUCKET@", bucket) + few
    config = config.replace('"200ms"', '"200ms"\nmax_stale = "3s"\nmax_stale_signing = "5s"')
    environment = aws.variables(ministack.url) | SEALING
    serving, turning = [functions(config, environment).start() for _ in range(2)]
    gateway = Gateway(port)
    gateway.function = serving
    short = json.dumps({"data": {"sub": "alice"}, "metadata": {"duration": 3}})
    schedules, steps = itertools.cycle(["schedule-rule", "schedule-scheduler"]), []

    def turn():
        done = turning.invoke(json.dumps(documented(next(schedules))))
        assert done.error is None, (done, turning.log)
        assert set(done.json) == {"seen", "look_failed", "done", "published"} and done.json["look_failed"] is None, done
        steps.extend(step["step"] for step in done.json["done"])
        # What is published is what the function serves after its own turn.
        assert json.loads(ministack.objects(bucket)["public/.well-known/jwks.json"]) == turning.jwks()
        return done.json

    def signing():
        token = serving.ask("http-v2", "POST", "/sign", GOOD, short).json()["access_token"]
        verify(token, serving.jwks(), issuer)
        return jwt.get_unverified_header(token)["kid"]

    try:
        first = signing()
        assert turn()["published"] == len(ministack.objects(bucket))
        told = lambda: ministack.client("ssm").get_parameter(Name=f"/{bucket}/key_id")["Parameter"]  # noqa: E731
        assert turn() and told()["Value"] == first and told()["Version"] == 1, "what it has already it is not given again"
        assert until(lambda: turn() and signing() != first, "another key signs", within=120)
        assert turn() and told()["Value"] == signing() and told()["Version"] == 2
        assert {"make", "activate"} <= set(steps), steps
    finally:
        gateway.end()


def test_a_turn_that_fails_is_the_error_of_its_invocation(functions, ministack, relay, table):
    function = functions(on_dynamodb(table), aws.variables(relay.url) | SEALING).start()
    function.jwks()
    relay.spoil = lambda method, path: (400, b'{"__type":"AccessDeniedException","message":"no"}')
    turn = function.invoke(json.dumps(documented("schedule-rule")))
    assert turn.json is None and turn.error["errorType"] == "RotationFailed", turn
    relay.unshut()
    assert function.invoke(json.dumps(documented("schedule-rule"))).error is None


# The log.


def test_no_token_leaves_without_its_record(functions):
    def nothing_more():
        # Writes to a file beyond this size fail.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    config = CONFIG.replace("sqlite:keys.db", "memory:").replace("[rings", '[sealing]\nkey = "env:SEALING"\n\n[rings')
    function = functions(config + client("tests"), SEALING)
    with open("/dev/full", "wb") as full:
        function.process = subprocess.Popen(
            [function.binary], cwd=function.folder, env=function.environment, stdin=subprocess.DEVNULL, stdout=full, stderr=full,
            preexec_fn=nothing_more,
        )
    (function.folder / "log").touch()
    until(function.api.waiting.is_set, "it asks for an event")
    refused = function.ask("http-v2", "POST", "/sign", GOOD, BODY)
    assert refused.status == 503 and "the log cannot be written" in refused.json()["error_description"], refused
    assert function.ask("http-v2", path="/.well-known/jwks.json").status == 200
