"""Ctrl-C, some time from now."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Python ignores what is raised in a callback of the garbage collector, in which a signal may
#: happen to be seen; a user presses Ctrl-C again.
_AGAIN = 2.0


@contextmanager
def ctrl_c(after: float) -> Iterator[None]:
    """Raises KeyboardInterrupt in the main thread after so many seconds, as Ctrl-C does."""
    over = threading.Event()

    def press() -> None:
        wait = after
        while not over.wait(wait):
            os.kill(os.getpid(), signal.SIGINT)
            wait = _AGAIN

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
