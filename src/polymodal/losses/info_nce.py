"""InfoNCE: two views of a row find each other among all rows. Letters: N rows, d width."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.losses.vectors import unit


def symmetric_info_nce(
    a: Tensor, b: Tensor, *, temperature: float | Tensor, positives: Tensor | None = None
) -> Tensor:
    """InfoNCE between two views of the same rows, in both directions, and their mean.

    Args:
        a: (N, d), any length of rows.
        b: (N, d); row i of both is the pair, all others are negatives.
        temperature: of the cosines.
        positives: (N, N) bool, symmetric and True on the diagonal: which rows are no negatives of each other
            but pairs as well; the loss of a row is the mean over its positives.

    Returns:
        A scalar; fewer than 2 rows have no negatives: 0 with a gradient path.
    """
    logits = unit(a) @ unit(b).T / temperature
    if len(logits) < 2:
        return 0 * logits.sum()
    if positives is None:
        own = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    target = positives.to(logits.dtype) / positives.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
