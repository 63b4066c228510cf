"""Hateful Memes: whether picture and words together are hateful."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.public import files
from polymodal.data.public.base import PublicSet
from polymodal.data.readers import Dataset
from polymodal.errors import DataError
from polymodal.schema import Image, Text

SPLITS = {
    "seen": {"train": "train", "valid": "dev_seen", "test": "test_seen"},
    "unseen": {"train": "train", "valid": "dev_unseen", "test": "test_unseen"},
    "dev": {"train": "train", "test": "dev_seen"},
}
FIRST_RELEASE = {"dev_seen": "dev", "test_seen": "test"}
"""Names of the files in May 2020, before there were unseen parts."""

UNLABELLED = -1


def _read(folder: Path, _: str | None) -> Dataset:
    parts = {part: _memes(file) for part in _part_names() if (file := _file(folder, part)) is not None}
    memes = {meme["img"]: meme for part in parts.values() for meme in part}  # dev parts share 400 memes
    place = {image: row for row, image in enumerate(memes)}
    y = np.array([meme.get("label", UNLABELLED) for meme in memes.values()], dtype=np.int64)
    HATEFUL_MEMES.path(folder, "img/")
    return files.dataset(
        HATEFUL_MEMES,
        X={
            "text": files.column(meme["text"] for meme in memes.values()),
            "image": files.paths(HATEFUL_MEMES, folder, list(memes)),
        },
        y=y,
        modalities={"text": Text(), "image": Image()},
        classes=("not hateful", "hateful"),
        groups=None,
        splits=_splits({part: np.array([place[m["img"]] for m in own]) for part, own in parts.items()}, y),
    )


def _part_names() -> list[str]:
    return list(dict.fromkeys(part for parts in SPLITS.values() for part in parts.values()))


def _file(folder: Path, part: str) -> Path | None:
    """The part's file, under its present or its first name; train must be there."""
    for name in (part, FIRST_RELEASE.get(part, part)):
        if (folder / f"{name}.jsonl").is_file():
            return folder / f"{name}.jsonl"
    return HATEFUL_MEMES.path(folder, "train.jsonl") if part == "train" else None


def _memes(file: Path) -> list[dict[str, Any]]:
    memes = files.read_json_lines(HATEFUL_MEMES, file)
    for meme in memes:
        files.fields(HATEFUL_MEMES, file, meme, ("img", "text"))
    return memes


def _splits(rows_of: dict[str, np.ndarray], y: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Those whose files are there and whose valid and test rows are labelled."""
    labelled = {part for part, rows in rows_of.items() if (y[rows] != UNLABELLED).all()}
    found = {
        name: {part: rows_of[own] for part, own in parts.items()}
        for name, parts in SPLITS.items()
        if labelled.issuperset(parts.values())
    }
    if not found:
        raise DataError(
            f"{HATEFUL_MEMES.name} is evaluated on labelled memes; of train, dev_seen, test_seen and others "
            f"only {', '.join(sorted(labelled)) or 'none'} came with labels; get dev_seen.jsonl from "
            f"{HATEFUL_MEMES.source}."
        )
    return found


HATEFUL_MEMES = PublicSet(
    name="hateful_memes",
    title="Hateful Memes: whether picture and words together are hateful",
    task="multiclass",
    modalities=("text: Text", "image: Image"),
    metrics=("auroc", "accuracy"),
    n_rows={"train": 8500, "valid": 500, "test": 1000},
    source="https://ai.meta.com/tools/hatefulmemes/ (hateful_memes.zip; it asks you to accept its licence)",
    licence="research licence of Meta AI, to be accepted by whoever gets it",
    citation="Kiela et al., The Hateful Memes Challenge: Detecting Hate Speech in Multimodal Memes, NeurIPS "
    "2020",
    layout=("train.jsonl", "img/"),
    notes="Splits: seen (the paper's: dev_seen 500, test_seen 1,000), unseen (the challenge's second "
    "phase: dev_unseen 540, test_unseen 2,000) and dev (tested on dev_seen); each where its files are "
    "there and labelled. The first release calls dev_seen dev and test_seen test, and test has no labels: "
    "there dev is the only split. The dev parts share memes, which are one row here. Many memes share "
    "their picture or their words on purpose, so never draw a split. Published mirrors often lack pictures.",
    read=_read,
)
