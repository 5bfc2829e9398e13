"""Types and their processors."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    PickleType,
    String,
    Time,
    TypeDecorator,
    Uuid,
    func,
    insert,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import UserDefinedType

from oracle import model
from world import POSTGRESQL, RETURNS, World, behaviour


def inserted(world: World, type_: Any, *values: Any, alone: tuple[Any, ...] = ()) -> Any:
    """Inserts these together, and each of the others in a call of its own."""
    Thing = world.create(model(value=mapped_column(type_)))
    rows = [{"value": value} for value in values]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    if world.oracle.backend.speaks[0] != "mysql":
        statement = insert(Thing).returning(Thing.value)
        world.attempt(lambda session: session.execute(statement, rows).all())
    for value in alone:
        world.attempt(lambda s, value=value: s.execute(insert(Thing), [{"value": value}] * 2))
    return Thing


class Marked(TypeDecorator[str]):
    """Marks what goes in and what comes out."""

    impl = String(50)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return f"in {value}"

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return f"out {value}"


@behaviour(
    33,
    "A decorated type sees each value, defaults too, and not the None that is left out; and each "
    "value that comes back.",
)
def test_decorated_types(world: World) -> None:
    Thing = world.create(
        model(
            name=mapped_column(Marked),
            default=mapped_column(Marked, default="d"),
            n=mapped_column(Integer),
        )
    )
    rows = [{"name": "a"}, {"name": None, "n": 1}, {"name": "b", "default": "c"}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    if world.oracle.backend.speaks[0] != "mysql":
        statement = insert(Thing).returning(Thing.name, Thing.default)
        world.attempt(lambda session: session.execute(statement, rows).all())
    world.attempt(lambda s: s.execute(update(Thing), [{"id": 1, "name": None}]))


class Lower(UserDefinedType[str]):
    """Its SQL expressions stand around each value."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "VARCHAR(50)"

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.lower(bindvalue)

    def column_expression(self, column: Any) -> Any:
        return func.upper(column)


@behaviour(
    34, "The SQL expressions that a type puts around values and columns stand in the statement."
)
def test_expressions_of_types(world: World) -> None:
    Thing = world.create(model(name=mapped_column(Lower), n=mapped_column(Integer)))
    rows = [{"name": "ABC", "n": 1}, {"name": "dEf", "n": 2}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    if world.oracle.backend.speaks[0] != "mysql":
        statement = insert(Thing).returning(Thing.name, Thing.n)
        world.attempt(lambda session: session.execute(statement, rows).all())
    world.attempt(lambda s: s.execute(update(Thing), [{"id": 1, "name": "XYZ"}]))


class Color(enum.Enum):
    red = 1
    blue = 2


@behaviour(
    35,
    "An enum is stored by the name of its member; another string goes to the database.",
)
def test_enums(world: World) -> None:
    inserted(world, Enum(Color), Color.red, "blue", alone=("green", 3))


@behaviour(36, "Numbers are given as Decimal, int, float or text, and come back at the scale.")
def test_numbers(world: World) -> None:
    values = [decimal.Decimal("1.239"), 2, 3.5]
    inserted(world, Numeric(10, 2), *values, alone=("4.5", "abc", [1]))


@behaviour(37, "Only None, True, False, 0 and 1 are booleans.")
def test_booleans(world: World) -> None:
    inserted(world, Boolean, True, False, 0, 1, alone=(2, "true"))


@behaviour(
    38,
    "Dates and times are the driver's matter: a text for them too, and what becomes of a zone and "
    "of microseconds.",
)
def test_times(world: World) -> None:
    now = datetime.datetime(2024, 2, 29, 12, 34, 56, 789)
    inserted(world, DateTime, now, alone=("2024-02-29 12:00:00", now.date(), 5))


@behaviour(39, "UUIDs, bytes and pickled objects.")
def test_uuids(world: World) -> None:
    number = uuid.UUID(int=5)
    inserted(world, Uuid, number, alone=(number.hex, 5))


@behaviour(
    40,
    "JSON goes through the engine's serializer; what it refuses is raised as it is without "
    "acceleration.",
)
def test_json(world: World) -> None:
    inserted(world, JSON, {"a": [1, None, "ü"]}, [1], "text", 5, alone=({"a": object()}, {1: 2}))


@behaviour(
    41,
    "NUL in a text, half of a surrogate pair, numbers of more than 64 bits, NaN, and a number for "
    "a text are the driver's matter.",
)
def test_values_that_drivers_refuse(world: World) -> None:
    Thing = world.create(
        model(
            name=mapped_column(String(50)),
            n=mapped_column(BigInteger),
            ratio=mapped_column(Float),
        )
    )
    for row in (
        {"name": "a", "n": 1, "ratio": 1.5},
        {"name": "a\0b"},
        {"name": "\ud800"},
        {"n": 2**70},
        {"ratio": float("nan")},
        {"name": 5},
        {"n": "6"},
        {"n": "x"},
        {"n": 1.5},
        {"ratio": "1.5"},
    ):
        world.attempt(lambda session, row=row: session.execute(insert(Thing), [row, row]))


@behaviour(
    42,
    "Arrays, networks, hstore, ranges and types of the user's own.",
    on=POSTGRESQL,
)
def test_types_of_postgresql(world: World) -> None:
    Thing = world.create(
        model(
            array=mapped_column(ARRAY(Integer)),
            net=mapped_column(postgresql.INET),
            hstore=mapped_column(postgresql.HSTORE),
            range=mapped_column(postgresql.INT4RANGE),
            jsonb=mapped_column(postgresql.JSONB),
            bits=mapped_column(postgresql.BIT(3)),
        )
    )
    row = {
        "array": [1, None, 3],
        "net": "10.0.0.1",
        "hstore": {"a": "1", "b": None},
        "range": postgresql.Range(1, 5),
        "jsonb": {"a": 1},
        "bits": "101",
    }
    world.attempt(lambda session: session.execute(insert(Thing), [row, row]))
    world.attempt(lambda s: s.execute(insert(Thing).returning(Thing), [row, row]).scalars().all())


@behaviour(
    43,
    "What comes back passes the type's own processor.",
    on=RETURNS,
)
def test_values_that_come_back(world: World) -> None:
    Thing = world.create(
        model(
            number=mapped_column(Numeric(10, 2)),
            ratio=mapped_column(Numeric(10, 2, asdecimal=False)),
            flag=mapped_column(Boolean),
            day=mapped_column(Date),
            time=mapped_column(Time),
            at=mapped_column(DateTime),
            long=mapped_column(Interval),
            data=mapped_column(LargeBinary),
            object=mapped_column(PickleType),
            json=mapped_column(JSON),
            key=mapped_column(Uuid),
            color=mapped_column(Enum(Color)),
        )
    )
    row = {
        "number": decimal.Decimal("1.5"),
        "ratio": decimal.Decimal("2.5"),
        "flag": True,
        "day": datetime.date(2024, 2, 29),
        "time": datetime.time(1, 2, 3),
        "at": datetime.datetime(2024, 2, 29, 1, 2, 3),
        "long": datetime.timedelta(days=1, seconds=5),
        "data": b"\0\xff",
        "object": {"a": (1, 2)},
        "json": {"a": 1},
        "key": uuid.UUID(int=7),
        "color": Color.blue,
    }
    statement = insert(Thing).returning(*Thing.__table__.c)
    world.attempt(lambda session: session.execute(statement, [row, row, {"flag": False}]).all())
