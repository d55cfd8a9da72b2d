"""The whole measurement, part by part, each in turns, round by round, with tables of ratios at its end."""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import authorizer, cold_start, contract, disturbed, grants, in_process, over_http, servers, uploads
from harness.turns import Plan


PARTS = ["in-process", "authorizer", "cold-start", "http", "grants", "uploads", "disturbed"]


def main() -> None:
    arguments = parse()
    describe_machine()
    # What runs in process needs no network and no client: shorter turns, and more of them.
    quick = Plan(arguments.rounds * 3, arguments.seconds / 20, min(2, arguments.seconds))
    with tempfile.TemporaryDirectory(prefix="countersign-bench-") as name:
        folder = Path(name)
        if arguments.only in (None, "in-process"):
            in_process.measure(arguments.programs, quick)
        if arguments.only in (None, "authorizer"):
            authorizer.measure(arguments.programs, quick, arguments.rounds, folder)
        if arguments.only in (None, "cold-start"):
            cold_start.measure(arguments.programs, arguments.rounds, folder)
        if arguments.only in (None, "http"):
            over_http.measure(arguments.programs, arguments.rounds, arguments.seconds, folder)
        if arguments.only in (None, "grants"):
            grants.measure(arguments.programs, arguments.rounds, arguments.seconds, folder)
        if arguments.only in (None, "uploads"):
            uploads.measure(arguments.programs.parent / "benches/uploads", arguments.rounds, arguments.seconds, folder)
        if arguments.only in (None, "disturbed"):
            disturbed.measure(arguments.programs, arguments.rounds, arguments.seconds, folder)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each server [default: 7]")
    parser.add_argument("--seconds", type=float, default=5, help="length of a turn [default: 5]")
    parser.add_argument("--only", choices=PARTS, help="only this part")
    parser.add_argument("--programs", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rounds < 1 or not arguments.seconds > 0:
        parser.error("at least one round, and some time")
    if not {servers.SERVER_CORE, servers.LOAD_CORE} <= os.sched_getaffinity(0):
        parser.error("two cores are needed, 0 for the server and 1 for the load")
    return arguments


def describe_machine() -> None:
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    rust = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    print(f"{time.strftime('%Y-%m-%d')}, {cpu[1] if cpu else 'unknown CPU'}, {os.cpu_count()} cores, "
          f"Linux {platform.release().split('-')[0]}, Rust {rust}, Node {node}, Python {platform.python_version()}")
    print(f"load average of the machine when it began: {os.getloadavg()[0]:.2f}\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (contract.WrongAnswer, RuntimeError, OSError, subprocess.CalledProcessError) as why:
        sys.exit(f"benches/run: {why}{getattr(why, 'stderr', None) or ''}")
