"""How a call travels, and why not faster."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Computed,
    Date,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    bindparam,
    event,
    exc,
    func,
    select,
)
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Session

import fastbulk
from fastbulk.errors import EncodingError, RangeError
from oracle import FORMS, LOADS_EXTENSIONS, error_of, model, place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from oracle import Form, Oracle


def thing() -> Any:
    return model(
        name=Column(String, default="d"),
        size=Column("the size", Integer),
        data=Column(JSON),
        day=Column(Date),
        server=Column(String, server_default="s"),
        called=Column(String, default=lambda: "c"),
        blob=Column(LargeBinary),
    )


@pytest.mark.only("sqlite")
def test_a_connection_with_the_function_goes_natively(session: Session) -> None:
    road = fastbulk.explain(session, thing())
    assert (road.name, road.backend, road.driver) == ("native", "sqlite", "pysqlite")
    assert road.refused == {}
    assert str(road.sql).startswith('INSERT INTO thing (id, name, "the size", data')


@pytest.mark.only("sqlite")
def test_explain_with_returning(session: Session) -> None:
    Thing = thing()
    road = fastbulk.explain(session, Thing, returning=[Thing.id, Thing.size])
    assert str(road.sql).endswith(' RETURNING id, "the size"')


@pytest.mark.only("sqlite")
def test_the_result_tells_the_road_that_was_explained(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    rows = [{"name": "a"}]
    result = fastbulk.insert(session, Thing, rows, returning=Thing.id)
    explained = fastbulk.explain(session, Thing, rows, returning=Thing.id)
    assert replace(result.road, statement=None) == explained
    assert result.road.statement == "INSERT..VALUES"
    assert 0 <= result.timing.extract <= result.timing.total
    assert result.timing.run >= 0


@pytest.mark.only("sqlite")
def test_a_road_reads_as_text(session: Session) -> None:
    text = str(fastbulk.explain(session, thing()))
    assert text.splitlines()[0] == "native on sqlite+pysqlite"
    assert "INSERT INTO thing" in text


def test_explain_reads_no_rows_and_sends_none(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    statements = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *a: statements.append(a))
    rows = iter([{"name": "a"}])
    fastbulk.explain(session, Thing, rows)
    assert next(rows) == {"name": "a"}
    # PostgreSQL's catalog is asked, within a savepoint that is undone.
    assert not any("INSERT" in sql or "COPY" in sql for _, _, sql, *_ in statements)


CLAUSE = "INSERT..VALUES ON DUPLICATE KEY UPDATE"
UNNEST = {
    "update": "UPDATE..FROM unnest",
    "upsert": "INSERT..SELECT FROM unnest ON CONFLICT",
    "delete": "DELETE..USING unnest",
}
#: Of 3 rows, and of 130 rows, by verb.
SENT = {
    "sqlite": [
        {"update": "UPDATE", "upsert": "INSERT..ON CONFLICT", "delete": "DELETE"},
        {"update": "UPDATE", "upsert": "INSERT..ON CONFLICT", "delete": "DELETE"},
    ],
    "postgresql": [
        {"update": "UPDATE", "upsert": "INSERT..VALUES ON CONFLICT", "delete": "DELETE"},
        UNNEST,
    ],
    "mysql": [
        {"update": "UPDATE..JOIN VALUES", "upsert": CLAUSE, "delete": "DELETE"},
        {"update": "UPDATE..JOIN VALUES", "upsert": CLAUSE, "delete": "DELETE..JOIN VALUES"},
    ],
}
SENT["mariadb"] = SENT["mysql"]


@pytest.mark.verb("update", "upsert", "delete")
@pytest.mark.parametrize("count", [3, 130])
def test_verbs_by_key_tell_their_statement(session: Session, count: int) -> None:
    Thing = model(name=Column(String(50)), size=Column(Integer))
    Thing.metadata.create_all(session.connection())
    dialect = session.get_bind().dialect
    few, many = SENT[dialect.name]
    sent = many if count > 100 else few
    rows = [{"id": i, "name": "a", "size": i} for i in range(1, count + 1)]
    for verb in ("upsert", "update", "delete"):
        result = getattr(fastbulk, verb)(session, Thing, rows)
        assert result.rowcount == count
        assert result.road.statement == sent[verb]
        assert fastbulk.explain(session, Thing, rows, verb=verb).statement == many[verb]
        assert getattr(fastbulk, verb)(session, Thing, []).road.statement is None


def test_explain_knows_no_other_verb(session: Session) -> None:
    verb: Any = "merge"
    with pytest.raises(exc.ArgumentError, match="verb"):
        fastbulk.explain(session, thing(), verb=verb)


def test_explain_tells_what_is_wrong_with_its_arguments(session: Session, engine: Engine) -> None:
    with pytest.raises(exc.ArgumentError, match="mapped class"):
        fastbulk.explain(session, int)
    target: Any = None
    with pytest.raises(exc.ArgumentError, match="Session"):
        fastbulk.explain(target, thing())
    with pytest.raises(exc.InvalidRequestError, match="needs a Session"):
        fastbulk.explain(engine, Thing := thing(), returning=Thing)


def test_several_tables_go_by_sqlalchemy(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parent"
        id = Column(Integer, primary_key=True)

    class Child(Parent):
        __tablename__ = "child"
        id = Column(ForeignKey(Parent.id), primary_key=True)

    road = fastbulk.explain(session, Child)
    assert road.name == "sqlalchemy"
    assert "Child is mapped to several tables (parent, child)" in road.refused["native"]


def test_a_default_without_literal_form_goes_by_sqlalchemy(session: Session) -> None:
    Thing = model(value=Column(JSON, default=func.json(bindparam("b", [1], type_=JSON))))
    road = fastbulk.explain(session, Thing)
    assert road.name == "sqlalchemy"
    assert "literal" in road.refused["native"]


ROWS = [
    {"name": "a", "size": 1, "data": [1], "blob": b"\0"},
    {"name": None, "size": None, "server": "given"},
    {},
    {"called": "given", "data": None},
    {"id": 40, "name": "b"},
]


def test_a_connection_without_the_function_goes_by_executemany(before_import: Oracle) -> None:
    Thing = thing()
    before_import.create(Thing)
    before_import.check(Thing, ROWS, road="executemany")
    road = fastbulk.explain(before_import.ours, Thing)
    assert "before fastbulk was imported" in road.refused["native"]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_rows_goes_by_executemany(before_import: Oracle, form: Form) -> None:
    Thing = thing()
    before_import.create(Thing)
    before_import.check(Thing, ROWS, form=form, road="executemany")


def test_rows_of_nothing_go_by_executemany(before_import: Oracle) -> None:
    Thing = model()
    before_import.create(Thing)
    before_import.check(Thing, [{}, {}, {"id": 5}, {}, {}], road="executemany")


def test_many_rows_go_by_executemany(before_import: Oracle) -> None:
    Thing = thing()
    before_import.create(Thing)
    rows = [{"name": str(i), "size": i if i % 3 else None} for i in range(45_000)]
    with before_import.ours.begin() as connection:
        result = fastbulk.insert(connection, Thing, iter(rows))
        assert result.rowcount == 45_000
        found = connection.execute(select(Thing.name, Thing.size)).all()
    assert found == [(row["name"], row["size"]) for row in rows]


def test_returning_without_the_function_goes_by_sqlalchemy(before_import: Oracle) -> None:
    Thing = thing()
    before_import.create(Thing)
    before_import.check(Thing, ROWS, returning=[Thing.id, Thing.name], road="sqlalchemy")
    before_import.check(Thing, [{"name": "x"}], returning=Thing, road="sqlalchemy")


def test_sql_defaults_without_the_function_go_by_sqlalchemy(before_import: Oracle) -> None:
    Thing = model(name=Column(String, default=func.upper("x")), size=Column(Integer))
    before_import.create(Thing)
    before_import.check(Thing, [{}, {"name": "y"}, {"size": 1}], road="sqlalchemy")


def test_computed_columns_without_the_function(before_import: Oracle) -> None:
    Thing = model(size=Column(Integer), twice=Column(Integer, Computed("size * 2")))
    before_import.create(Thing)
    before_import.check(Thing, [{"size": 1}, {"size": 2}], road="executemany")


def test_executemany_is_all_or_nothing(before_import: Oracle) -> None:
    Thing = model(name=Column(String, nullable=False))
    before_import.create(Thing)
    with Session(before_import.ours) as session:
        fastbulk.insert(session, Thing, [{"name": "before"}])
        error = error_of(
            lambda: fastbulk.insert(session, Thing, [*[{"name": "x"}] * 30_000, {"name": None}])
        )
        assert isinstance(error, exc.IntegrityError)
        assert session.scalars(select(Thing.name)).all() == ["before"]


@pytest.mark.parametrize(
    ("value_type", "value", "kind"),
    [
        (Integer, 2**63, RangeError),
        (String, "\ud800", EncodingError),
        (Float, "x", exc.StatementError),
        (Date, "x", exc.StatementError),
    ],
)
def test_executemany_names_the_row_of_a_wrong_value(
    before_import: Oracle, value_type: Any, value: Any, kind: Any
) -> None:
    Thing = model(value=Column(value_type))
    before_import.create(Thing)
    rows = [{}, {"value": value}]
    error = error_of(lambda: fastbulk.insert(before_import.ours, Thing, rows))
    assert type(error) is kind
    assert place(error) == (1, "value", value)


def test_executemany_names_the_row_of_a_wrong_value_among_many(before_import: Oracle) -> None:
    Thing = model(value=Column(Integer), name=Column(String))
    before_import.create(Thing)
    rows = [{"value": i, "name": "x"} for i in range(30_000)]
    rows[25_000]["name"] = "\udfff"
    error = error_of(lambda: fastbulk.insert(before_import.ours, Thing, rows))
    assert place(error) == (25_000, "name", "\udfff")


def test_executemany_names_the_row_that_the_database_refuses(before_import: Oracle) -> None:
    Thing = model(name=Column(String, unique=True))
    before_import.create(Thing)
    rows = [{"name": str(i % 300)} for i in range(400)]
    error = error_of(lambda: fastbulk.insert(before_import.ours, Thing, rows))
    assert place(error) == (300, "name", "0")


class Unknown(SQLiteDialect_aiosqlite):
    driver = "unknown"
    supports_statement_cache = True


@pytest.mark.parametrize("returns", [False, True])
def test_a_driver_that_is_not_known(tmp_path: Path, returns: bool) -> None:
    """No native code, no loss, the caller's transaction."""
    registry.register("sqlite.unknown", __name__, Unknown.__name__)
    Thing = model(name=Column(String, nullable=False))

    async def load() -> Sequence[str]:
        engine = create_async_engine(f"sqlite+unknown:///{tmp_path / 'a.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(Thing.metadata.create_all)
        async with AsyncSession(engine) as session:
            for end in (session.rollback, session.commit):
                result = await insert(session, [{"name": "x"}] * 3)
                assert result.road.name == ("sqlalchemy" if returns else "executemany")
                await end()
            with pytest.raises(exc.IntegrityError):
                await insert(session, [{"name": "y"}, {"name": None}])
            found = (await session.scalars(select(Thing.name))).all()
        await engine.dispose()
        return found

    async def insert(session: AsyncSession, rows: list[dict[str, Any]]) -> fastbulk.Result:
        returning = Thing.id if returns else None
        return await fastbulk.aio.insert(session, Thing, rows, returning=returning)

    assert asyncio.run(load()) == ["x"] * 3


def test_sqlalchemy_is_all_or_nothing(before_import: Oracle) -> None:
    Thing = model(name=Column(String, nullable=False))
    before_import.create(Thing)
    with Session(before_import.ours) as session:
        fastbulk.insert(session, Thing, [{"name": "before"}])
        rows = [{"name": "x"}, {"name": None}]
        error = error_of(lambda: fastbulk.insert(session, Thing, rows, returning=Thing.id))
        assert isinstance(error, exc.IntegrityError)
        assert session.scalars(select(Thing.name)).all() == ["before"]


def test_errors_of_sqlalchemys_road_have_the_same_attributes(before_import: Oracle) -> None:
    Thing = model(name=Column(String, nullable=False))
    before_import.create(Thing)
    rows = [{"name": None}]
    error = error_of(lambda: fastbulk.insert(before_import.ours, Thing, rows, returning=Thing.id))
    assert error.row in {0, None}
    assert error.column in {"name", None}
    assert error.value is None


def test_a_connection_that_is_older_than_the_import(tmp_path: Path) -> None:
    """In a process of its own: there fastbulk is imported last."""
    program = f"""
        from sqlalchemy import Column, Integer, String, create_engine, select
        from sqlalchemy.orm import Session, declarative_base

        class Thing(declarative_base()):
            __tablename__ = "thing"
            id = Column(Integer, primary_key=True)
            name = Column(String)

        engine = create_engine("sqlite:///{tmp_path / "old.db"}")
        with Session(engine) as session:
            Thing.metadata.create_all(session.connection())
            import fastbulk
            old = fastbulk.insert(session, Thing, [{{"name": "old"}}])
            session.commit()
        engine.dispose()
        with Session(engine) as session:
            new = fastbulk.insert(session, Thing, [{{"name": "new"}}])
            print(session.scalars(select(Thing.name)).all(), old.road.name, new.road.name)
        engine.dispose()
    """
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        check=True,
        capture_output=True,
        text=True,
    )
    old_road = "native" if LOADS_EXTENSIONS else "executemany"
    assert ran.stdout.split("] ")[1].split() == [old_road, "native"]
    assert ran.stdout.startswith("['old', 'new']")


@pytest.mark.only("sqlite")
def test_the_function_runs_no_job_that_is_not_waiting(session: Session) -> None:
    with pytest.raises(exc.DBAPIError, match="no such job"):
        session.connection().exec_driver_sql("SELECT fastbulk_run(1)")


@pytest.mark.only("sqlite")
def test_the_function_cannot_be_called_from_a_view(session: Session) -> None:
    connection = session.connection()
    connection.exec_driver_sql("CREATE VIEW v AS SELECT fastbulk_run(1)")
    with pytest.raises(exc.OperationalError, match="unsafe use of fastbulk_run"):
        connection.exec_driver_sql("SELECT * FROM v")
