"""What only MySQL and MariaDB have of update, upsert and delete: collations, types of literals,
unique keys beside the call's, locks."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    Column,
    DateTime,
    Float,
    Integer,
    Numeric,
    String,
    Table,
    Text,
    exc,
    insert,
    text,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

import fastbulk
from fastbulk import given
from fastbulk.carriers import mysql
from fastbulk.carriers.mysql_catalog import Catalog
from oracle import create, error_of, model, place, shuffled, statements, stored

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from oracle import Oracle, WithTables

pytestmark = pytest.mark.only("mariadb", "mysql")

#: Statements of their own, and joined tables.
COUNTS = [3, 130]


def person() -> Any:
    return model(
        email=Column(String(50), unique=True),
        phone=Column(String(50), unique=True),
        name=Column(String(50)),
    )


@pytest.mark.parametrize("count", COUNTS)
def test_a_strangers_row_is_not_touched(session: Session, count: int) -> None:
    Person = person()
    create(session, Person, [{"email": "a", "phone": "1"}, {"email": "b", "phone": "2"}])
    rows = [{"email": f"e{i}", "phone": f"p{i}", "name": "new"} for i in range(count - 2)]
    rows += [{"email": "a", "phone": "2", "name": "new"}, {"email": "c", "phone": "2"}]
    error = error_of(lambda: fastbulk.upsert(session, Person, rows, key="email"))
    assert isinstance(error, exc.IntegrityError)
    assert place(error) == (count - 2, "phone", "2")
    assert stored(session, Person.email, Person.name) == [("a", None), ("b", None)]
    rows[-2:] = [{"email": "a", "phone": "3", "name": "new"}, {"email": "c", "phone": "4"}]
    result = fastbulk.upsert(session, Person, rows, key="email", returning=Person.phone)
    assert result.actions == ["inserted"] * (count - 2) + ["updated", "inserted"]
    assert result.scalars().all() == [row["phone"] for row in rows]


@pytest.mark.parametrize("count", COUNTS)
def test_rows_may_give_keys_that_strangers_have(session: Session, count: int) -> None:
    """What is there keeps its own primary key, so nothing clashes."""
    Person = person()
    there = range(0, count, 2)
    create(session, Person, [{"id": i + 1, "email": f"e{i}", "phone": f"p{i}"} for i in there])
    rows = [
        {"id": count - i if i in there else 5000 + i, "email": f"e{i}", "name": f"n{i}"}
        for i in range(count)
    ]
    result = fastbulk.upsert(session, Person, rows, key="email")
    assert result.actions == ["updated" if i in there else "inserted" for i in range(count)]
    assert stored(session, Person.id, Person.email, Person.name) == sorted(
        (i + 1 if i in there else 5000 + i, f"e{i}", f"n{i}") for i in range(count)
    )


@pytest.mark.parametrize("verb", [fastbulk.update, fastbulk.upsert])
@pytest.mark.parametrize("count", COUNTS)
def test_a_text_that_its_character_set_has_not(session: Session, count: int, verb: Any) -> None:
    """The error is that of a row alone, whatever statement carries it."""
    Thing = model(name=Column(String(20)))
    create(session, Thing, [{"id": i, "name": "x"} for i in range(1, count + 1)])
    session.execute(text("ALTER TABLE thing MODIFY name VARCHAR(20) CHARACTER SET latin1"))
    rows = [{"id": i, "name": "ü"} for i in range(1, count + 1)]
    rows[-1]["name"] = "日本"
    theirs = error_of(lambda: session.execute(update(Thing), rows[-1:]))
    ours = error_of(lambda: verb(session, Thing, rows))
    assert (type(ours), place(ours)) == (type(theirs), (count - 1, "name", "日本"))
    assert set(stored(session, Thing.name)) == {"x"}


@pytest.mark.parametrize("count", COUNTS)
def test_keys_are_what_the_collation_says(session: Session, count: int) -> None:
    Thing = model(key=Column(String(50), primary_key=True), size=Column(Integer))
    create(session, Thing, [{"key": "É", "size": 0}])
    rows = [{"key": f"k{i}", "size": i} for i in range(count - 2)]
    rows += [{"key": "e", "size": 1}, {"key": "E", "size": 2}]
    with pytest.raises(exc.InvalidRequestError, match=f"rows {count - 2} and {count - 1}"):
        fastbulk.upsert(session, Thing, rows)
    columns = [Thing.key, Thing.size]
    for result, size in (
        (fastbulk.upsert(session, Thing, rows, duplicates="first", returning=columns), 1),
        (fastbulk.upsert(session, Thing, rows, duplicates="last", returning=columns), 2),
    ):
        assert result.actions.count("duplicate") == 1
        assert result.all()[-2:] == [("É", size)] * 2
    fastbulk.update(session, Thing, [*rows, {"key": "è", "size": 9}])
    assert session.scalar(text("SELECT size FROM thing WHERE `key` = 'e'")) == 9
    keys = [row["key"] for row in rows]
    assert fastbulk.delete(session, Thing, [*keys, "none"]).missing == [count]
    assert stored(session, Thing.key) == []


@pytest.mark.parametrize("count", COUNTS)
def test_only_changed_compares_letter_by_letter(session: Session, count: int) -> None:
    Thing = model(
        name=Column(String(50)),
        amount=Column(Numeric(10, 2)),
        ratio=Column(Float),
        at=Column(DateTime),
    )
    rows: list[dict[str, Any]] = [
        {"id": i, "name": "Bob", "amount": "1.10", "ratio": 0.1, "at": None}
        for i in range(1, count + 1)
    ]
    create(session, Thing, rows)
    rows[0]["name"] = "bob"
    rows[1]["amount"] = "1.11"
    result = fastbulk.upsert(session, Thing, rows, only_changed=True)
    assert result.actions == ["updated"] * 2 + ["unchanged"] * (count - 2)


@pytest.mark.parametrize("count", COUNTS)
def test_values_of_another_sort_than_their_columns(oracle: WithTables, count: int) -> None:
    """In a table of VALUES they would be something else than alone."""
    Thing = model(word=Column(String(50)), size=Column(Integer), amount=Column(Numeric(10, 2)))
    databases = oracle(Thing)
    databases.fill(Thing, [{"id": i} for i in range(1, count + 1)])
    values: list[Any] = [1.5, 2.25, "x", 10, None]
    rows = [
        {"id": str(i), "word": values[i % 5], "size": "7", "amount": "1.005"}
        for i in shuffled(count)
    ]

    def theirs(session: Session) -> int:
        for row in rows:
            given_values = {k: v for k, v in row.items() if k != "id"}
            table: Table = Thing.__table__
            session.connection().exec_driver_sql(
                str(
                    update(table)
                    .where(table.c.id == row["id"])
                    .values(given_values)
                    .compile(dialect=session.get_bind().dialect)
                ),
                {**given_values, "id_1": row["id"]}
                if session.get_bind().dialect.paramstyle == "pyformat"
                else (*given_values.values(), row["id"]),
            )
        return len(rows)

    databases.same(lambda target: fastbulk.update(target, Thing, rows).rowcount, theirs)


@pytest.mark.parametrize("count", COUNTS)
def test_assignments_see_the_row_as_it_was(session: Session, count: int) -> None:
    Thing = model(a=Column(Integer), b=Column(Integer))
    create(session, Thing, [{"id": i, "a": i, "b": -i} for i in range(1, count + 1)])
    rows = [{"id": i} for i in shuffled(count)]
    fastbulk.update(session, Thing, rows, values={Thing.a: Thing.b, Thing.b: Thing.a})
    fastbulk.upsert(
        session,
        Thing,
        [{"id": i, "a": 5} for i in shuffled(count)],
        update={Thing.a: Thing.b + given(Thing.a), Thing.b: Thing.a},
    )
    assert stored(session, Thing.id, Thing.a, Thing.b) == [
        (i, i + 5, -i) for i in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [1, 3, 10])
def test_an_upsert_of_a_few_rows_is_one_statement(session: Session, count: int) -> None:
    """It undoes itself, and knows the key that it was told of before."""
    Thing = model(size=Column(Integer, nullable=False))
    create(session, Thing, [{"id": 1, "size": 1}])
    rows = [{"id": i, "size": i} for i in shuffled(count)]
    fastbulk.upsert(session, Thing, rows)
    seen = statements(session)
    assert fastbulk.upsert(session, Thing, rows).actions == ["updated"] * count
    assert [sql.split()[0] for sql in seen] == ["INSERT"]
    bad: list[dict[str, Any]] = [{"id": i + 100, "size": i} for i in range(count)]
    bad[-1]["size"] = None
    error = error_of(lambda: fastbulk.upsert(session, Thing, bad))
    assert isinstance(error, exc.DBAPIError)
    assert place(error) == (count - 1, "size", None)
    assert sorted(stored(session, Thing.size)) == list(range(1, count + 1))


@pytest.mark.parametrize("count", [3, 10])
def test_an_update_of_a_few_rows_is_one_statement(session: Session, count: int) -> None:
    """It is refused where a row is not there, and undoes itself."""
    Thing = model(size=Column(Integer, nullable=False))
    keys = shuffled(count)
    create(session, Thing, [{"id": i, "size": 0} for i in keys])
    fastbulk.update(session, Thing, [{"id": i, "size": i} for i in keys])
    seen = statements(session)
    fastbulk.update(session, Thing, [{"id": i, "size": i + 1} for i in keys])
    assert [sql.split()[0] for sql in seen] == ["UPDATE"]
    bad: list[dict[str, Any]] = [{"id": i, "size": 0} for i in [*keys[1:], 99]]
    with pytest.raises(StaleDataError) as missing:
        fastbulk.update(session, Thing, bad)
    assert vars(missing.value)["rows"] == [count - 1]
    bad = [{"id": i, "size": 0} for i in keys]
    bad[-1]["size"] = None
    assert place(error_of(lambda: fastbulk.update(session, Thing, bad))) == (
        count - 1,
        "size",
        None,
    )
    assert stored(session, Thing.id, Thing.size) == [(i, i + 1) for i in range(1, count + 1)]


@pytest.mark.parametrize("count", [1, 3])
def test_a_unique_key_may_come_later(session: Session, count: int) -> None:
    """What is known of a table from a call before is not what saves a stranger's row."""
    Thing = model(email=Column(String(50)), size=Column(Integer))
    create(session, Thing, [{"id": i, "email": f"e{i}"} for i in range(1, 5)])
    rows = [{"id": i, "email": f"e{i}", "size": 1} for i in shuffled(count)]
    fastbulk.upsert(session, Thing, rows)
    session.execute(text("ALTER TABLE thing ADD UNIQUE (email)"))
    rows[0] = {"id": 9, "email": "e4", "size": 2}
    assert isinstance(error_of(lambda: fastbulk.upsert(session, Thing, rows)), exc.IntegrityError)
    assert stored(session, Thing.email, Thing.size)[-1] == ("e4", None)


@pytest.mark.parametrize("count", COUNTS)
def test_no_trigger_fires_for_rows_that_are_left_alone(session: Session, count: int) -> None:
    Thing = model(size=Column(Integer), seen=Column(Integer, server_default="0"))
    create(session, Thing, [{"id": i, "size": i} for i in range(1, count + 1)])
    session.execute(
        text("CREATE TRIGGER looks BEFORE UPDATE ON thing FOR EACH ROW SET NEW.seen = OLD.seen + 1")
    )
    rows = [{"id": i, "size": max(i, 2)} for i in shuffled(count)]
    forms: list[dict[str, Any]] = [
        {"update": "nothing"},
        {"where": Thing.size < 2, "update": ["size"]},
        {"only_changed": True, "update": ["size"]},
    ]
    for how in forms:
        fastbulk.upsert(session, Thing, rows, **how)
    assert stored(session, Thing.id, Thing.seen) == [(i, int(i == 1)) for i in range(1, count + 1)]


def test_keys_from_one_on_are_not_those_that_no_row_was_given(session: Session) -> None:
    Thing = model(email=Column(String(50), unique=True), size=Column(Integer))
    create(session, Thing, [{"email": f"e{i}"} for i in range(130)])
    rows = [{"email": f"e{i}", "size": i} for i in range(130)]
    assert fastbulk.upsert(session, Thing, rows, key="email").actions == ["updated"] * 130


def test_many_statements(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql, "WANTED", 300)
    Thing = model(email=Column(String(50), unique=True), note=Column(Text))
    create(session, Thing, [{"id": i, "email": f"e{i}"} for i in range(2, 131, 2)])
    seen = statements(session)
    keys = shuffled(130)
    rows = [{"email": f"e{i}", "note": f"{i}" * 9} for i in keys]
    result = fastbulk.upsert(session, Thing, rows, key="email", returning=Thing.email)
    assert result.actions == ["inserted" if i % 2 else "updated" for i in keys]
    assert result.scalars().all() == [f"e{i}" for i in keys]
    ids = stored(session, Thing.id)
    result = fastbulk.update(
        session, Thing, [{"id": i, "note": "x"} for i in ids], returning=Thing.id
    )
    assert result.scalars().all() == ids
    assert fastbulk.delete(session, Thing, [*ids, -1]).rowcount == 130
    assert len(seen) > 40


def writer(engine: Engine, work: Any) -> tuple[threading.Thread, list[Any]]:
    """Runs in a transaction of its own beside the test."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            with Session(engine) as session, session.begin():
                outcome.append(work(session))
        except exc.DBAPIError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


@pytest.mark.sync
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("key", ["id", "email"])
@pytest.mark.parametrize("probe_first", [False, True])
def test_rows_that_another_inserts_meanwhile(
    databases: Oracle, count: int, key: str, probe_first: bool
) -> None:
    Thing = model(email=Column(String(50), unique=key == "email"), name=Column(String(50)))
    databases.create(Thing)
    engine = databases.ours.execution_options(isolation_level="READ COMMITTED")
    rows: list[dict[str, Any]] = [
        {"id": i, "email": f"e{i}", "name": "ours"} for i in range(1, count + 1)
    ]
    if key == "email":
        rows = [{k: v for k, v in row.items() if k != "id"} for row in rows]
    with Session(engine) as session:
        session.execute(insert(Thing), [{**rows[1], "name": "theirs"}])
        thread, outcome = writer(
            engine,
            lambda other: (
                fastbulk.upsert(other, Thing, rows, key=key, probe_first=probe_first).actions
            ),
        )
        time.sleep(0.3)
        session.commit()
    thread.join(10)
    assert outcome == [["inserted", "updated", *["inserted"] * (count - 2)]]
    with Session(engine) as session:
        assert set(stored(session, Thing.name)) == {"ours"}


@pytest.mark.parametrize("count", [3, 8, 130])
@pytest.mark.parametrize("how", [{}, {"only_changed": True}, {"update": "nothing"}])
def test_generated_keys_that_some_rows_give(
    databases: Oracle, count: int, how: dict[str, Any]
) -> None:
    """What tells which rows are new is another thing for each."""
    Thing = model(email=Column(String(50), unique=True), name=Column(String(50)))
    databases.create(Thing)
    there = range(1, count, 2)
    databases.fill(Thing, [{"id": i, "email": f"e{i:03}", "name": "old"} for i in there])
    rows: list[dict[str, Any]] = [{"email": f"e{i:03}", "name": "new"} for i in range(count)]
    for i, row in enumerate(rows):
        row |= {"id": i or 1000} if i % 3 == 0 else {}
    with Session(databases.ours) as session, session.begin():
        result = fastbulk.upsert(session, Thing, rows, key="email", **how)
        was_there = "unchanged" if how.get("update") else "updated"
        assert result.actions == [was_there if i in there else "inserted" for i in range(count)]
        name = "old" if how.get("update") else "new"
        found = session.query(Thing.name).where(Thing.email.in_([rows[i]["email"] for i in there]))
        assert found.all() == [(name,) for _ in there]


@pytest.mark.parametrize("count", COUNTS)
def test_a_probe_burns_no_keys_where_only_rows_are_locked(databases: Oracle, count: int) -> None:
    Thing = model(email=Column(String(50), unique=True), name=Column(String(50)))
    databases.create(Thing)
    databases.fill(Thing, [{"id": i, "email": f"e{i:03}"} for i in range(1, count + 1)])
    engine = databases.ours.execution_options(isolation_level="READ COMMITTED")
    rows = [{"email": f"e{i:03}{x}", "name": "new"} for i in range(1, count + 1) for x in ("", "x")]
    with Session(engine) as session, session.begin():
        for _ in range(2):
            result = fastbulk.upsert(
                session,
                Thing,
                rows,
                key="email",
                probe_first=True,
                returning=[Thing.id, Thing.name],
            )
            both = [(i, count + i) for i in range(1, count + 1)]
            assert result.all() == [(key, "new") for keys in both for key in keys]
        assert result.actions == ["updated"] * (2 * count)


@pytest.mark.sync
def test_a_deadlock_says_that_the_transaction_is_gone(databases: Oracle) -> None:
    Thing = model(name=Column(String(50)))
    databases.create(Thing)
    databases.fill(Thing, [{"id": i} for i in range(1, 11)])
    engine = databases.ours
    with Session(engine) as session:
        fastbulk.update(session, Thing, [{"id": 1, "name": "a"}])

        def other(session: Session) -> None:
            fastbulk.update(session, Thing, [{"id": i, "name": "b"} for i in range(5, 11)])
            fastbulk.update(session, Thing, [{"id": 1, "name": "b"}])

        thread, outcome = writer(engine, other)
        time.sleep(0.3)
        try:
            fastbulk.update(session, Thing, [{"id": i, "name": "a"} for i in range(1, 11)])
            session.commit()
        except exc.DBAPIError as error:
            outcome.append(error)
    thread.join(10)
    (refused,) = [each for each in outcome if each is not None]
    assert "rolled back the whole transaction" in str(refused)


def test_a_table_as_the_server_shows_it() -> None:
    catalog = Catalog.parsed(
        "CREATE TABLE `t` (\n"
        "  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,\n"
        "  `a``b` varchar(20) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT NULL,\n"
        "  `c` enum('x,)','it''s') DEFAULT NULL,\n"
        "  PRIMARY KEY (`id`),\n"
        "  UNIQUE KEY `both` (`a``b`,`c` DESC),\n"
        "  UNIQUE KEY `beginning` (`c`(2)),\n"
        "  UNIQUE KEY `expression` ((lower(`c`))),\n"
        "  KEY `other` (`c`)\n"
        ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"
    )
    types = [(t.name, t.charset, t.collation) for t in catalog.columns.values()]
    assert types == [
        ("int", None, None),
        ("varchar", "latin1", "latin1_bin"),
        ("enum", "utf8mb4", "utf8mb4_0900_ai_ci"),
    ]
    assert catalog.unique["expression"] is None
    assert catalog.unique["beginning"] is None
    assert catalog.index(frozenset({"C", "a`b"})) == "both"
    assert catalog.index(frozenset({"c"})) is None
