"""Secrets in files, and the files the program makes: what others can read, what is no file, what others put in the way.

`config check` finds what `serve` would end with 78 for.
"""

import base64
import json
import os
import signal
import subprocess
import time

import pytest
from e2e.program import CONFIG, client, private, until

KEY = base64.b64encode(b"k" * 32).decode() + "\n"
SECRET = base64.b64encode(b"s" * 48).decode() + "\n"
TRUST = '\n[[trust]]\nissuer = "https://other.example"\nhmac_secret = "{}"\nalgorithms = ["HS256"]\naudiences = ["a"]\n'
OPENING = [("serve",), ("sign", "--claims", "{}"), ("config", "check")]


def secrets(kind):
    """Where a reference to a file may stand, with a good secret for it: setting, text of the configuration, content."""
    return {
        "sealing.key": (f'\n[sealing]\nkey = "{kind}:secret"\n', KEY),
        "sealing.also": (f'\n[sealing]\nalso = ["{kind}:secret"]\n', KEY),
        "store.url": (f'\n[store]\nurl = "{kind}:secret"\n', "sqlite:countersign.db\n"),
        "hmac_secret": (TRUST.format(f"{kind}:secret"), SECRET),
    }


def configured(world, text, content):
    world.configure(CONFIG + text + client("tests"))
    secret = world.file.parent / "secret"
    private(secret, content)
    return secret


@pytest.mark.parametrize("setting", secrets("file"))
def test_a_secret_that_others_can_read_is_refused_unless_its_reference_says_so(world, setting):
    secret = configured(world, *secrets("file")[setting])
    world.done("config", "check")
    world.done("sign", "--claims", "{}")
    for mode in (0o644, 0o640, 0o604, 0o620, 0o666):
        secret.chmod(mode)
        for command in OPENING:
            line = world.fails(78, f"can be read by other users (mode {mode:04o}); run: chmod 600", *command)
            assert setting in line or setting in ("hmac_secret",) and "hmac_secret" in line
    configured(world, *secrets("shared-file")[setting]).chmod(0o644)
    world.done("config", "check")
    world.done("sign", "--claims", "{}")


@pytest.mark.parametrize("setting", secrets("file"))
def test_a_secret_that_is_no_file_is_named_and_never_waited_for(world, setting):
    secret = configured(world, *secrets("file")[setting])
    for make, says in [
        (lambda: os.mkfifo(secret, 0o600), "it is a pipe, not a file"),
        (lambda: secret.mkdir(0o700), "it is a folder, not a file"),
        (lambda: secret.symlink_to("/dev/zero"), "it is a device, not a file"),
        (lambda: private(secret, ""), "is empty"),
        (lambda: private(secret, "x" * 70_000), "larger than 64 KiB"),
    ]:
        secret.unlink()
        make()
        for command in OPENING:
            world.fails(78, says, *command)
        if secret.is_dir():
            secret.rmdir()
            secret.touch()


def test_a_configuration_with_a_password_in_it_is_a_secret_itself(full_world):
    world = full_world
    world.configure(CONFIG + '\n[store]\nurl = "postgres://me:pass-word@127.0.0.1:1/x"\n' + client("tests"))
    world.done("config", "check")
    world.file.chmod(0o644)
    for command in OPENING:
        assert "pass-word" not in world.fails(78, "chmod 600", *command)
    world.done("config", "check", env={"COUNTERSIGN_STORE__URL": "postgres://me:pass-word@127.0.0.1:1/x"})
    world.configure(CONFIG + '\n[store]\nurl = "env:DATABASE"\n' + client("tests"))
    world.file.chmod(0o644)
    world.done("config", "check", env={"DATABASE": "postgres://me:pass-word@127.0.0.1:1/x"})


#: What `serve` ends with 78 for before it opens a store on another machine.
BAD = [
    ('[store]\nurl = "sqlte:x"', "known scheme"), ('[store]\nurl = "redis://x"', "known scheme"), ('[store]\nurl = "x.db"', "known scheme"),
    ('[store]\nurl = "env:NOPE"', "NOPE is not set"), ('[store]\nurl = "file:nope"', "there is no file"), ('[store]\nurl = "sqlite:"', "path is missing"),
    ('[sealing]\nkey = "env:NOPE"', "NOPE is not set"), ('[sealing]\nkey = "env:SHORT"', "32 random bytes"),
    ('[sealing]\nalso = ["file:nope"]', "there is no file"), ('[sealing]\nkey = "nope"', "write file:PATH"),
    ('[log]\nlevel = "loud"', "log.level"), ("[log]\nqueue_bytes = 1", "log.queue_bytes"), ('[log]\naudit = "maybe"', "log.audit: "),
    ('[limits]\nrequest_time = "0s"', "limits.request_time"),
    ('[[clients]]\nid = "x"\nsecret_hashes = []\naudiences = ["a"]\nmax_lifetime = "0s"', "max_lifetime"),
]


@pytest.mark.parametrize("text, says", BAD)
def test_config_check_ends_with_78_exactly_where_serve_does(world, text, says):
    world.configure(CONFIG + "\n" + text + "\n")
    for command in [("config", "check"), ("serve",)]:
        world.fails(78, says, *command, env={"SHORT": "c2hvcnQ="})
    assert not (world.file.parent / "sealing.key").exists()


def test_config_check_tells_a_sealing_key_that_is_missing_from_one_that_was_never_made(world):
    world.configure()
    world.done("config", "check")
    world.done("config", "check", "--online")
    refuse = {"COUNTERSIGN_STORE__FIRST_KEYS": "refuse"}
    for command in [("config", "check"), ("config", "check", "--online"), ("serve",)]:
        world.fails(78, "there is no keyring", *command, env=refuse)
    assert sorted(path.name for path in world.file.parent.iterdir()) == ["countersign.toml"], "nothing was made"
    world.done("sign", "--claims", "{}")
    world.done("config", "check", "--online")
    sealing = world.file.parent / "sealing.key"
    right = sealing.read_text()
    sealing.unlink()
    for command in [("config", "check"), ("config", "check", "--online"), ("serve",)]:
        world.fails(78, "sealing key" if command == ("serve",) else "is missing, but the store holds keys", *command)
    private(sealing, KEY)
    for command in [("config", "check"), ("config", "check", "--online")]:
        world.fails(78, "is authenticated with sealing key", *command)
    private(sealing, right)
    world.done("config", "check", "--online")


def test_what_is_repeated_of_a_configuration_is_cut(world):
    world.configure(CONFIG + f'\n[jwks]\nmax_age = "{"x" * 100_000}"\n')
    assert len(world.fails(78, "jwks.max_age", "config", "check")) < 3_000


def test_a_first_run_that_is_killed_leaves_nothing_that_the_next_does_not_remove(world):
    """The drafts are held open by nobody any more; those of a process that runs are left alone."""
    folder = world.file.parent
    folder.mkdir()
    left = [folder / f".{name}.{'0' * 15}{n}.draft" for n, name in enumerate(["countersign.toml", "sealing.key"])]
    others = [folder / ".countersign.toml.draft", folder / ".other.0000000000000000.draft"]
    for path in [*left, *others]:
        path.write_text("x")
    for delay in range(12):
        process = subprocess.Popen(
            [world.binary, "init"], cwd=world.folder, env=world.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(delay * 0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    world.run("init", "--algorithm", "ES256")
    process = world.serve("--listen", "127.0.0.1:0")
    until(lambda: world.done("keys", "list"), "it works")
    process.terminate()
    assert process.wait(timeout=30) == 0
    drafts = sorted(path for path in folder.iterdir() if path.name.endswith(".draft"))
    assert drafts == sorted(others)


def test_a_folder_that_others_can_write_to_gives_nobody_the_key(world):
    """As somebody else can do beforehand: a file or a link where a file of ours is going to be."""
    for target in ["sealing.key", "countersign.toml"]:
        for kind in ["link", "dangling", "file"]:
            folder = world.folder / f"{target}-{kind}"
            folder.mkdir(mode=0o777)
            folder.chmod(0o1777)
            victim = world.folder / f"victim-{target}-{kind}"
            path = folder / target
            if kind == "link":
                victim.write_text("untouched")
                path.symlink_to(victim)
            elif kind == "dangling":
                path.symlink_to(victim)
            else:
                private(path, KEY)
                os.chown(path, 65534, 65534)
            done = world.run("init", "--config", folder / "countersign.toml", "--algorithm", "ES256")
            assert done.returncode in (1, 78), (target, kind, done)
            assert victim.read_text() == "untouched" if kind == "link" else not victim.exists(), (target, kind)
            assert not [p for p in folder.iterdir() if p.name.endswith(".draft")], (target, kind)


def test_nothing_that_is_made_is_for_others_whatever_the_umask(world):
    for umask in (0, 0o022, 0o077):
        folder = world.folder / f"umask-{umask}"
        command = [world.binary, "init", "--config", folder / "countersign.toml", "--algorithm", "ES256"]
        subprocess.run(
            command, cwd=world.folder, env=world.environment, check=True, capture_output=True, umask=umask, timeout=60
        )
        for path in folder.iterdir():
            assert path.stat().st_mode & 0o077 == 0, (path, oct(path.stat().st_mode))
        site = world.folder / f"site-{umask}"
        subprocess.run(
            [world.binary, "--config", folder / "countersign.toml", "publish", site],
            cwd=world.folder, env=world.environment, check=True, capture_output=True, umask=umask, timeout=60,
        )
        for path in site.rglob("*.json"):
            assert path.stat().st_mode & 0o777 == 0o644, path
            json.loads(path.read_text())
