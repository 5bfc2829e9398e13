"""What only PostgreSQL has: what stands around a table, who may write it, and how it says no."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import pytest
from sqlalchemy import (
    Column,
    Computed,
    ForeignKey,
    Identity,
    Integer,
    String,
    UniqueConstraint,
    create_engine,
    event,
    exc,
    func,
    select,
    text,
)
from sqlalchemy.orm import Session

import fastbulk
import servers
from oracle import error_of, model, place

pytestmark = pytest.mark.only("psycopg", "psycopg2")

#: A call of one statement, and one that asks the catalog.
COUNTS = [3, 300]


def thing(**arguments):
    return model(name=Column(String), size=Column(Integer), **arguments)


def rows_of(count):
    return [{"name": f"n{i}", "size": None if i % 3 == 0 else i} for i in range(count)]


def check(databases, Thing, count=300, **arguments):
    """Both without and with rows that come back."""
    rows = rows_of(count)
    databases.check(Thing, rows, **arguments)
    return databases.check(Thing, rows, returning=[Thing.id, Thing.name], **arguments)


def statement_of(session, Thing, rows, **arguments):
    return fastbulk.insert(session, Thing, rows, **arguments).road.statement


def test_the_statements_by_size_and_returning(session):
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    assert statement_of(session, Thing, rows_of(50)) == "INSERT..VALUES"
    assert statement_of(session, Thing, rows_of(51)) == "COPY"
    assert "unnest" in statement_of(session, Thing, rows_of(60), returning=Thing)


def test_explain_and_result_tell_the_road(session):
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    road = fastbulk.explain(session, Thing, returning=Thing.id)
    assert (road.name, road.backend) == ("native", "postgresql")
    assert road.sql.startswith("INSERT INTO thing (id, name, size)")
    small = fastbulk.insert(session, Thing, [{}])
    assert small.road.refused["COPY"] == "a call of at most 50 rows is one statement"


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("always", [False, True])
def test_identity_columns(oracle, always, count):
    Thing = model(
        id=Column(Integer, Identity(always=always), primary_key=True), name=Column(String)
    )
    databases = oracle(Thing)
    rows = [{"name": str(i)} for i in range(count)]
    databases.check(Thing, rows)
    databases.check(Thing, rows, returning=Thing.id)
    # An ALWAYS column takes no value: COPY would store it.
    databases.check(Thing, [{"id": 10_000 + i, "name": "x"} for i in range(count)])


@pytest.mark.parametrize("count", COUNTS)
def test_generated_columns(oracle, count):
    Thing = model(size=Column(Integer), twice=Column(Integer, Computed("size * 2", persisted=True)))
    databases = oracle(Thing)
    databases.check(Thing, [{"size": i} for i in range(count)])
    databases.check(Thing, [{"size": i} for i in range(count)], returning=Thing)
    databases.check(Thing, [{"size": i, "twice": 7} for i in range(count)])


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    "default", ["'d'", "lower('D')", "(random() < 2)::text", "current_user", "nextval('s')::text"]
)
def test_a_default_of_the_database_beside_given_values(databases, default, count):
    databases.execute("CREATE SEQUENCE s")
    databases.execute(
        f"CREATE TABLE thing (id SERIAL PRIMARY KEY, name VARCHAR(9) DEFAULT {default}, size INT)"
    )
    Thing = thing()
    rows = [{"name": None if i % 3 else f"n{i}", "size": i} for i in range(count)]
    databases.check(Thing, rows)
    databases.check(Thing, rows, returning=[Thing.id, Thing.name])


@pytest.mark.parametrize("count", COUNTS)
def test_a_domain_with_a_default_and_a_check(databases, count):
    databases.execute("CREATE DOMAIN name_of AS VARCHAR DEFAULT 'd' CHECK (VALUE <> 'bad')")
    databases.execute("CREATE TABLE thing (id SERIAL PRIMARY KEY, name name_of, size INT)")
    Thing = thing()
    check(databases, Thing, count)
    databases.check(Thing, [{"name": None if i % 2 else "x"} for i in range(count)])
    databases.check(Thing, [*rows_of(count), {"name": "bad"}])


@pytest.mark.parametrize("count", COUNTS)
def test_schemas(databases, count):
    Thing = thing(args={"schema": "Other Schema"})
    with schema(databases, '"Other Schema"'):
        databases.create(Thing)
        check(databases, Thing, count)


@pytest.mark.parametrize("count", COUNTS)
def test_schemas_are_translated(databases, count):
    Thing = thing(args={"schema": "tenant"})
    with schema(databases, "one"):
        databases.execute("CREATE TABLE one.thing (id SERIAL PRIMARY KEY, name TEXT, size INT)")
        options = {"schema_translate_map": {"tenant": "one"}}
        databases.check(Thing, rows_of(count), execution_options=options)
        databases.check(Thing, rows_of(count), execution_options=options, returning=Thing.id)


@contextmanager
def schema(databases, name):
    """Outside of the schema that each test finds empty."""
    databases.execute(f"CREATE SCHEMA {name}")
    try:
        yield
    finally:
        databases.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.mark.parametrize("count", COUNTS)
def test_the_search_path_finds_the_table(databases, session, count):
    Thing = thing()
    databases.create(Thing)
    with schema(databases, "tenant"):
        connection = session.connection()
        connection.exec_driver_sql(
            "CREATE TABLE tenant.thing (id SERIAL PRIMARY KEY, name TEXT DEFAULT 't', size INT)"
        )
        connection.exec_driver_sql("SET LOCAL search_path = tenant")
        fastbulk.insert(session, Thing, [{"size": i} for i in range(count)])
        found = connection.exec_driver_sql("SELECT DISTINCT name FROM tenant.thing").all()
        assert found == [("t",)]
        session.commit()


@pytest.mark.parametrize("count", COUNTS)
def test_partitioned_tables(databases, count):
    databases.execute(
        "CREATE TABLE thing (id SERIAL, name TEXT, size INT DEFAULT 0) PARTITION BY HASH (id)"
    )
    for part in range(3):
        databases.execute(
            f"CREATE TABLE thing_{part} PARTITION OF thing "
            f"FOR VALUES WITH (MODULUS 3, REMAINDER {part})"
        )
    check(databases, thing(), count)


def test_no_partition_for_a_row(databases):
    databases.execute("CREATE TABLE thing (id INT, name TEXT, size INT) PARTITION BY RANGE (id)")
    databases.execute("CREATE TABLE thing_0 PARTITION OF thing FOR VALUES FROM (0) TO (200)")
    Thing = thing()
    with Session(databases.ours) as session:
        error = error_of(lambda: fastbulk.insert(session, Thing, [{"id": i} for i in range(300)]))
    assert error.row == 200
    databases.check(Thing, [{"id": i} for i in range(300)])


@pytest.mark.parametrize("count", COUNTS)
def test_a_view_with_a_trigger(databases, count):
    databases.execute("CREATE TABLE real (id SERIAL PRIMARY KEY, name TEXT, size INT)")
    databases.execute("CREATE VIEW thing AS SELECT id, name, size FROM real")
    databases.execute(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO real (name, size) VALUES (upper(NEW.name), NEW.size) "
        "RETURNING id INTO NEW.id; "
        "RETURN NEW; END $$"
    )
    databases.execute(
        "CREATE TRIGGER t INSTEAD OF INSERT ON thing FOR EACH ROW EXECUTE FUNCTION f()"
    )
    check(databases, thing(), count)


@pytest.mark.parametrize("count", COUNTS)
def test_rules(databases, count):
    Thing = thing()
    databases.create(Thing)
    databases.execute("CREATE TABLE log (name TEXT)")
    databases.execute(
        "CREATE RULE r AS ON INSERT TO thing DO ALSO INSERT INTO log VALUES (NEW.name)"
    )
    databases.check(Thing, rows_of(count))


def trigger(databases, body, when="BEFORE"):
    databases.execute(
        f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
    )
    databases.execute(f"CREATE TRIGGER t {when} INSERT ON thing FOR EACH ROW EXECUTE FUNCTION f()")


@pytest.mark.parametrize("count", COUNTS)
def test_a_trigger_that_changes_rows(databases, count):
    Thing = thing()
    databases.create(Thing)
    trigger(databases, "NEW.name := upper(NEW.name); NEW.id := NEW.id * 10; RETURN NEW;")
    check(databases, Thing, count)


DROPS = "IF NEW.name = 'n2' THEN RETURN NULL; END IF; RETURN NEW;"


@pytest.mark.parametrize("count", COUNTS)
def test_a_trigger_that_drops_rows(databases, count):
    Thing = thing()
    databases.create(Thing)
    trigger(databases, DROPS)
    databases.check(Thing, rows_of(count))
    with Session(databases.ours) as session:
        session.add(Thing(name="before"))
        with pytest.raises(exc.InvalidRequestError, match="rows can't be matched"):
            fastbulk.insert(session, Thing, rows_of(count), returning=Thing.id)
        names = session.scalars(select(Thing.name).where(Thing.name == "n1")).all()
        assert len(names) == 1
        assert session.scalar(select(func.count()).select_from(Thing)) == count


@pytest.mark.parametrize("count", COUNTS)
def test_dropped_rows_are_undone_in_autocommit(databases, count):
    Thing = thing()
    databases.create(Thing)
    trigger(databases, DROPS)
    with databases.ours.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with pytest.raises(exc.InvalidRequestError):
            fastbulk.insert(connection, Thing, rows_of(count), returning=Thing.id)
        assert connection.execute(select(Thing.id)).all() == []


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
def test_a_trigger_that_raises_names_the_row(databases, count, when):
    Thing = thing()
    databases.create(Thing)
    trigger(databases, "IF NEW.size = 2 THEN RAISE 'two'; END IF; RETURN NEW;", when)
    with Session(databases.ours) as session:
        error = error_of(lambda: fastbulk.insert(session, Thing, rows_of(count)))
        assert error.row == 2
        assert session.scalars(select(Thing.id)).all() == []


@pytest.mark.parametrize("count", COUNTS)
def test_row_level_security(databases, postgres, count):
    Thing = thing()
    databases.create(Thing)
    databases.execute("ALTER TABLE thing ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    databases.execute("CREATE POLICY p ON thing USING (true) WITH CHECK (size IS DISTINCT FROM 7)")
    databases.check(Thing, [{"name": "a", "size": 1}] * count)
    databases.check(Thing, [{"size": 7}] * count)
    with Session(databases.ours) as session:
        road = fastbulk.insert(session, Thing, [{"size": 1}] * 300).road
    assert road.refused["COPY"] == "COPY can't fill thing: its row-level security is active"


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("begin", ["SET TRANSACTION READ ONLY", "SET LOCAL ROLE nobody"])
def test_who_may_not_write(databases, postgres, begin, count):
    Thing = thing()
    databases.create(Thing)
    if "ROLE" in begin:
        postgres.execute("DROP ROLE IF EXISTS nobody", "CREATE ROLE nobody")
        postgres.execute(f"GRANT nobody TO {servers.USER}")
    for engine, insert in ((databases.ours, fastbulk.insert), (databases.theirs, by_sqlalchemy)):
        with Session(engine) as session:
            session.connection().exec_driver_sql(begin)
            with pytest.raises((exc.InternalError, exc.ProgrammingError)) as caught:
                insert(session, Thing, rows_of(count))
            if engine is databases.ours:
                session.execute(text("SELECT 1"))
                error = caught.value
    assert type(caught.value) is type(error)
    assert type(caught.value.orig) is type(error.orig)


def by_sqlalchemy(session, Thing, rows):
    return session.execute(Thing.__table__.insert(), rows)


@pytest.mark.parametrize("count", COUNTS)
def test_autocommit(databases, count):
    Thing = thing(args=(UniqueConstraint("name"),))
    databases.create(Thing)
    with databases.ours.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        fastbulk.insert(connection, Thing, rows_of(count))
        bad = [*({"name": f"m{i}"} for i in range(count)), {"name": "n1"}]
        error = error_of(lambda: fastbulk.insert(connection, Thing, bad))
        assert place(error) == (count, "name", "n1")
        ids = fastbulk.insert(connection, Thing, bad[:count], returning=Thing.id).scalars().all()
        assert len(ids) == count
    with databases.ours.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Thing)) == 2 * count


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("returning", [False, True])
def test_errors_name_row_column_and_value(session, count, returning):
    Parent = model(table="parent")
    Thing = model(
        name=Column("the name", String(9), unique=True, index=True),
        size=Column(Integer, nullable=False),
        parent=Column(Integer),
    )
    Thing.__table__.append_constraint(
        UniqueConstraint("size", "parent", name="pair", deferrable=True, initially="IMMEDIATE")
    )
    Parent.metadata.create_all(session.connection())
    Thing.metadata.create_all(session.connection())
    session.connection().exec_driver_sql(
        "ALTER TABLE thing ADD FOREIGN KEY (parent) REFERENCES parent, ADD CHECK (size < 1000000)"
    )
    session.add(Parent(id=1))
    given = Thing.id if returning else None
    good = [{"name": f"n{i}", "size": i, "parent": 1} for i in range(count)]
    at = count - 2
    for bad, expected in [
        ({"name": "n0"}, ("name", "n0")),
        ({"size": None}, ("size", None)),
        ({"size": 10_000_000}, ("size", 10_000_000)),
        ({"parent": 7}, ("parent", 7)),
        ({"size": 0}, (("size", "parent"), (0, 1))),
        ({"name": "a\0b"}, ("name", "a\0b")),
        ({"name": "\ud800"}, ("name", "\ud800")),
        ({"size": 2**70}, ("size", 2**70)),
        ({"id": "x"}, None),
    ]:
        rows = [*good]
        rows[at] = {**rows[at], **bad}
        error = error_of(lambda rows=rows: fastbulk.insert(session, Thing, rows, returning=given))
        assert error.row == at, bad
        if expected is not None:
            assert (error.column, error.value) == expected
        assert session.scalars(select(Thing.id)).all() == []


@pytest.mark.parametrize("count", COUNTS)
def test_a_deferred_constraint_fails_at_commit(databases, count):
    Thing = model(parent=Column(ForeignKey("thing.id", deferrable=True, initially="DEFERRED")))
    databases.create(Thing)
    with Session(databases.ours) as session:
        fastbulk.insert(session, Thing, [{"parent": 10_000}] * count)
        with pytest.raises(exc.IntegrityError):
            session.commit()


def test_rows_that_refer_to_later_ones_do_not_mislead_the_search(databases):
    Thing = model(parent=Column(ForeignKey("thing.id")))
    databases.create(Thing)
    rows = [{"id": i, "parent": min(i + 7, 299)} for i in range(300)]
    rows[250] = {"id": 250, "parent": 999}
    with Session(databases.ours) as session:
        error = error_of(lambda: fastbulk.insert(session, Thing, rows))
    assert place(error) in [(250, "parent", 999), (None, "parent", None)]


def test_a_generator_may_use_the_session_between_slices(session):
    Thing = thing()
    Thing.metadata.create_all(session.connection())

    def generate():
        for i in range(45_000):
            if i % 10_000 == 9_999:
                session.execute(select(func.count()).select_from(Thing)).all()
            yield {"name": str(i)}

    assert fastbulk.insert(session, Thing, generate()).rowcount == 45_000


def test_many_equal_small_calls(session):
    """More than psycopg waits for before it prepares a statement."""
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    for _, returning in itertools.product(range(12), [None, Thing.id]):
        fastbulk.insert(session, Thing, [{"name": "x"}], returning=returning)
    assert session.scalar(select(func.count()).select_from(Thing)) == 24


def test_another_client_encoding_is_not_native(databases):
    Thing = thing()
    databases.create(Thing)
    engine = create_engine(databases.ours.url, client_encoding="latin1")
    with Session(engine) as session:
        result = fastbulk.insert(session, Thing, [{"name": "ü"}] * 60)
        assert result.road.name == "executemany"
        assert session.scalars(select(Thing.name).distinct()).all() == ["ü"]
    engine.dispose()


def test_events_see_the_statements(engine):
    Thing = thing()
    Thing.metadata.create_all(engine)
    seen = []
    event.listen(engine, "before_cursor_execute", lambda c, cursor, sql, *_: seen.append(sql))
    fastbulk.insert(engine, Thing, [{"name": "a"}])
    assert seen == ["INSERT INTO thing /* VALUES, 1 rows */"]
    fastbulk.insert(engine, Thing, rows_of(60))
    assert "COPY thing (name, size) FROM STDIN (FORMAT BINARY)" in seen


@pytest.fixture(scope="module")
def bouncer(postgres):
    with servers.pgbouncer(postgres) as server:
        yield server


@pytest.mark.parametrize("count", COUNTS)
def test_pgbouncer_in_transaction_mode(databases, bouncer, count):
    Thing = thing()
    databases.create(Thing)
    driver = databases.ours.driver
    arguments = {"prepare_threshold": None} if driver == "psycopg" else {}
    engine = create_engine(bouncer.url(driver, "fastbulk_ours"), connect_args=arguments)
    with Session(engine) as session:
        fastbulk.insert(session, Thing, rows_of(count))
        session.commit()
        ids = fastbulk.insert(session, Thing, rows_of(count), returning=Thing.id).all()
        assert len(ids) == count
        session.commit()
    engine.dispose()
    with databases.ours.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Thing)) == 2 * count


@pytest.fixture(scope="module")
def tls():
    with servers.postgres(tls=True) as server:
        yield server


def test_tls(databases, tls):
    driver = databases.ours.driver
    url = tls.url(driver, tls.new_database(), user=servers.USER)
    engine = create_engine(url, connect_args=tls.connect_args(driver))
    Thing = thing()
    Thing.metadata.create_all(engine)
    for count in COUNTS:
        assert fastbulk.insert(engine, Thing, rows_of(count)).rowcount == count
    engine.dispose()
