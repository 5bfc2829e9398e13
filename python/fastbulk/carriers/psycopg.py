"""psycopg 3."""

from __future__ import annotations

import datetime
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .. import _native
from . import plain, postgresql, postgresql_keyed
from .sent import Answer, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy.engine import Connection, Dialect


class _Driver:
    """How psycopg takes COPY data and text."""

    shows_every_answer = True

    @property
    def execute_arrays(self) -> postgresql.ExecuteArrays | None:
        return _execute_arrays if has_raw_cursors() else None

    def execute(
        self,
        cursor: Any,
        sql: str,
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> Answer:
        # psycopg would keep the texts of what may be worth preparing.
        cursor.execute("; ".join(filter(None, (*begin, sql, end))), prepare=False)
        for _ in begin:
            cursor.nextset()
        shown = answer(cursor)
        # What ends the work has no columns, of which SQLAlchemy would make a result.
        while cursor.nextset():
            pass
        return shown

    def execute_each(
        self,
        cursor: Any,
        statements: Sequence[str],
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> list[Answer]:
        sql = "; ".join(filter(None, (*begin, *statements, end)))
        cursor.execute(sql, prepare=False)
        for _ in begin:
            cursor.nextset()
        answers = []
        for _ in statements:
            answers.append(answer(cursor))
            cursor.nextset()
        return answers

    def copy(self, cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
        with cursor.copy(sql) as copy:
            for piece in pieces:
                copy.write(piece)
        count: int = cursor.rowcount
        return count

    def in_transaction(self, connection: Any) -> bool:
        return in_transaction(connection)


@dataclass(frozen=True)
class Array:
    """An array in the server's binary format."""

    data: bytes


def raw(class_: Any, cursor: Any) -> Any:
    """A cursor on another's connection that takes parameters as the server names them."""
    from psycopg.rows import tuple_row

    own = class_(cursor.connection, row_factory=tuple_row)
    own.adapters.register_dumper(Array, _array_dumper())
    return own


@cache
def _array_dumper() -> Any:
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class ArrayDumper(Dumper):
        # The statement tells the type.
        format = Format.BINARY
        oid = 0

        def dump(self, obj: Array) -> bytes:
            return obj.data

    return ArrayDumper


def has_raw_cursors() -> bool:
    """Whether this is psycopg 3.2 or later."""
    import psycopg

    return hasattr(psycopg, "RawCursor")


def _execute_arrays(
    cursor: Any, sql: str, arrays: Sequence[bytes], begin: postgresql.Texts, end: str
) -> Answer:
    from psycopg import RawCursor

    with raw(RawCursor, cursor) as own:
        with together(cursor.connection) if end else nullcontext():
            for text in begin:
                cursor.execute(text, prepare=False)
            # None leaves it to the connection, whose owner may have reasons against it.
            own.execute(sql, list(map(Array, arrays)), prepare=None if end else False)
            if end:
                cursor.execute(end, prepare=False)
        return answer(own)


def together(connection: Any) -> Any:
    """Has statements sent as one message, where this libpq can."""
    from psycopg import Pipeline

    return connection.pipeline() if Pipeline.is_supported() else nullcontext()


def answer(cursor: Any) -> Answer:
    """What the cursor says after a statement."""
    codes = type_codes(cursor)
    return Answer(cursor.rowcount, _rows(cursor, codes) if codes else [], codes)


def _rows(cursor: Any, codes: Sequence[int]) -> Rows:
    """The rows of a cursor's result, by psycopg's own loaders of today."""
    from psycopg.adapt import Transformer

    result = cursor.pgresult
    transformer: Any = Transformer(cursor)
    transformer.set_pgresult(result)
    count = result.ntuples

    types = cache(lambda: _native_types(transformer, codes))

    def decode() -> _native.Outcome | None:
        library = libpq(type(result).__module__)
        known = types()
        if library is None or known is None:
            return None
        return library.outcome(result.pgresult_ptr, count, known)

    def may_fail() -> bool:
        return not NEVER_FAIL.issuperset(types() or (None,))

    return Rows(count, decode, partial(transformer.load_rows, 0, count, tuple), may_fail=may_fail)


def _native_types(transformer: Any, codes: Sequence[int]) -> list[int] | None:
    """The types by which native code reads the values; None where only psycopg knows them."""
    from psycopg.pq import Format

    result = transformer.pgresult
    loaders = [type(transformer.get_loader(code, Format.TEXT)) for code in codes]
    if result.fformat(0) != Format.TEXT or not all(map(_is_psycopgs, loaders)):
        return None
    return [
        TEXT if loader.__name__ == "TextLoader" else code
        for code, loader in zip(codes, loaders, strict=True)
    ]


def _is_psycopgs(loader: type) -> bool:
    """Whether the loader is one that psycopg has by itself."""
    return loader.__module__.startswith("psycopg") and not loader.__name__.startswith("Custom")


@cache
def libpq(module: str) -> _native.Libpq | None:
    """The library that a driver's compiled module talks to; None for one in Python."""
    path = sys.modules[module].__file__
    return None if path is None else _native.Libpq.of(path)


TEXT = 25
#: The types whose values psycopg can always load: bool, bytea, int8, int2, int4, text, json,
#: float4, float8, bpchar, varchar, numeric, uuid, jsonb.
NEVER_FAIL = frozenset({16, 17, 20, 21, 23, TEXT, 114, 700, 701, 1042, 1043, 1700, 2950, 3802})


def type_codes(cursor: Any) -> tuple[int, ...]:
    """The types of the result's columns; empty for a statement that gives no rows."""
    # Cheaper than the cursor's description, which is made anew each time that it is asked for.
    result = cursor.pgresult
    return tuple(map(result.ftype, range(result.nfields)))


def in_transaction(connection: Any) -> bool:
    """Whether the DBAPI connection stands in a transaction, or opens one by itself."""
    return not connection.autocommit or connection.info.transaction_status.name == "INTRANS"


_DRIVER = _Driver()

#: The cursor is closed before SQLAlchemy asks for the count, and then has none.
NO_COUNT_OF = {"insert"}

example_sql = postgresql_keyed.example_sql
all_or_nothing = partial(postgresql.all_or_nothing, driver=_DRIVER)
foresee = partial(postgresql.foresee, driver=_DRIVER)
native = partial(postgresql.insert, driver=_DRIVER)
keyed = partial(postgresql_keyed.keyed, driver=_DRIVER)
executemany = partial(plain.executemany, all_or_nothing=all_or_nothing)


def facts(connection: Connection) -> dict[str, str]:
    """What closes a road on this connection, by name, with the reason in words."""
    driver: Any = connection.connection.driver_connection
    if driver.pgconn.pipeline_status:
        return {"no COPY": "the connection is in pipeline mode"}
    if driver.pgconn.parameter_status(b"client_encoding") != b"UTF8":
        return {"no COPY": "the connection's client_encoding is not UTF8"}
    return {}


def adapt(dialect: Dialect) -> Callable[[Any], Any]:
    """psycopg's own text form of objects that native code does not know."""
    adapters = getattr(dialect, "_psycopg_adapters_map", None)
    return partial(_adapt, SimpleNamespace(adapters=adapters, connection=None))


def _adapt(context: Any, value: Any) -> Any:
    from psycopg import Binary
    from psycopg.adapt import PyFormat, Transformer

    if (exact := postgresql.exact_class(value)) is not None:
        return exact
    if isinstance(value, datetime.timedelta):
        return postgresql.interval(value)
    if isinstance(value, Binary):
        return bytes(value.obj)
    dumper = Transformer(context if context.adapters else None).get_dumper(value, PyFormat.TEXT)
    text = dumper.dump(value)
    return None if text is None else bytes(text).decode()
