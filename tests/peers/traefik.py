"""Traefik in front of a service, set up with the files in examples/traefik, and the gate that it asks: every test of
tests/gate/test_proxies.py that nginx, Caddy and Envoy have in each run.

    export COUNTERSIGN_BIN=target/debug/countersign PYTHONPATH=tests:tests/interop
    .tools/venv/bin/python tests/peers/traefik.py

Builds it once through the Go proxy into .tools (300 s of processor time, up to 3 GiB; MIT) and prints a table. What it has for
certificates by DNS (lego's clients of 200 providers) is left out, as several of their modules cannot be had there.
"""

import inspect
import json
import re
import shutil
import subprocess
from pathlib import Path

import toolchains
from authority import authorities
from gate import proxies, test_proxies
from peers.told import Folders, Table, binary, folder, tried_here

FOLDER, PACKAGE, VERSION = Path(__file__).with_suffix(""), "github.com/traefik/traefik/v3/cmd/traefik", "3.7.13"
#: go.mod of ours replaces it by a folder, so go.sum does not name it.
LEGO, SUM = "github.com/go-acme/lego/v5@v5.4.1", "h1:Jt6xAP9xQrJ3SLLGgxejfDDd3pzdrmuLCWe4oTqHHQc="
NO_PROVIDERS = """
package dns

import (
	"errors"

	"github.com/go-acme/lego/v5/challenge"
)

func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, errors.New("built without DNS providers, and so without " + name)
}
"""


def program(draft):
    """Where it is; built in a copy of the module in `draft` if it is not there."""
    compiler = toolchains.compiler_of_go()
    if not compiler:
        raise toolchains.Missing("there is no Go on this machine")
    done = subprocess.run([compiler, "mod", "download", "-json", LEGO], cwd=draft, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise toolchains.Missing(f"Go cannot have its modules: {done.stdout[-300:]}")
    had = json.loads(done.stdout)
    assert had["Sum"] == SUM, had["Sum"]
    module, lego = draft / "module", Path(had["Dir"])
    shutil.copytree(FOLDER, module)
    for file in lego.rglob("*"):
        to = module / "lego" / file.relative_to(lego)
        if file.is_file() and lego / "providers/dns" not in file.parents:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
    (module / "lego/providers/dns").mkdir(parents=True)
    (module / "lego/providers/dns/dns.go").write_text(NO_PROVIDERS, encoding="utf-8")
    return toolchains.go(module, PACKAGE)

#: What it makes of a path before it asks: gate and service get that.
RESOLVED = {
    "//orders/7": "/orders/7", "///orders/7": "/orders/7", "/orders//7": "/orders/7", "/orders/7//": "/orders/7/",
    "/./orders/7": "/orders/7", "/orders/./7": "/orders/7", "/orders/7/.": "/orders/7", "/health/../orders/7": "/orders/7",
    "/orders/../health": "/health", "/orders/7/..": "/orders", "/health;/../orders/7": "/orders/7",
    "/health/%2e%2e/orders/7": "/orders/7", "/health/.%2E/orders/7": "/orders/7", "/orders/%2e": "/orders",
    "http://other.example/health/../orders/7": "/orders/7", "http://other.example//orders/7": "/orders/7",
    "/orders/%37": "/orders/7", "/%6frders/7": "/orders/7",
    # It takes `;` in a query for what divides it.
    "/orders/7?a=%2f..%2f&b=//;/../": "/orders/7?a=%2f..%2f&b=//&/../",
    "http://other.example/orders/7": "/orders/7", "HTTP://OTHER.example:1234/orders/7?x": "/orders/7?x",
}


def paths_that_can_be_read_in_two_ways_are_resolved_or_refused(guarded):
    for target in test_proxies.AMBIGUOUS:
        for token in (None, guarded.tokens.reader):
            answer, seen = guarded.ask("GET", target, proxies.bearer(token))
            resolved = RESOLVED.get(target)
            is_open = resolved and (token or resolved == "/health")
            assert [one.target for one in seen] == ([resolved] if is_open else []), (target, answer, seen)
            assert answer.status in ((200,) if is_open else (401,) if resolved else (400, 403)), (target, answer)


def other_paths_reach_the_service_as_the_gate_was_asked_about_them(guarded):
    for target in [*test_proxies.PLAIN, *RESOLVED]:
        before = len(guarded.told)
        answer, seen = guarded.ask("GET", target, proxies.bearer(guarded.tokens.reader))
        assert answer.status == 200 and [one.target for one in seen] == [RESOLVED.get(target, target)], (target, answer, seen)
        asked = re.findall(rb"(?i)\r\nx-forwarded-uri: ([^\r]*)\r\n", guarded.told[before:])
        assert asked == [seen[0].target.encode()], (target, asked)


#: In place of what says that nothing is changed on the way.
OTHERWISE = {
    test_proxies.test_paths_that_can_be_read_in_two_ways_are_refused: paths_that_can_be_read_in_two_ways_are_resolved_or_refused,
    test_proxies.test_other_paths_reach_the_service_as_they_were_sent: other_paths_reach_the_service_as_the_gate_was_asked_about_them,
}


def tests():
    """Those that each proxy is put through, in the order of the file."""
    for name, test in inspect.getmembers(test_proxies, inspect.isfunction):
        if name.startswith("test_") and list(inspect.signature(test).parameters) == ["guarded"]:
            yield test


def tried(table, guarded):
    for test in sorted(tests(), key=lambda test: test.__code__.co_firstlineno):
        test = OTHERWISE.get(test, test)
        try:
            test(guarded)
            seen = "passed"
        except Exception as why:  # told in the table, and the others are tried
            seen = f"{type(why).__name__}: {str(why)[:500]}"
        table.row(test.__name__.removeprefix("test_").replace("_", " "), "passed", seen)


def main():
    with folder() as root:
        built = program(root)
        proxies.COMMANDS["traefik"] = [str(built), "--configFile=traefik.yml"]
        table = Table(f"Traefik {VERSION}")
        with authorities(binary(), Folders(root)) as start, proxies.guarded("traefik", start, root) as one:
            tried(table, one)
    table.end()


if __name__ == "__main__":
    tried_here(main)
