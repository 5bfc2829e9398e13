"""The flights in every form that a contender wants, and a fresh database file for each run."""

from __future__ import annotations

import shutil
import struct
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event, insert
from sqlalchemy.orm import Session, configure_mappers

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))

from flights import Airline, Airport, Base, Flight, Row, tables

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

COLUMNS = [column.name for column in Flight.__table__.columns if column.name != "id"]
INSERT = f"INSERT INTO flights ({', '.join(COLUMNS)}) VALUES ({', '.join('?' for _ in COLUMNS)})"


@dataclass(frozen=True)
class Forms:
    """The same rows as dicts, and as tuples of what SQLite stores."""

    dicts: list[Row]

    @cached_property
    def tuples(self) -> list[tuple[Any, ...]]:
        """Rows that need no conversion: what `executemany` and the limit get."""
        return [tuple(map(stored, row.values())) for row in self.dicts]


class Flights:
    """All flights, those without a NULL, and prefixes of both in any length."""

    def __init__(self) -> None:
        """Read the data once."""
        self.tables = tables()
        self.all = next(rows for model, rows in self.tables if model is Flight)
        self.full = [row for row in self.all if None not in row.values()]
        self._forms: dict[tuple[bool, int], Forms] = {}

    def take(self, count: int, *, nulls: bool = True) -> Forms:
        """Return the first `count` flights; they repeat where there are fewer."""
        key = (nulls, count)
        if key not in self._forms:
            source = self.all if nulls else self.full
            self._forms[key] = Forms(list(islice(cycle(source), count)))
        return self._forms[key]


class Databases:
    """Copies of one file that holds the tables, the airlines and the airports, but no flight."""

    def __init__(self, folder: Path, flights: Flights, pragma: str) -> None:
        """Create the file that every run starts from; `pragma` sets up each connection."""
        configure_mappers()
        self.pragma = pragma
        self._template = folder / "template.sqlite"
        self._next = folder / "run.sqlite"
        with opened(self._template, pragma) as engine, Session(engine) as session:
            Base.metadata.create_all(engine)
            for model, rows in flights.tables:
                if model in (Airline, Airport):
                    session.execute(insert(model), rows)
            session.commit()

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """Give a new file, and remove it afterwards."""
        shutil.copyfile(self._template, self._next)
        yield self._next
        self._next.unlink()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a new file in a Session that is connected already."""
        with self.fresh() as path, opened(path, self.pragma) as engine, Session(engine) as session:
            session.connection()
            yield session


@contextmanager
def databases(flights: Flights, *, foreign_keys: bool) -> Iterator[Databases]:
    """Keep the files in a folder of their own."""
    with TemporaryDirectory() as folder:
        yield Databases(Path(folder), flights, f"PRAGMA foreign_keys={foreign_keys:d}")


@contextmanager
def opened(path: Path, pragma: str) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(pragma)

    yield engine
    engine.dispose()


def stored(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write the file that `benches/limit` reads: column names, number of cells, tagged cells."""
    with path.open("wb") as file:
        file.write(",".join(columns).encode() + b"\n")
        file.write(struct.pack("<Q", len(rows) * len(columns)))
        for row in rows:
            file.write(b"".join(map(tagged, row)))


def tagged(value: Any) -> bytes:
    match value:
        case int():
            return struct.pack("<cq", b"i", value)
        case float():
            return struct.pack("<cd", b"r", value)
        case str():
            text = value.encode()
            return struct.pack("<cI", b"t", len(text)) + text
        case _:
            return b"n"
