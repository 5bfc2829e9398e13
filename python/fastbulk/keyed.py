"""A call of update, upsert or delete on its way: rows that are found by their keys."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import exc
from sqlalchemy.orm.exc import StaleDataError

from . import errors
from ._native import ColumnError, Columns, RowError, Source
from .call import check_entities, note_objects, schemas
from .carriers.adapted import pause_of
from .orm import synchronize
from .orm.defaults import DefaultContext
from .orm.keyed import KeyedPlan, KeyedRequest, keyed_plans, primary_key_of
from .result import Result, Timing
from .roads import KEYED, Road, choose
from .several import Read, existing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import ModuleType

    from sqlalchemy.orm import Mapper

    from ._native import Column, Outcome, Slice
    from .progress import Report
    from .targets import Held

#: Rows that may be read again.
Rows: TypeAlias = "list[Any] | Columns"

#: How many rows an error lists.
_LISTED = 10

#: What is certainly the value of a key, and no row that has it.
_BARE = {int, str}


def held_rows(rows: Iterable[Any]) -> Rows:
    """All rows: a call reads them again, and may be tried again."""
    if isinstance(rows, Columns):
        return rows.held()
    return rows if isinstance(rows, list) else list(rows)


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
            request = request._replace(schema_translate_map=translated)
        facts = carrier.facts(held.connection)
        try:
            road = choose(dialect.name, held.driver, request.verb, facts)
        except LookupError as error:
            raise NotImplementedError(str(error)) from None
        plans = keyed_plans(mapper, dialect, request, carrier)
        sql = "; ".join([plan.sql for plan in plans])
        form = KEYED[road.backend][request.verb]
        road = Road(road.name, road.backend, road.driver, road.refused, sql, form)
        check_entities(request, held)
        return cls(held, mapper, request, execution_options, carrier, road, plans)

    def run(self, rows: Rows, report: Report | None) -> Result:
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
        rows = self._mappings(rows)
        notes: dict[str, str] = {}
        sent, read = self._send_all(rows, notes, report)
        middle = time.perf_counter()
        # Returned entities are loaded into what the Session has of them.
        self._synchronize(rows, sent)
        result = self._result(rows, sent, read)
        end = time.perf_counter()
        extract = sum(each.seconds for each in sent) + end - middle
        result.road = self.road.taken(notes)
        result.timing = Timing(end - begin, extract, end - begin - extract)
        return result

    def send(self, rows: list[Any]) -> None:
        """Sends the rows, and leaves what the Session has of them as it is.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            As :meth:`run`.
        """
        self._send_all(rows, {}, None)

    def _send_all(
        self, rows: Rows, notes: dict[str, str], report: Report | None
    ) -> tuple[list[_Sent], Read | None]:
        """What was sent, and what was read before because it is to be returned."""
        sent: list[_Sent] = []
        read = None
        with self._all_or_nothing(report):
            if len(self.plans) > 1 and self.request.returning and self.request.verb == "delete":
                read = self._read(rows, lock=True)
            if len(self.plans) == 1:
                sent = self._send(self.plans[0], rows, set(), notes)
            else:
                for left_out in self._turns(rows):
                    sent += self._send_tables(rows, left_out, notes)
            if report is not None and rows:
                report(len(rows), None)
        return sent, read

    def _turns(self, rows: Rows) -> Iterator[set[int]]:
        """The rows that are not to be sent now: those of one key come one after the other where the
        condition of the second asks several tables.
        """
        if self.plans[0].checking is None or self.request.verb == "delete":
            yield set()
            return
        everything = set(range(len(rows)))
        keys: set[Any] = set()
        turn: set[int] = set()
        for number, key in self._keys(rows).items():
            if (loose := synchronize.loosened(key)) in keys:
                yield everything - turn
                keys, turn = set(), set()
            keys.add(loose)
            turn.add(number)
        yield everything - turn

    def _send_tables(
        self, rows: Rows, left_out: set[int], notes: dict[str, str]
    ) -> Iterator[_Sent]:
        """Sends rows to one table after the other, to the next those that the last one had."""
        everything = range(len(rows))
        # What the condition was not asked about yet.
        unchecked: set[int] = set()
        if self.plans[0].checking is not None:
            unchecked = set(everything).difference(left_out)
        for plan in self.plans:
            checked = left_out | unchecked
            if plan.checking is not None and unchecked:
                others = left_out.union(set(everything) - unchecked)
                for sent in self._send(plan.checking, rows, others, notes):
                    yield sent
                    left_out = left_out.union(sent.left_out)
                    unchecked = unchecked.intersection(sent.outcome.idle)
            if len(checked) < len(rows) or not checked:
                for sent in self._send(plan, rows, checked, notes):
                    yield sent
                    left_out = left_out.union(sent.left_out)

    def _mappings(self, rows: Rows) -> Rows:
        """The rows with bare keys as dicts, which native code reads itself."""
        is_bare = self.request.verb == "delete" and len(self.mapper.primary_key) == 1
        if not is_bare or isinstance(rows, Columns):
            return rows
        (name,) = primary_key_of(self.mapper)
        return [{name: row} if type(row) in _BARE else row for row in rows]

    def _all_or_nothing(self, report: Report | None) -> AbstractContextManager[None]:
        # What is sent to one table undoes itself; its report may fail.
        if len(self.plans) == 1 and report is None:
            return nullcontext()
        undone: AbstractContextManager[None] = self.carrier.all_or_nothing(self.held.connection)
        return undone

    def _send(
        self, plan: KeyedPlan, rows: Rows, left_out: set[int], notes: dict[str, str]
    ) -> list[_Sent]:
        """Sends the rows to one of the tables, but some; gives what became of them, if any."""
        try:
            source = self._source(plan, rows)
        except ColumnError as error:
            raise errors.of_column(error, plan.table) from None
        note_objects(source, notes)
        try:
            part = source.next_slice()
            if part is None:
                return []
            self._check_given(plan, part)
            skipped = sorted(left_out)
            outcome = self.carrier.keyed(self.held.connection, plan, part, skipped, notes)
        except RowError as error:
            raise errors.of_row(error, self.held.connection, None) from error.args[4]
        absent: set[int] = set()
        if len(self.plans) > 1 and plan.native.has_condition:
            absent = self._absent(rows, outcome.unmatched)
        changed = frozenset(plan.changed_by(part)) if self._has_objects else frozenset()
        sent = _Sent(outcome, changed, source.seconds, skipped, frozenset(absent))
        if sent.missing and self.request.verb == "update":
            raise _stale(plan, sent)
        return [sent]

    def _absent(self, rows: Rows, unmatched: Iterable[int]) -> set[int]:
        """Those of the rows that one of the tables has not: they don't fail the condition alone."""
        unmatched = set(unmatched)
        if not unmatched:
            return unmatched
        keys = {number: key for number, key in self._keys(rows).items() if number in unmatched}
        return unmatched.difference(existing(self.held.connection, self.mapper, keys))

    def _source(self, plan: KeyedPlan, rows: Rows) -> Source:
        connection = self.held.connection
        context = DefaultContext(connection)
        context.isinsert = self.request.verb == "upsert"
        context.isupdate = self.request.verb == "update"
        return Source(
            plan.native,
            rows,
            adapt=plan.adapt,
            context=context,
            max_rows=sys.maxsize,
            max_bytes=sys.maxsize,
            pause=pause_of(connection),
        )

    def _check_given(self, plan: KeyedPlan, part: Slice) -> None:
        columns = plan.native.columns
        for position in plan.needed:
            row = part.first_null(position)
            if row is not None:
                raise exc.InvalidRequestError(
                    f"row {row}: {self._what_is_needed(plan, columns[position])}"
                )
        for position in plan.inputs:
            row = part.first_without(position)
            if row is not None:
                raise exc.InvalidRequestError(
                    f"row {row}: a value of {columns[position].key!r} is expected, "
                    "which given() takes"
                )

    def _what_is_needed(self, plan: KeyedPlan, column: Column) -> str:
        name = f"{plan.table.name}.{column.name}"
        if column.role == "match":
            return f"No version id supplied for column {name}, of which {column.key!r} is expected"
        key = "key" if self.request.verb == "upsert" else "primary key"
        return (
            f"No {key} value supplied for column(s) {name}; "
            f"{self.request.verb} finds each row by its key, which takes a value of {column.key!r}"
        )

    def _result(self, rows: Rows, sent: list[_Sent], read: Read | None) -> Result:
        outcomes = [each.outcome for each in sent]
        if len(self.plans) == 1 or not self.request.returning:
            result = self._rows(outcomes)
        else:
            left_out = {row for each in sent for row in each.left_out}
            result = self._of_several(rows, left_out, read)
        result.rowcount = 0
        if outcomes:
            result.rowcount = outcomes[-1].rowcount
        if len(outcomes) > 1 and self.request.verb == "update":
            idle = set.intersection(*(each.untouched for each in sent))
            result.rowcount = len(rows) - len(idle)
        result.actions = [action for each in outcomes for action in each.actions]
        result.unmatched = sorted([row for each in sent for row in each.unmatched])
        result.missing = sorted([row for each in sent for row in each.missing])
        return result

    def _rows(self, outcomes: list[Outcome]) -> Result:
        session, dialect = self.held.session, self.held.connection.dialect
        returning = self.plans[0].returning
        if returning is None:
            return Result.without_rows()
        pause = pause_of(self.held.connection)
        if session is None or not returning.has_entities:
            return Result.of_columns(dialect, returning, outcomes, pause)
        options = {"populate_existing": True, **self.execution_options}
        return Result.of_entities(dialect, session, returning, outcomes, options, pause)

    def _of_several(self, rows: Rows, left_out: set[int], read: Read | None) -> Result:
        """What is returned of rows in several tables."""
        numbers = [number for number in range(len(rows)) if number not in left_out]
        if read is None:
            read = self._read(rows, lock=False)
        else:
            numbers = read.different(numbers)
        types = [getattr(entity, "type", None) for entity in self.request.returning]
        return read.result(numbers, self.held.connection.dialect, types)

    def _read(self, rows: Rows, *, lock: bool) -> Read:
        options = {"populate_existing": True, **self.execution_options}
        return Read.of(self.held, self.mapper, self.request, self._keys(rows), options, lock=lock)

    def _keys(self, rows: Rows) -> dict[int, tuple[Any, ...]]:
        return {number: key for number, (key, _) in enumerate(self._by_key(rows))}

    @property
    def _has_objects(self) -> bool:
        """Whether a Session has objects that the call may change."""
        session = self.held.session
        return session is not None and bool(session.identity_map)

    def _synchronize(self, rows: Rows, sent: list[_Sent]) -> None:
        session = self.held.session
        if session is None or not sent or not self._has_objects:
            return
        changed = frozenset().union(*(each.changed for each in sent))
        if self.request.verb == "upsert":
            found: dict[tuple[Any, ...], Collection[str]] | None = None
            if not self.request.key:  # by another key a row may be any object's
                found = {key: () for key, _ in self._by_key(rows) if None not in key}
            synchronize.expire(session, self.mapper, found, changed)
        elif self.request.verb == "update":
            given: dict[tuple[Any, ...], Collection[str]] = {}
            for key, row in self._by_key(rows):
                given[key] = {*given[key], *row} if key in given else row.keys()
            synchronize.expire(session, self.mapper, given, changed)
        else:
            left = {row for each in sent for row in each.left_out}
            keys = [key for row, (key, _) in enumerate(self._by_key(rows)) if row not in left]
            synchronize.delete(session, self.mapper, keys, self.held.connection)

    def _by_key(self, rows: Rows) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """The rows with their primary keys."""
        names = primary_key_of(self.mapper)
        adapt = self.plans[0].adapt_whole
        for position, given in enumerate(rows):
            plain = type(given) is dict and given.keys() <= adapt.names
            row = given if plain else adapt(given, position)
            yield tuple(row.get(name) for name in names), row


class _Sent(NamedTuple):
    """What became of the rows in one of the tables."""

    outcome: Outcome
    #: Names of attributes that may have changed.
    changed: frozenset[str]
    #: How long it took to read the rows.
    seconds: float
    #: Rows that were not sent, ascending.
    skipped: list[int]
    #: Rows that did not meet the condition because another table has nothing of them.
    absent: frozenset[int]

    @property
    def untouched(self) -> set[int]:
        """Rows that the statements changed nothing for."""
        return {*self.skipped, *self.outcome.idle, *self.left_out}

    @property
    def missing(self) -> list[int]:
        """Rows that are not there."""
        return sorted([*self.outcome.missing, *self.absent])

    @property
    def unmatched(self) -> list[int]:
        """Rows that are there, and not as the call wants them."""
        return [row for row in self.outcome.unmatched if row not in self.absent]

    @property
    def left_out(self) -> list[int]:
        """Rows that the table does not have, or not as they were to be."""
        return [*self.outcome.missing, *self.outcome.unmatched]


def _stale(plan: KeyedPlan, sent: _Sent) -> StaleDataError:
    missing, rowcount = sent.missing, sent.outcome.rowcount
    listed = ", ".join(map(str, missing[:_LISTED])) + (", ..." if len(missing) > _LISTED else "")
    expected = rowcount + len(missing)
    error = StaleDataError(
        f"UPDATE statement on table {plan.table.name!r} expected to update {expected} row(s); "
        f"{rowcount} were matched. Not found: row {listed}"
    )
    vars(error).update(row=missing[0], rows=missing)
    return error
