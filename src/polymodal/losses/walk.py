"""The walk over blocks of anchors: losses and gradients of the contrast for unit vectors.

The contrast never holds its (B, B) matrix. It forms the gradient while the logits of a block are at hand, and
drops them: three matrix products, O(B) memory beside the embeddings.

Letters: B rows, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from polymodal.losses.arrangement import Labels
from polymodal.losses.reference import Reference
from polymodal.losses.weights import weigh_


class _Term:
    """One part of the contrast, growing block by block; gradients are those of the sum over anchors."""

    def __init__(self, s: Tensor) -> None:
        self.losses = s.new_zeros(len(s))
        self.shares = s.new_zeros(len(s))
        self.s_gradient = torch.zeros_like(s)
        self.z_gradient = torch.zeros_like(s)

    def n_anchors(self) -> Tensor:
        """Between 0 and B; a part with any positive pair has at least one."""
        return self.shares.sum().clamp(min=1)


@dataclass(frozen=True, eq=False)
class _Positives:
    """A block's weights W_ab where they can be above 0, as tiles of columns, and their row sums."""

    tiles: list[tuple[slice, Tensor]]
    total: Tensor

    @classmethod
    def of(cls, *tiles: tuple[slice, Tensor]) -> _Positives:
        return cls(list(tiles), reduce(torch.add, [weights.sum(1) for _, weights in tiles]))

    def pull(self, logits: Tensor) -> Tensor:
        """(rows,) weighted sum of the positives' logits."""
        products = [torch.linalg.vecdot(weights, logits[:, columns]) for columns, weights in self.tiles]
        return reduce(torch.add, products)


class Contrast:
    """Both parts for unit vectors in the order of ``labels``."""

    def __init__(
        self, s: Tensor, z: Tensor, labels: Labels, temperature: float, weighting: str, reference: Reference
    ) -> None:
        self.s, self.z, self.labels = s, z, labels
        self.temperature, self.weighting, self.reference = temperature, weighting, reference
        self.labelled, self.unlabelled = _Term(s), _Term(s)

    def run(self, with_gradient: bool) -> None:
        """Walk over the blocks of anchors; one buffer holds the logits of each in turn."""
        n_rows = len(self.s)
        block = _block_rows(n_rows, self.s.device.type)
        buffer, zero = self.s.new_empty(min(block, n_rows), n_rows), self.s.new_zeros(())
        for rows, is_labelled in self.labels.blocks(block):
            logits = buffer[: rows.stop - rows.start]
            torch.addmm(zero, self.s[rows], self.z.T, beta=0, alpha=1 / self.temperature, out=logits)
            parts = self.labelled_parts(rows, logits) if is_labelled else self.unlabelled_parts(rows, logits)
            sums = self.add_losses(rows, logits, parts)
            if with_gradient:
                self.add_gradients(rows, logits, sums, parts)

    def labelled_parts(self, rows: slice, logits: Tensor) -> list[tuple[_Term, _Positives]]:
        """Labelled anchors: L_lb with labelled columns, and L_ulb with unlabelled ones."""
        columns = self.labels.affinity.columns(rows, self.labels.labelled)
        parts = [
            (self.labelled, _Positives.of((columns, self.own(self.affinity(rows, columns), rows, columns))))
        ]
        columns = self.labels.affinity.columns(rows, self.labels.unlabelled)
        if self.weighting != "none" and columns.stop > columns.start:
            parts.append((self.unlabelled, _Positives.of((columns, self.weights(rows, columns, logits)))))
        return parts

    def unlabelled_parts(self, rows: slice, logits: Tensor) -> list[tuple[_Term, _Positives]]:
        """Unlabelled anchors: L_ulb with all columns."""
        own_columns = self.labels.affinity.columns(rows, self.labels.unlabelled)
        own = self.own(self.weights(rows, own_columns, logits), rows, own_columns)
        columns = self.labels.affinity.columns(rows, self.labels.labelled)
        return [
            (
                self.unlabelled,
                _Positives.of((own_columns, own), (columns, self.weights(rows, columns, logits))),
            )
        ]

    def affinity(self, rows: slice, columns: slice) -> Tensor:
        """Agreement of the labels, in a new tensor."""
        out = self.s.new_empty(rows.stop - rows.start, columns.stop - columns.start)
        return self.labels.affinity.fill(out, rows, columns)

    def weights(self, rows: slice, columns: slice, logits: Tensor) -> Tensor:
        """Affinity times the weights of the pairs' distances, d = sqrt(2 - 2 cos)."""
        affinity = self.affinity(rows, columns)
        if self.weighting == "hard":
            return affinity
        squared = torch.rsub(logits[:, columns], 2.0, alpha=2 * self.temperature)
        noise = 16 * torch.finfo(squared.dtype).eps  # its root would be 1e-3 in float32
        distance = torch.threshold_(squared, noise, 0.0).sqrt_()
        return affinity.mul_(weigh_(distance, self.weighting, self.reference))

    @staticmethod
    def own(weights: Tensor, rows: slice, columns: slice) -> Tensor:
        """Set the weight of each row with its own other view to 1, in place."""
        weights.diagonal(rows.start - columns.start).fill_(1)
        return weights

    def add_losses(self, rows: slice, logits: Tensor, parts: list[tuple[_Term, _Positives]]) -> Tensor:
        """Add the losses of a block's anchors; exponentiates the logits and returns their row sums."""
        if 2 / self.temperature >= 80:  # exp(-2 / temperature) would leave float32
            logits.sub_(logits.amax(1, keepdim=True))
        pulls = [positives.pull(logits) for _, positives in parts]
        sums = logits.exp_().sum(1)
        for (term, positives), pull in zip(parts, pulls, strict=True):
            term.losses[rows] = (positives.total * sums.log() - pull) / positives.total.clamp(min=1)
            term.shares[rows] = positives.total.clamp(max=1)
        return sums

    def add_gradients(
        self, rows: slice, exponentials: Tensor, sums: Tensor, parts: list[tuple[_Term, _Positives]]
    ) -> None:
        """Add the gradients of a block's losses; of the logits: (total softmax - W) / max(1, total)."""
        for i, (term, positives) in enumerate(parts):
            scale = (positives.total / sums).unsqueeze(1)
            gradient = exponentials.mul_(scale) if i == len(parts) - 1 else exponentials * scale
            for columns, weights in positives.tiles:
                gradient[:, columns].sub_(weights)
            divisor = positives.total.clamp(min=1).mul_(self.temperature).unsqueeze(1)
            torch.mm(gradient, self.z, out=term.s_gradient[rows]).div_(divisor)
            term.z_gradient.addmm_(gradient.T, self.s[rows] / divisor)


def _block_rows(n_rows: int, device_type: str) -> int:
    """Anchors in a block: a tile of logits stays in a CPU's cache, or keeps a GPU busy."""
    return max(128, (2**18 if device_type == "cpu" else 2**24) // max(n_rows, 1))
