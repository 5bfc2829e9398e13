"""Load the flights of 2013 into SQLite twice: by fastbulk, then by SQLAlchemy's own bulk insert.

Both loads get the same row objects, the same mapped classes and the same pragmas, and each is one
transaction in a new file. fastbulk goes first, so that it is the one to meet cold memory.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from time import perf_counter

from flights import Base, Row, tables
from sqlalchemy import Engine, Table, create_engine, event, insert
from sqlalchemy.orm import Session

import fastbulk

Insert = Callable[[Session, type[Base], list[Row]], object]
Seconds = dict[str, float]


def by_fastbulk(session: Session, model: type[Base], rows: list[Row]) -> object:
    return fastbulk.insert(session, model, rows, progress=True)


def by_sqlalchemy(session: Session, model: type[Base], rows: list[Row]) -> object:
    return session.execute(insert(model), rows)


def main() -> None:
    """Run both loads, check that they are equal, print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", type=Path, help="keep fastbulk's file here")
    kept = parser.parse_args().database

    data = tables()
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = kept or Path(folder, "fastbulk.sqlite"), Path(folder, "sqlalchemy.sqlite")
        print("first load: fastbulk.insert(session, Model, rows, progress=True)")
        fast = load(ours, by_fastbulk, data)
        print("second load: session.execute(insert(Model), rows)\n")
        slow = load(theirs, by_sqlalchemy, data)
        report({model.__tablename__: len(rows) for model, rows in data}, fast, slow)
        check_equal(ours, theirs)


def load(path: Path, insert_rows: Insert, data: list[tuple[type[Base], list[Row]]]) -> Seconds:
    """Fill a new database in one transaction; return the seconds of each table and the commit."""
    if path.exists():
        raise SystemExit(f"{path} exists already")
    engine = new_database(path)
    seconds = {}
    with Session(engine) as session:
        session.connection()
        for model, rows in data:
            start = perf_counter()
            insert_rows(session, model, rows)
            seconds[model.__tablename__] = perf_counter() - start
        start = perf_counter()
        session.commit()
        seconds["commit"] = perf_counter() - start
    engine.dispose()
    return seconds


def new_database(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", check_foreign_keys)
    Base.metadata.create_all(engine)
    return engine


def check_foreign_keys(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=ON")


def report(counts: dict[str, int], fast: Seconds, slow: Seconds) -> None:
    """Print rows, seconds and rows per second of both loads, and how they compare."""
    print(f"{'':10} {'':>9} {'fastbulk':>20} {'SQLAlchemy':>20}")
    print(f"{'table':10} {'rows':>9}" + f" {'seconds':>8} {'rows/s':>11}" * 2 + f" {'ratio':>7}")
    for name in fast:
        print_line(name, counts.get(name, 0), fast[name], slow[name])
    print_line("total", sum(counts.values()), sum(fast.values()), sum(slow.values()))


def print_line(name: str, rows: int, fast: float, slow: float) -> None:
    count = f"{rows:,}" if rows else ""
    loads = "".join(f" {seconds:8.3f} {speed(rows, seconds):>11}" for seconds in (fast, slow))
    print(f"{name:10} {count:>9}{loads} {slow / fast:6.1f}x")


def speed(rows: int, seconds: float) -> str:
    return f"{rows / seconds:,.0f}" if rows else ""


def check_equal(ours: Path, theirs: Path) -> None:
    """Compare both files value by value; any difference ends the program."""
    with closing(sqlite3.connect(ours)) as left, closing(sqlite3.connect(theirs)) as right:
        for table in Base.metadata.sorted_tables:
            query = typed_select(table)
            pairs = zip_longest(left.execute(query), right.execute(query))
            for number, (a, b) in enumerate(pairs, start=1):
                if a != b:
                    raise SystemExit(f"{table.name}, row {number} differs:\n{a}\n{b}")
    print("\nBoth databases are equal, row by row and type by type.")


def typed_select(table: Table) -> str:
    # Python calls 1, 1.0 and True equal; SQLite's own name of each value's type does not.
    types = ", ".join(f'typeof("{column.name}")' for column in table.columns)
    return f'SELECT *, {types} FROM "{table.name}" ORDER BY rowid'


if __name__ == "__main__":
    main()
