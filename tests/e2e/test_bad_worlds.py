"""A world that is not as it should be: bad configuration, broken store, wrong or missing sealing key, busy port.

Each is one line on standard error (an object with --json), the right exit code, and nothing lost: files that are
there keep their bytes.
"""

import base64
import json
import os
import socket
import sqlite3
import subprocess
import time

import jwt
import pytest
from e2e import clocks, wire
from e2e.program import CONFIG, SECRET, client, contents, snapshot, until

COMMANDS = [("serve",), ("sign", "--claims", "{}"), ("keys", "list"), ("keys", "export", "--public"), ("config", "check")]
OPENING = COMMANDS[:4]


def extended(text):
    """The usual configuration with `text` in front, behind the issuer."""
    return CONFIG.replace("\n\n[server]", f"\n{text}\n\n[server]", 1) + client("tests")


@pytest.mark.parametrize("text, says", [
    ("isuer = 1", "line 2, column 1: unknown field"),
    ("\n\n[stroe]\nurl = 1", "line 4, column 2: unknown field"),
    ("[limits]\nbody_byte = 1", "line 3, column 1: limits: unknown field"),
    ('[limits]\nbody_bytes = "many"', "line 3, column 14"),
    ("[store]\nurl = 5", "line 3, column 7"),
    ("[store]\nurl = [", "line"),
    ("x = ", "line 2"),
    ("[store", "line 2"),
    ('issuer = "https://twice.example"', "line 2"),
    ("[limits]\nbody_bytes = 0", "limits.body_bytes"),
    ("[limits]\nheader_bytes = 100", "limits.header_bytes"),
    ("[limits]\njson_depth = 100", "limits.json_depth"),
    ("[limits]\nconnections = 0", "limits.connections"),
    ('[limits]\nrequest_time = "0s"', "limits.request_time"),
    ('[limits]\nrequest_time = "10"', "limits.request_time"),
    ('[limits]\nper_client = "0/s"', "limits.per_client"),
    ('[limits]\nper_address = "fast"', "limits.per_address"),
    ('[store]\nrefresh = "soon"', "store.refresh"),
    ('[log]\nlevel = "loud!"', "log.level"),
    ('[rings.second]\nalgorithm = "none"', "line 3"),
    ('[rings."Bad Name"]', "rings.Bad Name"),
    ("[rings.second]\nrsa_bits = 1024", "2048"),
    ('[sealing]\nkey = "plain text"', "sealing.key"),
])
def test_a_mistake_in_the_configuration_is_named_with_its_place(world, text, says):
    world.configure(extended(text))
    for command in [("config", "check"), ("serve",)]:
        world.fails(78, says, *command)
    assert list(snapshot(world.folder)) == ["countersign/countersign.toml"]


@pytest.mark.parametrize("listen", ["127.0.0.1", "8080", "example.com:8080", "", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused(world, listen):
    world.configure(CONFIG.replace('"127.0.0.1:@PORT@"', f'"{listen}"') + client("tests"))
    world.fails(78, "server.listen", "serve")


def test_localhost_is_this_machine_over_ipv4(world):
    world.configure()
    assert world.serve("--listen", "localhost:0").printed["listen"].startswith("127.0.0.1:")


@pytest.mark.parametrize("issuer, says", [
    ("http://tokens.example.com", "--insecure-http-issuer"), ("http://192.0.2.1:8080", "--insecure-http-issuer"),
    ("ftp://a.example", "https://"), ("tokens.example.com", "issuer"), ("https://a.example/?q", "issuer"), ("", "issuer"),
    ("https://user@a.example", "issuer"), ("https://a.example/a//b", "issuer"), ("https://a.example#x", "issuer"),
])
def test_an_issuer_that_is_none_is_refused(world, issuer, says):
    world.configure(CONFIG.replace("http://127.0.0.1:@PORT@", issuer) + client("tests"))
    for command in COMMANDS:
        world.fails(78, says, *command)


def test_an_issuer_under_the_path_of_the_gate_is_refused_where_proxies_ask_it(world):
    proxies = '\n[[trust]]\nissuer = "https://other.example"\nkeys_url = "https://other.example/keys"\naudiences = ["a"]\n'
    proxies += '\n[[gate.proxies]]\nkind = "nginx"\nnetworks = ["127.0.0.1"]\n'
    for path in ["/gate", "/a/gate", "/gate/a"]:
        world.configure(CONFIG.replace("@PORT@\"\n\n[server]", f"@PORT@{path}\"\n\n[server]", 1) + client("tests") + proxies)
        for command in COMMANDS:
            world.fails(78, "where proxies ask the gate", *command)
    assert list(snapshot(world.folder)) == ["countersign/countersign.toml"]


def test_an_http_issuer_off_loopback_can_be_asked_for_by_name(world):
    world.configure(CONFIG.replace("http://127.0.0.1:@PORT@", "http://tokens.example.com") + client("tests"))
    token = world.done("sign", "--insecure-http-issuer", "--claims", "{}").strip()
    assert json.loads(wire.claims(token))["iss"] == "http://tokens.example.com"


def test_a_busy_port_is_named(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        world.configure(port=port)
        world.fails(78, f"another program listens on 127.0.0.1:{port}", "serve")


def test_a_configuration_that_is_not_there_is_named_with_what_to_do(world):
    for command in COMMANDS[1:]:
        world.fails(78, "countersign init", *command)
        world.fails(78, "nowhere.toml", "--config", "nowhere.toml", *command)
    assert list(world.folder.iterdir()) == []


def test_a_configuration_that_is_a_folder_empty_or_not_text_is_refused(world):
    (world.folder / "folder.toml").mkdir()
    (world.folder / "empty.toml").write_text("")
    (world.folder / "bytes.toml").write_bytes(b"issuer = \"\xff\xfe\"\n")
    for name, says in [("folder.toml", "folder.toml"), ("empty.toml", "issuer"), ("bytes.toml", "bytes.toml")]:
        for command in COMMANDS:
            world.fails(78, says, "--config", name, *command)


def test_a_folder_that_cannot_be_made_is_refused(world):
    (world.folder / "file").write_text("in the way")
    for path in ["file/countersign.toml", "file/deeper/countersign.toml"]:
        for command in [("init",), ("serve", "--listen", "127.0.0.1:0"), ("keys", "list")]:
            world.fails(78, path, "--config", path, *command)
    assert snapshot(world.folder) == {"file": b"in the way"}


@pytest.mark.parametrize("name", ["COUNTERSIGN_ISUER", "COUNTERSIGN_STORE__URI", "COUNTERSIGN_STORE_URL", "COUNTERSIGN_X__Y__Z"])
def test_a_variable_that_names_no_setting_is_refused_without_its_value(world, name):
    world.configure()
    line = world.fails(78, name, "config", "check", env={name: "a-value-not-to-show"})
    assert "a-value-not-to-show" not in line


@pytest.fixture
def used(world):
    """A folder with a key in the store."""
    world.configure()
    world.done("sign", "--claims", "{}")
    return world


def store(world):
    return world.file.parent / "countersign.db"


def spoil_garbage(path):
    path.write_bytes(b"this is not a database, but it is long enough to look at" * 100)


def spoil_head(path):
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])


def spoil_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 7])


def spoil_byte(path):
    path.write_bytes(b"x")


def spoil_pages(path):
    content = path.read_bytes()
    path.write_bytes(content[:4096] + os.urandom(len(content) - 4096))


@pytest.mark.parametrize("spoil", [spoil_garbage, spoil_head, spoil_half, spoil_byte, spoil_pages])
def test_a_damaged_store_is_reported_and_left_as_it_is(used, spoil):
    for leftover in used.file.parent.glob("countersign.db-*"):
        leftover.unlink()
    spoil(store(used))
    before = snapshot(used.folder)
    for command in OPENING:
        used.fails(78, "countersign.db", *command)
    after = snapshot(used.folder)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if name not in before and not name.endswith("-wal")]


def test_a_store_that_is_a_folder_is_refused(world):
    world.configure(CONFIG + '[store]\nurl = "sqlite:folder"\n' + client("tests"))
    (world.file.parent / "folder").mkdir()
    for command in OPENING:
        world.fails(78, "it is a directory", *command)
    assert list((world.file.parent / "folder").iterdir()) == []
    assert not (world.file.parent / "sealing.key").exists()


@pytest.mark.parametrize("url, says", [
    ("sqlite:no/such/folder/x.db", "its folder does not exist"), ("sqlite:countersign.toml/x.db", "countersign.toml"),
    ("nonsense", "known scheme"), ("sqlite:", "path is missing"), ("postgres://user:secret-word@127.0.0.1/x", "does not contain"),
])
def test_a_store_that_cannot_be_is_refused_without_its_password(world, url, says):
    world.configure(CONFIG + f'[store]\nurl = "{url}"\n' + client("tests"))
    for command in OPENING:
        assert "secret-word" not in world.fails(78, says, *command)
    assert list(snapshot(world.folder)) == ["countersign/countersign.toml"]


def test_the_database_of_another_program_is_left_alone(world):
    world.configure()
    with sqlite3.connect(store(world)) as database:
        database.execute("CREATE TABLE theirs (x)")
    database.close()
    before = snapshot(world.folder)
    for command in OPENING:
        world.fails(78, "another program", *command)
    assert snapshot(world.folder) == before


def test_a_missing_sealing_key_is_not_made_anew_over_keys(used, pem):
    sealing = used.file.parent / "sealing.key"
    sealing.unlink()
    before = contents(used.folder)
    for command in [*OPENING, ("keys", "import", pem["rsa"])]:
        used.fails(78, "the sealing key is missing", *command)
    assert contents(used.folder) == before and not sealing.exists()


@pytest.mark.parametrize("command", [("serve",), ("sign", "--claims", "{}"), ("verify", "@"), ("keys", "import", "--kid", "k", "@")])
def test_a_wrong_sealing_key_changes_nothing(used, pem, command):
    token = used.done("sign", "--claims", "{}").strip()
    sealing = used.file.parent / "sealing.key"
    sealing.write_text(base64.b64encode(os.urandom(32)).decode())
    before = contents(used.folder)
    given = {"verify": token, "keys": str(pem["rsa"])}.get(command[0])
    used.fails(78, "is authenticated with sealing key", *[given if word == "@" else word for word in command])
    assert contents(used.folder) == before


@pytest.mark.parametrize("content", ["garbage", "c2hvcnQ=", "A" * 100, "\0" * 32, base64.b64encode(b"x" * 31).decode()])
def test_a_sealing_key_that_is_none_is_refused(used, content):
    (used.file.parent / "sealing.key").write_text(content)
    before = contents(used.folder)
    for command in OPENING:
        says = "there are zero bytes in it" if "\0" in content else "32 random bytes in base64"
        line = used.fails(78, says, *command)
        assert len(content) < 5 or content not in line
    assert contents(used.folder) == before


def test_a_sealing_key_from_the_environment_must_be_set(world):
    world.configure(CONFIG + '[sealing]\nkey = "env:SEALING"\n' + client("tests"))
    for value in [None, ""]:
        world.fails(78, "SEALING is not set", "serve", env={"SEALING": value} if value is not None else None)
    world.fails(78, "32 random bytes", "serve", env={"SEALING": "short"})
    good = {"SEALING": base64.b64encode(os.urandom(32)).decode()}
    token = world.done("sign", "--claims", "{}", env=good).strip()
    world.done("verify", token, env=good)
    assert not (world.file.parent / "sealing.key").exists()
    before = contents(world.folder)
    other = {"SEALING": base64.b64encode(os.urandom(32)).decode()}
    world.fails(78, "is authenticated with sealing key", "sign", "--claims", "{}", env=other)
    assert contents(world.folder) == before


def test_a_clock_that_is_far_off_is_told_by_the_verdict(used):
    secret = "a secret that is long enough for HS256"
    jwk = {"kty": "oct", "kid": "s", "alg": "HS256", "k": base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")}
    (used.folder / "secret.json").write_text(json.dumps(jwk))
    now = int(time.time())
    for claims, says in [
        ({"iat": now + 1000, "exp": now + 5000}, "issued in the future; check the clocks"),
        ({"nbf": now + 1000, "exp": now + 5000}, "not valid yet"),
        ({"exp": now - 1}, "expired"),
        ({"exp": now - 10 * 365 * 86400, "iat": 0}, "expired"),
    ]:
        token = jwt.encode({"sub": "a"} | claims, secret, algorithm="HS256", headers={"kid": "s"})
        used.fails(1, says, "verify", "--jwks", "secret.json", token)
    token = jwt.encode({"iat": now + 50, "nbf": now + 50, "exp": now + 5000}, secret, "HS256", {"kid": "s"})
    used.done("verify", "--jwks", "secret.json", "--leeway", "2m", token)
    used.fails(1, "not valid yet", "verify", "--jwks", "secret.json", "--leeway", "20s", token)


def at(world, when, *arguments):
    """Runs a command with the clock elsewhere."""
    command = clocks.at(when, world.binary, *arguments)
    return subprocess.run(command, cwd=world.folder, env=world.environment, capture_output=True, text=True, timeout=60)


def test_a_clock_that_was_never_set_mints_nothing(used):
    done = at(used, "1970-01-02", "sign", "--claims", "{}")
    assert (done.returncode, done.stdout) == (78, "")
    assert "the clock of this machine is before 2026; set it" in done.stderr


def test_a_clock_that_is_days_behind_mints_nothing_and_one_that_is_ahead_is_told_by_the_verdict(used):
    behind = at(used, "-3 days", "sign", "--claims", "{}", "--lifetime", "1h")
    assert (behind.returncode, behind.stdout) == (78, ""), behind
    assert "the clock of this machine shows" in behind.stderr and "times in the future" in behind.stderr
    ahead = at(used, "+3 days", "sign", "--claims", "{}")
    assert ahead.returncode == 0
    used.fails(1, "not valid yet", "verify", "-", input=ahead.stdout)


def minting(issuer):
    headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
    return wire.ask(issuer, "POST", "/sign", headers, b'{"data":{"sub":"a"}}').status


def remove(path):
    for file in path.parent.glob("countersign.db*"):
        file.unlink()


def replace_with_garbage(path):
    remove(path)
    spoil_garbage(path)


def overwrite(path):
    for file in path.parent.glob("countersign.db*"):
        file.write_bytes(b"x" * file.stat().st_size)


@pytest.mark.parametrize("lose", [remove, replace_with_garbage, overwrite])
def test_a_store_lost_under_a_running_server_leaves_it_minting_but_not_ready(world, lose):
    text = CONFIG.replace("[rings", '[store]\nrefresh = "200ms"\nmax_stale = "2s"\n\n[rings') + client("tests")
    world.configure(text)
    issuer = world.serve().printed["issuer"]
    until(lambda: wire.get(issuer, "/readyz").status == 200, "ready")
    jwks = wire.get(issuer, "/.well-known/jwks.json").body
    lose(store(world))
    until(lambda: wire.get(issuer, "/readyz").status == 503, "not ready")
    assert minting(issuer) == 200 and wire.get(issuer, "/.well-known/jwks.json").body == jwks
    assert wire.get(issuer, "/healthz").status == 200
