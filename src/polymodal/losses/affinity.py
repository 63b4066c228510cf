"""Which pairs share labels, and how far: the same class, or the overlap of label sets."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Protocol

import torch
from torch import Tensor

from polymodal.errors import ConfigError


class Affinity(Protocol):
    """Agreement of labels in [0, 1] for a block of rows against a range of columns."""

    def columns(self, rows: slice, section: slice) -> slice:
        """The part of ``section`` outside which the affinity with ``rows`` is 0."""

    def fill(self, out: Tensor, rows: slice, columns: slice) -> Tensor:
        """Write the affinity of ``rows`` x ``columns`` into ``out``."""


class SameClass:
    """1 for equal classes, else 0. Rows come sorted by class in each section, so equals are neighbours."""

    def __init__(self, ranks: Tensor, dtype: torch.dtype) -> None:
        self.ranks = ranks.to(dtype)  # compared as floats, which is several times faster than as integers
        self.sorted_ranks: list[int] = ranks.tolist()

    def columns(self, rows: slice, section: slice) -> slice:
        """The columns of the same classes, by bisection."""
        first, last = self.sorted_ranks[rows.start], self.sorted_ranks[rows.stop - 1]
        start = bisect_left(self.sorted_ranks, first, section.start, section.stop)
        return slice(start, bisect_right(self.sorted_ranks, last, start, section.stop))

    def fill(self, out: Tensor, rows: slice, columns: slice) -> Tensor:
        """1 where the classes are equal."""
        return torch.eq(self.ranks[rows, None], self.ranks[columns], out=out)


class Jaccard:
    """|A and B| / |A or B| of label sets.

    NOTE[DIFF]: two empty sets have affinity 0, not 1: early pseudo-label sets are mostly empty, and rows
    that merely lack every label are not alike.
    """

    def __init__(self, sets: Tensor) -> None:
        self.sets = sets
        self.sizes = sets.sum(1)

    def columns(self, rows: slice, section: slice) -> slice:
        """All of ``section``: any two sets may overlap."""
        del rows
        return section

    def fill(self, out: Tensor, rows: slice, columns: slice) -> Tensor:
        """Sizes of intersections over sizes of unions."""
        torch.mm(self.sets[rows], self.sets[columns].T, out=out)
        union = (self.sizes[rows, None] + self.sizes[columns]).sub_(out)
        return out.div_(union.clamp_(min=1))


def check_one(classes: Tensor | None, label_sets: Tensor | None) -> None:
    """Refuse both of them, and neither."""
    if (classes is None) == (label_sets is None):
        given = "neither" if classes is None else "both"
        raise ConfigError(f"pairs need classes or label_sets; got {given}; give exactly one of them")
