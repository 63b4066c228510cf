"""Floors of cross-modal retrieval: what linear models make of a common space.

    cca                               canonical correlations of the pairs, without any label
    semantic_matching                 each modality's class probabilities
    correlated_semantic_matching      the same on top of the canonical components

All three are of Rasiwasia et al., A New Approach to Cross-Modal Multimedia Retrieval, ACM Multimedia 2010.
They are as strong as we could make them: penalties and weights were chosen on held-out training rows of the
Wikipedia set, in both of its features.

Letters: n rows, M modalities, d width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from polymodal.data import door
from polymodal.data.labels import read_classes
from polymodal.data.preprocessing import Preprocessor
from polymodal.data.unreadable import said_once
from polymodal.encoders.table import Encoders
from polymodal.errors import ConfigError
from polymodal.methods.floors.linear import Linear, fit_linear
from polymodal.methods.floors.shell import prior_of, to_target
from polymodal.methods.floors.views import Scaling, Views, to_matrices
from polymodal.schema import Modality

RIDGE = 0.3
"""What is added to each covariance, as a share of its mean variance."""
POWER = 2
"""The power of its correlation by which a canonical component counts."""
C = 0.01
"""Inverse penalty of the class models on standardised columns."""
C_CANONICAL = 0.1
"""The same on canonical components."""


class RetrievalFloor(BaseEstimator):
    """Base of these floors: reads rows as the estimators do, hands matrices to a linear model.

    Args:
        modalities: name -> a kind of :mod:`polymodal.schema`; None infers them from X.
        missing_label: the label of an unlabelled row in integer y.
    """

    def __init__(self, modalities: Mapping[str, Modality] | None = None, *, missing_label: Any = -1) -> None:
        self.modalities = modalities
        self.missing_label = missing_label

    def _learn(self, views: Views, target: np.ndarray | None) -> None:
        """Learn from standardised rows; target (n, C) has rows of NaN where unlabelled, None without y."""
        raise NotImplementedError

    def _embed(self, x: np.ndarray, modality: str) -> np.ndarray:
        """(n, d) standardised columns of one modality into the common space, of any length."""
        raise NotImplementedError

    @said_once()
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn a common space.

        Args:
            X: n rows: a DataFrame or a mapping of arrays by modality.
            y: n classes; an unlabelled row has None, NaN or ``missing_label``. None: no classes at all.

        Raises:
            DataError: X or y breaks a rule of the data door.
            ConfigError: the floor needs classes.
        """
        self.modalities_ = door.bind(X, self.modalities)
        self.encoders_ = Encoders()
        table = self.encoders_.fit_transform(door.read(X, self.modalities_, fitting=True))
        target = None if y is None else to_target(read_classes(y, table.n_rows, self.missing_label))
        self.preprocessor_ = Preprocessor().fit(table)
        raw = to_matrices(self.preprocessor_.transform(table))
        self.scaling_ = Scaling.fit(raw)
        self._learn(self.scaling_(raw), target)
        return self

    @said_once()
    def embed(self, X: Any, modality: str) -> np.ndarray:
        """Rows of one modality in the common space: (n, d) of unit length, NaN where it is absent.

        Raises:
            ConfigError: there is no such modality.
        """
        check_is_fitted(self)
        if modality not in self.modalities_:
            raise ConfigError(
                f"a modality is one of {', '.join(self.modalities_)}; {modality!r} came; name one of these"
            )
        table = self.encoders_.transform(door.read(X, self.modalities_))
        views = self.scaling_(to_matrices(self.preprocessor_.transform(table)))
        embedded = self._embed(views.values[modality], modality)
        embedded = embedded / np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-12)
        present = views.presence[:, list(self.modalities_).index(modality)]
        return np.where(present[:, None], embedded, np.nan)


# ---- canonical correlations ----------------------------------------------------------------------


class CCARetriever(RetrievalFloor):
    """Regularised canonical correlation analysis of any number of modalities.

    Each modality is whitened; the common space is spanned by the eigenvectors of the matrix of all
    covariances between different modalities, each pair's from the rows that have both. For two modalities
    these are the canonical components. A component counts by the square of its correlation: by itself a
    component of noise would count as much as the first one (Gong et al., A Multi-View Embedding Space for
    Modeling Internet Images, Tags, and their Semantics, IJCV 2014).

    Attributes:
        correlations_: (d,) of the components, falling; for M > 2 the mean over pairs of modalities.
    """

    def _learn(self, views: Views, target: np.ndarray | None) -> None:
        del target
        self.projections_, self.correlations_ = canonical_projections(views)

    def _embed(self, x: np.ndarray, modality: str) -> np.ndarray:
        return x @ self.projections_[modality] * self.correlations_**POWER


def canonical_projections(
    views: Views, ridge: float | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Projections (width, d) of each modality, and the components' correlations (d,), falling.

    Components that do not correlate are left out, one at least is kept. ``ridge`` is ``RIDGE`` if None.
    """
    ridge = RIDGE if ridge is None else ridge
    present = dict(zip(views.values, views.presence.T, strict=True))
    whitening = {name: _whitening(x[present[name]], ridge) for name, x in views.values.items()}
    ends = np.cumsum([len(w) for w in whitening.values()])
    place = {name: slice(end - len(w), end) for (name, w), end in zip(whitening.items(), ends, strict=True)}
    between = np.zeros((ends[-1], ends[-1]))
    for a, b in permutations(views.values, 2):
        both = present[a] & present[b]
        covariance = views.values[a][both].T @ views.values[b][both] / max(both.sum(), 1)
        between[place[a], place[b]] = whitening[a] @ covariance @ whitening[b]
    strength, vectors = np.linalg.eigh(between)
    correlations = strength[::-1] / max(len(whitening) - 1, 1)
    kept = max(1, int((correlations > 1e-6).sum()))
    vectors = vectors[:, ::-1][:, :kept]
    return {name: w @ vectors[place[name]] for name, w in whitening.items()}, correlations[:kept]


def _whitening(x: np.ndarray, ridge: float) -> np.ndarray:
    """(d, d) inverse root of the regularised covariance of centred rows (n, d)."""
    covariance = x.T @ x / max(len(x), 1)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0.0) + ridge * max(values.mean(), 1e-12)
    return vectors / np.sqrt(values) @ vectors.T


# ---- class probabilities -------------------------------------------------------------------------


class SemanticMatchingRetriever(RetrievalFloor):
    """Each modality's class probabilities as the common space, compared by correlation.

    A logistic regression a modality, on the labelled rows that have it; the class shares are taken off, so
    that two rows about which nothing is known do not look alike.
    """

    def _learn(self, views: Views, target: np.ndarray | None) -> None:
        if target is None:
            raise ConfigError(
                f"{type(self).__name__} finds what is of the same class and needs classes; y=None came; "
                "pass y, or take CCARetriever"
            )
        labelled = ~np.isnan(target).any(axis=1)
        self.prior_ = prior_of(target[labelled], "multiclass")
        self.models_: dict[str, Linear] = {}
        for (name, x), present in zip(views.values.items(), views.presence.T, strict=True):
            rows = labelled & present
            self.models_[name] = fit_linear(
                self._scaled(x[rows], name), target[rows], "multiclass", self.prior_
            )

    def _scaled(self, x: np.ndarray, modality: str) -> np.ndarray:
        """Columns scaled by the root of C, which is a penalty of 1 / C on the unscaled ones."""
        del modality
        return np.sqrt(C) * x

    def _embed(self, x: np.ndarray, modality: str) -> np.ndarray:
        return self.models_[modality](self._scaled(x, modality)) - self.prior_


class CorrelatedSemanticMatchingRetriever(SemanticMatchingRetriever):
    """Semantic matching whose models read the canonical components of all rows, labelled or not."""

    def _learn(self, views: Views, target: np.ndarray | None) -> None:
        self.projections_, _ = canonical_projections(views)
        super()._learn(views, target)

    def _scaled(self, x: np.ndarray, modality: str) -> np.ndarray:
        return np.sqrt(C_CANONICAL) * (x @ self.projections_[modality])


RETRIEVAL_FLOORS: dict[str, type[RetrievalFloor]] = {
    "cca": CCARetriever,
    "semantic_matching": SemanticMatchingRetriever,
    "correlated_semantic_matching": CorrelatedSemanticMatchingRetriever,
}
