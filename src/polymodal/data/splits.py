"""Which rows train, which test, which keep their labels: seeded, nested, saved, hashed.

Strata are classes (multiclass), quantile bins (regression) or one stratum (multi-label). A row whose label
is missing (NaN, None; multi-label: all NaN) is never chosen as labelled, validation or test row. Integer
labels are taken as they are.

Letters: n rows, C classes or labels.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from polymodal.errors import CheckpointError, ConfigError, DataError, LabelError

Kind = Literal["multiclass", "multilabel", "regression"]

N_BINS = 10
"""Quantile bins that stratify a regression."""

MIN_LABELLED_PER_CLASS = 5
MIN_LABELLED = 20
"""Fewer labelled rows than these (a class; in all) leave no validation rows."""

N_PROTECTED = 2
"""Labelled rows of each class that validation never takes."""

# ----------------------------------------------------------------------------------------------------------
# Few labels
# ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LabelSplit:
    """The rows that keep their labels.

    Attributes:
        indices: (n_labelled,) int64, ascending; read-only.
        n_rows: rows of the data it was drawn for.
        share: of the rows, as asked for.
        seed: of the draw.
    """

    indices: np.ndarray
    n_rows: int
    share: float
    seed: int

    def __post_init__(self) -> None:
        indices = np.sort(np.asarray(self.indices, dtype=np.int64))
        indices.setflags(write=False)
        object.__setattr__(self, "indices", indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSplit) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    @property
    def mask(self) -> np.ndarray:
        """(n_rows,) bool, True where the label is kept."""
        return np.isin(np.arange(self.n_rows), self.indices)

    @property
    def sha256(self) -> str:
        """Hash of the indices, the row count, the share and the seed."""
        content = [self.indices.tolist(), self.n_rows, self.share, self.seed]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the split as JSON, with its hash."""
        content = {
            "format": "polymodal-label-split-1",
            "n_rows": self.n_rows,
            "share": self.share,
            "seed": self.seed,
            "indices": self.indices.tolist(),
            "sha256": self.sha256,
        }
        Path(path).write_text(json.dumps(content) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> LabelSplit:
        """Read a split that ``save`` wrote.

        Raises:
            CheckpointError: the file is no split, or its hash does not fit.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            split = cls(np.array(content["indices"]), content["n_rows"], content["share"], content["seed"])
            stored = content["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"a label split is a JSON file written by LabelSplit.save; {path} is not; "
                f"draw the split again."
            ) from error
        if split.sha256 != stored:
            raise CheckpointError(
                f"a label split must fit its own SHA-256; {path} says {str(stored)[:12]} and holds "
                f"{split.sha256[:12]}, so it was changed after it was saved; draw the split again."
            )
        return split


def few_labels(
    y: Any, share: float, seed: int, *, kind: Kind | None = None, groups: Any = None
) -> LabelSplit:
    """The rows that keep their labels: stratified, and nested over shares.

    One permutation for each seed and stratum; a share takes its prefix, so with one seed the rows of 1 % are
    among those of 5 %, and those among 10 %. At least one row of each class (multi-label: one positive row
    of each label that has any) is taken, however small the share; otherwise round(share * n) rows.

    With ``groups``, whole groups are taken in a seeded order, those first that bring a new class, until the
    share of rows is reached: labels come from few subjects, and the count overshoots by part of a group.

    Args:
        y: (n,) labels, or (n, C) for multi-label.
        share: of the rows that have a label, in (0, 1].
        seed: of the draw.
        kind: of the task; None: 2-D is multi-label, floats with fractions are a regression, all else classes.
        groups: (n,) subject, user or speaker of each row.

    Raises:
        ConfigError: the share is not within (0, 1].
        LabelError: no row has a label.
    """
    _check_share(share, "share", upper=True)
    labels = _as_labels(y)
    kind = kind or _inferred_kind(labels)
    rows = np.flatnonzero(_has_label(labels))
    if not len(rows):
        raise LabelError("few_labels chooses among labelled rows; no row has a label; pass labels.")
    strata, marks = _strata(labels[rows], kind), _marks(labels[rows], kind)
    rng = np.random.default_rng(seed)
    n_wanted = _rounded(share * len(rows))
    if groups is None:
        order, n_cover = _covering_first(_interleaved(strata, rng), marks)
        taken = order[: max(n_cover, n_wanted)]
    else:
        taken = _whole_groups(_column(groups, len(labels))[rows], marks, n_wanted, rng)
    return LabelSplit(rows[taken], len(labels), float(share), seed)


def _interleaved(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A permutation of which every prefix holds each stratum in proportion, within about one row.

    The k-th of a stratum's N permuted rows gets the key (k + u) / N, with one u for each stratum.
    """
    keys = np.empty(len(strata))
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        keys[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(keys, kind="stable")


def _covering_first(order: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, int]:
    """The order with the first row of each mark moved to the front, and how many those are."""
    first = np.unique(np.argmax(marks[order], axis=0)) if marks.shape[1] else np.array([], dtype=int)
    return np.concatenate([order[first], np.delete(order, first)]), len(first)


def _whole_groups(
    groups: np.ndarray, marks: np.ndarray, n_wanted: int, rng: np.random.Generator
) -> np.ndarray:
    codes, names = pd.factorize(groups, sort=True)
    group_marks = np.stack([marks[codes == g].any(axis=0) for g in range(len(names))])
    order, n_cover = _covering_first(rng.permutation(len(names)), group_marks)
    reached = np.searchsorted(np.cumsum(np.bincount(codes)[order]), n_wanted) + 1
    return np.flatnonzero(np.isin(codes, order[: max(n_cover, reached)]))


# ----------------------------------------------------------------------------------------------------------
# Train and test
# ----------------------------------------------------------------------------------------------------------


def train_test(
    y: Any, test_share: float, seed: int, *, kind: Kind | None = None, groups: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows, ascending: stratified, or with ``groups`` no group on both sides.

    Unlabelled rows train. With groups, round(test_share * number of groups) of them, at least one and never
    all, are the test side.

    Args:
        y: (n,) labels, or (n, C) for multi-label.
        test_share: of the labelled rows, or of the groups, in (0, 1).
        seed: of the draw.
        kind: of the task, as in ``few_labels``.
        groups: (n,) subject, user or speaker of each row.

    Raises:
        ConfigError: the share is not within (0, 1).
        DataError: fewer than two groups, or too few rows for two sides.
    """
    _check_share(test_share, "test_share")
    labels = _as_labels(y)
    has_label = _has_label(labels)
    rng = np.random.default_rng(seed)
    if groups is None:
        rows = np.flatnonzero(has_label)
        order = rows[_interleaved(_strata(labels[rows], kind or _inferred_kind(labels)), rng)]
        is_test = np.isin(np.arange(len(labels)), order[: _rounded(test_share * len(rows))])
    else:
        codes, names = pd.factorize(_column(groups, len(labels)), sort=True)
        n_test = min(max(1, _rounded(test_share * len(names))), len(names) - 1)
        is_test = np.isin(codes, rng.permutation(len(names))[:n_test])
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test & has_label)
    if not len(train) or not len(test):
        raise DataError(
            f"a train-test split needs rows on both sides; {len(train)} training and {len(test)} test rows "
            f"came out; change test_share, or pass more rows or groups."
        )
    return train, test


# ----------------------------------------------------------------------------------------------------------
# Validation
# ----------------------------------------------------------------------------------------------------------


def validation_rows(
    y: Any, labelled_mask: Any, fraction: float, seed: int, *, kind: Kind, groups: Any = None
) -> tuple[np.ndarray, str]:
    """Labelled rows set aside for early stopping, and the rule that ran, in words.

    Never takes a class's last two labelled rows (multi-label: a label's last two positive rows). With fewer
    than 5 labelled rows in a class (regression, multi-label: fewer than 20 in all) none are set aside, and
    training runs for a fixed number of epochs. With ``groups`` whole groups are set aside.

    Args:
        y: (n,) labels, or (n, C) for multi-label; read only where labelled.
        labelled_mask: (n,) bool.
        fraction: of the labelled rows, in (0, 1).
        seed: of the draw.
        kind: of the task.
        groups: (n,) subject, user or speaker of each row.

    Returns:
        Row indices, ascending, possibly none; and the rule.
    """
    _check_share(fraction, "fraction")
    rows = np.flatnonzero(np.asarray(labelled_mask, dtype=bool))
    labels = np.asarray(y)[rows]
    reason = _too_few(labels, kind)
    if reason:
        return np.array([], dtype=np.int64), f"fixed epochs: {reason}"
    rng = np.random.default_rng(seed)
    marks, n_wanted = _marks(labels, kind), max(1, _rounded(fraction * len(rows)))
    if groups is None:
        taken = _unprotected(_interleaved(_strata(labels, kind), rng), marks)[:n_wanted]
    else:
        taken = _spare_groups(np.asarray(groups)[rows], marks, n_wanted, rng)
    if not len(taken):
        return rows[taken], "fixed epochs: no labelled rows can be set aside and leave two of each class"
    return np.sort(rows[taken]), f"early stopping on {len(taken)} validation rows"


def _too_few(labels: np.ndarray, kind: Kind) -> str:
    if kind != "multiclass":
        return (
            "" if len(labels) >= MIN_LABELLED else f"fewer than {MIN_LABELLED} labelled rows, {len(labels)}"
        )
    classes, counts = np.unique(labels, return_counts=True)
    if not len(classes):
        return f"fewer than {MIN_LABELLED_PER_CLASS} labelled rows in every class"
    if counts.min() >= MIN_LABELLED_PER_CLASS:
        return ""
    return f"fewer than {MIN_LABELLED_PER_CLASS} labelled rows in class {classes[counts.argmin()]}"


def _unprotected(order: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The order without the last ``N_PROTECTED`` rows of each mark."""
    protected = [np.flatnonzero(mark[order])[-N_PROTECTED:] for mark in marks.T]
    return np.delete(order, np.concatenate(protected)) if protected else order


def _spare_groups(
    groups: np.ndarray, marks: np.ndarray, n_wanted: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows of whole groups, in a seeded order, each taken only if enough of every mark stays."""
    codes, names = pd.factorize(groups, sort=True)
    left, taken = np.ones(len(codes), dtype=bool), np.array([], dtype=np.int64)
    needed = np.minimum(marks.sum(axis=0), N_PROTECTED)
    for group in rng.permutation(len(names)):
        rest = left & (codes != group)
        if len(taken) < n_wanted and rest.any() and (marks[rest].sum(axis=0) >= needed).all():
            left, taken = rest, np.flatnonzero(~rest)
    return taken


# ----------------------------------------------------------------------------------------------------------
# Labels
# ----------------------------------------------------------------------------------------------------------


def _as_labels(y: Any) -> np.ndarray:
    labels = np.asarray(y)
    if labels.ndim not in (1, 2) or not len(labels):
        raise LabelError(
            f"labels are (n,) or (n, C) with at least one row; shape {labels.shape} came; reshape y."
        )
    return labels


def _has_label(labels: np.ndarray) -> np.ndarray:
    known = np.logical_not(pd.isna(labels))
    return known if labels.ndim == 1 else np.any(known, axis=1)


def _inferred_kind(labels: np.ndarray) -> Kind:
    if labels.ndim == 2:
        return "multilabel"
    if labels.dtype.kind != "f":
        return "multiclass"
    known = labels[~np.isnan(labels)]
    return "multiclass" if np.array_equal(known, np.round(known)) else "regression"


def _strata(labels: np.ndarray, kind: Kind) -> np.ndarray:
    """(n,) stratum of each row: its class, its quantile bin, or one for all."""
    if kind == "multilabel":
        return np.zeros(len(labels), dtype=np.int64)
    if kind == "multiclass":
        return pd.factorize(labels, sort=True)[0]
    edges = np.quantile(labels.astype(float), np.linspace(0, 1, N_BINS + 1)[1:-1])
    return np.searchsorted(edges, labels.astype(float))


def _marks(labels: np.ndarray, kind: Kind) -> np.ndarray:
    """(n, C) bool: what each row shows of what must be represented; C = 0 for a regression."""
    if kind == "regression":
        return np.zeros((len(labels), 0), dtype=bool)
    if kind == "multiclass":
        codes, classes = pd.factorize(labels, sort=True)
        return codes[:, None] == np.arange(len(classes))
    positive = labels.astype(float) > 0
    return positive[:, positive.any(axis=0)]


def group_codes(groups: Any, n: int) -> np.ndarray:
    """(n,) int64: the number of each row's group, in the order of their names.

    Raises:
        DataError: another shape, or a row without a group.
    """
    return pd.factorize(_column(groups, n), sort=True)[0].astype(np.int64)


def _column(values: Any, n: int) -> np.ndarray:
    # a list that holds both texts and NaN would become an array of texts
    column = np.asarray(values, dtype=object if isinstance(values, list | tuple) else None)
    if column.shape != (n,):
        raise DataError(f"groups needs one value a row, ({n},); shape {column.shape} came; pass a 1-D array.")
    for i in np.flatnonzero(pd.isna(column))[:1]:
        raise DataError(
            f"each row has a group; that of row {i} is {column[i]!r}; name it, or give each row that may be "
            "anybody's a group of its own"
        )
    return column


def _check_share(share: float, name: str, *, upper: bool = False) -> None:
    if not (0 < share < 1 or (upper and share == 1)):
        raise ConfigError(
            f"{name} lies above 0 and {'at most' if upper else 'below'} 1; {share} came; fix it."
        )


def _rounded(value: float) -> int:
    return int(value + 0.5)
