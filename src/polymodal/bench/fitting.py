"""One cell, fitted and scored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from polymodal import methods as registry
from polymodal.bench.conditions import kept_warnings, one_thread
from polymodal.bench.encoding import declared, encoded
from polymodal.bench.given import problem_of
from polymodal.bench.grid import Cell, load_once
from polymodal.bench.results import Result, to_rows
from polymodal.data.readers import Dataset
from polymodal.estimators import MethodClassifier, MethodRegressor, subset_table
from polymodal.evaluation import RATES
from polymodal.methods import floors


def run_cell(cell: Cell, data: str | Path | None = None, model: str | Path | None = None) -> Result:
    """Train and evaluate one cell, in one thread.

    Args:
        cell: which.
        data: the folder of the data sets that are not bundled.
        model: directory to save the fitted estimator to; None for none.

    Raises:
        PolymodalError: the data set or a setting of the method cannot be used.
    """
    estimator, result = fitted(load_once(cell.dataset, data, cell.variant), cell)
    if model is not None:
        estimator.save(model)
    return result


def fitted(dataset: Dataset, cell: Cell) -> tuple[Any, Result]:
    """The fitted estimator or floor of a cell, and its result."""
    given = problem_of(cell, dataset)
    gaps = cell.missing != "complete"
    with one_thread(), kept_warnings() as kept:
        encoded_from = time.perf_counter()
        tables = encoded(given.X_train, given.X_test, declared(dataset, dict(cell.encoders)))
        start, cpu_start = time.perf_counter(), time.process_time()
        estimator = build(cell, dataset)
        more = {"groups": given.groups_train} if cell.method in registry.METHODS else {}
        estimator.fit(tables.train, given.y_train, **more)
        # from here on it reads rows as they came, as if it had encoded them itself
        estimator.modalities_, estimator.encoders_ = tables.schema, tables.encoders
        fitted_at, cpu_seconds = time.perf_counter(), time.process_time() - cpu_start
        table = subset_table(
            estimator,
            tables.test,
            given.y_test,
            metrics=dataset.metrics,
            dataset=cell.data_name,
            method=cell.name,
            seed=cell.seed,
            labels=cell.labels,
            combinations=not gaps,
            rates=() if gaps else RATES,
        )
    record = {
        "cell": asdict(cell),
        "sha256": given.hashes,
        "absent": [rounded(mask.rates()) for mask in given.masks],
        "n_train": len(given.y_train),
        "n_test": len(given.y_test),
        "seconds_encode": round(start - encoded_from, 3),
        "seconds_fit": round(fitted_at - start, 3),
        "cpu_seconds_fit": round(cpu_seconds, 3),
        "seconds_evaluate": round(time.perf_counter() - fitted_at, 3),
        "n_parameters": n_parameters(estimator),
        "stopping_rule": getattr(estimator, "stopping_rule_", None),
        "n_epochs": getattr(estimator, "n_iter_", None),
        "diagnostics": diagnostics(getattr(estimator, "history_", [])),
        "warnings": kept,
    }
    return estimator, Result(cell, to_rows(table), record)


def build(cell: Cell, dataset: Dataset) -> Any:
    """The unfitted estimator or floor of a cell; the cell's seed is its random state."""
    settings = dict(cell.settings)
    if cell.method not in registry.METHODS:
        settings["task"] = "regression" if dataset.task == "regression" else "classification"
        return floors.FLOORS[cell.method](dataset.modalities, random_state=cell.seed, **settings)
    cls = MethodRegressor if dataset.task == "regression" else MethodClassifier
    own = {name: settings.pop(name) for name in cls().get_params() if name in settings}
    own |= {"floors": False}  # floors are cells of their own here
    return cls(cell.method, dataset.modalities, settings=settings, random_state=cell.seed, **own)


def n_parameters(estimator: Any) -> int | None:
    """Numbers a method learnt, as its saved model holds them; None for a floor that does not count them."""
    method = getattr(estimator, "method_", None)
    if method is None:
        return getattr(estimator, "n_parameters_", None)
    learnt = method.state_dict().values() if method.learns_alone else method.parameters()
    return sum(tensor.numel() for tensor in learnt)


def diagnostics(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The figures of the epoch whose weights were kept; empty for a floor, which has no history.

    That is the one marked ``kept``, else the last stage's epoch of lowest validation loss, and the last epoch
    where nothing was held out.
    Left out are histograms (``cuts_*``) and what is no number, or not a finite one.
    """
    if not history:
        return {}
    kept = history[-1]
    if "validation_loss" in kept:
        stage = [entry for entry in history if entry["stage"] == kept["stage"]]
        lowest = min(stage, key=lambda entry: entry["validation_loss"])
        kept = next((entry for entry in stage if entry.get("kept")), lowest)
    return {
        name: value
        for name, value in kept.items()
        if isinstance(value, float) and np.isfinite(value) and not name.startswith("cuts_")
    }


def rounded(rates: Mapping[str, float]) -> dict[str, float]:
    """Rates for the record, to four digits."""
    return {name: round(rate, 4) for name, rate in rates.items()}
