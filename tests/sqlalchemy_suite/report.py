"""What differs between two runs of the same tests, and the table of all runs."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ALLOWED = Path(__file__).with_name("allowed.txt")
HEAD = (
    "| SQLAlchemy | database | passed without | passed with "
    "| bulk calls | refused by SQLAlchemy | taken natively | of the others |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Comparison:
    """One release of SQLAlchemy on one database."""

    version: str
    backend: str
    without: dict[str, Any]
    accelerated: dict[str, Any]

    @cached_property
    def differing(self) -> dict[str, str]:
        """The tests that ended otherwise, with what they said."""
        found = {}
        for name, before in self.without.items():
            after = self.accelerated.get(name)
            if after is None:
                found[name] = f"{before['result']}, then not run"
            elif after["result"] != before["result"]:
                found[name] = f"{before['result']}, then {after['result']}: {after['message']}"
            elif after["texts"]:
                found[name] = f"SQL: {after['texts'][0]}"
        return found

    @property
    def not_allowed(self) -> dict[str, str]:
        """Those that `allowed.txt` does not name."""
        known = allowed()
        return {name: what for name, what in self.differing.items() if name not in known}

    @property
    def calls(self) -> int:
        """Bulk calls of the ORM."""
        return total(self.without, "left").total()

    @property
    def taken(self) -> Counter[str]:
        """Those that ran natively, by their kind."""
        return total(self.accelerated, "taken")

    @property
    def refused(self) -> int:
        """Those that SQLAlchemy alone refuses before it sends anything: nobody can take them."""
        return total(self.without, "refused").total()

    @property
    def share(self) -> float:
        """Those taken, in per cent of those that SQLAlchemy does not refuse."""
        return per_cent(self.taken.total(), self.calls - self.refused)

    @property
    def left(self) -> list[tuple[str, int, str]]:
        """Why others did not, most frequent first, each with one test."""
        example: dict[str, str] = {}
        for name, outcome in self.accelerated.items():
            example.update(dict.fromkeys(outcome["left"].keys() - example.keys(), name))
        counted = total(self.accelerated, "left").most_common()
        return [(reason, count, example[reason]) for reason, count in counted]


def allowed() -> set[str]:
    """The names of the tests that may differ; what follows a name says why."""
    lines = ALLOWED.read_text().splitlines()
    return {re.split(r"\s{2,}", line)[0] for line in lines if line and not line.startswith("#")}


def show(compared: list[Comparison]) -> None:
    """Print the table, and below it what was not taken and what differs."""
    print(HEAD)
    for one in compared:
        print(row(one))
    for one in compared:
        show_details(one)


def row(one: Comparison) -> str:
    before, after = passed(one.without), passed(one.accelerated)
    taken = one.taken.total()
    cells = [
        one.version,
        one.backend,
        before,
        after,
        one.calls,
        one.refused,
        f"{taken} ({per_cent(taken, one.calls):.1f}%)",
        f"{one.share:.1f}%",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def show_details(one: Comparison) -> None:
    print(f"\n{one.version} on {one.backend}")
    for kind, count in one.taken.most_common():
        print(f"  {count:6} taken: {kind}")
    for reason, count, name in one.left:
        print(f"  {count:6} left to SQLAlchemy: {reason}  ({name})")
    new = one.not_allowed
    print(f"  {len(one.differing)} tests differ, {len(new)} of them not in {ALLOWED.name}")
    for name, what in new.items():
        print(f"    {name}  {what}")


def total(outcomes: dict[str, Any], kind: str) -> Counter[str]:
    """What all tests counted, together."""
    counted: Counter[str] = Counter()
    for outcome in outcomes.values():
        counted.update(outcome[kind])
    return counted


def per_cent(part: int, whole: int) -> float:
    """A part of a whole that may be nothing."""
    return 100 * part / whole if whole else 100.0


def passed(outcomes: dict[str, Any]) -> int:
    """How many tests passed."""
    return sum(outcome["result"] == "passed" for outcome in outcomes.values())
