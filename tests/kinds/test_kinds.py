"""Every type by every road: what is stored, what comes back, what is refused."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from samples import SAMPLES, WRONG, Color
from sqlalchemy import Column, Integer, exc, types

from fastbulk.errors import EncodingError, RangeError
from oracle import (
    BACKENDS,
    BEFORE_IMPORT,
    LOADS_EXTENSIONS,
    Oracle,
    error_of,
    model,
    place,
    spelled,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.only("sqlite")


@dataclass
class Way:
    """One of the roads, with two databases to try it in."""

    road: str
    returns: bool
    databases: Oracle

    def check(self, Thing: Any, rows: list[dict[str, Any]]) -> Any:
        returning = [Thing.id, Thing.value] if self.returns else None
        return self.databases.check(Thing, rows, returning=returning, road=self.road)


#: Connections without the function can't go natively, and not by executemany to return rows.
WAYS = {
    "sqlite": ("native", False, BACKENDS["sqlite-memory"]),
    "sqlite, returning": ("native", True, BACKENDS["sqlite-memory"]),
    "executemany": ("executemany", False, BEFORE_IMPORT),
    "sqlalchemy": ("sqlalchemy", True, BEFORE_IMPORT),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    road, returns, backend = WAYS[request.param]
    if backend is BEFORE_IMPORT and LOADS_EXTENSIONS:
        pytest.skip("this Python loads the function into any connection")
    way = Way(road, returns, Oracle(backend, tmp_path))
    yield way
    way.databases.dispose()


def thing(value_type: Any) -> Any:
    return model(value=Column(value_type), other=Column(Integer))


@pytest.mark.parametrize("name", SAMPLES)
def test_values_of_a_type(way: Way, name: str) -> None:
    value_type, values = SAMPLES[name]
    Thing = thing(value_type)
    way.databases.create(Thing)
    rows = [{"value": value} for value in [*values, None]]
    way.check(Thing, [*rows, {}, {"other": 1}])


@pytest.mark.parametrize("name", SAMPLES)
def test_many_values_of_a_type(databases: Oracle, name: str) -> None:
    """So many that statements take several rows, with NULLs among them."""
    value_type, values = SAMPLES[name]
    Thing = thing(value_type)
    databases.create(Thing)
    some = [*values, None] * (330 // len(values) + 1)
    databases.check(Thing, [{"value": value, "other": i} for i, value in enumerate(some)])


@pytest.mark.parametrize("name", SAMPLES)
def test_entities_with_values_of_a_type(databases: Oracle, name: str) -> None:
    value_type, values = SAMPLES[name]
    Thing = thing(value_type)
    databases.create(Thing)
    databases.check(Thing, [{"value": value} for value in [*values, None]], returning=Thing)


@pytest.mark.parametrize(("value_type", "value"), WRONG, ids=lambda wrong: spelled(wrong)[:30])
def test_values_that_a_type_refuses(way: Way, value_type: Any, value: Any) -> None:
    Thing = thing(value_type)
    way.databases.create(Thing)
    error = way.check(Thing, [{"other": 1}, {"other": 1, "value": value}])
    if way.road != "sqlalchemy":
        assert place(error)[:2] == (1, "value")
        assert error.value is value
    assert isinstance(error, exc.StatementError)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**100])
@pytest.mark.parametrize("value_type", [types.Integer(), types.String()])
def test_integers_of_more_than_64_bits(way: Way, value_type: Any, value: Any) -> None:
    refused(way, value_type, [1, value], OverflowError, RangeError)


@pytest.mark.parametrize("value", ["\ud800", "a\udfff", "\udc80b"])
@pytest.mark.parametrize("value_type", [types.String(), types.Enum("a")])
def test_texts_that_are_no_unicode(way: Way, value_type: Any, value: Any) -> None:
    refused(way, value_type, ["a", value], UnicodeEncodeError, EncodingError)


def refused(way: Way, value_type: Any, values: list[Any], raw: Any, ours: Any) -> None:
    """SQLAlchemy lets the raw error through; ours is a StatementError too."""
    Thing = thing(value_type)
    way.databases.create(Thing)
    rows = [{"value": value} for value in values]
    with pytest.raises(raw):
        way.databases.by_sqlalchemy(Thing, rows)
    if way.road == "sqlalchemy":
        with pytest.raises(raw):
            way.databases.by_fastbulk(Thing, rows, returning=Thing.id, road=way.road)
    else:
        error = error_of(lambda: way.databases.by_fastbulk(Thing, rows, road=way.road))
        assert isinstance(error, ours)
        assert isinstance(error.orig, raw)
        assert place(error) == (1, "value", values[1])
    assert way.databases.contents()["thing"] == []


@pytest.mark.parametrize("name", ["JSON", "Numeric", "DateTime", "Enum of classes", "Uuid"])
@pytest.mark.parametrize("position", range(2))
def test_default_values_of_a_type(databases: Oracle, name: str, position: int) -> None:
    value_type, values = SAMPLES[name]
    Thing = model(value=Column(value_type, default=lambda: values[position]))
    databases.create(Thing)
    databases.check(Thing, [{}, {"value": values[-1]}], returning=Thing.value)


NUMPY = {
    "int64": (types.Integer(), 7, 7),
    "int8": (types.Integer(), -7, -7),
    "uint32": (types.BigInteger(), 2**32 - 1, 2**32 - 1),
    "bool_": (types.Integer(), True, 1),
    "float64": (types.Float(), 1.5, 1.5),
    "float32": (types.Float(), 1.5, 1.5),
    "half": (types.Integer(), 0.5, 0.5),
    "str_": (types.String(), "x", "x"),
    "bytes_": (types.LargeBinary(), b"x", b"x"),
}


@pytest.mark.parametrize("name", NUMPY)
def test_numbers_of_numpy_are_numbers(way: Way, name: str) -> None:
    """SQLAlchemy stores the bytes that they are made of."""
    numpy = pytest.importorskip("numpy")
    if way.road == "sqlalchemy":
        pytest.skip("it does what SQLAlchemy does")
    value_type, given, stored = NUMPY[name]
    Thing = thing(value_type)
    way.databases.create(Thing)
    value = getattr(numpy, name)(given)
    way.databases.by_fastbulk(Thing, [{"value": value}], road=way.road)
    with way.databases.ours.connect() as connection:
        found = connection.exec_driver_sql("SELECT value FROM thing").scalar()
    assert (type(found), found) == (type(stored), stored)


def test_a_text_that_its_enum_does_not_know(way: Way) -> None:
    """It is stored; only reading it fails."""
    Thing = thing(types.Enum(Color))
    way.databases.create(Thing)
    way.check(Thing, [{"value": "BLUE"}])


def test_timestamps_of_pandas(way: Way) -> None:
    pandas = pytest.importorskip("pandas")
    values = [
        pandas.Timestamp("2020-01-02 03:04:05.123456"),
        pandas.Timestamp("2020-01-02", tz="Europe/Berlin"),
        pandas.Timestamp("2020-01-02 03:04:05.123456789").floor("us"),
    ]
    Thing = thing(types.DateTime())
    way.databases.create(Thing)
    way.check(Thing, [{"value": value} for value in values])
    way.check(Thing, [{"value": pandas.NaT}])


def test_all_types_in_one_table(way: Way) -> None:
    columns: dict[str, Any] = {
        f"c{i}": Column(value_type) for i, (value_type, _) in enumerate(SAMPLES.values())
    }
    Thing = model(value=Column(Integer), **columns)
    way.databases.create(Thing)
    samples = [values for _, values in SAMPLES.values()]
    rows = [
        {f"c{i}": values[n % len(values)] for i, values in enumerate(samples) if (n + i) % 7}
        for n in range(40)
    ]
    way.check(Thing, rows)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3's own adapters warn since 3.12")
def test_the_drivers_own_adapters_warn_as_they_do_in_sqlalchemy(databases: Oracle) -> None:
    Thing = thing(types.String())
    databases.create(Thing)
    rows = [{"value": dt.datetime(2020, 1, 1)}]
    for insert in (databases.by_sqlalchemy, databases.by_fastbulk):
        with pytest.warns(DeprecationWarning, match="default datetime adapter"):
            insert(Thing, rows)
    assert databases.contents(databases.ours) == databases.contents(databases.theirs)
