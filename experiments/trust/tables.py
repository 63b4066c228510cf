"""TABLES.md and the pictures beside it from coverage.json; no figure is typed by hand.

The command is: python experiments/trust/tables.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from polymodal.evaluation import OBSERVED
from polymodal.plots import coverage_bars, error_dots, panels

HERE = Path(__file__).parent
UNCALIBRATED, BY_PATTERN, COMMON = "uncalibrated", "temperature by pattern", "one temperature"
AS_THEY_COME, COMPLETE = "one temperature, rows as they come", ", complete rows"
LEARNT_ON = {"that lost half of their inputs": "", "with every input": COMPLETE}
"""Which rows a temperature was learnt on -> how the ways to calibrate are marked."""
WAYS = {
    UNCALIBRATED: UNCALIBRATED,
    AS_THEY_COME: "one temperature, of the rows as they come",
    COMMON: "one temperature, of all patterns together",
    BY_PATTERN: BY_PATTERN,
}


HEAD = """\
# Trust: tables

Made by `python experiments/trust/tables.py` from `coverage.json`, which
`python experiments/trust/coverage.py --data DIR` wrote: Robult; mfeat with 5 % of the labels, htad and
wesad with all; 5 seeds. Of the held-out rows 30 % learn the temperatures and 70 % are measured, complete
and masked to each pattern. Mean ± standard deviation over seeds.

## Calibration errors

ECE in 15 bins, Brier score and log loss of every pattern of presence, averaged over the patterns named;
lower is better. A temperature by pattern is compared with the model as it is and with a single one.
"""
SETS = """\
## Coverage and size of 90 % prediction sets

Over 200 re-splits of the measured rows, half calibrating and half tested, of one fitted model's scores,
calibrated by pattern. *Of the score alone*: before the likeliest class joins a set that lacks it. By the
number of inputs; *lowest*: of the pattern that is covered least.
"""


def load() -> pd.DataFrame:
    """The tidy rows, without those of a data set's rows as they are: they are complete, too."""
    table = pd.DataFrame(json.loads((HERE / "coverage.json").read_text())).astype({"value": float})
    return table[table["subset"] != OBSERVED]


def ways(table: pd.DataFrame, mark: str) -> dict[str, str]:
    """Names in the table -> names on the page, of the ways to calibrate that saw one kind of rows."""
    names = {key if key == UNCALIBRATED else key + mark: name for key, name in WAYS.items()}
    return {key: name for key, name in names.items() if (table["method"] == key).any()}


def markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table whose first row is the header."""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|---" * len(rows[0]) + "|"
    for row in rows[1:]:
        yield "| " + " | ".join(row) + " |"
    yield ""


def spread(values: pd.Series, digits: int = 3) -> str:
    """Mean ± standard deviation of figures of one seed each."""
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def calibration(table: pd.DataFrame, mark: str) -> Iterator[str]:
    """The errors of one data set by the ways to calibrate."""
    size = table["subset"].str.count(r"\+") + 1
    parts = {"one input": size == 1, "all inputs": size == size.max(), "all patterns": size > 0}
    columns = [("ece", part) for part in parts] + [("brier", "all patterns"), ("log_loss", "all patterns")]
    words = {"ece": "ECE", "brier": "Brier", "log_loss": "log loss"}
    rows = [["way", *(f"{words[metric]}, {part}" for metric, part in columns)]]
    for key, name in ways(table, mark).items():
        cells = []
        for metric, part in columns:
            chosen = table[(table["method"] == key) & (table["metric"] == metric) & parts[part]]
            cells.append(spread(chosen.groupby("seed")["value"].mean()))
        rows.append([name, *cells])
    yield from markdown(rows)


def coverage(table: pd.DataFrame) -> Iterator[str]:
    """Coverage and size of the sets by the number of inputs, of the model calibrated by pattern."""
    found = table[table["method"] == BY_PATTERN]
    rows = [
        ["data set", "inputs", "patterns", "coverage", "of the score alone", "lowest pattern", "set size"]
    ]
    for dataset, own in found.groupby("dataset", sort=False):
        own = own.assign(size=own["subset"].str.count(r"\+") + 1)
        for size, part in own.groupby("size"):
            by_metric = {m: p.groupby(["subset", "seed"])["value"].mean() for m, p in part.groupby("metric")}
            seeds = {m: v.groupby("seed").mean() for m, v in by_metric.items()}
            lowest = by_metric["coverage"].groupby("subset").mean().min()
            cells = [str(dataset), str(size), str(part["subset"].nunique()), spread(seeds["coverage"])]
            cells += [spread(seeds["score_coverage"]), f"{lowest:.3f}", spread(seeds["set_size"], 2)]
            rows.append(cells)
    yield from markdown(rows)


def patterns(table: pd.DataFrame, mark: str) -> Iterator[str]:
    """Every pattern of one data set: errors three ways, coverage, its spread over re-splits, size."""
    three = {UNCALIBRATED: "as it is", COMMON + mark: "one T", BY_PATTERN + mark: "by pattern"}
    own = {"coverage": 3, "coverage_std": 3, "set_size": 2}
    header = ["pattern", *(f"ECE, {w}" for w in three.values()), *(f"Brier, {w}" for w in three.values())]
    rows = [[*header, "coverage", "± over re-splits", "set size"]]
    means = table.groupby(["metric", "method", "subset"], sort=False)["value"].agg(["mean", "std"])
    for subset in sorted(table["subset"].unique(), key=lambda name: name.count("+")):
        errors = [means.loc[(m, way, subset)] for m in ("ece", "brier") for way in three]
        sets = [f"{means.loc[(m, BY_PATTERN, subset), 'mean']:.{digits}f}" for m, digits in own.items()]
        rows.append([subset, *(f"{e['mean']:.3f} ± {e['std']:.3f}" for e in errors), *sets])
    yield from markdown(rows)


def text() -> str:
    """The whole page."""
    table = load()
    lines = [HEAD]
    for dataset, own in table.groupby("dataset", sort=False):
        for rows, mark in LEARNT_ON.items():
            if len(ways(own, mark)) > 1:
                lines += [f"### {dataset}, learnt on rows {rows}", "", *calibration(own, mark)]
    lines += ["![ECE of every combination](calibration.png)", ""]
    lines += [SETS]
    lines += [*coverage(table), "![Coverage of every combination](coverage.png)", ""]
    lines += ["## Every pattern", ""]
    for dataset, own in table.groupby("dataset", sort=False):
        mark = COMPLETE if len(ways(own, COMPLETE)) > 1 else ""
        rows = next(words for words, its in LEARNT_ON.items() if its == mark)
        lines += [f"### {dataset}, learnt on rows {rows}", "", *patterns(own, mark)]
    return "\n".join(lines).rstrip() + "\n"


def pictures() -> None:
    """calibration.png and coverage.png: every pattern of every data set."""
    table = load()
    datasets = list(table["dataset"].unique())
    mark = COMPLETE if len(ways(table, COMPLETE)) > 1 else ""
    shown = {UNCALIBRATED: UNCALIBRATED, COMMON + mark: COMMON, BY_PATTERN + mark: BY_PATTERN}
    drawn = table[table["method"].isin(shown)].assign(method=lambda t: t["method"].map(shown))
    figure, axes = panels(len(datasets), columns=1, height=3.4)
    for dataset, ax in zip(datasets, axes, strict=True):
        error_dots(drawn[drawn["dataset"] == dataset], ax)
        ax.set_title(f"{dataset}: calibration error, ± over 5 seeds", loc="left", fontsize=10)
    figure.savefig(HERE / "calibration.png")
    figure, axes = panels(len(datasets), columns=1, height=2.8)
    for dataset, ax in zip(datasets, axes, strict=True):
        coverage_bars(table[(table["dataset"] == dataset) & (table["method"] == BY_PATTERN)], ax)
        ax.set_title(
            f"{dataset}: coverage, ± over re-splits; promised: 90 %",
            loc="left",
            fontsize=10,
        )
    figure.savefig(HERE / "coverage.png")


def main() -> None:
    """Write the page and its pictures."""
    (HERE / "TABLES.md").write_text(text())
    pictures()


if __name__ == "__main__":
    main()
