"""Two-tower contrast: a small network a modality, which brings the sides of a pair together.

Source of the loss: Radford et al., Learning Transferable Visual Models From Natural Language Supervision,
ICML 2021, figure 3, with its learnt temperature.

Letters: B rows, M modalities, d width, D width of the space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from polymodal.losses import symmetric_info_nce

D_SPACE = 128
D_HIDDEN = 512
INPUT_DROPOUT = 0.3
DROPOUT = 0.2
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
TEMPERATURE = 0.1
"""To start from."""
BATCH = 256
N_EPOCHS = 20
MOST_STEPS = 1000


class Tower(nn.Module):
    """A network of one hidden layer beside a linear one."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.lose = nn.Dropout(INPUT_DROPOUT)
        self.straight = nn.Linear(d, D_SPACE, bias=False)
        self.bent = nn.Sequential(
            nn.Linear(d, D_HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(D_HIDDEN, D_SPACE)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, d) to (B, D), of any length."""
        x = self.lose(x)
        return self.straight(x) + self.bent(x)


class Towers(nn.Module):
    """A tower for each modality.

    Args:
        widths: d of each modality.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.towers = nn.ModuleList(Tower(d) for d in widths)

    def forward(self, x: Tensor, m: int) -> Tensor:
        """(B, d) standardised columns of modality m to (B, D), of any length."""
        return self.towers[m](x)

    def learn(
        self, values: Sequence[Tensor], presence: Tensor, *, seed: int, told: Callable[[], None]
    ) -> None:
        """Learn from the rows that have two modalities or more.

        Args:
            values: of each modality (n, d).
            presence: (n, M) bool.
            seed: of the start, the order and the dropout.
            told: called after each epoch.
        """
        rows = (presence.sum(dim=1) > 1).nonzero().squeeze(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._reset()
            self._descend([value[rows] for value in values], presence[rows], told)
        self.eval().requires_grad_(requires_grad=False)

    def _reset(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
        self.train().requires_grad_()

    def _descend(self, values: Sequence[Tensor], presence: Tensor, told: Callable[[], None]) -> None:
        heat = nn.Parameter(torch.tensor(math.log(TEMPERATURE)))
        n = len(presence)
        n_batches = max(1, n // BATCH)
        n_epochs = max(1, min(N_EPOCHS, MOST_STEPS // n_batches))
        decayed = {"params": list(self.parameters()), "weight_decay": WEIGHT_DECAY}
        optimiser = torch.optim.AdamW([decayed, {"params": [heat], "weight_decay": 0.0}], lr=LEARNING_RATE)
        plan = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, LEARNING_RATE, total_steps=n_epochs * n_batches, pct_start=0.1
        )
        for _ in range(n_epochs):
            for batch in torch.randperm(n)[: n_batches * BATCH].split(BATCH):
                loss = self._loss([value[batch] for value in values], presence[batch], heat)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                plan.step()
            told()

    def _loss(self, values: Sequence[Tensor], presence: Tensor, heat: Tensor) -> Tensor:
        """Mean contrast over the pairs of modalities that some row has."""
        spaces = [tower(x) for tower, x in zip(self.towers, values, strict=True)]
        terms = []
        for i, j in combinations(range(len(spaces)), 2):
            both = presence[:, i] & presence[:, j]
            if both.any():
                terms.append(symmetric_info_nce(spaces[i][both], spaces[j][both], temperature=heat.exp()))
        return torch.stack(terms).mean()


__all__ = ["Towers"]
