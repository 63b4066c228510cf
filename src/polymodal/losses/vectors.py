"""Full precision, and vectors of unit length: the ground that the losses stand on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

NORM_FLOOR = 1e-6
"""A vector shorter than this is divided by it: a zero vector stays zero, and its gradient finite."""


def full_precision(x: Tensor) -> Tensor:
    """Half precisions to float32; float32 and float64 stay as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def unit(x: Tensor) -> Tensor:
    """Rows of unit length, (B, d) to (B, d)."""
    return F.normalize(full_precision(x), dim=-1, eps=NORM_FLOOR)
