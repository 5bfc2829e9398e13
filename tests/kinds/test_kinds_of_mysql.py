"""Every type on MySQL and MariaDB, by each driver, and onto columns of other types."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Integer, TypeDecorator, exc, func, types
from sqlalchemy.dialects import mysql

from oracle import error_of, model, place, spelled

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from oracle import Oracle

pytestmark = [
    pytest.mark.only("mariadb", "mysql"),
    # aiomysql and asyncmy can't send all bytes and numbers; here they are sent as PyMySQL's.
    pytest.mark.sync,
    # SQLAlchemy says so whenever two columns happen to have the same hash.
    pytest.mark.filterwarnings("ignore:Type object:sqlalchemy.exc.SADeprecationWarning"),
]

D = decimal.Decimal
NAN, INF = float("nan"), float("inf")
EAST = dt.timezone(dt.timedelta(hours=5, minutes=45))
UUIDS = [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=5)]
TEXTS = [
    "", "a", "ü", "\U0001f600", "'", "''", '"', "`", "\\", "\\'", "'\\", "\\\\", "\0", "a\0b",
    "\x1a", "%s %% %(a)s :a ?", " x ", "\t\r\n", "-- x", "/* x */", "#", ";", "NULL", "DEFAULT",
    "DELIMITER ;;", 'delimiter "', "x'41'", "_utf8mb4", "\ufeff", "\u2028", "\U0010ffff",
]  # fmt: skip
DOCUMENTS = [{"ä": [1, None, {"b": "\U0001f600"}]}, [], {}, "x", 0, 1.5, True, "it's \\ \" \n"]
BLOBS = [b"", b"\0", b"'", b"\\", bytes(range(256)), b"\xf0\x9f", bytearray(b"x"), memoryview(b"y")]
MOMENTS = [
    dt.datetime(1000, 1, 1),
    dt.datetime(9999, 12, 31, 23, 59, 59),
    dt.datetime(1969, 12, 31, 23, 59, 59, 123456),
    dt.datetime(2024, 2, 29, 1, 2, 3, 4),
    dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=EAST),
]
#: A TIMESTAMP holds no more, in the zone of the servers.
STAMPS = [dt.datetime(1971, 1, 1), dt.datetime(2037, 12, 31, 23, 59, 59, 999999)]
SPANS = [
    dt.timedelta(),
    dt.timedelta(hours=838, minutes=59, seconds=59),
    -dt.timedelta(hours=838, minutes=59, seconds=59),
    dt.timedelta(days=2, microseconds=5),
]
NEGATIVE = [-dt.timedelta(seconds=1), -dt.timedelta(hours=3, microseconds=999_999)]


class Color(enum.Enum):
    RED = 1
    GREEN = "g"


class Doubled(TypeDecorator[int]):
    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Any) -> int | None:
        return None if value is None else value * 2


class Lowered(TypeDecorator[str]):
    impl = types.String
    cache_ok = True

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.lower(bindvalue)

    def column_expression(self, column: Any) -> Any:
        return func.upper(column)


class Shape(types.UserDefinedType[str]):
    """A geometry, as text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "GEOMETRY"

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.ST_GeomFromText(bindvalue, type_=self)

    def column_expression(self, column: Any) -> Any:
        return func.ST_AsText(column, type_=types.String())


class Address(types.UserDefinedType[str]):
    """MariaDB's INET4 or INET6."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


class Raw(Integer):
    """Of a class of its own, of which nothing is known."""


#: name -> (type, values that it takes).
SAMPLES: dict[str, tuple[Any, list[Any]]] = {
    "Integer": (types.Integer(), [-(2**31), 2**31 - 1, 0, True, "7", 1.5, D("2.5")]),
    "SmallInteger": (types.SmallInteger(), [-(2**15), 2**15 - 1]),
    "BigInteger": (types.BigInteger(), [-(2**63), 2**63 - 1, 0]),
    "TINYINT": (mysql.TINYINT(), [-128, 127]),
    "TINYINT unsigned": (mysql.TINYINT(unsigned=True), [0, 255]),
    "SMALLINT unsigned": (mysql.SMALLINT(unsigned=True), [0, 2**16 - 1]),
    "MEDIUMINT": (mysql.MEDIUMINT(), [-(2**23), 2**23 - 1]),
    "MEDIUMINT unsigned": (mysql.MEDIUMINT(unsigned=True), [0, 2**24 - 1]),
    "INTEGER unsigned": (mysql.INTEGER(unsigned=True), [0, 2**32 - 1]),
    "BIGINT unsigned": (mysql.BIGINT(unsigned=True), [0, 2**63, 2**64 - 1, 1]),
    "INTEGER zerofill": (mysql.INTEGER(zerofill=True, display_width=8), [7]),
    "Float": (types.Float(), [0.5, 1, -1e30, D("1.25"), "1.5"]),
    "FLOAT": (mysql.FLOAT(), [0.1, 3.4e38, -1e-37, 1 / 3]),
    "FLOAT(53)": (types.Float(53), [0.1, 1 / 3]),
    "Double": (types.Double(), [0.1, 1.7976931348623157e308, -5e-324, 5e-324, -0.0, 1 / 3, 1e22]),
    "REAL": (mysql.REAL(), [0.1, 1e300]),
    "Numeric": (types.Numeric(20, 6), [D("1e13"), D("-0.000001"), 7, 0.1, 1 / 3, "1.5", 2**40]),
    "Numeric(10, 2)": (
        types.Numeric(10, 2),
        [D("1.239"), D("-99999999.99"), D("1E+3"), D("0.005"), D("-0.005"), 1.005, 0.125],
    ),
    "DECIMAL(65, 30)": (mysql.DECIMAL(65, 30), [D("9" * 35 + "." + "9" * 30), D("1E-30")]),
    "DECIMAL unsigned": (mysql.DECIMAL(10, 2, unsigned=True), [D("0"), D("99999999.99")]),
    "Numeric as float": (types.Numeric(10, 4, asdecimal=False), [0.1, 2.5]),
    "String": (types.String(), [*TEXTS, 5, 1.5, True, 2**70, D("1.50"), dt.date(2020, 1, 1)]),
    "String, moments": (types.String(), [*MOMENTS[2:4], dt.datetime(2020, 1, 1), dt.time(1, 2, 3),
                                         dt.time(1, 2, 3, 4)]),
    "String(5)": (types.String(5), ["", "ab", "äöüäö", "\U0001f600" * 5]),
    "CHAR(5)": (types.CHAR(5), ["", "ab", "ab   "]),
    "String, latin1": (mysql.VARCHAR(20, charset="latin1"), ["ü", "é'\\", "a"]),
    "String, utf16": (mysql.VARCHAR(20, charset="utf16"), ["ü", "\U0001f600", "\\"]),
    "String, binary collation": (types.String(20, collation="utf8mb4_bin"), TEXTS),
    "Text": (types.Text(), [*TEXTS, "x" * 60_000, "\\" * 10_000]),
    "Unicode": (types.Unicode(30), TEXTS),
    "TINYTEXT": (mysql.TINYTEXT(), TEXTS),
    "LONGTEXT": (mysql.LONGTEXT(), [*TEXTS, "ü" * 200_000]),
    "NVARCHAR": (mysql.NVARCHAR(30), ["a", "ü"]),
    "LargeBinary": (types.LargeBinary(), BLOBS),
    "BINARY(4)": (mysql.BINARY(4), [b"", b"a", b"\0\0\0\0"]),
    "VARBINARY(300)": (mysql.VARBINARY(300), BLOBS),
    "LONGBLOB": (mysql.LONGBLOB(), [*BLOBS, b"\\'" * 100_000]),
    "Boolean": (types.Boolean(), [True, False, 1, 0]),
    "BIT(1)": (mysql.BIT(1), [0, 1, True, b"\1"]),
    "BIT(64)": (mysql.BIT(64), [0, 2**63 - 1, 2**64 - 1, b"\0\1"]),
    "YEAR": (mysql.YEAR(), [1901, 2155, 0, "2020", 99]),
    "Date": (types.Date(), [dt.date(1000, 1, 1), dt.date.max, dt.date(1969, 12, 31), "2020-02-29"]),
    "Date, moments": (types.Date(), [dt.datetime(2020, 1, 2)]),
    "Time": (types.Time(), [dt.time.min, dt.time(23, 59, 59), dt.time(1, 2, 3, 4), "12:30"]),
    "TIME(6)": (mysql.TIME(fsp=6), [dt.time.max, dt.time(1, 2, 3, 4)]),
    "DateTime": (types.DateTime(), [*MOMENTS, "2020-01-02 03:04:05", dt.date(2020, 1, 1)]),
    "DateTime with zone": (types.DateTime(timezone=True), MOMENTS),
    "DATETIME(6)": (mysql.DATETIME(fsp=6), [*MOMENTS, dt.datetime.max]),
    "DATETIME(3)": (mysql.DATETIME(fsp=3), MOMENTS[:2] + MOMENTS[3:]),
    "TIMESTAMP": (mysql.TIMESTAMP(fsp=6), STAMPS),
    "Interval": (types.Interval(), [dt.timedelta(), dt.timedelta(days=100, seconds=7)]),
    "Enum": (types.Enum(Color), [Color.RED, Color.GREEN, "RED"]),
    "ENUM": (mysql.ENUM("a", "b c", "it's", "ü", "back\\slash"), ["a", "b c", "it's", "ü"]),
    "SET": (mysql.SET("a", "b", "c d"), [{"a"}, {"a", "c d"}, set(), "a,b"]),
    "JSON": (types.JSON(), [*DOCUMENTS, types.JSON.NULL]),
    "JSON, None is NULL": (types.JSON(none_as_null=True), DOCUMENTS),
    "Uuid": (types.Uuid(), UUIDS),
    "Uuid as text": (types.Uuid(as_uuid=False), [str(number) for number in UUIDS]),
    "Uuid in characters": (types.Uuid(native_uuid=False), UUIDS),
    "PickleType": (types.PickleType(), [1, [1, {2}], b"", "\\'"]),
    "TypeDecorator": (Doubled(), [1, -7]),
    "bind_expression": (Lowered(), ["ABC", "Ü", "\\'"]),
    "geometry": (Shape(), ["POINT(1 2)", "LINESTRING(0 0,1 1)"]),
    "a class of its own": (Raw(), [1, 2**31 - 1]),
    "with_variant": (types.String().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), TEXTS),
}  # fmt: skip

#: Connector/Python has no form for a UUID.
NOT_BY_SQLALCHEMY = {("Uuid", "mariadb", "mysqlconnector")}

#: Of MariaDB only.
OF_MARIADB: dict[str, tuple[Any, list[Any]]] = {
    "INET4": (Address("INET4"), ["10.0.0.1", "255.255.255.255"]),
    "INET6": (Address("INET6"), ["::1", "fe80::1"]),
}


def thing(value_type: Any) -> Any:
    return model(value=Column(value_type, nullable=True), other=Column(Integer))


def check(databases: Oracle, value_type: Any, values: list[Any]) -> None:
    """Few and many rows, returned and not."""
    Thing = thing(value_type)
    databases.create(Thing)
    few = [{"value": value, "other": i} for i, value in enumerate([*values, None])]
    large = any(len(value) > 9_999 for value in values if isinstance(value, (str, bytes)))
    many = few * (1 if large else 60 // len(few) + 1)
    databases.check(Thing, few)
    if databases.backend.own_connection:  # it gives no rows back, and leaves gaps between keys
        databases.execute("TRUNCATE thing")
    else:
        databases.check(Thing, few, returning=[Thing.id, Thing.value])
    databases.check(Thing, many)
    if databases.ours.dialect.insert_returning and not databases.backend.own_connection:
        databases.check(Thing, many, returning=Thing.value)


@pytest.mark.parametrize("name", SAMPLES)
def test_values_of_a_type(databases: Oracle, name: str) -> None:
    if (name, databases.ours.dialect.name, databases.ours.driver) in NOT_BY_SQLALCHEMY:
        pytest.skip("SQLAlchemy's dialect can't")
    check(databases, *SAMPLES[name])


@pytest.mark.only("mariadb")
@pytest.mark.parametrize("name", OF_MARIADB)
def test_values_of_a_type_of_mariadb(databases: Oracle, name: str) -> None:
    check(databases, *OF_MARIADB[name])


def test_a_set_that_is_read_as_bits(databases: Oracle) -> None:
    """What it is read by has a parameter, which RETURNING can't have."""
    Thing = thing(mysql.SET("a", "b", retrieve_as_bitwise=True))
    databases.create(Thing)
    databases.check(Thing, [{"value": {"a"}}, {"value": {"a", "b"}}, {"value": set()}] * 20)


def test_spans_in_a_time(databases: Oracle) -> None:
    """SQLAlchemy reads none of more than a day, and Connector/Python writes fractions wrong."""
    Thing = thing(mysql.TIME(fsp=6))
    databases.create(Thing)
    values = [*SPANS, *NEGATIVE]
    databases.by_fastbulk(Thing, [{"value": value} for value in values])
    with databases.ours.connect() as connection:
        found = connection.exec_driver_sql("SELECT value FROM thing ORDER BY id").scalars().all()
    assert found == values


#: (type, a value that it does not take)
WRONG: list[tuple[Any, Any]] = [
    (types.Integer(), "x"),
    (types.Integer(), 2**31),
    (types.Integer(), 2**70),
    (types.BigInteger(), -(2**63) - 1),
    (mysql.INTEGER(unsigned=True), -1),
    (types.Integer(), []),
    (types.Integer(), object()),
    (types.Float(), "x"),
    (types.Double(), INF),
    (types.Double(), -INF),
    (types.Numeric(10, 2), D("1e9")),
    (types.Numeric(10, 2), "x"),
    (types.String(3), "abcd"),
    (mysql.VARCHAR(20, charset="latin1"), "\U0001f600"),
    (mysql.VARBINARY(3), b"abcd"),
    (types.Date(), "2020-02-30"),
    (types.Date(), "x"),
    (types.Time(), dt.timedelta(hours=839)),
    (types.DateTime(), "x"),
    (mysql.TIMESTAMP(), dt.datetime(1960, 1, 1)),
    (types.Boolean(), 2),
    (types.Enum(Color), 1),
    (mysql.ENUM("a"), "c"),
    (mysql.SET("a"), {"c"}),
    (mysql.YEAR(), 1900),
    (mysql.BIT(1), 2),
    (types.JSON(), object()),
    (types.Uuid(native_uuid=False), 7),
]


@pytest.mark.parametrize(("value_type", "value"), WRONG, ids=lambda wrong: spelled(wrong)[:30])
def test_values_that_a_type_refuses(databases: Oracle, value_type: Any, value: Any) -> None:
    Thing = thing(value_type)
    databases.create(Thing)
    error = databases.check(Thing, [{"other": 1}, {"other": 1, "value": value}, {"other": 2}])
    assert isinstance(error, exc.StatementError)
    assert place(error)[0] == 1


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("value_type", [types.Double(), types.Numeric(10, 2), types.String()])
def test_numbers_that_are_none_are_refused(
    databases: Oracle, value_type: Any, value: float
) -> None:
    """Connector/Python would store NULL for one of them."""
    Thing = thing(value_type)
    databases.create(Thing)
    rows: list[dict[str, Any]] = [{"other": i} for i in range(50)]
    rows[30]["value"] = value
    error = error_of(lambda: databases.by_fastbulk(Thing, rows))
    assert type(error) is exc.ProgrammingError
    assert place(error)[:2] == (30, "value")
    assert databases.contents()["thing"] == []


@pytest.mark.parametrize("value", [D("NaN"), D("Infinity"), D("sNaN")])
def test_decimals_that_are_no_numbers_are_refused(databases: Oracle, value: D) -> None:
    Thing = thing(types.Numeric(10, 2))
    databases.create(Thing)
    error = error_of(lambda: databases.by_fastbulk(Thing, [{}, {"value": value}]))
    assert place(error)[:2] == (1, "value")


@pytest.mark.parametrize("value", [[1], (1,), {1}, frozenset([1])])
def test_lists_are_no_values(databases: Oracle, value: Any) -> None:
    """Two drivers write (1), and so store a number that nobody gave."""
    Thing = thing(types.Integer())
    databases.create(Thing)
    error = error_of(lambda: databases.by_fastbulk(Thing, [{"value": 1}, {"value": value}]))
    assert type(error) is exc.ProgrammingError
    assert place(error) == (1, "value", value)


#: The types of columns that a value may meet, whatever is mapped.
ACTUAL = [
    "TINYINT", "SMALLINT UNSIGNED", "INT", "BIGINT", "BIGINT UNSIGNED", "FLOAT", "DOUBLE",
    "DECIMAL(20,3)", "VARCHAR(60)", "CHAR(60)", "TEXT", "VARCHAR(60) CHARACTER SET latin1",
    "VARBINARY(60)", "BLOB", "DATE", "TIME", "TIME(6)", "DATETIME", "DATETIME(6)",
    "TIMESTAMP NULL", "YEAR", "BIT(64)", "JSON", "ENUM('1','a')", "SET('1','a')", "GEOMETRY",
]  # fmt: skip

#: What the mapping says, and values of it.
MAPPED: dict[str, tuple[Any, list[Any]]] = {
    "Integer": (types.Integer(), [1, 0, 300, -1, 20200101, 2**70]),
    "Float": (types.Float(), [1.0, 2.25, 1e20, -0.0]),
    "Numeric": (types.Numeric(20, 6), [D("1.50"), D("1E+3")]),
    "String": (types.String(), ["1", "a", "", "2020-01-01", "12:00", "{}", "1e3", "\\", "ü'"]),
    "LargeBinary": (types.LargeBinary(), [b"1", b"12345678", b"\xff\\'"]),
    "Boolean": (types.Boolean(), [True, False]),
    "Date": (types.Date(), [dt.date(2020, 1, 1)]),
    "Time": (types.Time(), [dt.time(1, 2, 3), dt.time(1, 2, 3, 500_000)]),
    "DateTime": (types.DateTime(), [MOMENTS[3], dt.datetime(2020, 1, 1)]),
    "Interval": (types.Interval(), [dt.timedelta(hours=1)]),
    "Uuid": (types.Uuid(), [UUIDS[2]]),
    "JSON": (types.JSON(), [{"a": 1}, "x"]),
}


@pytest.mark.parametrize("sql_mode", ["STRICT_ALL_TABLES", "", "NO_BACKSLASH_ESCAPES,ANSI_QUOTES"])
@pytest.mark.parametrize("name", MAPPED)
def test_a_column_of_another_type_than_the_mapped_one(
    databases: Oracle, name: str, sql_mode: str
) -> None:
    """The value that SQLAlchemy stores there by the same driver, or an error as it has one."""
    databases.reconnect(init_command=f"SET sql_mode = '{sql_mode}'")
    value_type, values = MAPPED[name]
    columns = ", ".join(f"c{i} {actual}" for i, actual in enumerate(ACTUAL))
    databases.execute(f"CREATE TABLE thing (id INT AUTO_INCREMENT PRIMARY KEY, {columns})")
    for i, actual in enumerate(ACTUAL):
        Thing = model(value=Column(f"c{i}", value_type))
        for value in values:
            if differs(databases.ours, value, actual):
                continue
            rows = [{"value": value}, {"value": None}, {"value": value}]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", exc.SAWarning)
                ours = databases.outcome(partial(databases.by_fastbulk, Thing, rows))
                theirs = databases.outcome(partial(databases.by_sqlalchemy, Thing, rows))
            shown = f"{name} {value!r} onto {actual}: {ours!r:.300} / {theirs!r:.300}"
            assert type(ours) is type(theirs), shown
            assert newest(databases.ours, i) == newest(databases.theirs, i), shown
            if ours is None:
                databases.execute("DELETE FROM thing")


def differs(engine: Engine, value: Any, actual: str) -> bool:
    """Where drivers differ from each other: in bytes for what is no column of bytes, which some
    send as a text or as a number, and in UUIDs, which one can't send.
    """
    if isinstance(value, bytes):
        return not actual.startswith(("VARBINARY", "BLOB", "BIT"))
    return isinstance(value, uuid.UUID) and engine.driver == "mysqlconnector"


def newest(engine: Engine, column: int) -> Any:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"SELECT HEX(c{column}) FROM thing ORDER BY id").all()
