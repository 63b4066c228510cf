"""A batch in the order in which the contrast walks over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from polymodal.losses.affinity import Affinity, Jaccard, SameClass, check_one


@dataclass(frozen=True, eq=False)
class Labels:
    """The batch rearranged: labelled rows first, each of the two sections sorted by class."""

    order: Tensor
    labelled: slice
    unlabelled: slice
    affinity: Affinity

    @classmethod
    def arrange(
        cls, classes: Tensor | None, label_sets: Tensor | None, labelled_mask: Tensor, dtype: torch.dtype
    ) -> Labels:
        """Sort the rows of a batch; ``dtype`` is that of the affinities."""
        check_one(classes, label_sets)
        n_rows, n_labelled = len(labelled_mask), int(labelled_mask.sum())
        ranks = torch.zeros_like(labelled_mask, dtype=torch.int64)
        if classes is not None:
            ranks = classes.unique(return_inverse=True)[1]
        order = torch.where(labelled_mask, ranks, ranks + n_rows).argsort()
        affinity = (
            SameClass(ranks[order], dtype) if label_sets is None else Jaccard(label_sets[order].to(dtype))
        )
        return cls(order, slice(0, n_labelled), slice(n_labelled, n_rows), affinity)

    def blocks(self, n_rows: int) -> Iterator[tuple[slice, bool]]:
        """Blocks of at most ``n_rows`` anchors, none across sections, and whether they are labelled."""
        for section in (self.labelled, self.unlabelled):
            for start in range(section.start, section.stop, n_rows):
                yield slice(start, min(start + n_rows, section.stop)), section is self.labelled
