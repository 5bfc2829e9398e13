"""psycopg, in whose place tokio-postgres is: its arguments, its values and its errors."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from . import libpq

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.engine import Dialect

    from .. import _native

#: Arguments of psycopg's own ``connect`` that change nothing here.
_HARMLESS = frozenset({"context", "prepare_threshold"})


def settings(arguments: Mapping[str, Any]) -> libpq.Settings:
    """What psycopg would connect with.

    Raises
    ------
    fastbulk.carriers.libpq.RefusedError
        Something is asked for that a connection of our own can't do.
    """
    given = {name: value for name, value in arguments.items() if name not in _HARMLESS}
    if given.pop("autocommit", False) is not False:
        raise libpq.RefusedError("the connection parameter 'autocommit' is psycopg's own")
    return libpq.settings(given, os.environ)


def refused(dialect: Dialect, reason: str) -> Exception:
    """The error of a connection that can't be opened."""
    from psycopg import OperationalError

    return OperationalError(reason)


def returns(types: Sequence[Any]) -> bool:
    """Whether values of these types can come back."""
    return True


def error(dialect: Dialect, error: _native.PostgresError) -> Exception:
    """The server's error as psycopg raises it, with ``sqlstate`` and ``diag``."""
    from psycopg import OperationalError, errors
    from psycopg.pq import DiagnosticField

    message, said = error.args
    if not said:
        return OperationalError(message)
    fields = dict(said)
    try:
        class_ = errors.lookup(fields["C"])
    except KeyError:
        class_ = errors.get_base_exception(fields["C"])
    info: dict[int, bytes | None] = {
        field: fields[chr(field)].encode() if chr(field) in fields else None
        for field in DiagnosticField
    }
    # As libpq writes it.
    lines = [message]
    lines += [f"{label}:  {fields[key]}" for key, label in _LABELS.items() if key in fields]
    return class_("\n".join(lines), info=info)


_LABELS = {"D": "DETAIL", "H": "HINT", "W": "CONTEXT"}


class Loaders:
    """psycopg's own conversion of texts to objects, for what native code leaves as bytes."""

    def __init__(self, dialect: Dialect, timezone: str) -> None:
        """The dialect's own loaders, for a session in that time zone."""
        from psycopg import adapters as global_adapters
        from psycopg.adapt import AdaptersMap, Loader, Transformer
        from psycopg.pq import Format

        adapters = getattr(dialect, "_psycopg_adapters_map", None)
        map_ = AdaptersMap(adapters or global_adapters)
        utc: Any = map_.get_loader(_TIMESTAMPTZ, Format.TEXT)
        zone = _zone(timezone)

        class InZone(Loader):
            """Without a connection psycopg gives UTC; with one, the zone of the session."""

            def __init__(self, oid: int, context: Any = None) -> None:
                super().__init__(oid, context)
                self._load = utc(oid, None).load

            def load(self, data: Any) -> Any:
                return self._load(data).astimezone(zone)

        if zone is not None:
            map_.register_loader(_TIMESTAMPTZ, InZone)
        transformer: Any = Transformer(SimpleNamespace(adapters=map_, connection=None))
        self._load_of: Callable[[int], Any] = lambda oid: transformer.get_loader(oid, Format.TEXT)

    def load(
        self, columns: Sequence[tuple[str, int]], rows: list[tuple[Any, ...]]
    ) -> list[tuple[Any, ...]]:
        """The rows, with every value as an object."""
        foreign = {
            i: self._load_of(oid).load
            for i, (_, oid) in enumerate(columns)
            if any(isinstance(row[i], bytes) for row in rows)
        }
        if not foreign:
            return rows
        return [
            tuple(
                foreign[i](value) if isinstance(value, bytes) else value
                for i, value in enumerate(row)
            )
            for row in rows
        ]


_TIMESTAMPTZ = 1184


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError):
        return None
