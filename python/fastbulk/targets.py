"""Whose transaction a call runs in: the target says it, and nothing else does."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import delete, exc, insert, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session, scoped_session

from .carriers import carrier_of, driver_of, own
from .orm.mapping import table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import ModuleType

    from sqlalchemy import Table
    from sqlalchemy.orm import Mapper

Target: TypeAlias = "Session | scoped_session[Any] | Connection | Engine"
WhyNot: TypeAlias = "Callable[[Engine], str | None]"


class Held(NamedTuple):
    """A connection for the time of a call.

    Attributes
    ----------
    connection
        The connection of the target's transaction.
    session
        The Session that returned entities join, if the target is one.
    carrier
        What carries rows over the connection.
    driver
        The driver's name.
    others
        Further connections of the same kind over which rows are spread.
    refused
        Why it is no connection of our own, where the target is an Engine.
    """

    connection: Connection
    session: Session | None
    carrier: ModuleType
    driver: str
    others: tuple[Connection, ...] = ()
    refused: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def of(
        cls, connection: Connection, session: Session | None = None, refused: str | None = None
    ) -> Held:
        """A connection of the driver that the engine is configured with."""
        reasons = {} if refused is None else {"own connection": refused}
        dialect = connection.dialect
        carrier = carrier_of(dialect)
        return cls(connection, session, carrier, driver_of(dialect), refused=reasons)


#: What a Session's own ``get_bind`` may look at.
_STATEMENTS: dict[str, Any] = {
    "insert": insert,
    "upsert": insert,
    "update": update,
    "delete": delete,
}


@lru_cache(maxsize=100)
def _clause(verb: str, table: Table) -> Any:
    return _STATEMENTS[verb](table)


def hold(
    target: Target,
    mapper: Mapper[Any],
    why_not_own: WhyNot,
    connections: int = 1,
    verb: str = "insert",
) -> AbstractContextManager[Held]:
    """The connection on which a call to ``target`` runs.

    A Session's pending changes are flushed first, as ``session.execute`` does. For an Engine a
    connection is opened that is like those of its pool, or the pool gives one; its transaction is
    committed at the end. ``why_not_own(engine)`` is the call's own reason for the pool, if any;
    without one there are as many connections as asked for.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        The target is nothing that can be written to.
    sqlalchemy.exc.InvalidRequestError
        The Session is closed or its transaction can't be used.
    NotImplementedError
        The Session is sharded.
    """
    if isinstance(target, scoped_session):
        target = target()
    if isinstance(target, Session):
        if target.connection_callable is not None:
            raise NotImplementedError("a sharded Session has no one connection for all rows")
        target._autoflush()
        connection = target.connection(
            bind_arguments={"mapper": mapper, "clause": _clause(verb, table_of(mapper))}
        )
        return nullcontext(Held.of(connection, target))
    if isinstance(target, Connection):
        return nullcontext(Held.of(target))
    if isinstance(target, Engine):
        return _hold_engine(target, why_not_own, connections)
    raise exc.ArgumentError(_what_is_wrong(target))


@contextmanager
def _hold_engine(engine: Engine, why_not_own: WhyNot, connections: int) -> Iterator[Held]:
    refused = own.why_not(engine, connections) or why_not_own(engine)
    with ExitStack() as stack:
        if refused is None:
            try:
                opened = [stack.enter_context(own.begin(engine)) for _ in range(connections)]
            except exc.DBAPIError as error:
                # The pool may succeed, and if not its error is the one that the caller knows.
                refused = str(error.orig)
            else:
                (carrier, connection), *others = opened
                further = tuple(other for _, other in others)
                yield Held(connection, None, carrier, carrier.NAME, further)
                return
            stack.close()
        yield Held.of(stack.enter_context(engine.begin()), refused=refused)


def _what_is_wrong(target: Any) -> str:
    name = type(target).__name__
    if name in {"AsyncSession", "AsyncConnection", "AsyncEngine", "async_scoped_session"}:
        return f"{name} is asynchronous: the verbs of fastbulk.aio take it"
    if name == "sessionmaker":
        return "a sessionmaker makes Sessions: call it, and pass the Session"
    return f"a Session, Connection or Engine is expected as the target, got {target!r}"
