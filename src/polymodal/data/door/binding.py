"""Binding a declaration to the training input: concrete columns, and the layout that the input shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from polymodal.data import cells as numbers
from polymodal.data.cells import Place
from polymodal.data.door.columns import (
    expand,
    few,
    plain_names,
    refuse_duplicates,
    refuse_shared,
    refuse_unknown,
)
from polymodal.data.door.forms import as_frame, plain, source_of
from polymodal.data.door.inference import infer
from polymodal.data.door.table import Table
from polymodal.data.door.values import present_value
from polymodal.errors import DataError, SchemaError
from polymodal.schema import RAW, Column, Layout, Modality, Series, Source, Tabular, judge_declaration


def bind(X: Any, modalities: Mapping[str, Modality] | None) -> dict[str, Modality]:
    """Settle which columns each modality is made of.

    Args:
        X: the training input.
        modalities: the declaration; None infers one: a mapping's 2-D or 1-D numbers are a Vector, its 3-D
            or ragged values a Series, its DataFrames a Tabular; a DataFrame is one Tabular ``"table"``; a
            2-D array is one Vector ``"x"``.

    Returns:
        The modalities in declared order, with concrete columns and a layout.

    Raises:
        SchemaError: the declaration is wrong, or X lacks what it names.
        DataError: X or a cell cannot be read.
    """
    if isinstance(X, Table):
        return {name: cells.modality for name, cells in X.cells.items()}
    source = source_of(X)
    known = None if modalities is None else judge_declaration(modalities)
    X = plain(as_frame(X, known), source)
    declared = infer(X, source) if known is None else known
    columns = {name: expand(X, source, name, modality) for name, modality in declared.items()}
    refuse_shared(columns)
    if source == "mapping":
        refuse_unknown(X, {keys[0]: name for name, keys in columns.items()})
    return {name: _bound(X, source, name, declared[name], columns[name]) for name in declared}


def _bound(X: Any, source: Source, name: str, modality: Modality, columns: tuple[Column, ...]) -> Modality:
    """The modality with concrete columns, and the layout that the training input shows."""
    kind = type(modality).__name__
    if isinstance(modality, RAW) and len(columns) != 1:
        raise SchemaError(
            f"a raw modality is one column; {kind} {name!r} names {few(columns)}; declare a modality for each"
        )
    n_features = X.shape[1] if source == "array" else 0
    layout = Layout(source, 0, () if source == "mapping" else columns, (), n_features)
    key: Any = columns[0] if source == "mapping" else columns
    value = present_value(X, source, name, replace(modality, columns=key))
    place = Place(name, kind, layout.columns)
    if value is None or _nothing_there(value):
        raise DataError(
            f"each modality must be present in some training row; {name!r} is absent in every row; "
            "drop it from the modalities, or add rows that have it"
        )
    if isinstance(modality, RAW):
        return replace(modality, columns=key, layout=layout)
    if isinstance(modality, Tabular):
        frame = numbers.table_frame(value, place)
        layout = _table_layout(frame, layout, name)
    elif isinstance(modality, Series):
        sequences, _ = numbers.series(value, place, None)
        layout = replace(layout, width=_series_width(sequences))
    else:
        layout = replace(layout, width=numbers.vector_numbers(value, place, None).shape[1])
    if layout.width == 0:
        raise DataError(f"a modality has at least one number a row; {name!r} has width 0; give it columns")
    return replace(modality, columns=key, layout=layout)


def _nothing_there(value: Any) -> bool:
    """Whether a whole column of cells is missing."""
    if isinstance(value, ndarray | pd.Series) and value.dtype != np.dtype(object):
        return False
    return isinstance(value, list | ndarray | pd.Series) and all(numbers.is_missing(cell) for cell in value)


def _series_width(sequences: list[ndarray] | ndarray) -> int:
    if isinstance(sequences, ndarray):
        return int(sequences.shape[2])
    return max((int(s.shape[1]) for s in sequences if len(s)), default=1)


def _table_layout(frame: pd.DataFrame, layout: Layout, name: str) -> Layout:
    columns = plain_names(frame.columns, name)
    refuse_duplicates(list(columns), columns, name)
    categorical = numbers.categorical_columns(frame, Place(name, "Tabular", columns))
    return replace(layout, width=len(columns), columns=columns, categorical=categorical)
