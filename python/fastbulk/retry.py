"""A call in a transaction of its own that another transaction was in the way of."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import exc

if TYPE_CHECKING:
    from collections.abc import Callable

    _T = TypeVar("_T")

#: So often a call is sent before the deadlock is the caller's.
_TRIES = 20
#: Seconds between two of them, at most.
_PAUSE = 0.05

#: serialization_failure and deadlock_detected of PostgreSQL.
_SQLSTATES = {"40001", "40P01"}
#: ER_LOCK_DEADLOCK of MySQL and MariaDB.
_DEADLOCK = 1213


def until_done(work: Callable[[], _T], sleep: Callable[[float], object]) -> _T:
    """Does work in transactions of its own, of which a deadlock leaves nothing.

    ``sleep(seconds)`` is what waits in between.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        What the work raises; the deadlock of the last one, if there was one each time.
    """
    tries = 0
    while True:
        tries += 1
        try:
            return work()
        except exc.DBAPIError as error:
            if not is_deadlock(error):
                raise
            if tries == _TRIES:
                error.add_detail(f"the call was tried {tries} times")
                raise
        # Small calls lose to large ones, again and again if they come at once.
        sleep(random.uniform(0, min(_PAUSE, 0.001 * 2**tries)))


def is_deadlock(error: exc.DBAPIError) -> bool:
    """Whether the server ended a transaction that may pass if it is tried again."""
    orig: Any = error.orig
    argument = orig.args[0] if orig.args else None
    state = getattr(orig, "sqlstate", None) or getattr(orig, "pgcode", None)
    if isinstance(argument, dict):
        state = argument.get("C")  # pg8000
        argument = None
    return state in _SQLSTATES or _DEADLOCK in (getattr(orig, "errno", None), argument)
