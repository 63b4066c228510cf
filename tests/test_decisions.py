"""Where labels are decided: the rule beside its twin, and predictions and figures that agree on it."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score

from polymodal import MethodClassifier, checkpoint, load
from polymodal.estimators.subsets import decisions, subset_table
from polymodal.estimators.worth import shapley_table
from polymodal.health import examine
from polymodal.methods.committee.decisions import cuts
from polymodal.metrics import METRICS, evaluate
from polymodal.report import facts
from polymodal.report.seen import look

DECIDING = [name for name, metric in METRICS.items() if metric.decides]
"""Metrics of label sets that read decisions alone."""


# ---- the rule ------------------------------------------------------------------------------------


def twin(scores, counted, target):
    """The same, a label and an entry at a time."""
    found = []
    for c in range(target.shape[1]):
        entries = [
            (float(scores[i, s, c]), float(target[i, c]))
            for i in range(len(target))
            for s in range(scores.shape[1])
            if counted[i, s] and not target[i, c].isnan()
        ]
        k = int(sum(answer for _, answer in entries))
        ranked = sorted((score for score, _ in entries), reverse=True)
        both = 0 < k < len(entries)
        found.append(1 / (1 + np.exp(-(ranked[k - 1] + ranked[k]) / 2)) if both else 0.5)
    return found


@pytest.fixture
def judged():
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 3, 5, generator=random) - 2
    target = (torch.rand(40, 5, generator=random) < torch.tensor([0.5, 0.1, 0.8, 0.0, 1.0])).float()
    target[::7, 1] = torch.nan
    return scores, torch.rand(40, 3, generator=random) < 0.7, target


def test_cuts_are_those_of_the_twin(judged):
    np.testing.assert_allclose(cuts(*judged), twin(*judged), rtol=1e-6)


def test_as_many_entries_are_decided_as_are_true(judged):
    scores, counted, target = judged
    said = (scores.sigmoid() > cuts(*judged))[counted]
    truth = target[counted.nonzero()[:, 0]]
    for c in range(3):
        known = ~truth[:, c].isnan()
        assert said[known, c].sum() == truth[known, c].sum() > 0


def test_a_label_without_both_answers_is_decided_at_one_half(judged):
    assert cuts(*judged)[3:].tolist() == [0.5, 0.5]


# ---- metrics -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if "multilabel" in metric.kinds])
def test_metrics_that_decide_read_decisions_alone(name):
    random = np.random.default_rng(0)
    y, p = (random.random((60, 4)) < 0.4).astype(float), random.random((60, 4))
    plain = evaluate([name], y, p, "multilabel")[name]
    assert (evaluate([name], y, p, "multilabel", p > 0.5)[name] == plain) is True
    moved = evaluate([name], y, p, "multilabel", p > 0.2)[name]
    assert (moved != plain) is (name in DECIDING)
    assert (METRICS[name].function(y, (p > 0.5).astype(float)) == plain) is (name in DECIDING)


# ---- the committee -------------------------------------------------------------------------------

RARE = 1
SMALL = {"n_trees": 10, "n_trees_judged": 6, "n_generations": 1}


def rows(seed, n=260):
    """Two noisy modalities and three labels: a common one, a rare one, and one that nobody has."""
    random = np.random.default_rng(seed)
    y = (random.random((n, 3)) < [0.4, 0.08, 0.0]).astype(float)
    told = np.random.default_rng(9).normal(size=(2, 3, 4))
    X = {name: y @ to + random.normal(size=(n, 4)) for name, to in zip("ab", told, strict=True)}
    X["b"][::3] = np.nan
    return X, y


@pytest.fixture(scope="module")
def fitted():
    X, y = rows(0)
    y[200:] = np.nan
    return MethodClassifier("committee", settings=SMALL, random_state=0).fit(X, y)


@pytest.fixture
def new():
    return rows(1)


def test_a_rare_label_is_predicted_though_it_is_never_likely(fitted, new):
    X, y = new
    probability, said = fitted.predict_proba(X), fitted.predict(X)
    cut = fitted.method_.cut.numpy()
    np.testing.assert_array_equal(said, probability > cut)
    assert cut[RARE] < 0.4
    assert f1_score(y[:, RARE], said[:, RARE]) > f1_score(y[:, RARE], probability[:, RARE] > 0.5)
    assert cut[2] == 0.5
    assert not said[:, 2].any()


def figures(model, X, y):
    table = subset_table(model, X, y, metrics=DECIDING, rates=(0.0, 0.5))
    return table.set_index(["metric", "subset"])["value"]


def test_figures_are_those_of_predict(fitted, new):
    X, y = new
    found, alone = figures(fitted, X, y), {**X, "b": np.full_like(X["b"], np.nan)}
    for name in DECIDING:
        for subset, seen in {"observed": X, "rate=0": X, "a": alone}.items():
            expected = METRICS[name].function(y, fitted.predict(seen).astype(float))
            assert found[name, subset] == expected
        assert found[name, "rate=0.5"] < found[name, "rate=0"]


def test_floors_decide_at_one_half(fitted, new):
    X, _ = new
    floor = fitted.floors_["late_fusion"]
    assert decisions(floor, None) is None
    np.testing.assert_array_equal(floor.predict(X), floor.predict_proba(X) > 0.5)


def test_reports_and_checks_read_the_same_decisions(fitted, new):
    X, y = new
    expected = METRICS["macro_f1"].function(y, fitted.predict(X).astype(float))
    seen = look(fitted, X, y)
    headline = facts.headline(seen).tables["methods"].set_index("method")
    assert headline.loc["committee", "macro_f1"] == expected
    prior = METRICS["macro_f1"].function(y, np.tile(fitted.prior_ > fitted.method_.cut.numpy(), (len(y), 1)))
    for table in (facts.worth(seen).tables["shapley"], shapley_table(fitted, X, y, metric="macro_f1")):
        assert table["value"].sum() == pytest.approx(expected - prior)
    assert not [finding for finding in examine(fitted, X, y) if finding.topic == "collapse"]


def test_calibration_changes_no_decision(fitted, new):
    X, y = new
    before, said = figures(fitted, X, y), fitted.predict(X)
    model = copy.deepcopy(fitted).calibrate(*rows(2))
    assert not np.allclose(model.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(model.predict(X), said)
    pd.testing.assert_series_equal(figures(model, X, y), before)


def test_cuts_are_saved_and_models_of_before_decide_at_one_half(fitted, new, tmp_path):
    X, _ = new
    fitted.save(tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model", device="cpu").predict(X), fitted.predict(X))
    saved = checkpoint.load_directory(tmp_path / "model")
    checkpoint.save_directory(
        tmp_path / "before",
        tensors={name: tensor for name, tensor in saved.tensors.items() if name != "cut"},
        config=saved.config,
        preprocessing=saved.preprocessing,
        preprocessing_arrays=saved.preprocessing_arrays,
    )
    model = load(tmp_path / "before", device="cpu")
    np.testing.assert_array_equal(model.predict(X), fitted.predict_proba(X) > 0.5)


# ---- where nothing is learnt of cuts -------------------------------------------------------------


def test_labels_that_nothing_judges_are_decided_at_one_half(new):
    X, y = new
    model = MethodClassifier("committee", settings=SMALL, random_state=0, floors=False)
    model.fit(X, y, groups=np.zeros(len(y)))
    assert model.method_.cut.tolist() == [0.5] * 3


def test_other_tasks_have_no_cuts(new):
    X, y = new
    model = MethodClassifier("committee", settings=SMALL, random_state=0, floors=False)
    assert model.fit(X, y[:, 0].astype(int)).method_.cut is None
    assert "cut" not in model.method_.state_dict()
    assert decisions(model, None) is None
