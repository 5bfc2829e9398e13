"""A call that is left to SQLAlchemy, which makes statements of it."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy.orm import Mapper

    from .refusal import FallThrough


@dataclass
class Left:
    """What became of it: each statement may yet be sent natively."""

    #: Why it was left, or why one of its statements was.
    refused: FallThrough
    #: Those that it writes; statements of other tables are a listener's or a default's.
    tables: Collection[Any]
    #: How many rows the call has.
    count: int
    mapper: Mapper[Any] | None = None
    #: Whether anything may be sent natively.
    native: bool = True
    #: Statements that were sent natively, and those that were not.
    taken: int = 0
    missed: int = 0

    @property
    def is_small(self) -> bool:
        """Whether it has few rows."""
        return is_small(self.count)

    @property
    def was_taken(self) -> bool:
        """Whether all rows were sent natively."""
        return self.taken > 0 and not self.missed

    def misses(self, refused: FallThrough) -> None:
        """One of its statements is not sent natively."""
        self.refused = refused
        self.missed += 1


#: Fewer rows cost more natively than they gain where SQLAlchemy prepares their statements.
FEW = 100

_now: ContextVar[Left | None] = ContextVar("fastbulk_left", default=None)


def is_small(rows: int) -> bool:
    """Whether a call of so many rows is SQLAlchemy's own where it prepares the statements."""
    return rows < FEW


def now() -> Left | None:
    """The call whose statements SQLAlchemy makes at the moment, if any."""
    return _now.get()


@contextmanager
def within(left: Left | None) -> Iterator[None]:
    """SQLAlchemy makes statements of that call; of none if it is None."""
    token = _now.set(left)
    try:
        yield
    finally:
        _now.reset(token)
