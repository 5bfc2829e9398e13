"""A pytest plugin: writes down how each of SQLAlchemy's tests ended, with fastbulk or without.

    pytest -p plugin --outcomes FILE [--accelerated]

It is imported from the folder of SQLAlchemy's tests: what it needs is on the Python path.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What SQLAlchemy appends to a class for the database that it runs on.
DATABASE = re.compile(r"_(sqlite|postgresql|mysql|mariadb)\+\w+(?=::)")


@dataclass
class Outcome:
    """How one test ended."""

    result: str = "passed"
    #: Of the failure, the last line.
    message: str = ""
    #: Assertions on the emitted SQL that would have failed with fastbulk.
    texts: list[str] = field(default_factory=list)
    #: Bulk calls that ran natively, by their kind.
    taken: Counter[str] = field(default_factory=Counter)
    #: Bulk calls that SQLAlchemy's own code ran, by the reason why.
    left: Counter[str] = field(default_factory=Counter)
    #: Bulk calls that raised before a statement was sent, by the exception's class.
    refused: Counter[str] = field(default_factory=Counter)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, required=True)
    parser.addoption("--accelerated", action="store_true")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Book(config.option))


class Book:
    """The outcomes of all tests."""

    def __init__(self, option: Any) -> None:
        self.path: Path = option.outcomes
        self.accelerated: bool = option.accelerated
        self.outcomes: dict[str, Outcome] = {}
        self.now = Outcome()
        #: Statements that were sent.
        self.sent = 0

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        if self.accelerated:
            accelerate(self)
        count_bulk_calls(self)
        count_statements(self)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        self.now = self.outcomes[DATABASE.sub("", item.nodeid)] = Outcome()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.now.result = "failed"
            self.now.message = last_line(report.longreprtext)
        elif report.skipped and self.now.result == "passed":
            self.now.result = "skipped"

    @contextmanager
    def bulk_call(self) -> Iterator[None]:
        """Counts one call by what became of it."""
        before, sent = self.stats(), self.sent
        try:
            yield
        except Exception as error:
            if self.sent == sent:
                self.now.refused[type(error).__name__] += 1
            raise
        finally:
            taken, left = (now - old for now, old in zip(self.stats(), before, strict=True))
            self.now.taken += taken
            self.now.left += left if taken or left else Counter(["not accelerated"])

    def stats(self) -> tuple[Counter[str], Counter[str]]:
        """What fastbulk took so far, and why it did not take the rest."""
        if not self.accelerated:
            return Counter(), Counter()
        import fastbulk

        stats = fastbulk.accelerated.stats()
        return Counter(stats["taken"]), Counter(stats["fallen_through"])

    def pytest_sessionfinish(self) -> None:
        written = {name: vars(outcome) for name, outcome in self.outcomes.items()}
        self.path.write_text(json.dumps(written))


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")[:300]


def count_bulk_calls(book: Book) -> None:
    """Have the book know of each call of SQLAlchemy's bulk functions."""
    from sqlalchemy.orm import bulk_persistence

    def counted(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            with book.bulk_call():
                return function(*args, **kwargs)

        return call

    for name in ("_bulk_insert", "_bulk_update"):
        setattr(bulk_persistence, name, counted(getattr(bulk_persistence, name)))


def count_statements(book: Book) -> None:
    """Have the book know of each statement that SQLAlchemy sends."""
    from sqlalchemy.engine import Connection

    def counted(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            book.sent += 1
            return function(*args, **kwargs)

        return call

    for name in ("_exec_single_context", "_exec_insertmany_context", "_cursor_execute"):
        setattr(Connection, name, counted(getattr(Connection, name)))


def accelerate(book: Book) -> None:
    """Run natively what can be, and go on after an assertion on the emitted SQL.

    fastbulk's SQL is another: such a test still has to find its results right.
    """
    from sqlalchemy.testing import assertsql

    import fastbulk
    from fastbulk.accelerated import left

    asserter: Any = assertsql.SQLAsserter
    assert_sql = asserter.assert_

    def note(asserter: Any, *rules: Any) -> None:
        try:
            assert_sql(asserter, *rules)
        except AssertionError as error:
            book.now.texts.append(last_line(str(error)))

    asserter.assert_ = note
    # Nearly all calls of these tests have few rows.
    left.FEW = 0
    fastbulk.accelerate()
