"""Flickr30k and COCO captions in the splits of Karpathy: pictures and sentences, to find each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.public import files
from polymodal.data.public.base import PublicSet
from polymodal.data.readers import Dataset
from polymodal.errors import DataError
from polymodal.schema import Image, Text

N_CAPTIONS = 5
"""Captions a picture; a few pictures of COCO have more, and everybody takes the first five."""

PART_OF = {"train": "train", "restval": "train", "val": "valid", "test": "test"}
N_FOLD = 1000
"""Pictures of a fold of COCO's 1K protocol."""


def _flickr30k(folder: Path, _: str | None) -> Dataset:
    pictures = _pictures(FLICKR30K, folder, ("filename",))
    names = [f"flickr30k-images/{picture['filename']}" for picture in pictures]
    return _pairs(FLICKR30K, folder, pictures, names)


def _coco(folder: Path, _: str | None) -> Dataset:
    pictures = _pictures(COCO, folder, ("filepath", "filename"))
    names = [f"{picture['filepath']}/{picture['filename']}" for picture in pictures]
    return _pairs(COCO, folder, pictures, names)


def _pictures(known: PublicSet, folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """What the set's file says of each picture."""
    file = known.path(folder, known.layout[0])
    (pictures,) = files.fields(known, file, files.read_json(known, file), ("images",))
    for picture in pictures:
        _, sentences, *_ = files.fields(known, file, picture, ("split", "sentences", *names))
        if picture["split"] not in PART_OF or len(sentences) < N_CAPTIONS:
            raise DataError(
                f"a picture of {known.name} is in one of {', '.join(PART_OF)} and has {N_CAPTIONS} captions "
                f"or more; {picture['filename']} is in {picture['split']!r} and has {len(sentences)}; get "
                f"{file.name} from {known.source}."
            )
    return pictures


def _pairs(known: PublicSet, folder: Path, pictures: list[dict[str, Any]], names: list[str]) -> Dataset:
    """One row a caption: its picture, and the picture's number as label and group."""
    y = np.repeat(np.arange(len(pictures)), N_CAPTIONS)
    part = np.array([PART_OF[picture["split"]] for picture in pictures])[y]
    rows_of = {name: np.flatnonzero(part == name) for name in ("train", "valid", "test")}
    raw = (own["raw"] for picture in pictures for own in picture["sentences"][:N_CAPTIONS])
    return files.dataset(
        known,
        X={"image": files.paths(known, folder, names)[y], "text": files.column(raw)},
        y=y,
        modalities={"image": Image(), "text": Text()},
        classes=(),
        groups=y,
        splits={"karpathy": rows_of} | (_folds(rows_of) if known is COCO else {}),
    )


def _folds(rows_of: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The 1K protocol: the test part in consecutive folds of 1,000 pictures, whose figures are averaged."""
    size = N_FOLD * N_CAPTIONS
    starts = range(0, len(rows_of["test"]), size)
    return {
        f"1k_fold{n}": {**rows_of, "test": rows_of["test"][start : start + size]}
        for n, start in enumerate(starts, 1)
    }


NOTES = (
    "A row is a caption beside its picture, so a picture fills five rows; y and groups are the picture's "
    "number. The usual recall asks whether any of a picture's five captions is found; recall of rows "
    "counts a row's own caption alone and is lower. "
)
SPLIT_SOURCE = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
SPLIT_CITATION = (
    "Karpathy and Fei-Fei, Deep Visual-Semantic Alignments for Generating Image Descriptions, CVPR 2015"
)
METRICS = ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank")

FLICKR30K = PublicSet(
    name="flickr30k",
    title="Flickr30k: 31,014 pictures and five captions each, to be found by each other",
    task="retrieval",
    modalities=("image: Image", "text: Text"),
    metrics=METRICS,
    n_rows={"train": 29000 * N_CAPTIONS, "valid": 1014 * N_CAPTIONS, "test": 1000 * N_CAPTIONS},
    source=f"{SPLIT_SOURCE} (dataset_flickr30k.json) and https://shannon.cs.illinois.edu/DenotationGraph/ "
    "(flickr30k-images; on request)",
    licence="pictures: terms of Flickr, for non-commercial research and education; captions: not verified",
    citation="Young et al., From Image Descriptions to Visual Denotations, TACL 2014; split: "
    + SPLIT_CITATION,
    layout=("dataset_flickr30k.json", "flickr30k-images/"),
    notes=NOTES + "The published pictures are 31,783, of which the split holds 31,014.",
    read=_flickr30k,
)

COCO = PublicSet(
    name="coco",
    title="COCO captions: 123,287 pictures and five captions each, to be found by each other",
    task="retrieval",
    modalities=("image: Image", "text: Text"),
    metrics=METRICS,
    n_rows={"train": 113287 * N_CAPTIONS, "valid": 5000 * N_CAPTIONS, "test": 5000 * N_CAPTIONS},
    source=f"{SPLIT_SOURCE} (dataset_coco.json), http://images.cocodataset.org/zips/train2014.zip and "
    "http://images.cocodataset.org/zips/val2014.zip",
    licence="captions CC BY 4.0; pictures: terms of Flickr",
    citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; Chen et al., Microsoft COCO "
    "Captions, arXiv:1504.00325; split: " + SPLIT_CITATION,
    layout=("dataset_coco.json", "train2014/", "val2014/"),
    notes=NOTES
    + "Of more than five captions the first five are taken. The part restval (30,504 pictures) trains. "
    "karpathy tests on 5,000 pictures (5K); 1k_fold1 to 1k_fold5 on 1,000 each, whose figures are averaged "
    "(1K).",
    read=_coco,
)
