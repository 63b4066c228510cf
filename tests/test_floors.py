"""Floors: linear models against scikit-learn's own, properties of every floor, then behaviour."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeCV

from polymodal.data import door
from polymodal.data.readers import load
from polymodal.data.splits import few_labels
from polymodal.errors import CheckpointError, ConfigError, LabelError, PresenceWarning
from polymodal.evaluation import late_fusion, subset_report, subsets, summarise
from polymodal.methods.floors import FLOORS, floors_for
from polymodal.methods.floors.concat import DropoutConcat, ImputationConcat, Majority
from polymodal.methods.floors.linear import ALPHAS, fit_linear
from polymodal.methods.floors.per_modality import BestSingle, LateFusion, SelfTraining, SoftSelfTraining
from polymodal.methods.floors.trees import GradientBoosting, RandomForest
from polymodal.methods.floors.views import Views, summarise_series, with_dropped_copies
from polymodal.schema import Series, Tabular, Vector

LINEAR = [name for name in FLOORS if name not in ("gradient_boosting", "random_forest")]


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch):
    """Trees that take no time: their number is scikit-learn's business."""
    new = {cls: cls._new_model for cls in (GradientBoosting, RandomForest)}
    few = {GradientBoosting: {"max_iter": 5, "min_samples_leaf": 3}, RandomForest: {"n_estimators": 10}}
    for cls, settings in few.items():
        make = new[cls]
        monkeypatch.setattr(cls, "_new_model", _with(make, settings))


def _with(make, settings):
    return lambda floor, seed: make(floor, seed).set_params(**settings)


def data(kind="multiclass", n=90, seed=0, missing=0.25, labelled=0.5, n_classes=3):
    """X, hidden y, y of three modalities that know the label more or less."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    y[:n_classes] = np.arange(n_classes)
    signal = np.eye(n_classes)[y] @ rng.normal(size=(n_classes, 4))
    X = {name: scale * signal + rng.normal(size=(n, 4)) for name, scale in (("a", 0.5), ("b", 1), ("c", 2))}
    gone = rng.random((n, 3)) < missing
    gone[gone.all(1), 0] = False
    X = {name: np.where(gone[:, i : i + 1], np.nan, value) for i, (name, value) in enumerate(X.items())}
    hidden = rng.random(n) >= labelled
    hidden[: 2 * n_classes] = False
    if kind == "multiclass":
        return X, np.where(hidden, -1, y), y
    truth = y + 0.1 * rng.normal(size=n) if kind == "regression" else (signal[:, :3] > 0).astype(float)
    shown = truth.copy()
    shown[hidden] = np.nan
    if kind == "multilabel":
        shown[rng.random(shown.shape) < 0.2] = np.nan
    return X, shown, truth


def fitted(name, kind="multiclass", **options):
    X, y, _ = data(kind, **options)
    return FLOORS[name](random_state=0).fit(X, y), X


def keep(X, names):
    return {name: value if name in names else np.full_like(value, np.nan) for name, value in X.items()}


CASES = [(name, kind) for kind in ("multiclass", "multilabel", "regression") for name in floors_for(kind)]


# ---- the linear model against scikit-learn -------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes_equal_logistic_regression(n_classes):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), np.arange(40) % n_classes
    x += y[:, None]
    model = fit_linear(x, np.eye(n_classes)[y], "multiclass", np.ones(n_classes) / n_classes)
    twin = LogisticRegression(max_iter=1000).fit(x, y)
    np.testing.assert_allclose(model(x), twin.predict_proba(x), rtol=1e-9)


def test_soft_targets_are_weighted_copies():
    rng = np.random.default_rng(0)
    x, share = rng.normal(size=(30, 4)), rng.dirichlet(np.ones(3), size=30)
    share = np.where(share > 0.01, share, 0.0)
    model = fit_linear(x, share, "multiclass", np.ones(3) / 3)
    rows, codes = np.repeat(np.arange(30), 3), np.tile(np.arange(3), 30)
    kept = share.ravel() > 0
    weight = share.ravel()[kept]
    twin = LogisticRegression(max_iter=1000).fit(x[rows[kept]], codes[kept], sample_weight=weight)
    np.testing.assert_allclose(model(x), twin.predict_proba(x), rtol=1e-6)


def test_values_equal_ridge_and_labels_one_against_rest():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5))
    y = x[:, :1] + 0.3 * rng.normal(size=(40, 1))
    twin = RidgeCV(ALPHAS).fit(x, y[:, 0])
    np.testing.assert_allclose(fit_linear(x, y, "regression", np.zeros(1))(x)[:, 0], twin.predict(x))
    labels = np.column_stack([y[:, 0] > 0, x[:, 1] > 0.5]).astype(float)
    labels[::5, 0] = np.nan
    model = fit_linear(x, labels, "multilabel", np.full(2, 0.5))
    for c in range(2):
        known = ~np.isnan(labels[:, c])
        twin = LogisticRegression(max_iter=1000).fit(x[known], labels[known, c].astype(int))
        np.testing.assert_allclose(model(x)[:, c], twin.predict_proba(x)[:, 1], rtol=1e-9)


@pytest.mark.parametrize("name", list(floors_for("multiclass")))
def test_a_class_of_one_labelled_row_is_nothing_to_warn_of(name):
    random = np.random.default_rng(0)
    y = np.where(np.arange(60) < 24, np.arange(60) % 20, -1)  # 20 classes, 24 labelled rows
    X = {"a": random.normal(size=(60, 4)) + y[:, None], "b": random.normal(size=(60, 3))}
    assert FLOORS[name](random_state=0).fit(X, y).predict_proba(X).shape == (60, 20)


def test_a_class_that_is_not_there_gets_probability_zero():
    x = np.random.default_rng(0).normal(size=(20, 3))
    y = np.tile([0, 2], 10)
    p = fit_linear(x, np.eye(3)[y], "multiclass", np.ones(3) / 3)(x)
    assert (p[:, 1] == 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_allclose(p[:, [0, 2]], LogisticRegression().fit(x, y).predict_proba(x), rtol=1e-4)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_nothing_to_tell_apart_predicts_the_prior(n):
    prior = np.array([0.2, 0.3, 0.5])
    x, more = np.ones((n, 2)), np.random.default_rng(0).normal(size=(4, 2))
    one_class = np.eye(3)[np.ones(n, dtype=int)]
    np.testing.assert_allclose(fit_linear(x, one_class, "multiclass", prior)(more), np.tile(prior, (4, 1)))
    np.testing.assert_allclose(fit_linear(x, one_class, "multilabel", prior)(more), np.tile(prior, (4, 1)))
    if n < 2:
        assert fit_linear(x, np.full((n, 1), 7.0), "regression", np.array([3.0]))(more)[0, 0] == 3.0


# ---- sequences and copies ------------------------------------------------------------------------


def test_sequence_summaries_equal_loops():
    rng = np.random.default_rng(0)
    lengths = np.array([5, 1, 0, 3])
    values = rng.normal(size=(4, 5, 2))
    for i, length in enumerate(lengths):
        values[i, length:] = np.nan  # whatever lies behind the end is not read
    found = summarise_series(values, lengths)
    for row, v, length in zip(found, values, lengths, strict=True):
        s = v[:length]
        parts = [s.mean(0), s.std(0), s.min(0), s.max(0), s[-1], [length]] if length else [np.zeros(11)]
        np.testing.assert_allclose(row, np.concatenate(parts))


def test_copies_keep_a_part_of_what_a_row_has():
    rng = np.random.default_rng(0)
    presence = rng.random((50, 3)) < 0.7
    views = Views({name: rng.normal(size=(50, 2)) for name in "abc"}, presence)
    target = np.where(np.arange(50)[:, None] < 30, 1.0, np.nan)
    copies, rows = with_dropped_copies(views, target, 300, np.random.RandomState(0))
    assert set(rows) == set(np.flatnonzero(presence.any(1)[:30]))
    assert copies.presence.any(axis=1).all()
    assert not (copies.presence & ~presence[rows]).any()
    n = len(set(rows))
    np.testing.assert_array_equal(copies.presence[:n], presence[rows[:n]])
    sizes = set(copies.presence[presence[rows].all(1)].sum(1))
    assert sizes == {1, 2, 3}


# ---- every floor ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_predictions_are_sound_for_every_subset(name, kind):
    floor, X = fitted(name, kind)
    for subset in [*subsets("abc"), ()]:
        p = floor.prediction(keep(X, subset))
        assert p.shape == (90, 1 if kind == "regression" else 3)
        assert np.isfinite(p).all()
        if kind != "regression":
            assert ((p >= 0) & (p <= 1)).all()
        if kind == "multiclass":
            np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(p, np.tile(floor.prior_, (90, 1)))  # of no modality at all


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_no_row_depends_on_another(name, kind):
    floor, X = fitted(name, kind)
    whole = floor.prediction(X)
    single = [floor.prediction({key: value[i : i + 1] for key, value in X.items()})[0] for i in range(8)]
    np.testing.assert_allclose(single, whole[:8], rtol=1e-9)


@pytest.mark.parametrize("name", FLOORS)
def test_the_same_seed_gives_the_same_floor(name):
    X, y, _ = data()
    first, second = (FLOORS[name](random_state=3).fit(X, y).prediction(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", [n for n in FLOORS if n != "majority"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_floor_beats_the_majority(name, n_classes):
    X, y, truth = data(n=150, n_classes=n_classes)
    y = np.where(y < 0, None, y)  # among two classes, 0 and 1, a -1 would have two readings
    floor = FLOORS[name](random_state=0).fit(X, y)
    assert (floor.predict(X) == truth).mean() > (np.bincount(truth).max() / 150) + 0.15


@pytest.mark.parametrize("name", [n for n in floors_for("regression") if n != "majority"])
def test_a_floor_beats_the_mean(name):
    X, y, truth = data("regression", n=150)
    floor = FLOORS[name](random_state=0).fit(X, y)
    assert np.mean((floor.predict(X) - truth) ** 2) < 0.8 * truth.var()


@pytest.mark.parametrize("name", FLOORS)
def test_parameters_survive_a_clone_and_classes_come_back(name):
    X, y, _ = data()
    texts = np.array(["x", "y", "z", None], dtype=object)[y]
    floor = clone(FLOORS[name]({"a": Vector(), "c": Vector()}, random_state=0))
    floor.fit({"a": X["a"], "c": X["c"]}, texts)
    assert list(floor.classes_) == ["x", "y", "z"]
    assert list(floor.modalities_) == ["a", "c"]
    some = {name: X[name][:20] for name in "ac"}
    present = ~(np.isnan(some["a"]).all(1) & np.isnan(some["c"]).all(1))
    some = {name: value[present] for name, value in some.items()}
    assert set(floor.predict(some)) <= {"x", "y", "z"}
    assert floor.predict_proba(some).shape == (present.sum(), 3)


@pytest.mark.parametrize("name", FLOORS)
def test_hard_inputs_are_taken(name):
    """A modality without a labelled row, one with a single class, one whose rows lack a class."""
    X, _, truth = data(missing=0.0, n=60)
    y = truth.copy()
    y[40:] = -1
    X["a"][:40] = np.nan
    X["b"][y != 1] = np.nan
    X["c"][y == 2] = np.nan
    X["c"][50:] = np.nan
    floor = FLOORS[name](random_state=0).fit(X, y)
    some = np.flatnonzero(~np.isnan(np.hstack(list(X.values()))).all(1))
    for subset in subsets("abc"):
        assert np.isfinite(floor.prediction(keep(X, subset))).all()
    assert len(floor.predict({key: value[some] for key, value in X.items()})) == len(some)
    if name == "late_fusion":
        branches = floor.branch_predictions(X)
        for key, rows in (("a", np.arange(40, 60)), ("b", np.flatnonzero(y == 1))):
            np.testing.assert_allclose(branches[key][rows], np.tile(floor.prior_, (len(rows), 1)))
        assert (branches["c"][:40][y[:40] != 2][:, 2] == 0).all()


@pytest.mark.parametrize("name", FLOORS)
def test_labelled_rows_without_any_modality_teach_the_prior_alone(name):
    X, y, _ = data(missing=0.0)
    X = {key: np.where((y >= 0)[:, None], np.nan, value) for key, value in X.items()}
    floor = FLOORS[name](random_state=0).fit(X, y)
    some = {key: value[y < 0] for key, value in X.items()}
    if "self_training" not in name:  # whose teacher knows the prior, and decides by it
        expected = np.tile(floor.prior_, ((y < 0).sum(), 1))
        np.testing.assert_allclose(floor.prediction(some), expected, rtol=1e-3)
    assert np.isfinite(floor.prediction(X)).all()


@pytest.mark.parametrize("name", FLOORS)
def test_a_class_whose_rows_have_no_modality_keeps_its_column(name):
    X, y, _ = data(missing=0.0)
    X = {key: np.where((y == 1)[:, None], np.nan, value) for key, value in X.items()}
    p = FLOORS[name](random_state=0).fit(X, y).prediction(X)
    assert p.shape == (90, 3)
    assert np.isfinite(p).all()


# ---- each floor ----------------------------------------------------------------------------------


def test_majority_reads_the_labels_alone():
    floor, X = fitted("majority")
    _, y, _ = data()
    np.testing.assert_allclose(floor.prior_, np.bincount(y[y >= 0]) / (y >= 0).sum())
    np.testing.assert_array_equal(floor.prediction(X), np.tile(floor.prior_, (90, 1)))
    floor, X = fitted("majority", "regression")
    np.testing.assert_allclose(floor.predict(X), np.nanmean(data("regression")[1]))


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, k in CASES if FLOORS[n].late_fusion])
def test_late_fusion_is_the_mean_of_its_branches(name, kind):
    floor, X = fitted(name, kind)
    branches = floor.branch_predictions(X)
    for key, value in branches.items():
        np.testing.assert_array_equal(np.isnan(value).all(1), np.isnan(X[key]).all(1))
    fused = late_fusion(branches, floor.prior_)
    for subset in subsets("abc"):
        np.testing.assert_allclose(floor.prediction(keep(X, subset)), fused(subset), rtol=1e-9)


def test_best_single_takes_the_best_and_falls_back_in_order():
    X, y, _ = data(n=200, missing=0.2)
    floor = BestSingle(random_state=0).fit(X, y)
    assert floor.ranking_ == ["c", "b", "a"]
    branches = LateFusion().fit(X, y).branch_predictions(X)
    expected = np.where(np.isnan(branches["c"]), branches["b"], branches["c"])
    expected = np.where(np.isnan(expected), branches["a"], expected)
    np.testing.assert_array_equal(floor.prediction(X), expected)


def test_a_modality_without_labelled_rows_ranks_last():
    X, y, _ = data(missing=0.0)
    X["c"][y >= 0] = np.nan
    assert BestSingle(random_state=0).fit(X, y).ranking_[-1] == "c"


def test_imputation_puts_the_training_mean():
    X, y, _ = data()
    floor = ImputationConcat().fit(X, y)
    means = {name: np.tile(np.nanmean(value, axis=0), (90, 1)) for name, value in X.items()}
    filled = {name: np.where(np.isnan(X[name]), means[name], X[name]) for name in X}
    np.testing.assert_allclose(floor.prediction(X), floor.prediction(filled), rtol=1e-4)


def test_modality_dropout_knows_what_is_absent():
    X, y, _ = data(missing=0.0)
    floor = DropoutConcat(random_state=0).fit(X, y)
    mean = {name: np.tile(value.mean(axis=0), (90, 1)) for name, value in X.items()}
    present, absent = {**X, "c": mean["c"]}, keep(X, "ab")
    assert np.abs(floor.prediction(present) - floor.prediction(absent)).max() > 1e-3


def test_generation_0_of_self_training_is_the_late_fusion(monkeypatch):
    X, y, _ = data()
    for floor in (SelfTraining, SoftSelfTraining):
        monkeypatch.setattr(floor, "N_GENERATIONS", 0)
        expected = LateFusion().fit(X, y).prediction(X)
        np.testing.assert_array_equal(floor().fit(X, y).prediction(X), expected)


def test_hard_teaching_is_silent_where_unsure_and_soft_teaching_has_the_prior_as_mean():
    fused = np.array([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8]])
    floor = SelfTraining()
    np.testing.assert_array_equal(floor._teach(fused), [[1, 0], [0, 1], [0, 1]])
    three = np.array([[0.4, 0.3, 0.3]])
    assert np.isnan(floor._teach(three)).all()
    rng = np.random.default_rng(0)
    soft = SoftSelfTraining()
    soft.prior_ = np.array([0.2, 0.3, 0.5])
    before = rng.dirichlet([5.0, 1.0, 1.0], size=400)
    taught = soft._teach(before)
    np.testing.assert_allclose(taught.mean(axis=0), soft.prior_, atol=1e-3)
    np.testing.assert_allclose(taught.sum(axis=1), 1)


def test_teaching_never_overrules_a_label():
    X, _, truth = data(n=60, labelled=1.0)
    for floor in (SelfTraining, SoftSelfTraining):
        expected = LateFusion().fit(X, truth).prediction(X)
        np.testing.assert_allclose(floor().fit(X, truth).prediction(X), expected)


def test_tabular_and_series_inputs():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    table = pd.DataFrame(
        {
            "age": np.where(rng.random(60) < 0.2, np.nan, y + rng.normal(size=60)),
            "town": np.where(rng.random(60) < 0.5, "here", np.where(y == 1, "there", "elsewhere")),
            "walk": [
                rng.normal(size=(rng.integers(1, 6), 2)) + c if i % 5 else None for i, c in enumerate(y)
            ],
        }
    )
    modalities = {"facts": Tabular(["age", "town"]), "walk": Series("walk")}
    for name, floor in FLOORS.items():
        model = floor(modalities, random_state=0).fit(table, y)
        assert np.isfinite(model.prediction(table)).all()
        assert (model.predict(table) == y).mean() > (0.4 if name == "majority" else 0.6), name


# ---- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in FLOORS if n not in set(floors_for("regression"))])
def test_self_training_refuses_a_regression(name):
    X, y, _ = data("regression")
    with pytest.raises(
        ConfigError, match=r"not made for regression \(its pseudo-labels.*choose from majority"
    ):
        FLOORS[name]().fit(X, y)


@pytest.mark.parametrize("name", [n for n in FLOORS if n not in set(floors_for("multilabel"))])
def test_floors_that_refuse_label_sets_say_why(name):
    X, y, _ = data("multilabel")
    with pytest.raises(
        ConfigError, match=r"not made for multilabel \(.*\); choose from majority, best_single"
    ):
        FLOORS[name]().fit(X, y)


def test_floats_are_values_unless_told_otherwise():
    X, _, truth = data()
    y = truth.astype(float)
    assert LateFusion().fit(X, y).kind_ == "regression"
    floor = LateFusion(task="classification").fit(X, y)
    assert floor.kind_ == "multiclass"
    assert LateFusion(task="regression").fit(X, truth).kind_ == "regression"


def test_probabilities_of_values_and_branches_of_one_model_are_refused():
    floor, X = fitted("late_fusion", "regression")
    with pytest.raises(ConfigError, match=r"probabilities need classes; .*; call predict"):
        floor.predict_proba(X)
    floor, X = fitted("imputation_concat")
    with pytest.raises(ConfigError, match="ImputationConcat has none; predict on a subset"):
        floor.branch_predictions(X)


def test_rows_without_any_modality_are_counted():
    floor, X = fitted("late_fusion")
    X = {name: np.where(np.arange(90)[:, None] < 2, np.nan, value) for name, value in X.items()}
    with pytest.warns(PresenceWarning, match="2 of 90 rows have no modality at all"):
        p = floor.predict_proba(X)
    np.testing.assert_array_equal(p[:2], [floor.prior_] * 2)


def test_one_class_is_refused_by_the_door():
    X, _, _ = data()
    with pytest.raises(LabelError, match="two classes"):
        Majority().fit(X, np.zeros(90, dtype=int))


# ---- keeping -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, k in CASES if n in LINEAR])
def test_linear_floors_come_back_from_arrays(name, kind, tmp_path):
    floor, X = fitted(name, kind)
    content, arrays = floor.state()
    path = tmp_path / "floor.safetensors"
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, path)
    back = FLOORS[name].from_state(json.loads(json.dumps(content)), load_file(path))
    np.testing.assert_array_equal(back.prediction(X), floor.prediction(X))
    assert back.n_parameters_ == floor.n_parameters_


def test_parameters_are_counted():
    assert fitted("late_fusion")[0].n_parameters_ == 3 * (4 * 3 + 3)
    assert fitted("dropout_concat")[0].n_parameters_ == (12 + 3) * 3 + 3
    assert fitted("majority")[0].n_parameters_ == 0
    assert fitted("random_forest")[0].n_parameters_ is None


@pytest.mark.parametrize("name", ["gradient_boosting", "random_forest"])
def test_trees_cannot_be_saved(name):
    floor, _ = fitted(name)
    with pytest.raises(CheckpointError, match="made of trees, which only a pickle could hold"):
        floor.state()


def test_a_state_is_read_by_its_own_class():
    floor, _ = fitted("late_fusion")
    with pytest.raises(CheckpointError, match=r"LateFusion came for Majority; call LateFusion\.from_state"):
        Majority.from_state(*floor.state())


# ---- real data -----------------------------------------------------------------------------------


def test_self_training_wins_on_digits_with_few_labels():
    digits = load("mfeat")
    train, test = digits.train_test(0)
    views = ("fou", "zer", "kar")
    X, y = digits.rows(train)
    y = np.where(few_labels(y, 0.05, 0).mask, y, -1)
    X_test, y_test = digits.rows(test)
    X, X_test = ({name: part[name] for name in views} for part in (X, X_test))
    presence = np.ones((len(test), 3), bool)
    means = {}
    for name in ("late_fusion", "self_training", "soft_self_training"):
        floor = FLOORS[name]().fit(X, y)
        predict = late_fusion(floor.branch_predictions(X_test), floor.prior_)
        report = subset_report(predict, presence, views, y_test, "multiclass", metrics=["accuracy"])
        means[name] = summarise(report).set_index("statistic").loc["mean", "value"]
        whole = floor.prediction(door.restrict(X_test, floor.modalities_, ("zer",)))
        np.testing.assert_allclose(whole, predict(("zer",)), rtol=1e-6)
    assert means["late_fusion"] > 0.7
    assert means["self_training"] > means["late_fusion"] + 0.03
    assert means["soft_self_training"] > means["late_fusion"] + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in FLOORS if n != "majority"])
def test_every_floor_learns_digits_from_few_labels(name, monkeypatch):
    monkeypatch.undo()  # as many trees as users get
    digits = load("mfeat")
    train, test = digits.train_test(0)
    X, y = digits.rows(train)
    X_test, y_test = digits.rows(test)
    floor = FLOORS[name](random_state=0).fit(X, np.where(few_labels(y, 0.05, 0).mask, y, -1))
    assert (floor.predict(X_test) == y_test).mean() > 0.8


def test_copies_of_a_row_do_not_choose_the_penalty():
    """Leave-one-out among copies rewards remembering a row; whole rows have to be left out."""
    random = np.random.default_rng(0)
    X = {name: random.normal(size=(60, 40)) for name in ("a", "b")}
    y = X["a"][:, 0] + random.normal(size=60)
    X_new = {name: random.normal(size=(500, 40)) for name in ("a", "b")}
    y_new = X_new["a"][:, 0]
    error = {
        name: np.abs(FLOORS[name](task="regression", random_state=0).fit(X, y).predict(X_new) - y_new).mean()
        for name in ("dropout_concat", "imputation_concat")
    }
    assert error["dropout_concat"] < 1.15 * error["imputation_concat"]
