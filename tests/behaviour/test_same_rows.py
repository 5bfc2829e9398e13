"""Rows, their groups and their order."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Integer, String, bindparam, func, insert, null, update
from sqlalchemy.orm import Session, declarative_base, mapped_column

from oracle import model
from world import RETURNS, World, behaviour


@behaviour(
    16,
    "Rows with the same keys that follow each other go together; the order of the rows is kept.",
)
def test_groups(world: World) -> None:
    Thing = world.create(
        model(name=mapped_column(String(50), server_default="x"), n=mapped_column(Integer))
    )
    rows = [{"name": "a"}, {"n": 1}, {"name": "b", "n": 2}, {"n": 3}, {"n": 4}, {"name": None}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))


@behaviour(
    17,
    "None is left out of an insert, so that the column's default stands; `render_nulls=True` keeps "
    "it, and no default stands.",
)
def test_nulls(world: World) -> None:
    Thing = world.create(
        model(
            name=mapped_column(String(50), server_default="server"),
            city=mapped_column(String(50), default="python"),
            n=mapped_column(Integer),
        )
    )
    rows = [{"name": None, "city": None, "n": 1}, {"name": "a", "city": "b", "n": None}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    options = {"render_nulls": True}
    world.attempt(lambda s: s.execute(insert(Thing), rows, execution_options=options))
    world.attempt(lambda s: s.execute(insert(Thing).execution_options(**options), rows))
    world.attempt(lambda s: s.bulk_insert_mappings(Thing, rows, render_nulls=True))
    world.attempt(lambda s: s.bulk_insert_mappings(Thing, rows))


@behaviour(
    18,
    "Types that have a meaning for None keep it: JSON sends its own null, and a type that "
    "evaluates None sends NULL. A key that is absent is the default in every case.",
)
def test_nulls_of_types(world: World) -> None:
    Thing = world.create(
        model(
            n=mapped_column(Integer),
            json=mapped_column(JSON),
            sql=mapped_column(JSON(none_as_null=True)),
            name=mapped_column(String(50).evaluates_none(), server_default="x"),
        )
    )
    rows = [
        {"n": 1, "json": None, "sql": None, "name": None},
        {"n": 2},
        {"n": 3, "json": JSON.NULL, "sql": {"a": None}, "name": "b"},
    ]
    world.attempt(lambda session: session.execute(insert(Thing), rows))


@behaviour(
    19,
    "SQL expressions as values of single rows are not known: they reach the driver, which refuses "
    "them, or on MySQL stores their text.",
)
def test_expressions_in_rows(world: World) -> None:
    Thing = world.create(model(name=mapped_column(String(50)), n=mapped_column(Integer)))
    world.attempt(lambda s: s.execute(insert(Thing), [{"name": "a"}, {"name": "b"}]))
    world.attempt(lambda s: s.execute(insert(Thing), [{"name": null()}, {"name": "c"}]))
    world.attempt(lambda s: s.bulk_insert_mappings(Thing, [{"name": func.upper("d")}]))
    world.attempt(lambda s: s.execute(update(Thing), [{"id": 1, "n": Thing.n + 1}]))


@behaviour(
    20,
    "`values()` of the statement hold for all rows; the row's own value goes before it, and its "
    "parameters may be taken from the rows.",
)
def test_fixed_values(world: World) -> None:
    Thing = world.create(
        model(
            name=mapped_column(String(50)),
            code=mapped_column(String(50)),
            q=mapped_column(String(50)),
        )
    )
    fixed = insert(Thing).values(name=func.upper("x"), code="c")
    world.attempt(lambda s: s.execute(fixed, [{"q": "1"}, {"q": "2", "code": "d"}, {"name": "y"}]))
    by_row = insert(Thing).values(q=func.upper(bindparam("given")))
    world.attempt(lambda s: s.execute(by_row, [{"name": n, "given": n + "!"} for n in "ab"]))


@behaviour(21, "A primary key that is None is generated.")
def test_keys_of_none(world: World) -> None:
    Thing = world.create(model(name=mapped_column(String(50))))
    rows = [{"id": None, "name": "a"}, {"id": 10, "name": "b"}, {"name": "c"}]
    world.attempt(lambda session: session.execute(insert(Thing), rows[:1]))
    world.attempt(lambda session: session.execute(insert(Thing), rows[1:2]))
    world.attempt(lambda session: session.execute(insert(Thing), rows[::2]))


@behaviour(22, "A row without a key is a row of defaults.")
def test_empty_rows(world: World) -> None:
    class Base(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        id = mapped_column(Integer, primary_key=True)
        kind = mapped_column(String(50))
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "base"}

    world.create(Base)
    world.attempt(lambda session: session.execute(insert(Base), [{}, {}]))
    Other = world.create(model(table="other", name=mapped_column(String(50), server_default="x")))
    world.attempt(lambda session: session.execute(insert(Other), [{}, {}]))


@behaviour(
    23,
    "Many rows go in pages of the statement; the result is one.",
    on=RETURNS,
)
def test_pages(world: World) -> None:
    Thing = world.create(model(n=mapped_column(Integer)))
    rows = [{"n": n} for n in range(2500)]
    statement = insert(Thing).returning(Thing.id, Thing.n, sort_by_parameter_order=True)
    if world.dialect == "sqlite":
        statement = insert(Thing).returning(Thing.id, Thing.n)
    world.attempt(lambda session: session.execute(statement, rows).all())
    world.attempt(lambda session: session.execute(insert(Thing), rows))


@behaviour(
    24,
    "What was sent before an error stays in the transaction, if the database lets it go on.",
    on=("sqlite-memory",),
)
def test_what_a_failed_call_leaves(world: World) -> None:
    Thing = world.create(model(name=mapped_column(String(50), unique=True)))
    with Session(world.engine) as session:
        session.execute(insert(Thing), [{"name": "z"}])

        def insert_rows(*rows: dict[str, Any]) -> None:
            try:
                session.execute(insert(Thing), rows)
            except Exception as error:
                world.note(error)

        insert_rows({"name": "a"}, {"name": "b"}, {"name": "a"}, {"name": "c"})
        insert_rows({"name": "d"}, {"id": 10, "name": "e"}, {"name": "d"})
        session.commit()
