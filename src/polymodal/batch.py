"""What travels through a method: rows in, predictions out.

Letters: B rows, M modalities, T steps, D width, C outputs (classes, labels, or 1 for regression).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

TaskKind = Literal["multiclass", "multilabel", "regression", "retrieval"]


@dataclass(frozen=True)
class Task:
    """What is to be predicted.

    Attributes:
        kind: ``"multiclass"`` (one of C classes), ``"multilabel"`` (C independent labels),
            ``"regression"`` (C = 1 value), or ``"retrieval"`` (a common space of all modalities; C classes, 0
            where there are none, and then no label at all).
        n_outputs: C.
    """

    kind: TaskKind
    n_outputs: int


@dataclass(frozen=True)
class Input:
    """One modality as a method sees it: numbers, either one vector or one sequence a row.

    Attributes:
        name: the modality's name.
        kind: ``"vector"`` for (B, D) values, ``"series"`` for (B, T, D) values with lengths.
        width: D.
        top: builds the last layers of the pretrained model whose hidden states the values are: a module of
            ``d_out`` outputs, called with states and lengths; None where the values are what they are.
    """

    name: str
    kind: Literal["vector", "series"]
    width: int
    top: Callable[[], nn.Module] | None = None


@dataclass(frozen=True)
class Batch:
    """Rows of every modality, with presence as a fact of its own.

    Values of an absent (row, modality) are zeros put there by the data door; nothing may depend on them.

    Attributes:
        values: name -> (B, D) or (B, T, D), floating point; the order of the names is the order of M.
        lengths: name -> (B,) int64, for series only; 0 where absent.
        presence: (B, M) bool, True where the modality is present.
        y: (B,) int64 classes, (B,) float values, or (B, C) float labels with NaN for a masked entry;
            meaningful only where ``labelled`` is True. None at prediction.
        labelled: (B,) bool. None at prediction.
    """

    values: Mapping[str, Tensor]
    presence: Tensor
    lengths: Mapping[str, Tensor] = field(default_factory=dict)
    y: Tensor | None = None
    labelled: Tensor | None = None

    def __len__(self) -> int:
        return self.presence.shape[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names in the order of M."""
        return tuple(self.values)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with every tensor changed alike."""
        return Batch(
            values={name: change(value) for name, value in self.values.items()},
            presence=change(self.presence),
            lengths={name: change(value) for name, value in self.lengths.items()},
            y=None if self.y is None else change(self.y),
            labelled=None if self.labelled is None else change(self.labelled),
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return self.map(lambda tensor: tensor.to(device))

    def rows(self, index: Tensor) -> Batch:
        """The rows of an index (K,) int64, on the batch's own device."""
        return self.map(lambda tensor: tensor.index_select(0, index))

    def slice(self, start: int, stop: int) -> Batch:
        """Rows ``start`` to ``stop``, without a copy."""
        return self.map(lambda tensor: tensor[start:stop])

    def only(self, names: tuple[str, ...]) -> Batch:
        """The same rows with every modality but ``names`` made absent; the other values are zeroed."""
        keep = torch.tensor([name in names for name in self.names], device=self.presence.device)
        return replace(
            self,
            values={n: v if n in names else torch.zeros_like(v) for n, v in self.values.items()},
            lengths={n: v if n in names else torch.zeros_like(v) for n, v in self.lengths.items()},
            presence=self.presence & keep,
        )


@dataclass(frozen=True)
class Output:
    """What a method's forward pass returns.

    Attributes:
        prediction: (B, C): class probabilities (rows sum to 1), label probabilities, or values in the
            units of y. A row without any modality gets the training prior.
        branches: (B, M, C): each modality's own prediction in the same units, NaN where absent; None for
            a method without branches.
        latents: whatever the method's losses, diagnostics or ``transform`` read, by name;
            ``latents["shared"]`` is (B, d), the representation that ``transform`` returns.
    """

    prediction: Tensor
    branches: Tensor | None
    latents: Mapping[str, Tensor]
