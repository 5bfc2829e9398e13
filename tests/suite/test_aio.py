"""What only asynchronous verbs do: cancelling, asynchronous rows, targets.

Every test runs in a greenlet on a loop, as those of the suite do on asynchronous backends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import itertools
import os
import random
import re
import ssl
import sys
import time
from collections import Counter, UserDict
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
import pytest
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Enum,
    ForeignKey,
    Integer,
    Numeric,
    String,
    UniqueConstraint,
    event,
    exc,
    func,
    select,
)
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

import fastbulk
from fastbulk import aio
from fastbulk.carriers import mysql_async, own, tokio_postgres
from fastbulk.carriers.libpq import RefusedError
from fastbulk.carriers.own_asyncpg import settings
from oracle import BACKENDS, Oracle, model, place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

pytestmark = pytest.mark.asynchronous

#: More than one slice.
COUNT = 21_000


@pytest.fixture
def Thing(engine: Engine) -> Any:
    Thing = model(name=Column(String(50), unique=True), size=Column(Integer))
    Thing.metadata.create_all(engine)
    return Thing


def rows_of(count: int) -> list[dict[str, Any]]:
    return [{"name": str(i), "size": i} for i in range(count)]


async def stored(target: AsyncSession, Thing: Any) -> int:
    return await target.scalar(select(func.count()).select_from(Thing)) or 0


def test_every_target(engine: Engine, Thing: Any) -> None:
    asynchronous = AsyncEngine(engine)

    async def load() -> int:
        loaded = await aio.insert(asynchronous, Thing, rows_of(3))
        assert (loaded.rowcount, loaded.road.name) == (3, "native")
        async with asynchronous.begin() as connection:
            await aio.insert(connection, Thing, [{"name": "a"}])
        scoped = async_scoped_session(async_sessionmaker(asynchronous), asyncio.current_task)
        result = await aio.insert(scoped, Thing, [{"name": "b"}], returning=Thing)
        (thing,) = result.scalars()
        assert thing in scoped
        await scoped.commit()
        await scoped.remove()
        async with AsyncSession(asynchronous) as session:
            road = await aio.explain(session, Thing, [], verb="insert", returning=Thing.id)
            assert road.name == "native"
            return await stored(session, Thing)

    assert await_only(load()) == 5


def test_what_is_no_target(engine: Engine, Thing: Any) -> None:
    asynchronous = AsyncEngine(engine)
    unknown: Any
    for unknown, words in (
        (Session(engine), "not asynchronous"),
        (engine, "not asynchronous"),
        (3, "is expected as the target"),
    ):
        with pytest.raises(exc.ArgumentError, match=words):
            await_only(_coroutine(aio.insert(unknown, Thing, [{}])))
    with pytest.raises(exc.InvalidRequestError, match="not been started"):
        await_only(_coroutine(aio.insert(AsyncConnection(asynchronous), Thing, [{}])))


async def _coroutine(awaitable: Any) -> Any:
    return await awaitable


async def slowly(count: int) -> AsyncIterator[dict[str, Any]]:
    for i in range(count):
        if i % 1_000 == 0:
            await asyncio.sleep(0)
        yield {"name": str(i), "size": i}


def test_asynchronous_rows(engine: Engine, Thing: Any) -> None:
    async def load() -> list[int]:
        async with AsyncSession(AsyncEngine(engine)) as session:
            for count in (0, 1, 64, 65):
                result = await aio.insert(session, Thing, slowly(count))
                assert result.rowcount == count
                await session.rollback()
            by_name: Any = aio.insert
            await by_name(session, Thing, rows=slowly(COUNT))
            return list(await session.scalars(select(Thing.size).order_by(Thing.id)))

    assert await_only(load()) == list(range(COUNT))


def test_asynchronous_rows_that_ask_the_session(engine: Engine, Thing: Any) -> None:
    """No statement is open while they are awaited."""

    async def asking(session: AsyncSession) -> AsyncIterator[dict[str, Any]]:
        for i in range(COUNT):
            if i % 5_000 == 0:
                await session.scalar(select(func.count()).select_from(Thing))
            yield {"name": str(i)}

    async def load() -> int:
        async with AsyncSession(AsyncEngine(engine)) as session:
            await aio.insert(session, Thing, asking(session))
            return await stored(session, Thing)

    assert await_only(load()) == COUNT


def test_asynchronous_rows_that_raise(engine: Engine, Thing: Any) -> None:
    async def raising() -> AsyncIterator[dict[str, Any]]:
        async for row in slowly(COUNT):
            yield row
        raise LookupError("the rows are no more")

    async def load() -> int:
        async with AsyncSession(AsyncEngine(engine)) as session:
            with pytest.raises(LookupError, match="no more"):
                await aio.insert(session, Thing, raising())
            return await stored(session, Thing)

    assert await_only(load()) == 0


def test_the_loop_runs_between_slices(engine: Engine, Thing: Any) -> None:
    async def load() -> int:
        turns = 0
        loading = asyncio.ensure_future(_coroutine(aio.insert(AsyncEngine(engine), Thing, given())))
        while not loading.done():
            await asyncio.sleep(0)
            turns += 1
        await loading
        return turns

    def given() -> Iterator[dict[str, Any]]:
        yield from rows_of(COUNT)

    assert await_only(load()) > 3


def test_the_loop_runs_while_rows_with_keys_are_read(databases: Oracle, Thing: Any) -> None:
    """They are one slice."""
    if not databases.backend.has("delete"):
        return
    turns = 0
    read_at = set()

    class Key(UserDict[str, int]):
        def __getitem__(self, name: str) -> int:
            read_at.add(turns)
            return super().__getitem__(name)

    async def load() -> None:
        nonlocal turns
        keys = [Key(id=key) for key in range(COUNT)]
        deleting = aio.delete(AsyncEngine(databases.ours), Thing, keys)
        loading = asyncio.ensure_future(_coroutine(deleting))
        while not loading.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await loading).missing == list(range(COUNT))

    await_only(load())
    assert len(read_at) > COUNT // 20_000


def test_errors_say_the_row(engine: Engine, Thing: Any) -> None:
    async def load(count: int) -> Any:
        async with AsyncSession(AsyncEngine(engine)) as session:
            with pytest.raises(exc.IntegrityError) as caught:
                await aio.insert(session, Thing, [*rows_of(count), {"name": "1"}])
            assert await stored(session, Thing) == 0
            return caught.value

    for count in (3, 5_000):
        error = await_only(load(count))
        assert (error.row, error.column, error.value) == (count, "name", "1")


OWN = {
    "psycopg": "tokio-postgres",
    "asyncpg": "tokio-postgres",
    "aiomysql": "mysql_async",
    "asyncmy": "mysql_async",
}


def test_an_engine_has_a_connection_of_its_own(
    engine: Engine, Thing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.driver not in OWN:
        return
    monkeypatch.setattr(own, "FEW", -1)
    asynchronous = AsyncEngine(engine)

    async def load() -> None:
        result = await aio.insert(asynchronous, Thing, rows_of(3))
        assert (result.road.driver, result.rowcount) == (OWN[engine.driver], 3), result.road
        with pytest.raises(exc.IntegrityError) as caught:
            await aio.insert(asynchronous, Thing, rows_of(300))
        assert place(caught.value) == (0, "name", "0")
        several = await aio.insert(asynchronous, Thing, [{}], connections=2)
        assert "spread" in several.road.refused["own connection"]
        for end in (cancelled, timed_out):
            await end(aio.insert(asynchronous, Thing, endless()))
        async with AsyncSession(asynchronous) as session:
            assert await stored(session, Thing) == 4
            assert await running(session) == 0

    async def cancelled(call: Any) -> None:
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def timed_out(call: Any) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(call, 0.2)

    def endless() -> Iterator[dict[str, Any]]:
        for i in itertools.count():
            yield {"name": f"n{i}"}

    await_only(load())


async def running(session: AsyncSession) -> int:
    """How many statements that write are still at work on the server after some seconds."""
    name = session.get_bind().dialect.name
    if name == "sqlite":
        return 0
    if name == "postgresql":
        query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query {}"
    else:
        query = "SELECT count(*) FROM information_schema.processlist WHERE info {}"
    like = query.format("NOT LIKE 'SELECT count(*)%%'")
    connection = await session.connection()
    count = 1
    for _ in range(50):
        count = (await connection.exec_driver_sql(like)).scalar_one()
        if count == 0:
            break
        await asyncio.sleep(0.1)
    return count


def test_what_an_engine_gives_back_and_raises(databases: Oracle) -> None:
    """A connection of our own has the values and the errors of the driver in whose place it is."""
    if not databases.backend.own_connection:
        return
    Thing = model(
        name=Column(String(50), nullable=False),
        kind=Column(Enum("a", "b", name="kind"), server_default="b"),
        cents=Column(Numeric(8, 2)),
        paid=Column(Boolean),
        parent=Column(ForeignKey("thing.id")),
        args=(CheckConstraint("cents < 100", name="cheap"), UniqueConstraint("name")),
    )
    databases.create(Thing)
    rows = [{"name": f"n{i}", "cents": i / 8, "paid": i % 3 == 0} for i in range(100)]
    keys = databases.check(Thing, rows, returning=Thing.id)
    assert len(keys) == 101
    some = [{"name": f"m{i}", "kind": "a"} for i in range(100)]
    assert len(databases.check(Thing, some, returning=[Thing.name, Thing.kind, Thing.paid])) == 101
    refused: tuple[dict[str, Any], ...] = (
        {"name": "n5"},
        {"name": None},
        {"name": "x" * 51},
        {"kind": "c"},
        {"cents": 100},
        {"cents": 10**9},
        {"parent": 10**6},
    )
    for bad in refused:
        given = [{"name": f"o{i}"} for i in range(100)]
        given[77] |= bad
        error = databases.check(Thing, given)
        assert isinstance(error, exc.DBAPIError), bad
        assert error.row == 77, bad  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, None),
        ({"host": ["a", "b"], "port": [1, 2]}, {"hosts": ["a", "b"], "ports": [1, 2]}),
        ({"host": "/run"}, {"hosts": ["/run"], "tls": ("disable", None)}),
        ({"timeout": 2.5, "statement_cache_size": 0}, {"connect_timeout": 3}),
        (
            {"server_settings": {"application_name": "x", "search_path": r"a, \b"}},
            {"application_name": "x", "options": r"-c search_path=a,\ \\b"},
        ),
        ({"ssl": False}, {"tls": ("disable", None)}),
        ({"ssl": "require"}, {"tls": ("require", None)}),
        ({"ssl": True}, "Python's own authorities"),
        ({"ssl": ssl.create_default_context()}, "ssl is of type SSLContext"),
        ({"ssl": "verify-full"}, "of authorities does not exist"),
        ({"host": ""}, "no host"),
        ({"password": lambda: "x"}, "password is of type function"),
        ({"command_timeout": 5}, "'command_timeout' is asyncpg's own"),
        ({"dsn": "postgresql://"}, "'dsn'"),
        ({"target_session_attrs": "standby"}, "target_session_attrs=standby"),
    ],
)
def test_what_asyncpg_would_connect_with(
    arguments: dict[str, Any], expected: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGAPPNAME", "read by libpq alone")
    given = {"host": "h", "user": "u", "password": "p", "database": "d", **arguments}
    if isinstance(expected, str):
        with pytest.raises(RefusedError, match=re.escape(expected)):
            settings(given)
        return
    found = settings(given)
    default = {"hosts": ["h"], "application_name": None, "tls": ("prefer", None)}
    for name, value in {**default, **(expected or {})}.items():
        assert (getattr(found, name) if name != "tls" else found.tls[:2]) == value, name


def test_a_file_of_passwords_is_asyncpgs_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    given = {"host": "h", "user": "u", "database": "d"}
    assert settings(given).password is None
    (tmp_path / ".pgpass").write_text("*:*:*:*:secret\n")
    with pytest.raises(RefusedError, match="file of passwords"):
        settings(given)


# Cancelling


def test_cancelling_at_random_moments(engine: Engine, Thing: Any) -> None:
    """Nothing of the call stays, nothing of it runs on, and its session can be used."""
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    count = COUNT // 2

    async def load() -> None:
        asynchronous = AsyncEngine(engine)
        async with AsyncSession(asynchronous) as session:
            begin = time.perf_counter()
            await aio.insert(session, Thing, rows_of(count))
            whole = time.perf_counter() - begin
            await session.rollback()
        for attempt in range(6):
            returning = Thing.id if attempt % 3 == 0 else None
            given = slowly(count) if attempt % 3 == 1 else rows_of(count)
            async with AsyncSession(asynchronous) as session:
                session.add(Thing(name="before"))
                await session.flush()
                task = asyncio.ensure_future(
                    _coroutine(aio.insert(session, Thing, given, returning=returning))
                )
                await asyncio.sleep(moments.random() * whole)
                done = task.done()
                task.cancel()
                if done:
                    await session.rollback()
                    continue
                with pytest.raises(asyncio.CancelledError):
                    await task
                # As after an error the transaction stands, unless the connection was lost.
                with contextlib.suppress(exc.PendingRollbackError):
                    assert await stored(session, Thing) == 1, seed
                await session.rollback()
                assert (await stored(session, Thing), await running(session)) == (0, 0), seed
                await aio.insert(session, Thing, rows_of(3))
        async with AsyncSession(asynchronous) as session:
            assert await stored(session, Thing) == 0

    await_only(load())


@pytest.mark.parametrize("call", ["insert", "insert, returning", "upsert"])
def test_cancelling_at_every_statement(engine: Engine, Thing: Any, call: str) -> None:
    """As at random moments, for each statement in its turn."""

    async def load_into(session: AsyncSession) -> None:
        if call == "upsert":
            await aio.upsert(session, Thing, rows_of(300), key=Thing.name)
        else:
            returning = Thing.id if "returning" in call else None
            await aio.insert(session, Thing, rows_of(300), returning=returning)

    async def load() -> None:
        stand = []
        for number in itertools.count():
            stands = await cancelled_at(number)
            if stands is None:
                break
            stand.append(stands)
        # What sends rows leaves the transaction as an error does; MySQL has done so few at once.
        assert True in stand or engine.dialect.name not in {"sqlite", "postgresql"}

    async def cancelled_at(number: int) -> bool | None:
        """Whether the transaction stands; None if the call has fewer statements."""
        async with AsyncSession(AsyncEngine(engine)) as session:
            session.add(Thing(name="before"))
            await session.flush()
            task = asyncio.ensure_future(load_into(session))
            statements = itertools.count()

            def cancel(*_: Any) -> None:
                if next(statements) == number:
                    task.cancel()

            event.listen(engine, "before_cursor_execute", cancel)
            try:
                await task
                return None
            except asyncio.CancelledError:
                pass
            finally:
                event.remove(engine, "before_cursor_execute", cancel)
            try:
                assert await stored(session, Thing) == 1
                stands = True
            except exc.PendingRollbackError:
                stands = False
            await session.rollback()
            assert await stored(session, Thing) == 0
            return stands

    await_only(load())


def test_cancelling_at_every_wait_of_our_own_connection(
    engine: Engine, Thing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its opening to the end of its transaction, which is whole or nothing."""
    if engine.driver not in OWN:
        return
    monkeypatch.setattr(own, "FEW", -1)
    is_it: Iterator[bool] = itertools.repeat(False)

    def cancelled(waiting: Callable[..., Any]) -> Callable[..., Any]:
        def wait(*arguments: Any) -> Any:
            task = asyncio.current_task()
            if next(is_it) and task is not None:
                task.cancel()
            return waiting(*arguments)

        return wait

    for carrier in (tokio_postgres, mysql_async):
        monkeypatch.setattr(carrier, "connect", cancelled(carrier.connect))
        monkeypatch.setattr(carrier.Connection, "call", cancelled(carrier.Connection.call))

    async def load() -> None:
        nonlocal is_it
        asynchronous = AsyncEngine(engine)
        async with AsyncSession(asynchronous) as session:
            for number in itertools.count():
                is_it = itertools.chain([False] * number, [True], itertools.repeat(False))
                task = asyncio.ensure_future(aio.insert(asynchronous, Thing, rows_of(300)))
                with contextlib.suppress(asyncio.CancelledError):
                    assert (await task).road.driver == OWN[engine.driver]
                count = await stored(session, Thing)
                await session.rollback()
                if count:
                    break
            assert (count, await running(session)) == (300, 0)
            assert number > 5

    await_only(load())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout: 3.11")
def test_a_timeout_ends_what_waits_for_a_lock(engine: Engine, Thing: Any) -> None:
    if engine.dialect.name == "sqlite":
        return  # its writers wait for nobody

    async def load() -> None:
        asynchronous = AsyncEngine(engine)
        async with AsyncSession(asynchronous) as first, AsyncSession(asynchronous) as second:
            await aio.insert(first, Thing, [{"name": "x"}])
            await aio.insert(second, Thing, [{"name": "y"}])
            for rows in ([{"name": "x"}], [*rows_of(300), {"name": "x"}]):
                begin = time.perf_counter()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await aio.insert(second, Thing, rows)
                assert time.perf_counter() - begin < 10
            assert await stored(second, Thing) == 1
            await first.commit()
            # What was cancelled does not run on and take the name.
            await aio.insert(second, Thing, rows_of(300))
            await second.commit()
            assert await stored(second, Thing) == 302

    await_only(load())


def test_many_calls_leave_nothing(databases: Oracle, engine: Engine, Thing: Any) -> None:
    times = 500 if databases.backend is BACKENDS["asyncpg"] else 60

    async def load() -> None:
        async with AsyncSession(AsyncEngine(engine)) as session:

            async def call(count: int) -> None:
                for _ in range(count):
                    await aio.insert(session, Thing, [{"size": 1}], returning=Thing.id)
                    await aio.insert(session, Thing, slowly(3))
                    await session.rollback()

            await call(30)
            before, objects, memory = resources()
            await call(times)
            # Threads of drivers close their files a moment later.
            for _ in range(100):
                after, more_objects, more_memory = resources()
                if after <= before:
                    break
                await asyncio.sleep(0.02)
            assert after <= before
            assert more_objects - objects < times
            assert more_memory - memory < 8 << 20

    def resources() -> tuple[Counter[str], int, int]:
        gc.collect()
        open_ = Counter(tasks=len(asyncio.all_tasks()), files=len(os.listdir("/proc/self/fd")))
        return open_, len(gc.get_objects()), psutil.Process().memory_info().rss

    await_only(load())


def test_the_verbs_are_the_sync_ones() -> None:
    for name in ("insert", "update", "upsert", "delete", "explain"):
        verb: Callable[..., Coroutine[Any, Any, Any]] = getattr(aio, name)
        assert inspect.iscoroutinefunction(verb)
        assert inspect.signature(verb) == inspect.signature(getattr(fastbulk, name))
        assert "asynchronous" in (verb.__doc__ or "")
