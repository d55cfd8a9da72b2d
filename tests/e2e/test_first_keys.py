"""First keys are made where somebody says that there never were any; a store that is lost looks just like that, and is refused.

Every way to lose a store, and every command that used to make another authority of it without a word.
"""

import json
import shutil
import sqlite3

import pytest
from e2e import wire
from e2e.program import CONFIG, client, contents, snapshot
from e2e.stores import kid, sign

SAYS = "there is no keyring, and nothing was changed"


#: What is said of an SQLite file that has no log beside it.
NO_LOG = "there is no write-ahead log beside this file"


@pytest.fixture
def strict(world):
    """The program as it is for a person: nothing of `store.first_keys` in its environment."""
    del world.environment["COUNTERSIGN_STORE__FIRST_KEYS"]
    return world


@pytest.fixture
def strict_postgres(full_world, postgres):
    del full_world.environment["COUNTERSIGN_STORE__FIRST_KEYS"]
    url = postgres.database()
    full_world.environment["DATABASE_URL"] = url
    full_world.configure(CONFIG + '[store]\nurl = "env:DATABASE_URL"\n' + client("tests"))
    return full_world


def commands(pem):
    return [
        ("serve",), ("sign", "--claims", "{}"), ("keys", "list"), ("keys", "rotate", "--once"), ("keys", "prepare"),
        ("keys", "export", "--public"), ("keys", "import", pem["ec"]), ("keys", "reseal"), ("publish", "site"), ("publish", "--check"),
    ]


def remove(database):
    for file in database.parent.glob("countersign.db*"):
        file.unlink()


def empty(database):
    remove(database)
    database.write_bytes(b"")


def without_rows(database):
    with sqlite3.connect(database) as open_database:
        open_database.execute("DELETE FROM documents")
    open_database.close()


def unmounted(database):
    """The volume with store and sealing key."""
    remove(database)
    (database.parent / "sealing.key").unlink()


def mistyped(database):
    file = database.parent / "countersign.toml"
    file.write_text(file.read_text().replace("[rings", '[store]\nurl = "sqlite:countersing.db"\n\n[rings'))


@pytest.mark.parametrize("lose", [remove, empty, without_rows, unmounted, mistyped])
def test_a_lost_store_is_told_by_every_command_and_no_other_authority_begins(strict, pem, lose):
    strict.configure()
    strict.done("keys", "init")
    database = strict.file.parent / "countersign.db"
    assert len(strict.keys()) == 1
    lose(database)
    before = {name: data for name, data in snapshot(strict.folder).items() if "-wal" not in name}
    for command in commands(pem):
        complaint = strict.fails(78, SAYS, *command)
        named = "countersing.db" if lose is mistyped else "countersign.db"
        for part in [named, "not mounted", "restore it from a backup", "countersign keys init", 'store.first_keys = "create"']:
            assert part in complaint, (part, complaint)
    after = {name: data for name, data in snapshot(strict.folder).items() if "-wal" not in name}
    assert after == before, "something was made"
    assert strict.run("store", "check").returncode != 0


def test_keys_init_says_that_an_authority_is_new_and_is_idempotent(strict):
    strict.configure(CONFIG + '\n[rings.second]\nalgorithm = "EdDSA"\n' + client("tests"))
    strict.fails(78, SAYS, "serve")
    assert [path.name for path in strict.file.parent.iterdir()] == ["countersign.toml"]
    made = json.loads(strict.done("keys", "init", "--json"))["made"]
    assert [one["ring"] for one in made] == ["default", "second"]
    assert {key["kid"] for key in strict.keys()} == {one["kid"] for one in made}
    before = contents(strict.folder)
    assert "nothing was changed" in strict.done("keys", "init")
    assert contents(strict.folder) == before
    issuer = strict.serve().printed["issuer"]
    assert kid(sign(issuer)) == made[0]["kid"]


def test_a_setting_says_it_where_nobody_is_at_a_terminal_and_the_log_warns(strict):
    strict.configure()
    process = strict.serve(env={"COUNTERSIGN_STORE__FIRST_KEYS": "create"})
    [key] = strict.keys()
    warnings = [event for event in strict.events() if event["level"] == "WARN" and "made the first key" in json.dumps(event)]
    assert len(warnings) == 1 and key["kid"] in json.dumps(warnings) and '"default"' in json.dumps(warnings)
    process.kill()
    process.wait()
    issuer = strict.serve().printed["issuer"]
    assert kid(sign(issuer)) == key["kid"], "without the setting too, once there is one"


def test_a_ring_that_is_new_in_the_configuration_gets_its_first_key_and_the_log_says_so(strict):
    port = strict.configure()
    strict.done("keys", "init")
    strict.configure(CONFIG + '\n[rings.second]\nalgorithm = "EdDSA"\n' + client("tests"), port)
    strict.serve()
    [second] = [key for key in strict.keys() if key["ring"] == "second"]
    warning = [event for event in strict.events() if "made the first key" in json.dumps(event)]
    assert len(warning) == 1 and second["kid"] in json.dumps(warning)


def test_first_runs_need_nobody_to_say_it(strict):
    strict.done("init")
    assert len(strict.keys()) == 1


def test_an_empty_database_is_not_made_a_store(strict_postgres, postgres, pem):
    world = strict_postgres
    for command in commands(pem):
        world.fails(78, SAYS, *command)
    world.done("keys", "init")
    assert len(world.keys()) == 1


@pytest.mark.parametrize("documents", [0, 1])
def test_a_store_without_a_keyring_is_not_good_unless_that_is_meant(strict, documents):
    strict.configure()
    strict.done("keys", "init")
    database = strict.file.parent / "countersign.db"
    with sqlite3.connect(database) as opened:
        opened.execute("DELETE FROM documents")
        for number in range(documents):
            opened.execute("INSERT INTO documents VALUES (?, 'v', x'00', NULL)", (f"other/{number}",))
    opened.close()
    counted = f"{documents} document{'' if documents == 1 else 's'}"
    says = f"there is no keyring in its {counted}"
    strict.fails(1, says, "store", "check")
    strict.fails(1, says, "store", "check", f"sqlite:{database}")
    assert f"good: {counted}; 0 keyrings" in strict.done("store", "check", "--empty-ok")


def test_a_copy_of_the_file_of_a_running_server_has_its_keys(strict):
    strict.configure()
    strict.done("keys", "init")
    issuer = strict.serve().printed["issuer"]
    token = sign(issuer)
    strict.done("keys", "prepare")
    copy = strict.folder / "copy.db"
    shutil.copy(strict.file.parent / "countersign.db", copy)
    said = strict.done("store", "check", f"sqlite:{copy}")
    assert "1 keyring with 2 keys (every key opens)" in said and NO_LOG in said
    # The file that is in use has its log.
    assert NO_LOG not in strict.done("store", "check")
    assert kid(token) in strict.done("keys", "list")
    assert wire.get(issuer, "/readyz").status == 200
