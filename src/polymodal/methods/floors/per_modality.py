"""Floors with one linear model a modality: the best alone, their mean, and its self-training.

Letters: n rows, M modalities, T steps, d width, C outputs (classes, labels, or 1 value).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.model_selection import KFold

from polymodal.batch import TaskKind
from polymodal.methods.floors.linear import Linear, fit_linear
from polymodal.methods.floors.shell import Floor
from polymodal.methods.floors.views import Views, labelled_rows


class _OnePerModality(Floor):
    """One linear model a modality, trained on the labelled rows that have it.

    A class that these rows lack gets probability 0; a modality whose labelled rows are none, or all of one
    class, predicts the training prior.
    """

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        del random
        self.models_ = self._fit_each(views, target)

    def _fit_each(self, views: Views, target: np.ndarray) -> dict[str, Linear]:
        labelled = labelled_rows(target)
        models = {}
        for (name, value), present in zip(views.values.items(), views.presence.T, strict=True):
            rows = present & labelled
            models[name] = fit_linear(value[rows], target[rows], self.kind_, self.prior_)
        return models

    def _branches(self, views: Views) -> dict[str, np.ndarray]:
        """(n, C) by name, NaN where absent."""
        return {
            name: np.where(present[:, None], self.models_[name](value), np.nan)
            for (name, value), present in zip(views.values.items(), views.presence.T, strict=True)
        }

    def _parts(self) -> dict[str, Linear]:
        return self.models_

    def _take(self, parts: dict[str, Linear], extra: Mapping[str, Any]) -> None:
        del extra
        self.models_ = parts


class BestSingle(_OnePerModality):
    """The one modality whose linear model cross-validates best on the labelled training rows.

    Judged by squared error against one-hot labels (the Brier score) or values, relative to that of the
    prior on the same rows, since modalities are present on different rows; 5 folds. A row that lacks the
    best modality gets the best of those it has.

    Attributes:
        ranking_: modality names, best first.
    """

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        super()._learn(views, target, random)
        labelled = labelled_rows(target)
        seed = random.randint(2**31 - 1)
        errors = {}
        for (name, value), present in zip(views.values.items(), views.presence.T, strict=True):
            rows = present & labelled
            errors[name] = self._cross_validated_error(value[rows], target[rows], seed)
        self.ranking_ = sorted(errors, key=lambda name: errors[name])

    def _cross_validated_error(self, x: np.ndarray, target: np.ndarray, seed: int) -> float:
        if len(x) < 2:
            return np.inf
        error = base = 0.0
        for fit, held in KFold(min(5, len(x)), shuffle=True, random_state=seed).split(x):
            model = fit_linear(x[fit], target[fit], self.kind_, self.prior_)
            error += np.nansum((model(x[held]) - target[held]) ** 2)
            base += np.nansum((self.prior_ - target[held]) ** 2)
        return float(error / max(base, 1e-12))

    def _predict(self, views: Views) -> np.ndarray:
        branches = self._branches(views)
        result = np.full_like(branches[self.ranking_[0]], np.nan)
        for name in self.ranking_:
            result = np.where(np.isnan(result), branches[name], result)
        return result

    def _extra(self) -> dict[str, Any]:
        return {"ranking": self.ranking_}

    def _take(self, parts: dict[str, Linear], extra: Mapping[str, Any]) -> None:
        self.models_, self.ranking_ = parts, list(extra["ranking"])


class LateFusion(_OnePerModality):
    """The mean of the present modalities' linear models."""

    late_fusion: ClassVar[bool] = True

    def _predict(self, views: Views) -> np.ndarray:
        return np.nanmean(list(self._branches(views).values()), axis=0)

    def branch_predictions(self, X: Any) -> dict[str, np.ndarray]:
        """Each modality's own prediction, ``{modality: (n, C)}``, rows of NaN where it is absent."""
        return self._branches(self._views(X))


class SelfTraining(LateFusion):
    """Late fusion whose predictions label the unlabelled rows; each modality's model is fitted again.

    Three generations; a generation's teacher is the fused model before it. A row counts when the teacher
    gives one class at least ``CONFIDENT``; true labels stay what they are.
    """

    kinds: ClassVar[tuple[TaskKind, ...]] = ("multiclass",)
    _refusal: ClassVar[str] = " (its pseudo-labels need one class a row, and how sure the model is of it)"
    N_GENERATIONS: ClassVar[int] = 3
    CONFIDENT: ClassVar[float] = 0.5

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        super()._learn(views, target, random)
        labelled = labelled_rows(target)
        for _ in range(self.N_GENERATIONS):
            taught = self._teach(self._complete(views))
            self.models_ = self._fit_each(views, np.where(labelled[:, None], target, taught))

    def _teach(self, fused: np.ndarray) -> np.ndarray:
        """(n, C) predictions of all training rows to targets, NaN where the teacher is silent."""
        hard = np.eye(fused.shape[1])[fused.argmax(axis=1)]
        return np.where(fused.max(axis=1, keepdims=True) >= self.CONFIDENT, hard, np.nan)


class SoftSelfTraining(SelfTraining):
    """Self-training with soft targets on every row, sharpened and aligned to the labelled class shares.

    Sharpening squares the teacher's probabilities. Alignment multiplies them by prior / their mean and
    normalises, until the targets' mean is the prior: a weak teacher cannot give all rows to one class.
    """

    N_ALIGNMENTS: ClassVar[int] = 20

    def _teach(self, fused: np.ndarray) -> np.ndarray:
        target = fused**2
        for _ in range(self.N_ALIGNMENTS):
            target /= target.sum(axis=1, keepdims=True)
            target *= self.prior_ / np.maximum(target.mean(axis=0), 1e-12)
        return target / target.sum(axis=1, keepdims=True)
