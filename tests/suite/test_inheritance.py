"""Classes that inherit their mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, String, exc, select
from sqlalchemy.orm import DeclarativeBase

import fastbulk

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from oracle import Form, WithTables


def single() -> tuple[Any, Any]:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        kind = Column(String)
        name = Column(String)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "person"}

    class Boss(Person):
        budget = Column(Integer, default=7)
        __mapper_args__ = {"polymorphic_identity": "boss"}

    return Person, Boss


def test_single_table_base_class(oracle: WithTables) -> None:
    Person, _ = single()
    rows = [{"name": "a"}, {}, {"kind": "boss", "name": "b"}, {"kind": None}]
    oracle(Person).check(Person, rows, returning=[Person.id, Person.kind])


@pytest.mark.without("mysql")  # its oracle selects rows of the subclass only
def test_single_table_subclass(oracle: WithTables) -> None:
    Person, Boss = single()
    rows = [{"name": "a"}, {"budget": 3}, {}, {"kind": "person"}]
    oracle(Person).check(Boss, rows, returning=[Boss.id, Boss.kind, Boss.budget])


def test_the_identity_under_another_column_name_is_not_lost(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        kind = Column("type", String)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "person"}

    Base.metadata.create_all(session.connection())
    # SQLAlchemy's own bulk insert stores NULL here.
    result = fastbulk.insert(session, Person, [{}, {"kind": "x"}], returning=Person.kind)
    assert result.scalars().all() == ["person", "x"]


def test_returned_entities_are_of_the_class_that_their_identity_says(session: Session) -> None:
    Person, Boss = single()
    Person.metadata.create_all(session.connection())
    rows = [{"name": "a"}, {"name": "b", "kind": "boss"}]
    people = fastbulk.insert(session, Person, rows, returning=Person).scalars().all()
    assert [type(person) for person in people] == [Person, Boss]
    assert [person.name for person in people] == ["a", "b"]
    assert people[1].budget == 7


def test_a_subclass_without_identity(oracle: WithTables) -> None:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        kind = Column(String)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "person"}

    class Mixed(Person):
        __mapper_args__ = {"polymorphic_abstract": True}

    oracle(Person).check(Mixed, [{}, {"kind": "x"}])


def test_concrete_tables(oracle: WithTables) -> None:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        name = Column(String, default="p")

    class Boss(Person):
        __tablename__ = "boss"
        id = Column(Integer, primary_key=True)
        name = Column(String, default="b")
        budget = Column(Integer)
        __mapper_args__ = {"concrete": True}

    databases = oracle(Person)
    databases.check(Person, [{}, {"name": "a"}], returning=Person)
    databases.check(Boss, [{}, {"name": "a", "budget": 1}], returning=Boss)


def joined() -> tuple[Any, Any]:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        kind = Column(String)
        name = Column(String)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "person"}

    class Boss(Person):
        __tablename__ = "boss"
        id = Column(Integer, ForeignKey(Person.id), primary_key=True)
        budget = Column(Integer, nullable=False)
        __mapper_args__ = {"polymorphic_identity": "boss"}

    return Person, Boss


def test_joined_tables_base_class_is_native(session: Session) -> None:
    Person, _ = joined()
    Person.metadata.create_all(session.connection())
    result = fastbulk.insert(session, Person, [{"name": "a"}], returning=Person)
    assert result.road.name == "native"
    assert [person.kind for person in result.scalars()] == ["person"]


def test_joined_tables_subclass_goes_by_sqlalchemy(oracle: WithTables, form: Form) -> None:
    Person, Boss = joined()
    rows = [{"name": "a", "budget": 1}, {"budget": 2}, {"id": 9, "name": "c", "budget": 3}]
    oracle(Person).check(Boss, rows, form=form, road="sqlalchemy")


@pytest.mark.without("mysql")  # SQLAlchemy returns none there
def test_joined_tables_return_entities_in_order(session: Session) -> None:
    Person, Boss = joined()
    Person.metadata.create_all(session.connection())
    rows = ({"name": str(i), "budget": i} for i in range(50))
    result = fastbulk.insert(session, Boss, rows, returning=Boss)
    assert result.rowcount == 50
    assert result.road.name == "sqlalchemy"
    assert "several tables" in result.road.refused["native"]
    bosses = result.scalars().all()
    assert [(boss.name, boss.budget) for boss in bosses] == [(str(i), i) for i in range(50)]
    assert all(boss in session for boss in bosses)


def test_joined_tables_are_all_or_nothing(session: Session) -> None:
    Person, Boss = joined()
    Person.metadata.create_all(session.connection())
    fastbulk.insert(session, Boss, [{"budget": 1}])
    with pytest.raises((exc.IntegrityError, exc.OperationalError)):
        fastbulk.insert(session, Boss, [{"budget": 1}, {"name": "b"}])
    assert len(session.scalars(select(Person)).all()) == 1


@pytest.mark.without("mysql")
def test_joined_tables_through_a_connection(engine: Engine) -> None:
    Person, Boss = joined()
    Person.metadata.create_all(engine)
    with engine.connect() as connection:
        result = fastbulk.insert(connection, Boss, [{"budget": 4}], returning=[Boss.id])
        assert result.all() == [(1,)]
        assert connection.in_transaction()
        connection.rollback()
        assert connection.execute(select(Person.id)).all() == []


def test_joined_tables_refuse_an_unknown_key_by_row(session: Session) -> None:
    _, Boss = joined()
    with pytest.raises(exc.ArgumentError, match="row 1: Boss has no column attribute 'x'"):
        fastbulk.insert(session, Boss, [{"budget": 1}, {"x": 1}])
