"""Evaluation: what a model is worth for every combination of modalities, as one tidy table.

Read from the top: which combinations there are; what a late-fusion model predicts for all of them at the
price of its branches; the two reports; what a table says in a few numbers; how a terminal shows it.

Nothing here knows an estimator: a report takes ``predict(subset) -> (n, C)``, which predicts every row
from at most the modalities named, and the presence of the rows; of label sets also ``decide(subset)``, (n, C)
bool, where the method does not decide at 1/2. A tidy table has the columns ``dataset,
method, seed, labels, subset, metric, value``; ``subset`` is the present modalities' names joined by ``+``
in schema order, ``"observed"`` (every row with whatever it has) or ``"rate=0.3"`` (a missing rate).

Letters: n rows, M modalities, C outputs, K subsets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from polymodal.metrics import METRICS, choose, evaluate

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from polymodal.batch import TaskKind

Subset = tuple[str, ...]
Predict = Callable[[Subset], np.ndarray]

COLUMNS = ["dataset", "method", "seed", "labels", "subset", "metric", "value"]
OBSERVED = "observed"
RATES = tuple(np.round(np.arange(10) / 10, 1).tolist())
RUN = ["dataset", "method", "seed", "labels", "metric"]
"""What makes two values comparable: everything but the subset."""


# ---- combinations of modalities ------------------------------------------------------------------


def subsets(names: Sequence[str], *, limit: int = 256, seed: int = 0) -> list[Subset]:
    """Every non-empty combination of modalities, or a sample of them when there are many.

    Up to 8 modalities all 2^M - 1 are listed. Above, ``limit`` of them: each single one, all together,
    all but one, and the rest drawn uniformly, without repetition, from the others.

    Args:
        names: the modalities, in schema order.
        limit: how many to sample above 8 modalities (more, if singles and all-but-one are more).
        seed: of the sample.

    Returns:
        The subsets, small ones first, names in schema order.
    """
    n = len(names)
    if n <= 8:
        chosen = {index for size in range(1, n + 1) for index in combinations(range(n), size)}
    else:
        chosen = {index for size in (1, n - 1, n) for index in combinations(range(n), size)}
        generator = np.random.default_rng(seed)
        while len(chosen) < min(limit, 2**n - 1):
            chosen.add(tuple(np.flatnonzero(generator.random(n) < 0.5).tolist()) or (0,))
    return [tuple(names[i] for i in index) for index in sorted(chosen, key=lambda index: (len(index), index))]


@dataclass(frozen=True)
class FusedBranches:
    """Predictions of a late-fusion model for any combination, from one pass of each branch.

    Attributes:
        names: the modalities.
        branches: (M, n, C) branch predictions, zeros where absent.
        presence: (n, M) bool.
        prior: (C,) what a row without any of the modalities gets.
    """

    names: tuple[str, ...]
    branches: np.ndarray
    presence: np.ndarray
    prior: np.ndarray

    def __call__(self, subset: Subset) -> np.ndarray:
        """(n, C): the mean of the present branches of one subset."""
        return self.fuse([subset])[0]

    def fuse(self, chosen: Sequence[Subset]) -> np.ndarray:
        """(K, n, C): the means of K subsets as one matrix product, members (K, M) times branches (M, nC)."""
        n_modalities, n, n_outputs = self.branches.shape
        dtype = self.branches.dtype
        members = np.array([[name in subset for name in self.names] for subset in chosen], dtype=dtype)
        if self.presence.all() and members.any(axis=1).all():
            members /= members.sum(axis=1, keepdims=True)
            return (members @ self.branches.reshape(n_modalities, -1)).reshape(-1, n, n_outputs)
        count = members @ self.presence.T.astype(dtype)
        fused = (members @ self.branches.reshape(n_modalities, -1)).reshape(-1, n, n_outputs)
        fused /= np.maximum(count, 1)[:, :, None]
        fused[count == 0] = self.prior
        return fused


def late_fusion(branches: Mapping[str, np.ndarray], prior: np.ndarray) -> FusedBranches:
    """``predict`` of a late-fusion model: a subset's prediction is the mean of its present branches.

    Args:
        branches: name -> (n, C) predictions, NaN rows where the modality is absent.
        prior: (C,) the prediction of a row that has none of a subset's modalities.

    Returns:
        A callable from a subset to (n, C), for the reports below.
    """
    stack = np.stack(list(branches.values()))
    absent = np.isnan(stack).any(axis=2)
    stack[absent] = 0.0
    return FusedBranches(tuple(branches), stack, ~absent.T, np.asarray(prior, dtype=stack.dtype))


# ---- reports -------------------------------------------------------------------------------------


def subset_report(
    predict: Predict,
    presence: np.ndarray,
    names: Sequence[str],
    y: np.ndarray,
    kind: TaskKind,
    *,
    metrics: Iterable[str] | None = None,
    dataset: str = "",
    method: str = "",
    seed: int = 0,
    labels: float = 1.0,
    limit: int = 256,
    decide: Predict | None = None,
) -> pd.DataFrame:
    """Metrics for every combination of modalities, each on the rows that have all of its modalities.

    Args:
        predict: from a subset to (n, C) predictions made of at most these modalities.
        presence: (n, M) bool.
        names: the modalities, in schema order.
        y: labels of the n rows, all of them labelled; see :mod:`polymodal.metrics`.
        kind: the task kind.
        metrics: metric names; None takes the kind's defaults.
        dataset: first column of the table.
        method: second column.
        seed: third column.
        labels: fourth column, the share of training rows that were labelled.
        limit: how many combinations to sample above 8 modalities.
        decide: from a subset to the (n, C) bool labels that the method decides; None decides them at 1/2.

    Returns:
        Tidy rows; ``n_rows`` stands beside the metrics as one of them. A combination that no row has is
        NaN with ``n_rows`` 0. ``attrs["subsets"]`` says how many combinations there are and whether they
        were sampled.

    Raises:
        ConfigError: a metric is unknown or unsuitable.
    """
    wanted = [metric.name for metric in choose(metrics, kind)]
    columns = {name: i for i, name in enumerate(names)}
    run = (dataset, method, seed, labels)
    rows: list[tuple[Any, ...]] = []
    for subset in subsets(names, limit=limit):
        has_all = presence[:, [columns[name] for name in subset]].all(axis=1)
        prediction = predict(subset)[has_all] if has_all.any() else np.empty((0, 1))
        decided = None if decide is None or not has_all.any() else decide(subset)[has_all]
        values = evaluate(wanted, y[has_all], prediction, kind, decided)
        rows += _rows(run, "+".join(subset), values | {"n_rows": float(has_all.sum())})
    table = pd.DataFrame(rows, columns=COLUMNS)
    observed = observed_report(predict, names, y, kind, metrics=wanted, run=run, decide=decide)
    table = pd.concat([table, observed])
    table = table.reset_index(drop=True)
    table.attrs["subsets"] = coverage(table)
    return table


def observed_report(
    predict: Predict,
    names: Sequence[str],
    y: np.ndarray,
    kind: TaskKind,
    *,
    metrics: Iterable[str] | None = None,
    run: tuple[str, str, int, float] = ("", "", 0, 1.0),
    decide: Predict | None = None,
) -> pd.DataFrame:
    """Metrics of every row with whatever it has: the rows as they come.

    Args:
        predict: as in :func:`subset_report`.
        names: the modalities.
        y: labels of the n rows.
        kind: the task kind.
        metrics: metric names.
        run: the first four columns.
        decide: as in :func:`subset_report`.
    """
    wanted, everything = [metric.name for metric in choose(metrics, kind)], tuple(names)
    decided = None if decide is None else decide(everything)
    values = evaluate(wanted, y, predict(everything), kind, decided) | {"n_rows": float(len(y))}
    return pd.DataFrame(_rows(run, OBSERVED, values), columns=COLUMNS)


def missing_rate_curve(
    predict: Predict,
    presence: np.ndarray,
    names: Sequence[str],
    y: np.ndarray,
    kind: TaskKind,
    *,
    rates: Sequence[float] = RATES,
    mask_seed: int = 0,
    metrics: Iterable[str] | None = None,
    dataset: str = "",
    method: str = "",
    seed: int = 0,
    labels: float = 1.0,
    decide: Predict | None = None,
) -> pd.DataFrame:
    """Metrics when every cell is lost with a given probability, on the same rows at every rate.

    One uniform number a cell decides at which rate it is lost, so that a higher rate loses what a lower
    one lost and more. A row keeps at least the one of its modalities that would be lost last: the true
    share of missing cells, the metric ``missing_share``, is lower than the rate. Rows without any modality
    are left out. The model predicts once for each combination that occurs.

    Args:
        predict: as in :func:`subset_report`, like all arguments not named here.
        presence: (n, M) bool.
        names: the modalities, in schema order.
        y: labels of the n rows.
        kind: the task kind.
        rates: the missing rates, each in [0, 1).
        mask_seed: of the masks; methods that are to be compared need the same.
        metrics: metric names.
        dataset: first column of the table.
        method: second column.
        seed: third column.
        labels: fourth column.
        decide: as in :func:`subset_report`.

    Returns:
        Tidy rows whose ``subset`` is ``"rate=0.3"``.
    """
    wanted = [metric.name for metric in choose(metrics, kind)]
    some = presence.any(axis=1)
    masks = missing_masks(presence[some], rates, mask_seed)
    asked = (masks, names, np.flatnonzero(some))
    predictions = _predict_masks(predict, *asked)
    decisions = [None] * len(rates) if decide is None else _predict_masks(decide, *asked)
    rows: list[tuple[Any, ...]] = []
    for rate, mask, prediction, decided in zip(rates, masks, predictions, decisions, strict=True):
        values = evaluate(wanted, y[some], prediction, kind, decided)
        values |= {"missing_share": float(1.0 - mask.mean()), "n_rows": float(some.sum())}
        rows += _rows((dataset, method, seed, labels), f"rate={rate:g}", values)
    return pd.DataFrame(rows, columns=COLUMNS)


def distinct_patterns(presence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The patterns that occur, (P, M) bool, and which of them each of n rows has, (n,).

    Packed into one number a row: NumPy's unique of whole rows takes 30 times as long.
    """
    packed = np.packbits(presence, axis=1)
    words = np.zeros((len(packed), 8 * -(-packed.shape[1] // 8)), dtype=np.uint8)
    words[:, : packed.shape[1]] = packed
    numbers = words.view(np.uint64)
    keys, axis = (numbers[:, 0], None) if numbers.shape[1] == 1 else (numbers, 0)
    _, first, which = np.unique(keys, axis=axis, return_index=True, return_inverse=True)
    return presence[first], which.ravel()


def missing_masks(presence: np.ndarray, rates: Sequence[float], seed: int) -> np.ndarray:
    """(R, n, M) bool: what remains at each rate; nested, and at least one modality of every row."""
    fate = np.where(presence, np.random.default_rng(seed).random(presence.shape), -1.0)
    last = fate == fate.max(axis=1, keepdims=True)
    return np.stack([presence & ((fate >= rate) | last) for rate in rates])


def _predict_masks(
    predict: Predict, masks: np.ndarray, names: Sequence[str], rows: np.ndarray
) -> list[np.ndarray]:
    """For each of (R, n, M) masks the (n, C) predictions of the rows, one call for each pattern."""
    patterns, which = distinct_patterns(masks.reshape(-1, masks.shape[2]))
    which = which.reshape(masks.shape[:2])
    predictions: list[np.ndarray] = []
    for k, pattern in enumerate(patterns):
        here = predict(tuple(name for name, kept in zip(names, pattern, strict=True) if kept))[rows]
        predictions = predictions or [np.empty_like(here) for _ in masks]
        for prediction, chosen in zip(predictions, which == k, strict=True):
            prediction[chosen] = here[chosen]
    return predictions


def _rows(run: tuple[Any, ...], subset: str, values: Mapping[str, float]) -> list[tuple[Any, ...]]:
    return [(*run, subset, metric, value) for metric, value in values.items()]


# ---- what a table says ---------------------------------------------------------------------------


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """The few numbers of each run and metric of a tidy table.

    Statistics: ``mean`` and ``worst`` over the combinations (``detail`` names the worst), ``all``
    modalities together, ``observed``, ``single:NAME``; ``hurts``, the share of (combination, further
    modality) pairs where adding the modality makes the metric worse; ``gain:NAME``, what adding the modality
    brings on average over the combinations without it, positive when better; ``area``, the area under the
    missing-rate curve divided by its width; ``n_subsets``, the combinations that had rows. What a table
    cannot tell is left out; combinations whose metric is NaN are left out of all of them.

    Returns:
        Columns ``dataset, method, seed, labels, metric, statistic, value, detail``.
    """
    rows: list[tuple[Any, ...]] = []
    for run, part in _measured(table).groupby(RUN, sort=False):
        values = dict(zip(part["subset"], part["value"], strict=True))
        better = METRICS[part["metric"].iloc[0]].greater_is_better
        rows += [(*run, *statistic) for statistic in _statistics(values, better)]
    return pd.DataFrame(rows, columns=[*RUN, "statistic", "value", "detail"])


def aggregate(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds of a tidy table or of a summary.

    Returns:
        The table's columns without ``seed`` and ``value``, and ``mean``, ``std`` (n - 1 in the denominator;
        NaN for one seed), ``n_seeds``; of ``detail`` the most frequent.
    """
    keys = [column for column in table.columns if column not in ("seed", "value", "detail")]
    groups = table.groupby(keys, sort=False)
    result = groups["value"].agg(mean="mean", std="std", n_seeds="count").reset_index()
    if "detail" in table.columns:
        result["detail"] = groups["detail"].agg(lambda details: details.mode().iloc[0]).to_numpy()
    return result


def coverage(table: pd.DataFrame) -> str:
    """In words: how many combinations of modalities stand behind a table's mean, and which do not."""
    listed = table[~table["subset"].map(_is_special)]
    n_modalities = len(_modalities(listed["subset"]))
    n_listed, n_possible = listed["subset"].nunique(), 2**n_modalities - 1
    n_empty = listed.loc[(listed["metric"] == "n_rows") & (listed["value"] == 0), "subset"].nunique()
    words = f"all {n_possible:,} combinations of {n_modalities} modalities"
    if n_listed < n_possible:
        words = f"a sample of {n_listed:,} of the {n_possible:,} combinations of {n_modalities} modalities"
    return words + (f", {n_empty:,} of them without a row" if n_empty else "")


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that hold a metric, not a count, and a number."""
    return table[table["metric"].isin(METRICS) & table["value"].notna()]


def _is_special(subset: str) -> bool:
    return subset == OBSERVED or subset.startswith("rate=")


def _modalities(listed: Iterable[str]) -> list[str]:
    """The single modalities among subset names, in their order."""
    return list(dict.fromkeys(name for name in listed if not _is_special(name) and "+" not in name))


def _statistics(values: Mapping[str, float], better: bool) -> list[tuple[str, float, str]]:
    """(statistic, value, detail) of one run from subset -> value."""
    by_subset = {frozenset(name.split("+")): value for name, value in values.items() if not _is_special(name)}
    named = {frozenset(name.split("+")): name for name in values}
    names = list(dict.fromkeys(part for name in values if not _is_special(name) for part in name.split("+")))
    result = []
    if by_subset:
        worst = (min if better else max)(by_subset, key=lambda subset: by_subset[subset])
        result += [
            ("mean", float(np.mean(list(by_subset.values()))), ""),
            ("worst", by_subset[worst], named[worst]),
            ("n_subsets", float(len(by_subset)), ""),
        ]
    if frozenset(names) in by_subset:
        result.append(("all", by_subset[frozenset(names)], ""))
    result += [(f"single:{name}", values[name], "") for name in names if name in values]
    result += _gains(by_subset, names, better)
    if OBSERVED in values:
        result.append((OBSERVED, values[OBSERVED], ""))
    curve = {float(name[5:]): value for name, value in values.items() if name.startswith("rate=")}
    return [*result, ("area", _area(curve), "")] if len(curve) > 1 else result


def _gains(
    values: Mapping[frozenset[str], float], names: Sequence[str], better: bool
) -> list[tuple[str, float, str]]:
    """What adding each modality to each combination without it brings; positive is better."""
    sign = 1.0 if better else -1.0
    gains = {
        name: [
            sign * (values[s | {name}] - value)
            for s, value in values.items()
            if s | {name} in values and name not in s
        ]
        for name in names
    }
    every = [gain for gained in gains.values() for gain in gained]
    if not every:
        return []
    hurts = ("hurts", float(np.mean(np.array(every) < 0.0)), "")
    return [hurts, *((f"gain:{name}", float(np.mean(g)), "") for name, g in gains.items() if g)]


def _area(curve: Mapping[float, float]) -> float:
    """Mean height of a curve given by its points: trapezoids divided by the width."""
    rates = np.array(sorted(curve))
    heights = np.array([curve[rate] for rate in rates])
    return float(np.sum((heights[1:] + heights[:-1]) / 2 * np.diff(rates)) / (rates[-1] - rates[0]))


# ---- a table for terminals -----------------------------------------------------------------------


def show(table: pd.DataFrame, metric: str | None = None, *, floors: Collection[str] = ()) -> Group:
    """What a tidy table says about one metric, for ``rich.print``: methods as rows, floors set apart.

    Columns: all modalities together, each alone, the worst combination, the mean over all. Cells: mean ±
    standard deviation over seeds, in percent where the metric lies in [0, 1]; the best of a column is bold.

    Args:
        table: tidy rows of one or more data sets, methods, seeds and label shares.
        metric: which metric; None takes the table's first.
        floors: the methods that are floors.

    Returns:
        One table for each data set and label share.
    """
    from rich.console import Group

    metric = metric or _measured(table)["metric"].iloc[0]
    chosen = table[table["metric"].isin([metric, "n_rows"])]
    parts = chosen.groupby(["dataset", "labels"], sort=False)
    return Group(*(_show_one(part, metric, floors, str(d), float(s)) for (d, s), part in parts))  # type: ignore[arg-type]


def _show_one(part: pd.DataFrame, metric: str, floors: Collection[str], dataset: str, share: float) -> Table:
    from rich import box
    from rich.table import Table

    summary = aggregate(summarise(part))
    names = _modalities(part["subset"])
    statistics = ["all", *(f"single:{name}" for name in names), "worst", "mean"]
    means = summary.pivot_table(index="method", columns="statistic", values="mean", sort=False)
    stds = summary.pivot_table(index="method", columns="statistic", values="std", sort=False, dropna=False)
    means, stds = means.reindex(columns=statistics), stds.reindex(index=means.index, columns=statistics)
    greater = METRICS[metric].greater_is_better
    best = means.max() if greater else means.min()
    n_seeds = int(summary["n_seeds"].max())
    table = Table(
        title=f"{dataset}{', ' if dataset else ''}{share:.0%} of the labels: {metric}"
        + (", %" if METRICS[metric].unit_interval else "")
        + ("" if greater else " (lower is better)"),
        caption=f"worst and mean over {coverage(part)}"
        + (f"; ± standard deviation over {n_seeds} seeds" if n_seeds > 1 else "; one seed"),
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    width = (
        5 if METRICS[metric].unit_interval else 6
    )  # a narrow terminal folds at the ±, never inside a number
    table.add_column("method", no_wrap=True)
    for statistic in statistics:
        table.add_column(statistic.removeprefix("single:"), justify="right", min_width=width)
    rivals = [method for method in means.index if method not in floors]
    for method in [*rivals, *(method for method in means.index if method in floors)]:
        cells = [
            _cell(float(mean), float(std), metric, bold=bool(mean == most))
            for mean, std, most in zip(means.loc[method], stds.loc[method], best, strict=True)
        ]
        table.add_row(str(method), *cells, end_section=bool(rivals) and method == rivals[-1])
    return table


def _cell(mean: float, std: float, metric: str, *, bold: bool) -> str:
    scale, digits = (100.0, 1) if METRICS[metric].unit_interval else (1.0, 3)
    if np.isnan(mean):
        return "-"
    words = f"{scale * mean:.{digits}f}" + ("" if np.isnan(std) else f" ±{scale * std:.{digits}f}")
    return f"[bold]{words}[/bold]" if bold else words
