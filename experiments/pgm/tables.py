"""TABLES.md from the JSON files beside this script and those of Robult; no figure is typed by hand.

The command is: python experiments/pgm/tables.py

A group that has not been run is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polymodal.evaluation import OBSERVED, summarise
from polymodal.methods.floors import FLOORS
from polymodal.metrics import METRICS
from polymodal.partition import SHARES
from polymodal.retrieval import CHANCE

HERE = Path(__file__).parent
ROBULT = HERE.parent / "robult"
PRIMARY = {
    "mosi/split_bclstm": "mae",
    "mosi/split_clean": "mae",
    "wesad": "macro_f1",
    "extrasensory": "balanced_accuracy",
    "wiki": "accuracy",
    "mfeat": "accuracy",
    "htad": "accuracy",
    "av_digits": "accuracy",
}
SENTIMENT = ["mae", "pearson_r", "acc2_has0", "acc2_non0", "f1_non0", "acc7"]
NEURAL = ["pgm", "ume", "umt", "concatenation", "robult", "actionmae", "mmin"]
IN_SUBSETS = ["pgm", "ume", "umt", "concatenation", "robult", "late_fusion"]
BASELINE = "pgm, N = 1"
"""What all variants are variants of, in the group ``fusion``: PgM with one round."""
CALLED = {"fusion": "concat", "stages": "two_stage", "ablations": BASELINE, "dials": BASELINE}
"""Group -> what the baseline is called in the group's tables."""
COLUMNS = ["all", "mean", "worst", OBSERVED]
DIRECTIONS = ["image->text", "text->image"]
ON_ABLATIONS = [
    "Shares of soft gates and R2 are means over modalities. *reconstruction alone* never sees the task: its",
    "predictions mean nothing, its shares say whether the reconstruction by itself opens the gates. *no",
    "decoder* is not trained to rebuild, and has one stage.",
    "",
]

Figure = tuple[float, float]
"""Mean and standard deviation over seeds; NaN for the deviation of one seed."""


# ---- what was run ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """A group of runs.

    Attributes:
        rows: tidy rows of the metrics of ``PRIMARY`` and ``SENTIMENT``; undefined values are NaN.
        records: one a run: dataset, method, seed, labels, seconds, hashes and diagnostics.
    """

    rows: pd.DataFrame
    records: pd.DataFrame

    def where(self, **given: Any) -> Group:
        """The part whose columns have these values; a list is any of them."""
        lists = {k: v if isinstance(v, list) else [v] for k, v in given.items()}
        rows, records = self.rows, self.records
        for name, values in lists.items():
            rows, records = rows[rows[name].isin(values)], records[records[name].isin(values)]
        return Group(rows, records)

    def named(self, name: str) -> Group:
        """The same under another method's name."""
        return Group(self.rows.assign(method=name), self.records.assign(method=name))

    def __add__(self, other: Group) -> Group:
        return Group(
            pd.concat([self.rows, other.rows], ignore_index=True),
            pd.concat([self.records, other.records], ignore_index=True),
        )


@cache
def load(name: str, folder: Path = HERE) -> Group | None:
    """A group of runs, or None where it has not been run."""
    if not (folder / f"{name}.json").exists():
        return None
    rows = pd.DataFrame(json.loads((folder / f"{name}.json").read_text())).astype({"value": float})
    cells = json.loads((folder / f"{name}.meta.json").read_text())["cells"]
    return Group(rows, pd.DataFrame([record_of(cell) for cell in cells]))


def record_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """One run's record, flat, with the names that tables use."""
    cell, kept = content["cell"], content.get("diagnostics", {})
    return {
        "dataset": "/".join(filter(None, (cell["dataset"], cell["split"]))),
        "method": cell["name"],
        "seed": cell["seed"],
        "labels": cell["labels"],
        "hashes": json.dumps(content.get("sha256")),
        "seconds": content.get("cpu_seconds_fit", content["seconds_fit"]),
        "epochs": content.get("n_epochs"),
        "gap": kept.get("soft_hard_gap", np.nan),
        "diagnostics": kept,
    }


def with_baseline(name: str) -> Group | None:
    """A group of variants beside the baseline at the same places and seeds; None where one was not run."""
    group, fusion, main = load(name), load("fusion"), load("main")
    if group is None or fusion is None or main is None:
        return None
    beside = fusion.where(method=BASELINE).named(CALLED[name])
    if name == "dials":
        beside += main.where(method="pgm").named("N = 3")
    rest = group.where(method=[m for m in group.records["method"].unique() if m != BASELINE])
    places = rest.records[["dataset", "labels", "seed"]].drop_duplicates()
    return Group(beside.rows.merge(places), beside.records.merge(places)) + rest


def beside_robult(main: Group) -> Group:
    """The main group, and Robult, its rivals and the floors at the same places and seeds."""
    robult = load("main", ROBULT)
    assert robult is not None
    robult = robult.where(method=[*NEURAL, *FLOORS])
    places = main.records[["dataset", "labels", "seed"]].drop_duplicates()
    other = Group(robult.rows.merge(places), robult.records.merge(places))
    judge_same_draws(main, other)
    return main + other


def judge_same_draws(main: Group, other: Group) -> None:
    """Two groups of runs are compared: splits, labels kept and inputs absent must be the same draws."""
    places = ["dataset", "labels", "seed"]
    draws = pd.concat([main.records, other.records]).groupby(places)["hashes"].nunique()
    assert (draws == 1).all(), f"other draws: {draws[draws != 1]}"


# ---- numbers ---------------------------------------------------------------------------------------------


def statistics(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One line a (method, seed), one column a statistic: all, mean, worst, observed, of one metric."""
    table = summarise(rows[rows["metric"] == metric])
    return table.pivot_table(index=["method", "seed"], columns="statistic", values="value", sort=False)


def figure(values: pd.Series) -> Figure:
    """Mean and standard deviation over seeds."""
    return float(values.mean()), float(values.std())


def shown(one: Figure, digits: int = 3) -> str:
    """``0.912 ± 0.004``; without the deviation for one seed, a dash for nothing."""
    mean, std = one
    if np.isnan(mean):
        return "-"
    return f"{mean:.{digits}f}" + ("" if np.isnan(std) else f" ± {std:.{digits}f}")


def marked(column: Sequence[Figure], higher: bool) -> list[str]:
    """A column's cells: the best in bold, in italics what is as good within a standard deviation.

    Within a standard deviation: no further from the best than the larger of the two deviations.
    """
    means = np.array([mean for mean, _ in column])
    if np.isnan(means).all():
        return [shown(one) for one in column]
    best = int(np.nanargmax(means if higher else -means))
    texts = []
    for mean, std in column:
        near = abs(mean - means[best]) <= np.nan_to_num(max(std, column[best][1]))
        sign = "**" if mean == means[best] else "*" if near else ""
        texts.append(f"{sign}{shown((mean, std))}{sign}")
    return texts


def rank(method: str) -> tuple[bool, int]:
    """Where a method stands: neural methods, variants as they come, then floors from the simplest."""
    known = [*NEURAL, *FLOORS]
    return method in FLOORS, known.index(method) if method in known else len(known)


def markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table whose first row is the header."""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|---" * len(rows[0]) + "|"
    for row in rows[1:]:
        yield "| " + " | ".join(row) + " |"
    yield ""


def heading(dataset: str, labels: float, group: Group) -> Iterator[str]:
    """Data set, share of labels and seeds; then the metric and its direction."""
    n_seeds, metric = group.rows["seed"].nunique(), PRIMARY[dataset]
    yield f"### {dataset}, {labels:.0%} of the labels, {n_seeds} {'seed' if n_seeds == 1 else 'seeds'}"
    yield ""
    yield f"{metric} ({'higher' if METRICS[metric].greater_is_better else 'lower'} is better)"
    yield ""


def places(group: Group) -> Iterator[tuple[str, float, Group]]:
    """Data set and share of labels of a group, in the order of ``PRIMARY``, with the part that is there."""
    for dataset in PRIMARY:
        here = group.where(dataset=dataset)
        for labels in sorted(here.rows["labels"].unique()):
            yield dataset, labels, here.where(labels=labels)


# ---- tables of methods and of variants -------------------------------------------------------------------


def comparison(
    dataset: str, group: Group, first: str = "method", more: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[str]:
    """Methods by rows: all, mean, worst, observed where it differs; the soft-hard gap of those that have one.

    Args:
        dataset: one data set's name.
        group: its runs with one share of labels.
        first: what the first column is called.
        more: further columns: header -> method -> text.
    """
    metric = PRIMARY[dataset]
    found = statistics(group.rows, metric)
    order = sorted(found.index.unique("method"), key=rank)
    columns = [c for c in COLUMNS if c in found and (c != OBSERVED or not same(found[c], found["all"]))]
    gaps = {m: figure(group.where(method=m).records["gap"]) for m in order}
    body = [
        marked([figure(found.loc[m, c]) for m in order], METRICS[metric].greater_is_better) for c in columns
    ]
    gated = [m for m in order if not np.isnan(gaps[m][0])]
    further = {"soft-hard gap": {m: shown(gaps[m]) for m in order}} if len(gated) > 1 else {}
    further |= more or {}
    body += [[texts[m] for m in order] for texts in further.values()]
    yield from markdown([[first, *columns, *further], *zip(order, *body, strict=True)])
    if len(gated) == 1:
        yield f"Soft-hard gap of {gated[0]}: {shown(gaps[gated[0]])}."
        yield ""


def same(a: pd.Series, b: pd.Series) -> bool:
    """Whether two columns hold the same numbers."""
    return bool(np.allclose(a, b, equal_nan=True))


def summary_section(both: Group) -> Iterator[str]:
    """PgM beside plain concatenation, the best other network and the best floor."""
    yield "## In short"
    yield ""
    yield "Mean over every combination of modalities. The best network and the best floor are chosen by"
    yield "these same test rows, which flatters them; *concatenation* is not chosen. *better by*: what PgM is"
    yield "better than it by."
    yield ""
    rivals = {
        "concatenation": ["concatenation"],
        "best other network": [m for m in NEURAL if m != "pgm"],
        "best floor": list(FLOORS),
    }
    header = [
        "data set",
        "labels",
        "metric",
        "pgm",
        *(word for kind in rivals for word in (kind, "better by")),
    ]
    lines: list[Sequence[str]] = [header]
    for dataset, labels, part in places(both):
        metric = PRIMARY[dataset]
        sign = 1 if METRICS[metric].greater_is_better else -1
        means = statistics(part.rows, metric)["mean"]
        line = [dataset, f"{labels:.0%}", metric, shown(figure(means.loc["pgm"]))]
        for names in rivals.values():
            best = (sign * means.groupby("method").mean().reindex(names)).idxmax()
            name = f"{best} " if len(names) > 1 else ""
            gained = sign * (means.loc["pgm"] - means.loc[best])
            line += [name + shown(figure(means.loc[best])), with_sign(figure(gained))]
        lines.append(line)
    yield from markdown(lines)


def main_section(both: Group) -> Iterator[str]:
    """PgM beside everything else, by data set and share of labels."""
    negative = json.loads((HERE / "always_negative.json").read_text())
    yield "## PgM, its rivals and the floors"
    yield ""
    for dataset, labels, part in places(both):
        yield from heading(dataset, labels, part)
        yield from comparison(dataset, part)
        if dataset.startswith("mosi"):
            always = negative[dataset.split("/")[1]]
            has0, non0 = always["acc2_has0"], always["acc2_non0"]
            yield f"Calling every utterance negative is right for {has0:.3f} of them (acc2_has0) and for"
            yield f"{non0:.3f} of those that are not neutral (acc2_non0); calling every one positive, for"
            yield f"{1 - has0:.3f} and {1 - non0:.3f}."
            yield ""


def subset_section(both: Group) -> Iterator[str]:
    """Every combination of modalities: sentiment in all its metrics, emotion in macro F1."""
    both = both.where(labels=1.0, method=IN_SUBSETS)
    yield "## Every combination of modalities, all labels"
    yield ""
    for dataset in ("mosi/split_bclstm", "mosi/split_clean"):
        yield f"### {dataset}"
        yield ""
        yield from sentiment_subsets(both.where(dataset=dataset).rows)
    yield "### wesad, macro_f1"
    yield ""
    rows = both.where(dataset="wesad").rows
    yield from subset_columns(rows[rows["metric"] == "macro_f1"])


def combinations(rows: pd.DataFrame) -> list[str]:
    """The subsets that are combinations of modalities, as they come."""
    return [s for s in rows["subset"].unique() if s != OBSERVED and not s.startswith("rate=")]


def sentiment_subsets(rows: pd.DataFrame) -> Iterator[str]:
    """Subset and method by rows, all sentiment metrics by columns; best of each subset marked."""
    lines: list[Sequence[str]] = [["modalities", "method", *SENTIMENT]]
    for subset in combinations(rows):
        here = rows[rows["subset"] == subset].groupby(["metric", "method"], sort=False)["value"]
        found = {key: figure(values) for key, values in here}
        order = [m for m in IN_SUBSETS if m in set(rows["method"])]
        cells = [
            marked([found[metric, m] for m in order], METRICS[metric].greater_is_better)
            for metric in SENTIMENT
        ]
        lines += [[subset, *line] for line in zip(order, *cells, strict=True)]
    yield from markdown(lines)


def subset_columns(rows: pd.DataFrame) -> Iterator[str]:
    """Subsets by rows, methods by columns, of one data set and one metric; best of each row marked."""
    order = [m for m in IN_SUBSETS if m in set(rows["method"])]
    lines: list[Sequence[str]] = [["modalities", *order]]
    for subset in combinations(rows):
        here = rows[rows["subset"] == subset]
        cells = [figure(here[here["method"] == m]["value"]) for m in order]
        lines.append([subset, *marked(cells, True)])
    yield from markdown(lines)


def sensor_section(both: Group) -> Iterator[str]:
    """One sensor alone: the same class on features, on tables with gaps and on a raw series."""
    both = both.where(labels=1.0, method=IN_SUBSETS)
    yield "## One modality alone, all labels"
    yield ""
    yield "What is left when all but one modality are lost. The audio of av_digits is a series of log-mel"
    yield "frames, all others are features. On extrasensory each is measured on the rows that have it."
    yield ""
    lines: list[Sequence[str]] = [["data set", "modality", "metric", *IN_SUBSETS]]
    for dataset, metric in PRIMARY.items():
        rows = both.where(dataset=dataset).rows
        rows = rows[rows["metric"] == metric]
        for modality in [s for s in combinations(rows) if "+" not in s]:
            here = rows[rows["subset"] == modality]
            cells = [figure(here[here["method"] == m]["value"]) for m in IN_SUBSETS]
            lines.append([dataset, modality, metric, *marked(cells, METRICS[metric].greater_is_better)])
    yield from markdown(lines)


def variant_section(name: str, title: str, first: str, *, time: bool = False) -> Iterator[str]:
    """A group of variants beside the baseline, by data set; with time where that is the question."""
    group = with_baseline(name)
    if group is None:
        return
    yield f"## {title}"
    yield ""
    for dataset, labels, part in places(group):
        yield from heading(dataset, labels, part)
        more = {}
        if time:
            by_method = part.records.groupby("method")
            more["processor seconds of a fit"] = by_method["seconds"].agg(lambda s: shown(figure(s), 1))
            more["epochs"] = by_method["epochs"].agg(lambda e: f"{e.mean():.0f}")
        yield from comparison(dataset, part, first, more)


def difference_section(name: str, title: str, note: Sequence[str] = ()) -> Iterator[str]:
    """A group of variants as differences to the baseline, seed by seed, and what the gates do."""
    group = with_baseline(name)
    if group is None:
        return
    yield f"## {title}"
    yield ""
    yield from note
    for dataset, labels, part in places(group):
        yield from heading(dataset, labels, part)
        yield from differences(dataset, part, CALLED[name])


def differences(dataset: str, group: Group, baseline: str) -> Iterator[str]:
    """Variants by rows: all and mean, their differences to the baseline, the gap, and the partition."""
    metric = PRIMARY[dataset]
    sign = 1 if METRICS[metric].greater_is_better else -1
    found = statistics(group.rows, metric)
    lines: list[Sequence[str]] = [
        ["variant", "all", "better by", "mean", "better by", "soft-hard gap", *SHARES, "rebuilt, R2"]
    ]
    for method in dict.fromkeys(found.index.get_level_values("method")):
        records = group.where(method=method).records
        cells = [method]
        for statistic in ("all", "mean"):
            values, base = found.loc[method, statistic], found.loc[baseline, statistic]
            gained = figure(sign * (values - base))
            cells += [shown(figure(values)), "" if method == baseline else with_sign(gained)]
        partition = [f"{np.mean([of_gates(d, s) for d in records['diagnostics']]):.2f}" for s in SHARES]
        rebuilt = np.mean([of_gates(d, "rebuilt") for d in records["diagnostics"]])
        lines.append([*cells, shown(figure(records["gap"])), *partition, f"{rebuilt:.2f}"])
    yield from markdown(lines)


def with_sign(one: Figure) -> str:
    """A difference: ``+0.012 ± 0.004``, in bold where it is larger than its deviation."""
    text = ("+" if one[0] >= 0 else "") + shown(one)
    return f"**{text}**" if abs(one[0]) > one[1] else text


def of_gates(diagnostics: Mapping[str, float], name: str) -> float:
    """Mean over modalities of a share, or of the R2 of the reconstruction."""
    prefix = f"{name}/" if name == "rebuilt" else f"share_{name}/"
    values = [value for key, value in diagnostics.items() if key.startswith(prefix)]
    return float(np.mean(values)) if values else np.nan


# ---- the partition, laziness, retrieval, missing inputs, time --------------------------------------------


def partition_section(main: Group) -> Iterator[str]:
    """The four shares of each modality, where the cuts lie, and how much they differ from row to row."""
    yield "## What the partition looks like, all labels"
    yield ""
    yield "Soft gates at the epoch that was kept, means over seeds. Gates that have learnt nothing have"
    yield "shares near 1/3, 1/3, 1/6 and 1/6. Cuts as a share of the width, ± their spread over rows."
    yield ""
    lines: list[Sequence[str]] = [
        ["data set", "modality", *SHARES, "uni ends at", "paired begins at", "rebuilt, R2"]
    ]
    for dataset, _, part in places(main.where(method="pgm", labels=1.0)):
        kept = pd.DataFrame(list(part.records["diagnostics"])).mean()
        for modality in [key.split("/", 1)[1] for key in kept.index if key.startswith("share_uni/")]:
            shares = [f"{kept[f'share_{share}/{modality}']:.2f}" for share in SHARES]
            cuts = [
                f"{kept[f'cut_{side}/{modality}']:.2f} ± {kept[f'cut_{side}_std/{modality}']:.2f}"
                for side in ("uni", "paired")
            ]
            lines.append([dataset, modality, *shares, *cuts, f"{kept[f'rebuilt/{modality}']:.2f}"])
    yield from markdown(lines)


def missing_section() -> Iterator[str]:
    """Half of the training inputs absent, beside Robult's group of the same draws."""
    group, robult = load("missing"), load("missing", ROBULT)
    if group is None or robult is None:
        return
    judge_same_draws(group, robult)
    yield "## Half of the training inputs absent at random"
    yield ""
    for dataset, labels, part in places(group + robult):
        yield from heading(dataset, labels, part)
        yield from comparison(dataset, part)


def laziness_section() -> Iterator[str]:
    """Each modality after joint training, and after training alone."""
    group = load("laziness")
    if group is None:
        return
    yield "## Modality laziness"
    yield ""
    yield "A modality's test rows read alone. *joint*: by the model trained on all modalities; *alone*: by"
    yield "the same method trained on this modality only; *probe*: by a logistic regression on the modality's"
    yield "features in that model. *lost*: alone less joint, seed by seed; positive is laziness."
    yield ""
    scores = ["joint", "alone", "joint, probe", "alone, probe"]
    for dataset, labels, part in places(group):
        yield from heading(dataset, labels, part)
        rows = part.rows[part.rows["metric"] == PRIMARY[dataset]]
        lines: list[Sequence[str]] = [["variant", "modality", *scores, "lost", "lost, probe"]]
        variants = dict.fromkeys(name.split(": ")[0] for name in rows["method"])
        for variant in variants:
            for modality in [s for s in combinations(rows) if "+" not in s]:
                lines.append([variant, modality, *lazy(rows[rows["subset"] == modality], variant, scores)])
        yield from markdown(lines)


def lazy(rows: pd.DataFrame, variant: str, scores: Sequence[str]) -> Iterator[str]:
    """The four scores of one variant and modality, and what joint training lost of each kind.

    What a modality is worth alone does not depend on modality dropout and was measured once a kind of gate.
    """
    by_seed = {name: part.set_index("seed")["value"] for name, part in rows.groupby("method")}
    kind = variant.split(",")[0]
    of = {s: by_seed[f"{variant if 'joint' in s else f'{kind}, no modality dropout'}: {s}"] for s in scores}
    yield from (shown(figure(of[score])) for score in scores)
    yield with_sign(figure(of["alone"] - of["joint"]))
    yield with_sign(figure(of["alone, probe"] - of["joint, probe"]))


def retrieval_section() -> Iterator[str]:
    """Mean average precision and recall, in both directions."""
    group = load("retrieval")
    if group is None:
        return
    yield "## Cross-modal retrieval, wiki"
    yield ""
    yield "693 test pairs as queries and as the collection. *map*: relevant is what has the query's class;"
    yield "*recall_at_10*: the query's own partner is among the first ten. *cca*, *pgm, pairs alone* and"
    yield "*chance* see no class."
    yield ""
    for dataset in group.rows["dataset"].unique():
        rows = group.where(dataset=dataset).rows
        order = sorted(rows["method"].unique(), key=lambda method: method == CHANCE)
        columns = [(metric, way) for metric in ("map", "recall_at_10") for way in DIRECTIONS]
        found = rows.groupby(["metric", "subset", "method"])["value"]
        cells = [marked([figure(found.get_group((*c, m))) for m in order], True) for c in columns]
        yield f"### {dataset}, {rows['seed'].nunique()} seeds"
        yield ""
        header = ["method", *(f"{metric} {way}" for metric, way in columns)]
        yield from markdown([header, *zip(order, *cells, strict=True)])


def seconds_section(main: Group) -> Iterator[str]:
    """Processor seconds of a fit in one thread."""
    methods = [m for m in NEURAL if m in set(main.records["method"])]
    chosen = main.where(method=methods).records
    table = chosen.pivot_table(index="method", columns="dataset", values="seconds", aggfunc="median")
    datasets = [d for d in PRIMARY if d in table]
    yield "## Processor seconds of a fit"
    yield ""
    yield "Median over shares of labels and seeds, one thread; compare within the table. PgM has up to 70"
    yield "epochs and three rounds, the others up to 60 epochs; on av_digits 35 and 60, on extrasensory 15"
    yield "and 10. Robult ran here on wiki alone."
    yield ""
    cells = [["-" if np.isnan(v) else f"{v:.1f}" for v in table.loc[m, datasets]] for m in methods]
    yield from markdown([["method", *datasets], *([m, *c] for m, c in zip(methods, cells, strict=True))])


# ---- the page --------------------------------------------------------------------------------------------


def text() -> str:
    """The whole page."""
    main = load("main")
    assert main is not None, "python experiments/pgm/run.py --only main comes first"
    both = beside_robult(main)
    lines = [
        "# PgM: tables",
        "",
        "Made by `python experiments/pgm/tables.py` from the JSON beside it, which `run.py`, `laziness.py`",
        "and `retrieval.py` wrote, and from that of `experiments/robult`: Robult, its rivals and the floors",
        "on the same splits, labels and seeds.",
        "",
        "*all*: the rows with every modality; *mean* and *worst*: over every combination of modalities;",
        "*observed*: every test row with whatever it has, where inputs are missing by nature. Mean ±",
        "standard deviation over seeds. The best of a column is bold; in italics what is no further from it",
        "than the larger of the two deviations. *soft-hard gap*: how far predictions under the soft masks of",
        "training lie from those under the hard masks of prediction: half the L1 distance between class",
        "probabilities, or the mean absolute difference in standard deviations of y. *N*: rounds through",
        "learners and decoder; *pgm* has three. Neural methods first, then the floors.",
        "",
        "Differences (*better by*, *lost*) are taken seed by seed; bold: larger than their deviation.",
        "",
        *summary_section(both),
        *main_section(both),
        *subset_section(both),
        *sensor_section(both),
        *partition_section(main),
        *variant_section("fusion", "Fusion: four ways to put the parts together, N = 1", "fusion"),
        *variant_section("stages", "One stage or two, N = 1", "schedule", time=True),
        *difference_section("ablations", "Ablations: PgM less one part", ON_ABLATIONS),
        *difference_section("dials", "Dials: one setting turned"),
        *missing_section(),
        *laziness_section(),
        *retrieval_section(),
        *seconds_section(main),
    ]
    return "\n".join(lines)


def main() -> None:
    """Write TABLES.md."""
    (HERE / "TABLES.md").write_text(text())


if __name__ == "__main__":
    main()
