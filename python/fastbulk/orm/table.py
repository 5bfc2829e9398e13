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
from .statement import From, given_values, tail_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Dialect


class Back(NamedTuple):
    """What is to come back of each row: the SQL, the names of the columns, where the key is."""

    sql: str
    names: tuple[str, ...]
    key: int | None


def table_plan(
    table: Table,
    keys: frozenset[str],
    dialect: Dialect,
    schemas: tuple[tuple[str | None, str | None], ...],
    carrier: ModuleType,
    back: Back | None,
    statement: Statement | None = None,
) -> InsertPlan:
    """The plan of an insert of rows that all give the columns with these keys.

    Raises
    ------
    sqlalchemy.exc.CompileError
        A default or a type can't be rendered into the statement, or a default is a function.
    """
    if statement is None:
        return _cached_plan(table, keys, dialect, schemas, carrier, back)
    render = Renderer(dialect, dict(schemas))
    values = given_values(statement.values, table, statement.names, statement.row, render)
    tail = tail_of(statement.insert, table, render)
    return _make_plan(table, keys, render, carrier, back, values, tail)


class Statement(NamedTuple):
    """A compiled ``Insert`` that says more of every row."""

    #: The statement itself.
    insert: Any
    #: What its ``values()`` say by column.
    values: Mapping[Any, Any]
    #: The names of its parameters.
    names: Mapping[Any, str]
    #: The parameters of a row.
    row: Mapping[str, Any]


@lru_cache(maxsize=100)
def _cached_plan(
    table: Table,
    keys: frozenset[str],
    dialect: Dialect,
    schemas: tuple[tuple[str | None, str | None], ...],
    carrier: ModuleType,
    back: Back | None,
) -> InsertPlan:
    return _make_plan(table, keys, Renderer(dialect, dict(schemas)), carrier, back, {}, "")


def _make_plan(
    table: Table,
    keys: frozenset[str],
    render: Renderer,
    carrier: ModuleType,
    back: Back | None,
    values: Mapping[Column[Any], From],
    tail: str,
) -> InsertPlan:
    dialect = render.dialect
    key = table.autoincrement_column
    returned: tuple[str, ...] = ()
    sentinel = None
    if back is not None:
        returned = (back.sql,)
        if key is not None and not tail:  # the keys of rows that were there are in no order
            if back.key is None:
                returned = (back.sql, render.column(key))
            position = len(back.names) if back.key is None else back.key
            sentinel = (list(table.columns).index(key), position)
    native = _native.Plan(
        schema=render.schema(table),
        table=table.name,
        sql_table=render.table(table),
        columns=[_column(column, keys, values.get(column), render) for column in table.columns],
        returning=returned,
        sentinel=sentinel,
        null=object(),
        expressions=(ClauseElement, InstrumentedAttribute),
        adapt=carrier.adapt(dialect),
        unending=has_unending_days(dialect),
        tail=tail,
    )
    sql = carrier.example_sql(native)
    taken = {column.key for column in native.columns if column.key}
    return InsertPlan(table, native, back and _returning(back), sql, _Adapter(taken), quiet=True)


def _returning(back: Back) -> Returning:
    """The same as carriers know it: they only tell it from a generated key alone."""
    nothing = ((),) * len(back.names)
    return Returning(
        (back.sql,), back.names, nothing, (), {}, back.names, nothing, True, None, None
    )


def _column(
    column: Column[Any], keys: frozenset[str], said: From | None, render: Renderer
) -> _native.Column:
    if said is None:
        said = From(column.key if column.key in keys else None, render.placeholder(column), None)
        default = {} if said.key else default_of_column(column, render)
    else:
        default = {} if said.key else {"default_sql": "".join(said.sql)}
    if "default_call" in default:
        raise exc.CompileError(f"the default of {column} is a function")
    kind, processor = kind_of(said.type or column.type, render.dialect)
    return _native.Column(
        said.key or "",
        column.name,
        sql_name=render.column(column),
        table_key=column.key,
        kind=kind,
        processor=processor,
        drop_none=False,
        placeholder=said.sql if said.key else render.placeholder(column),
        **default,
    )


class _Adapter:
    """Takes from each row what the first one gives, as SQLAlchemy does."""

    def __init__(self, keys: set[str]) -> None:
        self.keys = keys

    def __call__(self, row: Any, position: int) -> dict[str, Any]:
        return {key: row[key] for key in self.keys}
