"""How PostgreSQL writes arrays, records and ranges, for drivers that don't tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Adapt = Callable[[Any], Any]


def array(values: Iterable[Any], adapt: Adapt) -> str:
    """The text of an array, nested as the lists are; ``adapt`` is the driver's."""
    return "{" + ",".join(_element(value, adapt) for value in values) + "}"


def _element(value: Any, adapt: Adapt) -> str:
    if isinstance(value, (list, tuple)):
        return array(value, adapt)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return quoted("\\x" + bytes(value).hex())
    if value is None or isinstance(value, (bool, int, float)):
        return "NULL" if value is None else str(value)
    if isinstance(value, str):
        return quoted(value)
    adapted = adapt(value)
    return _element(adapted, adapt) if isinstance(adapted, bytes) else quoted(str(adapted))


def record(values: Iterable[Any], adapt: Adapt) -> str:
    """The text of a value of a composite type."""
    return "(" + ",".join("" if v is None else _element(v, adapt) for v in values) + ")"


def range_(value: Any) -> str:
    """The text of a driver's range."""
    if value.isempty:
        return "empty"
    low, high = (
        "" if bound is None else quoted(str(bound)) for bound in (value.lower, value.upper)
    )
    return f"{'[' if value.lower_inc else '('}{low},{high}{']' if value.upper_inc else ')'}"


def hstore(value: dict[str, str | None]) -> str:
    """The text of an hstore."""
    return ", ".join(f"{quoted(key)}=>{quoted(item)}" for key, item in value.items())


def quoted(text: str | None) -> str:
    """A text within an array, a range or an hstore."""
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
