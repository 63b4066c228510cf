"""Every table of the Robult page, as one resumable command.

    python experiments/robult/run.py --data DIR --jobs 2

Groups of runs, each its own JSON of tidy rows beside this file (with ``.meta.json``: versions, hashes of
masks and splits, seconds and parameters of each run):

- ``main``: Robult, ActionMAE, MMIN and all floors on every data set, 5 seeds (extrasensory 3);
- ``ablations``: Robult less one part, and with each weighting, on mfeat and mosi with 5 % of the labels, 5
  seeds;
- ``missing``: half of the training inputs absent, on mfeat, 3 seeds;
- ``masking``: ActionMAE as published and with its masking mended, on mfeat, 3 seeds.

A run that is stopped goes on where it stopped. ``tables.py`` turns the JSON into TABLES.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polymodal import bench
from polymodal.bench import Cell
from polymodal.methods.floors import floors_for

HERE = Path(__file__).parent
N_SEEDS = {"extrasensory": 3}
"""Seeds of a data set: 5, and 3 where a fit takes minutes."""
METHODS: dict[str, dict[str, Any]] = {
    "robult": {"method": "robult"},
    # half the default width and memory: 60 % of the time of a fit
    "actionmae": {"method": "actionmae", "d_model": 32, "n_memory": 2},
    "mmin": {"method": "mmin"},
}

SOURCES: list[tuple[str, str | None, tuple[float, ...]]] = [
    # data set, split, shares of labels
    ("mfeat", None, (0.01, 0.05, 0.5, 1.0)),
    ("htad", None, (0.05, 1.0)),
    ("wesad", None, (0.05, 1.0)),
    ("mosi", "split_bclstm", (0.01, 0.05, 0.5, 1.0)),
    ("mosi", "split_clean", (0.01, 0.05, 0.5, 1.0)),
    ("av_digits", None, (0.05, 1.0)),
    ("extrasensory", None, (0.05, 1.0)),
]

EPOCHS = {"extrasensory": 10}
"""Epochs of the neural methods: 60, and fewer where there are 13,000 training rows."""

WEIGHTINGS = ["rbf", "rbf_one_sided", "l1", "l2", "hard", "none", "density"]
ABLATIONS = {
    "robult": {"method": "robult"},
    "no L_rec": {"method": "robult", "loss_weights": {"reconstruction": 0.0}},
    "no L_ulb": {"method": "robult", "loss_weights": {"unlabelled": 0.0}},
    "no L_lb": {"method": "robult", "loss_weights": {"labelled": 0.0}},
    "no contrast": {"method": "robult", "loss_weights": {"labelled": 0.0, "unlabelled": 0.0}},
    "no unique part": {"method": "robult", "d_unique": 0},
    **{f"weighting {name}": {"method": "robult", "weighting": name} for name in WEIGHTINGS if name != "l1"},
}


def variants(dataset: str, names: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Neural methods with the data set's number of epochs."""
    return {name: {**settings, "max_epochs": EPOCHS.get(dataset, 60)} for name, settings in names.items()}


def main_cells(data: str | None) -> Iterator[Cell]:
    """Robult, its rivals and the floors on every data set."""
    for dataset, split, labels in SOURCES:
        floors = floors_for("regression" if dataset == "mosi" else "multiclass")
        methods = variants(dataset, METHODS) | {name: {"method": name} for name in floors}
        seeds = range(N_SEEDS.get(dataset, 5))
        yield from bench.cells(dataset, methods, seeds=seeds, labels=labels, split=split, data=data)
        published = variants(dataset, {"robult (rbf)": {"method": "robult", "weighting": "rbf"}})
        yield from bench.cells(dataset, published, seeds=seeds, labels=[0.05], split=split, data=data)


def ablation_cells(data: str | None) -> Iterator[Cell]:
    """Robult less one part, and with each weighting."""
    for dataset, split in (("mfeat", None), ("mosi", "split_bclstm")):
        methods = variants(dataset, ABLATIONS)
        yield from bench.cells(dataset, methods, seeds=range(5), labels=[0.05], split=split, data=data)


def missing_cells(data: str | None) -> Iterator[Cell]:
    """Training inputs absent at random."""
    floors = {name: {"method": name} for name in ("late_fusion", "self_training", "soft_self_training")}
    methods = variants("mfeat", METHODS) | floors
    shares = [0.05, 1.0]
    yield from bench.cells("mfeat", methods, seeds=range(3), labels=shares, missing_train=0.5, data=data)


def masking_cells(data: str | None) -> Iterator[Cell]:
    """ActionMAE as published and with its masking mended."""
    small = {"method": "actionmae", "d_model": 32, "n_memory": 4}
    names = {"actionmae": small, "actionmae (published masking)": {**small, "published_masking": True}}
    methods = variants("mfeat", names)
    yield from bench.cells("mfeat", methods, seeds=range(3), labels=[0.05, 1.0], data=data)


GROUPS = {"main": main_cells, "ablations": ablation_cells, "missing": missing_cells, "masking": masking_cells}


def main() -> None:
    """Run the chosen groups."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--only", choices=GROUPS, nargs="*", default=list(GROUPS), help="groups to run")
    parser.add_argument("--methods", nargs="*", help="of these groups, only these methods")
    args = parser.parse_args()
    for name in args.only:
        cells = [cell for cell in GROUPS[name](args.data) if not args.methods or cell.name in args.methods]
        print(f"{name}: {len(cells)} runs", flush=True)
        bench.run(
            cells,
            data=args.data,
            jobs=args.jobs,
            out=HERE / f"{name}.json",
            command=f"python experiments/robult/run.py --only {name}",
        )


if __name__ == "__main__":
    main()
