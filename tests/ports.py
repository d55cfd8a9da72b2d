"""Ports for the servers that tests start.

The kernel takes ports for connections, and for servers that ask for any, from 32768 up, so that one of those that was free
a moment ago may be somebody else's before the server that it was meant for has started. From below it gives none by itself.
"""

import itertools
import os
import random
import socket

#: Each process of xdist has a part of its own; crates/testbed/src/server.rs has those behind.
FIRST, EACH, PARTS = 12000, 4000, 4
PART = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PARTS
#: From somewhere in it, so that two runs at once on a machine are seldom at the same place.
TAKEN = itertools.count(random.randrange(EACH))


def free_port():
    """A port of 127.0.0.1 that is free and is given to nobody else."""
    for _ in range(EACH):
        port = FIRST + PART * EACH + next(TAKEN) % EACH
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port is free from {FIRST + PART * EACH}")
