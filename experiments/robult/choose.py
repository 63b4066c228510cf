"""How the default weighting was chosen: on rows held out of the training part, never on test rows.

    python experiments/robult/choose.py --data DIR [--datasets htad wesad] [--weightings rbf l1 l2 hard]

5 % of the labels of 70 % of the training rows; scored on the other 30 % (other subjects, where there
are any). 50 epochs, no early stopping, 3 seeds. Prints a line a run: mean over combinations, worst and all.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import torch

from polymodal.data import readers, splits
from polymodal.errors import TrainingWarning
from polymodal.estimators import MethodClassifier, subset_table
from polymodal.evaluation import summarise


def score(dataset: readers.Dataset, seed: int, weighting: str) -> dict[str, float]:
    """Fit on a part of the training rows, score on the rest of them."""
    train, _ = dataset.train_test(seed)
    groups = None if dataset.groups is None else dataset.groups[train]
    _, y = dataset.rows(train)
    fit_rows, held_rows = splits.train_test(y, 0.3, seed, groups=groups)
    X, y = dataset.rows(train[fit_rows])
    kept = splits.few_labels(y, 0.05, seed, kind=dataset.task).mask
    model = MethodClassifier(
        "robult",
        dataset.modalities,
        settings={"weighting": weighting},
        max_epochs=50,
        validation_fraction=0,
        random_state=seed,
        floors=False,
    ).fit(X, np.where(kept, y, np.nan))
    X, y = dataset.rows(train[held_rows])
    metric = dataset.primary_metric
    summary = summarise(subset_table(model, X, y, metrics=[metric]))
    summary = summary[summary["metric"] == metric].set_index("statistic")["value"]
    return {name: float(summary[name]) for name in ("mean", "worst", "all")}


def main() -> None:
    """Print every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--datasets", nargs="*", default=["htad", "wesad"])
    parser.add_argument("--weightings", nargs="*", default=["rbf", "l1", "l2", "hard"])
    args = parser.parse_args()
    warnings.simplefilter("ignore", TrainingWarning)
    torch.set_num_threads(1)
    for name in args.datasets:
        dataset = readers.load(name, args.data)
        for seed in range(3):
            for weighting in args.weightings:
                found = score(dataset, seed, weighting)
                figures = " ".join(f"{key} {value:.3f}" for key, value in found.items())
                print(f"{name} seed {seed} {weighting} {dataset.primary_metric}: {figures}", flush=True)


if __name__ == "__main__":
    main()
