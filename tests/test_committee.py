"""The committee's parts beside dull twins: linear members, forests, the pool, and generations."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression, Ridge

from batches import MIXED, TASKS, VECTORS, random_batch
from polymodal import MethodClassifier, MultimodalClassifier, MultimodalRegressor, load
from polymodal.batch import Batch, Input, Task
from polymodal.data.preprocessing import Inputs
from polymodal.errors import CheckpointError, ConfigError
from polymodal.methods.committee import boosting, generations, interactions, judging, pool, teams
from polymodal.methods.committee.boosting import boost
from polymodal.methods.committee.forest import Forest, grow
from polymodal.methods.committee.generations import aligned, entropy
from polymodal.methods.committee.judging import Verdict
from polymodal.methods.committee.linear import Directions, fit_linear
from polymodal.methods.committee.members import (
    N_MEMBERS,
    Lesson,
    abstaining,
    drawn,
    forest_scores,
    linear_scores,
)
from polymodal.methods.committee.method import Committee, CommitteeConfig, summarise
from polymodal.methods.committee.pool import (
    Judged,
    Weights,
    chosen_subsets,
    error_of,
    loss_of,
    opinions,
    pooled,
)
from polymodal.methods.committee.teams import Rows, folds_of
from polymodal.methods.floors.views import to_matrices

SMALL = CommitteeConfig(n_trees=10, n_trees_judged=6, n_generations=2)


# ---- linear members ----------------------------------------------------------------------------------------


@pytest.fixture
def classes():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 12)).astype(np.float32)
    y = (x[:, :4] + random.normal(size=(300, 4))).argmax(axis=1)
    return x, y


def test_classes_are_scikit_learns_logistic_regression(classes):
    x, y = classes
    twin = LogisticRegression(C=0.5, tol=1e-9, max_iter=1000).fit(x, y)
    own = fit_linear(x, np.eye(4)[y], np.ones(300), "multiclass", np.full(4, 0.25), penalty=2.0)
    expected = np.log(twin.predict_proba(x))
    np.testing.assert_allclose(log_softmax(own(x), axis=1), expected, atol=2e-2)


def test_weights_count_like_copies(classes):
    x, y = classes
    prior, target = np.full(4, 0.25), np.eye(4)[y]
    weight = np.random.default_rng(1).integers(0, 4, 300).astype(float)
    copies = np.repeat(np.arange(300), weight.astype(int))
    own = fit_linear(x, target, weight, "multiclass", prior, penalty=1.0)
    twin = fit_linear(x[copies], target[copies], np.ones(len(copies)), "multiclass", prior, penalty=1.0)
    np.testing.assert_allclose(own(x), twin(x), atol=3e-2)


def test_masked_labels_are_left_out(classes):
    x, y = classes
    target = np.stack([y == 0, y > 1], axis=1).astype(float)
    target[::3, 1] = np.nan
    own = fit_linear(x, target, np.ones(300), "multilabel", np.full(2, 0.5), penalty=2.0)
    for label in range(2):
        known = ~np.isnan(target[:, label])
        twin = LogisticRegression(C=0.5, tol=1e-9).fit(x[known], target[known, label])
        np.testing.assert_allclose(expit(own(x)[:, label]), twin.predict_proba(x)[:, 1], atol=1e-2)


def test_values_are_ridge_regression(classes):
    x, y = classes
    weight = np.random.default_rng(1).random(300)
    own = fit_linear(x, y[:, None].astype(float), weight, "regression", np.zeros(1), penalty=3.0)
    twin = Ridge(alpha=3.0).fit(x, y, sample_weight=weight)
    np.testing.assert_allclose(own(x)[:, 0], twin.predict(x), atol=1e-4)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_without_rows_the_prior_is_said(kind):
    prior = np.array([0.2, 0.8])
    own = fit_linear(np.zeros((0, 3), np.float32), np.zeros((0, 2)), np.zeros(0), kind, prior, penalty=1.0)
    raw = torch.from_numpy(own(np.ones((1, 3), np.float32)))
    said = {"multiclass": raw.softmax(1), "multilabel": raw.sigmoid(), "regression": raw}[kind]
    np.testing.assert_allclose(said[0], prior, atol=1e-6)


def test_directions_are_uncorrelated_and_lead_back(classes):
    x, _ = classes
    x = np.concatenate([x, x[:, :2] * 2, np.zeros((300, 1), np.float32)], axis=1)
    x = x - x.mean(axis=0)
    own = Directions.fit(x, np.random.default_rng(0))
    turned = own(x)
    assert turned.shape == (300, 12)
    correlation = turned.T @ turned / 300 - np.diag(own.spread**2)
    np.testing.assert_allclose(correlation, 0, atol=1e-4)
    weight = np.random.default_rng(1).normal(size=(12, 3))
    np.testing.assert_allclose(x @ own.back(weight), turned @ weight, atol=1e-4)


# ---- forests -----------------------------------------------------------------------------------------------


def grown(n_outputs=3, gaps=True, n=300):
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 7)).astype(np.float32)
    if gaps:
        x[random.random(n) < 0.4, :3] = np.nan
        x[random.random(n) < 0.1, 5] = np.nan
    target = random.random((n, n_outputs))
    return grow(x, target, random.random(n), n_trees=12, seed=3), x


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("gaps", [True, False])
def test_a_forest_predicts_what_scikit_learns_does(n_outputs, gaps):
    twin, x = grown(n_outputs, gaps)
    own = Forest(7, n_outputs)
    own.take(twin)
    random = np.random.default_rng(1)
    # beside new rows, rows that lie on thresholds, where "at most" and "below" part
    new = random.normal(size=(200, 7)).astype(np.float32)
    nodes = twin.estimators_[0].tree_
    inner = np.flatnonzero(nodes.feature >= 0)[:100]
    new[np.arange(len(inner)), nodes.feature[inner]] = nodes.threshold[inner].astype(np.float32)
    if gaps:
        new[random.random((200, 7)) < 0.3] = np.nan
        new[:, [3, 4, 6]] = np.nan_to_num(new[:, [3, 4, 6]])
    for rows in (x, new):
        expected = twin.predict(rows).reshape(len(rows), -1)
        np.testing.assert_allclose(own(torch.from_numpy(rows)), expected, atol=1e-6)


def test_rows_are_walked_in_pieces(monkeypatch):
    twin, x = grown()
    own = Forest(7, 3)
    own.take(twin)
    together = own(torch.from_numpy(x))
    monkeypatch.setattr("polymodal.methods.committee.forest.ENTRIES_PER_PASS", 40)
    assert torch.equal(own(torch.from_numpy(x)), together)
    assert own(torch.zeros(0, 7)).shape == (0, 3)


def test_a_saved_forest_fills_an_empty_one():
    twin, x = grown()
    first, second = Forest(7, 3), Forest(7, 3)
    first.take(twin)
    second.load_state_dict(first.state_dict())
    assert second.n_trees == 12
    assert torch.equal(second(torch.from_numpy(x)), first(torch.from_numpy(x)))


@pytest.mark.parametrize(
    ("name", "row", "value"),
    [
        ("below", 0, 0),  # a root that is its own child: a walk without end
        ("below", 0, 10**6),
        ("feature", 0, 99),
        ("roots", 0, -1),
        ("leaf", slice(None), 10**6),
    ],
)
def test_a_hostile_forest_is_refused(name, row, value):
    first = Forest(7, 3)
    first.take(grown()[0])
    saved = {key: tensor.clone() for key, tensor in first.state_dict().items()}
    saved[name][row] = value
    with pytest.raises(CheckpointError, match="a saved forest is trees, each node above its children"):
        Forest(7, 3).load_state_dict(saved)


def boosted_trees(n_classes=3, n_met=3, n=300):
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 7)).astype(np.float32)
    y = np.digitize(x[:, 0] + x[:, 5], np.linspace(-1, 1, n_met - 1))
    x[random.random(n) < 0.4, :3] = np.nan
    x[:, 6] = np.nan  # nobody has it
    return boost(x, np.eye(n_classes)[y], random.random(n), seed=3), x


@pytest.mark.parametrize(("n_classes", "n_met"), [(2, 2), (3, 2), (3, 3), (5, 3)])
def test_boosted_trees_as_tensors_say_what_scikit_learns_do(n_classes, n_met):
    twin, x = boosted_trees(n_classes, n_met)
    own = Forest(7, n_classes)
    own.take(twin)
    random = np.random.default_rng(1)
    new = random.normal(size=(200, 7)).astype(np.float32)
    nodes = twin.trees[0][1]
    inner = nodes[nodes["is_leaf"] == 0]  # beside new rows, rows that lie on thresholds
    new[np.arange(len(inner)), inner["feature_idx"]] = inner["num_threshold"].astype(np.float32)
    new[random.random((200, 7)) < 0.3] = np.nan
    for rows in (x, new):
        raw = own(torch.from_numpy(rows))
        expected = twin.model.decision_function(rows).reshape(len(rows), -1)
        if n_met == 2:
            expected = np.stack([np.zeros(len(rows)), expected[:, 0]], axis=1)
        np.testing.assert_allclose(raw[:, :n_met], expected, atol=1e-5)
        np.testing.assert_allclose(raw.softmax(dim=1), twin.predict(rows), atol=1e-5)


def test_the_last_bit_of_a_value_that_was_met_does_not_decide():
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 4)).astype(np.float32)  # more values than bins
    twin = boost(x, np.eye(2)[(x[:, 0] + x[:, 2] > 0).astype(int)], np.ones(400), seed=0)
    for direction in (-np.inf, np.inf):
        moved = np.nextafter(x, np.float32(direction))
        np.testing.assert_array_equal(twin.predict(moved), twin.predict(x))
    own = Forest(4, 2)
    own.take(twin)
    assert torch.equal(own(torch.from_numpy(np.nextafter(x, np.float32(np.inf)))), own(torch.from_numpy(x)))


def test_thresholds_are_moved_to_where_training_rows_do_not_see_it(monkeypatch):
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 4)).astype(np.float32)
    x[random.random((400, 4)) < 0.2] = np.nan
    task = (x, np.eye(2)[(np.nan_to_num(x[:, 0]) > 0).astype(int)], np.ones(400))
    moved = boost(*task, seed=0)
    monkeypatch.setattr(boosting, "_put_between", lambda *_: None)
    as_made = boost(*task, seed=0)
    np.testing.assert_array_equal(moved.predict(x), as_made.predict(x))
    new = random.normal(size=(400, 4)).astype(np.float32)
    assert (moved.predict(new) != as_made.predict(new)).any()


def test_boosted_trees_repeat_their_bits_and_are_saved():
    (first, x), (second, _) = boosted_trees(), boosted_trees()
    own, twin, loaded = (Forest(7, 3) for _ in range(3))
    own.take(first)
    twin.take(second)
    assert all(torch.equal(a, b) for a, b in zip(own.buffers(), twin.buffers(), strict=True))
    loaded.load_state_dict(own.state_dict())
    assert torch.equal(loaded(torch.from_numpy(x)), own(torch.from_numpy(x)))


def test_a_forest_saved_before_there_were_boosted_trees_is_averaged():
    twin, x = grown()
    first, second = Forest(7, 3), Forest(7, 3)
    first.take(twin)
    second.adds.fill_(True)
    second.load_state_dict({k: v for k, v in first.state_dict().items() if k != "adds"})
    assert torch.equal(second(torch.from_numpy(x)), first(torch.from_numpy(x)))


def test_copies_of_a_row_share_its_classes():
    shares = np.array([[0.0, 1.0, 0.0], [2 / 3, 0.0, 1 / 3], [0.9, 0.05, 0.05]]).repeat(500, axis=0)
    copies = drawn(shares, 3, np.random.default_rng(0)).reshape(3, 3, 500, 3)
    assert (copies.sum(axis=3) == 1).all()
    assert (copies[:, 0] == [0, 1, 0]).all()
    assert (copies[:, 1].sum(axis=0) == [2, 0, 1]).all()
    for copy in copies:
        np.testing.assert_allclose(copy.mean(axis=1), shares[::500], atol=0.06)


# ---- members -----------------------------------------------------------------------------------------------


def test_a_branch_as_tensors_says_what_it_said_in_learning():
    for kind, C in (("multiclass", 3), ("multilabel", 4), ("regression", 1)):
        torch.manual_seed(0)
        batch = random_batch(VECTORS[:1], TASKS[kind], 60, share_labelled=1.0)
        batch.presence[:] = True
        method = Committee(VECTORS[:1], TASKS[kind], SMALL)
        seen = []
        original = generations.Branch.learn

        def spy(*args, original=original, seen=seen, **more):
            seen.append((original(*args, **more), args[0], args[1]))
            return seen[-1][0]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(generations.Branch, "learn", spy)
            method.learn(batch, seed=0)
        branch, values, turned = seen[0]
        expected = branch.scores(values, turned, kind)
        own = method.own[0]
        found = own(own.standardise(batch.values["a"]), kind)
        assert found.shape == (60, N_MEMBERS, C)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_scores_are_those_of_probabilities():
    raw = torch.tensor([[0.0, 3.0, -90.0]])
    prior = torch.tensor([0.5, 0.3, 0.2])
    scores = linear_scores(raw, torch.zeros(2, 3), "multiclass")
    assert scores.min() == pytest.approx(np.log(1e-4))
    shares = torch.tensor([[1.0, 0.0, 0.0]])
    torch.testing.assert_close(forest_scores(shares, prior, "multiclass").exp().sum(1), torch.ones(1))
    torch.testing.assert_close(
        forest_scores(shares, prior, "multilabel").sigmoid(), 0.98 * shares + 0.02 * prior
    )
    bounds = torch.tensor([[-1.0], [2.0]])
    assert linear_scores(torch.tensor([[7.0], [-3.0]]), bounds, "regression").flatten().tolist() == [2, -1]


def test_a_class_without_any_row_keeps_its_prior_and_the_others_share_the_rest():
    scores = torch.randn(5, 3, 4, generator=torch.manual_seed(0)).log_softmax(-1)
    silent = torch.tensor([0.0, 0.3, 0.0, 0.2])
    found = abstaining(scores, silent, "multiclass").exp()
    torch.testing.assert_close(found.sum(-1), torch.ones(5, 3))
    torch.testing.assert_close(found[..., 1], torch.full((5, 3), 0.3))
    odds = scores[..., 0] - scores[..., 2]
    torch.testing.assert_close((found[..., 0] / found[..., 2]).log(), odds)
    assert torch.equal(abstaining(scores, torch.zeros(4), "multiclass"), scores)
    everything = abstaining(scores, torch.full((4,), 0.25), "multiclass")
    torch.testing.assert_close(everything, torch.full((5, 3, 4), 0.25).log())


def test_a_label_without_two_answers_keeps_its_prior():
    target = np.array([[1.0, 0.0, 1.0, np.nan], [0.0, 0.0, 1.0, np.nan], [1.0, np.nan, 1.0, np.nan]])
    prior = np.array([0.6, 0.1, 0.8, 0.5])
    lesson = Lesson(np.arange(3), target, np.ones(3), prior, np.zeros((2, 4)))
    silent = lesson.silent("multilabel")
    np.testing.assert_array_equal(silent, [0.0, 0.1, 0.8, 0.5])
    found = abstaining(torch.full((2, 4), 3.0), torch.from_numpy(silent).float(), "multilabel")
    torch.testing.assert_close(found[0, 1:].sigmoid(), torch.tensor([0.1, 0.8, 0.5]))
    assert (found[:, 0] == 3).all()


def test_sequences_are_summarised_as_for_the_floors():
    torch.manual_seed(0)
    batch = random_batch(MIXED, TASKS["regression"], 20)
    value, lengths = batch.values["s"], batch.lengths["s"]
    there = lengths > 0
    twin = to_matrices(Inputs({"s": value.numpy()}, {"s": lengths.numpy()}, there.numpy()[:, None]))
    np.testing.assert_allclose(
        summarise(value, lengths)[there], twin.values["s"][there.numpy()], rtol=1e-5, atol=1e-5
    )


# ---- the pool ----------------------------------------------------------------------------------------------


def dull_pool(scores, subset, weights):
    """One row by loops, in float64."""
    scores = scores.double().numpy().reshape(*weights.theta.shape, -1)
    said = []
    for m in sorted(subset):
        v = np.exp(weights.theta[m].double().numpy())
        own = sum(share * score for share, score in zip(v / v.sum(), scores[m], strict=True))
        said.append(np.exp(float(weights.temper[m])) * own)
    if len(said) == 1:
        return said[0]
    w = np.exp([float(weights.alpha[m]) for m in sorted(subset)])
    a0, a1 = weights.sharpness.tolist()
    mean = sum(share * own for share, own in zip(w / w.sum(), said, strict=True))
    return mean * len(subset) ** a0 * np.exp(a1)


def judged_rows(kind="multiclass", n=40, n_outputs=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(n_outputs, (n,), generator=generator)
    target = torch.nn.functional.one_hot(y, n_outputs).float()
    noise = torch.randn(n, 6, n_outputs, generator=generator)
    strength = torch.tensor([3.0, 1.0, 1.0, 0.0, 0.0, 0.0])[:, None]
    scores = (strength * target.unsqueeze(1) + noise).log_softmax(2)
    presence = torch.rand(n, 3, generator=generator) < 0.8
    return Judged(scores, None, target, presence, chosen_subsets(3, np.random.default_rng(0)), kind)


def test_the_pool_is_its_formula():
    judged = judged_rows()
    weights = Weights(
        torch.randn(3, 2),
        torch.randn(3),
        torch.randn(3),
        torch.tensor([0.7, -0.3]),
        torch.tensor([1.0, 0.0]),
        torch.zeros(1),
    )
    subsets = [set(np.flatnonzero(row)) for row in judged.subsets.numpy()]
    everything = torch.ones(40, 3, dtype=torch.bool)
    present = everything.unsqueeze(1) & judged.subsets
    z = pooled(opinions(judged.scores, everything, weights), present, weights)
    for row, (s, subset) in itertools.product(range(3), enumerate(subsets)):
        expected = dull_pool(judged.scores[row], subset, weights)
        np.testing.assert_allclose(z[row, s], expected, atol=1e-5)


def test_what_is_absent_is_not_pooled():
    judged = judged_rows()
    weights = Weights.start(3, 2, "multiclass")
    expected, counted = judged.losses(weights)
    scores = judged.scores.clone()
    scores[~judged.presence.repeat_interleave(2, dim=1)] = torch.nan
    spoilt = Judged(scores, None, judged.target, judged.presence, judged.subsets, judged.kind)
    found, _ = spoilt.losses(weights)
    assert torch.equal(found, expected)
    assert torch.equal(counted, (judged.presence.unsqueeze(1) & judged.subsets).any(2))


def test_learning_lowers_the_loss_and_finds_the_useful_members():
    judged = judged_rows(n=400)
    start = Weights.start(3, 2, "multiclass")
    weights = pool.learn(judged, start)
    assert judged.mean_loss(weights) < judged.mean_loss(start) - 0.05
    assert weights.theta[0, 0] > weights.theta[0, 1] + 0.5
    said = weights.alpha + weights.temper  # a modality of noise is tempered away, or weighs nothing
    assert said[0] > said[2] + 1
    assert weights.joint.tolist() == [1, 0]


def test_one_row_moves_the_weights_little():
    weights = pool.learn(judged_rows(n=1), Weights.start(3, 2, "multiclass"))
    assert weights.theta.abs().max() < 1


def test_losses_are_those_of_their_tasks():
    z = torch.randn(5, 3)
    classes = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 1, 0])).float()
    expected = torch.nn.functional.cross_entropy(z, classes, reduction="none")
    torch.testing.assert_close(loss_of(z, classes, "multiclass"), expected)
    labels = classes.clone()
    labels[0, 1:] = torch.nan
    one = torch.nn.functional.binary_cross_entropy_with_logits(z[0, :1], classes[0, :1])
    torch.testing.assert_close(loss_of(z, labels, "multilabel")[0], one)
    torch.testing.assert_close(loss_of(z[:, :1], z[:, :1] + 2, "regression"), torch.full((5,), 2.0))


@pytest.mark.parametrize("n_modalities", [1, 2, 5, 6, 9, 40])
def test_subsets_of_many_modalities_are_drawn(n_modalities):
    subsets = chosen_subsets(n_modalities, np.random.default_rng(0))
    assert len(subsets) == min(2**n_modalities - 1, max(31, n_modalities + 1))
    assert subsets.any(1).all()
    assert subsets[-1].all()
    assert (subsets.sum(1) == 1).sum() == n_modalities


# ---- generations -------------------------------------------------------------------------------------------


def table(kind="multiclass", n=100, groups=None, seed=0, share=1.0):
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    target = {
        "multiclass": np.eye(3)[y],
        "multilabel": np.eye(3)[y],
        "regression": y[:, None] - 1.0 + 0.1 * random.normal(size=(n, 1)),
    }[kind].astype(float)
    target[random.random(n) >= share] = np.nan
    values = tuple((random.normal(size=(n, 4)) + y[:, None] * s).astype(np.float32) for s in (1.5, 1.0))
    return Rows(values, np.ones((n, 2), dtype=bool), target, groups, kind)


def test_folds_spread_each_class():
    rows = table(n=103)
    folds = folds_of(rows, np.random.default_rng(0))
    counts = np.zeros((3, 5))
    np.add.at(counts, (rows.target.argmax(1), folds), 1)
    assert (counts.max(1) - counts.min(1) <= 1).all()


def test_groups_stay_together():
    groups = np.random.default_rng(1).integers(0, 9, 100)
    folds = folds_of(table(groups=groups), np.random.default_rng(0))
    assert all(len(set(folds[groups == group])) == 1 for group in range(9))
    assert set(folds) == set(range(5))
    assert (folds_of(table(groups=np.zeros(100, int)), np.random.default_rng(0)) == -1).all()


def test_groups_of_unlike_values_are_not_all_held_out_at_once():
    values = [np.zeros((4, 2))]
    target = np.array([[-3.0], [-1.0], [1.0], [3.0]])
    rows = Rows(tuple(values), np.ones((4, 1), bool), target, np.array([0, 0, 1, 1]), "regression")
    folds = folds_of(rows, np.random.default_rng(0))
    assert set(folds[:2]) != set(folds[2:])
    assert sorted(set(folds)) == [0, 1]


def test_a_classs_only_row_is_never_held_out():
    rows = table(n=20)
    rows.target[:] = np.eye(3)[0]
    rows.target[:8] = np.eye(3)[1]
    rows.target[8] = np.eye(3)[2]
    folds = folds_of(rows, np.random.default_rng(0))
    assert np.flatnonzero(folds == -1).tolist() == [8]


def test_no_team_reads_what_judges_it():
    groups = np.random.default_rng(1).integers(0, 9, 100)
    rows = table(groups=groups, share=0.6)
    random = np.random.default_rng(0)
    whole, *others = teams.teams_of(rows, folds_of(rows, random), 5, 5, random)
    assert whole.known.tolist() == rows.known.tolist()
    assert sorted(np.concatenate([team.held for team in others])) == rows.known.tolist()
    for team in others:
        assert not set(groups[team.held]) & set(groups[np.concatenate([team.known, team.free])])


def test_many_rows_are_drawn_from(monkeypatch):
    for name, most in [("MAX_KNOWN", 50), ("MAX_KNOWN_JUDGED", 30), ("MAX_HELD", 7), ("MAX_FREE", 20)]:
        monkeypatch.setattr(teams, name, most)
    rows, random = table(n=200, share=0.6), np.random.default_rng(0)
    folds = folds_of(rows, random)
    whole, *others = teams.teams_of(rows, folds, 5, 5, random)
    assert [len(whole.known), len(whole.free)] == [50, 20]
    assert {(len(team.known), len(team.held)) for team in others} == {(30, 7)}
    for fold, team in enumerate(others):
        assert set(team.held) <= set(rows.known[folds == fold])
        assert not set(team.known) & set(rows.known[folds == fold])


def test_a_folds_labels_change_nothing_that_judges_them():
    """Other labels in one fold leave that fold's team, teacher and students alike, in every generation."""
    rows = table(share=0.5)
    first = np.random.default_rng(0)
    folds = folds_of(rows, first)
    held = rows.known[folds == 1]
    other = table(share=0.5)
    other.target[held] = np.roll(other.target[held], 1, axis=1)
    said = []
    for data in (rows, other):
        _, turned = teams.turned_rows(data, np.random.default_rng(0))
        found = teams.teams_of(data, folds, 5, 5, np.random.default_rng(0))
        team, start = found[2], Weights.start(2, N_MEMBERS, "multiclass")
        team.branches = teams.branches_of(data, turned, team, teams.lesson_of(data, team, None), 0)
        taught = generations.taught_by(data, turned, team, start, Verdict((start,), 1.0, torch.empty(0), 1.0))
        team.branches = teams.branches_of(data, turned, team, teams.lesson_of(data, team, taught), 1)
        said.append(teams.team_scores(data, turned, team, team.held))
    assert torch.equal(*said)


def test_shares_are_aligned_with_the_prior():
    random = np.random.default_rng(0)
    shares = random.dirichlet([4.0, 1.0, 1.0], 500)
    prior = np.array([0.2, 0.3, 0.5])
    found = aligned(shares, prior)
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(found.mean(0), prior, atol=1e-2)
    np.testing.assert_allclose(
        found / shares / (found / shares)[:, :1],
        (found / shares)[0] / (found / shares)[0, 0] * np.ones((500, 1)),
    )


def test_entropy_is_zero_of_the_certain_and_largest_of_the_undecided():
    np.testing.assert_allclose(entropy(np.array([[1.0, 0.0], [0.5, 0.5]])), [0, np.log(2)], atol=1e-9)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_students_are_kept_only_if_they_tell_held_out_labels_better(kind):
    rows = table(kind, n=400, share=0.1)
    learnt = generations.learn(rows, n_trees=10, n_trees_judged=10, n_generations=3, seed=0)
    losses = [entry["validation_loss"] for entry in learnt.history]
    first = 1 if kind == "multiclass" else 0  # students of classes need only not be clearly worse
    kept = first + int(np.argmin(losses[first:]))
    assert learnt.history[-1]["rule"].startswith(f"generation {kept} of {len(losses)} tried")
    assert len(losses) == min(4, kept + 1 + generations.PATIENCE)


def verdict_of(errors):
    return Verdict((), 0.0, torch.tensor(errors), 1.0)


def test_first_students_need_only_not_be_clearly_worse_than_their_teacher():
    better = generations._is_better
    teacher, same = verdict_of([0.5] * 9 + [0.9]), verdict_of([0.5] * 9 + [1.3])  # one row is worse
    worse = verdict_of([0.6, 0.7] * 5)
    assert better(same, teacher, 1, "multiclass")
    assert not better(worse, teacher, 1, "multiclass")
    assert not better(same, teacher, 2, "multiclass")
    assert not better(same, teacher, 1, "regression")
    assert better(teacher, same, 2, "multilabel")
    assert better(verdict_of([0.1, torch.nan]), verdict_of([0.2, torch.nan]), 2, "multiclass")


def test_a_sure_error_does_not_outweigh_all_others():
    z = torch.tensor([[60.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    target = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    found = error_of(z, target, "multiclass")
    torch.testing.assert_close(found, torch.tensor([2.0, 4 / 9 + 2 / 9]))
    labels = torch.tensor([[1.0, torch.nan, 0.0]])
    torch.testing.assert_close(error_of(torch.zeros(1, 3), labels, "multilabel"), torch.tensor([0.25]))
    values = torch.tensor([[2.0]])
    assert error_of(torch.zeros(1, 1), values, "regression") == loss_of(
        torch.zeros(1, 1), values, "regression"
    )


@pytest.mark.parametrize(
    ("n", "share", "rule"),
    [(60, 1.0, "fewer than 50 unlabelled rows, 0"), (100, 0.015, "too few labelled rows to judge")],
)
def test_one_generation_where_a_second_cannot_be(n, share, rule):
    rows = table("regression", n=n, share=share)
    learnt = generations.learn(rows, n_trees=5, n_trees_judged=5, n_generations=3, seed=0)
    assert len(learnt.history) == 1
    assert rule in learnt.history[-1]["rule"]


def test_values_that_are_told_no_better_than_by_their_mean_are_not_taught():
    rows = table("regression", n=200, share=0.1)
    shuffled = replace(rows, target=rows.target[np.random.default_rng(1).permutation(len(rows.target))])
    learnt = generations.learn(shuffled, n_trees=5, n_trees_judged=5, n_generations=3, seed=0)
    assert learnt.history[-1]["rule"].startswith("one generation: held-out values are not clearly")
    assert len(learnt.history) == 1


def test_what_is_explained_is_a_share_of_the_spread_or_nothing_where_that_may_be_chance():
    target = torch.tensor([[-1.0], [1.0]] * 8)
    losses = target[:, 0].square() / 2
    assert judging._explained(losses / 4, target) == pytest.approx(0.75)
    lucky = losses.clone()
    lucky[0] = 0.0  # one row of sixteen
    assert judging._explained(lucky, target) == 0.0
    assert judging._explained(losses, target) == 0.0


def test_a_modality_of_no_labelled_row_learns_nothing_from_a_teacher_who_explains_nothing():
    rows = table("regression", share=0.1)
    rows.presence[:, 1] = np.isnan(rows.target[:, 0])
    random = np.random.default_rng(0)
    _, turned = teams.turned_rows(rows, random)
    team = teams.teams_of(rows, np.full(len(rows.known), -1), 5, 5, random)[0]
    teams.learn_team(rows, turned, team, (np.ones((len(team.free), 1)), np.zeros(len(team.free))), 0)
    seen, unseen = team.branches
    assert seen.forest is not None
    assert unseen.forest is None
    scores = unseen.scores(rows.values[1], turned[1], "regression")
    torch.testing.assert_close(scores, torch.full_like(scores, float(team.prior[0])))


def one_label_a_class(seed=0, n=300, gaps=0.0):
    """Four classes seen by three modalities, one labelled row of each; how far the classes lie apart."""
    random = np.random.default_rng(seed)
    y = np.concatenate([np.arange(4), random.integers(0, 4, n - 4)])
    values = tuple((3 * np.eye(4)[y] + random.normal(size=(n, 4))).astype(np.float32) for _ in range(3))
    presence = random.random((n, 3)) >= gaps
    presence[np.arange(n), random.integers(0, 3, n)] = True
    target = np.eye(4)[y]
    target[4:] = np.nan
    return Rows(values, presence, target, None, "multiclass"), y


def said_by(learnt, rows):
    """(n,) the class that the pool of what was learnt gives each row as it is."""
    turned = tuple(own(value) for own, value in zip(learnt.directions, rows.values, strict=True))
    team = teams.teams_of(rows, np.full(len(rows.known), -1), 1, 1, np.random.default_rng(0))[0]
    team.branches = learnt.branches
    here = torch.from_numpy(rows.presence)
    scores = teams.team_scores(rows, turned, team, np.arange(len(here)))
    z = pooled(opinions(scores, here, learnt.weights), here.unsqueeze(1), learnt.weights)[:, 0]
    return z.argmax(1).numpy()


@pytest.mark.parametrize("gaps", [0.0, 0.5])
def test_with_one_label_a_class_rows_without_one_teach(gaps):
    rows, y = one_label_a_class(gaps=gaps)
    first, last = (
        generations.learn(rows, n_trees=15, n_trees_judged=5, n_generations=n, seed=0) for n in (0, 4)
    )
    assert "unjudged" in last.history[-1]["rule"]
    assert len(last.history) == 5
    assert (said_by(last, rows) == y).mean() > (said_by(first, rows) == y).mean() + 0.05


def test_the_more_modalities_say_it_the_less_their_teaching_is_sharpened():
    presence = torch.tensor([[True, False, False], [True, False, True], [True, True, True]])
    torch.testing.assert_close(generations.sharpened(presence, 2.0), torch.tensor([2.0, 1.5, 4 / 3]))
    assert (generations.sharpened(presence, 1.0) == 1).all()


def test_students_that_nobody_judged_are_shown_less_sure_than_they_were_taught(monkeypatch):
    rows, _ = one_label_a_class(gaps=0.5)
    shown = generations.learn(rows, n_trees=15, n_trees_judged=5, n_generations=2, seed=0)
    monkeypatch.setattr(generations, "_as_used", lambda learnt, *_: learnt)
    taught = generations.learn(rows, n_trees=15, n_trees_judged=5, n_generations=2, seed=0)
    torch.testing.assert_close(shown.weights.temper, taught.weights.temper - np.log(2))
    assert (said_by(shown, rows) == said_by(taught, rows)).all()


def test_a_pool_that_was_judged_and_a_first_generation_are_shown_as_they_are(monkeypatch):
    tasks = [(table(n=120), 1), (one_label_a_class()[0], 0)]
    shown = [
        generations.learn(rows, n_trees=8, n_trees_judged=5, n_generations=n, seed=0) for rows, n in tasks
    ]
    monkeypatch.setattr(generations, "_as_used", lambda learnt, *_: learnt)
    for (rows, n), own in zip(tasks, shown, strict=True):
        taught = generations.learn(rows, n_trees=8, n_trees_judged=5, n_generations=n, seed=0)
        assert torch.equal(own.weights.temper, taught.weights.temper)


def test_teachers_of_noise_do_not_give_all_rows_to_one_class():
    random = np.random.default_rng(0)
    rows, _ = one_label_a_class()
    values = tuple(random.normal(size=(300, 4)).astype(np.float32) for _ in range(3))
    rows = Rows(values, rows.presence, rows.target, None, "multiclass")
    learnt = generations.learn(rows, n_trees=15, n_trees_judged=5, n_generations=4, seed=0)
    shares = np.bincount(said_by(learnt, rows), minlength=4) / 300
    assert shares.max() < 0.5
    assert shares.min() > 0.1


def test_few_rows_a_class_judge_nothing():
    rows = table(n=9)
    rows.target[:] = np.eye(3)[np.arange(9) % 3]
    assert (folds_of(rows, np.random.default_rng(0)) >= 0).all()
    rows.target[8] = np.eye(3)[0]
    assert (folds_of(rows, np.random.default_rng(0)) >= 0).all()
    rows.target[8] = np.nan
    assert (folds_of(rows, np.random.default_rng(0)) == -1).all()


# ---- the method --------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not():
    torch.manual_seed(0)
    batch = random_batch(MIXED, TASKS["multiclass"], 80)
    states = []
    for seed in (0, 0, 1):
        method = Committee(MIXED, TASKS["multiclass"], SMALL)
        method.learn(batch, seed=seed)
        states.append(method(batch).prediction)
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_modality_of_noise_gets_little_weight():
    random = np.random.default_rng(0)
    y = torch.from_numpy(random.integers(0, 2, 200))
    good = torch.from_numpy(random.normal(size=(200, 3)).astype(np.float32)) + 1.5 * y[:, None]
    noise = torch.from_numpy(random.normal(size=(200, 30)).astype(np.float32))
    inputs = (Input("good", "vector", 3), Input("noise", "vector", 30))
    presence, known = torch.ones(200, 2, dtype=torch.bool), torch.ones(200, dtype=torch.bool)
    batch = Batch({"good": good, "noise": noise}, presence, y=y, labelled=known)
    method = Committee(inputs, Task("multiclass", 2), SMALL)
    method.learn(batch, seed=0)
    weight = (method.alpha + method.temper).softmax(0)
    assert weight[0] > 2 * weight[1]


def exclusive_or(n=400, seed=0):
    """Two modalities that tell the class only together."""
    random = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, 3, generator=random) for _ in range(2))
    y = ((a[:, 0] > 0) ^ (b[:, 0] > 0)).long()
    known = torch.ones(n, dtype=torch.bool)
    return Batch({"a": a, "b": b}, torch.ones(n, 2, dtype=torch.bool), y=y, labelled=known)


def test_a_joint_member_sees_what_modalities_tell_only_together(monkeypatch):
    monkeypatch.setattr(interactions, "MAX_TERMS", 0)  # which would see it first
    inputs = (Input("a", "vector", 3), Input("b", "vector", 3))
    method = Committee(inputs, Task("multiclass", 2), CommitteeConfig(n_trees=50, n_trees_judged=30))
    method.learn(exclusive_or(), seed=0)
    new = exclusive_or(seed=1)
    right = method(new).prediction.argmax(1) == new.y
    assert method.joint_forest.n_trees == 50
    assert right.float().mean() > 0.7
    twin = Committee(inputs, Task("multiclass", 2), method.config)
    twin.load_state_dict(method.state_dict())
    assert torch.equal(twin(new).prediction, method(new).prediction)
    read = method.read(new)
    alone = new.only(("a",))
    torch.testing.assert_close(method.predict_from(read, alone.presence), method(alone).prediction)
    torch.testing.assert_close(method(alone).prediction, method(alone).branches[:, 0])


def test_boosted_trees_are_kept_where_they_tell_more_than_a_forest(monkeypatch):
    monkeypatch.setattr(interactions, "MAX_TERMS", 0)
    monkeypatch.setattr(judging, "WORTH_A_PASS", 1.0)  # no forest
    monkeypatch.setattr(judging, "WORTH_BOOSTING", -1.0)
    inputs = (Input("a", "vector", 3), Input("b", "vector", 3))
    method = Committee(inputs, Task("multiclass", 2), CommitteeConfig(n_trees=10, n_trees_judged=5))
    batch = exclusive_or()
    method.learn(batch, seed=0)
    assert method.joint_forest.adds
    assert method.joint_forest.n_trees == 1 + boosting.N_ROUNDS
    new = exclusive_or(seed=1)
    together = method(new).prediction
    twin = Committee(inputs, Task("multiclass", 2), method.config)
    twin.load_state_dict(method.state_dict())
    assert torch.equal(twin(new).prediction, together)
    some = torch.arange(0, 400, 7)
    torch.testing.assert_close(method(new.rows(some)).prediction, together[some])
    new.presence[::2, 1] = False
    before = method(new).prediction
    new.values["b"][::2] = torch.nan
    assert torch.equal(method(new).prediction, before)


@pytest.mark.parametrize(
    ("kind", "n_outputs", "width", "tried"),
    [
        ("multiclass", 2, 250, True),
        ("multiclass", 2, 251, False),
        ("multilabel", 2, 3, False),
        ("regression", 1, 3, False),
    ],
)
def test_boosted_trees_are_tried_where_they_are_cheap(kind, n_outputs, width, tried):
    target = np.eye(2)[np.arange(20) % 2][:, :n_outputs]
    rows = Rows((np.zeros((20, width - 1)), np.zeros((20, 1))), np.ones((20, 2), bool), target, None, kind)
    random = np.random.default_rng(0)
    found = teams.teams_of(rows, folds_of(rows, random), 5, 5, random)
    assert judging.can_be_boosted(rows, found) is tried


def test_a_team_of_one_class_has_no_boosted_trees():
    target = np.eye(2)[np.arange(20) // 10]
    groups = np.arange(20) // 10
    rows = Rows((np.zeros((20, 2)),) * 2, np.ones((20, 2), bool), target, groups, "multiclass")
    found = teams.teams_of(rows, groups, 5, 5, np.random.default_rng(0))
    assert not judging.can_be_boosted(rows, found)


def test_what_is_read_once_predicts_every_combination():
    torch.manual_seed(0)
    batch = random_batch(VECTORS, TASKS["multiclass"], 60)
    method = Committee(VECTORS, TASKS["multiclass"], SMALL)
    method.learn(batch, seed=0)
    read = method.read(batch)
    for kept in [("a",), ("b", "c"), ("a", "b", "c")]:
        part = batch.only(kept)
        torch.testing.assert_close(method.predict_from(read, part.presence), method(part).prediction)


# ---- the public door ---------------------------------------------------------------------------------------


def sensors(n=160, n_labelled=30):
    random = np.random.default_rng(0)
    y = random.integers(0, 3, n)
    X = {"a": random.normal(size=(n, 4)) + y[:, None], "b": random.normal(size=(n, 3)) - y[:, None]}
    X["a"][::5] = np.nan
    return X, np.where(np.arange(n) < n_labelled, y, -1), y


def test_the_default_learns_saves_and_reports(tmp_path):
    X, few, y = sensors()
    model = MultimodalClassifier(random_state=0).fit(X, few)
    assert model.score(X, y) > 0.7
    assert model.stopping_rule_.startswith("generation")
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model", device="cpu")
    assert type(loaded) is MultimodalClassifier
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    table = model.subset_report(X, y, metrics=["accuracy"])
    alone = table.query("method == 'committee' and subset == 'b' and metric == 'accuracy'")["value"].item()
    assert alone == pytest.approx(np.mean(model.predict({"b": X["b"]}) == y))


def test_a_monitor_changes_nothing_and_shows_how_right_teachers_are():
    X, few, y = sensors()
    plain, watched = (
        MethodClassifier("committee", settings={"n_trees": 9, "n_trees_judged": 5}, random_state=0)
        for _ in range(2)
    )
    plain.fit(X, few)
    watched.fit(X, few, y_monitor=y)
    np.testing.assert_array_equal(plain.predict_proba(X), watched.predict_proba(X))
    assert "pseudo_accuracy" not in watched.history_[0]
    assert 0.5 < watched.history_[1]["pseudo_accuracy"] <= 1


def test_the_default_regressor_shrinks_to_the_mean_where_nothing_can_be_told():
    random = np.random.default_rng(0)
    X = {"a": random.normal(size=(40, 10)), "b": random.normal(size=(40, 20))}
    y = random.normal(size=40)
    model = MultimodalRegressor(random_state=0, floors=False).fit(X, y)
    new = {"a": random.normal(size=(200, 10)), "b": random.normal(size=(200, 20))}
    assert model.predict(new).std() < 0.5 * y.std()


@pytest.mark.parametrize("more", [{"resume": True}, {"validation": ({"a": np.zeros((2, 4))}, [0, 1])}])
def test_what_only_the_training_loop_reads_is_refused(more):
    X, few, _ = sensors()
    with pytest.raises(ConfigError, match="judges itself by cross-validation of the labelled rows"):
        MultimodalClassifier().fit(X, few, **more)


@pytest.mark.parametrize(
    "more", [{"max_epochs": 5}, {"validation_fraction": 0.2}, {"checkpoint_dir": "kept"}]
)
def test_settings_of_the_training_loop_are_refused(more):
    X, few, _ = sensors()
    ((name, value),) = more.items()
    with pytest.raises(ConfigError, match=f"training loop, which alone reads {name}; {name}={value!r} came"):
        MethodClassifier("committee", **more).fit(X, few)


def test_settings_are_judged():
    with pytest.raises(ConfigError, match="n_trees must be a whole number from 1 up; got 0"):
        CommitteeConfig(n_trees=0)
    with pytest.raises(ConfigError, match="joint is True or False; got 'no'"):
        CommitteeConfig(joint="no")
