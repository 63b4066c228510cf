"""MELD: emotions in the dialogues of a television series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from polymodal.data.public import files
from polymodal.data.public.base import PublicSet
from polymodal.data.readers import Dataset
from polymodal.errors import DataError
from polymodal.schema import Modality, Text, Video

EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
COLUMNS = ("Utterance", "Emotion", "Dialogue_ID", "Utterance_ID")

TABLES = {"train": "train_sent_emo.csv", "valid": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}
CLIPS = {"train": "train_splits", "valid": "dev_splits_complete", "test": "output_repeated_splits_test"}

NEVER_PUBLISHED = "dev_splits_complete/dia110_utt7.mp4"
UNREADABLE = "train_splits/dia125_utt3.mp4"


def _read(folder: Path, variant: str | None) -> Dataset:
    parts = {part: _utterances(folder, part) for part in TABLES}
    table = pd.concat(list(parts.values()), ignore_index=True)
    X = {"text": files.column(table["Utterance"])}
    modalities: dict[str, Modality] = {"text": Text()}
    if variant == "text_video":
        X["video"] = _clips(folder, list(table["clip"]))
        modalities["video"] = Video()
    return files.dataset(
        MELD,
        X=X,
        y=np.array([EMOTIONS.index(emotion) for emotion in table["Emotion"]], dtype=np.int64),
        modalities=modalities,
        classes=EMOTIONS,
        groups=table["dialogue"].to_numpy(dtype=np.str_),
        splits={"published": files.consecutive({part: len(own) for part, own in parts.items()})},
    )


def _utterances(folder: Path, part: str) -> pd.DataFrame:
    """One part's table, with the path of each clip and the dialogue, whose number counts in its part."""
    file = MELD.path(folder, TABLES[part])
    table = files.read_csv(MELD, file, COLUMNS)
    unknown = sorted(set(table["Emotion"]) - set(EMOTIONS))
    if unknown:
        raise DataError(
            f"emotions of {MELD.name} are {', '.join(EMOTIONS)}; {unknown[0]!r} came in {file}; get it from "
            f"{MELD.source}."
        )
    place = "dia" + table["Dialogue_ID"] + "_utt" + table["Utterance_ID"]
    return table.assign(clip=f"{CLIPS[part]}/" + place + ".mp4", dialogue=f"{part}-" + table["Dialogue_ID"])


def _clips(folder: Path, names: list[str]) -> np.ndarray:
    """(n,) paths; None for the one that was never published, and for the one that nobody can decode."""
    for part in CLIPS.values():
        MELD.path(folder, f"{part}/")
    absent = {UNREADABLE, *files.missing(folder, [NEVER_PUBLISHED])}
    there = iter(files.paths(MELD, folder, [name for name in names if name not in absent]))
    return files.column(None if name in absent else next(there) for name in names)


MELD = PublicSet(
    name="meld",
    title="MELD: seven emotions of 13,708 utterances, from text and video",
    task="multiclass",
    modalities=("text: Text", "video: Video (variant text_video)"),
    metrics=("weighted_f1", "accuracy", "macro_f1"),
    n_rows={"train": 9989, "valid": 1109, "test": 2610},
    source="https://github.com/declare-lab/MELD (data/MELD/*.csv) and "
    "http://web.eecs.umich.edu/~mihalcea/downloads/MELD.Raw.tar.gz (clips: unpack the archives inside it "
    "too)",
    licence="not verified; clips and lines are of a television series: ask before anything but research",
    citation="Poria et al., MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations, "
    "ACL 2019",
    layout=tuple(TABLES.values()),
    layouts={"text_video": tuple(f"{clips}/" for clips in CLIPS.values())},
    variants=("text_video", "text"),
    notes=f"The clip {NEVER_PUBLISHED} was never published and {UNREADABLE} cannot be decoded: both are "
    "absent (the first is used where somebody has put one there). Some clips are cut wrongly, as reported "
    "for test dia38_utt4 and dia220_utt0 and train dia309_utt0; clips that no row names are ignored. "
    "Apostrophes of some utterances are the control character U+0092, as published. Groups are dialogues; "
    "utterances are rows of their own here, without their context.",
    read=_read,
)
