"""Modalities that an input looks like, where none are declared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from polymodal.data import cells as numbers
from polymodal.data.cells import Place
from polymodal.data.door.forms import refuse_empty
from polymodal.schema import Modality, Series, Source, Tabular, Vector, judge_name


def infer(X: Any, source: Source) -> dict[str, Modality]:
    """Modalities where none are declared."""
    if source == "array":
        return {"x": Vector(range(X.shape[1]))}
    if source == "frame":
        refuse_empty(max(len(X), 1), X.shape[1], X.shape)
        return {"table": Tabular(list(X.columns))}
    for name in X:
        judge_name(name)
    return {name: _infer_value(name, value) for name, value in X.items()}


def _infer_value(name: str, value: Any) -> Modality:
    """The modality that a mapping's value looks like."""
    if isinstance(value, pd.DataFrame):
        return Tabular()
    array = numbers.as_array(value, Place(name, "modality"))
    if array.ndim == 3:
        return Series()
    if array.dtype == object and array.ndim == 1:
        shapes = {np.shape(cell) for cell in array if not numbers.is_missing(cell)}
        same_vectors = len(shapes) <= 1 and all(len(shape) <= 1 for shape in shapes)
        return Vector() if same_vectors else Series()
    return Vector()
