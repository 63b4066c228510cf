"""How well a committee's judge knows which generation is best: held-out error beside what is true.

    python experiments/default/ladder.py --data DIR [mfeat:complete:100 wesad:random_50:101 ...]

A place is a data set, a missing regime and a seed; 5 % of the labels of 600 of the rows `choose.py` learns
from, 40 trees (30 in a fold). Prints a line a generation: the error on held-out folds, which judges, the log
loss there, and the accuracy on the unlabelled rows, whose labels nobody but this script has seen: mean over
the combinations of what each row has, and all of it together.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from choose import DATASETS, inner

from polymodal import bench
from polymodal.data import readers
from polymodal.methods.committee import generations, judging, pool, teams
from polymodal.methods.committee.judging import Verdict
from polymodal.methods.committee.teams import Rows, Team

PLACES = [
    *(f"{name}:complete:{seed}" for name in ("mfeat", "htad", "wiki", "wesad") for seed in (100, 101)),
    *(f"extrasensory:complete:{seed}" for seed in (100, 101)),
    *(f"wesad:random_50:{seed}" for seed in (100, 101)),
    *(f"{name}:random_50:100" for name in ("mfeat", "htad", "wiki", "extrasensory")),
    "av_digits:complete:100",
]
SETTINGS = {"n_trees": 40, "n_trees_judged": 30, "n_generations": 4}


def true_accuracy(
    rows: Rows, turned: tuple[np.ndarray, ...], team: Team, verdict: Verdict, truth: np.ndarray, subsets: Any
) -> tuple[float, float]:
    """On the unlabelled rows: mean over combinations, and all together."""
    presence = torch.from_numpy(rows.presence[team.free])
    own = verdict.weights[0]
    said = pool.opinions(teams.team_scores(rows, turned, team, team.free), presence, own)
    present = presence.unsqueeze(1) & subsets
    right = pool.pooled(said, present, own).argmax(dim=2).numpy() == truth[team.free][:, None]
    return float(right[present.any(dim=2).numpy()].mean()), float(right[:, -1].mean())


def climbed(truth: np.ndarray, seen: list[str]) -> Callable[..., Verdict]:
    """The judge, which also notes what is true; a joint or crossing member is not in the note."""
    judge = judging.judge

    def noted(rows: Rows, turned: Any, found: list[Team], subsets: Any) -> Verdict:
        verdict = judge(rows, turned, found, subsets)
        mean, together = true_accuracy(rows, turned, found[0], verdict, truth, subsets)
        error = float(verdict.errors.nanmean())
        seen.append(
            f"error {error:.3f}, log loss {verdict.loss:.3f}, true {mean:.3f}, together {together:.3f}"
        )
        return verdict

    return noted


def main() -> None:
    """Print every ladder, climbed to its end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("places", nargs="*", default=PLACES)
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    args = parser.parse_args()
    for place in args.places:
        name, missing, seed = place.split(":")
        dataset = inner(readers.load(name, args.data), int(seed), **DATASETS.get(name, {}))
        own = tuple(sorted((SETTINGS | {"joint": False}).items()))
        cell = bench.Cell(
            name, "committee", int(seed), 0.05, settings=own, missing=missing, max_train=600, max_test=300
        )
        given = bench.problem_of(cell, dataset)
        truth = bench.problem_of(replace(cell, labels=1.0), dataset).y_train
        seen: list[str] = []
        with (
            bench.one_thread(),
            bench.kept_warnings(),
            patch.object(generations, "PATIENCE", 99),
            patch.object(generations, "judge", climbed(truth, seen)),
        ):
            model = bench.build(cell, dataset)
            model.fit(given.X_train, given.y_train, groups=given.groups_train)
        print(f"{place}: {model.stopping_rule_}", flush=True)
        for generation, words in enumerate(seen):
            print(f"  generation {generation}: {words}", flush=True)


if __name__ == "__main__":
    main()
