"""SQLAlchemy's own ORM insert, with acceleration and without, beside fastbulk.insert; and what
acceleration costs a statement that is no bulk call, and a program's start.

`run.py` calls `run`.
"""

from __future__ import annotations

import os
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
from sqlalchemy import create_engine, delete, event, insert, select
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
        report.verdicts += [_few_rows(engine, count, options.rounds) for count in (1, 10)]
        report.verdicts.append(_watched_row(engine, options.rounds))
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
    plain, accelerated = _each(
        engine, lambda session: session.execute(select(Order.id).limit(1)), rounds
    )
    microseconds = (accelerated - plain) * 1e6
    measured = f"{microseconds:.1f} microseconds"
    return Verdict("accelerate: added to a SELECT", measured, "< 10", microseconds < 10)


def _few_rows(engine: Engine, count: int, rounds: int) -> Verdict:
    """Calls that are too small to gain anything."""
    rows = rows_of(count)
    plain, accelerated = _each(engine, lambda session: _orm(session, rows), rounds)
    ratio = accelerated / plain
    what = f"accelerate: ORM insert, rows: {count}, in times of SQLAlchemy's own"
    most = 1.3 if count == 1 else 1.0
    return Verdict(what, f"{ratio:.2f}", f"<= {most}", ratio <= most)


def _watched_row(engine: Engine, rounds: int) -> Verdict:
    """What acceleration adds to a call of one row that SQLAlchemy tells somebody of."""
    rows = rows_of(1)
    listening = create_engine(engine.url)
    event.listen(listening, "before_cursor_execute", lambda *told: None)
    plain, accelerated = _each(listening, lambda session: _orm(session, rows), rounds)
    microseconds = (accelerated - plain) * 1e6
    what = "accelerate: added to an ORM insert of one row that somebody listens to"
    return Verdict(what, f"{microseconds:.0f} microseconds", "< 400", microseconds < 400)


def _each(engine: Engine, execute: Callable[[Session], object], rounds: int) -> tuple[float, float]:
    """The seconds of one of many calls, without acceleration and with it, of the best round."""

    def calls() -> float:
        with Session(engine) as session:
            begin = process_time()
            for _ in range(STATEMENTS):
                execute(session)
            return (process_time() - begin) / STATEMENTS

    plain, accelerated = [], []
    for _ in range(rounds * 3):
        plain.append(calls())
        with fastbulk.accelerate():
            accelerated.append(calls())
    return min(plain), min(accelerated)


def _start(rounds: int) -> Verdict:
    """What the import and the call add to a program that has SQLAlchemy's ORM."""
    # An installed package has its bytecode.
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def start(more: str) -> float:
        program = (
            "import time, sqlalchemy.orm; begin = time.process_time(); "
            f"{more}; print(time.process_time() - begin)"
        )
        ran = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env=variables,
        )
        return float(ran.stdout)

    _, *times = (start("import fastbulk; fastbulk.accelerate()") for _ in range(rounds + 1))
    milliseconds = median(times) * 1e3
    what = "accelerate: import and call, after SQLAlchemy's"
    return Verdict(what, f"{milliseconds:.0f} ms", "< 150", milliseconds < 150)
