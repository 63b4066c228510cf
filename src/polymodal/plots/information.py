"""What two modalities say of the label: redundancy, uniqueness and synergy as stacked bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polymodal.plots.canvas import COLOURS, legend_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = {
    "redundancy": "redundant: either says it",
    "unique_first": "unique to the first",
    "unique_second": "unique to the second",
    "synergy": "synergy: only both together",
}
HATCHES = ("", "//", "\\\\", "..")


def information_bars(table: pd.DataFrame, ax: Axes) -> Axes:
    """Bits about the label of every pair of modalities, divided; whiskers are ± one standard error.

    Means over targets. A part below 0 (noise about 0, or a fusion that knows less than its branches) is drawn
    to the left of 0. The dotted mark is the label's entropy, all that could be said.

    Args:
        table: columns of :func:`polymodal.estimators.information_table`, of one source.
        ax: where to draw; about 0.45 inches high a pair.
    """
    pairs = table.groupby(["first", "second"], sort=False).mean(numeric_only=True)
    places = np.arange(len(pairs))
    right, left = np.zeros(len(pairs)), np.zeros(len(pairs))
    for (part, words), colour, hatch in zip(SHOWN.items(), COLOURS, HATCHES, strict=False):
        bits = pairs[part].fillna(0.0).to_numpy()
        start = np.where(bits >= 0, right, left)
        ax.barh(
            places, bits, left=start, color=colour, hatch=hatch, edgecolor="white", height=0.7, label=words
        )
        errors = pairs[f"{part}_error"].fillna(0.0).to_numpy()
        seen = np.abs(bits) > 2e-3  # whiskers of nothing would pile up at one place
        ax.errorbar((start + bits)[seen], places[seen], xerr=errors[seen], fmt="none", color="0.2", lw=0.8)
        right, left = right + np.maximum(bits, 0.0), left + np.minimum(bits, 0.0)
    ax.plot(pairs["entropy"], places, ls="none", marker="|", markersize=16, color="0.4", label="all there is")
    ax.axvline(0.0, color="k", lw=0.8)
    ax.set_yticks(places, [f"{first} + {second}" for first, second in pairs.index], fontsize=9)
    ax.invert_yaxis()
    ax.set_xlabel("information about the label [bits]")
    ax.set_title("What two modalities say: alike, alone, and only together", loc="left", fontsize=10)
    ax.grid(alpha=0.3, axis="x")
    legend_beside(ax)
    return ax
