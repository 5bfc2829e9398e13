"""MySQL and MariaDB: rows that are found by their keys.

Many rows travel as a table of VALUES that the statement joins; a few, and those whose values are
not of the sort that their columns store, have a statement each. They go in the order of their keys,
so that concurrent calls lock rows in one order. After one was refused all go alone, as they are:
each meets what those before it did, and the error says which row it is about.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import exc

from . import mysql, mysql_errors
from .mysql_pass import Outcome, Pass, SeveralStatementsError, Work
from .mysql_upsert import Upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

    from .._native import Slice
    from ..orm.keyed import KeyedPlan
    from .mysql import Driver

#: Up to so many rows have a statement each, for which nothing else has to be asked.
FEW = 4

#: Up to so many rows are one statement, where one can say it.
AT_ONCE = 48


def keyed(
    connection: Connection,
    plan: KeyedPlan,
    part: Slice,
    skipped: Sequence[int],
    notes: dict[str, str],
    driver: Driver,
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
    work = Work(connection, plan, part, driver, notes, at_once=True)
    try:
        return _at_once(work, rows)
    except SeveralStatementsError:
        pass
    except exc.DBAPIError as error:
        _check_undone(error, work, rows)
    work = replace(work, at_once=False)
    if plan.native.verb == "upsert":
        work.check_key()
    as_they_are = Pass(work, alone=True, in_order=False)
    if len(rows) < 2:
        return _run(as_they_are, rows)
    way = Pass(work, alone=len(rows) <= FEW or not work.joins)
    if not way.alone or way.sorted(rows) != rows:
        try:
            return _framed(way, rows)
        except exc.DBAPIError as error:
            _check_undone(error, work, rows)
    return _framed(as_they_are, rows)


def _at_once(work: Work, rows: list[int]) -> Outcome:
    """Upserts or updates a few rows by one statement, which undoes itself."""
    native, way = work.plan.native, Pass(work, alone=False)
    looks = native.has_condition or native.only_changed or work.probes
    several = looks or work.is_versioned or work.plan.returning is not None
    if several or not 0 < len(rows) <= AT_ONCE:
        raise SeveralStatementsError
    try:
        if native.verb == "upsert":
            work.check_key()
            return Upsert(way).run(rows)
        if native.verb == "update" and len(rows) > 1:
            return way.update_at_once(rows)
    except asyncio.CancelledError as cancelled:
        mysql.given_up(work.connection, cancelled)
        raise
    raise SeveralStatementsError


def _framed(way: Pass, rows: list[int]) -> Outcome:
    """Sends the rows: all or nothing."""
    connection = way.work.connection
    with mysql.framed(connection, way.work.driver) as frame:
        outcome = _run(way, rows)
        if outcome.missing and way.plan.native.verb == "update":
            mysql_errors.simple(connection, frame.undo)
    return outcome


def _check_undone(error: exc.DBAPIError, work: Work, rows: list[int]) -> None:
    """Raises the error if its rows can't be sent again."""
    connection, plan = work.connection, work.plan
    if not mysql_errors.is_undone(error, connection, plan):
        row = rows[0] if len(rows) == 1 else None
        mysql_errors.explain_row(error, connection, plan, work.part, row)
        raise error


def _run(way: Pass, rows: list[int]) -> Outcome:
    match way.plan.native.verb:
        case "update":
            return way.update(rows)
        case "delete":
            return way.delete(rows)
    return Upsert(way).run(rows)
