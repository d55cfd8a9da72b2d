"""The first start: what it makes, what it shows once, and several starts at the same moment.

`serve` and `init` in an empty folder, the printed curl line through a real shell, and races between processes on one
empty folder or store.
"""

import json
import stat
import socket
import subprocess

import pytest
from e2e import wire
from e2e.program import CONFIG, FILE, World, client, contents, free_port, snapshot, until


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def printed_by_people_mode(world, *arguments):
    """Starts `serve` without --json and returns the lines that it prints to a person."""
    process = world.spawn("serve", "--listen", "127.0.0.1:0", *arguments)
    lines = []
    while not lines or "curl" not in lines[-1]:
        line = process.stdout.readline().decode()
        assert line, f"it ended: {lines}\n{world.log}"
        lines.append(line.rstrip("\n"))
    return process, lines


def test_serve_in_an_empty_folder_makes_everything_readable_by_its_owner_only(world):
    world.serve("--listen", "127.0.0.1:0")
    folder = world.folder / "countersign"
    assert mode(folder) == 0o700
    assert {"countersign.toml", "countersign.db", "sealing.key"} <= {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        assert mode(path) & 0o077 == 0, path.name
    assert mode(folder / "sealing.key") == 0o600
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_serve_prints_the_issuer_and_a_curl_line_that_works_when_pasted(world):
    _, lines = printed_by_people_mode(world)
    issuer = lines[0].removeprefix("issuer: ")
    assert issuer.startswith("http://127.0.0.1:")
    answer = subprocess.run(
        ["sh", "-c", lines[-1].strip()], capture_output=True, text=True, timeout=120, check=True, cwd=world.folder
    )
    token = json.loads(answer.stdout)["access_token"]
    claims = json.loads(wire.claims(token))
    assert (claims["iss"], claims["aud"], claims["sub"]) == (issuer, "api://default", "alice")
    verdict = json.loads(world.done("verify", "--json", "--issuer", issuer, "--audience", "api://default", token))
    assert verdict["valid"] is True and verdict["unchecked"] == []


def test_the_curl_line_survives_a_shell_with_any_secret(world):
    for round in range(5):
        line = json.loads(world.done("init", "--json", "--config", f"round{round}/countersign.toml"))["curl"]
        words = subprocess.run(["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True)
        assert '{"data":{"sub":"alice"}}' in words.stdout.splitlines()


def test_the_secret_is_shown_once_and_kept_nowhere(world):
    first = world.serve("--listen", "127.0.0.1:0")
    secret, issuer = first.printed["client_secret"], first.printed["issuer"]
    answer = wire.ask(
        issuer, "POST", "/sign",
        {"Authorization": wire.basic("first", secret), "Content-Type": "application/json"}, b'{"data":{}}',
    )
    assert answer.status == 200, answer
    first.terminate()
    assert first.wait(timeout=120) == 0
    # On a port of its own: somebody else may have the first one by now.
    second = world.serve("--listen", "127.0.0.1:0")
    assert second.printed["issuer"] == issuer and "client_secret" not in second.printed
    shown = world.done("config", "check") + world.done("config", "check", "--json") + world.log
    hidden = secret.removeprefix("cssec_")
    assert hidden not in shown and "secret_hashes" in shown
    for name, content in snapshot(world.folder).items():
        assert hidden.encode() not in content, name


def test_config_check_shows_no_hash_of_a_secret(world):
    world.done("init")
    written = world.file.read_text().split('secret_hashes = ["')[1].split('"')[0]
    shown = world.done("config", "check")
    assert written not in shown and "sha256:***" in shown


def test_the_first_client_may_set_any_claims(world):
    printed = world.serve("--listen", "127.0.0.1:0").printed
    data = '{"sub":"x","roles":["a",{"b":null}],"scope":"read write","https://x.example/é":12345678901234567890.5}'
    answer = wire.ask(
        printed["issuer"], "POST", "/sign",
        {"Authorization": wire.basic(printed["client_id"], printed["client_secret"]),
         "Content-Type": "application/json"},
        f'{{"data":{data},"metadata":{{"duration":86400}}}}'.encode(),
    )
    assert answer.status == 200, answer
    assert data[1:-1] in wire.claims(answer.json()["access_token"])


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_init_takes_an_issuer_and_an_algorithm(world, algorithm):
    world.done("init", "--issuer", "https://tokens.example.com/jwt", "--algorithm", algorithm)
    [key] = world.keys()
    assert (key["algorithm"], key["state"], key["ring"]) == (algorithm, "active", "default")
    token = world.done("sign", "--claims", '{"sub":"a"}').strip()
    assert wire.header(token)["alg"] == algorithm
    assert json.loads(wire.claims(token))["iss"] == "https://tokens.example.com/jwt"
    assert world.run("verify", token).returncode == 0


def test_init_refuses_algorithms_whose_keys_cannot_be_published(world):
    world.fails(2, "asymmetric", "init", "--algorithm", "HS256")
    assert snapshot(world.folder) == {}


def test_init_refuses_issuers_that_are_not_identifiers_and_writes_nothing(world):
    for issuer in ["tokens.example.com", "http://tokens.example.com", "https://a.example/?x", "https://A.example"]:
        world.fails(2, "issuer", "init", "--issuer", issuer)
    assert list(world.folder.iterdir()) == []


def test_a_second_init_changes_nothing(world):
    world.done("init")
    before = contents(world.folder)
    world.fails(1, "is there already; nothing was changed", "init")
    world.fails(1, "is there already; nothing was changed", "init", "--algorithm", "ES256")
    assert contents(world.folder) == before


def test_a_busy_port_is_found_before_anything_is_made(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        world.fails(78, f"another program listens on {address}", "serve", "--listen", address)
    assert list(world.folder.iterdir()) == []


def test_two_first_starts_at_the_same_moment_make_one_authority(binary, tmp_path):
    for round in range(10):
        folder = tmp_path / str(round)
        folder.mkdir()
        world = World(binary, folder)
        try:
            race(world)
        finally:
            world.end()


def race(world):
    pair = [world.spawn("serve", "--json", "--listen", "127.0.0.1:0") for _ in range(2)]
    printed = [world.announcement(process) for process in pair]
    assert len({one["issuer"] for one in printed}) == 1
    winners = [one for one in printed if "client_secret" in one]
    assert len(winners) == 1
    headers = {
        "Authorization": wire.basic(winners[0]["client_id"], winners[0]["client_secret"]),
        "Content-Type": "application/json",
    }
    keys = world.keys()
    assert [key["state"] for key in keys] == ["active"]
    documents = []
    for one in printed:
        url = f"http://{one['listen']}"
        until(lambda: wire.get(url, "/readyz").status == 200, "ready")
        documents.append(wire.get(url, "/.well-known/jwks.json").body)
        answer = wire.ask(url, "POST", "/sign", headers, b'{"data":{"sub":"a"}}')
        assert answer.status == 200 and answer.json()["kid"] == keys[0]["kid"], answer
    assert documents[0] == documents[1]
    assert [path.name for path in world.file.parent.iterdir() if path.name.endswith(".toml")] == ["countersign.toml"]
    for process in pair:
        process.terminate()
    assert [process.wait(timeout=120) for process in pair] == [0, 0]


def test_eight_signs_at_the_same_moment_on_an_empty_store_make_one_key(world):
    for algorithm in ["ES256", "RS256"]:
        text = CONFIG.replace("ES256", algorithm) + client("tests")
        world.configure(text.replace("[rings", f'[store]\nurl = "sqlite:{algorithm}.db"\n\n[rings'))
        crowd = [world.spawn("sign", "--claims", '{"sub":"a"}') for _ in range(8)]
        tokens = [process.communicate(timeout=60)[0].decode().strip() for process in crowd]
        assert [process.returncode for process in crowd] == [0] * 8, world.log
        keys = world.keys()
        assert [key["state"] for key in keys] == ["active"]
        assert {wire.header(token)["kid"] for token in tokens} == {keys[0]["kid"]}


def test_a_configuration_elsewhere_is_named_by_flag_or_variable(world):
    world.done("init", "--config", "here/my.toml", "--issuer", f"http://127.0.0.1:{free_port()}")
    assert (world.folder / "here" / "sealing.key").exists() and not (world.folder / FILE).exists()
    by_flag = world.done("keys", "list", "--json", "--config", "here/my.toml")
    by_variable = world.done("keys", "list", "--json", env={"COUNTERSIGN_CONFIG": "here/my.toml"})
    assert by_flag == by_variable and len(json.loads(by_flag)["keys"]) == 1


def test_init_with_a_key_makes_it_sign_or_says_that_another_one_does(world, pem):
    """A store that is there already: its keys stay, and --key would only be published."""
    store = {"COUNTERSIGN_STORE__URL": f"sqlite:{world.folder}/store.db", "COUNTERSIGN_SEALING__KEY": f"file:{world.folder}/sealing.key"}
    world.done("init", "--config", "one/c.toml", "--key", pem["rsa"], "--kid", "first", env=store)
    keys = lambda: json.loads(world.done("keys", "list", "--json", "--config", "one/c.toml", env=store))["keys"]  # noqa: E731
    before = keys()
    assert [(key["kid"], key["state"]) for key in before] == [("first", "active")]
    why = world.fails(1, 'the store has keys already, and "first" signs in ring default', "init", "--config", "two/c.toml", "--key", pem["ec"], env=store)
    assert "countersign keys import FILE --activate" in why and "COUNTERSIGN_STORE__URL" in why
    assert keys() == before and not (world.folder / "two/c.toml").exists()
    # The same key again is no other.
    world.done("init", "--config", "two/c.toml", "--key", pem["rsa"], "--kid", "first", env=store)
    assert keys() == before
