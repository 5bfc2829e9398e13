"""INSERT, or UPDATE of what is there, on MySQL and MariaDB."""

from __future__ import annotations

import itertools
import secrets
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from .. import _native
from . import mysql, mysql_errors, mysql_keys
from .mysql_pass import TOGETHER, Outcome, Pass, SeveralStatementsError
from .sent import Sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .mysql import Reply
    from .mysql_pass import Found, Ordered, Work

#: LAST_INSERT_ID() has a bit for each row, and above them a number of the statement.
_ECHO_BITS = 48
_ECHOED = 48
#: For up to so many rows that costs less than a result of a number for each.
_FEW = 10
#: The error of a row that is there with another key than the given one.
_OUT_OF_RANGE = 1690
#: Each is another one than the last ones, whoever's they were.
_echoes = itertools.count(secrets.randbelow(2**15))


def _next_echo() -> int:
    return next(_echoes) % (2**15 - 1) + 1


@dataclass(frozen=True)
class Upsert:
    """Rows that are there are updated, the others inserted: by one statement, which locks rows in
    the order of their keys; or after a look that locks those that are there.

    A row that another transaction inserts in between is found again and updated, too. One that
    clashes with another unique key than the call's is refused, and no stranger's row is touched.
    """

    way: Pass
    #: Rows that are there are locked, and stay as they are.
    keeps: bool = False

    @property
    def work(self) -> Work:
        """What the call needs."""
        return self.way.work

    def run(self, rows: list[int]) -> Outcome:
        """Upserts the rows."""
        known, new = self.work.plain_writer.with_keys(self.work.part, rows)
        if self.work.at_once and new:
            raise SeveralStatementsError
        outcome = Outcome(actions=["duplicate"] * len(self.work.part))
        counting = self._counting(known)
        for rows in self.way.chunks(counting) if self.way.alone else [counting]:
            self._upsert(rows, outcome.actions)
        made = Sent.joined(self._insert_new(new, outcome.actions)) if new else None
        outcome.rowcount = sum(map(outcome.actions.count, ("inserted", "updated")))
        if self.way.plan.returning is not None:
            outcome.returned = self._returned(known, new, made)
        return outcome

    def _counting(self, rows: list[int]) -> list[int]:
        """The rows that count, one per key, in the order of the keys."""
        if len(rows) < 2:
            return rows
        order = Pass(self.work, alone=False).ordered(rows)
        counting = order.rows if order.ranks is None else self._one_per_key(order)
        as_they_are = not self.way.in_order or (self.way.alone and self._looks_first)
        return sorted(counting) if as_they_are else counting

    def _one_per_key(self, order: Ordered) -> list[int]:
        by_rank: dict[int, list[int]] = defaultdict(list)
        for row, rank in order.ranked():
            by_rank[rank].append(row)
        duplicates = self.way.plan.native.duplicates
        twice = [same[:2] for same in by_rank.values() if len(same) > 1]
        if twice and duplicates == "error":
            first, second = min(twice, key=itemgetter(1))
            raise exc.InvalidRequestError(
                f"rows {first} and {second} have the same key; "
                "duplicates='first' or 'last' says which of them counts"
            )
        return [same[-1 if duplicates == "last" else 0] for same in by_rank.values()]

    def _upsert(self, rows: list[int], actions: list[str]) -> None:
        """Upserts rows of different keys."""
        if not self.work.probes:
            self._insert_or_meet(rows, actions)
        elif self._looks_first:
            self._after_a_look(rows, actions)
        else:
            for chunk in self.way.chunks(rows):
                self._after_a_probe(chunk, actions)

    @property
    def _looks_first(self) -> bool:
        """Whether a lock on what is there comes before all that is new, in another order of keys.

        A probe locks nothing, and rows go in one order; but each row that is new where the last
        one was there, or the other way round, takes a statement of its own.
        """
        return self.work.probes and not self.work.locks_only_rows

    def _after_a_probe(self, rows: list[int], actions: list[str]) -> None:
        """Upserts rows of different keys; those that are there now are not inserted."""
        there = self.way.look(rows, "peek")
        for is_there, some in itertools.groupby(rows, there.__contains__):
            if is_there:
                self._after_a_look(list(some), actions)
            else:
                self._insert_or_meet(list(some), actions)

    def _insert_or_meet(self, rows: list[int], actions: list[str]) -> None:
        """Inserts rows of different keys, and updates those that it meets."""
        while rows:
            if self.work.at_once or self._has_clause(rows):
                rows = self._by_clause(rows, actions)
            if rows and self.work.at_once:
                raise SeveralStatementsError
            for chunk in itertools.islice(self.way.chunks(rows), 1):
                rows = rows[len(chunk) :]
                if self._inserts_first:
                    chunk = self._after_an_insert(chunk, actions)
                self._after_a_look(chunk, actions)

    def _after_an_insert(self, rows: list[int], actions: list[str]) -> list[int]:
        """Inserts the rows and locks those that are there, by the clause; then updates these.

        Gives those that it did not get to.
        """
        left = replace(self, keeps=True)._by_clause(rows, actions)
        sent = rows[: len(rows) - len(left)]
        self._update(self._found([row for row in sent if actions[row] == "updated"]), actions)
        return left

    @cached_property
    def _inserts_first(self) -> bool:
        """Whether an INSERT that keeps rows as they are means the same as a look.

        A look for rows that are not there locks the gaps where they would be, each other's too.
        """
        return self._can_clash and not self.work.has_trigger

    def _after_a_look(self, rows: list[int], actions: list[str]) -> None:
        found = self._found(rows)
        self._update(found, actions)
        new = [row for row in rows if row not in found]
        # Generated keys are given in the order of the rows.
        self._insert_or_update(sorted(new) if self._looks_first else new, actions)

    # One statement for rows that are there and rows that are not

    def _by_clause(self, rows: list[int], actions: list[str]) -> list[int]:
        """Upserts the rows; gives those of the statement that met a row with another key, which
        is undone, and all after it.
        """
        done = 0
        try:
            for some in self._alike(rows):
                for count in self._told(some, actions):
                    done += count
                    self.work.notes["statement"] = "INSERT..VALUES ON DUPLICATE KEY UPDATE"
        except exc.DBAPIError as error:
            code = mysql_errors.code_of(error, self.work.connection)
            if self._only_key or code != _OUT_OF_RANGE:
                raise
        return rows[done:]

    def _alike(self, rows: list[int]) -> list[list[int]]:
        """The rows, in runs where only some give the generated column."""
        part, position = self.work.part, self._generated
        if position is None or not part.gives(position) or part.first_null(position) is None:
            return [rows]
        if self.work.at_once:
            raise SeveralStatementsError
        runs = itertools.groupby(rows, lambda row: part.value(row, position) is None)
        return [list(run) for _, run in runs]

    def _told(self, rows: list[int], actions: list[str]) -> Iterator[int]:
        """Sends rows that are alike in that, and tells which of them were there; yields how many
        rows each statement had.
        """
        position = self._generated
        gives = position is not None and self.work.part.value(rows[0], position) is not None
        makes = self.work.generated is not None and not gives
        # In bits rows are told by their literals, and where the server makes no key.
        few = len(rows) <= _FEW and not makes and self.work.has_integers
        if len(rows) > 1 and self.work.connection.dialect.insert_returning and not few:
            return self._by_counts(rows, actions)
        if len(rows) > 1 and makes:
            if self.work.at_once:
                raise SeveralStatementsError
            return self._by_new_keys(rows, actions)
        return self._by_echo(rows, actions)

    def _has_clause(self, rows: list[int]) -> bool:
        """Whether one statement means the same."""
        native = self.way.plan.native
        if native.has_condition or native.only_changed:
            return False
        if not self._can_clash:
            return False
        try:
            self._clause(rows)
        except SeveralStatementsError:
            return False
        return True

    @property
    def _can_clash(self) -> bool:
        """Whether a row that clashes with another unique key does no harm: what is refused is
        undone.
        """
        return self._only_key or self.work.undoes

    def _clause(self, rows: list[int], *, bits: int | None = None, count: int | None = None) -> str:
        """What follows rows of one statement."""
        dialect: Any = self.work.connection.dialect
        clause = self.work.plain_writer.on_duplicate_key(
            self.work.part,
            rows,
            alias=bool(dialect._requires_alias_for_on_duplicate_key),
            bits=bits,
            count=count,
            guarded=not self._only_key,
            keeps=self.keeps,
        )
        if clause is None:
            raise SeveralStatementsError
        return clause

    def _by_counts(self, rows: list[int], actions: list[str]) -> Iterator[int]:
        """The statement tells after each row how many of them were there."""
        start = 0
        while start < len(rows):
            some = rows[start : start + TOGETHER]
            echo = _next_echo()
            # All rows are of one shape; of a few that is not known yet.
            tail = self._clause(some[:_ECHOED], count=echo)
            tail += " RETURNING LAST_INSERT_ID(LAST_INSERT_ID())"
            sql, stop = self._statement(some, tail)
            some = some[:stop]
            start += stop
            told = self.way.execute(sql, self.way.plan.sql, some).answer.rows
            self._check(stop, len(told))
            counts = [count for (count,) in told]
            # Before the first row that was there it says something else.
            first = next((i for i, n in enumerate(counts) if n >> _ECHO_BITS == echo), stop)
            counts[:first] = [echo << _ECHO_BITS] * first
            before = [echo << _ECHO_BITS, *counts]
            for row, fewer, count in zip(some, before, counts, strict=False):
                actions[row] = "updated" if fewer < count else "inserted"
            yield stop

    def _check(self, sent: int, found: int) -> None:
        if sent != found:
            raise exc.InvalidRequestError(
                f"{sent} rows were sent and {found} came back; "
                "a trigger may have changed some, so the rows can't be matched"
            )

    def _by_echo(self, rows: list[int], actions: list[str]) -> Iterator[int]:
        """The statement tells which rows were there, by LAST_INSERT_ID()."""
        start = 0
        while start < len(rows):
            echo = _next_echo()
            some = rows[start : start + _ECHOED]
            sql, count = self._statement(some, self._clause(some, bits=echo))
            some = some[:count]
            start += count
            told = self.way.execute(sql, self.way.plan.sql, some).last_key or 0
            bits = told % 2**_ECHO_BITS if self._is_echo(told, echo, some) else 0
            for number, row in enumerate(some):
                actions[row] = "updated" if bits >> number & 1 else "inserted"
            yield count

    def _is_echo(self, told: int, echo: int, rows: list[int]) -> bool:
        """Whether it is not the generated column's value in one of the rows."""
        if told >> _ECHO_BITS != echo or told % 2**_ECHO_BITS >= 1 << len(rows):
            return False
        position = self._generated
        if position is None or told not in {self.work.part.value(r, position) for r in rows}:
            return True
        return bool(self._last_key() == told)

    def _by_new_keys(self, rows: list[int], actions: list[str]) -> Iterator[int]:
        """Rows with the keys that the server made for the statement are new."""
        self._last_key(0)
        tail = self._clause(rows[:1])
        for some, reply in self._insert(rows, tail):
            new = self._made(some, reply.last_key) if reply.last_key else set()
            for row in some:
                actions[row] = "inserted" if row in new else "updated"
            yield len(some)

    def _made(self, rows: list[int], first: int) -> set[int]:
        """Those of the rows whose keys the last statement made: it was the first to have the keys
        from the first one on, one for each row.
        """
        assert self._generated is not None
        native, count = self.way.plan.native, len(rows)
        key = f"{native.sql_table}.{native.columns[self._generated].sql_name}"
        new: set[int] = set()
        while rows:
            sql, stop = self.way.writer.write(
                "peek", self.work.part, rows, wanted=mysql.WANTED, limit=self.work.limit - 500
            )
            sql += (
                f" WHERE LAST_INSERT_ID() = {first} AND {key} BETWEEN {first} AND "
                f"{first} + {count - 1} * @@auto_increment_increment"
            ).encode()
            reply = self.way.execute(sql, "SELECT /* rows by their keys */", rows[:stop])
            new.update(row[0] for row in reply.answer.rows)
            rows = rows[stop:]
        return new

    def _last_key(self, value: int | None = None) -> int:
        """LAST_INSERT_ID(), set to a value if there is one."""
        sql = f"SELECT LAST_INSERT_ID({'' if value is None else value})"
        return int(self.way.execute(sql.encode(), sql).answer.rows[0][0])

    @cached_property
    def _generated(self) -> int | None:
        """The position of the column of which the server makes values."""
        columns = enumerate(self.way.plan.native.columns)
        return next((i for i, c in columns if c.name == self.work.generated), None)

    @property
    def _gives_generated(self) -> bool:
        return self._generated is not None and self.work.part.gives(self._generated)

    @cached_property
    def _only_key(self) -> bool:
        """Whether rows can clash with no other unique key than the call's, for certain."""
        if self.work.at_once:
            return False
        for columns in self.work.catalog.unique.values():
            if columns == self.work.key:
                continue
            generated = columns is not None and columns == {self.work.generated}
            if not generated or self._gives_generated:
                return False
        return True

    # Rows that are there, and then the others

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

    def _insert(self, rows: list[int], tail: str) -> Iterator[tuple[list[int], Reply]]:
        while rows:
            sql, count = self._statement(rows, tail)
            yield rows[:count], self.way.execute(sql, self.way.plan.sql, rows[:count])
            rows = rows[count:]

    def _statement(self, rows: list[int], tail: str) -> tuple[bytes, int]:
        self.work.notes["statement"] = "INSERT..VALUES"
        rows = next(self.way.chunks(rows))
        limit = self.work.limit
        sql, count = self.way.written(
            lambda: self.work.plain_writer.insert(
                self.work.part, rows, tail=tail, wanted=mysql.WANTED, limit=limit
            )
        )
        if self.work.at_once and count < len(rows):
            raise SeveralStatementsError
        return sql, count

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
                sent = keys.by_range(answer.rowcount, reply.last_key, len(some))
                yield sent.with_rows()
            else:
                yield Sent(answer.rowcount, answer.rows, answer.type_codes or None)

    def _returned(self, known: list[int], new: list[int], made: Sent | None) -> Sent:
        back, _ = self.way.back(known)
        self._check(len(known), len(back.returned))
        if made is not None:
            self._check(len(new), len(made.returned))
        if made is None:
            return back
        numbered = [(*row, number) for row, number in zip(made.returned, new, strict=True)]
        rows = [*back.returned, *numbered]
        return Sent(len(rows), rows, back.type_codes or made.type_codes).sorted()
