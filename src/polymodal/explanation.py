"""What a fitted model's partition has become: tidy tables, pictures, and a report in a folder.

Shares and cuts are parts of a representation's width. Letters: n rows, M modalities, D neurons, K chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch

from polymodal import bench, plots
from polymodal.data import door
from polymodal.errors import ConfigError, DataError
from polymodal.estimators.shell import MethodEstimator
from polymodal.partition import SHARES, Gates

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

GATES = ("gate_uni", "gate_paired")
"""The latents that are gates, (n, M, K)."""
QUANTILES = {"10": 0.1, "90": 0.9}
"""Endings of the columns of a band over rows."""
N_MAP_ROWS = 400
"""Rows whose features are drawn."""


# ---- tables --------------------------------------------------------------------------------------


def partition_table(model: MethodEstimator, X: Any) -> pd.DataFrame:
    """How each modality is divided, and how steady its cuts are.

    Args:
        model: a fitted estimator whose method has a partition.
        X: n rows, as for ``predict``.

    Returns:
        One row a modality: ``modality``; ``n_rows`` that have it; the shares ``uni``, ``paired`` (of either
        gate alone), ``shared`` and ``unassigned``, means over these rows that sum to 1; for the uni part's
        end and the paired part's beginning ``cut_uni`` and ``cut_paired``, means over rows, with ``_std``,
        their spread over rows, and ``_moved``, the range of the training's mean cut over the last third of
        its epochs. NaN where no row has the modality, or where there is one epoch only.

    Raises:
        ConfigError: the method has no partition.
        DataError: no row has any modality.
    """
    return _table(_by_modality(model, *_latents(model, X, GATES)), model.history_)


def partition_gates(model: MethodEstimator, X: Any) -> pd.DataFrame:
    """The gates along the width, over the rows that have a modality.

    Args:
        model: a fitted estimator whose method has a partition.
        X: n rows, as for ``predict``.

    Returns:
        One row a modality and ``chunk`` (from 0): means ``uni`` and ``paired`` of the gates, their quantiles
        ``uni_10``, ``uni_90``, ``paired_10``, ``paired_90`` over rows, and ``cut_uni`` (``cut_paired``), the
        share of rows whose uni part ends (paired part begins) with this chunk.

    Raises:
        ConfigError: the method has no partition.
        DataError: no row has any modality.
    """
    return _gate_table(_by_modality(model, *_latents(model, X, GATES)))


def partition_features(model: MethodEstimator, X: Any) -> pd.DataFrame:
    """Uni-modal and paired features of every row and modality that is there.

    Args:
        model: a fitted estimator whose method has a partition.
        X: n rows, as for ``predict``.

    Returns:
        Columns ``row`` (from 0), ``modality``, ``part`` ("uni" or "paired"), and D columns ``neuron_0``, ...

    Raises:
        ConfigError: the method has no partition.
        DataError: no row has any modality.
    """
    found, presence = _latents(model, X, ("uni", "paired"))
    tables = []
    for m, name in enumerate(model.modalities_):
        rows = np.flatnonzero(presence[:, m])
        for part, features in found.items():
            neurons = [f"neuron_{i}" for i in range(features.shape[2])]
            table = pd.DataFrame(features[rows, m], columns=neurons)
            where = pd.DataFrame({"row": rows, "modality": name, "part": part})
            tables.append(pd.concat([where, table], axis=1))
    return pd.concat(tables, ignore_index=True)


# ---- from latents to figures ---------------------------------------------------------------------


def _latents(
    model: MethodEstimator, X: Any, names: Sequence[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    try:
        found, presence = model.latents(X, names)
    except ConfigError as error:
        raise ConfigError(
            "only a method with a partition has one to explain; "
            f"a model of {type(model.method_).__name__} came; fit one with method='pgm'"
        ) from error
    if not presence.any():
        raise DataError(
            f"a partition shows in rows that have a modality; none of {len(presence)} rows has one; "
            "give rows with inputs"
        )
    return found, presence


def _by_modality(
    model: MethodEstimator, found: Mapping[str, np.ndarray], presence: np.ndarray
) -> dict[str, Gates]:
    """Modality -> the gates (N, K) of the rows that have it."""
    uni, paired = (torch.from_numpy(found[name]) for name in GATES)
    there = torch.from_numpy(presence)
    return {
        name: Gates(uni[there[:, m], m], paired[there[:, m], m]) for m, name in enumerate(model.modalities_)
    }


def _table(by_modality: Mapping[str, Gates], history: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    rows = []
    for name, gates in by_modality.items():
        row: dict[str, Any] = {"modality": name, "n_rows": len(gates.uni)}
        row |= dict(zip(SHARES, gates.shares().mean(0).tolist(), strict=True))
        for part, place in _places(gates).items():
            row |= {
                f"cut_{part}": place.mean().item(),
                f"cut_{part}_std": (place - place.mean()).square().mean().sqrt().item(),
                f"cut_{part}_moved": _moved(history, f"cut_{part}/{name}"),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _places(gates: Gates) -> dict[str, torch.Tensor]:
    """Where the uni part of each row ends and its paired part begins, (N,) shares of the width."""
    n_chunks = gates.uni.shape[-1]
    u, p = gates.cuts()
    return {"uni": (u + 1) / n_chunks, "paired": p / n_chunks}


def _moved(history: Sequence[Mapping[str, Any]], name: str) -> float:
    """Range of a figure over the last third of the epochs; NaN where there is one epoch, or no figure."""
    last = [epoch.get(name, np.nan) for epoch in history[-max(2, len(history) // 3) :]]
    return float(np.ptp(last)) if len(last) > 1 else np.nan


def _gate_table(by_modality: Mapping[str, Gates]) -> pd.DataFrame:
    there = {name: gates for name, gates in by_modality.items() if len(gates.uni)}
    return pd.concat([_gate_columns(name, gates) for name, gates in there.items()], ignore_index=True)


def _gate_columns(name: str, gates: Gates) -> pd.DataFrame:
    n_rows, n_chunks = gates.uni.shape
    columns: dict[str, Any] = {"modality": name, "chunk": np.arange(n_chunks)}
    for part, gate, cut in zip(("uni", "paired"), (gates.uni, gates.paired), gates.cuts(), strict=True):
        columns[part] = gate.mean(0).tolist()
        for ending, level in QUANTILES.items():
            columns[f"{part}_{ending}"] = np.quantile(gate.numpy(), level, axis=0).tolist()
        columns[f"cut_{part}"] = (torch.bincount(cut, minlength=n_chunks) / n_rows).tolist()
    return pd.DataFrame(columns)


# ---- what is shown -------------------------------------------------------------------------------


def show(table: pd.DataFrame) -> Table:
    """Rows of :func:`partition_table` for a terminal, in percent of the width."""
    from rich import box
    from rich.table import Table

    shown = Table(
        title="partition, % of the width",
        caption="cuts: where the uni part ends and the paired part begins, ± spread over rows; "
        "moved: range of the mean cut over the last third of the epochs",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    shown.add_column("modality", no_wrap=True)
    for name in ("rows", *SHARES, "uni cut", "moved", "paired cut", "moved"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        cuts = [
            words
            for part in ("uni", "paired")
            for words in (
                f"{_percent(row[f'cut_{part}'])} ±{_percent(row[f'cut_{part}_std'])}",
                _percent(row[f"cut_{part}_moved"]),
            )
        ]
        shares = [_percent(row[part]) for part in SHARES]
        shown.add_row(row["modality"], f"{row['n_rows']:,}", *shares, *cuts)
    return shown


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f}"


# ---- what is written -----------------------------------------------------------------------------


def write(
    model: MethodEstimator, X: Any, out: str | Path, *, dataset: str = ""
) -> tuple[pd.DataFrame, list[str]]:
    """Tables and pictures of a partition.

    Args:
        model: a fitted estimator whose method has a partition.
        X: n rows, as for ``predict``.
        out: folder to write; files of the same names are replaced.
        dataset: name of the data for the titles.

    Returns:
        The rows of :func:`partition_table`, and the names of the files: ``partition.json`` (that table and
        that of :func:`partition_gates`), and a picture each of shares, gates, shares by epoch, cuts by epoch
        and features.

    Raises:
        ConfigError: the method has no partition.
        DataError: no row has any modality.
    """
    found, presence = _latents(model, X, GATES)
    by_modality = _by_modality(model, found, presence)
    table, gates = _table(by_modality, model.history_), _gate_table(by_modality)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    bench.write_json(out / "partition.json", {"partition": _records(table), "gates": _records(gates)})
    name = type(model.method_).__name__
    name += "" if model.random_state is None else f", seed {model.random_state}"
    drawn = _drawn(np.flatnonzero(presence.any(axis=1)))
    pictures = {
        **_gate_pictures(table[table["n_rows"] > 0], gates),
        "features.png": _feature_picture(model, door.take(X, drawn)),
        **_training_pictures(model),
    }
    for file, figure in pictures.items():
        rows = "training" if file.endswith("_by_epoch.png") else f"{door.n_rows(X):,} rows of {dataset}"
        figure.suptitle(f"{name}: {rows}".removesuffix(" of "), x=0.01, ha="left", fontsize=11)
        figure.savefig(out / file)
    return table, ["partition.json", *pictures]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON, None where a figure is not defined."""
    return [
        {str(name): None if value != value else value for name, value in row.items()}  # NaN is not itself
        for row in table.to_dict("records")
    ]


def _drawn(rows: np.ndarray) -> np.ndarray:
    """Some of the rows, in their order."""
    chosen = np.random.default_rng(0).choice(rows, min(len(rows), N_MAP_ROWS), replace=False)
    return np.sort(chosen)


def _gate_pictures(table: pd.DataFrame, gates: pd.DataFrame) -> dict[str, Figure]:
    shares, ax = plots.figure(height=1.6 + 0.45 * len(table))
    plots.share_bars(table, ax)
    curves, axes = plots.panels(len(table))
    for name, ax in zip(table["modality"], axes, strict=True):
        plots.gate_curves(gates, ax, modality=name)
    return {"shares.png": shares, "gates.png": curves}


def _training_pictures(model: MethodEstimator) -> dict[str, Figure]:
    """Of the modalities that all epochs have figures of."""
    names = [name for name in model.modalities_ if all(f"cut_uni/{name}" in e for e in model.history_)]
    shares, axes = plots.panels(len(names))
    for name, ax in zip(names, axes, strict=True):
        plots.share_history(model.history_, ax, modality=name)
    cuts, axes = plots.panels(2 * len(names))
    for i, ax in enumerate(axes):
        part: Literal["uni", "paired"] = "paired" if i % 2 else "uni"
        plots.cut_histogram(model.history_, ax, modality=names[i // 2], part=part)
    return {"shares_by_epoch.png": shares, "cuts_by_epoch.png": cuts}


def _feature_picture(model: MethodEstimator, X: Any) -> Figure:
    """All modalities together, then each one by what the model predicts."""
    features, prediction = partition_features(model, X), model.predict(X)
    names = list(features["modality"].unique()) if prediction.ndim == 1 else []
    figure, axes = plots.panels(1 + len(names), height=6.0)
    plots.feature_map(features, None, axes[0])
    for name, ax in zip(names, axes[1:], strict=True):
        plots.feature_map(features[features["modality"] == name], prediction, ax)
        ax.set_title(f"{name}, by prediction; filled: uni-modal, hollow: paired", loc="left", fontsize=10)
    return figure
