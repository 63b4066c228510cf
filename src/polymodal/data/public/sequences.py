"""Sequences as they are published, padded to one length -> what was recorded.

Published files hold (n, T, D) arrays in which a shorter sequence is filled up with steps of zeros: behind it
where lengths are given beside it, before it in MulT's files.

NOTE[DIFF]: the sets' own loaders train on the padded arrays; here padding goes, and a row of which nothing is
left lacks the modality (a face that was never found, say). They replace -inf in audio by 0; here every value
that is not finite becomes 0, which is what they do with NaN after averaging.

Letters: n rows, T steps, D width.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from polymodal.data.public import files


def unpadded(values: np.ndarray) -> np.ndarray:
    """Without the steps of zeros before and behind each sequence.

    Args:
        values: (n, T, D).

    Returns:
        (n,) cells: (T_i, D) float32, which keep no padded row alive, or None where there are zeros alone.
    """
    return files.column(_between_zeros(_finite(row)) for row in values)


def first_steps(values: np.ndarray, lengths: Iterable[int]) -> np.ndarray:
    """The first steps of each sequence, whatever lies behind them.

    Args:
        values: (n, T, D).
        lengths: of each row.

    Returns:
        As :func:`unpadded`.
    """
    return files.column(_first(_finite(row), int(n)) for row, n in zip(values, lengths, strict=True))


def counted_steps(values: np.ndarray, lengths: Iterable[int]) -> np.ndarray:
    """The first steps of each sequence, where only zeros lie behind them.

    MMSA counts up to the first step of zeros, which may lie in the midst of a sequence or be its first, and
    at least 1. A row with something else behind its length is cut as by :func:`unpadded`.

    Args:
        values: (n, T, D).
        lengths: of each row.

    Returns:
        As :func:`unpadded`.
    """
    return files.column(_counted(_finite(row), int(n)) for row, n in zip(values, lengths, strict=True))


def _counted(row: np.ndarray, length: int) -> np.ndarray | None:
    return _between_zeros(row) if row[length:].any() else _first(row, length)


def _first(row: np.ndarray, length: int) -> np.ndarray | None:
    return row[:length].copy() if row[:length].any() else None


def _between_zeros(row: np.ndarray) -> np.ndarray | None:
    steps = np.flatnonzero(row.any(axis=1))
    return row[steps[0] : steps[-1] + 1].copy() if len(steps) else None


def _finite(row: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(row), row, 0.0).astype(np.float32)
