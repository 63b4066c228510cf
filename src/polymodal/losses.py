"""The losses of Robult as pure functions, and the diagnostics that read the same spaces.

Source: Robult (arXiv 2509.03477). A row is an *anchor* in the synergy space S and a *target* in the shared
space Z_i of one modality. With l_ab = log softmax over b of (s_a . z_b / temperature), unit vectors s and z,
the soft positive-unlabelled contrast is a weighted mean of -l_ab over pairs that share a (pseudo-)label.

The contrast never holds its (B, B) matrix. It walks over blocks of anchors, forms the gradient while the
logits of a block are at hand, and drops them: three matrix products, O(B) memory beside the embeddings.

Letters: B rows, d width, C classes, K reference distances, N predictions.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor
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

    A row's own pair is left out, since it is never weighed. With ``label_sets`` a pair is positive if it
    shares at least half of its labels (Jaccard >= 1/2). The choice is deterministic: at most 512 labelled
    rows, then at most ``limit`` of their pairs, both evenly spaced.

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
    _check_one(classes, label_sets)
    rows = _evenly_spaced(labelled_mask.nonzero().squeeze(1), 512)
    with torch.autocast(anchors.device.type, enabled=False):
        cosine = _unit(anchors[rows]) @ _unit(targets[rows]).T
    if classes is not None:
        positive = classes[rows, None] == classes[rows]
    else:
        assert label_sets is not None
        everything = slice(0, len(rows))
        jaccard = _Jaccard(label_sets[rows].to(cosine.dtype))
        positive = jaccard.fill(torch.empty_like(cosine), everything, everything) >= 0.5
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

    def __init__(self, ranks: Tensor, dtype: torch.dtype) -> None:
        self.ranks = ranks.to(dtype)  # compared as floats, which is several times faster than as integers
        self.sorted_ranks: list[int] = ranks.tolist()

    def columns(self, rows: slice, section: slice) -> slice:
        first, last = self.sorted_ranks[rows.start], self.sorted_ranks[rows.stop - 1]
        start = bisect_left(self.sorted_ranks, first, section.start, section.stop)
        return slice(start, bisect_right(self.sorted_ranks, last, start, section.stop))

    def fill(self, out: Tensor, rows: slice, columns: slice) -> Tensor:
        return torch.eq(self.ranks[rows, None], self.ranks[columns], out=out)


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


def _check_one(classes: Tensor | None, label_sets: Tensor | None) -> None:
    if (classes is None) == (label_sets is None):
        given = "neither" if classes is None else "both"
        raise ConfigError(f"pairs need classes or label_sets; got {given}; give exactly one of them")


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

    With l_ab = log softmax over b of (s_a . z_b / temperature) and pair weights W_ab, each part is the mean
    over its anchors a of -sum_b W_ab l_ab / sum_b W_ab, where

    - L_lb: a and b labelled; W_ab = 1 for the same class (a itself included), or the Jaccard index of
      the label sets;
    - L_ulb: at least one of a and b unlabelled; the same times :func:`pair_weights`; W_aa = 1.

    NOTE[DIFF]: an anchor counts by min(1, sum_b W_ab) in the mean. An unlabelled anchor therefore counts 1,
    and a labelled one fades out with the weights of its unlabelled positives; a plain mean would give a
    labelled anchor whose only positive weighs 1e-9 a full vote. With all weights of pseudo-labelled pairs 0,
    L_ulb is the cross-view InfoNCE of the unlabelled rows.

    Weights, labels and reference get no gradient. A part without anchors is a 0 with a gradient path.
    Computed in float32 (float64 if given) under any autocast.

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
        ConfigError: temperature or weighting out of range; both or neither of classes and label_sets; a
            second derivative asked for (``create_graph=True`` in the backward pass).
    """
    if not 0 < temperature < math.inf:
        raise ConfigError(
            f"temperature must be positive and finite; got {temperature}; take 0.3, for example"
        )
    settings = (temperature, _checked(weighting), reference)
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, targets = _full_precision(anchors), _full_precision(targets)
        labels = _Labels.arrange(classes, label_sets, labelled_mask, anchors.dtype)
        terms = _BlockContrast.apply(anchors, targets, labels, torch.is_grad_enabled(), *settings)
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
        _check_one(classes, label_sets)
        n_rows, n_labelled = len(labelled_mask), int(labelled_mask.sum())
        ranks = torch.zeros_like(labelled_mask, dtype=torch.int64)
        if classes is not None:
            ranks = classes.unique(return_inverse=True)[1]
        order = torch.where(labelled_mask, ranks, ranks + n_rows).argsort()
        affinity = (
            _SameClass(ranks[order], dtype) if label_sets is None else _Jaccard(label_sets[order].to(dtype))
        )
        return cls(order, slice(0, n_labelled), slice(n_labelled, n_rows), affinity)

    def blocks(self, n_rows: int) -> Iterator[tuple[slice, bool]]:
        """Blocks of at most ``n_rows`` anchors, none across sections, and whether they are labelled."""
        for section in (self.labelled, self.unlabelled):
            for start in range(section.start, section.stop, n_rows):
                yield slice(start, min(start + n_rows, section.stop)), section is self.labelled


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


class _Contrast:
    """Both parts for unit vectors in the order of ``labels``."""

    def __init__(
        self, s: Tensor, z: Tensor, labels: _Labels, temperature: float, weighting: str, reference: Reference
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
        return affinity.mul_(_weigh_(distance, self.weighting, self.reference))

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


class _BlockContrast(torch.autograd.Function):
    """Both parts; the gradient for unit vectors is formed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, targets: Tensor, labels: _Labels, with_gradient: bool, *settings: Any
    ) -> tuple[Tensor, Tensor]:
        s, s_length = _unit_(anchors[labels.order])
        z, z_length = _unit_(targets[labels.order])
        contrast = _Contrast(s, z, labels, *settings)
        contrast.run(with_gradient)
        parts = (contrast.labelled, contrast.unlabelled)
        n_anchors = [part.n_anchors() for part in parts]
        if with_gradient:
            gradients = [gradient for part in parts for gradient in (part.s_gradient, part.z_gradient)]
            ctx.save_for_backward(labels.order, s, s_length, z, z_length, *n_anchors, *gradients)
        labelled, unlabelled = (part.losses.sum() / n for part, n in zip(parts, n_anchors, strict=True))
        return labelled, unlabelled

    @staticmethod
    def backward(ctx: Any, labelled: Tensor, unlabelled: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise ConfigError(
                "the contrast has no second derivative; create_graph=True came to its backward pass; drop it"
            )
        order, s, s_length, z, z_length, n_labelled, n_unlabelled, *gradients = ctx.saved_tensors
        a, b = labelled / n_labelled, unlabelled / n_unlabelled
        s_gradient = (gradients[0] * a).addcmul_(gradients[2], b)
        z_gradient = (gradients[1] * a).addcmul_(gradients[3], b)
        outputs = (
            _through_unit_(s_gradient, s, s_length, order),
            _through_unit_(z_gradient, z, z_length, order),
        )
        return *outputs, None, None, None, None, None


def _unit_(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of ``x`` divided in place by their floored lengths, and those lengths (B, 1)."""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_(min=NORM_FLOOR)
    return x.div_(length), length


def _through_unit_(gradient: Tensor, unit: Tensor, length: Tensor, order: Tensor) -> Tensor:
    """A gradient for unit vectors, overwritten, as one for the vectors themselves in the batch's order."""
    along = torch.linalg.vecdot(gradient, unit).unsqueeze(1)
    along.masked_fill_(length <= NORM_FLOOR, 0)  # below the floor the map is linear
    gradient.addcmul_(unit, along, value=-1).div_(length)
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


def symmetric_info_nce(
    a: Tensor, b: Tensor, *, temperature: float | Tensor, positives: Tensor | None = None
) -> Tensor:
    """InfoNCE between two views of the same rows, in both directions, and their mean.

    Args:
        a: (N, d), any length of rows.
        b: (N, d); row i of both is the pair, all others are negatives.
        temperature: of the cosines.
        positives: (N, N) bool, symmetric and True on the diagonal: which rows are no negatives of each other
            but pairs as well; the loss of a row is the mean over its positives.

    Returns:
        A scalar; fewer than 2 rows have no negatives: 0 with a gradient path.
    """
    logits = _unit(a) @ _unit(b).T / temperature
    if len(logits) < 2:
        return 0 * logits.sum()
    if positives is None:
        own = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    target = positives.to(logits.dtype) / positives.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


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
