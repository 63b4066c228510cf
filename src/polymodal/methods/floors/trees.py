"""Floors of trees: all modalities side by side, NaN where absent.

Letters: n rows, M modalities, T steps, d width, C outputs (classes, labels, or 1 value).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from polymodal.batch import TaskKind
from polymodal.methods.floors.shell import Floor
from polymodal.methods.floors.views import Views, labelled_rows, with_dropped_copies


class _Trees(Floor):
    """Trees on all modalities side by side, NaN where absent."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("multiclass", "regression")
    _refusal: ClassVar[str] = " (scikit-learn's trees know no masked labels)"

    @property
    def n_parameters_(self) -> int | None:
        """None: trees have no coefficients to count."""
        return None

    def _new_model(self, seed: int) -> Any:
        raise NotImplementedError

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        rows = np.flatnonzero(labelled_rows(target) & views.presence.any(axis=1))
        x = views.rows(rows).side_by_side()
        y = target[rows].argmax(axis=1) if self.kind_ == "multiclass" else target[rows, 0]
        self.columns_ = np.flatnonzero(~np.isnan(x).all(axis=0))  # boosting cannot bin an empty column
        self.model_ = None  # nothing to tell apart: the prior
        if len(np.unique(y)) > 1:
            self.model_ = self._new_model(random.randint(2**31 - 1)).fit(x[:, self.columns_], y)

    def _predict(self, views: Views) -> np.ndarray:
        result = np.tile(self.prior_, (len(views.presence), 1))
        if self.model_ is None:
            return result
        x = views.side_by_side()[:, self.columns_]
        if self.kind_ == "regression":
            return self.model_.predict(x)[:, None]
        result[:] = 0.0
        result[:, self.model_.classes_] = self.model_.predict_proba(x)
        return result


class GradientBoosting(_Trees):
    """Histogram gradient boosting on rows and on copies that lost modalities, as ``DropoutConcat``.

    100 rounds of trees with at most 15 leaves, no early stopping: with C classes these are 100 C trees, by
    far the slowest of the floors.
    """

    N_COPIES: ClassVar[int] = 1000

    def _learn(self, views: Views, target: np.ndarray, random: np.random.RandomState) -> None:
        more, rows = with_dropped_copies(views, target, self.N_COPIES, random)
        super()._learn(more, target[rows], random)

    def _new_model(self, seed: int) -> Any:
        model = (
            HistGradientBoostingRegressor if self.kind_ == "regression" else HistGradientBoostingClassifier
        )
        return model(
            max_iter=100,
            max_leaf_nodes=15,
            max_bins=63,
            max_features=0.1,
            early_stopping=False,
            random_state=seed,
        )


class RandomForest(_Trees):
    """A random forest of 200 trees on the labelled rows as they are."""

    def _new_model(self, seed: int) -> Any:
        model = RandomForestRegressor if self.kind_ == "regression" else RandomForestClassifier
        return model(n_estimators=200, random_state=seed)
