"""Attribution: how much of a figure, or of one row's prediction, each modality accounts for.

Read from the top: Shapley values of any game, exact or sampled; those of each row's prediction; those of a
metric, with standard errors.

A game gives each combination S of modalities a value v(S). The Shapley value of modality m (Shapley, 1953) is
what it adds to v when the modalities come one after another, averaged over all orders:

    phi_m = sum over S without m of |S|! (M - |S| - 1)! / M!  (v(S + m) - v(S))

The values of all modalities sum to v(all) - v(none). A value here is a number or an array of them: every
entry is a game of its own. No model is trained again: v(S) is what the fitted model predicts from S.

Letters: n rows, M modalities, C outputs, R bootstrap samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from polymodal.evaluation import FusedBranches, Predict, Subset
from polymodal.metrics import Metric, evaluate

if TYPE_CHECKING:
    from polymodal.batch import TaskKind

Game = Callable[[Subset], np.ndarray]

MAX_EXACT = 12
"""Modalities up to which all 2^M combinations are asked for."""
N_ORDERS = 50
"""Orders that are drawn above; each is walked from both ends."""
N_BOOTSTRAP = 50
"""Samples behind a standard error, which is then itself known to 10 %."""
MAX_BOOTSTRAP_ROWS = 2000
"""Rows of a bootstrap sample at most; the standard error is scaled to all rows."""


# ---- any game ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attribution:
    """What each modality accounts for.

    Attributes:
        values: Shapley values; one axis is M.
        errors: their standard errors, of the same shape; 0 where they are exact.
    """

    values: np.ndarray
    errors: np.ndarray


def shapley(
    game: Game, names: Sequence[str], *, max_exact: int = MAX_EXACT, n_orders: int = N_ORDERS, seed: int = 0
) -> Attribution:
    """Shapley values of a game: exact for up to ``max_exact`` modalities, else from sampled orders.

    Args:
        game: from a subset, names in schema order, to an array of any shape; ``()`` is the empty subset.
        names: the modalities, in schema order.
        max_exact: modalities up to which each of the 2^M subsets is asked for once.
        n_orders: orders to sample above; each costs 2 (M - 1) subsets.
        seed: of the orders.

    Returns:
        Values and errors (M, ...), the game's shape behind.
    """
    if len(names) <= max_exact:
        values = _exact(game, names)
        return Attribution(values, np.zeros_like(values))
    return _sampled(game, names, n_orders, seed)


def _exact(game: Game, names: Sequence[str]) -> np.ndarray:
    """(M, ...): each subset is asked for once and none is kept."""
    n = len(names)
    without = np.zeros(np.shape(game(())))
    values = np.zeros((n, *without.shape))
    for size in range(n + 1):
        leaving = 1.0 / (n * comb(n - 1, size)) if size < n else 0.0
        coming = 1.0 / (n * comb(n - 1, size - 1)) if size else 0.0
        for members in combinations(range(n), size):
            value = np.asarray(game(tuple(names[m] for m in members)), dtype=np.float64)
            without += leaving * value
            for m in members:
                values[m] += (coming + leaving) * value
    return values - without


def _sampled(game: Game, names: Sequence[str], n_orders: int, seed: int) -> Attribution:
    """Castro et al. (2009); an order and its reverse are one sample, for what they have in common cancels."""
    random = np.random.default_rng(seed)
    ends = tuple(np.asarray(game(subset), dtype=np.float64) for subset in ((), tuple(names)))
    total = np.zeros((len(names), *ends[0].shape))
    squares = np.zeros_like(total)
    for _ in range(n_orders):
        order = random.permutation(len(names))
        sample = np.zeros_like(total)
        for walked in (order, order[::-1]):
            for m, gain in _walk(game, names, walked, ends):
                sample[m] += 0.5 * gain
        total += sample
        squares += np.square(sample)
    mean = total / n_orders
    spread = np.maximum(squares / n_orders - np.square(mean), 0.0)
    return Attribution(mean, np.sqrt(spread / (n_orders - 1)))


def _walk(
    game: Game, names: Sequence[str], order: np.ndarray, ends: tuple[np.ndarray, ...]
) -> Iterator[tuple[int, np.ndarray]]:
    """What each modality of an order adds to those before it."""
    before = ends[0]
    for count, m in enumerate(order, start=1):
        come = set(order[:count].tolist())
        subset = tuple(name for i, name in enumerate(names) if i in come)
        after = ends[1] if count == len(names) else np.asarray(game(subset), dtype=np.float64)
        yield int(m), after - before
        before = after


# ---- the prediction of each row ------------------------------------------------------------------


def shapley_of_rows(
    predict: Predict,
    presence: np.ndarray,
    names: Sequence[str],
    *,
    max_exact: int = MAX_EXACT,
    n_orders: int = N_ORDERS,
    seed: int = 0,
) -> Attribution:
    """What each modality contributes to each row's prediction.

    A row's game is over the modalities that it has; an absent one contributes exactly 0. The contributions of
    a row sum to its prediction from all that it has, less the prediction of a row that has nothing. A late
    fusion needs its branches alone, whatever M.

    Args:
        predict: from a subset to (n, C) predictions made of at most these modalities; the training prior
            where a row has none of them.
        presence: (n, M) bool.
        names: the modalities, in schema order.
        max_exact: as for :func:`shapley`.
        n_orders: as for :func:`shapley`.
        seed: as for :func:`shapley`.

    Returns:
        Values and errors (n, M, C).
    """
    if isinstance(predict, FusedBranches):
        values = shapley_of_means(predict)
        return Attribution(values, np.zeros_like(values))
    found = shapley(predict, names, max_exact=max_exact, n_orders=n_orders, seed=seed)
    there = presence[:, :, None]
    return Attribution(
        np.where(there, np.moveaxis(found.values, 0, 1), 0.0),
        np.where(there, np.moveaxis(found.errors, 0, 1), 0.0),
    )


def shapley_of_means(fused: FusedBranches) -> np.ndarray:
    """(n, M, C) of a late fusion in closed form.

    Over the subsets of size s >= 1 of the other p - 1 present branches the mean of the subset's mean is their
    mean o, and branch b joining moves the fused prediction by (b - o) / (s + 1). With the prior for s = 0,

        phi = (b - prior) / p + (b - o) / p * (1/2 + 1/3 + ... + 1/p)
    """
    branches = np.moveaxis(fused.branches.astype(np.float64), 0, 1)
    there = fused.presence[:, :, None]
    count = there.sum(axis=1, keepdims=True)
    others = (branches.sum(axis=1, keepdims=True) - branches) / np.maximum(count - 1, 1)
    harmonic = np.concatenate([[0.0, 0.0], np.cumsum(1.0 / np.arange(2, len(fused.names) + 2))])[count]
    values = (branches - fused.prior + harmonic * (branches - others)) / np.maximum(count, 1)
    return np.where(there, values, 0.0)


# ---- a metric ------------------------------------------------------------------------------------


def shapley_of_metric(
    predict: Predict,
    names: Sequence[str],
    y: np.ndarray,
    kind: TaskKind,
    metric: Metric,
    *,
    max_exact: int = MAX_EXACT,
    n_orders: int = N_ORDERS,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = 0,
) -> Attribution:
    """What each modality adds to a metric over labelled rows, each with what it has; positive is better.

    The values sum to the metric of the predictions from everything less that of the training prior, with the
    sign changed where less is better. The standard error is of the draw of the rows (bootstrap) and, above
    ``max_exact`` modalities, of the orders.

    Args:
        predict: from a subset to (n, C) predictions, or to what was decided of label sets where the metric
            reads no more; ``()`` gives the training prior.
        names: the modalities, in schema order.
        y: labels of the n rows, all of them labelled.
        kind: the task kind.
        metric: one that suits the kind.
        max_exact: as for :func:`shapley`.
        n_orders: as for :func:`shapley`.
        n_bootstrap: samples R behind the standard errors.
        seed: of the bootstrap and the orders.

    Returns:
        Values and errors (M,); NaN where the metric is not defined on the rows.
    """
    size = min(len(y), MAX_BOOTSTRAP_ROWS)
    samples = np.random.default_rng(seed).integers(0, len(y), (n_bootstrap, size))
    sign = 1.0 if metric.greater_is_better else -1.0

    def game(subset: Subset) -> np.ndarray:
        prediction = predict(subset)
        parts = [(y, prediction), *((y[rows], prediction[rows]) for rows in samples)]
        return np.array([sign * evaluate([metric.name], *part, kind)[metric.name] for part in parts])

    found = shapley(game, names, max_exact=max_exact, n_orders=n_orders, seed=seed)
    of_rows = found.values[:, 1:].std(axis=1, ddof=1) * np.sqrt(size / len(y))
    return Attribution(found.values[:, 0], np.hypot(of_rows, found.errors[:, 0]))
