"""The committee's pool: members' scores of one row, for any part of its modalities, as one prediction.

A score is a log probability of a class, a log odds of a label, or a standardised value. A modality's opinion
is a weighted geometric mean of its members' probabilities, tempered:

    o_m = exp(t_m) sum_e v_e score_e,    v_e = exp(theta_e) / sum over the modality's members of exp(theta).

The pool of a subset S of modalities is o_m itself where m is alone, else

    z_S = |S|^a0 exp(a1) sum_m w_m o_m,    w_m = exp(alpha_m) / sum over S of exp(alpha).

a0 is 0 where they all say the same, 1 where they are independent. Of values, exp(t) below 1 draws towards the
mean. Where |S| is 2 or more, c times what pairs of modalities tell only together (:mod:`.interactions`) is
added, and a joint member, which reads all of S at once, is mixed in.

What a modality says alone is learnt from itself alone, the fusion after it: a weak modality is then as good
as its own model, whatever the others make of it.

Letters: n rows, M modalities, E members, C outputs, S subsets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.batch import TaskKind

Heard = Callable[[Tensor, Tensor], Tensor]
"""From (..., C) scores and a (..., M) presence to scores."""

MAX_SUBSETS = 31
PRIOR_ROWS = 0.25
"""How many rows the prior of a weight counts as; that of the other numbers counts as one."""


@dataclass(frozen=True)
class Weights:
    """What a pool has learnt.

    Attributes:
        theta: (M, E / M) the members' log weights, within their modality.
        temper: (M,): t, by which a modality's opinion is sharpened.
        alpha: (M,) the modalities' log weights.
        sharpness: (2,): a0 and a1.
        joint: (2,): b0 and b1, by which the pool's and the joint member's scores are mixed.
        crossing: (1,): c, how much of what pairs tell together is added.
    """

    theta: Tensor
    temper: Tensor
    alpha: Tensor
    sharpness: Tensor
    joint: Tensor
    crossing: Tensor

    @classmethod
    def start(cls, n_modalities: int, n_members: int, kind: TaskKind) -> Weights:
        """Equal weights, modalities half independent, no joint member; values are not sharpened.

        Args:
            n_modalities: M.
            n_members: of each modality.
            kind: the task kind.
        """
        exponent = 0.0 if kind == "regression" else 0.5
        return cls(
            torch.zeros(n_modalities, n_members),
            torch.zeros(n_modalities),
            torch.zeros(n_modalities),
            torch.tensor([exponent, 0.0]),
            torch.tensor([1.0, 0.0]),
            torch.zeros(1),
        )


def opinions(scores: Tensor, presence: Tensor, weights: Weights) -> Tensor:
    """o_m of every row: what each modality says alone.

    Args:
        scores: (n, E, C), modality by modality; never read where the modality is absent.
        presence: (n, M) bool.
        weights: of the pool.

    Returns:
        (n, M, C); zeros where absent.
    """
    zero = torch.zeros((), dtype=scores.dtype, device=scores.device)
    by_modality = scores.unflatten(1, weights.theta.shape)
    known = torch.where(presence[:, :, None, None], by_modality, zero)
    gain = weights.theta.softmax(dim=1) * weights.temper.exp().unsqueeze(1)
    return (gain.unsqueeze(2) * known).sum(dim=2)


def pooled(said: Tensor, present: Tensor, weights: Weights) -> Tensor:
    """z_S of every row for each of its S.

    Args:
        said: (n, M, C) of :func:`opinions`.
        present: (n, S, M) bool: what the row has of S.
        weights: of the pool.

    Returns:
        (n, S, C); zeros where a row has nothing of S.
    """
    zero = torch.zeros((), dtype=said.dtype, device=said.device)
    share = torch.where(present, (weights.alpha - weights.alpha.max()).exp(), zero)
    share = share / share.sum(dim=2, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
    n_present = present.sum(dim=2).clamp(min=1)
    a0, a1 = weights.sharpness
    sharper = torch.where(n_present > 1, n_present**a0 * a1.exp(), torch.ones_like(a0))
    return share @ said * sharper.unsqueeze(2)


def mixed(z: Tensor, joint: Tensor, n_present: Tensor, weights: Weights) -> Tensor:
    """b0 z_S + b1 (the joint member's score) where |S| is 2 or more.

    Args:
        z: (n, S, C).
        joint: (n, S, C).
        n_present: (n, S).
        weights: of the pool.
    """
    b0, b1 = weights.joint
    return torch.where((n_present > 1).unsqueeze(2), b0 * z + b1 * joint, z)


def fused(
    said: Tensor, present: Tensor, weights: Weights, crossed: Tensor | None, joint: Tensor | None
) -> Tensor:
    """The pool's scores with all members that there are: z_S, products of two modalities, the joint member.

    Args:
        said: (n, M, C) of :func:`opinions`.
        present: (n, S, M) bool: what the row has of S.
        weights: of the pool.
        crossed: (n, S, C) of what pairs tell together; None without.
        joint: (n, S, C) scores of the joint member; None without one.

    Returns:
        (n, S, C).
    """
    z = pooled(said, present, weights)
    z = z if crossed is None else z + weights.crossing * crossed
    return z if joint is None else mixed(z, joint, present.sum(dim=2), weights)


def loss_of(z: Tensor, target: Tensor, kind: TaskKind) -> Tensor:
    """Log loss of a class, mean log loss of the known labels, or half the squared error.

    Args:
        z: (..., C) scores.
        target: (..., C), NaN where a label is masked.
        kind: the task kind.

    Returns:
        (...).
    """
    if kind == "multiclass":
        return -(target * z.log_softmax(dim=-1)).sum(dim=-1)
    known = ~target.isnan()
    target = torch.where(known, target, torch.zeros_like(target))
    if kind == "multilabel":
        losses = F.binary_cross_entropy_with_logits(z, target.expand_as(z), reduction="none")
    else:
        losses = (z - target).square() / 2
    return torch.where(known, losses, torch.zeros_like(losses)).sum(dim=-1) / known.sum(dim=-1).clamp(min=1)


def error_of(z: Tensor, target: Tensor, kind: TaskKind) -> Tensor:
    """Squared error of the shares of classes or known labels (Brier's score), or half that of a value.

    Bounded for classes and labels: a few rows of which a model is sure and wrong do not outweigh all others.

    Args:
        z: (..., C) scores.
        target: (..., C), NaN where a label is masked.
        kind: the task kind.

    Returns:
        (...).
    """
    if kind == "regression":
        return loss_of(z, target, kind)
    if kind == "multiclass":
        return (z.softmax(dim=-1) - target).square().sum(dim=-1)
    known = ~target.isnan()
    errors = torch.where(known, z.sigmoid() - torch.where(known, target, 0.0), 0.0).square()
    return errors.sum(dim=-1) / known.sum(dim=-1).clamp(min=1)


# ---- learning ----------------------------------------------------------------------------------------------


def chosen_subsets(n_modalities: int, random: np.random.Generator) -> Tensor:
    """(S, M) bool, all modalities last: every combination, or when many the single ones and others drawn."""
    if 2**n_modalities - 1 <= MAX_SUBSETS:
        sizes = range(1, n_modalities + 1)
        chosen = [set(c) for size in sizes for c in combinations(range(n_modalities), size)]
        return torch.tensor([[m in c for m in range(n_modalities)] for c in chosen])
    single, together = np.eye(n_modalities, dtype=bool), np.ones((1, n_modalities), dtype=bool)
    n_more = max(0, MAX_SUBSETS - n_modalities - 1)
    # the size is uniform, so that few and many modalities are met alike
    order = random.random((n_more, n_modalities)).argsort(axis=1).argsort(axis=1)
    drawn = order < random.integers(2, n_modalities, (n_more, 1))
    return torch.from_numpy(np.concatenate([single, drawn, together]))


@dataclass(frozen=True)
class Judged:
    """Out-of-fold scores of labelled rows, for every combination of modalities.

    Attributes:
        scores: (n, E, C).
        joint: (n, S, C) scores of the joint member for each S; None without one.
        target: (n, C).
        presence: (n, M) bool.
        subsets: (S, M) bool.
        kind: the task kind.
        crossed: (n, S, C) of what pairs tell together; None where nothing was found.
    """

    scores: Tensor
    joint: Tensor | None
    target: Tensor
    presence: Tensor
    subsets: Tensor
    kind: TaskKind
    crossed: Tensor | None = None

    def rows(self, index: Tensor) -> Judged:
        """Some of the rows."""
        joint = None if self.joint is None else self.joint[index]
        crossed = None if self.crossed is None else self.crossed[index]
        rows = (self.scores[index], joint, self.target[index], self.presence[index])
        return Judged(*rows, self.subsets, self.kind, crossed)

    def whole(self) -> Judged:
        """The same, for all modalities together alone."""
        joint = None if self.joint is None else self.joint[:, -1:]
        crossed = None if self.crossed is None else self.crossed[:, -1:]
        everything = torch.ones(1, self.subsets.shape[1], dtype=torch.bool)
        rows = (self.scores, joint, self.target, self.presence)
        return Judged(*rows, everything, self.kind, crossed)

    def fused(self, weights: Weights) -> Tensor:
        """(n, S, C) scores of the pool."""
        present = self.presence.unsqueeze(1) & self.subsets
        said = opinions(self.scores, self.presence, weights)
        return fused(said, present, weights, self.crossed, self.joint)

    def losses(self, weights: Weights, heard: Heard | None = None) -> tuple[Tensor, Tensor]:
        """(n, S) losses, and (n, S) bool: which count, each row having something of S.

        Args:
            weights: of the pool.
            heard: what the presence that a row came with makes of its scores, whatever S is.
        """
        return loss_of(self.said(weights, heard), self.target.unsqueeze(1), self.kind), self.counted

    def errors(self, weights: Weights, heard: Heard | None = None) -> Tensor:
        """(n,): the mean error of each row over its combinations; NaN for a row that has none."""
        errors = error_of(self.said(weights, heard), self.target.unsqueeze(1), self.kind)
        return torch.where(self.counted, errors, torch.nan).nanmean(dim=1)

    @property
    def counted(self) -> Tensor:
        """(n, S) bool: the row has something of S."""
        return (self.presence.unsqueeze(1) & self.subsets).any(dim=2)

    def said(self, weights: Weights, heard: Heard | None) -> Tensor:
        """(n, S, C) scores, presence heard."""
        z = self.fused(weights)
        return z if heard is None else heard(z, self.presence.unsqueeze(1))

    def mean_loss(self, weights: Weights) -> Tensor:
        """Mean over the rows and their combinations; 0 without any."""
        losses, counted = self.losses(weights)
        return torch.where(counted, losses, 0.0).sum() / counted.sum().clamp(min=1)

    def loss_alone(self, weights: Weights) -> Tensor:
        """Mean over the rows that have a modality of its opinion's loss, summed over the modalities."""
        said = opinions(self.scores, self.presence, weights)
        losses = torch.where(self.presence, loss_of(said, self.target.unsqueeze(1), self.kind), 0.0)
        return (losses.sum(dim=0) / self.presence.sum(dim=0).clamp(min=1)).sum()


def learn(judged: Judged, start: Weights) -> Weights:
    """First what each modality says alone, then the fusion: the lowest loss under a Gaussian prior.

    The prior is around equal weights, and as strong as some rows of each modality, or of the whole.
    """
    prior = Weights.start(len(start.theta), start.theta.shape[1], judged.kind)
    n_alone = judged.presence.sum(dim=0).clamp(min=1)

    def alone(theta: Tensor, temper: Tensor) -> Tensor:
        distance = PRIOR_ROWS * theta.square().sum(dim=1) + temper.square()
        weights = Weights(theta, temper, prior.alpha, prior.sharpness, prior.joint, prior.crossing)
        return judged.loss_alone(weights) + (distance / (2 * n_alone)).sum()

    theta, temper = least(alone, (start.theta, start.temper), (3.0, 2.0))

    def together(alpha: Tensor, sharpness: Tensor, joint: Tensor, crossing: Tensor) -> Tensor:
        moved = (sharpness - prior.sharpness).square().sum()
        if judged.joint is not None:
            moved = moved + (joint - prior.joint).square().sum()
        moved = moved + (crossing - prior.crossing).square().sum()
        distance = PRIOR_ROWS * alpha.square().sum() + moved
        weights = Weights(theta, temper, alpha, sharpness, joint, crossing)
        return judged.mean_loss(weights) + distance / (2 * max(len(judged.target), 1))

    first = (start.alpha, start.sharpness, start.joint, start.crossing)
    fusion = least(together, first, (3.0, 2.0, (0.0, 8.0), (0.0, 8.0)))
    return Weights(theta, temper, *fusion)


def least(
    objective: Callable[..., Tensor], start: Sequence[Tensor], bounds: Sequence[float | tuple[float, float]]
) -> list[Tensor]:
    """The arguments of lowest objective, each within its bounds (or as far from 0 as one number)."""
    sizes = [part.numel() for part in start]

    def parts(flat: Tensor) -> list[Tensor]:
        pieces = flat.float().split(sizes)
        return [piece.view_as(part) for piece, part in zip(pieces, start, strict=True)]

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        leaf = torch.from_numpy(flat).requires_grad_()
        loss = objective(*parts(leaf))
        loss.backward()
        assert leaf.grad is not None
        return float(loss.detach()), leaf.grad.numpy()

    pairs = [bound if isinstance(bound, tuple) else (-bound, bound) for bound in bounds]
    limits = [pair for pair, size in zip(pairs, sizes, strict=True) for _ in range(size)]
    first = torch.cat([part.flatten() for part in start]).double().numpy()
    options = {"maxiter": 40, "ftol": 1e-5}
    found = minimize(value, first, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    return parts(torch.from_numpy(found.x))
