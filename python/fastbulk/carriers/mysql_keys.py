"""Returned rows of a server without INSERT..RETURNING: found again by their keys.

Generated keys are known only where the server's two accounts of them agree and as many rows as
were sent stand where they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc, types

from . import mysql_kill, statement
from .mysql_errors import split_name
from .sent import Answer, Keyed, Sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from .._native import MysqlWriter, Slice
    from ..orm.keyed import KeyedPlan
    from ..orm.mapping import InsertPlan
    from .mysql import Work, Written

#: Keys travel as texts in a derived table, in which they have no type of their own.
_CASTS = {types.Date: "DATE", types.DateTime: "DATETIME(6)", types.Time: "TIME(6)"}


@dataclass(frozen=True)
class Keys:
    """How the rows of a call are found again."""

    connection: Connection
    plan: InsertPlan | KeyedPlan
    writer: MysqlWriter

    def send_all(self, work: Work, part: Slice) -> Iterator[Sent | Keyed]:
        """Sends a slice; yields, of each statement, the rows in the order of the input.

        Raises
        ------
        sqlalchemy.exc.InvalidRequestError
            The rows can't be told from others.
        """
        start = 0
        while start < len(part):
            end, generated = self._run(part, start)
            if generated:
                self.prepare()
            while start < end:
                written = work.write(part, start, end)
                reply = work.execute(part, written, in_frame=True)
                if generated:
                    count = written.end - written.start
                    yield self.by_range(reply.answer.rowcount, reply.last_key, count)
                else:
                    yield self._by_key(reply.answer.rowcount, part, written)
                start = written.end

    def _run(self, part: Slice, start: int) -> tuple[int, bool]:
        """The end of the rows that give their keys, or of those that don't; and which they are."""
        table, end = self.plan.table, len(part)
        for column in table.primary_key.columns:
            stop, given = self.writer.run(part, self._positions[column.name], start)
            end = min(end, stop)
            if not given:
                if column is not table.autoincrement_column:
                    raise exc.InvalidRequestError(
                        f"returning= on {self.connection.dialect.name} needs to know the rows' "
                        f"keys, and the server makes those of {column.name!r} from row "
                        f"{part.first_row + start} on: give them, or a Python default"
                    )
                generated = self.writer.run(part, self._positions[column.name], start)[0]
                return min(end, generated), True
        return end, False

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {column.name: i for i, column in enumerate(self.plan.native.columns)}

    # Keys that the server made

    def prepare(self) -> None:
        """Comes before the first statement, whose key it would forget."""
        self._step  # noqa: B018

    @cached_property
    def _step(self) -> int:
        """How far generated keys are from each other.

        From now on LAST_INSERT_ID() is 0 until the server generates a key.
        """
        name = _literal(f"new.{self._key.name}".replace(" ", "").lower())
        # The statement's own name has the schema that the connection's options say.
        schema, table = place_of(self.plan.native.sql_table)
        _, step, trigger = self._ask(
            "SELECT LAST_INSERT_ID(0), @@auto_increment_increment, (SELECT MIN(TRIGGER_NAME) "
            f"FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {schema} "
            f"AND EVENT_OBJECT_TABLE = {table} AND EVENT_MANIPULATION = 'INSERT' "
            "AND ACTION_TIMING = 'BEFORE' AND LOCATE("
            f"{name}, LOWER(REPLACE(REPLACE(ACTION_STATEMENT, '`', ''), ' ', ''))) > 0)"
        ).rows[0]
        if trigger is not None:
            raise self._unknown(f"the trigger {trigger} may set them")
        return int(step)

    @property
    def _key(self) -> Any:
        key = self.plan.table.autoincrement_column
        assert key is not None
        return key

    def by_range(self, rowcount: int, first: int | None, count: int) -> Sent | Keyed:
        """So many rows with the keys that the server generated for the last statement."""
        step = self._step
        last = (first or 0) + (count - 1) * step
        native = self.plan.native
        key = native.columns[self._positions[self._key.name]].sql_name
        table, where = native.sql_table, f"{key} BETWEEN {first or 0} AND {last}"
        if step > 1:
            where += f" AND ({key} - {first or 0}) % {step} = 0"
        if self._only_keys:
            found = self._ask(f"SELECT LAST_INSERT_ID(), COUNT({key}) FROM {table} WHERE {where}")
            generated, rows = found.rows[0]
            self._check(generated, first, rows, count)
            assert first is not None
            return Keyed(rowcount, [range(first, last + 1, step)])
        found = self._ask(
            f"SELECT {self._columns}, LAST_INSERT_ID() FROM {table} WHERE {where} ORDER BY {key}"
        )
        generated = found.rows[0][-1] if found.rows else None
        self._check(generated, first, len(found.rows), count)
        return Sent(rowcount, [row[:-1] for row in found.rows], found.type_codes)

    def _check(self, generated: int | None, first: int | None, rows: int, count: int) -> None:
        if not first or generated != first or rows != count:
            raise self._unknown("a trigger may set them, or another client takes the same ones")

    @cached_property
    def _only_keys(self) -> bool:
        returning, key = self.plan.returning, self.plan.table.autoincrement_column
        assert returning is not None
        return (
            len(returning.types) == 1
            and returning.columns.get(key) == 0
            and returning.types[0]._type_affinity is types.Integer
            and not returning.types[0]._has_column_expression
        )

    # Keys that the rows give

    def _by_key(self, rowcount: int, part: Slice, written: Written) -> Sent:
        """The rows with the keys that they were given."""
        keys = [self._positions[column.name] for column in self.plan.table.primary_key.columns]
        rows = self.writer.keys(part, written.start, written.end, keys).decode()
        names = "".join(f", k{position}" for position in keys)
        on = " AND ".join(self._same_key)
        found = self._ask(
            f"SELECT {self._columns} FROM (VALUES {rows}) AS fastbulk_given (n{names}) "
            f"STRAIGHT_JOIN {self.plan.native.sql_table} ON {on} ORDER BY fastbulk_given.n"
        )
        if len(found.rows) != written.end - written.start:
            raise exc.InvalidRequestError(
                f"{written.end - written.start} rows were sent and {len(found.rows)} are found by "
                "their keys; a trigger may have changed some, so the rows can't be matched"
            )
        return Sent(rowcount, found.rows, found.type_codes)

    @cached_property
    def _same_key(self) -> list[str]:
        """The conditions of the join, each in the column's own collation."""
        native = self.plan.native
        key = list(self.plan.table.primary_key.columns)
        names = [
            f"{native.sql_table}.{native.columns[self._positions[c.name]].sql_name}" for c in key
        ]
        asked = ", ".join(f"CHARSET({name}), COLLATION({name})" for name in names)
        charsets = self._ask(f"SELECT {asked} FROM {native.sql_table} LIMIT 1").rows[0]
        conditions = []
        for column, name, charset, collation in zip(
            key, names, charsets[::2], charsets[1::2], strict=True
        ):
            value = f"fastbulk_given.k{self._positions[column.name]}"
            if cast := _CASTS.get(column.type._type_affinity or types.NullType):
                value = f"CAST({value} AS {cast})"
            elif charset != "binary":
                value = f"CONVERT({value} USING {charset}) COLLATE {collation}"
            conditions.append(f"{name} = {value}")
        return conditions

    @cached_property
    def _columns(self) -> str:
        assert self.plan.returning is not None
        return ", ".join(self.plan.returning.sql)

    def _ask(self, sql: str) -> Answer:
        def work(cursor: Any) -> Answer:
            cursor.execute(sql.encode())
            return Answer.of(cursor)

        shown = f"SELECT /* rows of {self.plan.native.sql_table} */"
        return statement.run(self.connection, shown, work, mysql_kill.kill)

    def _unknown(self, why: str) -> exc.InvalidRequestError:
        return exc.InvalidRequestError(
            f"the generated keys of {self.plan.native.sql_table} can't be known: {why}; "
            "give them, or insert without returning="
        )


def place_of(sql_table: str) -> tuple[str, str]:
    """A table's schema and name as SQL that gives them as texts."""
    *schemas, table = map(_literal, split_name(sql_table))
    return schemas[0] if schemas else "DATABASE()", table


def _literal(text: str) -> str:
    """A text as SQL that every sql_mode reads alike."""
    return f"_utf8mb4 x'{text.encode().hex()}'" if text else "''"
