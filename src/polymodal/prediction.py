"""Prediction as a pure function over a chunk of rows: no row's output depends on another row.

Letters: n rows, M modalities, C outputs, d width of the shared space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from polymodal.batch import Batch, Output
from polymodal.errors import ConfigError
from polymodal.methods.base import Method

Device = torch.device | str


def predict(
    method: Method, batch: Batch, *, device: Device = "cpu", batch_size: int = 4096
) -> tuple[np.ndarray, np.ndarray | None]:
    """What a method predicts for each row, and what each modality alone predicts.

    Args:
        method: a method whose parameters lie on ``device``.
        batch: n rows, on any device.
        device: where the method is.
        batch_size: rows in one forward pass.

    Returns:
        (n, C) float32 predictions, and (n, M, C) float32 branch predictions with NaN where a modality is
        absent, or None for a method without branches.
    """
    predictions, branches = [], []
    with _predicting(method):
        for output in _outputs(method, batch, torch.device(device), batch_size):
            predictions.append(_array(output.prediction))
            branches.append(None if output.branches is None else _array(output.branches))
    with_branches = [branch for branch in branches if branch is not None]
    return _joined(predictions), _joined(with_branches) if with_branches else None


def transform(method: Method, batch: Batch, *, device: Device = "cpu", batch_size: int = 4096) -> np.ndarray:
    """The representation that a method shares between modalities, ``Output.latents["shared"]``.

    Args:
        method: a method whose parameters lie on ``device``.
        batch: n rows, on any device.
        device: where the method is.
        batch_size: rows in one forward pass.

    Returns:
        (n, d) float32.
    """
    return latents(method, batch, ("shared",), device=device, batch_size=batch_size)["shared"]


def latents(
    method: Method, batch: Batch, names: Sequence[str], *, device: Device = "cpu", batch_size: int = 4096
) -> dict[str, np.ndarray]:
    """Some of the latents of a method's forward pass.

    Args:
        method: a method whose parameters lie on ``device``.
        batch: n rows, on any device.
        names: which of ``Output.latents``.
        device: where the method is.
        batch_size: rows in one forward pass.

    Returns:
        name -> (n, ...) float32.

    Raises:
        ConfigError: the method has no latent of a name.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with _predicting(method):
        for output in _outputs(method, batch, torch.device(device), batch_size):
            for name in names:
                found[name].append(_array(_latent(output, name)))
    return {name: _joined(chunks) for name, chunks in found.items()}


def _latent(output: Output, name: str) -> torch.Tensor:
    if name not in output.latents:
        raise ConfigError(
            f"a latent is one that the method gives; {name!r} came; choose one of {', '.join(output.latents)}"
        )
    return output.latents[name]


@contextmanager
def _predicting(method: Method) -> Iterator[None]:
    """Evaluation mode without gradients; a walk over all modules only where the mode must change."""
    was_training = method.training
    if was_training:
        method.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            method.train()


def _outputs(method: Method, batch: Batch, device: torch.device, batch_size: int) -> Iterator[Output]:
    for start in range(0, max(len(batch), 1), batch_size):
        chunk = batch if len(batch) <= batch_size else batch.slice(start, start + batch_size)
        yield method(chunk if chunk.presence.device == device else chunk.to(device))


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()


def _joined(chunks: list[np.ndarray]) -> np.ndarray:
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
