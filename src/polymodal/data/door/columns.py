"""Which columns, positions or key of an input a modality is made of: found, unique, of one modality alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from polymodal.errors import SchemaError
from polymodal.schema import Column, Modality, Source, column_pattern, column_tuple


def expand(X: Any, source: Source, name: str, modality: Modality) -> tuple[Column, ...]:
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
            f"mapping has {few(list(X))}; add it, or drop the modality"
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
    refuse_duplicates(available, found, name)
    return plain_names(found, name)


def _matches(column: Column, available: Sequence[Any], name: str) -> list[Any]:
    if column in available:
        return [column]
    if isinstance(column, str) and "*" in column:
        pattern = column_pattern(column)
        found = [c for c in available if isinstance(c, str) and pattern.fullmatch(c)]
        if found:
            return found
        raise SchemaError(
            f"a pattern must match a column; {column!r} of {name!r} matches none of {few(available)}; "
            "correct it"
        )
    by_position = isinstance(column, int) and not any(isinstance(c, int | np.integer) for c in available)
    if by_position and 0 <= column < len(available):  # type: ignore[operator]
        return [available[column]]  # type: ignore[index]
    raise SchemaError(
        f"each column of a modality must be in the training input; {name!r} needs {column!r} and the "
        f"DataFrame has {few(available)}; add it, or correct the name"
    )


def plain_names(columns: Iterable[Any], name: str) -> tuple[Column, ...]:
    """Column names as texts and integers, which can be written down."""
    names = tuple(int(c) if isinstance(c, np.integer) else c for c in columns)
    for column in names:
        if not isinstance(column, str | int):
            raise SchemaError(
                f"column names are texts or integers; {column!r} of modality {name!r} is "
                f"{type(column).__name__}; rename the columns"
            )
    return names


def refuse_duplicates(available: Sequence[Any], needed: Iterable[Any], name: str) -> None:
    """Refuse columns of a modality that are there more than once."""
    for column in needed:
        if available.count(column) > 1:
            raise SchemaError(
                f"column names must be unique; {column!r} of modality {name!r} is there "
                f"{available.count(column)} times; rename or drop the others"
            )


def refuse_shared(columns: Mapping[str, tuple[Column, ...]]) -> None:
    """Refuse a column of two modalities."""
    owner: dict[Column, str] = {}
    for name, own in columns.items():
        for column in own:
            if column in owner:
                raise SchemaError(
                    f"a column belongs to one modality; {column!r} is in {owner[column]!r} and {name!r}; "
                    "remove it from one, or copy it under another name"
                )
            owner[column] = name


def refuse_unknown(X: Mapping[str, Any], known: Mapping[Any, str]) -> None:
    """Refuse a key of a mapping that is no modality."""
    unknown = [key for key in X if key not in known]
    if unknown:
        raise SchemaError(
            f"a mapping's keys are modalities; {unknown[0]!r} is none of {list(known)}; "
            "correct the key, declare the modality, or remove it"
        )


def few(columns: Sequence[Any]) -> str:
    """A list of columns in few words."""
    shown = ", ".join(repr(c) for c in columns[:8])
    return shown + (f" and {len(columns) - 8} more" if len(columns) > 8 else "") or "no columns"
