"""Every type on PostgreSQL, through every form of statement, and onto columns of other types."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import json
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Integer, TypeDecorator, create_engine, exc, func, types
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql import Range

from oracle import as_dicts, model

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Engine

    from oracle import Oracle

pytestmark = pytest.mark.only("psycopg", "psycopg2", "pg8000", "asyncpg", "engine")

D = decimal.Decimal
NAN, INF = float("nan"), float("inf")
BERLIN = dt.timezone(dt.timedelta(hours=1))
UUIDS = [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=5)]
#: In New York, where the server of the tests is, 1:30 came twice on that day, and 2:30 never on the
#: other.
TWICE, NEVER = dt.datetime(2024, 11, 3, 1, 30), dt.datetime(2024, 3, 10, 2, 30)
MOMENTS = [dt.datetime.min, dt.datetime.max, dt.datetime(2024, 2, 29, 1, 2, 3, 4), TWICE, NEVER]
INSTANTS = [
    dt.datetime(1, 1, 2, tzinfo=dt.timezone.utc),
    dt.datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=dt.timezone.utc),
    dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=BERLIN),
]
TEXTS = ["", "a", "ü", "\U0001f600", 'it\'s "x" \\ {,} %s :a ?', "NULL", " x ", "\t\n\r\x01\x7f"]
DOCUMENTS = [{"ä": [1, None, {"b": "\U0001f600"}]}, [], {}, "x", 0, 1.5, True, "it's \\ \""]


class Color(enum.Enum):
    RED = 1
    GREEN = "g"


class Doubled(TypeDecorator[int]):
    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else value * 2


class Lowered(TypeDecorator[str]):
    impl = types.String
    cache_ok = True

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.lower(bindvalue)

    def column_expression(self, column: Any) -> Any:
        return func.upper(column)


class Vector(types.UserDefinedType[list[float]]):
    """A type of an extension as its own package brings it: SQLAlchemy knows only its text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "cube"

    def bind_processor(self, dialect: Dialect) -> Any:
        return lambda value: None if value is None else str(tuple(value)).replace(",)", ")")

    def result_processor(self, dialect: Dialect, coltype: Any) -> Any:
        return lambda text: None if text is None else [float(n) for n in text[1:-1].split(",")]


class Pair(types.UserDefinedType[Any]):
    """A composite type, whose values are given in its text form."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "pair"


def numrange(low: Any, high: Any, bounds: Any = "[)") -> Range[D]:
    return Range(low, high, bounds=bounds)


#: name -> (type, values that it takes).
SAMPLES: dict[str, tuple[Any, list[Any]]] = {
    "SmallInteger": (types.SmallInteger(), [-(2**15), 2**15 - 1, 0]),
    "Integer": (types.Integer(), [-(2**31), 2**31 - 1, 0]),
    "BigInteger": (types.BigInteger(), [-(2**63), 2**63 - 1, 0]),
    "Float": (types.Float(), [0.1, 1e308, 5e-324, NAN, INF, -INF, 1 / 3]),
    "Float with integers": (types.Float(), [1, 0.5, 2**40]),
    "REAL": (types.REAL(), [0.5, 1e38, 1e-38, NAN, INF, 0.1]),
    "Double": (types.Double(), [0.1, 1e308]),
    "Numeric": (types.Numeric(), [D("1e100"), D("-0.000001"), D("NaN"), 7, D("0")]),
    "Numeric, floats": (types.Numeric(), [0.1, 1 / 3, 1e20, 123456789.123456789]),
    "Numeric(10, 2)": (
        types.Numeric(10, 2),
        [D("1.239"), D("-99999999.99"), D("1E+3"), D("0.005")],
    ),
    "Numeric as float": (types.Numeric(asdecimal=False), [0.1, 2.5]),
    "String": (types.String(), TEXTS),
    "String, numbers": (types.String(), [5, -7, 0.0, 1.5, -0.1, 1e22, 1e-7, 1 / 3]),
    "String(5)": (types.String(5), ["", "ab", "äöüäö"]),
    "CHAR(5)": (types.CHAR(5), ["", "ab", "ab   "]),
    "Text": (types.Text(), [*TEXTS, "x" * 100_000]),
    "Unicode": (types.Unicode(), TEXTS),
    "NAME": (pg.VARCHAR().with_variant(types.String(), "sqlite"), TEXTS),
    "CITEXT": (pg.CITEXT(), TEXTS),
    "LargeBinary": (types.LargeBinary(), [b"", b"\0\xff\\x'", bytes(range(256)), bytearray(b"x")]),
    "Boolean": (types.Boolean(), [True, False, 1, 0]),
    "Date": (types.Date(), [dt.date.min, dt.date.max, dt.date(2000, 1, 1), dt.date(1999, 12, 31)]),
    "Date as text": (types.Date(), ["infinity", "-infinity", "2020-02-29", "0044-03-15 BC"]),
    "Time": (types.Time(), [dt.time.min, dt.time.max, dt.time(1, 2, 3, 4)]),
    "TIME(0)": (pg.TIME(precision=0), [dt.time(1, 2, 3, 600_000), dt.time(23, 59, 59)]),
    "Time with zone": (types.Time(timezone=True), [dt.time(1, 2, tzinfo=BERLIN), dt.time(9)]),
    "DateTime": (types.DateTime(), MOMENTS),
    "DateTime, aware": (types.DateTime(), INSTANTS),
    "DateTime as text": (types.DateTime(), ["infinity", "2020-01-01 00:00:00", "294276-12-31"]),
    "TIMESTAMP(0)": (pg.TIMESTAMP(precision=0), [dt.datetime(2020, 1, 1, 1, 1, 1, 500_000)]),
    "DateTime with zone": (types.DateTime(timezone=True), INSTANTS),
    "DateTime with zone, naive": (types.DateTime(timezone=True), MOMENTS[2:]),
    "DateTime with zone, mixed": (types.DateTime(timezone=True), [*INSTANTS, *MOMENTS[2:]]),
    "Interval": (
        types.Interval(),
        [dt.timedelta(), dt.timedelta(days=-3, seconds=5, microseconds=7), dt.timedelta(40, 1)],
    ),
    "INTERVAL(2)": (pg.INTERVAL(precision=2), [dt.timedelta(seconds=1, microseconds=123456)]),
    "Uuid": (types.Uuid(), UUIDS),
    "Uuid as text": (types.Uuid(as_uuid=False), [str(number) for number in UUIDS]),
    "Enum": (types.Enum(Color), [Color.RED, Color.GREEN, "RED"]),
    "Enum, not native": (types.Enum(Color, native_enum=False), [Color.RED, Color.GREEN]),
    "ENUM": (pg.ENUM("a", "b c", "it's", name="letters"), ["a", "b c", "it's"]),
    "JSON": (types.JSON(), [*DOCUMENTS, types.JSON.NULL]),
    "JSONB": (pg.JSONB(), [*DOCUMENTS, types.JSON.NULL]),
    "JSONB, None is NULL": (pg.JSONB(none_as_null=True), DOCUMENTS),
    "ARRAY of integers": (types.ARRAY(Integer), [[], [1, 2], [1, None, 3], [[1, 2], [3, 4]]]),
    "ARRAY of texts": (pg.ARRAY(types.String), [TEXTS, [None, "NULL"], [["a"], ["b"]]]),
    "ARRAY of dates": (pg.ARRAY(types.Date), [[dt.date(2020, 1, 1), None]]),
    "ARRAY of numerics": (pg.ARRAY(types.Numeric), [[D("1.5"), None]]),
    "ARRAY of booleans": (pg.ARRAY(types.Boolean), [[True, None, False]]),
    "ARRAY of floats": (pg.ARRAY(types.Float), [[0.1, None, 1e300]]),
    "ARRAY of bytes": (pg.ARRAY(types.LargeBinary), [[b"\0\xff\\", b""]]),
    "ARRAY of enums": (pg.ARRAY(types.Enum(Color)), [[Color.RED], []]),
    "ARRAY of UUIDs": (pg.ARRAY(types.Uuid), [UUIDS]),
    "HSTORE": (pg.HSTORE(), [{}, {"a": "b"}, {"it's \"": None, "ü": "\\"}]),
    "INET": (pg.INET(), ["10.0.0.1", "::1/64"]),
    "INET, addresses": (
        pg.INET(),
        [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_interface("::1/64")],
    ),
    "CIDR": (pg.CIDR(), ["10.0.0.0/8", "::/0"]),
    "MACADDR": (pg.MACADDR(), ["08:00:2b:01:02:03"]),
    "MACADDR8": (pg.MACADDR8(), ["08:00:2b:01:02:03:04:05"]),
    "INT4RANGE": (pg.INT4RANGE(), [Range(1, 5), Range(None, 5), Range(empty=True), "[1,2]"]),
    "INT8RANGE": (pg.INT8RANGE(), [Range(-(2**63), 2**62), Range(None, None)]),
    "NUMRANGE": (pg.NUMRANGE(), [numrange(D("1.5"), D("2"), "[]"), numrange(D("-1"), None, "()")]),
    "DATERANGE": (pg.DATERANGE(), [Range(dt.date(2020, 1, 1), dt.date(2020, 2, 1))]),
    "TSRANGE": (pg.TSRANGE(), [Range(MOMENTS[2], None)]),
    "TSTZRANGE": (pg.TSTZRANGE(), [Range(INSTANTS[2], None)]),
    "INT4MULTIRANGE": (pg.INT4MULTIRANGE(), [[Range(1, 5), Range(7, 9)], []]),
    "INT8MULTIRANGE": (pg.INT8MULTIRANGE(), [[Range(-(2**62), 2**62)]]),
    "NUMMULTIRANGE": (pg.NUMMULTIRANGE(), [[numrange(D("1.5"), D("2")), numrange(D("7"), None)]]),
    "DATEMULTIRANGE": (
        pg.DATEMULTIRANGE(),
        [[Range(dt.date(2020, 1, 1), dt.date(2020, 2, 1)), Range(dt.date(2021, 1, 1), None)]],
    ),
    "TSMULTIRANGE": (pg.TSMULTIRANGE(), [[Range(MOMENTS[2], None)]]),
    "TSTZMULTIRANGE": (pg.TSTZMULTIRANGE(), [[Range(INSTANTS[2], None)], []]),
    "ARRAY of arrays": (
        pg.ARRAY(Integer, dimensions=2),
        [[[1, None], [None, 4]], [[None], [None]], []],
    ),
    "ARRAY of three dimensions": (pg.ARRAY(types.String), [[[["a", None]], [["{", '"']]]]),
    "ARRAY of instants": (pg.ARRAY(types.DateTime(timezone=True)), [[INSTANTS[2], None]]),
    "ARRAY of moments": (pg.ARRAY(types.DateTime()), [[MOMENTS[2], MOMENTS[3]]]),
    "ARRAY of times": (pg.ARRAY(types.Time()), [[dt.time(1, 2, 3, 4), None]]),
    "ARRAY of documents": (pg.ARRAY(pg.JSONB()), [[{"a": [1, "it's"]}, [None], "x"]]),
    "ARRAY of ranges": (pg.ARRAY(pg.INT4RANGE()), [[Range(1, 5), None, Range(empty=True)]]),
    "ARRAY of addresses": (pg.ARRAY(pg.INET()), [["10.0.0.1", None]]),
    "DOMAIN of texts": (pg.DOMAIN("short", types.String(9)), ["", "it's"]),
    "REGCONFIG": (pg.REGCONFIG(), ["simple"]),
    "JSONPATH": (pg.JSONPATH(), ["$.a[*]"]),
    "TIMETZ(3)": (pg.TIME(timezone=True, precision=3), [dt.time(1, 2, 3, 456_789, BERLIN)]),
    "vectors of an extension": (Vector(), [[1.5, -2.0], [0.0], [1e300]]),
    "BIT(3)": (pg.BIT(3), [pg.BitString("101"), pg.BitString("000")]),
    "BIT VARYING": (pg.BIT(varying=True), [pg.BitString("1"), pg.BitString("1010101")]),
    "TSVECTOR": (pg.TSVECTOR(), ["a fat cat", "'x':1A"]),
    "TSQUERY": (pg.TSQUERY(), ["fat & cat", "'it''s'"]),
    "MONEY": (pg.MONEY(), ["12.34", "-1.00"]),
    "OID": (pg.OID(), [0, 2**31]),
    "REGCLASS": (pg.REGCLASS(), ["pg_class"]),
    "DOMAIN": (pg.DOMAIN("positive", Integer, check="VALUE > 0"), [1, 2**31 - 1]),
    "TypeDecorator": (Doubled(), [1, -7]),
    "bind_expression": (Lowered(), ["ABC", "Ü"]),
    "with_variant": (types.String().with_variant(pg.JSONB(), "postgresql"), DOCUMENTS[:3]),
    "PickleType": (types.PickleType(), [1, [1, {2}], b""]),
}


def thing(value_type: Any) -> Any:
    return model(value=Column(value_type), other=Column(Integer))


#: name -> (times that the samples are given, whether they come back)
FORMS = {"small": (1, False), "small, returning": (1, True), "large": (40, False),
         "large, returning": (40, True)}  # fmt: skip


@pytest.mark.parametrize("size", FORMS)
@pytest.mark.parametrize("name", SAMPLES)
def test_values_of_a_type(databases: Oracle, name: str, size: str) -> None:
    value_type, values = SAMPLES[name]
    Thing = thing(value_type)
    databases.create(Thing)
    times, returns = FORMS[size]
    if returns and (databases.ours.driver, name) == ("asyncpg", "INET, addresses"):
        return  # SQLAlchemy sends them as texts, which they are not
    values = [*values, None] * (times if times == 1 else 60 // (len(values) + 1) + 1)
    rows = [{"value": value, "other": i} for i, value in enumerate(values)]
    given = [Thing.id, Thing.value] if returns else None
    # No text of Arrow's is a date.
    form = as_dicts if name in {"Date as text", "DateTime as text"} else None
    databases.check(Thing, rows, returning=given, form=form)


#: The types of columns that a value may meet, whatever is mapped.
ACTUAL = [
    "smallint",
    "integer",
    "bigint",
    "real",
    "float8",
    "numeric(20,3)",
    "varchar(30)",
    "char(30)",
    "text",
    "bytea",
    "boolean",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "uuid",
    "json",
    "jsonb",
    "integer[]",
    "text[]",
    "inet",
    "money",
    "oid",
    "bit(8)",
    "xml",
    "name",
    '"char"',
    "citext",
]

#: Columns onto which SQLAlchemy's value is not the mapped type's own. psycopg2 writes a float as a
#: numeric: as a text 1.0 and not 1, and taken by money. pg8000 writes bytes as a text without type.
OTHERS = {
    ("psycopg2", "Float"): {"money", "varchar(30)", "char(30)", "text", "name", '"char"', "citext"},
    ("pg8000", "LargeBinary"): set(ACTUAL) - {"bytea"},
}

#: What the mapping says, and a value of it.
MAPPED: dict[str, tuple[Any, list[Any]]] = {
    "Integer": (types.Integer(), [1, 0, 300]),
    "BigInteger": (types.BigInteger(), [2**40]),
    "SmallInteger": (types.SmallInteger(), [1]),
    "Float": (types.Float(), [1.0, 2.25]),  # of 2.5 the drivers make 2 or 3
    "Numeric": (types.Numeric(), [D("1.50")]),
    "String": (types.String(), ["1"]),
    "String, a date": (types.String(), ["2020-01-01"]),
    "Text": (types.Text(), ["{}"]),
    "LargeBinary": (types.LargeBinary(), [b"12345678"]),
    "Boolean": (types.Boolean(), [True]),
    "Date": (types.Date(), [dt.date(2020, 1, 1)]),
    "Time": (types.Time(), [dt.time(1, 2, 3)]),
    "DateTime": (types.DateTime(), [dt.datetime(2020, 1, 1, 1, 2, 3)]),
    "DateTime with zone": (types.DateTime(timezone=True), [INSTANTS[2]]),
    "Interval": (types.Interval(), [dt.timedelta(hours=1)]),
    "Uuid": (types.Uuid(), [UUIDS[2]]),
    "JSON": (types.JSON(), [{"a": 1}]),
    "JSONB": (pg.JSONB(), [[1, 2]]),
    "ARRAY": (types.ARRAY(Integer), [[1, 2]]),
}


@pytest.mark.parametrize("size", [2, 60])
@pytest.mark.parametrize("name", MAPPED)
def test_a_column_of_another_type_than_the_mapped_one(
    databases: Oracle, name: str, size: int
) -> None:
    """The right value, or an error as SQLAlchemy has one: never other bytes."""
    value_type, values = MAPPED[name]
    Thing = thing(value_type)
    others = OTHERS.get((databases.ours.driver, name), ())
    for actual in (actual for actual in ACTUAL if actual not in others):
        for value in values:
            databases.execute(
                f"CREATE TABLE thing (id SERIAL PRIMARY KEY, value {actual}, other INT)"
            )
            rows = [{"value": value, "other": i} for i in range(size)]
            ours = databases.outcome(partial(databases.by_fastbulk, Thing, rows))
            theirs = databases.outcome(partial(databases.by_sqlalchemy, Thing, rows))
            shown = f"{name} {value!r} onto {actual}: {ours!r:.300} / {theirs!r:.300}"
            if theirs is None:
                assert ours is None, shown
            if ours is None and theirs is None:
                assert databases.contents() == databases.contents(databases.theirs), shown
            databases.execute("DROP TABLE thing")
            if ours is not None or theirs is not None:
                assert isinstance(ours, exc.DBAPIError | None), shown
                assert ours is not None, shown


@pytest.mark.only("psycopg")
@pytest.mark.parametrize("size", FORMS)
def test_infinite_numbers(databases: Oracle, size: str) -> None:
    """psycopg2 makes NaN of them."""
    Thing = thing(types.Numeric())
    databases.create(Thing)
    times, returns = FORMS[size]
    rows = [{"value": D("Infinity")}, {"value": D("-Infinity")}] * times
    databases.check(Thing, rows, returning=Thing.value if returns else None)


@pytest.mark.without("asyncpg")  # it takes tuples
@pytest.mark.parametrize("size", FORMS)
def test_a_composite_type(databases: Oracle, size: str) -> None:
    databases.execute("CREATE TYPE pair AS (number int, text text)")
    Thing = thing(Pair())
    databases.create(Thing)
    times, returns = FORMS[size]
    texts = ["(1,a)", '(,"it\'s \\"")', "(,)", None]
    rows = [{"value": text, "other": i} for i, text in enumerate(texts * times)]
    databases.check(Thing, rows, returning=[Thing.id, Thing.other] if returns else None)


@pytest.mark.parametrize("size", FORMS)
@pytest.mark.parametrize("json_type", [types.JSON(), pg.JSONB()])
def test_the_engines_serializer_writes_documents(
    databases: Oracle, json_type: types.JSON, size: str
) -> None:
    Thing = thing(json_type)
    databases.create(Thing)

    def serialize(value: Any) -> str:
        return json.dumps({"written": value}, separators=(",", ":"))

    def with_serializer(engine: Engine) -> Engine:
        engine.dispose()
        return create_engine(
            engine.url, json_serializer=serialize, json_deserializer=lambda text: ["read", text]
        )

    databases.ours = with_serializer(databases.ours)
    databases.theirs = with_serializer(databases.theirs)
    times, returns = FORMS[size]
    rows = [{"value": value} for value in [*DOCUMENTS, None] * times]
    databases.check(Thing, rows, returning=Thing.value if returns else None)
