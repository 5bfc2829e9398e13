"""PyMySQL; aiomysql and asyncmy too, whose adapters by SQLAlchemy have the same methods."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import _native
from . import mysql, mysql_keyed, plain


class _Driver:
    """What PyMySQL's connection tells."""

    avoid: str | None = None
    without_sql = False
    plain_floats = False

    def charset(self, connection: Any) -> str:
        charset: str = connection.character_set_name()
        return charset

    def commits(self, connection: Any) -> bool:
        return bool(connection.get_autocommit())

    def text(self, value: Any, dbapi: Any) -> str:
        if isinstance(value, (list, tuple, set, frozenset)):
            # The driver writes (1) for [1], and so stores a number.
            raise dbapi.ProgrammingError(f"a {type(value).__name__} can not be used as parameter")
        if isinstance(value, dict):
            raise TypeError("dict can not be used as parameter")
        return str(value)


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
    return {"libmariadb": False, "flags": 0}


def error(dbapi: Any, code: int, state: str, message: str) -> Exception:
    """The server's error as the driver raises it."""
    packet = b"\xff" + code.to_bytes(2, "little") + f"#{state}{message}".encode()
    try:
        _errors(dbapi).raise_mysql_exception(packet)
    except dbapi.Error as raised:
        if hasattr(raised, "sqlstate"):  # not in older versions
            raised.sqlstate = state
        return raised  # type: ignore[no-any-return]
    raise AssertionError


def _errors(dbapi: Any) -> Any:
    """The module of the driver's errors."""
    if hasattr(dbapi, "asyncmy"):
        return dbapi.asyncmy.errors
    # aiomysql raises PyMySQL's.
    return getattr(dbapi, "pymysql", dbapi).err
