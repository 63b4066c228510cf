"""Missing regimes: rates, one mechanism for training and test, what absence depends on."""

import numpy as np
import pytest

from polymodal.data import regimes
from polymodal.errors import ConfigError

NAMES = ("a", "b", "c", "d")


def labels(n=4000, n_classes=4):
    return np.random.default_rng(0).integers(0, n_classes, n)


def drawn(regime, y=None, kind="multiclass", names=NAMES, seed=0):
    y = labels() if y is None else y
    half = len(y) // 2
    return regimes.masks(regime, names, y[:half], y[half:], kind, seed)


@pytest.mark.parametrize("regime", regimes.REGIMES)
def test_every_regime_leaves_each_row_a_place_and_is_a_function_of_its_seed(regime):
    train, test = drawn(regime)
    assert train.mask.any(axis=1).all()
    assert test.mask.any(axis=1).all()
    assert (len(train), len(test)) == (2000, 2000)
    assert [m.sha256 for m in drawn(regime)] == [train.sha256, test.sha256]
    other = [m.sha256 for m in drawn(regime, seed=1)]
    assert (other == [train.sha256, test.sha256]) == (regime == "complete")
    assert train.recipe["part"] == "train"


@pytest.mark.parametrize(
    ("regime", "names", "rate"),
    [
        ("complete", NAMES, 0.0),
        ("random_30", NAMES, 0.3),
        ("random_50", NAMES[:2], 0.5),
        ("random_70", NAMES, 0.7),
        ("random_70", NAMES[:3], 2 / 3),  # a row keeps one of three
        ("random_70", NAMES[:2], 0.5),
        ("imbalanced", NAMES, 0.5),
        ("imbalanced", NAMES[:2], 0.5),
        ("not_at_random", NAMES, 0.375),
        ("not_at_random", NAMES[:2], 0.25),
    ],
)
def test_the_mean_rate_is_the_one_asked_for_in_both_parts(regime, names, rate):
    for mask in drawn(regime, names=names):
        assert 1 - mask.mask.mean() == pytest.approx(rate, abs=0.03)


def test_imbalanced_is_so_by_modality_and_alike_in_both_parts():
    train, test = (np.array(list(m.rates().values())) for m in drawn("imbalanced"))
    np.testing.assert_allclose(np.sort(train), np.linspace(0.1, 0.9, 4), atol=0.04)
    np.testing.assert_allclose(train, test, atol=0.06)


def test_not_at_random_tells_the_class_in_the_same_way_in_both_parts():
    y = labels()
    train, test = drawn("not_at_random", y)
    by_class = [
        np.stack([part.mask[own == c].mean(axis=0) for c in range(4)])
        for part, own in zip((train, test), (y[:2000], y[2000:]), strict=True)
    ]
    assert np.ptp(by_class[0], axis=0).min() > 0.5
    np.testing.assert_allclose(*by_class, atol=0.1)


def test_not_at_random_follows_the_value_of_a_regression():
    y = np.random.default_rng(1).normal(size=4000)
    y[:5] = np.nan  # unlabelled rows have the mean rate
    train, _ = drawn("not_at_random", y, kind="regression")
    high = y[:2000] > np.nanmedian(y)
    assert train.mask[high].mean() < train.mask[~high].mean() - 0.2


def test_absence_among_label_sets_depends_on_the_label_nearest_to_half():
    y = np.array([[1, 1, 0], [1, 0, 0], [1, np.nan, 0], [0, 0, 1]])
    assert np.array_equal(regimes.cause(y), y[:, 1], equal_nan=True)
    sets = (np.random.default_rng(2).random((4000, 3)) < [0.1, 0.5, 0.9]).astype(float)
    train, _ = drawn("not_at_random", sets, kind="multilabel")
    shares = [train.mask[sets[:2000, 1] == value].mean(axis=0) for value in (0, 1)]
    assert np.abs(shares[0] - shares[1]).min() > 0.5


def test_a_regime_that_repeats_another_is_left_out():
    assert regimes.distinct(regimes.REGIMES, 4) == list(regimes.REGIMES)
    assert regimes.distinct(("random_50", "random_70", "complete"), 2) == ["random_50", "complete"]
    assert regimes.distinct(("random_50", "random_70"), 3) == ["random_50", "random_70"]


def test_an_unknown_regime_is_refused():
    with pytest.raises(ConfigError, match=r"'random_5' came; did you mean 'random_50'"):
        drawn("random_5")
