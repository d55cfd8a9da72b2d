"""A server of the tests' own that goes when they do: it reads its settings as a line of JSON from
standard input, prints a line of JSON when it listens, and ends when standard input closes, which
the kernel does however this process ends.

    with Held(["node", "server.mjs"], {"audience": "api://default"}) as server:
        httpx.get(server.url)

A program that knows nothing of this is run by `holding`, which ends it in its place.
"""

import json
import select
import subprocess

SECONDS = 120.0
HOLD = 'signal=$1; shift; exec 3<&0; "$@" </dev/null 3<&- & pid=$!; { cat >/dev/null; kill -"$signal" "$pid" 2>/dev/null; } <&3 & wait "$pid"'


def holding(command, signal="TERM"):
    """A command that ends, by a signal, when its standard input does."""
    return ["/bin/sh", "-c", HOLD, "hold", signal, *map(str, command)]


class Held:
    """A running server; `told` is what it printed. Secrets are among the settings, so that no command line has them."""

    def __init__(self, command, settings, **rest):
        self.process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **rest,
        )
        try:
            self.process.stdin.write(json.dumps(settings) + "\n")
            self.process.stdin.flush()
            readable, _, _ = select.select([self.process.stdout], [], [], SECONDS)
            line = self.process.stdout.readline() if readable else ""
            if not line:
                self.process.kill()
                raise AssertionError(f"{command} did not start: {self.process.stderr.read()[-3000:]}")
            self.told = json.loads(line)
        except BaseException:
            self.end()
            raise

    @property
    def url(self):
        return self.told["url"]

    def end(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
