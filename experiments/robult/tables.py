"""TABLES.md from the JSON files beside this script; no figure is typed by hand.

The command is: python experiments/robult/tables.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from polymodal.evaluation import OBSERVED, aggregate, summarise
from polymodal.methods.floors import FLOORS
from polymodal.metrics import METRICS

HERE = Path(__file__).parent
PRIMARY = {
    "mfeat": ["accuracy"],
    "htad": ["accuracy"],
    "wesad": ["macro_f1"],
    "extrasensory": ["balanced_accuracy"],
    "av_digits": ["accuracy"],
    "mosi/split_bclstm": ["mae", "pearson_r", "acc2_non0", "acc7"],
    "mosi/split_clean": ["mae", "pearson_r", "acc2_non0", "acc7"],
}
NEURAL = ["robult", "robult (rbf)", "actionmae", "mmin"]
COLUMNS = ["all", "mean", "worst", "area", "observed"]


def load(name: str) -> pd.DataFrame:
    """The tidy rows of a group of runs; undefined values become NaN."""
    table = pd.DataFrame(json.loads((HERE / f"{name}.json").read_text()))
    return table.astype({"value": float})


def seconds(name: str) -> pd.Series:
    """Median seconds of a fit, by method and data set."""
    cells = json.loads((HERE / f"{name}.meta.json").read_text())["cells"]
    rows = [
        {
            "method": cell["cell"]["name"],
            "dataset": "/".join(filter(None, (cell["cell"]["dataset"], cell["cell"]["split"]))),
            "seconds": cell["seconds_fit"],
        }
        for cell in cells
    ]
    return pd.DataFrame(rows).groupby(["dataset", "method"])["seconds"].median()


def figures(table: pd.DataFrame) -> pd.DataFrame:
    """One row a method and one column each of all, mean and worst: (mean, std) over seeds."""
    summary = aggregate(summarise(table))
    chosen = summary[summary["statistic"].isin(COLUMNS)]
    return chosen.pivot_table(index="method", columns="statistic", values=["mean", "std"], dropna=False)


def markdown(rows: list[list[str]]) -> Iterator[str]:
    """Lines of a Markdown table whose first row is the header."""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|---" * len(rows[0]) + "|"
    for row in rows[1:]:
        yield "| " + " | ".join(row) + " |"


def rank(method: str) -> int:
    """Where a method stands in a table: methods first, then floors from the simplest; others as they come."""
    known = [*NEURAL, *FLOORS]
    return known.index(method) if method in known else len(known)


def section(table: pd.DataFrame, metric: str) -> Iterator[str]:
    """One data set, one share of labels, one metric: methods by rows, the best of each column in bold."""
    found = figures(table[table["metric"] == metric])
    higher = METRICS[metric].greater_is_better
    order = sorted(found.index, key=lambda method: (method not in NEURAL, rank(method)))
    columns = [c for c in COLUMNS if c != OBSERVED or not found["mean"][c].equals(found["mean"]["all"])]
    rows = [["method", *columns]]
    best = {c: found["mean"][c].max() if higher else found["mean"][c].min() for c in columns}
    for method in order:
        cells = []
        for column in columns:
            mean, std = found["mean"][column][method], found["std"][column][method]
            text = f"{mean:.3f} ± {std:.3f}"
            cells.append(f"**{text}**" if mean == best[column] else text)
        rows.append([method if method not in NEURAL else f"*{method}*", *cells])
    yield f"{metric} ({'higher' if higher else 'lower'} is better)"
    yield ""
    yield from markdown(rows)
    yield ""


def group(name: str, title: str) -> Iterator[str]:
    """All sections of a group of runs."""
    table = load(name)
    yield f"## {title}"
    yield ""
    for dataset in table["dataset"].unique():
        here = table[table["dataset"] == dataset]
        for labels in sorted(here["labels"].unique()):
            part = here[here["labels"] == labels]
            yield f"### {dataset}, {labels:.0%} of the labels, {part['seed'].nunique()} seeds"
            yield ""
            for metric in PRIMARY[dataset]:
                yield from section(part, metric)


def one_modality() -> Iterator[str]:
    """Robult with 5 % of the labels read through one modality; that modality's own model with all labels."""
    table = load("main")
    other = table["subset"].str.contains("+", regex=False) | table["subset"].str.startswith("rate=")
    table = table[~other & (table["subset"] != OBSERVED)]
    yield "## One modality: Robult with 5 % of the labels, and the modality's own model with all"
    yield ""
    yield "The own model is the late-fusion floor's linear model of that modality. Mean ± std over 5 seeds."
    yield ""
    rows = [["data set", "modality", "metric", "Robult, 5 %", "own model, 5 %", "own model, 100 %"]]
    for dataset, metrics in PRIMARY.items():
        here = table[(table["dataset"] == dataset) & (table["metric"] == metrics[0])]
        for modality in here["subset"].unique():
            of = here[here["subset"] == modality]
            pairs = [("robult", 0.05), ("late_fusion", 0.05), ("late_fusion", 1.0)]
            values = [of[(of["method"] == m) & (of["labels"] == share)]["value"] for m, share in pairs]
            rows.append([dataset, modality, metrics[0], *(f"{v.mean():.3f} ± {v.std():.3f}" for v in values)])
    yield from markdown(rows)
    yield ""


def cost() -> Iterator[str]:
    """Parameters, multiply-adds and latency, from cost.json."""
    rows = json.loads((HERE / "cost.json").read_text())["rows"]
    yield "## What a prediction costs"
    yield ""
    header = ["shape", "method", "parameters in training", "saved", "multiply-adds a row"]
    header += ["ms, all", "ms, one modality"]
    body = [
        [
            r["shape"],
            r["method"],
            f"{r['parameters_in_training']:,}",
            f"{r['parameters_saved']:,}",
            f"{r['multiply_adds_a_row']:,}",
            f"{r['latency_ms_all']:.2f}",
            f"{r['latency_ms_one_modality']:.2f}",
        ]
        for r in rows
    ]
    yield from markdown([header, *body])
    yield ""


def fit_seconds() -> Iterator[str]:
    """Median seconds of a fit in one thread."""
    table = seconds("main").reset_index().pivot_table(index="method", columns="dataset", values="seconds")
    yield "## Seconds of a fit"
    yield ""
    yield "Median over label shares and seeds, one thread, two runs side by side; compare within the table."
    yield ""
    order = sorted(table.index, key=rank)
    body = [[m, *("-" if v != v else f"{v:.1f}" for v in table.loc[m])] for m in order]
    yield from markdown([["method", *table.columns], *body])
    yield ""


def text() -> str:
    """The whole page."""
    lines = [
        "# Robult: tables",
        "",
        "Made by `python experiments/robult/tables.py` from the JSON beside it, which",
        "`python experiments/robult/run.py --data DIR` and `python experiments/robult/cost.py` wrote.",
        "*all*: the rows with every modality; *mean* and *worst*: over every combination of modalities;",
        "*area*: under the curve of the metric against the rate of missing inputs, divided by its width;",
        "*observed*: every test row with whatever it has, where inputs are missing by nature.",
        "Mean ± standard deviation over seeds; the best of each column in bold; methods in italics, the rest",
        "are floors. *robult (rbf)* weighs pseudo-positives as the paper does.",
        "",
        *group("main", "Robult, its rivals and the floors"),
        *group("ablations", "Ablations, 5 % of the labels"),
        *group("missing", "Training inputs absent at random"),
        *group("masking", "ActionMAE's masking, as published and mended"),
        *one_modality(),
        *cost(),
        *fit_seconds(),
    ]
    return "\n".join(lines)


def main() -> None:
    """Write TABLES.md."""
    (HERE / "TABLES.md").write_text(text())


if __name__ == "__main__":
    main()
