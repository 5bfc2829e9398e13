"""Flights into a SQLite file: fastbulk, SQLAlchemy, the drivers themselves, and the limit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING

import apsw
from chart import draw
from data import INSERT, Databases, Flights, databases
from flights import Base, Flight, Row
from harness import Case, Contender, Goal, Report, Times, judge, measure, show_times
from native_limit import Limit, build
from sqlalchemy import insert
from sqlalchemy.orm import Session

import fastbulk

if TYPE_CHECKING:
    from run import Options

FASTBULK = "fastbulk"
FASTBULK_FULL = "fastbulk, no NULLs"
FASTBULK_IDS = "fastbulk returning id"
FASTBULK_ENTITIES = "fastbulk returning Flight"
ORM = "ORM insert"
ORM_FULL = "ORM insert, no NULLs"
ORM_RENDER_NULLS = "ORM insert, render_nulls"
ORM_IDS = "ORM returning id, sorted"
ORM_ENTITIES = "ORM returning Flight"
CORE = "Core insert"
SQLITE3 = "sqlite3 executemany, ready tuples"
APSW = "apsw executemany, ready tuples"
LIMIT = "limit: 200 rows a statement"
LIMIT_SINGLE = "limit: 1 row a statement"
LIMIT_MUTEX = "limit: 200 rows, mutex on"

ONE = Case(1, calls=500)
ONE_COMMITTED = Case(1, transactions=200)
TEN = Case(10, calls=200)
HUNDRED_THOUSAND = Case(100_000)
SMALL_CASES = [ONE, ONE_COMMITTED, TEN, Case(100, calls=20), Case(1_000, calls=5)]
LARGE_CASES = [HUNDRED_THOUSAND, Case(1_000_000)]

GOALS = [
    *(Goal(FASTBULK, (ORM,), 1, case) for case in (ONE, ONE_COMMITTED, TEN)),
    Goal(FASTBULK, (ORM,), 15, HUNDRED_THOUSAND),
    Goal(FASTBULK, (LIMIT, LIMIT_SINGLE), 0.75, HUNDRED_THOUSAND),
    Goal(FASTBULK_IDS, (ORM_IDS,), 20, HUNDRED_THOUSAND),
    Goal(FASTBULK_IDS, (FASTBULK,), 0.5, HUNDRED_THOUSAND),
    Goal(FASTBULK_ENTITIES, (ORM_ENTITIES,), 5, HUNDRED_THOUSAND),
]

FLIGHTS = Base.metadata.tables["flights"]

# At 1,000,000 rows the slow ones would take most of the whole run, and so would more rounds.
CAP = 100_000
ROUNDS_ABOVE_CAP = 2

Load = Callable[[Session, list[Row]], object]


def run(options: Options, report: Report) -> None:
    """Measure every case, print its table, and add numbers and verdicts to the report."""
    flights = Flights()
    with databases(flights, foreign_keys=options.foreign_keys) as files:
        contenders = [
            *session_contenders(files, flights),
            *driver_contenders(files, flights),
            *limit_contenders(files, flights),
        ]
        measured = {case: run_case(case, contenders, options.rounds) for case in cases(options)}
    draw(measured, options.out / "sqlite.png")
    if HUNDRED_THOUSAND in measured:
        draw({HUNDRED_THOUSAND: measured[HUNDRED_THOUSAND]}, options.out / "sqlite-100000.png")
    report.numbers["sqlite"] = [
        {**asdict(case), "seconds": times} for case, times in measured.items()
    ]
    report.verdicts += [
        judge(goal, measured[goal.case])
        for goal in GOALS
        if goal.case in measured and measured[goal.case].keys() >= {goal.of, *goal.against}
    ]


def cases(options: Options) -> list[Case]:
    """Return the small cases, and the large ones unless the run is quick."""
    sizes = SMALL_CASES if options.quick else SMALL_CASES + LARGE_CASES
    return [case for case in sizes if case.rows <= options.rows]


def run_case(case: Case, contenders: list[Contender], rounds: int) -> Times:
    """Measure and print one case."""
    able = [contender for contender in contenders if contender.takes(case)]
    rounds = rounds if case.rows <= CAP else min(rounds, ROUNDS_ABOVE_CAP)
    times = measure(able, case, rounds)
    show_times(able, case, times)
    if len(able) < len(contenders):
        left_out = ", ".join(c.name for c in contenders if c not in able)
        print(f"{rounds} rounds; left out above {CAP:,} rows: {left_out}")
    return times


def session_contenders(files: Databases, flights: Flights) -> list[Contender]:
    """What a Session can be asked for."""

    def contender(
        name: str,
        load: Load,
        peer: str | None = None,
        *,
        nulls: bool = True,
        cap: int | None = None,
    ) -> Contender:
        def run_in_session(case: Case) -> float:
            rows = flights.take(case.rows, nulls=nulls).dicts
            with files.session() as session:
                return timed(lambda: load(session, rows), session.commit, case)

        return Contender(name, run_in_session, peer, cap)

    return [
        contender(FASTBULK, fastbulk_insert, ORM),
        contender(ORM, orm_insert),
        contender(ORM_RENDER_NULLS, orm_insert_render_nulls, ORM, cap=CAP),
        contender(CORE, core_insert, ORM),
        contender(FASTBULK_FULL, fastbulk_insert, ORM_FULL, nulls=False),
        contender(ORM_FULL, orm_insert, nulls=False, cap=CAP),
        contender(FASTBULK_IDS, fastbulk_ids, ORM_IDS),
        contender(ORM_IDS, orm_ids, cap=CAP),
        contender(FASTBULK_ENTITIES, fastbulk_entities, ORM_ENTITIES, cap=CAP),
        contender(ORM_ENTITIES, orm_entities, cap=CAP),
    ]


def fastbulk_insert(session: Session, rows: list[Row]) -> object:
    return fastbulk.insert(session, Flight, rows)


def fastbulk_ids(session: Session, rows: list[Row]) -> object:
    return fastbulk.insert(session, Flight, rows, returning=Flight.id).scalars().all()


def fastbulk_entities(session: Session, rows: list[Row]) -> object:
    return fastbulk.insert(session, Flight, rows, returning=Flight).scalars().all()


def orm_insert(session: Session, rows: list[Row]) -> object:
    return session.execute(insert(Flight), rows)


def orm_insert_render_nulls(session: Session, rows: list[Row]) -> object:
    return session.execute(insert(Flight), rows, execution_options={"render_nulls": True})


def orm_ids(session: Session, rows: list[Row]) -> object:
    statement = insert(Flight).returning(Flight.id, sort_by_parameter_order=True)
    return session.scalars(statement, rows).all()


def orm_entities(session: Session, rows: list[Row]) -> object:
    return session.scalars(insert(Flight).returning(Flight), rows).all()


def core_insert(session: Session, rows: list[Row]) -> object:
    return session.connection().execute(FLIGHTS.insert(), rows)


def driver_contenders(files: Databases, flights: Flights) -> list[Contender]:
    """The drivers themselves, with tuples that need no conversion."""

    def by_sqlite3(case: Case) -> float:
        rows = flights.take(case.rows).tuples
        with files.fresh() as path, closing(sqlite3.connect(path)) as connection:
            connection.execute(files.pragma)
            return timed(lambda: connection.executemany(INSERT, rows), connection.commit, case)

    def by_apsw(case: Case) -> float:
        rows = flights.take(case.rows).tuples
        with files.fresh() as path, closing(apsw.Connection(str(path))) as connection:
            connection.execute(files.pragma)

            def call() -> None:
                if not connection.in_transaction:
                    connection.execute("BEGIN")
                connection.executemany(INSERT, rows)

            return timed(call, lambda: connection.execute("COMMIT"), case)

    return [Contender(SQLITE3, by_sqlite3, ORM), Contender(APSW, by_apsw, ORM)]


def limit_contenders(files: Databases, flights: Flights) -> list[Contender]:
    """The native loop in each form; none on a machine without Rust."""
    binary = build()
    if binary is None:
        print("no cargo here: the limit is left out")
        return []
    limit = Limit(binary, files, flights)
    print(
        f"SQLite {sqlite3.sqlite_version} in Python, {apsw.sqlite_lib_version()} in apsw, "
        f"{limit.sqlite_version} in the limit"
    )
    return [
        Contender(LIMIT, lambda case: limit.seconds(case, 200, "none"), ORM),
        Contender(LIMIT_SINGLE, lambda case: limit.seconds(case, 1, "none"), ORM),
        # Python opens its connections so; the mutex is taken for every bound value.
        Contender(LIMIT_MUTEX, lambda case: limit.seconds(case, 200, "full"), ORM),
    ]


def timed(call: Callable[[], object], commit: Callable[[], object], case: Case) -> float:
    """Time calls and commits; return seconds per call."""
    if case.repetitions > 1:
        call()  # the first call compiles SQL
        commit()
    start = perf_counter()
    for _ in range(case.transactions):
        for _ in range(case.calls):
            _kept = call()  # results are freed after the clock stops, or by the next call
        commit()
    return (perf_counter() - start) / case.repetitions
