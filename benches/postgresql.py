"""Rows into PostgreSQL through psycopg: fastbulk, SQLAlchemy, the drivers' own COPY, the limit.

The limit is the same rows as ready COPY bytes, pushed through the driver. `run.py` calls `run`;
started by itself this file prints its tables only.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psycopg
from harness import Case, Contender, Goal, Report, judge, measure, show_times, show_verdicts
from sqlalchemy import Engine, create_engine, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import fastbulk

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from run import Options

FASTBULK = "fastbulk"
FASTBULK_IDS = "fastbulk returning id"
FASTBULK_ENTITIES = "fastbulk returning Order"
ORM = "ORM insert"
ORM_RENDER_NULLS = "ORM insert, render_nulls"
ORM_IDS = "ORM returning id, sorted"
ORM_ENTITIES = "ORM returning Order"
WRITE_ROW = "psycopg write_row, binary"
ASYNCPG = "asyncpg copy_records_to_table"
LIMIT = "limit: ready COPY bytes"

ONE, TEN = Case(1, calls=200), Case(10, calls=200)
HUNDRED_THOUSAND = Case(100_000)
GOALS = [
    Goal(FASTBULK, (ORM,), 1, ONE),
    Goal(FASTBULK, (ORM,), 1, TEN),
    Goal(FASTBULK, (LIMIT,), 0.9, HUNDRED_THOUSAND),
    Goal(FASTBULK, (WRITE_ROW,), 0.97, HUNDRED_THOUSAND),
    Goal(FASTBULK, (ASYNCPG,), 1.5, HUNDRED_THOUSAND),
    Goal(FASTBULK, (ORM,), 25, HUNDRED_THOUSAND),
    Goal(FASTBULK, (ORM_RENDER_NULLS,), 9, HUNDRED_THOUSAND),
    Goal(FASTBULK_IDS, (LIMIT,), 0.7, HUNDRED_THOUSAND),
    Goal(FASTBULK_IDS, (ORM_IDS,), 40, HUNDRED_THOUSAND),
    Goal(FASTBULK_ENTITIES, (ORM_ENTITIES,), 10, HUNDRED_THOUSAND),
]


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[int]
    amount: Mapped[float]
    name: Mapped[str]
    note: Mapped[str | None]
    paid: Mapped[bool]
    quantity: Mapped[int]
    created: Mapped[datetime]


COLUMNS = [column.name for column in Order.__table__.columns if column.name != "id"]
COPY = f"COPY orders ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
TYPES = ["int4", "float8", "varchar", "varchar", "bool", "int4", "timestamp"]


def rows_of(count: int) -> list[dict[str, Any]]:
    """Three of ten have no note."""
    begin = datetime(2024, 1, 1)
    return [
        {
            "customer": i % 9_973,
            "amount": i / 7,
            "name": f"order number {i}",
            "note": None if i % 10 < 3 else f"note {i}",
            "paid": i % 2 == 0,
            "quantity": i % 12,
            "created": begin + timedelta(seconds=i),
        }
        for i in range(count)
    ]


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
    cases = [ONE, TEN] if options.quick else [ONE, TEN, HUNDRED_THOUSAND]
    measured = measured_cases([case for case in cases if case.rows <= options.rows], options.rounds)
    report.numbers["postgresql"] = [
        {**asdict(case), "seconds": times} for case, times in measured.items()
    ]
    report.verdicts += verdicts(measured)


def measured_cases(cases: list[Case], rounds: int) -> dict[Case, Any]:
    with servers.postgres() as server:
        engine = create_engine(server.url("psycopg", server.new_database()))
        Base.metadata.create_all(engine)
        database = Database(server, engine, {})
        measured = {}
        for case in cases:
            contenders = [*session_contenders(database), *driver_contenders(database, case)]
            measured[case] = measure(contenders, case, rounds)
            show_times(contenders, case, measured[case])
        engine.dispose()
    return measured


def verdicts(measured: dict[Case, Any]) -> list[Any]:
    return [
        judge(goal, measured[goal.case])
        for goal in GOALS
        if goal.case in measured and measured[goal.case].keys() >= {goal.of, *goal.against}
    ]


def session_contenders(database: Database) -> list[Contender]:
    """What a Session can be asked for."""

    def contender(name: str, load: Callable[..., object], peer: str | None = None) -> Contender:
        def run_in_session(case: Case) -> float:
            database.empty()
            rows = database.take(case.rows)
            with Session(database.engine) as session:
                load(session, rows[:1])  # the first call compiles SQL
                session.rollback()
                session.connection()
                return timed(lambda: load(session, rows), session.commit, case)

        return Contender(name, run_in_session, peer)

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
        contender(ORM_IDS, orm_ids),
        contender(
            FASTBULK_ENTITIES,
            lambda s, rows: fastbulk.insert(s, Order, rows, returning=Order).scalars().all(),
            ORM_ENTITIES,
        ),
        contender(
            ORM_ENTITIES, lambda s, rows: s.scalars(insert(Order).returning(Order), rows).all()
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
    if importlib.util.find_spec("asyncpg") is None:
        print("no asyncpg here: it is left out")
        return contenders
    return [*contenders, Contender(ASYNCPG, lambda case: by_asyncpg(database, dsn, case), ORM)]


def by_asyncpg(database: Database, dsn: dict[str, Any], case: Case) -> float:
    import asyncpg  # type: ignore[import-untyped]  # it has no py.typed

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
    show_verdicts(verdicts(measured_cases([ONE, TEN, HUNDRED_THOUSAND], rounds=5)))
