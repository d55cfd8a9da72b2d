"""Contenders in turns, and their rates as ratios: medians over the rounds, of rates or of ratios within a round."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Rate:
    """What one turn gave."""

    per_second: float
    per_cpu_second: float
    """The same per second of processor time that was used: what a core to itself would give, if it is shared."""

    @property
    def busy(self) -> float:
        """The part of its core that it used; well below 1, something else set the pace."""
        return self.per_second / self.per_cpu_second


@dataclass(frozen=True)
class Plan:
    """How long and how often."""

    rounds: int
    seconds: float
    warm_up: float


def in_turns(plan: Plan, contenders: dict[str, Callable[[float], Rate]]) -> dict[str, list[Rate]]:
    """Every contender once per round, in an order that rotates; a first round to warm up does not count."""
    names = list(contenders)
    results: dict[str, list[Rate]] = {name: [] for name in names}
    for name in names:
        contenders[name](plan.warm_up)
    for index in range(plan.rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            results[name].append(contenders[name](plan.seconds))
        latest = ", ".join(f"{name} {rates[-1].per_second:,.0f}/s" for name, rates in results.items())
        print(f"round {index + 1}/{plan.rounds}: {latest}", file=sys.stderr)
    return results


def heading(what: str) -> None:
    """The first lines of a table of `compared`."""
    print(f"| {what} | Countersign | compared with | its figure | ratio | by CPU time | floor | met |")
    print("|---|--:|---|--:|--:|--:|--:|---|")


def compared(
    mine: Sequence[Rate], base: str, theirs: Sequence[Rate], floor: float | None, *, by_cpu: bool = False
) -> str:
    """Medians of both, and the medians of the ratios within each round, one of which the floor is for."""
    rounds = list(zip(mine, theirs, strict=True))
    ratio = median(a.per_second / b.per_second for a, b in rounds)
    of_cpu = median(a.per_cpu_second / b.per_cpu_second for a, b in rounds)
    rates = [median(one.per_second for one in results) for results in (mine, theirs)]
    figures = f"{rates[0]:,.0f}/s | {base} | {rates[1]:,.0f}/s | {ratio:.3f} | {of_cpu:.3f}"
    return f"{figures} | {floor} | {met((of_cpu if by_cpu else ratio) >= floor)}" if floor else f"{figures} | | "


def details(what: str, name: str, rates: Sequence[Rate], besides: str = "") -> None:
    """What the ratios were made from, and whether the contender was really what set the pace."""
    each, busy = [one.per_second for one in rates], median(one.busy for one in rates)
    print(f"{what}, {name}: {min(each):,.0f} to {max(each):,.0f}/s{besides}, {busy:.0%} of its core")
    if busy < 0.9:
        print(f"  NOTE: {name} shared its core or was not kept busy; only the ratio by CPU time counts")


def met(condition: bool) -> str:
    return "yes" if condition else "no"
