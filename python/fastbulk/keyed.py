"""A call of update, upsert or delete on its way: rows that are found by their keys."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc
from sqlalchemy.orm.exc import StaleDataError

from . import errors
from ._native import RowError, Source
from .call import schemas
from .orm import synchronize
from .orm.defaults import DefaultContext
from .orm.keyed import KeyedPlan, KeyedRequest, keyed_plans
from .result import Result, Timing
from .roads import choose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager
    from types import ModuleType

    from sqlalchemy.orm import Mapper

    from ._native import Outcome, Slice
    from .progress import Report
    from .roads import Road
    from .targets import Held

#: How many rows an error lists.
_LISTED = 10


@dataclass(frozen=True)
class KeyedCall:
    """What such a verb was asked to do, made ready; a plan per table that it writes."""

    held: Held
    mapper: Mapper[Any]
    request: KeyedRequest
    execution_options: Mapping[str, Any]
    carrier: ModuleType
    road: Road
    plans: list[KeyedPlan]

    @classmethod
    def prepare(
        cls,
        held: Held,
        mapper: Mapper[Any],
        request: KeyedRequest,
        execution_options: Mapping[str, Any],
    ) -> KeyedCall:
        """Reads the mapper, asks the connection for what closes a road, and chooses one.

        Raises
        ------
        NotImplementedError
            There is no road for this verb on this database.
        sqlalchemy.exc.CompileError
            An expression has no literal form.
        """
        dialect = held.connection.dialect
        carrier = held.carrier
        if translated := schemas(held.connection, execution_options):
            request = replace(request, schema_translate_map=translated)
        facts = carrier.facts(held.connection)
        try:
            road = choose(dialect.name, held.driver, request.verb, facts)
        except LookupError as error:
            raise NotImplementedError(str(error)) from None
        plans = keyed_plans(mapper, dialect, request, carrier)
        road = replace(road, sql="; ".join(plan.sql for plan in plans))
        if request.returning and len(plans) > 1:
            raise NotImplementedError(
                f"{mapper.class_.__name__} is mapped to several tables: "
                f"{request.verb} can't return its rows yet"
            )
        return cls(held, mapper, request, execution_options, carrier, road, plans)

    def run(self, rows: Iterable[Any], report: Report | None) -> Result:
        """Sends the rows and gives what came back.

        Raises
        ------
        sqlalchemy.orm.exc.StaleDataError
            A row of an update was not found; ``.rows`` has the indexes of those.
        sqlalchemy.exc.InvalidRequestError
            A row does not give its whole key.
        sqlalchemy.exc.StatementError
            A value is wrong, or the database refused a row.
        """
        begin = time.perf_counter()
        rows = rows if isinstance(rows, list) else list(rows)
        outcomes: list[Outcome] = []
        sources = []
        with self._all_or_nothing(rows, report):
            for plan in self.plans:
                source = self._source(plan, rows)
                sources.append(source)
                outcome = self._send(plan, source, rows)
                if outcome is not None:
                    outcomes.append(outcome)
            if report is not None and rows:
                report(len(rows), None)
        middle = time.perf_counter()
        result = self._result(outcomes)
        self._synchronize(rows, outcomes)
        total = time.perf_counter() - begin
        extract = sum(source.seconds for source in sources) + time.perf_counter() - middle
        result.road = self.road
        result.timing = Timing(total, extract, total - extract)
        return result

    def _all_or_nothing(
        self, rows: list[Any], report: Report | None
    ) -> AbstractContextManager[None]:
        if len(rows) < 2 and len(self.plans) == 1 and report is None:
            return nullcontext()
        undone: AbstractContextManager[None] = self.carrier.all_or_nothing(self.held.connection)
        return undone

    def _source(self, plan: KeyedPlan, rows: list[Any]) -> Source:
        context = DefaultContext(self.held.connection)
        context.isinsert, context.isupdate = False, True
        return Source(
            plan.native,
            rows,
            adapt=plan.adapt,
            context=context,
            max_rows=sys.maxsize,
            max_bytes=sys.maxsize,
        )

    def _send(self, plan: KeyedPlan, source: Source, rows: list[Any]) -> Outcome | None:
        try:
            part = source.next_slice()
            if part is None:
                return None
            self._check_given(plan, part)
            outcome: Outcome = self.carrier.keyed(self.held.connection, plan, part)
        except RowError as error:
            raise errors.of_row(error, self.held.connection, None) from error.args[4]
        if outcome.missing and self.request.verb == "update":
            raise _stale(plan, outcome)
        return outcome

    def _check_given(self, plan: KeyedPlan, part: Slice) -> None:
        for position, name in plan.needed:
            row = part.first_without(position)
            if row is None:
                continue
            if plan.native.columns[position].role == "key":
                column = plan.native.columns[position].name
                raise exc.InvalidRequestError(
                    f"row {row}: No primary key value supplied for column(s) "
                    f"{plan.table.name}.{column}; {self.request.verb} finds each row by its key, "
                    f"which takes a value of {name!r}"
                )
            raise exc.InvalidRequestError(f"row {row}: a value of {name!r} is expected")

    def _result(self, outcomes: list[Outcome]) -> Result:
        result = self._rows(outcomes)
        last = outcomes[-1:]
        result.rowcount = max((outcome.rowcount for outcome in outcomes), default=0)
        result.unmatched = [row for outcome in last for row in outcome.unmatched]
        result.missing = [row for outcome in last for row in outcome.missing]
        result.actions = [action for outcome in last for action in outcome.actions]
        return result

    def _rows(self, outcomes: list[Outcome]) -> Result:
        session, dialect = self.held.session, self.held.connection.dialect
        returning = self.plans[0].returning
        if returning is None:
            return Result.without_rows()
        if session is None or not returning.has_entities:
            return Result.of_columns(dialect, returning, outcomes)
        options = {"populate_existing": True, **self.execution_options}
        return Result.of_entities(dialect, session, returning, outcomes, options)

    def _synchronize(self, rows: list[Any], outcomes: list[Outcome]) -> None:
        session = self.held.session
        if session is None or not outcomes or not session.identity_map:
            return
        changed = frozenset().union(*(plan.changed for plan in self.plans))
        if self.request.verb == "upsert":
            synchronize.expire(session, self.mapper, None, changed)
            return
        keys = self._keys(rows)
        if self.request.verb == "update":
            synchronize.expire(session, self.mapper, keys, changed)
        else:
            missing = {*outcomes[-1].missing, *outcomes[-1].unmatched}
            gone = [key for row, key in enumerate(keys) if row not in missing]
            synchronize.delete(session, self.mapper, gone)

    def _keys(self, rows: list[Any]) -> list[Any]:
        names = [self.mapper.get_property_by_column(c).key for c in self.mapper.primary_key]
        adapt = self.plans[0].adapt
        adapted = (
            row if type(row) is dict and names[0] in row else adapt(row, position)
            for position, row in enumerate(rows)
        )
        return [tuple(row.get(name) for name in names) for row in adapted]


def _stale(plan: KeyedPlan, outcome: Outcome) -> StaleDataError:
    missing = outcome.missing
    listed = ", ".join(map(str, missing[:_LISTED])) + (", ..." if len(missing) > _LISTED else "")
    expected = outcome.rowcount + len(missing)
    error = StaleDataError(
        f"UPDATE statement on table {plan.table.name!r} expected to update {expected} row(s); "
        f"{outcome.rowcount} were matched. Not found: row {listed}"
    )
    vars(error).update(row=missing[0], rows=missing)
    return error
