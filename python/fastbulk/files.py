"""A table's rows as a file: Parquet, Arrow IPC or CSV, read by pyarrow."""

from __future__ import annotations

from collections.abc import Mapping
from os import fspath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

#: By the end of a file's name.
_FORMATS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
    ".csv": "csv",
    ".csv.gz": "csv",
}

#: Rows and batches that pyarrow reads before they are asked for.
_BATCH, _AHEAD = 20_000, 4


class Scan:
    """A file whose rows are read batch by batch, each time that they are asked for."""

    def __init__(self, dataset: Any, columns: Any) -> None:
        """What ``scan`` found."""
        self._dataset = dataset
        self._columns = columns

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:
        """The rows from the first one on, by Arrow's PyCapsule interface."""
        scanner = self._dataset.scanner(
            columns=self._columns,
            batch_size=_BATCH,
            batch_readahead=_AHEAD,
            fragment_readahead=1,
        )
        return scanner.to_reader().__arrow_c_stream__(requested_schema)


class CountedScan(Scan):
    """A file that knows how many rows it has."""

    def __len__(self) -> int:
        """The number of rows."""
        rows: int = self._dataset.count_rows()
        return rows


def scan(
    path: str | PathLike[str], *, columns: Sequence[str] | Mapping[str, str] | None = None
) -> Scan:
    """Rows of a file, for every verb: ``fastbulk.insert(session, Flight, scan("f.parquet"))``.

    The file is read batch by batch, so that it may be larger than memory.

    Parameters
    ----------
    path
        A file whose name ends with ``.parquet``, ``.arrow``, ``.ipc``, ``.feather``, ``.csv`` or
        ``.csv.gz``. A CSV file's first line has the names, and its first rows say the types.
    columns
        Names of the columns that are read, by default all; or a mapping of attribute name to the
        column's name in the file.

    Returns
    -------
    Scan
        An object with Arrow's PyCapsule interface.

    Raises
    ------
    ImportError
        pyarrow is not installed (``pip install fastbulk[arrow]``).
    OSError
        The file can't be opened.
    ValueError
        The name says no format, or the file is of another one.
    """
    name = fspath(path)
    format_ = next((f for suffix, f in _FORMATS.items() if name.lower().endswith(suffix)), None)
    if format_ is None:
        raise ValueError(f"{name!r} has none of the endings {', '.join(_FORMATS)}")
    from pyarrow import dataset  # type: ignore[import-untyped]  # no py.typed

    file = dataset.dataset(name, format=format_)
    if isinstance(columns, Mapping):
        columns = {attribute: dataset.field(column) for attribute, column in columns.items()}
    elif columns is not None:
        columns = list(columns)
    return (Scan if format_ == "csv" else CountedScan)(file, columns)
