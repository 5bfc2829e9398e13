"""What SQLAlchemy's own execution context finds, where native code sent the statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.engine.cursor import _NO_CURSOR_DML, FullyBufferedCursorFetchStrategy
from sqlalchemy.engine.interfaces import ExecuteStyle
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.visitors import iterate

from ..carriers import carrier_of
from ..orm.table import Back
from .refusal import FallThrough

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Table


def back_of(context: Any, table: Table) -> Back | None:
    """What is to come back of each row of an INSERT.

    Raises
    ------
    FallThrough
        Native code can't return it.
    """
    compiled = context.compiled
    if not compiled.effective_returning:
        return None
    check_parameters(context, {column.key for column in table.columns} | _said(compiled))
    _, *returned = context.unicode_statement.split(" RETURNING ")
    if len(returned) != 1:
        raise FallThrough("what is returned")
    entries = compiled._result_columns
    key = table.autoincrement_column
    position = next((i for i, e in enumerate(entries) if key in set(e.objects)), None)
    text = returned[0]
    if context.dialect.identifier_preparer._double_percents:
        text = text.replace("%%", "%")
    return Back(text, tuple(entry.keyname for entry in entries), position)


def _said(compiled: Any) -> set[str]:
    """Parameters of what the statement says of every row, before RETURNING."""
    state = compiled.compile_state
    said = [*(state._dict_parameters or {}).values()]
    if state.statement._post_values_clause is not None:
        said.append(state.statement._post_values_clause)
    binds = [bind for each in said for bind in iterate(each) if isinstance(bind, BindParameter)]
    return {compiled.bind_names.get(bind, bind.key) for bind in binds}


def check_parameters(context: Any, known: set[str]) -> None:
    """Refuses a statement with parameters that are no column's.

    Raises
    ------
    FallThrough
        There is one.
    """
    if set(context.compiled.bind_names.values()) - known:
        raise FallThrough("a parameter in the statement")


def rows_of(back: Back, outcomes: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows as the driver gives them."""
    width = len(back.names)
    return [row for outcome in outcomes for row in outcome.rows([None] * width)]


def give_back(context: Any, back: Back, outcomes: Sequence[Any], rows: Sequence[Any]) -> None:
    """Has the context find rows that the driver's cursor does not have."""
    codes = next((o.type_codes for o in outcomes if o.type_codes), None)
    description = [
        (name, code, None, None, None, None, None)
        for name, code in zip(back.names, codes or [None] * len(back.names), strict=False)
    ]
    context.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(
        context.cursor, alternate_description=description, initial_buffer=rows
    )


def give_nothing(context: Any) -> None:
    """Has the context find no rows, though a default may have left some on the driver's cursor."""
    context.cursor_fetch_strategy = _NO_CURSOR_DML


def count(context: Any, rows: int) -> None:
    """Has the context know how many rows it were, if it would of the driver."""
    kinds = {"insert"} if context.isinsert else {"update"}
    if context.execution_options.get("preserve_rowcount"):
        kinds.clear()
    if context.execute_style is ExecuteStyle.EXECUTEMANY:
        kinds.add("executemany")
    if not kinds & getattr(carrier_of(context.dialect), "NO_COUNT_OF", set()):
        context._rowcount = rows
