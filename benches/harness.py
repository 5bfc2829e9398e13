"""Interleaved rounds, medians of per-round ratios, goals, and the tables that show them.

A machine's speed drifts, so a ratio is taken inside each round, between neighbours in time, and
the rounds' median is reported. Every contender runs once per round, in rotated order.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Times = dict[str, list[float]]


@dataclass(frozen=True)
class Case:
    """Rows of a call, calls of a transaction, and transactions that are timed together."""

    rows: int
    calls: int = 1
    transactions: int = 1

    @property
    def repetitions(self) -> int:
        """How many calls are timed."""
        return self.calls * self.transactions

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'s' if self.rows > 1 else ''}"
        if self.transactions > 1:
            return f"{rows}, a commit after every call"
        return f"{rows}, {self.calls} calls to a commit" if self.calls > 1 else rows


@dataclass(frozen=True)
class Contender:
    """One way to do the work: `run` prepares it, times it, and returns seconds per call."""

    name: str
    run: Callable[[Case], float]
    peer: str | None = None
    max_rows: int | None = None

    def takes(self, case: Case) -> bool:
        """Whether this contender is quick enough for a case of this size."""
        return self.max_rows is None or case.rows <= self.max_rows


@dataclass(frozen=True)
class Goal:
    """`of` should be at least `minimum` times as fast as the fastest of `against`."""

    of: str
    against: tuple[str, ...]
    minimum: float
    case: Case


@dataclass(frozen=True)
class Verdict:
    """A measured value beside what was wanted."""

    what: str
    measured: str
    wanted: str
    ok: bool


@dataclass
class Report:
    """What the sections found: raw numbers for the JSON file, and verdicts on the goals."""

    numbers: dict[str, object] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)


def measure(contenders: Sequence[Contender], case: Case, rounds: int) -> Times:
    """Run every contender once per round, each round beginning with the next one."""
    times: Times = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        first = number % len(contenders)
        for contender in [*contenders[first:], *contenders[:first]]:
            gc.collect()
            times[contender.name].append(contender.run(case))
    return times


def speed_ratio(times: Times, of: str, against: Iterable[str]) -> float:
    """Return how many times as fast `of` is as the fastest of `against`: median over rounds."""
    best: list[float] = [
        min(others) for others in zip(*(times[name] for name in against), strict=True)
    ]
    return median(other / own for own, other in zip(times[of], best, strict=True))


def judge(goal: Goal, times: Times) -> Verdict:
    """Compare a goal with what was measured."""
    ratio = speed_ratio(times, goal.of, goal.against)
    what = f"{goal.case}: {goal.of} / {' or '.join(goal.against)}"
    return Verdict(what, f"{ratio:.2f}x", f">= {goal.minimum:g}x", ratio >= goal.minimum)


def show_times(contenders: Sequence[Contender], case: Case, times: Times) -> None:
    """Print medians, spread and ratios of one case."""
    print(f"\n{case}")
    rows = [times_line(contender, case, times) for contender in contenders]
    print_table(["contender", "ms per call", "min - max", "rows/s", "times as fast as"], rows)


def times_line(contender: Contender, case: Case, times: Times) -> list[str]:
    own = times[contender.name]
    ratio = ""
    if contender.peer in times:
        ratio = f"{speed_ratio(times, contender.name, [contender.peer]):6.2f}x {contender.peer}"
    spread = f"{milliseconds(min(own))} - {milliseconds(max(own))}"
    return [
        contender.name,
        milliseconds(median(own)),
        spread,
        f"{case.rows / median(own):,.0f}",
        ratio,
    ]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.3f}" if seconds < 0.01 else f"{seconds * 1e3:,.1f}"


def show_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Print what was measured beside what was wanted."""
    rows = [[v.what, v.measured, v.wanted, "ok" if v.ok else "miss"] for v in verdicts]
    print_table(["goal", "measured", "target", ""], rows)


def print_table(header: list[str], rows: Sequence[list[str]]) -> None:
    """Print columns as wide as their widest cell, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print("  ".join(title.ljust(width) for title, width in zip(header, widths, strict=True)))
    print("  ".join("-" * width for width in widths))
    for row in rows:
        print("  ".join(aligned(cell, width) for cell, width in zip(row, widths, strict=True)))


def aligned(cell: str, width: int) -> str:
    return cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
