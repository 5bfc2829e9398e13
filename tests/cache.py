"""What the tests download, in folders that stay: `~/.cache/fastbulk`, or `$FASTBULK_CACHE`."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def folder(name: str, fill: Callable[[Path], Path]) -> Path:
    """The folder of this name; the first who asks fills it, others wait meanwhile.

    Args:
        name: remove the folder to have it filled anew.
        fill: takes an empty folder, and returns the one, in it or itself, to keep.
    """
    cache = Path(os.environ.get("FASTBULK_CACHE") or "~/.cache/fastbulk").expanduser().absolute()
    home = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            work = cache / f"{name}.partial"
            # A run that was killed left it.
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            # Renamed when it is complete: the cache is never half full.
            fill(work).rename(home)
            shutil.rmtree(work, ignore_errors=True)
    return home
