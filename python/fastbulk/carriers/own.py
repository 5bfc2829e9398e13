"""A connection of our own to an engine's database, where the pool would open just the same.

An engine's set-up is part of its meaning: roles, search paths, tokens. What can't be told from the
pool's connections is opened by native code; anything else comes from the pool, with the reason.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, Pool, QueuePool

from . import carrier, driver_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from sqlalchemy.engine import Connection

_BY_DRIVER = {
    ("postgresql", "psycopg"): "tokio_postgres",
    ("postgresql", "psycopg_async"): "tokio_postgres",
    ("postgresql", "asyncpg"): "tokio_postgres",
    ("mysql", "mysqldb"): "mysql_async",
    ("mysql", "pymysql"): "mysql_async",
    ("mysql", "mysqlconnector"): "mysql_async",
    ("mysql", "aiomysql"): "mysql_async",
    ("mysql", "asyncmy"): "mysql_async",
    ("mariadb", "mysqldb"): "mysql_async",
    ("mariadb", "pymysql"): "mysql_async",
    ("mariadb", "mysqlconnector"): "mysql_async",
    ("mariadb", "aiomysql"): "mysql_async",
    ("mariadb", "asyncmy"): "mysql_async",
}

#: Rows of a call that has a connection of the pool: ours takes 5 to 10 ms to open and to learn the
#: catalog, which is a tenth of the time of so many rows.
FEW = 50_000
#: The same for a call over several connections.
FEW_SPREAD = 5_000

#: Execution options that change nothing about a connection.
_HARMLESS_OPTIONS = frozenset({"schema_translate_map", "logging_token", "compiled_cache"})


def why_not(engine: Engine, connections: int = 1) -> str | None:
    """Why the pool's connections may be others than one of our own, if so."""
    if _key(engine) not in _BY_DRIVER:
        return f"there is none for {engine.dialect.name}+{engine.dialect.driver}"
    if connections > 1 and engine.dialect.is_async:
        return "on an event loop rows are not spread over several connections"
    if type(engine.pool) not in (NullPool, QueuePool, AsyncAdaptedQueuePool):
        return f"the engine has a pool of its own, {type(engine.pool).__name__}"
    if type(engine.dialect).__module__.partition(".")[0] != "sqlalchemy":
        return f"the engine has a dialect of its own, {type(engine.dialect).__name__}"
    if getattr(engine.pool._creator, "__module__", None) != "sqlalchemy.engine.create":
        return "the engine has a creator of its own"
    if getattr(engine.dialect, "_on_connect_isolation_level", None) is not None:
        return "the engine has an isolation level"
    if options := engine.get_execution_options().keys() - _HARMLESS_OPTIONS:
        return f"the engine has execution options ({', '.join(sorted(options))})"
    if listeners := _listeners(engine):
        return f"the engine has listeners ({', '.join(listeners)})"
    return None


def _key(engine: Engine) -> tuple[str, str]:
    return engine.dialect.name, driver_of(engine.dialect)


def _listeners(engine: Engine) -> list[str]:
    """The events that somebody but SQLAlchemy and us listens to."""
    return sorted(
        {
            name
            for listened, class_ in (
                (engine, Engine),
                (engine.pool, Pool),
                (engine.dialect, Dialect),
            )
            for name in class_.dispatch._event_names
            for listener in getattr(listened.dispatch, name)
            if not _is_known(listener)
        }
    )


def _is_known(listener: Any) -> bool:
    """Whether the listener came with the engine, or is ours."""
    module = getattr(listener, "__module__", None) or ""
    if module.startswith("fastbulk."):
        return True
    functions = [listener, *inspect.getclosurevars(listener).nonlocals.values()]
    return any(
        getattr(function, "__qualname__", "") in _OF_CREATE_ENGINE
        and function.__module__ == "sqlalchemy.engine.create"
        for function in functions
    )


_OF_CREATE_ENGINE = frozenset(
    {"create_engine.<locals>.on_connect", "create_engine.<locals>.first_connect"}
)


@contextmanager
def begin(engine: Engine) -> Iterator[tuple[ModuleType, Connection]]:
    """A connection of our own to the engine's database, with a transaction that ends here, and what
    carries rows over it.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        It can't be opened; the engine's own connections may be.
    """
    opens = carrier(_BY_DRIVER[_key(engine)])
    arguments = _arguments(engine)
    pool = NullPool(lambda: opens.connect(engine.dialect, arguments), dialect=engine.dialect)
    own = Engine(
        pool,
        engine.dialect,
        engine.url,
        echo=engine.echo,
        hide_parameters=engine.hide_parameters,
        execution_options=engine.get_execution_options(),
    )
    with own.begin() as connection:
        yield opens, connection


def returns(engine: Engine, types: Sequence[Any]) -> bool:
    """Whether values of these types can come back over a connection of our own."""
    can: bool = carrier(_BY_DRIVER[_key(engine)]).returns(engine.dialect, types)
    return can


def initialize(engine: Engine) -> None:
    """Has SQLAlchemy ask the server what its dialect has to know, on a connection of the pool.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        The engine can't connect.
    """
    if getattr(engine.dialect, "server_version_info", None) is None:
        engine.connect().close()


def _arguments(engine: Engine) -> dict[str, Any]:
    """The driver's arguments, from the URL and ``connect_args``, which the pool's creator keeps."""
    kept = inspect.getclosurevars(engine.pool._creator).nonlocals
    return dict(kept["cparams"])
