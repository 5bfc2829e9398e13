"""mysqlclient."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import _native
from . import mysql, mysql_keyed, plain


class _Driver:
    """What mysqlclient's connection tells."""

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
    """What the driver's C library does where nothing is said; see ``mysql_settings``."""
    # Version 3 of MariaDB's; MySQL's own were never called so.
    return {"libmariadb": dbapi.get_client_info().startswith("3."), "flags": 0}


def error(dbapi: Any, code: int, state: str, message: str) -> Exception:
    """The server's error as the driver raises it."""
    # The driver's table is in C (``_mysql_Exception`` in ``_mysql.c``).
    name = next((name for name, codes in _ERRORS.items() if code in codes), "OperationalError")
    raised: Exception = getattr(dbapi, name if code >= 1000 else "InternalError")(code, message)
    return raised


_ERRORS = {
    "ProgrammingError": {
        1007, 1064, 1102, 1103, 1110, 1111, 1112, 1113, 1146, 1149, 1179, 2014,
    },
    "DataError": {1171, 1230, 1264, 1265, 1406, 1441},
    "IntegrityError": {1048, 1062, 1169, 1215, 1216, 1217, 1364, 1451, 1452},
    "NotSupportedError": {1196, 1235, 1286, 1289},
}  # fmt: skip
