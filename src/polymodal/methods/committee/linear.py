"""The committee's linear members: ridge regressions of classes, labels or values on soft targets.

They are learnt along the principal directions of all rows, labelled or not, at unit spread, where a few steps
of a quasi-Newton method are enough, and given back as weights of the columns themselves.

Letters: n rows, d width, k directions, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from polymodal.batch import TaskKind

MAX_DIRECTIONS = 256
"""k, at most: a wider input is read along its first ones alone."""
MAX_ROWS_TURNED = 4000
"""Rows from which the directions are learnt, at most."""
MAX_STEPS = 60
SMALLEST_SPREAD = 1e-4


@dataclass(frozen=True)
class Directions:
    """Columns turned into uncorrelated ones.

    Attributes:
        axes: (d, k), orthonormal columns.
        spread: (k,) standard deviation of the rows along each.
    """

    axes: np.ndarray
    spread: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, random: np.random.Generator) -> Directions:
        """Learn from (n, d) rows of mean about 0; directions without spread are left out."""
        if len(x) > MAX_ROWS_TURNED:
            x = x[np.sort(random.choice(len(x), MAX_ROWS_TURNED, replace=False))]
        values, axes = np.linalg.eigh(x.T.astype(np.float64) @ x / max(len(x), 1))
        spread = np.sqrt(np.maximum(values[::-1], 0.0))[:MAX_DIRECTIONS]
        kept = spread > SMALLEST_SPREAD
        return cls(axes[:, ::-1][:, :MAX_DIRECTIONS][:, kept], spread[kept])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, d) to (n, k) of the spread that the rows have, float32."""
        return (x @ self.axes.astype(np.float32)).astype(np.float32)

    def back(self, weight: np.ndarray) -> np.ndarray:
        """Weights (k, C) of the directions as weights (d, C) of the columns."""
        return self.axes @ weight


@dataclass(frozen=True)
class Linear:
    """What a linear member learnt.

    Attributes:
        weight: (k, C).
        bias: (C,).
    """

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, k) to (n, C): logits, or values."""
        return x @ self.weight.astype(np.float32) + self.bias.astype(np.float32)


def fit_linear(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    kind: TaskKind,
    prior: np.ndarray,
    *,
    penalty: float,
    start: Linear | None = None,
) -> Linear:
    """Minimise sum_i w_i loss(target_i, x_i A + b) + penalty / 2 |A|^2.

    The loss is the cross-entropy of classes, the sum of those of the labels, or half the squared error.

    Args:
        x: (n, k) float32, n may be 0.
        target: (n, C) shares of the classes, label shares with NaN where masked, or values.
        weight: (n,) of the rows.
        kind: the task kind.
        prior: (C,) the bias to start from: shares, or values.
        penalty: of the weights, not of the bias.
        start: where to start from instead.
    """
    if len(x) == 0 or x.shape[1] == 0:
        return Linear(np.zeros((x.shape[1], len(prior))), starting_bias(prior, kind))
    if kind == "regression":
        return _least_squares(x, target, weight, penalty)
    return _descent(x, target, weight, kind, prior, penalty, start)


def starting_bias(prior: np.ndarray, kind: TaskKind) -> np.ndarray:
    """(C,): what predicts the prior (C,) without any input."""
    if kind == "multiclass":
        return np.log(np.maximum(prior, 1e-3))
    if kind == "multilabel":
        shares = np.clip(prior, 1e-3, 1 - 1e-3)
        return np.log(shares) - np.log1p(-shares)
    return np.asarray(prior, dtype=np.float64)


def _least_squares(x: np.ndarray, target: np.ndarray, weight: np.ndarray, penalty: float) -> Linear:
    x, share = x.astype(np.float64), weight / weight.sum()
    centre, mean = share @ x, share @ target
    x = x - centre
    gram = (x * weight[:, None]).T @ x + penalty * np.eye(x.shape[1])
    solution = np.linalg.solve(gram, x.T @ (weight[:, None] * (target - mean)))
    return Linear(solution, mean - centre @ solution)


def _descent(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    kind: TaskKind,
    prior: np.ndarray,
    penalty: float,
    start: Linear | None,
) -> Linear:
    """L-BFGS on weights scaled by the curvature of their columns: the directions are uncorrelated."""
    n_columns, n_outputs = x.shape[1], target.shape[1]
    known = ~np.isnan(target)
    target = np.where(known, target, 0.0).astype(np.float32)
    counted = (weight[:, None] * known).astype(np.float32)
    curvature = weight @ np.square(x, dtype=np.float64) / 4
    scale = 1 / np.sqrt(curvature + penalty)[:, None]
    bias_scale = 1 / np.sqrt(weight.sum() / 4 + 1e-9)

    def unpacked(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        square = flat.reshape(n_columns + 1, n_outputs)
        return scale * square[1:], bias_scale * square[0]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        a, bias = unpacked(flat)
        logits = x @ a.astype(np.float32) + bias.astype(np.float32)
        loss, residual = _entropy(logits, target, counted, kind)
        gradient = x.T @ residual + penalty * a
        flat_gradient = np.concatenate([bias_scale * residual.sum(0)[None], scale * gradient])
        return loss + penalty / 2 * float((a * a).sum()), flat_gradient.astype(np.float64).ravel()

    first = start or Linear(np.zeros((n_columns, n_outputs)), starting_bias(prior, kind))
    flat = np.concatenate([first.bias[None] / bias_scale, first.weight / scale]).ravel()
    options = {"maxiter": MAX_STEPS, "ftol": 1e-6}
    found = minimize(objective, flat, jac=True, method="L-BFGS-B", options=options)
    return Linear(*unpacked(found.x))


def _entropy(
    logits: np.ndarray, target: np.ndarray, counted: np.ndarray, kind: TaskKind
) -> tuple[float, np.ndarray]:
    """Weighted cross-entropy of (n, C) logits, and its gradient by them."""
    if kind == "multiclass":
        loss = -(counted * target * log_softmax(logits, axis=1)).sum(dtype=np.float64)
        return float(loss), counted * (softmax(logits, axis=1) - target)
    losses = np.logaddexp(0.0, logits) - target * logits
    return float((counted * losses).sum(dtype=np.float64)), counted * (expit(logits) - target)
