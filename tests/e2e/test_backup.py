"""The backup that docs/stores.md shows for SQLite: its commands as they stand there, on one day and on the next."""

import re
import subprocess
from pathlib import Path

from e2e import clocks
from e2e.program import CONFIG, client

PAGE = (Path(__file__).parents[2] / "docs/stores.md").read_text(encoding="utf-8")


def test_a_backup_of_each_day_has_its_own_name_and_is_good(world):
    [row] = re.findall(r"^\| SQLite \|(.*)\|$", PAGE.split("## Backup")[1], re.MULTILINE)
    commands = re.findall(r"`([^`]+)`", row) + re.findall(r"`(countersign store check [^`]+)`", PAGE.split("## Backup")[1])[:1]
    copies = [command for command in commands if command.startswith("countersign store copy")]
    checks = [command for command in commands if command.startswith("countersign store check")]
    assert copies and checks and all("$(date +%F)" in command for command in commands), commands
    world.configure(CONFIG + client("tests"))
    world.done("keys", "init")

    def day(number):
        for command in [*copies, *checks]:
            command = command.replace("countersign store", f"{world.binary} store")
            # What the copy says of one day must not depend on midnight.
            done = subprocess.run(clocks.at(f"2027-03-0{number} 12:00:00", "sh", "-c", command), cwd=world.folder, env=world.environment, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, (number, command, done)

    day(1)
    day(1)
    world.done("keys", "prepare")
    day(2)
    assert {file.name for file in world.folder.glob("copy-*.db")} == {"copy-2027-03-01.db", "copy-2027-03-02.db"}


def test_a_copy_is_one_file(world):
    """Nothing stays behind where somebody takes it away, nor is there anything in a log that a plain copy would miss."""
    world.configure(CONFIG + client("tests"))
    world.serve()
    for number in range(8):
        world.done("store", "copy", "sqlite:countersign/countersign.db", f"sqlite:copy-{number}.db")
    assert sorted(file.name for file in world.folder.glob("copy-*")) == [f"copy-{number}.db" for number in range(8)]
