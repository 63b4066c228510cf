"""Files of a published set: what a text file holds, and whether the files that it names are there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polymodal.data.public.base import PublicSet
from polymodal.data.readers import Dataset
from polymodal.errors import DataError

N_NAMED = 5
"""So many missing files are named."""


def read_json(known: PublicSet, file: Path) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it is no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(_damaged(known, file, "JSON in UTF-8", error)) from error


def read_json_lines(known: PublicSet, file: Path) -> list[Any]:
    """What each line of a file holds, as JSON.

    Raises:
        DataError: a line is no JSON.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise DataError(_damaged(known, file, "one JSON object a line, in UTF-8", error)) from error


def read_csv(known: PublicSet, file: Path, names: Sequence[str], *, header: bool = True) -> pd.DataFrame:
    """Columns of a CSV as texts, an empty field as an empty one.

    Args:
        known: the set, for the error.
        file: the CSV.
        names: the columns; with no header, of all its columns.
        header: whether the first line names the columns.

    Raises:
        DataError: it is no CSV, or lacks a column.
    """
    try:
        table = pd.read_csv(
            file,
            header="infer" if header else None,
            names=None if header else list(names),
            dtype=str,
            keep_default_na=False,
            encoding="utf-8",
        )
    except ValueError as error:  # pandas' own errors and those of UTF-8
        raise DataError(_damaged(known, file, "a CSV in UTF-8", error)) from error
    fields(known, file, table, names)
    return table[list(names)]


def fields(known: PublicSet, file: Path, record: Any, names: Iterable[str]) -> list[Any]:
    """The values of a record, or the columns of a table, by name.

    Raises:
        DataError: one of them is missing.
    """
    held = record if isinstance(record, Mapping | pd.DataFrame) else ()
    lacks = [name for name in names if name not in held]
    if lacks:
        raise DataError(
            f"{file.name} of {known.name} holds {', '.join(names)}; {lacks[0]!r} is missing in {file}; get "
            f"it from {known.source}."
        )
    return [record[name] for name in names]


def paths(known: PublicSet, folder: Path, names: Sequence[str]) -> np.ndarray:
    """(n,) paths, one object for each file, all of them there.

    Raises:
        DataError: some are not; the first ones are named.
    """
    gone = missing(folder, names)
    if gone:
        raise DataError(
            f"{known.name} names files that lie in its folder; {len(gone):,} of {len(set(names)):,} are not "
            f"there, first {', '.join(gone[:N_NAMED])}; get them from {known.source}, and put them into "
            f"{folder}."
        )
    path_of = {name: folder / name for name in dict.fromkeys(names)}
    return column(path_of[name] for name in names)


def missing(folder: Path, names: Iterable[str]) -> list[str]:
    """Those that are not there. Each folder is listed once: asking file by file is slow for 100,000."""
    listed: dict[str, set[str]] = {}
    gone = []
    for name in dict.fromkeys(names):
        parent, _, leaf = name.rpartition("/")
        if parent not in listed:
            listed[parent] = set(os.listdir(folder / parent)) if (folder / parent).is_dir() else set()
        if leaf not in listed[parent]:
            gone.append(name)
    return gone


def column(cells: Iterable[Any]) -> np.ndarray:
    """(n,) cells of any type."""
    return np.fromiter(cells, dtype=object)


def consecutive(sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Parts whose rows follow each other."""
    ends = np.cumsum(list(sizes.values()))
    return {part: np.arange(end - n, end) for (part, n), end in zip(sizes.items(), ends, strict=True)}


def dataset(known: PublicSet, **own: Any) -> Dataset:
    """The data, beside what is known of the set.

    Args:
        known: the set.
        own: X, y, modalities, classes, groups and splits.
    """
    facts = ("name", "task", "metrics", "notes", "licence", "source", "citation")
    return Dataset(**{fact: getattr(known, fact) for fact in facts}, **own)


def _damaged(known: PublicSet, file: Path, kind: str, why: Exception) -> str:
    return f"{file.name} of {known.name} is {kind}; {file} is not ({why}); get it from {known.source}."
