"""The verbs: arguments in, result out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import exc

from .call import Call
from .orm.mapping import Request, mapper_of, table_of
from .orm.returning import as_list
from .progress import reporting
from .targets import hold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .progress import Report
    from .result import Result
    from .roads import Road
    from .targets import Target


def insert(
    target: Target,
    model: type[Any],
    rows: Iterable[Any],
    *,
    returning: Any = None,
    render_nulls: bool = False,
    unknown: Literal["raise", "ignore"] = "raise",
    options: Sequence[Any] = (),
    execution_options: Mapping[str, Any] | None = None,
    progress: Report | bool | None = None,
) -> Result:
    """Inserts rows of a mapped class: SQLAlchemy's bulk insert, native.

    All rows are inserted or, with an error, none; the transaction is the target's and stays open
    (an Engine's call has its own and commits it).

    Parameters
    ----------
    target
        A ``Session``, ``scoped_session`` or ``Connection``, whose transaction is used, or an
        ``Engine``.
    model
        A mapped class.
    rows
        An iterable of mappings from attribute name (or attribute) to value, of objects of the
        class that belong to no Session, or of dataclasses with fields of those names. A generator
        is read slice by slice. Rows are never changed. ``None`` means what it means to
        SQLAlchemy's bulk insert: a default applies where there is one. ``sqlalchemy.null()`` is
        NULL always.
    returning
        What comes back, in the order of the rows: an attribute, a list of them (SQL expressions
        too), or mapped classes, whose objects join the Session.
    render_nulls
        ``None`` is NULL even where the column has a default.
    unknown
        ``"raise"`` for a key that is no column attribute, or ``"ignore"``, which is what
        SQLAlchemy does.
    options
        Loader options for returned entities.
    execution_options
        SQLAlchemy's, of which ``populate_existing`` and ``schema_translate_map`` matter here.
    progress
        A callable that is given (rows done, rows in all or None), or True for a bar.

    Returns
    -------
    Result
        SQLAlchemy's ``Result`` with ``.rowcount``, ``.road`` and ``.timing``.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        The target, the class, the form of a row or a key is wrong; nothing was sent.
    sqlalchemy.exc.StatementError
        A value is wrong, or the database refused a row. ``.orig`` is the driver's or Python's own
        error; ``.row``, ``.column`` and ``.value`` say where, as far as that can be known.
    sqlalchemy.exc.InvalidRequestError
        Entities are wanted from a target that is no Session, the Session is closed, or fewer rows
        came back than were sent.
    NotImplementedError
        The Session is sharded.
    ImportError
        A bar is wanted and tqdm is not installed.
    """
    mapper = mapper_of(model)
    request = Request(render_nulls, unknown, tuple(as_list(returning)), tuple(options))
    _check_rows(rows)
    with hold(target, mapper) as held:
        call = Call.prepare(held, mapper, request, execution_options or {})
        with reporting(progress, rows, table_of(mapper).name) as report:
            return call.insert(rows, report)


def explain(
    target: Target,
    model: type[Any],
    rows: Iterable[Any] = (),
    *,
    verb: Literal["insert"] = "insert",
    returning: Any = None,
    render_nulls: bool = False,
    options: Sequence[Any] = (),
    execution_options: Mapping[str, Any] | None = None,
) -> Road:
    """The road that a call with these arguments would take, without sending any row.

    Parameters
    ----------
    target, model, returning, render_nulls, options, execution_options
        As for :func:`insert`.
    rows
        Not read; accepted so that a call can be explained by changing one word of it.
    verb
        ``"insert"``.

    Returns
    -------
    Road
        Its name, its SQL, and why each faster one is refused.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        The target, the class, the verb or ``returning`` is wrong.
    sqlalchemy.exc.InvalidRequestError
        Entities are wanted from a target that is no Session, or the Session is closed.
    NotImplementedError
        The Session is sharded.
    """
    if verb != "insert":
        raise exc.ArgumentError(f"verb is 'insert', got {verb!r}")
    mapper = mapper_of(model)
    request = Request(render_nulls, "raise", tuple(as_list(returning)), tuple(options))
    with hold(target, mapper) as held:
        return Call.prepare(held, mapper, request, execution_options or {}).road


def _check_rows(rows: Any) -> None:
    if isinstance(rows, Mapping):
        raise exc.ArgumentError("rows is one mapping; wrap one row in a list: [row]")
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
        raise exc.ArgumentError(
            f"rows is of type {type(rows).__qualname__}; "
            "an iterable of mappings or objects is expected"
        )
