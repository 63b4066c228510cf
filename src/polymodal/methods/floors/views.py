"""What a floor sees: every modality as one matrix, sequences summarised, columns on one scale.

Letters: n rows, M modalities, T steps, d width, C outputs (classes, labels, or 1 value).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from polymodal.data.preprocessing import Inputs


@dataclass(frozen=True)
class Views:
    """Every modality as one matrix.

    Attributes:
        values: name -> (n, d) float64; rows where it is absent hold zeros.
        presence: (n, M) bool, M in the order of ``values``.
    """

    values: dict[str, np.ndarray]
    presence: np.ndarray

    def rows(self, index: np.ndarray) -> Views:
        """Some rows."""
        return Views({name: value[index] for name, value in self.values.items()}, self.presence[index])

    def side_by_side(self, filling: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """(n, sum of d): all columns, absent ones NaN or the filling (d,) of their modality."""
        filled = [
            np.where(present[:, None], value, np.nan if filling is None else filling[name])
            for (name, value), present in zip(self.values.items(), self.presence.T, strict=True)
        ]
        return np.concatenate(filled, axis=1)


def summarise_series(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Statistics of each sequence: (n, T, d) and (n,) lengths to (n, 5 d + 1).

    Mean, standard deviation, minimum, maximum, last value of each column, and the length; zeros where the
    length is 0.
    """
    n, n_steps, _ = values.shape
    inside = np.arange(n_steps)[None, :] < lengths[:, None]
    mask, count = inside[:, :, None], np.maximum(lengths, 1)[:, None].astype(np.float64)
    values = np.where(mask, values, 0.0).astype(np.float64)
    mean = values.sum(axis=1) / count
    std = np.sqrt(np.where(mask, (values - mean[:, None]) ** 2, 0.0).sum(axis=1) / count)
    low = np.where(mask, values, np.inf).min(axis=1, initial=np.inf)
    high = np.where(mask, values, -np.inf).max(axis=1, initial=-np.inf)
    last = values[np.arange(n), np.maximum(lengths, 1) - 1]
    summary = np.concatenate([mean, std, low, high, last, lengths[:, None]], axis=1)
    return np.where((lengths > 0)[:, None], summary, 0.0)


def mean_of_steps(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(n, d): the mean of each sequence (n, T, d) over its (n,) lengths; zeros where the length is 0."""
    inside = np.arange(values.shape[1])[None, :] < lengths[:, None]
    total = np.where(inside[:, :, None], values, 0.0).sum(axis=1, dtype=np.float64)
    return total / np.maximum(lengths, 1)[:, None]


def to_matrices(inputs: Inputs) -> Views:
    """Prepared modalities, sequences summarised.

    Of a model that is fine-tuned a floor sees the mean of the hidden states below the trained layers.
    """
    values = {}
    for name, value in inputs.values.items():
        if value.ndim == 2:
            values[name] = value.astype(np.float64)
        else:
            summarise = mean_of_steps if name in inputs.states else summarise_series
            values[name] = summarise(value, inputs.lengths[name])
    return Views(values, inputs.presence)


@dataclass(frozen=True)
class Scaling:
    """Columns brought to mean 0 and standard deviation 1 over the present training rows.

    Attributes:
        mean: name -> (d,).
        std: name -> (d,), 1 for a constant column.
    """

    mean: dict[str, np.ndarray]
    std: dict[str, np.ndarray]

    @classmethod
    def fit(cls, views: Views) -> Scaling:
        """Learn from the training rows, labelled or not."""
        mean, std = {}, {}
        for (name, value), present in zip(views.values.items(), views.presence.T, strict=True):
            here = value[present] if present.any() else np.zeros((1, value.shape[1]))
            spread = here.std(axis=0)
            mean[name], std[name] = here.mean(axis=0), np.where(spread > 1e-12, spread, 1.0)
        return cls(mean, std)

    def __call__(self, views: Views) -> Views:
        """Scale; absent rows hold zeros, the mean."""
        scaled = {
            name: np.where(present[:, None], (value - self.mean[name]) / self.std[name], 0.0)
            for (name, value), present in zip(views.values.items(), views.presence.T, strict=True)
        }
        return Views(scaled, views.presence)


def labelled_rows(target: np.ndarray) -> np.ndarray:
    """(n,) bool: rows of which some entry of the target is known."""
    return ~np.isnan(target).all(axis=1)


def with_dropped_copies(
    views: Views, target: np.ndarray, n_more: int, random: np.random.RandomState
) -> tuple[Views, np.ndarray]:
    """Labelled rows that have something, and copies of them that keep a random non-empty part of it.

    About ``n_more`` copies in all, but 2 to 30 of each row: few rows need many copies to meet all
    combinations.

    Returns:
        The views of (1 + n_copies) k rows, and the row of ``views`` that each comes from.
    """
    rows = np.flatnonzero(labelled_rows(target) & views.presence.any(axis=1))
    whole = views.presence[rows]
    n_copies = int(np.clip(n_more // max(len(rows), 1), 2, 30))
    kept = [whole]
    for _ in range(n_copies):
        fate = np.where(whole, random.random_sample(whole.shape), -1.0)
        # the number that stays is uniform, so that single modalities are as frequent as pairs
        share = random.random_sample((len(rows), 1))
        kept.append(whole & ((fate > share) | (fate == fate.max(axis=1, keepdims=True))))
    presence = np.concatenate(kept)
    rows = np.tile(rows, 1 + n_copies)
    values = {
        name: np.where(here[:, None], value[rows], 0.0)
        for (name, value), here in zip(views.values.items(), presence.T, strict=True)
    }
    return Views(values, presence), rows
