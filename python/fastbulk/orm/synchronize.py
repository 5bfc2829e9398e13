"""What a Session has in memory, after rows were changed beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.orm.attributes import instance_state

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy.orm import Mapper, Session


def expire(
    session: Session, mapper: Mapper[Any], keys: Collection[Any] | None, changed: frozenset[str]
) -> None:
    """Has objects of the class load what may have changed when it is asked for next.

    Parameters
    ----------
    session
        The Session of the call.
    mapper
        The mapper of the class.
    keys
        Primary keys of the changed rows as they were given, or None where these aren't known.
    changed
        Names of the attributes that the call may have changed.
    """
    names = [*changed, *_computed(mapper, changed)]
    for item in _with_keys(_objects(session, mapper), keys):
        state = instance_state(item)
        state._expire_attributes(state.dict, [name for name in names if name in state.manager])


def delete(session: Session, mapper: Mapper[Any], keys: Collection[Any]) -> None:
    """Has objects whose rows were deleted leave the Session, as its own delete does."""
    gone = _with_keys(_objects(session, mapper), keys)
    session._remove_newly_deleted([instance_state(item) for item in gone])


def _objects(session: Session, mapper: Mapper[Any]) -> list[Any]:
    return [item for item in session.identity_map.values() if isinstance(item, mapper.class_)]


def _with_keys(objects: Iterable[Any], keys: Collection[Any] | None) -> Iterator[Any]:
    """The objects with these keys; all of them where keys of other types are among them, for
    which the database has its own idea of what is equal.
    """
    objects = list(objects)
    if not objects or keys is None:
        yield from objects
        return
    given = {key if isinstance(key, tuple) else (key,) for key in keys}
    kinds = {tuple(map(type, key)) for key in given}
    for item in objects:
        key = instance_state(item).key
        identity = () if key is None else tuple(key[1])
        if kinds != {tuple(map(type, identity))} or identity in given:
            yield item


def _computed(mapper: Mapper[Any], changed: frozenset[str]) -> Iterator[str]:
    """Attributes that the database makes of others, and composites of changed ones."""
    for attribute in mapper.column_attrs:
        column: Any = attribute.columns[0]
        if getattr(column, "table", None) is None or (
            getattr(column, "computed", None) is not None
            or getattr(column, "server_onupdate", None) is not None
        ):
            yield attribute.key
    for composite in mapper.composites:
        if any(part.key in changed for part in composite.props):
            yield composite.key
