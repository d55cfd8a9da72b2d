"""The exit code is that of the outcome, whatever becomes of the output: for every command, in every way of losing it.

The commands are those that `--help` shows, so that one that is new and not in the table here fails the first test.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from e2e import wire
from e2e.assertions import Key
from e2e.program import CONFIG, SECRET, client, until

PORT = 9  # nothing listens there
GATE = f"""
[[trust]]
issuer = "http://127.0.0.1:{PORT}"
jwks = "file:keys.json"
algorithms = ["ES256"]
audiences = ["api://default"]
"""
LOGIN = Key("alice")
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
EXCHANGING = client("backend", more=f'grants = ["{EXCHANGE}"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\n') + f"""
[[exchange]]
clients = ["backend"]
provider = "login"
grants = ["{EXCHANGE}"]
impersonate = true
trust = {{ issuer = "https://login.example", jwks = {json.dumps(LOGIN.jwks)}, algorithms = ["ES256"], audiences = ["a"] }}
"""


class Prepared:
    """A folder with keys, tokens and events, to be copied for each command."""

    def __init__(self, world):
        world.configure(CONFIG + client("tests"), PORT)
        self.world = world
        self.token = world.done("sign", "--claims", '{"sub":"alice"}').strip()
        self.foreign = self.token[:-8] + "AAAAAAAA"
        public = world.done("keys", "export", "--public")
        (world.file.parent / "keys.json").write_text(public)
        (world.folder / "jwks.json").write_text(public)
        secrets = '\n[rings.secrets]\nalgorithm = "HS256"\n'
        world.configure(CONFIG + secrets + client("tests") + GATE + EXCHANGING, PORT)
        for name, token in [("good", self.token), ("bad", self.foreign)]:
            (world.folder / f"{name}.json").write_text(json.dumps({
                "type": "TOKEN", "authorizationToken": f"Bearer {token}",
                "methodArn": "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET/orders",
            }))
        (world.folder / "gate.toml").write_text(GATE.replace("file:keys.json", "file:jwks.json"))
        (world.folder / "nonsense.json").write_text("{}")
        (world.folder / "prosody.toml").write_text(
            'issuer = "https://tokens.example"\nprofiles.jitsi = { app_id = "a", domain = "meet.example" }\n')
        (world.folder / "broken.toml").write_text("issuer = 5\n")
        # It has to outlive all rows, on a slow machine too.
        lasting = LOGIN.sign("a", iss="https://login.example", exp=int(time.time()) + 3600)
        (world.folder / "foreign").write_text(lasting)
        subprocess.run(
            ["openssl", "genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "new.pem"],
            cwd=world.folder, check=True,
        )
        [self.active] = [key["kid"] for key in world.keys()]
        self.next = {}
        for step, commands in {"publish": [], "activate": ["publish"], "retire": ["publish"]}.items():
            folder = self.copy(f"before-{step}")
            run = lambda *arguments: subprocess.run(  # noqa: E731
                [world.binary, *arguments], cwd=folder, env=world.environment, check=True, capture_output=True, text=True
            )
            run("keys", "prepare")
            rows = json.loads(run("keys", "list", "--json").stdout)["keys"]
            [kid] = [row["kid"] for row in rows if row["kid"] != self.active]
            for command in commands:
                run("keys", command, kid)
            self.next[step] = (folder, kid)

    def copy(self, name):
        """The folder as it is now, elsewhere."""
        folder = self.world.folder.parent / f"{self.world.folder.name}-{name}"
        shutil.copytree(self.world.folder, folder)
        return folder


@pytest.fixture(scope="module")
def prepared(full_binary, tmp_path_factory):
    from e2e.program import World

    world = World(full_binary, tmp_path_factory.mktemp("prepared"))
    yield Prepared(world)
    world.end()


def step(name, *more):
    return lambda p: (["keys", name, p.next[name][1], *more], p.next[name][0])


def plain(*arguments):
    return lambda p: ([str(getattr(p, a[1:])) if a.startswith("@") else a for a in arguments], p.world.folder)


#: Every command: its name, how it is called, and its exit code.
COMMANDS = [
    ("init", plain("init", "--config", "new/c.toml", "--algorithm", "ES256"), 0),
    ("init", plain("init", "--config", "new/c.toml", "--key", "new.pem", "--no-client"), 0),
    ("init", plain("init"), 1),
    ("sign", plain("sign", "--claims", "{}"), 0),
    ("sign", plain("sign", "--claims", "5"), 2),
    ("verify", plain("verify", "@token"), 0),
    ("verify", plain("verify", "@token", "--jwks", "jwks.json"), 0),
    ("verify", plain("verify", "@foreign"), 1),
    ("verify", plain("verify", "abc"), 1),
    ("verify", plain("verify", ""), 2),
    ("explain", plain("explain", "@token"), 0),
    ("explain", plain("explain", "@foreign"), 1),
    ("explain", plain("explain", "abc"), 1),
    ("decode", plain("decode", "@token"), 0),
    ("decode", plain("decode", "@foreign"), 0),
    ("decode", plain("decode", "abc"), 1),
    ("decode", plain("decode", ""), 2),
    ("authorize", plain("authorize", "--event", "good.json"), 0),
    ("authorize", plain("authorize", "--event", "good.json", "--config", "gate.toml"), 0),
    ("authorize", plain("authorize", "--event", "good.json", "--explain"), 0),
    ("authorize", plain("authorize", "--event", "bad.json"), 1),
    ("authorize", plain("authorize", "--event", "bad.json", "--explain"), 1),
    ("authorize", plain("authorize", "--event", "nonsense.json"), 2),
    ("keys list", plain("keys", "list"), 0),
    ("keys init", plain("keys", "init"), 0),
    ("keys adopt", plain("keys", "adopt"), 0),
    ("keys adopt", plain("keys", "adopt", "--digest", "another"), 0),
    ("keys accept-loss", plain("keys", "accept-loss", "--sequence", "5", "gone"), 0),
    ("keys remove", lambda p: (["keys", "remove", p.next["publish"][1]], p.next["publish"][0]), 0),
    ("keys remove", plain("keys", "remove", "@active"), 1),
    ("keys remove", plain("keys", "remove", "--signed-nothing", "@active"), 1),
    ("keys correct-times", plain("keys", "correct-times"), 0),
    ("keys generate", plain("keys", "generate", "--jaas"), 0),
    ("keys generate", plain("keys", "generate", "--jaas", "--out", "new.pem"), 1),
    ("keys generate", plain("keys", "generate", "--jaas", "--rsa-bits", "1024"), 2),
    ("keys prepare", plain("keys", "prepare"), 0),
    ("keys prepare", plain("keys", "prepare", "--ring", "secrets"), 1),
    ("keys prepare", plain("keys", "prepare", "--ring", "secrets", "--show-secret"), 0),
    ("keys prepare", plain("keys", "prepare", "--show-secret"), 2),
    ("keys publish", step("publish"), 0),
    ("keys publish", plain("keys", "publish", "unknown"), 1),
    ("keys activate", step("activate", "--force"), 0),
    ("keys retire", step("retire"), 0),
    ("keys revoke", plain("keys", "revoke", "@active"), 0),
    ("keys rotate", plain("keys", "rotate", "--once"), 70),
    ("keys rotate", plain("keys", "rotate", "--publish", "site"), 70),
    ("keys rotate", plain("keys", "rotate", "--publish", "site", "--check"), 70),
    ("keys export", plain("keys", "export", "--public"), 0),
    ("keys export", plain("keys", "export", "--public", "--format", "pem"), 0),
    ("keys export", plain("keys", "export", "--public", "--format", "x509"), 0),
    ("keys reseal", plain("keys", "reseal"), 0),
    ("keys import", plain("keys", "import", "new.pem"), 0),
    ("store create", plain("store", "create", "sqlite:made.db"), 0),
    ("store check", plain("store", "check"), 0),
    ("store check", plain("store", "check", "sqlite:absent.db"), 78),
    ("store copy", plain("store", "copy", "sqlite:countersign/countersign.db", "sqlite:copied.db"), 0),
    ("client new", plain("client", "new", "x"), 0),
    ("client list", plain("client", "list"), 0),
    ("client secret", plain("client", "secret", "tests"), 0),
    ("client secret", plain("client", "secret", "nobody"), 1),
    ("client new", plain("client", "new", "x", "--grant", "client_credentials"), 0),
    ("client new", plain("client", "new", "x", "--grant", "client_credentials", "--auth", "private_key_jwt"), 0),
    ("tokens revoke", plain("tokens", "revoke", "--subject", "alice"), 0),
    ("tokens revoke", plain("tokens", "revoke"), 2),
    ("tokens revoked", plain("tokens", "revoked"), 0),
    ("exchange", plain("exchange", "--explain", "foreign"), 0),
    ("exchange", plain("exchange", "--explain", "foreign", "--audience", "api://other"), 1),
    ("exchange", plain("exchange", "foreign"), 2),
    ("publish", plain("publish", "site"), 0),
    ("publish", plain("publish", "--check"), 70),
    ("config check", plain("config", "check"), 0),
    ("config check", plain("config", "check", "--config", "broken.toml"), 78),
    ("config prosody", plain("config", "prosody", "--config", "prosody.toml"), 0),
    ("config prosody", plain("config", "prosody"), 78),
    ("config schema", plain("config", "schema"), 0),
    ("config schema", plain("config", "schema", "--markdown"), 0),
    ("completions", plain("completions", "bash"), 0),
    ("help", plain("--help"), 0),
    ("help", plain("help", "keys", "import"), 0),
    ("help", plain("--version"), 0),
    ("help", plain("nonsense"), 2),
]
ELSEWHERE = {"serve"}


def names(binary, *above):
    """The commands below one, as its help shows them."""
    text = subprocess.run([binary, *above, "--help"], capture_output=True, text=True, check=True).stdout
    listed = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.M)
    if not listed:
        return [" ".join(above)]
    below = [word for word in re.findall(r"^  ([a-z]\S*)", listed[1], re.M) if word != "help"]
    return [name for word in below for name in names(binary, *above, word)]


def test_every_command_is_in_the_table(full_binary):
    found = set(names(full_binary))
    assert len(found) > 15
    assert found == ({name for name, _, _ in COMMANDS} - {"help"}) | ELSEWHERE


def run(prepared, called, number, sink, *options):
    """Runs a command in a folder of its own, with its output going nowhere."""
    arguments, source = called(prepared)
    folder = prepared.world.folder.parent / f"run-{number}-{sink}-{len(options)}"
    shutil.copytree(source, folder)
    command = [prepared.world.binary, *options, *arguments]
    how = {"cwd": folder, "env": prepared.world.environment, "stdin": subprocess.DEVNULL, "timeout": 60}
    try:
        if sink == "nowhere":
            return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
        if sink == "full":
            with open("/dev/full", "wb") as full:
                return subprocess.run(command, stdout=full, stderr=subprocess.PIPE, **how)
        if sink == "both-full":
            with open("/dev/full", "wb") as full:
                return subprocess.run(command, stdout=full, stderr=full, **how)
        if sink == "closed":
            return subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, **how)
        read, write = os.pipe()
        os.close(read)
        try:
            return subprocess.run(command, stdout=write, stderr=subprocess.PIPE, **how)
        finally:
            os.close(write)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=[f"{name}-{code}" for name, _, code in COMMANDS])
def test_the_exit_code_is_the_outcomes_whatever_becomes_of_the_output(prepared, number):
    _, called, code = COMMANDS[number]
    for options in [(), ("--json",)]:
        good = run(prepared, called, number, "nowhere", *options)
        assert good.returncode == code, (options, good)
        for sink in ["pipe", "closed"]:
            done = run(prepared, called, number, sink, *options)
            assert done.returncode == code, (sink, options, done)
            assert b"standard output" not in done.stderr, (sink, done)
        # What has nothing to print there loses nothing.
        expected = 70 if code == 0 and good.stdout else code
        done = run(prepared, called, number, "full", *options)
        assert done.returncode == expected, (options, done)
        if good.stdout:
            assert b"countersign: standard output cannot be written: No space left on device" in done.stderr, done
        assert run(prepared, called, number, "both-full", *options).returncode in {expected, code, 70} - {0}


@pytest.mark.parametrize("sink", ["full", "pipe", "closed"])
def test_a_server_does_not_depend_on_anyone_reading_what_it_prints(world, sink):
    port = world.configure()
    if sink == "full":
        stdout, command = os.open("/dev/full", os.O_WRONLY), [world.binary, "serve"]
    else:
        read, stdout = os.pipe()
        os.close(read)
        command = [world.binary, "serve"] if sink == "pipe" else ["sh", "-c", 'exec "$@" >&-', "sh", world.binary, "serve"]
    with open(world.folder / "log", "ab") as log:
        process = subprocess.Popen(
            command, cwd=world.folder, env=world.environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=log
        )
    os.close(stdout)
    try:
        issuer = f"http://127.0.0.1:{port}"

        def serves():
            try:
                return wire.get(issuer, "/readyz").status == 200
            except OSError:
                return process.poll() is not None

        until(serves, "the server serves")
        assert process.poll() is None
        headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
        assert wire.ask(issuer, "POST", "/sign", headers, b'{"data":{}}').status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    if sink != "closed":
        assert "standard output cannot be written" in world.log


def test_a_file_size_limit_is_an_error_and_ends_nothing(world):
    """Without the signal being caught, the program would be killed by SIGXFSZ."""
    world.configure()
    world.done("sign", "--claims", "{}")
    out = world.folder / "out"
    with open(out, "wb") as file:
        done = subprocess.run(
            ["prlimit", "--fsize=16", world.binary, "config", "schema"],
            cwd=world.folder, env=world.environment, stdout=file, stderr=subprocess.PIPE, timeout=60,
        )
    assert done.returncode == 70 and b"standard output cannot be written: File too large" in done.stderr, done
