"""The contract of a method, and the arithmetic of prediction that all methods share.

A method is one file: a frozen ``Config``, the blocks it is made of, and an ``nn.Module`` that says what
it predicts (``forward``), what it minimises (``losses``) and in which order (``stages``). It knows
nothing of data frames, devices or training loops. Letters: see :mod:`polymodal.batch`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.batch import Batch, Input, Output, Task
from polymodal.errors import ConfigError
from polymodal.losses import supervised_multiclass, supervised_multilabel, supervised_regression

ParameterGroup = dict[str, Any]
"""One optimiser group: ``{"params": [...], "lr": ..., "weight_decay": ..., "name": ...}``."""


@dataclass(frozen=True)
class Stage:
    """A stretch of training with its own trainable parts and losses.

    Attributes:
        name: how the stage is called in histories and logs.
        share: the part of ``max_epochs`` that it gets; the shares of a method's stages sum to 1.
    """

    name: str
    share: float = 1.0


@dataclass(frozen=True)
class Step:
    """Where training stands when a loss is computed.

    Attributes:
        stage: name of the running stage.
        epoch: epoch within the stage, from 0.
        progress: share of the stage's epochs already done, in [0, 1).
    """

    stage: str
    epoch: int
    progress: float


def judge_number(config: Any, name: str, *, least: float, below: float = inf, whole: bool = False) -> None:
    """Refuse a setting that is no number (no whole number) in [least, below).

    Raises:
        ConfigError: it is not.
    """
    value = getattr(config, name)
    right_type = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not (right_type and least <= value < below):
        rule = f"{name} must be a {'whole ' if whole else ''}number from {least:g} up"
        limit = "" if below == inf else f" and below {below:g}"
        raise ConfigError(f"{rule}{limit}; got {value!r}; leave it out for the default")


class Method(nn.Module):
    """Base of every neural method.

    Args:
        inputs: the modalities, in the order of M.
        task: what is to be predicted.
        config: the method's own settings; None takes the defaults.

    Attributes:
        prior: (C,) buffer: class shares, label shares, or the mean of y over the labelled training rows.
        scale: (C,) buffer: 1 for classification, the standard deviation of y for regression.
        cut: (C,) buffer: a label is decided where its probability, before calibration, is above this: 1/2
            unless the method learns otherwise; None but for label sets.
    """

    Config: ClassVar[type]
    late_fusion: ClassVar[bool]
    training_only: ClassVar[tuple[str, ...]] = ()
    """Attributes (modules or buffers) that serve training alone: in checkpoints, absent from saved models."""

    learns_alone: ClassVar[bool] = False
    """True: :meth:`learn` takes the place of stages, losses and the training loop."""

    shared_pass: ClassVar[bool] = False
    """True: :meth:`read` does once for a row what all combinations of its modalities share."""

    prior: Tensor
    scale: Tensor
    cut: Tensor | None

    def __init__(self, inputs: Sequence[Input], task: Task, config: Any = None) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.task = task
        self.config = self.Config() if config is None else config
        self.register_buffer("prior", torch.full((task.n_outputs,), 1.0 / max(task.n_outputs, 1)))
        self.register_buffer("scale", torch.ones(task.n_outputs))
        cut = torch.full((task.n_outputs,), 0.5) if task.kind == "multilabel" else None
        self.register_buffer("cut", cut)
        self.register_load_state_dict_pre_hook(_decided_at_one_half)

    # ---- what a method defines -------------------------------------------------------------------

    def stages(self) -> Iterator[Stage]:
        """The stages of training, in order."""
        yield Stage("train")

    def forward(self, batch: Batch) -> Output:
        """Predict; see :class:`polymodal.batch.Output`."""
        raise NotImplementedError

    def losses(self, batch: Batch, output: Output, step: Step) -> dict[str, Tensor]:
        """Named scalar terms, weights applied, whose sum is minimised; finite for any batch."""
        raise NotImplementedError

    def trainable(self, stage: Stage) -> Iterable[ParameterGroup]:
        """Parameter groups of a stage; parameters that no group names are left alone.

        Here: everything in one group, with the config's ``learning_rate`` and, where it has one,
        ``weight_decay``.
        """
        del stage
        group = {"params": list(self.parameters()), "lr": self.config.learning_rate, "name": "all"}
        if hasattr(self.config, "weight_decay"):
            group["weight_decay"] = self.config.weight_decay
        yield group

    def learn(
        self,
        rows: Batch,
        *,
        seed: int,
        groups: np.ndarray | None = None,
        monitor: Tensor | None = None,
        verbose: bool = False,
    ) -> list[dict[str, Any]]:
        """Learn by itself, from labelled and unlabelled rows on the CPU; where ``learns_alone`` is True.

        Args:
            rows: all training rows; the labels of unlabelled rows are never read.
            seed: the same gives the same method, bit for bit.
            groups: (n,) of the rows, for whatever is held out within.
            monitor: true labels of all rows, for figures in the history alone.
            verbose: show progress.

        Returns:
            The history, as the training loop's; the last entry's ``rule`` says how its length was decided.
        """
        raise NotImplementedError

    def read(self, batch: Batch) -> Mapping[str, Tensor]:
        """What :meth:`predict_from` makes predictions from, (B, ...) each; where ``shared_pass`` is True."""
        raise NotImplementedError

    def predict_from(self, read: Mapping[str, Tensor], presence: Tensor) -> Tensor:
        """Predictions (B, C) from the modalities of a (B, M) presence, at most those that were read."""
        raise NotImplementedError

    def begin_epoch(self, step: Step) -> None:
        """Called before each epoch of training, for what a forward pass does otherwise as it goes on."""
        del step

    def observe(self, y: Tensor) -> None:
        """Learn what is needed from the labelled training rows before the first epoch.

        Args:
            y: the labels of the labelled training rows alone: (N,) int64 classes, (N,) float values, or
                (N, C) float labels with NaN for a masked entry.
        """
        if self.task.kind == "multiclass":
            counts = torch.bincount(y, minlength=self.task.n_outputs).to(self.prior)
            self.prior.copy_(counts / counts.sum())
        elif self.task.kind == "multilabel":
            self.prior.copy_(y.nanmean(dim=0).nan_to_num(0.5).to(self.prior))
        else:
            self.prior.copy_(y.double().mean().to(self.prior))
            spread = y.double().std(unbiased=False)
            self.scale.copy_((spread if spread > 0 else torch.ones_like(spread)).to(self.scale))

    def diagnostics(self, batch: Batch, output: Output, monitor: Tensor | None) -> dict[str, float]:
        """Figures of one epoch for the history; ``monitor`` holds labels that training never reads."""
        del batch, output, monitor
        return {}

    def judge(self, history: Sequence[Mapping[str, Any]]) -> list[str]:
        """Warnings, each a sentence, about a finished history of epochs."""
        del history
        return []

    # ---- what all methods share ------------------------------------------------------------------

    def to_prediction(self, logits: Tensor) -> Tensor:
        """Raw head outputs (..., C) to predictions (..., C) in the units of ``Output.prediction``."""
        if self.task.kind == "multiclass":
            return logits.float().softmax(dim=-1)
        if self.task.kind == "multilabel":
            return logits.float().sigmoid()
        return self.prior + self.scale * logits.float()

    def late_fuse(self, branches: Tensor, presence: Tensor) -> Tensor:
        """Mean of the present branches' predictions; the prior where a row has none.

        Args:
            branches: (B, M, C) predictions; entries of absent modalities are never read.
            presence: (B, M) bool.

        Returns:
            (B, C).
        """
        mask = presence.unsqueeze(-1)
        nothing = torch.zeros((), dtype=branches.dtype, device=branches.device)
        total = torch.where(mask, branches, nothing).sum(1)
        count = mask.sum(1)
        return torch.where(count > 0, total / count.clamp(min=1), self.prior.to(total.dtype))

    def supervised_loss(self, batch: Batch, logits: Tensor) -> Tensor:
        """The task's loss over labelled rows that have a modality; a 0 with a gradient path without any.

        Args:
            batch: rows with ``y`` and ``labelled``; labels that are not labelled are never read.
            logits: (B, C) raw head outputs, as for :meth:`to_prediction`.
        """
        assert batch.y is not None
        assert batch.labelled is not None
        counted = batch.labelled & batch.presence.any(dim=1)
        if self.task.kind == "multiclass":
            return supervised_multiclass(logits, batch.y, counted)
        if self.task.kind == "multilabel":
            unknown = torch.full((), float("nan"), dtype=batch.y.dtype, device=batch.y.device)
            return supervised_multilabel(logits, torch.where(counted.unsqueeze(1), batch.y, unknown))
        return supervised_regression(logits, (batch.y - self.prior) / self.scale, counted)

    def drop_training_parts(self) -> None:
        """Remove what only training needs; prediction does not change."""
        for name in self.training_only:
            setattr(self, name, None)


def _decided_at_one_half(method: Method, state: dict[str, Tensor], *_: Any) -> None:
    """Models and checkpoints of before have no word for cuts: 1/2 was theirs."""
    if method.cut is not None:
        state.setdefault("cut", torch.full_like(method.cut, 0.5))
