"""The made-up data set beside Bayes' rule written out, and what can and cannot be told from its parts."""

from itertools import combinations, product

import numpy as np
import pytest

from polymodal.data import synthetic
from polymodal.data.readers import load
from polymodal.data.synthetic import NOISE, SIGNS, best_accuracy, synergy, wave
from polymodal.schema import Series, Vector

SUBSETS = [subset for size in (0, 1, 2, 3) for subset in combinations(SIGNS, size)]
HIDDEN = list(product((0, 1), repeat=4))
"""Shared, own and crossed bit, and the sign in left: all that a row is made of, each way equally likely."""


def signs_of(shared, own, crossed, first):
    return {"left": (shared, first), "right": (shared, first ^ crossed), "side": (own,)}


def bayes_accuracy(seen, y, modalities):
    """Share of rows that Bayes' rule gets right from the signs' numbers, summed over all that is hidden."""
    posterior = np.zeros((len(y), 8))
    for hidden in HIDDEN:
        signs = signs_of(*hidden)
        distance = sum(((seen[m] - (2 * np.array(signs[m]) - 1)) ** 2).sum(axis=1) for m in modalities)
        shared, own, crossed, _ = hidden
        posterior[:, 4 * shared + 2 * own + crossed] += np.exp(-np.asarray(distance) / (2 * NOISE**2))
    ties = np.random.default_rng(0).random(posterior.shape) * 1e-12  # a bit that nothing tells is guessed
    return (posterior * (1 + ties)).argmax(axis=1) == y


@pytest.mark.parametrize("modalities", SUBSETS, ids="+".join)
def test_the_best_accuracy_is_that_of_bayes_rule(modalities):
    random, n = np.random.default_rng(1), 40_000
    shared, own, crossed, first = random.integers(0, 2, (4, n))
    signs = signs_of(shared, own, crossed, first)
    seen = {
        m: 2.0 * np.stack(bits, 1) - 1 + NOISE * random.normal(size=(n, len(bits)))
        for m, bits in signs.items()
    }
    right = bayes_accuracy(seen, 4 * shared + 2 * own + crossed, modalities).mean()
    assert right == pytest.approx(best_accuracy(modalities), abs=0.01)


@pytest.mark.parametrize("sequences", [False, True])
def test_rows_are_made_so_that_bayes_rule_reaches_it(sequences, monkeypatch):
    axes, turn = [], np.linalg.qr
    monkeypatch.setattr(np.linalg, "qr", lambda x: axes.append(turn(x)[0]) or turn(x))
    X, y = synergy(sequences=sequences)
    pattern = wave()
    seen = {}
    for m, (name, n_signs) in enumerate(SIGNS.items()):
        read = np.einsum("ntd,t->nd", X[name], pattern) if sequences else X[name] @ axes[m]
        seen[name] = read[:, :n_signs]
    for modalities in SUBSETS[1:]:
        right = bayes_accuracy(seen, y, modalities).mean()
        assert right == pytest.approx(best_accuracy(modalities), abs=0.03)


def test_a_pattern_read_backwards_is_the_other_sign():
    np.testing.assert_allclose(wave()[::-1], -wave(), atol=1e-12)
    assert np.linalg.norm(wave()) == pytest.approx(1)


def test_the_crossed_bit_is_in_no_modality_alone():
    X, y = synergy(sequences=False)
    crossed = 2 * (y & 1) - 1.0
    for values in X.values():
        correlation = crossed @ (values - values.mean(0)) / (len(y) * values.std(0))
        assert np.abs(correlation).max() < 0.08


def test_what_is_read_is_what_was_drawn_and_says_its_best():
    for variant, kind in (("vectors", Vector), ("sequences", Series)):
        data, (X, y) = load("synthetic_synergy", variant=variant), synergy(sequences=variant == "sequences")
        assert {type(own) for own in data.modalities.values()} == {kind}
        assert all(np.array_equal(data.X[name], X[name]) for name in X)
        assert np.array_equal(data.y, y)
        assert f"{best_accuracy(X):.3f} on all three" in data.notes
    other, _ = synergy(sequences=False, seed=1)
    assert not np.array_equal(other["left"], load("synthetic_synergy").X["left"])
    assert X["side"].shape == (synthetic.N_ROWS, synthetic.N_STEPS, synthetic.N_CHANNELS)
