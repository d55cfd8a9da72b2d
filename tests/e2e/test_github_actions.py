"""`examples/github-actions`: the example as it is started, its workflow under actionlint, and its page against its files."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import toolchains
from e2e import wire
from e2e.blocks import environment
from e2e.program import private
from e2e.workloads import Key, github

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples/github-actions"


def test_one_command_starts_it_and_says_what_the_page_says(binary, tmp_path):
    copy = shutil.copytree(EXAMPLE, tmp_path / "example")
    done = subprocess.run([copy / "run"], env=environment(binary, tmp_path), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    [expected] = re.findall(r"```text\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert re.sub(r"http://127.0.0.1:\d+", "https://tokens.example", done.stdout) == expected
    assert not {path.name for path in copy.iterdir()} - {path.name for path in EXAMPLE.iterdir()}, "it leaves nothing behind"


def test_it_notices_an_entry_that_takes_too_much(binary, tmp_path):
    copy = shutil.copytree(EXAMPLE, tmp_path / "example")
    entry = copy / "countersign.toml"
    entry.write_text(entry.read_text().replace('environment = "production" ', "").replace(", }", " }"))
    done = subprocess.run([copy / "run"], env=environment(binary, tmp_path), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "without the environment: a token, and not no token" in done.stderr, done.stdout + done.stderr


def test_the_linter_of_workflows_finds_nothing(tmp_path):
    try:
        actionlint = toolchains.actionlint()
    except toolchains.Missing as why:
        return toolchains.not_tested("actionlint", why)

    def lint(text):
        file = tmp_path / ".github/workflows/deploy.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return subprocess.run([actionlint, "-no-color", "-shellcheck=", file], cwd=tmp_path, capture_output=True, text=True, timeout=120)

    workflow = (EXAMPLE / "deploy.yml").read_text()
    done = lint(workflow)
    assert done.returncode == 0, done.stdout + done.stderr
    for wrong in (workflow.replace("steps.countersign", "steps.other"), workflow.replace("id-token: write", "id-token: readable")):
        assert lint(wrong).returncode == 1


def test_the_entry_is_the_one_that_the_page_makes_and_the_workflow_asks_for(world):
    [command] = re.findall(r"^countersign (client new .*?)```", (EXAMPLE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    made = tomllib.loads(json.loads(world.done(*command.replace("\\\n", "").split(), "--json"))["toml"])
    [entry] = tomllib.loads((EXAMPLE / "countersign.toml").read_text())["clients"]
    assert made["clients"][0] | {"max_lifetime": "10m"} == entry
    private(world.folder / "countersign.toml", (EXAMPLE / "countersign.toml").read_text())
    world.done("config", "check", "--config", "countersign.toml")
    [asked] = re.findall(r"run: \.github/get-token (.*)", (EXAMPLE / "deploy.yml").read_text())
    assert asked.split() == ["https://tokens.example", entry["id"], *entry["scopes"]]


def test_the_claims_are_those_of_the_other_tests():
    """Both follow GitHub's page; a claim that one of them lacks was forgotten there."""
    documented = set(json.loads((EXAMPLE / "claims.json").read_text()))
    assert documented | {"aud", "jti", "iat", "exp"} == set(json.loads(wire.claims(github(Key("x"), "https://ours.example"))))
