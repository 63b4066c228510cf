"""The one door: a DataFrame, a mapping of arrays or a 2-D array -> validated cells with presence.

A data set of the package ``datasets`` counts as a DataFrame, of whose files nothing is read here.

What has come through it once, a ``Table``, passes again as it is: encoded once, it is read many times.

``bind`` settles once, on the training input, which columns a modality is made of; ``read`` then turns any
input of that form into cells. Everything behind the door trusts what comes through it.

A DataFrame may hold further columns, which are ignored; a mapping's unknown key is an error, because a key
that is misspelt would silently be an absent modality. At prediction a modality whose columns or key are all
missing is absent in every row; some of its columns missing is an error. No two modalities share a column:
"without this modality" would have no meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from polymodal.data import cells as numbers
from polymodal.data import huggingface, raw
from polymodal.data.cells import Place
from polymodal.errors import DataError, SchemaError
from polymodal.schema import (
    RAW,
    Column,
    Layout,
    Modality,
    Series,
    Source,
    Tabular,
    Vector,
    column_pattern,
    column_tuple,
    judge_declaration,
    judge_name,
)

Rows = slice | ndarray | Sequence[int]


@dataclass(frozen=True)
class Cells:
    """One modality, validated but raw; nobody may read what absent rows hold.

    Attributes:
        modality: the bound declaration.
        present: (n,) bool.
        numeric: Vector: (n, d) float32 or float64; Tabular: (n, k) float64, NaN in gaps; else None.
        categorical: Tabular: (n, c) object of str, None in gaps; else None.
        series: Series: (n, T, d) floats or a list of (T_i, d) floats; else None.
        raw: Text, Image, Audio, Video: n cells as :func:`polymodal.data.raw.read` returns them; else None.
    """

    modality: Modality
    present: ndarray
    numeric: ndarray | None = None
    categorical: ndarray | None = None
    series: list[ndarray] | ndarray | None = None
    raw: list[Any] | None = None

    @property
    def are_states(self) -> bool:
        """Whether they are hidden states of a model that is fine-tuned."""
        return self.modality.layout is not None and self.modality.layout.are_states


@dataclass(frozen=True)
class Table:
    """What came through the door.

    Attributes:
        cells: of every modality, in schema order.
        first_row: number of its first row, for errors.
    """

    cells: dict[str, Cells]
    first_row: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names in the order of M."""
        return tuple(self.cells)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.cells.values())).present)

    @property
    def presence(self) -> ndarray:
        """(n, M) bool."""
        return np.array([cells.present for cells in self.cells.values()]).T


# ---- binding a declaration to the training input -----------------------------------------------------


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
    X = _plain(_as_frame(X, known), source)
    declared = _infer(X, source) if known is None else known
    columns = {name: _expand(X, source, name, modality) for name, modality in declared.items()}
    _refuse_shared(columns)
    if source == "mapping":
        _refuse_unknown(X, {keys[0]: name for name, keys in columns.items()})
    return {name: _bound(X, source, name, declared[name], columns[name]) for name in declared}


def source_of(X: Any) -> Source:
    """Which of the three forms X has; anything else counts as a 2-D array to be judged."""
    if isinstance(X, pd.DataFrame) or huggingface.is_dataset(X):
        return "frame"
    return "mapping" if isinstance(X, Mapping) else "array"


def _as_frame(X: Any, modalities: Mapping[str, Modality] | None) -> Any:
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


def _plain(X: Any, source: Source) -> Any:
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
    _refuse_empty(len(array), array.shape[1], array.shape)
    return array


def _refuse_empty(n_rows: int, n_columns: int, shape: tuple[int, ...]) -> None:
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


def _infer(X: Any, source: Source) -> dict[str, Modality]:
    """Modalities where none are declared."""
    if source == "array":
        return {"x": Vector(range(X.shape[1]))}
    if source == "frame":
        _refuse_empty(max(len(X), 1), X.shape[1], X.shape)
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


def _expand(X: Any, source: Source, name: str, modality: Modality) -> tuple[Column, ...]:
    """The concrete columns, positions or key of one modality; all of them must be there."""
    declared = column_tuple(name, modality)
    if source == "mapping":
        return _expand_key(X, name, declared)
    if source == "array":
        return _expand_positions(X, name, declared)
    return _expand_names(X, name, declared)


def _expand_key(X: Mapping[str, Any], name: str, declared: tuple[Column, ...] | None) -> tuple[Column, ...]:
    keys = (name,) if declared is None else declared
    if len(keys) != 1 or not isinstance(keys[0], str):
        raise SchemaError(
            f"in a mapping a modality is one key; {name!r} names {list(keys)[:5]}; "
            "name its key, or pass a DataFrame or a 2-D array instead of the mapping"
        )
    if keys[0] not in X:
        raise SchemaError(
            f"each modality must be in the training input; {name!r} needs the key {keys[0]!r} and the "
            f"mapping has {_few(list(X))}; add it, or drop the modality"
        )
    return keys


def _expand_positions(X: ndarray, name: str, declared: tuple[Column, ...] | None) -> tuple[Column, ...]:
    n_columns = X.shape[1]
    if declared is None:
        raise SchemaError(
            f"over a 2-D array a modality names its positions; {name!r} names none; write for example "
            f"Vector(range(0, {n_columns}))"
        )
    for position in declared:
        if not isinstance(position, int) or not 0 <= position < n_columns:
            raise SchemaError(
                f"positions in a 2-D array of {n_columns} columns run from 0 to {n_columns - 1}; {name!r} "
                f"names {position!r}; correct it, or pass a DataFrame to use names"
            )
    return declared


def _expand_names(X: pd.DataFrame, name: str, declared: tuple[Column, ...] | None) -> tuple[Column, ...]:
    """Names, globs, and positions where the frame has no integer names, as the frame's own column names."""
    available = list(X.columns)
    found: list[Any] = []
    for column in (name,) if declared is None else declared:
        found += _matches(column, available, name)
    repeated = next((c for i, c in enumerate(found) if c in found[:i]), None)
    if repeated is not None:
        raise SchemaError(
            f"a modality names each column once; {name!r} reaches {repeated!r} twice; remove one of the names"
        )
    _refuse_duplicates(available, found, name)
    return _plain_names(found, name)


def _plain_names(columns: Iterable[Any], name: str) -> tuple[Column, ...]:
    """Column names as texts and integers, which can be written down."""
    names = tuple(int(c) if isinstance(c, np.integer) else c for c in columns)
    for column in names:
        if not isinstance(column, str | int):
            raise SchemaError(
                f"column names are texts or integers; {column!r} of modality {name!r} is "
                f"{type(column).__name__}; rename the columns"
            )
    return names


def _matches(column: Column, available: Sequence[Any], name: str) -> list[Any]:
    if column in available:
        return [column]
    if isinstance(column, str) and "*" in column:
        pattern = column_pattern(column)
        found = [c for c in available if isinstance(c, str) and pattern.fullmatch(c)]
        if found:
            return found
        raise SchemaError(
            f"a pattern must match a column; {column!r} of {name!r} matches none of {_few(available)}; "
            "correct it"
        )
    by_position = isinstance(column, int) and not any(isinstance(c, int | np.integer) for c in available)
    if by_position and 0 <= column < len(available):  # type: ignore[operator]
        return [available[column]]  # type: ignore[index]
    raise SchemaError(
        f"each column of a modality must be in the training input; {name!r} needs {column!r} and the "
        f"DataFrame has {_few(available)}; add it, or correct the name"
    )


def _few(columns: Sequence[Any]) -> str:
    """A list of columns in few words."""
    shown = ", ".join(repr(c) for c in columns[:8])
    return shown + (f" and {len(columns) - 8} more" if len(columns) > 8 else "") or "no columns"


def _refuse_duplicates(available: Sequence[Any], needed: Iterable[Any], name: str) -> None:
    for column in needed:
        if available.count(column) > 1:
            raise SchemaError(
                f"column names must be unique; {column!r} of modality {name!r} is there "
                f"{available.count(column)} times; rename or drop the others"
            )


def _refuse_shared(columns: Mapping[str, tuple[Column, ...]]) -> None:
    owner: dict[Column, str] = {}
    for name, own in columns.items():
        for column in own:
            if column in owner:
                raise SchemaError(
                    f"a column belongs to one modality; {column!r} is in {owner[column]!r} and {name!r}; "
                    "remove it from one, or copy it under another name"
                )
            owner[column] = name


def _refuse_unknown(X: Mapping[str, Any], known: Mapping[Any, str]) -> None:
    unknown = [key for key in X if key not in known]
    if unknown:
        raise SchemaError(
            f"a mapping's keys are modalities; {unknown[0]!r} is none of {list(known)}; "
            "correct the key, declare the modality, or remove it"
        )


def _bound(X: Any, source: Source, name: str, modality: Modality, columns: tuple[Column, ...]) -> Modality:
    """The modality with concrete columns, and the layout that the training input shows."""
    kind = type(modality).__name__
    if isinstance(modality, RAW) and len(columns) != 1:
        raise SchemaError(
            f"a raw modality is one column; {kind} {name!r} names {_few(columns)}; "
            "declare a modality for each"
        )
    n_features = X.shape[1] if source == "array" else 0
    layout = Layout(source, 0, () if source == "mapping" else columns, (), n_features)
    key: Any = columns[0] if source == "mapping" else columns
    value = _present_value(X, source, name, replace(modality, columns=key))
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
    columns = _plain_names(frame.columns, name)
    _refuse_duplicates(list(columns), columns, name)
    categorical = numbers.categorical_columns(frame, Place(name, "Tabular", columns))
    return replace(layout, width=len(columns), columns=columns, categorical=categorical)


# ---- reading -----------------------------------------------------------------------------------------


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
    X = _plain(_as_frame(X, schema), source)
    _judge_form(X, source, schema)
    n = n_rows(X)
    _refuse_empty(n, 1, (n,))
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
            _refuse_unknown(X, known)
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
    value = _present_value(X, source, name, modality)
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


def _present_value(X: Any, source: Source, name: str, modality: Modality) -> Any:
    """The raw value of a modality; None where X lacks all of it."""
    columns: Any = modality.columns
    if source == "mapping":
        return X.get(columns)
    if source == "array":
        return X[:, _as_slice(columns)]
    if not X.columns.is_unique:
        _refuse_duplicates(list(X.columns), columns, name)
        X = X.loc[:, ~X.columns.duplicated()]
    positions = X.columns.get_indexer(list(columns))
    if positions.max() < 0:
        return None
    if positions.min() < 0:
        missing = [column for column, position in zip(columns, positions, strict=True) if position < 0]
        raise SchemaError(
            f"a modality comes with all its columns or none; {name!r} lacks {_few(missing)}; "
            "add them, or drop the others to make it absent"
        )
    if len(positions) == 1 and not isinstance(modality, Tabular):
        return X.iloc[:, positions[0]]
    return X.iloc[:, _as_slice(tuple(positions.tolist()))]


def _as_slice(positions: tuple[Column, ...]) -> slice | list[Any]:
    """Neighbouring positions as a slice, which copies nothing."""
    first, last = int(positions[0]), int(positions[-1])
    if positions == tuple(range(first, last + 1)):
        return slice(first, last + 1)
    return list(positions)


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
            f"a table keeps the columns it had in training; {place.name!r} lacks {_few(missing)}; "
            "add them (NaN where unknown)"
        )
    _refuse_duplicates(list(value.columns), layout.columns, place.name)
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


# ---- rows and modalities of a raw input --------------------------------------------------------------


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
    X = _as_frame(X, {name: modality for name, modality in schema.items() if name in names})
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
