"""Session tokens of AWS, which every function of Lambda has: S3 is sent them, signed, and nobody is shown them.

MiniStack takes a request with any token; versitygw, on which the other tests of S3 run, takes none.
"""

import json

import pytest
from e2e import aws, stores
from e2e.program import CONFIG, client, until
from e2e.stores import quick, ready

#: What S3 sends back of a request that it refuses: some of it is what was asked with.
SIGNATURE = f"<AWSAccessKeyId>{aws.KEY_ID}</AWSAccessKeyId><StringToSign>{aws.TOKEN}</StringToSign>"
REFUSALS = [
    (403, "AccessDenied", "<Message>User: u may not</Message>"),
    (403, "InvalidToken", f"<Message>{aws.TOKEN} {aws.SECRET}</Message><Token-0>{aws.TOKEN}</Token-0>"),
    (400, "ExpiredToken", f"<Token-0>{aws.TOKEN}</Token-0>"),
    (403, "SignatureDoesNotMatch", SIGNATURE),
]


@pytest.fixture
def world(aws_world):
    """Writes all that it can into its log; at the end nothing of it and of what commands printed may be secret."""
    aws_world.environment |= {"COUNTERSIGN_LOG__LEVEL": "trace"}
    shown, run = [], aws_world.run

    def kept(*arguments, **rest):
        done = run(*arguments, **rest)
        shown.append(done.stdout + done.stderr)
        return done

    aws_world.run = kept
    assert aws_world.environment["AWS_SESSION_TOKEN"] == aws.TOKEN
    yield aws_world
    if (aws_world.folder / "log").exists():
        shown.append(aws_world.log)
    shown += [repr(process.printed) for process in aws_world.started]
    for secret in (aws.TOKEN, aws.SECRET, aws.KEY_ID, *sealing(aws_world)):
        assert not [text for text in shown if secret in text], secret


def sealing(world):
    """The key that the store's keys are sealed with, where the program has made one."""
    return [path.read_text(encoding="utf-8").strip() for path in world.folder.rglob("sealing.key")]


def carried(relay, *methods):
    """Demands that all that was asked has the token, under the signature; and that these methods were among it."""
    asked = list(relay.asked)
    assert {method for method, _, _ in asked} >= set(methods)
    for method, path, headers in asked:
        headers = {name.lower(): value for name, value in headers.items()}
        assert headers.get("x-amz-security-token") == aws.TOKEN, (method, path)
        signed = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
        assert "x-amz-security-token" in signed, (method, path)
        assert aws.TOKEN not in path and aws.SECRET not in f"{path} {headers}", (method, path)
    relay.asked.clear()


def refusing(relay):
    """S3 that refuses in each of the ways, and then is away; each with the exit code that it means."""
    for status, code, more in REFUSALS:
        answer = (status, f"<Error><Code>{code}</Code>{more}</Error>".encode())
        relay.spoil = lambda method, path, answer=answer: answer
        yield 78
    relay.shut()
    yield 70
    relay.unshut()


def test_a_store_asks_with_the_token_and_shows_it_to_nobody(world, ministack, relay):
    store = f"s3://{ministack.bucket()}/keys?region=us-east-1&endpoint={relay.url}"
    world.configure(quick(store))
    issuer = world.serve().printed["issuer"]
    ready(issuer)
    stores.sign(issuer)
    world.done("store", "check", store)
    world.done("keys", "prepare")
    carried(relay, "GET", "PUT", "DELETE")
    for exit in refusing(relay):
        for command in [("store", "check", store), ("serve",)]:
            world.fails(exit, store.split("?")[0], *command)
        before = len(relay.asked)
        until(lambda before=before: len(relay.asked) > before, "the server asks on")
        carried(relay)
    ready(issuer)
    assert "InvalidToken" in world.log, "it has something to say"


def test_what_is_published_is_written_with_the_token_and_it_is_shown_to_nobody(world, ministack, relay):
    target = f"s3://{ministack.bucket()}/auth?endpoint={relay.url}"
    world.configure(CONFIG + client("tests"))
    world.done("publish", target)
    old = world.keys()[0]["kid"]
    world.done("keys", "publish", json.loads(world.done("keys", "prepare", "--json"))["kid"])
    world.done("keys", "revoke", old)
    world.done("publish", target)
    carried(relay, "GET", "PUT", "DELETE")
    for exit in refusing(relay):
        world.fails(exit, target.split("?")[0], "publish", target)
        carried(relay, "GET")


def test_a_configuration_in_a_bucket_is_read_with_the_token_and_it_is_shown_to_nobody(world, ministack, relay):
    bucket = ministack.bucket()
    text = CONFIG.replace("@PORT@", "1") + client("tests")
    ministack.client("s3").put_object(Bucket=bucket, Key="countersign.toml", Body=text.encode())
    world.environment |= {"AWS_ENDPOINT_URL_S3": relay.url, "COUNTERSIGN_CONFIG": f"s3://{bucket}/countersign.toml"}
    world.done("config", "check")
    carried(relay, "GET")
    for exit in refusing(relay):
        world.fails(exit, world.environment["COUNTERSIGN_CONFIG"], "config", "check")
        carried(relay, "GET")
