"""Search and its metrics against loops, and the floors of retrieval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score

from polymodal import retrieval
from polymodal.errors import ConfigError, MissingExtraError
from polymodal.evaluation import COLUMNS

# ---- dull twins ------------------------------------------------------------------------------------------


def dull_search(queries, items, k):
    scores, rows = np.full((len(queries), k), np.nan), np.full((len(queries), k), -1)
    for i, query in enumerate(queries):
        if np.isnan(query).any():
            continue
        found = [(-float(query @ item), j) for j, item in enumerate(items) if not np.isnan(item).any()]
        for place, (score, j) in enumerate(sorted(found)[:k]):
            scores[i, place], rows[i, place] = -score, j
    return scores, rows


def dull_ranks(queries, items):
    """For every pair, all ranks that its partner can have when equal scores are put in any order."""
    ranks = []
    for i, (query, partner) in enumerate(zip(queries, items, strict=True)):
        if np.isnan(query).any() or np.isnan(partner).any():
            continue
        scores = [query @ item for j, item in enumerate(items) if not np.isnan(item).any() and j != i]
        before, same = sum(s > query @ partner for s in scores), sum(s == query @ partner for s in scores)
        ranks.append([before + place + 1 for place in range(same + 1)])
    return ranks


def dull_map(queries, items, query_classes, item_classes):
    there = ~np.isnan(items).any(axis=1)
    values = []
    for query, own in zip(queries, query_classes, strict=True):
        relevant = item_classes[there] == own
        if not np.isnan(query).any() and relevant.any():
            values.append(average_precision_score(relevant, items[there] @ query))
    return np.mean(values) if values else np.nan


# ---- embeddings with many equal scores, exact in floating point, some rows absent --------------------------

N_ROWS = st.integers(1, 12)


@st.composite
def embeddings(draw, n_rows=None, d=2):
    n = draw(N_ROWS) if n_rows is None else n_rows
    values = draw(arrays.arrays(np.float64, (n, d), elements=st.integers(-2, 2).map(float)))
    absent = draw(arrays.arrays(bool, n))
    return np.where(absent[:, None], np.nan, values)


@st.composite
def pairs(draw):
    n = draw(N_ROWS)
    return draw(embeddings(n)), draw(embeddings(n))


def same(a, b):
    np.testing.assert_array_equal(a, b)


EXAMPLES = settings(deadline=None, max_examples=60)

# ---- search ----------------------------------------------------------------------------------------------


@EXAMPLES
@given(queries=embeddings(), items=embeddings(), k=st.integers(1, 15))
def test_search_is_that_of_a_loop(queries, items, k):
    for found, expected in zip(
        retrieval.search(queries, items, k), dull_search(queries, items, k), strict=True
    ):
        same(found, expected)


@EXAMPLES
@given(queries=embeddings(), items=embeddings(), k=st.integers(1, 15))
def test_search_in_small_pieces_finds_the_same(queries, items, k):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "SCORES_AT_ONCE", 6)
        patch.setattr(retrieval, "ITEMS_AT_ONCE", 3)
        pieces = retrieval.search(queries, items, k)
    for found, expected in zip(pieces, dull_search(queries, items, k), strict=True):
        same(found, expected)


@EXAMPLES
@given(queries=embeddings(), items=embeddings())
def test_fewer_found_are_the_first_of_more(queries, items):
    few, many = retrieval.search(queries, items, 2), retrieval.search(queries, items, 9)
    same(few[0], many[0][:, :2])
    same(few[1], many[1][:, :2])


def test_a_unit_vector_finds_itself_first():
    items = np.random.default_rng(0).normal(size=(300, 8))
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    scores, rows = retrieval.search(items, items, 3)
    same(rows[:, 0], np.arange(300))
    np.testing.assert_allclose(scores[:, 0], 1.0)


def test_faiss_finds_the_same():
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    random = np.random.default_rng(0)
    queries, items = random.normal(size=(40, 6)), random.normal(size=(200, 6))
    queries[::7], items[::5] = np.nan, np.nan
    for k in (3, 250):
        scores, rows = retrieval.search(queries, items, k)
        faiss_scores, faiss_rows = retrieval.search_faiss(queries, items, k)
        same(faiss_rows, rows)
        np.testing.assert_allclose(faiss_scores, scores, rtol=1e-5, atol=1e-5)


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"faiss-cpu.*pip install 'polymodal\[faiss\]'"):
        retrieval.search_faiss(np.ones((1, 2)), np.ones((1, 2)), 1)


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3"])
def test_k_is_a_whole_number_above_0(k):
    with pytest.raises(ConfigError, match=r"k is a whole number above 0; got .*; ask for 10"):
        retrieval.search(np.ones((1, 2)), np.ones((1, 2)), k)


def test_two_widths_are_refused():
    with pytest.raises(ConfigError, match="widths 2 and 3 came; embed both with the same model"):
        retrieval.search(np.ones((1, 2)), np.ones((1, 3)), 1)


# ---- pairs -----------------------------------------------------------------------------------------------


@EXAMPLES
@given(both=pairs(), k=st.integers(1, 12))
def test_recall_and_median_rank_are_those_of_a_loop(both, k):
    ranks = dull_ranks(*both)
    places = retrieval.partner_places(*both)
    expected_recall = np.mean([np.mean([r <= k for r in own]) for own in ranks]) if ranks else np.nan
    expected_rank = np.median([np.mean(own) for own in ranks]) if ranks else np.nan
    np.testing.assert_allclose(retrieval.recall_at(k, *places), expected_recall)
    same(retrieval.median_rank(*places), expected_rank)


@EXAMPLES
@given(both=pairs(), seed=st.integers(0, 99))
def test_the_order_of_the_rows_does_not_matter(both, seed):
    order = np.random.default_rng(seed).permutation(len(both[0]))
    before = retrieval.retrieval_report(dict(zip("ab", both, strict=True)), np.arange(len(order)) % 3)
    after = retrieval.retrieval_report(
        {name: e[order] for name, e in zip("ab", both, strict=True)}, (np.arange(len(order)) % 3)[order]
    )
    np.testing.assert_allclose(after["value"], before["value"])


def test_constant_embeddings_are_worth_chance():
    """Equal scores must not flatter: a model that embeds everything alike knows nothing."""
    report = retrieval.retrieval_report(
        {"image": np.ones((20, 3)), "text": np.ones((20, 3))}, np.zeros(20, int), method="constant"
    )
    values = report.pivot(index=["subset", "metric"], columns="method", values="value")
    np.testing.assert_allclose(values["constant"], values["chance"])
    recall = report.query("method == 'constant' and metric == 'recall_at_5'")["value"]
    np.testing.assert_allclose(recall, 0.25)


# ---- classes ---------------------------------------------------------------------------------------------


@EXAMPLES
@given(queries=embeddings(), items=embeddings(), seed=st.integers(0, 99))
def test_map_is_scikit_learns_average_precision(queries, items, seed):
    random = np.random.default_rng(seed)
    classes = random.integers(0, 3, len(queries)), random.integers(0, 3, len(items))
    expected = dull_map(queries, items, *classes)
    np.testing.assert_allclose(retrieval.mean_average_precision(queries, items, *classes), expected)


def test_map_in_small_pieces_is_the_same(monkeypatch):
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 3)), random.normal(size=(50, 3)), random.integers(0, 4, (50,))
    whole = retrieval.mean_average_precision(*rows, rows[2])
    monkeypatch.setattr(retrieval, "SCORES_AT_ONCE", 60)
    np.testing.assert_allclose(retrieval.mean_average_precision(*rows, rows[2]), whole)


@pytest.mark.parametrize(("n_relevant", "n_items"), [(1, 1), (1, 7), (3, 7), (7, 7)])
def test_chance_is_the_mean_over_random_orders(n_relevant, n_items):
    random = np.random.default_rng(0)
    relevant = np.arange(n_items) < n_relevant
    drawn = [average_precision_score(relevant, random.permutation(n_items)) for _ in range(4000)]
    expected = retrieval.chance_average_precision(np.array([n_relevant]), n_items)
    np.testing.assert_allclose(np.mean(drawn), expected[0], atol=0.01)


# ---- the report ------------------------------------------------------------------------------------------


def test_the_report_is_tidy_and_has_every_direction():
    random = np.random.default_rng(0)
    spaces = {name: random.normal(size=(30, 4)) for name in ("image", "text", "audio")}
    spaces["audio"][:10] = np.nan
    report = retrieval.retrieval_report(spaces, dataset="d", method="m", seed=3, labels=0.5)
    assert list(report.columns) == COLUMNS
    assert set(report["subset"]) == {f"{a}->{b}" for a in spaces for b in spaces if a != b}
    assert not report.duplicated(COLUMNS[:-1]).any()
    sizes = report.query("subset == 'image->audio' and method == 'm'").set_index("metric")["value"]
    assert (sizes["n_queries"], sizes["n_items"]) == (30, 20)
    assert "map" not in sizes


def test_unlabelled_rows_are_left_out_of_map_alone():
    random = np.random.default_rng(0)
    spaces = {name: random.normal(size=(30, 4)) for name in ("image", "text")}
    y = np.arange(30) % 3
    known = np.arange(30) < 20
    some = retrieval.retrieval_report(spaces, np.where(known, y, -1)).set_index(
        ["method", "subset", "metric"]
    )
    few = retrieval.retrieval_report({k: v[known] for k, v in spaces.items()}, y[known])
    few = few.set_index(["method", "subset", "metric"])
    for method in ("", "chance"):
        index = (method, "image->text", "map")
        assert some.loc[index, "value"] == pytest.approx(few.loc[index, "value"])
    assert some.loc[("", "image->text", "n_queries"), "value"] == 30


def test_aligned_pairs_are_found_at_once():
    rows = np.eye(12)
    report = retrieval.retrieval_report({"a": rows, "b": rows}, np.arange(12))
    values = report[report["method"] == ""].groupby("metric")["value"].min()
    assert values["recall_at_1"] == values["median_rank"] == values["map"] == 1.0
