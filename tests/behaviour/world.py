"""What SQLAlchemy's bulk calls do, with `fastbulk.accelerate` as without it.

A behaviour is a test whose function does something in a `World`. It runs in two: SQLAlchemy alone
in the one, accelerated in the other. What both noted must be the same, and so must their tables.
`docs/behaviour.md` is written from the table `BEHAVIOURS`: `python tests/behaviour/page.py`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Result, exc, inspect
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

import fastbulk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Engine

    from oracle import Oracle

#: One driver per server, and both that most people have for PostgreSQL.
EVERYWHERE = ("sqlite-memory", "psycopg", "psycopg2", "mariadb-mysqldb", "mysql-pymysql")
SERVERS = EVERYWHERE[1:]
POSTGRESQL = ("psycopg", "psycopg2")
MYSQL = ("mariadb-mysqldb", "mysql-pymysql")
#: RETURNING for many rows.
RETURNS = EVERYWHERE[:4]
#: ON CONFLICT.
CONFLICT = EVERYWHERE[:3]

#: Why a call fell through that fails anyway, as SQLAlchemy says it.
FAILS = "the call fails"


@dataclass(frozen=True)
class Behaviour:
    """A row of the page."""

    number: int
    text: str
    on: tuple[str, ...]
    section: str
    taken: bool
    left: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """What becomes of it with the accelerator."""
        said = ["same"] if self.taken else []
        if self.left or not self.taken:
            said.append(": ".join(filter(None, ["not taken", ", ".join(self.left)])))
        return "; ".join(said)


BEHAVIOURS: dict[int, Behaviour] = {}


class World:
    """A database, and what a scenario noted in it."""

    def __init__(self, oracle: Oracle, engine: Engine) -> None:
        self.oracle = oracle
        self.engine = engine
        self.dialect = engine.dialect.name
        self.notes: list[Any] = []

    def create(self, model: Any, *rows: dict[str, Any]) -> Any:
        """Makes the tables of the model, with these rows by an insert each."""
        model.metadata.create_all(self.engine)
        with self.engine.begin() as connection:
            for row in rows:
                connection.execute(model.__table__.insert().values(row))
        return model

    def note(self, value: Any) -> None:
        """What both worlds must agree on."""
        self.notes.append(plain(value))

    def attempt(self, work: Callable[..., Any], **options: Any) -> None:
        """Does the work in a Session of its own and commits; notes what came back or was raised."""
        with Session(self.engine, **options) as session:
            try:
                self.note(work(session))
                session.commit()
            except Exception as error:
                self.note(error)


def behaviour(
    number: int,
    text: str,
    *,
    on: Sequence[str] = EVERYWHERE,
    taken: bool = True,
    left: Sequence[str] = (),
) -> Callable[[Any], Any]:
    """A test of one behaviour, on each of these backends.

    Args:
        number: where it stands on the page.
        text: what SQLAlchemy does, for the page.
        on: the backends where it can be seen.
        taken: whether some of its calls run natively.
        left: why others don't, beside those that fail.
    """

    def test_of(scenario: Callable[[World], None]) -> Any:
        section = (scenario.__globals__["__doc__"] or "").splitlines()[0].rstrip(".")
        assert number not in BEHAVIOURS
        row = Behaviour(number, text, tuple(on), section, taken, tuple(left))
        BEHAVIOURS[number] = row

        @pytest.mark.only(*on)
        @pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
        def test(databases: Oracle) -> None:
            theirs = experienced(scenario, World(databases, databases.theirs))
            with counted() as calls, fastbulk.accelerate():
                ours = experienced(scenario, World(databases, databases.ours))
            for mine, other in zip_longest(ours, theirs):
                assert mine == other
            contents = databases.sorted_contents(databases.ours)
            assert contents == databases.sorted_contents(databases.theirs)
            assert bool(calls["taken"]) == taken, calls
            assert set(calls["fallen_through"]) <= {*left, FAILS}, calls

        test.__doc__ = text
        test.__module__ = scenario.__module__
        return test

    return test_of


@contextmanager
def counted() -> Iterator[dict[str, Counter[str]]]:
    """How many calls were taken, by kind, and fell through, by reason; filled at the end."""
    before = fastbulk.accelerated.stats()
    calls: dict[str, Counter[str]] = {}
    yield calls
    after = fastbulk.accelerated.stats()
    calls["taken"] = Counter(after["taken"]) - Counter(before["taken"])
    calls["fallen_through"] = Counter(after["fallen_through"]) - Counter(before["fallen_through"])


def experienced(scenario: Callable[[World], None], world: World) -> list[Any]:
    """What the scenario noted, and its warnings."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        scenario(world)
    return [*world.notes, [(warning.category, str(warning.message)) for warning in warned]]


def plain(value: Any) -> Any:
    """What can be compared with the same of the other world: values with their types."""
    if isinstance(value, BaseException):
        return plain_error(value)
    if isinstance(value, Result):
        return [type(value).__name__, *plain_result(value)]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, Row)):
        return [type(value).__name__, *map(plain, value)]
    state = inspect(value, raiseerr=False)
    if state is not None and hasattr(state, "persistent"):
        loaded = {name: plain(v) for name, v in state.dict.items() if name[0] != "_"}
        kind = "persistent" if state.persistent else "detached" if state.detached else "transient"
        return [type(value).__name__, kind, loaded]
    return [type(value).__name__, value if value == value else "NaN"]


def plain_result(result: Result[Any]) -> list[Any]:
    """Keys and rows, or that there are none; and the count, where there is one."""
    count = getattr(result, "rowcount", None)
    try:
        return [list(result.keys()), plain(result.all()), count]
    except exc.ResourceClosedError:
        return ["closed", count]


def plain_error(error: BaseException) -> Any:
    """Its class and what it says; of the database's errors the first line."""
    if not isinstance(error, exc.StatementError):
        return [type(error), str(error)]
    said = str(error.args[0]).splitlines()[0].replace("fastbulk_ours", "fastbulk_theirs")
    return [type(error), type(error.orig), said]
