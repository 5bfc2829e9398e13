"""tokio-postgres: a connection of our own, in the shape of the engine's DBAPI.

SQLAlchemy drives it as it drives a connection of the engine's driver: values that come back are the
driver's, and so are the classes of the errors (``own_psycopg``, ``own_asyncpg``).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.util import await_only

from .. import _native
from . import (
    asyncpg,
    libpq,
    own_asyncpg,
    own_cursor,
    own_psycopg,
    postgresql,
    postgresql_keyed,
    psycopg,
)
from .adapted import in_thread
from .sent import Answer, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

    from sqlalchemy import Connection as SqlalchemyConnection
    from sqlalchemy.engine import Dialect


#: What a road calls this driver.
NAME = "tokio-postgres"

example_sql = psycopg.example_sql
executemany = psycopg.executemany
cancel = own_cursor.cancel

#: The drivers in whose place such a connection is opened.
_DRIVERS: dict[str, ModuleType] = {"psycopg": own_psycopg, "asyncpg": own_asyncpg}
_CARRIERS: dict[str, ModuleType] = {"psycopg": psycopg, "asyncpg": asyncpg}


def connect(dialect: Dialect, arguments: dict[str, Any]) -> Connection:
    """Opens a connection as the dialect's driver would with the same arguments.

    Raises
    ------
    Exception
        The driver's error: it can't be opened, or not as asked for.
    """
    driver = _DRIVERS[dialect.driver]
    try:
        open_ = partial(_native.PostgresConnection, driver.settings(arguments))
        native = await_only(asyncio.to_thread(open_)) if dialect.is_async else open_()
    except (libpq.RefusedError, RuntimeError) as error:
        raise driver.refused(dialect, str(error)) from None
    except _native.PostgresError as error:
        raised = driver.error(dialect, error)
        raise raised from raised.__cause__
    for name, expected in _NEEDED.items():
        value = native.parameter(name) or ""
        if not value.startswith(expected):
            native.close()
            raise driver.refused(dialect, f"the server's {name} is {value}")
    return Connection(native, dialect)


#: In which form the texts of values must be.
_NEEDED = {"DateStyle": "ISO", "IntervalStyle": "postgres", "client_encoding": "UTF8"}


class Connection:
    """What SQLAlchemy needs of a DBAPI connection."""

    autocommit = False
    #: The server has ended the connection, or will.
    broken = False
    notices = ()

    def __init__(self, native: _native.PostgresConnection, dialect: Dialect) -> None:
        """An open connection, as one of the dialect's driver."""
        self._native = native
        self._dialect = dialect
        self._driver = _DRIVERS[dialect.driver]
        #: What SQLAlchemy takes for the driver's own.
        self._connection = self
        self._in_transaction = False
        self._loaders = self._driver.Loaders(dialect, native.parameter("TimeZone") or "UTC")

    @property
    def closed(self) -> bool:
        """Whether the connection is lost."""
        return self._native.closed

    def is_closed(self) -> bool:
        """The same, as asyncpg is asked."""
        return self.closed or self.broken

    def cursor(self) -> Cursor:
        """A cursor; only one is in use at a time."""
        return Cursor(self)

    def commit(self) -> None:
        """Ends the transaction."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """Undoes the transaction; where that fails, by closing the connection."""
        if self.closed or self.broken:
            return
        try:
            self._end("ROLLBACK")
        except Exception:
            # A request to end the statement before may have come late.
            self.close()

    def _end(self, sql: str) -> None:
        if self._in_transaction:
            self._in_transaction = False
            self.call(self._native.execute, sql)

    def close(self) -> None:
        """Closes the connection."""
        self._native.close()

    terminate = close

    def cancel(self) -> None:
        """Ends the statement that runs in another thread."""
        self._native.cancel()

    def execute(self, sql: str, columns: str = "") -> list[tuple[Any, ...]]:
        """Runs statements that are one text.

        Parameters
        ----------
        sql
            The statements; a transaction begins with the first.
        columns
            A statement whose rows have the same columns, for the types of those of ``sql``.

        Returns
        -------
        list
            Per statement the number of rows, the columns and the rows.
        """
        begun = self._in_transaction
        # What fails to begin is rolled back all the same.
        self._in_transaction = True
        described, answers = self.call(
            self._native.execute, sql if begun else f"BEGIN; {sql}", columns or None
        )
        return [
            (count, described, _rows(rows, partial(self._loaders.load, described)))
            for count, rows in answers[0 if begun else 1 :]
        ]

    def copy(self, sql: str, pieces: Iterable[bytes]) -> int:
        """Sends COPY data; gives the number of rows."""
        if not self._in_transaction:
            self.execute("SELECT")
        try:
            # A request to end it may have come too early.
            self.call(self._native.copy_begin, sql)
            for piece in pieces:
                self.call(self._native.copy_send, piece)
        except BaseException:
            with suppress(self._dialect.loaded_dbapi.Error):
                self.call(self._native.copy_abort)
            raise
        count: int = self.call(self._native.copy_end)
        return count

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a native function gives; its error is raised as one of the driver's."""
        try:
            # An event loop runs while the server works.
            if self._dialect.is_async:
                return in_thread(partial(function, *arguments), self._native.cancel)
            return function(*arguments)
        except _native.PostgresError as error:
            said = dict(error.args[1])
            self.broken = said.get("V") in {None, "FATAL", "PANIC"}
            raised = self._driver.error(self._dialect, error)
            raise raised from raised.__cause__


class Cursor(own_cursor.Cursor[Connection]):
    """What SQLAlchemy needs of a DBAPI cursor."""

    def execute(self, sql: str, parameters: Any = None) -> None:
        """Runs one statement, which has no parameters."""
        reads = sql.lstrip()[:6].upper() == "SELECT"
        self.show(*self.connection.execute(sql, sql if reads else "")[-1])

    def show(self, count: int, columns: list[tuple[str, int]], rows: Rows) -> None:
        """Takes the result of a statement."""
        self.rowcount, self._rows = count, list(rows)
        self.description = [(*column, *[None] * 5) for column in columns] or None


def _rows(
    native: _native.PostgresRows,
    load: Callable[[list[tuple[Any, ...]]], list[tuple[Any, ...]]],
) -> Rows:
    """Rows of a statement; ``load`` makes objects of values that native code leaves as bytes."""
    return Rows(len(native), native.outcome, lambda: load(native.tuples()))


class _Driver:
    """How such a connection takes COPY data and text."""

    shows_every_answer = True
    execute_arrays = None

    def execute(
        self,
        cursor: Any,
        sql: str,
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> Answer:
        text = "; ".join(filter(None, (*begin, sql, end)))
        answers = cursor.connection.execute(text, columns)
        count, described, rows = answers[len(begin)]
        return Answer(count, rows, tuple(oid for _, oid in described))

    def execute_each(
        self,
        cursor: Any,
        statements: Sequence[str],
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> list[Answer]:
        text = "; ".join(filter(None, (*begin, *statements, end)))
        answers = cursor.connection.execute(text, columns)
        return [
            Answer(count, rows, tuple(oid for _, oid in described))
            for count, described, rows in answers[len(begin) : len(begin) + len(statements)]
        ]

    def copy(self, cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
        count: int = cursor.connection.copy(sql, pieces)
        return count

    def in_transaction(self, connection: Any) -> bool:
        return True


_DRIVER = _Driver()

all_or_nothing = partial(postgresql.all_or_nothing, driver=_DRIVER)
foresee = partial(postgresql.foresee, driver=_DRIVER)
native = partial(postgresql.insert, driver=_DRIVER)
keyed = partial(postgresql_keyed.keyed, driver=_DRIVER)


def facts(connection: SqlalchemyConnection) -> dict[str, str]:
    """What closes a road on this connection: nothing."""
    return {}


def adapt(dialect: Dialect) -> Callable[[Any], Any]:
    """The driver's own text form of objects that native code does not know."""
    adapted: Callable[[Any], Any] = _CARRIERS[dialect.driver].adapt(dialect)
    return adapted


def returns(dialect: Dialect, types: Sequence[Any]) -> bool:
    """Whether values of these types can come back as the driver's."""
    can: bool = _DRIVERS[dialect.driver].returns(types)
    return can
