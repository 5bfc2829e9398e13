"""Files as rows."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]  # no py.typed
import pytest
from pyarrow import csv, feather, parquet
from sqlalchemy import Column, Date, Float, Integer, String, exc, select

import fastbulk
from oracle import model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.orm import Session

pytestmark = pytest.mark.only("sqlite", "psycopg")

DAY = dt.date(2013, 1, 31)
TABLE = pa.table(
    {
        "number": range(50_000),
        "size": [number / 4 if number % 3 else None for number in range(50_000)],
        "name": [f"thing {number % 100}" for number in range(50_000)],
        "day": [DAY + dt.timedelta(days=number % 1_000) for number in range(50_000)],
    }
)

WRITERS: dict[str, Callable[[pa.Table, Path], object]] = {
    "things.parquet": lambda table, path: parquet.write_table(table, path, row_group_size=7_000),
    "things.arrow": lambda table, path: feather.write_feather(table, path),
    "THINGS.CSV": lambda table, path: csv.write_csv(table, path),
}


def thing() -> Any:
    return model(
        number=Column(Integer), size=Column(Float), name=Column(String(99)), day=Column(Date)
    )


@pytest.mark.parametrize("name", WRITERS)
def test_rows_of_a_file(session: Session, tmp_path: Path, name: str) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    WRITERS[name](TABLE, tmp_path / name)
    done: list[tuple[int, int | None]] = []
    rows = fastbulk.scan(tmp_path / name)
    result = fastbulk.insert(session, Thing, rows, progress=lambda *seen: done.append(seen))
    assert "columns" not in result.road.refused
    assert done[-1] == (50_000, None if name.endswith("CSV") else 50_000)
    columns = (Thing.number, Thing.size, Thing.name, Thing.day)
    found = session.execute(select(*columns).order_by(Thing.id)).all()
    assert found == [tuple(row.values()) for row in TABLE.to_pylist()]
    # The file is read again.
    assert fastbulk.insert(session, Thing, rows).rowcount == 50_000


def test_columns_by_other_names(session: Session, tmp_path: Path) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    path = str(tmp_path / "things.parquet")
    table = pa.table({"Nr.": [1, 2], "name": ["a", "b"], "more": [1.5, 2.5]})
    parquet.write_table(table, path)
    fastbulk.insert(session, Thing, fastbulk.scan(path, columns={"number": "Nr."}))
    fastbulk.insert(session, Thing, fastbulk.scan(path, columns=["name"]))
    found = session.execute(select(Thing.number, Thing.name).order_by(Thing.id)).all()
    assert found == [(1, None), (2, None), (None, "a"), (None, "b")]
    with pytest.raises(exc.ArgumentError, match=r"no column attribute 'Nr\.'"):
        fastbulk.insert(session, Thing, fastbulk.scan(path))
    with pytest.raises(exc.ArgumentError, match=r"the columns can't be read: .*nummer"):
        fastbulk.insert(session, Thing, fastbulk.scan(path, columns={"number": "nummer"}))


def test_files_that_can_not_be_read(session: Session, tmp_path: Path) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    with pytest.raises(ValueError, match="has none of the endings"):
        fastbulk.scan(tmp_path / "things.txt")
    with pytest.raises(FileNotFoundError):
        fastbulk.scan(tmp_path / "things.parquet")
    torn = tmp_path / "things.csv"
    # The types are those of the file's first megabyte.
    torn.write_text("number,name\n" + f"1,{'a' * 99}\n" * 30_000 + "x,b\n")
    with pytest.raises(RuntimeError, match="conversion error"):
        fastbulk.insert(session, Thing, fastbulk.scan(torn))
    assert session.scalars(select(Thing.id)).all() == []
