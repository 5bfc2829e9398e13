"""Rows that are made while they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Integer, String, create_engine, exc, func, insert, select
from sqlalchemy.orm import DeclarativeBase, Session

import fastbulk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

COUNT = 45_000


def models() -> tuple[Any, Any]:
    class Base(DeclarativeBase):
        pass

    class Source(Base):
        __tablename__ = "source"
        id = Column(Integer, primary_key=True)
        name = Column(String)

    class Thing(Base):
        __tablename__ = "thing"
        id = Column(Integer, primary_key=True)
        name = Column(String, nullable=False)

    return Source, Thing


@pytest.fixture
def classes(session: Session) -> tuple[Any, Any]:
    Source, Thing = models()
    Thing.metadata.create_all(session.connection())
    session.commit()
    return Source, Thing


def count(session: Session, Class: Any) -> int:
    return session.scalars(select(func.count()).select_from(Class)).one()


def test_a_generator_that_queries_the_session(session: Session, classes: tuple[Any, Any]) -> None:
    Source, Thing = classes
    session.execute(insert(Source), [{"name": f"s{i}"} for i in range(10)])

    def generate() -> Iterator[dict[str, Any]]:
        for i in range(COUNT):
            if i % 5_000 == 0:
                name = session.scalar(select(Source.name).where(Source.id == i // 5_000 + 1))
            yield {"name": name}

    assert fastbulk.insert(session, Thing, generate()).rowcount == COUNT
    found = session.execute(
        select(Thing.name, func.count()).group_by(Thing.name).order_by(Thing.name)
    ).all()
    assert found == [(f"s{i}", 5_000) for i in range(9)]


@pytest.mark.without("mariadb", "mysql")  # one statement at a time
def test_a_generator_over_an_open_result_of_the_session(
    session: Session, classes: tuple[Any, Any]
) -> None:
    Source, Thing = classes
    fastbulk.insert(session, Source, ({"name": str(i)} for i in range(COUNT)))
    result = session.execute(select(Source.name).execution_options(yield_per=100))
    fastbulk.insert(session, Thing, ({"name": row.name} for row in result))
    assert count(session, Thing) == COUNT
    session.commit()


@pytest.mark.only("sqlite")
def test_a_generator_over_an_open_result_in_autocommit(engine: Engine) -> None:
    Source, Thing = models()
    Source.metadata.create_all(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        fastbulk.insert(connection, Source, ({"name": str(i)} for i in range(COUNT)))
        result = connection.execution_options(yield_per=100).execute(select(Source.name))
        fastbulk.insert(connection, Thing, ({"name": row.name} for row in result))
        assert connection.scalar(select(func.count()).select_from(Thing)) == COUNT


def test_a_generator_that_inserts_by_the_session(
    session: Session, classes: tuple[Any, Any]
) -> None:
    Source, Thing = classes

    def generate() -> Iterator[dict[str, Any]]:
        for i in range(COUNT):
            if i % 10_000 == 0:
                session.add(Source(name=f"s{i}"))
                session.flush()
            yield {"name": str(i)}

    fastbulk.insert(session, Thing, generate())
    assert (count(session, Source), count(session, Thing)) == (5, COUNT)


def test_a_generator_that_loads_another_table_natively(
    session: Session, classes: tuple[Any, Any]
) -> None:
    Source, Thing = classes

    def generate() -> Iterator[dict[str, Any]]:
        for i in range(COUNT):
            if i % 15_000 == 0:
                fastbulk.insert(session, Source, [{"name": "s"}] * 20_001)
            yield {"name": str(i)}

    fastbulk.insert(session, Thing, generate())
    assert (count(session, Source), count(session, Thing)) == (3 * 20_001, COUNT)


SLEEPS = "CREATE TRIGGER slow AFTER INSERT ON source FOR EACH ROW SET @slow = SLEEP(0.002)"
#: A trigger that takes two milliseconds or so per row.
SLOW = {
    "sqlite": [
        "CREATE TRIGGER slow AFTER INSERT ON source BEGIN "
        "SELECT (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) "
        "SELECT sum(i) FROM n); END"
    ],
    "postgresql": [
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.002); RETURN NULL; END $$",
        "CREATE TRIGGER slow AFTER INSERT ON source FOR EACH ROW EXECUTE FUNCTION wait()",
    ],
    "mariadb": [SLEEPS],
    "mysql": [SLEEPS],
}


def test_a_generator_whose_own_load_takes_long(session: Session, classes: tuple[Any, Any]) -> None:
    """So long that the inner load looks for Ctrl-C, with the outer one still on the stack."""
    Source, Thing = classes
    for sql in SLOW[session.get_bind().dialect.name]:
        session.connection().exec_driver_sql(sql)

    def generate() -> Iterator[dict[str, Any]]:
        fastbulk.insert(session, Source, [{"name": "s"}] * 150)
        yield {"name": "x"}

    fastbulk.insert(session, Thing, generate())
    assert (count(session, Source), count(session, Thing)) == (150, 1)


def test_a_generator_that_loads_the_same_table_natively(
    session: Session, classes: tuple[Any, Any]
) -> None:
    _, Thing = classes

    def generate() -> Iterator[dict[str, Any]]:
        for i in range(COUNT):
            if i % 15_000 == 0:
                fastbulk.insert(session, Thing, [{"name": "inner"}] * 3)
            yield {"name": "outer"}

    returned = fastbulk.insert(session, Thing, generate(), returning=Thing.name).scalars().all()
    assert returned == ["outer"] * COUNT
    assert count(session, Thing) == COUNT + 9


def test_a_generator_that_begins_and_ends_a_savepoint(
    session: Session, classes: tuple[Any, Any]
) -> None:
    Source, Thing = classes

    def generate() -> Iterator[dict[str, Any]]:
        for i in range(COUNT):
            if i % 15_000 == 0:
                with session.begin_nested() as savepoint:
                    session.execute(insert(Source), [{"name": "s"}])
                    if i:
                        savepoint.rollback()
            yield {"name": str(i)}

    fastbulk.insert(session, Thing, generate())
    assert (count(session, Source), count(session, Thing)) == (1, COUNT)


@pytest.mark.parametrize("at", [0, 10, 19_999, 20_000, COUNT - 1])
def test_a_generator_that_raises(session: Session, classes: tuple[Any, Any], at: int) -> None:
    Source, Thing = classes
    session.add(Source(name="before"))

    def generate() -> Iterator[dict[str, Any]]:
        for i in range(COUNT):
            if i == at:
                raise LookupError(i)
            yield {"name": str(i)}

    with pytest.raises(LookupError):
        fastbulk.insert(session, Thing, generate())
    assert (count(session, Source), count(session, Thing)) == (1, 0)
    fastbulk.insert(session, Thing, [{"name": "later"}])
    session.commit()
    assert (count(session, Source), count(session, Thing)) == (1, 1)


def test_a_generator_that_raises_in_an_engines_call(engine: Engine) -> None:
    _, Thing = models()
    Thing.metadata.create_all(engine)

    def generate() -> Iterator[dict[str, Any]]:
        yield from ({"name": str(i)} for i in range(COUNT))
        raise LookupError

    with pytest.raises(LookupError):
        fastbulk.insert(engine, Thing, generate())
    with Session(engine) as session:
        assert count(session, Thing) == 0


def test_a_generator_is_read_slice_by_slice(session: Session, classes: tuple[Any, Any]) -> None:
    _, Thing = classes
    read, at_report = 0, []

    def generate() -> Iterator[dict[str, Any]]:
        nonlocal read
        for i in range(COUNT):
            read += 1
            yield {"name": str(i)}

    fastbulk.insert(
        session, Thing, generate(), progress=lambda done, total: at_report.append((done, read))
    )
    assert at_report == [(20_000, 20_000), (40_000, 40_000), (COUNT, COUNT)]


def test_a_generator_is_not_read_on_after_a_bad_row(
    session: Session, classes: tuple[Any, Any]
) -> None:
    _, Thing = classes
    read = 0

    def generate() -> Iterator[dict[str, Any]]:
        nonlocal read
        for i in range(COUNT):
            read += 1
            yield {"name": None if i == 5 else str(i)}

    with pytest.raises(Exception, match=r"(?i)not.null|no default|default value"):
        fastbulk.insert(session, Thing, generate())
    assert read == 20_000


def test_a_generator_that_reads_the_rows_of_its_own_call(
    session: Session, classes: tuple[Any, Any]
) -> None:
    _, Thing = classes

    def generate() -> Iterator[dict[str, Any]]:
        yield {"name": "x"}
        yield from generator

    generator = generate()
    with pytest.raises(ValueError, match="generator already executing"):
        fastbulk.insert(session, Thing, generator)
    assert count(session, Thing) == 0


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize(("end", "left"), [("rollback", 1), ("commit", 20_001)])
def test_a_generator_that_ends_the_transaction_ends_the_call(
    tmp_path: Path, autocommit: bool, end: str, left: int
) -> None:
    """What it commits stands; the slices after it may not be transactions of their own."""
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    _, Thing = models()
    Thing.metadata.create_all(engine)
    fastbulk.insert(engine, Thing, [{"name": "before"}])
    with engine.connect() as connection:
        if autocommit:
            connection.execution_options(isolation_level="AUTOCOMMIT")

        def generate() -> Iterator[dict[str, Any]]:
            for i in range(COUNT):
                if i == 25_000:
                    getattr(connection, end)()
                yield {"name": str(i)}

        with pytest.raises(exc.InvalidRequestError, match="transaction of the call was ended"):
            fastbulk.insert(connection, Thing, generate())
    with Session(engine) as session:
        assert count(session, Thing) == left
    engine.dispose()
