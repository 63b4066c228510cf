"""What two modalities tell only together: products of directions, found by moments with the labels.

Where neither of two modalities tells anything without the other, no sum of what they say alone can tell it,
and trees do not find a pair of columns among many. Here a linear model of all directions z speaks first; what
it leaves over, the residual r, is looked for in products. Of each pair of modalities (a, b) the moment

    G_ijc = sum over the rows of z^a_i z^b_j r_c

is the gradient of the loss by the weight of z^a_i z^b_j for output c. Its strongest terms lambda u v w (u of
a, v of b, w of the outputs), taken out one after another, are kept as long as they are stronger than the
strongest one of shuffled residuals: where there is no interaction, none is found. What they add to a score is

    s_S = sum over the terms p whose modalities are both in S of  tanh(g u_p z^a) tanh(g v_p z^b) A_p,

0 where one is absent, so that no combination of modalities costs a pass of its own.

Letters: n rows, M modalities, k directions of a modality, P terms, C outputs, D columns of all modalities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.batch import TaskKind
from polymodal.errors import CheckpointError
from polymodal.methods.committee.linear import Directions, fit_linear
from polymodal.methods.committee.members import Lesson, to_shares

N_DIRECTIONS = 16
"""k, at most: the first ones."""
MAX_PAIRS = 28
"""Pairs of modalities whose terms are looked for, at most: those of the largest moments."""
MAX_TERMS = 4
"""Of a pair."""
N_SHUFFLES, N_SWEEPS, N_STARTS = 3, 12, 3
GAIN = 2.0
"""g: a direction counts by its sign from about half its spread on."""
MOST_SPREADS = 3.0
"""Within which a direction's numbers are held when moments are taken."""
PENALTY = 10.0
"""Of all weights."""


@dataclass(frozen=True)
class Interactions:
    """The terms that were found.

    Attributes:
        pair: (P, 2) the modalities of each.
        left: (P, k), u of numbers at unit spread; zeros where a modality has fewer directions.
        right: (P, k), v.
        weight: (P, C), A.
    """

    pair: np.ndarray
    left: np.ndarray
    right: np.ndarray
    weight: np.ndarray

    def products(self, z: Sequence[np.ndarray]) -> np.ndarray:
        """(n, P) of the (n, k) numbers of each modality, zeros where it is absent."""
        columns = [
            np.tanh(GAIN * z[a] @ u[: z[a].shape[1]]) * np.tanh(GAIN * z[b] @ v[: z[b].shape[1]])
            for (a, b), u, v in zip(self.pair, self.left, self.right, strict=True)
        ]
        return (
            np.stack(columns, axis=1).astype(np.float32) if columns else np.zeros((len(z[0]), 0), np.float32)
        )

    def scores(self, z: Sequence[np.ndarray], subsets: np.ndarray) -> np.ndarray:
        """(n, S, C): s of each of the (S, M) subsets."""
        heard = subsets[:, self.pair].all(axis=2)
        return np.einsum("np,sp,pc->nsc", self.products(z), heard.astype(np.float32), self.weight)


def numbers(
    values: Sequence[np.ndarray], directions: Sequence[Directions], presence: np.ndarray
) -> list[np.ndarray]:
    """For each modality (n, k): columns along the first directions, at unit spread; zeros where absent."""
    return [
        np.where(here[:, None], value, np.float32(0)) @ columns_of(own)
        for value, own, here in zip(values, directions, presence.T, strict=True)
    ]


def columns_of(own: Directions) -> np.ndarray:
    """(d, k) float32: what makes numbers of columns."""
    return (own.axes[:, :N_DIRECTIONS] / own.spread[:N_DIRECTIONS]).astype(np.float32)


# ---- learning ----------------------------------------------------------------------------------------------


def find(
    z: Sequence[np.ndarray], presence: np.ndarray, lesson: Lesson, kind: TaskKind, seed: int
) -> Interactions:
    """The terms of all pairs, and their weights.

    Args:
        z: for each modality (n, k), of :func:`numbers`.
        presence: (n, M) bool.
        lesson: the n rows.
        kind: the task kind.
        seed: of the shuffles.
    """
    random = np.random.default_rng(seed)
    alone = np.concatenate(z, axis=1)
    task = (lesson.target, lesson.weight, kind, lesson.prior)
    said = (
        to_shares(torch.from_numpy(fit_linear(alone, *task, penalty=PENALTY)(alone)), kind).double().numpy()
    )
    residual = np.nan_to_num(lesson.weight[:, None] * (lesson.target - said))
    held = [np.clip(own, -MOST_SPREADS, MOST_SPREADS).astype(np.float64) for own in z]
    pairs = [
        (a, b, np.flatnonzero(presence[:, a] & presence[:, b])) for a, b in combinations(range(len(z)), 2)
    ]
    moments = [moment(held[a][rows], held[b][rows], residual[rows]) for a, b, rows in pairs]
    order = sorted(range(len(pairs)), key=lambda i: -float(np.linalg.norm(moments[i])))[:MAX_PAIRS]
    terms = [
        (a, b, *term)
        for a, b, rows in (pairs[i] for i in sorted(order))
        for term in terms_of(held[a][rows], held[b][rows], residual[rows], random)
    ]
    found = _without_weights(terms, len(lesson.prior))
    if not terms:
        return found
    both = np.concatenate([alone, found.products(z)], axis=1)
    weight = fit_linear(both, *task, penalty=PENALTY).weight[-len(terms) :]
    return Interactions(found.pair, found.left, found.right, weight.astype(np.float32))


def _without_weights(terms: list[tuple[int, int, np.ndarray, np.ndarray]], n_outputs: int) -> Interactions:
    def padded(u: np.ndarray) -> np.ndarray:
        return np.pad(u, (0, N_DIRECTIONS - len(u)))

    return Interactions(
        np.array([term[:2] for term in terms], dtype=np.int64).reshape(-1, 2),
        np.array([padded(term[2]) for term in terms], dtype=np.float32).reshape(-1, N_DIRECTIONS),
        np.array([padded(term[3]) for term in terms], dtype=np.float32).reshape(-1, N_DIRECTIONS),
        np.zeros((len(terms), n_outputs), dtype=np.float32),
    )


def moment(a: np.ndarray, b: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """G: (n, k), (n, l) and (n, C) to (k, l, C)."""
    return np.stack([(a * own[:, None]).T @ b for own in residual.T], axis=2)


def terms_of(
    a: np.ndarray, b: np.ndarray, residual: np.ndarray, random: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(u, v) of the terms of a pair, the strongest first, none weaker than those of shuffled residuals."""
    if len(a) < 2 or not (a.shape[1] and b.shape[1]):
        return []
    shuffled = (residual[random.permutation(len(a))] for _ in range(N_SHUFFLES))
    edge = max(strongest(moment(a, b, other))[0] for other in shuffled)
    left, terms = moment(a, b, residual), list[tuple[np.ndarray, np.ndarray]]()
    while len(terms) < MAX_TERMS:
        strength, u, v, w = strongest(left)
        if strength <= edge:
            break
        terms.append((u, v))
        left = left - strength * np.einsum("i,j,c->ijc", u, v, w)
    return terms


def strongest(left: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """lambda, u, v, w of norm 1 whose product is nearest to G (k, l, C), by turns from several starts."""
    starts = np.linalg.svd(left.reshape(-1, left.shape[2]), full_matrices=False)[2][:N_STARTS]
    found = []
    for w in starts:
        for _ in range(N_SWEEPS):
            turned, _, back = np.linalg.svd(left @ w, full_matrices=False)
            u, v = turned[:, 0], back[0]
            told = np.einsum("ijc,i,j->c", left, u, v)
            strength = float(np.linalg.norm(told))
            w = told / max(strength, 1e-12)
        found.append((strength, u, v, w))
    return max(found, key=lambda term: term[0])


# ---- predicting --------------------------------------------------------------------------------------------


class Crossing(nn.Module):
    """Terms as tensors, reading columns; none until :meth:`take` or a saved state fills it.

    Attributes:
        pair: (P, 2) int64.
        left: (P, D), zeros for the columns of other modalities.
        right: (P, D).
        weight: (P, C).
    """

    pair: Tensor
    left: Tensor
    right: Tensor
    weight: Tensor

    def __init__(self, widths: Sequence[int], n_outputs: int) -> None:
        super().__init__()
        self.widths, self.n_outputs = tuple(widths), n_outputs
        self._resize(0)

    def _resize(self, n_terms: int) -> None:
        d = sum(self.widths)
        self.register_buffer("pair", torch.zeros(n_terms, 2, dtype=torch.int64))
        self.register_buffer("left", torch.zeros(n_terms, d))
        self.register_buffer("right", torch.zeros(n_terms, d))
        self.register_buffer("weight", torch.zeros(n_terms, self.n_outputs))

    @property
    def n_terms(self) -> int:
        """P."""
        return len(self.pair)

    def take(self, found: Interactions, directions: Sequence[Directions]) -> None:
        """Become what was found, along these directions."""
        self._resize(len(found.pair))
        self.pair.copy_(torch.from_numpy(found.pair))
        self.weight.copy_(torch.from_numpy(found.weight))
        starts = np.cumsum([0, *self.widths])
        for side, (into, along) in enumerate(((self.left, found.left), (self.right, found.right))):
            for p, m in enumerate(found.pair[:, side]):
                axes = columns_of(directions[m])
                into[p, starts[m] : starts[m + 1]] = torch.from_numpy(axes @ along[p, : axes.shape[1]])

    def products(self, columns: Tensor) -> Tensor:
        """(B, D) columns, zeros where absent, to (B, P)."""
        return (GAIN * columns @ self.left.T).tanh() * (GAIN * columns @ self.right.T).tanh()

    def forward(self, products: Tensor, presence: Tensor) -> Tensor:
        """(B, C): s of the (B, M) modalities that are read."""
        heard = presence[:, self.pair].all(dim=2)
        return torch.where(heard, products, 0.0) @ self.weight

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any) -> None:
        """Take the number of terms that was saved, and judge their modalities.

        Raises:
            CheckpointError: a term reads a modality that is not there.
        """
        saved = state_dict.get(prefix + "pair")
        if saved is not None:
            self._resize(len(saved))
        super()._load_from_state_dict(state_dict, prefix, *more)
        if not ((self.pair >= 0) & (self.pair < len(self.widths))).all():
            raise CheckpointError(
                "a saved term reads two of the modalities that there are; this one does not; restore the "
                "model as it was saved"
            )
