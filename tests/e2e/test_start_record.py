"""The first record of a server says what runs here with what, the last one what ended it; neither has a secret in it."""

import base64
import json
import os
import signal
import tomllib
from pathlib import Path

import pytest
from e2e.postgres import PASSWORD
from e2e.program import CONFIG, FILE, SECRET, client, private, until

WORKSPACE = Path(__file__).parents[2]
MEMBERS = {"timestamp", "level", "target", "message", "version", "issuer", "listen", "store", "configuration", "rings", "features", "pid"}


def started(world):
    [record] = [event for event in world.events() if event.get("message") == "started"]
    return record


def test_one_record_says_what_was_started(world):
    port = world.configure(CONFIG + '\n[rings.jaas]\nalgorithm = "RS256"\n' + client("tests"))
    server = world.serve()
    record = started(world)
    assert set(record) == MEMBERS and record["level"] == "INFO"
    version = tomllib.loads((WORKSPACE / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    kids = {key["ring"]: key["kid"] for key in world.keys()}
    assert record | {
        "version": version, "issuer": f"http://127.0.0.1:{port}", "listen": f"127.0.0.1:{port}", "store": "sqlite:countersign.db",
        "pid": server.pid,
    } == record
    assert record["configuration"].endswith(FILE)
    assert record["rings"] == ", ".join(f"{ring} {kids[ring]}" for ring in ("default", "jaas"))
    assert "sqlite" in record["features"].split(",")


def test_the_full_program_says_what_is_in_it(full_world):
    full_world.configure()
    full_world.serve()
    features = tomllib.loads((WORKSPACE / "crates/cli/Cargo.toml").read_text())["features"]
    assert sorted(started(full_world)["features"].split(",")) == sorted(set(features["full"]))


def test_no_secret_of_any_place_is_in_the_log_of_a_start(full_world, postgres, pem):
    """Secrets in the store's URL behind a reference, the sealing key, a client, variables for JaaS and AWS, a trust and an upload."""
    world, secrets = full_world, {}

    def secret(name, text=None):
        secrets[name] = text or base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        return secrets[name]

    database = postgres.database()
    secret("password in the URL", PASSWORD)
    sealing = secret("sealing key")
    also = secret("older sealing key")
    trust = secret("HMAC secret of a trust")
    body = "".join(line for line in pem["rsa"].read_text().splitlines() if "-" not in line)
    secrets["private key of JaaS"] = body[40:100]
    world.configure(CONFIG + f"""
[store]
url = "env:A_DATABASE"

[sealing]
key = "env:A_SEALING_KEY"
also = ["file:older.key"]

[[trust]]
issuer = "https://elsewhere.example"
hmac_secret = "file:trust.key"
algorithms = ["HS256"]
audiences = ["api"]

[uploads.photos]
bucket = "a-bucket"
region = "eu-central-1"
key = "photos/{{sub}}/{{uuid}}"
content_types = ["image/png"]
max_bytes = 10_000_000
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "env:AN_UPLOAD_KEY"
""" + client("tests"))
    private(world.file.parent / "older.key", also + "\n")
    private(world.file.parent / "trust.key", trust + "\n")
    world.serve(env={
        "A_DATABASE": database, "A_SEALING_KEY": sealing, "AN_UPLOAD_KEY": secret("upload key"),
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": secret("AWS key"), "AWS_SESSION_TOKEN": secret("AWS session"),
        "JAAS_APP_ID": "vpaas-magic-cookie-0123456789abcdef0123456789abcdef", "PRIVATE_KEY": pem["rsa"].read_text(),
        "JAAS_API_KID": "vpaas-magic-cookie-0123456789abcdef0123456789abcdef/4f4910", "COUNTERSIGN_LOG__LEVEL": "trace",
    })
    record = started(world)
    assert record["store"].startswith("postgres:") and record["store"].endswith("(env:A_DATABASE)")
    assert "vpaas-magic-cookie-0123456789abcdef0123456789abcdef/4f4910" in record["rings"]
    for name, text in (secrets | {"client": SECRET}).items():
        assert text not in world.log, name


@pytest.mark.parametrize("name", ["SIGTERM", "SIGQUIT", "SIGINT"])
def test_the_last_record_says_what_ended_it(world, name):
    world.configure()
    server = world.serve()
    server.send_signal(getattr(signal, name))
    assert server.wait(timeout=20) == 0
    last = world.events()[-1]
    assert (last["message"], last["signal"]) == ("stopped", name)


def test_a_port_that_is_not_the_issuers_is_told_unless_a_proxy_is_named(world):
    """Behind a proxy on loopback another port is as it should be."""
    port = world.configure()
    text = world.file.read_text()

    def told(server):
        found = [event for event in world.events() if "but this server listens on" in event.get("message", "")]
        server.terminate()
        server.wait()
        (world.folder / "log").write_text("")
        return found

    elsewhere = ("--listen", "127.0.0.1:0")
    [warning] = told(world.serve(*elsewhere))
    assert warning["level"] == "WARN" and "server.trusted_proxies" in warning["message"] and str(port) in warning["message"]
    private(world.file, text.replace("[server]\n", '[server]\ntrusted_proxies = ["127.0.0.1/32"]\n'))
    assert told(world.serve(*elsewhere)) == []


def test_a_reload_is_no_start(world):
    world.configure()
    server = world.serve()
    server.send_signal(signal.SIGHUP)
    until(lambda: "was read again and is in use" in world.log, "it has reloaded")
    assert json.dumps(started(world))
