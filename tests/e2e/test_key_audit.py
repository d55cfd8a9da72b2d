"""Every change of a key leaves one record: which key, from which state to which, by whom. Key material is in none."""

import base64
import json
import os
import pwd

import pytest
from e2e import wire
from e2e.program import private, until
from e2e.test_observability import on_a_terminal

#: The account these tests run as.
USER = pwd.getpwuid(os.geteuid()).pw_name


def changes(text):
    """The records about keys in what a program wrote to standard error."""
    records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [record for record in records if record.get("decision") == "key_changed"]


def told(records):
    return [(one["change"], one.get("kid"), one["from"], one["to"]) for one in records]


def run(world, *arguments):
    """A command and the changes that it recorded; its result on standard output has none of it."""
    done = world.run(*arguments)
    assert done.returncode == 0, done
    assert "key_changed" not in done.stdout
    return changes(done.stderr)


@pytest.fixture
def made(world):
    """An authority with one key, and that key's name."""
    world.configure()
    [record] = run(world, "keys", "init")
    [key] = world.keys()
    assert told([record]) == [("added", key["kid"], "none", "active")]
    return key["kid"]


def test_each_command_that_changes_keys_says_what_became_of_each(world, made, pem):
    [prepared] = run(world, "keys", "prepare")
    assert told([prepared]) == [("added", prepared["kid"], "none", "prepared")]
    who = {"ring": "default", "alg": "ES256", "by": "command", "command": "keys prepare", "user": USER, "outcome": "made"}
    assert who.items() <= prepared.items() and prepared["target"] == "countersign::audit"
    kid = prepared["kid"]
    assert told(run(world, "keys", "publish", kid)) == [("state", kid, "prepared", "published")]
    activated = run(world, "keys", "activate", kid, "--force")
    assert told(activated) == [("state", made, "active", "retired"), ("state", kid, "published", "active")]
    assert {one["reason"] for one in activated} == {"forced"}

    imported = run(world, "keys", "import", pem["ec"], "--kid", "mine")
    assert told(imported) == [("added", "mine", "none", "published")]
    assert told(run(world, "keys", "retire", "mine")) == [("state", "mine", "published", "retired")]
    assert told(run(world, "keys", "remove", "mine", "--signed-nothing")) == [("removed", "mine", "retired", "none")]

    revoked = run(world, "keys", "revoke", kid)
    [record] = [one for one in revoked if one["kid"] == kid]
    assert told([record]) == [("revoked", kid, "active", "revoked")] and record["command"] == "keys revoke"
    [replacement] = [key["kid"] for key in world.keys() if key["state"] == "active"]
    assert ("added", replacement, "none", "active") in told(revoked)
    assert told(run(world, "keys", "accept-loss", "--sequence", "1", "gone")) == [("loss_accepted", "gone", "none", "none")]
    # What changes nothing is recorded by nobody.
    assert run(world, "keys", "accept-loss", "--sequence", "1", "gone") == [] and run(world, "keys", "init") == []


def test_sealing_again_names_the_key_and_both_fingerprints_and_no_secret(world, made):
    old = (world.file.parent / "sealing.key").read_text()
    private(world.file.parent / "old.key", old)
    (world.file.parent / "sealing.key").unlink()
    new = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    private(world.file.parent / "sealing.key", new.strip() + "\n")
    private(world.file, world.file.read_text() + '\n[sealing]\nkey = "file:sealing.key"\nalso = ["file:old.key"]\n')
    done = world.run("keys", "reseal", "--json")
    [record] = changes(done.stderr)
    assert told([record]) == [("resealed", made, "active", "active")]
    assert record["sealing_key"] == json.loads(done.stdout)["sealing_key"]
    assert old.strip() not in done.stderr and new.strip() not in done.stderr


def test_a_revocation_without_the_sealing_key_is_recorded_and_the_server_records_that_it_took_it_over(world, made):
    text = world.file.read_text()
    world.serve(env={"COUNTERSIGN_STORE__REFRESH": "1s"})
    key = world.file.parent / "sealing.key"
    kept = key.read_text()
    private(key, "x" * 43 + "\n")
    revoked = run(world, "keys", "revoke", made)
    assert told(revoked) == [("revoked", made, "none", "revoked")] and revoked[0]["by"] == "command"
    private(key, kept)
    private(world.file, text)

    def by_the_server():
        return [one for one in changes(world.log) if one["change"] == "revoked"]

    [record] = until(by_the_server, "the server has taken the mark over")
    assert told([record]) == [("revoked", made, "active", "revoked")]
    assert (record["by"], record["command"], record["reason"]) == ("server", "serve", "refresh")
    assert until(lambda: [one for one in changes(world.log) if one["change"] == "added"], "a key takes over")[0]["reason"] == "rotation"


def test_a_server_names_the_keys_that_others_have_changed(world, made):
    world.serve(env={"COUNTERSIGN_STORE__REFRESH": "1s"})
    [prepared] = run(world, "keys", "prepare")
    kid = prepared["kid"]
    run(world, "keys", "publish", kid)

    def news():
        return [event for event in world.events() if event.get("message") == "the keys have changed and are in use"]

    [shown] = until(news, "it has seen the key")
    assert shown["shown"] == f"default {kid}" and "signing" not in shown and "gone" not in shown
    run(world, "keys", "activate", kid, "--force")
    signing = until(lambda: news()[1:], "it signs")[0]
    assert signing["signing"] == f"default {kid}" and "gone" not in signing
    run(world, "keys", "revoke", made)
    gone = until(lambda: news()[2:], "the other is gone")[0]
    assert gone["gone"] == f"default {made}" and "signing" not in gone
    # It changed nothing itself.
    assert changes(world.log) == []


def test_a_terminal_shows_the_result_and_the_record_when_it_is_asked_for(world, made):
    assert "key_changed" not in on_a_terminal(world, "keys", "prepare")
    [kid] = [key["kid"] for key in world.keys() if key["state"] == "prepared"]
    seen = on_a_terminal(world, "keys", "publish", kid, "--verbose")
    assert "key_changed" in seen and kid in seen


def test_the_key_of_a_new_authority_is_recorded_by_init_and_by_the_first_serve(world, binary, tmp_path_factory):
    [record] = run(world, "init")
    assert told([record])[0][2:] == ("none", "active") and record["command"] == "init"
    other = type(world)(binary, tmp_path_factory.mktemp("served"))
    try:
        server = other.serve("--listen", "127.0.0.1:0")
        [record] = changes(other.log)
        assert (record["by"], record["command"], record["to"]) == ("server", "serve", "active")
        answer = wire.get(server.printed["issuer"], "/.well-known/jwks.json")
        assert [key["kid"] for key in answer.json()["keys"]] == [record["kid"]]
    finally:
        other.end()


def test_no_record_has_key_material(world, pem):
    """Every private number of an imported key, and the sealing key, looked for in all that is written."""
    world.configure()
    log = ""
    for command in (["keys", "init"], ["keys", "import", pem["ec"], "--kid", "mine"], ["keys", "activate", "mine", "--force"], ["keys", "revoke", "mine"]):
        log += world.run("--verbose", *command).stderr
    assert len(changes(log)) >= 4
    body = "".join(line for line in pem["ec"].read_text().splitlines() if "-" not in line)
    sealing = (world.file.parent / "sealing.key").read_text().strip()
    assert body[20:60] not in log and sealing not in log
    allowed = {
        "timestamp", "level", "target", "decision", "change", "ring", "kid", "alg", "from", "to", "from_ring", "sealing_key",
        "by", "command", "user", "login", "reason", "outcome",
    }
    assert all(set(record) <= allowed for record in changes(log))
