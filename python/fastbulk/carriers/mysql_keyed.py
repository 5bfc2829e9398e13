"""MySQL and MariaDB: rows that are found by their keys.

Many rows travel as a table of VALUES that the statement joins, sorted by key, so that concurrent
calls lock rows in one order. A few, and those whose values are not of the sort that their columns
store, have a statement each. So have all rows after one was refused: in the order of the input each
meets what those before it did, and the error says which row it is about.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import exc

from .. import _native
from . import mysql, mysql_errors, mysql_keys
from .mysql_catalog import Catalog
from .sent import Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy.engine import Connection

    from .._native import MysqlKeyed, Slice
    from ..orm.keyed import KeyedPlan
    from .mysql import Driver, Reply
    from .mysql_catalog import Template

#: Up to so many rows have a statement each, for which nothing else has to be asked.
FEW = 4

#: Rows that are looked for, updated and inserted before the next ones are.
_TOGETHER = 2000

#: The types of columns that order integers as integers.
_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}

_ANY: Template = [0]

#: Statements about rows that are there.
What: TypeAlias = Literal["look", "peek", "update", "delete", "back"]


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


def keyed(
    connection: Connection, plan: KeyedPlan, part: Slice, skipped: Sequence[int], driver: Driver
) -> Outcome:
    """Updates, upserts or deletes the rows that the slice's keys find, but those in ``skipped``.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent, or a row is larger than the server lets through.
    sqlalchemy.exc.DBAPIError
        The database refused a row, with ``.row``, ``.column`` and ``.value``.
    sqlalchemy.exc.InvalidRequestError
        Two rows of an upsert have one key, or no unique key is on it.
    """
    left_out = set(skipped)
    rows = [row for row in range(len(part)) if row not in left_out]
    work = Work(connection, plan, part, driver)
    if plan.native.verb == "upsert":
        work.check_key()
    if len(rows) <= FEW or not work.joins:
        return Pass(work, alone=True).run(rows)
    try:
        with mysql.all_or_nothing(connection, driver):
            return Pass(work, alone=False).run(rows)
    except exc.DBAPIError as error:
        if not mysql_errors.is_undone(error, connection, plan):
            mysql_errors.explain_row(error, connection, plan, part, None)
            raise
    return Pass(work, alone=True).run(rows)


@dataclass(frozen=True)
class Work:
    """What a call needs for its statements."""

    connection: Connection
    plan: KeyedPlan
    part: Slice
    driver: Driver

    @cached_property
    def catalog(self) -> Catalog:
        """What the server says of the table."""
        return Catalog.read(self.connection, self.plan.native.sql_table)

    @cached_property
    def limit(self) -> int:
        """Bytes that a statement may have."""
        return mysql.max_statement(self.connection)

    @cached_property
    def is_mariadb(self) -> bool:
        """Whether the server is MariaDB."""
        dialect: Any = self.connection.dialect
        return bool(dialect.is_mariadb)

    @cached_property
    def key(self) -> frozenset[str]:
        """The columns that find a row."""
        columns = self.plan.native.columns
        return frozenset(column.name for column in columns if column.role == "key")

    @cached_property
    def templates(self) -> list[tuple[Template, Template] | None]:
        """What the columns make of joined values; None where they may not be joined."""
        literals = _native.MysqlKeyed.literals(self.plan.native, self.part)
        types = {name.lower(): type_ for name, type_ in self.catalog.columns.items()}
        found: list[tuple[Template, Template] | None] = []
        for position, (column, literal) in enumerate(
            zip(self.plan.native.columns, literals, strict=True)
        ):
            type_ = types.get(column.name.lower())
            if column.role == "default" or not self.part.gives(position):
                found.append((_ANY, _ANY))
            else:
                found.append(None if type_ is None else type_.templates(literal))
        return found

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
    def generated(self) -> str | None:
        """The column of which the server makes values."""
        column = self.plan.table.autoincrement_column
        return None if column is None else column.name

    def writer(self, *, alone: bool) -> MysqlKeyed:
        """What writes the statements of rows that travel alone, or together."""
        native = self.plan.native
        if alone and not native.only_changed:
            templates = [(_ANY, _ANY)] * len(native.columns)
            index = None
        else:
            templates = [template or (_ANY, _ANY) for template in self.templates]
            index = self.catalog.index(self.key)
        quote = self.connection.dialect.identifier_preparer.quote_identifier
        return _native.MysqlKeyed(
            native,
            typed=[typed for typed, _ in templates],
            differs=[differs for _, differs in templates],
            row_word="" if self.is_mariadb else "ROW",
            index=None if index is None else quote(index),
            generated=self.generated,
            avoid=self.driver.avoid,
            plain_floats=self.driver.plain_floats,
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


@dataclass(frozen=True)
class Pass:
    """One way through the rows: together, in the order of their keys, or each alone."""

    work: Work
    alone: bool

    @property
    def plan(self) -> KeyedPlan:
        """The plan of the call."""
        return self.work.plan

    @cached_property
    def writer(self) -> MysqlKeyed:
        """What writes the statements."""
        return self.work.writer(alone=self.alone)

    def run(self, rows: list[int]) -> Outcome:
        """Does with the rows what the call wants."""
        match self.plan.native.verb:
            case "update":
                return self.update(rows)
            case "delete":
                return self.delete(rows)
        return Upsert(self).run(rows)

    # Rows

    def ordered(self, rows: list[int]) -> list[tuple[int, int]]:
        """Rows in the order of their keys, with numbers that equal keys share; rows of one key stay
        in their order.
        """
        types = [self.work.catalog.columns[name].name for name in self.work.key]
        if _INTEGERS.issuperset(types) and (order := self.writer.order(self.work.part, rows)):
            return order
        sql, count = self.writer.ranks(self.work.part, rows, self.work.limit)
        if count < len(rows):
            raise exc.InvalidRequestError(
                f"the keys of the {len(rows)} rows are more than one statement holds "
                f"(max_allowed_packet is {self.work.limit}): send them in several calls"
            )
        return self.execute(sql, f"SELECT /* order of {len(rows)} keys */").answer.rows

    def chunks(self, rows: list[int]) -> Iterator[list[int]]:
        """The rows, as many together as one has patience for."""
        step = 1 if self.alone else _TOGETHER
        for start in range(0, len(rows), step):
            yield rows[start : start + step]

    def waves(self, rows: list[int]) -> list[list[int]]:
        """The rows so that no wave has two of one key, and later rows of a key come later."""
        if self.alone:
            return [rows]
        waves: list[list[int]] = []
        wave, last = 0, None
        for row, rank in self.ordered(rows):
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
        looks = native.has_condition or any(c.role == "match" for c in native.columns)
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
            return dict(Pass(self.work, alone=False).ordered(rows))
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
        for sent, reply in self._send(what, rows, self.plan.sql):
            yield sent, reply.answer.rowcount

    def _send(self, what: What, rows: list[int], shown: str) -> Iterator[tuple[list[int], Reply]]:
        part, limit = self.work.part, self.work.limit
        write = partial(
            self.writer.write, what, part, wanted=mysql.WANTED, limit=limit, alone=self.alone
        )
        while rows:
            sql, count = self.written(partial(write, rows[:_TOGETHER]))
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
            reply = mysql.execute(self.work.connection, sql, shown)
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


@dataclass(frozen=True)
class Upsert:
    """Rows that are there are locked and updated, the others inserted.

    A row that another transaction inserts in between is found again and updated, too. One that
    clashes with another unique key than the call's is refused, and no stranger's row is touched.
    """

    way: Pass

    @property
    def work(self) -> Work:
        """What the call needs."""
        return self.way.work

    def run(self, rows: list[int]) -> Outcome:
        """Upserts the rows.

        With ``probe_first`` generated keys are given in the order of the rows, without it in that
        of the keys.
        """
        positions = [i for i, c in enumerate(self.way.plan.native.columns) if c.role == "key"]
        known, new = _native.MysqlKeyed.with_values(self.work.part, rows, positions)
        outcome = Outcome(actions=["duplicate"] * len(self.work.part))
        counting = self._counting(known)
        for chunk in self.way.chunks(counting):
            self._chunk(chunk, outcome.actions)
        made = Sent.joined(self._insert_new(new, outcome.actions)) if new else None
        outcome.rowcount = sum(action in {"inserted", "updated"} for action in outcome.actions)
        if self.way.plan.returning is not None:
            outcome.returned = self._returned(known, new, made)
        return outcome

    def _counting(self, rows: list[int]) -> list[int]:
        """The rows that count, one per key, in the order of the keys."""
        if len(rows) < 2:
            return rows
        if not self.work.compares:
            raise exc.InvalidRequestError(
                "a key is expected to have values of its column's type, "
                "else rows of one key can't be told"
            )
        way = Pass(self.work, alone=False)
        by_rank: dict[int, list[int]] = defaultdict(list)
        for row, rank in way.ordered(rows):
            by_rank[rank].append(row)
        duplicates = self.way.plan.native.duplicates
        twice = [same[:2] for same in by_rank.values() if len(same) > 1]
        if twice and duplicates == "error":
            first, second = min(twice, key=itemgetter(1))
            raise exc.InvalidRequestError(
                f"rows {first} and {second} have the same key; "
                "duplicates='first' or 'last' says which of them counts"
            )
        counting = [same[-1 if duplicates == "last" else 0] for same in by_rank.values()]
        return sorted(counting) if self.way.alone else counting

    def _chunk(self, rows: list[int], actions: list[str]) -> None:
        tail = self._on_duplicate_key(rows)
        if tail is not None:
            found = self.way.look(rows, "peek")
            self._insert(rows, tail)
            for row in rows:
                actions[row] = "updated" if row in found else "inserted"
            return
        found = self._found(rows)
        self._update(found, actions)
        new = [row for row in rows if row not in found]
        # Generated keys are given in the order of the rows.
        self._insert_or_update(sorted(new) if self.way.plan.probe_first else new, actions)

    def _on_duplicate_key(self, rows: list[int]) -> str | None:
        """The clause with which one statement does it all, where it means the same."""
        native = self.way.plan.native
        if native.has_condition or native.only_changed or self.way.plan.probe_first:
            return None
        if not self._only_key:
            return None
        shapes = self.way.writer.shapes(self.work.part, rows)
        if len(shapes) > 1 or not shapes[0][0]:
            return None
        dialect: Any = self.work.connection.dialect
        alias = bool(dialect._requires_alias_for_on_duplicate_key)
        return self.way.writer.on_duplicate_key(self.work.part, rows[0], alias)

    @cached_property
    def _only_key(self) -> bool:
        """Whether rows can clash with no other unique key than the call's."""
        names = {c.name: i for i, c in enumerate(self.way.plan.native.columns)}
        for columns in self.work.catalog.unique.values():
            if columns == self.work.key:
                continue
            generated = columns is not None and columns == {self.work.generated}
            if not generated or self.work.part.gives(names.get(self.work.generated or "", 0)):
                return False
        return True

    def _found(self, rows: list[int]) -> dict[int, Found]:
        """The rows that are there, locked; compared where only changed ones are to be updated."""
        if not self.way.plan.native.only_changed:
            return self.way.look(rows)
        found: dict[int, Found] = {}
        for _, some in self.way.writer.shapes(self.work.part, rows):
            found |= self.way.look(some)
        return found

    def _update(self, found: dict[int, Found], actions: list[str]) -> None:
        for sets, some in self.way.writer.shapes(self.work.part, list(found)):
            changed = [r for r in some if sets and found[r].matches and found[r].would_change]
            for row in some:
                actions[row] = "unchanged"
            for row in changed:
                actions[row] = "updated"
            for _ in self.way.send("update", changed):
                pass

    def _insert_or_update(self, rows: list[int], actions: list[str]) -> None:
        while rows:
            sql, count = self._statement(rows, "")
            some, rows = rows[:count], rows[count:]
            try:
                self.way.execute(sql, self.way.plan.sql, some)
            except exc.IntegrityError:
                found = self._found(some)
                if not found:
                    raise
                # Another transaction has inserted them in the meantime.
                self._update(found, actions)
                rows = [row for row in some if row not in found] + rows
                continue
            for row in some:
                actions[row] = "inserted"

    def _insert(self, rows: list[int], tail: str) -> Iterable[tuple[list[int], Reply]]:
        done = []
        while rows:
            sql, count = self._statement(rows, tail)
            done.append((rows[:count], self.way.execute(sql, self.way.plan.sql, rows[:count])))
            rows = rows[count:]
        return done

    def _statement(self, rows: list[int], tail: str) -> tuple[bytes, int]:
        if self.way.alone:
            rows = rows[:1]
        limit = self.work.limit
        return self.way.written(
            lambda: self.way.writer.insert(
                self.work.part, rows, tail=tail, wanted=mysql.WANTED, limit=limit
            )
        )

    # Rows whose keys the server makes

    def _insert_new(self, rows: list[int], actions: list[str]) -> Iterator[Sent]:
        """Inserts rows without a key; yields what is returned of them, in their order."""
        plan = self.way.plan
        returns = plan.returning is not None
        native = returns and bool(self.work.connection.dialect.insert_returning)
        keys = None
        if returns and not native:
            inserts = _native.MysqlWriter(
                plan.native, generated=self.work.generated, returning=False
            )
            keys = mysql_keys.Keys(self.work.connection, plan, inserts)
            keys.prepare()
        tail = f" RETURNING {plan.native.returning}" if native else ""
        for some, reply in self._insert(rows, tail):
            for row in some:
                actions[row] = "inserted"
            answer = reply.answer
            if keys is not None:
                yield keys.by_range(answer.rowcount, reply.last_key, len(some))
            else:
                yield Sent(answer.rowcount, answer.rows, answer.type_codes or None)

    def _returned(self, known: list[int], new: list[int], made: Sent | None) -> Sent:
        back, _ = self.way.back(known)
        if len(back.returned) != len(known) or (made and len(made.returned) != len(new)):
            raise exc.InvalidRequestError(
                f"{len(known) + len(new)} rows were sent and another number is found by their "
                "keys; a trigger may have changed some, so the rows can't be matched"
            )
        if made is None:
            return back
        numbered = [(*row, number) for row, number in zip(made.returned, new, strict=True)]
        rows = [*back.returned, *numbered]
        return Sent(len(rows), rows, back.type_codes or made.type_codes).sorted()
