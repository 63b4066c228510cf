"""A fitted estimator that knows its errors, and what its inputs are worth.

Probabilities that mean what they say, sets that keep a promise, the expected worth of a missing input.

Everything is learnt by ``calibrate`` from labelled rows that the caller kept aside, half of them for the
temperatures and half for the conformal scores, so that the rows that make a promise were seen by neither
training, early stopping nor temperatures. What a missing input is worth is learnt from all of them.

Letters: n rows, M modalities, C outputs, K conformal scores a row.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from polymodal.acquisition import Acquisition
from polymodal.calibration import Temperatures, calibrated, fit_temperatures
from polymodal.conformal import Conformal, fit_conformal
from polymodal.data import door
from polymodal.errors import CalibrationWarning, ConfigError
from polymodal.estimators.settings import seed_of
from polymodal.estimators.subsets import subset_predictions
from polymodal.estimators.worth import acquisition_table, learn_acquisition, shapley_rows

if TYPE_CHECKING:
    from polymodal.estimators.shell import MethodEstimator, Predictions

    Shell = MethodEstimator
else:
    Shell = object  # mixed into the shell, which saves what is learnt here: it cannot be imported


ACQUISITION = "acquisition."
"""Prefix of the arrays behind the worth of further modalities."""


# ---- what calibration learns ---------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """What ``calibrate`` learnt.

    Attributes:
        temperatures: of each pattern of presence (regression: error scales), from half of the rows.
        conformal: scores of each pattern, from the other half.
        acquisition: the worth of further modalities, from all rows; None for a model of before.
    """

    temperatures: Temperatures
    conformal: Conformal
    acquisition: Acquisition | None = None

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Content for JSON, and arrays for safetensors."""
        own, scores = self.temperatures.own, self.conformal.scores
        subsets = list(dict.fromkeys([*own, *scores]))
        arrays = [scores.get(subset, np.empty((0, self.conformal.n_scores))) for subset in subsets]
        patterns = [
            {
                "modalities": list(subset),
                "temperature": own.get(subset),
                "n_temperature": self.temperatures.n_rows.get(subset, 0),
                "n_scores": len(array),
            }
            for subset, array in zip(subsets, arrays, strict=True)
        ]
        common = self.temperatures.common
        content = {
            "kind": self.temperatures.kind,
            "names": list(self.temperatures.names),
            "common": None if np.isnan(common) else common,  # JSON has no word for it
            "by_size": {str(size): t for size, t in self.temperatures.by_size.items()},
            "n_outputs": self.conformal.n_scores,
            "patterns": patterns,
        }
        found = {"scores": np.concatenate(arrays)}
        if self.acquisition is not None:
            content["acquisition"], learnt = self.acquisition.state()
            found |= {f"{ACQUISITION}{key}": array for key, array in learnt.items()}
        return content, found

    @classmethod
    def from_state(cls, content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """The inverse of :meth:`state`."""
        kind, names = content["kind"], tuple(content["names"])
        common = np.nan if content["common"] is None else content["common"]
        by_size = {int(size): t for size, t in content.get("by_size", {}).items()}  # earlier files: none
        own, n_rows, scores, start = {}, {}, {}, 0
        for pattern in content["patterns"]:
            subset, n = tuple(pattern["modalities"]), pattern["n_scores"]
            if pattern["temperature"] is not None:
                own[subset], n_rows[subset] = pattern["temperature"], pattern["n_temperature"]
            if n:
                scores[subset] = arrays["scores"][start : start + n]
            start += n
        return cls(
            Temperatures(kind, names, common, own, n_rows, by_size),
            Conformal(kind, names, content["n_outputs"], scores),
            _acquisition_from_state(content, arrays),
        )


def _acquisition_from_state(
    content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Acquisition | None:
    if content.get("acquisition") is None:  # models of before have no word for it
        return None
    own = {k.removeprefix(ACQUISITION): array for k, array in arrays.items() if k.startswith(ACQUISITION)}
    return Acquisition.from_state(content["acquisition"], own)


# ---- estimators ----------------------------------------------------------------------------------


class Calibrated(Shell):
    """``calibrate``, for classifiers and regressors alike."""

    calibration_: Calibration | None = None

    def calibrate(self, X: Any, y: Any) -> Self:
        """Learn how far the model can be trusted, for every combination of modalities.

        Half of the rows, drawn by ``random_state``, give a temperature for each pattern of presence; the
        others the scores behind prediction sets and intervals; all of them what each further modality is
        worth. A row counts for every pattern that it contains, masked to it. Calling it again starts anew;
        ``fit`` forgets it.

        Args:
            X: n rows like those to be predicted, which ``fit`` has not seen: neither as training rows nor for
                early stopping.
            y: n labels; unlabelled rows are left out.

        Returns:
            The estimator itself, with ``calibration_``; decisions stay as they were.

        Raises:
            DataError: X or y breaks a rule of the data door.
        """
        check_is_fitted(self)
        labels = self._evaluation_labels(y, door.n_rows(X))
        seed = seed_of(self.random_state)
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(labels.labelled))
        X = self.encoded(door.take(X, rows))
        predict, presence = subset_predictions(self, X)
        names, kind, truth, half = tuple(self.modalities_), labels.kind, labels.values[rows], len(rows) // 2

        temperatures = fit_temperatures(
            lambda subset: predict(subset)[:half], presence[:half], names, truth[:half], kind
        )
        rest = calibrated(lambda subset: predict(subset)[half:], temperatures, presence[half:])
        conformal = fit_conformal(rest, presence[half:], names, truth[half:], kind)
        every = calibrated(predict, temperatures, presence)
        acquisition = learn_acquisition(self, X, every, presence, truth)
        self.calibration_ = Calibration(temperatures, conformal, acquisition)
        return self

    def shapley(self, X: Any) -> np.ndarray:
        """What each modality contributes to each row's prediction: exact Shapley values.

        Above 12 modalities, from sampled orders, unless the model is an uncalibrated late fusion;
        :func:`polymodal.estimators.shapley_rows` gives their standard errors too.

        Args:
            X: n rows, as for ``predict``.

        Returns:
            (n, M, C), M in the order of ``modalities_``, C of classes, labels, or 1 value. The contributions
            of a row sum to its probabilities or value less the training prior; an absent modality contributes
            0.
        """
        return shapley_rows(self, X).values

    def acquisition_value(self, X: Any, *, reference: tuple[Any, Any] | None = None) -> pd.DataFrame:
        """What each missing modality of each row is expected to be worth, ranked: what to get next.

        Args:
            X: n rows, as for ``predict``.
            reference: rows (X, y) that ``fit`` has not seen, in place of those of ``calibrate``.

        Returns:
            A line for each row and modality that it lacks: ``row`` (from 0), ``modality``, ``value``
            (expected decrease of the log loss in nats, or of the squared error), ``error`` (standard error),
            ``rank`` (1 is best). NaN where fewer than 30 reference rows have the row's
            modalities and the further one.

        Raises:
            ConfigError: the model is not calibrated, and no reference rows came.
        """
        return acquisition_table(self, X, reference=reference)

    def _keep(self, *learnt: Any) -> None:
        super()._keep(*learnt)
        self.calibration_ = None  # of an earlier fit

    def _calibrated(self, found: Predictions) -> np.ndarray:
        """(n, C) predictions, by the temperatures where there are any."""
        if self.calibration_ is None:
            return found.values
        return self.calibration_.temperatures(found.values, found.presence)

    def _conformal(self, what: str, alpha: float) -> Conformal:
        check_is_fitted(self)
        if self.calibration_ is None:
            raise ConfigError(
                f"{what} need labelled rows that training did not see; none came; call calibrate(X, y) first"
            )
        if not (isinstance(alpha, int | float | np.floating) and 0 < alpha < 1):
            raise ConfigError(
                f"alpha is the share of errors that is allowed, between 0 and 1; got {alpha!r}; take 0.1"
            )
        return self.calibration_.conformal


class CalibratedClassifier(Calibrated):
    """Prediction sets, and silence where one class is not enough."""

    def predict_set(self, X: Any, alpha: float = 0.1) -> np.ndarray:
        """The classes that cannot be ruled out, at a promised share of errors.

        For each pattern of presence, P(true class in the set) >= 1 - alpha, as long as whether an input is
        missing has nothing to do with how hard the row is. A set always holds the likeliest class.
        Multi-label: each label that is there is in the set with probability 1 - alpha, label by label.

        Args:
            X: n rows, as for ``predict``.
            alpha: share of errors that is allowed.

        Returns:
            (n, C) bool, in the order of ``classes_``. All True, with a warning, where too few calibration
            rows have a row's pattern (fewer than 1 / alpha - 1).

        Raises:
            ConfigError: the model is not calibrated, or alpha is not between 0 and 1.
        """
        return self._sets(X, alpha)[0]

    def _sets(self, X: Any, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """(n, C) bool, and the calibrated probabilities (n, C)."""
        conformal = self._conformal("prediction sets", alpha)
        found = self._predictions(X)
        probabilities = self._calibrated(found)
        _warn_of_few(conformal, found.presence, alpha)
        return conformal.sets(probabilities, found.presence, alpha), probabilities

    def _predict_or_abstain(self, X: Any, alpha: float) -> np.ma.MaskedArray:
        """(n,) classes, masked where the prediction set holds more than one."""
        if self.method_.task.kind == "multilabel":
            raise ConfigError(
                "abstain is for one class a row; this model predicts label sets; call predict_set for the "
                "labels that cannot be ruled out"
            )
        sets, probabilities = self._sets(X, alpha)
        assert self.classes_ is not None
        return np.ma.masked_array(self.classes_[probabilities.argmax(axis=1)], mask=sets.sum(axis=1) > 1)


class CalibratedRegressor(Calibrated):
    """Prediction intervals."""

    def predict_interval(self, X: Any, alpha: float = 0.1) -> np.ndarray:
        """An interval around each predicted value, at a promised share of errors.

        For each pattern of presence, P(true value in the interval) >= 1 - alpha, as long as whether an input
        is missing has nothing to do with how hard the row is. All rows of a pattern have intervals of one
        width.

        Args:
            X: n rows, as for ``predict``.
            alpha: share of errors that is allowed.

        Returns:
            (n, 2): lower and upper ends, in the units of y. Infinite, with a warning, where too few
            calibration rows have a row's pattern (fewer than 1 / alpha - 1).

        Raises:
            ConfigError: the model is not calibrated, or alpha is not between 0 and 1.
        """
        conformal = self._conformal("prediction intervals", alpha)
        found = self._predictions(X)
        _warn_of_few(conformal, found.presence, alpha)
        return conformal.intervals(found.values, found.presence, alpha)


def _warn_of_few(conformal: Conformal, presence: np.ndarray, alpha: float) -> None:
    if words := conformal.too_few(presence, alpha):
        warnings.warn(words, CalibrationWarning, stacklevel=4)
