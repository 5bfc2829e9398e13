"""Statements that SQLAlchemy prepares, tells and logs: what its driver would do is done natively.

That is where somebody listens or reads the log, and where only SQLAlchemy knows which values the
rows have. Nobody may have changed the statement, and it has to succeed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Table, event, exc
from sqlalchemy.engine.interfaces import ExecuteStyle

from ..call import schemas, send
from ..carriers.quiet import quiet
from ..keyed import KeyedCall
from ..orm.keyed import KeyedRequest
from ..orm.table import Back, Statement, table_plan
from ..roads import choose
from ..targets import Held
from .context import back_of, check_parameters, count, give_back, give_nothing, rows_of
from .left import now, within
from .refusal import FallThrough, fails_alike
from .statement import why_more

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Dialect

    from .left import Left

#: The events in whose place native code may run.
EVENTS = ("do_execute", "do_executemany")

_listening: WeakSet[Dialect] = WeakSet()
#: Where in its pages a statement is.
_pages: WeakKeyDictionary[Any, _Pages] = WeakKeyDictionary()


def listen(dialect: Dialect) -> None:
    """Has statements on that dialect come by."""
    if dialect not in _listening:
        for name in EVENTS:
            event.listen(dialect, name, do)
        _listening.add(dialect)


def do(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """Does a statement natively; False if the driver has to."""
    left = now()
    if left is None or not (context.isinsert or context.isupdate) or context.compiled is None:
        return False
    if "parameters" not in vars(context):  # a default is asked while they are made
        return False
    table = context.compiled.compile_state.dml_table._deannotate()
    if table not in left.tables:
        return False
    try:
        with within(None):
            _do(left, table, statement, parameters, context)
    except FallThrough as refused:
        left.misses(refused)
        return False
    except exc.DBAPIError as error:
        # SQLAlchemy makes the same of it again, with the statement that it knows.
        raise (error.orig or error) from None
    left.taken += 1
    return True


def _do(left: Left, table: Any, statement: str, parameters: Any, context: Any) -> None:
    if left.refused.failed or not left.native:
        raise left.refused
    if not isinstance(table, Table):
        raise FallThrough("the statement is of an alias")
    if context.isupdate:
        _check_unchanged(statement, parameters, context)
        _update(left, table, context)
    elif context.execute_style is ExecuteStyle.INSERTMANYVALUES:
        pages = _pages.get(context)
        if pages is None:
            pages = _pages[context] = _Pages(context)
        _insert_page(table, context, pages.next(statement, parameters))
    else:
        _check_unchanged(statement, parameters, context)
        _insert(left, table, context)


def _check_unchanged(statement: str, parameters: Any, context: Any) -> None:
    prepared = context.parameters if context.executemany else context.parameters[0]
    if statement != context.statement or parameters is not prepared:
        raise FallThrough("a listener changed the statement")


class _Pages:
    """The same pages that SQLAlchemy sends an INSERT in."""

    def __init__(self, context: Any) -> None:
        compiled, dialect = context.compiled, context.dialect
        imv = compiled._insertmanyvalues
        self.rows = context.compiled_parameters
        self.done = 0
        options = context.execution_options
        self.batches = compiled._deliver_insertmanyvalues_batches(
            context.statement,
            context.parameters,
            self.rows,
            None,
            options.get("insertmanyvalues_page_size", dialect.insertmanyvalues_page_size),
            bool(compiled.effective_returning) and imv.sort_by_parameter_order,
            options.get("schema_translate_map", {}) if compiled.schema_translate_map else None,
        )

    def next(self, statement: str, parameters: Any) -> list[dict[str, Any]]:
        """The rows of the next page."""
        batch = next(self.batches)
        rows: list[dict[str, Any]] = self.rows[self.done : self.done + len(batch.batch)]
        self.done += len(rows)
        if (statement, parameters) != (batch.replaced_statement, batch.replaced_parameters):
            raise FallThrough("a listener changed the statement")
        if batch.is_downgraded:
            raise FallThrough("a statement for each row")
        return rows


def _insert(left: Left, table: Table, context: Any) -> None:
    """One statement of all rows, or of a row that is alone with its keys."""
    key = context.compiled.postfetch_lastrowid
    if key and left.count > 1 and not context.dialect.insert_executemany_returning:
        raise FallThrough("a statement for each row")
    rows = context.compiled_parameters
    if key and len(rows) > 1:  # which of them the driver means is its own affair
        raise FallThrough("the driver's key of the last row")
    back, outcomes = _send(table, context, rows, _key_of(table) if key else None)
    if back is None:
        give_nothing(context)
    else:
        returned = rows_of(back, outcomes)
        if key:
            context.get_lastrowid = partial(returned[0].__getitem__, 0)
        else:
            give_back(context, back, outcomes, returned)
    count(context, len(rows))


def _insert_page(table: Table, context: Any, rows: list[dict[str, Any]]) -> None:
    """One of the pages in which SQLAlchemy sends the rows."""
    # A page of the driver's may follow one of ours.
    vars(context).pop("fetchall_for_returning", None)
    back, outcomes = _send(table, context, rows)
    count(context, len(rows))
    if back is None:
        give_nothing(context)
        return
    returned = rows_of(back, outcomes)
    context.fetchall_for_returning = lambda cursor: returned
    give_back(context, back, outcomes, ())
    imv = context.compiled._insertmanyvalues
    if imv.num_sentinel_columns and not imv.implicit_sentinel:
        # SQLAlchemy asks the driver's cursor of which types the columns are.
        context.cursor.execute(f"SELECT {back.sql} FROM {_rendered(context, table)} WHERE 1 = 0")


def _rendered(context: Any, table: Table) -> str:
    name: str = context.identifier_preparer.format_table(table)
    return name


def _key_of(table: Table) -> Any:
    if table.autoincrement_column is None:
        raise FallThrough("the driver's key of the last row")
    return table.autoincrement_column


def _back_of_key(context: Any, key: Any) -> Back:
    return Back(context.identifier_preparer.quote(key.name), (key.name,), 0)


def _send(
    table: Table, context: Any, rows: Sequence[Any], key: Any = None
) -> tuple[Back | None, list[Any]]:
    statement = context.invoked_statement
    said = ("_return_defaults", "_values", "_post_values_clause")
    if why := why_more(statement, allowed=said):
        raise FallThrough(why)
    back = back_of(context, table) if key is None else _back_of_key(context, key)
    held = _held(context, "insert")
    keys = frozenset(str(key) for key in rows[0].keys() & {column.key for column in table.columns})
    translated = schemas(held.connection, context.execution_options)
    more = _more(statement, context, rows)
    try:
        plan = table_plan(table, keys, context.dialect, translated, held.carrier, back, more)
    except (exc.CompileError, exc.ArgumentError) as error:
        raise FallThrough("no plan", str(error)) from error
    with fails_alike(held.connection, plan):
        return back, send(held, plan, rows)


def _more(statement: Any, context: Any, rows: Sequence[Any]) -> Statement | None:
    if not statement._values and statement._post_values_clause is None:
        return None
    compiled = context.compiled
    values = compiled.compile_state._dict_parameters or {}
    return Statement(statement, values, compiled.bind_names, rows[0])


def _update(left: Left, table: Table, context: Any) -> None:
    """Rows that are found by their primary key."""
    if left.mapper is None or context.compiled.effective_returning:
        raise FallThrough("returning of an update")
    if left.mapper.version_id_col is not None:
        raise FallThrough("version id")
    if why := why_more(context.invoked_statement, allowed=("_where_criteria",)):
        raise FallThrough(why)
    if len(context.invoked_statement._where_criteria) > 1:  # one finds the row
        raise FallThrough("where()")
    held = _held(context, "update")
    try:
        call = KeyedCall.prepare(
            held, left.mapper, KeyedRequest("update", "bulk"), context.execution_options
        )
    except (NotImplementedError, exc.CompileError, exc.ArgumentError) as error:
        raise FallThrough("no plan", str(error)) from error
    plan = next(plan for plan in call.plans if plan.table is table)
    rows = [dict(row) for row in _keyed(plan, table, context)]
    with fails_alike(held.connection, plan):
        replace(call, plans=[plan]).send(rows)
    count(context, len(rows))


def _keyed(plan: Any, table: Table, context: Any) -> Iterator[Iterator[tuple[str, Any]]]:
    """The rows by the names of attributes."""
    names: dict[str, str] = {}
    columns = {column.name: column for column in table.columns}
    for column in plan.native.columns:
        if column.key:
            meant = columns[column.name]
            key = meant._label if meant.primary_key else meant.key
            names[str(key)] = column.key
    check_parameters(context, set(names))
    for row in context.compiled_parameters:
        yield ((names[key], value) for key, value in row.items())


def _held(context: Any, verb: str) -> Held:
    """The connection, on which nobody hears what native code sends."""
    held = Held.of(quiet(context.root_connection))
    facts = held.carrier.facts(held.connection)
    road = choose(context.dialect.name, held.driver, verb, facts)
    if road.name != "native":
        raise FallThrough("no native road", road.refused["native"])
    return held
