"""The awaited verbs beside the sync ones, asyncpg's own COPY and SQLAlchemy's async ORM insert; and
how late a ticker of one millisecond is on the loop of a load.

`run.py` calls `run`; `python benches/aio.py` runs this file alone.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from harness import Case, Contender, Goal, Report, Verdict, judge, measure, show_times
from orders import COLUMNS, Base, Order, rows_of
from sqlalchemy import URL, create_engine, delete, insert
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import fastbulk

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import servers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sqlalchemy import Engine

    Load = Callable[[AsyncSession, list[dict[str, Any]]], Awaitable[object]]


class Options(Protocol):
    """What is asked for."""

    @property
    def rows(self) -> int: ...
    @property
    def rounds(self) -> int: ...


@dataclass
class Alone:
    """The options of a run of this file alone."""

    rows: int = 1_000_000
    rounds: int = 5


ASYNCPG, PSYCOPG, AIOSQLITE = "fastbulk.aio, asyncpg", "fastbulk.aio, psycopg", "fastbulk.aio"
SYNC_PSYCOPG, SQLITE = "fastbulk, psycopg", "fastbulk, sqlite3"
COPY, ORM = "asyncpg copy_records_to_table", "ORM insert, asyncpg"

HUNDRED_THOUSAND = Case(100_000)
TEN_THOUSAND = Case(10_000)

GOALS = [
    Goal(ASYNCPG, (SYNC_PSYCOPG,), 0.9, HUNDRED_THOUSAND),
    Goal(PSYCOPG, (SYNC_PSYCOPG,), 0.9, HUNDRED_THOUSAND),
    Goal(ASYNCPG, (COPY,), 1.5, HUNDRED_THOUSAND),
    Goal(ASYNCPG, (ORM,), 25, HUNDRED_THOUSAND),
    Goal(AIOSQLITE, (SQLITE,), 0.9, HUNDRED_THOUSAND),
]

#: How often the ticker is to wake, and how late it may be.
TICK, LATEST = 0.001, 0.050


def run(options: Options, report: Report) -> None:
    """Measure every case, print its table, and add numbers and verdicts to the report."""
    for name, url, contenders in databases():
        for case in (TEN_THOUSAND, HUNDRED_THOUSAND):
            if case.rows > options.rows:
                continue
            taking = [contender for contender in contenders if contender.takes(case)]
            times = measure(taking, case, options.rounds)
            print(f"\n{name}, on an event loop")
            show_times(taking, case, times)
            report.numbers[f"{name}, aio, {case}"] = {**asdict(case), "seconds": times}
            report.verdicts += [
                judge(goal, times)
                for goal in GOALS
                if goal.case is case and times.keys() >= {goal.of, *goal.against}
            ]
        late = median(latest_tick(url, rows_of(options.rows)) for _ in range(options.rounds))
        print(
            f"\n{name}: a ticker beside {options.rows:,} rows is {late * 1000:.1f} ms late at most"
        )
        report.numbers[f"{name}, latest tick"] = late
        what = f"{name}: the latest tick beside {options.rows:,} rows"
        report.verdicts.append(
            Verdict(what, f"{late * 1000:.1f} ms", f"<= {LATEST * 1000:.0f} ms", late <= LATEST)
        )


def databases() -> Iterator[tuple[str, URL, list[Contender]]]:
    """Empty databases, and who loads them."""
    with servers.postgres(on_disk=True) as server:
        database = server.new_database()
        urls = {driver: server.url(driver, database) for driver in ("asyncpg", "psycopg")}
        with created(urls["psycopg"]):
            yield (
                "PostgreSQL",
                urls["asyncpg"],
                [
                    awaited(ASYNCPG, urls["asyncpg"], by_fastbulk),
                    awaited(PSYCOPG, urls["psycopg"], by_fastbulk),
                    sync(SYNC_PSYCOPG, urls["psycopg"]),
                    awaited(COPY, urls["asyncpg"], by_copy),
                    awaited(ORM, urls["asyncpg"], by_orm),
                ],
            )
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "orders.db")
        sqlite, aiosqlite = (URL.create(name, database=path) for name in SQLITES)
        with created(sqlite):
            yield (
                "SQLite",
                aiosqlite,
                [awaited(AIOSQLITE, aiosqlite, by_fastbulk), sync(SQLITE, sqlite)],
            )


SQLITES = ("sqlite", "sqlite+aiosqlite")


@contextmanager
def created(url: URL) -> Iterator[Engine]:
    """The table."""
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


async def by_fastbulk(session: AsyncSession, rows: list[dict[str, Any]]) -> object:
    return await fastbulk.aio.insert(session, Order, rows)


async def by_orm(session: AsyncSession, rows: list[dict[str, Any]]) -> object:
    return await session.execute(insert(Order), rows)


async def by_copy(session: AsyncSession, rows: list[dict[str, Any]]) -> object:
    connection = await session.connection()
    await connection.exec_driver_sql("SELECT 1")  # the transaction begins
    driver: Any = (await connection.get_raw_connection()).driver_connection
    records = (tuple(row.values()) for row in rows)
    return await driver.copy_records_to_table("orders", records=records, columns=COLUMNS)


def awaited(name: str, url: URL, load: Load) -> Contender:
    """A contender on an event loop."""

    async def time(case: Case) -> float:
        engine = create_async_engine(url)
        rows = rows_of(case.rows)
        async with AsyncSession(engine) as session:
            await session.execute(delete(Order))
            await session.commit()
            gc.collect()
            start = perf_counter()
            await load(session, rows)
            await session.commit()
            seconds = perf_counter() - start
        await engine.dispose()
        return seconds

    return Contender(name, lambda case: asyncio.run(time(case)))


def sync(name: str, url: URL) -> Contender:
    """fastbulk's own verb."""

    def time(case: Case) -> float:
        engine = create_engine(url)
        rows = rows_of(case.rows)
        with Session(engine) as session:
            session.execute(delete(Order))
            session.commit()
            gc.collect()
            start = perf_counter()
            fastbulk.insert(session, Order, rows)
            session.commit()
            seconds = perf_counter() - start
        engine.dispose()
        return seconds

    return Contender(name, time)


def latest_tick(url: URL, rows: list[dict[str, Any]]) -> float:
    """By how many seconds a ticker was late at most, while the rows were loaded."""
    late = 0.0

    async def tick() -> None:
        nonlocal late
        while True:
            due = perf_counter() + TICK
            await asyncio.sleep(TICK)
            late = max(late, perf_counter() - due)

    async def load() -> None:
        engine = create_async_engine(url)
        async with AsyncSession(engine) as session:
            await session.execute(delete(Order))
            ticking = asyncio.ensure_future(tick())
            await fastbulk.aio.insert(session, Order, rows)
            ticking.cancel()
            await session.rollback()
        await engine.dispose()

    asyncio.run(load())
    return late


if __name__ == "__main__":
    report = Report()
    run(Alone(), report)
