"""The three forms of an input, judged as a whole: a DataFrame, a mapping of arrays, a 2-D array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from polymodal.data import cells as numbers
from polymodal.data import huggingface
from polymodal.errors import DataError, SchemaError
from polymodal.schema import Modality, Source, column_pattern, column_tuple


def source_of(X: Any) -> Source:
    """Which of the three forms X has; anything else counts as a 2-D array to be judged."""
    if isinstance(X, pd.DataFrame) or huggingface.is_dataset(X):
        return "frame"
    return "mapping" if isinstance(X, Mapping) else "array"


def as_frame(X: Any, modalities: Mapping[str, Modality] | None) -> Any:
    """A data set as a DataFrame, of which the columns of these modalities are read; any other X as it is."""
    if not huggingface.is_dataset(X):
        return X
    if modalities is None:
        return huggingface.frame(X)
    columns = [c for name, own in modalities.items() for c in column_tuple(name, own) or (name,)]
    if any(isinstance(column, int) for column in columns):  # positions
        return huggingface.frame(X)
    patterns = [column_pattern(str(column)) for column in columns]
    return huggingface.frame(X, [c for c in X.column_names if any(p.fullmatch(c) for p in patterns)])


def plain(X: Any, source: Source) -> Any:
    """X, judged as a whole; lists and the like become an array."""
    numbers.refuse_container(X, "X")
    if source == "array":
        return _judge_array(X)
    if source == "frame" and X.columns.nlevels > 1:
        raise SchemaError(
            f"column names are texts or integers; a MultiIndex of {X.columns.nlevels} levels came; "
            "join them by X.columns = ['_'.join(map(str, names)) for names in X.columns]"
        )
    if source == "mapping" and not X:
        raise DataError("X must hold at least one modality; an empty mapping came; pass {name: array}")
    return X


def _judge_array(X: Any) -> ndarray:
    """A bare array: two dimensions, at least one row and one column."""
    if isinstance(X, list | tuple) and X and all(isinstance(row, Mapping) for row in X):
        raise DataError(
            "X is a DataFrame, a mapping of arrays or a 2-D array; a list of rows by name came; "
            "pass pandas.DataFrame(X)"
        )
    if isinstance(X, pd.Series):
        raise DataError(
            "X is a DataFrame, a mapping of arrays or a 2-D array; a Series came; "
            "a row of a frame is frame.iloc[[i]], a column X.to_frame()"
        )
    if X is None or isinstance(X, str | bytes):
        raise DataError(f"X is a DataFrame, a mapping of arrays or a 2-D array; {X!r} came; pass one of them")
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise DataError(
            f"a bare X is a 2-D array; rows of different shapes came ({error}); "
            "pass ragged rows in a mapping: {'series': X}"
        ) from error
    if array.ndim < 2:
        raise DataError(
            f"a bare X is a 2-D array; an array of shape {array.shape} came; Reshape your data with "
            "X.reshape(-1, 1) if it is one column, or X.reshape(1, -1) if it is one row"
        )
    if array.ndim > 2:
        raise DataError(
            f"a bare X is a 2-D array; an array of shape {array.shape} came; pass it as {{'series': X}}"
        )
    refuse_empty(len(array), array.shape[1], array.shape)
    return array


def refuse_empty(n_rows: int, n_columns: int, shape: tuple[int, ...]) -> None:
    """Refuse an input without columns or without rows."""
    if n_columns == 0:
        raise DataError(
            f"X must have columns; found 0 feature(s) (shape={shape}) while a minimum of 1 is required; "
            "pass at least one column"
        )
    if n_rows == 0:
        raise DataError(
            f"X must have rows; found 0 sample(s) (shape={shape}) while a minimum of 1 is required; "
            "pass at least one row"
        )
