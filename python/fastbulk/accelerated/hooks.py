"""Where SQLAlchemy's own code meets ours.

The functions that are replaced are those through which every bulk call goes and no other
statement: a program that runs none pays nothing.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.orm import bulk_persistence
from sqlalchemy.sql import dml

from .core import CoreInsert
from .insert import Insert
from .refusal import FallThrough
from .update import Update

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Mapper, Session

    from .counts import Counts
    from .targets import Means


class _Handle(NamedTuple):
    means: Means
    counts: Counts


_Insert: Any = dml.Insert

_handles: tuple[_Handle, ...] = ()
_bulk_insert = bulk_persistence._bulk_insert
_bulk_update = bulk_persistence._bulk_update
_execute_on_connection = dml.Insert._execute_on_connection


def add(means: Means, counts: Counts) -> None:
    """Begins to look at the calls that are meant."""
    global _handles
    _handles = (*_handles, _Handle(means, counts))
    bulk_persistence._bulk_insert = partial(_persist, Insert, _bulk_insert)
    bulk_persistence._bulk_update = partial(_persist, Update, _bulk_update)
    _Insert._execute_on_connection = _execute


def remove(counts: Counts) -> None:
    """Ends it."""
    global _handles
    _handles = tuple(handle for handle in _handles if handle.counts is not counts)
    if not _handles:
        bulk_persistence._bulk_insert = _bulk_insert
        bulk_persistence._bulk_update = _bulk_update
        _Insert._execute_on_connection = _execute_on_connection


def _counts_of(session: Session | None, connection: Connection) -> Counts | None:
    """Where a call is counted, if it is meant."""
    found = (handle.counts for handle in _handles if handle.means(session, connection))
    return next(found, None)


def _persist(
    ours: type[Insert | Update],
    theirs: Callable[..., Any],
    mapper: Mapper[Any],
    mappings: Any,
    session_transaction: Any,
    **arguments: Any,
) -> Any:
    """Either of the functions that insert or update rows for a Session."""
    session = session_transaction.session
    counts = None
    if session.connection_callable is None:
        connection = session_transaction.connection(mapper.base_mapper)
        counts = _counts_of(session, connection)
    if counts is None:
        return theirs(mapper, mappings, session_transaction, **arguments)
    mappings = list(mappings)
    call = ours(mapper, mappings, session, connection, **arguments)
    try:
        result = call.run()
    except FallThrough as refused:
        left = _Left(refused)
    else:
        counts.taken(call.kind)
        return result
    token = _within.set(left)
    try:
        return theirs(mapper, mappings, session_transaction, **arguments)
    finally:
        _within.reset(token)
        if left.was_taken:
            counts.taken(f"{call.kind}, of rows that SQLAlchemy made")
        else:
            counts.fallen_through(call.kind, left.refused)


@dataclass
class _Left:
    """A Session's call that is left to SQLAlchemy, which makes inserts of many rows of it."""

    #: Why, or why one of those inserts.
    refused: FallThrough
    was_taken: bool = False


_within: ContextVar[_Left | None] = ContextVar("fastbulk_within", default=None)


def _execute(
    statement: dml.Insert, connection: Connection, rows: Any, execution_options: Any
) -> Any:
    """An INSERT on a Connection."""
    if len(rows) > 1:
        within = _within.get()
        if within is not None:
            result = _take_part(within, CoreInsert(statement, connection, rows, execution_options))
        # A flush brings a cache of its own.
        elif "compiled_cache" not in execution_options:
            result = _take(CoreInsert(statement, connection, rows, execution_options, by_orm=False))
        else:
            result = None
        if result is not None:
            return result
    return _execute_on_connection(statement, connection, rows, execution_options)


def _take(call: CoreInsert) -> Any:
    """The result of a call on a Connection, or None if SQLAlchemy has to do it."""
    counts = _counts_of(None, call.connection)
    if counts is None:
        return None
    try:
        result = call.run()
    except FallThrough as refused:
        counts.fallen_through(call.kind, refused)
        return None
    counts.taken(call.kind)
    return result


def _take_part(within: _Left, call: CoreInsert) -> Any:
    """The same for an insert that SQLAlchemy made of a Session's call."""
    if within.refused.failed:
        return None
    try:
        result = call.run()
    except FallThrough as refused:
        within.refused, within.was_taken = refused, False
        return None
    within.was_taken = True
    return result
