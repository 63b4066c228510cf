"""A linear model: scikit-learn's, of which only the numbers that it learnt are kept.

Letters: n rows, M modalities, T steps, d width, C outputs (classes, labels, or 1 value).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold

from polymodal.batch import TaskKind

ALPHAS = tuple(10.0 ** np.arange(-1.0, 4.5, 0.5))
"""Ridge penalties from which leave-one-out error chooses."""


@dataclass(frozen=True)
class Linear:
    """What a linear model learnt.

    Attributes:
        weight: (d, C).
        bias: (C,); minus infinity for a class that the rows it learnt from do not have.
        kind: softmax, sigmoid or identity on top.
    """

    weight: np.ndarray
    bias: np.ndarray
    kind: TaskKind

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, d) to (n, C) probabilities or values."""
        scores = x @ self.weight + self.bias
        if self.kind == "multiclass":
            return np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
        return expit(scores) if self.kind == "multilabel" else scores


def fit_linear(
    x: np.ndarray,
    target: np.ndarray,
    kind: TaskKind,
    prior: np.ndarray,
    sources: np.ndarray | None = None,
) -> Linear:
    """Fit scikit-learn's linear model of a task.

    Args:
        x: (n, d).
        target: (n, C) shares of the classes, labels with NaN where masked, or values.
        kind: the task kind.
        prior: (C,) what is predicted where there is nothing to learn from: one class only, or no row.
        sources: (n,) the row that each row is a copy of; copies of a row are never on both sides of a
            cross-validation.
    """
    if kind == "multiclass":
        return _fit_classes(x, target, prior)
    if kind == "regression":
        return _fit_values(x, target, prior, sources)
    labels = [_fit_label(x, target[:, c], prior[c]) for c in range(target.shape[1])]
    return Linear(np.stack([w for w, _ in labels], axis=1), np.array([b for _, b in labels]), kind)


def _fit_classes(x: np.ndarray, target: np.ndarray, prior: np.ndarray) -> Linear:
    # a row with soft targets counts once for each class that holds more than 1 % of it
    rows, codes = np.nonzero(target > 0.01)
    weight = np.zeros((x.shape[1], target.shape[1]))
    found = np.unique(codes)
    if len(found) < 2:
        with np.errstate(divide="ignore"):
            return Linear(weight, np.log(prior), "multiclass")
    model = _logistic(x[rows], codes, target[rows, codes])
    bias = np.full(target.shape[1], -np.inf)
    # two classes share one column of coefficients: the logit of the second, with 0 for the first
    is_binary = len(found) == 2
    weight[:, found] = np.vstack([0 * model.coef_, model.coef_]).T if is_binary else model.coef_.T
    bias[found] = [0.0, model.intercept_[0]] if is_binary else model.intercept_
    return Linear(weight, bias, "multiclass")


def _fit_label(x: np.ndarray, target: np.ndarray, prior: float) -> tuple[np.ndarray, float]:
    known = ~np.isnan(target)
    if len(np.unique(target[known])) < 2:
        with np.errstate(divide="ignore"):
            return np.zeros(x.shape[1]), float(np.log(prior) - np.log1p(-prior))
    model = _logistic(x[known], target[known].astype(int), None)
    return model.coef_[0], float(model.intercept_[0])


def _fit_values(x: np.ndarray, target: np.ndarray, prior: np.ndarray, sources: np.ndarray | None) -> Linear:
    n_rows = len(x) if sources is None else len(np.unique(sources))
    if n_rows < 2:
        return Linear(np.zeros((x.shape[1], 1)), prior, "regression")
    # leave-one-out among copies would only measure how well a row is remembered
    folds = None if sources is None else list(GroupKFold(min(5, n_rows)).split(x, groups=sources))
    model = RidgeCV(ALPHAS, cv=folds).fit(x, target[:, 0])
    return Linear(model.coef_[:, None], np.array([model.intercept_]), "regression")


def _logistic(x: np.ndarray, codes: np.ndarray, weight: np.ndarray | None) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped after 1,000 steps it is as fair a floor
        return LogisticRegression(max_iter=1000).fit(x, codes, sample_weight=weight)
