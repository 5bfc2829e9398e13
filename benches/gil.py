"""How much a busy Python thread gets done beside a load, and how much it could.

Extraction holds the GIL and running the statement does not, so the share that the load leaves is
1 - extract / total, by fastbulk's own clocks of the same call.
"""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass
from statistics import median
from threading import Thread
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from data import Databases, Flights, databases
from flights import Flight, Row
from harness import Report, Verdict, print_table

import fastbulk

if TYPE_CHECKING:
    from run import Options

GOAL = 0.9
ROWS = 336_776
ALONE_SECONDS = 0.5


@dataclass(frozen=True)
class Sample:
    """One load beside a busy thread; counts are increments per second."""

    total: float
    extract: float
    beside: float
    alone: float

    @property
    def allowed(self) -> float:
        """The share of the time in which the load did not hold the GIL."""
        return 1 - self.extract / self.total

    @property
    def progress(self) -> float:
        """The busy thread's speed, as a share of its speed alone."""
        return self.beside / self.alone


class Counter:
    """A thread that counts in pure Python as fast as it can."""

    def __init__(self) -> None:
        """Start to count."""
        self._count = 0
        self._stopped = False
        self._thread = Thread(target=self._work)
        self._thread.start()

    @property
    def count(self) -> int:
        """How far it has come."""
        return self._count

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped:
            self._count += 1


def run(options: Options, report: Report) -> None:
    """Measure, print, and add numbers and a verdict to the report."""
    flights = Flights()
    rows = flights.take(min(options.rows, ROWS)).dicts
    with databases(flights, foreign_keys=options.foreign_keys) as files:
        samples = [sample(files, rows) for _ in range(options.rounds)]
    show(samples, len(rows))
    reached = median(s.progress / s.allowed for s in samples)
    report.numbers["gil"] = [asdict(s) for s in samples]
    what = "busy thread's progress / what the GIL's share allows"
    report.verdicts.append(Verdict(what, f"{reached:.2f}", f">= {GOAL}", reached >= GOAL))


def sample(files: Databases, rows: list[Row]) -> Sample:
    """Count alone, then beside one load."""
    gc.collect()
    counter = Counter()
    try:
        alone = speed_alone(counter)
        with files.session() as session:
            before, start = counter.count, perf_counter()
            result = fastbulk.insert(session, Flight, rows)
            beside = (counter.count - before) / (perf_counter() - start)
            return Sample(result.timing.total, result.timing.extract, beside, alone)
    finally:
        counter.stop()


def speed_alone(counter: Counter) -> float:
    before, start = counter.count, perf_counter()
    sleep(ALONE_SECONDS)
    return (counter.count - before) / (perf_counter() - start)


def show(samples: list[Sample], rows: int) -> None:
    """Print one line per round."""
    print(f"\na busy Python thread beside a load of {rows:,} rows")
    header = ["total s", "extract s", "GIL held", "allowed", "progress", "progress / allowed"]
    print_table(header, [sample_line(s) for s in samples])


def sample_line(s: Sample) -> list[str]:
    shares = (s.extract / s.total, s.allowed, s.progress)
    times = [f"{s.total:.3f}", f"{s.extract:.3f}"]
    return [*times, *(f"{share:.1%}" for share in shares), f"{s.progress / s.allowed:.2f}"]
