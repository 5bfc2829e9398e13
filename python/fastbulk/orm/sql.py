"""The pieces of SQL that SQLAlchemy's compiler knows best: names, expressions, RETURNING."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, exc, types

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql import ClauseElement

_VALUE = "fastbulk_value"


@dataclass(frozen=True)
class Renderer:
    """Renders for one dialect, with schemas translated as the connection says."""

    dialect: Dialect
    schema_translate_map: dict[str | None, str | None] = field(default_factory=dict)
    #: The text is sent with the driver's parameters, for which some write ``%`` twice.
    has_parameters: bool = False

    def schema(self, table: Table) -> str | None:
        """The table's schema after translation."""
        return self.schema_translate_map.get(table.schema, table.schema)

    def table(self, table: Table) -> str:
        """The table's name as SQL, quoted where needed."""
        preparer = self.dialect.identifier_preparer
        name = preparer.quote(table.name)
        schema = self.schema(table)
        return self._percents(name if schema is None else f"{preparer.quote_schema(schema)}.{name}")

    def column(self, column: Column[Any]) -> str:
        """The column's name as SQL, quoted where needed."""
        return self._percents(self.dialect.identifier_preparer.quote(column.name))

    def expression(self, element: ClauseElement, **compile_kwargs: Any) -> str:
        """A SQL expression with its values written into the text.

        Parameters
        ----------
        element
            The expression.
        compile_kwargs
            What else SQLAlchemy's compiler takes: ``include_table=False`` for bare names.

        Raises
        ------
        sqlalchemy.exc.CompileError
            A value of the expression has no literal form.
        """
        compiled: Any = element.compile(
            dialect=self.dialect,
            compile_kwargs={"literal_binds": True, **compile_kwargs},
            **self.compile_arguments(),
        )
        if not compiled.literal_execute_params:
            return self.finish(compiled)
        return self.finish(compiled, compiled.construct_expanded_state().statement)

    def placeholder(self, column: Column[Any]) -> list[str]:
        """The SQL around a bound value: ``lower(?)`` is ``["lower(", ")"]``.

        Raises
        ------
        sqlalchemy.exc.CompileError
            The type's ``bind_expression`` has parameters of its own.
        """
        dialect: Any = type(self.dialect)
        named = dialect(paramstyle="named")
        compiled = bindparam(_VALUE, type_=column.type).compile(dialect=named)
        if set(compiled.params) != {_VALUE}:
            raise exc.CompileError(f"the type of {column} binds parameters of its own")
        around = str(compiled).split(f":{_VALUE}")
        if self.dialect.name == "postgresql" and around == ["", ""] and _is_interval(column):
            # It travels as text, which without a type would suit any column.
            return ["", "::INTERVAL"]
        return around

    def compile_arguments(self) -> dict[str, Any]:
        """Arguments of ``compile()`` for the translation of schemas."""
        if not self.schema_translate_map:
            return {}
        return {"schema_translate_map": self.schema_translate_map}

    def finish(self, compiled: Any, text: str | None = None) -> str:
        """The text of what was compiled with ``compile_arguments``."""
        text = compiled.string if text is None else text
        if self.schema_translate_map:
            text = compiled.preparer._render_schema_translates(text, self.schema_translate_map)
        return self._percents(text)

    def _percents(self, text: str) -> str:
        doubled = self.dialect.identifier_preparer._double_percents and not self.has_parameters
        return text.replace("%%", "%") if doubled else text


def _is_interval(column: Column[Any]) -> bool:
    return column.type._type_affinity is types.Interval
