"""Every type of Arrow's into every type of column: what is stored means the same, or the error
names the column.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow as pa  # type: ignore[import-untyped]  # no py.typed
import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Time,
    Uuid,
    exc,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.postgresql import HSTORE, JSONB
from sqlalchemy.orm import Session
from sqlalchemy.types import UserDefinedType

import fastbulk
from oracle import model

if TYPE_CHECKING:
    from oracle import Oracle

UTC = dt.timezone.utc
DAY = dt.date(2013, 1, 31)
NOON = dt.datetime(2013, 1, 31, 12)
IDS = [uuid.UUID(int=1), uuid.UUID(int=2**128 - 1)]


def precise(type_: Any, of_mysql: Any) -> Any:
    """With microseconds on MySQL and MariaDB, too."""
    return type_.with_variant(of_mysql(fsp=6), "mysql", "mariadb")


SQL: dict[str, Any] = {
    "bool": Boolean(),
    "int": Integer(),
    "big": BigInteger(),
    "float": Float(53),
    "numeric": Numeric(38, 10),
    "text": String(99),
    "bytes": LargeBinary(),
    "day": Date(),
    "hour": precise(Time(), mysql.TIME),
    "moment": precise(DateTime(), mysql.DATETIME),
    "aware": precise(DateTime(timezone=True), mysql.DATETIME),
    "uuid": Uuid(),
    "json": JSON(),
    "period": Interval(),
}

NUMBERS = "int big float numeric text json"


def moments(unit: str, zone: str | None = None) -> pa.Array:
    """The second before 1970 and one with as many digits as the unit and Python have."""
    digits = {"s": 0, "ms": 123_000, "us": 123_456, "ns": 123_456}[unit]
    values = [dt.datetime(1969, 12, 31, 23, 59, 59), NOON.replace(microsecond=digits), None]
    if zone:
        values = [value and value.replace(tzinfo=UTC) for value in values]
    return pa.array(values, pa.timestamp(unit, zone))


def views(value_type: pa.DataType) -> pa.Array:
    values: dict[Any, list[Any]] = {
        pa.string_view(): ["", "longer than a view"],
        pa.binary_view(): [b"", b"x" * 20],
    }
    return pa.array([*values[value_type], None], value_type)


#: Values at the ends of the type's range that some column takes, and which columns take them.
ARROW: dict[str, tuple[pa.Array, str]] = {
    "null": (pa.nulls(2), " ".join(SQL)),
    "bool": (pa.array([True, False, None]), "bool int big float numeric json"),
    "int8": (pa.array([-128, 127, None], pa.int8()), NUMBERS),
    "int16": (pa.array([-(2**15), 2**15 - 1, None], pa.int16()), NUMBERS),
    "int32": (pa.array([-(2**31), 2**31 - 1, None], pa.int32()), NUMBERS),
    "int64": (pa.array([-(2**63), 2**63 - 1, None]), "big numeric text json"),
    "int64 of bits": (pa.array([0, 1, None]), f"bool {NUMBERS}"),
    "uint8": (pa.array([0, 255, None], pa.uint8()), NUMBERS),
    "uint16": (pa.array([0, 2**16 - 1, None], pa.uint16()), NUMBERS),
    "uint32": (pa.array([0, 2**32 - 1, None], pa.uint32()), "big float numeric text json"),
    "uint64": (pa.array([0, 2**64 - 1, None], pa.uint64()), "numeric text json"),
    "float16": (pa.array([-2.5, 65504, None], pa.float16()), "float numeric"),
    "float32": (pa.array([-2.5, 2.0**30, None], pa.float32()), "float numeric json"),
    "float64": (pa.array([-0.1, 1e300, None]), "float json"),
    "whole float64": (pa.array([-3.0, 2.0**31 - 1, None]), "int big float numeric json"),
    "decimal32": (pa.array([Decimal("-1.25"), None], pa.decimal32(9, 2)), "float numeric"),
    "decimal64": (pa.array([Decimal("-1.25"), None], pa.decimal64(18, 2)), "float numeric"),
    "decimal128": (
        pa.array([Decimal("-1234567890123456789.25"), None], pa.decimal128(38, 2)),
        "numeric",
    ),
    "decimal256": (
        pa.array([Decimal("-1234567890123456789.25"), None], pa.decimal256(76, 2)),
        "numeric",
    ),
    "whole decimal": (pa.array([Decimal("7.00"), None]), "int big float numeric"),
    "string": (pa.array(["", "日本", None]), "text json"),
    "large_string": (pa.array(["", "日本", None], pa.large_string()), "text json"),
    "string_view": (views(pa.string_view()), "text json"),
    "uuids as text": (pa.array([str(IDS[0]), IDS[1].hex, None]), "text uuid json"),
    "binary": (pa.array([b"", b"\0\xff", None]), "bytes"),
    "large_binary": (pa.array([b"", b"\0\xff", None], pa.large_binary()), "bytes"),
    "binary_view": (views(pa.binary_view()), "bytes"),
    "fixed_size_binary": (pa.array([b"abc", None], pa.binary(3)), "bytes"),
    "16 bytes": (pa.array([id_.bytes for id_ in IDS], pa.binary(16)), "bytes uuid"),
    "uuid": (pa.array([id_.bytes for id_ in IDS], pa.uuid()), "bytes uuid"),
    "json": (pa.array(['{"a": [1, null]}', None], pa.json_()), "json"),
    "date32": (pa.array([DAY, dt.date(1, 1, 2), None]), "day moment aware"),
    "date64": (pa.array([DAY, dt.date(9999, 12, 30), None], pa.date64()), "day moment aware"),
    "time32[s]": (pa.array([dt.time(23, 59, 59), None], pa.time32("s")), "hour"),
    "time32[ms]": (pa.array([dt.time(0, 0, 0, 1000), None], pa.time32("ms")), "hour"),
    "time64[us]": (pa.array([dt.time(23, 59, 59, 999_999), None], pa.time64("us")), "hour"),
    "time64[ns]": (pa.array([dt.time(0, 0, 0, 1), None], pa.time64("ns")), "hour"),
    **{
        f"timestamp[{unit}{zone and f', {zone}'}]": (moments(unit, zone), "moment aware")
        for unit in ("s", "ms", "us", "ns")
        for zone in ("", "UTC", "Europe/Berlin", "+05:30")
    },
    "midnights": (pa.array([NOON.replace(hour=0), None]), "day moment aware"),
    **{
        f"duration[{unit}]": (
            pa.array([dt.timedelta(seconds=-90), dt.timedelta(1), None], pa.duration(unit)),
            "period",
        )
        for unit in ("s", "ms", "us", "ns")
    },
    "month_day_nano": (
        pa.array([(0, -1, 5_000_000_000), None], pa.month_day_nano_interval()),
        "period",
    ),
    "dictionary": (pa.array(["a", None, "b", "a"]).dictionary_encode(), "text json"),
    "dictionary of numbers": (pa.array([7, None, 7]).dictionary_encode(), NUMBERS),
    "runs": (pa.RunEndEncodedArray.from_arrays([2, 3], ["a", None]), "text json"),
    "runs of moments": (
        pa.RunEndEncodedArray.from_arrays([2, 3], pa.array([NOON, None])),
        "moment aware",
    ),
    "list": (pa.array([[1, None], [], None]), "json"),
    "large_list": (pa.array([["a"], None], pa.large_list(pa.string())), "json"),
    "fixed_size_list": (pa.array([[1.5, 2.5], None], pa.list_(pa.float64(), 2)), "json"),
    "list_view": (pa.array([[1, None], None], pa.list_view(pa.int64())), "json"),
    "large_list_view": (pa.array([["a"], None], pa.large_list_view(pa.string())), "json"),
    "struct": (pa.array([{"a": 1, "b": ["x"]}, None]), "json"),
    "map": (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), "json"),
}


def things() -> Any:
    columns: dict[str, Any] = {name: Column(type_) for name, type_ in SQL.items()}
    return model(**columns)


#: What a database's column has no room for though the type's others do: it is refused by name.
NO_ROOM = {"sqlite": {"numeric": {"int64", "uint64", "decimal128", "decimal256"}}}
#: As SQLAlchemy stores it: a document that is a number is one to SQLite, and has 64 bits there.
BENT = {("sqlite", "uint64", "json")}


@pytest.mark.only("sqlite-memory", "psycopg", "mariadb-mysqldb", "mysql-mysqldb")
def test_every_pair(databases: Oracle) -> None:
    Thing = things()
    databases.create(Thing)
    backend = databases.ours.dialect.name
    no_room = NO_ROOM.get(backend, {})
    with Session(databases.ours) as session:
        for name, (array, columns) in ARROW.items():
            tried = [column for column in SQL if (backend, name, column) not in BENT]
            fits = [c for c in columns.split() if c in tried and name not in no_room.get(c, ())]
            assert stored(session, Thing, array, fits) is None, name
            for column in set(tried) - set(fits):
                error = stored(session, Thing, array, [column])
                assert error is None or getattr(error, "column", None) == column, name


def stored(session: Session, Thing: Any, array: pa.Array, columns: list[str]) -> Exception | None:
    """The error of an array that is inserted into these columns; or else they mean the same."""
    savepoint = session.begin_nested()
    try:
        fastbulk.insert(session, Thing, pa.table(dict.fromkeys(columns, array)))
        for column in columns:
            values = session.scalars(select(getattr(Thing, column)).order_by(Thing.id)).all()
            for value, given in zip(values, array.to_pylist(), strict=True):
                assert same(value, given), (array.type, column)
    except (exc.StatementError, exc.ArgumentError) as error:
        return error
    finally:
        savepoint.rollback()
    return None


def in_session(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None)


def same(stored: Any, given: Any) -> bool:
    """Whether the one means the other, whatever their types."""
    match stored, given:
        case None, _:
            return given is None
        case bool() | int() | float() | Decimal(), bool() | int() | float() | Decimal():
            if isinstance(given, float):
                return float(stored) == given
            return Decimal(stored) == given or (isinstance(stored, float) and stored == given)
        case dt.datetime(), dt.datetime():
            if stored.tzinfo is None and given.tzinfo is not None:
                # A zone is dropped by drivers, and heeded by PostgreSQL.
                return stored in {given.replace(tzinfo=None), in_session(given)}
            return stored.replace(tzinfo=given.tzinfo and stored.tzinfo) == given
        case dt.datetime(), dt.date():
            return stored.replace(tzinfo=None) == dt.datetime(given.year, given.month, given.day)
        case dt.date(), dt.datetime():
            return dt.datetime(stored.year, stored.month, stored.day) == given
        case uuid.UUID(), str():
            return stored == uuid.UUID(given)
        case uuid.UUID(), bytes():
            return stored.bytes == given
        case bytes(), uuid.UUID():
            return stored == given.bytes
        case dict(), list():
            return stored == dict(given)
        case dict(), str():
            return bool(stored == json.loads(given))
        case str(), int():
            return stored == str(given)
        case dt.timedelta(), tuple():
            return stored == dt.timedelta(given[1], microseconds=given[2] / 1000)
        case dt.timedelta(), dt.time():
            return stored == dt.datetime.combine(DAY, given) - dt.datetime.combine(DAY, dt.time())
    return bool(stored == given)


class Pair(UserDefinedType[Any]):
    """A composite type."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "pair"


class KnownPair(Pair):
    """One that says what a dict means."""

    cache_ok = True

    def bind_processor(self, dialect: Any) -> Any:
        text = lambda value: value and f"({value['number']},{value['text']})"  # noqa: E731
        pair = lambda value: value and (value["number"], value["text"])  # noqa: E731
        return text if dialect.driver == "asyncpg" else pair

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        def process(value: Any) -> Any:
            match value:
                case str():
                    number, text = value.strip("()").split(",")
                    return {"number": int(number), "text": text}
            return value and {"number": int(value[0]), "text": value[1]}

        return process


#: Types of PostgreSQL's, and arrays that become them.
NESTED: dict[str, tuple[Any, list[pa.Array]]] = {
    "ints": (
        ARRAY(Integer),
        [
            pa.array([[1, None], [], None]),
            pa.array([[1, 2**31 - 1], None], pa.large_list(pa.int64())),
            pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
            pa.array([[1, 2], [], None], pa.list_view(pa.int64())),
        ],
    ),
    "texts": (
        ARRAY(String),
        [
            pa.array([["a", None, "{,\"'\\\\"], [], None]),
            pa.array([["longer than a view"], None], pa.list_(pa.string_view())),
        ],
    ),
    "nested": (ARRAY(Float(53), dimensions=2), [pa.array([[[1.5, 2.5], [0.1, None]], None])]),
    "moments": (ARRAY(DateTime), [pa.array([[NOON, None], None])]),
    "prices": (ARRAY(Numeric), [pa.array([[Decimal("1.50"), None], None])]),
    "document": (
        JSONB,
        [
            pa.array([{"a": [1, None], "b": {"c": None}}, None]),
            pa.array([[("a", [1.5])], None], pa.map_(pa.string(), pa.list_(pa.float64()))),
            pa.array([['"', "\\"], None]),
        ],
    ),
    "known_pair": (KnownPair, [pa.array([{"number": 1, "text": "x"}, None])]),
    "attributes": (
        HSTORE,
        [
            pa.array([{"a": "b", "c": None}, None]),
            pa.array([[("it's", '"')], [], None], pa.map_(pa.string(), pa.string())),
        ],
    ),
}


@pytest.mark.only("psycopg", "psycopg2", "asyncpg")
def test_nested_values_on_postgresql(databases: Oracle) -> None:
    databases.execute(
        "CREATE EXTENSION IF NOT EXISTS hstore", "CREATE TYPE pair AS (number int, text text)"
    )
    databases.reconnect()
    columns: dict[str, Any] = {name: Column(type_) for name, (type_, _) in NESTED.items()}
    Thing = model(**columns, pair=Column(Pair))
    databases.create(Thing)
    with Session(databases.ours) as session:
        for name, (_, arrays) in NESTED.items():
            for array in arrays:
                for times in (1, 60):
                    savepoint = session.begin_nested()
                    column = pa.chunked_array([array] * times)
                    fastbulk.insert(session, Thing, pa.table({name: column}))
                    values = session.scalars(select(getattr(Thing, name)).order_by(Thing.id)).all()
                    for value, given in zip(values, column.to_pylist(), strict=True):
                        assert same(value, given), array.type
                    savepoint.rollback()
        # Neither SQLAlchemy nor a driver knows a dict as a value of a composite type.
        error = stored(session, Thing, pa.array([{"number": 1, "text": "x"}]), ["pair"])
        assert getattr(error, "column", None) == "pair"
