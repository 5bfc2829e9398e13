"""The fixtures that every test of the suite has: a backend, a form of the rows, and the oracle."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.runner import runtestprotocol
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn

pytest.register_assert_rewrite("oracle", "world")

# What is imported before its registration keeps its plain assertions.
import fastbulk  # noqa: E402
import servers  # noqa: E402
from fastbulk.accelerated import left  # noqa: E402
from fastbulk.carriers import own  # noqa: E402
from oracle import (  # noqa: E402
    BACKENDS,
    BEFORE_IMPORT,
    FORMS,
    LOADS_EXTENSIONS,
    Backend,
    Form,
    Oracle,
    WithTables,
    awaited,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine


POSTGRES_OPTIONS = ["-c", "autovacuum=off", "-c", "timezone=America/New_York"]


# What is started in the background ignores Ctrl-C, which tests press.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: What a test has few of is taken, too.
FEW = left.FEW
left.FEW = 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seconds",
        type=float,
        default=2.0,
        help="how long the writers of test_writers.py are at it",
    )
    parser.addoption(
        "--form",
        choices=FORMS,
        help="what rows are given as where a test does not say it, on every backend",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that depends on a backend runs on every one, or on those that its marks name."""
    if "backend" in metafunc.fixturenames:
        if metafunc.definition.get_closest_marker("asynchronous") is not None:
            names = [name for name, backend in BACKENDS.items() if backend.is_async]
            metafunc.parametrize("backend", names, indirect=True)
            return
        only = metafunc.definition.get_closest_marker("only")
        without = metafunc.definition.get_closest_marker("without")
        verbs = {v for mark in metafunc.definition.iter_markers("verb") for v in mark.args}
        sync = metafunc.definition.get_closest_marker("sync")
        names = [
            name
            for name, backend in BACKENDS.items()
            if (backend.whole if only is None else {name, name.split("-")[0]} & {*only.args})
            and (without is None or name.split("-")[0] not in without.args)
            and all(map(backend.has, verbs))
            and (sync is None or not backend.is_async)
        ]
        # A connection of our own is for those who have no Session.
        if "session" in metafunc.fixturenames:
            names = [name for name in names if not BACKENDS[name].own_connection]
        metafunc.parametrize("backend", names, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Runs a test of an asynchronous backend, and its fixtures, within an event loop."""
    callspec = getattr(item, "callspec", None)
    backend = BACKENDS.get(callspec.params.get("backend")) if callspec else None
    if backend is None or not backend.is_async:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    backend.loop(greenlet_spawn(runtestprotocol, item, nextitem=nextitem))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    backend = BACKENDS[request.param]
    form = request.config.getoption("form")
    return replace(backend, form=form) if form else backend


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Server]:
    """A PostgreSQL server, in which each test empties the databases that it uses."""
    with servers.postgres(options=POSTGRES_OPTIONS) as server:
        for name in ("ours", "theirs"):
            server.execute(f"CREATE DATABASE fastbulk_{name} OWNER {servers.USER}")
            server.execute(
                f"ALTER SCHEMA public OWNER TO {servers.USER}",
                "CREATE SCHEMA extensions",
                f"GRANT USAGE ON SCHEMA extensions TO {servers.USER}",
                "CREATE EXTENSION citext SCHEMA extensions",
                "CREATE EXTENSION hstore SCHEMA extensions",
                "CREATE EXTENSION cube SCHEMA extensions",
                f"ALTER DATABASE fastbulk_{name} SET search_path = public, extensions",
                database=f"fastbulk_{name}",
            )
        yield server


@pytest.fixture(scope="session")
def postgres18() -> Iterator[servers.Server]:
    """A PostgreSQL server of another version than Debian's."""
    with servers.postgres(options=POSTGRES_OPTIONS, version=18) as server:
        for name in ("ours", "theirs"):
            server.execute(f"CREATE DATABASE fastbulk_{name} OWNER {servers.USER}")
            server.execute(
                "CREATE SCHEMA extensions",
                f"GRANT USAGE ON SCHEMA extensions TO {servers.USER}",
                "CREATE EXTENSION vector SCHEMA extensions",
                f"ALTER DATABASE fastbulk_{name} SET search_path = public, extensions",
                database=f"fastbulk_{name}",
            )
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[servers.Server]:
    """A MariaDB server, in which each test empties the databases that it uses."""
    with servers.mariadb() as server:
        with_databases(server)
        yield server


@pytest.fixture(scope="session")
def mysql() -> Iterator[servers.Server]:
    """A MySQL server, in which each test empties the databases that it uses."""
    with servers.mysql(options=["--max-allowed-packet=16M", "--local-infile=ON"]) as server:
        with_databases(server)
        yield server


def with_databases(server: servers.Server) -> None:
    for name in ("ours", "theirs"):
        server.execute(f"CREATE DATABASE fastbulk_{name}", user=servers.USER)


@pytest.fixture
def databases(
    backend: Backend, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Oracle]:
    """Two empty databases of the backend."""
    if backend.own_connection:
        monkeypatch.setattr(own, "FEW", -1)
        monkeypatch.setattr(own, "FEW_SPREAD", -1)
    if backend.is_async:
        for verb in ("insert", "update", "upsert", "delete", "explain"):
            monkeypatch.setattr(fastbulk, verb, awaited(verb))
    oracle = Oracle(backend, request.getfixturevalue(backend.place))
    yield oracle
    oracle.dispose()


@pytest.fixture
def before_import(tmp_path: Path) -> Iterator[Oracle]:
    """Two databases; fastbulk's has the connections that it gets when it was imported too late."""
    if LOADS_EXTENSIONS:
        pytest.skip("this Python loads the function into any connection")
    oracle = Oracle(BEFORE_IMPORT, tmp_path)
    yield oracle
    oracle.dispose()


@pytest.fixture
def oracle(databases: Oracle) -> WithTables:
    """`oracle(Thing)`: two databases with the tables of the model."""

    def with_tables(model: Any) -> Oracle:
        databases.create(model)
        return databases

    return with_tables


@pytest.fixture
def engine(databases: Oracle) -> Engine:
    """An empty database of the backend."""
    return databases.ours


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A Session on an empty database."""
    with Session(engine) as session:
        yield session
