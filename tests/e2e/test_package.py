"""`scripts/package`: Lambda packages of programs that are there. What it builds is built by hand and in releases alone."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "package"


@pytest.fixture
def programs(tmp_path):
    """Two programs of this system in place of ours, which are hundreds of times as large."""
    folder = tmp_path / "programs"
    folder.mkdir()
    shutil.copy("/bin/true", folder / "countersign")
    shutil.copy("/bin/false", folder / "countersign-authorizer")
    return folder


def package(*arguments, path=None):
    environment = os.environ | ({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})
    return subprocess.run([SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=environment)


def test_the_same_programs_give_the_same_bytes_with_one_file_that_runs(programs, tmp_path):
    made = []
    for name in ("one", "two"):
        done = package("--from", programs, "--to", tmp_path / name)
        assert done.returncode == 0, done
        made.append({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()})
        for file in programs.iterdir():
            os.utime(file, (1, 1))
    arch = os.uname().machine
    assert made[0] == made[1] and set(made[0]) == {f"issuer-{arch}.zip", f"authorizer-{arch}.zip"}
    for name, code in (("issuer", 0), ("authorizer", 1)):
        with zipfile.ZipFile(tmp_path / "one" / f"{name}-{arch}.zip") as zipped:
            (entry,) = zipped.infolist()
            assert entry.filename == "bootstrap" and entry.external_attr >> 16 == 0o100755
            (tmp_path / name).write_bytes(zipped.read(entry))
        (tmp_path / name).chmod(0o755)
        assert subprocess.run([tmp_path / name], check=False).returncode == code, "each is the program it should be"


def test_what_lambda_could_not_run_is_not_packaged(programs, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for newest, code in (("2.34", 0), ("2.4", 0), ("2.35", 1), ("2.100", 1), ("3.0", 1)):
        said = f"Machine: Advanced Micro Devices X86-64\nx GLIBC_2.3 y\nx GLIBC_{newest} y\n"
        (tools / "readelf").write_text(f"#!/bin/sh\ncat <<END\n{said}END\n", encoding="utf-8")
        (tools / "readelf").chmod(0o755)
        done = package("--from", programs, "--to", tmp_path / "out", path=tools)
        assert done.returncode == code and (code == 0 or f"needs glibc {newest}" in done.stderr), done


def test_the_architecture_is_that_of_the_programs(programs, tmp_path):
    """As if they had been built for arm64 here."""
    for program in programs.iterdir():
        made = bytearray(program.read_bytes())
        # e_machine of the ELF header: EM_AARCH64.
        made[18:20] = (183).to_bytes(2, "little")
        program.write_bytes(made)
    done = package("--from", programs, "--to", tmp_path / "out")
    if os.uname().machine != "aarch64":
        assert done.returncode == 0 and "there is no aarch64-linux-gnu-strip" in done.stderr, done
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"issuer-aarch64.zip", "authorizer-aarch64.zip"}
    (programs / "countersign").write_bytes(b"no program")
    assert "is not a program" in package("--from", programs, "--to", tmp_path / "out").stderr


def test_what_is_missing_or_misspelt_is_said(programs, tmp_path):
    (programs / "countersign-authorizer").unlink()
    done = package("--from", programs, "--to", tmp_path / "out")
    assert done.returncode == 1 and "there is no program" in done.stderr, done
    for bad in (["--form", "x"], ["--from"]):
        assert package(*bad).returncode != 0
