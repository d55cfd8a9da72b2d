"""examples/exchange-x: its one command, as the README has it, on ports that are free."""

import os
import shutil
import subprocess
from pathlib import Path

from e2e.blocks import blocks, environment, missing
from e2e.program import free_port

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "exchange-x"
PORTS = ("APP_PORT", "API_PORT", "X_PORT", "AUTHORITY_PORT")


def test_a_login_with_x_is_exchanged_once_and_verified_from_then_on(binary, tmp_path):
    # A copy, so that nothing is left behind in the repository.
    folder = tmp_path / "examples" / "exchange-x"
    shutil.copytree(EXAMPLE, folder)
    shutil.copy(ROOT / "examples" / "servers", folder.parent)
    (tmp_path / "tests" / "servers").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "servers" / "providers.py", tmp_path / "tests" / "servers")
    before = sorted(folder.iterdir())
    [block] = blocks((folder / "README.md").read_text(encoding="utf-8"))
    ports = {name: str(free_port()) for name in PORTS}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text], cwd=folder, env=environment(binary, tmp_path) | ports,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert not missing(block, done.stdout), done.stdout
    assert sorted(folder.iterdir()) == before
    assert os.access(folder / "run", os.X_OK)
