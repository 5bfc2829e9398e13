"""Rows into MariaDB and MySQL: fastbulk, SQLAlchemy, the driver's own executemany, the limit.

The limit is LOAD DATA LOCAL INFILE of the same rows, in a file that is ready. `run.py` calls `run`;
started by itself this file prints its tables only.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import MySQLdb  # type: ignore[import-untyped]
from harness import Case, Contender, Goal, Report, judge, measure, show_times, show_verdicts
from orders import COLUMNS, Base, Order, rows_of
from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.orm import Session

import fastbulk

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from run import Options

FASTBULK = "fastbulk"
FASTBULK_PYMYSQL = "fastbulk, PyMySQL"
FASTBULK_ENGINE = "fastbulk, Engine"
FASTBULK_ENGINE_2 = "fastbulk, Engine, 2 connections"
FASTBULK_IDS = "fastbulk returning id"
FASTBULK_IDS_PYMYSQL = "fastbulk returning id, PyMySQL"
ORM = "ORM insert"
ORM_PYMYSQL = "ORM insert, PyMySQL"
EXECUTEMANY = "mysqlclient executemany of tuples"
LIMIT = "limit: LOAD DATA LOCAL"

ONE, TEN = Case(1, calls=200), Case(10, calls=200)
HUNDRED_THOUSAND = Case(100_000)


def goals(server: str) -> list[Goal]:
    """What is wanted of each server."""
    limit, orm = {"mariadb": (0.75, 8), "mysql": (0.6, 5.5)}[server]
    return [
        Goal(FASTBULK, (ORM,), 1, ONE),
        Goal(FASTBULK_PYMYSQL, (ORM_PYMYSQL,), 1, ONE),
        Goal(FASTBULK, (ORM,), 1, TEN),
        Goal(FASTBULK_PYMYSQL, (ORM_PYMYSQL,), 1, TEN),
        Goal(FASTBULK, (LIMIT,), limit, HUNDRED_THOUSAND),
        Goal(FASTBULK, (ORM,), orm, HUNDRED_THOUSAND),
        Goal(FASTBULK_PYMYSQL, (ORM_PYMYSQL,), orm, HUNDRED_THOUSAND),
        Goal(FASTBULK, (EXECUTEMANY,), 3, HUNDRED_THOUSAND),
        Goal(FASTBULK_ENGINE, (LIMIT,), 0.95, HUNDRED_THOUSAND),
        Goal(FASTBULK_IDS, (FASTBULK,), 1 / 1.3, HUNDRED_THOUSAND),
        Goal(FASTBULK_IDS_PYMYSQL, (FASTBULK_PYMYSQL,), 1 / 1.3, HUNDRED_THOUSAND),
    ]


INSERT = f"INSERT INTO orders ({', '.join(COLUMNS)}) VALUES ({', '.join('%s' for _ in COLUMNS)})"
LOAD = "LOAD DATA LOCAL INFILE '{}' INTO TABLE orders CHARACTER SET utf8mb4 ({})"


def as_field(value: Any) -> str:
    """The value as LOAD DATA reads it."""
    if value is None:
        return "\\N"
    return str(int(value) if isinstance(value, bool) else value)


@dataclass
class Database:
    """An empty table on a server of its own, and the rows for it in every form."""

    server: servers.Server
    folder: Path
    engines: dict[str, Engine]
    rows: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def take(self, count: int) -> list[dict[str, Any]]:
        return self.rows.setdefault(count, rows_of(count))

    def empty(self) -> None:
        with self.engines["mysqldb"].begin() as connection:
            connection.exec_driver_sql("TRUNCATE orders")

    def file(self, count: int) -> Path:
        """The rows as LOAD DATA reads them."""
        path = self.folder / f"{count}.txt"
        if not path.exists():
            with path.open("w") as lines:
                for row in self.take(count):
                    lines.write("\t".join(map(as_field, row.values())) + "\n")
        return path

    def connect(self) -> Any:
        url = self.engines["mysqldb"].url
        return MySQLdb.connect(
            unix_socket=str(self.server.socket),
            user=url.username,
            passwd=url.password,
            db=url.database,
            local_infile=True,
        )


def run(options: Options, report: Report) -> None:
    """Measure every case, print its table, and add numbers and verdicts to the report."""
    cases = [ONE, TEN] if options.quick else [ONE, TEN, HUNDRED_THOUSAND]
    cases = [case for case in cases if case.rows <= options.rows]
    for name in ("mariadb", "mysql"):
        measured = measured_cases(name, cases, options.rounds)
        report.numbers[name] = [
            {**asdict(case), "seconds": times} for case, times in measured.items()
        ]
        report.verdicts += verdicts(name, measured)


def measured_cases(name: str, cases: list[Case], rounds: int) -> dict[Case, Any]:
    start = {"mariadb": servers.mariadb, "mysql": servers.mysql}[name]
    with (
        start(options=["--local-infile=1"], on_disk=True) as server,
        TemporaryDirectory() as folder,
    ):
        database = server.new_database()
        engines = {
            driver: create_engine(server.url(driver, database, socket=True))
            for driver in ("mysqldb", "pymysql")
        }
        Base.metadata.create_all(engines["mysqldb"])
        prepared = Database(server, Path(folder), engines)
        measured = {}
        for case in cases:
            prepared.cpu.clear()
            contenders = [
                *session_contenders(prepared),
                *engine_contenders(prepared),
                *driver_contenders(prepared),
            ]
            measured[case] = measure(contenders, case, rounds)
            print(f"\n{name}")
            show_times(contenders, case, measured[case])
            show_cpu(prepared.cpu)
        for engine in engines.values():
            engine.dispose()
    return measured


def show_cpu(cpu: dict[str, list[float]]) -> None:
    """Prints the processor time of the client beside that of SQLAlchemy's insert."""
    for ours, theirs in ((FASTBULK, ORM), (FASTBULK_PYMYSQL, ORM_PYMYSQL)):
        print(f"client CPU of {ours}: {sum(cpu[ours]) / sum(cpu[theirs]):.1%} of {theirs}'s")


def verdicts(name: str, measured: dict[Case, Any]) -> list[Any]:
    return [
        judge(goal, measured[goal.case])
        for goal in goals(name)
        if goal.case in measured and measured[goal.case].keys() >= {goal.of, *goal.against}
    ]


def session_contenders(database: Database) -> list[Contender]:
    """What a Session can be asked for."""

    def contender(
        name: str, driver: str, load: Callable[..., object], peer: str | None = None
    ) -> Contender:
        def run_in_session(case: Case) -> float:
            database.empty()
            rows = database.take(case.rows)
            with Session(database.engines[driver]) as session:
                load(session, rows[:1])  # the first call compiles SQL
                session.rollback()
                session.connection()
                cpu = process_time()
                seconds = timed(lambda: load(session, rows), session.commit, case)
                database.cpu.setdefault(name, []).append(process_time() - cpu)
                return seconds

        return Contender(name, run_in_session, peer)

    def plain(session: Session, rows: Any) -> object:
        return fastbulk.insert(session, Order, rows)

    def ids(session: Session, rows: Any) -> object:
        return fastbulk.insert(session, Order, rows, returning=Order.id).scalars().all()

    def orm(session: Session, rows: Any) -> object:
        return session.execute(insert(Order), rows)

    return [
        contender(FASTBULK, "mysqldb", plain, ORM),
        contender(FASTBULK_PYMYSQL, "pymysql", plain, ORM_PYMYSQL),
        contender(FASTBULK_IDS, "mysqldb", ids, FASTBULK),
        contender(FASTBULK_IDS_PYMYSQL, "pymysql", ids, FASTBULK_PYMYSQL),
        contender(ORM, "mysqldb", orm),
        contender(ORM_PYMYSQL, "pymysql", orm),
    ]


def engine_contenders(database: Database) -> list[Contender]:
    """A load in a connection of its own, where it is large enough for one."""

    def contender(name: str, connections: int) -> Contender:
        def run(case: Case) -> float:
            database.empty()
            engine, rows = database.engines["mysqldb"], database.take(case.rows)

            def load() -> None:
                road = fastbulk.insert(engine, Order, rows, connections=connections).road
                assert road.driver == "mysql_async" or case.rows < HUNDRED_THOUSAND.rows, road

            return timed(load, lambda: None, case)

        return Contender(name, run, LIMIT)

    return [contender(FASTBULK_ENGINE, 1), contender(FASTBULK_ENGINE_2, 2)]


def driver_contenders(database: Database) -> list[Contender]:
    """The driver's own executemany, from ready tuples, and the limit."""

    def contender(name: str, load: Callable[[Any, Case], object]) -> Contender:
        def run(case: Case) -> float:
            database.empty()
            connection = database.connect()
            try:
                return timed(lambda: load(connection.cursor(), case), connection.commit, case)
            finally:
                connection.close()

        return Contender(name, run, ORM)

    tuples: dict[int, list[tuple[Any, ...]]] = {}

    def executemany(cursor: Any, case: Case) -> None:
        cursor.executemany(INSERT, tuples[case.rows])

    def load_data(cursor: Any, case: Case) -> None:
        cursor.execute(LOAD.format(database.file(case.rows), ", ".join(COLUMNS)))

    for case in (ONE, TEN, HUNDRED_THOUSAND):
        tuples[case.rows] = [tuple(row.values()) for row in database.take(case.rows)]
        database.file(case.rows)
    return [contender(EXECUTEMANY, executemany), contender(LIMIT, load_data)]


def timed(call: Callable[[], object], commit: Callable[[], object], case: Case) -> float:
    """Time calls and the commit; return seconds per call."""
    start = perf_counter()
    for _ in range(case.calls):
        _kept = call()  # results are freed after the clock stops, or by the next call
    commit()
    return (perf_counter() - start) / case.repetitions


if __name__ == "__main__":
    for server in ("mariadb", "mysql"):
        show_verdicts(verdicts(server, measured_cases(server, [ONE, TEN, HUNDRED_THOUSAND], 5)))
