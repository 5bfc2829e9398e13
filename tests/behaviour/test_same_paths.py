"""Which calls are bulk calls."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from sqlalchemy import String, delete, insert, select, update
from sqlalchemy.orm import aliased, mapped_column

from oracle import model
from world import World, behaviour


def thing() -> Any:
    return model(name=mapped_column(String(50)), city=mapped_column("town", String(50)))


ROWS: list[dict[str, Any]] = [{"name": "a", "city": "x"}, {"name": "b", "city": "y"}]


@behaviour(
    1,
    "`execute(insert(Thing), rows)` is a bulk call for a list, a tuple, a generator and a single "
    "mapping; an empty list inserts one row of defaults.",
)
def test_what_an_insert_takes(world: World) -> None:
    Thing = world.create(thing())
    for rows in (ROWS, tuple(ROWS), ROWS[0]):
        world.attempt(lambda session, rows=rows: session.execute(insert(Thing), rows))
    world.attempt(lambda session: session.execute(insert(Thing), (row for row in ROWS)))
    world.attempt(lambda session: session.execute(insert(Thing), []).rowcount in (1, -1))


@behaviour(
    2,
    "`execute(update(Thing), rows)` is a bulk call for a list only: a single mapping updates every "
    "row, a generator is refused, an empty list does nothing.",
)
def test_what_an_update_takes(world: World) -> None:
    Thing = world.create(thing(), *({"name": name} for name in "ab"))
    rows = [{"id": 2, "name": "c"}, {"id": 1, "name": "d"}]
    world.attempt(lambda session: session.execute(update(Thing), rows))
    world.attempt(lambda session: session.execute(update(Thing), tuple(rows)))
    world.attempt(lambda session: session.execute(update(Thing), {"name": "e"}))
    world.attempt(lambda session: session.execute(update(Thing), (row for row in rows)))
    world.attempt(lambda session: session.execute(update(Thing), []))


@behaviour(
    3,
    "`execute(delete(Thing), rows)` is refused.",
    taken=False,
)
def test_a_delete_is_refused(world: World) -> None:
    Thing = world.create(thing(), {"name": "a"})
    world.attempt(lambda session: session.execute(delete(Thing), [{"id": 1}]))


@behaviour(
    4,
    'The option `dml_strategy="raw"` makes it a statement of Core; `"bulk"` without rows and '
    "unknown names are refused.",
)
def test_the_strategy(world: World) -> None:
    Thing = world.create(thing())

    def by(strategy: str, *rows: Any) -> None:
        options = {"dml_strategy": strategy}
        world.attempt(lambda s: s.execute(insert(Thing), *rows, execution_options=options))

    by("raw", [{"name": "a", "town": "x", "no": 1}, {"name": "b", "town": None}])
    by("bulk", ROWS)
    by("bulk")
    by("other", ROWS)
    by("auto", ROWS)


@behaviour(
    5,
    "An insert into the class's table is a statement of Core: the first row's keys decide. "
    "`insert(aliased(Thing))` is as `insert(Thing)`.",
    left=["rows without a value", "the statement is of an alias"],
)
def test_tables_and_aliases(world: World) -> None:
    Thing = world.create(thing())
    table = Thing.__table__
    world.attempt(lambda session: session.execute(insert(Thing), ROWS))
    rows = [{"name": "a"}, {"name": "b", "town": "y"}]
    world.attempt(lambda session: session.execute(insert(table), rows))
    world.attempt(lambda session: session.execute(insert(table), rows[::-1]))
    world.attempt(lambda session: session.execute(insert(aliased(Thing)), ROWS))


@behaviour(
    6,
    "`insert(Thing).values([row, row])` is one statement, as it is written.",
    taken=False,
)
def test_rows_within_the_statement(world: World) -> None:
    Thing = world.create(thing())
    world.attempt(lambda session: session.execute(insert(Thing).values(ROWS)))


@behaviour(
    7,
    "Rows are mappings of any kind, the rows of another result among them; tuples are refused.",
)
def test_kinds_of_rows(world: World) -> None:
    Thing = world.create(thing())
    world.attempt(lambda s: s.execute(insert(Thing), [MappingProxyType(row) for row in ROWS]))
    world.attempt(lambda session: session.execute(insert(Thing), [("a", "x"), ("b", "y")]))

    def copy(session: Any) -> Any:
        found = session.execute(select(Thing.name, Thing.city).order_by(Thing.id)).all()
        return session.execute(insert(Thing), [row._mapping for row in found])

    world.attempt(copy)


@behaviour(
    8,
    "Rows are not changed, but for those of `bulk_insert_mappings(return_defaults=True)`, which "
    "get their new keys.",
    left=["a statement for each row", "return_defaults()"],
)
def test_rows_stay_as_they_are(world: World) -> None:
    Thing = world.create(thing())
    rows = [{"name": "a", "city": None, "no": 1}, {"name": "b"}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))
    world.note(rows)
    world.attempt(lambda session: session.bulk_insert_mappings(Thing, rows))
    world.note(rows)
    world.attempt(lambda session: session.bulk_insert_mappings(Thing, iter(rows)))
    world.attempt(lambda s: s.bulk_insert_mappings(Thing, rows, return_defaults=True))
    world.note(rows)
