"""How much a process's peak memory grows while it loads rows from a generator."""

from __future__ import annotations

import pickle
import re
import resource
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from data import Flights
from flights import Base, Flight, Row
from harness import Report, Verdict
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

import fastbulk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from run import Options

GOAL_MB = 150
ROWS = 1_000_000
SAMPLE_ROWS = 1_000
STATUS = Path("/proc/self/status")


def run(options: Options, report: Report) -> None:
    """Load in a fresh process; print, and add the number and a verdict to the report."""
    count = min(options.rows, ROWS)
    growth = growth_in_child(Flights().take(SAMPLE_ROWS).dicts, count) / 1e6
    what = f"peak memory grows in a load of {count:,} generated rows"
    print(f"\n{what}: {growth:.0f} MB")
    report.numbers["memory"] = {"rows": count, "growth_mb": growth}
    report.verdicts.append(Verdict(what, f"{growth:.0f} MB", f"< {GOAL_MB} MB", growth < GOAL_MB))


def growth_in_child(sample: list[Row], count: int) -> int:
    with TemporaryDirectory() as folder:
        Path(folder, "sample").write_bytes(pickle.dumps(sample))
        command = [sys.executable, __file__, folder, str(count)]
        return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def growth(folder: Path, count: int) -> int:
    """Load `count` generated rows and return by how many bytes the peak grew."""
    sample = pickle.loads((folder / "sample").read_bytes())
    engine = create_engine(f"sqlite:///{folder / 'database.sqlite'}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fastbulk.insert(session, Flight, sample)  # what a first call imports is no growth
        forget_peak()
        before = peak()
        fastbulk.insert(session, Flight, generated(sample, count))
        session.commit()
        return peak() - before


def generated(sample: list[Row], count: int) -> Iterator[Row]:
    """Make every row anew, so that keeping them would be seen."""
    return (dict(row) for row in islice(cycle(sample), count))


def peak() -> int:
    """Return the most bytes that this process has held."""
    # On Linux a child inherits its parent's ru_maxrss; VmHWM begins with the program.
    if STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
        assert found
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    # Imports leave a peak above what is held now; growth below it would be missed.
    if STATUS.exists():
        STATUS.with_name("clear_refs").write_text("5")


if __name__ == "__main__":
    print(growth(Path(sys.argv[1]), int(sys.argv[2])))
