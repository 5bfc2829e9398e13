"""Rows into PostgreSQL through psycopg: fastbulk, SQLAlchemy, the drivers' own COPY, the limit.

The limit is the same rows as ready COPY bytes, pushed through the driver. `run.py` calls `run`;
started by itself this file prints its tables only.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from delay import delayed
from harness import (
    Case,
    Contender,
    Goal,
    Report,
    Times,
    Verdict,
    judge,
    measure,
    show_times,
    show_verdicts,
)
from orders import COLUMNS, Base, Order, rows_of
from sqlalchemy import Engine, create_engine, insert, text
from sqlalchemy.orm import Session

import fastbulk

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FASTBULK = "fastbulk"
FASTBULK_IDS = "fastbulk returning id"
FASTBULK_ENTITIES = "fastbulk returning Order"
ENGINE = "fastbulk by the Engine"
ENGINE_OF_TWO = "fastbulk by the Engine, 2 connections"
ORM = "ORM insert"
ORM_RENDER_NULLS = "ORM insert, render_nulls"
ORM_IDS = "ORM returning id, sorted"
ORM_ENTITIES = "ORM returning Order"
WRITE_ROW = "psycopg write_row, binary"
ASYNCPG = "asyncpg copy_records_to_table"
ADBC = "ADBC ingest"
LIMIT = "limit: ready COPY bytes"

ONE, TEN = Case(1, calls=200), Case(10, calls=200)
TEN_THOUSAND, HUNDRED_THOUSAND = Case(10_000), Case(100_000)
#: SQLAlchemy needs ten seconds and more for a larger call of these.
SLOW_ROWS = 10_000
ROUND_TRIP = 0.001
GOALS = [
    *(
        Goal(of, (against,), 1, case)
        for case in (ONE, TEN)
        for of, against in (
            (FASTBULK, ORM),
            (FASTBULK_IDS, ORM_IDS),
            (FASTBULK_ENTITIES, ORM_ENTITIES),
        )
    ),
    Goal(FASTBULK_IDS, (ORM_IDS,), 40, TEN_THOUSAND),
    Goal(FASTBULK_ENTITIES, (ORM_ENTITIES,), 10, TEN_THOUSAND),
    Goal(FASTBULK, (LIMIT,), 0.9, HUNDRED_THOUSAND),
    Goal(FASTBULK, (WRITE_ROW,), 0.97, HUNDRED_THOUSAND),
    Goal(FASTBULK, (ASYNCPG,), 1.5, HUNDRED_THOUSAND),
    Goal(FASTBULK, (ORM,), 25, HUNDRED_THOUSAND),
    Goal(FASTBULK, (ORM_RENDER_NULLS,), 9, HUNDRED_THOUSAND),
    Goal(FASTBULK_IDS, (LIMIT,), 0.7, HUNDRED_THOUSAND),
    Goal(ENGINE, (FASTBULK,), 0.97, HUNDRED_THOUSAND),
]
GOALS_WITHOUT_INDEX = [Goal(ENGINE_OF_TWO, (ENGINE,), 1.2, HUNDRED_THOUSAND)]


class Options(Protocol):
    """What of the command line matters here."""

    @property
    def rows(self) -> int: ...
    @property
    def rounds(self) -> int: ...
    @property
    def quick(self) -> bool: ...


@dataclass(frozen=True)
class Alone:
    """The options of a run of this file alone."""

    rows: int = 100_000
    rounds: int = 5
    quick: bool = False


COPY = f"COPY orders ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
TYPES = ["int4", "float8", "varchar", "varchar", "bool", "int4", "timestamp"]


@dataclass
class Database:
    """An empty table on a server of its own, and the rows for it in every form."""

    server: servers.Server
    engine: Engine
    rows: dict[int, list[dict[str, Any]]]

    def take(self, count: int) -> list[dict[str, Any]]:
        return self.rows.setdefault(count, rows_of(count))

    def empty(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("TRUNCATE orders"))

    def encoded(self, count: int) -> list[bytes]:
        """The rows as the server itself encodes them, in pieces as fastbulk sends them."""
        self.empty()
        fastbulk.insert(self.engine, Order, self.take(count))
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            cursor = driver.cursor()
            with cursor.copy(COPY.replace("FROM STDIN", "TO STDOUT")) as copy:
                data = b"".join(map(bytes, copy))
        size = 256 << 10
        return [data[start : start + size] for start in range(0, len(data), size)]


def run(options: Options, report: Report) -> None:
    """Measure every case, print its table, and add numbers and verdicts to the report."""
    cases = [ONE, TEN] if options.quick else [ONE, TEN, TEN_THOUSAND, HUNDRED_THOUSAND]
    cases = [case for case in cases if case.rows <= options.rows]
    for section in measured_sections(cases, options.rounds):
        report.numbers[section.name] = [
            {**asdict(case), "seconds": times} for case, times in section.times.items()
        ]
        report.verdicts += section.verdicts()


@dataclass
class Section:
    """What was measured in one set-up."""

    name: str
    goals: list[Goal]
    times: dict[Case, Times]

    def verdicts(self) -> list[Verdict]:
        judged = [
            judge(goal, self.times[goal.case])
            for goal in self.goals
            if goal.case in self.times and self.times[goal.case].keys() >= {goal.of, *goal.against}
        ]
        return [replace(verdict, what=f"{self.name}, {verdict.what}") for verdict in judged]


def measured_sections(cases: list[Case], rounds: int) -> Iterator[Section]:
    with servers.postgres(on_disk=True) as server:
        engine = create_engine(server.url("psycopg", server.new_database()))
        Base.metadata.create_all(engine)
        database = Database(server, engine, {})
        yield Section("PostgreSQL", GOALS, measured(database, cases, rounds))
        small = [case for case in cases if case.rows <= 10]
        with delayed(server.port, ROUND_TRIP) as port:
            far = create_engine(engine.url.set(port=port))
            print("\nwith 1 ms added to each round trip")
            times = measured(Database(server, far, {}), small, rounds)
            yield Section("PostgreSQL, 1 ms away", GOALS, times)
            far.dispose()
        large = [case for case in cases if case is HUNDRED_THOUSAND]
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE orders DROP CONSTRAINT orders_pkey"))
        print("\nwithout the primary key's index")
        times = {case: shown(engine_contenders(database), case, rounds) for case in large}
        yield Section("PostgreSQL, no index", GOALS_WITHOUT_INDEX, times)
        engine.dispose()


def measured(database: Database, cases: list[Case], rounds: int) -> dict[Case, Times]:
    times = {}
    for case in cases:
        contenders = session_contenders(database)
        if case.rows > 10:
            contenders += [*engine_contenders(database), *driver_contenders(database, case)]
        times[case] = shown([c for c in contenders if c.takes(case)], case, rounds)
    return times


def shown(contenders: list[Contender], case: Case, rounds: int) -> Times:
    times = measure(contenders, case, rounds)
    show_times(contenders, case, times)
    return times


def engine_contenders(database: Database) -> list[Contender]:
    """Connections of fastbulk's own, each opened within the time that is measured."""

    def contender(name: str, connections: int) -> Contender:
        def run_by_engine(case: Case) -> float:
            database.empty()
            rows = database.take(case.rows)

            def load() -> object:
                return fastbulk.insert(database.engine, Order, rows, connections=connections)

            return timed(load, lambda: None, case)

        return Contender(name, run_by_engine, FASTBULK)

    return [contender(ENGINE, 1), contender(ENGINE_OF_TWO, 2)]


def session_contenders(database: Database) -> list[Contender]:
    """What a Session can be asked for."""

    def contender(
        name: str,
        load: Callable[..., object],
        peer: str | None = None,
        max_rows: int | None = None,
    ) -> Contender:
        def run_in_session(case: Case) -> float:
            database.empty()
            rows = database.take(case.rows)
            with Session(database.engine) as session:
                load(session, rows[:1])  # the first call compiles SQL
                session.rollback()
                session.connection()
                return timed(lambda: load(session, rows), session.commit, case)

        return Contender(name, run_in_session, peer, max_rows)

    def orm(session: Session, rows: Any, **options: Any) -> object:
        return session.execute(insert(Order), rows, execution_options=options)

    def orm_ids(session: Session, rows: Any) -> object:
        statement = insert(Order).returning(Order.id, sort_by_parameter_order=True)
        return session.scalars(statement, rows).all()

    return [
        contender(FASTBULK, lambda s, rows: fastbulk.insert(s, Order, rows), ORM),
        contender(ORM, orm),
        contender(ORM_RENDER_NULLS, lambda s, rows: orm(s, rows, render_nulls=True), ORM),
        contender(
            FASTBULK_IDS,
            lambda s, rows: fastbulk.insert(s, Order, rows, returning=Order.id).scalars().all(),
            ORM_IDS,
        ),
        contender(ORM_IDS, orm_ids, max_rows=SLOW_ROWS),
        contender(
            FASTBULK_ENTITIES,
            lambda s, rows: fastbulk.insert(s, Order, rows, returning=Order).scalars().all(),
            ORM_ENTITIES,
        ),
        contender(
            ORM_ENTITIES,
            lambda s, rows: s.scalars(insert(Order).returning(Order), rows).all(),
            max_rows=SLOW_ROWS,
        ),
    ]


def driver_contenders(database: Database, case: Case) -> list[Contender]:
    """The drivers' own COPY, from the same dicts, and the limit."""
    pieces = database.encoded(case.rows)
    url = database.engine.url
    dsn: dict[str, Any] = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
    }

    def by_psycopg(write: Callable[[Any, list[dict[str, Any]]], None]) -> Callable[[Case], float]:
        def run(case: Case) -> float:
            database.empty()
            rows = database.take(case.rows)
            with psycopg.connect(**dsn, dbname=url.database) as connection:

                def call() -> None:
                    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
                        write(copy, rows)

                return timed(call, connection.commit, case)

        return run

    def write_rows(copy: Any, rows: list[dict[str, Any]]) -> None:
        copy.set_types(TYPES)
        for row in rows:
            copy.write_row(tuple(row.values()))

    def write_pieces(copy: Any, rows: list[dict[str, Any]]) -> None:
        for piece in pieces:
            copy.write(piece)

    contenders = [
        Contender(WRITE_ROW, by_psycopg(write_rows), ORM),
        Contender(LIMIT, by_psycopg(write_pieces), ORM),
    ]
    peers = {"asyncpg": (ASYNCPG, by_asyncpg), "adbc_driver_postgresql": (ADBC, by_adbc)}
    for package, (name, load) in peers.items():
        if importlib.util.find_spec(package) is None:
            print(f"no {package} here: it is left out")
        else:
            contenders.append(Contender(name, partial(load, database, dsn), ORM))
    return contenders


def by_adbc(database: Database, dsn: dict[str, Any], case: Case) -> float:
    import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-untyped]  # no py.typed
    import pyarrow as pa  # type: ignore[import-untyped]  # no py.typed

    database.empty()
    rows = database.take(case.rows)
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    # It takes a value only into a column of the very same type.
    schema = pa.schema(
        [
            ("customer", pa.int32()),
            ("amount", pa.float64()),
            ("name", pa.string()),
            ("note", pa.string()),
            ("paid", pa.bool_()),
            ("quantity", pa.int32()),
            ("created", pa.timestamp("us")),
        ]
    )
    with adbc.connect(url) as connection, connection.cursor() as cursor:

        def call() -> None:
            cursor.adbc_ingest("orders", pa.Table.from_pylist(rows, schema=schema), mode="append")

        return timed(call, connection.commit, case)


def by_asyncpg(database: Database, dsn: dict[str, Any], case: Case) -> float:
    import asyncpg

    database.empty()
    rows = database.take(case.rows)

    async def load() -> float:
        connection = await asyncpg.connect(**dsn, database=database.engine.url.database)
        start = perf_counter()
        async with connection.transaction():
            for _ in range(case.calls):
                records = (tuple(row.values()) for row in rows)
                await connection.copy_records_to_table("orders", records=records, columns=COLUMNS)
        seconds = perf_counter() - start
        await connection.close()
        return seconds / case.repetitions

    return asyncio.run(load())


def timed(call: Callable[[], object], commit: Callable[[], object], case: Case) -> float:
    """Time calls and the commit; return seconds per call."""
    start = perf_counter()
    for _ in range(case.calls):
        _kept = call()  # results are freed after the clock stops, or by the next call
    commit()
    return (perf_counter() - start) / case.repetitions


if __name__ == "__main__":
    report = Report()
    run(Alone(), report)
    show_verdicts(report.verdicts)
