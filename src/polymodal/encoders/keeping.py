"""What reading learnt, encoders and preprocessing, as one state for JSON and safetensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy import ndarray

from polymodal.data.preprocessing import Preprocessor
from polymodal.encoders.table import Encoders

_PREFIX = "encoder/"
"""Of the names of the encoders' arrays."""


def state(encoders: Encoders, preprocessor: Preprocessor) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Content for JSON, and arrays.

    Raises:
        CheckpointError: an encoder has no name.
    """
    content, arrays = preprocessor.state()
    more, learnt = encoders.state()
    return content | more, arrays | {f"{_PREFIX}{key}": array for key, array in learnt.items()}


def from_state(content: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> tuple[Encoders, Preprocessor]:
    """The inverse of :func:`state`; models from before there were encoders have none.

    Raises:
        CheckpointError: the state is not what :func:`state` returns, or an encoder is another one now.
    """
    learnt = {key.removeprefix(_PREFIX): own for key, own in arrays.items() if key.startswith(_PREFIX)}
    encoders = Encoders.from_state({"encoders": content.get("encoders", [])}, learnt)
    return encoders, Preprocessor.from_state(content, arrays)
