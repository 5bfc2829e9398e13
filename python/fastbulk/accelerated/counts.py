"""What was taken and what was not."""

from __future__ import annotations

import logging
from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from .refusal import FallThrough

_log = logging.getLogger("fastbulk")


class Stats(TypedDict):
    """Calls by what they were, and by the reason why SQLAlchemy's own code ran."""

    taken: dict[str, int]
    fallen_through: dict[str, int]


class Counts:
    """Counts calls, and logs each reason when it is first met."""

    def __init__(self, above: Counts | None = None) -> None:
        """Counts from zero; what is counted here is counted ``above``, too."""
        self._above = above
        self._lock = Lock()
        self._taken: Counter[str] = Counter()
        self._fallen_through: Counter[str] = Counter()

    def taken(self, kind: str) -> None:
        """A call ran natively."""
        with self._lock:
            self._taken[kind] += 1
        if self._above is not None:
            self._above.taken(kind)

    def fallen_through(self, kind: str, refused: FallThrough) -> None:
        """A call was left to SQLAlchemy."""
        with self._lock:
            self._fallen_through[refused.reason] += 1
            first = self._fallen_through[refused.reason] == 1
        if self._above is not None:
            self._above.fallen_through(kind, refused)
        elif first:
            _log.info("%s falls through to SQLAlchemy: %s", kind, refused)

    def stats(self) -> Stats:
        """A copy of the numbers."""
        with self._lock:
            return {
                "taken": dict(self._taken),
                "fallen_through": dict(self._fallen_through),
            }

    def reset(self) -> None:
        """Counts from zero again."""
        with self._lock:
            self._taken.clear()
            self._fallen_through.clear()
