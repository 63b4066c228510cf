"""How well a committee's judge knows which generation is best: held-out error beside what is true.

    python experiments/default/ladder.py --data DIR [mfeat:complete:100 wesad:random_50:101 ...]

A place is a data set, a missing regime and a seed; 5 % of the labels of 600 of the rows `choose.py` learns
from, 40 trees (30 in a fold). Prints a line a generation: the error on held-out folds, which judges, the log
loss there, and the accuracy of what it then teaches the unlabelled rows, whose labels nobody but this script
has seen.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from unittest.mock import patch

from choose import DATASETS, inner

from polymodal import bench
from polymodal.data import readers
from polymodal.methods.committee import generations

PLACES = [
    *(f"{name}:complete:{seed}" for name in ("mfeat", "htad", "wiki", "wesad") for seed in (100, 101)),
    *(f"extrasensory:complete:{seed}" for seed in (100, 101)),
    *(f"wesad:random_50:{seed}" for seed in (100, 101)),
    *(f"{name}:random_50:100" for name in ("mfeat", "htad", "wiki", "extrasensory")),
    "av_digits:complete:100",
]
SETTINGS = {"n_trees": 40, "n_trees_judged": 30, "n_generations": 5}


def main() -> None:
    """Print every ladder, climbed to its end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("places", nargs="*", default=PLACES)
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    args = parser.parse_args()
    for place in args.places:
        name, missing, seed = place.split(":")
        dataset = inner(readers.load(name, args.data), int(seed), **DATASETS.get(name, {}))
        own = tuple(sorted(SETTINGS.items()))
        cell = bench.Cell(
            name, "committee", int(seed), 0.05, settings=own, missing=missing, max_train=600, max_test=300
        )
        given = bench.problem_of(cell, dataset)
        truth = bench.problem_of(replace(cell, labels=1.0), dataset).y_train
        with bench.one_thread(), bench.kept_warnings(), patch.object(generations, "PATIENCE", 99):
            model = bench.build(cell, dataset)
            model.fit(given.X_train, given.y_train, groups=given.groups_train, y_monitor=truth)
        print(f"{place}: {model.stopping_rule_}", flush=True)
        taught = [entry["pseudo_accuracy"] for entry in model.history_[1:]]
        for entry, accuracy in zip(model.history_, taught, strict=False):
            error, loss = entry["validation_loss"], entry["validation_log_loss"]
            print(
                f"  generation {entry['epoch']}: error {error:.3f}, log loss {loss:.3f}, true {accuracy:.3f}"
            )


if __name__ == "__main__":
    main()
