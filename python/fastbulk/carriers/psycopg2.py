"""psycopg2."""

from __future__ import annotations

import datetime
import io
from functools import partial
from typing import TYPE_CHECKING, Any

from . import plain, postgresql, postgresql_keyed
from .postgresql_text import array, hstore, range_, record
from .sent import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy.engine import Connection, Dialect


class _Driver:
    """How psycopg2 takes COPY data and text."""

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
        # Of several statements in one message psycopg2 shows the last one's answer only.
        cursor.execute("; ".join((*begin, sql)))
        answer = Answer.of(cursor)
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
        answers = []
        for sql in statements:
            cursor.execute("; ".join((*begin, sql)))
            answers.append(Answer.of(cursor))
            begin = ()
        if end:
            cursor.execute(end)
        return answers

    def copy(self, cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
        cursor.copy_expert(sql, _Pieces(pieces))
        count: int = cursor.rowcount
        return count

    def in_transaction(self, connection: Any) -> bool:
        from psycopg2.extensions import TRANSACTION_STATUS_INTRANS

        status = connection.info.transaction_status
        return not connection.autocommit or status == TRANSACTION_STATUS_INTRANS


class _Pieces(io.RawIOBase):
    """COPY data as the file that ``copy_expert`` reads, piece by piece."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def read(self, size: int = -1) -> bytes:
        # psycopg2 takes what it is given, whatever size it asked for.
        return next(self._pieces, b"")


_DRIVER = _Driver()

#: ``keyed`` undoes by itself what it did.
UNDOES_ITSELF = True

example_sql = postgresql_keyed.example_sql
all_or_nothing = partial(postgresql.all_or_nothing, driver=_DRIVER)
foresee = partial(postgresql.foresee, driver=_DRIVER)
native = partial(postgresql.insert, driver=_DRIVER)
keyed = partial(postgresql_keyed.keyed, driver=_DRIVER)
executemany = partial(plain.executemany, all_or_nothing=all_or_nothing)


def facts(connection: Connection) -> dict[str, str]:
    """What closes a road on this connection, by name, with the reason in words."""
    from psycopg2.extensions import get_wait_callback

    if get_wait_callback() is not None:
        return {"no COPY": "psycopg2 is in green mode, which has no COPY"}
    driver: Any = connection.connection.driver_connection
    if driver.encoding != "UTF8":
        return {"no COPY": "the connection's client_encoding is not UTF8"}
    return {}


def adapt(dialect: Dialect) -> Callable[[Any], Any]:
    """The text form of objects that native code does not know."""
    return _adapt


def _adapt(value: Any) -> Any:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import Binary
    from psycopg2.extras import Range

    if isinstance(value, datetime.time) and value.tzinfo is not None:
        return value.isoformat()
    if (exact := postgresql.exact_class(value)) is not None:
        return exact
    if isinstance(value, Binary):
        return bytes(value.adapted)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, datetime.timedelta):
        return postgresql.interval(value)
    if isinstance(value, Range):
        return range_(value)
    if isinstance(value, list):
        return array(value, _adapt)
    if isinstance(value, tuple):
        return record(value, _adapt)
    if isinstance(value, dict):
        return hstore(value)
    raise ProgrammingError(f"can't adapt type {type(value).__name__!r}")
