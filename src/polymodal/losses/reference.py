"""Distances of true positive pairs, and what is kept of them: the yardstick for pseudo-labelled ones.

Letters: B rows, d width, C classes, K reference distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from polymodal.losses.affinity import Jaccard, check_one
from polymodal.losses.vectors import full_precision, unit


@dataclass(frozen=True, eq=False)
class Reference:
    """Distances of true positive pairs, the yardstick for pairs that share only a pseudo-label.

    NOTE[DIFF]: the paper fits a Gaussian and says nothing of few pairs. Our standard deviation is never below
    ``MIN_STD``; with one distance it is ``FALLBACK_STD``; with none the mean is 0 too: only near pairs count.

    Attributes:
        mean: 0-d, mean distance.
        variance: 0-d, variance of the distances (divided by K).
        quantile_25: 0-d, their 25th percentile.
        samples: (K,) the distances themselves, for the kernel density.
    """

    MIN_STD = 0.05
    FALLBACK_STD = 0.5
    N_TABLE = 257

    mean: Tensor
    variance: Tensor
    quantile_25: Tensor
    samples: Tensor

    @classmethod
    def from_distances(cls, distances: Tensor) -> Reference:
        """Summarise (K,) distances in [0, 2]; K may be 0."""
        samples = full_precision(distances.detach())
        if len(samples) == 0:
            zero = samples.new_zeros(())
            return cls(zero, zero + cls.FALLBACK_STD**2, zero, samples)
        mean = samples.mean()
        std = samples.std(unbiased=False) if len(samples) > 1 else torch.full_like(mean, cls.FALLBACK_STD)
        return cls(mean, std.clamp(min=cls.MIN_STD).square(), samples.quantile(0.25), samples)

    @cached_property
    def density_table(self) -> Tensor:
        """(N_TABLE,) kernel density on a grid over [0, 2], as a share of its maximum; Silverman's width."""
        few = len(self.samples) < 2
        centres = self.mean.reshape(1) if few else self.samples
        width = self.variance.sqrt() * (1.0 if few else 1.06 * len(centres) ** -0.2)
        grid = torch.linspace(0.0, 2.0, self.N_TABLE, dtype=centres.dtype, device=centres.device)
        exponent = -0.5 * ((grid.unsqueeze(1) - centres) / width).square()
        log_density = exponent.logsumexp(dim=1)  # finite even where the density itself underflows
        return (log_density - log_density.max()).exp()


@torch.no_grad()
def reference_distances(
    anchors: Tensor,
    targets: Tensor,
    classes: Tensor | None,
    labelled_mask: Tensor,
    *,
    limit: int,
    label_sets: Tensor | None = None,
) -> Tensor:
    """Distances between the unit vectors of true positive pairs: both rows labelled, the same class.

    A row's own pair is left out, since it is never weighed. With ``label_sets`` a pair is positive if it
    shares at least half of its labels (Jaccard >= 1/2). The choice is deterministic: at most 512 labelled
    rows, then at most ``limit`` of their pairs, both evenly spaced.

    Args:
        anchors: (B, d) S.
        targets: (B, d) Z_i.
        classes: (B,) int64, read where labelled; None with ``label_sets``.
        labelled_mask: (B,) bool.
        limit: the largest number of distances returned.
        label_sets: (B, C) 0/1, in place of ``classes``.

    Returns:
        (K,) distances in [0, 2], K <= limit, detached.
    """
    check_one(classes, label_sets)
    rows = _evenly_spaced(labelled_mask.nonzero().squeeze(1), 512)
    with torch.autocast(anchors.device.type, enabled=False):
        cosine = unit(anchors[rows]) @ unit(targets[rows]).T
    if classes is not None:
        positive = classes[rows, None] == classes[rows]
    else:
        assert label_sets is not None
        everything = slice(0, len(rows))
        jaccard = Jaccard(label_sets[rows].to(cosine.dtype))
        positive = jaccard.fill(torch.empty_like(cosine), everything, everything) >= 0.5
    positive.fill_diagonal_(False)
    chosen = _evenly_spaced(positive.flatten().nonzero().squeeze(1), limit)
    return (2 - 2 * cosine.flatten()[chosen]).clamp(min=0).sqrt()


def _evenly_spaced(items: Tensor, limit: int) -> Tensor:
    """At most ``limit`` of the (n,) items, evenly spaced."""
    if len(items) <= limit:
        return items
    return items[torch.arange(limit, device=items.device) * len(items) // limit]
