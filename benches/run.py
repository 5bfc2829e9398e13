"""Run the benchmarks: `python benches/run.py [--quick] [--only SECTION] [--rows N] [--rounds R]`.

Prints tables as it goes and, last, every goal beside what was measured. Writes the raw numbers to
`results.json` and the bar charts beside it.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path

import accelerate
import aio
import arrow
import gil
import keyed
import memory
import mysql
import postgresql
import sqlalchemy as sa
import sqlite
from harness import Report, show_verdicts

import fastbulk

SECTIONS = {
    "sqlite": sqlite.run,
    "postgresql": postgresql.run,
    "mysql": mysql.run,
    "keyed": keyed.run,
    "accelerate": accelerate.run,
    "aio": aio.run,
    "arrow": arrow.run,
    "gil": gil.run,
    "memory": memory.run,
}


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    rows: int
    rounds: int
    quick: bool
    foreign_keys: bool
    only: str | None
    out: Path


def main() -> None:
    """Run the chosen sections."""
    # A long run shows its tables through pipes too.
    assert isinstance(sys.stdout, TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)
    options = parse_options()
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(versions())
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    checked = "checked" if options.foreign_keys else "not checked, which is SQLite's default"
    print(f"foreign keys are {checked}")
    for name, section in SECTIONS.items():
        if options.only in (None, name):
            section(options, report)
    print()
    show_verdicts(report.verdicts)
    write(report, options.out / "results.json")


def parse_options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, help="the largest number of rows in a call")
    parser.add_argument("--rounds", type=int, help="how often each contender runs")
    parser.add_argument("--quick", action="store_true", help="small sizes only, below a minute")
    parser.add_argument("--foreign-keys", action="store_true", help="have SQLite check them")
    parser.add_argument("--only", choices=SECTIONS, help="one section")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out")
    given = parser.parse_args()
    return Options(
        rows=given.rows or (10_000 if given.quick else 1_000_000),
        rounds=given.rounds or (3 if given.quick else 5),
        quick=given.quick,
        foreign_keys=given.foreign_keys,
        only=given.only,
        out=given.out,
    )


def versions() -> dict[str, object]:
    return {
        "fastbulk": fastbulk.__version__,
        "SQLAlchemy": sa.__version__,
        "Python": platform.python_version(),
    }


def write(report: Report, path: Path) -> None:
    verdicts = [asdict(verdict) for verdict in report.verdicts]
    path.write_text(json.dumps({**report.numbers, "goals": verdicts}, indent=1))
    print(f"\nraw numbers and charts: {path.parent}")


if __name__ == "__main__":
    main()
