"""``given(User.n)``: the value that a row gives, in an expression over the row that is there."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.visitors import iterate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .sql import Renderer

#: Stands in compiled text where no value of an expression can have it by chance.
_TOKEN = f"fastbulk {secrets.token_hex(8)} "
_MARK = re.compile(f"\x02{_TOKEN}([^\x03]*)\x03")


class Given(ColumnElement[Any]):
    """The value that the row of the call gives for an attribute."""

    __visit_name__ = "fastbulk_given"
    inherit_cache = False

    def __init__(self, attribute: Any) -> None:
        """The value given for ``attribute``."""
        self.attribute: str = attribute.key
        self.type = attribute.type


@compiles(Given)
def _mark(element: Given, compiler: Any, **_: Any) -> str:
    return f"\x02{_TOKEN}{element.attribute}\x03"


def given(attribute: Any) -> ColumnElement[Any]:
    """The value that a row gives for an attribute, for ``values=``, ``update=`` and ``where=``.

    ``values={User.n: User.n + fastbulk.given(User.n)}`` adds what each row gives to what is there.

    Parameters
    ----------
    attribute
        A mapped column attribute of the class that the call is about.

    Returns
    -------
    sqlalchemy.sql.ColumnElement
        A SQL expression of the attribute's type, which means something in a call of fastbulk only.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        It is no mapped column attribute.
    """
    if not isinstance(attribute, InstrumentedAttribute) or not hasattr(attribute, "type"):
        raise exc.ArgumentError(f"a mapped column attribute is expected, got {attribute!r}")
    return Given(attribute)


def keys_given(expression: Any) -> set[str]:
    """The attributes whose given values an expression takes."""
    if not hasattr(expression, "__clause_element__") and not hasattr(expression, "get_children"):
        return set()
    return {element.attribute for element in iterate(expression) if isinstance(element, Given)}


def pieces(expression: Any, render: Renderer, positions: Mapping[str, int]) -> list[int | str]:
    """An expression as :func:`split` has it.

    Raises
    ------
    sqlalchemy.exc.CompileError
        A value of the expression has no literal form.
    sqlalchemy.exc.ArgumentError
        It takes a given value that rows of this call don't have.
    """
    return split(render.expression(expression), positions)


def split(text: str, positions: Mapping[str, int]) -> list[int | str]:
    """The SQL text of an expression with the positions of given columns in between.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        It takes a given value that rows of this call don't have.
    """
    parts = _MARK.split(text)
    if unknown := set(parts[1::2]) - positions.keys():
        raise exc.ArgumentError(
            f"no row of this call gives {min(unknown)!r}; given() can't take it"
        )
    return [positions[part] if number % 2 else part for number, part in enumerate(parts) if part]
