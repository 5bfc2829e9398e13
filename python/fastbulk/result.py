"""What a call gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy.engine.cursor import null_dml_result
from sqlalchemy.engine.result import ChunkedIteratorResult

from .orm.identity import RowMetaData, cyclic_gc_paused, load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


_NO_ROWS = null_dml_result()._metadata


class Timing(NamedTuple):
    """Where the time of a call went, in seconds.

    Attributes
    ----------
    total
        From the call's begin to its end.
    extract
        Reading the rows and building the result's Python objects, with the GIL held.
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
        cls, dialect: Dialect, returning: Returning, outcomes: Sequence[_native.Outcome]
    ) -> Result:
        """Rows of columns, as SQLAlchemy's result processors give them."""
        if returning.has_entities:
            return cls.of_entities(dialect, None, returning, outcomes, {})
        # One column is kept as bare values: most callers want them as scalars.
        single = len(returning.keys) == 1
        rows = (_scalars if single else _rows)(dialect, returning, outcomes)
        return cls(
            RowMetaData(returning), lambda size: iter((rows,)), source_supports_scalars=single
        )

    @classmethod
    def of_entities(
        cls,
        dialect: Dialect,
        session: Session | None,
        returning: Returning,
        outcomes: Sequence[_native.Outcome],
        execution_options: Mapping[str, Any],
    ) -> Result:
        """Rows with mapped objects or bundles, which are built here and held by the result."""
        with cyclic_gc_paused():
            rows = _rows(dialect, returning, outcomes)
            return cls.of(load(session, returning, rows, execution_options))

    @classmethod
    def of(cls, result: Any) -> Result:
        """All rows of another result, fetched."""
        scalars = result._source_supports_scalars
        rows = result.scalars().all() if scalars else [tuple(row) for row in result]
        return cls(result._metadata, lambda size: iter((rows,)), source_supports_scalars=scalars)


def _rows(
    dialect: Dialect, returning: Returning, outcomes: Sequence[_native.Outcome]
) -> list[tuple[Any, ...]]:
    with cyclic_gc_paused():
        return [
            row
            for outcome in outcomes
            for row in outcome.rows(returning.processors(dialect, outcome.type_codes))
        ]


def _scalars(
    dialect: Dialect, returning: Returning, outcomes: Sequence[_native.Outcome]
) -> list[Any]:
    with cyclic_gc_paused():
        return [
            value
            for outcome in outcomes
            for value in outcome.scalars(*returning.processors(dialect, outcome.type_codes))
        ]
