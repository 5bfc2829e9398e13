"""The limit: a plain Rust loop over ready native rows, in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from data import COLUMNS, Databases, Flights, write_rows

if TYPE_CHECKING:
    from harness import Case

CRATE = Path(__file__).parent / "limit"
TARGET = Path(__file__).resolve().parents[1] / "target" / "limit"


class Limit:
    """Runs the native loop on files that are written before the clock starts."""

    def __init__(self, binary: Path, databases: Databases, flights: Flights) -> None:
        """Keep what a run needs."""
        self._binary = binary
        self._databases = databases
        self._flights = flights

    @property
    def sqlite_version(self) -> str:
        """The SQLite library that the binary is linked to."""
        return output(self._binary, "--version")

    def seconds(self, case: Case, rows_per_statement: int, mutex: str) -> float:
        """Time insert and commit, per call."""
        with self._databases.fresh() as path:
            connection = (path, mutex, self._databases.pragma)
            rows = ("flights", self._file(path.parent, case.rows))
            counts = map(str, (rows_per_statement, case.calls, case.transactions))
            seconds = output(self._binary, *connection, *rows, *counts)
        return float(seconds) / case.repetitions

    def _file(self, folder: Path, rows: int) -> Path:
        path = folder / f"{rows}.rows"
        if not path.exists():
            write_rows(path, COLUMNS, self._flights.take(rows).tuples)
        return path


def build() -> Path | None:
    """Compile the crate against the system's SQLite, else its own; None without Rust."""
    if shutil.which("cargo") is None:
        return None
    command = ["cargo", "build", "--quiet", "--release", "--target-dir", str(TARGET)]
    system = subprocess.run(command, cwd=CRATE, stderr=subprocess.DEVNULL, check=False)
    if system.returncode != 0:
        subprocess.run([*command, "--features", "bundled"], cwd=CRATE, check=True)
    return TARGET / "release" / "limit"


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
