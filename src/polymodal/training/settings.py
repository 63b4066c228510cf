"""How a method is trained, and on which device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polymodal.errors import ConfigError

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainingConfig:
    """How a method is trained.

    Attributes:
        max_epochs: epochs over all stages.
        batch_size: rows of a step, at most.
        labelled_share: where fewer rows than this share are labelled, each batch holds this share of
            labelled rows; 0 leaves batches as they fall.
        patience: epochs of the last stage without a better validation loss before training stops.
        gradient_clip: largest norm of the gradient; infinite for no limit.
        precision: ``"auto"`` (bfloat16 on CUDA, float32 elsewhere), ``"float32"``, ``"bfloat16"``, or
            ``"float16"`` (CUDA only). Losses are computed in float32 always.
        checkpoint_dir: folder for a checkpoint an epoch, from which a fit can be resumed; None for none.
        log_dir: folder for ``history.jsonl``, one line an epoch; None for none.
        tensorboard: also write TensorBoard event files to ``log_dir``.
    """

    max_epochs: int = 100
    batch_size: int = 256
    labelled_share: float = 0.25
    patience: int = 20
    gradient_clip: float = 1.0
    precision: str = "auto"
    checkpoint_dir: str | Path | None = None
    log_dir: str | Path | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("max_epochs", "batch_size", "patience"):
            value = getattr(self, name)
            whole = isinstance(value, int | np.integer)
            _rule(whole and value >= 1, f"{name} is a whole number of at least 1", value)
        _rule(0 <= self.labelled_share < 1, "labelled_share is a share in [0, 1)", self.labelled_share)
        _rule(self.gradient_clip > 0, "gradient_clip is a norm above 0", self.gradient_clip)
        _rule(self.precision in PRECISIONS, f"precision is one of {', '.join(PRECISIONS)}", self.precision)
        if self.tensorboard and self.log_dir is None:
            raise ConfigError("tensorboard=True needs a log_dir; None came; name a folder")


def _rule(holds: Any, rule: str, came: Any) -> None:
    if not holds:
        raise ConfigError(f"{rule}; {came!r} came; choose another value")


def choose_device(device: str) -> torch.device:
    """The device that a name means.

    Args:
        device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        ConfigError: no such device, or not on this machine.
    """
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda", 0) if n_cuda else torch.device("cpu")
    kind, _, number = str(device).partition(":")
    if kind not in ("cpu", "cuda") or not (number.isdecimal() or not number) or (kind == "cpu" and number):
        raise ConfigError(f"a device is auto, cpu, cuda or cuda:N; {device!r} came; choose one of these")
    if kind == "cpu":
        return torch.device("cpu")
    if int(number or 0) >= n_cuda:
        raise ConfigError(
            f"a device must be there; {device!r} came, CUDA devices found: {n_cuda}; use 'auto'"
        )
    return torch.device("cuda", int(number or 0))
