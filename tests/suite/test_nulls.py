"""What None means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import JSON, Column, Integer, String, TypeDecorator, func, null, select, text

import fastbulk
from oracle import model

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.orm import Session

    from oracle import Form, WithTables

ABSENT = object()


class Marked(TypeDecorator[Any]):
    """Shows whether the processor ran for a None."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return f"<{value}>"


def thing() -> Any:
    return model(
        plain=Column(String),
        scalar=Column(String, default="scalar"),
        called=Column(String, default=lambda: "called"),
        expression=Column(String, default=func.upper("expression")),
        server=Column(String, server_default="server"),
        evaluated=Column(String().evaluates_none(), server_default="server"),
        json=Column(JSON),
        json_or_null=Column(JSON(none_as_null=True)),
        json_default=Column(JSON, default={"a": 1}, server_default=text("('\"server\"')")),
        marked=Column(Marked),
        marked_default=Column(Marked, default="default"),
        late=Column(Integer),
    )


KEYS = [key for key in dict(thing().__table__.columns) if key not in {"id", "late"}]


@pytest.mark.parametrize("render_nulls", [False, True])
@pytest.mark.parametrize("key", KEYS)
def test_none_is_what_sqlalchemy_makes_of_it(
    oracle: WithTables, key: str, render_nulls: bool
) -> None:
    Thing = thing()
    rows = [{key: None}, {}, {key: None, "late": 1}, {"late": None}]
    oracle(Thing).check(Thing, rows, returning=Thing, render_nulls=render_nulls)


@pytest.mark.parametrize("render_nulls", [False, True])
def test_none_in_all_columns_at_once(oracle: WithTables, render_nulls: bool) -> None:
    Thing = thing()
    rows = [dict.fromkeys(KEYS) for _ in range(150)]
    oracle(Thing).check(Thing, rows, render_nulls=render_nulls)


def test_none_in_every_form_of_rows(oracle: WithTables, form: Form) -> None:
    Thing = thing()
    rows = [{"plain": None, "scalar": None, "json": None}, {"plain": "x", "server": None}]
    oracle(Thing).check(Thing, rows, form=form)


def test_null_is_null_whatever_the_default(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    row = dict.fromkeys(KEYS, null())
    fastbulk.insert(session, Thing, [row, {**row, "late": 1}])
    found = session.execute(text(f"SELECT {', '.join(KEYS)} FROM thing")).all()
    assert found == [(None,) * len(KEYS)] * 2


def test_null_beside_values_and_absent_cells(session: Session) -> None:
    Thing = model(name=Column(String, server_default="server"), size=Column(Integer))
    Thing.metadata.create_all(session.connection())
    values = [null(), "x", None, ABSENT] * 100
    rows = [{"size": i} if v is ABSENT else {"size": i, "name": v} for i, v in enumerate(values)]
    result = fastbulk.insert(session, Thing, rows, returning=[Thing.size, Thing.name])
    expected = [None, "x", "server", "server"] * 100
    assert result.all() == list(enumerate(expected))
    assert session.scalars(select(Thing.name)).all() == expected


def test_json_null_is_json(oracle: WithTables) -> None:
    Thing = thing()
    rows = [{"json": JSON.NULL, "json_or_null": JSON.NULL}, {"json": [None]}]
    oracle(Thing).check(Thing, rows, returning=[Thing.json, Thing.json_or_null])


def test_an_absent_generated_key_may_be_none(oracle: WithTables) -> None:
    Thing = model(name=Column(String))
    rows = [{"id": None, "name": "a"}, {"id": 7, "name": "b"}, {"name": "c"}, {"id": None}]
    oracle(Thing).check(Thing, rows, returning=Thing.id)


def test_a_column_that_is_null_in_all_rows_of_a_large_call(oracle: WithTables) -> None:
    Thing = model(name=Column(String), size=Column(Integer))
    oracle(Thing).check(Thing, [{"name": None, "size": i} for i in range(4_000)])


def test_random_nulls_keep_one_statement_where_no_default_stands(session: Session) -> None:
    Thing = model(name=Column(String), size=Column(Integer))
    Thing.metadata.create_all(session.connection())
    rows = [{"name": None if i % 3 else str(i), "size": None if i % 5 else i} for i in range(5_000)]
    assert fastbulk.insert(session, Thing, rows).rowcount == 5_000
    found = session.execute(select(Thing.name, Thing.size)).all()
    assert found == [(row["name"], row["size"]) for row in rows]
