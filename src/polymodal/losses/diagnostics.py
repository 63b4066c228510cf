"""Diagnostics that read the same spaces: how near pairs are, and how even a space is. Letter: B rows."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.losses.vectors import unit


@torch.no_grad()
def alignment(s: Tensor, z: Tensor) -> Tensor:
    """Mean squared distance of matching unit vectors, in [0, 4] (Wang & Isola 2020); NaN if B = 0."""
    return (unit(s) - unit(z)).square().sum(1).mean()


@torch.no_grad()
def uniformity(z: Tensor) -> Tensor:
    """Log of the mean of exp(-2 |z_a - z_b|^2) over pairs of unit vectors (Wang & Isola 2020); NaN if B < 2.

    0 means that all rows are one point; lower is more even. O(B^2) time and memory: pass a few thousand rows.
    """
    return torch.pdist(unit(z)).square().mul(-2).exp().mean().log()
