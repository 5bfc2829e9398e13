"""One mapping of attribute name to array: NumPy's, or a Series."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
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
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    exc,
    select,
)

import fastbulk
from oracle import error_of, model, place

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from oracle import WithTables

NOON = dt.datetime(2013, 1, 31, 12)
DAY = dt.date(2013, 1, 31)
MASK = [False, True, False]
HOUR = dt.timedelta(hours=1)

#: Column type, array, and its values as SQLAlchemy is given them.
ARRAYS: dict[str, tuple[Any, Any, list[Any]]] = {
    "booleans": (Boolean, np.array([True, False, True]), [True, False, True]),
    "int16": (Integer, np.array([-5, 0, 5], np.int16), [-5, 0, 5]),
    "uint64": (BigInteger, np.array([0, 1, 2**63 - 1], np.uint64), [0, 1, 2**63 - 1]),
    "other_byte_order": (Integer, np.array([1, 2, 3], ">i4"), [1, 2, 3]),
    "every_other": (Integer, np.arange(6)[::2], [0, 2, 4]),
    "backwards": (Integer, np.arange(3)[::-1], [2, 1, 0]),
    "float16": (Float(53), np.array([0.5, -1, 2], np.float16), [0.5, -1.0, 2.0]),
    "float32": (Float(53), np.array([0.5, -1, 2], np.float32), [0.5, -1.0, 2.0]),
    "float64": (Float(53), np.array([0.1, -1, 2]), [0.1, -1.0, 2.0]),
    "texts": (String(20), np.array(["a", "", "日本"]), ["a", "", "日本"]),
    "bytes": (LargeBinary, np.array([b"a", b"", b"xyz"]), [b"a", b"", b"xyz"]),
    "objects": (
        Numeric(9, 2),
        np.array([Decimal("0.5"), None, 7], object),
        [Decimal("0.5"), None, 7],
    ),
    "lists": (JSON, np.array([[1, 2], [3, 4], [5, 6]]), [[1, 2], [3, 4], [5, 6]]),
    "masked": (Integer, np.ma.array([1, 2, 3], mask=MASK), [1, None, 3]),
    "masked_texts": (
        String(9),
        np.ma.array(["a", "b", "c"], mask=MASK),
        ["a", None, "c"],
    ),
    "masked_times": (
        DateTime,
        np.ma.array(["2013-01-31T12", "NaT", "NaT"], "M8[s]", mask=[False, False, True]),
        [NOON, None, None],
    ),
    **{
        f"moments_{unit}": (
            DateTime,
            np.array([NOON, None, NOON], f"M8[{unit}]"),
            [NOON, None, NOON],
        )
        for unit in ("h", "m", "s", "ms", "us", "ns")
    },
    "days": (Date, np.array([DAY, None, DAY], "M8[D]"), [DAY, None, DAY]),
    "months": (
        Date,
        np.array(["2013-01", "NaT", "1969-12"], "M8[M]"),
        [DAY.replace(day=1), None, dt.date(1969, 12, 1)],
    ),
    **{
        f"durations_{unit}": (
            Interval,
            np.array([HOUR, None, -HOUR], f"m8[{unit}]"),
            [HOUR, None, -HOUR],
        )
        for unit in ("h", "s", "us", "ns")
    },
    "polars_series": (String(9), pl.Series(["a", None, "c"]), ["a", None, "c"]),
    "polars_categories": (
        String(9),
        pl.Series(["a", None, "a"], dtype=pl.Categorical),
        ["a", None, "a"],
    ),
    "pandas_series": (Integer, pd.Series([1, None, 3], dtype="Int64"), [1, None, 3]),
    "pandas_texts": (String(9), pd.Series(["a", None, "c"]), ["a", None, "c"]),
    "arrow_array": (Integer, pa.array([1, None, 3]), [1, None, 3]),
    "arrow_chunks": (Integer, pa.chunked_array([[1], [None, 3]]), [1, None, 3]),
}


def test_arrays_are_columns(oracle: WithTables) -> None:
    columns: dict[str, Any] = {name: Column(type_) for name, (type_, *_) in ARRAYS.items()}
    Thing = model(**columns)
    given = {name: array for name, (_, array, _) in ARRAYS.items()}
    rows = [{name: ARRAYS[name][2][row] for name in ARRAYS} for row in range(3)]
    oracle(Thing).check(Thing, rows, form=lambda model, rows: given)


def test_numbers_and_times_make_no_python_object(oracle: WithTables) -> None:
    Thing = model(number=Column(Integer), size=Column(Float(53)), moment=Column(DateTime))
    databases = oracle(Thing)
    # More than a slice, of arrays that lie in memory with gaps.
    numbers = np.arange(90_000)[::2]
    given = {
        "number": numbers,
        "size": numbers / 8,
        "moment": np.datetime64("2013-01-01", "s") + numbers,
    }
    done: list[tuple[int, int | None]] = []
    with databases.ours.begin() as connection:
        result = fastbulk.insert(connection, Thing, given, progress=lambda *seen: done.append(seen))
        assert "columns" not in result.road.refused
        assert done[-1] == (45_000, 45_000)
        found = connection.execute(select(Thing.number, Thing.size, Thing.moment)).all()
    start = dt.datetime(2013, 1, 1)
    second = dt.timedelta(seconds=1)
    assert found == [(n, n / 8, start + n * second) for n in range(0, 90_000, 2)]


def test_a_structured_array_is_one_of_rows(session: Session) -> None:
    Thing = model(number=Column(Integer), name=Column(String(9)))
    Thing.metadata.create_all(session.connection())
    rows = np.array([(1, "a"), (2, "b")], [("number", "i2"), ("name", "U9")])
    fastbulk.insert(session, Thing, rows)
    assert session.execute(select(Thing.number, Thing.name)).all() == [(1, "a"), (2, "b")]


def test_what_is_no_column_is_refused(session: Session) -> None:
    Thing = model(number=Column(Integer), moment=Column(DateTime), span=Column(Interval))
    array = np.arange(3)
    for rows, message in [
        ({"number": 1}, r"one mapping; wrap one row in a list"),
        ({}, r"one mapping; wrap one row in a list"),
        ({"number": [1, 2]}, r"one mapping; wrap one row in a list"),
        ({"number": np.int64(1)}, r"one mapping; wrap one row in a list"),
        ({"number": np.array(1)}, r"one mapping; wrap one row in a list"),
        ({"number": array, "moment": [1, 2]}, r"column 'moment' is of type list; an array"),
        ({"number": array, "moment": array[:2]}, r"'moment' has 2 values, the first one 3"),
        ({1: array}, r"name of an attribute is expected for a column, got 1"),
        ({"nummer": array}, r"no column attribute 'nummer'; did you mean 'number'"),
        ({"moment": array}, r"'moment': Arrow's Int64 can't be stored as DateTime"),
        ({"moment": array.astype("M8[fs]")}, r"datetime64\[fs\] has no meaning in a database"),
        ({"span": array.astype("m8[Y]")}, r"timedelta64\[Y\] has no meaning in a database"),
        (pa.array([1, 2]), r"the columns can't be read"),
    ]:
        with pytest.raises(exc.ArgumentError, match=message):
            fastbulk.insert(session, Thing, rows)


def test_a_bad_value_is_named(session: Session) -> None:
    Thing = model(number=Column(Integer), moment=Column(DateTime))
    Thing.metadata.create_all(session.connection())
    for rows, found in [
        ({"number": np.array([1.0, np.nan])}, (1, "number")),
        ({"number": np.array([1, object()], object)}, (1, "number")),
        ({"moment": np.array([0, 1], "M8[ns]")}, (1, "moment")),
    ]:
        error = error_of(lambda: fastbulk.insert(session, Thing, rows))  # noqa: B023
        assert place(error)[:2] == found
    assert session.scalars(select(Thing.id)).all() == []
