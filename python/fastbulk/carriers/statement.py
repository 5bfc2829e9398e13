"""A carrier statement: work on the driver's cursor that SQLAlchemy sees as one of its statements.

Pool and cursor events, echo, the wrapping of exceptions and the handling of disconnects stay
SQLAlchemy's affair: the statement is executed as any other, and only its ``do_execute`` is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection, Dialect

_T = TypeVar("_T")

_OPTION = "fastbulk_work"
_listening: WeakSet[Dialect] = WeakSet()


def run(connection: Connection, sql: str, work: Callable[[Any], _T]) -> _T:
    """Executes ``work(cursor)`` in place of ``sql``, which is what events and the log show.

    Parameters
    ----------
    connection
        The connection of the call.
    sql
        The statement's text, without its data.
    work
        Takes the driver's cursor and gives the result; no row may be left on the cursor.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        The driver's exception, wrapped.
    """
    _listen(connection)
    done: list[_T] = []
    options = {_OPTION: lambda cursor: done.append(work(cursor)), "no_parameters": True}
    connection.exec_driver_sql(sql, execution_options=options).close()
    return done[0]


def _listen(connection: Connection) -> None:
    dialect = connection.dialect
    if dialect not in _listening:
        event.listen(connection.engine, "do_execute_no_params", _do_execute)
        _listening.add(dialect)


def _do_execute(cursor: Any, statement: str, context: Any) -> bool:
    work = context.execution_options.get(_OPTION)
    if work is None:
        return False
    work(cursor)
    return True
