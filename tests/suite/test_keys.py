"""What the keys of a row may be."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, String, Table, exc, insert, select
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    column_property,
    composite,
    deferred,
    mapped_column,
    relationship,
    synonym,
)
from sqlalchemy.sql import quoted_name

import fastbulk
from oracle import model

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from sqlalchemy.orm import Session

    from oracle import WithTables


@dataclass
class Point:
    x: int
    y: int | None


class Text(str):
    __slots__ = ()


class Names(str, enum.Enum):
    NAME = "name"


def thing() -> Any:
    return model(name=Column("the name", String), size=Column(Integer, key="length"))


def names(session: Session, Thing: Any) -> Sequence[str]:
    return session.scalars(select(Thing.name)).all()


def test_keys_are_attribute_names_and_not_column_names(oracle: WithTables) -> None:
    Thing = thing()
    oracle(Thing).check(Thing, [{"name": "Ann", "size": 3}], returning=[Thing.name, Thing.size])


@pytest.mark.parametrize("key", ["nmae", "the name", "length", "metadata", "", 7, None, String])
def test_an_unknown_key_is_refused_by_row_and_name(session: Session, key: Any) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    rows = [{"name": "Ann"}] * 500 + [{"name": "Bob", key: 1}]
    with pytest.raises(exc.ArgumentError) as caught:
        fastbulk.insert(session, Thing, rows)
    assert str(caught.value).startswith(f"row 500: Thing has no column attribute {key!r}")
    assert names(session, Thing) == []


def test_the_message_of_an_unknown_key_names_its_neighbours(session: Session) -> None:
    with pytest.raises(exc.ArgumentError, match="did you mean 'name'"):
        fastbulk.insert(session, thing(), [{"nmae": 1}])


def test_unknown_keys_are_ignored_on_request_as_sqlalchemy_does(oracle: WithTables) -> None:
    Thing = thing()
    databases = oracle(Thing)
    rows = [{"name": "Ann", "nmae": "x"}, {"the name": "x"}, {"size": 1, 7: 8}]
    databases.check(Thing, [])
    with databases.theirs.begin() as connection:
        connection.execute(insert(Thing), [{"the name": "Ann"}, {"the name": None}])
        connection.execute(insert(Thing), [{"length": 1}])
    fastbulk.insert(databases.ours, Thing, rows, unknown="ignore")
    assert databases.contents(databases.ours) == databases.contents(databases.theirs)


def test_attributes_are_keys(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [{Thing.name: "Ann", "size": 1}, {"name": "Bob"}])
    assert names(session, Thing) == ["Ann", "Bob"]


def test_attributes_of_another_class_are_unknown(session: Session) -> None:
    Thing, Other = thing(), thing()
    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError, match="row 0: Thing has no column attribute"):
        fastbulk.insert(session, Thing, [{Other.name: "Ann"}])


@pytest.mark.parametrize("key", [Text("name"), quoted_name("name", True), Names.NAME])
def test_subclasses_of_str_are_keys(session: Session, key: str) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [{key: "Ann"}, {"name": "Bob"}])
    assert names(session, Thing) == ["Ann", "Bob"]


def test_keys_that_are_equal_but_not_the_same_object(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    rows = [{"".join(["na", "me"]): str(i), "".join(["si", "ze"]): i} for i in range(300)]
    fastbulk.insert(session, Thing, rows)
    assert names(session, Thing) == [str(i) for i in range(300)]


def test_keys_in_changing_order(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    rows = [{"name": "a", "size": 1}, {"size": 2, "name": "b"}, {"size": 3}, {"name": "d"}] * 50
    fastbulk.insert(session, Thing, rows)
    found = session.execute(select(Thing.name, Thing.size)).all()
    assert found == [("a", 1), ("b", 2), (None, 3), ("d", None)] * 50


def test_a_synonym_is_the_attribute_that_it_names(session: Session) -> None:
    Thing = model(name=Column(String), title=synonym("name"), label=synonym("title"))
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [{"title": "Ann"}, {"label": "Bob"}])
    assert names(session, Thing) == ["Ann", "Bob"]


def composed() -> Any:
    return model(x=Column("px", Integer), y=Column("py", Integer), point=composite(Point, "x", "y"))


def test_a_composite_is_given_whole_or_in_parts(oracle: WithTables) -> None:
    Thing = composed()
    rows = [{"point": Point(1, 2)}, {"x": 3, "y": 4}, {"point": Point(5, None)}, {}]
    oracle(Thing).check(Thing, rows, returning=[Thing.id, Thing.x, Thing.y])


def test_a_composite_in_an_object(session: Session) -> None:
    Thing = composed()
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [Thing(point=Point(1, 2))])
    assert session.execute(select(Thing.x, Thing.y)).all() == [(1, 2)]


def test_a_composite_that_is_none_is_null_in_its_parts(session: Session) -> None:
    """SQLAlchemy's bulk insert raises AttributeError."""
    Thing = composed()
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [{"point": None}, {"point": Point(1, 2)}])
    assert session.execute(select(Thing.x, Thing.y)).all() == [(None, None), (1, 2)]


@pytest.mark.skipif(not hasattr(hybrid_property, "bulk_dml"), reason="SQLAlchemy 2.1")
def test_a_hybrid_that_knows_bulk_dml_is_a_key(oracle: WithTables) -> None:
    class Base(DeclarativeBase):
        pass

    class Priced(Base):
        __tablename__ = "priced"
        id = Column(Integer, primary_key=True)
        net = Column(Integer)
        tax = Column(Integer)

        @hybrid_property
        def gross(self) -> Any:
            return self.net + self.tax

        @gross.inplace.bulk_dml
        @classmethod
        def _gross_bulk_dml(cls, mapping: MutableMapping[str, Any], value: Any) -> None:
            mapping["net"] = value - mapping["tax"]

    rows = [{"gross": 12, "tax": 2}, {"tax": 3, "gross": 10}, {"net": 1}]
    oracle(Priced).check(Priced, rows, returning=[Priced.net, Priced.tax])


def test_a_deferred_column_is_a_key(oracle: WithTables) -> None:
    Thing = model(name=deferred(Column(String)))
    oracle(Thing).check(Thing, [{"name": "Ann"}], returning=Thing.name)


def with_relationship() -> tuple[Any, Any]:
    class Base(DeclarativeBase):
        pass

    class Owner(Base):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
        owner_id: Mapped[int | None] = mapped_column(ForeignKey(Owner.id))
        owner = relationship(Owner)

    return Owner, Thing


def test_a_relationship_is_no_key(session: Session) -> None:
    Owner, Thing = with_relationship()
    with pytest.raises(exc.ArgumentError, match="row 1: 'owner' is a relationship"):
        fastbulk.insert(session, Thing, [{}, {"owner": Owner()}])
    with pytest.raises(exc.ArgumentError, match="row 0: 'owner' is a relationship"):
        fastbulk.insert(session, Thing, [Thing(owner=Owner())])


def test_an_object_whose_relationship_is_empty_is_a_row(session: Session) -> None:
    Owner, Thing = with_relationship()
    Owner.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [Thing(owner=None)])
    assert session.scalars(select(Thing.owner_id)).all() == [None]


@pytest.mark.parametrize("key", ["doubled", "expression"])
def test_a_sql_expression_is_no_key(session: Session, key: str) -> None:
    class Base(DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "thing"
        id = Column(Integer, primary_key=True)
        expression = column_property(id + 1)

        @hybrid_property
        def doubled(self) -> Any:
            return self.id * 2

    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError, match=f"row 0: Thing has no column attribute '{key}'"):
        fastbulk.insert(session, Thing, [{key: 1}])


def test_a_column_that_the_mapper_leaves_out_is_no_key_but_has_its_default(
    oracle: WithTables,
) -> None:
    class Base(DeclarativeBase):
        pass

    columns = [Column("name", String), Column("hidden", String, default="x")]

    class Thing(Base):
        if TYPE_CHECKING:
            id: Mapped[int]

        __table__ = Table("thing", Base.metadata, Column("id", Integer, primary_key=True), *columns)
        __mapper_args__ = {"exclude_properties": ["hidden"]}

    oracle(Thing).check(Thing, [{"name": "Ann"}, {}], returning=Thing.id)
    with pytest.raises(exc.ArgumentError, match="'hidden'"):
        fastbulk.insert(oracle(Thing).ours, Thing, [{"hidden": "y"}])


def test_the_argument_unknown_has_two_values(session: Session) -> None:
    unknown: Any = "warn"
    with pytest.raises(exc.ArgumentError, match="unknown"):
        fastbulk.insert(session, thing(), [{}], unknown=unknown)
