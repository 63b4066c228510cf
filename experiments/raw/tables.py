"""TABLES.md from the JSON files beside this script; no figure is typed by hand.

The command is: python experiments/raw/tables.py

A group that has not been run is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from polymodal.evaluation import OBSERVED
from polymodal.methods.floors import FLOORS
from polymodal.methods.floors.retrieval import RETRIEVAL_FLOORS
from polymodal.metrics import METRICS
from polymodal.retrieval import CHANCE

HERE = Path(__file__).parent
GROUPS = {
    "fashion": "accuracy",
    "dinov2": "accuracy",
    "attributes": "macro_f1",
    "mosi": "mae",
    "digits": "accuracy",
}
"""Group of runs -> the metric of its tables."""

NEURAL = ["robult", "pgm, N = 1", "actionmae"]
SENTIMENT = ["mae", "pearson_r", "acc2_has0", "acc2_non0", "acc7"]
MULTILABEL = ["macro_f1", "micro_f1", "average_precision"]
DIRECTIONS = ["image->title", "title->image"]
RECALLS = [f"recall_at_{k}" for k in (1, 5, 10)]

Figure = tuple[float, float]
"""Mean and standard deviation over seeds; NaN for the deviation of one seed."""


# ---- what was run ----------------------------------------------------------------------------------------


def load(name: str) -> pd.DataFrame | None:
    """The tidy rows of a group, undefined values NaN; None where it has not been run."""
    path = HERE / f"{name}.json"
    if not path.exists():
        return None
    rows = pd.DataFrame(json.loads(path.read_text())).astype({"value": float})
    rows["dataset"] = rows["dataset"].str.replace("image-dinov2-small", "dinov2-small")
    return rows


def places(rows: pd.DataFrame) -> Iterator[tuple[str, float, pd.DataFrame]]:
    """Data set with its encoders, share of labels, and the rows of the two."""
    for dataset in rows["dataset"].unique():
        here = rows[rows["dataset"] == dataset]
        for labels in sorted(here["labels"].unique()):
            yield dataset, labels, here[here["labels"] == labels]


def combinations(rows: pd.DataFrame) -> list[str]:
    """Combinations of modalities: all of them first, each alone last."""
    found = [s for s in rows["subset"].unique() if s != OBSERVED and not s.startswith("rate=")]
    return sorted(found, key=lambda subset: -subset.count("+"))


def methods(rows: pd.DataFrame) -> list[str]:
    """Neural methods, then floors from the simplest."""
    return [name for name in [*NEURAL, *FLOORS] if name in set(rows["method"])]


# ---- numbers ---------------------------------------------------------------------------------------------


def figure(values: pd.Series) -> Figure:
    """Mean and standard deviation over seeds."""
    return float(values.mean()), float(values.std())


def shown(one: Figure, digits: int = 3) -> str:
    """``0.912 ± 0.004``; without the deviation for one seed."""
    mean, std = one
    return f"{mean:.{digits}f}" + ("" if np.isnan(std) else f" ± {std:.{digits}f}")


def marked(column: Sequence[Figure], higher: bool) -> list[str]:
    """A column's cells: the best in bold, in italics what is no further off than the larger deviation."""
    means = np.array([mean for mean, _ in column])
    best = int((means if higher else -means).argmax())
    texts = []
    for mean, std in column:
        near = abs(mean - means[best]) <= np.nanmax([std, column[best][1], 0.0])
        sign = "**" if mean == means[best] else "*" if near else ""
        texts.append(f"{sign}{shown((mean, std))}{sign}")
    return texts


def by_method(rows: pd.DataFrame, subset: str, metric: str) -> dict[str, pd.Series]:
    """Method -> its values over seeds; of ``"mean"`` the mean over every combination."""
    rows = rows[rows["metric"] == metric]
    rows = rows[rows["subset"].isin(combinations(rows) if subset == "mean" else [subset])]
    return {name: rows[rows["method"] == name].groupby("seed")["value"].mean() for name in methods(rows)}


def markdown(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table whose first row is the header."""
    yield "| " + " | ".join(lines[0]) + " |"
    yield "|---" * len(lines[0]) + "|"
    for line in lines[1:]:
        yield "| " + " | ".join(line) + " |"
    yield ""


# ---- the tables ------------------------------------------------------------------------------------------


def summary_section() -> Iterator[str]:
    """Each method beside the best floor, with every modality and in mean over combinations."""
    yield "## In short"
    yield ""
    yield "What a network is better by than the best floor of the same table (which is chosen by these test"
    yield "rows, which flatters it). Bold is a win and italic a loss, each by more than its deviation over"
    yield "seeds."
    yield ""
    lines: list[Sequence[str]] = [["data", "labels", "modalities", "best floor", *NEURAL]]
    for name, metric in GROUPS.items():
        rows = load(name)
        for dataset, labels, part in places(rows) if rows is not None else ():
            for subset in (combinations(part)[0], "mean"):
                lines.append([dataset, f"{labels:.0%}", *beside_best_floor(part, subset, metric)])
    yield from markdown(lines)


def beside_best_floor(rows: pd.DataFrame, subset: str, metric: str) -> Iterator[str]:
    """Combination, best floor, and each neural method's gain on it."""
    sign = 1 if METRICS[metric].greater_is_better else -1
    found = by_method(rows, subset, metric)
    best = max((name for name in found if name in FLOORS), key=lambda name: sign * found[name].mean())
    yield subset
    yield f"{best} {shown(figure(found[best]))}"
    for name in NEURAL:
        floor = found[best] if len(found[best]) > 1 else found[best].iloc[0]
        mean, std = figure(sign * (found[name] - floor))
        mark = "" if abs(mean) <= std else "**" if mean > 0 else "*"
        yield f"{mark}{mean:+.3f} ± {std:.3f}{mark}"


def group_section(name: str, title: str, note: Sequence[str]) -> Iterator[str]:
    """Methods by rows, combinations of modalities by columns, a table for each place."""
    rows, metric = load(name), GROUPS[name]
    if rows is None:
        return
    yield f"## {title}"
    yield ""
    yield from note
    for dataset, labels, part in places(rows):
        yield f"### {dataset}, {labels:.0%} of the labels"
        yield ""
        yield f"{metric} ({'higher' if METRICS[metric].greater_is_better else 'lower'} is better)"
        yield ""
        columns = [*combinations(part), "mean"]
        found = {subset: by_method(part, subset, metric) for subset in columns}
        order = methods(part)
        cells = [
            marked([figure(found[c][m]) for m in order], METRICS[metric].greater_is_better) for c in columns
        ]
        yield from markdown([["method", *columns], *zip(order, *cells, strict=True)])


def metric_section(name: str, metrics: Sequence[str]) -> Iterator[str]:
    """All modalities: methods by rows, metrics by columns."""
    rows = load(name)
    for dataset, labels, part in places(rows) if rows is not None else ():
        subset, order = combinations(part)[0], methods(part)
        yield f"### {dataset}, {labels:.0%} of the labels, {subset}: every metric"
        yield ""
        cells = [
            marked(
                [figure(by_method(part, subset, metric)[m]) for m in order], METRICS[metric].greater_is_better
            )
            for metric in metrics
        ]
        yield from markdown([["method", *metrics], *zip(order, *cells, strict=True)])


def retrieval_section() -> Iterator[str]:
    """Recall of the partner and mAP, in both directions."""
    rows = load("retrieval")
    if rows is None:
        return
    yield "## Retrieval: photograph and title, fashion"
    yield ""
    yield "1,872 test pairs as queries and as the collection. *recall_at_k*: the query's own partner is among"
    yield "the first k; *map*: relevant is what has the query's class. *cca*, *pgm, pairs alone* and *chance*"
    yield "see no class. PgM has one round."
    yield ""
    for dataset, _, part in places(rows):
        order = ["pgm", "pgm, pairs alone", *RETRIEVAL_FLOORS, CHANCE]
        columns = [(metric, way) for way in DIRECTIONS for metric in [*RECALLS, "map"]]
        values = part.groupby(["metric", "subset", "method"])["value"]
        cells = [marked([figure(values.get_group((*c, m))) for m in order], True) for c in columns]
        yield f"### {dataset}"
        yield ""
        header = ["method", *(f"{way} {metric}" for metric, way in columns)]
        yield from markdown([header, *zip(order, *cells, strict=True)])


def seconds_section() -> Iterator[str]:
    """Processor seconds of a fit in one thread, encoding left out."""
    table: dict[str, dict[str, float]] = {}
    for name in GROUPS:
        if not (HERE / f"{name}.meta.json").exists():
            continue
        records = json.loads((HERE / f"{name}.meta.json").read_text())["cells"]
        seconds = pd.DataFrame([(r["cell"]["name"], r["cpu_seconds_fit"]) for r in records])
        table[name] = seconds.groupby(0)[1].median().to_dict()
    yield "## Processor seconds of a fit"
    yield ""
    yield "Median over all runs of a group, one thread, without encoding; the machine was shared."
    yield ""
    order = [m for m in [*NEURAL, *FLOORS] if any(m in column for column in table.values())]
    body = [[f"{column[m]:.1f}" if m in column else "-" for m in order] for column in table.values()]
    yield from markdown([["method", *table], *zip(order, *body, strict=True)])


# ---- the page --------------------------------------------------------------------------------------------


def text() -> str:
    """The whole page."""
    lines = [
        "# Raw inputs: tables",
        "",
        "Made by `python experiments/raw/tables.py` from the JSON beside it, which `run.py` and",
        "`retrieval.py` wrote. All splits are published ones. Encoders are in brackets: *dinov2-small* is",
        "the backbone that `tools/build_encoders.py` builds, as its package ships it (9 of 12 layers).",
        "TF-IDF learns from the training texts of each run, the other encoders are frozen.",
        "",
        "Columns are combinations of modalities, *mean* is over all of them. Mean ± standard deviation over",
        "3 seeds; a floor without deviation draws nothing and was run once. The best of a column is bold; in",
        "italics what is no further from it than the larger of the two deviations. Networks have at most 15",
        "epochs on the classes of fashion, 20 on digits, 60 elsewhere, and were not tuned on these data; PgM",
        "has one round.",
        "",
        *summary_section(),
        *group_section("fashion", "Fashion: 24 classes", ON_FASHION),
        *group_section("dinov2", "Fashion: 24 classes, another image encoder", []),
        *group_section("attributes", "Fashion: 52 attributes", ON_ATTRIBUTES),
        *metric_section("attributes", MULTILABEL),
        *group_section("mosi", "MOSI: sentiment from transcript and sound", ON_MOSI),
        *metric_section("mosi", SENTIMENT),
        *group_section("digits", "AV-digits: two unheard speakers", ON_DIGITS),
        *retrieval_section(),
        *seconds_section(),
    ]
    return "\n".join(lines)


ON_FASHION = [
    "Photographs of 60 x 80 pixels; titles without the words that name the class. *best_single* is the",
    "modality that is better in cross-validation on training rows. Boosted trees and pseudo-labels were run",
    "with few labels alone. Networks and floors get the same encoded cells.",
    "",
]
ON_ATTRIBUTES = [
    "Colour, usage, category and sub-category as labels that do not exclude each other. Each modality",
    "alone is a column of late fusion, so there is no *best_single*.",
    "",
]
ON_MOSI = ["Official split. The 73 features of the sound are published ones; text is raw.", ""]
ON_DIGITS = ["The sound is a series of log-mel frames, the image is raw and described by *descriptors*.", ""]


def main() -> None:
    """Write TABLES.md."""
    (HERE / "TABLES.md").write_text(text())


if __name__ == "__main__":
    main()
