"""One way through rows that MySQL or MariaDB finds by their keys."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import exc

from .. import _native
from . import mysql, mysql_errors, mysql_keys
from .mysql_catalog import AS_IT_IS, Catalog
from .sent import Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.engine import Connection

    from .._native import MysqlKeyed, Plan, Slice
    from ..orm.keyed import KeyedPlan
    from .mysql import Driver, Reply
    from .mysql_catalog import Template

#: Rows that are looked for, updated and inserted before the next ones are.
TOGETHER = 2000

#: By the position of the column.
Templates: TypeAlias = "tuple[tuple[Template, Template] | None, ...]"

#: Statements about rows that are there.
What: TypeAlias = Literal["look", "peek", "update", "update all", "delete", "back"]


class SeveralStatementsError(Exception):
    """Rows that were to be one statement need more."""


@dataclass
class Outcome:
    """What became of the rows of a call; rows are numbers in the slice."""

    rowcount: int = 0
    missing: list[int] = field(default_factory=list)
    unmatched: list[int] = field(default_factory=list)
    idle: list[int] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    returned: Sent = field(default_factory=lambda: Sent(0, (), None))

    @property
    def type_codes(self) -> tuple[Any, ...] | None:
        """The types of the returned columns, as the driver tells them."""
        return self.returned.type_codes

    def rows(self, processors: Sequence[Callable[[Any], Any] | None]) -> list[tuple[Any, ...]]:
        """The returned rows, in the order of the input, through the result processors."""
        return self.returned.rows(processors)

    def scalars(self, processor: Callable[[Any], Any] | None) -> list[Any]:
        """The values of the first returned column."""
        return self.returned.scalars(processor)


class Found(NamedTuple):
    """A row that is there."""

    matches: bool
    would_change: bool


class Ordered(NamedTuple):
    """Rows in the order of their keys; those of one key stay in their order."""

    rows: list[int]
    #: Numbers that rows of one key share; None if no two are of one.
    ranks: list[int] | None

    def ranked(self) -> Iterator[tuple[int, int]]:
        """The rows with their numbers."""
        ranks = range(len(self.rows)) if self.ranks is None else self.ranks
        return zip(self.rows, ranks, strict=True)


@dataclass(frozen=True)
class Work:
    """What a call needs for its statements."""

    connection: Connection
    plan: KeyedPlan
    part: Slice
    driver: Driver
    #: What is told of the way that the rows went.
    notes: dict[str, str]
    #: All rows have to be one statement, or nothing is done.
    at_once: bool = False

    @cached_property
    def catalog(self) -> Catalog:
        """What the server says of the table, or has said.

        It is believed of an integer primary key that it still is one, in a statement that does not
        depend on the rest.
        """
        name = self.plan.native.sql_table
        if self.at_once:
            return Catalog.known(self.connection, name, self.key)
        return Catalog.read(self.connection, name)

    @property
    def undoes(self) -> bool:
        """Whether a statement that is refused leaves nothing behind."""
        return self.catalog.engine == "InnoDB"

    @cached_property
    def has_trigger(self) -> bool:
        """Whether something would happen if a row were updated to what it is."""
        schema, table = mysql_keys.place_of(self.plan.native.sql_table)
        sql = (
            "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE EVENT_MANIPULATION = 'UPDATE' "
            f"AND EVENT_OBJECT_SCHEMA = {schema} AND EVENT_OBJECT_TABLE = {table}"
        )
        reply = mysql.execute(self.connection, sql.encode(), sql, quiet=True)
        return bool(reply.answer.rows[0][0])

    @property
    def is_versioned(self) -> bool:
        """Whether rows expect a version."""
        return bool(_names(self.plan.native, "match"))

    @cached_property
    def limit(self) -> int:
        """Bytes that a statement may have."""
        return mysql.max_statement(self.connection)

    @cached_property
    def is_mariadb(self) -> bool:
        """Whether the server is MariaDB."""
        dialect: Any = self.connection.dialect
        return bool(dialect.is_mariadb)

    @property
    def key(self) -> frozenset[str]:
        """The columns that find a row."""
        return _names(self.plan.native, "key")

    @cached_property
    def templates(self) -> Templates:
        """What the columns make of joined values; None where they may not be joined."""
        native = self.plan.native
        literals = tuple(_native.MysqlKeyed.literals(native, self.part))
        given = tuple(map(self.part.gives, range(len(literals))))
        return _templates(native, self.catalog, literals, given)

    @cached_property
    def joins(self) -> bool:
        """Whether rows can travel as a table of VALUES."""
        return None not in self.templates

    @cached_property
    def compares(self) -> bool:
        """Whether their keys can."""
        columns = zip(self.templates, self.plan.native.columns, strict=True)
        return all(template is not None for template, column in columns if column.role == "key")

    @cached_property
    def has_integers(self) -> bool:
        """Whether keys are compared as integers."""
        return self.catalog.has_integers(self.key)

    @cached_property
    def generated(self) -> str | None:
        """The column of which the server makes values."""
        column = self.plan.table.autoincrement_column
        return None if column is None else column.name

    @cached_property
    def probes(self) -> bool:
        """Whether rows that are there must not be inserted: that could use up generated keys."""
        gives_all = self.generated is not None and self.generated in self.key
        return self.plan.probe_first and not gives_all

    @cached_property
    def locks_only_rows(self) -> bool:
        """Whether a search for rows that are there locks no gap between rows."""
        if self.catalog.index(self.key) == "PRIMARY":
            return True
        level = self.connection.get_isolation_level()
        return self.undoes and level in {"READ COMMITTED", "READ UNCOMMITTED"}

    def writer(self, *, alone: bool) -> MysqlKeyed:
        """What writes the statements of rows that travel alone, or together."""
        if alone and not self.plan.native.only_changed:
            return self.plain_writer
        index = self.catalog.index(self.key)
        return self._writer(tuple(template or AS_IT_IS for template in self.templates), index)

    @cached_property
    def plain_writer(self) -> MysqlKeyed:
        """What writes statements that join nothing."""
        return self._writer((AS_IT_IS,) * len(self.plan.native.columns), None)

    def _writer(
        self, templates: tuple[tuple[Template, Template], ...], index: str | None
    ) -> MysqlKeyed:
        row_word = "" if self.is_mariadb else "ROW"
        if index is not None:
            index = self.connection.dialect.identifier_preparer.quote_identifier(index)
        plan, driver = self.plan.native, self.driver
        return _writer(
            plan, templates, row_word, index, self.generated, driver.avoid, driver.plain_floats
        )

    def check_key(self) -> None:
        """Refuses an upsert by columns that are no unique key."""
        if self.plan.native.key_where is not None:
            raise exc.InvalidRequestError(
                f"key_where= is of partial indexes, which {self.connection.dialect.name} has not"
            )
        if self.catalog.index(self.key) is None:
            raise exc.InvalidRequestError(
                f"no primary key or unique constraint of {self.plan.table.name} "
                "is on the key of this upsert"
            )


@lru_cache(maxsize=200)
def _names(plan: Plan, role: str) -> frozenset[str]:
    """The names of the columns that stand for something."""
    return frozenset(column.name for column in plan.columns if column.role == role)


@lru_cache(maxsize=200)
def _templates(
    plan: Plan, catalog: Catalog, literals: tuple[str | None, ...], given: tuple[bool, ...]
) -> Templates:
    found: list[tuple[Template, Template] | None] = []
    for column, literal, is_given in zip(plan.columns, literals, given, strict=True):
        type_ = catalog.columns.get(column.name.lower())
        if column.role == "default" or not is_given:
            found.append(AS_IT_IS)
        else:
            found.append(None if type_ is None else type_.templates(literal))
    return tuple(found)


@lru_cache(maxsize=200)
def _writer(
    plan: Plan,
    templates: tuple[tuple[Template, Template], ...],
    row_word: str,
    index: str | None,
    generated: str | None,
    avoid: str | None,
    plain_floats: bool,
) -> MysqlKeyed:
    return _native.MysqlKeyed(
        plan,
        typed=[typed for typed, _ in templates],
        differs=[differs for _, differs in templates],
        row_word=row_word,
        index=index,
        generated=generated,
        avoid=avoid,
        plain_floats=plain_floats,
    )


@dataclass(frozen=True)
class Pass:
    """One way through the rows: together or each alone, in the order of their keys or their own."""

    work: Work
    alone: bool
    in_order: bool = True

    @property
    def plan(self) -> KeyedPlan:
        """The plan of the call."""
        return self.work.plan

    @cached_property
    def writer(self) -> MysqlKeyed:
        """What writes the statements."""
        return self.work.writer(alone=self.alone)

    # Rows

    def ordered(self, rows: list[int]) -> Ordered:
        """Rows in the order of their keys."""
        if self.work.has_integers:
            order = self.work.plain_writer.order(self.work.part, rows)
            if order is not None:
                return Ordered(*order)
        if not self.work.compares:
            raise exc.InvalidRequestError(
                "a key is expected to have values of its column's type, "
                "else rows of one key can't be told"
            )
        sql, count = self.writer.ranks(self.work.part, rows, self.work.limit)
        if count < len(rows):
            raise exc.InvalidRequestError(
                f"the keys of the {len(rows)} rows are more than one statement holds "
                f"(max_allowed_packet is {self.work.limit}): send them in several calls"
            )
        answer = self.execute(sql, f"SELECT /* order of {len(rows)} keys */").answer
        ranks = [rank for _, rank in answer.rows]
        is_distinct = len(set(ranks)) == len(ranks)
        return Ordered([row for row, _ in answer.rows], None if is_distinct else ranks)

    def sorted(self, rows: list[int]) -> list[int]:
        """The rows in the order of their keys, as far as that can be told, if it is wanted."""
        if not self.in_order or len(rows) < 2:
            return rows
        # Integers that the column holds for something else are only sorted otherwise.
        order = self.work.plain_writer.order(self.work.part, rows)
        if order is None and self.work.compares:
            order = Pass(self.work, alone=False).ordered(rows)
        return rows if order is None else order[0]

    def chunks(self, rows: list[int]) -> Iterator[list[int]]:
        """The rows, as many together as one has patience for."""
        step = 1 if self.alone else TOGETHER
        for start in range(0, len(rows), step):
            yield rows[start : start + step]

    def waves(self, rows: list[int]) -> list[list[int]]:
        """The rows so that no wave has two of one key, and later rows of a key come later."""
        if self.alone:
            return [self.sorted(rows)]
        order = self.ordered(rows)
        if order.ranks is None:
            return [order.rows] if rows else []
        waves: list[list[int]] = []
        wave, last = 0, None
        for row, rank in order.ranked():
            wave = wave + 1 if rank == last else 0
            last = rank
            if wave == len(waves):
                waves.append([])
            waves[wave].append(row)
        return waves

    # Verbs

    def update(self, rows: list[int]) -> Outcome:
        """Updates the rows; those of one key one after the other."""
        outcome = Outcome()
        native = self.plan.native
        looks = native.has_condition or self.work.is_versioned
        for wave in self.waves(rows):
            for chunk in self.chunks(wave):
                self._update(chunk, outcome, looks=looks and not self.alone)
        outcome.rowcount = len(rows) - sum(
            map(len, (outcome.missing, outcome.unmatched, outcome.idle))
        )
        for numbers in (outcome.missing, outcome.unmatched, outcome.idle):
            numbers.sort()
        if self.plan.returning is not None and not outcome.missing:
            unmatched = set(outcome.unmatched)
            back = [row for row in rows if row not in unmatched]
            outcome.returned, found = self.back(back)
            outcome.missing = [row for row in back if row not in found]
        return outcome

    def _update(self, rows: list[int], outcome: Outcome, *, looks: bool) -> None:
        shapes = self.writer.shapes(self.work.part, rows)
        active = [row for sets, some in shapes if sets for row in some]
        outcome.idle += [row for sets, some in shapes if not sets for row in some]
        looks = looks or (len(shapes) > 1 and not self.alone)
        if looks:
            # In one order, whatever they set.
            sets = set(active)
            active = self._there([row for row in rows if row in sets], outcome)
        there = set(active)
        for _, some in shapes:
            for sent, count in self.send("update", [row for row in some if row in there]):
                # Without CLIENT_FOUND_ROWS a row that stays the same is not counted.
                if count < len(sent) and not looks:
                    self._there(sent, outcome)

    def _there(self, rows: list[int], outcome: Outcome) -> list[int]:
        """Those of the rows that are there and as the call wants them."""
        found = self.look(rows)
        outcome.missing += [row for row in rows if row not in found]
        outcome.unmatched += [row for row in rows if row in found and not found[row].matches]
        return [row for row in rows if row in found and found[row].matches]

    def update_at_once(self, rows: list[int]) -> Outcome:
        """Updates the rows by one statement, which is refused if one of them is not there."""
        if not (self.work.joins and self.work.has_integers and self.work.undoes):
            raise SeveralStatementsError
        waves = self.waves(rows)
        shapes = self.writer.shapes(self.work.part, rows)
        if len(waves) > 1 or len(shapes) > 1 or not shapes[0][0]:
            raise SeveralStatementsError
        part, limit = self.work.part, self.work.limit
        write = partial(self.writer.write, "update all", part, waves[0])
        sql, count = self.written(partial(write, wanted=mysql.WANTED, limit=limit))
        if count < len(rows):
            raise SeveralStatementsError
        self.work.notes["statement"] = "UPDATE..JOIN VALUES"
        self.execute(sql, self.plan.sql, rows)
        return Outcome(len(rows))

    def delete(self, rows: list[int]) -> Outcome:
        """Deletes the rows; of several with one key the first."""
        outcome = Outcome()
        returned: list[Sent] = []
        first, *later = self.waves(rows) or [[]]
        for chunk in self.chunks(first):
            looks = not self.alone or self.plan.returning is not None
            there = self._there(chunk, outcome) if looks else chunk
            if self.plan.returning is not None:
                returned.append(self.back(there)[0])
            for sent, count in self.send("delete", there):
                outcome.rowcount += count
                if count < len(sent) and not looks:
                    self._there(sent, outcome)
        self._repeated([row for wave in later for row in wave], rows, outcome)
        outcome.missing.sort()
        outcome.unmatched.sort()
        if returned:
            outcome.returned = Sent.joined(returned).sorted()
        return outcome

    def _repeated(self, later: list[int], rows: list[int], outcome: Outcome) -> None:
        """What became of rows of one key is what became of the first."""
        if not later and not (self.alone and outcome.missing and outcome.rowcount):
            return
        key_of = self._keys(rows)
        first: dict[Any, int] = {}
        for row in sorted(rows):
            first.setdefault(key_of[row], row)
        for numbers in (outcome.missing, outcome.unmatched):
            firsts = {first[key_of[row]] for row in numbers} & set(numbers)
            numbers[:] = [row for row in rows if first[key_of[row]] in firsts]

    def _keys(self, rows: list[int]) -> dict[int, Any]:
        """What is equal for rows of one key."""
        if self.work.compares:
            return dict(Pass(self.work, alone=False).ordered(rows).ranked())
        columns = [i for i, c in enumerate(self.plan.native.columns) if c.role == "key"]
        return {row: tuple(self.work.part.value(row, i) for i in columns) for row in rows}

    # Statements

    def look(self, rows: list[int], what: What = "look") -> dict[int, Found]:
        """The rows that are there, locked from now on."""
        found: dict[int, Found] = {}
        for reply in self._ask(what, rows):
            found.update(
                (n, Found(bool(matches), bool(changes)))
                for n, matches, changes in reply.answer.rows
            )
        return found

    def back(self, rows: list[int]) -> tuple[Sent, set[int]]:
        """What is to be returned of the rows, in their order; and which rows are there."""
        returned: list[tuple[Any, ...]] = []
        codes: tuple[Any, ...] | None = None
        for reply in self._ask("back", rows):
            returned += reply.answer.rows
            codes = reply.answer.type_codes[:-1]
        return Sent(len(returned), returned, codes).sorted(), {row[-1] for row in returned}

    def _ask(self, what: What, rows: list[int]) -> Iterator[Reply]:
        for sent, reply in self._send(what, rows, "SELECT /* rows by their keys */"):
            del sent
            yield reply

    def send(self, what: What, rows: list[int]) -> Iterator[tuple[list[int], int]]:
        """Changes rows of one shape; gives those of each statement and how many it found."""
        self.work.notes["statement"] = f"{what.upper()}{'' if self.alone else '..JOIN VALUES'}"
        for sent, reply in self._send(what, rows, self.plan.sql):
            yield sent, reply.answer.rowcount

    def _send(self, what: What, rows: list[int], shown: str) -> Iterator[tuple[list[int], Reply]]:
        part, limit = self.work.part, self.work.limit
        write = partial(
            self.writer.write, what, part, wanted=mysql.WANTED, limit=limit, alone=self.alone
        )
        while rows:
            sql, count = self.written(partial(write, rows[:TOGETHER]))
            yield rows[:count], self.execute(sql, shown, rows[:count])
            rows = rows[count:]

    def written(self, write: Callable[[], tuple[bytes, int]]) -> tuple[bytes, int]:
        """A statement; what can't be one is the driver's or the server's error."""
        try:
            return write()
        except _native.RowError as error:
            raise mysql.refused(error, self.work.connection) from error

    def execute(self, sql: bytes, shown: str, rows: Sequence[int] = ()) -> Reply:
        """Sends a statement about these rows; says of which one the server's error is."""
        try:
            reply = mysql.execute(self.work.connection, sql, shown, quiet=self.plan.quiet)
        except exc.DBAPIError as error:
            if self.alone:
                row = rows[0] if rows else None
                mysql_errors.explain_row(
                    error, self.work.connection, self.plan, self.work.part, row
                )
            raise
        for level, _, message in reply.warnings:
            if level != "Note":
                warnings.warn(f"the server changed what it stores: {message}", exc.SAWarning, 4)
                break
        return reply
