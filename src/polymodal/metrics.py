"""Metrics: what a prediction is worth, as one number.

Every metric reads the labels and what a method predicts, ``function(y, prediction) -> float``:

    kind          y                                            prediction
    multiclass    (n,) class codes 0..C-1                      (n, C) class probabilities
    multilabel    (n, C) 0 or 1, NaN where the entry is masked (n, C) label probabilities
    regression    (n,) values                                  (n, 1) or (n,) values

All rows are labelled rows. Labels are decided at a probability of 1/2, unless :func:`evaluate` is told what a
method decided itself. A metric that is undefined on its rows (no row, one class only for a ranking
metric, no non-zero label for ``acc2_non0``) is NaN; Pearson's r of a constant is 0. scikit-learn's
functions wherever it has them. Letters: C classes or labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn import metrics as sk

from polymodal.errors import ConfigError

if TYPE_CHECKING:
    from polymodal.batch import TaskKind

N_ECE_BINS = 15


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: how tables call it.
        function: ``(y, prediction) -> float``; see the module for shapes.
        kinds: the task kinds for which it is defined.
        greater_is_better: False for errors and losses.
        unit_interval: whether its values lie in [0, 1], so that a table may print them as percent.
        decides: whether all that it reads of label probabilities is which labels are decided: from 0 and 1 in
            their place it is the same.
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray], float]
    kinds: tuple[TaskKind, ...]
    greater_is_better: bool = True
    unit_interval: bool = True
    decides: bool = False


# ---- decisions -----------------------------------------------------------------------------------


def decide(prediction: np.ndarray) -> np.ndarray:
    """Most probable class of each row: (n, C) probabilities to (n,) codes."""
    return prediction.argmax(axis=1)


def decide_labels(prediction: np.ndarray, cut: np.ndarray | float = 0.5) -> np.ndarray:
    """Labels that are likelier than their cut, one or (C,): (n, C) probabilities to (n, C) bool."""
    return prediction > cut


def _known(y: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries of (n, C) labels that are not masked, flat, with what was predicted for them."""
    known = ~np.isnan(y)
    return y[known].astype(int), prediction[known]


# ---- classes -------------------------------------------------------------------------------------


def accuracy(y: np.ndarray, prediction: np.ndarray) -> float:
    """Share of rows that are right; multi-label: a row is right when all its known entries are."""
    if y.ndim == 2:
        right = (decide_labels(prediction) == (y == 1)) | np.isnan(y)
        return float(right.all(axis=1).mean())
    return float(sk.accuracy_score(y, decide(prediction)))


def balanced_accuracy(y: np.ndarray, prediction: np.ndarray) -> float:
    """Mean recall over the classes that occur in ``y``."""
    return float(
        sk.recall_score(y, decide(prediction), labels=np.unique(y), average="macro", zero_division=0.0)
    )


def macro_f1(y: np.ndarray, prediction: np.ndarray) -> float:
    """Mean F1 over the classes seen in ``y`` or predicted; multi-label: over labels with a known entry."""
    if y.ndim == 2:
        scores, _ = _label_f1(y, prediction)
        return float(np.mean(scores)) if len(scores) else np.nan
    return float(sk.f1_score(y, decide(prediction), average="macro", zero_division=0.0))


def weighted_f1(y: np.ndarray, prediction: np.ndarray) -> float:
    """Mean F1 weighted by how often each class or label occurs; multi-label without a positive: NaN."""
    if y.ndim == 2:
        scores, positives = _label_f1(y, prediction)
        return float(np.average(scores, weights=positives)) if positives.sum() else np.nan
    return float(sk.f1_score(y, decide(prediction), average="weighted", zero_division=0.0))


def micro_f1(y: np.ndarray, prediction: np.ndarray) -> float:
    """F1 of all decisions pooled; with single classes it equals the accuracy."""
    if y.ndim == 2:
        truth, probability = _known(y, prediction)
        if not len(truth):
            return np.nan
        return float(sk.f1_score(truth, decide_labels(probability), zero_division=0.0))
    return float(sk.f1_score(y, decide(prediction), average="micro", zero_division=0.0))


def _label_f1(y: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F1 and number of positives of each label that has a known entry."""
    known = [_known(y[:, c], prediction[:, c]) for c in range(y.shape[1])]
    columns = [(truth, probability) for truth, probability in known if len(truth)]
    scores = [sk.f1_score(truth, decide_labels(p), zero_division=0.0) for truth, p in columns]
    return np.array(scores), np.array([truth.sum() for truth, _ in columns])


# ---- probabilities -------------------------------------------------------------------------------


def _one_against_rest(y: np.ndarray, prediction: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Binary problems with both classes in them: one a label, one a class, or one alone for two classes."""
    if y.ndim == 1:
        n_classes = prediction.shape[1]
        y = (y[:, None] == np.arange(n_classes)).astype(float)
        if n_classes == 2:
            y, prediction = y[:, 1:], prediction[:, 1:]
    problems = [_known(y[:, c], prediction[:, c]) for c in range(y.shape[1])]
    return [(truth, score) for truth, score in problems if 0 < truth.sum() < len(truth)]


def auroc(y: np.ndarray, prediction: np.ndarray) -> float:
    """Area under the ROC curve: of class 1 for two classes, else the mean of one class against the rest.

    Classes or labels that lack a positive or a negative row are left out; NaN if none remains.
    """
    scores = [sk.roc_auc_score(*problem) for problem in _one_against_rest(y, prediction)]
    return float(np.mean(scores)) if scores else np.nan


def average_precision(y: np.ndarray, prediction: np.ndarray) -> float:
    """Area under the precision-recall curve, averaged and restricted as in :func:`auroc`."""
    scores = [sk.average_precision_score(*problem) for problem in _one_against_rest(y, prediction)]
    return float(np.mean(scores)) if scores else np.nan


def log_loss(y: np.ndarray, prediction: np.ndarray) -> float:
    """Mean negative log-likelihood in nats; probabilities are clipped at float64's resolution."""
    prediction = prediction.astype(np.float64)
    if y.ndim == 2:
        truth, probability = _known(y, prediction)
        return float(sk.log_loss(truth, probability, labels=[0, 1])) if len(truth) else np.nan
    # float32 rows sum to 1 within 1e-7 only, which scikit-learn would warn about in float64
    prediction = prediction / prediction.sum(axis=1, keepdims=True)
    return float(sk.log_loss(y, prediction, labels=np.arange(prediction.shape[1])))


def brier(y: np.ndarray, prediction: np.ndarray) -> float:
    """Brier score: squared distance of the probabilities from the truth, summed over classes, mean over rows.

    From 0 to 2 (Brier, 1950). Multi-label: mean over the known entries, from 0 to 1.
    """
    if y.ndim == 2:
        truth, probability = _known(y, prediction)
        return float(np.mean(np.square(probability - truth))) if len(truth) else np.nan
    truth = y[:, None] == np.arange(prediction.shape[1])
    return float(np.square(prediction.astype(np.float64) - truth).sum(axis=1).mean())


def ece(y: np.ndarray, prediction: np.ndarray) -> float:
    """Expected calibration error: mean |accuracy - confidence| over 15 bins of equal width, weighted by rows.

    Confidence is the probability of what is likelier; multi-label: entry by entry, whatever the cuts (Guo et
    al., ICML 2017).
    """
    if y.ndim == 2:
        truth, probability = _known(y, prediction)
        prediction = np.column_stack([1.0 - probability, probability])
        right = decide_labels(probability) == (truth == 1)
    else:
        right = decide(prediction) == y
    if not len(right):
        return np.nan
    confidence = prediction.max(axis=1).astype(np.float64)
    bins = np.clip(np.ceil(confidence * N_ECE_BINS).astype(int) - 1, 0, N_ECE_BINS - 1)
    gap = np.bincount(bins, weights=right - confidence, minlength=N_ECE_BINS)
    return float(np.abs(gap).sum() / len(right))


# ---- values --------------------------------------------------------------------------------------


def mae(y: np.ndarray, prediction: np.ndarray) -> float:
    """Mean absolute error, in the units of y."""
    return float(sk.mean_absolute_error(y, prediction.ravel()))


def rmse(y: np.ndarray, prediction: np.ndarray) -> float:
    """Root of the mean squared error, in the units of y."""
    return float(sk.root_mean_squared_error(y, prediction.ravel()))


def r2(y: np.ndarray, prediction: np.ndarray) -> float:
    """Share of the variance of y that is explained; NaN for fewer than two rows."""
    return float(sk.r2_score(y, prediction.ravel())) if len(y) > 1 else np.nan


def pearson_r(y: np.ndarray, prediction: np.ndarray) -> float:
    """Pearson's correlation; 0 where either side is constant."""
    a, b = y.astype(np.float64), prediction.ravel().astype(np.float64)
    if np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip((a / np.linalg.norm(a)) @ (b / np.linalg.norm(b)), -1.0, 1.0))


# ---- sentiment on [-3, 3] (CMU-MOSI, CMU-MOSEI) --------------------------------------------------


def acc2_has0(y: np.ndarray, prediction: np.ndarray) -> float:
    """Two classes, negative against non-negative: (prediction >= 0) against (y >= 0)."""
    return float(sk.accuracy_score(y >= 0, prediction.ravel() >= 0))


def f1_has0(y: np.ndarray, prediction: np.ndarray) -> float:
    """Weighted F1 of the two classes of :func:`acc2_has0`."""
    return float(sk.f1_score(y >= 0, prediction.ravel() >= 0, average="weighted", zero_division=0.0))


def acc2_non0(y: np.ndarray, prediction: np.ndarray) -> float:
    """Two classes, negative against positive: y = 0 is dropped, then (prediction > 0) against (y > 0)."""
    kept = y != 0
    return float(sk.accuracy_score(y[kept] > 0, prediction.ravel()[kept] > 0)) if kept.any() else np.nan


def f1_non0(y: np.ndarray, prediction: np.ndarray) -> float:
    """Weighted F1 of the two classes of :func:`acc2_non0`."""
    kept = y != 0
    if not kept.any():
        return np.nan
    decided = prediction.ravel()[kept] > 0
    return float(sk.f1_score(y[kept] > 0, decided, average="weighted", zero_division=0.0))


def acc5(y: np.ndarray, prediction: np.ndarray) -> float:
    """Five classes: both sides clipped to [-2, 2], then rounded."""
    return _rounded_accuracy(y, prediction, 2.0)


def acc7(y: np.ndarray, prediction: np.ndarray) -> float:
    """Seven classes: both sides clipped to [-3, 3], then rounded."""
    return _rounded_accuracy(y, prediction, 3.0)


def _rounded_accuracy(y: np.ndarray, prediction: np.ndarray, bound: float) -> float:
    decided = np.round(np.clip(prediction.ravel(), -bound, bound))
    return float(np.mean(np.round(np.clip(y, -bound, bound)) == decided))


# ---- the registry --------------------------------------------------------------------------------

_CLASSES: tuple[TaskKind, ...] = ("multiclass", "multilabel")
_VALUES: tuple[TaskKind, ...] = ("regression",)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy, _CLASSES, decides=True),
        Metric("balanced_accuracy", balanced_accuracy, ("multiclass",)),
        Metric("macro_f1", macro_f1, _CLASSES, decides=True),
        Metric("weighted_f1", weighted_f1, _CLASSES, decides=True),
        Metric("micro_f1", micro_f1, _CLASSES, decides=True),
        Metric("auroc", auroc, _CLASSES),
        Metric("average_precision", average_precision, _CLASSES),
        Metric("log_loss", log_loss, _CLASSES, greater_is_better=False, unit_interval=False),
        Metric("brier", brier, _CLASSES, greater_is_better=False, unit_interval=False),
        Metric("ece", ece, _CLASSES, greater_is_better=False),
        Metric("mae", mae, _VALUES, greater_is_better=False, unit_interval=False),
        Metric("rmse", rmse, _VALUES, greater_is_better=False, unit_interval=False),
        Metric("pearson_r", pearson_r, _VALUES, unit_interval=False),
        Metric("r2", r2, _VALUES, unit_interval=False),
        Metric("acc2_has0", acc2_has0, _VALUES),
        Metric("acc2_non0", acc2_non0, _VALUES),
        Metric("f1_has0", f1_has0, _VALUES),
        Metric("f1_non0", f1_non0, _VALUES),
        Metric("acc5", acc5, _VALUES),
        Metric("acc7", acc7, _VALUES),
    )
}

DEFAULT_METRICS: dict[TaskKind, tuple[str, ...]] = {
    "multiclass": ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"),
    "multilabel": ("macro_f1", "micro_f1", "average_precision"),
    "regression": ("mae", "rmse", "pearson_r", "r2"),
}
"""What is measured when nothing is asked for; the first of each is the one that tables show."""


def choose(names: Iterable[str] | None, kind: TaskKind) -> tuple[Metric, ...]:
    """The metrics of these names, or the defaults of the task kind.

    Raises:
        ConfigError: a name is unknown, or its metric is not defined for the kind.
    """
    wanted = DEFAULT_METRICS[kind] if names is None else tuple(names)
    suitable = [name for name, metric in METRICS.items() if kind in metric.kinds]
    for name in wanted:
        if name not in suitable:
            what = "not defined for this task" if name in METRICS else "unknown"
            raise ConfigError(
                f"A metric must suit the task ({kind}); {name!r} is {what}; "
                f"choose from {', '.join(suitable)}."
            )
    return tuple(METRICS[name] for name in wanted)


def evaluate(
    names: Iterable[str] | None,
    y: np.ndarray,
    prediction: np.ndarray,
    kind: TaskKind,
    decided: np.ndarray | None = None,
) -> dict[str, float]:
    """Several metrics of one prediction.

    Args:
        names: metric names; None takes the kind's defaults.
        y: the labels of labelled rows; see the module for shapes.
        prediction: what was predicted for these rows.
        kind: the task kind.
        decided: (n, C) bool: the labels that the method decided; None decides them at 1/2.

    Returns:
        name -> value; all NaN when there is no row.

    Raises:
        ConfigError: a metric is unknown or unsuitable.
    """
    metrics = choose(names, kind)
    if len(y) == 0:
        return {metric.name: np.nan for metric in metrics}
    answers = prediction if decided is None else decided
    return {m.name: m.function(y, answers if m.decides else prediction) for m in metrics}
