"""What the carriers of PostgreSQL's drivers share: catalog, statements, transaction, errors.

A driver's own file gives a ``Driver``: how its cursor takes COPY data and text, and nothing else.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
import re
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from sqlalchemy import exc, types

from .. import _native, errors
from . import statement
from .adapted import beside
from .sent import WIDTH, Answer, Keyed, Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy.engine import Connection

    from .._native import Slice, Source
    from ..orm.keyed import KeyedPlan
    from ..orm.mapping import InsertPlan

#: A call of at most so many rows is one INSERT..VALUES, with no question to the catalog.
SMALL = 50

#: A COPY ends after so many rows or bytes of values: it keeps them until it ends, for its errors.
COPY_ROWS = 100_000
COPY_BYTES = 16 << 20


Texts: TypeAlias = tuple[str, ...]


ExecuteArrays: TypeAlias = "Callable[[Any, str, Sequence[bytes], Texts, str], Answer]"


class Driver(Protocol):
    """What differs from driver to driver."""

    #: It shows the answer to each of several statements that are one message.
    shows_every_answer: bool

    def execute(
        self, cursor: Any, sql: str, begin: Texts = (), end: str = "", columns: str = ""
    ) -> Answer:
        """Executes a statement without parameters, and others before and after it: in as few
        messages as the driver can. ``columns`` is a query with the same columns, which costs less
        than the statement itself to be asked for their types.
        """

    def execute_each(
        self,
        cursor: Any,
        statements: Sequence[str],
        begin: Texts = (),
        end: str = "",
        columns: str = "",
    ) -> list[Answer]:
        """The same for several statements; gives the answer of each."""

    @property
    def execute_arrays(self) -> ExecuteArrays | None:
        """Executes a statement that has arrays in the server's binary format for parameters, ``$1``
        and so on, and others before it; None where the driver can't. With one after it all are as
        few messages as the driver can, and the statement is prepared if it comes often.
        """

    def copy(self, cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
        """Sends COPY data; gives the number of rows."""

    def in_transaction(self, connection: Any) -> bool:
        """Whether the DBAPI connection stands in a transaction, or opens one by itself."""


class Generator(NamedTuple):
    """The sequence that fills a column."""

    #: The column's type in ``pg_type``.
    type_: str
    name: str
    #: How far its keys are from each other; None where the last one does not tell the others.
    step: int | None


@dataclass(frozen=True)
class Catalog:
    """What the database says of the table."""

    writer: _native.PostgresWriter
    #: Why COPY may not be used, if so.
    no_copy: str | None
    #: Why keys may not be reserved for it, if so.
    no_keys: str | None
    #: The integer columns that a sequence fills.
    sequences: dict[str, Generator]


def insert(
    connection: Connection, plan: InsertPlan, source: Source, notes: dict[str, str], driver: Driver
) -> Iterator[Sent | Keyed]:
    """Sends all rows; yields the outcome of each statement.

    Parameters
    ----------
    connection
        The connection of the call.
    plan
        The plan of the insert.
    source
        The rows.
    notes
        Filled with the statement that was used, and with why COPY was not.
    driver
        How the connection's driver takes COPY data and text.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent.
    sqlalchemy.exc.DBAPIError
        The database refused a row, with ``.row``, ``.column`` and ``.value``.
    sqlalchemy.exc.InvalidRequestError
        Fewer rows came back than were sent.
    """
    try:
        yield from _insert(connection, plan, source, notes, driver)
    except _native.RowError as error:
        raise refused_value(connection, error) from error


def refused_value(connection: Connection, error: _native.RowError) -> _native.RowError:
    """The error of a value that native code can't send, with what the driver would raise."""
    row, key, value, reason, cause = error.args
    if isinstance(cause, OverflowError):
        # The server would refuse it, and the driver raise this.
        cause = _data_error(connection, "out of range" in reason)(reason)
    return _native.RowError(row, key, value, reason, cause)


def _insert(
    connection: Connection, plan: InsertPlan, source: Source, notes: dict[str, str], driver: Driver
) -> Iterator[Sent | Keyed]:
    part = source.next_slice()
    if part is None:
        return
    if source.exhausted and len(part) <= SMALL:
        notes["statement"] = "INSERT..VALUES"
        notes.setdefault("COPY", f"a call of at most {SMALL} rows is one statement")
        yield _insert_values(connection, plan, part, driver)
        return
    with all_or_nothing(connection, driver):
        catalog = read_catalog(connection, plan, driver)
        keys: _Keys | None = None
        while part is not None:
            first_row = part.first_row
            columns = _copy_columns(catalog, plan, part, notes)
            if columns:
                if plan.returning is not None and keys is None:
                    keys = _Keys.of(connection, plan, catalog, driver)
                notes["statement"] = "COPY" if keys is None else "COPY with keys of their sequence"
                sent, part = _copy(connection, plan, catalog, driver, part, columns, source, keys)
            else:
                notes["statement"] = "INSERT..SELECT FROM unnest"
                sent = _insert_unnest(connection, plan, catalog, driver, part)
                part = None
            yield sent._replace(first_row=first_row)
            part = part or source.next_slice()


def _data_error(connection: Connection, out_of_range: bool) -> type[Exception]:
    """What the driver raises for the server's error."""
    dbapi: Any = connection.dialect.loaded_dbapi
    if connection.dialect.driver == "pg8000":
        return dbapi.ProgrammingError  # type: ignore[no-any-return]
    if connection.dialect.driver == "asyncpg":
        return dbapi.Error  # type: ignore[no-any-return]
    return dbapi.errors.lookup("22003") if out_of_range else dbapi.DataError  # type: ignore[no-any-return]


def foresee(
    connection: Connection, plan: InsertPlan, notes: dict[str, str], driver: Driver
) -> None:
    """Notes what a call of more than ``SMALL`` rows would send, as far as the catalog tells."""
    frame = frame_of_call(connection, driver)
    try:
        simple(connection, frame.begin)
        try:
            catalog = read_catalog(connection, plan, driver)
        finally:
            simple(connection, *frame.undo)
    except exc.DBAPIError:
        # The call itself will say why it can't insert.
        return
    reason = _why_no_keys(catalog, plan)
    if reason is not None:
        reason = f"COPY returns no rows, and {reason}"
    elif catalog.no_copy is not None:
        reason = catalog.no_copy
    elif (column := catalog.writer.not_binary()) is not None:
        reason = _NOT_BINARY.format(_shown(plan, column))
    if reason is not None:
        notes["COPY"] = reason
        notes["statement"] = "INSERT..SELECT FROM unnest"
    else:
        notes["statement"] = (
            "COPY" if plan.returning is None else "COPY with keys of their sequence"
        )


_NOT_BINARY = "column {!r} can't be sent as binary data"


def _shown(plan: InsertPlan, position: int) -> str:
    column = plan.native.columns[position]
    return column.key or column.name


def _copy_columns(
    catalog: Catalog, plan: InsertPlan, part: Slice, notes: dict[str, str]
) -> list[int]:
    if reason := _why_no_keys(catalog, plan):
        notes["COPY"] = f"COPY returns no rows, and {reason}"
        return []
    if plan.native.tail:
        notes["COPY"] = "COPY knows no conflicts"
        return []
    if catalog.no_copy is not None:
        notes["COPY"] = catalog.no_copy
        return []
    columns, refused = catalog.writer.copy_columns(part)
    if refused is not None:
        notes["COPY"] = _NOT_BINARY.format(_shown(plan, refused))
    if plan.returning is not None and _key(plan) in columns:
        notes["COPY"] = "COPY returns no rows, and some rows give their key"
        return []
    return columns


def _why_no_keys(catalog: Catalog, plan: InsertPlan) -> str | None:
    """Why the returned rows can't be known before they are sent, if any are to come back."""
    returning, key = plan.returning, plan.table.autoincrement_column
    if returning is None:
        return None
    if (
        key is None
        or returning.has_entities
        or len(returning.types) != 1
        or returning.columns.get(key) != 0
        or returning.types[0]._type_affinity is not types.Integer
        or returning.types[0]._has_column_expression
    ):
        return "more than the generated key is to come back"
    if catalog.no_keys is None and key.name not in catalog.sequences:
        return f"no sequence that may be used is the default of {key.name!r}"
    return catalog.no_keys


def _key(plan: InsertPlan) -> int:
    """The position of the generated key."""
    key = plan.table.autoincrement_column
    assert key is not None
    return [column.name for column in plan.native.columns].index(key.name)


def _insert_values(connection: Connection, plan: InsertPlan, part: Slice, driver: Driver) -> Sent:
    shown = f"INSERT INTO {plan.native.sql_table} /* VALUES, {len(part)} rows */"
    frame = frame_of_call(connection, driver)
    begin: Texts
    if plan.returning is None or len(part) == 1:
        # What can't lose rows unseen needs no look at the answer, and no message more than one.
        begin, end = ((), "") if frame is _TRANSACTION else ((frame.begin,), frame.end)
    elif driver.shows_every_answer and not (plan.may_lose_rows or plan.native.tail):
        guard = _GUARD.format(literal=literal(plan.native.sql_table))
        begin, end = (frame.begin, guard), frame.end
    else:
        begin, end = (frame.begin,), ""

    def run(start: int, stop: int) -> Sent:
        sql = _native.postgres_values(plan.native, part, start, stop)
        return _execute(connection, plan, driver, shown, sql)

    # A value that can't be written is refused before there is anything to undo.
    sql = _native.postgres_values(plan.native, part, 0, len(part))
    with undone_on_error(connection, frame):
        try:
            sent = _execute(connection, plan, driver, shown, sql, begin, end)
        except exc.DBAPIError as error:
            if len(begin) > 1 and _GUARDED in str(error.orig):
                plan.may_lose_rows.append(True)
                simple(connection, *frame.again)
                sent, end = run(0, len(part)), ""
            else:
                explain(error, connection, plan, _Slices([part]), frame, run)
                raise
        _check(sent, part, plan)
        if not end and begin:
            simple(connection, frame.end)
    return sent


_GUARDED = "fastbulk.rows_may_be_lost"

#: Fails where a trigger, a rule or a view may drop rows: the savepoint of the rows must be there
#: until they have been counted.
_GUARD = f"""\
SELECT current_setting('{_GUARDED}') FROM pg_class c WHERE c.oid = {{literal}}::regclass
AND (c.relkind <> 'r' OR c.relhasrules OR c.relhastriggers AND EXISTS (
  SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal
  AND g.tgtype & 4 <> 0 AND g.tgtype & 66 <> 0))"""


def _insert_unnest(
    connection: Connection, plan: InsertPlan, catalog: Catalog, driver: Driver, part: Slice
) -> Sent:
    shown = f"INSERT INTO {plan.native.sql_table} /* SELECT FROM unnest, {len(part)} rows */"

    def run(start: int, stop: int, begin: Texts = (), end: str = "") -> Sent:
        sql = beside(connection, catalog.writer.insert, part, start, stop)
        return _execute(connection, plan, driver, shown, sql, begin, end)

    try:
        sent = run(0, len(part), (_SLICE.begin,), _SLICE.end)
    except exc.DBAPIError as error:
        explain(error, connection, plan, _Slices([part]), _SLICE, run)
        raise
    _check(sent, part, plan)
    return sent


def _copy(
    connection: Connection,
    plan: InsertPlan,
    catalog: Catalog,
    driver: Driver,
    part: Slice,
    columns: list[int],
    source: Source,
    keys: _Keys | None,
) -> tuple[Sent | Keyed, Slice | None]:
    """Sends the slice and, where no user code can run meanwhile, as many as go by the same COPY.

    Gives the slice that was read and does not.
    """
    sent = _Slices([part])
    following: Slice | None = None
    room = COPY_ROWS if keys is None else keys.room(len(part), source.left if source.pure else 0)
    sql = catalog.writer.copy_sql(columns if keys is None else [*keys.columns, *columns])

    def encoded(one: Slice, low: int, high: int) -> Iterator[bytes]:
        """COPY data in small steps, so that the server is at work from the first one on."""
        offset = one.first_row - sent.first_row
        for start in range(low, high, _STEP):
            stop = min(start + _STEP, high)
            own = None if keys is None else keys.of_rows(offset + start, offset + stop)
            yield from catalog.writer.copy(
                one, columns, start, stop, first=False, last=False, keys=own
            )

    def pieces() -> Iterator[bytes]:
        nonlocal following
        yield from catalog.writer.copy(part, columns, 0, 0, last=False)
        yield from encoded(part, 0, len(part))
        while source.pure and sent.nbytes < COPY_BYTES and len(sent) < room:
            following = source.next_slice()
            if following is None or catalog.writer.copy_columns(following) != (columns, None):
                break
            if keys is not None and len(sent) + len(following) > room:
                break
            sent.append(following)
            yield from encoded(following, 0, len(following))
            following = None
        yield from catalog.writer.copy(part, columns, 0, 0, first=False)

    def again(start: int, stop: int) -> Sent:
        parts: list[Iterable[bytes]] = [catalog.writer.copy(part, columns, 0, 0, last=False)]
        parts += [encoded(one, low, high) for one, low, high in sent.ranges(start, stop)]
        parts.append(catalog.writer.copy(part, columns, 0, 0, first=False))
        count = _send_copy(connection, driver, sql, itertools.chain.from_iterable(parts))
        return Sent(count, [], None)

    simple(connection, _SLICE.begin)
    try:
        count = _send_copy(connection, driver, sql, pieces())
    except exc.DBAPIError as error:
        explain(error, connection, plan, sent, _SLICE, again)
        raise
    simple(connection, _SLICE.end)
    if keys is None:
        return Sent(count, [], None), following
    return Keyed(count, keys.take(len(sent))), following


def _send_copy(connection: Connection, driver: Driver, sql: str, pieces: Iterable[bytes]) -> int:
    failures: list[BaseException] = []

    def watched() -> Iterator[bytes]:
        try:
            yield from pieces
        except BaseException as error:
            failures.append(error)
            raise

    try:
        return statement.run(connection, sql, lambda cursor: driver.copy(cursor, sql, watched()))
    except exc.DBAPIError:
        if failures:
            # psycopg2 has an error of its own for what happens while it reads.
            raise failures[0] from None
        raise


class _Keys:
    """Generated keys of rows that COPY sends, in their order.

    The first ones are taken from the sequence before their rows are sent. From then on COPY takes
    them itself, and the last one tells the others: if there are as many between it and the one
    before as rows were sent, no other session took one.
    """

    def __init__(
        self, connection: Connection, plan: InsertPlan, driver: Driver, generator: Generator
    ) -> None:
        self._connection, self._driver = connection, driver
        self._table, self._column = plan.native.sql_table, _key(plan)
        self._name = plan.native.columns[self._column].sql_name
        self._generator = generator
        #: As ``int8send`` makes them.
        self._reserved = b""
        #: The key that this session took last, where COPY takes those that follow.
        self._last: int | None = None
        self._is_alone = generator.step is not None

    @classmethod
    def of(
        cls, connection: Connection, plan: InsertPlan, catalog: Catalog, driver: Driver
    ) -> _Keys:
        """None yet, of the sequence of the generated key."""
        name = plan.native.columns[_key(plan)].name
        return cls(connection, plan, driver, catalog.sequences[name])

    @property
    def columns(self) -> list[int]:
        """The column of the keys, if COPY is to be sent it."""
        return [self._column] if self._last is None else []

    def room(self, rows: int, left: int | None) -> int:
        """How many rows the next COPY may send, of ``rows`` and those that are left behind them."""
        most = max(COPY_ROWS, rows)
        if self._last is not None:
            return most if left is None else min(most, rows + left)
        return self._reserve(rows if self._is_alone else min(most, rows + (left or 0)))

    def _reserve(self, count: int) -> int:
        """Takes as many as are missing; gives how many there are."""
        missing = count - len(self._reserved) // WIDTH
        if missing > 0:
            # One value is read faster than many rows, and a series that is not in FROM itself is
            # not stored before it is read.
            self._reserved += self._ask(
                f"SELECT string_agg(int8send(nextval({literal(self._generator.name)})), ''::bytea) "
                f"FROM (SELECT generate_series(1, {missing})) AS one_for_each",
                f"SELECT /* {missing} keys of {self._generator.name} */",
            )
        return len(self._reserved) // WIDTH

    def of_rows(self, start: int, stop: int) -> tuple[str, bytes] | None:
        """The column's type and the keys of these rows, counted from the first that has none;
        None where COPY takes them itself.
        """
        if self._last is not None:
            return None
        return self._generator.type_, self._reserved[start * WIDTH : stop * WIDTH]

    def take(self, count: int) -> bytes | list[range]:
        """The keys of the first rows, which were sent."""
        if self._last is not None:
            return self._taken(self._last, count)
        end = count * WIDTH
        taken, self._reserved = self._reserved[:end], self._reserved[end:]
        if self._is_alone and not self._reserved:
            self._last = int.from_bytes(taken[-WIDTH:], "big", signed=True)
        return taken

    def _taken(self, before: int, count: int) -> bytes | list[range]:
        """The keys that COPY took for so many rows."""
        step = self._generator.step
        assert step is not None
        name = self._generator.name
        last = self._ask(f"SELECT currval({literal(name)})", f"SELECT /* last key of {name} */")
        if last - before == count * step:
            self._last = last
            return [range(before + step, last + step, step)]
        self._last, self._is_alone = None, False
        return self._read_back(before + step, last, count)

    def _read_back(self, first: int, last: int, count: int) -> bytes:
        """The keys among which others took some: no other statement's rows have the ``xmin`` that
        COPY's have in its savepoint.
        """
        of_last = f"SELECT xmin FROM {self._table} WHERE {self._name} = {last}"
        low, high = sorted((first, last))
        descending = "DESC" if last < first else ""
        keys: bytes = self._ask(
            f"SELECT string_agg(int8send({self._name}), ''::bytea ORDER BY {self._name} "
            f"{descending}) FROM {self._table} WHERE {self._name} BETWEEN {low} AND {high} "
            f"AND xmin IN ({of_last})",
            f"SELECT /* {count} keys of {self._table} */",
        )
        if len(keys) != count * WIDTH:
            raise exc.InvalidRequestError(
                f"{count} rows were sent and {len(keys) // WIDTH} are found by their generated "
                "keys, so the rows can't be matched"
            )
        return keys

    def _ask(self, sql: str, shown: str) -> Any:
        """The one value that a query gives."""
        answer = statement.run(
            self._connection,
            shown,
            lambda cursor: self._driver.execute(cursor, sql, columns=sql),
        )
        value = answer.rows[0][0]
        return value if isinstance(value, int) else bytes(value or b"")


_STEP = 2_000


class Rows(Protocol):
    """Rows that were sent together, counted from the first of them."""

    def __len__(self) -> int:
        """How many they are."""

    def ranges(self, start: int, stop: int) -> Iterator[tuple[Slice, int, int]]:
        """The slices of rows ``start`` to ``stop``, each with its own rows' numbers."""

    def value(self, row: int, column: int) -> Any:
        """What the row gives for the column."""

    def number(self, row: int) -> int:
        """The row's number in the input."""


class _Slices:
    """_Slices that follow each other, as one."""

    def __init__(self, parts: list[Slice]) -> None:
        self.parts = parts

    @property
    def first_row(self) -> int:
        return self.parts[0].first_row

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts)

    def __len__(self) -> int:
        last = self.parts[-1]
        return last.first_row + len(last) - self.first_row

    def append(self, part: Slice) -> None:
        self.parts.append(part)

    def ranges(self, start: int, stop: int) -> Iterator[tuple[Slice, int, int]]:
        for part in self.parts:
            offset = part.first_row - self.first_row
            low, high = max(start - offset, 0), min(stop - offset, len(part))
            if low < high:
                yield part, low, high

    def value(self, row: int, column: int) -> Any:
        ((part, low, _),) = self.ranges(row, row + 1)
        return part.value(low, column)

    def number(self, row: int) -> int:
        return self.first_row + row


def _execute(
    connection: Connection,
    plan: InsertPlan,
    driver: Driver,
    shown: str,
    sql: str,
    begin: Texts = (),
    end: str = "",
) -> Sent:
    returning = plan.native.returning
    columns = returning and f"SELECT {returning} FROM {plan.native.sql_table}"
    answer = statement.run(
        connection, shown, lambda cursor: driver.execute(cursor, sql, begin, end, columns)
    )
    return Sent(answer.rowcount, answer.rows, answer.type_codes)


def _check(sent: Sent, part: Slice, plan: InsertPlan) -> None:
    if plan.returning is not None and len(sent.returned) != len(part):
        raise exc.InvalidRequestError(
            "INSERT..RETURNING gave back another number of rows than were sent: "
            f"{len(part)} rows were sent and {len(sent.returned)} came back; "
            "a trigger may have dropped some, so the rows can't be matched"
        )


# The transaction


class Frame(NamedTuple):
    """What begins, ends, begins anew and undoes a piece of work."""

    begin: str
    end: str
    again: Texts
    undo: Texts

    @classmethod
    def savepoint(cls, name: str) -> Frame:
        """A savepoint within a transaction."""
        undo, end = f"ROLLBACK TO {name}", f"RELEASE {name}"
        return cls(f"SAVEPOINT {name}", end, (undo,), (undo, end))


_TRANSACTION = Frame("BEGIN", "COMMIT", ("ROLLBACK", "BEGIN"), ("ROLLBACK",))
_CALL = Frame.savepoint("fastbulk")
_SLICE = Frame.savepoint("fastbulk_slice")


def frame_of_call(connection: Connection, driver: Driver) -> Frame:
    """A savepoint in the caller's transaction, or a transaction where there is none."""
    in_transaction = driver.in_transaction(connection.connection.dbapi_connection)
    return _CALL if in_transaction else _TRANSACTION


@contextmanager
def all_or_nothing(connection: Connection, driver: Driver) -> Iterator[None]:
    """Undoes what was sent inside if an error ends it; the transaction stays the caller's."""
    frame = frame_of_call(connection, driver)
    simple(connection, frame.begin)
    with undone_on_error(connection, frame):
        yield
        simple(connection, frame.end)


@contextmanager
def undone_on_error(connection: Connection, frame: Frame) -> Iterator[None]:
    """Undoes what was sent inside, after the frame's begin, if an error ends it."""
    try:
        yield
    except BaseException as error:
        if not connection.invalidated and not connection.closed:
            try:
                simple(connection, *frame.undo)
            except exc.DBAPIError:
                # Where the transaction is gone the savepoint is too: what failed first is reported.
                # What was cancelled as it began may not be left for the caller to commit.
                if not isinstance(error, Exception):
                    connection.invalidate()
        raise


def simple(connection: Connection, *statements: str) -> None:
    """Executes statements of which nothing is wanted back."""
    for sql in statements:
        connection.exec_driver_sql(sql, execution_options={"no_parameters": True}).close()


# Values


def exact_class(value: Any) -> Any:
    """A date, time, UUID or number of a subclass as one of the class itself, which native code
    knows; None for anything else.
    """
    match value:
        case datetime.datetime():
            day = value.year, value.month, value.day
            time = value.hour, value.minute, value.second, value.microsecond
            return datetime.datetime(*day, *time, value.tzinfo, fold=value.fold)
        case datetime.date():
            return datetime.date(value.year, value.month, value.day)
        case datetime.time() if value.tzinfo is None:
            return datetime.time(value.hour, value.minute, value.second, value.microsecond)
        case decimal.Decimal():
            return decimal.Decimal(value)
        case uuid.UUID():
            return uuid.UUID(int=value.int)
    return None


def interval(value: datetime.timedelta) -> str:
    """As PostgreSQL itself writes it, should it stand in a column of text."""
    clock = str(datetime.timedelta(seconds=value.seconds)).rjust(8, "0")
    if value.microseconds:
        clock += f".{value.microseconds:06}".rstrip("0")
    if not value.days:
        return clock
    days = f"{value.days} day" + ("" if value.days == 1 else "s")
    if not (value.seconds or value.microseconds):
        return days
    return f"{days} {'+' if value.days < 0 else ''}{clock}"


# The catalog

_CATALOG = """\
WITH parts AS (SELECT {literal}::regclass::oid AS oid
               UNION SELECT relid FROM pg_partition_tree({literal}::regclass))
SELECT a.attname,
  CASE WHEN b.typtype = 'e' THEN 'enum'
       WHEN b.typtype = 'b' AND (b.typnamespace = 'pg_catalog'::regnamespace
                                 OR b.typname = 'citext') THEN b.typname END,
  format('%I.%I', n.nspname, t.typname),
  CASE WHEN a.attidentity <> ''
       THEN format('nextval(%L)', pg_get_serial_sequence({literal}, a.attname))
       WHEN a.attgenerated = '' THEN coalesce(pg_get_expr(d.adbin, d.adrelid), t.typdefault) END,
  a.attidentity = 'a' OR a.attgenerated <> '',
  (SELECT m.typname FROM pg_type m WHERE m.oid = to_regtype(mapped.type)),
  CASE WHEN c.relkind NOT IN ('r', 'p') THEN 'it is no table'
       WHEN row_security_active(c.oid) THEN 'its row-level security is active'
       WHEN c.relhasrules THEN 'it has rules' END,
  s.sequence,
  CASE WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid IN (SELECT oid FROM parts)
                    AND NOT g.tgisinternal AND g.tgtype & 4 <> 0)
       THEN 'a trigger may change the rows'
       WHEN EXISTS (SELECT FROM pg_class p WHERE p.oid IN (SELECT oid FROM parts)
                    AND (p.relrowsecurity OR p.relhasrules OR p.relkind NOT IN ('r', 'p')))
       THEN 'a part of the table has policies, rules or another server' END,
  CASE WHEN NOT s.cycles AND has_table_privilege(c.oid, 'SELECT') THEN s.step END
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_namespace n ON n.oid = t.typnamespace
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN LATERAL (
  SELECT q.sequence, p.seqincrement AS step, p.seqcycle AS cycles FROM (SELECT CASE
    WHEN a.attidentity <> '' THEN pg_get_serial_sequence({literal}, a.attname)
    ELSE replace(substring(pg_get_expr(d.adbin, d.adrelid)
                           FROM $$^nextval\\('((?:[^']|'')+)'::regclass\\)$$), $$''$$, $$'$$)
    END AS sequence) q
  JOIN pg_sequence p ON p.seqrelid = q.sequence::regclass
  WHERE t.typtype = 'b' AND t.typname IN ('int2', 'int4', 'int8')
  AND has_sequence_privilege(q.sequence, 'USAGE')) s ON true
LEFT JOIN (VALUES {mapped}) AS mapped(name, type) ON mapped.name = a.attname
WHERE c.oid = {literal}::regclass"""

#: Types whose binary forms and values are the same.
_TEXTS = frozenset({"text", "varchar", "bpchar"})


class Target(NamedTuple):
    """A column of the table, as native code wants to know it (``src/postgres/sql.rs``)."""

    binary_type: str | None = None
    own_type: str | None = None
    has_cast: bool = False
    default: str | None = None

    @classmethod
    def of(cls, row: Sequence[Any], cast: str | None) -> Target:
        """From a row of the catalog and the column's ``_own_cast``."""
        _, binary, own_type, default, always, mapped, *_ = row
        same = cast == "" or binary == mapped or {binary, mapped} <= _TEXTS
        exact = binary if binary == "enum" or same else None
        # An expression around the value runs in the database.
        if cast is None or always:
            exact = None
        return cls(exact, own_type, bool(cast), default)


def read_catalog(connection: Connection, plan: InsertPlan, driver: Driver) -> Catalog:
    """Asks for the table's columns, under the lock that an insert takes anyway.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        There is no such table, or no right to insert.
    """
    native = plan.native
    casts = [_own_cast(column) for column in native.columns]
    mapped = ", ".join(
        f"({literal(column.name)}, {literal(cast or None)})"
        for column, cast in zip(native.columns, casts, strict=True)
    )
    lock = f"LOCK TABLE {native.sql_table} IN ROW EXCLUSIVE MODE"
    sql = _CATALOG.format(literal=literal(native.sql_table), mapped=mapped)
    rows = statement.run(
        connection,
        f"SELECT /* catalog of {native.sql_table} */",
        lambda cursor: driver.execute(cursor, sql, begin=(lock,), columns=sql),
    ).rows
    found = {row[0]: row for row in rows}
    targets = []
    for column, cast in zip(native.columns, casts, strict=True):
        row = found.get(column.name)
        targets.append(Target() if row is None else Target.of(row, cast))
    no_copy = next((row[6] for row in rows if row[6]), None)
    return Catalog(
        _native.PostgresWriter(native, targets),
        f"COPY can't fill {native.sql_table}: {no_copy}" if no_copy else None,
        next((row[8] for row in rows if row[8]), None),
        {row[0]: Generator(row[1], row[7], row[9]) for row in rows if row[7]},
    )


def _own_cast(column: _native.Column) -> str | None:
    """The type to which the mapped type casts its parameter, "" for none; None for an expression
    that is more than a cast.
    """
    match = re.fullmatch(r"\?(?:::(.+))?", column.value_sql("?"), re.S)
    return (match[1] or "") if match else None


def literal(text: str | None) -> str:
    """A text as SQL."""
    if text is None:
        return "NULL"
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


# Errors

#: Classes of SQLSTATE that a value brings about: data, a type that does not become the column's.
_OF_VALUES = ("22", "42804", "42846")
#: The same for rows: besides integrity, a trigger's own, a view's.
_OF_ROWS = (*_OF_VALUES, "23", "P0", "44")
_MESSAGE = "message_primary"


def explain(
    error: exc.DBAPIError,
    connection: Connection,
    plan: InsertPlan | KeyedPlan,
    part: Rows,
    frame: Frame,
    run: Callable[[int, int], Any],
    alone: Callable[[int, int], str] | None = None,
) -> None:
    """Says of the driver's error which row and column it is about.

    ``run(start, stop)`` sends some of the rows again, ``alone(row, column)`` is a statement that
    takes one value of a row.
    """
    if error.connection_invalidated:
        return
    row: int | None = None
    positions: list[int] = []
    columns = plan.native.columns
    with suppress(exc.DBAPIError):
        if (sqlstate(error) or "").startswith(_OF_ROWS):
            simple(connection, *frame.again)
            names = _columns(error, connection)
            positions = [
                i
                for i, column in enumerate(columns)
                if column.name in names and not _stands_in(column)
            ]
            row = _row_of_key(error, part, positions)
            if row is None:
                row = _row(error, connection, frame, run, len(part))
            if not positions and (sqlstate(error) or "").startswith(_OF_VALUES):
                positions = _refused_alone(error, connection, plan, part, row, frame, alone)
            simple(connection, *frame.again)
    keys = tuple(columns[i].key or columns[i].name for i in positions)
    values = () if row is None else tuple(part.value(row, i) for i in positions)
    errors.locate(
        error,
        row=None if row is None else part.number(row),
        column=keys[0] if len(keys) == 1 else keys or None,
        value=values[0] if len(values) == 1 else values or None,
        hide_parameters=connection.engine.hide_parameters,
    )


def _stands_in(column: _native.Column) -> bool:
    return column.role in {"default", "update"}


def _refused_alone(
    error: exc.DBAPIError,
    connection: Connection,
    plan: InsertPlan | KeyedPlan,
    part: Rows,
    row: int,
    frame: Frame,
    alone: Callable[[int, int], str] | None,
) -> list[int]:
    """The columns whose value of that row is refused so even without the others: values get their
    columns' types before anything else looks at the row.
    """
    ((one, position, _),) = part.ranges(row, row + 1)
    refused = []
    for column in range(len(plan.native.columns)):
        if one.value(position, column) is None:
            continue
        simple(connection, *frame.again)
        if alone is None:
            sql = _native.postgres_values(plan.native, one, position, position + 1, only=column)
        else:
            sql = alone(position, column)
        try:
            simple(connection, sql)
        except exc.DBAPIError as again:
            if all(_of(again, field) == _of(error, field) for field in ("sqlstate", _MESSAGE)):
                refused.append(column)
    return refused


def _row_of_key(error: exc.DBAPIError, part: Rows, columns: list[int]) -> int | None:
    """The first row with the key that has no parent.

    Halving could be misled here: rows may have their parents further behind in the same call.
    """
    if sqlstate(error) != _FOREIGN_KEY or not columns:
        return None
    key = re.search(r"\)=\((.*)\) is not present", _of(error, "message_detail") or "", re.S)
    if key is None:
        return None
    return next(
        (
            row
            for row in range(len(part))
            if ", ".join(str(part.value(row, column)) for column in columns) == key[1]
        ),
        None,
    )


def _row(
    error: exc.DBAPIError,
    connection: Connection,
    frame: Frame,
    run: Callable[[int, int], Any],
    rows: int,
) -> int:
    """The row that COPY names, or else the last one of the shortest beginning that fails so."""
    if line := re.search(r"^COPY .*, line (\d+)", _of(error, "context") or "", re.M):
        return int(line[1]) - 1
    good, bad = 0, rows
    while bad - good > 1:
        middle = (good + bad) // 2
        simple(connection, *frame.again)
        try:
            run(0, middle)
        except exc.DBAPIError as again:
            if _signature(again) == _signature(error):
                bad = middle
                continue
        good = middle
    return bad - 1


def _signature(error: exc.DBAPIError) -> tuple[Any, ...]:
    # The detail of other errors shows the row with its generated key, which differs.
    detail = _of(error, "message_detail") if sqlstate(error) == _FOREIGN_KEY else None
    return sqlstate(error), _of(error, "constraint_name"), _of(error, "column_name"), detail


_FOREIGN_KEY = "23503"

_CONSTRAINT = """\
SELECT a.attname FROM pg_attribute a
WHERE a.attrelid = to_regclass(format('%I.%I', {schema}, {table})) AND (
  EXISTS (SELECT FROM pg_constraint c
          WHERE c.conrelid = a.attrelid AND c.conname = {name} AND a.attnum = ANY (c.conkey))
  OR EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             WHERE i.indrelid = a.attrelid AND c.relname = {name} AND i.indexprs IS NULL
             AND a.attnum = ANY (i.indkey)))"""


def _columns(error: exc.DBAPIError, connection: Connection) -> set[str]:
    """The columns that the error is about, as far as the database says."""
    if column := _of(error, "column_name"):
        return {column}
    # COPY t, line 3, column name: "..."
    context = _of(error, "context") or ""
    if found := re.search(r"^COPY .*, line \d+, column ([^:\n]+)", context, re.M):
        return {found[1].strip('"')}
    if name := _of(error, "constraint_name"):
        schema, table = _of(error, "schema_name"), _of(error, "table_name")
        sql = _CONSTRAINT.format(schema=literal(schema), table=literal(table), name=literal(name))
        options = {"no_parameters": True}
        return set(connection.exec_driver_sql(sql, execution_options=options).scalars())
    return set()


def sqlstate(error: exc.DBAPIError) -> str | None:
    """The server's code of an error, whatever the driver calls it."""
    return _of(error, "sqlstate")


def _of(error: exc.DBAPIError, field: str) -> str | None:
    diag = getattr(error.orig, "diag", None)
    if diag is None and error.orig is not None and error.orig.__cause__ is not None:
        # SQLAlchemy's error around asyncpg's, which names two fields otherwise.
        diag = error.orig.__cause__
        field = {_MESSAGE: "message", "message_detail": "detail"}.get(field, field)
    if diag is None and error.orig is not None and error.orig.args:
        # pg8000's errors hold the fields of the message itself.
        fields = error.orig.args[0]
        return fields.get(_FIELDS[field]) if isinstance(fields, dict) else None
    value: str | None = getattr(diag, field, None)
    return value


#: https://www.postgresql.org/docs/current/protocol-error-fields.html
_FIELDS = {
    "sqlstate": "C",
    _MESSAGE: "M",
    "message_detail": "D",
    "context": "W",
    "schema_name": "s",
    "table_name": "t",
    "column_name": "c",
    "constraint_name": "n",
}
