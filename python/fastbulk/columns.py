"""Rows that are columns: any object with Arrow's PyCapsule interface."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any, Protocol, TypeAlias

from ._native import Columns

#: Rows as dicts at a time, where no column may stay one.
_DICTS = 10_000


class ArrowStream(Protocol):
    """Tables, frames, relations and readers: pyarrow's, polars', pandas', DuckDB's."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A capsule with batches of rows."""


class ArrowArray(Protocol):
    """A single batch of rows."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """Capsules with the columns' types and values."""


Rows: TypeAlias = Iterable[Any] | ArrowStream | ArrowArray


def are_columns(rows: Any) -> bool:
    """Whether the rows lie in columns."""
    return hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__")


def read(rows: Any) -> Any:
    """Rows in columns as native code has them, which uses up a reader; anything else as it is."""
    return Columns(rows, length_of(rows)) if are_columns(rows) else rows


def length_of(rows: Any) -> int | None:
    """How many rows there are, if that can be told without making one."""
    if are_columns(rows) and hasattr(rows, "execute"):
        return None  # a relation of a database would run its query
    return len(rows) if isinstance(rows, Sized) else None


def dicts(rows: Iterable[Any] | Columns) -> Iterator[Any]:
    """The rows one by one, those in columns as dicts."""
    if not isinstance(rows, Columns):
        yield from rows
        return
    while some := rows.dicts(_DICTS):
        yield from some
