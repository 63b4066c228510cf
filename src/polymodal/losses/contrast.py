"""The soft positive-unlabelled contrast of the synergy space against the shared space of one modality.

Letters: B rows, d width, C classes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from polymodal.errors import ConfigError
from polymodal.losses.arrangement import Labels
from polymodal.losses.reference import Reference
from polymodal.losses.vectors import NORM_FLOOR, full_precision
from polymodal.losses.walk import Contrast
from polymodal.losses.weights import Weighting, checked


class ContrastTerms(NamedTuple):
    """The two parts of the soft positive-unlabelled contrast, 0-d each."""

    labelled: Tensor
    unlabelled: Tensor


def soft_pu_contrast(
    anchors: Tensor,
    targets: Tensor,
    classes: Tensor | None,
    labelled_mask: Tensor,
    *,
    temperature: float,
    weighting: Weighting,
    reference: Reference,
    label_sets: Tensor | None = None,
) -> ContrastTerms:
    """Soft positive-unlabelled contrast of S against Z_i (Robult, arXiv 2509.03477), L_lb and L_ulb.

    With l_ab = log softmax over b of (s_a . z_b / temperature) and pair weights W_ab, each part is the mean
    over its anchors a of -sum_b W_ab l_ab / sum_b W_ab, where

    - L_lb: a and b labelled; W_ab = 1 for the same class (a itself included), or the Jaccard index of
      the label sets;
    - L_ulb: at least one of a and b unlabelled; the same times :func:`pair_weights`; W_aa = 1.

    NOTE[DIFF]: an anchor counts by min(1, sum_b W_ab) in the mean. An unlabelled anchor therefore counts 1,
    and a labelled one fades out with the weights of its unlabelled positives; a plain mean would give a
    labelled anchor whose only positive weighs 1e-9 a full vote. With all weights of pseudo-labelled pairs 0,
    L_ulb is the cross-view InfoNCE of the unlabelled rows.

    Weights, labels and reference get no gradient. A part without anchors is a 0 with a gradient path.
    Computed in float32 (float64 if given) under any autocast.

    Args:
        anchors: (B, d) S.
        targets: (B, d) Z_i; pass only rows in which modality i is present.
        classes: (B,) int64, label where labelled, pseudo-label elsewhere; None with ``label_sets``.
        labelled_mask: (B,) bool.
        temperature: above 0.
        weighting: see :func:`pair_weights`.
        reference: distances of true positive pairs.
        label_sets: (B, C) 0/1 label and pseudo-label sets, in place of ``classes``.

    Raises:
        ConfigError: temperature or weighting out of range; both or neither of classes and label_sets; a
            second derivative asked for (``create_graph=True`` in the backward pass).
    """
    if not 0 < temperature < math.inf:
        raise ConfigError(
            f"temperature must be positive and finite; got {temperature}; take 0.3, for example"
        )
    settings = (temperature, checked(weighting), reference)
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, targets = full_precision(anchors), full_precision(targets)
        labels = Labels.arrange(classes, label_sets, labelled_mask, anchors.dtype)
        terms = _BlockContrast.apply(anchors, targets, labels, torch.is_grad_enabled(), *settings)
    return ContrastTerms(*terms)


class _BlockContrast(torch.autograd.Function):
    """Both parts; the gradient for unit vectors is formed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, targets: Tensor, labels: Labels, with_gradient: bool, *settings: Any
    ) -> tuple[Tensor, Tensor]:
        s, s_length = _unit_(anchors[labels.order])
        z, z_length = _unit_(targets[labels.order])
        contrast = Contrast(s, z, labels, *settings)
        contrast.run(with_gradient)
        parts = (contrast.labelled, contrast.unlabelled)
        n_anchors = [part.n_anchors() for part in parts]
        if with_gradient:
            gradients = [gradient for part in parts for gradient in (part.s_gradient, part.z_gradient)]
            ctx.save_for_backward(labels.order, s, s_length, z, z_length, *n_anchors, *gradients)
        labelled, unlabelled = (part.losses.sum() / n for part, n in zip(parts, n_anchors, strict=True))
        return labelled, unlabelled

    @staticmethod
    def backward(ctx: Any, labelled: Tensor, unlabelled: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise ConfigError(
                "the contrast has no second derivative; create_graph=True came to its backward pass; drop it"
            )
        order, s, s_length, z, z_length, n_labelled, n_unlabelled, *gradients = ctx.saved_tensors
        a, b = labelled / n_labelled, unlabelled / n_unlabelled
        s_gradient = (gradients[0] * a).addcmul_(gradients[2], b)
        z_gradient = (gradients[1] * a).addcmul_(gradients[3], b)
        outputs = (
            _through_unit_(s_gradient, s, s_length, order),
            _through_unit_(z_gradient, z, z_length, order),
        )
        return *outputs, None, None, None, None, None


def _unit_(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of ``x`` divided in place by their floored lengths, and those lengths (B, 1)."""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_(min=NORM_FLOOR)
    return x.div_(length), length


def _through_unit_(gradient: Tensor, unit: Tensor, length: Tensor, order: Tensor) -> Tensor:
    """A gradient for unit vectors, overwritten, as one for the vectors themselves in the batch's order."""
    along = torch.linalg.vecdot(gradient, unit).unsqueeze(1)
    along.masked_fill_(length <= NORM_FLOOR, 0)  # below the floor the map is linear
    gradient.addcmul_(unit, along, value=-1).div_(length)
    return torch.empty_like(gradient).index_copy_(0, order, gradient)
