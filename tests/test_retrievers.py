"""Every retriever through the public door: fit, embed, search, report, save."""

import numpy as np
import pandas as pd
import pytest

import polymodal
from polymodal import MultimodalRetriever, PgMRetriever, Vector
from polymodal.errors import ConfigError, DataError, LabelError


def pairs(n=240, seed=0):
    """Two modalities that share two hidden numbers, one of which shows the class."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(2, 6)), random.normal(size=(2, 4))
    random = np.random.default_rng(seed + 1)
    hidden = random.normal(size=(n, 2))
    y = np.array(["low", "middle", "high"])[(hidden[:, 0] > 0).astype(int) + (hidden[:, 0] > 1)]
    a, b = (hidden @ m + 0.3 * random.normal(size=(n, m.shape[1])) for m in mixing)
    return {"image": a, "text": b}, y


SMALL_PGM = {
    "d_latent": 16,
    "d_embed": 6,
    "chunk": 4,
    "d_token": 8,
    "d_decoder": 8,
    "max_epochs": 12,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "dropout": 0.0,
    "input_dropout": 0.0,
}
BUILT = {
    "pgm": lambda modalities=None: PgMRetriever(modalities, random_state=0, **SMALL_PGM),
    "matching": lambda modalities=None: MultimodalRetriever(modalities, random_state=0),
}


@pytest.fixture(scope="module", params=list(BUILT))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(name):
    return BUILT[name]().fit(*pairs())


@pytest.fixture(scope="module")
def without_classes(name):
    return BUILT[name]().fit(pairs()[0])


def value(report, metric):
    return report[report["metric"] == metric].set_index(["method", "subset"])["value"]


@pytest.mark.parametrize("with_classes", [True, False])
def test_it_beats_chance_by_far_in_both_directions(with_classes, name, fitted, without_classes):
    model = fitted if with_classes else without_classes
    X, y = pairs(120, seed=1)
    report = model.report(X, y, dataset="toy", seed=3)
    ranks, maps = value(report, "median_rank"), value(report, "map")
    for direction in ("image->text", "text->image"):
        assert ranks[name, direction] < ranks["chance", direction] / 2
        if with_classes:
            assert maps[name, direction] > maps["chance", direction] + 0.2
    assert set(report["labels"]) == {1.0 if with_classes else 0.0}


def test_search_finds_what_the_embeddings_say(fitted):
    X, _ = pairs(50, seed=1)
    query = {"text": pairs(7, seed=2)[0]["text"]}
    scores, rows = fitted.index(X).search(query, 5, find="image")
    cosines = fitted.embed(query, "text") @ fitted.embed(X, "image").T
    np.testing.assert_array_equal(rows, np.argsort(-cosines, axis=1)[:, :5])
    np.testing.assert_allclose(scores, np.take_along_axis(cosines, rows, 1), rtol=1e-6)
    back, _ = fitted.search({"image": X["image"][:3]}, find="text")
    assert back.shape == (3, 10)


def test_absent_rows_are_not_found_and_find_nothing(fitted):
    X, _ = pairs(30, seed=1)
    X["image"][::2] = np.nan
    query = {"text": np.where(np.arange(4)[:, None] == 1, np.nan, X["text"][:4])}
    scores, rows = fitted.index(X).search(query, 20, find="image")
    assert set(rows[0]) == {-1, *range(1, 30, 2)}
    assert (rows[1] == -1).all()
    assert np.isnan(scores[1]).all()


def test_faiss_finds_the_same(fitted):
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    X, _ = pairs(50, seed=1)
    fitted.index(X)
    exact = fitted.search({"text": X["text"][:6]}, 5, find="image")
    faiss = fitted.search({"text": X["text"][:6]}, 5, find="image", engine="faiss")
    np.testing.assert_array_equal(faiss[1], exact[1])
    np.testing.assert_allclose(faiss[0], exact[0], rtol=1e-4)


def test_an_embedding_reads_one_modality_alone(fitted):
    X, _ = pairs(20, seed=1)
    one = fitted.embed({"text": X["text"]}, "text")
    two = fitted.embed({"text": X["text"], "image": X["image"][::-1]}, "text")
    np.testing.assert_array_equal(one, two)


def test_the_same_seed_gives_the_same_space(name, without_classes):
    X, _ = pairs(20, seed=1)
    again = BUILT[name]().fit(pairs()[0])
    np.testing.assert_array_equal(again.embed(X, "text"), without_classes.embed(X, "text"))


def test_rows_with_holes_and_few_labels(name):
    X, y = pairs()
    X["image"][::4], X["text"][1::4] = np.nan, np.nan
    few = np.where(np.arange(240) % 3 == 0, y, None)
    model = BUILT[name]().fit(X, few)
    assert model.labelled_fraction_ == pytest.approx(1 / 3, abs=1e-3)
    assert list(model.classes_) == ["high", "low", "middle"]
    ranks = value(model.report(*pairs(100, seed=1)), "median_rank")
    assert ranks[name, "image->text"] < ranks["chance", "image->text"] / 2


def test_a_data_frame_with_declared_modalities(name):
    X, _ = pairs()
    frame = pd.DataFrame(np.column_stack([X["image"], X["text"]]), columns=[*"pqrstu", *"wxyz"])
    model = BUILT[name]({"image": Vector([*"pqrstu"]), "text": Vector([*"wxyz"])}).fit(frame)
    _, rows = model.index(frame).search(frame[[*"wxyz"]], 3, find="image")
    assert rows.shape == (240, 3)


def test_a_saved_retriever_embeds_alike(fitted, tmp_path):
    X, _ = pairs(20, seed=1)
    fitted.save(tmp_path / "model")
    again = polymodal.load(tmp_path / "model")
    assert type(again) is type(fitted)
    assert again.get_params() == fitted.get_params()
    np.testing.assert_array_equal(again.embed(X, "image"), fitted.embed(X, "image"))
    np.testing.assert_array_equal(again.classes_, fitted.classes_)
    with pytest.raises(
        ConfigError, match=r"a search needs a collection; none is there; call index\(X\) first"
    ):
        again.search({"text": X["text"]}, find="image")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"find": "sound"}, "a modality is one of image, text; 'sound' came"),
        ({"find": "image", "k": 0}, "k is a whole number above 0; got 0"),
        ({"find": "image", "engine": "annoy"}, "engine is exact or faiss; got 'annoy'; take exact"),
    ],
)
def test_a_search_out_of_range_is_refused(fitted, arguments, words):
    X, _ = pairs(10, seed=1)
    with pytest.raises(ConfigError, match=words):
        fitted.index(X).search({"text": X["text"]}, **arguments)


def test_a_query_is_of_one_modality(fitted):
    X, _ = pairs(10, seed=1)
    fitted.index(X)
    with pytest.raises(
        ConfigError, match="a query is of one modality; image and text came; pass one of them"
    ):
        fitted.search(X, find="image")
    with pytest.raises(ConfigError, match="a query is of one modality; none came"):
        fitted.search({"text": np.full((2, 4), np.nan)}, find="image")


def test_one_modality_and_no_pairs_are_refused(name):
    X, y = pairs()
    with pytest.raises(DataError, match="retrieval is from one modality to another; only 'text' came"):
        BUILT[name]().fit({"text": X["text"]}, y)
    X["image"][::2], X["text"][1::2] = np.nan, np.nan
    with pytest.raises(DataError, match="rows that have two modalities; none of 240 rows has"):
        BUILT[name]().fit(X, y)


def test_labels_that_are_none_are_refused(name):
    X, _ = pairs()
    with pytest.raises(LabelError, match="labelled"):
        BUILT[name]().fit(X, np.full(240, -1))


def test_groups_are_one_name_a_row(name):
    X, y = pairs()
    with pytest.raises(DataError, match=r"groups needs one value a row, \(240,\); shape \(4,\) came"):
        BUILT[name]().fit(X, y, groups=np.zeros(4))


def test_another_fit_forgets_the_collection_of_the_one_before(name):
    X, _ = pairs(60)
    model = BUILT[name]().fit(X).index(X)
    model.fit({"image": X["image"][:, :3], "text": X["text"]})
    with pytest.raises(ConfigError, match="none is there; call index"):
        model.search({"text": X["text"]}, find="image")


def test_one_without_classes_is_saved_too(without_classes, tmp_path):
    X, _ = pairs()
    without_classes.save(tmp_path / "model")
    again = polymodal.load(tmp_path / "model")
    np.testing.assert_array_equal(again.embed(X, "text"), without_classes.embed(X, "text"))
