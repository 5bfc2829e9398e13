"""Mappings of every kind, with and without acceleration: nothing differs but the clock."""

from __future__ import annotations

import decimal
import enum
import itertools
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    Numeric,
    String,
    Table,
    case,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.declarative import AbstractConcreteBase
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    declarative_base,
    deferred,
    mapped_column,
    query_expression,
    registry,
    synonym,
)
from test_accelerate import outcome

import fastbulk
from oracle import model, with_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from oracle import WithTables

pytestmark = [
    pytest.mark.sync,
    pytest.mark.only("sqlite-memory", "psycopg", "mariadb-mysqldb", "mysql-pymysql"),
]


def imperative() -> Any:
    """Attributes have other names than columns, and one column is not mapped."""
    mapped = registry()
    table = Table(
        "thing",
        mapped.metadata,
        Column("key", Integer, primary_key=True),
        Column("the name", String(30)),
        Column("n", Integer, key="number"),
        Column("hidden", Integer, server_default="4"),
    )
    Thing = type("Thing", (), {})
    properties = {
        "id": table.c.key,
        "name": table.c["the name"],
        "n": table.c.number,
        "called": synonym("name"),
        "size": column_property(func.length(table.c["the name"])),
    }
    mapped.map_imperatively(Thing, table, properties=properties, exclude_properties=["hidden"])
    return Thing


class Colour(enum.Enum):
    """Stored by name."""

    RED = 1
    BLUE = 2


Name = Annotated[str, mapped_column(String(30), default="annotated")]
Price = Annotated[decimal.Decimal, "price"]


def annotated() -> Any:
    """Types come from the annotations alone."""

    class Base(DeclarativeBase):
        type_annotation_map = {int: BigInteger, dict[str, Any]: JSON, Price: Numeric(10, 2)}

    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(Integer, primary_key=True)
        name: Mapped[Name]
        n: Mapped[int | None]
        data: Mapped[dict[str, Any] | None]
        price: Mapped[Price | None]
        colour: Mapped[Colour | None]

    return Thing


def prefixed() -> Any:
    class Thing(declarative_base()):  # type: ignore[misc]
        __table__ = Table(
            "thing",
            registry().metadata,
            Column("id", Integer, primary_key=True),
            Column("name", String(30)),
            Column("n", Integer),
        )
        __mapper_args__: Any = {"column_prefix": "_", "confirm_deleted_rows": False, "batch": False}

    return Thing


def included() -> Any:
    class Thing(declarative_base()):  # type: ignore[misc]
        __table__ = Table(
            "thing",
            registry().metadata,
            Column("id", Integer, primary_key=True),
            Column("name", String(30)),
            Column("n", Integer),
            Column("hidden", Integer, default=3),
        )
        __mapper_args__: Any = {
            "include_properties": ["id", "name", "n"],
            "eager_defaults": True,
            "always_refresh": True,
        }

    return Thing


def another_key() -> Any:
    """The mapper's primary key is another than the table's, in another order."""

    class Thing(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        row = mapped_column(Integer, primary_key=True)
        id = mapped_column(Integer, unique=True)
        name = mapped_column(String(30))
        n = mapped_column(Integer)
        __mapper_args__: Any = {"primary_key": [id], "allow_partial_pks": False}

    return Thing


def expression() -> Any:
    """The class of a row follows from an expression."""

    class Thing(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(30))
        n = mapped_column(Integer)
        kind = column_property(case((n > 20, "large"), else_="small"))
        __mapper_args__: Any = {"polymorphic_on": kind, "polymorphic_identity": "small"}

    class Large(Thing):
        __mapper_args__ = {"polymorphic_identity": "large", "polymorphic_load": "inline"}

    return Thing


def three_levels() -> Any:
    """Joined inheritance over a single one, with an abstract class in between."""

    class Thing(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(30))
        kind = mapped_column(String(9))
        __mapper_args__: Any = {"polymorphic_on": "kind", "polymorphic_identity": "thing"}

    class Part(Thing):
        __mapper_args__ = {"polymorphic_abstract": True}

    class Wheel(Part):
        __tablename__ = "wheel"
        id = mapped_column("wheel_id", ForeignKey("thing.id"), primary_key=True)
        n = mapped_column(Integer, onupdate=7)
        __mapper_args__ = {"polymorphic_identity": "wheel"}

    return Wheel


def concrete() -> Any:
    class Base(declarative_base()):  # type: ignore[misc]
        __tablename__ = "base"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(30))

    class Thing(Base):
        __tablename__ = "thing"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(30))
        n = mapped_column(Integer)
        __mapper_args__ = {"concrete": True}

    return Thing


def union() -> Any:
    """Rows are read from a union of tables, of which no INSERT can return columns."""

    class Base(declarative_base(), AbstractConcreteBase):  # type: ignore[misc]
        pass

    class Thing(Base):
        __tablename__ = "thing"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(30))
        n = mapped_column(Integer)
        __mapper_args__ = {"polymorphic_identity": "thing", "concrete": True}

    Thing.registry.configure()
    return Thing


def versions(generator: Any) -> Callable[[], Any]:
    def versioned() -> Any:
        class Thing(declarative_base()):  # type: ignore[misc]
            __tablename__ = "thing"
            id = mapped_column(Integer, primary_key=True)
            name = mapped_column(String(30))
            n = mapped_column(Integer)
            ver = mapped_column(String(30), nullable=False, default="own")
            __mapper_args__ = {"version_id_col": ver, "version_id_generator": generator}

        return Thing

    return versioned


def deferring() -> Any:
    return model(
        name=deferred(mapped_column(String(30), server_default="x"), group="late"),
        n=mapped_column(Integer),
        asked=query_expression(),
    )


MAPPINGS: dict[str, Callable[[], Any]] = {
    "imperative": imperative,
    "annotated": annotated,
    "column_prefix": prefixed,
    "include_properties": included,
    "primary_key": another_key,
    "polymorphic_on an expression": expression,
    "three levels": three_levels,
    "concrete": concrete,
    "union": union,
    "version_id_generator": versions(lambda old: f"{old}+"),
    "version_id_generator False": versions(False),
    "deferred": deferring,
}


def all_calls(Thing: Any, returns: bool) -> Callable[[Session], Any]:
    """Each of the bulk calls, with rows of whatever the class has."""
    names = set(Thing.__mapper__.attrs.keys())
    name, n = ("name", "n") if "name" in names else ("_name", "_n")
    key = Thing.__mapper__.primary_key[0]
    key_name = Thing.__mapper__.get_property_by_column(key).key
    versioned = {"ver": "a"} if Thing.__mapper__.version_id_col is not None else {}
    numbers = itertools.count(1)
    more = {"data": {"a": [1]}, "price": decimal.Decimal("1.239"), "colour": Colour.BLUE}
    more = {attribute: value for attribute, value in more.items() if attribute in names}

    def rows(count: int) -> list[dict[str, Any]]:
        made = [{name: f"n{i}", n: i, **more, **versioned} for i in range(count)]
        if "row" in names:
            made = [{**row, "id": next(numbers)} for row in made]
        return [*made, {**made[0], n: None, **({"id": next(numbers)} if "row" in names else {})}]

    def work(session: Session) -> list[Any]:
        session.execute(insert(Thing), rows(40))
        session.bulk_insert_mappings(Thing, rows(3))
        session.bulk_save_objects([Thing(**row) for row in rows(2)])
        found: list[Any] = []
        if returns:
            sent = insert(Thing).returning(Thing, sort_by_parameter_order=True)
            found = [
                {k: v for k, v in vars(each).items() if k[0] != "_" or k[1:] in {"name", "n"}}
                for each in session.scalars(sent, rows(30))
            ]
        versions: dict[Any, Any] = {}
        if versioned:
            versions = dict(session.execute(select(getattr(Thing, key_name), Thing.ver)).all())
        given = [{key_name: i, n: i * 2} for i in range(1, 31)]
        if versioned:
            given = [{**row, "ver": versions[row[key_name]]} for row in given]
        session.execute(update(Thing), given, execution_options={"synchronize_session": None})
        if versioned:
            versions = dict(session.execute(select(getattr(Thing, key_name), Thing.ver)).all())
            given = [{**row, "ver": versions[row[key_name]]} for row in given]
        session.bulk_update_mappings(Thing, [{**row, name: "again"} for row in given[:5]])
        session.expire_all()
        held = session.scalars(select(Thing).limit(3)).all()
        for each in held:
            setattr(each, name, "saved")
        session.bulk_save_objects(held)
        return [{key: with_type(value) for key, value in row.items()} for row in found]

    return work


@pytest.mark.parametrize("kind", MAPPINGS)
def test_mappings(oracle: WithTables, kind: str) -> None:
    made = {}
    databases = oracle(MAPPINGS[kind]())
    returns = databases.ours.dialect.insert_executemany_returning

    def done(engine: Engine) -> Any:
        # One class cannot be read in two databases without leaving traces of the first.
        made[engine] = MAPPINGS[kind]()
        return outcome(engine, databases.backend.contents, all_calls(made[engine], returns))

    theirs = done(databases.theirs)
    with fastbulk.accelerate(databases.ours) as accelerated:
        ours = done(databases.ours)
    assert ours == theirs
    assert accelerated.stats()["taken"]
