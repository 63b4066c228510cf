"""What ``polymodal demo`` does: the default on bundled digits, few labels, absent inputs, beside floors.

2,000 handwritten digits in 6 views. 5 % of the training rows keep their labels, 30 % of the training inputs
are absent, 3 seeds; every combination of views is a row of ``results.json``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from polymodal import bench, evaluation, methods
from polymodal.metrics import METRICS

METHOD = methods.DEFAULT
FLOORS = (
    "majority",
    "best_single",
    "late_fusion",
    "imputation_concat",
    "dropout_concat",
    "self_training",
    "soft_self_training",
)
DATASET, METRIC = "mfeat", "accuracy"
LABELS, MISSING_TRAIN, N_SEEDS = 0.05, 0.3, 3
MAX_JOBS = 4

Show = Callable[[Any], None]


def run(out: Path, show: Show) -> pd.DataFrame:
    """Train, evaluate, and write the model of the first seed, ``results.json`` and ``robustness.png``.

    Args:
        out: folder to write; an earlier demo in it is replaced.
        show: prints text or a table.

    Returns:
        The tidy rows of all figures.
    """
    from polymodal import plots

    show(
        f"Training {METHOD}, the default, and {len(FLOORS)} floors on {DATASET}: {LABELS:.0%} of the labels, "
        f"{MISSING_TRAIN:.0%} of the training inputs absent, {N_SEEDS} seeds."
    )
    cells = bench.cells(
        DATASET, [METHOD, *FLOORS], seeds=range(N_SEEDS), labels=[LABELS], missing_train=MISSING_TRAIN
    )
    jobs = min(os.cpu_count() or 1, MAX_JOBS)
    results = bench.run(cells, jobs=jobs, models={cells[0].key: out / "model"})
    bench.write(out / "results.json", results, command="polymodal demo")
    table = bench.to_table(results)
    figure, axes = plots.figure()
    plots.robustness_curve(table, axes, metric=METRIC, floors=FLOORS)
    figure.savefig(out / "robustness.png")
    show(evaluation.show(table, METRIC, floors=FLOORS))
    for line in [*verdict(table), "", *_next(out)]:
        show(line)
    return table


def verdict(table: pd.DataFrame, *, method: str = METHOD, metric: str = METRIC) -> list[str]:
    """In plain words, a line each for the mean, the worst and all inputs: does a floor beat the method?

    Args:
        table: tidy rows of the method and at least one floor.
        method: which one is judged; all others count as floors.
        metric: by which metric.
    """
    chosen = table[table["metric"].isin([metric, "n_rows"])]
    summary = evaluation.aggregate(evaluation.summarise(chosen))
    n_subsets = int(summary.loc[summary["statistic"] == "n_subsets", "mean"].max())
    titles = {
        "mean": f"Mean over {n_subsets} combinations",
        "worst": "Worst combination",
        "all": "All inputs",
    }
    means = {
        statistic: dict(zip(part["method"], part["mean"], strict=True))
        for statistic, part in summary.groupby("statistic")
    }
    return [_judged(title, means[statistic], method, metric) for statistic, title in titles.items()]


def _judged(title: str, means: Mapping[str, float], method: str, metric: str) -> str:
    sign = 1.0 if METRICS[metric].greater_is_better else -1.0
    best = max((floor for floor in means if floor != method), key=lambda floor: sign * means[floor])
    figures = f"{method} {means[method]:.3f}, best floor {best} {means[best]:.3f}"
    beaten = sign * means[best] > sign * means[method]
    return f"{title}: {figures}; {'the floor beats the method' if beaten else 'no floor beats the method'}."


def _next(out: Path) -> Sequence[str]:
    return (
        f"Written to {out}: model (of seed 0), results.json (every figure), robustness.png (the curve).",
        f"Look inside: polymodal info {out}/model; see every setting: polymodal options {METHOD}",
        "Your own table: polymodal fit ROWS.csv --target COLUMN --tabular NAME=COL,COL --out MODEL",
    )
