"""One load over several connections: the caller's thread reads, a thread per connection sends."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from sqlalchemy.engine import Connection

    from .._native import Slice, Source
    from ..orm.mapping import InsertPlan
    from ..progress import Report
    from .sent import Keyed, Sent

#: How long a thread waits before it looks whether another one failed.
_PATIENCE = 0.1


def native(
    connections: Sequence[Connection],
    carrier: ModuleType,
    plan: InsertPlan,
    source: Source,
    notes: dict[str, str],
    report: Report | None,
) -> list[Any]:
    """Sends all rows; gives the outcomes in the order of the input.

    Whatever fails, on any connection or while rows are read, ends the statements of all
    connections before it is raised.
    """
    load = _Load(len(connections))
    threads = [
        threading.Thread(target=load.send, args=(carrier, connection, plan, notes), daemon=True)
        for connection in connections
    ]
    for thread in threads:
        thread.start()
    try:
        while not load.failures and (part := source.next_slice()) is not None:
            load.put(part)
            if report is not None:
                report(source.rows, None)
        load.end(threads)
    except BaseException:
        load.failed.set()
        raise
    finally:
        if load.failed.is_set():
            for thread, connection in zip(threads, connections, strict=True):
                if thread.is_alive():
                    carrier.cancel(connection)
        for thread in threads:
            thread.join()
    if load.failures:
        raise load.failures[0]
    return sorted(load.outcomes, key=lambda sent: sent.first_row)


class _Load:
    """What the threads of a load share."""

    def __init__(self, width: int) -> None:
        self.slices: queue.Queue[Slice | None] = queue.Queue(width)
        self.failed = threading.Event()
        self.failures: list[BaseException] = []
        self.outcomes: list[Sent | Keyed] = []

    def put(self, part: Slice | None) -> None:
        """Hands a slice to the threads, None to one that is to end."""
        while not self.failed.is_set():
            with suppress(queue.Full):
                self.slices.put(part, timeout=_PATIENCE)
                return

    def end(self, threads: list[threading.Thread]) -> None:
        """Waits until all slices are sent, and may be interrupted."""
        for _ in threads:
            self.put(None)
        for thread in threads:
            while thread.is_alive() and not self.failed.is_set():
                thread.join(_PATIENCE)

    def send(
        self, carrier: ModuleType, connection: Connection, plan: InsertPlan, notes: dict[str, str]
    ) -> None:
        """The work of a thread."""
        try:
            for sent in carrier.native(connection, plan, _Share(self), notes):
                self.outcomes.append(sent)
        except BaseException as error:
            self.failures.append(error)
            self.failed.set()

    def next_slice(self) -> Slice | None:
        """The next slice for a thread; None after the last one or a failure."""
        while not self.failed.is_set():
            with suppress(queue.Empty):
                return self.slices.get(timeout=_PATIENCE)
        return None


class _Share:
    """The part of a source that one thread sends."""

    #: Rows are read on another thread: a statement of this one may stay open meanwhile.
    pure = True
    exhausted = False
    #: What comes next is not known to one thread.
    left = 0

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._ended = False

    def next_slice(self) -> Slice | None:
        part = None if self._ended else self._load.next_slice()
        self._ended = part is None
        return part
