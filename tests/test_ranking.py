"""Ranking: ranks, tests, critical differences and intervals against loops, published tables and SciPy."""

import numpy as np
import pytest
from scipy import stats

from polymodal import ranking


def scores(n=40, k=5, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, k)).round(1) + 0.3 * np.arange(k)


def slow_ranks(row):
    """1 + how many are better + half of how many others are equal."""
    row = [-np.inf if np.isnan(v) else v for v in row]
    return [1 + sum(o > v for o in row) + (sum(o == v for o in row) - 1) / 2 for v in row]


def test_ranks_are_those_of_a_loop_with_ties_and_failures():
    values = scores()
    values[3, 2] = values[5, 1] = values[5, 4] = np.nan
    values[7] = 0.0
    np.testing.assert_array_equal(ranking.ranks(values), [slow_ranks(row) for row in values])
    assert ranking.ranks(np.array([[2.0, np.nan, 1.0, np.nan]])).tolist() == [[1.0, 3.5, 2.0, 3.5]]


@pytest.mark.parametrize("seed", range(3))
def test_friedman_is_that_of_scipy(seed):
    values = scores(seed=seed)
    found = ranking.friedman(ranking.ranks(values))
    expected = stats.friedmanchisquare(*values.T)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_friedman_of_one_tie_says_nothing():
    assert ranking.friedman(np.full((4, 3), 2.0)) == ranking.Friedman(0.0, 1.0)


# Demsar 2006, table 5 (a): critical values of Nemenyi's test at .05 and .10
@pytest.mark.parametrize(
    ("k", "q05", "q10"),
    [(2, 1.960, 1.645), (3, 2.343, 2.052), (5, 2.728, 2.459), (8, 3.031, 2.780), (10, 3.164, 2.920)],
)
def test_critical_differences_are_those_of_the_published_table(k, q05, q10):
    n = 14
    for alpha, q in ((0.05, q05), (0.10, q10)):
        expected = q * np.sqrt(k * (k + 1) / (6 * n))
        assert ranking.critical_difference(k, n, alpha) == pytest.approx(expected, rel=1e-3)


def test_more_blocks_tell_more_apart():
    found = [ranking.critical_difference(6, n) for n in (5, 20, 80)]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(4 * found[2])


def slow_cliques(values, difference):
    spans = [
        (i, j)
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if values[j] - values[i] <= difference
    ]
    return [(i, j) for i, j in spans if not any((a, b) != (i, j) and a <= i and j <= b for a, b in spans)]


@pytest.mark.parametrize("difference", [0.0, 0.4, 1.0, 9.0])
def test_cliques_are_those_of_a_loop(difference):
    values = np.sort(np.random.default_rng(1).uniform(1, 6, 9))
    assert ranking.cliques(values, difference) == slow_cliques(values, difference)


def test_cliques_by_hand():
    assert ranking.cliques([1.0, 1.5, 2.5, 4.0], 1.0) == [(0, 1), (1, 2)]


def slow_interval(differences, seed, n_resamples):
    random = np.random.default_rng(seed)
    n, n_seeds = differences.shape
    drawn = random.integers(n, size=(n_resamples, n))
    fate = random.random((n_resamples, n, n_seeds))
    known = [[value for value in block if not np.isnan(value)] for block in differences.tolist()]
    means = []
    for r in range(n_resamples):
        blocks = [[known[b][int(u * len(known[b]))] for u in fate[r, i]] for i, b in enumerate(drawn[r])]
        means.append(np.mean([np.mean(block) for block in blocks]))
    return np.quantile(means, [0.025, 0.975])


@pytest.mark.parametrize("lacking", [False, True])
def test_the_bootstrap_is_that_of_a_loop(lacking):
    differences = np.random.default_rng(2).normal(np.arange(6)[:, None] / 5, 1.0, size=(6, 3))
    if lacking:
        differences[[0, 2, 2], [1, 0, 1]] = np.nan
    found = ranking.paired_interval(differences, 3, n_resamples=200)
    np.testing.assert_allclose([found.low, found.high], slow_interval(differences, 3, 200))
    assert found.mean == pytest.approx(np.nanmean(differences, axis=1).mean())


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(4)
    inside = 0
    for trial in range(100):
        truth = random.normal(0.3, 0.5, size=(40, 1))
        differences = truth + random.normal(0.0, 0.5, size=(40, 3))
        found = ranking.paired_interval(differences, trial, n_resamples=300)
        inside += found.low <= 0.3 <= found.high
    assert inside >= 88


def test_who_falls_behind_is_whom_the_paired_t_test_tells():
    random = np.random.default_rng(5)
    values = random.normal(size=(5, 1)) + random.normal(0.0, 0.2, size=(5, 6)) + 0.15 * np.arange(6)
    best = values.mean(axis=0).argmax()
    expected = [
        i != best and stats.ttest_rel(values[:, i], values[:, best], alternative="less").pvalue < 0.05
        for i in range(6)
    ]
    assert ranking.falls_behind(values).tolist() == expected
    assert 0 < sum(expected) < 5


def test_nobody_is_marked_where_seeds_change_nothing_but_who_failed_is():
    constant = np.tile([0.9, 0.8, 0.7], (3, 1))
    assert not ranking.falls_behind(constant).any()
    constant[1, 2] = np.nan
    assert ranking.falls_behind(constant).tolist() == [False, False, False]  # by the seeds that it has
    constant[:, 2] = np.nan
    assert ranking.falls_behind(constant).tolist() == [False, False, True]
    assert ranking.falls_behind(np.full((3, 2), np.nan)).all()
    assert ranking.falls_behind(np.array([[0.9, 0.1]])).tolist() == [False, False]
