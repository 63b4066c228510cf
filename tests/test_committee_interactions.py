"""Products of directions of two modalities, beside loops; what they find in something and in nothing."""

import numpy as np
import pytest
import torch

from polymodal import MethodClassifier
from polymodal import load as load_model
from polymodal.batch import Batch, Input, Task
from polymodal.data.readers import load
from polymodal.data.synthetic import best_accuracy
from polymodal.errors import CheckpointError
from polymodal.methods.committee import interactions
from polymodal.methods.committee.interactions import GAIN, Crossing, find, moment, numbers, strongest
from polymodal.methods.committee.linear import Directions
from polymodal.methods.committee.members import Lesson
from polymodal.methods.committee.method import Committee, CommitteeConfig


def crossed_rows(n=400, kind="multiclass", nothing=False, seed=0):
    """Three modalities of 12, 20 and 5 columns; a sign in each of the first two tells by their product."""
    random = np.random.default_rng(seed)
    values = [random.normal(size=(n, d)) for d in (12, 20, 5)]
    axes = [np.linalg.qr(random.normal(size=(d, d)))[0] for d in (12, 20)]
    signs = random.choice([-1.0, 1.0], (n, 2))
    for m in (0, 1):
        values[m] += signs[:, m, None] * 2 * axes[m][0]
    y = random.random(n) < 0.5 if nothing else signs.prod(axis=1) > 0
    target = {"multiclass": np.eye(2)[y.astype(int)], "multilabel": np.eye(2)[y.astype(int)]}.get(kind)
    target = (2.0 * y - 1)[:, None] + 0.1 * random.normal(size=(n, 1)) if target is None else target
    presence = random.random((n, 3)) < 0.9
    values = [
        np.where(here[:, None], v, np.nan).astype(np.float32)
        for v, here in zip(values, presence.T, strict=True)
    ]
    return values, presence, target


def learnt(kind="multiclass", *, seed=0, **more):
    values, presence, target = crossed_rows(kind=kind, seed=seed, **more)
    directions = [
        Directions.fit(v[here], np.random.default_rng(0)) for v, here in zip(values, presence.T, strict=True)
    ]
    z = numbers(values, directions, presence)
    n = len(target)
    bounds = np.stack([target.min(axis=0), target.max(axis=0)])
    lesson = Lesson(np.arange(n), target, np.ones(n), target.mean(axis=0), bounds)
    return find(z, presence, lesson, kind, 0), z, directions, values, presence, target


def test_numbers_are_the_first_directions_at_unit_spread_and_zeros_where_absent():
    _, z, directions, values, presence, _ = learnt()
    assert [own.shape[1] for own in z] == [12, 16, 5]
    for own, along, v, here in zip(z, directions, values, presence.T, strict=True):
        assert (own[~here] == 0).all()
        expected = v[here].astype(np.float64) @ along.axes / along.spread
        np.testing.assert_allclose(own[here], expected[:, :16], atol=1e-4)
        np.testing.assert_allclose(np.square(own[here]).mean(axis=0), 1, atol=1e-3)


def test_the_moment_is_its_formula():
    random = np.random.default_rng(0)
    a, b, residual = (random.normal(size=(9, d)) for d in (3, 4, 2))
    expected = np.zeros((3, 4, 2))
    for n in range(9):
        for i, j, c in np.ndindex(3, 4, 2):
            expected[i, j, c] += a[n, i] * b[n, j] * residual[n, c]
    np.testing.assert_allclose(moment(a, b, residual), expected, atol=1e-12)


def test_the_strongest_term_is_that_of_a_matrix_and_of_a_single_product():
    random = np.random.default_rng(0)
    flat = random.normal(size=(5, 4, 1))
    strength, u, v, w = strongest(flat)
    assert strength == pytest.approx(np.linalg.svd(flat[:, :, 0])[1][0])
    parts = [random.normal(size=d) for d in (5, 4, 3)]
    single = np.einsum("i,j,c->ijc", *parts)
    strength, u, v, w = strongest(single)
    np.testing.assert_allclose(strength * np.einsum("i,j,c->ijc", u, v, w), single, atol=1e-9)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_a_product_is_found_and_nothing_else(kind):
    found, z, _, _, presence, target = learnt(kind)
    assert (found.pair == [0, 1]).all(axis=1).any()
    scores = found.scores(z, np.ones((1, 3), dtype=bool))[:, 0]
    both = presence[:, 0] & presence[:, 1]
    said = scores[:, -1] - (0 if kind == "regression" else scores[:, 0])
    truth = target[:, -1] > (0 if kind == "regression" else 0.5)
    assert ((said > 0) == truth)[both].mean() > 0.85
    assert (scores[~both] == 0).all() or len(found.pair) > 1


def test_where_there_is_nothing_little_is_found():
    terms = [len(learnt(nothing=True, seed=seed)[0].pair) for seed in range(5)]
    assert np.median(terms) <= 1


def test_masked_labels_are_left_out():
    values, presence, target = crossed_rows(kind="multilabel")
    target[::2, 0] = np.nan
    z = [np.nan_to_num(v)[:, :16] for v in values]
    lesson = Lesson(np.arange(400), target, np.ones(400), np.full(2, 0.5), np.zeros((2, 2)))
    assert np.isfinite(find(z, presence, lesson, "multilabel", 0).weight).all()


def test_scores_are_sums_over_the_terms_whose_modalities_are_read():
    found, z, *_ = learnt()
    subsets = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 0, 1]], dtype=bool)
    scores = found.scores(z, subsets)
    for row, (s, subset) in [(r, own) for r in range(5) for own in enumerate(subsets)]:
        expected = np.zeros(2)
        for (a, b), u, v, weight in zip(found.pair, found.left, found.right, found.weight, strict=True):
            if subset[a] and subset[b]:
                x = GAIN * z[a][row] @ u[: z[a].shape[1]], GAIN * z[b][row] @ v[: z[b].shape[1]]
                expected += np.tanh(x[0]) * np.tanh(x[1]) * weight
        np.testing.assert_allclose(scores[row, s], expected, atol=1e-5)
    assert (scores[:, 2:] == 0).all() or {(0, 2), (1, 2)} & set(map(tuple, found.pair.tolist()))


def test_as_tensors_terms_say_what_they_said_in_learning():
    found, z, directions, values, presence, _ = learnt()
    own = Crossing([12, 20, 5], 2)
    own.take(found, directions)
    columns = torch.from_numpy(np.nan_to_num(np.concatenate(values, axis=1)))
    for subset in ([True, True, True], [True, True, False], [False, True, True]):
        here = torch.from_numpy(presence & np.array(subset))
        expected = found.scores(z, np.array([subset]))[:, 0]
        np.testing.assert_allclose(own(own.products(columns), here), expected, atol=1e-4)
    twin = Crossing([12, 20, 5], 2)
    twin.load_state_dict(own.state_dict())
    assert torch.equal(twin.products(columns), own.products(columns))
    saved = {key: value.clone() for key, value in own.state_dict().items()}
    saved["pair"][0, 1] = 3
    with pytest.raises(CheckpointError, match="a saved term reads two of the modalities that there are"):
        Crossing([12, 20, 5], 2).load_state_dict(saved)


def test_of_many_pairs_those_of_the_largest_moments_are_looked_at(monkeypatch):
    monkeypatch.setattr(interactions, "MAX_PAIRS", 1)
    assert {tuple(pair) for pair in learnt()[0].pair.tolist()} == {(0, 1)}


# ---- in the committee --------------------------------------------------------------------------------------

SMALL = {"n_trees": 20, "n_trees_judged": 10, "n_generations": 0}


@pytest.mark.parametrize(
    ("variant", "short_by"),
    [("vectors", 0.08), pytest.param("sequences", 0.2, marks=pytest.mark.slow)],
)
def test_synergy_is_told_within_a_few_points_of_the_best(variant, short_by, tmp_path):
    data = load("synthetic_synergy", variant=variant)
    train, test = data.train_test(0)
    model = MethodClassifier("committee", data.modalities, settings=SMALL, random_state=0, floors=False)
    model.fit(*data.rows(train))
    X, y = data.rows(test)
    for modalities in (["left"], ["side"], ["left", "side"], ["left", "right"], list(X)):
        accuracy = np.mean(model.predict({name: X[name] for name in modalities}) == y)
        assert abs(accuracy - best_accuracy(modalities)) < (short_by if len(modalities) == 3 else 0.13)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load_model(tmp_path / "model").predict_proba(X), model.predict_proba(X))


def test_what_is_read_once_predicts_every_combination_and_absent_bytes_are_not_read():
    values, presence, target = crossed_rows()
    inputs = tuple(Input(name, "vector", v.shape[1]) for name, v in zip("abc", values, strict=True))
    tensors = {name: torch.from_numpy(v) for name, v in zip("abc", values, strict=True)}
    y, known = torch.from_numpy(target.argmax(axis=1)), torch.ones(len(target), dtype=torch.bool)
    batch = Batch(tensors, torch.from_numpy(presence), y=y, labelled=known)
    method = Committee(inputs, Task("multiclass", 2), CommitteeConfig(**SMALL))
    method.learn(batch, seed=0)
    assert method.products.n_terms
    assert method.products.weight.abs().max() > 0
    blanked = Batch({m: v.nan_to_num() for m, v in tensors.items()}, batch.presence, y=y, labelled=known)
    assert torch.equal(method(batch).prediction, method(blanked).prediction)
    read = method.read(batch)
    for kept in [("a",), ("a", "b"), ("b", "c")]:
        part = batch.only(kept)
        torch.testing.assert_close(method.predict_from(read, part.presence), method(part).prediction)
    right = method(batch).prediction.argmax(1) == y
    assert right[torch.from_numpy(presence[:, :2].all(axis=1))].float().mean() > 0.8
