"""Files of rows: CSV, JSON lines and Parquet, read into a DataFrame, and written.

In a CSV file an unquoted empty field is absent and nothing else is: ``NA``, ``None`` and ``nan`` are texts,
and ``""`` is an empty text. In JSON lines, null or a missing key is absent. Lists of numbers become arrays;
in a CSV file, where a list is a text such as ``[1.5, 2]``, only in the columns that are said to hold series.

A table remembers the folder of its file in ``attrs["folder"]``: relative paths in its cells begin there.
"""

from __future__ import annotations

import csv
import json
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polymodal.data.raw import file_fault, is_url
from polymodal.errors import DataError, MissingExtraError
from polymodal.schema import column_pattern

_QUOTED_FIELD = re.compile(r'(?<![^,\r\n])"[^"]*(?:""[^"]*)*"')
"""A whole quoted field of a CSV file; searched from left to right, so never one inside another."""


def read(path: str | Path, *, texts: Collection[str] = (), series: Collection[str] = ()) -> pd.DataFrame:
    """Read ``.csv``, ``.jsonl`` (or ``.ndjson``) or ``.parquet``.

    Args:
        path: the file; ``~`` is the user's own folder.
        texts: columns of a CSV file whose cells stay as they are written: ``1984`` and ``007`` may be titles;
            ``*`` in a name matches any text.
        series: columns of a CSV file that hold a JSON list in a cell, ``[1.5, 2]`` or ``[[1, 2], [3, 4]]``;
            those that hold numbers alone stay as they are: one column a step. ``*`` as above.

    Raises:
        DataError: the file has another suffix, is not there, or cannot be read; a cell of ``series`` is no
            list of numbers.
        MissingExtraError: Parquet without pyarrow.
    """
    if is_url(str(path)):
        raise DataError(
            f"a table is a file on this machine; the URL {path} came, which is not fetched; save it"
        )
    path = Path(path).expanduser()
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"a table is a {', '.join(_READERS)} file; {path} came; convert it to one of these")
    if fault := file_fault(path):
        raise DataError(f"a table is a file that can be read; {path}: {fault}; check the path")
    try:
        table = reader(path, texts, series)
    except UnicodeDecodeError as error:
        raise DataError(
            f"a table is written in UTF-8; {path} is not ({error.reason}, byte {error.start}); save it so"
        ) from error
    except DataError:
        raise
    except (ValueError, csv.Error, pd.errors.ParserWarning) as error:  # ParserError is a ValueError
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path} could not be read as {path.suffix[1:]}: {reason}; mend the file") from error
    table.attrs["folder"] = os.path.abspath(path.parent)
    return table


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table of plain cells in the format of its suffix.

    Raises:
        DataError: the suffix is none of those that ``read`` knows.
        MissingExtraError: Parquet without pyarrow.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        _write_csv(table, path)
    elif suffix in (".jsonl", ".ndjson"):
        table.to_json(path, orient="records", lines=True, force_ascii=False)
    elif suffix == ".parquet":
        _need_pyarrow()
        table.to_parquet(path, index=False)
    else:
        raise DataError(f"a table is a {', '.join(_READERS)} file; {path} came; choose one of these")


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    """An empty text as ``""``, and an absent cell as nothing: pandas knows either way for some columns."""
    empty, absent = islice(_unused(table.to_csv(index=False)), 2)
    text = table.replace("", empty).to_csv(index=False, na_rep=absent)
    path.write_text(text.replace(empty, '""').replace(absent, ""), encoding="utf-8", newline="")


def _unused(text: str) -> Iterator[str]:
    """Characters that a text does not hold."""
    return (mark for mark in map(chr, range(0xE000, 0xF8FF)) if mark not in text)


def _read_csv(path: Path, texts: Collection[str], series: Collection[str]) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as file:  # line ends inside texts stay as they are
        text = file.read()
    names = next(csv.reader(StringIO(text, newline="")), [])
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(f"two columns are called {twice[0]!r}")
    empty = next(_unused(text))
    text = _QUOTED_FIELD.sub(lambda field: empty if field[0] == '""' else field[0], text)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with more fields than the header
        table = pd.read_csv(
            StringIO(text),
            keep_default_na=False,
            na_values=[""],
            dtype=dict.fromkeys(_named(names, texts), str),
            index_col=False,
            skip_blank_lines=len(names) > 1,  # in a single column, an empty line is an absent cell
            low_memory=False,
        )
    table = table.replace(empty, "")
    for name in _named(names, series):
        if not pd.api.types.is_numeric_dtype(table[name].dtype):
            table[name] = _listed(table[name])
    return table


def _named(names: Collection[str], wanted: Collection[str]) -> list[str]:
    """The names that are wanted, or match one that is."""
    patterns = [column_pattern(column) for column in wanted]
    return [name for name in names if any(pattern.fullmatch(name) for pattern in patterns)]


def _listed(column: pd.Series) -> pd.Series:
    """JSON lists in texts as arrays."""
    cells = column.to_numpy(dtype=object)
    for i in np.flatnonzero(column.notna()):
        try:
            cells[i] = _array(json.loads(cells[i]))
        except (ValueError, TypeError):
            raise DataError(
                "a cell of a series in a CSV file is a JSON list of numbers; "
                f"row {i}, column {column.name!r}, holds {cells[i][:60]!r}; "
                "write [1.5, 2] for steps of one number, [[1, 2], [3, 4]] of two"
            ) from None
    return pd.Series(cells, index=column.index, name=column.name, dtype=object)


def _read_lines(path: Path, *_: Any) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8-sig").split("\n")  # other line ends may stand in texts
    records = [_record(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    return with_arrays(pd.DataFrame(records))


def _record(number: int, line: str) -> dict[str, Any]:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError(f"line {number} is not an object")
    return record


def _read_parquet(path: Path, *_: Any) -> pd.DataFrame:
    _need_pyarrow()
    return with_arrays(pd.read_parquet(path))


def _need_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Parquet", "pyarrow", "parquet") from error


def with_arrays(table: pd.DataFrame) -> pd.DataFrame:
    """Cells that hold lists of numbers as arrays; other lists, such as tags, stay as they are."""
    for name in table:
        if table[name].dtype.kind == "O":
            table[name] = table[name].map(_as_array)
    return table


def _as_array(cell: Any) -> Any:
    if not isinstance(cell, list) and not (isinstance(cell, np.ndarray) and cell.dtype == object):
        return cell
    try:
        return _array(cell)
    except (ValueError, TypeError):
        return cell


def _array(cell: Any) -> np.ndarray:
    """A list of numbers and None, or of such lists of one length, as floats.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if not isinstance(cell, list | np.ndarray) or any(isinstance(part, str) for part in cell):
        raise TypeError("not a list of numbers")
    parts = [_array(part) if isinstance(part, list | np.ndarray) else part for part in cell]
    return np.array(parts, dtype=np.float64)


_READERS: dict[str, Callable[[Path, Collection[str], Collection[str]], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".parquet": _read_parquet,
}
