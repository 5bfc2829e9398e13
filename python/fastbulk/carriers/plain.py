"""Any driver: its own ``executemany`` with tuples that native code built."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.util import await_only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection, Dialect

    from .._native import Column, Plan, Source
    from ..orm.mapping import InsertPlan


def facts(connection: Connection) -> dict[str, str]:
    """What closes a road on this connection, by name, with the reason in words."""
    return {}


def adapt(dialect: Dialect) -> Callable[[Any], Any] | None:
    """The driver's own conversion of objects that native code does not know."""
    return None


def example_sql(plan: Plan) -> str:
    """The statement for one row that gives all columns."""
    return insert_sql(plan, plan.columns, "format")


class Sent(NamedTuple):
    """The outcome of an ``executemany``."""

    rowcount: int


@contextmanager
def all_or_nothing(connection: Connection) -> Iterator[None]:
    """Undoes what was sent inside if an error ends it; the transaction stays the caller's."""
    if connection.dialect.name == "sqlite":
        begin_on_sqlite(connection)
    with connection.begin_nested():
        yield


#: ``sqlite3.LEGACY_TRANSACTION_CONTROL``, which Python has since 3.12.
_LEGACY = -1

#: Where ``Connection.info`` keeps how aiosqlite's connection begins transactions.
_INFO = "fastbulk_autocommit"


def begin_on_sqlite(connection: Connection) -> None:
    """Sends the BEGIN that ``sqlite3`` sends by itself before an INSERT, but not for ours.

    Without it a savepoint would be the transaction, and its end the commit.
    """
    driver: Any = connection.connection.driver_connection
    if (
        _autocommit(connection, driver) == _LEGACY
        and driver.isolation_level is not None
        and not driver.in_transaction
    ):
        connection.exec_driver_sql(f"BEGIN {driver.isolation_level}").close()


def _autocommit(connection: Connection, driver: Any) -> Any:
    if connection.dialect.is_async and sys.version_info >= (3, 12):
        # aiosqlite does not show it, and sqlite3 shows it to the connection's own thread alone.
        info = connection.info
        if _INFO not in info:
            info[_INFO] = await_only(driver._execute(lambda: driver._conn.autocommit))
        return info[_INFO]
    return getattr(driver, "autocommit", _LEGACY)


def executemany(
    connection: Connection,
    plan: InsertPlan,
    source: Source,
    notes: dict[str, str],
    all_or_nothing: Callable[[Connection], AbstractContextManager[None]] = all_or_nothing,
) -> Iterator[Sent]:
    """Sends all rows; yields the outcome of each statement.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent.
    sqlalchemy.exc.DBAPIError
        The database refused a row.
    """
    notes["statement"] = "executemany"
    with all_or_nothing(connection):
        while runs := source.next_tuples():
            for columns, rows in runs:
                yield send(connection, plan, columns, repeated(connection, plan, columns, rows))


def send(
    connection: Connection, plan: InsertPlan, columns: list[int], rows: list[tuple[Any, ...]]
) -> Sent:
    """Sends rows that give the same columns, by one ``executemany``.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        The database refused a row.
    """
    native = plan.native.columns
    paramstyle = connection.dialect.paramstyle
    nothing = "DEFAULT VALUES" if connection.dialect.supports_default_values else "() VALUES ()"
    sql = insert_sql(plan.native, [native[column] for column in columns], paramstyle, nothing)
    connection.exec_driver_sql(sql, rows)
    return Sent(len(rows))


def repeated(
    connection: Connection, plan: InsertPlan, columns: list[int], rows: list[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """The rows with each value as often as its column's SQL has its parameter."""
    if connection.dialect.paramstyle.startswith("numeric"):
        return rows
    native = plan.native.columns
    times = [native[column].value_sql("\0").count("\0") for column in columns]
    if all(count == 1 for count in times):
        return rows
    pairs = [(i, range(count)) for i, count in enumerate(times)]
    return [tuple(row[i] for i, count in pairs for _ in count) for row in rows]


def insert_sql(
    plan: Plan, columns: list[Column], paramstyle: str, nothing: str = "DEFAULT VALUES"
) -> str:
    """``INSERT INTO t (a, b) VALUES (?, ?)`` in the driver's parameter style; ``nothing`` is what
    the database writes for a row without columns.
    """
    if not columns:
        return f"INSERT INTO {plan.sql_table} {nothing}"
    marks = [column.value_sql(_mark(paramstyle, i)) for i, column in enumerate(columns, 1)]
    names = ", ".join(column.sql_name for column in columns)
    return f"INSERT INTO {plan.sql_table} ({names}) VALUES ({', '.join(marks)})"


def _mark(paramstyle: str, position: int) -> str:
    return {
        "qmark": "?",
        "format": "%s",
        "pyformat": "%s",
        "numeric": f":{position}",
        "numeric_dollar": f"${position}",
    }[paramstyle]
