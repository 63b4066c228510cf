"""How the default was chosen: on rows held out of the training parts, never on test rows.

    python experiments/default/choose.py --data DIR [--datasets mfeat htad] [--labels 0.01 0.05]
        [--missing complete not_at_random] [--methods committee late_fusion] [--seeds 100 101]
        [--settings '{"n_trees": 50}'] [--metric log_loss] [--note WORDS] [--out FILE]

70 % of the training rows are learnt from, the other 30 % (other subjects, where test rows
are) are scored.
Prints a line a run: the metric's (the data set's primary one) mean over combinations and the rows as they
came, the worst one, all together, and processor seconds; `--out` appends the same as lines of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from polymodal import bench
from polymodal import methods as registry
from polymodal.data import readers, splits
from polymodal.metrics import METRICS

DATASETS = {
    "mfeat": {},
    "htad": {},
    "wesad": {},
    "mosi": {"split": "split_clean"},
    "extrasensory": {},
    "wiki": {},
    "av_digits": {},
    "synthetic_synergy": {},
    "synthetic_synergy:sequences": {},
}
MAX_ROWS = 1000


def inner(dataset: readers.Dataset, seed: int, split: str | None = None) -> readers.Dataset:
    """The training rows of a data set as a data set of its own; its test rows are not in it."""
    train, test = dataset.train_test(seed, split)
    groups = dataset.groups
    if groups is not None and np.isin(groups[test], groups[train]).any():
        groups = None  # test rows are of the same groups: so are the held-out ones
    X, y = dataset.rows(train)
    own = None if groups is None else groups[train]
    fit, held = splits.train_test(y, 0.3, seed, kind=dataset.kind, groups=own)
    return replace(dataset, X=X, y=y, groups=own, splits={"held_out": {"train": fit, "test": held}})


def score(dataset: readers.Dataset, cell: bench.Cell) -> dict[str, float]:
    """Mean over combinations, worst and all together (or ``observed`` rows) of one run, by the one metric."""
    start = time.process_time()
    _, result = bench.fitted(dataset, cell)
    own = [row for row in result.rows if row["metric"] != "n_rows" and not row["subset"].startswith("rate=")]
    values = [row["value"] for row in own]
    worst = min if METRICS[dataset.metrics[0]].greater_is_better else max
    found = {"mean": np.mean(values), "worst": worst(values), "all": values[-1]}
    return {name: round(float(v), 4) for name, v in found.items()} | {
        "seconds": round(time.process_time() - start, 1)
    }


def main() -> None:
    """Print every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--datasets", nargs="*", default=list(DATASETS))
    parser.add_argument("--labels", nargs="*", type=float, default=[0.01, 0.05])
    parser.add_argument("--missing", nargs="*", default=["complete"])
    parser.add_argument("--methods", nargs="*", default=["committee", "late_fusion", "soft_self_training"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[100, 101])
    parser.add_argument("--settings", type=json.loads, default={}, help="of the methods that are no floors")
    parser.add_argument("--max-rows", type=int, default=MAX_ROWS)
    parser.add_argument("--metric", help="in place of the primary one")
    parser.add_argument("--note", default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    for name in args.datasets:
        dataset_name, _, variant = name.partition(":")
        dataset = readers.load(dataset_name, args.data, variant=variant or None)
        for seed in args.seeds:
            part = inner(dataset, seed, **DATASETS.get(name, {}))
            part = replace(part, metrics=(args.metric or dataset.metrics[0],))
            for labels in args.labels:
                for missing in args.missing:
                    for method in args.methods:
                        settings = args.settings if method in registry.METHODS else {}
                        cell = bench.Cell(
                            name,
                            method,
                            seed,
                            labels,
                            settings=tuple(sorted(settings.items())),
                            missing=missing,
                            max_train=args.max_rows,
                            max_test=args.max_rows,
                        )
                        found = score(part, cell)
                        line = {"dataset": name, "labels": labels, "missing": missing, "seed": seed}
                        line |= {"method": method, "note": args.note} | found
                        print(" ".join(str(value) for value in line.values()), flush=True)
                        if args.out:
                            with args.out.open("a") as file:
                                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
