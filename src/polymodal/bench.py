"""Audited comparison: every method on the same splits, few labels, absent inputs and seeds.

The unit of work is a :class:`Cell`: one method on one data set with one seed and one share of labels. All
that a cell's method gets is drawn by :func:`problem` from the data set and the seed alone, never from the
method, and its hashes are kept beside the figures. A hidden label is overwritten before a method sees it.

Cells run in this process or in several, one thread each, so that figures do not depend on how many run at
once. With ``out``, each finished cell is appended to ``OUT.partial.jsonl`` and is not run again: a run that
was cut off goes on where it stopped. Delete that file to run everything afresh.

Letters: n rows, M modalities.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from polymodal import methods as registry
from polymodal.batch import TaskKind
from polymodal.data import missingness, readers, regimes, splits
from polymodal.data.door import Table, bind, read
from polymodal.data.missingness import PresenceMask
from polymodal.data.readers import Dataset
from polymodal.encoders.table import Encoders
from polymodal.errors import ConfigError, PolymodalError, PolymodalWarning
from polymodal.estimators import MethodClassifier, MethodRegressor, subset_table
from polymodal.evaluation import COLUMNS, RATES
from polymodal.methods import floors
from polymodal.progress import progress
from polymodal.schema import RAW, Modality

Row = dict[str, Any]
"""One line of a tidy table, with the keys ``dataset, method, seed, labels, subset, metric, value``."""

VERSIONS_OF = ("polymodal", "torch", "numpy", "scikit-learn", "pandas")


# ---- what is compared ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One method on one data set with one seed and one share of labels.

    Attributes:
        dataset: a name in ``readers.available()``.
        method: a registered method or a floor.
        seed: of the split, the labels that are kept, the absent inputs and the method.
        labels: share of the training rows that keep their labels.
        missing_train: share of the training rows' inputs that are made absent, completely at random.
        split: a split of the data set; None takes its default, or draws one by the seed.
        settings: ``(name, value)`` pairs for the method or its estimator, such as ``("max_epochs", 5)``.
        name: how the column ``method`` calls it; the method's own name unless given.
        variant: of the data set; None for the default one.
        encoders: ``(modality, encoder)`` pairs for raw modalities, the others keep their default. ``$NAME``
            in an encoder is an environment variable: no folder of a machine is kept with the figures.
        missing: how inputs go missing in training and test rows, one of ``regimes.REGIMES``; other than
            ``"complete"``, the test rows are evaluated as they come, not by combination of modalities.
        max_train: training rows, at most: drawn by the seed, stratified; None keeps all.
        max_test: test rows, likewise.
    """

    dataset: str
    method: str
    seed: int
    labels: float = 1.0
    missing_train: float = 0.0
    split: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    name: str = ""
    variant: str | None = None
    encoders: tuple[tuple[str, str], ...] = ()
    missing: str = "complete"
    max_train: int | None = None
    max_test: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.method)

    @property
    def key(self) -> str:
        """The cell as one line of JSON, by which finished cells are recognised."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def data_name(self) -> str:
        """How the column ``dataset`` calls the data: ``set:variant/split (encoders)`` of what was named."""
        variant = "" if self.variant is None else f":{self.variant}"
        split = "" if self.split is None else f"/{self.split}"
        names = "+".join(Path(encoder).name for _, encoder in self.encoders)
        return f"{self.dataset}{variant}{split}" + (f" ({names})" if names else "")

    def __str__(self) -> str:
        regime = "" if self.missing == "complete" else f", missing {self.missing}"
        return f"{self.name} on {self.data_name}, {self.labels:.0%} of the labels, seed {self.seed}{regime}"


def cells(
    dataset: str,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]],
    *,
    seeds: Iterable[int],
    labels: Iterable[float] = (1.0,),
    missing_train: float = 0.0,
    split: str | None = None,
    variant: str | None = None,
    encoders: Mapping[str, str] | None = None,
    missing: str = "complete",
    max_train: int | None = None,
    max_test: int | None = None,
    data: str | Path | None = None,
) -> list[Cell]:
    """Every cell of a comparison, seed by seed.

    Args:
        dataset: a name in ``readers.available()``.
        methods: names of methods and floors, ``"default"`` for Robult and every floor of the task; or, for
            variants, ``{name in the table: {"method": "robult", setting: value, ...}}``.
        seeds: each drives the split, the labels, the absent inputs and the method.
        labels: shares of the training rows that keep their labels.
        missing_train: share of the training inputs that are made absent.
        split: a split of the data set.
        variant: of the data set; None for the default one.
        encoders: of raw modalities, by name; None for the default ones.
        missing: a regime of training and test rows.
        max_train: training rows, at most.
        max_test: test rows, at most.
        data: the folder of the data sets that are not bundled.

    Raises:
        ConfigError: no method, floor, data set, variant or raw modality has this name, or the data set is for
            retrieval.
        DataError: the data set is not there.
    """
    loaded = _loaded(dataset, data, variant)
    task = loaded.kind
    declared(loaded, encoders or {})
    names = [] if isinstance(methods, Mapping) else _expanded(methods, task)
    variants = methods if isinstance(methods, Mapping) else {name: {} for name in names}
    return [
        Cell(
            dataset,
            _known(settings.get("method", name), task),
            seed,
            float(share),
            missing_train,
            split,
            tuple((setting, value) for setting, value in settings.items() if setting != "method"),
            name,
            variant,
            tuple((encoders or {}).items()),
            missing,
            max_train,
            max_test,
        )
        for share in labels
        for seed in seeds
        for name, settings in variants.items()
    ]


def _expanded(names: Sequence[str], task: TaskKind) -> list[str]:
    """Method names with ``"default"`` spelt out, each once."""
    default = ["robult", *floors.floors_for(task)]
    return list(dict.fromkeys(n for name in names for n in (default if name == "default" else [name])))


def _known(method: str, task: TaskKind) -> str:
    known = [*registry.METHODS, *floors.floors_for(task)]
    if method not in known:
        raise ConfigError(
            f"methods and floors for {task} are {', '.join(known)}; {method!r} came; name one of them"
        )
    return method


# ---- what a method gets ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """Training and test rows as every method gets them.

    Attributes:
        X_train: modality -> (n, ...), NaN where absent.
        y_train: (n,) with the hidden labels overwritten: -1 for classes, NaN for values.
        X_test: test rows, as the data set has them but for what the regime takes away.
        y_test: their labels.
        groups_train: (n,) group of each training row where the test rows are of other groups, or None.
        masks: who is absent where in the training and in the test rows, besides by nature.
        hashes: SHA-256 of the split, of the labels kept and of both presence masks.
    """

    X_train: dict[str, Any]
    y_train: np.ndarray
    X_test: dict[str, Any]
    y_test: np.ndarray
    groups_train: np.ndarray | None
    masks: tuple[PresenceMask, PresenceMask]
    hashes: dict[str, str]


def problem(
    dataset: Dataset,
    *,
    seed: int,
    labels: float = 1.0,
    missing_train: float = 0.0,
    split: str | None = None,
    missing: str = "complete",
    max_train: int | None = None,
    max_test: int | None = None,
) -> Problem:
    """Draw what a cell's method gets: a function of the data set and these arguments alone.

    Args:
        dataset: the data.
        seed: of the split (where none is published), of the labels kept and of the presence mask.
        labels: share of the training rows that keep their labels; with one seed 1 % lies inside 5 %.
        missing_train: share of the training inputs made absent; a row keeps at least one of its M places.
        split: a split of the data set.
        missing: a regime of training and test rows, in place of ``missing_train``.
        max_train: training rows, at most.
        max_test: test rows, at most.

    Raises:
        ConfigError: an unknown regime, or one beside ``missing_train``.
    """
    train, test = dataset.train_test(seed, split)
    train = _capped(dataset, train, max_train, _derived(seed, "training rows"))
    test = _capped(dataset, test, max_test, _derived(seed, "test rows"))
    X_train, y_train = dataset.rows(train)
    X_test, y_test = dataset.rows(test)
    kept = splits.few_labels(y_train, labels, _derived(seed, "labels"), kind=dataset.kind)
    masks = _masks(dataset, y_train, y_test, missing, missing_train, _derived(seed, "presence"))
    return Problem(
        X_train=missingness.apply(X_train, masks[0]),
        y_train=hidden(y_train, kept.mask),
        X_test=X_test if masks[1].mask.all() else missingness.apply(X_test, masks[1]),
        y_test=y_test,
        groups_train=_groups(dataset.groups, train, test),
        masks=masks,
        hashes={
            "split": _hash(train, test),
            "labels": kept.sha256,
            "presence": masks[0].sha256,
            "presence_test": masks[1].sha256,
        },
    )


def _capped(dataset: Dataset, rows: np.ndarray, most: int | None, seed: int) -> np.ndarray:
    """At most so many of the rows, stratified, a row of every class; all of them where there are fewer."""
    if most is None or len(rows) <= most:
        return rows
    return rows[splits.few_labels(dataset.y[rows], most / len(rows), seed, kind=dataset.kind).indices]


def _masks(
    dataset: Dataset, y_train: np.ndarray, y_test: np.ndarray, missing: str, missing_train: float, seed: int
) -> tuple[PresenceMask, PresenceMask]:
    """Who is absent where, in training and test rows: by the regime, or in the training rows alone."""
    names = tuple(dataset.X)
    if missing == "complete":
        train = missingness.completely_at_random(len(y_train), names, missing_train, seed)
        return train, missingness.completely_at_random(len(y_test), names, 0.0, seed)
    if missing_train:
        raise ConfigError(
            f"a regime says what is missing in training and test; missing={missing!r} came beside "
            f"missing_train={missing_train}; leave one out"
        )
    return regimes.masks(missing, names, y_train, y_test, dataset.kind, seed)


def _groups(groups: np.ndarray | None, train: np.ndarray, test: np.ndarray) -> np.ndarray | None:
    """Groups of the training rows if the test rows are of other groups: validation is to be like the test."""
    if groups is None or np.isin(groups[test], groups[train]).any():
        return None
    return groups[train]


def hidden(y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """A copy of (n,) or (n, C) labels in which the rows not kept, (n,) bool, hold -1 or NaN."""
    result = y.copy()
    result[~kept] = -1 if y.dtype.kind in "iu" else np.nan
    return result


def _derived(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose: draws from one seed would run alike."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:4])


def _hash(*arrays: np.ndarray) -> str:
    return hashlib.sha256(json.dumps([array.tolist() for array in arrays]).encode()).hexdigest()


# ---- raw cells, once a cell ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tables:
    """Training and test rows as every method reads them, raw cells encoded.

    Attributes:
        train: encoded by what it taught the encoders that learn.
        test: encoded by the same.
        schema: the modalities as they were before encoding.
        encoders: those of the training rows.
    """

    train: Table
    test: Table
    schema: dict[str, Modality]
    encoders: Encoders


def declared(dataset: Dataset, encoders: Mapping[str, str]) -> dict[str, Modality]:
    """The modalities with the encoders that are named; ``$NAME`` in a name is an environment variable.

    Raises:
        ConfigError: an encoder for a modality that is not there or is not raw.
    """
    raw = [name for name, modality in dataset.modalities.items() if isinstance(modality, RAW)]
    for name in encoders:
        if name not in raw:
            raise ConfigError(
                f"encoders are named for raw modalities, of {dataset.name} {raw}; {name!r} came; leave it out"
            )
    named: dict[str, dict[str, Any]] = {
        name: {"encoder": os.path.expandvars(encoder)} for name, encoder in encoders.items()
    }
    return {name: replace(modality, **named.get(name, {})) for name, modality in dataset.modalities.items()}


def encoded(X_train: Any, X_test: Any, modalities: Mapping[str, Modality]) -> Tables:
    """Rows encoded once for all that reads them: fit, every combination of modalities, every missing rate.

    Args:
        X_train: training rows.
        X_test: test rows.
        modalities: with their encoders; those that learn do so from the training rows.
    """
    schema = bind(X_train, modalities)
    encoders = Encoders()
    train = encoders.fit_transform(read(X_train, schema, fitting=True))
    return Tables(train, encoders.transform(read(X_test, schema)), schema, encoders)


# ---- one cell --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What a cell gave.

    Attributes:
        cell: which.
        rows: its lines of the tidy table.
        record: hashes, seconds, parameters, warnings: what an auditor asks.
    """

    cell: Cell
    rows: list[Row]
    record: dict[str, Any]


Work = Callable[[Cell, str | Path | None, str | Path | None], Result]
"""What :func:`run` does with a cell, given the data sets' folder and where to save the model, if anywhere."""


def run_cell(cell: Cell, data: str | Path | None = None, model: str | Path | None = None) -> Result:
    """Train and evaluate one cell, in one thread.

    Args:
        cell: which.
        data: the folder of the data sets that are not bundled.
        model: directory to save the fitted estimator to; None for none.

    Raises:
        PolymodalError: the data set or a setting of the method cannot be used.
    """
    estimator, result = fitted(_loaded(cell.dataset, data, cell.variant), cell)
    if model is not None:
        estimator.save(model)
    return result


def problem_of(cell: Cell, dataset: Dataset) -> Problem:
    """What the cell's method gets."""
    return problem(
        dataset,
        seed=cell.seed,
        labels=cell.labels,
        missing_train=cell.missing_train,
        split=cell.split,
        missing=cell.missing,
        max_train=cell.max_train,
        max_test=cell.max_test,
    )


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


def to_rows(table: pd.DataFrame) -> list[Row]:
    """A tidy table as JSON-able rows; a value that is not defined becomes None."""
    rows = table[COLUMNS].to_dict("records")
    return [row | {"value": None if np.isnan(row["value"]) else float(row["value"])} for row in rows]  # type: ignore[misc]


def to_table(results: Iterable[Result]) -> pd.DataFrame:
    """The tidy table of all rows."""
    rows = [row for result in results for row in result.rows]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"value": np.float64})


def said(results: Iterable[Result]) -> list[str]:
    """The warnings of all cells, each once, with how many cells gave it."""
    counts = Counter(text for result in results for text in set(result.record["warnings"]))
    return [f"{text} ({n} of the runs)" for text, n in counts.items()]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and the linear algebra: the same figures however many cells run at once."""
    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def kept_warnings() -> Iterator[list[str]]:
    """Keep this library's warnings for the record instead of showing them; all others as always."""
    kept: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", PolymodalWarning)
        shown = warnings.showwarning

        def keep(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, PolymodalWarning):
                kept.append(str(message))
            else:
                shown(message, category, *where, **more)

        warnings.showwarning = keep
        yield kept


@lru_cache(maxsize=2)
def _loaded(name: str, data: str | Path | None, variant: str | None = None) -> Dataset:
    return readers.load(name, data, variant=variant)


# ---- many cells ------------------------------------------------------------------------------------------


def run(
    chosen: Sequence[Cell],
    *,
    data: str | Path | None = None,
    jobs: int = 1,
    out: str | Path | None = None,
    command: str = "",
    models: Mapping[str, str | Path] | None = None,
    work: Work | None = None,
    seconds: Mapping[str, float] | None = None,
    verbose: bool = True,
) -> list[Result]:
    """Run the cells that are not done yet, and write the figures.

    Args:
        chosen: which cells.
        data: the folder of the data sets that are not bundled.
        jobs: how many processes.
        out: ``FILE.json`` for the rows; beside it ``FILE.meta.json`` (versions, hashes, seconds, parameters)
            and ``FILE.partial.jsonl`` (finished cells, as they come).
        command: what was typed, for ``FILE.meta.json``.
        models: key of a cell -> directory to save its fitted estimator to.
        work: what is done with a cell: a function that other processes can import; None for
            :func:`run_cell`.
        seconds: key of a cell -> what it is expected to take, so that the time left is told by it; None
            takes all cells for alike.
        verbose: show progress.

    Returns:
        One result a cell, in the cells' order.

    Raises:
        PolymodalError: a cell failed; what was finished is kept.
    """
    if jobs < 1:
        raise ConfigError(f"jobs is a number of processes, at least 1; {jobs} came; leave it out for one")
    partial = None
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        partial = Path(f"{_stem(out)}.partial.jsonl")
    done = {} if partial is None else finished(partial)
    left = [cell for cell in chosen if cell.key not in done]
    weights = {cell.key: max(1, round(10 * (seconds or {}).get(cell.key, 0.1))) for cell in left}
    n_before = len(done)
    with progress("bench", sum(weights.values()), verbose=verbose) as shown:
        for result in _results(left, data, models or {}, min(jobs, len(left)), work or run_cell):
            done[result.cell.key] = result
            if partial is not None:
                _append(partial, result)
            shown.step(lambda: f"{len(done) - n_before}/{len(left)} cells", weights[result.cell.key])
    results = [done[cell.key] for cell in chosen]
    if out is not None:
        write(out, results, command=command)
    return results


def _results(
    left: Sequence[Cell], data: str | Path | None, models: Mapping[str, str | Path], jobs: int, work: Work
) -> Iterator[Result]:
    """Results as they come: in order here, or in any order from several processes."""
    if jobs <= 1:
        yield from (_named(work, cell, data, models.get(cell.key)) for cell in left)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_named, work, cell, data, models.get(cell.key)) for cell in left]
        try:
            yield from (future.result() for future in as_completed(futures))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _named(work: Work, cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """The work on a cell, whose errors say which cell it was."""
    try:
        return work(cell, data, model)
    except PolymodalError as error:
        raise PolymodalError(f"{cell}: {error}") from error


# ---- files -----------------------------------------------------------------------------------------------


def _stem(out: str | Path) -> str:
    return str(out).removesuffix(".json")


def finished(partial: Path) -> dict[str, Result]:
    """Cells that a file of finished cells holds, by key; a line that was cut off is left out.

    So are cells whose record says ``failed``: they are run again.
    """
    if not partial.exists():
        return {}
    done = {}
    for line in partial.read_text(encoding="utf-8").splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        saved = content["cell"]
        saved |= {part: tuple(map(tuple, saved.get(part, ()))) for part in ("settings", "encoders")}
        cell = Cell(**saved)
        if "failed" not in content["record"]:
            done[cell.key] = Result(cell, content["rows"], content["record"])
    return done


def _append(partial: Path, result: Result) -> None:
    """One more line, on the disk before the next cell counts; a line that was cut off stays alone."""
    content = {"cell": asdict(result.cell), "rows": result.rows, "record": result.record}
    with partial.open("ab+") as file:
        if file.tell() and not _ends_a_line(partial):
            file.write(b"\n")
        file.write(json.dumps(content).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def write(out: str | Path, results: Sequence[Result], *, command: str = "") -> None:
    """Write ``FILE.json`` (rows) and ``FILE.meta.json`` (what an auditor asks), each whole or not at all."""
    meta = {
        "command": command,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS_OF}},
        "cells": [result.record for result in results],
    }
    write_json(f"{_stem(out)}.meta.json", meta)
    write_json(out, [row for result in results for row in result.rows])


def write_json(path: str | Path, content: Any) -> None:
    """JSON, one line an entry of a list, under a temporary name, synced and renamed."""
    if isinstance(content, list):
        text = "[\n" + ",\n".join(json.dumps(entry, allow_nan=False) for entry in content) + "\n]\n"
    else:
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
