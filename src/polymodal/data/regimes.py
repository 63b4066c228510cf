"""Missing regimes: by one name, how inputs go missing in the training and the test rows of a comparison.

The masks of both parts are drawn as one, so that what makes an input go missing (which modality is rare,
which class lacks what) is the same in training and test, as it is where data come from one source.

    complete         nothing is taken away
    random_30, ...   30, 50, 70 % of the inputs, whatever the row holds
    imbalanced       rates from 10 to 90 %, evenly over the modalities in an order drawn by the seed
    not_at_random    absence depends on the label, as steeply as can be: presence itself tells something

Each row keeps at least one of its M places, which bounds a mean rate by (M - 1) / M: where more is asked for,
that comes. A place may be empty by nature: of such data a row may be left without any modality.

Letters: n rows, M modalities, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

from polymodal.data import missingness
from polymodal.data.missingness import PresenceMask
from polymodal.data.splits import Kind
from polymodal.errors import ConfigError

RANDOM_RATES = {"random_30": 0.3, "random_50": 0.5, "random_70": 0.7}
REGIMES = ("complete", *RANDOM_RATES, "imbalanced", "not_at_random")

LEAST, MOST = 0.1, 0.9
"""Rates of the most and the least common modality of ``imbalanced``."""


def masks(
    regime: str, names: Sequence[str], y_train: np.ndarray, y_test: np.ndarray, kind: Kind, seed: int
) -> tuple[PresenceMask, PresenceMask]:
    """Who is absent where, in training and in test rows.

    Args:
        regime: one of ``REGIMES``.
        names: M modality names.
        y_train: (n,) or (n, C) true labels, hidden ones too: absence by nature does not ask who was labelled.
        y_test: likewise.
        kind: of the task.
        seed: of the draw.

    Raises:
        ConfigError: there is no such regime.
    """
    n_train = len(y_train)
    drawn = _drawn(regime, names, np.concatenate([y_train, y_test]), kind, seed)
    return tuple(  # type: ignore[return-value]
        PresenceMask(drawn.names, drawn.mask[rows], drawn.recipe | {"regime": regime, "part": part})
        for part, rows in (("train", slice(n_train)), ("test", slice(n_train, None)))
    )


def most(n_modalities: int) -> float:
    """The highest mean rate that a mask of M modalities can have."""
    return (n_modalities - 1) / n_modalities


def distinct(regimes: Sequence[str], n_modalities: int) -> list[str]:
    """The regimes less those that repeat another one: of two modalities, 70 % at random is 50 %."""
    found: dict[str | float, str] = {}
    for regime in regimes:
        rate = RANDOM_RATES.get(regime)
        found.setdefault(regime if rate is None else min(rate, most(n_modalities)), regime)
    return list(found.values())


def _drawn(regime: str, names: Sequence[str], y: np.ndarray, kind: Kind, seed: int) -> PresenceMask:
    n, n_modalities = len(y), len(names)
    if regime == "complete":
        return missingness.completely_at_random(n, names, 0.0, seed)
    if regime in RANDOM_RATES:
        rate = min(RANDOM_RATES[regime], most(n_modalities))
        return missingness.completely_at_random(n, names, rate, seed)
    if regime == "imbalanced":
        order = np.random.default_rng(seed).permutation(n_modalities)
        rates = np.linspace(LEAST, MOST, n_modalities)[order]
        return missingness.per_modality(n, names, dict(zip(names, rates.tolist(), strict=True)), seed)
    if regime == "not_at_random":
        rate = most(n_modalities) / 2  # the middle of what is possible leaves most room on both sides
        if kind == "regression":
            return missingness.not_at_random(n, names, rate, seed, by_value=y)
        return missingness.not_at_random(n, names, rate, seed, by_label=cause(y))
    close = get_close_matches(regime, REGIMES, n=1)
    way_out = f"did you mean {close[0]!r}?" if close else "name one of them"
    raise ConfigError(f"missing regimes are {', '.join(REGIMES)}; {regime!r} came; {way_out}")


def cause(y: np.ndarray) -> np.ndarray:
    """(n,) what absence depends on: the class; of (n, C) labels, the one nearest to half of the rows."""
    if y.ndim == 1:
        return y
    share = np.nan_to_num(np.nanmean(y, axis=0))
    return y[:, np.abs(share - 0.5).argmin()]
