"""A made-up data set whose best possible accuracy is known, for every combination of modalities.

A class is three fair bits. The *shared* bit is told by ``left`` and by ``right`` (redundant), the *own* bit
by ``side`` alone (unique), and the *crossed* bit is whether two signs differ, one in ``left``, one in
``right``: neither tells anything of it without the other (synergy). A sign lies along one pattern of its
modality, beside noise along all others; what is known of it is one number, sign + NOISE times a standard
normal, so that Bayes' rule is arithmetic.

In the vectors a pattern is a direction among 20 columns, and other directions hold twice as much spread that
tells nothing. In the sequences it is one period of a sine in one of four columns: turned round in time it is
the other sign, so that a column's statistics tell nothing and its order does.

Letters: n rows, T steps, D width.
"""

from __future__ import annotations

from collections.abc import Collection
from math import erf, sqrt

import numpy as np

N_ROWS = 3000
NOISE = 0.6
"""Standard deviation of the noise beside a sign of size 1."""
SIGNS = {"left": 2, "right": 2, "side": 1}
"""How many signs lie in each modality: first the one that tells a bit alone."""
WIDTH, N_NUISANCES, NUISANCE = 20, 4, 2.0
"""Of the vectors: columns, directions of larger spread that tell nothing, and that spread."""
N_STEPS, N_CHANNELS = 24, 4


def synergy(*, sequences: bool, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Draw the rows.

    Args:
        sequences: (n, T, D) sequences instead of (n, D) vectors.
        seed: of all draws.

    Returns:
        Modality -> values, float32; and (n,) int64 classes: 4 shared + 2 own + crossed.
    """
    random = np.random.default_rng([seed, sequences])
    shared, own, crossed, first = random.integers(0, 2, (4, N_ROWS))
    signs = {"left": (shared, first), "right": (shared, first ^ crossed), "side": (own,)}
    embed = _sequences if sequences else _vectors
    X = {name: embed(2.0 * np.stack(bits, axis=1) - 1, random) for name, bits in signs.items()}
    return X, (4 * shared + 2 * own + crossed).astype(np.int64)


def _vectors(signs: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(n, signs) to (n, D): along orthogonal directions drawn at random."""
    n, n_signs = signs.shape
    along = NOISE * random.normal(size=(n, WIDTH))
    along[:, :n_signs] += signs
    along[:, n_signs : n_signs + N_NUISANCES] += NUISANCE * random.normal(size=(n, N_NUISANCES))
    axes, _ = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))
    return (along @ axes.T).astype(np.float32)


def _sequences(signs: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(n, signs) to (n, T, D): each sign in a column of its own."""
    n, n_signs = signs.shape
    value = NOISE * random.normal(size=(n, N_STEPS, N_CHANNELS))
    value[:, :, :n_signs] += signs[:, None, :] * wave()[None, :, None]
    return value.astype(np.float32)


def wave() -> np.ndarray:
    """(T,) the pattern of a sign in a sequence, of norm 1: 0 at both ends, the other sign read backwards."""
    period = np.sin(2 * np.pi * np.arange(N_STEPS) / (N_STEPS - 1))
    return period / np.linalg.norm(period)


def best_accuracy(modalities: Collection[str]) -> float:
    """The accuracy of Bayes' rule that sees these modalities.

    The bits are independent given what is seen, so that the best guess of the class is the best guess of each
    bit. A sign is guessed rightly by its number's own sign; the shared bit by the sum of its two; the crossed
    bit rightly if both of its signs are right or both are wrong.
    """
    right = _normal(1 / NOISE)
    n_shared = len({"left", "right"} & set(modalities))
    shared = _normal(sqrt(n_shared) / NOISE)
    own = right if "side" in modalities else 0.5
    crossed = right**2 + (1 - right) ** 2 if n_shared == 2 else 0.5
    return shared * own * crossed


def _normal(x: float) -> float:
    """Distribution function of a standard normal."""
    return (1 + erf(x / sqrt(2))) / 2
