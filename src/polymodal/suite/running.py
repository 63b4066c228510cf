"""Running a suite: how long it takes, cells in parallel processes, files, and an audit of its masks.

``FILE.json`` holds the rows, with the primary metric of each data set alone: for complete inputs every
combination of modalities, under a regime the rows as they come. ``FILE.meta.json`` holds what an auditor
asks: for each problem (what all methods got alike) its hashes and rates, for each cell its seconds. Beside
them lies the same table as ``FILE.parquet``, or as ``FILE.csv`` without pyarrow, and ``FILE.partial.jsonl``.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from polymodal import bench
from polymodal.bench import Cell, Result
from polymodal.data import readers, tables
from polymodal.data.readers import Dataset
from polymodal.errors import ConfigError, MissingExtraError
from polymodal.evaluation import COLUMNS
from polymodal.suite import grid
from polymodal.suite.grid import Suite

TABLE = ["dataset", "missing", *COLUMNS[1:]]
"""Columns of a suite's tidy table: those of every tidy table, and the regime."""

PROBLEM = ("dataset", "variant", "split", "missing", "labels", "seed", "max_train", "max_test")
"""What a cell's problem is drawn from, beside the data set's own rows."""

UNKNOWN_SECONDS = 20.0
"""Of a cell of which nothing is known."""

ROWS_MEASURED = 1000
"""Training rows for which the grid's seconds were measured."""


# ---- how long it takes ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """How long cells take.

    Attributes:
        seconds: of a processor, for all of them.
        n_cells: how many.
        n_recorded: of them, those whose estimate comes from like cells that are done.
    """

    seconds: float
    n_cells: int
    n_recorded: int

    def __str__(self) -> str:
        return (
            f"{self.n_cells} cells to run, {self.n_recorded} of them timed by like cells that are done; "
            f"about {_duration(self.seconds)} of a processor"
        )

    def wall(self, jobs: int) -> str:
        """What that is for so many processes, if each has a processor of its own."""
        return _duration(self.seconds / jobs)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def estimate(cells: Sequence[Cell], done: Iterable[Result] = ()) -> Estimate:
    """How long cells take, by :func:`expected_seconds`."""
    recorded = _recorded(done)
    expected = expected_seconds(cells, recorded)
    known = sum((cell.data_name, cell.name) in recorded for cell in cells)
    return Estimate(sum(expected.values()), len(expected), known)


Recorded = Mapping[tuple[str, str], Mapping[tuple[float, str], float]]
"""(data set, method) -> (labels, regime) -> median seconds of a processor."""


def _recorded(done: Iterable[Result]) -> Recorded:
    found: dict[tuple[str, str], dict[tuple[float, str], list[float]]] = {}
    for result in done:
        own = found.setdefault((result.cell.data_name, result.cell.name), {})
        own.setdefault((result.cell.labels, result.cell.missing), []).append(result.record["cpu_seconds"])
    return {pair: {where: median(times) for where, times in own.items()} for pair, own in found.items()}


def expected_seconds(cells: Iterable[Cell], recorded: Recorded) -> dict[str, float]:
    """Key of a cell -> seconds: of like cells that are done, else of the grid, in proportion to the rows.

    Like cells are those of the same data set and method, with the same labels and regime if there are some.
    """
    stated = grid.seconds()
    found = {}
    for cell in cells:
        like = recorded.get((cell.data_name, cell.name))
        if like:
            found[cell.key] = like.get((cell.labels, cell.missing), median(like.values()))
        else:
            rows = min(1.0, (cell.max_train or ROWS_MEASURED) / ROWS_MEASURED)
            found[cell.key] = rows * stated.get(cell.data_name, {}).get(cell.name, UNKNOWN_SECONDS)
    return found


# ---- running -------------------------------------------------------------------------------------


def run(
    suite: Suite,
    out: str | Path,
    *,
    methods: Sequence[str] | None = None,
    data: str | Path | None = None,
    jobs: int = 1,
    command: str = "",
    verbose: bool = True,
) -> list[Result]:
    """Run the cells of a suite that are not done yet, and write its files.

    A cell whose method raises an error has failed: it has no figures, its record says why, and the next run
    tries it again.

    Args:
        suite: which.
        out: ``FILE.json``; a run that was cut off goes on from what lies beside it.
        methods: of the suite's methods, only these are run; those that were run before stay in the files.
        data: the folder of the data sets that are not bundled.
        jobs: how many processes.
        command: what was typed, for ``FILE.meta.json``.
        verbose: show progress.

    Returns:
        One result a cell, of all methods of which there are some.
    """
    chosen = grid.cells(suite, methods=methods, data=data)
    if not chosen:
        raise ConfigError(f"the suite {suite.name} has cells; none came of methods={methods}; name one")
    done = bench.finished(bench.partial_of(out))
    expected = expected_seconds(chosen, _recorded(done.values()))
    results = {
        result.cell.key: result
        for result in bench.run(
            chosen, data=data, jobs=jobs, out=out, work=work, seconds=expected, verbose=verbose
        )
    }
    every = chosen if methods is None else grid.cells(suite, data=data)
    results = {cell.key: r for cell in every if (r := results.get(cell.key) or done.get(cell.key))}
    write(out, list(results.values()), command=command)
    return list(results.values())


def work(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """One cell by its data set's primary metric; what its method raises becomes the record of a failure."""
    del model  # none is kept
    dataset = _loaded(cell.dataset, data, cell.variant)
    dataset = replace(dataset, metrics=dataset.metrics[:1])
    start = time.process_time()
    try:
        _, result = bench.fitted(dataset, cell)
    except Exception as error:  # a crash of one method is a finding, and no reason to stop the others
        words = f"{type(error).__name__}: {error}"
        return Result(cell, [], {"failed": " ".join(words.split()), "warnings": []})
    record = result.record | {"cpu_seconds": round(time.process_time() - start, 2)}
    return Result(cell, [row for row in _with_regime(result) if _is_kept(row)], record)


@lru_cache(maxsize=2)
def _loaded(name: str, data: str | Path | None, variant: str | None) -> Dataset:
    return readers.load(name, data, variant=variant)


def _with_regime(result: Result) -> Iterator[dict[str, Any]]:
    for row in result.rows:
        values = row | {"missing": result.cell.missing}
        yield {column: values[column] for column in TABLE}


def _is_kept(row: Mapping[str, Any]) -> bool:
    return row["metric"] != "n_rows" and not row["subset"].startswith("rate=")


# ---- files ---------------------------------------------------------------------------------------


def write(out: str | Path, results: Sequence[Result], *, command: str = "") -> None:
    """Write the rows as JSON and as Parquet or CSV, and what an auditor asks."""
    stem = str(out).removesuffix(".json")
    bench.write_json(out, [row for result in results for row in result.rows])
    bench.write_json(f"{stem}.meta.json", meta(results, command))
    table = to_table(results)
    try:
        tables.write(table, f"{stem}.parquet")
    except MissingExtraError:
        tables.write(table, f"{stem}.csv")


def to_table(results: Iterable[Result]) -> pd.DataFrame:
    """The tidy table of all rows."""
    rows = [row for result in results for row in result.rows]
    return pd.DataFrame(rows, columns=TABLE).astype({"value": np.float64})


def meta(results: Sequence[Result], command: str) -> list[dict[str, Any]]:
    """Lines of ``FILE.meta.json``: the run, then one a problem, then one a cell."""
    head = {
        "command": command,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in bench.VERSIONS_OF},
        },
    }
    problems: dict[str, dict[str, Any]] = {}
    cells = []
    for result in results:
        cell, record = result.cell, result.record
        where = {name: getattr(cell, name) for name in PROBLEM}
        if "failed" not in record:
            own = {name: record[name] for name in ("n_train", "n_test", "absent", "sha256")}
            problems.setdefault(json.dumps(where), {"problem": where} | own)
        named = where | {"method": cell.method, "settings": dict(cell.settings)}
        cells.append({"cell": named} | _asked(record))
    return [head, *problems.values(), *cells]


def _asked(record: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("failed", "cpu_seconds", "seconds_fit", "cpu_seconds_fit", "n_epochs", "n_parameters", "warnings")
    return {name: record[name] for name in kept if record.get(name) not in (None, [])}


def audit(lines: Iterable[Mapping[str, Any]], data: str | Path | None = None) -> list[str]:
    """Draw every problem of ``FILE.meta.json`` again; what differs from the record, in words.

    Args:
        lines: of the file.
        data: the folder of the data sets that are not bundled.
    """
    wrong = []
    for line in lines:
        if "problem" not in line:
            continue
        own = dict(line["problem"])
        dataset = _loaded(own.pop("dataset"), data, own.pop("variant"))
        hashes = bench.problem(dataset, **own).hashes
        wrong += [
            f"{dataset.name} {own}: {name} is {hashes[name][:12]}, recorded {recorded[:12]}"
            for name, recorded in line["sha256"].items()
            if hashes[name] != recorded
        ]
    return wrong
