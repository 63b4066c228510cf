"""The floors of retrieval: canonical correlations and semantic matching against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import LogisticRegression

from polymodal import Tabular
from polymodal.errors import ConfigError
from polymodal.methods.floors import retrieval as floors
from polymodal.methods.floors.retrieval import RETRIEVAL_FLOORS
from polymodal.methods.floors.views import Views
from polymodal.retrieval import retrieval_report

NAMES = list(RETRIEVAL_FLOORS)


def pairs(n=240, seed=0):
    """Two modalities that share two hidden numbers, one of which shows the class."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(n, 2))
    y = (hidden[:, 0] > 0).astype(int) + (hidden[:, 0] > 1)
    a = hidden @ random.normal(size=(2, 6)) + 0.3 * random.normal(size=(n, 6))
    b = hidden @ random.normal(size=(2, 4)) + 0.3 * random.normal(size=(n, 4))
    return {"a": a, "b": b}, y


def value(report, metric):
    return report[report["metric"] == metric].set_index(["method", "subset"])["value"]


@pytest.mark.parametrize("name", NAMES)
def test_a_floor_beats_chance_by_far_in_both_directions(name):
    X, y = pairs()
    floor = RETRIEVAL_FLOORS[name]().fit({k: v[:160] for k, v in X.items()}, y[:160])
    report = retrieval_report({m: floor.embed({m: X[m][160:]}, m) for m in X}, y[160:], method=name)
    maps, ranks = value(report, "map"), value(report, "median_rank")
    for direction in ("a->b", "b->a"):
        assert maps[name, direction] > maps["chance", direction] + 0.2
        assert ranks[name, direction] < ranks["chance", direction] / 2


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_unit_rows_or_nan_and_know_one_modality_alone(name):
    X, y = pairs()
    X["a"][::5] = np.nan
    floor = RETRIEVAL_FLOORS[name]().fit(X, y)
    found = floor.embed(X, "a")
    absent = np.isnan(X["a"]).any(axis=1)
    assert np.isnan(found[absent]).all()
    np.testing.assert_allclose(np.linalg.norm(found[~absent], axis=1), 1.0)
    for other in ({"a": X["a"]}, {"a": X["a"], "b": X["b"][::-1]}):
        np.testing.assert_array_equal(floor.embed(other, "a"), found)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_unlabelled_rows_are_not_read(name):
    X, y = pairs()
    few = pd.array(np.where(np.arange(len(y)) % 3 == 0, y, -1))
    one = RETRIEVAL_FLOORS[name]().fit(X, few)
    none = few.to_numpy().astype(object)
    none[none == -1] = None
    np.testing.assert_array_equal(one.embed(X, "b"), RETRIEVAL_FLOORS[name]().fit(X, none).embed(X, "b"))


def test_canonical_correlations_are_scikit_learns(monkeypatch):
    """Without the penalty, the components are those of scikit-learn's iterations."""
    monkeypatch.setattr(floors, "RIDGE", 1e-9)
    X, _ = pairs()
    X = {name: (x - x.mean(axis=0)) / x.std(axis=0) for name, x in X.items()}
    projections, correlations = floors.canonical_projections(Views(X, np.ones((240, 2), dtype=bool)))
    theirs = CCA(n_components=2, max_iter=5000, tol=1e-9).fit(X["a"], X["b"]).transform(X["a"], X["b"])
    expected = [np.corrcoef(theirs[0][:, i], theirs[1][:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(correlations[:2], expected, atol=1e-3)
    for i in range(2):
        ours = X["a"] @ projections["a"][:, i]
        assert abs(np.corrcoef(ours, theirs[0][:, i])[0, 1]) > 0.999


def test_pairs_with_an_absent_side_add_nothing_to_the_covariance_between_modalities():
    X, _ = pairs()
    presence = np.ones((240, 2), dtype=bool)
    presence[200:, 1] = False
    values = {"a": X["a"] - X["a"].mean(axis=0), "b": np.where(presence[:, 1:], X["b"], 0.0)}
    before, _ = floors.canonical_projections(Views(values, presence))
    spoilt = {**values, "b": np.where(presence[:, 1:], values["b"], 1e6)}
    after, _ = floors.canonical_projections(Views(spoilt, presence))
    np.testing.assert_array_equal(before["a"], after["a"])


def test_three_modalities_share_one_space():
    X, _ = pairs()
    X["c"] = np.column_stack([X["a"][:, :2] + X["b"][:, :2], np.sin(np.arange(240))])
    floor = floors.CCARetriever().fit(X)
    spaces = {name: floor.embed(X, name) for name in X}
    assert len({space.shape for space in spaces.values()}) == 1
    report = retrieval_report(spaces, method="cca")
    ranks = value(report, "median_rank")
    assert (ranks["cca"] < ranks["chance"] / 2).all()


def test_semantic_matching_compares_scikit_learns_probabilities():
    X, y = pairs()
    floor = floors.SemanticMatchingRetriever().fit(X, y)
    x = (X["a"] - X["a"].mean(axis=0)) / X["a"].std(axis=0)
    model = LogisticRegression(C=floors.C, max_iter=1000).fit(x, y)
    expected = model.predict_proba(x) - np.bincount(y) / len(y)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    cosines = (floor.embed(X, "a") * expected).sum(axis=1)
    assert np.median(cosines) > 0.9999
    assert np.mean(cosines > 0.999) > 0.95  # a row near the class shares has no sharp direction


@pytest.mark.parametrize("name", ["semantic_matching", "correlated_semantic_matching"])
def test_semantic_matching_needs_classes(name):
    with pytest.raises(ConfigError, match=r"needs classes; y=None came; pass y, or take CCARetriever"):
        RETRIEVAL_FLOORS[name]().fit(pairs()[0])


def test_an_unknown_modality_is_named():
    X, _ = pairs()
    with pytest.raises(ConfigError, match="a modality is one of a, b; 'c' came"):
        floors.CCARetriever().fit(X).embed(X, "c")


def test_a_data_frame_with_declared_modalities():
    X, _ = pairs()
    frame = pd.DataFrame(np.column_stack([X["a"], X["b"]]), columns=[*"pqrstu", *"wxyz"])
    floor = floors.CCARetriever({"a": Tabular([*"pqrstu"]), "b": Tabular([*"wxyz"])}).fit(frame)
    np.testing.assert_allclose(np.linalg.norm(floor.embed(frame[[*"wxyz"]], "b"), axis=1), 1.0)
