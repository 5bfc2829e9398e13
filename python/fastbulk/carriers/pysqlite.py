"""Python's ``sqlite3``: native code runs on the connection's own handle, in a SQL function."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from .. import _native, errors
from . import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection, Dialect

    from .._native import Outcome, Slice, Source
    from ..orm.mapping import InsertPlan

#: ``sqlite3.LEGACY_TRANSACTION_CONTROL``, which Python has since 3.12.
_LEGACY = -1

#: Where ``Connection.info`` keeps whether the connection has our SQL function.
_INFO = "fastbulk_run"


@cache
def install() -> bool:
    """Has every connection that ``sqlite3`` opens from now on get our SQL function.

    ``import fastbulk`` calls this once. A throwaway connection proves that it works, and teaches
    native code the api table of the library that ``sqlite3`` uses.
    """
    module = sys.modules["_sqlite3"]
    _native.sqlite_install(getattr(module, "__file__", None))
    _native.sqlite_probe(True)
    try:
        probe = sqlite3.connect(":memory:")
        try:
            return has_function(probe) or _load_extension(probe)
        finally:
            probe.close()
    finally:
        _native.sqlite_probe(False)


def has_function(connection: sqlite3.Connection) -> bool:
    """Whether ``fastbulk_run`` is there."""
    return bool(
        connection.execute(
            "SELECT count(*) FROM pragma_function_list WHERE name = 'fastbulk_run'"
        ).fetchone()[0]
    )


def _load_extension(connection: Any) -> bool:
    """The other way in, where Python was built with it."""
    if not hasattr(connection, "enable_load_extension"):
        return False
    try:
        connection.enable_load_extension(True)
        try:
            connection.execute(
                "SELECT load_extension(?, 'sqlite3_fastbulk_init')", (_native.__file__,)
            ).close()
        finally:
            connection.enable_load_extension(False)
    except sqlite3.Error:
        return False
    return has_function(connection)


def facts(connection: Connection) -> dict[str, str]:
    """What closes a road on this connection, by name, with the reason in words."""
    info = connection.info
    if _INFO not in info:
        driver = _driver(connection)
        info[_INFO] = has_function(driver) or (install() and _load_extension(driver))
    if info[_INFO]:
        return {}
    reason = (
        "the connection was opened before fastbulk was imported"
        if install()
        else "this Python's SQLite library can't be reached"
    )
    return {"no function": reason}


def adapt(dialect: Dialect) -> Callable[[Any], Any]:
    """``sqlite3``'s own conversion of objects, by registered adapters and ``__conform__``."""
    return _adapt


def _adapt(value: Any) -> Any:
    adapted = sqlite3.adapt(value, sqlite3.PrepareProtocol, value)
    if adapted is None or isinstance(adapted, (int, float, str, bytes)):
        return adapted
    try:
        return bytes(memoryview(adapted))
    except TypeError:
        class_ = sqlite3.ProgrammingError if sys.version_info >= (3, 11) else sqlite3.InterfaceError
        raise class_(f"type {type(value).__name__!r} is not supported") from None


def example_sql(plan: InsertPlan) -> str:
    """The statement for one row that gives all columns."""
    return _native.sqlite_insert_sql(plan.native)


@contextmanager
def all_or_nothing(connection: Connection) -> Iterator[None]:
    """Undoes what was sent inside if an error ends it; the transaction stays the caller's."""
    begin(connection)
    connection.exec_driver_sql("SAVEPOINT fastbulk").close()
    try:
        yield
        connection.exec_driver_sql("RELEASE fastbulk").close()
    except BaseException:
        driver = _driver(connection)
        # Gone with its savepoint if the database or the rows' own code rolled it back.
        if driver.in_transaction:
            driver.execute("ROLLBACK TO fastbulk")
            driver.execute("RELEASE fastbulk")
        raise


def begin(connection: Connection) -> None:
    """Sends the BEGIN that ``sqlite3`` sends by itself before an INSERT, but not for ours."""
    driver = _driver(connection)
    if (
        getattr(driver, "autocommit", _LEGACY) == _LEGACY
        and driver.isolation_level is not None
        and not driver.in_transaction
    ):
        connection.exec_driver_sql(f"BEGIN {driver.isolation_level}").close()


def native(connection: Connection, plan: InsertPlan, source: Source) -> Iterator[Outcome]:
    """Sends all rows natively; yields the outcome of each slice.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent.
    sqlalchemy.exc.DBAPIError
        The database refused a row, with ``.row``, ``.column`` and ``.value``.
    """
    part = source.next_slice()
    if part is None:
        return
    if source.exhausted:
        # A job undoes itself, so that the common small call is one statement.
        begin(connection)
        yield _run(connection, plan, part)
        return
    with all_or_nothing(connection):
        while part is not None:
            yield _run(connection, plan, part)
            part = source.next_slice()


def executemany(connection: Connection, plan: InsertPlan, source: Source) -> Iterator[plain.Sent]:
    """Sends all rows by the driver's own ``executemany``; yields each statement's outcome.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent.
    sqlalchemy.exc.DBAPIError
        The database refused a row.
    """
    return plain.executemany(connection, plan, source, all_or_nothing)


def _run(connection: Connection, plan: InsertPlan, part: Slice) -> Outcome:
    job = _native.SqliteJob(plan.native, part)
    try:
        connection.exec_driver_sql("SELECT fastbulk_run(?)", (job.id,)).close()
    except exc.DBAPIError as error:
        _explain(error, job, connection, plan, part)
        raise
    return job.take()


def _explain(
    error: exc.DBAPIError,
    job: _native.SqliteJob,
    connection: Connection,
    plan: InsertPlan,
    part: Slice,
) -> None:
    """Says of the driver's error which row and column it is about."""
    if job.failure is None:
        return
    reason, row, sql = job.failure
    if reason == "interrupted":
        job.take()  # raises what the signal handler raised
    if reason == "rows lost":
        raise exc.InvalidRequestError(
            f"INSERT..RETURNING gave back another number of rows than were sent: {error.orig}; "
            "a trigger may have dropped some, so the rows can't be matched"
        ) from error
    error.statement, error.params = sql, None
    columns = [c for c in plan.native.columns if c.name in _columns_named_in(str(error.orig))]
    keys = tuple(column.key or column.name for column in columns)
    values: tuple[Any, ...] = ()
    if row is not None:
        values = tuple(part.value(row, plan.native.columns.index(column)) for column in columns)
    errors.locate(
        error,
        row=None if row is None else part.first_row + row,
        column=keys[0] if len(keys) == 1 else keys or None,
        value=values[0] if len(values) == 1 else values or None,
        hide_parameters=connection.engine.hide_parameters,
    )


def _columns_named_in(message: str) -> set[str]:
    """``UNIQUE constraint failed: t.a, t.b`` names a and b."""
    kind, _, names = message.partition(" constraint failed: ")
    if kind not in {"UNIQUE", "NOT NULL"}:
        return set()
    return {name.rpartition(".")[2] for name in names.split(", ")}


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
