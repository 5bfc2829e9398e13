"""Update, upsert and delete on PostgreSQL: rows that are found by their keys.

A call of few rows, whose keys have an order that is known here, is one message, with a statement
for all rows or one for each. All others travel as arrays, and the server says which keys are equal
and which is first: rows are locked in that order, so that calls wait for each other and never in a
circle.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import exc

from .. import _native
from ..roads import KEYED
from . import plain, statement
from .adapted import beside
from .postgresql import (
    SMALL,
    Frame,
    explain,
    frame_of_call,
    literal,
    refused_value,
    simple,
    sqlstate,
    undone_on_error,
)
from .sent import Answer, Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy.engine import Connection

    from .._native import PostgresSent, Slice
    from ..orm.keyed import KeyedPlan
    from .postgresql import Driver, Texts

_ACTIONS = {"i": "inserted", "u": "updated", "n": "unchanged", "d": "duplicate"}

_NO_UNIQUE_KEY = "42P10"
#: An upsert's row that the same statement has made or changed.
_TWICE = "21000"
_DEADLOCK = "40P01"
#: How often a call that met a deadlock is done again.
_TRIES = 3
#: No setting has this name: to ask for it is the error of a statement that lost rows.
_ROWS_LOST = "fastbulk.rows_lost"
#: Foreign keys, which are checked when a statement ends.
_AT_THE_END = "23503"
#: A trigger has changed another row of the statement.
_CHANGED = "27000"
#: What one order of the rows meets and another does not: unique and exclusion constraints, too.
_IN_THIS_ORDER = {"23505", "23P01", _AT_THE_END, _CHANGED, _TWICE}

#: Rows and bytes of values that are one statement: the server keeps several copies of it.
_ROWS = 100_000
_BYTES = 32 << 20

#: Statements of rows that are one message.
_TOGETHER = 500

#: The statements of few rows.
_FEW = {"update": "UPDATE", "upsert": "INSERT..VALUES ON CONFLICT", "delete": "DELETE"}

#: What a statement of few rows is refused for that takes less for granted in another form: a system
#: column that is not there, types that only the catalog tells, rights.
_OTHER_FORM = {"0A000", _CHANGED, "42804", "42883", "42501"}

_COUNTED = "SELECT 0::int8, ''::text"

_SAVEPOINT = Frame.savepoint("fastbulk_keyed")

_T = TypeVar("_T")


@dataclass
class Done:
    """What became of the rows of a slice."""

    rowcount: int = 0
    sent: Sent = field(default_factory=lambda: Sent(0, [], None))
    missing: list[int] = field(default_factory=list)
    unmatched: list[int] = field(default_factory=list)
    idle: list[int] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    #: The rows of which something was returned.
    numbers: list[int] = field(default_factory=list)

    @classmethod
    def joined(cls, parts: list[Done], rows: int) -> Done:
        """What became of rows that were sent in portions."""
        returned = sorted(
            (row for part in parts for row in zip(part.numbers, part.sent.returned, strict=True)),
            key=itemgetter(0),
        )
        codes = next((part.type_codes for part in parts if part.numbers), None)
        done = cls(
            sum(part.rowcount for part in parts),
            Sent(len(returned), [row for _, row in returned], codes),
            *(
                sorted(itertools.chain.from_iterable(getattr(part, name) for part in parts))
                for name in ("missing", "unmatched", "idle")
            ),
        )
        if any(part.actions for part in parts):
            done.actions = [_ACTIONS["d"]] * rows
            for part in parts:
                for row, action in enumerate(part.actions):
                    if action != _ACTIONS["d"]:
                        done.actions[row] = action
        return done

    @property
    def type_codes(self) -> tuple[Any, ...] | None:
        """The types of the returned columns, as the driver tells them."""
        return self.sent.type_codes

    def rows(self, processors: Sequence[Callable[[Any], Any] | None]) -> list[tuple[Any, ...]]:
        """The returned rows, in the order of the input, through the result processors."""
        return self.sent.rows(processors)

    def scalars(self, processor: Callable[[Any], Any] | None) -> list[Any]:
        """The values of the first returned column."""
        return self.sent.scalars(processor)


def _is_stale(plan: KeyedPlan, done: Done) -> bool:
    """Whether an update is to be undone."""
    return plan.native.verb == "update" and bool(done.missing)


def keyed(
    connection: Connection,
    plan: KeyedPlan,
    part: Slice,
    skipped: Sequence[int],
    notes: dict[str, str],
    driver: Driver,
) -> Done:
    """Updates, upserts or deletes the rows that the slice's keys find, but those in ``skipped``.

    Where rows of an update are missing, nothing is updated.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent.
    sqlalchemy.exc.DBAPIError
        The database refused a row, with ``.row``, ``.column`` and ``.value``.
    sqlalchemy.exc.InvalidRequestError
        Two rows have one key, or a trigger dropped a row.
    """
    rows = sorted({*range(len(part))}.difference(skipped)) if skipped else [*range(len(part))]
    work = partial(_WORK[plan.native.verb], connection, plan, part, driver, notes)
    try:
        if len(rows) <= _ROWS and part.nbytes <= _BYTES:
            return work().whole(rows)
        frame = frame_of_call(connection, driver)
        simple(connection, frame.begin)
        with undone_on_error(connection, frame):
            done = Done.joined([work().whole(some) for some in work().portions(rows)], len(part))
            stale = _is_stale(plan, done)
            simple(connection, *(frame.undo if stale else (frame.end,)))
    except _native.RowError as error:
        raise refused_value(connection, error) from error
    return done


def example_sql(plan: _native.Plan) -> str:
    """The statement for one row that gives all columns."""
    return plain.example_sql(plan) if plan.verb == "insert" else _native.postgres_keyed_sql(plan)


#: The first row with the key of a row, its place among these, and whether the key finds a row.
_Looked: TypeAlias = "dict[int, tuple[int, int, bool]]"


class _Sending(NamedTuple):
    """What was sent last."""

    rows: list[int]
    #: Sends some of them again.
    run: Callable[[int, int], Any]
    #: What stands before it can be undone by itself.
    frame: Frame


class _Work:
    """One call's slice on its way."""

    def __init__(
        self,
        connection: Connection,
        plan: KeyedPlan,
        part: Slice,
        driver: Driver,
        notes: dict[str, str],
    ) -> None:
        self.connection, self.plan, self.part, self.driver = connection, plan, part, driver
        self.notes = notes
        self.native = plan.native
        frame = frame_of_call(connection, driver)
        self.frame = _SAVEPOINT if frame.begin != "BEGIN" else frame
        self.begun = False
        #: What locks the rows of the next statement before it is sent.
        self.locks: Texts = ()
        self.sending: _Sending | None = None
        #: Of the columns that were returned.
        self.type_codes: tuple[Any, ...] = ()
        #: Writes statements of few rows, and asks nothing of the catalog.
        self.row_writer = _native.PostgresKeyed(
            self.native, [], binary=driver.execute_arrays is not None
        )

    def whole(self, rows: list[int]) -> Done:
        """Sends these rows of the slice: all or nothing."""
        return self.all_or_nothing(
            lambda: self.tried(rows), lambda done: _is_stale(self.plan, done)
        )

    def tried(self, rows: list[int]) -> Done:
        """Sends them, and again after a deadlock: to be undone gives the locks of the call back.

        Locks are taken in one order, but for rows that another's INSERT has made meanwhile.
        """
        for _ in range(_TRIES):
            try:
                return self.run(rows)
            except exc.DBAPIError as error:
                if sqlstate(error) != _DEADLOCK:
                    raise
            self.again()
        return self.run(rows)

    def run(self, rows: list[int]) -> Done:
        """Sends these rows of the slice."""
        raise NotImplementedError

    def portions(self, rows: list[int]) -> Iterator[list[int]]:
        """The rows in the order of their keys, in portions that have all rows of a key."""
        size = max(1, min(_ROWS, _BYTES * len(self.part) // max(self.part.nbytes, 1)))
        plain, nulls, others = self.writer.by_key(self.part, rows)
        write = partial(self.writer.sorted, self.part)
        columns = "SELECT 0::int4, 0::int8"
        answer = self.all_or_nothing(lambda: self.send(write, [*plain, *nulls], "SELECT", columns))
        portion: list[int] = []
        for row, place in [*answer.rows, *zip(others, itertools.repeat(1), strict=False)]:
            if len(portion) >= size and place == 1:
                yield sorted(portion)
                portion = []
            portion.append(row)
        yield sorted(portion)

    # The transaction

    def all_or_nothing(
        self, work: Callable[[], _T], is_nothing: Callable[[_T], bool] = lambda _: False
    ) -> _T:
        """Does the work, and undoes it if an error ends it, which says then which row it is about;
        or if its result says so.
        """
        try:
            try:
                done = work()
            except exc.DBAPIError as error:
                self.explain(error)
                raise
            self.end(undo=is_nothing(done))
        except BaseException:
            if not self.begun:
                raise
            with undone_on_error(self.connection, self.frame):
                raise
        return done

    def begin(self) -> Texts:
        """What stands before the next statement."""
        begin = () if self.begun else (self.frame.begin,)
        self.begun = True
        locks, self.locks = self.locks, ()
        return (*begin, *locks)

    def again(self) -> None:
        """Undoes what was sent, to begin anew."""
        if self.begun:
            simple(self.connection, *self.frame.again)

    def end(self, undo: bool) -> None:
        """Ends the work."""
        if self.begun:
            simple(self.connection, *(self.frame.undo if undo else (self.frame.end,)))

    # Statements

    @cached_property
    def catalog(self) -> _Catalog:
        """What the database says of the table, under the lock that a write takes anyway."""
        table = self.native.sql_table
        lock = f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE"
        is_counted = _IS_COUNTED if self.native.verb == "upsert" else "false"
        sql = _CATALOG.format(
            literal=literal(table), is_counted=is_counted.format(literal=literal(table))
        )
        begin = (*self.begin(), lock)
        rows = statement.run(
            self.connection,
            f"SELECT /* catalog of {table} */",
            lambda cursor: self.driver.execute(cursor, sql, begin, columns=sql),
        ).rows
        targets = {name: Target(*target) for name, *target, _ in rows}
        columns = [targets.get(column.name) for column in self.native.columns]
        is_table = bool(rows) and rows[0][-1] == "r"
        binary = self.driver.execute_arrays is not None
        return _Catalog(_native.PostgresKeyed(self.native, columns, binary), is_table)

    @property
    def writer(self) -> _native.PostgresKeyed:
        """Writes statements of many rows."""
        return self.catalog.writer

    def send(
        self, write: Callable[[list[int]], PostgresSent], rows: list[int], what: str, columns: str
    ) -> Answer:
        """Sends a statement of these rows."""
        shown = f"{what} {self.native.sql_table} /* FROM unnest, {len(rows)} rows */"
        if what != "SELECT":
            self.notes["statement"] = KEYED["postgresql"][self.native.verb]

        def run(start: int, stop: int) -> Answer:
            sql, arrays = beside(self.connection, write, rows[start:stop])
            return self.execute(shown, sql, arrays, columns)

        self.sending = _Sending(rows, run, self.frame)
        return run(0, len(rows))

    def send_few(self, rows: list[int], what: str, columns: str) -> Answer | None:
        """Sends one statement of a few rows in order, and ends the work; None if there is none that
        says what each of them becomes, or it is refused, and nothing is done.
        """
        write = partial(self.row_writer.few, self.part, lost=_ROWS_LOST)
        first = write(rows)
        if first is None:
            return None
        has_arrays = first[1]
        form = "FROM unnest, " if has_arrays else ""
        shown = f"{what} {self.native.sql_table} /* {form}{len(rows)} rows */"
        self.notes["statement"] = (KEYED["postgresql"] if has_arrays else _FEW)[self.native.verb]

        def run(start: int, stop: int, end: str = "") -> Answer:
            some = first if stop - start == len(rows) else write(rows[start:stop])
            assert some is not None
            return self.execute(shown, *some[0], columns, end)

        self.sending = _Sending(rows, run, self.frame)
        try:
            answer = run(0, len(rows), self.frame.end)
        except exc.DBAPIError as error:
            is_lost = _ROWS_LOST in str(error.orig) or sqlstate(error) == _TWICE
            if not is_lost and sqlstate(error) not in _OTHER_FORM:
                raise
            self.again()
            return None
        self.begun = False
        return answer

    def execute(
        self, shown: str, sql: str, arrays: Sequence[bytes], columns: str, end: str = ""
    ) -> Answer:
        """Executes a statement that may have arrays for parameters."""
        begin, execute_arrays = self.begin(), self.driver.execute_arrays

        def work(cursor: Any) -> Answer:
            if arrays and execute_arrays is not None:
                return execute_arrays(cursor, sql, arrays, begin, end)
            return self.driver.execute(cursor, sql, begin, end, columns)

        return statement.run(self.connection, shown, work)

    def send_each(self, rows: list[int], what: str, columns: str = "") -> list[Answer]:
        """Sends a statement per row, in the order of ``rows``."""
        answers: list[Answer] = []
        frame = self.frame
        for start in range(0, len(rows), _TOGETHER):
            if start:
                # An error is then one of these rows alone.
                frame = Frame.savepoint("fastbulk_rows")
                simple(self.connection, frame.begin)
            answers += self.send_some(rows[start : start + _TOGETHER], what, columns, frame)
        return answers

    def send_some(self, rows: list[int], what: str, columns: str, frame: Frame) -> list[Answer]:
        """Sends a statement per row in one message."""
        shown = f"{what} {self.native.sql_table} /* {len(rows)} rows */"
        self.notes["statement"] = _FEW[self.native.verb]

        def run(start: int, stop: int, end: str = "") -> list[Answer]:
            statements = [self.row_writer.row(self.part, row) for row in rows[start:stop]]
            return statement.run(
                self.connection,
                shown,
                lambda cursor: self.driver.execute_each(
                    cursor, statements, self.begin(), end, columns
                ),
            )

        self.sending = _Sending(rows, run, frame)
        if self.begun or (len(rows) > 1 and self.native.verb != "delete"):
            return run(0, len(rows))
        # What one row does is done or refused, and what is not there is no error of a delete: it is
        # never undone.
        answers = run(0, len(rows), frame.end)
        self.begun = False
        return answers

    def explain(self, error: exc.DBAPIError) -> None:
        """Says of an error which row and column it is about."""
        if sqlstate(error) == _NO_UNIQUE_KEY:
            raise exc.InvalidRequestError(
                f"no primary key or unique constraint of {self.plan.table.name} "
                "is on the key of this upsert"
            ) from error
        if self.sending is not None:
            rows, run, frame = self.sending
            picked = _Picked(self.part, rows)
            explain(error, self.connection, self.plan, picked, frame, run, self.alone)

    def alone(self, row: int, column: int) -> str:
        """A statement that takes one value."""
        return self.writer.alone(self.part, row, column)

    @cached_property
    def returned(self) -> str:
        """A query with the columns of the returned rows, and of their numbers."""
        return f"SELECT {self.native.returning}, 0::int4 FROM {self.native.sql_table}"

    def numbered(
        self, write: Callable[[list[int]], PostgresSent], rows: list[int], what: str
    ) -> dict[int, Any]:
        """Sends a statement of these rows; gives what it returned of those that it found."""
        if self.native.returning:
            return self.returned_by(self.send(write, rows, what, self.returned))
        return dict.fromkeys(self.counted(write, rows, what))

    def returned_by(self, answer: Answer) -> dict[int, Any]:
        """What a statement returned, by the numbers of the rows."""
        self.type_codes = answer.type_codes
        return {row[-1]: row[:-1] for row in answer.rows}

    def counted(
        self, write: Callable[[list[int]], PostgresSent], rows: list[int], what: str
    ) -> Iterable[int]:
        """Sends a statement of these rows; gives those that it found."""
        ((_, numbers),) = self.send(write, rows, what, _COUNTED).rows
        if numbers is None:
            return rows
        return map(int, numbers.split(",")) if numbers else ()

    def each(self, rows: list[int], what: str) -> dict[int, Any]:
        """Sends a statement per row; gives what is returned of those that were found."""
        returning = self.native.returning
        columns = returning and f"SELECT {returning} FROM {self.native.sql_table}"
        answers = self.send_each(rows, what, columns)
        self.type_codes = answers[0].type_codes
        return {
            row: answer.rows[0] if answer.rows else None
            for row, answer in zip(rows, answers, strict=True)
            if answer.rowcount > 0
        }

    def look(self, rows: list[int]) -> _Looked:
        """The rows that come second or later with their key, or whose key finds nothing."""
        write = partial(self.writer.look, self.part)
        answer = self.send(write, rows, "SELECT", "SELECT 0::int4, 0::int4, 0::int8, false")
        return {number: (first, place, found) for number, first, place, found in answer.rows}

    def read_back(self, rows: list[int]) -> Answer:
        """What is to be returned of the rows that are there, with their numbers."""
        write = partial(self.writer.read_back, self.part)
        return self.send(write, rows, "SELECT", self.returned)

    def leave_out(self, done: Done, rows: list[int], looked: _Looked | None = None) -> None:
        """Notes rows that were not found, and those that are not as the condition has them."""
        if not self.native.has_condition:
            done.missing = rows
            return
        looked = self.look(rows) if looked is None else looked
        for row in rows:
            is_there = row not in looked or looked[row][2]
            (done.unmatched if is_there else done.missing).append(row)


class _Update(_Work):
    def run(self, rows: list[int]) -> Done:
        asking = self.row_writer.asking(self.part, rows)
        done = Done()
        if len(asking) < len(rows):
            done.idle = sorted({*rows}.difference(asking))
        if not asking:
            return done
        found = self.in_any_order(asking)
        done.rowcount = len(found)
        if len(found) < len(asking):
            self.leave_out(done, [row for row in asking if row not in found])
        if self.native.returning and not done.missing:
            if done.idle:
                found |= self.returned_by(self.read_back(done.idle))
            returned = [found[row] for row in sorted(found)]
            done.sent = Sent(len(returned), returned, self.type_codes)
            done.numbers = sorted(found)
        return done

    def in_any_order(self, rows: list[int]) -> dict[int, Any]:
        """Updates in the order of the keys or, where a row needs what one before it does, in that
        of the input; gives what is returned of the rows that were found.
        """
        order = self.row_writer.in_order(self.part, rows) if len(rows) <= SMALL else None
        try:
            return self.together(rows) if order is None else self.few(order)
        except exc.DBAPIError as error:
            if order == rows or sqlstate(error) not in _IN_THIS_ORDER:
                raise
        self.again()
        found = self.each(rows, "UPDATE")
        if self.native.returning:
            found = self.returned_by(self.read_back(sorted(found)))
        return found

    def few(self, rows: list[int]) -> dict[int, Any]:
        """Updates a few rows in order by one statement, or else row by row."""
        alike = len(rows) > 1 and not (self.native.returning or self.native.has_condition)
        if alike and self.send_few(rows, "UPDATE", "SELECT ''::text, ''::text"):
            return dict.fromkeys(rows)
        return self.each(rows, "UPDATE")

    def together(self, rows: list[int]) -> dict[int, Any]:
        """Updates all rows by one statement, as far as their keys differ."""
        if self.update_all(rows):
            return dict.fromkeys(rows)
        found = self.update(rows)
        if len(found) == len(rows):
            return found
        places = {row: place for row, (_, place, _) in self.look(rows).items()}
        if all(place == 1 for place in places.values()):
            return found
        # The last row of a key wins, column by column: as if they came one after the other.
        self.again()
        found = {}
        turn = sorted(rows, key=lambda row: places.get(row, 1))
        for place, some in itertools.groupby(turn, key=lambda row: places.get(row, 1)):
            found |= self.update(list(some), lock=place == 1)
        if self.native.returning:
            found |= self.returned_by(self.read_back(sorted(found)))
        return found

    def update_all(self, rows: list[int]) -> bool:
        """Updates the rows if all of them are there and their order is known here: what tells one
        from the other is not needed then. If not, nothing is done.
        """
        if self.native.returning or self.native.has_condition:
            return False
        order = self.writer.in_order(self.part, rows)
        if order is None:
            return False
        if self.send(partial(self.writer.update_all, self.part), order, "UPDATE", "").rowcount == (
            len(rows)
        ):
            return True
        self.again()
        return False

    def update(self, rows: list[int], lock: bool = True) -> dict[int, Any]:
        write = partial(self.writer.update, self.part, lock=lock, with_returning=True)
        return self.numbered(write, rows, "UPDATE")


class _Delete(_Work):
    def run(self, rows: list[int]) -> Done:
        if not rows:
            return Done()
        found = self.in_any_order(rows)
        done = Done(rowcount=len(found))
        if len(found) < len(rows):
            self.leave_others_out(done, found, rows)
        if self.native.returning:
            done.sent = Sent(len(found), [found[row] for row in sorted(found)], self.type_codes)
            done.numbers = sorted(found)
        return done

    def in_any_order(self, rows: list[int]) -> dict[int, Any]:
        """Deletes the rows; gives what is returned of those that were found."""
        if len(rows) <= SMALL and (order := self.row_writer.in_order(self.part, rows)):
            try:
                return self.each(order, "DELETE FROM")
            except exc.IntegrityError as error:
                if sqlstate(error) != _AT_THE_END or len(rows) == 1:
                    raise
            self.again()
        return self.numbered(partial(self.writer.delete, self.part), rows, "DELETE FROM")

    def leave_others_out(self, done: Done, found: dict[int, Any], rows: list[int]) -> None:
        """Notes rows that were not deleted; of several with one key the first one was."""
        if len(rows) == 1:
            self.leave_out(done, rows)
            return
        looked = self.look(rows)
        firsts = {row: first for row, (first, _, _) in looked.items()}
        for row in [row for row in found if firsts.get(row, row) != row]:
            found[firsts[row]] = found.pop(row)
        others = [row for row in rows if firsts.get(row, row) not in found]
        self.leave_out(done, others, looked)


class _Upsert(_Work):
    def run(self, rows: list[int]) -> Done:
        if not rows:
            return Done()
        done = self.in_any_order(rows)
        done.rowcount = sum(map(done.actions.count, ("inserted", "updated")))
        return done

    def in_any_order(self, rows: list[int]) -> Done:
        """Upserts in the order of the keys or, where a row needs what one before it does, in that
        of the input.
        """
        few = len(rows) <= SMALL and not self.plan.probe_first
        order = self.row_writer.in_order(self.part, rows) if few else None
        try:
            return (order and self.few(order)) or self.together(rows)
        except (exc.DBAPIError, _KeysChangedError) as error:
            if isinstance(error, exc.DBAPIError) and (
                order == rows or sqlstate(error) not in _IN_THIS_ORDER
            ):
                raise
            self.again()
            if done := self.row_by_row(rows):
                return done
            raise

    def few(self, rows: list[int]) -> Done | None:
        """Upserts a few rows by one statement, or else row by row; None if the rows have to go
        another way, and nothing is done.
        """
        returning = self.native.returning
        columns = "SELECT ''::text, ''::text"
        if returning:
            columns = f"SELECT false, {returning}, ''::text FROM {self.native.sql_table}"
        self.lock(rows)
        answer = self.send_few(rows, "INSERT INTO", columns) if len(rows) > 1 else None
        if answer is None:
            return self.row_by_row(rows)
        done = Done(actions=[_ACTIONS["d"]] * len(self.part))
        news = answer.rows[0][0] if not returning else [row[0] for row in answer.rows]
        for row, new in zip(rows, news, strict=True):
            done.actions[row] = _ACTIONS["i" if new in {"i", True} else "u"]
        if returning:
            by_row = dict(zip(rows, answer.rows, strict=True))
            done.numbers = sorted(rows)
            returned = [by_row[row][1:-1] for row in done.numbers]
            done.sent = Sent(len(rows), returned, answer.type_codes[1:-1])
        return done

    def lock(self, rows: list[int]) -> None:
        """Has the rows that are there locked first, in the order in which an update locks them."""
        lock = self.row_writer.lock_few(self.part, rows) if len(rows) > 1 else None
        self.locks = () if lock is None else (lock,)

    def row_by_row(self, rows: list[int]) -> Done | None:
        """Upserts row by row; None if the rows have to go together, and nothing is done."""
        returning = self.native.returning
        columns = "SELECT ''::text, false" + (returning and f", {returning}")
        self.lock(rows)
        try:
            answers = self.send_each(rows, "INSERT INTO", f"{columns} FROM {self.native.sql_table}")
        except exc.NotSupportedError:
            self.again()
            return None
        landed = {answer.rows[0][0] for answer in answers if answer.rows}
        is_clear = len(landed) == len(rows) or (len(rows) == 1 and not returning)
        if not is_clear:
            self.again()
            return None
        by_row = dict(zip(rows, answers, strict=True))
        done = Done(actions=[_ACTIONS["d"]] * len(self.part))
        for row, answer in by_row.items():
            letter = "n" if not answer.rows else "i" if answer.rows[0][1] else "u"
            done.actions[row] = _ACTIONS[letter]
        if returning:
            returned = [by_row[row].rows[0][2:] for row in sorted(rows)]
            done.sent = Sent(len(rows), returned, answers[0].type_codes[2:])
            done.numbers = sorted(rows)
        return done

    def together(self, rows: list[int]) -> Done:
        plain, nulls, new = self.writer.by_key(self.part, rows)
        uncovered = self.uncovered(plain)
        plain = [row for row in plain if row not in uncovered]
        done = Done(actions=[_ACTIONS["d"]] * len(self.part))
        returned: dict[int, Any] = {}
        for some in filter(None, (plain, nulls)):
            order, letters, answers = self.all_written(some) or (some, self.letters(some), None)
            for row, letter in zip(order, letters, strict=True):
                done.actions[row] = _ACTIONS[letter]
            if answers is not None:
                returned |= zip(order, answers, strict=True)
            elif self.native.returning:
                returned |= self.returned_by(self.read_back(some))
        if new := sorted({*new, *uncovered}):
            answer = self.insert(new)
            for row in new:
                done.actions[row] = _ACTIONS["i"]
            if self.native.returning:
                self.type_codes = answer.type_codes
                returned |= dict(zip(new, answer.rows, strict=True))
        if self.native.returning:
            self.check(len(rows), len(returned))
            done.sent = Sent(len(rows), [returned[row] for row in rows], self.type_codes)
            done.numbers = rows
        return done

    def all_written(self, rows: list[int]) -> _Written | None:
        """Upserts rows whose order is known here, and of which each is inserted or updated: one
        INSERT does nothing else. None if they have to go another way, and nothing is done.
        """
        if self.plan.probe_first or not self.catalog.is_table:
            return None
        order = self.writer.in_order(self.part, rows)
        if order is None or not self.writer.changes_all(self.part, rows):
            return None
        returning = self.native.returning
        columns = "SELECT ''::text"
        if returning:
            columns = f"SELECT false, {returning} FROM {self.native.sql_table}"
        try:
            answer = self.send(
                partial(self.writer.upsert_all, self.part), order, "INSERT INTO", columns
            )
        except exc.DBAPIError as error:
            if sqlstate(error) != _TWICE:
                raise
            self.again()
            return None
        self.type_codes = answer.type_codes[1:]
        if returning:
            letters = "".join("i" if row[0] else "u" for row in answer.rows)
            written = _Written(order, letters, [row[1:] for row in answer.rows])
        else:
            written = _Written(order, str(answer.rows[0][0] or ""), None)
        if len(written.letters) == len(order):
            return written
        # A trigger has dropped some.
        self.again()
        return None

    def uncovered(self, rows: list[int]) -> set[int]:
        """The rows that are not in the partial index of the key, so that none can be there."""
        if not rows or self.writer.uncovered(self.part, rows[:1]) is None:
            return set()
        write = lambda some: self.writer.uncovered(self.part, some) or ("", [])  # noqa: E731
        answer = self.send(write, rows, "SELECT", "SELECT 0::int4")
        return {row for (row,) in answer.rows}

    def insert(self, rows: list[int]) -> Answer:
        """Inserts rows that can't be there."""
        returning = self.native.returning
        write = partial(self.writer.insert, self.part)
        columns = returning and f"SELECT {returning} FROM {self.native.sql_table}"
        answer = self.send(write, rows, "INSERT INTO", columns)
        if returning:
            self.check(len(rows), len(answer.rows))
        return answer

    def letters(self, rows: list[int]) -> str:
        """Upserts rows that have keys; gives a letter for each."""
        if self.plan.probe_first:
            return self.probed(rows)
        return self.written(rows)

    def probed(self, rows: list[int]) -> str:
        """The same, with nothing inserted of rows that are there."""
        numbers = self.send(partial(self.writer.lock, self.part), rows, "SELECT", "SELECT 0::int4")
        there = {row for (row,) in numbers.rows}
        left_out = self.left_out(rows)
        new = [row for row in rows if row not in there | left_out]
        letters = dict(zip(new, self.written(new), strict=True)) if new else {}
        asking = self.writer.asking(self.part, sorted(there - left_out))
        letters |= dict.fromkeys(there, "n")
        letters |= dict.fromkeys(self.update(asking), "u")
        letters |= dict.fromkeys(left_out, "d")
        return "".join(letters[row] for row in rows)

    def left_out(self, rows: list[int]) -> set[int]:
        """The rows that don't count, because others with their keys do."""
        by_key: dict[int, list[int]] = {}
        for row, (first, place, _) in sorted(self.look(rows).items()):
            if place > 1:
                by_key.setdefault(first, [first]).append(row)
        if by_key and self.native.duplicates == "error":
            raise _same_key(*min(by_key.values(), key=lambda same: same[1])[:2])
        counts = -1 if self.native.duplicates == "last" else 0
        return {row for same in by_key.values() for row in same if row != same[counts]}

    def written(self, rows: list[int]) -> str:
        """The same by one INSERT, and one UPDATE if need be."""
        reads_xmax = self.catalog.is_table
        _, meeting = beside(self.connection, self.writer.upsert, self.part, rows, reads_xmax)
        write = lambda some: self.writer.upsert(self.part, some, reads_xmax)[0]  # noqa: E731
        ((given, written),) = self.send(write, rows, "INSERT INTO", _COUNTED).rows
        letters = str(given)
        if "d" in letters and self.native.duplicates == "error":
            self.left_out(rows)
        if letters.count("i") + letters.count("u") != int(written):
            raise _KeysChangedError(
                "INSERT..RETURNING gave back other keys than were sent: a trigger may have changed "
                "some, so the rows can't be matched"
            )
        if meeting != "lock":
            return letters
        there = [row for row, letter in zip(rows, letters, strict=True) if letter == "n"]
        updated = self.update(self.writer.asking(self.part, there))
        return "".join(
            "u" if row in updated else letter for row, letter in zip(rows, letters, strict=True)
        )

    def update(self, rows: list[int]) -> set[int]:
        """Updates rows that are there, and locked."""
        if not rows:
            return set()
        write = partial(self.writer.update, self.part, lock=False, with_returning=False)
        return set(self.counted(write, rows, "UPDATE"))

    def check(self, sent: int, returned: int) -> None:
        if sent != returned:
            raise exc.InvalidRequestError(
                "INSERT..RETURNING gave back another number of rows than were sent: "
                f"{sent} rows were sent and {returned} came back; "
                "a trigger may have dropped some, so the rows can't be matched"
            )


class _Written(NamedTuple):
    """What an INSERT did with each row."""

    rows: list[int]
    letters: str
    #: What it returned of each, if anything.
    returned: list[tuple[Any, ...]] | None


@dataclass(frozen=True)
class _Picked:
    """Some rows of a slice, in an order of their own."""

    part: Slice
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def ranges(self, start: int, stop: int) -> Iterator[tuple[Slice, int, int]]:
        for row in self.rows[start:stop]:
            yield self.part, row, row + 1

    def value(self, row: int, column: int) -> Any:
        return self.part.value(self.rows[row], column)

    def number(self, row: int) -> int:
        return self.part.first_row + self.rows[row]


_WORK: dict[str, type[_Work]] = {"update": _Update, "upsert": _Upsert, "delete": _Delete}


class _KeysChangedError(exc.InvalidRequestError):
    """Rows came back that can't be told from each other."""


class Target(NamedTuple):
    """A column of the table, as native code wants to know it (``src/postgres/keyed_sql.rs``)."""

    own_type: str
    full_type: str
    default: str | None
    is_counted: bool
    is_bytewise: bool


@dataclass(frozen=True)
class _Catalog:
    writer: _native.PostgresKeyed
    #: Its rows have system columns.
    is_table: bool


_CATALOG = """\
SELECT a.attname, format('%I.%I', n.nspname, t.typname), format_type(a.atttypid, a.atttypmod),
  CASE WHEN a.attidentity <> ''
       THEN format('nextval(%L)', pg_get_serial_sequence({literal}, a.attname))
       WHEN a.attgenerated = '' THEN coalesce(pg_get_expr(d.adbin, d.adrelid), t.typdefault) END,
  {is_counted}, coalesce(t.typname IN ('text', 'varchar') AND l.collisdeterministic
    AND getdatabaseencoding() = 'UTF8', false),
  c.relkind::text
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.oid = {literal}::regclass"""

#: A trigger may ask for the last value of the sequence.
_IS_COUNTED = """\
a.attidentity <> 'a'
  AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)
  AND coalesce(has_sequence_privilege(
    CASE WHEN a.attidentity = 'd' THEN pg_get_serial_sequence({literal}, a.attname)
         ELSE replace(substring(pg_get_expr(d.adbin, d.adrelid)
                                FROM $$^nextval\\('((?:[^']|'')+)'::regclass\\)$$), $$''$$, $$'$$)
    END, 'USAGE'), false)"""


def _same_key(first: int, second: int) -> exc.InvalidRequestError:
    return exc.InvalidRequestError(
        f"rows {first} and {second} have the same key; "
        "duplicates='first' or 'last' says which of them counts"
    )
