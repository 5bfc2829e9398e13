"""What can be inserted into: a Session, a Connection, an Engine."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Integer, QueuePool, String, create_engine, event, exc, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import DeclarativeBase, Session, column_property, scoped_session, sessionmaker

import fastbulk
from oracle import model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import Engine


def thing() -> Any:
    return model(name=Column(String))


def names(engine: Engine, Thing: Any) -> Sequence[str]:
    with Session(engine) as session:
        return session.scalars(select(Thing.name)).all()


def test_a_session(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    with Session(engine) as session:
        fastbulk.insert(session, Thing, [{"name": "a"}])
        assert session.in_transaction()
        session.commit()
    assert names(engine, Thing) == ["a"]


def test_a_scoped_session(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    scoped = scoped_session(sessionmaker(engine))
    (returned,) = fastbulk.insert(scoped, Thing, [{"name": "a"}], returning=Thing).scalars()
    assert returned in scoped
    scoped.rollback()
    assert scoped.scalars(select(Thing.name)).all() == []
    fastbulk.insert(scoped, Thing, [{"name": "b"}])
    scoped.commit()
    scoped.remove()
    assert names(engine, Thing) == ["b"]


def test_a_connection(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    with engine.connect() as connection:
        result = fastbulk.insert(connection, Thing, [{"name": "a"}], returning=Thing.id)
        assert result.all() == [(1,)]
        assert connection.in_transaction()
        connection.rollback()
        fastbulk.insert(connection, Thing, [{"name": "b"}])
        connection.commit()
    assert names(engine, Thing) == ["b"]


def test_an_engine_commits(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    result = fastbulk.insert(engine, Thing, [{"name": "a"}], returning=[Thing.id, Thing.name])
    assert result.all() == [(1, "a")]
    assert names(engine, Thing) == ["a"]


def test_an_engine_gives_its_connection_back(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}", pool_size=1, max_overflow=0)
    Thing = thing()
    Thing.metadata.create_all(engine)
    for rows in ([{"name": "a"}], [{"nmae": "a"}], [{"name": object()}], [{"name": "b"}]):
        with suppress(exc.SQLAlchemyError):
            fastbulk.insert(engine, Thing, rows, returning=Thing.id)
        assert isinstance(engine.pool, QueuePool)
        assert engine.pool.checkedout() == 0
    assert names(engine, Thing) == ["a", "b"]
    engine.dispose()


def test_an_engine_with_options(engine: Engine) -> None:
    Thing = model(args={"schema": "elsewhere"}, name=Column(String))
    translated = engine.execution_options(schema_translate_map={"elsewhere": None})
    Thing.metadata.create_all(translated)
    fastbulk.insert(translated, Thing, [{"name": "a"}])
    assert names(translated, Thing) == ["a"]


def test_a_session_with_a_bind_for_each_class(tmp_path: Path) -> None:
    engines = [create_engine(f"sqlite:///{tmp_path / name}.db") for name in "ab"]
    models = [model(table="a", name=Column(String)), model(table="b", name=Column(String))]
    for engine, Thing in zip(engines, models, strict=True):
        Thing.metadata.create_all(engine)
    with Session(binds=dict(zip(models, engines, strict=True))) as session:
        for Thing in models:
            fastbulk.insert(session, Thing, [{"name": Thing.__tablename__}])
        session.commit()
    assert [names(e, T) for e, T in zip(engines, models, strict=True)] == [["a"], ["b"]]
    for engine in engines:
        engine.dispose()


def test_a_session_that_chooses_its_bind_itself(engine: Engine) -> None:
    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **arguments: Any) -> Engine:
            assert mapper is Thing.__mapper__
            assert clause is None or clause.is_insert
            return engine

    Thing = thing()
    Thing.metadata.create_all(engine)
    with Routing() as session:
        fastbulk.insert(session, Thing, [{"name": "a"}])
        session.commit()
    assert names(engine, Thing) == ["a"]


def test_a_session_on_a_connection(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    with engine.connect() as connection:
        fastbulk.insert(connection, Thing, [{"name": "outer"}])
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            fastbulk.insert(session, Thing, [{"name": "inner"}])
            session.commit()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            fastbulk.insert(session, Thing, [{"name": "lost"}])
            session.rollback()
        assert connection.scalars(select(Thing.name)).all() == ["outer", "inner"]
        connection.rollback()
    assert names(engine, Thing) == []


def test_a_session_without_bind_says_so() -> None:
    with Session() as session, pytest.raises(exc.UnboundExecutionError):
        fastbulk.insert(session, thing(), [{"name": "a"}])


def test_a_closed_session_says_so(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    session = Session(engine, close_resets_only=False)
    session.close()
    with pytest.raises(exc.InvalidRequestError, match="closed"):
        fastbulk.insert(session, Thing, [{"name": "a"}])


def test_a_closed_connection_says_so(engine: Engine) -> None:
    Thing = thing()
    connection = engine.connect()
    connection.close()
    with pytest.raises(exc.ResourceClosedError):
        fastbulk.insert(connection, Thing, [{"name": "a"}])


def test_a_session_whose_flush_failed_says_so(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    session.commit()
    session.add_all([Thing(id=1), Thing(id=1)])
    with pytest.raises(exc.IntegrityError):
        session.flush()
    with pytest.raises(exc.InvalidRequestError, match="rolled back"):
        fastbulk.insert(session, Thing, [{"name": "a"}])


def test_a_sharded_session_is_refused(engine: Engine) -> None:
    Thing = thing()
    session = ShardedSession(
        shards={"a": engine},
        shard_chooser=lambda *_, **__: "a",
        identity_chooser=lambda *_, **__: ["a"],
        execute_chooser=lambda *_: ["a"],
    )
    with pytest.raises(NotImplementedError, match="sharded"):
        fastbulk.insert(session, Thing, [{"name": "a"}])


@pytest.mark.parametrize("target", [None, "sqlite://", object(), Session, 7])
def test_what_is_no_target(target: Any) -> None:
    with pytest.raises(exc.ArgumentError, match="Session"):
        fastbulk.insert(target, thing(), [{"name": "a"}])


def test_a_sessionmaker_is_no_target(engine: Engine) -> None:
    target: Any = sessionmaker(engine)
    with pytest.raises(exc.ArgumentError, match="call it"):
        fastbulk.insert(target, thing(), [{"name": "a"}])


def test_an_async_session_is_no_target() -> None:
    target: Any = AsyncSession()
    with pytest.raises(exc.ArgumentError, match=r"fastbulk\.aio"):
        fastbulk.insert(target, thing(), [{"name": "a"}])


@pytest.mark.parametrize("what", [None, "thing", int, object(), thing, thing().__table__])
def test_what_is_no_mapped_class(session: Session, what: Any) -> None:
    with pytest.raises(exc.ArgumentError, match="mapped class"):
        fastbulk.insert(session, what, [{"name": "a"}])


def test_a_mapping_to_a_join_says_so(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class A(Base):
        __tablename__ = "a"
        id = Column(Integer, primary_key=True)

    class B(Base):
        __tablename__ = "b"
        id = Column(Integer, primary_key=True)

    class Both(Base):
        __table__ = A.__table__.join(B.__table__, A.id == B.id)
        id = column_property(A.__table__.c.id, B.__table__.c.id)

    Base.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError, match=r"Both.*join"):
        fastbulk.insert(session, Both, [{"id": 1}])


def test_a_mapping_to_a_select_says_so(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class View(Base):
        __table__ = text("SELECT 1 AS id").columns(Column("id", Integer)).subquery("view")
        __mapper_args__ = {"primary_key": [__table__.c.id]}

    with pytest.raises(exc.ArgumentError, match="View is mapped to a subquery"):
        fastbulk.insert(session, View, [{"id": 1}])


@pytest.mark.only("sqlite")
def test_engine_events_see_the_statement(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    seen = []
    event.listen(engine, "before_cursor_execute", lambda c, cursor, sql, *_: seen.append(sql))
    fastbulk.insert(engine, Thing, [{"name": "a"}])
    assert seen[-1].startswith("INSERT INTO thing")
