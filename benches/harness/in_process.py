"""Signing and verifying without HTTP: what Rust has in one program, then one program for each language, in turns."""

import contextlib
import subprocess
from pathlib import Path
from statistics import median

from harness import contenders
from harness.servers import SERVER_CORE
from harness.turns import Plan, compared, details, heading, in_turns

VERIFY_OF_AWS_JWT_VERIFY = 2


def measure(programs: Path, plan: Plan) -> None:
    pinned = ["taskset", "-c", str(SERVER_CORE), str(programs / "in_process")]
    print(subprocess.run(pinned, check=True, capture_output=True, text=True).stdout, flush=True)
    inputs = contenders.inputs()
    raw, jose, gate = contenders.raw(programs), contenders.jose(programs), contenders.gate(programs)
    aws, pyjwt = contenders.aws_jwt_verify(), contenders.pyjwt()
    with contextlib.ExitStack() as stack:
        turns = {}
        for program in (raw, jose, gate, aws, pyjwt):
            contender = stack.enter_context(contenders.started(inputs.given, program))
            contenders.check_verify(contender, inputs, claims_too=program is not raw)
            turns[program.name] = contender.turn("verify")
        results = in_turns(plan, turns)
    heading("RS256, the same token in all languages")
    for what, ours in (("verify, claims checked", jose), ("verify, issuer selected", gate)):
        for peer, floor in ((aws, VERIFY_OF_AWS_JWT_VERIFY), (pyjwt, None)):
            print(f"| {what} | {compared(results[ours.name], peer.name, results[peer.name], floor)} |")
    pairs = zip(results[raw.name], results[aws.name], strict=True)
    most = median(a.per_cpu_second / b.per_cpu_second for a, b in pairs)
    print(f"\nA verifier on this core that did nothing but RSA would reach {most:.2f} × {aws.name} (by CPU time).")
    for name, rates in results.items():
        details("verify", name, rates)
    print(flush=True)
