"""What a call gives back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import exc
from sqlalchemy.engine.cursor import null_dml_result
from sqlalchemy.engine.result import ChunkedIteratorResult

from .orm.identity import RowMetaData, cyclic_gc_paused, load
from .returned import Fetched, Returned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Dialect
    from sqlalchemy.orm import Session
    from typing_extensions import Unpack

    from . import _native
    from .orm.returning import Returning
    from .roads import Road

    # SQLAlchemy 2.0 knows no rows of any width.
    _Rows: TypeAlias = ChunkedIteratorResult[Unpack[tuple[Any, ...]]]
else:
    _Rows = ChunkedIteratorResult


#: Mapped objects are built in so many rows at a time where others wait: a turn of theirs is near.
_PORTION = 1_000

_NO_ROWS = null_dml_result()._metadata


class Timing(NamedTuple):
    """Where the time of a call went, in seconds.

    Attributes
    ----------
    total
        From the call's begin to its end.
    extract
        Reading the rows, and loading returned entities, with the GIL held.
    run
        Sending the rows, with the GIL released.
    """

    total: float
    extract: float
    run: float


class Result(_Rows):
    """A ``sqlalchemy.engine.Result`` that knows how it came about.

    Without ``returning=`` it has no rows, and asking for them raises
    ``sqlalchemy.exc.ResourceClosedError`` as SQLAlchemy's does.

    Attributes
    ----------
    rowcount : int
        Rows that the database inserted, updated or deleted.
    unmatched : list of int
        Update and delete with ``where=``: indexes of rows whose key is there, and not as ``where``
        has it.
    missing : list of int
        Delete: indexes of keys that are not there.
    actions : list of str
        Upsert: what became of each row, ``"inserted"``, ``"updated"``, ``"unchanged"`` (it was
        there and was left alone) or ``"duplicate"`` (another row of the input has its key and
        counts).
    inserted, updated, unchanged : int
        Upsert: how many rows of the input each became of.
    road : fastbulk.Road
        How the rows travelled, and why not by a faster road.
    timing : fastbulk.Timing
        Where the time went.
    """

    rowcount: int
    road: Road
    timing: Timing
    unmatched: Sequence[int] = ()
    missing: Sequence[int] = ()
    actions: Sequence[str] = ()
    _returned: Returned | None = None

    @property
    def inserted(self) -> int:
        """How many rows of an upsert are new."""
        return self.actions.count("inserted")

    @property
    def updated(self) -> int:
        """How many rows of an upsert changed rows that were there."""
        return self.actions.count("updated")

    @property
    def unchanged(self) -> int:
        """How many rows of an upsert left alone rows that were there."""
        return self.actions.count("unchanged")

    @classmethod
    def without_rows(cls) -> Result:
        """A result that returns no rows."""
        result = cls(_NO_ROWS, lambda size: iter(()))
        result._soft_close()
        return result

    @classmethod
    def of_columns(
        cls,
        dialect: Dialect,
        returning: Returning,
        outcomes: Sequence[_native.Outcome],
        pause: Callable[[], None] | None = None,
    ) -> Result:
        """Rows of columns, as SQLAlchemy's result processors give them.

        ``pause`` is called between some rows and the next ones.
        """
        if returning.has_entities:
            return cls.of_entities(dialect, None, returning, outcomes, {}, pause)
        # One column is kept as bare values: most callers want them as scalars.
        single = len(returning.keys) == 1
        rows = _scalars if single else processed_rows

        # Python objects are made when they are asked for, of one statement after the other.
        def made() -> Iterator[list[Any]]:
            return (rows(dialect, returning, [outcome]) for outcome in outcomes)

        chunks = made
        if any(any(returning.processors(dialect, outcome.type_codes)) for outcome in outcomes):
            # Processors may raise, and SQLAlchemy's insert does then.
            held = list(_pausing(made(), pause))
            chunks = partial(iter, held)
        result = cls(RowMetaData(returning), lambda size: chunks(), source_supports_scalars=single)
        result._returned = Returned(returning.keys, returning.types, dialect, outcomes)
        return result

    @classmethod
    def of_entities(
        cls,
        dialect: Dialect,
        session: Session | None,
        returning: Returning,
        outcomes: Sequence[_native.Outcome],
        execution_options: Mapping[str, Any],
        pause: Callable[[], None] | None = None,
    ) -> Result:
        """Rows with mapped objects or bundles, which are built here and held by the result.

        ``pause`` is called between some rows and the next ones.
        """
        if pause is None:
            portions = iter([processed_rows(dialect, returning, outcomes)])
        else:
            portions = _portions(dialect, returning, outcomes)
        loaded: list[Any] = []
        with cyclic_gc_paused():
            for rows in _pausing(portions, pause):
                result = load(session, returning, rows, execution_options)
                loaded += _fetched(result)
        scalars = result._source_supports_scalars
        return cls(result._metadata, lambda size: iter((loaded,)), source_supports_scalars=scalars)

    @classmethod
    def of(cls, result: Any, dialect: Dialect | None = None, types: Sequence[Any] = ()) -> Result:
        """All rows of another result, fetched; their types, if they are columns."""
        scalars = result._source_supports_scalars
        rows = _fetched(result)
        fetched = cls(result._metadata, lambda size: iter((rows,)), source_supports_scalars=scalars)
        if dialect is not None and None not in types:
            tuples = [(row,) for row in rows] if scalars else rows
            outcomes = [Fetched(tuples)]
            fetched._returned = Returned(
                tuple(result._metadata.keys), tuple(types), dialect, outcomes
            )
        return fetched

    def arrow(self) -> Any:
        """All returned rows as a ``pyarrow.Table``, whether they were fetched or not.

        Values of the database become those of Arrow's without a Python object where native code
        has them: generated keys of large loads on PostgreSQL and MySQL, and the values of
        SQLAlchemy's own types on SQLite, and of inserts over psycopg 3, psycopg2 and a native
        connection to PostgreSQL.

        Returns
        -------
        pyarrow.Table
            Integers are ``int64``, moments microseconds, decimals have 38 digits.

        Raises
        ------
        ImportError
            pyarrow is not installed. Others take the result itself: ``polars.DataFrame(result)``.
        sqlalchemy.exc.InvalidRequestError
            The rows are mapped objects, or a value has no type of Arrow's.
        sqlalchemy.exc.ResourceClosedError
            Nothing was to be returned.
        """
        import pyarrow  # type: ignore[import-untyped]  # no py.typed

        return pyarrow.table(self)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """All returned rows by Arrow's PyCapsule interface.

        Raises
        ------
        sqlalchemy.exc.InvalidRequestError
            The rows are mapped objects, or a value has no type of Arrow's.
        sqlalchemy.exc.ResourceClosedError
            Nothing was to be returned.
        """
        if self._metadata is _NO_ROWS:
            raise exc.ResourceClosedError("This call returns no rows; returning= asks for them.")
        if self._returned is None:
            raise exc.InvalidRequestError(
                "mapped objects have no Arrow form; return attributes instead"
            )
        try:
            table = self._returned.table()
        except Exception as error:
            raise exc.InvalidRequestError(f"no Arrow form: {error}") from error
        return table.__arrow_c_stream__(requested_schema)


def _pausing(
    portions: Iterator[list[Any]], pause: Callable[[], None] | None
) -> Iterator[list[Any]]:
    """The portions, with a pause after each."""
    for portion in portions:
        yield portion
        if pause is not None:
            pause()


def _fetched(result: Any) -> list[Any]:
    if result._source_supports_scalars:
        return list(result.scalars())
    return [tuple(row) for row in result]


def processed_rows(
    dialect: Dialect, returning: Returning, outcomes: Sequence[_native.Outcome]
) -> list[tuple[Any, ...]]:
    """All returned rows, their values through SQLAlchemy's result processors."""
    with cyclic_gc_paused():
        return [
            row
            for outcome in outcomes
            for row in outcome.rows(returning.processors(dialect, outcome.type_codes))
        ]


def _portions(
    dialect: Dialect, returning: Returning, outcomes: Sequence[_native.Outcome]
) -> Iterator[list[tuple[Any, ...]]]:
    """The same, some at a time; no rows are a portion, too."""
    some: list[tuple[Any, ...]] = []
    for outcome in outcomes:
        for row in processed_rows(dialect, returning, [outcome]):
            if len(some) == _PORTION:
                yield some
                some = []
            some.append(row)
    yield some


def _scalars(
    dialect: Dialect, returning: Returning, outcomes: Sequence[_native.Outcome]
) -> list[Any]:
    with cyclic_gc_paused():
        return [
            value
            for outcome in outcomes
            for value in outcome.scalars(*returning.processors(dialect, outcome.type_codes))
        ]
