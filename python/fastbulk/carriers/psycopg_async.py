"""psycopg 3's asynchronous connection."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.util import await_only

from . import plain, postgresql, postgresql_keyed, psycopg
from .adapted import in_turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .sent import Answer


class _Driver:
    """How psycopg takes COPY data and text; SQLAlchemy's cursor has the driver's within."""

    shows_every_answer = True

    def execute(
        self,
        cursor: Any,
        sql: str,
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> Answer:
        text = "; ".join(filter(None, (*begin, sql, end)))
        return await_only(_execute(cursor._cursor, text))[len(begin)]

    @property
    def execute_arrays(self) -> postgresql.ExecuteArrays | None:
        return _execute_arrays if psycopg.has_raw_cursors() else None

    def execute_each(
        self,
        cursor: Any,
        statements: Sequence[str],
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> list[Answer]:
        text = "; ".join(filter(None, (*begin, *statements, end)))
        answers = await_only(_execute(cursor._cursor, text))
        return answers[len(begin) : len(begin) + len(statements)]

    def copy(self, cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
        return await_only(_copy(cursor._cursor, sql, pieces))

    def in_transaction(self, connection: Any) -> bool:
        return psycopg.in_transaction(connection)


async def _execute(cursor: Any, text: str) -> list[Answer]:
    """The answers to the statements of a text."""
    await cursor.execute(text, prepare=False)
    answers = []
    there = True
    while there:
        answers.append(psycopg.answer(cursor))
        there = cursor.nextset()
    return answers


def _execute_arrays(
    cursor: Any, sql: str, arrays: Sequence[bytes], begin: postgresql.Texts, end: str
) -> Answer:
    return await_only(_send_arrays(cursor._cursor, sql, arrays, begin, end))


async def _send_arrays(
    cursor: Any, sql: str, arrays: Sequence[bytes], begin: postgresql.Texts, end: str
) -> Answer:
    from psycopg import AsyncRawCursor

    async with psycopg.raw(AsyncRawCursor, cursor) as own:
        async with psycopg.together(cursor.connection) if end else nullcontext():
            for text in begin:
                await cursor.execute(text, prepare=False)
            await own.execute(sql, list(map(psycopg.Array, arrays)), prepare=None if end else False)
            if end:
                await cursor.execute(end, prepare=False)
        return psycopg.answer(own)


async def _copy(cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
    try:
        async with cursor.copy(sql) as copy:
            async for piece in in_turns(pieces):
                await copy.write(piece)
    except asyncio.CancelledError as cancelled:
        await _end_copy(cursor, cancelled)
        raise
    count: int = cursor.rowcount
    return count


async def _end_copy(cursor: Any, cancelled: asyncio.CancelledError) -> None:
    """Ends a COPY that psycopg leaves open where its task is cancelled while it begins."""
    from psycopg import Error
    from psycopg.copy import AsyncLibpqWriter
    from psycopg.pq import TransactionStatus

    if cursor.connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
        with suppress(Error):
            await AsyncLibpqWriter(cursor).finish(cancelled)


_DRIVER = _Driver()

NO_COUNT_OF = psycopg.NO_COUNT_OF

facts = psycopg.facts
adapt = psycopg.adapt
example_sql = postgresql_keyed.example_sql
all_or_nothing = partial(postgresql.all_or_nothing, driver=_DRIVER)
foresee = partial(postgresql.foresee, driver=_DRIVER)
native = partial(postgresql.insert, driver=_DRIVER)
keyed = partial(postgresql_keyed.keyed, driver=_DRIVER)
executemany = partial(plain.executemany, all_or_nothing=all_or_nothing)
