"""psycopg2."""

from __future__ import annotations

import datetime
import io
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from . import plain, postgresql, postgresql_keyed
from .postgresql_text import array, hstore, range_, record
from .psycopg import NEVER_FAIL, TEXT, libpq
from .sent import Answer, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy.engine import Connection, Dialect

    from .. import _native


class _Driver:
    """How psycopg2 takes COPY data and text."""

    shows_every_answer = False
    execute_arrays = None

    def execute(
        self,
        cursor: Any,
        sql: str,
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> Answer:
        # Of several statements in one message psycopg2 shows the last one's answer only.
        answer = _answer(cursor, "; ".join((*begin, sql)), columns)
        if end:
            cursor.execute(end)
        return answer

    def execute_each(
        self,
        cursor: Any,
        statements: Sequence[str],
        begin: postgresql.Texts = (),
        end: str = "",
        columns: str = "",
    ) -> list[Answer]:
        answers = []
        for sql in statements:
            answers.append(_answer(cursor, "; ".join((*begin, sql)), columns))
            begin = ()
        if end:
            cursor.execute(end)
        return answers

    def copy(self, cursor: Any, sql: str, pieces: Iterable[bytes]) -> int:
        cursor.copy_expert(sql, _Pieces(pieces))
        count: int = cursor.rowcount
        return count

    def in_transaction(self, connection: Any) -> bool:
        from psycopg2.extensions import TRANSACTION_STATUS_INTRANS

        status = connection.info.transaction_status
        return not connection.autocommit or status == TRANSACTION_STATUS_INTRANS


def _answer(cursor: Any, sql: str, columns: str) -> Answer:
    """Executes a statement; what it returns stays on a cursor of its own."""
    library = libpq("psycopg2._psycopg") if columns else None
    if library is None:
        cursor.execute(sql)
        return Answer.of(cursor)
    from psycopg2.extensions import cursor as cursor_class

    own: Any = cursor_class(cursor.connection)
    own.execute(sql)
    if own.description is None:
        return Answer.of(own)
    codes = tuple(column.type_code for column in own.description)
    return Answer(own.rowcount, _rows(own, codes, library), codes)


def _rows(own: Any, codes: tuple[int, ...], library: _native.Libpq) -> Rows:
    """The rows of a cursor's result, by psycopg2's own typecasters of today."""
    count = own.rowcount
    casters = [_caster(own, code) for code in codes]

    def load() -> list[tuple[Any, ...]]:
        if not own.closed:
            fetched: list[tuple[Any, ...]] = own.fetchall()
            return fetched
        # Its connection was closed.
        texts = library.texts(own.pgresult_ptr, count, len(codes))
        if texts is None:
            from psycopg2 import DataError

            raise DataError("a returned text is not UTF-8")
        return [
            tuple(
                None if text is None else cast(text, own)
                for cast, text in zip(casters, row, strict=True)
            )
            for row in texts
        ]

    @cache
    def types() -> list[int | None]:
        return [_native_type(*typed) for typed in zip(codes, casters, strict=True)]

    def decode() -> _native.Outcome | None:
        known = [type_ for type_ in types() if type_]
        return library.outcome(own.pgresult_ptr, count, known) if len(known) == len(codes) else None

    return Rows(count, decode, load, may_fail=lambda: not NEVER_FAIL.issuperset(types()))


def _caster(own: Any, code: int) -> Any:
    """What makes an object of a text of that type, as psycopg2 looks for it."""
    from psycopg2 import STRING
    from psycopg2.extensions import string_types

    for known in (own.string_types, own.connection.string_types, string_types):
        if known and code in known:
            return known[code]
    return STRING


def _native_type(code: int, caster: Any) -> int | None:
    """The type by which native code reads the values; None where only the typecaster can."""
    import psycopg2._psycopg as own

    if caster in (own.STRING, own.UNICODE):
        return TEXT
    if id(caster) in _of_psycopg2() or caster.name == _MORE.get(code):
        return code
    return None


@cache
def _of_psycopg2() -> frozenset[int]:
    """The typecasters of its C code, which have no hash, by their identities."""
    import psycopg2._psycopg as own

    return frozenset(map(id, vars(own).values()))


#: Typecasters that psycopg2 and SQLAlchemy have by themselves, beside those of its C code.
_MORE = {114: "JSON", 3802: "JSONB", 2950: "UUID"}


class _Pieces(io.RawIOBase):
    """COPY data as the file that ``copy_expert`` reads, piece by piece."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def read(self, size: int = -1) -> bytes:
        # psycopg2 takes what it is given, whatever size it asked for.
        return next(self._pieces, b"")


_DRIVER = _Driver()

example_sql = postgresql_keyed.example_sql
all_or_nothing = partial(postgresql.all_or_nothing, driver=_DRIVER)
foresee = partial(postgresql.foresee, driver=_DRIVER)
native = partial(postgresql.insert, driver=_DRIVER)
keyed = partial(postgresql_keyed.keyed, driver=_DRIVER)
executemany = partial(plain.executemany, all_or_nothing=all_or_nothing)


def facts(connection: Connection) -> dict[str, str]:
    """What closes a road on this connection, by name, with the reason in words."""
    from psycopg2.extensions import get_wait_callback

    if get_wait_callback() is not None:
        return {"no COPY": "psycopg2 is in green mode, which has no COPY"}
    driver: Any = connection.connection.driver_connection
    if driver.encoding != "UTF8":
        return {"no COPY": "the connection's client_encoding is not UTF8"}
    return {}


def adapt(dialect: Dialect) -> Callable[[Any], Any]:
    """The text form of objects that native code does not know."""
    return _adapt


def _adapt(value: Any) -> Any:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import Binary
    from psycopg2.extras import Range

    if isinstance(value, datetime.time) and value.tzinfo is not None:
        return value.isoformat()
    if (exact := postgresql.exact_class(value)) is not None:
        return exact
    if isinstance(value, Binary):
        return bytes(value.adapted)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, datetime.timedelta):
        return postgresql.interval(value)
    if isinstance(value, Range):
        return range_(value)
    if isinstance(value, list):
        return array(value, _adapt)
    if isinstance(value, tuple):
        return record(value, _adapt)
    if isinstance(value, dict):
        return hstore(value)
    raise ProgrammingError(f"can't adapt type {type(value).__name__!r}")
