"""Cells -> float32 numbers that networks and linear models take, learnt on present training rows alone.

Every transform is per row: no row's numbers depend on another row, but for the padding of a Series to the
longest one of its chunk, which its lengths undo. What absent rows hold is never read.

Letters: n rows, T steps, d width, k columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy import ndarray

from polymodal.batch import Input
from polymodal.data.door import Cells, Rows, Table
from polymodal.errors import CheckpointError, DataError

MAX_CATEGORIES = 1000
"""A column with more different texts is not a category."""

_BLOCK_NUMBERS = 2**20

_SMALLEST_STD = 1e-19
"""Below it, the largest number that the door lets in would overflow float32 when divided by it."""


@dataclass(frozen=True)
class Inputs:
    """Rows as numbers: :class:`polymodal.batch.Batch` in NumPy, without labels.

    Attributes:
        values: name -> (n, d) or (n, T, d) float32; zeros where absent and after a sequence's end.
        lengths: name -> (n,) int64, for series alone; 0 where absent.
        presence: (n, M) bool.
        states: those of the names whose sequences are hidden states of a model that is fine-tuned.
    """

    values: dict[str, ndarray]
    lengths: dict[str, ndarray]
    presence: ndarray
    states: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names in the order of M."""
        return tuple(self.values)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.presence)

    def rows(self, index: Rows) -> Inputs:
        """Some of the rows; a slice copies nothing."""
        return Inputs(
            {name: value[index] for name, value in self.values.items()},
            {name: length[index] for name, length in self.lengths.items()},
            self.presence[index],
            self.states,
        )


# ---- standardising -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """(x - mean) / std for each column.

    Attributes:
        mean: (d,) float64.
        std: (d,) float64; 1 for a constant column.
    """

    mean: ndarray
    std: ndarray
    _mean32: ndarray = field(init=False, repr=False, compare=False)
    _inverse: ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_mean32", self.mean.astype(np.float32))
        object.__setattr__(self, "_inverse", (1.0 / self.std).astype(np.float32))

    def __call__(self, values: ndarray) -> ndarray:
        """(..., d) floats -> a new (..., d) float32 array.

        float64 values are centred in float64: a large mean (a time in seconds) would lose its last digits.
        """
        if values.dtype == np.float32:
            result = values - self._mean32
        else:
            result = np.empty(values.shape, dtype=np.float32)
            np.subtract(values, self.mean, out=result, casting="same_kind")
        result *= self._inverse
        return result


def fit_scale(blocks: Any, width: int) -> Scale:
    """Mean and standard deviation of (k, d) float64 blocks, in two passes and one block of memory.

    Args:
        blocks: a function without arguments that starts a pass over the blocks.
        width: d.
    """
    count, total = 0, np.zeros(width)
    for block in blocks():
        count += len(block)
        total += block.sum(axis=0)
    mean = total / max(count, 1)
    squares = np.zeros(width)
    for block in blocks():
        squares += np.square(block - mean).sum(axis=0)
    std = np.sqrt(squares / max(count, 1))
    rounding = count * np.finfo(np.float64).eps * np.abs(mean)
    constant = std <= np.maximum(rounding, _SMALLEST_STD)
    return Scale(mean, np.where(constant, 1.0, std))


# ---- one fitted transform a kind ---------------------------------------------------------------------


@dataclass(frozen=True)
class VectorTransform:
    """A Vector, standardised."""

    scale: Scale
    kind: ClassVar[str] = "vector"

    @classmethod
    def fit(cls, name: str, cells: Cells) -> VectorTransform:
        """Learn from the present rows."""
        del name
        values, present = cells.numeric, cells.present
        assert values is not None
        step = max(1, _BLOCK_NUMBERS // values.shape[1])

        def blocks() -> Iterator[ndarray]:
            for start in range(0, len(values), step):
                yield values[start : start + step][present[start : start + step]].astype(np.float64)

        return cls(fit_scale(blocks, values.shape[1]))

    @property
    def width(self) -> int:
        """Numbers a row, d."""
        return len(self.scale.mean)

    def apply(self, cells: Cells) -> tuple[ndarray, None]:
        """(n, d) float32, zeros where absent."""
        assert cells.numeric is not None
        if cells.present.all():
            return self.scale(cells.numeric), None
        values = np.zeros(cells.numeric.shape, dtype=np.float32)
        values[cells.present] = self.scale(cells.numeric[cells.present])
        return values, None

    def state(self) -> tuple[dict[str, Any], dict[str, ndarray]]:
        """Settings and arrays."""
        return {}, {"mean": self.scale.mean, "std": self.scale.std}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> VectorTransform:
        """The inverse of :meth:`state`."""
        del settings
        return cls(_scale_from(arrays))


@dataclass(frozen=True)
class SeriesTransform:
    """A Series, standardised by the mean and std over all steps of all present rows; padded with zeros.

    Hidden states stay as they are: the layers that take them were trained on such.
    """

    scale: Scale
    kind: ClassVar[str] = "series"

    @classmethod
    def fit(cls, name: str, cells: Cells) -> SeriesTransform:
        """Learn from the steps of the present rows."""
        del name
        sequences, present = cells.series, cells.present
        assert sequences is not None

        def blocks() -> Iterator[ndarray]:
            for i in np.flatnonzero(present):
                yield np.asarray(sequences[i], dtype=np.float64)

        width = sequences[int(np.flatnonzero(present)[0])].shape[1]
        if cells.are_states:
            return cls(Scale(np.zeros(width), np.ones(width)))
        return cls(fit_scale(blocks, width))

    @property
    def width(self) -> int:
        """Numbers a step, d."""
        return len(self.scale.mean)

    def apply(self, cells: Cells) -> tuple[ndarray, ndarray]:
        """(n, T, d) float32 with T the longest present row (at least 1), and (n,) lengths."""
        assert cells.series is not None
        there = np.flatnonzero(cells.present)
        lengths = np.zeros(len(cells.present), dtype=np.int64)
        if isinstance(cells.series, ndarray) and len(there) == len(lengths):
            lengths[:] = cells.series.shape[1]
            return self.scale(cells.series), lengths
        lengths[there] = [len(cells.series[i]) for i in there]
        n_steps = max(1, int(lengths.max()))
        values = np.zeros((len(lengths), n_steps, self.width), dtype=np.float32)
        for i in there:
            values[i, : lengths[i]] = self.scale(cells.series[i])
        return values, lengths

    def state(self) -> tuple[dict[str, Any], dict[str, ndarray]]:
        """Settings and arrays."""
        return {}, {"mean": self.scale.mean, "std": self.scale.std}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> SeriesTransform:
        """The inverse of :meth:`state`."""
        del settings
        return cls(_scale_from(arrays))


@dataclass(frozen=True)
class TabularTransform:
    """A Tabular as numbers: [numeric k | indicators | one-hot blocks].

    Numeric columns are clipped to the training part's 0.5 and 99.5 percentiles, filled with its median and
    standardised. A column that had gaps in training gets an indicator (1 where missing). A categorical
    column becomes one slot a training category and one for unseen ones; a gap leaves its slots at 0.

    Attributes:
        low, high, median: (k,) float64.
        scale: of the clipped and filled numeric columns.
        gaps: (k + c,) bool: which columns, numeric ones first, had gaps in training.
        categories: for each categorical column its training categories, sorted.
    """

    low: ndarray
    high: ndarray
    median: ndarray
    scale: Scale
    gaps: ndarray
    categories: tuple[tuple[str, ...], ...]
    _slots: tuple[dict[str, int], ...] = field(init=False, repr=False, compare=False)
    kind: ClassVar[str] = "vector"

    def __post_init__(self) -> None:
        slots = tuple({text: i for i, text in enumerate(known)} for known in self.categories)
        object.__setattr__(self, "_slots", slots)

    @classmethod
    def fit(cls, name: str, cells: Cells) -> TabularTransform:
        """Learn from the present rows.

        Raises:
            DataError: a categorical column has too many different texts.
        """
        assert cells.numeric is not None
        assert cells.categorical is not None
        numeric, texts = cells.numeric[cells.present], cells.categorical[cells.present]
        bounds = np.array([_bounds(column) for column in numeric.T]).reshape(-1, 3)
        low, median, high = bounds.T.copy()
        filled = np.where(np.isnan(numeric), median, np.clip(numeric, low, high))
        missing: ndarray = np.concatenate([np.isnan(numeric), texts == None], axis=1)  # noqa: E711
        layout = cells.modality.layout
        assert layout is not None
        categories = tuple(
            _categories(name, column, own) for column, own in zip(layout.categorical, texts.T, strict=True)
        )
        scale = fit_scale(lambda: iter([filled]), filled.shape[1])
        return cls(low, high, median, scale, np.asarray(missing.any(axis=0)), categories)

    @property
    def width(self) -> int:
        """Numbers a row."""
        return len(self.low) + int(self.gaps.sum()) + sum(len(known) + 1 for known in self.categories)

    def apply(self, cells: Cells) -> tuple[ndarray, None]:
        """(n, width) float32, zeros where absent."""
        assert cells.numeric is not None
        assert cells.categorical is not None
        values = np.zeros((len(cells.present), self.width), dtype=np.float32)
        there = cells.present
        numeric, texts = cells.numeric[there], cells.categorical[there]
        filled = np.where(np.isnan(numeric), self.median, np.clip(numeric, self.low, self.high))
        missing = np.concatenate([np.isnan(numeric), texts == None], axis=1)  # noqa: E711
        parts = [self.scale(filled), missing[:, self.gaps]]
        parts += [_one_hot(column, slots) for column, slots in zip(texts.T, self._slots, strict=True)]
        values[there] = np.concatenate(parts, axis=1)
        return values, None

    def state(self) -> tuple[dict[str, Any], dict[str, ndarray]]:
        """Settings and arrays."""
        arrays = {
            "low": self.low,
            "high": self.high,
            "median": self.median,
            "mean": self.scale.mean,
            "std": self.scale.std,
        }
        settings = {
            "gaps": [bool(gap) for gap in self.gaps],
            "categories": [list(known) for known in self.categories],
        }
        return settings, arrays

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> TabularTransform:
        """The inverse of :meth:`state`."""
        return cls(
            low=arrays["low"],
            high=arrays["high"],
            median=arrays["median"],
            scale=_scale_from(arrays),
            gaps=np.array(settings["gaps"], dtype=bool),
            categories=tuple(tuple(known) for known in settings["categories"]),
        )


def _bounds(column: ndarray) -> tuple[float, float, float]:
    """Lower clip, median, upper clip of a column's known values.

    A column of at most two values (a flag) is not clipped: a rare flag is no outlier. A column that
    training never saw is held at 0.
    """
    known = column[~np.isnan(column)]
    if not len(known):
        return 0.0, 0.0, 0.0
    low, high = np.percentile(known, [0.5, 99.5])
    if np.isin(known, [known.min(), known.max()]).all():
        low, high = known.min(), known.max()
    return float(low), float(np.clip(np.median(known), low, high)), float(high)


def _categories(name: str, column: str | int, texts: ndarray) -> tuple[str, ...]:
    known = sorted({text for text in texts if text is not None})
    if len(known) > MAX_CATEGORIES:
        raise DataError(
            f"a category column has at most {MAX_CATEGORIES} different texts; column {column!r} of Tabular "
            f"{name!r} has {len(known)}; group them, or drop the column"
        )
    return tuple(known)


def _one_hot(texts: ndarray, slots: Mapping[str, int]) -> ndarray:
    """(n,) texts -> (n, C + 1): the last slot is for texts that training never saw; a gap is all 0."""
    result = np.zeros((len(texts), len(slots) + 1), dtype=np.float32)
    codes, distinct = pd.factorize(texts)
    columns = np.array([slots.get(text, len(slots)) for text in distinct], dtype=np.int64)
    there = np.flatnonzero(codes >= 0)
    result[there, columns[codes[there]]] = 1.0
    return result


def _scale_from(arrays: Mapping[str, ndarray]) -> Scale:
    return Scale(np.asarray(arrays["mean"], np.float64), np.asarray(arrays["std"], np.float64))


# ---- all modalities ----------------------------------------------------------------------------------

Transform = VectorTransform | SeriesTransform | TabularTransform
_TRANSFORMS: dict[str, type[VectorTransform] | type[SeriesTransform] | type[TabularTransform]] = {
    "Vector": VectorTransform,
    "Series": SeriesTransform,
    "Tabular": TabularTransform,
}


class Preprocessor:
    """The fitted transforms of all modalities.

    Attributes:
        transforms: name -> transform, in the order of M.
    """

    transforms: dict[str, Transform]

    def __init__(self, transforms: Mapping[str, Transform] | None = None) -> None:
        self.transforms = dict(transforms or {})

    def fit(self, table: Table) -> Preprocessor:
        """Learn from the present rows of the training part.

        Raises:
            DataError: a categorical column has too many different texts.
        """
        self.transforms = {
            name: _TRANSFORMS[type(cells.modality).__name__].fit(name, cells)
            for name, cells in table.cells.items()
        }
        return self

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The modalities as a method sees them."""
        return tuple(
            Input(name, "series" if own.kind == "series" else "vector", own.width)
            for name, own in self.transforms.items()
        )

    def transform(self, table: Table) -> Inputs:
        """The rows of a table as float32 numbers."""
        assert self.transforms.keys() == table.cells.keys(), "fit comes first, on the same schema"
        values: dict[str, ndarray] = {}
        lengths: dict[str, ndarray] = {}
        for name, cells in table.cells.items():
            values[name], length = self.transforms[name].apply(cells)
            if length is not None:
                lengths[name] = length
        states = frozenset(name for name, cells in table.cells.items() if cells.are_states)
        return Inputs(values, lengths, table.presence, states)

    def state(self) -> tuple[dict[str, Any], dict[str, ndarray]]:
        """What was learnt, as plain JSON and as float64 arrays named ``modality.array``."""
        modalities: list[dict[str, Any]] = []
        arrays: dict[str, ndarray] = {}
        for name, own in self.transforms.items():
            settings, learnt = own.state()
            kind = type(own).__name__.removesuffix("Transform")
            modalities.append({"name": name, "kind": kind, **settings})
            arrays |= {f"{name}.{key}": array for key, array in learnt.items()}
        return {"modalities": modalities}, arrays

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> Preprocessor:
        """The inverse of :meth:`state`, exact to the bit.

        Raises:
            CheckpointError: the state is not what :meth:`state` returns.
        """
        try:
            return cls({own["name"]: _transform_from(own, arrays) for own in state["modalities"]})
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                "saved preprocessing holds the settings and arrays of each modality; it could not be read "
                f"({error!r}); save the model again"
            ) from error


def _transform_from(own: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> Transform:
    prefix = f"{own['name']}."
    learnt = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
    return _TRANSFORMS[own["kind"]].from_state(own, learnt)
