"""asyncpg, in whose place tokio-postgres is: its arguments, its values and its errors."""

from __future__ import annotations

import math
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import types

from . import libpq

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.engine import Dialect

    from .. import _native

#: Arguments that are read below, and the names that libpq has for them.
_NAMES = {
    "host": "host",
    "port": "port",
    "user": "user",
    "password": "password",
    "database": "dbname",
    "ssl": "sslmode",
    "target_session_attrs": "target_session_attrs",
}

#: Arguments that change nothing here.
_HARMLESS = frozenset(
    {
        "loop", "max_cacheable_statement_size", "max_cached_statement_lifetime",
        "prepared_statement_cache_size", "prepared_statement_name_func", "record_class",
        "statement_cache_size",
    }
)  # fmt: skip

#: Environment variables that asyncpg reads, and libpq too.
_ENVIRONMENT = frozenset(
    {
        "HOME", "PGDATABASE", "PGGSSLIB", "PGHOST", "PGKRBSRVNAME", "PGPASSWORD", "PGPORT",
        "PGSERVICE", "PGSSLCERT", "PGSSLCRL", "PGSSLKEY", "PGSSLMAXPROTOCOLVERSION",
        "PGSSLMINPROTOCOLVERSION", "PGSSLMODE", "PGSSLNEGOTIATION", "PGSSLROOTCERT",
        "PGTARGETSESSIONATTRS", "PGUSER",
    }
)  # fmt: skip

#: Seconds that asyncpg takes at most to connect where nothing is said.
_TIMEOUT = 60


def settings(arguments: Mapping[str, Any]) -> libpq.Settings:
    """What asyncpg would connect with.

    Raises
    ------
    fastbulk.carriers.libpq.RefusedError
        Something is asked for that a connection of our own can't do.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    server_settings = dict(given.pop("server_settings", {}))
    timeout = given.pop("timeout", _TIMEOUT)
    for name in sorted(given.keys() - _NAMES.keys() - _HARMLESS):
        if given[name] is not False:
            raise libpq.RefusedError(f"the connection parameter {name!r} is asyncpg's own")
    asked = {_NAMES[name]: _text(name, given[name]) for name in given.keys() & _NAMES.keys()}
    environment = {name: os.environ[name] for name in _ENVIRONMENT & os.environ.keys()}
    _check_password(asked, environment)
    if _only_sockets(asked.get("host") or environment.get("PGHOST", "")):
        environment.setdefault("PGSSLMODE", "disable")
    asked |= {
        "application_name": server_settings.pop("application_name", ""),
        "options": " ".join(map(_option, server_settings.items())),
        "connect_timeout": str(math.ceil(timeout)),
        "channel_binding": "disable",
    }
    made = libpq.settings(asked, environment)
    if made.tls.mode == "prefer":
        # asyncpg verifies nobody then, whatever authorities there are.
        made = made._replace(tls=made.tls._replace(authorities=None))
    return made


def _text(name: str, value: Any) -> str:
    """An argument as libpq would have it."""
    if name == "ssl" and isinstance(value, bool):
        if value:
            raise libpq.RefusedError("ssl=True are Python's own authorities")
        return "disable"
    if name == "ssl":
        # SSLMode.verify_full
        value = getattr(value, "name", value)
        value = value.replace("_", "-") if isinstance(value, str) else value
    several = isinstance(value, (list, tuple)) and name in {"host", "port"}
    parts = value if several else [value]
    if not all(type(part) is str or (name == "port" and type(part) is int) for part in parts):
        raise libpq.RefusedError(f"{name} is of type {type(value).__name__}, asyncpg's own")
    return ",".join(map(str, parts))


def _check_password(asked: Mapping[str, str], environment: Mapping[str, str]) -> None:
    if "password" in asked or "PGPASSWORD" in environment:
        return
    path = os.environ.get("PGPASSFILE")
    if (Path(path) if path else Path.home() / ".pgpass").exists():
        raise libpq.RefusedError("a file of passwords is asyncpg's own")


def _only_sockets(hosts: str) -> bool:
    """Whether nothing says that TLS is wanted."""
    return all(host.startswith("/") for host in hosts.split(","))


def _option(setting: tuple[str, Any]) -> str:
    name, value = setting
    escaped = str(value).replace("\\", "\\\\").replace(" ", "\\ ")
    return f"-c {name}={escaped}"


def refused(dialect: Dialect, reason: str) -> Exception:
    """The error of a connection that can't be opened."""
    dbapi: Any = dialect.loaded_dbapi
    raised: Exception = dbapi.OperationalError(reason)
    return raised


#: The values of these come as the driver's, of whatever type the server's columns are.
_RETURNED = {types.Boolean, types.Integer, types.String}


def returns(types_: Sequence[Any]) -> bool:
    """Whether values of these types can come back."""
    return all(type_._type_affinity in _RETURNED for type_ in types_)


def error(dialect: Dialect, error: _native.PostgresError) -> Exception:
    """The server's error as SQLAlchemy's adapter raises asyncpg's, which is its cause."""
    from asyncpg import exceptions

    message, said = error.args
    if said:
        cause = exceptions.PostgresError.new(dict(said))
    else:
        cause = exceptions.ConnectionDoesNotExistError(message)
    dbapi: Any = dialect.loaded_dbapi
    translated = dbapi._asyncpg_error_translate
    class_ = next(translated[base] for base in type(cause).__mro__ if base in translated)
    raised: Exception = class_(f"{type(cause)}: {cause}")
    vars(raised).update(pgcode=cause.sqlstate, sqlstate=cause.sqlstate, detail=cause.detail)
    raised.__cause__ = cause
    return raised


class Loaders:
    """What asyncpg makes of the texts that native code leaves as bytes."""

    def __init__(self, dialect: Dialect, timezone: str) -> None:
        """The same for all sessions."""
        self._dbapi: Any = dialect.loaded_dbapi

    def load(
        self, columns: Sequence[tuple[str, int]], rows: list[tuple[Any, ...]]
    ) -> list[tuple[Any, ...]]:
        """The rows, with every value as an object."""
        if not any(isinstance(value, bytes) for row in rows for value in row):
            return rows
        load = [self._load_of(name, oid) for name, oid in columns]
        return [
            tuple(
                load(value) if isinstance(value, bytes) else value
                for load, value in zip(load, row, strict=True)
            )
            for row in rows
        ]

    def _load_of(self, name: str, oid: int) -> Callable[[bytes], Any]:
        if oid == _NUMERIC:
            return lambda text: Decimal(text.decode())
        if oid == _BYTEA:
            return _bytes
        if oid >= _FIRST_OF_USERS:
            # Enumerations and the types of extensions, which asyncpg reads as text.
            return bytes.decode
        reason = f"column {name!r} is of a type ({oid}) that only asyncpg reads"

        def refuse(text: bytes) -> Any:
            raise self._dbapi.NotSupportedError(reason)

        return refuse


def _bytes(text: bytes) -> bytes:
    if text.startswith(b"\\x"):
        return bytes.fromhex(text[2:].decode())
    # bytea_output=escape
    return re.sub(
        rb"\\(\\|[0-7]{3})", lambda m: bytes([int(m[1], 8)]) if m[1] != b"\\" else m[1], text
    )


_BYTEA = 17
_NUMERIC = 1700
#: PostgreSQL gives lower numbers to its own types.
_FIRST_OF_USERS = 16384
