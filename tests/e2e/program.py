"""The program in folders of a test's own: commands that may fail, and servers that may end in any way.

Servers that are to run and stop properly come from the fixture `authority`; these here are for everything else.
"""

import base64
import hashlib
import json
import os
import select
import sqlite3
import subprocess
import time
from pathlib import Path

from authority import log_is_written
from ports import free_port

SECRET = "cssec_a-secret-that-only-these-tests-know-0123456789"
SECONDS = 90.0


def secret_hash(secret=SECRET):
    """A secret as the configuration has it."""
    digest = hashlib.sha256(secret.encode()).digest()
    return "sha256:" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def client(id, secret=SECRET, more='audiences = ["api://default"]\nclaims = { allow = ["*"] }'):
    return f'\n[[clients]]\nid = "{id}"\nsecret_hashes = ["{secret_hash(secret)}"]\n{more}\n'


#: A configuration whose keys are made quickly. `@PORT@` is a free port.
CONFIG = 'issuer = "http://127.0.0.1:@PORT@"\n\n[server]\nlisten = "127.0.0.1:@PORT@"\n\n[rings.default]\nalgorithm = "ES256"\n'
FILE = "countersign/countersign.toml"

#: A configuration for the fixture `authority`, with one client that may set any claims.
SIGN_CONFIG = """
issuer = "@ISSUER@"

[rings.default]
algorithm = "ES256"

[[clients]]
id = "tests"
secret_hashes = ["@SECRET_HASH@"]
audiences = ["api://default", "api://other"]
max_lifetime = "24h"
scopes = ["*"]
claims = { allow = ["*"] }
"""


def private(path, text):
    """Writes a file that its owner alone may read, as secrets have to be."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def until(condition, what, within=SECONDS):
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.02)
    return result


def snapshot(folder):
    """Every file below a folder with its bytes; SQLite's shared memory is not content."""
    files = (path for path in Path(folder).rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def contents(folder):
    """The same with the documents of the store instead of its bytes: SQLite may fold its log in at any time."""
    found = {name: data for name, data in snapshot(folder).items() if ".db" not in name}
    for path in Path(folder).rglob("*.db"):
        database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        found[path.name] = database.execute("SELECT key, version, bytes, expires_at FROM documents ORDER BY key").fetchall()
        database.close()
    return found


class World:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.started = binary, Path(folder), []
        own = ("COUNTERSIGN_", "JAAS_", "PRIVATE_KEY", "AWS_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        # What `keys init` is for a person; tests of first keys take it away.
        self.environment["COUNTERSIGN_STORE__FIRST_KEYS"] = "create"

    @property
    def file(self):
        return self.folder / FILE

    def configure(self, text=CONFIG + client("tests"), port=None):
        """Writes a configuration and returns its port."""
        port = port or free_port()
        self.file.parent.mkdir(exist_ok=True)
        private(self.file, text.replace("@PORT@", str(port)))
        return port

    def run(self, *arguments, input=None, env=None, timeout=60):
        return subprocess.run(
            [self.binary, *map(str, arguments)], cwd=self.folder, env=self.environment | (env or {}),
            input=input, capture_output=True, text=True, timeout=timeout,
        )

    def done(self, *arguments, **rest):
        """What a command prints that must succeed."""
        done = self.run(*arguments, **rest)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def keys(self):
        return json.loads(self.done("keys", "list", "--json"))["keys"]

    def fails(self, code, says, *arguments, env=None, input=None):
        """Demands an exit code and one line that says `says`; and the same as an object with --json."""
        done = self.run(*arguments, env=env, input=input)
        shown = f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == code, shown
        complaint = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert len(complaint) == 1 and complaint[0].startswith("countersign: "), shown
        assert says in complaint[0], shown
        assert done.stdout == "", shown
        again = self.run("--json", *arguments, env=env, input=input)
        shown = f"--json {arguments}: {again.returncode}\n{again.stdout}{again.stderr}"
        assert again.returncode == code, shown
        assert {"error", "message"} <= set(json.loads(again.stdout)), shown
        assert says in json.loads(again.stdout)["message"], shown
        assert all(line.startswith("{") for line in again.stderr.splitlines()), shown
        return complaint[0]

    def spawn(self, *arguments, env=None):
        """Starts a process that is killed at the end of the test if it still runs. A server does not drain unless told to."""
        environment = {"COUNTERSIGN_SERVER__DRAIN": "0s"} | self.environment | (env or {})
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen(
                [self.binary, *arguments], cwd=self.folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            )
        self.started.append(process)
        return process

    def serve(self, *arguments, env=None):
        """Starts a server and waits for its line; the process has what it printed in `printed`."""
        process = self.spawn("serve", "--json", *arguments, env=env)
        process.printed = self.announcement(process)
        return process

    def announcement(self, process):
        readable, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if readable else b""
        assert line.startswith(b"{") and b'"listen"' in line, f"it did not start: {line!r}\n{self.log}"
        return json.loads(line)

    @property
    def log(self):
        """All that was logged until now: a server writes its log a moment after it answers."""
        for process in self.started:
            printed = getattr(process, "printed", None)
            if printed and process.poll() is None:
                until(lambda: log_is_written(f"http://{printed['listen']}"), "the log is written")
        return (self.folder / "log").read_text(encoding="utf-8")

    def events(self):
        """The records of the log; every line must be one."""
        return [json.loads(line) for line in self.log.split("\n") if line]

    def end(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
