"""CMU-MOSI, CMU-MOSEI and CH-SIMS in the feature files of MMSA.

A file maps ``train``, ``valid`` and ``test`` to arrays and lists of one row an utterance: ``text`` (n, T,
768) of BERT, ``text_bert`` (n, 3, T) whose second row is the tokenizer's mask, ``audio``, ``vision`` and,
unless they are aligned to the text, ``audio_lengths`` and ``vision_lengths``; ``raw_text``, ``id``
(video$_$clip) and ``regression_labels``.

Source: the README and ``data/TextPre.py`` of https://github.com/thuiar/MMSA. In its aligned files the three
sequences run along the same word pieces, so that the mask of the text is the length of each.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.public import files, records
from polymodal.data.public.base import PublicSet
from polymodal.data.public.sequences import counted_steps, first_steps
from polymodal.data.readers import Dataset
from polymodal.schema import Modality, Series, Text

TEXT = "+text"
"""End of the variants whose text is the transcript, not its BERT features."""


def _read(name: str, n_tokens: int, folder: Path, variant: str | None) -> Dataset:
    assert variant is not None, "each of these sets has variants"
    known, aligned = _SETS[name], variant.startswith("aligned")
    file = known.path(folder, f"{variant.removesuffix(TEXT)}_{n_tokens}.pkl")
    lengths = () if aligned else ("audio_lengths", "vision_lengths")
    names = ("text", "text_bert", "audio", "vision", *lengths, "raw_text", "id", "regression_labels")
    parts = records.parts(known, file, names)
    rows = [_modalities(part, aligned, variant.endswith(TEXT)) for part in parts.values()]
    modalities: dict[str, Modality] = {
        "text": Text() if variant.endswith(TEXT) else Series(),
        "audio": Series(),
        "vision": Series(),
    }
    return files.dataset(
        known,
        X={name: np.concatenate([own[name] for own in rows]) for name in modalities},
        y=np.concatenate([_labels(part) for part in parts.values()]),
        modalities=modalities,
        classes=(),
        groups=np.array([str(row).split("$_$")[0] for part in parts.values() for row in part["id"]]),
        splits={"published": files.consecutive({name: len(part["id"]) for name, part in parts.items()})},
    )


def _labels(part: dict[str, Any]) -> np.ndarray:
    return np.asarray(part["regression_labels"], dtype=np.float64).reshape(-1)


def _modalities(part: dict[str, Any], aligned: bool, transcript: bool) -> dict[str, np.ndarray]:
    n_tokens = np.asarray(part["text_bert"])[:, 1].sum(axis=1).astype(int)
    if aligned:
        features = {name: first_steps(part[name], n_tokens) for name in ("audio", "vision")}
    else:
        features = {name: counted_steps(part[name], part[f"{name}_lengths"]) for name in ("audio", "vision")}
    if transcript:
        return {"text": files.column(map(str, part["raw_text"])), **features}
    return {"text": first_steps(part["text"], n_tokens), **features}


def _known(n_tokens: int = 50, *, name: str, **facts: Any) -> PublicSet:
    return PublicSet(
        name=name,
        task="regression",
        modalities=("text: Series of 768 (BERT), or Text in the variants +text", *facts.pop("features")),
        source="https://github.com/thuiar/MMSA, section Datasets: the files under "
        f"{facts.pop('published')}/Processed",
        layout=(),
        layouts={each: (f"{each.removesuffix(TEXT)}_{n_tokens}.pkl",) for each in facts["variants"]},
        read=partial(_read, name, n_tokens),
        **facts,
    )


_ENGLISH = ("aligned", "unaligned", f"aligned{TEXT}", f"unaligned{TEXT}")
_METRICS = ("mae", "pearson_r", "acc2_has0", "acc2_non0", "f1_non0", "acc7")
_TRAPS = (
    "The padding is cut off: aligned files by the mask of the text, audio and vision of unaligned ones by "
    "their lengths, unless those leave values behind. Values that are not finite become 0. A modality of "
    "zeros alone counts as absent. BERT's features include those of [CLS] and [SEP]. The files of Self-MM, "
    "though named alike, are others."
)

MOSI = _known(
    name="mosi_mmsa",
    published="MOSI",
    title="CMU-MOSI: sentiment, -3 to 3, of 2,199 utterances in 93 videos (MMSA's features)",
    features=("audio: Series of 5", "vision: Series of 20"),
    metrics=_METRICS,
    n_rows={"train": 1284, "valid": 229, "test": 686},
    licence="academic research only; do not redistribute",
    citation="Zadeh et al., Multimodal Sentiment Intensity Analysis in Videos, IEEE Intelligent Systems "
    "2016; Yu et al., CH-SIMS, ACL 2020 (features)",
    variants=_ENGLISH,
    checksums={
        "aligned_50.pkl": "sha256:d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9",
        "unaligned_50.pkl": "sha256:78e0f8b5ef8ff71558e7307848fc1fa929ecb078203f565ab22b9daab2e02524",
    },
    notes=_TRAPS,
)

MOSEI = _known(
    name="mosei_mmsa",
    published="MOSEI",
    title="CMU-MOSEI: sentiment, -3 to 3, of 22,856 utterances (MMSA's features)",
    features=("audio: Series of 74", "vision: Series of 35"),
    metrics=_METRICS,
    n_rows={"train": 16326, "valid": 1871, "test": 4659},
    licence="not stated with the files; those of the CMU Multimodal SDK are for research (not verified)",
    citation="Zadeh et al., Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable "
    "Dynamic Fusion Graph, ACL 2018; Yu et al., CH-SIMS, ACL 2020 (features)",
    variants=_ENGLISH,
    checksums={
        "aligned_50.pkl": "sha256:45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791",
        "unaligned_50.pkl": "sha256:ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f",
    },
    notes=_TRAPS + " The unaligned file has about 13 GB and is read as a whole.",
)

SIMS = _known(
    39,
    name="sims",
    published="SIMS",
    title="CH-SIMS: sentiment, -1 to 1, of 2,281 Chinese utterances (MMSA's features)",
    features=("audio: Series of 33", "vision: Series of 709"),
    metrics=("mae", "pearson_r", "acc2_has0", "acc2_non0", "f1_non0"),
    n_rows={"train": 1368, "valid": 456, "test": 457},
    licence="not stated with the files; code MIT",
    citation="Yu et al., CH-SIMS: A Chinese Multimodal Sentiment Analysis Dataset with Fine-grained "
    "Annotation of Modality, ACL 2020",
    variants=("unaligned", f"unaligned{TEXT}"),
    checksums={"unaligned_39.pkl": "sha256:c9e20c13ec0454d98bb9c1e520e490c75146bfa2dfeeea78d84de047dbdd442f"},
    notes=_TRAPS + " The labels of single modalities (regression_labels_T, _A, _V) are left out. Published "
    "accuracies of two classes count 0 as negative, acc2_has0 as positive.",
)

_SETS = {known.name: known for known in (MOSI, MOSEI, SIMS)}
