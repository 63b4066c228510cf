"""Acquisition: what a missing modality is expected to be worth for a row, by what is known without it.

Read from the top: the loss of a row; what is known of a row; one regression for each combination and further
modality; how it is learnt; what it says of new rows.

For labelled rows that have S and m, masked, both losses are seen: from S and from S + m. Their difference is
how much m lowered the loss of that row. Regressed on what the model knew from S alone,

    E[loss(S) - loss(S + m) | S]        in nats, or squared units of y

is what "get m next" is worth for a row that has S. It holds for rows like these: while whether an input is
missing has nothing to do with what it would have said.

The regression is linear, in what a late reader of S could see: the prediction and its entropy, how far the
branches disagree, and the leading components of each modality of S. These are there because a prediction does
not tell all: two rows may be equally unsure for different reasons. Differences of losses are noisy, so the
coefficients are shrunk (ridge), and few rows give the mean of all rows.

Letters: n rows, M modalities, C outputs, F features, K components, G groups of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from scipy.special import entr
from sklearn.decomposition import PCA

from polymodal.calibration import MIN_PROBABILITY, containing, patterns
from polymodal.evaluation import FusedBranches, Predict, Subset, distinct_patterns

if TYPE_CHECKING:
    from polymodal.batch import TaskKind

MIN_ROWS = 30
"""Rows that have a combination and the further modality; with fewer nothing is said."""
PENALTY = 300.0
"""Ridge penalty for features of variance 1: as many rows bring a coefficient half of its least-squares size.

On late fusion and PgM, synthetic and mfeat, with 100 to 1,000 rows, 100 to 1,000 were as good; with 30 a
hundred rows predicted less than their mean does. The same features in a forest predicted no better."""
N_COMPONENTS = 16
"""Leading components of a modality that are read."""
N_GROUPS = 20
"""Groups of rows that are left out in turn for a standard error, which is then itself known to 16 %."""
MAX_CLASSES = 20
"""Classes up to which each has features of its own."""
MAX_PATTERNS = 32
"""Above 8 modalities: the most frequent combinations of those that rows have."""

COLUMNS = ["row", "modality", "value", "error", "rank"]


# ---- the loss of a row ---------------------------------------------------------------------------


def row_losses(y: np.ndarray, prediction: np.ndarray, kind: TaskKind) -> np.ndarray:
    """(n,): log loss in nats (label sets: mean over the known labels), or squared error."""
    prediction = prediction.astype(np.float64)
    if kind == "regression":
        return np.square(y - prediction[:, 0])
    if kind == "multiclass":
        return -np.log(np.maximum(prediction[np.arange(len(y)), y], MIN_PROBABILITY))
    likelihood = np.where(y == 1, prediction, 1.0 - prediction)
    loss = np.where(np.isnan(y), 0.0, -np.log(np.maximum(likelihood, MIN_PROBABILITY)))
    return loss.sum(axis=1) / (~np.isnan(y)).sum(axis=1)


# ---- what is known of a row ----------------------------------------------------------------------


@dataclass(frozen=True)
class Components:
    """The leading components of each modality.

    Attributes:
        mean: modality -> (d,).
        axes: modality -> (d, K).
    """

    mean: Mapping[str, np.ndarray]
    axes: Mapping[str, np.ndarray]

    @classmethod
    def fit(cls, views: Mapping[str, np.ndarray], presence: np.ndarray) -> Components:
        """Learn from the rows that have a modality.

        Args:
            views: modality -> (n, d), each a column of numbers of the present rows.
            presence: (n, M) bool, M in the order of ``views``.
        """
        mean, axes = {}, {}
        for (name, view), there in zip(views.items(), presence.T, strict=True):
            here = view[there] if there.sum() > 1 else np.zeros((2, view.shape[1]))
            with np.errstate(invalid="ignore"):  # columns that do not vary have no shares of variance
                found = PCA(min(N_COMPONENTS, *here.shape), random_state=0).fit(here)
            mean[name] = found.mean_
            axes[name] = np.ascontiguousarray(found.components_.T)
        return cls(mean, axes)

    def __call__(self, views: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Modality -> (n, K)."""
        return {name: (view - self.mean[name]) @ self.axes[name] for name, view in views.items()}


@dataclass(frozen=True)
class Known:
    """What is known of n rows from the modalities of one combination, all of which they have.

    Attributes:
        prediction: (n, C) from the combination alone.
        spread: (n,) variance of the branches' predictions around it, summed over outputs; None for a method
            that is no late fusion.
        components: the combination's modality -> (n, K).
    """

    prediction: np.ndarray
    spread: np.ndarray | None
    components: Mapping[str, np.ndarray]

    def features(self, prior: np.ndarray, kind: TaskKind) -> np.ndarray:
        """(n, F); what the combination and the task fix is the same F for all rows."""
        columns = [_of_prediction(self.prediction.astype(np.float64), prior, kind)]
        if self.spread is not None:
            columns.append(self.spread[:, None])
        return np.hstack([*columns, *self.components.values()])


def _of_prediction(p: np.ndarray, prior: np.ndarray, kind: TaskKind) -> np.ndarray:
    """What a prediction says of its own error: entropies, or how far it is from the mean of y."""
    if kind == "regression":
        return np.hstack([p - prior, np.square(p - prior)])
    p = np.clip(p, 0.0, 1.0)  # a float32 softmax may pass 1 by a hair
    entropy = entr(p) if kind == "multiclass" else entr(p) + entr(1.0 - p)
    if p.shape[1] > MAX_CLASSES:
        return np.stack([entropy.sum(axis=1), p.max(axis=1)], axis=1)
    return np.hstack([p, entropy])


def spread_of(fused: FusedBranches, subset: Subset, rows: np.ndarray) -> np.ndarray:
    """(k,) of k rows: variance of the branches of a subset around their mean, summed over outputs."""
    chosen = np.array([fused.names.index(name) for name in subset], dtype=np.int64)
    if len(chosen) < 2:
        return np.zeros(len(rows))
    return fused.branches[np.ix_(chosen, rows)].var(axis=0, dtype=np.float64).sum(axis=1)


# ---- one regression ------------------------------------------------------------------------------


def ridge_with_groups(x: np.ndarray, target: np.ndarray, penalty: float, n_groups: int) -> np.ndarray:
    """Ridge coefficients of all rows and of all but each group, intercepts first, (1 + G, 1 + F).

    Features are brought to variance 1 and the intercept is not shrunk.

    Args:
        x: (n, F).
        target: (n,).
        penalty: for features of variance 1.
        n_groups: G; row i is of group i modulo G.
    """
    scale = x.std(axis=0)
    scale = np.where(scale > 1e-9, scale, np.inf)
    centre = x.mean(axis=0)
    design = np.hstack([np.ones((len(x), 1)), (x - centre) / scale])
    groups = [(design[g::n_groups], target[g::n_groups]) for g in range(n_groups)]
    grams = np.stack([part.T @ part for part, _ in groups])
    moments = np.stack([part.T @ t for part, t in groups])
    grams = np.concatenate([grams.sum(axis=0)[None], grams.sum(axis=0) - grams])
    moments = np.concatenate([moments.sum(axis=0)[None], moments.sum(axis=0) - moments])
    shrink = penalty * np.eye(design.shape[1])
    shrink[0, 0] = 0.0
    coefficients = np.linalg.solve(grams + shrink, moments[:, :, None])[:, :, 0]
    slopes = coefficients[:, 1:] / scale
    return np.hstack([coefficients[:, :1] - slopes @ centre[:, None], slopes])


def expected(coefficients: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`ridge_with_groups` says of (n, F): expectations (n,) and their standard errors (n,).

    The errors are those of the delete-a-group jackknife, of the draw of the rows; what shrinkage takes away
    is not in them.
    """
    found = coefficients[:, :1] + coefficients[:, 1:] @ x.T
    n_groups = len(coefficients) - 1
    return found[0], np.sqrt((n_groups - 1) * found[1:].var(axis=0))


# ---- learning ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Acquisition:
    """What was learnt of the worth of each further modality.

    Attributes:
        kind: the task kind.
        prior: (C,) the training prior.
        components: of the modalities.
        coefficients: (combination, further modality) -> (1 + G, 1 + F); without a pair, too few rows had it.
    """

    kind: TaskKind
    prior: np.ndarray
    components: Components
    coefficients: Mapping[tuple[Subset, str], np.ndarray]

    def of(self, subset: Subset, name: str, known: Known) -> tuple[np.ndarray, np.ndarray]:
        """Expected decreases of the loss (n,) and standard errors (n,); NaN where too few rows taught it."""
        coefficients = self.coefficients.get((subset, name))
        if coefficients is None:
            nothing = np.full(len(known.prediction), np.nan)
            return nothing, nothing
        return expected(coefficients, known.features(self.prior, self.kind))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Content for JSON, and arrays for safetensors."""
        content = {
            "kind": self.kind,
            "names": list(self.components.mean),
            "pairs": [
                {"modalities": list(subset), "further": name, "shape": list(coefficients.shape)}
                for (subset, name), coefficients in self.coefficients.items()
            ],
        }
        none = np.empty(0, dtype=np.float32)
        arrays = {
            "prior": self.prior,
            "coefficients": np.concatenate([none, *(c.ravel() for c in self.coefficients.values())]),
        }
        for name in self.components.mean:
            arrays[f"mean.{name}"] = self.components.mean[name]
            arrays[f"axes.{name}"] = self.components.axes[name]
        return content, arrays

    @classmethod
    def from_state(cls, content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """The inverse of :meth:`state`."""
        names, coefficients, start = content["names"], {}, 0
        for pair in content["pairs"]:
            stop = start + int(np.prod(pair["shape"]))
            learnt = arrays["coefficients"][start:stop].reshape(pair["shape"])
            coefficients[tuple(pair["modalities"]), pair["further"]] = learnt
            start = stop
        components = Components(*({n: arrays[f"{part}.{n}"] for n in names} for part in ("mean", "axes")))
        return cls(content["kind"], arrays["prior"], components, coefficients)


def fit_acquisition(
    predict: Predict,
    branches: FusedBranches | None,
    views: Mapping[str, np.ndarray],
    presence: np.ndarray,
    y: np.ndarray,
    kind: TaskKind,
) -> Acquisition:
    """Learn what each modality adds to each combination, from rows that have both, masked.

    Up to 8 modalities all combinations are learnt; above, nothing at all, all but one, and the
    ``MAX_PATTERNS`` most frequent of the rows.

    Args:
        predict: from a subset to (n, C) predictions made of at most these modalities, calibrated or not;
            ``()`` gives the training prior.
        branches: of a late fusion.
        views: modality -> (n, d) columns of numbers, M in schema order.
        presence: (n, M) bool.
        y: labels of the n rows, all of them labelled; rows that the model was not trained on.
        kind: the task kind.
    """
    names, predict = tuple(views), cache(predict)
    components = Components.fit(views, presence)
    parts = components(views)
    prior = predict(())[0].astype(np.float64)
    coefficients: dict[tuple[Subset, str], np.ndarray] = {}
    for subset in _learnable(presence, names):
        for name, rows in _further(subset, presence, names):
            with_it = tuple(n for n in names if n in subset or n == name)
            known = known_of(predict(subset), branches, parts, subset, rows)
            lost, kept = (row_losses(y[rows], predict(s)[rows], kind) for s in (subset, with_it))
            learnt = ridge_with_groups(known.features(prior, kind), lost - kept, PENALTY, N_GROUPS)
            coefficients[subset, name] = learnt.astype(np.float32)
    return Acquisition(kind, prior, components, coefficients)


def known_of(
    prediction: np.ndarray,
    branches: FusedBranches | None,
    components: Mapping[str, np.ndarray],
    subset: Subset,
    rows: np.ndarray,
) -> Known:
    """What is known of some rows from a subset.

    Args:
        prediction: (n, C) from the subset.
        branches: of a late fusion, of all n rows.
        components: modality -> (n, K).
        subset: the modalities that may be read.
        rows: (k,) indices of rows that have them all.
    """
    return Known(
        prediction[rows],
        None if branches is None else spread_of(branches, subset, rows),
        {name: components[name][rows] for name in subset},
    )


def _learnable(presence: np.ndarray, names: Sequence[str]) -> list[Subset]:
    """The combinations that something can be added to."""
    chosen = patterns(presence, names)
    if len(names) <= 8:
        return [subset for subset in chosen if len(subset) < len(names)]
    found, which = distinct_patterns(presence)
    frequent = found[np.argsort(-np.bincount(which), kind="stable")[:MAX_PATTERNS]]
    wanted = {tuple(n for n, there in zip(names, pattern, strict=True) if there) for pattern in frequent}
    return [s for s in chosen if len(s) in (0, len(names) - 1) or (s in wanted and len(s) < len(names))]


def _further(subset: Subset, presence: np.ndarray, names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Modalities that are not in a subset, each with the rows that have both, where these are enough."""
    for name in names:
        if name not in subset:
            rows = containing(presence, names, (*subset, name))
            if len(rows) >= MIN_ROWS:
                yield name, rows


# ---- new rows ------------------------------------------------------------------------------------


def acquisition_table(
    learnt: Acquisition,
    prediction: np.ndarray,
    branches: FusedBranches | None,
    components: Mapping[str, np.ndarray],
    presence: np.ndarray,
) -> pd.DataFrame:
    """What each missing modality of each row is expected to be worth.

    Args:
        learnt: what :func:`fit_acquisition` learnt.
        prediction: (n, C) from whatever each row has, calibrated like those.
        branches: of a late fusion.
        components: modality -> (n, K), M in schema order: what ``learnt.components`` makes of the rows.
        presence: (n, M) bool.

    Returns:
        One line for each row and modality that it lacks: row (from 0), modality, value (expected decrease of
        the log loss in nats, or of the squared error), error (standard error), rank (1 is best; NaN beside a
        NaN value, where too few rows taught it).
    """
    names = tuple(components)
    values, errors = (np.full(presence.shape, np.nan) for _ in range(2))
    found, which = distinct_patterns(presence)
    for number, pattern in enumerate(found):
        rows = np.flatnonzero(which == number)
        subset = tuple(name for name, there in zip(names, pattern, strict=True) if there)
        known = known_of(prediction, branches, components, subset, rows)
        for m in np.flatnonzero(~pattern):
            values[rows, m], errors[rows, m] = learnt.of(subset, names[m], known)
    ranks = pd.DataFrame(values).rank(axis=1, ascending=False, method="first").to_numpy()
    row, which = np.nonzero(~presence)
    lacking = np.asarray(names, dtype=object)[which]
    columns = (row, lacking, values[row, which], errors[row, which], ranks[row, which])
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
