"""How far a call is."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, String, exc, select
from sqlalchemy.orm import DeclarativeBase

import fastbulk
from oracle import model

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@pytest.fixture
def Thing(session: Session) -> Any:
    Thing = model(name=Column(String))
    Thing.metadata.create_all(session.connection())
    return Thing


def rows(count: int) -> list[dict[str, Any]]:
    return [{"name": "x"}] * count


@pytest.mark.only("sqlite")  # elsewhere a statement may be of several slices
def test_a_callable_is_told_of_each_slice(session: Session, Thing: Any) -> None:
    seen = []
    fastbulk.insert(session, Thing, rows(45_000), progress=lambda *done: seen.append(done))
    done = [0, *(rows for rows, _ in seen)]
    steps = [after - before for before, after in pairwise(done)]
    assert (done[-1], {total for _, total in seen}) == (45_000, {45_000})
    assert len(steps) > 2
    assert all(0 < step <= 20_000 for step in steps)


@pytest.mark.only("sqlite")
def test_rows_before_a_bad_one_are_not_told_as_done(session: Session, Thing: Any) -> None:
    """The bad row is read while the slice before it is sent."""
    seen = []
    bad = [*rows(20_050), {"name": "\ud800"}]
    with pytest.raises(exc.StatementError):
        fastbulk.insert(session, Thing, bad, progress=lambda *done: seen.append(done))
    done = [rows for rows, _ in seen]
    assert done == sorted(done)
    assert 0 < done[-1] <= 20_050
    assert {total for _, total in seen} == {20_051}


def test_a_callable_is_told_of_a_small_call(session: Session, Thing: Any) -> None:
    seen = []
    fastbulk.insert(session, Thing, rows(2), progress=lambda *done: seen.append(done))
    assert seen == [(2, 2)]


def test_the_length_of_a_generator_is_not_known(session: Session, Thing: Any) -> None:
    seen = []
    fastbulk.insert(session, Thing, iter(rows(3)), progress=lambda *done: seen.append(done))
    assert seen == [(3, None)]


def test_true_shows_a_bar(session: Session, Thing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    fastbulk.insert(session, Thing, rows(45_000), progress=True)
    bar = capsys.readouterr().err
    assert "thing: 100%" in bar
    assert "45.0k/45.0k" in bar


@pytest.mark.parametrize("progress", [None, False])
def test_nothing_is_shown_otherwise(
    session: Session, Thing: Any, capsys: pytest.CaptureFixture[str], progress: bool | None
) -> None:
    fastbulk.insert(session, Thing, rows(45_000), progress=progress)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("count", [2, 45_000])
@pytest.mark.parametrize("stop", [ZeroDivisionError, KeyboardInterrupt])
def test_a_callable_that_raises_undoes_the_call(
    session: Session, Thing: Any, count: int, stop: type[BaseException]
) -> None:
    def report(done: int, total: int | None) -> None:
        raise stop

    with pytest.raises(stop):
        fastbulk.insert(session, Thing, rows(count), progress=report)
    assert session.scalars(select(Thing.id)).all() == []
    fastbulk.insert(session, Thing, rows(1))
    session.commit()
    assert len(session.scalars(select(Thing.id)).all()) == 1


@pytest.mark.only("sqlite")  # elsewhere a statement may be of several slices
def test_a_callable_that_queries_the_session(session: Session, Thing: Any) -> None:
    seen = []

    def report(done: int, total: int | None) -> None:
        seen.append((done, len(session.scalars(select(Thing.id)).all())))

    fastbulk.insert(session, Thing, rows(45_000), progress=report)
    assert len(seen) > 2
    assert all(done == found for done, found in seen)
    assert seen[-1] == (45_000, 45_000)


def test_a_callable_is_told_of_a_call_that_goes_by_sqlalchemy(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parent"
        id = Column(Integer, primary_key=True)

    class Child(Parent):
        __tablename__ = "child"
        id = Column(ForeignKey(Parent.id), primary_key=True)

    Base.metadata.create_all(session.connection())
    seen = []
    fastbulk.insert(session, Child, [{}] * 3, progress=lambda *done: seen.append(done))
    assert seen == [(3, 3)]
