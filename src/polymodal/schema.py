"""What a modality is: how its columns are named, and what an absent cell looks like.

Absent means: None, NaN or NaT in the only cell of a modality, or a block of cells that are all NaN.
An empty string is a text and is present.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from polymodal.errors import CheckpointError, SchemaError

Column = str | int
"""One column: its name, or its position in a 2-D array."""

Columns = str | int | Sequence[Column] | None
"""Column names or positions; a name may hold ``*`` (``"emb_*"``). None: the key named like the modality."""

Source = Literal["frame", "mapping", "array"]


@dataclass(frozen=True)
class Layout:
    """What the data door found behind a declaration in the training input; nobody else writes one.

    Attributes:
        source: what X was: a DataFrame, a mapping, or a 2-D array.
        width: D, numbers a row (Vector, Tabular: columns) or a step (Series).
        columns: the concrete columns, of X or of a mapping's table; empty where the values have no columns.
        categorical: those of ``columns`` that hold categories (Tabular alone).
        n_features: columns of the whole 2-D array; 0 for other sources.
    """

    source: Source
    width: int
    columns: tuple[Column, ...] = ()
    categorical: tuple[Column, ...] = ()
    n_features: int = 0


@dataclass(frozen=True)
class Vector:
    """Numbers that belong together: an embedding, a feature view.

    A row whose cells are all NaN lacks the modality. A row with some NaN is an error.

    Attributes:
        columns: numeric columns of a DataFrame, positions in a 2-D array, one column whose cells are 1-D
            arrays, or a key of a mapping whose value is (n, d); 1-D numbers count as (n, 1).
        layout: set by the data door.
    """

    columns: Columns = None
    layout: Layout | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True)
class Tabular:
    """Numeric and categorical columns that may have gaps of their own.

    A row whose cells are all missing lacks the modality. A row with some missing cells is present: the
    gaps are filled by the training part's medians, with an indicator for each column that had gaps there;
    a category not seen in training is a category of its own. Numbers and booleans are numeric; texts and
    the pandas dtype ``category`` are categories.

    Attributes:
        columns: columns of a DataFrame, positions in a 2-D array, or a key of a mapping whose value is a
            DataFrame or (n, d) array.
        layout: set by the data door.
    """

    columns: Columns = None
    layout: Layout | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True)
class Series:
    """A sequence a row: T steps of d numbers, T may differ from row to row.

    None, NaN, an empty sequence or a block all NaN lacks the modality. A row with some NaN is an error.

    Attributes:
        columns: one column whose cells are (T,) or (T, d) arrays, several columns whose cells are (T,)
            arrays of one length, or a key of a mapping whose value is (n, T, d) or a list of (T, d).
        layout: set by the data door.
    """

    columns: Columns = None
    layout: Layout | None = field(default=None, repr=False, kw_only=True)


Modality = Vector | Tabular | Series

KINDS: dict[str, type[Vector] | type[Tabular] | type[Series]] = {
    "Vector": Vector,
    "Tabular": Tabular,
    "Series": Series,
}


# ---- judging a declaration ---------------------------------------------------------------------------


def judge_declaration(modalities: object) -> dict[str, Modality]:
    """The declared modalities, each judged by itself.

    Raises:
        SchemaError: not a mapping, empty, a bad name, or something other than a modality.
    """
    if not isinstance(modalities, Mapping):
        raise SchemaError(
            "modalities must map names to Vector, Tabular or Series; "
            f"{type(modalities).__name__} came; write {{'name': Vector([...])}}"
        )
    if not modalities:
        raise SchemaError("modalities must name at least one modality; an empty mapping came; declare one")
    for name, modality in modalities.items():
        judge_name(name)
        if not isinstance(modality, Modality):
            way_out = f"write {modality.__name__}()" if modality in KINDS.values() else "use one of them"
            raise SchemaError(
                f"a modality is a Vector, Tabular or Series; {name!r} is {modality!r}; {way_out}"
            )
    return dict(modalities)


def judge_name(name: object) -> None:
    """Refuse a name that is no text, is empty, or holds the ``+`` that joins names of a subset."""
    if not isinstance(name, str) or not name or "+" in name:
        raise SchemaError(
            "a modality's name must be a text that is not empty and holds no '+', which joins the names of "
            f"a subset; {name!r} came; rename it"
        )


def column_tuple(name: str, modality: Modality) -> tuple[Column, ...] | None:
    """The declared columns as a tuple; None where the modality's own name is the column.

    Raises:
        SchemaError: no column, a column named twice, or something that is no column name.
    """
    columns = modality.columns
    if columns is None:
        return None
    listed = columns if isinstance(columns, Iterable) and not isinstance(columns, str) else (columns,)
    found = tuple(int(c) if isinstance(c, np.integer) else c for c in listed)
    for column in found:
        if not isinstance(column, str | int) or isinstance(column, bool):
            raise SchemaError(
                f"columns are names (text) or positions (integers); modality {name!r} names {column!r}; "
                "rename that column or give its position"
            )
    if not found:
        raise SchemaError(f"a modality needs at least one column; {name!r} names none; name one")
    repeated = next((c for i, c in enumerate(found) if c in found[:i]), None)
    if repeated is not None:
        raise SchemaError(f"a modality names each column once; {name!r} names {repeated!r} twice; remove one")
    return found


# ---- saved models ------------------------------------------------------------------------------------


def to_json(schema: Mapping[str, Modality]) -> list[dict[str, Any]]:
    """A bound schema as plain JSON, in the order of the modalities; the inverse of :func:`from_json`."""
    entries = []
    for name, modality in schema.items():
        columns = modality.columns
        assert modality.layout is not None, "only a bound schema is saved"
        entries.append(
            {
                "name": name,
                "kind": type(modality).__name__,
                "columns": columns if isinstance(columns, str) else list(columns or ()),  # type: ignore[arg-type]
                "layout": asdict(modality.layout),
            }
        )
    return entries


def from_json(entries: object) -> dict[str, Modality]:
    """The bound schema that :func:`to_json` wrote.

    Raises:
        CheckpointError: the entries are not what :func:`to_json` writes.
    """
    try:
        return {entry["name"]: _modality(entry) for entry in entries}  # type: ignore[attr-defined]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"a saved schema lists name, kind, columns and layout of each modality; it could not be read "
            f"({error!r}); save the model again"
        ) from error


def _modality(entry: Mapping[str, Any]) -> Modality:
    columns, layout = entry["columns"], dict(entry["layout"])
    for key in ("columns", "categorical"):
        layout[key] = _column_list(layout[key])
    if layout["source"] not in ("frame", "mapping", "array"):
        raise ValueError(f"unknown source {layout['source']!r}")
    judge_name(entry["name"])
    bound = columns if isinstance(columns, str) else _column_list(columns)
    return KINDS[entry["kind"]](bound, layout=Layout(**layout))


def _column_list(columns: Sequence[Any]) -> tuple[Column, ...]:
    if not isinstance(columns, list | tuple) or not all(isinstance(c, str | int) for c in columns):
        raise ValueError(f"columns {columns!r}")
    return tuple(columns)
