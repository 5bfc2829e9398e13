"""How a call comes to fall through."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from .._native import ColumnError, RowError

if TYPE_CHECKING:
    from collections.abc import Iterator


class FallThrough(Exception):  # noqa: N818  # no error
    """SQLAlchemy's own code has to do the call."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        """The reason as it is counted, and what more can be said of this call."""
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        """Both."""
        return self.reason if self.detail is None else f"{self.reason}: {self.detail}"


@contextmanager
def fails_alike() -> Iterator[None]:
    """Leaves what fails to SQLAlchemy, so that it fails as it always did.

    What was sent has been undone. So the exception, what it tells, what stays in the table and the
    state of the transaction are SQLAlchemy's own; and what only native code refuses succeeds.

    Raises
    ------
    FallThrough
        The rows, the mapping or the database refused the call.
    sqlalchemy.exc.DBAPIError
        The connection, the transaction or the statement was ended from outside.
    """
    try:
        yield
    except exc.DBAPIError as error:
        if _ended(error):
            raise
        raise FallThrough("the call fails", str(error.orig)) from error
    except (RowError, ColumnError) as error:
        raise FallThrough("the call fails", str(error)) from error
    except Exception as error:
        raise FallThrough("the call fails", repr(error)) from error


def _ended(error: exc.DBAPIError) -> bool:
    """Whether the same call would not fail in the same way."""
    if error.connection_invalidated:
        return True
    return isinstance(error, exc.OperationalError) and _code(error.orig) not in _OF_ROWS


def _code(error: Any) -> Any:
    """What the database calls the error."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state is not None:
        return str(state)[:2]
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF
    return error.args[0] if error is not None and error.args else None


#: Codes of operational errors that speak of the rows or the table: SQLite's SQL error; MySQL's of
#: values and columns, which some of its drivers have in other classes.
_OF_ROWS = frozenset(
    {1, 1048, 1054, 1136, 1146, 1264, 1265, 1292, 1364, 1366, 1369, 1406, 1644, 1690, 3140, 3819}
    | {4025, 3105, 1906}
)
