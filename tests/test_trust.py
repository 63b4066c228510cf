"""Calibrated estimators through the public door: promises kept on fresh rows, silence, saving, sentences."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import polymodal
from polymodal import MethodClassifier, MethodRegressor, RobultClassifier, RobultRegressor
from polymodal.errors import CalibrationWarning, ConfigError, LabelError, PresenceWarning
from polymodal.estimators import calibration_table, coverage_table, reliability_table, risk_table
from polymodal.estimators.calibrated import Calibration
from polymodal.metrics import log_loss

QUICK = {"max_epochs": 3, "random_state": 0, "device": "cpu", "floors": False}
TRAIN, HELD, TEST = slice(0, 200), slice(200, 700), slice(700, 1300)


def rows(n=1300, seed=0):
    """Two vectors that know the class a little; each is absent in a fifth of the rows."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    X = {
        "a": random.normal(size=(n, 4)) + 0.8 * y[:, None],
        "b": random.normal(size=(n, 3)) - 0.5 * y[:, None],
    }
    X["a"][::5] = np.nan
    X["b"][1::5] = np.nan
    return X, y


def part(X, where):
    return {name: values[where] for name, values in X.items()}


@pytest.fixture(scope="module")
def data():
    return rows()


@pytest.fixture(scope="module")
def raw(data):
    X, y = data
    return RobultClassifier(**QUICK).fit(part(X, TRAIN), y[TRAIN])


@pytest.fixture(scope="module")
def trusted(data):
    X, y = data
    model = RobultClassifier(**QUICK).fit(part(X, TRAIN), y[TRAIN])
    return model.calibrate(part(X, HELD), y[HELD])


# ---- promises ------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_prediction_sets_cover_fresh_rows(trusted, data, alpha):
    X, y = data
    sets = trusted.predict_set(part(X, TEST), alpha=alpha)
    assert sets.shape == (600, 3)
    assert sets.dtype == bool
    covered = sets[np.arange(600), y[TEST]].mean()
    assert covered > 1 - alpha - 4 * np.sqrt(alpha * (1 - alpha) * (1 / 600 + 1 / 100))
    assert sets.sum(axis=1).mean() < 3
    assert sets[np.arange(600), trusted.predict_proba(part(X, TEST)).argmax(axis=1)].all()


def test_sets_grow_as_fewer_errors_are_allowed(trusted, data):
    few, many = (trusted.predict_set(part(data[0], TEST), alpha=alpha) for alpha in (0.4, 0.05))
    assert (many >= few).all()
    assert many.sum() > few.sum()


def test_calibration_changes_probabilities_and_no_decision(raw, trusted, data):
    X, y = part(data[0], TEST), data[1][TEST]
    np.testing.assert_array_equal(raw.predict(X), trusted.predict(X))
    before, after = raw.predict_proba(X), trusted.predict_proba(X)
    np.testing.assert_allclose(after.sum(axis=1), 1.0)
    assert log_loss(y, after) < log_loss(y, before)


def test_each_half_of_the_rows_has_one_use(trusted, data):
    learnt = trusted.calibration_
    for subset in (("a",), ("b",), ("a", "b")):
        both = learnt.temperatures.n_rows[subset] + len(learnt.conformal.scores[subset])
        presence = [~np.isnan(data[0][name][HELD]).any(axis=1) for name in subset]
        assert both == np.all(presence, axis=0).sum()
    assert len(learnt.conformal.scores[()]) == 250


@pytest.mark.parametrize("method", ["pgm", "umt"])
def test_methods_that_need_a_pass_for_each_pattern(method, data):
    X, y = data
    model = MethodClassifier(method, **QUICK | {"max_epochs": 2}).fit(part(X, TRAIN), y[TRAIN])
    model.calibrate(part(X, HELD), y[HELD])
    sets = model.predict_set(part(X, TEST), alpha=0.2)
    assert sets[np.arange(600), y[TEST]].mean() > 0.8 - 0.17
    only_a = model.predict_set({"a": data[0]["a"][TEST][1::5]}, alpha=0.2)
    np.testing.assert_array_equal(only_a, sets[1::5])  # rows that lack b anyway


def test_the_same_seed_calibrates_alike(raw, data):
    X, y = part(data[0], HELD), data[1][HELD]
    first, second = (copy.copy(raw).calibrate(X, y) for _ in range(2))
    assert first.calibration_.temperatures == second.calibration_.temperatures


# ---- silence -------------------------------------------------------------------------------------


def test_abstaining_masks_the_rows_whose_set_is_not_one_class(trusted, data):
    X, y = part(data[0], TEST), data[1][TEST]
    answers = trusted.predict(X, abstain=0.2)
    assert isinstance(answers, np.ma.MaskedArray)
    sets = trusted.predict_set(X, alpha=0.2)
    np.testing.assert_array_equal(answers.mask, sets.sum(axis=1) != 1)
    np.testing.assert_array_equal(answers.data, trusted.predict(X))
    wrong = (answers != y).filled(False)
    assert 0 < (~answers.mask).sum() < 600
    assert wrong.mean() < 0.2 + 0.16
    assert wrong.sum() / (~answers.mask).sum() < (trusted.predict(X) != y).mean()


def test_abstaining_keeps_classes_of_text(data):
    X, y = data
    names = np.array(["low", "mid", "high"])[y]
    model = RobultClassifier(**QUICK).fit(part(X, TRAIN), names[TRAIN])
    answers = model.calibrate(part(X, HELD), names[HELD]).predict(part(X, TEST), abstain=0.3)
    assert set(answers.compressed()) <= {"low", "mid", "high"}


# ---- other tasks -----------------------------------------------------------------------------------


def test_label_sets(data, tmp_path):
    X, y = data
    Y = np.stack([y == 0, y >= 1], axis=1).astype(float)
    Y[3, 1] = np.nan
    model = RobultClassifier(**QUICK).fit(part(X, TRAIN), Y[TRAIN]).calibrate(part(X, HELD), Y[HELD])
    sets = model.predict_set(part(X, TEST), alpha=0.2)
    assert sets.shape == (600, 2)
    for c in range(2):
        assert sets[Y[TEST][:, c] == 1, c].mean() > 0.8 - 0.2
    with pytest.raises(
        ConfigError, match="one class a row; this model predicts label sets; call predict_set"
    ):
        model.predict(part(X, TEST), abstain=0.1)
    model.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.predict_set(part(X, TEST), alpha=0.2), sets)


def test_intervals_of_a_regressor(data, tmp_path):
    X, y = data
    values = 100.0 * y + np.random.default_rng(0).normal(size=len(y))
    model = RobultRegressor(**QUICK).fit(part(X, TRAIN), values[TRAIN])
    before = model.predict(part(X, TEST))
    model.calibrate(part(X, HELD), values[HELD])
    np.testing.assert_array_equal(model.predict(part(X, TEST)), before)
    ends = model.predict_interval(part(X, TEST), alpha=0.2)
    assert ((ends[:, 0] <= values[TEST]) & (values[TEST] <= ends[:, 1])).mean() > 0.8 - 0.17
    np.testing.assert_allclose(ends.mean(axis=1), before, rtol=1e-5)
    model.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.predict_interval(part(X, TEST), alpha=0.2), ends)
    table = coverage_table(model, part(X, TEST), values[TEST], alpha=0.2)
    assert {"coverage", "interval_width"} <= set(table["metric"])
    assert set(reliability_table(model, part(X, TEST), values[TEST])["method"]) == {
        "one temperature",
        "temperature by pattern",
    }
    with pytest.raises(ConfigError, match="'ece' is not defined for this task"):
        calibration_table(model, part(X, TEST), values[TEST])
    with pytest.raises(ConfigError, match="a regressor has none"):
        risk_table(model, part(X, TEST), values[TEST])


# ---- few rows, strange rows ------------------------------------------------------------------------


def test_too_few_rows_give_everything_and_a_warning(raw, data):
    X, y = data
    model = copy.copy(raw).calibrate(part(X, slice(202, 204)), y[202:204])
    with pytest.warns(
        CalibrationWarning, match=r"alpha=0.1 needs 9 calibration rows; 600 of 600 rows have fewer"
    ):
        assert model.predict_set(part(X, TEST)).all()
    with pytest.warns(CalibrationWarning):
        assert model.predict(part(X, TEST), abstain=0.1).mask.all()


def test_one_row_one_class_and_a_pattern_never_seen(raw, data):
    X, y = data
    model = copy.copy(raw)
    before = model.predict_proba(part(X, TEST))
    model.calibrate(part(X, slice(202, 203)), y[202:203])
    np.testing.assert_allclose(model.predict_proba(part(X, TEST)), before, atol=1e-6)
    ones = np.flatnonzero((y[HELD] == 1) & (np.arange(500) % 5 == 1)) + 200  # a alone, one class
    model.calibrate(part(X, ones), y[ones])
    with pytest.warns(CalibrationWarning, match="the pattern a\\+b: 0 labelled rows"):
        sets = model.predict_set(part(X, slice(702, 703)))
    assert sets.all()


def test_a_row_without_any_modality_has_the_set_of_the_prior(trusted):
    nothing = {"a": np.full((1, 4), np.nan), "b": np.full((1, 3), np.nan)}
    with pytest.warns(PresenceWarning, match="1 of 1 rows"):
        probabilities = trusted.predict_proba(nothing)
    np.testing.assert_allclose(probabilities[0], trusted.prior_, atol=1e-6)
    with pytest.warns(PresenceWarning):
        assert trusted.predict_set(nothing, alpha=0.1).sum() >= 2


def test_unlabelled_rows_are_left_out(raw, data):
    X, y = data
    hidden = y[HELD].copy()
    hidden[::2] = -1
    model = copy.copy(raw).calibrate(part(X, HELD), hidden)
    assert len(model.calibration_.conformal.scores[()]) == 125
    with pytest.raises(LabelError, match="at least one row must be labelled"):
        model.calibrate(part(X, HELD), np.full(500, -1))


# ---- sentences -----------------------------------------------------------------------------------


def test_nothing_is_promised_before_calibration(raw, data):
    X, y = part(data[0], TEST), data[1][TEST]
    for ask in (raw.predict_set, lambda rows: raw.predict(rows, abstain=0.1)):
        with pytest.raises(
            ConfigError, match=r"rows that training did not see; none came; call calibrate\(X, y\)"
        ):
            ask(X)
    for table in (calibration_table, coverage_table, reliability_table):
        with pytest.raises(ConfigError, match=r"this one is not; call calibrate\(X, y\) first"):
            table(raw, X, y)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "few", np.nan])
def test_alpha_is_a_share(trusted, data, alpha):
    with pytest.raises(ConfigError, match="alpha is the share of errors that is allowed, between 0 and 1"):
        trusted.predict_set(part(data[0], TEST), alpha=alpha)


# ---- keeping ---------------------------------------------------------------------------------------


def test_a_calibrated_model_is_saved_whole(trusted, data, tmp_path):
    X = part(data[0], TEST)
    trusted.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(X), trusted.predict_proba(X))
    for alpha in (0.05, 0.3):
        np.testing.assert_array_equal(loaded.predict_set(X, alpha), trusted.predict_set(X, alpha))
    assert loaded.calibration_.temperatures == trusted.calibration_.temperatures
    again = pickle.loads(pickle.dumps(trusted))
    np.testing.assert_array_equal(again.predict_set(X), trusted.predict_set(X))


def test_an_uncalibrated_model_is_saved_uncalibrated(raw, tmp_path):
    raw.save(tmp_path / "model")
    assert polymodal.load(tmp_path / "model", device="cpu").calibration_ is None


def test_state_and_back(trusted):
    content, arrays = trusted.calibration_.state()
    again = Calibration.from_state(content, arrays)
    assert again.temperatures == trusted.calibration_.temperatures
    assert list(again.conformal.scores) == list(content_subsets(content))
    for subset, scores in trusted.calibration_.conformal.scores.items():
        np.testing.assert_array_equal(again.conformal.scores[subset], scores)


def test_a_calibration_stored_before_sizes_had_temperatures_is_read(trusted):
    content, arrays = trusted.calibration_.state()
    assert set(content.pop("by_size")) == {"1", "2"}
    again = Calibration.from_state(content, arrays)
    assert again.temperatures == replace(trusted.calibration_.temperatures, by_size={})


def content_subsets(content):
    return (tuple(pattern["modalities"]) for pattern in content["patterns"] if pattern["n_scores"])


def test_fitting_again_forgets_and_clones_know_nothing(trusted, data):
    X, y = data
    model = clone(trusted)
    assert model.calibration_ is None
    model.fit(part(X, TRAIN), y[TRAIN]).calibrate(part(X, HELD), y[HELD])
    assert model.fit(part(X, TRAIN), y[TRAIN]).calibration_ is None


def test_calibrating_again_starts_from_the_model_itself(trusted, data):
    X, y = data
    model = copy.copy(trusted)
    first = model.calibration_.temperatures
    assert model.calibrate(part(X, HELD), y[HELD]).calibration_.temperatures == first


# ---- tables --------------------------------------------------------------------------------------


def test_the_subset_report_measures_calibrated_probabilities(trusted, data):
    X, y = part(data[0], TEST), data[1][TEST]
    report = trusted.subset_report(X, y, metrics=["log_loss"])
    value = report[(report["subset"] == "observed") & (report["metric"] == "log_loss")]["value"].item()
    assert value == pytest.approx(log_loss(y, trusted.predict_proba(X)), abs=1e-5)


def test_the_calibration_table_has_the_three_ways_beside_each_other(raw, trusted, data):
    X, y = part(data[0], TEST), data[1][TEST]
    table = calibration_table(trusted, X, y, dataset="toy")
    assert set(table["method"]) == {"uncalibrated", "one temperature", "temperature by pattern"}
    assert set(table["metric"]) == {"ece", "brier", "log_loss", "n_rows"}
    losses = table[table["metric"] == "log_loss"].pivot_table(
        index="subset", columns="method", values="value"
    )
    assert losses.loc["observed", "uncalibrated"] == pytest.approx(
        log_loss(y, raw.predict_proba(X)), abs=1e-5
    )
    assert losses["temperature by pattern"].mean() < losses["uncalibrated"].mean()


def test_reliability_coverage_and_risk(trusted, data):
    X, y = part(data[0], TEST), data[1][TEST]
    reliability = reliability_table(trusted, X, y)
    counts = reliability[reliability["subset"] == "observed"].groupby("method")["n_rows"].sum()
    assert counts.tolist() == [600] * 3
    coverage = coverage_table(trusted, X, y, alpha=0.2)
    observed = coverage[(coverage["subset"] == "observed") & (coverage["metric"] == "coverage")][
        "value"
    ].item()
    sets = trusted.predict_set(X, alpha=0.2)
    assert observed == pytest.approx(sets[np.arange(600), y].mean(), abs=2 / 600)
    risk = risk_table(trusted, X, y)
    assert isinstance(risk, pd.DataFrame)
    assert risk["risk"].iloc[-1] == pytest.approx(1 - trusted.score(X, y))


def test_a_regressor_has_no_sets_and_a_classifier_no_intervals():
    assert not hasattr(MethodRegressor, "predict_set")
    assert not hasattr(MethodClassifier, "predict_interval")
