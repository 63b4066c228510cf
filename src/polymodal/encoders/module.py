"""A user's own encoder: any ``nn.Module`` or callable."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy import ndarray

from polymodal.encoders.base import Encoded, Kind, from_rows, settings_fingerprint
from polymodal.errors import DataError


class ModuleEncoder:
    """A function of a list of decoded cells, as an encoder.

    A module is set to evaluation and called without gradients. What a function computes cannot be read off
    it, so its output is cached only under a ``version``, which its owner changes with the code.

    Args:
        function: list of decoded cells (or what ``prepare`` makes of it) -> (n, d) array or tensor, or n
            arrays or tensors of shape (T_i, d).
        prepare: list of decoded cells -> what the function takes, such as a batch tensor.
        version: text that names the function's arithmetic; a module's weights are added to it.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        prepare: Callable[[Sequence[Any]], Any] | None = None,
        version: str | None = None,
    ) -> None:
        self.function = function
        self.prepare = prepare
        self.version = version
        self._shape: tuple[Kind, int] | None = None

    @property
    def kind(self) -> Kind:
        """Known after the first cell."""
        return self._known()[0]

    @property
    def d_out(self) -> int:
        """Known after the first cell."""
        return self._known()[1]

    def _known(self) -> tuple[Kind, int]:
        if self._shape is None:
            raise DataError(
                "the width of a user's encoder is known once it has encoded a cell; none came yet; "
                "give it a row that has one"
            )
        return self._shape

    def fingerprint(self) -> str | None:
        """The version and a module's weights; None without a version."""
        if self.version is None:
            return None
        weights = weights_digest(self.function) if _is_module(self.function) else ""
        return settings_fingerprint("module", 1, owner=self.version, weights=weights)

    def encode(self, cells: Sequence[Any]) -> Encoded:
        """What the function makes of the cells.

        Raises:
            DataError: it returned something other than one finite row of numbers a cell.
        """
        given = list(cells) if self.prepare is None else self.prepare(cells)
        with _frozen(self.function):
            returned = self.function(given)
        encoded = _judged(returned, len(cells))
        self._shape = encoded.kind, encoded.values.shape[-1]
        return encoded


def _is_module(function: Any) -> bool:
    torch = sys.modules.get("torch")  # without torch there is no module
    return torch is not None and isinstance(function, torch.nn.Module)


def _frozen(function: Any) -> AbstractContextManager[Any]:
    if not _is_module(function):
        return nullcontext()
    import torch

    function.eval()
    return torch.inference_mode()


def weights_digest(module: Any) -> str:
    """SHA-256 of a module's parameters and buffers, with their names."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _judged(returned: Any, n: int) -> Encoded:
    """A function's output as float32 rows."""
    rows = [_array(row) for row in returned] if hasattr(returned, "__len__") else []
    widths = {row.shape[row.ndim - 1 :] for row in rows}
    if len(rows) != n or len(widths) != 1 or {row.ndim for row in rows} - {1, 2} or not all(map(len, rows)):
        shapes = sorted({row.shape for row in rows})[:3]
        raise DataError(
            f"an encoder returns one row of numbers a cell, (n, d) or n times (T, d); for {n} cells "
            f"{len(rows)} rows of shapes {shapes} came; correct the encoder"
        )
    if not all(np.isfinite(row).all() for row in rows):
        raise DataError("an encoder returns finite numbers; NaN or infinity came; correct the encoder")
    return from_rows(rows)


def _array(value: Any) -> ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().float()
    return np.asarray(value, dtype=np.float32)
