"""The commands of a page, run as they stand there. Used for the README and for the pages that mark blocks.

A ```sh block behind `<!-- test: NAME -->` is run with `bash -euo pipefail` in one temporary folder, in order, with
`countersign` on PATH. A ```text block behind `<!-- output -->` says what the block before it prints: each line must
occur in the output, and `…` in it stands for anything. A block behind `<!-- test: NAME background -->` is started and
left running until the end; the next one begins when an HTTP server on its port (the one named in it, or 8080) answers.
"""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from e2e import wire
from e2e.program import until

MARKED = re.compile(
    r"^<!-- (?:test: (?P<name>[\w-]+)(?P<background> background)?|(?P<output>output)) -->\n+```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Block:
    name: str
    text: str
    background: bool
    expected: list[str] = field(default_factory=list)


def blocks(markdown):
    """The marked blocks of a text, each with the lines it must print."""
    found = []
    for match in MARKED.finditer(markdown):
        wanted = "text" if match["output"] else "sh"
        assert match["language"] in (wanted, "console" if wanted == "sh" else wanted), match[0]
        if match["output"]:
            assert found, "an output block without a block before it"
            found[-1].expected += [line for line in match["text"].splitlines() if line.strip()]
        else:
            found.append(Block(match["name"], match["text"], bool(match["background"])))
    marks = len(re.findall(r"^<!-- (?:test: |output -->)", markdown, re.MULTILINE))
    assert marks == sum(1 for _ in MARKED.finditer(markdown)), "a mark without a block right behind it"
    return found


def missing(block, output):
    """The expected lines that do not occur."""
    patterns = {line: ".*".join(re.escape(part) for part in line.strip().split("…")) for line in block.expected}
    return [line for line, pattern in patterns.items() if not re.search(pattern, output)]


def port(block):
    named = re.search(r"(?:127\.0\.0\.1|localhost):(\d+)", block.text)
    return int(named[1]) if named else 8080


def is_taken(number):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", number)) == 0


def answers(number):
    """Whether an HTTP server answers: a port may be open before what is behind it is ready."""
    try:
        return wire.get(f"http://127.0.0.1:{number}", "/readyz", seconds=5).status
    except (OSError, http.client.HTTPException):
        return None


def bash(block, folder, environment, **rest):
    return subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", block.text], cwd=folder, env=environment, stdin=subprocess.DEVNULL, **rest
    )


def run(found, folder, environment):
    """Runs the blocks in order; background ones get their own process group, which is ended at the end."""
    running = []
    try:
        for block in found:
            log = folder.parent / f"{block.name}.log"
            if block.background:
                assert not is_taken(port(block)), f"{block.name}: something listens on port {port(block)} already"
                with open(log, "wb") as output:
                    process = bash(block, folder, environment, stdout=output, stderr=output, start_new_session=True)
                running.append(process)
                until(lambda: process.poll() is not None or answers(port(block)), f"{block.name} answers")
                assert process.poll() is None, f"{block.name} ended: {log.read_text()}"
                until(lambda: not missing(block, log.read_text()), f"{block.name} prints {block.expected}")
            else:
                process = bash(block, folder, environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                output, _ = process.communicate(timeout=120)
                assert process.returncode == 0, f"{block.name}: exit code {process.returncode}\n{output}"
                assert not missing(block, output), f"{block.name}: {missing(block, output)} not in\n{output}"
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=120)


def environment(binary, folder):
    """The environment that the blocks run in: `countersign` is the binary under test."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "countersign").symlink_to(binary)
    own = ("COUNTERSIGN_", "JAAS_", "PRIVATE_KEY")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    # Then the Python that runs the tests: it has the libraries and programs that the pages tell the reader to install. Debian
    # has nginx where only root looks for it.
    places = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]
    return kept | {"PATH": os.pathsep.join(places)}
