"""The Lambda authorizer: event → reply in process, and the program as a function."""

import contextlib
from pathlib import Path

from harness import contenders, function
from harness.turns import Plan, compared, details, heading, in_turns

REPLY_OF_RAW = 0.6


def measure(programs: Path, plan: Plan, rounds: int, folder: Path) -> None:
    inputs = contenders.inputs()
    events = inputs.given.events
    raw, gate = contenders.raw(programs), contenders.gate(programs)
    aws, pyjwt = contenders.aws_jwt_verify(), contenders.pyjwt()
    with contextlib.ExitStack() as stack:
        verifies = stack.enter_context(contenders.started(inputs.given, raw))
        answer = [stack.enter_context(contenders.started(inputs.given, program)) for program in (gate, aws, pyjwt)]
        contenders.check_verify(verifies, inputs, claims_too=False)
        expected = contenders.check_replies(answer, inputs)
        turns = {raw.name: verifies.turn("verify")}
        for event in events:
            turns |= {f"{contender.name}, {event}": contender.turn(event) for contender in answer}
        results = in_turns(plan, turns)
    heading("event → reply in process, RS256")
    for event in events:
        mine = results[f"{gate.name}, {event}"]
        print(f"| {event} | {compared(mine, raw.name, results[raw.name], REPLY_OF_RAW)} |")
        for peer in (aws, pyjwt):
            print(f"| {event} | {compared(mine, peer.name, results[f'{peer.name}, {event}'], None)} |")
    print()
    for name, rates in results.items():
        details("event → reply" if name != raw.name else "verify", name, rates)
    print(flush=True)
    function.measure(programs, rounds, inputs, expected, folder)
