"""Calibration: whether a probability means what it says, for every combination of modalities.

Read from the top: the patterns of presence; one temperature a pattern; how it is learnt; what a calibrated
model predicts; the table of a reliability diagram.

A model that is honest on complete rows need not be so when an input fails: averaging branches makes
probabilities too timid, a lone branch can be too bold. So each pattern of presence has a temperature of its
own (Guo et al., ICML 2017, with one for all rows), learnt on held-out labelled rows that contain the pattern,
masked to it; with few rows it keeps near those of its size. A temperature changes no decision: the likeliest
class stays the likeliest.

    kind          what temperature T makes of a prediction
    multiclass    p^(1/T), summing to 1 again
    multilabel    logit(p) / T, label by label
    regression    the value stays; T is the standard deviation of its error, in the units of y

Letters: n rows, M modalities, C outputs, P patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logit, ndtri

from polymodal.evaluation import OBSERVED, Predict, Subset, distinct_patterns, subsets
from polymodal.metrics import N_ECE_BINS, decide, decide_labels

if TYPE_CHECKING:
    from polymodal.batch import TaskKind

PRIOR_SD = 0.5
"""Standard deviation of a pattern's log temperature around that of its size, before its rows are seen.

A Gaussian on log T, because halving and doubling are equally far: a pattern of a few rows keeps near the
centre, one of hundreds has its own. One strength for all data, chosen on synthetic late fusion
(``experiments/trust/shrinkage.py``): with the slope below, 0.5 costs 10 millinats over the best temperatures
on average, 0.3 costs 11 and 1 costs 15; without a slope 0.5 costs 15, one temperature for all 95, no
shrinkage 101."""
SLOPE_SD = 0.4
"""Standard deviation of the slope b with which that centre moves, log T = a + b |S|.

The more branches a mean has, the more timid it is. Chosen with the above."""

MAX_ROWS = 5000
"""Rows of a pattern that are read at most; more would move a temperature, or a coverage, by less than 1 %."""
MAX_OCCURRING = 256
"""Patterns that are calibrated because rows have them, above 8 modalities."""
MIN_PROBABILITY = 1e-12
"""One row that a float32 softmax calls impossible must not decide a temperature by itself."""
LEVELS = tuple(np.round(np.arange(1, 20) * 0.05, 2).tolist())
"""Nominal levels of central intervals, at which the error scale of a regression is checked."""


# ---- patterns of presence ------------------------------------------------------------------------


def patterns(presence: np.ndarray, names: Sequence[str]) -> list[Subset]:
    """The combinations to calibrate: every one of up to 8 modalities, and the empty one.

    Above 8: each single modality, all but one, all, and the most frequent of those that rows have.

    Args:
        presence: (n, M) bool.
        names: the modalities, in schema order.
    """
    chosen: dict[Subset, None] = dict.fromkeys([(), *subsets(names, limit=0)])
    if len(names) > 8:
        found, which = distinct_patterns(presence)
        for pattern in found[np.argsort(-np.bincount(which), kind="stable")[:MAX_OCCURRING]]:
            chosen[_members(pattern, names)] = None
    return list(chosen)


def pattern_counts(presence: np.ndarray, names: Sequence[str]) -> dict[Subset, int]:
    """Pattern -> rows that have exactly these modalities, the most frequent first.

    Args:
        presence: (n, M) bool.
        names: the modalities, in schema order.
    """
    found, which = distinct_patterns(presence)
    counts = np.bincount(which, minlength=len(found))
    return {_members(found[k], names): int(counts[k]) for k in np.argsort(-counts, kind="stable")}


def by_pattern(
    presence: np.ndarray, names: Sequence[str], values: Callable[[Subset], Any], width: int
) -> np.ndarray:
    """(n, width): a value for each row, looked up once for each pattern that occurs."""
    found, which = distinct_patterns(presence)
    looked_up = np.empty((len(found), width))
    for row, pattern in zip(looked_up, found, strict=True):
        row[:] = values(_members(pattern, names))
    return looked_up[which]


def containing(presence: np.ndarray, names: Sequence[str], subset: Subset) -> np.ndarray:
    """Rows that have all modalities of a subset, at most ``MAX_ROWS`` of them, evenly spread."""
    rows = np.flatnonzero(presence[:, [name in subset for name in names]].all(axis=1))
    return rows if len(rows) <= MAX_ROWS else rows[np.linspace(0, len(rows) - 1, MAX_ROWS).astype(int)]


def _members(pattern: np.ndarray, names: Sequence[str]) -> Subset:
    return tuple(name for name, there in zip(names, pattern, strict=True) if there)


# ---- one temperature a pattern -------------------------------------------------------------------


@dataclass(frozen=True)
class Temperatures:
    """What calibration learnt.

    Attributes:
        kind: the task kind.
        names: the modalities, in schema order.
        common: the temperature of all patterns together.
        own: pattern -> its temperature, shrunk towards that of its size.
        n_rows: pattern -> rows it was learnt from.
        by_size: number of present modalities -> the temperature of a pattern without one of its own; empty
            where patterns of one size only had rows, and the common one stands for all.
    """

    kind: TaskKind
    names: tuple[str, ...]
    common: float
    own: Mapping[Subset, float]
    n_rows: Mapping[Subset, int]
    by_size: Mapping[int, float] = field(default_factory=dict)

    def centre(self, subset: Subset) -> float:
        """The temperature of a pattern before its own rows are seen."""
        return self.by_size.get(len(subset), self.common)

    def of(self, presence: np.ndarray) -> np.ndarray:
        """(n,) temperatures of rows of (n, M) presence; 1 where nothing is there: a prior is left alone."""

        def value(subset: Subset) -> float:
            return self.own.get(subset, self.centre(subset)) if subset or self.kind == "regression" else 1.0

        return by_pattern(presence, self.names, value, 1)[:, 0]

    def __call__(self, prediction: np.ndarray, presence: np.ndarray) -> np.ndarray:
        """(n, C) calibrated predictions in float64; values of a regression as they came."""
        if self.kind == "regression":
            return prediction
        evidence = to_evidence(prediction, self.kind) / self.of(presence)[:, None]
        return expit(evidence) if self.kind == "multilabel" else np.exp(log_softmax(evidence, axis=1))

    def one_for_all(self) -> Temperatures:
        """The same without the patterns' own: to compare with."""
        return replace(self, own={}, n_rows={}, by_size={})


def to_evidence(prediction: np.ndarray, kind: TaskKind) -> np.ndarray:
    """(n, C) float64 that a temperature divides: log-probabilities of classes, logits of labels."""
    smallest = MIN_PROBABILITY
    if kind == "multiclass":
        return np.log(np.maximum(prediction.astype(np.float64), smallest))
    return logit(np.clip(prediction.astype(np.float64), smallest, 1.0 - smallest))


# ---- learning ------------------------------------------------------------------------------------


def fit_temperatures(
    predict: Predict,
    presence: np.ndarray,
    names: Sequence[str],
    y: np.ndarray,
    kind: TaskKind,
    *,
    prior_sd: float = PRIOR_SD,
    slope_sd: float = SLOPE_SD,
) -> Temperatures:
    """A temperature for each pattern by penalised maximum likelihood.

    log T of a pattern S has the prior N(a + b |S|, prior_sd^2). The line is learnt on the rows of all
    patterns together, each calibration row counting once, with the prior N(0, slope_sd^2) on b. T_common, its
    height without a slope, has the prior N(0, prior_sd^2) on its logarithm: a handful of rows changes little.
    The scale of a regression has no natural 1: its common value is the root of the mean squared error.

    Args:
        predict: from a subset to (n, C) uncalibrated predictions made of at most these modalities; ``()``
            gives the training prior.
        presence: (n, M) bool.
        names: the modalities, in schema order.
        y: labels of the n rows, all of them labelled, as :mod:`polymodal.metrics` has them; rows that the
            model was not trained on.
        kind: the task kind.
        prior_sd: strength of the shrinkage; smaller is stronger.
        slope_sd: strength of that of the line's slope; 0 for a level line, T_common for all.
    """
    rows = {subset: containing(presence, names, subset) for subset in patterns(presence, names)}
    parts = {
        subset: (predict(subset)[index], y[index])
        for subset, index in rows.items()
        if len(index) and (subset or kind == "regression")
    }
    if not parts:
        return Temperatures(kind, tuple(names), np.nan if kind == "regression" else 1.0, {}, {})
    common = _common(parts, kind, len(y), prior_sd)
    line = _line(parts, kind, len(y), common, prior_sd, slope_sd) if slope_sd else None
    by_size = {} if line is None else {k: line(k) for k in range(1, len(names) + 1)}
    own = {
        subset: _mode(_loss(prediction, truth, kind), by_size.get(len(subset), common), prior_sd)
        for subset, (prediction, truth) in parts.items()
    }
    n_rows = {subset: len(truth) for subset, (_, truth) in parts.items()}
    return Temperatures(kind, tuple(names), common, own, n_rows, by_size)


Parts = Mapping[Subset, tuple[np.ndarray, np.ndarray]]
"""Pattern -> predictions (n_S, C) and labels of the rows that contain it."""


def _pooled(parts: Parts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, labels and sizes (N, 1) of the rows of all patterns, at most four times ``MAX_ROWS``."""
    prediction = np.concatenate([prediction for prediction, _ in parts.values()])
    truth = np.concatenate([truth for _, truth in parts.values()])
    size = np.repeat([len(subset) for subset in parts], [len(truth) for _, truth in parts.values()])
    step = -(-len(truth) // (4 * MAX_ROWS))
    return prediction[::step], truth[::step], size[::step, None]


def _common(parts: Parts, kind: TaskKind, n: int, prior_sd: float) -> float:
    """The temperature of all patterns together; pooled rows weigh as much as the n that they come from."""
    prediction, truth, _ = _pooled(parts)
    if kind == "regression":
        return float(np.sqrt(np.mean(np.square(truth - prediction[:, 0]))))
    loss = _loss(prediction, truth, kind)
    return _mode(lambda log_t: loss(log_t) * n / len(truth), 1.0, prior_sd)


def _line(
    parts: Parts, kind: TaskKind, n: int, common: float, prior_sd: float, slope_sd: float
) -> Callable[[int], float] | None:
    """|S| -> T of log T = a + b |S|, level beyond the sizes that have rows; None where one size has them.

    The empty pattern is no model's doing and has rows enough: it takes no part.
    """
    parts = {subset: part for subset, part in parts.items() if subset}
    sizes = sorted({len(subset) for subset in parts})
    if len(sizes) < 2:
        return None
    prediction, truth, size = _pooled(parts)
    loss, middle = _loss(prediction, truth, kind), float(size.mean())
    start = np.log(max(common, np.finfo(np.float64).tiny)) if kind == "regression" else 0.0

    def penalised(parameters: np.ndarray) -> float:
        height, slope = parameters
        rows = loss(start + height + slope * (size - middle)) * n / len(truth)
        return rows + 0.5 * ((height / prior_sd) ** 2 + (slope / slope_sd) ** 2)

    height, slope = minimize(penalised, np.zeros(2), bounds=[(-3.0, 3.0), (-1.0, 1.0)], method="L-BFGS-B").x
    return lambda k: float(np.exp(start + height + slope * (min(max(k, sizes[0]), sizes[-1]) - middle)))


def _mode(loss: Callable[[float], float], centre: float, prior_sd: float) -> float:
    """T that minimises a loss of log T and the prior's penalty, within a factor of 20 of the centre."""
    middle = np.log(max(centre, np.finfo(np.float64).tiny))

    def penalised(shift: float) -> float:
        return loss(middle + shift) + 0.5 * (shift / prior_sd) ** 2

    found = minimize_scalar(penalised, bounds=(-3.0, 3.0), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(middle + found.x))


def _loss(prediction: np.ndarray, y: np.ndarray, kind: TaskKind) -> Callable[[Any], float]:
    """Log T, of all rows or (n, 1), -> negative log-likelihood of the rows, summed, in nats."""
    if kind == "regression":
        squares = np.square(y[:, None] - prediction)
        return lambda log_t: float((log_t + 0.5 * squares * np.exp(-2.0 * log_t)).sum())
    evidence = to_evidence(prediction, kind)
    if kind == "multiclass":
        rows = np.arange(len(y))
        return lambda log_t: -float(log_softmax(evidence * np.exp(-log_t), axis=1)[rows, y].sum())
    margin = np.where(y == 1, evidence, -evidence)
    known = ~np.isnan(y)
    return lambda log_t: float(np.logaddexp(0.0, -margin * np.exp(-log_t))[known].sum())


# ---- what a calibrated model predicts ------------------------------------------------------------


def calibrated(predict: Predict, temperatures: Temperatures, presence: np.ndarray) -> Predict:
    """``predict`` of a calibrated model: each row by the temperature of what it has of a subset.

    Args:
        predict: from a subset to (n, C) uncalibrated predictions.
        temperatures: what :func:`fit_temperatures` learnt.
        presence: (n, M) bool of the same rows.
    """

    def predict_calibrated(subset: Subset) -> np.ndarray:
        kept = presence & np.isin(temperatures.names, subset)
        return temperatures(predict(subset), kept)

    return predict_calibrated


# ---- reliability diagrams ------------------------------------------------------------------------

RELIABILITY = ["subset", "low", "high", "confidence", "accuracy", "n_rows"]


def reliability_table(
    predict: Predict,
    presence: np.ndarray,
    names: Sequence[str],
    y: np.ndarray,
    kind: TaskKind,
    *,
    temperatures: Temperatures | None = None,
    limit: int = 256,
) -> pd.DataFrame:
    """How often a model is right at each confidence, for every combination of modalities.

    The bins are those of the metric ``ece``; empty ones are left out. For a regression a bin is a nominal
    level of a central Gaussian interval with the pattern's error scale: ``confidence`` is the level,
    ``accuracy`` the share of rows inside.

    Args:
        predict: from a subset to (n, C) predictions, calibrated or not.
        presence: (n, M) bool.
        names: the modalities, in schema order.
        y: labels of the n rows.
        kind: the task kind.
        temperatures: for a regression, which needs the error scales.
        limit: how many combinations to sample above 8 modalities.

    Returns:
        Columns subset (``"observed"``: each row with whatever it has), low, high, confidence, accuracy,
        n_rows.
    """
    everything = tuple(names)
    parts = [("+".join(subset), subset) for subset in subsets(names, limit=limit)] + [(OBSERVED, everything)]
    rows: list[tuple[Any, ...]] = []
    for name, subset in parts:
        index = slice(None) if name == OBSERVED else containing(presence, names, subset)
        prediction, truth = predict(subset)[index], y[index]
        if kind == "regression":
            assert temperatures is not None, "a regression has no confidence of its own"
            scale = temperatures.of(presence[index] & np.isin(names, subset))
            rows += [(name, *row) for row in _levels_kept(truth - prediction[:, 0], scale)]
        else:
            rows += [(name, *row) for row in _bins(*decided(truth, prediction))]
    return pd.DataFrame(rows, columns=RELIABILITY)


def decided(y: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence in what was decided and whether that was right; label sets entry by known entry, flat."""
    if y.ndim == 1:
        return prediction.max(axis=1).astype(np.float64), decide(prediction) == y
    known = ~np.isnan(y)
    probability = prediction[known].astype(np.float64)
    return np.maximum(probability, 1.0 - probability), decide_labels(probability) == (y[known] == 1)


def _bins(confidence: np.ndarray, right: np.ndarray) -> list[tuple[float, float, float, float, int]]:
    """(low, high, mean confidence, share right, rows) of each bin that has rows."""
    bins = np.clip(np.ceil(confidence * N_ECE_BINS).astype(int) - 1, 0, N_ECE_BINS - 1)
    return [
        (
            b / N_ECE_BINS,
            (b + 1) / N_ECE_BINS,
            float(confidence[bins == b].mean()),
            float(right[bins == b].mean()),
            int((bins == b).sum()),
        )
        for b in np.unique(bins)
    ]


def _levels_kept(error: np.ndarray, scale: np.ndarray) -> list[tuple[float, float, float, float, int]]:
    """The same for central intervals of a Gaussian error, one nominal level a bin."""
    if not len(error):
        return []
    inside = [float((np.abs(error) <= ndtri(0.5 + level / 2) * scale).mean()) for level in LEVELS]
    return [(level, level, level, share, len(error)) for level, share in zip(LEVELS, inside, strict=True)]
