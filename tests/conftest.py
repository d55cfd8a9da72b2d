"""Fixtures for all folders: the binary under test, and authorities that it runs.

`binary` comes from COUNTERSIGN_BIN and from nowhere else, so a test cannot pass on another build than the one meant;
`full_binary`, the build with every feature, from COUNTERSIGN_FULL_BIN.
`authority` is a factory; every authority it starts listens on 127.0.0.1, has a folder of its own, is ready when it is
handed out, and is stopped with SIGTERM at the end of the test, which must end it with exit code 0.
"""

import os
from pathlib import Path

import pytest
import toolchains
from authority import authorities
from servers.ministack import MiniStack
from servers.versitygw import VersityGW
from told_at_the_end import pytest_terminal_summary, told

__all__ = ["pytest_terminal_summary", "told"]


@pytest.fixture(scope="session")
def binary():
    """The program under test, named by COUNTERSIGN_BIN."""
    return named_by("COUNTERSIGN_BIN", "cargo build")


@pytest.fixture(scope="session")
def full_binary():
    """The program with every feature, named by COUNTERSIGN_FULL_BIN."""
    return named_by("COUNTERSIGN_FULL_BIN", "cargo build --features full")


def named_by(variable, build):
    path = os.environ.get(variable)
    if not path:
        pytest.fail(f"set {variable} to the countersign binary to test", pytrace=False)
    if not os.access(path, os.X_OK):
        pytest.fail(f"{variable}={path}: no program there; run `{build}` first", pytrace=False)
    return str(Path(path).resolve())


@pytest.fixture
def authority(binary, tmp_path_factory):
    """A factory of authorities that live for one test; see `authorities.start`."""
    with authorities(binary, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def lasting_authority(binary, tmp_path_factory):
    """The same for authorities that live until the last test of a file."""
    with authorities(binary, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def ministack():
    """AWS as MiniStack plays it. Tests keep apart by the names of what they make, and take away what they deployed."""
    with MiniStack() as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory, request):
    """S3: versitygw, and MiniStack where there is no Go to build it with. Tests keep apart by buckets."""
    try:
        server = VersityGW(tmp_path_factory.mktemp("versitygw"))
    except toolchains.Missing as why:
        toolchains.not_tested("versitygw as S3", why)
        yield request.getfixturevalue("ministack")
        return
    with server:
        yield server


#: Servers that are slow to start, each named by the fixtures that stand for it. Files that share one go to one process of
#: `--dist loadgroup`, which begins with these, and it is started once; any other file is a group of its own.
ONE_PROCESS = {
    "ministack": {"ministack"},
    "issuers": {"cases", "mixed", "mixed_with_certificates"},
    "browser": {"chromium"},
    "postgres": {"postgres"},
    "mongodb": {"mongo", "mongo_stand_in"},
}


def pytest_make_parametrize_id(val, argname):
    """A long text is named by its parameter: a test with the text in its name could not be found again by it, and some have a
    key in them that is another one in each process."""
    return argname if isinstance(val, str) and len(val) > 100 else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    asked = {}
    for item in items:
        asked.setdefault(item.path, set()).update(item.fixturenames)
    shared = {path: [name for name, fixtures in ONE_PROCESS.items() if fixtures & names] for path, names in asked.items()}
    for item in items:
        item.add_marker(pytest.mark.xdist_group((shared[item.path] or [f"{item.path.parent.name}/{item.path.name}"])[0]))
    order = [*ONE_PROCESS, None]
    items.sort(key=lambda item: order.index((shared[item.path] or [None])[0]))


def pytest_collection_finish(session):
    """xdist tells its groups by a suffix to names, and runs tests anywhere without a word where that is not taken."""
    if getattr(session.config.option, "loadgroup", False):
        alone = [item.nodeid for item in session.items if "@" not in item.nodeid.rpartition("]")[2]]
        assert not alone, f"not in a group of xdist: {len(alone)} tests, the first {alone[0]}"


def pytest_sessionfinish(session):
    """A test that was skipped has not passed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = 1
