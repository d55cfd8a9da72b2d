"""Load on one server by wrk from the other core, and what the kernel knows about the server meanwhile."""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import contract
from harness.servers import BENCHES, LOAD_CORE, SERVER_CORE, Server
from harness.turns import Rate

CONNECTIONS = 16


@dataclass(frozen=True)
class Load(Rate):
    """One turn of wrk."""

    p50_ms: float
    p99_ms: float


def sign(server: Server, seconds: float, duration: int = contract.DURATION) -> Load:
    asked = {"AUTHORIZATION": contract.basic(server.client_id, server.secret), "BODY": contract.body(duration)}
    return wrk(server, "/sign", "sign.lua", seconds, asked)


def jwks(server: Server, seconds: float) -> Load:
    return wrk(server, contract.JWKS, "report.lua", seconds, {})


def wrk(
    server: Server, path: str, script: str, seconds: float, environment: dict[str, str], forgiven: float = 0
) -> Load:
    """One turn; `forgiven` is the part of all answers that may be no success, which then is not counted."""
    scripts = BENCHES / "wrk"
    environment = os.environ | environment | {"REPORT": str(scripts / "report.lua")}
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--timeout", "20s"]
    command += ["-s", str(scripts / script), f"http://127.0.0.1:{server.port}{path}"]
    used = cpu_seconds(server.pid)
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(server.pid) - used
    found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{output}")
    result = json.loads(found[1])
    errors, took = result["errors"], result["micros"] / 1e6
    requests = result["requests"] - errors
    if requests <= 0 or errors > forgiven * requests or ("Non-2xx" in output and not forgiven):
        raise RuntimeError(f"{server.name} {path}: answers that are no success\n{output}")
    return Load(requests / took, requests / used, result["p50"] / 1000, result["p99"] / 1000)


def raw_sign(programs: Path, seconds: float, algorithm: str = "RS256") -> Rate:
    """Raw signatures on the core the servers run on, while they idle."""
    command = ["taskset", "-c", str(SERVER_CORE), str(programs / "raw_sign"), f"{seconds:g}", algorithm]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    per_second, per_cpu_second = map(float, output.split())
    return Rate(per_second, per_cpu_second)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory in MB of 10^6 bytes."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"process {pid} is gone")
    return int(found[1]) * 1024 / 1e6
