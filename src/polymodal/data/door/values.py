"""The raw value of one modality in an input, whatever the form: a mapping's value, or columns."""

from __future__ import annotations

from typing import Any

from polymodal.data.door.columns import few, refuse_duplicates
from polymodal.errors import SchemaError
from polymodal.schema import Column, Modality, Source, Tabular


def present_value(X: Any, source: Source, name: str, modality: Modality) -> Any:
    """The raw value of a modality; None where X lacks all of it."""
    columns: Any = modality.columns
    if source == "mapping":
        return X.get(columns)
    if source == "array":
        return X[:, _as_slice(columns)]
    if not X.columns.is_unique:
        refuse_duplicates(list(X.columns), columns, name)
        X = X.loc[:, ~X.columns.duplicated()]
    positions = X.columns.get_indexer(list(columns))
    if positions.max() < 0:
        return None
    if positions.min() < 0:
        missing = [column for column, position in zip(columns, positions, strict=True) if position < 0]
        raise SchemaError(
            f"a modality comes with all its columns or none; {name!r} lacks {few(missing)}; "
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
