"""How a training went, from ``history_``: losses by epoch, and the distances of Robult's positive pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from polymodal.plots.canvas import COLOURS, legend_beside, mark_stages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUANTILE = "reference_quantile/"


def training_curves(history: Sequence[Mapping[str, Any]], ax: Axes) -> Axes:
    """Loss terms and validation loss by epoch, stages told apart by dotted lines.

    Args:
        history: one mapping an epoch, as ``history_`` holds it: ``loss``, ``loss/TERM``,
            ``validation_loss``, ``stage``.
        ax: where to draw.
    """
    table = pd.DataFrame(list(history))
    epochs = np.arange(1, len(table) + 1)
    terms = [name for name in table.columns if name.startswith("loss/")]
    for i, name in enumerate(terms):
        values = table[name].astype(float)
        ax.plot(
            epochs, values, color=COLOURS[(i + 2) % len(COLOURS)], label=name.removeprefix("loss/"), lw=1.2
        )
    ax.plot(epochs, table["loss"].astype(float), color=COLOURS[0], label="sum, training", lw=2.2)
    if "validation_loss" in table:
        ax.plot(
            epochs,
            table["validation_loss"].astype(float),
            color=COLOURS[1],
            ls="--",
            label="validation",
            lw=2.2,
        )
    mark_stages(table, ax)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.set_title("Losses by epoch", loc="left")
    ax.grid(alpha=0.3)
    legend_beside(ax)
    return ax


def qq_reference(history: Sequence[Mapping[str, Any]], ax: Axes) -> Axes:
    """Q-Q plot of Robult's reference distances: are the distances of true positive pairs Gaussian?

    Quantiles of the standardised distances in the last epoch that has them (filled) and in the first
    (hollow) against those of a Gaussian, whose points lie on the diagonal.

    Args:
        history: epochs with keys ``reference_quantile/P``, P in (0, 1).
        ax: where to draw.
    """
    epochs = [(i, _quantiles(epoch)) for i, epoch in enumerate(history, start=1)]
    epochs = [(i, quantiles) for i, quantiles in epochs if quantiles]
    for (i, quantiles), filled in zip(
        epochs[-1:] + epochs[:1][: len(epochs) - 1], (True, False), strict=False
    ):
        levels = np.array(list(quantiles))
        ax.plot(
            ndtri(levels),
            list(quantiles.values()),
            marker="o",
            ls="none",
            color=COLOURS[0],
            mfc=COLOURS[0] if filled else "white",
            label=f"epoch {i}",
        )
    ax.axline((0.0, 0.0), slope=1.0, color="0.5", lw=1, label="Gaussian")
    ax.set_xlabel("quantile of a standard Gaussian")
    ax.set_ylabel("quantile of the standardised distances")
    ax.set_title("Distances of true positive pairs against a Gaussian", loc="left")
    ax.grid(alpha=0.3)
    legend_beside(ax)
    return ax


def _quantiles(epoch: Mapping[str, Any]) -> dict[float, float]:
    found = {
        float(k.removeprefix(QUANTILE)): v
        for k, v in epoch.items()
        if k.startswith(QUANTILE) and v is not None
    }
    return dict(sorted(found.items()))
