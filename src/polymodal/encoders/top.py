"""The last layers of a pretrained model as a module of their own, cut off the model below them.

Letters: B rows, T steps (tokens, patches or frames), W steps of a window, D width of a hidden state, d width
of what a row becomes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.encoders import Medium

RATE = 0.05
"""Learning rate of pretrained weights, as a part of the method's (1e-3 by default: 5e-5)."""

ADAPTER_RATE = 0.5
"""And of adapters, which start from nothing."""

ROWS = 64
"""Rows that go through the layers at once where no gradient is wanted: they bound the memory."""

_LEAST_VARIANCE = 1e-12

Pooling = Literal["mean", "first", "last", "mean and deviation", "summary"]


# ---- where the parts lie -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Anatomy:
    """Where a kind of model has its last layers, and how a sequence of its states becomes a vector.

    Attributes:
        layers: path of the list of layers; several where models of one kind differ.
        norm: path of the norm after them; several, or none.
        pooling: the mean over steps, the first step or the last, the mean and the deviation, or the mean of
            the first two steps of each window.
        projection: name of the linear map after pooling; None where there is none.
        is_causal: a step reads those before it alone.
        shares_bias: the first layer hands the bias of its attention on to the others.
    """

    layers: tuple[str, ...]
    norm: tuple[str, ...]
    pooling: Pooling
    projection: str | None = None
    is_causal: bool = False
    shares_bias: bool = False


_BERT = Anatomy(("encoder.layer",), (), "mean")
_VIT = Anatomy(("layers", "encoder.layer"), ("layernorm",), "first")
_WAV2VEC2 = Anatomy(("encoder.layers",), (), "mean and deviation")
_STABLE_WAV2VEC2 = replace(_WAV2VEC2, norm=("encoder.layer_norm",))

KNOWN: dict[Medium, dict[str, Anatomy]] = {
    "Text": {
        "bert": _BERT,
        "roberta": _BERT,
        "xlm-roberta": _BERT,
        "distilbert": Anatomy(("transformer.layer",), (), "mean"),
        "t5": Anatomy(
            ("block", "encoder.block"),
            ("final_layer_norm", "encoder.final_layer_norm"),
            "mean",
            shares_bias=True,
        ),
        "clip": Anatomy(
            ("text_model.encoder.layers",),
            ("text_model.final_layer_norm",),
            "last",
            "text_projection",
            is_causal=True,
        ),
    },
    "Image": {
        "vit": _VIT,
        "deit": _VIT,
        "dinov2": _VIT,
        "dinov2_with_registers": _VIT,
        "clip": Anatomy(
            ("vision_model.encoder.layers",),
            ("vision_model.post_layernorm",),
            "first",
            "visual_projection",
        ),
    },
    "Audio": {
        "whisper": Anatomy(("layers",), ("layer_norm",), "mean and deviation"),
        "wav2vec2": _WAV2VEC2,
        "hubert": _WAV2VEC2,
        "audio-spectrogram-transformer": replace(_VIT, pooling="summary"),
    },
}
"""Of each medium the kinds of models (``config.model_type``) whose last layers can be trained."""


def anatomy_of(config: Any, medium: Medium) -> Anatomy:
    """Where a model of a configuration has its parts."""
    if getattr(config, "do_stable_layer_norm", False):
        return _STABLE_WAV2VEC2
    return KNOWN[medium][config.model_type]


def half_of(config: Any, medium: Medium) -> Any:
    """The configuration of the part of a model that encodes a medium."""
    if config.model_type != "clip":
        return config
    return config.text_config if medium == "Text" else config.vision_config


def cut(model: Any, config: Any, medium: Medium, n_layers: int, **settings: Any) -> Top:
    """Take the last layers off a model.

    Args:
        model: its last hidden states are afterwards those that entered the layers taken off.
        config: of the whole model.
        medium: what it encodes.
        n_layers: how many layers to take.
        settings: further ones of :class:`Top`.
    """
    own = anatomy_of(config, medium)
    layers: Any = model.get_submodule(_there(model, own.layers))
    first = len(layers) - n_layers
    taken = layers[first:]
    if own.shares_bias and first > 0:  # T5: only its first layer knows the bias that all of them add
        _own_bias(taken[0], layers[0])
    del layers[first:]
    norm: nn.Module = nn.Identity()
    if own.norm:
        path = _there(model, own.norm)
        norm = model.get_submodule(path)
        model.set_submodule(path, nn.Identity())
    projection = nn.Identity() if own.projection is None else getattr(model, own.projection)
    return Top(own, taken, norm, projection, **settings)


def _there(model: nn.Module, paths: Sequence[str]) -> str:
    """The first path that leads somewhere in a model."""
    known = {name for name, _ in model.named_modules()}
    return next(path for path in paths if path in known)


def _own_bias(layer: Any, first: Any) -> None:
    attention, of_first = layer.layer[0].SelfAttention, first.layer[0].SelfAttention
    attention.relative_attention_bias = deepcopy(of_first.relative_attention_bias)
    attention.has_relative_attention_bias = True


# ---- the module --------------------------------------------------------------------------------------


class Top(nn.Module):
    """Hidden states entering the last layers -> what the whole model makes of a row, then standardised.

    Args:
        anatomy: of the model that it was cut off.
        layers: the last ones.
        norm: after them.
        projection: after pooling.
        d_state: D, without the column of marks.
        window: W, where a row is several windows that know nothing of each other; None where it is one.
        has_marks: the last column of the states says which steps count for pooling.
        normalize: scale the pooled vector to norm 1, as the whole model does.

    Attributes:
        mean: (d,) of the pooled vectors of training rows, before any training.
        std: (d,).
        is_adapted: adapters are trained, and nothing else.
        takes_mask: the layers can be told which steps to read; those of some images cannot, and read all.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        anatomy: Anatomy,
        layers: nn.ModuleList,
        norm: nn.Module,
        projection: nn.Module,
        *,
        d_state: int,
        window: int | None = None,
        has_marks: bool = False,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.anatomy = anatomy
        self.layers = layers
        self.norm = norm
        self.projection = projection
        self.window = window
        self.has_marks = has_marks
        self.normalize = normalize
        self.is_adapted = False
        self.takes_mask = "attention_mask" in signature(layers[0].forward).parameters
        self.d_out = _width(anatomy, projection, d_state)
        self.register_buffer("mean", torch.zeros(self.d_out))
        self.register_buffer("std", torch.ones(self.d_out))

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """(B, d) of states (B, T, D) and lengths (B,); what follows a length is never read."""
        return (self.pooled(states, lengths) - self.mean) / self.std

    def pooled(self, states: Tensor, lengths: Tensor) -> Tensor:
        """(B, d), as the whole model returns it."""
        if not torch.is_grad_enabled() and len(states) > ROWS:
            pieces = zip(states.split(ROWS), lengths.split(ROWS), strict=True)
            return torch.cat([self.pooled(*piece) for piece in pieces])
        states = states[:, : max(1, int(lengths.max()))]
        counted = _steps(lengths, states.shape[1])
        states = states.masked_fill(~counted.unsqueeze(2), 0)
        if self.has_marks:
            counted = counted & (states[..., -1] > 0)
            states = states[..., :-1]
        hidden = self._encoded(states, lengths.clamp(min=1))  # a text without tokens is pooled over none
        pooled = self.projection(self._pool(self.norm(hidden), counted)).float()
        return F.normalize(pooled, dim=-1) if self.normalize else pooled

    def _encoded(self, states: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D): through the layers, each window by itself."""
        n, n_steps, d = states.shape
        if self.window is None or n_steps <= self.window:
            return self._through(states, lengths)
        n_windows = -(-n_steps // self.window)
        padded = F.pad(states, (0, 0, 0, n_windows * self.window - n_steps)).view(-1, self.window, d)
        first = torch.arange(n_windows, device=lengths.device) * self.window
        own = (lengths.unsqueeze(1) - first).clamp(0, self.window).flatten()
        some = own.nonzero().squeeze(1)
        encoded = self._through(padded[some], own[some])
        whole = encoded.new_zeros(padded.shape).index_copy(0, some, encoded)
        return whole.view(n, -1, d)[:, :n_steps]

    def _through(self, states: Tensor, lengths: Tensor) -> Tensor:
        mask = self._attention_mask(states, lengths)
        given = [mask] if self.takes_mask else []
        for layer in self.layers:
            found = layer(states, *given)
            states = found[0] if isinstance(found, tuple) else found
            if self.anatomy.shares_bias:
                given = [mask, found[1]]
        return states

    def _attention_mask(self, states: Tensor, lengths: Tensor) -> Tensor | None:
        """0 where a step (B, 1, T or 1, T) may be read and minus infinity elsewhere; None where all may."""
        n_steps = states.shape[1]
        if not self.anatomy.is_causal and bool((lengths == n_steps).all()):
            return None
        readable = _steps(lengths, n_steps)[:, None, None, :]
        if self.anatomy.is_causal:
            step = torch.arange(n_steps, device=states.device)
            readable = readable & (step[:, None] >= step)
        return torch.zeros(readable.shape, device=states.device).masked_fill(~readable, -torch.inf)

    def _pool(self, states: Tensor, counted: Tensor) -> Tensor:
        pooling = self.anatomy.pooling
        if pooling == "first":
            return states[:, 0]
        if pooling == "last":
            last = counted.sum(dim=1) - 1
            return states[torch.arange(len(states), device=states.device), last]
        if pooling == "summary":
            step = torch.arange(states.shape[1], device=states.device)
            counted = counted & (step % (self.window or len(step)) < 2)
        weights = counted.unsqueeze(2) / counted.sum(dim=1).clamp(min=1)[:, None, None]
        states = states.float()
        mean = (states * weights).sum(dim=1)
        if pooling != "mean and deviation":
            return mean
        variance = ((states - mean.unsqueeze(1)).square() * weights).sum(dim=1)
        return torch.cat([mean, variance.clamp(min=_LEAST_VARIANCE).sqrt()], dim=1)

    def learning_rates(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Each parameter and its learning rate as a part of the method's; 0 for what stays as it is."""
        for name, parameter in self.named_parameters():
            if self.is_adapted:
                yield parameter, ADAPTER_RATE if "lora_" in name else 0.0
            else:
                yield parameter, RATE

    def adapt(self, rank: int) -> None:
        """Put adapters on the layers' linear maps: x W + 2 x A B, B zero at first (arXiv 2106.09685)."""
        from peft import LoraConfig, inject_adapter_in_model

        names = [name for name, module in self.layers.named_modules() if isinstance(module, nn.Linear)]
        inject_adapter_in_model(
            LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, lora_dropout=0.0), self.layers
        )
        self.is_adapted = True


def _width(anatomy: Anatomy, projection: nn.Module, d_state: int) -> int:
    if isinstance(projection, nn.Linear):
        return projection.out_features
    return 2 * d_state if anatomy.pooling == "mean and deviation" else d_state


def _steps(lengths: Tensor, n_steps: int) -> Tensor:
    """(B, T) bool: the first ``lengths`` steps of each row."""
    return torch.arange(n_steps, device=lengths.device) < lengths.unsqueeze(1)
