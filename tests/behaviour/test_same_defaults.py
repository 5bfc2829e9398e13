"""Defaults."""

from __future__ import annotations

from itertools import count
from typing import Any

from sqlalchemy import (
    Column,
    Computed,
    FetchedValue,
    Identity,
    Integer,
    Sequence,
    String,
    func,
    insert,
    insert_sentinel,
    update,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    mapped_column,
)

from oracle import model
from world import POSTGRESQL, RETURNS, World, behaviour


@behaviour(
    25,
    "A default that is called is called once per row, in their order; it may look at the row, by "
    "names of columns, with the defaults of the columns before it.",
)
def test_called_defaults(world: World) -> None:
    numbers = count(1)
    seen: list[Any] = []

    def by_row(context: Any) -> str:
        row = context.get_current_parameters()
        seen.append(dict(row))
        return f"{row['town']}/{row['n']}"

    Thing = world.create(
        model(
            n=mapped_column(Integer, default=lambda: next(numbers)),
            city=mapped_column("town", String(50), default="x"),
            label=mapped_column(String(50), default=by_row),
            late=mapped_column(Integer, default=lambda: 100 + next(numbers)),
        )
    )
    rows = [{}, {"city": "y"}, {"n": 50, "city": "z"}, {"n": None}, {"label": "given"}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    world.attempt(lambda session: session.execute(insert(Thing), [{"city": "w"}] * 3))
    world.note(seen)


@behaviour(
    26,
    "A default that is an SQL expression stands in the statement; for a primary key too.",
)
def test_expressions_as_defaults(world: World) -> None:
    Thing = world.create(
        model(
            name=mapped_column(String(50)),
            shout=mapped_column(String(50), default=func.upper("abc")),
        )
    )
    rows = [{"name": "a"}, {"name": "b", "shout": "c"}, {"name": "d"}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    numbers = func.abs(-7)
    Keyed = world.create(
        model(
            table="keyed",
            id=Column(Integer, primary_key=True, default=numbers, autoincrement=False),
            name=mapped_column(String(50)),
        )
    )
    world.attempt(lambda session: session.execute(insert(Keyed), [{"name": "a"}]))
    world.attempt(lambda session: session.execute(insert(Keyed), [{"id": 1}, {"name": "b"}]))


@behaviour(27, "A class that is a dataclass has the defaults of its columns.")
def test_dataclasses(world: World) -> None:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        name: Mapped[str] = mapped_column(String(50), default="of the field")
        city: Mapped[str] = mapped_column(String(50), insert_default="of the column", init=False)
        n: Mapped[int] = mapped_column(default_factory=lambda: 5)

    world.create(Thing)
    world.attempt(lambda session: session.execute(insert(Thing), [{"n": 1}, {"n": 2}]))
    world.attempt(lambda session: session.execute(insert(Thing), [{"name": "a", "n": 3}]))
    world.attempt(lambda session: session.execute(insert(Thing), [{"name": "b"}]))


@behaviour(
    28,
    "Sequences are asked by the statement; identity and computed columns refuse a value as the "
    "database does.",
    on=POSTGRESQL,
)
def test_sequences(world: World) -> None:
    Thing = world.create(
        model(
            id=Column(Integer, Sequence("numbers", start=5), primary_key=True),
            n=mapped_column(Integer, Identity(always=True)),
            double=mapped_column(Integer, Computed("n * 2")),
            name=mapped_column(String(50)),
        )
    )
    world.attempt(lambda s: s.execute(insert(Thing), [{"name": "a"}, {"name": "b"}]))
    world.attempt(lambda session: session.execute(insert(Thing), [{"n": 9}, {"n": 10}]))
    world.attempt(lambda session: session.execute(insert(Thing), [{"double": 9}]))


@behaviour(
    29,
    "What the server fills in is left out of the statement and comes back by RETURNING only.",
    on=RETURNS,
)
def test_server_defaults(world: World) -> None:
    Thing = world.create(
        model(
            n=mapped_column(Integer),
            name=mapped_column(String(50), server_default="x"),
            late=mapped_column(String(50), FetchedValue()),
            double=mapped_column(Integer, Computed("n * 2", persisted=True)),
        )
    )
    rows = [{"n": 1}, {"n": 2, "name": "y"}, {"n": 3, "late": "z"}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    world.attempt(lambda s: s.execute(insert(Thing).returning(Thing), rows).scalars().all())
    world.attempt(lambda s: s.execute(insert(Thing), [{"double": 1}]))


@behaviour(
    30,
    "A sentinel column keeps the rows that come back in the order of those given.",
    on=RETURNS,
    left=["a sentinel column", "return_defaults()"],
)
def test_sentinels(world: World) -> None:
    Thing = world.create(
        model(
            id=Column(String(50), primary_key=True, server_default="none"),
            n=mapped_column(Integer),
            _sentinel=insert_sentinel(),
        )
    )
    statement = insert(Thing).returning(Thing.id, Thing.n, sort_by_parameter_order=True)
    rows = [{"id": name, "n": n} for n, name in enumerate("cab")]
    world.attempt(lambda session: session.execute(statement, rows))
    world.attempt(lambda session: session.execute(insert(Thing), [{"id": "x"}, {"id": "y"}]))


@behaviour(
    31,
    "`onupdate` is applied to an update that doesn't name the column, and not by an upsert.",
)
def test_onupdate(world: World) -> None:
    numbers = count(1)
    Thing = world.create(
        model(
            name=mapped_column(String(50)),
            scalar=mapped_column(String(50), onupdate="updated"),
            called=mapped_column(Integer, onupdate=lambda: next(numbers)),
            sql=mapped_column(String(50), onupdate=func.upper("sql")),
        ),
        *({"name": name} for name in "abc"),
    )
    rows = [{"id": 1, "name": "d"}, {"id": 2, "name": "e"}, {"id": 3, "scalar": None, "called": 9}]
    world.attempt(lambda session: session.execute(update(Thing), rows))
    world.attempt(lambda s: s.execute(insert(Thing), [{"name": "f"}, {"name": "g"}]))


@behaviour(
    32,
    "A default that looks at the row, in a statement that holds the rows itself, does what it does "
    "without acceleration.",
)
def test_defaults_by_row_within_the_statement(world: World) -> None:
    def by_row(context: Any) -> str:
        return str(context.get_current_parameters()["town"]) + "!"

    Thing = world.create(
        model(
            city=mapped_column("town", String(50)),
            label=mapped_column("lab", String(50), default=by_row),
        )
    )
    rows = [{"city": "a"}, {"city": "b"}]
    world.attempt(lambda session: session.execute(insert(Thing).values(rows)))
    world.attempt(lambda session: session.execute(insert(Thing), rows))
