"""Keys in a real Postgres: two servers on one database, an outage under a running server, and the way there from SQLite."""

import json

import pytest
from e2e import stores
from e2e.postgres import PASSWORD
from e2e.program import private
from e2e.stores import configuration, kid
from e2e.withheld import Postgres, withheld

URL = "COUNTERSIGN_STORE__URL"


@pytest.fixture
def url(postgres):
    """The URL of an empty database."""
    return postgres.database()


def test_two_servers_on_one_database_make_one_key_and_both_take_up_the_next(full_world, url, pem):
    stores.two_servers_make_one_key_and_both_take_up_the_next(full_world, url, pem)


def test_a_server_goes_on_through_an_outage_of_postgres_and_says_so_after_max_stale(full_world, postgres, url):
    complaint = stores.a_server_goes_on_through_an_outage(full_world, url, postgres.stop, postgres.start)
    assert PASSWORD not in complaint and "postgres://***@127.0.0.1" in complaint
    assert PASSWORD not in full_world.log


def test_an_assertion_is_taken_once_by_whichever_server_on_one_database(full_world, url):
    stores.an_assertion_is_taken_once_by_whichever_server(full_world, url)


def test_a_proof_is_taken_once_by_whichever_server_on_one_database(full_world, url):
    stores.a_proof_is_taken_once_by_whichever_server(full_world, url)


def test_a_family_of_refresh_tokens_lives_through_fire_on_one_database(full_world, url):
    stores.a_family_lives_through_fire(full_world, url)


def test_a_server_killed_between_its_write_and_its_answer_has_turned_a_family_once(full_world, postgres, url):
    stored = "SELECT key, version, bytes FROM countersign.documents WHERE key LIKE 'refresh/%'"
    families = lambda: dict(row.split("|", 1) for row in postgres.run(stored, url.rsplit("/", 1)[1]).splitlines())
    with withheld(postgres.port, Postgres) as relay:
        through = url.replace(f":{postgres.port}/", f":{relay.port}/")
        stores.a_server_killed_between_its_write_and_its_answer_has_turned_once(
            full_world, through, relay.killing, families)


def test_a_family_of_refresh_tokens_lives_with_clocks_apart_on_one_database(full_world, url):
    stores.a_family_lives_with_clocks_apart_and_lost_answers(full_world, url)


def test_a_database_that_goes_back_takes_no_key_from_verifiers(full_world, postgres, url):
    database = url.rsplit("/", 1)[1]
    clear = lambda: postgres.run("TRUNCATE countersign.documents", database)
    stores.a_store_that_goes_back_takes_no_key_from_verifiers(full_world, url, clear)


def test_a_store_moves_from_sqlite_to_postgres_and_back_and_tokens_made_before_verify_after(full_world, postgres, url):
    database = url.rsplit("/", 1)[1]

    def look(later):
        text = "SELECT key, convert_from(bytes, 'UTF8'), expires_at FROM countersign.documents WHERE key LIKE 'family%'"
        assert postgres.run(text, database).splitlines() == [f"family/1|family/1|{later}", "family/2|family/2|"]

    def lose():
        postgres.run("DELETE FROM countersign.documents WHERE key = 'family/2'", database)

    stores.a_store_moves_from_sqlite_and_back(full_world, url, look, lose)


def test_a_copy_overwrites_nothing_and_a_typing_error_makes_nothing(full_world, postgres, url):
    full_world.configure()
    full_world.done("keys", "list")
    full_world.done("sign", "--claims", "{}")
    old, file = "sqlite:countersign/countersign.db", full_world.folder / "countersign/countersign.db"
    full_world.done("store", "copy", old, url)
    database = url.rsplit("/", 1)[1]

    def table():
        return postgres.run("SELECT * FROM countersign.documents", database)

    for spoil, says in [
        ("UPDATE countersign.documents SET expires_at = 4000000000", "keyring: TO has this document with another content"),
        ("UPDATE countersign.documents SET expires_at = NULL, bytes = 'other'", "keyring: TO has this document with another content"),
        ("UPDATE countersign.documents SET key = 'keyring2'", "TO has a document that FROM has not: keyring2"),
    ]:
        postgres.run(spoil, database)
        before = table()
        full_world.fails(1, says, "store", "copy", old, url)
        assert table() == before

    for command, says, code in [
        (("check", "sqlite:typo.db"), "there is no such store", 78),
        (("copy", "sqlite:typo.db", url), "FROM: ", 78),
        (("copy", f"{url}?schema=typo", "sqlite:new.db"), 'no store in its schema "typo"', 78),
        (("copy", old, "memory:"), "gone when this command ends", 2),
        (("copy", "memory:", "sqlite:new.db"), "there is no such store", 78),
        (("copy", old, "env:NOT_SET"), "the environment variable NOT_SET is not set", 78),
        (("copy", old, "sqlite:no-folder/new.db"), "TO: ", 78),
    ]:
        assert PASSWORD not in full_world.fails(code, says, "store", *command)
    assert {path.name for path in full_world.folder.iterdir()} <= {"countersign", "log"}
    assert postgres.run("SELECT count(*) FROM pg_namespace WHERE nspname = 'typo'", database) == "0"
    assert file.exists()


def test_check_names_what_is_damaged(full_world, postgres, url):
    full_world.configure(configuration(f'url = "{url}"'))
    full_world.done("sign", "--claims", "{}")
    assert "1 document; 1 keyring with 1 key (every key opens)" in full_world.done("store", "check")
    database = url.rsplit("/", 1)[1]
    good = postgres.run("SELECT encode(bytes, 'hex') FROM countersign.documents", database)

    key = full_world.folder / "countersign/sealing.key"
    right = key.read_text()
    key.write_text("A" * 42 + "E=\n")
    full_world.fails(78, "is authenticated with sealing key", "store", "check")
    key.unlink()
    full_world.fails(78, "there is no file", "store", "check")
    assert not key.exists(), "check makes nothing"
    private(key, right)

    altered = json.loads(bytes.fromhex(good))
    altered["content"]["rings"]["default"]["keys"][0]["state"] = "retired"
    for damaged, says in [
        (json.dumps(altered).encode(), "was altered by somebody who does not have sealing key"),
        (bytes.fromhex(good)[:-10], "not a keyring document"),
        (b'{"format":99,"rings":{}}', "format 99"),
    ]:
        postgres.run(f"UPDATE countersign.documents SET bytes = decode('{damaged.hex()}', 'hex')", database)
        assert "1 of 1 document damaged: keyring: " in full_world.fails(1, says, "store", "check", url)
    postgres.run(f"UPDATE countersign.documents SET bytes = decode('{good}', 'hex')", database)
    postgres.run("UPDATE countersign.documents SET key = '../up'", database)
    full_world.fails(1, "was written by something else", "store", "check")
    postgres.run("ALTER TABLE countersign.documents DROP COLUMN bytes", database)
    full_world.fails(78, "is damaged", "keys", "list")

    full_world.file.unlink()
    postgres.run("DROP SCHEMA countersign CASCADE", database)
    full_world.fails(78, "there is no store", "store", "check", url)
    full_world.fails(78, "countersign init", "store", "check")


def test_the_password_of_a_url_is_never_shown(full_world, url):
    full_world.configure(configuration(f'url = "{url.replace(PASSWORD, PASSWORD + "-wrong")}"'))
    for command in [("serve",), ("keys", "list"), ("sign", "--claims", "{}"), ("store", "check")]:
        complaint = full_world.fails(78, "the password is wrong", *command)
        assert PASSWORD not in complaint and "tester" not in complaint
    shown = full_world.run("config", "check")
    assert shown.returncode == 0 and "postgres://***@127.0.0.1" in shown.stdout and PASSWORD not in shown.stdout + shown.stderr
    # Mistyped so that it is not a URL any more.
    for wrong in [url.replace("postgres:", "postgress:"), url.replace("postgres://", "postgres:"), url + "?sslmode=" + PASSWORD]:
        full_world.configure(configuration(f'url = "{wrong}"'))
        for command in [("keys", "list"), ("config", "check")]:
            done = full_world.run(*command)
            assert PASSWORD not in done.stdout + done.stderr


def test_the_url_can_come_from_a_variable_or_a_file(full_world, url):
    (full_world.folder / "countersign").mkdir()
    private(full_world.folder / "countersign/store.url", url + "\n")
    kids = set()
    for store, env in [("env:DATABASE_URL", {"DATABASE_URL": url}), ("file:store.url", {}), (url, {})]:
        full_world.configure(configuration(f'url = "{store}"'))
        kids.add(kid(full_world.done("sign", "--claims", "{}", env=env).strip()))
        shown = full_world.done("config", "check", env=env)
        assert (f'url = "{store}"' in shown) == (store != url) and PASSWORD not in shown
    full_world.configure(configuration('url = "env:DATABASE_URL"'))
    full_world.fails(78, "store.url: the store URL env:DATABASE_URL: the environment variable DATABASE_URL is not set", "keys", "list")
    assert len(kids) == 1


def test_a_build_without_postgres_says_which_one_has_it(world):
    world.configure()
    for command in [("sign", "--claims", "{}"), ("serve",)]:
        complaint = world.fails(78, "build it with --features postgres", *command, env={URL: f"postgres://me:{PASSWORD}@host/db"})
        assert PASSWORD not in complaint
    assert not list(world.folder.rglob("*.db"))
