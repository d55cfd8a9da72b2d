"""Keys in a bucket: two servers on one bucket, an outage under a running server, and the way there from SQLite and back."""

import datetime
import json
import re
import sqlite3
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import jwt
import pytest
from e2e import wire
from e2e.aws import KEY_ID, SECRET
from e2e.program import CONFIG, SECRET, client, free_port, until

BODY = b'{"data":{"sub":"alice"}}'
HEADERS = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@pytest.fixture
def bucket(moto):
    return moto.bucket()


def url(bucket, port, prefix="keys"):
    return f"s3://{bucket}/{prefix}?region=us-east-1&endpoint=http://127.0.0.1:{port}"


def quick(store):
    """A configuration on a store that is looked at often."""
    settings = f'[store]\nurl = "{store}"\nrefresh = "200ms"\nmax_stale = "2s"\n\n'
    return CONFIG.replace("[rings", settings + "[rings") + client("tests")


def sign(issuer):
    answer = wire.ask(issuer, "POST", "/sign", HEADERS, BODY)
    assert answer.status == 200, answer
    return answer.json()["access_token"]


def jwks(issuer):
    return wire.get(issuer, "/.well-known/jwks.json").json()


def kid(token):
    return jwt.get_unverified_header(token)["kid"]


def verify(token, keys, issuer):
    key = jwt.PyJWKSet.from_dict(keys)[kid(token)]
    return jwt.decode(token, key, algorithms=["ES256"], issuer=issuer, audience="api://default")


def ready(issuer, status=200, within=30):
    until(lambda: wire.get(issuer, "/readyz").status == status, f"/readyz {status}", within)


def test_two_servers_on_one_bucket_make_one_key_and_both_take_up_the_next(aws_world, moto, bucket, pem):
    aws_world.configure(quick(url(bucket, moto.port)))
    other = f"127.0.0.1:{free_port()}"
    # At the same moment, on a bucket without an object.
    first, second = aws_world.spawn("serve", "--json"), aws_world.spawn("serve", "--json", "--listen", other)
    issuer = aws_world.announcement(first)["issuer"]
    aws_world.announcement(second)
    both = (issuer, f"http://{other}")
    for server in both:
        ready(server)
    assert len(aws_world.keys()) == 1 and jwks(both[0]) == jwks(both[1])
    old = [sign(server) for server in both]
    assert kid(old[0]) == kid(old[1])

    aws_world.done("keys", "import", pem["ec"], "--activate")
    for server in both:
        until(lambda: kid(sign(server)) != kid(old[0]), f"the new key at {server}", within=20)
    for server in both:
        for token in [*old, *(sign(server) for server in both)]:
            assert verify(token, jwks(server), issuer)["sub"] == "alice"
    assert b"PRIVATE KEY" not in b"".join(moto.objects(bucket).values())


def test_a_server_goes_on_through_an_outage_of_s3_and_says_so_after_max_stale(aws_world, relay, bucket):
    aws_world.environment |= {"COUNTERSIGN_LOG__LEVEL": "trace"}
    aws_world.configure(quick(url(bucket, relay.port)))
    issuer = aws_world.serve().printed["issuer"]
    ready(issuer)
    keys, token = jwks(issuer), sign(issuer)
    relay.spoil = lambda method, path: "away"
    while wire.get(issuer, "/readyz").status == 200:
        assert verify(sign(issuer), jwks(issuer), issuer)["sub"] == "alice"
        time.sleep(0.05)
    assert kid(sign(issuer)) == kid(token) and jwks(issuer) == keys, "it goes on with the keys it has"
    assert wire.get(issuer, "/healthz").status == 200
    complaint = aws_world.fails(70, "is not available", "keys", "list")
    assert f"s3://{bucket}/keys?***" in complaint
    relay.spoil = lambda method, path: None
    ready(issuer)
    assert verify(sign(issuer), jwks(issuer), issuer)["sub"] == "alice"
    assert SECRET not in aws_world.log and KEY_ID not in aws_world.log, "at any level"


def documents(path):
    with sqlite3.connect(path) as database:
        return database.execute("SELECT key, bytes, expires_at FROM documents ORDER BY key").fetchall()


def test_a_store_moves_from_sqlite_to_s3_and_back_and_tokens_made_before_verify_after(aws_world, moto, bucket):
    port = aws_world.configure()
    server = aws_world.serve()
    issuer = server.printed["issuer"]
    before = sign(issuer)
    server.kill()
    server.wait()
    old, file = "sqlite:countersign/countersign.db", aws_world.folder / "countersign/countersign.db"
    later, past = int(time.time()) + 3600, int(time.time()) - 3600
    with sqlite3.connect(file) as database:
        for name, expires_at in [("family/1", later), ("family/2", None), ("family/gone", past)]:
            database.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", (name, f"v-{name}", name.encode(), expires_at))
    database.close()
    live = [row for row in documents(file) if row[2] != past]

    target = url(bucket, moto.port)
    assert "there is no store" in aws_world.fails(78, "there is no store", "store", "check", target)
    copied = json.loads(aws_world.done("store", "copy", old, target, "--json"))
    again = json.loads(aws_world.done("store", "copy", old, target, "--json"))
    assert again["already_there"] == copied["verified"] == again["verified"] == len(live)
    aws_world.configure(quick(target), port)
    assert f"{len(live)} documents; keyrings 1 with 1 keys (every key opens)" in aws_world.done("store", "check")
    issuer = aws_world.serve().printed["issuer"]
    ready(issuer)
    assert verify(before, jwks(issuer), issuer)["sub"] == "alice"
    assert verify(sign(issuer), jwks(issuer), issuer)["sub"] == "alice"

    aws_world.done("store", "copy", target, "sqlite:back.db")
    back = dict((row[0], row[1:]) for row in documents(aws_world.folder / "back.db"))
    assert all(back[key] == tuple(rest) for key, *rest in live if key.startswith("family/"))
    assert "family/gone" not in back


def test_what_keeps_a_bucket_from_being_used_is_told_in_one_line(aws_world, moto, relay, bucket):
    for store, environment, code, says in [
        (url("no-such-bucket", moto.port), {}, 78, "there is no bucket `no-such-bucket`"),
        (url(bucket, moto.port), NO_CREDENTIALS, 78, "there are no AWS credentials"),
        (f"s3://{bucket}/keys", {"AWS_REGION": ""}, 78, "no AWS region is set"),
        (f"s3://{bucket}/keys", {"AWS_ENDPOINT_URL": "http://s3.example"}, 78, "AWS_ENDPOINT_URL"),
        (url(bucket, free_port()), {}, 70, "is not available"),
        (f"s3://{bucket}/keys?{SECRET}", {}, 78, "an option that is not known"),
        (f"s3://{KEY_ID}:{SECRET}@{bucket}/keys", {}, 78, "credentials have no place in it"),
    ]:
        aws_world.configure(quick(store))
        complaint = aws_world.fails(code, says, "keys", "list", env=environment)
        assert SECRET not in complaint and KEY_ID not in complaint
    relay.spoil = lambda method, path: (403, b"<Error><Code>AccessDenied</Code><Message>User: u may not</Message></Error>")
    aws_world.configure(quick(url(bucket, relay.port)))
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
                    "AccessKeyId": handed[-1], "SecretAccessKey": SECRET, "Token": "t",
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


def test_credentials_are_held_until_shortly_before_their_end(aws_world, relay, bucket):
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
