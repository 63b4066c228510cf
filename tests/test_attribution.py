"""Shapley values and the worth of what is missing: against loops over all orders, axioms, known answers."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from polymodal.acquisition import (
    MIN_ROWS,
    N_GROUPS,
    PENALTY,
    Acquisition,
    acquisition_table,
    expected,
    fit_acquisition,
    ridge_with_groups,
    row_losses,
)
from polymodal.attribution import (
    shapley,
    shapley_of_means,
    shapley_of_metric,
    shapley_of_rows,
)
from polymodal.evaluation import FusedBranches
from polymodal.metrics import METRICS, accuracy, log_loss

NAMES = ("a", "b", "c", "d")


def game_of(seed, names=NAMES, shape=()):
    """A random value for each subset."""
    return lambda subset: np.random.default_rng(
        [seed, *(names.index(name) for name in subset), len(subset)]
    ).normal(size=shape)


def by_all_orders(game, names):
    """The definition: what each adds to those before it, averaged over all orders."""
    total = dict.fromkeys(names, 0.0)
    orders = list(permutations(names))
    for order in orders:
        for i, name in enumerate(order):
            before, after = (tuple(n for n in names if n in order[:k]) for k in (i, i + 1))
            total[name] = total[name] + (game(after) - game(before)) / len(orders)
    return np.stack([total[name] for name in names])


def fusion(n=60, names=NAMES, n_outputs=3, rate=0.4, seed=0):
    rng = np.random.default_rng(seed)
    presence = rng.random((n, len(names))) >= rate
    presence[0], presence[1] = False, True
    branches = rng.dirichlet(np.ones(n_outputs), (len(names), n))
    branches = np.where(presence.T[:, :, None], branches, 0.0)
    return FusedBranches(names, branches, presence, rng.dirichlet(np.ones(n_outputs)))


# ---- any game ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(), (5,), (3, 2)])
def test_exact_values_are_the_mean_over_all_orders(n, shape):
    game = game_of(n, shape=shape)
    found = shapley(game, NAMES[:n])
    np.testing.assert_allclose(found.values, by_all_orders(game, NAMES[:n]), atol=1e-12)
    assert found.errors.shape == found.values.shape == (n, *shape)
    assert not found.errors.any()


def test_the_glove_game():
    """One left glove, two right ones; a pair is worth 1 (Shapley: 2/3, 1/6, 1/6)."""
    found = shapley(lambda s: np.array(float("left" in s and len(s) > 1)), ("left", "r1", "r2"))
    np.testing.assert_allclose(found.values, [2 / 3, 1 / 6, 1 / 6])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_axioms(seed):
    game, other = game_of(seed), game_of(seed + 1)
    values = shapley(game, NAMES).values
    assert values.sum() == pytest.approx(float(game(NAMES) - game(())))  # efficiency
    both = shapley(lambda s: game(s) + 2.0 * other(s), NAMES).values
    np.testing.assert_allclose(both, values + 2.0 * shapley(other, NAMES).values)  # linearity
    idle = shapley(lambda s: game(tuple(n for n in s if n != "b")), NAMES).values
    assert idle[1] == pytest.approx(0.0, abs=1e-12)  # who changes nothing gets nothing
    turned = shapley(lambda s: game(tuple(n for n in NAMES if n in s)), NAMES[::-1]).values
    np.testing.assert_allclose(turned[::-1], values, atol=1e-12)  # the order of the names is no matter


def test_each_subset_is_asked_for_once():
    asked = []
    shapley(lambda s: asked.append(s) or np.zeros(()), NAMES)
    assert len(asked) - 1 == len(set(asked)) == 16  # () once more, for its shape


def test_sampled_values_are_within_their_errors():
    names = tuple("abcdefgh")
    game = game_of(0, names)
    exact = shapley(game, names).values
    scores = []
    for seed in range(30):
        found = shapley(game, names, max_exact=4, n_orders=20, seed=seed)
        assert found.values.sum() == pytest.approx(float(game(names) - game(())))
        scores.append((found.values - exact) / found.errors)
    assert np.abs(np.mean(scores)) < 0.2
    assert 0.8 < np.std(scores) < 1.3  # Student's t with 19 degrees of freedom: 1.06


def test_the_same_seed_draws_the_same_orders():
    names = tuple("abcdef")
    first, second, other = (shapley(game_of(0, names), names, max_exact=2, seed=s).values for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_an_additive_game_needs_no_luck():
    names = tuple("abcdef")
    weights = dict(zip(names, (1.0, -2.0, 3.0, 0.5, 0.0, 4.0), strict=True))
    found = shapley(lambda s: np.array(sum(weights[n] for n in s)), names, max_exact=2, n_orders=3)
    np.testing.assert_allclose(found.values, list(weights.values()), atol=1e-12)
    np.testing.assert_allclose(found.errors, 0.0, atol=1e-6)


# ---- the prediction of each row ------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_the_closed_form_of_late_fusion_is_the_enumeration(n, rate):
    fused = fusion(names=NAMES[:n], rate=rate)
    enumerated = shapley_of_rows(lambda s: fused(s), fused.presence, fused.names)
    closed = shapley_of_rows(fused, fused.presence, fused.names)
    np.testing.assert_allclose(closed.values, enumerated.values, atol=1e-12)
    np.testing.assert_allclose(closed.values.sum(axis=1), fused(fused.names) - fused.prior[None], atol=1e-12)


def test_absent_modalities_contribute_exactly_nothing():
    fused = fusion()
    for predict in (fused, lambda s: fused(s)):
        values = shapley_of_rows(predict, fused.presence, NAMES).values
        assert values.shape == (60, 4, 3)
        assert (values[~fused.presence] == 0.0).all()
        assert not values[0].any()  # a row that has nothing
        assert np.abs(values[fused.presence]).min(axis=1).any()


def test_a_rows_game_is_over_what_it_has():
    fused = fusion()
    row = int(np.flatnonzero(fused.presence.sum(axis=1) == 3)[0])
    own = tuple(n for n, there in zip(NAMES, fused.presence[row], strict=True) if there)
    alone = by_all_orders(lambda s: fused(s)[row], own)
    np.testing.assert_allclose(shapley_of_means(fused)[row][fused.presence[row]], alone, atol=1e-12)


def test_many_modalities_are_sampled_and_late_fusion_is_exact():
    names = tuple(f"m{i}" for i in range(14))
    fused = fusion(n=20, names=names)
    sampled = shapley_of_rows(lambda s: fused(s), fused.presence, names, n_orders=40)
    exact = shapley_of_rows(fused, fused.presence, names)
    assert not exact.errors.any()
    there = fused.presence
    assert np.median(sampled.errors[there]) > 0
    off = np.abs(sampled.values - exact.values)[there] / np.maximum(sampled.errors[there], 1e-12)
    assert (off < 4).mean() > 0.98
    np.testing.assert_allclose(sampled.values.sum(axis=1), exact.values.sum(axis=1), atol=1e-12)


# ---- a metric ------------------------------------------------------------------------------------


def world(n, seed=0):
    """Three branches: a knows the class well, b a little, c nothing."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    logits = np.array([3.0, 1.0, 0.0])[:, None, None] * (y[:, None] == np.arange(3))
    logits = logits + rng.normal(size=(3, n, 3))
    branches = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    return FusedBranches(("a", "b", "c"), branches, np.ones((n, 3), dtype=bool), np.full(3, 1 / 3)), y


@pytest.mark.parametrize(
    ("name", "function", "sign"), [("accuracy", accuracy, 1), ("log_loss", log_loss, -1)]
)
def test_the_values_of_a_metric_sum_to_what_the_model_adds_to_the_prior(name, function, sign):
    fused, y = world(300)
    found = shapley_of_metric(fused, fused.names, y, "multiclass", METRICS[name])
    gain = sign * (function(y, fused(fused.names)) - function(y, fused(())))
    assert found.values.sum() == pytest.approx(gain)
    np.testing.assert_allclose(
        found.values, by_all_orders(lambda s: sign * function(y, fused(s)), fused.names), atol=1e-12
    )
    assert found.values[0] > found.values[1] > found.values[2]


def test_the_bootstrap_error_is_the_spread_over_fresh_data():
    runs = [world(250, seed) for seed in range(40)]
    found = [
        shapley_of_metric(fused, fused.names, y, "multiclass", METRICS["brier"], n_bootstrap=30)
        for fused, y in runs
    ]
    spread = np.std([f.values for f in found], axis=0, ddof=1)
    np.testing.assert_allclose(np.mean([f.errors for f in found], axis=0), spread, rtol=0.35)


def test_an_undefined_metric_is_nan():
    fused, y = world(20)
    found = shapley_of_metric(fused, fused.names, np.zeros_like(y), "multiclass", METRICS["auroc"])
    assert np.isnan(found.values).all()
    assert np.isnan(found.errors).all()


# ---- the loss of a row ---------------------------------------------------------------------------


def test_losses_of_rows_average_to_the_metrics():
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(3), 50), rng.integers(0, 3, 50)
    assert row_losses(y, p, "multiclass").mean() == pytest.approx(log_loss(y, p))
    labels = (rng.random((50, 3)) < 0.5).astype(float)
    assert row_losses(labels, p, "multilabel").mean() == pytest.approx(log_loss(labels, p))
    labels[0, 1] = np.nan
    known = -np.log(np.where(labels[0] == 1, p[0], 1 - p[0]))[[0, 2]].mean()
    assert row_losses(labels, p, "multilabel")[0] == pytest.approx(known)
    np.testing.assert_allclose(row_losses(p[:, 1], p[:, :1], "regression"), (p[:, 1] - p[:, 0]) ** 2)
    assert np.isfinite(row_losses(np.array([1]), np.array([[1.0, 0.0]]), "multiclass")).all()


# ---- one regression ------------------------------------------------------------------------------


def test_the_ridge_is_scikit_learns_for_all_rows_and_without_each_group():
    rng = np.random.default_rng(0)
    x = np.hstack([rng.normal(size=(80, 4)) * [1.0, 10.0, 0.1, 1.0] + 5.0, np.full((80, 1), 7.0)])
    target = x[:, 0] - 0.2 * x[:, 1] + rng.normal(size=80)
    new = x[:5] + 0.1
    found = ridge_with_groups(x, target, 12.0, 8)
    assert found.shape == (9, 6)
    scaled = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    new_scaled = (new - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    scaled[:, 4] = new_scaled[:, 4] = 0.0
    for k, coefficients in enumerate(found):
        kept = np.ones(80, dtype=bool) if k == 0 else np.arange(80) % 8 != k - 1
        # an unshrunk intercept: centre what scikit-learn sees on its own rows
        model = Ridge(alpha=12.0).fit(scaled[kept], target[kept])
        said = coefficients[0] + new @ coefficients[1:]
        np.testing.assert_allclose(said, model.predict(new_scaled), rtol=1e-6)


def test_the_error_of_an_expectation_is_its_spread_over_fresh_rows():
    rng = np.random.default_rng(0)
    new = np.array([[0.0, 0.0], [2.0, 1.0]])
    said, errors = [], []
    for _ in range(60):
        x = rng.normal(size=(200, 2))
        found = ridge_with_groups(x, x[:, 0] + rng.normal(size=200) * (1 + x[:, 1] ** 2), 20.0, N_GROUPS)
        value, error = expected(found, new)
        said.append(value)
        errors.append(error)
    np.testing.assert_allclose(np.mean(errors, axis=0), np.std(said, axis=0), rtol=0.35)


# ---- what is missing -----------------------------------------------------------------------------


def two_halves(n, seed=0):
    """Four classes: a tells the pairs 01 and 23 apart, b 0 from 1, c 2 from 3; predictions are Bayes'."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    pair, half = y // 2, 2.0 * (y % 2) - 1.0
    views = {
        "a": 3.0 * (2.0 * pair[:, None] - 1.0) + rng.normal(size=(n, 1)),
        "b": np.where(pair == 0, 2.0 * half, 0.0)[:, None] + rng.normal(size=(n, 1)),
        "c": np.where(pair == 1, 2.0 * half, 0.0)[:, None] + rng.normal(size=(n, 1)),
    }

    def predict(subset):
        """Bayes."""
        logits = np.zeros((n, 4))
        classes = np.arange(4)
        centres = {
            "a": 3.0 * (2.0 * (classes // 2) - 1.0),
            "b": np.where(classes < 2, 4.0 * classes - 2.0, 0.0),
            "c": np.where(classes >= 2, 4.0 * (classes - 2) - 2.0, 0.0),
        }
        for name in subset:
            logits -= 0.5 * (views[name] - centres[name]) ** 2
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    return views, predict, y, pair


def table_of(learnt, predict, views, names):
    """What is said of rows that have ``names`` alone."""
    presence = np.tile([name in names for name in views], (len(next(iter(views.values()))), 1))
    return acquisition_table(learnt, predict(names), None, learnt.components(views), presence)


def test_each_half_is_told_the_input_that_it_needs():
    views, predict, y, _ = two_halves(1000)
    learnt = fit_acquisition(predict, None, views, np.ones((1000, 3), dtype=bool), y, "multiclass")
    views, predict, y, pair = two_halves(1000, seed=1)
    table = table_of(learnt, predict, views, ("a",))
    assert list(table.columns) == ["row", "modality", "value", "error", "rank"]
    wide = table.pivot_table(index="row", columns="modality", values="value")
    first = table[table["rank"] == 1].sort_values("row")["modality"].to_numpy()
    assert (first == np.where(pair == 0, "b", "c")).mean() > 0.98
    assert wide["b"][pair == 0].mean() > 0.4
    assert abs(wide["b"][pair == 1].mean()) < 0.1
    for name in "bc":
        lost, kept = (row_losses(y, predict(s), "multiclass") for s in (("a",), ("a", name)))
        assert np.corrcoef(wide[name], lost - kept)[0, 1] > 0.3
        assert wide[name].mean() == pytest.approx((lost - kept).mean(), abs=0.05)
    assert (table["error"] > 0).all()


def test_what_an_input_says_is_read_where_the_prediction_is_silent():
    """Two classes; a says which of b and c speaks the truth, and nothing of the class."""
    rng = np.random.default_rng(0)
    n = 800
    y, which = rng.integers(0, 2, (2, n))
    views = {"a": np.stack([2.0 * which - 1, *rng.normal(size=(3, n))], axis=1)}
    for k, name in enumerate("bc"):
        speaks = np.where(which == k, 2.0 * y - 1, 0.0)
        views[name] = (2.0 * speaks + rng.normal(size=n))[:, None]

    def predict(subset):
        evidence = sum((np.tanh(views[name][:, 0]) for name in subset if name != "a"), start=np.zeros(n))
        p = 1 / (1 + np.exp(-evidence))
        return np.stack([1 - p, p], axis=1)

    learnt = fit_acquisition(predict, None, views, np.ones((n, 3), dtype=bool), y, "multiclass")
    table = table_of(learnt, predict, views, ("a",))
    first = table[table["rank"] == 1].sort_values("row")["modality"].to_numpy()
    assert (first == np.where(which == 0, "b", "c")).mean() > 0.98


def test_too_few_rows_say_so():
    views, predict, y, _ = two_halves(300)
    presence = np.ones((300, 3), dtype=bool)
    presence[MIN_ROWS - 1 :, 2] = False
    learnt = fit_acquisition(predict, None, views, presence, y, "multiclass")
    table = table_of(learnt, predict, views, ("a",))
    known = table[table["modality"] == "b"]
    unknown = table[table["modality"] == "c"]
    assert known["value"].notna().all()
    assert (known["rank"] == 1).all()
    assert unknown[["value", "error", "rank"]].isna().all(axis=None)


def test_few_rows_of_noise_give_about_their_mean():
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(40, 10)), rng.normal(size=40)
    shrunk, free = (expected(ridge_with_groups(x, target, p, N_GROUPS), x)[0] for p in (PENALTY, 1e-6))
    assert shrunk.mean() == pytest.approx(target.mean())
    assert shrunk.std() < 0.1 < 0.4 < free.std()


def test_a_row_that_has_everything_has_no_line_and_one_without_anything_has_all():
    views, predict, y, _ = two_halves(200)
    learnt = fit_acquisition(predict, None, views, np.ones((200, 3), dtype=bool), y, "multiclass")
    assert len(table_of(learnt, predict, views, ("a", "b", "c"))) == 0
    table = table_of(learnt, predict, views, ())
    assert len(table) == 600
    assert table.groupby("modality")["value"].nunique().tolist() == [1, 1, 1]  # nothing tells rows apart


@pytest.mark.parametrize("kind", ["regression", "multilabel"])
def test_other_tasks(kind):
    rng = np.random.default_rng(0)
    n = 600
    needs = rng.integers(0, 2, n)
    views = {"a": 2.0 * needs[:, None] - 1.0, "b": rng.normal(size=(n, 2)), "c": rng.normal(size=(n, 2))}
    y = np.where(needs == 0, views["b"][:, 0], views["c"][:, 0])
    y = y if kind == "regression" else np.stack([y > 0, rng.random(n) < 0.5], axis=1).astype(float)

    def predict(subset):
        said = np.zeros(n)
        for k, name in enumerate("bc"):
            if name in subset:
                said += np.where(needs == k, views[name][:, 0], 0.0)
        if kind == "regression":
            return said[:, None]
        return np.stack([1 / (1 + np.exp(-3 * said)), np.full(n, 0.5)], axis=1)

    learnt = fit_acquisition(predict, None, views, np.ones((n, 3), dtype=bool), y, kind)
    table = table_of(learnt, predict, views, ("a",))
    first = table[table["rank"] == 1].sort_values("row")["modality"].to_numpy()
    assert (first == np.where(needs == 0, "b", "c")).all()


def test_branches_that_disagree_are_read():
    """How far two branches are apart tells how wrong their mean is; the mean itself does not."""
    rng = np.random.default_rng(0)
    n = 1000
    apart = rng.integers(0, 2, n) * 2.0
    branches = np.stack([apart, -apart, rng.normal(size=n)])[:, :, None]
    y = np.where(apart > 0, 3.0, 0.0) + rng.normal(size=n)
    fused = FusedBranches(("a", "b", "c"), branches, np.ones((n, 3), dtype=bool), np.zeros(1))
    views = {name: np.zeros((n, 1)) for name in "abc"}

    def predict(subset):
        return y[:, None] if "c" in subset else fused(subset)

    learnt = fit_acquisition(predict, fused, views, fused.presence, y, "regression")
    presence = np.tile([True, True, False], (n, 1))
    table = acquisition_table(learnt, fused(("a", "b")), fused, learnt.components(views), presence)
    assert table["value"][apart > 0].mean() > table["value"][apart == 0].mean() + 5.0


def test_many_modalities_learn_what_rows_have():
    rng = np.random.default_rng(0)
    names = tuple(f"m{i}" for i in range(10))
    n = 400
    presence = np.ones((n, 10), dtype=bool)
    presence[:200, 5:] = False
    y = rng.integers(0, 2, n)
    views = {name: (y + rng.normal(size=n))[:, None] for name in names}

    def predict(subset):
        evidence = sum((views[s][:, 0] - 0.5 for s in subset), start=np.zeros(n))
        p = 1 / (1 + np.exp(-evidence))
        return np.stack([1 - p, p], axis=1)

    learnt = fit_acquisition(predict, None, views, presence, y, "multiclass")
    assert {len(subset) for subset, _ in learnt.coefficients} == {0, 5, 9}
    half = presence[:1].repeat(n, axis=0)
    table = acquisition_table(learnt, predict(names[:5]), None, learnt.components(views), half)
    assert table["value"].notna().all()
    assert table["value"].mean() > 0


def test_state_and_back():
    views, predict, y, _ = two_halves(200)
    learnt = fit_acquisition(predict, None, views, np.ones((200, 3), dtype=bool), y, "multiclass")
    again = Acquisition.from_state(*learnt.state())
    for names in ((), ("a",), ("a", "c")):
        pd.testing.assert_frame_equal(
            table_of(again, predict, views, names), table_of(learnt, predict, views, names)
        )
    nothing = Acquisition.from_state(*Acquisition("multiclass", learnt.prior, learnt.components, {}).state())
    assert table_of(nothing, predict, views, ("a",))["value"].isna().all()
