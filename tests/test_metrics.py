"""Metrics against dull twins: loops in float64."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from polymodal.errors import ConfigError
from polymodal.metrics import DEFAULT_METRICS, METRICS, choose, evaluate

KINDS = ("multiclass", "multilabel", "regression")


def case(kind, seed=0, n=60, n_outputs=4, masked=0.2):
    """Labels and a prediction that is somewhat right."""
    rng = np.random.default_rng(seed)
    if kind == "regression":
        y = np.round(rng.uniform(-3, 3, n) * 5) / 5
        y[:4] = [0.0, 0.0, 3.0, -3.0]
        return y, (y + rng.normal(size=n))[:, None].astype(np.float32)
    if kind == "multiclass":
        y = rng.integers(0, n_outputs, n)
        score = np.exp(rng.normal(size=(n, n_outputs)) + np.eye(n_outputs)[y])
        return y, (score / score.sum(1, keepdims=True)).astype(np.float32)
    y = (rng.random((n, n_outputs)) < 0.4).astype(float)
    prediction = np.clip(0.6 * y + 0.7 * rng.random(y.shape) - 0.1, 0.01, 0.99).astype(np.float32)
    y[rng.random(y.shape) < masked] = np.nan
    return y, prediction


def value(name, y, prediction, kind):
    return evaluate([name], y, prediction, kind)[name]


# ---- twins ---------------------------------------------------------------------------------------


def loop_f1(truth, decided):
    tp = sum(t and d for t, d in zip(truth, decided, strict=True))
    wrong = sum(bool(t) != bool(d) for t, d in zip(truth, decided, strict=True))
    return 2 * tp / (2 * tp + wrong) if tp else 0.0


def loop_auroc(truth, score):
    pairs = [
        (p, q)
        for p, t in zip(score, truth, strict=True)
        if t
        for q, u in zip(score, truth, strict=True)
        if not u
    ]
    return sum((p > q) + 0.5 * (p == q) for p, q in pairs) / len(pairs)


def loop_average_precision(truth, score):
    total, last = 0.0, 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        chosen = score >= threshold
        recall = sum(truth[chosen]) / sum(truth)
        total += (recall - last) * sum(truth[chosen]) / chosen.sum()
        last = recall
    return total


def loop_ece(confidence, right):
    total = 0.0
    for b in range(15):
        inside = [i for i, c in enumerate(confidence) if b / 15 < c <= (b + 1) / 15]
        if inside:
            gap = np.mean([right[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            total += len(inside) / len(right) * abs(gap)
    return total


TWINS = {
    "auroc": loop_auroc,
    "average_precision": loop_average_precision,
}


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("seed", range(3))
def test_ranking_metrics_equal_their_loops(name, seed):
    y, p = case("multiclass", seed)
    expected = np.mean([TWINS[name](y == c, p[:, c]) for c in range(4)])
    assert value(name, y, p, "multiclass") == pytest.approx(expected, abs=1e-9)
    y, p = case("multilabel", seed)
    known = ~np.isnan(y)
    expected = np.mean([TWINS[name](y[k, c] == 1, p[k, c]) for c, k in enumerate(known.T)])
    assert value(name, y, p, "multilabel") == pytest.approx(expected, abs=1e-9)


def test_two_classes_are_ranked_by_the_second():
    y, p = case("multiclass", n_outputs=2)
    assert value("auroc", y, p, "multiclass") == pytest.approx(loop_auroc(y == 1, p[:, 1]))
    assert value("average_precision", y, p, "multiclass") == pytest.approx(
        loop_average_precision(y == 1, p[:, 1])
    )


@pytest.mark.parametrize("seed", range(3))
def test_f1_of_masked_labels_equals_loops(seed):
    y, p = case("multilabel", seed)
    known = ~np.isnan(y)
    scores = [loop_f1(y[k, c] == 1, p[k, c] > 0.5) for c, k in enumerate(known.T)]
    positives = [np.nansum(y[:, c]) for c in range(4)]
    assert value("macro_f1", y, p, "multilabel") == pytest.approx(np.mean(scores))
    assert value("weighted_f1", y, p, "multilabel") == pytest.approx(np.average(scores, weights=positives))
    assert value("micro_f1", y, p, "multilabel") == pytest.approx(loop_f1(y[known] == 1, p[known] > 0.5))


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
def test_f1_without_masks_is_scikit_learns(average):
    y, p = case("multilabel", masked=0.0)
    expected = sk.f1_score(y.astype(int), p > 0.5, average=average)
    assert value(f"{average}_f1", y, p, "multilabel") == pytest.approx(expected)
    y, p = case("multiclass")
    assert value(f"{average}_f1", y, p, "multiclass") == pytest.approx(
        sk.f1_score(y, p.argmax(1), average=average)
    )


def test_probability_losses_equal_loops():
    y, p = case("multiclass")
    expected = -np.mean([math.log(float(row[c])) for row, c in zip(p, y, strict=True)])
    assert value("log_loss", y, p, "multiclass") == pytest.approx(expected, rel=1e-5)
    assert value("ece", y, p, "multiclass") == pytest.approx(loop_ece(p.max(1), p.argmax(1) == y), abs=1e-7)
    y, p = case("multilabel")
    known = ~np.isnan(y)
    t, q = y[known], p[known].astype(float)
    expected = -np.mean([math.log(b if a else 1 - b) for a, b in zip(t, q, strict=True)])
    assert value("log_loss", y, p, "multilabel") == pytest.approx(expected, rel=1e-6)
    expected = loop_ece(np.maximum(q, 1 - q), (q > 0.5) == t)
    assert value("ece", y, p, "multilabel") == pytest.approx(expected, abs=1e-6)


def test_the_brier_score_equals_its_loop():
    y, p = case("multiclass")
    expected = np.mean(
        [sum((q - (c == k)) ** 2 for k, q in enumerate(row)) for row, c in zip(p, y, strict=True)]
    )
    assert value("brier", y, p, "multiclass") == pytest.approx(expected, rel=1e-6)
    y, p = case("multilabel")
    entries = [(b - a) ** 2 for a, b in zip(y.ravel(), p.ravel(), strict=True) if not np.isnan(a)]
    assert value("brier", y, p, "multilabel") == pytest.approx(np.mean(entries), rel=1e-6)


def test_a_certain_and_wrong_row_costs_a_finite_loss():
    assert np.isfinite(value("log_loss", np.array([0]), np.array([[0.0, 1.0]]), "multiclass"))


def test_accuracies_equal_loops():
    y, p = case("multiclass")
    decided = [int(np.argmax(row)) for row in p]
    assert value("accuracy", y, p, "multiclass") == pytest.approx(
        np.mean([a == b for a, b in zip(y, decided, strict=True)])
    )
    recalls = [np.mean([d == c for t, d in zip(y, decided, strict=True) if t == c]) for c in range(4)]
    assert value("balanced_accuracy", y, p, "multiclass") == pytest.approx(np.mean(recalls))
    y, p = case("multilabel")
    right = [
        all(math.isnan(t) or (q > 0.5) == t for t, q in zip(row, probabilities, strict=True))
        for row, probabilities in zip(y, p, strict=True)
    ]
    assert value("accuracy", y, p, "multilabel") == pytest.approx(np.mean(right))


def test_values_equal_loops():
    y, p = case("regression")
    q = p[:, 0].astype(float)
    assert value("mae", y, p, "regression") == pytest.approx(
        sum(abs(a - b) for a, b in zip(y, q, strict=True)) / 60
    )
    squares = sum((a - b) ** 2 for a, b in zip(y, q, strict=True))
    assert value("rmse", y, p, "regression") == pytest.approx(math.sqrt(squares / 60))
    assert value("r2", y, p, "regression") == pytest.approx(1 - squares / sum((a - y.mean()) ** 2 for a in y))
    assert value("pearson_r", y, p, "regression") == pytest.approx(np.corrcoef(y, q)[0, 1])
    for name in METRICS:
        if "regression" in METRICS[name].kinds:
            assert value(name, y, p, "regression") == value(name, y, p[:, 0], "regression")


# ---- sentiment -----------------------------------------------------------------------------------


def test_sentiment_metrics_by_hand():
    y = np.array([-3.0, -0.4, 0.0, 0.0, 0.6, 1.4, 2.6, 3.0])
    p = np.array([-9.0, 0.2, 0.0, -0.1, 0.4, 1.6, 2.4, 9.0])
    # has0: truth - - + + + + + +, decided - + + - + + + +: 6 of 8
    assert value("acc2_has0", y, p, "regression") == pytest.approx(6 / 8)
    assert value("f1_has0", y, p, "regression") == pytest.approx(2 / 8 * 1 / 2 + 6 / 8 * 10 / 12)
    # non0 drops two rows: truth - - + + + +, decided - + + + + +: 5 of 6
    assert value("acc2_non0", y, p, "regression") == pytest.approx(5 / 6)
    assert value("f1_non0", y, p, "regression") == pytest.approx(2 / 6 * 2 / 3 + 4 / 6 * 8 / 9)
    # rounded: -3 0 0 0 1 1 3 3 against -3 0 0 0 0 2 2 3
    assert value("acc7", y, p, "regression") == pytest.approx(5 / 8)
    # clipped to 2 first: -2 0 0 0 1 1 2 2 against -2 0 0 0 0 2 2 2
    assert value("acc5", y, p, "regression") == pytest.approx(6 / 8)


def test_a_value_of_zero_is_not_positive():
    y = np.array([-1.0, 1.0])
    p = np.zeros(2)
    assert value("acc2_has0", y, p, "regression") == 0.5  # 0 >= 0 says positive, twice
    assert value("acc2_non0", np.array([1.0, 1.0]), p, "regression") == 0.0  # 0 > 0 does not


# ---- undefined -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_is_nan_for_every_metric(kind):
    names = [name for name, metric in METRICS.items() if kind in metric.kinds]
    empty = np.empty((0, 3)) if kind == "multilabel" else np.empty(0, dtype=int)
    assert all(np.isnan(list(evaluate(names, empty, np.empty((0, 3)), kind).values())))


def test_constant_sides_have_no_correlation():
    y, p = case("regression")
    assert value("pearson_r", y, np.full_like(p, 0.1), "regression") == 0.0
    assert value("pearson_r", np.ones(60), p, "regression") == 0.0


def test_undefined_is_nan():
    assert np.isnan(value("acc2_non0", np.zeros(3), np.ones(3), "regression"))
    assert np.isnan(value("f1_non0", np.zeros(3), np.ones(3), "regression"))
    assert np.isnan(value("r2", np.zeros(1), np.ones(1), "regression"))
    one_class, p = np.zeros(5, dtype=int), np.full((5, 3), 1 / 3)
    assert np.isnan(value("auroc", one_class, p, "multiclass"))
    assert np.isnan(value("average_precision", one_class, p, "multiclass"))


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if "multilabel" in m.kinds])
def test_masked_entries_are_never_read(name):
    y, p = case("multilabel")
    other = np.where(np.isnan(y), 1 - p, p)
    assert value(name, y, p, "multilabel") == value(name, y, other, "multilabel")


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if "multilabel" in m.kinds])
def test_a_label_that_is_all_masked_changes_nothing(name):
    y, p = case("multilabel")
    wider = np.column_stack([y, np.full(60, np.nan)]), np.column_stack([p, np.full(60, 0.9, np.float32)])
    assert value(name, *wider, "multilabel") == pytest.approx(value(name, y, p, "multilabel"))


def test_classes_that_do_not_occur_raise_no_warning():
    y, p = np.array([0, 0, 1]), np.eye(4)[[0, 3, 1]]
    names = [name for name, metric in METRICS.items() if "multiclass" in metric.kinds]
    found = evaluate(names, y, p, "multiclass")
    assert found["balanced_accuracy"] == pytest.approx(0.75)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)


# ---- the registry --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_direction_agrees_with_the_function(kind):
    y, good = case(kind)
    rng = np.random.default_rng(1)
    bad = good[rng.permutation(len(good))]
    for name, metric in METRICS.items():
        if kind in metric.kinds and name != "ece":
            better = value(name, y, good, kind) > value(name, y, bad, kind)
            assert better == metric.greater_is_better, name


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_suit_their_kind(kind):
    assert [m.name for m in choose(None, kind)] == list(DEFAULT_METRICS[kind])


def test_an_unsuitable_metric_lists_the_suitable_ones():
    with pytest.raises(
        ConfigError, match=r"\(regression\); 'accuracy' is not defined.*choose from mae, rmse"
    ):
        choose(["accuracy"], "regression")
    with pytest.raises(ConfigError, match=r"\(multiclass\); 'acuracy' is unknown; choose from accuracy, "):
        evaluate(["acuracy"], np.zeros(1, dtype=int), np.ones((1, 2)), "multiclass")
