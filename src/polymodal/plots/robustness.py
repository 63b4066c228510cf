"""How a metric falls as inputs go missing: curves by number and by rate, and a map of all combinations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from polymodal.evaluation import OBSERVED, aggregate
from polymodal.metrics import METRICS
from polymodal.plots.canvas import COLOURS, GREYS, MARKERS, legend_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def robustness_curve(
    table: pd.DataFrame, ax: Axes, *, metric: str | None = None, floors: Collection[str] = ()
) -> Axes:
    """A metric against the number of missing modalities: mean (line) and worst (dashed) combination.

    Bands are ± one standard deviation over seeds. Of the floors only the mean is drawn.

    Args:
        table: tidy rows of one data set and label share.
        ax: where to draw.
        metric: which metric; None takes the table's first.
        floors: methods that are drawn in grey, behind the others.
    """
    part = _of_metric(table, metric)
    part = part[(part["subset"] != OBSERVED) & ~part["subset"].str.startswith("rate=")]
    n_present = part["subset"].str.count(r"\+") + 1
    n_modalities = int(n_present.max())
    by_size = part.assign(missing=n_modalities - n_present).groupby(["method", "missing", "seed"], sort=False)
    worst = by_size["value"].min() if METRICS[_name(part)].greater_is_better else by_size["value"].max()
    mean = by_size["value"].mean()
    for method, style in _styles(part["method"], floors).items():
        _band(ax, mean.loc[method], style, str(method), line="-")
        if method not in floors:
            _band(ax, worst.loc[method], style | {"markersize": 0}, None, line="--")
    ax.set_xticks(range(n_modalities))
    ax.set_xlabel(f"missing modalities, of {n_modalities}")
    return _finish(ax, part, "line: mean over the combinations; dashed: the worst of them")


def rate_curve(
    table: pd.DataFrame, ax: Axes, *, metric: str | None = None, floors: Collection[str] = ()
) -> Axes:
    """A metric against the share of inputs lost at random, mean ± standard deviation over seeds.

    Args:
        table: tidy rows of :func:`polymodal.evaluation.missing_rate_curve`, others are left out.
        ax: where to draw.
        metric: which metric; None takes the table's first.
        floors: methods that are drawn in grey, behind the others.
    """
    part = _of_metric(table, metric)
    part = part[part["subset"].str.startswith("rate=")]
    rates = part["subset"].str.removeprefix("rate=").astype(float)
    mean = part.assign(rate=rates).groupby(["method", "rate", "seed"], sort=False)["value"].mean()
    for method, style in _styles(part["method"], floors).items():
        _band(ax, mean.loc[method], style, str(method), line="-")
    ax.set_xlabel("missing rate (each row keeps at least one modality)")
    return _finish(ax, part, "")


def subset_heatmap(table: pd.DataFrame, ax: Axes, *, metric: str | None = None) -> Axes:
    """Every combination of modalities (columns, a dot for each present one) by method (rows).

    Combinations are sorted by size; values are means over seeds, printed where there is room.

    Args:
        table: tidy rows of one data set and label share.
        ax: where to draw; about 9 inches wide for 63 combinations.
        metric: which metric; None takes the table's first.
    """
    part = _of_metric(table, metric)
    part = part[(part["subset"] != OBSERVED) & ~part["subset"].str.startswith("rate=")]
    means = aggregate(part).pivot_table(index="method", columns="subset", values="mean", sort=False)
    members = [subset.split("+") for subset in means.columns]
    names = list(dict.fromkeys(name for subset in members for name in subset))
    scale, _ = _scale(_name(part))
    values = scale * means.to_numpy()
    colours = "cividis" if METRICS[_name(part)].greater_is_better else "cividis_r"
    image = ax.imshow(values, aspect="auto", cmap=colours, interpolation="nearest")
    if values.shape[1] <= 16:
        _print_values(ax, values, dark=_is_dark(values))
    rows = len(means) + np.arange(len(names))
    for row, name in zip(rows, names, strict=True):
        there = [i for i, subset in enumerate(members) if name in subset]
        ax.scatter(there, [row] * len(there), s=min(60.0, 1200.0 / len(members)), color=COLOURS[0])
    ax.set_ylim(rows[-1] + 0.5, -0.5)
    ax.set_yticks([*range(len(means)), *rows], [*means.index, *names])
    ax.set_xticks([])
    ax.figure.colorbar(image, ax=ax, pad=0.01, label=_axis_label(_name(part)))
    note = f"{len(members)} combinations of modalities; a dot below is a present modality"
    ax.set_title(_title(part, note), loc="left", fontsize=10)
    return ax


def _is_dark(values: np.ndarray) -> np.ndarray:
    """Where the lower half of the colours is."""
    return values < (np.nanmin(values) + np.nanmax(values)) / 2


def _print_values(ax: Axes, values: np.ndarray, dark: np.ndarray) -> None:
    for (i, j), value in np.ndenumerate(values):
        ax.text(j, i, f"{value:.3g}", ha="center", va="center", fontsize=8, color="w" if dark[i, j] else "k")


# ---- what these plots share ----------------------------------------------------------------------


def _of_metric(table: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    measured = table[table["metric"].isin(METRICS) & table["value"].notna()]
    return measured[measured["metric"] == (metric or measured["metric"].iloc[0])]


def _name(part: pd.DataFrame) -> str:
    return str(part["metric"].iloc[0])


def _scale(metric: str) -> tuple[float, str]:
    return (100.0, " [%]") if METRICS[metric].unit_interval else (1.0, "")


def _axis_label(metric: str) -> str:
    words = metric.replace("_", " ") + _scale(metric)[1]
    return words if METRICS[metric].greater_is_better else f"{words}, lower is better"


def _title(part: pd.DataFrame, note: str) -> str:
    n_seeds = part["seed"].nunique()
    shares = ", ".join(f"{100 * share:g} %" for share in part["labels"].unique())
    words = f"{', '.join(part['dataset'].unique())}, {shares} of the labels, " + (
        f"{n_seeds} seeds" if n_seeds > 1 else "one seed"
    )
    return f"{words}\n{note}" if note else words


def _styles(methods: pd.Series, floors: Collection[str]) -> dict[str, dict[str, Any]]:
    """Method -> line colour, marker and depth."""
    names = list(dict.fromkeys(methods))
    rivals = [name for name in names if name not in floors]
    styles: dict[str, dict[str, Any]] = {}
    for i, name in enumerate([*rivals, *(name for name in names if name in floors)]):
        j = i - len(rivals)
        colour = COLOURS[i % len(COLOURS)] if j < 0 else GREYS[j % len(GREYS)]
        styles[name] = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "zorder": 3 if j < 0 else 2}
        styles[name] |= {"lw": 2.2 if j < 0 else 1.2, "markersize": 6 if j < 0 else 5}
    return styles


def _band(ax: Axes, values: pd.Series, style: Mapping[str, Any], label: str | None, *, line: str) -> None:
    """A line of means over seeds of (x, seed) -> value, in a band of ± one standard deviation."""
    by_x = values.groupby(level=0)
    mean, std = by_x.mean().sort_index(), by_x.std().sort_index().fillna(0.0)
    x, y, spread = mean.index.to_numpy(), mean.to_numpy(), std.to_numpy()
    ax.plot(x, y, ls=line, label=label, **style)
    ax.fill_between(x, y - spread, y + spread, color=style["color"], alpha=0.15, lw=0, zorder=1)


def _finish(ax: Axes, part: pd.DataFrame, note: str) -> Axes:
    metric = _name(part)
    ax.set_ylabel(_axis_label(metric))
    if METRICS[metric].unit_interval:
        ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
    ax.set_title(_title(part, note), loc="left", fontsize=10)
    ax.grid(alpha=0.3)
    legend_beside(ax)
    return ax
