"""What a cell gave, as lines of the tidy table and as a record for the auditor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from polymodal.bench.grid import Cell
from polymodal.evaluation import COLUMNS

Row = dict[str, Any]
"""One line of a tidy table, with the keys ``dataset, method, seed, labels, subset, metric, value``."""


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
