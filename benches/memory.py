"""How much a process's peak memory grows while it loads rows from a generator."""

from __future__ import annotations

import pickle
import re
import resource
import subprocess
import sys
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]  # no py.typed
from harness import Report, Verdict
from orders import Base, Order, rows_of
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

import fastbulk

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from run import Options
    from sqlalchemy import URL

    Place = Callable[[Path], AbstractContextManager[str]]

ROWS, GOAL_MB = 1_000_000, 150
STREAM_ROWS, STREAM_GOAL_MB = 10_000_000, 200
SAMPLE_ROWS = 1_000
STATUS = Path("/proc/self/status")


def run(options: Options, report: Report) -> None:
    """Load in fresh processes; print, and add the numbers and verdicts to the report."""
    count = min(options.rows, ROWS)
    streamed = count * STREAM_ROWS // ROWS
    for name, place in PLACES.items():
        load(name, place, "generated", count, GOAL_MB, report)
        load(name, place, "streamed", streamed, STREAM_GOAL_MB, report)


def load(name: str, place: Place, form: str, count: int, goal: int, report: Report) -> None:
    sample = rows_of(SAMPLE_ROWS)
    with TemporaryDirectory() as folder, place(Path(folder)) as url:
        growth = growth_in_child(url, Path(folder), sample, form, count) / 1e6
    what = f"{name}: peak memory grows in a load of {count:,} {form} rows"
    print(f"\n{what}: {growth:.0f} MB")
    report.numbers[f"memory, {name}, {form}"] = {"rows": count, "growth_mb": growth}
    report.verdicts.append(Verdict(what, f"{growth:.0f} MB", f"< {goal} MB", growth < goal))


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder / 'database.sqlite'}"


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    with servers.postgres() as server:
        yield shown(server.url("psycopg", server.new_database()))


@contextmanager
def mysql(folder: Path) -> Iterator[str]:
    with servers.mysql() as server:
        yield shown(server.url("mysqldb", server.new_database()))


def shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)


PLACES = {"SQLite": sqlite, "PostgreSQL": postgresql, "MySQL": mysql}


def growth_in_child(
    url: str, folder: Path, sample: list[dict[str, Any]], form: str, count: int
) -> int:
    (folder / "sample").write_bytes(pickle.dumps(sample))
    command = [sys.executable, __file__, url, str(folder), form, str(count)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def growth(url: str, folder: Path, form: str, count: int) -> int:
    """Load `count` rows and return by how many bytes the peak grew."""
    sample = pickle.loads((folder / "sample").read_bytes())
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        # What a first call imports is no growth.
        fastbulk.insert(session, Order, FORMS[form](sample, SAMPLE_ROWS))
        forget_peak()
        before = peak()
        fastbulk.insert(session, Order, FORMS[form](sample, count))
        session.commit()
        return peak() - before


def generated(sample: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Make every row anew, so that keeping them would be seen."""
    return (dict(row) for row in islice(cycle(sample), count))


def streamed(sample: list[dict[str, Any]], count: int) -> pa.RecordBatchReader:
    """Make every batch anew."""
    schema = pa.Table.from_pylist(sample).schema
    batches = (pa.RecordBatch.from_pylist(sample, schema) for _ in range(count // len(sample)))
    return pa.RecordBatchReader.from_batches(schema, batches)


FORMS = {"generated": generated, "streamed": streamed}


def peak() -> int:
    """Return the most bytes that this process has held."""
    # On Linux a child inherits its parent's ru_maxrss; VmHWM begins with the program.
    if STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
        assert found
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    # Imports leave a peak above what is held now; growth below it would be missed.
    if STATUS.exists():
        STATUS.with_name("clear_refs").write_text("5")


if __name__ == "__main__":
    print(growth(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
