"""MySQL Connector/Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _native
from . import mysql, mysql_keyed, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection, Dialect

    from .._native import Plan, Slice, Source
    from ..orm.keyed import KeyedPlan
    from ..orm.mapping import InsertPlan
    from .mysql_pass import Outcome
    from .sent import Sent


class _Driver:
    """What Connector/Python's connection tells."""

    #: A client's command, which it looks for in the values, too.
    avoid: str | None = "delimiter"
    without_sql = False
    plain_floats = True

    def charset(self, connection: Any) -> str:
        charset: str = connection.charset
        return charset

    def commits(self, connection: Any) -> bool:
        return bool(connection.autocommit)

    def text(self, value: Any, dbapi: Any) -> str:
        raise dbapi.ProgrammingError(
            f"Python '{type(value).__name__.lower()}' cannot be converted to a MySQL type"
        )


DRIVER = _Driver()


def client(dbapi: Any) -> dict[str, Any]:
    """What the driver does where nothing is said; see ``mysql_settings``."""
    return {"libmariadb": False, "flags": dbapi.constants.ClientFlag.get_default()}


def error(dbapi: Any, code: int, state: str, message: str) -> Exception:
    """The server's error as the driver raises it."""
    raised: Exception = dbapi.errors.get_mysql_exception(code, message, state)
    return raised


def facts(connection: Connection) -> dict[str, str]:
    """What closes a road on this connection, by name, with the reason in words."""
    return mysql.facts(connection, DRIVER)


def adapt(dialect: Dialect) -> Callable[[Any], Any]:
    """The driver's own form of objects that native code does not know."""
    return mysql.adapt(dialect, DRIVER)


def example_sql(plan: Plan) -> str:
    """The statement for one row that gives all columns."""
    return _native.mysql_example_sql(plan)


def all_or_nothing(connection: Connection) -> AbstractContextManager[None]:
    """Undoes what was sent inside if an error ends it; the transaction stays the caller's."""
    return mysql.all_or_nothing(connection, DRIVER)


def native(
    connection: Connection, plan: InsertPlan, source: Source, notes: dict[str, str]
) -> Iterator[Sent]:
    """Sends all rows natively; see :func:`fastbulk.carriers.mysql.insert`."""
    return mysql.insert(connection, plan, source, DRIVER, notes)


def keyed(connection: Connection, plan: KeyedPlan, part: Slice, skipped: Sequence[int]) -> Outcome:
    """Finds rows by their keys; see :func:`fastbulk.carriers.mysql_keyed.keyed`."""
    return mysql_keyed.keyed(connection, plan, part, skipped, DRIVER)


def executemany(
    connection: Connection, plan: InsertPlan, source: Source, notes: dict[str, str]
) -> Iterator[plain.Sent]:
    """Sends all rows by the driver's own ``executemany``; yields each statement's outcome."""
    return plain.executemany(connection, plan, source, notes, all_or_nothing)
