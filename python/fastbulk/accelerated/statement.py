"""What a statement of SQLAlchemy's says beyond its table and its rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import NoneType
from typing import Any

from sqlalchemy.orm import Mapper

#: Attributes of an ``Insert`` or ``Update`` that make it more than that, and what they are.
_MORE = {
    "_values": "values()",
    "_multi_values": "values()",
    "_ordered_values": "ordered_values()",
    "_maintain_values_ordering": "ordered_values()",
    "_inline": "inline()",
    "select": "from_select()",
    "_where_criteria": "where()",
    "_post_values_clause": "post values clause",
    "_post_criteria_clause": "post criteria clause",
    "_hints": "hints",
    "_prefixes": "prefixes",
    "_return_defaults": "return_defaults()",
    "_independent_ctes": "CTEs",
    "dialect_options": "arguments of the dialect",
}


def why_more(statement: Any, allowed: Collection[str] = ()) -> str | None:
    """Why a statement is more than one of rows; None if it isn't."""
    if not isinstance(statement._propagate_attrs.get("plugin_subject"), (Mapper, NoneType)):
        return "the statement is of an alias"
    # What was never set is the class's.
    given = vars(statement)
    asked = (name for name in _MORE if name in given and name not in allowed)
    return next((_MORE[name] for name in asked if _is_set(statement, name)), None)


def _is_set(statement: Any, name: str) -> bool:
    # Looking at the options makes them.
    value = getattr(statement, "dialect_kwargs" if name == "dialect_options" else name)
    # Clauses have no truth.
    return value is not None and not (isinstance(value, (bool, tuple, list, Mapping)) and not value)
