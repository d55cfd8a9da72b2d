"""`countersign exchange --explain`: what each rule makes of a token. And the commands of docs/exchange.md."""

import json
from pathlib import Path

import pytest
from e2e.blocks import blocks, environment, run
from e2e.program import CONFIG, client, free_port
from e2e.test_exchange_rules import ACTORS, BOTS, ENTRY, OWN, TRUE, TRUSTED, bot, rule, sign
from gate.proxies import with_ports

PAGE = Path(__file__).parents[2] / "docs/exchange.md"
RULES = [
    rule("app", 'name = "new"\nmode = "audit"\nimpersonate = true\nonce = true\n'),
    rule("app", 'name = "picky"\nimpersonate = true\nwhen = \'claims.level > 3\'\n'),
    rule("app", 'name = "plain"\nimpersonate = true\nonce = true\nscopes = ["read"]\n' + ACTORS.split("scopes")[0]),
    rule("app", 'name = "ours"\nimpersonate = true\n', None, OWN),
    rule(None, 'name = "bots"\nscopes = ["read"]\n', "agents", BOTS),
]


@pytest.fixture
def prepared(world):
    world.configure(CONFIG + client("app", more=ENTRY) + "".join(RULES))
    world.done("keys", "init")
    return world


def explain(world, token, *arguments, code=0, input=None):
    (world.folder / "shown").write_text(token + "\n")
    done = world.run("exchange", "--explain", "--json", *arguments, "shown" if input is None else "-", input=input)
    assert done.returncode == code, done.stdout + done.stderr
    assert token not in done.stdout + done.stderr
    return json.loads(done.stdout)


def test_every_rule_says_what_it_makes_of_a_token_and_nothing_is_used_up(prepared):
    token = sign()
    for _ in range(2):
        said = explain(prepared, token, "--scope", "read")
        rules = {rule["rule"]: rule for rule in said["rules"]}
        assert list(rules) == ["new", "picky", "plain", "ours"]
        assert rules["new"]["tried"] and rules["new"]["accepts"] and "(`exchange.scopes`) does not allow the scope" in rules["new"]["refused"]
        assert not rules["picky"]["accepts"] and "`level`, which it reads, is missing" in rules["picky"]["refused"]
        assert rules["plain"]["accepts"] and rules["plain"]["refused"] is None and len(rules["plain"]["passed"]) == 4
        assert "valid now" in rules["ours"]["refused"]
        claims = said["would_mint"]
        assert claims["sub"] == "login:alice" and claims["scope"] == "read" and claims["client_id"] == "app"


def test_what_is_refused_ends_with_1_and_says_why(prepared):
    said = explain(prepared, sign(audience="api://other"), code=1)
    assert said["would_mint"] is None and not any(rule["accepts"] for rule in said["rules"])
    said = explain(prepared, sign(), "--audience", "api://other", code=1)
    [plain] = [rule for rule in said["rules"] if rule["rule"] == "plain"]
    assert plain["accepts"] and "api://other" in plain["refused"]


def test_actors_and_standard_input(prepared):
    (prepared.folder / "actor").write_text(bot())
    said = explain(prepared, sign(), "--actor", "actor", input=sign())
    assert said["would_mint"]["act"] == {"sub": "agents:bot"}
    text = prepared.run("exchange", "--explain", "-", input=sign(level=9)).stdout
    assert "rule picky\n  ✓ the token is accepted: of " in text and "\nminted by rule picky\n" in text


def test_a_token_on_the_command_line_is_not_taken_and_not_repeated(prepared):
    token = sign()
    for arguments in ([token], ["shown", "--actor", token]):
        (prepared.folder / "shown").write_text(sign())
        done = prepared.run("exchange", "--explain", *arguments)
        assert done.returncode == 2 and "file" in done.stderr and token not in done.stdout + done.stderr
    assert prepared.run("exchange", "shown").returncode == 2, "there is nothing else it could do"
    done = prepared.run("exchange", "--explain", "--client", "nobody", "shown")
    assert done.returncode == 2 and "no rule" in done.stderr


def test_the_page_does_what_it_says(binary, tmp_path):
    found = blocks(with_ports(PAGE.read_text(encoding="utf-8"), {"8096": free_port()}))
    assert len(found) >= 5
    folder = tmp_path / "work"
    folder.mkdir()
    run(found, folder, environment(binary, tmp_path))
