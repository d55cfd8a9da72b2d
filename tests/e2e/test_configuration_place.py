"""Where the configuration is: a file that is named has to be there, two are one too many, and variables alone are enough."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from e2e import wire
from e2e.program import CONFIG, FILE, client, contents, free_port, snapshot

NAMED = {
    "option": (["--config", "etc/countersing.toml"], {}, "named by --config"),
    "variable": ([], {"COUNTERSIGN_CONFIG": "etc/countersing.toml"}, "named by COUNTERSIGN_CONFIG"),
}
COMMANDS = [["serve"], ["sign", "--claims", "{}"], ["keys", "list"], ["keys", "init"], ["config", "check"], ["publish", "site"], ["client", "list"]]


@pytest.mark.parametrize("how", NAMED)
@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(command[:2]) for command in COMMANDS])
def test_a_named_file_that_is_not_there_is_an_error_and_makes_nothing(world, how, command):
    flags, variables, says = NAMED[how]
    line = world.fails(78, says, *command, *flags, env=variables)
    assert "etc/countersing.toml" in line and "countersign init" in line
    # Nor is it made because the variables are enough.
    world.fails(78, says, *command, *flags, env=variables | {"COUNTERSIGN_ISSUER": "https://a.example"})
    assert snapshot(world.folder) == {}


def test_a_file_in_the_folder_itself_is_used_and_no_second_authority_is_made_in_it(world):
    port = world.configure()
    world.done("sign", "--claims", "{}")
    [key] = world.keys()
    before = set(snapshot(world.folder))
    inside = world.folder / "countersign"
    world.folder = inside
    assert [one["kid"] for one in world.keys()] == [key["kid"]]
    issuer = world.serve().printed["issuer"]
    assert issuer == f"http://127.0.0.1:{port}"
    assert not (inside / "countersign").exists()
    assert before <= {f"countersign/{name}" for name in snapshot(inside)}


def test_of_two_files_neither_is_taken(world):
    world.configure()
    (world.folder / "countersign.toml").write_text(CONFIG.replace("@PORT@", "9"))
    for command in COMMANDS:
        line = world.fails(78, "two configurations", *command)
        assert FILE in line and "--config" in line
    world.fails(78, "two configurations", "init")
    assert json.loads(world.done("keys", "list", "--json", "--config", FILE, env={"COUNTERSIGN_STORE__FIRST_KEYS": "create"}))


def test_variables_alone_are_a_configuration(world):
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    variables = {
        "COUNTERSIGN_ISSUER": issuer, "COUNTERSIGN_SERVER__LISTEN": f"127.0.0.1:{port}", "COUNTERSIGN_STORE__URL": "sqlite:keys.db",
        "COUNTERSIGN_SEALING__KEY": "file:sealing", "COUNTERSIGN_RINGS__DEFAULT__ALGORITHM": "ES256",
    }
    world.environment |= variables
    world.done("keys", "init")
    world.done("config", "check")
    token = world.done("sign", "--claims", '{"sub":"a"}', "--audience", "api://a").strip()
    assert json.loads(wire.claims(token))["iss"] == issuer
    assert world.done("verify", token).startswith("valid: signed with ES256")
    assert world.serve().printed["issuer"] == issuer
    assert {"keys.db", "sealing"} <= set(snapshot(world.folder)) and not (world.folder / "countersign").exists()
    world.environment["COUNTERSIGN_SERVER__LISTEN"] = ":8080"
    assert "no address in front of the port" in world.fails(78, "COUNTERSIGN", "config", "check")


def test_the_pages_variables_alone_are_a_server_with_a_client(full_world, postgres):
    """The block of docs/operations.md, with addresses of this machine; what `client new` says is set as it says it."""
    world, page = full_world, (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    [block] = re.findall(r"test_configuration_place.py runs this -->\n```sh\n(.*?)```", page, re.DOTALL)
    port = free_port()
    for found, here in {"https://id.example.com": f"http://127.0.0.1:{port}", "0.0.0.0:8080": f"127.0.0.1:{port}"}.items():
        assert found in block
        block = block.replace(found, here)
    sealing = subprocess.run(["openssl", "rand", "-base64", "32"], capture_output=True, text=True, check=True).stdout.strip()
    (world.folder / "bin").mkdir()
    (world.folder / "bin" / "countersign").symlink_to(world.binary)
    del world.environment["COUNTERSIGN_STORE__FIRST_KEYS"]
    world.environment |= {
        "DATABASE_URL": postgres.database(), "SEALING_KEY": sealing, "PATH": f"{world.folder}/bin:{world.environment['PATH']}",
    }

    def shell(script):
        done = subprocess.run(["bash", "-euc", script], cwd=world.folder, env=world.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done
        return done.stdout

    said = shell(block)
    secret = re.search(r"client_secret: (\S+)", said)[1]
    [clients] = re.findall(r"^export COUNTERSIGN_CLIENTS=.*$", said, re.MULTILINE)
    settings = "\n".join(line for line in block.splitlines() if line.startswith("export ")) + f"\n{clients}\n"
    assert "the environment is good" in shell(settings + "countersign config check")
    variables = shell(settings + "env -0")
    world.environment |= dict(pair.split("=", 1) for pair in variables.split("\0") if pair.startswith("COUNTERSIGN_"))
    issuer = world.serve().printed["issuer"]
    headers = {"Authorization": wire.basic("backend", secret), "Content-Type": "application/json"}
    answer = wire.ask(issuer, "POST", "/sign", headers, b'{"data":{"sub":"a"}}')
    assert answer.status == 200 and json.loads(wire.claims(answer.json()["access_token"]))["iss"] == issuer
    assert {path.name for path in world.folder.iterdir()} == {"bin", "log"}, "no file was made"


def test_a_file_may_leave_the_issuer_to_a_variable_and_without_either_it_is_asked_for(world):
    world.configure(CONFIG.replace('issuer = "http://127.0.0.1:@PORT@"\n', ""))
    world.fails(78, 'issuer is missing; write issuer = "https://HOST", or set COUNTERSIGN_ISSUER', "config", "check")
    world.done("config", "check", env={"COUNTERSIGN_ISSUER": "https://id.example.com"})


def test_init_makes_what_variables_say_and_writes_it(world):
    world.environment |= {
        "COUNTERSIGN_ISSUER": "https://id.example.com", "COUNTERSIGN_STORE__URL": "sqlite:elsewhere.db", "COUNTERSIGN_SEALING__KEY": "file:other.key",
    }
    said = json.loads(world.done("init", "--json", "--algorithm", "ES256"))
    assert said["issuer"] == "https://id.example.com"
    for name in ("ISSUER", "STORE__URL", "SEALING__KEY"):
        del world.environment[f"COUNTERSIGN_{name}"]
    [key] = world.keys()
    assert key["state"] == "active" and (world.file.parent / "elsewhere.db").exists() and (world.file.parent / "other.key").exists()
    assert json.loads(wire.claims(world.done("sign", "--claims", "{}").strip()))["iss"] == "https://id.example.com"


def test_init_goes_on_with_a_key_and_declares_nobody_if_asked(world, pem):
    world.done("init", "--issuer", "https://id.example.com", "--key", str(pem["rsa"]), "--kid", "k1", "--no-client")
    [key] = world.keys()
    assert (key["kid"], key["state"], key["origin"], key["algorithm"]) == ("k1", "active", "imported", "RS256")
    assert json.loads(world.done("client", "list", "--json")) == {"clients": []}
    assert wire.header(world.done("sign", "--claims", "{}", "--audience", "a").strip())["kid"] == "k1"


def test_init_makes_nothing_of_a_key_that_cannot_be_used(world, pem):
    before = snapshot(world.folder)
    world.fails(1, "1024 bits", "init", "--key", str(pem["rsa1024"]))
    world.fails(2, "no-such.pem", "init", "--key", "no-such.pem")
    world.fails(1, "does not fit", "init", "--key", str(pem["ec"]), "--algorithm", "RS256")
    assert world.run("init", "--kid", "k1").returncode == 2
    assert snapshot(world.folder) == before


def test_clients_are_listed_and_a_secret_is_renewed_beside_the_old_one(world):
    world.configure(CONFIG + client("tests") + client("other", more='audiences = ["a"]\nmax_lifetime = "5m"'))
    listed = json.loads(world.done("client", "list", "--json"))["clients"]
    assert [(one["id"], one["authentication"], one["max_lifetime"]) for one in listed] == [("tests", ["secret"], "1h"), ("other", ["secret"], "5m")]
    assert "other" in world.done("client", "list") and "sha256:" not in world.done("client", "list")
    before = contents(world.folder)
    made = json.loads(world.done("client", "secret", "tests", "--json"))
    assert contents(world.folder) == before and made["toml"].startswith('secret_hashes = ["' + made["secret_hash"] + '", "sha256:')
    old = next(line for line in world.file.read_text().splitlines() if line.startswith("secret_hashes"))
    world.file.write_text(world.file.read_text().replace(old, made["toml"], 1))
    issuer = world.serve().printed["issuer"]
    from e2e.program import SECRET

    for secret in (SECRET, made["client_secret"]):
        headers = {"Authorization": wire.basic("tests", secret), "Content-Type": "application/json"}
        assert wire.ask(issuer, "POST", "/sign", headers, b'{"data":{}}').status == 200
    said = world.done("client", "secret", "tests")
    assert "shown only once" in said and "secret_hashes = [" in said and "SIGHUP" in said
    world.fails(1, 'there is no client "nobody"; there is tests, other', "client", "secret", "nobody")
