"""Plans of inserts into a table that no mapped class stands for."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import exc
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import ClauseElement

from .. import _native
from .defaults import default_of_column
from .kinds import has_unending_days, kind_of
from .mapping import InsertPlan
from .returning import Returning
from .sql import Renderer

if TYPE_CHECKING:
    from types import ModuleType

    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Dialect


class Back(NamedTuple):
    """What is to come back of each row: the SQL, the names of the columns, where the key is."""

    sql: str
    names: tuple[str, ...]
    key: int | None


@lru_cache(maxsize=100)
def table_plan(
    table: Table,
    keys: frozenset[str],
    dialect: Dialect,
    schemas: tuple[tuple[str | None, str | None], ...],
    carrier: ModuleType,
    back: Back | None,
) -> InsertPlan:
    """The plan of an insert of rows that all give the columns with these keys.

    Raises
    ------
    sqlalchemy.exc.CompileError
        A default or a type can't be rendered into the statement, or a default is a function.
    """
    render = Renderer(dialect, dict(schemas))
    key = table.autoincrement_column
    returned: tuple[str, ...] = ()
    sentinel = None
    if back is not None:
        returned = (back.sql,)
        if key is not None:
            if back.key is None:
                returned = (back.sql, render.column(key))
            position = len(back.names) if back.key is None else back.key
            sentinel = (list(table.columns).index(key), position)
    native = _native.Plan(
        schema=render.schema(table),
        table=table.name,
        sql_table=render.table(table),
        columns=[_column(column, keys, render) for column in table.columns],
        returning=returned,
        sentinel=sentinel,
        null=object(),
        expressions=(ClauseElement, InstrumentedAttribute),
        adapt=carrier.adapt(dialect),
        unending=has_unending_days(dialect),
    )
    sql = carrier.example_sql(native)
    return InsertPlan(table, native, back and _returning(back), sql, _Adapter(keys), quiet=True)


def _returning(back: Back) -> Returning:
    """The same as carriers know it: they only tell it from a generated key alone."""
    nothing = ((),) * len(back.names)
    return Returning(
        (back.sql,), back.names, nothing, (), {}, back.names, nothing, True, None, None
    )


def _column(column: Column[Any], keys: frozenset[str], render: Renderer) -> _native.Column:
    kind, processor = kind_of(column.type, render.dialect)
    given = column.key in keys
    default = {} if given else default_of_column(column, render)
    if "default_call" in default:
        raise exc.CompileError(f"the default of {column} is a function")
    return _native.Column(
        column.key if given else "",
        column.name,
        sql_name=render.column(column),
        table_key=column.key,
        kind=kind,
        processor=processor,
        drop_none=False,
        placeholder=render.placeholder(column),
        **default,
    )


class _Adapter:
    """Takes from each row what the first one gives, as SQLAlchemy does."""

    def __init__(self, keys: frozenset[str]) -> None:
        self.keys = keys

    def __call__(self, row: Any, position: int) -> dict[str, Any]:
        return {key: row[key] for key in self.keys}
