"""psycopg 3's asynchronous connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sqlalchemy.util import await_only

from . import plain, postgresql, postgresql_keyed, psycopg

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection

    from .._native import Slice, Source
    from ..orm.keyed import KeyedPlan
    from ..orm.mapping import InsertPlan


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
    ) -> postgresql.Answer:
        text = "; ".join(filter(None, (*begin, sql, end)))
        return await_only(_execute(cursor._cursor, text))[len(begin)]

    def execute_each(
        self,
        cursor: Any,
        statements: Sequence[str],
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> list[postgresql.Answer]:
        text = "; ".join(filter(None, (*begin, *statements, end)))
        answers = await_only(_execute(cursor._cursor, text))
        return answers[len(begin) : len(begin) + len(statements)]

    def copy(self, cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
        return await_only(_copy(cursor._cursor, sql, pieces))

    def in_transaction(self, connection: Any) -> bool:
        return psycopg.in_transaction(connection)


async def _execute(cursor: Any, text: str) -> list[postgresql.Answer]:
    """The answers to the statements of a text."""
    await cursor.execute(text, prepare=False)
    answers = []
    there = True
    while there:
        codes = psycopg.type_codes(cursor)
        rows = await cursor.fetchall() if codes else []
        answers.append(postgresql.Answer(cursor.rowcount, rows, codes))
        there = cursor.nextset()
    return answers


async def _copy(cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
    async with cursor.copy(sql) as copy:
        for piece in pieces:
            await copy.write(piece)
            # What the socket takes at once is no reason for psycopg to wait.
            await asyncio.sleep(0)
    count: int = cursor.rowcount
    return count


_DRIVER = _Driver()

#: ``keyed`` undoes by itself what it did.
UNDOES_ITSELF = True

facts = psycopg.facts
adapt = psycopg.adapt
example_sql = psycopg.example_sql


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
