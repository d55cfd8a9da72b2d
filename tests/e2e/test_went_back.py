"""An SQLite store that goes back under a running server, in the ways in which people restore files."""

import shutil
import sqlite3

from e2e import stores, wire
from e2e.program import until
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
