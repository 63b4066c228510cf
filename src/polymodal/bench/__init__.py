"""Audited comparison: every method on the same splits, few labels, absent inputs and seeds.

The unit of work is a :class:`Cell`: one method on one data set with one seed and one share of labels. All
that a cell's method gets is drawn by :func:`problem` from the data set and the seed alone, never from the
method, and its hashes are kept beside the figures. A hidden label is overwritten before a method sees it.

Cells run in this process or in several, one thread each, so that figures do not depend on how many run at
once. With ``out``, each finished cell is appended to ``OUT.partial.jsonl`` and is not run again: a run that
was cut off goes on where it stopped. Delete that file to run everything afresh.

    encoding.py    raw cells, encoded once for all that reads them
    grid.py        what is compared, as cells
    given.py       what a cell's method gets: rows, labels, masks, and their hashes
    conditions.py  what holds while a cell runs: one thread, kept warnings
    results.py     what a cell gave: lines of the tidy table, and a record
    fitting.py     one cell, fitted and scored
    files.py       figures on the disk
    running.py     many cells, here or in several processes
"""

from polymodal.bench.conditions import kept_warnings, one_thread
from polymodal.bench.encoding import Tables, declared, encoded
from polymodal.bench.files import VERSIONS_OF, finished, partial_of, write, write_json
from polymodal.bench.fitting import build, diagnostics, fitted, run_cell
from polymodal.bench.given import Problem, problem, problem_of
from polymodal.bench.grid import Cell, cells
from polymodal.bench.results import Result, Row, said, to_rows, to_table
from polymodal.bench.running import Work, run

__all__ = [
    "VERSIONS_OF",
    "Cell",
    "Problem",
    "Result",
    "Row",
    "Tables",
    "Work",
    "build",
    "cells",
    "declared",
    "diagnostics",
    "encoded",
    "finished",
    "fitted",
    "kept_warnings",
    "one_thread",
    "partial_of",
    "problem",
    "problem_of",
    "run",
    "run_cell",
    "said",
    "to_rows",
    "to_table",
    "write",
    "write_json",
]
