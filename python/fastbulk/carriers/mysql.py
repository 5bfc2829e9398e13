"""What the carriers of MySQL's and MariaDB's drivers share: statements, transaction, values.

A driver's own file gives a ``Driver``: what its connection and cursor tell, and nothing else.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import exc

from .. import _native
from . import mysql_errors, mysql_fields, mysql_keys, mysql_kill, statement
from .mysql_errors import TRANSACTION, Frame, simple
from .sent import Answer, Keyed, Sent, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection, Dialect

    from .._native import Slice, Source
    from ..orm.mapping import InsertPlan

#: Bytes of a statement: the server takes a tenth longer for as many rows in statements of 1 MiB.
WANTED = 64 << 10

#: The command's byte, query attributes, and one that the servers count.
PACKET_OVERHEAD = 16

#: Where ``Connection.info`` keeps the server's limit, which a connection has from its beginning.
_INFO = "fastbulk_max_allowed_packet"


class Driver(Protocol):
    """What differs from driver to driver."""

    #: A word in lower case that the driver acts upon wherever it stands in a statement.
    avoid: str | None
    #: It writes 1.0 and not 1.0e0, so that the server reads a decimal.
    plain_floats: bool
    #: Its cursors send rows without SQL around them, too (``mysql_fields``).
    without_sql: bool

    def charset(self, connection: Any) -> str:
        """The character set in which the driver's connection sends statements."""

    def commits(self, connection: Any) -> bool:
        """Whether the driver's connection commits every statement by itself."""

    def text(self, value: Any, dbapi: Any) -> str:
        """The text that the driver sends for an object that has no form of its own.

        Raises an error of the driver's module ``dbapi`` for what it does not send.
        """


class Reply(NamedTuple):
    """What a cursor says after a statement."""

    answer: Answer
    #: The key in the server's answer to the statement.
    last_key: int | None
    #: (level, code, message) each.
    warnings: list[tuple[str, int, str]]


# Facts


def facts(connection: Connection, driver: Driver) -> dict[str, str]:
    """What closes a road on this connection, by name, with the reason in words."""
    charset = driver.charset(connection.connection.driver_connection)
    if charset.lower() != "utf8mb4":
        return {"charset": f"the connection's character set is {charset}, not utf8mb4"}
    return {}


def max_statement(connection: Connection) -> int:
    """Bytes that a statement may have: its packet has some more, by driver."""
    return _max_allowed_packet(connection) - PACKET_OVERHEAD


def _max_allowed_packet(connection: Connection) -> int:
    limit: int | None = connection.info.get(_INFO)
    if limit is None:
        options = {"no_parameters": True}
        sql = "SELECT @@max_allowed_packet"
        limit = int(connection.exec_driver_sql(sql, execution_options=options).scalar_one())
        connection.info[_INFO] = limit
    return limit


# Statements


def insert(
    connection: Connection, plan: InsertPlan, source: Source, notes: dict[str, str], driver: Driver
) -> Iterator[Sent | Keyed]:
    """Sends all rows; yields the outcome of each slice.

    Parameters
    ----------
    connection
        The connection of the call.
    plan
        What is inserted and given back.
    source
        The rows.
    notes
        Filled with the form of the statements.
    driver
        What differs from driver to driver.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent, or a row is larger than the server lets through.
    sqlalchemy.exc.DBAPIError
        The database refused a row, with ``.row``, ``.column`` and ``.value``.
    sqlalchemy.exc.InvalidRequestError
        What is to come back can't be known.
    """
    part = source.next_slice()
    if part is None:
        return
    work = Work.of(connection, plan, driver)
    notes["statement"] = "INSERT..VALUES"
    if work.keys is None and source.exhausted and not driver.without_sql:
        first = work.write(part, 0, len(part))
        if first.end == len(part):
            # One statement undoes itself, so that the common small call is no more than that.
            yield work.send(part, first, in_frame=False)
            return
    with all_or_nothing(connection, driver):
        road = work.by_fields(notes)
        while part is not None:
            sent: Sent | Keyed | str | None = None if road is None else road.send(part, source)
            if road is not None and isinstance(sent, str):
                notes |= {"statement": "INSERT..VALUES", road.form: sent}
                road = None
            if sent is None or isinstance(sent, str):
                sent = joined(work.send_all(part))
            yield sent._replace(first_row=part.first_row)
            part = source.next_slice()


class Written(NamedTuple):
    """The statement of some rows of a slice."""

    sql: bytes
    start: int
    end: int


@dataclass(frozen=True)
class Work:
    """What a call needs for each of its statements."""

    connection: Connection
    plan: InsertPlan
    driver: Driver
    writer: _native.MysqlWriter
    #: How returned rows are found, where INSERT..RETURNING does not give them.
    keys: mysql_keys.Keys | None

    @classmethod
    def of(cls, connection: Connection, plan: InsertPlan, driver: Driver) -> Work:
        """The work of a call that inserts by this plan."""
        returns = bool(connection.dialect.insert_returning)
        generated = plan.table.autoincrement_column
        writer = _native.MysqlWriter(
            plan.native,
            generated=None if generated is None else generated.name,
            returning=returns,
            avoid=driver.avoid,
            plain_floats=driver.plain_floats,
        )
        reads_back = plan.returning is not None and not returns
        keys = mysql_keys.Keys(connection, plan, writer) if reads_back else None
        return cls(connection, plan, driver, writer, keys)

    @cached_property
    def limit(self) -> int:
        """Bytes that a statement may have."""
        return max_statement(self.connection)

    def by_fields(self, notes: dict[str, str]) -> mysql_fields.Fields | None:
        """How rows are sent without SQL around them, if they can be."""
        if not self.driver.without_sql or self.plan.returning is not None:
            return None
        fields = mysql_fields.Fields.of(self.connection, self.plan, self.writer, self.limit)
        if isinstance(fields, str):
            dialect: Any = self.connection.dialect
            form = mysql_fields.BULK if dialect.is_mariadb else mysql_fields.LOAD
            notes[form] = fields
            return None
        notes["statement"] = fields.form
        return fields

    def write(self, part: Slice, start: int, end: int) -> Written:
        """The statement of these rows, or of the first of them that fill one."""
        try:
            sql, stop = self.writer.insert(part, start, end, wanted=WANTED, limit=self.limit)
        except _native.RowError as error:
            raise refused(error, self.connection) from error
        return Written(sql, start, stop)

    def send_all(self, part: Slice) -> Iterator[Sent | Keyed]:
        """Sends a slice, in as many statements as it fills."""
        if self.keys is not None:
            yield from self.keys.send_all(self, part)
            return
        start = 0
        while start < len(part):
            written = self.write(part, start, len(part))
            yield self.send(part, written, in_frame=True)
            start = written.end

    def send(self, part: Slice, written: Written, *, in_frame: bool) -> Sent:
        """Sends a statement; gives what it returned."""
        answer = self.execute(part, written, in_frame=in_frame).answer
        if self.plan.returning is not None and len(answer.rows) != written.end - written.start:
            raise exc.InvalidRequestError(
                "INSERT..RETURNING gave back another number of rows than were sent, "
                "so the rows can't be matched"
            )
        return Sent(answer.rowcount, answer.rows, answer.type_codes)

    def execute(self, part: Slice, written: Written, *, in_frame: bool) -> Reply:
        """Sends a statement; warns of what the server bent, and explains what it refused."""
        try:
            reply = self._run(written)
        except exc.DBAPIError as error:
            frame = Frame.savepoint() if in_frame else _frame(self.connection, self.driver)
            mysql_errors.explain(
                error, self.connection, self.plan, part, written.start, written.end, frame,
                lambda start, end: self._run(self.write(part, start, end)),
            )  # fmt: skip
            raise
        except asyncio.CancelledError as cancelled:
            if not in_frame:
                given_up(self.connection, cancelled)
            raise
        if reply.warnings:
            _warn(reply.warnings, part.first_row + written.start)
        return reply

    def _run(self, written: Written) -> Reply:
        rows = written.end - written.start
        shown = f"INSERT INTO {self.plan.native.sql_table} /* VALUES, {rows} rows */"
        return execute(self.connection, written.sql, shown, quiet=self.plan.quiet)


def execute(connection: Connection, sql: bytes, shown: str, *, quiet: bool) -> Reply:
    """Sends a statement, of which events and the log show another text.

    Where it is ``quiet`` nobody is to be warned, and the server is not asked.
    """

    def work(cursor: Any) -> Reply:
        cursor.execute(sql)
        reply = Reply(Answer.of(cursor), cursor.lastrowid, [])
        # Asynchronous drivers don't tell the number of warnings.
        if not quiet and getattr(cursor, "warning_count", True):
            cursor.execute("SHOW WARNINGS")
            reply.warnings.extend(cursor.fetchall())
        return reply

    return statement.run(connection, shown, work, mysql_kill.kill)


def given_up(connection: Connection, cancelled: asyncio.CancelledError) -> None:
    """Undoes a statement without a frame that was done all the same: nobody else would."""
    if cancelled.__cause__ is None:
        connection.invalidate()


def refused(error: _native.RowError, connection: Connection) -> _native.RowError:
    """The error of a row of which no statement can be made, as server and driver would say it."""
    row, key, value, reason, cause = error.args
    dbapi: Any = connection.dialect.loaded_dbapi
    too_large = isinstance(cause, OverflowError)
    cause = (dbapi.OperationalError if too_large else dbapi.ProgrammingError)(reason)
    return _native.RowError(row, key, value, reason, cause)


def _warn(found: list[tuple[str, int, str]], first_row: int) -> None:
    """Says what the server changed in the rows, which the drivers keep to themselves."""
    messages = [message for level, code, message in found if level != "Note"]
    if messages:
        more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
        message = mysql_errors.in_input(messages[0], first_row)
        warnings.warn(f"the server changed what it stores: {message}{more}", exc.SAWarning, 4)


# The transaction


def _frame(connection: Connection, driver: Driver) -> Frame:
    """A savepoint in the caller's transaction, or a transaction where there is none."""
    savepoint = Frame.savepoint()
    commits = driver.commits(connection.connection.driver_connection)
    return savepoint if not commits or _holds(connection, savepoint) else TRANSACTION


def _holds(connection: Connection, savepoint: Frame) -> bool:
    """Whether the caller began a transaction on a connection that commits by itself: without one
    the server forgets a savepoint at once.
    """
    simple(connection, savepoint.begin)
    try:
        simple(connection, savepoint.end)
    except exc.DBAPIError:
        return False
    return True


@contextmanager
def all_or_nothing(connection: Connection, driver: Driver) -> Iterator[None]:
    """Undoes what was sent inside if an error ends it; the transaction stays the caller's."""
    with framed(connection, driver):
        yield


@contextmanager
def framed(connection: Connection, driver: Driver) -> Iterator[Frame]:
    """The same; gives what undoes it."""
    frame = _frame(connection, driver)
    simple(connection, frame.begin)
    try:
        yield frame
        simple(connection, frame.end)
    except BaseException:
        if not connection.invalidated and not connection.closed:
            _undo(connection, frame)
        raise


def _undo(connection: Connection, frame: Frame) -> None:
    """Undoes what was sent; what can't be undone is not left for the caller to commit."""
    try:
        simple(connection, frame.undo)
    except exc.DBAPIError as error:
        code = mysql_errors.code_of(error, connection)
        if code == mysql_errors.INTERRUPTED:
            # By a KILL QUERY that came after the end of its statement.
            simple(connection, frame.undo)
        elif code != mysql_errors.NO_SAVEPOINT:
            connection.invalidate()


# Values


def adapt(dialect: Dialect, driver: Driver) -> Callable[[Any], Any]:
    """The driver's own form of objects that native code does not know."""

    dbapi: Any = dialect.loaded_dbapi

    def convert(value: Any) -> Any:
        exact = exact_class(value)
        return driver.text(value, dbapi) if exact is None else exact

    return convert


def exact_class(value: Any) -> Any:
    """A date, time or number as one of the exact class, which native code knows; a time zone is
    dropped, as drivers do. None for anything else.
    """
    match value:
        case int():
            return decimal.Decimal(value)
        case datetime.datetime():
            day = value.year, value.month, value.day
            return datetime.datetime(
                *day, value.hour, value.minute, value.second, value.microsecond
            )
        case datetime.date():
            return datetime.date(value.year, value.month, value.day)
        case datetime.time():
            return datetime.time(value.hour, value.minute, value.second, value.microsecond)
        case datetime.timedelta():
            return interval(value)
        case decimal.Decimal():
            return decimal.Decimal(value)
    return None


def interval(value: datetime.timedelta) -> str:
    """``-838:59:59.000001``, a TIME."""
    sign = "-" if value < datetime.timedelta() else ""
    value = abs(value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06}" if value.microseconds else ""
    return f"{sign}{value.days * 24 + hours:02}:{minutes:02}:{seconds:02}{fraction}"
