"""How a call comes to fall through."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from .. import errors
from .._native import RowError
from ..carriers import carrier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from ..orm.keyed import KeyedPlan
    from ..orm.mapping import InsertPlan


_FAILED = "the call fails"


class FallThrough(Exception):  # noqa: N818  # no error
    """SQLAlchemy's own code has to do the call."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        """The reason as it is counted, and what more can be said of this call."""
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    @property
    def failed(self) -> bool:
        """Whether native code tried and did not succeed."""
        return self.reason == _FAILED

    def __str__(self) -> str:
        """Both."""
        return self.reason if self.detail is None else f"{self.reason}: {self.detail}"


@contextmanager
def fails_alike(connection: Connection, plan: InsertPlan | KeyedPlan) -> Iterator[None]:
    """Leaves what fails to SQLAlchemy, so that it fails as it always did.

    What was sent has been undone. So the exception, what it tells, what stays in the table and the
    state of the transaction are SQLAlchemy's own; and what only native code refuses succeeds.

    Raises
    ------
    FallThrough
        The rows, the mapping or the database refused the call.
    sqlalchemy.exc.DBAPIError
        The connection, the transaction or the statement was ended from outside, or the table has
        no transactions, so that rows may stay in it.
    """
    try:
        yield
    except exc.DBAPIError as error:
        if _ended(error) or not _is_undone(connection, plan):
            raise
        raise FallThrough(_FAILED, str(error.orig)) from error
    except RowError as error:
        if not _is_undone(connection, plan):
            raise errors.of_row(error, connection, None) from error.args[4]
        raise FallThrough(_FAILED, repr(error)) from error
    except Exception as error:
        if not _is_undone(connection, plan):
            raise
        raise FallThrough(_FAILED, repr(error)) from error


def _is_undone(connection: Connection, plan: InsertPlan | KeyedPlan) -> bool:
    """Whether nothing of a call that failed can have stayed in the table."""
    if connection.dialect.name not in {"mysql", "mariadb"}:
        return True
    return bool(carrier("mysql_errors").Definition.read(connection, plan).transactional)


def _ended(error: exc.DBAPIError) -> bool:
    """Whether something else than the rows ended the call, so that it might not fail again."""
    orig: Any = error.orig
    if error.connection_invalidated or orig is None:
        return True
    sqlite = getattr(orig, "sqlite_errorcode", None)
    if sqlite is not None:
        return (sqlite & 0xFF) not in _SQLITE_OF_ROWS
    if getattr(orig, "errno", None) in _MYSQL_ENDED:
        return True
    if orig.args and orig.args[0] in _MYSQL_ENDED:
        return True
    state = getattr(orig, "sqlstate", None) or getattr(orig, "pgcode", None)
    if orig.args and isinstance(orig.args[0], dict):
        state = orig.args[0].get("C")  # pg8000
    return isinstance(state, str) and state[:2] in _SQLSTATES_ENDED


#: Classes of SQLSTATE: connection, rollback, resources, locks, intervention, system, internal.
_SQLSTATES_ENDED = frozenset({"08", "40", "53", "55", "57", "58", "XX"})

#: https://www.sqlite.org/rescode.html: ERROR, CONSTRAINT, MISMATCH, TOOBIG, RANGE.
_SQLITE_OF_ROWS = frozenset({1, 18, 19, 20, 25})

#: Locks, deadlocks, kills, limits of time and space, lost connections.
_MYSQL_ENDED = frozenset(
    {1021, 1030, 1037, 1038, 1041, 1053, 1114, 1180, 1205, 1206, 1213, 1290, 1317, 1792, 1836}
    | {1927, 1969, 2006, 2013, 2055, 3024, 3058, 3168, 3572, 4031}
)
