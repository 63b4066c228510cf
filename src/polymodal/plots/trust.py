"""How far a model can be trusted: reliability, errors and coverage by combination, risk by share answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        style: dict[str, Any] = {"color": colour, "marker": MARKERS[i % len(MARKERS)]}
        # the line is faint: it joins bins of many rows with bins of few
        ax.plot(line["confidence"], line["accuracy"], lw=0.8, alpha=0.45, ms=2.5, label=name or None, **style)
        sizes = 4.0 + 140.0 * line["n_rows"] / most
        ax.scatter(line["confidence"], line["accuracy"], s=sizes, alpha=0.8, lw=0, **style)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share right")
    ax.set_aspect("equal")
    ax.set_title(f"Reliability: {_in_words(subset)}", loc="left", fontsize=10)
    ax.grid(alpha=0.3)
    for handle in legend_beside(ax).get_lines():
        handle.set(alpha=1.0, markersize=6.0 * (handle.get_marker() != "None"))
    return ax


def coverage_bars(table: pd.DataFrame, ax: Axes, *, alpha: float = 0.1) -> Axes:
    """Share of rows whose set or interval holds the truth, for every combination; the line is the promise.

    Whiskers are ± one standard deviation over re-splits, where the table has it. Means over seeds. A bar is
    hatched where the promise is missed by half a point or more.

    Args:
        table: tidy rows of one data set and method, with the metric ``coverage``.
        ax: where to draw; about 0.15 inches wide a combination.
        alpha: share of errors that was allowed.
    """
    coverage, spread = _by_subset(table, "coverage"), _by_subset(table, "coverage_std")
    coverage = coverage.dropna()
    places = np.arange(len(coverage))
    kept = coverage.to_numpy() > 1.0 - alpha - 0.005
    colours = np.where(kept, COLOURS[0], COLOURS[1])
    whiskers = spread.reindex(coverage.index).to_numpy() if len(spread) else None
    bars = ax.bar(places, 100.0 * coverage, color=colours, width=min(0.8, 0.08 * len(coverage)))
    for bar, good in zip(bars, kept, strict=True):
        bar.set_hatch("" if good else "//")
    if whiskers is not None:
        ax.errorbar(places, 100.0 * coverage, 100.0 * whiskers, fmt="none", color="0.3", lw=0.8, capsize=2)
    ax.axhline(100.0 * (1.0 - alpha), color="k", ls="--", lw=1)
    lowest = float((coverage - (0.0 if whiskers is None else whiskers)).min()) if len(coverage) else 0.0
    ax.set_ylim(max(0.0, 100.0 * (min(lowest, 1.0 - alpha) - 0.1)), 100.5)
    _name_combinations(ax, coverage.index)
    ax.set_ylabel("coverage [%]")
    ax.set_title(f"Coverage by combination; promised: {100 * (1 - alpha):g} %", loc="left", fontsize=10)
    ax.set_axisbelow(True)
    ax.grid(alpha=0.3, axis="y")
    return ax


def error_dots(table: pd.DataFrame, ax: Axes, *, metric: str = "ece") -> Axes:
    """A calibration error of every combination, a marker a method; lower is better.

    Means over seeds; whiskers are ± one standard deviation over them.

    Args:
        table: tidy rows of one data set, such as of :func:`polymodal.estimators.calibration_table`.
        ax: where to draw; about 0.15 inches wide a combination.
        metric: which one.
    """
    part = table[(table["metric"] == metric) & (table["subset"] != OBSERVED)]
    names = _by_subset(part, metric).index
    methods = list(dict.fromkeys(part["method"]))
    for i, method in enumerate(methods):
        by_subset = part[part["method"] == method].groupby("subset")["value"]
        mean = by_subset.mean().reindex(names).to_numpy()
        spread = by_subset.std().reindex(names).fillna(0.0).to_numpy()
        places = np.arange(len(names)) + 0.6 * ((i + 0.5) / len(methods) - 0.5)
        style: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "ls": "none",
        }
        ax.errorbar(places, mean, spread, ms=4, lw=0.8, label=f"{method}, mean {mean.mean():.3f}", **style)
    _name_combinations(ax, names)
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel(f"{metric.upper() if metric == 'ece' else metric.replace('_', ' ')}, lower is better")
    ax.set_title("Calibration error by combination", loc="left", fontsize=10)
    ax.grid(alpha=0.3, axis="y")
    place: dict[str, Any] = {"loc": "upper right", "frameon": True, "framealpha": 0.85, "edgecolor": "none"}
    ax.set_ylim(top=1.12 * ax.get_ylim()[1])  # the names of the methods stand above the markers
    ax.legend(ncols=4, fontsize=8, handletextpad=0.2, columnspacing=1.2, **place)
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


def _name_combinations(ax: Axes, names: pd.Index) -> None:
    """Names below the axes where there is room for them; else sizes, with a line where a size begins."""
    sizes = np.array([np.inf if name == OBSERVED else name.count("+") + 1 for name in names])
    for start in np.flatnonzero(np.diff(sizes)) + 0.5:
        ax.axvline(start, color="0.7", lw=0.8, ls=":", zorder=0)
    if len(names) <= 16:
        turned: dict[str, Any] = {"rotation": 60, "ha": "right"} if sum(map(len, names)) > 80 else {}
        ax.set_xticks(range(len(names)), list(names), fontsize=8, **turned)
        ax.set_xlabel("combination of modalities")
        return
    middles = {size: float(np.flatnonzero(sizes == size).mean()) for size in np.unique(sizes)}
    words = ["" if size == np.inf else f"{size:g}" for size in middles]
    ax.set_xticks(list(middles.values()), words)
    ax.set_xlabel(f"{int(np.isfinite(sizes).sum())} combinations, by the number of modalities")


def _in_words(subset: str) -> str:
    return "each row with what it has" if subset == OBSERVED else subset
