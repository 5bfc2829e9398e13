"""The bar chart beside the tables: rows per second of each contender, one panel per case."""

from __future__ import annotations

from math import ceil
from statistics import median
from typing import TYPE_CHECKING

import matplotlib as mpl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness import Case, Times
    from matplotlib.axes import Axes

COLORS = {"fastbulk": "#d9480f", "limit": "#868e96"}
OTHERS = "#4c6ef5"


def draw(measured: Mapping[Case, Times], path: Path) -> None:
    """Write a PNG."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = min(2, len(measured))
    rows = ceil(len(measured) / columns)
    bars = max(map(len, measured.values()))
    size = (7.5 * columns, (0.24 * bars + 0.6) * rows)
    figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for panel, (case, times) in zip(panels.flat, measured.items(), strict=False):
        draw_case(panel, case, times)
    for panel in panels.flat[len(measured) :]:
        panel.set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_case(panel: Axes, case: Case, times: Times) -> None:
    """Draw one case, the first contender on top."""
    speeds = {name: case.rows / median(seconds) for name, seconds in times.items()}
    bars = panel.barh(list(speeds), list(speeds.values()), color=[color(name) for name in speeds])
    panel.bar_label(bars, [f"{speed:,.0f}" for speed in speeds.values()], padding=3, fontsize=8)
    panel.set_title(f"{case}: rows per second", loc="left", fontsize=10)
    panel.set_xmargin(0.12)
    panel.set_xticks([])
    panel.tick_params(axis="y", labelsize=8)
    panel.invert_yaxis()
    panel.spines[["top", "right", "bottom"]].set_visible(False)


def color(name: str) -> str:
    return next((color for prefix, color in COLORS.items() if name.startswith(prefix)), OTHERS)
