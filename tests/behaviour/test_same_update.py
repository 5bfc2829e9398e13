"""Updates by primary key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Integer, Numeric, String, bindparam, event, func, select, update
from sqlalchemy.orm import Session, declarative_base, mapped_column, with_loader_criteria

from oracle import model
from test_same_mappings import animals
from world import CONFLICT, World, behaviour


def thing(world: World, *names: str, **attributes: Any) -> Any:
    Thing = model(name=mapped_column(String(50)), n=mapped_column(Integer), **attributes)
    return world.create(Thing, *({"name": name, "n": 0} for name in names))


@behaviour(
    57,
    "Each key but the primary key's is set, None is NULL; rows with the same keys that follow each "
    "other go together, per table; a row without a known key does nothing.",
)
def test_what_is_set(world: World) -> None:
    Thing = thing(world, *"abcd", late=mapped_column(Integer, onupdate=5))
    rows = [{"id": 3, "n": 1}, {"id": 1, "n": None}, {"id": 2, "name": None, "n": 2}, {"id": 4}]
    world.attempt(lambda session: session.execute(update(Thing), rows))
    world.attempt(lambda session: session.execute(update(Thing), [{"id": 4}, {"id": 4, "no": 1}]))
    _, Dog, _ = animals()
    world.create(Dog)
    with world.engine.begin() as connection:
        for name in "ab":
            animal, dog = Dog.metadata.tables["animal"], Dog.metadata.tables["dog"]
            connection.execute(animal.insert().values(name=name, kind="dog"))
            connection.execute(
                dog.insert().values(id=select(func.max(animal.c.id)).scalar_subquery())
            )
    rows = [{"id": 1, "name": "c", "breed": "x"}, {"id": 2, "breed": "y"}]
    world.attempt(lambda session: session.execute(update(Dog), rows))
    world.attempt(lambda session: session.bulk_update_mappings(Dog, [{"id": 1, "name": "d"}]))


@behaviour(58, "A row without its whole primary key is refused.")
def test_keys_that_are_absent(world: World) -> None:
    class Thing(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        a = mapped_column("key_a", Integer, primary_key=True)
        b = mapped_column("key_b", Integer, primary_key=True)
        n = mapped_column(Integer)

    world.create(Thing, {"key_a": 1, "key_b": 1, "n": 0})
    world.attempt(lambda s: s.execute(update(Thing), [{"a": 1, "b": 1, "n": 1}]))
    world.attempt(lambda s: s.execute(update(Thing), [{"a": 1, "b": 1, "n": 2}, {"a": 1, "n": 3}]))
    world.attempt(lambda s: s.execute(update(Thing), [{"a": 1, "b": None, "n": 4}]))
    world.attempt(lambda s: s.bulk_update_mappings(Thing, [{"a": 1, "n": 5}]))


@behaviour(
    59,
    "A row that is not found raises `StaleDataError` with the counts of its group, where the "
    "driver counts; a row that is found and not changed counts.",
)
def test_rows_not_found(world: World) -> None:
    Thing = thing(world, *"abc")
    world.attempt(lambda s: s.execute(update(Thing), [{"id": 1, "n": 0}, {"id": 2, "n": 0}]))
    world.attempt(lambda s: s.execute(update(Thing), [{"id": 1, "n": 1}, {"id": 9, "n": 1}]))
    rows = [{"id": 1, "n": 2}, {"id": 9, "n": 2}, {"id": 8, "name": "x"}]
    world.attempt(lambda session: session.execute(update(Thing), rows))
    world.attempt(lambda session: session.execute(update(Thing), rows[1:2]))
    world.attempt(lambda session: session.bulk_update_mappings(Thing, rows))


@behaviour(60, "The same key twice: the last row wins.")
def test_keys_given_twice(world: World) -> None:
    Thing = thing(world, *"abc")
    rows: list[Any] = [{"id": 1, "n": 1}, {"id": 2, "n": 2}, {"id": 1, "n": 3}]
    world.attempt(lambda session: session.execute(update(Thing), rows))
    rows = [{"id": 3, "n": 1, "name": "x"}, {"id": 3, "n": 2}, {"id": 3, "name": "y"}]
    world.attempt(lambda session: session.execute(update(Thing), rows))


@behaviour(
    61,
    "`where()` needs `synchronize_session=None`, and then no row has to be found; `'fetch'` is "
    "refused.",
)
def test_where(world: World) -> None:
    Thing = thing(world, *"abc")
    rows: list[Any] = [{"id": 1, "n": 1}, {"id": 2, "n": 2}, {"id": 3, "n": 3}]
    statement = update(Thing).where(Thing.name != "b")
    world.attempt(lambda session: session.execute(statement, rows))
    for synchronize in (None, False, "fetch", "evaluate"):
        options = {"synchronize_session": synchronize}
        world.attempt(lambda s, o=options: s.execute(statement, rows, execution_options=o))
        world.attempt(lambda s, o=options: s.execute(update(Thing), rows, execution_options=o))
    named = update(Thing).where(Thing.name.is_(None))
    options = {"synchronize_session": None}
    world.attempt(lambda session: session.execute(named, rows, execution_options=options))
    by_row = update(Thing).where(Thing.name == bindparam("given"))
    rows = [{"id": 1, "n": 7, "given": "a"}, {"id": 2, "n": 8, "given": "z"}]
    options = {"synchronize_session": None}
    world.attempt(lambda session: session.execute(by_row, rows, execution_options=options))
    world.attempt(
        lambda s: s.execute(by_row, [*rows, {"id": 3, "n": 9}], execution_options=options)
    )
    world.attempt(
        lambda s: s.execute(
            by_row, [*rows, {"id": 9, "n": 9, "given": "a"}], execution_options=options
        )
    )
    counted = by_row.values(n=Thing.n * 2 + bindparam("more")).where(Thing.n < bindparam("most"))
    for count in (1, 30):
        rows = [{"id": 1, "given": "a", "more": i, "most": 2000} for i in range(count)]
        world.attempt(lambda s, rows=rows: s.execute(counted, rows, execution_options=options))


@behaviour(
    62,
    "`values()` with an SQL expression holds for all rows; `ordered_values()` is refused.",
    left=["ordered_values()"],
)
def test_fixed_values_of_updates(world: World) -> None:
    Thing = thing(world, *"abc")
    rows = [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]
    world.attempt(lambda s: s.execute(update(Thing), rows))
    world.attempt(lambda s: s.execute(update(Thing).values(n=Thing.n + 100), rows))
    world.attempt(lambda s: s.execute(update(Thing).values(n=5), rows))
    ordered = update(Thing).ordered_values((Thing.n, 1))
    world.attempt(lambda session: session.execute(ordered, rows))


@behaviour(
    63,
    "RETURNING of an update by key: what SQLAlchemy makes of it, with several rows and with one.",
    on=CONFLICT,
    left=["returning of an update"],
)
def test_returning_of_updates(world: World) -> None:
    Thing = thing(world, *"abc")
    rows = [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]
    world.attempt(lambda s: s.execute(update(Thing), rows))
    statement = update(Thing).returning(Thing.id)
    world.attempt(lambda s: s.execute(statement, rows).all())
    world.attempt(lambda s: s.execute(statement, rows[:1]).all())


@behaviour(
    64,
    "Objects in the Session get the values that were given, as they were given, where they are "
    "loaded and unchanged; changed ones are expired; `onupdate` is not seen.",
)
def test_objects_of_updates(world: World) -> None:
    Thing = thing(
        world,
        *"abcd",
        price=mapped_column(Numeric(10, 2)),
        late=mapped_column(Integer, onupdate=5),
    )
    seen: list[Any] = []
    event.listen(Thing, "refresh", lambda thing, _, names: seen.append((thing.id, names)))

    def updated(session: Session, **options: Any) -> Any:
        a, b, c = (session.get(Thing, key) for key in (1, 2, 3))
        assert a is not None
        assert b is not None
        session.expire(c)
        with session.no_autoflush:
            b.name = "changed"
            rows = [
                {"id": 1, "name": "x", "price": "1.239"},
                {"id": 2, "name": "y", "price": "2"},
                {"id": 3, "name": "z", "price": "3"},
                {"id": 4, "name": "w", "price": "4"},
            ]
            session.execute(update(Thing), rows, execution_options=options)
            found = [{k: v for k, v in t.__dict__.items() if k[0] != "_"} for t in (a, b)]
        session.expire_all()
        return found

    world.attempt(updated)
    world.note(seen)
    for way in ("auto", "evaluate", None, False):
        world.attempt(lambda session, way=way: updated(session, synchronize_session=way))

    def by_text(session: Session) -> Any:
        thing = session.get(Thing, 4)
        assert thing is not None
        session.execute(update(Thing), [{"id": "4", "name": "by text"}])
        return thing.name

    world.attempt(by_text)
    world.note(seen)


@behaviour(
    65,
    "With a version column each row gives its old version; another one in the table is stale.",
)
def test_versions_of_updates(world: World) -> None:
    class Thing(declarative_base()):  # type: ignore[misc]
        __tablename__ = "thing"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(50))
        ver = mapped_column(Integer, nullable=False)
        kind = mapped_column(String(10))
        __mapper_args__ = {
            "version_id_col": ver,
            "polymorphic_on": kind,
            "polymorphic_identity": "thing",
        }

    class Part(Thing):
        __tablename__ = "part"
        id = mapped_column(ForeignKey("thing.id"), primary_key=True)
        more = mapped_column(String(50))
        __mapper_args__ = {"polymorphic_identity": "part"}

    world.create(Thing, {"name": "a", "ver": 1}, {"name": "b", "ver": 2})
    with world.engine.begin() as connection:
        tables = Thing.metadata.tables
        connection.execute(tables["thing"].insert().values(id=7, ver=1, kind="part"))
        connection.execute(tables["part"].insert().values(id=7))
    rows = [{"id": 1, "name": "c", "ver": 1}, {"id": 2, "name": "d", "ver": 2}]
    world.attempt(lambda session: session.execute(update(Thing), rows))
    world.attempt(lambda session: session.execute(update(Thing), rows))
    world.attempt(lambda session: session.execute(update(Thing), [{"id": 1, "name": "e"}]))
    world.attempt(lambda session: session.execute(update(Thing), [{"id": 1, "ver": 2}]))
    world.attempt(lambda session: session.bulk_update_mappings(Thing, [{**rows[0], "ver": 3}]))
    world.attempt(lambda session: session.bulk_update_mappings(Thing, [{**rows[0], "ver": 3}] * 2))
    rows = [{**rows[0], "ver": version} for version in range(4, 40)]
    world.attempt(lambda session: session.bulk_update_mappings(Thing, rows))
    world.attempt(lambda session: session.execute(update(Part), [{"id": 7, "ver": 1, "more": "x"}]))

    def save(session: Session) -> None:
        found = session.get_one(Part, 7)
        found.more = "y"
        session.bulk_save_objects([found])

    world.attempt(save)


@behaviour(
    66,
    "Changes of the Session are flushed before, unless autoflush is off.",
)
def test_autoflush(world: World) -> None:
    Thing = thing(world, *"ab")

    def updated(session: Session, **options: Any) -> Any:
        found = session.get(Thing, 1)
        assert found is not None
        found.name, found.n = "flushed", 7
        new = Thing(name="new", n=1)
        session.add(new)
        rows = [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]
        session.execute(update(Thing), rows, execution_options=options)
        return [new in session.new, session.is_modified(found)]

    world.attempt(updated)
    world.attempt(lambda session: updated(session, autoflush=False))
    world.attempt(updated, autoflush=False)


@behaviour(
    67,
    "Criteria of single inheritance and of `with_loader_criteria` are not added to an update by "
    "primary key.",
)
def test_criteria(world: World) -> None:
    Animal, _, Cat = animals()
    world.create(Animal, {"kind": "animal", "name": "a"}, {"kind": "cat", "name": "b"})
    rows = [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]
    world.attempt(lambda session: session.execute(update(Cat), rows))

    def with_criteria(session: Session) -> Any:
        @event.listens_for(session, "do_orm_execute")
        def restrict(state: Any) -> None:
            state.statement = state.statement.options(
                with_loader_criteria(Animal, Animal.name == "none")
            )

        return session.execute(update(Animal), [{"id": 1, "name": "z"}])

    world.attempt(with_criteria)
