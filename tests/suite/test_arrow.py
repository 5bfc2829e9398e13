"""Rows that lie in columns: SQLAlchemy's oracle is given the same rows as dicts."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import arro3.core
import duckdb
import nanoarrow  # type: ignore[import-untyped]  # no py.typed
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # no py.typed
import pytest
from pyarrow import dataset
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Time,
    TypeDecorator,
    Uuid,
    exc,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Session, synonym

import fastbulk
from oracle import error_of, model, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oracle import Oracle, WithTables

UTC = dt.timezone.utc
DAY = dt.date(2013, 1, 31)
NOON = dt.datetime(2013, 1, 31, 12, 0, 0, 5)
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


def check(
    databases: Oracle, model: Any, table: pa.Table, given: Any = None, **arguments: Any
) -> Any:
    """Inserts the table, or the same rows in `given`, and its rows as dicts by SQLAlchemy."""
    rows = table.to_pylist()
    form = lambda model, rows: table if given is None else given  # noqa: E731
    return databases.check(model, rows, form=form, **arguments)


def road_of(databases: Oracle, model: Any, rows: Any, **arguments: Any) -> fastbulk.Road:
    with Session(databases.ours) as session:
        return fastbulk.insert(session, model, rows, **arguments).road


def everything() -> Any:
    return model(
        flag=Column(Boolean),
        number=Column(Integer),
        big=Column(BigInteger),
        size=Column(Float(53)),
        price=Column(Numeric(20, 4)),
        name=Column(String(200)),
        data=Column(LargeBinary),
        day=Column(Date),
        hour=Column(Time),
        moment=Column(DateTime),
    )


def a_table(rows: int = 3) -> pa.Table:
    """Values of all direct pairs, with NULLs."""
    # asyncpg takes the first and the last day that Python has for infinities.
    moments = [NOON.replace(microsecond=0), None, dt.datetime(1, 1, 2)]
    columns = {
        "flag": pa.array([True, None, False]),
        "number": pa.array([2**31 - 1, None, -(2**31)], pa.int32()),
        "big": pa.array([2**63 - 1, None, -(2**63)]),
        "size": pa.array([1.5, None, -0.25]),
        "price": pa.array([Decimal("1234567.25"), None, Decimal("-0.5")], pa.decimal128(20, 4)),
        "name": pa.array(["Ann", None, "日本 'x\\"]),
        "data": pa.array([b"\0\xff", None, b""]),
        "day": pa.array([DAY, None, dt.date(9999, 12, 30)]),
        "hour": pa.array([dt.time(23, 59, 59), None, dt.time(0)], pa.time64("us")),
        "moment": pa.array(moments, pa.timestamp("us")),
    }
    table = pa.table(columns)
    return pa.concat_tables([table] * (rows // 3)).combine_chunks()


def test_direct_pairs_make_no_python_object(oracle: WithTables) -> None:
    Thing = everything()
    databases = oracle(Thing)
    # SQLite's Numeric is a float, which a decimal may be.
    check(databases, Thing, a_table())
    assert "columns" not in road_of(databases, Thing, a_table()).refused


def test_many_batches_and_slices_of_arrays(oracle: WithTables) -> None:
    Thing = everything()
    whole = a_table(90)
    table = pa.Table.from_batches(whole.slice(7, 80).to_batches(max_chunksize=11))
    databases = oracle(Thing)
    check(databases, Thing, table, returning=Thing.id)
    check(databases, Thing, table, table.to_reader())


FORMS: dict[str, Callable[[pa.Table], Any]] = {
    "batch": lambda table: table.combine_chunks().to_batches()[0],
    "reader": lambda table: table.to_reader(),
    "generator": lambda table: pa.RecordBatchReader.from_batches(
        table.schema, (batch for batch in table.to_batches(max_chunksize=2))
    ),
    "polars": pl.from_arrow,
    "pandas": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "duckdb": lambda table: duckdb.from_arrow(table),
    "arro3": arro3.core.Table.from_arrow,
    "arro3 reader": arro3.core.RecordBatchReader.from_arrow,
    "nanoarrow": lambda table: nanoarrow.Array(table.combine_chunks().to_batches()[0]),
    "nanoarrow stream": nanoarrow.ArrayStream,
    "dataset": dataset.dataset,
    "scanner": lambda table: dataset.dataset(table).scanner(),
    "capsule": lambda table: Capsule(table),
}


def test_any_object_with_the_capsule_interface(oracle: WithTables) -> None:
    Thing = everything()
    databases = oracle(Thing)
    for form in FORMS.values():
        check(databases, Thing, a_table(), form(a_table()), returning=Thing.id)


class Capsule:
    """Nothing but the interface."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


#: Column type, what it is given, and how: SQLAlchemy is given the same as Python's `to_pylist`.
CONVERTED: dict[str, tuple[Any, pa.Array]] = {
    "int8": (Integer, pa.array([-128, None, 127], pa.int8())),
    "uint32": (BigInteger, pa.array([0, None, 2**32 - 1], pa.uint32())),
    "uint64": (BigInteger, pa.array([0, None, 2**63 - 1], pa.uint64())),
    "int to float": (Float(53), pa.array([2**53, None, -3])),
    "int to numeric": (Numeric(20, 0), pa.array([2**53, None, -3])),
    "float32": (Float(53), pa.array([1.5, None, float(2**100)], pa.float32())),
    "float16": (Float(53), pa.array([1.5, None, -2.0], pa.float16())),
    "float to numeric": (Numeric(10, 4), pa.array([0.1, None, -1234.5])),
    "decimal256": (Numeric(20, 4), pa.array([Decimal("0.0001"), None], pa.decimal256(60, 4))),
    "large text": (String(50), pa.array(["a", None, "日本"], pa.large_string())),
    "text views": (String(50), pa.array(["a", None, "longer than a view"], pa.string_view())),
    "dictionary": (String(50), pa.array(["a", None, "b", "a"]).dictionary_encode()),
    "runs": (Integer, pa.RunEndEncodedArray.from_arrays([2, 3], [7, None])),
    "large bytes": (LargeBinary, pa.array([b"a", None], pa.large_binary())),
    "byte views": (LargeBinary, pa.array([b"a", None, b"longer than a view"], pa.binary_view())),
    "fixed bytes": (LargeBinary, pa.array([b"abc", None], pa.binary(3))),
    "date64": (Date, pa.array([DAY, None], pa.date64())),
    "seconds of a day": (Time, pa.array([dt.time(1, 2, 3), None], pa.time32("s"))),
    "nanoseconds of a day": (Time, pa.array([dt.time(1, 2, 3), None], pa.time64("ns"))),
    "seconds": (DateTime, pa.array([dt.datetime(1969, 1, 1), None], pa.timestamp("s"))),
    "milliseconds": (DateTime, pa.array([dt.datetime(2013, 1, 1), None], pa.timestamp("ms"))),
    "no type": (Integer, pa.nulls(3)),
    "json of structs": (JSON, pa.array([{"a": 1, "b": [1.5]}, None, {"a": None, "b": []}])),
    "json of maps": (JSON, pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64()))),
    "durations": (Interval, pa.array([dt.timedelta(days=-1, seconds=5), None])),
    "moments": (
        DateTime(timezone=True),
        pa.array([NOON.replace(microsecond=0), None], pa.timestamp("us", "UTC")),
    ),
}


def in_one_table(values: dict[str, tuple[Any, ...]]) -> tuple[Any, pa.Table]:
    """A model with a column per entry, and a table with their arrays, filled up with NULLs."""
    names = {name: name.replace(" ", "_") for name in values}
    columns: dict[str, Any] = {names[name]: Column(values[name][0]) for name in values}
    Thing = model(**columns)
    rows = max(len(array) for _, array, *_ in values.values())
    arrays = {
        names[name]: pa.concat_arrays([array, pa.nulls(rows - len(array), array.type)])
        for name, (_, array, *_) in values.items()
    }
    return Thing, pa.table(arrays)


def test_types_meet_by_value(oracle: WithTables) -> None:
    Thing, table = in_one_table(CONVERTED)
    rows = table.to_pylist()
    for row in rows:
        row["json_of_maps"] = row["json_of_maps"] and dict(row["json_of_maps"])
        row["float16"] = row["float16"] and float(row["float16"])
    oracle(Thing).check(Thing, rows, form=lambda model, rows: table)


#: Column type, a table of one column, and what is stored, as Python has it.
BEYOND_DICTS: dict[str, tuple[Any, pa.Array, list[Any]]] = {
    "whole floats as integers": (Integer, pa.array([3.0, None, -2.0]), [3, None, -2]),
    "whole decimals as integers": (Integer, pa.array([Decimal("7.00"), None]), [7, None]),
    "bits as booleans": (Boolean, pa.array([1, None, 0], pa.uint8()), [True, None, False]),
    "booleans as integers": (Integer, pa.array([True, None, False]), [1, None, 0]),
    "integers as text": (String(30), pa.array([-5, None]), ["-5", None]),
    "uint64 as numeric": (Numeric(20, 0), pa.array([2**53, None], pa.uint64()), [2**53, None]),
    "decimals as floats": (Float(53), pa.array([Decimal("0.10"), None]), [0.1, None]),
    "midnights as dates": (Date, pa.array([dt.datetime(2013, 1, 31), None]), [DAY, None]),
    "dates as timestamps": (DateTime, pa.array([DAY, None]), [dt.datetime(2013, 1, 31), None]),
    "text as UUIDs": (Uuid, pa.array([str(ID), None, ID.hex]), [ID, None, ID]),
    "bytes as UUIDs": (Uuid, pa.array([ID.bytes, None], pa.binary(16)), [ID, None]),
    "UUIDs": (Uuid, pa.array([ID.bytes, None], pa.uuid()), [ID, None]),
    "JSON": (JSON, pa.array(['{"a": [1]}', None, "2"], pa.json_()), [{"a": [1]}, None, 2]),
}


def test_values_that_only_columns_have(session: Session) -> None:
    Thing, table = in_one_table(BEYOND_DICTS)
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, table)
    for name, (_, _, values) in BEYOND_DICTS.items():
        column = getattr(Thing, name.replace(" ", "_"))
        stored = session.scalars(select(column).order_by(Thing.id)).all()
        assert stored[: len(values)] == values, name


#: Column type, values of which the last can't be stored, and why.
LOST: dict[str, tuple[Any, pa.Array, str]] = {
    "fraction": (Integer, pa.array([1.0, None, 1.5]), "a fraction would be lost"),
    "NaN": (Integer, pa.array([1.0, float("nan")]), "at most 64 bits"),
    "decimal fraction": (Integer, pa.array([Decimal("0.5")]), "a fraction would be lost"),
    "uint64": (BigInteger, pa.array([1, 2**63], pa.uint64()), "at most 64 bits"),
    "long integer": (Float(53), pa.array([1, 2**53 + 1]), "digits would be lost"),
    "long decimal": (Float(53), pa.array([Decimal("12345678901234567.25")]), "digits would be"),
    "nanoseconds": (DateTime, pa.array([1_000, 1_001], pa.timestamp("ns")), "nanoseconds would"),
    "far future": (DateTime, pa.array([0, 2**40], pa.timestamp("s")), "years 1 to 9999"),
    "time of day": (Date, pa.array([0, 1], pa.timestamp("s")), "a time of day would be lost"),
    "far past": (Date, pa.array([0, -800_000], pa.date32()), "years 1 to 9999"),
    "no boolean": (Boolean, pa.array([1, 2]), "0, 1 or a boolean"),
    "no UUID": (Uuid, pa.array([str(ID), "x"]), "a UUID is expected"),
}


def test_a_value_that_would_lose_something_is_named(session: Session) -> None:
    Thing, _ = in_one_table(LOST)
    Thing.metadata.create_all(session.connection())
    for name, (_, array, reason) in LOST.items():
        last, column = len(array) - 1, name.replace(" ", "_")
        table = pa.table({column: array})
        error = error_of(lambda: fastbulk.insert(session, Thing, table))  # noqa: B023
        assert place(error)[:2] == (last, column)
        assert reason in str(error), name
        assert f"row {last}, column {column!r}" in str(error)
    assert session.scalars(select(Thing.id)).all() == []


def test_of_several_bad_values_the_first_row_is_told(session: Session) -> None:
    Thing = model(a=Column(Integer), b=Column(Integer))
    Thing.metadata.create_all(session.connection())
    table = pa.table({"a": [1.0, 2.0, 0.5], "b": [1.0, 0.25, 3.0]})
    error = error_of(lambda: fastbulk.insert(session, Thing, table))
    assert place(error) == (1, "b", 0.25)


@pytest.mark.only("psycopg", "psycopg2", "engine")
def test_an_integer_out_of_its_columns_range_is_named(oracle: WithTables) -> None:
    Thing = model(value=Column(Integer))
    databases = oracle(Thing)
    table = pa.table({"value": [0] * 70 + [2**31]})
    error = check(databases, Thing, table)
    assert place(error) == (70, "value", 2**31)


NEVER: list[tuple[Any, pa.Array]] = [
    (Integer, pa.array(["1"])),
    (Integer, pa.array([[1]])),
    (Date, pa.array([1])),
    (DateTime, pa.array([b"x"])),
    (Boolean, pa.array(["true"])),
    (Numeric, pa.array(["1.5"]).dictionary_encode()),
    (LargeBinary, pa.array(["x"])),
    (String, pa.array([1.5])),
    (Uuid, pa.array([b"x"], pa.binary(1))),
    (Time, pa.array([NOON])),
]


def test_a_type_that_never_fits_is_refused_before_anything_is_sent(session: Session) -> None:
    refused = r"'value': Arrow's .* can't be stored as"
    for type_, array in NEVER:
        Thing = model(value=Column(type_))  # there is no such table
        table = pa.table({"value": array})
        with pytest.raises(exc.ArgumentError, match=refused) as caught:
            fastbulk.insert(session, Thing, table)
        assert caught.value.column == "value"  # type: ignore[attr-defined]
        assert type_.__name__ in str(caught.value)


def test_unknown_columns(session: Session) -> None:
    Thing = model(name=Column(String), label=synonym("name"))
    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError, match=r"no column attribute 'nam'; did you mean 'name'"):
        fastbulk.insert(session, Thing, pa.table({"nam": ["x"]}))
    fastbulk.insert(session, Thing, pa.table({"nam": ["x"], "label": ["y"]}), unknown="ignore")
    assert session.scalars(select(Thing.name)).all() == ["y"]


@pytest.mark.parametrize("names", [["name", "name"], ["name", "label"]])
def test_two_columns_of_one_attribute(session: Session, names: list[str]) -> None:
    Thing = model(name=Column(String), label=synonym("name"))
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=names)
    with pytest.raises(exc.ArgumentError, match="'name' stands there twice"):
        fastbulk.insert(session, Thing, table)


class Shouted(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else f"{value}!".upper()


def test_missing_columns_and_nulls_get_their_defaults(oracle: WithTables) -> None:
    Thing = model(
        name=Column(String(20)),
        scalar=Column(Integer, default=7),
        shouted=Column(Shouted(20), default="hey"),
        server=Column(Integer, server_default="5"),
        missing=Column(Integer),
    )
    databases = oracle(Thing)
    table = pa.table({"name": ["a", None, "c"], "scalar": [1, None, 3], "server": [None, 1, 2]})
    check(databases, Thing, table)
    check(databases, Thing, table, render_nulls=True)
    check(databases, Thing, pa.table({"name": ["a"]}))


def test_defaults_that_are_called_see_the_rows(oracle: WithTables) -> None:
    def twice(context: Any) -> int:
        return int(context.get_current_parameters()["number"] * 2)

    Thing = model(
        number=Column(Integer), double=Column(Integer, default=twice), name=Column(String(20))
    )
    databases = oracle(Thing)
    table = pa.table({"number": pa.array(range(100), pa.int16()), "name": ["x"] * 100})
    check(databases, Thing, table)
    refused = road_of(databases, Thing, table).refused
    assert refused["columns"] == "Python code has to see values of 'number', 'name'"
    # They lose nothing on that way either.
    with Session(databases.ours) as session:
        error = error_of(lambda: fastbulk.insert(session, Thing, pa.table({"number": [1.0, 1.5]})))
        assert place(error) == (1, "number", 1.5)


def test_processors_see_values_of_columns(oracle: WithTables) -> None:
    Thing = model(name=Column(Shouted(20)), number=Column(Integer))
    databases = oracle(Thing)
    table = pa.table({"name": ["a", None, "b"], "number": [1, 2, 3]})
    check(databases, Thing, table, returning=Thing.name)
    refused = road_of(databases, Thing, table).refused
    assert refused["columns"] == "Python code has to see values of 'name'"


def test_processors_see_a_dictionarys_values_once(oracle: WithTables) -> None:
    seen = []

    class Noted(TypeDecorator[str]):
        impl = String(20)
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: Any) -> Any:
            seen.append(value)
            if value == "bad":
                raise ValueError("no good")
            return None if value == "nothing" else f"{value}!"

    Thing = model(name=Column(Noted), number=Column(Integer))
    databases = oracle(Thing)
    names = pa.array([None, "b", "nothing", "a"] * 30).dictionary_encode()
    table = pa.table({"name": names, "number": range(120)})
    check(databases, Thing, table)
    assert seen[:3] == ["b", "nothing", "a"]
    assert len(seen) == 3 + 90  # SQLAlchemy asks for each row
    # What no row has is not asked for; of what several have the first is told.
    with Session(databases.ours) as session:
        fastbulk.insert(session, Thing, table.slice(3, 1))
        assert seen[-1] == "a"
        bad = pa.array(["a", "b", "bad", "bad"]).dictionary_encode()
        error = error_of(lambda: fastbulk.insert(session, Thing, pa.table({"name": bad})))
        assert place(error) == (2, "name", "bad")
        session.rollback()
        # Where None is a value of the type's it is asked for.
        fastbulk.insert(session, Thing, table, render_nulls=True)
        assert None in seen


def test_a_reader_may_use_the_session_that_is_given_its_rows(session: Session) -> None:
    Thing = model(number=Column(Integer))
    Thing.metadata.create_all(session.connection())
    seen = []
    schema = pa.schema({"number": pa.int64()})

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, 60_000, 20_000):
            seen.append(len(session.scalars(select(Thing.id)).all()))
            yield pa.record_batch({"number": range(start, start + 20_000)}, schema)

    fastbulk.insert(session, Thing, pa.RecordBatchReader.from_batches(schema, batches()))
    assert seen == [0, 20_000, 40_000]
    assert len(session.scalars(select(Thing.id)).all()) == 60_000


def test_a_reader_that_fails_leaves_nothing(session: Session) -> None:
    Thing = model(number=Column(Integer))
    Thing.metadata.create_all(session.connection())
    schema = pa.schema({"number": pa.int64()})

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"number": range(30_000)}, schema)
        raise KeyError("the file is torn")

    with pytest.raises(RuntimeError, match="the file is torn"):
        fastbulk.insert(session, Thing, pa.RecordBatchReader.from_batches(schema, batches()))
    assert session.scalars(select(Thing.id)).all() == []


@pytest.mark.only("sqlite", "psycopg")
def test_wide_rows_are_cut_by_their_bytes(session: Session) -> None:
    Thing = model(data=Column(LargeBinary))
    Thing.metadata.create_all(session.connection())
    done: list[tuple[int, Any]] = []
    values = [bytes([number]) * (1 << 20) for number in range(40)]
    table = pa.table({"data": pa.array(values, pa.binary_view())})
    fastbulk.insert(session, Thing, table, progress=lambda *seen: done.append(seen))
    assert [rows for rows, _ in done][-1] == 40
    assert len(done) >= 2
    assert {total for _, total in done} == {40}
    assert session.scalars(select(Thing.data).order_by(Thing.id)).all() == values


def test_explain_reads_nothing(session: Session) -> None:
    Thing = model(number=Column(Integer))
    Thing.metadata.create_all(session.connection())
    reader = pa.table({"number": [1, 2]}).to_reader()
    fastbulk.explain(session, Thing, reader)
    assert fastbulk.insert(session, Thing, reader).rowcount == 2
    assert fastbulk.insert(session, Thing, reader).rowcount == 0
    assert (
        fastbulk.insert(session, Thing, pa.table({"number": pa.array([], pa.int8())})).rowcount == 0
    )


@pytest.mark.only("psycopg", "psycopg2", "engine")
def test_moments_and_wall_clocks_on_postgresql(oracle: WithTables) -> None:
    Thing = model(aware=Column(DateTime(timezone=True)), wall=Column(DateTime))
    databases = oracle(Thing)
    # asyncpg takes the first and the last day that Python has for infinities.
    moments = [NOON.replace(tzinfo=UTC)] * 60
    berlin = pa.timestamp("us", "Europe/Berlin")
    check(databases, Thing, pa.table({"aware": pa.array(moments, berlin)}))
    check(databases, Thing, pa.table({"aware": pa.array(moments, pa.timestamp("us", "+05:30"))}))
    # A wall clock is one of the session's zone.
    check(databases, Thing, pa.table({"aware": pa.array([NOON] * 60, pa.timestamp("us"))}))
    check(databases, Thing, pa.table({"wall": pa.array(moments, berlin)}))


def people() -> tuple[Any, Any]:
    """A class of two tables, and the base of its first one."""

    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        name = Column(String(20))

    class Boss(Person):
        __tablename__ = "boss"
        id = Column(Integer, ForeignKey(Person.id), primary_key=True)
        budget = Column(Integer)

    return Person, Boss


def test_columns_go_by_sqlalchemy_where_it_does_the_work(oracle: WithTables) -> None:
    Person, Boss = people()
    table = pa.table({"name": ["a", "b"], "budget": [1, 2]})
    check(oracle(Person), Boss, table, road="sqlalchemy")


def test_columns_go_by_executemany(before_import: Oracle) -> None:
    Thing = model(name=Column(Shouted, default="x"), number=Column(Integer), day=Column(Date))
    before_import.create(Thing)
    table = pa.table({"name": ["a", None], "number": [1, None], "day": [DAY, None]})
    check(before_import, Thing, table, road="executemany")


@pytest.mark.only("sqlite", "psycopg", "mariadb", "mysql")
def test_columns_of_keys_and_values(session: Session) -> None:
    Thing = model(
        name=Column(String(20)),
        number=Column(Integer, default=lambda: 5),
        noted=Column(Shouted(20), onupdate="changed"),
    )
    Thing.metadata.create_all(session.connection())
    table = pa.table({"id": [1.0, 2.0, 3.0], "name": ["a", "b", None]})
    assert fastbulk.upsert(session, Thing, table.to_reader(1)).inserted == 3
    thing = session.get(Thing, 3)
    assert thing is not None
    assert thing.number == 5
    result = fastbulk.update(session, Thing, pl.DataFrame({"id": [3, 1], "number": [30, 10]}))
    assert result.rowcount == 2
    assert "columns" not in result.road.refused
    assert (thing.number, thing.noted) == (30, "CHANGED!")
    deleted = fastbulk.delete(session, Thing, pa.table({"id": [2, 7]}))
    assert deleted.missing == [1]
    assert fastbulk.update(session, Thing, {"id": np.array([1]), "name": np.array(["z"])}).rowcount
    stored = session.execute(select(Thing.id, Thing.name, Thing.number).order_by(Thing.id)).all()
    assert stored == [(1, "z", 10), (3, None, 30)]


@pytest.mark.only("sqlite", "psycopg", "mariadb", "mysql")
def test_columns_of_several_tables_by_their_keys(session: Session) -> None:
    Person, Boss = people()
    Person.metadata.create_all(session.connection())
    fastbulk.insert(session, Boss, pa.table({"id": [1, 2], "name": ["a", "b"], "budget": [1, 2]}))
    changed = pa.table({"id": [2], "name": ["z"], "budget": [9]})
    result = fastbulk.update(session, Boss, changed, returning=[Boss.budget, Boss.name])
    assert result.rowcount == 1
    assert result.arrow().to_pylist() == [{"budget": 9, "name": "z"}]
    assert fastbulk.delete(session, Boss, pa.table({"id": [1]})).rowcount == 1
    assert session.execute(select(Boss.id, Boss.name, Boss.budget)).all() == [(2, "z", 9)]


@pytest.mark.only("sqlite", "psycopg", "mariadb", "mysql")
def test_keys_that_can_not_be_sent(session: Session) -> None:
    Thing = model(name=Column(String(20)), number=Column(Integer))
    Thing.metadata.create_all(session.connection())
    fraction = pa.table({"id": [1, 2], "number": [1.0, 1.5]})
    error = error_of(lambda: fastbulk.update(session, Thing, fraction))
    assert place(error) == (1, "number", 1.5)
    with pytest.raises(exc.ArgumentError, match=r"'number': Arrow's Utf8 can't be stored"):
        fastbulk.upsert(session, Thing, pa.table({"id": [1], "number": ["x"]}))
    with pytest.raises(exc.InvalidRequestError, match="row 1: No primary key value"):
        fastbulk.update(session, Thing, pa.table({"id": [1, None], "number": [1, 2]}))
