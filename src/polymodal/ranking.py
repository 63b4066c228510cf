"""Which method is best over many comparisons, and by how much: ranks, critical differences, intervals.

Read from the top: ranks within a block (a data set x share of labels x missing regime), what they say over
all blocks, how far a method is behind another one, and which methods fall behind in one block.

Sources: Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006 (Friedman's
test, Nemenyi's critical difference, the diagram); Efron and Tibshirani, "An Introduction to the Bootstrap",
1993 (percentile intervals).

Scores are such that greater is better, and NaN where a method gave none. Letters: N blocks, k methods,
S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

ALPHA = 0.05
"""Errors of the first kind that are allowed."""

N_RESAMPLES = 2000


# ---- ranks ---------------------------------------------------------------------------------------


def ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks of (N, k) scores within each row, 1 the best.

    Equal scores share the mean of their ranks; so do those without a score, which come last.
    """
    filled = np.where(np.isnan(scores), -np.inf, scores)
    return stats.rankdata(-filled, axis=1)


@dataclass(frozen=True)
class Friedman:
    """Friedman's test: could methods that are all alike have ranks that differ so much?

    Attributes:
        statistic: chi-squared, corrected for ties.
        p: probability of one at least as large where all are alike.
    """

    statistic: float
    p: float


def friedman(ranked: np.ndarray) -> Friedman:
    """Friedman's test of (N, k) ranks; p is 1 where every block is one tie."""
    n, k = ranked.shape
    spread = ((ranked - (k + 1) / 2) ** 2).sum()
    if spread == 0:
        return Friedman(0.0, 1.0)
    between = ((ranked.sum(axis=0) - n * (k + 1) / 2) ** 2).sum()
    statistic = float((k - 1) * between / spread)
    return Friedman(statistic, float(stats.chi2.sf(statistic, k - 1)))


def critical_difference(n_methods: int, n_blocks: int, alpha: float = ALPHA) -> float:
    """Nemenyi's critical difference: mean ranks that lie nearer cannot be told apart.

    CD = q sqrt(k (k + 1) / (6 N)), q the studentised range of k groups over the square root of 2.
    """
    q = stats.studentized_range.ppf(1.0 - alpha, n_methods, np.inf) / np.sqrt(2.0)
    return float(q * np.sqrt(n_methods * (n_methods + 1) / (6.0 * n_blocks)))


def cliques(mean_ranks: Sequence[float] | np.ndarray, difference: float) -> list[tuple[int, int]]:
    """First and last place (in order of rank) of every largest group that spans at most a difference.

    Args:
        mean_ranks: ascending.
        difference: such as the critical one.

    Returns:
        Groups of two or more; one that lies within another one is left out.
    """
    values = np.asarray(mean_ranks)
    last = np.searchsorted(values, values + difference, side="right") - 1
    groups: list[tuple[int, int]] = []
    for first, end in enumerate(last.tolist()):
        if end > first and (not groups or end > groups[-1][1]):
            groups.append((first, end))
    return groups


# ---- differences over blocks ---------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A mean and the interval it lies in.

    Attributes:
        mean: over blocks of the means over seeds.
        low: lower end.
        high: upper end.
    """

    mean: float
    low: float
    high: float


def paired_interval(
    differences: np.ndarray, seed: int = 0, *, n_resamples: int = N_RESAMPLES, alpha: float = ALPHA
) -> Interval:
    """The mean difference of two methods, with a bootstrap percentile interval.

    The differences are paired: both methods had the same rows, labels and masks. Blocks are drawn with
    replacement, and within each drawn block its seeds.

    Args:
        differences: (N, S), N at least 1; NaN for a seed that one of them lacks, never for a whole block.
        seed: of the draws.
        n_resamples: R.
        alpha: share of the resamples outside the interval.
    """
    random = np.random.default_rng(seed)
    n_blocks, n_seeds = differences.shape
    absent = np.isnan(differences)
    there = np.take_along_axis(differences, absent.argsort(axis=1, kind="stable"), axis=1)  # absent ones last
    count = (~absent).sum(axis=1)
    blocks = random.integers(n_blocks, size=(n_resamples, n_blocks, 1))
    seeds = (random.random((n_resamples, n_blocks, n_seeds)) * count[blocks]).astype(np.int64)
    means = there[blocks, seeds].mean(axis=(1, 2))
    low, high = np.quantile(means, [alpha / 2, 1.0 - alpha / 2])
    return Interval(float(np.nanmean(differences, axis=1).mean()), float(low), float(high))


# ---- within a block ------------------------------------------------------------------------------


def falls_behind(scores: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Which methods are significantly below the best of one block, (k,) bool.

    A one-sided paired t-test, over the seeds that both have, against the method of the highest mean. No
    correction is made for the number of methods, nor for the best being chosen by its mean: a few marks come
    by chance. Differences that are the same with every seed, or one seed, tell nothing about their chance: no
    mark. A method without any score has failed, and is marked.

    Args:
        scores: (S, k), NaN where a method has none.
        alpha: of each test.
    """
    failed = np.isnan(scores).all(axis=0)
    if failed.all():
        return failed
    means = np.array([-np.inf if bad else np.nanmean(own) for bad, own in zip(failed, scores.T, strict=True)])
    behind = scores[:, [int(means.argmax())]] - scores
    return np.array(
        [bad or _above_zero(own[~np.isnan(own)], alpha) for bad, own in zip(failed, behind.T, strict=True)]
    )


def _above_zero(differences: np.ndarray, alpha: float) -> bool:
    """A one-sided t-test of (S,) differences."""
    n = len(differences)
    if n < 2:
        return False
    error = differences.std(ddof=1) / np.sqrt(n)
    return bool(error > 1e-12 and differences.mean() > stats.t.ppf(1.0 - alpha, n - 1) * error)
