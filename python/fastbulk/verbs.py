"""The verbs: arguments in, result out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import exc
from sqlalchemy.engine import Engine

from .call import Call, why_not_own
from .carriers.adapted import sleep_of
from .columns import are_columns, length_of, read
from .keyed import KeyedCall, held_rows
from .orm.keyed import KeyedRequest, names_of, unique_key
from .orm.mapping import Request, mapper_of, table_of, tables_of
from .orm.returning import as_list
from .progress import reporting
from .retry import until_done
from .targets import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Mapper

    from .columns import Rows
    from .progress import Report
    from .result import Result
    from .roads import Road
    from .targets import Target


def insert(
    target: Target,
    model: type[Any],
    rows: Rows,
    *,
    returning: Any = None,
    render_nulls: bool = False,
    unknown: Literal["raise", "ignore"] = "raise",
    options: Sequence[Any] = (),
    execution_options: Mapping[str, Any] | None = None,
    progress: Report | bool | None = None,
    connections: int = 1,
) -> Result:
    """Inserts rows of a mapped class: SQLAlchemy's bulk insert, native.

    All rows are inserted or, with an error, none; the transaction is the target's and stays open
    (an Engine's call has its own and commits it).

    Parameters
    ----------
    target
        A ``Session``, ``scoped_session`` or ``Connection``, whose transaction is used, or an
        ``Engine``. On PostgreSQL (psycopg), MySQL and MariaDB fastbulk opens a connection of its
        own for an Engine's load of more than 50,000 rows, if it would be the same as one of the
        pool: the Engine and its pool have no listeners, no creator and no isolation level of their
        own. On MySQL and MariaDB no rows come back over it.
    model
        A mapped class.
    rows
        An iterable of mappings from attribute name (or attribute) to value, of objects of the
        class that belong to no Session, or of dataclasses with fields of those names. A generator
        is read slice by slice. Or columns: anything with Arrow's PyCapsule interface, read batch
        by batch (tables and frames of pyarrow, polars, pandas and DuckDB), or one mapping of
        attribute name to NumPy array or Series. Their values reach a column of another type if
        nothing of them is lost. Rows are never changed. ``None`` means what it means to
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
    connections
        Over how many connections an Engine's rows are spread, where fastbulk opens its own
        (PostgreSQL, MySQL, MariaDB; ``result.road`` says so). Each has its own transaction, and all
        are committed only after all rows were sent. More than one is no longer atomic in two ways:
        should a commit fail (a deferred constraint, a lost connection) the rows of those before it
        stay, and others may see the rows of one connection a moment before those of the next. No
        connection sees another's rows, so rows of one call can't refer to each other, a unique
        constraint makes one wait for the other, and the order of generated keys is not that of the
        rows (what is returned comes in the order of the rows all the same).

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
    request = _insert_request(
        mapper, returning=returning, render_nulls=render_nulls, unknown=unknown, options=options
    )
    _check_rows(rows)
    if connections != 1:
        _check_connections(connections, target)
    length = length_of(rows)
    why = why_not_own(mapper, request, execution_options or {}, length, connections)
    with hold(target, mapper, why, connections) as held:
        call = Call.prepare(held, mapper, request, execution_options or {})
        with reporting(progress, length, table_of(mapper).name) as report:
            return call.insert(_read(rows), report)


def update(
    target: Target,
    model: type[Any],
    rows: Rows,
    *,
    where: Any = None,
    values: Mapping[Any, Any] | None = None,
    returning: Any = None,
    unknown: Literal["raise", "ignore"] = "raise",
    options: Sequence[Any] = (),
    execution_options: Mapping[str, Any] | None = None,
    progress: Report | bool | None = None,
) -> Result:
    """Updates rows of a mapped class by primary key: SQLAlchemy's bulk update, native.

    Each row holds its whole primary key. Whatever else it gives is stored, None as NULL; what it
    leaves out stays as it is, but for ``onupdate`` and version ids. Of several rows with one key
    the last one wins. All rows are updated or, with an error, none.

    Parameters
    ----------
    target
        As for :func:`insert`. A call on an Engine that the server ends for a deadlock is done
        again, up to twenty times; on another target it raises, and on MySQL and MariaDB the whole
        transaction is gone then, as the error says.
    model
        A mapped class.
    rows
        As for :func:`insert`; they are held until the call ends.
    where
        A condition, or a list of them, that the row that is there has to meet too; it may use
        :func:`given`. Rows that don't meet it are in the result's ``unmatched``.
    values
        Attribute -> value or SQL expression, for all rows:
        ``{User.n: User.n + fastbulk.given(User.n)}``. What rows give for such an attribute is
        taken by :func:`given` alone.
    returning
        What comes back, in the order of the rows, as the rows are after the call; as for
        :func:`insert`.
    unknown, options, execution_options, progress
        As for :func:`insert`.

    Returns
    -------
    Result
        With ``.rowcount``, ``.unmatched``, ``.road`` and ``.timing``.

    Raises
    ------
    sqlalchemy.orm.exc.StaleDataError
        A row is not there, or its version id is another; ``.rows`` has the indexes.
    sqlalchemy.exc.InvalidRequestError
        A row does not give its whole key or its version id.
    sqlalchemy.exc.ArgumentError, sqlalchemy.exc.StatementError
        As for :func:`insert`.
    NotImplementedError
        There is no road for this verb on this database yet.
    """
    mapper = mapper_of(model)
    request = _update_request(
        mapper, where=where, values=values, returning=returning, unknown=unknown, options=options
    )
    return _keyed(target, mapper, rows, request, execution_options, progress)


def upsert(
    target: Target,
    model: type[Any],
    rows: Rows,
    *,
    key: Any = None,
    key_where: Any = None,
    update: Any = None,
    where: Any = None,
    only_changed: bool = False,
    duplicates: Literal["error", "first", "last"] = "error",
    probe_first: bool = False,
    returning: Any = None,
    unknown: Literal["raise", "ignore"] = "raise",
    options: Sequence[Any] = (),
    execution_options: Mapping[str, Any] | None = None,
    progress: Report | bool | None = None,
) -> Result:
    """Inserts rows, and updates those whose key is there already.

    What a row gives is stored, None as NULL. What it leaves out becomes its default in a new row,
    and stays as it is (but for ``onupdate``) in one that is there. A version id is set in a new
    row and stays in one that is there.

    Parameters
    ----------
    target
        As for :func:`update`.
    model
        A class that is mapped to one table.
    rows
        As for :func:`insert`; they are held until the call ends.
    key
        A unique key: its attributes or their names, in any order; or a unique constraint or
        index, or its name as the table of the class knows it. By default the primary key.
    key_where
        The condition of a partial unique index; one that is named as the ``key`` brings its own.
    update
        What is stored in rows that are there: a list of attributes; ``"nothing"``; or a mapping
        from attribute to value or SQL expression over the row that is there and, by
        :func:`given`, the given one. By default all that a row gives but key and primary key.
    where
        A condition, or a list of them: rows that are there and don't meet it stay as they are.
    only_changed
        A row that would be the same afterwards is left alone: no trigger fires, no ``onupdate``.
    duplicates
        What to make of several rows with one key, as the database compares keys: an error, or the
        first or last of them counts and the others are left out.
    probe_first
        Rows that are there are looked for first, so that they use up no generated keys. (SQLite
        never does.) On MySQL and MariaDB generated keys are given in the order of the rows then,
        else, and always under READ COMMITTED, in that of the keys, in which concurrent calls do not
        wait for each other in circles.
    returning
        What comes back for every row, in the order of the rows, whatever became of it.
    unknown, options, execution_options, progress
        As for :func:`insert`.

    Returns
    -------
    Result
        With ``.actions``, ``.inserted``, ``.updated``, ``.unchanged``, ``.rowcount``, ``.road`` and
        ``.timing``.

    Raises
    ------
    sqlalchemy.exc.InvalidRequestError
        A row does not give its key, two rows have the same one, or there is no such unique key.
    sqlalchemy.exc.ArgumentError, sqlalchemy.exc.StatementError
        As for :func:`insert`.
    NotImplementedError
        There is no road for this verb on this database yet.
    """
    mapper = mapper_of(model)
    request = _upsert_request(
        mapper,
        key=key,
        key_where=key_where,
        update=update,
        where=where,
        only_changed=only_changed,
        duplicates=duplicates,
        probe_first=probe_first,
        returning=returning,
        unknown=unknown,
        options=options,
    )
    return _keyed(target, mapper, rows, request, execution_options, progress)


def delete(
    target: Target,
    model: type[Any],
    keys: Rows,
    *,
    where: Any = None,
    returning: Any = None,
    execution_options: Mapping[str, Any] | None = None,
    progress: Report | bool | None = None,
) -> Result:
    """Deletes rows of a mapped class by primary key.

    Parameters
    ----------
    target
        As for :func:`update`.
    model
        A mapped class. Rows of joined inheritance are deleted from all its tables.
    keys
        Whole primary keys: values, tuples in the order of the key's columns, mappings, or objects.
        It is no error to give one twice.
    where
        A condition, or a list of them, that a row has to meet too. Rows that don't meet it are in
        the result's ``unmatched``.
    returning
        Attributes, or SQL expressions over them, of what was deleted: each row once, in the order
        of the keys.
    execution_options, progress
        As for :func:`insert`.

    Returns
    -------
    Result
        With ``.rowcount``, ``.missing`` (indexes of keys that were not there), ``.unmatched``,
        ``.road`` and ``.timing``.

    Raises
    ------
    sqlalchemy.exc.InvalidRequestError
        A key is not whole.
    sqlalchemy.exc.ArgumentError, sqlalchemy.exc.StatementError
        As for :func:`insert`.
    NotImplementedError
        There is no road for this verb on this database yet.
    """
    mapper = mapper_of(model)
    request = _delete_request(mapper, where=where, returning=returning)
    return _keyed(target, mapper, keys, request, execution_options, progress)


def _keyed(
    target: Target,
    mapper: Mapper[Any],
    rows: Rows,
    request: KeyedRequest,
    execution_options: Mapping[str, Any] | None,
    progress: Report | bool | None,
) -> Result:
    _check_rows(rows)
    total = length_of(rows)
    again = held_rows(_read(rows))

    def run(report: Report | None) -> Result:
        with hold(target, mapper, _no_own_connection, verb=request.verb) as held:
            call = KeyedCall.prepare(held, mapper, request, execution_options or {})
            return call.run(again, report)

    with reporting(progress, total, table_of(mapper).name) as report:
        if isinstance(target, Engine):
            return until_done(partial(run, report), sleep_of(target.dialect))
        return run(report)


def _no_own_connection(engine: Engine) -> str:
    return "a connection of our own only inserts"


def _insert_request(
    mapper: Mapper[Any],
    *,
    returning: Any = None,
    render_nulls: bool = False,
    unknown: str = "raise",
    options: Sequence[Any] = (),
) -> Request:
    return Request(render_nulls, unknown, tuple(as_list(returning)), tuple(options))


def _update_request(
    mapper: Mapper[Any],
    *,
    where: Any = None,
    values: Mapping[Any, Any] | None = None,
    returning: Any = None,
    unknown: str = "raise",
    options: Sequence[Any] = (),
) -> KeyedRequest:
    return KeyedRequest(
        "update",
        unknown,
        tuple(as_list(returning)),
        tuple(options),
        where=tuple(as_list(where)),
        values=_values(mapper, values),
    )


def _upsert_request(
    mapper: Mapper[Any],
    *,
    key: Any = None,
    key_where: Any = None,
    update: Any = None,
    where: Any = None,
    only_changed: bool = False,
    duplicates: str = "error",
    probe_first: bool = False,
    returning: Any = None,
    unknown: str = "raise",
    options: Sequence[Any] = (),
) -> KeyedRequest:
    if len(tables_of(mapper)) > 1:
        raise exc.InvalidRequestError(
            f"{mapper.class_.__name__} is mapped to several tables; upsert takes one"
        )
    if duplicates not in {"error", "first", "last"}:
        raise exc.ArgumentError(f"duplicates is 'error', 'first' or 'last', got {duplicates!r}")
    names, index = unique_key(mapper, key)
    updates, values = _updates(mapper, update)
    return KeyedRequest(
        "upsert",
        unknown,
        tuple(as_list(returning)),
        tuple(options),
        where=tuple(as_list(where)),
        values=values,
        key=names,
        key_where=key_where if index is None else index,
        update=updates,
        duplicates=duplicates,
        only_changed=only_changed,
        probe_first=probe_first,
    )


def _delete_request(
    mapper: Mapper[Any], *, where: Any = None, returning: Any = None
) -> KeyedRequest:
    request = KeyedRequest(
        "delete", returning=tuple(as_list(returning)), where=tuple(as_list(where))
    )
    if request.has_entities:
        raise exc.ArgumentError("returning: what was deleted comes back as values, not as objects")
    return request


_REQUESTS: dict[str, Callable[..., Request | KeyedRequest]] = {
    "insert": _insert_request,
    "update": _update_request,
    "upsert": _upsert_request,
    "delete": _delete_request,
}


def _values(mapper: Mapper[Any], values: Mapping[Any, Any] | None) -> tuple[tuple[str, Any], ...]:
    given = values or {}
    return tuple(zip(names_of(mapper, given, "values"), given.values(), strict=True))


def _updates(
    mapper: Mapper[Any], update: Any
) -> tuple[tuple[str, ...] | None, tuple[tuple[str, Any], ...]]:
    """The attributes that are stored as given, and those that are set to something else."""
    if update is None:
        return None, ()
    if isinstance(update, str) and update == "nothing":
        return (), ()
    if isinstance(update, Mapping):
        return (), _values(mapper, update)
    return names_of(mapper, as_list(update), "update"), ()


def explain(
    target: Target,
    model: type[Any],
    rows: Rows = (),
    *,
    verb: Literal["insert", "update", "upsert", "delete"] = "insert",
    execution_options: Mapping[str, Any] | None = None,
    progress: Report | bool | None = None,
    **arguments: Any,
) -> Road:
    """The road that a call with these arguments would take, without sending any row.

    Parameters
    ----------
    target, model, execution_options
        As for the verb.
    rows, progress
        Not used; accepted so that a call can be explained by changing one word of it.
    verb
        ``"insert"``, ``"update"``, ``"upsert"`` or ``"delete"``.
    arguments
        What else the verb takes: ``returning``, ``where``, ``key`` and so on.

    Returns
    -------
    Road
        Its name, its SQL, and why each faster one is refused. ``statement`` is what many rows
        would be sent by: of the verbs that find rows by their keys, and on PostgreSQL (more than 50
        rows) of an insert, for which the catalog is asked.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        The target, the class, the verb or one of its arguments is wrong.
    sqlalchemy.exc.InvalidRequestError
        Entities are wanted from a target that is no Session, or the Session is closed.
    NotImplementedError
        The Session is sharded, or there is no road for this verb on this database yet.
    TypeError
        The verb does not take one of the arguments.
    """
    if verb not in _REQUESTS:
        raise exc.ArgumentError(f"verb is one of {', '.join(map(repr, _REQUESTS))}, got {verb!r}")
    mapper = mapper_of(model)
    request = _REQUESTS[verb](mapper, **arguments)
    options = execution_options or {}
    if isinstance(request, KeyedRequest):
        with hold(target, mapper, _no_own_connection, verb=verb) as held:
            return KeyedCall.prepare(held, mapper, request, options).road
    why = why_not_own(mapper, request, options, length_of(rows) or None)
    with hold(target, mapper, why) as held:
        return Call.prepare(held, mapper, request, options).foreseen()


def _check_rows(rows: Any) -> None:
    if type(rows) is list:
        return
    try:
        if are_columns(rows):
            return
    except ValueError as error:
        raise exc.ArgumentError(str(error)) from None
    if isinstance(rows, Mapping):
        raise exc.ArgumentError("rows is one mapping; wrap one row in a list: [row]")
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
        raise exc.ArgumentError(
            f"rows is of type {type(rows).__qualname__}; "
            "an iterable of mappings or objects, or columns, are expected"
        )


def _read(rows: Any) -> Any:
    """Rows as native code takes them."""
    try:
        return read(rows)
    except (TypeError, ValueError) as error:
        raise exc.ArgumentError(f"the columns can't be read: {error}") from error


def _check_connections(connections: Any, target: Any) -> None:
    if not isinstance(connections, int) or connections < 1:
        raise exc.ArgumentError(f"connections is a number from 1 on, got {connections!r}")
    if not isinstance(target, Engine):
        raise exc.ArgumentError("several connections need an Engine as the target")
