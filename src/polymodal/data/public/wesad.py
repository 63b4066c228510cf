"""WESAD in its published files: one recording a subject, cut into windows of one minute.

``S2/S2.pkl`` (Python 2) maps ``signal`` to ``chest`` (six sensors, 700 Hz) and ``wrist`` (ACC 32 Hz, BVP
64 Hz, EDA and TEMP 4 Hz), ``label`` to the state at 700 Hz, ``subject`` to its name. All begin at one moment.

A window is a minute of one state, as the authors' is; it begins at a full second. NOTE[DIFF]: theirs are a
quarter of a second apart and those of the accelerometers last five seconds; ours touch and do not overlap, so
that no sample lies in two rows, and are one minute for every sensor. Wrist sensors come at their own rates,
the chest's at lower ones, each step the mean of the samples that it stands for: 700 Hz would be 42,000 steps.

Source: Schmidt et al. 2018, section 5, and the readme of the data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.public import files, records, unpickle
from polymodal.data.public.base import PublicSet
from polymodal.data.readers import Dataset
from polymodal.errors import DataError
from polymodal.schema import Series

SECONDS = 60
"""Length of a window."""

CHEST_RATE = 700
"""Samples a second of the chest's sensors and of the labels."""

STATES = {1: "baseline", 2: "stress", 3: "amusement"}
"""Label -> class; 0 is between the states, 4 is meditation, 5 to 7 are to be ignored."""

WRIST = {"ACC": 32, "BVP": 64, "EDA": 4, "TEMP": 4}
"""Sensor -> samples a second, as published."""

CHEST = {"ACC": 35, "ECG": 70, "EMG": 70, "EDA": 4, "Temp": 4, "Resp": 10}
"""Sensor -> steps a second."""

SUBJECTS = (*range(2, 12), *range(13, 18))
"""The sensors of 1 and 12 failed."""

_RATES = {"wrist": WRIST, "chest": CHEST}
_DEVICES = {"wrist": ("wrist",), "chest": ("chest",), "both": ("wrist", "chest")}


def _read(folder: Path, variant: str | None) -> Dataset:
    assert variant is not None, "the set has variants"
    windows, states, subjects = [], [], []
    for subject in SUBJECTS:
        file = WESAD.path(folder, f"S{subject}/S{subject}.pkl")
        signal, label = _recording(file)
        cuts = list(_cuts(label))
        windows.append(_windows(file, signal, _DEVICES[variant], [second for second, _ in cuts]))
        states += [state for _, state in cuts]
        subjects += [subject] * len(cuts)
    X = {name: np.concatenate([own[name] for own in windows]) for name in windows[0]}
    return files.dataset(
        WESAD,
        X=X,
        y=np.array(states, dtype=np.int64),
        modalities={name: Series() for name in X},
        classes=tuple(STATES.values()),
        groups=np.array(subjects, dtype=np.int64),
        splits={},
    )


def _recording(file: Path) -> tuple[Mapping[str, Any], np.ndarray]:
    """Device -> sensor -> samples, and the labels."""
    held = records.mapping(WESAD, file, unpickle.read(file))
    signal, label = files.fields(WESAD, file, held, ("signal", "label"))
    return records.mapping(WESAD, file, signal), np.asarray(label).reshape(-1)


def _cuts(label: np.ndarray) -> Iterator[tuple[int, int]]:
    """First second and class of each window; a state's rest after its last full minute is dropped."""
    borders = [0, *(np.flatnonzero(np.diff(label)) + 1), len(label)]
    for start, end in pairwise(borders):
        if end > start and int(label[start]) in STATES:
            first = -(-start // CHEST_RATE)
            last = end // CHEST_RATE - SECONDS
            yield from ((second, int(label[start]) - 1) for second in range(first, last + 1, SECONDS))


def _windows(
    file: Path, signal: Mapping[str, Any], devices: tuple[str, ...], seconds: list[int]
) -> dict[str, np.ndarray]:
    """Modality -> (windows, T, D) float32."""
    found = {}
    for device in devices:
        (sensors,) = files.fields(WESAD, file, signal, (device,))
        rates = _RATES[device]
        for name, values in zip(rates, files.fields(WESAD, file, sensors, rates), strict=True):
            rate = CHEST_RATE if device == "chest" else rates[name]
            windows = _cut(file, f"{device}/{name}", np.asarray(values), rate, seconds)
            found[f"{device}_{name.lower()}"] = _means(windows, rate // rates[name])
    return found


def _cut(file: Path, sensor: str, values: np.ndarray, rate: int, seconds: list[int]) -> np.ndarray:
    """(windows, T, D) samples."""
    values = values.reshape(len(values), -1)
    lasts = (seconds[-1] + SECONDS) * rate if seconds else 0
    if len(values) < lasts:
        raise DataError(
            f"a sensor of {WESAD.name} lasts as long as the states; {sensor} in {file} has {len(values):,} "
            f"samples, {lasts:,} are needed; get it from {WESAD.source}."
        )
    empty = np.empty((0, SECONDS * rate, values.shape[1]))
    return np.array([values[s * rate : (s + SECONDS) * rate] for s in seconds]) if seconds else empty


def _means(windows: np.ndarray, n_samples: int) -> np.ndarray:
    """(windows, T, D) -> (windows, T / n_samples, D) float32."""
    n, _, width = windows.shape
    return windows.reshape(n, -1, n_samples, width).mean(axis=2, dtype=np.float64).astype(np.float32)


WESAD = PublicSet(
    name="wesad_raw",
    title="WESAD: baseline, stress or amusement of 15 subjects, from sensors at wrist and chest",
    task="multiclass",
    modalities=(
        *(f"wrist_{name.lower()}: Series, {rate} Hz" for name, rate in WRIST.items()),
        *(f"chest_{name.lower()}: Series, {rate} Hz" for name, rate in CHEST.items()),
    ),
    metrics=("macro_f1", "accuracy", "balanced_accuracy"),
    n_rows={},
    source="https://archive.ics.uci.edu/ml/machine-learning-databases/00465/ (WESAD.zip)",
    licence="academic, non-commercial use; do not redistribute",
    citation="Schmidt et al., Introducing WESAD, a Multimodal Dataset for Wearable Stress and Affect "
    "Detection, ICMI 2018",
    layout=tuple(f"S{subject}/S{subject}.pkl" for subject in SUBJECTS),
    variants=tuple(_DEVICES),
    notes="Windows of 60 s that do not overlap, each within one state; split by subject, never by window: "
    "the authors leave one subject out. Values are those of the devices, not standardised by subject. Chest "
    "sensors are averaged down from 700 Hz, which smooths ECG and takes most of EMG away. A file "
    "is read as a whole. The set called wesad holds features of the same recordings.",
    read=_read,
)
