"""The raw value of one modality -> numbers and presence, or one sentence about what is wrong.

Every function takes a :class:`Place`, which knows how rows and columns are called in an error.
Letters: n rows, T steps, d width, k columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from polymodal.errors import CellTypeError, DataError

LARGEST = 1e18
"""A network squares its inputs in float32, whose largest value is 3.4e38."""

_SQUARED = LARGEST**2
_BLOCK = 4096
_CATEGORY_KINDS = {"string", "empty"}
_NUMBER_KINDS = {"integer", "floating", "mixed-integer-float", "boolean", "decimal"}


@dataclass(frozen=True)
class Place:
    """Where values stand, for errors.

    Attributes:
        name: the modality.
        kind: its class.
        columns: names of its columns; empty where there are none.
        first_row: number of the first row.
    """

    name: str
    kind: str
    columns: tuple[str | int, ...] = ()
    first_row: int = 0

    def column(self, j: int) -> str:
        """Column j in words; a single column may hold cells with many numbers."""
        if j < len(self.columns):
            return f"column {self.columns[j]!r}"
        return f"column {self.columns[0]!r}, number {j}" if self.columns else f"column {j}"

    def cell(self, i: int, j: int) -> str:
        """Row i, column j in words."""
        return f"row {self.first_row + i}, {self.column(j)}"

    def row(self, i: int) -> str:
        """Row i in words."""
        return f"row {self.first_row + i}"

    @property
    def who(self) -> str:
        """The modality in words."""
        return f"{self.kind} {self.name!r}"


# ---- Vector ------------------------------------------------------------------------------------------


def vector(value: Any, place: Place, width: int | None) -> tuple[ndarray, ndarray]:
    """The numbers of a Vector and its presence.

    Args:
        value: DataFrame, pandas Series, array or list: n rows of d numbers, or n cells with (d,) arrays.
        place: for errors.
        width: d if known.

    Returns:
        (n, d) float32 or float64 (rows of absent modalities hold NaN), (n,) bool.
    """
    if not (type(value) is ndarray and value.ndim == 2 and value.dtype.char in "fd"):
        value = vector_numbers(value, place, width)
    if width is not None and value.shape[1] != width:
        refuse_width(place, value.shape[1], width)
    return value, present_rows(value, place)


def vector_numbers(value: Any, place: Place, width: int | None) -> ndarray:
    """Anything that a Vector takes -> (n, d) floats."""
    if isinstance(value, pd.DataFrame):
        return frame_numbers(value, place)
    if isinstance(value, pd.Series) and value.dtype != object and not _holds_lists(value.dtype):
        return column_numbers(value, place, 0)[:, None]
    array = as_array(value, place)
    if array.dtype == object and array.ndim == 1 and _holds_cells(array):
        return _stack(array, place, width)
    if array.ndim == 1:
        nothing = width is not None and pd.isna(array).all()
        array = np.full((len(array), width or 1), np.nan) if nothing else array[:, None]
    if array.ndim != 2:
        raise DataError(
            f"a Vector has one row of numbers a row; {place.who} has an array of shape {array.shape}; "
            "declare it as Series, or reshape it to (n, d)"
        )
    return numbers(array, place)


def _holds_lists(dtype: Any) -> bool:
    """Whether pyarrow holds lists or structs in a column rather than numbers or texts."""
    return isinstance(dtype, pd.ArrowDtype) and dtype.kind == "O"


def _holds_cells(array: ndarray) -> bool:
    """Whether the first cell that is there is an array or list rather than a number."""
    first = next((cell for cell in array if not is_missing(cell)), None)
    return first is not None and not np.isscalar(first) and hasattr(first, "__len__")


def _stack(cells: ndarray, place: Place, width: int | None) -> ndarray:
    """Cells, each a (d,) array or missing -> (n, d), NaN where missing."""
    rows = [None if is_missing(cell) else cell_numbers(cell, place, i) for i, cell in enumerate(cells)]
    there = [(i, row) for i, row in enumerate(rows) if row is not None]
    width = there[0][1].shape[-1] if width is None else width
    stacked = np.full((len(cells), width), np.nan, dtype=np.result_type(*(row for _, row in there)))
    for i, row in there:
        if row.ndim != 1:
            raise DataError(
                f"a cell of a Vector is a 1-D array; {place.row(i)} of {place.who} has shape {row.shape}; "
                "declare it as Series, or flatten it"
            )
        if len(row) != width:
            raise DataError(
                f"the rows of a Vector have one width; {place.row(i)} of {place.who} has width "
                f"{len(row)} instead of {width}; declare it as Series, or give every row {width}"
            )
        stacked[i] = row
    return stacked


# ---- Series ------------------------------------------------------------------------------------------


def series(value: Any, place: Place, width: int | None) -> tuple[list[ndarray] | ndarray, ndarray]:
    """The sequences of a Series and its presence.

    Args:
        value: (n, T, d) or (n, T) array, or n cells with (T, d) or (T,) arrays; a DataFrame holds (T,) cells
            in each of d columns, or numbers in each of T.
        place: for errors.
        width: d if known.

    Returns:
        (n, T, d) floats or a list of (T_i, d) floats, (n,) bool.
    """
    if isinstance(value, pd.DataFrame):
        if _has_steps_as_columns(value):
            return _one_column_a_step(value, place, width)
        value = _zip_columns(value, place)
    array = as_array(value, place)
    if array.ndim == 1:
        return _ragged(array, place, width)
    if array.ndim not in (2, 3):
        raise DataError(
            f"a Series is (n, T, d) or a list of (T, d); {place.who} has an array of shape {array.shape}; "
            "reshape it"
        )
    cube = numbers(array if array.ndim == 3 else array[:, :, None], place)
    if width is not None and cube.shape[2] != width:
        refuse_width(place, cube.shape[2], width)
    if cube.shape[1] == 0:
        return cube, np.zeros(len(cube), dtype=bool)
    return cube, present_rows(cube, place)


def _has_steps_as_columns(frame: pd.DataFrame) -> bool:
    """Whether the columns hold numbers rather than sequences; told by the first cells that are there."""
    firsts = (next((c for c in column if not is_missing(c)), None) for _, column in frame.items())
    return any(isinstance(first, int | float | np.number) for first in firsts)


def _one_column_a_step(frame: pd.DataFrame, place: Place, width: int | None) -> tuple[ndarray, ndarray]:
    """T columns of numbers -> (n, T, 1) and presence."""
    if width not in (None, 1):
        refuse_width(place, 1, width or 0)
    values = frame_numbers(frame, place)
    return values[:, :, None], present_rows(values, place)


def _zip_columns(frame: pd.DataFrame, place: Place) -> ndarray:
    """Columns of (T,) cells -> cells of (T, k)."""
    cells = np.empty(len(frame), dtype=object)
    columns = [frame[column].to_numpy(dtype=object) for column in frame.columns]
    for i, row in enumerate(zip(*columns, strict=True)):
        missing = [is_missing(cell) for cell in row]
        if all(missing):
            continue
        if any(missing):
            raise DataError(
                f"a Series is present or absent as a whole; {place.cell(i, missing.index(True))} of "
                f"{place.who} is missing while the other columns are there; fill it, or empty the row"
            )
        parts = [cell_numbers(cell, place, i) for cell in row]
        if any(part.shape != parts[0].shape or part.ndim != 1 for part in parts):
            raise DataError(
                f"the columns of a Series have cells of one length; {place.row(i)} of {place.who} has shapes "
                f"{[part.shape for part in parts]}; resample them, or declare a Series for each column"
            )
        cells[i] = np.stack(parts, axis=1)
    return cells


def _ragged(cells: ndarray, place: Place, width: int | None) -> tuple[list[ndarray], ndarray]:
    """Cells of (T, d), (T,) or nothing -> list of (T_i, d), presence."""
    present = np.zeros(len(cells), dtype=bool)
    sequences: list[ndarray | None] = [None] * len(cells)
    for i, cell in enumerate(cells):
        if is_missing(cell):
            continue
        steps = cell_numbers(cell, place, i)
        if steps.size == 0:
            continue
        steps = steps[:, None] if steps.ndim == 1 else steps
        width = _judge_steps(steps, place, i, width)
        present[i] = _whole_cell(steps, place, i)
        sequences[i] = steps if present[i] else None
    nothing = np.zeros((0, width or 1), dtype=np.float32)
    return [nothing if steps is None else steps for steps in sequences], present


def _judge_steps(steps: ndarray, place: Place, i: int, width: int | None) -> int:
    if steps.ndim != 2:
        raise DataError(
            f"a cell of a Series is (T, d) or (T,); {place.row(i)} of {place.who} has shape {steps.shape}; "
            "reshape it"
        )
    if width is not None and steps.shape[1] != width:
        raise DataError(
            f"the steps of a Series have one width; {place.row(i)} of {place.who} has width "
            f"{steps.shape[1]} instead of {width}; give every step {width} numbers"
        )
    return int(steps.shape[1])


def _whole_cell(steps: ndarray, place: Place, i: int) -> bool:
    """Whether a (T, d) cell is present; some NaN is an error."""
    if np.einsum("ij,ij->", steps, steps) < _SQUARED:
        return True
    row = Place(place.name, place.kind, place.columns, place.first_row + i)
    return bool(present_rows(steps[None], row)[0])


# ---- Tabular -----------------------------------------------------------------------------------------


def table_frame(value: Any, place: Place) -> pd.DataFrame:
    """Anything that a Tabular takes as a DataFrame; positions become its column names."""
    if isinstance(value, pd.DataFrame):
        return value
    if isinstance(value, pd.Series):
        return value.to_frame()
    array = as_array(value, place)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise DataError(
            f"a Tabular has rows and columns; {place.who} has an array of shape {array.shape}; "
            "declare it as Series, or reshape it to (n, k)"
        )
    return pd.DataFrame(array, columns=list(place.columns) or None)


def categorical_columns(frame: pd.DataFrame, place: Place) -> tuple[str | int, ...]:
    """Which columns hold categories; judges the kind of each."""
    return tuple(
        column for j, column in enumerate(frame.columns) if _is_categorical(frame.iloc[:, j], place, j)
    )


def _is_categorical(column: pd.Series, place: Place, j: int) -> bool:
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
        return False
    if isinstance(column.dtype, pd.CategoricalDtype | pd.StringDtype):
        return True
    cells = column.to_numpy(dtype=object) if isinstance(column.dtype, pd.ArrowDtype) else column
    kind = pd.api.types.infer_dtype(cells, skipna=True)
    if kind in _CATEGORY_KINDS | _NUMBER_KINDS:
        return kind in _CATEGORY_KINDS
    raise CellTypeError(
        f"a column of a Tabular holds numbers, or texts; {place.column(j)} of {place.who} holds {kind} "
        f"({column.dtype}) cells, such as {_example(column)}; {_way_out(kind)}"
    )


def _example(column: pd.Series) -> str:
    there = column.dropna()
    return repr(there.iloc[0])[:60] if len(there) else "none"


def _way_out(kind: str) -> str:
    if "date" in kind or kind in ("period", "timedelta", "interval", "time"):
        return "turn dates into numbers, such as days since a date"
    if kind == "complex":
        return "Complex data not supported: give real and imaginary parts as two columns"
    return "convert the column, or declare arrays as Vector or Series"


def table(value: Any, place: Place, categorical: Sequence[str | int]) -> tuple[ndarray, ndarray, ndarray]:
    """The numbers and categories of a Tabular, and its presence.

    Args:
        value: what :func:`table_frame` takes, with the columns of ``place``.
        place: for errors.
        categorical: the columns that hold categories.

    Returns:
        (n, k) float64 with NaN gaps, (n, c) object of str or None, (n,) bool.
    """
    frame = table_frame(value, place)
    columns = list(frame.columns)
    kinds = [column in categorical for column in columns]
    numeric_frame = frame.loc[:, [not kind for kind in kinds]] if categorical else frame
    numeric_place = replace(place, columns=tuple(numeric_frame.columns))
    numeric = frame_numbers(numeric_frame, numeric_place).astype(np.float64, copy=False)
    _refuse_infinite(numeric, numeric_place)
    texts = [column_texts(frame.iloc[:, j], place, j) for j, kind in enumerate(kinds) if kind]
    stacked = np.stack(texts, axis=1) if texts else np.empty((len(frame), 0), dtype=object)
    present = ~np.isnan(numeric).all(axis=1) | (stacked != None).any(axis=1)  # noqa: E711
    return numeric, stacked, present


def _refuse_infinite(values: ndarray, place: Place) -> None:
    bad = np.abs(values) > LARGEST
    if bad.any():
        i, j = (int(k) for k in np.argwhere(bad)[0])
        raise DataError(
            f"numbers must be finite and within ±{LARGEST:g}; {place.cell(i, j)} of {place.who} "
            f"is {values[i, j]:g}; write NaN for a gap (never inf), or rescale the column"
        )


def column_texts(column: pd.Series, place: Place, j: int) -> ndarray:
    """(n,) object: the category of each cell as text, None where missing."""
    cells = column.to_numpy(dtype=object)
    missing = pd.isna(cells)
    texts = cells.copy()
    texts[missing] = None
    if pd.api.types.infer_dtype(cells, skipna=True) in _CATEGORY_KINDS:
        return texts
    for i in np.flatnonzero(~missing):
        texts[i] = _category(cells[i], place, int(i), j)
    return texts


def _category(cell: Any, place: Place, i: int, j: int) -> str:
    """A text, number or boolean as a category: 1 and 1.0 are the same."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell))
    if isinstance(cell, int | float | np.integer | np.floating):
        return str(int(cell)) if float(cell).is_integer() else str(float(cell))
    raise CellTypeError(
        f"a category is a text, a number or a boolean; {place.cell(i, j)} of {place.who} holds "
        f"{type(cell).__name__}; turn it into text"
    )


# ---- numbers -----------------------------------------------------------------------------------------


def as_array(value: Any, place: Place) -> ndarray:
    """Array, list or pandas Series -> array; ragged lists become an object array of cells."""
    refuse_container(value, place.who)
    if isinstance(value, pd.Series):
        return value.to_numpy(dtype=object)
    if isinstance(value, list | tuple):
        return _list_array(value)
    array = np.asarray(value)
    if array.ndim == 0:
        raise DataError(
            f"{place.who} needs one entry a row; {value!r} ({type(value).__name__}) came; pass an array"
        )
    return array


def _list_array(value: Sequence[Any]) -> ndarray:
    """A list as an array; where its parts do not fit together, as (n,) cells."""
    try:
        return np.asarray(value)
    except ValueError:
        cells = np.empty(len(value), dtype=object)
        for i, cell in enumerate(value):
            cells[i] = cell
        return cells


def refuse_container(value: Any, who: str) -> None:
    """Refuse sparse matrices, masked arrays and other libraries' frames, which NumPy would misread."""
    if hasattr(value, "tocsr") or hasattr(getattr(value, "dtype", None), "fill_value"):
        raise CellTypeError(f"inputs are dense; sparse data came for {who}; call .toarray() on it")
    if isinstance(value, np.ma.MaskedArray):
        raise CellTypeError(f"gaps are NaN; a masked array came for {who}; call .filled(numpy.nan) on it")
    if hasattr(value, "to_pandas"):
        raise CellTypeError(
            f"inputs are pandas or NumPy; {type(value).__module__.split('.')[0]} "
            f"{type(value).__name__} came for {who}; call .to_pandas() on it"
        )


def numbers(array: ndarray, place: Place) -> ndarray:
    """An array of any dtype -> float32 or float64 of the same shape, exactly."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if array.dtype.char in "fd":
        return np.asarray(array)
    if kind in "biuf":
        return array.astype(np.float32 if size <= 2 else np.float64)
    if kind == "O":
        return object_numbers(array, place)
    if kind == "c":
        raise DataError(
            f"Complex data not supported; {place.who} is {array.dtype}; give its two parts as columns"
        )
    what = {"U": "text", "S": "text", "M": "dates", "m": "durations"}.get(kind, "other things")
    raise CellTypeError(
        f"a {place.kind} holds numbers; {place.name!r} holds {what} ({array.dtype}); "
        f"{'declare it as Text, or as Tabular' if what == 'text' else 'convert it'}"
    )


def object_numbers(array: ndarray, place: Place, position: Callable[[int], int] = int) -> ndarray:
    """An object array of numbers and missing cells -> float64 of the same shape."""
    missing = pd.isna(array)
    there = array[~missing]
    kinds = {type(cell) for cell in there}
    if all(issubclass(kind, int | float | np.integer | np.floating | np.bool_) for kind in kinds):
        result = np.full(array.shape, np.nan)
        result[~missing] = there.astype(np.float64)
        return result
    result = np.full(array.shape, np.nan)
    for index in zip(*np.nonzero(~missing), strict=True):
        column = int(index[-1]) if array.ndim > 1 else 0
        result[index] = _number(array[index], place, int(index[0]), position(column))
    return result


def _number(cell: Any, place: Place, i: int, j: int) -> float:
    if isinstance(cell, complex | np.complexfloating):
        raise DataError(
            f"Complex data not supported; {place.cell(i, j)} of {place.who} is {cell}; "
            "give its two parts as columns"
        )
    if isinstance(cell, str | bytes):
        raise CellTypeError(
            f"a column of numbers holds no text; {place.cell(i, j)} of {place.who} is {cell!r}; "
            "convert the column to numbers, or declare it as a Text or Tabular of its own"
        )
    try:
        return float(cell)
    except (TypeError, ValueError) as error:
        raise CellTypeError(
            f"a {place.kind} holds numbers; {place.cell(i, j)} of {place.name!r} is {type(cell).__name__} "
            f"({error}); convert it"
        ) from error


def frame_numbers(frame: pd.DataFrame, place: Place) -> ndarray:
    """A DataFrame of numeric columns -> (n, k) floats."""
    dtypes = set(frame.dtypes)
    if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in dtypes):
        return frame.to_numpy(dtype=np.float32 if dtypes == {np.dtype(np.float32)} else np.float64)
    return np.stack([column_numbers(frame.iloc[:, j], place, j) for j in range(frame.shape[1])], axis=1)


def column_numbers(column: pd.Series, place: Place, j: int) -> ndarray:
    """A pandas column of numbers, booleans or objects that are numbers -> (n,) float64, NaN where missing."""
    dtype = column.dtype
    if isinstance(dtype, pd.SparseDtype):
        refuse_container(column, f"{place.column(j)} of {place.who}")
    if pd.api.types.is_complex_dtype(dtype):
        raise DataError(
            f"Complex data not supported; {place.column(j)} of {place.who} is {dtype}; "
            "give its two parts as columns"
        )
    if pd.api.types.is_numeric_dtype(dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if dtype == np.dtype(object) or (isinstance(dtype, pd.StringDtype) and column.isna().all()):
        return object_numbers(column.to_numpy(dtype=object), place, lambda _: j)
    example = _example(_no_numbers(column))
    raise CellTypeError(
        f"a column of numbers holds no {dtype} cells; {place.column(j)} of {place.who} holds "
        f"{example}; convert the column to numbers, or declare it as a Text or Tabular of its own"
    )


def _no_numbers(column: pd.Series) -> pd.Series:
    """The cells for which a column of texts is none of numbers; all of it where there are none of these."""
    if not isinstance(column.dtype, pd.StringDtype):
        return column
    spoilers = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
    return spoilers if len(spoilers) else column


def cell_numbers(cell: Any, place: Place, i: int) -> ndarray:
    """One cell that is an array or list -> float array."""
    if type(cell) is ndarray and cell.dtype.char in "fd":
        return cell
    if np.isscalar(cell) or not (hasattr(cell, "__len__") or hasattr(cell, "__array__")):
        is_json = isinstance(cell, str) and cell.lstrip().startswith("[")
        way_out = (
            "read lists written as text by tables.read(path, series=[...])"
            if is_json
            else ("give every cell an array, or None where it is absent")
        )
        raise CellTypeError(
            f"a cell of {place.who} is an array; {place.row(i)} holds {repr(cell)[:60]} "
            f"({type(cell).__name__}); {way_out}"
        )
    array = as_array(cell, place)
    if array.dtype == object and array.ndim == 1 and _holds_cells(array):
        array = _unnested(array, place, i)
    return numbers(array, Place(place.name, place.kind, (), place.first_row + i))


def _unnested(steps: ndarray, place: Place, i: int) -> ndarray:
    """Steps of d numbers each, as pyarrow and JSON hold them -> (T, d)."""
    widths = sorted({len(step) if hasattr(step, "__len__") else 1 for step in steps})
    if len(widths) > 1:
        raise DataError(
            f"the steps of a {place.kind} have one width; those of {place.row(i)} of {place.who} have "
            f"{', '.join(map(str, widths[:5]))}; give every step as many numbers"
        )
    return _list_array([_list_array(step) for step in steps])


def is_missing(cell: Any) -> bool:
    """None, NaN, NaT or pandas.NA as a whole cell."""
    if isinstance(cell, float | np.floating | np.datetime64):
        return bool(cell != cell)
    return cell is None or cell is pd.NA or cell is pd.NaT


# ---- presence ----------------------------------------------------------------------------------------


def present_rows(values: ndarray, place: Place) -> ndarray:
    """Presence of rows whose numbers belong together: absent if all NaN, an error if some are.

    One pass: a row's sum of squares is small unless it holds NaN, an infinity or a huge number; only
    the other rows are looked at again.

    Args:
        values: (n, d) or (n, T, d) floats.
        place: for errors.

    Returns:
        (n,) bool.
    """
    squares = np.einsum("ij,ij->i" if values.ndim == 2 else "ijk,ijk->i", values, values)
    present: ndarray = squares < _SQUARED
    if not present.all():
        for rows in _blocks(np.flatnonzero(~present)):
            present[rows] = _judge_rows(values[rows], rows, place)
    return present


def _blocks(rows: ndarray) -> Iterator[ndarray]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))


def _judge_rows(block: ndarray, rows: ndarray, place: Place) -> ndarray:
    flat = block.reshape(len(block), -1)
    gaps = np.isnan(flat)
    absent = gaps.all(axis=1)
    partial = gaps.any(axis=1) & ~absent
    if partial.any():
        i = int(np.flatnonzero(partial)[0])
        where = _where(block.shape, int(rows[i]), int(np.flatnonzero(gaps[i])[0]), place)
        raise DataError(
            f"a row of a {place.kind} is present or absent as a whole; {where} of {place.who} is NaN while "
            "other numbers of the row are there; fill the gap, make the whole row NaN, or declare a Tabular"
        )
    huge = np.abs(flat) > LARGEST
    if huge.any():
        i, j = (int(k) for k in np.argwhere(huge)[0])
        raise DataError(
            f"numbers must be finite and within ±{LARGEST:g}; {_where(block.shape, int(rows[i]), j, place)} "
            f"of {place.who} is {flat[i, j]:g}; write NaN in the whole row if it is absent (never inf), "
            "or rescale it"
        )
    return ~absent


def _where(shape: tuple[int, ...], row: int, position: int, place: Place) -> str:
    if len(shape) == 2:
        return place.cell(row, position)
    step, column = divmod(position, shape[2])
    return f"row {place.first_row + row}, step {step}, {place.column(column)}"


def refuse_width(place: Place, came: int, width: int) -> None:
    """A width that differs from training."""
    unit = "numbers a step" if place.kind == "Series" else "columns"
    raise DataError(
        f"a modality keeps the width it had in training; {place.who} had {width} {unit} and now has {came}; "
        "pass what the model was trained on"
    )
