"""What SQLAlchemy needs of the cursor of a connection of our own."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

Connection = TypeVar("Connection")


class Cursor(Generic[Connection]):
    """A DBAPI cursor that holds its result."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        """A cursor without a result."""
        self.connection = connection
        self.description: list[tuple[Any, ...]] | None = None
        self.rowcount = -1
        self._rows: list[tuple[Any, ...]] = []

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that were not fetched."""
        rows, self._rows = self._rows, []
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row."""
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        """The next rows."""
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    def close(self) -> None:
        """Forgets the result."""
        self._rows = []


def cancel(connection: Any) -> None:
    """Ends the statement that runs on the SQLAlchemy connection in another thread, if one does."""
    connection.connection.driver_connection.cancel()
