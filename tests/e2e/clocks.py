"""Debian's faketime, by which a program sees another time.

Its semaphores are named by process, and those of one that was killed stay. A later process of the same
number does not start (`sem_open: File exists`), so they are removed here before anything is started.
"""

from pathlib import Path

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def remove_what_the_dead_left():
    for file in Path("/dev/shm").glob("*faketime_s*_*"):
        process = file.name.rpartition("_")[2]
        if process.isdigit() and not Path("/proc", process).exists():
            file.unlink(missing_ok=True)


def at(when, *command):
    """A command at another time, as `faketime` says it."""
    remove_what_the_dead_left()
    return ["faketime", when, *map(str, command)]


def put(file, seconds):
    """Sets the clock of those that follow this file. It is replaced whole, because it is read at every look at the clock."""
    new = file.with_suffix(".new")
    new.write_text(f"{seconds:+d}\n")
    new.rename(file)


def following(file):
    """The environment of a process whose clock follows a file, as far as it is off (`+90`). Its monotonic clock is the true one."""
    remove_what_the_dead_left()
    return {"LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
