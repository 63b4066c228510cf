"""Methods by mean rank: the critical-difference diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polymodal.plots.canvas import COLOURS
from polymodal.ranking import ALPHA, cliques, critical_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def critical_difference_diagram(table: pd.DataFrame, ax: Axes, *, alpha: float = ALPHA) -> Axes:
    """Mean ranks on a line, the best at the left; methods under one bar cannot be told apart (Demsar 2006).

    Args:
        table: columns ``method``, ``mean_rank`` and ``n_blocks``, a line a method, two methods at least.
        ax: where to draw; about 0.35 inches high a method of one side, and half as many on each side.
        alpha: of Nemenyi's test.
    """
    ordered = table.sort_values("mean_rank", kind="stable")
    values, names = ordered["mean_rank"].to_numpy(), ordered["method"].tolist()
    n_methods, n_blocks = len(ordered), int(ordered["n_blocks"].iloc[0])
    difference = critical_difference(n_methods, n_blocks, alpha)
    groups = cliques(values, difference)
    lowest, highest = 1.0, float(n_methods)
    for i, (first, last) in enumerate(groups):
        height = -0.35 * (i + 1)
        ax.plot(values[[first, last]] + [-0.04, 0.04], [height] * 2, color=COLOURS[1], lw=4, clip_on=False)
    _stems(ax, values, names, below=-0.35 * (len(groups) + 1))
    ax.plot([lowest, lowest + difference], [0.9, 0.9], color="k", lw=1.5, marker="|", clip_on=False)
    ax.text(lowest, 1.05, f"critical difference {difference:.2f}", fontsize=9)
    ax.set_xlim(lowest - 0.02, highest + 0.02)
    ax.set_xticks(range(1, n_methods + 1))
    ax.xaxis.tick_top()
    ax.set_yticks([])
    ax.spines[["left", "right", "bottom"]].set_visible(False)
    ax.spines["top"].set_position(("data", 0.0))
    ax.set_title(
        f"Mean rank over {n_blocks} cells, 1 the best\n"
        f"under one bar: no difference at {alpha:g} (Nemenyi); cells of one data set are not independent",
        loc="left",
        fontsize=10,
    )
    return ax


def _stems(ax: Axes, values: np.ndarray, names: list[str], below: float) -> None:
    """A name a method: the better half at the left, the others at the right, the middle ones lowest."""
    n_left = -(-len(names) // 2)
    for i, (value, name) in enumerate(zip(values, names, strict=True)):
        left = i < n_left
        height = below - 0.6 * (i if left else len(names) - 1 - i)
        end = 0.9 if left else len(names) + 0.1
        ax.plot([value, value, end], [0.0, height, height], color="0.4", lw=0.9, clip_on=False)
        words, side = f"{name}  {value:.2f} ", "right"
        if not left:
            words, side = f" {value:.2f}  {name}", "left"
        ax.text(end, height, words, ha=side, va="center", fontsize=9, clip_on=False)
    ax.set_ylim(below - 0.6 * n_left, 1.4)
