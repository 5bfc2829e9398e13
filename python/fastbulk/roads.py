"""Which road a call takes: a table of capabilities and a pure choice.

A road is refused for a reason that can be told. Nothing here knows SQLAlchemy or a driver.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Road:
    """How a call travelled, or would.

    Attributes
    ----------
    name
        ``native``: rows are read, encoded and sent by native code. ``executemany``: the driver's
        own ``executemany``, with tuples that native code built. ``sqlalchemy``: SQLAlchemy's own
        bulk insert.
    backend, driver
        As SQLAlchemy names them; ``tokio-postgres`` and ``mysql_async`` are connections of our own
        to an Engine's database.
    refused
        The faster roads, each with the reason why it was not taken. ``own connection`` is there
        where an Engine's pool had to serve, and ``columns`` where Python code had to see values
        that came in columns.
    sql
        The statement's text for one row; its columns are those of the first rows.
    statement
        On a native road, the form of the last statement that was sent: ``COPY``,
        ``bulk INSERT`` (MariaDB's protocol for many rows), ``LOAD DATA LOCAL`` (of rows in
        memory), ``INSERT..VALUES`` or ``INSERT..SELECT FROM unnest``; of update, upsert and delete
        ``UPDATE``, ``INSERT..ON CONFLICT`` and so on, with ``FROM unnest`` or ``JOIN VALUES`` where
        one statement has many rows. Why a faster one was not used is in ``refused``, by its name.
    """

    name: str
    backend: str
    driver: str
    refused: Mapping[str, str] = field(default_factory=dict)
    sql: str | None = None
    statement: str | None = None

    def taken(self, notes: Mapping[str, str]) -> Road:
        """The road after a call that went it, with what it noted on the way."""
        refused = {**self.refused, **notes}
        form = refused.pop("statement", None)
        return Road(self.name, self.backend, self.driver, refused, self.sql, form)

    def __str__(self) -> str:
        """The road, the reasons against faster ones, and the SQL, a line each."""
        lines = [f"{self.name} on {self.backend}+{self.driver}"]
        if self.statement:
            lines[0] += f", by {self.statement}"
        lines += [f"not {name}: {reason}" for name, reason in self.refused.items()]
        if self.sql:
            lines.append(self.sql)
        return "\n".join(lines)


@dataclass(frozen=True)
class Way:
    """A row of the table: a road, where it exists, and what has to hold for it."""

    road: str
    verbs: frozenset[str]
    #: (backend, driver) pairs; empty for all.
    drivers: frozenset[tuple[str, str]]
    #: Names of facts that would close the road.
    closed_by: tuple[str, ...]


#: (backend, driver) pairs whose carriers have every verb.
_ALL_VERBS = frozenset(
    {
        ("sqlite", "pysqlite"),
        ("sqlite", "aiosqlite"),
        ("postgresql", "psycopg"),
        ("postgresql", "psycopg_async"),
        ("postgresql", "psycopg2"),
        ("postgresql", "pg8000"),
        ("postgresql", "asyncpg"),
        ("postgresql", "tokio-postgres"),
        ("mysql", "mysqldb"),
        ("mysql", "pymysql"),
        ("mysql", "mysqlconnector"),
        ("mysql", "aiomysql"),
        ("mysql", "asyncmy"),
        ("mariadb", "mysqldb"),
        ("mariadb", "pymysql"),
        ("mariadb", "mysqlconnector"),
        ("mariadb", "aiomysql"),
        ("mariadb", "asyncmy"),
    }
)

#: From the fastest to the one that is always open.
WAYS = (
    Way(
        "native",
        frozenset({"insert"}),
        _ALL_VERBS | {("mysql", "mysql_async"), ("mariadb", "mysql_async")},
        ("several tables", "not rendered", "no function", "no COPY", "charset"),
    ),
    Way(
        "executemany",
        frozenset({"insert"}),
        frozenset(),
        ("several tables", "not rendered", "expression defaults", "returning"),
    ),
    Way(
        "native",
        frozenset({"update", "upsert", "delete"}),
        _ALL_VERBS,
        ("not rendered", "no function", "no COPY", "charset"),
    ),
    Way("sqlalchemy", frozenset({"insert"}), frozenset(), ()),
)


#: Backend -> verb -> the statement of many rows that are found by their keys.
KEYED: dict[str, dict[str, str]] = {
    "sqlite": {"update": "UPDATE", "upsert": "INSERT..ON CONFLICT", "delete": "DELETE"},
    "postgresql": {
        "update": "UPDATE..FROM unnest",
        "upsert": "INSERT..SELECT FROM unnest ON CONFLICT",
        "delete": "DELETE..USING unnest",
    },
    "mysql": {
        "update": "UPDATE..JOIN VALUES",
        "upsert": "INSERT..VALUES ON DUPLICATE KEY UPDATE",
        "delete": "DELETE..JOIN VALUES",
    },
}
KEYED["mariadb"] = KEYED["mysql"]


def choose(
    backend: str,
    driver: str,
    verb: str,
    facts: Mapping[str, str],
    refused: Mapping[str, str] | None = None,
) -> Road:
    """The first way that is open.

    Parameters
    ----------
    backend, driver
        As SQLAlchemy names them, ``sqlite`` and ``pysqlite``.
    verb
        ``insert``, ``update``, ``upsert`` or ``delete``.
    facts
        What is true of this call and may close a road: the fact's name and its reason in words.
    refused
        What was refused before.

    Returns
    -------
    Road
        The road, with the reason for each faster one that was refused.
    """
    name, closed = _choose(backend, driver, verb, tuple(facts.items()))
    return Road(name, backend, driver, {**(refused or {}), **dict(closed)})


@lru_cache
def _choose(
    backend: str, driver: str, verb: str, facts: tuple[tuple[str, str], ...]
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The road's name, and the reasons against faster ones."""
    refused: dict[str, str] = {}
    for way in WAYS:
        if verb not in way.verbs:
            continue
        reason = _why_closed(way, backend, driver, dict(facts))
        if reason is None:
            return way.road, tuple(refused.items())
        refused[way.road] = reason
    raise LookupError(f"no road for {verb} on {backend}+{driver}")


def _why_closed(way: Way, backend: str, driver: str, facts: Mapping[str, str]) -> str | None:
    if way.drivers and (backend, driver) not in way.drivers:
        return f"there is none for {backend}+{driver}"
    return next((facts[name] for name in way.closed_by if name in facts), None)
