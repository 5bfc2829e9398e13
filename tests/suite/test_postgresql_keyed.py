"""Update, upsert and delete where only PostgreSQL has what stands around the table."""

from __future__ import annotations

import datetime as dt
import decimal
import random
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Time,
    Uuid,
    create_engine,
    delete,
    exc,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, CITEXT, INET, JSONB
from sqlalchemy.orm import Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

import fastbulk
from fastbulk import given
from fastbulk.carriers import postgresql_keyed
from oracle import create, error_of, model, place, statements, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

pytestmark = [
    pytest.mark.only("psycopg", "psycopg2", "engine"),
    pytest.mark.verb("update", "upsert", "delete"),
]

#: Calls whose rows stand in the text, whose few rows are arrays, and of many rows.
COUNTS = [4, 12, 130]


def thing(**more: Any) -> Any:
    return model(
        email=Column(String, unique=True), name=Column(String), size=Column(Integer), **more
    )


def shuffled(count: int) -> list[int]:
    return random.Random(count).sample(range(1, count + 1), count)


def execute(session: Session, *sql: str) -> None:
    for one in sql:
        session.connection().exec_driver_sql(one.replace("%", "%%"))


# Others at work

#: How long writers are at it.
SECONDS = 3.0


def writers(engine: Engine, write: Callable[[Session, random.Random], int]) -> int:
    """Eight at once; gives the sum of what they did."""
    end = time.monotonic() + SECONDS
    done: list[int] = []
    errors: list[Exception] = []

    def run(seed: int) -> None:
        chance = random.Random(seed)
        try:
            with Session(engine) as session:
                while time.monotonic() < end and not errors:
                    done.append(write(session, chance))
                    session.commit()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert len(done) >= 16
    return sum(done)


@pytest.fixture
def crowded(engine: Engine) -> Engine:
    """An engine with a connection for each writer."""
    return create_engine(engine.url, pool_size=8)


def test_writers_of_the_same_rows_never_wait_in_a_circle(crowded: Engine) -> None:
    Thing = thing()
    with Session(crowded) as session, session.begin():
        create(session, Thing, [{"id": i, "email": f"e{i}", "size": 0} for i in range(400)])

    def write(session: Session, chance: random.Random) -> int:
        keys = chance.sample(range(400), chance.choice([3, 40, 200]))
        rows = [{"id": key, "size": 1} for key in keys]
        fastbulk.update(session, Thing, rows, values={Thing.size: Thing.size + given(Thing.size)})
        return len(keys)

    total = writers(crowded, write)
    with Session(crowded) as session:
        assert session.scalar(select(func.sum(Thing.size))) == total
    crowded.dispose()


def test_writers_of_rows_that_are_there_or_not_never_wait_in_a_circle(crowded: Engine) -> None:
    Thing = thing()
    with Session(crowded) as session, session.begin():
        create(session, Thing, [{"email": f"é{i}", "size": 0} for i in range(0, 60)])

    def write(session: Session, chance: random.Random) -> int:
        count = chance.choice([3, 40, 200])
        emails = [f"é{i}" if i % 2 else f"E{i}" for i in chance.sample(range(3_000), count)]
        # Some rows leave something out.
        rows = [
            {"email": email, "size": 1, **({"name": "x"} if chance.random() < 0.1 else {})}
            for email in emails
        ]
        more = {Thing.size: Thing.size + given(Thing.size), Thing.name: given(Thing.name)}
        updates: Any = more if all("name" in row for row in rows) else None
        if updates is None:
            updates = {Thing.size: more[Thing.size]}
        fastbulk.upsert(session, Thing, rows, key="email", update=updates)
        return count

    total = writers(crowded, write)
    with Session(crowded) as session:
        assert session.scalar(select(func.sum(Thing.size))) == total
    crowded.dispose()


def test_a_row_that_another_call_is_about_to_insert(crowded: Engine) -> None:
    """The second call waits, and finds it there."""
    Thing = thing()
    with Session(crowded) as session, session.begin():
        create(session, Thing, [{"email": "e0", "size": 0}])
    rows = [{"email": f"e{i}", "size": 1} for i in range(100)]
    with Session(crowded) as first, Session(crowded) as second:
        fastbulk.upsert(first, Thing, rows[50:60], key="email")
        results = []
        waiting = threading.Thread(
            target=lambda: results.append(
                fastbulk.upsert(
                    second, Thing, rows, key="email", update="nothing", returning=Thing.email
                )
            )
        )
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
        first.commit()
        waiting.join()
        (result,) = results
        assert result.scalars().all() == [row["email"] for row in rows]
        assert [i for i, a in enumerate(result.actions) if a == "unchanged"] == [0, *range(50, 60)]
    crowded.dispose()


# What compares keys


@pytest.mark.parametrize("count", COUNTS)
def test_keys_are_equal_as_the_column_compares_them(session: Session, count: int) -> None:
    execute(
        session,
        "CREATE COLLATION IF NOT EXISTS any_case "
        "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    )
    for type_ in (CITEXT(), String(collation="any_case")):
        Thing = model(table=f"of_{type_.__visit_name__}", email=Column(type_, unique=True))
        Thing.size = Column(Integer)
        create(session, Thing, [{"email": f"e{i}", "size": 0} for i in range(count)])
        rows = [{"email": f"E{i - 1}", "size": i} for i in shuffled(count)]
        result = fastbulk.upsert(session, Thing, rows, key="email", returning=Thing.size)
        assert result.actions == ["updated"] * count
        assert result.scalars().all() == shuffled(count)
        twice = [*rows, {"email": "e0", "size": -1}]
        first = shuffled(count).index(1)
        with pytest.raises(exc.InvalidRequestError, match=f"rows {first} and {count}"):
            fastbulk.upsert(session, Thing, twice, key="email")
        last = fastbulk.upsert(session, Thing, twice, key="email", duplicates="last")
        assert [i for i, a in enumerate(last.actions) if a == "duplicate"] == [first]
        assert session.scalar(select(Thing.size).where(Thing.email == "e0")) == -1


@pytest.mark.parametrize("count", COUNTS)
def test_natural_keys_in_any_case(session: Session, count: int) -> None:
    Thing = model(key=Column(CITEXT(), primary_key=True), size=Column(Integer))
    create(session, Thing, [{"key": f"k{i}", "size": 0} for i in range(count)])
    rows = [{"key": f"K{i - 1}", "size": i} for i in shuffled(count)]
    # The last one wins.
    rows.append({"key": "k0", "size": 1000})
    assert fastbulk.update(session, Thing, rows).rowcount == count + 1
    assert dict(stored(session, Thing.key, Thing.size))["k0"] == 1000
    deleted = fastbulk.delete(session, Thing, ["K0", "k0", "none", "K1"])
    assert (deleted.rowcount, list(deleted.missing)) == (2, [2])


# What stands around the table


@pytest.mark.parametrize("count", COUNTS)
def test_a_table_of_parts(session: Session, count: int) -> None:
    """Its rows don't tell by themselves whether they are new."""
    Thing = model(
        id=Column(Integer, primary_key=True),
        size=Column(Integer, server_default="5"),
        name=Column(String),
        args={"postgresql_partition_by": "HASH (id)"},
    )
    Thing.metadata.create_all(session.connection())
    for part in range(2):
        execute(
            session,
            f"CREATE TABLE part{part} PARTITION OF thing "
            f"FOR VALUES WITH (modulus 2, remainder {part})",
        )
    rows = [{"id": i, "name": f"n{i}"} for i in shuffled(count)]
    fastbulk.upsert(session, Thing, rows[: count // 2])
    again = [{**row, "name": "again"} for row in rows]
    result = fastbulk.upsert(session, Thing, again, returning=[Thing.id, Thing.size])
    assert result.actions == ["updated"] * (count // 2) + ["inserted"] * (count - count // 2)
    assert result.all() == [(i, 5) for i in shuffled(count)]
    assert fastbulk.update(session, Thing, rows).rowcount == count
    assert dict(stored(session, Thing.id, Thing.name))[count] == f"n{count}"
    assert fastbulk.delete(session, Thing, shuffled(count)).rowcount == count


@pytest.mark.parametrize("count", COUNTS)
def test_a_trigger_that_changes_keys(session: Session, count: int) -> None:
    Thing = thing()
    create(session, Thing, [{"email": "e1", "name": "old"}])
    trigger(session, "NEW.email = lower(NEW.email); RETURN NEW", "INSERT")
    rows = [{"email": f"E{i}", "name": f"n{i}"} for i in shuffled(count)]
    result = fastbulk.upsert(session, Thing, rows, key="email", returning=Thing.email)
    assert result.actions == ["updated" if i == 1 else "inserted" for i in shuffled(count)]
    assert result.scalars().all() == [f"e{i}" for i in shuffled(count)]


@pytest.mark.parametrize("count", COUNTS)
def test_a_trigger_that_drops_rows(session: Session, count: int) -> None:
    Thing = thing()
    create(session, Thing, [{"id": i, "email": f"e{i}"} for i in range(1, count + 1)])
    trigger(session, "IF NEW.size = 1 THEN RETURN NULL; END IF; RETURN NEW", "INSERT OR UPDATE")
    rows = [{"id": i, "size": i} for i in shuffled(count)]
    with pytest.raises(StaleDataError) as caught:
        fastbulk.update(session, Thing, rows)
    assert vars(caught.value)["rows"] == [shuffled(count).index(1)]
    assert not any(stored(session, Thing.size))
    new = [{"email": f"new {i}", "size": i} for i in shuffled(count)]
    with pytest.raises(exc.InvalidRequestError, match="trigger"):
        fastbulk.upsert(session, Thing, new, key="email", returning=Thing.id)
    assert len(stored(session, Thing.id)) == count


@pytest.mark.parametrize("count", COUNTS)
def test_a_trigger_that_drops_rows_of_which_nothing_is_returned(
    session: Session, count: int
) -> None:
    Thing = thing()
    create(session, Thing, [{"id": 1, "email": "e1"}])
    trigger(session, "IF NEW.size = 2 THEN RETURN NULL; END IF; RETURN NEW", "INSERT")
    result = fastbulk.upsert(session, Thing, [{"id": i, "size": i} for i in shuffled(count)])
    expected = {1: "updated", 2: "unchanged"}
    assert result.actions == [expected.get(i, "inserted") for i in shuffled(count)]
    assert sorted(stored(session, Thing.id)) == [i for i in range(1, count + 1) if i != 2]


def trigger(session: Session, body: str, event: str) -> None:
    execute(
        session,
        f"CREATE FUNCTION body() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {body}; END'",
        f"CREATE TRIGGER body BEFORE {event} ON thing FOR EACH ROW EXECUTE FUNCTION body()",
    )


@pytest.mark.parametrize("count", COUNTS)
def test_rows_that_a_policy_hides(session: Session, count: int) -> None:
    """What can't be seen can't come back."""
    Thing = thing()
    create(session, Thing, [{"email": "e1", "size": -1}])
    execute(
        session,
        "ALTER TABLE thing ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE thing FORCE ROW LEVEL SECURITY",
        "CREATE POLICY visible ON thing USING (size > 0) WITH CHECK (true)",
    )
    rows = [{"email": f"e{i}", "size": i} for i in shuffled(count)]
    with session.begin_nested() as nested:
        with pytest.raises(exc.ProgrammingError, match="row-level security"):
            fastbulk.upsert(session, Thing, rows, key="email", returning=Thing.id)
        nested.rollback()
    assert stored(session, Thing.id) == []


@pytest.mark.parametrize("count", COUNTS)
def test_generated_columns_and_identities(session: Session, count: int) -> None:
    Thing = model(
        id=mapped_column(Integer, Identity(always=True), primary_key=True),
        email=Column(String, unique=True),
        size=Column(Integer, server_default="3"),
        twice=Column(Integer, Computed("size * 2", persisted=True)),
    )
    create(session, Thing, [{"email": "e1", "size": 1}])
    rows: list[dict[str, Any]] = [{"email": f"e{i}"} for i in shuffled(count)]
    for row in rows[::2]:
        row["size"] = 10
    result = fastbulk.upsert(
        session, Thing, rows, key="email", returning=[Thing.email, Thing.size, Thing.twice]
    )
    sizes = [10 if i % 2 == 0 else 1 if row["email"] == "e1" else 3 for i, row in enumerate(rows)]
    expected = [(row["email"], n, 2 * n) for row, n in zip(rows, sizes, strict=True)]
    assert result.all() == expected


@pytest.mark.parametrize("count", COUNTS)
def test_only_what_is_another_value_to_the_column(session: Session, count: int) -> None:
    """Numbers are compared at the column's scale; json is compared at all."""
    Thing = thing(price=Column(Numeric(10, 2)), data=Column(JSON))
    rows: list[dict[str, Any]] = [
        {"email": f"e{i}", "price": "1.239", "data": {"a": i}, **({"size": 1} if i % 2 else {})}
        for i in shuffled(count)
    ]
    create(session, Thing, [])
    fastbulk.upsert(session, Thing, rows, key="email")
    for some in (rows, rows[::2]):
        result = fastbulk.upsert(session, Thing, some, key="email", only_changed=True)
        assert result.actions == ["unchanged"] * len(some)
    rows[-1]["data"] = {"a": -1}
    result = fastbulk.upsert(session, Thing, rows, key="email", only_changed=True)
    assert result.actions == ["unchanged"] * (count - 1) + ["updated"]


@pytest.mark.parametrize("count", COUNTS)
def test_rows_that_refer_to_each_other(session: Session, count: int) -> None:
    Thing = thing(parent=Column(ForeignKey("thing.id")))
    create(session, Thing, [{"id": 1, "email": "e1"}])
    rows: list[dict[str, Any]] = [
        {"id": i, "parent": i % count + 1, "email": f"e{i}"} for i in shuffled(count)
    ]
    in_order = sorted(rows, key=lambda row: -row["id"])
    in_order[0]["parent"] = None
    fastbulk.upsert(session, Thing, in_order)
    assert len(stored(session, Thing.id)) == count
    assert fastbulk.delete(session, Thing, shuffled(count)).rowcount == count


# How it travels


@pytest.mark.parametrize("count", [10, 130])
def test_more_rows_than_one_statement_takes(
    session: Session, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_keyed, "_ROWS", 7)
    Thing = thing()
    create(session, Thing, [{"id": i, "email": f"e{i}"} for i in range(1, count + 1)])
    rows = [{"id": i, "name": f"n{i}"} for i in shuffled(count)]
    # The last one of a key wins, wherever it stands.
    rows += [{"id": i, "size": i} for i in shuffled(count)]
    result = fastbulk.update(session, Thing, rows, returning=[Thing.id, Thing.name, Thing.size])
    assert result.rowcount == 2 * count
    assert result.all() == [(i, f"n{i}", i) for i in shuffled(count) * 2]
    with pytest.raises(StaleDataError) as caught:
        fastbulk.update(session, Thing, [*[{**r, "size": -1} for r in rows], {"id": -5, "size": 1}])
    assert vars(caught.value)["rows"] == [2 * count]
    assert -1 not in stored(session, Thing.size)
    more = [{"email": f"e{2 * i}", "size": 0} for i in shuffled(count)]
    more.append({"email": more[0]["email"], "size": 9})
    with pytest.raises(exc.InvalidRequestError, match=f"rows 0 and {count}"):
        fastbulk.upsert(session, Thing, more, key="email")
    upserted = fastbulk.upsert(
        session, Thing, more, key="email", duplicates="last", returning=[Thing.email, Thing.size]
    )
    assert upserted.actions[0] == "duplicate"
    assert upserted.inserted + upserted.updated == count
    assert upserted.inserted == count - count // 2
    sizes = {more[0]["email"]: 9}
    assert upserted.all() == [(r["email"], sizes.get(r["email"], 0)) for r in more]
    deleted = fastbulk.delete(session, Thing, [*shuffled(count), -1, 1], returning=Thing.id)
    assert (deleted.rowcount, list(deleted.missing)) == (count, [count])
    assert deleted.scalars().all() == shuffled(count)


def test_a_key_that_is_none_among_more_rows_than_one_statement_takes(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_keyed, "_ROWS", 7)
    Thing = thing()
    create(session, Thing, [])
    rows: list[dict[str, Any]] = [{"id": i, "size": i} for i in shuffled(20)]
    rows[11]["id"] = "none"
    error = error_of(lambda: fastbulk.upsert(session, Thing, rows))
    assert isinstance(error, exc.DataError)
    assert place(error) == (11, "id", "none")


@pytest.mark.parametrize("key", ["id", "email"])
def test_many_rows_whose_order_is_known_need_one_pass(session: Session, key: str) -> None:
    """New keys are made in the order of the input all the same."""
    Thing = thing()
    create(session, Thing, [{"id": i, "email": f"e{i}"} for i in range(1, 66)])
    session.execute(text("SELECT setval(pg_get_serial_sequence('thing', 'id'), 65)"))
    rows = [{key: i if key == "id" else f"e{i}", "size": -i} for i in shuffled(130)]
    seen = statements(session)
    result = fastbulk.upsert(session, Thing, rows, key=key, returning=[Thing.id, Thing.size])
    assert [sql.split()[0] for sql in seen] == ["SELECT", "INSERT", "RELEASE"]
    assert result.actions == ["updated" if i < 66 else "inserted" for i in shuffled(130)]
    ids = shuffled(130)
    if key == "email":  # a row that is there takes a new key, too, and drops it
        ids = [i if i < 66 else 66 + row for row, i in enumerate(shuffled(130))]
    assert result.all() == [(id_, -i) for id_, i in zip(ids, shuffled(130), strict=True)]
    seen.clear()
    fastbulk.update(session, Thing, [{"id": i, "size": i} for i in ids])
    assert [sql.split()[0] for sql in seen] == ["SELECT", "UPDATE", "RELEASE"]
    assert sorted(stored(session, Thing.size)) == sorted(ids)


#: Of each type a value of row i.
VALUES: dict[Any, Callable[[int], Any]] = {
    Boolean: lambda i: i % 2 == 0,
    SmallInteger: lambda i: -i,
    BigInteger: lambda i: 2**62 + i,
    Double: lambda i: i / 7,
    Numeric(12, 3): lambda i: decimal.Decimal(i) / 8,
    String: lambda i: f"\\'\"{{}},%s$1 {i}",
    LargeBinary: lambda i: bytes([0, 92, 39, i]),
    Date: lambda i: dt.date(1, 1, 1) + dt.timedelta(i),
    Time: lambda i: dt.time(23, 59, 59, i),
    DateTime: lambda i: dt.datetime(9999, 12, 31, 23, 59, 59, 999_999 - i),
    DateTime(timezone=True): lambda i: dt.datetime(1999, 12, 31, i % 24, tzinfo=dt.timezone.utc),
    Uuid: lambda i: uuid.UUID(int=i << 64),
    JSON: lambda i: {"%s": [i, None, "\\"]},
    JSONB: lambda i: [i, "$1"],
    ARRAY(Integer): lambda i: [i, None],
    INET: lambda i: f"10.0.0.{i}",
}


@pytest.mark.parametrize("count", COUNTS)
def test_values_of_each_type(session: Session, count: int) -> None:
    """And NULLs among them."""
    types: dict[str, Any] = {f"c{n}": Column(type_) for n, type_ in enumerate(VALUES)}
    Thing = model(**types)
    makers = [(f"c{n}", value) for n, value in enumerate(VALUES.values())]
    rows = [
        {"id": i}
        | {name: value(i) if (i + n) % 5 else None for n, (name, value) in enumerate(makers)}
        for i in shuffled(count)
    ]
    columns = [Thing.id, *(getattr(Thing, name) for name, _ in makers)]
    query = select(*columns).order_by(Thing.id)
    create(session, Thing, rows)
    expected = session.execute(query).all()
    for half in (0, count // 2):
        session.execute(delete(Thing).where(Thing.id > half))
        fastbulk.upsert(session, Thing, rows)
        assert session.execute(query).all() == expected
    session.execute(update(Thing).values(dict.fromkeys(name for name, _ in makers)))
    fastbulk.update(session, Thing, rows)
    assert session.execute(query).all() == expected
    assert fastbulk.delete(session, Thing, [row["id"] for row in rows]).rowcount == count


@pytest.mark.parametrize("count", [1, 4, 12])
def test_one_message_for_few_rows(session: Session, count: int) -> None:
    Thing = thing()
    create(session, Thing, [{"id": i, "email": f"e{i}"} for i in range(1, 13)])
    seen = statements(session)
    for size in range(7):  # the driver prepares what comes often
        fastbulk.update(session, Thing, [{"id": i, "size": size} for i in shuffled(count)])
        fastbulk.upsert(session, Thing, [{"id": i, "name": f"x{size}"} for i in shuffled(count)])
    result = fastbulk.delete(session, Thing, shuffled(count)[:-1])
    assert len(seen) == (15 if count > 1 else 14), seen
    assert result.rowcount == count - 1
    last = {"id": shuffled(count)[-1], "name": "x6", "size": 6}
    query = select(Thing.name, Thing.size).where(Thing.id <= count)
    assert session.execute(query).all() == [(last["name"], last["size"])]


@pytest.mark.parametrize("count", [1, 3])
def test_the_ends_of_whole_numbers(session: Session, count: int) -> None:
    bits: dict[str, Any] = {"small": SmallInteger, "middle": Integer, "big": BigInteger}
    columns: dict[str, Any] = {name: Column(type_) for name, type_ in bits.items()}
    Thing = model(**columns)
    create(session, Thing, [])
    widths = dict(zip(bits, (15, 31, 63), strict=True))
    rows = [
        {"id": 1, **{name: -(2**width) for name, width in widths.items()}},
        {"id": 2, **{name: 2**width - 1 for name, width in widths.items()}},
        {"id": 3, "small": -1, "middle": 1 - 2**31, "big": -(2**31)},
    ]
    for start in range(0, 3, count):
        some = rows[start : start + count]
        for verb in (fastbulk.upsert, fastbulk.upsert, fastbulk.update):
            verb(session, Thing, some)
    attributes = [Thing.id, *(getattr(Thing, name) for name in bits)]
    found = session.execute(select(*attributes).order_by(Thing.id))
    assert [dict(row) for row in found.mappings()] == rows


def test_few_rows_that_give_different_columns(session: Session) -> None:
    Thing = thing()
    create(session, Thing, [{"id": i, "name": "old", "size": 0} for i in range(1, 4)])
    seen = statements(session)
    fastbulk.update(
        session, Thing, [{"id": 3, "size": 3}, {"id": 1, "name": "new"}, {"id": 2, "size": None}]
    )
    assert len(seen) == 1, seen
    query = select(Thing.name, Thing.size).order_by(Thing.id)
    assert session.execute(query).all() == [("new", 0), ("old", None), ("old", 3)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("verb", [fastbulk.update, fastbulk.upsert])
def test_a_trigger_that_changes_another_row(session: Session, count: int, verb: Any) -> None:
    Thing = thing()
    create(session, Thing, [{"id": i, "size": 0} for i in range(1, count + 1)])
    other = "UPDATE thing SET name = ''of '' || NEW.id WHERE id = NEW.id + 1"
    trigger(session, f"IF pg_trigger_depth() = 1 THEN {other}; END IF; RETURN NEW", "UPDATE")
    rows = [{"id": i, "size": i} for i in shuffled(count)]
    named = [(None, 1), *((f"of {i - 1}", i) for i in range(2, count + 1))]
    query = select(Thing.name, Thing.size).order_by(Thing.id)
    verb(session, Thing, rows)
    assert session.execute(query).all() == named


@pytest.mark.parametrize("count", [1, 3, 12])
def test_the_transaction_goes_on_after_a_row_is_refused(session: Session, count: int) -> None:
    Thing = thing()
    create(session, Thing, [{"id": i, "size": 0} for i in range(1, count + 1)])
    fastbulk.update(session, Thing, [{"id": count, "name": "before"}])
    rows: list[dict[str, Any]] = [{"id": i, "size": i} for i in shuffled(count)]
    rows[-1]["size"] = 2**40
    for call in (fastbulk.update, fastbulk.upsert):
        error = error_of(partial(call, session, Thing, rows))
        assert isinstance(error, exc.DataError)
        assert place(error)[0] == count - 1
        assert stored(session, Thing.size) == [0] * count
    session.commit()
    assert stored(session, Thing.name).count("before") == 1


def test_few_rows_that_are_not_there(session: Session) -> None:
    Thing = thing()
    create(session, Thing, [{"id": i, "size": 0} for i in range(1, 5)])
    with pytest.raises(StaleDataError) as caught:
        fastbulk.update(session, Thing, [{"id": i, "size": 1} for i in (4, 9, 2, 7)])
    assert vars(caught.value)["rows"] == [1, 3]
    assert stored(session, Thing.size) == [0] * 4


def test_few_rows_of_a_column_that_has_another_type(session: Session) -> None:
    Thing = thing()
    create(session, Thing, [])
    execute(session, "ALTER TABLE thing ALTER email TYPE uuid USING NULL")
    execute(session, "ALTER TABLE thing ALTER name TYPE uuid USING NULL")
    emails = [str(uuid.UUID(int=i)) for i in range(4)]
    for size in (1, 2):
        rows = [{"email": email, "size": size} for email in emails]
        result = fastbulk.upsert(session, Thing, rows, key="email")
        assert set(result.actions) == {"inserted" if size == 1 else "updated"}
    assert stored(session, Thing.size)[:4] == [2] * 4
    rows = [{"id": i, "name": "x"} for i in session.scalars(select(Thing.id))]
    error = error_of(lambda: fastbulk.update(session, Thing, rows))
    assert isinstance(error, (exc.ProgrammingError, exc.DataError))
    assert place(error)[0] == 0


@pytest.mark.parametrize("count", COUNTS)
def test_a_call_without_a_transaction_is_one(engine: Engine, count: int) -> None:
    Thing = thing()
    with Session(engine) as session, session.begin():
        create(session, Thing, [{"id": i, "email": f"e{i}"} for i in range(1, count + 1)])
    rows = [{"id": i, "name": "x"} for i in shuffled(count)]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        fastbulk.update(connection, Thing, rows)
        with pytest.raises(StaleDataError):
            fastbulk.update(
                connection, Thing, [*[{**r, "name": "y"} for r in rows], {"id": -1, "name": "y"}]
            )
        with pytest.raises(exc.DataError):
            fastbulk.upsert(connection, Thing, [*rows[:-1], {**rows[-1], "size": 2**40}])
        connection.execute(text("SELECT 1"))
    with Session(engine) as session:
        assert set(stored(session, Thing.name)) == {"x"}


def test_who_may_not_touch_the_sequence(session: Session) -> None:
    """Generated keys come from the column's own default then."""
    Thing = thing()
    create(session, Thing, [{"email": "e1"}])
    execute(session, "ALTER TABLE thing ALTER id DROP DEFAULT")
    execute(session, "ALTER TABLE thing ALTER id ADD GENERATED ALWAYS AS IDENTITY (START 100)")
    rows = [{"email": f"e{i}", "name": "x"} for i in shuffled(130)]
    ids = fastbulk.upsert(session, Thing, rows, key="email", returning=Thing.id).scalars().all()
    assert len(set(ids)) == 130
