"""Events at the real bootstraps: the documented ones as they stand, with every member of every reply; and ten thousand that nobody
sends, which get an answer each.

The seed of those is printed; COUNTERSIGN_EVENT_SEED repeats a run. What is demanded of an answer is in `fault_of_…`, which are
tested themselves, on answers that a broken program would give.
"""

import copy
import json
import os
import random
import time
from concurrent.futures import TimeoutError as TooLate

import pytest
from e2e import wire
from e2e.function import SOURCES, Function, answer, documented, request
from e2e.program import SECRET, client
from gate import issuers, keyserver
from gate.lambda_api import Authorizer, Reply, event_names
from gate.lambda_api import event as authorizer_event
from gate.one_shot import configuration as gate_configuration

ISSUER = "https://issuer.example/jwt-server"
CONFIG = (
    f'issuer = "{ISSUER}"\n\n[store]\nurl = "sqlite:keys.db"\nfirst_keys = "create"\n\n[log]\nlevel = "error"\n'
    '[limits]\nper_address = "off"\n\n[rings.default]\nalgorithm = "ES256"\n'
)
JSON = {"Content-Type": "application/json"}
GOOD = JSON | {"Authorization": wire.basic("tests", SECRET)}
BAD = JSON | {"Authorization": wire.basic("tests", "wrong")}
BODY = '{"data":{"sub":"alice"}}'
SEED = int(os.environ.get("COUNTERSIGN_EVENT_SEED") or random.SystemRandom().randrange(2**32))
#: How many of the ten thousand each program gets.
ISSUERS, AUTHORIZERS = 6_000, 4_000
#: The longest that one event may take, in seconds. An answer takes a millisecond.
PATIENCE = 10


@pytest.fixture(scope="module")
def function(full_binary, tmp_path_factory):
    one = Function(full_binary, tmp_path_factory.mktemp("events"), CONFIG + client("tests")).start()
    try:
        yield one
        assert one.is_well(), one.log
    finally:
        one.end()


@pytest.fixture(scope="module")
def authorizer(full_binary, tmp_path_factory):
    """The gate, which lets in what AUTH0 has signed."""
    with keyserver.key_server() as server:
        server.serve("/keys", keyserver.answer(issuers.AUTH0.document(), max_age=600))
        gate = gate_configuration(issuers.AUTH0.trust | {"keys_url": server.url()})
        one = Authorizer(full_binary, tmp_path_factory.mktemp("authorizer"), gate).start()
        try:
            yield one
            assert one.is_well(), one.log
        finally:
            one.end()


# The documented ones, as they stand. The replies of authorizers to theirs are in tests/gate/test_lambda_runtime.py.

#: What the samples ask for is no route of an issuer.
REFUSAL = {
    "statusCode": 404, "isBase64Encoded": False, "body": '{"error":"not_found","error_description":"there is nothing at this path"}',
}
SINGLE = {"headers": {"cache-control": "no-store", "content-type": "application/json"}}
LISTS = {"multiValueHeaders": {"cache-control": ["no-store"], "content-type": ["application/json"]}}
DESCRIBED = {"statusDescription": "404 Not Found"}
REPLIES = {
    "rest": REFUSAL | LISTS, "rest-custom-domain": REFUSAL | LISTS, "http-v1": REFUSAL | LISTS, "http-v1-stage": REFUSAL | LISTS,
    "http-v2": REFUSAL | SINGLE, "http-v2-stage": REFUSAL | SINGLE, "function-url": REFUSAL | SINGLE,
    "alb": REFUSAL | SINGLE | DESCRIBED, "alb-multi-value": REFUSAL | LISTS | DESCRIBED,
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_documented_request_gets_the_reply_its_source_takes_member_by_member(source, function):
    reply = function.invoke(json.dumps(documented(source)))
    assert (reply.error, reply.json) == (None, REPLIES[source])
    answer(source, reply.json)


@pytest.mark.parametrize("source", SOURCES)
def test_the_keys_are_the_same_bytes_and_headers_for_every_source(source, function):
    wanted = function.ask("rest", path="/.well-known/jwks.json")
    told = function.ask(source, path="/.well-known/jwks.json")
    for one in (wanted, told):
        # It differs from answer to answer, so that caches do not come back all at once.
        assert one.headers.pop("cache-control")[0].startswith("public, max-age="), one
        one.headers.pop("x-request-id", None)
    assert (told.status, told.headers, told.body) == (200, wanted.headers, wanted.body), source


TURN = {"seen": None, "look_failed": None, "done": []}


@pytest.mark.parametrize("name", ["schedule-rule", "schedule-scheduler"])
def test_a_documented_schedule_gets_every_member_of_its_report(name, function):
    reply = function.invoke(json.dumps(documented(name)))
    # No ring of this issuer rotates by itself, so nothing is looked at, and nothing is due or published.
    assert (reply.error, reply.json) == (None, TURN)


# The others.

STRANGE_VALUES = [
    None, True, False, 0, -1, 1e300, 2**63, "", " ", "/", "//", "?", "%", "%00", "\0", "\r\n", "é", "\ud83d", "a b", "GET", "$default",
    "2.0", "1.0", [], {}, [None], [[]], {"": None}, {"a": {"b": []}}, ["x"] * 300, "x" * 100_000, {f"h{n}": "v" for n in range(300)},
]


def mutated(event, randomness):
    """The text of an event with one to four of its members changed, removed, or put elsewhere; Lambda hands on JSON alone."""
    event = copy.deepcopy(event)
    for _ in range(randomness.randint(1, 4)):
        places = []

        def walk(value, places=places):
            items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for key, inner in items:
                places.append((value, key))
                walk(inner)

        walk(event)
        if not places:
            break
        inside, key = randomness.choice(places)
        match randomness.randrange(6):
            case 0:
                del inside[key]
            case 1 if isinstance(inside, dict):
                inside[randomness.choice(("path", "rawPath", "headers", "body", "version", "requestContext", "x"))] = inside.pop(key)
            case 2 if isinstance(inside[key], str):
                at = randomness.randrange(len(inside[key]) + 1)
                inside[key] = inside[key][:at] + randomness.choice(("\0", "%", "/", " ", "é", "{", ",", "\n")) + inside[key][at:]
            case 3:
                other, name = randomness.choice(places)
                inside[key] = copy.deepcopy(other.get(name) if isinstance(other, dict) else None)
            case _:
                inside[key] = copy.deepcopy(randomness.choice(STRANGE_VALUES))
    return json.dumps(event)


def asked(program, text):
    """What a program makes of an event; None if it takes longer than it may."""
    try:
        return program.api.push(text).result(timeout=PATIENCE)
    except TooLate:
        return None


def fault_of_issuer(reply):
    """What is wrong with the issuer's answer to an event that proves nobody; None if nothing is."""
    if reply is None:
        return "it hangs"
    if reply.error is not None:
        right = set(reply.error) == {"errorType", "errorMessage"} and reply.error["errorType"] == "UnknownEvent"
        return None if right else "an error that is not that of an unknown event"
    if "seen" in reply.json:
        return None if reply.json == TURN else "a report of another shape"
    if not {"statusCode", "body", "isBase64Encoded"} <= set(reply.json) or ("headers" in reply.json) == ("multiValueHeaders" in reply.json):
        return "a reply of another shape"
    if not 200 <= reply.json["statusCode"] < 500:
        return "it blames itself"
    return "a token for nobody" if "access_token" in reply.json["body"] else None


def fault_of_gate(reply, may_be_let_in):
    """The same for the authorizer's; `may_be_let_in` where the token of the event was good."""
    if reply is None:
        return "it hangs"
    if reply.error is not None:
        return None if reply.unauthorized else "an error that becomes a 500"
    if "policyDocument" in reply.json:
        right = {"principalId", "policyDocument"} <= set(reply.json) <= {"principalId", "policyDocument", "context"}
        statements = reply.json["policyDocument"].get("Statement") or []
        right = right and all(set(statement) == {"Action", "Effect", "Resource"} and statement["Resource"] for statement in statements)
        if not (right and statements):
            return "a policy of another shape"
    elif not isinstance(reply.json.get("isAuthorized"), bool):
        return "an answer of another shape"
    return "let in without a good token" if reply.let_in and not may_be_let_in else None


def outcome(reply):
    """What came of an event, in a word or a status."""
    if reply.error is not None:
        return "error"
    if "statusCode" in reply.json:
        return reply.json["statusCode"]
    return "turn" if "seen" in reply.json else "let in" if reply.let_in else "kept out"


def test_ten_thousand_strange_events_get_an_answer_each_and_nothing_for_nothing(function, authorizer):
    print(f"COUNTERSIGN_EVENT_SEED={SEED}")
    randomness, since = random.Random(SEED), time.monotonic()
    ours = [request(source, "POST", "/sign", BAD, BODY) for source in SOURCES]
    ours += [request(source, path="/.well-known/jwks.json") for source in SOURCES]
    ours += [documented(source) for source in SOURCES]
    # A turn of the rotation takes as long as forty answers.
    ours = ours * 5 + [documented("schedule-rule"), documented("schedule-scheduler")]
    good, forged = issuers.AUTH0.token(), issuers.AUTH0.token(by=issuers.Key(issuers.AUTH0.key.kid))
    gates = [(json.loads(authorizer_event(name, token)), token is good) for name in event_names() for token in (good, forged)]
    seen = {}
    for number in range(ISSUERS + AUTHORIZERS):
        if number % 5 < 3:
            text = mutated(randomness.choice(ours), randomness)
            reply = asked(function, text)
            fault = fault_of_issuer(reply)
        else:
            # The events of the other program, too.
            event, let_in = randomness.choice(gates) if randomness.randrange(8) else (randomness.choice(ours), False)
            text = mutated(event, randomness)
            reply = asked(authorizer, text)
            fault = fault_of_gate(reply, let_in)
        assert fault is None, f"COUNTERSIGN_EVENT_SEED={SEED}, event {number}: {fault}\n{text[:2000]}\n{reply}"
        if number % 500 == 0:
            assert function.is_well() and authorizer.is_well(), f"COUNTERSIGN_EVENT_SEED={SEED}, up to event {number}"
        seen[outcome(reply)] = seen.get(outcome(reply), 0) + 1
    assert function.is_well() and authorizer.is_well(), f"COUNTERSIGN_EVENT_SEED={SEED}\n{function.log}\n{authorizer.log}"
    # Every way out was taken, so that no mistake of the test made all of them the same.
    assert {200, 400, 401, 404, "error", "let in", "kept out"} <= set(seen) and sum(seen.values()) == 10_000, (SEED, seen)
    print(f"10,000 events took {time.monotonic() - since:.0f} s")
    assert function.ask("alb", "POST", "/sign", GOOD, BODY).status == 200
    assert authorizer.ask(good).let_in


def reply(json=None, error=None, arn=None):
    return Reply(json, error, 0.001, arn)


ARN = "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/x"
WELL_FORMED = {"statusCode": 200, "headers": {}, "body": "{}", "isBase64Encoded": False}


def policy(effect="Allow", **more):
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": [ARN]}
    return {"principalId": "x", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}} | more


@pytest.mark.parametrize(
    ("answered", "fault"),
    [
        (None, "it hangs"),
        (reply(WELL_FORMED), None),
        (reply(WELL_FORMED | {"statusCode": 500}), "it blames itself"),
        (reply(WELL_FORMED | {"statusCode": 502}), "it blames itself"),
        (reply(WELL_FORMED | {"multiValueHeaders": {}}), "a reply of another shape"),
        (reply({"body": ""}), "a reply of another shape"),
        (reply(TURN), None),
        (reply(TURN | {"done": [{}]}), "a report of another shape"),
        (reply(WELL_FORMED | {"body": '{"access_token":"x"}'}), "a token for nobody"),
        (reply(error={"errorType": "UnknownEvent", "errorMessage": "x"}), None),
        (reply(error={"errorType": "Runtime.Panic", "errorMessage": "x"}), "an error that is not that of an unknown event"),
    ],
)
def test_what_is_wrong_with_an_answer_of_the_issuer_is_found(answered, fault):
    assert fault_of_issuer(answered) == fault


@pytest.mark.parametrize(
    ("answered", "fault"),
    [
        (None, "it hangs"),
        (reply(policy("Deny"), arn=ARN), None),
        (reply(policy(), arn=ARN), "let in without a good token"),
        (reply({"isAuthorized": True}), "let in without a good token"),
        (reply({"isAuthorized": False}), None),
        (reply({"isAuthorized": "no"}), "an answer of another shape"),
        (reply({}), "an answer of another shape"),
        (reply(policy(Deny=1), arn=ARN), "a policy of another shape"),
        (reply({"principalId": "x", "policyDocument": {"Statement": []}}, arn=ARN), "a policy of another shape"),
        (reply(error={"errorType": "X", "errorMessage": "Unauthorized"}), None),
        (reply(error={"errorType": "X", "errorMessage": "panicked"}), "an error that becomes a 500"),
    ],
)
def test_what_is_wrong_with_an_answer_of_the_gate_is_found(answered, fault):
    assert fault_of_gate(answered, False) == fault
