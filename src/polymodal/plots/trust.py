"""How far a model can be trusted: reliability diagrams, coverage by combination, risk by share answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polymodal.evaluation import OBSERVED
from polymodal.plots.canvas import COLOURS, MARKERS, legend_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def reliability_diagram(table: pd.DataFrame, ax: Axes, *, subset: str = OBSERVED) -> Axes:
    """How often a model is right against how sure it says it is; on the diagonal it is honest.

    A marker's area grows with the rows behind it. Below the diagonal a model is too sure of itself.

    Args:
        table: columns of :func:`polymodal.calibration.reliability_table`; with ``method``, a line for each.
        ax: where to draw; square is best.
        subset: which combination of modalities.
    """
    part = table[table["subset"] == subset]
    method = part["method"] if "method" in part else pd.Series("", index=part.index)
    most = max(part["n_rows"].max(), 1)
    ax.plot([0, 1], [0, 1], color="0.5", lw=1, ls=":", label="honest")
    for i, (name, line) in enumerate(part.groupby(method, sort=False)):
        colour = COLOURS[i % len(COLOURS)]
        ax.plot(line["confidence"], line["accuracy"], color=colour, lw=1.2, label=str(name) or None)
        sizes = 12.0 + 90.0 * line["n_rows"] / most
        marker = MARKERS[i % len(MARKERS)]
        ax.scatter(line["confidence"], line["accuracy"], s=sizes, color=colour, marker=marker, alpha=0.8)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share right")
    ax.set_aspect("equal")
    ax.set_title(f"Reliability: {_in_words(subset)}", loc="left", fontsize=10)
    ax.grid(alpha=0.3)
    legend_beside(ax)
    return ax


def coverage_bars(table: pd.DataFrame, ax: Axes, *, alpha: float = 0.1) -> Axes:
    """Share of rows whose set or interval holds the truth, for every combination; the line is the promise.

    Whiskers are ± one standard deviation over re-splits, where the table has it. Means over seeds.

    Args:
        table: tidy rows of one data set and method, with the metric ``coverage``.
        ax: where to draw; about 0.15 inches wide a combination.
        alpha: share of errors that was allowed.
    """
    coverage, spread = _by_subset(table, "coverage"), _by_subset(table, "coverage_std")
    coverage = coverage.dropna()
    places = np.arange(len(coverage))
    kept = coverage.to_numpy() >= 1.0 - alpha
    colours = np.where(kept, COLOURS[0], COLOURS[1])
    whiskers = spread.reindex(coverage.index).to_numpy() if len(spread) else None
    bars = ax.bar(places, 100.0 * coverage, color=colours, width=0.8)
    for bar, good in zip(bars, kept, strict=True):
        bar.set_hatch("" if good else "//")
    if whiskers is not None:
        ax.errorbar(places, 100.0 * coverage, 100.0 * whiskers, fmt="none", color="0.3", lw=0.8, capsize=2)
    ax.axhline(100.0 * (1.0 - alpha), color="k", ls="--", lw=1)
    lowest = float((coverage - (0.0 if whiskers is None else whiskers)).min()) if len(coverage) else 0.0
    ax.set_ylim(max(0.0, 100.0 * (min(lowest, 1.0 - alpha) - 0.1)), 100.5)
    few = len(coverage) <= 16
    ax.set_xticks(places if few else [], coverage.index if few else [], rotation=60, ha="right", fontsize=8)
    ax.set_xlabel("combination of modalities" if few else f"{len(coverage)} combinations, small ones first")
    ax.set_ylabel("coverage [%]")
    ax.set_title(f"Coverage by combination; promised: {100 * (1 - alpha):g} %", loc="left", fontsize=10)
    ax.grid(alpha=0.3, axis="y")
    return ax


def risk_curve(table: pd.DataFrame, ax: Axes) -> Axes:
    """Share of wrong answers against the share of rows answered, the most confident first.

    Args:
        table: columns of :func:`polymodal.conformal.risk_coverage`.
        ax: where to draw.
    """
    ax.plot(100.0 * table["answered"], 100.0 * table["risk"], color=COLOURS[0], lw=2)
    ax.set(xlim=(0, 101), xlabel="rows answered [%]", ylabel="wrong among them [%]")
    ax.set_ylim(bottom=0.0)
    ax.set_title("Risk by share answered, the most confident rows first", loc="left", fontsize=10)
    ax.grid(alpha=0.3)
    return ax


def _by_subset(table: pd.DataFrame, metric: str) -> pd.Series:
    """Combination -> mean over seeds of a metric, small combinations first, ``observed`` last."""
    values = table[table["metric"] == metric].groupby("subset", sort=False)["value"].mean()
    size = [np.inf if name == OBSERVED else name.count("+") for name in values.index]
    return values.iloc[np.argsort(size, kind="stable")]


def _in_words(subset: str) -> str:
    return "each row with what it has" if subset == OBSERVED else subset
