"""Runs the Node tests in `node/` on the tokens of this run; each of their files is one test here."""

import os
import re
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).with_name("node")
FILES = sorted(file.name for file in NODE.glob("*.test.mjs"))


@pytest.mark.parametrize("file", FILES)
def test_node(file, cases_file):
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", NODE / file],
        env=os.environ | {"INTEROP_CASES": str(cases_file)}, capture_output=True, text=True, timeout=300,
    )
    counts = {name: int(number) for name, number in re.findall(r"^# (\w+) (\d+)$", done.stdout, re.M)}
    assert done.returncode == 0, done.stdout + done.stderr
    assert counts["tests"] > 0 and counts["pass"] == counts["tests"], counts
    print(f"{file}: {counts['pass']} tests")


def test_there_are_node_tests():
    assert FILES
