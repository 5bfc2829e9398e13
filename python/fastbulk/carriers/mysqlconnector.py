"""MySQL Connector/Python."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import _native
from . import mysql, mysql_keyed, plain


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

facts = partial(mysql.facts, driver=DRIVER)
adapt = partial(mysql.adapt, driver=DRIVER)
example_sql = _native.mysql_example_sql
all_or_nothing = partial(mysql.all_or_nothing, driver=DRIVER)
native = partial(mysql.insert, driver=DRIVER)
keyed = partial(mysql_keyed.keyed, driver=DRIVER)
executemany = partial(plain.executemany, all_or_nothing=all_or_nothing)


def client(dbapi: Any) -> dict[str, Any]:
    """What the driver does where nothing is said; see ``mysql_settings``."""
    return {"libmariadb": False, "flags": dbapi.constants.ClientFlag.get_default()}


def error(dbapi: Any, code: int, state: str, message: str) -> Exception:
    """The server's error as the driver raises it."""
    raised: Exception = dbapi.errors.get_mysql_exception(code, message, state)
    return raised
