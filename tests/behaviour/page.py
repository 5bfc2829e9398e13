"""Writes `docs/behaviour.md` from what the tests of this folder say of themselves.

python tests/behaviour/page.py
"""

from __future__ import annotations

import sys
from importlib import import_module
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from better import BETTER  # noqa: E402
from world import (  # noqa: E402
    BEHAVIOURS,
    CONFLICT,
    EVERYWHERE,
    MYSQL,
    POSTGRESQL,
    RETURNS,
    Behaviour,
)

PAGE = HERE.parent.parent / "docs" / "behaviour.md"
HEAD = """\
# What SQLAlchemy's bulk calls do, and what they do accelerated

Each row is a test in `tests/behaviour`, which does the same by SQLAlchemy alone and within
`fastbulk.accelerate()`, in two databases, and compares what comes back or is raised, the warnings,
and all that stands in the tables then.

- **same**: it ran natively, and nothing differed.
- **not taken**: SQLAlchemy's own code did it, for the reason by which
  `fastbulk.accelerated.stats()` counts it.

The last column says where `fastbulk.insert` and its siblings don't do what SQLAlchemy does, on
purpose, and which is tested in `tests/suite`.

A call that fails is left to SQLAlchemy, which then fails as it always did; generated keys that the
native attempt used up stay used.
"""
TABLE = """\
| | SQLAlchemy | accelerated | on | `fastbulk.insert` and its siblings |
|---|---|---|---|---|"""
#: The backends of a behaviour, in a word.
PLACES = {
    EVERYWHERE: "everywhere",
    RETURNS: "not MySQL",
    CONFLICT: "SQLite, PostgreSQL",
    POSTGRESQL: "PostgreSQL",
    MYSQL: "MariaDB, MySQL",
    EVERYWHERE[4:]: "MySQL",
    EVERYWHERE[:1]: "SQLite",
}


def page() -> str:
    """The text of the page."""
    for path in sorted(HERE.glob("test_same_*.py")):
        import_module(path.stem)
    rows = sorted(BEHAVIOURS.values(), key=lambda row: row.number)
    lines = [HEAD]
    for section, found in groupby(rows, key=lambda row: row.section):
        lines += [f"## {section}", TABLE, *map(line, found), ""]
    return "\n".join(lines)


def line(row: Behaviour) -> str:
    """A row of the table."""
    place = PLACES.get(row.on, "asynchronous drivers")
    better = f"better on purpose: {BETTER[row.number][0]}" if row.number in BETTER else ""
    return f"| {row.number} | {row.text} | {row.verdict} | {place} | {better} |"


if __name__ == "__main__":
    PAGE.write_text(page())
