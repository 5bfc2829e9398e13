"""asyncpg."""

from __future__ import annotations

import datetime
import ipaddress
import re
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.util import await_only

from . import plain, postgresql, postgresql_keyed
from .adapted import in_turns
from .postgresql_text import array, range_
from .sent import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from sqlalchemy.engine import Connection, Dialect

    _T = TypeVar("_T")


class _Driver:
    """How asyncpg takes COPY data and text; SQLAlchemy's cursor has the driver's connection."""

    shows_every_answer = False
    execute_arrays = None

    def execute(
        self,
        cursor: Any,
        sql: str,
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> Answer:
        for text in begin or _begin(cursor):
            cursor.execute(text)
        answer = _wait(cursor, _send(cursor._connection, sql))
        if end:
            cursor.execute(end)
        return answer

    def execute_each(
        self,
        cursor: Any,
        statements: Sequence[str],
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> list[Answer]:
        for text in begin or _begin(cursor):
            cursor.execute(text)
        answers = [_wait(cursor, _send(cursor._connection, sql)) for sql in statements]
        if end:
            cursor.execute(end)
        return answers

    def copy(self, cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
        for text in _begin(cursor):
            cursor.execute(text)
        return _wait(cursor, _copy(cursor._connection, sql, pieces))

    def in_transaction(self, connection: Any) -> bool:
        return not connection.autocommit or connection.driver_connection.is_in_transaction()


def _begin(cursor: Any) -> tuple[str, ...]:
    """What has SQLAlchemy's adapter begin the transaction: it does so before a statement."""
    adapted = cursor._adapt_connection
    begun = adapted.autocommit or cursor._connection.is_in_transaction()
    return () if begun else (";",)


def _wait(cursor: Any, awaitable: Awaitable[_T]) -> _T:
    """Waits for the driver; its errors become those of SQLAlchemy's adapter."""
    try:
        return await_only(awaitable)
    except Exception as error:
        cursor._adapt_connection._handle_exception(error)
        raise


async def _send(connection: Any, sql: str) -> Answer:
    if "RETURNING" not in sql and not sql.startswith(("SELECT", "WITH")):
        return Answer(_count(await connection.execute(sql)), [], ())
    # Without a name neither the driver nor the server keeps it.
    prepared = await connection.prepare(sql, name="")
    rows = await prepared.fetch()
    codes = tuple(attribute.type.oid for attribute in prepared.get_attributes())
    return Answer(_count(prepared.get_statusmsg()), [tuple(row) for row in rows], codes)


async def _copy(connection: Any, sql: str, pieces: Iterable[bytes]) -> int:
    schema, table, columns = _target(sql)
    status = await connection.copy_to_table(
        table,
        schema_name=schema,
        columns=columns,
        source=in_turns(pieces),
        format="binary",
    )
    return _count(status)


def _count(status: str) -> int:
    """``INSERT 0 5``, ``COPY 5``."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else -1


_NAME = r'"(?:[^"]|"")+"|[\w$]+'
_COPY = re.compile(rf"COPY (?:({_NAME})\.)?({_NAME}) \((.*)\) FROM STDIN", re.DOTALL)


def _target(sql: str) -> tuple[str | None, str, list[str]]:
    """The schema, the table and the columns of a COPY, by their names as they are."""
    match = _COPY.match(sql)
    assert match is not None
    schema, table, columns = match.groups()
    names = re.findall(_NAME, columns)
    return schema and _unquoted(schema), _unquoted(table), [_unquoted(name) for name in names]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


_DRIVER = _Driver()

#: Where the driver does not tell how many rows it were.
NO_COUNT_OF = {"executemany"}

example_sql = postgresql_keyed.example_sql
all_or_nothing = partial(postgresql.all_or_nothing, driver=_DRIVER)
foresee = partial(postgresql.foresee, driver=_DRIVER)
native = partial(postgresql.insert, driver=_DRIVER)
keyed = partial(postgresql_keyed.keyed, driver=_DRIVER)
executemany = partial(plain.executemany, all_or_nothing=all_or_nothing)


def facts(connection: Connection) -> dict[str, str]:
    """What closes a road on this connection, by name, with the reason in words."""
    driver: Any = connection.connection.driver_connection
    if driver.get_settings().client_encoding.upper().replace("-", "") != "UTF8":
        return {"no COPY": "the connection's client_encoding is not UTF8"}
    return {}


def adapt(dialect: Dialect) -> Callable[[Any], Any]:
    """The text form of objects that native code does not know."""
    return partial(_adapt, dialect.loaded_dbapi)


def _adapt(dbapi: Any, value: Any) -> Any:
    from asyncpg import BitString, Range

    if isinstance(value, datetime.time) and value.tzinfo is not None:
        return value.isoformat()
    if (exact := postgresql.exact_class(value)) is not None:
        return exact
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, datetime.timedelta):
        return postgresql.interval(value)
    if isinstance(value, Range):
        return range_(value)
    if isinstance(value, BitString):
        return value.as_string().replace(" ", "")
    if isinstance(value, (list, tuple)):
        return array(value, partial(_adapt, dbapi))
    if isinstance(value, _ADDRESSES):
        return str(value)
    raise dbapi.Error(f"can't adapt type {type(value).__name__!r}")


_ADDRESSES = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
)
