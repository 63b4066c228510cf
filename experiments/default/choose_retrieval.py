"""How the default retriever was chosen: on pairs held out of the training parts, never on test pairs.

    python experiments/default/choose_retrieval.py --data DIR [--sets wiki/sift_lda fashion/in_packages]
        [--methods matching cca] [--pairs-alone] [--seeds 100 101] [--note WORDS] [--out FILE]

70 % of the training pairs are learnt from, the other 30 % are queries and collection. Prints a line a run:
recall of the partner among the first 1 and 10 and mean average precision of the classes, there and back, and
processor seconds; `--out` appends the same as lines of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from polymodal import bench
from polymodal.data import door, readers, splits
from polymodal.estimators import MultimodalRetriever, PgMRetriever
from polymodal.methods.floors.retrieval import RETRIEVAL_FLOORS
from polymodal.retrieval import retrieval_report

sys.path.append(str(Path(__file__).parents[1] / "raw"))
from run import BUILT_IN, IN_PACKAGES  # type: ignore[import-not-found]

SETS = {
    "wiki/sift_lda": ("wiki", "sift_lda", None),
    "wiki/cnn_w2v": ("wiki", "cnn_w2v", None),
    "fashion/built_in": ("fashion", "retrieval", BUILT_IN),
    "fashion/in_packages": ("fashion", "retrieval", IN_PACKAGES),
}
SHOWN = ("recall_at_1", "recall_at_10", "map")


def held_out(name: str, seed: int, data: str | None) -> tuple[Any, np.ndarray, Any, np.ndarray]:
    """Rows to learn from and their classes, rows to score and theirs; all of the training part."""
    dataset, variant, encoders = SETS[name]
    loaded = readers.load(dataset, data, variant=variant)
    X, y = loaded.rows(loaded.train_test(seed)[0])
    fit, held = splits.train_test(y, 0.3, seed, kind="multiclass")
    parts = door.take(X, fit), door.take(X, held)
    if encoders is not None:
        tables = bench.encoded(*parts, bench.declared(loaded, dict(encoders)))
        parts = tables.train, tables.test
    return parts[0], np.asarray(y)[fit], parts[1], np.asarray(y)[held]


def built(method: str, seed: int) -> Any:
    """The unfitted retriever or floor."""
    if method in RETRIEVAL_FLOORS:
        return RETRIEVAL_FLOORS[method]()
    if method == "pgm":
        return PgMRetriever(n_iterations=1, random_state=seed)
    return MultimodalRetriever(random_state=seed)


def main() -> None:
    """Print every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--methods", nargs="*", default=["matching", "cca"])
    parser.add_argument("--pairs-alone", action="store_true", help="without classes")
    parser.add_argument("--seeds", nargs="*", type=int, default=[100, 101])
    parser.add_argument("--note", default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    for name in args.sets:
        for seed in args.seeds:
            X, y, X_held, y_held = held_out(name, seed, args.data)
            for method in args.methods:
                start = time.process_time()
                model = built(method, seed).fit(X, None if args.pairs_alone else y)
                seconds = round(time.process_time() - start, 1)
                spaces = {m: model.embed(X_held, m) for m in model.modalities_}
                table = retrieval_report(spaces, np.unique(y_held, return_inverse=True)[1], method=method)
                table = table[(table["method"] == method) & table["metric"].isin(SHOWN)]
                values = table.set_index(["metric", "subset"])["value"].round(4)
                line = {"set": name, "seed": seed, "method": method, "pairs_alone": args.pairs_alone}
                line |= {"note": args.note} | {f"{a} {b}": v for (a, b), v in values.items()}
                line |= {"seconds": seconds}
                print(" ".join(str(value) for value in line.values()), flush=True)
                if args.out:
                    history = getattr(model, "history_", [{}])[-1]
                    with args.out.open("a") as file:
                        file.write(json.dumps(line | {"learnt": history}) + "\n")


if __name__ == "__main__":
    main()
