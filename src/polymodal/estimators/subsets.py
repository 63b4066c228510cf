"""Every combination of modalities as a table, for fitted estimators and floors alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from polymodal import evaluation
from polymodal.calibration import calibrated
from polymodal.data import door
from polymodal.metrics import Metric, decide_labels


def subset_table(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    metrics: Sequence[str] | None = None,
    dataset: str = "",
    method: str = "",
    seed: int = 0,
    labels: float = 1.0,
    combinations: bool = True,
    rates: Sequence[float] = (),
) -> pd.DataFrame:
    """Every combination of modalities x metric for a fitted estimator or floor, as a tidy table.

    A calibrated estimator is measured by its calibrated probabilities. Label sets are decided as ``predict``
    decides them.

    A late-fusion method runs each branch once, whatever the number of combinations; another one runs once
    a combination, on inputs that lack all other modalities.

    Args:
        estimator: a fitted estimator of this module or floor of :mod:`polymodal.methods.floors`.
        X: n rows.
        y: n labels; unlabelled rows are left out.
        metrics: names of metrics; None takes the task's usual ones.
        dataset: for the table's column of this name, like the next three.
        method: name of the method.
        seed: of the run; above 8 modalities every method and seed gets the same sample of combinations.
        labels: share of the training labels that the estimator saw.
        combinations: False leaves out every row but ``"observed"``: the rows as they come.
        rates: missing rates at which the rows are evaluated too, as ``subset`` ``"rate=0.3"``; the masks
            depend on ``seed`` alone.
    """
    truth = estimator._evaluation_labels(y, door.n_rows(X))
    rows = np.flatnonzero(truth.labelled)
    X = X if len(rows) == len(truth.labelled) else door.take(X, rows)
    raw, presence = subset_predictions(estimator, X)
    predict, decide = cache(as_shown(estimator, raw, presence)), decisions(estimator, raw)
    rows_seen = (predict, presence, tuple(estimator.modalities_), truth.values[rows], truth.kind)
    run: dict[str, Any] = {"dataset": dataset, "method": method, "seed": seed, "labels": labels}
    run["decide"] = decide
    if combinations:
        report = evaluation.subset_report(*rows_seen, metrics=metrics, **run)
    else:
        columns = (dataset, method, seed, labels)
        report = evaluation.observed_report(
            predict, *rows_seen[2:], metrics=metrics, run=columns, decide=decide
        )
    if not rates:
        return report
    curve = evaluation.missing_rate_curve(*rows_seen, metrics=metrics, rates=rates, mask_seed=seed, **run)
    return pd.concat([report, curve], ignore_index=True)


def subset_predictions(estimator: Any, X: Any) -> tuple[evaluation.Predict, np.ndarray]:
    """What a fitted estimator or floor predicts for rows from each subset, before any calibration.

    Args:
        estimator: a fitted estimator or floor.
        X: n rows.

    Returns:
        A callable from a subset to (n, C), which gives the training prior where a row has none of it; and
        the presence (n, M) of the rows.
    """
    schema, prior = estimator.modalities_, estimator.prior_
    X = estimator.encoded(X)  # once, not for each subset
    presence = door.read(X, schema).presence
    if estimator.late_fusion:
        return evaluation.late_fusion(estimator.branch_predictions(X), prior), presence
    if getattr(estimator, "shared_pass", False):
        return cache(estimator.subset_predict(X)), presence

    def predict(names: evaluation.Subset) -> np.ndarray:
        if not names:
            return np.tile(prior, (len(presence), 1))
        return estimator.prediction(door.restrict(X, schema, names))

    return cache(predict), presence


def as_shown(estimator: Any, predict: evaluation.Predict, presence: np.ndarray) -> evaluation.Predict:
    """What a fitted estimator or floor shows its users of rows: calibrated, where it has been calibrated.

    Args:
        estimator: a fitted estimator or floor.
        predict: from a subset to its uncalibrated (n, C) predictions.
        presence: (n, M) bool of the same rows.
    """
    known = getattr(estimator, "calibration_", None)
    if known is None or known.temperatures.kind == "regression":  # a value stays what it is
        return predict
    return calibrated(predict, known.temperatures, presence)


def decisions(estimator: Any, predict: evaluation.Predict) -> evaluation.Predict | None:
    """Which labels a fitted estimator decides, with the cuts of its method: what ``predict`` answers.

    Args:
        estimator: a fitted estimator or floor.
        predict: from a subset to its uncalibrated (n, C) predictions: calibration changes no decision.

    Returns:
        From a subset to (n, C) bool; None for a floor, which decides at 1/2, for classes and for values.
    """
    cut = getattr(getattr(estimator, "method_", None), "cut", None)
    if cut is None:
        return None
    cut = cut.cpu().numpy()
    return lambda subset: decide_labels(predict(subset), cut)


def as_measured(
    estimator: Any, predict: evaluation.Predict, presence: np.ndarray, metric: Metric
) -> evaluation.Predict:
    """What a metric reads of a fitted estimator or floor: its decisions on labels, or what it shows.

    Args:
        estimator: a fitted estimator or floor.
        predict: from a subset to its uncalibrated (n, C) predictions.
        presence: (n, M) bool of the same rows.
        metric: one that suits the task.
    """
    decide = decisions(estimator, predict) if metric.decides else None
    return as_shown(estimator, predict, presence) if decide is None else decide
