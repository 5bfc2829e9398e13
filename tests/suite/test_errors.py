"""What an error is, where it says that the bad value stands, and what is left after it."""

from __future__ import annotations

import pickle
import re
import sqlite3
import sys
from datetime import date
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Numeric,
    String,
    UniqueConstraint,
    Uuid,
    column,
    exc,
    func,
    insert,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import fastbulk
from fastbulk.errors import EncodingError, RangeError
from oracle import error_of, model, place, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from oracle import Oracle, WithTables

#: A call of one small statement, of larger ones, and of three slices with the bad row in the last.
SIZES = [(1, 0), (7, 3), (150, 120), (4_000, 3_333), (21_000, 20_444)]


def rows_with(
    bad: Any, *, count: int, at: int, **others: Callable[[int], Any]
) -> list[dict[str, Any]]:
    rows = [{key: make(i) for key, make in others.items()} for i in range(count)]
    rows[at] = {**rows[at], **bad}
    return rows


def stored(session: Session, attribute: Any) -> Sequence[Any]:
    return session.scalars(select(attribute).order_by(attribute)).all()


def refused(
    session: Session,
    Thing: Any,
    rows: Any,
    kind: type[BaseException] = exc.IntegrityError,
    **arguments: Any,
) -> Any:
    """The error of the call, after which the database is what it was."""
    Thing.__table__.metadata.create_all(session.connection())
    before = session.execute(select(Thing.__table__)).all()
    error = error_of(lambda: fastbulk.insert(session, Thing, rows, **arguments))
    assert type(error) is kind
    assert session.execute(select(Thing.__table__)).all() == before
    return error


def one_more(i: int) -> int:
    return i + 1


def of_check(session: Session) -> type[exc.StatementError]:
    """The class of a failed check, whose number some drivers don't know."""
    unknown = session.get_bind().dialect.driver in {"mysqldb", "pymysql"}
    return exc.OperationalError if unknown else exc.IntegrityError


@pytest.mark.parametrize(("count", "at"), SIZES)
def test_not_null(session: Session, count: int, at: int) -> None:
    Thing = model(name=Column(String, nullable=False), size=Column(Integer))
    rows = rows_with({"name": None}, count=count, at=at, name=str, size=int)
    # PyMySQL does not know the number of an absent value's error.
    unknown = session.get_bind().dialect.driver == "pymysql"
    error = refused(session, Thing, rows, exc.OperationalError if unknown else exc.IntegrityError)
    assert place(error) == (at, "name", None)
    assert re.search("name.*not.null|not.null.*name|name.*default", str(error.orig), re.IGNORECASE)


@pytest.mark.parametrize(("count", "at"), SIZES[1:])
def test_unique(session: Session, count: int, at: int) -> None:
    Thing = model(title=Column("the title", String, unique=True))
    error = refused(session, Thing, rows_with({"title": "0"}, count=count, at=at, title=str))
    assert place(error) == (at, "title", "0")


@pytest.mark.parametrize(("count", "at"), SIZES[1:])
@pytest.mark.parametrize("returning", [False, True])
def test_unique_over_several_columns(
    session: Session, count: int, at: int, returning: bool
) -> None:
    Thing = model(a=Column(Integer), b=Column(String), args=(UniqueConstraint("b", "a"),))
    rows = rows_with({"a": 1, "b": "1"}, count=count, at=at, a=int, b=str)
    error = refused(session, Thing, rows, returning=Thing.id if returning else None)
    assert error.row == at
    assert dict(zip(error.column, error.value, strict=True)) == {"a": 1, "b": "1"}


@pytest.mark.parametrize(("count", "at"), SIZES[1:])
def test_a_primary_key_given_twice(session: Session, count: int, at: int) -> None:
    Thing = model(name=Column(String))
    error = refused(session, Thing, rows_with({"id": 1}, count=count, at=at, id=one_more, name=str))
    assert place(error) == (at, "id", 1)


def test_a_primary_key_that_stands_in_the_table_already(session: Session) -> None:
    Thing = model(name=Column(String))
    Thing.metadata.create_all(session.connection())
    session.execute(insert(Thing), [{"id": 500}])
    error = refused(session, Thing, [{"id": i} for i in range(1, 1_000)])
    assert place(error) == (499, "id", 500)


@pytest.mark.without("mariadb", "mysql")
def test_a_unique_expression_index(session: Session, engine: Engine) -> None:
    Thing = model(name=Column(String))
    Thing.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE UNIQUE INDEX by_lower ON thing (lower(name))")
    error = refused(session, Thing, [{"name": "a"}, {"name": "b"}, {"name": "A"}])
    assert place(error) == (2, None, None)


@pytest.mark.parametrize("quoted", ["a.b", "a, b", 'a "b"', "UNIQUE constraint failed: thing.x"])
def test_columns_whose_names_look_like_the_message(session: Session, quoted: str) -> None:
    Thing = model(odd=Column(quoted, String, unique=True), b=Column(String), x=Column(String))
    error = refused(session, Thing, [{"odd": "1"}, {"odd": "1"}])
    assert place(error) == (1, "odd", "1")


@pytest.mark.parametrize(("count", "at"), SIZES)
@pytest.mark.parametrize("name", [None, "positive"])
def test_check_of_one_column(session: Session, count: int, at: int, name: str | None) -> None:
    Thing = model(
        size=Column(Integer), args=(CheckConstraint("size >= 0", name=name),), other=Column(Integer)
    )
    rows = rows_with({"size": -7}, count=count, at=at, size=int, other=int)
    error = refused(session, Thing, rows, of_check(session))
    assert place(error) == (at, "size", -7)


def test_check_of_several_columns(session: Session) -> None:
    check = CheckConstraint(column("low") <= column("High"), name="ordered")
    Thing = model(low=Column(Integer), high=Column("High", Integer), args=(check,))
    error = refused(
        session, Thing, [{"low": 1, "high": 2}, {"low": 3, "high": 2}], of_check(session)
    )
    assert error.row == 1
    assert dict(zip(error.column, error.value, strict=True)) == {"low": 3, "high": 2}


def test_check_that_belongs_to_a_column(session: Session) -> None:
    Thing = model(size=Column(Integer, CheckConstraint("size >= 0")))
    error = refused(session, Thing, [{"size": 1}, {"size": -1}], of_check(session))
    assert place(error) == (1, "size", -1)


@pytest.mark.without("mariadb")  # it takes no names for them
def test_check_with_a_name_that_belongs_to_a_column(session: Session) -> None:
    Thing = model(size=Column(Integer, CheckConstraint("size >= 0", name="positive")))
    error = refused(session, Thing, [{"size": 1}, {"size": -1}], of_check(session))
    assert place(error) == (1, "size", -1)


@pytest.mark.only("sqlite")
def test_check_that_the_mapping_does_not_know(session: Session) -> None:
    Thing = model(size=Column(Integer))
    session.connection().exec_driver_sql(
        "CREATE TABLE thing (id INTEGER PRIMARY KEY, size INT CONSTRAINT small CHECK (size < 9))"
    )
    assert place(refused(session, Thing, [{"size": 1}, {"size": 10}])) == (1, None, None)


def family(**arguments: Any) -> tuple[Any, Any, Any]:
    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parent"
        a = Column(Integer, primary_key=True)
        b = Column(Integer, primary_key=True)

    class Country(Base):
        __tablename__ = "country"
        code = Column(String, primary_key=True)

    class Child(Base):
        __tablename__ = "child"
        id = Column(Integer, primary_key=True)
        country: Mapped[str | None] = mapped_column(
            "country_code", ForeignKey(Country.code, **arguments)
        )
        parent_a = Column(Integer)
        parent_b = Column(Integer)
        __table_args__ = (
            ForeignKeyConstraint(["parent_a", "parent_b"], ["parent.a", "parent.b"], **arguments),
        )

    return Parent, Country, Child


@pytest.mark.parametrize(("count", "at"), SIZES)
def test_foreign_key(session: Session, count: int, at: int) -> None:
    _, Country, Child = family()
    Child.metadata.create_all(session.connection())
    session.add(Country(code="de"))
    rows = rows_with({"country": "xx"}, count=count, at=at, country=lambda i: "de")
    assert place(refused(session, Child, rows)) == (at, "country", "xx")


def test_foreign_key_over_several_columns(session: Session) -> None:
    Parent, Country, Child = family()
    Child.metadata.create_all(session.connection())
    session.add_all([Country(code="de"), Parent(a=1, b=2)])
    rows = [{"country": "de"}, {"parent_a": 1, "parent_b": 2}, {"parent_a": 2, "parent_b": 1}]
    error = refused(session, Child, rows * 50)
    assert error.row == 2
    assert dict(zip(error.column, error.value, strict=True)) == {"parent_a": 2, "parent_b": 1}


@pytest.mark.without("mariadb", "mysql")
def test_a_deferred_foreign_key_fails_at_commit(engine: Engine) -> None:
    _, Country, Child = family(deferrable=True, initially="DEFERRED")
    Child.metadata.create_all(engine)
    with Session(engine) as session:
        fastbulk.insert(session, Child, [{"country": "xx"}])
        with pytest.raises(exc.IntegrityError):
            session.commit()
    with pytest.raises(exc.IntegrityError):
        fastbulk.insert(engine, Child, [{"country": "xx"}])
    with Session(engine) as session:
        fastbulk.insert(session, Child, [{"country": "xx"}])
        fastbulk.insert(session, Country, [{"code": "xx"}])
        session.commit()
        assert stored(session, Child.country) == ["xx"]


def test_rows_that_refer_to_each_other(oracle: WithTables) -> None:
    Thing = model(parent=Column(ForeignKey("thing.id")))
    rows = [{"id": 1}, *({"id": i, "parent": i - 1} for i in range(2, 500))]
    oracle(Thing).check(Thing, rows)


#: What `sqlite3` says of a Python type that it does not know.
UNSUPPORTED = exc.ProgrammingError if sys.version_info >= (3, 11) else exc.InterfaceError

WRONG = [
    (Integer, Decimal("1.5"), UNSUPPORTED),
    (Integer, 2**63, RangeError),
    (Integer, -(2**63) - 1, RangeError),
    (String, "\ud800", EncodingError),
    (String, {}, UNSUPPORTED),
    (Float, "x", exc.StatementError),
    (Numeric, "x", exc.StatementError),
    (Boolean, 2, exc.StatementError),
    (Boolean, "true", exc.StatementError),
    (Date, "2020-01-01", exc.StatementError),
    (DateTime, "2020-01-01", exc.StatementError),
    (DateTime, 7, exc.StatementError),
    (LargeBinary, "text", exc.StatementError),
    (Uuid, "text", exc.StatementError),
    (JSON, object(), exc.StatementError),
    (JSON, date(2020, 1, 1), exc.StatementError),
    (Enum("a", "b", validate_strings=True), "c", exc.StatementError),
    (Enum("a", "b"), 7, exc.StatementError),
]


@pytest.mark.only("sqlite")
@pytest.mark.parametrize(("count", "at"), [(1, 0), (300, 290), (20_100, 20_050)])
@pytest.mark.parametrize(("value_type", "value", "kind"), WRONG, ids=spelled)
def test_a_value_of_a_wrong_type(
    session: Session, value_type: Any, value: Any, kind: type[BaseException], count: int, at: int
) -> None:
    Thing = model(value=Column(value_type), size=Column(Integer))
    rows = rows_with({"value": value}, count=count, at=at, size=int)
    error = refused(session, Thing, rows, kind)
    assert place(error) == (at, "value", value)
    assert str(error).count(f"row {at}, column 'value', value ") == 1


@pytest.mark.only("sqlite")
def test_out_of_range_is_also_the_error_that_sqlalchemy_lets_through(session: Session) -> None:
    Thing = model(size=Column(Integer))
    error = refused(session, Thing, [{"size": 2**64}], RangeError)
    assert isinstance(error.orig, OverflowError)
    assert isinstance(error, OverflowError)


def test_a_lone_surrogate_is_also_the_error_that_sqlalchemy_lets_through(session: Session) -> None:
    Thing = model(name=Column(String))
    error = refused(session, Thing, [{"name": "\udc80"}], EncodingError)
    assert isinstance(error.orig, UnicodeEncodeError)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("expression", [func.now(), select(1).scalar_subquery(), Column("x")])
def test_a_sql_expression_is_no_value(session: Session, expression: Any) -> None:
    Thing = model(name=Column(String), size=Column(Integer))
    error = refused(session, Thing, [{}, {"name": expression}], exc.StatementError)
    assert (error.row, error.column) == (1, "name")
    assert error.value is expression
    assert "SQL expression" in str(error)
    with pytest.raises(exc.StatementError, match="row 0, column 'size'"):
        fastbulk.insert(session, Thing, [{"size": Thing.id}])


@pytest.mark.only("sqlite")
def test_of_several_bad_rows_the_first_is_named(session: Session) -> None:
    Thing = model(a=Column(Integer), b=Column(Date))
    rows: list[dict[str, Any]] = [{"a": 1, "b": None}] * 50
    rows[30] = {"a": 2**64}
    rows[20] = {"b": "x"}
    assert place(refused(session, Thing, rows, exc.StatementError)) == (20, "b", "x")


def test_rows_before_a_row_that_cannot_be_read_are_not_kept(session: Session) -> None:
    Thing = model(name=Column(String))
    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError, match="row 30000"):
        fastbulk.insert(session, Thing, [*[{"name": "x"}] * 30_000, {"nmae": "x"}])
    assert stored(session, Thing.name) == []


def test_the_message_shortens_a_long_value(session: Session) -> None:
    Thing = model(name=Column(String(750), unique=True))
    error = refused(session, Thing, [{"name": "x" * 750}] * 2)
    assert error.value == "x" * 750
    assert len(str(error)) - len(str(error.orig)) < 600


@pytest.mark.only("sqlite")
def test_the_statement_stands_in_the_error(session: Session) -> None:
    Thing = model(name=Column(String, unique=True))
    error = refused(session, Thing, [{"name": "x"}] * 2)
    assert error.statement == "INSERT INTO thing (name) VALUES (?)"
    assert "fastbulk_run" not in str(error)


@pytest.mark.only("sqlite")
def test_the_drivers_error_is_the_cause(session: Session) -> None:
    Thing = model(name=Column(String, unique=True))
    error = refused(session, Thing, [{"name": "x"}] * 2)
    assert error.__cause__ is error.orig
    assert isinstance(error.orig, sqlite3.IntegrityError)
    if sys.version_info >= (3, 11):
        assert error.orig.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"


def test_an_error_survives_pickling(session: Session) -> None:
    Thing = model(name=Column(String, unique=True), size=Column(Integer))
    for rows in ([{"name": "x"}] * 2, [{"size": 2**64}], [{"size": Decimal(1)}]):
        error = error_of(partial(fastbulk.insert, session, Thing, rows))
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)


@pytest.mark.parametrize(
    "rows",
    [
        [{"name": "secret"}] * 2,
        [{"size": "secret"}],
        [{"name": b"secret"}] * 2,
    ],
)
def test_hidden_parameters_hide_every_value(engine: Engine, rows: list[dict[str, Any]]) -> None:
    Thing = model(name=Column(String, unique=True), size=Column(Float))
    Thing.metadata.create_all(engine)
    hiding = engine.execution_options()
    hiding.hide_parameters = True
    error = error_of(lambda: fastbulk.insert(hiding, Thing, rows))
    assert error.value is None
    # asyncpg takes no bytes for a text.
    no_text = engine.driver == "asyncpg" and b"secret" in rows[0].values()
    assert error.row == (0 if no_text else len(rows) - 1)
    assert error.hide_parameters
    assert "value" not in str(error).replace(str(error.orig), "")


def test_an_error_leaves_the_transaction_as_it_was(session: Session) -> None:
    Thing = model(name=Column(String, nullable=False))
    Thing.metadata.create_all(session.connection())
    session.add(Thing(name="before"))
    for count in (1, 300, 21_000):
        rows = rows_with({"name": None}, count=count, at=count - 1, name=str)
        error_of(partial(fastbulk.insert, session, Thing, rows))
    session.add(Thing(name="later"))
    session.commit()
    assert stored(session, Thing.name) == ["before", "later"]


def test_an_error_within_a_savepoint_leaves_it_as_it_was(session: Session) -> None:
    Thing = model(name=Column(String, nullable=False))
    Thing.metadata.create_all(session.connection())
    session.add(Thing(name="outer"))
    with session.begin_nested() as savepoint:
        session.add(Thing(name="inner"))
        for count in (1, 21_000):
            rows = rows_with({"name": None}, count=count, at=count - 1, name=str)
            error_of(partial(fastbulk.insert, session, Thing, rows))
        assert savepoint.is_active
        fastbulk.insert(session, Thing, [{"name": "bulk"}])
    assert stored(session, Thing.name) == ["bulk", "inner", "outer"]
    session.rollback()


def test_an_error_ends_a_begin_nested_block_and_not_the_session(session: Session) -> None:
    Thing = model(name=Column(String, nullable=False))
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [{"name": "outer"}])

    def within_a_savepoint() -> None:
        with session.begin_nested():
            fastbulk.insert(session, Thing, [{"name": "inner"}])
            fastbulk.insert(session, Thing, [{"name": None}])

    error_of(within_a_savepoint)
    assert stored(session, Thing.name) == ["outer"]


def test_an_error_through_an_engine_leaves_nothing(engine: Engine) -> None:
    Thing = model(name=Column(String, nullable=False))
    Thing.metadata.create_all(engine)
    rows = rows_with({"name": None}, count=21_000, at=20_500, name=str)
    assert place(error_of(lambda: fastbulk.insert(engine, Thing, rows))) == (20_500, "name", None)
    with Session(engine) as session:
        assert stored(session, Thing.name) == []


def test_a_missing_table(oracle: WithTables, databases: Oracle) -> None:
    Thing = model(name=Column(String))
    databases.check(Thing, [{"name": "x"}])


def test_a_missing_column(databases: Oracle) -> None:
    Thing = model(name=Column(String))
    databases.execute(f"CREATE TABLE thing (id {databases.backend.key})")
    databases.check(Thing, [{"name": "x"}])
