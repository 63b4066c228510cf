"""Cross-modal retrieval on wiki: PgMRetriever beside canonical correlations, semantic matching and chance.

    python experiments/pgm/retrieval.py --data DIR --jobs 2

Writes retrieval.json beside this file. Both kinds of published features on the published split, queries and
collection being its 693 test pairs; mAP by class and recall of the partner, in both directions, 5 seeds.
``cca`` and ``pgm, pairs alone`` see no class; the others learn from the classes of all training pairs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polymodal import bench
from polymodal.bench import Cell, Result
from polymodal.data import readers
from polymodal.estimators import PgMRetriever
from polymodal.methods.floors.retrieval import RETRIEVAL_FLOORS
from polymodal.retrieval import CHANCE, retrieval_report

HERE = Path(__file__).parent
FEATURES = ("sift_lda", "cnn_w2v")
N_SEEDS = 5
PGM: dict[str, dict[str, Any]] = {
    "pgm": {},
    "pgm, pairs alone": {},
    "pgm, open gates": {"gate": "open"},
}
WITHOUT_CLASSES = ("pgm, pairs alone", "cca")


def cells() -> Iterator[Cell]:
    """PgM and the floors on both kinds of features; a cell's ``split`` names the features."""
    for features in FEATURES:
        for seed in range(N_SEEDS):
            for name, settings in PGM.items():
                yield Cell("wiki", "pgm", seed, split=features, settings=tuple(settings.items()), name=name)
            for name in RETRIEVAL_FLOORS:
                yield Cell("wiki", name, seed, split=features)


def measure(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """Fit on the training pairs, search among the test pairs."""
    del model
    dataset = readers.load("wiki", data, variant=cell.split)
    train, test = dataset.train_test(cell.seed)
    with bench.one_thread(), bench.kept_warnings() as kept:
        start = time.perf_counter()
        X, y = dataset.rows(train)
        if cell.method == "pgm":
            own = {"random_state": cell.seed, **dict(cell.settings)}
            estimator: Any = PgMRetriever(dataset.modalities, **own)
        else:
            estimator = RETRIEVAL_FLOORS[cell.method](dataset.modalities)
        estimator.fit(X, None if cell.name in WITHOUT_CLASSES else y)
        seconds = time.perf_counter() - start
        X, y = dataset.rows(test)
        embeddings = {name: estimator.embed(X, name) for name in X}
    table = retrieval_report(embeddings, y, dataset=cell.data_name, method=cell.name, seed=cell.seed)
    if cell.name != "cca":  # chance is the same beside all: once a seed
        table = table[table["method"] != CHANCE]
    record = {
        "cell": asdict(cell),
        "n_train": len(train),
        "n_test": len(test),
        "seconds_fit": round(seconds, 3),
        "diagnostics": bench.diagnostics(getattr(estimator, "history_", [])),
        "stopping_rule": getattr(estimator, "stopping_rule_", None),
        "n_epochs": getattr(estimator, "n_iter_", None),
        "warnings": kept,
    }
    return Result(cell, bench.to_rows(table), record)


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
        command="python experiments/pgm/retrieval.py --data DIR",
        work=measure,
    )


if __name__ == "__main__":
    main()
