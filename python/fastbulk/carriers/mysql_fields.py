"""Rows without SQL around them: MariaDB's bulk protocol, and MySQL's LOAD DATA LOCAL from memory.

LOCAL makes a warning of every error in a row, skips the row or bends its values, and goes on. So
where a slice met a warning, or not all of its rows were inserted, it is undone and sent again as
INSERT..VALUES, whose errors and warnings are those that count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import exc

from .. import _native
from . import mysql_errors, statement
from .mysql_errors import Definition, Frame, simple
from .sent import Sent

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .._native import MysqlWriter, Slice, Source
    from ..orm.mapping import InsertPlan

BULK = "bulk INSERT"
LOAD = "LOAD DATA LOCAL"

#: Bytes of a packet of the bulk protocol.
WANTED = 1 << 20

#: Errors that say that the server does not take rows this way: no LOAD DATA LOCAL, no prepared
#: statement.
_NO_WAY = frozenset({1148, 1295, 1461, 2068, 3948})


class Stored(NamedTuple):
    """What the server says of a column (``src/mysql/fields.rs``)."""

    type_name: str
    absent_is_null: bool

    @classmethod
    def of(cls, row: Any) -> Stored:
        """A row of SHOW COLUMNS."""
        extra = row["Extra"].lower()
        # It takes no value, and LOAD DATA does not say so of NULL.
        generated = re.search("virtual|stored|persistent", extra)
        found = re.match(r"\w*", row["Type"].lower())
        nullable = row["Null"] == "YES" and row["Default"] is None and "default" not in extra
        return cls(
            "generated" if generated or found is None else found[0],
            nullable or "auto_increment" in extra,
        )


@dataclass(frozen=True)
class Fields:
    """How the rows of a call are sent without SQL around them."""

    connection: Connection
    plan: InsertPlan
    writer: MysqlWriter
    form: str
    #: The plan's columns.
    stored: list[Stored]
    #: Columns that the server's INSERT asks for, and its LOAD DATA does not.
    required: list[int]
    packet: int

    @classmethod
    def of(
        cls, connection: Connection, plan: InsertPlan, writer: MysqlWriter, limit: int
    ) -> Fields | str:
        """The fastest form that this server has for this table, or why there is none."""
        dialect: Any = connection.dialect
        form = BULK if dialect.is_mariadb else LOAD
        if form == LOAD and (reason := _why_no_load(connection, plan)):
            return reason
        shown = _ask(connection, f"SHOW COLUMNS FROM {plan.native.sql_table}")
        columns = {row["Field"].lower(): Stored.of(row) for row in shown}
        names = [column.name.lower() for column in plan.native.columns]
        stored = [columns.get(name, Stored("unknown", False)) for name in names]
        needed = [row["Field"].lower() for row in shown if _is_required(row)]
        if form == LOAD and (missing := [name for name in needed if name not in names]):
            return f"{missing[0]} has no default"
        required = [names.index(name) for name in needed] if form == LOAD else []
        return cls(connection, plan, writer, form, stored, required, min(WANTED, limit))

    def send(self, part: Slice, source: Source) -> Sent | str:
        """Sends a slice; or undoes that, and says why it is to be sent as INSERT..VALUES.

        The next rows of the source are read meanwhile, where that runs no code of a user's.
        """
        for position in self.required:
            if not part.gives(position):
                return f"{self.plan.native.columns[position].name} has no default"
        frame = Frame.savepoint()
        simple(self.connection, frame.begin)
        outcome = self._try(part, source)
        simple(self.connection, frame.undo if isinstance(outcome, str) else frame.end)
        return outcome

    def _try(self, part: Slice, source: Source) -> Sent | str:
        try:
            refused, taken, warned = self._run(part, source)
        except exc.DBAPIError as error:
            code = mysql_errors.code_of(error, self.connection)
            if code in _NO_WAY:
                return f"the server refused it: {error.orig}"
            if not mysql_errors.is_of_rows(error, self.connection):
                mysql_errors.tell(error, self.connection)
                raise
            return f"a row was refused: {error.orig}"
        if refused is not None:
            return refused
        if warned or taken != len(part):
            return f"{warned} warnings, {taken} of {len(part)} rows taken"
        return Sent(taken, [], None)

    def _run(self, part: Slice, source: Source) -> tuple[str | None, int, int]:
        shown = f"INSERT INTO {self.plan.native.sql_table} /* {self.form}, {len(part)} rows */"

        # Of a load over several connections the rows are read on another thread anyhow.
        ahead = source if isinstance(source, _native.Source) else None

        def work(cursor: Any) -> tuple[str | None, int, int]:
            if self.form == LOAD:
                refused = cursor.load(self.writer, part, self.stored, ahead)
            else:
                refused = cursor.bulk(self.writer, part, self.stored, self.packet, ahead)
            return refused, cursor.rowcount, cursor.warning_count

        return statement.run(self.connection, shown, work)


def _why_no_load(connection: Connection, plan: InsertPlan) -> str | None:
    driver: Any = connection.connection.driver_connection
    if not driver.loads_local:
        return "the connection's arguments forbid LOCAL INFILE"
    names = "('local_infile', 'wsrep_on')"
    variables = {
        row["Variable_name"]: row["Value"]
        for row in _ask(connection, f"SHOW VARIABLES WHERE Variable_name IN {names}")
    }
    if variables.get("local_infile") != "ON":
        return "the server's local_infile is off"
    if variables.get("wsrep_on") == "ON":
        return "a Galera cluster may commit in the middle of LOAD DATA"
    if not Definition.read(connection, plan).transactional:
        return "the table has no transactions"
    return None


def _is_required(row: Any) -> bool:
    return row["Null"] == "NO" and row["Default"] is None and not row["Extra"]


def _ask(connection: Connection, sql: str) -> Any:
    found = connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
    return found.mappings().all()
