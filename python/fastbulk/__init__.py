"""SQLAlchemy's bulk paths, native.

``fastbulk.insert(session, User, rows)`` does what ``session.execute(insert(User), rows)`` does,
many times as fast: in the session's own transaction, outside the GIL, with the rows that RETURNING
gives back in the order of the input.
"""

from importlib.metadata import version

from . import aio
from .carriers.pysqlite import install as _install
from .files import scan
from .orm.given import given
from .result import Result, Timing
from .roads import Road
from .verbs import delete, explain, insert, update, upsert

__version__ = version("fastbulk")
__all__ = [
    "Result",
    "Road",
    "Timing",
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
