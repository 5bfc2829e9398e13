"""pg8000."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from . import plain, postgresql, postgresql_keyed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection, Dialect

    from .._native import Plan, Slice, Source
    from ..orm.keyed import KeyedPlan
    from ..orm.mapping import InsertPlan


class _Driver:
    """How pg8000 takes COPY data and text."""

    shows_every_answer = False

    def execute(
        self,
        cursor: Any,
        sql: str,
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> postgresql.Answer:
        # Of several statements in one message pg8000 mixes the answers.
        for text in begin:
            cursor.execute(text)
        cursor.execute(sql)
        answer = postgresql.Answer.of(cursor)
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
    ) -> list[postgresql.Answer]:
        for text in begin:
            cursor.execute(text)
        answers = []
        for sql in statements:
            cursor.execute(sql)
            answers.append(postgresql.Answer.of(cursor))
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

#: ``keyed`` undoes by itself what it did.
UNDOES_ITSELF = True


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


def example_sql(plan: Plan) -> str:
    """The statement for one row that gives all columns."""
    return plain.example_sql(plan)


def all_or_nothing(connection: Connection) -> AbstractContextManager[None]:
    """Undoes what was sent inside if an error ends it; the transaction stays the caller's."""
    return postgresql.all_or_nothing(connection, _DRIVER)


def foresee(connection: Connection, plan: InsertPlan, notes: dict[str, str]) -> None:
    """Notes what a call would send; see :func:`fastbulk.carriers.postgresql.foresee`."""
    postgresql.foresee(connection, plan, _DRIVER, notes)


def native(
    connection: Connection, plan: InsertPlan, source: Source, notes: dict[str, str]
) -> Iterator[postgresql.Sent | postgresql.Keyed]:
    """Sends all rows natively; see :func:`fastbulk.carriers.postgresql.insert`."""
    return postgresql.insert(connection, plan, source, _DRIVER, notes)


def keyed(
    connection: Connection, plan: KeyedPlan, part: Slice, skipped: Sequence[int]
) -> postgresql_keyed.Done:
    """Updates, upserts or deletes; see :func:`fastbulk.carriers.postgresql_keyed.keyed`."""
    return postgresql_keyed.keyed(connection, plan, part, skipped, _DRIVER)


def executemany(
    connection: Connection, plan: InsertPlan, source: Source, notes: dict[str, str]
) -> Iterator[plain.Sent]:
    """Sends all rows by the driver's own ``executemany``; yields each statement's outcome."""
    return plain.executemany(connection, plan, source, notes, all_or_nothing)
