"""A mapped class, read once: the plan of its inserts and the meaning of its keys."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Row, Table, exc, inspect, null
from sqlalchemy.orm import InstrumentedAttribute, Mapper
from sqlalchemy.orm.interfaces import PropComparator
from sqlalchemy.sql import ClauseElement

from .. import _native
from .defaults import default_of
from .kinds import has_unending_days, kind_of
from .returning import Returning, compile_returning, is_entity
from .sql import Renderer
from .statement import Expression, fixed_values, tail_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    from sqlalchemy import Column
    from sqlalchemy.engine import Dialect
    from sqlalchemy.orm import InstanceState


_Made = TypeVar("_Made")

#: Changes a row in place.
Setter: TypeAlias = "Callable[[dict[str, Any]], Any]"


@dataclass(frozen=True)
class Request:
    """What a call asks of a mapping; equal requests share a plan."""

    render_nulls: bool = False
    #: ``"raise"``, ``"ignore"``, or ``"bulk"``: keys and values mean to the letter what they mean
    #: to SQLAlchemy.
    unknown: str = "raise"
    returning: tuple[Any, ...] = ()
    options: tuple[Any, ...] = ()
    #: Values go to the driver as Python objects, prepared by SQLAlchemy's processors.
    as_objects: bool = False
    schema_translate_map: tuple[tuple[str | None, str | None], ...] = ()
    #: An ``Insert`` of SQLAlchemy's that says more of every row.
    statement: Any = None
    #: Equal for statements that return and say the same; None if that can't be told.
    cache_key: Any = None

    @property
    def has_entities(self) -> bool:
        """Whether mapped objects are to come back."""
        return any(map(is_entity, self.returning))

    @property
    def is_plain(self) -> bool:
        """Whether equal requests can be told: expressions have no equality."""
        return is_plain(self.returning) and not self.options and self.statement is None

    def told(self) -> tuple[Any, ...]:
        """What is equal where all is that the ``cache_key`` does not stand for."""
        return self.render_nulls, self.unknown, self.as_objects, self.schema_translate_map


@dataclass(frozen=True)
class InsertPlan:
    """A table as an insert sees it."""

    table: Table
    native: _native.Plan
    returning: Returning | None
    #: The statement for one row that gives all columns.
    sql: str
    #: ``adapt(row, position)``: a row of any accepted form as a dict of plain attribute names.
    adapt: Callable[[Any, int], dict[str, Any]]
    #: Not empty once the table was seen to have something that may drop rows.
    may_lose_rows: list[bool] = dataclasses.field(default_factory=list)
    #: What the server changes in the rows is not told, as SQLAlchemy does not.
    quiet: bool = False

    def tell(self, facts: dict[str, str]) -> None:
        """Adds to ``facts`` what of this plan may close a road."""
        if self.returning is not None:
            facts["returning"] = "executemany returns no rows"
        if self.native.has_expressions:
            facts["expression defaults"] = "a column's default is a SQL expression"

    def attribute_of(self, column_name: str) -> str | None:
        """The attribute to which that database column is mapped."""
        return next((c.key for c in self.native.columns if c.name == column_name and c.key), None)


#: Where the class keeps its plans: they refer to it, so they have to end with it.
_INFO = "fastbulk"

#: More plans of one class are not kept: some programs translate schemas for thousands of tenants.
_MANY = 100


def mapper_of(model: Any) -> Mapper[Any]:
    """The mapper of a mapped class.

    Raises
    ------
    sqlalchemy.exc.ArgumentError
        It is no mapped class, or mapped to something that takes no rows.
    """
    mapper = inspect(model, raiseerr=False)
    if not isinstance(mapper, Mapper):
        raise exc.ArgumentError(f"a mapped class is expected, got {model!r}")
    if not isinstance(mapper.local_table, Table):
        kind = type(mapper.local_table).__name__.lower()
        raise exc.ArgumentError(f"{mapper.class_.__name__} is mapped to a {kind}, not to a table")
    return mapper


def table_of(mapper: Mapper[Any]) -> Table:
    """The table of a class that :func:`mapper_of` has let pass."""
    table = mapper.local_table
    assert isinstance(table, Table)
    return table


def tables_of(mapper: Mapper[Any]) -> list[Table]:
    """The tables that an insert of this class writes, parents first."""
    return [table for table in mapper.base_mapper._sorted_tables if table in mapper._pks_by_table]


def why_not_native(mapper: Mapper[Any], facts: dict[str, str]) -> None:
    """Adds to ``facts`` why no plan can be made for this mapper, if so."""
    tables = tables_of(mapper)
    if len(tables) != 1:
        names = ", ".join(table.description for table in tables)
        facts["several tables"] = f"{mapper.class_.__name__} is mapped to several tables ({names})"


def insert_plan(
    mapper: Mapper[Any],
    dialect: Dialect,
    request: Request,
    carrier: ModuleType,
) -> InsertPlan:
    """The plan of an insert, from the cache where the same was asked before.

    Raises
    ------
    sqlalchemy.exc.CompileError
        A default or a type can't be rendered into the statement.
    sqlalchemy.exc.ArgumentError
        An entry of ``returning`` is nothing that can be returned.
    """
    return cached(mapper, dialect, request, lambda: _make_plan(mapper, dialect, request, carrier))


def is_plain(returning: Iterable[Any]) -> bool:
    """Whether all that is to come back are classes and their attributes."""
    return all(isinstance(each, (type, InstrumentedAttribute)) for each in returning)


def cached(mapper: Mapper[Any], dialect: Dialect, request: Any, make: Callable[[], _Made]) -> _Made:
    """What was made for an equal request before, or ``make()``."""
    if not request.is_plain:
        if request.cache_key is None:
            return make()
        request = request.cache_key, request.told()
    by_dialect: WeakKeyDictionary[Dialect, dict[Any, Any]] | None
    if (by_dialect := mapper.class_manager.info.get(_INFO)) is None:
        by_dialect = mapper.class_manager.info.setdefault(_INFO, WeakKeyDictionary())
    if (plans := by_dialect.get(dialect)) is None:
        plans = by_dialect.setdefault(dialect, {})
    # Properties may be added to a mapper at any time.
    key = (request, len(mapper._columntoproperty))
    if (plan := plans.get(key)) is None:
        if len(plans) >= _MANY:
            plans.clear()
        plan = plans[key] = make()
    made: _Made = plan
    return made


def _make_plan(
    mapper: Mapper[Any],
    dialect: Dialect,
    request: Request,
    carrier: ModuleType,
) -> InsertPlan:
    (table,) = tables_of(mapper)
    render = Renderer(dialect, dict(request.schema_translate_map), request.as_objects)
    keys = {column: key for key, column in mapper._propkey_to_col[table].items()}
    fixed, tail = {}, ""
    if request.statement is not None:
        fixed = fixed_values(request.statement, mapper, table, render)
        tail = tail_of(request.statement, table, render)
    columns = [
        _column(column, keys.get(column, ""), mapper, request, render, fixed)
        for column in table.columns
    ]
    returning, sentinel, returns_key_only = None, None, False
    returned: tuple[str, ...] = ()
    if request.returning:
        returning = compile_returning(mapper, request.returning, request.options, render)
        returned = returning.sql
        if not tail:  # the keys of rows that were there are in no order
            sentinel, returned = _sentinel(table, returning, render)
        returns_key_only = sentinel is not None and sentinel[1] == 0 and len(returning.names) == 1
    bulk = request.unknown == "bulk"
    native = _native.Plan(
        schema=render.schema(table),
        table=table.name,
        sql_table=render.table(table),
        columns=columns,
        returning=returned,
        sentinel=sentinel,
        returns_key_only=returns_key_only,
        one_by_one=bool(tail) and request.statement._sort_by_parameter_order,
        # SQLAlchemy's bulk calls know no SQL expression in a row, not even NULL.
        null=object() if bulk else null(),
        expressions=(ClauseElement, InstrumentedAttribute),
        adapt=carrier.adapt(dialect),
        unending=has_unending_days(dialect),
        tail=tail,
    )
    adapt = adapter_of(mapper, request.unknown)
    return InsertPlan(table, native, returning, carrier.example_sql(native), adapt, quiet=bulk)


def _column(
    column: Column[Any],
    key: str,
    mapper: Mapper[Any],
    request: Request,
    render: Renderer,
    fixed: Mapping[Column[Any], dict[str, Any]],
) -> _native.Column:
    kind, processor = kind_of(column.type, render.dialect)
    default = fixed.get(column)
    if isinstance(default, Expression):
        key = ""
    if default is None:
        default = default_of(column, mapper, render)
    return _native.Column(
        key,
        column.name,
        sql_name=render.column(column),
        table_key=column.key,
        kind="object" if request.as_objects else kind,
        processor=processor,
        drop_none=not (request.render_nulls or column.type.should_evaluate_none),
        placeholder=render.placeholder(column),
        **default,
    )


def _sentinel(
    table: Table, returning: Returning, render: Renderer
) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    """Where the generated key stands, and the returned columns with it."""
    key = table.autoincrement_column
    if key is None:
        return None, returning.sql
    position = list(table.columns).index(key)
    if key in returning.columns:
        return (position, returning.columns[key]), returning.sql
    return (position, len(returning.keys)), (*returning.sql, render.column(key))


class Adapter:
    """Turns rows that are no dicts of plain attribute names into such dicts."""

    def __init__(self, mapper: Mapper[Any], unknown: str) -> None:
        """An adapter for rows of that mapper; ``unknown`` is ``"raise"`` or ``"ignore"``."""
        self.mapper = mapper
        self.names = _column_attributes(mapper)
        self.setters: dict[str, Setter] = {}
        if unknown not in {"raise", "ignore"}:
            raise exc.ArgumentError(f"unknown is 'raise' or 'ignore', got {unknown!r}")
        self.ignore = unknown == "ignore"

    def __call__(self, row: Any, position: int) -> dict[str, Any]:
        """The row, which is the input's at that position, as a dict of plain attribute names.

        Raises
        ------
        sqlalchemy.exc.ArgumentError
            It is no row, or has a key that means nothing.
        """
        if isinstance(row, MappingABC):
            return self.mapping(row, position)
        if isinstance(row, self.mapper.class_) or _is_mapped(row):
            return self.mapped_object(row, position)
        if dataclasses.is_dataclass(row) and not isinstance(row, type):
            fields = {field.name for field in dataclasses.fields(row)}
            return {name: getattr(row, name) for name in self.names & fields}
        attributes = getattr(row, "__dict__", None)
        if attributes is not None and not isinstance(row, type) and self.names & set(attributes):
            return {name: attributes[name] for name in self.names & set(attributes)}
        raise exc.ArgumentError(
            f"row {position} is {_a(row)}; a mapping of attribute names to values, "
            f"a dataclass or an object of {self.mapper.class_.__name__} is expected"
        )

    def mapping(self, row: MappingABC[Any, Any], position: int) -> dict[str, Any]:
        """A mapping whose keys are attributes or their names."""
        given: dict[str, Any] = {}
        derived: list[tuple[str, Any]] = []
        for key, value in row.items():
            name = self.resolve(key, position)
            if name in self.names:
                given[name] = value
            elif name is not None:
                derived.append((name, value))
        for name, value in derived:
            given[name] = value
            self.setters[name](given)
            given.pop(name, None)
        return given

    def resolve(self, key: Any, position: int) -> str | None:
        """The attribute that a key stands for: one of ``names``, or one with a setter."""
        name = key
        if isinstance(key, InstrumentedAttribute) and any(
            key.parent is mapper for mapper in self.mapper.iterate_to_root()
        ):
            name = key.key
        if not isinstance(name, str):
            self.unknown(key, position)
            return None
        name = str.__str__(name)  # native code knows exact strings only
        if name in self.names:
            return name
        if name in self.mapper.synonyms:
            return self.resolve(self.mapper.synonyms[name].name, position)
        if name in self.mapper.relationships and not self.ignore:
            raise exc.ArgumentError(
                f"row {position}: {name!r} is a relationship, and a bulk insert saves none; "
                "give the foreign key's attribute instead"
            )
        if name not in self.setters and (setter := _setter(self.mapper, name)) is not None:
            self.setters[name] = setter
        if name in self.setters:
            return name
        self.unknown(key, position)
        return None

    def unknown(self, key: Any, position: int) -> None:
        """Refuses a key, unless such keys are to be ignored."""
        if self.ignore:
            return
        near = difflib.get_close_matches(str(key), self.names, n=3)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise exc.ArgumentError(
            f"row {position}: {self.mapper.class_.__name__} has no column attribute {key!r}{hint}"
        )

    def mapped_object(self, row: Any, position: int) -> dict[str, Any]:
        """An object of the class."""
        state = inspect(row)
        if state.session is not None:
            raise exc.ArgumentError(
                f"row {position} is an object that belongs to a Session already: "
                "its flush would insert it a second time"
            )
        if not isinstance(row, self.mapper.class_):
            raise exc.ArgumentError(
                f"row {position} is {_a(row)}, not a {self.mapper.class_.__name__}"
            )
        attributes = state.dict
        if state.mapper is not self.mapper:
            self.check_subclass(state, position)
        for relationship in self.mapper.relationships:
            if attributes.get(relationship.key):
                raise exc.ArgumentError(
                    f"row {position}: {relationship.key!r} is a relationship, and a bulk insert "
                    "saves none; give the foreign key's attribute instead"
                )
        return {name: attributes[name] for name in self.names if name in attributes}

    def check_subclass(self, state: InstanceState[Any], position: int) -> None:
        """Refuses an object with a value in a column that only its subclass maps."""
        for name in _column_attributes(state.mapper) - self.names:
            if state.dict.get(name) is not None:
                raise exc.ArgumentError(
                    f"row {position}: {self.mapper.class_.__name__} has no column attribute "
                    f"{name!r}; insert objects of {state.class_.__name__} by their own class"
                )


class BulkAdapter:
    """Takes rows as SQLAlchemy's bulk calls do: what is no column attribute says nothing."""

    def __init__(self, mapper: Mapper[Any]) -> None:
        """An adapter for rows of that mapper."""
        self.names = _column_attributes(mapper)
        self.setters = _bulk_setters(mapper)

    def __call__(self, row: Any, position: int) -> dict[str, Any]:
        """The row as a dict of plain attribute names.

        Raises
        ------
        ValueError, TypeError
            It is no mapping.
        """
        given = dict(row)
        for key in self.setters.keys() & given.keys():
            self.setters[key](given)
        return {name: given[name] for name in self.names if name in given}


AnyAdapter: TypeAlias = "Adapter | BulkAdapter"


def adapter_of(mapper: Mapper[Any], unknown: str) -> AnyAdapter:
    """What reads rows of that mapper; ``unknown`` is as a ``Request`` has it."""
    return BulkAdapter(mapper) if unknown == "bulk" else Adapter(mapper, unknown)


class KeyAdapter(Adapter):
    """Turns keys of any form into dicts of the primary key's attributes."""

    def __init__(self, mapper: Mapper[Any], unknown: str) -> None:
        """An adapter for keys of that mapper."""
        super().__init__(mapper, unknown)
        self.key = [mapper.get_property_by_column(column).key for column in mapper.primary_key]

    def __call__(self, row: Any, position: int) -> dict[str, Any]:
        """A mapping or an object with the key's attributes, a tuple of its values, or its value.

        Raises
        ------
        sqlalchemy.exc.ArgumentError
            It is no key.
        """
        if isinstance(row, MappingABC):
            adapted = self.mapping(row, position)
            return {name: adapted[name] for name in self.key if name in adapted}
        if isinstance(row, (tuple, list, Row)):
            if len(row) != len(self.key):
                raise exc.ArgumentError(
                    f"row {position} has {len(row)} values, and the primary key "
                    f"{len(self.key)} columns ({', '.join(self.key)})"
                )
            return dict(zip(self.key, row, strict=True))
        if isinstance(row, self.mapper.class_) or _is_mapped(row):
            return {name: getattr(row, name) for name in self.key}
        if dataclasses.is_dataclass(row) and not isinstance(row, type):
            return {name: getattr(row, name) for name in self.key}
        if len(self.key) == 1:
            return {self.key[0]: row}
        raise exc.ArgumentError(
            f"row {position} is {_a(row)}; a tuple of ({', '.join(self.key)}), a mapping or an "
            f"object of {self.mapper.class_.__name__} is expected"
        )


def _column_attributes(mapper: Mapper[Any]) -> frozenset[str]:
    return frozenset(
        name for table in mapper._pks_by_table for name in mapper._propkey_to_col[table]
    )


def _bulk_setters(mapper: Mapper[Any]) -> dict[str, Setter]:
    """By attribute: what SQLAlchemy itself runs on rows that give a composite or a hybrid."""
    if not hasattr(PropComparator, "_bulk_dml_setter"):  # SQLAlchemy 2.0 knows composites only
        return {
            name: composite._populate_composite_bulk_save_mappings_fn()
            for name, composite in mapper.composites.items()
        }
    setters: dict[str, Setter] = {}
    for name in mapper.all_orm_descriptors.keys():  # noqa: SIM118
        attribute = getattr(mapper.class_, name, None)
        if isinstance(attribute, PropComparator):
            setter = attribute._bulk_dml_setter(name)
            if setter is not None:
                setters[name] = setter
    return setters


def _is_mapped(row: Any) -> bool:
    return not isinstance(row, type) and hasattr(row, "_sa_instance_state")


def _setter(mapper: Mapper[Any], name: str) -> Setter | None:
    """What writes a composite's or a hybrid's value into a row of plain attributes."""
    if name in mapper.composites:
        composite = mapper.composites[name]
        write: Setter = composite._populate_composite_bulk_save_mappings_fn()
        nothing = {part.key: None for part in composite.props}
        return lambda row: write(row) if row[name] is not None else row.update(nothing)
    hybrid = mapper.all_orm_descriptors.get(name)
    if getattr(hybrid, "bulk_dml_setter", None) is None:  # SQLAlchemy 2.0 has none
        return None
    setter: Setter = getattr(mapper.class_, name)._bulk_dml_setter(name)
    return setter


def _a(row: Any) -> str:
    return f"of type {type(row).__qualname__}"
