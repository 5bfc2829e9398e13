"""Whose calls are meant by a target of ``accelerate``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Whether a call on that Session (None: on a Connection itself) and Connection is meant.
    Means: TypeAlias = Callable[[Session | None, Connection], bool]


def meant_by(target: Any) -> Means:
    """Whether a call is one of the target's.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        The target is nothing that could be accelerated.
    """
    if target is None:
        return lambda session, connection: True
    if isinstance(target, sessionmaker):
        target = target.class_
    if isinstance(target, type) and issubclass(target, Session):
        return lambda session, connection: isinstance(session, target)
    if isinstance(target, scoped_session):
        return _of_registry(target)
    if isinstance(target, Session):
        return lambda session, connection: session is target
    if isinstance(target, Engine):
        return lambda session, connection: connection.engine.pool is target.pool
    if isinstance(target, Connection):
        return lambda session, connection: connection is target
    means = _asynchronous(target)
    if means is None:
        raise exc.ArgumentError(
            "accelerate takes a Session class, sessionmaker, scoped_session, Session, Engine or "
            f"Connection, got {target!r}"
        )
    return means


def _of_registry(target: scoped_session[Any]) -> Means:
    factory = target.session_factory
    if isinstance(factory, (type, sessionmaker)):
        return meant_by(factory)
    return lambda session, connection: target.registry.has() and target.registry() is session


def _asynchronous(target: Any) -> Means | None:
    """The twins of SQLAlchemy's asyncio; who has one has imported it."""
    asyncio = sys.modules.get("sqlalchemy.ext.asyncio")
    if asyncio is None:
        return None
    if isinstance(target, asyncio.async_sessionmaker):
        target = target.class_
    if isinstance(target, asyncio.async_scoped_session):
        factory = target.session_factory
        return _asynchronous(factory)
    if isinstance(target, type) and issubclass(target, asyncio.AsyncSession):
        return lambda session, connection: (
            session is not None and isinstance(asyncio.async_session(session), target)
        )
    if isinstance(target, asyncio.AsyncSession):
        return meant_by(target.sync_session)
    if isinstance(target, asyncio.AsyncEngine):
        return meant_by(target.sync_engine)
    if isinstance(target, asyncio.AsyncConnection):
        return meant_by(target.sync_connection)
    return None
