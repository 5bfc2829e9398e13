"""What OpenTelemetry and Sentry record of bulk calls, accelerated as without."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.integrations import sqlalchemy as sentry
from sentry_sdk.transport import Transport
from sqlalchemy import Engine, Integer, String, event, exc, insert, update
from sqlalchemy.orm import Session, mapped_column

import fastbulk
from oracle import model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oracle import Oracle, WithTables

pytestmark = [pytest.mark.sync, pytest.mark.only("sqlite-memory", "psycopg", "mariadb-mysqldb")]

ROWS = [{"name": f"n{i}", "count": i} for i in range(60)]


def calls(engine: Engine, Thing: Any) -> None:
    """One call of each kind, and one that fails."""
    with Session(engine) as session:
        session.execute(insert(Thing), ROWS)
        session.execute(insert(Thing).returning(Thing.id), ROWS[:3]).all()
        session.bulk_insert_mappings(Thing, [{"name": "a"}, {"count": 1}])
        session.execute(update(Thing), [{"id": i, "count": 0} for i in range(1, 9)])
        session.connection().execute(Thing.__table__.insert(), ROWS[:5])
        with pytest.raises(exc.IntegrityError):
            session.execute(insert(Thing), [{"id": 900}, {"id": 901}, {"id": 900}])
        session.rollback()


def check(
    databases: Oracle, Thing: Any, recorded: Callable[[Callable[[], None]], list[Any]]
) -> Counter[str]:
    """Compares what is recorded of the calls; counts what was taken."""
    theirs = recorded(lambda: calls(databases.theirs, Thing))
    with fastbulk.accelerate(databases.ours) as accelerated:
        ours = recorded(lambda: calls(databases.ours, Thing))
    named = repr(ours).replace("fastbulk_ours", "fastbulk_theirs")
    assert named == repr(theirs)
    assert len(theirs) >= 7
    return Counter(accelerated.stats()["taken"])


@pytest.fixture
def Thing() -> Any:
    return model(name=mapped_column(String(30)), count=mapped_column(Integer))


@pytest.mark.parametrize("comments", [False, True])
def test_opentelemetry(oracle: WithTables, Thing: Any, comments: bool) -> None:
    databases = oracle(Thing)
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = SQLAlchemyInstrumentor()
    instrumentor.instrument(
        engines=[databases.theirs, databases.ours],
        tracer_provider=provider,
        enable_commenter=comments,
        skip_dep_check=True,  # it knows of no SQLAlchemy 2.1 yet
    )

    def recorded(work: Callable[[], None]) -> list[Any]:
        exporter.clear()
        work()
        spans = exporter.get_finished_spans()
        return [
            (span.name, span.kind, span.status.status_code, dict(span.attributes or {}))
            for span in spans
        ]

    try:
        taken = check(databases, Thing, recorded)
    finally:
        instrumentor.uninstrument()
    if comments:  # they change the statements
        assert not taken
    else:
        assert taken.total() == 5


class Nowhere(Transport):
    """Where Sentry sends to."""

    def capture_envelope(self, envelope: Any) -> None:
        """Forgets it."""


@pytest.fixture
def listening() -> Iterator[None]:
    """Sentry, whose listeners hear every engine until they are removed."""
    sentry_sdk.init(
        "https://key@sentry.invalid/1",
        integrations=[sentry.SqlalchemyIntegration()],
        default_integrations=False,
        traces_sample_rate=1.0,
        transport=Nowhere,
    )
    listeners: dict[str, Any] = {
        "before_cursor_execute": sentry._before_cursor_execute,
        "after_cursor_execute": sentry._after_cursor_execute,
        "handle_error": sentry._handle_error,
    }
    if not event.contains(Engine, "handle_error", sentry._handle_error):
        sentry.SqlalchemyIntegration.setup_once()
    yield
    for name, listener in listeners.items():
        event.remove(Engine, name, listener)
    sentry_sdk.get_client().close()
    sentry_sdk.init()


@pytest.mark.usefixtures("listening")
def test_sentry(oracle: WithTables, Thing: Any) -> None:
    def recorded(work: Callable[[], None]) -> list[Any]:
        with sentry_sdk.start_transaction(name="calls") as transaction:
            work()
            recorder = transaction._span_recorder
            assert recorder is not None
            spans = [span for span in recorder.spans if span.op == "db"]
        return [(span.description, span.status, span._data.get("db.system")) for span in spans]

    assert check(oracle(Thing), Thing, recorded).total() == 5
