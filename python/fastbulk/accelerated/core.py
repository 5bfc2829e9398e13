"""``connection.execute(table.insert(), rows)``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, exc
from sqlalchemy.sql.compiler import WARN_LINTING

from ..call import schemas, send
from ..orm.table import table_plan
from ..roads import choose
from ..targets import Held
from .context import back_of, count, give_back, rows_of
from .left import is_small
from .refusal import FallThrough, fails_alike
from .statement import why_more
from .watched import why_never, why_watched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Column
    from sqlalchemy.engine import Connection

    from ..orm.mapping import InsertPlan
    from ..orm.table import Back


@dataclass(frozen=True)
class CoreInsert:
    """What ``Connection.execute`` was given; ``by_orm`` if it was SQLAlchemy's own ORM."""

    statement: Any
    connection: Connection
    rows: list[Mapping[str, Any]]
    execution_options: Mapping[str, Any]
    by_orm: bool = True

    kind = "insert into a table"

    def run(self) -> Any:
        """Inserts the rows; gives the result that SQLAlchemy would.

        Raises
        ------
        FallThrough
            SQLAlchemy has to do it; nothing was changed.
        """
        why = (
            why_never(self.connection)
            or why_watched(self.connection)
            or why_more(self.statement, allowed=("_return_defaults",))
        )
        if why:
            raise FallThrough(why)
        if not self.by_orm and is_small(len(self.rows)):
            raise FallThrough("SQLAlchemy prepares the statement")
        table = self._table()
        context = self._context()
        try:
            held = Held.of(self.connection)
            back = self._back(context, table)
            plan = self._plan(held, table, back)
            with fails_alike(self.connection, plan):
                outcomes = send(held, plan, self.rows)
        except BaseException:
            context.cursor.close()
            raise
        if back is not None:
            rows = rows_of(back, outcomes)
            context._insertmanyvalues_rows = rows
            give_back(context, back, outcomes, rows)
        return context._setup_result_proxy()

    def _table(self) -> Table:
        table: Any = self.statement._annotations.get("_emit_insert_table", self.statement.table)
        if not isinstance(table, Table):
            raise FallThrough("the statement is of an alias")
        if any(column._insert_sentinel for column in table.columns):
            raise FallThrough("a sentinel column")
        return table._deannotate()

    def _context(self) -> Any:
        """What SQLAlchemy makes of the statement, for the first two rows."""
        connection, statement = self.connection, self.statement
        dialect: Any = connection.dialect
        options = statement._execution_options.merge_with(
            connection._execution_options, self.execution_options
        )
        try:
            compiled, extracted, *_, cache_hit = statement._compile_w_cache(
                dialect=dialect,
                compiled_cache=options.get("compiled_cache", connection.engine._compiled_cache),
                column_keys=sorted(self.rows[0]),
                for_executemany=True,
                schema_translate_map=options.get("schema_translate_map"),
                linting=dialect.compiler_linting | WARN_LINTING,
            )
            if not all(map(_is_scalar, compiled.insert_prefetch)):
                raise FallThrough("a default that is asked for each row")
            if compiled.postfetch_lastrowid:
                raise FallThrough("the driver's key of the last row")
            context = dialect.execution_ctx_cls._init_compiled(
                dialect,
                connection,
                connection.connection,
                options,
                compiled,
                self.rows[:2],
                statement,
                extracted,
                cache_hit,
            )
        except FallThrough:
            raise
        except Exception as error:
            raise FallThrough("the call fails", str(error)) from error
        count(context, len(self.rows))
        context.fastbulk_rows = self.rows
        class_: Any = type(context)
        context.__class__ = _whole(class_)
        return context

    def _back(self, context: Any, table: Table) -> Back | None:
        """What is to come back of each row."""
        compiled = context.compiled
        if not compiled.effective_returning and compiled._insertmanyvalues is not None:
            if not self.by_orm:
                # The count of rows is that of the last page.
                raise FallThrough("the driver's rows in pages")
            return None
        return back_of(context, table)

    def _plan(self, held: Held, table: Table, back: Back | None) -> InsertPlan:
        # The first row says which columns are given. Keys that are no column's mean nothing, and
        # SQLAlchemy's own may be of a subclass of str.
        keys = {str(key) for key in self.rows[0].keys() & {column.key for column in table.columns}}
        if not all(keys <= row.keys() for row in self.rows):
            raise FallThrough("rows without a value")
        dialect = self.connection.dialect
        facts = held.carrier.facts(self.connection)
        road = choose(dialect.name, held.driver, "insert", facts)
        if road.name != "native":
            raise FallThrough("no native road", road.refused["native"])
        translated = schemas(self.connection, self.execution_options)
        try:
            return table_plan(table, frozenset(keys), dialect, translated, held.carrier, back)
        except exc.CompileError as error:
            raise FallThrough("no plan", str(error)) from error


def _is_scalar(column: Column[Any]) -> bool:
    default: Any = column.default
    return default is not None and bool(default.is_scalar)


@cache
def _whole(class_: Any) -> Any:
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
