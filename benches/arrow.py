"""A pyarrow table into each database: fastbulk, ADBC's ingest where there is one, and the limit.

ADBC gets a table with just the types of the database's, which it needs. `run.py` calls `run`;
started by itself this file prints its tables only.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pyarrow as pa  # type: ignore[import-untyped]  # no py.typed
import pyarrow.compute as pc  # type: ignore[import-untyped]  # no py.typed
from data import stored, write_rows
from harness import Case, Contender, Goal, Report, Times, judge, measure, show_times, show_verdicts
from native_limit import build, output
from orders import COLUMNS, Base, Order, rows_of
from postgresql import COPY, Alone, Database, timed
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

import fastbulk
import servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from postgresql import Options

FASTBULK = "fastbulk, pyarrow table"
FASTBULK_DICTS = "fastbulk, dicts"
FASTBULK_IDS = "fastbulk, ids as Arrow"
ADBC = "ADBC ingest"
LIMIT = "limit: ready COPY bytes"
LIMIT_LOOP = "limit: 200 rows a statement"

MILLION, HUNDRED_THOUSAND = Case(1_000_000), Case(100_000)
POSTGRESQL_GOALS = [
    Goal(FASTBULK, (LIMIT,), 0.95, MILLION),
    Goal(FASTBULK, (ADBC,), 2, MILLION),
    Goal(FASTBULK, (FASTBULK_DICTS,), 1, MILLION),
    Goal(FASTBULK_IDS, (FASTBULK,), 1 / 1.1, MILLION),
]
SQLITE_GOALS = [
    Goal(FASTBULK, (ADBC,), 2, MILLION),
    Goal(FASTBULK, (FASTBULK_DICTS,), 1, MILLION),
    Goal(FASTBULK_IDS, (FASTBULK,), 1 / 1.1, MILLION),
]
MYSQL_GOALS = [Goal(FASTBULK, (FASTBULK_DICTS,), 1, HUNDRED_THOUSAND)]


def table_of(count: int) -> pa.Table:
    """The rows of `rows_of` as a table."""
    numbers = np.arange(count)
    texts = pa.array(numbers).cast(pa.string())
    notes = pc.binary_join_element_wise("note", texts, " ")
    return pa.table(
        {
            "customer": pa.array(numbers % 9_973, pa.int32()),
            "amount": numbers / 7,
            "name": pc.binary_join_element_wise("order number", texts, " "),
            "note": pc.if_else(pa.array(numbers % 10 < 3), None, notes),
            "paid": numbers % 2 == 0,
            "quantity": pa.array(numbers % 12, pa.int32()),
            "created": pa.array(np.datetime64("2024-01-01", "us") + numbers * 1_000_000),
        }
    )


def run(options: Options, report: Report) -> None:
    """Measure every case, print its table, and add numbers and verdicts to the report."""
    for name, measured, goals, most in (
        ("PostgreSQL", on_postgresql, POSTGRESQL_GOALS, MILLION),
        ("SQLite", on_sqlite, SQLITE_GOALS, MILLION),
        ("MariaDB", partial(on_mysql, servers.mariadb), MYSQL_GOALS, HUNDRED_THOUSAND),
        ("MySQL", partial(on_mysql, servers.mysql), MYSQL_GOALS, HUNDRED_THOUSAND),
    ):
        case = replace(most, rows=min(options.rows, most.rows))
        table, dicts = table_of(case.rows), rows_of(case.rows)
        assert table.slice(0, 20).to_pylist() == dicts[:20]
        print(f"\n{name}, rows in columns")
        times = measured(case, options.rounds, table, dicts)
        report.numbers[f"{name}, rows in columns"] = [{**asdict(case), "seconds": times}]
        verdicts = [judge(goal, times) for goal in goals if goal.case == case]
        report.verdicts += [replace(v, what=f"{name}, {v.what}") for v in verdicts]


def on_postgresql(case: Case, rounds: int, table: pa.Table, dicts: list[dict[str, Any]]) -> Times:
    with servers.postgres(on_disk=True) as server:
        engine = create_engine(server.url("psycopg", server.new_database()))
        Base.metadata.create_all(engine)
        database = Database(server, engine, {case.rows: dicts})
        pieces = database.encoded(case.rows)

        def by_adbc(case: Case) -> float:
            import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-untyped]

            database.empty()
            url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
            with adbc.connect(url) as connection, connection.cursor() as cursor:
                ingest = lambda: cursor.adbc_ingest("orders", table, mode="append")  # noqa: E731
                return timed(ingest, connection.commit, case)

        def by_limit(case: Case) -> float:
            database.empty()
            dsn = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
            with psycopg.connect(dsn) as connection:

                def call() -> None:
                    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
                        for piece in pieces:
                            copy.write(piece)

                return timed(call, connection.commit, case)

        def in_session(load: Callable[[Session], object]) -> Callable[[Case], float]:
            def run(case: Case) -> float:
                database.empty()
                with Session(engine) as session:
                    session.connection()
                    return timed(lambda: load(session), session.commit, case)

            return run

        contenders = [
            *[Contender(name, in_session(load), LIMIT) for name, load in loads(table, dicts)],
            Contender(ADBC, by_adbc, LIMIT),
            Contender(LIMIT, by_limit),
        ]
        times = measure(contenders, case, rounds)
        engine.dispose()
    show_times(contenders, case, times)
    return times


def on_sqlite(case: Case, rounds: int, table: pa.Table, dicts: list[dict[str, Any]]) -> Times:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "orders.sqlite")
        binary, rows = build(), Path(folder, "rows")

        def new_file() -> Any:
            path.unlink(missing_ok=True)
            engine = create_engine(f"sqlite:///{path}")
            Base.metadata.create_all(engine)
            return engine

        def by_adbc(case: Case) -> float:
            import adbc_driver_sqlite.dbapi as adbc

            new_file().dispose()
            # It writes no timestamps into a table that is there.
            texts = table.set_column(6, "created", table["created"].cast(pa.string()))
            with closing(adbc.connect(str(path))) as connection, connection.cursor() as cursor:
                ingest = lambda: cursor.adbc_ingest("orders", texts, mode="append")  # noqa: E731
                return timed(ingest, connection.commit, case)

        def by_limit(case: Case) -> float:
            if not rows.exists():
                stored_rows = [tuple(map(stored, row.values())) for row in dicts]
                write_rows(rows, COLUMNS, stored_rows)
            new_file().dispose()
            assert binary is not None
            arguments = (path, "none", "PRAGMA foreign_keys=OFF", "orders", rows, "200", "1", "1")
            return float(output(binary, *arguments))

        def in_session(load: Callable[[Session], object]) -> Callable[[Case], float]:
            def run(case: Case) -> float:
                engine = new_file()
                with Session(engine) as session:
                    seconds = timed(lambda: load(session), session.commit, case)
                engine.dispose()
                return seconds

            return run

        contenders = [
            *[Contender(name, in_session(load), ADBC) for name, load in loads(table, dicts)],
            Contender(ADBC, by_adbc),
        ]
        if binary is not None:
            contenders.append(Contender(LIMIT_LOOP, by_limit, ADBC))
        times = measure(contenders, case, rounds)
    show_times(contenders, case, times)
    return times


def on_mysql(
    start: Callable[..., Any],
    case: Case,
    rounds: int,
    table: pa.Table,
    dicts: list[dict[str, Any]],
) -> Times:
    with start(on_disk=True) as server:
        engine = create_engine(server.url("mysqldb", server.new_database(), socket=True))
        Base.metadata.create_all(engine)

        def in_session(load: Callable[[Session], object]) -> Callable[[Case], float]:
            def run(case: Case) -> float:
                with Session(engine) as session:
                    session.execute(text("TRUNCATE orders"))
                    return timed(lambda: load(session), session.commit, case)

            return run

        contenders = [
            Contender(name, in_session(load), FASTBULK_DICTS if name != FASTBULK_DICTS else None)
            for name, load in loads(table, dicts)
        ]
        times = measure(contenders, case, rounds)
        engine.dispose()
    show_times(contenders, case, times)
    return times


def loads(
    table: pa.Table, dicts: list[dict[str, Any]]
) -> list[tuple[str, Callable[[Session], object]]]:
    """What a Session is asked for."""
    ids = Order.id
    return [
        (FASTBULK, lambda session: fastbulk.insert(session, Order, table)),
        (FASTBULK_DICTS, lambda session: fastbulk.insert(session, Order, dicts)),
        (FASTBULK_IDS, lambda s: fastbulk.insert(s, Order, table, returning=ids).arrow()),
    ]


if __name__ == "__main__":
    report = Report()
    run(Alone(rows=MILLION.rows), report)
    show_verdicts(report.verdicts)
