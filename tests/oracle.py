"""SQLAlchemy as the oracle: the same rows, by fastbulk and by SQLAlchemy, in two databases.

A backend or a form of input joins the whole suite by one row of `BACKENDS` or `FORMS`.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import itertools
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa  # type: ignore[import-untyped]  # no py.typed
import pytest
import uvloop
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    QueuePool,
    String,
    create_engine,
    event,
    exc,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, declarative_base, mapped_column, scoped_session
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.util import await_only

import fastbulk
from fastbulk import _native, aio
from fastbulk.errors import EncodingError, RangeError
from fastbulk.orm.defaults import uses_context
from fastbulk.orm.returning import as_list, is_entity
from fastbulk.roads import WAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from sqlalchemy import URL

    from servers import Server


def model(*, table: str = "thing", args: Any = (), **attributes: Any) -> Any:
    """A mapped class in a registry of its own, with a generated key `id` if it brings none."""
    columns = [value for value in attributes.values() if isinstance(value, Column)]
    if not any(column.primary_key for column in columns):
        attributes["id"] = mapped_column(Integer, primary_key=True, sort_order=-1)
    names = {"__tablename__": table, "__table_args__": args, **attributes}
    return type("Thing", (declarative_base(),), names)


@dataclass(frozen=True)
class Backend:
    """A database product: how to make an empty database of it, and how to read all of one."""

    #: Takes the fixture `place`, and `ours` or `theirs`.
    engine: Callable[[Any, str], Engine]
    contents: Callable[[Connection], dict[str, Any]]
    #: The fixture that knows where databases are.
    place: str = "tmp_path"
    #: The type of a generated key that stands in a test's own CREATE TABLE.
    key: str = "INTEGER PRIMARY KEY"
    #: fastbulk is given the Engine, for a connection of its own.
    own_connection: bool = False
    #: Tests without a mark run on it.
    whole: bool = True
    #: Tests run on an event loop, as SQLAlchemy runs code on an asynchronous driver, and there the
    #: verbs are awaited.
    is_async: bool = False
    #: What runs that loop.
    loop: Callable[[Any], Any] = asyncio.run
    #: What `check` makes of rows where a test does not say it.
    form: str = "dicts"
    #: The backend and the driver, as `roads.WAYS` names them.
    speaks: tuple[str, str] = ("sqlite", "pysqlite")

    def has(self, verb: str) -> bool:
        """Whether there is a road for the verb."""
        return any(
            verb in way.verbs and (not way.drivers or self.speaks in way.drivers) for way in WAYS
        )


def sqlite_memory(folder: Path, name: str) -> Engine:
    return with_foreign_keys(create_engine("sqlite://"))


def sqlite_file(folder: Path, name: str) -> Engine:
    return with_foreign_keys(create_engine(f"sqlite:///{folder / name}.db"))


def with_foreign_keys(engine: Engine) -> Engine:
    @event.listens_for(engine, "connect")
    def check_foreign_keys(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON").close()

    return engine


def sqlite_async(folder: Path, name: str) -> Engine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder / name}.db")
    return with_foreign_keys(engine.sync_engine)


def sqlite_before_import(folder: Path, name: str) -> Engine:
    """Its connections are as those opened before fastbulk was imported."""

    def connect() -> sqlite3.Connection:
        path = sys.modules["_sqlite3"].__file__
        ctypes.CDLL(path).sqlite3_reset_auto_extension()
        try:
            return sqlite3.connect(folder / f"{name}.db")
        finally:
            _native.sqlite_install(path)

    return with_foreign_keys(create_engine("sqlite://", creator=connect, poolclass=QueuePool))


def sqlite_contents(connection: Connection) -> dict[str, Any]:
    """All rows of all tables in the order of their insert, each value with its storage class."""
    contents = {}
    tables = connection.exec_driver_sql(
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' "
        "AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
    )
    for table, without_rowid in tables.all():
        columns = connection.exec_driver_sql("SELECT name FROM pragma_table_xinfo(?)", (table,))
        values = [f"typeof({quoted(c)}), {quoted(c)}" for c in columns.scalars()]
        order = "1, 2" if without_rowid else "rowid"
        contents[table] = connection.exec_driver_sql(
            f"SELECT {', '.join(values)} FROM {quoted(table)} ORDER BY {order}"
        ).all()
    return contents


ASYNC = frozenset({"psycopg_async", "asyncpg", "aiomysql", "asyncmy"})


def engine_of(driver: str, url: URL) -> Engine:
    return create_async_engine(url).sync_engine if driver in ASYNC else create_engine(url)


def postgresql(driver: str) -> Callable[[Server, str], Engine]:
    def engine(server: Server, name: str) -> Engine:
        database = f"fastbulk_{name}"
        url = server.url(driver, database, socket=True)
        engine = engine_of(driver, url)
        with engine.begin() as connection:
            for sql in EMPTY:
                connection.exec_driver_sql(sql)
        return engine

    return engine


#: Much faster than a new database. What a test makes outside this schema it removes itself.
EMPTY = ("DROP SCHEMA IF EXISTS public CASCADE", "CREATE SCHEMA public")


def postgresql_contents(connection: Connection) -> dict[str, Any]:
    """All rows of all tables as text, as they lie on disk, which is the order of their insert."""
    # The names of some tables and columns have a % in them.
    connection = connection.execution_options(no_parameters=True)
    tables = connection.exec_driver_sql(
        "SELECT c.oid::regclass::text, array_agg(quote_ident(a.attname) ORDER BY a.attnum) "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
        "WHERE c.relkind = 'r' AND c.relnamespace NOT IN "
        "('pg_catalog'::regnamespace, 'information_schema'::regnamespace) "
        "AND NOT a.attisdropped GROUP BY c.oid ORDER BY 1"
    )
    contents = {}
    for table, columns in tables.all():
        texts = ", ".join(f"{column}::text" for column in columns)
        contents[table] = connection.exec_driver_sql(
            f"SELECT {texts} FROM {table} ORDER BY ctid"
        ).all()
    return contents


@compiles(String, "mysql", "mariadb")
def with_length(type_: Any, compiler: Any, **_: Any) -> str:
    """Most tests say no length, without which these servers have no such column."""
    if type_.length is None:
        type_ = String(255, type_.collation)
    return str(compiler.visit_VARCHAR(type_))


def mysql(driver: str) -> Callable[[Server, str], Engine]:
    def engine(server: Server, name: str) -> Engine:
        url = server.url(driver, f"fastbulk_{name}", socket=True)
        engine = engine_of(driver, url)
        with engine.begin() as connection:
            empty(connection)
        return engine

    return engine


def empty(connection: Connection) -> None:
    """Drops all tables and views, which is much faster than a new database."""
    found = connection.exec_driver_sql(
        "SELECT table_name, table_type FROM information_schema.tables "
        "WHERE table_schema = DATABASE()"
    ).all()
    connection.exec_driver_sql("SET foreign_key_checks = 0")
    connection = connection.execution_options(no_parameters=True)
    for table, kind in found:
        kind = "VIEW" if kind == "VIEW" else "TABLE"
        connection.exec_driver_sql(f"DROP {kind} {backquoted(table)}")
    connection.exec_driver_sql("SET foreign_key_checks = 1")


def mysql_contents(connection: Connection) -> dict[str, Any]:
    """All rows of all tables in the order of their keys."""
    connection = connection.execution_options(no_parameters=True)
    tables = connection.exec_driver_sql(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY 1"
    )
    return {
        table: connection.exec_driver_sql(f"SELECT * FROM {backquoted(table)}").all()
        for table in tables.scalars().all()
    }


def backquoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


BACKENDS = {
    "sqlite-memory": Backend(sqlite_memory, sqlite_contents),
    "sqlite-file": Backend(sqlite_file, sqlite_contents, form="columns"),
    "aiosqlite": Backend(
        sqlite_async, sqlite_contents, is_async=True, speaks=("sqlite", "aiosqlite")
    ),
    **{
        name: Backend(
            postgresql(driver),
            postgresql_contents,
            place,
            "SERIAL PRIMARY KEY",
            whole=driver != "pg8000",
            is_async=driver in ASYNC,
            speaks=("postgresql", driver),
        )
        for name, driver, place in (
            ("psycopg", "psycopg", "postgres"),
            ("psycopg18", "psycopg", "postgres18"),
            ("psycopg2", "psycopg2", "postgres"),
            ("pg8000", "pg8000", "postgres"),
            ("psycopg_async", "psycopg_async", "postgres"),
            ("asyncpg", "asyncpg", "postgres"),
        )
    },
    "engine": Backend(
        postgresql("psycopg"),
        postgresql_contents,
        "postgres",
        "SERIAL PRIMARY KEY",
        own_connection=True,
        speaks=("postgresql", "tokio-postgres"),
    ),
    "async-engine": Backend(
        postgresql("asyncpg"),
        postgresql_contents,
        "postgres",
        "SERIAL PRIMARY KEY",
        own_connection=True,
        whole=False,
        is_async=True,
        speaks=("postgresql", "tokio-postgres"),
    ),
    **{
        f"{server}-{driver}": Backend(
            mysql(driver),
            mysql_contents,
            server,
            "INTEGER AUTO_INCREMENT PRIMARY KEY",
            whole=(server, driver) in {("mariadb", "mysqldb"), ("mysql", "pymysql")},
            speaks=(server, driver),
            is_async=driver in ASYNC,
        )
        for server, driver in (
            *itertools.product(("mariadb", "mysql"), ("mysqldb", "pymysql", "mysqlconnector")),
            ("mariadb", "asyncmy"),
            ("mysql", "aiomysql"),
        )
    },
    **{
        f"{server}-engine": Backend(
            mysql(driver),
            mysql_contents,
            server,
            "INTEGER AUTO_INCREMENT PRIMARY KEY",
            own_connection=True,
            speaks=(server, "mysql_async"),
        )
        for server, driver in (("mariadb", "pymysql"), ("mysql", "mysqldb"))
    },
}
BACKENDS |= {
    f"async-{server}-engine": replace(
        BACKENDS[f"{server}-engine"], engine=mysql(driver), whole=False, is_async=True
    )
    for server, driver in (("mariadb", "asyncmy"), ("mysql", "aiomysql"))
}
BACKENDS |= {
    f"uvloop-{name}": replace(BACKENDS[name], loop=uvloop.run, whole=False)
    for name in ("aiosqlite", "asyncpg", "psycopg_async", "mysql-aiomysql")
}
#: SQLite that fastbulk can't reach, unless Python loads extensions.
BEFORE_IMPORT = Backend(sqlite_before_import, sqlite_contents)
LOADS_EXTENSIONS = hasattr(sqlite3.Connection, "enable_load_extension")


def as_dataclasses(model: Any, rows: Iterable[dict[str, Any]]) -> list[Any]:
    classes: dict[tuple[str, ...], Any] = {}
    for row in rows:
        classes.setdefault(tuple(row), dataclasses.make_dataclass("Given", list(row)))
    return [classes[tuple(row)](**row) for row in rows]


def as_dicts(model: Any, rows: Sequence[Any]) -> Any:
    return rows


def as_columns(model: Any, rows: Sequence[Any]) -> Any:
    """A table of Arrow's, where one has just these values: it tells no absent one from NULL."""
    rows = list(rows)
    try:
        table = pa.Table.from_pylist(rows)
    except (pa.ArrowException, OverflowError, TypeError, AttributeError, ValueError):
        return rows
    return table if rows and repr(table.to_pylist()) == repr(rows) else rows


#: (model, dicts) -> the same rows in another form.
Form: TypeAlias = "Callable[[Any, Sequence[Any]], Any]"

FORMS: dict[str, Form] = {
    "dicts": as_dicts,
    "tuple": lambda model, rows: tuple(rows),
    "generator": lambda model, rows: (row for row in rows),
    "mappings": lambda model, rows: [MappingProxyType(row) for row in rows],
    "objects": lambda model, rows: [model(**row) for row in rows],
    "dataclasses": as_dataclasses,
    "columns": as_columns,
}


def orig_type(error: BaseException) -> type:
    return type(getattr(error, "orig", None))


class Oracle:
    """Two databases with the same tables, `ours` for fastbulk and `theirs` for SQLAlchemy."""

    def __init__(self, backend: Backend, place: Any) -> None:
        self.backend = backend
        self.ours = backend.engine(place, "ours")
        self.theirs = backend.engine(place, "theirs")

    def create(self, model: Any) -> None:
        for engine in (self.ours, self.theirs):
            model.__table__.metadata.create_all(engine)

    def execute(self, *statements: str) -> None:
        for engine in (self.ours, self.theirs):
            with engine.begin() as connection:
                for sql in statements:
                    connection.exec_driver_sql(sql)
            if engine.driver == "asyncpg":
                # Its prepared statements know nothing of changed tables.
                engine.dispose()

    def reconnect(self, **query: str) -> None:
        """Connects with further options of the driver."""
        self.dispose()
        self.ours, self.theirs = (
            create_engine(engine.url.update_query_dict(query))
            for engine in (self.ours, self.theirs)
        )

    def dispose(self) -> None:
        self.ours.dispose()
        self.theirs.dispose()

    def contents(self, engine: Engine | None = None) -> dict[str, Any]:
        with (engine or self.ours).connect() as connection:
            return self.backend.contents(connection)

    def check(self, model: Any, rows: Sequence[Any], **arguments: Any) -> Any:
        """Inserts the rows on both sides and compares: what came back or was raised, and all that
        stands in the two databases. Gives the rows that fastbulk returned, or the error.
        """
        form = arguments.pop("form", None) or FORMS[self.backend.form]
        ours = self.outcome(lambda: self.by_fastbulk(model, form(model, rows), **arguments))
        theirs = self.outcome(lambda: self.by_sqlalchemy(model, rows, **arguments))
        self.compare(ours, theirs)
        assert self.contents(self.ours) == self.contents(self.theirs)
        return ours

    def fill(self, model: Any, rows: Sequence[Any]) -> None:
        """Inserts the rows on both sides, by SQLAlchemy."""
        for engine in (self.ours, self.theirs):
            with Session(engine) as session, session.begin():
                session.execute(insert(model), rows)
                tell_sequence(session, model)

    def same(self, ours: Callable[[Any], Any], theirs: Callable[[Session], Any]) -> Any:
        """Does the one on fastbulk's side and the other on SQLAlchemy's, and compares what came
        back or was raised, and all that stands in the two databases, in whatever order.

        `ours` is given the Engine where fastbulk is to open a connection of its own.
        """

        def by_fastbulk() -> Any:
            if self.backend.own_connection:
                return ours(self.ours)
            with Session(self.ours) as session, session.begin():
                return ours(session)

        def by_sqlalchemy() -> Any:
            with Session(self.theirs) as session, session.begin():
                return theirs(session)

        outcome = self.outcome(by_fastbulk)
        self.compare(outcome, self.outcome(by_sqlalchemy))
        assert self.sorted_contents(self.ours) == self.sorted_contents(self.theirs)
        return outcome

    def sorted_contents(self, engine: Engine | None = None) -> dict[str, Any]:
        return {name: sorted(rows, key=repr) for name, rows in self.contents(engine).items()}

    def compare(self, ours: Any, theirs: Any) -> None:
        if isinstance(ours, BaseException) or isinstance(theirs, BaseException):
            if not (isinstance(ours, BaseException) and isinstance(theirs, BaseException)):
                pytest.fail(f"fastbulk: {short(ours)}\nSQLAlchemy: {short(theirs)}")
            assert isinstance(ours, type(theirs)), (ours, theirs)
            assert type(ours) in {type(theirs), RangeError, EncodingError}
            assert orig_type(ours) is orig_type(theirs)
        else:
            assert ours == theirs

    def outcome(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            return error

    def by_fastbulk(self, model: Any, rows: Any, *, road: str = "native", **arguments: Any) -> Any:
        with Session(self.ours) as session, session.begin():
            returning = arguments.get("returning")
            by_engine = self.backend.own_connection and not needs_session(returning)
            driver = self.backend.speaks[1]
            result = fastbulk.insert(self.ours if by_engine else session, model, rows, **arguments)
            assert result.road.name == road, result.road
            if returning is not None and driver == "mysql_async":  # it gives no rows back
                driver = self.ours.driver
            if by_engine and road == "native" and not uses_context(model.__table__):
                assert result.road.driver == driver, result.road
            return comparable(result) if returning is not None else None

    def by_sqlalchemy(
        self,
        model: Any,
        rows: Sequence[Any],
        *,
        returning: Any = None,
        render_nulls: bool = False,
        options: Any = (),
        execution_options: Any = None,
        road: str = "native",
    ) -> Any:
        statement = insert(model)
        entities = returning if isinstance(returning, list) else [returning]
        if returning is not None:
            statement = statement.returning(*entities, sort_by_parameter_order=True)
        statement = statement.options(*options)
        given = {**(execution_options or {}), "render_nulls": render_nulls}
        with Session(self.theirs) as session, session.begin():
            if returning is not None and not self.theirs.dialect.insert_executemany_returning:
                return by_keys(session, model, rows, entities, given, options)
            if not rows:  # SQLAlchemy would insert one row of defaults
                assert returning is None
                return None
            result = session.execute(statement, rows, execution_options=given)
            return None if returning is None else comparable(result)


def awaited(name: str) -> Callable[..., Any]:
    """The verb of `fastbulk.aio`, for code that runs in a greenlet."""
    sync, verb = getattr(fastbulk, name), getattr(aio, name)

    def call(target: Any, *arguments: Any, **named: Any) -> Any:
        twin = twin_of(target)
        if twin is None:
            return sync(target, *arguments, **named)
        return await_only(verb(twin, *arguments, **named))

    return call


def twin_of(target: Any) -> Any:
    """The asynchronous twin of a Session, Connection or Engine, if it has one."""
    if isinstance(target, scoped_session):
        target = target()
    if isinstance(target, (Engine, Connection)) and not target.dialect.is_async:
        return None
    if isinstance(target, Engine):
        return AsyncEngine(target)
    if isinstance(target, Connection):
        return AsyncConnection(AsyncEngine(target.engine), target)
    if not isinstance(target, Session):
        return None
    twin = AsyncSession()
    twin.sync_session = twin._proxied = target
    return twin


def needs_session(returning: Any) -> bool:
    return any(map(is_entity, as_list(returning)))


#: The fixture `oracle`, by which a test makes its tables.
WithTables: TypeAlias = "Callable[[Any], Oracle]"


def by_keys(
    session: Session,
    model: Any,
    rows: Sequence[Any],
    entities: list[Any],
    execution_options: dict[str, Any],
    options: Any,
) -> list[Any]:
    """What RETURNING would give, where SQLAlchemy has none: each row is inserted alone and known by
    its new key, and then all are selected.
    """
    columns = inspect(model).primary_key
    keys = [column.label(f"key_{i}") for i, column in enumerate(columns)]
    new_keys = NewKeys(session, columns)
    statement = insert(model)
    order = []
    for row in rows:
        session.execute(statement, [row], execution_options=execution_options)
        order.append(new_keys.next())
    query = select(*entities, *keys).select_from(model.__table__).options(*options)
    result = session.execute(query, execution_options=execution_options)
    width = len(result.keys()) - len(keys)
    # A select numbers a name that stands there twice.
    found: list[Any] = [[key.removesuffix("_1") for key in list(result.keys())[:width]]]
    by_key = {tuple(row[width:]): row[:width] for row in result.all()}
    found += [tuple(with_type(value) for value in by_key[key]) for key in order]
    return found if order else []


class NewKeys:
    """Which key was not in the table before."""

    def __init__(self, session: Session, columns: Sequence[Any]) -> None:
        self.connection = session.connection()
        self.columns = columns
        self.known = self.keys()

    def keys(self, *where: Any) -> set[tuple[Any, ...]]:
        return set(map(tuple, self.connection.execute(select(*self.columns).where(*where))))

    def next(self) -> tuple[Any, ...]:
        found = self.above() or self.keys() - self.known
        (new,) = found
        self.known.add(new)
        return new

    def above(self) -> set[tuple[Any, ...]]:
        """Most often the new one is the largest number, and the others need not be read."""
        (column, *more) = self.columns
        if more or not isinstance(column.type, Integer) or not self.known:
            return set()
        return self.keys(column > max(key for (key,) in self.known))


def short(outcome: Any) -> str:
    return repr(outcome)[:500]


def comparable(result: Any) -> list[Any]:
    """Keys and rows of a result, with the type of each value."""
    with closing(result):
        keys = list(result.keys())
        return [keys, *(tuple(with_type(value) for value in row) for row in result.all())]


def with_type(value: Any) -> Any:
    if state := inspect(value, raiseerr=False):
        loaded = {key: with_type(value) for key, value in state.dict.items() if key[0] != "_"}
        return type(value).__name__, state.persistent, loaded
    return type(value), value if value == value else repr(value)  # NaN is not equal to itself


def spelled(value: object) -> str:
    """A value in the name of a test: workers that share the tests have to agree on it."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def error_of(insert: Callable[[], Any]) -> Any:
    """The ``StatementError`` of a call, with the attributes that fastbulk gives it."""
    with pytest.raises(exc.StatementError) as caught:
        insert()
    return caught.value


def place(error: Any) -> tuple[Any, Any, Any]:
    return error.row, error.column, error.value


def stale(update: Callable[[], Any]) -> Any:
    """The ``StaleDataError`` of a call, with the attributes that fastbulk gives it."""
    with pytest.raises(StaleDataError) as caught:
        update()
    return caught.value


def shuffled(count: int) -> list[int]:
    """1 to `count`, in an order of their own."""
    return [1 + i * 7919 % count for i in range(count)]


def create(session: Session, model: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Makes the tables in the transaction of the Session, with these rows."""
    model.metadata.create_all(session.connection())
    session.execute(insert(model), list(rows))
    tell_sequence(session, model)


def tell_sequence(session: Session, model: Any) -> None:
    """Has PostgreSQL know of the keys that were given, as the others do."""
    key = model.__table__.autoincrement_column
    if session.get_bind().dialect.name != "postgresql" or key is None:
        return
    table = session.get_bind().dialect.identifier_preparer.format_table(model.__table__)
    sequence = func.pg_get_serial_sequence(table, key.name)
    session.execute(select(func.setval(sequence, func.max(key))).having(func.max(key) > 0))


def stored(session: Session, *columns: Any) -> list[Any]:
    """What stands in the database, in the order of the first column."""
    rows = session.execute(select(*columns).order_by(columns[0])).all()
    return [row[0] for row in rows] if len(columns) == 1 else [tuple(row) for row in rows]


def statements(target: Engine | Session) -> list[str]:
    """Those that are sent from now on."""
    seen: list[str] = []
    engine = target.get_bind() if isinstance(target, Session) else target
    event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    return seen
