"""Temperatures by pattern: against loops, shrunk, without a changed decision, and honest afterwards."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax, logit, softmax

from polymodal.calibration import (
    MAX_OCCURRING,
    MAX_ROWS,
    PRIOR_SD,
    Temperatures,
    by_pattern,
    calibrated,
    containing,
    fit_temperatures,
    pattern_counts,
    patterns,
    reliability_table,
)
from polymodal.evaluation import FusedBranches, subsets
from polymodal.metrics import ece, log_loss

NAMES = ("a", "b")
KINDS = ("multiclass", "multilabel", "regression")


def honest(n, seed=0, n_classes=3, sharpness=1.5):
    """Probabilities and labels drawn from them: calibrated by construction."""
    rng = np.random.default_rng(seed)
    p = softmax(sharpness * rng.normal(size=(n, n_classes)), axis=1)
    y = (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return p, np.minimum(y, n_classes - 1)


def distorted(p, temperature):
    """What a model says whose calibration needs this temperature."""
    return softmax(np.log(p) * temperature, axis=1)


def two_patterns(n, bold=2.0, timid=0.5, seed=0):
    """``predict`` of a model that is too bold with a alone and too timid with b alone; and labels."""
    p, y = honest(n, seed)
    said = {
        (): np.full_like(p, 1 / 3),
        ("a",): distorted(p, bold),
        ("b",): distorted(p, timid),
        ("a", "b"): p,
    }
    return said.__getitem__, y


def everywhere(n, m=2):
    return np.ones((n, m), dtype=bool)


# ---- patterns ------------------------------------------------------------------------------------


def test_every_pattern_of_few_modalities_and_the_empty_one():
    assert patterns(everywhere(3), NAMES) == [(), ("a",), ("b",), ("a", "b")]


def test_of_many_modalities_the_usual_few_and_those_that_occur():
    names = tuple("abcdefghij")
    presence = np.zeros((5, 10), dtype=bool)
    presence[:, [1, 4]] = True
    found = patterns(presence, names)
    assert ("b", "e") in found
    assert {(), ("a",), names, names[1:]} <= set(found)
    assert len(found) == 1 + 10 + 10 + 1 + 1
    random = np.random.default_rng(0).random((2000, 10)) < 0.5
    assert len(patterns(random, names)) <= 22 + MAX_OCCURRING


def test_rows_that_contain_a_pattern_are_spread_over_all_when_there_are_many():
    presence = everywhere(3 * MAX_ROWS)
    presence[::3, 0] = False
    rows = containing(presence, NAMES, ("a",))
    assert len(rows) == MAX_ROWS
    assert presence[rows, 0].all()
    assert rows[0] == 1
    assert rows[-1] == len(presence) - 1
    assert containing(presence[:6], NAMES, ("a", "b")).tolist() == [1, 2, 4, 5]
    assert containing(presence[:6], NAMES, ()).tolist() == list(range(6))


def test_counts_of_patterns_equal_a_loop():
    presence = np.random.default_rng(0).random((200, 3)) < 0.7
    found = pattern_counts(presence, ("a", "b", "c"))
    rows = [tuple(name for name, there in zip("abc", row, strict=True) if there) for row in presence]
    assert found == {row: rows.count(row) for row in set(rows)}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert pattern_counts(np.zeros((0, 2), dtype=bool), NAMES) == {}


def test_values_by_pattern_equal_a_loop():
    presence = np.random.default_rng(0).random((50, 3)) < 0.5
    names = ("a", "b", "c")
    found = by_pattern(presence, names, lambda subset: (len(subset), "b" in subset), 2)
    np.testing.assert_array_equal(found, [[row.sum(), row[1]] for row in presence])


# ---- what a temperature makes of a prediction ------------------------------------------------------


def temperatures(kind="multiclass", own=None, common=1.7):
    own = {("a",): 0.5} if own is None else own
    return Temperatures(kind, NAMES, common, own, dict.fromkeys(own, 10))


def test_each_row_by_the_temperature_of_its_pattern():
    p, _ = honest(4)
    presence = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=bool)
    found = temperatures()(p.astype(np.float32), presence)
    for row, before, t in zip(found, p, (0.5, 1.7, 1.7, 1.0), strict=True):
        powers = [q ** (1 / t) for q in before]
        np.testing.assert_allclose(row, np.array(powers) / sum(powers), rtol=1e-5)


def test_labels_are_tempered_one_by_one():
    p = np.array([[0.1, 0.9], [0.4, 0.5]])
    found = temperatures("multilabel")(p, np.array([[1, 0], [0, 1]], dtype=bool))
    np.testing.assert_allclose(found[0], expit(logit(p[0]) / 0.5))
    np.testing.assert_allclose(found[1], expit(logit(p[1]) / 1.7))


def test_values_of_a_regression_stay():
    values = np.array([[1.5], [2.5]], dtype=np.float32)
    assert temperatures("regression")(values, everywhere(2)) is values
    assert temperatures("regression").of(np.zeros((1, 2), dtype=bool)).tolist() == [1.7]


def test_no_decision_changes_and_certain_rows_stay_finite():
    p, _ = honest(500)
    presence = np.random.default_rng(0).random((500, 2)) < 0.5
    assert (temperatures()(p, presence).argmax(1) == p.argmax(1)).all()
    certain = temperatures()(np.array([[1.0, 0.0]], dtype=np.float32), everywhere(1))
    assert np.isfinite(certain).all()
    label = temperatures("multilabel")(np.array([[1.0, 0.0]], dtype=np.float32), everywhere(1))
    assert ((label > 0.5) == [[True, False]]).all()


# ---- learning ------------------------------------------------------------------------------------


def dull_mode(loss, centre, prior_sd):
    """The best of a fine grid of log temperatures."""
    grid = np.log(centre) + np.linspace(-1.5, 1.5, 751)
    values = [loss(np.exp(u)) + 0.5 * ((u - np.log(centre)) / prior_sd) ** 2 for u in grid]
    return np.exp(grid[int(np.argmin(values))])


def test_temperatures_equal_a_grid_search():
    predict, y = two_patterns(80)
    found = fit_temperatures(predict, everywhere(80), NAMES, y, "multiclass", prior_sd=0.4, slope_sd=0.0)

    def loss(subset, t):
        logs = log_softmax(np.log(predict(subset)) / t, axis=1)
        return -np.sum(logs[np.arange(80), y])

    each = subsets(NAMES)
    common = dull_mode(lambda t: sum(loss(s, t) for s in each) / len(each), 1.0, 0.4)
    assert found.common == pytest.approx(common, rel=4e-3)
    for subset in each:
        own = dull_mode(lambda t, s=subset: loss(s, t), found.common, 0.4)
        assert found.own[subset] == pytest.approx(own, rel=4e-3)
        assert found.n_rows[subset] == 80


def test_temperatures_of_labels_equal_a_grid_search_and_skip_masked_entries():
    rng = np.random.default_rng(0)
    p = expit(rng.normal(size=(60, 3)))
    y = (rng.random((60, 3)) < expit(2 * logit(p))).astype(float)
    y[rng.random(y.shape) < 0.3] = np.nan
    found = fit_temperatures(lambda s: p, everywhere(60, 1), ("a",), y, "multilabel", prior_sd=0.4)

    def loss(t):
        q = expit(logit(p) / t)
        return -np.nansum(np.where(np.isnan(y), np.nan, np.log(np.where(y == 1, q, 1 - q))))

    assert found.common == pytest.approx(dull_mode(loss, 1.0, 0.4), rel=4e-3)
    assert found.own[("a",)] == pytest.approx(dull_mode(loss, found.common, 0.4), rel=4e-3)


def test_scales_of_a_regression_are_root_mean_squares_when_rows_are_many():
    rng = np.random.default_rng(0)
    y = rng.normal(size=4000)
    said = {"a": y + 3.0 * rng.normal(size=4000), "b": y + 0.2 * rng.normal(size=4000)}
    predict = lambda s: np.mean([said[name] for name in s] or [np.zeros(4000)], axis=0)[:, None]  # noqa: E731
    found = fit_temperatures(predict, everywhere(4000), NAMES, y, "regression")
    assert found.own[("a",)] == pytest.approx(3.0, rel=0.05)
    assert found.own[("b",)] == pytest.approx(0.2, rel=0.05)
    assert found.own[()] == pytest.approx(1.0, rel=0.05)
    errors = [y - predict(s)[:, 0] for s in ((), ("a",), ("b",), ("a", "b"))]
    assert found.common == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_a_model_that_is_wrong_in_a_known_way_is_mended_pattern_by_pattern():
    predict, y = two_patterns(3000)
    found = fit_temperatures(predict, everywhere(3000), NAMES, y, "multiclass")
    assert found.own[("a",)] == pytest.approx(2.0, rel=0.1)
    assert found.own[("b",)] == pytest.approx(0.5, rel=0.1)
    assert found.own[("a", "b")] == pytest.approx(1.0, rel=0.1)
    predict, y = two_patterns(3000, seed=1)
    mended = calibrated(predict, found, everywhere(3000))
    one = calibrated(predict, found.one_for_all(), everywhere(3000))
    for subset in (("a",), ("b",)):
        assert ece(y, mended(subset)) < 0.03
        assert ece(y, mended(subset)) < 0.5 * min(ece(y, predict(subset)), ece(y, one(subset)))
        assert log_loss(y, mended(subset)) < min(log_loss(y, predict(subset)), log_loss(y, one(subset)))


def test_a_rare_pattern_stays_near_the_common_temperature_and_a_frequent_one_leaves_it():
    n = 2000
    predict, y = two_patterns(n, bold=1.0, timid=0.4)
    presence = everywhere(n)
    distance = []
    for n_rare in (1, 20, 200, 2000):
        presence[:, 1] = np.arange(n) < n_rare
        found = fit_temperatures(predict, presence, NAMES, y, "multiclass", slope_sd=0.0)
        assert found.n_rows[("b",)] == n_rare
        distance.append(abs(np.log(found.own[("b",)] / found.common)))
    assert distance[0] < 0.1
    assert distance[0] < distance[1] < distance[2]
    assert found.own[("b",)] == pytest.approx(0.4, rel=0.1)


def test_a_row_counts_once_for_the_common_temperature_however_many_patterns_it_has():
    """One confident and wrong row: the prior holds against it alike for one modality and for six."""
    names = tuple("abcdef")
    p, y = np.array([[0.95, 0.05]]), np.array([1])
    one = fit_temperatures(lambda s: p, everywhere(1, 1), ("a",), y, "multiclass").common
    six = fit_temperatures(lambda s: p, everywhere(1, 6), names, y, "multiclass").common
    assert one == pytest.approx(six)
    assert 1.0 < one < np.exp(3 * PRIOR_SD)


def bolder_by_size(n, seed=0):
    """``predict`` whose right temperature for k of three modalities is exp(0.8 - 0.6 (k - 1)); and labels."""
    p, y = honest(n, seed, n_classes=4)
    said = {k: distorted(p, np.exp(0.8 - 0.6 * (k - 1))) for k in (1, 2, 3)}
    return lambda s: said[len(s)] if s else np.full_like(p, 0.25), y


def test_the_line_equals_a_grid_search():
    predict, y = bolder_by_size(60)
    names = ("a", "b", "c")
    found = fit_temperatures(predict, everywhere(60, 3), names, y, "multiclass", prior_sd=0.5, slope_sd=0.3)
    each = subsets(names)
    sizes = np.array([len(s) for s in each])
    grid = np.linspace(-2.0, 2.0, 801)
    logs = [log_softmax(np.log(predict(names[:k]))[:, :, None] / np.exp(grid), axis=1) for k in (1, 2, 3)]
    loss = [-log[np.arange(60), y].sum(axis=0) for log in logs]  # of each size, by log T
    best = np.inf
    for height in np.linspace(-0.5, 0.5, 101):
        for slope in np.linspace(-0.9, 0.1, 101):
            lines = height + slope * (sizes - sizes.mean())
            value = sum(np.interp(u, grid, loss[k - 1]) for u, k in zip(lines, sizes, strict=True)) / 7
            value += 0.5 * ((height / 0.5) ** 2 + (slope / 0.3) ** 2)
            if value < best:
                best, line = value, (height, slope)
    expected = {k: np.exp(line[0] + line[1] * (k - sizes.mean())) for k in (1, 2, 3)}
    assert found.by_size == pytest.approx(expected, rel=0.02)


def test_a_pattern_without_rows_follows_the_line_of_the_others():
    predict, y = bolder_by_size(2000)
    presence = everywhere(2000, 3)
    presence[:, 2] = False
    presence[1000:] = [False, True, True]  # nobody has all three
    names = ("a", "b", "c")
    found = fit_temperatures(predict, presence, names, y, "multiclass")
    assert ("a", "b", "c") not in found.own
    assert found.by_size[1] == pytest.approx(np.exp(0.8), rel=0.1)
    assert found.by_size[2] == pytest.approx(np.exp(0.2), rel=0.1)
    assert found.by_size[3] == found.by_size[2]  # beyond the sizes that were seen the line is level
    assert found.of(everywhere(1, 3)).item() == found.by_size[3]
    level = fit_temperatures(predict, presence, names, y, "multiclass", slope_sd=0.0)
    assert level.by_size == found.one_for_all().by_size == {}


def test_scales_of_a_regression_move_with_the_number_of_modalities():
    rng = np.random.default_rng(0)
    y = 10.0 * rng.normal(size=3000)
    errors = rng.normal(size=3000)
    predict = lambda s: (y + errors * (4.0 / 2 ** len(s) if s else 10.0))[:, None]  # noqa: E731
    found = fit_temperatures(predict, everywhere(3000, 3), ("a", "b", "c"), y, "regression")
    assert found.by_size == pytest.approx({1: 2.0, 2: 1.0, 3: 0.5}, rel=0.05)
    assert found.own[()] == pytest.approx(10.0, rel=0.1)


def test_smaller_prior_deviations_shrink_more():
    predict, y = two_patterns(50)
    found = [
        fit_temperatures(predict, everywhere(50), NAMES, y, "multiclass", prior_sd=sd)
        for sd in (0.05, 0.3, 10.0)
    ]
    distances = [abs(np.log(t.own[("a",)] / t.common)) for t in found]
    assert distances == sorted(distances)
    assert distances[0] < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_and_a_pattern_never_seen(kind):
    y = np.empty((0, 2)) if kind == "multilabel" else np.empty(0, dtype=int)
    none = fit_temperatures(lambda s: np.empty((0, 2)), everywhere(0), NAMES, y, kind)
    assert none.own == {}
    if kind == "regression":
        assert np.isnan(none.common)
    else:
        p = np.array([[0.2, 0.8]])
        np.testing.assert_allclose(none(p, everywhere(1)), p)
    presence = np.array([[True, False]] * 5)
    y = np.zeros((5, 2)) if kind == "multilabel" else np.zeros(5, dtype=int)
    found = fit_temperatures(lambda s: np.full((5, 2), 0.5), presence, NAMES, y, kind)
    assert ("a", "b") not in found.own
    assert found.of(everywhere(1)).item() == found.common


def test_one_class_in_all_rows_is_finite():
    p, _ = honest(30)
    found = fit_temperatures(lambda s: p, everywhere(30, 1), ("a",), np.zeros(30, dtype=int), "multiclass")
    assert 0.0 < found.own[("a",)] < np.inf


# ---- what a calibrated model predicts ------------------------------------------------------------


def test_rows_that_lack_part_of_a_subset_have_the_temperature_of_what_they_have():
    p, _ = honest(3)
    presence = np.array([[1, 0], [1, 1], [0, 1]], dtype=bool)
    fused = FusedBranches(NAMES, np.stack([p, p]) * presence.T[:, :, None], presence, np.full(3, 1 / 3))
    t = temperatures(own={("a",): 0.5, ("a", "b"): 0.8})
    found = calibrated(fused, t, presence)(("a", "b"))
    np.testing.assert_allclose(found[0], t(p[:1], np.array([[True, False]]))[0])
    np.testing.assert_allclose(found[1], t(p[1:2], np.array([[True, True]]))[0])
    alone = calibrated(fused, t, presence)(("a",))
    np.testing.assert_allclose(alone[1], t(p[1:2], np.array([[True, False]]))[0])
    np.testing.assert_allclose(alone[2], 1 / 3)  # nothing left: the prior as it is


# ---- reliability ---------------------------------------------------------------------------------


def test_reliability_bins_equal_a_loop_and_give_the_ece():
    predict, y = two_patterns(400)
    presence = everywhere(400)
    presence[::4, 0] = False
    table = reliability_table(predict, presence, NAMES, y, "multiclass")
    assert set(table["subset"]) == {"a", "b", "a+b", "observed"}
    part, rows = table[table["subset"] == "a"], np.flatnonzero(presence[:, 0])
    confidence, right = predict(("a",))[rows].max(1), predict(("a",))[rows].argmax(1) == y[rows]
    for line in part.itertuples():
        inside = (confidence > line.low) & (confidence <= line.high)
        assert line.n_rows == inside.sum() > 0
        assert line.confidence == pytest.approx(confidence[inside].mean())
        assert line.accuracy == pytest.approx(right[inside].mean())
    assert part["n_rows"].sum() == len(rows)
    weighted = (part["n_rows"] * (part["accuracy"] - part["confidence"]).abs()).sum() / len(rows)
    assert weighted == pytest.approx(ece(y[rows], predict(("a",))[rows]))


def test_reliability_of_an_honest_model_lies_on_the_diagonal():
    p, y = honest(20_000)
    table = reliability_table(lambda s: p, everywhere(20_000, 1), ("a",), y, "multiclass")
    spread = np.sqrt(0.25 / table["n_rows"])
    assert ((table["accuracy"] - table["confidence"]).abs() < 4 * spread).all()


def test_reliability_of_intervals_of_a_gaussian_error():
    rng = np.random.default_rng(0)
    y = rng.normal(size=4000)
    f = (y + 2.0 * rng.normal(size=4000))[:, None]
    found = fit_temperatures(lambda s: f, everywhere(4000, 1), ("a",), y, "regression")
    table = reliability_table(lambda s: f, everywhere(4000, 1), ("a",), y, "regression", temperatures=found)
    part = table[table["subset"] == "a"]
    assert part["confidence"].tolist() == pytest.approx([0.05 * k for k in range(1, 20)])
    assert (part["accuracy"] - part["confidence"]).abs().max() < 0.03


def test_a_pattern_without_rows_has_no_bins():
    predict, y = two_patterns(10)
    presence = np.tile([True, False], (10, 1))
    table = reliability_table(predict, presence, NAMES, y, "multiclass")
    assert set(table["subset"]) == {"a", "observed"}
