"""Videos: their frames through an image encoder, pooled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polymodal.encoders.base import Encoded, Encoder, Kind, from_rows, settings_fingerprint


class Frames:
    """Videos -> the mean and the deviation of their frames' vectors, or the sequence of these vectors.

    Args:
        image_encoder: an encoder of images into vectors.
        output: ``"pooled"`` or ``"sequence"``.
    """

    def __init__(self, image_encoder: Encoder, output: str = "pooled") -> None:
        self.image_encoder = image_encoder
        self.output = output

    @property
    def kind(self) -> Kind:
        """A vector where pooled."""
        return "vector" if self.output == "pooled" else "series"

    @property
    def d_out(self) -> int:
        """Twice the image encoder's width where pooled."""
        return self.image_encoder.d_out * (2 if self.output == "pooled" else 1)

    def fingerprint(self) -> str | None:
        """The image encoder's, and how it is pooled."""
        image = self.image_encoder.fingerprint()
        return None if image is None else settings_fingerprint("frames", 1, image=image, output=self.output)

    def encode(self, cells: Sequence[list[Any]]) -> Encoded:
        """(n, 2 d) float32, or (n, T, d) with lengths."""
        encoded = self.image_encoder.encode([frame for frames in cells for frame in frames])
        parts = np.split(encoded.values, np.cumsum([len(frames) for frames in cells])[:-1])
        if self.output != "pooled":
            return from_rows(parts)
        return from_rows([np.concatenate([part.mean(axis=0), part.std(axis=0)]) for part in parts])
