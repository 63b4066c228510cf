"""Data sets of the package ``datasets`` as DataFrames; files inside them stay on disk until they are decoded.

Letters: n rows.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from polymodal.data.stored import Stored
from polymodal.data.tables import with_arrays
from polymodal.errors import DataError


def is_dataset(X: Any) -> bool:
    """Whether X is a data set with rows that can be counted.

    Raises:
        DataError: it is several of them, is streamed, or changes its rows as they are read.
    """
    package = sys.modules.get("datasets")  # whoever passes a data set has loaded it
    if package is None or not hasattr(package, "DatasetDict"):
        return False
    if isinstance(X, package.DatasetDict | package.IterableDatasetDict):
        way_out = f"pass X[{next(iter(X), 'train')!r}]"
        raise DataError(f"X is one split; a {type(X).__name__} of {', '.join(X)} came; {way_out}")
    if isinstance(X, package.IterableDataset):
        raise DataError(
            "rows of X are counted and read again; a streamed data set came; load it without streaming=True"
        )
    if isinstance(X, package.Dataset) and X.format["type"] == "custom":
        raise DataError(
            "rows of X are read as they are stored; a data set with a transform of its own came; "
            "apply it by map, or take it off by reset_format"
        )
    return isinstance(X, package.Dataset)


def frame(X: Any, columns: Collection[str] | None = None) -> pd.DataFrame:
    """A ``datasets.Dataset`` as a DataFrame.

    Files inside columns of images, sounds or videos become :class:`Stored` cells: nothing is decoded, and no
    byte of them is read here. Class labels become their names, None where there is none (-1); lists of
    numbers become arrays.

    Args:
        X: n rows.
        columns: those to read, the others are empty; None for all.
    """
    cells: dict[str, Any] = dict.fromkeys(X.column_names)
    wanted = [name for name in cells if columns is None or name in columns]
    files = [name for name in wanted if _holds_files(X.data.column(name).type)]
    plain = [name for name in wanted if name not in files]
    cells |= {name: _file_cells(X, name) for name in files}
    if plain:
        table = X.select_columns(plain).with_format("arrow")[:]
        cells |= {name: _plain_cells(table.column(name), X.features[name]) for name in plain}
    return with_arrays(pd.DataFrame(cells, index=range(len(X))))


def _holds_files(kind: Any) -> bool:
    import pyarrow

    return pyarrow.types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}


def _file_cells(X: Any, name: str) -> ndarray:
    """(n,) object: Stored where a file is inside the table, else its path, else None."""
    import pyarrow.compute

    column = X.data.column(name)
    content, paths = (pyarrow.compute.struct_field(column, part) for part in ("bytes", "path"))
    sizes, paths = pyarrow.compute.binary_length(content).to_pylist(), paths.to_pylist()
    indices = X._indices  # of rows that were chosen or shuffled; it has no public name
    rows = range(len(X)) if indices is None else indices.column(0).to_pylist()
    cells = np.empty(len(X), dtype=object)
    for i, row in enumerate(rows):
        cells[i] = paths[row] if sizes[row] is None else Stored(content, row, sizes[row])
    return cells


def _plain_cells(column: Any, feature: Any) -> Any:
    import pyarrow

    if isinstance(column.type, pyarrow.BaseExtensionType):  # Array2D and the like
        column = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if type(feature).__name__ == "ClassLabel":
        codes = column.to_pylist()
        known = [None if code is None or code < 0 else feature.names[code] for code in codes]
        return np.array(known, dtype=object)
    return column.to_pandas()
