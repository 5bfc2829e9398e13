"""What a statement gave back through a driver's cursor."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Answer(NamedTuple):
    """What a cursor says after a statement."""

    rowcount: int
    rows: list[tuple[Any, ...]]
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

    def sorted(self) -> Sent:
        """The same with the rows in the order of their last column."""
        return self._replace(returned=sorted(self.returned, key=itemgetter(-1)))

    def rows(self, processors: Sequence[Callable[[Any], Any] | None]) -> list[tuple[Any, ...]]:
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

    def scalars(self, processor: Callable[[Any], Any] | None) -> list[Any]:
        """The values of the first returned column."""
        return [row[0] if processor is None else processor(row[0]) for row in self.returned]
