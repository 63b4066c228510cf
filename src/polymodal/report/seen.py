"""What a report looks at: labelled rows, and what the model and its floors predict for them, found once.

Letters: n rows, M modalities, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.data import door
from polymodal.estimators.subsets import as_shown, decisions, subset_predictions
from polymodal.evaluation import Predict, Subset, subsets
from polymodal.metrics import DEFAULT_METRICS, METRICS, Metric

if TYPE_CHECKING:
    from polymodal.batch import TaskKind

MAX_NUMBERS = 150_000_000
"""Predicted numbers, rows x combinations x outputs, that are kept; with more, rows are drawn."""
MAX_PASSED_ROWS = 300_000
"""Rows x combinations of a method that runs once a combination: a minute of two cores."""
SAMPLE = 4000
"""Rows at most of what is drawn, or estimated with resampling."""


@dataclass(frozen=True)
class Seen:
    """The rows of a report.

    Attributes:
        model: a fitted estimator.
        X: its labelled rows, raw inputs encoded.
        y: their labels as they came.
        truth: the same as :mod:`polymodal.metrics` has them.
        kind: the task kind.
        names: the modalities.
        presence: (n, M) bool.
        raw: from a subset to (n, C) as the method predicts.
        predict: the same as the model shows it: calibrated, where it is.
        decide: from a subset to the (n, C) bool labels that the model decides; None of classes and values.
        floors: name -> predict of a floor.
        everything: all rows that came, labelled or not, as X.
        all_y: their labels as they came.
        all_presence: their presence.
        labelled: which of them have a label.
        dataset: what the data are called.
    """

    model: Any
    X: Any
    y: Any
    truth: np.ndarray
    kind: TaskKind
    names: tuple[str, ...]
    presence: np.ndarray
    raw: Predict
    predict: Predict
    decide: Predict | None
    floors: Mapping[str, Predict]
    everything: Any
    all_y: Any
    all_presence: np.ndarray
    labelled: np.ndarray
    dataset: str

    @property
    def metric(self) -> Metric:
        """The metric that the report is about: the task's first."""
        return METRICS[DEFAULT_METRICS[self.kind][0]]

    @property
    def measured(self) -> Predict:
        """From a subset to what :attr:`metric` reads: decisions on labels, else predictions."""
        return self.predict if self.decide is None or not self.metric.decides else self.decide

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.model._method_name())

    @property
    def calibrated(self) -> bool:
        """Whether the model has been calibrated."""
        return getattr(self.model, "calibration_", None) is not None

    @property
    def outputs(self) -> list[str]:
        """Names of the C outputs."""
        return ["value"] if self.model.classes_ is None else [str(name) for name in self.model.classes_]

    @property
    def drawn(self) -> bool:
        """Whether some of the labelled rows only are measured."""
        return len(self.truth) < int(self.labelled.sum())

    def sample(self, n: int = SAMPLE) -> np.ndarray:
        """At most n of the rows that have any modality, in their order."""
        rows = np.flatnonzero(self.presence.any(axis=1))
        if len(rows) > n:
            rows = np.sort(np.random.default_rng(0).choice(rows, n, replace=False))
        return rows


def look(model: Any, X: Any, y: Any, *, dataset: str = "") -> Seen:
    """The rows of a report, predicted where and when they are first asked for.

    Raises:
        DataError: X or y breaks a rule of the data door, or no row has a label.
    """
    labels = model._evaluation_labels(y, door.n_rows(X))
    everything = model.encoded(X)
    all_presence = door.read(everything, model.modalities_).presence
    rows = _drawn(np.flatnonzero(labels.labelled), model, labels.kind)
    X, known = door.take(everything, rows), door.take(y, rows)
    raw, presence = subset_predictions(model, X)
    return Seen(
        model=model,
        X=X,
        y=known,
        truth=labels.values[rows],
        kind=labels.kind,
        names=tuple(model.modalities_),
        presence=presence,
        raw=raw,
        predict=_kept_as_shown(model, raw, presence),
        decide=decisions(model, raw),
        floors={name: subset_predictions(floor, X)[0] for name, floor in model.floors_.items()},
        everything=everything,
        all_y=y,
        all_presence=all_presence,
        labelled=labels.labelled,
        dataset=dataset,
    )


def _drawn(rows: np.ndarray, model: Any, kind: str) -> np.ndarray:
    """The rows that are measured: all, unless their predictions would fill the memory or take minutes."""
    n_outputs = 1 if kind == "regression" else len(model.classes_)
    n_combinations = len(subsets(tuple(model.modalities_)))
    most = MAX_NUMBERS // (n_combinations * n_outputs)
    if not model.late_fusion:
        most = min(most, MAX_PASSED_ROWS // n_combinations)
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _kept_as_shown(model: Any, raw: Predict, presence: np.ndarray) -> Predict:
    shown = as_shown(model, raw, presence)
    if shown is raw:
        return raw  # which keeps what it has found

    @cache
    def predict(subset: Subset) -> np.ndarray:
        return shown(subset).astype(np.float32)

    return predict
