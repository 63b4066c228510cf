"""The default retriever on test pairs, beside PgM and the floors, whose figures are those of their own runs.

    python experiments/default/retrieval.py --data DIR --jobs 2     some hours of a slow core, once
    python experiments/default/retrieval.py --table                 RETRIEVAL.md from the JSON files

Writes retrieval.json and RETRIEVAL.md beside this file. ``matching`` learns from the classes of all training
pairs, ``matching, pairs alone`` from none; the published splits of `experiments/pgm/retrieval.py` (wiki) and
`experiments/raw/retrieval.py` (fashion).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from choose_retrieval import SETS  # type: ignore[import-not-found]

from polymodal import bench
from polymodal.bench import Cell, Result
from polymodal.data import readers
from polymodal.estimators import MultimodalRetriever
from polymodal.retrieval import CHANCE, retrieval_report

HERE = Path(__file__).parent
OTHERS = (HERE.parent / "pgm" / "retrieval.json", HERE.parent / "raw" / "retrieval.json")
ALONE = "matching, pairs alone"
METHODS = ("matching", ALONE)
WITHOUT_CLASSES = (ALONE, "pgm, pairs alone", "cca")
N_SEEDS = {"wiki": 3, "fashion": 1}
SHOWN = ("map", "recall_at_1", "recall_at_10")


def cells() -> list[Cell]:
    """Both forms on every set, the quick sets first; a cell's ``split`` names the features of wiki."""
    found = []
    for dataset, variant, encoders in SETS.values():
        where: dict[str, Any] = {"split": variant}
        if encoders is not None:
            where = {"variant": variant, "encoders": tuple(encoders.items())}
        for seed in range(N_SEEDS[dataset]):
            found += [Cell(dataset, "matching", seed, name=name, **where) for name in METHODS]
    return sorted(found, key=lambda cell: (cell.dataset != "wiki", cell.seed))


def measure(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """Fit on the training pairs, search among the test pairs."""
    del model
    dataset = readers.load(cell.dataset, data, variant=cell.variant or cell.split)
    train, test = dataset.train_test(cell.seed)
    with bench.one_thread(), bench.kept_warnings() as kept:
        (X, y), (X_test, y_test) = dataset.rows(train), dataset.rows(test)
        modalities: Any = dataset.modalities
        if cell.encoders:
            tables = bench.encoded(X, X_test, bench.declared(dataset, dict(cell.encoders)))
            X, X_test, modalities = tables.train, tables.test, None
        start = time.process_time()
        estimator = MultimodalRetriever(modalities, random_state=cell.seed)
        estimator.fit(X, None if cell.name in WITHOUT_CLASSES else y)
        seconds = time.process_time() - start
        embeddings = {name: estimator.embed(X_test, name) for name in estimator.modalities_}
    table = retrieval_report(embeddings, y_test, dataset=cell.data_name, method=cell.name, seed=cell.seed)
    record = {
        "cell": asdict(cell),
        "n_train": len(train),
        "n_test": len(test),
        "cpu_seconds_fit": round(seconds, 3),
        "learnt": estimator.history_[-1],
        "warnings": kept,
    }
    return Result(cell, bench.to_rows(table[table["method"] != CHANCE]), record)


# ---- the table -------------------------------------------------------------------------------------------


def table() -> str:
    """The page: every set, mean over seeds, ± their deviation; the best of a column is bold."""
    files = [HERE / "retrieval.json", *OTHERS]
    rows = pd.concat([pd.DataFrame(json.loads(file.read_text())) for file in files])
    lines = [
        "# Retrieval: the default beside PgM and the floors",
        "",
        "Made by `python experiments/default/retrieval.py --table` from the JSON files here, in `pgm` and in",
        "`raw`. Test pairs as queries and as the collection. *map*: relevant is what has the query's class;",
        "*recall_at_k*: the query's own partner is among the first k. *cca* and *pairs alone* see no class.",
        "Mean ± standard deviation over seeds; the best of a column is bold.",
        "",
    ]
    ours = pd.DataFrame(json.loads(files[0].read_text()))
    for dataset in ours["dataset"].unique():
        lines += [*section(dataset, rows[rows["dataset"] == dataset]), ""]
    return "\n".join(lines).rstrip() + "\n"


def section(dataset: str, rows: pd.DataFrame) -> Iterator[str]:
    """One set: a line a method."""
    order = [*METHODS, *(m for m in rows["method"].unique() if m not in METHODS)]
    ways = list(dict.fromkeys(rows["subset"]))
    columns = [(metric, way) for metric in SHOWN for way in ways]
    values = rows.groupby(["method", "metric", "subset"])["value"]
    mean = pd.DataFrame({c: [values.get_group((m, *c)).mean() for m in order] for c in columns}, index=order)
    seeds = rows[rows["method"] == METHODS[0]]["seed"].nunique()
    yield f"## {dataset}, {seeds} seed{'s' if seeds > 1 else ''} of the default"
    yield ""
    yield "| method | " + " | ".join(f"{metric} {way}" for metric, way in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for m in order:
        shown = []
        for c in columns:
            own = values.get_group((m, *c))
            text = f"{own.mean():.3f}" + (f" ± {own.std():.3f}" if len(own) > 1 else "")
            shown.append(f"**{text}**" if mean.loc[m, [c]].iloc[0] == mean[c].max() else text)
        yield f"| {m} | " + " | ".join(shown) + " |"


def main() -> None:
    """Run what is not done yet, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--table", action="store_true", help="write RETRIEVAL.md and end")
    args = parser.parse_args()
    if not args.table:
        bench.run(
            cells(),
            data=args.data,
            jobs=args.jobs,
            out=HERE / "retrieval.json",
            command="python experiments/default/retrieval.py --data DIR",
            work=measure,
        )
    (HERE / "RETRIEVAL.md").write_text(table())


if __name__ == "__main__":
    main()
