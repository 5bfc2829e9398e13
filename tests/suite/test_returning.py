"""What comes back, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Date,
    ForeignKey,
    Integer,
    String,
    TypeDecorator,
    event,
    exc,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    Bundle,
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    column_property,
    composite,
    deferred,
    joinedload,
    load_only,
    mapped_column,
    relationship,
    selectinload,
    undefer,
)

import fastbulk
from oracle import comparable, model, spelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect, Engine

    from fastbulk import Result
    from oracle import WithTables


def thing() -> Any:
    return model(name=Column("the name", String), size=Column(Integer, server_default="7"))


def rows(count: int = 3) -> list[dict[str, Any]]:
    return [{"name": f"n{i}"} for i in range(count)]


ENTRIES: dict[str, Callable[[Any], Any]] = {
    "attribute": lambda T: T.id,
    "a list of one": lambda T: [T.name],
    "attributes": lambda T: [T.size, T.id, T.name],
    "column": lambda T: [T.__table__.c["the name"]],
    "table": lambda T: T.__table__,
    "label": lambda T: [T.name.label("title"), T.id],
    "expression": lambda T: [T.id + 5, T.name],
    "function": lambda T: [func.upper(T.name), func.coalesce(T.size, 3).label("c")],
    "literal": lambda T: [literal_column("'x'").label("x"), T.id],
    "the same twice": lambda T: [T.id, T.id, T.name],
    "class": lambda T: T,
    "class and attribute": lambda T: [T, T.id],
    "attribute and class": lambda T: [T.name, T, func.length(T.name)],
    "bundle": lambda T: [Bundle("both", T.id, T.name), T.size],
    "a bundle alone": lambda T: Bundle("both", T.id, T.name),
    "alone in a bundle": lambda T: Bundle("one", T.id, single_entity=True),
}


@pytest.mark.parametrize("entries", ENTRIES.values(), ids=ENTRIES.keys())
def test_what_sqlalchemy_returns(oracle: WithTables, entries: Callable[[Any], Any]) -> None:
    Thing = thing()
    oracle(Thing).check(Thing, rows(), returning=entries(Thing))


@pytest.mark.parametrize("name", [name for name in ENTRIES if "class" not in name])
def test_what_sqlalchemy_returns_through_a_connection(oracle: WithTables, name: str) -> None:
    Thing = thing()
    databases = oracle(Thing)
    with databases.ours.begin() as connection:
        entries = ENTRIES[name](Thing)
        result = fastbulk.insert(connection, Thing, rows(), returning=entries)
        ours = comparable(result)
    assert ours == databases.by_sqlalchemy(Thing, rows(), returning=ENTRIES[name](Thing))


def test_the_methods_of_a_result(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())

    def returned(*entries: Any) -> Result:
        return fastbulk.insert(session, Thing, rows(), returning=list(entries))

    assert returned(Thing.id).scalars().all() == [1, 2, 3]
    assert returned(Thing.id).first() == (4,)
    assert [row.name for row in returned(Thing.id, Thing.name)] == ["n0", "n1", "n2"]
    mapping = returned(Thing.id, Thing.name).mappings().first()
    assert mapping is not None
    assert dict(mapping) == {"id": 10, "name": "n0"}
    assert returned(Thing.size).unique().all() == [(7,)]
    assert returned(Thing.id, Thing.name).columns("name").all() == [("n0",), ("n1",), ("n2",)]
    assert [len(part) for part in returned(Thing.id).partitions(2)] == [2, 1]
    assert returned(Thing.id, Thing.name).scalars("name").all() == ["n0", "n1", "n2"]
    row = returned(Thing.id, Thing.name).first()
    assert row is not None
    assert row._mapping[Thing.name] == row.name == row[1] == "n0"
    with pytest.raises(exc.MultipleResultsFound):
        returned(Thing.id).one()
    frozen = returned(Thing.name).freeze()
    assert frozen().all() == frozen().all() == [("n0",), ("n1",), ("n2",)]


def test_without_returning_there_are_no_rows(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    result = fastbulk.insert(session, Thing, rows())
    assert result.rowcount == 3
    with pytest.raises(exc.ResourceClosedError):
        result.all()
    with pytest.raises(exc.ResourceClosedError):
        result.scalars().first()


def test_rowcount_with_returning(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    assert fastbulk.insert(session, Thing, rows(250), returning=Thing.id).rowcount == 250


@pytest.mark.parametrize("count", [1, 10, 101, 3_205, 21_000])
def test_the_order_is_that_of_the_rows(session: Session, count: int) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    names = [f"{i * 7919 % count}" for i in range(count)]
    result = fastbulk.insert(
        session, Thing, [{"name": name} for name in names], returning=[Thing.name, Thing.id]
    )
    assert result.all() == [(name, i + 1) for i, name in enumerate(names)]


def test_the_order_with_given_keys_is_that_of_the_rows(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    keys = [1_000_000 - i * 7919 % 5_003 for i in range(5_000)]
    fastbulk.insert(session, Thing, [{"id": 2_000_000}])
    given = [{"id": key, "name": str(key)} if key % 3 else {"name": "new"} for key in keys]
    returned = fastbulk.insert(session, Thing, given, returning=[Thing.id, Thing.name]).all()
    for row, (key, name) in zip(given, returned, strict=True):
        assert row["name"] == name
        assert row.get("id", key) == key


@pytest.mark.only("sqlite")
def test_the_order_where_the_greatest_key_is_taken(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    session.execute(insert(Thing), [{"id": 2**63 - 1}])
    # SQLite picks keys at random from here on.
    returned = fastbulk.insert(session, Thing, rows(300), returning=[Thing.name, Thing.id]).all()
    assert [name for name, _ in returned] == [f"n{i}" for i in range(300)]
    assert session.execute(
        select(Thing.name, Thing.id).where(Thing.id.in_([key for _, key in returned]))
    ).all() == sorted(returned, key=lambda row: row.id)


class Shouting(TypeDecorator[Any]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value and value.lower()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return value and value.upper()


def test_values_come_through_their_types(oracle: WithTables) -> None:
    Thing = model(name=Column(Shouting), day=Column(Date), data=Column(JSON))
    given = [{"name": "a", "day": date(2020, 1, 2), "data": {"b": 1}}, {}]
    oracle(Thing).check(Thing, given, returning=[Thing.name, Thing.day, Thing.data])
    oracle(Thing).check(Thing, given, returning=Thing)


def test_a_result_processor_that_raises(session: Session) -> None:
    class Broken(TypeDecorator[Any]):
        impl = String
        cache_ok = True

        def process_result_value(self, value: Any, dialect: Dialect) -> None:
            raise LookupError(value)

    Thing = model(name=Column(Broken))
    Thing.metadata.create_all(session.connection())
    with pytest.raises(LookupError, match="n0"):
        fastbulk.insert(session, Thing, rows(), returning=Thing.name)


@pytest.mark.without("mysql")  # its oracle loads the expressions, too
def test_expressions_of_the_mapping(oracle: WithTables) -> None:
    class Base(DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "thing"
        id = Column(Integer, primary_key=True)
        name = Column(String)
        doubled = column_property(id * 2)

        @hybrid_property
        def label(self) -> Any:
            return self.name + "!"

    oracle(Thing).check(Thing, rows(), returning=[Thing.label, Thing.doubled, Thing.id])
    oracle(Thing).check(Thing, rows(), returning=Thing)


@dataclass
class Point:
    x: int
    y: int


def test_a_composite(oracle: WithTables) -> None:
    Thing = model(
        x=Column("px", Integer), y=Column("py", Integer), point=composite(Point, "x", "y")
    )
    given = [{"x": 1, "y": 2}, {"point": Point(3, 4)}]
    oracle(Thing).check(Thing, given, returning=[Thing.point, Thing.x])
    oracle(Thing).check(Thing, given, returning=Thing)


def test_entities_are_persistent_and_hold_what_the_database_made(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    things = fastbulk.insert(session, Thing, rows(500), returning=Thing).scalars().all()
    assert all(thing in session for thing in things)
    with_statements = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *a: with_statements.append(a))
    assert [(thing.id, thing.name, thing.size) for thing in things[:2]] == [
        (1, "n0", 7),
        (2, "n1", 7),
    ]
    assert with_statements == []
    things[0].name = "changed"
    session.flush()
    assert session.scalar(select(Thing.__table__.c["the name"]).where(Thing.id == 1)) == "changed"


def test_entities_outlive_the_result_only_where_they_are_held(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    first = fastbulk.insert(session, Thing, rows(), returning=Thing).scalars().first()
    assert list(session.identity_map.values()) == [first]


@pytest.mark.without("mysql")
@pytest.mark.parametrize("populate_existing", [False, True])
def test_an_object_that_the_session_has_already(
    oracle: WithTables, populate_existing: bool
) -> None:
    Thing = thing()
    databases = oracle(Thing)
    options = {"populate_existing": True} if populate_existing else {}

    def outcome(engine: Engine, insert_again: Callable[[Session], Any]) -> tuple[str, int]:
        with Session(engine) as session:
            known = Thing(id=1, name="old", size=1)
            session.add(known)
            session.flush()
            session.connection().exec_driver_sql("DELETE FROM thing")
            found = insert_again(session)
            assert found is known
            return found.name, found.size

    def ours(session: Session) -> Any:
        given = [{"id": 1, "name": "new"}]
        result = fastbulk.insert(session, Thing, given, returning=Thing, execution_options=options)
        return result.scalars().one()

    def theirs(session: Session) -> Any:
        statement = insert(Thing).returning(Thing)
        given = [{"id": 1, "name": "new"}]
        return session.scalars(statement, given, execution_options=options).one()

    expected = ("new", 7) if populate_existing else ("old", 1)
    assert outcome(databases.theirs, theirs) == expected
    assert outcome(databases.ours, ours) == expected


def family() -> tuple[Any, Any]:
    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parent"
        id = Column(Integer, primary_key=True)
        name = Column(String)
        note = deferred(Column(String))
        children = relationship("Child", back_populates="parent")

    class Child(Base):
        __tablename__ = "child"
        id = Column(Integer, primary_key=True)
        parent_id: Mapped[int | None] = mapped_column(ForeignKey(Parent.id))
        parent = relationship(Parent, back_populates="children")

    return Parent, Child


OPTIONS: dict[str, Callable[[Any], Any]] = {
    "none": lambda P: [],
    "load_only": lambda P: [load_only(P.name)],
    "selectinload": lambda P: [selectinload(P.children)],
    "undefer": lambda P: [undefer(P.note)],
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_loader_options_of_entities(oracle: WithTables, options: Callable[[Any], Any]) -> None:
    Parent, _ = family()
    given = [{"name": "a", "note": "x"}, {"name": "b"}]
    oracle(Parent).check(Parent, given, returning=Parent, options=options(Parent))


def test_selectinload_loads_at_once(session: Session) -> None:
    Parent, Child = family()
    Parent.metadata.create_all(session.connection())
    fastbulk.insert(session, Parent, [{"name": "a"}, {"name": "b"}])
    given = [{"parent_id": 1 + i % 2} for i in range(20)]
    result = fastbulk.insert(
        session, Child, given, returning=Child, options=[selectinload(Child.parent)]
    )
    children = result.scalars().all()
    statements = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *a: statements.append(a))
    assert [child.parent.name for child in children] == ["a", "b"] * 10
    assert statements == []


@pytest.mark.without("mysql")  # SQLAlchemy returns nothing there
def test_options_that_dml_does_not_take_warn_as_sqlalchemy_does(oracle: WithTables) -> None:
    Parent, _ = family()
    databases = oracle(Parent)
    arguments = {"returning": Parent, "options": [joinedload(Parent.children)]}
    with pytest.warns(exc.SADeprecationWarning, match="not compatible with DML"):
        databases.by_sqlalchemy(Parent, [{"name": "a"}], **arguments)
    with pytest.warns(exc.SADeprecationWarning, match="not compatible with DML"):
        databases.by_fastbulk(Parent, [{"name": "a"}], **arguments)


def test_a_lazy_relationship_of_a_returned_entity_loads(session: Session) -> None:
    Parent, Child = family()
    Parent.metadata.create_all(session.connection())
    parent = fastbulk.insert(session, Parent, [{"name": "a"}], returning=Parent).scalars().one()
    fastbulk.insert(session, Child, [{"parent_id": parent.id}] * 2)
    assert [child.parent for child in parent.children] == [parent, parent]


def test_events_of_loaded_entities(oracle: WithTables) -> None:
    Thing = thing()
    seen = []
    event.listen(Thing, "load", lambda target, context: seen.append(("load", target.name)))
    event.listen(Thing, "refresh", lambda target, *_: seen.append(("refresh", target.name)))
    databases = oracle(Thing)
    databases.by_fastbulk(Thing, rows(), returning=Thing)
    ours = seen.copy()
    seen.clear()
    databases.by_sqlalchemy(Thing, rows(), returning=Thing)
    assert ours == seen == [("load", "n0"), ("load", "n1"), ("load", "n2")]


def test_entities_need_a_session(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    with pytest.raises(exc.InvalidRequestError, match="needs a Session"):
        fastbulk.insert(engine, Thing, rows(), returning=Thing)
    with engine.begin() as connection:
        with pytest.raises(exc.InvalidRequestError, match="needs a Session"):
            fastbulk.insert(connection, Thing, rows(), returning=[Thing.id, Thing])
        assert connection.execute(select(Thing.id)).all() == []


@pytest.mark.parametrize("entry", ["name", object(), int], ids=spelled)
def test_what_cannot_be_returned(session: Session, entry: Any) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError):
        fastbulk.insert(session, Thing, rows(), returning=entry)
    assert session.scalars(select(Thing.id)).all() == []


@pytest.mark.parametrize("entry", [aliased, lambda Thing: aliased(Thing).id])
def test_an_alias_cannot_be_returned(session: Session, entry: Callable[[Any], Any]) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError, match="alias of thing"):
        fastbulk.insert(session, Thing, rows(), returning=entry(Thing))
    assert session.scalars(select(Thing.id)).all() == []


def test_a_column_of_another_table_cannot_be_returned(session: Session) -> None:
    Parent, Child = family()
    Parent.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError, match="child"):
        fastbulk.insert(session, Parent, rows(), returning=[Parent.id, Child.id])
    assert session.scalars(select(Parent.id)).all() == []


def test_an_empty_list_returns_no_rows(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.ResourceClosedError):
        fastbulk.insert(session, Thing, rows(), returning=[]).all()
