"""What presence tells the committee: beside dull twins, heard where it tells, and never elsewhere."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from polymodal import MethodClassifier, MethodRegressor, load
from polymodal.data import missingness
from polymodal.methods.committee import evidence, generations, judging, teams
from polymodal.methods.committee.evidence import Evidence
from polymodal.methods.committee.linear import Linear
from polymodal.methods.committee.pool import loss_of
from polymodal.methods.committee.teams import Rows

FEW_TREES = {"n_trees": 10, "n_trees_judged": 6, "n_generations": 1}


def bits(n=400, seed=0):
    """(n, 3) presence of which the first bit tells a class of two, and the class."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    presence = random.random((n, 3)) < 0.5
    presence[:, 0] = random.random(n) < np.where(y == 1, 0.9, 0.2)
    return presence, y


# ---- what the bits say -------------------------------------------------------------------------------------


def test_presence_says_what_a_logistic_regression_of_the_bits_does_beyond_the_prior():
    presence, y = bits()
    prior = np.bincount(y) / len(y)
    own = evidence.tells(presence, np.eye(2)[y], np.ones(len(y)), "multiclass", prior)
    # two columns of weights, each under the penalty, are one column under half of it
    twin = LogisticRegression(C=2.0, tol=1e-9).fit(presence, y)
    said = own(presence.astype(np.float32)) + np.log(prior)
    expected = twin.decision_function(presence)
    np.testing.assert_allclose(said[:, 1] - said[:, 0], expected, atol=2e-2)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
@pytest.mark.parametrize("constant", [True, False])
def test_presence_that_never_changes_or_was_never_seen_says_nothing(kind, constant):
    target = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]) if constant else np.zeros((0, 2))
    presence, prior = np.ones((len(target), 3), dtype=bool), np.array([2 / 3, 1 / 3])
    own = evidence.tells(presence, target, np.ones(len(target)), kind, prior)
    assert np.abs(own.weight).max() == 0
    np.testing.assert_allclose(own(np.ones((1, 3), np.float32)), 0, atol=2e-2)


def test_evidence_is_its_formula():
    torch.manual_seed(0)
    own = Evidence.everywhere(torch.tensor(0.5), torch.randn(3, 2), torch.randn(2))
    z, presence = torch.randn(4, 5, 2), torch.rand(4, 1, 3) < 0.5
    found = own(z, presence)
    for row in range(4):
        for s in range(5):
            expected = 0.5 * z[row, s] + own.bias
            for m in range(3):
                if presence[row, 0, m]:
                    expected = expected + own.weight[m]
            torch.testing.assert_close(found[row, s], expected)


def test_unlearnt_evidence_is_two_thirds_of_what_three_bits_tell():
    own = Linear(np.arange(6.0).reshape(3, 2), np.array([1.0, -1.0]))
    presence, z = np.array([[True, False, True]]), torch.randn(1, 2)
    found = Evidence.unlearnt(own)(z, torch.tensor(presence))
    torch.testing.assert_close(found, z + 2 / 3 * torch.from_numpy(own(presence)).float())


def test_nothing_is_added_bit_for_bit():
    z = torch.randn(4, 3)
    assert torch.equal(Evidence.none(2, 3)(z, torch.rand(4, 2) < 0.5), z)


def leverages(rows, training):
    """One at a time, with NumPy's covariance."""
    spread = np.cov(training.T.astype(float), bias=True) + evidence.LEAST_SPREAD * np.eye(training.shape[1])
    off = rows - training.mean(axis=0)
    return np.array([row @ np.linalg.solve(spread, row) for row in off])


def test_presence_is_heard_of_rows_no_further_out_than_those_of_training():
    torch.manual_seed(0)
    training = np.random.default_rng(0).random((60, 5)) < [0.9, 0.95, 1.0, 0.5, 0.8]
    plain = Evidence.everywhere(torch.tensor(0.5), torch.randn(5, 2), torch.randn(2))
    own = plain.within(torch.from_numpy(training))
    every = np.array(np.meshgrid(*[[False, True]] * 5)).reshape(5, -1).T
    far = leverages(every, training) > (1 + evidence.TOLERANCE) * leverages(training, training).max()
    assert 0 < far.sum() < 32
    z = torch.randn(32, 2)
    found, heard = own(z, torch.from_numpy(every)), plain(z, torch.from_numpy(every))
    assert torch.equal(found[~far], heard[~far])
    assert torch.equal(found[far], z[far])
    again = torch.from_numpy(training)
    assert torch.equal(own(torch.zeros(60, 2), again), plain(torch.zeros(60, 2), again))


def test_a_bit_that_never_varied_is_no_division_by_zero():
    plain = Evidence.everywhere(torch.ones(()), torch.ones(2, 1), torch.zeros(1))
    own = plain.within(torch.ones(4, 2, dtype=torch.bool))
    found = own(torch.zeros(2, 1), torch.tensor([[True, True], [True, False]]))
    assert found.tolist() == [[2.0], [0.0]]


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_what_is_learnt_lowers_the_loss_and_little_is_learnt_of_one_row(kind):
    presence, y = bits()
    target = np.eye(2)[y]
    prior = target.mean(axis=0)
    own = evidence.tells(presence, target, np.ones(len(y)), kind, prior)
    bold = torch.from_numpy(presence)
    told = torch.from_numpy(own(presence.astype(np.float32))).float()
    z = torch.from_numpy(np.random.default_rng(1).normal(size=(len(y), 2))).float()
    wanted = torch.from_numpy(target).float()
    heard = evidence.learn(z, wanted, bold, kind, told, own)
    deaf = evidence.without(z, wanted, bold, kind)
    assert not deaf.weight.any()
    losses = [loss_of(each(z, bold), wanted, kind).mean() for each in (heard, deaf)]
    assert losses[0] < 0.9 * losses[1]
    one = evidence.learn(z[:1], wanted[:1], bold[:1], kind, 0 * told[:1], own)
    assert one.temper == pytest.approx(1, abs=0.2)
    np.testing.assert_allclose(one.weight, own.weight, atol=0.5)


def test_shuffled_labels_depend_on_presence_by_chance():
    presence, y = bits(n=60)
    random = np.random.default_rng(0)
    assert evidence.by_chance(presence, np.eye(2)[y], random) == 1 / (1 + evidence.N_SHUFFLES)
    assert evidence.by_chance(np.ones((60, 3), bool), np.eye(2)[y], random) == 1
    assert evidence.by_chance(presence, np.ones((60, 1)), random) == 1
    found = [evidence.by_chance(presence, np.eye(2)[random.permutation(y)], random) for _ in range(40)]
    assert 0.3 < np.mean(found) < 0.7


def test_a_label_that_no_row_knows_depends_on_nothing():
    presence, y = bits(n=60)
    known = np.eye(2)[y]
    unknown = np.concatenate([known, np.full((60, 1), np.nan)], axis=1)
    random = np.random.default_rng
    assert evidence.by_chance(presence, unknown, random(0)) == evidence.by_chance(presence, known, random(0))
    assert evidence.by_chance(presence, unknown[:, 2:], random(0)) == 1


def opinions(n=600, n_groups=3, seed=0):
    """What each of three modalities says of two classes, the class, and a group of each row."""
    random = np.random.default_rng(seed)
    y, group = random.integers(0, 2, n), random.integers(0, n_groups, n)
    odds = (y - 0.5)[:, None] + random.normal(size=(n, 3))
    said = np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], axis=2)
    return said, y, group, random


def test_opinions_that_depend_on_presence_are_no_chance():
    said, y, _, random = opinions()
    presence = random.random((600, 3)) < np.where(y == 1, 0.8, 0.4)[:, None]
    said[~presence] = np.nan  # never read
    assert evidence.opinions_by_chance(said, presence, None, random) < 1e-4
    found = []
    for _ in range(40):
        lost = random.random((600, 3)) < [0.8, 0.5, 0.3]
        found.append(evidence.opinions_by_chance(said_of_all(random), lost, None, random))
    assert np.mean(np.array(found) < 0.05) < 0.15
    assert np.mean(found) > 0.3


def said_of_all(random):
    return random.dirichlet([1.0, 1.0], (600, 3))


def test_the_gamma_distribution_stands_for_many_shuffles():
    said, y, _, random = opinions(n=200, seed=1)
    bits = random.random((200, 1)) < np.where(y == 1, 0.58, 0.5)[:, None]
    found = evidence._by_chance_within(bits.astype(float), said[:, 0], np.zeros(200), random)
    b, label = bits[:, 0] - bits.mean(), said[:, 0, 1] - said[:, 0, 1].mean()
    shuffled = [abs(random.permutation(b) @ label) for _ in range(4000)]
    assert found == pytest.approx(np.mean(np.array(shuffled) >= abs(b @ label)), abs=0.05)


def test_that_a_group_lacks_a_sensor_and_is_unlike_the_others_tells_nothing():
    said, _, group, random = opinions()
    said[group == 0] = [0.1, 0.9]
    said[group == 0] += random.normal(scale=0.02, size=(np.sum(group == 0), 3, 1)) * [1, -1]
    presence = random.random((600, 3)) < np.where(group == 0, 0.9, 0.4)[:, None]
    assert evidence.opinions_by_chance(said, presence, None, random) < 1e-4
    assert evidence.opinions_by_chance(said, presence, group, random) > 0.01


def test_opinions_of_few_rows_or_without_any_difference_are_chance():
    said, y, group, random = opinions()
    presence = np.stack([y == 1, y == 0, y >= 0], axis=1)
    few = presence & (np.arange(600) < 19)[:, None]
    assert evidence.opinions_by_chance(said, few, None, random) == 1
    assert evidence.opinions_by_chance(np.full_like(said, 0.5), presence, None, random) == 1
    assert evidence.opinions_by_chance(said, np.ones((600, 3), bool), group, random) == 1
    assert evidence.opinions_by_chance(said, presence, np.arange(600), random) == 1


# ---- whether it is heard -----------------------------------------------------------------------------------


def table(cause, kind="multiclass", n=240, n_known=200, seed=0, strength=0.5):
    """Three modalities, weak ones; absent by ``cause``: never, at random, or as the label has it."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    target = {
        "multiclass": np.eye(3)[y],
        "multilabel": np.eye(3)[y],
        "regression": (y - 1.0)[:, None] + 0.1 * random.normal(size=(n, 1)),
    }[kind]
    names = ("a", "b", "c")
    mask = {
        "never": lambda: missingness.completely_at_random(n, names, 0.0, seed),
        "random": lambda: missingness.completely_at_random(n, names, 0.4, seed),
        "label": lambda: missingness.not_at_random(n, names, 0.33, seed, by_label=y),
    }[cause]().mask
    target = np.where(np.arange(n)[:, None] < n_known, target, np.nan)
    values = tuple(
        (random.normal(size=(n, 3)) + strength * (y == m)[:, None]).astype(np.float32) for m in range(3)
    )
    return Rows(values, mask, target, None, kind), y


def learn(rows, **more):
    return generations.learn(rows, n_trees=8, n_trees_judged=5, n_generations=1, seed=0, **more)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_presence_is_heard_where_it_tells_and_never_where_it_is_chance(kind):
    assert learn(table("label", kind, n=200)[0]).heard is not None
    for cause in ("never", "random"):
        assert learn(table(cause, kind, n=200)[0]).heard is None


def test_opinions_of_unlabelled_rows_let_it_be_heard_where_labels_are_few():
    for n_known in (6, 16):  # too few to judge by, and to judge surely
        rows, y = table("label", n=400, n_known=n_known, strength=2.0)
        found = generations.learn(rows, n_trees=8, n_trees_judged=5, n_generations=0, seed=0)
        assert found.heard is not None
        assert np.isnan(found.history[0].get("validation_loss", np.nan)) == (n_known == 6)
        said = found.heard(torch.zeros(400, 3), torch.tensor(rows.presence)).argmax(dim=1).numpy()
        assert np.mean(said == y) > 0.4


def test_what_is_heard_without_a_judge_is_learnt_anew_from_what_students_are_taught():
    rows, _ = table("label", n=400, n_known=6, strength=2.0)
    first, second = (
        generations.learn(rows, n_trees=8, n_trees_judged=5, n_generations=n, seed=0).heard for n in (0, 1)
    )
    assert first.temper == second.temper == 1
    as_taught = second.divided(1 / judging.UNJUDGED_SHARPENING)
    assert as_taught.weight.norm() > first.weight.norm() > 0


def test_held_out_labels_may_gainsay_what_opinions_say(monkeypatch):
    rows, _ = table("label", n=400, n_known=40, strength=2.0)
    assert learn(rows).heard is not None
    monkeypatch.setattr(judging, "not_clearly_worse", lambda worse: False)
    monkeypatch.setattr(judging, "WORTH_HEARING", 1.0)
    assert learn(rows).heard is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_known", [6, 20])
def test_a_handful_of_labels_does_not_make_evidence_of_chance(n_known, seed):
    assert learn(table("random", n_known=n_known, seed=seed)[0]).heard is None


def test_what_is_not_heard_changes_nothing(monkeypatch):
    rows, _ = table("random", n=200)
    plain = learn(rows)
    monkeypatch.setattr(generations, "with_presence_if_it_tells", lambda *task: task[3])
    twin = learn(rows)
    assert torch.equal(plain.weights.alpha, twin.weights.alpha)
    assert [e["validation_loss"] for e in plain.history] == [e["validation_loss"] for e in twin.history]


def test_a_teacher_hears_it_too():
    rows, _ = table("label", "regression")
    _, turned = teams.turned_rows(rows, np.random.default_rng(0))
    team = teams.teams_of(rows, np.full(200, -1), 5, 5, np.random.default_rng(0))[0]
    teams.learn_team(rows, turned, team, None, 0)
    verdict = judging.unjudged(rows, team, students=False)
    task = (rows, turned, team, verdict.weights[0], verdict)
    two_a_modality = Evidence.everywhere(torch.ones(()), torch.full((3, 1), 2.0), torch.zeros(1))
    more = generations.taught_by(*task, two_a_modality)[0] - generations.taught_by(*task)[0]
    np.testing.assert_allclose(more[:, 0], 2 * rows.presence[team.free].sum(axis=1), atol=1e-5)


def test_a_row_is_judged_by_the_presence_that_it_came_with():
    rows, _ = table("label")
    folds = teams.folds_of(rows, np.random.default_rng(0))
    found = teams.teams_of(rows, folds, 5, 5, np.random.default_rng(0))
    _, turned = teams.turned_rows(rows, np.random.default_rng(0))
    for team in found:
        teams.learn_team(rows, turned, team, None, 0)
    verdict = judging.judge(rows, turned, found, torch.eye(3, dtype=torch.bool))
    verdict = judging.with_presence_if_it_tells(rows, turned, found, verdict, 0)
    own, judged = verdict.heard[1], verdict.judged
    losses, counted = judged.losses(verdict.weights[1], own)
    expected = own(judged.fused(verdict.weights[1])[:, 2], judged.presence)
    there = counted[:, 2]
    torch.testing.assert_close(losses[there, 2], loss_of(expected, judged.target, "multiclass")[there])


# ---- through the public door -------------------------------------------------------------------------------


def frames(rows, there=None):
    there = rows.presence if there is None else there
    return {
        name: np.where(here[:, None], value, np.nan)
        for name, value, here in zip("abc", rows.values, there.T, strict=True)
    }


def test_it_is_predicted_with_saved_and_read_once(tmp_path):
    rows, y = table("label", n=400)
    X, few = frames(rows), np.where(np.arange(400) < 200, y, -1)
    model = MethodClassifier("committee", settings=FEW_TREES, random_state=0).fit(X, few)
    assert model.history_[0]["presence"] > 0
    deaf = MethodClassifier("committee", settings=FEW_TREES, random_state=0).fit(X, few)
    deaf.method_.presence_weight.zero_()
    deaf.method_.presence_bias.zero_()
    held = {name: value[200:] for name, value in X.items()}
    assert model.score(held, y[200:]) > deaf.score(held, y[200:]) + 0.05
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    predict = model.subset_predict(X)
    np.testing.assert_allclose(predict(("a", "b")), model.prediction({k: X[k] for k in "ab"}), atol=1e-6)


def test_a_row_without_anything_is_given_the_prior():
    rows, y = table("label")
    model = MethodClassifier("committee", settings=FEW_TREES, random_state=0).fit(frames(rows), y)
    assert model.history_[0]["presence"] > 0
    nothing = frames(rows, np.zeros_like(rows.presence))
    np.testing.assert_allclose(model.prediction(nothing)[0], np.bincount(y) / len(y), atol=1e-6)


def test_values_hear_it():
    rows, _ = table("label", "regression", n=400, n_known=400)
    y, X = rows.target[:, 0], frames(rows)
    model = MethodRegressor("committee", settings=FEW_TREES, random_state=0).fit(
        {k: v[:300] for k, v in X.items()}, y[:300]
    )
    held = {k: v[300:] for k, v in X.items()}
    heard = np.abs(model.predict(held) - y[300:]).mean()
    model.method_.presence_weight.zero_()
    model.method_.presence_bias.zero_()
    assert heard < np.abs(model.predict(held) - y[300:]).mean()


def test_an_input_that_never_failed_is_no_evidence_when_it_does():
    rows, y = table("label", n=400)
    there = rows.presence.copy()
    there[:, 1:] = True  # a alone is ever absent, and its absence tells
    X = frames(rows, there)
    model = MethodClassifier("committee", settings=FEW_TREES, random_state=0).fit(X, y)
    assert model.history_[0]["presence"] > 0
    deaf = MethodClassifier("committee", settings=FEW_TREES, random_state=0).fit(X, y)
    deaf.method_.presence_temper.fill_(1.0)
    deaf.method_.presence_weight.zero_()
    deaf.method_.presence_bias.zero_()
    as_in_training, failed = (model.subset_predict(X), deaf.subset_predict(X)), ("a", "c")
    heard, unheard = (predict(("b", "c")) for predict in as_in_training)
    assert np.abs(heard - unheard).max() > 0.05
    np.testing.assert_array_equal(*(predict(failed) for predict in as_in_training))


def test_a_model_of_before_hears_presence_of_every_row():
    rows, y = table("label", n=400)
    method = MethodClassifier("committee", settings=FEW_TREES, random_state=0).fit(frames(rows), y).method_
    assert method.presence_reach > 0
    names = {f"presence_{name}" for name in ("centre", "inverse", "reach")}
    before = {name: value for name, value in method.state_dict().items() if name not in names}
    method.load_state_dict(before)
    assert not method.presence_inverse.any()
    alone = torch.tensor([[False, False, True]])
    expected = torch.zeros(1, 3) + method.presence_weight[2] + method.presence_bias
    torch.testing.assert_close(method.heard(torch.zeros(1, 3), alone), expected)
