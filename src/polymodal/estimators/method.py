"""Any registered method as a classifier or a regressor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from polymodal.batch import TaskKind
from polymodal.data import door
from polymodal.data.labels import (
    Labels,
    known_classes,
    read_classes,
    read_label_sets,
    read_values,
    refuse_coarse,
)
from polymodal.estimators.calibrated import CalibratedClassifier, CalibratedRegressor
from polymodal.estimators.shell import MethodEstimator
from polymodal.estimators.shown import Shown
from polymodal.metrics import decide_labels
from polymodal.schema import Modality


class MethodClassifier(Shown, ClassifierMixin, CalibratedClassifier, MethodEstimator):
    """Any registered method as a classifier: multi-class, or multi-label when y is 2-D.

    Args:
        method: name of the method (``polymodal options`` lists them).
        modalities: name -> ``Vector``, ``Tabular``, ``Series``, ``Text``, ``Image``, ``Audio`` or ``Video``
            of :mod:`polymodal.schema`; None infers the first three, or takes a 2-D array as one modality.
        settings: the method's own settings by name (``polymodal options METHOD`` explains each).
        max_epochs: epochs over all stages.
        batch_size: rows a step.
        labelled_share: least share of labelled rows in a batch.
        validation_fraction: share of the labelled rows held out for early stopping; 0 for fixed epochs.
        patience: epochs without a better validation loss before training stops.
        precision: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        checkpoint_dir: folder for a checkpoint each epoch; None for none.
        log_dir: folder for ``history.jsonl``; None for none.
        tensorboard: also write TensorBoard event files to ``log_dir``.
        floors: also learn the simple floors that ``subset_report`` shows beside the method.
        missing_label: the integer label of an unlabelled row; None: there is no such label.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        random_state: seed; the same seed gives the same weights.
        verbose: show progress.

    Attributes:
        classes_: (C,) class labels (multi-label: names of y's columns, or their numbers).
        modalities_: the modalities with their columns.
        history_: one dict an epoch; ``stopping_rule_`` says how its length was decided.
        labelled_fraction_: share of the training rows that had a label.
        method_: the trained module.
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        method: str = "robult",
        modalities: Mapping[str, Modality] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        max_epochs: int = 100,
        batch_size: int = 256,
        labelled_share: float = 0.25,
        validation_fraction: float = 0.15,
        patience: int = 20,
        precision: str = "auto",
        checkpoint_dir: str | None = None,
        log_dir: str | None = None,
        tensorboard: bool = False,
        floors: bool = True,
        missing_label: int | None = -1,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.method = method
        self.modalities = modalities
        self.settings = settings
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.labelled_share = labelled_share
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.log_dir = log_dir
        self.tensorboard = tensorboard
        self.floors = floors
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return self.method

    def _method_settings(self) -> Mapping[str, Any]:
        return self.settings or {}

    def _read_labels(self, y: Any, n: int) -> Labels:
        if is_label_sets(y):
            return read_label_sets(y, n, self.missing_label)
        return read_classes(y, n, self.missing_label)

    def _labels_like(self, y: Any, n: int, kind: TaskKind, classes: np.ndarray | None) -> Labels:
        if kind == "multilabel":
            return read_label_sets(y, n, self.missing_label)
        return read_classes(y, n, self.missing_label, classes=classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities from whatever each row has.

        Returns:
            (n, C); rows sum to 1 (multi-label: each entry is a probability of its own). After ``calibrate``
            they mean what they say for each pattern of presence.
        """
        return self._calibrated(self._predictions(X)).astype(np.float64)

    def predict(self, X: Any, *, abstain: float | None = None) -> np.ndarray:
        """The likeliest class of each row, (n,); multi-label: (n, C) of 0 and 1, at the method's cuts.

        A label is decided where its probability before calibration is above ``method_.cut``: 1/2, unless the
        method has learnt another. The metrics of ``subset_report`` that decide do so alike.

        Args:
            X: n rows.
            abstain: share of rows that may be answered wrongly, after ``calibrate``: a masked array comes,
                masked where ``predict_set(X, alpha=abstain)`` holds more than one class. None answers all.

        Raises:
            ConfigError: ``abstain`` without calibration, out of range, or for label sets.
        """
        if abstain is not None:
            return self._predict_or_abstain(X, abstain)
        probabilities = self._predictions(X).values
        if self.method_.cut is not None:
            return decide_labels(probabilities, self.method_.cut.cpu().numpy()).astype(np.int64)
        assert self.classes_ is not None
        return self.classes_[probabilities.argmax(axis=1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy over the labelled rows (multi-label: share of rows with every label right)."""
        check_is_fitted(self)
        n = door.n_rows(X)
        if self.method_.task.kind == "multilabel":
            sets = read_label_sets(y, n, self.missing_label).values
            rows = ~np.isnan(sets).any(axis=1)
            right = (sets[rows] == self.predict(X)[rows]).all(axis=1)
        else:
            rows, truth = known_classes(y, n, self.missing_label)
            right = truth == self.predict(X)[rows]
        weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
        return float(np.average(right, weights=weight))


class MethodRegressor(Shown, RegressorMixin, CalibratedRegressor, MethodEstimator):
    """Any registered method as a regressor; an unlabelled row has NaN.

    Arguments and attributes are those of :class:`MethodClassifier`, less ``missing_label`` and ``classes_``.
    """

    def __init__(
        self,
        method: str = "robult",
        modalities: Mapping[str, Modality] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        max_epochs: int = 100,
        batch_size: int = 256,
        labelled_share: float = 0.25,
        validation_fraction: float = 0.15,
        patience: int = 20,
        precision: str = "auto",
        checkpoint_dir: str | None = None,
        log_dir: str | None = None,
        tensorboard: bool = False,
        floors: bool = True,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.method = method
        self.modalities = modalities
        self.settings = settings
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.labelled_share = labelled_share
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.log_dir = log_dir
        self.tensorboard = tensorboard
        self.floors = floors
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _method_name(self) -> str:
        return self.method

    def _method_settings(self) -> Mapping[str, Any]:
        return self.settings or {}

    def _read_labels(self, y: Any, n: int) -> Labels:
        labels = read_values(y, n)
        refuse_coarse(labels.values)
        return labels

    def _labels_like(self, y: Any, n: int, kind: TaskKind, classes: np.ndarray | None) -> Labels:
        del kind, classes
        return read_values(y, n)

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,), in the units of y, from whatever each row has."""
        return self._predictions(X).values[:, 0].astype(np.float64)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 over the labelled rows."""
        check_is_fitted(self)
        labels = read_values(y, door.n_rows(X))
        rows = labels.labelled
        weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
        return float(r2_score(labels.values[rows], self.predict(X)[rows], sample_weight=weight))


def is_label_sets(y: Any) -> bool:
    """True for a 2-D y of more than one column: labels that do not exclude each other."""
    shape = y.shape if hasattr(y, "shape") else np.asarray(y, dtype=object).shape
    return len(shape) == 2 and shape[1] > 1
