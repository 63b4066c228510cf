"""What inputs are worth: Shapley values of a metric, one row's prediction step by step, what to get next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from polymodal.plots.canvas import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def shapley_bars(table: pd.DataFrame, ax: Axes) -> Axes:
    """What each modality adds to a metric; whiskers are ± one standard error.

    Args:
        table: columns of :func:`polymodal.estimators.shapley_table`, of one data set, method and seed.
        ax: where to draw; about 0.4 inches high a modality.
    """
    _bars(ax, table["modality"], table["value"], table["error"])
    metric = table["metric"].iloc[0]
    ax.set_xlabel(f"Shapley value: {metric}, positive is better")
    ax.set_title(f"What each modality adds: {metric} over all combinations", loc="left", fontsize=10)
    return ax


def waterfall(table: pd.DataFrame, ax: Axes, *, row: int = 0, output: Any = None) -> Axes:
    """From the training prior to the prediction of one row, a modality at a time.

    Args:
        table: columns of :func:`polymodal.estimators.contribution_table`.
        ax: where to draw; about 0.4 inches high a modality.
        row: which row.
        output: which class, label or value; None takes the one that is predicted highest.
    """
    part = table[table["row"] == row]
    output = part["output"].tolist()[int(part["prediction"].argmax())] if output is None else output
    part = part[part["output"] == output]
    prior, prediction = part["prior"].iloc[0], part["prediction"].iloc[0]
    ends = prior + part["value"].cumsum().to_numpy()
    starts = np.concatenate([[prior], ends[:-1]])
    places = np.arange(len(part))
    colours = _colours(part["value"])
    ax.barh(places, ends - starts, left=starts, color=colours, height=0.6, zorder=2)
    for place, start, end in zip(places.tolist(), starts.tolist(), ends.tolist(), strict=True):
        words = f" {end - start:+.3g} "
        ax.text(max(start, end), place, words, va="center", ha="left", fontsize=8, color="0.2")
    ax.vlines(ends[:-1], places[:-1], places[1:], color="0.6", lw=0.8, zorder=1)
    ax.axvline(prior, color="0.5", lw=1, ls=":", zorder=0)
    ax.axvline(prediction, color="k", lw=1, ls="--", zorder=0)
    ax.set_yticks(places, part["modality"])
    ax.invert_yaxis()
    ax.use_sticky_edges = False  # the first bar begins inside the axes
    ax.margins(x=0.15)
    ax.set_xlabel(f"prediction for {output}")
    ax.set_title(f"Row {row}: from the prior {prior:.3g} to {prediction:.3g}", loc="left", fontsize=10)
    ax.grid(alpha=0.3, axis="x")
    return ax


def acquisition_ranking(table: pd.DataFrame, ax: Axes, *, row: int = 0) -> Axes:
    """What each missing modality of one row is expected to be worth, the best first; ± one standard error.

    A modality that too few rows taught is named without a bar.

    Args:
        table: columns of :func:`polymodal.estimators.acquisition_table`.
        ax: where to draw; about 0.4 inches high a modality.
        row: which row.
    """
    part = table[table["row"] == row].sort_values("rank")
    unknown = part["value"].isna()
    named = part["modality"].where(~unknown, part["modality"] + " (too few rows)")
    _bars(ax, named, part["value"], part["error"])
    ax.set_xlabel("expected decrease of the loss")
    ax.set_title(f"Row {row}: what to get next", loc="left", fontsize=10)
    return ax


def _bars(ax: Axes, names: pd.Series, values: pd.Series, errors: pd.Series) -> None:
    """Horizontal bars, the first at the top; hatched below 0."""
    places = np.arange(len(names))
    bars = ax.barh(places, values, color=_colours(values), height=0.6)
    for bar, value in zip(bars, values, strict=True):
        bar.set_hatch("//" if value < 0 else "")
    ax.errorbar(values, places, xerr=errors, fmt="none", color="0.3", lw=1, capsize=3)
    ax.axvline(0.0, color="0.3", lw=1)
    ax.set_yticks(places, list(names))
    ax.invert_yaxis()
    ax.set_axisbelow(True)
    ax.grid(alpha=0.3, axis="x")


def _colours(values: pd.Series) -> list[str]:
    return [COLOURS[1] if value < 0 else COLOURS[0] for value in values]
