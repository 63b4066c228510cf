"""Every table of the PgM page but two, as one resumable command.

    python experiments/pgm/run.py --data DIR --jobs 2

Groups of runs, each its own JSON of tidy rows beside this file (with ``.meta.json``: versions, hashes of
masks and splits, seconds, parameters and last diagnostics of each run):

- ``main``: PgM, UME, UMT and neural concatenation on every data set, 5 seeds (extrasensory 3); Robult, its
  rivals and the floors on the same splits and seeds are those of ``experiments/robult/main.json``, and run
  here on wiki alone, which is not there;
- ``fusion``: the other three ways to fuse the parts, 3 seeds;
- ``ablations``: PgM less one part, 3 seeds;
- ``stages``: one stage instead of two, and a ramp, 3 seeds;
- ``dials``: rounds, weights, decoder, masks, 3 seeds;
- ``missing``: half of the training inputs absent, on mfeat, 3 seeds, as in ``experiments/robult``.

PgM as it is stands in ``main`` alone. The other groups vary PgM with one round (N = 1), which costs a
third of the time and reached the same on held-out training rows; their baseline ``pgm, N = 1`` is in
``fusion``. A run that is stopped goes on where it stopped. ``laziness.py`` and ``retrieval.py`` are the other
two commands; ``tables.py`` turns the JSON into TABLES.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polymodal import bench
from polymodal.bench import Cell
from polymodal.data import readers
from polymodal.methods.floors import floors_for
from polymodal.metrics import evaluate

HERE = Path(__file__).parent
EPOCHS = {"av_digits": (35, 60), "extrasensory": (15, 10)}
"""Epochs of PgM and of its rivals: 70 and 60, and fewer where a fit takes minutes."""

SOURCES: list[tuple[str, str | None, tuple[float, ...], int]] = [
    # data set, split, shares of labels, seeds
    ("mosi", "split_bclstm", (0.05, 1.0), 5),
    ("mosi", "split_clean", (0.05, 1.0), 5),
    ("wesad", None, (0.05, 1.0), 5),
    ("mfeat", None, (0.05, 1.0), 5),
    ("htad", None, (0.05, 1.0), 5),
    ("wiki", None, (0.05, 1.0), 5),
    ("av_digits", None, (1.0,), 5),
    ("extrasensory", None, (1.0,), 3),
]
Where = list[tuple[str, str | None, float, int]]
"""Data set, split, share of labels, seeds."""
VARIED: Where = [
    ("mosi", "split_bclstm", 1.0, 3),
    ("wesad", None, 1.0, 3),
    ("mfeat", None, 0.05, 3),
    ("htad", None, 1.0, 3),
    ("wiki", None, 1.0, 3),
]
ABLATED: Where = [("mosi", "split_bclstm", 1.0, 3), ("wesad", None, 1.0, 3)]
DIALLED: Where = [("htad", None, 1.0, 3)]
SMALL: Where = [("htad", None, 1.0, 3)]

RIVALS: dict[str, dict[str, Any]] = {
    "ume": {"method": "ume"},
    "umt": {"method": "umt"},
    "concatenation": {"method": "umt", "distillation": 0.0},
}
FUSIONS = ("gated", "attention", "partitioned")
SCHEDULES = ("joint", "ramp")
ABLATIONS: dict[str, dict[str, Any]] = {
    "no partitioner": {"gate": "open"},
    "no learners": {"n_layers": 0},
    "no decoder": {"alpha": 0.0, "schedule": "joint"},
    "only uni": {"parts": "uni"},
    "only paired": {"parts": "paired"},
    "static gate": {"gate": "static"},
    "fixed cut": {"gate": "fixed"},
    "sigmoid gate": {"gate": "sigmoid"},
    "no modality dropout": {"modality_dropout": 0.0},
    # what the reconstruction does to the gates when there is no task: its predictions mean nothing
    "reconstruction alone": {"beta": 0.0},
    "reconstruction alone, overlap penalty": {"beta": 0.0, "overlap_weight": 1.0},
}
DIALS: dict[str, dict[str, Any]] = {
    "N = 2": {"n_iterations": 2},
    "N = 4": {"n_iterations": 4},
    "alpha 0.1": {"alpha": 0.1},
    "alpha 10": {"alpha": 10.0},
    "decoder linear": {"d_decoder": 0},
    "decoder 16": {"d_decoder": 16},
    "decoder 256": {"d_decoder": 256},
    "mask values": {"mask": "values"},
    "overlap penalty": {"overlap_weight": 1.0},
    "uni-modal head": {"uni_weight": 0.5},
    "contrast": {"contrast_weight": 0.1},
}
CHANNELS = {"mask channels": {"mask": "channels"}}
"""Every neuron a token: ten times the time of a fit, so on the smallest shapes alone."""


ONE_ROUND = {"n_iterations": 1}
BASELINE = "pgm, N = 1"


def of_pgm(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Variants of PgM: name -> what differs."""
    return {name: {"method": "pgm", **settings} for name, settings in variants.items()}


def trained(dataset: str, names: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Neural methods with the data set's number of epochs."""
    own, rivals = EPOCHS.get(dataset, (70, 60))
    return {
        name: {**settings, "max_epochs": own if settings["method"] == "pgm" else rivals}
        for name, settings in names.items()
    }


def main_cells(data: str | None) -> Iterator[Cell]:
    """PgM and its rivals on every data set; on wiki also Robult and the floors."""
    for dataset, split, labels, n_seeds in SOURCES:
        methods = trained(dataset, {**of_pgm({"pgm": {}}), **RIVALS})
        if dataset == "wiki":
            methods |= trained(dataset, {"robult": {"method": "robult"}})
            methods |= {name: {"method": name} for name in floors_for("multiclass")}
        yield from bench.cells(dataset, methods, seeds=range(n_seeds), labels=labels, split=split, data=data)


def varied_cells(where: Where, variants: Mapping[str, Mapping[str, Any]], data: str | None) -> Iterator[Cell]:
    """Variants of PgM with one round, unless they say otherwise, on some tasks."""
    for dataset, split, share, n_seeds in where:
        methods = trained(
            dataset, of_pgm({name: ONE_ROUND | settings for name, settings in variants.items()})
        )
        yield from bench.cells(dataset, methods, seeds=range(n_seeds), labels=[share], split=split, data=data)


def fusion_cells(data: str | None) -> Iterator[Cell]:
    """The ways to fuse; the baseline of all variants is PgM's default, concatenation."""
    yield from varied_cells(VARIED, {BASELINE: {}} | {name: {"fusion": name} for name in FUSIONS}, data)


def stage_cells(data: str | None) -> Iterator[Cell]:
    """The schedules but two stages, which are the default."""
    yield from varied_cells(VARIED, {name: {"schedule": name} for name in SCHEDULES}, data)


def ablation_cells(data: str | None) -> Iterator[Cell]:
    """PgM less one part."""
    yield from varied_cells(ABLATED, ABLATIONS, data)


def dial_cells(data: str | None) -> Iterator[Cell]:
    """PgM with one of its dials turned."""
    yield from varied_cells(DIALLED, DIALS, data)
    yield from varied_cells(SMALL, CHANNELS, data)


def missing_cells(data: str | None) -> Iterator[Cell]:
    """Training inputs absent at random."""
    methods = trained("mfeat", {**of_pgm({"pgm": {}}), **RIVALS})
    yield from bench.cells("mfeat", methods, seeds=range(3), labels=[0.05, 1.0], missing_train=0.5, data=data)


GROUPS = {
    "main": main_cells,
    "fusion": fusion_cells,
    "ablations": ablation_cells,
    "stages": stage_cells,
    "dials": dial_cells,
    "missing": missing_cells,
}


def always_negative(data: str | None) -> dict[str, dict[str, float]]:
    """Split of MOSI -> what calling every test utterance negative is worth."""
    mosi = readers.load("mosi", data)
    names = ["acc2_has0", "acc2_non0"]
    truths = {name: mosi.rows(mosi.train_test(0, name)[1])[1] for name in mosi.splits}
    return {name: evaluate(names, y, np.full((len(y), 1), -1.0), mosi.task) for name, y in truths.items()}


def main() -> None:
    """Run the chosen groups."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--only", choices=GROUPS, nargs="*", default=list(GROUPS), help="groups to run")
    parser.add_argument("--methods", nargs="*", help="of these groups, only these methods")
    args = parser.parse_args()
    if "main" in args.only:
        bench.write_json(HERE / "always_negative.json", always_negative(args.data))
    for name in args.only:
        cells = [cell for cell in GROUPS[name](args.data) if not args.methods or cell.name in args.methods]
        print(f"{name}: {len(cells)} runs", flush=True)
        bench.run(
            cells,
            data=args.data,
            jobs=args.jobs,
            out=HERE / f"{name}.json",
            command=f"python experiments/pgm/run.py --data DIR --only {name}",
        )


if __name__ == "__main__":
    main()
