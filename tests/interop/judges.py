"""Every library under test behind one question: does it take this token?

Each language is one process that lives as long as the tests and answers a JSON line for each one it
reads, so that a virtual machine starts once. Python's libraries are called here.
"""

import contextlib
import json
import select
import subprocess
from dataclasses import dataclass
from pathlib import Path

import toolchains
from libraries import VERIFIERS, error

HERE = Path(__file__).parent
#: Language → its libraries, by the names that its program knows them by.
LIBRARIES = {
    "Python": list(VERIFIERS),
    "Node": ["jose", "jsonwebtoken", "fast-jwt", "aws-jwt-verify"],
    "Go": ["go-oidc", "golang-jwt", "jwx"],
    "Java": ["Spring Security (issuer)", "Spring Security (JWK Set)", "Nimbus", "jjwt", "java-jwt", "jose4j"],
}
LANGUAGE = {library: language for language, libraries in LIBRARIES.items() for library in libraries}
#: Fetch keys by themselves and go on with what they have read. The others are given a key set.
FETCHING = [
    "PyJWT", "jose", "aws-jwt-verify", "go-oidc", "golang-jwt", "Spring Security (issuer)", "Spring Security (JWK Set)",
    "Nimbus", "java-jwt", "jose4j",
]
ANSWER_WITHIN = 120


@dataclass
class Verdict:
    """The claims of a token that was taken, or what the library said against it."""

    claims: dict | None
    error: str | None

    def __bool__(self):
        return self.error is None


class Python:
    """The libraries of this process."""

    def __init__(self):
        self.kept = {}

    def answer(self, library, token, issuer, audience, algorithm, kept):
        taken = {}

        def call():
            keep = self.kept.setdefault((library, kept), {}) if kept else None
            taken.update(VERIFIERS[library](token, issuer, issuer, audience, algorithm, keep))

        why = error(call)
        return {"error": why} if why else {"claims": taken}

    def end(self):
        pass


class Program:
    """A program of another language."""

    def __init__(self, command):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, encoding="utf-8", **pipes)

    def answer(self, library, token, issuer, audience, algorithm, kept):
        asked = {"library": library, "issuer": issuer, "audience": audience, "algorithm": algorithm}
        asked |= {"kept": kept, "token": token}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], ANSWER_WITHIN)
        line = self.process.stdout.readline() if ready else ""
        assert line, f"no answer to {asked}; exit code {self.process.poll()}"
        return json.loads(line)

    def end(self):
        """Its input ends, and so does it."""
        try:
            self.process.communicate(timeout=ANSWER_WITHIN)
        finally:
            self.process.kill()
        assert self.process.returncode == 0


STARTS = {
    "Python": Python,
    "Node": lambda: Program(["node", HERE / "node" / "verdicts.mjs"]),
    "Go": lambda: Program([toolchains.verifiers_in_go()]),
    "Java": lambda: Program([*toolchains.java("verifiers"), "verifiers.Main"]),
}


class Judges:
    """All languages that this machine has. `missing` says why the others are not there."""

    def __init__(self):
        self.programs, self.missing = {}, {}
        with contextlib.ExitStack() as undo:
            undo.callback(self.end)
            for language, start in STARTS.items():
                try:
                    self.programs[language] = start()
                except toolchains.Missing as why:
                    self.missing[language] = why
            undo.pop_all()

    @property
    def libraries(self):
        """Those that can be asked here."""
        return [library for library, language in LANGUAGE.items() if language in self.programs]

    def lacks(self, library):
        """Whether a library's language is not here, which is said at the end of the run."""
        why = self.missing.get(LANGUAGE[library])
        if why:
            toolchains.not_tested(f"tokens in {', '.join(LIBRARIES[LANGUAGE[library]])}", why)
        return bool(why)

    def verdict(self, library, token, issuer, audience, algorithm, kept=None):
        """What a library says of a token.

        kept: the name of a verifier that goes on with the keys it has read; None: one that reads them now.
        """
        said = self.programs[LANGUAGE[library]].answer(library, token, issuer, audience, algorithm, kept)
        return Verdict(said.get("claims"), said.get("error"))

    def end(self):
        for program in self.programs.values():
            program.end()
