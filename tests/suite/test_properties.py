"""Any mapping, any rows: SQLAlchemy and fastbulk leave the same behind."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Time,
    Uuid,
    func,
    insert,
    literal_column,
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

import fastbulk
from oracle import BACKENDS, FORMS, Oracle, error_of, model

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator
    from datetime import date, datetime, time

# SQLite's statements take UTF-8, which has no surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WHOLE = st.integers(-(2**63), 2**63 - 1)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
).filter(lambda document: document is not None)

#: Types, the values that are given for them, and the server's default.
TYPES: list[tuple[Any, st.SearchStrategy[Any], str]] = [
    (Integer, WHOLE | st.booleans() | TEXTS, "7"),
    (String, TEXTS | st.integers(0, 99), "'server'"),
    (Float, st.floats() | st.integers(-(10**9), 10**9), "1.5"),
    (Numeric(10, 2), st.decimals(-1000, 1000, places=2) | st.integers(-9, 9), "2.5"),
    (Boolean, st.booleans(), "1"),
    (Date, st.dates(), "'2020-01-02'"),
    (Time, st.times(), "'01:02:03.000004'"),
    (DateTime, st.datetimes(), "'2020-01-02 03:04:05.000006'"),
    (LargeBinary, st.binary(max_size=20), "x'00ff'"),
    (Uuid, st.uuids(), "'00000000000000000000000000000007'"),
    (JSON, DOCUMENTS, "'[1]'"),
    (String().evaluates_none(), TEXTS, "'server'"),
]
SIZES = [0, 1, 2, 9, 10, 11, 99, 100, 101, 199, 200, 201, 320, 2_999, 3_000, 3_211]


@dataclass
class Case:
    """A mapped class and rows for it."""

    Thing: Any
    rows: list[dict[str, Any]]


@st.composite
def columns(draw: st.DrawFn, number: int) -> tuple[Any, st.SearchStrategy[Any]]:
    """A column with or without a default of any sort, and the values that rows give for it."""
    value_type, values, server = draw(st.sampled_from(TYPES))
    arguments: dict[str, Any] = {"nullable": True}
    kind = draw(st.sampled_from(["none", "none", "scalar", "callable", "server", "sql", "both"]))
    if kind == "scalar":
        arguments["default"] = draw(values.filter(lambda value: value is not None))
    elif kind == "callable":
        given = draw(values)
        arguments["default"] = lambda: given
    elif kind in {"server", "both"}:
        arguments["server_default"] = text(server)
    if kind == "both":
        arguments["default"] = lambda context: None
    elif kind == "sql":
        arguments["default"] = func.coalesce(None, literal_column(server), type_=value_type)
    return Column(f"the {number}", value_type, **arguments), values


@st.composite
def cases(draw: st.DrawFn) -> Case:
    drawn = [draw(columns(number)) for number in range(draw(st.integers(1, 5)))]
    names = [f"c{number}" for number in range(len(drawn))]
    Thing = model(**{name: column for name, (column, _) in zip(names, drawn, strict=True)})
    cells = {name: st.none() | values for name, (_, values) in zip(names, drawn, strict=True)}
    if draw(st.booleans()):
        # Some keys are given, and some of these clash with one another or with generated ones.
        cells["id"] = st.none() | st.integers(-5, 400)
    row = st.fixed_dictionaries({}, optional=cells).flatmap(
        lambda row: st.permutations(list(row.items())).map(dict)
    )
    distinct = draw(st.lists(row, min_size=1, max_size=12))
    size = draw(st.sampled_from(SIZES))
    return Case(Thing, [dict(distinct[i % len(distinct)]) for i in range(size)])


@contextmanager
def databases(Thing: Any) -> Iterator[Oracle]:
    oracle = Oracle(BACKENDS["sqlite-memory"], Path())
    try:
        oracle.create(Thing)
        yield oracle
    finally:
        oracle.dispose()


@settings(max_examples=150, deadline=None)
@given(cases(), st.booleans(), st.sampled_from(sorted(FORMS)))
def test_contents_are_those_of_sqlalchemy(case: Case, render_nulls: bool, form: str) -> None:
    with databases(case.Thing) as oracle:
        oracle.check(case.Thing, case.rows, form=FORMS[form], render_nulls=render_nulls)


@settings(max_examples=75, deadline=None)
@given(cases(), st.booleans(), st.data())
def test_what_comes_back_is_what_sqlalchemy_returns(
    case: Case, entities: bool, data: st.DataObject
) -> None:
    attributes = [getattr(case.Thing, key) for key, _ in case.Thing.__mapper__.columns.items()]
    some = data.draw(st.lists(st.sampled_from(attributes), min_size=1, max_size=4))
    returning = [case.Thing, *some[1:]] if entities else some
    with databases(case.Thing) as oracle:
        oracle.check(case.Thing, case.rows[:320] or [{}], returning=returning)


UNIQUE = st.integers(0, 400)


@settings(max_examples=75, deadline=None)
@given(st.lists(st.tuples(UNIQUE, st.integers(-1, 30)), max_size=12), st.sampled_from(SIZES[:-3]))
def test_the_first_bad_row_is_named_and_nothing_is_left(
    tail: list[tuple[int, int]], size: int
) -> None:
    """The oracle is SQLAlchemy, row by row."""
    Thing = model(
        a=Column(Integer, unique=True),
        b=Column(Integer, CheckConstraint("b >= 0")),
        c=Column(String, nullable=False),
    )
    rows: list[dict[str, Any]] = [{"a": i, "b": i, "c": "x"} for i in range(size)]
    rows += [{"a": a, "b": b, "c": "x" if b % 7 else None} for a, b in tail]
    with databases(Thing) as oracle:
        bad = first_bad_row(oracle, Thing, rows)
        with Session(oracle.ours) as session:
            session.execute(insert(Thing), [{"a": 10_000, "b": 1, "c": "before"}])
            if bad is None:
                assert fastbulk.insert(session, Thing, rows).rowcount == len(rows)
            else:
                error = error_of(lambda: fastbulk.insert(session, Thing, rows))
                assert error.row == bad
                assert error.column in {"a", "b", "c"}
                session.commit()
        if bad is not None:
            assert len(oracle.contents()["thing"]) == 1


def first_bad_row(oracle: Oracle, Thing: Any, rows: list[dict[str, Any]]) -> int | None:
    with oracle.theirs.begin() as connection:

        def is_refused(row: dict[str, Any]) -> bool:
            try:
                connection.execute(insert(Thing), [row])
            except IntegrityError:
                return True
            return False

        return next((number for number, row in enumerate(rows) if is_refused(row)), None)


@settings(max_examples=300, deadline=None)
@given(st.dates(), st.times(), st.datetimes(), st.uuids(), st.floats(allow_nan=False), st.text())
def test_values_of_every_kind_survive(
    day: date, time: time, moment: datetime, key: uuid.UUID, number: float, name: str
) -> None:
    """Without the oracle, so that more values are tried."""
    values: dict[str, Any] = {
        "day": day,
        "time": time,
        "moment": moment,
        "key": key,
        "number": number,
    }
    if not any("\ud800" <= character <= "\udfff" for character in name):
        values["name"] = name
    with Session(ENGINE) as session:
        returned = fastbulk.insert(session, Kinds, [values], returning=Kinds).scalar_one()
        assert {key: getattr(returned, key) for key in values} == values
        session.rollback()


Kinds = model(
    day=Column(Date),
    time=Column(Time),
    moment=Column(DateTime),
    key=Column(Uuid),
    number=Column(Float),
    name=Column(String),
)
ENGINE = BACKENDS["sqlite-memory"].engine(Path(), "kinds")


def setup_module() -> None:
    Kinds.metadata.create_all(ENGINE)


def teardown_module() -> None:
    ENGINE.dispose()
