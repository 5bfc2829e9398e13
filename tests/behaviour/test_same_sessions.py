"""Session, transaction, connection and errors."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer, String, event, exc, insert, inspect, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, mapped_column
from sqlalchemy.util import await_only

from oracle import model
from world import World, behaviour, plain


def thing(world: World, *names: str) -> Any:
    Thing = model(name=mapped_column(String(50), unique=True), n=mapped_column(Integer))
    return world.create(Thing, *({"name": name} for name in names))


ROWS: list[dict[str, Any]] = [{"name": "b", "n": 1}, {"name": "c", "n": 2}]
TWICE: list[dict[str, Any]] = [{"name": "x"}, {"name": "x"}]


@behaviour(
    77,
    "`execute()` flushes before, and after an error only the database's own state counts; the "
    "`bulk_` methods don't flush, and an error rolls the Session's transaction back, or the "
    "savepoint within which they are called.",
)
def test_transactions(world: World) -> None:
    Thing = thing(world)

    def flushed(session: Session, bulk: Any) -> Any:
        new = Thing(name="new")
        session.add(new)
        bulk(session)
        pending = new in session.new
        session.rollback()
        return pending

    world.attempt(lambda s: flushed(s, lambda s: s.execute(insert(Thing), ROWS)))
    world.attempt(lambda s: flushed(s, lambda s: s.bulk_insert_mappings(Thing, ROWS)))

    def failed(session: Session, bulk: Any) -> Any:
        session.execute(insert(Thing), [{"id": 100, "name": "before"}])
        try:
            bulk(session)
        except exc.IntegrityError:
            world.note([session.is_active, session.in_transaction()])
        try:
            session.execute(insert(Thing), [{"id": 101, "name": "after"}])
        except exc.SQLAlchemyError as error:
            world.note(type(error).__name__)
        session.rollback()
        return session.in_transaction()

    world.attempt(lambda s: failed(s, lambda s: s.execute(insert(Thing), TWICE)))
    world.attempt(lambda s: failed(s, lambda s: s.bulk_insert_mappings(Thing, TWICE)))

    def nested(session: Session, bulk: Any) -> Any:
        session.execute(insert(Thing), [{"id": 102, "name": "outer"}])
        try:
            with session.begin_nested():
                bulk(session)
        except exc.IntegrityError as error:
            world.note(error)
        return session.is_active

    world.attempt(lambda s: nested(s, lambda s: s.bulk_insert_mappings(Thing, TWICE)))


@behaviour(
    78,
    "Binds per class, two-phase commits, AUTOCOMMIT and `schema_translate_map` hold.",
    left=["autocommit"],
)
def test_binds(world: World) -> None:
    Thing = thing(world)
    with Session(binds={Thing: world.engine}) as session:
        session.execute(insert(Thing), ROWS)
        world.note(session.get_bind(Thing) is world.engine)
        session.commit()
    if world.dialect != "sqlite":
        with Session(world.engine, twophase=True) as session:
            for name in ("two", "phases", "undone"):
                session.execute(insert(Thing), [{"name": f"{name}{i}"} for i in range(60)])
                session.bulk_update_mappings(Thing, [{"id": 1, "n": len(name)}])
                if name != "undone":
                    session.prepare()
                    session.commit()
            session.rollback()
    named = inspect(world.engine).default_schema_name
    for schema in (named, "nowhere"):
        translated = {"schema_translate_map": {None: schema}}
        world.attempt(
            lambda s, o=translated: s.execute(
                insert(Thing), [{"n": 1}, {"n": 2}], execution_options=o
            )
        )
    autocommit = world.engine.execution_options(isolation_level="AUTOCOMMIT")
    with Session(autocommit) as session:
        try:
            session.execute(insert(Thing), [{"name": "d"}, {"id": 50, "name": "e"}])
            session.execute(insert(Thing), [{"name": "f"}, {"name": "f"}])
        except Exception as error:
            world.note(error)
        session.rollback()


@behaviour(
    79,
    "Errors of the database have SQLAlchemy's class with `orig`, `params` and the rest; those of "
    "defaults and processors are `StatementError`; others pass as they are. `hide_parameters` "
    "holds.",
)
def test_errors(world: World) -> None:
    def refuse() -> Any:
        raise LookupError("no default")

    Thing = world.create(
        model(
            name=mapped_column(String(50), unique=True, nullable=False),
            n=mapped_column(Integer, default=refuse),
        )
    )

    def attributes(session: Session, rows: Any) -> Any:
        try:
            session.execute(insert(Thing), rows)
        except exc.DBAPIError as error:
            return [
                type(error),
                type(error.orig),
                error.connection_invalidated,
                error.code,
                error.hide_parameters,
                error.ismulti,
                error.params if isinstance(error.params, (list, tuple)) else type(error.params),
            ]

    world.attempt(lambda session: attributes(session, [{"name": x, "n": 1} for x in "aba"]))
    world.attempt(lambda session: session.execute(insert(Thing), [{"name": "a"}, {"name": "b"}]))
    world.attempt(lambda session: session.execute(insert(Thing), [{"n": 1}, {"n": 2}]))
    rows = [{"id": 100, "name": "c", "n": 2}, {"id": 101, "name": 1, "n": 2}]
    world.attempt(lambda session: session.execute(insert(Thing), rows))


@behaviour(
    80,
    "The events of Session, Connection and cursor come in their order; a listener may change the "
    "statement; `echo` logs.",
    left=["a listener changed the statement"],
)
def test_events(world: World) -> None:
    Thing = thing(world)
    seen: list[str] = []
    with Session(world.engine) as session:
        connection = session.connection()
        event.listen(session, "do_orm_execute", lambda state: seen.append("do_orm_execute"))
        for name in ("before_execute", "after_execute"):
            event.listen(connection, name, lambda *_, name=name: seen.append(name))

        @event.listens_for(connection, "before_cursor_execute", retval=True)
        def comment(conn: Any, cursor: Any, sql: str, params: Any, context: Any, many: Any) -> Any:
            seen.append("before_cursor_execute")
            return sql + " -- a comment", params

        event.listen(
            connection, "after_cursor_execute", lambda *_: seen.append("after_cursor_execute")
        )
        session.execute(insert(Thing), ROWS)
        world.note(seen)
        session.commit()
    with Session(world.engine) as session:
        told: list[Any] = []

        @event.listens_for(session.connection(), "before_cursor_execute")
        def tell(conn: Any, cursor: Any, sql: str, params: Any, context: Any, many: Any) -> None:
            told.append((sql, params, many))

        session.execute(insert(Thing), [{"name": "x", "n": 8}, {"name": "y", "n": 9}])
        world.note(told)
        session.commit()
    with Session(world.engine) as session:
        failed: list[str] = []
        event.listen(
            world.engine,
            "handle_error",
            lambda about: failed.append(type(about.original_exception).__name__),
        )
        world.attempt(lambda session: session.execute(insert(Thing), TWICE))
        world.note(failed)


@behaviour(
    81,
    "`bulk_save_objects` inserts new objects and updates known ones, with changed attributes only; "
    "with `return_defaults` they get their keys, else they stay as they are.",
    left=["a statement for each row"],
)
def test_bulk_save_objects(world: World) -> None:
    Thing = thing(world, "a")

    def saved(session: Session, **options: Any) -> Any:
        known = session.get(Thing, 1)
        assert known is not None
        session.expunge(known)
        known.n = 5
        things = [Thing(name="d"), Thing(name="e", n=1), known, Thing(name="f", n=None)]
        session.bulk_save_objects(things, **options)
        found = plain(things)
        session.rollback()
        return found

    world.attempt(saved)
    world.attempt(lambda session: saved(session, return_defaults=True))
    world.attempt(lambda session: saved(session, update_changed_only=False))
    world.attempt(lambda session: saved(session, preserve_order=False))
    world.attempt(lambda s: s.bulk_save_objects([Thing(name="g"), Thing(name="h", n=2)]))


@behaviour(82, "`bulk_update_mappings` leaves the Session's objects as they are.")
def test_bulk_update_mappings(world: World) -> None:
    Thing = thing(world, *"abc")

    def updated(session: Session) -> Any:
        first = session.get(Thing, 1)
        assert first is not None
        session.bulk_update_mappings(Thing, [{"id": 1, "n": 7}, {"id": 2, "n": 8}])
        return [first.n, first.name]

    world.attempt(updated)
    world.attempt(lambda s: s.bulk_update_mappings(Thing, [{"id": 1, "n": None, "name": "z"}]))


@behaviour(
    83,
    "An `AsyncSession` does the same within its event loop.",
    on=("aiosqlite", "asyncpg", "mariadb-asyncmy", "mysql-aiomysql"),
)
def test_async_sessions(world: World) -> None:
    Thing = thing(world)

    async def inserted() -> Any:
        async with AsyncSession(AsyncEngine(world.engine)) as session, session.begin():
            result = await session.execute(insert(Thing), ROWS)
            rows = [{"id": 1, "name": "z"}]
            await session.execute(update(Thing), rows)
            return result

    world.note(await_only(inserted()))
