"""CMU-MOSI, CMU-MOSEI and IEMOCAP in the feature files of MulT.

A file maps ``train``, ``valid`` and ``test`` to arrays: ``text`` (n, T, 300) of GloVe, ``audio``, ``vision``,
``labels`` (n, 1, 1), or (n, 4, 2) for the four emotions of IEMOCAP, and, but for IEMOCAP, ``id`` (n, 3): the
video or its segment, its start, its end, in bytes for CMU-MOSI. Sequences stand at the end of T steps.

Source: ``src/dataset.py`` and ``src/eval_metrics.py`` of https://github.com/yaohungt/Multimodal-Transformer.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.public import files, records
from polymodal.data.public.base import PublicSet
from polymodal.data.public.sequences import unpadded
from polymodal.data.readers import Dataset
from polymodal.errors import DataError
from polymodal.schema import Series

MODALITIES = ("text", "audio", "vision")

EMOTIONS = ("neutral", "happy", "sad", "angry")
"""In the order of the labels."""


def _read(name: str, stem: str, folder: Path, variant: str | None) -> Dataset:
    assert variant is not None, "each of these sets has variants"
    known = _SETS[name]
    emotions = known.task == "multilabel"
    file = known.path(folder, f"{stem}_data{_END[variant]}.pkl")
    parts = records.parts(known, file, (*MODALITIES, "labels", *(() if emotions else ("id",))))
    labels = {part: _labels(known, file, own["labels"]) for part, own in parts.items()}
    return files.dataset(
        known,
        X={each: np.concatenate([unpadded(own[each]) for own in parts.values()]) for each in MODALITIES},
        y=np.concatenate(list(labels.values())),
        modalities={each: Series() for each in MODALITIES},
        classes=EMOTIONS if emotions else (),
        groups=None if emotions else np.concatenate([_videos(known, own["id"]) for own in parts.values()]),
        splits={"published": files.consecutive({part: len(own) for part, own in labels.items()})},
    )


def _labels(known: PublicSet, file: Path, labels: np.ndarray) -> np.ndarray:
    """(n,) sentiments, or (n, 4) emotions, 1 where there; each is published as two numbers, no and yes."""
    shape = (len(EMOTIONS), 2) if known.task == "multilabel" else (1, 1)
    if np.shape(labels)[1:] != shape:
        raise DataError(
            f"labels of {known.name} are (n, {shape[0]}, {shape[1]}); {file} has {np.shape(labels)}; get it "
            f"from {known.source}."
        )
    if known.task == "multilabel":
        return np.argmax(labels, axis=-1).astype(np.float64)
    return np.asarray(labels, dtype=np.float64)[:, 0, 0]


def _videos(known: PublicSet, ids: np.ndarray) -> np.ndarray:
    """(n,) video of each row, without the number of the segment that CMU-MOSI's names end with."""
    first = [row[0].decode() if isinstance(row[0], bytes) else str(row[0]) for row in ids]
    return np.array([name.rpartition("_")[0] if known is MOSI else name for name in first])


_END = {"aligned": "", "unaligned": "_noalign"}


def _known(*, name: str, stem: str, **facts: Any) -> PublicSet:
    return PublicSet(
        name=name,
        source="https://github.com/yaohungt/Multimodal-Transformer, section Datasets: "
        + " and ".join(f"{stem}_data{end}.pkl" for end in _END.values()),
        layout=(),
        layouts={variant: (f"{stem}_data{end}.pkl",) for variant, end in _END.items()},
        variants=tuple(_END),
        read=partial(_read, name, stem),
        **facts,
    )


_METRICS = ("mae", "pearson_r", "acc2_has0", "acc2_non0", "f1_non0", "acc7")
_TRAPS = (
    "The steps of zeros around each sequence are cut off, so that aligned modalities may begin at different "
    "words where a row has zeros of its own. Values that are not finite (-inf in audio) become 0. A modality "
    "of zeros alone (no face found) counts as absent."
)

MOSI = _known(
    name="mosi_mult",
    stem="mosi",
    title="CMU-MOSI: sentiment, -3 to 3, of 2,199 utterances in 93 videos (MulT's features)",
    task="regression",
    modalities=("text: Series of 300 (GloVe)", "audio: Series of 5", "vision: Series of 20"),
    metrics=_METRICS,
    n_rows={"train": 1284, "valid": 229, "test": 686},
    licence="academic research only; do not redistribute",
    citation="Zadeh et al., Multimodal Sentiment Intensity Analysis in Videos, IEEE Intelligent Systems "
    "2016; Tsai et al., Multimodal Transformer for Unaligned Multimodal Language Sequences, ACL 2019 "
    "(features)",
    notes=_TRAPS,
)

MOSEI = _known(
    name="mosei_mult",
    stem="mosei_senti",
    title="CMU-MOSEI: sentiment, -3 to 3, of 22,777 utterances (MulT's features)",
    task="regression",
    modalities=("text: Series of 300 (GloVe)", "audio: Series of 74", "vision: Series of 35"),
    metrics=_METRICS,
    n_rows={"train": 16265, "valid": 1869, "test": 4643},
    licence="not stated with the files; those of the CMU Multimodal SDK are for research (not verified)",
    citation="Zadeh et al., Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable "
    "Dynamic Fusion Graph, ACL 2018; Tsai et al., Multimodal Transformer for Unaligned Multimodal Language "
    "Sequences, ACL 2019 (features)",
    notes=_TRAPS
    + " The numbers of rows are those of the aligned file; the unaligned one has about 12 GB and "
    "is read as a whole.",
)

IEMOCAP = _known(
    name="iemocap",
    stem="iemocap",
    title="IEMOCAP: four emotions, each there or not, of acted dialogues (MulT's features)",
    task="multilabel",
    modalities=("text: Series of 300 (GloVe)", "audio: Series of 74", "vision: Series of 35"),
    metrics=("weighted_f1", "macro_f1", "accuracy"),
    n_rows={"train": 2717},
    licence="release form of the University of Southern California (not verified for these features)",
    citation="Busso et al., IEMOCAP: Interactive Emotional Dyadic Motion Capture Database, Language "
    "Resources and Evaluation 2008; Tsai et al., Multimodal Transformer for Unaligned Multimodal Language "
    "Sequences, ACL 2019 (features)",
    notes=_TRAPS + " Published figures are accuracy and F1 of each emotion by itself. Only the number of "
    "training rows is verified. No speaker is published, so that rows of one may be on both sides of a drawn "
    "split.",
)

_SETS = {known.name: known for known in (MOSI, MOSEI, IEMOCAP)}
