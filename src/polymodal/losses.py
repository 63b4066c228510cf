"""The losses of Robult as pure functions, and the diagnostics that read the same spaces.

Source: Robult (arXiv 2509.03477). A row is an *anchor* in the synergy space S and a *target* in the shared
space Z_i of one modality. With l_ab = log softmax over b of (s_a . z_b / temperature), unit vectors s and z, the
soft positive-unlabelled contrast is a weighted mean of -l_ab over pairs that share a (pseudo-)label.

The contrast never holds its (B, B) matrix. It walks over blocks of anchors, forms the gradient while the logits
of a block are at hand, and drops them: three matrix products, O(B) memory beside the embeddings.

Letters: B rows, d width, C classes, K reference distances, N predictions.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.errors import ConfigError

Weighting = Literal["rbf", "rbf_one_sided", "l1", "l2", "hard", "none", "density"]
"""How far a pair that shares only a pseudo-label is trusted; see :func:`pair_weights`."""

NORM_FLOOR = 1e-6
"""A vector shorter than this is divided by it: a zero vector stays zero, and its gradient finite."""


def _full_precision(x: Tensor) -> Tensor:
    """Half precisions to float32; float32 and float64 stay as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _unit(x: Tensor) -> Tensor:
    """Rows of unit length, (B, d) to (B, d)."""
    return F.normalize(_full_precision(x), dim=-1, eps=NORM_FLOOR)


# ---- Weights of pseudo-labelled pairs --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reference:
    """Distances of true positive pairs, the yardstick for pairs that share only a pseudo-label.

    NOTE[DIFF]: the paper fits a Gaussian and says nothing of few pairs. Our standard deviation is never below
    ``MIN_STD``; with one distance it is ``FALLBACK_STD``; with none the mean is 0 too: only near pairs count.

    Attributes:
        mean: 0-d, mean distance.
        variance: 0-d, variance of the distances (divided by K).
        quantile_25: 0-d, their 25th percentile.
        samples: (K,) the distances themselves, for the kernel density.
    """

    MIN_STD = 0.05
    FALLBACK_STD = 0.5
    N_TABLE = 257

    mean: Tensor
    variance: Tensor
    quantile_25: Tensor
    samples: Tensor

    @classmethod
    def from_distances(cls, distances: Tensor) -> Reference:
        """Summarise (K,) distances in [0, 2]; K may be 0."""
        samples = _full_precision(distances.detach())
        if len(samples) == 0:
            zero = samples.new_zeros(())
            return cls(zero, zero + cls.FALLBACK_STD**2, zero, samples)
        mean = samples.mean()
        std = samples.std(unbiased=False) if len(samples) > 1 else torch.full_like(mean, cls.FALLBACK_STD)
        return cls(mean, std.clamp(min=cls.MIN_STD).square(), samples.quantile(0.25), samples)

    @cached_property
    def density_table(self) -> Tensor:
        """(N_TABLE,) kernel density on a grid over [0, 2], as a share of its maximum; Silverman's width."""
        few = len(self.samples) < 2
        centres = self.mean.reshape(1) if few else self.samples
        width = self.variance.sqrt() * (1.0 if few else 1.06 * len(centres) ** -0.2)
        grid = torch.linspace(0.0, 2.0, self.N_TABLE, dtype=centres.dtype, device=centres.device)
        exponent = -0.5 * ((grid.unsqueeze(1) - centres) / width).square()
        log_density = exponent.logsumexp(dim=1)  # finite even where the density itself underflows
        return (log_density - log_density.max()).exp()


@torch.no_grad()
def reference_distances(
    anchors: Tensor,
    targets: Tensor,
    classes: Tensor | None,
    labelled_mask: Tensor,
    *,
    limit: int,
    label_sets: Tensor | None = None,
) -> Tensor:
    """Distances between the unit vectors of true positive pairs: both rows labelled, the same class.

    A row's own pair is left out, since it is never weighed. With ``label_sets`` a pair is positive if it shares
    at least half of its labels (Jaccard >= 1/2). The choice is deterministic: at most 512 labelled rows, then at
    most ``limit`` of their pairs, both evenly spaced.

    Args:
        anchors: (B, d) S.
        targets: (B, d) Z_i.
        classes: (B,) int64, read where labelled; None with ``label_sets``.
        labelled_mask: (B,) bool.
        limit: the largest number of distances returned.
        label_sets: (B, C) 0/1, in place of ``classes``.

    Returns:
        (K,) distances in [0, 2], K <= limit, detached.
    """
    rows = _evenly_spaced(labelled_mask.nonzero().squeeze(1), 512)
    with torch.autocast(anchors.device.type, enabled=False):
        cosine = _unit(anchors[rows]) @ _unit(targets[rows]).T
        affinity = _affinity(classes, label_sets, rows, cosine.dtype)
        everything = slice(0, len(rows))
        positive = affinity.fill(torch.empty_like(cosine), everything, everything) >= 0.5
    positive.fill_diagonal_(False)
    chosen = _evenly_spaced(positive.flatten().nonzero().squeeze(1), limit)
    return (2 - 2 * cosine.flatten()[chosen]).clamp(min=0).sqrt()


def _evenly_spaced(items: Tensor, limit: int) -> Tensor:
    """At most ``limit`` of the (n,) items, evenly spaced."""
    if len(items) <= limit:
        return items
    return items[torch.arange(limit, device=items.device) * len(items) // limit]


def pair_weights(distance: Tensor, weighting: Weighting, reference: Reference) -> Tensor:
    """How far pairs that share a pseudo-label are trusted, from the distance of their unit vectors.

    - ``rbf``: exp(-(d - mean)^2 / (2 variance)).
    - ``rbf_one_sided``: exp(-max(0, d - q25)^2 / (2 variance)): a near pair is not punished for being near.
    - ``l1``: 1 - d / 2; ``l2``: 1 - d^2 / 4: falling from 1 at d = 0 to 0 at d = 2, without a reference.
    - ``hard``: 1, pseudo-labels taken as they are; ``none``: 0, no pseudo-labelled pair counts.
    - ``density``: the reference's kernel density at d, as a share of its maximum.

    NOTE[DIFF]: the paper names RBF, L1 and L2 weights and gives no formula; all forms here are ours.

    Args:
        distance: any shape, in [0, 2].
        weighting: the name of the form.
        reference: distances of true positive pairs.

    Returns:
        Weights in [0, 1], the shape of ``distance``, detached.
    """
    return _weigh_(_full_precision(distance.detach()).clone(), _checked(weighting), reference)


def _checked(weighting: str) -> str:
    names = get_args(Weighting)
    if weighting not in names:
        raise ConfigError(
            f"weighting must be a known name; got {weighting!r}; take one of {', '.join(names)}"
        )
    return weighting


def _weigh_(distance: Tensor, weighting: str, reference: Reference) -> Tensor:
    """:func:`pair_weights` in place."""
    if weighting == "rbf":
        return distance.sub_(reference.mean).square_().mul_(-0.5 / reference.variance).exp_()
    if weighting == "rbf_one_sided":
        excess = distance.sub_(reference.quantile_25).clamp_(min=0)
        return excess.square_().mul_(-0.5 / reference.variance).exp_()
    if weighting == "l1":
        return distance.mul_(-0.5).add_(1).clamp_(0, 1)
    if weighting == "l2":
        return distance.square_().mul_(-0.25).add_(1).clamp_(0, 1)
    if weighting == "density":
        return _interpolate_(distance, reference.density_table)
    return distance.fill_(1.0 if weighting == "hard" else 0.0)


def _interpolate_(distance: Tensor, table: Tensor) -> Tensor:
    """Read a table over [0, 2] between its points, in place."""
    position = distance.mul_((len(table) - 1) / 2).clamp_(0, len(table) - 1)
    left = position.long().clamp_(max=len(table) - 2)
    table = table.to(distance)
    return torch.lerp(table[left], table[left + 1], position.sub_(left), out=distance)


# ---- Which pairs share labels ----------------------------------------------------------------------------


class _Affinity(Protocol):
    """Agreement of labels in [0, 1] for a block of rows against a range of columns."""

    def columns(self, rows: slice, section: slice) -> slice:
        """The part of ``section`` outside which the affinity with ``rows`` is 0."""

    def fill(self, out: Tensor, rows: slice, columns: slice) -> Tensor:
        """Write the affinity of ``rows`` x ``columns`` into ``out``."""


class _SameClass:
    """1 for equal classes, else 0. Rows come sorted by class in each section, so equals are neighbours."""

    def __init__(self, classes: Tensor) -> None:
        self.classes = classes
        self.sorted_classes: list[int] = classes.tolist()

    def columns(self, rows: slice, section: slice) -> slice:
        first, last = self.sorted_classes[rows.start], self.sorted_classes[rows.stop - 1]
        start = bisect_left(self.sorted_classes, first, section.start, section.stop)
        return slice(start, bisect_right(self.sorted_classes, last, start, section.stop))

    def fill(self, out: Tensor, rows: slice, columns: slice) -> Tensor:
        return torch.eq(self.classes[rows, None], self.classes[columns], out=out)


class _Jaccard:
    """|A and B| / |A or B| of label sets.

    NOTE[DIFF]: two empty sets have affinity 0, not 1: early pseudo-label sets are mostly empty, and rows
    that merely lack every label are not alike.
    """

    def __init__(self, sets: Tensor) -> None:
        self.sets = sets
        self.sizes = sets.sum(1)

    def columns(self, rows: slice, section: slice) -> slice:
        del rows
        return section

    def fill(self, out: Tensor, rows: slice, columns: slice) -> Tensor:
        torch.mm(self.sets[rows], self.sets[columns].T, out=out)
        union = (self.sizes[rows, None] + self.sizes[columns]).sub_(out)
        return out.div_(union.clamp_(min=1))


def _affinity(
    classes: Tensor | None, label_sets: Tensor | None, order: Tensor, dtype: torch.dtype
) -> _Affinity:
    """The affinity of the rows in ``order``."""
    if (classes is None) == (label_sets is None):
        given = "neither" if classes is None else "both"
        raise ConfigError(f"pairs need classes or label_sets; got {given}; give exactly one of them")
    if label_sets is not None:
        return _Jaccard(label_sets[order].to(dtype))
    assert classes is not None
    return _SameClass(classes[order])


# ---- The contrast ----------------------------------------------------------------------------------------


class ContrastTerms(NamedTuple):
    """The two parts of the soft positive-unlabelled contrast, 0-d each."""

    labelled: Tensor
    unlabelled: Tensor


def soft_pu_contrast(
    anchors: Tensor,
    targets: Tensor,
    classes: Tensor | None,
    labelled_mask: Tensor,
    *,
    temperature: float,
    weighting: Weighting,
    reference: Reference,
    label_sets: Tensor | None = None,
) -> ContrastTerms:
    """Soft positive-unlabelled contrast of S against Z_i (Robult, arXiv 2509.03477), L_lb and L_ulb.

    With l_ab = log softmax over b of (s_a . z_b / temperature) and weights W_ab of the pairs, each part is the
    mean over its anchors a of -sum_b W_ab l_ab / sum_b W_ab, where

    - L_lb: a and b labelled; W_ab = 1 for the same class (a itself included), or the Jaccard index of the sets;
    - L_ulb: at least one of a and b unlabelled; the same times :func:`pair_weights`; W_aa = 1.

    NOTE[DIFF]: an anchor counts by min(1, sum_b W_ab) in the mean. An unlabelled anchor therefore counts 1, and
    a labelled one fades out with the weights of its unlabelled positives; a plain mean would give a labelled
    anchor whose only positive weighs 1e-9 a full vote. With all weights of pseudo-labelled pairs 0, L_ulb is the
    cross-view InfoNCE of the unlabelled rows.

    Weights, labels and reference get no gradient, and a second derivative raises. A part without anchors is a
    0 with a gradient path. Computed in float32 (float64 if given) under any autocast.

    Args:
        anchors: (B, d) S.
        targets: (B, d) Z_i; pass only rows in which modality i is present.
        classes: (B,) int64, label where labelled, pseudo-label elsewhere; None with ``label_sets``.
        labelled_mask: (B,) bool.
        temperature: above 0.
        weighting: see :func:`pair_weights`.
        reference: distances of true positive pairs.
        label_sets: (B, C) 0/1 label and pseudo-label sets, in place of ``classes``.

    Raises:
        ConfigError: the temperature or the weighting is out of range; both or neither of classes and label_sets.
    """
    if not 0 < temperature < math.inf:
        raise ConfigError(
            f"temperature must be positive and finite; got {temperature}; take 0.3, for example"
        )
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, targets = _full_precision(anchors), _full_precision(targets)
        labels = _Labels.arrange(classes, label_sets, labelled_mask, anchors.dtype)
        weigher = _Weigher(_checked(weighting), reference, temperature)
        terms = _BlockContrast.apply(anchors, targets, labels, weigher, torch.is_grad_enabled())
    return ContrastTerms(*terms)


@dataclass(frozen=True, eq=False)
class _Labels:
    """The batch rearranged: labelled rows first, each of the two sections sorted by class."""

    order: Tensor
    labelled: slice
    unlabelled: slice
    affinity: _Affinity

    @classmethod
    def arrange(
        cls, classes: Tensor | None, label_sets: Tensor | None, labelled_mask: Tensor, dtype: torch.dtype
    ) -> _Labels:
        order = torch.arange(len(labelled_mask), device=labelled_mask.device)
        if classes is not None:
            order = classes.argsort(stable=True)
        unlabelled_mask = ~labelled_mask[order]
        order = order[unlabelled_mask.argsort(stable=True)]
        n_rows = len(order)
        n_labelled = n_rows - int(unlabelled_mask.sum())
        affinity = _affinity(classes, label_sets, order, dtype)
        return cls(order, slice(0, n_labelled), slice(n_labelled, n_rows), affinity)

    def blocks(self, n_rows: int) -> Iterator[tuple[slice, bool]]:
        """Blocks of at most ``n_rows`` anchors, none across sections, and whether they are labelled."""
        for section in (self.labelled, self.unlabelled):
            for start in range(section.start, section.stop, n_rows):
                yield slice(start, min(start + n_rows, section.stop)), section is self.labelled


@dataclass(frozen=True, eq=False)
class _Weigher:
    """Pair weights straight from a tile of logits."""

    weighting: str
    reference: Reference
    temperature: float

    def weights(self, logits: Tensor) -> Tensor:
        """Weights of the pairs with these logits; d = sqrt(2 - 2 cos)."""
        two = logits.new_full((), 2.0)
        distance = torch.add(two, logits, alpha=-2 * self.temperature).clamp_(min=0).sqrt_()
        return _weigh_(distance, self.weighting, self.reference)


class _Term:
    """One part of the contrast, growing block by block; gradients are those of the sum, not the mean."""

    def __init__(self, s: Tensor) -> None:
        self.total = torch.zeros((), dtype=torch.float64, device=s.device)
        self.n_anchors = torch.zeros((), dtype=torch.float64, device=s.device)
        self.s_gradient = torch.zeros_like(s)
        self.z_gradient = torch.zeros_like(s)


@dataclass(frozen=True, eq=False)
class _Positives:
    """The positives of a block of anchors: tiles of W_ab / max(1, sum_b W_ab), and min(1, sum_b W_ab)."""

    tiles: list[tuple[slice, Tensor]]
    share: Tensor

    def pull(self, logits: Tensor) -> Tensor:
        """(rows,) weighted sum of the positives' logits."""
        return torch.stack([(tile * logits[:, columns]).sum(1) for columns, tile in self.tiles]).sum(0)


class _Contrast:
    """The forward pass: unit vectors in the order of ``labels``, and both terms."""

    def __init__(self, s: Tensor, z: Tensor, labels: _Labels, weigher: _Weigher, with_gradient: bool) -> None:
        self.s, self.z, self.labels, self.weigher, self.with_gradient = s, z, labels, weigher, with_gradient
        self.labelled, self.unlabelled = _Term(s), _Term(s)

    def run(self) -> None:
        n_rows = len(self.s)
        block = _block_rows(n_rows, self.s.device.type)
        buffer = self.s.new_empty(min(block, n_rows), n_rows)
        for rows, is_labelled in self.labels.blocks(block):
            logits = torch.mm(self.s[rows], self.z.T, out=buffer[: rows.stop - rows.start])
            self.add_block(rows, logits, self.positives(rows, is_labelled, logits))

    def positives(self, rows: slice, is_labelled: bool, logits: Tensor) -> list[tuple[_Term, _Positives]]:
        labelled, unlabelled = self.labels.labelled, self.labels.unlabelled
        if not is_labelled:
            tiles = [self.tile(rows, labelled, logits), self.tile(rows, unlabelled, logits)]
            return [(self.unlabelled, self.normalise(tiles))]
        own = (self.labelled, self.normalise([self.tile(rows, labelled, None)]))
        if self.weigher.weighting == "none":
            return [own]
        other_columns, other = self.tile(rows, unlabelled, logits)
        if other.numel() == 0:
            return [own]
        return [own, (self.unlabelled, self.normalise([(other_columns, other)]))]

    def tile(self, rows: slice, section: slice, logits: Tensor | None) -> tuple[slice, Tensor]:
        """Weights of ``rows`` with their possible positives in a section; affinity alone without logits."""
        columns = self.labels.affinity.columns(rows, section)
        weights = self.s.new_empty(rows.stop - rows.start, columns.stop - columns.start)
        self.labels.affinity.fill(weights, rows, columns)
        if logits is not None and self.weigher.weighting != "hard":
            weights.mul_(self.weigher.weights(logits[:, columns]))
        if section.start <= rows.start < section.stop:  # the rows' own section: a row's own pair counts 1
            weights.diagonal(rows.start - columns.start).fill_(1)
        return columns, weights

    @staticmethod
    def normalise(tiles: list[tuple[slice, Tensor]]) -> _Positives:
        total = torch.stack([tile.sum(1) for _, tile in tiles]).sum(0)
        divisor = total.clamp(min=1).unsqueeze(1)
        return _Positives([(columns, tile.div_(divisor)) for columns, tile in tiles], total.clamp(max=1))

    def add_block(self, rows: slice, logits: Tensor, parts: list[tuple[_Term, _Positives]]) -> None:
        if 2 / self.weigher.temperature >= 80:  # exp(-2 / temperature) would leave float32
            logits.sub_(logits.amax(1, keepdim=True))
        pulls = [positives.pull(logits) for _, positives in parts]
        exponentials = logits.exp_()
        sums = exponentials.sum(1)
        for (term, positives), pull in zip(parts, pulls, strict=True):
            term.total += (positives.share * sums.log() - pull).sum(dtype=torch.float64)
            term.n_anchors += positives.share.sum(dtype=torch.float64)
        if self.with_gradient:
            for i, (term, positives) in enumerate(parts):
                is_last = i == len(parts) - 1
                coefficient = (positives.share / sums).unsqueeze(1)
                gradient = exponentials.mul_(coefficient) if is_last else exponentials * coefficient
                self.add_gradient(term, rows, gradient, positives)

    def add_gradient(self, term: _Term, rows: slice, gradient: Tensor, positives: _Positives) -> None:
        """From the softmax's share of d term / d logits (block, B) to the gradients of s and z."""
        for columns, tile in positives.tiles:
            gradient[:, columns].sub_(tile)
        torch.mm(gradient, self.z, out=term.s_gradient[rows])
        term.z_gradient.addmm_(gradient.T, self.s[rows])


def _block_rows(n_rows: int, device_type: str) -> int:
    """Anchors in a block: a tile of logits stays in a CPU's cache, or keeps a GPU busy."""
    return max(128, (2**18 if device_type == "cpu" else 2**24) // max(n_rows, 1))


class _BlockContrast(torch.autograd.Function):
    """Both terms; the gradient is formed in the forward pass, and only scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, targets: Tensor, labels: _Labels, weigher: _Weigher, with_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        s, s_norm = _unit_with_norm(anchors[labels.order])
        z, z_norm = _unit_with_norm(targets[labels.order])
        contrast = _Contrast(s.div_(weigher.temperature), z, labels, weigher, with_gradient)
        contrast.run()
        s.mul_(weigher.temperature)
        terms = (contrast.labelled, contrast.unlabelled)
        if with_gradient:
            saved = []
            for term in terms:
                scale = term.n_anchors.clamp(min=1).reciprocal()
                saved.append(_raw(term.s_gradient.mul_(scale / weigher.temperature), s, s_norm, labels.order))
                saved.append(_raw(term.z_gradient.mul_(scale), z, z_norm, labels.order))
            ctx.save_for_backward(*saved)
        labelled, unlabelled = ((term.total / term.n_anchors.clamp(min=1)).to(s.dtype) for term in terms)
        return labelled, unlabelled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, labelled: Tensor, unlabelled: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        s_labelled, z_labelled, s_unlabelled, z_unlabelled = ctx.saved_tensors
        s_gradient = (s_labelled * labelled).addcmul_(s_unlabelled, unlabelled)
        z_gradient = (z_labelled * labelled).addcmul_(z_unlabelled, unlabelled)
        return s_gradient, z_gradient, None, None, None


def _unit_with_norm(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of ``x`` (overwritten) divided by their floored lengths, and those lengths (B, 1)."""
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_(min=NORM_FLOOR)
    return x.div_(norm), norm


def _raw(gradient: Tensor, unit: Tensor, norm: Tensor, order: Tensor) -> Tensor:
    """A gradient for unit vectors (overwritten) as one for the vectors themselves, in the batch's order."""
    along = torch.linalg.vecdot(gradient, unit).unsqueeze(1)
    along.masked_fill_(norm <= NORM_FLOOR, 0)  # below the floor the map is linear
    gradient.addcmul_(unit, along, value=-1).div_(norm)
    return torch.empty_like(gradient).index_copy_(0, order, gradient)


# ---- The other losses ------------------------------------------------------------------------------------


def latent_reconstruction(reconstructed: Tensor, target: Tensor) -> Tensor:
    """L_rec: mean squared error of r_i(U_i, Z_i) (B, d) against H_i (B, d), which gets no gradient."""
    error = _full_precision(reconstructed) - _full_precision(target.detach())
    return error.square().sum() / max(error.numel(), 1)


def supervised_multiclass(logits: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """L_sup: mean cross-entropy over counted rows.

    Args:
        logits: (N, C).
        y: (N,) int64 classes, read where counted.
        mask: (N,) bool, which rows count; with none the loss is a 0 with a gradient path.
    """
    total = F.cross_entropy(_full_precision(logits)[mask], y[mask], reduction="sum")
    return total / mask.sum().clamp(min=1)


def supervised_multilabel(logits: Tensor, y: Tensor) -> Tensor:
    """L_sup: mean binary cross-entropy over counted entries.

    Args:
        logits: (N, C).
        y: (N, C) 0/1, NaN for an entry that does not count; all NaN gives a 0 with a gradient path.
    """
    counted = ~y.isnan()
    chosen = _full_precision(logits)[counted]
    total = F.binary_cross_entropy_with_logits(chosen, y[counted].to(chosen.dtype), reduction="sum")
    return total / counted.sum().clamp(min=1)


def supervised_regression(value: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """L_sup: mean squared error over counted rows.

    Args:
        value: (N, 1).
        y: (N,) in the units of ``value``, read where counted.
        mask: (N,) bool, which rows count; with none the loss is a 0 with a gradient path.
    """
    chosen = _full_precision(value).squeeze(1)[mask]
    return (chosen - y[mask].to(chosen.dtype)).square().sum() / mask.sum().clamp(min=1)


# ---- Diagnostics -----------------------------------------------------------------------------------------


@torch.no_grad()
def alignment(s: Tensor, z: Tensor) -> Tensor:
    """Mean squared distance of matching unit vectors, in [0, 4] (Wang & Isola 2020); NaN if B = 0."""
    return (_unit(s) - _unit(z)).square().sum(1).mean()


@torch.no_grad()
def uniformity(z: Tensor) -> Tensor:
    """Log of the mean of exp(-2 |z_a - z_b|^2) over pairs of unit vectors (Wang & Isola 2020); NaN if B < 2.

    0 means that all rows are one point; lower is more even. O(B^2) time and memory: pass a few thousand rows.
    """
    return torch.pdist(_unit(z)).square().mul(-2).exp().mean().log()
