"""What a Session has in memory, after rows were changed beside it."""

from __future__ import annotations

import unicodedata
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm.attributes import instance_state

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from sqlalchemy import Connection
    from sqlalchemy.orm import InstanceState, Mapper, Session

#: How many keys a question has.
_ASKED = 500


def expire(
    session: Session,
    mapper: Mapper[Any],
    given: Mapping[tuple[Any, ...], Collection[str]] | None,
    changed: Collection[str],
) -> None:
    """Has objects of the class load what may have changed when it is asked for next.

    What the program changed in an object and has not flushed stays, unless the call gave another
    value for it.

    Parameters
    ----------
    session
        The Session of the call.
    mapper
        The mapper of the class.
    given
        What the call gave, as far as that is known: primary key -> names of attributes.
    changed
        Names of the attributes that the call may have changed in any row.
    """
    names = {*changed, *_computed(mapper, changed)}
    is_meant = _finder(given)
    for state in _states(session, mapper):
        key = tuple(state.identity or ())
        if not is_meant(key):
            continue
        own = given.get(key, ()) if given is not None else ()
        unflushed = state.committed_state.keys() - own
        expired = {name for name in names if name in state.manager} - unflushed
        composites = {
            composite.key
            for composite in state.mapper.composites
            if any(part.key in expired for part in composite.props)
        }
        state._expire_attributes(state.dict, [*expired, *composites])


def delete(
    session: Session,
    mapper: Mapper[Any],
    keys: Collection[tuple[Any, ...]],
    connection: Connection,
) -> None:
    """Has objects whose rows were deleted leave the Session, as its own delete does."""
    given = dict.fromkeys(keys, ())
    is_meant = _finder(given)
    meant = {}
    for state in _states(session, mapper):
        key = tuple(state.identity or ())
        if is_meant(key):
            meant[key] = state
    # Another key may have been equal to the database, so it has the last word.
    there = set(_existing(connection, mapper, [key for key in meant if key not in given]))
    gone = [state for key, state in meant.items() if key not in there]
    session._remove_newly_deleted(gone)


def _states(session: Session, mapper: Mapper[Any]) -> Iterator[InstanceState[Any]]:
    """Objects of the class; of related classes too, which may stand for the same rows."""
    for item in session.identity_map.values():
        state = instance_state(item)
        if state.mapper.common_parent(mapper):
            yield state


def _finder(keys: Collection[tuple[Any, ...]] | None) -> Callable[[tuple[Any, ...]], bool]:
    """Tells whether an object's key may be one of these to the database.

    Texts are compared as the loosest collation would; keys of other types than the object's may
    mean any object.
    """
    if not keys:
        return lambda key: keys is None
    loose = set(map(loosened, keys))
    kinds = {tuple(map(type, key)) for key in keys}
    return lambda key: kinds != {tuple(map(type, key))} or loosened(key) in loose


def loosened(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """What is equal for keys that any collation would hold for equal."""
    return tuple(map(_loosened, key))


def _loosened(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    bare = (c for c in unicodedata.normalize("NFKD", value) if not unicodedata.combining(c))
    return "".join(bare).casefold().rstrip()


def _existing(
    connection: Connection, mapper: Mapper[Any], keys: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[Any, ...]]:
    """Those keys of which there are rows."""
    rest = iter(keys)
    while some := list(islice(rest, _ASKED)):
        columns = mapper.primary_key
        rows = connection.execute(select(*columns).where(tuple_(*columns).in_(some)))
        yield from map(tuple, rows)


def _computed(mapper: Mapper[Any], changed: Collection[str]) -> Iterator[str]:
    """Attributes that the database makes of others."""
    for attribute in mapper.column_attrs:
        column: Any = attribute.columns[0]
        if getattr(column, "table", None) is None or (
            getattr(column, "computed", None) is not None
            or getattr(column, "server_onupdate", None) is not None
        ):
            yield attribute.key
