"""What a statement gave back through a driver's cursor."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .. import _native

    ResultProcessor: TypeAlias = Callable[[Any], Any]


#: So many rows are objects at once.
_FEW = 50


class Rows(Sequence[tuple[Any, ...]]):
    """Rows of a statement, which become objects when they are asked for."""

    def __init__(
        self,
        count: int,
        decode: Callable[[], _native.Outcome | None],
        load: Callable[[], list[tuple[Any, ...]]],
        *,
        may_fail: Callable[[], bool] = lambda: True,
    ) -> None:
        """Holds ``count`` rows.

        Parameters
        ----------
        count
            How many they are.
        decode
            Gives them as columns; None where a value of theirs may be none of Python's.
        load
            Gives them as objects.
        may_fail
            Whether a value may be none of Python's, which is told at once.
        """
        self._count, self._decode, self._load = count, decode, load
        # To make few objects is less than to see what they would be.
        if count <= _FEW or (may_fail() and self.outcome is None):
            self._objects  # noqa: B018

    @cached_property
    def outcome(self) -> _native.Outcome | None:
        """The rows as columns, if so."""
        return self._decode()

    @cached_property
    def _objects(self) -> list[tuple[Any, ...]]:
        return self._load()

    def __len__(self) -> int:
        """How many rows they are."""
        return self._count

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Each row; a sequence's own way costs a call per row."""
        return iter(self._objects)

    @overload
    def __getitem__(self, index: int) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[Any, ...]]: ...
    def __getitem__(self, index: int | slice) -> tuple[Any, ...] | list[tuple[Any, ...]]:
        """A row, or some."""
        return self._objects[index]


class Answer(NamedTuple):
    """What a cursor says after a statement."""

    rowcount: int
    rows: Sequence[tuple[Any, ...]]
    #: The types of the rows' columns, as the driver tells them.
    type_codes: tuple[Any, ...]

    @classmethod
    def of(cls, cursor: Any) -> Answer:
        """The current result of a DBAPI cursor."""
        if cursor.description is None:
            return cls(cursor.rowcount, [], ())
        codes = tuple(column[1] for column in cursor.description)
        return cls(cursor.rowcount, cursor.fetchall(), codes)


class Sent(NamedTuple):
    """What a statement did."""

    rowcount: int
    returned: Sequence[tuple[Any, ...]]
    type_codes: tuple[Any, ...] | None
    #: The index, in the whole input, of the first row that was sent.
    first_row: int = 0

    @classmethod
    def joined(cls, parts: Iterable[Sent]) -> Sent:
        """What several statements did, as of one."""
        parts = list(parts)
        if len(parts) == 1:
            return parts[0]
        codes = next((part.type_codes for part in parts if part.type_codes is not None), None)
        rows = [row for part in parts for row in part.returned]
        return cls(sum(part.rowcount for part in parts), rows, codes)

    def with_rows(self) -> Sent:
        """The same."""
        return self

    def sorted(self) -> Sent:
        """The same with the rows in the order of their last column."""
        return self._replace(returned=sorted(self.returned, key=itemgetter(-1)))

    def rows(self, processors: Sequence[ResultProcessor | None]) -> list[tuple[Any, ...]]:
        """The returned rows, in the order of the input, through the result processors."""
        width = len(processors)
        if not any(processors):
            if self.returned and len(self.returned[0]) == width:
                return list(self.returned)
            return [tuple(row[:width]) for row in self.returned]
        return [
            tuple(
                value if p is None else p(value) for p, value in zip(processors, row, strict=False)
            )
            for row in self.returned
        ]

    def scalars(self, processor: ResultProcessor | None) -> list[Any]:
        """The values of the first returned column."""
        return [row[0] if processor is None else processor(row[0]) for row in self.returned]


class Keyed(NamedTuple):
    """What statements did whose rows got generated keys that are known, and gave back nothing else.

    They are numbers that become objects when they are asked for.
    """

    rowcount: int
    #: In the order of the input: runs of them, or one by one as PostgreSQL's ``int8send`` does.
    keys: Sequence[range] | bytes
    type_codes: None = None
    first_row: int = 0

    def with_rows(self) -> Sent:
        """The same as rows of objects."""
        return Sent(self.rowcount, self.rows([None]), None, self.first_row)

    def rows(self, processors: Sequence[ResultProcessor | None]) -> list[tuple[Any, ...]]:
        """The keys as rows, in the order of the input."""
        return [(key,) for key in self.scalars(*processors)]

    def scalars(self, processor: ResultProcessor | None) -> list[Any]:
        """The keys, in the order of the input."""
        keys: Iterable[int]
        if isinstance(self.keys, bytes):
            keys = struct.unpack(f">{len(self.keys) // WIDTH}q", self.keys)
        else:
            keys = chain.from_iterable(self.keys)
        return list(keys if processor is None else map(processor, keys))


#: Bytes of a key.
WIDTH = 8


def joined(parts: Iterable[Sent | Keyed]) -> Sent | Keyed:
    """What several statements did, as of one."""
    parts = list(parts)
    keyed = [part for part in parts if isinstance(part, Keyed)]
    if len(keyed) < len(parts):
        return Sent.joined(part.with_rows() for part in parts)
    runs = [run for part in keyed for run in part.keys if isinstance(run, range)]
    return Keyed(sum(part.rowcount for part in keyed), runs)
