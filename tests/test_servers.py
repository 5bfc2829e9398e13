"""The servers that the other tests rely on: each starts, answers every driver, and goes away."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

import servers
from servers import CERTIFIED, PASSWORD, USER, Server, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POSTGRES_DRIVERS = ["psycopg", "psycopg2", "asyncpg", "pg8000"]
MYSQL_DRIVERS = ["pymysql", "mysqldb", "mysqlconnector", "aiomysql", "asyncmy"]

START: dict[str, Callable[[], Server]] = {
    "postgres": servers.postgres,
    "postgres-tls": lambda: servers.postgres(tls=True),
    "mariadb": servers.mariadb,
    "mariadb-tls": lambda: servers.mariadb(tls=True),
    "mysql": servers.mysql,
    "mysql-tls": lambda: servers.mysql(tls=True),
}
TLS_VERSION = {
    "postgresql": "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mariadb": "SHOW STATUS LIKE 'Ssl_version'",
    "mysql": "SHOW STATUS LIKE 'Ssl_version'",
}
VERSIONS = {"postgres": r"PostgreSQL \d+", "mariadb": r"10\.11\..*MariaDB", "mysql": r"9\.\d+\.\d+"}


def drivers(name: str) -> list[str]:
    return POSTGRES_DRIVERS if name.startswith(("postgres", "pgbouncer")) else MYSQL_DRIVERS


def with_drivers(*names: str) -> pytest.MarkDecorator:
    pairs = [(name, driver) for name in names for driver in drivers(name)]
    return pytest.mark.parametrize(("name", "driver"), pairs)


class Running:
    """The servers of this file, each started when a test first asks for it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._servers: dict[str, Server] = {}

    def __getitem__(self, name: str) -> Server:
        if name not in self._servers:
            self._servers[name] = self._stack.enter_context(self._start(name))
        return self._servers[name]

    def _start(self, name: str) -> Server:
        return servers.pgbouncer(self["postgres"]) if name == "pgbouncer" else START[name]()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with ExitStack() as stack:
        yield Running(stack)


def ask(url: URL, statement: str, **connect_args: object) -> object:
    """The last value of the first row that a statement returns."""
    if url.get_dialect().is_async:
        return asyncio.run(ask_async(url, statement, connect_args))
    engine = create_engine(url, poolclass=NullPool, connect_args=connect_args)
    with engine.begin() as connection:
        return connection.execute(text(statement)).one()[-1]


async def ask_async(url: URL, statement: str, connect_args: dict[str, object]) -> object:
    engine = create_async_engine(url, poolclass=NullPool, connect_args=connect_args)
    async with engine.begin() as connection:
        value = (await connection.execute(text(statement))).one()[-1]
    # The drivers don't wait for the end of TLS, which needs the loop a little longer.
    await asyncio.sleep(0.2)
    return value


def processes_of(server: Server) -> set[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return {server.process.pid, *map(int, children.split())}


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@with_drivers("postgres", "mariadb", "mysql")
def test_every_driver_connects(running: Running, name: str, driver: str) -> None:
    server = running[name]
    url = server.url(driver, server.new_database())
    assert re.search(VERSIONS[name], str(ask(url, "SELECT version()")))


@with_drivers("postgres", "mariadb", "mysql")
def test_every_driver_connects_over_the_socket(running: Running, name: str, driver: str) -> None:
    url = running[name].url(driver, socket=True)
    assert re.search(VERSIONS[name], str(ask(url, "SELECT version()")))


@with_drivers("pgbouncer")
def test_every_driver_connects_through_pgbouncer(running: Running, name: str, driver: str) -> None:
    server = running[name]
    url = server.url(driver, server.new_database())
    assert ask(url, "SELECT current_database()") == url.database
    assert re.search(VERSIONS["postgres"], str(ask(url, "SELECT version()")))


@with_drivers("postgres-tls", "mariadb-tls", "mysql-tls")
@pytest.mark.parametrize("user", [USER, CERTIFIED])
def test_every_driver_connects_with_tls(
    running: Running, name: str, driver: str, user: str
) -> None:
    server = running[name]
    url = server.url(driver, server.new_database(), user=user)
    statement = TLS_VERSION[server.dialect]
    assert str(ask(url, statement, **server.connect_args(driver))).startswith("TLSv")


@pytest.mark.parametrize(
    ("name", "driver", "plain"),
    [
        ("postgres-tls", "psycopg", {"sslmode": "disable"}),
        ("mariadb-tls", "pymysql", {"ssl_disabled": True}),
        ("mysql-tls", "pymysql", {"ssl_disabled": True}),
    ],
)
def test_tls_is_required(
    running: Running, name: str, driver: str, plain: dict[str, object]
) -> None:
    with pytest.raises(DBAPIError):
        ask(running[name].url(driver), "SELECT 1", **plain)


@pytest.mark.parametrize(
    ("name", "driver", "uncertified"),
    [
        ("postgres-tls", "psycopg", {"sslmode": "require"}),
        ("mariadb-tls", "pymysql", {"ssl_verify_cert": False}),
        ("mysql-tls", "pymysql", {"ssl_verify_cert": False}),
    ],
)
def test_certified_needs_its_certificate(
    running: Running, name: str, driver: str, uncertified: dict[str, object]
) -> None:
    server = running[name]
    assert ask(server.url(driver), "SELECT 1", **uncertified) == 1
    with pytest.raises(DBAPIError):
        ask(server.url(driver, user=CERTIFIED), "SELECT 1", **uncertified)


@pytest.mark.parametrize("name", ["postgres", "mariadb", "mysql"])
def test_no_tls_is_offered_unasked(running: Running, name: str) -> None:
    server = running[name]
    assert not ask(server.url(drivers(name)[0]), TLS_VERSION[server.dialect])


@with_drivers("postgres", "mariadb", "mysql")
def test_a_wrong_password_is_refused(running: Running, name: str, driver: str) -> None:
    url = running[name].url(driver).set(password=PASSWORD + "x")
    # asyncpg raises an error of its own for this one.
    with pytest.raises(Exception, match=r"(?i)password|denied"):
        ask(url, "SELECT 1")


@pytest.mark.parametrize("name", ["postgres", "pgbouncer", "mariadb", "mysql"])
def test_new_databases_are_empty_and_apart(running: Running, name: str) -> None:
    server, driver = running[name], drivers(name)[0]
    first, second = (server.url(driver, server.new_database()) for _ in range(2))
    server.execute("CREATE TABLE only_here (id integer)", database=first.database, user=USER)
    assert ask(first, "SELECT count(*) FROM only_here") == 0
    with pytest.raises(DBAPIError, match="only_here"):
        ask(second, "SELECT count(*) FROM only_here")


@pytest.mark.parametrize("name", ["postgres", "mariadb", "mysql"])
def test_execute_leaves_percent_signs(running: Running, name: str) -> None:
    running[name].execute("SELECT '%s' LIKE '%'")


def test_postgres_prepares_transactions(running: Running) -> None:
    server = running["postgres"]
    assert ask(server.url("psycopg"), "SHOW max_prepared_transactions") == "10"


@pytest.mark.parametrize(
    ("start", "option", "driver", "statement", "value"),
    [
        (servers.postgres, "--max-connections=7", "psycopg", "SHOW max_connections", "7"),
        (servers.mariadb, "--max-connections=17", "pymysql", "SELECT @@max_connections", 17),
        (servers.mysql, "--max-connections=17", "pymysql", "SELECT @@max_connections", 17),
    ],
)
def test_options_reach_the_server(
    start: Callable[..., Server], option: str, driver: str, statement: str, value: object
) -> None:
    with start(options=[option]) as server:
        assert ask(server.url(driver), statement) == value


@pytest.mark.parametrize("name", START)
def test_stop_leaves_nothing(name: str) -> None:
    server = START[name]()
    engine = create_engine(server.url(drivers(name)[0], socket=True))
    with engine.connect() as connection:
        pids = processes_of(server)
        server.stop()
        connection.invalidate()
    assert not [pid for pid in pids if alive(pid)]
    assert not server.folder.exists()
    server.stop()


def test_stop_leaves_nothing_of_pgbouncer(running: Running) -> None:
    server = servers.pgbouncer(running["postgres"])
    ask(server.url("psycopg"), "SELECT 1")
    server.stop()
    assert not alive(server.process.pid)
    assert not server.folder.exists()


def test_stop_ends_a_server_that_does_not_obey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "STOP_SECONDS", 0.5)
    server = servers.mariadb()
    server.process.send_signal(signal.SIGSTOP)
    server.stop()
    assert not alive(server.process.pid)


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with pytest.raises(ServerError, match="no-such-option"):
            servers.mariadb(options=["--no-such-option"], on_disk=True)
        assert not list(Path(folder).iterdir())


@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
@pytest.mark.parametrize("start", ["postgres", "mariadb"])
def test_no_server_outlives_its_tests(start: str, ending: str) -> None:
    script = f"""
import os, servers
server = servers.{start}()
print(server.process.pid, server.folder, flush=True)
{ending}
"""
    environment = os.environ | {"PYTHONPATH": str(Path(servers.__file__).parent)}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    pid, folder = ended.stdout.split()
    deadline = time.monotonic() + 20
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert not alive(int(pid)) or "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_mysql_is_downloaded_once() -> None:
    home = servers.install_mysql()
    before = home.stat()
    assert servers.install_mysql() == home
    assert home.stat() == before
