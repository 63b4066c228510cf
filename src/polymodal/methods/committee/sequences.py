"""What the committee reads of the order in a sequence, nothing trained: means of segments, and convolutions.

The means tell where in a row something is, the convolutions by random dilated kernels what follows on what,
wherever it is.

Sources: ROCKET (Dempster, Petitjean and Webb, arXiv 1910.13051) for kernels of random weights on random
channels, and for the two numbers kept of a convolution: its largest value, and the proportion of it above an
offset; MiniRocket (Dempster, Schmidt and Webb, arXiv 2012.08791) for offsets that are quantiles of what
training rows give.

NOTE[DIFF] The proportion is that of a ramp, not of a step: where a sequence stands still at an offset, a step
would hang on the last bit of a sum. All kernels have 9 taps and norm 1, two offsets share a kernel, and
dilations are spread evenly rather than drawn.

Letters: B rows, T steps, D width, K kernels, Q offsets of a kernel, N channels of a kernel, P taps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.blocks import blank, step_mask
from polymodal.errors import CheckpointError

N_KERNELS = 256
N_OFFSETS = 2
N_TAPS = 9
MAX_CHANNELS = 9
"""Columns that a kernel reads, at most."""
N_DILATIONS = 5
"""At most: from 1 to what spans the longest training row."""
RAMP = 0.2
"""Width of an offset's ramp, in standard deviations of what the kernel gives."""
STEPS_OBSERVED = 20_000
"""From which offsets are learnt, about."""
NUMBERS_PER_PASS = 2**22
"""Rows times kernels times steps that are convolved together, at most."""

N_SEGMENTS = 4
"""Into which a row is cut."""
COLUMNS = N_KERNELS * (N_OFFSETS + 1)
"""How many numbers kernels read of a sequence."""


def segment_means(value: Tensor, lengths: Tensor) -> Tensor:
    """Means of each column over quarters of a row; a step on a border counts in parts.

    Args:
        value: (B, T, D), any content behind a row's end.
        lengths: (B,).

    Returns:
        (B, 4 D), quarter by quarter; zeros where the length is 0.
    """
    total = blank(value, step_mask(lengths, value.shape[1])).cumsum(dim=1)
    total = F.pad(total, (0, 0, 1, 0))
    border = torch.arange(N_SEGMENTS + 1, device=value.device) * lengths.unsqueeze(1) / N_SEGMENTS
    before = border.floor().long()
    part = (border - before).unsqueeze(2).to(total)
    steps = torch.stack([before, (before + 1).clamp(max=value.shape[1])]).unsqueeze(3)
    low, high = (total.gather(1, step.expand(-1, -1, value.shape[2])) for step in steps)
    until = torch.lerp(low, high, part)
    means = until.diff(dim=1) * N_SEGMENTS / lengths.clamp(min=1).reshape(-1, 1, 1)
    return means.flatten(1)


class Kernels(nn.Module):
    """Random kernels and their offsets; (B, T, D) sequences in, (B, K (Q + 1)) numbers out.

    A row's numbers depend on its own steps alone. Where a kernel reaches over an end it reads zeros, the mean
    of standardised columns.

    Attributes:
        weight: (K, N, P); zeros for channels that a kernel leaves out.
        channel: (K, N) int64: which of the D columns.
        dilation: (K,) int64.
        offset: (K, Q).
        spread: (K,) standard deviation of what the kernel gives.
    """

    weight: Tensor
    channel: Tensor
    dilation: Tensor
    offset: Tensor
    spread: Tensor

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d
        n_channels = min(d, MAX_CHANNELS)
        self.register_buffer("weight", torch.zeros(N_KERNELS, n_channels, N_TAPS))
        self.register_buffer("channel", torch.zeros(N_KERNELS, n_channels, dtype=torch.int64))
        self.register_buffer("dilation", torch.ones(N_KERNELS, dtype=torch.int64))
        self.register_buffer("offset", torch.zeros(N_KERNELS, N_OFFSETS))
        self.register_buffer("spread", torch.ones(N_KERNELS))

    # ---- learning ----

    def observe(self, value: Tensor, lengths: Tensor, random: np.random.Generator) -> None:
        """Draw the kernels, and offsets from what they give for some rows.

        Args:
            value: (n, T, D) of the rows that have the modality; never read behind a row's end.
            lengths: (n,).
            random: of all draws.
        """
        longest = int(lengths.max()) if len(lengths) else 1
        self.dilation.copy_(torch.from_numpy(dilations(longest)))
        weight, channel = drawn(self.d, random)
        self.weight.copy_(torch.from_numpy(weight))
        self.channel.copy_(torch.from_numpy(channel))
        rows = torch.from_numpy(random.permutation(len(value))[: 1 + STEPS_OBSERVED // max(longest, 1)])
        levels = (np.arange(N_OFFSETS) + random.random((N_KERNELS, N_OFFSETS))) / N_OFFSETS
        inside = step_mask(lengths[rows], value.shape[1])
        if not inside.any():
            return
        for kernels, given in self.convolved(blank(value[rows].float(), inside)):
            steps = given.transpose(0, 1)[:, inside].double().numpy()
            offset = [np.quantile(own, level) for own, level in zip(steps, levels[kernels], strict=True)]
            self.offset[kernels] = torch.from_numpy(np.stack(offset)).float()
            self.spread[kernels] = torch.from_numpy(np.maximum(steps.std(axis=1), 1e-6)).float()

    # ---- reading ----

    def forward(self, value: Tensor, lengths: Tensor) -> Tensor:
        """The proportions above each offset, then the largest values; zeros where the length is 0.

        Args:
            value: (B, T, D), any content behind a row's end.
            lengths: (B,).

        Returns:
            (B, K (Q + 1)).
        """
        read = value.new_zeros(len(value), COLUMNS, dtype=torch.float32)
        there = (lengths > 0).nonzero().squeeze(1)
        n_rows = max(1, NUMBERS_PER_PASS // (N_KERNELS * max(value.shape[1], 1)))
        for rows in there.split(n_rows):
            read[rows] = self._read(value[rows].float(), lengths[rows])
        return read

    def _read(self, value: Tensor, lengths: Tensor) -> Tensor:
        """Rows that fit into one pass, none of them empty."""
        inside = step_mask(lengths, value.shape[1])
        above = value.new_zeros(len(value), N_KERNELS, N_OFFSETS)
        largest = value.new_zeros(len(value), N_KERNELS)
        steps, count = inside.unsqueeze(1), lengths.unsqueeze(1)
        for kernels, given in self.convolved(blank(value, inside)):
            largest[:, kernels] = torch.where(steps, given, -torch.inf).amax(dim=2)
            width = RAMP * self.spread[kernels].unsqueeze(1)
            for q in range(N_OFFSETS):
                ramp = ((given - self.offset[kernels, q].unsqueeze(1)) / width + 0.5).clamp(0, 1)
                above[:, kernels, q] = torch.where(steps, ramp, 0.0).sum(dim=2) / count
        return torch.cat([above.flatten(1), largest], dim=1)

    def convolved(self, value: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Numbers (k,) of the kernels of one dilation, and what they give at each step: (B, k, T).

        Args:
            value: (B, T, D), zeros behind a row's end.
        """
        for dilation in self.dilation.unique().tolist():
            kernels = (self.dilation == dilation).nonzero().squeeze(1)
            channel = self.channel[kernels].unsqueeze(2).expand(-1, -1, N_TAPS)
            dense = value.new_zeros(len(kernels), self.d, N_TAPS)
            dense.scatter_add_(1, channel, self.weight[kernels])
            reach = dilation * (N_TAPS // 2)
            yield kernels, F.conv1d(value.mT, dense, dilation=dilation, padding=reach)

    # ---- keeping ----

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any) -> None:
        """Load and judge.

        Raises:
            CheckpointError: a kernel reads what is not there.
        """
        super()._load_from_state_dict(state_dict, prefix, *more)
        known = (self.channel >= 0) & (self.channel < self.d)
        if not (known.all() and (self.dilation > 0).all() and (self.dilation < 2**31).all()):
            raise CheckpointError(
                "a saved kernel reads columns that there are, at a dilation from 1 up; this one does not; "
                "restore the model as it was saved"
            )


def dilations(longest: int) -> np.ndarray:
    """(K,) int64 in rising order: powers from 1 to what spans the longest row (NOTE[DIFF])."""
    most = max(1.0, (longest - 1) / (N_TAPS - 1))
    different = np.unique(np.geomspace(1, most, N_DILATIONS).astype(np.int64))
    return different[np.arange(N_KERNELS) * len(different) // N_KERNELS]


def drawn(d: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Weights (K, N, P), normal, of mean 0 in each channel and norm 1 a kernel; channels (K, N).

    The number of a kernel's channels is 2^u, u uniform up to log2 of one more than there can be.
    """
    n_most = min(d, MAX_CHANNELS)
    weight, channel = np.zeros((N_KERNELS, n_most, N_TAPS)), np.zeros((N_KERNELS, n_most), dtype=np.int64)
    for kernel in range(N_KERNELS):
        n = int(2 ** random.uniform(0, np.log2(n_most + 1)))
        own = random.normal(size=(n, N_TAPS))
        own -= own.mean(axis=1, keepdims=True)
        weight[kernel, :n] = own / np.linalg.norm(own)
        channel[kernel, :n] = random.choice(d, n, replace=False)
    return weight, channel
