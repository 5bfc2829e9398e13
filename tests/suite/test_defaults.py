"""What a column becomes that a row does not give."""

from __future__ import annotations

import itertools
import uuid
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Computed,
    Date,
    DateTime,
    FetchedValue,
    Float,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    Numeric,
    Sequence,
    String,
    Uuid,
    bindparam,
    exc,
    func,
    literal,
    literal_column,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, registry
from sqlalchemy.schema import insert_sentinel

import fastbulk
from oracle import error_of, model

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from fastbulk.orm.defaults import DefaultContext
    from oracle import Oracle, WithTables

#: Rows that give, and do not give, the column `value`.
GIVEN: list[dict[str, Any]] = [
    {},
    {"value": "x"},
    {"value": None},
    {"other": 1},
    {"value": "y", "other": 2},
] * 30


def check(
    oracle: WithTables,
    *default: Any,
    value_type: Any = String,
    rows: list[dict[str, Any]] = GIVEN,
    **arguments: Any,
) -> Any:
    Thing = model(value=Column(value_type, *default, **arguments), other=Column(Integer))
    return oracle(Thing).check(Thing, rows, returning=[Thing.id, Thing.value])


def test_a_scalar(oracle: WithTables) -> None:
    check(oracle, default="d")


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        (Integer, 0),
        (String, ""),
        (Float, 0.5),
        (Numeric(5, 2), 1),
        (Date, date(2020, 2, 29)),
        (DateTime, datetime(2020, 2, 29, 1, 2, 3, 4)),
        (LargeBinary, b"\0"),
        (JSON, {"a": [1]}),
        (JSON, {}),
        (Uuid, uuid.UUID(int=7)),
    ],
)
def test_a_scalar_goes_through_its_type(oracle: WithTables, value_type: Any, value: Any) -> None:
    check(oracle, value_type=value_type, default=value, rows=[{}, {"other": 1}])


def test_a_callable_is_called_once_for_each_row_that_wants_it_in_order(session: Session) -> None:
    numbers = itertools.count()
    Thing = model(value=Column(Integer, default=lambda: next(numbers)), other=Column(Integer))
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [{"value": -1} if i % 3 == 0 else {} for i in range(600)])
    found = session.scalars(select(Thing.value).where(Thing.value >= 0)).all()
    assert found == list(range(400))
    assert next(numbers) == 400


def test_what_a_callable_returns_may_be_none(oracle: WithTables) -> None:
    check(oracle, default=lambda: None, server_default="server")


def test_a_builtin_callable(oracle: WithTables) -> None:
    check(oracle, default=dict, value_type=JSON, rows=[{}, {"value": [1]}])


def test_a_callable_that_returns_a_sql_expression_is_refused(session: Session) -> None:
    Thing = model(value=Column(String, default=lambda: func.now()))
    Thing.metadata.create_all(session.connection())
    error = error_of(lambda: fastbulk.insert(session, Thing, [{"value": "x"}, {}]))
    assert (error.row, error.column) == (1, "value")


class BrokenError(Exception):
    pass


def broken(context: DefaultContext) -> str:
    if context.get_current_parameters()["other"] == 2:
        raise BrokenError("other is 2")
    return "x"


def test_a_callable_that_raises(oracle: WithTables) -> None:
    check(oracle, default=broken, rows=[{"other": 1}, {"other": 2}])


def test_a_callable_that_raises_names_its_row(session: Session) -> None:
    Thing = model(value=Column(String, default=broken), other=Column(Integer))
    Thing.metadata.create_all(session.connection())
    rows = [{"other": 1}] * 300 + [{"other": 2}]
    error = error_of(lambda: fastbulk.insert(session, Thing, rows))
    assert isinstance(error.orig, BrokenError)
    assert (error.row, error.column) == (300, "value")
    assert session.scalars(select(Thing.id)).all() == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_callable_that_ends_the_program_does_so(
    session: Session, stop: type[BaseException]
) -> None:
    def default() -> None:
        raise stop

    Thing = model(value=Column(String, default=default))
    Thing.metadata.create_all(session.connection())
    with pytest.raises(stop):
        fastbulk.insert(session, Thing, [{}])
    assert session.scalars(select(Thing.id)).all() == []


def seen(context: DefaultContext) -> str:
    parameters = context.get_current_parameters()
    return repr({key: parameters[key] for key in sorted(parameters)})


@pytest.mark.only("sqlite")  # SQLAlchemy can't do it on PostgreSQL: IndexError
def test_a_callable_sees_the_row_by_column_keys_with_the_defaults_before_it(
    oracle: WithTables,
) -> None:
    Thing = model(
        before=Column("col before", String, default=lambda: "b"),
        scalar=Column(String, default="s"),
        seen=Column(String, default=seen),
        same=Column(String, default=lambda context: context.get_current_parameters()["seen"]),
        after=Column(String, default=lambda: "a", key="after_key"),
        later_scalar=Column(String, default="l"),
        server=Column(String, server_default="server"),
        expression=Column(String, default=text("lower('X')")),
        raw=Column(Date),
    )
    rows = [
        {},
        {"before": "given", "raw": date(2020, 1, 1)},
        {"id": 9, "after": None, "server": "x"},
        {"expression": "given", "raw": None},
    ]
    oracle(Thing).check(Thing, rows, returning=Thing.seen)


def test_the_context_of_a_callable(oracle: WithTables) -> None:
    def default(context: DefaultContext) -> str:
        assert context.dialect.name == context.connection.dialect.name
        assert context.engine is context.connection.engine
        assert context.root_connection is context.connection
        return f"{context.isinsert} {context.isupdate} {context.current_parameters['other']}"

    check(oracle, default=default, rows=[{"other": 1}])


def test_a_callable_that_queries_its_own_connection(oracle: WithTables) -> None:
    def default(context: DefaultContext) -> str:
        count = context.connection.scalar(text("SELECT count(*) FROM thing"))
        return f"{count >= 0}"

    check(oracle, default=default)


def test_a_callable_that_loads_another_table(oracle: WithTables) -> None:
    Log = model(table="log", value=Column(String))

    def default(context: DefaultContext) -> str:
        fastbulk.insert(context.connection, Log, [{"value": "x"}] * 20)
        return "x"

    Thing = model(value=Column(String, default=default))
    databases = oracle(Thing)
    databases.create(Log)
    databases.check(Thing, [{}, {"value": "y"}, {}])


@pytest.mark.parametrize(
    "expression",
    [
        func.upper("it's %s ? :x"),
        text("'a' || 'b'"),
        literal_column("1 + 1"),
        literal("x"),
        select(func.max(literal_column("7"))).scalar_subquery(),
        func.coalesce(None, "c"),
        func.date(datetime(2020, 1, 2).date()),
    ],
    ids=str,
)
def test_a_sql_expression(oracle: WithTables, expression: Any) -> None:
    check(oracle, default=expression)


@pytest.mark.without("mariadb", "mysql")  # they have no such function
def test_a_sql_expression_that_has_no_literal_form_goes_by_sqlalchemy(session: Session) -> None:
    Thing = model(value=Column(JSON, default=func.json(bindparam("b", [1], type_=JSON))))
    Thing.metadata.create_all(session.connection())
    result = fastbulk.insert(session, Thing, [{}], returning=Thing.value)
    assert result.all() == [([1],)]


def test_a_subquery_as_default_sees_the_rows_before(oracle: WithTables) -> None:
    Thing = model(other=Column(Integer))
    table = Thing.__table__
    count = select(func.count()).select_from(table.alias()).scalar_subquery()
    table.append_column(Column("value", Integer, default=count))
    Thing.value = table.c.value
    oracle(Thing).check(Thing, [{"other": i} for i in range(150)], returning=Thing.value)


def test_a_random_sql_default_differs_from_row_to_row(session: Session) -> None:
    Thing = model(value=Column(Float, default=func.random()))
    Thing.metadata.create_all(session.connection())
    values = fastbulk.insert(session, Thing, [{}] * 200, returning=Thing.value).scalars().all()
    assert len(set(values)) == 200


def test_a_server_default(oracle: WithTables) -> None:
    check(oracle, server_default="server")


def test_a_server_default_that_is_an_expression(oracle: WithTables) -> None:
    check(oracle, server_default=text("(lower('X'))"))


def test_a_scalar_default_goes_before_the_server_default(oracle: WithTables) -> None:
    check(oracle, default="d", server_default="server")


@pytest.mark.parametrize("column", ["value", "VALUE", "Value"])
def test_a_server_default_that_the_mapping_does_not_know(
    oracle: WithTables, databases: Oracle, column: str
) -> None:
    Thing = model(value=Column(String), other=Column(Integer))
    databases.execute(
        f"CREATE TABLE thing (id {databases.backend.key}, {column} VARCHAR(20) DEFAULT 'server', "
        "other INT)"
    )
    databases.check(Thing, GIVEN, returning=[Thing.id, Thing.value])


def test_a_server_default_under_a_table_name_of_another_case(
    oracle: WithTables, databases: Oracle
) -> None:
    Thing = model(table="thing", value=Column(String), other=Column(Integer))
    databases.execute(
        f"CREATE TABLE THING (id {databases.backend.key}, value VARCHAR(20) DEFAULT 'server', "
        "other INT)"
    )
    databases.check(Thing, GIVEN)


def test_fetched_value(oracle: WithTables, databases: Oracle) -> None:
    Thing = model(value=Column(String, FetchedValue()), other=Column(Integer))
    databases.execute(
        f"CREATE TABLE thing (id {databases.backend.key}, value VARCHAR(9) DEFAULT 'f', other INT)"
    )
    databases.check(Thing, GIVEN, returning=Thing)


def test_a_computed_column(oracle: WithTables) -> None:
    Thing = model(
        a=Column(Integer),
        stored=Column(Integer, Computed("a * 2", persisted=True)),
    )
    rows = [{"a": i} for i in range(150)]
    oracle(Thing).check(Thing, rows, returning=Thing)
    oracle(Thing).check(Thing, [{"a": 1, "stored": 9}])


def test_a_computed_column_that_the_mapping_does_not_know(databases: Oracle) -> None:
    Thing = model(value=Column(String), twice=Column(String))
    databases.execute(
        f"CREATE TABLE thing (id {databases.backend.key}, value TEXT, "
        "twice TEXT GENERATED ALWAYS AS (value || value) STORED)"
    )
    databases.check(Thing, [{"value": str(i)} for i in range(150)])
    databases.check(Thing, [{"value": "x", "twice": "y"}])


def test_an_identity_column(oracle: WithTables) -> None:
    Thing = model(id=Column(Integer, Identity(), primary_key=True), value=Column(String))
    oracle(Thing).check(Thing, [{}, {"value": "x"}, {"id": 7}, {}], returning=Thing.id)


def test_a_sequence(oracle: WithTables) -> None:
    Thing = model(id=Column(Integer, Sequence("s"), primary_key=True), value=Column(String))
    oracle(Thing).check(Thing, [{}, {"value": "x"}, {"id": 7}, {}], returning=Thing.id)


def test_a_primary_key_with_a_python_default(oracle: WithTables) -> None:
    numbers = {"ours": itertools.count(10), "theirs": itertools.count(10)}

    def number(context: DefaultContext) -> int:
        return next(numbers["ours" if "ours" in current else "theirs"])

    current = []
    Thing = model(id=Column(Integer, primary_key=True, default=number), value=Column(String))
    databases = oracle(Thing)
    current.append("ours")
    ours = databases.by_fastbulk(Thing, [{}, {"id": 5}, {"id": None}], returning=Thing.id)
    current.clear()
    theirs = databases.by_sqlalchemy(Thing, [{}, {"id": 5}, {"id": None}], returning=Thing.id)
    assert ours == theirs
    assert databases.contents(databases.ours) == databases.contents(databases.theirs)


@pytest.mark.without("mysql")  # a key that nobody knows
def test_a_primary_key_with_a_sql_default(oracle: WithTables) -> None:
    Thing = model(id=Column(String, primary_key=True, default=func.lower("A")))
    oracle(Thing).check(Thing, [{}, {"id": "b"}], returning=Thing.id)


def test_an_insert_sentinel_stays_empty(session: Session) -> None:
    Thing = model(id=Column(String, primary_key=True), mark=insert_sentinel())
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [{"id": "b"}, {"id": "a"}], returning=Thing.id)
    assert set(session.execute(text("SELECT id, mark FROM thing"))) == {("b", None), ("a", None)}


def test_a_version_counter_begins_anew_whatever_the_row_says(oracle: WithTables) -> None:
    Thing = model(
        version=(version := Column(Integer, nullable=False)),
        value=Column(String),
        __mapper_args__={"version_id_col": version},
    )
    rows = [{}, {"version": 9}, {"version": None, "value": "x"}]
    oracle(Thing).check(Thing, rows, returning=Thing)


def test_a_version_of_the_mappings_own_making(oracle: WithTables) -> None:
    Thing = model(
        version=(version := Column(String, nullable=False)),
        __mapper_args__={"version_id_col": version, "version_id_generator": lambda v: f"{v}!"},
    )
    oracle(Thing).check(Thing, [{}, {"version": "given"}], returning=Thing.version)


def test_a_version_of_the_servers_making(oracle: WithTables) -> None:
    Thing = model(
        version=(version := Column(Integer, server_default="5")),
        __mapper_args__={"version_id_col": version, "version_id_generator": False},
    )
    oracle(Thing).check(Thing, [{}, {"version": 9}], returning=Thing.version)


def test_the_defaults_of_a_mapped_dataclass(oracle: WithTables) -> None:
    @registry().mapped_as_dataclass
    class Thing:
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        value: Mapped[str] = mapped_column(default="d")
        called: Mapped[str | None] = mapped_column(insert_default=lambda: "i", init=False)

    oracle(Thing).check(Thing, [{}, {"value": "x"}, {"called": "y"}, {"called": None}])


def test_a_foreign_key_to_a_column_of_another_type(oracle: WithTables) -> None:
    Thing = model(value=Column(String, primary_key=True), parent=Column(ForeignKey("thing.value")))
    oracle(Thing).check(Thing, [{"value": "a"}, {"value": "b", "parent": "a"}])


def test_a_required_column_without_default(oracle: WithTables) -> None:
    error = check(oracle, nullable=False, rows=[{"value": "x"}, {}])
    assert isinstance(error, (exc.IntegrityError, exc.OperationalError))
