"""What an ``Insert`` of SQLAlchemy's says of every row: ``values()``, and what follows the rows."""

from __future__ import annotations

import datetime
import decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, exc, insert, null
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.visitors import iterate

if TYPE_CHECKING:
    from sqlalchemy import Column
    from sqlalchemy.orm import Mapper

    from .sql import Renderer

#: Classes of values whose literal form means the same as the bound value.
_LITERAL = {type(None), bool, int, str, decimal.Decimal, datetime.date, datetime.datetime}


def fixed_values(
    statement: Any, mapper: Mapper[Any], table: Table, render: Renderer
) -> dict[Column[Any], dict[str, Any]]:
    """By column: the arguments of the native ``Column`` that say what ``values()`` gives it.

    Raises
    ------
    sqlalchemy.exc.CompileError
        A value can't be rendered without parameters.
    """
    fixed = {}
    for key, value in (statement._values or {}).items():
        column = table.columns.get(key if isinstance(key, str) else key.key)
        if column is None or column in {mapper.polymorphic_on, mapper.version_id_col}:
            raise exc.CompileError(f"values() of {key}")
        fixed[column] = _fixed(value, render)
    return fixed


class Expression(dict[str, Any]):
    """Arguments that say of a SQL expression that it counts, whatever a row gives."""


def _fixed(value: Any, render: Renderer) -> dict[str, Any]:
    if not isinstance(value, BindParameter):
        _check_literals(value)
        return Expression(default_sql=render.expression(value))
    if value.required or value.callable or not value.unique:
        raise exc.CompileError("a parameter of values()")
    return {"default_sql": "NULL"} if value.value is None else {"default": value.value}


def tail_of(statement: Any, table: Table, render: Renderer) -> str:
    """The SQL after the rows: ``ON CONFLICT`` and its likes.

    Raises
    ------
    sqlalchemy.exc.CompileError
        It can't be rendered without parameters.
    """
    clause = statement._post_values_clause
    if clause is None:
        return ""
    _check_literals(clause)
    base = insert(table).values({column: null() for column in table.c}).inline()
    whole = base._generate()
    whole._post_values_clause = clause
    prefix, text = render.expression(base), render.expression(whole)
    if not text.startswith(prefix):
        raise exc.CompileError(f"what follows the rows can't be told from the rest of {text!r}")
    return text.removeprefix(prefix)


def _check_literals(clause: Any) -> None:
    for element in iterate(clause):
        if isinstance(element, BindParameter) and (
            element.required or element.callable or type(element.value) not in _LITERAL
        ):
            raise exc.CompileError("a parameter in the statement")
