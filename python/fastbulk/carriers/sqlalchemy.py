"""SQLAlchemy's own bulk insert: for mappings that native code has no plan for."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc
from sqlalchemy import insert as insert_statement
from sqlalchemy.orm import Session

from .. import errors
from ..orm.mapping import Adapter
from ..result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy.orm import Mapper

    from ..orm.mapping import Request
    from ..targets import Held


def insert(
    held: Held,
    mapper: Mapper[Any],
    request: Request,
    execution_options: Mapping[str, Any],
    rows: Iterable[Any],
) -> Result:
    """``session.execute(insert(Model).returning(...), rows)``, in the order of the rows.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        A row or a key has no meaning.
    sqlalchemy.exc.StatementError
        As SQLAlchemy raises it.
    """
    adapt = Adapter(mapper, request.unknown)
    adapted = [adapt(row, position) for position, row in enumerate(rows)]
    result = Result.without_rows()
    if adapted:
        statement: Any = insert_statement(mapper)
        if request.returning:
            statement = statement.returning(*request.returning, sort_by_parameter_order=True)
            statement = statement.options(*request.options)
        options = {**execution_options, "render_nulls": request.render_nulls}
        with _session(held) as session:
            try:
                executed = session.execute(statement, adapted, execution_options=options)
            except exc.StatementError as error:
                errors.locate(error, row=None)
                raise
            if request.returning:
                types = [getattr(entity, "type", None) for entity in request.returning]
                result = Result.of(executed, held.connection.dialect, types)
    result.rowcount = len(adapted)
    return result


def _session(held: Held) -> AbstractContextManager[Session]:
    if held.session is not None:
        return nullcontext(held.session)
    # The connection's transaction is the caller's: this Session must not end it.
    return Session(held.connection, join_transaction_mode="rollback_only")
