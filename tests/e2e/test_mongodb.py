"""Keys in a MongoDB database, as tests/servers/mongo.py plays one: two servers on it, an outage, MONGODB-AWS, and moving in and out."""

import json
import re
import sqlite3
import time
from datetime import datetime, timezone

import jwt
import pytest
from e2e import mongo as mongo_server
from e2e import wire
from e2e.program import CONFIG, SECRET, client, free_port, until

BODY = b'{"data":{"sub":"alice"}}'
HEADERS = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
PASSWORD = "PW-never-shown"


def configuration(store):
    return CONFIG.replace("[rings", f"[store]\n{store}\n\n[rings") + client("tests")


def quick(url):
    """A configuration on a store that is looked at often."""
    return configuration(f'url = "{url}"\nrefresh = "200ms"\nmax_stale = "2s"')


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


def test_two_servers_on_one_database_make_one_key_and_both_take_up_the_next(full_world, mongo, pem):
    url = mongo.url()
    full_world.configure(quick(url))
    other = f"127.0.0.1:{free_port()}"
    # At the same moment, on a database without a collection.
    first, second = full_world.spawn("serve", "--json"), full_world.spawn("serve", "--json", "--listen", other)
    issuer = full_world.announcement(first)["issuer"]
    full_world.announcement(second)
    both = (issuer, f"http://{other}")
    for server in both:
        ready(server)
    assert len(full_world.keys()) == 1 and jwks(both[0]) == jwks(both[1])
    old = [sign(server) for server in both]
    assert kid(old[0]) == kid(old[1])
    stored = mongo.collection(url).find_one({"_id": "keyring"})
    assert set(stored) == {"_id", "version", "bytes"} and isinstance(stored["bytes"], bytes)

    full_world.done("keys", "import", pem["ec"], "--activate")
    assert len(full_world.keys()) == 2
    for server in both:
        until(lambda: kid(sign(server)) != kid(old[0]), f"the new key at {server}", within=10)
    tokens = [*old, *(sign(server) for server in both)]
    assert len({kid(token) for token in tokens}) == 2
    for server in both:
        for token in tokens:
            assert verify(token, jwks(server), issuer)["sub"] == "alice"


def test_a_server_goes_on_through_an_outage_of_mongodb_and_says_so_after_max_stale(full_world, mongo):
    url = mongo.url()
    full_world.configure(quick(url + "?serverSelectionTimeoutMS=1000"))
    issuer = full_world.serve().printed["issuer"]
    ready(issuer)
    keys, token = jwks(issuer), sign(issuer)
    mongo.stop()
    try:
        assert wire.get(issuer, "/readyz").status == 200, "not at once"
        ready(issuer, 503)
        for _ in range(5):
            assert verify(sign(issuer), jwks(issuer), issuer)["sub"] == "alice"
        assert kid(sign(issuer)) == kid(token) and jwks(issuer) == keys, "and goes on with the keys it has"
        assert wire.get(issuer, "/healthz").status == 200
        full_world.fails(70, "is not available", "keys", "list")
        full_world.fails(70, "is not available", "serve")
    finally:
        mongo.start()
    ready(issuer)
    assert verify(sign(issuer), jwks(issuer), issuer)["sub"] == "alice"


def documents(path):
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT key, bytes, expires_at FROM documents ORDER BY key").fetchall()
    finally:
        database.close()


def test_a_store_moves_from_sqlite_to_mongodb_and_back_and_tokens_made_before_verify_after(full_world, mongo):
    url = mongo.url()
    port = full_world.configure()
    server = full_world.serve()
    issuer = server.printed["issuer"]
    before = sign(issuer)
    server.kill()
    server.wait()
    old, file = "sqlite:countersign/countersign.db", full_world.folder / "countersign/countersign.db"
    later, past = int(time.time()) + 3600, int(time.time()) - 3600
    database = sqlite3.connect(file)
    for name, expires_at in [("family/1", later), ("family/2", None), ("family/gone", past)]:
        database.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", (name, f"v-{name}", name.encode(), expires_at))
    database.commit()
    database.close()
    count = len([1 for _, _, expires_at in documents(file) if expires_at != past])

    copy = ("store", "copy", old, "env:NEW_STORE", "--json")
    done = json.loads(full_world.done(*copy, env={"NEW_STORE": url}))
    assert done == {"copied": count, "already_there": 0, "verified": count}
    moved = {d["_id"]: (d["bytes"], d.get("expires_at")) for d in mongo.collection(url).find({"_id": {"$regex": "^family"}})}
    at = datetime.fromtimestamp(later, timezone.utc).replace(tzinfo=None)
    assert moved == {"family/1": (b"family/1", at), "family/2": (b"family/2", None)}

    # Interrupted before the last but one, and run again; and once more.
    mongo.collection(url).delete_one({"_id": "family/2"})
    for copied in (1, 0):
        expected = {"copied": copied, "already_there": count - copied, "verified": count}
        assert json.loads(full_world.done(*copy, env={"NEW_STORE": url})) == expected

    full_world.configure(configuration('url = "env:NEW_STORE"'), port)
    full_world.environment["NEW_STORE"] = url
    (key,) = full_world.keys()
    assert json.loads(full_world.done("store", "check", "--json")) == {
        "documents": count, "keyrings": 1, "keys": 1, "keys_opened": True, "others": 2,
        "sealed_by": {key["sealed_by"]: 1}, "kms": 0, "data_keys": 0,
    }
    file.unlink()
    server = full_world.serve()
    assert server.printed["issuer"] == issuer
    ready(issuer)
    after = sign(issuer)
    assert kid(after) == kid(before)
    for token in (before, after):
        assert verify(token, jwks(issuer), issuer)["sub"] == "alice"

    # And back, when nobody uses it any more.
    server.kill()
    server.wait()
    done = full_world.done("store", "copy", url, "sqlite:back.db")
    assert re.fullmatch(r"copied (\d) documents, 0 were there already; both stores hold the same \1\n", done)
    back = [(name, expires_at) for name, _, expires_at in documents(full_world.folder / "back.db") if "observations" not in name]
    assert back == [("family/1", later), ("family/2", None), ("keyring", None)]


def test_a_typing_error_makes_nothing_and_damage_is_found(full_world, mongo):
    url = mongo.url()
    full_world.configure(quick(url))
    full_world.done("sign", "--claims", "{}")
    for command, says in [
        (("check", f"{url}?collection=typo"), 'no store in its collection "typo"'),
        (("copy", f"{url}?collection=typo", "sqlite:new.db"), "FROM: "),
        (("check", f"{url}?w=1"), "leave `w`"),
    ]:
        full_world.fails(78, says, "store", *command)
    assert mongo.collection(url, "x").database.list_collection_names() == ["countersign_documents"]
    mongo.collection(url).update_one({"_id": "keyring"}, {"$set": {"bytes": "text"}})
    assert "is damaged" in full_world.run("store", "check").stderr


@pytest.fixture
def guarded():
    """A server that lets in who signs with this secret."""
    server = mongo_server.Mongo(aws={"AKIDEXAMPLE": "aws-secret"})
    try:
        yield server
    finally:
        server.end()


def test_mongodb_aws_takes_credentials_from_the_environment_as_the_driver_does(full_world, guarded):
    url = guarded.url() + "?authMechanism=MONGODB-AWS&authSource=%24external"
    full_world.configure(configuration('url = "env:STORE_URL"'))
    aws = {"STORE_URL": url, "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "eu-central-1", "HOME": str(full_world.folder)}
    login = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "aws-secret", "AWS_SESSION_TOKEN": "a-token"}
    full_world.done("sign", "--claims", "{}", env=aws | login)
    full_world.done("store", "check", env=aws | login)
    in_url = url.replace("//", "//AKIDEXAMPLE:aws-secret@")
    full_world.done("store", "check", env=aws | {"STORE_URL": in_url})
    wrong = aws | login | {"AWS_SECRET_ACCESS_KEY": PASSWORD}
    line = full_world.fails(78, "the server does not let this user in", "store", "check", env=wrong)
    assert PASSWORD not in line and "AKIDEXAMPLE" not in line
    full_world.fails(78, "no AWS credentials were found", "store", "check", env=aws)
    full_world.fails(78, "readWrite", "store", "check", env=aws | {"STORE_URL": guarded.url()})


def test_a_password_is_in_no_message_and_no_log(full_world, mongo):
    url = mongo.url(f"me:{PASSWORD}@")
    full_world.configure(configuration('url = "env:STORE_URL"'))
    for command in [("keys", "list"), ("serve",), ("store", "check"), ("store", "copy", "env:STORE_URL", "sqlite:x.db")]:
        done = full_world.run(*command, env={"STORE_URL": url})
        assert done.returncode == 78 and "does not let this user in" in done.stderr, done
        assert PASSWORD not in done.stdout + done.stderr
    assert PASSWORD not in full_world.done("config", "check", env={"STORE_URL": url})
