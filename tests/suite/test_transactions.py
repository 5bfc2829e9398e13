"""Whose transaction it is, and when it begins and ends."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    String,
    create_engine,
    event,
    exc,
    insert,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import fastbulk
from oracle import error_of, model, with_foreign_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Engine


def thing() -> Any:
    return model(name=Column(String, nullable=False))


def names(engine: Engine, Thing: Any) -> Sequence[str]:
    with Session(engine) as session:
        return session.scalars(select(Thing.name).order_by(Thing.id)).all()


def rows(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]


MANY = [{"name": "many"}] * 21_000


@pytest.fixture
def Thing(engine: Engine) -> Any:
    Thing = thing()
    Thing.metadata.create_all(engine)
    return Thing


@pytest.mark.parametrize("given", [rows("a"), MANY], ids=["small", "many slices"])
def test_rollback_undoes_the_call(engine: Engine, Thing: Any, given: list[dict[str, Any]]) -> None:
    with Session(engine) as session:
        fastbulk.insert(session, Thing, given)
        session.rollback()
        assert session.scalars(select(Thing.id)).all() == []


@pytest.mark.parametrize("given", [rows("a"), MANY], ids=["small", "many slices"])
def test_nothing_is_seen_by_others_before_the_commit(
    tmp_path: Path, given: list[dict[str, Any]]
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    Thing = thing()
    Thing.metadata.create_all(engine)
    with Session(engine) as session:
        fastbulk.insert(session, Thing, given)
        assert names(engine, Thing) == []
        session.commit()
    assert len(names(engine, Thing)) == len(given)
    engine.dispose()


def test_calls_and_statements_share_the_transaction(engine: Engine, Thing: Any) -> None:
    with Session(engine) as session:
        session.execute(insert(Thing), rows("a"))
        fastbulk.insert(session, Thing, rows("b"))
        session.add(Thing(name="c"))
        fastbulk.insert(session, Thing, rows("d"))
        session.commit()
        fastbulk.insert(session, Thing, rows("lost"))
        session.execute(insert(Thing), rows("lost"))
        session.rollback()
    assert names(engine, Thing) == ["a", "b", "c", "d"]


def test_savepoints(engine: Engine, Thing: Any) -> None:
    with Session(engine) as session:
        fastbulk.insert(session, Thing, rows("outer"))
        with session.begin_nested():
            fastbulk.insert(session, Thing, rows("kept"))
        with session.begin_nested() as savepoint:
            fastbulk.insert(session, Thing, rows("lost"))
            with session.begin_nested():
                fastbulk.insert(session, Thing, rows("lost too"))
            savepoint.rollback()
        fastbulk.insert(session, Thing, MANY[:3])
        session.commit()
    assert names(engine, Thing) == ["outer", "kept", "many", "many", "many"]


def test_a_savepoint_as_the_first_thing_of_a_transaction(engine: Engine, Thing: Any) -> None:
    with Session(engine) as session:
        with session.begin_nested() as savepoint:
            fastbulk.insert(session, Thing, rows("lost"))
            savepoint.rollback()
        assert session.scalars(select(Thing.name)).all() == []


def test_pending_objects_are_flushed_first(engine: Engine, Thing: Any) -> None:
    with Session(engine) as session:
        session.add(Thing(name="pending"))
        fastbulk.insert(session, Thing, rows("bulk"))
        assert not session.new
        session.commit()
    assert names(engine, Thing) == ["pending", "bulk"]


def test_pending_objects_stay_pending_without_autoflush(engine: Engine, Thing: Any) -> None:
    with Session(engine) as session:
        session.add(Thing(name="pending"))
        with session.no_autoflush:
            fastbulk.insert(session, Thing, rows("bulk"))
        assert session.new
        session.commit()
    assert names(engine, Thing) == ["bulk", "pending"]
    with Session(engine, autoflush=False) as session:
        session.add(Thing(name="pending"))
        fastbulk.insert(session, Thing, rows("bulk"))
        assert session.new


def test_a_flush_that_fails_is_the_calls_error(engine: Engine, Thing: Any) -> None:
    with Session(engine) as session:
        session.add(Thing())
        with pytest.raises(exc.IntegrityError, match="autoflush"):
            fastbulk.insert(session, Thing, rows("bulk"))
        session.rollback()
    assert names(engine, Thing) == []


def test_a_foreign_key_to_an_uncommitted_parent(engine: Engine) -> None:
    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parent"
        id = Column(Integer, primary_key=True)

    class Child(Base):
        __tablename__ = "child"
        id = Column(Integer, primary_key=True)
        parent_id: Mapped[int] = mapped_column(ForeignKey(Parent.id), nullable=False)

    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(parent := Parent())
        session.flush()
        fastbulk.insert(session, Child, [{"parent_id": parent.id}] * 300)
        more = fastbulk.insert(session, Parent, [{}] * 3, returning=Parent.id).scalars().all()
        fastbulk.insert(session, Child, [{"parent_id": key} for key in more])
        session.commit()
        assert len(session.scalars(select(Child.id)).all()) == 303


def test_within_a_flush_event(engine: Engine, Thing: Any) -> None:
    with Session(engine) as session:

        @event.listens_for(session, "after_flush")
        def audit(session: Session, context: Any) -> None:
            fastbulk.insert(session, Thing, rows("by the event"))

        session.add(Thing(name="by the flush"))
        session.commit()
    assert names(engine, Thing) == ["by the flush", "by the event"]


def autocommit(tmp_path: Path) -> Engine:
    return create_engine(f"sqlite:///{tmp_path / 'a.db'}", isolation_level="AUTOCOMMIT")


def with_begin_event(tmp_path: Path) -> Engine:
    """The recipe of SQLAlchemy's documentation for transactions that pysqlite does not touch."""
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")

    @event.listens_for(engine, "connect")
    def no_implicit_begin(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def immediate(tmp_path: Path) -> Engine:
    return create_engine(
        f"sqlite:///{tmp_path / 'a.db'}", connect_args={"isolation_level": "IMMEDIATE"}
    )


def driver_transactions(tmp_path: Path) -> Engine:
    return create_engine(f"sqlite:///{tmp_path / 'a.db'}", connect_args={"autocommit": False})


def driver_autocommit(tmp_path: Path) -> Engine:
    return create_engine(f"sqlite:///{tmp_path / 'a.db'}", connect_args={"autocommit": True})


needs_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3's autocommit: 3.12")
TRANSACTIONAL = [
    with_begin_event,
    immediate,
    pytest.param(driver_transactions, marks=needs_3_12),
]
AUTOCOMMIT = [autocommit, pytest.param(driver_autocommit, marks=needs_3_12)]


@pytest.fixture
def configured(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Engine, Any]]:
    engine = with_foreign_keys(request.param(tmp_path))
    Thing = thing()
    Thing.metadata.create_all(engine)
    yield engine, Thing
    engine.dispose()


@pytest.mark.parametrize("configured", TRANSACTIONAL, indirect=True)
@pytest.mark.parametrize("count", [1, 21_000])
def test_configured_transactions(configured: tuple[Engine, Any], count: int) -> None:
    engine, Thing = configured
    with Session(engine) as session:
        fastbulk.insert(session, Thing, MANY[:count])
        session.rollback()
        fastbulk.insert(session, Thing, rows("kept"), returning=Thing.id)
        error_of(lambda: fastbulk.insert(session, Thing, [*MANY[:count], {"name": None}]))
        session.commit()
        with session.begin_nested() as savepoint:
            fastbulk.insert(session, Thing, MANY[:count])
            savepoint.rollback()
        session.commit()
    assert names(engine, Thing) == ["kept"]
    assert fastbulk.insert(engine, Thing, rows("more")).road.name == "native"
    assert names(engine, Thing) == ["kept", "more"]


@pytest.mark.parametrize("configured", AUTOCOMMIT, indirect=True)
@pytest.mark.parametrize("count", [1, 21_000])
def test_autocommit_commits_each_call_whole(configured: tuple[Engine, Any], count: int) -> None:
    engine, Thing = configured
    with Session(engine) as session:
        fastbulk.insert(session, Thing, rows("first"))
        session.rollback()
        error_of(lambda: fastbulk.insert(session, Thing, [*MANY[:count], {"name": None}]))
        driver: Any = session.connection().connection.driver_connection
        assert not driver.in_transaction
        assert names(engine, Thing) == ["first"]
        fastbulk.insert(session, Thing, MANY[:count])
        assert not driver.in_transaction
        session.rollback()
    assert len(names(engine, Thing)) == 1 + count


def test_a_connection_in_autocommit(engine: Engine, Thing: Any) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        fastbulk.insert(connection, Thing, rows("a"))
        connection.rollback()
        assert connection.scalars(select(Thing.name)).all() == ["a"]


def test_the_transaction_begins_as_the_driver_would_begin_it(tmp_path: Path) -> None:
    engine = immediate(tmp_path)
    Thing = thing()
    Thing.metadata.create_all(engine)
    seen: list[str] = []
    with Session(engine) as session:
        driver: Any = session.connection().connection.driver_connection
        driver.set_trace_callback(seen.append)
        fastbulk.insert(session, Thing, rows("a"))
        fastbulk.insert(session, Thing, rows("b"))
        session.commit()
    assert [sql for sql in seen if sql.startswith(("BEGIN", "INSERT", "COMMIT"))] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    engine.dispose()


@pytest.mark.without("aiosqlite")  # a task can be cancelled when the statement has just ended
def test_a_small_call_is_one_statement_for_the_driver(engine: Engine, Thing: Any) -> None:
    statements = []
    event.listen(engine, "before_cursor_execute", lambda c, cur, sql, *_: statements.append(sql))
    with engine.begin() as connection:
        fastbulk.insert(connection, Thing, rows("a"))
        statements.clear()
        fastbulk.insert(connection, Thing, rows(*"abc"))
        assert len(statements) == 1


def test_a_session_that_others_end_in_the_middle(engine: Engine, Thing: Any) -> None:
    """A generator that commits its own call's transaction gets an error that says so."""
    with Session(engine) as session:

        def generate() -> Iterator[dict[str, Any]]:
            for i in range(21_000):
                if i == 20_500:
                    session.commit()
                yield {"name": str(i)}

        with pytest.raises((exc.SQLAlchemyError, sqlite3.Error)):
            fastbulk.insert(session, Thing, generate())
        session.rollback()
        fastbulk.insert(session, Thing, rows("later"))
        session.commit()
    assert names(engine, Thing)[-1] == "later"


def test_a_generator_that_rolls_back_loses_nothing_silently(engine: Engine, Thing: Any) -> None:
    with Session(engine) as session:

        def generate() -> Iterator[dict[str, Any]]:
            for i in range(21_000):
                if i == 20_500:
                    session.rollback()
                yield {"name": str(i)}

        with pytest.raises((exc.SQLAlchemyError, sqlite3.Error)):
            fastbulk.insert(session, Thing, generate())
        session.rollback()
    assert names(engine, Thing) == []
