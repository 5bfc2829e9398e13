"""Python's ``sqlite3``: native code runs on the connection's own handle, in a SQL function.

aiosqlite too: that is ``sqlite3`` on a thread of its own, and SQLAlchemy's adapter has the same
methods.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc, literal, null, select

from .. import _native, errors
from ..orm.constraints import columns_of_check
from ..roads import KEYED
from . import plain, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import ForeignKeyConstraint, Table
    from sqlalchemy.engine import Connection, Dialect, RootTransaction

    from .._native import Outcome, Slice, Source
    from ..orm.keyed import KeyedPlan
    from ..orm.mapping import InsertPlan

#: It gives no row, so that it has ended when the driver returns from it: a statement in the middle
#: keeps the database locked, should an exception come before its cursor is closed.
_RUN = "SELECT 1 WHERE fastbulk_run(?) IS NULL"

#: What is returned of an upsert can be had in the order of the rows: a statement for each has no
#: way to go.
KEEPS_ORDER = True

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


def has_function(connection: Any) -> bool:
    """Whether ``fastbulk_run`` is there.

    A list of all functions is a table to SQLite, and a transaction that reads one before it writes
    may find the database locked.
    """
    try:
        connection.execute("EXPLAIN SELECT fastbulk_run(0)").close()
    except sqlite3.Error:
        return False
    return True


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
    if getattr(connection.dialect, "native_datetime", False):
        return {"no function": "the engine has sqlite3 convert dates (native_datetime)"}
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
    adapted = _number(sqlite3.adapt(value, sqlite3.PrepareProtocol, value))
    if adapted is None or isinstance(adapted, (int, float, str, bytes)):
        return adapted
    try:
        return bytes(memoryview(adapted))
    except TypeError:
        class_ = sqlite3.ProgrammingError if sys.version_info >= (3, 11) else sqlite3.InterfaceError
        raise class_(f"type {type(value).__name__!r} is not supported") from None


def _number(value: Any) -> Any:
    """NumPy's numbers as Python's: ``sqlite3`` would store the bytes that they are made of."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.number, numpy.bool_)):
        return value.item()
    return value


def example_sql(plan: _native.Plan) -> str:
    """The statement for one row that gives all columns."""
    return _native.sqlite_example_sql(plan)


@contextmanager
def all_or_nothing(connection: Connection) -> Iterator[None]:
    """Undoes what was sent inside if an error ends it; the transaction stays the caller's."""
    plain.begin_on_sqlite(connection)
    driver = _driver(connection)
    is_nested = _in_transaction(connection)
    connection.exec_driver_sql("SAVEPOINT fastbulk").close()
    try:
        yield
        connection.exec_driver_sql("RELEASE fastbulk").close()
    except BaseException:
        # The savepoint is gone if the database or the rows' own code ended the transaction. One
        # that is the transaction itself is not released: a commit may find the database locked.
        with suppress(sqlite3.Error):
            if is_nested:
                driver.execute("ROLLBACK TO fastbulk")
                driver.execute("RELEASE fastbulk")
            else:
                driver.execute("ROLLBACK")
        raise


def _check_stands(connection: Connection, transaction: RootTransaction | None) -> None:
    """Without the call's transaction each slice would be one of its own, and never undone."""
    if connection.get_transaction() is not transaction:
        raise exc.InvalidRequestError(
            "the transaction of the call was ended while its rows were read or its progress told"
        )


def native(
    connection: Connection, plan: InsertPlan, source: Source, notes: dict[str, str]
) -> Iterator[Outcome]:
    """Sends all rows natively; yields the outcome of each slice.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent.
    sqlalchemy.exc.DBAPIError
        The database refused a row, with ``.row``, ``.column`` and ``.value``.
    """
    notes["statement"] = "INSERT..VALUES"
    part = source.next_slice()
    if part is None:
        return
    if source.exhausted and not connection.dialect.is_async:
        # A job undoes itself, so that the common small call is one statement. Only a task can be
        # cancelled when the job has just ended.
        plain.begin_on_sqlite(connection)
        yield _run(connection, plan, part)
        return
    with all_or_nothing(connection):
        transaction = connection.get_transaction()
        while part is not None:
            _check_stands(connection, transaction)
            yield _run(connection, plan, part, ahead=source)
            part = source.next_slice()


def keyed(
    connection: Connection,
    plan: KeyedPlan,
    part: Slice,
    skipped: Sequence[int],
    notes: dict[str, str],
) -> Outcome:
    """Updates, upserts or deletes the rows that the slice's keys find, but those in ``skipped``.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        The database refused a row, with ``.row``, ``.column`` and ``.value``.
    sqlalchemy.exc.InvalidRequestError
        Two rows have one key, or a trigger dropped a row.
    """
    notes["statement"] = KEYED["sqlite"][plan.native.verb]
    plain.begin_on_sqlite(connection)
    if not connection.dialect.is_async:
        return _run(connection, plan, part, skipped=skipped)
    # A task can be cancelled when the job has just ended.
    with all_or_nothing(connection):
        return _run(connection, plan, part, skipped=skipped)


def executemany(
    connection: Connection, plan: InsertPlan, source: Source, notes: dict[str, str]
) -> Iterator[plain.Sent]:
    """Sends all rows by the driver's own ``executemany``; yields each statement's outcome.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent.
    sqlalchemy.exc.DBAPIError
        The database refused a row, with ``.row``, ``.column`` and ``.value``.
    """
    notes["statement"] = "executemany"
    first_row = 0
    with all_or_nothing(connection):
        transaction = connection.get_transaction()
        while runs := source.next_tuples():
            for columns, rows in runs:
                _check_stands(connection, transaction)
                yield _executemany(connection, plan, columns, rows, first_row)
                first_row += len(rows)


def _executemany(
    connection: Connection,
    plan: InsertPlan,
    columns: list[int],
    rows: list[tuple[Any, ...]],
    first_row: int,
) -> plain.Sent:
    if "numpy" in sys.modules:
        rows = [tuple(map(_number, row)) for row in rows]
    counted = _Counted(plain.repeated(connection, plan, columns, rows))
    try:
        return plain.send(connection, plan, columns, counted)
    except (exc.DBAPIError, OverflowError, UnicodeEncodeError) as error:
        refused = max(counted.taken - 1, 0)
        row = first_row + refused
        values = dict(zip(columns, rows[refused], strict=True))
        bad = next((column for column, value in values.items() if not _fits(value)), None)
        if bad is not None:
            key, value = plan.native.columns[bad].key, values[bad]
            cause = error.orig if isinstance(error, exc.DBAPIError) else error
            raise _native.RowError(row, key, value, str(cause), cause) from None
        if isinstance(error, exc.DBAPIError):
            _locate(error, connection, plan, row, values.get)
        raise


class _Counted(list[tuple[Any, ...]]):
    """Knows how many rows the driver has taken: it sends each before it takes the next."""

    taken = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for row in super().__iter__():
            self.taken += 1
            yield row


def _fits(value: Any) -> bool:
    """Whether ``sqlite3`` can send it."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    try:
        _adapt(value)
    except sqlite3.Error:
        return False
    return True


def _run(
    connection: Connection,
    plan: InsertPlan | KeyedPlan,
    part: Slice,
    ahead: Source | None = None,
    skipped: Sequence[int] = (),
) -> Outcome:
    job = _native.SqliteJob(plan.native, part, ahead, skipped)
    try:
        statement.run(connection, plan.sql, lambda _: _run_job(_driver(connection), job))
    except exc.DBAPIError as error:
        _explain(error, job, connection, plan, part)
        raise
    return job.take()


def _run_job(driver: Any, job: _native.SqliteJob) -> None:
    driver.execute(_RUN, (job.id,)).close()


def _explain(
    error: exc.DBAPIError,
    job: _native.SqliteJob,
    connection: Connection,
    plan: InsertPlan | KeyedPlan,
    part: Slice,
) -> None:
    """Says of the driver's error which row and column it is about."""
    if job.failure is None:
        return
    reason, row, sql = job.failure
    if reason == "interrupted":
        job.take()  # raises what the signal handler raised
    if reason == "duplicate":
        raise exc.InvalidRequestError(
            f"{error.orig}; duplicates='first' or 'last' says which of them counts"
        ) from error
    if reason == "rows lost":
        raise exc.InvalidRequestError(
            f"INSERT..RETURNING gave back another number of rows than were sent: {error.orig}; "
            "a trigger may have dropped some, so the rows can't be matched"
        ) from error
    if "ON CONFLICT clause does not match" in str(error.orig):
        raise exc.InvalidRequestError(
            f"no primary key or unique constraint of {plan.table.name} is on the key of this upsert"
        ) from error
    error.statement, error.params = sql, None
    if row is None:
        errors.locate(error, row=None)
    else:
        found = part.first_row + row
        _locate(error, connection, plan, found, lambda column: part.value(row, column))


def _locate(
    error: exc.DBAPIError,
    connection: Connection,
    plan: InsertPlan | KeyedPlan,
    row: int,
    value: Callable[[int], Any],
) -> None:
    """Says of the driver's error which columns of the row it is about; ``value`` gives theirs."""
    columns = plan.native.columns
    index = {column.name.lower(): position for position, column in enumerate(columns)}

    def values_of(names: Iterable[str]) -> list[Any]:
        return [value(index[name.lower()]) for name in names]

    if str(error.orig) == "FOREIGN KEY constraint failed":
        names = _orphan(connection, plan.table, values_of)
    else:
        names = _columns_named_in(str(error.orig), plan.table)
    names = [name for name in names if name.lower() in index]
    keys = [columns[index[name.lower()]].key or name for name in names]
    values = values_of(names)
    errors.locate(
        error,
        row=row,
        column=keys[0] if len(keys) == 1 else tuple(keys) or None,
        value=values[0] if len(values) == 1 else tuple(values) or None,
        hide_parameters=connection.engine.hide_parameters,
    )


def _columns_named_in(message: str, table: Table) -> list[str]:
    """``UNIQUE constraint failed: t.a, t.b`` names a and b."""
    kind, _, rest = message.partition(" constraint failed: ")
    if kind in {"UNIQUE", "NOT NULL"}:
        return _of_table(rest, table)
    if kind == "CHECK":
        return columns_of_check(table, rest)
    if message == "datatype mismatch":
        return [column.name for column in table.primary_key.columns]
    kind, _, rest = message.partition(" column ")
    return _of_table(rest, table) if kind.startswith("cannot store ") else []


def _of_table(names: str, table: Table) -> list[str]:
    """``t.a, t.b`` without the ``t.``; none if they are of another table, a trigger's."""
    return re.split(f"(?:^|, ){re.escape(table.name)}\\.", names, flags=re.IGNORECASE)[1:]


def _orphan(
    connection: Connection, table: Table, values_of: Callable[[Iterable[str]], list[Any]]
) -> list[str]:
    """The columns of the one foreign key whose parent isn't there; none if that is not certain."""
    given = [
        key
        for key in table.foreign_key_constraints
        if None not in values_of(column.name for column in key.columns)
    ]
    if len(given) > 1:
        # Parents in the same table may have been rows of this very call, which are undone.
        own = [key for key in given if key.referred_table is table]
        others = [key for key in given if key.referred_table is not table]
        given = [key for key in others if not _has_parent(connection, key, values_of)] or own
    return [column.name for column in given[0].columns] if len(given) == 1 else []


def _has_parent(
    connection: Connection,
    key: ForeignKeyConstraint,
    values_of: Callable[[Iterable[str]], list[Any]],
) -> bool:
    values = values_of(column.name for column in key.columns)
    same = [
        # What the type's bind processor made of a value is a storage class already.
        element.column == literal(value, null().type if _is_stored(value) else element.parent.type)
        for element, value in zip(key.elements, values, strict=True)
    ]
    try:
        return connection.scalar(select(literal(1)).where(*same).limit(1)) is not None
    except exc.DBAPIError:
        return True


def _is_stored(value: Any) -> bool:
    return isinstance(value, (int, float, str, bytes))


def _driver(connection: Connection) -> Any:
    """The DBAPI connection: the driver's own, or SQLAlchemy's adapter of aiosqlite's."""
    return connection.connection.dbapi_connection


def _in_transaction(connection: Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    return bool(driver.in_transaction)
