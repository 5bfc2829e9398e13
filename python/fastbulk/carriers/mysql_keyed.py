"""MySQL and MariaDB: rows that are found by their keys.

Many rows travel as a table of VALUES that the statement joins; a few, and those whose values are
not of the sort that their columns store, have a statement each. They go in the order of their keys,
so that concurrent calls lock rows in one order. After one was refused all go alone, as they are:
each meets what those before it did, and the error says which row it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exc

from . import mysql, mysql_errors
from .mysql_pass import Outcome, Pass, Work
from .mysql_upsert import Upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

    from .._native import Slice
    from ..orm.keyed import KeyedPlan
    from .mysql import Driver

#: Up to so many rows have a statement each, for which nothing else has to be asked.
FEW = 4


def keyed(
    connection: Connection, plan: KeyedPlan, part: Slice, skipped: Sequence[int], driver: Driver
) -> Outcome:
    """Updates, upserts or deletes the rows that the slice's keys find, but those in ``skipped``.

    Raises
    ------
    fastbulk._native.RowError
        A value can't be sent, or a row is larger than the server lets through.
    sqlalchemy.exc.DBAPIError
        The database refused a row, with ``.row``, ``.column`` and ``.value``.
    sqlalchemy.exc.InvalidRequestError
        Two rows of an upsert have one key, or no unique key is on it.
    """
    left_out = set(skipped)
    rows = [row for row in range(len(part)) if row not in left_out]
    work = Work(connection, plan, part, driver)
    if plan.native.verb == "upsert":
        work.check_key()
    way = Pass(work, alone=len(rows) <= FEW or not work.joins)
    as_they_are = Pass(work, alone=True, in_order=False)
    if way.alone and way.sorted(rows) == rows:
        return _run(as_they_are, rows)
    try:
        with mysql.all_or_nothing(connection, driver):
            return _run(way, rows)
    except exc.DBAPIError as error:
        if not mysql_errors.is_undone(error, connection, plan):
            mysql_errors.explain_row(error, connection, plan, part, None)
            raise
    return _run(as_they_are, rows)


def _run(way: Pass, rows: list[int]) -> Outcome:
    match way.plan.native.verb:
        case "update":
            return way.update(rows)
        case "delete":
            return way.delete(rows)
    return Upsert(way).run(rows)
