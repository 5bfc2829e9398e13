"""A carrier statement: work on the driver's cursor that SQLAlchemy sees as one of its statements.

Pool and cursor events, echo, the wrapping of exceptions and the handling of disconnects stay
SQLAlchemy's affair: the statement is executed as any other, and only its ``do_execute`` is ours.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from sqlalchemy import event

from .adapted import to_its_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection, Dialect

    from .adapted import Cancel

_T = TypeVar("_T")

_OPTION = "fastbulk_work"
_listening: WeakSet[Dialect] = WeakSet()


def run(
    connection: Connection, sql: str, work: Callable[[Any], _T], cancel: Cancel | None = None
) -> _T:
    """Executes ``work(cursor)`` in place of ``sql``, which is what events and the log show.

    Parameters
    ----------
    connection
        The connection of the call.
    sql
        The statement's text, without its data.
    work
        Takes the driver's cursor and gives the result; no row may be left on the cursor.
    cancel
        What ends the statement where its task is cancelled; None if the driver does so.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        The driver's exception, wrapped.
    asyncio.CancelledError
        The task was cancelled; the connection stays as it is.
    """
    _listen(connection)
    done: list[_T] = []
    cancelled: list[asyncio.CancelledError] = []

    def execute(cursor: Any) -> None:
        try:
            if cancel is None or not connection.dialect.is_async:
                done.append(work(cursor))
            else:
                done.append(to_its_end(connection, partial(work, cursor), cancel))
        except asyncio.CancelledError as error:
            # SQLAlchemy would give up the connection, and the transaction with it. The driver has
            # ended the statement.
            cancelled.append(error)

    options = {_OPTION: execute, "no_parameters": True}
    connection.exec_driver_sql(sql, execution_options=options).close()
    if cancelled:
        raise cancelled[0]
    return done[0]


def is_listened(dialect: Dialect, name: str, *ours: Callable[..., Any]) -> bool:
    """Whether others than we listen to an event of the dialect."""
    for listener in getattr(dialect.dispatch, name):
        if listener is not _do_execute and listener not in ours:
            return True
    return False


def _listen(connection: Connection) -> None:
    dialect = connection.dialect
    if dialect not in _listening:
        event.listen(dialect, "do_execute_no_params", _do_execute)
        _listening.add(dialect)


def _do_execute(cursor: Any, statement: str, context: Any) -> bool:
    work = context.execution_options.get(_OPTION)
    if work is None:
        return False
    work(cursor)
    return True
