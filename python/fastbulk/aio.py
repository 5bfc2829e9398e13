"""The verbs, awaited: on ``AsyncSession``, ``async_scoped_session``, ``AsyncConnection`` and
``AsyncEngine``.

``await fastbulk.aio.insert(session, User, rows)`` is ``fastbulk.insert``, run as SQLAlchemy runs
its own code on an asynchronous driver: it awaits the database, and lets the event loop run between
two slices of rows. Cancelling the task undoes the call as an error would.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, TypeAlias, TypeVar, cast

from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
)
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.util import greenlet_spawn

from . import verbs
from .carriers.adapted import pull

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    from .roads import Road

    _P = ParamSpec("_P")
    _R = TypeVar("_R")

    _Verb: TypeAlias = Callable[Concatenate[Any, type[Any], Iterable[Any], _P], _R]
    _Awaited: TypeAlias = Callable[
        Concatenate["AsyncTarget", type[Any], "Iterable[Any] | AsyncIterable[Any]", _P],
        Awaitable[_R],
    ]

__all__ = ["AsyncTarget", "delete", "explain", "insert", "update", "upsert"]

AsyncTarget: TypeAlias = "AsyncSession | async_scoped_session[Any] | AsyncConnection | AsyncEngine"

_DOC = """Awaits :func:`fastbulk.{name}` on an asynchronous target.

    The target is an ``AsyncSession``, ``async_scoped_session``, ``AsyncConnection`` or
    ``AsyncEngine``. Rows may be an asynchronous iterable, too; it is awaited while no statement is
    open. Python code that rows need (defaults, processors, ``progress=``) runs on the event loop's
    thread. Everything else is as there:

    {doc}"""


def _awaited(verb: _Verb[_P, _R]) -> _Awaited[_P, _R]:
    @wraps(verb)
    async def awaited(target: AsyncTarget, *arguments: Any, **named: Any) -> Any:
        given = map(_pulled, arguments)
        named = {name: _pulled(value) for name, value in named.items()}
        return await greenlet_spawn(partial(verb, _sync(target), *given, **named))

    awaited.__doc__ = _DOC.format(name=verb.__name__, doc=verb.__doc__)
    return cast("_Awaited[_P, _R]", awaited)


def _pulled(argument: Any) -> Any:
    """Asynchronous rows as an iterator; anything else as it is."""
    return pull(argument) if isinstance(argument, AsyncIterable) else argument


def _sync(target: Any) -> Session | Connection | Engine:
    """What the target stands for.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        The target is nothing asynchronous that can be written to.
    sqlalchemy.exc.InvalidRequestError
        The connection was not started.
    """
    if isinstance(target, async_scoped_session):
        target = target()
    if isinstance(target, AsyncSession):
        return target.sync_session
    if isinstance(target, AsyncConnection):
        return target._proxied
    if isinstance(target, AsyncEngine):
        return target.sync_engine
    if isinstance(target, (Session, scoped_session, Connection, Engine)):
        name = type(target).__name__
        raise exc.ArgumentError(f"{name} is not asynchronous: fastbulk's own verbs take it")
    raise exc.ArgumentError(
        f"an AsyncSession, AsyncConnection or AsyncEngine is expected as the target, got {target!r}"
    )


insert = _awaited(verbs.insert)
update = _awaited(verbs.update)
upsert = _awaited(verbs.upsert)
delete = _awaited(verbs.delete)
explain: _Awaited[..., Road] = _awaited(cast("Any", verbs.explain))
