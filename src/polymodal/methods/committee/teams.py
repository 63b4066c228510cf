"""Teams of the committee: which rows they learn from, what their members learn, and what these say.

A *team* learns from some labelled rows: one from all of them, and one for each fold of a cross-validation
from all but that fold's.

Letters: n rows, M modalities, E members, C outputs, S subsets of the modalities, F folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polymodal.batch import TaskKind
from polymodal.methods.committee import evidence, interactions
from polymodal.methods.committee.interactions import Interactions
from polymodal.methods.committee.linear import Directions, Linear
from polymodal.methods.committee.members import N_MEMBERS, Branch, Joint, Lesson

MAX_FOLDS = 5
MAX_FREE = 2000
"""Unlabelled rows that teach a generation, at most."""
MAX_KNOWN, MAX_KNOWN_JUDGED = 20_000, 4000
"""Labelled rows that the team of all, and a fold's, learn from, at most."""
MAX_HELD = 400
"""Rows of a fold that judge, at most."""
MIN_JUDGES = 3
"""Rows a class, in the mean, that can be held out; with fewer nothing is judged."""
LABELLED_SHARE = 0.2
"""The labelled rows together weigh at least this part of the unlabelled ones."""
N_STRATA = 10


# ---- rows --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """All training rows.

    Attributes:
        values: for each modality (n, d) standardised columns; never read where absent.
        presence: (n, M) bool.
        target: (n, C) shares of the classes, labels with NaN where masked, or standardised values; rows of
            NaN where unlabelled.
        groups: (n,) codes, or None.
        kind: the task kind.
        order: for each modality (n, d') further columns, of the order in a sequence, which the linear members
            alone read; empty where there is none.
        along: for each modality (n, k) numbers whose products may tell something, zeros where absent; empty
            until there are directions.
    """

    values: tuple[np.ndarray, ...]
    presence: np.ndarray
    target: np.ndarray
    groups: np.ndarray | None
    kind: TaskKind
    order: tuple[np.ndarray, ...] = ()
    along: tuple[np.ndarray, ...] = ()

    @property
    def wide(self) -> tuple[np.ndarray, ...]:
        """For each modality all columns that linear members read."""
        return tuple(map(np.hstack, zip(self.values, self.order, strict=True))) if self.order else self.values

    @property
    def known(self) -> np.ndarray:
        """Numbers of the rows with a label and some modality."""
        return np.flatnonzero(~np.isnan(self.target).all(axis=1) & self.presence.any(axis=1))

    @property
    def free(self) -> np.ndarray:
        """Numbers of the rows with some modality and no label."""
        return np.flatnonzero(np.isnan(self.target).all(axis=1) & self.presence.any(axis=1))


def prior_of(target: np.ndarray, kind: TaskKind) -> np.ndarray:
    """(C,): shares, not quite 0 or 1, or the mean of the values of (n, C) targets."""
    if kind == "regression":
        return target.mean(axis=0) if len(target) else np.zeros(target.shape[1])
    known = ~np.isnan(target)
    total, count = np.where(known, target, 0.0).sum(axis=0), known.sum(axis=0)
    if kind == "multilabel":
        return (total + 0.5) / (count + 1)
    return (total + 0.5) / (total + 0.5).sum()


# ---- folds -------------------------------------------------------------------------------------------------


def folds_of(rows: Rows, random: np.random.Generator) -> np.ndarray:
    """The fold of each known row; -1 for one that is never held out.

    Classes, or tenths of the values, are spread over the folds; with groups, whole groups are. A class's
    only row is never held out: the others could not know it. With fewer than :data:`MIN_JUDGES` rows a class
    to hold out none is: what is left to learn from would be another task, and so few judge by chance.

    Returns:
        (number of known rows,) int64; all -1 where two folds cannot be made.
    """
    known = rows.known
    if len(known) < 2:
        return np.full(len(known), -1)
    strata = _strata(rows.target[known], rows.kind)
    units = (
        np.arange(len(known))
        if rows.groups is None
        else np.unique(rows.groups[known], return_inverse=True)[1]
    )
    n_folds = min(MAX_FOLDS, int(units.max(initial=-1)) + 1)
    if n_folds < 2:
        return np.full(len(known), -1)
    if rows.groups is None:
        order = random.permutation(len(known))
        order = order[np.argsort(strata[order], kind="stable")]
        folds = np.empty(len(known), dtype=np.int64)
        folds[order] = np.arange(len(known)) % n_folds
    else:
        folds = _spread_groups(units, strata, n_folds, random)[units]
    if rows.kind == "multiclass":
        folds[_alone(strata, folds)] = -1
        if (folds >= 0).sum() < MIN_JUDGES * len(np.unique(strata)):
            folds[:] = -1
    return folds


def _strata(target: np.ndarray, kind: TaskKind) -> np.ndarray:
    if kind == "multiclass":
        return target.argmax(axis=1)
    if kind == "multilabel":
        return np.nan_to_num(target).sum(axis=1).astype(np.int64)
    edges = np.quantile(target[:, 0], np.linspace(0, 1, N_STRATA + 1)[1:-1])
    return np.searchsorted(edges, target[:, 0])


def _spread_groups(
    units: np.ndarray, strata: np.ndarray, n_folds: int, random: np.random.Generator
) -> np.ndarray:
    """The fold of each group: large ones first, each to where the strata, and all rows, stay most even."""
    counts = np.zeros((units.max() + 1, strata.max() + 2))
    np.add.at(counts, (units, strata), 1)
    counts[:, -1] = counts.sum(axis=1)  # groups without a stratum in common would all share a fold
    order = random.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    filled, folds = np.zeros((n_folds, counts.shape[1])), np.empty(len(counts), dtype=np.int64)
    size = np.maximum(counts.sum(axis=0), 1)
    for group in order:
        cost = [
            np.square((filled + counts[group] * (np.arange(n_folds) == f)[:, None]) / size).sum()
            for f in range(n_folds)
        ]
        folds[group] = int(np.argmin(cost))
        filled[folds[group]] += counts[group]
    return folds


def _alone(strata: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(n,) bool: rows whose class has no row in another fold."""
    counts = np.zeros((strata.max() + 1, folds.max() + 1), dtype=np.int64)
    np.add.at(counts, (strata, folds), 1)
    return counts[strata].sum(axis=1) == counts[strata, folds]


# ---- teams -------------------------------------------------------------------------------------------------


@dataclass
class Team:
    """Members that learn from the same labelled rows.

    Attributes:
        known: numbers of its labelled rows.
        free: numbers of the unlabelled rows that it may read.
        held: numbers of the labelled rows that judge it; none for the team of all.
        prior: (C,) of its labelled rows.
        bounds: (2, C) least and largest of their targets.
        n_trees: of each forest.
        branches: one a modality, of the generation at hand.
        joint: what reads all modalities at once; None where it is not worth it.
        tells: what presence says of the label; None where it is not heard.
        crossing: what pairs of modalities tell together; None where it is not worth it.
    """

    known: np.ndarray
    free: np.ndarray
    held: np.ndarray
    prior: np.ndarray
    bounds: np.ndarray
    n_trees: int
    branches: tuple[Branch, ...] = ()
    joint: Joint | None = None
    tells: Linear | None = None
    crossing: Interactions | None = None


def teams_of(
    rows: Rows, folds: np.ndarray, n_trees: int, n_trees_judged: int, random: np.random.Generator
) -> list[Team]:
    """The team of all labelled rows, then one a fold."""

    def some(index: np.ndarray, most: int) -> np.ndarray:
        return index if len(index) <= most else np.sort(random.choice(index, most, replace=False))

    known, free = rows.known, some(rows.free, MAX_FREE)
    teams = [_team(rows, some(known, MAX_KNOWN), free, np.empty(0, dtype=np.int64), n_trees)]
    for fold in range(folds.max(initial=-1) + 1):
        held, others = known[folds == fold], some(known[folds != fold], MAX_KNOWN_JUDGED)
        readable = free if rows.groups is None else free[~np.isin(rows.groups[free], rows.groups[held])]
        teams.append(_team(rows, others, readable, some(held, MAX_HELD), n_trees_judged))
    return teams


def _team(rows: Rows, known: np.ndarray, free: np.ndarray, held: np.ndarray, n_trees: int) -> Team:
    target = rows.target[known]
    filled = np.nan_to_num(target) if len(known) else np.zeros((1, target.shape[1]))
    bounds = np.stack([filled.min(axis=0), filled.max(axis=0)])
    return Team(known, free, held, prior_of(target, rows.kind), bounds, n_trees)


def lesson_of(rows: Rows, team: Team, taught: tuple[np.ndarray, np.ndarray] | None) -> Lesson:
    """What a team learns from: its labelled rows, and what a teacher says of its unlabelled ones.

    Args:
        rows: all rows.
        team: whose labelled and unlabelled rows.
        taught: (n, C) target and (n,) weight of its unlabelled rows; None for the labelled ones alone.
    """
    target, weight = rows.target[team.known], np.ones(len(team.known))
    if taught is None:
        return Lesson(team.known, target, weight, team.prior, team.bounds)
    said, trust = taught
    weight *= max(1.0, LABELLED_SHARE * trust.sum() / max(len(team.known), 1))
    return Lesson(
        np.concatenate([team.known, team.free]),
        np.concatenate([target, said]),
        np.concatenate([weight, trust]),
        team.prior,
        team.bounds,
    )


# ---- what members learn ------------------------------------------------------------------------------------


def turned_rows(
    rows: Rows, random: np.random.Generator
) -> tuple[tuple[Directions, ...], tuple[np.ndarray, ...]]:
    """The directions of each modality, and all rows along them."""
    wide = rows.wide
    directions = tuple(
        Directions.fit(value[here], random) for value, here in zip(wide, rows.presence.T, strict=True)
    )
    return directions, tuple(own(value) for own, value in zip(directions, wide, strict=True))


def plain_directions(
    rows: Rows, directions: tuple[Directions, ...], random: np.random.Generator
) -> tuple[Directions, ...]:
    """Of the columns that all members read: those of each modality unless it has further columns."""
    if not rows.order:
        return directions
    there = zip(rows.values, rows.order, directions, rows.presence.T, strict=True)
    return tuple(
        Directions.fit(value[here], random) if more.shape[1] else own for value, more, own, here in there
    )


def learn_team(
    rows: Rows,
    turned: tuple[np.ndarray, ...],
    team: Team,
    taught: tuple[np.ndarray, np.ndarray] | None,
    seed: int,
) -> None:
    """Give a team its members of the next generation."""
    lesson = lesson_of(rows, team, taught)
    team.branches = branches_of(rows, turned, team, lesson, seed)
    if team.joint is not None:
        team.joint = joint_of(rows, team, lesson, seed, boosted=team.joint.is_boosted)
    if team.tells is not None:
        team.tells = tells_of(rows, team, lesson)
    if team.crossing is not None:
        team.crossing = crossing_of(rows, lesson, seed)


def branches_of(
    rows: Rows, turned: tuple[np.ndarray, ...], team: Team, lesson: Lesson, seed: int
) -> tuple[Branch, ...]:
    """The members of each modality, learnt from those rows of a lesson that have it."""
    found = []
    for m, (values, along) in enumerate(zip(rows.values, turned, strict=True)):
        own = lesson.part(rows.presence[lesson.rows, m])
        if not own.weight.any():  # none of them is labelled, and the teacher of values explains nothing
            own = own.part(np.zeros(len(own.rows), dtype=bool))
        before = team.branches[m] if team.branches else None
        here = (values[own.rows], along[own.rows], own, rows.kind)
        found.append(Branch.learn(*here, n_trees=team.n_trees, seed=seed, start=before))
    return tuple(found)


def joint_of(rows: Rows, team: Team, lesson: Lesson, seed: int, *, boosted: bool) -> Joint:
    """The member that reads all modalities at once: a forest or boosted trees."""
    values, presence = [value[lesson.rows] for value in rows.values], rows.presence[lesson.rows]
    return Joint.learn(values, presence, lesson, boosted=boosted, n_trees=team.n_trees, seed=seed)


def crossing_of(rows: Rows, lesson: Lesson, seed: int) -> Interactions:
    """What pairs of modalities tell together of the rows of a lesson."""
    along = [own[lesson.rows] for own in rows.along]
    return interactions.find(along, rows.presence[lesson.rows], lesson, rows.kind, seed)


def tells_of(rows: Rows, team: Team, lesson: Lesson) -> Linear:
    """What the presence of a lesson's rows says of their labels."""
    presence = rows.presence[lesson.rows]
    return evidence.tells(presence, lesson.target, lesson.weight, rows.kind, team.prior)


# ---- what members say --------------------------------------------------------------------------------------


def team_scores(rows: Rows, turned: tuple[np.ndarray, ...], team: Team, index: np.ndarray) -> Tensor:
    """(n, E, C) scores of some rows; zeros where their modality is absent."""
    n_outputs = len(team.prior)
    scores = torch.zeros(len(index), len(team.branches), N_MEMBERS, n_outputs)
    for m, branch in enumerate(team.branches):
        here = np.flatnonzero(rows.presence[index, m])
        there = index[here]
        scores[here, m] = branch.scores(rows.values[m][there], turned[m][there], rows.kind)
    return scores.flatten(1, 2)


def joint_scores(rows: Rows, team: Team, index: np.ndarray, subsets: Tensor) -> Tensor:
    """(n, S, C) scores of the joint member for some rows; zeros where fewer than two modalities are left."""
    assert team.joint is not None
    scores = torch.zeros(len(index), len(subsets), len(team.prior))
    for s, subset in enumerate(subsets.numpy()):
        left = rows.presence[index] & subset
        here = np.flatnonzero(left.sum(axis=1) > 1)
        values = [value[index[here]] for value in rows.values]
        scores[here, s] = team.joint.scores(values, left[here], rows.kind)
    return scores


def crossed_scores(rows: Rows, team: Team, index: np.ndarray, subsets: Tensor) -> Tensor:
    """(n, S, C) of what pairs tell together, for some rows."""
    assert team.crossing is not None
    return torch.from_numpy(team.crossing.scores([own[index] for own in rows.along], subsets.numpy()))
