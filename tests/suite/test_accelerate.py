"""SQLAlchemy's own bulk calls, with and without acceleration: nothing differs but the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    Integer,
    String,
    exc,
    insert,
)
from sqlalchemy.orm import (
    Session,
    mapped_column,
)

import fastbulk
from oracle import model, with_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from oracle import Oracle, WithTables


@pytest.fixture(autouse=True)
def from_zero() -> Iterator[None]:
    fastbulk.accelerated.reset()
    yield
    assert not fastbulk.accelerated.hooks._handles


def outcome(engine: Engine, contents: Any, work: Callable[[Session], Any]) -> list[Any]:
    """What a program can see of some work: what came back or was raised, what stands in the table
    before anything is undone, and after the commit.
    """
    seen: list[Any] = []
    with Session(engine) as session:
        try:
            seen.append(work(session))
        except Exception as error:  # it is what is compared
            seen.append(told(error))
        try:
            seen.append(contents(session.connection()))
            session.commit()
        except exc.SQLAlchemyError as error:
            seen.append(type(error))
    with engine.connect() as connection:
        seen.append(contents(connection))
    return seen


def told(error: BaseException) -> Any:
    """What an exception says."""
    orig = getattr(error, "orig", None)
    return (
        type(error),
        type(orig),
        str(error),
        getattr(error, "statement", None),
        repr(getattr(error, "params", None)),
        getattr(error, "ismulti", None),
    )


def alike(databases: Oracle, work: Callable[[Session], Any], *kinds: str) -> Any:
    """Does the same with and without acceleration; `kinds` are what was taken."""
    theirs = outcome(databases.theirs, databases.backend.contents, work)
    with fastbulk.accelerate(databases.ours) as accelerated:
        ours = outcome(databases.ours, databases.backend.contents, work)
    assert ours == theirs
    stats = accelerated.stats()
    assert list(stats["taken"]) == list(kinds), stats
    return ours[0]


def rows_of(result: Any) -> list[Any]:
    return [
        type(result).__name__,
        list(result.keys()),
        *(tuple(map(with_type, row)) for row in result.all()),
    ]


NAMES = [{"name": f"n{i}", "count": i} for i in range(120)]


def thing(**more: Any) -> Any:
    columns = {"name": mapped_column(String(30)), "count": mapped_column(Integer)}
    return model(**{**columns, **more})


@pytest.mark.sync
@pytest.mark.parametrize("count", [1, 2, 120])
def test_rows_are_inserted(oracle: WithTables, count: int) -> None:
    Thing = thing()

    def work(session: Session) -> Any:
        result: Any = session.execute(insert(Thing), NAMES[:count])
        with pytest.raises(exc.ResourceClosedError) as caught:
            result.all()
        return type(result), hasattr(result, "rowcount"), str(caught.value)

    alike(oracle(Thing), work, "insert")
