"""What engines of the store can do by themselves: durable updates of single rows, one after the
other where the engine allows no more.

The same table, the same statement and the same settings as the store's (`crates/store/src/sql.rs`),
documents of the same size, and nothing around them. Postgres is started for the measurement, in a
folder of its own, with `fsync` on.
"""

import contextlib
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.servers import BENCHES, LOAD_CORE, SERVER_CORE, free_port
from harness.turns import Rate

ROWS = 1024
#: Postgres does not run as root; then it runs as Debian's user for it.
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
UPDATE = """\\set id random(1, {rows})
UPDATE documents SET version = md5(random()::text), bytes = decode(repeat('00', {size}), 'hex'), expires_at = 4000000000
WHERE key = 'bench/' || :id AND (expires_at IS NULL OR expires_at > 1);
"""


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """Keeps the core of the servers from sleeping, by a loop that runs when nothing else wants to.

    A virtual core that sleeps while the disk writes is woken late: SQLite made 290 updates a second
    without this and 6,400 with it, on the same disk.
    """
    command = ["taskset", "-c", str(SERVER_CORE), "chrt", "--idle", "0", sys.executable, "-c", "while True: pass"]
    loop = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def sqlite(folder: Path, size: int, seconds: float) -> Rate:
    """On the core of the servers, in a file beside theirs."""
    command = [
        "taskset",
        "-c",
        str(SERVER_CORE),
        sys.executable,
        str(BENCHES / "python" / "updates.py"),
        str(folder / "engine.db"),
        str(size),
        f"{seconds:g}",
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    per_second, per_cpu_second = map(float, output.split())
    return Rate(per_second, per_cpu_second)


class Postgres:
    def __init__(self, folder: Path, port: int, programs: Path):
        self.folder, self.port, self.programs, self.password = folder, port, programs, secrets.token_urlsafe(16)

    def run(self, name: str, *arguments: object, **rest: object) -> str:
        command = [*AS_POSTGRES, str(self.programs / name), *map(str, arguments)]
        done = subprocess.run(command, cwd="/", check=False, capture_output=True, text=True, timeout=600, **rest)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr[-2000:]}{done.stdout[-500:]}")
        return done.stdout

    def sql(self, statement: str, database: str = "postgres") -> str:
        return self.run(
            "psql",
            "-qAtX",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            self.folder,
            "-p",
            self.port,
            "-U",
            "bench",
            "-d",
            database,
            "-c",
            statement,
        ).strip()

    @property
    def url(self) -> str:
        return f"postgres://bench:{self.password}@127.0.0.1:{self.port}/countersign"

    def prepare_rows(self, size: int) -> None:
        """As many documents as there are families at once, beside the store's."""
        self.sql("CREATE DATABASE engine")
        self.sql(
            'CREATE TABLE documents (key TEXT COLLATE "C" NOT NULL PRIMARY KEY, version TEXT NOT NULL, bytes BYTEA NOT NULL, expires_at BIGINT); '
            "CREATE INDEX documents_by_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL; "
            f"INSERT INTO documents SELECT 'bench/' || n, md5(n::text), decode(repeat('00', {size}), 'hex'), 4000000000 FROM generate_series(1, {ROWS}) n",
            "engine",
        )
        (self.folder / "update.sql").write_text(UPDATE.format(rows=ROWS, size=size))

    def updates(self, seconds: float, clients: int) -> Rate:
        """pgbench with prepared statements, from the core of the load."""
        options = [
            "-n",
            "-M",
            "prepared",
            "-c",
            clients,
            "-j",
            1,
            "-T",
            max(1, round(seconds)),
            "-f",
            self.folder / "update.sql",
        ]
        pinned = ["taskset", "-c", str(LOAD_CORE)]
        command = [
            *pinned,
            *AS_POSTGRES,
            str(self.programs / "pgbench"),
            "-h",
            str(self.folder),
            "-p",
            str(self.port),
            "-U",
            "bench",
            *map(str, options),
            "engine",
        ]
        output = subprocess.run(command, cwd="/", check=True, capture_output=True, text=True).stdout
        [line] = [line for line in output.splitlines() if line.startswith("tps")]
        rate = float(line.split()[2])
        # Its processes are many, so there is no figure by processor time.
        return Rate(rate, rate)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """On the core of the servers, where there is one to be had."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        raise RuntimeError("no Postgres here: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="countersign-bench-pg") as name:
        own = Path(name)
        one = Postgres(own, free_port(), found[-1].parent)
        (own / "password").write_text(one.password)
        if AS_POSTGRES:
            for path in (own / "password", own):
                shutil.chown(path, "postgres", "postgres")
        one.run(
            "initdb",
            "-D",
            own / "data",
            "--pwfile",
            own / "password",
            "-U",
            "bench",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        )
        with open(own / "data/postgresql.auto.conf", "w") as settings:
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {one.port}\nunix_socket_directories = '{own}'\nfsync = on\nsynchronous_commit = on\n"
            )
        pinned = [
            "taskset",
            "-c",
            str(SERVER_CORE),
            *AS_POSTGRES,
            str(one.programs / "postgres"),
            "-D",
            str(own / "data"),
        ]
        with open(folder / "postgres.log", "wb") as log:
            process = subprocess.Popen(pinned, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while subprocess.run(
                [one.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(one.port)], check=False
            ).returncode:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(f"Postgres does not start:\n{(folder / 'postgres.log').read_text()[-2000:]}")
                time.sleep(0.1)
            one.sql("CREATE DATABASE countersign")
            yield one
        finally:
            process.terminate()
            process.wait(60)


def size_of_families(file: Path) -> int:
    """The mean size of what is stored of a family, in bytes."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return round(
            database.execute("SELECT avg(length(bytes)) FROM documents WHERE key LIKE 'refresh/%'").fetchone()[0]
        )
