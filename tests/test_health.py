"""Health: each rule fires where something is wrong and is silent where nothing is."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency

import polymodal
from polymodal import MethodClassifier, RobultClassifier, RobultRegressor
from polymodal.health import (
    LEVELS,
    Finding,
    examine,
    g_test,
    judge_gates,
    judge_latents,
    judge_laziness,
    judge_leakage,
    judge_modalities,
    judge_predictions,
    judge_presence,
    judge_pseudo_labels,
    judge_training,
    to_table,
)

NAMES = ("a", "b")
QUICK = {"max_epochs": 15, "random_state": 0, "device": "cpu"}


def topics(findings):
    return [finding.topic for finding in findings]


def rows(n=400, seed=0, lack_b=0.3):
    """a tells much of the class, b less; b is absent in some rows."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    X = {
        "a": random.normal(size=(n, 4)) + 0.9 * y[:, None],
        "b": random.normal(size=(n, 3)) - 0.7 * y[:, None],
    }
    X["b"][random.random(n) < lack_b] = np.nan
    return X, y


@pytest.fixture(scope="module")
def model():
    return RobultClassifier(**QUICK).fit(*rows())


# ---- the whole -------------------------------------------------------------------------------------


def test_a_sound_model_has_nothing_to_be_told(model, tmp_path):
    assert examine(model, *rows(seed=1)) == []
    model.save(tmp_path / "model")
    assert examine(polymodal.load(tmp_path / "model", device="cpu"), *rows(seed=1)) == []


def test_findings_are_sorted_and_make_a_table(model):
    X, y = rows(seed=1, lack_b=0.95)
    found = examine(model, X, y, solo={"a": np.eye(3)[y], "b": np.eye(3)[y]})
    assert [finding.level for finding in found] == sorted(
        (finding.level for finding in found), key=LEVELS.index
    )
    assert "presence" in topics(found)
    table = to_table(found)
    assert table.columns.tolist() == ["level", "topic", "sentence"]
    assert table["topic"].tolist() == topics(found)
    assert to_table([]).empty


def test_few_rows_are_not_judged(model):
    X, y = rows(n=20, seed=1)
    (found,) = examine(model, X, y)
    assert (found.level, found.topic) == ("note", "rows")
    assert found.sentence.startswith("20 labelled rows are too few")


def test_unlabelled_rows_count_for_presence_alone(model):
    X, y = rows(seed=1, lack_b=0.9)
    y[20:] = -1
    assert set(topics(examine(model, X, y))) == {"presence", "rows"}


def test_regressors_and_label_sets_are_examined():
    X, y = rows()
    new, truth = rows(seed=1)
    values = RobultRegressor(**QUICK).fit(X, 5.0 * y)
    assert "leakage" not in topics(examine(values, new, 5.0 * truth))
    sets, true = (np.stack([c == 0, c >= 1], axis=1).astype(float) for c in (y, truth))
    true[3, 0] = np.nan
    labels = RobultClassifier(**QUICK).fit(X, sets)
    assert "collapse" not in topics(examine(labels, new, true))


def test_a_model_without_floors_says_what_was_not_judged(model):
    X, y = rows(seed=1)
    bare = RobultClassifier(**QUICK | {"max_epochs": 1}, floors=False).fit(*rows())
    assert ("note", "laziness") in [(finding.level, finding.topic) for finding in examine(bare, X, y)]
    given = {name: np.full((400, 3), 1 / 3) for name in NAMES}
    assert ("note", "laziness") not in [(f.level, f.topic) for f in examine(bare, X, y, solo=given)]


# ---- laziness --------------------------------------------------------------------------------------


def test_a_branch_well_below_its_own_model_is_lazy():
    random = np.random.default_rng(0)
    own, branch = (random.random(500) < 0.9).astype(float), (random.random(500) < 0.5).astype(float)
    (found,) = judge_laziness("b", branch, own)
    assert found.level == "alarm"
    assert found.evidence["solo"] - found.evidence["branch"] == pytest.approx(own.mean() - branch.mean())
    assert "'b' is left lazy" in found.sentence


def test_an_equal_branch_a_better_one_and_a_difference_of_chance_are_not_lazy():
    random = np.random.default_rng(0)
    own, branch = (random.random(500) < 0.6).astype(float), (random.random(500) < 0.9).astype(float)
    assert not list(judge_laziness("b", branch, own))
    assert not list(judge_laziness("b", own, own))
    few = (np.array([1.0] * 10 + [0.0] * 10), np.array([1.0] * 13 + [0.0] * 7))
    shuffled = random.permutation(few[0])
    assert few[1].mean() - shuffled.mean() > 0.1
    assert not list(judge_laziness("b", shuffled, few[1]))  # 15 points of 20 rows


def test_a_fusion_that_makes_little_of_one_modality_is_found_lazy():
    """A joint head that always saw a, which is enough, beside b, which also tells much."""
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 900)
    X = {"a": random.normal(size=(900, 4)) + 3.0 * y[:, None], "b": random.normal(size=(900, 8)) - y[:, None]}
    train, new = ({name: x[part] for name, x in X.items()} for part in (slice(0, 500), slice(500, 900)))
    found = examine(MethodClassifier("umt", **QUICK).fit(train, y[:500]), new, y[500:])
    lazy = [finding for finding in found if "'b' is left lazy" in finding.sentence]
    assert len(lazy) == 1
    assert lazy[0].evidence["solo"] - lazy[0].evidence["branch"] > 0.15


# ---- leakage ---------------------------------------------------------------------------------------


def test_one_modality_that_knows_all_while_others_do_not_may_leak():
    (found,) = judge_leakage({"image": 0.5, "id": 0.995, "text": 0.6})
    assert (found.topic, found.level) == ("leakage", "warning")
    assert "'id' alone tells 100%" in found.sentence or "'id' alone tells 99%" in found.sentence


def test_easy_problems_strong_modalities_and_single_ones_do_not_leak():
    assert not list(judge_leakage({"a": 0.995, "b": 0.9}))
    assert not list(judge_leakage({"a": 0.9, "b": 0.1}))
    assert not list(judge_leakage({"a": 1.0}))


def test_a_column_that_holds_the_label_is_found():
    X, y = rows()
    X["id"] = np.column_stack([y, -y]).astype(float)
    new, truth = rows(seed=1)
    new["id"] = np.column_stack([truth, -truth]).astype(float)
    found = examine(RobultClassifier(**QUICK).fit(X, y), new, truth)
    assert next(f.sentence for f in found if f.topic == "leakage").startswith("modality 'id' alone")


def test_knowledge_is_above_chance_whatever_the_classes_shares():
    """A branch that always says the commonest of unequal classes knows nothing."""
    y = np.array([0] * 950 + [1] * 50)
    always = np.tile([0.9, 0.1], (1000, 1))
    sure = np.eye(2)[y]
    predict = {("a",): sure, ("b",): always}.__getitem__
    everywhere = np.ones((1000, 2), dtype=bool)
    found = list(judge_modalities(predict, everywhere, NAMES, y, "multiclass", {"a": sure, "b": sure}))
    assert topics(found) == ["laziness"]
    assert found[0].evidence["branch"] == pytest.approx(0.0)
    assert found[0].evidence["solo"] == pytest.approx(1.0)
    found = list(judge_modalities(predict, everywhere, NAMES, y, "multiclass", {"a": sure, "b": always}))
    assert topics(found) == ["leakage"]


def test_label_sets_and_values_are_scored_alike():
    random = np.random.default_rng(0)
    y = (random.random((200, 2)) < 0.3).astype(float)
    y[5, 1] = np.nan
    sure, blank = np.nan_to_num(y), np.zeros((200, 2))
    predict = {("a",): sure, ("b",): blank}.__getitem__
    everywhere = np.ones((200, 2), dtype=bool)
    solo = {"a": sure, "b": sure}
    assert topics(judge_modalities(predict, everywhere, NAMES, y, "multilabel", solo)) == ["laziness"]
    values = random.normal(size=200)
    predict = {("a",): values[:, None], ("b",): np.zeros((200, 1))}.__getitem__
    found = list(judge_modalities(predict, everywhere, NAMES, values, "regression", {"b": values[:, None]}))
    assert topics(found) == ["laziness"]
    assert found[0].evidence["branch"] == pytest.approx(0.0, abs=0.03)  # R2 of the mean


# ---- collapse --------------------------------------------------------------------------------------


def test_one_class_for_all_rows_is_a_collapse():
    y = np.arange(300) % 3
    (found,) = judge_predictions(np.tile([0.5, 0.3, 0.2], (300, 1)), y, "multiclass")
    assert (found.level, found.topic) == ("alarm", "collapse")
    assert found.evidence == {"predicted_share": 1.0, "true_share": pytest.approx(1 / 3)}
    assert not list(judge_predictions(np.eye(3)[y], y, "multiclass"))
    rare = np.array([0] * 95 + [1] * 5)
    assert not list(judge_predictions(np.tile([0.9, 0.1], (100, 1)), rare, "multiclass"))  # as the labels are


def test_one_value_for_all_rows_is_a_collapse():
    y = np.random.default_rng(0).normal(size=100)
    (found,) = judge_predictions(np.full((100, 1), 0.1), y, "regression")
    assert "predicted the same value" in found.sentence
    assert not list(judge_predictions(0.3 * y[:, None], y, "regression"))


def test_one_answer_to_a_label_is_a_collapse():
    y = (np.arange(200)[:, None] % [2, 3] == 0).astype(float)
    y[0, 0] = np.nan
    (found,) = judge_predictions(np.column_stack([np.full(200, 0.2), y[:, 1]]), y, "multilabel")
    assert "label number 0" in found.sentence
    assert not list(judge_predictions(np.nan_to_num(y), y, "multilabel"))


def test_latents_of_one_point_are_a_collapse():
    random = np.random.default_rng(0)
    sound, flat = 1.0 + random.normal(size=(100, 8)), 1.0 + 1e-3 * random.normal(size=(100, 8))
    (found,) = judge_latents({"a": sound, "b": flat, "c": np.zeros((3, 8))})
    assert "modality 'b' is nearly one point" in found.sentence
    assert not list(judge_latents({"a": sound}))
    (zero,) = judge_latents({"a": np.zeros((100, 8))})
    assert zero.evidence == {"spread": 0.0, "length": 0.0}


def test_the_latents_of_a_model_are_read(model):
    """Weights of zero make every row one point, and every prediction one class."""
    import copy

    broken = copy.deepcopy(model)
    for parameter in broken.method_.parameters():
        parameter.data.zero_()
    found = examine(broken, *rows(seed=1))
    assert topics(found).count("collapse") == 3  # two representations, one class
    assert found[0].level == "alarm"


# ---- gates, pseudo-labels, training ------------------------------------------------------------------


def gates_history(cuts):
    return [{"cut_uni/a": cut, "cut_paired/a": 0.8} for cut in cuts]


def test_gates_that_have_not_settled():
    (found,) = judge_gates(gates_history(np.linspace(0.1, 0.9, 15)), NAMES)
    assert (found.topic, found.level) == ("gates", "warning")
    assert found.evidence["moved_uni"] == pytest.approx(4 * 0.8 / 14)
    assert found.evidence["moved_paired"] == 0.0
    settled = np.concatenate([np.linspace(0.1, 0.5, 20), np.full(10, 0.5)])
    assert not list(judge_gates(gates_history(settled), NAMES))
    assert not list(judge_gates(gates_history([0.1, 0.9]), NAMES))
    assert not list(judge_gates([{"loss": 1.0}] * 20, NAMES))


def test_pseudo_labels_that_are_surer_than_right():
    (found,) = judge_pseudo_labels([{"confidence": 0.95}], accuracy=0.7)
    assert found.evidence == {"confidence": 0.95, "right": 0.7}
    assert not list(judge_pseudo_labels([{"confidence": 0.95}], accuracy=0.9))
    monitored = {"confidence": 0.95, "pseudo_accuracy": 0.93}
    assert not list(judge_pseudo_labels([monitored], accuracy=0.5))  # what was monitored counts
    assert list(judge_pseudo_labels([monitored | {"pseudo_accuracy": None}], accuracy=0.5))
    assert not list(judge_pseudo_labels([{"loss": 0.1}], accuracy=0.2))
    assert not list(judge_pseudo_labels([], accuracy=0.2))


def test_pseudo_labels_of_one_class():
    (found,) = judge_pseudo_labels([{"pseudo_share": 0.9, "labelled_share": 0.4}], accuracy=0.7)
    assert "90% of the pseudo-labels" in found.sentence
    assert not list(judge_pseudo_labels([{"pseudo_share": 0.5, "labelled_share": 0.4}], accuracy=0.7))


def test_what_the_method_said_itself_is_passed_on():
    history = [{"loss": 1.0}, {"loss": 0.5, "warnings": ["the gates fell asleep; wake them"]}]
    assert list(judge_training(history)) == [
        Finding("warning", "training", "the gates fell asleep; wake them", {})
    ]
    assert not list(judge_training(history[:1]))
    assert not list(judge_training([]))


# ---- presence --------------------------------------------------------------------------------------

BOTH, A, B = ("a", "b"), ("a",), ("b",)


def test_a_shift_of_presence():
    (found,) = judge_presence({BOTH: 500, A: 100}, {BOTH: 60, A: 140}, NAMES)
    assert found.level == "alarm"
    assert found.evidence["distance"] == pytest.approx(500 / 600 - 60 / 200)
    assert "most has changed 'b', there in 30% of the rows and in 83% before" in found.sentence
    (milder,) = judge_presence({BOTH: 500, A: 100}, {BOTH: 140, A: 60}, NAMES)
    assert milder.level == "warning"


def test_equal_frequencies_small_samples_and_small_effects_are_no_shift():
    assert not list(judge_presence({BOTH: 500, A: 100}, {BOTH: 165, A: 35}, NAMES))
    assert not list(judge_presence({BOTH: 500, A: 100}, {BOTH: 3, A: 17}, NAMES))
    assert not list(judge_presence({BOTH: 500_000, A: 100_000}, {BOTH: 490_000, A: 110_000}, NAMES))
    assert not list(judge_presence({}, {BOTH: 100}, NAMES))
    assert not list(judge_presence({BOTH: 400}, {BOTH: 100}, NAMES))


def test_patterns_that_training_had_not_are_counted():
    (found,) = judge_presence({BOTH: 500}, {BOTH: 100, B: 50}, NAMES)
    assert found.evidence["new_patterns"] == pytest.approx(1 / 3)
    assert "33% have a pattern that training had not" in found.sentence


def test_many_rare_patterns_raise_no_false_alarm():
    """2^10 patterns, two samples of the same kind: the test keeps its level because rare ones are pooled."""
    names = tuple("abcdefghij")
    random = np.random.default_rng(0)

    def sample(n):
        drawn = random.random((n, 10)) < 0.7
        subsets, counts = np.unique(drawn, axis=0, return_counts=True)
        return {
            tuple(name for name, there in zip(names, subset, strict=True) if there): int(k)
            for subset, k in zip(subsets, counts, strict=True)
        }

    fired = sum(bool(list(judge_presence(sample(600), sample(300), names))) for _ in range(40))
    assert fired <= 1


def test_the_g_test_is_scipys():
    random = np.random.default_rng(0)
    for _ in range(10):
        counts = random.integers(1, 60, (2, 5)).astype(float)
        expected = chi2_contingency(counts, correction=False, lambda_="log-likelihood").pvalue
        assert g_test(counts) == pytest.approx(expected)
    assert g_test(np.array([[3.0], [4.0]])) == 1.0
    assert 0.0 <= g_test(np.array([[0.0, 30.0], [30.0, 0.0]])) < 1e-10


def test_the_g_test_keeps_its_level():
    random = np.random.default_rng(1)
    shares = random.dirichlet(np.ones(6))
    p = [
        g_test(np.stack([random.multinomial(400, shares), random.multinomial(200, shares)]).astype(float))
        for _ in range(400)
    ]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.035)


def test_a_model_remembers_the_presence_of_its_training(model, tmp_path):
    X, _ = rows()
    lacks = int(np.isnan(X["b"]).any(axis=1).sum())
    assert model.presence_ == {BOTH: 400 - lacks, A: lacks}
    model.save(tmp_path / "model")
    assert polymodal.load(tmp_path / "model", device="cpu").presence_ == model.presence_
    (found,) = (f for f in examine(model, *rows(seed=1, lack_b=0.8)) if f.topic == "presence")
    assert "'b'" in found.sentence


def test_data_frames_are_examined(model):
    X, y = rows(seed=1)
    table = pd.DataFrame({f"{name}{i}": X[name][:, i] for name in X for i in range(X[name].shape[1])})
    schema = {name: polymodal.Vector([f"{name}{i}" for i in range(X[name].shape[1])]) for name in X}
    fitted = RobultClassifier(schema, **QUICK).fit(table, y)
    assert topics(examine(fitted, table, y)) == []
