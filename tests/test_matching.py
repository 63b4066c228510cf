"""The committee of common spaces: its parts beside dull twins, and the method."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.testing import assert_close

from batches import random_batch, spoilt
from polymodal import MultimodalRetriever
from polymodal.batch import Batch, Input, Task
from polymodal.errors import ConfigError
from polymodal.methods.floors.retrieval import CCARetriever
from polymodal.methods.matching import canonical, pool
from polymodal.methods.matching.method import LEAST_HELD, Matching, MatchingConfig, held_out
from polymodal.methods.matching.towers import Towers

INPUTS = (Input("a", "vector", 5), Input("s", "series", 3), Input("c", "vector", 4))
CLASSES = Task("multiclass", 3)  # what the labels of random batches are drawn from
QUICK = {"n_towers": 1, "n_trees": 5, "n_trees_judged": 3}


def batch(n=60, seed=0) -> Batch:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return random_batch(INPUTS, CLASSES, n)


def learnt(rows, n_classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = Matching(INPUTS, Task("retrieval", n_classes), MatchingConfig(**QUICK))
    method.learn(rows, seed=0)
    return method.eval()


@pytest.fixture(scope="module")
def trained():
    return learnt(batch(200))


# ---- the parts -------------------------------------------------------------------------------------------


def test_linear_components_are_those_of_the_floor(monkeypatch):
    monkeypatch.setattr(canonical, "RIDGE", 0.3)
    random = np.random.default_rng(0)
    hidden = random.normal(size=(150, 2))
    X = {
        name: hidden @ random.normal(size=(2, d)) + 0.5 * random.normal(size=(150, d))
        for name, d in (("a", 6), ("b", 4))
    }
    scaled = [(x - x.mean(axis=0)) / x.std(axis=0) for x in X.values()]
    components = canonical.Components((6, 4))
    components.learn(scaled, np.ones((150, 2), dtype=bool))
    floor = CCARetriever().fit(X)
    for m, name in enumerate(X):
        ours = components(torch.from_numpy(scaled[m]).float(), m)
        ours = ours / ours.norm(dim=1, keepdim=True)
        theirs = floor.embed(X, name)
        np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-4)


def test_random_features_are_about_a_gaussian_kernel():
    random = np.random.default_rng(0)
    features = canonical.RandomFeatures(4)
    features.draw(random)
    x = torch.from_numpy(random.normal(size=(20, 4))).float()
    z = features(x)
    found = 2 * z @ z.T / canonical.N_FEATURES
    expected = torch.exp(-torch.cdist(x, x).square() * canonical.SCALE**2 / (2 * 4))
    assert float((found - expected).abs().mean()) < 0.08


def test_similarities_and_their_loss_are_those_of_loops():
    torch.manual_seed(0)
    spaces, presence = torch.randn(9, 3, 2, 4), torch.rand(9, 3) < 0.8
    weights, losses = torch.tensor([0.7, 2.0]), []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        rows = [r for r in range(9) if presence[r, i] and presence[r, j]]
        scores = np.array(
            [
                [sum(float(weights[e] * spaces[p, i, e] @ spaces[q, j, e]) for e in range(2)) for q in rows]
                for p in rows
            ]
        )
        for side in (scores, scores.T):
            log_shares = side - np.log(np.exp(side).sum(axis=1, keepdims=True))
            losses.append(-np.diag(log_shares).mean())
    found = pool.pair_loss(weights, pool.similarities(spaces, presence))
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_average_precision_is_scikit_learns():
    random = np.random.default_rng(0)
    scores, y = random.normal(size=(12, 12)), random.integers(0, 3, 12)
    same = y[:, None] == y
    expected = np.mean([average_precision_score(r, s) for r, s in zip(same, scores, strict=True)])
    found = pool.average_precision(torch.from_numpy(scores), torch.from_numpy(same))
    assert found == pytest.approx(expected)


def test_a_space_of_noise_loses_its_weight():
    torch.manual_seed(0)
    good = torch.nn.functional.normalize(torch.randn(80, 6), dim=1)
    sides = [torch.nn.functional.normalize(good + 0.1 * torch.randn(80, 6), dim=1) for _ in range(2)]
    noise = [torch.nn.functional.normalize(torch.randn(80, 6), dim=1) for _ in range(2)]
    spaces = torch.stack([torch.stack(pair, dim=1) for pair in zip(sides, noise, strict=True)], dim=1)
    weights = pool.pair_weights(pool.similarities(spaces, torch.ones(80, 2, dtype=torch.bool)), 2)
    assert weights[0] > 4 * weights[1]


def test_classes_that_tell_all_weigh_more_than_those_that_tell_nothing():
    torch.manual_seed(0)
    y, presence = torch.arange(90) % 3, torch.ones(90, 2, dtype=torch.bool)
    spaces = torch.nn.functional.normalize(torch.randn(90, 2, 1, 8), dim=-1)
    similar, one = pool.similarities(spaces, presence), torch.ones(1)
    told = torch.nn.functional.one_hot(y, 3).float().unsqueeze(1).expand(-1, 2, -1)
    weight, share, reached = pool.class_weight(similar, one, told, presence, y)
    assert weight > 0
    assert share >= 0.5
    assert reached > 0.99
    guessed = torch.rand(90, 2, 3)
    assert pool.class_weight(similar, one, guessed, presence, y)[1] < share


def test_towers_find_partners_that_no_line_finds():
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, 600)
    a = torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], axis=1)).float()
    b = torch.from_numpy(np.stack([np.cos(2 * angle), np.sin(2 * angle)], axis=1)).float()
    towers, epochs = Towers((2, 2)), []
    both = torch.ones(600, 2, dtype=torch.bool)
    towers.learn((a, b), both, seed=0, told=lambda: epochs.append(1))
    scores = torch.nn.functional.normalize(towers(a, 0)) @ torch.nn.functional.normalize(towers(b, 1)).T
    before = (scores > scores.diagonal().unsqueeze(1)).sum(dim=1)
    assert before.median() < 60
    assert len(epochs) == 20


# ---- what is held out ------------------------------------------------------------------------------------


def test_held_out_rows_are_pairs_and_groups_stay_whole():
    random = np.random.default_rng(0)
    presence, groups = random.random((400, 2)) < 0.8, np.arange(400) // 5
    for names in (None, groups):
        held, kept = held_out(presence, names, np.random.default_rng(0))
        assert presence[held].all()
        assert len(held) >= LEAST_HELD
        assert not set(held) & set(kept)
        if names is not None:
            assert not set(groups[held]) & set(groups[kept])


def test_few_pairs_are_all_learnt_from():
    held, kept = held_out(np.ones((50, 2), dtype=bool), None, np.random.default_rng(0))
    assert len(held) == 0
    np.testing.assert_array_equal(kept, np.arange(50))


# ---- the method ------------------------------------------------------------------------------------------


def test_embeddings_are_unit_rows_where_present_and_nan_elsewhere(trained):
    rows = batch(12, seed=1)
    found = trained(rows).latents["embeddings"]
    assert (found.isnan().all(-1) == ~rows.presence).all()
    assert_close(found[rows.presence].norm(dim=-1), torch.ones(int(rows.presence.sum())))


def test_the_cosine_is_the_weighted_sum_of_similarities(trained):
    rows = batch(12, seed=1)
    both = rows.presence[:, 0] & rows.presence[:, 2]
    assert both.sum() > 1
    found, spaces = trained(rows).latents["embeddings"], trained._spaces(rows)
    shares = trained.classifiers(rows).branches / trained.prior.sqrt()
    expected = sum(w * spaces[both, 0, e] @ spaces[both, 2, e].T for e, w in enumerate(trained.pair_weights))
    expected = expected + trained.class_weight * shares[both, 0] @ shares[both, 2].T
    most = trained.pair_weights.sum() + trained.class_weight / trained.prior.min()
    assert_close(found[both, 0] @ found[both, 2].T, expected / most, atol=1e-5, rtol=1e-4)


def test_an_embedding_knows_one_modality_and_one_row_alone(trained):
    rows = batch(12, seed=1)
    whole = trained(rows).latents["embeddings"]
    for i, name in enumerate(rows.names):
        alone = trained(rows.only((name,))).latents["embeddings"]
        assert_close(alone[:, i], whole[:, i], equal_nan=True)
    for other in (spoilt(rows), spoilt(rows, 1e6)):
        found = trained(other).latents["embeddings"]
        assert_close(found, whole, rtol=0, atol=0, equal_nan=True)
    few = trained(rows.slice(2, 5)).latents["embeddings"]
    assert_close(few, whole[2:5], equal_nan=True)


def test_hidden_labels_and_absent_bytes_are_not_learnt_from(trained):
    rows = batch(200)
    other, fresh = learnt(spoilt(rows)).state_dict(), learnt(rows).state_dict()
    for name, value in trained.state_dict().items():
        assert_close(fresh[name], value, rtol=0, atol=0, msg=name)
        assert_close(other[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(("n_rows", "n_classes"), [(1, 3), (3, 0), (30, 3)])
def test_any_rows_give_finite_embeddings(n_rows, n_classes):
    rows = batch(n_rows)
    lengths = {name: length.clamp(min=1) for name, length in rows.lengths.items()}
    labelled = rows.labelled & bool(n_classes)
    rows = Batch(rows.values, torch.ones_like(rows.presence), lengths, rows.y, labelled)
    found = learnt(rows, n_classes)(rows).latents["embeddings"]
    assert torch.isfinite(found).all()


def test_another_task_is_refused():
    with pytest.raises(ConfigError, match="learns a common space; the task multiclass came"):
        Matching(INPUTS, CLASSES)


def test_checkpoints_are_refused():
    X = {
        "a": np.random.default_rng(0).normal(size=(40, 3)),
        "b": np.random.default_rng(1).normal(size=(40, 2)),
    }
    with pytest.raises(ConfigError, match="without checkpoints; resume=True came"):
        MultimodalRetriever().fit(X, resume=True)
