"""Help of every command: 80 columns, examples that the command takes, values listed, one way to say what stands everywhere."""

import re
import shlex
import subprocess

import pytest
from e2e.test_exit_codes import names

WIDTH = 80
PAGES = re.compile(r"^More: (\S+\.md)$", re.M)
#: Options whose values are few, and some of them.
VALUES = {
    ("init", "--algorithm"): ["RS256", "ES256", "EdDSA"],
    ("verify", "--algorithm"): ["RS256", "HS256"],
    ("keys import", "--algorithm"): ["PS384", "Ed25519"],
    ("keys export", "--format"): ["jwks", "pem", "x509"],
    ("sign", "--profile"): ["jwt", "jaas"],
    ("client new", "--auth"): ["secret", "private_key_jwt", "workload", "none"],
    ("client new", "--grant"): ["client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
    ("client new", "--workload"): ["github-actions", "kubernetes", "aws-sts", "countersign"],
    ("exchange", "--requested-token-type"): ["access_token", "id-jag", "jaas", "upload"],
    ("completions", "<SHELL>"): ["bash", "zsh", "fish"],
}


def help_of(binary, *command, columns="200"):
    done = subprocess.run(
        [binary, *command, "--help"], capture_output=True, text=True, check=True, timeout=60, env={"COLUMNS": columns, "PATH": "/usr/bin"},
    )
    return done.stdout


@pytest.fixture(scope="session")
def helps(full_binary):
    """Help by command, of groups too."""
    found = [name.split() for name in names(full_binary)]
    groups = [command[:1] for command in found if len(command) > 1]
    every = {" ".join(command): help_of(full_binary, *command) for command in [[], *groups, *found]}
    assert len(every) > 35
    return every


def options(text):
    return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", text))


def test_no_line_is_longer_than_a_terminal(helps):
    for name, text in helps.items():
        long = [line for line in text.splitlines() if len(line) > WIDTH]
        assert not long, (name, long)
        assert text == text.rstrip() + "\n", name


def test_the_terminal_does_not_matter(full_binary, helps):
    assert help_of(full_binary, "sign", columns="40") == helps["sign"]


def test_every_command_has_examples_that_it_takes_and_a_page_that_exists(helps):
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    for name, text in helps.items():
        assert "\nExamples:\n" in text, name
        lines = text.split("\nExamples:\n")[1].split("\n\n")[0].splitlines()
        assert lines, name
        for line in lines:
            assert line.startswith("  ") and "countersign" in line, (name, line)
            # Each call on the line, whatever stands in front of it or behind.
            for call in re.findall(r"countersign ([^|&>]*)", line):
                words = shlex.split(call.split(" < ")[0])
                command = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in helps)
                assert not name or command == name or command.startswith(name.split()[0]) or name in line, (name, line)
                unknown = options(call) - options(helps[command].split("\nExamples:\n")[0])
                assert not unknown, (name, line, unknown)
        [page] = PAGES.findall(text)
        assert (root / page).exists(), (name, page)


def test_values_are_listed_where_they_are_few(helps):
    for (name, option), values in VALUES.items():
        lines = helps[name].split("\nExamples:\n")[0]
        [below] = re.findall(rf"^ +{re.escape(option)}[ ,\n].*?(?=^ +-|^ +<|^[A-Z]|\Z)", lines + "\n", re.M | re.S)
        for value in values:
            assert value in below, (name, option, value, below)


def test_options_of_every_command_stand_together_and_last(helps):
    for name, text in helps.items():
        if name.startswith("completions"):
            continue
        assert text.count("Options of every command:") == 1, name
        mine, everywhere = text.split("\nExamples:\n")[0].split("Options of every command:")
        assert {"--config", "--json", "--verbose", "--insecure-http-issuer"} <= options(everywhere), name
        assert "--json" not in re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", mine, re.M), name


def test_a_wrong_command_line_is_json_where_that_is_asked(world):
    done = world.run("sign", "--json", "--nope")
    assert done.returncode == 2 and done.stderr == ""
    import json

    said = json.loads(done.stdout)
    assert said["error"] == "usage" and "--nope" in said["message"] and "\n" not in said["message"]
    done = world.run("sign", "--nope")
    assert done.returncode == 2 and done.stdout == "" and "Usage:" in done.stderr


@pytest.mark.parametrize("given, says", [
    (":8080", "write 127.0.0.1:8080 for this machine alone"), ("8080", "a port without an address"), ("127.0.0.1", "has no port"),
    ("example.com:80", "an IP address is needed"), ("http://127.0.0.1:80", "is a URL"),
])
def test_an_address_that_cannot_be_listened_on_says_what_to_write(world, given, says):
    done = world.run("serve", "--listen", given)
    assert done.returncode == 2 and says in done.stderr, done
    world.configure()
    assert says in world.fails(78, "COUNTERSIGN_SERVER__LISTEN", "config", "check", env={"COUNTERSIGN_SERVER__LISTEN": given})
