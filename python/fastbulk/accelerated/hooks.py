"""Where SQLAlchemy's own code meets ours.

The functions that are replaced are those through which every bulk call goes and no other
statement: a program that runs none pays nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.orm import bulk_persistence
from sqlalchemy.sql import dml

from ..orm.mapping import tables_of
from .core import CoreInsert
from .cursor import listen
from .insert import Insert
from .left import Left, now, within
from .refusal import FallThrough
from .update import Update
from .watched import why_never

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
    return _run(
        call,
        counts,
        lambda refused: Left(refused, tables_of(mapper), len(mappings), mapper),
        partial(theirs, mapper, mappings, session_transaction, **arguments),
    )


def _run(
    call: Insert | Update | CoreInsert,
    counts: Counts,
    left_for: Callable[[FallThrough], Left],
    theirs: Callable[[], Any],
) -> Any:
    """What the call gives; or SQLAlchemy's own function, of whose statements some may be sent
    natively.
    """
    try:
        result = call.run()
    except FallThrough as refused:
        left = left_for(refused)
    else:
        counts.taken(call.kind)
        return result
    left.native = not left.is_small and why_never(call.connection) is None
    if left.native:
        listen(call.connection.dialect)
    elif left.is_small and not left.refused.failed:
        left.refused = FallThrough("few rows", str(left.refused))
    try:
        with within(left):
            return theirs()
    finally:
        if left.was_taken:
            counts.taken(f"{call.kind}, of rows that SQLAlchemy made")
        else:
            counts.fallen_through(call.kind, left.refused)


def _execute(
    statement: dml.Insert, connection: Connection, rows: Any, execution_options: Any
) -> Any:
    """An INSERT on a Connection."""
    arguments = statement, connection, rows, execution_options
    left = now()
    if left is not None:
        return _take_part(left, *arguments)
    # A flush brings a cache of its own.
    if len(rows) < 2 or "compiled_cache" in execution_options:
        return _execute_on_connection(*arguments)
    counts = _counts_of(None, connection)
    if counts is None:
        return _execute_on_connection(*arguments)
    return _run(
        CoreInsert(*arguments, by_orm=False),
        counts,
        lambda refused: Left(refused, (statement.table,), len(rows)),
        partial(_execute_on_connection, *arguments),
    )


def _take_part(left: Left, *arguments: Any) -> Any:
    """An insert that SQLAlchemy made of a Session's call."""
    call = CoreInsert(*arguments)
    if len(call.rows) > 1 and left.native and not left.refused.failed:
        try:
            with within(None):
                result = call.run()
        except FallThrough as refused:
            # Its cursor comes by yet.
            if not left.missed:
                left.refused = refused
        else:
            left.taken += 1
            return result
    return _execute_on_connection(*arguments)
