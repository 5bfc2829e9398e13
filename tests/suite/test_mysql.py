"""What only MySQL and MariaDB have: their modes, packets, engines, warnings and generated keys."""

from __future__ import annotations

import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Double,
    Engine,
    ForeignKey,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Text,
    create_engine,
    event,
    exc,
    func,
    insert,
    select,
)
from sqlalchemy.orm import Session

import fastbulk
from fastbulk.carriers import mysql as carrier
from fastbulk.carriers.mysql_errors import split_name
from oracle import error_of, model, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    import servers
    from oracle import Oracle

pytestmark = pytest.mark.only("mariadb", "mysql")

MODES = ["STRICT_TRANS_TABLES", "", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
         "ANSI", "TRADITIONAL,PIPES_AS_CONCAT,NO_AUTO_VALUE_ON_ZERO"]  # fmt: skip
#: What ends a literal, begins another one, or is a client's or a server's command.
PIECES = [
    "'", "''", "\\", "\\'", '"', "`", "\0", "\x1a", "\n", "\r", "%", "%s", "--", "#", "/*",
    "*/", "/*!", ";", ")", "),(", "x'", "_utf8mb4", "_binary", "DELIMITER ", "delimiter", "NULL",
    "@@version", "é", "\U0001f600", "\u2028", "\U0010ffff", "0x", "\t", " ",
]  # fmt: skip
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
HOSTILE = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    max_size=12,
).map("".join)


def hostile_thing() -> Any:
    return model(text=Column(Text), data=Column(LargeBinary), number=Column(Double))


def in_mode(sql_mode: str) -> dict[str, str]:
    """The option of every driver by which its connections have this mode."""
    return {"init_command": f"SET sql_mode = '{sql_mode}'"}


@pytest.mark.parametrize("sql_mode", MODES)
def test_hostile_values_come_back_as_they_are(databases: Oracle, sql_mode: str) -> None:
    databases.reconnect(**in_mode(sql_mode))
    engine = databases.ours
    Thing = hostile_thing()
    Thing.metadata.create_all(engine)
    rows = st.lists(
        st.tuples(HOSTILE, st.binary(max_size=20), NUMBERS),
        min_size=1,
        max_size=8,
    )

    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(rows)
    def check(values: list[tuple[str, bytes, float]]) -> None:
        with Session(engine) as session:
            session.execute(Thing.__table__.delete())
            session.commit()
            given = [{"text": t, "data": d, "number": n} for t, d, n in values]
            databases.by_fastbulk(Thing, given)
            # In binary, lest the server's conversion on the way back hide what it stores.
            found = session.execute(
                select(func.hex(Thing.text), Thing.data, Thing.number).order_by(Thing.id)
            ).all()
            assert [tuple(row) for row in found] == [
                (t.encode().hex().upper(), d, n) for t, d, n in values
            ]

    check()


ATTACKS = [
    "'); DROP TABLE thing; -- ",
    "\\'); DROP TABLE thing; -- ",
    "x', (SELECT password FROM secrets), '",
    "\\",
    "\\\\' OR ''='",
    "é\\'; DROP TABLE thing; #",
    "\xbf'; DROP TABLE thing; -- ",  # half of a two-byte character
    "delimiter $$\n'); DROP TABLE thing$$",
    "*/ DROP TABLE thing; /*",
]


@pytest.mark.parametrize("sql_mode", MODES)
def test_sql_in_values_is_text(databases: Oracle, sql_mode: str) -> None:
    databases.reconnect(**in_mode(sql_mode))
    engine = databases.ours
    Thing = model(a=Column(String(100)), data=Column(LargeBinary))
    Thing.metadata.create_all(engine)
    for attack in ATTACKS:
        with Session(engine) as session:
            rows = [{"a": attack, "data": attack.encode()}, {"a": '"', "data": b'"'}] * 3
            fastbulk.insert(session, Thing, rows)
            found = session.execute(select(Thing.a, Thing.data).order_by(Thing.id)).all()
        assert [tuple(row) for row in found] == [(row["a"], row["data"]) for row in rows]


@pytest.mark.parametrize("attack", ["a`, `b", "a`) VALUES (1); DROP TABLE thing; -- ", "a%s", "a'"])
def test_sql_in_names_is_a_name(databases: Oracle, attack: str) -> None:
    name = attack.strip()
    Thing = model(table=f"t{name}", value=Column(name, String(20)), other=Column(Integer))
    databases.create(Thing)
    databases.check(Thing, [{"value": "x"}, {"other": 1}, {"value": "\\"}])


def test_sql_in_keys_is_refused(session: Session) -> None:
    Thing = model(a=Column(String(20)))
    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.ArgumentError, match="no column attribute"):
        fastbulk.insert(session, Thing, [{"a`) VALUES ('x') -- ": 1}])


# The size of statements


def test_a_row_larger_than_a_packet_is_named(session: Session) -> None:
    Thing = model(small=Column(String(20)), large=Column(LargeBinary(2**28)))
    Thing.metadata.create_all(session.connection())
    limit = session.connection().exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()
    rows = [{"small": "a"}, {"small": "b", "large": bytes(limit // 2 + 100)}, {"small": "c"}]
    error = error_of(lambda: fastbulk.insert(session, Thing, rows))
    assert type(error) is exc.OperationalError
    assert place(error)[:2] == (1, "large")
    assert "max_allowed_packet" in str(error)
    assert session.scalars(select(Thing.small)).all() == []


def test_rows_of_just_a_packet(databases: Oracle) -> None:
    """The largest statement that is sent passes, whatever the driver adds to it."""
    engine = databases.ours
    Thing = model(text=Column(Text(2**24)))
    databases.create(Thing)
    with engine.connect() as connection:
        limit = connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()
    if limit > 2**25:
        pytest.skip("it would take long")
    frame = len("INSERT INTO thing (text) VALUES ('')")
    with Session(engine) as session:
        text = "x" * (limit - carrier.PACKET_OVERHEAD - frame)
        fastbulk.insert(session, Thing, [{"text": text}])
        assert session.scalar(select(func.length(Thing.text))) == len(text)
        error = error_of(lambda: fastbulk.insert(session, Thing, [{"text": text + "x"}]))
        assert place(error)[:2] == (0, "text")


def test_statements_follow_a_small_limit(
    databases: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    Thing = model(text=Column(String(250)))
    databases.create(Thing)
    monkeypatch.setattr(carrier, "_max_allowed_packet", lambda connection: 600)
    databases.check(Thing, [{"text": "x" * (i % 250)} for i in range(300)])


# Character sets


@pytest.mark.parametrize("charset", ["latin1", "utf8mb3", "gbk", "sjis"])
def test_another_character_set_goes_the_plain_road(
    databases: Oracle, backend: Any, request: pytest.FixtureRequest, charset: str
) -> None:
    url = databases.ours.url.update_query_dict({"charset": charset})
    engine = create_engine(url)
    Thing = model(text=Column(String(20)))
    Thing.metadata.create_all(databases.ours)
    try:
        with Session(engine) as session:
            result = fastbulk.insert(session, Thing, [{"text": "a\\'b"}, {"text": None}])
            session.commit()
    except (exc.DBAPIError, LookupError, AttributeError):
        pytest.skip(f"the driver has no {charset}")
    finally:
        engine.dispose()
    assert result.road.name == "executemany"
    assert "utf8mb4" in result.road.refused["native"]
    with Session(databases.ours) as session:
        assert session.scalars(select(Thing.text).order_by(Thing.id)).all() == ["a\\'b", None]


# Warnings and modes


def test_what_the_server_bends_is_told(databases: Oracle) -> None:
    """It stores what SQLAlchemy's insert would have it store, and does not keep it to itself."""
    databases.reconnect(**in_mode(""))
    Thing = model(text=Column(String(3)), size=Column(Integer))
    databases.create(Thing)
    rows: list[dict[str, Any]] = [{"id": i + 1, "text": "abc", "size": i} for i in range(2_000)]
    rows[1_500] |= {"text": "abcdef", "size": 2**40}
    with pytest.warns(exc.SAWarning, match=r"too long|truncated.*at row 1500 \(and 1 more\)"):
        databases.check(Thing, rows)


def test_notes_are_no_warnings(databases: Oracle) -> None:
    Thing = model(value=Column(Numeric(10, 2)))
    databases.create(Thing)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        databases.check(Thing, [{"value": "1.239"}])


def test_zero_is_a_key_where_the_mode_says_so(databases: Oracle) -> None:
    databases.reconnect(**in_mode("NO_AUTO_VALUE_ON_ZERO"))
    Thing = model(value=Column(Integer))
    databases.create(Thing)
    rows = [{"value": 1}, {"id": 0, "value": 2}, {"value": 3}, {"id": 50, "value": 4}, {"value": 5}]
    with Session(databases.ours) as session:
        returning = [Thing.id, Thing.value]
        found = fastbulk.insert(session, Thing, rows, returning=returning).all()
        ids = [row[0] for row in found]
        assert [row[1] for row in found] == [1, 2, 3, 4, 5]
        assert (ids[1], ids[3]) == (0, 50)
        assert 0 < ids[0] < ids[2] < 50 < ids[4]


def test_zero_generates_a_key_elsewhere(databases: Oracle) -> None:
    Thing = model(value=Column(Integer))
    databases.create(Thing)
    databases.check(Thing, [{"value": 1}, {"id": 0, "value": 2}, {"value": 3}])


# Generated keys


def test_keys_of_an_increment_of_five(databases: Oracle) -> None:
    step = "SET auto_increment_increment = 5, auto_increment_offset = 3"
    databases.reconnect(init_command=step)
    Thing = model(value=Column(Integer))
    databases.create(Thing)
    rows = [{"value": i} for i in range(20)]
    databases.check(Thing, rows, returning=Thing.id)
    databases.check(Thing, rows, returning=[Thing.value, Thing.id])


def test_keys_of_many_statements(engine: Engine) -> None:
    Thing = model(value=Column(String(100)))
    Thing.metadata.create_all(engine)
    rows = [{"value": str(i) * 5} for i in range(45_000)]
    with Session(engine) as session:
        ids = fastbulk.insert(session, Thing, rows, returning=Thing.id).scalars().all()
        found = pairs(session.execute(select(Thing.id, Thing.value)))
    assert [found[id_] for id_ in ids] == [row["value"] for row in rows]


@pytest.mark.sync
def test_keys_while_others_insert(engine: Engine) -> None:
    Thing = model(value=Column(Integer), writer=Column(Integer))
    Thing.metadata.create_all(engine)
    wrong: list[Any] = []

    def write(writer: int) -> None:
        rows = [{"value": i, "writer": writer} for i in range(3_000)]
        with Session(engine) as session:
            for returning in (Thing.id, [Thing.id, Thing.value]):
                result = fastbulk.insert(session, Thing, rows, returning=returning)
                ids = [row[0] for row in result]
                mine = select(Thing.id, Thing.value).where(Thing.writer == writer)
                found = pairs(session.execute(mine))
                if [found.get(id_) for id_ in ids] != list(range(3_000)):
                    wrong.append(writer)
            session.commit()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def pairs(result: Any) -> dict[Any, Any]:
    return {row[0]: row[1] for row in result}


TRIGGERS = {
    "all": "SET NEW.id = NEW.value + 1000",
    "some": "IF NEW.value = 5 THEN SET NEW.id = 7777; END IF",
    "quoted": "SET  NEW . `id` = NEW.value + 1000",
}


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("what", ["key", "row"])
def test_a_trigger_that_sets_the_key(
    databases: Oracle, request: pytest.FixtureRequest, trigger: str, seen: bool, what: str
) -> None:
    """Right keys or an error, for a user that sees the trigger and for one that does not."""
    server: servers.Server = request.getfixturevalue(databases.backend.place)
    Thing = model(value=Column(Integer))
    databases.create(Thing)
    server.execute(
        f"CREATE TRIGGER sets BEFORE INSERT ON thing FOR EACH ROW BEGIN {TRIGGERS[trigger]}; END",
        "CREATE USER IF NOT EXISTS blind IDENTIFIED BY 'blind'",
        "GRANT SELECT, INSERT ON fastbulk_ours.* TO blind",
        database="fastbulk_ours",
    )
    url = databases.ours.url
    engine = create_engine(url if seen else url.set(username="blind", password="blind"))
    returning = Thing.id if what == "key" else [Thing.id, Thing.value]
    with Session(engine) as session:
        session.execute(insert(Thing), [{"value": 1_000_000}])
        rows = [{"value": i} for i in range(10)]
        if engine.dialect.insert_returning:
            ids = [row[0] for row in fastbulk.insert(session, Thing, rows, returning=returning)]
            found = pairs(session.execute(select(Thing.value, Thing.id)))
            assert ids == [found[i] for i in range(10)]
        else:
            with pytest.raises(exc.InvalidRequestError, match=r"can't be (known|matched)"):
                fastbulk.insert(session, Thing, rows, returning=returning)
            assert session.scalars(select(Thing.value)).all() == [1_000_000]
    engine.dispose()


@pytest.mark.only("mysql")
def test_a_trigger_that_changes_a_given_key(databases: Oracle) -> None:
    Thing = model(value=Column(Integer))
    databases.create(Thing)
    databases.execute(
        "CREATE TRIGGER up BEFORE INSERT ON thing FOR EACH ROW SET NEW.id = 90 + NEW.id"
    )
    with Session(databases.ours) as session:
        with pytest.raises(exc.InvalidRequestError, match="can't be matched"):
            fastbulk.insert(session, Thing, [{"id": 1}, {"id": 2}], returning=Thing.value)
        assert session.scalars(select(Thing.id)).all() == []


@pytest.mark.only("mysql")
def test_a_key_of_the_servers_making_is_refused(session: Session) -> None:
    Thing = model(id=Column(String(36), primary_key=True, default=func.uuid()), n=Column(Integer))
    Thing.metadata.create_all(session.connection())
    with pytest.raises(exc.InvalidRequestError, match="the server makes those of 'id' from row 1"):
        fastbulk.insert(session, Thing, [{"id": "a"}, {"n": 1}], returning=Thing.id)
    assert session.scalars(select(Thing.id)).all() == []


def test_natural_keys_in_any_collation(databases: Oracle) -> None:
    for collation in ("utf8mb4_bin", "utf8mb4_unicode_ci", "latin1_swedish_ci"):
        Thing = model(
            table=collation, id=Column(String(20, collation), primary_key=True), n=Column(Integer)
        )
        databases.create(Thing)
        rows = [{"id": key, "n": n} for n, key in enumerate(["b", "a\\", "ü", "c'", "", "Z"])]
        databases.check(Thing, rows, returning=[Thing.n, Thing.id])


def test_composite_keys(databases: Oracle) -> None:
    from sqlalchemy import Date

    Thing = model(
        a=Column(Integer, primary_key=True, autoincrement=False),
        b=Column(String(20), primary_key=True),
        c=Column(Date, primary_key=True),
        n=Column(Integer),
    )
    databases.create(Thing)
    import datetime as dt

    rows = [{"a": i % 3, "b": f"k{i}", "c": dt.date(2020, 1, 31 - i), "n": i} for i in range(30)]
    databases.check(Thing, rows, returning=[Thing.n, Thing.b, Thing.c])


def test_given_and_generated_keys_in_turn(databases: Oracle) -> None:
    Thing = model(value=Column(Integer))
    databases.create(Thing)
    rows: list[dict[str, Any]] = [{"value": i} for i in range(30)]
    for i in (3, 4, 11, 29):
        rows[i]["id"] = 1_000 + 10 * i
    databases.check(Thing, rows, returning=[Thing.id, Thing.value])


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("thing", ["thing"]),
        ("`a.b`", ["a.b"]),
        ("s.`back``tick`", ["s", "back`tick"]),
        ('"s".thing', ["s", "thing"]),
    ],
)
def test_the_parts_of_a_name(sql: str, parts: list[str]) -> None:
    assert split_name(sql) == parts


@pytest.mark.only("mysql")
def test_a_trigger_on_a_table_of_a_translated_schema(databases: Oracle) -> None:
    Thing = model(value=Column(Integer), args={"schema": "tenant"})
    options = {"schema_translate_map": {"tenant": databases.ours.url.database}}
    with databases.ours.connect().execution_options(**options) as connection:
        Thing.metadata.create_all(connection)
        connection.exec_driver_sql(
            "CREATE TRIGGER sets BEFORE INSERT ON thing FOR EACH ROW SET NEW.id = 5"
        )
        with pytest.raises(exc.InvalidRequestError, match="the trigger sets"):
            fastbulk.insert(connection, Thing, [{"value": 1}], returning=Thing.id)


# Transactions


@pytest.fixture
def frozen(engine: Engine) -> Any:
    Thing = model(name=Column(String(20), unique=True), size=Column(Integer))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE thing (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) UNIQUE, "
            "size INT) ENGINE=MyISAM"
        )
    return Thing


def test_a_table_without_transactions(engine: Engine, frozen: Any) -> None:
    Thing = frozen
    rows = [{"name": str(i)} for i in range(3_000)]
    with Session(engine) as session:
        ids = fastbulk.insert(session, Thing, rows, returning=Thing.id).scalars().all()
        assert ids == list(range(1, 3_001))
        error = error_of(lambda: fastbulk.insert(session, Thing, [{"name": "x"}, {"name": "7"}]))
        assert place(error)[1] == "name"
        assert "MyISAM has no transactions" in str(error)
        assert session.scalar(select(func.count()).select_from(Thing)) == 3_001


@pytest.mark.sync
def test_a_deadlock_is_not_hidden_by_its_lost_savepoint(databases: Oracle) -> None:
    engine = databases.ours
    Thing = model(name=Column(String(20)))
    databases.create(Thing)
    with engine.begin() as connection:
        connection.execute(insert(Thing), [{"id": 1}, {"id": 100_000}])
    caught: list[exc.DBAPIError] = []
    barrier = threading.Barrier(2)

    def run(first: int, second: int) -> None:
        with Session(engine) as session:
            session.execute(Thing.__table__.update().where(Thing.id == first).values(name="x"))
            barrier.wait()
            rows = [{"id": i, "name": "n"} for i in range(second, second + 5_000)]
            try:
                fastbulk.insert(session, Thing, rows)
            except exc.DBAPIError as error:
                caught.append(error)

    threads = [
        threading.Thread(target=run, args=arguments) for arguments in ((1, 100_000), (100_000, 1))
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    messages = [str(error) for error in caught]
    assert any("Deadlock" in message for message in messages), messages
    assert all("SAVEPOINT" not in str(error.orig) for error in caught)
    assert any("rolled back the whole transaction" in message for message in messages)


@pytest.mark.parametrize("count", [3, 21_000])
def test_autocommit(engine: Engine, count: int) -> None:
    Thing = model(name=Column(String(20), unique=True))
    Thing.metadata.create_all(engine)
    rows = [{"name": str(i)} for i in range(count)]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        fastbulk.insert(connection, Thing, rows)
        error = error_of(
            lambda: fastbulk.insert(connection, Thing, [*rows_of("b", count), rows[count // 2]])
        )
        assert place(error) == (count, "name", str(count // 2))
        # A transaction of the caller's own.
        connection.exec_driver_sql("BEGIN")
        fastbulk.insert(connection, Thing, rows_of("c", count))
        error_of(lambda: fastbulk.insert(connection, Thing, [*rows_of("d", count), rows[0]]))
        connection.exec_driver_sql("ROLLBACK")
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Thing)) == count


def rows_of(prefix: str, count: int) -> list[dict[str, str]]:
    return [{"name": f"{prefix}{i}"} for i in range(count)]


def test_a_foreign_key_names_its_column(session: Session) -> None:
    Parent = model(table="parent")
    Child = type(
        "Child", (Parent.__bases__[0],),
        {"__tablename__": "child", "id": Column(Integer, primary_key=True),
         "parent": Column("the parent", ForeignKey("parent.id"))},
    )  # fmt: skip
    Parent.metadata.create_all(session.connection())
    session.execute(insert(Parent), [{"id": 1}])
    rows = [{"parent": 1}] * 2_000 + [{"parent": 2}]
    assert place(error_of(lambda: fastbulk.insert(session, Child, rows))) == (2_000, "parent", 2)


def test_a_trigger_that_refuses(databases: Oracle) -> None:
    Thing = model(size=Column(Integer))
    databases.create(Thing)
    databases.execute(
        "CREATE TRIGGER small BEFORE INSERT ON thing FOR EACH ROW BEGIN IF NEW.size > 9 THEN "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'too large at row 1'; END IF; END"
    )
    rows = [{"size": i % 9} for i in range(500)]
    rows[321] = {"size": 10}
    assert place(databases.check(Thing, rows))[0] == 321


# Roads


def test_mysql_urls_reach_mariadb(databases: Oracle) -> None:
    engine = create_engine(databases.ours.url.set(drivername=f"mysql+{databases.ours.driver}"))
    Thing = model(name=Column(String(20)))
    Thing.metadata.create_all(engine)
    with Session(engine) as session:
        result = fastbulk.insert(session, Thing, [{"name": "x"}], returning=Thing)
        assert result.road.name == "native"
        assert result.road.statement == "INSERT..VALUES"
        assert [thing.name for thing in result.scalars()] == ["x"]
    engine.dispose()


def test_connections_with_tls(tls: servers.Server, driver: str) -> None:
    engine = create_engine(
        tls.url(driver, tls.new_database()), connect_args=tls.connect_args(driver)
    )
    Thing = model(name=Column(String(20)))
    Thing.metadata.create_all(engine)
    with Session(engine) as session:
        rows = [{"name": f"ü{i}"} for i in range(3_000)]
        result = fastbulk.insert(session, Thing, rows, returning=Thing.name)
        assert result.road.name == "native"
        assert result.scalars().all() == [row["name"] for row in rows]
    engine.dispose()


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def tls(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    import servers

    start = {"mariadb": servers.mariadb, "mysql": servers.mysql}[request.param]
    with start(tls=True) as server:
        yield server


@pytest.fixture(params=["mysqldb", "pymysql", "mysqlconnector"])
def driver(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_the_pure_python_connector(databases: Oracle) -> None:
    if databases.ours.driver != "mysqlconnector":
        pytest.skip("another driver")
    engine = create_engine(databases.ours.url.update_query_dict({"use_pure": "true"}))
    Thing = model(name=Column(String(20)))
    Thing.metadata.create_all(engine)
    with Session(engine) as session:
        rows = [{"name": f"delimiter \" {i} '\\"} for i in range(3_000)]
        found = fastbulk.insert(session, Thing, rows, returning=Thing.name).scalars().all()
        assert found == [row["name"] for row in rows]
    engine.dispose()


def test_a_call_shows_its_statements_without_their_data(engine: Engine) -> None:
    Thing = model(name=Column(String(20)))
    Thing.metadata.create_all(engine)
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: seen.append(arguments[2]))
    with Session(engine) as session:
        fastbulk.insert(session, Thing, [{"name": "secret"}] * 2)
    assert "INSERT INTO thing /* VALUES, 2 rows */" in seen
    assert not any("secret" in sql for sql in seen)
