"""One file per driver: how native bytes reach the database through the driver's public API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import mysqlconnector, mysqldb, pg8000, plain, psycopg, psycopg2, pymysql, pysqlite

if TYPE_CHECKING:
    from types import ModuleType

    from sqlalchemy.engine import Dialect

_BY_DRIVER = {
    ("sqlite", "pysqlite"): pysqlite,
    ("postgresql", "psycopg"): psycopg,
    ("postgresql", "psycopg2"): psycopg2,
    ("postgresql", "pg8000"): pg8000,
    ("mysql", "mysqldb"): mysqldb,
    ("mysql", "pymysql"): pymysql,
    ("mysql", "mysqlconnector"): mysqlconnector,
    ("mariadb", "mysqldb"): mysqldb,
    ("mariadb", "pymysql"): pymysql,
    ("mariadb", "mysqlconnector"): mysqlconnector,
}


def carrier_of(dialect: Dialect) -> ModuleType:
    """The carrier of a dialect's driver; ``plain`` for one that we don't know."""
    return _BY_DRIVER.get((dialect.name, dialect.driver), plain)
