"""Keys in MongoDB (mongo-java-server): two servers on it, an outage, kill -9 under load, moving in and out; MONGODB-AWS on the stand-in."""

from datetime import datetime, timezone

import pytest
from e2e import mongo as mongo_server
from e2e import stores
from e2e.stores import configuration, quick

PASSWORD = "PW-never-shown"


def test_two_servers_on_one_database_make_one_key_and_both_take_up_the_next(full_world, mongo, pem):
    url = mongo.url()
    stores.two_servers_make_one_key_and_both_take_up_the_next(full_world, url, pem)
    stored = mongo.collection(url).find_one({"_id": "keyring"})
    assert set(stored) == {"_id", "version", "bytes"} and isinstance(stored["bytes"], bytes)


def test_a_server_goes_on_through_an_outage_of_mongodb_and_says_so_after_max_stale(full_world, mongo):
    url = mongo.url() + "?serverSelectionTimeoutMS=1000"
    stores.a_server_goes_on_through_an_outage(full_world, url, mongo.stop, mongo.start)


def test_nothing_that_was_acknowledged_is_lost_when_mongodb_is_killed_under_load(full_world, mongo):
    url = mongo.url() + "?serverSelectionTimeoutMS=1000"
    stores.nothing_that_was_acknowledged_is_lost(full_world, url, mongo.stop, mongo.start)


def test_an_assertion_is_taken_once_by_whichever_server(full_world, mongo):
    stores.an_assertion_is_taken_once_by_whichever_server(full_world, mongo.url())


def test_a_proof_is_taken_once_by_whichever_server(full_world, mongo):
    stores.a_proof_is_taken_once_by_whichever_server(full_world, mongo.url())


def test_a_family_of_refresh_tokens_lives_through_fire_on_one_database(full_world, mongo):
    stores.a_family_lives_through_fire(full_world, mongo.url())


def test_a_server_killed_between_its_write_and_its_answer_has_turned_a_family_once(full_world, mongo):
    mongo_server.a_server_killed_between_its_write_and_its_answer_has_turned_once(full_world, mongo)


def test_a_family_of_refresh_tokens_lives_with_clocks_apart_on_one_database(full_world, mongo):
    stores.a_family_lives_with_clocks_apart_and_lost_answers(full_world, mongo.url())


def test_a_database_that_goes_back_takes_no_key_from_verifiers(full_world, mongo):
    url = mongo.url()
    clear = lambda: mongo.collection(url).delete_many({})
    stores.a_store_that_goes_back_takes_no_key_from_verifiers(full_world, url, clear)


def test_a_store_moves_from_sqlite_to_mongodb_and_back_and_tokens_made_before_verify_after(full_world, mongo):
    url = mongo.url()

    def look(later):
        moved = {d["_id"]: (d["bytes"], d.get("expires_at")) for d in mongo.collection(url).find({"_id": {"$regex": "^family"}})}
        at = datetime.fromtimestamp(later, timezone.utc).replace(tzinfo=None)
        assert moved == {"family/1": (b"family/1", at), "family/2": (b"family/2", None)}

    def lose():
        mongo.collection(url).delete_one({"_id": "family/2"})

    stores.a_store_moves_from_sqlite_and_back(full_world, url, look, lose)


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


def test_a_password_is_in_no_message_and_no_log(full_world, mongo_stand_in):
    url = mongo_stand_in.url(f"me:{PASSWORD}@")
    full_world.configure(configuration('url = "env:STORE_URL"'))
    for command in [("keys", "list"), ("serve",), ("store", "check"), ("store", "copy", "env:STORE_URL", "sqlite:x.db")]:
        done = full_world.run(*command, env={"STORE_URL": url})
        assert done.returncode == 78 and "does not let this user in" in done.stderr, done
        assert PASSWORD not in done.stdout + done.stderr
    assert PASSWORD not in full_world.done("config", "check", env={"STORE_URL": url})
