"""Conflict between modalities: one of them is swapped between rows of unlike classes.

In a swapped row one modality speaks of another class than the label and the other modalities do. Nothing is
made up and nothing goes missing: each cell is used once, so that what the modality looks like over all rows
stays the same. Letters: n rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from polymodal.data import door
from polymodal.errors import ConfigError, DataError

N_SWEEPS = 20
"""Rounds in which pairs of swapped rows change their donors; the first donors follow the order of classes."""


def donors(y: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The row whose cell each row gets: a permutation of the rows, never within a class.

    The swapped rows of one seed are nested over shares: those of 10 % are among those of 30 %. Which other
    class a donor is of is left to chance.

    Args:
        y: (n,) class codes, none of them hidden.
        share: of the rows that are swapped, within [0, 1]; of none or one row none is.
        seed: of the draw.

    Returns:
        (n,) int64 row numbers; its own number for a row that is left alone.

    Raises:
        ConfigError: a share out of range.
        DataError: a class has more than half of the rows that are to be swapped.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"the share of swapped rows lies within [0, 1]; {share} came; take 0.3, say")
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(y))[: round(share * len(y))]
    source = np.arange(len(y))
    if len(chosen) > 1:
        chosen = chosen[np.argsort(y[chosen], kind="stable")]
        largest = int(np.unique(y[chosen], return_counts=True)[1].max())
        if 2 * largest > len(chosen):
            raise DataError(
                f"rows are swapped with rows of other classes; {largest} of {len(chosen)} rows are of one "
                f"class; swap another share of them, or rows of more even classes"
            )
        # sorted by class, no row lies within its own class's length of a classmate that it could be moved to
        source[chosen] = _shuffled(y, chosen, np.roll(chosen, largest), random)
    return source


def _shuffled(y: np.ndarray, rows: np.ndarray, given: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(k,) donors of (k,) rows after sweeps of exchanges that leave every row a donor of another class."""
    given = given.copy()
    half = len(rows) // 2
    for _ in range(N_SWEEPS):
        order = random.permutation(len(rows))
        a, b = order[:half], order[half : 2 * half]
        apart = (y[given[b]] != y[rows[a]]) & (y[given[a]] != y[rows[b]])
        a, b = a[apart], b[apart]
        given[a], given[b] = given[b], given[a]
    return given


def swapped(X: Mapping[str, Any], name: str, source: np.ndarray) -> dict[str, Any]:
    """X with one modality's cells taken from other rows; a cell that is absent moves as absent.

    Args:
        X: modality -> cells of n rows.
        name: the modality that is swapped.
        source: (n,) row numbers, as :func:`donors` draws them.

    Raises:
        ConfigError: X has no modality of this name.
    """
    if name not in X:
        raise ConfigError(f"one of the modalities {list(X)} is swapped; {name!r} came; name one of them")
    return {**X, name: door.take(X[name], source)}
