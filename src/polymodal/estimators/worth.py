"""What each input of a fitted estimator is worth: Shapley values, and the expected worth of what is missing.

An estimator or floor that is calibrated is explained as it predicts: by its calibrated probabilities.

Letters: n rows, M modalities, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from polymodal import acquisition, attribution, metrics
from polymodal.acquisition import Acquisition
from polymodal.attribution import Attribution
from polymodal.calibration import MAX_ROWS
from polymodal.data import door
from polymodal.errors import ConfigError
from polymodal.estimators.subsets import as_measured, as_shown, subset_predictions
from polymodal.evaluation import FusedBranches, Predict, late_fusion
from polymodal.methods.floors.views import to_matrices

ROWS_AT_ONCE = 16_384
"""Rows whose contributions are found together: bounds the memory of combinations."""

SHAPLEY = ["dataset", "method", "seed", "labels", "modality", "metric", "value", "error", "n_rows"]


# ---- Shapley values ------------------------------------------------------------------------------


def shapley_rows(estimator: Any, X: Any, *, seed: int = 0) -> Attribution:
    """What each modality contributes to each row's prediction.

    Exact up to 12 modalities, and for a late fusion that is not calibrated, whatever M; above, from sampled
    orders. A late fusion runs each branch once; another method runs once a combination.

    Args:
        estimator: a fitted estimator or floor.
        X: n rows.
        seed: of the sampled orders.

    Returns:
        Values and standard errors (n, M, C). The contributions of a row sum to its prediction less the
        training prior; an absent modality contributes 0.
    """
    check_is_fitted(estimator)
    X, names = estimator.encoded(X), tuple(estimator.modalities_)
    parts = []
    for rows in _slices(door.n_rows(X)):
        predict, presence = _predict_as_shown(estimator, door.take(X, rows))
        parts.append(attribution.shapley_of_rows(predict, presence, names, seed=seed))
    return Attribution(
        np.concatenate([part.values for part in parts]), np.concatenate([part.errors for part in parts])
    )


def contribution_table(estimator: Any, X: Any, *, seed: int = 0) -> pd.DataFrame:
    """The contributions of :func:`shapley_rows` as a tidy table: for some rows, to be read and drawn.

    Args:
        estimator: a fitted estimator or floor.
        X: n rows.
        seed: of the sampled orders.

    Returns:
        A line for each row, modality that it has, and output: row (from 0), modality, output (class,
        number of the label, or "value"), value, error, prior, prediction; the values of a row and
        output sum to prediction less prior.
    """
    found = shapley_rows(estimator, X, seed=seed)
    names = np.asarray(tuple(estimator.modalities_), dtype=object)
    outputs = np.asarray(["value"] if estimator.classes_ is None else estimator.classes_)
    presence = door.read(estimator.encoded(X), estimator.modalities_).presence
    row, m, c = (index.ravel() for index in np.indices(found.values.shape))
    there = presence[row, m]
    row, m, c = row[there], m[there], c[there]
    columns: dict[str, Any] = {"row": row, "modality": names[m], "output": outputs[c]}
    columns |= {"value": found.values[row, m, c], "error": found.errors[row, m, c]}
    columns["prior"] = estimator.prior_[c]
    columns["prediction"] = columns["prior"] + found.values.sum(axis=1)[row, c]
    return pd.DataFrame(columns)


def shapley_table(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    metric: str | None = None,
    dataset: str = "",
    method: str = "",
    seed: int = 0,
) -> pd.DataFrame:
    """What each modality adds to a metric, over all combinations; positive is better.

    Every row counts with what it has. The values sum to the metric of the model less that of the training
    prior, with the sign changed where less is better.

    Args:
        estimator: a fitted estimator or floor.
        X: n rows that ``fit`` has not seen.
        y: n labels; unlabelled rows are left out.
        metric: of :mod:`polymodal.metrics`; None takes the task's first.
        dataset: name of the data for the table.
        method: name of the method for the table.
        seed: of the bootstrap behind the standard errors, and of the orders above 12 modalities.

    Returns:
        A line for each modality: dataset, method, seed, labels, modality, metric, value, error (standard
        error), n_rows.

    Raises:
        ConfigError: the metric is unknown or does not suit the task.
    """
    check_is_fitted(estimator)
    labels = estimator._evaluation_labels(y, door.n_rows(X))
    chosen = metrics.choose(None if metric is None else [metric], labels.kind)[0]
    rows, names = np.flatnonzero(labels.labelled), tuple(estimator.modalities_)
    predict, presence = _predict_each_once(estimator, door.take(X, rows))
    predict, truth = as_measured(estimator, predict, presence, chosen), labels.values[rows]
    found = attribution.shapley_of_metric(predict, names, truth, labels.kind, chosen, seed=seed)
    seen = getattr(estimator, "labelled_fraction_", 1.0)
    lines = [
        (dataset, method, seed, seen, name, chosen.name, value, error, len(rows))
        for name, value, error in zip(names, found.values, found.errors, strict=True)
    ]
    return pd.DataFrame(lines, columns=SHAPLEY)


def _predict_as_shown(estimator: Any, X: Any) -> tuple[Predict, np.ndarray]:
    predict, presence = _predict_each_once(estimator, X)
    return as_shown(estimator, predict, presence), presence


def _predict_each_once(estimator: Any, X: Any) -> tuple[Predict, np.ndarray]:
    """From a subset to (n, C), and the presence (n, M); each subset is asked for once, so none is kept."""
    predict, presence = subset_predictions(estimator, X)
    return getattr(predict, "__wrapped__", predict), presence


def _slices(n: int) -> Iterator[slice]:
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, max(n, 1), ROWS_AT_ONCE))


# ---- what is missing -----------------------------------------------------------------------------


def learn_acquisition(
    estimator: Any, X: Any, predict: Predict, presence: np.ndarray, y: np.ndarray
) -> Acquisition:
    """Learn the worth of what is missing from labelled rows that training did not see.

    Args:
        estimator: a fitted estimator.
        X: n rows.
        predict: from a subset to their (n, C) predictions, calibrated as the estimator is.
        presence: (n, M) bool.
        y: their n labels, as :mod:`polymodal.metrics` has them.
    """
    rows = np.unique(np.linspace(0, len(y) - 1, MAX_ROWS).astype(int))
    X, kind = door.take(X, rows), estimator.method_.task.kind
    chunks = [to_matrices(inputs).values for inputs in estimator._inputs_in_chunks(X)]
    views = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    branches = _fused(estimator, estimator._predictions(X, warn=False, branches=True).branches)
    return acquisition.fit_acquisition(
        lambda subset: predict(subset)[rows], branches, views, presence[rows], y[rows], kind
    )


def acquisition_table(estimator: Any, X: Any, *, reference: tuple[Any, Any] | None = None) -> pd.DataFrame:
    """What each missing modality of each row is expected to be worth, ranked: what to get next.

    Args:
        estimator: an estimator after ``calibrate``, or any fitted one with ``reference``.
        X: n rows.
        reference: rows (X, y) that ``fit`` has not seen, to learn from in place of those of ``calibrate``.

    Returns:
        A line for each row and modality that it lacks: row (from 0), modality, value (expected decrease of
        the log loss in nats, or of the squared error), error (standard error), rank (1 is best). NaN where
        fewer than 30 reference rows have the row's modalities and the further one.

    Raises:
        ConfigError: the estimator is not calibrated, and no reference rows came.
    """
    check_is_fitted(estimator)
    learnt = _learnt(estimator, reference)
    X = estimator.encoded(X)
    found = estimator._predictions(X, warn=False, branches=estimator.late_fusion)
    chunks = [learnt.components(to_matrices(inputs).values) for inputs in estimator._inputs_in_chunks(X)]
    components = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    branches = _fused(estimator, found.branches)
    shown = estimator._calibrated(found)
    return acquisition.acquisition_table(learnt, shown, branches, components, found.presence)


def _learnt(estimator: Any, reference: tuple[Any, Any] | None) -> Acquisition:
    if reference is None:
        if (known := estimator.calibration_) is None or known.acquisition is None:
            raise ConfigError(
                "the worth of what is missing is learnt from labelled rows that training did not see; none "
                "came; call calibrate(X, y) first, or give reference=(X, y)"
            )
        return known.acquisition
    X, y = reference
    labels = estimator._evaluation_labels(y, door.n_rows(X))
    rows = np.flatnonzero(labels.labelled)
    X = estimator.encoded(door.take(X, rows))
    predict, presence = _predict_as_shown(estimator, X)
    return learn_acquisition(estimator, X, predict, presence, labels.values[rows])


def _fused(estimator: Any, branches: np.ndarray | None) -> FusedBranches | None:
    """The branches (n, M, C) of a late fusion; None of another method."""
    if branches is None or not estimator.late_fusion:
        return None
    by_name = {name: branches[:, m] for m, name in enumerate(estimator.modalities_)}
    return late_fusion(by_name, estimator.prior_)
