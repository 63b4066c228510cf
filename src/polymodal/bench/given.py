"""What a method gets, drawn from the data set and the seed alone, never from the method.

Letters: n rows, M modalities.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from polymodal.bench.grid import Cell
from polymodal.data import missingness, regimes, splits
from polymodal.data.missingness import PresenceMask
from polymodal.data.readers import Dataset
from polymodal.errors import ConfigError


@dataclass(frozen=True)
class Problem:
    """Training and test rows as every method gets them.

    Attributes:
        X_train: modality -> (n, ...), NaN where absent.
        y_train: (n,) with the hidden labels overwritten: -1 for classes, NaN for values.
        X_test: test rows, as the data set has them but for what the regime takes away.
        y_test: their labels.
        groups_train: (n,) group of each training row where the test rows are of other groups, or None.
        masks: who is absent where in the training and in the test rows, besides by nature.
        hashes: SHA-256 of the split, of the labels kept and of both presence masks.
    """

    X_train: dict[str, Any]
    y_train: np.ndarray
    X_test: dict[str, Any]
    y_test: np.ndarray
    groups_train: np.ndarray | None
    masks: tuple[PresenceMask, PresenceMask]
    hashes: dict[str, str]


def problem(
    dataset: Dataset,
    *,
    seed: int,
    labels: float = 1.0,
    missing_train: float = 0.0,
    split: str | None = None,
    missing: str = "complete",
    max_train: int | None = None,
    max_test: int | None = None,
) -> Problem:
    """Draw what a cell's method gets: a function of the data set and these arguments alone.

    Args:
        dataset: the data.
        seed: of the split (where none is published), of the labels kept and of the presence mask.
        labels: share of the training rows that keep their labels; with one seed 1 % lies inside 5 %.
        missing_train: share of the training inputs made absent; a row keeps at least one of its M places.
        split: a split of the data set.
        missing: a regime of training and test rows, in place of ``missing_train``.
        max_train: training rows, at most.
        max_test: test rows, at most.

    Raises:
        ConfigError: an unknown regime, or one beside ``missing_train``.
    """
    train, test = dataset.train_test(seed, split)
    train = _capped(dataset, train, max_train, _derived(seed, "training rows"))
    test = _capped(dataset, test, max_test, _derived(seed, "test rows"))
    X_train, y_train = dataset.rows(train)
    X_test, y_test = dataset.rows(test)
    kept = splits.few_labels(y_train, labels, _derived(seed, "labels"), kind=dataset.kind)
    masks = _masks(dataset, y_train, y_test, missing, missing_train, _derived(seed, "presence"))
    return Problem(
        X_train=missingness.apply(X_train, masks[0]),
        y_train=hidden(y_train, kept.mask),
        X_test=X_test if masks[1].mask.all() else missingness.apply(X_test, masks[1]),
        y_test=y_test,
        groups_train=_groups(dataset.groups, train, test),
        masks=masks,
        hashes={
            "split": _hash(train, test),
            "labels": kept.sha256,
            "presence": masks[0].sha256,
            "presence_test": masks[1].sha256,
        },
    )


def problem_of(cell: Cell, dataset: Dataset) -> Problem:
    """What the cell's method gets."""
    return problem(
        dataset,
        seed=cell.seed,
        labels=cell.labels,
        missing_train=cell.missing_train,
        split=cell.split,
        missing=cell.missing,
        max_train=cell.max_train,
        max_test=cell.max_test,
    )


def _capped(dataset: Dataset, rows: np.ndarray, most: int | None, seed: int) -> np.ndarray:
    """At most so many of the rows, stratified, a row of every class; all of them where there are fewer."""
    if most is None or len(rows) <= most:
        return rows
    return rows[splits.few_labels(dataset.y[rows], most / len(rows), seed, kind=dataset.kind).indices]


def _masks(
    dataset: Dataset, y_train: np.ndarray, y_test: np.ndarray, missing: str, missing_train: float, seed: int
) -> tuple[PresenceMask, PresenceMask]:
    """Who is absent where, in training and test rows: by the regime, or in the training rows alone."""
    names = tuple(dataset.X)
    if missing == "complete":
        train = missingness.completely_at_random(len(y_train), names, missing_train, seed)
        return train, missingness.completely_at_random(len(y_test), names, 0.0, seed)
    if missing_train:
        raise ConfigError(
            f"a regime says what is missing in training and test; missing={missing!r} came beside "
            f"missing_train={missing_train}; leave one out"
        )
    return regimes.masks(missing, names, y_train, y_test, dataset.kind, seed)


def _groups(groups: np.ndarray | None, train: np.ndarray, test: np.ndarray) -> np.ndarray | None:
    """Groups of the training rows if the test rows are of other groups: validation is to be like the test."""
    if groups is None or np.isin(groups[test], groups[train]).any():
        return None
    return groups[train]


def hidden(y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """A copy of (n,) or (n, C) labels in which the rows not kept, (n,) bool, hold -1 or NaN."""
    result = y.copy()
    result[~kept] = -1 if y.dtype.kind in "iu" else np.nan
    return result


def _derived(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose: draws from one seed would run alike."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:4])


def _hash(*arrays: np.ndarray) -> str:
    return hashlib.sha256(json.dumps([array.tolist() for array in arrays]).encode()).hexdigest()
