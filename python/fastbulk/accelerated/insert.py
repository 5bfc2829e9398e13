"""``session.execute(insert(Model), rows)`` and the legacy methods that insert."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, exc
from sqlalchemy.engine.cursor import null_dml_result

from ..call import Call, send
from ..carriers import carrier_of
from ..orm.identity import cursor_result
from ..orm.mapping import Request
from ..orm.statement import cache_key_of
from ..result import processed_rows
from ..targets import Held
from .refusal import FallThrough, fails_alike
from .statement import why_more
from .watched import why_never, why_watched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Mapper, Session

    from .._native import Outcome
    from ..orm.mapping import InsertPlan


@dataclass(frozen=True)
class Insert:
    """The arguments of SQLAlchemy's own ``_bulk_insert``, and whose call it is."""

    mapper: Mapper[Any]
    mappings: list[Any]
    session: Session
    connection: Connection
    isstates: bool
    return_defaults: bool
    render_nulls: bool
    use_orm_insert_stmt: Any = None
    execution_options: Mapping[str, Any] | None = field(default=None)

    @property
    def kind(self) -> str:
        """What the program called."""
        if self.use_orm_insert_stmt is None:
            return "bulk_save_objects" if self.isstates else "bulk_insert_mappings"
        return "insert returning" if self.use_orm_insert_stmt._returning else "insert"

    def run(self) -> Any:
        """Inserts the rows; gives what SQLAlchemy's function would.

        Raises
        ------
        FallThrough
            SQLAlchemy has to do it; nothing was changed.
        """
        if why := why_never(self.connection) or why_watched(self.connection):
            raise FallThrough(why)
        if self.return_defaults:
            raise FallThrough("return_defaults")
        call = self._prepared()
        assert call.plan is not None
        rows = [state.dict for state in self.mappings] if self.isstates else self.mappings
        with fails_alike(self.connection, call.plan):
            outcomes = send(call.held, call.plan, rows)
        if self.use_orm_insert_stmt is None:
            return None
        if call.plan.returning is None:
            return null_dml_result()
        return self._returned(call.plan, outcomes)

    def _prepared(self) -> Call:
        returning, loader = self._returning()
        more = self._more()
        key = None
        if (returning or more is not None) and not loader:
            key = cache_key_of(self.use_orm_insert_stmt)
        request = Request(
            self.render_nulls, "bulk", returning, loader, statement=more, cache_key=key
        )
        held = Held.of(self.connection, self.session)
        options = self.execution_options or {}
        try:
            call = Call.prepare(held, self.mapper, request, options)
        except (exc.CompileError, exc.ArgumentError) as error:
            raise FallThrough("no plan", str(error)) from error
        if call.road.name != "native":
            raise FallThrough("no native road", call.road.refused["native"])
        if call.plan is not None and call.plan.returning is not None:
            context = call.plan.returning.compile_state.from_statement_ctx
            if context is None or context.compile_options._is_star:
                raise FallThrough("what is returned")
        return call

    def _returning(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """What is to come back, and the options of the statement."""
        statement = self.use_orm_insert_stmt
        if statement is None:
            return (), ()
        if why := why_more(statement, allowed=("_values", "_post_values_clause")):
            raise FallThrough(why)
        if not statement._returning:
            return (), ()
        dialect = self.connection.dialect
        if not dialect.insert_executemany_returning:
            raise FallThrough("the dialect returns no rows of many")
        if not all(isinstance(each.local_table, Table) for each in self.mapper.iterate_to_root()):
            raise FallThrough("what is returned", "columns of a union of tables")
        if statement._sort_by_parameter_order:
            self._check_sorted(statement)
        return statement._returning, statement._with_options

    def _check_sorted(self, statement: Any) -> None:
        if not self.connection.dialect.insert_executemany_returning_sort_by_parameter_order:
            raise FallThrough("the dialect returns no sorted rows of many")
        if statement._post_values_clause is not None and not hasattr(
            carrier_of(self.connection.dialect), "KEEPS_ORDER"
        ):
            raise FallThrough("sorted rows of an upsert")
        if any(column._insert_sentinel for column in self.mapper.local_table.columns):
            raise FallThrough("a sentinel column")

    def _more(self) -> Any:
        """The statement, if it says something of every row."""
        statement = self.use_orm_insert_stmt
        if statement is None or not (
            statement._values or statement._post_values_clause is not None
        ):
            return None
        return statement

    def _returned(self, plan: InsertPlan, outcomes: list[Outcome]) -> Any:
        returning = plan.returning
        assert returning is not None
        rows = processed_rows(self.connection.dialect, returning, outcomes)
        return cursor_result(returning, rows)
