"""The tables inside docs/questions-*.md and the pictures beside this file, from committed JSON.

The command is: python experiments/questions/pages.py

Each table is written between its two marks. The JSON is that of ``run.py`` and, for the weightings and for
half of the training inputs absent, that of ``experiments/robult``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import spearmanr

from polymodal.evaluation import summarise
from polymodal.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).parent
ROBULT = HERE.parent / "robult"
PAGES = sorted((HERE.parents[1] / "docs").glob("questions-*.md"))
MARKED = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
PRIMARY = {
    "mfeat": "accuracy",
    "htad": "accuracy",
    "wesad": "macro_f1",
    "extrasensory": "balanced_accuracy",
    "av_digits": "accuracy",
    "mosi/split_bclstm": "mae",
    "mosi/split_clean": "mae",
}

Figure = tuple[float, float]
"""Mean and standard deviation over seeds; NaN for the deviation of one seed."""


# ---- numbers and lines -----------------------------------------------------------------------------------


@cache
def load(name: str, folder: Path = HERE) -> pd.DataFrame:
    """The tidy rows of a group of runs; undefined values are NaN."""
    return pd.DataFrame(json.loads((folder / f"{name}.json").read_text())).astype({"value": float})


@cache
def records(name: str, folder: Path = HERE) -> list[dict[str, Any]]:
    """What is kept beside the figures of each run."""
    return json.loads((folder / f"{name}.meta.json").read_text())["cells"]


def figure(values: Any) -> Figure:
    """Mean and standard deviation over seeds."""
    values = pd.Series(values, dtype=float)
    return float(values.mean()), float(values.std())


def shown(one: Figure, digits: int = 3) -> str:
    """``0.912 ± 0.004``; without the deviation for one seed, a dash for nothing."""
    mean, std = one
    if np.isnan(mean):
        return "-"
    return f"{mean:.{digits}f}" + ("" if np.isnan(std) else f" ± {std:.{digits}f}")


def with_sign(one: Figure) -> str:
    """A difference with its sign; bold where it is larger than its deviation."""
    mean, std = one
    text = f"{mean:+.3f}" + ("" if np.isnan(std) else f" ± {std:.3f}")
    return f"**{text}**" if abs(mean) > std else text


def marked(column: Sequence[Figure], higher: bool) -> list[str]:
    """The best in bold, in italics what is no further from it than the larger of the two deviations."""
    means = np.array([mean for mean, _ in column])
    if np.isnan(means).all():
        return ["-"] * len(column)
    best = int(np.nanargmax(means if higher else -means))
    texts = []
    for mean, std in column:
        near = abs(mean - means[best]) <= np.nan_to_num(max(std, column[best][1]))
        sign = "**" if mean == means[best] else "*" if near else ""
        texts.append(f"{sign}{shown((mean, std))}{sign}")
    return texts


def markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table whose first row is the header."""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|---" * len(rows[0]) + "|"
    for row in rows[1:]:
        yield "| " + " | ".join(row) + " |"
    yield ""


def means(rows: pd.DataFrame) -> pd.Series:
    """Mean over combinations of modalities of the primary metric, by method and seed."""
    table = summarise(rows)
    return table[table["statistic"] == "mean"].set_index(["method", "seed"])["value"]


# ---- weighting: which one --------------------------------------------------------------------------------

WEIGHTINGS = {
    "l1": "robult",
    "l2": "weighting l2",
    "hard": "weighting hard",
    "density": "weighting density",
    "rbf": "weighting rbf",
    "rbf_one_sided": "weighting rbf_one_sided",
    "none": "weighting none",
}
"""As Robult's setting calls it -> as experiments/robult does."""


def by_weighting() -> Iterator[tuple[str, str, pd.Series]]:
    """Data set, metric, and means over combinations."""
    table = load("ablations", ROBULT)
    for dataset in ("mfeat", "mosi/split_bclstm"):
        metric = PRIMARY[dataset]
        yield dataset, metric, means(table[(table["dataset"] == dataset) & (table["metric"] == metric)])


def weightings() -> Iterator[str]:
    """Mean over combinations for each weighting, and what it is better than rbf by."""
    lines: list[Sequence[str]] = [["data set", "metric", "read", *WEIGHTINGS]]
    for dataset, metric, found in by_weighting():
        higher = METRICS[metric].greater_is_better
        cells = [figure(found.loc[name]) for name in WEIGHTINGS.values()]
        lines.append([dataset, metric, "mean", *marked(cells, higher)])
        gained = [
            (1 if higher else -1) * (found.loc[name] - found.loc["weighting rbf"])
            for name in WEIGHTINGS.values()
        ]
        texts = [
            "" if name == "rbf" else with_sign(figure(g)) for name, g in zip(WEIGHTINGS, gained, strict=True)
        ]
        lines.append([dataset, metric, "better than rbf by", *texts])
    yield from markdown(lines)


def rbf_everywhere() -> Iterator[str]:
    """The paper's weighting against ours on every data set."""
    table = load("main", ROBULT)
    lines: list[Sequence[str]] = [["data set", "metric", "seeds", "l1", "rbf", "l1 is better by"]]
    for dataset, metric in PRIMARY.items():
        chosen = (table["dataset"] == dataset) & (table["metric"] == metric) & (table["labels"] == 0.05)
        found = means(table[chosen & table["method"].isin(["robult", "robult (rbf)"])])
        ours, theirs = found.loc["robult"], found.loc["robult (rbf)"]
        higher = METRICS[metric].greater_is_better
        cells = marked([figure(ours), figure(theirs)], higher)
        gained = with_sign(figure((1 if higher else -1) * (ours - theirs)))
        lines.append([dataset, metric, str(len(ours)), *cells, gained])
    yield from markdown(lines)


# ---- weighting: is it Gaussian ---------------------------------------------------------------------------

SETS = ("mfeat", "htad", "wesad", "mosi/split_clean", "extrasensory")


@cache
def distances() -> pd.DataFrame:
    """Figures of the distances, one line a (data set, weighting, seed, pairs, modality, class)."""
    table = load("gaussian")
    place = table["subset"].str.split("|", expand=True).set_axis(["pairs", "modality", "class"], axis=1)
    table = pd.concat([table, place], axis=1)
    keys = ["dataset", "method", "seed", "pairs", "modality", "class"]
    return table.pivot_table(index=keys, columns="metric", values="value").reset_index()


def by_class() -> Iterator[str]:
    """How Gaussian the distances within each class are, with the paper's weighting."""
    table = distances()
    header = ["data set", "class", "Q-Q correlation", "lowest", "excess kurtosis", "skewness"]
    lines: list[Sequence[str]] = [header]
    for dataset in SETS:
        chosen = (table["dataset"] == dataset) & (table["method"] == "rbf") & (table["pairs"] == "all")
        for own, part in sorted(table[chosen].groupby("class"), key=lambda item: (len(item[0]), item[0])):
            of_seed = part.groupby("seed")[["qq_correlation", "excess_kurtosis", "skewness"]].mean()
            lines.append(
                [
                    dataset,
                    str(own),
                    shown(figure(of_seed["qq_correlation"])),
                    f"{part['qq_correlation'].min():.3f}",
                    shown(figure(of_seed["excess_kurtosis"]), 2),
                    shown(figure(of_seed["skewness"]), 2),
                ]
            )
    yield from markdown(lines)


def wrong_place() -> Iterator[str]:
    """Where the reference and the pairs that it judges lie, and what the pairs weigh for it."""
    table = distances()
    table = table[table["class"] == "together"]
    header = ["data set", "weighting", "true pairs, both labelled", "all true pairs", "apart by"]
    lines: list[Sequence[str]] = [[*header, "Q-Q, labelled", "weight, true", "weight, false"]]
    for dataset in SETS:
        for weighting in ("rbf", "l1"):
            part = table[(table["dataset"] == dataset) & (table["method"] == weighting)]
            if part.empty:
                continue
            of_pairs = {pairs: of.set_index(["seed", "modality"]) for pairs, of in part.groupby("pairs")}
            known, every = of_pairs.get("labelled"), of_pairs["all"]
            weights = [r["last"] for r in records("gaussian") if is_run(r, dataset, weighting)]
            texts = [place_of(known), place_of(every)]
            if known is None:
                texts += ["-", "-"]
            else:
                apart = ((every["mean"] - known["mean"]) / known["std"]).groupby("seed").mean()
                texts += [
                    shown(figure(apart), 1),
                    shown(figure(known["qq_correlation"].groupby("seed").mean())),
                ]
            texts += [
                shown(figure([w.get(key, np.nan) for w in weights]))
                for key in ("weight_true", "weight_false")
            ]
            lines.append([dataset, weighting, *texts])
    yield from markdown(lines)


def is_run(record: Mapping[str, Any], dataset: str, name: str) -> bool:
    """Whether a record is of this data set (and split) and method."""
    cell = record["cell"]
    return "/".join(filter(None, (cell["dataset"], cell["split"]))) == dataset and cell["name"] == name


def place_of(pairs: pd.DataFrame | None) -> str:
    """Mean and spread of distances, means over modalities and seeds."""
    return "-" if pairs is None else f"{pairs['mean'].mean():.2f} (spread {pairs['std'].mean():.2f})"


def draw_distances(axes: Sequence[Axes]) -> None:
    """Q-Q plots: a data set by axes, a class by lines; means over modalities and seeds."""
    table = distances()
    quantiles = [c for c in table.columns if c.startswith("quantile/")]
    quantiles.sort(key=lambda column: float(column.removeprefix("quantile/")))
    expected = ndtri([float(column.removeprefix("quantile/")) for column in quantiles])
    for ax, dataset in zip(axes, SETS, strict=True):
        part = table[(table["dataset"] == dataset) & (table["method"] == "rbf")]
        within = part[(part["pairs"] == "all") & (part["class"] != "together")]
        for number, (_, own) in enumerate(within.groupby("class")):
            label = "within a class, all rows" if number == 0 else None
            ax.plot(expected, own[quantiles].mean(), color="#0072B2", lw=1, alpha=0.7, label=label)
        known = part[(part["pairs"] == "labelled") & (part["class"] == "together")]
        if len(known):
            ax.plot(expected, known[quantiles].mean(), "s", color="#D55E00", ms=4, label="labelled pairs")
        ax.axline((0.0, 0.0), slope=1.0, color="0.4", lw=1, ls="--", label="Gaussian")
        ax.set_title(dataset, loc="left")
        ax.set_xlim(-3, 3)
        ax.set_ylim(-5, 4)
        ax.set_xlabel("quantile of a standard Gaussian")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("quantile of the standardised distances")
    axes[1].legend(frameon=False, loc="upper left")


# ---- modalities missing in training ----------------------------------------------------------------------

MISSING_METHODS = [
    "robult",
    "committee",
    "late_fusion",
    "soft_self_training",
    "dropout_concat",
    "random_forest",
]
PGM = HERE.parent / "pgm"


def at_rates(dataset: str, read: str) -> pd.DataFrame:
    """Accuracy, one line a (method, seed), one column a training rate.

    Args:
        dataset: which.
        read: ``complete``: test rows with all modalities; ``same``: as many missing as in training; ``mean``:
            over all combinations.
    """
    table = load("missing")
    table = table[(table["dataset"] == dataset) & (table["metric"] == PRIMARY[dataset])]
    columns = {}
    for rate, part in table.groupby("missing_train"):
        if read == "mean":
            columns[rate] = means(part)
        else:
            at = 0.0 if read == "complete" else rate
            chosen = part[part["subset"] == f"rate={at:g}"]
            columns[rate] = chosen.set_index(["method", "seed"])["value"]
    return pd.DataFrame(columns)


def rate_words(rates: Sequence[float]) -> list[str]:
    """``30 %``."""
    return [f"{rate:.0%}".replace("%", " %") for rate in rates]


def missing(read: str) -> Iterator[str]:
    """Methods by rows, training rates by columns; the best of each column marked."""
    rates = sorted(load("missing")["missing_train"].unique())
    lines: list[Sequence[str]] = [["data set", "method", *rate_words(rates)]]
    for dataset in ("mfeat", "htad"):
        found = at_rates(dataset, read).reindex(columns=rates)
        body = [marked([figure(found[rate].loc[m]) for m in MISSING_METHODS], True) for rate in rates]
        lines += [[dataset, *line] for line in zip(MISSING_METHODS, *body, strict=True)]
    yield from markdown(lines)


def missing_lost() -> Iterator[str]:
    """What the same test combinations lose when the training rows had gaps, seed by seed."""
    rates = sorted(load("missing")["missing_train"].unique())[1:]
    lines: list[Sequence[str]] = [["data set", "method", *rate_words(rates)]]
    for dataset in ("mfeat", "htad"):
        found = at_rates(dataset, "mean")
        for method in MISSING_METHODS:
            own = found.loc[method]
            cells = [with_sign(figure(own[rate] - own[0.0])) if rate in own else "-" for rate in rates]
            lines.append([dataset, method, *cells])
    yield from markdown(lines)


def half_absent() -> Iterator[str]:
    """The large runs: mfeat, all 1,400 training rows, half of their inputs absent."""
    lines: list[Sequence[str]] = [["labels", "method", "none absent", "half absent", "change"]]
    for labels in (0.05, 1.0):
        gaps, whole = (half_of(name, labels) for name in ("missing", "main"))
        for method in dict.fromkeys(gaps.index.get_level_values("method")):
            without, with_gaps = whole.loc[method].loc[:2], gaps.loc[method].loc[:2]
            texts = [shown(figure(without)), shown(figure(with_gaps))]
            lines.append([rate_words([labels])[0], method, *texts, with_sign(figure(with_gaps - without))])
    yield from markdown(lines)


def half_of(name: str, labels: float) -> pd.Series:
    """Means over combinations of mfeat in a group of Robult's, by method and seed."""
    table = load(name, ROBULT)
    chosen = (table["dataset"] == "mfeat") & (table["metric"] == "accuracy") & (table["labels"] == labels)
    return means(table[chosen]).sort_index()


def draw_missing(axes: Sequence[Axes]) -> None:
    """Accuracy by training rate: a data set and a reading by axes."""
    panels = [(dataset, read) for dataset in ("mfeat", "htad") for read in ("complete", "same")]
    words = {"complete": "complete test rows", "same": "test rows as the training rows"}
    for ax, (dataset, read) in zip(axes, panels, strict=True):
        found = at_rates(dataset, read)
        curves(ax, {m: found.loc[m] for m in MISSING_METHODS})
        ax.set_title(f"{dataset}: {words[read]}", loc="left")
        ax.set_xlabel("share of the training inputs that are absent")
        ax.set_ylabel("accuracy")
    axes[0].legend(frameon=False, fontsize=8)


# ---- conflict --------------------------------------------------------------------------------------------

FUSIONS = ["late_fusion", "robult", "committee", "dropout_concat", "pgm, N = 1"]
STRONGEST = {"mfeat": "fac", "htad": "accelerometer"}


@cache
def conflicts() -> pd.DataFrame:
    """The runs' rows with the set, the share swapped in training, and what was read of the test rows."""
    table = load("conflict")
    parts = table["dataset"].str.extract(r"^(?P<set>\w+):swap=\w+@(?P<trained>.+)$")
    tested = table["subset"].str.extract(r"^swap (?P<swapped>\w+)@(?P<share>.+)$")
    table = pd.concat([table, parts, tested], axis=1)
    return table.astype({"trained": float, "share": float})


def clean(dataset: str, trained: float) -> pd.Series:
    """Test rows with all modalities, none swapped, by method and seed."""
    table = conflicts()
    table = table[(table["set"] == dataset) & (table["trained"] == trained) & table["share"].isna()]
    size = table["subset"].str.count(r"\+")
    return table[size == size.max()].set_index(["method", "seed"])["value"]


def left_out(dataset: str, modality: str) -> pd.Series:
    """Test rows without one modality, by method and seed, nothing swapped in training."""
    table = conflicts()
    table = table[(table["set"] == dataset) & (table["trained"] == 0.0) & table["share"].isna()]
    names = sorted({name for subset in table["subset"] for name in subset.split("+")})
    without = {frozenset(names) - {modality}}
    chosen = table["subset"].map(lambda subset: frozenset(subset.split("+")) in without)
    return table[chosen].set_index(["method", "seed"])["value"]


def swapped(dataset: str, modality: str, trained: float, share: float) -> pd.Series:
    """Test rows of which a share has one modality swapped, by method and seed."""
    if share == 0:
        return clean(dataset, trained)
    table = conflicts()
    chosen = (table["set"] == dataset) & (table["trained"] == trained)
    chosen &= (table["swapped"] == modality) & (table["share"] == share)
    return table[chosen].set_index(["method", "seed"])["value"]


def modalities(dataset: str) -> list[str]:
    """Those of a data set that were swapped in test rows."""
    table = conflicts()
    return list(table.loc[table["set"] == dataset, "swapped"].dropna().unique())


SHARES = (0.0, 0.1, 0.3, 0.5, 1.0)


def conflict_test() -> Iterator[str]:
    """Swapped test rows of models that have seen no conflict: the mean over the swapped modality."""
    header = ["data set", "fusion", *rate_words(SHARES), "left out", "swapped against left out"]
    lines: list[Sequence[str]] = [header]
    for dataset in STRONGEST:
        names = modalities(dataset)
        by_share = [sum(swapped(dataset, n, 0.0, share) for n in names) / len(names) for share in SHARES]
        without = sum(left_out(dataset, name) for name in names) / len(names)
        for method in FUSIONS:
            cells = [shown(figure(one.loc[method])) for one in (*by_share, without)]
            lines.append([dataset, method, *cells, with_sign(figure((by_share[-1] - without).loc[method]))])
    yield from markdown(lines)


def conflict_each() -> Iterator[str]:
    """All test rows swapped in one modality, modality by modality, against leaving it out."""
    lines: list[Sequence[str]] = [["data set", "swapped", *FUSIONS]]
    for dataset in STRONGEST:
        for name in modalities(dataset):
            harm = swapped(dataset, name, 0.0, 1.0) - left_out(dataset, name)
            lines.append([dataset, name, *(with_sign(figure(harm.loc[m])) for m in FUSIONS)])
    yield from markdown(lines)


def conflict_train(both: bool) -> Iterator[str]:
    """The strongest modality swapped in a share of the training rows (and of the test rows)."""
    lines: list[Sequence[str]] = [["data set", "fusion", *rate_words(SHARES), "left out"]]
    every = clean("htad", 0.0).index
    for dataset, name in STRONGEST.items():
        columns = [swapped(dataset, name, share, share if both else 0.0).reindex(every) for share in SHARES]
        body = [marked([figure(one.loc[m]) for m in FUSIONS], True) for one in columns]
        without = left_out(dataset, name)
        for method, *cells in zip(FUSIONS, *body, strict=True):
            lines.append([dataset, method, *cells, shown(figure(without.loc[method]))])
    yield from markdown(lines)


def draw_conflict(axes: Sequence[Axes]) -> None:
    """Accuracy by share of swapped rows: test rows, training rows, both; a line of axes a data set."""
    panels = [(dataset, part) for dataset in STRONGEST for part in ("test", "training", "both")]
    for ax, (dataset, part) in zip(axes, panels, strict=True):
        name = STRONGEST[dataset]
        trained, tested = part != "test", part != "training"
        found = {s: swapped(dataset, name, s * trained, s * tested) for s in SHARES}
        table = pd.DataFrame({share: values for share, values in found.items() if len(values)})
        curves(ax, {method: table.loc[method] for method in FUSIONS})
        rows = {"test": "test", "training": "training", "both": "training and test"}[part]
        ax.set_title(f"{dataset}: {name} swapped in {rows}", loc="left", fontsize=9)
        ax.set_xlabel("share of swapped rows")
        ax.set_ylabel("accuracy")
    axes[0].legend(frameon=False, fontsize=8)


# ---- pseudo-labels ---------------------------------------------------------------------------------------

TAUGHT = {"robult": "robult, labels alone", "committee": "committee, labels alone"}
RAMP = 8
"""Epochs, of 40, after which Robult's unlabelled loss has its full weight."""


@cache
def pseudo_cells() -> pd.DataFrame:
    """One line a fit with pseudo-labels: their accuracy, and what is gained over the labels alone."""
    table = load("pseudo")
    found = {place: means(part) for place, part in table.groupby(["dataset", "labels"])}
    lines = []
    for record in records("pseudo"):
        cell = record["cell"]
        if cell["name"] not in TAUGHT:
            continue
        values = found[cell["dataset"], cell["labels"]]
        taught, alone = (values[name, cell["seed"]] for name in (cell["name"], TAUGHT[cell["name"]]))
        right = [v for v in record["followed"]["pseudo_accuracy"] if v is not None]
        lines.append(
            {
                "method": cell["name"],
                **{name: cell[name] for name in ("dataset", "labels", "seed")},
                "first": right[RAMP - 1 if cell["name"] == "robult" else 0],
                "last": right[-1],
                "alone": alone,
                "taught": taught,
                "gain": taught - alone,
                "curve": right,
            }
        )
    return pd.DataFrame(lines)


def pseudo_gain() -> Iterator[str]:
    """Accuracy of pseudo-labels early and late, and the method with and without them."""
    header = ["data set", "labels", "method", "right early", "right at the end", "rises by"]
    lines: list[Sequence[str]] = [[*header, "labels alone", "with pseudo-labels", "gain"]]
    for (dataset, labels, method), part in pseudo_cells().groupby(
        ["dataset", "labels", "method"], sort=False
    ):
        lines.append(
            [
                str(dataset),
                rate_words([float(labels)])[0],
                str(method),
                shown(figure(part["first"])),
                shown(figure(part["last"])),
                with_sign(figure(part["last"] - part["first"])),
                shown(figure(part["alone"])),
                shown(figure(part["taught"])),
                with_sign(figure(part["gain"])),
            ]
        )
    yield from markdown(lines)


def pseudo_correlation() -> Iterator[str]:
    """Whether the fits with the better pseudo-labels gain more."""
    header = ["method", "labels", "fits", "gain with their accuracy", "by ranks"]
    lines: list[Sequence[str]] = [[*header, "within a data set and share", "gain with their rise"]]
    table = pseudo_cells()
    for method, words in product(TAUGHT, ("1 and 5 %", "5 %")):
        chosen = (table["method"] == method) & ((words != "5 %") | (table["labels"] == 0.05))
        part = table[chosen]
        own = part.groupby(["dataset", "labels"])[["last", "gain"]]
        centred = part[["last", "gain"]] - own.transform("mean")
        ranks = float(spearmanr(part["last"], part["gain"]).statistic)
        numbers = [
            part["last"].corr(part["gain"]),
            ranks,
            centred["last"].corr(centred["gain"]),
            (part["last"] - part["first"]).corr(part["gain"]),
        ]
        lines.append([method, words, str(len(part)), *(f"{number:+.2f}" for number in numbers)])
    yield from markdown(lines)


def draw_pseudo(axes: Sequence[Axes]) -> None:
    """Accuracy of pseudo-labels by epoch (above) and generation (below), a line a fit."""
    table = pseudo_cells()
    panels = [(method, dataset) for method in TAUGHT for dataset in ("mfeat", "htad", "wesad")]
    for ax, (method, dataset) in zip(axes, panels, strict=True):
        part = table[(table["method"] == method) & (table["dataset"] == dataset)]
        for labels, fits in part.groupby("labels"):
            colour = COLOURS[0] if labels == 0.05 else COLOURS[1]
            for number, curve in enumerate(fits["curve"]):
                label = f"{rate_words([labels])[0]} of the labels" if number == 0 else None
                ax.plot(range(1, len(curve) + 1), curve, color=colour, marker="o", ms=2, lw=1, label=label)
        if method == "robult":
            ax.axvline(RAMP, color="0.6", ls=":")
        ax.set_title(f"{method}, {dataset}", loc="left", fontsize=10)
        ax.set_xlabel("epoch" if method == "robult" else "generation taught")
        ax.set_ylabel("right pseudo-labels")
        ax.set_ylim(0, 1)
        ax.grid(alpha=0.3)
        if method == "committee":
            ax.set_xticks(range(1, 7))
    axes[1].legend(frameon=False, fontsize=8, loc="lower right")


# ---- pictures --------------------------------------------------------------------------------------------

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DRAWN = [*FUSIONS, "soft_self_training", "random_forest"]
"""In the order of colours and marks."""


def curves(ax: Axes, found: Mapping[str, pd.DataFrame]) -> None:
    """Mean over seeds by column, bands of one standard deviation."""
    for name, table in found.items():
        number = DRAWN.index(name)
        colour, marker = COLOURS[number], "osD^vPX"[number]
        mean, std = table.mean(), table.std()
        ax.plot(mean.index, mean, color=colour, marker=marker, ms=4, lw=1.5, label=name)
        ax.fill_between(mean.index, mean - std, mean + std, color=colour, alpha=0.15, lw=0)
    ax.grid(alpha=0.3)


PICTURES: dict[str, tuple[int, int, Callable[[Sequence[Axes]], None]]] = {
    "gaussian": (5, 5, draw_distances),
    "missing": (4, 2, draw_missing),
    "conflict": (6, 3, draw_conflict),
    "pseudo": (6, 3, draw_pseudo),
}
"""Name of the group and the picture -> axes, columns, and what draws them."""


def draw(name: str) -> None:
    """One picture as SVG, the same bytes for the same JSON."""
    import matplotlib

    from polymodal.plots import panels

    n, columns, drawn_by = PICTURES[name]
    with matplotlib.rc_context({"svg.hashsalt": "polymodal"}):
        picture, axes = panels(n, columns=columns, width=4.2, height=3.6)
        drawn_by(axes)
        picture.savefig(HERE / f"{name}.svg", metadata={"Date": None})


# ---- the pages -------------------------------------------------------------------------------------------

TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    "weightings": weightings,
    "rbf_everywhere": rbf_everywhere,
    "by_class": by_class,
    "wrong_place": wrong_place,
    "missing_complete": lambda: missing("complete"),
    "missing_same": lambda: missing("same"),
    "missing_lost": missing_lost,
    "half_absent": half_absent,
    "conflict_test": conflict_test,
    "conflict_each": conflict_each,
    "conflict_train": lambda: conflict_train(both=False),
    "conflict_both": lambda: conflict_train(both=True),
    "pseudo_gain": pseudo_gain,
    "pseudo_correlation": pseudo_correlation,
}


def filled(text: str) -> str:
    """A page with the table of each mark as the JSON has it."""
    return MARKED.sub(lambda found: found[1] + "\n".join(TABLES[found[2]]()) + found[3], text)


def main() -> None:
    """Write the tables into their pages, and the pictures."""
    for page in PAGES:
        page.write_text(filled(page.read_text()))
    for name in PICTURES:
        if (HERE / f"{name}.json").exists():
            draw(name)


if __name__ == "__main__":
    main()
