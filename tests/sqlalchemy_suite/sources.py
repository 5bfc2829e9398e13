"""SQLAlchemy's own tests, from its source distribution, beside the library that they test."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cache

if TYPE_CHECKING:
    from pathlib import Path

#: The newest of each is fetched.
SERIES = {"2.0": "sqlalchemy>=2.0,<2.1", "2.1": "sqlalchemy>=2.1,<2.2"}


@dataclass(frozen=True)
class Source:
    """One release of SQLAlchemy."""

    version: str
    #: Where the tests are started.
    tests: Path
    #: What stands in front of the Python path.
    library: Path


def fetch(series: str) -> Source:
    """The newest release of a series, from the package index that pip is configured for.

    It stays in the cache folder `sqlalchemy-<series>-<this Python>`: remove it to get a newer one.
    """
    home = cache.folder(
        f"sqlalchemy-{series}-{sysconfig.get_config_var('SOABI')}",
        lambda work: _download(SERIES[series], work),
    )
    (tests,) = home.glob("sqlalchemy-*")
    return Source(tests.name.partition("-")[2], tests, home / "library")


def _download(requirement: str, work: Path) -> Path:
    _pip("download", "--no-binary", "sqlalchemy", "--dest", work, requirement)
    (archive,) = work.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(work, filter="data")
    archive.unlink()
    version = archive.name.removeprefix("sqlalchemy-").removesuffix(".tar.gz")
    # Built as users have it: the tests' own folder holds no compiled modules.
    _pip("install", "--target", work / "library", f"sqlalchemy=={version}")
    return work


def _pip(verb: str, *arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--no-deps", *map(str, arguments)]
    subprocess.run(command, check=True)
