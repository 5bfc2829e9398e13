"""SQLAlchemy's own ORM insert, with acceleration and without, beside fastbulk.insert; and what
acceleration costs a statement that is no bulk call, and a program's start.

`run.py` calls `run`.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import TYPE_CHECKING, Any

from harness import Case, Contender, Goal, Report, Verdict, judge, measure, show_times
from orders import Base, Order, rows_of
from sqlalchemy import create_engine, delete, insert, select
from sqlalchemy.orm import Session

import fastbulk

if TYPE_CHECKING:
    from collections.abc import Callable

    from run import Options
    from sqlalchemy import Engine

OURS, ACCELERATED, ORM = "fastbulk.insert", "accelerated ORM insert", "ORM insert"

CASE = Case(100_000)
#: Statements of one measurement.
STATEMENTS = 2_000


def run(options: Options, report: Report) -> None:
    """Measure on SQLite, where the client's work is nearly all of it."""
    print("\naccelerate, SQLite")
    with TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{Path(folder) / 'orders.db'}")
        Base.metadata.create_all(engine)
        contenders = [
            Contender(OURS, _timed(engine, lambda s, rows: fastbulk.insert(s, Order, rows)), ORM),
            Contender(ACCELERATED, _timed(engine, _orm, accelerated=True), ORM),
            Contender(ORM, _timed(engine, _orm)),
        ]
        case = Case(min(options.rows, CASE.rows))
        times = measure(contenders, case, options.rounds)
        show_times(contenders, case, times)
        report.numbers["accelerate"] = [asdict(case), times]
        report.verdicts.append(judge(Goal(ACCELERATED, (OURS,), 0.9, case), times))
        report.verdicts.append(_other_statements(engine, options.rounds))
    report.verdicts.append(_start(options.rounds))


def _orm(session: Session, rows: list[dict[str, Any]]) -> object:
    return session.execute(insert(Order), rows)


def _timed(
    engine: Engine,
    load: Callable[[Session, list[dict[str, Any]]], object],
    *,
    accelerated: bool = False,
) -> Callable[[Case], float]:
    def run(case: Case) -> float:
        rows = rows_of(case.rows)
        with Session(engine) as session:
            session.execute(delete(Order))
            handle = fastbulk.accelerate(session) if accelerated else None
            begin = process_time()
            load(session, rows)
            seconds = process_time() - begin
            if handle is not None:
                handle.remove()
                assert handle.stats()["taken"] == {"insert": 1}
            session.rollback()
        return seconds

    return run


def _other_statements(engine: Engine, rounds: int) -> Verdict:
    """What acceleration adds to a statement that is no bulk call."""

    def statements() -> float:
        with Session(engine) as session:
            begin = process_time()
            for _ in range(STATEMENTS):
                session.execute(select(Order.id).limit(1))
            return (process_time() - begin) / STATEMENTS

    added = []
    for _ in range(rounds * 3):
        plain = statements()
        with fastbulk.accelerate():
            added.append(statements() - plain)
    microseconds = median(added) * 1e6
    measured = f"{microseconds:.1f} microseconds"
    return Verdict("accelerate: added to a SELECT", measured, "< 10", microseconds < 10)


def _start(rounds: int) -> Verdict:
    """What the import and the call add to a program that has SQLAlchemy's ORM."""

    def start(more: str) -> float:
        program = (
            "import time, sqlalchemy.orm; begin = time.process_time(); "
            f"{more}; print(time.process_time() - begin)"
        )
        ran = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        return float(ran.stdout)

    seconds = median(start("import fastbulk; fastbulk.accelerate()") for _ in range(rounds))
    milliseconds = seconds * 1e3
    what = "accelerate: import and call, after SQLAlchemy's"
    return Verdict(what, f"{milliseconds:.0f} ms", "< 150", milliseconds < 150)
