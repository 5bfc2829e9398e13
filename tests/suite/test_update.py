"""Update by primary key: what is stored, what comes back, and what a Session knows of it."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Time,
    TypeDecorator,
    Uuid,
    bindparam,
    exc,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.mysql import VARBINARY
from sqlalchemy.orm import DeclarativeBase, Session, composite, deferred, mapped_column
from sqlalchemy.orm.exc import StaleDataError

import fastbulk
from fastbulk import given
from oracle import FORMS, create, error_of, model, place, shuffled, stale, statements, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Dialect, Engine

    from oracle import Form, Oracle, WithTables

pytestmark = pytest.mark.verb("update")

#: A small call, one of some statements, and one that is worth preparing something.
COUNTS = [3, 130, 1_100]


def thing(**more: Any) -> Any:
    return model(
        name=Column("the name", String(50)),
        size=Column(Integer),
        note=Column("note %s", String(50)),
        **more,
    )


def things(count: int) -> list[dict[str, Any]]:
    return [{"id": i, "name": f"n{i}", "size": i, "note": "old"} for i in range(1, count + 1)]


def by_shape(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """In an order in which SQLAlchemy needs few statements."""
    return sorted(rows, key=lambda row: sorted(row))


def check(
    databases: Oracle,
    Thing: Any,
    rows: Sequence[dict[str, Any]],
    *,
    form: Form = FORMS["dicts"],
    oracle_rows: Sequence[dict[str, Any]] | None = None,
    **arguments: Any,
) -> Any:
    """Updates on both sides, and compares. Gives the number of updated rows, or the error."""
    rowcount = 0

    def ours(target: Any) -> None:
        nonlocal rowcount
        result = fastbulk.update(target, Thing, form(Thing, rows), **arguments)
        assert result.road.name == "native"
        assert list(result.unmatched) == []
        rowcount = result.rowcount

    def theirs(session: Session) -> None:
        session.execute(update(Thing), list(rows if oracle_rows is None else oracle_rows))

    error = databases.same(ours, theirs)
    return rowcount if error is None else error


# What is stored


def test_every_form_of_rows(oracle: WithTables, form: Form) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(5))
    rows = [{"id": i, "name": f"new {i}", "size": None} for i in (4, 2, 5)]
    assert check(databases, Thing, rows, form=form) == 3


@pytest.mark.parametrize("count", COUNTS)
def test_rows_that_give_different_columns(oracle: WithTables, count: int) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(count))
    shapes: list[dict[str, Any]] = [
        {"name": "new"},
        {"size": None},
        {"name": None, "note": "it's 100% \\new"},
        {},
        {"size": 5, "name": ""},
    ]
    rows = [{"id": i, **shapes[i % 5]} for i in shuffled(count)]
    idle = len([row for row in rows if len(row) == 1])
    assert check(databases, Thing, rows, oracle_rows=by_shape(rows)) == count - idle


def test_no_rows(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(1))
    assert fastbulk.update(session, Thing, []).rowcount == 0
    assert fastbulk.update(session, Thing, [{"id": 1}, {"id": 7}]).rowcount == 0
    assert fastbulk.update(session, Thing, [], returning=Thing.id).all() == []


def test_attributes_and_unknown_keys(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(2))
    fastbulk.update(session, Thing, [{Thing.id: 1, Thing.name: "by attribute"}])
    assert stored(session, Thing.id, Thing.name)[0] == (1, "by attribute")
    with pytest.raises(exc.ArgumentError, match=r"row 1.*'nmae'.*did you mean 'name'"):
        fastbulk.update(session, Thing, [{"id": 1, "name": "x"}, {"id": 2, "nmae": "x"}])
    with pytest.raises(exc.ArgumentError, match="wrap one row in a list"):
        fastbulk.update(session, Thing, {"id": 1, "name": "x"})
    fastbulk.update(session, Thing, [{"id": 2, "nmae": "x", "size": 9}], unknown="ignore")
    assert stored(session, Thing.id, Thing.name, Thing.size) == [
        (1, "by attribute", 1),
        (2, "n2", 9),
    ]


class Color(enum.Enum):
    RED = 1
    GREEN = "g"


#: Types with a value to begin with, and values to come.
TYPES: dict[str, tuple[Any, list[Any]]] = {
    "Integer": (Integer, [1, -(2**31), 2**31 - 1]),
    "String": (String(50), ["a", "", "ä \\ ' \" % 😀"]),
    "Float": (Float(53), [1.5, 0.0, 1e300]),
    "Numeric": (Numeric(10, 2), [Decimal("1.25"), 7, Decimal("-99999999.99")]),
    "Boolean": (Boolean, [True, False, True]),
    "Date": (Date, [dt.date(2020, 1, 2), dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    "DateTime": (DateTime, [dt.datetime(2020, 1, 2, 3, 4, 5), dt.datetime(1970, 1, 1)]),
    "Time": (Time, [dt.time(1, 2, 3), dt.time(0), dt.time(23, 59, 59)]),
    "Interval": (Interval, [dt.timedelta(seconds=1), dt.timedelta(days=40, hours=3)]),
    "LargeBinary": (LargeBinary, [b"a", b"", bytes(range(256))]),
    "Uuid": (Uuid, [uuid.UUID(int=1), uuid.UUID(int=2**128 - 1)]),
    "JSON": (JSON, [{"a": [1, None]}, "x", 7]),
    "Enum": (Enum(Color), [Color.RED, Color.GREEN]),
}


def test_values_of_every_type(oracle: WithTables) -> None:
    columns: dict[str, Any] = {name.lower(): Column(type_) for name, (type_, _) in TYPES.items()}
    Thing = model(**columns)
    databases = oracle(Thing)
    first = {name.lower(): values[0] for name, (_, values) in TYPES.items()}
    databases.fill(Thing, [{"id": i, **first} for i in range(1, 80)])
    rows = [
        {"id": i, **{name.lower(): values[i % len(values)] for name, (_, values) in TYPES.items()}}
        for i in range(1, 60)
    ]
    rows += [{"id": 60, **dict.fromkeys(first)}]  # None in a column of JSON is its null
    assert check(databases, Thing, rows) == 60


def test_null_is_null(session: Session) -> None:
    Thing = model(data=Column(JSON), size=Column(Integer))
    create(session, Thing, [{"id": i, "data": {}, "size": 1} for i in (1, 2)])
    fastbulk.update(session, Thing, [{"id": 1, "data": null()}, {"id": 2, "size": null()}])
    assert session.scalars(select(Thing.id).where(Thing.data.is_(null()))).all() == [1]
    assert session.scalars(select(Thing.id).where(Thing.size.is_(null()))).all() == [2]


class Lower(TypeDecorator[Any]):
    impl = String(50)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value and value.lower()

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.trim(bindvalue)


def test_types_of_the_program(oracle: WithTables) -> None:
    Thing = model(name=Column(Lower), size=Column(Integer))
    databases = oracle(Thing)
    databases.fill(Thing, [{"id": i, "name": "x"} for i in range(1, 80)])
    check(databases, Thing, [{"id": i, "name": f" It is {i} "} for i in range(2, 80)])


KEYS: dict[str, tuple[Any, list[Any]]] = {
    "String": (String(50), ["b", "a", "A%", "ö"]),
    "Date": (Date, [dt.date(2020, 1, 2), dt.date(1999, 1, 1)]),
    "Uuid": (Uuid, [uuid.UUID(int=2**128 - 1), uuid.UUID(int=1)]),
    "Numeric": (Numeric(10, 2), [Decimal("1.25"), Decimal("1.20")]),
    "Enum": (Enum(Color), [Color.RED, Color.GREEN]),
    "LargeBinary": (
        LargeBinary().with_variant(VARBINARY(16), "mysql", "mariadb"),
        [b"b", b"a"],
    ),
    "Lower": (Lower, ["b", "A"]),
}


@pytest.mark.parametrize("name", KEYS)
def test_natural_keys(oracle: WithTables, name: str) -> None:
    type_, keys = KEYS[name]
    Thing = model(key=Column("the key", type_, primary_key=True), size=Column(Integer))
    databases = oracle(Thing)
    databases.fill(Thing, [{"key": key, "size": 1} for key in keys])
    assert check(databases, Thing, [{"key": key, "size": 7} for key in keys]) == len(keys)


@pytest.mark.parametrize("count", COUNTS)
def test_a_key_of_several_columns(oracle: WithTables, count: int) -> None:
    Thing = model(
        a=Column(Integer, primary_key=True, autoincrement=False),
        b=Column("B b", String(50), primary_key=True),
        size=Column(Integer),
    )
    databases = oracle(Thing)
    keys = [{"a": i % 50, "b": f"b{i // 50}"} for i in range(count)]
    databases.fill(Thing, [{**key, "size": 0} for key in keys])
    rows = [{**keys[i - 1], "size": i} for i in shuffled(count)]
    assert check(databases, Thing, rows) == count


@dataclass
class Point:
    x: int
    y: int


def test_composites(oracle: WithTables) -> None:
    Thing = model(
        x=Column("px", Integer), y=Column("py", Integer), point=composite(Point, "x", "y")
    )
    databases = oracle(Thing)
    databases.fill(Thing, [{"id": i, "x": 1, "y": 2} for i in range(1, 4)])
    check(databases, Thing, [{"id": 1, "point": Point(3, 4)}, {"id": 3, "y": 5}])


def test_onupdate(oracle: WithTables) -> None:
    Thing = model(
        name=Column(String(50)),
        scalar=Column(Integer, onupdate=7),
        called=Column("was called", Integer, onupdate=lambda: 8),
        seen=Column(String(50), onupdate=lambda context: f"{told(context)}"),
        sql=Column(Integer, onupdate=func.length("four")),
        server=Column(Integer, server_onupdate=null(), server_default="3"),
    )

    def told(context: Any) -> Any:
        assert context.isupdate
        return context.get_current_parameters().get("name")

    databases = oracle(Thing)
    databases.fill(Thing, [{"id": i, "name": "old", "scalar": 0} for i in range(1, 131)])
    shapes: list[dict[str, Any]] = [
        {"name": "new"},
        {},
        {"scalar": 1},
        {"scalar": None, "called": None, "seen": None, "sql": None},
        {"name": None, "sql": 1},
    ]
    rows = [{"id": i, **shapes[i % 5]} for i in shuffled(130)]
    assert check(databases, Thing, rows) == 104


def versioned(column: Any = None, **arguments: Any) -> Any:
    column = Column("version", Integer, nullable=False) if column is None else column
    return thing(version=column, __mapper_args__={"version_id_col": column, **arguments})


def longer(version: str | None) -> str:
    return (version or "") + "v"


@pytest.mark.parametrize("generated", ["counter", "function", "by the program"])
def test_version_ids(oracle: WithTables, generated: str) -> None:
    if generated == "function":
        Thing = versioned(Column(String(50), nullable=False), version_id_generator=longer)
        version: Any = "v"
    else:
        by_program = {"version_id_generator": False} if generated == "by the program" else {}
        Thing, version = versioned(**by_program), 1
    databases = oracle(Thing)
    databases.fill(Thing, [{**row, "version": version} for row in things(130)])
    shapes: list[dict[str, Any]] = [{"name": "new"}, {"size": 3, "note": None}, {}]
    if generated == "by the program":
        shapes[2] = {"size": 9}
    rows = [{"id": i, "version": version, **shapes[i % 3]} for i in shuffled(130)]
    sent = statements(databases.ours)
    assert check(databases, Thing, rows) == 130
    assert len(sent) < 20


@pytest.mark.parametrize("count", COUNTS)
def test_rows_of_another_version_are_stale(session: Session, count: int) -> None:
    Thing = versioned()
    create(session, Thing, [{**row, "version": 1} for row in things(count)])
    rows = [{"id": i, "version": 1, "name": "new"} for i in shuffled(count)]
    rows[1]["version"] = 2
    rows[-1]["version"] = 0
    error = stale(lambda: fastbulk.update(session, Thing, rows))
    assert error.rows == [1, count - 1]
    assert error.row == 1
    assert set(stored(session, Thing.version)) == {1}
    assert "new" not in stored(session, Thing.name)


def test_a_version_that_is_not_given(session: Session) -> None:
    Thing = versioned()
    create(session, Thing, things(2))
    for version in ({}, {"version": None}):
        rows: Any = [{"id": 1, "version": 1, "name": "x"}, {"id": 2, "name": "x", **version}]
        with pytest.raises(exc.InvalidRequestError, match=r"row 1.*'version'"):
            fastbulk.update(session, Thing, rows)
    assert stored(session, Thing.id, Thing.name) == [(1, "n1"), (2, "n2")]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("changes", [{"name": "again"}, {"note": "more"}, {"name": None}, {}])
def test_the_same_key_twice(oracle: WithTables, count: int, changes: dict[str, Any]) -> None:
    """One after the other, as if each were a statement of its own: the last one wins."""
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(count))
    rows: list[dict[str, Any]] = [{"id": i, "name": f"new {i}"} for i in shuffled(count)]
    rows += [{"id": 2, **changes}, {"id": 1, "size": 7}, {"id": 1, "name": "last"}]
    assert check(databases, Thing, rows) == len(rows) - (not changes)


def test_the_same_key_twice_in_a_versioned_table(session: Session) -> None:
    """The second row expects the version that the first one makes."""
    Thing = versioned()
    create(session, Thing, [{**row, "version": 1} for row in things(200)])
    rows = [{"id": i, "version": 1, "name": "new"} for i in shuffled(200)]
    fastbulk.update(session, Thing, [*rows, {"id": 1, "version": 2, "name": "newer"}])
    assert stored(session, Thing.id, Thing.version, Thing.name)[:2] == [
        (1, 3, "newer"),
        (2, 2, "new"),
    ]
    error = stale(
        lambda: fastbulk.update(session, Thing, [{"id": 2, "version": 2, "name": "x"}] * 2)
    )
    assert error.rows == [1]


def test_keys_that_are_equal_to_the_database_only(oracle: WithTables) -> None:
    caseless = String(50).with_variant(String(50, collation="NOCASE"), "sqlite")
    Thing = model(key=Column(caseless, primary_key=True), size=Column(Integer))
    databases = oracle(Thing)
    databases.fill(Thing, [{"key": key, "size": 0} for key in ("a", "b")])
    names = ["b", "A", "a", "B"]
    if databases.ours.dialect.name == "postgresql":
        names = [name.lower() for name in names]
    check(databases, Thing, [{"key": name, "size": i} for i, name in enumerate(names)])


def family() -> tuple[Any, Any]:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        kind = Column(String(50))
        name = Column(String(50), onupdate="nobody")
        size = Column(Integer)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "person"}

    class Boss(Person):
        __tablename__ = "boss"
        id = Column("boss_id", ForeignKey(Person.id), primary_key=True)
        budget = Column("the budget", Integer)
        title = Column(String(50), onupdate="boss")
        __mapper_args__ = {"polymorphic_identity": "boss"}

    return Person, Boss


def bosses(databases: Oracle, Boss: Any, count: int) -> None:
    given = {"name": "n", "size": 1, "budget": 2, "title": "t"}
    databases.fill(Boss, [{"id": i, **given} for i in range(1, count + 1)])


@pytest.mark.parametrize("count", [4, 130])
def test_joined_inheritance(oracle: WithTables, count: int) -> None:
    Person, Boss = family()
    databases = oracle(Person)
    bosses(databases, Boss, count)
    shapes: list[dict[str, Any]] = [
        {"size": 3},
        {"budget": None},
        {"name": "a", "title": "b"},
        {},
    ]
    rows = [{"id": i, **shapes[i % 4]} for i in shuffled(count)]
    idle = len([row for row in rows if len(row) == 1])
    assert check(databases, Boss, rows, oracle_rows=by_shape(rows)) == count - idle
    assert check(databases, Person, [{"id": i, "size": 9} for i in (3, 1)]) == 2


def test_joined_inheritance_of_a_row_that_is_not_there(session: Session) -> None:
    Person, Boss = family()
    create(session, Boss, [{"id": 1}, {"id": 2}])
    session.execute(insert(Person), [{"id": 3}])
    for bad in ({"id": 3, "budget": 1}, {"id": 4, "size": 1}, {"id": 5, "size": 1, "budget": 1}):
        rows = [{"id": 1, "size": 1, "budget": 1}, bad]
        error = stale(partial(fastbulk.update, session, Boss, rows))
        assert error.rows == [1]
    assert stored(session, Boss.id, Boss.size, Boss.budget) == [(1, None, None), (2, None, None)]


@pytest.mark.parametrize("count", [0, 4, 130])
def test_joined_inheritance_returning(session: Session, count: int) -> None:
    Person, Boss = family()
    create(session, Boss, [{"id": i, "budget": i} for i in range(1, 131)])
    keys = shuffled(count) if count else []
    rows = [{"id": i, "size": -i, **({"budget": 7} if i % 2 else {})} for i in keys]
    expected = [(i, "nobody", -i, 7 if i % 2 else i) for i in keys]
    returning = [Boss.id, Boss.name, Boss.size, Boss.budget]
    result = fastbulk.update(session, Boss, rows, returning=returning)
    assert result.rowcount == count
    assert result.all() == expected
    known = session.scalars(select(Person)).all()
    bosses = fastbulk.update(session, Boss, rows, returning=Boss).scalars().all()
    assert [(b.id, b.name, b.size, b.budget) for b in bosses] == expected
    assert {id(boss) for boss in bosses} <= {id(person) for person in known}
    found = fastbulk.update(session.connection(), Boss, rows, returning=Boss.title)
    assert found.scalars().all() == ["boss" if i % 2 else None for i in keys]


def test_joined_inheritance_with_versions(oracle: WithTables) -> None:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        version = Column(Integer, nullable=False)
        size = Column(Integer)
        __mapper_args__ = {"version_id_col": version}

    class Boss(Person):
        __tablename__ = "boss"
        id = Column(ForeignKey(Person.id), primary_key=True)
        budget = Column(Integer)

    databases = oracle(Person)
    databases.fill(Boss, [{"id": i, "version": 1} for i in range(1, 5)])
    check(databases, Boss, [{"id": 1, "version": 1, "size": 3, "budget": 4}])


def deeper() -> tuple[Any, Any]:
    """A class in three tables, and the one above it."""
    Person, Boss = family()

    class Chief(Boss):  # type: ignore[misc, valid-type]
        __tablename__ = "chief"
        id: Any = Column(ForeignKey(Boss.id), primary_key=True)
        note = Column(String(50))
        size_of_chief = Column("size", Integer)
        __mapper_args__ = {"polymorphic_identity": "chief"}

    return Person, Chief


@pytest.mark.parametrize("count", [4, 130])
def test_joined_inheritance_where(oracle: WithTables, count: int) -> None:
    """The condition is asked of all tables, before any of them is written."""
    Person, Chief = deeper()
    databases = oracle(Person)
    there = [
        {"id": i, "name": "n", "size": i % 7, "budget": i % 5, "note": "t", "size_of_chief": i % 3}
        for i in range(1, count + 1)
    ]
    databases.fill(Chief, there)
    shapes: list[dict[str, Any]] = [
        {"size": 3, "budget": 4, "size_of_chief": 2},
        {"size": 3, "budget": None, "size_of_chief": 1, "note": "a"},
        {"size": 3, "budget": 5, "size_of_chief": 0, "name": "it's"},
        {"budget": 0, "size": 0, "size_of_chief": 9},
    ]
    rows = [{"id": i, **shapes[i % 4]} for i in shuffled(count)]
    # Some keys come again, and find what the first row of the key has made.
    rows += [{"id": i, **shapes[(i + 1) % 4]} for i in range(1, 4)]
    meets = or_(Chief.size + given(Chief.size) > 4, Chief.size_of_chief < given(Chief.budget))
    unmatched: list[int] = []
    expected: list[tuple[Any, ...]] = []
    columns = [Chief.id, Chief.name, Chief.size, Chief.budget, Chief.title, Chief.size_of_chief]

    def ours(target: Any) -> None:
        arguments: Any = {"where": [meets, Chief.name == "n"], "returning": columns}
        result = fastbulk.update(target, Chief, rows, **arguments)
        unmatched.extend(result.unmatched)
        assert result.rowcount == len(rows) - len(unmatched)
        by_id = {row[0]: row for row in result}
        assert len(by_id) == len({r["id"] for n, r in enumerate(rows) if n not in unmatched})
        expected.extend(by_id.values())

    def theirs(session: Session) -> None:
        refused = []
        for number, row in enumerate(rows):
            budget: Any = literal(row["budget"], Integer)
            condition = or_(Chief.size + row["size"] > 4, Chief.size_of_chief < budget)
            query = select(Chief.id).where(Chief.id == row["id"], condition, Chief.name == "n")
            if session.scalar(query) is None:
                refused.append(number)
            else:
                session.execute(update(Chief), [row])
        assert unmatched == refused
        ids = {row["id"] for n, row in enumerate(rows) if n not in refused}
        assert sorted(expected) == [row for row in stored(session, *columns) if row[0] in ids]

    assert databases.same(ours, theirs) is None


@pytest.mark.parametrize("count", [1, 130])
def test_joined_inheritance_where_of_a_row_that_is_not_there(session: Session, count: int) -> None:
    Person, Boss = family()
    create(session, Boss, [{"id": i, "budget": 5} for i in range(1, count + 1)])
    session.execute(insert(Person), [{"id": 200}])
    there: list[dict[str, Any]] = [{"id": i, "size": 1} for i in shuffled(count)]
    # A person that is no boss is none, whatever the condition says of its name.
    for bad in ({"id": 200, "budget": 1}, {"id": 200, "size": 1}, {"id": 201, "size": 1}):
        rows = [*there, bad]
        where = [Boss.name == "nobody", Boss.budget > 4]
        error = stale(partial(fastbulk.update, session, Boss, rows, where=where))
        assert error.rows == [count]
    assert set(stored(session, Boss.size)) == {None}
    # A row that sets nothing is asked nothing.
    result = fastbulk.update(session, Boss, [*there, {"id": 1}], where=Boss.budget > 5)
    assert result.unmatched == list(range(count))
    assert result.rowcount == 0


# Rows that are not there


@pytest.mark.parametrize("count", COUNTS)
def test_rows_that_are_not_there(session: Session, count: int) -> None:
    Thing = thing()
    create(session, Thing, things(count))
    rows = [{"id": i, "name": "new"} for i in shuffled(count)]
    rows[2] = {"id": -1, "name": "new"}
    rows.append({"id": count + 1, "size": 5})
    error = stale(lambda: fastbulk.update(session, Thing, rows))
    assert error.rows == [2, count]
    assert error.row == 2
    assert stored(session, Thing.id, Thing.name, Thing.size) == [
        (row["id"], row["name"], row["size"]) for row in things(count)
    ]
    # The transaction is as it was.
    assert fastbulk.update(session, Thing, [{"id": 1, "name": "x"}]).rowcount == 1


@pytest.mark.parametrize("key", [{}, {"b": None}])
def test_a_key_that_is_not_whole(oracle: WithTables, key: dict[str, Any]) -> None:
    Thing = model(
        a=Column(Integer, primary_key=True, autoincrement=False),
        b=Column("BB", Integer, primary_key=True, autoincrement=False),
        size=Column(Integer),
    )
    databases = oracle(Thing)
    databases.fill(Thing, [{"a": 1, "b": 1, "size": 0}])
    error = check(databases, Thing, [{"a": 1, "b": 1, "size": 3}, {"a": 1, "size": 4, **key}])
    assert isinstance(error, exc.InvalidRequestError)
    assert "row 1" in str(error)
    assert "thing.BB" in str(error)


# Conditions and expressions


@pytest.mark.parametrize("count", COUNTS)
def test_where(oracle: WithTables, count: int) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(count))
    rows = [{"id": i, "name": "new"} for i in shuffled(count)]
    unmatched: list[int] = []

    def ours(target: Any) -> int:
        result = fastbulk.update(target, Thing, rows, where=Thing.size > 2)
        unmatched.extend(result.unmatched)
        return result.rowcount

    def theirs(session: Session) -> int:
        statement = update(Thing).where(Thing.size > 2)
        session.execute(statement, rows, execution_options={"synchronize_session": None})
        return count - 2

    databases.same(ours, theirs)
    assert unmatched == [i for i, row in enumerate(rows) if row["id"] in {1, 2}]


def test_where_takes_given_values_and_conditions(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(150))
    rows = [{"id": i, "size": 75 if i > 2 else 0} for i in shuffled(150)]
    result = fastbulk.update(
        session,
        Thing,
        rows,
        where=[Thing.size < given(Thing.size), or_(Thing.note == "old", Thing.name.is_(None))],
        returning=[Thing.id, Thing.size],
    )
    matched = [row["id"] for row in rows if 2 < row["id"] < 75]
    assert result.rowcount == len(matched)
    assert result.unmatched == [i for i, row in enumerate(rows) if row["id"] not in matched]
    assert result.all() == [(key, 75) for key in matched]
    # A row that is not there is stale all the same.
    error = stale(
        lambda: fastbulk.update(
            session, Thing, [{"id": 1, "size": 9}, {"id": 999, "size": 9}], where=Thing.size > 7
        )
    )
    assert error.rows == [1]
    assert stored(session, Thing.id, Thing.size)[0] == (1, 1)


def test_where_that_is_null(session: Session) -> None:
    Thing = thing()
    create(session, Thing, [{"id": 1, "size": None}, {"id": 2, "size": 2}])
    rows = [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]
    assert fastbulk.update(session, Thing, rows, where=Thing.size > 0).unmatched == [0]


@pytest.mark.parametrize("count", COUNTS)
def test_values_over_the_row_and_what_it_gives(oracle: WithTables, count: int) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, [{**row, "size": 10 * row["id"]} for row in things(count)])
    rows = [{"id": i, "size": i, "note": "new"} for i in shuffled(count)]
    rows += [{"id": 1, "size": 5, "note": "once more"}]  # the second adds to the first

    def ours(target: Any) -> int:
        values = {
            Thing.size: Thing.size + given(Thing.size),
            "name": Thing.name + "+" + given(Thing.note),
        }
        return fastbulk.update(target, Thing, rows, values=values).rowcount

    def theirs(session: Session) -> int:
        statement = (
            update(Thing)
            .values(size=Thing.size + bindparam("more"), name=Thing.name + "+" + bindparam("note"))
            .where(Thing.id == bindparam("key"))
        )
        for row in rows:
            parameters = {"key": row["id"], "more": row["size"], "note": row["note"]}
            session.connection().execute(statement, parameters)
            session.connection().execute(
                update(Thing).values(note=row["note"]).where(Thing.id == row["id"])
            )
        return len(rows)

    databases.same(ours, theirs)


def test_values_for_all_rows(oracle: WithTables) -> None:
    Thing = thing(stamp=Column(Integer, onupdate=7), flag=Column(Boolean))
    databases = oracle(Thing)
    databases.fill(Thing, things(130))
    rows = [{"id": i, "name": "x"} for i in shuffled(130)]
    values: dict[Any, Any] = {
        Thing.note: "all % ' of them",
        "size": None,
        Thing.stamp: func.length(Thing.name),
        Thing.flag: True,
    }
    databases.same(
        lambda target: fastbulk.update(target, Thing, rows, values=values).rowcount,
        lambda session: (
            session.connection()
            .execute(
                # In this order it means the same where the assignments before are seen.
                update(Thing).ordered_values(
                    (Thing.stamp, func.length(Thing.name)),
                    (Thing.name, "x"),
                    (Thing.note, "all % ' of them"),
                    (Thing.size, None),
                    (Thing.flag, True),
                )
            )
            .rowcount
        ),
    )


def test_values_are_of_the_row_as_it_was(session: Session) -> None:
    """Not as the assignments before have made it, as MySQL has it."""
    Thing = model(a=Column(Integer), b=Column(Integer), c=Column(Integer))
    create(session, Thing, [{"id": i, "a": 1, "b": 2, "c": 3} for i in range(1, 131)])
    rows = [{"id": i, "c": 9} for i in shuffled(130)]
    values = {Thing.a: Thing.b, Thing.b: Thing.a + Thing.c}
    fastbulk.update(session, Thing, rows, values=values)
    assert set(stored(session, Thing.a, Thing.b, Thing.c)) == {(2, 4, 9)}


def test_a_given_value_that_is_not_given(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(3))
    with pytest.raises(exc.InvalidRequestError, match=r"row 1.*'size'"):
        fastbulk.update(
            session,
            Thing,
            [{"id": 1, "size": 1}, {"id": 2}],
            values={Thing.size: Thing.size + given(Thing.size)},
        )
    assert stored(session, Thing.size) == [1, 2, 3]


def test_what_finds_a_row_is_not_set(session: Session) -> None:
    Thing = versioned()
    for values in ({Thing.id: 1}, {"version": 1}):
        with pytest.raises(exc.ArgumentError, match="can't set"):
            fastbulk.update(session, Thing, [{"id": 1, "version": 1}], values=values)
    with pytest.raises(exc.ArgumentError, match="'nmae'"):
        fastbulk.update(session, Thing, [{"id": 1, "version": 1}], values={"nmae": 1})


# What comes back


@pytest.mark.parametrize("count", COUNTS)
def test_returned_in_the_order_of_the_rows(session: Session, count: int) -> None:
    Thing = thing(
        stamp=Column(Integer, onupdate=7),
        twice=Column(Integer, Computed("size * 2", persisted=True)),
    )
    create(session, Thing, things(count))
    keys = shuffled(count)
    rows: list[dict[str, Any]] = [
        {"id": i, "name": f"new {i}"} if i % 2 else {"id": i, "size": -i} for i in keys
    ]
    result = fastbulk.update(
        session,
        Thing,
        [*rows, {"id": keys[0], "note": "last"}],
        returning=[Thing.id, Thing.name, Thing.stamp, Thing.twice, func.abs(Thing.size)],
    )
    assert result.rowcount == count + 1
    expected = [(i, f"new {i}", 7, 2 * i, i) if i % 2 else (i, f"n{i}", 7, -2 * i, i) for i in keys]
    assert result.all() == [*expected, expected[0]]


def test_returned_scalars_and_idle_rows(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(3))
    rows: list[dict[str, Any]] = [{"id": 3, "name": "x"}, {"id": 1}, {"id": 2, "name": "y"}]
    result = fastbulk.update(session, Thing, rows, returning=Thing.name)
    assert result.rowcount == 2
    assert result.scalars().all() == ["x", "n1", "y"]


@pytest.mark.parametrize("count", [3, 130])
def test_returned_entities_are_fresh(session: Session, count: int) -> None:
    Thing = thing(stamp=Column(Integer, onupdate=7))
    create(session, Thing, things(count))
    known = session.scalars(select(Thing).where(Thing.id < 3)).all()
    rows = [{"id": i, "name": f"new {i}"} for i in shuffled(count)]
    found = fastbulk.update(session, Thing, rows, returning=Thing).scalars().all()
    seen = statements(session)
    assert [(t.id, t.name, t.size, t.stamp) for t in found] == [
        (row["id"], row["name"], row["id"], 7) for row in rows
    ]
    assert {id(t) for t in known} <= {id(t) for t in found}
    assert all(t in session for t in found)
    assert seen == []


def test_entities_need_a_session(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    with pytest.raises(exc.InvalidRequestError, match="needs a Session"):
        fastbulk.update(engine, Thing, [{"id": 1, "name": "x"}], returning=Thing)


# What a Session knows


class Shouting(TypeDecorator[Any]):
    impl = String(50)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value and value.lower()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return value and value.upper()


def rich() -> Any:
    version = Column(Integer, nullable=False)
    return model(
        name=Column("the name", String(50)),
        price=Column(Numeric(10, 2)),
        loud=Column(Shouting),
        x=Column(Integer),
        y=Column(Integer),
        point=composite(Point, "x", "y"),
        stamp=Column(Integer, onupdate=7),
        twice=Column(Integer, Computed("x * 2", persisted=True)),
        late=deferred(Column(String(50))),
        version=version,
        __mapper_args__={"version_id_col": version},
    )


@pytest.mark.parametrize("returning", [False, True])
def test_objects_of_the_session_are_what_the_rows_are(session: Session, returning: bool) -> None:
    Thing = rich()
    first = {"name": "old", "price": Decimal(1), "loud": "A", "x": 1, "y": 2, "late": "l"}
    create(session, Thing, [{"id": i, **first} for i in range(1, 61)])
    objects = session.scalars(select(Thing).order_by(Thing.id)).all()
    assert objects[0].point == Point(1, 2)
    rows: list[dict[str, Any]] = [
        {"id": i, "version": 1, "name": "new", "price": "1.239", "loud": "Quiet"}
        for i in range(2, 60)
    ]
    rows[0] = {"id": 2, "version": 1, "point": Point(5, 6), "late": "later"}
    fastbulk.update(session, Thing, rows, returning=Thing.id if returning else None)
    columns = [a.key for a in Thing.__mapper__.column_attrs if a.key != "late"]
    expected = stored(session, *(getattr(Thing, name) for name in ["id", *columns]))
    found = [(t.id, *(getattr(t, name) for name in columns)) for t in objects]
    assert found == expected
    assert [t.point for t in objects[:3]] == [Point(1, 2), Point(5, 6), Point(1, 2)]
    assert objects[1].late == "later"
    assert objects[2].version == 2
    # What it knows of versions lets it flush.
    objects[2].name = "by flush"
    session.flush()
    assert stored(session, Thing.id, Thing.version)[:3] == [(1, 1), (2, 2), (3, 3)]


def test_objects_with_changes(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(3))
    first, second, third = session.scalars(select(Thing).order_by(Thing.id)).all()
    first.name = "flushed before"
    first.size = 100
    fastbulk.update(session, Thing, [{"id": 1, "name": "bulk"}, {"id": 2, "size": 5}])
    assert (first.name, first.size) == ("bulk", 100)
    with session.no_autoflush:
        second.name, second.size, second.note = "mine", 77, "mine"
        third.name = "mine"
        fastbulk.update(session, Thing, [{"id": 2, "size": 6}])
        assert (second.name, second.size, second.note) == ("mine", 6, "mine")
    session.flush()
    assert stored(session, Thing.id, Thing.name, Thing.size) == [
        (1, "bulk", 100),
        (2, "mine", 6),
        (3, "mine", 3),
    ]


def test_objects_of_a_hierarchy(session: Session) -> None:
    Person, Boss = family()
    create(session, Boss, [{"id": 1, "name": "a", "budget": 1}])
    boss = session.scalars(select(Person)).one()
    fastbulk.update(session, Person, [{"id": 1, "name": "b"}])
    assert boss.name == "b"
    fastbulk.update(session, Boss, [{"id": 1, "budget": 2}])
    assert (boss.name, boss.budget, boss.title) == ("b", 2, "boss")


def test_objects_after_values(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(3))
    objects = session.scalars(select(Thing).order_by(Thing.id)).all()
    values = {Thing.size: Thing.size + given(Thing.size), Thing.note: "all"}
    fastbulk.update(session, Thing, [{"id": 1, "size": 5}, {"id": 3, "size": 5}], values=values)
    assert [(t.size, t.note) for t in objects] == [(6, "all"), (2, "old"), (8, "all")]


@pytest.mark.only("sqlite")
def test_a_key_of_another_type_finds_row_and_object(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(2))
    first = session.get(Thing, 1)
    assert first is not None
    fastbulk.update(session, Thing, [{"id": "1", "name": "x"}])
    assert first.name == "x"


# Targets, transactions, errors


def test_targets(oracle: WithTables) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(3))
    engine = databases.ours
    result = fastbulk.update(engine, Thing, [{"id": 1, "name": "by engine"}], returning=Thing.name)
    assert result.scalars().all() == ["by engine"]
    with engine.connect() as connection:
        fastbulk.update(connection, Thing, [{"id": 2, "name": "by connection"}])
        fastbulk.update(connection, Thing, [{"id": 3, "name": "later"}])
        connection.commit()
        fastbulk.update(connection, Thing, [{"id": 3, "name": "undone"}])
        connection.rollback()
    with Session(engine) as session:
        fastbulk.update(session, Thing, [{"id": 3, "name": "undone"}])
        session.rollback()
        with session.begin_nested() as savepoint:
            fastbulk.update(session, Thing, [{"id": 2, "name": "undone"}])
            savepoint.rollback()
        assert stored(session, Thing.id, Thing.name) == [
            (1, "by engine"),
            (2, "by connection"),
            (3, "later"),
        ]


@pytest.mark.parametrize("count", COUNTS)
def test_all_or_nothing(engine: Engine, count: int) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    with Session(engine) as session:
        session.execute(insert(Thing), things(count))
        session.commit()
    rows: list[dict[str, Any]] = [{"id": i, "name": "new"} for i in shuffled(count)]
    rows.append({"id": 0, "size": 1})
    with pytest.raises(StaleDataError):
        fastbulk.update(engine, Thing, rows)
    with engine.connect() as connection:
        with pytest.raises(StaleDataError):
            fastbulk.update(connection, Thing, rows)
        connection.commit()
    with Session(engine) as session:
        assert "new" not in stored(session, Thing.name)


def refused(session: Session, Thing: Any, rows: Any, **arguments: Any) -> Any:
    """The error of the call, after which the table is what it was."""
    before = sorted(session.execute(select(Thing.__table__)).all(), key=repr)
    error = error_of(lambda: fastbulk.update(session, Thing, rows, **arguments))
    assert sorted(session.execute(select(Thing.__table__)).all(), key=repr) == before
    return error


def bad_row(count: int, **bad: Any) -> list[dict[str, Any]]:
    rows = [{"id": i, "size": 10_000 + i} for i in shuffled(count)]
    rows[2] = {"id": rows[2]["id"], **bad}
    return rows


@pytest.mark.parametrize("count", COUNTS)
def test_errors_name_row_and_column(session: Session, count: int) -> None:
    class Base(DeclarativeBase):
        pass

    class Other(Base):
        __tablename__ = "other"
        id = Column(Integer, primary_key=True)

    class Thing(Base):
        __tablename__ = "thing"
        id = Column(Integer, primary_key=True)
        name = Column("the name", String(50), nullable=False)
        size = Column(Integer, unique=True)
        low = Column(Integer)
        other_id = mapped_column("other", ForeignKey(Other.id))
        __table_args__ = (CheckConstraint("low >= 0", name="low_is_low"),)

    create(session, Thing, [{"id": i, "name": "x", "size": i} for i in range(1, count + 1)])
    session.execute(insert(Thing), [{"id": -5, "name": "x", "size": 0}])
    assert place(refused(session, Thing, bad_row(count, name=None))) == (2, "name", None)
    assert place(refused(session, Thing, bad_row(count, size=0))) == (2, "size", 0)
    assert place(refused(session, Thing, bad_row(count, low=-1))) == (2, "low", -1)
    assert place(refused(session, Thing, bad_row(count, other_id=9))) == (2, "other_id", 9)
    error = refused(session, Thing, bad_row(count, size=0))
    assert isinstance(error, exc.IntegrityError)


def test_values_that_cannot_be_sent(session: Session) -> None:
    Thing = model(size=Column(Integer), color=Column(Enum(Color)), day=Column(Date))
    create(session, Thing, [{"id": i} for i in range(1, 131)])
    error = refused(session, Thing, bad_row(130, color=7))
    assert place(error) == (2, "color", 7)
    error = refused(session, Thing, bad_row(130, size=2**64))
    assert place(error) == (2, "size", 2**64)
    error = refused(session, Thing, bad_row(130, size=Thing.id + 1))
    assert (error.row, error.column) == (2, "size")


def test_keys_exchanged(oracle: WithTables) -> None:
    """Rows are refused or not as they are one after the other."""
    Thing = model(size=Column(Integer, unique=True))
    databases = oracle(Thing)
    databases.fill(Thing, [{"id": 1, "size": 1}, {"id": 2, "size": 2}, {"id": 3, "size": 3}])
    check(databases, Thing, [{"id": 3, "size": 4}, {"id": 2, "size": 3}, {"id": 1, "size": 2}])


def test_progress(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(200))
    seen: list[tuple[int, int | None]] = []
    rows = [{"id": i, "name": "new"} for i in shuffled(200)]
    fastbulk.update(session, Thing, rows, progress=lambda *done: seen.append(done))
    assert seen[-1] == (200, 200)

    def stop(*done: Any) -> None:
        raise LookupError(done)

    with pytest.raises(LookupError):
        fastbulk.update(session, Thing, [{"id": 1, "name": "undone"}], progress=stop)
    assert stored(session, Thing.id, Thing.name)[0] == (1, "new")


def test_explain(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(1))
    seen = statements(session)
    road = fastbulk.explain(
        session, Thing, verb="update", values={Thing.size: Thing.size + given(Thing.size)}
    )
    assert road.name == "native"
    assert road.sql is not None
    assert "UPDATE" in road.sql
    assert "SET" in road.sql
    assert not [sql for sql in seen if sql.startswith("UPDATE")]


def test_schemas_are_translated(databases: Oracle) -> None:
    schema = {"sqlite": None, "postgresql": "public"}.get(
        databases.ours.dialect.name, databases.ours.url.database
    )
    Thing = thing()
    databases.create(Thing)
    databases.fill(Thing, things(2))
    Far = thing(args={"schema": "elsewhere"})
    fastbulk.update(
        databases.ours,
        Far,
        [{"id": 1, "name": "x"}],
        execution_options={"schema_translate_map": {"elsewhere": schema}},
    )
    with Session(databases.ours) as session:
        assert stored(session, Thing.id, Thing.name) == [(1, "x"), (2, "n2")]


#: How rows may be held.
CALLS: dict[str, Callable[[Any], Any]] = {
    "generator": lambda rows: (row for row in rows),
    "tuple": tuple,
}


@pytest.mark.parametrize("call", CALLS)
def test_rows_are_read_once_and_not_changed(session: Session, call: str) -> None:
    Thing = thing()
    create(session, Thing, things(3))
    rows: list[dict[Any, Any]] = [{Thing.id: 1, "name": "a"}, {"id": 2, "name": None}]
    copies = [dict(row) for row in rows]
    fastbulk.update(session, Thing, CALLS[call](rows))
    assert rows == copies
    assert stored(session, Thing.id, Thing.name) == [(1, "a"), (2, None), (3, "n3")]
