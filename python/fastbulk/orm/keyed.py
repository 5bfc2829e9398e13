"""Plans of the verbs that find rows by their keys: update, upsert and delete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Table, and_, exc, null
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import ClauseElement

from .. import _native
from .defaults import default_of, default_on_update, next_version
from .given import keys_given, pieces
from .kinds import kind_of
from .mapping import Adapter, KeyAdapter, tables_of
from .returning import Returning, compile_returning
from .sql import Renderer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import ModuleType

    from sqlalchemy import Column
    from sqlalchemy.engine import Dialect
    from sqlalchemy.orm import Mapper


@dataclass(frozen=True)
class KeyedRequest:
    """What a call of update, upsert or delete asks of a mapping."""

    verb: Literal["update", "upsert", "delete"]
    unknown: str = "raise"
    returning: tuple[Any, ...] = ()
    options: tuple[Any, ...] = ()
    #: What the row that is there has to be.
    where: tuple[Any, ...] = ()
    #: Attribute name -> value or expression that every row is set to.
    values: tuple[tuple[str, Any], ...] = ()
    #: Attribute names of an upsert's key; empty for the primary key.
    key: tuple[str, ...] = ()
    key_where: Any = None
    #: Attribute names that an upsert stores in rows that are there; None for all given ones.
    update: tuple[str, ...] | None = None
    duplicates: str = "error"
    only_changed: bool = False
    schema_translate_map: tuple[tuple[str | None, str | None], ...] = ()


@dataclass(frozen=True)
class KeyedPlan:
    """One table of a mapped class as such a verb sees it."""

    mapper: Mapper[Any]
    table: Table
    native: _native.Plan
    returning: Returning | None
    #: The statement for one row that gives all columns.
    sql: str
    #: ``adapt(row, position)``: a row of any accepted form as a dict of plain attribute names.
    adapt: Callable[[Any, int], dict[str, Any]]
    #: Positions of the columns that every row has to give, with their names.
    needed: tuple[tuple[int, str], ...]
    #: Attributes that the call may change.
    changed: frozenset[str]

    def attribute_of(self, column_name: str) -> str | None:
        """The attribute to which that database column is mapped."""
        return next((c.key for c in self.native.columns if c.name == column_name and c.key), None)


def keyed_plans(
    mapper: Mapper[Any], dialect: Dialect, request: KeyedRequest, carrier: ModuleType
) -> list[KeyedPlan]:
    """A plan per table that the verb writes, in the order of the writes.

    Raises
    ------
    sqlalchemy.exc.CompileError
        An expression or a type can't be rendered into the statement.
    sqlalchemy.exc.ArgumentError
        An argument names nothing that the mapper has.
    """
    tables = tables_of(mapper)
    if request.verb == "delete":
        tables.reverse()
    maker = _Maker(mapper, dialect, request, carrier, single=len(tables) == 1)
    return [maker.plan(table) for table in tables]


class _Maker:
    def __init__(
        self,
        mapper: Mapper[Any],
        dialect: Dialect,
        request: KeyedRequest,
        carrier: ModuleType,
        *,
        single: bool,
    ) -> None:
        self.mapper, self.dialect, self.request, self.carrier = mapper, dialect, request, carrier
        self.single = single
        self.render = Renderer(dialect, dict(request.schema_translate_map))
        self.values = dict(request.values)
        expressions = [*request.where, *self.values.values()]
        self.inputs = set().union(*map(keys_given, expressions)) if expressions else set()

    def plan(self, table: Table) -> KeyedPlan:
        request = self.request
        keys = self.mapper._propkey_to_col[table]
        columns = [self.column(key, column) for key, column in keys.items()]
        if request.verb == "delete":
            columns = [column for column in columns if column.role == "key"]
        positions = {column.key: position for position, column in enumerate(columns)}
        columns += self.stand_ins(keys, positions)
        returning = None
        if request.returning and self.single:
            returning = compile_returning(
                self.mapper, request.returning, request.options, self.render
            )
        native = _native.Plan(
            verb=request.verb,
            schema=self.render.schema(table),
            table=table.name,
            sql_table=self.render.table(table),
            columns=columns,
            returning=() if returning is None else returning.sql,
            null=null(),
            expressions=(ClauseElement, InstrumentedAttribute),
            adapt=self.carrier.adapt(self.dialect),
            assignments=self.assignments(keys, positions),
            condition=self.condition(positions),
            conflict=self.conflict(table, keys, positions),
        )
        names = frozenset(keys)
        adapter = KeyAdapter if request.verb == "delete" else Adapter
        adapt = adapter(self.mapper, request.unknown)
        return KeyedPlan(
            self.mapper,
            table,
            native,
            returning,
            self.carrier.example_sql(native),
            adapt if self.single else _Part(adapt, names),
            tuple(self.needed(table, columns)),
            frozenset(column.key for column in columns if column.role == "value")
            | set(self.values),
        )

    def column(self, key: str, column: Column[Any]) -> _native.Column:
        role = self.role(key, column)
        generated = column is column.table.autoincrement_column
        return self.native(column, key, role, drop_none=role == "key" or generated, omit=True)

    def native(
        self, column: Column[Any], key: str, role: _native.Role, **more: Any
    ) -> _native.Column:
        kind, processor = kind_of(column.type, self.dialect)
        more.setdefault("table_key", column.key)
        return _native.Column(
            key,
            column.name,
            sql_name=self.render.column(column),
            kind=kind,
            role=role,
            processor=processor,
            placeholder=self.render.placeholder(column),
            **more,
        )

    def role(self, key: str, column: Column[Any]) -> _native.Role:
        upsert = self.request.verb == "upsert"
        if key in self.request.key if upsert and self.request.key else column.primary_key:
            return "key"
        if self.request.verb == "update" and column is self.mapper.version_id_col:
            return "match"
        if not upsert and key in self.values:
            return "input"
        return "value"

    def stand_ins(
        self, keys: Mapping[str, Column[Any]], positions: Mapping[str, int]
    ) -> Iterator[_native.Column]:
        """Columns for what a row leaves out: defaults of new rows, ``onupdate`` of others."""
        verb = self.request.verb
        for key, column in keys.items():
            if verb == "upsert" and (
                default := default_of(column, self.mapper, self.render)
            ) not in ({}, {"omit": True}):
                yield self.native(
                    column, "", "default", instead_of=positions[key], drop_none=False, **default
                )
            is_key = column.primary_key or key in self.request.key
            if verb == "delete" or is_key or _is_expression(self.values.get(key)):
                continue
            more = {"table_key": f"{column.key} (new)", "drop_none": False}
            if key in self.values:
                yield self.native(column, "", "update", default=self.values[key], **more)
            elif column is self.mapper.version_id_col:
                if verb == "update" and self.mapper.version_id_generator is not False:
                    yield self.native(
                        column, "", "update", default_call=next_version(self.mapper), **more
                    )
            elif default := default_on_update(column, self.render):
                yield self.native(
                    column, "", "update", instead_of=positions[key], **more, **default
                )

    def assignments(
        self, keys: Mapping[str, Column[Any]], positions: Mapping[str, int]
    ) -> list[tuple[str, list[int | str]]]:
        return [
            (self.render.column(keys[key]), pieces(value, self.render, positions))
            for key, value in self.values.items()
            if key in keys and _is_expression(value)
        ]

    def condition(self, positions: Mapping[str, int]) -> list[int | str] | None:
        if not self.request.where:
            return None
        return pieces(and_(*self.request.where), self.render, positions)

    def conflict(
        self, table: Table, keys: Mapping[str, Column[Any]], positions: Mapping[str, int]
    ) -> dict[str, Any] | None:
        request = self.request
        if request.verb != "upsert":
            return None
        names = request.key or [key for key, column in keys.items() if column.primary_key]
        target = f"({', '.join(self.render.column(keys[name]) for name in names)})"
        key_where = None
        if request.key_where is not None:
            key_where = self.render.expression(request.key_where)
            target += f" WHERE {key_where}"
        updates = [
            position
            for key, position in positions.items()
            if key not in names
            and not keys[key].primary_key
            and keys[key] is not self.mapper.version_id_col
            and key not in self.values
            and (request.update is None or key in request.update)
        ]
        return {
            "target": target,
            "key_where": key_where,
            "updates": updates,
            "only_changed": request.only_changed,
            "primary_key": [self.render.column(column) for column in table.primary_key],
            "duplicates": request.duplicates,
        }

    def needed(self, table: Table, columns: list[_native.Column]) -> Iterator[tuple[int, str]]:
        """Columns that every row has to give; without a generated key a row is new."""
        generated = None if self.request.verb != "upsert" else table.autoincrement_column
        for position, column in enumerate(columns):
            finds = column.role in {"key", "match"}
            if finds and generated is not None and generated.name == column.name:
                continue
            if finds or column.key in self.inputs:
                yield position, column.key


def _is_expression(value: Any) -> bool:
    return isinstance(value, (ClauseElement, InstrumentedAttribute))


class _Part:
    """Takes from each row what one of several tables has."""

    def __init__(self, adapt: Callable[[Any, int], dict[str, Any]], names: frozenset[str]) -> None:
        self.adapt, self.names = adapt, names

    def __call__(self, row: Any, position: int) -> dict[str, Any]:
        adapted = self.adapt(row, position)
        return {key: value for key, value in adapted.items() if key in self.names}


def names_of(mapper: Mapper[Any], attributes: Iterable[Any], what: str) -> tuple[str, ...]:
    """The names of column attributes, given as attributes or by name.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        One of them is no column attribute of the class.
    """
    known = {name for table in tables_of(mapper) for name in mapper._propkey_to_col[table]}
    names: list[str] = []
    for attribute in attributes:
        name = attribute if isinstance(attribute, str) else getattr(attribute, "key", None)
        if not isinstance(name, str) or name not in known:
            raise exc.ArgumentError(
                f"{what}: {mapper.class_.__name__} has no column attribute {attribute!r}"
            )
        names.append(name)
    return tuple(names)
