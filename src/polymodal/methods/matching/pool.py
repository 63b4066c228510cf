"""How much each common space counts, learnt on pairs that none of the spaces has seen.

The similarity of a row's modality i and another row's modality j is sum_e w_e <z_e^i, z_e^j> over the
spaces e, plus that of the classes. The weights w_e of what was learnt from pairs minimise the contrast of
each held-out row with its partner among all held-out rows. Where there are classes, their share beside
those is the smallest of a few that finds the classes of held-out rows about as well as any.

Letters: n held-out rows, M modalities, E spaces, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

START = 3.0
"""Weight of each space before anything is learnt."""
PRIOR_ROWS = 0.2
"""How many rows the prior of the logarithms of the weights counts as."""
SHARES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
"""What the share of the classes is chosen from; never all, for classes alone leave ties."""
START_CLASSES = 1.0
"""Weight of the classes before anything is learnt."""
AS_GOOD = 0.005
"""Mean average precision that a smaller share of the classes may cost."""


def similarities(spaces: Tensor, presence: Tensor) -> list[tuple[int, int, Tensor]]:
    """For each two modalities i < j their numbers and (E, p, p) inner products of the p rows that have both.

    Args:
        spaces: (n, M, E, D); never read where absent.
        presence: (n, M) bool.
    """
    found = []
    for i, j in combinations(range(presence.shape[1]), 2):
        both = presence[:, i] & presence[:, j]
        if both.sum() > 1:
            a, b = spaces[both, i].transpose(0, 1), spaces[both, j].transpose(0, 1)
            found.append((i, j, a @ b.transpose(1, 2)))
    return found


def pair_loss(weights: Tensor, similar: Sequence[tuple[int, int, Tensor]]) -> Tensor:
    """Mean loss of finding the partner, in both directions, over the pairs of modalities."""
    terms = []
    for _, _, each in similar:
        logits, own = torch.einsum("e,epq->pq", weights, each), torch.arange(each.shape[1])
        terms.append((F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2)
    return torch.stack(terms).mean()


def pair_weights(similar: Sequence[tuple[int, int, Tensor]], n_spaces: int) -> Tensor:
    """(E,) weights of lowest loss under a Gaussian prior of their logarithms; equal ones without pairs."""
    n_rows = sum(each.shape[1] for _, _, each in similar)
    if n_rows == 0:
        return torch.full((n_spaces,), START)
    start = np.full(n_spaces, np.log(START))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        logs = torch.from_numpy(flat).requires_grad_()
        prior = (logs - np.log(START)).square().sum() * PRIOR_ROWS / (2 * n_rows)
        loss = pair_loss(logs.exp().float(), similar) + prior
        loss.backward()
        assert logs.grad is not None
        return float(loss.detach()), logs.grad.numpy()

    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-4.0, 5.0)] * n_spaces,
        options={"maxiter": 50, "ftol": 1e-5},
    )
    return torch.from_numpy(found.x).exp().float()


def class_weight(
    similar: Sequence[tuple[int, int, Tensor]],
    weights: Tensor,
    classes: Tensor,
    presence: Tensor,
    y: Tensor,
) -> tuple[float, float, float]:
    """The weight of the classes beside those of the spaces.

    Args:
        similar: as of :func:`similarities`, of labelled rows.
        weights: (E,) of the spaces.
        classes: (n, M, C) the space of the classes.
        presence: (n, M) bool.
        y: (n,) their classes.

    Returns:
        The weight, the share that it comes from, and the mean average precision that it reaches.
    """
    both = [presence[:, i] & presence[:, j] for i, j, _ in similar]
    of_pairs = [torch.einsum("e,epq->pq", weights, each) for _, _, each in similar]
    of_classes = [classes[b, i] @ classes[b, j].T for b, (i, j, _) in zip(both, similar, strict=True)]
    ratio = spread(of_pairs) / max(spread(of_classes), 1e-9)
    found = {}
    for share in SHARES:
        weight = share / (1 - share) * ratio
        found[share] = float(
            np.mean(
                [
                    average_precision(side, y[b].unsqueeze(1) == y[b])
                    for b, s, c in zip(both, of_pairs, of_classes, strict=True)
                    for side in (s + weight * c, (s + weight * c).T)
                ]
            )
        )
    best = max(found.values())
    share = next(share for share, value in found.items() if value >= best - AS_GOOD)
    return share / (1 - share) * ratio, share, found[share]


def spread(similar: Sequence[Tensor]) -> float:
    """Mean standard deviation of similarities."""
    return float(torch.stack([each.std() for each in similar]).mean())


def average_precision(scores: Tensor, relevant: Tensor) -> float:
    """Mean over the rows of (n, n) scores of their average precision; every row has a relevant one."""
    ranked = relevant.gather(1, scores.argsort(dim=1, descending=True, stable=True)).double()
    precision = ranked.cumsum(dim=1) / torch.arange(1, len(ranked) + 1)
    return float(((precision * ranked).sum(dim=1) / ranked.sum(dim=1)).mean())


__all__ = ["average_precision", "class_weight", "pair_loss", "pair_weights", "similarities"]
