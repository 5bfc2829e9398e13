"""pg8000."""

from __future__ import annotations

import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from . import plain, postgresql, postgresql_keyed
from .sent import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy.engine import Connection, Dialect


class _Driver:
    """How pg8000 takes COPY data and text."""

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
        # Of several statements in one message pg8000 mixes the answers.
        for text in begin:
            cursor.execute(text)
        cursor.execute(sql)
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
        for text in begin:
            cursor.execute(text)
        answers = []
        for sql in statements:
            cursor.execute(sql)
            answers.append(Answer.of(cursor))
        if end:
            cursor.execute(end)
        return answers

    def copy(self, cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
        cursor.execute(sql, stream=_to_its_end(pieces))
        count: int = cursor.rowcount
        return count

    def in_transaction(self, connection: Any) -> bool:
        return not connection.autocommit or connection._in_transaction


#: A row of minus two fields.
_NO_ROW = b"\xff\xfe"


def _to_its_end(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """COPY data that the server refuses where they can't be had.

    pg8000 leaves the COPY open if its stream raises; the caller knows of the error.
    """
    try:
        yield from pieces
    except BaseException:
        yield _NO_ROW


_DRIVER = _Driver()

example_sql = postgresql_keyed.example_sql
all_or_nothing = partial(postgresql.all_or_nothing, driver=_DRIVER)
foresee = partial(postgresql.foresee, driver=_DRIVER)
native = partial(postgresql.insert, driver=_DRIVER)
keyed = partial(postgresql_keyed.keyed, driver=_DRIVER)
executemany = partial(plain.executemany, all_or_nothing=all_or_nothing)


def facts(connection: Connection) -> dict[str, str]:
    """What closes a road on this connection, by name, with the reason in words."""
    driver: Any = connection.connection.driver_connection
    if driver.parameter_statuses["client_encoding"].upper() not in {"UTF8", "UNICODE"}:
        return {"no COPY": "the connection's client_encoding is not UTF8"}
    return {}


def adapt(dialect: Dialect) -> Callable[[Any], Any]:
    """The text form of objects that native code does not know."""
    return _adapt


def _adapt(value: Any) -> Any:
    from pg8000.converters import PY_TYPES, make_param  # type: ignore[import-untyped]

    if isinstance(value, (datetime.time, datetime.datetime)) and value.tzinfo is not None:
        # A column without a zone gets UTC's clock.
        return make_param(PY_TYPES, value)
    if (exact := postgresql.exact_class(value)) is not None:
        return exact
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return make_param(PY_TYPES, value)
