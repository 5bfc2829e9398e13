"""What only SQLite has: conflict clauses, triggers, tables without rowid, loose types."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    BLOB,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
    exc,
    insert,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Session

import fastbulk
from oracle import Oracle, error_of, model, place

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.only("sqlite")


@pytest.fixture
def sqlite(databases: Oracle) -> Oracle:
    return databases


def conflicting(clause: str) -> Any:
    return model(
        name=Column(String),
        size=Column(Integer),
        args=(UniqueConstraint("name", sqlite_on_conflict=clause),),
    )


ROWS = [{"name": "a", "size": 1}, {"name": "b", "size": 2}, {"name": "a", "size": 3}]


@pytest.mark.parametrize("clause", ["REPLACE", "IGNORE"])
@pytest.mark.parametrize("count", [3, 400, 3_100])
def test_rows_that_replace_or_give_way(sqlite: Oracle, clause: str, count: int) -> None:
    Thing = conflicting(clause)
    sqlite.create(Thing)
    rows = [{"name": str(i % 200), "size": i} for i in range(count)]
    sqlite.check(Thing, [*ROWS, *rows])


@pytest.mark.parametrize("count", [2, 60, 300, 3_100])
def test_the_keys_of_rows_that_replace(sqlite: Oracle, count: int) -> None:
    Thing = conflicting("REPLACE")
    sqlite.create(Thing)
    rows = [{"name": str(i * 7 % 250), "size": i} for i in range(count)]
    sqlite.check(Thing, rows, returning=Thing.id)


def test_the_rowcount_of_rows_that_give_way(sqlite: Oracle) -> None:
    Thing = conflicting("IGNORE")
    sqlite.create(Thing)
    assert fastbulk.insert(sqlite.ours, Thing, ROWS).rowcount == 2


def test_rows_that_replace_come_back(sqlite: Oracle) -> None:
    Thing = conflicting("REPLACE")
    sqlite.create(Thing)
    with Session(sqlite.ours) as session:
        returned = fastbulk.insert(session, Thing, ROWS * 50, returning=[Thing.name, Thing.size])
        assert returned.all() == [(row["name"], row["size"]) for row in ROWS * 50]
        assert session.execute(select(Thing.name, Thing.size)).all() == [("b", 2), ("a", 3)]


def test_rows_that_give_way_cannot_come_back(sqlite: Oracle) -> None:
    Thing = conflicting("IGNORE")
    sqlite.create(Thing)
    with Session(sqlite.ours) as session:
        session.execute(insert(Thing), [{"name": "before"}])
        with pytest.raises(exc.InvalidRequestError, match="3 rows were sent and 2 came back"):
            fastbulk.insert(session, Thing, ROWS, returning=Thing.id)
        assert session.scalars(select(Thing.name)).all() == ["before"]


@pytest.mark.parametrize("clause", ["FAIL", "ABORT"])
@pytest.mark.parametrize("count", [0, 300, 45_000])
def test_a_refused_row_undoes_the_call_and_no_more(sqlite: Oracle, clause: str, count: int) -> None:
    Thing = conflicting(clause)
    sqlite.create(Thing)
    with Session(sqlite.ours) as session:
        session.execute(insert(Thing), [{"name": "before"}])
        rows = [*({"name": str(i)} for i in range(count)), *ROWS]
        error = error_of(lambda: fastbulk.insert(session, Thing, rows))
        assert place(error) == (count + 2, "name", "a")
        assert session.scalars(select(Thing.name)).all() == ["before"]


@pytest.mark.parametrize("count", [0, 300, 45_000])
def test_a_refused_row_that_rolls_the_transaction_back(sqlite: Oracle, count: int) -> None:
    Thing = conflicting("ROLLBACK")
    sqlite.create(Thing)
    with Session(sqlite.ours) as session:
        session.execute(insert(Thing), [{"name": "before"}])
        rows = [*({"name": str(i)} for i in range(count)), *ROWS]
        error = error_of(lambda: fastbulk.insert(session, Thing, rows))
        assert isinstance(error, exc.IntegrityError)
        assert "UNIQUE constraint failed: thing.name" in str(error.orig)
        session.rollback()
        assert session.scalars(select(Thing.name)).all() == []
        fastbulk.insert(session, Thing, [{"name": "later"}])
        session.commit()
        assert session.scalars(select(Thing.name)).all() == ["later"]


def test_a_null_that_its_column_replaces_by_the_default(sqlite: Oracle) -> None:
    Thing = model(
        name=Column(
            String, nullable=False, server_default="d", sqlite_on_conflict_not_null="REPLACE"
        ),
        size=Column(Integer),
    )
    sqlite.create(Thing)
    rows = [{"name": None}, {"size": 1}, {"name": "x"}] * 50
    sqlite.check(Thing, rows, returning=Thing.name)
    sqlite.check(Thing, rows, render_nulls=True, returning=Thing.name)


def with_trigger(sqlite: Oracle, *triggers: str) -> tuple[Any, Any]:
    class Base(DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "thing"
        id = Column(Integer, primary_key=True)
        name = Column(String)

    class Log(Base):
        __tablename__ = "log"
        id = Column(Integer, primary_key=True)
        name = Column(String, unique=True)

    sqlite.create(Thing)
    for trigger in triggers:
        sqlite.execute(trigger)
    return Thing, Log


IGNORING = (
    "CREATE TRIGGER skip BEFORE INSERT ON thing WHEN NEW.name LIKE 'skip%' "
    "BEGIN SELECT RAISE(IGNORE); END"
)
LOGGING = (
    "CREATE TRIGGER note AFTER INSERT ON thing BEGIN "
    "INSERT INTO log (name) VALUES (NEW.name || NEW.id); END"
)
CHANGING = (
    "CREATE TRIGGER shout AFTER INSERT ON thing BEGIN "
    "UPDATE thing SET name = upper(name) WHERE id = NEW.id; END"
)


def test_a_trigger_that_drops_rows(sqlite: Oracle) -> None:
    Thing, _ = with_trigger(sqlite, IGNORING)
    rows = [{"name": "a"}, {"name": "skip"}, {"name": "b"}] * 100
    sqlite.check(Thing, rows)
    with Session(sqlite.ours) as session:
        assert fastbulk.insert(session, Thing, rows).rowcount == 200


@pytest.mark.parametrize("count", [3, 300, 45_000])
def test_a_trigger_that_drops_rows_that_should_come_back(sqlite: Oracle, count: int) -> None:
    Thing, _ = with_trigger(sqlite, IGNORING)
    with Session(sqlite.ours) as session:
        session.execute(insert(Thing), [{"name": "before"}])
        rows = [{"name": "x"} for _ in range(count - 1)] + [{"name": "skip"}]
        with pytest.raises(exc.InvalidRequestError, match="a trigger may have dropped some"):
            fastbulk.insert(session, Thing, rows, returning=Thing.id)
        assert session.scalars(select(Thing.name)).all() == ["before"]
        session.commit()
        assert session.scalars(select(Thing.name)).all() == ["before"]


@pytest.mark.parametrize("count", [3, 300, 3_100])
def test_a_trigger_that_inserts_elsewhere(sqlite: Oracle, count: int) -> None:
    Thing, _ = with_trigger(sqlite, LOGGING)
    sqlite.check(Thing, [{"name": f"n{i}"} for i in range(count)], returning=Thing.id)


def test_rows_that_a_trigger_inserts_are_not_counted(sqlite: Oracle) -> None:
    Thing, Log = with_trigger(sqlite, LOGGING)
    with Session(sqlite.ours) as session:
        assert fastbulk.insert(session, Thing, [{"name": "n"}] * 300).rowcount == 300
        assert len(session.scalars(select(Log.id)).all()) == 300


def test_a_trigger_that_fails_names_the_row(sqlite: Oracle) -> None:
    Thing, Log = with_trigger(sqlite, LOGGING)
    with Session(sqlite.ours) as session:
        session.add(Log(name="n240"))
        rows = [{"id": i, "name": "n"} for i in range(1, 500)]
        error = error_of(lambda: fastbulk.insert(session, Thing, rows))
        assert place(error) == (239, None, None)
        assert str(error.orig) == "UNIQUE constraint failed: log.name"
        assert session.scalars(select(Thing.id)).all() == []


@pytest.mark.parametrize("action", ["ABORT", "FAIL"])
@pytest.mark.parametrize("count", [1, 2, 60, 300])
def test_what_a_trigger_did_before_it_raised_is_undone(
    sqlite: Oracle, action: str, count: int
) -> None:
    late = (
        "CREATE TRIGGER late AFTER INSERT ON thing BEGIN "
        "INSERT INTO log (name) VALUES (NEW.name); "
        f"SELECT RAISE({action}, 'bad') WHERE NEW.name = 'bad'; END"
    )
    Thing, Log = with_trigger(sqlite, late)
    rows = [{"name": str(i)} for i in range(count - 1)] + [{"name": "bad"}]
    with Session(sqlite.ours) as session:
        session.add(Log(name="before"))
        error_of(lambda: fastbulk.insert(session, Thing, rows))
        assert session.scalars(select(Log.name)).all() == ["before"]
        assert session.scalars(select(Thing.id)).all() == []


@pytest.mark.parametrize("count", [1, 2, 60, 300])
def test_what_a_trigger_did_before_it_dropped_the_row_is_undone(sqlite: Oracle, count: int) -> None:
    noting = (
        "CREATE TRIGGER drop_row BEFORE INSERT ON thing WHEN NEW.name = 'skip' BEGIN "
        "INSERT INTO log (name) VALUES (NEW.name); SELECT RAISE(IGNORE); END"
    )
    Thing, Log = with_trigger(sqlite, noting)
    rows = [{"name": str(i)} for i in range(count - 1)] + [{"name": "skip"}]
    with Session(sqlite.ours) as session:
        with pytest.raises(exc.InvalidRequestError, match="rows were sent"):
            fastbulk.insert(session, Thing, rows, returning=Thing.id)
        assert session.scalars(select(Log.name)).all() == []
        assert session.scalars(select(Thing.id)).all() == []


@pytest.mark.parametrize("count", [1, 10, 60, 300])
@pytest.mark.parametrize("columns", [["id"], ["id", "name"]])
def test_a_trigger_that_inserts_into_the_same_table(
    sqlite: Oracle, count: int, columns: list[str]
) -> None:
    doubling = (
        "CREATE TRIGGER double AFTER INSERT ON thing WHEN NEW.name NOT LIKE '%+' BEGIN "
        "INSERT INTO thing (name) VALUES (NEW.name || '+'); END"
    )
    Thing, _ = with_trigger(sqlite, doubling)
    returning = [getattr(Thing, name) for name in columns]
    sqlite.check(Thing, [{"name": str(i)} for i in range(count)], returning=returning)


@pytest.mark.parametrize("count", [1, 10, 60, 300])
def test_a_trigger_that_changes_the_key(sqlite: Oracle, count: int) -> None:
    moving = (
        "CREATE TRIGGER move AFTER INSERT ON thing BEGIN "
        "UPDATE thing SET id = -NEW.id WHERE id = NEW.id; END"
    )
    Thing, _ = with_trigger(sqlite, moving)
    sqlite.check(Thing, [{"name": str(i)} for i in range(count)], returning=Thing.id)


@pytest.mark.parametrize("action", ["ABORT", "FAIL", "ROLLBACK"])
def test_a_trigger_that_raises(sqlite: Oracle, action: str) -> None:
    refusing = (
        "CREATE TRIGGER refuse BEFORE INSERT ON thing WHEN NEW.name = 'bad' "
        f"BEGIN SELECT RAISE({action}, 'no bad things: CHECK constraint failed: x'); END"
    )
    Thing, _ = with_trigger(sqlite, refusing)
    rows = [*[{"name": "n"}] * 150, {"name": "bad"}, {"name": "n"}]
    with Session(sqlite.ours) as session:
        error = error_of(lambda: fastbulk.insert(session, Thing, rows))
        assert "no bad things" in str(error.orig)
        assert error.column is None
        if action != "ROLLBACK":
            assert error.row == 150
        assert isinstance(error, exc.IntegrityError)
        assert session.scalars(select(Thing.id)).all() == []


def test_a_trigger_that_changes_the_row(sqlite: Oracle) -> None:
    Thing, _ = with_trigger(sqlite, CHANGING)
    sqlite.check(Thing, [{"name": f"n{i}"} for i in range(150)], returning=[Thing.id, Thing.name])


def test_a_view_that_takes_rows(sqlite: Oracle) -> None:
    class Base(DeclarativeBase):
        pass

    class View(Base):
        __tablename__ = "view"
        id = Column(Integer, primary_key=True)
        name = Column(String)

    sqlite.execute("CREATE TABLE base (id INTEGER PRIMARY KEY, name TEXT)")
    sqlite.execute("CREATE VIEW view AS SELECT id, name FROM base")
    sqlite.execute(
        "CREATE TRIGGER into_base INSTEAD OF INSERT ON view "
        "BEGIN INSERT INTO base (name) VALUES (NEW.name); END"
    )
    sqlite.check(View, [{"name": f"n{i}"} for i in range(150)])


def test_a_table_without_rowid(sqlite: Oracle) -> None:
    Thing = model(
        code=Column(String, primary_key=True),
        size=Column(Integer),
        args={"sqlite_with_rowid": False},
    )
    sqlite.create(Thing)
    rows = [{"code": f"{i * 7919 % 200:03}", "size": i} for i in range(200)]
    sqlite.check(Thing, rows, returning=[Thing.code, Thing.size])


@pytest.mark.parametrize(
    "key", ["INTEGER PRIMARY KEY", "INT PRIMARY KEY", "INTEGER PRIMARY KEY DESC"]
)
@pytest.mark.parametrize("count", [1, 10, 60, 300])
def test_a_key_that_is_or_is_not_the_rowid(sqlite: Oracle, key: str, count: int) -> None:
    """Only the first is; the others are NULL where a row gives none."""
    Thing = model(name=Column(String))
    sqlite.execute(f"CREATE TABLE thing (id {key}, name TEXT)")
    rows = [{"name": str(i)} for i in range(count)]
    sqlite.check(Thing, rows, returning=Thing.id)
    sqlite.check(Thing, [{"name": "x"}, {"name": "y", "id": 5_000}], returning=Thing.id)


@pytest.mark.parametrize("count", [1, 10, 60, 300])
def test_keys_after_a_gap(sqlite: Oracle, count: int) -> None:
    Thing = model(name=Column(String))
    sqlite.create(Thing)
    sqlite.check(Thing, [{"id": 1_000}, {"id": -5}])
    sqlite.check(Thing, [{"name": str(i)} for i in range(count)], returning=Thing.id)


@pytest.mark.parametrize("count", [1, 60, 300])
def test_rows_of_a_table_that_deletes_by_trigger(sqlite: Oracle, count: int) -> None:
    """REPLACE deletes; with `recursive_triggers` that fires triggers too."""
    for engine in (sqlite.ours, sqlite.theirs):
        event.listen(
            engine,
            "connect",
            lambda driver, record: driver.execute("PRAGMA recursive_triggers = ON").close(),
        )
    Thing = conflicting("REPLACE")
    sqlite.create(Thing)
    sqlite.execute("CREATE TABLE log (name TEXT)")
    sqlite.execute(
        "CREATE TRIGGER gone AFTER DELETE ON thing BEGIN INSERT INTO log VALUES (OLD.name); END"
    )
    rows = [{"name": str(i % 40), "size": i} for i in range(count)]
    sqlite.check(Thing, rows, returning=Thing.id)


def test_rows_that_refer_to_later_rows_are_refused_in_calls_of_any_size(sqlite: Oracle) -> None:
    Thing = model(parent=Column(ForeignKey("thing.id")))
    sqlite.create(Thing)
    sqlite.check(Thing, [{"id": 1, "parent": 2}, {"id": 2, "parent": None}])
    rows = [{"id": i, "parent": i + 1 if i % 2 else None} for i in range(3, 403)]
    sqlite.check(Thing, rows)
    sqlite.check(Thing, rows, returning=Thing.id)


@pytest.mark.parametrize("count", [500, 20_000])
def test_rows_of_very_many_shapes(sqlite: Oracle, count: int) -> None:
    """One statement for each: they may not all be kept."""
    columns: dict[str, Any] = {f"c{i}": Column(Integer, server_default=str(i)) for i in range(20)}
    Thing = model(**columns)
    sqlite.create(Thing)
    rows = [{f"c{i}": n for i in range(20) if n >> i % 15 & 1} for n in range(count)]
    if count == 500:
        sqlite.check(Thing, rows)
    else:
        assert fastbulk.insert(sqlite.ours, Thing, rows).rowcount == count


def test_a_generated_key_that_is_never_used_again(sqlite: Oracle) -> None:
    Thing = model(name=Column(String), args={"sqlite_autoincrement": True})
    sqlite.create(Thing)
    sqlite.check(Thing, [{"name": "a"}, {"id": 9}, {}], returning=Thing.id)


def test_a_strict_table(sqlite: Oracle) -> None:
    Thing = model(size=Column(Integer), other=Column(Integer))
    sqlite.execute("CREATE TABLE thing (id INTEGER PRIMARY KEY, size INTEGER, other INT) STRICT")
    sqlite.check(Thing, [{"size": 1}, {"size": 2.0}, {"size": "3"}])
    sqlite.check(Thing, [{"size": 1}, {"size": "x"}])
    error = error_of(lambda: fastbulk.insert(sqlite.ours, Thing, [{"size": 1}, {"size": "x"}]))
    assert place(error) == (1, "size", "x")


def test_a_key_that_is_no_integer(sqlite: Oracle) -> None:
    Thing = model(name=Column(String))
    sqlite.create(Thing)
    sqlite.check(Thing, [{"id": 1}, {"id": "x"}])
    error = error_of(lambda: fastbulk.insert(sqlite.ours, Thing, [{"id": 1}, {"id": "x"}]))
    assert place(error) == (1, "id", "x")


def test_values_of_any_type_in_any_column(sqlite: Oracle) -> None:
    Thing = model(
        size=Column(Integer), name=Column(String), data=Column(BLOB), blob=Column(LargeBinary)
    )
    sqlite.create(Thing)
    values = [1, 1.5, "x", "7", b"x", b"", "", True, -0.0, float("inf"), float("nan"), 2**62, None]
    rows = [{"size": value, "name": value} for value in values]
    sqlite.check(Thing, rows, returning=[Thing.size, Thing.name])
    rows = [{"size": i, "name": value} for i, value in enumerate(values * 30)]
    sqlite.check(Thing, rows)


TEXTS = [
    "",
    "\0",
    "a\0b",
    "\U0001f600",
    "é",
    "e\u0301",
    "\ufeffbom",
    "\uffff",
    "'",
    "\n",
    "x" * 99_999,
]


@pytest.mark.parametrize("count", [1, 20, 300])
def test_texts_and_bytes_to_the_last_bit(sqlite: Oracle, count: int) -> None:
    Thing = model(name=Column(String), data=Column(LargeBinary))
    sqlite.create(Thing)
    texts = TEXTS * (count // len(TEXTS) + 1)
    rows: list[dict[str, Any]] = [{"name": t, "data": t.encode()} for t in texts]
    rows += [{"data": bytes(range(256))}, {"data": b""}, {"name": None, "data": None}]
    sqlite.check(Thing, rows, returning=[Thing.name, Thing.data])


def test_a_text_longer_than_the_limit(sqlite: Oracle) -> None:
    if not hasattr(sqlite3.Connection, "setlimit"):
        pytest.skip("sqlite3's limits: Python 3.11")
    Thing = model(name=Column(String))
    for engine in (sqlite.ours, sqlite.theirs):
        event.listen(engine, "connect", lambda driver, record: driver.setlimit(0, 100_000))
    sqlite.create(Thing)
    sqlite.check(Thing, [{"name": "x"}, {"name": "x" * 100_001}])
    rows = [*[{"name": "x"}] * 150, {"name": "x" * 100_001}]
    assert place(error_of(lambda: fastbulk.insert(sqlite.ours, Thing, rows)))[0] == 150


def test_small_limits_of_the_connection(sqlite: Oracle) -> None:
    if not hasattr(sqlite3.Connection, "setlimit"):
        pytest.skip("sqlite3's limits: Python 3.11")

    @event.listens_for(sqlite.ours, "connect")
    def limit(driver: Any, record: Any) -> None:
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 5)
        driver.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 2_000)

    Thing = model(a=Column(Integer), b=Column(Integer))
    sqlite.create(Thing)
    sqlite.check(Thing, [{"a": i, "b": i} for i in range(3_100)])


def test_a_table_of_many_columns(sqlite: Oracle) -> None:
    columns: dict[str, Any] = {f"c{i}": Column(Integer) for i in range(500)}
    Thing = model(**columns)
    sqlite.create(Thing)
    sqlite.check(Thing, [{f"c{i}": i * n for i in range(n, 500)} for n in range(150)])


def test_a_deleted_key_is_given_again_as_sqlite_does(sqlite: Oracle) -> None:
    Thing = model(name=Column(String))
    sqlite.create(Thing)
    sqlite.check(Thing, [{}, {}, {}], returning=Thing.id)
    sqlite.execute("DELETE FROM thing WHERE id = 3")
    sqlite.check(Thing, [{}, {}], returning=Thing.id)


def test_functions_and_collations_of_the_connection(sqlite: Oracle) -> None:
    for engine in (sqlite.ours, sqlite.theirs):

        @event.listens_for(engine, "connect")
        def register(driver: Any, record: Any) -> None:
            driver.create_function("twice", 1, lambda value: value * 2, deterministic=True)
            driver.create_collation("backwards", lambda a, b: (a < b) - (a > b))

    Thing = model(name=Column(String, server_default=text("(twice('d'))")), size=Column(Integer))
    for engine in (sqlite.ours, sqlite.theirs):
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE thing (id INTEGER PRIMARY KEY, "
                "name TEXT DEFAULT (twice('d')) COLLATE backwards, size INTEGER)"
            )
            connection.exec_driver_sql("CREATE INDEX by_name ON thing (name)")
    sqlite.check(Thing, [{}, {"name": "x"}, {"size": 1}] * 50, returning=Thing.name)


def test_a_python_function_that_raises_within_the_insert(sqlite: Oracle) -> None:
    for engine in (sqlite.ours, sqlite.theirs):

        @event.listens_for(engine, "connect")
        def register(driver: Any, record: Any) -> None:
            driver.create_function("refuse", 1, lambda value: 1 / value, deterministic=True)

    Thing = model(size=Column(Integer))
    sqlite.execute("CREATE TABLE thing (id INTEGER PRIMARY KEY, size INT CHECK (refuse(size) > 0))")
    sqlite.check(Thing, [{"size": 1}, {"size": 0}])
    sqlite.check(Thing, [{"size": 1}, {"size": 2}])


def test_a_virtual_table(sqlite: Oracle) -> None:
    sqlite.execute("CREATE VIRTUAL TABLE thing USING fts5(name)")

    class Base(DeclarativeBase):
        pass

    class Thing(Base):
        __table__ = Table(
            "thing", Base.metadata, Column("rowid", Integer, primary_key=True), Column("name")
        )

    with Session(sqlite.ours) as session:
        assert fastbulk.insert(session, Thing, [{"name": f"n{i}"} for i in range(300)]).rowcount
        found = session.scalars(text("SELECT name FROM thing WHERE thing MATCH 'n250'")).all()
        assert found == ["n250"]


def test_a_database_that_may_not_be_written(sqlite: Oracle) -> None:
    Thing = model(name=Column(String))
    sqlite.create(Thing)
    with Session(sqlite.ours) as session:
        session.connection().exec_driver_sql("PRAGMA query_only = ON")
        with pytest.raises(exc.OperationalError, match="readonly"):
            session.execute(insert(Thing), [{"name": "x"}])
        with pytest.raises(exc.OperationalError, match="readonly"):
            fastbulk.insert(session, Thing, [{"name": "x"}])
        session.connection().exec_driver_sql("PRAGMA query_only = OFF")


@pytest.mark.parametrize("nullable", [False, True])
def test_a_full_database(sqlite: Oracle, nullable: bool) -> None:
    Thing = model(data=Column(LargeBinary, nullable=nullable))
    sqlite.create(Thing)
    with Session(sqlite.ours) as session:
        session.execute(insert(Thing), [{"data": b"before"}])
        session.connection().exec_driver_sql("PRAGMA max_page_count = 200")
        with pytest.raises(exc.OperationalError, match="full"):
            fastbulk.insert(session, Thing, [{"data": bytes(1_000)}] * 5_000)
        # SQLite may have ended the transaction; it does so with SQLAlchemy's insert too.
        session.rollback()
        fastbulk.insert(session, Thing, [{"data": b"later"}])
        session.commit()
        assert session.scalars(select(Thing.data)).all() == [b"later"]


def test_a_locked_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'locked.db'}"
    engine, other = (create_engine(url, connect_args={"timeout": 0.1}) for _ in range(2))
    Thing = model(name=Column(String))
    Thing.metadata.create_all(engine)
    with other.begin() as connection, Session(engine) as session:
        connection.execute(insert(Thing), [{"name": "other"}])
        error = error_of(lambda: fastbulk.insert(session, Thing, [{"name": "x"}]))
        assert "database is locked" in str(error)
        assert place(error) == (None, None, None)
        connection.commit()
        fastbulk.insert(session, Thing, [{"name": "x"}])
        session.commit()
        assert session.scalars(select(Thing.name)).all() == ["other", "x"]
    engine.dispose()
    other.dispose()


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("begins", ["driver", "listener"])
@pytest.mark.parametrize(("count", "mixed"), [(1, False), (10, True), (100, False), (300, True)])
def test_a_load_waits_for_another_writer(
    tmp_path: Path, mode: str, begins: str, count: int, mixed: bool
) -> None:
    """It may not read before it writes: SQLite gives the write lock to no reader that asks late."""
    ours, other = (create_engine(f"sqlite:///{tmp_path / 'a.db'}") for _ in range(2))

    @event.listens_for(ours, "connect")
    def connect(driver: Any, record: Any) -> None:
        driver.execute(f"PRAGMA journal_mode = {mode}").close()
        if begins == "listener":
            driver.isolation_level = None

    @event.listens_for(ours, "begin")
    def begin(connection: Any) -> None:
        if begins == "listener":
            connection.exec_driver_sql("BEGIN")

    Thing = model(name=Column(String), size=Column(Integer))
    Thing.metadata.create_all(ours)
    ours.dispose()
    rows = [{"name": "x", "size": None if mixed and i % 2 else i} for i in range(count)]
    with other.connect() as connection:
        connection.execute(insert(Thing), [{"name": "other"}])
        loading = threading.Thread(target=fastbulk.insert, args=(ours, Thing, rows))
        loading.start()
        loading.join(0.2)
        assert loading.is_alive()
        connection.commit()
        loading.join()
    with Session(ours) as session:
        assert len(session.scalars(select(Thing.id)).all()) == 1 + count
    ours.dispose()
    other.dispose()


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE fastbulk_rows (c0, c1)",
        "CREATE TEMPORARY TABLE fastbulk_rows (c0, c1)",
        "CREATE VIEW fastbulk_rows AS SELECT 1 AS c0, 'wrong' AS c1",
    ],
)
@pytest.mark.parametrize("returning", [False, True])
def test_no_other_table_is_taken_for_the_rows(sqlite: Oracle, sql: str, returning: bool) -> None:
    Thing = model(name=Column(String))
    sqlite.create(Thing)
    sqlite.execute(sql)
    arguments = {"returning": Thing.id} if returning else {}
    sqlite.check(Thing, [{"name": f"n{i}"} for i in range(300)], **arguments)


@pytest.mark.parametrize("table", ["fastbulk_rows", "x", "fastbulk_run", "fastbulk_job"])
def test_a_table_with_a_name_of_ours(sqlite: Oracle, table: str) -> None:
    Thing = model(table=table, c0=Column(String), c1=Column(String))
    sqlite.create(Thing)
    sqlite.check(Thing, [{"c0": f"n{i}", "c1": "x"} for i in range(300)], returning=Thing.id)


@pytest.mark.parametrize("count", [1, 300, 45_000])
def test_a_commit_that_finds_the_database_locked(tmp_path: Path, count: int) -> None:
    """Under AUTOCOMMIT the call commits; if it can't, no transaction stays open for later calls."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    ours, other = (create_engine(url, connect_args={"timeout": 0.1}) for _ in range(2))
    Thing = model(name=Column(String))
    Thing.metadata.create_all(ours)
    fastbulk.insert(ours, Thing, [{"name": "before"}] * 2)
    with ours.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with other.connect() as reader:
            reading = reader.connection.cursor()
            reading.execute("SELECT * FROM thing")
            reading.fetchone()
            rows = [{"name": "x"}] * count
            error = error_of(lambda: fastbulk.insert(connection, Thing, rows))
            assert "database is locked" in str(error)
            reading.close()
        fastbulk.insert(connection, Thing, [{"name": "later"}])
        with Session(other) as session:
            assert session.scalars(select(Thing.name)).all() == ["before", "before", "later"]
    ours.dispose()
    other.dispose()
