"""``returning=``: which columns the database gives back, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc, insert, inspect
from sqlalchemy.orm import Mapper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .sql import Renderer

ResultProcessor = Callable[[Any], Any] if TYPE_CHECKING else object


@dataclass(frozen=True)
class Returning:
    """What a call gives back."""

    #: The SQL after RETURNING, one entry per column.
    sql: tuple[str, ...]
    #: Names of the columns in a ``Row``.
    keys: tuple[str, ...]
    #: What else finds a column in a ``Row`` (attributes, columns).
    objects: tuple[tuple[Any, ...], ...]
    #: SQLAlchemy's result processor per column.
    processors: tuple[ResultProcessor | None, ...]
    #: Column objects of the table that are returned as they are, by their position.
    columns: dict[Any, int]
    #: The statement whose compiled state loads entities; None when only columns are returned.
    statement: Any
    compile_state: Any

    @property
    def has_entities(self) -> bool:
        """Whether mapped objects are built, which takes a Session."""
        return self.statement is not None


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
        An entry is no attribute, column, SQL expression or mapped class.
    """
    key = mapper.local_table.c[next(iter(mapper.local_table.c.keys()))]
    base = insert(mapper).values({key: None})
    statement: Any = base.returning(*returning)._annotate({"dml_strategy": "orm"})
    if options:
        statement = statement.options(*options)
    compiled = _compile(statement, render)
    prefix = render.finish(_compile(base, render)) + " RETURNING "
    text = render.finish(compiled)
    if not text.startswith(prefix):
        raise exc.CompileError(f"RETURNING can't be told from the rest of {text!r}")
    entries = compiled._result_columns
    has_entities = any(is_entity(entity) for entity in returning)
    columns: dict[Any, int] = {}
    for position, entry in enumerate(entries):
        for element in entry.objects:
            if getattr(element, "table", None) is mapper.local_table:
                columns.setdefault(element, position)
    return Returning(
        sql=(text.removeprefix(prefix),),
        keys=tuple(entry.keyname for entry in entries),
        objects=tuple(entry.objects for entry in entries),
        processors=tuple(
            entry.type._cached_result_processor(render.dialect, None) for entry in entries
        ),
        columns=columns,
        statement=statement if has_entities else None,
        compile_state=compiled.compile_state if has_entities else None,
    )


def _compile(statement: Any, render: Renderer) -> Any:
    return statement.compile(dialect=render.dialect, **render.compile_arguments())


def is_entity(entity: Any) -> bool:
    """Whether an entry of ``returning=`` is a mapped class and not a column."""
    inspected = inspect(entity, raiseerr=False)
    return isinstance(inspected, Mapper) or getattr(inspected, "is_aliased_class", False)
