"""Photographs and their titles, found by each other: PgMRetriever beside linear floors and chance.

    python experiments/raw/retrieval.py --data DIR

Writes retrieval.json beside this file. On the published split of fashion, queries and collection being its
1,872 test pairs; recall of the partner and mAP by class, in both directions. PgM has 3 seeds, the floors draw
nothing. ``cca`` and ``pgm, pairs alone`` see no class, the others the classes of all training pairs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from run import BUILT_IN, IN_PACKAGES, N_SEEDS  # type: ignore[import-not-found]

from polymodal import bench
from polymodal.bench import Cell, Result
from polymodal.data import readers
from polymodal.estimators import PgMRetriever
from polymodal.methods.floors.retrieval import RETRIEVAL_FLOORS
from polymodal.retrieval import CHANCE, retrieval_report

HERE = Path(__file__).parent
PGM = ("pgm", "pgm, pairs alone")
WITHOUT_CLASSES = ("pgm, pairs alone", "cca")
SETTINGS = (("n_iterations", 1),)


def cells() -> Iterator[Cell]:
    """PgM with one round, and the floors, on two pairs of encoders."""
    for pair in (BUILT_IN, IN_PACKAGES):
        where: dict[str, Any] = {"variant": "retrieval", "encoders": tuple(pair.items())}
        for seed in range(N_SEEDS):
            for name in PGM:
                yield Cell("fashion", "pgm", seed, settings=SETTINGS, name=name, **where)
        for name in RETRIEVAL_FLOORS:
            yield Cell("fashion", name, 0, **where)


def measure(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """Fit on the training pairs, search among the test pairs; each cell is encoded once."""
    del model
    dataset = readers.load("fashion", data, variant=cell.variant)
    train, test = dataset.train_test(cell.seed)
    with bench.one_thread(), bench.kept_warnings() as kept:
        (X, y), (X_test, y_test) = dataset.rows(train), dataset.rows(test)
        tables = bench.encoded(X, X_test, bench.declared(dataset, dict(cell.encoders)))
        start, cpu_start = time.perf_counter(), time.process_time()
        estimator = _built(cell).fit(tables.train, None if cell.name in WITHOUT_CLASSES else y)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        embeddings = {name: estimator.embed(tables.test, name) for name in X}
    table = retrieval_report(embeddings, y_test, dataset=cell.data_name, method=cell.name, seed=cell.seed)
    if cell.name != "cca":  # chance is the same beside all: once
        table = table[table["method"] != CHANCE]
    record = {
        "cell": asdict(cell),
        "n_train": len(train),
        "n_test": len(test),
        "seconds_fit": round(seconds, 3),
        "cpu_seconds_fit": round(cpu_seconds, 3),
        "diagnostics": bench.diagnostics(getattr(estimator, "history_", [])),
        "stopping_rule": getattr(estimator, "stopping_rule_", None),
        "n_epochs": getattr(estimator, "n_iter_", None),
        "warnings": kept,
    }
    return Result(cell, bench.to_rows(table), record)


def _built(cell: Cell) -> Any:
    """The unfitted retriever or floor; modalities come with the table."""
    if cell.method == "pgm":
        return PgMRetriever(random_state=cell.seed, **dict(cell.settings))
    return RETRIEVAL_FLOORS[cell.method]()


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
        out=HERE / "retrieval.json",
        command="python experiments/raw/retrieval.py --data DIR",
        work=measure,
    )


if __name__ == "__main__":
    main()
