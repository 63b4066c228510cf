"""A modality too many: what noise, or one that speaks of another class, costs beside those that are good.

    python experiments/default/added.py [--jobs 2]

The bundled sets, 1,000 training rows, 3 seeds. ``noise`` adds 50 columns of independent normal numbers;
``conflict`` a copy of the set's strongest modality, swapped between rows of unlike classes in half of the
training and of the test rows. Every combination S of the good modalities is predicted with the added one and
compared with S by a model that never had it. Writes ``added.json`` (a line a run), ``ADDED.md`` and the table
of the committee in its page of documentation; goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polymodal import bench
from polymodal import methods as registry
from polymodal.bench import Cell, Result
from polymodal.data import conflict, readers
from polymodal.estimators import subset_table
from polymodal.schema import Vector

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "added.json", HERE / "ADDED.md"
DOCUMENT = HERE.parents[1] / "docs" / "committee.md"
MARKED = re.compile(r"(<!-- added -->\n).*?(<!-- end of added -->)", re.DOTALL)
METHODS = ("committee", "late_fusion", "imputation_concat", "dropout_concat", "random_forest")
STRONGEST = {"mfeat": "fac", "htad": "accelerometer"}
ADDED = "added"
LABELS = (0.05, 1.0)
SEEDS = range(3)
WIDTH = 50
CAPS = {"max_train": 1000, "max_test": 600}

ABOUT = """\
# A modality too many

Made by `python experiments/default/added.py` from `added.json`. Percentage points of accuracy that every
combination of the good modalities loses, on average, when the added one is there, against a model that never
had it; mean ± standard deviation over seeds. Negative: nothing is lost. *noise*: 50 columns of independent
normal numbers. *conflict*: a copy of the strongest modality that speaks of another class in half of the
rows."""


def cells() -> Iterator[Cell]:
    """A run with each kind of added modality, and one without."""
    for dataset in STRONGEST:
        for labels in LABELS:
            for seed in SEEDS:
                for variant in ("without", "noise", "conflict"):
                    for method in METHODS:
                        yield Cell(dataset, method, seed, labels, variant=variant, **CAPS)


def with_added(X: dict[str, Any], y: np.ndarray, cell: Cell, seed: int) -> dict[str, Any]:
    """X with the modality that the cell's variant adds."""
    if cell.variant == "noise":
        random = np.random.default_rng(seed)
        return {**X, ADDED: random.normal(size=(len(y), WIDTH)).astype(np.float32)}
    if cell.variant == "conflict":
        strongest = STRONGEST[cell.dataset]
        swapped = conflict.swapped(X, strongest, conflict.donors(y, 0.5, seed))
        return {**X, ADDED: swapped[strongest]}
    return X


def work(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """One run: all combinations of the test rows."""
    del model
    dataset = readers.load(cell.dataset, data)
    given = bench.problem_of(cell, dataset)
    truth = bench.problem_of(replace(cell, labels=1.0), dataset).y_train
    X_train = with_added(given.X_train, truth, cell, 2 * cell.seed)
    X_test = with_added(given.X_test, given.y_test, cell, 2 * cell.seed + 1)
    if ADDED in X_train:
        own = dataset.modalities[STRONGEST[cell.dataset]]
        added = type(own)() if cell.variant == "conflict" else Vector()
        dataset = replace(dataset, modalities={**dataset.modalities, ADDED: added})
    with bench.one_thread(), bench.kept_warnings() as kept:
        estimator = bench.build(cell, dataset)
        more = {"groups": given.groups_train} if cell.method in registry.METHODS else {}
        estimator.fit(X_train, given.y_train, **more)
        table = subset_table(estimator, X_test, given.y_test, metrics=dataset.metrics[:1])
    kept_rows = table[(table["metric"] != "n_rows") & ~table["subset"].str.startswith("rate=")]
    rows = [
        {"dataset": cell.dataset, "variant": cell.variant, "method": cell.name, "seed": cell.seed}
        | {"labels": cell.labels, "subset": subset, "value": round(float(value), 6)}
        for subset, value in zip(kept_rows["subset"], kept_rows["value"], strict=True)
    ]
    return Result(cell, rows, {"cell": asdict(cell), "sha256": given.hashes, "warnings": kept})


def losses(table: pd.DataFrame) -> pd.DataFrame:
    """dataset, labels, variant, method, seed: points lost, mean over the combinations of good modalities."""
    keys = ["dataset", "labels", "method", "seed"]
    without = table[table["variant"] == "without"].rename(columns={"value": "without"})
    parts = []
    for variant in ("noise", "conflict"):
        own = table[(table["variant"] == variant) & table["subset"].str.endswith(f"+{ADDED}")]
        own = own.assign(subset=own["subset"].str.removesuffix(f"+{ADDED}"))
        pairs = own.merge(without[[*keys, "subset", "without"]], on=[*keys, "subset"])
        pairs["points"] = 100 * (pairs["without"] - pairs["value"])
        parts.append(pairs.groupby([*keys, "variant"], sort=False)["points"].mean().reset_index())
    return pd.concat(parts, ignore_index=True)


VARIANTS = ("noise", "conflict")
PLACES = [(dataset, labels) for dataset in STRONGEST for labels in LABELS]


def markdown(table: pd.DataFrame, first: str, lines: list[tuple[str, str, str]]) -> list[str]:
    """A table of points lost; of each line its name, the variant and the method."""
    found = losses(table).groupby(["variant", "dataset", "labels", "method"], sort=False)["points"]
    means, spreads = found.mean(), found.std()
    rows = [f"| {first} | " + " | ".join(f"{d}, {100 * s:g} %" for d, s in PLACES) + " |"]
    rows.append("|---" + "|--:" * len(PLACES) + "|")
    for name, variant, method in lines:
        own = [(variant, d, s, method) for d, s in PLACES]
        figures = " | ".join(f"{means[key]:+.1f} ± {spreads[key]:.1f}" for key in own)
        rows.append(f"| {name} | {figures} |")
    return rows


def text(table: pd.DataFrame) -> str:
    """The page."""
    lines = [*ABOUT.splitlines(), ""]
    for variant in VARIANTS:
        lines += [f"## {variant}", ""]
        lines += [*markdown(table, "method", [(method, variant, method) for method in METHODS]), ""]
    return "\n".join(lines).rstrip() + "\n"


def filled(page: str, table: pd.DataFrame) -> str:
    """The page of documentation with the committee's own lines."""
    own = markdown(table, "added", [(variant, variant, METHODS[0]) for variant in VARIANTS])
    return MARKED.sub(lambda found: found[1] + "\n".join(own) + "\n" + found[2], page)


def committed() -> pd.DataFrame:
    """The figures that were written."""
    return pd.DataFrame(json.loads(RESULTS.read_text()))


def main() -> None:
    """Run what is not done yet; write the rows and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1)
    jobs = parser.parse_args().jobs
    bench.run(list(cells()), jobs=jobs, out=RESULTS, command="python experiments/default/added.py", work=work)
    PAGE.write_text(text(committed()))
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), committed()))


if __name__ == "__main__":
    main()
