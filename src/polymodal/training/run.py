"""What the steps of a fit share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.batch import Batch
from polymodal.checkpoint import Snapshot
from polymodal.methods.base import Method
from polymodal.progress import Progress
from polymodal.training.log import Log, nothing
from polymodal.training.precision import Precision
from polymodal.training.rows import Rows, epoch_batches
from polymodal.training.settings import TrainingConfig
from polymodal.training.validation import validation_loss


@dataclass
class Run:
    """What the steps of the ladder share.

    Attributes:
        method: the method in training, on ``device``.
        config: how to train.
        seed: seed of the fit.
        device: where training runs.
        precision: of forward passes.
        train: training rows.
        labelled: (n,) bool, which training rows have labels.
        validation: rows for early stopping, or None.
        diagnosed: the training rows that diagnostics look at.
        monitor: their true labels, or None.
        history: one entry an epoch done.
        best_weights: the method's state in the best epoch of the last stage.
        best_epoch: that epoch's number over all stages.
        fingerprint: what a checkpoint must agree with to be resumed.
        resumed: the checkpoint to go on from, until the stage it belongs to has taken it up.
        display: shows progress.
        log: writes a history entry down.
    """

    method: Method
    config: TrainingConfig
    seed: int
    device: torch.device
    precision: Precision
    train: Rows
    labelled: np.ndarray
    validation: Rows | None
    diagnosed: Batch
    monitor: Tensor | None
    history: list[dict[str, Any]] = field(default_factory=list)
    best_weights: dict[str, Tensor] | None = None
    best_epoch: int = -1
    fingerprint: dict[str, Any] = field(default_factory=dict)
    resumed: Snapshot | None = None
    display: Progress = field(default_factory=lambda: Progress(0, None, 0.0))
    log: Log = field(default_factory=lambda: nothing)

    def batches(self) -> list[Tensor]:
        """The rows of each batch of the coming epoch."""
        return epoch_batches(self.labelled, self.config, seed=self.seed, epoch=len(self.history))

    def validated(self) -> dict[str, float]:
        """``validation_loss``, where there is validation."""
        if self.validation is None:
            return {}
        return {"validation_loss": validation_loss(self.method, self.validation)}

    def diagnostics(self) -> dict[str, float]:
        """The method's own figures of the epoch."""
        output = self.method(self.diagnosed)
        return {k: float(v) for k, v in self.method.diagnostics(self.diagnosed, output, self.monitor).items()}

    def keep_best(self) -> None:
        """Remember the weights if the last epoch has the lowest validation loss so far."""
        loss = self.history[-1]["validation_loss"]
        if self.best_weights is None or loss < self.history[self.best_epoch]["validation_loss"]:
            self.best_epoch = len(self.history) - 1
            self.best_weights = {k: v.clone() for k, v in self.method.state_dict().items()}

    def out_of_patience(self) -> bool:
        """True when ``patience`` epochs have passed since the best one."""
        waited = len(self.history) - 1 - self.best_epoch
        return self.best_weights is not None and waited >= self.config.patience
