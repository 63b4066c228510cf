"""Images without any download: gradients, colours and a thumbnail.

Histograms of oriented gradients: Dalal and Triggs (2005), "Histograms of oriented gradients for human
detection"; each cell is normalised by its four blocks as in Felzenszwalb et al. (2010), "Object detection
with discriminatively trained part-based models", section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from polymodal.encoders.base import Encoded, Kind, settings_fingerprint

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 64
"""Images are scaled to SIDE x SIDE pixels; their proportions are not kept."""

CELL = 8
N_ORIENTATIONS = 9
N_COLOURS = 4
"""Levels of each channel in the histogram of colours."""

THUMBNAIL = 8


class Descriptors:
    """Images -> vectors of 832 numbers: 576 gradients, 64 colours, 192 of an 8 x 8 thumbnail."""

    kind: Kind = "vector"
    d_out = (SIDE // CELL) ** 2 * N_ORIENTATIONS + N_COLOURS**3 + THUMBNAIL**2 * 3

    def fingerprint(self) -> str:
        """Name and version."""
        return settings_fingerprint("descriptors", 1)

    def encode(self, cells: Sequence[Image]) -> Encoded:
        """(n, 832) float32."""
        return Encoded(np.stack([_described(cell) for cell in cells]))


def _described(cell: Image) -> ndarray:
    from PIL.Image import Resampling

    pixels = np.asarray(cell.resize((SIDE, SIDE), Resampling.BOX), dtype=np.float32) / 255
    thumbnail = np.asarray(cell.resize((THUMBNAIL, THUMBNAIL), Resampling.BOX), dtype=np.float32) / 255
    grey = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.concatenate([gradients(grey).ravel(), colours(pixels), thumbnail.ravel()])


def gradients(grey: ndarray) -> ndarray:
    """Histograms of oriented gradients.

    Each pixel's gradient votes with its magnitude for the two orientations nearest to its own (in [0, pi))
    in its cell. A cell is divided by the norm of each of the four blocks of 2 x 2 cells around it, clipped at
    0.2, and averaged.

    Args:
        grey: (H, W) float32, H and W multiples of 8.

    Returns:
        (H / 8, W / 8, 9) float32.
    """
    dy, dx = np.gradient(grey)
    position = np.arctan2(dy, dx) % np.pi / np.pi * N_ORIENTATIONS
    low = np.floor(position)
    share = position - low
    size = np.hypot(dx, dy)
    votes = np.zeros((*grey.shape, N_ORIENTATIONS), dtype=np.float32)
    for weight, orientation in ((size * (1 - share), low), (size * share, low + 1)):
        index = (orientation.astype(np.int64) % N_ORIENTATIONS)[..., None]
        np.put_along_axis(votes, index, weight[..., None].astype(np.float32), axis=-1)
    rows, columns = grey.shape[0] // CELL, grey.shape[1] // CELL
    cells = votes.reshape(rows, CELL, columns, CELL, N_ORIENTATIONS).sum(axis=(1, 3))
    return _normalised(cells)


def _normalised(cells: ndarray) -> ndarray:
    energy = np.pad(np.square(cells).sum(axis=-1), 1)  # outside of the image there are no gradients
    blocks = energy[:-1, :-1] + energy[1:, :-1] + energy[:-1, 1:] + energy[1:, 1:]
    norms = np.sqrt(blocks) + 1e-3
    around = [norms[:-1, :-1], norms[1:, :-1], norms[:-1, 1:], norms[1:, 1:]]
    clipped = [np.minimum(cells / norm[..., None], 0.2) for norm in around]
    return np.asarray(sum(clipped) / len(clipped), dtype=np.float32)


def colours(pixels: ndarray) -> ndarray:
    """Square roots of the shares of 4 x 4 x 4 colours: (H, W, 3) in [0, 1] -> (64,) float32."""
    levels = np.minimum((pixels * N_COLOURS).astype(np.int64), N_COLOURS - 1).reshape(-1, 3)
    index = (levels[:, 0] * N_COLOURS + levels[:, 1]) * N_COLOURS + levels[:, 2]
    shares = np.bincount(index, minlength=N_COLOURS**3) / len(index)
    return np.sqrt(shares).astype(np.float32)
