"""Advice and names that would lead to a second authority: commands without the configuration they are about, rings that nobody has
declared, and a store that a new file would leave behind."""

import json

import pytest
from e2e.program import CONFIG, client, private


def test_advice_carries_the_configuration_that_was_named(world):
    world.folder.joinpath("etc").mkdir()
    made = world.done("init", "--config", "etc/c.toml", "--issuer", "http://127.0.0.1:9")
    assert "`countersign serve --config etc/c.toml`" in made
    nobody = world.done("init", "--config", "etc/my file.toml", "--no-client")
    assert "`countersign client new --config 'etc/my file.toml'`" in nobody and "serve --config 'etc/my file.toml'`" in nobody
    assert "`countersign client new --config 'etc/my file.toml'`" in world.done("client", "list", "--config", "etc/my file.toml")
    for option in (("--config", "etc/c.toml", "keys", "retire", "x"), ("keys", "retire", "x", "--config", "etc/c.toml")):
        assert "`countersign keys list --config etc/c.toml`" in world.fails(1, "there is no key", *option)
    answer = json.loads(world.run("keys", "retire", "x", "--json", "--config", "etc/c.toml").stdout)
    assert "`countersign keys list --config etc/c.toml`" in answer["message"]
    assert "--config" not in world.done("init")
    # What is advised works as it stands.
    assert world.done("keys", "list", "--config", "etc/c.toml").count("active") == 1


@pytest.mark.parametrize(
    "profile, more",
    [
        ("jwt", '[profiles.jwt]\nring = "nope"\n'),
        ("access_token", '[profiles.access_token]\nring = "nope"\n'),
        ("jaas", '[profiles.jaas]\napp_id = "vpaas-magic-cookie-1fc542a3e4414a44b2611668195e2bfe"\nring = "nope"\n'),
        ("jitsi", '[profiles.jitsi]\napp_id = "meet"\naudience = "meet"\ndomain = "meet.example"\nring = "nope"\n'),
    ],
)
def test_a_ring_that_nobody_declared_signs_nothing(world, profile, more):
    who = client("tests", more='audiences = ["a"]\nclaims = { allow = ["*"] }\ngrants = ["client_credentials"]\nprofiles = ["jwt", "access_token"]')
    world.configure(CONFIG + "\n" + more + who)
    for command in (("config", "check"), ("keys", "init"), ("sign", "--claims", "{}")):
        line = world.fails(78, f'profiles.{profile}.ring: there is no ring "nope" in the configuration, only default', *command)
        assert "[rings.nope]" in line
    assert not list(world.folder.rglob("*.db"))
    world.configure(CONFIG + '\n[rings.nope]\nalgorithm = "RS256"\n' + more + who)
    world.done("config", "check")


def test_a_new_file_does_not_leave_the_store_of_variables_behind(world):
    world.environment |= {"COUNTERSIGN_ISSUER": "http://127.0.0.1:9", "COUNTERSIGN_STORE__URL": "sqlite:k.db"}
    world.done("keys", "init")
    [key] = json.loads(world.done("keys", "list", "--json"))["keys"]
    line = world.fails(78, "COUNTERSIGN_STORE__URL sqlite:k.db: there is one at", "init")
    assert f"COUNTERSIGN_STORE__URL=sqlite:{world.folder}/k.db" in line and "another keyring" in line
    assert not (world.folder / "countersign").exists()
    whole = {
        "COUNTERSIGN_STORE__URL": f"sqlite:{world.folder}/k.db",
        "COUNTERSIGN_SEALING__KEY": f"file:{world.folder}/sealing.key",
    }
    world.environment |= whole
    world.done("init")
    assert [row["kid"] for row in json.loads(world.done("keys", "list", "--json"))["keys"]] == [key["kid"]]
    for name in [*whole, "COUNTERSIGN_ISSUER"]:
        del world.environment[name]
    assert [row["kid"] for row in json.loads(world.done("keys", "list", "--json"))["keys"]] == [key["kid"]]


def test_the_usual_store_of_variables_is_not_left_behind_either(world):
    world.done("keys", "init", env={"COUNTERSIGN_ISSUER": "http://127.0.0.1:9"})
    world.fails(78, "the store sqlite:countersign.db: there is one at", "init")
    private(world.folder / "other.toml", CONFIG.replace("@PORT@", "9"))
    world.done("config", "check", "--config", "other.toml")
