"""One call on its way: what was asked, the road that it takes, and what comes back."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from . import errors
from ._native import ColumnError, RowError, Source
from .carriers import carrier_of, own, spread, sqlalchemy
from .carriers.adapted import pause_of
from .orm.defaults import DefaultContext, uses_context
from .orm.mapping import InsertPlan, Request, insert_plan, table_of, why_not_native
from .result import Result, Timing
from .roads import Road, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from types import ModuleType

    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import Mapper

    from ._native import Outcome
    from .orm.keyed import KeyedRequest
    from .progress import Report
    from .targets import Held


#: Rows of a slice where the load has one connection.
_ROWS = 20_000


@dataclass(frozen=True)
class Call:
    """What :func:`fastbulk.insert` was asked to do, made ready.

    ``plan`` is None where native code can't have one, and then SQLAlchemy does the work.
    """

    held: Held
    mapper: Mapper[Any]
    request: Request
    execution_options: Mapping[str, Any]
    carrier: ModuleType
    road: Road
    plan: InsertPlan | None

    @classmethod
    def prepare(
        cls,
        held: Held,
        mapper: Mapper[Any],
        request: Request,
        execution_options: Mapping[str, Any],
    ) -> Call:
        """Reads the mapper, asks the connection for what closes a road, and chooses one.

        Raises
        ------
        sqlalchemy.exc.InvalidRequestError
            Entities are wanted and there is no Session.
        """
        dialect = held.connection.dialect
        carrier = held.carrier
        check_entities(request, held)
        if translated := schemas(held.connection, execution_options):
            request = replace(request, schema_translate_map=translated)
        facts = carrier.facts(held.connection)
        plan = None
        try:
            why_not_native(mapper, facts)
            if not facts.keys() & {"several tables"}:
                plan = insert_plan(mapper, dialect, request, carrier)
                plan.tell(facts)
        except exc.CompileError as error:
            facts["not rendered"] = str(error)
        road = choose(dialect.name, held.driver, "insert", facts, held.refused)
        if road.name == "executemany":
            request = replace(request, as_objects=True)
            plan = insert_plan(mapper, dialect, request, carrier)
        if plan is not None:
            road = Road(road.name, road.backend, road.driver, road.refused, plan.sql)
        return cls(held, mapper, request, execution_options, carrier, road, plan)

    def foreseen(self) -> Road:
        """The road, with what can be told of its statement before there are rows."""
        notes: dict[str, str] = {}
        if self.plan is not None and self.road.name == "native":
            foresee = getattr(self.carrier, "foresee", None)
            if foresee is not None:
                foresee(self.held.connection, self.plan, notes)
        return self.road.taken(notes)

    def insert(self, rows: Iterable[Any], report: Report | None) -> Result:
        """Sends the rows and gives what came back.

        Raises
        ------
        sqlalchemy.exc.StatementError
            A value is wrong, or the database refused a row.
        """
        begin = time.perf_counter()
        with self._undone_if_progress_raises(report):
            if self.plan is None or self.road.name == "sqlalchemy":
                result, extract, road = self._by_sqlalchemy(rows, report), 0.0, self.road
                overlapped = 0.0
            else:
                result, extract, overlapped, road = self._by_source(self.plan, rows, report)
        total = time.perf_counter() - begin
        result.road = road
        result.timing = Timing(total, extract, total - extract + overlapped)
        return result

    def _by_source(
        self, plan: InsertPlan, rows: Iterable[Any], report: Report | None
    ) -> tuple[Result, float, float, Road]:
        """The result, the seconds with the GIL held and how many of them overlapped with the
        database's work, and the road with what it met."""
        notes: dict[str, str] = {}
        connection = self.held.connection
        size: dict[str, Any] = {}
        if getattr(self.carrier, "SLICES_ARE_STATEMENTS", False):
            size["first_rows"] = _ROWS
        if self.held.others:
            size["max_rows"] = _ROWS // len(self.held.others) // 4
        context = DefaultContext(connection)
        try:
            source = Source(
                plan.native,
                rows,
                adapt=plan.adapt,
                context=context,
                pause=pause_of(connection),
                **size,
            )
        except ColumnError as error:
            raise errors.of_column(error, plan.table) from None
        note_objects(source, notes)
        try:
            outcomes = self._send(plan, source, notes, report)
        except RowError as error:
            raise errors.of_row(error, connection, self.road.sql) from error.args[4]
        begin = time.perf_counter()
        result = self._result(plan, outcomes)
        result.rowcount = sum(outcome.rowcount for outcome in outcomes)
        extract = source.seconds + time.perf_counter() - begin
        return result, extract, source.overlapped, self.road.taken(notes)

    def _send(
        self, plan: InsertPlan, source: Source, notes: dict[str, str], report: Report | None
    ) -> list[Outcome]:
        if self.held.others:
            connections = (self.held.connection, *self.held.others)
            return spread.native(connections, self.carrier, plan, source, notes, report)
        native = self.road.name == "native"
        send = self.carrier.native if native else self.carrier.executemany
        sent = send(self.held.connection, plan, source, notes)
        return _outcomes(self.held, sent, source, report)

    def _result(self, plan: InsertPlan, outcomes: list[Outcome]) -> Result:
        session, dialect = self.held.session, self.held.connection.dialect
        if plan.returning is None:
            return Result.without_rows()
        pause = pause_of(self.held.connection)
        if session is None or not plan.returning.has_entities:
            return Result.of_columns(dialect, plan.returning, outcomes, pause)
        options = self.execution_options
        return Result.of_entities(dialect, session, plan.returning, outcomes, options, pause)

    def _by_sqlalchemy(self, rows: Iterable[Any], report: Report | None) -> Result:
        with self.carrier.all_or_nothing(self.held.connection):
            try:
                result = sqlalchemy.insert(
                    self.held, self.mapper, self.request, self.execution_options, rows
                )
            except RowError as error:
                raise errors.of_row(error, self.held.connection, None) from error.args[4]
            if report is not None and result.rowcount:
                report(result.rowcount, None)
            return result

    def _undone_if_progress_raises(self, report: Report | None) -> AbstractContextManager[None]:
        """A call of one statement has no savepoint of its own around it."""
        if report is None:
            return nullcontext()
        undone: AbstractContextManager[None] = self.carrier.all_or_nothing(self.held.connection)
        return undone


def send(held: Held, plan: InsertPlan, rows: Iterable[Any]) -> list[Outcome]:
    """Sends rows on the native road; gives what each statement did.

    Raises
    ------
    fastbulk._native.RowError, fastbulk._native.ColumnError
        A value can't be sent.
    sqlalchemy.exc.StatementError
        The database refused a row.
    """
    context = DefaultContext(held.connection)
    source = Source(plan.native, rows, adapt=plan.adapt, context=context)
    return _outcomes(held, held.carrier.native(held.connection, plan, source, {}), source)


def _outcomes(
    held: Held, sent: Generator[Outcome], source: Source, report: Report | None = None
) -> list[Outcome]:
    """What each statement did.

    The carrier is closed at once when ``report`` raises, so that what was sent is undone before
    the caller sees the error.
    """
    outcomes = []
    pause = pause_of(held.connection)
    with closing(sent):
        for outcome in sent:
            outcomes.append(outcome)
            if report is not None:
                report(source.rows, None)
            if pause is not None:
                pause()
    return outcomes


def note_objects(source: Source, notes: dict[str, str]) -> None:
    """Notes which values of columns are made Python objects, if any."""
    if source.as_objects:
        names = ", ".join(map(repr, source.as_objects))
        notes["columns"] = f"Python code has to see values of {names}"


def why_not_own(
    mapper: Mapper[Any],
    request: Request,
    execution_options: Mapping[str, Any],
    length: int | None,
    connections: int = 1,
) -> Callable[[Engine], str | None]:
    """``why(engine)``: why these rows are not worth a new connection to the engine's database, or
    can't travel over one.
    """

    def why(engine: Engine) -> str | None:
        few = own.FEW if connections == 1 else own.FEW_SPREAD
        if length is not None and length <= few:
            return f"a call of at most {few} rows is not worth the time to connect"
        facts: dict[str, str] = {}
        why_not_native(mapper, facts)
        if facts:
            return next(iter(facts.values()))
        if request.has_entities:
            return "mapped objects need a Session"
        if uses_context(table_of(mapper)):
            return "a default is given the connection"
        own.initialize(engine)
        asked = request
        if translated := schemas(engine, execution_options):
            asked = replace(request, schema_translate_map=translated)
        try:
            plan = insert_plan(mapper, engine.dialect, asked, carrier_of(engine.dialect))
        except exc.CompileError as error:
            return str(error)
        if plan.returning is not None and not own.returns(engine, plan.returning.types):
            return "rows that come back are read by the engine's driver"
        return None

    return why


def check_entities(request: Request | KeyedRequest, held: Held) -> None:
    """Refuses mapped objects that would have no Session to join.

    Raises
    ------
    sqlalchemy.exc.InvalidRequestError
        Entities are wanted and there is no Session.
    """
    if request.has_entities and held.session is None:
        raise exc.InvalidRequestError(
            "returning=<mapped class> needs a Session that the objects join; "
            "a Connection or Engine can return attributes"
        )


def schemas(
    options_of: Connection | Engine, execution_options: Mapping[str, Any]
) -> tuple[tuple[str | None, str | None], ...]:
    """The translation of schemas that holds for a call, as pairs."""
    name = "schema_translate_map"
    asked = execution_options if name in execution_options else options_of.get_execution_options()
    return tuple((asked.get(name) or {}).items())
