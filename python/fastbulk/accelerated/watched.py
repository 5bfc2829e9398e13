"""What on a connection sees statements go by, each with its text and parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..carriers.statement import is_listened
from .cursor import do

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_OF_CONNECTION = (
    "before_execute",
    "after_execute",
    "before_cursor_execute",
    "after_cursor_execute",
)
_OF_DIALECT = ("do_execute", "do_executemany", "do_execute_no_params", "do_setinputsizes")


def why_watched(connection: Connection) -> str | None:
    """Why statements of our own would be seen, or missed, on this connection; None if not."""
    if connection._echo:
        return "echo"
    engine: Any = connection.engine
    if connection._has_events or engine._has_events:
        for name in _OF_CONNECTION:
            if len(getattr(connection.dispatch, name)):
                return f"listeners of {name}"
    if connection.dialect._has_events and is_listened(connection.dialect, "handle_error"):
        return "listeners of handle_error"
    return None


def why_never(connection: Connection) -> str | None:
    """Why nothing of our own may be sent on this connection; None if it may."""
    if _commits_each(connection):
        return "autocommit"
    dialect = connection.dialect
    if dialect._has_events:
        for name in _OF_DIALECT:
            if is_listened(dialect, name, do):
                return f"listeners of {name}"
    return None


def _commits_each(connection: Connection) -> bool:
    """Whether each statement is a transaction."""
    level = connection.get_execution_options().get("isolation_level")
    if level is None:
        level = connection.dialect._on_connect_isolation_level
    if level == "AUTOCOMMIT":
        return True
    return getattr(connection.connection.dbapi_connection, "autocommit", None) is True
