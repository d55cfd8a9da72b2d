"""The MongoDB engine on FerretDB over SQLite and over Postgres: its tests in Rust, and what the program does on any store that several share.

    export COUNTERSIGN_BIN=target/debug/countersign-full PYTHONPATH=tests:tests/interop
    .tools/venv/bin/python tests/peers/ferretdb.py

Builds it once through the Go proxy into .tools (220 s of processor time on a cold cache; Apache-2.0) and prints a table.
tests/servers/ferretdb.py says what stands in front of it and what it cannot show.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import toolchains
from e2e import mongo, stores
from e2e.conftest import openssl
from e2e.postgres import Postgres
from e2e.program import World
from peers.told import Table, binary, folder, tried_here
from servers.ferretdb import SOURCES, FerretDB

ROOT = Path(__file__).parents[2]
#: Tests that take a server nobody here wrote: `Database::real` in crates/store/tests/suite/mongodb.
RUST = [
    "contract::it_conforms_on_a_server_that_nobody_here_wrote", "contract::a_collection_that_goes_back_takes_no_key_from_a_server",
    "contract::families_of_refresh_tokens_keep_their_promises",
    "contract::five_stores_on_one_collection_are_one_and_two_collections_are_two",
    "contract::eight_tasks_that_open_an_empty_database_at_once_all_succeed_and_one_creates_the_document",
    "contract::the_servers_clock_does_not_count", "contract::a_thousand_keys_are_listed_in_order",
    "contract::what_something_else_wrote_is_reported_and_not_skipped_and_nothing_of_it_repeated",
    "contract::a_document_without_content_is_corrupt", "foreign::too_many_or_too_large_documents_are_refused",
]


def rust(table, server):
    command = ["cargo", "test", "--quiet", "--workspace", "--all-features", "--test", "suite", "--", "--exact"]
    environment = os.environ | {"TESTBED_MONGODB": str(server.port)}
    for name in RUST:
        done = subprocess.run([*command, f"mongodb::{name}"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)
        passed = done.returncode == 0 and "1 passed" in done.stdout
        if not passed:
            print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
        table.row(name.split("::")[1].replace("_", " "), "passed", "passed" if passed else "failed")


def whole_program(table, server, root):
    pem = {"ec": root / "ec.pem"}
    openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pem["ec"])
    slow = "?serverSelectionTimeoutMS=1000"
    plain = {
        "an assertion is taken once by whichever server": stores.an_assertion_is_taken_once_by_whichever_server,
        "a proof is taken once by whichever server": stores.a_proof_is_taken_once_by_whichever_server,
        "a family of refresh tokens lives through fire": stores.a_family_lives_through_fire,
        "a family of refresh tokens lives with clocks apart and lost answers": stores.a_family_lives_with_clocks_apart_and_lost_answers,
    }
    tried = plain | {
        "two servers make one key and both take up the next":
            lambda world, url: stores.two_servers_make_one_key_and_both_take_up_the_next(world, url, pem),
        "a server goes on through an outage":
            lambda world, url: stores.a_server_goes_on_through_an_outage(world, url + slow, server.stop, server.start),
        "nothing that was acknowledged is lost when it is killed under load":
            lambda world, url: stores.nothing_that_was_acknowledged_is_lost(world, url + slow, server.stop, server.start),
        "a server killed between its write and its answer has turned a family once":
            lambda world, _: mongo.a_server_killed_between_its_write_and_its_answer_has_turned_once(world, server),
        "a database that goes back takes no key from verifiers":
            lambda world, url: stores.a_store_that_goes_back_takes_no_key_from_verifiers(
                world, url, lambda: server.collection(url).delete_many({})),
    }
    for what, try_it in tried.items():
        world = World(binary(), Path(tempfile.mkdtemp(dir=root)))
        try:
            try_it(world, server.url())
            seen = "passed"
        except Exception as why:  # told in the table, and the others are tried
            seen = f"{type(why).__name__}: {str(why)[:300]}"
        finally:
            world.end()
        table.row(what, "passed", seen)


def main():
    toolchains.go(SOURCES)
    with folder() as root:
        table = Table("FerretDB v1.24.2 on SQLite")
        run(table, FerretDB(made(root / "sqlite")), made(root / "1"))
        postgres = Postgres()
        try:
            also = Table("FerretDB v1.24.2 on Postgres")
            run(also, FerretDB(made(root / "postgres"), postgres.database()), made(root / "2"))
        finally:
            postgres.end()
    table.wrong += also.wrong
    table.end()


def made(path):
    path.mkdir()
    return path


def run(table, server, root):
    try:
        rust(table, server)
        whole_program(table, server, root)
    finally:
        server.end()


if __name__ == "__main__":
    tried_here(main)
