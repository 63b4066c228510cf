"""The committee's members: small, unlike models of one modality, and trees that read all of them at once.

Members speak in scores: log probabilities of classes, log odds of labels, or standardised values.

Letters: n rows, M modalities, d width, k directions, E members of a modality, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesRegressor
from torch import Tensor

from polymodal.batch import TaskKind
from polymodal.methods.committee.boosting import Boosted, boost
from polymodal.methods.committee.forest import grow
from polymodal.methods.committee.linear import Linear, fit_linear

PENALTIES = (1.0, 30.0)
"""Of the linear members, one each."""
N_MEMBERS = len(PENALTIES) + 1
FLOOR = 1e-4
"""Least probability that a member gives anything."""
DOUBT = 0.02
"""Share of the prior in what a forest says."""


# ---- scores ------------------------------------------------------------------------------------------------


def linear_scores(raw: Tensor, bounds: Tensor, kind: TaskKind) -> Tensor:
    """Scores of a linear member's (..., C) logits or values.

    Args:
        raw: (..., C).
        bounds: (2, C) least and largest known value: a straight line leaves them without reason.
        kind: the task kind.
    """
    if kind == "multiclass":
        return raw.log_softmax(dim=-1).clamp(min=float(np.log(FLOOR)))
    if kind == "multilabel":
        most = float(np.log(1 / FLOOR - 1))
        return raw.clamp(-most, most)
    return raw.clamp(bounds[0], bounds[1])


def forest_scores(raw: Tensor, prior: Tensor, kind: TaskKind) -> Tensor:
    """Scores of what a forest (..., C) says, shares or values, with some doubt.

    Args:
        raw: (..., C).
        prior: (C,) shares among the rows that it learnt from.
        kind: the task kind.
    """
    if kind == "regression":
        return raw
    shares = (1 - DOUBT) * raw + DOUBT * prior
    if kind == "multilabel":
        return shares.clamp(FLOOR, 1 - FLOOR).logit()
    shares = shares.clamp(min=FLOOR)
    return (shares / shares.sum(dim=-1, keepdim=True)).log()


def abstaining(scores: Tensor, silent: Tensor, kind: TaskKind) -> Tensor:
    """Scores of members that say nothing of what their rows never showed: it keeps its prior.

    Without this a modality that met no labelled row of a class would veto it in the pool.

    Args:
        scores: (..., C).
        silent: (C,) the prior of a class without any row, or of a label without two answers; 0 of others.
        kind: the task kind.
    """
    if kind == "regression" or not bool((silent > 0).any()):
        return scores
    if kind == "multilabel":
        return torch.where(silent > 0, silent.logit(), scores)
    heard = scores.masked_fill(silent > 0, -torch.inf).log_softmax(dim=-1) + (1 - silent.sum()).log()
    return torch.where(silent > 0, silent.log(), heard).clamp(min=float(np.log(FLOOR)))


def to_shares(scores: Tensor, kind: TaskKind) -> Tensor:
    """Scores (..., C) as shares of the classes or labels; values stay values."""
    if kind == "multiclass":
        return scores.softmax(dim=-1)
    return scores.sigmoid() if kind == "multilabel" else scores


# ---- one modality ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lesson:
    """Rows to learn from.

    Attributes:
        rows: (n,) their numbers.
        target: (n, C) shares or values, NaN where a label is masked.
        weight: (n,).
        prior: (C,) of the labelled ones.
        bounds: (2, C) least and largest value of the labelled ones.
    """

    rows: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    prior: np.ndarray
    bounds: np.ndarray

    def part(self, chosen: np.ndarray) -> Lesson:
        """Some of the rows, by a (n,) mask."""
        return Lesson(self.rows[chosen], self.target[chosen], self.weight[chosen], self.prior, self.bounds)

    @property
    def filled(self) -> np.ndarray:
        """(n, C): the target, with the prior where a label is masked."""
        return np.where(np.isnan(self.target), self.prior, self.target)

    def silent(self, kind: TaskKind) -> np.ndarray:
        """(C,): the prior of a class that no row shows, or of a label without two answers; 0 of others."""
        if kind == "regression":
            return np.zeros(self.target.shape[1])
        known = np.nan_to_num(self.target).sum(axis=0)
        denied = (1 - np.nan_to_num(self.target, nan=1.0)).sum(axis=0)
        untold = known <= 0 if kind == "multiclass" else (known <= 0) | (denied <= 0)
        return np.where(untold, self.prior, 0.0)


@dataclass(frozen=True)
class Branch:
    """The members of one modality.

    Attributes:
        linears: one a penalty.
        forest: None where there was no row to learn from.
        shares: (C,) what the forest's doubt is about.
        bounds: (2, C).
        silent: (C,) what it says nothing of; see :func:`abstaining`.
    """

    linears: tuple[Linear, ...]
    forest: ExtraTreesRegressor | None
    shares: np.ndarray
    bounds: np.ndarray
    silent: np.ndarray

    @classmethod
    def learn(
        cls,
        values: np.ndarray,
        turned: np.ndarray,
        lesson: Lesson,
        kind: TaskKind,
        *,
        n_trees: int,
        seed: int,
        start: Branch | None,
    ) -> Branch:
        """Learn from the rows of a lesson, all of which have the modality.

        Args:
            values: (n, d) columns.
            turned: (n, k) the same along the directions.
            lesson: the rows.
            kind: the task kind.
            n_trees: of the forest.
            seed: of the forest.
            start: an earlier generation.
        """
        starts = (None,) * len(PENALTIES) if start is None else start.linears
        task = (turned, lesson.target, lesson.weight, kind, lesson.prior)
        linears = tuple(
            fit_linear(*task, penalty=penalty, start=first)
            for penalty, first in zip(PENALTIES, starts, strict=True)
        )
        silent = lesson.silent(kind)
        if len(lesson.rows) == 0:
            return cls(linears, None, lesson.prior, lesson.bounds, silent)
        forest = grow(values, lesson.filled, lesson.weight, n_trees=n_trees, seed=seed)
        return cls(linears, forest, lesson.filled.mean(axis=0), lesson.bounds, silent)

    def scores(self, values: np.ndarray, turned: np.ndarray, kind: TaskKind) -> Tensor:
        """(n, E, C) of rows that have the modality."""
        raw = torch.from_numpy(np.stack([linear(turned) for linear in self.linears], axis=1)).float()
        found = linear_scores(raw, torch.from_numpy(self.bounds).float(), kind)
        shares = torch.from_numpy(self.shares).float()
        said = predicted(self.forest, values, self.shares)
        found = torch.cat([found, forest_scores(said, shares, kind).unsqueeze(1)], dim=1)
        return abstaining(found, torch.from_numpy(self.silent).float(), kind)


def predicted(forest: ExtraTreesRegressor | Boosted | None, values: np.ndarray, shares: np.ndarray) -> Tensor:
    """(n, C) of a grown forest; the shares (C,) where there is none."""
    if forest is None or len(values) == 0:
        return torch.from_numpy(shares).float().expand(len(values), -1)
    return torch.from_numpy(forest.predict(values).reshape(len(values), -1)).float()


# ---- all modalities at once --------------------------------------------------------------------------------


N_COPIES = 2
"""Copies of each row that lack some of its modalities at random."""
NARROW = 200
"""With fewer columns a node tries a share of them: a pair that tells only together must be met."""
NARROW_SHARE = 0.15


@dataclass(frozen=True)
class Joint:
    """Trees that read all modalities side by side, NaN where absent: what they tell only together.

    Attributes:
        forest: of rows, and of copies that lack some of their modalities.
        shares: (C,) what its doubt is about.
    """

    forest: ExtraTreesRegressor | Boosted
    shares: np.ndarray

    @property
    def is_boosted(self) -> bool:
        """Whether its trees add up."""
        return isinstance(self.forest, Boosted)

    @classmethod
    def learn(
        cls,
        values: Sequence[np.ndarray],
        presence: np.ndarray,
        lesson: Lesson,
        *,
        boosted: bool,
        n_trees: int,
        seed: int,
    ) -> Joint:
        """Learn from the rows of a lesson.

        Args:
            values: for each modality (n, d) columns.
            presence: (n, M) bool.
            lesson: the rows, at least one.
            boosted: trees that add up, of classes, instead of a forest.
            n_trees: of the forest.
            seed: of the trees and of what the copies lack.
        """
        random = np.random.default_rng(seed)
        kept = [presence, *(some_of(presence, random) for _ in range(N_COPIES))]
        x = np.concatenate([side_by_side(values, here) for here in kept])
        weight, shares = np.concatenate([lesson.weight] * len(kept)), lesson.filled.mean(axis=0)
        if boosted:
            return cls(boost(x, drawn(lesson.target, len(kept), random), weight, seed=seed), shares)
        tried = NARROW_SHARE if x.shape[1] < NARROW else "sqrt"
        target = np.concatenate([lesson.filled] * len(kept))
        return cls(grow(x, target, weight, n_trees=n_trees, max_features=tried, seed=seed), shares)

    def scores(self, values: Sequence[np.ndarray], presence: np.ndarray, kind: TaskKind) -> Tensor:
        """(n, C) of rows read by a (n, M) presence."""
        said = predicted(self.forest, side_by_side(values, presence), self.shares)
        return forest_scores(said, torch.from_numpy(self.shares).float(), kind)


def drawn(shares: np.ndarray, n_copies: int, random: np.random.Generator) -> np.ndarray:
    """(n_copies * n, C) one-hot: a class for each copy of a row, by its (n, C) shares.

    A class is drawn with its share, and the copies of a row are as unlike as its shares allow.
    """
    edges = shares.cumsum(axis=1)[:, :-1]
    first = random.random(len(shares))
    points = [(first + i / n_copies) % 1 for i in range(n_copies)]
    return np.eye(shares.shape[1])[np.concatenate([(edges <= at[:, None]).sum(axis=1) for at in points])]


def some_of(presence: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(n, M) bool: a random part of what each row has, one modality at least."""
    fate = np.where(presence, random.random(presence.shape), -1.0)
    return presence & ((fate > 0.5) | (fate == fate.max(axis=1, keepdims=True)))


def side_by_side(values: Sequence[np.ndarray], presence: np.ndarray) -> np.ndarray:
    """(n, sum of d) columns of all modalities, NaN where (n, M) presence is False."""
    parts = [np.where(here[:, None], v, np.nan) for v, here in zip(values, presence.T, strict=True)]
    return np.concatenate(parts, axis=1, dtype=np.float32)
