"""Open files: all that the process may have, and some of them kept for the store whatever clients do."""

import re
import resource
from contextlib import ExitStack
from pathlib import Path

import pytest
from e2e import wire
from e2e.program import CONFIG, client, until
from e2e.test_shutdown_and_limits import BODY, headers

#: The limit a test gives the server, soft and hard, and how many connections are then allowed of 1024.
LIMITED = [((64, 64), 32), ((128, 128), 64), ((256, 1000), 936)]


def start(world, soft, hard):
    """A server that was started with these limits of open files."""
    world.configure(CONFIG + '\n[limits]\nconnections_per_address = 1024\nidle_time = "1h"\n\n[store]\nrefresh = "200ms"\nmax_stale = "2s"\n'
                    + client("tests"))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # What a process is started by is what it inherits.
    script = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$0" "$@"'
    binary, world.binary = world.binary, "/bin/sh"
    try:
        process = world.spawn("-c", script, binary, "serve", "--json")
    finally:
        world.binary = binary
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    process.printed = world.announcement(process)
    return process


def limit_of(process):
    with open(f"/proc/{process.pid}/limits", encoding="ascii") as limits:
        [found] = re.findall(r"^Max open files\s+(\d+)\s+(\d+)", limits.read(), re.MULTILINE)
    return tuple(map(int, found))


@pytest.mark.parametrize("given, connections", LIMITED)
def test_the_soft_limit_is_raised_and_connections_that_do_not_fit_are_told(world, given, connections):
    process = start(world, *given)
    assert limit_of(process) == (given[1], given[1])
    told = [event["message"] for event in world.events() if "RLIMIT_NOFILE" in event.get("message", "")]
    assert len(told) == 1 and "1024" in told[0] and str(given[1]) in told[0] and f"{connections} connections" in told[0], told


def test_enough_files_are_nothing_to_tell(world):
    start(world, 2048, 2048)
    assert "RLIMIT_NOFILE" not in world.log


def test_connections_never_use_up_the_files_of_the_store(world):
    process = start(world, 64, 64)
    url = process.printed["issuer"]
    with ExitStack() as stack:
        for _ in range(200):
            # More than there are places for: those that were first give way.
            connection = stack.enter_context(wire.Connection(url))
            assert connection.send(wire.message("GET", "/healthz")).receive().status == 200
        assert wire.get(url, "/readyz").status == 200
        assert wire.ask(url, "POST", "/sign", headers(), BODY).status == 200
    assert "could not be accepted" not in world.log and "cannot be read again" not in world.log


def test_files_that_have_run_out_are_told_once_a_second(world):
    process = start(world, 2048, 2048)
    url = process.printed["issuer"]
    # Taken away from the running server, as nothing else makes it run out.
    used = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used + 2, 2048))
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(wire.Connection(url))
        until(lambda: "could not be accepted" in world.log, "it is told")
        until(lambda: [e for e in world.events() if "could not be accepted" in e.get("message", "")][-1]["left_out"] > 3, "others are counted")
        told = [e["timestamp"][:19] for e in world.events() if "could not be accepted" in e.get("message", "")]
        assert max(map(told.count, told)) <= 2, told
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (2048, 2048))
    until(lambda: wire.get(url, "/healthz").status == 200, "served again")
