"""Forward and backward passes in the wanted precision; losses are computed in float32."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from polymodal.batch import Batch, Output
from polymodal.errors import ConfigError
from polymodal.methods.base import Method


class Precision:
    """Forward passes in the wanted precision, and float16 gradients kept from vanishing.

    Args:
        name: as in :class:`TrainingConfig`.
        device: where training runs.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "float16" and device.type != "cuda":
            raise ConfigError(f"float16 trains on CUDA only; the device is {device}; use precision='auto'")
        if name == "auto":
            name = "bfloat16" if device.type == "cuda" else "float32"
        self._device = device.type
        self._dtype = None if name == "float32" else getattr(torch, name)
        self.scaler = torch.amp.GradScaler("cuda", enabled=name == "float16")

    def forward(self, method: Method, batch: Batch) -> Output:
        """The method's output, in float32 whatever it was computed in."""
        if self._dtype is None:
            return method(batch)
        with torch.autocast(self._device, self._dtype):
            output = method(batch)
        return Output(
            prediction=output.prediction.float(),
            branches=None if output.branches is None else output.branches.float(),
            latents={name: _float32(latent) for name, latent in output.latents.items()},
        )

    def descend(self, total: Tensor, optimizer: torch.optim.Optimizer, clip: float) -> None:
        """One step down the gradient of a loss, the gradient's norm held to ``clip``."""
        optimizer.zero_grad()
        self.scaler.scale(total).backward()
        if math.isfinite(clip):
            self.scaler.unscale_(optimizer)
            self._clip([p for group in optimizer.param_groups for p in group["params"]], clip)
        self.scaler.step(optimizer)
        self.scaler.update()

    def _clip(self, parameters: list[nn.Parameter], clip: float) -> None:
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self._device == "cpu" and norm <= clip:  # elsewhere, to look at the norm would stall the device
            return
        nn.utils.clip_grads_with_norm_(parameters, clip, norm)


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
