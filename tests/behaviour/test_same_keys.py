"""Keys of a row."""

from __future__ import annotations

import dataclasses
from typing import Any

from sqlalchemy import Integer, String, func, insert, update
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    column_property,
    composite,
    declarative_base,
    deferred,
    mapped_column,
    synonym,
)

from oracle import model
from world import EVERYWHERE, RETURNS, World, behaviour


@behaviour(9, "Keys are names of attributes; a column's other name is not known.")
def test_names_of_attributes(world: World) -> None:
    Thing = world.create(model(city=mapped_column("town", String(50))))
    world.attempt(lambda session: session.execute(insert(Thing), [{"city": "a"}, {"town": "b"}]))
    world.attempt(lambda session: session.execute(update(Thing), [{"id": 1, "town": "c"}]))
    world.attempt(lambda session: session.execute(update(Thing), [{"id": 1, "city": "d"}]))


@behaviour(
    10,
    "Unknown keys are ignored without a word, attributes as keys too; a row of nothing else is a "
    "row of defaults.",
)
def test_unknown_keys(world: World) -> None:
    Thing = world.create(model(name=mapped_column(String(50), server_default="none")))
    rows = [{"name": "a", "no": 1}, {Thing.name: "b"}, {"no": 2}, {"name": "c"}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    world.attempt(lambda session: session.execute(update(Thing), [{"id": 1, "no": 1}]))
    world.attempt(lambda s: s.execute(update(Thing), [{"id": 1, "name": "d", Thing.name: "e"}]))


@behaviour(
    11,
    "The keys of synonyms and of SQL expressions are ignored.",
)
def test_synonyms(world: World) -> None:
    name = mapped_column(String(50))
    Thing = world.create(
        model(name=name, title=synonym("name"), upper=column_property(func.upper(name)))
    )
    rows = [{"title": "a"}, {"name": "b", "upper": "C"}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    world.attempt(lambda session: session.execute(update(Thing), [{"id": 2, "title": "d"}]))


@dataclasses.dataclass
class Point:
    x: int
    y: int


def placed() -> Any:
    return model(
        point=composite(Point, "x", "y"), x=mapped_column(Integer), y=mapped_column(Integer)
    )


@behaviour(
    12,
    "A composite is given whole or by its parts, in insert and update; None for it is refused. An "
    "object in the Session keeps the old one.",
)
def test_composites(world: World) -> None:
    Thing = world.create(placed(), {"x": 0, "y": 0})
    rows = [{"point": Point(1, 2)}, {"x": 3, "y": 4}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    world.attempt(lambda session: session.execute(insert(Thing), [{"point": None}]))

    def updated(session: Any) -> Any:
        thing = session.get(Thing, 1)
        session.execute(update(Thing), [{"id": 1, "point": Point(5, 6)}, {"id": 2, "x": 7}])
        return [thing.x, thing.y, thing.point == Point(0, 0)]

    world.attempt(updated)


@behaviour(
    13,
    "The key of a hybrid is refused, unless it says by `bulk_dml` what it means.",
)
def test_hybrids(world: World) -> None:
    class Thing(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(50))

        @hybrid_property
        def title(self) -> Any:
            return self.name

        @hybrid_property
        def shout(self) -> Any:
            return self.name

        if hasattr(hybrid_property, "bulk_dml"):

            @shout.inplace.bulk_dml
            @classmethod
            def _shout(cls, mapping: Any, value: Any) -> None:
                mapping["name"] = value.upper()

    world.create(Thing)
    world.attempt(lambda session: session.execute(insert(Thing), [{"name": "a"}]))
    world.attempt(lambda session: session.execute(insert(Thing), [{"title": "a"}]))
    world.attempt(lambda session: session.execute(insert(Thing), [{"shout": "a"}]))
    world.attempt(lambda session: session.execute(update(Thing), [{"id": 1, "shout": "b"}]))


@behaviour(
    14,
    "Deferred columns are inserted; an object that comes back has not loaded them, nor its SQL "
    "expressions.",
    on=RETURNS,
)
def test_deferred_columns(world: World) -> None:
    name = mapped_column(String(50))
    Thing = world.create(
        model(
            name=name,
            text=deferred(mapped_column(String(50))),
            upper=column_property(func.upper(name)),
        )
    )
    rows = [{"name": "a", "text": "b"}, {"name": "c", "text": "d"}]
    world.attempt(lambda s: s.execute(insert(Thing).returning(Thing), rows).scalars().all())


@behaviour(
    15,
    "Names with spaces, `%s`, `:`, parentheses and reserved words are quoted where it is needed.",
    on=EVERYWHERE,
)
def test_odd_names(world: World) -> None:
    Thing = world.create(
        model(
            table="Select Order",
            name=mapped_column("user name %s", String(50)),
            order=mapped_column("order", Integer),
            ratio=mapped_column("a:b(c)", Integer),
        )
    )
    rows = [{"name": "a", "order": 1, "ratio": 2}, {"name": "b", "order": 3, "ratio": 4}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    world.attempt(lambda s: s.execute(update(Thing), [{"id": 1, "name": "c", "ratio": 5}]))
