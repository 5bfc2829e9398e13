"""Insert, or update by a unique key: what is stored, what comes back, what became of each row."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    Uuid,
    bindparam,
    exc,
    func,
    insert,
    inspect,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

import fastbulk
from fastbulk import given
from oracle import FORMS, create, error_of, model, place, shuffled, statements, stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from oracle import Form, Oracle, WithTables

pytestmark = pytest.mark.verb("upsert")

#: A small call, one of some statements, and one that is worth preparing something.
COUNTS = [4, 130, 1_100]


def thing(**more: Any) -> Any:
    return model(
        email=Column("e mail", String(50), unique=True),
        name=Column(String(50)),
        size=Column("the size", Integer),
        **more,
    )


def things(count: int) -> list[dict[str, Any]]:
    """Half of those that the tests send."""
    return [{"id": i, "email": f"e{i}", "name": f"n{i}", "size": i} for i in range(2, count + 1, 2)]


def by_sqlalchemy(
    session: Session,
    Thing: Any,
    rows: Sequence[dict[str, Any]],
    *,
    key: Sequence[str] = (),
    updates: Sequence[str] | None = None,
) -> None:
    """An update of the row that is there or an insert, row by row."""
    primary = [Thing.__mapper__.get_property_by_column(c).key for c in Thing.__table__.primary_key]
    names = key or primary
    for row in rows:
        where = [getattr(Thing, name) == row.get(name) for name in names]
        there = (
            None not in [row.get(name) for name in names]
            and session.execute(select(*inspect(Thing).primary_key).where(*where)).all()
        )
        if not there:
            row = {k: v for k, v in row.items() if v is not None or k not in primary}
            session.execute(insert(Thing), [row], execution_options={"render_nulls": True})
            continue
        new = {
            k: v
            for k, v in row.items()
            if k not in {*names, *primary} and (updates is None or k in updates)
        }
        if new:
            statement = update(Thing).where(*where).values(new)
            session.execute(statement, execution_options={"synchronize_session": False})


def check(
    databases: Oracle,
    Thing: Any,
    rows: Sequence[dict[str, Any]],
    *,
    form: Form = FORMS["dicts"],
    key: Sequence[str] = (),
    updates: Sequence[str] | None = None,
    **arguments: Any,
) -> Any:
    """Upserts on both sides and compares. Gives the actions, or the error."""
    actions: list[str] = []

    def ours(target: Any) -> None:
        result = fastbulk.upsert(
            target, Thing, form(Thing, rows), key=key or None, update=updates, **arguments
        )
        assert result.road.name == "native"
        actions.extend(result.actions)
        assert result.inserted == actions.count("inserted")
        assert result.updated == actions.count("updated")
        assert result.unchanged == actions.count("unchanged")
        assert result.rowcount == result.inserted + result.updated

    error = databases.same(
        ours, lambda session: by_sqlalchemy(session, Thing, rows, key=key, updates=updates)
    )
    return actions if error is None else error


def by_turns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What becomes of rows of which those with even keys are there."""
    return ["inserted" if row["id"] % 2 else "updated" for row in rows]


# What is stored


def test_every_form_of_rows(oracle: WithTables, form: Form) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(4))
    rows = [{"id": i, "email": f"new {i}", "name": None, "size": -i} for i in (4, 1, 3, 2)]
    assert check(databases, Thing, rows, form=form) == by_turns(rows)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("key", [(), ("email",)])
def test_half_of_the_rows_are_there(oracle: WithTables, count: int, key: tuple[str, ...]) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(count))
    rows = [
        {"id": i, "email": f"e{i}", "name": None if i % 3 else f"it's 100% \\{i}", "size": -i}
        for i in shuffled(count)
    ]
    assert check(databases, Thing, rows, key=key) == by_turns(rows)


@pytest.mark.parametrize("count", COUNTS)
def test_rows_that_give_different_columns(oracle: WithTables, count: int) -> None:
    Thing = model(
        name=Column(String(50)),
        size=Column("the size", Integer, server_default="5"),
        scalar=Column(Integer, default=6),
        called=Column(String(50), default=lambda: "called"),
        sql=Column(Integer, default=func.length("four")),
    )
    databases = oracle(Thing)
    old = {"name": "old", "size": 1, "scalar": 1, "called": "old", "sql": 1}
    databases.fill(Thing, [{"id": i, **old} for i in range(2, count + 1, 2)])
    shapes: list[dict[str, Any]] = [
        {"name": "new"},
        {"size": None, "scalar": 9},
        {"name": None, "called": None, "sql": None},
        {"sql": 3, "size": 7},
        {"name": "x", "size": 8, "scalar": None, "called": "given", "sql": 2},
    ]
    rows = [{"id": i, **shapes[i % 5]} for i in shuffled(count)]
    check(databases, Thing, rows)


def test_rows_that_give_nothing_but_their_key(oracle: WithTables) -> None:
    Thing = model(name=Column(String(50), default="new"), stamp=Column(Integer, onupdate=7))
    databases = oracle(Thing)
    databases.fill(Thing, [{"id": 1, "name": "old"}])
    assert check(databases, Thing, [{"id": 1}, {"id": 2}]) == ["unchanged", "inserted"]


def test_onupdate(oracle: WithTables) -> None:
    Thing = model(
        name=Column(String(50)),
        scalar=Column(Integer, default=1, onupdate=7),
        called=Column(Integer, onupdate=lambda: 8),
        sql=Column(Integer, default=3, onupdate=func.length("four")),
    )
    databases = oracle(Thing)
    databases.fill(Thing, [{"id": i, "name": "old"} for i in range(2, 131, 2)])
    shapes: list[dict[str, Any]] = [
        {"name": "new"},
        {"scalar": 9},
        {"scalar": None, "called": None, "sql": None},
    ]
    rows = [{"id": i, **shapes[i % 3]} for i in shuffled(130)]
    assert check(databases, Thing, rows) == by_turns(rows)


def test_generated_keys(oracle: WithTables) -> None:
    """Without a key, or with None for it, a row is new."""
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, [{"email": "a"}])
    rows: list[dict[str, Any]] = [{"name": "x"}, {"id": None, "name": "y"}, {"id": 1, "name": "z"}]
    assert check(databases, Thing, rows) == ["inserted", "inserted", "updated"]
    rows = [{"email": f"{i}"} for i in range(130)]
    rows.insert(0, {"email": "a", "size": 1})
    actions = check(databases, Thing, rows, key=["email"], probe_first=True)
    assert actions == ["updated", *["inserted"] * 130]


@pytest.mark.parametrize(
    ("type_", "keys"),
    [
        (String(50), ["b", "a", "A%", "ö"]),
        (Date, [dt.date(2020, 1, 2), dt.date(1999, 1, 1)]),
        (Uuid, [uuid.UUID(int=2**128 - 1), uuid.UUID(int=1)]),
    ],
    ids=["String", "Date", "Uuid"],
)
def test_natural_keys(oracle: WithTables, type_: Any, keys: list[Any]) -> None:
    Thing = model(key=Column("the key", type_, primary_key=True), size=Column(Integer))
    databases = oracle(Thing)
    databases.fill(Thing, [{"key": keys[0], "size": 1}])
    rows = [{"key": key, "size": 7} for key in keys]
    assert check(databases, Thing, rows)[:2] == ["updated", "inserted"]


def test_a_version_id_stays(oracle: WithTables) -> None:
    """A new row has the first one; upserts know no version to count from."""
    version = Column(Integer, nullable=False)
    Thing = model(
        name=Column(String(50)), version=version, __mapper_args__={"version_id_col": version}
    )
    databases = oracle(Thing)
    databases.fill(Thing, [{"id": 1}])
    fastbulk.upsert(databases.ours, Thing, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    with Session(databases.ours) as session:
        assert stored(session, Thing.id, Thing.name, Thing.version) == [(1, "a", 1), (2, "b", 1)]


# The key


@pytest.mark.parametrize("count", COUNTS)
def test_a_key_of_several_columns(oracle: WithTables, count: int) -> None:
    Thing = model(
        a=Column(Integer),
        b=Column("B b", String(50)),
        size=Column(Integer),
        args=(UniqueConstraint("a", "B b", name="a_and_b"),),
    )
    databases = oracle(Thing)
    keys = [{"a": i % 50, "b": f"b{i // 50}"} for i in range(count)]
    databases.fill(Thing, [{**key, "size": 0} for key in keys[::2]])
    rows = [{**keys[i - 1], "size": i} for i in shuffled(count)]
    expected = ["updated" if i % 2 else "inserted" for i in shuffled(count)]
    assert check(databases, Thing, rows, key=("b", "a"), probe_first=True) == expected


def test_how_a_key_is_named(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "thing"
        id = Column(Integer, primary_key=True)
        a = Column("the a", Integer)
        b = Column(String(50))
        size = Column(Integer)
        unique = UniqueConstraint("the a", "b", name="by_a")
        index = Index("by_b", "b", unique=True)
        __table_args__ = (unique, index)

    create(session, Thing, [{"a": 1, "b": "x"}])
    whole: list[Any] = ["by_a", Thing.unique, ["a", "b"], [Thing.b, Thing.a], (Thing.a, "b")]
    for number, key in enumerate([*whole, "by_b", Thing.index, Thing.b, "b", ["b"]]):
        rows = [{"a": 1, "b": "x", "size": number}]
        assert fastbulk.upsert(session, Thing, rows, key=key).actions == ["updated"]
        assert stored(session, Thing.size) == [number]
    fastbulk.upsert(session, Thing, [{"id": 1, "size": 7}], key=Thing.__table__.primary_key)
    assert stored(session, Thing.size) == [7]
    with pytest.raises(exc.ArgumentError, match="'nothing_such'"):
        fastbulk.upsert(session, Thing, [{"a": 1, "b": "x"}], key="nothing_such")


@pytest.mark.parametrize("count", [2, 130])
def test_a_key_that_is_not_unique(session: Session, count: int) -> None:
    Thing = model(a=Column(Integer), b=Column(Integer), args=(UniqueConstraint("a", "b"),))
    create(session, Thing, [{"a": 0, "b": 0}])
    for key in ("a", ["a", "b", "id"]):
        rows = [{"id": i, "a": i, "b": 1} for i in range(1, count + 1)]
        with pytest.raises(exc.InvalidRequestError, match="unique"):
            fastbulk.upsert(session, Thing, rows, key=key)
    assert stored(session, Thing.a) == [0]


@pytest.mark.parametrize("count", [2, 130])
def test_a_key_of_nothing(session: Session, count: int) -> None:
    """NULL is not equal to itself."""
    Thing = thing()
    create(session, Thing, things(count))
    rows: list[dict[str, Any]] = [{"email": f"new {i}", "name": "x"} for i in range(count)]
    rows[1] = {"email": None, "name": "x"}
    with pytest.raises(exc.InvalidRequestError, match=r"row 1.*'email'"):
        fastbulk.upsert(session, Thing, rows, key=Thing.email)
    rows[1] = {"name": "x"}
    with pytest.raises(exc.InvalidRequestError, match=r"row 1.*'email'"):
        fastbulk.upsert(session, Thing, rows, key=Thing.email)
    assert "x" not in stored(session, Thing.name)


@pytest.mark.without("sqlite", "aiosqlite", "mysql", "mariadb")  # there it never is
def test_a_key_of_nothing_that_is_equal_to_nothing(session: Session) -> None:
    unique = UniqueConstraint("a", "b", name="by_a", postgresql_nulls_not_distinct=True)
    Thing = model(a=Column(Integer), b=Column(Integer), size=Column(Integer), args=(unique,))
    create(session, Thing, [{"a": None, "b": 1, "size": 0}])
    rows = [{"a": None, "b": 1, "size": 1}, {"a": None, "b": None, "size": 2}, {"a": 1, "b": 1}]
    result = fastbulk.upsert(session, Thing, rows, key="by_a", returning=[Thing.id, Thing.size])
    assert result.actions == ["updated", "inserted", "inserted"]
    returned = result.all()
    assert returned[0] == (1, 1)
    assert [size for _, size in returned] == [1, 2, None]
    with pytest.raises(exc.InvalidRequestError, match=r"rows 0 and 1|row 1"):
        fastbulk.upsert(session, Thing, [{"a": None, "b": 2}] * 2, key="by_a")


@pytest.mark.without("mysql", "mariadb")  # they have no partial indexes
@pytest.mark.parametrize("by_name", [False, True])
def test_a_partial_index(session: Session, by_name: bool) -> None:
    condition = text("active = 1")
    Thing = model(
        name=Column(String(50)),
        active=Column(Integer),
        size=Column(Integer),
        args=(
            Index(
                "active_names",
                "name",
                unique=True,
                postgresql_where=condition,
                sqlite_where=condition,
            ),
        ),
    )
    create(session, Thing, [{"name": "a", "active": 1, "size": 0}, {"name": "a", "active": 0}])
    key: dict[str, Any] = (
        {"key": "active_names"} if by_name else {"key": "name", "key_where": condition}
    )
    rows = [
        {"name": "a", "active": 1, "size": 1},
        {"name": "a", "active": 0, "size": 2},
        {"name": "a", "active": 0, "size": 3},
        {"name": "b", "active": 1, "size": 4},
    ]
    result = fastbulk.upsert(session, Thing, rows, **key, returning=[Thing.id, Thing.size])
    assert result.actions == ["updated", "inserted", "inserted", "inserted"]
    (first, *new) = result.all()
    assert first == (1, 1)
    assert [size for _, size in new] == [2, 3, 4]
    many = [{"name": f"{i}", "active": i % 2, "size": i} for i in range(130)]
    assert fastbulk.upsert(session, Thing, many, **key).inserted == 130
    assert fastbulk.upsert(session, Thing, many, **key).updated == 65
    if not by_name:
        with pytest.raises(exc.InvalidRequestError, match="unique"):
            fastbulk.upsert(session, Thing, many, key="name")


@pytest.mark.parametrize("count", [3, 130])
def test_a_clash_elsewhere(session: Session, count: int) -> None:
    """Another unique key of the table refuses the row; the row of a stranger is never touched."""
    Thing = thing(phone=Column(String(50), unique=True))
    create(session, Thing, [{**row, "phone": f"p{row['id']}"} for row in things(2 * count)])
    rows = [{"email": f"e{i}", "phone": f"p{i}", "name": "new"} for i in shuffled(count)]
    rows[1] = {"email": f"e{2 * count + 1}", "phone": f"p{2 * count}", "name": "new"}
    error = refused(session, Thing, rows, key=Thing.email)
    assert isinstance(error, exc.IntegrityError)
    assert place(error) == (1, "phone", f"p{2 * count}")
    # An update may clash as well as an insert.
    rows[1] = {"email": "e2", "phone": f"p{2 * count}", "name": "new"}
    error = refused(session, Thing, [rows[1]], key=Thing.email)
    assert place(error) == (0, "phone", f"p{2 * count}")


# What is updated


UPDATES: dict[str, tuple[Any, list[str]]] = {
    "some": (["name"], ["name"]),
    "an attribute": ("size", ["size"]),
    "none": ([], []),
    "nothing": ("nothing", []),
}


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("count", [4, 130])
def test_what_is_updated(oracle: WithTables, name: str, count: int) -> None:
    Thing = thing(stamp=Column(Integer, default=0, onupdate=7))
    databases = oracle(Thing)
    databases.fill(Thing, things(count))
    rows: list[dict[str, Any]] = [
        {"id": i, "email": f"e{i}", "name": None, "size": -i} for i in shuffled(count)
    ]
    given_updates, updates = UPDATES[name]
    actions: list[str] = []

    def ours(target: Any) -> None:
        result = fastbulk.upsert(target, Thing, rows, update=given_updates)
        actions.extend(result.actions)

    databases.same(ours, lambda session: by_sqlalchemy(session, Thing, rows, updates=updates))
    there = "updated" if updates else "unchanged"
    assert actions == ["inserted" if row["id"] % 2 else there for row in rows]


@pytest.mark.parametrize("count", COUNTS)
def test_expressions_over_the_row_and_what_is_given(oracle: WithTables, count: int) -> None:
    """All of the row as it was, as MySQL's clause does not have it."""
    Thing = thing(other=Column(Integer, default=3), note=Column(String(50)))
    databases = oracle(Thing)
    databases.fill(Thing, things(count))
    rows = [
        {"id": i, "email": f"e{i}", "name": "+", "size": 100 + i, "note": None}
        for i in shuffled(count)
    ]
    updates: dict[Any, Any] = {
        Thing.size: Thing.size + given(Thing.size),
        "other": Thing.size,
        Thing.name: func.coalesce(given(Thing.note), Thing.name + given(Thing.name)),
        Thing.note: "100% 'sure'",
    }

    def theirs(session: Session) -> None:
        values: list[tuple[Any, Any]] = [
            (Thing.other, Thing.size),
            (Thing.size, Thing.size + bindparam("given_size")),
            (
                Thing.name,
                func.coalesce(bindparam("given_note", type_=String), Thing.name + "+"),
            ),
            (Thing.note, "100% 'sure'"),
        ]
        # In this order they mean the same where the assignments before are seen.
        there = update(Thing).ordered_values(*values)
        old = session.scalars(select(Thing.id)).all()
        for row in rows:
            if row["id"] not in old:
                session.execute(insert(Thing), [row])
        for row in rows:
            if row["id"] in old:
                session.connection().execute(
                    there.where(Thing.id == row["id"]),
                    {"given_size": row["size"], "given_note": row["note"]},
                )

    def ours(target: Any) -> None:
        assert fastbulk.upsert(target, Thing, rows, update=updates).actions == by_turns(rows)

    databases.same(ours, theirs)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("only_changed", [False, True])
def test_rows_that_are_there_get_one_value(
    session: Session, count: int, only_changed: bool
) -> None:
    Thing = thing()
    create(session, Thing, [{"id": 1, "size": 5}, {"id": 2, "size": 6}])
    rows = [{"id": i, "size": i} for i in shuffled(count)]
    result = fastbulk.upsert(
        session, Thing, rows, update={Thing.size: 5}, only_changed=only_changed
    )
    there = {1: "unchanged" if only_changed else "updated", 2: "updated"}
    assert result.actions == [there.get(row["id"], "inserted") for row in rows]
    sizes = {row.id: row.size for row in session.execute(select(Thing.id, Thing.size))}
    assert sizes == {i: 5 if i in there else i for i in range(1, count + 1)}


def test_what_finds_a_row_is_not_updated(session: Session) -> None:
    Thing = thing()
    for arguments in (
        {"update": [Thing.id]},
        {"update": {"id": 1}},
        {"key": "email", "update": ["email"]},
        {"key": "email", "update": ["id"]},
    ):
        with pytest.raises(exc.ArgumentError, match="can't set"):
            fastbulk.upsert(session, Thing, [{"id": 1, "email": "x"}], **arguments)
    with pytest.raises(exc.ArgumentError, match="'nmae'"):
        fastbulk.upsert(session, Thing, [{"id": 1}], update=["nmae"])


@pytest.mark.parametrize("count", COUNTS)
def test_where(session: Session, count: int) -> None:
    Thing = thing()
    create(session, Thing, things(count))
    rows = [{"id": i, "name": "new", "size": 4} for i in shuffled(count)]
    result = fastbulk.upsert(
        session,
        Thing,
        rows,
        where=[Thing.size > given(Thing.size) - 3, or_(Thing.id > 2, Thing.name == "n2")],
        returning=[Thing.id, Thing.name],
    )
    assert result.actions == by_turns(rows)
    result = fastbulk.upsert(
        session, Thing, [{"id": i, "size": i} for i in shuffled(count)], where=Thing.size < 4
    )
    assert result.actions == ["unchanged"] * count
    assert result.rowcount == 0
    assert stored(session, Thing.id, Thing.size) == [(i, 4) for i in range(1, count + 1)]


def test_where_that_is_null(session: Session) -> None:
    Thing = thing()
    create(session, Thing, [{"id": 1, "size": None}, {"id": 2, "size": 2}])
    rows = [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}, {"id": 3, "name": "x"}]
    result = fastbulk.upsert(session, Thing, rows, where=Thing.size > 0)
    assert result.actions == ["unchanged", "updated", "inserted"]


@pytest.mark.parametrize("count", COUNTS)
def test_only_changed(session: Session, count: int) -> None:
    Thing = thing(stamp=Column(Integer, onupdate=7))
    create(session, Thing, [{"id": i, "name": None, "size": i} for i in range(1, count + 1)])
    rows: list[dict[str, Any]] = [
        {"id": i, "name": None, "size": i if i % 3 else i + 1} for i in shuffled(count)
    ]
    rows[0] = {"id": 1, "name": "new", "size": 1}
    rows.append({"id": count + 1, "name": None})
    result = fastbulk.upsert(session, Thing, rows, only_changed=True, returning=Thing.stamp)
    expected = ["updated" if i == 1 or not i % 3 else "unchanged" for i in shuffled(count)]
    assert result.actions == [*expected, "inserted"]
    assert result.rowcount == result.updated + 1
    stamps = [7 if action == "updated" else None for action in result.actions]
    assert result.scalars().all() == stamps
    updates = {Thing.size: func.coalesce(given(Thing.size), Thing.size)}
    again: list[dict[str, Any]] = [{"id": i, "size": None} for i in shuffled(count)]
    again[0] = {"id": 1, "size": 99}
    result = fastbulk.upsert(session, Thing, again, only_changed=True, update=updates)
    assert result.actions == ["updated", *["unchanged"] * (count - 1)]


# Rows of one key


def caseless() -> Any:
    """A text that the database compares whatever its case."""
    return (
        String(50).with_variant(String(50, "NOCASE"), "sqlite").with_variant(CITEXT(), "postgresql")
    )


@pytest.mark.parametrize("count", COUNTS)
def test_two_rows_of_one_key(session: Session, count: int) -> None:
    check_two_rows_of_one_key(session, count, String(50))


@pytest.mark.without("psycopg18")  # it comes without citext
@pytest.mark.parametrize("count", COUNTS)
def test_two_rows_of_one_key_to_the_database(session: Session, count: int) -> None:
    check_two_rows_of_one_key(session, count, caseless())


def check_two_rows_of_one_key(session: Session, count: int, type_: Any) -> None:
    Thing = model(email=Column(type_, unique=True), name=Column(String(50)))
    create(session, Thing, [{"email": "e2", "name": "old"}])
    before = stored(session, Thing.id, Thing.email, Thing.name)
    twice = "e3" if type_._variant_mapping == {} else "E3"
    rows = [{"email": f"e{i}", "name": f"n{i}"} for i in shuffled(count)]
    rows.append({"email": twice, "name": "twice"})
    first = shuffled(count).index(3)
    with pytest.raises(exc.InvalidRequestError, match=rf"\b{first}\b.*\b{count}\b.*duplicates="):
        fastbulk.upsert(session, Thing, rows, key="email")
    assert stored(session, Thing.id, Thing.email, Thing.name) == before

    for duplicates, name in (("first", "n3"), ("last", "twice")):
        result = fastbulk.upsert(
            session,
            Thing,
            rows,
            key="email",
            duplicates=duplicates,  # type: ignore[arg-type]
            returning=[Thing.id, Thing.name],
        )
        left_out = first if duplicates == "last" else count
        assert [i for i, a in enumerate(result.actions) if a == "duplicate"] == [left_out]
        found = result.all()
        assert len(found) == count + 1
        assert found[first] == found[count]
        assert found[count][1] == name
        assert session.scalar(select(Thing.name).where(Thing.email == "e3")) == name
        assert result.rowcount == count
    assert session.scalar(select(func.count()).select_from(Thing)) == count


def test_many_rows_of_few_keys(session: Session) -> None:
    Thing = thing()
    create(session, Thing, [{"id": 1, "email": "k1"}])
    rows = [
        {"email": f"k{i % 7}", "size": i, **({"name": "x"} if i < 7 else {})} for i in range(500)
    ]
    result = fastbulk.upsert(session, Thing, rows, key=Thing.email, duplicates="last")
    assert (result.inserted, result.updated) == (6, 1)
    assert result.actions[-7:].count("duplicate") == 0
    # What the rows before it gave is left out with them.
    assert sorted(stored(session, Thing.email, Thing.size, Thing.name)) == [
        (f"k{i}", next(n for n in range(499, 0, -1) if n % 7 == i), None) for i in range(7)
    ]
    result = fastbulk.upsert(session, Thing, rows, key=Thing.email, duplicates="first")
    assert result.actions == ["updated"] * 7 + ["duplicate"] * 493
    assert sorted(stored(session, Thing.email, Thing.size)) == [(f"k{i}", i) for i in range(7)]


# What comes back


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("how", ["all", "nothing", "only changed"])
def test_every_row_comes_back_in_its_place(session: Session, count: int, how: str) -> None:
    Thing = thing(made=Column(Integer, server_default="3"))
    create(session, Thing, things(count))
    rows = [{"email": f"e{i}", "name": f"n{i}", "size": i} for i in shuffled(count)]
    by_name: dict[str, dict[str, Any]] = {
        "all": {},
        "nothing": {"update": "nothing"},
        "only changed": {"only_changed": True},
    }
    result = fastbulk.upsert(
        session,
        Thing,
        rows,
        key=Thing.email,
        returning=[Thing.email, Thing.id, Thing.made, func.length(Thing.name)],
        **by_name[how],
    )
    there = "updated" if how == "all" else "unchanged"
    assert result.actions == [there if i % 2 == 0 else "inserted" for i in shuffled(count)]
    ids = dict(stored(session, Thing.email, Thing.id))
    assert result.all() == [
        (row["email"], ids[row["email"]], 3, len(str(row["name"]))) for row in rows
    ]
    assert all(ids[f"e{i}"] == i for i in range(2, count + 1, 2))


@pytest.mark.parametrize("count", [4, 130])
def test_returned_entities_are_fresh(session: Session, count: int) -> None:
    Thing = thing(stamp=Column(Integer, default=0, onupdate=7))
    create(session, Thing, things(count))
    known = session.scalars(select(Thing)).all()
    rows = [{"email": f"e{i}", "name": "new"} for i in shuffled(count)]
    found = fastbulk.upsert(session, Thing, rows, key="email", returning=Thing).scalars().all()
    seen = statements(session)
    assert [(t.email, t.name, t.size, t.stamp) for t in found] == [
        (f"e{i}", "new", None if i % 2 else i, 0 if i % 2 else 7) for i in shuffled(count)
    ]
    assert {id(t) for t in known} <= {id(t) for t in found}
    assert all(t in session for t in found)
    assert seen == []


def test_objects_of_the_session(session: Session) -> None:
    Thing = thing(stamp=Column(Integer, onupdate=7))
    create(session, Thing, things(6))
    objects = session.scalars(select(Thing).order_by(Thing.id)).all()
    with session.no_autoflush:
        objects[2].name = "mine"
        fastbulk.upsert(
            session, Thing, [{"email": "e2", "name": "x"}, {"email": "e3"}], key="email"
        )
        assert [(t.id, t.name, t.stamp) for t in objects] == [
            (2, "x", 7),
            (4, "n4", None),
            (6, "mine", None),
        ]
    fastbulk.upsert(
        session,
        Thing,
        [{"id": 4, "size": 5}, {"email": "new", "size": 5}],
        update={Thing.size: Thing.size + given(Thing.size)},
    )
    seen = statements(session)
    assert (objects[0].size, objects[2].size) == (2, 6)
    assert seen == []
    assert objects[1].size == 9


def test_no_rows(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(2))
    result = fastbulk.upsert(session, Thing, [], returning=Thing.id)
    assert (result.rowcount, result.actions, result.all()) == (0, [], [])


# Keys that the database makes


@pytest.mark.parametrize("count", [4, 130])
def test_probe_first_burns_no_keys(session: Session, count: int) -> None:
    """The rows that are new have the keys that they would have alone."""
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [{"email": f"e{i}"} for i in range(count)])
    given_rows = [{"email": f"e{i}", "name": "new"} for i in range(2 * count)]
    for _ in range(3):
        result = fastbulk.upsert(
            session,
            Thing,
            given_rows[: count + 2],
            key="email",
            probe_first=True,
            returning=[Thing.id, Thing.email, Thing.name],
        )
        assert result.all() == [(i + 1, f"e{i}", "new") for i in range(count + 2)]
    assert result.actions == ["updated"] * (count + 2)
    result = fastbulk.upsert(
        session, Thing, given_rows[count + 2 :], key="email", probe_first=True, update="nothing"
    )
    assert result.inserted == count - 2
    assert stored(session, Thing.id) == list(range(1, 2 * count + 1))


# Targets, transactions, errors


def test_targets(oracle: WithTables) -> None:
    Thing = thing()
    databases = oracle(Thing)
    databases.fill(Thing, things(4))
    engine = databases.ours
    result = fastbulk.upsert(
        engine, Thing, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], returning=Thing.name
    )
    assert result.scalars().all() == ["a", "b"]
    with engine.connect() as connection:
        fastbulk.upsert(connection, Thing, [{"id": 3, "name": "c"}])
        connection.commit()
        fastbulk.upsert(connection, Thing, [{"id": 5, "name": "undone"}])
        connection.rollback()
    with Session(engine) as session:
        with session.begin_nested() as savepoint:
            fastbulk.upsert(session, Thing, [{"id": 2, "name": "undone"}])
            savepoint.rollback()
        assert stored(session, Thing.id, Thing.name) == [(1, "a"), (2, "b"), (3, "c"), (4, "n4")]
    with pytest.raises(exc.InvalidRequestError, match="needs a Session"):
        fastbulk.upsert(engine, Thing, [{"id": 1}], returning=Thing)


def refused(session: Session, Thing: Any, rows: Any, **arguments: Any) -> Any:
    """The error of the call, after which the table is what it was."""
    before = sorted(session.execute(select(Thing.__table__)).all(), key=repr)
    error = error_of(lambda: fastbulk.upsert(session, Thing, rows, **arguments))
    assert sorted(session.execute(select(Thing.__table__)).all(), key=repr) == before
    return error


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("at", [1, 2])  # of a row that is new, and of one that is there
def test_errors_name_row_and_column(session: Session, count: int, at: int) -> None:
    class Base(DeclarativeBase):
        pass

    class Other(Base):
        __tablename__ = "other"
        id = Column(Integer, primary_key=True)

    class Thing(Base):
        __tablename__ = "thing"
        id = Column(Integer, primary_key=True)
        name = Column("the name", String(50), nullable=False)
        size = Column(Integer, unique=True)
        low = Column(Integer)
        other_id = mapped_column("other", ForeignKey(Other.id))
        __table_args__ = (CheckConstraint("low >= 0", name="low_is_low"),)

    there = [{"id": i, "name": "x", "size": i} for i in range(2, count + 1, 2)]
    create(session, Thing, [*there, {"id": -5, "name": "x", "size": 0}])
    keys = [key for key in shuffled(count) if key != at]

    def bad_row(**bad: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [
            {"id": i, "name": "y", "size": 10_000 + i} for i in [*keys[:2], at, *keys[2:]]
        ]
        rows[2].update(bad)
        return rows

    assert place(refused(session, Thing, bad_row(name=None))) == (2, "name", None)
    error = refused(session, Thing, bad_row(size=0))
    assert place(error) == (2, "size", 0)
    assert isinstance(error, exc.IntegrityError)
    assert place(refused(session, Thing, bad_row(low=-1))) == (2, "low", -1)
    assert place(refused(session, Thing, bad_row(other_id=9))) == (2, "other_id", 9)
    assert place(refused(session, Thing, bad_row(size=2**64))) == (2, "size", 2**64)
    error = refused(session, Thing, bad_row(size=null() + 1))
    assert (error.row, error.column) == (2, "size")


def test_an_error_through_an_engine_leaves_nothing(engine: Engine) -> None:
    Thing = thing()
    Thing.metadata.create_all(engine)
    rows: list[dict[str, Any]] = [{"id": i, "email": f"e{i}"} for i in shuffled(2_000)]
    error = error_of(lambda: fastbulk.upsert(engine, Thing, [*rows, {"id": -1, "email": "e7"}]))
    assert place(error) == (2_000, "email", "e7")
    with Session(engine) as session:
        assert stored(session, Thing.id) == []


def test_several_tables(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)

    class Boss(Person):
        __tablename__ = "boss"
        id = Column(ForeignKey(Person.id), primary_key=True)

    with pytest.raises(exc.InvalidRequestError, match="several tables"):
        fastbulk.upsert(session, Boss, [{"id": 1}])


def test_a_table_of_single_inheritance(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        kind = Column(String(50))
        name = Column(String(50))
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "person"}

    class Boss(Person):
        budget = Column(Integer)
        __mapper_args__ = {"polymorphic_identity": "boss"}

    create(session, Person, [{"id": 1, "name": "a"}])
    rows = [{"id": 1, "budget": 1}, {"id": 2, "name": "b", "budget": 2}]
    fastbulk.upsert(session, Boss, rows)
    # The one that was there stays what it is: a row that does not give its kind leaves it alone.
    assert session.execute(select(Person.__table__).order_by("id")).all() == [
        (1, "person", "a", 1),
        (2, "boss", "b", 2),
    ]


def test_wrong_arguments(session: Session) -> None:
    Thing = thing()
    with pytest.raises(exc.ArgumentError, match="duplicates"):
        fastbulk.upsert(session, Thing, [], duplicates="none")  # type: ignore[arg-type]
    with pytest.raises(exc.ArgumentError, match="wrap one row in a list"):
        fastbulk.upsert(session, Thing, {"id": 1})
    with pytest.raises(exc.ArgumentError, match=r"row 0.*'nmae'"):
        fastbulk.upsert(session, Thing, [{"id": 1, "nmae": "x"}])


def test_progress_and_explain(session: Session) -> None:
    Thing = thing()
    create(session, Thing, things(200))
    seen: list[tuple[int, int | None]] = []
    rows = [{"id": i, "name": "new"} for i in shuffled(200)]
    fastbulk.upsert(session, Thing, rows, progress=lambda *done: seen.append(done))
    assert seen[-1] == (200, 200)
    sent = statements(session)
    road = fastbulk.explain(session, Thing, verb="upsert", key="email", update="nothing")
    assert road.name == "native"
    assert road.sql is not None
    assert "INSERT INTO" in road.sql
    assert not [sql for sql in sent if sql.startswith("INSERT")]
