"""Canonical components, linear and of a kernel, as tensors.

A component counts by the square of its correlation (Gong et al., A Multi-View Embedding Space for Modeling
Internet Images, Tags, and their Semantics, IJCV 2014). The kernel is Gaussian, by random features (Rahimi and
Recht, Random Features for Large-Scale Kernel Machines, NIPS 2007; Lopez-Paz et al., Randomized Nonlinear
Component Analysis, ICML 2014).

Letters: n rows, M modalities, d width, R random features, k components.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.methods.floors.retrieval import canonical_projections
from polymodal.methods.floors.views import Views

N_COMPONENTS = 128
"""k; components beyond those that the data have are zeros."""
RIDGE = 1.0
"""Added to each covariance, as a share of its mean variance."""
POWER = 2
"""The power of its correlation by which a component counts."""
N_FEATURES = 512
"""R of each modality."""
SCALE = 0.5
"""Of the frequencies: 1 makes the kernel of two unlike rows about e^-1."""


class RandomFeatures(nn.Module):
    """Cosines of random directions: inner products are about those of a Gaussian kernel."""

    frequency: Tensor
    phase: Tensor

    def __init__(self, d: int) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.zeros(d, N_FEATURES))
        self.register_buffer("phase", torch.zeros(N_FEATURES))

    def draw(self, random: np.random.Generator) -> None:
        """New directions."""
        d = len(self.frequency)
        frequency = random.normal(size=(d, N_FEATURES)) * SCALE / math.sqrt(d)
        self.frequency.copy_(torch.from_numpy(frequency))
        self.phase.copy_(torch.from_numpy(random.uniform(0, 2 * math.pi, N_FEATURES)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, d) standardised columns to (B, R)."""
        return (x @ self.frequency + self.phase).cos()


class Components(nn.Module):
    """The canonical components of each modality.

    Args:
        widths: d of each modality.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        for m, d in enumerate(widths):
            self.register_buffer(f"centre_{m}", torch.zeros(d))
            self.register_buffer(f"projection_{m}", torch.zeros(d, N_COMPONENTS))

    def learn(self, values: Sequence[np.ndarray], presence: np.ndarray) -> None:
        """Learn from rows.

        Args:
            values: of each modality (n, d).
            presence: (n, M) bool; some rows have two modalities.
        """
        centred = {}
        for m, (x, here) in enumerate(zip(values, presence.T, strict=True)):
            centre = x[here].mean(axis=0) if here.any() else np.zeros(x.shape[1])
            centred[str(m)] = np.where(here[:, None], x - centre, 0.0)
            getattr(self, f"centre_{m}").copy_(torch.from_numpy(centre))
        projections, correlations = canonical_projections(Views(centred, presence), ridge=RIDGE)
        counted = correlations[:N_COMPONENTS] ** POWER
        for m in range(len(values)):
            projection = getattr(self, f"projection_{m}").zero_()
            learnt = projections[str(m)][:, :N_COMPONENTS] * counted
            projection[:, : learnt.shape[1]] = torch.from_numpy(learnt)

    def forward(self, x: Tensor, m: int) -> Tensor:
        """(B, d) of modality m to (B, k), of any length."""
        return (x - getattr(self, f"centre_{m}")) @ getattr(self, f"projection_{m}")


__all__ = ["Components", "RandomFeatures"]
