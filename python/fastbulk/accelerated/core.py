"""``connection.execute(table.insert(), rows)``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, exc

from ..call import schemas, send
from ..carriers.statement import done_before
from ..orm.table import table_plan
from ..roads import choose
from ..targets import Held
from .refusal import FallThrough, fails_alike
from .statement import why_more
from .watched import why_watched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection

    from ..orm.mapping import InsertPlan


@dataclass(frozen=True)
class CoreInsert:
    """What ``Connection.execute`` was given."""

    statement: Any
    connection: Connection
    rows: list[Mapping[str, Any]]
    execution_options: Mapping[str, Any]

    kind = "insert into a table"

    def run(self) -> Any:
        """Inserts the rows; gives the result that SQLAlchemy would.

        Raises
        ------
        FallThrough
            SQLAlchemy has to do it; nothing was changed.
        """
        if why := why_watched(self.connection) or why_more(self.statement):
            raise FallThrough(why)
        if self.statement._returning:
            raise FallThrough("returning from a table")
        dialect: Any = self.connection.dialect
        if dialect.use_insertmanyvalues_wo_returning:
            raise FallThrough("the driver's rows in pages")
        held = Held.of(self.connection)
        plan = self._plan(held)
        with fails_alike():
            send(held, plan, self.rows)
        return self._result()

    def _plan(self, held: Held) -> InsertPlan:
        table = self.statement._annotations.get("_emit_insert_table", self.statement.table)
        if not isinstance(table, Table):
            raise FallThrough("the statement is of an alias")
        table = table._deannotate()
        # The first row says which columns are given. Keys that are no column's mean nothing.
        keys = self.rows[0].keys() & {column.key for column in table.columns}
        if not all(keys <= row.keys() for row in self.rows):
            raise FallThrough("rows without a value")
        dialect = self.connection.dialect
        facts = held.carrier.facts(self.connection)
        road = choose(dialect.name, held.driver, "insert", facts)
        if road.name != "native":
            raise FallThrough("no native road", road.refused["native"])
        translated = schemas(self.connection, self.execution_options)
        try:
            return table_plan(table, frozenset(keys), dialect, translated, held.carrier)
        except exc.CompileError as error:
            raise FallThrough("no plan", str(error)) from error

    def _result(self) -> Any:
        """What SQLAlchemy makes of a statement of which it need not know that it was done."""
        with done_before(self.connection) as options:
            result: Any = self.connection._execute_clauseelement(
                self.statement,
                self.rows[:2],
                {**self.execution_options, **options},
            )
        context = result.context
        context._rowcount = len(self.rows)
        context.fastbulk_rows = self.rows
        class_: Any = type(context)
        context.__class__ = _whole(class_)
        return result


@cache
def _whole(class_: type[Any]) -> type[Any]:
    """A context that knows the parameters of all rows when it is asked for them."""

    def compiled_parameters(self: Any) -> list[dict[str, Any]]:
        compiled = self.compiled
        parameters = [
            compiled.construct_params(
                row,
                extracted_parameters=self.extracted_parameters,
                escape_names=False,
                _group_number=number,
            )
            for number, row in enumerate(self.fastbulk_rows)
        ]
        name = compiled._within_exec_param_key_getter
        defaults = {
            name(column): column.default.arg
            for column in compiled.insert_prefetch
            if column.default is not None and column.default.is_scalar
        }
        return [{**row, **defaults} for row in parameters]

    return type(class_.__name__, (class_,), {"compiled_parameters": property(compiled_parameters)})
