"""Plans of the verbs that find rows by their keys: update, upsert and delete."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import (
    Column,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    and_,
    case,
    exc,
    literal_column,
    null,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import ClauseElement

from .. import _native
from .defaults import default_of, default_on_update, next_version
from .given import keys_given, pieces, split
from .kinds import has_unending_days, kind_of
from .mapping import AnyAdapter, KeyAdapter, adapter_of, cached, is_plain, table_of, tables_of
from .returning import Returning, as_list, compile_returning, is_entity
from .sql import Renderer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import ModuleType

    from sqlalchemy.engine import Dialect
    from sqlalchemy.orm import Mapper


class KeyedRequest(NamedTuple):
    """What a call of update, upsert or delete asks of a mapping."""

    verb: Literal["update", "upsert", "delete"]
    unknown: str = "raise"
    returning: tuple[Any, ...] = ()
    options: tuple[Any, ...] = ()
    #: What the row that is there has to be.
    where: tuple[Any, ...] = ()
    #: Attribute name -> value or expression that every row is set to.
    values: tuple[tuple[str, Any], ...] = ()
    #: What rows give for these expressions that is no attribute: name -> type.
    parameters: tuple[tuple[str, Any], ...] = ()
    #: Attribute names of an upsert's key; empty for the primary key.
    key: tuple[str, ...] = ()
    #: The condition of a partial index, or the index that may have one.
    key_where: Any = None
    #: Attribute names that an upsert stores in rows that are there; None for all given ones.
    update: tuple[str, ...] | None = None
    duplicates: str = "error"
    only_changed: bool = False
    probe_first: bool = False
    schema_translate_map: tuple[tuple[str | None, str | None], ...] = ()
    #: Equal for calls that say the same of every row; None if that can't be told.
    cache_key: Any = None

    @property
    def has_entities(self) -> bool:
        """Whether mapped objects are to come back."""
        return any(map(is_entity, self.returning))

    @property
    def is_plain(self) -> bool:
        """Whether equal requests can be told: expressions have no equality."""
        if self.where or self.values or isinstance(self.key_where, ClauseElement):
            return False
        return is_plain(self.returning) and not self.options

    def told(self) -> tuple[Any, ...]:
        """What is equal where all is that the ``cache_key`` does not stand for."""
        return self.verb, self.unknown, self.schema_translate_map


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
    #: The same for all tables of the class.
    adapt_whole: AnyAdapter
    #: Positions of the columns of which every row has to give a value that is not NULL.
    needed: tuple[int, ...]
    #: Positions of the columns that every row has to give: expressions take them.
    inputs: tuple[int, ...]
    #: Attributes that the call changes in rows that don't give them.
    changed: frozenset[str]
    #: Rows that are there are not to use up generated keys.
    probe_first: bool
    #: What the server changes in the rows is not told, as SQLAlchemy does not.
    quiet: bool
    #: The same for rows that have to meet the call's condition first, where there are several
    #: tables and one of them is the first to be written.
    checking: KeyedPlan | None = None

    def changed_by(self, part: _native.Slice) -> Iterator[str]:
        """Attributes that these rows may change."""
        yield from self.changed
        for position, column in enumerate(self.native.columns):
            if column.role == "value" and part.gives(position):
                yield column.key

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
    return cached(mapper, dialect, request, lambda: _make_plans(mapper, dialect, request, carrier))


def _make_plans(
    mapper: Mapper[Any], dialect: Dialect, request: KeyedRequest, carrier: ModuleType
) -> list[KeyedPlan]:
    tables = tables_of(mapper)
    if request.verb == "delete":
        tables.reverse()
    maker = _Maker(mapper, dialect, request, carrier, single=len(tables) == 1)
    plans = [maker.plan(table) for table in tables]
    if maker.single or not request.where:
        return plans
    return [replace(plan, checking=maker.plan(plan.table, checks=True)) for plan in plans]


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
        self.nulls_are_equal = _nulls_are_equal(mapper, request, dialect)
        expressions = [*request.where, *self.values.values()]
        self.inputs = set().union(*map(keys_given, expressions)) if expressions else set()

    def plan(self, table: Table, *, checks: bool = False) -> KeyedPlan:
        request = self.request
        keys = self.mapper._propkey_to_col[table]
        self.check(keys)
        columns = [self.column(key, column) for key, column in keys.items()]
        if request.verb == "delete":
            columns = [column for column in columns if column.role == "key"]
        columns += self.parameters()
        if checks:
            columns += self.given_elsewhere(keys)
        names = frozenset([*keys, *(column.key for column in columns)])
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
            null=object() if request.unknown == "bulk" else null(),
            expressions=(ClauseElement, InstrumentedAttribute),
            adapt=self.carrier.adapt(self.dialect),
            unending=has_unending_days(self.dialect),
            assignments=self.assignments(keys, positions),
            condition=self.condition(table, positions, checks=checks),
            conflict=self.conflict(table, keys, positions),
        )
        adapter = KeyAdapter if request.verb == "delete" else adapter_of
        adapt = adapter(self.mapper, request.unknown)
        adapt.names |= dict(request.parameters).keys()
        return KeyedPlan(
            self.mapper,
            table,
            native,
            returning,
            self.carrier.example_sql(native),
            adapt if self.single else _Part(adapt, names, self.repeated(keys)),
            adapt,
            tuple(self.needed(table, columns)),
            tuple(sorted(positions[key] for key in self.inputs & positions.keys())),
            frozenset(self.changed(keys)),
            request.probe_first,
            request.unknown == "bulk",
        )

    def repeated(self, keys: Mapping[str, Column[Any]]) -> dict[str, str]:
        """Attributes of the table's key -> attributes of the class's key that they repeat."""
        pairs: list[tuple[Any, Any]] = []
        for mapper in self.mapper.iterate_to_root():
            pairs += mapper._inherits_equated_pairs or ()
        repeated = {}
        for key, column in keys.items():
            root: Any = column
            for parent, child in pairs:
                root = parent if child is root else root
            if column.primary_key and root is not column:
                repeated[key] = self.mapper.get_property_by_column(root).key
        return repeated

    def check(self, keys: Mapping[str, Column[Any]]) -> None:
        """Refuses to set what finds a row."""
        set_to = {*self.values, *(self.request.update or ())}
        for key in keys:
            if key in set_to and self.is_kept(key, keys[key]):
                raise exc.ArgumentError(
                    f"{self.request.verb} can't set {key!r}: "
                    "it is of the key, the primary key or the version id"
                )

    def column(self, key: str, column: Column[Any]) -> _native.Column:
        role = self.role(key, column)
        generated = column is column.table.autoincrement_column
        default: dict[str, Any] = {"omit": True}
        if self.request.verb == "upsert" and self.is_kept(key, column):
            default = default_of(column, self.mapper, self.render)
        drop_none = generated or (role == "key" and not self.nulls_are_equal)
        return self.native(column, key, role, drop_none=drop_none, **default)

    def is_kept(self, key: str, column: Column[Any]) -> bool:
        """Whether rows that are there keep their value (versions are only counted)."""
        is_key = column.primary_key or key in self.request.key
        return is_key or column is self.mapper.version_id_col

    def native(
        self, column: Column[Any], key: str, role: _native.Role, **more: Any
    ) -> _native.Column:
        kind, processor = kind_of(column.type, self.dialect)
        return _native.Column(
            key,
            column.name,
            sql_name=self.render.column(column),
            table_key=column.key,
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
            if verb == "upsert" and not self.is_kept(key, column):
                default = default_of(column, self.mapper, self.render)
                if default not in ({}, {"omit": True}, {"omit": False}):
                    yield self.native(
                        column, "", "default", instead_of=positions[key], drop_none=False, **default
                    )
            if self.is_kept(key, column):
                if verb == "update" and column is self.mapper.version_id_col:
                    yield from self.next_version(column)
            elif key in self.values:
                if not _is_expression(self.values[key]):
                    value = self.values[key]
                    yield self.native(column, "", "update", default=value, drop_none=False)
            elif verb != "delete" and (default := default_on_update(column, self.render)):
                yield self.native(
                    column, "", "update", instead_of=positions[key], drop_none=False, **default
                )

    def next_version(self, column: Column[Any]) -> Iterator[_native.Column]:
        if self.mapper.version_id_generator is not False:
            generate = next_version(self.mapper)
            yield self.native(column, "", "update", default_call=generate, drop_none=False)

    def assignments(
        self, keys: Mapping[str, Column[Any]], positions: Mapping[str, int]
    ) -> list[tuple[str, list[int | str]]]:
        return [
            (self.render.column(keys[key]), pieces(value, self.render, positions))
            for key, value in self.values.items()
            if key in keys and _is_expression(value)
        ]

    def condition(
        self, table: Table, positions: Mapping[str, int], *, checks: bool
    ) -> list[int | str] | None:
        if checks:
            return split(self.whole_condition(table), positions)
        if not self.request.where or not self.single:
            return None
        return pieces(and_(*self.request.where), self.render, positions)

    def whole_condition(self, table: Table) -> str:
        """That the other tables have a row, too, and all together is as the condition has it."""
        others = [other for other in tables_of(self.mapper) if other is not table]
        joined = [mapper.inherit_condition for mapper in self.mapper.iterate_to_root()]
        parts: Any = select(literal_column("1")).select_from(*others).correlate(table)
        parts = parts.where(*(each for each in joined if each is not None), *self.request.where)
        parts = parts.with_for_update(key_share=True)
        # SQLAlchemy knows whose columns are whose only within a query.
        query: Any = select(literal_column("1")).select_from(table)
        begin = self.render.expression(query)
        # MySQL makes a join of a bare EXISTS, and its DELETE takes the rows of both tables.
        is_whole = case((parts.exists(), 1), else_=0) == 1
        whole = self.render.expression(query.where(is_whole))
        return whole.removeprefix(begin).lstrip().removeprefix("WHERE ")

    def given_elsewhere(self, keys: Mapping[str, Column[Any]]) -> Iterator[_native.Column]:
        """What the condition takes of a row that is stored in other tables."""
        for table in tables_of(self.mapper):
            for key, column in self.mapper._propkey_to_col[table].items():
                if key in self.inputs and key not in keys:
                    yield self.native(column, key, "input", drop_none=False, omit=True)

    def parameters(self) -> Iterator[_native.Column]:
        """What expressions take of a row that no column stores."""
        for name, type_ in self.request.parameters:
            yield self.native(Column(name, type_), name, "input", drop_none=False, omit=True)

    def conflict(
        self, table: Table, keys: Mapping[str, Column[Any]], positions: Mapping[str, int]
    ) -> dict[str, Any] | None:
        request = self.request
        if request.verb != "upsert":
            return None
        names = request.key or [key for key, column in keys.items() if column.primary_key]
        target = f"({', '.join(self.render.column(keys[name]) for name in names)})"
        where, key_where = request.key_where, None
        if isinstance(where, Index):
            where = where.dialect_options[self.dialect.name].get("where")
        if where is not None:
            key_where = self.render.expression(where, include_table=False)
            target += f" WHERE {key_where}"
        updates = [
            position
            for key, position in positions.items()
            if key not in names
            and not self.is_kept(key, keys[key])
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

    def needed(self, table: Table, columns: list[_native.Column]) -> Iterator[int]:
        """What finds a row; without a generated key an upserted row is new."""
        if self.nulls_are_equal:
            return
        generated = None if self.request.verb != "upsert" else table.autoincrement_column
        for position, column in enumerate(columns):
            is_generated = generated is not None and generated.name == column.name
            if column.role in {"key", "match"} and not is_generated:
                yield position

    def changed(self, keys: Mapping[str, Column[Any]]) -> Iterator[str]:
        """What is set without being given."""
        for key, column in keys.items():
            versioned = self.request.verb == "update" and column is self.mapper.version_id_col
            if key in self.values or column.onupdate is not None or versioned:
                yield key


def primary_key_of(mapper: Mapper[Any]) -> list[str]:
    """The attributes of the primary key, in the order of its columns."""
    return [mapper.get_property_by_column(column).key for column in mapper.primary_key]


def _is_expression(value: Any) -> bool:
    return isinstance(value, (ClauseElement, InstrumentedAttribute))


class _Part:
    """Takes from each row what one of several tables has, its key if need be from the parent's."""

    def __init__(
        self,
        adapt: Callable[[Any, int], dict[str, Any]],
        names: frozenset[str],
        repeated: Mapping[str, str],
    ) -> None:
        self.adapt, self.names, self.repeated = adapt, names, repeated

    def __call__(self, row: Any, position: int) -> dict[str, Any]:
        adapted = self.adapt(row, position)
        part = {key: value for key, value in adapted.items() if key in self.names}
        for key, parent in self.repeated.items():
            if parent in adapted:
                part.setdefault(key, adapted[parent])
        return part


def unique_key(mapper: Mapper[Any], key: Any) -> tuple[tuple[str, ...], Index | None]:
    """The attributes of a unique key, and the index if it was named.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        It is nothing that the class or its table has.
    """
    if key is None:
        return (), None
    named = {str(c.name): c for c in _unique_keys(table_of(mapper)) if c.name}
    if isinstance(key, str) and key not in mapper.attrs and key in named:
        key = named[key]
    if not isinstance(key, (Index, PrimaryKeyConstraint, UniqueConstraint)):
        return names_of(mapper, as_list(key), "key"), None
    if key not in _unique_keys(table_of(mapper)):
        raise exc.ArgumentError(f"{key!r} is no unique key of {table_of(mapper).name}")
    names = tuple(mapper.get_property_by_column(column).key for column in key.columns)
    return names, key if isinstance(key, Index) else None


def _nulls_are_equal(mapper: Mapper[Any], request: KeyedRequest, dialect: Dialect) -> bool:
    """Whether NULL finds NULL in the key of an upsert (PostgreSQL's NULLS NOT DISTINCT)."""
    if request.verb != "upsert" or dialect.name != "postgresql" or not request.key:
        return False
    columns = {mapper.attrs[name].columns[0] for name in request.key}
    return any(
        set(key.columns) == columns and key.dialect_options["postgresql"]["nulls_not_distinct"]
        for key in _unique_keys(table_of(mapper))
        if not isinstance(key, PrimaryKeyConstraint)
    )


def _unique_keys(table: Table) -> list[PrimaryKeyConstraint | UniqueConstraint | Index]:
    """Those over columns alone."""
    constraints = [
        c for c in table.constraints if isinstance(c, (PrimaryKeyConstraint, UniqueConstraint))
    ]
    indexes = [i for i in table.indexes if i.unique and len(i.columns) == len(i.expressions)]
    return [*constraints, *indexes]


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
