"""Calibration errors, coverage and size of prediction sets for every combination of modalities.

    python experiments/trust/coverage.py --data DIR

Writes coverage.json beside this file and prints its means. Robult; mfeat with 5 % of the labels, htad and
wesad with all; 5 seeds, one thread. The held-out rows of a data set (other subjects, where there are any) are
divided at random, by the seed:

- 30 % learn the temperatures, once complete, and once after each of their inputs was lost with probability
  0.5, so that few rows have all modalities (of htad's two, none);
- 70 % are measured, complete: the calibration errors of every combination, uncalibrated, with one
  temperature learnt on the rows as they come, with one learnt on all patterns, and with a temperature by
  pattern; and over 200 re-splits of them, half calibrating and half tested, coverage and size of the sets at
  alpha = 0.1.

The rows that are measured take part in no choice.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polymodal import bench
from polymodal.bench import Cell, Result
from polymodal.calibration import Temperatures, calibrated, fit_temperatures
from polymodal.conformal import resplit_table
from polymodal.data import missingness, readers
from polymodal.estimators.subsets import subset_predictions
from polymodal.estimators.trust import BY_PATTERN, CALIBRATION_METRICS, COMMON, UNCALIBRATED
from polymodal.evaluation import Predict, subset_report

HERE = Path(__file__).parent
LABELS = {"mfeat": 0.05, "htad": 1.0, "wesad": 1.0}
N_SEEDS = 5
TEMPERATURE_SHARE = 0.3
MISSING = {"": 0.5, ", complete rows": 0.0}
"""How a way to calibrate is marked -> share of the inputs that the rows which it learns from have lost."""
ALPHA = 0.1
AS_THEY_COME = "one temperature, rows as they come"


def cells(datasets: list[str], n_seeds: int) -> Iterator[Cell]:
    """One model for each data set and seed."""
    for dataset in datasets:
        for seed in range(n_seeds):
            yield Cell(dataset, "robult", seed, LABELS[dataset])


def measure(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """All figures of one model."""
    del model
    dataset = readers.load(cell.dataset, data)
    given = bench.problem(dataset, seed=cell.seed, labels=cell.labels)
    with bench.one_thread(), bench.kept_warnings() as kept:
        estimator = bench.build(cell, dataset)
        estimator.fit(given.X_train, given.y_train, groups=given.groups_train)
        order = np.random.default_rng(cell.seed).permutation(len(given.y_test))
        n = round(TEMPERATURE_SHARE * len(order))
        learning, measured = (
            ({name: x[part] for name, x in given.X_test.items()}, given.y_test[part])
            for part in (order[:n], order[n:])
        )
        variants: dict[str, Temperatures | None] = {UNCALIBRATED: None}
        for mark, rate in MISSING.items():
            found = temperatures(estimator, *learning, dataset.task, rate, cell.seed)
            variants |= {name + mark: learnt for name, learnt in found.items()}
        table = figures(estimator, *measured, dataset.task, variants, cell)
    record = {
        "cell": asdict(cell),
        "sha256": given.hashes,
        "n_temperature": n,
        "n_measured": len(order) - n,
        "temperatures": {name: t and {"common": t.common, "own": _named(t)} for name, t in variants.items()},
        "stopping_rule": estimator.stopping_rule_,
        "warnings": kept,
    }
    return Result(cell, bench.to_rows(table), record)


def temperatures(
    estimator: Any, X: dict[str, Any], y: np.ndarray, kind: Any, rate: float, seed: int
) -> dict[str, Temperatures]:
    """The three ways to calibrate, learnt on rows that have lost inputs."""
    mask = missingness.completely_at_random(len(y), tuple(X), rate, seed)
    predict, presence = subset_predictions(estimator, missingness.apply(X, mask))
    names = tuple(X)
    by_pattern = fit_temperatures(predict, presence, names, y, kind)
    alike = np.ones((len(y), 1), dtype=bool)
    as_they_come = fit_temperatures(lambda _: predict(names), alike, ("row",), y, kind).common
    return {
        AS_THEY_COME: replace(by_pattern.one_for_all(), common=as_they_come),
        COMMON: by_pattern.one_for_all(),
        BY_PATTERN: by_pattern,
    }


def figures(
    estimator: Any,
    X: dict[str, Any],
    y: np.ndarray,
    kind: Any,
    variants: dict[str, Temperatures | None],
    cell: Cell,
) -> pd.DataFrame:
    """Calibration errors and coverage of every way, for every combination."""
    raw, presence = subset_predictions(estimator, X)
    names, run = tuple(X), {"dataset": cell.dataset, "seed": cell.seed, "labels": cell.labels}
    tables = []
    for name, learnt in variants.items():
        predict: Predict = raw if learnt is None else calibrated(raw, learnt, presence)
        rows = (predict, presence, names, y, kind)
        tables.append(subset_report(*rows, metrics=CALIBRATION_METRICS, method=name, **run))
        if name in (UNCALIBRATED, BY_PATTERN):
            tables.append(resplit_table(*rows, alpha=ALPHA, method=name, **run))
    table = pd.concat(tables, ignore_index=True)
    said_once = (table["metric"] != "n_rows") | (table["method"] == UNCALIBRATED)  # the same of all ways
    return table[said_once].round({"value": 6}).drop_duplicates(ignore_index=True)


def _named(temperatures: Temperatures) -> dict[str, float]:
    return {"+".join(subset): round(t, 4) for subset, t in temperatures.own.items()}


def show(table: pd.DataFrame) -> None:
    """Means over seeds: over all combinations, and the worst of them."""
    table = table[table["subset"] != "observed"]
    means = table.groupby(["dataset", "metric", "method", "subset"], sort=False)["value"].mean()
    groups = means.groupby(level=[0, 1, 2], sort=False)
    summary = pd.DataFrame({"mean": groups.mean(), "lowest": groups.min(), "highest": groups.max()})
    wanted = [*CALIBRATION_METRICS, "coverage", "score_coverage", "coverage_std", "set_size"]
    print(summary[summary.index.get_level_values("metric").isin(wanted)].round(4).to_string())


def main() -> None:
    """Run what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--datasets", nargs="+", default=list(LABELS), choices=list(LABELS))
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--out", type=Path, default=HERE / "coverage.json")
    args = parser.parse_args()
    results = bench.run(
        list(cells(args.datasets, args.seeds)),
        data=args.data,
        jobs=1,
        out=args.out,
        command="python experiments/trust/coverage.py --data DIR",
        work=measure,
    )
    show(bench.to_table(results))


if __name__ == "__main__":
    main()
