"""What all plots share: axes without pyplot, colours, legends, and the stages of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREYS = ("#4d4d4d", "#8c8c8c", "#b0b0b0")
MARKERS = "osD^vPX*<>"


def figure(width: float = 9.0, height: float = 5.0) -> tuple[Figure, Axes]:
    """Axes on a figure of its own, ``width`` x ``height`` inches at 100 dots an inch."""
    from matplotlib.figure import Figure

    result = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return result, result.add_subplot()


def panels(n: int, *, columns: int = 2, width: float = 9.0, height: float = 3.5) -> tuple[Figure, list[Axes]]:
    """A figure of n axes, each ``width`` x ``height`` inches, in rows of at most ``columns``."""
    from matplotlib.figure import Figure

    columns = min(columns, n)
    n_rows = -(-n // columns)
    result = Figure(figsize=(width * columns, height * n_rows), dpi=100, layout="constrained")
    return result, [result.add_subplot(n_rows, columns, i + 1) for i in range(n)]


def legend_beside(ax: Axes, *, reverse: bool = False) -> Legend:
    """The legend to the right of the axes; reversed for a stack, whose first lies at the bottom."""
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    return ax.legend(**place, frameon=False, reverse=reverse)


def mark_stages(table: pd.DataFrame, ax: Axes) -> None:
    """A dotted line and a name where a stage of the epochs begins, where there are several."""
    for start in _stage_starts(table):
        ax.axvline(start + 0.5, color="0.6", ls=":")
        ax.text(
            start + 0.7,
            0.98,
            table["stage"].iloc[start],
            transform=ax.get_xaxis_transform(),
            va="top",
            color="0.4",
        )


def _stage_starts(table: pd.DataFrame) -> list[int]:
    """Epochs, from 0, at which a stage begins; none where there is one stage only."""
    if "stage" not in table or table["stage"].nunique() < 2:
        return []
    stages = table["stage"].tolist()
    return [0, *(i for i in range(1, len(stages)) if stages[i] != stages[i - 1])]
