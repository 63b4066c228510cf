"""Modality laziness: what a modality is worth after joint training, and after training alone.

    python experiments/pgm/laziness.py --data DIR --jobs 2

Writes laziness.json beside this file. PgM with one round, with its partitioner and without (every gate open),
with modality dropout and without; for each the score of a modality's test rows read alone:

- ``joint``: by the model trained on all modalities;
- ``joint, probe``: by a logistic regression on this modality's uni and paired features in that model;
- ``alone``: by the same method trained on this modality only;
- ``alone, probe``: by a logistic regression on the features of that one.

3 seeds; wesad with all labels. A joint score far below the one alone is laziness. Alone there
is no modality to drop, so that is run once for each kind of gate.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polymodal import bench
from polymodal.bench import Cell, Problem, Result
from polymodal.data import readers
from polymodal.data.readers import Dataset
from polymodal.metrics import evaluate

HERE = Path(__file__).parent
LABELS = {"wesad": 1.0}
N_SEEDS = 3
EPOCHS = 70
VARIANTS: dict[str, dict[str, Any]] = {
    "partitioner": {"gate": "row"},
    "open gates": {"gate": "open"},
    "partitioner, no modality dropout": {"gate": "row", "modality_dropout": 0.0},
    "open gates, no modality dropout": {"gate": "open", "modality_dropout": 0.0},
}


def cells() -> Iterator[Cell]:
    """Every variant trained on all modalities."""
    for dataset, labels in LABELS.items():
        for seed in range(N_SEEDS):
            for name, settings in VARIANTS.items():
                given = tuple({"n_iterations": 1, **settings, "max_epochs": EPOCHS}.items())
                yield Cell(dataset, "pgm", seed, labels, settings=given, name=name)


def only(dataset: Dataset, modality: str) -> Dataset:
    """The data set as if there were one modality."""
    return replace(
        dataset, X={modality: dataset.X[modality]}, modalities={modality: dataset.modalities[modality]}
    )


def measure(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """All scores of every modality of one cell."""
    del model
    dataset = readers.load(cell.dataset, data)
    given = bench.problem(dataset, seed=cell.seed, labels=cell.labels)
    joint, result = bench.fitted(dataset, cell)
    chosen = [*dataset.X, "+".join(dataset.X)]
    rows = [named(row, cell, "joint") for row in result.rows if row["subset"] in chosen]
    for modality in dataset.X:
        rows += probe(joint, given, modality, dataset, cell, "joint, probe")
        if "modality_dropout" in dict(cell.settings):
            alone, solo = bench.fitted(only(dataset, modality), cell)
            rows += [named(row, cell, "alone") for row in solo.rows if row["subset"] == modality]
            rows += probe(alone, given, modality, dataset, cell, "alone, probe")
    return Result(cell, rows, {**result.record, "cell": asdict(cell)})


def named(row: dict[str, Any], cell: Cell, score: str) -> dict[str, Any]:
    """A row under the name of one of the four scores."""
    return {**row, "method": f"{cell.name}: {score}"}


def probe(
    estimator: Any, given: Problem, modality: str, dataset: Dataset, cell: Cell, score: str
) -> list[dict[str, Any]]:
    """A logistic regression on the features that one modality's rows have in a fitted model, scored."""
    with bench.one_thread(), bench.kept_warnings():
        train, test = (estimator.transform({modality: X[modality]}) for X in (given.X_train, given.X_test))
        known = given.y_train != -1
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        linear.fit(train[known], given.y_train[known])
        prediction = np.zeros((len(test), len(dataset.classes)))
        prediction[:, linear.classes_] = linear.predict_proba(test)
    run = {"dataset": cell.dataset, "method": "", "seed": cell.seed, "labels": cell.labels}
    values = evaluate(dataset.metrics, given.y_test, prediction, dataset.task)
    rows = [{**run, "subset": modality, "metric": name, "value": value} for name, value in values.items()]
    return [named(row, cell, score) for row in rows]


def main() -> None:
    """Run what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    args = parser.parse_args()
    bench.run(
        list(cells()),
        data=args.data,
        jobs=args.jobs,
        out=HERE / "laziness.json",
        command="python experiments/pgm/laziness.py --data DIR",
        work=measure,
    )


if __name__ == "__main__":
    main()
