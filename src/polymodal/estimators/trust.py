"""How far a calibrated estimator can be trusted, as tables: on labelled rows that it has not seen in any way.

Letters: n rows, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from polymodal import calibration, conformal, evaluation
from polymodal.calibration import Temperatures
from polymodal.data import door
from polymodal.errors import ConfigError
from polymodal.estimators.calibrated import Calibration
from polymodal.estimators.subsets import subset_predictions

UNCALIBRATED, COMMON, BY_PATTERN = "uncalibrated", "one temperature", "temperature by pattern"
CALIBRATION_METRICS = ("ece", "brier", "log_loss")


def calibration_table(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    metrics: Sequence[str] = CALIBRATION_METRICS,
    dataset: str = "",
    seed: int = 0,
) -> pd.DataFrame:
    """Calibration errors for every combination of modalities, with no temperature, one for all, one for each.

    Args:
        estimator: a classifier after ``calibrate``.
        X: n rows that neither ``fit`` nor ``calibrate`` has seen.
        y: n labels; unlabelled rows are left out.
        metrics: of :mod:`polymodal.metrics`.
        dataset: name of the data for the table.
        seed: of the run, for the table.

    Returns:
        Tidy rows, as of :mod:`polymodal.evaluation`; ``method`` is one of ``"uncalibrated"``, ``"one
        temperature"`` and ``"temperature by pattern"``.

    Raises:
        ConfigError: the estimator is not calibrated, or a metric does not suit the task.
    """
    learnt = _calibration_of(estimator).temperatures
    predict, presence, truth, kind = _seen(estimator, X, y)
    names = tuple(estimator.modalities_)
    variants: dict[str, Temperatures | None] = {
        UNCALIBRATED: None,
        COMMON: learnt.one_for_all(),
        BY_PATTERN: learnt,
    }
    tables = [
        evaluation.subset_report(
            predict if temperatures is None else calibration.calibrated(predict, temperatures, presence),
            presence,
            names,
            truth,
            kind,
            metrics=metrics,
            dataset=dataset,
            method=method,
            seed=seed,
            labels=estimator.labelled_fraction_,
        )
        for method, temperatures in variants.items()
    ]
    return pd.concat(tables, ignore_index=True)


def reliability_table(estimator: Any, X: Any, y: Any) -> pd.DataFrame:
    """How often a model is right at each confidence, before calibration and after it.

    Args:
        estimator: an estimator after ``calibrate``.
        X: n rows that neither ``fit`` nor ``calibrate`` has seen.
        y: n labels; unlabelled rows are left out.

    Returns:
        The columns of :func:`polymodal.calibration.reliability_table` after a column ``method``; of a
        regressor, which has no error scale before it is calibrated, without ``"uncalibrated"``.

    Raises:
        ConfigError: the estimator is not calibrated.
    """
    learnt = _calibration_of(estimator).temperatures
    predict, presence, truth, kind = _seen(estimator, X, y)
    variants = {COMMON: learnt.one_for_all(), BY_PATTERN: learnt}
    tables = []
    for method, temperatures in variants.items():
        said = calibration.calibrated(predict, temperatures, presence)
        rows = (said, presence, tuple(estimator.modalities_), truth, kind)
        table = calibration.reliability_table(*rows, temperatures=temperatures)
        tables.append(table.assign(method=method))
    if kind != "regression":
        table = calibration.reliability_table(predict, presence, tuple(estimator.modalities_), truth, kind)
        tables.insert(0, table.assign(method=UNCALIBRATED))
    return pd.concat(tables, ignore_index=True)[["method", *calibration.RELIABILITY]]


def coverage_table(
    estimator: Any, X: Any, y: Any, *, alpha: float = 0.1, dataset: str = "", method: str = "", seed: int = 0
) -> pd.DataFrame:
    """Coverage and size of prediction sets or intervals, for every combination of modalities.

    Args:
        estimator: an estimator after ``calibrate``.
        X: n rows that neither ``fit`` nor ``calibrate`` has seen.
        y: n labels; unlabelled rows are left out.
        alpha: share of errors that is allowed.
        dataset: name of the data for the table.
        method: name of the method for the table.
        seed: of the run, for the table.

    Returns:
        Tidy rows; see :func:`polymodal.conformal.coverage_table`.

    Raises:
        ConfigError: the estimator is not calibrated.
    """
    learnt = _calibration_of(estimator)
    predict, presence, truth, _ = _seen(estimator, X, y)
    return conformal.coverage_table(
        learnt.conformal,
        calibration.calibrated(predict, learnt.temperatures, presence),
        presence,
        truth,
        alpha=alpha,
        dataset=dataset,
        method=method,
        seed=seed,
        labels=estimator.labelled_fraction_,
    )


def risk_table(estimator: Any, X: Any, y: Any) -> pd.DataFrame:
    """Errors among the rows that are answered, when only the most confident ones are.

    Args:
        estimator: a fitted classifier; once calibrated, its calibrated probabilities decide who is confident.
        X: n rows that ``fit`` has not seen.
        y: n labels; unlabelled rows are left out.

    Returns:
        Columns answered, risk, confidence; see :func:`polymodal.conformal.risk_coverage`.

    Raises:
        ConfigError: the estimator is a regressor.
    """
    check_is_fitted(estimator)
    labels = estimator._evaluation_labels(y, door.n_rows(X))
    if labels.kind == "regression":
        raise ConfigError(
            "a risk-coverage curve orders rows by confidence; a regressor has none; "
            "use coverage_table for its intervals"
        )
    rows = np.flatnonzero(labels.labelled)
    return conformal.risk_coverage(labels.values[rows], estimator.predict_proba(door.take(X, rows)))


def _calibration_of(estimator: Any) -> Calibration:
    check_is_fitted(estimator)
    if (found := getattr(estimator, "calibration_", None)) is None:
        raise ConfigError(
            "tables of calibration and coverage are of a calibrated model; this one is not; "
            "call calibrate(X, y) first, with rows that training did not see"
        )
    return found


def _seen(estimator: Any, X: Any, y: Any) -> tuple[evaluation.Predict, np.ndarray, np.ndarray, Any]:
    """Raw predictions, presence and labels of the labelled rows, and the task kind."""
    labels = estimator._evaluation_labels(y, door.n_rows(X))
    rows = np.flatnonzero(labels.labelled)
    predict, presence = subset_predictions(estimator, door.take(X, rows))
    return predict, presence, labels.values[rows], labels.kind
