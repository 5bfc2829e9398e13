"""What the carriers of PostgreSQL's drivers share: catalog, statements, transaction, errors.

A driver's own file gives a ``Driver``: how its cursor takes COPY data and text, and nothing else.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import exc

from .. import _native, errors
from . import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy.engine import Connection

    from .._native import Slice, Source
    from ..orm.mapping import InsertPlan

#: A call of at most so many rows is one INSERT..VALUES, with no question to the catalog.
SMALL = 50


class Driver(Protocol):
    """What differs from driver to driver."""

    def copy(self, cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
        """Sends COPY data; gives the number of rows."""

    def fetch_last(self, cursor: Any, sql: str) -> list[tuple[Any, ...]]:
        """Executes several statements without parameters; gives the rows of the last one."""

    def in_transaction(self, connection: Any) -> bool:
        """Whether the driver's connection stands in a transaction, or opens one by itself."""


class Sent(NamedTuple):
    """What a statement did."""

    rowcount: int
    returned: list[tuple[Any, ...]]

    def rows(self, processors: Sequence[Callable[[Any], Any] | None]) -> list[tuple[Any, ...]]:
        """The returned rows, in the order of the input, through the result processors."""
        width = len(processors)
        if not any(processors):
            return [tuple(row[:width]) for row in self.returned]
        return [
            tuple(value if p is None else p(value) for p, value in zip(processors, row))
            for row in self.returned
        ]


@dataclass(frozen=True)
class Catalog:
    """What the database says of the table."""

    writer: _native.PostgresWriter
    #: Why COPY may not be used, if so.
    no_copy: str | None


def insert(
    connection: Connection, plan: InsertPlan, source: Source, driver: Driver, notes: dict[str, str]
) -> Iterator[Sent]:
    """Sends all rows; yields the outcome of each statement.

    Parameters
    ----------
    notes
        Filled with the statement that was used, and with why COPY was not.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent.
    sqlalchemy.exc.DBAPIError
        The database refused a row, with ``.row``, ``.column`` and ``.value``.
    sqlalchemy.exc.InvalidRequestError
        Fewer rows came back than were sent.
    """
    part = source.next_slice()
    if part is None:
        return
    if source.exhausted and len(part) <= SMALL:
        notes["statement"] = "INSERT..VALUES"
        notes.setdefault("COPY", f"a call of at most {SMALL} rows is one statement")
        yield _insert_values(connection, plan, part)
        return
    with all_or_nothing(connection, driver):
        catalog = read_catalog(connection, plan, driver)
        while part is not None:
            columns = _copy_columns(catalog, plan, part, notes)
            if columns:
                notes["statement"] = "COPY"
                yield _copy(connection, plan, catalog, driver, part, columns)
            else:
                notes["statement"] = "INSERT..SELECT FROM unnest"
                yield _insert_unnest(connection, plan, catalog, part)
            part = source.next_slice()


def _copy_columns(
    catalog: Catalog, plan: InsertPlan, part: Slice, notes: dict[str, str]
) -> list[int]:
    if plan.returning is not None:
        notes["COPY"] = "COPY returns no rows"
        return []
    if catalog.no_copy is not None:
        notes["COPY"] = catalog.no_copy
        return []
    columns, refused = catalog.writer.copy_columns(part)
    if refused is not None:
        column = plan.native.columns[refused]
        notes["COPY"] = f"column {column.key or column.name!r} can't be sent as binary data"
    return columns


def _insert_values(connection: Connection, plan: InsertPlan, part: Slice) -> Sent:
    sql = _native.postgres_values(plan.native, part)
    shown = _shown(plan, part, "VALUES")
    try:
        sent = statement.run(connection, shown, lambda cursor: _execute(cursor, sql, plan))
    except exc.DBAPIError as error:
        _locate(error, connection, plan, part, None)
        raise
    return _checked(sent, part, plan)


def _insert_unnest(connection: Connection, plan: InsertPlan, catalog: Catalog, part: Slice) -> Sent:
    def run(start: int, end: int) -> Sent:
        sql = catalog.writer.insert(part, start, end)
        return statement.run(connection, shown, lambda cursor: _execute(cursor, sql, plan))

    shown = _shown(plan, part, "SELECT FROM unnest")
    _simple(connection, "SAVEPOINT fastbulk_slice")
    try:
        sent = _checked(run(0, len(part)), part, plan)
    except exc.DBAPIError as error:
        row = None if error.connection_invalidated else _bisect(connection, run, len(part))
        _locate(error, connection, plan, part, row)
        raise
    _simple(connection, "RELEASE fastbulk_slice")
    return sent


def _bisect(connection: Connection, run: Callable[[int, int], Sent], rows: int) -> int | None:
    """The row with which the shortest failing beginning of the slice ends."""
    good, bad = 0, rows
    while bad - good > 1:
        middle = (good + bad) // 2
        _simple(connection, "ROLLBACK TO fastbulk_slice")
        try:
            run(0, middle)
        except exc.DBAPIError:
            bad = middle
        else:
            good = middle
    return bad - 1


def _copy(
    connection: Connection,
    plan: InsertPlan,
    catalog: Catalog,
    driver: Driver,
    part: Slice,
    columns: list[int],
) -> Sent:
    sql = catalog.writer.copy_sql(columns)
    pieces = catalog.writer.copy(part, columns, first=True, last=True)
    try:
        count = statement.run(connection, sql, lambda cursor: driver.copy(cursor, sql, pieces))
    except exc.DBAPIError as error:
        line = re.search(r"^COPY .*, line (\d+)", _diagnostics(error).context or "", re.M)
        _locate(error, connection, plan, part, int(line[1]) - 1 if line else None)
        raise
    return Sent(count, [])


def _execute(cursor: Any, sql: str, plan: InsertPlan) -> Sent:
    cursor.execute(sql)
    returned = cursor.fetchall() if plan.returning is not None else []
    return Sent(cursor.rowcount, returned)


def _checked(sent: Sent, part: Slice, plan: InsertPlan) -> Sent:
    if plan.returning is not None and len(sent.returned) != len(part):
        raise exc.InvalidRequestError(
            "INSERT..RETURNING gave back another number of rows than were sent: "
            f"{len(part)} rows were sent and {len(sent.returned)} came back; "
            "a trigger may have dropped some, so the rows can't be matched"
        )
    return sent


def _shown(plan: InsertPlan, part: Slice, form: str) -> str:
    return f"INSERT INTO {plan.native.sql_table} /* {form}, {len(part)} rows */"


# The transaction


@contextmanager
def all_or_nothing(connection: Connection, driver: Driver) -> Iterator[None]:
    """Undoes what was sent inside if an error ends it; the transaction stays the caller's."""
    if driver.in_transaction(connection.connection.driver_connection):
        begin, end = "SAVEPOINT fastbulk", "RELEASE fastbulk"
        undo = "ROLLBACK TO fastbulk; RELEASE fastbulk"
    else:
        begin, end, undo = "BEGIN", "COMMIT", "ROLLBACK"
    _simple(connection, begin)
    try:
        yield
        _simple(connection, end)
    except BaseException:
        if not connection.invalidated and not connection.closed:
            _undo(connection, undo)
        raise


def _undo(connection: Connection, sql: str) -> None:
    try:
        _simple(connection, sql)
    except exc.DBAPIError:
        # The transaction is gone, and the savepoint with it: what failed first is reported.
        return


def _simple(connection: Connection, sql: str) -> None:
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True}).close()


# The catalog

_CATALOG = """\
LOCK TABLE {table} IN ROW EXCLUSIVE MODE;
SELECT a.attname,
  CASE WHEN b.typtype = 'e' THEN 'enum'
       WHEN b.typtype = 'b' AND (b.typnamespace = 'pg_catalog'::regnamespace
                                 OR b.typname = 'citext') THEN b.typname END,
  format('%I.%I', n.nspname, t.typname),
  CASE WHEN a.attidentity <> '' THEN format('nextval(%L)', pg_get_serial_sequence({literal}, a.attname))
       WHEN a.attgenerated = '' THEN coalesce(pg_get_expr(d.adbin, d.adrelid), t.typdefault) END,
  a.attidentity = 'a' OR a.attgenerated <> '',
  (SELECT m.typname FROM pg_type m WHERE m.oid = to_regtype(mapped.type)),
  CASE WHEN c.relkind NOT IN ('r', 'p') THEN 'it is no table'
       WHEN row_security_active(c.oid) THEN 'its row-level security is active'
       WHEN c.relhasrules THEN 'it has rules' END
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_namespace n ON n.oid = t.typnamespace
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN (VALUES {mapped}) AS mapped(name, type) ON mapped.name = a.attname
WHERE c.oid = {literal}::regclass"""

#: Types whose binary forms and values are the same.
_TEXTS = frozenset({"text", "varchar", "bpchar"})


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
        f"({_literal(column.name)}, {_literal(cast or None)})"
        for column, cast in zip(native.columns, casts)
    )
    sql = _CATALOG.format(table=native.sql_table, literal=_literal(native.sql_table), mapped=mapped)
    rows = statement.run(
        connection,
        f"SELECT /* catalog of {native.sql_table} */",
        lambda cursor: driver.fetch_last(cursor, sql),
    )
    found = {row[0]: row for row in rows}
    targets = []
    for column, cast in zip(native.columns, casts):
        row = found.get(column.name)
        targets.append((None, None, None) if row is None else _target(row, cast))
    no_copy = next((row[6] for row in rows if row[6]), None)
    return Catalog(
        _native.PostgresWriter(native, targets),
        f"COPY can't fill {native.sql_table}: {no_copy}" if no_copy else None,
    )


def _target(row: Sequence[Any], cast: str | None) -> tuple[str | None, str | None, str | None]:
    _, binary, own_type, default, always, mapped, _ = row
    same = cast == "" or binary == mapped or {binary, mapped} <= _TEXTS
    exact = binary if binary == "enum" else (binary if same else None)
    # An expression around the value runs in the database.
    if cast is None or always:
        exact = None
    return exact, None if cast else own_type, default


def _own_cast(column: _native.Column) -> str | None:
    """The type to which the mapped type casts its parameter, "" for none; None for an expression
    that is more than a cast.
    """
    match = re.fullmatch(r"\?(?:::(.+))?", column.value_sql("?"), re.S)
    return (match[1] or "") if match else None


def _literal(text: str | None) -> str:
    if text is None:
        return "NULL"
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


# Errors


class _Diagnostics(NamedTuple):
    context: str | None
    detail: str | None
    column: str | None
    constraint: str | None


def _diagnostics(error: exc.DBAPIError) -> _Diagnostics:
    diag = getattr(error.orig, "diag", None)
    return _Diagnostics(
        getattr(diag, "context", None),
        getattr(diag, "message_detail", None),
        getattr(diag, "column_name", None),
        getattr(diag, "constraint_name", None),
    )


def _locate(
    error: exc.DBAPIError,
    connection: Connection,
    plan: InsertPlan,
    part: Slice,
    row: int | None,
) -> None:
    """Says of the driver's error which row and column it is about."""
    if row is None and len(part) == 1:
        row = 0
    names = _columns_named(_diagnostics(error), plan)
    columns = plan.native.columns
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


def _columns_named(diagnostics: _Diagnostics, plan: InsertPlan) -> set[str]:
    if diagnostics.column:
        return {diagnostics.column}
    # COPY t, line 3, column name: "..."
    if column := re.search(
        r"^COPY .*, line \d+, column ([^:\n]+)", diagnostics.context or "", re.M
    ):
        return {column[1].strip('"')}
    if key := re.match(r"Key \((.+?)\)=", diagnostics.detail or ""):
        return {name.strip('"') for name in key[1].split(", ")}
    for constraint in plan.table.constraints:
        if diagnostics.constraint and constraint.name == diagnostics.constraint:
            return {column.name for column in constraint.columns}
    return set()
