"""Rows found by their keys: update and upsert, by fastbulk, by SQLAlchemy, and by the expert's way.

The rows come in shuffled key order; an update sets two columns, and half of the rows of an upsert
are there. `run.py` calls `run`.
"""

from __future__ import annotations

import random
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

from harness import Case, Contender, Goal, Report, judge, measure, show_times
from sqlalchemy import Engine, String, create_engine, delete, insert, text, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import fastbulk
from fastbulk import roads

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from run import Options

UPDATE, ORM_UPDATE, EXPERT_UPDATE = "fastbulk update", "ORM update", "expert's update"
UPSERT, ORM_UPSERT, EXPERT_UPSERT = "fastbulk upsert", "ORM upsert", "expert's upsert"
UPSERT_IDS, ORM_UPSERT_IDS = "fastbulk upsert, ids and actions", "ORM upsert returning id"

FIFTY_THOUSAND = Case(50_000)
CASES = [Case(1, calls=200), Case(10, calls=100), Case(1_000), FIFTY_THOUSAND]


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(20))
    name: Mapped[str | None] = mapped_column(String(50))
    price: Mapped[float]
    quantity: Mapped[int]
    changed: Mapped[datetime]


TABLE: Any = Item.__table__
COLUMNS = [column.name for column in TABLE.columns]
UPDATED = ["name", "quantity"]


def items(count: int) -> list[dict[str, Any]]:
    begin = datetime(2024, 1, 1)
    return [
        {
            "id": i,
            "code": f"item-{i}",
            "name": f"item number {i}",
            "price": i / 7,
            "quantity": i % 12,
            "changed": begin + timedelta(seconds=i),
        }
        for i in range(1, count + 1)
    ]


@dataclass(frozen=True)
class Ways:
    """How a database's own users do it: SQLAlchemy's documented upsert, and the expert's ways."""

    upsert: Callable[[], Any]
    expert_update: Callable[[Session, list[dict[str, Any]]], object] | None
    expert_upsert: Callable[[Session, list[dict[str, Any]]], object] | None
    #: How many times as fast as SQLAlchemy an update, an upsert.
    faster: tuple[float, float]
    #: How many times the time of an upsert that returns nothing one takes that does.
    ids: float


def on_conflict(insert_: Callable[..., Any]) -> Callable[[], Any]:
    def statement() -> Any:
        upsert = insert_(Item)
        new = {name: upsert.excluded[name] for name in COLUMNS if name != "id"}
        return upsert.on_conflict_do_update(index_elements=["id"], set_=new)

    return statement


def on_duplicate_key() -> Any:
    upsert = mysql.insert(Item)
    new = {name: upsert.inserted[name] for name in COLUMNS if name != "id"}
    # MySQL's new row has only the columns that are inserted: an ORM leaves out what is None.
    return upsert.on_duplicate_key_update(new).execution_options(render_nulls=True)


def cursor_of(session: Session) -> Any:
    driver: Any = session.connection().connection.driver_connection
    return driver.cursor()


def update_sorted(session: Session, rows: list[dict[str, Any]]) -> None:
    """sqlite3's executemany over the keys in their order."""
    values = sorted(tuple(row[name] for name in ["id", *UPDATED]) for row in rows)
    sql = f"UPDATE items SET {', '.join(f'{c} = ?{n}' for n, c in enumerate(UPDATED, 2))}"
    cursor_of(session).executemany(f"{sql} WHERE id = ?1", values)


def upsert_sorted(session: Session, rows: list[dict[str, Any]]) -> None:
    values = sorted(
        tuple(str(v) if isinstance(v, datetime) else v for v in row.values()) for row in rows
    )
    cursor_of(session).executemany(
        f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
        f"ON CONFLICT (id) DO UPDATE SET {excluded()}",
        values,
    )


def excluded() -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "id")


def staged(session: Session, rows: list[dict[str, Any]], columns: list[str]) -> Any:
    """A temporary table with the rows, by COPY."""
    cursor = cursor_of(session)
    names = ", ".join(columns)
    cursor.execute("DROP TABLE IF EXISTS staged")  # a transaction has several small calls
    cursor.execute(
        f"CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT {names} FROM items WITH NO DATA"
    )
    with cursor.copy(f"COPY staged ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([row[name] for name in columns])
    return cursor


def update_from_staged(session: Session, rows: list[dict[str, Any]]) -> None:
    new = ", ".join(f"{name} = staged.{name}" for name in UPDATED)
    staged(session, rows, ["id", *UPDATED]).execute(
        f"UPDATE items SET {new} FROM staged WHERE items.id = staged.id"
    )


def upsert_from_staged(session: Session, rows: list[dict[str, Any]]) -> None:
    names = ", ".join(COLUMNS)
    staged(session, rows, COLUMNS).execute(
        f"INSERT INTO items ({names}) SELECT {names} FROM staged "
        f"ON CONFLICT (id) DO UPDATE SET {excluded()}"
    )


WAYS = {
    "sqlite": Ways(on_conflict(sqlite.insert), update_sorted, upsert_sorted, (4, 4), 1.5),
    "postgresql": Ways(
        on_conflict(postgresql.insert), update_from_staged, upsert_from_staged, (2.5, 3), 1.8
    ),
    "mysql": Ways(on_duplicate_key, None, None, (5, 3), 2),
}
WAYS["mariadb"] = WAYS["mysql"]


@contextmanager
def on_sqlite() -> Iterator[Engine]:
    with TemporaryDirectory() as folder:
        yield create_engine(f"sqlite:///{folder}/keyed.sqlite")


def on_server(start: Callable[[], Any], driver: str) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Engine]:
        with start() as server:
            yield create_engine(server.url(driver, server.new_database(), socket=True))

    return opened


#: (backend, driver) -> an engine on a database of its own; each by its fastest driver.
PLACES: dict[tuple[str, str], Callable[[], Any]] = {
    ("sqlite", "pysqlite"): on_sqlite,
    ("postgresql", "psycopg"): on_server(servers.postgres, "psycopg"),
    ("mariadb", "mysqldb"): on_server(servers.mariadb, "mysqldb"),
    ("mysql", "mysqldb"): on_server(servers.mysql, "mysqldb"),
}


def run(options: Options, report: Report) -> None:
    """Measure every case, print its table, and add numbers and verdicts to the report."""
    cases = [case for case in CASES if case.rows <= options.rows]
    for (backend, driver), opened in PLACES.items():
        if not any((backend, driver) in way.drivers for way in roads.WAYS if "update" in way.verbs):
            continue
        ways = WAYS[backend]
        measured = {}
        with ExitStack() as stack:
            engine = stack.enter_context(opened())
            stack.callback(engine.dispose)
            for case in cases:
                contenders = Database(engine, ways, case.rows).contenders()
                print(f"\n{backend} by {driver}")
                measured[case] = measure(contenders, case, options.rounds)
                show_times(contenders, case, measured[case])
        report.numbers[f"keyed, {backend}"] = [
            {**asdict(case), "seconds": times} for case, times in measured.items()
        ]
        verdicts = [
            judge(goal, measured[goal.case])
            for goal in goals(ways, engine)
            if goal.case in measured
        ]
        report.verdicts += [replace(v, what=f"{backend}, {v.what}") for v in verdicts]


def goals(ways: Ways, engine: Engine) -> list[Goal]:
    update_, upsert = ways.faster
    returns = engine.dialect.insert_executemany_returning
    peers = (ORM_UPSERT, ORM_UPSERT_IDS) if returns else (ORM_UPSERT,)
    wanted = [
        Goal(UPDATE, (ORM_UPDATE,), update_, FIFTY_THOUSAND),
        Goal(UPSERT, peers, upsert, FIFTY_THOUSAND),
        Goal(UPSERT_IDS, (UPSERT,), 1 / ways.ids, FIFTY_THOUSAND),
    ]
    if ways.expert_update is not None and ways.expert_upsert is not None:
        wanted += [
            Goal(UPDATE, (EXPERT_UPDATE,), 1, FIFTY_THOUSAND),
            Goal(UPSERT, (EXPERT_UPSERT,), 1.1, FIFTY_THOUSAND),
        ]
    return wanted


class Database:
    """A table of items, and rows for it in shuffled order."""

    def __init__(self, engine: Engine, ways: Ways, count: int) -> None:
        """Makes the table, with another that holds what it is to hold before each run."""
        self.engine, self.ways = engine, ways
        shuffled = random.Random(7)
        # The table is larger than a small call.
        stock = items(max(count, 10_000))
        self.updates = [
            {"id": row["id"], "name": f"new {row['id']}", "quantity": -1} for row in stock
        ]
        self.upserts = [{**row, "name": None, "quantity": -1} for row in stock]
        for rows in (self.updates, self.upserts):
            shuffled.shuffle(rows)
            del rows[count:]
        with engine.begin() as connection:
            Base.metadata.drop_all(connection)
            connection.execute(text("DROP TABLE IF EXISTS stock"))
            Base.metadata.create_all(connection)
            connection.execute(insert(Item), stock)
            connection.execute(text("CREATE TABLE stock AS SELECT * FROM items"))

    def fill(self, *, half: bool) -> None:
        """Has the table hold all items, or every other one."""
        with self.engine.begin() as connection:
            connection.execute(delete(Item))
            only = " WHERE id % 2 = 0" if half else ""
            # exec_driver_sql would take the % for a parameter's.
            connection.execute(text(f"INSERT INTO items SELECT * FROM stock{only} ORDER BY id"))
        if self.engine.dialect.name == "postgresql":
            options = {"isolation_level": "AUTOCOMMIT"}
            with self.engine.connect().execution_options(**options) as connection:
                connection.execute(text("VACUUM ANALYZE items"))

    def contenders(self) -> list[Contender]:
        ways = self.ways
        upsert = ways.upsert()

        def contender(
            name: str, call: Callable[..., object], peer: str | None = None, *, half: bool = False
        ) -> Contender:
            def run(case: Case) -> float:
                self.fill(half=half)
                rows = self.upserts if half else self.updates
                with Session(self.engine) as session:
                    call(session, rows[:1])  # the first call compiles SQL
                    session.rollback()
                    session.connection()
                    start = perf_counter()
                    for _ in range(case.calls):
                        _kept = call(session, rows)
                    session.commit()
                    return (perf_counter() - start) / case.calls

            return Contender(name, run, peer)

        def ids_and_actions(session: Session, rows: list[dict[str, Any]]) -> object:
            result = fastbulk.upsert(session, Item, rows, returning=Item.id)
            return result.scalars().all(), result.actions

        found = [
            contender(UPDATE, lambda s, rows: fastbulk.update(s, Item, rows), ORM_UPDATE),
            contender(ORM_UPDATE, lambda s, rows: s.execute(update(Item), rows)),
            contender(UPSERT, lambda s, r: fastbulk.upsert(s, Item, r), ORM_UPSERT, half=True),
            contender(UPSERT_IDS, ids_and_actions, UPSERT, half=True),
            contender(ORM_UPSERT, lambda s, rows: s.execute(upsert, rows), half=True),
        ]
        if self.engine.dialect.insert_executemany_returning:
            # In batches of many rows, which may be faster than rows alone.
            returning = upsert.returning(Item.id)

            def ids(session: Session, rows: list[dict[str, Any]]) -> object:
                return session.scalars(returning, rows).all()

            found.append(contender(ORM_UPSERT_IDS, ids, ORM_UPSERT, half=True))
        if ways.expert_update is not None and ways.expert_upsert is not None:
            found += [
                contender(EXPERT_UPDATE, ways.expert_update, ORM_UPDATE),
                contender(EXPERT_UPSERT, ways.expert_upsert, ORM_UPSERT, half=True),
            ]
        return found
