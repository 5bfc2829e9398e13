"""Eight writers of the same rows, whose keys come in another order each time."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from sqlalchemy import Column, Engine, Integer, String, create_engine, exc, func, select
from sqlalchemy.orm import Session

import fastbulk
from fastbulk import given
from oracle import create, model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: Writes to a Session or an Engine; gives how many rows it has added one to.
    Write: TypeAlias = Callable[[Any, random.Random], int]

pytestmark = pytest.mark.only("psycopg", "mariadb-mysqldb", "mysql-mysqldb")

WRITERS = 8
#: Calls of each, however long they take.
AT_LEAST = 3
ROWS = 600


@pytest.fixture
def crowded(engine: Engine) -> Iterator[Engine]:
    """An engine with a connection for each writer."""
    crowded = create_engine(engine.url, pool_size=WRITERS)
    yield crowded
    crowded.dispose()


def filled(engine: Engine) -> Any:
    """A table that has every other row."""
    Thing = model(
        email=Column(String(50), unique=True), size=Column(Integer), name=Column(String(50))
    )
    rows = [{"id": i, "email": f"e{i}", "size": 0} for i in range(2, ROWS, 2)]
    with Session(engine) as session, session.begin():
        create(session, Thing, rows)
    return Thing


def some(chance: random.Random, start: int = 1, step: int = 1) -> list[int]:
    keys = range(start, ROWS, step)
    return chance.sample(keys, chance.choice([1, 3, 10, 40, 200]))


def updates(Thing: Any) -> Write:
    def write(target: Any, chance: random.Random) -> int:
        rows = [{"id": key, "size": 1} for key in some(chance, 2, 2)]
        more = {Thing.size: Thing.size + given(Thing.size)}
        return fastbulk.update(target, Thing, rows, values=more).rowcount

    return write


def upserts(Thing: Any, key: str, **how: Any) -> Write:
    arguments = {"update": {Thing.size: Thing.size + given(Thing.size)}, **how}

    def write(target: Any, chance: random.Random) -> int:
        rows = [{"id": i, "email": f"e{i}", "size": 1} for i in some(chance)]
        if key == "email":
            rows = [{k: v for k, v in row.items() if k != "id"} for row in rows]
        return fastbulk.upsert(target, Thing, rows, key=key, **arguments).rowcount

    return write


def upserts_of_all_forms(Thing: Any, key: str) -> list[Write]:
    """Also those that depend on what is there, and rows that don't set the same."""

    def named(target: Any, chance: random.Random) -> int:
        rows: list[dict[str, Any]] = [{"email": f"e{i}", "size": 1} for i in some(chance)]
        for row in rows:
            row |= {"id": int(row["email"][1:])} if key == "id" else {}
            row |= {"name": "x"} if chance.random() < 0.5 else {}
        return fastbulk.upsert(target, Thing, rows, key=key, update=["name"]).inserted

    return [
        named,
        upserts(Thing, key),
        upserts(Thing, key, where=Thing.size % 2 == 0),
        upserts(Thing, key, only_changed=True),
        upserts(Thing, key, update="nothing"),
        upserts(Thing, key, probe_first=True),
    ]


def at_work(
    engine: Engine, writes: list[Write], seconds: float, *, by_engine: bool = False
) -> tuple[int, list[exc.DBAPIError]]:
    """What all writers have added, and the errors that they met.

    The calls are the Engine's with ``by_engine``, else each has a Session.
    """
    end = time.monotonic() + seconds
    added: list[int] = []
    refused: list[exc.DBAPIError] = []
    broken: list[BaseException] = []

    def call(write: Write, chance: random.Random) -> int:
        if by_engine:
            return write(engine, chance)
        with Session(engine) as session, session.begin():
            return write(session, chance)

    def run(seed: int) -> None:
        chance = random.Random(seed)
        calls = 0
        try:
            while (calls < AT_LEAST or time.monotonic() < end) and not broken:
                calls += 1
                try:
                    added.append(call(chance.choice(writes), chance))
                except exc.OperationalError as error:
                    refused.append(error)
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not broken, broken
    print(f"{engine.url.drivername}: {len(added)} calls, {len(refused)} refused")
    return sum(added), refused


def total(engine: Engine, Thing: Any) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.sum(Thing.size))) or 0


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--seconds"))


@pytest.mark.parametrize("by_engine", [False, True])
def test_by_primary_key_nobody_waits_in_a_circle(
    crowded: Engine, seconds: float, by_engine: bool
) -> None:
    Thing = filled(crowded)
    writes = [updates(Thing), *upserts_of_all_forms(Thing, "id")]
    added, refused = at_work(crowded, writes, seconds, by_engine=by_engine)
    assert not refused
    assert total(crowded, Thing) == added


def test_by_another_key_nobody_does_where_only_rows_are_locked(
    crowded: Engine, seconds: float
) -> None:
    Thing = filled(crowded)
    engine = crowded.execution_options(isolation_level="READ COMMITTED")
    added, refused = at_work(engine, upserts_of_all_forms(Thing, "email"), seconds)
    assert not refused
    assert total(crowded, Thing) == added


@pytest.mark.only("psycopg")
def test_updates_and_upserts_by_another_key_lock_in_one_order(
    crowded: Engine, seconds: float
) -> None:
    Thing = filled(crowded)
    added, refused = at_work(crowded, [updates(Thing), upserts(Thing, "email")], seconds)
    assert not refused
    assert total(crowded, Thing) == added


@pytest.mark.only("mariadb-mysqldb", "mysql-mysqldb")
def test_elsewhere_an_error_says_that_the_transaction_is_gone(
    crowded: Engine, seconds: float
) -> None:
    Thing = filled(crowded)
    writes = [updates(Thing), upserts(Thing, "email")]
    added, refused = at_work(crowded, writes, seconds)
    assert all("rolled back the whole transaction" in str(error) for error in refused)
    assert total(crowded, Thing) == added


def test_elsewhere_a_call_on_an_engine_is_tried_again(crowded: Engine, seconds: float) -> None:
    Thing = filled(crowded)
    writes = [updates(Thing), upserts(Thing, "email")]
    added, refused = at_work(crowded, writes, seconds, by_engine=True)
    assert not refused
    assert total(crowded, Thing) == added


@pytest.mark.only("sqlite-file")
@pytest.mark.parametrize(("by_engine", "key"), [(False, "id"), (True, "email")])
def test_on_sqlite_they_wait_for_each_other(
    crowded: Engine, seconds: float, by_engine: bool, key: str
) -> None:
    Thing = filled(crowded)
    writes = [updates(Thing), upserts(Thing, key)]
    added, refused = at_work(crowded, writes, seconds, by_engine=by_engine)
    assert all("database is locked" in str(error) for error in refused)
    assert total(crowded, Thing) == added > 0
