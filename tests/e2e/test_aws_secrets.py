"""Secrets and configurations in AWS: parameters, secrets, objects (MiniStack, over the wire), and what is said where they cannot be had."""

import base64
import json
import time

import jwt
import pytest
from e2e import aws
from e2e.program import client

SEALING = base64.b64encode(bytes(range(32))).decode()
CONFIG = 'issuer = "https://issuer.example"\n\n[store]\nurl = "sqlite:keys.db"\n\n[sealing]\nkey = "@KEY@"\n\n[rings.default]\nalgorithm = "ES256"\n'
NAMES = iter(range(1_000_000))


def configuration(key):
    return CONFIG.replace("@KEY@", key) + client("tests")


@pytest.fixture
def name():
    """A name that no other test has."""
    return f"/countersign/{next(NAMES)}"


@pytest.fixture
def world(aws_world):
    yield aws_world
    shown = aws_world.log if (aws_world.folder / "log").exists() else ""
    assert SEALING not in shown and aws.SECRET not in shown


def signs(world):
    return json.loads(world.done("sign", "--claims", "{}", "--json"))["kid"]


def parameter(ministack, name, text, kind="SecureString"):
    ministack.client("ssm").put_parameter(Name=name, Value=text, Type=kind, Overwrite=True)


def secret(ministack, name, **value):
    return ministack.client("secretsmanager").create_secret(Name=name, **value)["ARN"]


def test_a_sealing_key_is_a_parameter_a_secret_or_a_member_of_one(world, ministack, name):
    parameter(ministack, name, SEALING)
    arn = secret(ministack, name, SecretString=SEALING)
    secret(ministack, f"{name}/json", SecretString=json.dumps({"sealing": SEALING, "number": 1}))
    kids = set()
    for key in [f"ssm:{name}", f"secretsmanager:{arn}", f"secretsmanager:{name}", f"secretsmanager:{name}/json#sealing"]:
        world.configure(configuration(key))
        kids.add(signs(world))
        world.done("config", "check")
        shown = world.done("keys", "list")
        assert SEALING not in shown
    assert len(kids) == 1, "one key, opened in four ways"


def test_every_setting_that_takes_a_reference_takes_these(world, ministack, name):
    parameter(ministack, name, "sqlite:elsewhere.db\n")
    secret(ministack, name, SecretString=SEALING)
    secret(ministack, f"{name}/hmac", SecretString="h" * 32)
    more = f'\n[[trust]]\nissuer = "https://other.example"\naudiences = ["a"]\nalgorithms = ["HS256"]\nhmac_secret = "secretsmanager:{name}/hmac"\n'
    text = configuration(f"secretsmanager:{name}").replace("sqlite:keys.db", f"ssm:{name}")
    world.configure(text.replace('[rings', f'also = ["secretsmanager:{name}"]\n\n[rings') + more)
    signs(world)
    assert (world.file.parent / "elsewhere.db").exists()
    world.done("config", "check")
    # And on a command line: the store is copied from where a parameter says.
    parameter(ministack, f"{name}/copy", f"sqlite:{world.file.parent / 'elsewhere.db'}")
    world.done("store", "copy", f"ssm:{name}/copy", "sqlite:copy.db")


@pytest.mark.parametrize("place", ["ssm", "s3"])
def test_a_configuration_is_a_parameter_or_an_object(world, ministack, s3, name, place):
    parameter(ministack, name, SEALING)
    text = configuration(f"ssm:{name}").replace("sqlite:keys.db", f"sqlite:{world.folder}/keys.db")
    if place == "ssm":
        parameter(ministack, f"{name}/config", text, "String")
        where = f"ssm:{name}/config"
    else:
        # versitygw takes no request whose signature is wrong; it knows no session tokens (see test_session_tokens.py).
        bucket = s3.bucket()
        s3.client("s3").put_object(Bucket=bucket, Key="a folder/countersign é.toml", Body=text.encode())
        world.environment |= {"AWS_ENDPOINT_URL_S3": s3.url, "AWS_SESSION_TOKEN": ""}
        where = f"s3://{bucket}/a folder/countersign é.toml"
    world.environment["COUNTERSIGN_CONFIG"] = where
    assert signs(world) == json.loads(world.done("--config", where, "sign", "--claims", "{}", "--json"))["kid"]
    # A variable still wins, and a mistake is named with its place.
    world.environment["COUNTERSIGN_TOKENS__BACKDATE"] = "much"
    world.fails(78, "COUNTERSIGN_TOKENS__BACKDATE", "config", "check")
    world.fails(2, "written by those who may write there", "init")


def test_what_cannot_be_had_is_said_by_its_reference_and_never_made(world, ministack, name):
    for number, (key, says) in enumerate([
        (f"ssm:{name}", "the parameter does not exist"),
        (f"secretsmanager:{name}", "the secret does not exist"),
        (f"secretsmanager:{name}/binary", "it is binary; store it as text"),
        (f"secretsmanager:{name}/text#member", "it is not a JSON object with the member"),
        (f"secretsmanager:{name}/json#other", "it is not a JSON object with the member"),
        (f"secretsmanager:{name}/json#number", "it is not a JSON object with the member"),
        (f"ssm:{name}/blank", "it is empty"),
    ]):
        if number == 0:
            secret(ministack, f"{name}/binary", SecretBinary=bytes(range(32)))
            secret(ministack, f"{name}/text", SecretString=SEALING)
            secret(ministack, f"{name}/json", SecretString=json.dumps({"sealing": SEALING, "number": 1}))
            parameter(ministack, f"{name}/blank", " ")
        world.configure(configuration(key))
        told = world.fails(78, says, "sign", "--claims", "{}")
        assert f"sealing.key {key}" in told and SEALING not in told, told
    for bad in ("ssm:name", "ssm:", "secretsmanager:", "secretsmanager:a b"):
        world.configure(configuration(bad))
        world.fails(78, "ssm:/NAME, secretsmanager:ARN", "sign", "--claims", "{}")
    for config, says in [
        (f"ssm:{name}/none", "the parameter does not exist"),
        ("s3://no-such-bucket-anywhere/x", "the bucket does not exist"),
        (f"s3://{ministack.bucket()}/none", "the object does not exist"),
        ("s3://Bad_Bucket/x", "needs the name of a bucket"),
    ]:
        world.fails(78, says, "--config", config, "config", "check")


def refusing(relay, service, answers):
    """Lets the first requests to a service end with these answers, and the others pass."""
    left = list(answers)

    def spoil(method, path):
        return left.pop(0) if left else None

    relay.spoil = spoil
    return left


@pytest.fixture
def spoiled_world(full_world, relay):
    own = {name: value for name, value in full_world.environment.items() if not name.startswith("AWS_")}
    full_world.environment = own | aws.variables(relay.url)
    return full_world


def error(status, code):
    return status, json.dumps({"__type": f"com.amazonaws#{code}", "message": "never shown"}).encode()


def test_what_may_pass_is_asked_again_and_what_may_not_is_told_at_once(spoiled_world, ministack, relay, name):
    parameter(ministack, name, SEALING)
    secret(ministack, name, SecretString=SEALING)
    for key in (f"ssm:{name}", f"secretsmanager:{name}"):
        spoiled_world.configure(configuration(key))
        passing = [error(400, "ThrottlingException"), "away", error(500, "InternalServerError")]
        left = refusing(relay, key, passing)
        signs(spoiled_world)
        assert left == [], "each of them was asked again"
        for answers, says, asked in [
            ([error(400, "ThrottlingException")] * 9, "AWS was asked too often (ThrottlingException)", 4),
            ([error(500, "InternalServerError")] * 9, "AWS does not answer as it should: InternalServerError", 4),
            (["away"] * 9, "AWS does not answer as it should", 4),
            ([error(400, "AccessDeniedException")] * 9, "this identity may not read it (AccessDeniedException); it needs", 1),
            ([error(400, "UnrecognizedClientException")] * 9, "this identity may not read it", 1),
            ([(403, b"<html>")] * 9, "this identity may not read it (403 Forbidden)", 1),
            ([(200, b"{}")] * 9, "the answer is not the documented one", 4),
            ([(200, b"SECRET")] * 9, "the answer is not the documented one", 4),
            ([(301, b"")] * 9, "AWS does not take the request", 1),
            ([(200, b"x" * 200_000)] * 9, "it is longer than 65536 bytes", 1),
        ]:
            left = refusing(relay, key, answers)
            done = spoiled_world.run("sign", "--claims", "{}")
            # What may pass is no mistake in the configuration, and a supervisor may try again.
            assert done.returncode == (70 if asked == 4 else 78) and says in done.stderr, (key, done)
            assert len(left) == 9 - asked, (key, says)
            assert "never shown" not in done.stderr and "SECRET" not in done.stderr and aws.SECRET not in done.stderr


def test_nothing_is_asked_where_nothing_refers_to_aws(spoiled_world, relay):
    spoiled_world.configure()
    signs(spoiled_world)
    spoiled_world.done("config", "check")
    assert relay.asked == []


def test_authorize_reads_a_configuration_once_and_what_it_refers_to(spoiled_world, ministack, relay, name):
    secret(ministack, f"{name}/hmac", SecretString="h" * 32)
    trust = f"""
[[trust]]
issuer = "https://other.example"
audiences = ["a"]
algorithms = ["HS256"]
hmac_secret = "secretsmanager:{name}/hmac"
"""
    now = int(time.time())
    claims = {"iss": "https://other.example", "aud": "a", "sub": "alice", "exp": now + 300}
    arn = "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET/orders"
    event = {"type": "TOKEN", "authorizationToken": jwt.encode(claims, "h" * 32, "HS256"), "methodArn": arn}
    # Of an authority, and of a gate alone.
    for kind, text in [("authority", configuration("file:sealing.key") + trust), ("gate", trust)]:
        parameter(ministack, f"{name}/{kind}", text, "String")
        relay.asked.clear()
        where = ("--config", f"ssm:{name}/{kind}")
        reply = json.loads(spoiled_world.done(*where, "authorize", "--event", "-", input=json.dumps(event)))
        assert reply["principalId"] == "alice", kind
        targets = [headers["x-amz-target"] for _, _, headers in relay.asked]
        assert targets == ["AmazonSSM.GetParameter", "secretsmanager.GetSecretValue"], kind


def test_requests_are_signed_with_the_credentials_and_region_of_the_reference(spoiled_world, ministack, relay, name):
    there = f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{name.strip('/')}-AbCdEf"
    spoiled_world.configure(configuration(f"secretsmanager:{there}"))
    spoiled_world.fails(78, "the secret does not exist", "sign", "--claims", "{}")
    _, _, headers = relay.asked[0]
    authorization = headers["authorization"]
    assert f"Credential={aws.KEY_ID}/" in authorization and "/eu-west-1/secretsmanager/aws4_request" in authorization
    assert headers["x-amz-security-token"] == aws.TOKEN and headers["x-amz-target"] == "secretsmanager.GetSecretValue"
    signed = authorization.split("SignedHeaders=")[1].split(",")[0].split(";")
    assert {"host", "x-amz-date", "x-amz-security-token", "x-amz-target"} <= set(signed)


def test_no_secret_goes_to_another_machine_in_plain_text(full_world, name):
    own = {name: value for name, value in full_world.environment.items() if not name.startswith("AWS_")}
    full_world.configure(configuration(f"ssm:{name}"))
    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSM"):
        full_world.environment = own | aws.variables("https://127.0.0.1:1") | {variable: "http://192.0.2.1"}
        full_world.fails(78, f"the endpoint ({variable}", "sign", "--claims", "{}")
    full_world.configure(configuration(f"secretsmanager:{name}"))
    full_world.environment = own | aws.variables("https://127.0.0.1:1") | {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://192.0.2.1"}
    full_world.fails(78, "(AWS_ENDPOINT_URL_SECRETS_MANAGER, ", "sign", "--claims", "{}")


def test_a_build_without_it_says_so(world, binary, full_binary, name, ministack):
    if binary == full_binary:
        return
    parameter(ministack, name, SEALING)
    world.configure(configuration(f"ssm:{name}"))
    world.binary = binary
    world.fails(78, "built with --features aws-secrets", "sign", "--claims", "{}")
    world.fails(78, "built with --features aws-secrets", "--config", f"ssm:{name}", "config", "check")
