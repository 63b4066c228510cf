"""Does the expected worth of a missing input agree with what the input then brings, row by row?

    python experiments/trust/acquisition.py

Writes acquisition.json beside this file; a minute on one thread. Robult, 30 epochs, 3 seeds. ``halves`` is
synthetic: the class is in b for one half of the rows and in c for the other, and a tells which half. mfeat
has 5 % of its labels, htad all. Half of the held-out rows calibrate, complete; the others lose each input
with probability 0.5 (of ``halves``, b and c) and are measured. For each row and input that it lacks, the
expected decrease of the log loss stands against the observed one: as a correlation over all of these pairs,
and as the share of variance that it explains beyond the observed mean of each input. Then, of rows that
lack two inputs or more (htad has two), the mean decrease by getting one of them, chosen

- ``by row``: the first in rank;
- ``by pattern``: the one that is expected to bring most on average over the rows of this pattern;
- ``at random``;
- ``in hindsight``: the one that did bring most.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polymodal import RobultClassifier, bench
from polymodal.acquisition import row_losses
from polymodal.calibration import distinct
from polymodal.data import missingness, readers
from polymodal.errors import TrainingWarning

HERE = Path(__file__).parent
LABELS = {"halves": 1.0, "mfeat": 0.05, "htad": 1.0}
N_SEEDS = 3
Rows = tuple[dict[str, np.ndarray], np.ndarray]


def halves(n: int, seed: int) -> Rows:
    """Rows of which one half needs b and the other c."""
    random = np.random.default_rng(seed)
    y, half = random.integers(0, 2, (2, n))
    X = {name: random.normal(size=(n, 8)) for name in "abc"}
    X["a"][:, 0] += 4.0 * half - 2.0
    X["b"][:, 0] += np.where(half == 0, 4.0 * y - 2.0, 0.0)
    X["c"][:, 0] += np.where(half == 1, 4.0 * y - 2.0, 0.0)
    return X, y


def rows(name: str, seed: int) -> tuple[Rows, Rows]:
    """Training rows and held-out rows."""
    if name == "halves":
        return halves(600, seed), halves(1400, seed + 100)
    given = bench.problem(readers.load(name), seed=seed, labels=LABELS[name])
    return (given.X_train, given.y_train), (given.X_test, given.y_test)


def measure(name: str, seed: int) -> dict[str, float]:
    """All figures of one model."""
    train, (X, y) = rows(name, seed)
    model = RobultClassifier(max_epochs=30, random_state=seed, floors=False, device="cpu").fit(*train)
    order = np.random.default_rng(seed).permutation(len(y))
    n = len(y) // 2
    model.calibrate({k: v[order[:n]] for k, v in X.items()}, y[order[:n]])
    X, y = {k: v[order[n:]] for k, v in X.items()}, y[order[n:]]
    kept = missingness.completely_at_random(len(y), tuple(X), 0.5, seed).mask.copy()
    if name == "halves":
        kept[:, 0] = True
    return figures(model, X, np.searchsorted(model.classes_, y), kept, seed)


def figures(
    model: Any, X: dict[str, np.ndarray], y: np.ndarray, kept: np.ndarray, seed: int
) -> dict[str, float]:
    """Expected and observed decreases of complete rows that keep some of their inputs."""
    said = model.acquisition_value(masked(X, kept))
    before = row_losses(y, model.predict_proba(masked(X, kept)), "multiclass")
    observed = np.full(kept.shape, np.nan)
    for m in range(kept.shape[1]):
        more = kept.copy()
        more[:, m] = True
        observed[:, m] = before - row_losses(y, model.predict_proba(masked(X, more)), "multiclass")
    row, m = np.nonzero(~kept)
    said["observed"] = observed[row, m]
    said["pattern"] = distinct(kept)[1][row]
    return of_pairs(said.dropna(), seed)


def masked(X: dict[str, np.ndarray], kept: np.ndarray) -> dict[str, np.ndarray]:
    """Rows that keep some of their inputs."""
    return {
        k: np.where(kept[:, m, None], v.reshape(len(v), -1), np.nan).reshape(v.shape)
        for m, (k, v) in enumerate(X.items())
    }


def of_pairs(said: pd.DataFrame, seed: int) -> dict[str, float]:
    """Agreement, and what each way to choose brings, over the rows that lack two inputs or more."""
    mean = said.groupby(["pattern", "modality"])["value"].transform("mean")
    constant = said.groupby("modality")["observed"].transform("mean")
    error, least = ((said["observed"] - guess).pow(2).mean() for guess in (said["value"], constant))
    result = {
        "correlation": float(said["value"].corr(said["observed"])),
        "variance explained beyond each input's mean": float(1.0 - error / least),
        "expected": float(said["value"].mean()),
        "observed": float(said["observed"].mean()),
    }
    open_ = said[said.groupby("row")["row"].transform("size") > 1]
    if open_.empty:
        return result
    luck = pd.Series(np.random.default_rng(seed).random(len(open_)), index=open_.index)
    ways = {
        "by row": open_["value"],
        "by pattern": mean[open_.index],
        "at random": luck,
        "in hindsight": open_["observed"],
    }
    for way, score in ways.items():
        result[way] = float(open_.loc[score.groupby(open_["row"]).idxmax(), "observed"].mean())
    return result


def main() -> None:
    """Run all and write the means over seeds."""
    with bench.one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)  # that a tells nothing of the class is the point
        found = {name: [measure(name, seed) for seed in range(N_SEEDS)] for name in LABELS}
    means = {name: pd.DataFrame(runs).mean().round(4).to_dict() for name, runs in found.items()}
    content = {"command": "python experiments/trust/acquisition.py", "mean": means, "runs": found}
    (HERE / "acquisition.json").write_text(json.dumps(content, indent=1) + "\n")
    print(pd.DataFrame(means).to_string())


if __name__ == "__main__":
    main()
