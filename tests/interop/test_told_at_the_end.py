"""What tests tell at the end is printed whichever process ran them, and whether they passed."""

import subprocess
import sys

import pytest

import told_at_the_end

TEST = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_tells(number, told):
    told(f"line {number}\\nand its second")
    assert number != 3
"""


@pytest.mark.parametrize("processes", [[], ["--numprocesses", "2", "--dist", "loadfile"], ["--numprocesses", "2"]])
def test_every_line_is_printed_once(processes, tmp_path):
    (tmp_path / "test_it.py").write_text(TEST)
    plugin = ["-p", "told_at_the_end", "--rootdir", tmp_path, "-c", "/dev/null"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, *processes, tmp_path / "test_it.py"],
        cwd=tmp_path, env={"PYTHONPATH": str(told_at_the_end.__file__).rpartition("/")[0], "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    _, printed = done.stdout.split("what others make of our tokens")
    said = [line for line in printed.splitlines() if line.startswith(("line ", "and its"))]
    assert sorted(said) == sorted([f"line {n}" for n in range(4)] + ["and its second"] * 4), done.stdout
