"""Information divided: published values, a dull twin, properties; rows, predictions and fitted models."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from polymodal import MethodClassifier, RobultClassifier, RobultRegressor, methods
from polymodal.errors import ConfigError
from polymodal.estimators import information_table
from polymodal.estimators.information import LATENTS, modality_latents
from polymodal.information import (
    MIN_ROWS,
    PARTS,
    TOLERANCE,
    Estimate,
    Parts,
    decompose,
    from_features,
    from_predictions,
    from_states,
    groups,
    least_informative,
    mutual_information,
    states_for,
)
from polymodal.plots import COLOURS, figure, information_bars


def of(parts):
    return [getattr(parts, name) for name in PARTS]


def gate(n_first, n_second, label):
    """The joint table of y = label(a, b), a and b independent and uniform."""
    joint = np.zeros((n_first, n_second, n_first * n_second))
    for a, b in product(range(n_first), range(n_second)):
        joint[a, b, label(a, b)] = 1
    return joint


def copies():
    joint = np.zeros((2, 2, 2))
    joint[0, 0, 0] = joint[1, 1, 1] = 1
    return joint


def redundant_xor():
    """Each modality a shared bit and one of a XOR (Griffith & Koch, 2014: RdnXor)."""
    joint = np.zeros((4, 4, 4))
    for shared, a, b in product(range(2), repeat=3):
        joint[2 * shared + a, 2 * shared + b, 2 * shared + (a ^ b)] = 1
    return joint


CASES = {  # bits of redundancy, unique, unique, synergy: Bertschinger et al. (2014), table 1
    "copy": (copies(), (1, 0, 0, 0)),
    "both parts": (gate(2, 2, lambda a, b: 2 * a + b), (0, 1, 1, 0)),
    "the first": (gate(2, 2, lambda a, b: a), (0, 1, 0, 0)),
    "xor": (gate(2, 2, lambda a, b: a ^ b), (0, 0, 0, 1)),
    "and": (gate(2, 2, lambda a, b: a & b), (0.311278, 0, 0, 0.5)),
    "sum": (gate(2, 2, lambda a, b: a + b), (0.5, 0, 0, 1)),
    "copy and xor": (redundant_xor(), (1, 0, 0, 1)),
    "nothing": (np.ones((3, 2, 4)), (0, 0, 0, 0)),
}


@pytest.mark.parametrize("case", CASES)
def test_published_values(case):
    joint, expected = CASES[case]
    assert of(decompose(joint)) == pytest.approx(expected, abs=1e-5)


# ---- the convex programme --------------------------------------------------------------------------


def random_tables(n, seed=0):
    random = np.random.default_rng(seed)
    for _ in range(n):
        shape = random.integers(2, 6, size=3)
        joint = random.dirichlet(random.choice([0.05, 0.3, 2.0]) * np.ones(shape.prod())).reshape(shape)
        yield random.multinomial(200, joint.ravel()).reshape(shape) / 200 if random.random() < 0.5 else joint


def dull_least(joint, n_rounds=1500):
    """The same programme by alternating projections: q(x1, x2) scaled to the marginals of each y, summed."""
    first, second = joint.sum(axis=1), joint.sum(axis=0)
    q = first[:, None] * second[None] / np.maximum(joint.sum(axis=(0, 1)), 1e-300)
    for _ in range(n_rounds):
        ratio = q.sum(axis=2, keepdims=True)
        scaled = np.where(q > 0, ratio, 0.0)
        for _ in range(8):
            total = scaled.sum(axis=1)
            u = np.divide(first, total, out=np.zeros_like(total), where=total > 0)
            scaled = scaled * u[:, None]
            total = scaled.sum(axis=0)
            v = np.divide(second, total, out=np.zeros_like(total), where=total > 0)
            scaled = scaled * v[None]
        q = scaled
    return mutual_information(q.reshape(-1, q.shape[2]))


@pytest.mark.parametrize("seed", range(3))
def test_the_least_information_is_that_of_alternating_projections(seed):
    random = np.random.default_rng(seed)
    joint = random.dirichlet(np.ones(3 * 4 * 2)).reshape(3, 4, 2)
    q = least_informative(joint.sum(axis=1), joint.sum(axis=0))
    np.testing.assert_allclose(q.sum(axis=1), joint.sum(axis=1), atol=2 * TOLERANCE)
    np.testing.assert_allclose(q.sum(axis=0), joint.sum(axis=0), atol=2 * TOLERANCE)
    assert mutual_information(q.reshape(-1, 2)) == pytest.approx(dull_least(joint), abs=1e-4)


def test_parts_are_not_negative_and_sum_to_the_information():
    for joint in random_tables(60):
        parts = decompose(joint)
        assert min(of(parts)) > -1e-4
        assert parts.total == pytest.approx(mutual_information(joint.reshape(-1, joint.shape[2])), abs=1e-4)
        first = mutual_information(joint.sum(axis=1))
        assert parts.redundancy + parts.unique_first == pytest.approx(first, abs=1e-4)


def test_the_modalities_are_exchangeable_and_states_have_no_order():
    random = np.random.default_rng(1)
    for joint in random_tables(5, seed=1):
        parts = decompose(joint)
        swapped = decompose(joint.transpose(1, 0, 2))
        assert of(swapped) == pytest.approx(
            [parts.redundancy, parts.unique_second, parts.unique_first, parts.synergy], abs=1e-5
        )
        shuffled = joint[random.permutation(joint.shape[0])][:, :, random.permutation(joint.shape[2])]
        assert of(decompose(shuffled)) == pytest.approx(of(parts), abs=1e-5)


def test_a_modality_that_is_a_blurred_other_has_nothing_unique():
    random = np.random.default_rng(2)
    second = random.dirichlet(np.ones(12)).reshape(4, 3)  # p(x2, y)
    blur = random.dirichlet(np.ones(5), size=4)  # p(x1 | x2)
    joint = np.einsum("by,ba->aby", second, blur)
    parts = decompose(joint)
    assert parts.unique_first == pytest.approx(0.0, abs=1e-5)
    assert parts.unique_second > 0.01


def test_tables_with_specks_are_settled():
    random = np.random.default_rng(3)
    for _ in range(40):
        joint = random.dirichlet(0.01 * np.ones(5 * 6 * 4)).reshape(5, 6, 4)
        assert np.isfinite(of(decompose(joint))).all()  # masses down to 1e-100


# ---- from rows -------------------------------------------------------------------------------------


def views(case, n, n_classes=2, seed=0):
    """Features (n, 3) of two modalities, and labels."""
    random = np.random.default_rng(seed)
    y, key = random.integers(0, n_classes, (2, n))
    noise = random.normal(size=(4, n, 3))
    said = 1.2 * y[:, None]
    first, second = {
        "copy": (said + noise[0], said + noise[0]),
        "first": (said + noise[0], noise[1]),
        "nothing": (noise[0], noise[1]),
        "xor": (4 * key[:, None] + noise[0], 4 * ((y - key) % n_classes)[:, None] + noise[1]),
    }[case]
    return first, second, y


@pytest.mark.parametrize("n", [150, 2000])
@pytest.mark.parametrize(("case", "part"), [("copy", 0), ("first", 1), ("xor", 3)])
def test_features_of_a_known_kind_are_found_to_be_it(n, case, part):
    found = from_features(*views(case, n))
    values, errors = np.array(of(found.parts)), np.array(of(found.errors))
    assert values[part] > 0.3
    others = np.delete(values, part)
    assert np.abs(others).max() < max(0.03, 3 * errors.max())
    assert found.n_rows == n
    assert found.entropy == pytest.approx(1.0, abs=0.02)


def test_chance_is_taken_off():
    """Independent features of few rows: the table as it is says much, the estimate says nothing."""
    first, second, y = views("nothing", 200, n_classes=4)
    states = [groups(x, states_for(200)) for x in (first, second)]
    joint = np.zeros((10, 10, 4))
    np.add.at(joint, (*states, y), 1)
    assert decompose(joint).synergy > 0.5
    found = [of(from_features(*views("nothing", 200, 4, seed)).parts) for seed in range(6)]
    assert np.abs(np.mean(found, axis=0)).max() < 0.12


def test_few_rows_find_what_many_find():
    """Ten groups of 300 rows, three rows for each cell of the table, about some parts of a bit."""
    random = np.random.default_rng(0)
    centres = 1.6 * random.normal(size=(2, 6, 5))

    def parts(n, seed):
        random = np.random.default_rng(seed)
        y = random.integers(0, 6, n)
        first, second = (centre[y] + random.normal(size=(n, 5)) for centre in centres)
        return of(from_features(first, second, y).parts)

    few = np.mean([parts(300, seed) for seed in range(1, 4)], axis=0)
    assert few == pytest.approx(parts(6000, 0), abs=0.15)


def test_a_label_that_is_known_for_sure_keeps_all_its_bits():
    y = np.random.default_rng(0).integers(0, 4, 300)
    found = from_states(y, y, y)
    assert of(found.parts) == pytest.approx([found.entropy, 0, 0, 0], abs=1e-4)


def test_more_rows_have_smaller_errors_and_the_seed_decides():
    few, many = (from_features(*views("first", n)) for n in (150, 2000))
    assert of(many.errors)[1] < of(few.errors)[1]
    assert from_features(*views("first", 150)) == few


def test_too_few_rows_and_one_class_have_no_estimate():
    first, second, y = views("copy", MIN_ROWS - 1)
    assert np.isnan(of(from_features(first, second, y).parts)).all()
    first, second, y = views("copy", 100)
    alone = from_features(first, second, np.zeros_like(y))
    assert alone.entropy == 0.0
    assert np.isnan(of(alone.parts)).all()
    none = from_features(first[:0], second[:0], y[:0])
    assert none == Estimate(none.parts, none.errors, 0.0, 0)
    many = from_states(np.arange(40), np.arange(40), np.arange(40) % 20)  # each row a state of its own
    assert np.isnan(of(many.parts)).all()


def test_groups_grow_with_rows():
    assert states_for(0) == 2
    assert states_for(60) == 4
    assert states_for(3000) == 10
    assert groups(np.zeros((50, 2)), 5).tolist() == [0] * 50  # fewer distinct rows than groups
    assert groups(np.zeros((3, 2)), 5).tolist() == [0] * 3


# ---- from predictions ------------------------------------------------------------------------------


def posteriors(n=1500, n_classes=3, seed=0):
    """Exact probabilities from either of two Gaussian views, and from both."""
    random = np.random.default_rng(seed)
    y = random.integers(0, n_classes, n)
    centres = 1.2 * np.arange(n_classes)[None, :, None]
    logs = [
        -0.5 * np.square((1.2 * y[:, None] + random.normal(size=(n, 3)))[:, None] - centres).sum(axis=2)
        for _ in range(2)
    ]

    def normal(log):
        odds = np.exp(log - log.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    return normal(logs[0]), normal(logs[1]), normal(logs[0] + logs[1]), y


def test_predictions_of_a_known_kind():
    first, second, both, y = posteriors()
    blank = np.full_like(first, 1 / 3)
    sure = np.eye(3)[y]
    kinds = [(first, first, first), (first, blank, first), (blank, first, first), (blank, blank, sure)]
    for part, said in enumerate(kinds):
        values = of(from_predictions(*said).parts)
        assert values[part] > 0.8
        assert np.delete(values, part) == pytest.approx(0.0, abs=0.02)
    exact = from_predictions(first, second, both)
    assert exact.parts.redundancy > 0.5
    assert exact.parts.synergy > 0.1
    assert max(of(exact.errors)) < 0.05


def test_a_fusion_that_knows_less_than_its_branches_has_negative_synergy():
    first, second, _, _ = posteriors()
    assert from_predictions(first, second, (first + second) / 2).parts.synergy < -0.1


def test_predictions_and_features_agree_where_the_model_is_right():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 4000)
    x = [1.2 * y + random.normal(size=4000) for _ in range(2)]
    odds = [1.2 * a - 0.72 for a in x]
    said = [np.column_stack([1 / (1 + np.exp(o)), 1 / (1 + np.exp(-o))]) for o in (*odds, sum(odds))]
    believed = from_predictions(*said)
    seen = from_features(x[0][:, None], x[1][:, None], y)
    assert of(believed.parts) == pytest.approx(of(seen.parts), abs=0.04)


def test_few_predictions_and_classes_that_nobody_believes_in():
    first, second, both, _ = posteriors(MIN_ROWS - 1)
    assert np.isnan(of(from_predictions(first, second, both).parts)).all()
    said = [np.column_stack([p, np.zeros(len(p))]) for p in posteriors(200)[:3]]
    assert np.isfinite(of(from_predictions(*said).parts)).all()


# ---- of fitted models ------------------------------------------------------------------------------

QUICK = {"max_epochs": 3, "random_state": 0, "device": "cpu", "floors": False}


def rows(n=600, seed=0):
    """a and b are noisy copies of one view of the class, c is noise; b is absent in a third of the rows."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    a = 1.5 * y[:, None] + random.normal(size=(n, 4))
    X = {"a": a, "b": a + 0.1 * random.normal(size=(n, 4)), "c": random.normal(size=(n, 3))}
    X["b"][::3] = np.nan
    return X, y


@pytest.fixture(scope="module")
def model():
    X, y = rows()
    return RobultClassifier(**QUICK).fit(X, y)


@pytest.mark.parametrize("source", ["features", "latents", "predictions"])
def test_every_pair_of_a_model(model, source):
    X, y = rows(seed=1)
    y[:60] = -1
    table = information_table(model, X, y, source=source).set_index(["first", "second"])
    assert list(table.index) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert set(table["source"]) == {source}
    assert table["n_rows"].tolist() == [360, 540, 360]
    copies, alone = table.loc[("a", "b")], table.loc[("a", "c")]
    assert copies["redundancy"] > 3 * max(abs(copies["unique_first"]), abs(copies["unique_second"]))
    assert alone["unique_first"] > 4 * max(abs(alone["redundancy"]), abs(alone["unique_second"]))
    assert (table[[f"{part}_error" for part in PARTS]] < 0.2).all(axis=None)


def test_the_same_seed_gives_the_same_table(model):
    X, y = rows(seed=1)
    pd.testing.assert_frame_equal(information_table(model, X, y), information_table(model, X, y))


def test_calibrated_models_are_read_calibrated(model):
    X, y = rows(900, seed=2)
    held, new = ({name: x[part] for name, x in X.items()} for part in (slice(0, 300), slice(300, 900)))
    trusted = RobultClassifier(**QUICK).fit(*rows()).calibrate(held, y[:300])
    raw, known = (information_table(m, new, y[300:], source="predictions") for m in (model, trusted))
    assert not np.allclose(raw["redundancy"], known["redundancy"], atol=1e-3)


def test_label_sets_have_a_line_for_each_label(model):
    X, y = rows(300)
    sets = np.stack([y == 0, y >= 1], axis=1).astype(float)
    sets[5, 1] = np.nan
    fitted = RobultClassifier(**QUICK | {"max_epochs": 1}).fit(X, pd.DataFrame(sets, columns=["low", "high"]))
    for source in ("features", "predictions"):
        table = information_table(fitted, X, sets, source=source)
        assert table["target"].tolist() == ["low", "high"] * 3
        assert (table["entropy"] <= 1.0).all()


def test_values_are_read_in_bins():
    X, y = rows(400)
    values = 10.0 * y + np.random.default_rng(0).normal(size=400)
    fitted = RobultRegressor(**QUICK | {"max_epochs": 1}).fit(X, values)
    table = information_table(fitted, X, values)
    assert table["entropy"].tolist() == pytest.approx([np.log2(5)] * 3, abs=0.02)
    assert table["redundancy"][0] > 0.5
    with pytest.raises(ConfigError, match="a regressor predicts values; take source='features'"):
        information_table(fitted, X, values, source="predictions")


def test_sources_are_named(model):
    with pytest.raises(ConfigError, match="source is one of features, latents, predictions; got 'dreams'"):
        information_table(model, *rows(), source="dreams")


def test_a_method_whose_latents_are_not_known_says_so(model, monkeypatch):
    monkeypatch.setattr(model, "_method_name", lambda: "tomorrow")
    with pytest.raises(ConfigError, match="this model is of tomorrow; take source='features'"):
        information_table(model, *rows(), source="latents")


@pytest.mark.parametrize("method", LATENTS)
def test_latents_are_of_one_modality_alone(method):
    """What one modality's latent is does not depend on another one being there."""
    X, y = rows(60)
    epochs = {} if methods.get(method).learns_alone else {"max_epochs": 1}
    fitted = MethodClassifier(method, floors=False, device="cpu", random_state=0, **epochs).fit(X, y)
    without = X | {"b": np.full_like(X["b"], np.nan)}
    whole, alone = modality_latents(fitted, X), modality_latents(fitted, without)
    assert whole["a"][0].ndim == 2
    np.testing.assert_allclose(whole["a"][0], alone["a"][0], rtol=1e-4, atol=1e-5)


# ---- the plot --------------------------------------------------------------------------------------


def test_bars_are_the_parts_of_the_table(model):
    table = information_table(model, *rows(seed=1))
    table.loc[0, "synergy"] = -0.1
    _, ax = figure()
    information_bars(table, ax)
    drawn_in = {colour.lower(): [] for colour in COLOURS[:4]}
    for bar in ax.patches:
        drawn_in[to_hex(bar.get_facecolor())].append(bar.get_width())
    for part, drawn in zip(PARTS, drawn_in.values(), strict=True):
        assert drawn == pytest.approx(table[part].tolist())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a + b", "a + c", "b + c"]


def test_bars_of_nothing_known():
    table = pd.DataFrame([{"first": "a", "second": "b", "entropy": np.nan}])
    for part in PARTS:
        table[part] = table[f"{part}_error"] = np.nan
    _, ax = figure()
    assert information_bars(table, ax) is ax


def test_parts_know_their_total():
    assert Parts(0.1, 0.2, 0.3, 0.4).total == pytest.approx(1.0)
