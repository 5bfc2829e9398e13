"""One file per driver: how native bytes reach the database through the driver's public API."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from sqlalchemy.engine import Dialect

#: The files, each imported when it is first needed: a program has one driver, or two.
_BY_DRIVER = {
    ("sqlite", "pysqlite"): "pysqlite",
    ("sqlite", "aiosqlite"): "pysqlite",
    ("postgresql", "psycopg"): "psycopg",
    ("postgresql", "psycopg_async"): "psycopg_async",
    ("postgresql", "psycopg2"): "psycopg2",
    ("postgresql", "pg8000"): "pg8000",
    ("postgresql", "asyncpg"): "asyncpg",
    ("mysql", "mysqldb"): "mysqldb",
    ("mysql", "pymysql"): "pymysql",
    ("mysql", "aiomysql"): "pymysql",
    ("mysql", "asyncmy"): "pymysql",
    ("mysql", "mysqlconnector"): "mysqlconnector",
    ("mariadb", "mysqldb"): "mysqldb",
    ("mariadb", "pymysql"): "pymysql",
    ("mariadb", "aiomysql"): "pymysql",
    ("mariadb", "asyncmy"): "pymysql",
    ("mariadb", "mysqlconnector"): "mysqlconnector",
}


def carrier_of(dialect: Dialect) -> ModuleType:
    """The carrier of a dialect's driver; ``plain`` for one that we don't know."""
    return carrier(_BY_DRIVER.get((dialect.name, driver_of(dialect)), "plain"))


@cache
def carrier(name: str) -> ModuleType:
    """The carrier in the file of that name."""
    return import_module(f".{name}", __name__)


def driver_of(dialect: Dialect) -> str:
    """The name of a dialect's driver. SQLAlchemy has one name for psycopg's two connections."""
    is_async = dialect.is_async and dialect.driver == "psycopg"
    return "psycopg_async" if is_async else dialect.driver
