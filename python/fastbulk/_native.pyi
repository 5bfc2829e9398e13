"""The native half: plans in, rows out. Not public; `fastbulk`'s own modules are its only users."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, final

Kind = Literal[
    "bool",
    "int",
    "float",
    "text",
    "bytes",
    "date",
    "time",
    "timestamp",
    "instant",
    "uuid",
    "decimal",
    "json",
    "dynamic",
    "object",
]

Verb = Literal["insert", "update", "upsert", "delete"]
Role = Literal["value", "key", "match", "default", "update", "input"]

class RowError(Exception):
    """A value that can't be sent; args are (row, key, value, reason, cause)."""

class ColumnError(Exception):
    """A column of rows that can't be sent; args are (key, position, Arrow type or None)."""

@final
class Columns:
    """The rows of a call, by column; iterated over, dicts. A reader's can be read once."""

    def __new__(cls, rows: object, length: int | None) -> Columns: ...
    @staticmethod
    def of_arrays(
        columns: Sequence[tuple[str, object, object | None, str | None]],
    ) -> Columns: ...
    def held(self) -> Columns: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...

@final
class Column:
    """One column of the target table."""

    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def sql_name(self) -> str: ...
    @property
    def role(self) -> Role: ...
    def __new__(
        cls,
        key: str,
        name: str,
        *,
        sql_name: str,
        table_key: str,
        kind: Kind,
        role: Role = "value",
        processor: Callable[[Any], Any] | None = None,
        drop_none: bool = True,
        instead_of: int | None = None,
        default: object = None,
        default_call: Callable[[Any], Any] | None = None,
        default_sql: str | None = None,
        omit: bool = False,
        forced: bool = False,
        placeholder: Sequence[str] = ("", ""),
    ) -> Column: ...
    def value_sql(self, mark: str) -> str: ...

@final
class Plan:
    """What to do, with which table and columns."""

    @property
    def columns(self) -> list[Column]: ...
    @property
    def sql_table(self) -> str: ...
    @property
    def verb(self) -> Verb: ...
    @property
    def has_condition(self) -> bool: ...
    @property
    def duplicates(self) -> Literal["error", "first", "last"] | None: ...
    @property
    def key_where(self) -> str | None: ...
    @property
    def only_changed(self) -> bool: ...
    @property
    def has_expressions(self) -> bool: ...
    @property
    def tail(self) -> str: ...
    @property
    def returning(self) -> str: ...
    def __new__(
        cls,
        *,
        verb: Verb = "insert",
        schema: str | None,
        table: str,
        sql_table: str,
        columns: Sequence[Column],
        returning: Sequence[str],
        sentinel: tuple[int, int] | None = None,
        returns_key_only: bool = False,
        one_by_one: bool = False,
        null: object,
        expressions: tuple[type, ...],
        adapt: Callable[[Any], Any] | None,
        unending: bool = False,
        assignments: Sequence[tuple[str, Sequence[int | str]]] = (),
        condition: Sequence[int | str] | None = None,
        conflict: Mapping[str, object] | None = None,
        tail: str = "",
    ) -> Plan: ...

@final
class Slice:
    """The columns of some rows."""

    @property
    def first_row(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...
    def first_without(self, column: int) -> int | None: ...
    def first_null(self, column: int) -> int | None: ...
    def gives(self, column: int) -> bool: ...
    def value(self, row: int, column: int) -> Any: ...

@final
class Source:
    """Cuts the input of one call into slices, on the caller's thread."""

    @property
    def pure(self) -> bool: ...
    @property
    def exhausted(self) -> bool: ...
    @property
    def rows(self) -> int: ...
    @property
    def left(self) -> int | None: ...
    @property
    def as_objects(self) -> list[str]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def overlapped(self) -> float: ...
    def __new__(
        cls,
        plan: Plan,
        rows: Iterable[Any] | Columns,
        *,
        adapt: Callable[[Any, int], dict[str, Any]],
        context: object,
        first_rows: int = ...,
        max_rows: int = ...,
        max_bytes: int = ...,
        pause: Callable[[], object] | None = None,
    ) -> Source: ...
    def next_slice(self) -> Slice | None: ...
    def next_tuples(self) -> list[tuple[list[int], list[tuple[Any, ...]]]]: ...

@final
class ReturnedColumn:
    """A column of a result that grows."""

    def __new__(cls, name: str, kind: Kind, scale: int, digits: int) -> ReturnedColumn: ...
    def add_outcome(self, outcome: Outcome, position: int) -> bool: ...
    def add_keys(self, keys: bytes) -> None: ...
    def add_run(self, first: int, step: int, count: int) -> None: ...
    def add_values(self, values: Sequence[Any]) -> None: ...

def returned_table(columns: Sequence[ReturnedColumn]) -> Any: ...

@final
class Outcome:
    """The rows that a statement returned, and how many it changed."""

    @property
    def rowcount(self) -> int: ...
    @property
    def type_codes(self) -> None: ...
    @property
    def missing(self) -> list[int]: ...
    @property
    def unmatched(self) -> list[int]: ...
    @property
    def idle(self) -> list[int]: ...
    @property
    def actions(self) -> list[str]: ...
    def __len__(self) -> int: ...
    def rows(self, processors: Sequence[Callable[[Any], Any] | None]) -> list[tuple[Any, ...]]: ...
    def scalars(self, processor: Callable[[Any], Any] | None) -> list[Any]: ...

class PostgresError(Exception):
    """The server's error, or the connection's; args are (message, fields by their letters)."""

@final
class PostgresRows:
    """Rows as the server's texts, until they are asked for."""

    def __len__(self) -> int: ...
    def tuples(self) -> list[tuple[Any, ...]]: ...
    def outcome(self) -> Outcome | None: ...

@final
class Libpq:
    """The library by which a driver talks to PostgreSQL."""

    @staticmethod
    def of(path: str) -> Libpq | None: ...
    def outcome(self, result: int, rows: int, types: Sequence[int]) -> Outcome | None: ...
    def texts(
        self, result: int, rows: int, columns: int
    ) -> list[tuple[str | None, ...]] | None: ...

@final
class PostgresConnection:
    """A connection of our own."""

    @property
    def closed(self) -> bool: ...
    def __new__(cls, settings: object) -> PostgresConnection: ...
    def parameter(self, name: str) -> str | None: ...
    def execute(
        self, sql: str, columns: str | None = None
    ) -> tuple[list[tuple[str, int]], list[tuple[int, PostgresRows]]]: ...
    def copy_begin(self, sql: str) -> None: ...
    def copy_send(self, piece: bytes) -> None: ...
    def copy_end(self) -> int: ...
    def copy_abort(self) -> None: ...
    def cancel(self) -> None: ...
    def close(self) -> None: ...

@final
class MysqlWriter:
    """Writes INSERT statements with their values in them."""

    def __new__(
        cls,
        plan: Plan,
        *,
        generated: str | None,
        returning: bool,
        avoid: str | None = None,
        plain_floats: bool = False,
    ) -> MysqlWriter: ...
    def insert(
        self, slice: Slice, start: int, end: int, *, wanted: int, limit: int
    ) -> tuple[bytes, int]: ...
    def keys(self, slice: Slice, start: int, end: int, columns: Sequence[int]) -> bytes: ...
    @staticmethod
    def run(slice: Slice, column: int, start: int) -> tuple[int, bool]: ...

@final
class MysqlKeyed:
    """Writes the statements of update, upsert and delete for rows of a slice, by their numbers."""

    def __new__(
        cls,
        plan: Plan,
        *,
        typed: Sequence[Sequence[int | str]],
        differs: Sequence[Sequence[int | str]],
        row_word: str,
        index: str | None,
        generated: str | None,
        avoid: str | None = None,
        plain_floats: bool = False,
    ) -> MysqlKeyed: ...
    @staticmethod
    def literals(plan: Plan, slice: Slice) -> list[str | None]: ...
    def with_keys(self, slice: Slice, rows: Sequence[int]) -> tuple[list[int], list[int]]: ...
    def shapes(self, slice: Slice, rows: Sequence[int]) -> list[tuple[bool, list[int]]]: ...
    def order(
        self, slice: Slice, rows: Sequence[int]
    ) -> tuple[list[int], list[int] | None] | None: ...
    def ranks(self, slice: Slice, rows: Sequence[int], limit: int) -> tuple[bytes, int]: ...
    def write(
        self,
        what: Literal["look", "peek", "update", "update all", "delete", "back"],
        slice: Slice,
        rows: Sequence[int],
        *,
        wanted: int,
        limit: int,
        alone: bool = False,
    ) -> tuple[bytes, int]: ...
    def insert(
        self, slice: Slice, rows: Sequence[int], *, tail: str, wanted: int, limit: int
    ) -> tuple[bytes, int]: ...
    def on_duplicate_key(
        self,
        slice: Slice,
        rows: Sequence[int],
        *,
        alias: bool,
        bits: int | None = None,
        count: int | None = None,
        guarded: bool = False,
        keeps: bool = False,
    ) -> str | None: ...

def mysql_example_sql(plan: Plan) -> str: ...

class MysqlError(Exception):
    """The server's error, or the connection's; args are (message, code, SQLSTATE)."""

@final
class MysqlConnection:
    """A connection of our own."""

    @property
    def id(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    def __new__(cls, settings: object) -> MysqlConnection: ...
    def execute(self, sql: bytes) -> _MysqlAnswer: ...
    def load(
        self,
        writer: MysqlWriter,
        slice: Slice,
        stored: Sequence[object],
        ahead: Source | None = None,
    ) -> _MysqlTaken: ...
    def bulk(
        self,
        writer: MysqlWriter,
        slice: Slice,
        stored: Sequence[object],
        packet: int,
        ahead: Source | None = None,
    ) -> _MysqlTaken: ...
    def cancel(self) -> None: ...
    def close(self) -> None: ...

#: Columns, rows, affected rows, the last generated key, the number of warnings.
_MysqlAnswer: TypeAlias = tuple[list[str], list[tuple[Any, ...]], int, int | None, int]
#: An answer, or why the rows are sent as literals.
_MysqlTaken: TypeAlias = _MysqlAnswer | str

@final
class PostgresWriter:
    """Encodes slices for a table as the catalog describes it."""

    def __new__(cls, plan: Plan, targets: Sequence[object]) -> PostgresWriter: ...
    def copy_columns(self, slice: Slice) -> tuple[list[int], int | None]: ...
    def not_binary(self) -> int | None: ...
    def copy_sql(self, columns: Sequence[int]) -> str: ...
    def copy(
        self,
        slice: Slice,
        columns: Sequence[int],
        start: int,
        end: int,
        *,
        first: bool = True,
        last: bool = True,
        keys: tuple[str, bytes] | None = None,
    ) -> list[bytes]: ...
    def insert(self, slice: Slice, start: int, end: int) -> str: ...

#: A statement and its parameters.
PostgresSent: TypeAlias = tuple[str, list[bytes]]

@final
class PostgresKeyed:
    """Writes the statements of update, upsert and delete for rows of a slice, by their numbers."""

    def __new__(
        cls, plan: Plan, targets: Sequence[object], binary: bool = False
    ) -> PostgresKeyed: ...
    def asking(self, slice: Slice, rows: Sequence[int]) -> list[int]: ...
    def by_key(
        self, slice: Slice, rows: Sequence[int]
    ) -> tuple[list[int], list[int], list[int]]: ...
    def in_order(self, slice: Slice, rows: Sequence[int]) -> list[int] | None: ...
    def update(
        self, slice: Slice, rows: Sequence[int], lock: bool, with_returning: bool
    ) -> PostgresSent: ...
    def delete(self, slice: Slice, rows: Sequence[int]) -> PostgresSent: ...
    def sorted(self, slice: Slice, rows: Sequence[int]) -> PostgresSent: ...
    def alone(self, slice: Slice, row: int, column: int) -> str: ...
    def lock(self, slice: Slice, rows: Sequence[int]) -> PostgresSent: ...
    def look(self, slice: Slice, rows: Sequence[int]) -> PostgresSent: ...
    def read_back(self, slice: Slice, rows: Sequence[int]) -> PostgresSent: ...
    def uncovered(self, slice: Slice, rows: Sequence[int]) -> PostgresSent | None: ...
    def upsert(
        self, slice: Slice, rows: Sequence[int], reads_xmax: bool
    ) -> tuple[PostgresSent, Literal["leave", "lock", "update"]]: ...
    def changes_all(self, slice: Slice, rows: Sequence[int]) -> bool: ...
    def upsert_all(self, slice: Slice, rows: Sequence[int]) -> PostgresSent: ...
    def update_all(self, slice: Slice, rows: Sequence[int]) -> PostgresSent: ...
    def insert(self, slice: Slice, rows: Sequence[int]) -> PostgresSent: ...
    def few(
        self, slice: Slice, rows: Sequence[int], lost: str
    ) -> tuple[PostgresSent, bool] | None: ...
    def lock_few(self, slice: Slice, rows: Sequence[int]) -> str | None: ...
    def row(self, slice: Slice, row: int) -> str: ...

def postgres_keyed_sql(plan: Plan) -> str: ...
def postgres_values(
    plan: Plan, slice: Slice, start: int, end: int, *, only: int | None = None
) -> str: ...

@final
class SqliteJob:
    """One slice to insert, run by `SELECT fastbulk_run(id)` on the session's connection."""

    @property
    def id(self) -> int: ...
    @property
    def failure(
        self,
    ) -> (
        tuple[Literal["refused", "interrupted", "rows lost", "duplicate"], int | None, str] | None
    ): ...
    def __new__(
        cls,
        plan: Plan,
        slice: Slice,
        ahead: Source | None = None,
        skipped: Sequence[int] = (),
    ) -> SqliteJob: ...
    def take(self) -> Outcome: ...

def sqlite_example_sql(plan: Plan) -> str: ...
def sqlite_install(path: str | None) -> bool: ...
def sqlite_probe(on: bool) -> None: ...
def sqlite_ready() -> bool: ...
