"""What a call leaves behind: no memory, no file, no thread, nobody else's connection changed."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import CheckConstraint, Column, Integer, String, create_engine, exc, func, select
from sqlalchemy.orm import Session

import fastbulk
from fastbulk.orm.mapping import InsertPlan
from interrupt import ctrl_c
from oracle import model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Engine

ROWS = [{"name": f"n{i}", "size": i if i % 3 else None} for i in range(300)]


def thing() -> Any:
    return model(name=Column(String, nullable=False), size=Column(Integer))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def Thing(engine: Engine) -> Any:
    Thing = thing()
    Thing.metadata.create_all(engine)
    return Thing


def count(engine: Engine, Thing: Any) -> int:
    with Session(engine) as session:
        return session.scalars(select(func.count()).select_from(Thing)).one()


def calls(engine: Engine, Thing: Any, times: int) -> None:
    """Calls of every sort, good and bad, each undone."""
    with Session(engine) as session:
        for _ in range(times):
            fastbulk.insert(session, Thing, ROWS)
            fastbulk.insert(session, Thing, iter(ROWS[:20]), returning=Thing.id).all()
            fastbulk.insert(session, Thing, ROWS[:20], returning=Thing).scalars().all()
            for bad in ({"name": None}, {"name": "x", "size": 2**70}, {"nmae": "x"}):
                with pytest.raises(exc.SQLAlchemyError):
                    fastbulk.insert(session, Thing, [*ROWS, bad])
            session.rollback()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


linux = pytest.mark.skipif(not Path("/proc/self").exists(), reason="counts what /proc shows")


@linux
def test_a_thousand_calls_leave_nothing(engine: Engine, Thing: Any) -> None:
    calls(engine, Thing, 40)
    gc.collect()
    files, threads, resident = open_files(), threading.active_count(), resident_bytes()
    calls(engine, Thing, 170)
    gc.collect()
    assert open_files() == files
    assert threading.active_count() == threads
    assert resident_bytes() - resident < 8 << 20


@linux
def test_rows_of_ever_new_shapes_take_little_memory(engine: Engine) -> None:
    """Each shape is a statement, and SQLite's statements are large."""
    columns: dict[str, Any] = {f"c{i}": Column(Integer, server_default="1") for i in range(20)}
    Thing = model(**columns)
    Thing.metadata.create_all(engine)
    rows = [{f"c{i}": n for i in range(20) if n >> i % 15 & 1} for n in range(20_000)]
    fastbulk.insert(engine, Thing, rows[:1_000])
    resident = resident_bytes()
    peak = 0

    def watch(done: int, total: int | None) -> None:
        nonlocal peak
        peak = max(peak, resident_bytes())

    fastbulk.insert(engine, Thing, rows, progress=watch)
    assert peak - resident < 40 << 20


def test_calls_leave_no_python_objects(engine: Engine, Thing: Any) -> None:
    calls(engine, Thing, 5)
    gc.collect()
    tracemalloc.start()
    try:
        calls(engine, Thing, 2)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        calls(engine, Thing, 20)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000


def test_engines_are_not_kept(Thing: Any) -> None:
    kept = []
    for _ in range(3):
        engine = create_engine("sqlite://")
        Thing.metadata.create_all(engine)
        fastbulk.insert(engine, Thing, ROWS, returning=Thing.id)
        with Session(engine) as session:
            fastbulk.insert(session, Thing, ROWS, returning=Thing)
        engine.dispose()
        kept.append(weakref.ref(engine.dialect))
        del engine, session
    gc.collect()
    assert [reference() for reference in kept] == [None] * 3


def test_classes_are_not_kept(engine: Engine) -> None:
    kept = []
    for number in range(3):
        Thing = model(table=f"thing{number}", name=Column(String))
        Thing.metadata.create_all(engine)
        fastbulk.insert(engine, Thing, [{"name": "x"}], returning=Thing.id)
        kept.append(weakref.ref(Thing))
        Thing.registry.dispose()
        del Thing
    gc.collect()
    assert [reference() for reference in kept] == [None] * 3


def test_plans_of_many_tenants_are_not_all_kept(engine: Engine, Thing: Any) -> None:
    def plans() -> int:
        return sum(isinstance(thing, InsertPlan) for thing in gc.get_objects())

    before = plans()
    for tenant in range(300):
        schemas = {"schema_translate_map": {f"tenant{tenant}": None}}
        fastbulk.insert(engine.execution_options(**schemas), Thing, ROWS[:1])
    assert plans() - before <= 100
    assert count(engine, Thing) == 300


def test_rows_are_not_kept(engine: Engine, Thing: Any) -> None:
    class Name(str):
        __slots__ = ("__weakref__",)

    name = Name("x")
    reference = weakref.ref(name)
    result = fastbulk.insert(engine, Thing, [{"name": name}], returning=Thing.id)
    del name
    gc.collect()
    assert reference() is None
    assert result.all() == [(1,)]


def test_threads_with_their_own_sessions_and_files(tmp_path: Path) -> None:
    def load(number: int) -> Sequence[Any]:
        engine = create_engine(f"sqlite:///{tmp_path / str(number)}.db")
        Thing = thing()
        Thing.metadata.create_all(engine)
        for _ in range(5):
            with Session(engine) as session:
                rows = ({"name": f"{number}", "size": i} for i in range(5_000))
                ids = fastbulk.insert(session, Thing, rows, returning=Thing.id).scalars().all()
                assert len(ids) == 5_000
                session.commit()
        with Session(engine) as session:
            found = session.execute(select(Thing.name, func.count()).group_by(Thing.name)).all()
        engine.dispose()
        return found

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(load, range(8)))
    assert found == [[(str(number), 25_000)] for number in range(8)]


def test_threads_that_share_a_class_and_an_engine(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}", connect_args={"timeout": 60})
    Thing = thing()
    Thing.metadata.create_all(engine)

    def load(number: int) -> None:
        rows = [{"name": str(number), "size": i} for i in range(1_000)]
        for _ in range(5):
            fastbulk.insert(engine, Thing, rows, returning=[Thing.id, Thing.name])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(load, range(8)))
    assert count(engine, Thing) == 8 * 5 * 1_000
    engine.dispose()


def test_another_thread_runs_while_sqlite_works(engine: Engine, Thing: Any) -> None:
    """The GIL is free then: a thread that only counts goes on counting."""
    rows = [{"name": "x" * 2_000, "size": i} for i in range(20_000)]
    counted, stop = 0, threading.Event()

    def counts() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1
            time.sleep(0)

    thread = threading.Thread(target=counts)
    thread.start()
    try:
        with Session(engine) as session:
            timing = fastbulk.insert(session, Thing, rows).timing
    finally:
        stop.set()
        thread.join()
    assert timing.run > 0.01
    assert counted > 100


def in_a_fork(work: Callable[[], Any]) -> int:
    """Runs `work` in a forked child; gives its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_after_a_load_loads(engine: Engine, Thing: Any, tmp_path: Path) -> None:
    fastbulk.insert(engine, Thing, ROWS)

    def load() -> None:
        child = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
        result = fastbulk.insert(child, Thing, ROWS * 100, returning=Thing.id)
        assert result.road.name == "native"
        child.dispose()

    engine.dispose()
    assert in_a_fork(load) == 0
    assert count(engine, Thing) == 101 * len(ROWS)
    fastbulk.insert(engine, Thing, ROWS)
    assert count(engine, Thing) == 102 * len(ROWS)


def load_in_child(path: str) -> str:
    engine = create_engine(f"sqlite:///{path}")
    Thing = thing()
    result = fastbulk.insert(engine, Thing, ROWS)
    engine.dispose()
    return result.road.name


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_pool_of_processes_loads(engine: Engine, Thing: Any, tmp_path: Path, method: str) -> None:
    fastbulk.insert(engine, Thing, ROWS)
    engine.dispose()
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(load_in_child, (tmp_path / "a.db",)) == "native"
    assert count(engine, Thing) == 2 * len(ROWS)


def test_another_sqlite_library_is_left_alone(engine: Engine, Thing: Any, tmp_path: Path) -> None:
    apsw = pytest.importorskip("apsw")
    before = apsw.Connection(":memory:")
    fastbulk.insert(engine, Thing, ROWS)
    after = apsw.Connection(str(tmp_path / "apsw.db"))
    for connection in (before, after):
        with pytest.raises(apsw.SQLError, match="no such function: fastbulk_run"):
            connection.execute("SELECT fastbulk_run(1)")
        connection.execute("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
        assert connection.execute("SELECT count(*) FROM t").get == 2
        connection.close()
    fastbulk.insert(engine, Thing, ROWS)
    assert count(engine, Thing) == 2 * len(ROWS)


unix = pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")


@unix
def test_ctrl_c_stops_a_statement_that_takes_long(engine: Engine) -> None:
    """One slice whose rows SQLite takes minutes for: only the native loop can see the signal."""
    Thing = thing()
    with engine.begin() as connection:
        Thing.metadata.create_all(connection)
        connection.exec_driver_sql(
            "CREATE TRIGGER slow AFTER INSERT ON thing WHEN NEW.size IS NOT NULL BEGIN "
            "SELECT (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) "
            "SELECT sum(i) FROM n); END"
        )
    rows = [{"name": "x", "size": i} for i in range(19_000)]
    with Session(engine) as session:
        fastbulk.insert(session, Thing, [{"name": "before"}])
        begin = time.perf_counter()
        with ctrl_c(0.5), pytest.raises(KeyboardInterrupt):
            fastbulk.insert(session, Thing, rows)
        assert time.perf_counter() - begin < 5
        assert session.scalars(select(Thing.name)).all() == ["before"]
        fastbulk.insert(session, Thing, [{"name": "later"}])
        session.commit()
    assert count(engine, Thing) == 2


@unix
@pytest.mark.parametrize("returning", [[], ["id"], ["id", "name"]])
def test_ctrl_c_in_a_statement_of_many_rows_leaves_the_transaction(
    engine: Engine, returning: list[str]
) -> None:
    """No trigger, so that the slice is read as a table."""
    slow = CheckConstraint("length(hex(zeroblob(200000 + size))) > 0")
    Thing = model(name=Column(String), size=Column(Integer, slow))
    Thing.metadata.create_all(engine)
    rows = [{"name": "x", "size": i} for i in range(19_000)]
    columns = [getattr(Thing, key) for key in returning] or None
    with Session(engine) as session:
        fastbulk.insert(session, Thing, [{"name": "before", "size": 0}])
        begin = time.perf_counter()
        with ctrl_c(0.3), pytest.raises(KeyboardInterrupt):
            fastbulk.insert(session, Thing, rows, returning=columns)
        assert time.perf_counter() - begin < 5
        assert session.scalars(select(Thing.name)).all() == ["before"]
        session.commit()
    assert count(engine, Thing) == 1


@unix
@pytest.mark.parametrize("after", [0.1, 0.2, 0.3])
def test_ctrl_c_stops_a_load_and_undoes_it(engine: Engine, Thing: Any, after: float) -> None:
    def endless() -> Iterator[dict[str, Any]]:
        while True:
            yield {"name": "x", "size": 1}

    with Session(engine) as session:
        fastbulk.insert(session, Thing, [{"name": "before"}])
        begin = time.perf_counter()
        with ctrl_c(after), pytest.raises(KeyboardInterrupt):
            fastbulk.insert(session, Thing, endless())
        assert time.perf_counter() - begin < 2
        try:
            found = session.scalars(select(Thing.name)).all()
        except exc.PendingRollbackError:
            # It fell into SQLAlchemy's own code, which then gives up the connection.
            session.rollback()
            found = ["before"]
        assert found == ["before"]
        fastbulk.insert(session, Thing, [{"name": "later"}])
        session.commit()
    assert 1 <= count(engine, Thing) <= 2


def test_a_signal_whose_handler_returns_does_not_stop_a_load(engine: Engine, Thing: Any) -> None:
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *arguments: seen.append(arguments))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        rows = ({"name": "x", "size": i} for i in range(300_000))
        fastbulk.insert(engine, Thing, rows)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen
    assert count(engine, Thing) == 300_000


def test_a_load_off_the_main_thread(engine: Engine, Thing: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        rows = [{"name": "x", "size": i} for i in range(45_000)]
        assert pool.submit(fastbulk.insert, engine, Thing, rows).result().rowcount == 45_000
