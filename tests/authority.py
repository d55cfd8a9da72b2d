"""Authorities under test: `countersign serve` in a folder of its own, on 127.0.0.1, driven as a user would.

`authorities` hands out a factory and stops what it started; the fixtures in conftest.py are made of it.
"""

import json
import os
import select
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
from ports import free_port

#: A client for configurations of a test's own: may do anything. The fixture fills in the hash of its secret.
CLIENT = """
[[clients]]
id = "tests"
secret_hashes = ["@SECRET_HASH@"]
audiences = ["api://default", "api://other"]
max_lifetime = "24h"
scopes = ["*"]
profiles = ["*"]
claims = { allow = ["*"] }
jaas = { moderator = true, any_room = true, user = ["*"], features = ["*"] }
"""
AUDIENCE = "api://default"
READY_WITHIN = 90.0
#: For `get` and `post` without TLS, each on a connection of its own. `httpx.get` reads all certificates of the machine each time,
#: which takes 25 ms.
HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))


def configuration(algorithm):
    """The shortest configuration whose tokens are signed with `algorithm`."""
    return f'issuer = "@ISSUER@"\n[rings.default]\nalgorithm = "{algorithm}"\n{CLIENT}'


def clean_environment(extra=None):
    """The environment of this process without anything that Countersign would read, and with `extra`."""
    own = ("COUNTERSIGN_", "JAAS_", "PRIVATE_KEY", "JWT_", "AUTHORIZED_APIS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return environment | (extra or {})


def until(condition, what, within=READY_WITHIN):
    """Asks until `condition` gives something true, and returns that."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.02)
    return result


def log_is_written(url):
    """Whether a server has written all that it has logged; also when it cannot be asked."""
    try:
        text = HTTP.get(f"{url}/metrics").text
    except httpx.TransportError:
        return True
    return "countersign_log_unwritten_bytes" not in text or "countersign_log_unwritten_bytes 0\n" in text


class Authority:
    """One `countersign serve` with its folder.

    issuer, client_id, client_secret: what it printed, or what its configuration says.
    address: where it listens; the issuer may have a path behind it.
    process, log: the running process and what it wrote to its log so far.
    """

    def __init__(self, binary, folder, environment):
        self.binary, self.folder, self.environment = binary, Path(folder), environment
        self.issuer = self.address = self.client_id = self.client_secret = self.process = None

    def run(self, *arguments, input=None, env=None, check=True):
        """Runs the binary in this authority's folder; `check` demands exit code 0."""
        done = subprocess.run(
            [self.binary, *arguments], cwd=self.folder, env=self.environment | (env or {}),
            input=input, capture_output=True, text=True, timeout=60,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def configure(self, text):
        """Writes a configuration for a free port, with @ISSUER@ and @SECRET_HASH@ replaced."""
        address = f"127.0.0.1:{free_port()}"
        made = json.loads(self.run("client", "new", "tests", "--json").stdout)
        self.issuer, self.client_id, self.client_secret = f"http://{address}", "tests", made["client_secret"]
        self.environment = self.environment | {"COUNTERSIGN_SERVER__LISTEN": address}
        text = text.replace("@ISSUER@", self.issuer).replace("@SECRET_HASH@", made["secret_hash"])
        file = self.folder / "countersign" / "countersign.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)

    def start(self):
        """Starts the server and returns when it is ready; also after `stop`, on the same port."""
        first_run = self.issuer is None
        listen = ["--listen", "127.0.0.1:0"] if first_run else []
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--json", *listen],
                cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=log,
            )
        readable, _, _ = select.select([self.process.stdout], [], [], READY_WITHIN)
        line = self.process.stdout.readline() if readable else b""
        assert line.startswith(b"{"), f"it did not start: {line!r}\n{self.log}"
        printed = json.loads(line)
        assert "listen" in printed, f"it did not start: {printed}\n{self.log}"
        self.issuer = printed["issuer"]
        if first_run:
            self.client_id, self.client_secret = printed["client_id"], printed["client_secret"]
        self.address = f"http://{printed['listen']}"
        until(lambda: HTTP.get(f"{self.address}/readyz").status_code == 200, "ready")
        return self

    def stop(self):
        """SIGTERM to this process; it must end by itself with exit code 0."""
        process, self.process = self.process, None
        if process is None:
            return
        ended_before = process.poll()
        assert ended_before is None, f"it ended before it was stopped: exit code {ended_before}\n{self.log}"
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"SIGTERM did not stop it\n{self.log}") from None
        finally:
            process.stdout.close()
        assert code == 0, f"exit code {code}\n{self.log}"

    @property
    def log(self):
        """All that was logged until now: a server writes its log a moment after it answers."""
        if self.process is not None and self.process.poll() is None:
            until(lambda: log_is_written(self.address), "the log is written")
        return (self.folder / "log").read_text(encoding="utf-8")

    @property
    def audit(self):
        """What was recorded of requests; keys have records of their own (e2e/test_key_audit.py)."""
        events = [json.loads(line) for line in self.log.split("\n") if line]
        return [event for event in events if event.get("target") == "countersign::audit" and event["decision"] != "key_changed"]

    def request(self, data, metadata=None, profile=None):
        """`POST /sign` with HTTP Basic. `data` is a dict, or JSON text that is sent as it is."""
        members = [f'"data":{data if isinstance(data, str) else json.dumps(data)}']
        if metadata is not None:
            members.append(f'"metadata":{json.dumps(metadata)}')
        if profile is not None:
            members.append(f'"profile":{json.dumps(profile)}')
        return HTTP.post(
            f"{self.issuer}/sign", auth=(self.client_id, self.client_secret),
            content=f"{{{','.join(members)}}}", headers={"Content-Type": "application/json"},
        )

    def sign(self, data, metadata=None, profile=None):
        """A token from `POST /sign`."""
        response = self.request(data, metadata, profile)
        assert response.status_code == 200, f"{response.status_code} {response.text}"
        return response.json()["access_token"]


@contextmanager
def authorities(binary, tmp_path_factory):
    started = []

    def start(config=None, env=None, before=None):
        """Starts an authority.

        config: the text of countersign.toml, with @ISSUER@ and @SECRET_HASH@ for `configure`; None: a first run.
        env:    environment variables for it and for its `run`.
        before: called with the authority before it is started, to import keys for example.
        """
        environment = clean_environment(
            # The first is what `keys init` is for a person.
            {"COUNTERSIGN_STORE__FIRST_KEYS": "create", "COUNTERSIGN_LIMITS__PER_ADDRESS": "off", "COUNTERSIGN_SERVER__DRAIN": "0s"}
            | (env or {})
        )
        new = Authority(binary, tmp_path_factory.mktemp("authority"), environment)
        if config is not None:
            new.configure(config)
        if before is not None:
            before(new)
        started.append(new)
        return new.start()

    try:
        yield start
    finally:
        failures = []
        for one in started:
            try:
                one.stop()
            except AssertionError as why:
                failures.append(str(why))
        assert not failures, "\n".join(failures)
