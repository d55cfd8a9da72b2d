"""`countersign authorize`: one event in, one reply out, in a folder of its own."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from authority import clean_environment
from gate.lambda_api import event


def toml(value):
    """A value as TOML has it; JSON's strings and lists are TOML's too."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {toml(member)}" for name, member in value.items()) + " }"
    return json.dumps(value)


def table(name, members):
    return f"[{name}]\n" + "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in members.items())


def configuration(*trust, gate=None):
    """A configuration of the gate alone, as `countersign-authorizer` takes it."""
    entries = [table("[trust]", entry) for entry in trust]
    return "\n".join(entries + [table(f"gate.{key}", value) for key, value in (gate or {}).items()])


@dataclass
class Verdict:
    """exit: the exit code. reply: what was printed. code: why it was not let in, as the log has it. log: standard error."""

    exit: int
    reply: dict
    code: str | None
    log: str

    @property
    def refused(self):
        """The code, if it was refused in the one way of a REST API."""
        assert (self.exit, self.reply) == (1, {"errorMessage": "Unauthorized"}), self
        return self.code


class OneShot:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, Path(folder)

    def run(self, text, *arguments, environment=None):
        return subprocess.run(
            [self.binary, "authorize", "--event", "-", *arguments],
            cwd=self.folder, env=clean_environment(environment), input=text, capture_output=True, text=True, timeout=60,
        )

    def authorize(self, token, config=None, name="rest-request", environment=None):
        """Judges a token in an event of that name; without a configuration, by the environment alone."""
        arguments = []
        if config is not None:
            (self.folder / "countersign.toml").write_text(f'issuer = "https://authority.example"\n{config}')
            arguments = ["--config", "countersign.toml"]
        done = self.run(event(name, token), *arguments, environment=environment)
        assert done.stdout.endswith("}\n"), done.stderr
        records = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        codes = [record["code"] for record in records if record.get("target") == "countersign::gate"]
        assert not token or token not in done.stderr
        return Verdict(done.returncode, json.loads(done.stdout), codes[0] if codes else None, done.stderr)
