"""How many durable updates of single rows SQLite makes in a second: FILE, SIZE of a document in
bytes, SECONDS.

The table, the statement and the settings of the store (`crates/store/src/sqlite`). Prints updates a
second, and a second of processor time.
"""

import os
import sqlite3
import sys
import time

FILE, SIZE, SECONDS, ROWS = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), 1024
DOCUMENT = os.urandom(SIZE)
database = sqlite3.connect(FILE, isolation_level=None)
database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
database.execute(
    "CREATE TABLE IF NOT EXISTS documents (key TEXT NOT NULL PRIMARY KEY, version TEXT NOT NULL, bytes BLOB NOT NULL, expires_at INTEGER) STRICT"
)
database.execute(
    "CREATE INDEX IF NOT EXISTS documents_by_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL"
)
database.executemany(
    "INSERT OR REPLACE INTO documents VALUES (?, '0', ?, 4000000000)",
    ((f"refresh/{row}", DOCUMENT) for row in range(ROWS)),
)
versions, done = ["0"] * ROWS, 0
began, used, row = time.monotonic(), time.process_time(), 0
while time.monotonic() - began < SECONDS:
    version = str(done)
    changed = database.execute(
        "UPDATE documents SET version = ?, bytes = ?, expires_at = ? WHERE key = ? AND version = ? AND (expires_at IS NULL OR expires_at > ?)",
        (version, DOCUMENT, 4000000000, f"refresh/{row}", versions[row], 1),
    )
    assert changed.rowcount == 1
    versions[row], done, row = version, done + 1, (row + 1) % ROWS
took, used = time.monotonic() - began, time.process_time() - used
print(done / took, done / used)
