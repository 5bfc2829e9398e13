"""What was wrong, in SQLAlchemy's words, with the row that it was wrong in."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from ._native import ColumnError, RowError

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def locate(
    error: exc.SQLAlchemyError,
    *,
    row: int | None,
    column: Any = None,
    value: Any = None,
    hide_parameters: bool = False,
) -> None:
    """Gives an error the attributes ``row``, ``column`` and ``value``, and says them in its text.

    Parameters
    ----------
    error
        The error, changed in place.
    row
        The index of the bad row in the input, None where it can't be known.
    column
        The attribute's name, or a tuple of names for a constraint over several.
    value
        The value as it was given, or a tuple of values.
    hide_parameters
        The engine's setting: no value is kept or shown.
    """
    value = None if hide_parameters else value
    _place(error, row, column, value)
    if row is None or not isinstance(error, exc.StatementError):
        return
    detail = f"row {row}"
    if column is not None:
        detail += f", column {column!r}"
        if not hide_parameters:
            detail += f", value {_SHORT.repr(value)}"
    error.add_detail(detail)


def of_row(error: RowError, connection: Connection, statement: str | None) -> exc.SQLAlchemyError:
    """A value that could not be sent, as the error that SQLAlchemy raises for it.

    Parameters
    ----------
    error
        What native code found.
    connection
        The connection of the call: its driver's exceptions keep their class.
    statement
        The SQL that the row was meant for.

    Returns
    -------
    sqlalchemy.exc.StatementError
        With ``.orig``, ``.row``, ``.column`` and ``.value``.
    """
    row, key, value, reason, cause = error.args
    hide = connection.engine.hide_parameters
    where = f"row {row}, column {key!r}" + ("" if hide else f", value {_SHORT.repr(value)}")
    located = _as_statement_error(f"{where}: {reason}", statement, cause, connection)
    _place(located, row, key, None if hide else value)
    return located


def of_column(error: ColumnError, table: Table) -> exc.ArgumentError:
    """A column of rows that can't be sent.

    Parameters
    ----------
    error
        What native code found.
    table
        The table of the call.

    Returns
    -------
    sqlalchemy.exc.ArgumentError
        With ``.column``.
    """
    key, position, given = error.args
    if given is None:
        refused = exc.ArgumentError(f"column {key!r} stands there twice")
    else:
        type_ = list(table.columns)[position].type
        refused = exc.ArgumentError(
            f"column {key!r}: Arrow's {given} can't be stored as {type_!r} without loss"
        )
    _place(refused, None, key, None)
    return refused


def _place(error: Any, row: int | None, column: Any, value: Any) -> None:
    """SQLAlchemy's classes don't declare these attributes."""
    error.row, error.column, error.value = row, column, value


def _as_statement_error(
    message: str, statement: str | None, cause: BaseException | None, connection: Connection
) -> exc.StatementError:
    hide = connection.engine.hide_parameters
    dbapi_error = connection.dialect.loaded_dbapi.Error
    if isinstance(cause, dbapi_error):
        cause.args = (message, *cause.args[1:])
        instance = exc.DBAPIError.instance(
            statement, None, cause, dbapi_error, hide_parameters=hide, dialect=connection.dialect
        )
        assert isinstance(instance, exc.StatementError)
        return instance
    if cause is not None:
        message = f"({type(cause).__module__}.{type(cause).__qualname__}) {message}"
    class_ = _RAW.get(type(cause), exc.StatementError)
    return class_(message, statement, None, cause or ValueError(message), hide_parameters=hide)


class RangeError(exc.StatementError, OverflowError):
    """A number that the database can't hold; SQLAlchemy lets the driver's OverflowError through."""


class EncodingError(exc.StatementError, ValueError):
    """A text that is no Unicode; SQLAlchemy lets the driver's UnicodeEncodeError through."""


_RAW: dict[type | None, type[exc.StatementError]] = {
    OverflowError: RangeError,
    UnicodeEncodeError: EncodingError,
}
