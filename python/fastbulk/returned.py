"""What a call gave back, as Arrow's columns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

from sqlalchemy import types

from . import _native
from .carriers.sent import Keyed
from .orm.kinds import returned_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

    from .orm.kinds import ReturnedForm


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
        forms = [returned_form(type_, self.dialect) for type_ in self.types]
        columns = [
            _native.ReturnedColumn(
                name,
                form.kind,
                getattr(type_, "scale", None) or 0,
                getattr(type_, "_effective_decimal_return_scale", 0),
            )
            for name, form, type_ in zip(self.names, forms, self.types, strict=True)
        ]
        for outcome in self.outcomes:
            self._add(outcome, columns, forms)
        return _native.returned_table(columns)

    def _add(
        self, outcome: Any, columns: list[_native.ReturnedColumn], forms: Sequence[ReturnedForm]
    ) -> None:
        codes = outcome.type_codes or repeat(None)
        processors = [
            None if form.raw else type_._cached_result_processor(self.dialect, code)
            for type_, code, form in zip(self.types, codes, forms, strict=False)
        ]
        if isinstance(outcome, Keyed) and processors == [None]:
            _add_keys(outcome.keys, columns[0])
            return
        native = _native_columns(outcome)
        wanted = [
            native is None
            or not (form.native or (processor is None and native is outcome))
            or not column.add_outcome(native, position)
            for position, (column, form, processor) in enumerate(
                zip(columns, forms, processors, strict=True)
            )
        ]
        if any(wanted):
            self._add_rows(outcome.rows(processors), columns, wanted)

    def _add_rows(
        self, rows: Sequence[Any], columns: list[_native.ReturnedColumn], wanted: Iterable[Any]
    ) -> None:
        for position, (column, want) in enumerate(zip(columns, wanted, strict=False)):
            if want:
                values = [row[position] for row in rows]
                if isinstance(self.types[position], types.JSON):
                    values = [None if value is None else json.dumps(value) for value in values]
                column.add_values(values)


def _native_columns(outcome: Any) -> _native.Outcome | None:
    """The outcome's rows as columns that native code has, if so."""
    if isinstance(outcome, _native.Outcome):
        return outcome
    columns: _native.Outcome | None = getattr(getattr(outcome, "returned", None), "outcome", None)
    return columns


def _add_keys(keys: bytes | Sequence[range], column: _native.ReturnedColumn) -> None:
    if isinstance(keys, bytes):
        column.add_keys(keys)
        return
    for run in keys:
        column.add_run(run.start, run.step, len(run))
