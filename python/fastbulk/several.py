"""Rows that are in several tables: which are there, and what is returned of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from operator import eq
from typing import TYPE_CHECKING, Any

from sqlalchemy import false, literal_column, select, union_all

from .result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection, Dialect, FrozenResult
    from sqlalchemy.orm import Mapper

    from .orm.keyed import KeyedRequest
    from .targets import Held


#: How many keys a question has.
_ASKED = 100


def existing(
    connection: Connection, mapper: Mapper[Any], keys: Mapping[int, tuple[Any, ...]]
) -> Iterator[int]:
    """The numbers of the keys that all tables have."""
    rest = iter(keys.items())
    while some := list(islice(rest, _ASKED)):
        found: list[Any] = [
            select(literal_column(str(number)))
            .select_from(mapper)
            .where(*map(eq, mapper.primary_key, key))
            for number, key in some
        ]
        yield from connection.execute(union_all(*found)).scalars()


@dataclass(frozen=True)
class Read:
    """What is returned of rows, by their numbers in the input; behind it their primary keys."""

    rows: Mapping[int, tuple[Any, ...]]
    like: FrozenResult[Any]
    #: How many columns the primary key has.
    width: int

    @classmethod
    def of(
        cls,
        held: Held,
        mapper: Mapper[Any],
        request: KeyedRequest,
        keys: Mapping[int, tuple[Any, ...]],
        execution_options: Mapping[str, Any],
        *,
        lock: bool,
    ) -> Read:
        """Asks for rows by their keys, where they are to be locked in the order of these."""
        target = held.session or held.connection
        query = select(*request.returning, *mapper.primary_key).options(*request.options)
        if lock:
            query = query.with_for_update()

        def ask(*where: Any) -> FrozenResult[Any]:
            asked = query.where(*where)
            return target.execute(asked, execution_options=execution_options).freeze()

        found = {n: ask(*map(eq, mapper.primary_key, keys[n])) for n in _ordered(keys, lock)}
        like = next(iter(found.values())) if found else ask(false())
        rows = {number: tuple(frozen.data[0]) for number, frozen in found.items() if frozen.data}
        return cls(rows, like, len(mapper.primary_key))

    def different(self, numbers: Iterable[int]) -> list[int]:
        """The first number of each row."""
        first: dict[tuple[Any, ...], int] = {}
        for number in numbers:
            if number in self.rows:
                first.setdefault(self.rows[number][-self.width :], number)
        return list(first.values())

    def result(self, numbers: Iterable[int], dialect: Dialect, types: Sequence[Any]) -> Result:
        """What is returned of these rows."""
        kept: Any = [self.rows[n] for n in numbers if n in self.rows]
        whole = self.like.with_new_rows(kept)()
        returned = whole.columns(*range(len(whole.keys()) - self.width))
        return Result.of(returned.freeze()(), dialect, types)


def _ordered(keys: Mapping[int, tuple[Any, ...]], lock: bool) -> list[int]:
    if lock:
        try:
            return sorted(keys, key=lambda number: keys[number])
        except TypeError:  # keys of several types, of which only the server knows the order
            pass
    return list(keys)
