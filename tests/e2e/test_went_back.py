"""An SQLite store that goes back under a running server, in the ways in which people restore files."""

import contextlib
import json
import shutil
import signal
import sqlite3

import pytest
from e2e import stores, wire
from e2e.program import contents, until
from e2e.stores import jwks, kid, quick, ready, sign, verify


def clear(file):
    with sqlite3.connect(file, timeout=20) as database:
        database.execute("DELETE FROM documents")
    database.close()


def test_a_file_that_goes_back_takes_no_key_from_verifiers(world):
    file = world.folder / "countersign" / "keys.db"
    stores.a_store_that_goes_back_takes_no_key_from_verifiers(world, f"sqlite:{file}", lambda: clear(file))


def test_a_file_that_is_restored_under_a_running_server_is_noticed_and_keys_stay(world):
    world.configure(quick("sqlite:keys.db"))
    issuer = world.serve().printed["issuer"]
    ready(issuer)
    file, backup = world.folder / "countersign" / "keys.db", world.folder / "backup.db"
    shutil.copy(file, backup)
    token = sign(issuer)
    known = jwks(issuer)
    # The log goes, and the old file comes in its place.
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink()
    shutil.copy(backup, file)
    until(lambda: wire.get(issuer, "/readyz").status == 503, "it is noticed", within=60)
    assert "was removed or replaced while it was in use" in world.log
    assert jwks(issuer) == known and kid(sign(issuer)) == kid(token)
    assert verify(token, jwks(issuer), issuer)["sub"] == "alice"


def rotated(world, refresh):
    """A server that has seen a rotation, and a copy of its store from before that."""
    world.configure(quick("sqlite:keys.db").replace("200ms", refresh).replace('max_stale = "2s"', 'max_stale = "60s"'))
    server = world.serve()
    issuer = server.printed["issuer"]
    ready(issuer)
    world.done("store", "copy", "sqlite:countersign/keys.db", "sqlite:older.db")
    made = json.loads(world.done("keys", "prepare", "--json"))["kid"]
    world.done("keys", "activate", made, "--force")
    until(lambda: kid(sign(issuer)) == made, "the new key signs", within=60)
    world.done("store", "copy", "sqlite:countersign/keys.db", "sqlite:newest.db")
    return server, made


def restore(world, copy):
    clear(world.folder / "countersign" / "keys.db")
    world.done("store", "copy", f"sqlite:{copy}", "sqlite:countersign/keys.db")


@pytest.mark.parametrize("refresh", ["200ms", "10s"])
def test_a_reload_while_the_store_has_gone_back_changes_nothing(world, refresh):
    """Whether the server has noticed it before, or the reload is the first to look."""
    server, made = rotated(world, refresh)
    issuer = server.printed["issuer"]
    known = {key["kid"] for key in jwks(issuer)["keys"]}

    def told(text):
        return [event["message"] for event in world.events() if text in event.get("message", "")]

    # As somebody leaves it who has worked on an older copy for long: what tells it is the keys alone.
    world.done("store", "copy", "sqlite:older.db", "sqlite:longer.db")
    longer = {"COUNTERSIGN_STORE__URL": "sqlite:../longer.db"}
    for _ in range(4):
        other = json.loads(world.done("keys", "prepare", "--json", env=longer))["kid"]
        world.done("keys", "revoke", other, env=longer)

    for copy in (None, "older.db", "longer.db"):
        before = len(told("was not reloaded"))
        clear(world.folder / "countersign" / "keys.db") if copy is None else restore(world, copy)
        if refresh == "200ms":
            until(lambda: "store_went_back" in wire.get(issuer, "/readyz").body.decode(), "it is noticed", within=60)
        server.send_signal(signal.SIGHUP)
        until(lambda: len(told("was not reloaded")) > before, "the reload is refused", within=60)
        said = told("was not reloaded")[-1]
        assert "no keyring" in said or "its sequence is" in said or (copy == "longer.db" and made in said), said
        assert kid(sign(issuer)) == made and {key["kid"] for key in jwks(issuer)["keys"]} == known
        restore(world, "newest.db")
    ready(issuer)
    server.send_signal(signal.SIGHUP)
    until(lambda: told("was read again and is in use"), "put right, it reloads", within=60)
    ready(issuer)
    assert kid(sign(issuer)) == made and {key["kid"] for key in jwks(issuer)["keys"]} == known


def test_what_the_wrong_store_showed_is_gone_when_the_newest_one_is_back_exactly_as_it_was(world):
    """By SQLite's own backup, which brings back the number of each document, too."""
    world.configure(quick("sqlite:keys.db").replace('max_stale = "2s"', 'max_stale = "60s"'))
    issuer = world.serve().printed["issuer"]
    ready(issuer)
    file = world.folder / "countersign" / "keys.db"

    def copy(source, target):
        with contextlib.closing(sqlite3.connect(source, timeout=20)) as source, contextlib.closing(sqlite3.connect(target, timeout=20)) as target:
            source.backup(target)

    def shown():
        return {key["kid"] for key in jwks(issuer)["keys"]}

    only_in_the_old_one = json.loads(world.done("keys", "prepare", "--json"))["kid"]
    world.done("keys", "publish", only_in_the_old_one)
    copy(file, world.folder / "older.db")
    # A server that has never seen it would take what comes back for news.
    until(lambda: only_in_the_old_one in shown(), "it is published", within=60)
    world.done("keys", "remove", only_in_the_old_one)
    until(lambda: shown() == {kid(sign(issuer))}, "it is gone", within=60)
    known = shown()
    copy(file, world.folder / "newest.db")
    copy(world.folder / "older.db", file)
    until(lambda: only_in_the_old_one in shown() and wire.get(issuer, "/readyz").status == 503, "it is shown while nobody knows", within=60)
    copy(world.folder / "newest.db", file)
    ready(issuer)
    until(lambda: shown() == known, "what was served in between is not", within=60)


def test_a_store_that_went_back_and_then_cannot_be_read_has_still_gone_back(world):
    server, made = rotated(world, "200ms")
    issuer = server.printed["issuer"]
    restore(world, "older.db")

    def standing():
        return wire.get(issuer, "/readyz").body.decode()

    until(lambda: "store_went_back" in standing(), "it is noticed", within=60)
    known = {key["kid"] for key in jwks(issuer)["keys"]}
    assert made in known
    with contextlib.closing(sqlite3.connect(world.folder / "countersign" / "keys.db", timeout=20)) as database, database:
        database.execute("UPDATE documents SET bytes = x'00' WHERE key = 'keyring'")
    until(lambda: "cannot be read again" in world.log, "the store is looked at", within=60)
    for _ in range(3):
        assert "store_went_back" in standing()
        assert {key["kid"] for key in jwks(issuer)["keys"]} == known
    restore(world, "newest.db")
    ready(issuer)
    assert kid(sign(issuer)) == made


def test_a_turn_of_the_rotation_that_meets_a_newer_jwks_in_public_ends_with_an_error(world):
    """A process that starts after the store went back knows nothing of what was there, and looks at what verifiers see."""
    server, made = rotated(world, "10s")
    issuer = server.printed["issuer"]
    public = jwks(issuer)["countersign_sequence"]
    restore(world, "older.db")
    before = contents(world.folder / "countersign")
    complaint = world.fails(78, f"the public JWKS has sequence {public}", "keys", "rotate", "--once")
    assert "went back" in complaint or "restore" in complaint, complaint
    assert contents(world.folder / "countersign") == before, "nothing was changed"
    restore(world, "newest.db")
    assert "nothing is due" in world.done("keys", "rotate", "--once")
    assert kid(sign(issuer)) == made
