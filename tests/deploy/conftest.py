"""What the tests of deployments share: the programs as the packages that are deployed."""

import os
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers.ministack import MiniStack

#: The architecture of this machine's programs, as Lambda calls it.
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[os.uname().machine]


@pytest.fixture(scope="module")
def strict():
    """An emulator that judges every request by the policies of its role, as AWS does; one for each tool, which then looks for
    what it has left in the account."""
    with MiniStack({"AUTH": "true"}) as server:
        yield server


@dataclass
class Packages:
    """Paths of zip files with a `bootstrap` each, as scripts/package makes them of release builds."""

    issuer: Path
    authorizer: Path
    architecture: str = ARCHITECTURE


@pytest.fixture(scope="session")
def packages(full_binary, binary, tmp_path_factory):
    """The program with every feature, and `countersign-authorizer`, which lies beside COUNTERSIGN_BIN."""
    folder = tmp_path_factory.mktemp("packages")
    programs = {"issuer": Path(full_binary), "authorizer": Path(binary).with_name("countersign-authorizer")}
    return Packages(**{name: packaged(program, folder / f"{name}.zip") for name, program in programs.items()})


def packaged(program, path):
    """Not scripts/package itself: debug builds are large, and it compresses as well as it can. tests/e2e/test_package.py has it."""
    stripped = path.with_suffix(".bootstrap")
    subprocess.run(["strip", "--strip-all", "-o", stripped, program], check=True, timeout=120)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
        entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
        entry.create_system, entry.external_attr, entry.compress_type = 3, 0o100755 << 16, zipfile.ZIP_DEFLATED
        package.writestr(entry, stripped.read_bytes(), compresslevel=1)
    stripped.unlink()
    return path
