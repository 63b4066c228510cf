"""How long a whole report takes: 100,000 rows x 6 modalities, from a fitted model to the written page.

Both are calibrated. Robult, a late fusion, is measured on all rows; PgM, which runs once a combination, on as
many rows, drawn at random, as :mod:`polymodal.report` says. Goal: under 60 s on 2 cores. Training is tiny and
not counted: what a report costs does not depend on how good the model is. Wall seconds, of
a machine that did other work too, and processor seconds of each.

    python benchmarks/report.py [--rows 100000] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polymodal import PgMClassifier, RobultClassifier

N_MODALITIES, WIDTH, N_CLASSES, N_TRAIN, MISSING = 6, 16, 3, 900, 0.3
MODELS: dict[str, Callable[[], Any]] = {
    "robult": lambda: RobultClassifier(max_epochs=3, random_state=0),
    "pgm": lambda: PgMClassifier(max_epochs=3, n_iterations=1, random_state=0),
}


def made(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows of six modalities, the later ones weaker, each absent in 30 % of the rows."""
    random = np.random.default_rng(seed)
    y = random.integers(0, N_CLASSES, n)
    X = {}
    for m in range(N_MODALITIES):
        x = random.normal(size=(n, WIDTH)).astype(np.float32)
        x[:, :N_CLASSES] += (1.0 - 0.12 * m) * np.eye(N_CLASSES, dtype=np.float32)[y]
        x[random.random(n) < MISSING] = np.nan
        X[f"m{m}"] = x
    return X, y


def measured(name: str, n_rows: int, path: Path) -> dict[str, Any]:
    """Seconds of one model's report."""
    X, y = made(N_TRAIN + 600, seed=0)
    train, held = ({m: x[part] for m, x in X.items()} for part in (slice(N_TRAIN), slice(N_TRAIN, None)))
    model = MODELS[name]().fit(train, y[:N_TRAIN]).calibrate(held, y[N_TRAIN:])
    X, y = made(n_rows, seed=1)
    wall, processor = time.perf_counter(), time.process_time()
    model.report(X, y, path)
    return {
        "method": name,
        "rows": n_rows,
        "seconds": round(time.perf_counter() - wall, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "page_kib": round(path.stat().st_size / 1024),
    }


def main() -> None:
    """Measure both, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--methods", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "report.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [measured(name, args.rows, Path(folder) / f"{name}.html") for name in args.methods]
    found = {
        "benchmark": "report",
        "command": "python benchmarks/report.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "modalities": N_MODALITIES,
        "results": results,
    }
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
