"""Sets and intervals by pattern: quantiles against loops, coverage within binomial bounds, honest failure."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax
from scipy.stats import binom

from polymodal.conformal import (
    MAX_POINTS,
    Conformal,
    conformal_scores,
    coverage_table,
    fit_conformal,
    n_needed,
    quantile,
    resplit_table,
    risk_coverage,
    to_sets,
)
from polymodal.evaluation import COLUMNS, FusedBranches, subsets

NAMES = ("a", "b", "c")
PATTERNS = [(), *subsets(NAMES)]


def world(n, seed, rate=0.4, not_at_random=False):
    """A late fusion of three branches of different worth, labels, and presence.

    Not at random: the first modality tends to be absent where it speaks for a wrong class.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    strengths = np.array([2.0, 1.0, 0.5])
    logits = strengths[:, None, None] * ((y[:, None] == np.arange(4)) + 0.8 * rng.normal(size=(3, n, 4)))
    branches = softmax(logits, axis=2)
    presence = rng.random((n, 3)) >= rate
    if not_at_random:
        trouble = 1.0 - branches.mean(axis=0)[np.arange(n), y]
        presence[:, 0] = rng.random(n) >= np.clip(1.6 * trouble - 0.4, 0.0, 0.95)
    branches = np.where(presence.T[:, :, None], branches, 0.0)
    return FusedBranches(NAMES, branches, presence, np.full(4, 0.25)), presence, y


def column(table, metric):
    return table[table["metric"] == metric].set_index("subset")["value"]


# ---- scores and their quantile -------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 8, 9, 10, 19, 57])
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_the_quantile_equals_a_loop(n, alpha):
    scores = np.sort(np.random.default_rng(n).random(n))
    rank = math.ceil(round((n + 1) * (1 - alpha), 9))
    expected = scores[rank - 1] if rank <= n else np.inf
    assert quantile(scores[:, None], alpha).tolist() == [expected]
    assert (n >= n_needed(alpha)) == np.isfinite(expected)


def test_the_quantile_of_each_label_counts_its_own_rows():
    scores = np.full((12, 3), np.nan)
    scores[:, 0] = np.arange(12)
    scores[:9, 1] = np.arange(9)
    found = quantile(scores, 0.1)
    assert found.tolist() == [11.0, 8.0, np.inf]


def test_scores_equal_loops():
    p = np.array([[0.7, 0.3], [0.2, 0.8]], dtype=np.float32)
    found = conformal_scores(np.array([0, 0]), p, "multiclass")
    np.testing.assert_allclose(found, [[0.3], [0.8]], rtol=1e-6)
    found = conformal_scores(np.array([[1.0, 0.0], [np.nan, 1.0]]), p, "multilabel")
    np.testing.assert_allclose(found, [[0.3, np.nan], [np.nan, 0.2]], rtol=1e-6)
    found = conformal_scores(np.array([1.0, -1.0]), np.array([[0.5], [1.0]]), "regression")
    np.testing.assert_allclose(found, [[0.5], [2.0]])


def test_sets_equal_a_loop_and_are_never_empty():
    p = softmax(np.random.default_rng(0).normal(size=(100, 4)), axis=1)
    sets = to_sets(p, np.array([0.5]), "multiclass")
    for row, chosen in zip(p, sets, strict=True):
        assert chosen.tolist() == [bool(1 - q <= 0.5 or q == max(row)) for q in row]
    assert sets.any(axis=1).all()
    assert not to_sets(p, np.array([0.0]), "multilabel").any()


# ---- the promise ---------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_each_pattern_is_covered_within_binomial_bounds_when_inputs_are_missing_at_random(alpha):
    """Given calibration, coverage on test rows of the very pattern is binomial around a Beta mean."""
    predict, presence, y = world(4000, seed=0)
    conformal = fit_conformal(predict, presence, NAMES, y, "multiclass")
    predict, presence, y = world(40_000, seed=1)
    prediction = predict(NAMES)
    inside = conformal_scores(y, prediction, "multiclass") <= conformal.thresholds(presence, alpha)
    sets = conformal.sets(prediction, presence, alpha)
    for subset in PATTERNS[1:]:
        rows = (presence == np.isin(NAMES, subset)).all(axis=1)
        n, n_calibration = rows.sum(), len(conformal.scores[subset])
        spread = math.sqrt(alpha * (1 - alpha) * (1 / n + 1 / n_calibration))
        assert abs(inside[rows].mean() - (1 - alpha)) < 4 * spread, subset
        assert sets[rows, y[rows]].mean() >= inside[rows].mean()


def test_coverage_over_many_calibrations_is_what_the_theory_says():
    """The mean over calibrations of n rows is between 1 - alpha and 1 - alpha + 1 / (n + 1)."""
    alpha, n, hits = 0.1, 24, []
    for seed in range(400):
        predict, presence, y = world(n + 50, seed, rate=0.0)
        halves = [slice(0, n), slice(n, None)]
        held = lambda s, part=halves[0], predict=predict: predict(s)[part]  # noqa: E731
        conformal = fit_conformal(held, presence[:n], NAMES, y[:n], "multiclass")
        scores = conformal_scores(y[n:], predict(("b",))[n:], "multiclass")
        hits.append((scores <= conformal.threshold(("b",), alpha)).mean())
    exact = math.ceil((n + 1) * (1 - alpha)) / (n + 1)
    assert np.mean(hits) == pytest.approx(exact, abs=4 * np.std(hits) / math.sqrt(len(hits)))


def test_missing_not_at_random_breaks_the_promise_where_rows_are_hard_and_the_table_says_so():
    predict, presence, y = world(8000, seed=0, not_at_random=True)
    conformal = fit_conformal(predict, presence, NAMES, y, "multiclass")
    predict, presence, y = world(20_000, seed=1, not_at_random=True)
    table = coverage_table(conformal, predict, presence, y, alpha=0.2)
    masked, exactly = column(table, "coverage"), column(table, "coverage_exactly")
    n = column(table, "n_rows_exactly")
    assert masked["b+c"] > 0.79 - 0.02
    assert exactly["b+c"] < masked["b+c"] - 0.03
    assert binom.cdf(exactly["b+c"] * n["b+c"], n["b+c"], 0.8) < 1e-3
    at_random = world(20_000, seed=1)
    table = coverage_table(
        fit_conformal(*world(8000, seed=0)[:2], NAMES, world(8000, seed=0)[2], "multiclass"),
        *at_random,
        alpha=0.2,
    )
    gap = (column(table, "coverage") - column(table, "coverage_exactly")).drop("observed").abs()
    assert gap.max() < 0.04


def test_missing_not_at_random_keeps_the_promise_while_it_has_nothing_to_do_with_the_score():
    """Whether b is there depends on the class, and so on what is sought; classes are equally hard."""

    def lacking_by_class(n, seed):
        predict, _, y = world(n, seed, rate=0.0)
        random = np.random.default_rng(seed + 100)
        presence = random.random((n, 3)) >= 0.2
        presence[:, 1] = random.random(n) >= np.array([0.05, 0.2, 0.6, 0.9])[y]
        branches = np.where(presence.T[:, :, None], predict.branches, 0.0)
        return FusedBranches(NAMES, branches, presence, np.full(4, 0.25)), presence, y

    predict, presence, y = lacking_by_class(8000, seed=0)
    conformal = fit_conformal(predict, presence, NAMES, y, "multiclass")
    predict, presence, y = lacking_by_class(30_000, seed=1)
    shares = np.bincount(y[presence[:, 1]], minlength=4) / presence[:, 1].sum()
    assert shares.max() > 5 * shares.min()
    table = coverage_table(conformal, predict, presence, y, alpha=0.2)
    for metric in ("coverage", "coverage_exactly"):
        assert (column(table, metric) > 0.8 - 0.03).all(), metric


def test_intervals_cover_and_are_of_one_width_a_pattern():
    rng = np.random.default_rng(0)

    def draw(n):
        y = rng.normal(size=n)
        said = {"a": y + rng.normal(size=n), "b": y + 3.0 * rng.standard_t(3, size=n)}
        return lambda s: np.mean([said[name] for name in s] or [np.zeros(n)], axis=0)[:, None], y

    predict, y = draw(3000)
    conformal = fit_conformal(predict, np.ones((3000, 2), bool), ("a", "b"), y, "regression")
    predict, y = draw(10_000)
    for subset, members in ((("a",), [True, False]), (("b",), [False, True]), ((), [False, False])):
        presence = np.tile(members, (10_000, 1))
        ends = conformal.intervals(predict(subset), presence, 0.1)
        assert ((ends[:, 0] <= y) & (y <= ends[:, 1])).mean() == pytest.approx(0.9, abs=0.025)
        np.testing.assert_allclose(ends.mean(axis=1), predict(subset)[:, 0])
        assert np.ptp(ends[:, 1] - ends[:, 0]) < 1e-9


def test_each_label_that_is_there_is_in_the_set():
    rng = np.random.default_rng(0)

    def draw(n):
        y = (rng.random((n, 2)) < [0.5, 0.1]).astype(float)
        p = expit(2 * y - 1 + rng.normal(size=(n, 2)))
        y[rng.random((n, 2)) < 0.2] = np.nan
        return p, y

    p, y = draw(4000)
    conformal = fit_conformal(lambda s: p, np.ones((4000, 1), bool), ("a",), y, "multilabel")
    p, y = draw(20_000)
    sets = conformal.sets(p, np.ones((20_000, 1), bool), 0.2)
    for c in range(2):
        assert sets[y[:, c] == 1, c].mean() == pytest.approx(0.8, abs=0.04)
        assert sets[y[:, c] == 0, c].mean() < 0.5


# ---- too few rows --------------------------------------------------------------------------------


def test_too_few_rows_and_patterns_never_seen_give_everything_and_say_so():
    predict, presence, y = world(8, seed=0, rate=0.0)
    presence = np.tile([True, True, False], (8, 1))
    conformal = fit_conformal(predict, presence, NAMES, y, "multiclass")
    rows = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=bool)
    assert conformal.sets(np.full((3, 4), 0.25), rows, 0.1).all()
    assert "needs 9 calibration rows; 3 of 3 rows have fewer (the pattern a+b: 8 labelled rows)" in (
        conformal.too_few(rows, 0.1)
    )
    assert "the pattern a+b+c: 0 labelled rows" in conformal.too_few(rows[1:2], 0.1)
    assert conformal.too_few(rows[:1], 0.2) == ""
    assert not conformal.sets(np.eye(4)[:1], rows[:1], 0.5).all()


def test_too_few_values_give_infinite_intervals():
    conformal = Conformal("regression", ("a",), 1, {("a",): np.array([[0.5]])})
    ends = conformal.intervals(np.array([[2.0]]), np.array([[True]]), 0.1)
    assert ends.tolist() == [[-np.inf, np.inf]]
    assert conformal.intervals(np.array([[2.0]]), np.array([[True]]), 0.5).tolist() == [[1.5, 2.5]]


def test_a_rare_label_says_so():
    scores = np.full((20, 2), np.nan)
    scores[:, 0] = 0.5
    scores[:3, 1] = 0.5
    conformal = Conformal("multilabel", ("a",), 2, {("a",): scores})
    assert "3 rows with the rarest label" in conformal.too_few(np.array([[True]]), 0.1)
    assert conformal.sets(np.array([[0.1, 0.1]]), np.array([[True]]), 0.1).tolist() == [[False, True]]


# ---- tables --------------------------------------------------------------------------------------


def test_the_coverage_table_equals_a_loop():
    predict, presence, y = world(300, seed=0)
    conformal = fit_conformal(predict, presence, NAMES, y, "multiclass")
    predict, presence, y = world(200, seed=1)
    table = coverage_table(conformal, predict, presence, y, alpha=0.2, dataset="toy", seed=3)
    assert table.columns.tolist() == COLUMNS
    for subset in subsets(NAMES):
        members = np.isin(NAMES, subset)
        rows = [i for i in range(200) if (presence[i] >= members).all()]
        p = predict(subset)
        q = conformal.threshold(subset, 0.2)[0]
        sets = [[1 - p[i, c] <= q or c == p[i].argmax() for c in range(4)] for i in rows]
        name = "+".join(subset)
        covered = np.mean([s[y[i]] for s, i in zip(sets, rows, strict=True)])
        assert column(table, "coverage")[name] == pytest.approx(covered)
        assert column(table, "set_size")[name] == pytest.approx(np.mean([sum(s) for s in sets]))
        assert column(table, "n_rows")[name] == len(rows)
        assert column(table, "n_rows_exactly")[name] == (presence == members).all(axis=1).sum()
    assert column(table, "n_rows")["observed"] == 200


def test_resplits_average_to_the_promise():
    predict, presence, y = world(600, seed=0)
    table = resplit_table(predict, presence, NAMES, y, "multiclass", alpha=0.1, n_splits=60)
    coverage, exact, n = (column(table, m) for m in ("coverage", "score_coverage", "n_rows"))
    assert set(coverage.index) == {"+".join(s) for s in subsets(NAMES)}
    assert (coverage >= exact - 1e-12).all()
    assert ((exact - 0.9).abs() < 3 * np.sqrt(0.09 / n) + 2 / n).all()
    assert (column(table, "coverage_std") > 0).all()
    again = resplit_table(predict, presence, NAMES, y, "multiclass", alpha=0.1, n_splits=60)
    pd.testing.assert_frame_equal(table, again)


def test_resplits_of_intervals_and_label_sets():
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    f = (y + rng.normal(size=200))[:, None]
    table = resplit_table(lambda s: f, np.ones((200, 1), bool), ("a",), y, "regression", n_splits=30)
    assert column(table, "coverage")["a"] == pytest.approx(0.9, abs=0.03)
    assert column(table, "interval_width")["a"] == pytest.approx(2 * 1.645, rel=0.2)
    labels = (rng.random((200, 2)) < 0.5).astype(float)
    p = np.clip(0.5 * labels + 0.5 * rng.random((200, 2)), 0, 1)
    table = resplit_table(lambda s: p, np.ones((200, 1), bool), ("a",), labels, "multilabel", n_splits=30)
    assert column(table, "coverage")["a"] == pytest.approx(0.9, abs=0.04)


# ---- when to be silent ---------------------------------------------------------------------------


def test_risk_by_share_answered_equals_a_loop():
    p = softmax(np.random.default_rng(0).normal(size=(50, 3)), axis=1).round(1)
    y = np.random.default_rng(1).integers(0, 3, 50)
    table = risk_coverage(y, p)
    confidence, wrong = p.max(1), p.argmax(1) != y
    assert len(table) == len(np.unique(confidence))
    for line in table.itertuples():
        answered = confidence >= line.confidence
        assert line.answered == pytest.approx(answered.mean())
        assert line.risk == pytest.approx(wrong[answered].mean())
    assert table["answered"].iloc[-1] == 1.0


def test_risk_curves_are_short_and_read_label_sets():
    rng = np.random.default_rng(0)
    assert len(risk_coverage(rng.integers(0, 2, 5000), rng.dirichlet([1, 1], 5000))) == MAX_POINTS
    table = risk_coverage(np.array([[1.0, np.nan], [0.0, 1.0]]), np.array([[0.9, 0.5], [0.2, 0.3]]))
    assert table["answered"].tolist() == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert table["risk"].tolist() == pytest.approx([0.0, 0.0, 1 / 3])
    assert risk_coverage(np.empty(0, dtype=int), np.empty((0, 3))).empty
