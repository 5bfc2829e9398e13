"""An Engine on PostgreSQL: when fastbulk connects itself, how, and that it is as with a pool."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    StaticPool,
    String,
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
from fastbulk.carriers import tokio_postgres
from fastbulk.carriers.libpq import RefusedError, settings
from interrupt import ctrl_c
from oracle import error_of, model, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from oracle import Oracle
    from servers import Certificates, Server

pytestmark = pytest.mark.only("engine")

ROWS = [{"name": f"n{i}", "size": i} for i in range(300)]


def thing(**arguments: Any) -> Any:
    return model(name=Column(String), size=Column(Integer), **arguments)


@contextmanager
def made(*arguments: Any, **options: Any) -> Iterator[Engine]:
    engine = create_engine(*arguments, **options)
    yield engine
    engine.dispose()


def how(engine: Engine, Thing: Any = None, **options: Any) -> tuple[str, Any]:
    """The driver that served, and why it was not ours."""
    road = fastbulk.insert(engine, Thing or thing(), ROWS, **options).road
    return road.driver, road.refused.get("own connection")


OURS = ("tokio-postgres", None)


@pytest.fixture
def created(engine: Engine) -> Engine:
    thing().metadata.create_all(engine)
    return engine


def test_a_plain_engine_has_a_connection_of_ours(created: Engine) -> None:
    Thing = thing()
    assert how(created, Thing) == OURS
    assert how(created, Thing, returning=Thing.id) == OURS


def listener(target: str, name: str) -> Callable[[Engine], None]:
    def listen(engine: Engine) -> None:
        event.listen({"engine": engine, "pool": engine.pool}[target], name, lambda *_: None)

    return listen


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("pool", "connect"),
        ("engine", "connect"),
        ("pool", "first_connect"),
        ("pool", "checkout"),
        ("engine", "do_connect"),
        ("engine", "begin"),
        ("engine", "commit"),
        ("engine", "engine_connect"),
        ("engine", "before_execute"),
        ("engine", "before_cursor_execute"),
        ("engine", "after_cursor_execute"),
        ("engine", "handle_error"),
        ("engine", "do_execute"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"logging_token": "x"}])
def test_listeners_have_the_pool(created: Engine, target: Any, name: Any, options: Any) -> None:
    engine = created.execution_options(**options) if options else created
    listener(target, name)(engine)
    driver, reason = how(engine)
    assert driver == "psycopg"
    assert name in reason
    assert "listeners" in reason


def test_a_listener_that_listens_once_has_the_pool(created: Engine) -> None:
    event.listen(created.pool, "connect", lambda *_: None, once=True)
    assert how(created)[0] == "psycopg"


def test_a_listener_of_all_engines_has_the_pool(created: Engine) -> None:
    def listen(*_: Any) -> None:
        pass

    event.listen(Engine, "begin", listen)
    try:
        assert how(created)[0] == "psycopg"
    finally:
        event.remove(Engine, "begin", listen)
    assert how(created) == OURS


def test_what_an_engine_is_made_with(created: Engine) -> None:
    url = created.url
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"poolclass": StaticPool}, "StaticPool"),
        ({"isolation_level": "SERIALIZABLE"}, "isolation level"),
        ({"execution_options": {"isolation_level": "AUTOCOMMIT"}}, "isolation_level"),
        ({"execution_options": {"postgresql_readonly": False}}, "postgresql_readonly"),
        ({"connect_args": {"autocommit": True}}, "autocommit"),
        ({"connect_args": {"service": "x"}}, None),
        ({"connect_args": {"gssencmode": "prefer"}}, OURS),
        ({"connect_args": {"client_encoding": "latin1"}}, "client_encoding"),
        ({"client_encoding": "latin1"}, "client_encoding"),
        ({"pool_pre_ping": True, "pool_size": 1, "hide_parameters": True}, OURS),
    ]
    for options, reason in cases:
        with made(url, **options) as engine:
            if reason is None:
                with pytest.raises(exc.OperationalError):
                    how(engine)
            elif reason is OURS:
                assert how(engine) == OURS
            else:
                driver, why = how(engine)
                assert driver == "psycopg"
                assert reason in why


def test_a_creator_has_the_pool(created: Engine) -> None:
    dsn = created.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with made("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn)) as engine:
        assert how(engine) == ("psycopg", "the engine has a creator of its own")


def test_few_rows_have_the_pool(created: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    driver, reason = how(created)
    assert driver == "psycopg"
    assert "rows is not worth the time" in reason
    fastbulk.insert(created, thing(), ROWS * 4)
    assert fastbulk.insert(created, thing(), iter(ROWS)).road.driver == "tokio-postgres"


def test_a_default_that_uses_the_connection_has_the_pool(created: Engine) -> None:
    Thing = model(
        name=Column(String, default=lambda context: context.connection.scalar(text("SELECT 'x'"))),
        size=Column(Integer, default=lambda: 7),
    )
    assert how(created, Thing)[1] == "a default is given the connection"
    Other = model(name=Column(String), size=Column(Integer, default=lambda: 7))
    assert how(created, Other) == OURS


def test_another_driver_has_the_pool(created: Engine) -> None:
    with made(created.url.set(drivername="postgresql+psycopg2")) as engine:
        assert how(engine)[0] == "psycopg2"


# What the connection is


def settings_on_server(engine: Engine, *names: str) -> set[Any]:
    """Settings of the connection over which rows came, by a default of the server's."""
    with engine.begin() as connection:
        shown = " || ' ' || ".join(f"current_setting('{name}')" for name in names)
        connection.exec_driver_sql(f"ALTER TABLE thing ALTER name SET DEFAULT {shown}")
    Thing = thing()
    result = fastbulk.insert(engine, Thing, [{"size": 1}] * 60, returning=Thing.name)
    assert result.road.driver == "tokio-postgres", result.road
    return set(result.scalars())


def test_options_and_application_name(created: Engine, postgres: Server) -> None:
    url = postgres.url(
        "psycopg", "fastbulk_ours", application_name="loads", options="-c work_mem=7MB"
    )
    with made(url) as engine:
        assert settings_on_server(engine, "application_name", "work_mem") == {"loads 7MB"}
    args = {"options": r"-c application_name=with\ space", "connect_timeout": 5}
    with made(created.url, connect_args=args) as engine:
        assert settings_on_server(engine, "application_name") == {"with space"}


def test_the_password_comes_from_the_environment_or_a_file(
    created: Engine, postgres: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = postgres.url("psycopg", "fastbulk_ours").set(password=None)
    escaped = servers.PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    passwords = tmp_path / "passwords"
    passwords.write_text(f"# all\n*:1:*:*:wrong\n127.0.0.1:*:*:{servers.USER}:{escaped}\n")
    passwords.chmod(0o600)
    with made(url, connect_args={"passfile": str(passwords)}) as engine:
        assert how(engine) == OURS
    monkeypatch.setenv("PGPASSWORD", servers.PASSWORD)
    with made(url) as engine:
        assert how(engine) == OURS


def test_a_wrong_password_is_the_drivers_error(created: Engine, postgres: Server) -> None:
    with (
        made(postgres.url("psycopg", "fastbulk_ours").set(password="no")) as engine,
        pytest.raises(exc.OperationalError, match="password authentication failed"),
    ):
        how(engine)


def test_several_hosts(created: Engine, postgres: Server) -> None:
    hosts = f"127.0.0.1:1,127.0.0.1:{postgres.port}"
    query = {"host": hosts.split(",")}
    url = postgres.url("psycopg", "fastbulk_ours").set(host=None, port=None, query=query)
    with made(url) as engine:
        assert how(engine) == OURS
    with made(url, connect_args={"target_session_attrs": "read-write"}) as engine:
        assert how(engine) == OURS
    with made(url, connect_args={"target_session_attrs": "primary"}) as engine:
        assert how(engine) == ("psycopg", "target_session_attrs=primary is libpq's own")


def test_another_style_of_dates_has_the_pool(created: Engine) -> None:
    with made(created.url, connect_args={"options": "-c datestyle=german"}) as engine:
        assert how(engine) == ("psycopg", "the server's DateStyle is German, DMY")


@pytest.fixture(scope="module")
def tls() -> Iterator[Server]:
    with servers.postgres(tls=True) as server:
        yield server


def files_of(server: Server) -> Certificates:
    assert server.certificates is not None
    return server.certificates


ENCRYPTED = "(SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid())"


def encrypted(engine: Engine) -> tuple[str, Any, set[Any]]:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS thing; DROP FUNCTION IF EXISTS version_of")
        connection.exec_driver_sql(f"CREATE FUNCTION version_of() RETURNS text RETURN {ENCRYPTED}")
        connection.exec_driver_sql(
            "CREATE TABLE thing (id SERIAL, name TEXT DEFAULT version_of(), size INT)"
        )
    Thing = thing()
    result = fastbulk.insert(engine, Thing, [{"size": 1}] * 60, returning=Thing.name)
    return result.road.driver, result.road.refused.get("own connection"), set(result.scalars())


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-ca", "verify-full"])
def test_every_mode_of_tls(tls: Server, mode: Any) -> None:
    args = {"sslmode": mode}
    if mode.startswith("verify"):
        args["sslrootcert"] = str(files_of(tls).authority)
    with made(tls.url("psycopg", tls.new_database()), connect_args=args) as engine:
        driver, reason, versions = encrypted(engine)
        assert versions == {"TLSv1.3"}
        if mode == "allow":
            # It tries without TLS first, which this server lets nobody do.
            assert driver == "psycopg"
            assert "no encryption" in reason
        else:
            assert (driver, reason) == OURS


@pytest.mark.usefixtures("databases")
def test_a_clients_certificate(tls: Server) -> None:
    args = tls.connect_args("psycopg")
    url = tls.url("psycopg", tls.new_database(), user=servers.CERTIFIED)
    with made(tls.url("psycopg", url.database)) as engine, engine.begin() as connection:
        connection.exec_driver_sql(f"GRANT ALL ON SCHEMA public TO {servers.CERTIFIED}")
    with made(url, connect_args=args) as engine:
        assert encrypted(engine)[:2] == OURS


@pytest.mark.usefixtures("databases")
def test_the_servers_name_is_verified(tls: Server) -> None:
    url = tls.url("psycopg", tls.new_database()).set(
        host="elsewhere.example", query={"hostaddr": servers.HOST}
    )
    args = {"sslmode": "verify-ca", "sslrootcert": str(files_of(tls).authority)}
    with made(url, connect_args=args) as engine:
        assert encrypted(engine)[:2] == OURS
    with (
        made(url, connect_args={**args, "sslmode": "verify-full"}) as engine,
        pytest.raises(exc.OperationalError, match="elsewhere"),
    ):
        encrypted(engine)
    strangers = {**args, "sslrootcert": str(files_of(tls).client)}
    with (
        made(url, connect_args=strangers) as engine,
        pytest.raises(exc.OperationalError, match="certificate verify failed"),
    ):
        encrypted(engine)


# Parameters of libpq


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({"host": "h", "user": "u"}, {}, {"hosts": ["h"], "ports": [5432], "database": "u"}),
        ({}, {"PGHOST": "a,b", "PGPORT": "1,2", "PGUSER": "u"}, {"ports": [1, 2]}),
        ({"host": "h"}, {"PGHOST": "other", "PGUSER": "u", "PGDATABASE": "d"}, {"database": "d"}),
        ({"hostaddr": "127.0.0.1"}, {"PGUSER": "u"}, {"hosts": ["127.0.0.1"]}),
        ({"host": "h", "connect_timeout": 1}, {"PGUSER": "u"}, {"connect_timeout": 2}),
        ({"host": "h", "connect_timeout": 0}, {"PGUSER": "u"}, {"connect_timeout": None}),
        ({"host": "h", "keepalives": 0}, {"PGUSER": "u"}, {"keepalives": False}),
        ({"host": "h"}, {"PGUSER": "u", "PGAPPNAME": "a"}, {"application_name": "a"}),
        ({"host": "h", "load_balance_hosts": "random"}, {"PGUSER": "u"}, {"balance": True}),
    ],
)
def test_parameters(given: Any, environment: Any, expected: Any, tmp_path: Path) -> None:
    found = settings(given, {"HOME": str(tmp_path), **environment})._asdict()
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    "given",
    [
        {"host": ""},
        {"host": "a,,b"},
        {"host": "a,b", "hostaddr": "1.1.1.1"},
        {"port": "x"},
        {"port": "1,2"},
        {"service": "s"},
        {"gssencmode": "require"},
        {"require_auth": "scram-sha-256"},
        {"sslmode": "verify-full", "sslrootcert": "system"},
        {"sslmode": "verify-ca"},
        {"sslmode": "nonsense"},
        {"sslcert": "/nowhere"},
        {"sslcrl": "/nowhere"},
        {"ssl_max_protocol_version": "TLSv1.2"},
        {"target_session_attrs": "standby"},
        {"dbname": "host=elsewhere"},
        {"requirepeer": "postgres"},
        {"what": "ever"},
    ],
    ids=str,
)
def test_parameters_that_are_libpqs_own(given: Any, tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        settings({"host": "h", "user": "u", **given}, {"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("h:5432:d:u:p", "p"),
        ("*:*:*:*:p:q", "p:q"),
        (r"h:5432:d:u:p\:\\q", "p:\\q"),
        (r"\h:5432:d:u:p", "p"),
        ("h:5433:d:u:p", None),
        ("h:5432:d:p", None),
        ("#h:5432:d:u:p", None),
    ],
)
def test_the_password_file(line: Any, password: Any, tmp_path: Path) -> None:
    file = tmp_path / ".pgpass"
    file.write_text(f"x:*:*:*:other\n{line}\n")
    file.chmod(0o600)
    given = {"host": "h", "user": "u", "dbname": "d"}
    assert settings(given, {"HOME": str(tmp_path)}).password == password
    file.chmod(0o644)
    assert settings(given, {"HOME": str(tmp_path)}).password is None


# What happens on it


def count(engine: Engine) -> Any:
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(thing()))


def test_all_or_nothing(created: Engine) -> None:
    def generate() -> Iterator[dict[str, Any]]:
        yield from ROWS * 100
        raise LookupError

    with pytest.raises(LookupError):
        fastbulk.insert(created, thing(), generate())
    error = error_of(lambda: fastbulk.insert(created, thing(), [*ROWS, {"size": "x"}]))
    assert place(error)[0] == len(ROWS)
    assert count(created) == 0


def test_a_deferred_constraint_fails_at_commit(databases: Oracle) -> None:
    Thing = model(parent=Column(ForeignKey("thing.id", deferrable=True, initially="DEFERRED")))
    databases.create(Thing)
    with pytest.raises(exc.IntegrityError) as caught:
        fastbulk.insert(databases.ours, Thing, [{"parent": 10_000}] * 300)
    assert getattr(caught.value.orig, "sqlstate", None) == "23503"
    assert count(databases.ours) == 0


def test_a_connection_that_is_lost(created: Engine) -> None:
    with created.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER t BEFORE INSERT ON thing FOR EACH ROW EXECUTE FUNCTION f()"
        )
    with pytest.raises(exc.OperationalError) as caught:
        fastbulk.insert(created, thing(), ROWS)
    assert caught.value.connection_invalidated
    with created.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER t ON thing")
    assert how(created) == OURS


def test_no_table(created: Engine) -> None:
    with created.begin() as connection:
        connection.exec_driver_sql("DROP TABLE thing")
    with pytest.raises(exc.ProgrammingError, match='"thing" does not exist') as caught:
        fastbulk.insert(created, thing(), ROWS)
    assert getattr(caught.value.orig, "sqlstate", None) == "42P01"


def backends(engine: Engine) -> Any:
    with engine.connect() as connection:
        return connection.exec_driver_sql(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).scalar()


def test_connections_are_closed(created: Engine) -> None:
    before = backends(created)
    for _ in range(5):
        fastbulk.insert(created, thing(), ROWS)
        with pytest.raises(exc.DBAPIError):
            fastbulk.insert(created, thing(), [{"size": "x"}] * 60)
    deadline = time.monotonic() + 5
    while backends(created) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert backends(created) <= before


@pytest.fixture
def slow(created: Engine) -> None:
    """The table takes a minute for each row."""
    with created.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER t BEFORE INSERT ON thing FOR EACH ROW EXECUTE FUNCTION f()"
        )


@pytest.mark.usefixtures("slow")
def test_a_copy_that_fails_does_not_wait_for_the_server(created: Engine) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"1\n" * 10_000
        raise ZeroDivisionError

    _, arguments = created.dialect.create_connect_args(created.url)
    connection = tokio_postgres.connect(created.dialect, dict(arguments))
    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        connection.copy("COPY thing (size) FROM STDIN", pieces())
    assert time.monotonic() - begin < 5
    connection.rollback()
    connection.close()
    assert count(created) == 0


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("rows", [[{"size": 1}] * 60, iter([{"size": 1}] * 60)])
def test_ctrl_c_ends_the_statement_on_the_server(created: Engine, rows: Any) -> None:
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), ctrl_c(0.5):
        fastbulk.insert(created, thing(), rows)
    assert time.monotonic() - begin < 5
    assert count(created) == 0
    query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%%'"
    deadline = time.monotonic() + 5
    with created.connect() as connection:
        # Its error reaches the client before what the server shows of its state changes.
        while connection.exec_driver_sql(query).scalar():
            assert time.monotonic() < deadline
            connection.rollback()  # what is running is read once in a transaction
            time.sleep(0.05)


def test_a_fork_has_connections_of_its_own(created: Engine) -> None:
    Thing = thing()
    fastbulk.insert(created, Thing, ROWS)

    def generate() -> Iterator[dict[str, Any]]:
        yield from ROWS
        child = os.fork()
        if child == 0:
            # The connection of the call belongs to the parent.
            status = 1
            try:
                with created.begin():
                    pass
                yield from ROWS
            except BaseException:
                raise
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] != 0
        yield from ROWS

    fastbulk.insert(created, Thing, generate())
    assert count(created) == 3 * len(ROWS)


def test_a_load_in_a_fork(created: Engine) -> None:
    Thing = thing()
    fastbulk.insert(created, Thing, ROWS)
    created.dispose()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fastbulk.insert(created, Thing, ROWS)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert count(created) == 2 * len(ROWS)


def test_a_generator_may_load_by_the_same_engine(created: Engine) -> None:
    Thing = thing()

    def generate() -> Iterator[dict[str, Any]]:
        for i in range(3):
            fastbulk.insert(created, Thing, ROWS)
            yield {"size": i}

    fastbulk.insert(created, Thing, generate())
    assert count(created) == 3 * len(ROWS) + 3


def test_values_that_come_back_are_those_of_the_session(databases: Oracle) -> None:
    Thing = thing()
    databases.create(Thing)
    asked = [Thing.size / 2, func.now() - func.now(), func.array_fill(7, [2])]
    expressions = [expression.label(f"x{i}") for i, expression in enumerate(asked)]
    ours = fastbulk.insert(databases.ours, Thing, ROWS, returning=[Thing.id, *expressions]).all()
    with Session(databases.theirs) as session:
        theirs = fastbulk.insert(session, Thing, ROWS, returning=[Thing.id, *expressions]).all()
    assert ours == theirs
    assert [type(value) for value in ours[0]] == [type(value) for value in theirs[0]]


# Several connections


@pytest.mark.parametrize("rows", [list, iter])
@pytest.mark.parametrize("returning", [None, "id", "both"])
def test_rows_are_spread_over_connections(created: Engine, rows: Any, returning: Any) -> None:
    with created.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE thing ADD pid INT DEFAULT pg_backend_pid()")
    Thing = thing()
    asked = {None: None, "id": Thing.id, "both": [Thing.id, Thing.name]}[returning]
    given = [{"name": f"n{i}", "size": i} for i in range(45_000)]
    result = fastbulk.insert(created, Thing, rows(given), returning=asked, connections=3)
    assert (result.rowcount, result.road.driver) == (45_000, "tokio-postgres")
    returned = result.all() if returning else []
    with Session(created) as session:
        found = {row.id: (row.name, row.size) for row in session.scalars(select(Thing))}
        assert session.scalar(text("SELECT count(DISTINCT pid) FROM thing")) == 3
    assert sorted(found.values(), key=lambda row: row[1]) == [(f"n{i}", i) for i in range(45_000)]
    if returning:
        assert [found[row[0]] for row in returned] == [(f"n{i}", i) for i in range(45_000)]


@pytest.mark.parametrize("at", [0, 30_000, 44_999])
@pytest.mark.parametrize("bad", [{"size": "x"}, {"size": 2**40}, {"nmae": 1}])
def test_an_error_on_one_connection_undoes_all(created: Engine, at: Any, bad: Any) -> None:
    rows = [{"name": f"n{i}", "size": i} for i in range(45_000)]
    rows[at] = bad
    with pytest.raises(exc.SQLAlchemyError) as caught:
        fastbulk.insert(created, thing(), rows, connections=2)
    if "nmae" not in bad:
        assert place(caught.value) == (at, "size", bad["size"])
    assert count(created) == 0


def test_a_generator_that_raises_undoes_all_connections(created: Engine) -> None:
    def generate() -> Iterator[dict[str, Any]]:
        yield from ROWS * 100
        raise LookupError

    with pytest.raises(LookupError):
        fastbulk.insert(created, thing(), generate(), connections=2)
    assert count(created) == 0
    assert threading.active_count() == 1


def test_ctrl_c_ends_all_connections(created: Engine) -> None:
    def generate() -> Iterator[dict[str, Any]]:
        while True:
            yield {"name": "x"}

    with pytest.raises(KeyboardInterrupt), ctrl_c(0.5):
        fastbulk.insert(created, thing(), generate(), connections=2)
    assert count(created) == 0


@pytest.mark.parametrize("connections", [0, -1, "2", None])
def test_connections_are_a_number(created: Engine, connections: Any) -> None:
    with pytest.raises(exc.ArgumentError, match="number from 1 on"):
        fastbulk.insert(created, thing(), ROWS, connections=connections)


def test_several_connections_need_an_engine(created: Engine) -> None:
    with Session(created) as session, pytest.raises(exc.ArgumentError, match="Engine"):
        fastbulk.insert(session, thing(), ROWS, connections=2)
