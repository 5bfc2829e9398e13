"""What MySQL and MariaDB refused: the row, the column and the value of an error."""

from __future__ import annotations

import itertools
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import exc

from .. import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

    from .._native import Slice
    from ..orm.keyed import KeyedPlan
    from ..orm.mapping import InsertPlan

#: Errors that a row's values bring about
#: (https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html).
_OF_ROWS = frozenset(
    {
        1048,  # no NULL
        1062,  # duplicate key
        1216, 1452,  # no parent
        1217, 1451,  # a child
        1263, 1264, 1265, 1292, 1366, 1367, 1406, 1416, 1441, 1525, 1690, 3037, 3140, 3903,  # value
        1364,  # no default
        1526, 1748,  # no partition
        1586,  # duplicate key, by its name
        1644,  # a trigger's own
        3819, 4025,  # check
        3854,  # a text that the character set has not
        4078,  # UUID, INET
    }
)  # fmt: skip

_DEADLOCK = 1213

#: A deadlock ends the transaction, and its savepoints with it.
NO_SAVEPOINT = 1305

INTERRUPTED = 1317

_numbers = itertools.count(1)


class Frame(NamedTuple):
    """What begins, ends, begins anew and undoes a piece of work."""

    begin: str
    end: str
    again: tuple[str, ...]
    undo: str

    @classmethod
    def savepoint(cls) -> Frame:
        """A savepoint within a transaction.

        Each has a name of its own: one of the same name would end the outer one.
        """
        name = f"fastbulk_{next(_numbers)}"
        undo = f"ROLLBACK TO SAVEPOINT {name}"
        return cls(f"SAVEPOINT {name}", f"RELEASE SAVEPOINT {name}", (undo,), undo)


TRANSACTION = Frame("BEGIN", "COMMIT", ("ROLLBACK", "BEGIN"), "ROLLBACK")


def simple(connection: Connection, sql: str) -> None:
    """Executes a statement that has neither parameters nor rows."""
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True}).close()


def explain(
    error: exc.DBAPIError,
    connection: Connection,
    plan: InsertPlan,
    part: Slice,
    start: int,
    end: int,
    frame: Frame,
    run: Callable[[int, int], Any],
) -> None:
    """Says of the driver's error which row and column it is about.

    Parameters
    ----------
    error
        The error of the statement that had rows ``start`` to ``end`` of the slice.
    connection, plan, part
        The call's.
    start, end
        The rows.
    frame
        In which rows may be sent again and undone.
    run
        Sends some of the rows.
    """
    if not is_of_rows(error, connection):
        tell(error, connection)
        return
    table = Definition.read(connection, plan)
    # Where rows can't be undone they can't be sent again either.
    row = start if end - start == 1 else _named_row(error, start, end)
    if table.transactional:
        with suppress(exc.DBAPIError):
            row = _row(error, connection, start, end, frame, run)
    elif table.engine:
        error.add_detail(
            f"the storage engine {table.engine} has no transactions: "
            "rows before the refused one stay in the table"
        )
    _locate(error, connection, plan, part, row, table)


def is_of_rows(error: exc.DBAPIError, connection: Connection) -> bool:
    """Whether the values of a row brought the error about."""
    return not error.connection_invalidated and code_of(error, connection) in _OF_ROWS


def tell(error: exc.DBAPIError, connection: Connection) -> None:
    """Says what an error that is about no row has come to."""
    if code_of(error, connection) == _DEADLOCK:
        error.add_detail("the server has rolled back the whole transaction")
    errors.locate(error, row=None)


def is_undone(error: exc.DBAPIError, connection: Connection, plan: KeyedPlan) -> bool:
    """Whether what a row's error ended is undone, so that its rows can be sent again."""
    return is_of_rows(error, connection) and Definition.read(connection, plan).transactional


def explain_row(
    error: exc.DBAPIError,
    connection: Connection,
    plan: KeyedPlan,
    part: Slice,
    row: int | None,
) -> None:
    """Says of the error of one row's own statement which columns it is about."""
    if row is None or not is_of_rows(error, connection):
        tell(error, connection)
        return
    _locate(error, connection, plan, part, row, Definition.read(connection, plan))


def in_input(message: str, first_row: int) -> str:
    """A server's message with the row's index in the input instead of the one in its statement."""
    return re.sub(
        r"at row (\d+)\s*$", lambda found: f"at row {first_row + int(found[1]) - 1}", message
    )


def _locate(
    error: exc.DBAPIError,
    connection: Connection,
    plan: InsertPlan | KeyedPlan,
    part: Slice,
    row: int | None,
    table: Definition,
) -> None:
    columns = plan.native.columns
    names = table.columns_of(_message(error), plan.table.name)
    positions = [i for i, column in enumerate(columns) if column.name in names]
    keys = tuple(columns[i].key or columns[i].name for i in positions)
    values = () if row is None else tuple(part.value(row, i) for i in positions)
    errors.locate(
        error,
        row=None if row is None else part.first_row + row,
        column=keys[0] if len(keys) == 1 else keys or None,
        value=values[0] if len(values) == 1 else values or None,
        hide_parameters=connection.engine.hide_parameters,
    )


def _row(
    error: exc.DBAPIError,
    connection: Connection,
    start: int,
    end: int,
    frame: Frame,
    run: Callable[[int, int], Any],
) -> int:
    """The row that the message names, or else the last one of the shortest beginning that fails."""
    code = code_of(error, connection)
    simple(connection, frame.begin)
    try:

        def fails(low: int, high: int) -> bool:
            try:
                run(low, high)
            except exc.DBAPIError as again:
                return code_of(again, connection) == code
            finally:
                for sql in frame.again:
                    simple(connection, sql)
            return False

        named = _named_row(error, start, end)
        # A trigger's own statements have rows, too.
        if named is not None and fails(named, named + 1):
            return named
        good, bad = start, end
        while bad - good > 1:
            middle = (good + bad) // 2
            if fails(start, middle):
                bad = middle
            else:
                good = middle
        return bad - 1
    finally:
        simple(connection, frame.undo)


def _named_row(error: exc.DBAPIError, start: int, end: int) -> int | None:
    found = re.search(r"at row (\d+)\s*$", _message(error))
    row = start + int(found[1]) - 1 if found else end
    return row if start <= row < end else None


def code_of(error: exc.DBAPIError, connection: Connection) -> int | None:
    """The server's number of an error."""
    dialect: Any = connection.dialect
    code: int | None = dialect._extract_error_code(error.orig)
    return code


def _message(error: exc.DBAPIError) -> str:
    orig: Any = error.orig
    return str(getattr(orig, "msg", None) or orig.args[-1])


#: An identifier with or without ANSI_QUOTES.
NAME = r"""(?:`((?:[^`]|``)+)`|"((?:[^"]|"")+)")"""


def _names(sql: str) -> list[str]:
    return [
        quoted.replace("``", "`") or double.replace('""', '"')
        for quoted, double in re.findall(NAME, sql)
    ]


def split_name(sql: str) -> list[str]:
    """The parts of a name as it is written in SQL, with a schema or without."""
    parts = re.finditer(rf"{NAME}|([^.`\"]+)", sql)
    return [(_names(part[0]) or [part[0]])[0] for part in parts]


def shown(connection: Connection, sql_table: str) -> str | None:
    """The table's CREATE TABLE; None where the user may not see it, or of no table."""
    options = {"no_parameters": True}
    sql = f"SHOW CREATE TABLE {sql_table}"
    try:
        return str(connection.exec_driver_sql(sql, execution_options=options).one()[1])
    except exc.DBAPIError as error:
        if error.connection_invalidated:
            raise
        return None


def engine_of(definition: str) -> str | None:
    """The storage engine that a CREATE TABLE names."""
    found = re.search(r"^\).*?\bENGINE=(\w+)", definition, re.M)
    return found and found[1]


class Definition(NamedTuple):
    """What the server says of the table."""

    engine: str
    transactional: bool
    #: The columns of each unique key and check, by its name.
    constraints: dict[str, list[str]]
    #: The columns of each type.
    types: dict[str, list[str]]

    @classmethod
    def read(cls, connection: Connection, plan: InsertPlan | KeyedPlan) -> Definition:
        """Asks the server; a definition that says nothing of a view, or where the user may not."""
        definition = shown(connection, plan.native.sql_table)
        if definition is None:
            return cls("", False, {}, {})
        options = {"no_parameters": True}
        engines = connection.exec_driver_sql("SHOW ENGINES", execution_options=options).mappings()
        engine = engine_of(definition) or ""
        those = {row["Engine"].lower() for row in engines if row["Transactions"] == "YES"}
        return cls(engine, engine.lower() in those, _constraints(definition), _types(definition))

    def columns_of(self, message: str, table: str) -> list[str]:
        """Names of the columns that an error's message is about."""
        if keys := re.findall(r"for key '(.+)'$", message):
            name = keys[-1]
            return self.constraints.get(name) or self.constraints.get(
                name.removeprefix(f"{table}."), []
            )
        if found := re.search(r"FOREIGN KEY \((.+?)\) REFERENCES", message):
            return _names(found[1])
        if found := re.search(r"^Check constraint '(.+)' is violated|^CONSTRAINT `(.+?)` failed",
                              message):  # fmt: skip
            name = found[1] or found[2]
            return self.constraints.get(name) or [name.removeprefix(f"{table}.")]
        if found := re.search(r"data types (\w+) and \w+ for operation", message):
            return self.types.get(found[1], [])
        pattern = r"(?:[Cc]olumn|Field) '([^']*)'|for column (?:`[^`]*`\.)*`([^`]*)`"
        return [one or other for one, other in re.findall(pattern, message)[-1:]]


def _types(shown: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one, other, type_ in re.findall(rf"^\s+{NAME} (\w+)", shown, re.M):
        found.setdefault(type_, []).append(one.replace("``", "`") or other.replace('""', '"'))
    return found


def _constraints(shown: str) -> dict[str, list[str]]:
    found = {"PRIMARY": _names(keys[1])} if (
        keys := re.search(r"^\s+PRIMARY KEY \((.*)\)", shown, re.M)
    ) else {}  # fmt: skip
    for line in re.findall(r"^\s+(?:UNIQUE KEY|CONSTRAINT) (.*)", shown, re.M):
        name, *columns = _names(line) or [""]
        found[name] = columns
    return found
