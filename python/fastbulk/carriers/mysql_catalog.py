"""What MySQL or MariaDB says of a table: its columns' types, its unique keys.

A table of VALUES has types of its own, so what is compared with a column is made one of the
column's type. Where the literals are not of the sort that the column stores, only a statement of
its own means what SQLAlchemy's would.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from .mysql_errors import NAME, engine_of, shown

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect

#: SQL around the given value (0) and the one that is there (1).
Template: TypeAlias = "tuple[int | str, ...]"

_COLUMN = re.compile(
    rf"^\s+{NAME} (\w+)(\((?:[^()']|'(?:[^']|'')*')*\))?"
    r"(?: unsigned)?(?: zerofill)?(?: CHARACTER SET (\w+))?(?: COLLATE (\w+))?",
    re.M,
)
_KEY = re.compile(rf"^\s+(?:(PRIMARY) KEY|UNIQUE KEY {NAME}) \((.*)\)", re.M)
_PART = re.compile(rf"{NAME}(?: (?:ASC|DESC))?(,|$)")

#: The next generated key, which every row changes.
_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")

#: Tables with an integer primary key, by the Engine's dialect, their names and keys.
_known: WeakKeyDictionary[Dialect, dict[tuple[str, frozenset[str]], Catalog]] = WeakKeyDictionary()

#: Tables of an Engine that are known; a schema of each of many customers would be many.
_KNOWN = 1000

_BARE: Template = (0,)
_BARE_DIFFERS: Template = ("NOT (", 1, " <=> ", 0, ")")

#: What the column makes of a value that is as it is.
AS_IT_IS = (_BARE, _BARE_DIFFERS)


@dataclass(frozen=True)
class ColumnType:
    """The type of a column."""

    name: str
    #: What stands in parentheses behind it.
    detail: str
    charset: str | None
    collation: str | None

    def templates(self, literal: str | None) -> tuple[Template, Template] | None:
        """How a given value of that literal form is made one of the column's type, and compared.

        None where a table of VALUES would not carry it as a literal of its own.
        """
        if literal == "null":
            return ("NULL",), (1, " IS NOT NULL")
        if literal is None or self.name not in _STORES[literal]:
            return None
        match self.name:
            case "date":
                return self._cast("DATE", "DATE")
            case "datetime" | "timestamp":
                return self._cast("DATETIME(6)", f"DATETIME{self.detail}")
            case "time":
                return self._cast("TIME(6)", f"TIME{self.detail}")
            case "decimal":
                return _BARE, _differs(f"DECIMAL{self.detail}")
            case "float":
                return _BARE, _differs("FLOAT")
            case "json":
                return self._json()
            case "uuid" | "inet4" | "inet6":
                return self._cast(self.name, self.name)
            case "enum" | "set":
                return self._text(), ("NOT (", 1, " <=> ", *self._text(), ")")
        if self.charset is not None or self.collation is not None or self.name in _TEXTS:
            return self._text(), self._text_differs()
        return _BARE, _BARE_DIFFERS

    def _cast(self, compared: str, stored: str) -> tuple[Template, Template]:
        return ("CAST(", 0, f" AS {compared})"), _differs(stored)

    def _json(self) -> tuple[Template, Template]:
        given: Template = ("CAST(", 0, " AS JSON)")
        return given, ("NOT (CAST(", 1, " AS CHAR) <=> CAST(", *given, " AS CHAR))")

    def _text(self) -> Template:
        collate = "" if self.collation is None else f" COLLATE {self.collation}"
        return ("CONVERT(", 0, f" USING {self.charset}){collate}")

    def _text_differs(self) -> Template:
        """Letter by letter: what the collation holds for equal may be another text."""
        given = self._text()
        if self.name == "char":  # it is read without spaces at its end
            given = ("TRIM(TRAILING ' ' FROM ", *given, ")")
        return ("NOT (CAST(", 1, " AS BINARY) <=> CAST(", *given, " AS BINARY))")


def _differs(stored: str) -> Template:
    return ("NOT (", 1, " <=> CAST(", 0, f" AS {stored}))")


_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}
#: The types that order integers as integers.
_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}

#: Which columns store literals of a form as they are.
_STORES = {
    "int": {*_INTEGERS, "year", "bit", "decimal", "float", "double"},
    "decimal": {"decimal", "float", "double"},
    "float": {"decimal", "float", "double"},
    "text": {*_TEXTS, "json", "uuid", "inet4", "inet6"},
    "bytes": _BYTES,
    "date": {"date", "datetime", "timestamp"},
    "time": {"time"},
    "timestamp": {"datetime", "timestamp"},
}


@dataclass(frozen=True, eq=False)
class Catalog:
    """What the server says of a table; nothing of a view."""

    #: By their names in lower case: a name's case means nothing.
    columns: dict[str, ColumnType] = field(default_factory=dict)
    #: Index name -> its whole columns; None for one of expressions or beginnings of columns.
    unique: dict[str, frozenset[str] | None] = field(default_factory=dict)
    #: The storage engine.
    engine: str | None = None

    @classmethod
    def read(cls, connection: Connection, sql_table: str) -> Catalog:
        """Asks the server."""
        definition = shown(connection, sql_table)
        return cls() if definition is None else cls.parsed(_COUNTER.sub("", definition))

    @classmethod
    def known(cls, connection: Connection, sql_table: str, key: frozenset[str]) -> Catalog:
        """What it said when it was last asked, if the key was an integer primary key then."""
        known = _known.setdefault(connection.dialect, {})
        catalog = known.get((sql_table, key))
        if catalog is None:
            catalog = cls.read(connection, sql_table)
            if catalog.index(key) == "PRIMARY" and catalog.has_integers(key):
                if len(known) >= _KNOWN:
                    known.clear()
                known[sql_table, key] = catalog
        return catalog

    def has_integers(self, names: frozenset[str]) -> bool:
        """Whether these columns are compared as integers."""
        types = (self.columns.get(name.lower()) for name in names)
        return all(type_ is not None and type_.name in _INTEGERS for type_ in types)

    @classmethod
    @lru_cache(maxsize=100)
    def parsed(cls, shown: str) -> Catalog:
        """The same of a CREATE TABLE statement."""
        options = re.search(r"^\).*?CHARSET=(\w+)(?: COLLATE=(\w+))?", shown, re.M)
        charset, collation = options.groups() if options else (None, None)
        columns = {}
        for one, other, type_, detail, own_charset, own_collation in _COLUMN.findall(shown):
            is_text = type_ in _TEXTS
            columns[_unquoted(one, other).lower()] = ColumnType(
                type_,
                detail,
                own_charset or (charset if is_text else None),
                own_collation or (collation if is_text and not own_charset else None),
            )
        unique: dict[str, frozenset[str] | None] = {}
        for primary, one, other, parts in _KEY.findall(shown):
            found = list(_PART.finditer(parts))
            whole = "".join(part[0] for part in found) == parts
            names = frozenset(_unquoted(part[1], part[2]) for part in found)
            unique[primary or _unquoted(one, other)] = names if whole else None
        return cls(columns, unique, engine_of(shown))

    def index(self, names: frozenset[str]) -> str | None:
        """The name of the unique index of these columns."""
        lower = frozenset(name.lower() for name in names)
        return next(
            (
                index
                for index, columns in self.unique.items()
                if columns is not None and frozenset(c.lower() for c in columns) == lower
            ),
            None,
        )


def _unquoted(one: str, other: str) -> str:
    return one.replace("``", "`") if one else other.replace('""', '"')
