"""Memory that stays flat: over the epochs of a fit, and over a million rows predicted from a memory map.

Memory is the process's own (anonymous pages); pages of the mapped file belong to the file cache.

    python benchmarks/memory.py [--rows 1000000] [--epochs 50] [--folder /tmp] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from polymodal import RobultClassifier, Vector

N_MODALITIES = 6
WIDTH = 160  # of each modality: 960 columns in all
N_CLASSES = 10
ROWS_WRITTEN = 20_000
MODALITIES = {f"m{i}": Vector(range(i * WIDTH, (i + 1) * WIDTH)) for i in range(N_MODALITIES)}


def own_mib() -> float:
    """Anonymous memory of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not tell a process its anonymous memory")


class Peak:
    """The largest memory seen so far."""

    def __init__(self) -> None:
        self.mib = own_mib()


@contextmanager
def watched() -> Iterator[Peak]:
    """Watch memory within the block."""
    peak, done = Peak(), threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak.mib = max(peak.mib, own_mib())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def some_rows(n: int, seed: int) -> np.ndarray:
    """(n, 960) rows, a tenth of the cells' modalities absent."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, N_MODALITIES, WIDTH), dtype=np.float32)
    X[random.random((n, N_MODALITIES)) < 0.1] = np.nan
    return X.reshape(n, -1)


def a_model(epochs: int, n: int = 2000, **settings: object) -> RobultClassifier:
    """Robult on random rows, half of them labelled."""
    y = np.random.default_rng(0).integers(N_CLASSES, size=n)
    y[n // 2 :] = -1
    model = RobultClassifier(
        MODALITIES, max_epochs=epochs, validation_fraction=0.0, random_state=0, verbose=False, **settings
    )
    return model.fit(some_rows(n, seed=0), y)


def training(epochs: int) -> dict[str, object]:
    """Memory at the end of each epoch of a fit."""
    from polymodal.methods.robult import Robult

    seen: list[float] = []
    diagnostics = Robult.diagnostics

    def watched_diagnostics(self: Robult, *arguments: object) -> dict[str, float]:
        figures = diagnostics(self, *arguments)  # type: ignore[arg-type]
        seen.append(own_mib())
        return figures

    Robult.diagnostics = watched_diagnostics  # type: ignore[method-assign]
    try:
        a_model(epochs)
    finally:
        Robult.diagnostics = diagnostics  # type: ignore[method-assign]
    early = seen[min(4, len(seen) - 1)]
    return {
        "epochs": len(seen),
        "mib_after_epoch_5": round(early, 1),
        "mib_after_last_epoch": round(seen[-1], 1),
        "growth_mib": round(seen[-1] - early, 1),
    }


def prediction(n: int, folder: Path) -> dict[str, object]:
    """A memory-mapped file of n rows, predicted through the estimator."""
    model = a_model(epochs=1)
    path = folder / "rows.float32"
    shape = (n, N_MODALITIES * WIDTH)
    piece = some_rows(min(n, ROWS_WRITTEN), seed=1)
    with path.open("wb") as file:
        for start in range(0, n, len(piece)):
            file.write(piece[: n - start].tobytes())
    del piece
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few rows have no modality at all
        model.predict_proba(np.memmap(path, np.float32, "r", shape=shape)[:5000])  # to warm up
        before = own_mib()
        with watched() as peak:
            start_time = time.perf_counter()
            probabilities = model.predict_proba(np.memmap(path, np.float32, "r", shape=shape))
            seconds = time.perf_counter() - start_time
    assert probabilities.shape == (n, N_CLASSES)
    return {
        "rows": n,
        "columns": shape[1],
        "file_mib": round(path.stat().st_size / 2**20),
        "parameters": sum(p.numel() for p in model.method_.parameters()),
        "rows_per_second": round(n / seconds),
        "result_mib": round(probabilities.nbytes / 2**20, 1),
        "mib_before": round(before, 1),
        "peak_growth_mib": round(peak.mib - before, 1),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="where the mapped file is written for the time of the run"
    )
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        result = {
            "benchmark": "memory",
            "command": " ".join(["python benchmarks/memory.py", *sys.argv[1:]]),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "threads": asked.threads,
            "training": training(asked.epochs),
            "prediction": prediction(asked.rows, Path(folder)),
        }
    text = json.dumps(result, indent=1)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
