"""What prediction costs beyond the module: one row through the estimator, and every combination of inputs.

- ``one_row``: median and 99th percentile of ``predict_proba`` for one row of 6 modalities from a mapping of
  arrays, of the bare module on a ready batch, and their difference (goal: under 1 ms).
- ``subsets``: all 63 combinations of 6 modalities against the 6 branch passes that they need, by the wall
  clock, as a ratio (goal: at most 1.3); and against 63 passes of their own.

    python benchmarks/prediction.py [--calls 2000] [--rows 2000] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import torch

from polymodal import RobultClassifier, load_dataset
from polymodal.data import door
from polymodal.estimators import to_batch
from polymodal.evaluation import late_fusion, subsets
from polymodal.prediction import predict


def timed(function: Callable[[], object], calls: int) -> list[float]:
    """Milliseconds of each call."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def one_row(model: RobultClassifier, X: dict[str, np.ndarray], calls: int) -> dict[str, float]:
    """The estimator against its own module, on one row, in turn."""
    row = {name: value[:1] for name, value in X.items()}
    inputs = model.preprocessor_.transform(door.read(row, model.modalities_))
    batch, module = to_batch(inputs), model.method_

    def bare() -> object:
        with torch.inference_mode():
            return module(batch)

    timed(bare, 100)
    timed(lambda: model.predict_proba(row), 100)
    pairs = [(timed(bare, 1)[0], timed(lambda: model.predict_proba(row), 1)[0]) for _ in range(calls)]
    modules, estimators = ([pair[i] for pair in pairs] for i in (0, 1))
    return {
        "module_median_ms": round(median(modules), 3),
        "module_p99_ms": round(quantiles(modules, n=100)[98], 3),
        "estimator_median_ms": round(median(estimators), 3),
        "estimator_p99_ms": round(quantiles(estimators, n=100)[98], 3),
        "overhead_median_ms": round(median(e - m for m, e in pairs), 3),
    }


def every_subset(model: RobultClassifier, X: dict[str, np.ndarray], rounds: int) -> dict[str, float]:
    """All combinations against the branch passes, on prepared rows."""
    names = tuple(X)
    batch = to_batch(model.preprocessor_.transform(door.read(X, model.modalities_)))
    chosen = subsets(names)

    def branches() -> dict[str, np.ndarray]:
        found = predict(model.method_, batch, device="cpu")[1]
        return {name: found[:, m] for m, name in enumerate(names)}

    def fused() -> None:
        late_fusion(branches(), model.prior_).fuse(chosen)

    def separate() -> None:
        for subset in chosen:
            predict(model.method_, batch.only(subset), device="cpu")

    branches(), fused()
    rows = [(timed(branches, 1)[0], timed(fused, 1)[0]) for _ in range(rounds)]
    alone = timed(separate, 1)[0]
    return {
        "rows": len(batch),
        "combinations": len(chosen),
        "branch_passes_ms": round(median(b for b, _ in rows), 2),
        "all_combinations_ms": round(median(f for _, f in rows), 2),
        "ratio_to_branch_passes": round(median(f / b for b, f in rows), 3),
        "ratio_of_separate_passes": round(alone / median(b for b, _ in rows), 1),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset("mfeat")
    model = RobultClassifier(max_epochs=2, random_state=0, device="cpu", floors=False).fit(data.X, data.y)
    result = {
        "benchmark": "prediction",
        "command": f"python benchmarks/prediction.py --calls {args.calls} --rounds {args.rounds}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "threads": 1,
        "one_row": one_row(model, data.X, args.calls),
        "subsets": every_subset(model, data.X, args.rounds),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
