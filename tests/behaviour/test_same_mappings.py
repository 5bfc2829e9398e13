"""Mappings of more than one table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, String, event, insert, join, update
from sqlalchemy.orm import (
    column_property,
    declarative_base,
    mapped_column,
    validates,
)

from oracle import model
from world import World, behaviour


def animals() -> tuple[Any, Any, Any]:
    """A class, one with a table of its own below it, and one without."""

    class Animal(declarative_base()):  # type: ignore[misc]
        __tablename__ = "animal"
        id = mapped_column(Integer, primary_key=True)
        kind = mapped_column(String(50))
        name = mapped_column(String(50))
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "animal"}

    class Dog(Animal):
        __tablename__ = "dog"
        id = mapped_column(ForeignKey("animal.id"), primary_key=True)
        breed = mapped_column(String(50))
        __mapper_args__ = {"polymorphic_identity": "dog"}

    class Cat(Animal):
        color = mapped_column(String(50))
        __mapper_args__ = {"polymorphic_identity": "cat"}

    return Animal, Dog, Cat


@behaviour(
    44,
    "Joined inheritance: the base's table is filled first, and its keys go to the next.",
    left=["a statement for each row", "return_defaults()"],
)
def test_joined_inheritance(world: World) -> None:
    Animal, Dog, _ = animals()
    world.create(Animal)
    world.attempt(lambda session: session.execute(insert(Animal), [{"id": 30}, {"id": 31}]))
    rows = [{"name": "a", "breed": "x"}, {"name": "b", "breed": "y"}, {"name": "c"}]
    world.attempt(lambda session: session.execute(insert(Dog), rows))
    world.attempt(lambda session: session.execute(insert(Dog), [{"id": 20, "breed": "z"}]))
    if world.oracle.backend.speaks[0] != "mysql":
        world.attempt(lambda s: s.execute(insert(Dog).returning(Dog), rows).scalars().all())
        columns = insert(Dog).returning(Dog.id, Dog.name, Dog.breed)
        world.attempt(lambda session: session.execute(columns, rows).all())
    world.attempt(lambda s: s.bulk_insert_mappings(Dog, rows, return_defaults=True))
    world.note(rows)


@behaviour(
    45,
    "The polymorphic identity is that of the class, unless the row gives another.",
)
def test_polymorphic_identity(world: World) -> None:
    Animal, _Dog, Cat = animals()
    world.create(Animal)
    world.attempt(lambda s: s.execute(insert(Animal), [{"name": "a"}, {"kind": "cat"}]))
    world.attempt(lambda s: s.execute(insert(Cat), [{"name": "b", "color": "c"}, {"name": "d"}]))
    world.attempt(lambda s: s.execute(insert(Cat), [{"kind": "dog"}]))
    if world.oracle.backend.speaks[0] != "mysql":
        rows = [{"name": "e", "color": "f"}]
        world.attempt(lambda s: s.execute(insert(Cat).returning(Cat), rows).scalars().all())
        rows = [{"name": "g", "kind": "cat"}, {"name": "h"}]
        world.attempt(lambda s: s.execute(insert(Animal).returning(Animal), rows).scalars().all())


@behaviour(46, "Concrete inheritance: the class's own table is filled.")
def test_concrete_inheritance(world: World) -> None:
    Base = declarative_base()

    class Person(Base):  # type: ignore[misc,valid-type]
        __tablename__ = "person"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(50))

    class Manager(Person):
        __tablename__ = "manager"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(50))
        level = mapped_column(Integer)
        __mapper_args__ = {"concrete": True}

    world.create(Person)
    rows = [{"name": "a", "level": 1}, {"name": "b"}]
    world.attempt(lambda session: session.execute(insert(Manager), rows))
    world.attempt(lambda session: session.execute(insert(Person), rows))


@behaviour(
    47,
    "A class mapped to a join is refused by `execute()` as it is without acceleration, and filled "
    "table by table by `bulk_insert_mappings`.",
    left=["no native road", "a statement for each row"],
)
def test_mapping_to_a_join(world: World) -> None:
    Base = declarative_base()
    Left = model(name=mapped_column(String(50)))
    metadata = Left.metadata

    class Right(Left):  # type: ignore[misc,valid-type]
        __tablename__ = "right"
        id = mapped_column(ForeignKey("thing.id"), primary_key=True)
        city = mapped_column(String(50))

    one, two = metadata.tables["thing"], metadata.tables["right"]

    class Both(Base):  # type: ignore[misc,valid-type]
        __table__ = join(one, two)
        id = column_property(one.c.id, two.c.id)

    world.create(Left)
    rows = [{"id": 1, "name": "a", "city": "x"}, {"id": 2, "name": "b", "city": "y"}]
    world.attempt(lambda session: session.execute(insert(Left), [{"id": 9, "name": "left"}]))
    world.attempt(lambda session: session.execute(insert(Both), rows))
    rows = [{"id": 3, "name": "c", "city": "z"}]
    world.attempt(lambda session: session.bulk_insert_mappings(Both, rows))
    world.attempt(lambda session: session.execute(insert(Both), [{"name": "d", "city": "w"}]))


@behaviour(
    48,
    "Columns that the mapping excludes stay out; `eager_defaults` has no effect, but for "
    "`return_defaults`.",
    left=["a statement for each row"],
)
def test_excluded_columns(world: World) -> None:
    class Thing(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(50))
        hidden = Column(String(50), server_default="x")
        late = mapped_column(String(50), server_default="y")
        __mapper_args__ = {"exclude_properties": ["hidden"], "eager_defaults": True}

    world.create(Thing)
    rows = [{"name": "a", "hidden": "b"}, {"name": "c", "late": "d"}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    world.attempt(lambda s: s.bulk_insert_mappings(Thing, rows, return_defaults=True))
    world.note(rows)


@behaviour(
    49,
    "Natural and composite keys. Relationships are not followed; no mapper event, validator or "
    "`init` event is called, `load` for objects that come back.",
)
def test_keys_and_events(world: World) -> None:
    class Thing(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        a = mapped_column("key_a", String(50), primary_key=True)
        b = mapped_column("key_b", Integer, primary_key=True)
        name = mapped_column(String(50))
        parent_a = mapped_column(String(50))
        parent_b = mapped_column(Integer)

        @validates("name")
        def check(self, key: str, value: str) -> str:
            raise AssertionError

    world.create(Thing)
    seen: list[Any] = []
    for name in ("before_insert", "after_insert", "before_update", "after_update"):
        event.listen(Thing, name, lambda *_, name=name: seen.append(name))
    event.listen(Thing, "init", lambda *_: seen.append("init"))
    event.listen(Thing, "load", lambda thing, _: seen.append(("load", thing.a, thing.b)))
    rows = [{"a": "x", "b": 1, "name": "n"}, {"a": "x", "b": 2, "parent_a": "x", "parent_b": 1}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    world.attempt(lambda s: s.execute(update(Thing), [{"a": "x", "b": 2, "name": "m"}]))
    if world.oracle.backend.speaks[0] != "mysql":
        rows = [{"a": "y", "b": 1}, {"a": "y", "b": 2}]
        world.attempt(lambda s: s.execute(insert(Thing).returning(Thing), rows).scalars().all())
    world.note(seen)


@behaviour(50, "A version begins with its generator's first, whatever the row says.")
def test_versions_of_new_rows(world: World) -> None:
    class Thing(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(50))
        ver = mapped_column(Integer, nullable=False)
        __mapper_args__ = {"version_id_col": ver}

    world.create(Thing)
    rows = [{"name": "a"}, {"name": "b", "ver": 9}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    world.attempt(lambda session: session.bulk_insert_mappings(Thing, rows))
