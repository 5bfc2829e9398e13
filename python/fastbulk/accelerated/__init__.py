"""SQLAlchemy's own bulk calls, native: existing code runs faster without a change.

A call that is not taken falls through to SQLAlchemy's own code, and :func:`stats` says why.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from . import hooks
from .counts import Counts
from .targets import meant_by

if TYPE_CHECKING:
    from types import TracebackType

    from .counts import Stats

__all__ = ["Accelerated", "accelerate", "reset", "stats"]

_lock = Lock()
_counts = Counts()


class Accelerated:
    """What :func:`accelerate` began; ``remove()`` or the end of a ``with`` block ends it."""

    def __init__(self, target: Any) -> None:
        """Begins to accelerate the target."""
        self._means = meant_by(target)
        self._counts = Counts(above=_counts)
        with _lock:
            hooks.add(self._means, self._counts)

    def remove(self) -> None:
        """Leaves the target's calls to SQLAlchemy again; more than once does nothing."""
        with _lock:
            hooks.remove(self._counts)

    def stats(self) -> Stats:
        """As :func:`stats`, for the calls of this target alone."""
        return self._counts.stats()

    def __enter__(self) -> Accelerated:
        """The object itself: acceleration began when it was made."""
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends it."""
        self.remove()


def accelerate(target: Any = None) -> Accelerated:
    """Has SQLAlchemy's own bulk calls run natively, with the meaning that SQLAlchemy gives them.

    ``session.execute(insert(User), rows)`` and its likes, ``session.bulk_insert_mappings`` and
    ``bulk_save_objects`` need no change. What can't be done to the letter falls through to
    SQLAlchemy's own code, untouched; :func:`fastbulk.accelerated.stats` counts both.

    Parameters
    ----------
    target
        Whose calls are meant: a ``Session`` class, ``sessionmaker``, ``scoped_session``, one
        ``Session``, an ``Engine`` or a ``Connection``, or the asynchronous twin of any of these.
        None for all.

    Returns
    -------
    Accelerated
        Its ``remove()`` undoes the acceleration, as does the end of ``with accelerate(...):``.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        The target is none of these.
    """
    return Accelerated(target)


def stats() -> Stats:
    """How many calls were taken, by what they were, and how many fell through, by reason.

    Returns
    -------
    dict
        ``{"taken": {kind: calls}, "fallen_through": {reason: calls}}``, since the import or the
        last :func:`reset`.
    """
    return _counts.stats()


def reset() -> None:
    """Counts from zero again."""
    _counts.reset()
