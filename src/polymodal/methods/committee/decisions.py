"""Where the committee decides labels: as many rows are said to have a label as have it.

Probabilities of a rare label hardly ever pass 1/2, however well they order the rows. The cut of a label
lies between the k-th and the (k + 1)-th highest of its held-out probabilities, k of which are of rows that
have it: there precision equals recall, and both are F1 (the break-even point). It hardly depends on which few
rows are the positive ones, as the cut of the highest F1 on held-out labels does, nor on how right the
probabilities are, as half of the best expected F1 does (Lipton, Elkan and Naryanaswamy, 2014).

Letters: n rows, C labels, S subsets of the modalities.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cuts(scores: Tensor, counted: Tensor, target: Tensor) -> Tensor:
    """The probability above which each label is decided.

    Args:
        scores: (n, S, C) held-out log odds of the labels.
        counted: (n, S) bool: the row has something of S.
        target: (n, C) labels, NaN where masked.

    Returns:
        (C,); 1/2 for a label of which the rows do not show both answers.
    """
    row, _ = counted.nonzero(as_tuple=True)
    entries, truth = scores[counted], target[row]
    found = torch.full((target.shape[1],), 0.5)
    for c, (own, answer) in enumerate(zip(entries.unbind(1), truth.unbind(1), strict=True)):
        known = ~answer.isnan()
        k = int(answer[known].sum())
        if 0 < k < int(known.sum()):
            ranked = own[known].sort(descending=True).values
            found[c] = ((ranked[k - 1] + ranked[k]) / 2).sigmoid()
    return found
