"""Upserts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer, String, bindparam, insert
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session, declarative_base, mapped_column

from oracle import model
from test_same_mappings import animals
from world import CONFLICT, MYSQL, World, behaviour


def thing(world: World) -> Any:
    Thing = model(
        email=mapped_column(String(50), unique=True),
        name=mapped_column("nm", String(50), server_default="server"),
        n=mapped_column(Integer),
    )
    return world.create(Thing, {"email": "a", "nm": "old", "n": 1})


def conflict(world: World, entity: Any) -> Any:
    """The dialect's insert, whose `on_conflict_do_update` both have."""
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[world.dialect](entity)


ROWS: list[dict[str, Any]] = [
    {"id": 11, "email": "a", "name": "x", "n": 2},
    {"id": 12, "email": "b", "name": "y", "n": 3},
    {"id": 13, "email": "c", "name": "z", "n": 4},
]


@behaviour(
    68,
    "`on_conflict_do_update` with rows: the key by attribute, column or name; with and without "
    "RETURNING, with a condition.",
    on=CONFLICT,
)
def test_on_conflict_do_update(world: World) -> None:
    Thing = thing(world)
    statement = conflict(world, Thing)
    for key in (Thing.email, Thing.__table__.c.email, "email"):
        upsert = statement.on_conflict_do_update(
            index_elements=[key], set_={"n": statement.excluded.n}
        )
        world.attempt(lambda session, upsert=upsert: session.execute(upsert, ROWS))
    returning = upsert.returning(Thing.email, Thing.name, Thing.n)
    world.attempt(lambda session: sorted(session.execute(returning, ROWS).all()))
    where = statement.on_conflict_do_update(
        index_elements=["email"], set_={"nm": "kept"}, where=Thing.n > 2
    )
    world.attempt(lambda session: session.execute(where, ROWS))


@behaviour(
    69,
    "A key that stands twice among the rows: the last wins without RETURNING; with it what the "
    "database says.",
    on=CONFLICT,
)
def test_keys_given_twice_to_upserts(world: World) -> None:
    Thing = thing(world)
    statement = conflict(world, Thing)
    upsert = statement.on_conflict_do_update(
        index_elements=["email"], set_={"n": statement.excluded.n}
    )
    world.attempt(lambda session: session.execute(upsert, ROWS[:1]))
    rows = [*ROWS, {"id": 14, "email": "b", "name": "w", "n": 9}]
    world.attempt(lambda session: session.execute(upsert, rows))
    world.attempt(lambda s: sorted(s.execute(upsert.returning(Thing.n), rows).scalars()))


@behaviour(
    70,
    "What is set is named by column or attribute; the name of an attribute that differs is warned "
    "of, and the database refuses it.",
    on=CONFLICT,
    left=["no plan"],
)
def test_names_of_what_is_set(world: World) -> None:
    Thing = thing(world)
    statement = conflict(world, Thing)
    for key in ("nm", Thing.name, "name"):
        upsert = statement.on_conflict_do_update(
            index_elements=["email"], set_={key: statement.excluded.nm}
        )
        world.attempt(lambda session, upsert=upsert: session.execute(upsert, ROWS))


@behaviour(
    71,
    "None leaves the column out, so that `excluded` has the column's default.",
    on=CONFLICT,
)
def test_nulls_of_upserts(world: World) -> None:
    Thing = thing(world)
    statement = conflict(world, Thing)
    upsert = statement.on_conflict_do_update(
        index_elements=["email"], set_={"nm": statement.excluded.nm, "n": statement.excluded.n}
    )
    rows = [{"email": "a", "name": None, "n": 5}, {"email": "b", "name": "y", "n": None}]
    world.attempt(lambda session: session.execute(upsert, rows))


@behaviour(
    72,
    "`on_conflict_do_nothing` gives back only the rows that it inserted.",
    on=CONFLICT,
)
def test_on_conflict_do_nothing(world: World) -> None:
    Thing = thing(world)
    nothing = conflict(world, Thing).on_conflict_do_nothing(index_elements=["email"])
    world.attempt(lambda s: sorted(s.execute(nothing.returning(Thing.email), ROWS).all()))
    world.attempt(lambda s: s.execute(nothing.returning(Thing.email), ROWS).all())
    world.attempt(lambda s: s.execute(nothing, [*ROWS, {"id": 15, "email": "d"}]))
    world.attempt(lambda s: s.execute(conflict(world, Thing).on_conflict_do_nothing(), ROWS))


@behaviour(
    73,
    "A parameter in what is set is taken from each row.",
    on=CONFLICT,
    taken=False,
    left=["a statement for each row", "no plan"],
)
def test_parameters_of_upserts(world: World) -> None:
    Thing = thing(world)
    upsert = conflict(world, Thing).on_conflict_do_update(
        index_elements=["email"], set_={"nm": bindparam("given")}
    )
    rows = [{**row, "given": f"given {row['n']}"} for row in ROWS]
    world.attempt(lambda session: session.execute(upsert, rows))
    world.attempt(lambda session: session.execute(upsert, rows))
    world.attempt(lambda s: sorted(s.execute(upsert.returning(Thing.name), rows).scalars()))


@behaviour(
    74,
    "A class with several tables has no upsert.",
    on=CONFLICT,
    taken=False,
)
def test_upserts_of_several_tables(world: World) -> None:
    _, Dog, _ = animals()
    world.create(Dog)
    upsert = conflict(world, Dog).on_conflict_do_nothing()
    world.attempt(lambda session: session.execute(upsert, [{"name": "a", "breed": "x"}]))


@behaviour(
    75,
    "`on_duplicate_key_update` with rows, by name and in an order; RETURNING on MariaDB; "
    "`prefix_with('IGNORE')`.",
    on=MYSQL,
    left=["no plan", "a statement for each row", "prefixes"],
)
def test_on_duplicate_key_update(world: World) -> None:
    Thing = thing(world)
    statement = mysql.insert(Thing)
    upsert = statement.on_duplicate_key_update(n=statement.inserted.n)
    world.attempt(lambda session: session.execute(upsert, ROWS))
    ordered = statement.on_duplicate_key_update(
        [("n", statement.inserted.n + 1), ("nm", statement.inserted.nm)]
    )
    world.attempt(lambda session: session.execute(ordered, ROWS))
    if world.oracle.backend.speaks[0] == "mariadb":
        returning = upsert.returning(Thing.email, Thing.n)
        world.attempt(lambda session: session.execute(returning, ROWS).all())
    ignore = insert(Thing).prefix_with("IGNORE")
    world.attempt(lambda session: session.execute(ignore, [*ROWS, {"id": 15, "email": "d"}]))


@behaviour(
    76,
    "An upsert leaves objects of the Session as they are, unless they come back with "
    "`populate_existing`; versions are neither looked at nor raised.",
    on=CONFLICT,
)
def test_objects_of_upserts(world: World) -> None:
    class Thing(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(50))
        ver = mapped_column(Integer, nullable=False)
        __mapper_args__ = {"version_id_col": ver}

    world.create(Thing, {"id": 1, "name": "old", "ver": 5})
    statement = conflict(world, Thing)
    upsert = statement.on_conflict_do_update(
        index_elements=["id"], set_={"name": statement.excluded.name}
    )

    def upserted(session: Session, name: str, returning: bool, **options: Any) -> Any:
        old = session.get(Thing, 1)
        assert old is not None
        rows = [{"id": 1, "name": name}, {"id": 2, "name": name}]
        stmt = upsert.returning(Thing) if returning else upsert
        result = session.execute(stmt, rows, execution_options=options)
        if returning:
            world.note(sorted(thing.name for thing in result.scalars()))
        return [old.name, old.ver]

    world.attempt(lambda session: upserted(session, "a", False))
    world.attempt(lambda session: upserted(session, "b", True))
    world.attempt(lambda session: upserted(session, "c", True, populate_existing=True))
