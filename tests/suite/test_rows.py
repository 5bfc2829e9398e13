"""What a row may be, in every form, and how many there may be."""

from __future__ import annotations

from collections import OrderedDict, UserDict, deque, namedtuple
from dataclasses import dataclass
from itertools import repeat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from sqlalchemy import Column, Float, Integer, LargeBinary, String, exc, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column, registry

import fastbulk
from oracle import FORMS, model

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle import Form, WithTables

ROWS = [
    {"name": "Ann", "size": 1.5},
    {"name": "Bob"},
    {"size": 2.5, "name": "Cid"},
    {},
    {"size": None, "name": None},
    {"id": 50, "name": "Dan", "size": -2.0},
    {"name": "Eve"},
]


def thing() -> Any:
    return model(name=Column(String), size=Column(Float))


def test_every_form_of_rows_gives_what_sqlalchemy_stores(oracle: WithTables, form: Form) -> None:
    Thing = thing()
    oracle(Thing).check(Thing, ROWS, form=form, returning=Thing.id)


def test_rows_are_never_changed(session: Session) -> None:
    Thing = model(name=Column(String, default="x"), size=Column(Float, default=lambda: 1.0))
    Thing.metadata.create_all(session.connection())
    rows = [{"name": None}, {"size": 2.5}, {}]
    fastbulk.insert(session, Thing, rows, returning=Thing)
    assert rows == [{"name": None}, {"size": 2.5}, {}]


def test_objects_are_never_changed(session: Session) -> None:
    Thing = model(name=Column(String, default="x"))
    Thing.metadata.create_all(session.connection())
    thing = Thing()
    fastbulk.insert(session, Thing, [thing], returning=Thing.id)
    assert "id" not in thing.__dict__
    assert "name" not in thing.__dict__
    assert thing not in session


@pytest.mark.parametrize(
    "rows",
    {
        "deque": lambda: deque([{"name": "Ann"}]),
        "view": lambda: {"a": {"name": "Ann"}}.values(),
        "iterator": lambda: iter([{"name": "Ann"}]),
        "map": lambda: map(dict, [{"name": "Ann"}]),
        "ordered dicts": lambda: [OrderedDict(name="Ann")],
        "mappings": lambda: [UserDict(name="Ann")],
        "namespaces": lambda: [SimpleNamespace(name="Ann", other=1)],
    }.values(),
)
def test_rows_are_any_iterable_of_mappings_or_objects(
    session: Session, rows: Callable[[], Any]
) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, rows())
    assert session.scalars(select(Thing.name)).all() == ["Ann"]


def test_a_row_of_a_result_is_a_row_by_its_mapping(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [{"name": "Ann", "size": 2.0}])
    found = session.execute(select(Thing.name, Thing.size))
    fastbulk.insert(session, Thing, [row._mapping for row in found])
    assert session.scalars(select(Thing.name)).all() == ["Ann", "Ann"]


def test_a_dataclass_gives_its_fields_and_no_others(session: Session) -> None:
    @dataclass(frozen=True)
    class Given:
        name: str
        comment: str = "not mapped"

    Thing = thing()
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, {Given("Ann")})
    assert session.execute(select(Thing.name, Thing.size)).all() == [("Ann", None)]


def test_objects_of_a_mapped_dataclass(oracle: WithTables) -> None:
    reg = registry()

    @reg.mapped_as_dataclass
    class Thing:
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(default="x")

    oracle(Thing).check(Thing, [{"id": 1, "name": "Ann"}], form=FORMS["objects"])


@pytest.mark.parametrize(
    "row",
    [None, "name", 7, ("name", "Ann"), ["name"], object(), SimpleNamespace(other=1), int, UserDict],
)
def test_what_is_no_row_is_refused_by_its_number(session: Session, row: Any) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError, match="row 1"):
        fastbulk.insert(session, Thing, [{"name": "Ann"}, row])
    assert session.scalars(select(Thing.id)).all() == []


def test_a_named_tuple_is_no_row(session: Session) -> None:
    Given = namedtuple("Given", "name")
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError, match="row 0 is of type Given"):
        fastbulk.insert(session, Thing, [Given("Ann")])


@pytest.mark.parametrize("rows", [{"name": "Ann"}, "name", b"name", None, 7])
def test_what_is_no_iterable_of_rows_is_refused(session: Session, rows: Any) -> None:
    with pytest.raises(exc.ArgumentError, match="rows"):
        fastbulk.insert(session, thing(), rows)


def test_no_rows_insert_nothing(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    result = fastbulk.insert(session, Thing, [])
    assert result.rowcount == 0
    assert fastbulk.insert(session, Thing, iter(()), returning=Thing.id).all() == []
    assert session.scalars(select(Thing.id)).all() == []


def test_an_object_of_a_session_is_no_row(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    pending = Thing(name="Ann")
    session.add(pending)
    with session.no_autoflush, pytest.raises(exc.ArgumentError, match="belongs to a Session"):
        fastbulk.insert(session, Thing, [pending])


def test_an_object_of_another_class_is_no_row(session: Session) -> None:
    Thing, Other = thing(), model(name=Column(String))
    with pytest.raises(exc.ArgumentError, match="row 0 is of type Thing, not a Thing"):
        fastbulk.insert(session, Thing, [Other(name="Ann")])


def test_an_object_of_a_subclass_loses_no_value(session: Session) -> None:
    polymorphic = {"polymorphic_on": "kind", "polymorphic_identity": "thing"}
    Thing = model(name=Column(String), kind=Column(String), __mapper_args__=polymorphic)

    attributes = {
        "__mapper_args__": {"polymorphic_identity": "special"},
        "extra": Column(String),
    }
    Special: Any = type("Special", (Thing,), attributes)
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [Special(name="a")])
    assert session.execute(select(Thing.name, Thing.kind)).all() == [("a", "special")]
    with pytest.raises(exc.ArgumentError, match=r"row 1.*'extra'.*Special"):
        fastbulk.insert(session, Thing, [Thing(name="b"), Special(name="c", extra="x")])


@pytest.mark.parametrize("count", [1, 9, 10, 11, 99, 100, 101, 110, 2999, 3000, 3011, 3201])
def test_counts_around_the_sizes_of_statements(oracle: WithTables, count: int) -> None:
    Thing = thing()
    rows = [{"name": f"n{i}", "size": i / 7} for i in range(count)]
    oracle(Thing).check(Thing, rows)
    with Session(oracle(Thing).ours) as session:
        more = [{"name": f"m{i}"} for i in range(count)]
        ids = fastbulk.insert(session, Thing, more, returning=Thing.id).scalars().all()
        # MariaDB's bulk protocol and LOAD DATA leave a gap behind them.
        assert ids == list(range(ids[0], ids[0] + count))


@pytest.mark.parametrize("count", [19_999, 20_000, 20_001, 40_000, 40_001])
def test_counts_around_the_size_of_a_slice(session: Session, count: int) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    result = fastbulk.insert(session, Thing, ({"name": str(i)} for i in range(count)))
    assert result.rowcount == count
    names = session.scalars(select(Thing.name).order_by(Thing.id)).all()
    assert names == [str(i) for i in range(count)]


def test_rows_too_wide_for_one_slice(oracle: WithTables) -> None:
    Thing = model(data=Column(LargeBinary), text=Column(String))
    rows = [{"data": bytes([i]) * 1_000_000, "text": chr(97 + i) * 700_000} for i in range(20)]
    oracle(Thing).check(Thing, rows)


def test_rows_of_changing_shapes_keep_their_order(session: Session) -> None:
    Thing = model(name=Column(String, server_default="none"), size=Column(Float))
    Thing.metadata.create_all(session.connection())
    rows = [{"size": i} | ({"name": f"n{i}"} if i % 3 else {}) for i in range(1_000)]
    result = fastbulk.insert(session, Thing, rows, returning=[Thing.id, Thing.name, Thing.size])
    expected = [(i + 1, f"n{i}" if i % 3 else "none", float(i)) for i in range(1_000)]
    assert result.all() == expected
    assert session.execute(select(Thing.id, Thing.name, Thing.size)).all() == expected


def test_rows_that_share_one_dict(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, repeat({"name": "Ann"}, 500))
    assert session.scalars(select(Thing.name)).all() == ["Ann"] * 500


def test_a_list_that_grows_while_it_is_read_is_read_to_its_end(session: Session) -> None:
    rows: list[dict[str, Any]] = [{}]

    def grow() -> str:
        if len(rows) < 300:
            rows.append({})
        return "x"

    Thing = model(name=Column(String, default=grow))
    Thing.metadata.create_all(session.connection())
    assert fastbulk.insert(session, Thing, rows).rowcount == 300


def test_a_list_that_shrinks_while_it_is_read_ends_earlier(session: Session) -> None:
    rows: list[dict[str, Any]] = [{} for _ in range(300)]
    Thing = model(name=Column(String, default=lambda: "x" if rows.pop() == {} else None))
    Thing.metadata.create_all(session.connection())
    assert fastbulk.insert(session, Thing, rows).rowcount == 150


def test_a_mapping_whose_own_code_raises(session: Session) -> None:
    class Broken(UserDict[str, Any]):
        def items(self) -> NoReturn:
            raise LookupError("broken")

    Thing = thing()
    Thing.metadata.create_all(session.connection())
    with pytest.raises(LookupError, match="broken"):
        fastbulk.insert(session, Thing, [{"name": "Ann"}, Broken(name="Bob")])
    assert session.scalars(select(Thing.id)).all() == []


def test_a_key_only_table(oracle: WithTables) -> None:
    Thing = model()
    oracle(Thing).check(Thing, [{}, {}, {"id": 9}, {}], returning=Thing.id)


def test_natural_and_composite_keys(oracle: WithTables) -> None:
    Thing = model(
        a=Column(String, primary_key=True), b=Column(Integer, primary_key=True), c=Column(String)
    )
    rows = [{"a": "x", "b": i, "c": str(i)} for i in reversed(range(150))]
    oracle(Thing).check(Thing, rows, returning=[Thing.a, Thing.b])


def test_the_same_call_twice_uses_the_plan_again(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    for count in (1, 2):
        fastbulk.insert(session, Thing, [{"name": "Ann"}])
        assert session.scalars(select(Thing.name)).all() == ["Ann"] * count


def test_an_attribute_added_to_the_class_later_is_known(session: Session) -> None:
    Thing = thing()
    Thing.metadata.create_all(session.connection())
    fastbulk.insert(session, Thing, [{"name": "Ann"}])
    Thing.late = Column(String)
    session.connection().exec_driver_sql("ALTER TABLE thing ADD COLUMN late VARCHAR(20)")
    fastbulk.insert(session, Thing, [{"name": "Bob", "late": "x"}])
    session.execute(insert(Thing), [{"name": "Cid", "late": "x"}])
    assert session.scalars(select(Thing.late)).all() == [None, "x", "x"]
