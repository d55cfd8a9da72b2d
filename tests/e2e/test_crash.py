"""Killed at any moment: the store opens again with the old state or the new, never with half of one.

The moment is chosen evenly over the time the command takes, so that over all rounds every step is met.
"""

import json
import random
import signal
import time

import pytest
from e2e.conftest import openssl
from e2e.program import World

ROUNDS = 25


def kill_at_random(world, longest, *arguments):
    """Starts a command, kills it at some moment, and says whether it was still running then."""
    process = world.spawn(*arguments)
    time.sleep(random.uniform(0, longest))
    process.kill()
    return process.wait() == -signal.SIGKILL


def timed(command):
    begun = time.monotonic()
    command()
    return time.monotonic() - begun


def check_whole(world):
    """What must hold after any crash, once the configuration is there."""
    sealing = (world.file.parent / "sealing.key").read_text()
    assert len(sealing.strip()) == 43
    world.done("sign", "--claims", '{"sub":"a"}')
    states = [key["state"] for key in world.keys()]
    assert states.count("active") == 1, states


@pytest.mark.parametrize("command", [
    ("serve", "--listen", "127.0.0.1:0"), ("init", "--algorithm", "ES256"),
], ids=["serve", "init"])
def test_a_first_run_that_is_killed_can_be_done_again(binary, tmp_path, command):
    def new(name):
        folder = tmp_path / name
        folder.mkdir()
        return World(binary, folder)

    longest = 1.2 * timed(lambda: new("measured").done("init", *(command[1:] if command[0] == "init" else ())))
    killed = 0
    for round in range(ROUNDS):
        world = new(str(round))
        try:
            killed += kill_at_random(world, longest, *command)
            sealing = world.file.parent / "sealing.key"
            before = sealing.read_bytes() if sealing.exists() else None
            if not world.file.exists():
                assert "make one with `countersign init`" in world.run("keys", "list").stderr
                world.done("init", "--algorithm", "ES256")
            assert before is None or sealing.read_bytes() == before
            check_whole(world)
        finally:
            world.end()
    assert killed >= ROUNDS // 5, f"only {killed} of {ROUNDS} were killed in time"


def test_a_store_that_crashed_while_its_first_key_was_made_has_one_key(world):
    world.configure()
    longest = 1.2 * timed(lambda: world.run("config", "check")) + 0.1
    for round in range(ROUNDS):
        for file in world.file.parent.glob("countersign.db*"):
            file.unlink()
        kill_at_random(world, longest, "sign", "--claims", "{}")
        before = world.keys()
        assert len(before) in (0, 1)
        check_whole(world)
        assert len(world.keys()) == 1 and (not before or world.keys() == before)


def test_an_import_that_is_killed_happened_or_did_not(world):
    world.configure()
    world.done("sign", "--claims", "{}")
    files = []
    for round in range(ROUNDS):
        files.append(world.folder / f"{round}.pem")
        openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", files[-1])
    sealing = (world.file.parent / "sealing.key").read_bytes()
    longest = 1.2 * timed(lambda: world.done("keys", "list"))
    killed = 0
    for round, file in enumerate(files):
        before = world.keys()
        kid = f"k{round}"
        killed += kill_at_random(world, longest, "keys", "import", "--activate", "--kid", kid, str(file))
        after = world.keys()
        states = {key["kid"]: key["state"] for key in after}
        if len(after) == len(before):
            assert after == before
        else:
            assert len(after) == len(before) + 1 and states[kid] == "active"
        assert list(states.values()).count("active") == 1, states
        report = json.loads(world.done("keys", "import", "--json", "--activate", "--kid", kid, str(file)))["keys"][0]
        assert report["changed"] is (len(after) == len(before)) and report["state"] == "active"
        assert (world.file.parent / "sealing.key").read_bytes() == sealing
    assert killed >= ROUNDS // 5, f"only {killed} of {ROUNDS} were killed in time"
    check_whole(world)
    assert len(world.keys()) == ROUNDS + 1


def test_a_server_that_is_killed_starts_again_with_its_keys(world):
    world.configure()
    for _ in range(3):
        process = world.serve()
        before = world.keys()
        process.kill()
        process.wait()
        assert world.keys() == before
    check_whole(world)
