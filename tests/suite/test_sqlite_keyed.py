"""What only SQLite has, for rows that are found by their keys."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    create_engine,
    exc,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

import fastbulk
from interrupt import ctrl_c
from oracle import Oracle, create, error_of, model, place, shuffled, stored

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

pytestmark = [pytest.mark.only("sqlite"), pytest.mark.verb("update", "upsert", "delete")]

LOG = """
CREATE TABLE log (what TEXT, id INT, name TEXT);
CREATE TRIGGER new AFTER INSERT ON thing BEGIN
    INSERT INTO log VALUES ('insert', new.id, new.name);
END;
CREATE TRIGGER changed AFTER UPDATE ON thing BEGIN
    INSERT INTO log VALUES ('update', new.id, new.name);
END;
CREATE TRIGGER gone AFTER DELETE ON thing BEGIN
    INSERT INTO log VALUES ('delete', old.id, old.name);
END
"""


def thing(**more: Any) -> Any:
    return model(name=Column(String), size=Column(Integer), **more)


def with_triggers(session: Session) -> None:
    connection = session.connection()
    parts = LOG.split(";\nCREATE")
    for part in [parts[0], *(f"CREATE{part}" for part in parts[1:])]:
        connection.exec_driver_sql(part)


def log(session: Session) -> list[Any]:
    rows = session.connection().exec_driver_sql("SELECT * FROM log ORDER BY rowid").all()
    return [tuple(row) for row in rows]


# Triggers


@pytest.mark.parametrize("count", [4, 300])
def test_triggers_fire_once_for_each_row_that_changes(session: Session, count: int) -> None:
    Thing = thing()
    create(session, Thing, [{"id": i, "name": "old"} for i in range(1, count + 1, 2)])
    with_triggers(session)
    rows = [{"id": i, "name": "old" if i % 4 == 1 else "new"} for i in shuffled(count)]
    result = fastbulk.upsert(session, Thing, rows, only_changed=True, returning=Thing.name)
    assert result.scalars().all() == [row["name"] for row in rows]
    expected = {
        ("update" if row["id"] % 2 else "insert", row["id"], "new")
        for row in rows
        if row["name"] == "new"
    }
    assert len(log(session)) == len(expected)
    assert set(log(session)) == expected
    assert result.rowcount == len(expected)
    fastbulk.upsert(session, Thing, rows, update="nothing")
    fastbulk.upsert(session, Thing, rows, where=Thing.name == "neither")
    assert len(log(session)) == len(expected)
    fastbulk.update(session, Thing, [{"id": 1, "name": "x"}])
    fastbulk.delete(session, Thing, [1])
    assert log(session)[-2:] == [("update", 1, "x"), ("delete", 1, "x")]


@pytest.mark.parametrize("duplicates", ["first", "last"])
@pytest.mark.parametrize("type_", [String, String(collation="NOCASE")], ids=["exact", "loose"])
def test_triggers_do_not_see_rows_that_are_left_out(
    session: Session, duplicates: Any, type_: Any
) -> None:
    Thing = model(code=Column(type_, unique=True), name=Column(String))
    create(session, Thing, [{"id": 1, "code": "a", "name": "old"}])
    with_triggers(session)
    rows = [{"code": code, "name": f"{i}"} for i, code in enumerate("abcab")]
    result = fastbulk.upsert(session, Thing, rows, key="code", duplicates=duplicates)
    names = ["0", "1", "2"] if duplicates == "first" else ["3", "4", "2"]
    assert sorted(log(session)) == sorted(
        [
            ("update", 1, names[0]),
            *(
                ("insert", key, names["abc".index(code)])
                for key, code in stored(session, Thing.id, Thing.code)
                if key != 1
            ),
        ]
    )
    assert result.actions.count("duplicate") == 2


def test_a_trigger_that_drops_rows(session: Session) -> None:
    Thing = thing()
    create(session, Thing, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    for verb in ("INSERT", "UPDATE", "DELETE"):
        row = "old" if verb == "DELETE" else "new"
        session.connection().exec_driver_sql(
            f"CREATE TRIGGER drop_{verb} BEFORE {verb} ON thing WHEN {row}.id > 1 "
            "BEGIN SELECT RAISE(IGNORE); END"
        )
    rows = [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]
    with pytest.raises(StaleDataError):
        session.execute(update(Thing), rows)
    session.rollback()


def test_a_trigger_that_drops_rows_of_ours(session: Session) -> None:
    Thing = thing()
    create(session, Thing, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    for verb in ("INSERT", "UPDATE", "DELETE"):
        row = "old" if verb == "DELETE" else "new"
        session.connection().exec_driver_sql(
            f"CREATE TRIGGER drop_{verb} BEFORE {verb} ON thing WHEN {row}.id > 1 "
            "BEGIN SELECT RAISE(IGNORE); END"
        )
    rows = [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]
    with pytest.raises(StaleDataError):
        fastbulk.update(session, Thing, rows)
    # What the trigger leaves alone is there, and not changed; what it keeps out is lost.
    assert fastbulk.upsert(session, Thing, rows).actions == ["updated", "unchanged"]
    with pytest.raises(exc.InvalidRequestError, match="trigger"):
        fastbulk.upsert(session, Thing, [{"id": 1, "name": "y"}, {"id": 3, "name": "y"}])
    assert fastbulk.delete(session, Thing, [1, 2]).rowcount == 1
    assert stored(session, Thing.id, Thing.name) == [(2, "b")]


def test_a_view_with_triggers(session: Session) -> None:
    Thing = thing()
    connection = session.connection()
    connection.exec_driver_sql("CREATE TABLE stuff (id INTEGER PRIMARY KEY, name TEXT, size INT)")
    connection.exec_driver_sql("CREATE VIEW thing AS SELECT * FROM stuff")
    connection.exec_driver_sql("INSERT INTO stuff (id, name) VALUES (1, 'a'), (2, 'b')")
    connection.exec_driver_sql(
        "CREATE TRIGGER instead INSTEAD OF UPDATE ON thing "
        "BEGIN UPDATE stuff SET name = new.name WHERE id = new.id; END"
    )
    # SQLite does not count what the trigger did.
    with pytest.raises(StaleDataError):
        session.execute(update(Thing), [{"id": 1, "name": "x"}])
    with pytest.raises(StaleDataError):
        fastbulk.update(session, Thing, [{"id": 2, "name": "y"}])
    assert stored(session, Thing.id, Thing.name) == [(1, "x"), (2, "b")]


# Tables of other sorts


@pytest.mark.parametrize("count", [4, 300])
def test_a_table_without_rowids(session: Session, count: int) -> None:
    Thing = model(
        code=Column(String, primary_key=True),
        size=Column(Integer),
        args={"sqlite_with_rowid": False},
    )
    create(session, Thing, [{"code": f"c{i}", "size": 0} for i in range(2, count + 1, 2)])
    rows = [{"code": f"c{i}", "size": i} for i in shuffled(count)]
    result = fastbulk.upsert(session, Thing, rows, returning=[Thing.code, Thing.size])
    assert result.actions == ["inserted" if i % 2 else "updated" for i in shuffled(count)]
    assert result.all() == [(f"c{i}", i) for i in shuffled(count)]
    keys = [f"c{i}" for i in shuffled(count)]
    fastbulk.update(session, Thing, [{"code": key, "size": -1} for key in keys])
    assert set(stored(session, Thing.size)) == {-1}
    assert fastbulk.delete(session, Thing, keys).rowcount == count


@pytest.mark.parametrize("count", [3, 300])
def test_a_table_of_another_schema(engine: Engine, tmp_path: Path, count: int) -> None:
    Thing = thing(args={"schema": "other"})
    with Session(engine) as session:
        connection = session.connection()
        connection.connection.driver_connection.execute(  # type: ignore[union-attr]
            f"ATTACH '{tmp_path / 'other.db'}' AS other"
        )
        Thing.metadata.create_all(connection)
        connection.exec_driver_sql("CREATE TABLE main.thing (id INTEGER PRIMARY KEY)")
        rows = [{"id": i, "name": "new"} for i in shuffled(count)]
        assert fastbulk.upsert(session, Thing, rows).inserted == count
        assert fastbulk.upsert(session, Thing, rows, returning=Thing.id).updated == count
        assert fastbulk.update(session, Thing, rows).rowcount == count
        assert fastbulk.delete(session, Thing, shuffled(count)).rowcount == count


def test_a_temporary_table_of_the_same_name(session: Session) -> None:
    Thing = thing()
    create(session, Thing, [{"id": 1, "name": "main"}])
    session.connection().exec_driver_sql(
        "CREATE TEMP TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE, size INT)"
    )
    rows = [{"id": i, "name": f"{i}", "size": i} for i in range(300)]
    assert fastbulk.upsert(session, Thing, rows, returning=Thing.id).inserted == 300
    assert fastbulk.upsert(session, Thing, rows, key="name").updated == 300
    count = session.connection().exec_driver_sql("SELECT count(*) FROM main.thing").scalar()
    assert count == 1


def test_generated_columns_and_strict_tables(session: Session) -> None:
    session.connection().exec_driver_sql(
        "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT, size INT, "
        "twice INT AS (size * 2) UNIQUE) STRICT"
    )
    Thing = thing(twice=Column(Integer, unique=True))
    rows = [{"id": i, "size": i} for i in range(300)]
    fastbulk.upsert(session, Thing, rows)
    result = fastbulk.update(session, Thing, [{"id": 7, "size": -7}], returning=Thing.twice)
    assert result.scalars().all() == [-14]
    error = error_of(
        lambda: fastbulk.update(session, Thing, [{"id": 1, "size": 1}, {"id": 2, "size": "many"}])
    )
    assert place(error) == (1, "size", "many")
    error = error_of(lambda: fastbulk.update(session, Thing, [{"id": 2, "size": 3}]))
    assert error.row == 0
    assert "thing.twice" in str(error)


# Keys as SQLite compares them


@pytest.mark.parametrize(
    ("declared", "type_", "keys"),
    [
        ("INTEGER PRIMARY KEY", String, ["1", " 1", "1.0"]),
        ("NUMERIC PRIMARY KEY", String, ["1", "1e0"]),
        ("INTEGER PRIMARY KEY", Float, [1.0, 1.0]),
        ("TEXT PRIMARY KEY", Integer, [1, 1]),
        ("REAL PRIMARY KEY", Integer, [1, 1]),
        ("BOOLEAN PRIMARY KEY", Boolean, [True, True]),
        ("NUMERIC PRIMARY KEY", Numeric(10, 2), [Decimal("1.0"), Decimal("1.00")]),
        ("TEXT COLLATE RTRIM PRIMARY KEY", String, ["1", "1  "]),
    ],
)
@pytest.mark.parametrize("count", [0, 300])
def test_keys_that_are_one_to_sqlite(
    session: Session, declared: str, type_: Any, keys: list[Any], count: int
) -> None:
    session.connection().exec_driver_sql(f"CREATE TABLE thing (id {declared}, size INT)")
    Thing = model(id=Column(type_, primary_key=True), size=Column(Integer))
    make = {bool: None, str: str, float: float, int: int, Decimal: Decimal}[type(keys[0])]
    more = [] if make is None else [make(i) for i in range(2, count)]
    rows = [{"id": key, "size": i} for i, key in enumerate([*more, *keys])]
    with pytest.raises(exc.InvalidRequestError, match=f"rows {len(more)} and {len(more) + 1}"):
        fastbulk.upsert(session, Thing, rows)
    result = fastbulk.upsert(session, Thing, rows, duplicates="last")
    assert result.actions == [
        *["inserted"] * len(more),
        *["duplicate"] * (len(keys) - 1),
        "inserted",
    ]
    result = fastbulk.update(session, Thing, rows, returning=Thing.size)
    assert result.scalars().all() == [*range(len(more)), *[len(rows) - 1] * len(keys)]
    result = fastbulk.delete(session, Thing, [row["id"] for row in rows])
    assert (result.rowcount, result.missing) == (len(more) + 1, [])


@pytest.mark.parametrize("duplicates", ["first", "last"])
def test_rows_of_one_key_of_a_partial_index(session: Session, duplicates: Any) -> None:
    condition = text("active = 1")
    Thing = model(
        name=Column(String),
        active=Column(Integer),
        size=Column(Integer),
        args=(Index("by_name", "name", unique=True, sqlite_where=condition),),
    )
    create(session, Thing, [{"name": "a", "active": 1, "size": -1}])
    rows = [{"name": "a", "active": i % 2, "size": i} for i in range(5)]
    result = fastbulk.upsert(session, Thing, rows, key="by_name", duplicates=duplicates)
    expected = {
        "first": ["inserted", "updated", "inserted", "duplicate", "inserted"],
        "last": ["inserted", "duplicate", "inserted", "updated", "inserted"],
    }
    assert result.actions == expected[duplicates]
    sizes = session.scalars(select(Thing.size).where(Thing.active == 1)).all()
    assert sizes == [1 if duplicates == "first" else 3]


# Rows that refer to each other


@pytest.mark.parametrize("count", [3, 300])
def test_rows_that_refer_to_rows_of_the_call(session: Session, count: int) -> None:
    Thing = thing(parent=Column(ForeignKey("thing.id")))
    create(session, Thing, [{"id": 1}])
    rows = [{"id": i, "parent": i - 1} for i in range(2, count + 1)]
    assert fastbulk.upsert(session, Thing, rows).inserted == count - 1
    fastbulk.delete(session, Thing, range(count, 1, -1))
    # Parents come last in the rows, and first in the order of keys.
    rows.reverse()
    assert fastbulk.upsert(session, Thing, rows).inserted == count - 1
    # The other way round.
    rows = [{"id": -i, "parent": 1 - i if i > 2 else 1} for i in range(2, count + 1)]
    assert fastbulk.upsert(session, Thing, rows).inserted == count - 1
    assert fastbulk.delete(session, Thing, [row["id"] for row in reversed(rows)]).missing == []
    # Last in either.
    rows = [{"id": i, "parent": i + 1} for i in range(1_001, 1_000 + count)]
    error = error_of(lambda: fastbulk.upsert(session, Thing, [*rows, {"id": 1_000 + count}]))
    assert place(error) == (0, "parent", 1_002)


def test_deferred_foreign_keys(session: Session) -> None:
    Thing = thing(parent=Column(ForeignKey("thing.id", deferrable=True, initially="DEFERRED")))
    Thing.metadata.create_all(session.connection())
    rows = [{"id": i, "parent": i + 1} for i in range(1, 300)]
    fastbulk.upsert(session, Thing, [*rows, {"id": 300}])
    fastbulk.update(session, Thing, [{"id": 300, "parent": 999}])
    with pytest.raises(exc.IntegrityError):
        session.commit()


# The connection


def test_the_last_rowid_is_that_of_a_row(session: Session) -> None:
    Thing = thing()
    create(session, Thing, [{"id": 5}])
    for count in (2, 300):
        driver = session.connection()
        fastbulk.insert(session, Thing, [{"id": 1_000 + count}])
        rows = [{"id": 5, "name": "x"}, *({"id": i, "name": "x"} for i in range(6, count + 4))]
        fastbulk.upsert(session, Thing, rows)
        fastbulk.upsert(session, Thing, rows)  # updates alone
        found = driver.exec_driver_sql("SELECT last_insert_rowid()").scalar()
        assert session.get(Thing, found) is not None


def test_a_connection_that_native_code_cannot_reach(before_import: Oracle) -> None:
    Thing = thing()
    before_import.create(Thing)
    for verb in (fastbulk.update, fastbulk.upsert):
        with pytest.raises(NotImplementedError, match="no road for"):
            verb(before_import.ours, Thing, [{"id": 1}])
    with pytest.raises(NotImplementedError, match="no road for"):
        fastbulk.delete(before_import.ours, Thing, [1])


def test_a_transaction_of_its_own_under_autocommit(engine: Engine) -> None:
    Thing = model(name=Column(String, unique=True))
    Thing.metadata.create_all(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        fastbulk.upsert(connection, Thing, [{"id": i, "name": f"{i}"} for i in range(300)])
        rows = [{"id": i, "name": f"new {i}"} for i in range(299)]
        for call in (fastbulk.update, fastbulk.upsert):
            bad = [*rows, {"id": 299, "name": "new 7"}]
            error_of(partial(call, connection, Thing, bad))
        with pytest.raises(StaleDataError):
            fastbulk.update(connection, Thing, [*rows, {"id": 999, "name": "x"}])
        driver: Any = connection.connection.driver_connection
        assert not driver.in_transaction
    with Session(engine) as session:
        assert stored(session, Thing.id, Thing.name) == [(i, f"{i}") for i in range(300)]


def test_a_locked_database(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'locked.db'}", connect_args={"timeout": 0})
    Thing = thing()
    Thing.metadata.create_all(engine)
    with engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        for call in (fastbulk.update, fastbulk.upsert):
            error = error_of(partial(call, engine, Thing, [{"id": i, "name": "x"} for i in (1, 2)]))
            assert "database is locked" in str(error)
        assert "database is locked" in str(error_of(lambda: fastbulk.delete(engine, Thing, [1])))
    assert fastbulk.upsert(engine, Thing, [{"id": 1, "name": "x"}]).inserted == 1
    engine.dispose()


def test_rows_of_ever_new_shapes(session: Session) -> None:
    names = [f"c{i}" for i in range(11)]
    columns: dict[str, Any] = {name: Column(Integer) for name in names}
    Thing = model(**columns)
    create(session, Thing, [{"id": i} for i in range(0, 1_200, 2)])
    rows = [
        {"id": i, **{name: i for bit, name in enumerate(names) if i >> bit & 1}}
        for i in range(1_200)
    ]
    assert fastbulk.upsert(session, Thing, rows).rowcount == 1_200 - 1  # the first gives nothing
    assert fastbulk.update(session, Thing, rows).rowcount == 1_199
    sums = session.scalars(select(func.sum(sum(getattr(Thing, n) for n in names)))).all()
    assert sums  # all columns are there
    row = session.execute(select(Thing.__table__).where(Thing.id == 1_029)).one()
    assert [row._mapping[name] for name in names] == [
        1_029 if 1_029 >> bit & 1 else None for bit in range(11)
    ]


@pytest.mark.parametrize("verb", ["update", "upsert", "delete"])
def test_ctrl_c_stops_a_call_and_undoes_it(session: Session, verb: str) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    # The work is slow enough for the signal to come in the middle of it.
    fastbulk.insert(session, Thing, [{"id": i, "size": 0} for i in range(60_000)])
    slow = "SELECT count(*) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
    session.connection().exec_driver_sql(
        f"CREATE TRIGGER slow AFTER UPDATE ON thing BEGIN {slow} LIMIT 100) SELECT i FROM n); END"
    )
    session.connection().exec_driver_sql(
        "CREATE TRIGGER slow_too AFTER DELETE ON thing BEGIN "
        f"{slow} LIMIT 100) SELECT i FROM n); END"
    )

    given: list[Any] = [{"id": i, "size": 1} for i in range(60_000)]
    if verb == "delete":
        given = [row["id"] for row in given]
    with pytest.raises(KeyboardInterrupt), ctrl_c(0.2):
        getattr(fastbulk, verb)(session, Thing, given)
    assert session.scalar(select(func.sum(Thing.size))) == 0
    assert session.scalar(select(func.count(Thing.id))) == 60_000
    session.execute(insert(Thing), [{"id": -1}])
