"""mysql_async: a connection of our own, in the shape of the engine's DBAPI.

SQLAlchemy drives it as it drives a connection of the engine's driver, whose classes its errors
have. Rows that are to come back are the driver's affair: a call that wants some has the pool.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.util import await_only

from .. import _native
from . import mysql, mysql_settings, mysqlconnector, mysqldb, own_cursor, pymysql
from .adapted import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import ModuleType

    from sqlalchemy import Connection as SqlalchemyConnection
    from sqlalchemy.engine import Dialect

    from .._native import Plan, Source
    from ..orm.mapping import InsertPlan
    from .sent import Keyed, Sent

#: What a road calls this driver.
NAME = "mysql_async"

#: The carriers of the drivers in whose place such a connection is opened.
_DRIVERS: dict[str, ModuleType] = {
    "mysqldb": mysqldb,
    "pymysql": pymysql,
    "mysqlconnector": mysqlconnector,
    "aiomysql": pymysql,
    "asyncmy": pymysql,
}

#: The error of a client whose connection is lost.
_LOST = 2013


def connect(dialect: Dialect, arguments: dict[str, Any]) -> Connection:
    """Opens a connection as the dialect's driver would with the same arguments.

    Raises
    ------
    Exception
        The driver's ``OperationalError``: it can't be opened, or not as asked for.
    """
    driver = _DRIVERS[dialect.driver]
    dbapi: Any = dialect.loaded_dbapi
    try:
        charset = str(getattr(dialect, "_connection_charset", None))
        if charset.lower() != "utf8mb4":
            reason = f"the connection's character set is {charset}, not utf8mb4"
            raise mysql_settings.RefusedError(reason)
        settings = mysql_settings.settings(dialect.driver, arguments, **driver.client(dbapi))
        open_ = partial(_native.MysqlConnection, settings)
        native = await_only(asyncio.to_thread(open_)) if dialect.is_async else open_()
    except mysql_settings.RefusedError as error:
        raise dbapi.OperationalError(str(error)) from None
    except _native.MysqlError as error:
        raise _error(driver, dbapi, error) from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise dbapi.OperationalError(str(error)) from None
    return Connection(native, dialect, loads_local=mysql_settings.loads_local(arguments))


def _error(driver: ModuleType, dbapi: Any, error: _native.MysqlError) -> Exception:
    message, code, state = error.args
    if code is None:
        message = f"Lost connection to server during query ({message})"
    raised: Exception = driver.error(dbapi, code or _LOST, state or "HY000", message)
    return raised


class Connection:
    """What SQLAlchemy needs of a DBAPI connection."""

    def __init__(
        self, native: _native.MysqlConnection, dialect: Dialect, *, loads_local: bool
    ) -> None:
        """An open connection; ``loads_local`` says whether LOAD DATA LOCAL was not forbidden."""
        self.native = native
        self.loads_local = loads_local
        #: What SQLAlchemy takes for the driver's own.
        self._connection = self
        self._is_async = dialect.is_async
        self._driver = _DRIVERS[dialect.driver]
        self._dbapi: Any = dialect.loaded_dbapi

    def cursor(self, **_: Any) -> Cursor:
        """A cursor; only one is in use at a time."""
        return Cursor(self)

    def commit(self) -> None:
        """Ends the transaction."""
        self.call(self.native.execute, b"COMMIT")

    def rollback(self) -> None:
        """Undoes the transaction; where that fails, by closing the connection."""
        if self.native.closed:
            return
        try:
            self.call(self.native.execute, b"ROLLBACK")
        except Exception:
            # A request to end the statement before may have come late.
            self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.native.close()

    terminate = close

    def cancel(self) -> None:
        """Ends the statement that runs in another thread."""
        self.native.cancel()

    def thread_id(self) -> int:
        """The server's number of the connection."""
        return self.native.id

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a native function gives; its error is raised as one of the driver's."""
        try:
            # An event loop runs while the server works.
            if self._is_async:
                return in_thread(partial(function, *arguments), self.native.cancel)
            return function(*arguments)
        except _native.MysqlError as error:
            raise _error(self._driver, self._dbapi, error) from None


class Cursor(own_cursor.Cursor[Connection]):
    """What SQLAlchemy needs of a DBAPI cursor."""

    def __init__(self, connection: Connection) -> None:
        """A cursor without a result."""
        super().__init__(connection)
        self.lastrowid: int | None = None
        self.warning_count = 0

    def execute(self, sql: str | bytes, parameters: Any = None) -> None:
        """Runs one statement, which has no parameters."""
        sql = sql.encode() if isinstance(sql, str) else sql
        self.show(self.connection.call(self.connection.native.execute, sql))

    def load(self, *arguments: Any) -> str | None:
        """Sends rows by LOAD DATA LOCAL, or says why not."""
        return self._take(self.connection.call(self.connection.native.load, *arguments))

    def bulk(self, *arguments: Any) -> str | None:
        """Sends rows by MariaDB's bulk protocol, or says why not."""
        return self._take(self.connection.call(self.connection.native.bulk, *arguments))

    def _take(self, answer: Any) -> str | None:
        if isinstance(answer, str):
            return answer
        self.show(answer)
        return None

    def show(self, answer: Any) -> None:
        """Takes the result of a statement."""
        columns, self._rows, affected, self.lastrowid, self.warning_count = answer
        self.description = [(name, *[None] * 6) for name in columns] or None
        self.rowcount = len(self._rows) if columns else affected


class _Driver:
    """What such a connection tells, in place of a driver's."""

    avoid: str | None = None
    without_sql = True

    def __init__(self, carrier: ModuleType) -> None:
        self.plain_floats: bool = carrier.DRIVER.plain_floats
        self.text = carrier.DRIVER.text

    def charset(self, connection: Any) -> str:
        return "utf8mb4"

    def commits(self, connection: Any) -> bool:
        return False


#: Small slices would cost more than the wait for the first large one.
SLICES_ARE_STATEMENTS = True

executemany = pymysql.executemany
cancel = own_cursor.cancel

_OURS = {name: _Driver(carrier) for name, carrier in _DRIVERS.items()}


def facts(connection: SqlalchemyConnection) -> dict[str, str]:
    """What closes a road on this connection: nothing."""
    return {}


def returns(dialect: Dialect, types: Sequence[Any]) -> bool:
    """Whether values can come back: they are what the engine's driver makes of them."""
    return False


def adapt(dialect: Dialect) -> Callable[[Any], Any]:
    """The driver's own form of objects that native code does not know."""
    return mysql.adapt(dialect, _OURS[dialect.driver])


def example_sql(plan: Plan) -> str:
    """The statement for one row that gives all columns."""
    return _native.mysql_example_sql(plan)


def all_or_nothing(connection: SqlalchemyConnection) -> AbstractContextManager[None]:
    """Undoes what was sent inside if an error ends it; the transaction stays the caller's."""
    return mysql.all_or_nothing(connection, _OURS[connection.dialect.driver])


def native(
    connection: SqlalchemyConnection, plan: InsertPlan, source: Source, notes: dict[str, str]
) -> Iterator[Sent | Keyed]:
    """Sends all rows natively; see :func:`fastbulk.carriers.mysql.insert`."""
    return mysql.insert(connection, plan, source, notes, _OURS[connection.dialect.driver])
