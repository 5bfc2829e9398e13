"""Names that have to be quoted, and tables in other schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
from sqlalchemy.sql import quoted_name

import fastbulk
from oracle import Oracle, model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.orm import Mapped

    from oracle import WithTables

NAMES = [
    "user name %s",
    "order",
    "a:b(c)",
    "per%cent",
    'quo"te',
    "apos'trophe",
    "question?",
    "back`tick",
    "[bracket]",
    "Select",
    "UPPER",
    "ünïcödé",
    "new\nline",
    "semi;colon",
    "a.b",
    "1st",
]


@pytest.mark.parametrize("name", NAMES)
def test_columns(oracle: WithTables, name: str) -> None:
    Thing = model(value=Column(name, String, server_default="d"), size=Column(Integer))
    rows = [{"value": "x"}, {"size": 1}, {"value": "y", "size": 2}] * 20
    oracle(Thing).check(Thing, rows, returning=[Thing.value, Thing.id])


@pytest.mark.parametrize("name", NAMES)
def test_tables(oracle: WithTables, name: str) -> None:
    Thing = model(table=name, value=Column(String, server_default="d"), size=Column(Integer))
    rows = [{"value": "x"}, {"size": 1}, {"value": "y", "size": 2}] * 20
    oracle(Thing).check(Thing, rows, returning=Thing)


@pytest.mark.parametrize("name", ["order by", "Größe", "class", "a-b"])
def test_attributes(oracle: WithTables, name: str) -> None:
    attributes: dict[str, Any] = {name: Column("value", String)}
    Thing = model(**attributes)
    oracle(Thing).check(Thing, [{name: "x"}, {}], returning=getattr(Thing, name))


@pytest.mark.parametrize("quote", [True, False])
def test_names_whose_quoting_is_forced(oracle: WithTables, quote: bool) -> None:
    Thing = model(
        table=quoted_name("Thing", quote), value=Column(quoted_name("Value", quote), String)
    )
    oracle(Thing).check(Thing, [{"value": "x"}, {}], returning=Thing.value)


@pytest.fixture
def attached(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine("sqlite://")

    @event.listens_for(engine, "connect")
    def attach(connection: Any, record: Any) -> None:
        for name in ("other", "the other"):
            connection.execute(f'ATTACH ? AS "{name}"', (f"{tmp_path / name}.db",)).close()

    yield engine
    engine.dispose()


def found(target: Any, Thing: Any, **options: Any) -> Sequence[str]:
    with Session(target) as session:
        return session.scalars(select(Thing.name), execution_options=options).all()


@pytest.mark.parametrize("schema", ["other", "the other"])
def test_a_table_of_an_attached_database(attached: Engine, schema: str) -> None:
    Thing = model(args={"schema": schema}, name=Column(String, server_default="d"))
    Thing.metadata.create_all(attached)
    rows = [{"name": "x"}, {}, {"id": 9}]
    result = fastbulk.insert(attached, Thing, rows, returning=[Thing.id, Thing.name])
    assert result.all() == [(1, "x"), (2, "d"), (9, "d")]
    assert found(attached, Thing) == ["x", "d", "d"]


def test_the_catalog_is_asked_about_the_right_schema(attached: Engine) -> None:
    """Two tables of one name, of which one has a default that the mapping does not know."""
    Main = model(name=Column(String), size=Column(Integer))
    Other = model(args={"schema": "other"}, name=Column(String), size=Column(Integer))
    with attached.begin() as connection:
        for schema, sql in (("main", "NULL"), ("other", "'d'")):
            connection.exec_driver_sql(
                f"CREATE TABLE {schema}.thing "
                f"(id INTEGER PRIMARY KEY, name TEXT DEFAULT {sql}, size INTEGER)"
            )
    for Thing, default in ((Main, None), (Other, "d")):
        fastbulk.insert(attached, Thing, [{"name": "x"}, {"size": 1}])
        assert found(attached, Thing) == ["x", default]


MAP = {"tenant": "other", None: "the other"}


def tenants() -> tuple[Any, Any]:
    Thing = model(args={"schema": "tenant"}, name=Column(String, server_default="d"))
    Plain = model(name=Column(String, server_default="p"), size=Column(Integer))
    return Thing, Plain


def check_tenants(attached: Engine, target: Any, **arguments: Any) -> None:
    Thing, Plain = tenants()
    for Class in (Thing, Plain):
        with attached.execution_options(schema_translate_map=MAP).begin() as connection:
            Class.metadata.create_all(connection)
        rows = [{"name": "x"}, {"id": 5}]
        result = fastbulk.insert(target, Class, rows, returning=Class.id, **arguments)
        assert result.scalars().all() == [1, 5]
    session = target if isinstance(target, Session) else Session(target)
    assert [row[0] for row in session.connection().exec_driver_sql(
        "SELECT name FROM other.thing UNION ALL SELECT name FROM \"the other\".thing"
    )] == ["x", "d", "x", "p"]  # fmt: skip
    session.close()


def test_schemas_translated_by_the_engine(attached: Engine) -> None:
    check_tenants(attached, attached.execution_options(schema_translate_map=MAP))


def test_schemas_translated_by_the_session(attached: Engine) -> None:
    with Session(attached) as session:
        session.connection(execution_options={"schema_translate_map": MAP})
        check_tenants(attached, session)


def test_schemas_translated_by_the_call(attached: Engine) -> None:
    with Session(attached) as session:
        check_tenants(attached, session, execution_options={"schema_translate_map": MAP})


def test_translations_do_not_mix(attached: Engine) -> None:
    Thing, _ = tenants()
    for schema in ("other", "the other"):
        translated = attached.execution_options(schema_translate_map={"tenant": schema})
        Thing.metadata.create_all(translated)
        fastbulk.insert(translated, Thing, [{"name": schema}])
    for schema in ("other", "the other"):
        translated = attached.execution_options(schema_translate_map={"tenant": schema})
        assert found(translated, Thing) == [schema]


def test_entities_of_a_translated_schema(attached: Engine) -> None:
    Thing, _ = tenants()
    with Session(attached.execution_options(schema_translate_map=MAP)) as session:
        Thing.metadata.create_all(session.connection())
        (thing,) = fastbulk.insert(session, Thing, [{"name": "x"}], returning=Thing).scalars()
        session.expire(thing)
        assert thing.name == "x"


def test_a_temporary_table(engine: Engine) -> None:
    class Base(DeclarativeBase):
        pass

    class Thing(Base):
        if TYPE_CHECKING:
            name: Mapped[str]

        __table__ = Table(
            "thing",
            MetaData(),
            Column("id", Integer, primary_key=True),
            Column("name", String, server_default="d"),
            prefixes=["TEMPORARY"],
        )

    with engine.begin() as connection:
        Thing.__table__.create(connection)
        result = fastbulk.insert(connection, Thing, [{"name": "x"}, {}], returning=Thing.name)
        assert result.scalars().all() == ["x", "d"]


def test_two_models_of_one_table(databases: Oracle) -> None:
    First = model(name=Column(String))
    Second = model(id=mapped_column(Integer, primary_key=True), title=Column("name", String))
    databases.create(First)
    fastbulk.insert(databases.ours, First, [{"name": "x"}])
    fastbulk.insert(databases.ours, Second, [{"title": "y"}])
    assert found(databases.ours, First) == ["x", "y"]
