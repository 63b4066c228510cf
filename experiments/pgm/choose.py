"""How the defaults of PgM were chosen: on rows held out of the training part, never on test rows.

    python experiments/pgm/choose.py --data DIR --datasets mfeat wesad \
        --settings '{}' '{"fusion": "gated"}' [--labels 0.05] [--epochs 70] [--method pgm]

Fits on 70 % of the training rows, scores on the other 30 % (other subjects, where there are any). No early
stopping. Prints a line a run (mean over combinations, worst and all), and the mean over seeds at the end.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch

from polymodal.data import readers, splits
from polymodal.errors import TrainingWarning
from polymodal.estimators import MethodClassifier, MethodRegressor, subset_table
from polymodal.evaluation import summarise


def score(
    dataset: readers.Dataset, seed: int, method: str, settings: dict[str, Any], labels: float, epochs: int
) -> dict[str, float]:
    """Fit on a part of the training rows, score on the rest of them."""
    train, _ = dataset.train_test(seed, "split_bclstm" if dataset.name == "mosi" else None)
    groups = None if dataset.groups is None else dataset.groups[train]
    _, y = dataset.rows(train)
    fit_rows, held_rows = splits.train_test(y, 0.3, seed, kind=dataset.task, groups=groups)
    X, y = dataset.rows(train[fit_rows])
    kept = splits.few_labels(y, labels, seed, kind=dataset.task).mask
    cls = MethodRegressor if dataset.task == "regression" else MethodClassifier
    start = time.perf_counter()
    model = cls(
        method,
        dataset.modalities,
        settings=settings,
        max_epochs=epochs,
        validation_fraction=0,
        random_state=seed,
        floors=False,
    ).fit(X, np.where(kept, y, np.nan))
    seconds = time.perf_counter() - start
    X, y = dataset.rows(train[held_rows])
    metric = dataset.primary_metric
    summary = summarise(subset_table(model, X, y, metrics=[metric]))
    summary = summary[summary["metric"] == metric].set_index("statistic")["value"]
    found = {name: float(summary[name]) for name in ("mean", "worst", "all")}
    return found | {"gap": model.history_[-1].get("soft_hard_gap", np.nan), "seconds": seconds}


def main() -> None:
    """Print every run, then the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--datasets", nargs="*", default=["mfeat", "wesad"])
    parser.add_argument("--settings", nargs="*", default=["{}"], help="each a JSON object")
    parser.add_argument("--labels", type=float, nargs="*", default=[0.05, 1.0])
    parser.add_argument("--epochs", type=int, default=70)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--method", default="pgm")
    args = parser.parse_args()
    warnings.simplefilter("ignore", TrainingWarning)
    torch.set_num_threads(1)
    lines = []
    for name in args.datasets:
        dataset = readers.load(name, args.data)
        for labels in args.labels:
            for settings in args.settings:
                for seed in range(args.seeds):
                    found = score(dataset, seed, args.method, json.loads(settings), labels, args.epochs)
                    lines.append({"dataset": name, "labels": labels, "settings": settings} | found)
                    print(
                        " ".join(
                            f"{k} {v:.3f}" if isinstance(v, float) else str(v) for k, v in lines[-1].items()
                        ),
                        flush=True,
                    )
    means = pd.DataFrame(lines).groupby(["dataset", "labels", "settings"], sort=False).mean()
    print(means.round(3).to_string())


if __name__ == "__main__":
    main()
