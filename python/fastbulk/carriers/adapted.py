"""What the carriers of asynchronous drivers share: waiting, in code that SQLAlchemy runs in a
greenlet of its own.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sqlalchemy.util import await_only, greenlet_spawn

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Iterator,
    )

    from sqlalchemy.engine import Connection, Dialect

    _T = TypeVar("_T")
    #: Has the server end the statement that runs on the connection.
    Cancel: TypeAlias = Callable[[Connection], None]

#: So many rows of an asynchronous iterable are awaited at a time: changing to the event loop and
#: back costs as much as reading some rows does.
_ROWS = 64

#: Seconds after which a statement of a cancelled task is ended by force.
_SOON = 0.05
#: Seconds after which it is tried again: what comes before the statement ends nothing.
_AGAIN = 1


def pause_of(connection: Connection) -> Callable[[], None] | None:
    """What lets the event loop run for a moment, if the connection's driver lives in one."""
    return breathe if connection.dialect.is_async else None


def sleep_of(dialect: Dialect) -> Callable[[float], None]:
    """What waits some seconds, in which an event loop runs if the dialect's driver lives in one."""
    return _sleep if dialect.is_async else time.sleep


def _sleep(seconds: float) -> None:
    await_only(asyncio.sleep(seconds))


def breathe() -> None:
    """Lets the event loop run for a moment."""
    await_only(asyncio.sleep(0))


async def in_turns(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """The pieces, as they are made in a greenlet, so that the loop runs while and after one is."""
    iterator = iter(pieces)
    while (piece := await greenlet_spawn(next, iterator, None)) is not None:
        yield piece
        # What the socket takes at once is no reason for a driver to wait.
        await asyncio.sleep(0)


def to_its_end(connection: Connection, work: Callable[[], _T], cancel: Cancel) -> _T:
    """Does work that a cancelled task must not leave in the middle.

    Drivers that give up their connection when their task is cancelled leave the server at work.
    Here the end of the statement is awaited, which ``cancel(connection)`` brings about if it does
    not come soon. The ``CancelledError`` has no cause where the statement was done all the same.
    """
    running = asyncio.ensure_future(greenlet_spawn(work))
    try:
        return await_only(asyncio.shield(running))
    except asyncio.CancelledError as cancelled:
        try:
            await_only(asyncio.wait([running], timeout=_SOON))
            await_only(_ended(running, partial(greenlet_spawn, cancel, connection)))
        except BaseException:
            running.cancel()
            connection.invalidate()
            raise
        raise cancelled from running.exception()


def in_thread(work: Callable[[], _T], cancel: Callable[[], None]) -> _T:
    """Does on a thread what would block the event loop.

    Where the task is cancelled ``cancel()`` ends the work, and its end is awaited.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await_only(asyncio.shield(running))
    except asyncio.CancelledError as cancelled:
        await_only(_ended(running, partial(asyncio.to_thread, cancel)))
        raise cancelled from running.exception()


async def _ended(running: asyncio.Future[Any], cancel: Callable[[], Awaitable[None]]) -> None:
    while not running.done():
        await cancel()
        await asyncio.wait([running], timeout=_AGAIN)


def beside(connection: Connection, work: Callable[..., _T], *arguments: Any) -> _T:
    """Does native work that needs no GIL: on a thread where an event loop would wait for it."""
    if not connection.dialect.is_async:
        return work(*arguments)
    return await_only(asyncio.to_thread(work, *arguments))


def pull(rows: AsyncIterable[Any]) -> Iterator[Any]:
    """The rows of an asynchronous iterable, as an iterator for the code in the greenlet."""
    iterator = aiter(rows)
    while True:
        some, error = await_only(_next(iterator))
        yield from some
        if error is not None:
            raise error
        if len(some) < _ROWS:
            return


async def _next(iterator: AsyncIterator[Any]) -> tuple[list[Any], Exception | None]:
    """The next rows, and what was raised after them."""
    rows: list[Any] = []
    try:
        async for row in iterator:
            rows.append(row)
            if len(rows) == _ROWS:
                break
    except Exception as error:
        return rows, error
    return rows, None
