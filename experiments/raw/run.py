"""Every table of raw inputs but one, as one resumable command.

    python tools/build_encoders.py ENCODERS image-dinov2-small
    python experiments/raw/run.py --data DIR --encoders ENCODERS --jobs 2

Groups of runs, each its own JSON of tidy rows beside this file (with ``.meta.json``: versions, hashes of
splits and labels, seconds, parameters and last diagnostics of each run), all on published splits:

- ``fashion``: 24 classes from photograph and title, 5 % and all labels, two pairs of encoders;
- ``dinov2``: the same with a third pair, whose image encoder is built beforehand, beside fewer floors;
- ``attributes``: 52 labels of the same products;
- ``mosi``: sentiment from transcript and 73 features of the sound, two encoders of the text;
- ``digits``: spoken digits of unheard speakers as series, with images.

Robult, PgM with one round (N = 1) and ActionMAE have 3 seeds. Floors have as many where they draw anything:
all of them with few labels, and with all labels those in ``DRAWN``. Cells are encoded once and kept in the
cache. A run that is stopped goes on where it stopped. ``retrieval.py`` is the other command; ``tables.py``
turns the JSON into TABLES.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from polymodal import bench
from polymodal.bench import Cell

HERE = Path(__file__).parent
FOLDER = "POLYMODAL_ENCODERS"
"""The environment variable that holds the folder of built encoders: no path of a machine is written down."""

BUILT_IN = {"title": "tfidf", "image": "descriptors"}
IN_PACKAGES = {"title": "minilm", "image": "efficientnet_lite0"}
FROM_FOLDER = {"title": "minilm", "image": f"hf:${FOLDER}/image-dinov2-small"}

N_SEEDS = 3
METHODS: dict[str, dict[str, Any]] = {
    "robult": {"method": "robult"},
    "pgm, N = 1": {"method": "pgm", "n_iterations": 1},
    "actionmae": {"method": "actionmae"},
}
EPOCHS = {"fashion": 15, "attributes": 60, "mosi_raw": 60, "av_digits": 20}
"""Data set or its variant -> epochs of every method, at most: 60, and fewer where held-out training rows were
best before (see the log)."""

LINEAR = ["majority", "late_fusion", "imputation_concat"]
FLOORS = [*LINEAR, "best_single", "dropout_concat"]
FEW = [*FLOORS, "self_training", "gradient_boosting"]
"""With few labels; with all of them there is nothing to label, and 24 classes boost for minutes."""

DRAWN = ("dropout_concat", "gradient_boosting")
"""Floors that draw something with all labels on a published split; of the others one seed says it all."""


def cells(
    dataset: str,
    floors: Sequence[str],
    labels: float,
    data: str | None,
    **where: Any,
) -> Iterator[Cell]:
    """The methods and some floors on one data set with one share of labels."""
    epochs = EPOCHS.get(where.get("variant", ""), EPOCHS[dataset])
    methods = {name: {**own, "max_epochs": epochs} for name, own in METHODS.items()}
    drawn = [name for name in floors if labels < 1 or name in DRAWN]
    once = [name for name in floors if name not in drawn]
    more: dict[str, Any] = {"labels": [labels], "data": data, **where}
    yield from bench.cells(dataset, {**methods, **_alone(drawn)}, seeds=range(N_SEEDS), **more)
    yield from bench.cells(dataset, _alone(once), seeds=[0], **more)


def _alone(floors: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {name: {"method": name} for name in floors}


def fashion_cells(data: str | None) -> Iterator[Cell]:
    """Photograph and title."""
    for encoders in (BUILT_IN, IN_PACKAGES):
        yield from cells("fashion", FEW, 0.05, data, encoders=encoders)
        yield from cells("fashion", FLOORS, 1.0, data, encoders=encoders)


def dinov2_cells(data: str | None) -> Iterator[Cell]:
    """Photograph and title, with the floors that cost little."""
    for labels in (0.05, 1.0):
        yield from cells("fashion", LINEAR, labels, data, encoders=FROM_FOLDER)


def attribute_cells(data: str | None) -> Iterator[Cell]:
    """Labels that do not exclude each other; trees and pseudo-labels are not made for them."""
    for labels in (0.05, 1.0):
        yield from cells("fashion", LINEAR, labels, data, variant="attributes", encoders=IN_PACKAGES)


def mosi_cells(data: str | None) -> Iterator[Cell]:
    """Transcripts by two encoders."""
    floors = [*FLOORS, "gradient_boosting"]
    for encoder in ("tfidf", "minilm"):
        for labels in (0.05, 1.0):
            more = {"split": "split_official", "encoders": {"text": encoder}}
            yield from cells("mosi_raw", floors, labels, data, **more)


def digit_cells(data: str | None) -> Iterator[Cell]:
    """Two speakers that nobody heard in training."""
    for labels, own in ((0.05, FEW), (1.0, [*FLOORS, "gradient_boosting"])):
        more = {"variant": "raw", "split": "by_speaker", "encoders": {"image": "descriptors"}}
        yield from cells("av_digits", own, labels, data, **more)


GROUPS = {
    "fashion": fashion_cells,
    "dinov2": dinov2_cells,
    "attributes": attribute_cells,
    "mosi": mosi_cells,
    "digits": digit_cells,
}


def main() -> None:
    """Run the chosen groups."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets that are not bundled")
    parser.add_argument("--encoders", help=f"folder of built encoders; default: ${FOLDER}")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--only", choices=GROUPS, nargs="*", default=list(GROUPS), help="groups to run")
    args = parser.parse_args()
    if args.encoders:
        os.environ[FOLDER] = os.path.abspath(args.encoders)
    for name in args.only:
        chosen = list(GROUPS[name](args.data))
        print(f"{name}: {len(chosen)} runs", flush=True)
        bench.run(
            chosen,
            data=args.data,
            jobs=args.jobs,
            out=HERE / f"{name}.json",
            command=f"python experiments/raw/run.py --data DIR --encoders ENCODERS --only {name}",
        )


if __name__ == "__main__":
    main()
