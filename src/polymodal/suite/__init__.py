"""The audited suite: one grid of comparisons for every method, and the verdict over it.

grid.toml     what is compared, as data
grid.py       that file as cells of the bench
running.py    how long it takes; cells in parallel; files; whether the masks are those of the record
verdict.py    ranks, differences to the best, who falls behind where
"""

from polymodal.suite.grid import Suite, cells, read, suites
from polymodal.suite.running import Estimate, audit, estimate, run, to_table
from polymodal.suite.verdict import Block, blocks, ranked, show

__all__ = [
    "Block",
    "Estimate",
    "Suite",
    "audit",
    "blocks",
    "cells",
    "estimate",
    "ranked",
    "read",
    "run",
    "show",
    "suites",
    "to_table",
]
