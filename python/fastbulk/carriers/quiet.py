"""A connection's twin that nobody listens to: the work inside one of SQLAlchemy's statements."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection


class _Quiet:
    """An engine whose listeners are not told."""

    _has_events = False
    _echo = False

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def quiet(connection: Connection) -> Connection:
    """The same DBAPI connection in the same transaction, for the time of a statement.

    What is sent over it is no statement of the program's: it is neither logged nor told.
    """
    twin: Any = Connection.__new__(Connection)
    vars(twin).update(vars(connection))
    twin.engine = _Quiet(connection.engine)
    twin._has_events = twin._echo = False
    twin._execution_options = connection._execution_options.union({"skip_user_error_events": True})
    made: Connection = twin
    return made
