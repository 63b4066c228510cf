"""Learners over a partition: uni parts alone, paired parts together, and a decoder that rebuilds from both.

Source: PgM (arXiv 2507.11661). Every representation (B, D) is split by gates (:mod:`polymodal.partition`).
The uni-modal learner reads a modality's uni part and nothing else. The paired-modal learner reads the paired
parts of all present modalities. The decoder rebuilds the representation from both features; its output, added
to the representation, is the next round's input, N rounds with the same weights.

:class:`PartitionedFusion` is the whole as one block between any encoders and any head.

Letters: B rows, M modalities, T steps, D neurons, C neurons a chunk, K = D / C chunks, N tokens, d width of a
token, G groups of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.blocks import ABSENT, biased_attention, blank, even_heads, masked_mean, step_mask
from polymodal.errors import ConfigError, DataError
from polymodal.losses import latent_reconstruction
from polymodal.partition import GateKind, Gates, Partitioner, PerModality

MaskReading = Literal["chunks", "channels", "values"]
"""What the masks of the paper hide; see :class:`PartitionLearner`."""
PartNames = Literal["both", "uni", "paired"]
"""Which parts are learnt."""
EPSILON = 1e-6
"""Added to a soft gate before its logarithm."""


@dataclass(frozen=True)
class Parts:
    """What a partition makes of a batch.

    Attributes:
        uni: (B, M, D) uni-modal features, zero outside the uni part and where absent.
        paired: (B, M, D) paired-modal features, zero outside the paired part and where absent.
        rebuilt: (B, M, D) the decoder's output, zero where absent.
        representation: (B, M, D) what is to be rebuilt, zero where absent.
        gates: the soft gates, (B, M, K).
        presence: (B, M) bool.
    """

    uni: Tensor
    paired: Tensor
    rebuilt: Tensor
    representation: Tensor
    gates: Gates
    presence: Tensor

    @property
    def features(self) -> Tensor:
        """(B, 2 M D): all features side by side, zero where absent."""
        return torch.cat([self.uni, self.paired], dim=-1).flatten(1)

    def reconstruction_loss(self) -> Tensor:
        """L_UPR: mean squared error over the present modalities; the target gets no gradient.

        NOTE[DIFF 1]: in the paper the target comes from a frozen encoder. Here a learnt map may stand before
        the partition; it could make itself easy to rebuild if the target had a gradient.
        """
        return latent_reconstruction(self.rebuilt[self.presence], self.representation[self.presence])


# ---- learners ------------------------------------------------------------------------------------


def key_bias(gate: Tensor, *, hard: bool) -> Tensor:
    """The additive mask of keys from their gate (..., N): log(g + eps), or 0 and hidden for a hard gate.

    NOTE[DIFF 2]: a hard mask gives the partitioner no gradient, so training uses the logarithm of the gate.
    """
    return torch.where(gate > 0, gate.new_zeros(()), ABSENT) if hard else (gate + EPSILON).log()


class GatedLayer(nn.Module):
    """Pre-norm attention over gated keys and a feed-forward of twice the width, for G groups of weights.

    NOTE[DIFF 15]: the paper says transformers; their form is ours, with norms without parameters.
    """

    def __init__(self, n_groups: int, d: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = even_heads(d, at_most=max(1, d // 32))  # narrower heads cost more than they tell
        self.dropout = dropout
        self.project_in = PerModality(n_groups, d, 3 * d)
        self.project_out = PerModality(n_groups, d, d)
        self.widen = PerModality(n_groups, d, 2 * d)
        self.narrow = PerModality(n_groups, 2 * d, d)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Tokens (G, B, N, d) and the additive mask (G, B, N) of each as a key: (G, B, N, d)."""
        n_groups, n_rows, n_tokens, d = tokens.shape
        flat = tokens.flatten(1, 2)
        heads = (n_groups * n_rows, n_tokens, 3, self.n_heads, d // self.n_heads)
        query, key, value = self.project_in(_scale_free(flat)).view(heads).permute(2, 0, 3, 1, 4)
        attended = biased_attention(query, key, value, bias.flatten(0, 1)).transpose(1, 2)
        flat = flat + self.drop(self.project_out(attended.reshape(n_groups, n_rows * n_tokens, d)))
        flat = flat + self.drop(self.narrow(F.gelu(self.widen(_scale_free(flat)))))
        return flat.view(tokens.shape)

    def drop(self, x: Tensor) -> Tensor:
        """Dropout in training."""
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class UniLearner(nn.Module):
    """Each modality's tokens among themselves, with weights of its own.

    NOTE[DIFF 12]: the masks hide keys only, so features are multiplied by their gate at the end: zero outside
    the part, and a second path for the gate's gradient.
    """

    def __init__(self, tokens: Tokens, n_modalities: int, d: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        self.tokens = tokens
        self.embed = PerModality(n_modalities, tokens.width, d, n_tokens=tokens.n)
        self.layers = nn.ModuleList(GatedLayer(n_modalities, d, dropout) for _ in range(n_layers))
        self.unembed = PerModality(n_modalities, d, tokens.width)

    def forward(self, x: Tensor, gate: Tensor, presence: Tensor, *, hard: bool) -> Tensor:
        """X (M, B, D), gate (M, B, K), presence (B, M) to features (M, B, D)."""
        del presence  # an absent modality's features are blanked at the end; nobody else reads them
        tokens, bias = self.tokens.read(x, gate, hard=hard)
        tokens = self.embed(tokens)
        for layer in self.layers:
            tokens = layer(tokens, bias)
        return self.unembed(tokens).flatten(2) * self.tokens.spread(gate)


class PairedLearner(nn.Module):
    """The tokens of all present modalities together.

    NOTE[DIFF 3]: the paper's equations do not show how the paired learner sees the other modalities. By its
    definition it must: queries are a modality's own paired part, keys and values those of all present ones.
    """

    def __init__(self, tokens: Tokens, n_modalities: int, d: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        self.tokens = tokens
        self.embed = PerModality(n_modalities, tokens.width, d, n_tokens=tokens.n)
        self.layers = nn.ModuleList(GatedLayer(1, d, dropout) for _ in range(n_layers))
        self.unembed = PerModality(n_modalities, d, tokens.width)

    def forward(
        self, x: Tensor, gate: Tensor, presence: Tensor, *, hard: bool, alone: bool = False
    ) -> Tensor:
        """X (M, B, D), gate (M, B, K), presence (B, M) to features (M, B, D)."""
        tokens, bias = self.tokens.read(x, gate, hard=hard)
        bias = torch.where(presence.T.unsqueeze(2), bias, ABSENT)
        tokens = self.embed(tokens)
        n_modalities, n_rows, n_tokens, d = tokens.shape
        if alone:
            together, bias = tokens.flatten(0, 1).unsqueeze(0), bias.flatten(0, 1).unsqueeze(0)
        else:
            together = tokens.transpose(0, 1).reshape(1, n_rows, n_modalities * n_tokens, d)
            bias = bias.transpose(0, 1).reshape(1, n_rows, n_modalities * n_tokens)
        for layer in self.layers:
            together = layer(together, bias)
        if alone:
            tokens = together.view(tokens.shape)
        else:
            tokens = together.view(n_rows, n_modalities, n_tokens, d).transpose(0, 1)
        return self.unembed(tokens).flatten(2) * self.tokens.spread(gate)


class GatedCopy(nn.Module):
    """No learner at all: the features are the gated representation."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(
        self, x: Tensor, gate: Tensor, presence: Tensor, *, hard: bool, alone: bool = False
    ) -> Tensor:
        """X (M, B, D), gate (M, B, K) to features (M, B, D)."""
        del presence, hard, alone
        return x * self.tokens.spread(gate)


@dataclass(frozen=True)
class Tokens:
    """How a representation of D neurons becomes tokens, and what a gate hides of them.

    Attributes:
        reading: see :class:`PartitionLearner`.
        d: D.
        chunk: C.
    """

    reading: MaskReading
    d: int
    chunk: int

    @property
    def n(self) -> int:
        """N, tokens of one modality."""
        return {"chunks": self.d // self.chunk, "channels": self.d, "values": 1}[self.reading]

    @property
    def width(self) -> int:
        """Neurons of one token."""
        return self.d // self.n

    def spread(self, gate: Tensor) -> Tensor:
        """A gate over chunks (..., K) as a gate over neurons (..., D)."""
        return gate.repeat_interleave(self.chunk, dim=-1)

    def read(self, x: Tensor, gate: Tensor, *, hard: bool) -> tuple[Tensor, Tensor]:
        """X (M, B, D) as tokens (M, B, N, D / N), and their additive mask as keys (M, B, N)."""
        if self.reading == "values":
            return (x * self.spread(gate)).unsqueeze(2), x.new_zeros(*x.shape[:2], 1)
        bias = key_bias(gate, hard=hard)
        if self.reading == "channels":
            bias = self.spread(bias)
        return x.unflatten(2, (self.n, self.width)), bias


def _scale_free(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


# ---- the whole -----------------------------------------------------------------------------------


class PartitionLearner(nn.Module):
    """Partitioner, uni-modal learner, paired-modal learner and decoder over given representations.

    Args:
        n_modalities: M.
        d: D, neurons of a representation.
        chunk: C, neurons that share a gate; D is a multiple of it.
        d_token: width of a token inside the learners.
        n_layers: attention layers of each learner; 0: no learners, features are the gated representation.
        n_iterations: rounds through learners and decoder, with the same weights.
        gate: see :class:`polymodal.partition.Partitioner`.
        mask: what the masks hide. NOTE[DIFF 11]: the paper's masks index neurons while its attention runs
            over tokens.
            ``"chunks"`` (default): a token is a chunk of neurons, hidden chunks are hidden keys.
            ``"channels"``: every neuron is a token. ``"values"``: the whole representation is one token, and
            its hidden neurons are zeros.
        parts: ``"uni"`` or ``"paired"`` leaves the other part out.
        d_decoder: hidden width of the decoder; 0: a linear map.
        dropout: in the learners.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """

    def __init__(
        self,
        n_modalities: int,
        d: int = 64,
        *,
        chunk: int = 8,
        d_token: int = 16,
        n_layers: int = 1,
        n_iterations: int = 3,
        gate: GateKind = "row",
        mask: MaskReading = "chunks",
        parts: PartNames = "both",
        d_decoder: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        judge_sizes(d, chunk, n_iterations)
        judge_name("mask", mask, get_args(MaskReading))
        judge_name("parts", parts, get_args(PartNames))
        tokens = Tokens(mask, d, chunk)
        self.n_iterations, self.parts = n_iterations, parts
        self.partitioner = Partitioner(n_modalities, d, d // chunk, gate)
        if n_layers:
            self.uni: nn.Module = UniLearner(tokens, n_modalities, d_token, n_layers, dropout)
            self.paired: nn.Module = PairedLearner(tokens, n_modalities, d_token, n_layers, dropout)
        else:
            self.uni, self.paired = GatedCopy(tokens), GatedCopy(tokens)
        if d_decoder:
            self.decoder: nn.Module = nn.Sequential(
                PerModality(n_modalities, 2 * d, d_decoder),
                nn.GELU(),
                PerModality(n_modalities, d_decoder, d),
            )
        else:
            self.decoder = PerModality(n_modalities, 2 * d, d)

    def forward(
        self,
        representation: Tensor,
        presence: Tensor,
        *,
        hardness: Tensor | float = 0.0,
        hard: bool | None = None,
        alone: bool = False,
    ) -> Parts:
        """Split, learn and rebuild.

        Args:
            representation: (B, M, D), any content where absent.
            presence: (B, M) bool.
            hardness: how far soft gates are moved towards hard ones, 0 to 1, without changing the gradient.
            hard: hard masks: what is hidden has exactly no influence, and gates no gradient. None: outside
                of training.
            alone: each modality as if it were the only one of its row: its paired part sees no other.
        """
        hard = not self.training if hard is None else hard
        start = blank(representation, presence).transpose(0, 1)
        # NOTE[DIFF 4]: one partition a row; the rounds refine features, not the cut, and each reads the
        # representation plus what the round before rebuilt of it. The uni learner reads what its own features
        # rebuild: with the paired ones it would see the other modalities from the second round on.
        gates = self.partitioner(start)
        acting = gates.hard() if hard else gates.towards_hard(hardness)
        nothing = torch.zeros_like(start)
        uni, paired = self.learn(start, start, acting, presence, hard=hard, alone=alone)
        rebuilt = self.decoder(torch.cat([uni, paired], dim=-1))
        for _ in range(self.n_iterations - 1):
            own = start + self.decoder(torch.cat([uni, nothing], dim=-1))
            uni, paired = self.learn(own, start + rebuilt, acting, presence, hard=hard, alone=alone)
            rebuilt = self.decoder(torch.cat([uni, paired], dim=-1))
        return Parts(
            uni=blank(uni.transpose(0, 1), presence),
            paired=blank(paired.transpose(0, 1), presence),
            rebuilt=blank(rebuilt.transpose(0, 1), presence),
            representation=start.transpose(0, 1),
            gates=Gates(gates.uni.transpose(0, 1), gates.paired.transpose(0, 1)),
            presence=presence,
        )

    def learn(
        self, own: Tensor, x: Tensor, gates: Gates, presence: Tensor, *, hard: bool, alone: bool
    ) -> tuple[Tensor, Tensor]:
        """Uni features of own (M, B, D) and paired ones of x (M, B, D); zeros for a part that is left out."""
        nothing = torch.zeros_like(x)
        uni = nothing if self.parts == "paired" else self.uni(own, gates.uni, presence, hard=hard)
        if self.parts == "uni":
            return uni, nothing
        return uni, self.paired(x, gates.paired, presence, hard=hard, alone=alone)


def judge_sizes(d: int, chunk: int, n_iterations: int) -> None:
    """Refuse a width that is no multiple of the chunk, and no rounds at all."""
    if n_iterations < 1:
        raise ConfigError(
            f"n_iterations is 1 or more; got {n_iterations}; n_layers=0 leaves the learners out"
        )
    if d < 2 or chunk < 1 or d % chunk:
        raise ConfigError(
            f"the width is a multiple of chunk; got {d} and chunk={chunk}; take a chunk that divides it"
        )


def judge_name(setting: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse an unknown name."""
    if value not in known:
        raise ConfigError(f"{setting} must be a known name; got {value!r}; choose one of {', '.join(known)}")


class PartitionedFusion(nn.Module):
    """A partition between any encoders and any head: representations in, features out.

    Each modality is mapped to D neurons by a linear layer and brought to one scale, then split, learnt and
    rebuilt by :class:`PartitionLearner`, whose settings it takes. A sequence is averaged over its valid steps
    after the linear layer.

    Args:
        widths: modality -> width of its encoder's output.
        d: D, neurons of a representation.
        settings: further settings of :class:`PartitionLearner`.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """

    def __init__(self, widths: Mapping[str, int], d: int = 64, **settings: object) -> None:
        super().__init__()
        self.names = tuple(widths)
        self.adapters = nn.ModuleList(nn.Linear(width, d) for width in widths.values())
        self.learner = PartitionLearner(len(widths), d, **settings)  # type: ignore[arg-type]

    def forward(
        self,
        representations: Mapping[str, Tensor],
        presence: Tensor | None = None,
        lengths: Mapping[str, Tensor] | None = None,
        *,
        hardness: Tensor | float = 1.0,
    ) -> Parts:
        """Features of whatever is present.

        Args:
            representations: modality -> (B, width) or (B, T, width); a modality that no row has may be left
                out; any content where absent, NaN included.
            presence: (B, M) bool in the order of ``widths``; None: present if it is in ``representations``.
            lengths: modality -> (B,) int64 valid steps of a sequence; None: all steps.
            hardness: how far the gates of training are moved towards those of prediction; 1: it sees the same
                values, and gates learn all the same; raising it from 0 to 1 as training goes on is smoother.

        Raises:
            DataError: a name is unknown, none came, or presence does not fit.
        """
        given = self.judge_names(representations, lengths or {})
        n_rows, device = len(given), given.device
        if presence is None:
            here = torch.tensor([name in representations for name in self.names], device=device)
            presence = here.expand(n_rows, -1)
        self.judge_presence(presence, representations, n_rows)
        adapted = [
            self.adapt(i, representations.get(name), presence[:, i], (lengths or {}).get(name))
            for i, name in enumerate(self.names)
        ]
        return self.learner(torch.stack(adapted, dim=1), presence, hardness=hardness)

    def adapt(self, i: int, values: Tensor | None, present: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, D) of unit scale; zeros where absent."""
        adapter = self.adapters[i]
        assert isinstance(adapter, nn.Linear)
        if values is None:
            return adapter.bias.new_zeros(len(present), adapter.out_features)
        if values.dim() == 2:
            return blank(_scale_free(adapter(blank(values, present))), present)
        n_steps = values.shape[1]
        if lengths is None:
            lengths = torch.full((len(values),), n_steps, device=values.device)
        steps = step_mask(lengths, n_steps) & present.unsqueeze(1)
        return blank(_scale_free(masked_mean(adapter(blank(values, steps)), steps)), present)

    def judge_names(self, representations: Mapping[str, Tensor], lengths: Mapping[str, Tensor]) -> Tensor:
        """One of the tensors; refuses unknown names, and none at all."""
        for name in (*representations, *lengths):
            if name not in self.names:
                raise DataError(
                    f"this fusion knows {', '.join(self.names)}; {name!r} came; name it when you build it"
                )
        if not representations:
            raise DataError("a batch holds at least one modality; none came; give one")
        return next(iter(representations.values()))

    def judge_presence(self, presence: Tensor, representations: Mapping[str, Tensor], n_rows: int) -> None:
        """Presence is bool, one row a row, one column a modality, and not True for what did not come."""
        if presence.dtype != torch.bool:
            raise DataError(f"presence is True or False; {presence.dtype} came; write presence.bool()")
        for name, values in representations.items():
            if len(values) != n_rows:
                raise DataError(
                    f"all modalities of a batch have the same rows; {name!r} has {len(values)} instead of "
                    f"{n_rows}; give every row, and say in presence which are absent"
                )
        if presence.shape != (n_rows, len(self.names)):
            raise DataError(
                f"presence is ({n_rows}, {len(self.names)}), rows by modalities; {tuple(presence.shape)} "
                "came; give a column for each modality that the fusion was built with"
            )
        for i, name in enumerate(self.names):
            if name not in representations and bool(presence[:, i].any()):
                raise DataError(
                    f"presence is True for {name!r}, which did not come; give its values or set it to False"
                )
