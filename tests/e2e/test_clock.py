"""A server whose clock is set while it runs: libfaketime moves the time of day, and no other clock.

`world.clock(seconds)` sets it so far from the right time. Durations go on by a clock that nobody sets, and what a wrong clock would
destroy is not done.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest
from e2e import clocks, wire
from e2e.program import SECRET, private, until
from e2e.test_rotation import RINGS, configuration, jwks, mint

HEADERS = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
DAY, YEARS = 86400, 3650 * 86400


@pytest.fixture
def clocked(world):
    """The program, and a clock that the test sets for servers started with `world.moved`."""
    file = world.folder / "clock"

    world.clock = lambda seconds: clocks.put(file, seconds)
    world.clock(0)
    world.moved = clocks.following(file)
    return world


def status(issuer):
    return wire.ask(issuer, "POST", "/sign", HEADERS, b'{"data":{"sub":"a"},"metadata":{"duration":3}}').status


def concerns(issuer):
    answer = wire.get(issuer, "/readyz")
    lines = answer.body.decode().splitlines()
    assert lines[0] == ("ready" if answer.status == 200 else "not ready"), answer
    return {line.split(":")[0] for line in lines[1:]}


def metric(issuer, concern):
    return f'countersign_concern{{concern="{concern}"}} 1' in wire.get(issuer, "/metrics").body.decode()


def errors(world, text):
    return [event for event in world.events() if event["level"] == "ERROR" and text in json.dumps(event)]


def patient():
    """A wrong clock is not believed before the test is over."""
    text = configuration().replace('max_stale_signing = "5s"', 'max_stale_signing = "60s"')
    return text.replace('keep_retired = "10s"', 'keep_retired = "90s"')


@pytest.mark.parametrize("ahead", [60, YEARS])
def test_a_clock_that_jumps_ahead_removes_no_key_and_rotation_goes_on_when_it_is_right_again(clocked, ahead):
    clocked.configure(patient())
    issuer = clocked.serve(env=clocked.moved).printed["issuer"]
    first = mint(issuer)
    until(lambda: len(jwks(issuer)[0]) > 1, "the next key is published", within=60)
    before = clocked.keys()
    clocked.clock(ahead)
    until(lambda: "clock_jumped" in concerns(issuer) and metric(issuer, "clock_jumped"), "the jump is noticed")
    until(lambda: len(errors(clocked, "no key is made, activated or removed")) > 2, "turns are left out", within=60)
    told = json.dumps(errors(clocked, "no key is made")[0])
    assert "the clock was set forward by" in told and "was expected" in told, told
    after = clocked.keys()
    assert {key["kid"] for key in before} == {key["kid"] for key in after}, "nothing was removed or made"
    if [key["state"] for key in before] == [key["state"] for key in after]:
        assert all(key["created_at"] <= time.time() + 1 for key in after), "no time was written"
    assert jwt.get_unverified_header(first)["kid"] in jwks(issuer)[0]
    clocked.clock(0)
    until(lambda: "clock_jumped" not in concerns(issuer), "it is right again")
    kid = jwt.get_unverified_header(mint(issuer))["kid"]
    until(lambda: jwt.get_unverified_header(mint(issuer))["kid"] != kid, "rotation goes on", within=120)


@pytest.mark.parametrize("back", [3600, DAY])
def test_a_clock_that_was_set_back_mints_nothing_until_it_is_right(clocked, back):
    clocked.configure(patient())
    issuer = clocked.serve(env=clocked.moved).printed["issuer"]
    assert status(issuer) == 200
    clocked.clock(-back)
    until(lambda: status(issuer) == 503, "no token that is expired already")
    assert "clock_behind" in concerns(issuer) and metric(issuer, "clock_behind")
    answer = wire.ask(issuer, "POST", "/sign", HEADERS, b'{"data":{}}')
    assert "the clock of this machine shows" in answer.json()["error_description"]
    clocked.clock(0)
    until(lambda: status(issuer) == 200, "right again")
    assert concerns(issuer) == set()


@pytest.mark.parametrize("wrong", [-DAY, 15])
def test_a_server_whose_clock_was_wrong_at_its_start_recovers_without_a_restart(clocked, wrong):
    clocked.configure(configuration())
    clocked.clock(wrong)
    issuer = clocked.serve(env=clocked.moved).printed["issuer"]
    assert status(issuer) == 200
    clocked.clock(0)
    until(lambda: "clock_jumped" in concerns(issuer), "nobody can tell yet which was right")
    kids = {key["kid"] for key in clocked.keys()}
    if wrong > 0:
        assert status(issuer) == 503, "it may be behind"
    until(lambda: errors(clocked, "it is believed after 10s"), "no step is taken, and the log says for how long", within=60)
    until(lambda: not {"clock_jumped", "clock_behind", "times_in_the_future"} & concerns(issuer), "it is believed", within=120)
    assert status(issuer) == 200
    kid = jwt.get_unverified_header(mint(issuer))["kid"]
    until(lambda: jwt.get_unverified_header(mint(issuer))["kid"] != kid, "rotation goes on", within=120)
    assert {key["kid"] for key in clocked.keys()} - kids


@pytest.mark.parametrize("jump", [0, 3600, -DAY])
def test_how_long_the_store_is_silent_is_measured_by_a_clock_that_nobody_sets(clocked, jump):
    clocked.configure(configuration())
    issuer = clocked.serve(env=clocked.moved).printed["issuer"]
    assert status(issuer) == 200
    clocked.clock(jump)
    if jump >= 0:
        assert status(issuer) == 200 and "store_silent" not in concerns(issuer), "the store answers"
    file = clocked.file.parent / "countersign.db"
    began = time.monotonic()
    file.rename(file.with_suffix(".away"))
    until(lambda: "store_silent" in concerns(issuer), "it is noticed whatever the clock shows", within=60)
    until(lambda: status(issuer) == 503, "signing ends", within=60)
    if jump >= 0:
        assert time.monotonic() - began > 3, "not at once"
    answer = wire.get(issuer, "/.well-known/jwks.json")
    assert answer.status == 200 and wire.max_age(answer) == 0, "nobody is to keep what may be old"
    file.with_suffix(".away").rename(file)
    clocked.clock(0)
    until(lambda: status(issuer) == 200, "the store is back")


def test_times_that_another_machine_wrote_into_the_future_are_reported_and_do_not_stop_rotation(clocked):
    clocked.configure(configuration())
    issuer = clocked.serve().printed["issuer"]
    assert status(issuer) == 200
    kid = clocked.keys()[0]["kid"]
    # A machine with its clock ten years ahead takes a step by hand.
    clocked.clock(YEARS)
    made = json.loads(clocked.run("keys", "prepare", "--json", env=clocked.moved).stdout)["kid"]
    assert clocked.run("keys", "activate", made, "--force", env=clocked.moved).returncode == 0
    until(lambda: jwt.get_unverified_header(mint(issuer))["kid"] == made, "the server signs with it")
    assert "times_in_the_future" in concerns(issuer) and wire.get(issuer, "/readyz").status == 200
    assert errors(clocked, "times in the future")
    done = clocked.run("keys", "list")
    assert "in the future" in done.stderr and kid in done.stdout, done
    # Its successor comes and takes over all the same.
    until(lambda: jwt.get_unverified_header(mint(issuer))["kid"] not in (kid, made), "rotation goes on", within=120)
    told = clocked.done("keys", "correct-times")
    assert made in told
    until(lambda: concerns(issuer) == set(), "corrected")
    assert "in the future" not in clocked.run("keys", "list").stderr
    # The longest token, the skew, and how long a server goes on without its store.
    assert all(not key["needed_until"] or key["needed_until"] < time.time() + 60 for key in clocked.keys() if "needed_until" in key)


def test_a_ring_that_loses_its_key_while_the_clock_is_wrong_keeps_the_others(clocked):
    """Somebody without the sealing key revokes the key that signs. The server makes another one, but not by such a clock."""
    clocked.configure(configuration(RINGS.replace('rotate_every = "12s"\n', "").replace('keep_retired = "10s"', 'keep_retired = "1h"')))
    issuer = clocked.serve(env=clocked.moved).printed["issuer"]
    retired = jwt.get_unverified_header(mint(issuer))["kid"]
    made = json.loads(clocked.done("keys", "prepare", "--json"))["kid"]
    clocked.done("keys", "activate", made, "--force")
    until(lambda: jwt.get_unverified_header(mint(issuer))["kid"] == made, "the other one signs")
    clocked.clock(DAY)
    until(lambda: "clock_jumped" in concerns(issuer), "the jump is noticed")
    key = clocked.file.parent / "sealing.key"
    text = key.read_text()
    key.unlink()
    assert "could not be recorded" in clocked.done("keys", "revoke", made)
    until(lambda: errors(clocked, "no key can be made in place of the revoked one"), "the server has looked")
    private(key, text)
    assert list(jwks(issuer)[0]) == [retired] and [key["kid"] for key in clocked.keys() if key["state"] != "revoked"] == [retired]
    clocked.clock(0)
    until(lambda: status(issuer) == 200, "another one is made")
    assert jwt.get_unverified_header(mint(issuer))["kid"] not in (retired, made) and retired in jwks(issuer)[0]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with subprocess.Popen(["sleep", "60"]) as living:
        kinds = ("sem.faketime_sem", "faketime_shm")
        of = {process.pid: [Path(f"/dev/shm/{kind}_{process.pid}") for kind in kinds] for process in (ended, living)}
        try:
            for file in of[ended.pid] + of[living.pid]:
                file.touch()
            clocks.remove_what_the_dead_left()
            assert not any(file.exists() for file in of[ended.pid])
            assert all(file.exists() for file in of[living.pid])
        finally:
            living.kill()
            for file in of[ended.pid] + of[living.pid]:
                file.unlink(missing_ok=True)
