"""Split conformal prediction under missing inputs: sets and intervals that keep a promise for every pattern.

Read from the top: the score of a label; the quantile; what calibration keeps; what it promises, measured on
test rows and over re-splits; when to be silent.

For a pattern of presence the calibration rows are all held-out labelled rows that *contain* it, masked to it:
their predictions are made of the pattern's modalities alone. A new row with this pattern is then like these
rows as long as whether an input is missing has nothing to do with the score, and

    P(the label is in the set) >= 1 - alpha        for each pattern, whatever the model and its errors.

Where inputs go missing *because* a row is hard, that fails in the direction one would fear: the masked
calibration rows are easier than the rows that really lack the input. :func:`coverage_table` shows both.

    kind          score s of a label                    the set at threshold q
    multiclass    1 - p(y)  (LAC, Sadinle et al., 2019) classes with s <= q, and always the likeliest
    multilabel    1 - p(c) for a label c that is there  labels with s <= q: each label that is there is in the
                                                        set with probability 1 - alpha, label by label
    regression    |y - f|                               f - q to f + q

LAC and not APS (Romano et al., NeurIPS 2020): its sets are the smallest on average and it draws no random
numbers; APS without randomisation covers too much, and with it two calls differ. NOTE[DIFF]: LAC can give
empty sets when a model is right more often than 1 - alpha; we add the likeliest class, which can only raise
coverage. A factor common to all rows of a pattern changes no interval, so a regression needs no error scale.

Letters: n rows, M modalities, C outputs, K scores a row (C for label sets, else 1), R re-splits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from polymodal.calibration import by_pattern, containing, decided, patterns
from polymodal.evaluation import COLUMNS, OBSERVED, Predict, Subset, subsets

if TYPE_CHECKING:
    from polymodal.batch import TaskKind

MAX_POINTS = 200
"""Points of a risk-coverage curve at most."""


# ---- scores and their quantile -------------------------------------------------------------------


def conformal_scores(y: np.ndarray, prediction: np.ndarray, kind: TaskKind) -> np.ndarray:
    """(n, K): how strange the true label is; NaN where a label of a label set is not there or not known."""
    if kind == "regression":
        return np.abs(y - prediction[:, 0].astype(np.float64))[:, None]
    strange = 1.0 - prediction.astype(np.float64)
    if kind == "multilabel":
        return np.where(y == 1, strange, np.nan)
    return strange[np.arange(len(y)), y][:, None]


def quantile(scores: np.ndarray, alpha: float) -> np.ndarray:
    """(K,): the ceil((n + 1)(1 - alpha))-th smallest of n calibration scores, infinite where n is too small.

    Args:
        scores: (n, K), ascending, NaN last and not counted.
        alpha: share of errors that is allowed.
    """
    counts = (~np.isnan(scores)).sum(axis=0)
    ranks = np.ceil((counts + 1) * (1.0 - alpha) - 1e-9).astype(int)
    columns = np.arange(scores.shape[1])
    found = scores[np.minimum(ranks, counts) - 1, columns] if len(scores) else np.full(len(columns), np.inf)
    return np.where(ranks > counts, np.inf, found)


def n_needed(alpha: float) -> int:
    """Calibration scores without which the quantile is infinite."""
    return int(np.ceil(1.0 / alpha - 1.0 - 1e-9))


def to_sets(prediction: np.ndarray, thresholds: np.ndarray, kind: TaskKind) -> np.ndarray:
    """(n, C) bool from (n, C) probabilities and thresholds (n, K) or (K,)."""
    sets = 1.0 - prediction.astype(np.float64) <= thresholds
    if kind == "multiclass":
        sets[np.arange(len(sets)), prediction.argmax(axis=1)] = True
    return sets


# ---- what calibration keeps ----------------------------------------------------------------------


@dataclass(frozen=True)
class Conformal:
    """Calibration scores of each pattern.

    Attributes:
        kind: the task kind.
        names: the modalities, in schema order.
        n_scores: K.
        scores: pattern -> (n, K) ascending, NaN last.
    """

    kind: TaskKind
    names: tuple[str, ...]
    n_scores: int
    scores: Mapping[Subset, np.ndarray]

    def threshold(self, subset: Subset, alpha: float) -> np.ndarray:
        """(K,) of one pattern; infinite where no or too few rows contain it."""
        none = np.empty((0, self.n_scores))
        return quantile(self.scores.get(subset, none), alpha)

    def thresholds(self, presence: np.ndarray, alpha: float) -> np.ndarray:
        """(n, K) of rows of (n, M) presence."""
        return by_pattern(presence, self.names, lambda subset: self.threshold(subset, alpha), self.n_scores)

    def sets(self, prediction: np.ndarray, presence: np.ndarray, alpha: float) -> np.ndarray:
        """(n, C) bool: the classes or labels that cannot be ruled out."""
        return to_sets(prediction, self.thresholds(presence, alpha), self.kind)

    def intervals(self, prediction: np.ndarray, presence: np.ndarray, alpha: float) -> np.ndarray:
        """(n, 2): lower and upper ends, in the units of y."""
        reach = self.thresholds(presence, alpha)
        return prediction[:, :1].astype(np.float64) + np.concatenate([-reach, reach], axis=1)

    def too_few(self, presence: np.ndarray, alpha: float) -> str:
        """In words, which rows get everything because too few rows calibrate them; empty if none does."""
        endless = np.isinf(self.thresholds(presence, alpha)).any(axis=1)
        if not endless.any():
            return ""
        first = presence[endless][0]
        subset = tuple(name for name, there in zip(self.names, first, strict=True) if there)
        counts = (~np.isnan(self.scores.get(subset, np.empty((0, self.n_scores))))).sum(axis=0)
        what = "labelled rows" if self.kind != "multilabel" else "rows with the rarest label"
        return (
            f"a promise at alpha={alpha:g} needs {n_needed(alpha)} calibration rows; {endless.sum()} of "
            f"{len(endless)} rows have fewer (the pattern {'+'.join(subset) or 'without any modality'}: "
            f"{counts.min()} {what}) and get everything; calibrate on more rows, or raise alpha"
        )


def fit_conformal(
    predict: Predict, presence: np.ndarray, names: Sequence[str], y: np.ndarray, kind: TaskKind
) -> Conformal:
    """The calibration scores of each pattern, on the rows that contain it, masked to it.

    Args:
        predict: from a subset to (n, C) predictions made of at most these modalities; ``()`` gives the
            training prior. If they were calibrated, then on other rows.
        presence: (n, M) bool.
        names: the modalities, in schema order.
        y: labels of the n rows, all of them labelled; rows that neither training, early stopping nor the
            temperatures have seen.
        kind: the task kind.
    """
    scores = {}
    for subset in patterns(presence, names):
        index = containing(presence, names, subset)
        if len(index):
            scores[subset] = np.sort(conformal_scores(y[index], predict(subset)[index], kind), axis=0)
    n_scores = y.shape[1] if kind == "multilabel" else 1
    return Conformal(kind, tuple(names), n_scores, scores)


# ---- what was promised, measured -----------------------------------------------------------------


def coverage_table(
    conformal: Conformal,
    predict: Predict,
    presence: np.ndarray,
    y: np.ndarray,
    *,
    alpha: float = 0.1,
    dataset: str = "",
    method: str = "",
    seed: int = 0,
    labels: float = 1.0,
    limit: int = 256,
) -> pd.DataFrame:
    """Coverage and size of the sets on test rows, for every combination of modalities.

    Each combination on the rows that contain it, masked to it, as ``coverage``, ``set_size`` (classes in a
    set; ``interval_width`` for a regression) and ``n_rows``; ``n_calibration`` rows give the threshold.
    ``coverage_exactly`` is the same on the ``n_rows_exactly`` rows that have exactly this pattern: far below
    ``coverage``, it says that inputs are missing where rows are hard, and the promise does not hold there.

    Args:
        conformal: what :func:`fit_conformal` learnt.
        predict: from a subset to (n, C) predictions of the test rows, calibrated like those.
        presence: (n, M) bool of the test rows.
        y: their labels.
        alpha: share of errors that is allowed.
        dataset: first column of the table.
        method: second column.
        seed: third column.
        labels: fourth column.
        limit: how many combinations to sample above 8 modalities.

    Returns:
        Tidy rows, as of :mod:`polymodal.evaluation`; NaN where there is no row.
    """
    names, run = conformal.names, (dataset, method, seed, labels)
    rows: list[tuple[Any, ...]] = []
    for subset in subsets(names, limit=limit):
        index, prediction = containing(presence, names, subset), predict(subset)
        threshold = conformal.threshold(subset, alpha)
        members = np.isin(names, subset)
        exactly = np.flatnonzero((presence == members).all(axis=1))
        behind = conformal.scores.get(subset, np.empty((0, conformal.n_scores)))
        values = _kept(y[index], prediction[index], threshold, conformal.kind)
        values |= {"n_rows": float(len(index)), "n_calibration": float(len(behind))}
        own = _kept(y[exactly], prediction[exactly], threshold, conformal.kind)
        values |= {"coverage_exactly": own["coverage"], "n_rows_exactly": float(len(exactly))}
        rows += [(*run, "+".join(subset), metric, value) for metric, value in values.items()]
    prediction = predict(tuple(names))
    values = _kept(y, prediction, conformal.thresholds(presence, alpha), conformal.kind)
    rows += [(*run, OBSERVED, metric, value) for metric, value in (values | {"n_rows": len(y)}).items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _kept(y: np.ndarray, prediction: np.ndarray, thresholds: np.ndarray, kind: TaskKind) -> dict[str, float]:
    """Coverage and mean size of the sets or intervals of some rows."""
    size = "interval_width" if kind == "regression" else "set_size"
    if not len(y):
        return {"coverage": np.nan, size: np.nan}
    scores = conformal_scores(y, prediction, kind)
    if kind == "regression":
        return {"coverage": float((scores <= thresholds).mean()), size: float(2.0 * np.mean(thresholds))}
    sets = to_sets(prediction, thresholds, kind)
    covered = sets[np.arange(len(y)), y] if kind == "multiclass" else sets[y == 1]
    coverage = float(covered.mean()) if len(covered) else np.nan
    return {"coverage": coverage, size: float(sets.sum(axis=1).mean())}


def resplit_table(
    predict: Predict,
    presence: np.ndarray,
    names: Sequence[str],
    y: np.ndarray,
    kind: TaskKind,
    *,
    alpha: float = 0.1,
    n_splits: int = 200,
    dataset: str = "",
    method: str = "",
    seed: int = 0,
    labels: float = 1.0,
    limit: int = 256,
) -> pd.DataFrame:
    """Coverage and size over many random halvings of one fitted model's held-out rows.

    One model, one set of predictions; in each of R re-splits half of the rows calibrate and the others are
    tested, for every combination of modalities on the rows that contain it.

    Args:
        predict: from a subset to (n, C) predictions of held-out rows.
        presence: (n, M) bool.
        names: the modalities, in schema order.
        y: labels of the n rows.
        kind: the task kind.
        alpha: share of errors that is allowed.
        n_splits: R.
        dataset: first column of the table.
        method: second column.
        seed: of the re-splits, and third column.
        labels: fourth column.
        limit: how many combinations to sample above 8 modalities.

    Returns:
        Tidy rows: ``coverage``, ``coverage_std`` over re-splits, ``score_coverage`` (without the likeliest
        class that a set always holds: what theory puts between 1 - alpha and 1 - alpha + 1 / (n + 1)),
        ``set_size`` or ``interval_width``, and ``n_rows``.
    """
    halves = _halves(len(y), n_splits, seed)
    rows: list[tuple[Any, ...]] = []
    for subset in subsets(names, limit=limit):
        index = containing(presence, names, subset)
        prediction = predict(subset)[index]
        found = pd.DataFrame(list(_resplit(y[index], prediction, halves[:, index], alpha, kind)))
        values = {str(name): float(value) for name, value in found.mean().items()}
        values |= {"coverage_std": float(found["coverage"].std()), "n_rows": float(len(index))}
        rows += [
            (dataset, method, seed, labels, "+".join(subset), metric, value)
            for metric, value in values.items()
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _halves(n: int, n_splits: int, seed: int) -> np.ndarray:
    """(R, n) bool, True where a row calibrates: half of the rows in each re-split."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(n) < n // 2, (n_splits, 1)), axis=1)


def _resplit(
    y: np.ndarray, prediction: np.ndarray, halves: np.ndarray, alpha: float, kind: TaskKind
) -> Iterator[dict[str, float]]:
    """Coverage and size of each re-split of one pattern's rows."""
    scores = conformal_scores(y, prediction, kind)
    for calibrates in halves:
        threshold = quantile(np.sort(scores[calibrates], axis=0), alpha)
        tested = scores[~calibrates]
        known = ~np.isnan(tested)
        inside = float((tested <= threshold)[known].mean()) if known.any() else np.nan
        yield _kept(y[~calibrates], prediction[~calibrates], threshold, kind) | {"score_coverage": inside}


# ---- when to be silent ---------------------------------------------------------------------------


def risk_coverage(y: np.ndarray, prediction: np.ndarray) -> pd.DataFrame:
    """Errors among the rows that are answered, when only the most confident ones are.

    Rows of equal confidence are answered together, so that an order among equals gains nothing.

    Args:
        y: labels of n rows: classes, or label sets (then entry by known entry).
        prediction: (n, C) probabilities.

    Returns:
        Columns answered (share of the rows), risk (share of wrong answers among them), confidence (of the
        least confident answer); at most ``MAX_POINTS`` rows, ``answered`` ascending to 1.
    """
    confidence, right = decided(y, prediction)
    order = np.argsort(-confidence, kind="stable")
    confidence, wrong = confidence[order], np.cumsum(~right[order])
    ends = np.flatnonzero(np.append(confidence[1:] != confidence[:-1], True)) if len(confidence) else order
    if len(ends) > MAX_POINTS:
        ends = ends[np.linspace(0, len(ends) - 1, MAX_POINTS).astype(int)]
    return pd.DataFrame(
        {
            "answered": (ends + 1) / max(len(confidence), 1),
            "risk": wrong[ends] / (ends + 1),
            "confidence": confidence[ends],
        }
    )
