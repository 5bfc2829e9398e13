"""Rows that come back, and objects of the Session."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Integer, String, func, insert, select, text
from sqlalchemy.orm import (
    Bundle,
    Session,
    declarative_base,
    immediateload,
    joinedload,
    load_only,
    mapped_column,
    relationship,
    selectinload,
)

from oracle import model
from world import EVERYWHERE, RETURNS, World, behaviour


def thing() -> Any:
    return model(name=mapped_column(String(50)), city=mapped_column(String(50)))


ROWS: list[dict[str, Any]] = [{"name": "a", "city": "x"}, {"name": "bb"}, {"name": "c"}]


@behaviour(
    51,
    "The result has SQLAlchemy's class and methods; without RETURNING it is closed, and has no "
    "`rowcount`.",
)
def test_the_result(world: World) -> None:
    Thing = world.create(thing())

    def closed(session: Session) -> Any:
        result = session.execute(insert(Thing), ROWS)
        world.note([type(result).__name__, result.closed, hasattr(result, "rowcount")])
        return result.all()

    world.attempt(closed)
    if world.oracle.backend.speaks[0] == "mysql":
        return
    statement = insert(Thing).returning(
        Thing, Thing.name.label("zz"), func.length(Thing.name).label("length")
    )
    world.attempt(lambda s: list(s.execute(statement, ROWS).keys()))
    world.attempt(lambda s: s.execute(statement, ROWS).all())
    world.attempt(lambda s: s.execute(statement, ROWS).scalars().unique().all())
    world.attempt(lambda s: s.execute(statement, ROWS).mappings().all())
    world.attempt(lambda s: s.scalars(statement, ROWS).first())
    world.attempt(lambda s: s.scalar(statement, ROWS[:1]))
    world.attempt(lambda s: hasattr(s.execute(statement, ROWS), "rowcount"))
    world.attempt(lambda s: list(s.execute(statement, ROWS).partitions(2)))
    world.attempt(lambda s: s.execute(insert(Thing).returning(Thing.id), ROWS).one())


@behaviour(
    52,
    "Objects that come back belong to the Session. One that was there before keeps its old values "
    "unless `populate_existing` is given.",
    on=RETURNS,
)
def test_identities(world: World) -> None:
    Thing = world.create(thing(), {"name": "old"})

    def inserted(session: Session, **options: Any) -> Any:
        old = session.get(Thing, 1)
        assert old is not None
        session.connection().execute(Thing.__table__.delete())
        rows = [{"id": 1, "name": "new"}, {"id": 2, "name": "other"}]
        statement = insert(Thing).returning(Thing, sort_by_parameter_order=True)
        found = session.execute(statement, rows, execution_options=options).scalars().all()
        return [found[0] is old, *found, session.get(Thing, 2) is found[1], session.dirty == set()]

    world.attempt(inserted)
    world.attempt(lambda session: inserted(session, populate_existing=True))


def family() -> tuple[Any, Any]:
    Base = declarative_base()

    class Parent(Base):  # type: ignore[misc,valid-type]
        __tablename__ = "parent"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(50))
        city = mapped_column(String(50))
        children = relationship("Child")

    class Child(Base):  # type: ignore[misc,valid-type]
        __tablename__ = "child"
        id = mapped_column(Integer, primary_key=True)
        parent_id = mapped_column(ForeignKey("parent.id"))

    return Parent, Child


@behaviour(
    53,
    "Loader options hold for objects that come back; what can't be loaded so is refused or warned "
    "of.",
    on=RETURNS,
    left=["what is returned"],
)
def test_loader_options(world: World) -> None:
    Parent, _ = family()
    world.create(Parent)
    returning = insert(Parent).returning(Parent)
    for option in (
        load_only(Parent.name),
        selectinload(Parent.children),
        immediateload(Parent.children),
        joinedload(Parent.children),
    ):
        statement = returning.options(option)
        world.attempt(lambda s, statement=statement: s.execute(statement, ROWS).scalars().all())
    world.attempt(lambda s: s.execute(insert(Parent).returning(text("*")), ROWS).all())
    bundle: Any = Bundle("both", Parent.name, Parent.city)
    world.attempt(lambda s: s.execute(insert(Parent).returning(bundle), ROWS).scalars().all())


@behaviour(
    54,
    "`sort_by_parameter_order=True` gives the rows back in the order of those given.",
    on=RETURNS,
)
def test_the_order_of_rows_that_come_back(world: World) -> None:
    Thing = world.create(thing())
    statement = insert(Thing).returning(Thing.id, Thing.name, sort_by_parameter_order=True)
    world.attempt(lambda session: session.execute(statement, ROWS).all())
    rows = [{"id": 100 - n, "name": str(n)} for n in range(20)]
    world.attempt(lambda session: session.execute(statement, rows).all())
    objects = insert(Thing).returning(Thing, sort_by_parameter_order=True)
    world.attempt(lambda session: session.execute(objects, ROWS).scalars().all())


@behaviour(
    55,
    "MySQL has no RETURNING: it is refused.",
    on=EVERYWHERE[4:],
    left=["the dialect returns no rows of many"],
)
def test_no_returning(world: World) -> None:
    Thing = world.create(thing())
    world.attempt(lambda session: session.execute(insert(Thing), ROWS))
    world.attempt(lambda s: s.execute(insert(Thing).returning(Thing.id), ROWS).all())


@behaviour(
    56,
    "The result holds its objects, and a commit expires them.",
    on=RETURNS,
)
def test_life_of_objects(world: World) -> None:
    Thing = world.create(thing())
    with Session(world.engine) as session:
        result = session.execute(insert(Thing).returning(Thing), ROWS)
        world.note(len(session.identity_map) <= 3)
        found = result.scalars().all()
        world.note([thing in session for thing in found])
        session.commit()
        world.note([list(thing.__dict__) == ["_sa_instance_state"] for thing in found])
        world.note([thing.name for thing in found])
        names = session.scalars(select(Thing.name).order_by(Thing.id)).all()
        world.note(names)
