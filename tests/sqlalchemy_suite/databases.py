"""Databases as SQLAlchemy's tests expect them: its README.unittests.rst says how."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    #: Makes the database anew, and gives its URL.
    Anew: TypeAlias = Callable[[], str]

NAME = "test"


def sqlite() -> AbstractContextManager[Anew]:
    """SQLite in memory."""
    return nullcontext(lambda: "sqlite://")


@contextmanager
def postgresql(driver: str) -> Iterator[Anew]:
    """A PostgreSQL server of its own, by this driver."""
    with servers.postgres() as server:

        def anew() -> str:
            server.execute(f"DROP DATABASE IF EXISTS {NAME}", f"CREATE DATABASE {NAME}")
            server.execute(
                "CREATE SCHEMA test_schema",
                "CREATE SCHEMA test_schema_2",
                "CREATE EXTENSION hstore",
                "CREATE EXTENSION citext",
                f"ALTER DATABASE {NAME} SET default_text_search_config = 'pg_catalog.english'",
                database=NAME,
            )
            return url(server, driver)

        yield anew


@contextmanager
def mysql(start: Callable[..., servers.Server], driver: str) -> Iterator[Anew]:
    """A MariaDB or MySQL server of its own, by this driver."""
    collation = ["--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci"]
    with start(options=collation) as server:

        def anew() -> str:
            for name in (NAME, "test_schema"):
                server.execute(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
            return url(server, driver)

        yield anew


def url(server: servers.Server, driver: str) -> str:
    address = server.url(driver, NAME, user=servers.ADMIN)
    return address.render_as_string(hide_password=False)


BACKENDS: dict[str, Callable[[], AbstractContextManager[Anew]]] = {
    "sqlite": sqlite,
    "psycopg": lambda: postgresql("psycopg"),
    "psycopg2": lambda: postgresql("psycopg2"),
    "mariadb": lambda: mysql(servers.mariadb, "mysqldb"),
    "mysql": lambda: mysql(servers.mysql, "pymysql"),
}
