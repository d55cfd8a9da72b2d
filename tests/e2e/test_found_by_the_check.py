"""What `config check` finds before a server ends with it or warns of it, and what is said of values in variables and of other keys."""

import json
import subprocess
import urllib.error
import urllib.request

import pytest
from e2e import wire
from e2e.conftest import openssl
from e2e.program import CONFIG, client, private


def another_key(world):
    private(world.folder / "countersign/sealing.key", openssl("rand", "-base64", "32"))


def test_another_sealing_key_is_found_without_going_online(world):
    world.configure()
    world.done("keys", "init")
    world.done("config", "check")
    another_key(world)
    line = world.fails(78, "the stored keyring is authenticated with sealing key ", "config", "check")
    assert "sealing.also" in line
    # The documents are as good as they were.
    line = world.fails(78, "the stored keyring is authenticated with sealing key ", "store", "check")
    assert "damaged" not in line


def test_warnings_of_a_start_come_from_the_check(world):
    text = CONFIG.replace('issuer = "http://127.0.0.1:@PORT@"', 'issuer = "http://127.0.0.1:9"')
    trust = '\n[[trust]]\nkeys_url = "https://keys.example/jwks"\ndangerously_accept_any_issuer = true\n'
    port = world.configure(text + client("tests") + trust + 'algorithms = ["RS256"]\naudiences = ["a"]\n')
    warned = world.run("config", "check").stderr
    world.serve()
    for says in (f"this server listens on 127.0.0.1:{port}", "whatever their issuer", "ES256"):
        assert says in warned, warned
        assert says in world.log


@pytest.mark.parametrize(
    "variable, value, says",
    [
        ("COUNTERSIGN_TRUST", '[{"preset":"firebase","id":"x"}]', '[{ preset = "firebase", id = "x" }]'),
        ("COUNTERSIGN_TRUST", '[{ preset = "firebase", id = "x" }', '[{ preset = "firebase", id = "x" }]'),
        ("COUNTERSIGN_TRUST", "firebase", '[{ preset = "firebase", id = "x" }]'),
        ("COUNTERSIGN_SERVER__TRUSTED_PROXIES", "10.0.0.0/8", '["a", "b"]'),
    ],
)
def test_a_list_in_a_variable_is_toml(world, variable, value, says):
    world.configure()
    line = world.fails(78, variable, "config", "check", env={variable: value})
    assert "TOML" in line and says in line
    world.done("config", "check", env={"COUNTERSIGN_TRUST": '[{ preset = "firebase", id = "x" }]'})
    assert says in world.done("config", "schema", "--markdown")


def test_what_is_taken_for_expiry_is_said(world):
    private(world.folder / "event.json", "{}")
    env = {"JWT_ISSUER_JWKS_URI": "https://a.example/jwks", "JWT_AUTHORIZED_AUDIENCES": "a", "JWT_VERIFY_EXPIRATION": "secret?"}
    line = world.fails(78, "JWT_VERIFY_EXPIRATION", "authorize", "--event", "event.json", env=env)
    assert "true or 1, false or 0" in line and "secret" not in line


def test_a_file_of_the_gate_alone_is_refused_as_the_authorizer_does(world):
    trust = '[[trust]]\npreset = "firebase"\nid = "project-1"\n'
    private(world.folder / "gate.toml", trust + '\n[store]\nurl = "memory:"\n')
    private(world.folder / "event.json", json.dumps({"type": "REQUEST", "methodArn": "arn:aws:s3:::x", "httpMethod": "GET", "headers": {}}))
    authorize = ("authorize", "--event", "event.json", "--config", "gate.toml")
    del world.environment["COUNTERSIGN_STORE__FIRST_KEYS"]
    line = world.fails(78, "`store` is a setting of an issuer", *authorize)
    assert "gate.toml" in line and "[[trust]], [gate] and [log]" in line
    private(world.folder / "gate.toml", trust)
    done = world.run(*authorize)
    assert done.returncode == 2 and "ARN" in done.stderr, done


def test_the_log_says_once_why_the_gate_is_not_there(world):
    port = world.configure()
    world.serve()
    for path in ("/gate", "/gate/x", "/gate"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}")
        assert refused.value.code == 404 and b"proxies" not in refused.value.read()
    assert wire.get(f"http://127.0.0.1:{port}", "/healthz").status == 200
    assert world.log.count("[[gate.proxies]]") == 1


def test_a_store_url_that_is_none_is_named_by_every_command(world):
    world.configure(CONFIG + '\n[store]\nurl = "postgress://host/db"\n' + client("tests"))
    for command in (("serve",), ("keys", "list"), ("config", "check")):
        done = world.run(*command)
        assert done.returncode == 78 and "store.url: " in done.stderr, done


def test_an_endpoint_is_blamed_on_the_variable_that_is_set(full_world):
    full_world.configure(CONFIG + '\n[store]\nurl = "dynamodb://table"\n' + client("tests"))
    keys = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_DYNAMODB"):
        done = full_world.run("keys", "list", env=keys | {name: "http://10.0.0.5:4566"})
        assert done.returncode == 78 and f"({name}, or" in done.stderr, done


def test_a_key_of_kms_that_is_not_there_leaves_no_empty_store(full_world):
    full_world.configure(CONFIG + '\n[sealing]\nkey = "kms:alias/none"\n' + client("tests"))
    env = {
        "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1",
    }
    done = full_world.run("keys", "init", env=env)
    assert done.returncode == 70 and "sealing.key kms:alias/none" in done.stderr, done
    assert not list(full_world.folder.rglob("*.db*"))


def test_postgres_without_tls_is_told_what_to_do(full_world, postgres):
    done = subprocess.run(
        [full_world.binary, "store", "check", f"{postgres.database()}?sslmode=require"],
        cwd=full_world.folder, env=full_world.environment, capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 78 and "does not support TLS" in done.stderr, done
    assert "ssl = on" in done.stderr and "certificate" not in done.stderr
