"""The verdict over a suite: mean ranks over its blocks, differences to the best, who falls behind where.

A block is a data set with a share of labels and a missing regime. Its figure is the data set's primary
metric: with complete inputs the mean over all combinations of modalities (or all together, or the worst),
under a regime the test rows as they come. A method that has no figure in a block, because it failed or is not
made for the task, shares the last rank there; one that was run with fewer seeds than others is compared by
those it has.

Letters: N blocks, k methods, S seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from polymodal.evaluation import OBSERVED, summarise
from polymodal.metrics import METRICS
from polymodal.ranking import Interval, critical_difference, falls_behind, paired_interval, ranks

if TYPE_CHECKING:
    from rich.table import Table

Statistic = Literal["mean", "all", "worst"]
"""What of complete inputs is compared: the mean over the combinations, all together, or the worst."""


@dataclass(frozen=True)
class Block:
    """What all methods gave in one place.

    Attributes:
        dataset: as tables call it.
        labels: share of the training rows that were labelled.
        missing: the regime.
        metric: of the figures.
        scores: (S, k), greater is better, NaN where a method gave none or was not run.
    """

    dataset: str
    labels: float
    missing: str
    metric: str
    scores: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """(S, k) in the metric's own direction."""
        return self.scores if METRICS[self.metric].greater_is_better else -self.scores


def figures(table: pd.DataFrame, statistic: Statistic = "mean") -> pd.DataFrame:
    """One line a data set, regime, share of labels, method and seed: ``metric`` and ``value``.

    Args:
        table: of :func:`polymodal.suite.to_table`.
        statistic: of complete inputs.
    """
    complete = summarise(table[table["missing"] == "complete"].drop(columns="missing"))
    complete = complete[complete["statistic"] == statistic].assign(missing="complete")
    gaps = table[(table["missing"] != "complete") & (table["subset"] == OBSERVED)]
    columns = ["dataset", "missing", "labels", "method", "seed", "metric", "value"]
    found = pd.concat([part[columns] for part in (complete, gaps) if len(part)], ignore_index=True)
    return found.astype({"value": np.float64})


def blocks(
    table: pd.DataFrame, statistic: Statistic = "mean", *, methods: Sequence[str] | None = None
) -> tuple[list[Block], list[str]]:
    """The blocks of a suite's table, in its order, and the names of their k methods.

    Args:
        table: of :func:`polymodal.suite.to_table`.
        statistic: of complete inputs.
        methods: these, whether they have figures or not; None for those that have.
    """
    found = figures(table, statistic)
    names = list(dict.fromkeys(found["method"])) if methods is None else list(methods)
    places = list(dict.fromkeys(table["dataset"]))
    regimes = list(dict.fromkeys(table["missing"]))
    seeds = sorted(table["seed"].unique())
    result = []
    where: Any
    for where, part in found.groupby(["dataset", "missing", "labels"]):
        metric = str(part["metric"].iloc[0])
        values = part.pivot_table("value", index="seed", columns="method").reindex(seeds, columns=names)
        sign = 1.0 if METRICS[metric].greater_is_better else -1.0
        result.append(Block(where[0], where[2], where[1], metric, sign * values.to_numpy()))
    result.sort(key=lambda b: (places.index(b.dataset), regimes.index(b.missing), b.labels))
    return result, names


def mean_scores(found: Sequence[Block]) -> np.ndarray:
    """(N, k) means over the seeds that a method has, NaN where it has none."""
    return np.stack([_means(block.scores) for block in found])


def _means(scores: np.ndarray) -> np.ndarray:
    """(S, k) to (k,)."""
    count = (~np.isnan(scores)).sum(axis=0)
    return np.where(count > 0, np.nansum(scores, axis=0) / np.maximum(count, 1), np.nan)


def ranked(found: Sequence[Block], names: Sequence[str]) -> pd.DataFrame:
    """Methods by mean rank.

    Columns: ``method``; ``mean_rank``; ``n_blocks``; ``n_best``, blocks in which no other is better;
    ``n_behind``, blocks in which it is significantly below the best one (:func:`falls_behind`); ``points``,
    ``low``, ``high``: percentage points of difference to the method of the best mean rank over the blocks
    whose metric lies in [0, 1], with a bootstrap interval of 95 %; ``n_failed``, blocks without a figure.
    ``seeds`` is the mean number of seeds of the blocks with a figure. ``attrs["critical_difference"]`` is
    Nemenyi's.
    """
    means = mean_scores(found)
    by_block = ranks(means)
    behind = np.stack([falls_behind(block.scores) for block in found])
    order = np.argsort(by_block.mean(axis=0), kind="stable")
    count = np.stack([(~np.isnan(block.scores)).sum(axis=0) for block in found])
    seeds = count.sum(axis=0) / np.maximum((count > 0).sum(axis=0), 1)
    differences = [difference(found, int(i), int(order[0])) for i in order]
    table = pd.DataFrame(
        {
            "method": [names[i] for i in order],
            "mean_rank": by_block.mean(axis=0)[order],
            "n_blocks": len(found),
            "n_best": (by_block == by_block.min(axis=1, keepdims=True)).sum(axis=0)[order],
            "n_behind": behind.sum(axis=0)[order],
            "points": [np.nan if d is None else d.mean for d in differences],
            "low": [np.nan if d is None else d.low for d in differences],
            "high": [np.nan if d is None else d.high for d in differences],
            "n_failed": np.isnan(means).sum(axis=0)[order],
            "seeds": seeds[order],
        }
    )
    table.attrs["critical_difference"] = (
        critical_difference(len(names), len(found)) if len(names) > 1 else np.nan
    )
    return table


def difference(found: Sequence[Block], i: int, best: int, metric: str | None = None) -> Interval | None:
    """How much better method i is than the best one, over the blocks where both have figures.

    Args:
        found: blocks.
        i: place of the method.
        best: place of the other.
        metric: the blocks of this metric, in its own units; None: those of [0, 1], in percentage points.

    Returns:
        None where there is no such block.
    """
    pairs = [
        block.scores[:, i] - block.scores[:, best]
        for block in found
        if (METRICS[block.metric].unit_interval if metric is None else block.metric == metric)
    ]
    pairs = [pair for pair in pairs if not np.isnan(pair).all()]
    if not pairs:
        return None
    scale = 100.0 if metric is None else 1.0
    return paired_interval(scale * np.stack(pairs))


def show(table: pd.DataFrame, *, floors: Collection[str] = ()) -> Table:
    """A table of :func:`ranked`, for ``rich.print``; floors in grey."""
    from rich import box
    from rich.table import Table

    n = int(table["n_blocks"].iloc[0])
    result = Table(
        title=f"Mean rank over {n} cells of data set, share of labels and missing regime",
        caption=f"critical difference {table.attrs['critical_difference']:.2f} (Nemenyi, 5 %); behind: cells "
        "in which it is significantly below the best; points: to the first, with a 95 % interval",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    for column in ("method", "mean rank", "best in", "behind in", "points to the first"):
        result.add_column(column, justify="left" if column == "method" else "right")
    line: Any
    for line in table.itertuples():
        nothing = np.isnan(line.points) or line.Index == 0  # the first has none to itself
        points = "-" if nothing else f"{line.points:+.1f} [{line.low:+.1f}, {line.high:+.1f}]"
        cells = [str(line.method), f"{line.mean_rank:.2f}", str(line.n_best), str(line.n_behind), points]
        result.add_row(*cells, style="dim" if line.method in floors else "")
    return result
