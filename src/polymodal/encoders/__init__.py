"""Raw cells -> vectors or sequences: built-in encoders, pretrained ones, and those of a user, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from polymodal.encoders.base import Encoded, Encoder, LearningEncoder
from polymodal.errors import ConfigError

Medium = Literal["Text", "Image", "Audio", "Video"]

__all__ = ["NAMES", "Encoded", "Encoder", "LearningEncoder", "Medium", "resolve"]


def _tfidf() -> Any:
    from polymodal.encoders.text import Tfidf

    return Tfidf()


def _descriptors() -> Any:
    from polymodal.encoders.image import Descriptors

    return Descriptors()


def _log_mel() -> Any:
    from polymodal.encoders.audio import LogMel

    return LogMel()


def _log_mel_series() -> Any:
    from polymodal.encoders.audio import LogMelSeries

    return LogMelSeries()


def _minilm() -> Any:
    from polymodal.encoders.pretrained import minilm

    return minilm()


def _efficientnet_lite0() -> Any:
    from polymodal.encoders.pretrained import EfficientNetLite0

    return EfficientNetLite0()


_ENCODERS: dict[str, dict[str, Callable[[], Any]]] = {
    "Text": {"tfidf": _tfidf, "minilm": _minilm},
    "Image": {"descriptors": _descriptors, "efficientnet_lite0": _efficientnet_lite0},
    "Audio": {"log_mel": _log_mel, "log_mel_series": _log_mel_series},
}

NAMES = {medium: tuple(known) for medium, known in _ENCODERS.items()} | {"Video": tuple(_ENCODERS["Image"])}
"""What may be named for each medium, beside ``hf:`` and ``hf-sequence:``; a video's frames are images."""

_HUB: dict[str, Literal["pooled", "sequence"]] = {"hf:": "pooled", "hf-sequence:": "sequence"}


def resolve(spec: Any, medium: Medium) -> Encoder:
    """The encoder that a declaration asks for.

    Args:
        spec: a name of ``NAMES``; ``"hf:"`` or ``"hf-sequence:"`` and a name or directory for transformers;
            an object with the methods of :class:`Encoder`; a module or another callable, which gets a list
            of decoded cells.
        medium: what the cells are.

    Raises:
        ConfigError: no such encoder.
        MissingExtraError: it needs a package that is not installed.
    """
    if medium == "Video":
        return _of_frames(spec)
    if not isinstance(spec, str):
        return _own(spec)
    for prefix, output in _HUB.items():
        if spec.startswith(prefix):
            from polymodal.encoders.huggingface import HuggingFace

            return HuggingFace(spec.removeprefix(prefix), medium, output=output)
    if spec not in _ENCODERS[medium]:
        raise ConfigError(
            f"an encoder of {medium} is {', '.join(NAMES[medium])}, hf:NAME, a module or a callable; "
            f"{spec!r} came; choose one of these"
        )
    return _ENCODERS[medium][spec]()


def _of_frames(spec: Any) -> Encoder:
    """An encoder of images as one of videos; ``hf-sequence:`` makes a sequence of frames."""
    from polymodal.encoders.video import Frames

    if isinstance(spec, Frames):
        return spec
    if isinstance(spec, str) and spec.startswith("hf-sequence:"):
        return Frames(resolve(spec.replace("hf-sequence:", "hf:", 1), "Image"), "sequence")
    return Frames(resolve(spec, "Image"))


def _own(spec: Any) -> Encoder:
    """A user's encoder: an object of the protocol, or a callable."""
    if hasattr(spec, "encode") and hasattr(spec, "fingerprint"):
        return spec
    if not callable(spec):
        raise ConfigError(
            "an encoder is a name, an object with encode and fingerprint, a module or a callable; "
            f"{spec!r} came; pass one of these"
        )
    from polymodal.encoders.module import ModuleEncoder

    return ModuleEncoder(spec)
