"""What libpq makes of connection parameters, for a connection that does not go through it.

Whatever can't be honoured to the letter is refused: a connection to another server, as another
user or less safely encrypted than was asked for would be worse than none.
"""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class RefusedError(Exception):
    """The parameters can't be honoured; says which."""


class Tls(NamedTuple):
    """How the connection is encrypted, and whom it trusts (``src/postgres/settings.rs``)."""

    mode: str
    authorities: str | None = None
    verify_name: bool = False
    certificate: str | None = None
    key: str | None = None
    only_1_3: bool = False


class Settings(NamedTuple):
    """What a connection of our own is opened with (``src/postgres/settings.rs``)."""

    hosts: list[str]
    addresses: list[str]
    ports: list[int]
    database: str
    user: str
    password: str | None
    options: str | None
    application_name: str | None
    connect_timeout: int | None
    tls: Tls
    channel_binding: str
    target_session_attrs: str
    balance: bool
    keepalives_idle: int | None
    keepalives_interval: int | None
    keepalives_count: int | None
    keepalives: bool
    tcp_user_timeout: int | None


#: Environment variables, and the parameters that they stand for
#: (https://www.postgresql.org/docs/current/libpq-envars.html).
_ENVIRONMENT = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGREQUIREAUTH": "require_auth",
    "PGCHANNELBINDING": "channel_binding",
    "PGSERVICE": "service",
    "PGOPTIONS": "options",
    "PGAPPNAME": "application_name",
    "PGSSLMODE": "sslmode",
    "PGREQUIRESSL": "requiressl",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLCOMPRESSION": "sslcompression",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCERTMODE": "sslcertmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCRL": "sslcrl",
    "PGSSLCRLDIR": "sslcrldir",
    "PGSSLSNI": "sslsni",
    "PGREQUIREPEER": "requirepeer",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
    "PGMINPROTOCOLVERSION": "min_protocol_version",
    "PGMAXPROTOCOLVERSION": "max_protocol_version",
    "PGGSSENCMODE": "gssencmode",
    "PGGSSDELEGATION": "gssdelegation",
    "PGKRBSRVNAME": "krbsrvname",
    "PGGSSLIB": "gsslib",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGCLIENTENCODING": "client_encoding",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGLOADBALANCEHOSTS": "load_balance_hosts",
    "PGDATESTYLE": "datestyle",
    "PGTZ": "timezone",
    "PGGEQO": "geqo",
}

#: Parameters that are read below.
_READ = frozenset(
    {
        "host", "hostaddr", "port", "dbname", "user", "password", "passfile", "options",
        "application_name", "fallback_application_name", "connect_timeout", "sslmode", "sslcert",
        "sslkey", "sslrootcert", "ssl_min_protocol_version", "channel_binding",
        "target_session_attrs", "load_balance_hosts", "keepalives", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    }
)  # fmt: skip

#: Values of other parameters that change nothing here.
_HARMLESS = {
    "gssencmode": {"disable", "prefer"},
    "gssdelegation": {"0"},
    "sslcompression": {"0", "1"},
    "sslsni": {"1"},
    "sslcertmode": {"allow"},
    "sslnegotiation": {"postgres"},
    "requiressl": {"0"},
    "client_encoding": {"utf8", "utf-8", "unicode", "UTF8", "UTF-8", "UNICODE"},
    "min_protocol_version": {"3.0"},
    "max_protocol_version": {"3.0"},
    "krbsrvname": {"postgres"},
}

_ROOM_OF_PEM = ".postgresql"


def settings(given: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """The settings that libpq would connect with.

    Parameters
    ----------
    given
        Parameters by libpq's names.
    environment
        The environment's variables, which stand in for what is not given.

    Raises
    ------
    RefusedError
        Something is asked for that a connection of our own can't do.
    """
    asked = {
        name: environment[variable]
        for variable, name in _ENVIRONMENT.items()
        if environment.get(variable)
    }
    asked |= {name: str(value) for name, value in given.items() if value not in (None, "")}
    for name in asked.keys() - _READ:
        if asked[name] not in _HARMLESS.get(name, ()):
            raise RefusedError(f"the connection parameter {name!r} is libpq's own")
    hosts, addresses, ports = _places(asked)
    home = Path(environment.get("HOME") or Path.home())
    user = asked.get("user") or getpass.getuser()
    database = asked.get("dbname") or user
    if "=" in database or database.startswith(("postgresql://", "postgres://")):
        raise RefusedError("dbname is a connection string")
    return Settings(
        hosts=hosts,
        addresses=addresses,
        ports=ports,
        database=database,
        user=user,
        password=asked.get("password")
        or _stored_password(asked, hosts, ports, database, user, home),
        options=asked.get("options"),
        application_name=asked.get("application_name") or asked.get("fallback_application_name"),
        connect_timeout=_timeout(asked),
        tls=_tls(asked, home),
        channel_binding=_one_of(asked, "channel_binding", "prefer", "disable", "require"),
        target_session_attrs=_one_of(
            asked, "target_session_attrs", "any", "read-write", "read-only"
        ),
        balance=_one_of(asked, "load_balance_hosts", "disable", "random") == "random",
        keepalives=_number(asked, "keepalives") != 0,
        keepalives_idle=_number(asked, "keepalives_idle") or None,
        keepalives_interval=_number(asked, "keepalives_interval") or None,
        keepalives_count=_number(asked, "keepalives_count") or None,
        tcp_user_timeout=_number(asked, "tcp_user_timeout") or None,
    )


def _places(asked: Mapping[str, str]) -> tuple[list[str], list[str], list[int]]:
    addresses = asked["hostaddr"].split(",") if "hostaddr" in asked else []
    hosts = asked["host"].split(",") if "host" in asked else list(addresses)
    if not all(hosts) or not hosts or not all(addresses):
        raise RefusedError("no host is given: only libpq knows where it looks then")
    if addresses and len(addresses) != len(hosts):
        raise RefusedError("host and hostaddr name different numbers of servers")
    if any(host.startswith("@") for host in hosts):
        raise RefusedError("an abstract socket is libpq's own")
    texts = asked.get("port", "5432").split(",")
    ports = [_to_number("port", text or "5432") for text in texts]
    if len(ports) not in (1, len(hosts)):
        raise RefusedError("host and port name different numbers of servers")
    return hosts, addresses, ports


def _tls(asked: Mapping[str, str], home: Path) -> Tls:
    mode = _one_of(
        asked, "sslmode", "prefer", "disable", "allow", "require", "verify-ca", "verify-full"
    )
    if mode in {"disable", "allow"}:
        # Where a server refuses "allow" without TLS, libpq itself tries again.
        return Tls("disable")
    room = home / _ROOM_OF_PEM
    authorities = asked.get("sslrootcert") or str(room / "root.crt")
    if authorities == "system":
        raise RefusedError("sslrootcert=system are libpq's own authorities")
    exists = Path(authorities).exists()
    if not exists and mode.startswith("verify-"):
        raise RefusedError(f"the file {authorities} of authorities does not exist")
    if (room / "root.crl").exists():
        raise RefusedError("a list of revoked certificates is libpq's own")
    certificate = asked.get("sslcert") or str(room / "postgresql.crt")
    key = asked.get("sslkey") or str(room / "postgresql.key")
    shown = Path(certificate).exists()
    if "sslcert" in asked and not shown:
        raise RefusedError(f"the file {certificate} does not exist")
    if shown and not Path(key).exists():
        raise RefusedError(f"the key {key} is no file")
    versions = {"": False, "TLSv1": False, "TLSv1.1": False, "TLSv1.2": False, "TLSv1.3": True}
    version = asked.get("ssl_min_protocol_version", "")
    if version not in versions:
        raise RefusedError(f"ssl_min_protocol_version={version}")
    return Tls(
        mode="prefer" if mode == "prefer" else "require",
        authorities=authorities if exists else None,
        verify_name=mode == "verify-full",
        certificate=certificate if shown else None,
        key=key if shown else None,
        only_1_3=versions[version],
    )


def _timeout(asked: Mapping[str, str]) -> int | None:
    seconds = _number(asked, "connect_timeout") or 0
    # libpq waits at least two seconds where it waits for a time at all.
    return max(seconds, 2) if seconds > 0 else None


def _one_of(asked: Mapping[str, str], name: str, default: str, *others: str) -> str:
    value = asked.get(name, default)
    if value not in (default, *others):
        raise RefusedError(f"{name}={value} is libpq's own")
    return value


def _number(asked: Mapping[str, str], name: str) -> int | None:
    return _to_number(name, asked[name]) if name in asked else None


def _to_number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise RefusedError(f"{name}={text} is no number") from None


# The password file


def _stored_password(
    asked: Mapping[str, str],
    hosts: list[str],
    ports: list[int],
    database: str,
    user: str,
    home: Path,
) -> str | None:
    """The password that libpq finds in ``~/.pgpass`` or the file of ``passfile``."""
    path = Path(asked.get("passfile") or home / ".pgpass")
    try:
        if not path.is_file() or path.stat().st_mode & 0o077:
            return None
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    entries = [_fields(line) for line in lines if line and not line.startswith("#")]
    found = set()
    for i, host in enumerate(hosts):
        port = ports[i] if len(ports) > 1 else ports[0]
        wanted = (_name_of(host), str(port), database, user)
        found.add(next((e[4] for e in entries if len(e) == 5 and _matches(e, wanted)), None))
    if len(found) > 1:
        raise RefusedError("the servers have different passwords in the password file")
    return found.pop()


def _fields(line: str) -> list[str]:
    """``host:port:database:user:password``, where a backslash stands before a colon's own."""
    parts = re.split(r"(?<!\\)((?:\\\\)*):", line, maxsplit=4)
    fields = [text + slashes for text, slashes in zip(parts[::2], [*parts[1::2], ""], strict=True)]
    return [re.sub(r"\\(.)", r"\1", field) for field in fields]


def _matches(entry: list[str], wanted: tuple[str, ...]) -> bool:
    return all(field in ("*", value) for field, value in zip(entry, wanted, strict=False))


#: Where Debian's and PostgreSQL's own libpq look for a socket: such a folder is localhost's.
_USUAL_FOLDERS = frozenset({"/tmp", "/var/run/postgresql", "/run/postgresql"})


def _name_of(host: str) -> str:
    return "localhost" if host in _USUAL_FOLDERS else host
