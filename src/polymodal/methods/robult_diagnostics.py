"""What a Robult fit tells about itself: figures of one epoch, and sentences about a finished history.

Everything here is a pure function that reads; nothing changes training. A figure that is undefined (too few
rows, a constant) is left out. Letters: B rows, M modalities, d latent width, k unique width, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.batch import Batch
from polymodal.losses import Reference, Weighting, alignment, pair_weights, uniformity

MIN_ROWS = 16
"""Fewer rows of a modality give no figure."""
MIN_EPOCHS = 10
"""A shorter history is not judged."""
N_LIKENESS = 128
"""Rows that the likeness of two modalities is read from."""
WORTH_TELLING = 0.9
"""Likeness of two modalities from which it is recorded."""
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Of the standardised reference distances; with the same ones of a Gaussian they make a Q-Q plot."""


@dataclass(frozen=True)
class Space:
    """What the figures are read from, all detached.

    Attributes:
        batch: the rows, with y and labelled.
        prediction: (B, C) fused.
        confidence: (B,) how sure it is, None for a regression.
        branches: (B, M, C).
        synergy: S (B, d).
        redundant: Z (B, M, d).
        unique: U (B, M, k), or None without a unique part.
        classes: (B,) label or pseudo-label; for label sets any number that names the set.
    """

    batch: Batch
    prediction: Tensor
    confidence: Tensor | None
    branches: Tensor
    synergy: Tensor
    redundant: Tensor
    unique: Tensor | None
    classes: Tensor


# ---- figures of one epoch ------------------------------------------------------------------------


def figures(space: Space) -> dict[str, float]:
    """All figures that need no hidden label; names in the method's page."""
    found: dict[str, float] = dict(pseudo_label_figures(space))
    for i, name in enumerate(space.batch.names):
        rows = space.batch.presence[:, i].nonzero().squeeze(1)
        if len(rows) >= MIN_ROWS:
            found |= {f"{figure}/{name}": value for figure, value in modality_figures(space, i, rows)}
    found |= dict(likeness_figures(space.batch))
    return {name: value for name, value in found.items() if isfinite(value)}


def pseudo_label_figures(space: Space) -> Iterator[tuple[str, float]]:
    """How sure the pseudo-labels are, and how many are the same."""
    labelled = space.batch.labelled
    assert labelled is not None
    unlabelled = ~labelled & space.batch.presence.any(dim=1)
    yield "labelled_share", largest_share(space.classes[labelled])
    yield "pseudo_share", largest_share(space.classes[unlabelled])
    if space.confidence is not None:
        yield "confidence", float(space.confidence[unlabelled].mean())


def modality_figures(space: Space, i: int, rows: Tensor) -> Iterator[tuple[str, float]]:
    """Figures of modality i over the rows (K,) that have it."""
    s, z = space.synergy[rows], space.redundant[rows, i]
    classes = space.classes[rows]
    classes = F.one_hot(classes, int(classes.max()) + 1).float()
    yield "alignment", float(alignment(s, z))
    yield "uniformity", float(uniformity(z))
    yield "spread", spread(F.normalize(z, dim=-1))
    if space.unique is not None:
        u = space.unique[rows, i]
        length = float(u.norm(dim=1).mean())
        yield "unique_norm", length
        yield "unique_spread", spread(u) / max(length, 1e-12)
        yield "unique_predicts_shared", ridge_r2(u, F.normalize(z, dim=-1))
        yield "unique_predicts_class", ridge_r2(u, classes)
    yield "input_tells_class", unbiased_cka(summary(space.batch, space.batch.names[i])[rows], classes)
    others = [j for j in range(len(space.batch.names)) if j != i]
    company = space.batch.presence[rows][:, others].any(dim=1)
    if int(company.sum()) >= MIN_ROWS:
        met = rows[company]
        rest = torch.where(
            space.batch.presence[met][:, others, None], space.branches[met][:, others], torch.nan
        )
        yield "agreement", correlation(centred(space.branches[met, i]), centred(rest.nanmean(1)))


def reference_figures(reference: Tensor) -> dict[str, float]:
    """How Gaussian the distances of true positive pairs are.

    Args:
        reference: (M, K), NaN where nothing is remembered.

    Returns:
        ``reference_gaussian``, the correlation of the Q-Q plot (1: Gaussian), and ``reference_quantile/P``.
    """
    rows = [row[~row.isnan()] for row in reference]
    rows = [(row - row.mean()) / row.std() for row in rows if len(row) >= MIN_ROWS and row.std() > 0]
    if not rows:
        return {}
    pooled = torch.cat(rows).sort().values
    levels = (torch.arange(len(pooled), device=pooled.device) + 0.5) / len(pooled)
    found = {"reference_gaussian": correlation(pooled, torch.special.ndtri(levels))}
    values = pooled.quantile(pooled.new_tensor(QUANTILES)).tolist()
    return found | {f"reference_quantile/{q:g}": value for q, value in zip(QUANTILES, values, strict=True)}


def monitored_weights(
    space: Space, positive: Tensor, truth: Tensor, weighting: Weighting, references: Sequence[Reference]
) -> dict[str, float]:
    """Mean weight of the pseudo-labelled pairs that are truly positive, and of those that are not.

    Args:
        space: the epoch's rows.
        positive: (B, B) bool, the pairs that share a (pseudo-)label.
        truth: (B, B) bool, the pairs that share their hidden label.
        weighting: how pairs are weighted.
        references: one for each modality.
    """
    labelled = space.batch.labelled
    assert labelled is not None
    pairs = positive & ~(labelled.unsqueeze(1) & labelled)
    pairs.fill_diagonal_(False)
    s = F.normalize(space.synergy, dim=-1)
    kept: dict[str, list[Tensor]] = {"weight_true": [], "weight_false": []}
    for i, reference in enumerate(references):
        present = space.batch.presence[:, i]
        counted = pairs & present & present.unsqueeze(1)
        distance = (2 - 2 * s @ F.normalize(space.redundant[:, i], dim=-1).T).clamp(min=0).sqrt()
        weights = pair_weights(distance, weighting, reference)
        kept["weight_true"].append(weights[counted & truth])
        kept["weight_false"].append(weights[counted & ~truth])
    pooled = {name: torch.cat(parts) for name, parts in kept.items()}
    return {name: float(weights.mean()) for name, weights in pooled.items() if len(weights)}


def likeness_figures(batch: Batch) -> Iterator[tuple[str, float]]:
    """``likeness/A+B`` of every two modalities that are nearly the same up to rotation and scale."""
    features = {name: summary(batch, name) for name in batch.names}
    for (i, a), (j, b) in combinations(enumerate(batch.names), 2):
        both = batch.presence[:, i] & batch.presence[:, j]
        if int(both.sum()) >= MIN_ROWS:
            value = unbiased_cka(features[a][both][:N_LIKENESS], features[b][both][:N_LIKENESS])
            if value > WORTH_TELLING:
                yield f"likeness/{a}+{b}", value


def summary(batch: Batch, name: str) -> Tensor:
    """(B, D): a vector as it is, a series by the mean of its valid steps."""
    values = batch.values[name].float()
    if name not in batch.lengths:
        return values
    lengths = batch.lengths[name]
    valid = torch.arange(values.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    total = torch.where(valid.unsqueeze(2), values, torch.zeros((), device=values.device)).sum(1)
    return total / lengths.clamp(min=1).unsqueeze(1)


# ---- arithmetic ----------------------------------------------------------------------------------


def largest_share(classes: Tensor) -> float:
    """Share of the commonest of (N,) classes; NaN if there are none."""
    return float(torch.bincount(classes).max() / len(classes)) if len(classes) else float("nan")


def spread(x: Tensor) -> float:
    """Root mean squared distance of rows (N, d) from their mean; 0: all are one point."""
    return float((x - x.mean(0)).square().sum(1).mean().sqrt())


def centred(x: Tensor) -> Tensor:
    """Rows less their mean, flattened."""
    return (x - x.mean(0)).flatten()


def correlation(x: Tensor, y: Tensor) -> float:
    """Pearson correlation of two (N,) vectors; NaN where one is constant."""
    return (
        float(torch.corrcoef(torch.stack([x, y.to(x.dtype)]))[0, 1])
        if x.std() > 0 and y.std() > 0
        else float("nan")
    )


def ridge_r2(x: Tensor, y: Tensor, penalty: float = 1e-2) -> float:
    """R2 of a ridge regression from x (N, k) to y (N, d): fitted on every other row, scored on the rest.

    Negative values, worse than the mean, are given as 0; NaN where y is constant.
    """
    x = (x - x[::2].mean(0)) / x[::2].std(0, unbiased=False).clamp(min=1e-6)
    y = y - y[::2].mean(0)
    gram = x[::2].T @ x[::2] + penalty * len(x[::2]) * torch.eye(x.shape[1], device=x.device)
    error = y[1::2] - x[1::2] @ torch.linalg.solve(gram, x[::2].T @ y[::2])
    total = y[1::2].square().sum()
    return max(0.0, float(1 - error.square().sum() / total)) if total > 1e-12 else float("nan")


def unbiased_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment with the unbiased estimator of Song et al. (2012).

    Args:
        x: (N, D), N >= 4.
        y: (N, D').

    Returns:
        About 1 for equal spaces up to rotation and scale, about 0 for independent ones; NaN for a constant.
    """
    k, m = gram_without_diagonal(x), gram_without_diagonal(y)
    kk, mm, km = hsic(k, k), hsic(m, m), hsic(k, m)
    return float(km / (kk * mm).sqrt()) if kk > 0 and mm > 0 else float("nan")


def gram_without_diagonal(x: Tensor) -> Tensor:
    """(N, N) inner products of centred rows of unit mean square, zero on the diagonal."""
    x = x - x.mean(0)
    gram = x @ x.T / x.square().sum(1).mean().clamp(min=1e-12)
    return gram.fill_diagonal_(0)


def hsic(k: Tensor, m: Tensor) -> Tensor:
    """Unbiased Hilbert-Schmidt independence criterion of two Gram matrices, up to a factor."""
    n = len(k)
    k_sums, m_sums = k.sum(1), m.sum(1)
    return (k * m).sum() + k_sums.sum() * m_sums.sum() / ((n - 1) * (n - 2)) - 2 * k_sums @ m_sums / (n - 2)


# ---- sentences about a finished history ------------------------------------------------------------


def judge(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Warnings, each a sentence, about a history of epochs; none about one shorter than ``MIN_EPOCHS``."""
    if len(history) < MIN_EPOCHS:
        return []
    last = history[-1]
    return [
        *judge_spaces(last),
        *judge_balance(history),
        *judge_pseudo_labels(history),
        *judge_modalities(last),
    ]


def judge_spaces(last: Mapping[str, Any]) -> Iterator[str]:
    """Collapse of Z, and a g_i that says nothing."""
    for name, value in by_modality(last, "spread"):
        if value < 0.05:
            yield (
                f"the shared space of modality {name!r} has collapsed: Z of all rows are nearly one point "
                f"(spread {value:.3f} of at most 1); lower the learning rate or raise the temperature"
            )
    for name, value in by_modality(last, "unique_spread"):
        if value < 0.02:
            yield (
                f"the unique part of modality {name!r} is the same for every row (spread {value:.3f} of "
                f"its length) and adds nothing; raise loss_weights['reconstruction'] or set d_unique=0"
            )


def judge_balance(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Reconstruction that dominates while the contrast stands still."""
    first, last = history[0], history[-1]
    share = last.get("loss/reconstruction", 0.0) / max(last.get("loss", 0.0), 1e-12)
    before, after = first.get("loss/labelled", 0.0), last.get("loss/labelled", 0.0)
    if share > 0.5 and after > 0.95 * before > 0:
        yield (
            f"the reconstruction makes up {share:.0%} of the loss while the contrast stands still "
            f"({before:.3g} to {after:.3g}); lower loss_weights['reconstruction']"
        )


def judge_pseudo_labels(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Pseudo-labels of one class, or sure of themselves too early."""
    last = history[-1]
    share, labelled = last.get("pseudo_share", 0.0), last.get("labelled_share", 1.0)
    if share > 0.95 and labelled < 0.8:
        yield (
            f"{share:.0%} of the pseudo-labels are of one class, against {labelled:.0%} of the labels; "
            f"raise ramp or lower loss_weights['unlabelled']"
        )
    for epoch in history[: max(1, len(history) // 10)]:
        confidence = epoch.get("confidence", 0.0)
        if confidence > 0.95 and epoch.get("pseudo_accuracy", 0.0) < confidence - 0.05:
            yield (
                f"the pseudo-labels were sure of themselves early (mean confidence {confidence:.2f} in the "
                f"first tenth of the epochs); raise ramp or lower the learning rate"
            )
            return


def judge_modalities(last: Mapping[str, Any]) -> Iterator[str]:
    """A modality that predicts nothing, and two that are one."""
    # Few labels are soon learnt by heart, so being right on them is no proof: a modality at chance also
    # disagrees with the others on all rows, and its inputs lie without any regard to the classes.
    agreement, told = dict(by_modality(last, "agreement")), dict(by_modality(last, "input_tells_class"))
    for name, gain in by_modality(last, "branch_gain"):
        if gain < 0.02:
            yield (
                f"modality {name!r} predicts no better than chance on labelled rows ({gain:+.2f} above it); "
                f"check its columns or drop it"
            )
        elif agreement.get(name, 1.0) < 0.3 and told.get(name, 1.0) < 0.02:
            yield (
                f"modality {name!r} looks no better than chance: it knows the labelled rows by heart "
                f"({gain:+.2f} above chance), agrees with the others at {agreement[name]:.2f} only, and its "
                f"inputs lie without regard to the classes; check its columns or drop it"
            )
    for pair, value in by_modality(last, "likeness"):
        if value > 0.98:
            first, _, second = pair.partition("+")
            yield (
                f"modalities {first!r} and {second!r} are nearly copies (likeness {value:.3f}), so the "
                f"unique part of either carries nothing; leave one of them out"
            )


def by_modality(epoch: Mapping[str, Any], figure: str) -> Iterator[tuple[str, float]]:
    """(what follows the slash, value) of every ``figure/...`` of an epoch."""
    for name, value in epoch.items():
        if name.startswith(f"{figure}/"):
            yield name.partition("/")[2], value
