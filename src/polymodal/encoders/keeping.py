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
    """Content for JSON, and arrays."""
    content, arrays = preprocessor.state()
    more, learnt = encoders.state()
    return content | more, arrays | {f"{_PREFIX}{key}": array for key, array in learnt.items()}


def from_state(
    content: Mapping[str, Any], arrays: Mapping[str, ndarray], given: Mapping[str, Any] | None = None
) -> tuple[Encoders, Preprocessor]:
    """The inverse of :func:`state`; models from before there were encoders have none.

    Args:
        content: of JSON.
        arrays: what was learnt.
        given: encoders by modality, as for :meth:`Encoders.from_state`.

    Raises:
        CheckpointError: the state is not what :func:`state` returns, an encoder must be given, or it is
            another one now.
    """
    learnt = {key.removeprefix(_PREFIX): own for key, own in arrays.items() if key.startswith(_PREFIX)}
    encoders = Encoders.from_state({"encoders": content.get("encoders", [])}, learnt, given)
    return encoders, Preprocessor.from_state(content, arrays)
