"""Keys in a bucket of versitygw: two servers on one bucket, an outage under a running server, and the way there from SQLite and back."""

import datetime
import json
import re
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from e2e import aws, stores
from e2e.program import free_port, until
from e2e.stores import quick, ready

NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@pytest.fixture
def bucket(s3):
    return s3.bucket()


@pytest.fixture
def aws_world(aws_world):
    """versitygw knows no session tokens; test_session_tokens.py has them."""
    aws_world.environment |= {"AWS_SESSION_TOKEN": ""}
    return aws_world


def url(bucket, port, prefix="keys"):
    return f"s3://{bucket}/{prefix}?region=us-east-1&endpoint=http://127.0.0.1:{port}"


def test_two_servers_on_one_bucket_make_one_key_and_both_take_up_the_next(aws_world, s3, bucket, pem):
    stores.two_servers_make_one_key_and_both_take_up_the_next(aws_world, url(bucket, s3.port), pem)
    assert b"PRIVATE KEY" not in b"".join(s3.objects(bucket).values())


def test_a_server_goes_on_through_an_outage_of_s3_and_says_so_after_max_stale(aws_world, s3_relay, bucket):
    aws_world.environment |= {"COUNTERSIGN_LOG__LEVEL": "trace"}
    store = url(bucket, s3_relay.port)
    complaint = stores.a_server_goes_on_through_an_outage(aws_world, store, s3_relay.shut, s3_relay.unshut)
    assert f"s3://{bucket}/keys?***" in complaint
    for secret in (aws.KEY_ID, aws.SECRET):
        assert secret not in aws_world.log, "at any level"


def test_a_store_moves_from_sqlite_to_s3_and_back_and_tokens_made_before_verify_after(aws_world, s3, bucket):
    store = url(bucket, s3.port)
    aws_world.fails(78, "there is no store", "store", "check", store)

    def look(later):
        found = s3.objects(bucket)
        assert f"expires {later}\nlength 8\n\nfamily/1".encode() in found["keys/family/1"]
        assert found["keys/family/2"].endswith(b"expires never\nlength 8\n\nfamily/2") and "keys/family/gone" not in found

    def lose():
        s3.client("s3").delete_object(Bucket=bucket, Key="keys/family/2")

    stores.a_store_moves_from_sqlite_and_back(aws_world, store, look, lose)


def test_an_assertion_is_taken_once_by_whichever_server(aws_world, s3, bucket):
    stores.an_assertion_is_taken_once_by_whichever_server(aws_world, url(bucket, s3.port))


def test_a_proof_is_taken_once_by_whichever_server(aws_world, s3, bucket):
    stores.a_proof_is_taken_once_by_whichever_server(aws_world, url(bucket, s3.port))


def test_a_family_of_refresh_tokens_lives_through_fire_on_one_bucket(aws_world, s3, bucket):
    stores.a_family_lives_through_fire(aws_world, url(bucket, s3.port))


def test_a_server_killed_between_its_write_and_its_answer_has_turned_a_family_once(aws_world, s3, s3_relay, bucket):
    killing = partial(stores.killing_over_http, s3_relay)
    families = lambda: {name: content for name, content in s3.objects(bucket).items() if "/refresh/" in name}
    stores.a_server_killed_between_its_write_and_its_answer_has_turned_once(
        aws_world, url(bucket, s3_relay.port), killing, families)


def test_a_family_of_refresh_tokens_lives_with_clocks_apart_on_one_bucket(aws_world, ministack):
    # Like S3, versitygw refuses who signs with a clock that is a quarter of an hour off; MiniStack does not look.
    stores.a_family_lives_with_clocks_apart_and_lost_answers(aws_world, url(ministack.bucket(), ministack.port))


def test_a_bucket_that_goes_back_takes_no_key_from_verifiers(aws_world, s3, bucket):
    client = s3.client("s3")

    def clear():
        for name in s3.objects(bucket):
            if "!" not in name:
                client.delete_object(Bucket=bucket, Key=name)

    stores.a_store_that_goes_back_takes_no_key_from_verifiers(aws_world, url(bucket, s3.port), clear)


def test_what_keeps_a_bucket_from_being_used_is_told_in_one_line(aws_world, s3, s3_relay, bucket):
    for store, environment, code, says in [
        (url("no-such-bucket", s3.port), {}, 78, "there is no bucket `no-such-bucket`"),
        (url(bucket, s3.port), NO_CREDENTIALS, 78, "there are no AWS credentials"),
        (f"s3://{bucket}/keys", {"AWS_REGION": ""}, 78, "no AWS region is set"),
        (f"s3://{bucket}/keys", {"AWS_ENDPOINT_URL": "http://s3.example"}, 78, "AWS_ENDPOINT_URL"),
        (url(bucket, free_port()), {}, 70, "is not available"),
        (f"s3://{bucket}/keys?{aws.SECRET}", {}, 78, "an option that is not known"),
        (f"s3://{aws.KEY_ID}:{aws.SECRET}@{bucket}/keys", {}, 78, "credentials have no place in it"),
    ]:
        aws_world.configure(quick(store))
        complaint = aws_world.fails(code, says, "keys", "list", env=environment)
        assert aws.SECRET not in complaint and aws.KEY_ID not in complaint
    s3_relay.spoil = lambda method, path: (403, b"<Error><Code>AccessDenied</Code><Message>User: u may not</Message></Error>")
    aws_world.configure(quick(url(bucket, s3_relay.port)))
    aws_world.fails(78, "access denied: User: u may not; give this role s3:GetObject", "keys", "list")


class Container:
    """Where a container gets its credentials: other ones each time, with `seconds` to live."""

    def __init__(self, seconds):
        self.handed = handed = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
                handed.append(f"AKIDNUMBER{len(handed)}")
                body = json.dumps({
                    "AccessKeyId": handed[-1], "SecretAccessKey": aws.SECRET, "Token": "t",
                    "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{self.server.server_address[1]}/role"
        self.environment = NO_CREDENTIALS | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": address}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def asking(headers):
    """The key id that a request was signed with."""
    return re.search(r"Credential=(\w+)/", headers["authorization"])[1]


def test_credentials_are_held_until_shortly_before_their_end(aws_world, ministack, relay):
    bucket = ministack.bucket()  # It lets anyone in, as versitygw does not.
    aws_world.configure(quick(url(bucket, relay.port)))
    seen = lambda: {asking(headers) for _, _, headers in list(relay.asked)}
    with Container(seconds=60) as container:
        server = aws_world.serve(env=container.environment)
        until(lambda: len(seen()) >= 3, "one after the other is used")
        server.kill()
        assert seen() <= set(container.handed)
    with Container(seconds=3600) as container:
        relay.asked.clear()
        server = aws_world.serve(env=container.environment)
        until(lambda: len(relay.asked) > 60, "it asks again and again")
        assert seen() == {"AKIDNUMBER0"} == set(container.handed)

        # A right that the role does not have is nothing that other credentials would change.
        for status, code in [(403, "AccessDenied"), (403, "RequestTimeTooSkewed"), (503, "SlowDown")]:
            refused = (status, f"<Error><Code>{code}</Code></Error>".encode())
            relay.spoil = lambda method, path, refused=refused: refused
            before = len(relay.asked)
            until(lambda before=before: len(relay.asked) > before + 5, "it is refused again and again")
        relay.spoil = lambda method, path: None
        before = len(relay.asked)
        until(lambda: len(relay.asked) > before + 5, "it asks again and again")
        assert seen() == {"AKIDNUMBER0"} == set(container.handed)

        # Revoked before their end: S3 refuses them, and the next ones are fetched.
        expired = (400, b"<Error><Code>ExpiredToken</Code></Error>")
        relay.spoil = lambda method, path: expired if asking(relay.asked[-1][2]) == "AKIDNUMBER0" else None
        until(lambda: "AKIDNUMBER1" in seen(), "the next ones are used")
        ready(server.printed["issuer"])


def test_a_build_without_s3_says_which_one_has_it(world):
    world.configure()
    for command in [("sign", "--claims", "{}"), ("serve",)]:
        world.fails(78, "build it with --features s3", *command, env={"COUNTERSIGN_STORE__URL": "s3://bucket/keys"})
    world.fails(78, "build it with --features s3", "publish", "s3://bucket/site")
    assert not list(world.folder.rglob("*.db"))
