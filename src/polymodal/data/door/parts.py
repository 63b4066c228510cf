"""Parts of an input, in its own form: how many rows there are, some of the rows, some of the modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from polymodal.data import huggingface
from polymodal.data.door.forms import as_frame
from polymodal.data.door.table import Cells, Table
from polymodal.errors import DataError
from polymodal.schema import Modality

Rows = slice | ndarray | Sequence[int]


def n_rows(X: Any) -> int:
    """Number of rows; for a mapping, of its first value that is there.

    Raises:
        DataError: X has no rows to count.
    """
    if isinstance(X, Table):
        return X.n_rows
    if huggingface.is_dataset(X):
        return len(X)
    if isinstance(X, Mapping):
        X = next((value for value in X.values() if value is not None), None)
        if X is None:
            raise DataError(
                "a mapping counts its rows by a modality that is there; none is; "
                "pass one of them, NaN where it is absent"
            )
        if np.isscalar(X):
            raise DataError(
                f"a mapping holds rows by modality; one row's cells came, such as {X!r:.40}; "
                "pass pandas.DataFrame([X])"
            )
    if hasattr(X, "shape") and len(X.shape):
        return int(X.shape[0])
    try:
        return len(X) if hasattr(X, "__len__") else len(np.asarray(X))
    except TypeError:
        raise DataError(
            f"X is a DataFrame, a mapping of arrays or a 2-D array; {type(X).__name__} came; pass one of them"
        ) from None


def take(X: Any, rows: Rows) -> Any:
    """Some rows of X, in the form of X; a slice of arrays and memory maps copies nothing.

    Args:
        X: any input.
        rows: a slice, or (k,) row numbers or a boolean mask.
    """
    if isinstance(X, Mapping):
        return {name: None if value is None else take(value, rows) for name, value in X.items()}
    if not isinstance(rows, slice):
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    if isinstance(X, Table):
        return Table({name: _some(cells, rows) for name, cells in X.cells.items()})
    if isinstance(X, pd.DataFrame | pd.Series):
        return X.iloc[rows]
    if huggingface.is_dataset(X):
        return X.select(range(*rows.indices(len(X))) if isinstance(rows, slice) else rows)
    if isinstance(X, list | tuple):
        return X[rows] if isinstance(rows, slice) else [X[int(i)] for i in rows]
    return np.asarray(X)[rows] if not hasattr(X, "__getitem__") else X[rows]


def _some(cells: Cells, rows: slice | ndarray) -> Cells:
    """Some rows of a modality."""
    parts = {part: getattr(cells, part) for part in ("numeric", "categorical", "series", "raw")}
    kept = {part: take(own, rows) for part, own in parts.items() if own is not None}
    return Cells(cells.modality, cells.present[rows], **kept)


def restrict(X: Any, schema: dict[str, Modality], names: Sequence[str]) -> Any:
    """X as if it had only some modalities; the others are absent in every row.

    Args:
        X: an input of the schema's form.
        schema: the bound schema.
        names: the modalities to keep.

    Returns:
        A mapping with fewer keys, a DataFrame with fewer columns, a 2-D array with NaN elsewhere, or a table
        of which nobody reads the others.
    """
    hidden = {name: modality for name, modality in schema.items() if name not in names}
    X = as_frame(X, {name: modality for name, modality in schema.items() if name in names})
    if isinstance(X, Table):
        return Table({name: _hidden(own) if name in hidden else own for name, own in X.cells.items()})
    if isinstance(X, Mapping):
        keys: set[Any] = {modality.columns for modality in hidden.values()}
        kept = {key: value for key, value in X.items() if key not in keys}
        return kept or {next(iter(X)): [None] * n_rows(X)}
    columns = [column for modality in hidden.values() for column in modality.columns]  # type: ignore[union-attr]
    if isinstance(X, pd.DataFrame):
        return X.drop(columns=[column for column in columns if column in X.columns])
    array = np.array(X, dtype=object if np.asarray(X).dtype.kind in "OUS" else None)
    if array.dtype.kind in "biu":
        array = array.astype(np.float64)
    array[:, np.array(columns, dtype=np.int64)] = np.nan
    return array


def _hidden(cells: Cells) -> Cells:
    return replace(cells, present=np.zeros_like(cells.present))
