"""Learning of the committee: generations of teachers and students, judged by labels that they never saw.

In generation 0 the members of a team (:mod:`.teams`) learn from its labelled rows. Then the pool of its
members labels the unlabelled rows, softly, and the members of the next generation learn from both. What the
fold teams say of their own folds (:mod:`.judging`) says which generation is kept.

Letters: n rows, M modalities, E members, C outputs, S subsets of the modalities.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from polymodal.batch import TaskKind
from polymodal.methods.committee import interactions, neighbours, pool
from polymodal.methods.committee.evidence import Evidence
from polymodal.methods.committee.interactions import Interactions
from polymodal.methods.committee.judging import (
    Verdict,
    judge,
    learn_cuts,
    not_clearly_worse,
    unjudged,
    with_crossing_if_better,
    with_joint_if_better,
    with_presence_if_it_tells,
)
from polymodal.methods.committee.linear import Directions
from polymodal.methods.committee.members import Branch, Joint, to_shares
from polymodal.methods.committee.pool import Weights
from polymodal.methods.committee.teams import (
    Rows,
    Team,
    crossed_scores,
    folds_of,
    joint_scores,
    learn_team,
    plain_directions,
    team_scores,
    teams_of,
    turned_rows,
)
from polymodal.progress import progress

MIN_FREE = 50
"""With fewer unlabelled rows there is one generation."""
PATIENCE = 2
"""Generations without a lower held-out error before the search ends."""
N_ALIGNMENTS = 20


Watch = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""From (n,) numbers of unlabelled rows and the (n, C) shares or values that they are taught."""


# ---- teaching ----------------------------------------------------------------------------------------------


def taught_by(
    rows: Rows,
    turned: tuple[np.ndarray, ...],
    team: Team,
    weights: Weights,
    verdict: Verdict,
    heard: Evidence | None = None,
    graph: csr_array | None = None,
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
        graph: of its labelled rows, then the unlabelled ones; None where neighbours are not asked.
    """
    presence = torch.from_numpy(rows.presence[team.free])
    scores = team_scores(rows, turned, team, team.free)
    everything = torch.ones(1, presence.shape[1], dtype=torch.bool)
    crossed = None if team.crossing is None else crossed_scores(rows, team, team.free, everything)
    joint = None if team.joint is None else joint_scores(rows, team, team.free, everything)
    z = pool.fused(pool.opinions(scores, presence, weights), presence.unsqueeze(1), weights, crossed, joint)
    z = z[:, 0] * sharpened(presence, verdict.sharpening).unsqueeze(1)
    z = z if heard is None else heard(z, presence)
    said = to_shares(z, rows.kind).double().numpy()
    if rows.kind == "regression":
        return said, np.full(len(said), verdict.explained)
    if rows.kind == "multiclass":
        said = aligned(said, team.prior)
        if graph is not None:
            said = aligned(neighbours.spread(graph, rows.target[team.known], said), team.prior)
        return said, 1 - entropy(said) / math.log(said.shape[1])
    pairs = np.stack([1 - said, said], axis=2)
    odds = np.stack([1 - team.prior, team.prior], axis=1)
    pairs = np.stack([aligned(pairs[:, c], odds[c]) for c in range(said.shape[1])], axis=1)
    return pairs[:, :, 1], 1 - entropy(pairs).mean(axis=1) / math.log(2)


def sharpened(presence: torch.Tensor, alone: float) -> torch.Tensor:
    """(n,): the power that what the pool says of a row is taught to: 1 + (alone - 1) / k for k modalities.

    Several together are surer already, and what they agree on wrongly is taught all the more surely.

    Args:
        presence: (n, M) bool, one modality of each row at least.
        alone: power of what a single modality teaches.
    """
    return 1 + (alone - 1) / presence.sum(dim=1)


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
        cut: (C,) where labels are decided; None for 1/2, and for classes and values.
        history: one entry a generation; the `rule` of the last says which was kept and why.
    """

    branches: tuple[Branch, ...]
    joint: Joint | None
    crossing: Interactions | None
    directions: tuple[Directions, ...]
    plain: tuple[Directions, ...]
    weights: Weights
    heard: Evidence | None
    cut: torch.Tensor | None
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
    graph: csr_array | None = None
    history: list[dict[str, Any]] = []
    best: Learnt | None = None
    chosen: Verdict | None = None
    verdict: Verdict | None = None
    with progress("fit", (most + 1) * len(teams), verbose=verbose) as shown:
        for generation in range(most + 1):
            start, figures = time.perf_counter(), {}
            if generation == 1 and not judged:
                assert verdict is not None
                graph = _graph_of(rows, turned, teams[0], verdict.weights[0], seed)
            taught = _taught(rows, turned, teams, verdict, graph)
            if watch is not None and taught[0] is not None:
                figures = watch(teams[0].free, taught[0][0])
            for team, own in zip(teams, taught, strict=True):
                learn_team(rows, turned, team, own, seed + generation)
                shown.step(lambda generation=generation: f"generation {generation}")  # type: ignore[misc]
            if judged:
                verdict = judge(rows, turned, teams, subsets)
            else:
                verdict = unjudged(rows, teams[0], students=generation > 0)
            if joint and generation == 0 and len(rows.values) > 1:
                verdict = _with_what_is_worth_it(rows, turned, teams, subsets, verdict, seed)
            history.append(_entry(generation, verdict) | figures | {"seconds": time.perf_counter() - start})
            if chosen is None or not judged or _is_better(verdict, chosen, generation, rows.kind):
                chosen = verdict
                first = None if verdict.heard is None else verdict.heard[0]
                members = (teams[0].branches, teams[0].joint, teams[0].crossing, directions, plain)
                best = Learnt(*members, verdict.weights[0], first, None, list(history))
            elif best is not None and len(history) - len(best.history) >= PATIENCE:
                break
            if not verdict.explained:  # students of a teacher who says the mean would say it louder
                break
    assert best is not None
    assert chosen is not None
    cut = learn_cuts(chosen) if rows.kind == "multilabel" else None
    history[len(best.history) - 1]["kept"] = True
    kept = len(best.history) - 1
    counts = (kept, len(history), len(teams[0].free))
    history[-1]["rule"] = _rule(*counts, judged, bool(chosen.explained), rows.kind)
    best = replace(best, cut=cut, history=history)
    return _as_used(best, chosen.sharpening if kept else 1.0, rows.presence[rows.presence.any(axis=1)])


def _as_used(learnt: Learnt, sharpening: float, presence: np.ndarray) -> Learnt:
    """Students as sure as a few labels can make them, and presence heard as far as it was seen.

    What sharpens teaching makes too sure in use, generation upon generation; no decision changes without it.
    A pool that was judged sharpens nothing, and one that was not has no members but those of a modality.

    Args:
        learnt: as taught.
        sharpening: power of what a single modality taught it.
        presence: (n, M) bool of the training rows.
    """
    weights = replace(learnt.weights, temper=learnt.weights.temper - math.log(sharpening))
    heard = learnt.heard
    if heard is not None:
        heard = heard.divided(sharpening).within(torch.from_numpy(presence))
    return replace(learnt, weights=weights, heard=heard)


def _graph_of(
    rows: Rows, turned: tuple[np.ndarray, ...], team: Team, weights: Weights, seed: int
) -> csr_array | None:
    """The graph of a team's labelled rows, then its unlabelled ones; None where neighbours tell nothing.

    Nor are they asked where rows come in groups: those near a row are near it for being of its group.
    """
    if rows.groups is not None:
        return None
    index = np.concatenate([team.known, team.free])
    along, presence = [along[index] for along in turned], rows.presence[index]
    alone = pool.opinions(team_scores(rows, turned, team, index), torch.from_numpy(presence), weights)
    said = to_shares(alone, rows.kind).double().numpy()
    if not neighbours.are_told_alike(along, presence, said, np.random.default_rng(seed)):
        return None
    return neighbours.graph_of(along, presence)


def _taught(
    rows: Rows,
    turned: tuple[np.ndarray, ...],
    teams: list[Team],
    verdict: Verdict | None,
    graph: csr_array | None,
) -> list[tuple[np.ndarray, np.ndarray] | None]:
    """What each team's own pool teaches it; nothing before there is a verdict on one."""
    if verdict is None:
        return [None] * len(teams)
    heard = verdict.heard or (None,) * len(teams)
    told = zip(teams, verdict.weights, heard, strict=True)
    return [taught_by(rows, turned, team, weights, verdict, own, graph) for team, weights, own in told]


def _with_what_is_worth_it(
    rows: Rows,
    turned: tuple[np.ndarray, ...],
    teams: list[Team],
    subsets: torch.Tensor,
    verdict: Verdict,
    seed: int,
) -> Verdict:
    """The verdict with members that read several modalities, and with presence, where they are worth it."""
    if verdict.judged is not None:
        verdict = with_crossing_if_better(rows, turned, teams, subsets, verdict, seed)
        verdict = with_joint_if_better(rows, turned, teams, subsets, verdict, seed)
    return with_presence_if_it_tells(rows, turned, teams, verdict, seed)


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
        return not_clearly_worse(worse)
    return bool(worse.mean() < 0)


def _rule(kept: int, n_tried: int, n_free: int, judged: bool, explained: bool, kind: TaskKind) -> str:
    if not judged and kind != "multiclass":
        return "one generation: too few labelled rows to judge a second one"
    if n_free < MIN_FREE:
        return f"one generation: fewer than {MIN_FREE} unlabelled rows, {n_free}"
    if not explained:
        return "one generation: held-out values are not clearly told better than by their mean"
    if not judged:
        return f"generation {kept}, unjudged: too few labelled rows to hold any out"
    return f"generation {kept} of {n_tried} tried, by the error on held-out folds"
