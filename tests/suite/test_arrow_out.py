"""Returned rows as Arrow's: the same values as the result's own rows."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # no py.typed
import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Time,
    TypeDecorator,
    Uuid,
    exc,
    func,
    select,
)
from sqlalchemy.orm import Session

import fastbulk
from fastbulk.returned import Returned
from oracle import Oracle, WithTables, model

UTC = dt.timezone.utc
NOON = dt.datetime(2013, 1, 31, 12)


class Colour(enum.Enum):
    red = 1
    green = 2


class Shouted(TypeDecorator[str]):
    impl = String(20)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else f"{value}!"


TYPES: dict[str, tuple[Any, Any, pa.DataType]] = {
    "flag": (Boolean, True, pa.bool_()),
    "number": (Integer, -5, pa.int64()),
    "big": (BigInteger, 2**63 - 1, pa.int64()),
    "size": (Float(53), 0.1, pa.float64()),
    "price": (Numeric(12, 4), Decimal("-1.5"), pa.decimal128(38, 4)),
    "rate": (Numeric(12, 4, asdecimal=False), 2.25, pa.float64()),
    "name": (String(50), "日本", pa.string()),
    "data": (LargeBinary, b"\0\xff", pa.binary()),
    "day": (Date, NOON.date(), pa.date32()),
    "hour": (Time, NOON.time(), pa.time64("us")),
    "moment": (DateTime, NOON, pa.timestamp("us")),
    "colour": (Enum(Colour), Colour.green, pa.string()),
    "uuid": (Uuid, uuid.UUID(int=7), pa.uuid()),
    "text_uuid": (Uuid(as_uuid=False), uuid.UUID(int=7).hex, pa.string()),
    "document": (JSON, {"a": [1, None]}, pa.json_()),
    "shouted": (Shouted, "hey", pa.string()),
}


def thing() -> Any:
    columns: dict[str, Any] = {name: Column(type_) for name, (type_, *_) in TYPES.items()}
    return model(**columns)


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    def plain(name: str, value: Any) -> Any:
        if value is None:
            return None
        if name == "document":
            return json.loads(value)
        return Colour[value] if name == "colour" else value

    return [tuple(plain(*item) for item in row.items()) for row in table.to_pylist()]


def test_columns_have_the_values_and_types_of_the_rows(oracle: WithTables) -> None:
    Thing = thing()
    full = {name: value for name, (_, value, _) in TYPES.items()}
    rows = [full if number % 3 else {"number": number} for number in range(100)]
    returning = [Thing.id, *(getattr(Thing, name) for name in TYPES)]
    with Session(oracle(Thing).ours) as session:
        result = fastbulk.insert(session, Thing, rows, returning=returning)
        table = result.arrow()
        assert rows_of(table) == [tuple(row) for row in result.all()]
        assert {field.name: field.type for field in table.schema} == {
            "id": pa.int64(),
            **{name: type_ for name, (_, _, type_) in TYPES.items()},
        }
        # Asked for again, and by somebody else.
        frame = pl.DataFrame(fastbulk.insert(session, Thing, rows[:1], returning=Thing.number))
        assert frame.to_dicts() == [{"number": 0}]


def test_keys_of_many_rows(oracle: WithTables) -> None:
    Thing = model(name=Column(String(9)))
    with Session(oracle(Thing).ours) as session:
        rows = [{"name": str(number)} for number in range(41_000)]
        result = fastbulk.insert(session, Thing, rows, returning=Thing.id)
        table = result.arrow()
        assert table.schema == pa.schema({"id": pa.int64()})
        assert table["id"].to_pylist() == list(range(1, 41_001))
        assert result.scalars().all() == list(range(1, 41_001))


def test_keys_of_a_type_of_the_users(oracle: WithTables) -> None:
    class Numbered(TypeDecorator[str]):
        impl = Integer
        cache_ok = True

        def process_result_value(self, value: Any, dialect: Any) -> Any:
            return None if value is None else f"no. {value}"

    Thing = model(id=Column(Numbered, primary_key=True, autoincrement=True), name=Column(String(9)))
    with Session(oracle(Thing).ours) as session:
        rows = [{"name": str(number)} for number in range(300)]
        result = fastbulk.insert(session, Thing, rows, returning=Thing.id)
        assert result.arrow()["id"].to_pylist() == [f"no. {number}" for number in range(1, 301)]
        assert result.scalars().all()[:2] == ["no. 1", "no. 2"]


#: The ends of each type's range, and what has a meaning of its own to a reader of texts.
ENDS: dict[str, list[Any]] = {
    "flag": [True, False],
    "number": [-(2**31), 2**31 - 1],
    "big": [-(2**63), 2**63 - 1],
    "size": [1.7976931348623157e308, -5e-324, 0.1],
    "price": [*map(Decimal, ["-99999999.9999", "0.0001", "0", "1.00005", "2.5"])],
    "rate": [-99999999.9999, 0.0001],
    "name": ["", "null", 'it\'s a \\x "日本"', "2013-01-31", "\u2028\U0010ffff"],
    "data": [b"", bytes(range(256))],
    "day": [dt.date.min, dt.date.max, dt.date(2000, 2, 29)],
    "hour": [dt.time.min, dt.time.max, dt.time(1, 2, 3, 40)],
    "moment": [dt.datetime.min, dt.datetime.max, NOON.replace(microsecond=120)],
    "colour": [Colour.red, Colour.green],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
    "text_uuid": [uuid.UUID(int=2**128 - 1).hex],
    "document": [{"a": [1, None, "日本"], "b": 0.1}, [], "null", 5, True, None],
    "shouted": ["hey"],
}
#: What needs Python code: a processor's own result, the text of a UUID; on SQLite a document that
#: is a number, which it keeps as one.
PROCESSED = {"shouted", "text_uuid"}
PROCESSED_ON = {"sqlite": {"document"}}


@pytest.mark.only("sqlite", "engine", "psycopg", "psycopg2")
@pytest.mark.parametrize("name", ENDS)
def test_the_ends_of_each_range(
    databases: Oracle, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Thing = model(value=Column(TYPES[name][0]))
    databases.create(Thing)
    rows = [*({"value": value} for value in ENDS[name]), {}] * 20
    result = fastbulk.insert(databases.ours, Thing, rows, returning=[Thing.value, Thing.id])
    objects = Returned._add_rows
    made: list[str] = []

    def add_rows(self: Returned, *arguments: Any) -> None:
        made.append(name)
        objects(self, *arguments)

    monkeypatch.setattr(Returned, "_add_rows", add_rows)
    table = result.arrow()
    road = result.road
    native = road.backend == "sqlite" or road.driver in {"psycopg", "psycopg2", "tokio-postgres"}
    assert bool(made) == (not native or name in PROCESSED | PROCESSED_ON.get(road.backend, set()))
    assert table.schema.types == [TYPES[name][2], pa.int64()]
    values = [row["value"] for row in table.to_pylist()]
    if name == "document":
        values = [None if value is None else json.loads(value) for value in values]
    if name == "colour":
        values = [None if value is None else Colour[value] for value in values]
    assert list(map(repr, values)) == [repr(value) for value, _ in result.all()]


@pytest.mark.only("psycopg")
def test_loaders_of_the_users_have_their_say(databases: Oracle) -> None:
    from psycopg.types.datetime import DateLoader

    class Infinite(DateLoader):
        def load(self, data: Any) -> dt.date:
            return dt.date.max if data == b"infinity" else super().load(data)

    databases.execute(
        "CREATE TABLE thing (id SERIAL PRIMARY KEY, n TEXT, day DATE DEFAULT 'infinity')"
    )
    Thing = model(n=Column(String), day=Column(Date, server_default="infinity"))
    with Session(databases.ours) as session:
        driver: Any = session.connection().connection.driver_connection
        driver.adapters.register_loader("date", Infinite)
        rows = [{"n": "x"}, {"n": "y", "day": NOON.date()}] * 60
        result = fastbulk.insert(session, Thing, rows, returning=[Thing.day])
        driver.adapters.register_loader("date", DateLoader)
        assert result.arrow()["day"].to_pylist()[:2] == [dt.date.max, NOON.date()]
        assert result.scalars().all()[:2] == [dt.date.max, NOON.date()]


@pytest.mark.only("psycopg", "psycopg2")
def test_rows_outlive_their_connection(oracle: WithTables) -> None:
    Thing = model(at=Column(DateTime(timezone=True)), name=Column(String))
    rows = [{"at": NOON.replace(tzinfo=UTC), "name": "日本"}, {}] * 50
    with Session(oracle(Thing).ours) as session:
        result = fastbulk.insert(session, Thing, rows, returning=[Thing.at, Thing.name])
        expected = session.execute(select(Thing.at, Thing.name).order_by(Thing.id)).all()
        session.connection().invalidate()
        session.invalidate()
    assert result.arrow()["name"].to_pylist() == ["日本", None] * 50
    assert result.arrow()["at"].to_pylist() == [at for at, _ in expected]
    assert list(map(repr, result.all())) == list(map(repr, expected))


@pytest.mark.only("engine", "psycopg")
def test_what_python_can_not_have_is_told_at_once(databases: Oracle) -> None:
    databases.execute(
        "CREATE TABLE thing (id SERIAL PRIMARY KEY, name TEXT, day DATE DEFAULT 'infinity')"
    )
    Thing = model(name=Column(String), day=Column(Date, server_default="infinity"))
    with pytest.raises(exc.DataError, match="date too large"):
        fastbulk.insert(databases.ours, Thing, [{"name": "x"}] * 60, returning=[Thing.day])
    with Session(databases.ours) as session:
        assert session.scalars(select(Thing.id)).all() == []


def test_no_rows_have_types_all_the_same(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    returning = [getattr(Thing, name) for name in TYPES if name not in {"price", "shouted"}]
    schema = fastbulk.insert(session, Thing, [], returning=returning).arrow().schema
    assert [field.type for field in schema] == [TYPES[field.name][2] for field in schema]


def test_expressions_are_known_by_their_values(session: Session) -> None:
    Thing = model(name=Column(String(9)))
    Thing.metadata.create_all(session.connection())
    long = func.length(Thing.name).label("long")
    table = fastbulk.insert(session, Thing, [{"name": "abc"}], returning=[long, Thing.id]).arrow()
    assert table.to_pylist() == [{"long": 3, "id": 1}]


@pytest.mark.only("sqlite", "psycopg", "mariadb", "mysql")
def test_updates_and_upserts(session: Session) -> None:
    Thing = model(name=Column(String(9)))
    Thing.metadata.create_all(session.connection())
    rows = pl.DataFrame({"id": [2, 1], "name": ["b", "a"]})
    table = fastbulk.upsert(session, Thing, rows, returning=[Thing.id, Thing.name]).arrow()
    assert table.to_pylist() == rows.to_dicts()
    table = fastbulk.update(session, Thing, rows[::-1], returning=[Thing.id]).arrow()
    assert table.to_pylist() == [{"id": 1}, {"id": 2}]


@pytest.mark.only("psycopg", "psycopg2", "engine")
def test_moments_are_those_of_utc(oracle: WithTables) -> None:
    Thing = model(at=Column(DateTime(timezone=True)))
    with Session(oracle(Thing).ours) as session:
        rows = [{"at": NOON.replace(tzinfo=UTC)}, {}]
        table = fastbulk.insert(session, Thing, rows, returning=[Thing.at]).arrow()
        assert table.schema.field("at").type == pa.timestamp("us", "UTC")
        assert table["at"].to_pylist() == [NOON.replace(tzinfo=UTC), None]


def test_what_has_no_arrow_form(session: Session) -> None:
    class Odd(TypeDecorator[Any]):
        impl = Integer
        cache_ok = True

        def process_result_value(self, value: Any, dialect: Any) -> Any:
            return object() if value else "text"

    Thing = model(odd=Column(Odd), number=Column(Integer))
    Thing.metadata.create_all(session.connection())
    rows = [{"odd": 0}, {"odd": 1}]
    with pytest.raises(exc.ResourceClosedError):
        fastbulk.insert(session, Thing, rows).arrow()
    with pytest.raises(exc.InvalidRequestError, match="mapped objects have no Arrow form"):
        fastbulk.insert(session, Thing, rows, returning=Thing).arrow()
    with pytest.raises(exc.InvalidRequestError, match="type object has no Arrow type"):
        fastbulk.insert(session, Thing, rows, returning=[Thing.odd]).arrow()
