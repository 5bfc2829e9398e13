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
        self.pool = _Pool(engine.pool)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


class _Pool:
    """A pool that keeps its connections when one is lost."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def _invalidate(self, connection: Any, exception: Any = None, checkin: bool = True) -> None:
        """The statement around it meets the same error, and tells the pool itself."""


class _Twin(Connection):
    """Leaves it to the statement around it to give a lost connection up."""

    _of: Connection

    def invalidate(self, exception: BaseException | None = None) -> None:
        """Gives the connection up, unless SQLAlchemy asks for it that has met an exception."""
        if exception is None:
            self._of.invalidate()
        self._dbapi_connection = None


def quiet(connection: Connection) -> Connection:
    """The same DBAPI connection in the same transaction, for the time of a statement.

    What is sent over it is no statement of the program's: it is neither logged nor told.
    """
    twin: Any = _Twin.__new__(_Twin)
    vars(twin).update(vars(connection))
    twin._of = connection
    twin.engine = _Quiet(connection.engine)
    twin._has_events = twin._echo = False
    twin._execution_options = connection._execution_options.union({"skip_user_error_events": True})
    made: Connection = twin
    return made
