"""Files of rows: CSV, JSON lines and Parquet, read into a DataFrame, and written.

In a CSV file an unquoted empty field is absent and nothing else is: ``NA``, ``None`` and ``nan`` are texts,
and ``""`` is an empty text. In JSON lines, null or a missing key is absent; lists become arrays.

A table remembers the folder of its file in ``attrs["folder"]``: relative paths in its cells begin there.
"""

from __future__ import annotations

import csv
import json
import os
import re
import warnings
from collections.abc import Callable, Collection
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polymodal.errors import DataError, MissingExtraError

_QUOTED_FIELD = re.compile(r'(?<![^,\r\n])"[^"]*(?:""[^"]*)*"')
"""A whole quoted field of a CSV file; searched from left to right, so never one inside another."""


def read(path: str | Path, *, texts: Collection[str] = ()) -> pd.DataFrame:
    """Read ``.csv``, ``.jsonl`` (or ``.ndjson``) or ``.parquet``.

    Args:
        path: the file.
        texts: columns of a CSV file whose cells stay as they are written: ``1984`` and ``007`` may be titles.

    Raises:
        DataError: the file has another suffix, is not there, or cannot be read.
        MissingExtraError: Parquet without pyarrow.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"a table is a {', '.join(_READERS)} file; {path} came; convert it to one of these")
    if not path.is_file():
        raise DataError(f"a table is a file; there is none at {path}; check the path")
    try:
        table = reader(path, texts)
    except (ValueError, pd.errors.ParserWarning) as error:  # ParserError is a ValueError
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
        table.to_csv(path, index=False)
    elif suffix in (".jsonl", ".ndjson"):
        table.to_json(path, orient="records", lines=True, force_ascii=False)
    elif suffix == ".parquet":
        _need_pyarrow()
        table.to_parquet(path, index=False)
    else:
        raise DataError(f"a table is a {', '.join(_READERS)} file; {path} came; choose one of these")


def _read_csv(path: Path, texts: Collection[str]) -> pd.DataFrame:
    text = path.read_text(encoding="utf-8-sig")
    names = next(csv.reader(StringIO(text)), [])
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(f"two columns are called {twice[0]!r}")
    empty = next(mark for mark in map(chr, range(0xE000, 0xF8FF)) if mark not in text)
    text = _QUOTED_FIELD.sub(lambda field: empty if field[0] == '""' else field[0], text)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with more fields than the header
        table = pd.read_csv(
            StringIO(text),
            keep_default_na=False,
            na_values=[""],
            dtype={name: str for name in texts if name in names},
            index_col=False,
            skip_blank_lines=len(names) > 1,  # in a single column, an empty line is an absent cell
            low_memory=False,
        )
    return table.replace(empty, "")


def _read_lines(path: Path, _: Collection[str]) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8").splitlines()
    records = [_record(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    return _with_arrays(pd.DataFrame(records))


def _record(number: int, line: str) -> dict[str, Any]:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError(f"line {number} is not an object")
    return record


def _read_parquet(path: Path, _: Collection[str]) -> pd.DataFrame:
    _need_pyarrow()
    return _with_arrays(pd.read_parquet(path))


def _need_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Parquet", "pyarrow", "parquet") from error


def _with_arrays(table: pd.DataFrame) -> pd.DataFrame:
    """Cells that hold lists as arrays of numbers."""
    for name in table:
        if table[name].dtype.kind == "O":
            table[name] = table[name].map(_as_array)
    return table


def _as_array(cell: Any) -> Any:
    if isinstance(cell, list) or (isinstance(cell, np.ndarray) and cell.dtype == object):
        return np.array([_as_array(part) for part in cell], dtype=np.float64)
    return cell


_READERS: dict[str, Callable[[Path, Collection[str]], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".parquet": _read_parquet,
}
