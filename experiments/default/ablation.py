"""The committee without each of its parts, on rows held out of the training parts.

    python experiments/default/ablation.py --data DIR    some 20 minutes of a core; goes on when cut off
    python experiments/default/ablation.py --table       ABLATION.md and the table of docs/committee.md alone

A place is a data set, a missing regime, a share of labels and a seed: at most 600 of the rows that
`choose.py` learns from, and 600 that it scores. There the committee learns as it is, and again without each
part that can make a difference. A part that was tried and not kept is not taken out: its figures are those of
the whole, to the last bit, and so are those without generations where no row lacks a label. Writes
``ablation.json``.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from choose import DATASETS, inner
from torch import Tensor

from polymodal import bench
from polymodal.bench import Cell, Result
from polymodal.data import readers
from polymodal.methods.committee import generations, members, method, pool
from polymodal.methods.committee.linear import Linear, starting_bias
from polymodal.methods.committee.pool import Judged, Weights
from polymodal.methods.committee.sequences import COLUMNS, Kernels

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "ablation.json", HERE / "ABLATION.md"
DOCUMENT = HERE.parents[1] / "docs" / "committee.md"
MARKED = re.compile(r"(<!-- ablation -->\n).*?(<!-- end of ablation -->)", re.DOTALL)

SETS = ("htad", "wiki", "wesad", "synthetic_synergy", "synthetic_synergy:sequences", "mfeat")
REGIMES = ("complete", "not_at_random")
LABELS = (0.05, 1.0)
SEEDS = (100, 101)
TREES = {"n_trees": 40, "n_trees_judged": 20}
MAX_ROWS = 600

# ---- what is taken out -------------------------------------------------------------------------------------

Taken = Callable[[], Any]
"""Enters the replacement of one function of the committee."""


def never_better(*given: Any) -> Any:
    """Of a part that is to be tried: the verdict without it."""
    return next(value for value in given if isinstance(value, generations.Verdict))


def deaf_to(*silent: int) -> Callable[[Tensor, Tensor, Weights], Tensor]:
    """The opinion of a modality without some of its members."""
    opinions = pool.opinions

    def without(scores: Tensor, presence: Tensor, weights: Weights) -> Tensor:
        theta = weights.theta.clone()
        theta[:, list(silent)] = -torch.inf
        return opinions(scores, presence, replace(weights, theta=theta))

    return without


@contextmanager
def members_taken(*silent: int) -> Iterator[None]:
    """Members that are in no pool."""
    with patch.object(pool, "opinions", deaf_to(*silent)), patch.object(method, "opinions", deaf_to(*silent)):
        yield


@contextmanager
def no_forest() -> Iterator[None]:
    """Neither grown nor heard; the joint member is left."""
    grow = members.grow

    def joint_alone(*given: Any, **more: Any) -> Any:
        return grow(*given, **more) if "max_features" in more else None

    with patch.object(members, "grow", joint_alone), members_taken(members.N_MEMBERS - 1):
        yield


@contextmanager
def no_ridges() -> Iterator[None]:
    """Neither learnt nor heard."""

    def unlearnt(x: np.ndarray, *task: Any, **_: Any) -> Linear:
        *_, kind, prior = task
        return Linear(np.zeros((x.shape[1], len(prior))), starting_bias(prior, kind))

    with patch.object(members, "fit_linear", unlearnt), members_taken(*range(members.N_MEMBERS - 1)):
        yield


@contextmanager
def no_kernels() -> Iterator[None]:
    """Sequences are read by their statistics and quarters alone."""

    def nothing(_: Any, value: Tensor, *__: Any) -> Tensor:
        return value.new_zeros(len(value), COLUMNS, dtype=torch.float32)

    with patch.object(Kernels, "observe", lambda *_: None), patch.object(Kernels, "forward", nothing):
        yield


def equal_weights(judged: Judged, start: Weights) -> Weights:
    """The pool's prior; how much of the joint member and of products is heard is learnt all the same."""
    equal = Weights.start(len(start.theta), start.theta.shape[1], judged.kind)

    def objective(joint: Tensor, crossing: Tensor) -> Tensor:
        moved = (joint - equal.joint).square().sum() + (crossing - equal.crossing).square().sum()
        loss = judged.mean_loss(replace(equal, joint=joint, crossing=crossing))
        return loss + moved / (2 * max(len(judged.target), 1))

    joint, crossing = pool.least(objective, (equal.joint, equal.crossing), ((0.0, 8.0), (0.0, 8.0)))
    return replace(equal, joint=joint, crossing=crossing)


SETTINGS: dict[str, dict[str, Any]] = {
    "generations": {"n_generations": 0},
    "products, joint member, presence": {"joint": False},
}
REPLACED: dict[str, Taken] = {
    "aligned shares": lambda: patch.object(generations, "aligned", lambda shares, _: shares),
    "learnt pool": lambda: patch.object(pool, "learn", equal_weights),
    "forests": no_forest,
    "ridge regressions": no_ridges,
    "kernels": no_kernels,
    "products": lambda: patch.object(generations, "with_crossing_if_better", never_better),
    "joint member": lambda: patch.object(generations, "with_joint_if_better", never_better),
    "presence": lambda: patch.object(generations, "with_presence_if_it_tells", never_better),
}
WHOLE = "nothing"
PARTS = (*SETTINGS, *REPLACED)


def matters(part: str, model: Any) -> bool:
    """Whether taking a part out can change a committee that was fitted with it."""
    first = model.history_[0]
    own = {"products": "crossing", "joint member": "joint", "presence": "presence"}
    if part in own:
        return bool(first[own[part]] > 0)
    if part in ("generations", "aligned shares"):
        return len(model.history_) > 1
    return part != "kernels" or any(branch.kernels is not None for branch in model.method_.own)


# ---- running -----------------------------------------------------------------------------------------------


def cells(sets: tuple[str, ...] = SETS) -> list[Cell]:
    """The places, seed by seed."""
    found = []
    for seed in SEEDS:
        for name in sets:
            dataset, _, variant = name.partition(":")
            for missing in REGIMES:
                for labels in LABELS:
                    where: dict[str, Any] = {"variant": variant or None, "missing": missing}
                    caps = {"max_train": MAX_ROWS, "max_test": MAX_ROWS}
                    found.append(Cell(dataset, "committee", seed, labels, **where, **caps))
    return found


def figures(dataset: readers.Dataset, cell: Cell, **settings: Any) -> tuple[Any, bench.Row]:
    """A committee of few trees, and its figures: of the combinations, or of the rows as they come."""
    chosen = tuple(sorted((TREES | settings).items()))
    model, result = bench.fitted(dataset, replace(cell, settings=chosen))
    own = [row for row in result.rows if row["metric"] != "n_rows" and not row["subset"].startswith("rate=")]
    values = [row["value"] for row in own]
    found = {"mean": float(np.mean(values)), "worst": min(values)}
    return model, found | {"seconds": result.record["cpu_seconds_fit"]}


def held_out(cell: Cell, data: str | Path | None) -> tuple[readers.Dataset, bench.Row]:
    """A place's rows of the training part, scored by the primary metric alone, and its name."""
    dataset = readers.load(cell.dataset, data, variant=cell.variant)
    dataset = inner(dataset, cell.seed, **DATASETS.get(cell.data_name, {}))
    place = {"dataset": cell.data_name, "missing": cell.missing, "labels": cell.labels, "seed": cell.seed}
    return replace(dataset, metrics=dataset.metrics[:1]), place


def one(part: str, dataset: readers.Dataset, cell: Cell) -> tuple[Any, bench.Row]:
    """The committee without a part, and its figures."""
    with ExitStack() as entered:
        if part in REPLACED:
            entered.enter_context(REPLACED[part]())
        return figures(dataset, cell, **SETTINGS.get(part, {}))


def work(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """A place: the whole, then without each part."""
    del model
    dataset, place = held_out(cell, data)
    whole, found = one(WHOLE, dataset, cell)
    rows = [place | {"without": WHOLE} | found]
    for part in PARTS:
        own = one(part, dataset, cell)[1] if matters(part, whole) else found | {"seconds": None}
        rows.append(place | {"without": part} | own)
    return Result(cell, rows, {"cell": asdict(cell), "rule": whole.stopping_rule_})


# ---- the tables --------------------------------------------------------------------------------------------

ABOUT = f"""\
# The committee without its parts

Made by `python experiments/default/ablation.py` from `ablation.json`. Scored on rows held out of the training
parts, never on test rows; at most {MAX_ROWS} others are learnt from, seeds {" and ".join(map(str, SEEDS))}.
A forest has {TREES["n_trees"]} trees in place of 150, {TREES["n_trees_judged"]} in place of 50 in a fold.

Percentage points of each set's primary metric (wesad: macro F1, else accuracy) that the committee has *more
without* the part: what is negative the part is worth. Mean ± standard deviation over the seeds of the paired
difference; bold where it is larger than its deviation and than half a point. A dot: the same to the last bit,
since the part was tried and not kept, or has nothing to do there; it counts as 0 in the mean of the sets.
Complete inputs: mean over all combinations, and the worst one; not at random: the rows as they come.

- *learnt pool*: weights are equal and nothing is tempered; how much of products and of the joint member is
  heard is learnt still.
- *products*, *joint member* and *presence*: one of them alone; a line before them takes out all three.
- *kernels*: sequences are read by their statistics and quarters alone."""

TITLES = {"complete": "complete inputs", "not_at_random": "not at random"}


def differences(table: pd.DataFrame, column: str = "mean") -> pd.DataFrame:
    """(missing, labels, dataset, part) x seed: points without the part minus those of the whole."""
    keys = ["missing", "labels", "dataset", "without"]
    wide = table.pivot_table(column, index=keys, columns="seed", sort=False)
    whole = wide.xs(WHOLE, level="without")
    parts = wide.drop(WHOLE, level="without")
    return 100 * (parts - whole.reindex(parts.index.droplevel("without")).to_numpy())


def shown(points: pd.Series) -> str:
    """Mean and deviation over seeds; a dot where nothing changes at all."""
    if not points.any():
        return "·"
    mean, spread = points.mean(), points.std()
    text = f"{mean:+.1f} ± {spread:.1f}"
    return f"**{text}**" if abs(mean) > max(spread, 0.5) else text


def markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table whose figures stand to the right."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def sets_of(table: pd.DataFrame) -> list[str]:
    """The data sets, in their order."""
    return list(dict.fromkeys(table["dataset"]))


def section(table: pd.DataFrame, missing: str, labels: float, column: str) -> Iterator[str]:
    """One regime and share of labels: a line a part, a column a data set."""
    own = table[(table["missing"] == missing) & (table["labels"] == labels)]
    found = differences(own, column).loc[missing, labels]
    level = 100 * own[own["without"] == WHOLE].groupby("dataset", sort=False)[column].mean()
    what = "worst combination" if column == "worst" else "mean"
    yield f"## {TITLES[missing]}, {100 * labels:g} % of the labels, {what}"
    yield ""
    rows = [["*the whole*", *(f"{level[name]:.1f}" for name in sets_of(own)), f"{level.mean():.1f}"]]
    for part in PARTS:
        each = [found.loc[(name, part)] for name in sets_of(own)]
        rows.append([part, *map(shown, each), shown(sum(each) / len(each))])
    yield from markdown(["without", *sets_of(own), "mean of the sets"], rows)
    yield ""


def seconds(table: pd.DataFrame) -> pd.DataFrame:
    """Part x data set: processor seconds of learning, as a share of those of the whole in the same places."""
    keys = ["missing", "labels", "dataset", "seed"]
    whole = table[table["without"] == WHOLE].set_index(keys)["seconds"]
    own = table[table["without"] != WHOLE].dropna(subset="seconds").set_index(keys)
    own = own.assign(whole=whole.reindex(own.index)).reset_index()
    summed = own.pivot_table(["seconds", "whole"], index="without", columns="dataset", aggfunc="sum")
    return summed["seconds"] / summed["whole"]


def costs(table: pd.DataFrame) -> Iterator[str]:
    """What each part costs."""
    found, names = seconds(table), sets_of(table)
    level = table[table["without"] == WHOLE].groupby("dataset")["seconds"].mean()
    yield "## Processor seconds of learning"
    yield ""
    yield "The whole: mean of a fit. Without a part: share of that, over the places where it was taken out."
    yield "Read on a busy machine; how many generations are tried differs as well."
    yield ""
    rows = [["*the whole*", *(f"{level[name]:.1f} s" for name in names)]]
    for part in (part for part in PARTS if part in found.index):
        shares = [found.loc[part].get(name, np.nan) for name in names]
        rows.append([part, *("·" if np.isnan(share) else f"{100 * share:.0f} %" for share in shares)])
    yield from markdown(["without", *names], rows)


def text(table: pd.DataFrame) -> str:
    """The page."""
    lines = [*ABOUT.splitlines(), ""]
    for missing in REGIMES:
        for labels in LABELS:
            for column in ("mean", "worst") if missing == "complete" else ("mean",):
                lines += section(table, missing, labels, column)
    return "\n".join([*lines, *costs(table)]) + "\n"


def short(table: pd.DataFrame) -> str:
    """The table of the documentation: mean over the data sets, and the set that misses the part most."""
    found = differences(table)
    places = [(missing, labels) for missing in REGIMES for labels in LABELS]
    rows = []
    for part in PARTS:
        own = found.xs(part, level="without")
        line = [part, *(shown(own.loc[place].mean()) for place in places)]
        each = own.mean(axis=1)
        where, worst = each.idxmin(), each.min()
        most = f"{worst:+.1f} {where[2]}, {TITLES[where[0]]}, {100 * where[1]:g} %"
        rows.append([*line, most if worst < 0 else "·"])
    header = ["without", *(f"{TITLES[missing]}, {100 * labels:g} %" for missing, labels in places)]
    return "\n".join(markdown([*header, "most, on one set"], rows)) + "\n"


def filled(page: str, table: pd.DataFrame) -> str:
    """The page of documentation with its table."""
    return MARKED.sub(lambda found: found[1] + short(table) + found[2], page)


def results() -> pd.DataFrame:
    """The committed figures."""
    return pd.DataFrame(json.loads(RESULTS.read_text())).astype({"seconds": float})


def run_unless_table(about: str, cells: Sequence[Cell], out: Path, work: Callable[..., Result]) -> None:
    """Run what is not done yet of some places, unless the tables alone are asked for."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="write the tables and end")
    args = parser.parse_args()
    if not args.table:
        command = f"python experiments/default/{out.stem}.py --data DIR"
        bench.run(cells, data=args.data, jobs=args.jobs, out=out, command=command, work=work)


def main() -> None:
    """Run what is not done yet; write the figures and the tables."""
    run_unless_table(str(__doc__), cells(), RESULTS, work)
    PAGE.write_text(text(results()))
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), results()))


if __name__ == "__main__":
    main()
