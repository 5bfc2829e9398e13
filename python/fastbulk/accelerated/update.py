"""``session.execute(update(Model), rows)`` and the legacy methods that update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc
from sqlalchemy.engine.result import null_result

from ..keyed import KeyedCall
from ..orm.keyed import KeyedRequest
from ..orm.mapping import tables_of
from ..orm.statement import set_values
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
        values = self._values()
        request = KeyedRequest("update", "bulk", values=tuple(values.items()))
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
        if self.mapper.version_id_col is not None:
            raise FallThrough("version id")
        statement = self.use_orm_update_stmt
        if statement is None:
            return
        if why := why_more(statement, allowed=("_values",)):
            raise FallThrough(why)
        if statement._returning:
            raise FallThrough("returning of an update")

    def _values(self) -> dict[str, Any]:
        """What every row is set to, by attribute."""
        statement = self.use_orm_update_stmt
        if statement is None or not statement._values:
            return {}
        try:
            values = set_values(statement, self.mapper)
        except exc.CompileError as error:
            raise FallThrough("values()", str(error)) from error
        # SQLAlchemy then updates all tables in any case.
        for table in tables_of(self.mapper):
            keys = self.mapper._propkey_to_col[table].keys() - self.mapper._primary_key_propkeys
            is_set = not keys.isdisjoint(values)
            if not (is_set or all(not keys.isdisjoint(row) for row in self.mappings)):
                raise FallThrough("values()", f"no value for {table.description}")
        if any(not values.keys().isdisjoint(row) for row in self.mappings):
            raise FallThrough("values()", "of what a row gives, too")
        return values

    def _rows(self) -> list[Any]:
        if not self.isstates:
            return self.mappings
        if not self.update_changed_only:
            return [state.dict for state in self.mappings]
        keys = self.mapper._primary_key_propkeys
        return [
            {k: v for k, v in state.dict.items() if k in state.committed_state or k in keys}
            for state in self.mappings
        ]
