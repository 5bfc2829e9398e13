"""What a column's default is, and the context in which a default's callable runs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from sqlalchemy.schema import Sequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Connection, Dialect, Engine
    from sqlalchemy.orm import Mapper

    from .sql import Renderer


class DefaultContext:
    """What context-sensitive defaults see of a call.

    The part of SQLAlchemy's ``DefaultExecutionContext`` that is documented for defaults
    (https://docs.sqlalchemy.org/en/21/core/defaults.html#context-sensitive-default-functions).
    """

    isinsert = True
    isupdate = False
    isdelete = False

    def __init__(self, connection: Connection | None) -> None:
        """A context on the connection of the call."""
        self._connection = connection
        self.current_parameters: dict[str, Any] = {}

    @property
    def connection(self) -> Connection:
        """The connection on which the call runs."""
        assert self._connection is not None
        return self._connection

    root_connection = connection

    @property
    def dialect(self) -> Dialect:
        """The dialect of that connection."""
        return self.connection.dialect

    @property
    def engine(self) -> Engine:
        """The engine of that connection."""
        return self.connection.engine

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> dict[str, Any]:
        """The values of the row, by column key, as they were given."""
        return self.current_parameters


def default_of(column: Column[Any], mapper: Mapper[Any], render: Renderer) -> dict[str, Any]:
    """The arguments of the native ``Column`` that say what an absent value becomes.

    Raises
    ------
    sqlalchemy.exc.CompileError
        A SQL expression can't be rendered without parameters.
    """
    if column is mapper.version_id_col and mapper.version_id_generator is not False:
        generate: Any = mapper.version_id_generator
        return {"default_call": lambda context: generate(None), "forced": True}
    if mapper._set_polymorphic_identity and column is mapper.polymorphic_on:
        return {"default": mapper.polymorphic_identity}
    return default_of_column(column, render)


def default_of_column(column: Column[Any], render: Renderer) -> dict[str, Any]:
    """The same for a column of a table that is not mapped.

    Raises
    ------
    sqlalchemy.exc.CompileError
        A SQL expression can't be rendered without parameters.
    """
    default: Any = column.default
    if default is None:
        return {"omit": column.server_default is not None or column.computed is not None}
    if isinstance(default, Sequence):
        return _sequence(default, render)
    if default.is_clause_element:
        return {"default_sql": render.expression(default.arg)}
    if default.is_callable:
        return {"default_call": default.arg}
    if default.is_scalar:
        return {"default": default.arg}
    # A sentinel column: SQLAlchemy fills it only to sort RETURNING, which is not needed here.
    return {"omit": True}


def default_on_update(column: Column[Any], render: Renderer) -> dict[str, Any]:
    """The same for what a column becomes in a row that is updated without giving it."""
    onupdate: Any = column.onupdate
    if onupdate is None:
        return {}
    if isinstance(onupdate, Sequence):
        return {"default_sql": render.expression(onupdate.next_value())}
    if onupdate.is_clause_element:
        return {"default_sql": render.expression(onupdate.arg)}
    if onupdate.is_callable:
        return {"default_call": onupdate.arg}
    return {"default": onupdate.arg} if onupdate.is_scalar else {}


def next_version(mapper: Mapper[Any]) -> Callable[[DefaultContext], Any]:
    """What makes a row's next version id of the one that it gives."""
    generate: Any = mapper.version_id_generator
    column: Any = mapper.version_id_col
    return lambda context: generate(context.current_parameters.get(column.key))


def uses_context(table: Table) -> bool:
    """Whether a default of the table may run statements on the connection of the call."""
    defaults: list[Any] = [column.default for column in table.columns]
    return any(map(_takes_context, [d.arg for d in defaults if d is not None and d.is_callable]))


def _takes_context(function: Any) -> bool:
    # SQLAlchemy gives a parameter to functions without any, and keeps what it wrapped.
    try:
        return bool(inspect.signature(function).parameters)
    except ValueError:
        return True


def _sequence(sequence: Sequence, render: Renderer) -> dict[str, Any]:
    if render.dialect.supports_sequences and not (
        sequence.optional and render.dialect.sequences_optional
    ):
        return {"default_sql": render.expression(sequence.next_value())}
    return {}
