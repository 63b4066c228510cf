"""How far a latent is from what was rebuilt of it. Letters: B rows, d width."""

from __future__ import annotations

from torch import Tensor

from polymodal.losses.vectors import full_precision


def latent_reconstruction(reconstructed: Tensor, target: Tensor) -> Tensor:
    """L_rec: mean squared error of r_i(U_i, Z_i) (B, d) against H_i (B, d), which gets no gradient."""
    error = full_precision(reconstructed) - full_precision(target.detach())
    return error.square().sum() / max(error.numel(), 1)
