"""Which columns a refused constraint is about, as far as the mapping's table knows it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint

if TYPE_CHECKING:
    from sqlalchemy import Table

#: A string, a quoted name, or a word that no parenthesis follows, as a function's would.
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"((?:[^"]|"")*)"|\b(\w+)\b(?!\s*\()""")


def columns_of_check(table: Table, check: str) -> list[str]:
    """Names of the table's columns that a check reads.

    Parameters
    ----------
    table
        The table that has the check.
    check
        The check's name, or its SQL where it has none.
    """
    sql = next((str(c.sqltext) for c in _checks(table) if str(c.name) == check), check)
    words = {(quoted.replace('""', '"') or word).lower() for quoted, word in _TOKEN.findall(sql)}
    return [column.name for column in table.columns if column.name.lower() in words]


def _checks(table: Table) -> list[CheckConstraint]:
    """Those of the table and those that stand with a column."""
    of_columns = (constraint for column in table.columns for constraint in column.constraints)
    return [c for c in (*table.constraints, *of_columns) if isinstance(c, CheckConstraint)]
