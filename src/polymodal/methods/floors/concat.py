"""Floors that read all modalities at once, or none: class shares, and one linear model side by side.

Letters: n rows, M modalities, T steps, d width, C outputs (classes, labels, or 1 value).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from polymodal.methods.floors.linear import Linear, fit_linear
from polymodal.methods.floors.shell import Floor
from polymodal.methods.floors.views import Views, labelled_rows, with_dropped_copies


class Majority(Floor):
    """Class shares, label shares or the mean of the labelled training rows, whatever the input."""

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        pass

    def _predict(self, views: Views) -> np.ndarray:
        return np.tile(self.prior_, (len(views.presence), 1))

    def _parts(self) -> dict[str, Linear]:
        return {}

    def _take(self, parts: dict[str, Linear], extra: Mapping[str, Any]) -> None:
        pass


class ImputationConcat(Floor):
    """One linear model on all modalities side by side; an absent one is replaced by its training mean."""

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        del random
        rows = np.flatnonzero(labelled_rows(target))
        self.model_ = fit_linear(self._columns(views.rows(rows)), target[rows], self.kind_, self.prior_)

    def _columns(self, views: Views) -> np.ndarray:
        return np.concatenate(list(views.values.values()), axis=1)  # zero is the mean of scaled columns

    def _predict(self, views: Views) -> np.ndarray:
        return self.model_(self._columns(views))

    def _parts(self) -> dict[str, Linear]:
        return {"all": self.model_}

    def _take(self, parts: dict[str, Linear], extra: Mapping[str, Any]) -> None:
        del extra
        self.model_ = parts["all"]


class DropoutConcat(ImputationConcat):
    """``ImputationConcat`` with presence indicators, trained on rows and on copies that lost modalities."""

    N_COPIES: ClassVar[int] = 6000

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        more, rows = with_dropped_copies(views, target, self.N_COPIES, random)
        self.model_ = fit_linear(self._columns(more), target[rows], self.kind_, self.prior_, rows)

    def _columns(self, views: Views) -> np.ndarray:
        return np.concatenate([super()._columns(views), views.presence], axis=1)
