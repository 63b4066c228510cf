"""What a modality is: how its columns are named, and what an absent cell looks like.

Absent means: None, NaN or NaT in the only cell of a modality, or a block of cells that are all NaN.
An empty string is a text and is present.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Columns = str | int | Sequence[str] | Sequence[int] | range | None
"""Column names or positions; a name may hold ``*`` (``"emb_*"``). None: the key named like the modality."""


@dataclass(frozen=True)
class Vector:
    """Numbers that belong together: an embedding, a feature view.

    A row whose cells are all NaN lacks the modality. A row with some NaN is an error.

    Attributes:
        columns: numeric columns of a DataFrame, positions in a 2-D array, one column whose cells are 1-D
            arrays, or a key of a mapping whose value is (n, d).
    """

    columns: Columns = None


@dataclass(frozen=True)
class Tabular:
    """Numeric and categorical columns that may have gaps of their own.

    A row whose cells are all missing lacks the modality. A row with some missing cells is present: the
    gaps are filled by the training part's medians, with an indicator for each column that had gaps there;
    a category not seen in training is a category of its own.

    Attributes:
        columns: columns of a DataFrame, positions in a 2-D array, or a key of a mapping whose value is a
            DataFrame or (n, d) array.
    """

    columns: Columns = None


@dataclass(frozen=True)
class Series:
    """A sequence a row: T steps of d numbers, T may differ from row to row.

    None, NaN, an empty sequence or a block all NaN lacks the modality. A row with some NaN is an error.

    Attributes:
        columns: one column whose cells are (T,) or (T, d) arrays, several columns whose cells are (T,)
            arrays of one length, or a key of a mapping whose value is (n, T, d) or a list of (T, d).
    """

    columns: Columns = None


Modality = Vector | Tabular | Series
