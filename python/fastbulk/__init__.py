"""SQLAlchemy's bulk paths, native.

``fastbulk.insert(session, User, rows)`` does what ``session.execute(insert(User), rows)`` does,
many times as fast: in the session's own transaction, outside the GIL, with the rows that RETURNING
gives back in the order of the input.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import accelerated
from .accelerated import accelerate
from .carriers.pysqlite import install as _install
from .files import scan
from .orm.given import given
from .result import Result, Timing
from .roads import Road
from .verbs import delete, explain, insert, update, upsert

if TYPE_CHECKING:
    from . import aio

    __version__: str

__all__ = [
    "Result",
    "Road",
    "Timing",
    "accelerate",
    "accelerated",
    "aio",
    "delete",
    "explain",
    "given",
    "insert",
    "scan",
    "update",
    "upsert",
]

# Only connections that are opened later get the SQL function.
_install()


def __getattr__(name: str) -> Any:
    """What few ask for: ``aio``, which needs greenlet, and the version, which stands in a file."""
    if name == "aio":
        return import_module(".aio", __name__)
    if name == "__version__":
        return import_module("importlib.metadata").version(__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
