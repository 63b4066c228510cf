"""Labels with holes: y -> codes or values, and which rows have one.

Unlabelled is None, NaN, NaT or pandas.NA in any labels that can hold it, and ``missing_label`` (-1 unless
told otherwise) among whole numbers. Rows count by position: an index of y is ignored.

Letters: n rows, C classes or labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray
from sklearn.utils.validation import column_or_1d

from polymodal.errors import LabelError

if TYPE_CHECKING:
    from polymodal.batch import TaskKind

DEFAULT_MISSING = -1
MOST_MOVED = 0.01
"""Part of their standard deviation by which rounding may move values to regress on."""
_AMBIGUOUS = ({-1, 1}, {-1, 0, 1})


@dataclass(frozen=True)
class Labels:
    """What is known of y.

    Attributes:
        kind: ``"multiclass"``, ``"multilabel"`` or ``"regression"``.
        values: (n,) int64 codes into ``classes``, 0 where unlabelled; or (n, C) float64 of 0, 1 and NaN for a
            masked entry; or (n,) float64, NaN where unlabelled.
        labelled: (n,) bool.
        classes: (C,) classes, sorted, in y's own type; a multi-label y's column names or positions; None for
            regression.
    """

    kind: TaskKind
    values: ndarray
    labelled: ndarray
    classes: ndarray | None


def read_classes(
    y: Any, n: int, missing_label: Any = DEFAULT_MISSING, *, classes: ndarray | None = None
) -> Labels:
    """One class a row.

    Args:
        y: (n,) texts, whole numbers or booleans, with holes.
        n: rows of X.
        missing_label: the class that means "unlabelled"; None: no class does.
        classes: (C,) sorted classes of a fitted model, by which other rows are coded; None learns them here.

    Raises:
        LabelError: another length, no labelled row, one class only, values that are no classes, or integer
            labels in which -1 has two readings; with ``classes``, a label that is none of them.
    """
    labelled, known = known_classes(y, n, missing_label, refuse_ambiguous=classes is None)
    if classes is None:
        classes = _at_least_two(np.unique(known), len(known))
    else:
        _refuse_unknown(known, classes)
    values = np.zeros(n, dtype=np.int64)
    values[labelled] = np.searchsorted(classes, known)
    return Labels("multiclass", values, labelled, classes)


def known_classes(
    y: Any, n: int, missing_label: Any = DEFAULT_MISSING, *, refuse_ambiguous: bool = False
) -> tuple[ndarray, ndarray]:
    """Which rows have a class, (n,) bool, and the classes of these rows, as :func:`read_classes` reads them.

    Raises:
        LabelError: another length, no labelled row, values that are no classes, or, where that is to be
            refused, -1 that has two readings.
    """
    cells = _column(y, n)
    labelled = ~pd.isna(cells)
    known = _classes_of(cells[labelled])
    if refuse_ambiguous and known.dtype.kind in "iuf":
        _refuse_ambiguous(known, missing_label)
    for hole in [value for value in np.unique(known) if _same(value, missing_label)]:
        labelled[np.flatnonzero(labelled)[known == hole]] = False
        known = known[known != hole]
    if not len(known):
        raise _nothing_labelled(n)
    return labelled, known


def _at_least_two(classes: ndarray, n_labelled: int) -> ndarray:
    if len(classes) < 2:
        raise LabelError(
            f"a classifier needs at least two classes; the {n_labelled} labelled rows have 1 class "
            f"({classes.tolist()[0]!r}); label rows of another class"
        )
    return classes


def _refuse_unknown(known: ndarray, classes: ndarray) -> None:
    new = [value for value in np.unique(known).tolist() if value not in classes.tolist()]
    if new:
        raise LabelError(
            f"labels are classes that the model learnt ({', '.join(map(repr, classes.tolist()))}); "
            f"{new[0]!r} came; leave such rows out, or fit again with them"
        )


def read_label_sets(y: Any, n: int, missing_label: Any = DEFAULT_MISSING) -> Labels:
    """C labels a row, each there (1), not there (0) or unknown (NaN).

    Args:
        y: (n, C) array or DataFrame of 0, 1 and NaN; an all-NaN row is unlabelled.
        n: rows of X.
        missing_label: not used: only NaN masks an entry.

    Raises:
        LabelError: another length, entries other than 0, 1 and NaN, or a label that no row knows.
    """
    del missing_label
    names = np.asarray(y.columns) if isinstance(y, pd.DataFrame) else None
    cells = _cells(y)
    if cells.ndim != 2 or cells.shape[1] == 0:
        raise LabelError(f"multi-label y is (n, C); shape {cells.shape} came; pass one column a label")
    _judge_length(len(cells), n)
    missing: ndarray = np.asarray(pd.isna(cells))
    filled = np.where(missing, 0, cells)
    wrong = (filled != 0) & (filled != 1)
    for i, j in np.argwhere(wrong)[:1]:
        raise LabelError(
            f"entries of a multi-label y are 0, 1, or NaN for unknown; row {i}, label {_label(names, j)} "
            f"is {cells[i, j]!r}; write NaN where it is unknown"
        )
    values = np.where(missing, np.nan, filled.astype(np.float64))
    labelled = np.asarray(~missing.all(axis=1))
    if not labelled.any():
        raise _nothing_labelled(n)
    unknown = np.flatnonzero(missing.all(axis=0))
    if len(unknown):
        raise LabelError(
            "each label of a multi-label y must be known in some row; "
            f"label {_label(names, unknown[0])} is NaN in every row; drop its column"
        )
    return Labels("multilabel", values, labelled, np.arange(cells.shape[1]) if names is None else names)


def read_values(y: Any, n: int) -> Labels:
    """One number a row, NaN where unlabelled.

    Raises:
        LabelError: another length, no labelled row, an infinity, or values that are no numbers.
    """
    cells = _column(y, n)
    labelled = ~pd.isna(cells)
    known = cells[labelled]
    if known.dtype.kind not in "biuf" and not all(map(_is_number, known)):
        i = next(int(i) for i in np.flatnonzero(labelled) if not _is_number(cells[i]))
        raise LabelError(
            f"values to regress on are numbers; row {i} of y is {cells[i]!r}; convert it, or use a classifier"
        )
    values = np.full(n, np.nan)
    values[labelled] = known.astype(np.float64)
    _refuse_infinite(values)
    if not labelled.any():
        raise _nothing_labelled(n)
    return Labels("regression", values, labelled, None)


def refuse_coarse(values: ndarray) -> None:
    """Values that training, which counts in 32 bits, would take for others or for one and the same.

    Args:
        values: (n,), NaN where unlabelled; some are not.

    Raises:
        LabelError: rounding moves one by more than a hundredth of their standard deviation.
    """
    known = values[~np.isnan(values)]
    with np.errstate(over="ignore", under="ignore"):
        moved = np.abs(known.astype(np.float32) - known).max()
        spread = known.std()
    if np.isinf(moved) or (spread > 0 and moved > MOST_MOVED * spread):
        raise LabelError(
            f"values to regress on differ in numbers of 32 bits; those of y, from {known.min()} to "
            f"{known.max()}, are rounded by up to {moved:.2g}; subtract their mean, or rescale them"
        )


# ---- cells of y --------------------------------------------------------------------------------------


def _column(y: Any, n: int) -> ndarray:
    """Y as (n,) objects; a column vector is flattened with scikit-learn's warning."""
    cells = _cells(y)
    if cells.ndim == 2 and cells.shape[1] == 1:
        cells = column_or_1d(cells, warn=True)
    if cells.ndim != 1:
        raise LabelError(f"y should be a 1d array, one label a row; shape {cells.shape} came; flatten it")
    _judge_length(len(cells), n)
    return cells


def _cells(y: Any) -> ndarray:
    """Any y as an array of objects."""
    if y is None:
        raise LabelError("fit requires y to be passed, but the target y is None; pass the labels")
    if hasattr(y, "tocsr"):
        raise LabelError("y is dense; a sparse matrix came; call .toarray() on it")
    pandas = pd.Series | pd.DataFrame | pd.Index | pd.api.extensions.ExtensionArray
    array = np.asarray(y, dtype=object) if isinstance(y, list | tuple | pandas) else np.asarray(y)
    if array.dtype.kind == "c":
        raise LabelError(f"Complex data not supported; y is {array.dtype}; pass real labels")
    if array.dtype.kind in "mM":
        raise LabelError(f"labels are texts, numbers or booleans; y is {array.dtype}; convert dates")
    return array if array.dtype.kind in "biufU" and array.ndim == 1 else array.astype(object)


def _judge_length(length: int, n: int) -> None:
    if length != n:
        raise LabelError(
            f"X and y have the same number of rows; X has {n} and y has {length}; "
            "give unlabelled rows None or NaN instead of leaving them out"
        )


def _classes_of(known: ndarray) -> ndarray:
    """Labels that are there, in a dtype that sorts: all texts, all booleans, or all numbers."""
    if known.dtype != object:
        if known.dtype.kind == "f":
            _judge_whole(known)
        return known
    kinds = {_kind(value) for value in known}
    if len(kinds) > 1 or "other" in kinds:
        examples = {_kind(value): value for value in known}
        raise LabelError(
            "Unknown label type: classes are all texts, all whole numbers, or all booleans; y holds "
            f"{' and '.join(map(repr, examples.values()))}; convert them to one type"
        )
    if kinds == {"number"}:
        numeric = _numbers(known.tolist())
        if numeric.dtype.kind == "f":
            _judge_whole(numeric)
        return numeric
    return known.astype(bool) if kinds == {"boolean"} else known


def _numbers(known: list[Any]) -> ndarray:
    """Numbers in one dtype that holds whole ones as they are."""
    numeric = np.array(known)
    if numeric.dtype.kind in "iu" or not all(isinstance(value, int | np.integer) for value in known):
        return numeric
    try:
        return np.array([int(value) for value in known], dtype=np.uint64)
    except OverflowError:
        largest = max(known, key=abs)
        raise LabelError(
            f"classes that are whole numbers fit into 64 bits; y holds {largest}; write them as texts"
        ) from None


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "boolean"
    return "number" if _is_number(value) else "other"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating | np.bool_)


def _judge_whole(known: ndarray) -> None:
    """Refuse infinities and fractions as classes."""
    _refuse_infinite(known)
    broken = known != np.floor(known)
    if broken.any():
        raise LabelError(
            f"Unknown label type: continuous; classes are whole numbers, texts or booleans and y holds "
            f"{known[broken][0]}; use a regressor, or bin the values"
        )


def _refuse_infinite(values: ndarray) -> None:
    if np.isinf(values).any():
        raise LabelError(
            f"labels are finite; y holds {values[np.isinf(values)][0]}; write NaN where a row is unlabelled "
            "(never inf)"
        )


def _refuse_ambiguous(known: ndarray, missing_label: Any) -> None:
    """-1 beside 1, or beside 0 and 1, may be a class or a hole."""
    if _same(missing_label, DEFAULT_MISSING) and set(np.unique(known).tolist()) in _AMBIGUOUS:
        raise LabelError(
            f"-1 means unlabelled among integer labels; y holds {np.unique(known).tolist()}, where -1 may "
            "also be a class; pass missing_label=None if -1 is a class, or write None or NaN instead of -1 "
            "if it means unlabelled"
        )


def _same(value: Any, missing_label: Any) -> bool:
    """Whether a label is the missing one: True is not 1."""
    if missing_label is None:
        return False
    boolean = isinstance(value, bool | np.bool_), isinstance(missing_label, bool | np.bool_)
    return boolean[0] == boolean[1] and bool(value == missing_label)


def _nothing_labelled(n: int) -> LabelError:
    return LabelError(
        f"at least one row must be labelled; all {n} rows are None, NaN or missing_label; label some rows"
    )


def _label(names: ndarray | None, j: int) -> str:
    return repr(names[j]) if names is not None else str(j)
