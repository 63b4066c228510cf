"""What held-out labels say of the committee's teams, and which members are worth having.

What the fold teams say of their own folds is honest in every generation: it teaches the pool its weights,
its error says which generation is better, and whether a member that reads several modalities at once, or
presence, is kept.

Letters: n rows, M modalities, E members, C outputs, S subsets of the modalities, F folds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from polymodal.methods.committee import decisions, evidence, pool
from polymodal.methods.committee.evidence import Evidence
from polymodal.methods.committee.members import N_MEMBERS, Joint, to_shares
from polymodal.methods.committee.pool import Judged, Weights, loss_of
from polymodal.methods.committee.teams import (
    Rows,
    Team,
    crossed_scores,
    crossing_of,
    joint_of,
    joint_scores,
    lesson_of,
    team_scores,
    tells_of,
)

WORTH_A_PASS, WORTH_BOOSTING = 0.03, 0.005
"""Part of the held-out loss that a joint member must take away: a forest, and boosted trees."""
MOST_BOOSTED = 500
"""Classes times columns for which boosted trees are tried: what they cost goes with both."""
WORTH_A_PRODUCT = 0.01
"""Part of the held-out loss that products of two modalities must take away."""
WORTH_HEARING, RARE_BY_CHANCE = 0.03, 0.01
"""Part of the held-out loss that presence must take away, and how seldom shuffled labels depend on it so."""
RARE_OPINIONS = 1e-4
"""The same of opinions: these are many, and that some inputs are missing has many causes."""
MIN_GAINSAYERS = 9
"""Held-out rows without which nothing could gainsay opinions."""
MIN_OPINIONS = 50
"""Unlabelled rows whose opinions are asked whether presence tells, at least."""
N_STANDARD_ERRORS = 2.0
"""How far worse something may look that is worth having for other reasons."""
UNJUDGED_SHARPENING = 2.0
"""Power of what a modality teaches alone when no held-out label has tempered it: members of a few rows are
timid. With others beside it they are less so; see :func:`.generations.sharpened`."""
UNJUDGED_FOREST = -3.0
"""Log weight of a forest of a few rows, which nothing has judged; one taught by a teacher counts in full."""


@dataclass(frozen=True)
class Verdict:
    """What the held-out labels say of a generation.

    Attributes:
        weights: the pool's, for each team.
        loss: mean over the judged rows and their combinations of modalities, each by weights learnt from the
            other folds; NaN where nothing was held out.
        errors: (n,) of the judged rows, mean over their combinations: by these generations are compared.
        explained: share of the spread of values that a pool of all modalities explains, in [0, 1].
        sharpening: power of what its pools teach of a row with a single modality.
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


def unjudged(rows: Rows, team: Team, *, students: bool) -> Verdict:
    """What is taken for true of the only team, where no label could be held out."""
    weights = Weights.start(len(rows.values), N_MEMBERS, rows.kind)
    weights.theta[:, -1] = 0.0 if students else UNJUDGED_FOREST
    sharpening = 1.0 if rows.kind == "regression" else UNJUDGED_SHARPENING
    heard = None if team.tells is None else (Evidence.unlearnt(team.tells),)
    return Verdict((weights,), math.nan, torch.empty(0), 1.0, sharpening, heard)


def judge(rows: Rows, turned: tuple[np.ndarray, ...], teams: list[Team], subsets: Tensor) -> Verdict:
    """Weigh the members by what the fold teams say of their own folds, of which there is some row."""
    start = Weights.start(len(rows.values), N_MEMBERS, rows.kind)
    held = np.concatenate([team.held for team in teams])
    fold = torch.from_numpy(np.repeat(np.arange(len(teams)), [len(team.held) for team in teams]))
    joint = None
    if teams[-1].joint is not None:
        joint = torch.cat([joint_scores(rows, team, team.held, subsets) for team in teams[1:]])
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
    errors, whole = torch.full((len(fold),), torch.nan), torch.empty(len(fold))
    for here, part, own, presence in _by_fold(judged, fold, weights, heard):
        losses, counted = part.losses(own, presence)
        total, count = total + float(losses[counted].sum()), count + int(counted.sum())
        errors[here] = part.errors(own, presence)
        if judged.kind == "regression":
            whole[here] = part.whole().losses(own, presence)[0][:, 0]
    explained = _explained(whole, judged.target) if judged.kind == "regression" else 1.0
    loss = total / max(count, 1)
    return Verdict(weights, loss, errors, explained, heard=heard, judged=judged, fold=fold)


def _by_fold(
    judged: Judged, fold: Tensor, weights: Sequence[Weights], heard: Sequence[Evidence] | None
) -> Iterator[tuple[Tensor, Judged, Weights, Evidence | None]]:
    """Of each fold: (n,) bool which rows, these rows, and what the team makes of them that never saw them."""
    for number in range(1, len(weights)):
        here = fold == number
        yield here, judged.rows(here), weights[number], None if heard is None else heard[number]


def learn_cuts(verdict: Verdict) -> Tensor | None:
    """(C,): where labels are decided, by what the fold teams say of their own folds; None without any."""
    judged, fold = verdict.judged, verdict.fold
    if judged is None or fold is None:
        return None
    scores = torch.empty(*judged.counted.shape, judged.target.shape[1])
    for here, part, weights, presence in _by_fold(judged, fold, verdict.weights, verdict.heard):
        scores[here] = part.said(weights, presence)
    return decisions.cuts(scores, judged.counted, judged.target)


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


def _explained(losses: Tensor, target: Tensor) -> float:
    """1 - (squared error of the pool of all modalities) / (that of the mean); 0 where that may be chance.

    Args:
        losses: (n,) half the squared error of each judged row.
        target: (n, 1) standardised values.
    """
    of_mean = (target[:, 0] - target.mean()).square() / 2
    gains = of_mean - losses
    if gains.mean() <= N_STANDARD_ERRORS * gains.std(correction=0) / math.sqrt(len(gains)):
        return 0.0
    return float(gains.mean() / of_mean.mean())


# ---- worth having ------------------------------------------------------------------------------------------


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
    """Give every team the joint member that lowers the held-out loss most, if that pays a pass a combination.

    A forest, or boosted trees where they are not too dear.
    """
    whole, *others = teams
    best: Verdict = without
    chosen: list[Joint | None] = [None] * len(others)
    for boosted in (False, True) if can_be_boosted(rows, teams) else (False,):
        for team in others:
            team.joint = joint_of(rows, team, lesson_of(rows, team, None), seed, boosted=boosted)
        found = judge(rows, turned, teams, subsets)
        worth = WORTH_BOOSTING if boosted else WORTH_A_PASS
        if found.loss < min((1 - worth) * without.loss, best.loss):
            best, chosen = found, [team.joint for team in others]
    for team, joint in zip(others, chosen, strict=True):
        team.joint = joint
    if chosen[0] is not None:
        lesson, boosted = lesson_of(rows, whole, None), chosen[0].is_boosted
        whole.joint = joint_of(rows, whole, lesson, seed, boosted=boosted)
    return best


def can_be_boosted(rows: Rows, teams: list[Team]) -> bool:
    """Whether boosted trees are tried: of classes, two for each team, where they are not too dear."""
    n_columns, n_outputs = sum(value.shape[1] for value in rows.values), rows.target.shape[1]
    if rows.kind != "multiclass" or n_outputs * n_columns > MOST_BOOSTED:
        return False
    return all(rows.target[team.known].any(axis=0).sum() > 1 for team in teams)


def with_presence_if_it_tells(
    rows: Rows, turned: tuple[np.ndarray, ...], teams: list[Team], without: Verdict, seed: int
) -> Verdict:
    """Let every team hear what presence says, if that is no chance and held-out labels do not gainsay it.

    Rows are judged by the presence that they came with: one that was taken away for judging tells nothing.
    That labels depend on presence must show in the held-out loss. That opinions of unlabelled rows do is
    surer than a few labels are: these must not be clearly worse for it; where none is held out it is heard.
    """
    judged, fold, known = without.judged, without.fold, teams[0].known
    if len(known) == 0:
        return without
    random = np.random.default_rng(seed)
    by_labels = evidence.by_chance(rows.presence[known], rows.target[known], random) <= RARE_BY_CHANCE
    by_opinions = _opinions_by_chance(rows, turned, teams[0], without.weights[0], random) <= RARE_OPINIONS
    if not by_opinions and (judged is None or not by_labels):
        return without
    for team in teams:
        team.tells = tells_of(rows, team, lesson_of(rows, team, None))
    if judged is None or fold is None:
        assert teams[0].tells is not None
        return replace(without, heard=(Evidence.unlearnt(teams[0].tells),))
    heard, losses = hear(rows, teams, judged, fold, without.weights)
    before, after = losses.mean(dim=0).tolist()
    gains = by_labels and after < (1 - WORTH_HEARING) * before
    ungainsaid = len(losses) >= MIN_GAINSAYERS and not_clearly_worse(losses[:, 1] - losses[:, 0])
    if gains or (by_opinions and ungainsaid):
        return _verdict(judged, fold, without.weights, heard)
    for team in teams:
        team.tells = None
    return without


def _opinions_by_chance(
    rows: Rows, turned: tuple[np.ndarray, ...], team: Team, weights: Weights, random: np.random.Generator
) -> float:
    if len(team.free) < MIN_OPINIONS:
        return 1.0
    presence = rows.presence[team.free]
    alone = pool.opinions(team_scores(rows, turned, team, team.free), torch.from_numpy(presence), weights)
    groups = None if rows.groups is None else rows.groups[team.free]
    return evidence.opinions_by_chance(to_shares(alone, rows.kind).numpy(), presence, groups, random)


def not_clearly_worse(worse: Tensor) -> bool:
    """Whether (n,) differences are in the mean no more than two standard errors above 0."""
    return bool(worse.mean() <= N_STANDARD_ERRORS * worse.std(correction=0) / math.sqrt(len(worse)))
