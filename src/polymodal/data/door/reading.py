"""Reading an input by a bound schema into a table of cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from polymodal.data import cells as numbers
from polymodal.data import raw
from polymodal.data.cells import Place
from polymodal.data.door.columns import few, refuse_duplicates, refuse_unknown
from polymodal.data.door.forms import as_frame, plain, refuse_empty, source_of
from polymodal.data.door.parts import n_rows
from polymodal.data.door.table import Cells, Table
from polymodal.data.door.values import present_value
from polymodal.errors import DataError, SchemaError
from polymodal.schema import RAW, Layout, Modality, Series, Source, Vector


def read(X: Any, schema: dict[str, Modality], *, fitting: bool = False, first_row: int = 0) -> Table:
    """Validate X against a bound schema.

    Args:
        X: an input of the form that the schema was bound to.
        schema: what :func:`bind` returned.
        fitting: whether every modality must be there and be present in some row.
        first_row: number of X's first row in errors, for inputs that are read in chunks.

    Returns:
        The cells of every modality, in schema order.

    Raises:
        SchemaError: columns or keys are missing or unknown, or X has another form than in training.
        DataError: rows, widths or cells break a rule; the sentence names modality, row and column.
    """
    if isinstance(X, Table):
        return _read_again(X, schema, fitting=fitting)
    source = source_of(X)
    X = plain(as_frame(X, schema), source)
    _judge_form(X, source, schema)
    n = n_rows(X)
    refuse_empty(n, 1, (n,))
    cells = {name: _read_one(X, source, name, m, n, first_row) for name, m in schema.items()}
    if fitting:
        refuse_never_present(cells)
    return Table(cells, first_row)


def _read_again(table: Table, schema: dict[str, Modality], *, fitting: bool) -> Table:
    """A table is what it was; only what lacks a modality in every row is judged."""
    assert table.names == tuple(schema), "a table is read by the schema that it was made by"
    if fitting:
        refuse_never_present(table.cells)
    return table


def _judge_form(X: Any, source: Source, schema: dict[str, Modality]) -> None:
    """X has the form that it had in training."""
    layout = _layout(next(iter(schema.values())))
    if source != layout.source:
        words = {"frame": "a DataFrame", "mapping": "a mapping of arrays", "array": "a 2-D array"}
        raise SchemaError(
            f"X keeps the form it had in training, {words[layout.source]}; {words[source]} came; "
            f"pass {words[layout.source]}"
        )
    if source == "mapping":
        known = {modality.columns: name for name, modality in schema.items()}
        if not X.keys() <= known.keys():
            refuse_unknown(X, known)
    elif source == "array" and X.shape[1] != layout.n_features:
        raise DataError(
            f"X has {X.shape[1]} features, but polymodal is expecting {layout.n_features} features as input; "
            "pass the columns of training, NaN where a modality is absent"
        )


def _layout(modality: Modality) -> Layout:
    assert modality.layout is not None, "the schema comes from bind"
    return modality.layout


def _read_one(X: Any, source: Source, name: str, modality: Modality, n: int, first_row: int) -> Cells:
    layout = _layout(modality)
    place = Place(name, type(modality).__name__, layout.columns, first_row)
    value = present_value(X, source, name, modality)
    if value is None:
        return _absent(modality, layout, n)
    if isinstance(modality, Vector):
        numeric, present = numbers.vector(value, place, layout.width)
        cells = Cells(modality, present, numeric=numeric)
    elif isinstance(modality, Series):
        sequences, present = numbers.series(value, place, layout.width)
        cells = Cells(modality, present, series=sequences)
    elif isinstance(modality, RAW):
        own, present = raw.read(value, place, modality)
        cells = Cells(modality, present, raw=own)
    else:
        value = _table_value(value, place, layout)
        numeric, categorical, present = numbers.table(value, place, layout.categorical)
        cells = Cells(modality, present, numeric=numeric, categorical=categorical)
    if len(present) != n:
        raise DataError(
            f"all modalities have the same number of rows; {name!r} has {len(present)} and the first one has "
            f"{n}; align them, with None or NaN rows where a modality is absent"
        )
    return cells


def _table_value(value: Any, place: Place, layout: Layout) -> Any:
    """The value of a Tabular with the columns and the order of training."""
    if not isinstance(value, pd.DataFrame):
        frame = numbers.table_frame(value, Place(place.name, place.kind))
        if frame.shape[1] != layout.width:
            numbers.refuse_width(place, frame.shape[1], layout.width)
        return frame.set_axis(list(layout.columns), axis=1)
    if list(value.columns) == list(layout.columns):
        return value
    missing = [column for column in layout.columns if column not in value.columns]
    if missing:
        raise SchemaError(
            f"a table keeps the columns it had in training; {place.name!r} lacks {few(missing)}; "
            "add them (NaN where unknown)"
        )
    refuse_duplicates(list(value.columns), layout.columns, place.name)
    return value[list(layout.columns)]


def _absent(modality: Modality, layout: Layout, n: int) -> Cells:
    """A modality that X lacks as a whole."""
    nowhere = np.zeros(n, dtype=bool)
    if isinstance(modality, RAW):
        return Cells(modality, nowhere, raw=[None] * n)
    if isinstance(modality, Series):
        return Cells(modality, nowhere, series=[np.zeros((0, layout.width), dtype=np.float32)] * n)
    if isinstance(modality, Vector):
        return Cells(modality, nowhere, numeric=np.zeros((n, layout.width), dtype=np.float32))
    n_categorical = len(layout.categorical)
    return Cells(
        modality,
        nowhere,
        numeric=np.full((n, layout.width - n_categorical), np.nan),
        categorical=np.empty((n, n_categorical), dtype=object),
    )


def refuse_never_present(cells: Mapping[str, Cells]) -> None:
    """Refuse training rows that all lack a modality.

    Raises:
        DataError: there is such a modality.
    """
    never = [name for name, own in cells.items() if not own.present.any()]
    if len(never) == len(cells):
        raise DataError(
            f"a training row must have some modality; all of {list(cells)} are absent in every row; "
            "check the columns, or add rows that have one"
        )
    if never:
        raise DataError(
            f"each modality must be present in some training row; {never[0]!r} is absent in every row; "
            "drop it from the modalities, or add rows that have it"
        )
