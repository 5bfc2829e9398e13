"""Where SQLAlchemy's own code meets ours.

The functions that are replaced are those through which every bulk call goes and no other
statement: a program that runs none pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.orm import bulk_persistence

from .insert import Insert
from .refusal import FallThrough

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Mapper, Session

    from .counts import Counts
    from .targets import Means


class _Handle(NamedTuple):
    means: Means
    counts: Counts


_handles: tuple[_Handle, ...] = ()
_bulk_insert = bulk_persistence._bulk_insert


def add(means: Means, counts: Counts) -> None:
    """Begins to look at the calls that are meant."""
    global _handles
    _handles = (*_handles, _Handle(means, counts))
    bulk_persistence._bulk_insert = _insert


def remove(counts: Counts) -> None:
    """Ends it."""
    global _handles
    _handles = tuple(handle for handle in _handles if handle.counts is not counts)
    if not _handles:
        bulk_persistence._bulk_insert = _bulk_insert


def _counts_of(session: Session | None, connection: Connection) -> Counts | None:
    """Where a call is counted, if it is meant."""
    found = (handle.counts for handle in _handles if handle.means(session, connection))
    return next(found, None)


def _insert(mapper: Mapper[Any], mappings: Any, session_transaction: Any, **arguments: Any) -> Any:
    session = session_transaction.session
    if session.connection_callable is None:
        connection = session_transaction.connection(mapper.base_mapper)
        counts = _counts_of(session, connection)
        if counts is not None:
            mappings = list(mappings)
            call = Insert(mapper, mappings, session, connection, **arguments)
            try:
                result = call.run()
            except FallThrough as refused:
                counts.fallen_through(call.kind, refused)
            else:
                counts.taken(call.kind)
                return result
    return _bulk_insert(mapper, mappings, session_transaction, **arguments)
