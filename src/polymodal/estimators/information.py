"""What two modalities of a fitted estimator say of the label: alike, alone, and only together.

Letters: n rows, M modalities, d width, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace
from functools import cache
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from polymodal import information
from polymodal.data import door
from polymodal.data.labels import Labels
from polymodal.errors import ConfigError
from polymodal.estimators.subsets import as_shown, subset_predictions
from polymodal.information import MAX_ROWS, PARTS, Estimate
from polymodal.methods.floors.views import to_matrices

Source = Literal["features", "latents", "predictions"]
LATENTS = {
    "committee": "opinions",
    "robult": "hidden",
    "pgm": "representation",
    "actionmae": "tokens",
    "mmin": "features",
    "ume": "features",
    "umt": "features",
}
"""Method -> its latent (n, M, d) of each modality alone."""
N_BINS = 5
"""Bins of equal frequency that the values of a regression are read in."""
INFORMATION = [
    "source",
    "first",
    "second",
    "target",
    "n_rows",
    "entropy",
    *PARTS,
    *(f"{part}_error" for part in PARTS),
]


def information_table(
    estimator: Any, X: Any, y: Any, *, source: Source = "features", seed: int = 0
) -> pd.DataFrame:
    """Redundancy, uniqueness and synergy of every two modalities about the label, in bits.

    Sources:

    - ``"features"``: the inputs as the method gets them, in groups by k-means, with the labels of the rows;
      what the data hold, whatever the model.
    - ``"latents"``: the same with the model's representation of each modality alone.
    - ``"predictions"``: no labels, but the model's own p(y | x1), p(y | x2) and p(y | x1, x2), calibrated
      where the model is; what the model believes.

    Args:
        estimator: a fitted estimator.
        X: n rows, best such that ``fit`` has not seen; at most ``MAX_ROWS`` labelled ones are read.
        y: n labels; unlabelled rows are left out. Values are read in ``N_BINS`` bins, label sets label by
            label.
        source: what stands for the modalities.
        seed: of rows, groups, permutations and resamples.

    Returns:
        A line for each pair and target: source, first, second, target (a label's name, else empty), n_rows
        (that have both), entropy (bits of the target), redundancy, unique_first, unique_second, synergy, and
        each with ``_error``, its standard error. NaN where too few rows have both.

    Raises:
        ConfigError: the source is unknown, or does not suit the model or the task.
    """
    check_is_fitted(estimator)
    if source not in get_args(Source):
        raise ConfigError(
            f"source is one of {', '.join(get_args(Source))}; got {source!r}; choose one of them"
        )
    labels = replace(estimator._evaluation_labels(y, door.n_rows(X)), classes=estimator.classes_)
    rows = _drawn(np.flatnonzero(labels.labelled), seed)
    X = estimator.encoded(door.take(X, rows))
    if source == "predictions":
        lines = _from_predictions(estimator, X, labels, seed)
    else:
        values = _features(estimator, X) if source == "features" else modality_latents(estimator, X)
        lines = _from_values(values, labels, rows, seed)
    return pd.DataFrame([(source, *line) for line in lines], columns=INFORMATION)


def _drawn(rows: np.ndarray, seed: int) -> np.ndarray:
    if len(rows) <= MAX_ROWS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MAX_ROWS, replace=False))


def _line(first: str, second: str, target: str, found: Estimate) -> tuple[Any, ...]:
    return first, second, target, found.n_rows, found.entropy, *astuple(found.parts), *astuple(found.errors)


# ---- from values and labels ----------------------------------------------------------------------


def _from_values(
    values: dict[str, tuple[np.ndarray, np.ndarray]], labels: Labels, rows: np.ndarray, seed: int
) -> Iterator[tuple[Any, ...]]:
    """Lines from name -> features (n, d) and whether a row has them (n,)."""

    @cache  # most pairs have as many groups
    def states(name: str, n_states: int) -> np.ndarray:
        features, present = values[name]
        found = np.zeros(len(features), dtype=np.int64)
        found[present] = information.groups(features[present], n_states, seed)
        return found

    for first, second in combinations(values, 2):
        both = values[first][1] & values[second][1]
        for target, codes in _targets(labels, rows):
            index = np.flatnonzero(both & (codes >= 0))
            y = codes[index]
            n_states = information.states_for(len(y))
            a, b = (states(name, n_states)[index] for name in (first, second))
            yield _line(first, second, target, information.from_states(a, b, y, seed=seed))


def _targets(labels: Labels, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(name, (n,) classes from 0, -1 where not known) of everything that is to be said."""
    values = labels.values[rows]
    if labels.kind == "multilabel":
        for name, column in zip(_target_names(labels), values.T, strict=True):
            yield name, np.where(np.isnan(column), -1, column).astype(np.int64)
    elif labels.kind == "regression":
        edges = np.quantile(values, np.arange(1, N_BINS) / N_BINS)
        yield "", np.searchsorted(edges, values).astype(np.int64)
    else:
        yield "", values


def _features(estimator: Any, X: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> the method's inputs (n, d), sequences summarised and columns on one scale; and presence."""
    chunks = [to_matrices(inputs) for inputs in estimator._inputs_in_chunks(X)]
    found = {}
    for m, name in enumerate(estimator.modalities_):
        values = np.concatenate([chunk.values[name] for chunk in chunks])
        present = np.concatenate([chunk.presence[:, m] for chunk in chunks])
        there = values[present]
        spread = np.maximum(there.std(axis=0), 1e-12) if len(there) else 1.0
        found[name] = values / spread, present
    return found


def modality_latents(estimator: Any, X: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> the method's latent (n, d) of the modality alone; and presence."""
    method = estimator._method_name()
    if method not in LATENTS:
        raise ConfigError(
            f"latents of each modality are known of {', '.join(LATENTS)}; this model is of {method}; "
            "take source='features'"
        )
    found, presence = estimator.latents(X, (LATENTS[method],))
    latents = found[LATENTS[method]]
    return {name: (latents[:, m], presence[:, m]) for m, name in enumerate(estimator.modalities_)}


# ---- from predictions ----------------------------------------------------------------------------


def _from_predictions(estimator: Any, X: Any, labels: Labels, seed: int) -> Iterator[tuple[Any, ...]]:
    if labels.kind == "regression":
        raise ConfigError(
            "information is read from probabilities of classes; a regressor predicts values; "
            "take source='features' or 'latents'"
        )
    predict, presence = subset_predictions(estimator, X)
    predict = cache(as_shown(estimator, predict, presence))
    names = list(estimator.modalities_)
    for i, j in combinations(range(len(names)), 2):
        index = np.flatnonzero(presence[:, i] & presence[:, j])
        pair = names[i], names[j]
        said = [predict(subset)[index] for subset in ((pair[0],), (pair[1],), pair)]
        for c, target in enumerate(_target_names(labels)):
            alone, other, both = (_one_of(prediction, c) if target else prediction for prediction in said)
            yield _line(*pair, target, information.from_predictions(alone, other, both, seed=seed))


def _target_names(labels: Labels) -> list[str]:
    """One empty name, or the labels of label sets."""
    if labels.kind != "multilabel":
        return [""]
    assert labels.classes is not None
    return [str(name) for name in labels.classes]


def _one_of(prediction: np.ndarray, label: int) -> np.ndarray:
    """(n, 2): probabilities that one label of (n, C) is not there, and that it is."""
    return np.column_stack([1.0 - prediction[:, label], prediction[:, label]])
