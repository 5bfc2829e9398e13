"""Rows that are columns: Arrow's by its PyCapsule interface, NumPy's arrays, Series."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sized
from typing import Any, Protocol, TypeAlias

from ._native import Columns


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
    """Whether the rows lie in columns.

    Raises
    ------
    ValueError
        Some columns of a mapping are none, or of another length than the first one.
    """
    if not isinstance(rows, Mapping):
        return _is_arrow(rows) or _is_structured(rows) or _is_scanned(rows)
    if not any(map(_is_column, rows.values())):
        return False
    length = length_of(rows)
    for name, values in rows.items():
        if not isinstance(name, str):
            raise ValueError(f"the name of an attribute is expected for a column, got {name!r}")
        if not _is_column(values):
            raise ValueError(
                f"column {name!r} is of type {type(values).__qualname__}; "
                "an array or a Series is expected"
            )
        if len(values) != length:
            raise ValueError(f"column {name!r} has {len(values)} values, the first one {length}")
    return True


def read(rows: Any) -> Any:
    """Rows in columns as native code has them, which uses up a reader; anything else as it is.

    Raises
    ------
    ValueError
        An array has no meaning in a column.
    """
    if type(rows) is list:
        return rows
    if _is_structured(rows):
        return _of_arrays({name: rows[name] for name in rows.dtype.names})
    if isinstance(rows, Mapping) and are_columns(rows):
        return _of_arrays(rows)
    if _is_scanned(rows):
        return Columns(getattr(rows, "scanner", lambda: rows)().to_reader(), None)
    return Columns(rows, length_of(rows)) if _is_arrow(rows) else rows


def length_of(rows: Any) -> int | None:
    """How many rows there are, if that can be told without making one."""
    if type(rows) is list:
        return len(rows)
    if isinstance(rows, Mapping):
        return next((len(values) for values in rows.values() if isinstance(values, Sized)), None)
    if _is_arrow(rows) and hasattr(rows, "execute"):
        return None  # a relation of a database would run its query
    return len(rows) if isinstance(rows, Sized) else None


def _is_arrow(values: Any) -> bool:
    return hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__")


def _is_scanned(rows: Any) -> bool:
    """Whether it is a dataset of pyarrow's, or a scanner of one."""
    dataset = sys.modules.get("pyarrow.dataset")
    return dataset is not None and isinstance(rows, (dataset.Dataset, dataset.Scanner))


def _is_array(values: Any) -> bool:
    """Whether it is NumPy's, which is not imported for that."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(values, numpy.ndarray)


def _is_structured(rows: Any) -> bool:
    return _is_array(rows) and rows.ndim == 1 and rows.dtype.names is not None


def _is_column(values: Any) -> bool:
    return (_is_array(values) and values.ndim > 0) or _is_arrow(values)


def _of_arrays(columns: Mapping[str, Any]) -> Columns:
    named = [
        (name, *(_parts(values) if _is_array(values) else (values, None, None)))
        for name, values in columns.items()
    ]
    return Columns.of_arrays(named)


def _parts(array: Any) -> tuple[Any, Any, str | None]:
    """A NumPy array as a buffer of numbers, where it has none, and what they count; or a list of
    Python objects.
    """
    numpy: Any = sys.modules["numpy"]
    values, type_ = numpy.ma.getdata(array), array.dtype
    mask = numpy.ma.getmaskarray(array) if isinstance(array, numpy.ma.MaskedArray) else None
    if array.ndim == 1 and type_.kind == "b":
        return _as_bytes(values), _as_bytes(mask), "?"
    if array.ndim == 1 and (type_.kind in "iu" or type_ in (numpy.float32, numpy.float64)):
        return numpy.ascontiguousarray(values, dtype=type_.newbyteorder("=")), _as_bytes(mask), None
    if array.ndim == 1 and type_.kind in "mM":
        counts, unit = _counts(values)
        nothing = numpy.isnat(values)
        return counts, _as_bytes(nothing if mask is None else nothing | mask), unit
    return array.tolist(), None, None


def _as_bytes(booleans: Any) -> Any:
    numpy: Any = sys.modules["numpy"]
    return None if booleans is None else numpy.ascontiguousarray(booleans).view(numpy.uint8)


#: Units that Arrow has; of a longer one each is a number of seconds.
_UNITS = ("s", "ms", "us", "ns")


def _counts(array: Any) -> tuple[Any, str]:
    """Dates, moments or durations as integers, and what these count."""
    numpy: Any = sys.modules["numpy"]
    kind = array.dtype.kind
    unit, _ = numpy.datetime_data(array.dtype)
    if unit in {"ps", "fs", "as", "generic"} or (kind == "m" and unit in {"Y", "M"}):
        raise ValueError(f"an array of {array.dtype.name} has no meaning in a database")
    to = f"{kind}8[{unit if unit in _UNITS else 's'}]"
    changed = array.astype(to)
    if not (numpy.isnat(array) | (changed.astype(array.dtype) == array)).all():
        raise ValueError(f"an array of {array.dtype.name} has values beyond those of {to}")
    return numpy.ascontiguousarray(changed).view(numpy.int64), to
