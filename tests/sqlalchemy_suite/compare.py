"""Runs SQLAlchemy's own tests without fastbulk and with it, and compares test by test.

    python tests/sqlalchemy_suite/compare.py [--series 2.1] [--backends sqlite psycopg] [FILE ...]

Prints a row per database, and each test that ended otherwise. The exit status is 1 if one of
them is not in `allowed.txt`, or if fewer of the bulk calls that SQLAlchemy itself does not refuse
ran natively than `--least` says.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import databases  # noqa: E402
import report  # noqa: E402
import sources  # noqa: E402

#: The files whose tests run bulk calls.
CORE = (
    "test/orm/dml/test_bulk.py",
    "test/orm/dml/test_bulk_statements.py",
    "test/orm/test_bind.py",
    "test/orm/test_composites.py",
    "test/orm/test_unitofworkv2.py",
)
#: Everything that could notice, types and events too: an hour.
LONG = ("test/orm", "test/sql", "test/engine", "test/dialect", "test/ext", "test/base")
#: One test must not take longer, in seconds.
TIMEOUT = 180


def main() -> int:
    """Run what the command line asks for."""
    options = arguments()
    fetched = {series: sources.fetch(series) for series in options.series}
    pairs = [(source, name) for source in fetched.values() for name in options.backends]
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(compare, source, name, options.files) for source, name in pairs]
        compared = [run.result() for run in runs]
    report.show(compared)
    return int(any(one.not_allowed or one.share < options.least for one in compared))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--series", nargs="+", choices=sources.SERIES, default=[*sources.SERIES])
    parser.add_argument(
        "--backends", nargs="+", choices=databases.BACKENDS, default=[*databases.BACKENDS]
    )
    parser.add_argument("--long", action="store_const", const=LONG, default=CORE, dest="chosen")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="databases at a time")
    parser.add_argument("--least", type=int, default=0, help="per cent of the bulk calls")
    parser.add_argument("files", nargs="*", help="of SQLAlchemy's, instead of the five core files")
    options = parser.parse_args()
    options.files = options.files or options.chosen
    return options


def compare(source: sources.Source, backend: str, files: list[str]) -> report.Comparison:
    """The same tests on the same server, once without fastbulk and once with it."""
    with databases.BACKENDS[backend]() as anew:
        without = outcomes(source, anew(), files)
        accelerated = outcomes(source, anew(), files, "--accelerated")
    return report.Comparison(source.version, backend, without, accelerated)


def outcomes(source: sources.Source, url: str, files: list[str], *more: str) -> dict[str, Any]:
    """How each test ended, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "outcomes.json"
        ran = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                "-p", "pytest_timeout", f"--timeout={TIMEOUT}", "--maxfail=100000",
                "-p", "plugin", f"--outcomes={written}", *more, "--dburi", url,
                *files,
            ],
            cwd=source.tests,
            env=os.environ
            | {
                "PYTHONPATH": f"{source.library}{os.pathsep}{HERE}",
                # Or SQLAlchemy's conftest.py takes the library beside the tests.
                "PYTHONNOUSERSITE": "1",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )  # fmt: skip
        if not written.exists():
            raise RuntimeError(f"SQLAlchemy's tests did not run:\n{ran.stdout[-4000:]}")
        found: dict[str, Any] = json.loads(written.read_text())
        return found


if __name__ == "__main__":
    sys.exit(main())
