"""Which rows a step sees, and how they reach the device.

The order of the rows is a function of the seed and the epoch alone, so a resumed fit needs no state of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from polymodal.batch import Batch, TaskKind
from polymodal.errors import LabelError
from polymodal.training.settings import TrainingConfig

N_DIAGNOSED = 512  # rows
ROWS_PER_PASS = 4096  # of a pass without gradients


def epoch_batches(labelled: np.ndarray, config: TrainingConfig, *, seed: int, epoch: int) -> list[Tensor]:
    """The rows of each batch of an epoch.

    An epoch covers every row. Where fewer than ``labelled_share`` of the rows are labelled, each batch
    holds that share of labelled rows, which go round in permutations, and each unlabelled row comes once.
    Batches of one kind differ by one row at most, so none is left over with a single row.

    Args:
        labelled: (n,) bool.
        config: gives ``batch_size`` and ``labelled_share``.
        seed: seed of the fit.
        epoch: number of the epoch over all stages.

    Returns:
        (B,) int64 row numbers for each batch.
    """
    random = np.random.default_rng([seed, epoch])
    known, unknown = np.flatnonzero(labelled), np.flatnonzero(~labelled)
    share = config.labelled_share
    if not len(known) or len(known) >= share * len(labelled):
        return _tensors(_split(random.permutation(len(labelled)), config.batch_size))
    n_known = max(1, round(share * config.batch_size))
    parts = _split(random.permutation(unknown), max(1, config.batch_size - n_known))
    quotas = [max(1, round(len(part) * share / (1 - share))) for part in parts]
    rounds = -(-sum(quotas) // len(known))
    cycled = np.concatenate([random.permutation(known) for _ in range(rounds)])
    ends = np.cumsum(quotas)
    return _tensors(
        np.concatenate([cycled[end - quota : end], part])
        for part, quota, end in zip(parts, quotas, ends, strict=True)
    )


def _split(rows: np.ndarray, most: int) -> list[np.ndarray]:
    return np.array_split(rows, max(1, -(-len(rows) // most)))


def _tensors(batches: Iterable[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(batch) for batch in batches]


def diagnosed_rows(n: int, seed: int) -> Tensor:
    """The training rows that diagnostics look at in every epoch."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.sort(random.choice(n, min(n, N_DIAGNOSED), replace=False)))


def memory_for_data(device: torch.device) -> float:
    """Bytes that rows may take on a device for good: half of what is free."""
    return torch.cuda.mem_get_info(device)[0] / 2 if device.type == "cuda" else math.inf


class Rows:
    """Rows given out on a device: held there whole where they fit, sent batch by batch otherwise.

    Args:
        batch: all rows, on the CPU.
        device: where they are wanted.
    """

    def __init__(self, batch: Batch, device: torch.device) -> None:
        self.resident = _n_bytes(batch) <= memory_for_data(device)
        self._batch = batch.to(device) if self.resident else batch
        self._device = device

    def __len__(self) -> int:
        return len(self._batch)

    def take(self, index: Tensor) -> Batch:
        """The rows of an index (K,) int64 on the CPU."""
        if self.resident:
            return self._batch.rows(index.to(self._device, non_blocking=True))
        return self._sent(self._batch.rows(index))

    def chunks(self) -> Iterator[Batch]:
        """All rows in order, in pieces of a size for passes without gradients."""
        for start in range(0, len(self), ROWS_PER_PASS):
            piece = self._batch.slice(start, start + ROWS_PER_PASS)
            yield piece if self.resident else self._sent(piece)

    def _sent(self, batch: Batch) -> Batch:
        if self._device.type == "cuda":  # pinned memory is copied while the device computes
            return batch.map(lambda tensor: tensor.pin_memory().to(self._device, non_blocking=True))
        return batch.to(self._device)


def _n_bytes(batch: Batch) -> int:
    return sum(tensor.nbytes for tensor in tensors_of(batch).values())


def tensors_of(batch: Batch) -> dict[str, Tensor]:
    """Every tensor of a batch by name, in a fixed order."""
    tensors = {"presence": batch.presence, "y": batch.y, "labelled": batch.labelled}
    tensors |= {f"values/{name}": value for name, value in batch.values.items()}
    tensors |= {f"lengths/{name}": value for name, value in batch.lengths.items()}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def labels_of(batch: Batch, what: str, kind: TaskKind) -> tuple[Tensor, Tensor]:
    """The labels and which rows have one; retrieval may do without any.

    Raises:
        LabelError: none has.
    """
    if batch.y is None or batch.labelled is None or not (batch.labelled.any() or kind == "retrieval"):
        raise LabelError(f"{what} needs at least one labelled row; none of {len(batch)} rows is; label some")
    return batch.y, batch.labelled


def without_hidden_labels(batch: Batch) -> Batch:
    """The same rows with the labels of unlabelled rows overwritten: what is not there cannot be read."""
    y, labelled = batch.y, batch.labelled
    assert y is not None
    assert labelled is not None
    mask = labelled if y.ndim == 1 else labelled.unsqueeze(1)
    return replace(batch, y=torch.where(mask, y, torch.zeros_like(y)))
