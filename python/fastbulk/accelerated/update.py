"""``session.execute(update(Model), rows)`` and the legacy methods that update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc
from sqlalchemy.engine.result import null_result

from ..keyed import KeyedCall
from ..orm.keyed import KeyedRequest
from ..orm.mapping import tables_of
from ..orm.statement import cache_key_of, said_of_rows
from ..targets import Held
from .refusal import FallThrough, fails_alike
from .statement import why_more
from .watched import why_never, why_watched

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Mapper, Session


@dataclass(frozen=True)
class Update:
    """The arguments of SQLAlchemy's own ``_bulk_update``, and whose call it is."""

    mapper: Mapper[Any]
    mappings: list[Any]
    session: Session
    connection: Connection
    isstates: bool
    update_changed_only: bool
    use_orm_update_stmt: Any = None
    enable_check_rowcount: bool = True

    @property
    def kind(self) -> str:
        """What the program called."""
        if self.use_orm_update_stmt is None:
            return "bulk_save_objects" if self.isstates else "bulk_update_mappings"
        return "update"

    def run(self) -> Any:
        """Updates the rows; gives what SQLAlchemy's function would.

        Raises
        ------
        FallThrough
            SQLAlchemy has to do it; nothing was changed.
        """
        self._check()
        request = self._request()
        held = Held.of(self.connection, self.session)
        try:
            call = KeyedCall.prepare(held, self.mapper, request, {})
        except (NotImplementedError, exc.CompileError, exc.ArgumentError) as error:
            raise FallThrough("no plan", str(error)) from error
        if call.road.name != "native":
            raise FallThrough("no native road")
        with fails_alike(self.connection, call.plans[0]):
            call.send(self._rows())
        return None if self.use_orm_update_stmt is None else null_result()

    def _check(self) -> None:
        if why := why_never(self.connection) or why_watched(self.connection):
            raise FallThrough(why)
        versioned = self.mapper.version_id_col is not None
        if versioned and (
            self.mapper._version_id_has_server_side_value
            or not self.enable_check_rowcount
            or not self.connection.dialect.supports_sane_rowcount
        ):
            raise FallThrough("version id")
        statement = self.use_orm_update_stmt
        if statement is None:
            return
        if why := why_more(statement, allowed=("_values", "_where_criteria")):
            raise FallThrough(why)
        if statement._returning:
            raise FallThrough("returning of an update")

    def _request(self) -> KeyedRequest:
        statement = self.use_orm_update_stmt
        if statement is None or not (statement._values or statement._where_criteria):
            return KeyedRequest("update", "bulk")
        row = self.mappings[0].keys()
        try:
            said = said_of_rows(statement, self.mapper, row)
        except exc.CompileError as error:
            raise FallThrough("an expression of an update", str(error)) from error
        if said.values:
            self._check_values(said.values)
        key = cache_key_of(statement)
        return KeyedRequest(
            "update",
            "bulk",
            where=said.where,
            values=tuple(said.values.items()),
            parameters=tuple(said.parameters.items()),
            cache_key=key and (key, *said.parameters),
        )

    def _check_values(self, values: dict[str, Any]) -> None:
        # SQLAlchemy then updates all tables in any case.
        for table in tables_of(self.mapper):
            keys = self.mapper._propkey_to_col[table].keys() - self.mapper._primary_key_propkeys
            is_set = not keys.isdisjoint(values)
            if not (is_set or all(not keys.isdisjoint(row) for row in self.mappings)):
                raise FallThrough("values()", f"no value for {table.description}")
        if any(not values.keys().isdisjoint(row) for row in self.mappings):
            raise FallThrough("values()", "of what a row gives, too")

    def _rows(self) -> list[Any]:
        if not self.isstates:
            return self.mappings
        if not self.update_changed_only:
            return [state.dict for state in self.mappings]
        keys = self.mapper._primary_key_propkeys
        if self.mapper._version_id_prop is not None:
            keys = keys | {self.mapper._version_id_prop.key}
        return [
            {k: v for k, v in state.dict.items() if k in state.committed_state or k in keys}
            for state in self.mappings
        ]
