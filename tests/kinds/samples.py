"""Values of every type: the ends of its range, and what is next to it.

A type joins by one entry of `SAMPLES`; what it refuses, by one of `WRONG`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import uuid
from typing import Any

from sqlalchemy import types
from sqlalchemy.dialects import sqlite

D = decimal.Decimal


class Color(enum.Enum):
    RED = 1
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Name(str, enum.Enum):
    ANN = "ann"


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Bytes(bytes):
    pass


class Day(dt.date):
    pass


class Moment(dt.datetime):
    """As pandas.Timestamp is one."""


class Clock(dt.time):
    pass


class Id(uuid.UUID):
    pass


EAST = dt.timezone(dt.timedelta(hours=5, minutes=45))

INTEGERS = [0, 1, -1, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)]
LOOSE_INTEGERS = [True, Whole(7), Level.HIGH, 1.5, 2.0, "7", "x", b"7", math.inf]
FLOATS = [0.0, -0.0, 1.5, 0.1, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan, 1 / 3]
LOOSE_FLOATS = [1, 2**53 + 1, True, Real(2.5), D("1.239"), "1.5", "nan", " 7 ", "1e3"]
TEXTS = [
    "",
    "a",
    "ä",
    "\0",
    "a\0b",
    "\U0001f600",
    "'",
    '"',
    "%s",
    ":x",
    "?",
    "\\",
    "\n",
    "x" * 5_000,
]
LOOSE_TEXTS = [Text("s"), Name.ANN, 5, 1.0, 1.5, True, b"bytes", bytearray(b"x"), memoryview(b"y")]
BLOBS = [b"", b"\0", b"a", bytes(range(256)), b"x" * 5_000]
LOOSE_BLOBS = [bytearray(b"b"), memoryview(b"m"), Bytes(b"c")]
DATES = [dt.date.min, dt.date.max, dt.date(1969, 12, 31), dt.date(1970, 1, 1), dt.date(2024, 2, 29)]
LOOSE_DATES = [dt.datetime(2020, 1, 2, 3, 4, 5), Day(2020, 1, 2)]
TIMES = [dt.time.min, dt.time.max, dt.time(12), dt.time(1, 2, 3, 4), dt.time(1, 2, 3, 400_000)]
LOOSE_TIMES = [dt.time(1, 2, tzinfo=EAST), Clock(9)]
MOMENTS = [
    dt.datetime.min,
    dt.datetime.max,
    dt.datetime(1970, 1, 1),
    dt.datetime(1969, 12, 31, 23, 59, 59, 999_999),
    dt.datetime(2024, 2, 29, 12, 30, 15, 1),
    dt.datetime(2024, 10, 27, 2, 30, fold=1),
]
LOOSE_MOMENTS = [
    dt.date(2020, 1, 2),
    dt.datetime(2020, 1, 2, 3, tzinfo=EAST),
    Moment(2020, 1, 2, 3, 4, 5, 6),
    Moment(2020, 1, 2, tzinfo=EAST),
]
SPANS = [
    dt.timedelta(0),
    dt.timedelta(microseconds=1),
    dt.timedelta(days=-1),
    dt.timedelta(days=100, hours=3, microseconds=7),
]
UUIDS = [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=0xABC), Id(int=5)]
DOCUMENTS: list[Any] = [
    {},
    [],
    "",
    0,
    1.5,
    True,
    False,
    {"ä": [1, None, {"b": "\U0001f600"}]},
    "null",
]

# SQLAlchemy's constructors of these have no type hints.
DATE: Any = sqlite.DATE
DATETIME: Any = sqlite.DATETIME
TIME: Any = sqlite.TIME

SLASHES = DATETIME(
    storage_format="%(year)04d/%(month)02d/%(day)02d %(hour)02d:%(minute)02d",
    regexp=r"(\d+)/(\d+)/(\d+) (\d+):(\d+)",
)
AMERICAN = DATE(
    storage_format="%(month)02d/%(day)02d/%(year)04d",
    regexp=r"(?P<month>\d+)/(?P<day>\d+)/(?P<year>\d+)",
)

#: name -> (type, values that it takes).
SAMPLES: dict[str, tuple[Any, list[Any]]] = {
    "Integer": (types.Integer(), INTEGERS + LOOSE_INTEGERS),
    "SmallInteger": (types.SmallInteger(), [*INTEGERS, 32_768]),
    "BigInteger": (types.BigInteger(), INTEGERS),
    "Float": (types.Float(), FLOATS + LOOSE_FLOATS),
    "Float as Decimal": (types.Float(asdecimal=True), [1.5, D("1.239"), 7]),
    "Double": (types.Double(), FLOATS + LOOSE_FLOATS),
    "REAL": (types.REAL(), FLOATS),
    "Numeric": (types.Numeric(10, 2), [*FLOATS[:4], *LOOSE_FLOATS[:6], D("-0.005"), D("1E+3")]),
    "Numeric as float": (types.Numeric(asdecimal=False), FLOATS + LOOSE_FLOATS),
    "DECIMAL": (types.DECIMAL(38, 20), [D("0.12345678901234567890"), D(10) ** 17, 1]),
    "String": (types.String(), TEXTS + LOOSE_TEXTS),
    "String(2)": (types.String(2), TEXTS),
    "String with collation": (types.String(collation="NOCASE"), TEXTS),
    "Text": (types.Text(), TEXTS + LOOSE_TEXTS),
    "Unicode": (types.Unicode(), TEXTS),
    "UnicodeText": (types.UnicodeText(), TEXTS),
    "CHAR": (types.CHAR(3), TEXTS),
    "NVARCHAR": (types.NVARCHAR(), TEXTS),
    "LargeBinary": (types.LargeBinary(), BLOBS + LOOSE_BLOBS),
    "BLOB": (types.BLOB(), BLOBS + LOOSE_BLOBS),
    "VARBINARY": (types.VARBINARY(10), BLOBS),
    "Boolean": (types.Boolean(), [True, False, 0, 1, 0.0, 1.0]),
    "Boolean with check": (types.Boolean(create_constraint=True, name="b"), [True, False]),
    "Date": (types.Date(), DATES + LOOSE_DATES),
    "Time": (types.Time(), TIMES + LOOSE_TIMES),
    "DateTime": (types.DateTime(), MOMENTS + LOOSE_MOMENTS),
    "DateTime with zone": (types.DateTime(timezone=True), MOMENTS + LOOSE_MOMENTS),
    "TIMESTAMP": (types.TIMESTAMP(), MOMENTS + LOOSE_MOMENTS),
    "DATETIME of SQLite": (DATETIME(), MOMENTS + LOOSE_MOMENTS),
    "DATETIME cut short": (DATETIME(truncate_microseconds=True), MOMENTS[2:]),
    "DATETIME with slashes": (SLASHES, MOMENTS[2:]),
    "DATE as Americans write it": (AMERICAN, DATES[2:]),
    "TIME cut short": (TIME(truncate_microseconds=True), TIMES),
    "Interval": (types.Interval(), SPANS),
    "Enum of classes": (types.Enum(Color), [Color.RED, Color.GREEN, "RED"]),
    "Enum of integers": (types.Enum(Level), [Level.LOW, "HIGH"]),
    "Enum by value": (
        types.Enum(Color, values_callable=lambda color: [str(m.value) for m in color]),
        [Color.RED, Color.GREEN, "g"],
    ),
    "Enum of strings": (types.Enum("a", "b c", "ü"), ["a", "b c", "ü"]),
    "Enum with check": (types.Enum("a", "b", create_constraint=True, name="ab"), ["a", "b"]),
    "JSON": (types.JSON(), [*DOCUMENTS, types.JSON.NULL, (1, 2)]),
    "JSON, None is NULL": (types.JSON(none_as_null=True), [*DOCUMENTS, types.JSON.NULL]),
    "JSON of SQLite": (sqlite.JSON(), DOCUMENTS),
    "Uuid": (types.Uuid(), UUIDS),
    "Uuid as text": (
        types.Uuid(as_uuid=False),
        [str(UUIDS[2]), UUIDS[2].hex, Text(UUIDS[1])],
    ),
    "UUID": (types.UUID(), UUIDS),
    "PickleType": (types.PickleType(), [1, "x", [1, {2}], dt.date(2020, 1, 1), Color.RED, b"", ()]),
}

#: (type, a value that it does not take).
WRONG: list[tuple[Any, Any]] = [
    (types.Integer(), D(1)),
    (types.Integer(), dt.timedelta(1)),
    (types.Integer(), object()),
    (types.Integer(), [1]),
    (types.Integer(), 1j),
    (types.Float(), "x"),
    (types.Float(), []),
    (types.Float(), 1j),
    (types.Float(), dt.date(2020, 1, 1)),
    (types.Numeric(), "1,5"),
    (types.Numeric(), D("sNaN")),
    (types.Numeric(), {}),
    (types.String(), {}),
    (types.String(), ["x"]),
    (types.String(), D(1)),
    (types.String(), Color.RED),
    (types.String(), uuid.UUID(int=1)),
    (types.LargeBinary(), "x"),
    (types.LargeBinary(), 7),
    (types.LargeBinary(), [1, 2]),
    (types.Boolean(), 2),
    (types.Boolean(), -1),
    (types.Boolean(), "true"),
    (types.Boolean(), 0.5),
    (types.Date(), "2020-01-01"),
    (types.Date(), 7),
    (types.Date(), dt.time(1)),
    (types.Time(), "12:00"),
    (types.Time(), dt.date(2020, 1, 1)),
    (types.Time(), dt.timedelta(hours=1)),
    (types.DateTime(), "2020-01-01"),
    (types.DateTime(), 1.5),
    (types.DateTime(), dt.time(1)),
    (types.Interval(), 7),
    (types.Interval(), "1 day"),
    (types.Interval(), dt.timedelta.max),
    (types.Enum(Color), 1),
    (types.Enum("a", "b"), 7),
    (types.Enum("a", "b", validate_strings=True), "c"),
    (types.JSON(), object()),
    (types.JSON(), dt.date(2020, 1, 1)),
    (types.JSON(), {1j: 2}),
    (types.JSON(), b"x"),
    (types.Uuid(), "x"),
    (types.Uuid(), 7),
    (types.Uuid(as_uuid=False), uuid.UUID(int=1)),
    (types.Uuid(as_uuid=False), 7),
    (types.PickleType(), lambda: None),
]
