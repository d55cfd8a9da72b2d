"""`--json` of every command against the committed schema: one object, that of the command or a failure."""

import json
from pathlib import Path

import pytest
from e2e.test_exit_codes import COMMANDS, ELSEWHERE, prepared, run  # noqa: F401
from jsonschema import Draft202012Validator

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "command-line.schema.json").read_text())
#: Commands whose object says itself what they came to.
REPORTS = {"explain", "exchange", "authorize"}


def validator(name):
    return Draft202012Validator(SCHEMA | {"$ref": f"#/$defs/{name}"})


def test_the_schema_is_one_and_names_every_command():
    Draft202012Validator.check_schema(SCHEMA)
    commands = {name for name, _, _ in COMMANDS} - {"help"} | ELSEWHERE
    assert commands <= set(SCHEMA["$defs"]), commands - set(SCHEMA["$defs"])
    with pytest.raises(Exception, match="is not of type|is a required property"):
        validator("keys list").validate([])


@pytest.mark.parametrize("number", [n for n, (name, _, _) in enumerate(COMMANDS) if name != "help"],
                         ids=[f"{name}-{code}" for name, _, code in COMMANDS if name != "help"])
def test_every_command_prints_one_object_of_its_shape(prepared, number):  # noqa: F811
    name, called, code = COMMANDS[number]
    done = run(prepared, called, number, "nowhere", "--json")
    assert done.returncode == code, done
    said = json.loads(done.stdout)
    assert isinstance(said, dict), said
    # A usage error is one for every command.
    is_report = name in REPORTS and not (code == 2 and "error" in said)
    validator(name if code == 0 or is_report else "failure").validate(said)
    if code == 1 and name == "verify":
        assert said["valid"] is False


def test_a_check_of_what_is_published_has_a_row_for_each_document(world):
    from e2e.test_exit_codes import CONFIG, client

    world.configure(CONFIG + client("tests"))
    world.done("keys", "init")
    said = json.loads(world.run("publish", "--check", "--json").stdout)
    assert said["error"] == "published_unreachable", said
    assert len(said["documents"]) > 5 and {row["cause"] for row in said["documents"]} == {"fetch_connection"}
    assert all(row["url"].startswith("http://127.0.0.1:") and row["message"] for row in said["documents"])
    validator("checked documents").validate(said["documents"])
