"""What the examples say where they cannot run: one line, no secret in it, and nothing left running."""

import socket
import subprocess
from pathlib import Path

import pytest
from e2e.blocks import environment
from e2e.program import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
PORTS = {
    "meeting": ("APP_PORT", "LOGIN_PORT", "AUTHORITY_PORT", "MEETINGS_PORT"),
    "exchange-x": ("APP_PORT", "API_PORT", "X_PORT", "AUTHORITY_PORT"),
    "upload": ("APP_PORT", "AUTHORITY_PORT"),
}
#: For examples that need S3: nobody listens there.
AWAY = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


def run(name, binary, folder, more):
    """What an example prints that ends by itself, which leaves no folder behind then."""
    left = folder / "left"
    left.mkdir(exist_ok=True)
    ports = {port: str(free_port()) for port in PORTS[name]}
    away = AWAY | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"} if name == "upload" else {}
    # A session of its own, whose processes have all ended when its output has an end.
    done = subprocess.run(
        ["./run"], cwd=EXAMPLES / name, env=environment(binary, folder) | ports | away | {"TMPDIR": str(left)} | more,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, start_new_session=True,
    )
    assert not list(left.glob("tmp.*"))
    assert done.returncode in (1, 78) and done.stdout == "", done
    [line] = done.stderr.splitlines()
    assert "Traceback" not in line and "cssec_" not in line, line
    return line


@pytest.mark.parametrize(("name", "port"), [(name, port) for name, ports in PORTS.items() for port in ports])
def test_a_port_of_another_program_is_named_with_the_variable_that_chooses_another(binary, tmp_path, name, port):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        line = run(name, binary, tmp_path, {port: str(number)})
    assert line == f"run: port {number} is taken by another program; end that, or choose another one: {port}=PORT ./run"


def test_an_s3_that_is_away_is_named(binary, tmp_path):
    address = f"http://127.0.0.1:{free_port()}"
    line = run("upload", binary, tmp_path, {"AWS_ENDPOINT_URL": address})
    assert line.startswith(f"bucket.py: S3 at {address} cannot be reached: "), line


def test_a_server_that_ends_is_told_by_its_last_line(binary, tmp_path):
    """The key is no key; what Countersign says of that is all that is shown."""
    line = run("meeting", binary, tmp_path, {"PRIVATE_KEY": "a-secret-that-is-no-key"})
    assert "PRIVATE_KEY" in line and "a-secret-that-is-no-key" not in line, line
