"""Any sequence of inserts, updates, upserts and deletes leaves what plain Python makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, String, exc, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

import fastbulk
from oracle import model, tell_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle import WithTables

pytestmark = pytest.mark.verb("update", "upsert", "delete")

Row = dict[str, Any]

KEYS = st.integers(1, 8)
EMAILS = st.sampled_from("abcdef")
#: What rows give besides their keys; each of it may be left out.
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.none() | st.sampled_from(["x", "y", ""]),
        "size": st.none() | st.integers(-3, 3),
    },
)


class RefusedError(Exception):
    """The model's answer to what the database must refuse."""


@dataclass
class Table:
    """What the database is to hold."""

    rows: dict[int, Row] = field(default_factory=dict)

    def insert(self, rows: Sequence[Row]) -> list[Row]:
        for row in rows:
            if row["id"] in self.rows or self.by_email(row.get("email")) is not None:
                raise RefusedError
            self.rows[row["id"]] = self.new(row)
        return [self.rows[row["id"]] for row in rows]

    def new(self, row: Row) -> Row:
        # An insert takes None for nothing given.
        made = {"email": None, "name": None, "size": None, "stamp": 0, **row}
        if "name" not in row:
            made["name"] = "default"
        return made

    def by_email(self, email: str | None) -> int | None:
        if email is None:
            return None
        return next((key for key, row in self.rows.items() if row["email"] == email), None)

    def update(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if len(row) == 1:  # SQLAlchemy sends nothing for it
                continue
            if row["id"] not in self.rows:
                raise RefusedError
            self.rows[row["id"]].update({"stamp": 7, **row})

    def delete(self, keys: Sequence[int]) -> list[int]:
        missing = [i for i, key in enumerate(keys) if key not in self.rows]
        for key in keys:
            self.rows.pop(key, None)
        return missing

    def upsert(
        self, rows: Sequence[Row], key: str, update: str, duplicates: str, only_changed: bool
    ) -> list[str]:
        """What became of each row."""
        counting: dict[Any, int] = {}
        for i, row in enumerate(rows):
            if duplicates == "error" and row[key] in counting:
                raise RefusedError
            if duplicates == "last" or row[key] not in counting:
                counting[row[key]] = i
        actions = ["duplicate"] * len(rows)
        for i in counting.values():
            actions[i] = self.upsert_one(rows[i], key, update, only_changed)
        return actions

    def upsert_one(self, row: Row, key: str, update: str, only_changed: bool) -> str:
        at = row["id"] if key == "id" else self.by_email(row["email"])
        if at not in self.rows:
            # Its key comes from the database.
            new = self.new(row)
            self.rows[row.get("id") or -1 - len(self.rows)] = new
            return "inserted"
        assert at is not None
        old = self.rows[at]
        new = {name: value for name, value in row.items() if name not in {"id", key}}
        if update == "size":
            new = {name: value for name, value in new.items() if name == "size"}
        elif update == "nothing":
            new = {}
        elif update == "sum":
            both = (old["size"], row["size"])
            new = {"size": None if None in both else sum(both)}
        if not new or (only_changed and new.items() <= old.items()):
            return "unchanged"
        old.update({"stamp": 7, **new})
        return "updated"

    def take_keys(self, found: Sequence[tuple[int, str | None]]) -> None:
        """Learns which keys the database has made for new rows."""
        for key, email in found:
            at = self.by_email(email)
            if at is not None and at < 0:
                self.rows[key] = {**self.rows.pop(at), "id": key}


@st.composite
def steps(draw: st.DrawFn) -> tuple[Any, ...]:
    verb = draw(st.sampled_from(["insert", "update", "upsert", "upsert", "delete"]))
    #: Each row stands for as many.
    times = draw(st.sampled_from([1, 1, 60]))
    if verb == "delete":
        return verb, [key for one in draw(st.lists(KEYS, max_size=5)) for key in many(one, times)]
    by_email = verb == "upsert" and draw(st.booleans())
    keys: Any = {"email": EMAILS} if by_email else {"id": KEYS}
    drawn = draw(st.lists(st.tuples(st.fixed_dictionaries(keys), VALUES), max_size=6))
    rows = [
        {**expanded, **values}
        for key, values in drawn
        for expanded in ({name: value} for name, one in key.items() for value in many(one, times))
    ]
    if verb != "upsert":
        return verb, rows
    update = draw(st.sampled_from(["all", "size", "nothing", "sum"]))
    if update == "sum":
        rows = [{"size": 1, **row} for row in rows]
    duplicates = draw(st.sampled_from(["error", "first", "last"]))
    return verb, rows, next(iter(keys)), update, duplicates, draw(st.booleans())


def many(one: Any, times: int) -> list[Any]:
    """Keys that stand for one, of which the first is the one alone."""
    if isinstance(one, str):
        return [f"{one}{i}" for i in range(times)]
    return [one + 10 * i for i in range(times)]


class Run:
    """One sequence, in a transaction that is undone."""

    def __init__(self, session: Session, Thing: Any) -> None:
        self.session, self.Thing = session, Thing
        self.table = Table()
        #: Mapped objects that the Session keeps up to date.
        self.objects: list[Any] = []

    def step(self, verb: str, rows: list[Any], *more: Any) -> None:
        tell_sequence(self.session, self.Thing)
        before = {key: dict(row) for key, row in self.table.rows.items()}
        try:
            expected = getattr(self.table, verb)(rows, *more)
        except RefusedError:
            self.table.rows = before
            with pytest.raises((exc.IntegrityError, StaleDataError, exc.InvalidRequestError)):
                getattr(self, verb)(rows, *more)
        else:
            assert getattr(self, verb)(rows, *more) == expected
        self.check()

    def insert(self, rows: list[Row]) -> list[Row]:
        Thing = self.Thing
        columns = [Thing.id, Thing.email, Thing.name, Thing.size, Thing.stamp]
        result = fastbulk.insert(self.session, Thing, rows, returning=columns, render_nulls=True)
        return [dict(row) for row in result.mappings()]

    def update(self, rows: list[Row]) -> None:
        result = fastbulk.update(self.session, self.Thing, rows)
        assert result.rowcount == len([row for row in rows if len(row) > 1])

    def delete(self, keys: list[int]) -> list[int]:
        return list(fastbulk.delete(self.session, self.Thing, keys).missing)

    def upsert(
        self, rows: list[Row], key: str, update: str, duplicates: Any, only_changed: bool
    ) -> list[str]:
        Thing = self.Thing
        updates: Any = {
            "all": None,
            "size": ["size"],
            "nothing": "nothing",
            "sum": {Thing.size: Thing.size + fastbulk.given(Thing.size)},
        }
        result = fastbulk.upsert(
            self.session,
            Thing,
            rows,
            key=key,
            update=updates[update],
            duplicates=duplicates,
            only_changed=only_changed,
            returning=[Thing.id, Thing.email],
        )
        found = [(row.id, row.email) for row in result]
        self.table.take_keys(found)
        # Every row comes back in its place.
        assert [dict(zip(("id", "email"), row, strict=True))[key] for row in found] == [
            row[key] for row in rows
        ]
        return list(result.actions)

    def check(self) -> None:
        Thing, session = self.Thing, self.session
        stored = session.execute(select(Thing.__table__).order_by(Thing.id)).mappings().all()
        expected = [self.table.rows[key] for key in sorted(self.table.rows)]
        assert [dict(row) for row in stored] == expected
        for known in self.objects:
            row = self.table.rows.get(known.id) if known in session else None
            assert (known in session) == (row is not None)
            if row is not None:
                assert (known.name, known.size, known.stamp) == (
                    row["name"],
                    row["size"],
                    row["stamp"],
                )
        self.objects = list(session.scalars(select(Thing).limit(5)))


def test_any_sequence(oracle: WithTables) -> None:
    Thing = model(
        email=Column(String(50), unique=True),
        name=Column(String(50), default="default"),
        size=Column(Integer),
        stamp=Column(Integer, default=0, onupdate=7),
    )
    engine = oracle(Thing).ours

    @settings(
        deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.lists(steps(), min_size=2, max_size=8))
    def check(sequence: list[tuple[Any, ...]]) -> None:
        with Session(engine) as session:
            run = Run(session, Thing)
            for step in sequence:
                run.step(*step)
            session.rollback()

    check()
