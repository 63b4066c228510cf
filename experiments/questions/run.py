"""The runs behind docs/questions-*.md, as one resumable command.

    python experiments/questions/run.py --data DIR --jobs 2

Groups of runs, each its own JSON of tidy rows beside this file (with ``.meta.json``: versions, hashes,
seconds and what else the pages read); 600 training rows at most (``missing`` and
``conflict``: 300), 600 test rows, 3 seeds:

- ``gaussian``: distances of Robult's true positive pairs, with the paper's weighting and with ours, 5 % of
  the labels;
- ``missing``: up to 70 % of the training inputs absent, 20 % of the labels, mfeat and htad;
- ``conflict``: one modality swapped between rows of unlike classes, in test rows and in training rows,
  mfeat and htad, all labels;
- ``pseudo``: how right pseudo-labels are by epoch or generation, and what they bring, 5 % of the labels
  (htad: 1 % as well).

A run that is stopped goes on where it stopped. ``pages.py`` and ``figures.py`` make tables and pictures of
it; the weightings' own figures are those of ``experiments/robult``.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri
from scipy.stats import kurtosis, skew

from polymodal import bench
from polymodal import methods as registry
from polymodal.bench import Cell, Problem, Result
from polymodal.data import conflict, readers
from polymodal.data.readers import Dataset
from polymodal.estimators import subset_table
from polymodal.estimators.shell import to_batch
from polymodal.evaluation import OBSERVED
from polymodal.methods.robult import Robult

HERE = Path(__file__).parent
SEEDS = range(3)
SIZE = {"max_train": 600, "max_test": 600}
SMALL = {"max_train": 300, "max_test": 600}
ROBULT = {"max_epochs": 40}
PGM = {"n_iterations": 1, "max_epochs": 40}
COMMITTEE = {"n_trees": 30, "n_trees_judged": 20}
"""A fifth of the default's trees, for time."""
ONE_ROUND_OF_PGM = "pgm, N = 1"


def settled(settings: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Settings as a cell holds them."""
    return tuple(settings.items())


def primary_rows(table: pd.DataFrame) -> list[bench.Row]:
    """A tidy table's rows that hold a metric."""
    return [row for row in bench.to_rows(table) if row["metric"] != "n_rows"]


def by_primary_metric(cell: Cell, data: str | Path | None) -> Dataset:
    """The cell's data set, measured by its primary metric alone."""
    dataset = readers.load(cell.dataset, data)
    return replace(dataset, metrics=dataset.metrics[:1])


def fit(cell: Cell, dataset: Dataset, given: Problem, **more: Any) -> tuple[Any, dict[str, Any]]:
    """The cell's estimator, fitted, and its record."""
    with bench.one_thread(), bench.kept_warnings() as kept:
        start = time.process_time()
        estimator = bench.build(cell, dataset)
        if cell.method in registry.METHODS:
            more |= {"groups": given.groups_train}
        estimator.fit(given.X_train, given.y_train, **more)
    record = {
        "cell": asdict(cell),
        "sha256": given.hashes,
        "n_train": len(given.y_train),
        "n_test": len(given.y_test),
        "cpu_seconds_fit": round(time.process_time() - start, 2),
        "stopping_rule": getattr(estimator, "stopping_rule_", None),
        "warnings": kept,
    }
    return estimator, record


def measured(cell: Cell, estimator: Any, X: Any, y: np.ndarray, dataset: Dataset, **how: Any) -> pd.DataFrame:
    """A tidy table of the cell's estimator on some rows, in one thread."""
    run = {"dataset": cell.data_name, "method": cell.name, "seed": cell.seed, "labels": cell.labels}
    with bench.one_thread():
        return subset_table(estimator, X, y, metrics=dataset.metrics, **run, **how)


# ---- are the distances of true pairs Gaussian? -----------------------------------------------------------

DISTANCES = ["mfeat", "htad", "wesad", "mosi", "extrasensory"]
MIN_PAIRS = 100
"""A class with fewer distances in a modality gives no figures."""
LEVELS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995)


def gaussian_cells(data: str | None) -> Iterator[Cell]:
    """Robult with the paper's weighting, and with ours."""
    del data
    for dataset in DISTANCES:
        split = "split_clean" if dataset == "mosi" else None
        # l1 stands beside rbf once; extrasensory takes three times the seconds of the others
        wanted = [("rbf", seed) for seed in SEEDS if not seed or dataset != "extrasensory"] + [("l1", 0)]
        for weighting, seed in wanted:
            settings = settled({"max_epochs": 60, "weighting": weighting})
            yield Cell(dataset, "robult", seed, 0.05, 0.0, split, settings, weighting, **SIZE)


def gaussian(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """Moments and Q-Q correlation of the distances of true positive pairs, by modality and class."""
    del model
    dataset = by_primary_metric(cell, data)
    given = bench.problem_of(cell, dataset)
    truth = bench.problem_of(replace(cell, labels=1.0), dataset).y_train
    with patch.object(Robult, "training_only", ()):  # the distances need f_0, which is dropped after training
        known = truth.dtype.kind != "f" or not np.isnan(truth).any()
        estimator, record = fit(cell, dataset, given, **({"y_monitor": truth} if known else {}))
    found = {"|".join(place): shape_of(pairs) for place, pairs in true_pairs(estimator, given, truth)}
    run = {"dataset": cell.data_name, "method": cell.name, "seed": cell.seed, "labels": cell.labels}
    rows = [
        run | {"subset": subset, "metric": name, "value": rounded(value)}
        for subset, figures in found.items()
        for name, value in figures.items()
    ]
    last = estimator.history_[-1]
    kept = ("reference_gaussian", "pseudo_accuracy", "weight_true", "weight_false")
    return Result(cell, rows, record | {"last": {name: last[name] for name in kept if name in last}})


Place = tuple[str, str, str]
"""Which pairs (``labelled`` or ``all``), modality, class (or ``together``)."""


def true_pairs(estimator: Any, given: Problem, truth: np.ndarray) -> Iterator[tuple[Place, np.ndarray]]:
    """Distances of true positive pairs, wherever there are enough of them."""
    method = estimator.method_
    batch = to_batch(next(estimator._inputs_in_chunks(given.X_train)))
    with torch.no_grad():
        latents = method(batch).latents
        s = torch.nn.functional.normalize(method.synergy(batch, latents["hidden"]), dim=1)
        z = torch.nn.functional.normalize(latents["redundant"], dim=2)
    if truth.dtype.kind == "f":
        known, labelled = ~np.isnan(truth), ~np.isnan(given.y_train)
        classes = method.bins(torch.from_numpy(np.nan_to_num(truth)).float()).numpy()
    else:
        known, labelled, classes = truth >= 0, given.y_train >= 0, truth
    for m, modality in enumerate(batch.names):
        here = batch.presence[:, m].numpy()
        distance = (2 - 2 * s @ z[:, m].T).clamp(min=0).sqrt().double().numpy()
        for name, of in (("labelled", here & labelled), ("all", here & known)):
            for own in np.unique(classes):
                rows = np.flatnonzero(of & (classes == own))
                inside = distance[np.ix_(rows, rows)][~np.eye(len(rows), dtype=bool)]
                if len(inside) >= MIN_PAIRS:
                    yield (name, modality, str(own)), inside
            pairs = of[:, None] & of & (classes[:, None] == classes) & ~np.eye(len(of), dtype=bool)
            if pairs.sum() >= MIN_PAIRS:
                yield (name, modality, "together"), distance[pairs]


def shape_of(distances: np.ndarray) -> dict[str, float]:
    """How Gaussian a sample is."""
    ordered = np.sort(distances)
    gaussian_order = ndtri((np.arange(len(ordered)) + 0.5) / len(ordered))
    standard = (ordered - ordered.mean()) / ordered.std()
    return {
        "n": float(len(ordered)),
        "mean": float(ordered.mean()),
        "std": float(ordered.std()),
        "qq_correlation": float(np.corrcoef(standard, gaussian_order)[0, 1]),
        "excess_kurtosis": float(kurtosis(standard)),
        "skewness": float(skew(standard)),
        **{f"quantile/{q:g}": float(standard[int(q * len(standard))]) for q in LEVELS},
    }


# ---- modalities missing in training ----------------------------------------------------------------------

MISSING = {"mfeat": (0.0, 0.7), "htad": (0.0, 0.1, 0.3, 0.5)}
"""Rates; each row keeps a modality, so of htad's two no more than half can be missing. Half of mfeat's is in
``experiments/robult``."""
MISSING_METHODS: dict[str, dict[str, Any]] = {
    "robult": ROBULT,
    "committee": COMMITTEE,
    "late_fusion": {},
    "soft_self_training": {},
    "dropout_concat": {},
    "random_forest": {},
}


def missing_cells(data: str | None) -> Iterator[Cell]:
    """Training inputs absent completely at random."""
    del data
    for dataset, rate in [(dataset, rate) for dataset, rates in MISSING.items() for rate in rates]:
        for seed in SEEDS:
            for name, settings in MISSING_METHODS.items():
                yield Cell(dataset, name, seed, 0.2, rate, settings=settled(settings), **SMALL)


def missing(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """Every combination and every missing rate of the test rows."""
    del model
    _, result = bench.fitted(by_primary_metric(cell, data), cell)
    rows = [row | {"missing_train": cell.missing_train} for row in result.rows if row["metric"] != "n_rows"]
    return replace(result, rows=rows)


# ---- conflict --------------------------------------------------------------------------------------------

SHARES = (0.1, 0.3, 0.5, 1.0)
STRONGEST = {"mfeat": "fac", "htad": "accelerometer"}
"""The modality swapped in training: the one whose own linear model is best with all labels."""
TRAINED = {"mfeat": (0.0, 1.0), "htad": (0.0, *SHARES)}
"""Shares that are swapped in training."""
FUSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "late_fusion": ("late_fusion", {}),
    "robult": ("robult", ROBULT),
    "committee": ("committee", COMMITTEE),
    "dropout_concat": ("dropout_concat", {}),
    ONE_ROUND_OF_PGM: ("pgm", PGM),
}


def conflict_cells(data: str | None) -> Iterator[Cell]:
    """Fusions of three kinds; what is swapped in training is the variant of the data set."""
    del data
    for dataset, share in [(dataset, share) for dataset, shares in TRAINED.items() for share in shares]:
        variant = f"swap={STRONGEST[dataset]}@{share:g}"
        for seed in SEEDS:
            for name, (method, settings) in FUSIONS.items():
                own = settled(settings)
                yield Cell(dataset, method, seed, settings=own, name=name, variant=variant, **SMALL)


def conflicting(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """Combinations of clean test rows, and all modalities of swapped ones."""
    del model
    assert cell.variant is not None
    strongest, _, share = cell.variant.removeprefix("swap=").partition("@")
    dataset = by_primary_metric(cell, data)
    given = bench.problem_of(cell, dataset)
    source = conflict.donors(given.y_train, float(share), cell.seed)
    given = replace(given, X_train=conflict.swapped(given.X_train, strongest, source))
    estimator, record = fit(cell, dataset, given)
    tables = [kept_combinations(measured(cell, estimator, given.X_test, given.y_test, dataset))]
    for modality in given.X_test if share == "0" else [strongest]:
        for part in SHARES:
            moved = conflict.donors(given.y_test, part, cell.seed)
            X = conflict.swapped(given.X_test, modality, moved)
            table = measured(cell, estimator, X, given.y_test, dataset, combinations=False)
            tables.append(table.assign(subset=f"swap {modality}@{part:g}"))
    return Result(cell, primary_rows(pd.concat(tables)), record)


def kept_combinations(table: pd.DataFrame) -> pd.DataFrame:
    """All modalities, all but one, and each alone."""
    size = table["subset"].str.count(r"\+") + 1
    real = table["subset"] != OBSERVED
    return table[real & size.isin([1, size[real].max() - 1, size[real].max()])]


# ---- pseudo-labels ---------------------------------------------------------------------------------------

PSEUDO = {"mfeat": (0.05,), "htad": (0.01, 0.05), "wesad": (0.05,)}
"""Shares of labels."""
TAUGHT: dict[str, tuple[str, dict[str, Any]]] = {
    "robult": ("robult", ROBULT),
    "robult, labels alone": ("robult", ROBULT | {"loss_weights": {"labelled": 0.0, "unlabelled": 0.0}}),
    "committee": ("committee", COMMITTEE),
    "committee, labels alone": ("committee", COMMITTEE | {"n_generations": 0}),
}
FOLLOWED = ("pseudo_accuracy", "confidence", "weight_true", "weight_false", "validation_loss")


def pseudo_cells(data: str | None) -> Iterator[Cell]:
    """Methods with pseudo-labels and without."""
    del data
    for dataset, labels in [(dataset, share) for dataset, shares in PSEUDO.items() for share in shares]:
        for seed in SEEDS:
            for name, (method, settings) in TAUGHT.items():
                yield Cell(dataset, method, seed, labels, settings=settled(settings), name=name, **SIZE)


def pseudo(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """Combinations of the test rows, and the history's figures about pseudo-labels."""
    del model
    dataset = by_primary_metric(cell, data)
    given = bench.problem_of(cell, dataset)
    truth = bench.problem_of(replace(cell, labels=1.0), dataset).y_train
    estimator, record = fit(cell, dataset, given, y_monitor=truth)
    rows = primary_rows(measured(cell, estimator, given.X_test, given.y_test, dataset))
    followed = {
        name: [rounded(entry.get(name)) for entry in estimator.history_]
        for name in FOLLOWED
        if any(name in entry for entry in estimator.history_)
    }
    rule = estimator.history_[-1].get("rule", "")
    return Result(cell, rows, record | {"followed": followed, "rule": rule})


def rounded(value: float | None) -> float | None:
    """Four digits; None for what is not defined."""
    return None if value is None or not np.isfinite(value) else round(value, 4)


# ---- running ---------------------------------------------------------------------------------------------

GROUPS = {
    "gaussian": (gaussian_cells, gaussian),
    "missing": (missing_cells, missing),
    "conflict": (conflict_cells, conflicting),
    "pseudo": (pseudo_cells, pseudo),
}


def revision() -> str:
    """The state of the code, for the record."""
    asked = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def main() -> None:
    """Run the chosen groups."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--only", choices=GROUPS, nargs="*", default=list(GROUPS), help="groups to run")
    args = parser.parse_args()
    for name in args.only:
        cells, work = GROUPS[name]
        chosen = list(cells(args.data))
        print(f"{name}: {len(chosen)} runs", flush=True)
        bench.run(
            chosen,
            data=args.data,
            jobs=args.jobs,
            out=HERE / f"{name}.json",
            command=f"python experiments/questions/run.py --data DIR --only {name} (code: {revision()})",
            work=work,
        )


if __name__ == "__main__":
    main()
