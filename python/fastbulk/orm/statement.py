"""What an ``Insert`` of SQLAlchemy's says of every row: ``values()``, and what follows the rows."""

from __future__ import annotations

import datetime
import decimal
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Table, bindparam, exc, insert, literal_column, null
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from .given import Given

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Column
    from sqlalchemy.orm import Mapper

    from .sql import Renderer

#: Classes of values whose literal form means the same as the bound value.
_LITERAL = {type(None), bool, int, str, decimal.Decimal, datetime.date, datetime.datetime}


def cache_key_of(statement: Any) -> Any:
    """What is equal for statements that say the same; None if that can't be told."""
    key = statement._generate_cache_key()
    if key is None or not all(_is_literal(bind.value) for bind in key.bindparams):
        return None
    # 1 is equal to True, and a Decimal to one with more zeros.
    return key.key, tuple((type(bind.value), repr(bind.value)) for bind in key.bindparams)


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
        fixed[column] = _fixed(value, column, render)
    return fixed


class Expression(dict[str, Any]):
    """Arguments that say of a SQL expression that it counts, whatever a row gives."""


def _fixed(value: Any, column: Column[Any], render: Renderer) -> dict[str, Any]:
    if not isinstance(value, BindParameter):
        _check_literals(value)
        return Expression(default_sql=render.expression(value))
    if value.required or value.callable or not value.unique:
        raise exc.CompileError("a parameter of values()")
    if value.value is None and column.type.should_evaluate_none:
        raise exc.CompileError("a None of values() that is not NULL")
    return {"default_sql": "NULL"} if value.value is None else {"default": value.value}


class Said(NamedTuple):
    """What an ``Update`` says of every row."""

    #: By attribute: a value or expression.
    values: dict[str, Any]
    #: What the row that is there has to be.
    where: tuple[Any, ...]
    #: Parameters of these that each row gives, with their types.
    parameters: dict[str, Any]


def said_of_rows(statement: Any, mapper: Mapper[Any], row: Collection[str]) -> Said:
    """What ``values()`` and ``where()`` of an ``Update`` say of every row.

    Parameters
    ----------
    statement
        The ``Update``.
    mapper
        The class that it updates.
    row
        The keys of the first row, which say what are parameters, as for SQLAlchemy.

    Raises
    ------
    sqlalchemy.exc.CompileError
        It is more than values, and expressions over the row that is there and what rows give.
    """
    parameters: dict[str, Any] = {}
    taken = {name for c in mapper.columns for name in (c.key, c.name, c._label)}
    taken.update(mapper.attrs.keys())

    def written(type_: Any, element: Any, **_: Any) -> Any:
        if not isinstance(element, BindParameter) or element.unique or element.key not in row:
            return None
        if element.type._isnull and type_ is not None:
            element = bindparam(element.key, type_=type_)
        known = parameters.setdefault(element.key, element.type)
        if element.key in taken or element.type._isnull or repr(known) != repr(element.type):
            raise exc.CompileError(f"the parameter {element.key!r}")
        return Given(element)

    values = {}
    for key, value in (statement._values or {}).items():
        column: Any = key if isinstance(key, str) else key._deannotate()
        if column not in mapper._columntoproperty or column.type.should_evaluate_none:
            raise exc.CompileError(f"values() of {key}")
        name = mapper._columntoproperty[column].key
        value = replacement_traverse(value, {}, partial(written, column.type))
        values[name] = _set(value, column.table)
    where = tuple(
        _over(replacement_traverse(part, {}, partial(written, None)), mapper.local_table)
        for part in statement._where_criteria
    )
    return Said(values, where, parameters)


def _set(value: Any, table: Any) -> Any:
    if not isinstance(value, BindParameter):
        return _over(value, table)
    if value.required or value.callable or not value.unique:
        raise exc.CompileError("a parameter of values()")
    return null() if value.value is None else value.value


def _over(expression: Any, table: Any) -> Any:
    """The expression, if it is one over a row of that table alone."""
    _check_literals(expression)
    tables = {source._deannotate() for source in expression._from_objects}
    if tables - {table} or any(isinstance(part, SelectBase) for part in iterate(expression)):
        raise exc.CompileError("an expression over another table")
    return expression


#: Stands in compiled text for the value that a row gives.
_GIVEN = "fastbulk_given"


class From(NamedTuple):
    """Where the value of a column comes from, which ``values()`` says."""

    #: The parameter; None if it is an expression alone.
    key: str | None
    #: The SQL around it, or the expression.
    sql: list[str]
    type: Any


def given_values(
    values: Mapping[Any, Any],
    table: Table,
    names: Mapping[Any, str],
    row: Mapping[str, Any],
    render: Renderer,
) -> dict[Column[Any], From]:
    """What ``values()`` of a compiled ``Insert`` makes of the parameters of a row.

    Parameters
    ----------
    values
        Values and expressions by columns or their keys.
    table
        The table that is inserted into.
    names
        The names of the statement's parameters.
    row
        The parameters of any row: those that the program did not name are the same in all.
    render
        Renders the expressions.

    Raises
    ------
    sqlalchemy.exc.CompileError
        An expression can't be rendered with a single parameter.
    """
    found = {}
    for key, value in values.items():
        column = table.columns.get(key if isinstance(key, str) else key.key)
        if column is None:
            raise exc.CompileError(f"values() of {key}")
        found[column] = _from(value, column, names, row, render)
    return found


def _from(
    value: Any,
    column: Column[Any],
    names: Mapping[Any, str],
    row: Mapping[str, Any],
    render: Renderer,
) -> From:
    if isinstance(value, BindParameter):
        name = column.key if value.unique else value.key
        if name not in row:
            raise exc.CompileError("a parameter of values()")
        type_ = column.type if value.type._isnull else value.type
        return From(name, render.placeholder(column), type_)
    given: list[BindParameter[Any]] = []

    def written(element: Any, **_: Any) -> Any:
        if not isinstance(element, BindParameter):
            return None
        if not element.unique:
            given.append(element)
            return literal_column(_GIVEN, type_=element.type)
        if element.expanding or type(row.get(names.get(element, ""), element)) not in _LITERAL:
            raise exc.CompileError("a parameter of values()")
        return BindParameter(None, row[names[element]], type_=element.type, unique=True)

    sql = render.expression(replacement_traverse(value, {}, written)).split(_GIVEN)
    if not given:
        return From(None, sql, column.type)
    if len(given) > 1 or len(sql) != 2 or given[0].key not in row:
        raise exc.CompileError("parameters of values()")
    type_ = column.type if given[0].type._isnull else given[0].type
    return From(given[0].key, sql, type_)


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
    _check_names(clause, table)
    base = insert(table).values({column: null() for column in table.c}).inline()
    whole = base._generate()
    whole._post_values_clause = _with_literals(clause, statement)
    prefix, text = render.expression(base), render.expression(whole)
    if not text.startswith(prefix):
        raise exc.CompileError(f"what follows the rows can't be told from the rest of {text!r}")
    return text.removeprefix(prefix)


def _check_names(clause: Any, table: Table) -> None:
    """Refuses what SQLAlchemy warns of, for it would warn again."""
    named = getattr(clause, "update_values_to_set", None) or getattr(clause, "update", None) or {}
    known = {*table.c.keys(), *table.c}
    if unknown := [name for name in dict(named) if name not in known]:
        raise exc.CompileError(f"{table.name} has no column {unknown[0]}")


def _with_literals(clause: Any, statement: Any) -> Any:
    """The clause with its values to be written into the text: MySQL's compiler has to be told.

    Without RETURNING SQLAlchemy has MySQL's drivers do it, some of which then take no values there.
    """
    if not isinstance(getattr(clause, "update", None), dict):
        return clause

    def literal(element: Any, **_: Any) -> Any:
        if not isinstance(element, BindParameter):
            return None
        if not statement._returning:
            raise exc.CompileError("a parameter after the rows")
        return element.render_literal_execute()

    found = copy(clause)
    found.update = {
        key: replacement_traverse(value, {}, literal) for key, value in clause.update.items()
    }
    return found


def _check_literals(clause: Any) -> None:
    for element in iterate(clause):
        if isinstance(element, BindParameter) and (
            element.required or element.callable or not _is_literal(element.value)
        ):
            raise exc.CompileError("a parameter in the statement")


def _is_literal(value: Any) -> bool:
    # Drivers of databases without zones leave a value's away.
    return type(value) in _LITERAL and getattr(value, "tzinfo", None) is None
