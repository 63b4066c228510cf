"""The committee's pool: members' scores of one row, for any part of its modalities, as one prediction.

A score is a log probability of a class, a log odds of a label, or a standardised value. The pool of a subset
S of modalities is

    z_S = |S|^a0 exp(a1) sum_e w_e score_e,    w_e = exp(theta_e) / sum over the members of S of exp(theta),

a weighted geometric mean of the members' probabilities, sharpened with the number of modalities: a0 is 0
where they all say the same, 1 where they are independent. Of values, exp(a1) below 1 draws towards the mean.
A joint member, which reads all of S at once, is mixed in where |S| is 2 or more.

Letters: n rows, M modalities, E members, C outputs, S subsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.batch import TaskKind

MAX_SUBSETS = 31
PRIOR_ROWS = 0.25
"""How many rows the prior of the members' weights counts as; that of the other numbers counts as one."""


@dataclass(frozen=True)
class Weights:
    """What a pool has learnt.

    Attributes:
        theta: (E,) the members' log weights.
        sharpness: (2,): a0 and a1.
        joint: (2,): b0 and b1, by which the pool's and the joint member's scores are mixed.
    """

    theta: Tensor
    sharpness: Tensor
    joint: Tensor

    @classmethod
    def start(cls, n_members: int, kind: TaskKind) -> Weights:
        """Equal weights, modalities half independent, no joint member; values are not sharpened."""
        exponent = 0.0 if kind == "regression" else 0.5
        return cls(torch.zeros(n_members), torch.tensor([exponent, 0.0]), torch.tensor([1.0, 0.0]))


def pooled(scores: Tensor, members: Tensor, n_present: Tensor, weights: Weights) -> Tensor:
    """z_S of every row for each of its S.

    Args:
        scores: (n, E, C); never read where a member is in no S of the row.
        members: (n, S, E) bool: the members whose modality is in S.
        n_present: (n, S) the size of S.
        weights: of the pool.

    Returns:
        (n, S, C); zeros where S has no member.
    """
    zero = torch.zeros((), dtype=scores.dtype, device=scores.device)
    theta = weights.theta - weights.theta.max()
    share = torch.where(members, theta.exp(), zero)
    share = share / share.sum(dim=2, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
    known = torch.where(members.any(dim=1).unsqueeze(2), scores, zero)
    a0, a1 = weights.sharpness
    return share @ known * (n_present.clamp(min=1) ** a0 * a1.exp()).unsqueeze(2)


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
        owner: (E,) the modality of each member.
        subsets: (S, M) bool.
        kind: the task kind.
    """

    scores: Tensor
    joint: Tensor | None
    target: Tensor
    presence: Tensor
    owner: Tensor
    subsets: Tensor
    kind: TaskKind

    def rows(self, index: Tensor) -> Judged:
        """Some of the rows."""
        joint = None if self.joint is None else self.joint[index]
        rows = (self.scores[index], joint, self.target[index], self.presence[index])
        return Judged(*rows, self.owner, self.subsets, self.kind)

    def whole(self) -> Judged:
        """The same, for all modalities together alone."""
        joint = None if self.joint is None else self.joint[:, -1:]
        everything = torch.ones(1, self.subsets.shape[1], dtype=torch.bool)
        rows = (self.scores, joint, self.target, self.presence)
        return Judged(*rows, self.owner, everything, self.kind)

    def losses(self, weights: Weights) -> tuple[Tensor, Tensor]:
        """(n, S) losses, and (n, S) bool: which count, each row having something of S."""
        present = self.presence.unsqueeze(1) & self.subsets
        n_present = present.sum(dim=2)
        z = pooled(self.scores, present[:, :, self.owner], n_present, weights)
        if self.joint is not None:
            z = mixed(z, self.joint, n_present, weights)
        return loss_of(z, self.target.unsqueeze(1), self.kind), n_present > 0

    def mean_loss(self, weights: Weights) -> Tensor:
        """Mean over the rows and their combinations; 0 without any."""
        losses, counted = self.losses(weights)
        return torch.where(counted, losses, 0.0).sum() / counted.sum().clamp(min=1)


def learn(judged: Judged, start: Weights) -> Weights:
    """The weights of lowest mean loss under a Gaussian prior around equal weights."""
    n_members, centre = len(start.theta), _flat(Weights.start(len(start.theta), judged.kind))
    free = (torch.arange(len(centre)) < n_members + 2) | (judged.joint is not None)
    rows_of_prior = torch.where(torch.arange(len(centre)) < n_members, PRIOR_ROWS, 1.0)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        leaf = torch.from_numpy(flat).requires_grad_()
        distance = torch.where(free, leaf - centre, 0.0).square() * rows_of_prior
        penalty = distance.sum() / (2 * max(len(judged.target), 1))
        loss = judged.mean_loss(_weights(leaf, judged.scores.dtype)) + penalty
        loss.backward()
        assert leaf.grad is not None
        return float(loss.detach()), torch.where(free, leaf.grad, 0.0).numpy()

    bounds = [(-3.0, 3.0)] * n_members + [(-2.0, 2.0), (-4.0, 4.0), (0.0, 8.0), (0.0, 8.0)]
    options = {"maxiter": 40, "ftol": 1e-5}
    found = minimize(
        objective, _flat(start).numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return _weights(torch.from_numpy(found.x), torch.float32)


def _flat(weights: Weights) -> Tensor:
    return torch.cat([weights.theta, weights.sharpness, weights.joint]).double()


def _weights(flat: Tensor, dtype: torch.dtype) -> Weights:
    flat = flat.to(dtype)
    return Weights(flat[:-4], flat[-4:-2], flat[-2:])
