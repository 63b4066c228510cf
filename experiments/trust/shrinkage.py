"""Towards what, and how strongly, a pattern's temperature is shrunk: chosen on synthetic late fusion.

    python experiments/trust/shrinkage.py

Writes shrinkage.json beside this file (a few minutes). Four modalities of different worth; each branch
knows its modality's likelihood and is too bold or too timid by a factor drawn for it (log-normal; at spread 0
each is honest alone); the fusion is the mean of the present branches, which is too timid. Temperatures are
learnt on n calibration rows, of which each lacks a modality with probability 0 or 0.5, and measured by the
log-loss on 2,000 fresh rows, for all 15 patterns. The figure of a strength is its mean excess over the best
temperature of each pattern, in millinats; a strength is good if it is nowhere much worse than the best one.
The centre of the prior is one temperature for all patterns, or moves with their size, log T = a + b |S|.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from polymodal.calibration import Temperatures, calibrated, fit_temperatures
from polymodal.evaluation import FusedBranches, subsets
from polymodal.metrics import log_loss

HERE = Path(__file__).parent
NAMES = ("a", "b", "c", "d")
STRENGTHS = {
    **{f"sd={sd:g}": (sd, 0.0) for sd in (0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 100.0)},
    **{f"sd={sd:g}, slope={slope:g}": (sd, slope) for sd in (0.3, 0.5, 1.0) for slope in (0.2, 0.4)},
}
"""Standard deviations of the prior and of its slope b; sd=0 stands for one temperature for all, 100 for no
shrinkage."""
N_ROWS = (30, 100, 300, 1000)
MISSING = (0.0, 0.5)
SPREADS = (0.0, 0.4)
N_CLASSES = (2, 10)
N_WORLDS = 5
N_TEST = 2000


def world(
    seed: int, n_classes: int, n: int, missing: float, spread: float
) -> Iterator[tuple[FusedBranches, np.ndarray]]:
    """Calibration rows, then test rows, of one world: predictions of every combination, and labels."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(len(NAMES), n_classes, 5)) * random.uniform(
        0.4, 1.2, size=(len(NAMES), 1, 1)
    )
    boldness = np.exp(random.normal(0.0, spread, size=len(NAMES)))
    for size, rate in ((n, missing), (N_TEST, 0.0)):
        y = random.integers(0, n_classes, size)
        branches = np.stack(
            [
                branch(c[y] + random.normal(size=(size, 5)), c, b)
                for c, b in zip(centres, boldness, strict=True)
            ]
        )
        presence = random.random((size, len(NAMES))) >= rate
        branches[~presence.T] = 0.0
        yield FusedBranches(NAMES, branches, presence, np.full(n_classes, 1.0 / n_classes)), y


def branch(x: np.ndarray, centres: np.ndarray, boldness: float) -> np.ndarray:
    """(n, C) probabilities of a Gaussian classifier whose logits are multiplied by its boldness."""
    logits = -0.5 * boldness * np.square(x[:, None] - centres).sum(axis=2)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def losses(temperatures: Temperatures, fused: FusedBranches, y: np.ndarray) -> np.ndarray:
    """(15,) log-loss of every pattern."""
    predict = calibrated(fused, temperatures, fused.presence)
    return np.array([log_loss(y, predict(subset)) for subset in subsets(NAMES)])


def excess(seed: int, n_classes: int, n: int, missing: float, spread: float) -> np.ndarray:
    """(strengths,) mean excess log-loss over the patterns of one world, in millinats."""
    (held, y), (test, y_test) = world(seed, n_classes, n, missing, spread)
    own = fit_temperatures(test, test.presence, NAMES, y_test, "multiclass", prior_sd=100.0, slope_sd=0.0)
    best = losses(own, test, y_test)
    found = []
    for sd, slope in STRENGTHS.values():
        fitted = fit_temperatures(
            held, held.presence, NAMES, y, "multiclass", prior_sd=sd or 0.3, slope_sd=slope
        )
        found.append(losses(fitted if sd else fitted.one_for_all(), test, y_test))
    return 1000.0 * (np.array(found) - best).mean(axis=1)


def main() -> None:
    """Run all worlds and write the table."""
    table = []
    for n_classes, n, missing, spread in product(N_CLASSES, N_ROWS, MISSING, SPREADS):
        worlds = [excess(seed, n_classes, n, missing, spread) for seed in range(N_WORLDS)]
        values = {
            name: round(float(v), 2) for name, v in zip(STRENGTHS, np.mean(worlds, axis=0), strict=True)
        }
        table.append({"n_classes": n_classes, "n_rows": n, "missing": missing, "spread": spread, **values})
        print(table[-1], flush=True)
    mean = {name: round(float(np.mean([row[name] for row in table])), 2) for name in values}
    regret = {
        name: round(max(row[name] - min(row[other] for other in values) for row in table), 2)
        for name in values
    }
    print("mean excess:", mean, "\nlargest distance to the best strength:", regret)
    content = {
        "command": "python experiments/trust/shrinkage.py",
        "mean": mean,
        "regret": regret,
        "excess": table,
    }
    (HERE / "shrinkage.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
