"""Pretrained models whose last layers are trained: what lies below them as an encoder, and they as a module.

The lower part, the trunk, is frozen: it runs once a cell, and its hidden states go through the cache as what
every encoder returns. The last layers, the top, are built anew for each method that is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from polymodal.encoders import Medium, huggingface, resolve
from polymodal.encoders.base import Kind, Tuning, from_rows, settings_fingerprint
from polymodal.encoders.huggingface import HuggingFace, choose_device
from polymodal.encoders.top import KNOWN, ROWS, Top, cut, half_of
from polymodal.errors import ConfigError, MissingExtraError

_ROUNDING = 1e-6

LEAST_VERSION = (5, 8)
"""Of transformers: layers of earlier ones are called in other ways."""

MEASURED_ROWS = 1024
"""Training rows, at most, whose pooled vectors say how the top's output is standardised."""


def trunk(spec: Any, medium: Medium, tuning: Tuning, who: str) -> Trunk:
    """The encoder of a fine-tuned modality.

    Args:
        spec: as the declaration names it.
        medium: what the cells are.
        tuning: what is trained.
        who: the modality, for errors.

    Raises:
        ConfigError: it is no model that can be trained, or has fewer layers.
        MissingExtraError: a package is not installed.
    """
    by_name = isinstance(spec, str) and (spec == "minilm" or spec.startswith("hf:"))
    if not (by_name or (isinstance(spec, HuggingFace) and spec.output == "pooled")):
        came = repr(spec) if isinstance(spec, str) else f"a {type(spec).__name__} of your own"
        raise ConfigError(
            "finetune trains the last layers of a model of transformers, 'hf:NAME', 'hf:FOLDER' or 'minilm'; "
            f"{who} has {came}; name such a model, or leave finetune out and keep the encoder as it is"
        )
    _need_packages(tuning)
    whole: Any = resolve(spec, medium)
    kind = whole.config.model_type
    if kind not in KNOWN[medium] or getattr(whole.config, "add_adapter", False):
        extra = " with an adapter" if kind in KNOWN[medium] else ""
        raise ConfigError(
            f"finetune knows the layers of {', '.join(KNOWN[medium])}; {who} is a {kind}{extra}; "
            "leave finetune out, or choose another model"
        )
    if tuning.n_layers > (n_layers := half_of(whole.config, medium).num_hidden_layers):
        raise ConfigError(
            f"finetune is a number of the model's {n_layers} layers; {who} has {tuning.n_layers}; "
            "write a smaller one"
        )
    return Trunk(whole, tuning)


def _need_packages(tuning: Tuning) -> None:
    try:
        major, minor, *_ = version("transformers").split(".")
        is_new = (int(major), int(minor)) >= LEAST_VERSION
    except PackageNotFoundError:
        is_new = False
    if not is_new:
        raise MissingExtraError("finetune", "transformers>=" + ".".join(map(str, LEAST_VERSION)), "finetune")
    if tuning.lora_rank is not None and find_spec("peft") is None:
        raise MissingExtraError("lora_rank", "peft", "finetune")


class Trunk(HuggingFace):
    """Cells -> the hidden states that enter the last layers of a model, one a token, patch or frame.

    A sound longer than a window is several windows one after another. Whisper's are whole, with a last column
    that is 1 where a frame holds sound.

    Args:
        whole: the model.
        tuning: which layers are left to the top.
    """

    kind: Kind = "series"
    keeps_silence = True

    def __init__(self, whole: HuggingFace, tuning: Tuning) -> None:
        super().__init__(
            whole.name,
            whole.medium,
            output="sequence",
            max_tokens=whole.max_tokens,
            normalize=whole.normalize,
            local_files_only=whole.local_files_only,
            device=whole.device,
        )
        self.tuning = tuning

    def fingerprint(self) -> str:
        """Of the model, its preparation of inputs, and the number of layers that are left out."""
        return settings_fingerprint(
            "trunk",
            1,
            content=self._content,
            medium=self.medium,
            max_tokens=self.max_tokens,
            n_layers=self.tuning.n_layers,
        )

    def top(self, states: Sequence[ndarray] | None) -> TopOf:
        """What builds the top.

        Args:
            states: (T, D) of present training rows, as :meth:`encode` returns them; None where the top gets
                saved weights, so that none are looked for.
        """
        scale = None if states is None else self._scale(states)
        return TopOf(self.fingerprint(), self.tuning, self, scale)

    def new_top(self, *, pretrained: bool) -> Top:
        """The last layers, with the model's weights, or with memory that nobody has written to."""
        if pretrained:
            return deepcopy(self._halves[1]).cpu()
        top = self._cut(self._without_weights())
        return top.to_empty(device="cpu")

    def _scale(self, states: Sequence[ndarray]) -> tuple[ndarray, ndarray]:
        """Mean and deviation (d,) of the pooled vectors of training rows, as of every other vector."""
        chosen = np.unique(np.linspace(0, len(states) - 1, min(len(states), MEASURED_ROWS)).astype(np.int64))
        device = choose_device(self.device)
        top = self.new_top(pretrained=True).to(device).eval()
        pooled = []
        with torch.inference_mode():
            for start in range(0, len(chosen), ROWS):
                rows = from_rows([states[i] for i in chosen[start : start + ROWS]])
                assert rows.lengths is not None
                values, lengths = torch.from_numpy(rows.values), torch.from_numpy(rows.lengths)
                pooled.append(top.pooled(values.to(device), lengths.to(device)).cpu().double().numpy())
        mean, std = np.concatenate(pooled).mean(axis=0), np.concatenate(pooled).std(axis=0)
        return mean, np.where(std > _ROUNDING * np.maximum(np.abs(mean), _ROUNDING), std, 1.0)

    @cached_property
    def model(self) -> Any:
        """The model without its last layers."""
        return self._halves[0].to(choose_device(self.device))

    @cached_property
    def _halves(self) -> tuple[Any, Top]:
        model = self._loaded().eval()
        return model, self._cut(model)

    def _cut(self, model: Any) -> Top:
        is_whisper = self.config.model_type == "whisper"
        top = cut(
            model,
            self.config,
            self.medium,
            self.tuning.n_layers,
            d_state=int(half_of(self.config, self.medium).hidden_size),
            window=self._window(model) if self.medium == "Audio" else None,
            has_marks=is_whisper,
            normalize=self.normalize,
        )
        return top.float()

    def _window(self, model: Any) -> int:
        """Steps of a whole window of sound."""
        if self.config.model_type == "whisper":
            return int(self.config.max_source_positions)
        if hasattr(model, "_get_feat_extract_output_lengths"):
            n_samples = int(huggingface.WINDOW_SECONDS * self.processor.sampling_rate)
            return int(model._get_feat_extract_output_lengths(n_samples))
        return int(model.embeddings.position_embeddings.shape[1])


@dataclass(frozen=True)
class TopOf:
    """Builds the top of a trunk, as often as a method has branches for it.

    Attributes:
        content: fingerprint of the trunk.
        tuning: what is trained.
        trunk: where the layers come from.
        scale: mean and deviation (d,) of what the top returns of training rows; None where both, and all
            weights, are to be loaded.
    """

    content: str
    tuning: Tuning
    trunk: Trunk = field(repr=False, compare=False)
    scale: tuple[ndarray, ndarray] | None = field(repr=False, compare=False)

    def __call__(self) -> Top:
        """A new module on the CPU."""
        top = self.trunk.new_top(pretrained=self.scale is not None)
        if self.scale is not None:
            for buffer, learnt in zip((top.mean, top.std), self.scale, strict=True):
                buffer.copy_(torch.from_numpy(learnt))
        if self.tuning.lora_rank is not None:
            top.adapt(self.tuning.lora_rank)
        return top
