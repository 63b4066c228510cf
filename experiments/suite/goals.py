"""experiments/suite/GOALS.md: what the default is to reach, and where it does, from the committed results.

    python experiments/suite/goals.py

Reads `core.json`, which `polymodal bench --suite core` wrote; no figure is typed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polymodal import methods, suite
from polymodal.evaluation import OBSERVED
from polymodal.methods.floors import FLOORS
from polymodal.metrics import METRICS

HERE = Path(__file__).parent
RESULTS = HERE / "core.json"
PAGE = HERE / "GOALS.md"

DEFAULT = methods.DEFAULT
RIVALS = ("late_fusion", "self_training", "soft_self_training")
"""Late fusion and its self-training."""
POINT = 0.01
FEW = {0.01: 0.85, 0.05: 0.98}
"""Share of the labels -> share of the figure with all labels that is to be reached."""
TIMES = 5.0

ABOUT = f"""\
Made by `python experiments/suite/goals.py` from the results behind [the leaderboard](../LEADERBOARD.md). The
default is the method `{DEFAULT}`. Figures are means of the data set's primary metric over the seeds that the
default was run with; a spread is the standard deviation over seeds of the paired difference, or of the rival
alone where the default was run with one seed. "Ahead" counts errors the other way round."""


@dataclass(frozen=True)
class Figures:
    """Figures of the suite, signed so that greater is better.

    Attributes:
        table: the tidy rows with ``score``, the signed value, and ``size``, how many modalities.
        greater: data set -> whether its metric is better when greater.
    """

    table: pd.DataFrame
    greater: dict[str, bool]

    @classmethod
    def read(cls, rows: pd.DataFrame) -> Figures:
        """From the suite's tidy table."""
        greater = {
            str(name): METRICS[part["metric"].iloc[0]].greater_is_better
            for name, part in rows.groupby("dataset")
        }
        signed = rows.assign(
            score=rows["value"] * np.where(rows["dataset"].map(greater), 1.0, -1.0),
            size=rows["subset"].str.count(r"\+") + 1,
        )
        return cls(signed, greater)

    def scores(self, statistic: str, missing: str, labels: float) -> pd.DataFrame:
        """(dataset, seed) x method: the mean, the worst, or all together (or the rows as they come)."""
        own = self.table[(self.table["missing"] == missing) & (self.table["labels"] == labels)]
        if missing != "complete":
            own = own[own["subset"] == OBSERVED]
        elif statistic == "all":
            own = own[own["size"] == own.groupby("dataset")["size"].transform("max")]
        how = {"worst": "min"}.get(statistic, "mean")
        return own.pivot_table("score", index=["dataset", "seed"], columns="method", aggfunc=how, sort=False)

    def alone(self, labels: float) -> pd.DataFrame:
        """(dataset, seed) x method: the *worst* modality alone, complete inputs."""
        own = self.table[(self.table["missing"] == "complete") & (self.table["labels"] == labels)]
        return own[own["size"] == 1].pivot_table(
            "score", index=["dataset", "seed"], columns="method", aggfunc="min", sort=False
        )

    @property
    def shares(self) -> list[float]:
        """Shares of labels, ascending."""
        return sorted(self.table["labels"].unique())

    @property
    def regimes(self) -> list[str]:
        """Missing regimes, complete first."""
        return list(dict.fromkeys(self.table["missing"]))


@dataclass(frozen=True)
class Lead:
    """The default against the best of some methods on one data set.

    Attributes:
        own: mean score of the default.
        rival: the best of the others by its mean.
        best: its mean score.
        spread: standard deviation over seeds of the difference; where they share one seed, of the rival; NaN
            where that has one too.
    """

    own: float
    rival: str
    best: float
    spread: float

    @property
    def ahead(self) -> float:
        """How far the default is ahead."""
        return self.own - self.best

    @property
    def is_behind(self) -> bool:
        """By more than the spread, or at all where that is not known."""
        return self.ahead < 0 and not self.ahead >= -self.spread


def lead(part: pd.DataFrame, rivals: Sequence[str]) -> Lead | None:
    """Of one data set's seeds x methods; None without a figure of the default or of any other."""
    known = [name for name in rivals if name in part and part[name].notna().any()]
    if DEFAULT not in part or part[DEFAULT].isna().all() or not known:
        return None
    paired = part[part[DEFAULT].notna()]
    means = paired[known].mean()
    if means.isna().all():
        return None
    rival = str(means.idxmax())
    difference = (paired[DEFAULT] - paired[rival]).dropna()
    spread = difference.std(ddof=1) if len(difference) > 1 else part[rival].std(ddof=1)
    return Lead(float(paired[DEFAULT].mean()), rival, float(means[rival]), float(spread))


def leads(scores: pd.DataFrame, rivals: Sequence[str]) -> dict[str, Lead]:
    """By data set."""
    found = {str(name): lead(part, rivals) for name, part in scores.groupby("dataset", sort=False)}
    return {name: own for name, own in found.items() if own is not None}


# ---- Markdown --------------------------------------------------------------------------------------------


def markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table whose first row is the header."""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|---" * len(rows[0]) + "|"
    for row in rows[1:]:
        yield "| " + " | ".join(row) + " |"
    yield ""


def share(labels: float) -> str:
    """A share of labels."""
    return f"{100 * labels:g} %"


def told(own: Lead) -> str:
    """A lead in a cell of a table."""
    spread = "" if np.isnan(own.spread) else f" ± {own.spread:.3f}"
    mark = "" if own.ahead >= 0 else " **behind**" if own.is_behind else " (within)"
    return f"{own.ahead:+.3f}{spread} {own.rival}{mark}"


def verdict(n_met: int, n: int) -> str:
    """How often a goal is met."""
    return f"Met in {n_met} of {n}." if n_met < n else f"Met in all {n}."


# ---- goals -----------------------------------------------------------------------------------------------


def against_late_fusion(figures: Figures) -> Iterator[str]:
    """Mean and worst at or above late fusion and its self-training."""
    yield "## At or above late fusion and its self-training, in mean and in the worst combination"
    yield ""
    yield "Complete inputs; the rival named is the best of the three."
    yield ""
    for statistic in ("mean", "worst"):
        by_share = {s: leads(figures.scores(statistic, "complete", s), RIVALS) for s in figures.shares}
        every = [own for found in by_share.values() for own in found.values()]
        yield f"### {statistic}"
        yield ""
        yield verdict(sum(own.ahead >= 0 for own in every), len(every))
        yield f"Ahead by more than the spread in {sum(own.ahead > own.spread for own in every)}."
        yield ""
        yield from by_dataset(by_share)


def by_dataset(found: dict[float, dict[str, Lead]]) -> Iterator[str]:
    """A table data set x share of labels."""
    names = list(dict.fromkeys(name for part in found.values() for name in part))
    rows = [["data set", *(share(s) for s in found)]]
    rows += [
        [name, *(told(part[name]) if name in part else "-" for part in found.values())] for name in names
    ]
    yield from markdown(rows)


def few_labels(figures: Figures) -> Iterator[str]:
    """How much of the figure with all labels few labels reach."""
    yield "## Few labels against all of them"
    yield ""
    yield "Mean over combinations with 5 % of the labels at least 98 %, with 1 % at least 85 % of the same"
    yield "model's with all labels; beside it the best of late fusion and its self-training. This is asked of"
    yield "sets with fair teachers; 1 % and 5 % are 10 and 50 labels at most here. All are shown."
    yield ""
    full = (
        figures.scores("mean", "complete", 1.0).groupby("dataset", sort=False).mean().dropna(subset=[DEFAULT])
    )
    rows = [["data set", *(f"{share(s)}: {who}" for s in FEW for who in ("the default", "a floor"))]]
    n_met = n = 0
    for name in [name for name in full.index if figures.greater[name]]:
        cells = []
        for s, goal in FEW.items():
            few = figures.scores("mean", "complete", s).groupby("dataset").mean()
            if name not in few.index or np.isnan(few.loc[name, DEFAULT]):
                cells += ["-", "-"]
                continue
            reached = few.loc[name] / full.loc[name]
            floor = reached[[rival for rival in RIVALS if rival in reached]].max()
            n, n_met = n + 1, n_met + (reached[DEFAULT] >= goal)
            met = "" if reached[DEFAULT] >= goal else " (short)"
            cells += [f"{reached[DEFAULT]:.1%}{met}", f"{floor:.1%}"]
        rows.append([str(name), *cells])
    yield verdict(n_met, n)
    yield ""
    yield from markdown(rows)


def gaps(figures: Figures) -> Iterator[str]:
    """Never below the best floor by more than the spread, where inputs are missing."""
    floors = [name for name in FLOORS if name in set(figures.table["method"])]
    yield "## Inputs missing in training and test: not below the best floor by more than the spread"
    yield ""
    for missing in figures.regimes[1:]:
        by_share = {s: leads(figures.scores("mean", missing, s), floors) for s in figures.shares}
        every = [own for found in by_share.values() for own in found.values()]
        yield f"### {missing}"
        yield ""
        yield verdict(sum(not own.is_behind for own in every), len(every))
        yield ""
        yield from by_dataset(by_share)


def complete(figures: Figures) -> Iterator[str]:
    """At least the best floor with complete data and all labels."""
    floors = [name for name in FLOORS if name in set(figures.table["method"])]
    yield "## Complete data, all labels: at least the best floor"
    yield ""
    found = {
        statistic: leads(figures.scores(statistic, "complete", 1.0), floors) for statistic in ("mean", "all")
    }
    rows = [["data set", "mean over combinations", "all together"]]
    for name in found["mean"]:
        rows.append([name, *(told(part[name]) for part in found.values())])
    every = [own for part in found.values() for own in part.values()]
    yield verdict(sum(own.ahead >= 0 for own in every), len(every))
    yield ""
    yield from markdown(rows)


def worst_modality(figures: Figures) -> Iterator[str]:
    """The worst combination against the worst modality's own model."""
    yield "## The worst combination against the worst modality's own model, less a point"
    yield ""
    yield "The model of a modality alone is late fusion's; complete inputs."
    yield ""
    rows = [["data set", *(share(s) for s in figures.shares)]]
    table: dict[str, list[str]] = {}
    n_met = n = 0
    for s in figures.shares:
        difference = figures.scores("worst", "complete", s)[DEFAULT] - figures.alone(s)["late_fusion"]
        for name, ahead in difference.groupby("dataset", sort=False).mean().dropna().items():
            n, n_met = n + 1, n_met + (ahead >= -POINT)
            table.setdefault(str(name), []).append(
                f"{ahead:+.3f}" + ("" if ahead >= -POINT else " **behind**")
            )
    yield verdict(n_met, n)
    yield ""
    yield from markdown(rows + [[name, *cells] for name, cells in table.items()])


def time(meta: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Training against plain Robult."""
    cells = [line for line in meta if "cell" in line and "cpu_seconds_fit" in line]
    table = pd.DataFrame(
        {
            "dataset": [name_of(line["cell"]) for line in cells],
            "method": [line["cell"]["method"] for line in cells],
            "labels": [line["cell"]["labels"] for line in cells],
            "seconds": [line["cpu_seconds_fit"] for line in cells],
        }
    )
    found = table.pivot_table(
        "seconds", index=["dataset", "labels"], columns="method", aggfunc="median", sort=False
    )
    if "robult" not in found:
        return
    yield f"## Training within {TIMES:g} times plain Robult"
    yield ""
    ratio = (found[DEFAULT] / found["robult"]).dropna()
    yield verdict(int((ratio <= TIMES).sum()), len(ratio))
    yield ""
    shares = sorted(set(ratio.index.get_level_values("labels")))
    rows = [["data set", *(share(s) for s in shares)]]
    for name in dict.fromkeys(ratio.index.get_level_values("dataset")):
        rows.append([str(name), *(f"{ratio.get((name, s), np.nan):.2f}" for s in shares)])
    yield from markdown(rows)


def name_of(cell: dict[str, Any]) -> str:
    """How tables call the data set of a cell."""
    variant = f":{cell['variant']}" if cell["variant"] else ""
    split = f"/{cell['split']}" if cell["split"] else ""
    return f"{cell['dataset']}{variant}{split}"


def summary(lines: Sequence[str]) -> Iterator[str]:
    """How often each goal is met, as the page's headings and verdicts have it."""
    rows, goal = [["goal", "met"]], ""
    for line in lines:
        if line.startswith("## "):
            goal = line.removeprefix("## ")
        elif line.startswith("### "):
            goal = f"{goal.split(' · ')[0]} · {line.removeprefix('### ')}"
        elif line.startswith("Met in "):
            rows.append([goal, line.removeprefix("Met in ").removesuffix(".")])
    yield from markdown(rows)


def text(results: Path = RESULTS) -> str:
    """The whole page."""
    rows = pd.DataFrame(json.loads(results.read_text()), columns=suite.running.TABLE).astype({"value": float})
    meta = json.loads(results.with_suffix(".meta.json").read_text())
    figures = Figures.read(rows)
    goals = [
        *against_late_fusion(figures),
        *few_labels(figures),
        *gaps(figures),
        *complete(figures),
        *worst_modality(figures),
        *time(meta),
    ]
    lines = [
        "# What the default is to reach, and where it does",
        "",
        *ABOUT.splitlines(),
        "",
        *summary(goals),
        *goals,
        "## A modality of noise or of conflict costs under a point",
        "",
        "[A modality too many](../default/ADDED.md): two data sets, not of the grid.",
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(text())
