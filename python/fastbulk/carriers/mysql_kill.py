"""The end of a statement that the server is at work on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def kill(connection: Connection) -> None:
    """Has the server end the statement that runs on the connection."""
    driver: Any = connection.connection.driver_connection
    pool: Any = connection.engine.pool
    other = pool._creator()
    try:
        other.cursor().execute(f"KILL QUERY {driver.thread_id()}")
    finally:
        other.close()
