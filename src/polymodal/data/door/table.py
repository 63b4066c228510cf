"""What comes through the door: validated cells of every modality, with presence.

Letters: n rows, M modalities, d width, T steps; of a Tabular's columns k are numeric and c categorical.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from polymodal.schema import Modality


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
