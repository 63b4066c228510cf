"""Boosted trees of the committee: slow, shallow histogram boosting by scikit-learn, for all columns at once.

Sources: Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29,
2001; Ke et al., "LightGBM", NeurIPS 2017, after which scikit-learn's are made. A round has one tree a class,
and what its leaves say adds to the class's score before the softmax.

Letters: n rows, d width, C classes, K trees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

N_ROUNDS = 60
RATE = 0.05
N_LEAVES = 6
N_BINS = 63
SHARE = 0.1
"""Of the columns, which a node tries."""
NEVER = -20.0
"""Raw score of a class that no row showed."""


@dataclass(frozen=True)
class Boosted:
    """Boosted trees of some classes.

    Attributes:
        model: scikit-learn's.
        n_classes: C, those that its rows never showed among them.
    """

    model: HistGradientBoostingClassifier
    n_classes: int

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(n, d) columns to (n, C) shares."""
        shares = np.zeros((len(x), self.n_classes))
        shares[:, self.model.classes_] = self.model.predict_proba(x)
        return shares

    @property
    def start(self) -> np.ndarray:
        """(C,): the scores without a tree."""
        found = np.full(self.n_classes, NEVER)
        found[self.model.classes_] = 0.0
        found[self._scored] = self.model._baseline_prediction.ravel()
        return found

    @property
    def trees(self) -> list[tuple[int, np.ndarray]]:
        """K times a class and the nodes, as scikit-learn has them, of a tree that adds to its score."""
        rounds = [zip(self._scored.tolist(), trees, strict=True) for trees in self.model._predictors]
        return [(own, tree.nodes) for each in rounds for own, tree in each]

    @property
    def _scored(self) -> np.ndarray:
        """The classes that have trees: of two only the second, the other's score is 0."""
        return self.model.classes_[-self.model.n_trees_per_iteration_ :]


def boost(x: np.ndarray, target: np.ndarray, weight: np.ndarray, *, seed: int) -> Boosted:
    """Boosted trees.

    Args:
        x: (n, d) float32; NaN where a column is absent.
        target: (n, C) one-hot, with two classes at least.
        weight: (n,) of the rows.
        seed: of the columns that nodes try.
    """
    model = HistGradientBoostingClassifier(
        max_iter=N_ROUNDS,
        learning_rate=RATE,
        max_leaf_nodes=N_LEAVES,
        max_bins=N_BINS,
        max_features=SHARE,
        early_stopping=False,
        random_state=seed,
    )
    x = np.where(np.isnan(x).all(axis=0), np.float32(0), x)  # scikit-learn cuts no column without a value
    with threadpool_limits(1, "openmp"):  # the sums of several threads differ in their last bits
        model.fit(x, target.argmax(axis=1), sample_weight=weight)
    found = Boosted(model, target.shape[1])
    _put_between(found, x)
    return found


def _put_between(boosted: Boosted, x: np.ndarray) -> None:
    """Move thresholds midway between two neighbouring values of (n, d) training rows.

    NOTE[DIFF]: where a column has more values than bins, scikit-learn's lie on values, and the last bit of
    one that is met again decides. What the training rows are told stays the same.
    """
    values = [np.unique(column[~np.isnan(column)]).astype(np.float64) for column in x.T]
    for _, nodes in boosted.trees:
        for node in np.flatnonzero(nodes["is_leaf"] == 0):
            own = values[nodes["feature_idx"][node]]
            above = np.searchsorted(own, nodes["num_threshold"][node], side="right")
            if 0 < above < len(own):
                nodes["num_threshold"][node] = own[above - 1 : above + 1].mean()
