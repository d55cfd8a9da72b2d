"""The issuer as a function on DynamoDB, KMS and Systems Manager: two cold starts at once on an empty table, and each of the three
away in turn, with what still answers and what refuses how.

The program runs on the runtime API of tests/gate/lambda_api.py, so that a test decides when it starts and what it is asked. AWS is
MiniStack, with a door for each service: AWS_ENDPOINT_URL_DYNAMODB, …_KMS and …_SSM lead to a relay that can be shut.
"""

import base64
import concurrent.futures
import itertools
import json

import jwt
import pytest
from e2e import wire
from e2e.aws import Relay
from e2e.function import Function, answer, documented, request
from e2e.program import SECRET, client, until

ISSUER = "https://issuer.example"
SIGN = ("POST", "/sign", {"Content-Type": "application/json", "Authorization": wire.basic("tests", SECRET)}, '{"data":{"sub":"alice"}}')
JWKS = "/.well-known/jwks.json"
#: A client of `/token` and `/introspect`.
WORKER = client("worker", more='grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\nintrospect = ["api://default"]')
SERVICES = ("dynamodb", "kms", "ssm")
#: Algorithm, what KMS calls the key and how it signs.
KMS_RINGS = {"RS256": "RSA_2048", "ES256": "ECC_NIST_P256", "EdDSA": "ECC_NIST_EDWARDS25519"}
NAMES = itertools.count()


class World:
    """A table, a sealing key under KMS, a configuration in Systems Manager, and a door to each of the three."""

    def __init__(self, ministack, program, make_folder):
        self.ministack, self.program, self.make_folder = ministack, program, make_folder
        self.name = f"outages-{next(NAMES)}"
        self.doors = {service: Relay(ministack.port) for service in SERVICES}
        self.running = []
        ministack.client("dynamodb").create_table(
            TableName=self.name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        )
        self.sealing = ministack.client("kms").create_key()["KeyMetadata"]["Arn"]

    def configure(self, algorithm="ES256", signer="local", sealing=None, more=""):
        """The configuration, as a parameter. Its store is looked at before every answer."""
        text = (
            f'issuer = "{ISSUER}"\n\n[store]\nurl = "dynamodb://{self.name}"\nfirst_keys = "create"\nrefresh = "1ms"\n'
            f'max_stale = "1m"\nmax_stale_signing = "10m"\n\n[sealing]\nkey = "{sealing or f"kms:{self.sealing}"}"\n\n'
            f'[rings.default]\nalgorithm = "{algorithm}"\nsigner = "{signer}"\n{more}{client("tests")}{WORKER}'
        )
        self.ministack.client("ssm").put_parameter(Name=f"/{self.name}/config", Value=text, Type="String", Overwrite=True)

    def function(self, wait=True):
        """A cold start."""
        variables = self.ministack.variables | {f"AWS_ENDPOINT_URL_{name.upper()}": door.url for name, door in self.doors.items()}
        variables["COUNTERSIGN_CONFIG"] = f"ssm:/{self.name}/config"
        one = Function(self.program, self.make_folder("function"), None, variables)
        self.running.append(one)
        return one.start(wait=wait)

    def shut(self, *services):
        for name in services:
            self.doors[name].shut()
            self.doors[name].cut()

    def unshut(self):
        for door in self.doors.values():
            door.unshut()

    def asked(self, service):
        """Which operations a service was asked for."""
        return [headers["x-amz-target"].split(".")[-1] for _, _, headers in self.doors[service].asked if "x-amz-target" in headers]

    def end(self):
        for one in self.running:
            one.end()
        for door in self.doors.values():
            door.end()


@pytest.fixture
def world(ministack, full_binary, tmp_path_factory):
    one = World(ministack, full_binary, tmp_path_factory.mktemp)
    try:
        yield one
        assert all(one.process.returncode is not None or one.is_well() for one in one.running)
    finally:
        one.end()


def sign(function):
    """The token, verified with the keys that the function shows."""
    told = function.ask("http-v2", *SIGN)
    assert told.status == 200, f"{told}\n{function.log}"
    token = told.json()["access_token"]
    header = jwt.get_unverified_header(token)
    key = jwt.PyJWKSet.from_dict(function.jwks())[header["kid"]]
    assert jwt.decode(token, key, algorithms=[header["alg"]], issuer=ISSUER, audience="api://default")["sub"] == "alice"
    return header


def statuses(function):
    """What the public documents, a token and health get."""
    keys, token, health = function.ask("rest", path=JWKS), function.ask("rest", *SIGN), function.ask("rest", path="/healthz")
    for told in (keys, token):
        if told.status == 503:
            assert told.json()["error"] == "temporarily_unavailable", told
    return keys.status, token.status, health.status


def at_token(function, path, form):
    """What a client is told that asks with its secret."""
    headers = {"Content-Type": wire.FORM, "Authorization": wire.basic("worker", SECRET)}
    told = function.ask("rest", "POST", path, headers, form)
    if told.status == 503:
        assert told.json()["error"] == "temporarily_unavailable", told
    return told


# Two cold starts at once.


@pytest.mark.parametrize("signer", ["local", "kms"])
@pytest.mark.parametrize("algorithm", KMS_RINGS)
def test_two_cold_starts_at_once_on_an_empty_table_make_one_set_of_keys(world, algorithm, signer):
    world.configure(algorithm, signer)
    pair = [world.function(wait=False) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ask = lambda one: one.api.push(json.dumps(request("http-v2", path=JWKS))).result(timeout=120)  # noqa: E731
        first, second = [answer("http-v2", reply.json).json() for reply in pool.map(ask, pair)]
    assert first == second and len(first["keys"]) == 1, (first, second)
    kid = first["keys"][0]["kid"]
    for one, other in (pair, reversed(pair)):
        assert sign(one)["kid"] == kid
        token = one.ask("rest", *SIGN).json()["access_token"]
        key = jwt.PyJWKSet.from_dict(other.jwks())[kid]
        assert jwt.decode(token, key, algorithms=[algorithm], issuer=ISSUER, audience="api://default")["sub"] == "alice"
    if signer == "kms":
        # The one that lost has given its key up; what is left in KMS is what the keyring names.
        kms, left = world.ministack.client("kms"), []
        for key in kms.list_keys(Limit=1000)["Keys"]:
            metadata = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            ours = f"ring default of {ISSUER}" in metadata.get("Description", "") and metadata["KeySpec"] == KMS_RINGS[algorithm]
            if ours and metadata["KeyState"] == "Enabled":
                left.append(key["KeyId"])
        assert len(left) == 1, left
        kms.schedule_key_deletion(KeyId=left[0], PendingWindowInDays=7)


# Each service away, at work and at the start.


def test_dynamodb_away_leaves_tokens_and_keys_and_stops_cold_starts_until_it_is_back(world):
    world.configure()
    at_work = world.function()
    before = sign(at_work)
    token = at_token(at_work, "/token", "grant_type=client_credentials").json()["access_token"]
    world.shut("dynamodb")
    assert statuses(at_work) == (200, 200, 200)
    assert sign(at_work) == before, "with the keys last read"
    # What is about a thing that may happen once, or may have been revoked, is not answered from memory.
    assert at_token(at_work, "/token", "grant_type=client_credentials").status == 200
    assert [at_token(at_work, path, f"token={token}").status for path in ("/introspect", "/revoke")] == [503, 503]
    # What a schedule was to do is not done, and the invocation says so.
    turn = at_work.invoke(json.dumps(documented("schedule-rule")))
    assert turn.json is None and turn.error["errorType"] == "RotationFailed", turn

    cold = world.function()
    assert statuses(cold) == (503, 503, 503), "it has no keys, and says so for every path"
    assert "the keys cannot be read" in cold.log
    world.unshut()
    until(lambda: statuses(cold) == (200, 200, 200), "it reads the keys when they can be read")
    assert sign(cold)["kid"] == before["kid"]
    assert at_work.invoke(json.dumps(documented("schedule-rule"))).error is None
    assert at_token(at_work, "/introspect", f"token={token}").json()["active"] is True
    assert at_token(at_work, "/revoke", f"token={token}").status == 200
    assert at_token(at_work, "/introspect", f"token={token}").json() == {"active": False}


def test_kms_away_stops_cold_starts_that_open_a_sealing_key_and_nothing_that_is_at_work(world):
    world.configure()
    at_work = world.function()
    before = sign(at_work)
    world.doors["kms"].asked.clear()
    world.shut("kms")
    for _ in range(3):
        assert statuses(at_work) == (200, 200, 200) and sign(at_work) == before
    assert world.asked("kms") == [], "a function at work asks KMS for nothing"
    cold = world.function()
    assert statuses(cold)[:2] == (503, 503)
    assert "KMS is not available" in cold.log
    world.unshut()
    until(lambda: statuses(cold) == (200, 200, 200), "KMS is back")
    assert sign(cold)["kid"] == before["kid"]


@pytest.mark.parametrize("algorithm", KMS_RINGS)
def test_kms_away_stops_signatures_that_are_made_there_and_leaves_the_public_documents(world, algorithm):
    # The sealing key is elsewhere, so that only the signatures need KMS.
    parameter = f"/{world.name}/sealing"
    world.ministack.client("ssm").put_parameter(Name=parameter, Value=base64.b64encode(bytes(range(32))).decode(), Type="SecureString")
    world.configure(algorithm, "kms", sealing=f"ssm:{parameter}")
    at_work = world.function()
    before = sign(at_work)
    assert before["alg"] == algorithm
    world.shut("kms")
    assert statuses(at_work) == (200, 503, 200)
    assert statuses(world.function()) == (200, 503, 200), "a cold start reads public keys from the keyring"
    world.unshut()
    until(lambda: at_work.ask("rest", *SIGN).status == 200, "KMS is back")
    assert sign(at_work) == before


def test_systems_manager_away_ends_cold_starts_with_its_reason_and_touches_nothing_at_work(world):
    world.configure()
    at_work = world.function()
    before = sign(at_work)
    world.doors["ssm"].asked.clear()
    world.shut("ssm")
    assert statuses(at_work) == (200, 200, 200) and sign(at_work) == before
    assert world.asked("ssm") == [], "what it says is read at the start alone"
    cold = world.function(wait=False)
    code = cold.process.wait(timeout=60)
    # Without a configuration there is nothing to answer with; Lambda starts it again with the next request.
    assert code == 70 and f"ssm:/{world.name}/config" in cold.log, (code, cold.log)
    world.unshut()
    assert sign(world.function()) == before


# A service that hangs.


def test_a_start_whose_store_hangs_takes_events_before_lambda_would_begin_it_anew(world):
    """Lambda gives a start ten seconds. What hangs has ten of its own, so the limit of the start is what ends it."""
    world.configure()
    sign(world.function())
    hanging = world.doors["dynamodb"]
    hanging.spoil = lambda method, path: hanging.ended.wait(60) and "away" or "away"
    cold = world.function()
    assert "the keys could not be read within 8s; this is tried again with each request" in cold.log
    world.unshut()
    until(lambda: statuses(cold) == (200, 200, 200), "the store answers")
