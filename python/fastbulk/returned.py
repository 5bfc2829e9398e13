"""What a call gave back, as Arrow's columns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

from sqlalchemy import types

from . import _native
from .orm.kinds import returned_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine


class Fetched:
    """Rows of another result, which has processed their values."""

    type_codes = None

    def __init__(self, rows: Sequence[Any]) -> None:
        """Holds tuples."""
        self._rows = rows

    def rows(self, processors: Sequence[Any]) -> Sequence[Any]:
        """The rows."""
        return self._rows


@dataclass(frozen=True)
class Returned:
    """Outcomes of statements that gave back columns, not mapped objects."""

    names: tuple[str, ...]
    types: tuple[TypeEngine[Any], ...]
    dialect: Dialect
    outcomes: Sequence[Any]

    def table(self) -> Any:
        """A table with Arrow's PyCapsule interface.

        Raises
        ------
        ValueError
            A value has no type of Arrow's.
        """
        kinds = [returned_kind(type_, self.dialect) for type_ in self.types]
        scales = [getattr(type_, "scale", None) or 0 for type_ in self.types]
        columns = [
            _native.ReturnedColumn(name, kind, scale)
            for name, (kind, _), scale in zip(self.names, kinds, scales, strict=True)
        ]
        raw = [raw for _, raw in kinds]
        for outcome in self.outcomes:
            self._add(outcome, columns, raw)
        return _native.returned_table(columns)

    def _add(
        self, outcome: Any, columns: list[_native.ReturnedColumn], raw: Sequence[bool]
    ) -> None:
        """``raw`` says whether the database's own values are those of the column."""
        codes = outcome.type_codes or repeat(None)
        processors = [
            None if kept else type_._cached_result_processor(self.dialect, code)
            for type_, code, kept in zip(self.types, codes, raw, strict=False)
        ]
        if isinstance(outcome, _native.Outcome):
            for position, column in enumerate(columns):
                if processors[position] is None:
                    column.add_outcome(outcome, position)
            if any(processors):
                self._add_rows(outcome.rows(processors), columns, processors)
        elif isinstance(getattr(outcome, "keys", None), bytes):
            columns[0].add_keys(outcome.keys)
        else:
            self._add_rows(outcome.rows(processors), columns, repeat(True))

    def _add_rows(
        self, rows: Sequence[Any], columns: list[_native.ReturnedColumn], wanted: Iterable[Any]
    ) -> None:
        for position, (column, want) in enumerate(zip(columns, wanted, strict=False)):
            if want:
                values = [row[position] for row in rows]
                if isinstance(self.types[position], types.JSON):
                    values = [None if value is None else json.dumps(value) for value in values]
                column.add_values(values)
