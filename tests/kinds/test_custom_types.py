"""Types that a program brings itself."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    String,
    TypeDecorator,
    bindparam,
    create_engine,
    func,
    insert,
    literal_column,
    select,
    types,
)
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import Session
from sqlalchemy.types import UserDefinedType

import fastbulk
from oracle import model, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

    from oracle import Oracle


class Plain(TypeDecorator[Any]):
    impl = String
    cache_ok = True


class PlainDate(TypeDecorator[Any]):
    impl = Date
    cache_ok = True


class Prefixed(TypeDecorator[Any]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else f"B:{value}"

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else f"{value}:R"


class Cents(TypeDecorator[Any]):
    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else int(value * 100)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else decimal.Decimal(value) / 100


class Utc(TypeDecorator[Any]):
    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is not None and value.tzinfo is None:
            raise TypeError("a time zone is needed")
        return value and value.astimezone(dt.timezone.utc).replace(tzinfo=None)


class AsJson(TypeDecorator[Any]):
    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value and {"wrapped": value}


class ByDialect(TypeDecorator[Any]):
    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else String())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value and len(value)


class Nested(TypeDecorator[Any]):
    impl = Prefixed
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value and value.upper()


class Lowered(String):
    """SQL around the parameter, and around the column when it is read."""

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.lower(bindvalue)

    def column_expression(self, column: Any) -> Any:
        return func.upper(column)


class Doubled(String):
    """The parameter stands twice in the SQL."""

    def bind_expression(self, bindvalue: Any) -> Any:
        return bindvalue.concat(literal_column("'%s:?'")).concat(bindvalue)


class Parametrised(String):
    def bind_expression(self, bindvalue: Any) -> Any:
        return func.replace(bindvalue, bindparam(None, "a"), "b")


class Point(UserDefinedType[Any]):
    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        return "POINT"

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        return lambda value: value and f"{value[0]} {value[1]}"

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any]:
        return lambda value: value and tuple(map(int, value.split()))


class Raw(UserDefinedType[Any]):
    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        return "RAW"


class OwnInteger(Integer):
    """A subclass may do anything."""

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        return lambda value: value and -value


class OwnString(String):
    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any]:
        return lambda value: value and value[::-1]


class OwnDate(Date):
    pass


DAY = dt.date(2020, 1, 2)
MOMENT = dt.datetime(2020, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=2)))

TYPES: dict[str, tuple[Any, list[Any]]] = {
    "decorator that decorates nothing": (Plain(), ["a", "", 5]),
    "decorator of a date": (PlainDate(), [DAY]),
    "decorator": (Prefixed(), ["a", "", 7]),
    "decorator of another value": (Cents(), [decimal.Decimal("1.25"), 3]),
    "decorator of a time": (Utc(), [MOMENT]),
    "decorator of JSON": (AsJson(), [{"a": 1}, [1]]),
    "decorator by dialect": (ByDialect(), ["abc"]),
    "decorator of a decorator": (Nested(), ["abc"]),
    "SQL around the value": (Lowered(), ["AbC", ""]),
    "SQL with the value twice": (Doubled(), ["x", ""]),
    "own type": (Point(), [(1, 2)]),
    "own type without processors": (Raw(), ["x", 1, b"b"]),
    "subclass of Integer": (OwnInteger(), [5, 0]),
    "subclass of String": (OwnString(), ["abc"]),
    "subclass of Date": (OwnDate(), [DAY]),
    "variant": (String().with_variant(Integer(), "sqlite"), [5]),
    "variant with processor": (Integer().with_variant(JSON(), "sqlite"), [{"a": 1}]),
    "variant with a decorator": (Integer().with_variant(Prefixed(), "sqlite"), ["a"]),
    "variant of another dialect": (JSON().with_variant(String(), "postgresql"), [{"a": 1}]),
    "mutable": (MutableDict.as_mutable(JSON()), [{"a": 1}]),
}


@pytest.mark.only("sqlite")
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("count", [1, 200])
def test_a_type_of_the_programs_own(databases: Oracle, name: str, count: int) -> None:
    value_type, values = TYPES[name]
    Thing = model(value=Column(value_type), other=Column(Integer))
    databases.create(Thing)
    rows = [{"value": value} for value in [*values, None] * count] + [{"other": 1}]
    databases.check(Thing, rows, returning=[Thing.id, Thing.value])
    databases.check(Thing, rows[:3], returning=Thing)


@pytest.mark.parametrize("name", TYPES)
def test_a_type_of_the_programs_own_by_executemany(before_import: Oracle, name: str) -> None:
    value_type, values = TYPES[name]
    Thing = model(value=Column(value_type), other=Column(Integer))
    before_import.create(Thing)
    rows = [{"value": value} for value in [*values, None]] + [{"other": 1}]
    before_import.check(Thing, rows, road="executemany")


@pytest.mark.parametrize("name", ["decorator", "SQL around the value", "own type"])
def test_a_default_of_a_type_of_the_programs_own(databases: Oracle, name: str) -> None:
    value_type, values = TYPES[name]
    Thing = model(value=Column(value_type, default=values[0]), other=Column(Integer))
    databases.create(Thing)
    databases.check(Thing, [{}, {"other": 1}, {"value": None}], returning=Thing.value)


@pytest.mark.only("sqlite")
def test_sql_with_parameters_of_its_own_goes_by_sqlalchemy(databases: Oracle) -> None:
    Thing = model(value=Column(Parametrised()))
    databases.create(Thing)
    databases.check(Thing, [{"value": "abc"}], returning=Thing.value, road="sqlalchemy")


def test_a_processor_is_not_asked_about_a_none_that_is_dropped(databases: Oracle) -> None:
    calls = []

    class Counting(TypeDecorator[Any]):
        impl = String
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
            calls.append(value)
            return value

    Thing = model(value=Column(Counting), other=Column(Integer))
    databases.create(Thing)
    fastbulk.insert(databases.ours, Thing, [{"value": None}, {"other": 1}, {"value": "x"}])
    assert calls == ["x"]


def test_a_processor_that_raises_names_the_row(databases: Oracle) -> None:
    Thing = model(value=Column(Utc()))
    databases.create(Thing)
    naive = dt.datetime(2020, 1, 1)
    error = databases.check(Thing, [{"value": MOMENT}, {"value": naive}])
    assert isinstance(error.orig, TypeError)
    assert place(error) == (1, "value", naive)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_processor_that_ends_the_program_does_so(
    databases: Oracle, stop: type[BaseException]
) -> None:
    class Stopping(TypeDecorator[Any]):
        impl = String
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: Dialect) -> None:
            raise stop

    Thing = model(value=Column(Stopping))
    databases.create(Thing)
    with pytest.raises(stop):
        fastbulk.insert(databases.ours, Thing, [{"value": "x"}])
    assert databases.contents()["thing"] == []


@pytest.mark.without("mariadb", "mysql")  # they take it: see test_lists_are_no_values
def test_a_processor_that_returns_what_the_driver_does_not_take(databases: Oracle) -> None:
    class Odd(TypeDecorator[Any]):
        impl = String
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
            return value and {value}

    Thing = model(value=Column(Odd))
    databases.create(Thing)
    databases.check(Thing, [{"value": "x"}])


class Pair:
    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


class Conforming:
    def __conform__(self, protocol: Any) -> str | None:
        return "conformed" if protocol is sqlite3.PrepareProtocol else None


@pytest.fixture
def adapter_of_pairs() -> Iterator[None]:
    sqlite3.register_adapter(Pair, lambda pair: f"{pair.a};{pair.b}")
    yield
    del sqlite3.adapters[Pair, sqlite3.PrepareProtocol]


@pytest.mark.only("sqlite")
@pytest.mark.usefixtures("adapter_of_pairs")
def test_adapters_of_the_driver(databases: Oracle) -> None:
    Thing = model(value=Column(String), other=Column(Raw()))
    databases.create(Thing)
    databases.check(Thing, [{"value": Pair(1, 2), "other": Conforming()}, {"value": Conforming()}])


def test_the_json_serializer_of_the_engine(tmp_path: Path) -> None:
    engine = create_engine(
        f"sqlite:///{tmp_path / 'a.db'}",
        json_serializer=lambda value: json.dumps(value, separators=(",", ":"), sort_keys=True),
        json_deserializer=lambda text: ("read", json.loads(text)),
    )
    Thing = model(value=Column(JSON))
    Thing.metadata.create_all(engine)
    rows = [{"value": {"b": 1, "a": [2]}}]
    returned = fastbulk.insert(engine, Thing, rows, returning=Thing.value).scalar()
    assert returned == ("read", {"b": 1, "a": [2]})
    with engine.connect() as connection:
        stored = connection.exec_driver_sql("SELECT value FROM thing").scalar()
    assert stored == '{"a":[2],"b":1}'
    engine.dispose()


@pytest.mark.filterwarnings("ignore:The default:DeprecationWarning")
def test_dates_that_the_driver_converts_itself(tmp_path: Path) -> None:
    """`native_datetime=True` gives dates to sqlite3, which reads them back by the column's type."""
    Thing = model(day=Column(Date), moment=Column(types.TIMESTAMP), name=Column(String))
    rows = [{"day": DAY, "moment": dt.datetime(2020, 1, 2, 3, 4, 5), "name": "x"}]
    columns = [Thing.day, Thing.moment]
    found = []
    for name in ("ours", "theirs"):
        engine = create_engine(
            f"sqlite:///{tmp_path / name}.db",
            connect_args={"detect_types": sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES},
            native_datetime=True,
        )
        Thing.metadata.create_all(engine)
        with Session(engine) as session:
            result: Any
            if name == "ours":
                result = fastbulk.insert(session, Thing, rows, returning=columns)
            else:
                result = session.execute(insert(Thing).returning(*columns), rows)
            found.append((result.all(), session.execute(select(*columns)).all()))
        engine.dispose()
    assert found[0] == found[1]


def test_two_engines_do_not_share_their_processors() -> None:
    Thing = model(value=Column(JSON))
    for indent in (None, 1):
        engine = create_engine(
            "sqlite://", json_serializer=lambda v, indent=indent: json.dumps(v, indent=indent)
        )
        Thing.metadata.create_all(engine)
        with Session(engine) as session:
            fastbulk.insert(session, Thing, [{"value": [1]}])
            stored = session.connection().exec_driver_sql("SELECT value FROM thing").scalar()
        assert stored == json.dumps([1], indent=indent)
        engine.dispose()


@pytest.mark.only("sqlite")
def test_classes_do_not_share_their_plans(databases: Oracle) -> None:
    models = [
        (model(table="first", value=Column(Enum("a", "b"))), "a"),
        (model(table="second", value=Column(Prefixed)), "a"),
        (model(table="third", value=Column(Float), b=Column(LargeBinary), n=Column(Numeric)), 1),
    ]
    for Thing, value in models:
        databases.create(Thing)
        databases.check(Thing, [{"value": value}], returning=Thing.value)
