"""Weights of pseudo-labelled pairs: how far each is trusted, from the distance of its vectors."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from polymodal.errors import ConfigError
from polymodal.losses.reference import Reference
from polymodal.losses.vectors import full_precision

Weighting = Literal["rbf", "rbf_one_sided", "l1", "l2", "hard", "none", "density"]
"""How far a pair that shares only a pseudo-label is trusted; see :func:`pair_weights`."""


def pair_weights(distance: Tensor, weighting: Weighting, reference: Reference) -> Tensor:
    """How far pairs that share a pseudo-label are trusted, from the distance of their unit vectors.

    - ``rbf``: exp(-(d - mean)^2 / (2 variance)).
    - ``rbf_one_sided``: exp(-max(0, d - q25)^2 / (2 variance)): a near pair is not punished for being near.
    - ``l1``: 1 - d / 2; ``l2``: 1 - d^2 / 4: falling from 1 at d = 0 to 0 at d = 2, without a reference.
    - ``hard``: 1, pseudo-labels taken as they are; ``none``: 0, no pseudo-labelled pair counts.
    - ``density``: the reference's kernel density at d, as a share of its maximum.

    NOTE[DIFF]: the paper names RBF, L1 and L2 weights and gives no formula; all forms here are ours.

    Args:
        distance: any shape, in [0, 2].
        weighting: the name of the form.
        reference: distances of true positive pairs.

    Returns:
        Weights in [0, 1], the shape of ``distance``, detached.
    """
    return weigh_(full_precision(distance.detach()).clone(), checked(weighting), reference)


def checked(weighting: str) -> str:
    """The name itself, where it is a known one."""
    names = get_args(Weighting)
    if weighting not in names:
        raise ConfigError(
            f"weighting must be a known name; got {weighting!r}; take one of {', '.join(names)}"
        )
    return weighting


def weigh_(distance: Tensor, weighting: str, reference: Reference) -> Tensor:
    """:func:`pair_weights` in place."""
    if weighting == "rbf":
        return distance.sub_(reference.mean).square_().mul_(-0.5 / reference.variance).exp_()
    if weighting == "rbf_one_sided":
        excess = distance.sub_(reference.quantile_25).clamp_(min=0)
        return excess.square_().mul_(-0.5 / reference.variance).exp_()
    if weighting == "l1":
        return distance.mul_(-0.5).add_(1).clamp_(0, 1)
    if weighting == "l2":
        return distance.square_().mul_(-0.25).add_(1).clamp_(0, 1)
    if weighting == "density":
        return _interpolate_(distance, reference.density_table)
    return distance.fill_(1.0 if weighting == "hard" else 0.0)


def _interpolate_(distance: Tensor, table: Tensor) -> Tensor:
    """Read a table over [0, 2] between its points, in place."""
    position = distance.mul_((len(table) - 1) / 2).clamp_(0, len(table) - 1)
    left = position.long().clamp_(max=len(table) - 2)
    table = table.to(distance)
    return torch.lerp(table[left], table[left + 1], position.sub_(left), out=distance)
