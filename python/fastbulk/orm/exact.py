"""What asyncpg takes: it converts next to nothing, and neither does the database for it.

Every function is given what is not of the kind's own class, and gives what is stored or raises.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

from sqlalchemy import types
from sqlalchemy.dialects.postgresql import ranges

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

    Processor = Callable[[Any], Any]


def exact(
    kind: str, type_: TypeEngine[Any], processor: Processor | None, dialect: Dialect
) -> Processor | None:
    """The type's processor, and then what asyncpg does.

    Parameters
    ----------
    kind
        The kind of the column's values.
    type_
        The type as the dialect has it.
    processor
        SQLAlchemy's bind processor.
    dialect
        asyncpg's.
    """
    take = _take_of(kind, type_)
    if take is None:
        return processor
    error: Any = dialect.loaded_dbapi

    def process(value: Any) -> Any:
        given = value if processor is None else processor(value)
        if given is None:
            return None
        try:
            return take(given)
        except (TypeError, ArithmeticError) as wrong:
            raise error.Error(f"invalid input: {wrong}") from wrong

    return process


def _take_of(kind: str, type_: TypeEngine[Any]) -> Processor | None:
    if isinstance(type_, ranges.AbstractMultiRange):
        return _multirange
    if isinstance(type_, ranges.AbstractSingleRange):
        return _range
    if isinstance(type_, types.Time) and type_.timezone:
        return _aware_time
    return _TAKES.get(kind)


def _of(class_: Any, name: str) -> Processor:
    def take(value: Any) -> Any:
        if not isinstance(value, class_):
            raise TypeError(f"expected {name}, got {type(value).__name__}")
        return value

    return take


def _float(value: Any) -> float:
    if not isinstance(value, (SupportsFloat, SupportsIndex)):
        raise TypeError(f"must be real number, not {type(value).__name__}")
    return float(value)


def _day(value: Any) -> datetime.date:
    if not isinstance(value, datetime.date):
        raise TypeError(f"expected a date, got {type(value).__name__}")
    return value.date() if isinstance(value, datetime.datetime) else value


def _wall(value: Any) -> datetime.datetime:
    if not isinstance(value, datetime.date):
        raise TypeError(f"expected a date or a datetime, got {type(value).__name__}")
    if not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day)
    if value.tzinfo is not None:
        raise TypeError("can't subtract offset-naive and offset-aware datetimes")
    return value


def _moment(value: Any) -> datetime.datetime | str:
    """Without a zone it is of this computer's."""
    if not isinstance(value, datetime.date):
        raise TypeError(f"expected a date or a datetime, got {type(value).__name__}")
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    if value == datetime.datetime.max:
        return "infinity"
    return "-infinity" if value == datetime.datetime.min else value.astimezone()


def _aware_time(value: Any) -> datetime.time:
    if not isinstance(value, datetime.time) or value.tzinfo is None:
        raise TypeError("expected a time with a zone")
    return value


def _range(value: Any) -> Any:
    if isinstance(value, str):
        raise TypeError("list, tuple or Range object expected (got type <class 'str'>)")
    return value


def _multirange(value: Any) -> str:
    """As a text: a list of ranges would be an array."""
    return "{" + ",".join(_text_of(part) for part in _range(value)) + "}"


def _text_of(range_: Any) -> str:
    low, high = ("" if bound is None else f'"{bound}"' for bound in (range_.lower, range_.upper))
    return f"{'[' if range_.lower_inc else '('}{low},{high}{']' if range_.upper_inc else ')'}"


_TAKES: dict[str, Processor] = {
    "int": _of(SupportsIndex, "an integer"),
    "float": _float,
    "decimal": Decimal,
    "text": _of(str, "str"),
    "date": _day,
    "time": _of(datetime.time, "a time"),
    "timestamp": _wall,
    "instant": _moment,
}
