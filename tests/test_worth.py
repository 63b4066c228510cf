"""What inputs are worth, through the public door: sums, ranks that depend on the row, saving, pictures."""

import copy
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import polymodal
from polymodal import MethodClassifier, RobultClassifier, RobultRegressor
from polymodal.errors import ConfigError
from polymodal.estimators import (
    acquisition_table,
    contribution_table,
    shapley_rows,
    shapley_table,
)
from polymodal.estimators.calibrated import Calibration
from polymodal.metrics import accuracy, log_loss
from polymodal.plots import COLOURS, acquisition_ranking, figure, shapley_bars, waterfall

QUICK = {"random_state": 0, "device": "cpu", "floors": False}
TRAIN, HELD, TEST = slice(0, 500), slice(500, 1100), slice(1100, 1700)


def rows(n=1700, seed=0):
    """The class is in b for one half of the rows and in c for the other; a tells which."""
    random = np.random.default_rng(seed)
    y, half = random.integers(0, 2, (2, n))
    X = {name: random.normal(size=(n, width)) for name, width in (("a", 4), ("b", 3), ("c", 3))}
    X["a"][:, 0] = 2.0 * half - 1.0 + 0.3 * random.normal(size=n)
    X["a"][:, 1] += y
    X["b"][:, 0] += np.where(half == 0, 4.0 * y - 2.0, 0.0)
    X["c"][:, 0] += np.where(half == 1, 4.0 * y - 2.0, 0.0)
    return X, y, half


def part(X, where):
    return {name: values[where] for name, values in X.items()}


def only(X, *names):
    """The same rows without all other modalities."""
    return {name: v if name in names else np.full_like(v, np.nan) for name, v in X.items()}


@pytest.fixture(scope="module")
def data():
    return rows()


@pytest.fixture(scope="module")
def raw(data):
    X, y, _ = data
    train = part(X, TRAIN)
    train = {
        name: np.where(np.arange(500)[:, None] % 6 == i, np.nan, v)
        for i, (name, v) in enumerate(train.items())
    }
    return RobultClassifier(max_epochs=8, **QUICK).fit(train, y[TRAIN])


@pytest.fixture(scope="module")
def worth(raw, data):
    X, y, _ = data
    return copy.copy(raw).calibrate(part(X, HELD), y[HELD])


@pytest.fixture(scope="module")
def gappy(data):
    """Test rows of all patterns, the empty one too."""
    X = {name: values.copy() for name, values in part(data[0], TEST).items()}
    for i, values in enumerate(X.values()):
        values[np.arange(600) // 2**i % 2 == 0] = np.nan
    return X


# ---- Shapley values ------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["raw", "worth"])
def test_contributions_sum_to_the_prediction_less_the_prior(which, gappy, request):
    model = request.getfixturevalue(which)
    values = model.shapley(gappy)
    assert values.shape == (600, 3, 2)
    shown = model._calibrated(model._predictions(gappy, warn=False))
    np.testing.assert_allclose(values.sum(axis=1), shown - model.prior_, atol=1e-5)
    absent = np.stack([np.isnan(v[:, 0]) for v in gappy.values()], axis=1)
    assert (values[absent] == 0).all()
    np.testing.assert_allclose(values.sum(axis=2), 0.0, atol=1e-5)  # probabilities sum to 1 before and after


def test_a_row_that_needs_b_is_explained_by_b(worth, data):
    X, y, half = data
    values = worth.shapley(part(X, TEST))[np.arange(600), :, y[TEST]]
    for needed, idle, rows in (("b", "c", half[TEST] == 0), ("c", "b", half[TEST] == 1)):
        places = {name: m for m, name in enumerate(worth.modalities_)}
        assert values[rows, places[needed]].mean() > values[rows, places[idle]].mean() + 0.1


def test_a_method_that_needs_a_pass_for_each_combination(data, gappy):
    X, y, _ = data
    model = MethodClassifier("umt", max_epochs=2, **QUICK).fit(part(X, TRAIN), y[TRAIN])
    values = model.shapley(gappy)
    np.testing.assert_allclose(values.sum(axis=1), model.prediction(gappy) - model.prior_, atol=1e-5)
    alone = only(gappy, "b")
    alone_values = model.shapley(alone)
    np.testing.assert_allclose(alone_values[:, 1], model.prediction(alone) - model.prior_, atol=1e-5)
    assert not alone_values[:, [0, 2]].any()


@pytest.mark.parametrize("which", ["raw", "worth"])
def test_a_late_fusion_runs_each_branch_once_for_all_rows(which, gappy, request, monkeypatch):
    model = request.getfixturevalue(which)
    monkeypatch.setattr("polymodal.estimators.worth.ROWS_AT_ONCE", 250)
    passes = []

    def counted(self, batch):
        passes.append(len(batch))
        return forward(self, batch)

    forward = type(model.method_).forward
    monkeypatch.setattr(type(model.method_), "forward", counted)
    model.shapley(gappy)
    assert sum(passes) == 600
    assert len(passes) == 3  # one a chunk, not one a combination


def test_rows_are_explained_alike_in_pieces_and_together(worth, gappy, monkeypatch):
    whole = worth.shapley(gappy)
    monkeypatch.setattr("polymodal.estimators.worth.ROWS_AT_ONCE", 101)
    np.testing.assert_allclose(worth.shapley(gappy), whole, atol=1e-6)


def test_floors_are_explained_too(data):
    from polymodal.methods.floors import FLOORS

    X, y, _ = data
    floor = FLOORS["late_fusion"](task="classification").fit(part(X, TRAIN), y[TRAIN])
    values = shapley_rows(floor, part(X, TEST)).values
    np.testing.assert_allclose(
        values.sum(axis=1), floor.predict_proba(part(X, TEST)) - floor.prior_, atol=1e-6
    )


def test_the_table_of_a_metric(worth, data):
    X, y = part(data[0], TEST), data[1][TEST]
    table = shapley_table(worth, X, y, dataset="toy", method="robult")
    assert table["modality"].tolist() == ["a", "b", "c"]
    assert set(table["metric"]) == {"accuracy"}
    prior = np.tile(worth.prior_, (600, 1))
    gain = accuracy(y, worth.predict_proba(X)) - accuracy(y, prior)
    assert table["value"].sum() == pytest.approx(gain)
    a, b, c = table.itertuples()
    assert b.value > a.value + 3 * np.hypot(a.error, b.error)
    assert c.value > a.value + 3 * np.hypot(a.error, c.error)
    assert table["n_rows"].tolist() == [600] * 3


def test_a_loss_counts_what_it_is_lowered_by(worth, data):
    X, y = part(data[0], TEST), data[1][TEST].copy()
    y[::2] = -1
    table = shapley_table(worth, X, y, metric="log_loss")
    known = y >= 0
    prior = np.tile(worth.prior_, (known.sum(), 1))
    gain = log_loss(y[known], prior) - log_loss(y[known], worth.predict_proba(X)[known])
    assert table["value"].sum() == pytest.approx(gain, abs=1e-6)
    assert set(table["n_rows"]) == {300}
    with pytest.raises(ConfigError, match="'rmse' is not defined for this task"):
        shapley_table(worth, X, y, metric="rmse")


def test_the_contributions_as_a_table(worth, gappy):
    table = contribution_table(worth, gappy)
    there = np.stack([~np.isnan(v[:, 0]) for v in gappy.values()], axis=1)
    assert len(table) == 2 * there.sum()
    sums = table.groupby(["row", "output"]).agg({"value": "sum", "prior": "first", "prediction": "first"})
    np.testing.assert_allclose(sums["value"], sums["prediction"] - sums["prior"])
    values = worth.shapley(gappy)
    line = table.iloc[-1]
    m = list(worth.modalities_).index(line["modality"])
    assert line["value"] == values[line["row"], m, list(worth.classes_).index(line["output"])]


# ---- what is missing -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["robult", "pgm"])
def test_each_half_of_the_rows_is_told_the_input_that_it_needs(method, worth, data):
    X, y, half = data
    if method == "robult":
        model = worth
    else:
        model = MethodClassifier("pgm", max_epochs=5, **QUICK).fit(part(X, TRAIN), y[TRAIN])
        model.calibrate(part(X, HELD), y[HELD])
    new = part(X, TEST)
    table = model.acquisition_value(only(new, "a"))
    assert list(table.columns) == ["row", "modality", "value", "error", "rank"]
    first = table[table["rank"] == 1].sort_values("row")["modality"].to_numpy()
    assert (first == np.where(half[TEST] == 0, "b", "c")).mean() > 0.95
    lost = -np.log(model.predict_proba(only(new, "a"))[np.arange(600), y[TEST]])
    for name in "bc":
        kept = -np.log(model.predict_proba(only(new, "a", name))[np.arange(600), y[TEST]])
        value = table[table["modality"] == name].sort_values("row")["value"].to_numpy()
        assert np.corrcoef(value, lost - kept)[0, 1] > 0.3
        error_of_mean = (lost - kept).std() / np.sqrt(600)
        assert abs(value.mean() - (lost - kept).mean()) < 5 * error_of_mean


def test_rows_of_all_patterns(worth, gappy):
    table = worth.acquisition_value(gappy)
    absent = np.stack([np.isnan(v[:, 0]) for v in gappy.values()], axis=1)
    assert len(table) == absent.sum()
    assert table["value"].notna().all()
    assert (table["error"] > 0).any()
    ranks = table.groupby("row")["rank"].apply(sorted)
    assert all(r == list(range(1, len(r) + 1)) for r in ranks)
    best = table.loc[table.groupby("row")["value"].idxmax()]
    assert (best["rank"] == 1).all()


def test_a_row_is_judged_by_itself(worth, gappy):
    table = worth.acquisition_value(gappy)
    alone = worth.acquisition_value(part(gappy, slice(8, 9)))
    expected = table[table["row"] == 8].reset_index(drop=True).assign(row=0)
    pd.testing.assert_frame_equal(alone, expected, rtol=1e-4)


def test_reference_rows_in_place_of_calibration(raw, data):
    X, y, half = data
    new = only(part(X, TEST), "a")
    with pytest.raises(ConfigError, match=r"none came; call calibrate\(X, y\) first, or give reference"):
        raw.acquisition_value(new)
    labels = y[HELD].copy()
    labels[:100] = -1  # left out
    table = raw.acquisition_value(new, reference=(part(X, HELD), labels))
    first = table[table["rank"] == 1].sort_values("row")["modality"].to_numpy()
    assert (first == np.where(half[TEST] == 0, "b", "c")).mean() > 0.95
    few = acquisition_table(raw, new, reference=(part(X, slice(500, 520)), y[500:520]))
    assert few[["value", "error", "rank"]].isna().all(axis=None)


def test_a_regressor(data):
    X, y, half = data
    values = 10.0 * y + np.random.default_rng(0).normal(size=len(y))
    model = RobultRegressor(max_epochs=8, **QUICK).fit(part(X, TRAIN), values[TRAIN])
    model.calibrate(part(X, HELD), values[HELD])
    new = part(X, TEST)
    np.testing.assert_allclose(
        model.shapley(new).sum(axis=1)[:, 0], model.predict(new) - model.prior_, atol=1e-4
    )
    table = model.acquisition_value(only(new, "a"))
    first = table[table["rank"] == 1].sort_values("row")["modality"].to_numpy()
    assert (first == np.where(half[TEST] == 0, "b", "c")).mean() > 0.9
    assert shapley_table(model, new, values[TEST])["metric"].tolist() == ["mae"] * 3
    assert set(contribution_table(model, part(new, slice(0, 2)))["output"]) == {"value"}


def test_label_sets_and_series(data):
    X, y, _ = data
    series = {"a": X["a"], "s": np.repeat(X["b"][:, None, :], 5, axis=1)}
    Y = np.stack([y, 1 - y, y], axis=1).astype(float)
    model = RobultClassifier(max_epochs=2, **QUICK).fit(part(series, TRAIN), Y[TRAIN])
    model.calibrate(part(series, HELD), Y[HELD])
    table = model.acquisition_value({"a": X["a"][TEST]})
    assert set(table["modality"]) == {"s"}
    assert table["value"].mean() > 0
    values = model.shapley(part(series, TEST))
    np.testing.assert_allclose(
        values.sum(axis=1), model.predict_proba(part(series, TEST)) - model.prior_, atol=1e-5
    )


# ---- keeping ---------------------------------------------------------------------------------------


def test_what_was_learnt_is_saved(worth, gappy, tmp_path):
    worth.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model", device="cpu")
    pd.testing.assert_frame_equal(loaded.acquisition_value(gappy), worth.acquisition_value(gappy))
    np.testing.assert_array_equal(loaded.shapley(gappy), worth.shapley(gappy))


def test_a_calibration_of_before_knows_nothing_of_it(worth, gappy):
    content, arrays = worth.calibration_.state()
    del content["acquisition"]
    old = copy.copy(worth)
    old.calibration_ = Calibration.from_state(content, arrays)
    assert old.calibration_.acquisition is None
    assert old.calibration_.temperatures == worth.calibration_.temperatures
    with pytest.raises(ConfigError, match="call calibrate"):
        old.acquisition_value(gappy)


# ---- pictures --------------------------------------------------------------------------------------


def test_shapley_bars_are_the_table():
    table = pd.DataFrame(
        {"modality": ["a", "b"], "metric": "accuracy", "value": [0.3, -0.1], "error": [0.02, 0.01]}
    )
    _, ax = figure()
    assert shapley_bars(table, ax) is ax
    assert [bar.get_width() for bar in ax.patches] == [0.3, -0.1]
    assert [to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == list(COLOURS[:2])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert "accuracy" in ax.get_title(loc="left")
    ends = ax.collections[0].get_segments()
    np.testing.assert_allclose(ends[0][:, 0], [0.28, 0.32])


def test_a_waterfall_goes_from_the_prior_to_the_prediction(worth, gappy):
    table = contribution_table(worth, gappy)
    row = 7  # has everything
    _, ax = figure()
    assert waterfall(table, ax, row=row) is ax
    bars = ax.patches
    steps = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    prediction = worth.predict_proba(part(gappy, slice(row, row + 1)))[0]
    likeliest = int(prediction.argmax())
    assert steps[0][0] == pytest.approx(worth.prior_[likeliest])
    assert steps[-1][1] == pytest.approx(prediction[likeliest], abs=1e-5)
    for before, after in pairwise(steps):
        assert before[1] == pytest.approx(after[0])
    assert ax.get_title(loc="left").startswith("Row 7: from the prior")
    _, ax = figure()
    waterfall(table, ax, row=row, output=1 - likeliest)
    assert ax.patches[-1].get_x() + ax.patches[-1].get_width() == pytest.approx(
        prediction[1 - likeliest], abs=1e-5
    )


def test_the_ranking_of_a_row_is_the_best_first():
    table = pd.DataFrame(
        {
            "row": [0, 3, 3, 3],
            "modality": ["a", "a", "b", "c"],
            "value": [1.0, 0.1, np.nan, 0.4],
            "error": [0.1, 0.1, np.nan, 0.2],
            "rank": [1.0, 2.0, np.nan, 1.0],
        }
    )
    _, ax = figure()
    assert acquisition_ranking(table, ax, row=3) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c", "a", "b (too few rows)"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.4, 0.1, np.nan])
    assert ax.yaxis_inverted()
