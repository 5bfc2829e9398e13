"""Whose transaction a call runs in: the target says it, and nothing else does."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import delete, exc, insert, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session, scoped_session

from .orm.mapping import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Mapper

Target: TypeAlias = "Session | scoped_session[Any] | Connection | Engine"


@dataclass(frozen=True)
class Held:
    """A connection for the time of a call.

    Attributes
    ----------
    connection
        The connection of the target's transaction.
    session
        The Session that returned entities join, if the target is one.
    """

    connection: Connection
    session: Session | None


#: What a Session's own ``get_bind`` may look at.
_STATEMENTS: dict[str, Any] = {
    "insert": insert,
    "upsert": insert,
    "update": update,
    "delete": delete,
}


@contextmanager
def hold(target: Target, mapper: Mapper[Any], verb: str = "insert") -> Iterator[Held]:
    """The connection on which a call to ``target`` runs.

    A Session's pending changes are flushed first, as ``session.execute`` does. An Engine gives a
    connection of its pool with a transaction of its own, committed at the end.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        The target is nothing that can be written to.
    sqlalchemy.exc.InvalidRequestError
        The Session is closed or its transaction can't be used.
    NotImplementedError
        The Session is sharded.
    """
    if isinstance(target, scoped_session):
        target = target()
    if isinstance(target, Session):
        if target.connection_callable is not None:
            raise NotImplementedError("a sharded Session has no one connection for all rows")
        target._autoflush()
        connection = target.connection(
            bind_arguments={"mapper": mapper, "clause": _STATEMENTS[verb](table_of(mapper))}
        )
        yield Held(connection, target)
    elif isinstance(target, Connection):
        yield Held(target, None)
    elif isinstance(target, Engine):
        with target.begin() as connection:
            yield Held(connection, None)
    else:
        raise exc.ArgumentError(_what_is_wrong(target))


def _what_is_wrong(target: Any) -> str:
    name = type(target).__name__
    if name in {"AsyncSession", "AsyncConnection", "AsyncEngine", "async_scoped_session"}:
        return f"{name} has async methods; its sync verbs run inside `await target.run_sync(...)`"
    if name == "sessionmaker":
        return "a sessionmaker makes Sessions: call it, and pass the Session"
    return f"a Session, Connection or Engine is expected as the target, got {target!r}"
