"""What the drivers of MySQL and MariaDB connect with, as the settings of a connection of our own.

A pure function of a driver's arguments: what we can't do just as the driver does is refused, and
then the engine's pool gives the connection.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class RefusedError(Exception):
    """A connection of our own would be another than the driver's."""


class Tls(NamedTuple):
    """How the connection is encrypted, and whom it trusts (``src/mysql/settings.rs``)."""

    mode: str
    authorities: str | None = None
    verify_name: bool = False
    certificate: str | None = None
    key: str | None = None


class Settings(NamedTuple):
    """What a connection of our own is opened with (``src/mysql/settings.rs``)."""

    host: str
    port: int
    socket: str | None
    user: str
    password: str | None
    database: str | None
    connect_timeout: int | None
    tls: Tls
    setup: list[str]


#: Other names of some arguments.
_ALIASES = {
    "passwd": "password",
    "db": "database",
    "username": "user",
    "connection_timeout": "connect_timeout",
    "client_flags": "client_flag",
    "allow_local_infile": "local_infile",
}

#: Arguments that are read below, of every driver and of one.
_READ = frozenset(
    {
        "host", "port", "unix_socket", "user", "password", "database", "connect_timeout",
        "charset", "collation", "sql_mode", "init_command", "client_flag",
    }
)  # fmt: skip
_READ_OF = {
    "mysqldb": frozenset({"ssl", "ssl_mode"}),
    "pymysql": frozenset(
        {
            "ssl", "ssl_ca", "ssl_cert", "ssl_key", "ssl_disabled", "ssl_verify_cert",
            "ssl_verify_identity",
        }
    ),
    "mysqlconnector": frozenset(
        {
            "ssl_ca", "ssl_cert", "ssl_key", "ssl_disabled", "ssl_verify_cert",
            "ssl_verify_identity", "time_zone",
        }
    ),
    "aiomysql": frozenset({"ssl"}),
    "asyncmy": frozenset({"ssl"}),
}  # fmt: skip

#: Arguments that change nothing about what is sent.
_HARMLESS = frozenset(
    {
        "local_infile", "use_unicode", "cursorclass", "buffered", "raw", "use_pure",
        "consume_results", "multi_statements", "executemany_fallback", "binary_prefix",
    }
)  # fmt: skip

#: Client flags that the drivers set by themselves or SQLAlchemy asks for (FOUND_ROWS).
_FLAGS = 2 | 128 | 1 << 16 | 1 << 17 | 1 << 18


def settings(driver: str, given: Mapping[str, Any], *, libmariadb: bool, flags: int) -> Settings:
    """The settings that a driver would connect with.

    Parameters
    ----------
    driver
        SQLAlchemy's name of the driver.
    given
        The arguments of the driver's own ``connect``.
    libmariadb
        The driver's C library is MariaDB's, which encrypts only where it is told to.
    flags
        The client flags that the driver sets where none are given.

    Raises
    ------
    RefusedError
        Something is asked for that a connection of our own can't do.
    """
    asked = {
        _ALIASES.get(name, name): value for name, value in given.items() if value not in (None, "")
    }
    known = _READ | _READ_OF[driver] | _HARMLESS
    for name in sorted(asked.keys() - known):
        if asked[name] is not False:
            raise RefusedError(f"the connection parameter {name!r} is the driver's own")
    if int(asked.get("client_flag", 0)) & ~(_FLAGS | flags):
        raise RefusedError("client flags are the driver's own")
    if str(asked.get("charset", "utf8mb4")).lower() != "utf8mb4":
        raise RefusedError(f"the connection's character set is {asked['charset']}, not utf8mb4")
    if "user" not in asked:
        raise RefusedError("no user is given")
    host, socket = _place(driver, asked)
    timeout = asked.get("connect_timeout", _TIMEOUT.get(driver))
    return Settings(
        host=host,
        port=int(asked.get("port", 3306)),
        socket=socket,
        user=_text("user", asked["user"]),
        password=_text("password", asked["password"]) if "password" in asked else None,
        database=_text("database", asked["database"]) if "database" in asked else None,
        connect_timeout=None if timeout is None else int(timeout),
        tls=_tls(driver, asked, libmariadb, over_socket=socket is not None),
        setup=_setup(driver, asked),
    )


#: Seconds that a driver takes at most to connect where nothing is said.
_TIMEOUT = {"pymysql": 10, "asyncmy": 10}


def loads_local(given: Mapping[str, Any]) -> bool:
    """Whether nothing forbids LOAD DATA LOCAL. Of ours no file is read, so nobody need allow it."""
    asked = {_ALIASES.get(name, name): value for name, value in given.items()}
    return asked.get("local_infile") in (None, True, 1)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise RefusedError(f"{name} is a {type(value).__name__}")
    return value


def _place(driver: str, asked: Mapping[str, Any]) -> tuple[str, str | None]:
    host, socket = asked.get("host"), asked.get("unix_socket")
    if driver == "mysqldb":
        local = host in (None, "localhost")
        if local and socket is None:
            raise RefusedError("no socket is given: only the C library knows where it looks then")
        if not local:
            socket = None
    host = _text("host", host or ("127.0.0.1" if driver == "mysqlconnector" else "localhost"))
    return host, None if socket is None else str(socket)


def _setup(driver: str, asked: Mapping[str, Any]) -> list[str]:
    """The statements that the driver begins with, in its order."""
    names = "SET NAMES utf8mb4"
    if "collation" in asked:
        names += f" COLLATE {_matching('collation', asked, '[0-9A-Za-z_]+')}"
    setup = [names]
    if "time_zone" in asked:
        setup.append(f"SET time_zone='{_matching('time_zone', asked, '[-+:/0-9A-Za-z_]+')}'")
    if "sql_mode" in asked:
        setup.append(f"SET SESSION sql_mode='{_matching('sql_mode', asked, '[0-9A-Za-z_, ]+')}'")
    if "init_command" in asked:
        command = _matching("init_command", asked, "[^;]+;?")
        setup.insert(0 if driver == "mysqldb" else len(setup), command)
    # The server's notes are no warnings to us, and would be counted as such.
    return [*setup, "SET autocommit=0, sql_notes=0"]


def _matching(name: str, asked: Mapping[str, Any], pattern: str) -> str:
    if not re.fullmatch(pattern, text := str(asked[name])):
        raise RefusedError(f"{name}={text!r} is the driver's own")
    return text


# TLS


class _Asked(NamedTuple):
    """What a driver's arguments say of TLS."""

    mode: str
    files: Mapping[str, Any] = {}
    verify: bool = False
    verify_name: bool = False


def _tls(driver: str, asked: Mapping[str, Any], libmariadb: bool, *, over_socket: bool) -> Tls:
    mode, files, verify, verify_name = _TLS_OF[driver](asked, libmariadb)
    if over_socket and mode == "require":
        raise RefusedError("a socket is encrypted by the driver alone")
    if over_socket or mode == "disable":
        return Tls("disable")
    if others := sorted(name for name in files if name not in {"ca", "cert", "key"}):
        raise RefusedError(f"TLS's {', '.join(others)} is the driver's own")
    if (verify or verify_name) and not files.get("ca"):
        raise RefusedError("a certificate is to be verified by authorities of the driver's own")
    paths = {name: str(path) for name, path in files.items() if path}
    if missing := [path for path in paths.values() if not Path(path).is_file()]:
        raise RefusedError(f"the file {missing[0]} does not exist")
    if ("cert" in paths) != ("key" in paths):
        raise RefusedError("a certificate and its key are in one file")
    return Tls(mode, paths.get("ca"), verify_name, paths.get("cert"), paths.get("key"))


def _tls_of_mysqldb(asked: Mapping[str, Any], libmariadb: bool) -> _Asked:
    files = asked.get("ssl", {})
    default = "PREFERRED" if not files else "REQUIRED"
    if isinstance(files, bool):
        files, default = {}, "REQUIRED" if files else "DISABLED"
    mode = str(asked.get("ssl_mode", default))
    if mode == "PREFERRED" and not files:
        return _Asked("disable" if libmariadb else "prefer")
    if mode == "DISABLED":
        return _Asked("disable")
    if mode not in {"PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"}:
        raise RefusedError(f"ssl_mode={mode} is the driver's own")
    identity = mode == "VERIFY_IDENTITY"
    return _Asked("require", _mapping(files), identity or mode == "VERIFY_CA", identity)


def _tls_of_pymysql(asked: Mapping[str, Any], libmariadb: bool) -> _Asked:
    if asked.get("ssl_disabled"):
        return _Asked("disable")
    files, verify, identity = _files(asked)
    if files or verify or identity:
        return _Asked("require", files, verify, identity)
    if "ssl" not in asked:
        return _Asked("prefer")
    given = dict(_mapping(asked["ssl"]))
    identity = bool(given.pop("check_hostname", "ca" in given)) and "ca" in given
    return _Asked("require", given, False, identity)


def _tls_of_mysqlconnector(asked: Mapping[str, Any], libmariadb: bool) -> _Asked:
    if asked.get("ssl_disabled"):
        return _Asked("disable")
    files, verify, identity = _files(asked)
    return _Asked("require" if files else "prefer", files, verify, identity)


def _tls_of_aiomysql(asked: Mapping[str, Any], libmariadb: bool) -> _Asked:
    if asked.get("ssl"):
        raise RefusedError("an SSLContext is the driver's own")
    return _Asked("disable")


def _tls_of_asyncmy(asked: Mapping[str, Any], libmariadb: bool) -> _Asked:
    ssl = asked.get("ssl")
    if not ssl:
        return _Asked("disable")
    given = {} if ssl is True else dict(_mapping(ssl))
    identity = bool(given.pop("check_hostname", True)) and "ca" in given
    return _Asked("require", given, False, identity)


def _files(asked: Mapping[str, Any]) -> tuple[dict[str, Any], bool, bool]:
    files = {name: asked[f"ssl_{name}"] for name in ("ca", "cert", "key") if f"ssl_{name}" in asked}
    return files, bool(asked.get("ssl_verify_cert")), bool(asked.get("ssl_verify_identity"))


def _mapping(files: Any) -> Mapping[str, Any]:
    if not isinstance(files, dict):
        raise RefusedError("an SSLContext is the driver's own")
    return {name: value for name, value in files.items() if value is not None}


_TLS_OF: dict[str, Callable[[Mapping[str, Any], bool], _Asked]] = {
    "mysqldb": _tls_of_mysqldb,
    "pymysql": _tls_of_pymysql,
    "mysqlconnector": _tls_of_mysqlconnector,
    "aiomysql": _tls_of_aiomysql,
    "asyncmy": _tls_of_asyncmy,
}
