"""Delete by primary key: what is gone, what was not there, and what a Session knows of it."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import make_dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    Column,
    Date,
    ForeignKey,
    Integer,
    String,
    Uuid,
    delete,
    exc,
    func,
    insert,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, make_transient, mapped_column

import fastbulk
from oracle import create, error_of, model, shuffled, statements, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from oracle import Oracle, WithTables

pytestmark = pytest.mark.verb("delete")

#: A small call, one of some statements, and one that is worth preparing something.
COUNTS = [3, 130, 1_100]


def thing(**more: Any) -> Any:
    return model(name=Column("the name", String(50)), size=Column(Integer), **more)


def things(count: int) -> list[dict[str, Any]]:
    return [{"id": i, "name": f"n{i}", "size": i} for i in range(1, count + 1)]


def check(databases: Oracle, Thing: Any, keys: Any, **values: Sequence[Any]) -> Any:
    """Deletes on both sides, there by one condition per column of the key, and compares."""
    missing: list[int] = []

    def ours(target: Any) -> int:
        result = fastbulk.delete(target, Thing, keys)
        assert result.road.name == "native"
        missing.extend(result.missing)
        return result.rowcount

    def theirs(session: Session) -> int:
        rowcount = 0
        for key in zip(*values.values(), strict=True):
            where = [getattr(Thing, k) == v for k, v in zip(values, key, strict=True)]
            rowcount += session.connection().execute(delete(Thing.__table__).where(*where)).rowcount
        return rowcount

    error = databases.same(ours, theirs)
    return error if isinstance(error, BaseException) else missing


#: The forms of a key, from (class, key).
KEYS: dict[str, Callable[[Any, int], Any]] = {
    "value": lambda Thing, key: key,
    "tuple": lambda Thing, key: (key,),
    "list": lambda Thing, key: [key],
    "dict": lambda Thing, key: {"id": key},
    "whole row": lambda Thing, key: {"id": key, "name": "whatever"},
    "attribute": lambda Thing, key: {Thing.id: key},
    "mapping": lambda Thing, key: MappingProxyType({"id": key}),
    "object": lambda Thing, key: Thing(id=key),
    "dataclass": lambda Thing, key: make_dataclass("Key", ["id", "other"])(key, 1),
}


@pytest.mark.parametrize("form", KEYS)
def test_every_form_of_a_key(oracle: WithTables, form: str) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(5))
    keys = [KEYS[form](Thing, key) for key in (4, 9, 2)]
    assert check(databases, Thing, keys, id=[4, 9, 2]) == [1]


def test_keys_of_any_iterable(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(9))
    assert fastbulk.delete(session, Thing, (key for key in (1, 2))).rowcount == 2
    assert fastbulk.delete(session, Thing, session.scalars(select(Thing.id).limit(1))).rowcount == 1
    assert fastbulk.delete(session, Thing, session.execute(select(Thing.id).limit(1))).rowcount == 1
    assert fastbulk.delete(session, Thing, range(5, 7)).rowcount == 2
    assert fastbulk.delete(session, Thing, []).rowcount == 0
    assert stored(session, Thing.id) == [7, 8, 9]


@pytest.mark.parametrize("count", COUNTS)
def test_keys_that_are_not_there(oracle: WithTables, count: int) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(count))
    keys = [key if key % 3 else key + count for key in shuffled(count) if key != 1]
    expected = [i for i, key in enumerate(keys) if key > count]
    assert check(databases, Thing, keys, id=keys) == expected


@pytest.mark.parametrize("count", COUNTS)
def test_the_same_key_twice(session: Session, count: int) -> None:
    """It was there, so that neither is missing."""
    Thing = thing()
    create(session, Thing, things(count))
    result = fastbulk.delete(session, Thing, [*shuffled(count), 2, -1, 2, -1])
    assert result.rowcount == count
    assert result.missing == [count + 1, count + 3]
    assert stored(session, Thing.id) == []


def test_keys_that_are_equal_to_the_database_only(session: Session) -> None:
    caseless = String(50).with_variant(String(50, "NOCASE"), "sqlite")
    Thing = model(key=Column(caseless, primary_key=True))
    create(session, Thing, [{"key": "a"}, {"key": "b"}])
    exact = session.get_bind().dialect.name == "postgresql"
    keys = ["a", "a", "c", "b"] if exact else ["a", "A", "C", "B"]
    result = fastbulk.delete(session, Thing, keys)
    assert (result.rowcount, result.missing) == (2, [2])


@pytest.mark.parametrize("count", COUNTS)
def test_a_key_of_several_columns(oracle: WithTables, count: int) -> None:
    Thing = model(
        a=Column(Integer, primary_key=True, autoincrement=False),
        b=Column("B b", String(50), primary_key=True),
    )
    databases = oracle(Thing)
    keys = [(i % 50, f"b{i // 50}") for i in range(count)]
    databases.fill(Thing, [{"a": a, "b": b} for a, b in keys])
    given: list[Any] = [
        (a, b) if a % 2 else {"b": b, "a": a} for a, b in keys if (a, b) != (1, "b0")
    ]
    rest = [(a, b) for a, b in keys if (a, b) != (1, "b0")]
    assert check(databases, Thing, given, a=[a for a, _ in rest], b=[b for _, b in rest]) == []


@pytest.mark.parametrize(
    ("type_", "keys"),
    [
        (String(50), ["b", "a", "A%", "ö"]),
        (Date, [dt.date(2020, 1, 2), dt.date(1999, 1, 1)]),
        (Uuid, [uuid.UUID(int=2**128 - 1), uuid.UUID(int=1)]),
    ],
    ids=["String", "Date", "Uuid"],
)
def test_natural_keys(oracle: WithTables, type_: Any, keys: list[Any]) -> None:
    Thing = model(key=Column("the key", type_, primary_key=True))
    databases = oracle(Thing)
    databases.fill(Thing, [{"key": key} for key in keys])
    assert check(databases, Thing, keys[1:], key=keys[1:]) == []


def test_what_is_no_key(session: Session) -> None:
    Thing = model(
        a=Column(Integer, primary_key=True, autoincrement=False),
        b=Column(Integer, primary_key=True, autoincrement=False),
    )
    create(session, Thing, [{"a": 1, "b": 1}])
    for key in ((1, None), {"a": 1}, {"a": 1, "b": None}):
        with pytest.raises(exc.InvalidRequestError, match=r"row 1.*'b'"):
            fastbulk.delete(session, Thing, [(1, 1), key])
    for bad in ((1,), (1, 2, 3), 1, object()):
        with pytest.raises(exc.ArgumentError, match="row 1"):
            fastbulk.delete(session, Thing, [(1, 1), bad])
    with pytest.raises(exc.ArgumentError, match=r"row 0.*'c'"):
        fastbulk.delete(session, Thing, [{"a": 1, "b": 1, "c": 1}])
    with pytest.raises(exc.ArgumentError, match="wrap one row in a list"):
        fastbulk.delete(session, Thing, {"a": 1, "b": 1})
    assert stored(session, Thing.a) == [1]


@pytest.mark.parametrize("count", COUNTS)
def test_where(session: Session, count: int) -> None:
    Thing = thing()
    create(session, Thing, things(count))
    keys = [*shuffled(count), count + 1]
    result = fastbulk.delete(session, Thing, keys, where=[Thing.size > 1, Thing.name != "n3"])
    assert result.rowcount == count - 2
    assert result.unmatched == [i for i, key in enumerate(keys) if key in {1, 3}]
    assert result.missing == [count]
    assert stored(session, Thing.id) == [1, 3]


# What comes back


@pytest.mark.parametrize("count", COUNTS)
def test_returned_in_the_order_of_the_keys(session: Session, count: int) -> None:
    Thing = thing()
    create(session, Thing, things(count))
    keys = [*shuffled(count), -1, 2]
    result = fastbulk.delete(session, Thing, keys, returning=[Thing.id, Thing.name])
    assert result.rowcount == count
    assert result.missing == [count]
    # What was deleted comes back once.
    assert result.all() == [(key, f"n{key}") for key in shuffled(count)]
    assert stored(session, Thing.id) == []
    create(session, Thing, things(3))
    result = fastbulk.delete(session, Thing, [3, 1], where=Thing.size > 1, returning=Thing.name)
    assert result.scalars().all() == ["n3"]
    with pytest.raises(exc.ArgumentError, match="returning"):
        fastbulk.delete(session, Thing, [2], returning=Thing)


# Several tables


def family() -> tuple[Any, Any]:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        name = Column(String(50))

    class Boss(Person):
        __tablename__ = "boss"
        boss_id: Mapped[int] = mapped_column(ForeignKey(Person.id), primary_key=True)
        budget = Column(Integer)

    return Person, Boss


@pytest.mark.parametrize("count", [3, 130])
def test_joined_inheritance(session: Session, count: int) -> None:
    Person, Boss = family()
    create(session, Boss, [{"id": i, "budget": i} for i in range(1, count + 1)])
    session.execute(insert(Person), [{"id": count + 1}])
    keys = [key for key in shuffled(count + 2) if key != 2]
    result = fastbulk.delete(session, Boss, keys)
    assert result.rowcount == count - 1
    assert result.missing == [i for i, key in enumerate(keys) if key > count]
    # A person that is no boss is none of this class.
    assert stored(session, Person.__table__.c.id) == [2, count + 1]
    assert stored(session, Boss.__table__.c.boss_id) == [2]


@pytest.mark.parametrize("count", [3, 130])
def test_joined_inheritance_returning(session: Session, engine: Engine, count: int) -> None:
    Person, Boss = family()
    there = [{"id": i, "name": f"n{i}", "budget": i % 3} for i in range(1, count + 1)]
    create(session, Boss, there)
    session.execute(insert(Person), [{"id": count + 1}])
    keys = [*shuffled(count + 2), 1]
    columns = [Boss.budget, Boss.name, func.upper(Boss.name).label("loud")]
    known = session.scalars(select(Boss)).all()
    result = fastbulk.delete(
        session, Boss, keys, where=[Boss.budget > 0, Boss.name != "n2"], returning=columns
    )
    gone = [i for i in range(1, count + 1) if i % 3 and i != 2]
    assert result.rowcount == len(gone)
    assert result.missing == [n for n, key in enumerate(keys) if key > count]
    assert result.unmatched == [n for n, key in enumerate(keys) if key <= count and key not in gone]
    assert result.keys() == ["budget", "name", "loud"]
    rows = result.all()
    assert rows == [(i % 3, f"n{i}", f"N{i}") for i in dict.fromkeys(keys) if i in gone]
    assert rows[0]._mapping[Boss.name] == rows[0].name
    left = [i for i in range(1, count + 1) if i not in gone]
    assert stored(session, Person.__table__.c.id) == [*left, count + 1]
    assert stored(session, Boss.__table__.c.boss_id) == left
    assert {boss.boss_id for boss in known if boss in session} == {*left}
    result = fastbulk.delete(session.connection(), Boss, left, returning=Boss.id)
    assert result.arrow()["id"].to_pylist() == left
    assert fastbulk.delete(session, Boss, [], returning=Boss.id).scalars().all() == []


def test_children_go_before_their_parents_are_asked_for(session: Session) -> None:
    """A key that refers to a row of the same call is no obstacle."""
    Thing = thing(parent=Column(ForeignKey("thing.id")))
    create(session, Thing, [{"id": i, "parent": i - 1 or None} for i in range(1, 6)])
    assert fastbulk.delete(session, Thing, [5, 4, 3]).rowcount == 3
    assert stored(session, Thing.id) == [1, 2]


# What a Session knows


def test_objects_of_the_session_are_deleted(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(4))
    objects = session.scalars(select(Thing).order_by(Thing.id)).all()
    fastbulk.delete(session, Thing, [objects[0], 3, 9])
    states = [Thing.__mapper__.class_manager.state_getter()(t) for t in objects]
    assert [state.deleted for state in states] == [True, False, True, False]
    assert [t in session for t in objects] == [False, True, False, True]
    session.flush()  # and nothing is deleted again
    assert session.get(Thing, 1) is None
    session.rollback()
    assert [state.persistent for state in states] == [True] * 4


def test_objects_after_a_commit(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Thing(id=1), Thing(id=2)])
        session.commit()
        first, second = session.scalars(select(Thing).order_by(Thing.id)).all()
        fastbulk.delete(session, Thing, [first])
        session.commit()
        assert Thing.__mapper__.class_manager.state_getter()(first).detached
        make_transient(first)
        session.add(first)
        session.commit()
        assert stored(session, Thing.id) == [1, 2]
        assert second in session


def test_pending_changes_are_flushed_first(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(1))
    session.add(Thing(id=2, name="pending"))
    assert fastbulk.delete(session, Thing, [2]).missing == []


def test_objects_of_a_hierarchy(session: Session) -> None:
    _, Boss = family()
    create(session, Boss, [{"id": 1}, {"id": 2}])
    bosses = session.scalars(select(Boss).order_by(Boss.id)).all()
    fastbulk.delete(session, Boss, [2])
    assert [boss in session for boss in bosses] == [True, False]


def test_keys_that_are_equal_to_the_database_only_and_objects(session: Session) -> None:
    caseless = String(50).with_variant(String(50, "NOCASE"), "sqlite")
    Thing = model(key=Column(caseless, primary_key=True))
    create(session, Thing, [{"key": "a"}, {"key": "b"}])
    objects = session.scalars(select(Thing).order_by(Thing.key)).all()
    fastbulk.delete(session, Thing, ["A"])
    exact = session.get_bind().dialect.name == "postgresql"
    assert [t in session for t in objects] == [exact, True]


# Targets, transactions, errors


def test_targets(oracle: WithTables) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(5))
    engine = databases.ours
    assert fastbulk.delete(engine, Thing, [1]).rowcount == 1
    with engine.connect() as connection:
        fastbulk.delete(connection, Thing, [2])
        connection.commit()
        fastbulk.delete(connection, Thing, [3])
        connection.rollback()
    with Session(engine) as session:
        with session.begin_nested() as savepoint:
            fastbulk.delete(session, Thing, [4, 5])
            savepoint.rollback()
        assert stored(session, Thing.id) == [3, 4, 5]


@pytest.mark.parametrize("count", COUNTS)
def test_a_row_that_others_need(session: Session, count: int) -> None:
    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parent"
        id = Column(Integer, primary_key=True)

    class Child(Base):
        __tablename__ = "child"
        id = Column(Integer, primary_key=True)
        parent_id: Mapped[int] = mapped_column(ForeignKey(Parent.id))

    create(session, Parent, [{"id": i} for i in range(1, count + 1)])
    keys = shuffled(count)
    session.execute(insert(Child), [{"parent_id": keys[2]}])
    error = error_of(lambda: fastbulk.delete(session, Parent, keys))
    assert error.row == 2
    assert isinstance(error, exc.IntegrityError)
    assert stored(session, Parent.id) == sorted(keys)


def test_an_error_through_an_engine_leaves_everything(engine: Engine) -> None:
    Person, Boss = family()
    Person.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.execute(insert(Boss), [{"id": i} for i in range(1, 131)])
    error = error_of(lambda: fastbulk.delete(engine, Person, shuffled(130)))
    assert isinstance(error, exc.IntegrityError)
    with Session(engine) as session:
        assert len(stored(session, Boss.id)) == 130
    assert fastbulk.delete(engine, Boss, shuffled(130)).rowcount == 130


def test_a_value_that_cannot_be_sent(session: Session) -> None:
    Thing = model(key=Column(Uuid, primary_key=True))
    create(session, Thing, [{"key": uuid.UUID(int=1)}])
    error = error_of(lambda: fastbulk.delete(session, Thing, [uuid.UUID(int=1), 7]))
    assert (error.row, error.column, error.value) == (1, "key", 7)
    assert len(stored(session, Thing.key)) == 1


def test_progress_and_explain(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(200))
    sent = statements(session)
    road = fastbulk.explain(session, Thing, verb="delete", where=Thing.size > 1)
    assert road.name == "native"
    assert road.sql is not None
    assert "DELETE" in road.sql
    assert not [sql for sql in sent if sql.startswith("DELETE")]
    seen: list[tuple[int, int | None]] = []
    fastbulk.delete(session, Thing, shuffled(200), progress=lambda *done: seen.append(done))
    assert seen[-1] == (200, 200)
