"""An Engine on MySQL or MariaDB: when fastbulk connects itself, and that it is as with a pool."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pymysql  # type: ignore[import-untyped]
import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    Engine,
    ForeignKey,
    Integer,
    LargeBinary,
    Numeric,
    StaticPool,
    String,
    create_engine,
    event,
    exc,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.orm import Session

import fastbulk
import servers
from fastbulk.carriers.mysql_settings import RefusedError, Settings, settings
from interrupt import ctrl_c
from oracle import error_of, model, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oracle import Oracle
    from servers import Server

pytestmark = pytest.mark.only("mariadb-engine", "mysql-engine")

DRIVERS = ["mysqldb", "pymysql", "mysqlconnector"]
ROWS = [{"name": f"n{i}", "size": i} for i in range(300)]
OURS = ("mysql_async", None)


def thing(**arguments: Any) -> Any:
    return model(name=Column(String(40)), size=Column(Integer), **arguments)


@contextmanager
def made(*arguments: Any, **options: Any) -> Iterator[Engine]:
    engine = create_engine(*arguments, **options)
    yield engine
    engine.dispose()


def how(engine: Engine, Thing: Any = None, **options: Any) -> tuple[str, Any]:
    """The driver that served, and why it was not ours."""
    road = fastbulk.insert(engine, Thing or thing(), ROWS, **options).road
    return road.driver, road.refused.get("own connection")


def fastest(engine: Engine) -> str:
    return "bulk INSERT" if engine.dialect.name == "mariadb" else "LOAD DATA LOCAL"


def count(engine: Engine) -> Any:
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(thing()))


@pytest.fixture
def server(databases: Oracle, request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(databases.backend.place)


@pytest.fixture
def created(engine: Engine) -> Engine:
    thing().metadata.create_all(engine)
    return engine


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("socket", [True, False])
def test_a_plain_engine_has_a_connection_of_ours(
    created: Engine, server: Server, driver: str, socket: bool
) -> None:
    with made(server.url(driver, "fastbulk_ours", socket=socket)) as engine:
        result = fastbulk.insert(engine, thing(), ROWS)
        assert result.road.driver == "mysql_async", result.road
        assert result.road.statement == fastest(created)
        assert result.rowcount == count(created) == len(ROWS)


def test_rows_that_come_back_have_the_pool(created: Engine) -> None:
    Thing = thing()
    driver, reason = how(created, Thing, returning=Thing.id)
    assert driver == created.driver
    assert "read by the engine's driver" in reason


def test_few_rows_have_the_pool(created: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    driver, reason = how(created)
    assert driver == created.driver
    assert "rows is not worth the time" in reason
    assert fastbulk.insert(created, thing(), iter(ROWS)).road.driver == "mysql_async"


def test_what_an_engine_is_made_with(created: Engine, server: Server) -> None:
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"poolclass": StaticPool}, "StaticPool"),
        ({"isolation_level": "SERIALIZABLE"}, "isolation level"),
        ({"execution_options": {"isolation_level": "AUTOCOMMIT"}}, "isolation_level"),
        ({"connect_args": {"autocommit": True}}, "autocommit"),
        ({"connect_args": {"charset": "latin1"}}, "latin1"),
        ({"connect_args": {"client_flag": 1}}, "client flags"),
        ({"connect_args": {"read_timeout": 60}}, "read_timeout"),
        ({"connect_args": {"init_command": "SET @a = 1; SET @b = 2"}}, None),
        ({"connect_args": {"local_infile": False}}, OURS),
        ({"connect_args": {"connect_timeout": 5, "charset": "utf8mb4"}}, OURS),
        ({"pool_pre_ping": True, "pool_size": 1, "hide_parameters": True}, OURS),
    ]
    for options, reason in cases:
        with made(created.url, **options) as engine:
            if reason is None:
                with suppress(exc.DBAPIError):
                    assert how(engine)[0] == created.driver
            elif reason is OURS:
                assert how(engine) == OURS
            else:
                driver, why = how(engine)
                assert driver == created.driver
                assert reason in why


def test_listeners_and_creators_have_the_pool(created: Engine) -> None:
    with made(created.url) as engine:
        event.listen(engine.pool, "connect", lambda *_: None)
        assert "listeners (connect)" in how(engine)[1]
    connect = {"unix_socket": created.url.query["unix_socket"], "user": created.url.username}
    more = {"password": servers.PASSWORD, "database": "fastbulk_ours", "ssl_disabled": True}
    url = created.url.set(drivername=f"{created.dialect.name}+pymysql", query={})
    with made(url, creator=lambda: pymysql.connect(**{**connect, **more})) as engine:
        assert how(engine)[1] == "the engine has a creator of its own"


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_connection_begins_as_the_drivers_own(
    created: Engine, server: Server, driver: str
) -> None:
    """Settings of the connection, shown by a trigger."""
    with created.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER shown BEFORE INSERT ON thing FOR EACH ROW SET NEW.name = "
            "CONCAT_WS(' ', @@time_zone, @@autocommit + 0, @mine)"
        )
    url = server.url(
        driver, "fastbulk_ours", socket=True, sql_mode="ANSI_QUOTES",
        charset="utf8mb4",
        init_command="SET time_zone = '+03:00', @mine = 'x'",
    )  # fmt: skip
    with made(url) as engine:
        assert how(engine) == OURS
        with Session(engine) as session:
            session.execute(insert(thing()), [{"size": 1000}])
            Thing = thing()
            assert set(session.scalars(select(Thing.name))) == {"+03:00 0 x"}


def test_a_wrong_password_is_the_drivers_error(created: Engine, server: Server) -> None:
    for driver in DRIVERS:
        url = server.url(driver, "fastbulk_ours").set(password="no")
        with made(url) as engine, pytest.raises(exc.DBAPIError, match="Access denied"):
            how(engine)


# TLS


@pytest.fixture(scope="module")
def tls_servers() -> Iterator[dict[str, Server]]:
    with servers.mariadb(tls=True) as mariadb, servers.mysql(tls=True) as mysql:
        yield {"mariadb": mariadb, "mysql": mysql}


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_clients_certificate(tls_servers: Any, databases: Oracle, driver: str) -> None:
    tls = tls_servers[databases.backend.place]
    args = tls.connect_args(driver)
    # Only who shows a certificate over TLS is let in.
    url = tls.url(driver, tls.new_database(), user=servers.CERTIFIED)
    with made(url, connect_args=args) as engine:
        thing().metadata.create_all(engine)
        assert how(engine) == OURS


def test_an_unknown_authority_is_refused_by_the_driver(tls_servers: Any, databases: Oracle) -> None:
    tls = tls_servers[databases.backend.place]
    stranger = str(tls.certificates.client)
    args = {"ssl_ca": stranger, "ssl_verify_cert": True, "ssl_verify_identity": True}
    url = tls.url("pymysql", tls.new_database())
    with made(url, connect_args=args) as engine, pytest.raises(exc.OperationalError, match="verif"):
        how(engine)


@pytest.mark.parametrize("driver", ["pymysql", "mysqlconnector"])
def test_encryption_that_nobody_asked_for(tls_servers: Any, databases: Oracle, driver: str) -> None:
    tls = tls_servers[databases.backend.place]
    with made(tls.url(driver, tls.new_database())) as engine:
        thing().metadata.create_all(engine)
        assert how(engine) == OURS


# What LOAD DATA LOCAL and the bulk protocol must not change


#: What a table has besides, the bad row, and the column that the error is about.
REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], dict[str, Any], Any]] = {
    "duplicate": (lambda: {"name": Column(String(40), unique=True)}, {"name": "n7"}, "name"),
    "too long": (dict, {"name": "x" * 41}, "name"),
    "out of range": (dict, {"size": 2**31}, "size"),
    "no date": (lambda: {"day": Column(Date)}, {"day": "2024-02-31"}, "day"),
    "NULL": (lambda: {"name": Column(String(40), nullable=False)}, {"name": None}, "name"),
    "check": (lambda: {"args": (CheckConstraint("size < 5000", "small"),)}, {"size": 5000}, "size"),
    "no parent": (lambda: {"day": Column(ForeignKey("thing.id"))}, {"day": 77_777}, "day"),
}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", REFUSED)
def test_a_row_is_refused_as_by_insert(
    databases: Oracle, server: Server, name: str, driver: str
) -> None:
    attributes, bad, column = REFUSED[name]
    columns = {"name": Column(String(40)), "size": Column(Integer), "day": Column(String(10))}
    Thing = model(**{**columns, **attributes()})
    databases.create(Thing)
    rows = [{"name": f"n{i}", "size": i, "day": None} for i in range(3_000)]
    rows[2_500] |= bad
    with made(server.url(driver, "fastbulk_ours", socket=True)) as engine:
        error = error_of(lambda: fastbulk.insert(engine, Thing, rows))
    with (
        made(server.url(driver, "fastbulk_theirs", socket=True)) as engine,
        Session(engine) as session,
        pytest.raises(exc.DBAPIError) as theirs,
    ):
        session.execute(insert(Thing), rows)
    assert type(error) is type(theirs.value)
    ours: Any = error.orig
    orig: Any = theirs.value.orig
    assert type(ours) is type(orig)
    assert ours.args[0] == orig.args[0]
    assert getattr(ours, "sqlstate", None) == getattr(orig, "sqlstate", None)
    assert place(error)[0] == 2_500
    assert place(error)[1] == column
    assert count(databases.ours) == 0


def test_a_column_without_a_default(databases: Oracle) -> None:
    """LOAD DATA would make one up."""
    databases.execute(
        "CREATE TABLE thing (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40), "
        "size INT NOT NULL, there INT NOT NULL DEFAULT 7, at DATETIME DEFAULT CURRENT_TIMESTAMP, "
        "made VARCHAR(40) DEFAULT (CONCAT('x', 'y')), twice INT AS (there * 2) STORED)"
    )
    rows = [{"name": "x"}] * 3_000
    error = error_of(lambda: fastbulk.insert(databases.ours, thing(), rows))
    orig: Any = error.orig
    assert orig.args[0] == 1364
    Thing = model(size=Column(Integer))
    result = fastbulk.insert(databases.ours, Thing, [{"size": 1}] * 3_000)
    assert result.road.statement == fastest(databases.ours)
    with databases.ours.connect() as connection:
        sql = "SELECT DISTINCT there, made, twice, at IS NULL FROM thing"
        assert connection.exec_driver_sql(sql).all() == [(7, "xy", 14, 0)]


def test_a_mode_that_is_not_strict_bends_and_tells(databases: Oracle) -> None:
    databases.reconnect(init_command="SET sql_mode = ''")
    Thing = thing()
    databases.create(Thing)
    rows = [{"id": i + 1, "name": "x", "size": i} for i in range(3_000)]
    rows[2_000]["name"] = "y" * 50
    with pytest.warns(exc.SAWarning, match="at row 2000"):
        databases.check(Thing, rows)


def test_what_is_rounded_is_no_reason_for_literals(databases: Oracle) -> None:
    Thing = model(value=Column(Numeric(10, 2)), data=Column(LargeBinary))
    databases.create(Thing)
    rows = [{"value": "1.239", "data": b"\x00\\\n\t\xff"}, {"value": None, "data": b""}] * 1_000
    databases.check(Thing, rows)
    given = [{"value": 1.5, "data": b"x"}] * 1_000
    result = fastbulk.insert(databases.ours, Thing, given)
    assert result.road.statement in {fastest(databases.ours), "INSERT..VALUES"}


def test_null_is_no_reason_for_literals(databases: Oracle) -> None:
    Thing = thing()
    databases.create(Thing)
    rows = [{"name": "x", "size": 1}, {"name": None, "size": 2}, {"size": None}, {"id": 7}] * 1_000
    del rows[7::4]
    databases.check(Thing, rows)
    databases.execute("TRUNCATE thing")
    assert fastbulk.insert(databases.ours, Thing, rows).road.statement == fastest(databases.ours)


def test_literals_are_sent_where_they_must_and_the_road_says_so(databases: Oracle) -> None:
    Thing = model(size=Column(Integer), name=Column(String(40), server_default="there"))
    databases.create(Thing)
    rows = [{"size": 1}, {"size": 2, "name": "given"}, {"name": None}] * 1_000
    databases.check(Thing, rows)
    road = fastbulk.insert(databases.ours, Thing, rows).road
    assert road.statement == "INSERT..VALUES"
    assert road.refused[fastest(databases.ours)] == "not every row gives name"


@pytest.mark.only("mysql-engine")
def test_load_data_needs_permission_and_transactions(created: Engine, server: Server) -> None:
    def refused() -> Any:
        road = fastbulk.insert(engine, thing(), ROWS).road
        return road.driver, road.statement, road.refused.get("LOAD DATA LOCAL")

    with made(created.url, connect_args={"local_infile": 0}) as engine:
        reason = "the connection's arguments forbid LOCAL INFILE"
        assert refused() == ("mysql_async", "INSERT..VALUES", reason)
    with made(created.url) as engine:
        server.execute("SET GLOBAL local_infile = OFF")
        try:
            reason = "the server's local_infile is off"
            assert refused() == ("mysql_async", "INSERT..VALUES", reason)
        finally:
            server.execute("SET GLOBAL local_infile = ON")
        assert refused() == ("mysql_async", "LOAD DATA LOCAL", None)
        server.execute("ALTER TABLE fastbulk_ours.thing ENGINE = MyISAM")
        assert refused()[2] == "the table has no transactions"


def test_a_trigger_that_refuses(created: Engine) -> None:
    with created.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER small BEFORE INSERT ON thing FOR EACH ROW BEGIN IF NEW.size = 250 THEN "
            "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'too large'; END IF; END"
        )
    error = error_of(lambda: fastbulk.insert(created, thing(), ROWS))
    assert "too large" in str(error)
    assert place(error)[0] == 250
    assert count(created) == 0


# What happens on it


def test_all_or_nothing(created: Engine) -> None:
    def generate() -> Iterator[dict[str, Any]]:
        yield from ROWS * 100
        raise LookupError

    with pytest.raises(LookupError):
        fastbulk.insert(created, thing(), generate())
    error = error_of(lambda: fastbulk.insert(created, thing(), [*ROWS, {"size": "x"}]))
    assert place(error)[0] == len(ROWS)
    assert count(created) == 0


def test_no_table(created: Engine) -> None:
    with created.begin() as connection:
        connection.exec_driver_sql("DROP TABLE thing")
    with pytest.raises(exc.ProgrammingError) as caught:
        fastbulk.insert(created, thing(), ROWS)
    orig: Any = caught.value.orig
    assert orig.args[0] == 1146


def slow(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER slow BEFORE INSERT ON thing FOR EACH ROW SET NEW.size = SLEEP(60)"
        )


def threads(server: Server) -> list[int]:
    """The server's connections that run a statement on the table."""
    url = server.url("pymysql", "fastbulk_ours", user=servers.ADMIN, socket=True)
    with made(url) as engine, engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT id FROM information_schema.processlist WHERE db = 'fastbulk_ours' "
            "AND id <> CONNECTION_ID() AND command <> 'Sleep'"
        )
        return list(found.scalars())


def test_a_connection_that_is_lost(created: Engine, server: Server) -> None:
    slow(created)

    def kill() -> None:
        deadline = time.monotonic() + 10
        while not (found := threads(server)) and time.monotonic() < deadline:
            time.sleep(0.05)
        server.execute(*(f"KILL CONNECTION {id}" for id in found))

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(exc.DBAPIError) as caught:
        fastbulk.insert(created, thing(), ROWS)
    killer.join()
    assert caught.value.connection_invalidated
    with created.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER slow")
    assert how(created) == OURS


@pytest.mark.parametrize("rows", [list, iter])
def test_ctrl_c_ends_the_statement_on_the_server(
    created: Engine, server: Server, rows: Any
) -> None:
    slow(created)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), ctrl_c(0.7):
        fastbulk.insert(created, thing(), rows([{"size": 1}] * 60))
    assert time.monotonic() - begin < 10
    assert threads(server) == []
    assert count(created) == 0


def test_connections_are_closed(created: Engine, server: Server) -> None:
    def open_() -> Any:
        with created.connect() as connection:
            sql = "SELECT COUNT(*) FROM information_schema.processlist"
            return connection.exec_driver_sql(sql).scalar()

    before = open_()
    for _ in range(5):
        fastbulk.insert(created, thing(), ROWS)
        with pytest.raises(exc.DBAPIError):
            fastbulk.insert(created, thing(), [{"size": "x"}] * 60)
    deadline = time.monotonic() + 5
    while open_() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert open_() <= before


def test_a_load_in_a_fork(created: Engine) -> None:
    Thing = thing()

    def generate() -> Iterator[dict[str, Any]]:
        yield from ROWS
        child = os.fork()
        if child == 0:
            # The connection of the call belongs to the parent.
            try:
                yield from ROWS
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] != 0
        yield from ROWS

    fastbulk.insert(created, Thing, generate())
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
    assert count(created) == 3 * len(ROWS)


def test_a_generator_may_load_by_the_same_engine(created: Engine) -> None:
    Thing = thing()

    def generate() -> Iterator[dict[str, Any]]:
        for i in range(3):
            fastbulk.insert(created, Thing, ROWS)
            yield {"size": i}

    fastbulk.insert(created, Thing, generate())
    assert count(created) == 3 * len(ROWS) + 3


# Several connections


@pytest.mark.parametrize("rows", [list, iter])
def test_rows_are_spread_over_connections(created: Engine, rows: Any) -> None:
    with created.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE thing ADD pid INT")
        connection.exec_driver_sql(
            "CREATE TRIGGER who BEFORE INSERT ON thing FOR EACH ROW SET NEW.pid = CONNECTION_ID()"
        )
    Thing = thing()
    given = [{"name": f"n{i}", "size": i} for i in range(45_000)]
    result = fastbulk.insert(created, Thing, rows(given), connections=3)
    assert (result.rowcount, result.road.driver) == (45_000, "mysql_async")
    with Session(created) as session:
        found = {row.size: row.name for row in session.scalars(select(Thing))}
        assert session.scalar(text("SELECT COUNT(DISTINCT pid) FROM thing")) == 3
    assert found == {i: f"n{i}" for i in range(45_000)}


@pytest.mark.parametrize("at", [0, 44_999])
@pytest.mark.parametrize("bad", [{"size": "x"}, {"size": 2**40}])
def test_an_error_on_one_connection_undoes_all(created: Engine, at: int, bad: Any) -> None:
    rows: list[dict[str, Any]] = [{"name": f"n{i}", "size": i} for i in range(45_000)]
    rows[at] = bad
    error = error_of(lambda: fastbulk.insert(created, thing(), rows, connections=2))
    assert place(error) == (at, "size", bad["size"])
    assert count(created) == 0


# Arguments of the drivers


def of(driver: str, **given: Any) -> Settings:
    return settings(driver, {"user": "u", **given}, libmariadb=True, flags=0)


@pytest.mark.parametrize(
    ("driver", "given", "expected"),
    [
        ("pymysql", {}, {"host": "localhost", "port": 3306, "connect_timeout": 10}),
        ("mysqlconnector", {}, {"host": "127.0.0.1", "connect_timeout": None}),
        ("mysqldb", {"host": "h", "unix_socket": "/s"}, {"host": "h", "socket": None}),
        ("mysqldb", {"host": "localhost", "unix_socket": "/s"}, {"socket": "/s"}),
        ("pymysql", {"host": "h", "unix_socket": "/s"}, {"socket": "/s"}),
        ("pymysql", {"passwd": "p", "db": "d"}, {"password": "p", "database": "d"}),
        ("mysqlconnector", {"username": "v", "connection_timeout": 3}, {"connect_timeout": 3}),
        ("mysqldb", {"host": "h"}, {"tls": ("disable", None, False, None, None)}),
        ("pymysql", {"host": "h"}, {"tls": ("prefer", None, False, None, None)}),
        ("pymysql", {"ssl": {"ca": __file__}}, {"tls": ("require", __file__, True, None, None)}),
        ("mysqldb", {"host": "h", "ssl": True}, {"tls": ("require", None, False, None, None)}),
        (
            "mysqlconnector",
            {"time_zone": "+01:00", "init_command": "SET @a = 1"},
            {
                "setup": [
                    "SET NAMES utf8mb4", "SET time_zone='+01:00'", "SET @a = 1",
                    "SET autocommit=0, sql_notes=0",
                ]
            },
        ),
    ],
)  # fmt: skip
def test_arguments(driver: str, given: Any, expected: Any) -> None:
    found = of(driver, **given)._asdict()
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("driver", "given"),
    [
        ("mysqldb", {}),
        ("mysqldb", {"host": "localhost"}),
        ("mysqldb", {"host": "h", "ssl_mode": "VERIFY_CA"}),
        ("mysqldb", {"host": "h", "ssl": {"ca": "/nowhere"}}),
        ("mysqldb", {"host": "h", "ssl": {"cipher": "x"}}),
        ("mysqldb", {"host": "h", "read_default_file": "/etc/my.cnf"}),
        ("mysqldb", {"host": "h", "compress": True}),
        ("mysqldb", {"host": "h", "conv": {}}),
        ("pymysql", {"user": None}),
        ("pymysql", {"charset": "latin1"}),
        ("pymysql", {"autocommit": True}),
        ("pymysql", {"ssl_verify_cert": True}),
        ("pymysql", {"ssl": "context"}),
        ("pymysql", {"unix_socket": "/s", "ssl_ca": __file__}),
        ("pymysql", {"sql_mode": "x'; DROP TABLE t; -- "}),
        ("pymysql", {"init_command": "SELECT 1; SELECT 2"}),
        ("pymysql", {"client_flag": 1 << 5}),
        ("mysqlconnector", {"raise_on_warnings": True}),
        ("mysqlconnector", {"tls_versions": ["TLSv1.3"]}),
    ],
    ids=str,
)
def test_arguments_that_are_the_drivers_own(driver: str, given: Any) -> None:
    with pytest.raises(RefusedError):
        of(driver, **given)
