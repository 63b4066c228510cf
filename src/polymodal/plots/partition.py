"""How PgM divides each modality's width: shares, gates, cuts by epoch, and where the features lie.

Tables are those of :mod:`polymodal.explanation`; histories are ``history_``. A part has one colour and one
hatching in all pictures. Letters: K chunks of neurons, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from polymodal.plots.canvas import COLOURS, legend_beside, mark_stages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PARTS = {
    "uni": ("#0072B2", "//", "uni-modal only"),
    "shared": ("#009E73", "xx", "both gates open"),
    "paired": ("#D55E00", "\\\\", "paired only"),
    "unassigned": ("#c8c8c8", "..", "unassigned"),
}
"""Part -> colour, hatching and name, in the order of the width: uni is its head, paired its tail."""
POINTS = {"uni": ("o", True), "paired": ("^", False)}
"""Part -> marker, and whether it is filled."""
N_POINT_ROWS = 400
"""Rows that a feature map shows at most: more hide each other."""


# ---- shares --------------------------------------------------------------------------------------


def share_bars(shares: pd.DataFrame, ax: Axes) -> Axes:
    """The four shares of each modality as one bar of length 1; means, where there are several seeds.

    Args:
        shares: columns ``modality``, ``uni``, ``shared``, ``paired``, ``unassigned``; with ``dataset`` the
            bars are grouped by it, with ``seed`` the title says how many there are.
        ax: where to draw; about 0.4 inches high a bar.
    """
    dataset = shares["dataset"] if "dataset" in shares else pd.Series("", index=shares.index)
    means = shares.groupby([dataset, "modality"], sort=False)[list(PARTS)].mean()
    places = _places([str(dataset) for dataset, _ in means.index])
    left = np.zeros(len(means))
    for part, (colour, hatch, name) in PARTS.items():
        widths = means[part].to_numpy()
        ax.barh(places, widths, left=left, height=0.8, color=colour, hatch=hatch, ec="w", lw=0.8, label=name)
        for x, y, width in zip(left + widths / 2, places, widths, strict=True):
            _print_share(ax, x, y, width, colour)
        left += widths
    ax.set_yticks(places, [modality for _, modality in means.index])
    names = list(dict.fromkeys(str(dataset) for dataset, _ in means.index))
    if len(names) > 1:
        _name_groups(ax, places, [str(dataset) for dataset, _ in means.index])
    ax.invert_yaxis()
    _as_share(ax, "share of the width [%]", axis="x")
    title = "Partition" if names == [""] else f"Partition: {', '.join(names)}"
    ax.set_title(title + _seeds(shares), loc="left", fontsize=10)
    legend_beside(ax)
    return ax


def _places(groups: Sequence[str]) -> np.ndarray:
    """Heights of the bars, with a gap that holds a group's name before each group but the first."""
    begins = [i > 0 and group != groups[i - 1] for i, group in enumerate(groups)]
    return np.arange(len(groups)) + 0.8 * np.cumsum(begins)


def _name_groups(ax: Axes, places: np.ndarray, groups: Sequence[str]) -> None:
    for i, group in enumerate(groups):
        if i == 0 or group != groups[i - 1]:
            ax.text(0.0, places[i] - 0.5, group, va="bottom", fontweight="bold", fontsize=9)
    ax.set_ylim(places[0] - 1.2, places[-1] + 0.6)


def _print_share(ax: Axes, x: float, y: float, share: float, colour: str) -> None:
    if share >= 0.05:
        box = {"facecolor": "w", "edgecolor": colour, "boxstyle": "round,pad=0.15", "lw": 0.8}
        ax.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, bbox=box)


def _seeds(table: pd.DataFrame) -> str:
    if "seed" not in table:
        return ""
    n_seeds = table["seed"].nunique()
    return f", mean over {n_seeds} seeds" if n_seeds > 1 else ", one seed"


def share_history(history: Sequence[Mapping[str, Any]], ax: Axes, *, modality: str) -> Axes:
    """The four shares of a modality by epoch, one upon the other, with the stages.

    Args:
        history: epochs with keys ``share_PART/MODALITY``.
        ax: where to draw.
        modality: which one.
    """
    table = pd.DataFrame(list(history))
    edges = np.arange(len(table) + 1) + 0.5
    below = np.zeros(len(table))
    for part, (colour, hatch, name) in PARTS.items():
        above = below + table[f"share_{part}/{modality}"].to_numpy(dtype=float)
        style: dict[str, Any] = {"fc": colour, "ec": "w", "hatch": hatch, "lw": 0.8, "label": name}
        ax.stairs(above, edges, baseline=below, fill=True, **style)
        below = above
    mark_stages(table, ax)
    _by_epoch(ax, len(table))
    _as_share(ax, "share of the width [%]", axis="y")
    ax.set_ylim(0.0, 1.1)  # the names of the stages stand above the areas
    ax.set_title(f"{modality}: partition by epoch", loc="left", fontsize=10)
    legend_beside(ax, reverse=True)
    return ax


# ---- gates and cuts ------------------------------------------------------------------------------


def gate_curves(gates: pd.DataFrame, ax: Axes, *, modality: str) -> Axes:
    """Mean gates of a modality over its width, in bands that hold 80 % of the rows; cuts are marked.

    Args:
        gates: rows of :func:`polymodal.explanation.partition_gates`: for each ``modality`` and ``chunk`` the
            means ``uni`` and ``paired``, their quantiles (``uni_10``, ``uni_90``, ...), and the shares of
            rows that cut there (``cut_uni``, ``cut_paired``).
        ax: where to draw.
        modality: which one.
    """
    table = gates[gates["modality"] == modality].sort_values("chunk")
    n_chunks = len(table)
    edges = np.arange(n_chunks + 1)
    for part, line, marker in (("uni", "-", "v"), ("paired", "--", "^")):
        colour = PARTS[part][0]
        low, high = table[f"{part}_10"], table[f"{part}_90"]
        ax.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.25, lw=0)
        ax.stairs(table[part], edges, baseline=None, color=colour, ls=line, lw=2.2, label=f"{part} gate")
        cut = (table[f"cut_{part}"] * (table["chunk"] + (part == "uni"))).sum()
        label = f"mean {part} cut, {cut:.1f} of {n_chunks}"
        ax.axvline(cut, color=colour, ls=line, lw=1)
        ax.plot(cut, 0.5, marker, color=colour, ms=8, mec="w", label=label)
    ax.axhline(0.5, color="0.5", lw=1, ls=":")
    ax.set_xlim(0, n_chunks)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xticks(range(0, n_chunks + 1, max(1, n_chunks // 8)))
    ax.set_xlabel("chunks of neurons, from the head of the width")
    ax.set_ylabel("gate (1: open)")
    ax.set_title(f"{modality}: mean gates, bands hold 80 % of the rows", loc="left", fontsize=10)
    legend_beside(ax)
    return ax


def cut_histogram(
    history: Sequence[Mapping[str, Any]],
    ax: Axes,
    *,
    modality: str,
    part: Literal["uni", "paired"] = "uni",
) -> Axes:
    """Where the rows cut a modality, by epoch: share of the rows for each chunk, and the mean cut.

    Args:
        history: epochs with keys ``cuts_PART/MODALITY/k``, the share of rows whose cut is chunk k.
        ax: where to draw.
        modality: which one.
        part: ``"uni"``, the last chunk of the uni-modal part; ``"paired"``, the first of the paired part.
    """
    counts = _cuts(history, part, modality, _width(history, modality))
    size, epochs = counts.shape[1], np.arange(1, len(counts) + 1)
    image = ax.imshow(
        100 * counts.T,
        aspect="auto",
        origin="lower",
        extent=(0.5, len(counts) + 0.5, -0.5, size - 0.5),
        cmap="cividis",
        vmin=0.0,
        interpolation="nearest",
    )
    ax.plot(epochs, counts @ np.arange(size), color="w", lw=3.5)
    ax.plot(epochs, counts @ np.arange(size), color="k", lw=1.5)
    mark_stages(pd.DataFrame(list(history)), ax)
    ax.set_ylim(-0.5, size - 0.5 + 0.1 * size)  # the names of the stages stand above the map
    ax.set_yticks(range(0, size, max(1, size // 8)))
    _by_epoch(ax, len(counts))
    chunk = "last chunk of the uni part, u" if part == "uni" else "first chunk of the paired part, p"
    ax.set_ylabel(f"{chunk} (of {size})")
    ax.set_title(f"{modality}: {part} cuts by epoch; line: their mean", loc="left", fontsize=10)
    ax.figure.colorbar(image, ax=ax, pad=0.01, label="share of the rows [%]")
    return ax


def _width(history: Sequence[Mapping[str, Any]], modality: str) -> int:
    """K of a history, from its last epoch: the mean of u + 1 in chunks over that as a share of the width."""
    last = history[-1]
    prefix = f"cuts_uni/{modality}/"
    mean = sum((int(k.removeprefix(prefix)) + 1) * v for k, v in last.items() if k.startswith(prefix))
    return round(mean / last[f"cut_uni/{modality}"])


def _cuts(history: Sequence[Mapping[str, Any]], part: str, modality: str, size: int) -> np.ndarray:
    """(epochs, K) shares of rows."""
    return np.array(
        [[epoch.get(f"cuts_{part}/{modality}/{k}", 0.0) for k in range(size)] for epoch in history]
    )


# ---- features ------------------------------------------------------------------------------------


def feature_map(features: pd.DataFrame, labels: Sequence[Any] | None, ax: Axes) -> Axes:
    """Uni-modal (discs) and paired features (hollow triangles) on the first two principal components.

    Args:
        features: rows of :func:`polymodal.explanation.partition_features`: ``row``, ``modality``, ``part``,
            and one column a neuron. Of more than 400 rows of data a draw of 400 is shown.
        labels: (n,) by ``row``: classes, or floating-point values for a colour scale; None colours by
            modality.
        ax: where to draw.
    """
    points, variance = _components(_some_rows(features))
    if labels is None:
        _draw_groups(ax, points, points["modality"], "modality")
    else:
        colour = pd.Series(np.asarray(labels)[points["row"]], index=points.index)
        if pd.api.types.is_float_dtype(colour):
            _draw_values(ax, points, colour)
        else:
            _draw_groups(ax, points, colour, "class")
    ax.set_xlabel(f"principal component 1 ({variance[0]:.0%} of the variance)")
    ax.set_ylabel(f"principal component 2 ({variance[1]:.0%} of the variance)")
    modalities = list(points["modality"].unique())
    ax.set_title(
        f"Features of {', '.join(modalities)}, {points['row'].nunique()} rows\n"
        "filled: uni-modal; hollow: paired",
        loc="left",
        fontsize=10,
    )
    ax.grid(alpha=0.3)
    return ax


def _components(features: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """``row``, ``modality``, ``part``, ``x``, ``y`` of each feature, and the two shares of the variance."""
    from sklearn.decomposition import PCA

    pca = PCA(n_components=2, random_state=0)
    x, y = pca.fit_transform(features.drop(columns=["row", "modality", "part"]).to_numpy()).T
    return features[["row", "modality", "part"]].assign(x=x, y=y), pca.explained_variance_ratio_


def _some_rows(features: pd.DataFrame) -> pd.DataFrame:
    rows = features["row"].unique()
    if len(rows) <= N_POINT_ROWS:
        return features
    drawn = np.random.default_rng(0).choice(rows, N_POINT_ROWS, replace=False)
    return features[features["row"].isin(drawn)]


def _draw_groups(ax: Axes, points: pd.DataFrame, groups: pd.Series, meaning: str) -> None:
    """A colour a group, and its name at the middle of its points: colours alone do not tell ten classes."""
    for i, (group, its) in enumerate(points.groupby(groups, sort=meaning == "class")):
        colour = COLOURS[i % len(COLOURS)]
        for part, (marker, filled) in POINTS.items():
            of_part = its[its["part"] == part]
            label = f"{group}, {part}" if meaning == "modality" else None
            style: dict[str, Any] = {"fc": colour if filled else "none", "ec": colour, "label": label}
            ax.scatter(of_part["x"], of_part["y"], 14, marker=marker, lw=0.8, alpha=0.6, **style)
    _name_middles(ax, points.assign(group=groups.astype(str)))
    if meaning == "modality":
        legend_beside(ax)


def _name_middles(ax: Axes, points: pd.DataFrame) -> None:
    """The groups' names at their middles, in one box where middles are closer than a box is high."""
    box = {"facecolor": "w", "edgecolor": "0.4", "boxstyle": "round,pad=0.15", "alpha": 0.85}
    near = 0.03 * np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
    middles = points.groupby(["group", "part"], sort=False)[["x", "y"]].median()
    names, places = middles.index.get_level_values("group").to_numpy(), middles.to_numpy()
    while len(places):
        close = (np.abs(places - places[0]) <= near).all(axis=1)
        x, y = places[close].mean(axis=0)
        words = ", ".join(dict.fromkeys(names[close]))
        ax.text(x, y, words, fontsize=8, ha="center", va="center", bbox=box)
        names, places = names[~close], places[~close]


def _draw_values(ax: Axes, points: pd.DataFrame, values: pd.Series) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(values.min(), values.max()), colormaps["cividis"])
    for part, (marker, filled) in POINTS.items():
        its = points[points["part"] == part]
        colours = scale.to_rgba(values[its.index].to_numpy())
        face = colours if filled else "none"
        ax.scatter(its["x"], its["y"], 14, marker=marker, fc=face, ec=colours, lw=0.8, alpha=0.8)
    ax.figure.colorbar(scale, ax=ax, pad=0.01, label="value")


# ---- what these plots share ----------------------------------------------------------------------


def _as_share(ax: Axes, label: str, *, axis: Literal["x", "y"]) -> None:
    getattr(ax, f"set_{axis}lim")(0.0, 1.0)
    getattr(ax, f"{axis}axis").set_major_formatter(lambda value, _: f"{100 * value:g}")
    getattr(ax, f"set_{axis}label")(label)


def _by_epoch(ax: Axes, n_epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlim(0.5, n_epochs + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
