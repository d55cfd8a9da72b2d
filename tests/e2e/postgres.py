"""A real Postgres of the tests' own, and what a test may do to it.

The server runs from Debian's programs in a folder that nobody else uses, on 127.0.0.1 and a free port, under the supervisor
of the store's own tests: when this process ends, however that happens, server and folder go away. Postgres refuses to
run as root; as root it runs as Debian's user `postgres`.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from e2e.program import free_port

PASSWORD = "PW-never-shown"
SUPERVISOR = Path(__file__).parents[2] / "crates/store/tests/suite/postgres/supervise.sh"
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []


def programs():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    assert found, "these tests need Postgres: run `apt-get install postgresql`, or scripts/test, which does it"
    return found[-1].parent


class Postgres:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="countersign-pg"))
        self.port, self.databases = free_port(), 0
        (self.folder / "password").write_text(PASSWORD)
        if AS_POSTGRES:
            for path in (self.folder / "password", self.folder):
                shutil.chown(path, "postgres", "postgres")
        arguments = [
            programs() / "initdb", "-D", self.folder / "data", "--pwfile", self.folder / "password", "-U", "tester",
            "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8",
        ]
        subprocess.run([*AS_POSTGRES, *map(str, arguments)], cwd="/", check=True, capture_output=True, timeout=120)
        (self.folder / "data/postgresql.auto.conf").write_text(
            f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.folder}'\nfsync = off\n"
        )
        supervise = ["/bin/sh", "-c", SUPERVISOR.read_text(encoding="utf-8"), "supervise", str(programs()), str(self.folder)]
        self.supervisor = subprocess.Popen(
            [*AS_POSTGRES, *supervise], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.start()

    def tell(self, word):
        self.supervisor.stdin.write(f"{word}\n")
        self.supervisor.stdin.flush()
        assert self.supervisor.stdout.readline() == "done\n", word

    def start(self):
        """Returns when connections are taken."""
        self.tell("start")
        ready = [str(programs() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 30
        while subprocess.run(ready, timeout=60).returncode != 0:
            assert time.monotonic() < deadline, (self.folder / "log").read_text(encoding="utf-8")
            time.sleep(0.05)

    def stop(self):
        self.tell("stop")

    def run(self, statement, database="postgres"):
        """What a statement returns, as text."""
        psql = [programs() / "psql", "-qAtX", "-h", self.folder, "-p", self.port, "-U", "tester", "-d", database]
        done = subprocess.run([*map(str, psql), "-c", statement], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def database(self):
        """The URL of a new database."""
        self.databases += 1
        name = f"test_{self.databases}"
        self.run(f"CREATE DATABASE {name}")
        return f"postgres://tester:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def end(self):
        self.supervisor.stdin.close()
        self.supervisor.wait(timeout=60)
        self.supervisor.stdout.close()
