"""One table: SQLAlchemy type -> Kind.

A kind only names the exact Python type that native code reads by itself. Any other value of the
column goes through the type's bind processor, so a kind never changes what a type accepts.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import types
from sqlalchemy.dialects.sqlite import base as sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

    from .._native import Kind

BindProcessor: TypeAlias = "Callable[[Any], Any]"


_Kinds: TypeAlias = "tuple[tuple[type[TypeEngine[Any]], Kind, Callable[[Any, Any], bool]], ...]"

_Returned: TypeAlias = "tuple[tuple[type[TypeEngine[Any]], Kind, bool], ...]"


def _always(type_: Any, processor: Any) -> bool:
    return True


def _unprocessed(type_: Any, processor: Any) -> bool:
    return processor is None


_MYSQL: _Kinds = (
    (types.Enum, "dynamic", _always),
    (types.Integer, "int", _unprocessed),
    (types.Boolean, "bool", _always),
    (types.Float, "float", _unprocessed),
    (types.Numeric, "decimal", _unprocessed),
    (types.String, "text", _unprocessed),
    (types.LargeBinary, "bytes", _always),
    (types.Uuid, "uuid", lambda type_, processor: type_.as_uuid),
    (types.DateTime, "timestamp", _unprocessed),
    (types.Date, "date", _unprocessed),
    (types.Time, "time", _unprocessed),
)

#: Per backend, in order: a type, the kind of its values, and what has to hold for that.
_KINDS: dict[str, _Kinds] = {
    "sqlite": (
        (types.Enum, "dynamic", lambda type_, processor: True),
        (types.Integer, "int", lambda type_, processor: processor is None),
        (types.Boolean, "bool", lambda type_, processor: processor is not None),
        (types.Numeric, "float", lambda type_, processor: processor is not None),
        (types.Float, "float", lambda type_, processor: processor is not None),
        (types.String, "text", lambda type_, processor: processor is None),
        (types.LargeBinary, "bytes", lambda type_, processor: True),
        (types.Uuid, "uuid", lambda type_, processor: type_.as_uuid and processor is not None),
        (
            sqlite.DATETIME,
            "timestamp",
            lambda type_, processor: (
                processor is not None and type_._storage_format == sqlite.DATETIME._storage_format
            ),
        ),
        (
            sqlite.DATE,
            "date",
            lambda type_, processor: (
                processor is not None and type_._storage_format == sqlite.DATE._storage_format
            ),
        ),
        (
            sqlite.TIME,
            "time",
            lambda type_, processor: (
                processor is not None and type_._storage_format == sqlite.TIME._storage_format
            ),
        ),
    ),
    "postgresql": (
        (types.Enum, "dynamic", _always),
        (types.Integer, "int", _unprocessed),
        (types.Boolean, "bool", _always),
        (types.Float, "float", _unprocessed),
        (types.Numeric, "decimal", _unprocessed),
        (types.String, "text", _unprocessed),
        (types.LargeBinary, "bytes", _always),
        (types.Uuid, "uuid", lambda type_, processor: type_.as_uuid and processor is None),
        (types.JSON, "json", _always),
        (types.DateTime, "instant", lambda type_, processor: type_.timezone and not processor),
        (types.DateTime, "timestamp", _unprocessed),
        (types.Date, "date", _unprocessed),
        (types.Time, "time", lambda type_, processor: not type_.timezone and not processor),
    ),
    **dict.fromkeys(("mysql", "mariadb"), _MYSQL),
}


class ReturnedForm(NamedTuple):
    """How the values of a returned column become Arrow's."""

    #: ``"dynamic"`` where the first value will tell.
    kind: Kind
    #: The driver's own values, which no result processor has seen, are of that kind.
    raw: bool = False
    #: So are the database's own values, as native code reads them.
    native: bool = False


#: A type, the kind of its values in Arrow's columns, and whether the driver's own values are those.
_RETURNED: _Returned = (
    (types.Enum, "text", True),
    (types.Boolean, "bool", True),
    (types.Integer, "int", True),
    (types.String, "text", True),
    (types.LargeBinary, "bytes", False),
    (types.Date, "date", False),
    (types.Time, "time", False),
    (types.JSON, "json", False),
)


def returned_form(type_: TypeEngine[Any], dialect: Dialect) -> ReturnedForm:
    """How the values of a returned column become Arrow's.

    Parameters
    ----------
    type_
        The column's type as it is mapped.
    dialect
        The dialect of the target's engine.
    """
    native = _is_sqlalchemys(type_) and _has_usual_texts(type_, dialect)
    if isinstance(type_, (types.Numeric, types.Float)):
        return ReturnedForm("decimal" if type_.asdecimal else "float", native=native)
    if isinstance(type_, types.Uuid):
        return ReturnedForm("uuid" if type_.as_uuid else "text", native=native and type_.as_uuid)
    if isinstance(type_, types.DateTime):
        aware = type_.timezone and dialect.name == "postgresql"
        return ReturnedForm("instant" if aware else "timestamp", native=native)
    if _is_sqlalchemys(type_):
        for class_, kind, raw in _RETURNED:
            if isinstance(type_, class_):
                return ReturnedForm(kind, raw, native)
    return ReturnedForm("dynamic")


def _has_usual_texts(type_: TypeEngine[Any], dialect: Dialect) -> bool:
    """Whether texts that stand for a value are those that the type writes by itself."""
    if isinstance(type_, types.JSON):
        return getattr(dialect, "_json_deserializer", None) is None
    implementation: Any = type_.dialect_impl(dialect)
    if isinstance(implementation, (sqlite.DATETIME, sqlite.DATE, sqlite.TIME)):
        usual: Any = type(implementation)
        is_usual = implementation._storage_format == usual._storage_format
        return is_usual and implementation._reg is None
    return True


def kind_of(type_: TypeEngine[Any], dialect: Dialect) -> tuple[Kind, BindProcessor | None]:
    """The kind of a column's values and the type's bind processor for everything else.

    Parameters
    ----------
    type_
        The column's type as it is mapped.
    dialect
        The dialect of the target's engine.

    Returns
    -------
    tuple
        The kind's name (see ``src/kind.rs``) and SQLAlchemy's bind processor, None where the
        driver gets the value as it is.
    """
    processor = type_._cached_bind_processor(dialect)
    implementation = type_.dialect_impl(dialect)
    if _is_sqlalchemys(type_) and _is_sqlalchemys(implementation):
        for class_, kind, holds in _KINDS.get(dialect.name, ()):
            if isinstance(implementation, class_) and holds(implementation, processor):
                return kind, _own_processor(kind, implementation, processor, dialect)
        if dialect.driver == "asyncpg":
            return "dynamic", _exact("dynamic", implementation, processor, dialect)
    return "dynamic", processor


def has_unending_days(dialect: Dialect) -> bool:
    """Whether the driver takes the first and the last day for minus infinity and infinity."""
    return dialect.driver == "asyncpg"


def _own_processor(
    kind: Kind, type_: Any, processor: BindProcessor | None, dialect: Dialect
) -> BindProcessor | None:
    if kind == "json":
        # psycopg's processors wrap the document in an object of the driver's; the text is needed.
        serializer = dialect._json_serializer or json.dumps
        text: BindProcessor = type_._make_bind_processor(None, serializer)
        return text
    if dialect.driver == "asyncpg":
        return _exact(kind, type_, processor, dialect)
    if kind == "decimal":
        return _FLOATS_OF_DECIMALS.get(dialect.driver, processor)
    if kind == "text":
        return _FLOATS_OF_TEXTS.get(dialect.driver, processor)
    return processor


def _exact(
    kind: Kind, type_: Any, processor: BindProcessor | None, dialect: Dialect
) -> BindProcessor | None:
    from .exact import exact  # who has asyncpg has imported the types of PostgreSQL

    return exact(kind, type_, processor, dialect)


def _rounded_float(value: Any) -> Any:
    """A float reaches a numeric column through float8, whose cast keeps 15 digits."""
    return Decimal(f"{value:.15g}") if isinstance(value, float) else value


def _shortest_float(value: Any) -> Any:
    """The driver writes a float as the text that means it."""
    return Decimal(repr(float(value))) if isinstance(value, float) else value


def _as_literal(value: Any) -> Any:
    """psycopg2 writes a float as a numeric literal, of which the database makes its own text."""
    if isinstance(value, float) and math.isfinite(value):
        return format(Decimal(repr(float(value))), "f").removeprefix("-" if value == 0 else "")
    return value


def _spelled(value: Any) -> Any:
    """pg8000 writes a float as Python does."""
    return str(value) if isinstance(value, float) else value


#: What a driver makes of a float in a column of texts; others send a double.
_FLOATS_OF_TEXTS: dict[str, BindProcessor] = {"psycopg2": _as_literal, "pg8000": _spelled}

#: What a driver makes of a float in a decimal column; others send a double.
_FLOATS_OF_DECIMALS: dict[str, BindProcessor] = {
    "psycopg": _rounded_float,
    "psycopg2": _shortest_float,
    "pg8000": _shortest_float,
}


def _is_sqlalchemys(type_: TypeEngine[Any]) -> bool:
    """A subclass of the user's may override anything; a TypeDecorator does."""
    return type(type_).__module__.startswith("sqlalchemy.") and not isinstance(
        type_, types.TypeDecorator
    )
