"""Supervised losses, by kind of task; what does not count is left out. Letters: N predictions, C classes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.losses.vectors import full_precision


def supervised_multiclass(logits: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """L_sup: mean cross-entropy over counted rows.

    Args:
        logits: (N, C).
        y: (N,) int64 classes, read where counted.
        mask: (N,) bool, which rows count; with none the loss is a 0 with a gradient path.
    """
    total = F.cross_entropy(full_precision(logits)[mask], y[mask], reduction="sum")
    return total / mask.sum().clamp(min=1)


def supervised_multilabel(logits: Tensor, y: Tensor) -> Tensor:
    """L_sup: mean binary cross-entropy over counted entries.

    Args:
        logits: (N, C).
        y: (N, C) 0/1, NaN for an entry that does not count; all NaN gives a 0 with a gradient path.
    """
    counted = ~y.isnan()
    chosen = full_precision(logits)[counted]
    total = F.binary_cross_entropy_with_logits(chosen, y[counted].to(chosen.dtype), reduction="sum")
    return total / counted.sum().clamp(min=1)


def supervised_regression(value: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """L_sup: mean squared error over counted rows.

    Args:
        value: (N, 1).
        y: (N,) in the units of ``value``, read where counted.
        mask: (N,) bool, which rows count; with none the loss is a 0 with a gradient path.
    """
    chosen = full_precision(value).squeeze(1)[mask]
    return (chosen - y[mask].to(chosen.dtype)).square().sum() / mask.sum().clamp(min=1)
