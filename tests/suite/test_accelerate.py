"""SQLAlchemy's own bulk calls, with and without acceleration: nothing differs but the clock."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import functools
import itertools
import logging
import re
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from sqlalchemy import (
    JSON,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    Numeric,
    String,
    bindparam,
    create_engine,
    event,
    exc,
    func,
    insert,
    inspect,
    literal,
    null,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import (
    Session,
    column_property,
    composite,
    declarative_base,
    load_only,
    mapped_column,
    scoped_session,
    sessionmaker,
    synonym,
)
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.types import TypeDecorator

import fastbulk
from conftest import FEW
from fastbulk.accelerated import left
from oracle import model, with_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from oracle import Oracle, WithTables


@pytest.fixture(autouse=True)
def from_zero() -> Iterator[None]:
    fastbulk.accelerated.reset()
    yield
    assert not fastbulk.accelerated.hooks._handles


def outcome(engine: Engine, contents: Any, work: Callable[[Session], Any]) -> list[Any]:
    """What a program can see of some work: what came back or was raised, what stands in the table
    before anything is undone, and after the commit.
    """
    seen: list[Any] = []
    with Session(engine) as session:
        try:
            seen.append(work(session))
        except Exception as error:
            seen.append(told(error))
        try:
            seen.append(contents(session.connection()))
            session.commit()
        except exc.SQLAlchemyError as error:
            seen.append(type(error))
    with engine.connect() as connection:
        seen.append(contents(connection))
    return seen


def told(error: BaseException) -> Any:
    """What an exception says."""
    orig = getattr(error, "orig", None)
    return (
        type(error),
        type(orig),
        str(error).replace("fastbulk_ours", "fastbulk_theirs"),
        getattr(error, "statement", None),
        repr(getattr(error, "params", None)),
        getattr(error, "ismulti", None),
    )


def alike(databases: Oracle, work: Callable[[Session], Any], *kinds: str) -> Any:
    """Does the same with and without acceleration; `kinds` are what was taken."""
    theirs = outcome(databases.theirs, databases.backend.contents, work)
    with fastbulk.accelerate(databases.ours) as accelerated:
        ours = outcome(databases.ours, databases.backend.contents, work)
    assert ours == theirs
    stats = accelerated.stats()
    assert list(stats["taken"]) == list(kinds), stats
    return ours[0]


def rows_of(result: Any) -> list[Any]:
    return [
        type(result).__name__,
        list(result.keys()),
        *(tuple(map(with_type, row)) for row in result.all()),
    ]


NAMES = [{"name": f"n{i}", "count": i} for i in range(120)]


def thing(**more: Any) -> Any:
    columns = {"name": mapped_column(String(30)), "count": mapped_column(Integer)}
    return model(**{**columns, **more})


def returns(databases: Oracle, kind: str) -> tuple[str, ...]:
    """What is taken where rows are to come back, which SQLAlchemy refuses on MySQL."""
    return (kind,) if databases.ours.dialect.insert_executemany_returning else ()


@pytest.mark.sync
@pytest.mark.parametrize("count", [1, 2, 120])
def test_rows_are_inserted(oracle: WithTables, count: int) -> None:
    Thing = thing()

    def work(session: Session) -> Any:
        result: Any = session.execute(insert(Thing), NAMES[:count])
        with pytest.raises(exc.ResourceClosedError) as caught:
            result.all()
        return type(result), hasattr(result, "rowcount"), str(caught.value)

    alike(oracle(Thing), work, "insert")


@pytest.mark.sync
@pytest.mark.parametrize("count", [1, 120])
@pytest.mark.parametrize("ordered", [False, True])
def test_returned_rows(oracle: WithTables, count: int, ordered: bool) -> None:
    Thing = thing(shown=column_property(select(text("1")).scalar_subquery()))
    databases = oracle(Thing)

    def work(session: Session) -> Any:
        def some(*entities: Any, **options: Any) -> Any:
            statement = insert(Thing).returning(*entities, sort_by_parameter_order=ordered)
            result = session.execute(statement, NAMES[:count], execution_options=options)
            assert not hasattr(result, "rowcount")
            return rows_of(result)

        seen = [some(Thing.id), some(Thing.name.label("n"), Thing.id + 1), some(Thing)]
        held = session.scalars(select(Thing)).all()
        seen.append(some(Thing, func.coalesce(Thing.name, "?")))
        session.expire_all()
        return [*seen, len(held)]

    alike(databases, work, *returns(databases, "insert returning"))


@pytest.mark.sync
def test_options_and_objects_that_are_there(oracle: WithTables) -> None:
    Thing = thing()
    databases = oracle(Thing)

    def work(session: Session) -> Any:
        statement = insert(Thing).returning(Thing).options(load_only(Thing.name))
        objects = session.scalars(statement, NAMES[:3]).all()
        seen = [with_type(one) for one in objects]
        keys = [one.id for one in objects]
        session.execute(Thing.__table__.delete())
        # The objects are there, with their old values.
        given = [{"id": key, "name": "new", "count": 5} for key in keys]
        again = session.scalars(insert(Thing).returning(Thing), given).all()
        seen += [one is other for one, other in zip(objects, again, strict=True)]
        seen += [one.name for one in objects]
        session.execute(Thing.__table__.delete())
        session.scalars(
            insert(Thing).returning(Thing), given, execution_options={"populate_existing": True}
        ).all()
        return [*seen, *(one.name for one in objects)]

    alike(databases, work, *returns(databases, "insert returning"))


class Upper(TypeDecorator[str]):
    impl = String(30)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value if value is None else value.upper()

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value if value is None else f"<{value}>"


class Pair:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __composite_values__(self) -> tuple[int, int]:
        return self.x, self.y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]


def names(parameters: dict[str, Any]) -> list[str]:
    """The columns; SQLAlchemy has parameters of SQL expressions among them."""
    return sorted(name for name in parameters if not name.endswith("_1"))


def manifold() -> Any:
    """A class with most of what a mapping can say of a column."""
    numbers = itertools.count()
    x, y = mapped_column(Integer), mapped_column(Integer)
    return model(
        name=mapped_column("nm", String(30), default="unnamed"),
        called=synonym("name"),
        number=mapped_column(Integer, default=lambda: next(numbers) % 1000),
        noted=mapped_column(String(99), default=lambda c: repr(names(c.current_parameters))),
        upper=mapped_column(Upper()),
        told=mapped_column(String(30), server_default="told"),
        lowered=mapped_column(String(30), default=func.lower("LOW")),
        data=mapped_column(JSON),
        nulled=mapped_column(JSON(none_as_null=True)),
        precise=mapped_column(Numeric(10, 2)),
        moment=mapped_column(DateTime),
        x=x,
        y=y,
        at=composite(Pair, x, y),
    )


ROWS: list[dict[str, Any]] = [
    {"name": "a", "upper": "b", "told": "c", "data": {"k": [1]}, "nulled": [], "lowered": "d"},
    {"name": None, "upper": None, "told": None, "data": None, "nulled": None},
    {"called": "synonym", "unknown": 1, "nm": "no attribute", "_sa": 2},
    {},
    {"precise": decimal.Decimal("1.25"), "moment": datetime.datetime(2020, 1, 2, 3, 4, 5)},
    {"at": Pair(1, 2)},
    {"x": 3, "precise": 7},
    {"number": 5, "noted": "given"},
]


@pytest.mark.sync
@pytest.mark.parametrize("render_nulls", [False, True])
def test_values_and_keys(oracle: WithTables, render_nulls: bool) -> None:
    mapped: dict[Any, Any] = {}

    def work(session: Session) -> Any:
        Thing = mapped[session.get_bind()]
        given = [dict(row) for row in ROWS]
        options = {"render_nulls": render_nulls}
        session.execute(insert(Thing), given, execution_options=options)
        some: Any = iter(given)
        session.execute(insert(Thing).execution_options(**options), some)
        session.execute(insert(Thing), given[4])
        assert given == ROWS
        session.bulk_insert_mappings(Thing, given, render_nulls=render_nulls)
        session.bulk_insert_mappings(Thing, iter(given), render_nulls=render_nulls)
        objects = [Thing(**{"name": f"o{i}", "x": i, "y": 2}) for i in range(3)]
        session.bulk_save_objects(objects)
        return [object.id for object in objects]

    # Counters start anew for each side.
    theirs, ours = manifold(), manifold()
    databases = oracle(theirs)
    mapped |= {databases.ours: ours, databases.theirs: theirs}
    alike(databases, work, "insert", "bulk_insert_mappings", "bulk_save_objects")


@pytest.mark.sync
def test_what_fails_fails_as_ever(oracle: WithTables) -> None:
    """The exception, what stays in the table and the state of the transaction are SQLAlchemy's."""
    Thing = thing(name=mapped_column(String(30), nullable=False), moment=mapped_column(DateTime))
    databases = oracle(Thing)
    good = [{"id": i, "name": "n"} for i in range(1, 61)]

    def refused(rows: Any, *entities: Any) -> None:
        def work(session: Session) -> Any:
            statement = insert(Thing).returning(*entities) if entities else insert(Thing)
            return (
                rows_of(session.execute(statement, rows))
                if entities
                else session.execute(statement, rows)
            )

        failed = alike(databases, work)
        assert issubclass(failed[0], Exception)
        databases.execute("DELETE FROM thing")

    refused([*good, {"id": 3, "name": "again"}])
    refused([*good, {"id": 70, "name": None}])
    refused([{"name": "n", "moment": "no moment"}])
    refused([("n", 1)])
    refused([{"name": "n", "moment": object()}])
    if databases.ours.dialect.name not in {"mysql", "mariadb"}:  # they store its text
        refused([{"name": null()}])
    refused([*good, {"id": 3, "name": "again"}], Thing.id)
    refused([*good, {"id": 70, "name": None}], Thing)
    refused(good, text("*"))


@pytest.mark.sync
@pytest.mark.only("mysql", "mariadb")
def test_what_stays_in_a_table_without_transactions_is_not_sent_again(oracle: WithTables) -> None:
    databases = oracle(Thing := thing())
    databases.execute("ALTER TABLE thing ENGINE=MyISAM, ADD UNIQUE (count)")
    rows: list[dict[str, Any]] = [
        {"name": "a"},
        {"name": "b", "count": 1},
        {"name": "c", "count": 1},
    ]
    theirs = outcome(databases.theirs, databases.backend.contents, inserting(Thing, rows))
    with fastbulk.accelerate(databases.ours):
        ours = outcome(databases.ours, databases.backend.contents, inserting(Thing, rows))
    assert issubclass(ours[0][0], exc.IntegrityError)
    assert ours[0][:2] == theirs[0][:2]
    assert ours[1:] == theirs[1:]


def inserting(Thing: Any, rows: list[dict[str, Any]]) -> Callable[[Session], Any]:
    return lambda session: session.execute(insert(Thing), rows)


@pytest.mark.sync
def test_targets(oracle: WithTables) -> None:
    Thing = thing()
    engine = oracle(Thing).ours

    class Mine(Session):
        pass

    maker = sessionmaker(engine)
    scoped = scoped_session(sessionmaker(engine))
    session = Session(engine)
    connection = engine.connect()

    def taken(target: Any, session: Any) -> int:
        with fastbulk.accelerate(target) as accelerated, session:
            session.execute(insert(Thing), NAMES[:2])
            session.commit()
        return sum(accelerated.stats()["taken"].values())

    assert taken(None, Session(engine))
    assert taken(Session, Mine(engine))
    assert taken(Mine, Mine(engine))
    assert not taken(Mine, Session(engine))
    assert taken(maker, maker())
    assert not taken(maker, Session(engine))
    assert taken(scoped, scoped())
    factory: Any = lambda: Session(engine)  # noqa: E731
    other: Any = scoped_session(factory)
    assert taken(other, other())
    assert not taken(scoped, maker())
    assert taken(session, session)
    assert not taken(session, Session(engine))
    assert taken(engine, Session(engine.execution_options(logging_token="other")))
    assert taken(connection, Session(connection))
    assert not taken(connection, Session(engine))
    scoped.remove()
    other.remove()
    connection.close()
    with pytest.raises(exc.ArgumentError, match="got 3"):
        fastbulk.accelerate(3)


def test_what_was_taken_is_counted(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    from sqlalchemy import create_engine

    Thing = thing()
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    Thing.metadata.create_all(engine)
    caplog.set_level(logging.INFO, "fastbulk")
    accelerated = fastbulk.accelerate(engine)
    try:
        with Session(engine) as session:
            session.execute(insert(Thing), NAMES)
            session.execute(insert(Thing), NAMES)
            for _ in range(2):
                with pytest.raises(exc.IntegrityError), session.begin_nested():
                    session.execute(insert(Thing), [{"id": 1}])
    finally:
        accelerated.remove()
    accelerated.remove()
    expected = {"taken": {"insert": 2}, "fallen_through": {"the call fails": 2}}
    assert accelerated.stats() == fastbulk.accelerated.stats() == expected
    (line,) = caplog.messages
    assert line.startswith("insert falls through to SQLAlchemy: the call fails: UNIQUE constraint")
    with Session(engine) as session:
        session.execute(insert(Thing), NAMES)
    assert accelerated.stats() == expected
    fastbulk.accelerated.reset()
    assert fastbulk.accelerated.stats() == {"taken": {}, "fallen_through": {}}


@pytest.mark.parametrize("rows", [99, 100])
def test_few_rows_are_left_where_sqlalchemy_prepares_the_statements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(left, "FEW", FEW)
    Thing = thing()
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    Thing.metadata.create_all(engine)
    given = [{"name": str(i)} for i in range(rows)]
    with fastbulk.accelerate(engine) as accelerated, Session(engine) as session:
        session.execute(insert(Thing), NAMES)
        session.connection().execute(Thing.__table__.insert(), given)
        event.listen(engine, "before_cursor_execute", lambda *_: None)
        session.execute(insert(Thing), given)
        stats = accelerated.stats()
    assert stats["fallen_through"] == ({"few rows": 2} if rows < FEW else {})
    assert sum(stats["taken"].values()) == (1 if rows < FEW else 3)


def changed(session: Session, Thing: Any, rows: Any) -> None:
    """By each of the ways that update rows by their keys."""
    session.execute(update(Thing), rows)
    session.bulk_update_mappings(Thing, iter(rows))


def test_rows_are_updated(oracle: WithTables) -> None:
    mapped: dict[Any, Any] = {}

    def work(session: Session) -> Any:
        Thing = mapped[session.get_bind()]
        session.execute(insert(Thing).execution_options(dml_strategy="raw"), before)
        held = session.scalars(select(Thing).order_by(Thing.id)).all()
        changed(session, Thing, [dict(row) for row in after])
        changed(session, Thing, [{**row, "x": i} for i, row in enumerate(before)])
        seen = [with_type(one) for one in held]
        for one in held:
            session.refresh(one)
        held[0].name, held[1].x = "by its attribute", 99
        session.bulk_save_objects([held[0]], update_changed_only=False)
        session.bulk_save_objects(held)
        session.expunge_all()
        return seen

    before = [{"id": i, "nm": f"n{i}", "x": i, "told": "t"} for i in range(1, 70)]
    after = [{"id": i + 1, **row} for i, row in enumerate(ROWS)]
    after += [{"id": 20, "name": "first"}, {"id": 20, "x": 1}, {"id": 20, "name": "last"}]
    after += [{"id": 21}, {"id": 22, "unknown": 1}]
    theirs, ours = manifold(), manifold()
    databases = oracle(theirs)
    mapped |= {databases.ours: ours, databases.theirs: theirs}
    raw = "insert into a table, of rows that SQLAlchemy made"
    alike(databases, work, raw, "update", "bulk_update_mappings", "bulk_save_objects")


def inserted(session: Session, statement: Any, rows: Any) -> list[Any]:
    """What a program may ask of the result of a Core insert."""
    result: Any = session.connection().execute(statement, rows)
    seen = [
        type(result),
        result.rowcount,
        result.returns_rows,
        result.is_insert,
        result.closed,
        result.context.compiled_parameters,
        result.context.executemany,
    ]
    seen += [result.inserted_primary_key_rows, result.last_inserted_params()]
    with pytest.raises(exc.ResourceClosedError) as caught:
        result.all()
    return [*seen, str(caught.value)]


def test_rows_of_a_table(oracle: WithTables) -> None:
    Thing = thing(
        key=mapped_column("k", String(9), default="k"),
        data=mapped_column(JSON),
        low=mapped_column(String(9), default=func.lower("LOW")),
    )
    table = Thing.__table__
    databases = oracle(Thing)

    def work(session: Session) -> Any:
        rows = [dict(row) for row in NAMES]
        seen = [inserted(session, table.insert(), rows)]
        seen.append(inserted(session, insert(Thing), NAMES[:2]))
        ragged = [{"name": "a", "data": None}, {"name": None, "data": [1], "count": 4}]
        seen.append(inserted(session, table.insert(), ragged))
        seen.append(inserted(session, table.insert(), [{"id": 900 + i} for i in range(3)]))
        seen.append(inserted(session, table.insert(), [{"nm": 1}, {"nm": 2}]))
        with pytest.raises(exc.SQLAlchemyError) as caught:
            inserted(session, table.insert(), [{"name": "a"}, {"count": 3}])
        seen.append(told(caught.value))
        assert rows == NAMES
        return [*seen, inserted(session, table.insert(), [{"id": 1}, {"id": 1}])]

    pages = databases.ours.dialect.use_insertmanyvalues_wo_returning
    kind = "insert into a table" + (", of rows that SQLAlchemy made" if pages else "")
    alike(databases, work, kind)


def test_what_a_statement_says_of_every_row(oracle: WithTables) -> None:
    Thing = thing(
        at=mapped_column(Integer, default=7), low=mapped_column(String(30)), q=mapped_column(JSON)
    )
    databases = oracle(Thing)
    rows: list[dict[str, Any]] = [*NAMES[:60], {"at": 3, "low": None}, {"low": "given"}]

    def work(session: Session) -> None:
        session.execute(insert(Thing).values(at=5, low=func.lower("UP")), rows)
        session.execute(insert(Thing).values({Thing.low: "fixed", "q": [1]}), rows)
        session.execute(insert(Thing).values(low=None, at=func.length("abc")), rows[:2])

    alike(databases, work, "insert")


def test_parameters_and_expressions_of_values(oracle: WithTables) -> None:
    Thing = thing(total=mapped_column(Integer), data=mapped_column(JSON))
    table = Thing.__table__
    databases = oracle(Thing)
    returns_rows = databases.ours.dialect.insert_executemany_returning
    rows = [{"name": f"n{i}", "q": i, "r": 2} for i in range(40)]
    q = bindparam("q", type_=Integer)
    tripled = literal(3) * (q + 15)

    def work(session: Session) -> Any:
        for statement in (insert(Thing), table.insert()):
            execute = (
                session.execute if statement.table is not table else session.connection().execute
            )
            for value in (bindparam("q"), tripled, func.abs(q), q + bindparam("r", type_=Integer)):
                execute(statement.values(total=value), rows)
            execute(statement.values(total=tripled, count=5, name=func.upper("all")), rows[:2])
            execute(statement.values(data=[1], total=q), rows[:1])
        session.execute(insert(Thing).values(data=None), rows[:2])
        if not returns_rows:
            return None
        return rows_of(session.execute(insert(Thing).values(total=tripled).returning(Thing), rows))

    kinds = ["insert", "insert into a table", *["insert returning"] * returns_rows]
    alike(databases, work, *(f"{kind}, of rows that SQLAlchemy made" for kind in kinds))


def test_statements_that_differ_by_a_value_share_no_plan(oracle: WithTables) -> None:
    Thing = thing(price=mapped_column(Numeric(10, 3)), low=mapped_column(String(30)))
    databases = oracle(Thing)
    returns_rows = databases.ours.dialect.insert_executemany_returning
    values: list[Any] = ["a", "b", None, decimal.Decimal("1.0"), decimal.Decimal("1.00"), 1]

    def work(session: Session) -> Any:
        seen: list[Any] = []
        session.execute(insert(Thing), NAMES[:10])
        for number, value in enumerate([*values, *values]):
            key = "low" if isinstance(value, str) else "price"
            session.execute(insert(Thing).values({key: value}), NAMES[:3])
            changed = update(Thing).where(Thing.id > number).values(low=func.upper(str(value)))
            rows = [{"id": i, "count": number} for i in range(1, 9)]
            session.execute(changed, rows, execution_options={"synchronize_session": None})
            if returns_rows:
                back = insert(Thing).returning(Thing.id + number, Thing.name)
                seen += rows_of(session.execute(back, NAMES[:2]))
        return seen

    kinds = ["insert", "update", *["insert returning"] * returns_rows]
    alike(databases, work, *kinds)


def test_what_an_update_says_of_every_row(oracle: WithTables) -> None:
    Thing = thing(total=mapped_column(Integer), at=mapped_column(Integer, onupdate=9))
    rows = [{"id": i, "total": i * 2} for i in range(1, 50)]

    def work(session: Session) -> Any:
        session.execute(insert(Thing), NAMES[:60])
        held = session.scalars(select(Thing).order_by(Thing.id)).all()
        said: list[dict[Any, Any]] = [
            {"name": "all", "count": Thing.count + 5},
            {Thing.name: func.upper(Thing.name)},
            {"name": None, "at": 3},
            {"count": bindparam("total")},
            {"total": 1},
            {"count": select(func.length("abc")).scalar_subquery()},
        ]
        for values in said:
            session.execute(update(Thing).values(values), rows)
        with pytest.raises(StaleDataError) as caught:
            session.execute(update(Thing).values(name="x"), [{"id": 1}, {"id": 999}])
        return [*map(with_type, held), str(caught.value)]

    alike(oracle(Thing), work, "insert", "update")


def upserting(databases: Oracle, Thing: Any, *, nothing: bool = False, **said: Any) -> Any:
    """The dialect's own upsert by the primary key, or None."""
    name = databases.ours.dialect.name
    if name in {"mysql", "mariadb"}:
        from sqlalchemy.dialects import mysql

        made = mysql.insert(Thing)
        if nothing:
            return made.on_duplicate_key_update(id=Thing.__table__.c.id)
        return made.on_duplicate_key_update(
            [
                ("name", func.upper(made.inserted.name)),
                ("count", Thing.__table__.c.count + made.inserted.count),
                *said.items(),
            ]
        )
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = sqlite if name == "sqlite" else postgresql
    upsert = dialect.insert(Thing)
    if nothing:
        return upsert.on_conflict_do_nothing()
    return upsert.on_conflict_do_update(
        index_elements=[Thing.id],
        set_={"name": func.upper(upsert.excluded.name), "count": Thing.count + 1, "at": 3},
        where=Thing.id != 5,
    )


@pytest.mark.parametrize("count", [3, 70])
@pytest.mark.parametrize("nothing", [False, True])
def test_upserts(oracle: WithTables, count: int, nothing: bool) -> None:
    Thing = thing(at=mapped_column(Integer, default=7, server_default="8"))
    databases = oracle(Thing)
    upsert = upserting(databases, Thing, nothing=nothing)
    rows = [{"id": i, "name": f"new{i}", "count": i} for i in range(1, count)]

    def work(session: Session) -> Any:
        session.execute(insert(Thing), NAMES[: count // 2])
        session.execute(upsert, rows)
        # The same key twice is for some databases an error.
        session.execute(upsert, [{"id": 900, "name": "a"}, {"id": 900, "name": "b", "at": None}])
        if not databases.ours.dialect.insert_executemany_returning or nothing:
            return None
        others = [row for row in rows if row["id"] != 5]
        found = rows_of(session.execute(upsert.returning(Thing), others))
        if databases.ours.dialect.name == "mariadb":
            raised = upserting(databases, Thing, at=3).returning(Thing.id, Thing.at)
            found += rows_of(session.execute(raised, others))
        if databases.ours.dialect.name == "sqlite":
            ordered = upsert.returning(Thing.id, Thing.name, sort_by_parameter_order=True)
            found += [session.execute(ordered, others[::-1]).all()]
        return sorted(map(str, found))

    kinds = ["insert"]
    if databases.ours.dialect.insert_executemany_returning and not nothing:
        kinds.append("insert returning")
    alike(databases, work, *kinds)


def animals() -> Any:
    """Joined inheritance, with rows that come back from both tables."""
    Base = declarative_base()

    class Animal(Base):  # type: ignore[valid-type, misc]
        __tablename__ = "animal"
        id = mapped_column(Integer, primary_key=True)
        kind = mapped_column(String(9))
        name = mapped_column(String(30), server_default="?")
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "animal"}

    class Dog(Animal):
        __tablename__ = "dog"
        id = mapped_column(ForeignKey("animal.id"), primary_key=True)
        legs = mapped_column(Integer, default=4)
        __mapper_args__ = {"polymorphic_identity": "dog"}

    return Dog


def test_rows_in_several_tables(oracle: WithTables) -> None:
    Dog = animals()
    databases = oracle(Dog)
    returns_rows = databases.ours.dialect.insert_executemany_returning_sort_by_parameter_order
    rows = [{"name": f"n{i}"} for i in range(60)]

    def work(session: Session) -> Any:
        seen: list[Any] = []
        session.execute(insert(Dog), [dict(row) for row in rows])
        given = [dict(row) for row in rows]
        session.bulk_insert_mappings(Dog, given, return_defaults=True)
        seen.append(given)
        objects = [Dog(name="o"), Dog(legs=3), Dog(), Dog()]
        session.bulk_save_objects(objects, return_defaults=True)
        seen += [(one.id, one.legs, inspect(one).detached) for one in objects]
        if returns_rows:
            for ordered in (True, False):
                what = insert(Dog).returning(
                    Dog, func.abs(Dog.legs), sort_by_parameter_order=ordered
                )
                found = rows_of(session.execute(what, rows))
                seen += found if ordered else sorted(map(str, found))
        return seen

    # On MySQL SQLAlchemy sends the rows of the first table one by one.
    by_row = not databases.ours.dialect.insert_executemany_returning
    kinds = () if by_row else ("insert", "bulk_insert_mappings", "bulk_save_objects")
    prepared = [f"{kind}, of rows that SQLAlchemy made" for kind in kinds]
    if returns_rows:
        prepared += ["insert returning, of rows that SQLAlchemy made"]
    alike(databases, work, *prepared)


def test_keys_that_are_asked_before_the_rows_are_sent(oracle: WithTables) -> None:
    Thing = thing()
    Thing.__table__.implicit_returning = False
    databases = oracle(Thing)

    def work(session: Session) -> Any:
        said = Thing.__table__.insert().return_defaults()
        result = session.connection().execute(said, NAMES)
        return [result.returns_rows, result.inserted_primary_key_rows]

    theirs = outcome(databases.theirs, databases.backend.contents, work)
    with fastbulk.accelerate(databases.ours):
        assert outcome(databases.ours, databases.backend.contents, work) == theirs


def test_rows_that_a_table_gives_back(oracle: WithTables) -> None:
    Thing = thing(low=mapped_column(String(9), server_default="low"), data=mapped_column(JSON))
    table = Thing.__table__
    databases = oracle(Thing)
    rows = [{**row, "data": [row["count"]]} for row in NAMES]

    def work(session: Session) -> Any:
        seen: list[Any] = []
        connection = session.connection()
        for ordered in (False, True):
            what = table.insert().returning(
                table, func.upper(table.c.name), sort_by_parameter_order=ordered
            )
            seen.append(rows_of(connection.execute(what, rows)))
            result = connection.execute(
                table.insert().return_defaults(table.c.low, sort_by_parameter_order=ordered), rows
            )
            seen += [result.inserted_primary_key_rows, result.returned_defaults_rows]
        return seen

    kind = "insert into a table"
    alike(databases, work, *returns(databases, kind))


@pytest.mark.only("mysql", "mariadb")
def test_the_server_bends_values_as_silently(oracle: WithTables) -> None:
    Thing = thing()

    def work(session: Session) -> None:
        session.execute(text("SET sql_mode = ''"))
        session.execute(insert(Thing), [{"id": 1, "name": "x" * 40}, {"id": 2, "count": 2**40}])
        session.execute(update(Thing), [{"id": 1, "name": "y" * 40}, {"id": 2, "count": 2**50}])

    alike(oracle(Thing), work, "insert", "update")


class Ear:
    """Hears all that SQLAlchemy tells of statements, as instrumentation does."""

    def __init__(self, engine: Engine, changes: bool = False) -> None:
        self.heard: list[Any] = []
        listen = functools.partial(event.listens_for, engine)

        @listen("before_execute", retval=True)
        def before(connection: Any, clause: Any, multi: Any, one: Any, options: Any) -> Any:
            self.hear(str(clause), multi, one, sorted(options))
            return clause, multi, one

        @listen("before_cursor_execute", retval=True)
        def before_cursor(
            connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
        ) -> Any:
            context.span = len(self.heard)
            self.hear(sql, repr(parameters), many)
            return f"{sql} -- changed" if changes else sql, parameters

        @listen("after_cursor_execute")
        def after_cursor(
            connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
        ) -> None:
            self.hear(sql, repr(parameters), many, context.span)

        @listen("after_execute")
        def after(
            connection: Any, clause: Any, multi: Any, one: Any, options: Any, result: Any
        ) -> None:
            self.hear(str(clause), multi, one, result.rowcount)

        @listen("handle_error")
        def handle(context: Any) -> None:
            self.hear(told(context.sqlalchemy_exception), context.is_disconnect, context.statement)

    def hear(self, *what: Any) -> None:
        """What differs by the name of the database only is the same."""
        self.heard.append(repr(what).replace("fastbulk_ours", "fastbulk_theirs"))


@pytest.mark.parametrize("changes", [False, True])
def test_listeners_hear_what_they_always_heard(oracle: WithTables, changes: bool) -> None:
    numbers = itertools.count()
    Thing = thing(number=mapped_column(Integer, default=lambda: next(numbers) % 62))
    databases = oracle(Thing)
    returning = databases.ours.dialect.insert_executemany_returning

    def work(session: Session) -> Any:
        nonlocal numbers
        numbers = itertools.count()
        session.execute(insert(Thing), NAMES[:62])
        session.connection().execute(Thing.__table__.insert(), NAMES[:3])
        session.bulk_insert_mappings(Thing, [{"name": "a"}, {"name": "b"}, {"count": 1}])
        session.execute(update(Thing), [{"id": i, "count": i} for i in range(1, 9)])
        session.bulk_update_mappings(Thing, [{"id": 1, "name": "y"}, {"id": 2, "count": 5}])
        seen = []
        if returning:
            seen = rows_of(session.execute(insert(Thing).returning(Thing.id, Thing), NAMES[:5]))
            seen += session.scalars(
                insert(Thing).returning(Thing.name, sort_by_parameter_order=True),
                NAMES[:1100],
                execution_options={"insertmanyvalues_page_size": 50},
            ).all()
        try:
            with session.begin_nested():
                session.execute(update(Thing), [{"id": 1, "name": "z"}, {"id": 12345, "name": "z"}])
        except StaleDataError as error:
            seen.append(str(error))
        session.execute(insert(Thing), [{"id": 9000}, {"id": 9001}, {"id": 9000}])
        return seen

    ear = Ear(databases.theirs, changes)
    theirs = outcome(databases.theirs, databases.backend.contents, work)
    ours_ear = Ear(databases.ours, changes)
    with fastbulk.accelerate(databases.ours) as accelerated:
        ours = outcome(databases.ours, databases.backend.contents, work)
    assert ours == theirs
    assert ours_ear.heard == ear.heard
    stats = accelerated.stats()
    if changes:
        assert not stats["taken"]
        assert "a listener changed the statement" in stats["fallen_through"]
    else:
        assert "insert, of rows that SQLAlchemy made" in stats["taken"], stats
        assert "update, of rows that SQLAlchemy made" in stats["taken"], stats


@pytest.mark.only("psycopg", "psycopg2", "mariadb-mysqldb", "mysql-pymysql")
@pytest.mark.parametrize("listens", [False, True])
def test_a_connection_that_is_lost(oracle: WithTables, listens: bool) -> None:
    Thing = thing()
    databases = oracle(Thing)
    number, kill = "SELECT connection_id()", "KILL {}"
    if databases.ours.dialect.name == "postgresql":
        number, kill = "SELECT pg_backend_pid()", "SELECT pg_terminate_backend({}, 5000)"

    def lost(engine: Engine) -> list[Any]:
        heard: list[Any] = []
        if listens:
            event.listen(engine, "handle_error", lambda told: heard.append(told.is_disconnect))
        with Session(engine) as session:
            connection = session.connection()
            found = session.scalar(text(number))
            with engine.connect() as other:
                other.execute(text(kill.format(found)))
            with pytest.raises(exc.DBAPIError) as caught:
                session.execute(insert(Thing), NAMES)
            error = caught.value
            heard += [type(error), error.connection_invalidated]
            heard.append(connection.invalidated)
            session.rollback()
            session.execute(insert(Thing), NAMES)
            session.commit()
        pool: Any = engine.pool
        return [*heard, pool.checkedin(), pool.checkedout()]

    theirs = lost(databases.theirs)
    with fastbulk.accelerate(databases.ours) as accelerated:
        assert lost(databases.ours) == theirs
    assert sum(accelerated.stats()["taken"].values()) == 1


@pytest.mark.only("sqlite-file", "psycopg", "mysql-pymysql")
def test_what_is_listened_to_later_is_left_alone(oracle: WithTables) -> None:
    Thing = thing()
    databases = oracle(Thing)
    seen: list[Any] = []

    def listen(connection: Any) -> Any:
        event.listen(connection, "before_cursor_execute", lambda *_: None)
        return connection

    def fail(connection: Any) -> None:
        with connection, Session(listen(connection)) as session:
            try:
                session.execute(insert(Thing), [{"id": i} for i in (1000, 1001, 1000)])
            except exc.IntegrityError as error:
                seen.append(told(error))

    def do_executemany(*_: Any) -> None:
        seen.append("do_executemany")

    def work(session: Session) -> Any:
        engine: Any = session.get_bind()
        listen(session.connection())
        session.execute(insert(Thing), NAMES[:3])
        session.commit()
        fail(engine.connect().execution_options(isolation_level="AUTOCOMMIT"))
        event.listen(engine, "do_executemany", do_executemany)
        session.execute(insert(Thing), NAMES[:3])

    alike(databases, work, "insert, of rows that SQLAlchemy made")
    assert seen[:2] == seen[2:]
    assert seen[1] == "do_executemany"


def test_the_log_says_what_it_always_said(
    oracle: WithTables, caplog: pytest.LogCaptureFixture
) -> None:
    Thing = thing()
    logs: list[list[str]] = []

    def work(session: Session) -> Any:
        connection = session.connection()
        for hidden in (False, True):
            connection.engine.hide_parameters = hidden
            caplog.clear()
            with caplog.at_level(logging.INFO, "sqlalchemy.engine.Engine"):
                connection._echo = True
                session.execute(insert(Thing), NAMES[:12])
                connection.execute(Thing.__table__.insert(), NAMES[:12])
                session.execute(update(Thing), [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}])
                connection._echo = False
            lines = [record.getMessage() for record in caplog.records]
            # Compiled, or found in the cache, some time ago.
            logs.append([re.sub(r"^\[[^]]*s( ago)?\b", "", line) for line in lines])
        connection.engine.hide_parameters = False

    kinds = ("insert", "insert into a table", "update")
    alike(oracle(Thing), work, *(f"{kind}, of rows that SQLAlchemy made" for kind in kinds))
    assert logs[:2] == logs[2:]
    assert not any("hidden" in line for line in logs[0])
    assert any("hidden" in line for line in logs[1])


@pytest.mark.sync
def test_pandas_to_sql(oracle: WithTables) -> None:
    Thing = thing(at=mapped_column(DateTime), ratio=mapped_column(Float))
    frame = pd.DataFrame(
        {
            "name": [f"n{i}" for i in range(50)],
            "count": range(50),
            "at": pd.date_range("2024-02-28", periods=50),
            "ratio": [None, *(i / 8 for i in range(49))],
        }
    )

    def work(session: Session) -> Any:
        append: Any = {"if_exists": "append", "index": False}
        told = frame.to_sql("thing", session.connection(), **append)
        return told, frame[:2].to_sql("thing", session.connection(), chunksize=1, **append)

    databases = oracle(Thing)
    pages = databases.ours.dialect.use_insertmanyvalues_wo_returning
    alike(databases, work, "insert into a table" + ", of rows that SQLAlchemy made" * pages)


def test_asynchronous_sessions(tmp_path: Path) -> None:
    Thing = thing()

    class Sync(Session):
        pass

    class Async(AsyncSession):
        sync_session_class = Sync

    async def taken(target: Any, class_: type[AsyncSession]) -> Any:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(Thing.metadata.drop_all)
            await connection.run_sync(Thing.metadata.create_all)
        with fastbulk.accelerate(target) as accelerated:
            async with class_(engine) as session:
                made = await session.scalars(insert(Thing).returning(Thing), NAMES)
                assert [one.name for one in made] == [row["name"] for row in NAMES]
                await session.execute(update(Thing), [{"id": 1, "name": "x"}, {"id": 2}])
                await session.run_sync(lambda sync: sync.bulk_insert_mappings(Thing, NAMES[:3]))
                await session.commit()
                found = (await session.scalars(select(Thing.name).order_by(Thing.id))).all()
        await engine.dispose()
        assert found == ["x", *(row["name"] for row in [*NAMES[1:], *NAMES[:3]])]
        return accelerated.stats()["taken"]

    everything = {"insert returning": 1, "update": 1, "bulk_insert_mappings": 1}
    for target in (AsyncSession, Async, Sync, async_sessionmaker(class_=Async), None):
        assert asyncio.run(taken(target, Async)) == everything
    assert asyncio.run(taken(Async, AsyncSession)) == {}
    assert asyncio.run(taken(Sync, AsyncSession)) == {}


def several_databases(folder: Path) -> list[Any]:
    """What stands in each of three databases after sessions chose between them."""
    Thing, Other = thing(), thing()
    folder.mkdir()
    one, two, three = (create_engine(f"sqlite:///{folder / n}.db") for n in ("one", "two", "three"))
    for engine in (one, two, three):
        Thing.metadata.create_all(engine)

    class Routed(Session):
        def get_bind(self, mapper: Any = None, **arguments: Any) -> Any:
            return {Thing: one, Other: two}[mapper.class_]

    def choose(*_: Any, **more: Any) -> list[str]:
        return ["two"]

    sharded: Any = ShardedSession(
        shards={"one": one, "two": two},
        shard_chooser=lambda *_, **more: "two",
        identity_chooser=choose,
        execute_chooser=choose,
    )
    session: Session
    with Routed() as session:
        session.execute(insert(Thing), NAMES[:5])
        session.execute(insert(Other), NAMES[:7])
        session.bulk_insert_mappings(Other, NAMES[:2])
        session.commit()
    with Session(three) as session:
        session.execute(insert(Thing), NAMES[:3], bind_arguments={"bind": one})
        session.commit()
    with Session(binds={Thing: one, Other: three}) as session:
        session.execute(insert(Other).returning(Other.id), NAMES[:4]).all()
        session.execute(update(Thing), [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}])
        session.commit()
    with sharded as session:
        with pytest.raises(NotImplementedError, match="per-instance sharding"):
            session.execute(insert(Thing), NAMES[:2])
        with pytest.raises(NotImplementedError, match="per-instance sharding"):
            session.bulk_insert_mappings(Thing, NAMES[:2])
        session.rollback()
        session.add_all([Thing(name="a"), Thing(name="b")])
        session.commit()
    seen = []
    for engine in (one, two, three):
        with engine.connect() as connection:
            seen.append(connection.execute(select(Thing.__table__)).all())
        engine.dispose()
    return seen


def test_sessions_with_several_databases(tmp_path: Path) -> None:
    theirs = several_databases(tmp_path / "theirs")
    with fastbulk.accelerate() as accelerated:
        assert several_databases(tmp_path / "ours") == theirs
    taken = accelerated.stats()["taken"]
    assert taken == {"insert": 3, "bulk_insert_mappings": 1, "insert returning": 1, "update": 1}
