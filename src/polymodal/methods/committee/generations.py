"""Learning of the committee: generations of teachers and students, judged by labels that they never saw.

A *team* learns from some labelled rows: one from all of them, and one for each fold of a cross-validation
from all but that fold's. In generation 0 a team's members learn from its labelled rows. Then the pool of its
members labels the unlabelled rows, softly, and the members of the next generation learn from both. What the
fold teams say of their own folds is honest in every generation: it teaches the pool its weights, and its loss
says which generation is kept.

Letters: n rows, M modalities, E members, C outputs, S subsets of the modalities, F folds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.batch import TaskKind
from polymodal.methods.committee import evidence, interactions, pool
from polymodal.methods.committee.evidence import Evidence
from polymodal.methods.committee.interactions import Interactions
from polymodal.methods.committee.linear import Directions, Linear
from polymodal.methods.committee.members import N_MEMBERS, Branch, Joint, Lesson, to_shares
from polymodal.methods.committee.pool import Judged, Weights, loss_of
from polymodal.progress import progress

MAX_FOLDS = 5
MAX_FREE = 2000
"""Unlabelled rows that teach a generation, at most."""
MAX_KNOWN, MAX_KNOWN_JUDGED = 20_000, 4000
"""Labelled rows that the team of all, and a fold's, learn from, at most."""
MAX_HELD = 400
"""Rows of a fold that judge, at most."""
MIN_FREE = 50
"""With fewer there is one generation."""
MIN_JUDGES = 3
"""Rows a class, in the mean, that can be held out; with fewer nothing is judged."""
PATIENCE = 2
"""Generations without a lower held-out loss before the search ends."""
LABELLED_SHARE = 0.2
"""The labelled rows together weigh at least this part of the unlabelled ones."""
N_STANDARD_ERRORS = 2.0
"""How far worse than their teacher the first students may look."""
WORTH_A_PASS = 0.03
"""Part of the held-out loss that a joint member must take away."""
UNJUDGED_SHARPENING = 2.0
"""Power of what a teacher says when no held-out label has tempered it: members of a few rows are timid."""
UNJUDGED_FOREST = -3.0
"""Log weight of a forest of a few rows, which nothing has judged; one taught by a teacher counts in full."""
WORTH_HEARING, RARE_BY_CHANCE = 0.03, 0.01
"""Part of the held-out loss that presence must take away, and how seldom shuffled labels depend on it so."""
WORTH_A_PRODUCT = 0.01
"""Part of the held-out loss that products of two modalities must take away."""
N_ALIGNMENTS = 20
N_STRATA = 10


Watch = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""From (n,) numbers of unlabelled rows and the (n, C) shares or values that they are taught."""


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


# ---- teaching ----------------------------------------------------------------------------------------------


def taught_by(
    rows: Rows,
    turned: tuple[np.ndarray, ...],
    team: Team,
    weights: Weights,
    verdict: Verdict,
    heard: Evidence | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What a team's pool says of its unlabelled rows: (n, C) targets and (n,) weights.

    Shares of the classes are aligned with those among the labelled rows. A row of classes or labels weighs
    1 minus its entropy over the largest one, a row of values what the pool explains of them.

    Args:
        rows: all rows.
        turned: all rows along the directions.
        team: the teacher.
        weights: of its pool.
        verdict: on the teachers.
        heard: what it makes of presence, if anything.
    """
    presence = torch.from_numpy(rows.presence[team.free])
    said_alone = pool.opinions(team_scores(rows, turned, team, team.free), presence, weights)
    z = pool.pooled(said_alone, presence.unsqueeze(1), weights)
    if team.crossing is not None:
        everything = torch.ones(1, presence.shape[1], dtype=torch.bool)
        z = z + weights.crossing * crossed_scores(rows, team, team.free, everything)
    if team.joint is not None:
        n_present = presence.sum(1, keepdim=True)
        joint = joint_scores(rows, team, team.free, torch.ones(1, presence.shape[1], dtype=torch.bool))
        z = pool.mixed(z, joint, n_present, weights)
    z = z[:, 0] * verdict.sharpening
    z = z if heard is None else heard(z, presence)
    said = to_shares(z, rows.kind).double().numpy()
    if rows.kind == "regression":
        return said, np.full(len(said), verdict.explained)
    if rows.kind == "multiclass":
        said = aligned(said, team.prior)
        return said, 1 - entropy(said) / math.log(said.shape[1])
    pairs = np.stack([1 - said, said], axis=2)
    odds = np.stack([1 - team.prior, team.prior], axis=1)
    pairs = np.stack([aligned(pairs[:, c], odds[c]) for c in range(said.shape[1])], axis=1)
    return pairs[:, :, 1], 1 - entropy(pairs).mean(axis=1) / math.log(2)


def aligned(shares: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(n, C) shares, reweighted by class until their mean is about the prior (C,)."""
    scale = np.ones(len(prior))
    for _ in range(N_ALIGNMENTS):
        now = shares * scale
        now /= now.sum(axis=1, keepdims=True)
        scale *= np.sqrt(prior / np.maximum(now.mean(axis=0), 1e-6))
    now = shares * scale
    return now / now.sum(axis=1, keepdims=True)


def entropy(shares: np.ndarray) -> np.ndarray:
    """Over the last axis, in nats."""
    return -(shares * np.log(shares + 1e-12)).sum(axis=-1)


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


# ---- judging -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What the held-out labels say of a generation.

    Attributes:
        weights: the pool's, for each team.
        loss: mean over the judged rows and their combinations of modalities, each by weights learnt from the
            other folds; NaN where nothing was held out.
        errors: (n,) of the judged rows, mean over their combinations: by these generations are compared.
        explained: share of the spread of values that a pool of all modalities explains, in [0, 1].
        sharpening: power of what its pools teach.
        heard: what each team makes of presence; None where it is not heard.
        judged: the rows that were held out; None without any.
        fold: (n,) of each of them.
    """

    weights: tuple[Weights, ...]
    loss: float
    errors: Tensor
    explained: float
    sharpening: float = 1.0
    heard: tuple[Evidence, ...] | None = None
    judged: Judged | None = None
    fold: Tensor | None = None


def unjudged(n_modalities: int, n_teams: int, kind: TaskKind, *, students: bool) -> Verdict:
    """What is taken for true where no label could be held out."""
    weights = Weights.start(n_modalities, N_MEMBERS, kind)
    weights.theta[:, -1] = 0.0 if students else UNJUDGED_FOREST
    sharpening = 1.0 if kind == "regression" else UNJUDGED_SHARPENING
    return Verdict((weights,) * n_teams, math.nan, torch.empty(0), 1.0, sharpening)


def judge(rows: Rows, turned: tuple[np.ndarray, ...], teams: list[Team], subsets: Tensor) -> Verdict:
    """Weigh the members by what the fold teams say of their own folds, of which there is some row."""
    start = Weights.start(len(rows.values), N_MEMBERS, rows.kind)
    held = np.concatenate([team.held for team in teams])
    fold = torch.from_numpy(np.repeat(np.arange(len(teams)), [len(team.held) for team in teams]))
    joint = None
    if teams[0].joint is not None:
        joint = torch.cat([joint_scores(rows, team, team.held, subsets) for team in teams])
    crossed = None
    if teams[0].crossing is not None:
        crossed = torch.cat([crossed_scores(rows, team, team.held, subsets) for team in teams])
    judged = Judged(
        scores=torch.cat([team_scores(rows, turned, team, team.held) for team in teams]),
        joint=joint,
        target=torch.from_numpy(rows.target[held]).float(),
        presence=torch.from_numpy(rows.presence[held]),
        subsets=subsets,
        kind=rows.kind,
        crossed=crossed,
    )
    together = pool.learn(judged, start)
    weights = [together]
    for number in range(1, len(teams)):
        weights.append(pool.learn(judged.rows(fold != number), together))
    heard = None if teams[0].tells is None else hear(rows, teams, judged, fold, weights)[0]
    return _verdict(judged, fold, tuple(weights), heard)


def _verdict(
    judged: Judged, fold: Tensor, weights: tuple[Weights, ...], heard: tuple[Evidence, ...] | None
) -> Verdict:
    total, count = 0.0, 0
    errors = torch.full((len(fold),), torch.nan)
    for number in range(1, len(weights)):
        own = None if heard is None else heard[number]
        part = judged.rows(fold == number)
        losses, counted = part.losses(weights[number], own)
        total, count = total + float(losses[counted].sum()), count + int(counted.sum())
        errors[fold == number] = part.errors(weights[number], own)
    explained = _explained(judged, weights[0], None if heard is None else heard[0])
    loss = total / max(count, 1)
    return Verdict(weights, loss, errors, explained, heard=heard, judged=judged, fold=fold)


def hear(
    rows: Rows, teams: list[Team], judged: Judged, fold: Tensor, weights: Sequence[Weights]
) -> tuple[tuple[Evidence, ...], Tensor]:
    """What each team makes of presence, learnt from rows held out, read by the presence that they have.

    Args:
        rows: all rows.
        teams: each with what presence tells.
        judged: the rows that were held out.
        fold: (n,) of each of them.
        weights: of each team's pool.

    Returns:
        The evidence of each team, and (n, 2): the loss of each row without presence and with it, each as
        the other folds have it.
    """
    told = [team.tells(rows.presence[team.held].astype(np.float32)) for team in teams if team.tells]
    whole, said = judged.whole(), torch.from_numpy(np.concatenate(told))
    found, losses = [], torch.zeros(len(fold), 2)
    for number, (team, own) in enumerate(zip(teams, weights, strict=True)):
        assert team.tells is not None
        z, held = whole.fused(own)[:, 0], fold == number
        task = (z[~held], judged.target[~held], judged.presence[~held], judged.kind)
        found.append(evidence.learn(*task, said[~held], team.tells))
        for i, each in enumerate((evidence.without(*task), found[-1])):
            losses[held, i] = loss_of(each(z[held], judged.presence[held]), judged.target[held], judged.kind)
    return tuple(found), losses


def _explained(judged: Judged, weights: Weights, heard: Evidence | None) -> float:
    """1 - (squared error of the pool of all modalities) / (that of the mean), of values, in [0, 1]."""
    if judged.kind != "regression":
        return 1.0
    losses, _ = judged.whole().losses(weights, heard)
    return float(np.clip(1 - 2 * float(losses.mean()) / max(float(judged.target.var()), 1e-9), 0.0, 1.0))


# ---- the ladder --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Learnt:
    """The generation that was kept.

    Attributes:
        branches: the members of each modality, from all labelled rows.
        joint: the member that reads all at once, where it was worth it.
        crossing: what pairs tell together, where it was worth it.
        directions: of each modality.
        plain: those along which pairs are read.
        weights: of the pool.
        heard: what presence tells, where it was worth hearing.
        history: one entry a generation; the `rule` of the last says which was kept and why.
    """

    branches: tuple[Branch, ...]
    joint: Joint | None
    crossing: Interactions | None
    directions: tuple[Directions, ...]
    plain: tuple[Directions, ...]
    weights: Weights
    heard: Evidence | None
    history: list[dict[str, Any]]


def learn(
    rows: Rows,
    *,
    n_trees: int,
    n_trees_judged: int,
    n_generations: int,
    seed: int,
    joint: bool = True,
    watch: Watch | None = None,
    verbose: bool = False,
) -> Learnt:
    """Learn generation after generation until the held-out loss falls no more; keep the best.

    Args:
        rows: all training rows, some of them labelled.
        n_trees: of a forest.
        n_trees_judged: of a forest of a fold's team.
        n_generations: of students, at most.
        seed: the same gives the same members, bit for bit.
        joint: also try a member that reads all modalities at once.
        watch: makes figures for the history from what unlabelled rows are taught, which changes nothing.
        verbose: show progress.
    """
    random = np.random.default_rng(seed)
    directions, turned = turned_rows(rows, random)
    plain = plain_directions(rows, directions, random)
    rows = replace(rows, along=tuple(interactions.numbers(rows.values, plain, rows.presence)))
    teams = teams_of(rows, folds_of(rows, random), n_trees, n_trees_judged, random)
    subsets = pool.chosen_subsets(len(rows.values), random)
    judged = any(len(team.held) for team in teams)
    teachable = judged or rows.kind == "multiclass"
    most = n_generations if teachable and len(teams[0].free) >= MIN_FREE else 0
    history: list[dict[str, Any]] = []
    best: Learnt | None = None
    chosen: Verdict | None = None
    verdict: Verdict | None = None
    with progress("fit", (most + 1) * len(teams), verbose=verbose) as shown:
        for generation in range(most + 1):
            start, figures = time.perf_counter(), {}
            taught: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(teams)
            if verdict is not None:
                heard = verdict.heard or (None,) * len(teams)
                taught = [
                    taught_by(rows, turned, team, weights, verdict, presence)
                    for team, weights, presence in zip(teams, verdict.weights, heard, strict=True)
                ]
                figures = {} if watch is None else watch(teams[0].free, taught[0][0])  # type: ignore[index]
            for team, own in zip(teams, taught, strict=True):
                learn_team(rows, turned, team, own, seed + generation)
                shown.step(lambda generation=generation: f"generation {generation}")  # type: ignore[misc]
            if judged:
                verdict = judge(rows, turned, teams, subsets)
            else:
                verdict = unjudged(len(rows.values), len(teams), rows.kind, students=generation > 0)
            if joint and generation == 0 and judged and len(rows.values) > 1:
                verdict = with_crossing_if_better(rows, turned, teams, subsets, verdict, seed)
                verdict = with_joint_if_better(rows, turned, teams, subsets, verdict, seed)
                verdict = with_presence_if_it_tells(rows, teams, verdict, seed)
            history.append(_entry(generation, verdict) | figures | {"seconds": time.perf_counter() - start})
            if (
                best is None
                or chosen is None
                or not judged
                or _is_better(verdict, chosen, generation, rows.kind)
            ):
                chosen = verdict
                first = None if verdict.heard is None else verdict.heard[0]
                members = (teams[0].branches, teams[0].joint, teams[0].crossing, directions, plain)
                best = Learnt(*members, verdict.weights[0], first, list(history))
            elif best is not None and len(history) - len(best.history) >= PATIENCE:
                break
    assert best is not None
    history[len(best.history) - 1]["kept"] = True
    rule = _rule(len(best.history) - 1, len(history), judged, len(teams[0].free), rows.kind)
    history[-1]["rule"] = rule
    return replace(best, history=history)


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
        team.joint = joint_of(rows, team, lesson, seed)
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
        before = team.branches[m] if team.branches else None
        here = (values[own.rows], along[own.rows], own, rows.kind)
        found.append(Branch.learn(*here, n_trees=team.n_trees, seed=seed, start=before))
    return tuple(found)


def joint_of(rows: Rows, team: Team, lesson: Lesson, seed: int) -> Joint:
    """The member that reads all modalities at once."""
    values, presence = [value[lesson.rows] for value in rows.values], rows.presence[lesson.rows]
    return Joint.learn(values, presence, lesson, n_trees=team.n_trees, seed=seed)


def crossing_of(rows: Rows, lesson: Lesson, seed: int) -> Interactions:
    """What pairs of modalities tell together of the rows of a lesson."""
    along = [own[lesson.rows] for own in rows.along]
    return interactions.find(along, rows.presence[lesson.rows], lesson, rows.kind, seed)


def with_crossing_if_better(
    rows: Rows,
    turned: tuple[np.ndarray, ...],
    teams: list[Team],
    subsets: Tensor,
    without: Verdict,
    seed: int,
) -> Verdict:
    """Give every team what pairs tell together, if the team of all finds any and the held-out loss falls."""
    whole, *others = teams
    whole.crossing = crossing_of(rows, lesson_of(rows, whole, None), seed)
    if len(whole.crossing.pair):
        for team in others:
            team.crossing = crossing_of(rows, lesson_of(rows, team, None), seed)
        found = judge(rows, turned, teams, subsets)
        if found.loss < (1 - WORTH_A_PRODUCT) * without.loss:
            return found
    for team in teams:
        team.crossing = None
    return without


def with_joint_if_better(
    rows: Rows,
    turned: tuple[np.ndarray, ...],
    teams: list[Team],
    subsets: Tensor,
    without: Verdict,
    seed: int,
) -> Verdict:
    """Give every team a joint member if that lowers the held-out loss enough to pay a pass a combination."""
    for team in teams:
        team.joint = joint_of(rows, team, lesson_of(rows, team, None), seed)
    found = judge(rows, turned, teams, subsets)
    if found.loss < (1 - WORTH_A_PASS) * without.loss:
        return found
    for team in teams:
        team.joint = None
    return without


def tells_of(rows: Rows, team: Team, lesson: Lesson) -> Linear:
    """What the presence of a lesson's rows says of their labels."""
    presence = rows.presence[lesson.rows]
    return evidence.tells(presence, lesson.target, lesson.weight, rows.kind, team.prior)


def with_presence_if_it_tells(rows: Rows, teams: list[Team], without: Verdict, seed: int) -> Verdict:
    """Let every team hear what presence says, if that lowers the held-out loss and is no chance.

    Rows are judged by the presence that they came with: one that was taken away for judging tells nothing.
    """
    judged, fold, known = without.judged, without.fold, teams[0].known
    if judged is None or fold is None:
        return without
    random = np.random.default_rng(seed)
    if evidence.by_chance(rows.presence[known], rows.target[known], random) > RARE_BY_CHANCE:
        return without
    for team in teams:
        team.tells = tells_of(rows, team, lesson_of(rows, team, None))
    heard, losses = hear(rows, teams, judged, fold, without.weights)
    before, after = losses.mean(dim=0).tolist()
    if after < (1 - WORTH_HEARING) * before:
        return _verdict(judged, fold, without.weights, heard)
    for team in teams:
        team.tells = None
    return without


def _entry(generation: int, verdict: Verdict) -> dict[str, Any]:
    a0, a1 = verdict.weights[0].sharpness.tolist()
    entry = {"stage": "generation", "epoch": generation, "sharpness": a1, "independence": a0}
    entry["joint"] = float(verdict.weights[0].joint[1])
    entry["presence"] = 0.0 if verdict.heard is None else float(verdict.heard[0].weight.norm())
    entry["crossing"] = float(verdict.weights[0].crossing)
    if not math.isnan(verdict.loss):
        entry["validation_loss"] = float(verdict.errors.nanmean())
        entry["validation_log_loss"] = verdict.loss
    return entry


def _is_better(verdict: Verdict, best: Verdict, generation: int, kind: TaskKind) -> bool:
    """Whether a generation takes the place of the best one so far.

    By the mean error of the judged rows. The first students of classes need not be better than their teacher,
    only not clearly worse: they learn from every row, and a few dozen held-out ones see little of it.
    """
    worse = verdict.errors - best.errors
    worse = worse[~worse.isnan()]
    if generation == 1 and kind == "multiclass":
        return bool(worse.mean() <= N_STANDARD_ERRORS * worse.std(correction=0) / math.sqrt(len(worse)))
    return bool(worse.mean() < 0)


def _rule(kept: int, n_tried: int, judged: bool, n_free: int, kind: TaskKind) -> str:
    if not judged and kind != "multiclass":
        return "one generation: too few labelled rows to judge a second one"
    if n_free < MIN_FREE:
        return f"one generation: fewer than {MIN_FREE} unlabelled rows, {n_free}"
    if not judged:
        return f"generation {kept}, unjudged: too few labelled rows to hold any out"
    return f"generation {kept} of {n_tried} tried, by the error on held-out folds"
