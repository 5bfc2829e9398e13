"""How far a call is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

#: Called with (rows done, rows in all or None where that isn't known).
Report: TypeAlias = Callable[[int, "int | None"], object]


def reporting(
    progress: Report | bool | None, total: int | None, title: str
) -> AbstractContextManager[Report | None]:
    """What to call after each slice, if anything.

    Parameters
    ----------
    progress
        A callable, True for a bar on standard error, or None.
    total
        How many rows there are, if that is known.
    title
        What stands before the bar.

    Raises
    ------
    ImportError
        A bar is wanted and tqdm is not installed (``pip install fastbulk[progress]``).
    """
    if progress is None or progress is False:
        return nullcontext()
    if callable(progress):
        report = progress
        return nullcontext(lambda done, _: report(done, total))
    return _bar(total, title)


@contextmanager
def _bar(total: int | None, title: str) -> Iterator[Report]:
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=title, unit=" rows", unit_scale=True) as bar:
        yield lambda done, _: bar.update(done - bar.n)
