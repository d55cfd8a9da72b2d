"""The Debian package: what is in it, the same bytes each time, and what installing, upgrading and purging it does to a folder.

dpkg runs with --root and the maintainer scripts with DPKG_ROOT, so that nothing of this machine is changed. The program in the
package is a small one of this system in place of ours: what it does is tested everywhere else.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from e2e import own_machine

ROOT = Path(__file__).parents[2]
UNIT = "usr/lib/systemd/system/countersign.service"


def run(*command, code=0, **rest):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **rest)
    assert code is None or done.returncode == code, done
    return done


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package, made by scripts/package."""
    programs = tmp_path_factory.mktemp("programs")
    for name, program in (("countersign", "/bin/false"), ("countersign-authorizer", "/bin/false"), ("countersign-server", "/bin/true")):
        shutil.copy(program, programs / name)
    made = []
    for name in ("one", "two"):
        to = tmp_path_factory.mktemp(name)
        run(ROOT / "scripts" / "package", "--deb", "--from", programs, "--to", to)
        (deb,) = to.glob("*.deb")
        made.append(deb)
        for file in programs.iterdir():
            os.utime(file, (1, 1))
    assert made[0].name == made[1].name and made[0].read_bytes() == made[1].read_bytes(), "the same program gives the same bytes"
    return made[0]


def test_the_package_has_the_program_the_unit_and_a_conffile_of_root(package):
    fields = dict(re.findall(r"^(\S+): (.*)$", run("dpkg-deb", "--field", package).stdout, re.MULTILINE))
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert (fields["Package"], fields["Version"]) == ("countersign", version) and fields["Architecture"] in ("amd64", "arm64")
    assert re.match(r"libc6 \(>= 2\.\d+\), ", fields["Depends"]), fields
    assert package.name == f"countersign_{version}_{fields['Architecture']}.deb"
    listed = run("dpkg-deb", "--contents", package).stdout.splitlines()
    files = {line.split()[-1].removeprefix("./"): (line.split()[0], line.split()[1]) for line in listed if not line.startswith("d")}
    assert files == {
        "usr/bin/countersign": ("-rwxr-xr-x", "root/root"),
        UNIT: ("-rw-r--r--", "root/root"),
        "etc/default/countersign": ("-rw-r--r--", "root/root"),
        "usr/share/doc/countersign/copyright": ("-rw-r--r--", "root/root"),
        "usr/share/doc/countersign/examples/countersign.toml": ("-rw-r--r--", "root/root"),
    }
    assert all("1980-01-01" in line for line in listed), listed
    assert run("dpkg-deb", "--info", package, "conffiles").stdout == "/etc/default/countersign\n"


@pytest.fixture
def system(tmp_path):
    """A folder that dpkg takes for a system with nothing installed."""
    root = tmp_path / "root"
    for folder in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "etc", "run"):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    for name, text in (("passwd", "root:x:0:0::/root:/bin/sh\n"), ("group", "root:x:0:\n"), ("shadow", "root:*:1::::::\n")):
        (root / "etc" / name).write_text(text)
    return root


def dpkg(root, *arguments, code=0):
    # The folder has no libc6 for dpkg to find.
    options = ["--force-depends", "--force-script-chrootless", "--force-bad-path", f"--log={root}/dpkg.log"]
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return run(*as_root, "dpkg", f"--root={root}", *options, *arguments, code=code, stdin=subprocess.DEVNULL)


def test_installing_makes_user_and_folders_and_starts_and_enables_nothing(package, system):
    dpkg(system, "--install", package)
    (user,) = [line for line in (system / "etc/passwd").read_text().splitlines() if line.startswith("countersign:")]
    _, _, uid, gid, _, home, shell = user.split(":")
    assert 0 < int(uid) < 1000 and (home, shell) == ("/var/lib/countersign", "/usr/sbin/nologin")
    for folder, mode, owner in (("var/lib/countersign", 0o700, (int(uid), int(gid))), ("etc/countersign", 0o750, (0, int(gid)))):
        found = (system / folder).stat()
        assert (found.st_mode & 0o7777, (found.st_uid, found.st_gid)) == (mode, owner), folder
    assert not (system / "etc/countersign/countersign.toml").exists()
    assert not list((system / "etc").rglob("*.wants")) and not list((system / "etc").rglob("*.service"))
    assert run(system / "usr/bin/countersign").returncode == 0, "it is the server, not what is beside it"


def test_an_upgrade_keeps_what_was_changed_and_a_purge_keeps_the_keys(package, system):
    dpkg(system, "--install", package)
    (system / "etc/default/countersign").write_text("COUNTERSIGN_LOG__LEVEL=debug\n")
    (system / "etc/countersign").chmod(0o755)
    (system / "var/lib/countersign/sealing.key").write_text("x")
    before = (system / "etc/passwd").read_text()
    dpkg(system, "--install", package)
    assert (system / "etc/default/countersign").read_text() == "COUNTERSIGN_LOG__LEVEL=debug\n"
    assert (system / "etc/passwd").read_text() == before and (system / "etc/countersign").stat().st_mode & 0o777 == 0o755
    dpkg(system, "--remove", "countersign")
    assert not (system / "usr/bin/countersign").exists() and (system / "etc/default/countersign").exists()
    purged = dpkg(system, "--purge", "countersign")
    assert not (system / "etc/default/countersign").exists()
    assert (system / "var/lib/countersign/sealing.key").exists() and "was left in place" in purged.stderr + purged.stdout


def complaints(unit, folder, program):
    """What systemd says of a unit. It looks for the program where the unit says it is; and at what the unit depends on, here."""
    file = folder / "countersign.service"
    file.write_text(re.sub(r"^ExecStart=/\S+", f"ExecStart={program}", unit, flags=re.MULTILINE))
    done = run("systemd-analyze", "verify", "--man=no", file, code=None)
    return [line for line in done.stderr.splitlines() if "countersign" in line]


def test_the_unit_is_one_and_does_not_start_without_a_configuration(package, tmp_path):
    run("dpkg-deb", "--extract", package, tmp_path)
    unit = (tmp_path / UNIT).read_text()
    assert "ConditionPathExists=/etc/countersign/countersign.toml" in unit and "User=countersign" in unit
    program = tmp_path / "usr/bin/countersign"
    assert complaints(unit, tmp_path, program) == []
    assert len(complaints(unit.replace("ProtectSystem=strict", "ProtectSystem=very\nColour=red"), tmp_path, program)) == 2


def test_the_short_unit_of_the_page_says_nothing_that_the_packages_does_not(full_binary, tmp_path):
    root = Path(__file__).parents[2]
    [shown] = re.findall(r"test_debian.py runs this -->\n```ini\n(.*?)```", (root / "docs/operations.md").read_text(), re.DOTALL)
    packaged = (root / "deploy/debian/countersign.service").read_text().replace("/usr/bin/countersign", "/usr/local/bin/countersign")
    assert set(shown.strip().splitlines()) <= set(packaged.splitlines())
    assert complaints(shown, tmp_path, full_binary) == []
    assert len(complaints(shown + "Colour=red\n", tmp_path, full_binary)) == 1


def test_user_folder_and_keys_are_made_by_the_lines_of_the_page_before_the_first_start(binary):
    [shown] = re.findall(r"test_debian.py runs this too -->\n```sh\n(.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL)
    folder = "/var/lib/countersign"
    configuration = (ROOT / "deploy/debian/countersign.toml").read_text()
    said = own_machine.run(f"""{shown}
say folder stat -c '%a %U %G' {folder}
say files ls {folder}
say keys as countersign countersign keys list --config /etc/countersign/countersign.toml
say another as nobody cat {folder}/countersign.db
""", binary, configuration)
    assert said["folder"] == "700 countersign countersign" and {"countersign.db", "sealing.key"} <= set(said["files"].split())
    assert "active" in said["keys"] and "exit code" not in said["keys"], said
    assert "Permission denied" in said["another"], said


def test_commands_run_with_the_user_and_the_variables_of_the_unit(package, tmp_path):
    """By the line of the page and of the conffile. No systemd runs here: the line is taken apart, and `systemd-analyze` checks what it sets."""
    run("dpkg-deb", "--extract", package, tmp_path)
    unit, program = (tmp_path / UNIT).read_text(), tmp_path / "usr/bin/countersign"
    page = (ROOT / "docs/packages.md").read_text().split("\n## Debian\n")[1].split("\n## ")[0]
    shown = [
        *re.findall(r"^alias as-countersign='(systemd-run .*)'$", page, re.MULTILINE),
        *re.findall(r"^# +(systemd-run .*)$", (tmp_path / "etc/default/countersign").read_text(), re.MULTILINE),
    ]
    assert len(shown) == 2 and "runuser -u" not in page, shown
    for words in map(shlex.split, shown):
        properties = [value for option, value in zip(words, words[1:], strict=False) if option == "-p"]
        command = words[words.index("/usr/bin/countersign"):]
        assert {"User=countersign", "EnvironmentFile=-/etc/default/countersign"} <= set(properties) <= set(unit.splitlines())
        assert command[1:3] == ["--config", "/etc/countersign/countersign.toml"] and set(command[1:3]) <= set(unit.split())
        service = "\n".join(["[Service]", f"ExecStart={' '.join(command)}", *properties, ""])
        assert complaints(service, tmp_path, program) == []
        assert len(complaints(service.replace("EnvironmentFile=", "EnvironmentFiles="), tmp_path, program)) == 1


def test_the_example_is_a_configuration_and_each_of_its_paths_is_the_package_s(package, full_world, tmp_path):
    run("dpkg-deb", "--extract", package, tmp_path)
    text = (tmp_path / "usr/share/doc/countersign/examples/countersign.toml").read_text()
    assert set(re.findall(r"(/(?:etc|var)/[\w./]+)", text.split("issuer =")[1])) == {
        "/var/lib/countersign/countersign.db", "/var/lib/countersign/sealing.key",
    }
    home = tmp_path / "home"
    home.mkdir()
    full_world.file.parent.mkdir()
    full_world.file.write_text(text.replace("/var/lib/countersign", str(home)))
    full_world.file.chmod(0o644)
    del full_world.environment["COUNTERSIGN_STORE__FIRST_KEYS"]
    full_world.done("keys", "init")
    full_world.done("config", "check")
    assert {file.name for file in home.iterdir()} >= {"countersign.db", "sealing.key"}
    assert (home / "sealing.key").stat().st_mode & 0o077 == 0
