"""``returning=``: which columns the database gives back, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import exc, insert, inspect, null
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.context import _ColumnEntity
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.visitors import iterate, replacement_traverse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

    from .sql import Renderer

ResultProcessor: TypeAlias = "Callable[[Any], Any]"


@dataclass(frozen=True)
class Returning:
    """What a call gives back."""

    #: The SQL after RETURNING, one entry per column.
    sql: tuple[str, ...]
    #: What the database calls the columns.
    names: tuple[str, ...]
    #: What else finds a column (attributes, columns).
    objects: tuple[tuple[Any, ...], ...]
    #: The SQLAlchemy type per column.
    types: tuple[TypeEngine[Any], ...]
    #: Column objects of the table that are returned as they are, by their position.
    columns: dict[Any, int]
    #: What a ``Row`` calls its entries: mapped classes and attributes by their own names.
    keys: tuple[str, ...]
    #: What else finds an entry of a ``Row``.
    key_objects: tuple[tuple[Any, ...], ...]
    #: Entries are more than a column each: mapped objects, bundles, composites.
    has_entities: bool
    #: The statement whose compiled state loads them.
    statement: Any
    compile_state: Any

    def processors(
        self, dialect: Dialect, type_codes: Sequence[Any] | None
    ) -> list[ResultProcessor | None]:
        """SQLAlchemy's result processor per column, for types of the driver where it tells them."""
        codes = repeat(None) if type_codes is None else type_codes
        return [
            type_._cached_result_processor(dialect, code)
            for type_, code in zip(self.types, codes, strict=False)
        ]


def as_list(returning: Any) -> list[Any]:
    """The argument ``returning=`` as a list."""
    if returning is None:
        return []
    return list(returning) if isinstance(returning, (list, tuple)) else [returning]


def compile_returning(
    mapper: Mapper[Any], returning: Sequence[Any], options: Sequence[Any], render: Renderer
) -> Returning:
    """Compiles ``returning=`` by SQLAlchemy's own INSERT..RETURNING of the same entities.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        An entry is no attribute, column, SQL expression or mapped class of the table.
    sqlalchemy.exc.CompileError
        A value of an expression has no literal form.
    """
    base = insert(mapper).values({column: null() for column in mapper.local_table.c}).inline()
    statement = _returning(base, returning, options)
    _check_tables(mapper, statement._returning)
    compiled = _compile(statement, render)
    text = _text(_returning(base, map(_with_literals, statement._returning), options), render)
    prefix = _text(base, render) + " RETURNING "
    if not text.startswith(prefix):
        raise exc.CompileError(f"RETURNING can't be told from the rest of {text!r}")
    entries = compiled._result_columns
    entities = compiled.compile_state.from_statement_ctx._entities
    columns: dict[Any, int] = {}
    for position, entry in enumerate(entries):
        for element in entry.objects:
            if getattr(element, "table", None) is mapper.local_table:
                columns.setdefault(element, position)
    return Returning(
        sql=(text.removeprefix(prefix),),
        names=tuple(entry.keyname for entry in entries),
        objects=tuple(entry.objects for entry in entries),
        types=tuple(entry.type for entry in entries),
        columns=columns,
        keys=tuple(entity._label_name for entity in entities),
        key_objects=tuple(entity._extra_entities for entity in entities),
        has_entities=not all(isinstance(entity, _ColumnEntity) for entity in entities),
        statement=statement,
        compile_state=compiled.compile_state,
    )


def _returning(base: Any, entities: Iterable[Any], options: Sequence[Any]) -> Any:
    statement = base.returning(*entities)._annotate({"dml_strategy": "orm"})
    return statement.options(*options) if options else statement


def _check_tables(mapper: Mapper[Any], entities: Iterable[Any]) -> None:
    """SQLite would read a column of another table as the one of that name."""
    for entity in entities:
        for source in entity._from_objects:
            if source not in {mapper.local_table}:
                raise exc.ArgumentError(
                    f"{entity} can't be returned: it is of {source.description}, "
                    f"and rows are inserted into {mapper.local_table.description}"
                )


def _compile(statement: Any, render: Renderer) -> Any:
    return statement.compile(dialect=render.dialect, **render.compile_arguments())


def _text(statement: Any, render: Renderer) -> str:
    """The SQL of a statement that has no parameters but literal ones."""
    compiled = _compile(statement, render)
    if any(not bind.literal_execute for bind in compiled.binds.values()):
        raise exc.CompileError("an expression in RETURNING has parameters")
    return render.finish(compiled, compiled.construct_expanded_state().statement)


def _with_literals(entity: Any) -> Any:
    """The expression with its values to be written into the text."""
    if not any(isinstance(element, BindParameter) for element in iterate(entity)):
        return entity

    def literal(element: Any, **_: Any) -> Any:
        return element.render_literal_execute() if isinstance(element, BindParameter) else None

    return replacement_traverse(entity, {}, literal)


def is_entity(entity: Any) -> bool:
    """Whether an entry of ``returning=`` is a mapped class and not a column."""
    inspected = inspect(entity, raiseerr=False)
    return isinstance(inspected, Mapper) or getattr(inspected, "is_aliased_class", False)
