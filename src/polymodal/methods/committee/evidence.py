"""What presence itself tells: where inputs are absent for a reason, those that are there tell of the label.

Were the inputs of a row independent of its presence r given the label, their likelihoods would multiply:

    p(y | x, r) ~ p(y | x) p(y | r) / p(y),    in scores    z + g(r),    g(r) = log p(y | r) - log p(y).

g is a linear member that reads the M bits of r alone. The members of a modality have met only rows that
have it, so they know a part of g already. How much of g is to be heard, and what it says wrongly beside them,
is learnt from held-out rows read by the presence that they came with:

    z' = c z_S + b g(r) + (r - mean r) A + a,

under a Gaussian prior around c = b = 1, A = 0 and a = 0. It is linear in r: a weight for each bit and output.

A straight line says most where no row has been. An input that fails in use, or is switched off for a table of
combinations, is not absent for the reasons of training: presence is heard of a row only as far from the mean
as training rows were, by their leverage (r - mean r)' P (r - mean r), P the inverse of the bits' covariance.

Letters: n rows, M modalities, C outputs, S subsets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import gamma
from torch import Tensor

from polymodal.batch import TaskKind
from polymodal.methods.committee.linear import Linear, fit_linear, starting_bias
from polymodal.methods.committee.pool import least, loss_of

PENALTY = 1.0
"""Of the linear member's weights."""
PRIOR_ROWS = 10.0
"""How many rows the prior of c, b, A and a counts as."""
N_SHUFFLES = 499
N_SHUFFLES_OF_OPINIONS = 99
"""Fewer: only the mean and the spread of what they give are used."""
LEAST_SPREAD = 0.01
"""Added to the variance of each bit: one that never varied counts as absent in one row of a hundred."""
TOLERANCE = 1e-4
"""Part by which a leverage may pass the largest of training: that of the same row rounds otherwise."""
LEAST_ROWS = 20
"""Rows of a modality by which its opinion is compared with the others' presence, at least."""


@dataclass(frozen=True)
class Evidence:
    """What is added to a pool's scores.

    Attributes:
        temper: (), c.
        weight: (M, C) of the bits.
        bias: (C,).
        centre: (M,) mean presence of the training rows.
        inverse: (M, M), P; zeros where every row is heard.
        reach: (), the largest leverage of a training row.
    """

    temper: Tensor
    weight: Tensor
    bias: Tensor
    centre: Tensor
    inverse: Tensor
    reach: Tensor

    @classmethod
    def everywhere(cls, temper: Tensor, weight: Tensor, bias: Tensor) -> Evidence:
        """Heard of every row."""
        m = len(weight)
        return cls(temper, weight, bias, weight.new_zeros(m), weight.new_zeros(m, m), weight.new_zeros(()))

    @classmethod
    def unlearnt(cls, tells: Linear) -> Evidence:
        """(1 - 1/M) g(r), where no row was held out to learn from: of M bits a member knows its own."""
        share = 1 - 1 / len(tells.weight)
        weight, bias = torch.from_numpy(tells.weight).float(), torch.from_numpy(tells.bias).float()
        return cls.everywhere(torch.ones(()), share * weight, share * bias)

    @classmethod
    def none(cls, n_modalities: int, n_outputs: int) -> Evidence:
        """Presence tells nothing."""
        return cls.everywhere(torch.ones(()), torch.zeros(n_modalities, n_outputs), torch.zeros(n_outputs))

    def __call__(self, z: Tensor, presence: Tensor) -> Tensor:
        """Scores (..., C) and a presence (..., M) to scores."""
        bits = presence.to(self.weight)
        is_near = self._leverage(bits) <= self.reach
        return torch.where(is_near.unsqueeze(-1), self.temper * z + bits @ self.weight + self.bias, z)

    def _leverage(self, bits: Tensor) -> Tensor:
        off = bits - self.centre
        return ((off @ self.inverse) * off).sum(dim=-1)

    def within(self, presence: Tensor) -> Evidence:
        """Heard of rows like these alone: a presence (n, M) of training rows, each with some modality."""
        bits = presence.to(self.weight)
        centre = bits.mean(dim=0)
        spread = (bits - centre).T @ (bits - centre) / len(bits)
        inverse = torch.linalg.inv(spread + LEAST_SPREAD * torch.eye(len(centre)))
        found = replace(self, centre=centre, inverse=inverse)
        return replace(found, reach=(1 + TOLERANCE) * found._leverage(bits).max())

    def divided(self, by: float) -> Evidence:
        """What it adds to scores that are divided by a number."""
        return replace(self, weight=self.weight / by, bias=self.bias / by)


def tells(
    presence: np.ndarray, target: np.ndarray, weight: np.ndarray, kind: TaskKind, prior: np.ndarray
) -> Linear:
    """g: what the presence of a row says of its label beyond the prior.

    Args:
        presence: (n, M) bool.
        target: (n, C) shares or values, NaN where a label is masked.
        weight: (n,) of the rows, which need not be many: without any, g is 0.
        kind: the task kind.
        prior: (C,) shares or values.
    """
    bits = presence.astype(np.float32)
    mean = weight @ bits / max(weight.sum(), 1e-9)
    own = fit_linear(bits - mean.astype(np.float32), target, weight, kind, prior, penalty=PENALTY)
    return Linear(own.weight, own.bias - mean @ own.weight - starting_bias(prior, kind))


def by_chance(presence: np.ndarray, target: np.ndarray, random: np.random.Generator) -> float:
    """How often shuffled labels depend on presence as much as these do: the p of a permutation test.

    Depending is measured by the squared correlations of bits and outputs, summed.

    Args:
        presence: (n, M) bool.
        target: (n, C), NaN where a label is masked.
        random: of the shuffles.
    """
    bits = presence - presence.mean(axis=0)
    bits = bits[:, bits.any(axis=0)]
    if not bits.size:
        return 1.0
    bits /= bits.std(axis=0)
    n_known = np.maximum((~np.isnan(target)).sum(axis=0), 1)  # no row may know a label
    known = np.nan_to_num(target - np.nansum(target, axis=0) / n_known)
    known = known[:, known.any(axis=0)] / known[:, known.any(axis=0)].std(axis=0)
    shuffled = [known, *(random.permutation(known) for _ in range(N_SHUFFLES))]
    strength = np.array([np.square(bits.T @ labels).sum() for labels in shuffled])
    return float((strength >= (1 - 1e-9) * strength[0]).mean())


def opinions_by_chance(
    said: np.ndarray, presence: np.ndarray, groups: np.ndarray | None, random: np.random.Generator
) -> float:
    """How likely opinions would depend on presence as much as these do, were inputs absent by chance.

    What a modality says of the label is then alike in rows that have another modality and in rows that lack
    it. That takes no label to see. Depending is measured as in :func:`by_chance`; rows are shuffled within
    their group (that one subject is unlike the others and lacks a sensor tells nothing of the label); a gamma
    distribution of the same mean and variance stands for more shuffles. The least p of a modality times M.

    Args:
        said: (n, M, C) shares or values, each by one modality alone; never read where it is absent.
        presence: (n, M) bool.
        groups: (n,) codes, or None.
        random: of the shuffles.
    """
    groups = np.zeros(len(presence), dtype=np.int64) if groups is None else groups
    least = 1.0
    for m, here in enumerate(presence.T):
        if here.sum() >= LEAST_ROWS:
            others = np.delete(presence[here], m, axis=1).astype(np.float64)
            least = min(least, _by_chance_within(others, said[here, m], groups[here], random))
    return min(1.0, presence.shape[1] * least)


def _by_chance_within(
    bits: np.ndarray, said: np.ndarray, groups: np.ndarray, random: np.random.Generator
) -> float:
    """The p of (n, K) bits and (n, C) numbers that are shuffled within groups."""
    codes = np.unique(groups, return_inverse=True)[1]
    bits, said = _within(bits, codes), _within(said.astype(np.float64), codes)
    if not bits.size or not said.size:
        return 1.0
    order, strengths = np.argsort(codes, kind="stable"), np.empty(N_SHUFFLES_OF_OPINIONS)
    for i in range(N_SHUFFLES_OF_OPINIONS):
        shuffled = np.lexsort((random.random(len(codes)), codes))
        strengths[i] = np.square(bits[order].T @ said[shuffled]).sum()
    mean, variance = strengths.mean(), strengths.var() + 1e-9 * strengths.mean() ** 2
    return float(gamma.sf(np.square(bits.T @ said).sum(), mean**2 / variance, scale=variance / mean))


def _within(columns: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n, K) columns less their mean in a row's group, at spread 1; without those that do not vary there."""
    total = np.zeros((codes.max() + 1, columns.shape[1]))
    np.add.at(total, codes, columns)
    columns = columns - (total / np.bincount(codes)[:, None])[codes]
    spread = columns.std(axis=0)
    return columns[:, spread > 1e-6] / spread[spread > 1e-6]


def learn(
    z: Tensor, target: Tensor, presence: Tensor, kind: TaskKind, told: Tensor, tells: Linear
) -> Evidence:
    """The evidence of lowest loss on held-out rows.

    Args:
        z: (n, C) of the pool, of all that a row has.
        target: (n, C).
        presence: (n, M) bool.
        kind: the task kind.
        told: (n, C): g of each row, by whoever did not see its label.
        tells: g of whoever is to use the evidence.
    """
    mean = presence.to(z).mean(dim=0)
    bits = presence.to(z) - mean

    def objective(scale: Tensor, rest: Tensor, shift: Tensor) -> Tensor:
        loss = loss_of(scale[0] * z + scale[1] * told + bits @ rest + shift, target, kind).mean()
        return loss + _far(len(z), scale - 1, rest, shift)

    start = (torch.ones(2), torch.zeros(presence.shape[1], z.shape[1]), torch.zeros(z.shape[1]))
    scale, rest, shift = least(objective, start, ((0.0, 4.0), 8.0, 8.0))
    weight = scale[1] * torch.from_numpy(tells.weight).float() + rest
    bias = scale[1] * torch.from_numpy(tells.bias).float() + shift - mean @ rest
    return Evidence.everywhere(scale[0], weight, bias)


def without(z: Tensor, target: Tensor, presence: Tensor, kind: TaskKind) -> Evidence:
    """The same without a word from presence: what c and a do alone is no merit of the bits."""

    def objective(scale: Tensor, shift: Tensor) -> Tensor:
        loss = loss_of(scale * z + shift, target, kind).mean()
        return loss + _far(len(z), scale - 1, shift)

    scale, shift = least(objective, (torch.ones(1), torch.zeros(z.shape[1])), ((0.0, 4.0), 8.0))
    return Evidence.everywhere(scale[0], torch.zeros(presence.shape[1], z.shape[1]), shift)


def _far(n: int, *moved: Tensor) -> Tensor:
    return PRIOR_ROWS * torch.stack([part.square().sum() for part in moved]).sum() / (2 * max(n, 1))
