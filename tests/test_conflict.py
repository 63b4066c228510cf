"""Swapped modalities: another class's cells, each once, drawn by the seed."""

import numpy as np
import pandas as pd
import pytest

from polymodal.data.conflict import donors, swapped
from polymodal.errors import ConfigError, DataError


def labels(n=300, n_classes=4, seed=0):
    return np.random.default_rng(seed).integers(0, n_classes, n)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("n_classes", [3, 10])
def test_a_donor_is_of_another_class_and_gives_once(share, n_classes):
    y = labels(120, n_classes)
    source = donors(y, share, 0)
    moved = source != np.arange(len(y))
    assert moved.sum() == round(share * len(y))
    assert (y[source[moved]] != y[moved]).all()
    assert sorted(source) == list(range(len(y)))


def test_classes_at_the_limit_can_still_be_swapped():
    y = np.array([0] * 10 + [1] * 6 + [2] * 4)  # one class has exactly half
    source = donors(y, 1.0, 1)
    assert (y[source] != y).all()
    assert sorted(source) == list(range(20))


def test_a_draw_is_a_function_of_its_seed_and_nested_over_shares():
    y = labels()
    assert np.array_equal(donors(y, 0.3, 5), donors(y, 0.3, 5))
    assert not np.array_equal(donors(y, 0.3, 5), donors(y, 0.3, 6))
    few, many = (set(np.flatnonzero(donors(y, share, 5) != np.arange(len(y)))) for share in (0.1, 0.3))
    assert few < many


def test_the_donors_class_is_left_to_chance():
    y = np.repeat(np.arange(4), 250)
    source = donors(y, 1.0, 0)
    for own in range(4):
        shares = np.bincount(y[source[y == own]], minlength=4) / 250
        assert shares[own] == 0
        np.testing.assert_allclose(np.delete(shares, own), 1 / 3, atol=0.1)


def test_nothing_is_swapped_without_a_share_or_a_second_row():
    assert np.array_equal(donors(labels(), 0.0, 0), np.arange(300))
    assert np.array_equal(donors(np.array([0, 1, 2]), 0.3, 0), np.arange(3))


def test_what_cannot_be_swapped_is_refused():
    with pytest.raises(DataError, match="9 of 10 rows are of one class; swap"):
        donors(np.array([0] * 9 + [1]), 1.0, 0)
    with pytest.raises(ConfigError, match=r"within \[0, 1\]; 1.5 came"):
        donors(labels(), 1.5, 0)
    with pytest.raises(ConfigError, match="'c' came; name one"):
        swapped({"a": np.zeros((3, 1))}, "c", np.arange(3))


def test_one_modality_moves_whatever_its_cells_are_and_the_input_stays():
    X = {
        "array": np.array([[0.0], [1.0], [np.nan]]),
        "frame": pd.DataFrame({"v": [0.0, 1.0, np.nan]}),
        "list": ["a", "b", None],
    }
    source = np.array([2, 0, 1])
    np.testing.assert_array_equal(swapped(X, "array", source)["array"][:, 0], [np.nan, 0.0, 1.0])
    np.testing.assert_array_equal(swapped(X, "frame", source)["frame"]["v"], [np.nan, 0.0, 1.0])
    moved = swapped(X, "list", source)
    assert moved["list"] == [None, "a", "b"]
    assert moved["array"] is X["array"]
    assert X["list"] == ["a", "b", None]
