"""What an encoder is: decoded cells in, one vector or one sequence a cell out.

Letters: n cells, T steps, d width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy import ndarray

Kind = Literal["vector", "series"]


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of n cells.

    Attributes:
        values: (n, d) float32, or (n, T, d) float32, zero after a sequence's end.
        lengths: (n,) int64 steps of each sequence; None for vectors.
    """

    values: ndarray
    lengths: ndarray | None = None

    @property
    def kind(self) -> Kind:
        """Whether the rows are vectors or sequences."""
        return "vector" if self.lengths is None else "series"

    def row(self, i: int) -> ndarray:
        """Row i: (d,) or (T_i, d)."""
        return self.values[i] if self.lengths is None else self.values[i, : self.lengths[i]]


@dataclass(frozen=True)
class Tuning:
    """What of a pretrained model is trained with the rest.

    Attributes:
        n_layers: how many of its last layers.
        lora_rank: rank of adapters that are trained in their stead; None for the layers themselves.
    """

    n_layers: int
    lora_rank: int | None = None


class Encoder(Protocol):
    """Decoded cells -> vectors or sequences; no row's output depends on another row.

    A decoded cell is a text (``str``), an RGB image (``PIL.Image.Image``), a sound ((T,) float32 mono and
    its rate in Hz), or a video (a list of RGB images). None is ever absent or damaged.
    """

    @property
    def kind(self) -> Kind:
        """Whether a cell becomes a vector or a sequence."""

    @property
    def d_out(self) -> int:
        """Width of a vector, or of a step."""

    def fingerprint(self) -> str | None:
        """Text that differs wherever an output may differ; None keeps the output out of every cache."""

    def encode(self, cells: Sequence[Any]) -> Encoded:
        """Encode at least one decoded cell."""


class LearningEncoder(Encoder, Protocol):
    """An encoder that learns from the cells of the training part; its output is never cached."""

    def fit(self, cells: Sequence[Any]) -> LearningEncoder:
        """Learn from decoded cells."""

    def state(self) -> tuple[dict[str, Any], dict[str, ndarray]]:
        """What was learnt, as plain JSON and as arrays."""

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> LearningEncoder:
        """The inverse of :meth:`state`."""


def learns(encoder: Any) -> bool:
    """Whether an encoder has to be fitted first."""
    return hasattr(type(encoder), "from_state")


def from_rows(rows: Sequence[ndarray]) -> Encoded:
    """Rows of shape (d,), or of shape (T_i, d) each, as one array; sequences are padded with zeros."""
    if rows[0].ndim == 1:
        return Encoded(np.stack(rows).astype(np.float32, copy=False))
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    values = np.zeros((len(rows), int(lengths.max()), rows[0].shape[1]), dtype=np.float32)
    for i, row in enumerate(rows):
        values[i, : len(row)] = row
    return Encoded(values, lengths)


def settings_fingerprint(name: str, version: int, **settings: Any) -> str:
    """SHA-256 of an encoder's name, the version of its arithmetic, and its settings."""
    text = json.dumps([name, version, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
