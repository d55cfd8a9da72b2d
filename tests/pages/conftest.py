"""Real Chromium (Debian's), driven by Playwright, and the example pages as their one command starts them.

The browser lives for the tests of this folder (which is a package for that) and no longer: Playwright keeps an event loop in
this thread, beside which no other test could run one of its own. Every page must end without an error in its console, except
those that a test names.
"""

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.blocks import blocks, environment
from e2e.program import free_port
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
SECONDS = 30
FLAGS = [
    "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 800}


@pytest.fixture(scope="package")
def chromium():
    program = shutil.which("chromium")
    assert program, "Debian's package chromium is needed; scripts/test installs it"
    with sync_playwright() as playwright:
        # Without the sandbox, which root and many containers cannot have: what is shown here comes from this machine.
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page of a browser profile of its own. What its console says is wrong is in `page.complaints`, empty at the end."""
    context = chromium.new_context(viewport=DESKTOP)
    context.set_default_timeout(SECONDS * 1000)
    one = context.new_page()
    one.complaints = []
    one.on("console", lambda message: message.type in ("error", "warning") and one.complaints.append(message.text))
    one.on("pageerror", lambda error: one.complaints.append(str(error)))
    yield one
    context.close()
    assert not one.complaints


@contextmanager
def example(name, binary, folder, ports, variables=None):
    """An example as the block of its README starts it, on free ports; yields the addresses by the ports' names."""
    [block] = blocks((ROOT / "examples" / name / "README.md").read_text(encoding="utf-8"))
    given = {port: str(free_port()) for port in ports}
    log = open(folder / f"{name}.log", "wb")
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", block.text], cwd=ROOT / "examples" / name,
        env=environment(binary, folder) | given | (variables or {}), start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
    )
    try:
        line = process.stdout.readline().decode()
        assert line.startswith("open http://127.0.0.1:"), line + (folder / f"{name}.log").read_text()
        yield {port: f"http://127.0.0.1:{number}" for port, number in given.items()}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=SECONDS)
        process.stdout.close()
        log.close()
