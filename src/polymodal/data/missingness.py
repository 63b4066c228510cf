"""The missingness lab: who is absent where, drawn once from a seed, saved, hashed, and given to every method.

A ``PresenceMask`` says for n rows and M modalities which are present, and by which recipe it was drawn.
Every generator is pure: the same arguments give the same mask. Draw the training and the test mask
separately, with seeds of their own. ``apply`` hands a mask to any method through the data door: absent
cells become NaN or None.

Two rules hold for the random recipes:

- each row keeps at least one modality (only ``natural`` and a hand-made mask may hold empty rows);
- the rate asked for is the rate one gets *after* that rule, which bounds the mean rate by (M - 1) / M.

Letters: n rows, M modalities.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polymodal.errors import CheckpointError, ConfigError, DataError

# ----------------------------------------------------------------------------------------------------------
# The mask
# ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PresenceMask:
    """Which modality is present in which row, and how that was drawn.

    Two masks are equal when their names and bits are; the recipe may differ.

    Attributes:
        names: M modality names, the order of the columns.
        mask: (n, M) bool, True where present; read-only.
        recipe: ``kind``, the parameters and the ``seed``, as JSON can hold them.
    """

    names: tuple[str, ...]
    mask: np.ndarray
    recipe: dict[str, Any]

    def __post_init__(self) -> None:
        mask = np.array(self.mask, dtype=bool)
        mask.setflags(write=False)
        object.__setattr__(self, "names", _checked_names(self.names))
        object.__setattr__(self, "mask", mask)
        if mask.ndim != 2 or mask.shape[1] != len(self.names):
            raise DataError(
                f"a presence mask has one column for each modality; {len(self.names)} names came with an "
                f"array of shape {mask.shape}; pass an (n, {len(self.names)}) bool array."
            )

    def __len__(self) -> int:
        return int(self.mask.shape[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PresenceMask) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    @property
    def sha256(self) -> str:
        """Hash of the names, the shape and every bit."""
        head = json.dumps([list(self.names), list(self.mask.shape)])
        return hashlib.sha256(head.encode() + b"\n" + np.packbits(self.mask).tobytes()).hexdigest()

    def rates(self) -> dict[str, float]:
        """Share of rows that lack each modality."""
        return {
            name: float(rate) for name, rate in zip(self.names, 1.0 - self.mask.mean(axis=0), strict=True)
        }

    def save(self, path: str | Path) -> None:
        """Write the mask as JSON: names, shape, packed bits, recipe and hash."""
        content = {
            "format": "polymodal-presence-mask-1",
            "names": list(self.names),
            "shape": list(self.mask.shape),
            "bits": base64.b64encode(np.packbits(self.mask).tobytes()).decode(),
            "recipe": self.recipe,
            "sha256": self.sha256,
        }
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> PresenceMask:
        """Read a mask that ``save`` wrote.

        Raises:
            CheckpointError: the file is no presence mask, or its hash does not fit its bits.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            n, m = content["shape"]
            bits = np.frombuffer(base64.b64decode(content["bits"], validate=True), dtype=np.uint8)
            if len(bits) != -(-n * m // 8):  # unpackbits would pad, up to whatever shape the file claims
                raise ValueError("bits and shape differ")
            cells = np.unpackbits(bits, count=n * m).reshape(n, m)
            mask, stored = cls(tuple(content["names"]), cells, content["recipe"]), content["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"a presence mask is a JSON file written by PresenceMask.save; {path} is not; draw the mask "
                f"again from its recipe and save it."
            ) from error
        if mask.sha256 != stored:
            raise CheckpointError(
                f"a presence mask must fit its own SHA-256; {path} says {str(stored)[:12]} and holds "
                f"{mask.sha256[:12]}, so it was changed after it was saved; "
                f"draw the mask again from its recipe."
            )
        return mask


# ----------------------------------------------------------------------------------------------------------
# Recipes
# ----------------------------------------------------------------------------------------------------------


def completely_at_random(
    n: int, names: Sequence[str], rate: float, seed: int, *, n_complete: int = 0
) -> PresenceMask:
    """Every modality is absent at one rate, whatever the row holds.

    Args:
        n: rows.
        names: M modality names.
        rate: expected share of absent (row, modality) cells among the rows that are not kept complete;
            at most (M - 1) / M, since each row keeps at least one modality.
        seed: of the draw.
        n_complete: rows, drawn at random, that keep every modality.

    Raises:
        ConfigError: the rate is negative or above (M - 1) / M, or ``n_complete`` is not within 0..n.
    """
    names = _checked_names(names)
    _check_rate(rate, len(names))
    recipe = {"kind": "completely_at_random", "rate": rate, "n_complete": n_complete, "seed": seed}
    rates = np.full((1, len(names)), float(rate))
    return PresenceMask(names, _draw(n, rates, n_complete, np.random.default_rng(seed)), recipe)


def per_modality(
    n: int, names: Sequence[str], rates: Mapping[str, float], seed: int, *, n_complete: int = 0
) -> PresenceMask:
    """Each modality is absent at a rate of its own.

    Args:
        n: rows.
        names: M modality names.
        rates: name -> expected share of absent rows, in 0..1; together at most M - 1, since each row keeps
            at least one modality.
        seed: of the draw.
        n_complete: rows, drawn at random, that keep every modality.

    Raises:
        ConfigError: a name without a rate, an unknown name, or rates that no mask can have.
    """
    names = _checked_names(names)
    if set(rates) != set(names):
        raise ConfigError(
            f"per_modality needs one rate for each of {list(names)}; rates came for {list(rates)}; "
            f"name each modality once, with 0 where it is never absent."
        )
    row = np.array([float(rates[name]) for name in names])
    if not ((row >= 0) & (row <= 1)).all() or row.sum() > len(names) - 1 + 1e-12:
        raise ConfigError(
            f"rates must lie within 0..1 and sum to at most {len(names) - 1}, since each row keeps at least "
            f"one modality; {dict(rates)} came; lower a rate."
        )
    recipe: dict[str, Any] = {"kind": "per_modality", "rates": dict(zip(names, row.tolist(), strict=True))}
    recipe |= {"n_complete": n_complete, "seed": seed}
    return PresenceMask(names, _draw(n, row[None, :], n_complete, np.random.default_rng(seed)), recipe)


def fixed_subset(n: int, names: Sequence[str], keep: Sequence[str]) -> PresenceMask:
    """Every row has the modalities of ``keep`` and no other.

    Raises:
        ConfigError: ``keep`` is empty or names an unknown modality.
    """
    names = _checked_names(names)
    _check_known(keep, names)
    mask = np.tile(np.isin(names, list(keep)), (n, 1))
    return PresenceMask(names, mask, {"kind": "fixed_subset", "keep": [k for k in names if k in set(keep)]})


def blocks(
    n: int,
    names: Sequence[str],
    groups: Sequence[Sequence[str]],
    seed: int,
    *,
    shares: Sequence[float] | None = None,
    n_complete: int = 0,
) -> PresenceMask:
    """Each row has the modalities of exactly one group, as if each group came from a site of its own.

    Args:
        n: rows.
        names: M modality names.
        groups: exclusive groups that together hold each modality once.
        seed: of the draw.
        shares: share of the rows for each group, positive; equal if None. Row counts are exact to one row.
        n_complete: rows, drawn at random, that keep every modality instead.

    Raises:
        ConfigError: groups that overlap or leave a modality out, or shares that do not fit the groups.
    """
    names = _checked_names(names)
    if sorted(name for group in groups for name in group) != sorted(names) or not all(groups):
        raise ConfigError(
            f"blocks needs groups that hold each of {list(names)} exactly once; "
            f"{[list(g) for g in groups]} came; put each modality into one group."
        )
    weights = np.ones(len(groups)) if shares is None else np.asarray(shares, dtype=float)
    if weights.shape != (len(groups),) or not (weights > 0).all():
        raise ConfigError(
            f"blocks needs one positive share for each of its {len(groups)} groups; {shares} came; "
            f"leave shares out for equal parts."
        )
    rng = np.random.default_rng(seed)
    ends = np.round(np.cumsum(weights / weights.sum()) * n)
    group_of_row = rng.permutation(np.searchsorted(ends, np.arange(n), side="right"))
    in_group = np.array([[name in group for name in names] for group in groups])
    mask = _with_complete_rows(in_group[group_of_row], n_complete, rng)
    recipe = {
        "kind": "blocks",
        "groups": [list(g) for g in groups],
        "shares": (weights / weights.sum()).tolist(),
    }
    return PresenceMask(names, mask, recipe | {"n_complete": n_complete, "seed": seed})


def not_at_random(
    n: int,
    names: Sequence[str],
    rate: float,
    seed: int,
    *,
    by_label: Any = None,
    by_value: Any = None,
    n_complete: int = 0,
) -> PresenceMask:
    """Absence depends on what is to be predicted, or on a value: presence itself carries information.

    A row's rate is a straight line in a score within 0..1, as steep as rates within 0..(M - 1) / M and the
    mean ``rate`` allow. ``by_label``: classes are scored 0..1 evenly, in an order drawn for each modality, so
    that each class lacks modalities of its own. ``by_value``: the score is the value's rank, the same for all
    modalities, so that high values lack more. A row whose label or value is missing has the mean rate.

    Args:
        n: rows.
        names: M modality names.
        rate: expected share of absent cells among the rows that are not kept complete.
        seed: of the draw.
        by_label: (n,) class labels; NaN or None where unknown.
        by_value: (n,) numbers; NaN where unknown.
        n_complete: rows, drawn at random, that keep every modality.

    Raises:
        ConfigError: both or none of ``by_label`` and ``by_value``, or a rate that no mask can have.
        DataError: labels or values that are not (n,).
    """
    names = _checked_names(names)
    _check_rate(rate, len(names))
    if (by_label is None) == (by_value is None):
        raise ConfigError(
            "not_at_random needs one cause of absence; by_label and by_value came both or neither; pass one."
        )
    rng = np.random.default_rng(seed)
    recipe: dict[str, Any] = {"kind": "not_at_random", "by": "value" if by_label is None else "label"}
    recipe |= {"rate": rate, "n_complete": n_complete, "seed": seed}
    if by_label is None:
        scores = np.tile(_rank_score(_column(by_value, n, "by_value"))[:, None], (1, len(names)))
    else:
        codes, classes = pd.factorize(_column(by_label, n, "by_label"), sort=True)
        orders = np.stack([rng.permutation(len(classes)) for _ in names], axis=1)
        scores = np.where(codes[:, None] >= 0, orders[codes] / max(len(classes) - 1, 1), np.nan)
        recipe["class_order"] = {
            name: [str(label) for label in classes[np.argsort(order)]]
            for name, order in zip(names, orders.T, strict=True)
        }
    return PresenceMask(names, _draw(n, _sloped_rates(scores, rate), n_complete, rng), recipe)


def natural(presence: Mapping[str, Any]) -> PresenceMask:
    """The absence that the data came with; the only recipe under which a row may be empty.

    Args:
        presence: name -> (n,) bool, True where the modality is there.
    """
    names = _checked_names(tuple(presence))
    mask = np.stack([np.asarray(presence[name], dtype=bool) for name in names], axis=1)
    return PresenceMask(names, mask, {"kind": "natural"})


# ----------------------------------------------------------------------------------------------------------
# Giving a mask to a method
# ----------------------------------------------------------------------------------------------------------


def apply(X: Mapping[str, Any], mask: PresenceMask) -> dict[str, Any]:
    """A copy of X in which the rows that the mask calls absent are NaN (arrays, tables) or None (lists).

    A mask only removes: what is absent in X stays absent. Integer arrays become float64, text arrays become
    object arrays with None; of images, (n, H, W) or (n, H, W, 3) uint8, a list of cells comes.

    Args:
        X: name -> array (n, ...), DataFrame of n rows, or list of n cells; the names of the mask.
        mask: of n rows.

    Raises:
        DataError: the names or the row counts of X and mask differ.
    """
    if set(X) != set(mask.names):
        raise DataError(
            f"a mask is applied to the modalities it was drawn for, {list(mask.names)}; X holds {list(X)}; "
            f"draw a mask for these names."
        )
    for name, values in X.items():
        if len(values) != len(mask):
            raise DataError(
                f"a mask is applied to as many rows as it was drawn for, {len(mask)}; modality {name!r} has "
                f"{len(values)}; draw a mask for these rows."
            )
    return {name: _blanked(values, mask.mask[:, mask.names.index(name)]) for name, values in X.items()}


def _blanked(values: Any, present: np.ndarray) -> Any:
    if isinstance(values, pd.DataFrame):
        return values.where(np.broadcast_to(present[:, None], values.shape))
    if isinstance(values, pd.Series):
        return values.where(present)  # keeps the folder in which its paths begin
    if not isinstance(values, np.ndarray):
        return [cell if here else None for cell, here in zip(values, present, strict=True)]
    if values.dtype == np.uint8 and values.ndim > 2:  # images: a cell stays what it is
        return [cell if here else None for cell, here in zip(values, present, strict=True)]
    if values.dtype.kind == "f":
        blank = values.copy()
    else:
        blank = values.astype(np.float64 if values.dtype.kind in "iub" else object)
    blank[~present] = None if blank.dtype == object else np.nan
    return blank


# ----------------------------------------------------------------------------------------------------------
# Drawing
# ----------------------------------------------------------------------------------------------------------


def _draw(n: int, rates: np.ndarray, n_complete: int, rng: np.random.Generator) -> np.ndarray:
    """(n, M) presence with the marginal absence ``rates``, (n, M) or (1, M) for all rows, and no empty row.

    Cells are drawn independently with p_m = r_m + P w_m; a row left empty, which happens with probability
    P = prod p, gets one modality back, m with probability w_m. So m is absent with p_m - P w_m = r_m.
    """
    present_rates = 1.0 - rates
    restore = present_rates / present_rates.sum(axis=1, keepdims=True)
    empty = _empty_probability(rates, restore)
    mask = rng.random((n, rates.shape[1])) >= rates + empty[:, None] * restore
    chosen = (rng.random((n, 1)) >= np.cumsum(restore, axis=1)[:, :-1]).sum(axis=1)
    is_empty = ~mask.any(axis=1)
    mask[is_empty, chosen[is_empty]] = True
    return _with_complete_rows(mask, n_complete, rng)


def _empty_probability(rates: np.ndarray, restore: np.ndarray) -> np.ndarray:
    """P with P = prod_m (r_m + P w_m), the smallest such P of each row, by bisection.

    The right-hand side is convex and increasing in P, at least 0 at 0 and at most 1 at 1: it crosses once.
    """
    low, high = np.zeros(len(rates)), np.ones(len(rates))
    for _ in range(50):
        middle = (low + high) / 2
        above = np.prod(rates + middle[:, None] * restore, axis=1) > middle
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return high


def _with_complete_rows(mask: np.ndarray, n_complete: int, rng: np.random.Generator) -> np.ndarray:
    if not 0 <= n_complete <= len(mask):
        raise ConfigError(
            f"n_complete must lie within 0..{len(mask)}, the number of rows; {n_complete} came; lower it."
        )
    mask = mask.copy()
    mask[rng.permutation(len(mask))[:n_complete]] = True
    return mask


def _sloped_rates(scores: np.ndarray, rate: float) -> np.ndarray:
    """(n, M) rates, linear in each column's scores, of mean ``rate``, as steep as 0..(M - 1) / M allows."""
    cap = (scores.shape[1] - 1) / scores.shape[1]
    known = ~np.isnan(scores)
    mean = np.where(known, scores, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    room_below = rate / np.maximum(mean, 1e-12)
    room_above = (cap - rate) / np.maximum(1.0 - mean, 1e-12)
    centred = np.where(known, scores - mean, 0.0)
    return np.clip(rate + np.minimum(room_below, room_above) * centred, 0.0, cap)


def _rank_score(values: np.ndarray) -> np.ndarray:
    """Ranks scaled to 0..1, ties sharing one; NaN stays NaN."""
    ranks = pd.Series(values.astype(float)).rank().to_numpy()
    return (ranks - 1.0) / max(np.isfinite(ranks).sum() - 1, 1)


# ----------------------------------------------------------------------------------------------------------
# Judging arguments
# ----------------------------------------------------------------------------------------------------------


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(names)
    if not names or len(set(names)) != len(names):
        raise ConfigError(
            f"a mask needs at least one modality, each named once; {list(names)} came; fix the names."
        )
    return names


def _check_known(keep: Sequence[str], names: tuple[str, ...]) -> None:
    unknown = [name for name in keep if name not in names]
    if unknown or not keep:
        raise ConfigError(
            f"a subset holds at least one of {list(names)} and nothing else; {list(keep)} came; "
            f"fix the names."
        )


def _check_rate(rate: float, n_modalities: int) -> None:
    if not 0 <= rate <= (n_modalities - 1) / n_modalities + 1e-12:
        raise ConfigError(
            f"a missing rate lies within 0..{(n_modalities - 1) / n_modalities:.3f} for {n_modalities} "
            f"modalities, since each row keeps at least one; {rate} came; lower it."
        )


def _column(values: Any, n: int, argument: str) -> np.ndarray:
    column = np.asarray(values)
    if column.shape != (n,):
        raise DataError(
            f"{argument} needs one value a row, ({n},); shape {column.shape} came; pass a 1-D array."
        )
    return column
