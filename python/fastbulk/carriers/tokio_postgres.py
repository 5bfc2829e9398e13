"""tokio-postgres: a connection of our own, in the shape of the engine's DBAPI.

SQLAlchemy drives it as it drives a connection of psycopg: values that come back are psycopg's, and
so are the classes of the errors.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import cached_property, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, overload
from zoneinfo import ZoneInfo

from sqlalchemy.util import await_only

from .. import _native
from . import libpq, own_cursor, postgresql, postgresql_keyed, psycopg
from .adapted import in_thread
from .sent import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection as SqlalchemyConnection
    from sqlalchemy.engine import Dialect


#: What a road calls this driver.
NAME = "tokio-postgres"

#: Rows may come back.
RETURNS = True

adapt = psycopg.adapt
UNDOES_ITSELF = psycopg.UNDOES_ITSELF
example_sql = psycopg.example_sql
executemany = psycopg.executemany
cancel = own_cursor.cancel

#: Arguments of psycopg's own ``connect`` that change nothing here.
_HARMLESS = frozenset({"context", "prepare_threshold"})


def connect(dialect: Dialect, arguments: dict[str, Any]) -> Connection:
    """Opens a connection as psycopg would with the same arguments.

    Raises
    ------
    psycopg.OperationalError
        It can't be opened, or not as asked for.
    """
    from psycopg import OperationalError

    given = {name: value for name, value in arguments.items() if name not in _HARMLESS}
    if given.pop("autocommit", False) is not False:
        raise OperationalError("the connection parameter 'autocommit' is psycopg's own")
    try:
        open_ = partial(_native.PostgresConnection, libpq.settings(given, os.environ))
        connection = await_only(asyncio.to_thread(open_)) if dialect.is_async else open_()
    except libpq.RefusedError as error:
        raise OperationalError(str(error)) from None
    except _native.PostgresError as error:
        raise driver_error(error) from None
    except RuntimeError as error:
        raise OperationalError(str(error)) from None
    for name, expected in _NEEDED.items():
        value = connection.parameter(name) or ""
        if not value.startswith(expected):
            connection.close()
            raise OperationalError(f"the server's {name} is {value}")
    adapters = getattr(dialect, "_psycopg_adapters_map", None)
    return Connection(connection, adapters, dialect.is_async)


#: In which form the texts of values must be.
_NEEDED = {"DateStyle": "ISO", "IntervalStyle": "postgres", "client_encoding": "UTF8"}


def driver_error(error: _native.PostgresError) -> Exception:
    """The server's error as psycopg raises it, with ``sqlstate`` and ``diag``."""
    from psycopg import OperationalError, errors
    from psycopg.pq import DiagnosticField

    message, said = error.args
    if not said:
        return OperationalError(message)
    fields = dict(said)
    try:
        class_ = errors.lookup(fields["C"])
    except KeyError:
        class_ = errors.get_base_exception(fields["C"])
    info: dict[int, bytes | None] = {
        field: fields[chr(field)].encode() if chr(field) in fields else None
        for field in DiagnosticField
    }
    # As libpq writes it.
    lines = [message]
    lines += [f"{label}:  {fields[key]}" for key, label in _LABELS.items() if key in fields]
    return class_("\n".join(lines), info=info)


_LABELS = {"D": "DETAIL", "H": "HINT", "W": "CONTEXT"}


class Connection:
    """What SQLAlchemy needs of a DBAPI connection."""

    autocommit = False
    #: The server has ended the connection, or will.
    broken = False
    notices = ()

    def __init__(
        self, native: _native.PostgresConnection, adapters: Any, is_async: bool = False
    ) -> None:
        """An open connection; ``adapters`` are the dialect's own loaders of values, and where it
        ``is_async`` an event loop runs while the server works.
        """
        self._native = native
        self._is_async = is_async
        #: What SQLAlchemy takes for the driver's own.
        self._connection = self
        self._in_transaction = False
        self._loaders = _Loaders(adapters, native.parameter("TimeZone") or "UTC")

    @property
    def closed(self) -> bool:
        """Whether the connection is lost."""
        return self._native.closed

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
            self._call(self._native.execute, sql)

    def close(self) -> None:
        """Closes the connection."""
        self._native.close()

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
        described, answers = self._call(
            self._native.execute, sql if begun else f"BEGIN; {sql}", columns or None
        )
        return [
            (count, described, Rows(rows, partial(self._loaders.load, described)))
            for count, rows in answers[0 if begun else 1 :]
        ]

    def copy(self, sql: str, pieces: Iterable[bytes]) -> int:
        """Sends COPY data; gives the number of rows."""
        if not self._in_transaction:
            self.execute("SELECT")
        self._call(self._native.copy_begin, sql)
        try:
            for piece in pieces:
                self._call(self._native.copy_send, piece)
        except BaseException:
            self._native.copy_abort()
            raise
        count: int = self._call(self._native.copy_end)
        return count

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            if self._is_async:
                return in_thread(partial(function, *arguments), self._native.cancel)
            return function(*arguments)
        except _native.PostgresError as error:
            said = dict(error.args[1])
            self.broken = said.get("V") in {None, "FATAL", "PANIC"}
            raise driver_error(error) from None


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


class Rows(Sequence[tuple[Any, ...]]):
    """Rows of a statement, which become objects when they are asked for.

    Attributes
    ----------
    outcome : fastbulk._native.Outcome or None
        The same rows as columns; None where a value of theirs may be none of Python's, which is
        told at once.
    """

    def __init__(
        self,
        native: _native.PostgresRows,
        load: Callable[[list[tuple[Any, ...]]], list[tuple[Any, ...]]],
    ) -> None:
        """``load`` makes objects of values that native code leaves as bytes."""
        self._native, self._load = native, load
        self.outcome = native.outcome()
        if self.outcome is None:
            self._objects  # noqa: B018

    @cached_property
    def _objects(self) -> list[tuple[Any, ...]]:
        return self._load(self._native.tuples())

    def __len__(self) -> int:
        """How many rows they are."""
        return len(self._native)

    @overload
    def __getitem__(self, index: int) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[Any, ...]]: ...
    def __getitem__(self, index: int | slice) -> tuple[Any, ...] | list[tuple[Any, ...]]:
        """A row, or some."""
        return self._objects[index]


class _Loaders:
    """psycopg's own conversion of texts to objects, for what native code leaves as bytes."""

    def __init__(self, adapters: Any, timezone: str) -> None:
        from psycopg import adapters as global_adapters
        from psycopg.adapt import AdaptersMap, Loader, Transformer
        from psycopg.pq import Format

        map_ = AdaptersMap(adapters or global_adapters)
        utc: Any = map_.get_loader(_TIMESTAMPTZ, Format.TEXT)
        zone = _zone(timezone)

        class InZone(Loader):
            """Without a connection psycopg gives UTC; with one, the zone of the session."""

            def __init__(self, oid: int, context: Any = None) -> None:
                super().__init__(oid, context)
                self._load = utc(oid, None).load

            def load(self, data: Any) -> Any:
                return self._load(data).astimezone(zone)

        if zone is not None:
            map_.register_loader(_TIMESTAMPTZ, InZone)
        transformer: Any = Transformer(SimpleNamespace(adapters=map_, connection=None))
        self._load_of: Callable[[int], Any] = lambda oid: transformer.get_loader(oid, Format.TEXT)

    def load(
        self, columns: Sequence[tuple[str, int]], rows: list[tuple[Any, ...]]
    ) -> list[tuple[Any, ...]]:
        """The rows, with every value as an object."""
        foreign = {
            i: self._load_of(oid).load
            for i, (_, oid) in enumerate(columns)
            if any(isinstance(row[i], bytes) for row in rows)
        }
        if not foreign:
            return rows
        return [
            tuple(
                foreign[i](value) if isinstance(value, bytes) else value
                for i, value in enumerate(row)
            )
            for row in rows
        ]


_TIMESTAMPTZ = 1184


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError):
        return None


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
