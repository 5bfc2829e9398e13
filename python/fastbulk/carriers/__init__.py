"""One file per driver: how native bytes reach the database through the driver's public API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import (
    asyncpg,
    mysqlconnector,
    mysqldb,
    pg8000,
    plain,
    psycopg,
    psycopg2,
    psycopg_async,
    pymysql,
    pysqlite,
)

if TYPE_CHECKING:
    from types import ModuleType

    from sqlalchemy.engine import Dialect

_BY_DRIVER = {
    ("sqlite", "pysqlite"): pysqlite,
    ("sqlite", "aiosqlite"): pysqlite,
    ("postgresql", "psycopg"): psycopg,
    ("postgresql", "psycopg_async"): psycopg_async,
    ("postgresql", "psycopg2"): psycopg2,
    ("postgresql", "pg8000"): pg8000,
    ("postgresql", "asyncpg"): asyncpg,
    ("mysql", "mysqldb"): mysqldb,
    ("mysql", "pymysql"): pymysql,
    ("mysql", "aiomysql"): pymysql,
    ("mysql", "asyncmy"): pymysql,
    ("mysql", "mysqlconnector"): mysqlconnector,
    ("mariadb", "mysqldb"): mysqldb,
    ("mariadb", "pymysql"): pymysql,
    ("mariadb", "aiomysql"): pymysql,
    ("mariadb", "asyncmy"): pymysql,
    ("mariadb", "mysqlconnector"): mysqlconnector,
}


def carrier_of(dialect: Dialect) -> ModuleType:
    """The carrier of a dialect's driver; ``plain`` for one that we don't know."""
    return _BY_DRIVER.get((dialect.name, driver_of(dialect)), plain)


def driver_of(dialect: Dialect) -> str:
    """The name of a dialect's driver. SQLAlchemy has one name for psycopg's two connections."""
    is_async = dialect.is_async and dialect.driver == "psycopg"
    return "psycopg_async" if is_async else dialect.driver
